//! The helper, and builds that try to stop it, speak for it or outlive it.

use super::*;

#[test]
fn a_build_cannot_speak_for_its_keeper() {
    for way in isolated() {
        let script = "for f in /proc/1/fd/*; do echo hacked > $f; done 2>/dev/null; grep Cap /proc/1/status | wc -l; \
                      test -r /proc/self/environ && echo own; exit 3";
        let (outcome, text) = run(&spec(way, script));
        assert_eq!((outcome.error, outcome.killed), (None, false), "{way:?}");
        assert_eq!(outcome.commands[0].status, Status::Exited(3));
        // what it starts is a process like others
        assert!(text.ends_with("5\nown\n"), "{way:?}: {text}");
        // nor has the keeper what a careless library of the harness's left open
        let passwd = File::open("/etc/passwd").unwrap();
        rustix::io::fcntl_setfd(&passwd, rustix::io::FdFlags::empty()).unwrap();
        let (_, text) = run(&spec(way, "readlink /proc/1/fd/* | grep -c passwd"));
        assert_eq!(text, "0\n", "{way:?}");
        // in a user namespace its capabilities are none over a process that was started outside
        let (_, text) = run(&spec(way, "readlink /proc/1/fd/* 2>/dev/null | wc -l"));
        assert!(way == Isolation::Full || text == "0\n", "{way:?}: {text}");
    }
}

#[test]
fn a_stopped_keeper_is_ended_too() {
    let scratch = scratch();
    let log = scratch.path().join("log");
    let spec = spec(Isolation::Direct, "kill -STOP $PPID; echo up; sleep 1000");
    let mut running = sandbox().spawn(&spec, &File::create(&log).unwrap()).unwrap();
    until("start", Duration::from_secs(20), || has_text(&log, "up"));
    running.kill();
    let begin = Instant::now();
    assert!(running.wait().is_err());
    assert!(begin.elapsed() < Duration::from_secs(4));
}

#[test]
fn a_dead_helper_is_an_error_of_its_own() {
    for way in with_direct() {
        let mark = format!("helper-{}-{way:?}", std::process::id());
        let scratch = scratch();
        let spec = stubborn(way, &mark, scratch.path());
        let log = scratch.path().join("log");
        let running = sandbox().spawn(&spec, &File::create(&log).unwrap()).unwrap();
        until("start", Duration::from_secs(20), || has_text(&log, "up") && marked(&mark).len() >= 6);
        let pid = rustix::process::Pid::from_raw(running.id() as i32).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
        let error = running.wait().unwrap_err();
        assert!(error.to_string().contains("without a result"), "{error}");
        if way != Isolation::Direct {
            until("the end", Duration::from_secs(2), || marked(&mark).is_empty());
        } else {
            // the weakest way: what made a session of its own is out of reach
            until("the end", Duration::from_secs(2), || marked(&mark).len() <= 2);
            until("the cleaning", Duration::from_secs(10), || {
                let left = marked(&mark);
                for pid in left.iter().filter_map(|p| rustix::process::Pid::from_raw(p.parse().ok()?)) {
                    let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
                }
                left.is_empty()
            });
        }
    }
}
