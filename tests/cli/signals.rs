//! Ends of the harness that it did not choose: SIGINT, Ctrl-C, SIGKILL. Nothing may be left behind.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use kbuild_repro::verdict::Verdict;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::lab::{Lab, Ran, has_make, of, read_report};

/// A guard against a test that waits for ever, not a bound of the harness.
const LONG: Duration = Duration::from_secs(60);

/// Scenarios `ok` and `hang`; the second sleeps for a time by which its process can be told from all others.
fn lab() -> (Lab, String) {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let mark = format!("{}{:03}", 100_000 + std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let lab = Lab::new();
    let makefile =
        format!("out.o: a.txt\n\tcat a.txt > $@\nhang: out.o\n\tsleep {mark} & setsid sleep {mark} & wait\n");
    lab.write("tree/Makefile", makefile).write("tree/a.txt", "1\n");
    for (name, goal) in [("ok", "out.o"), ("hang", "hang")] {
        lab.scenario(
            name,
            &format!(
                "tier = \"quick\"\n[tree]\nsrctree = \"../../tree\"\nkind = \"make\"\n[make]\ngoals = [\"{goal}\"]\n\
                 [compare]\nartifacts = [\"out.o\"]\n[limits]\ntimeout = 600\n"
            ),
        );
    }
    (lab, mark)
}

/// Starts a run of everything and waits until `ok` is through and `hang` hangs.
fn start(lab: &Lab, mark: &str) -> Child {
    let mut command = lab.command(&["run", "--out", "out", "--jobs", "8"]);
    let child = command.process_group(0).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    until("both scenarios", || lab.path("out/t/ok/record.json").exists() && !sleepers(mark).is_empty());
    child
}

#[track_caller]
fn until(what: &str, done: impl Fn() -> bool) {
    let started = Instant::now();
    while !done() {
        assert!(started.elapsed() < LONG, "waited too long for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Processes whose command line holds the mark.
fn sleepers(mark: &str) -> Vec<String> {
    processes(|dir| {
        let line = fs::read(dir.join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(mark)
    })
}

/// Processes, not this one, that have something of the lab mounted or as their directory.
fn holders(lab: &Lab) -> Vec<String> {
    let place = lab.path("scratch").display().to_string();
    processes(|dir| {
        let cwd = fs::read_link(dir.join("cwd")).is_ok_and(|cwd| cwd.starts_with(&place));
        let line = fs::read(dir.join("cmdline")).is_ok_and(|line| String::from_utf8_lossy(&line).contains(&place));
        // A mount shows where it comes from within its file system, which may be mounted anywhere.
        let name = lab.path("").file_name().expect("a name").to_string_lossy().into_owned();
        let mounted = fs::read_to_string(dir.join("mountinfo")).is_ok_and(|mounts| mounts.contains(&name));
        cwd || line || mounted
    })
}

fn processes(fits: impl Fn(&Path) -> bool) -> Vec<String> {
    let all = fs::read_dir("/proc").expect("/proc").filter_map(Result::ok).map(|entry| entry.path());
    let own = std::process::id().to_string();
    all.filter_map(|dir| {
        let name = dir.file_name()?.to_str()?.to_owned();
        (name.bytes().all(|b| b.is_ascii_digit()) && name != own && fits(&dir)).then_some(name)
    })
    .collect()
}

fn pid(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).expect("a pid")).expect("a pid")
}

/// Waits for the end, killing a harness that does not end.
fn end(mut child: Child) -> Ran {
    let started = Instant::now();
    while child.try_wait().expect("a child").is_none() {
        if started.elapsed() > LONG {
            let _ = child.kill();
            panic!("the harness did not end");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ran::of(child.wait_with_output().expect("its output"))
}

/// What is true after every end that the harness saw coming.
#[track_caller]
fn ended_well(lab: &Lab, mark: &str, ran: Ran) {
    let ran = ran.exits(130);
    assert!(ran.out.contains("1 interrupted") && ran.out.contains("1 passed"), "{ran}");
    let report = read_report(&lab.path("out/report.json")).expect("a partial report");
    assert_eq!(report.verdict, Verdict::Interrupted);
    assert_eq!(of(&report, "ok").verdict, Verdict::Passed);
    assert_eq!(of(&report, "hang").verdict, Verdict::Interrupted);
    assert_eq!(sleepers(mark), [""; 0]);
    assert_eq!(holders(lab), [""; 0]);
    assert_eq!(lab.left_over(), [""; 0].map(std::path::PathBuf::from));
    assert_eq!(lab.run(&["judge", "out"]).code, 130);
}

#[test]
fn sigint_ends_a_run_with_a_partial_report() {
    if !has_make() {
        return;
    }
    for signal in [Signal::INT, Signal::TERM] {
        let (lab, mark) = lab();
        let child = start(&lab, &mark);
        kill_process(pid(&child), signal).expect("it runs");
        ended_well(&lab, &mark, end(child));
    }
}

#[test]
fn one_signal_that_comes_twice_is_one() {
    if !has_make() {
        return;
    }
    // As timeout(1) sends it.
    let (lab, mark) = lab();
    let child = start(&lab, &mark);
    kill_process(pid(&child), Signal::INT).expect("it runs");
    kill_process_group(pid(&child), Signal::INT).expect("it runs");
    ended_well(&lab, &mark, end(child));
}

#[test]
fn ctrl_c_goes_to_the_whole_group_and_ends_it_as_well() {
    if !has_make() {
        return;
    }
    let (lab, mark) = lab();
    let child = start(&lab, &mark);
    kill_process_group(pid(&child), Signal::INT).expect("it runs");
    ended_well(&lab, &mark, end(child));
}

#[test]
fn after_sigkill_nothing_runs_and_the_next_run_sweeps() {
    if !has_make() {
        return;
    }
    let (lab, mark) = lab();
    let mut child = start(&lab, &mark);
    child.kill().expect("it runs");
    child.wait().expect("it is dead");
    until("the end of its processes", || sleepers(&mark).is_empty() && holders(&lab).is_empty());
    assert_eq!(lab.left_over().len(), 1, "what was killed cannot tidy up");
    lab.run(&["run", "ok"]).exits(0);
    assert_eq!(lab.left_over(), [""; 0].map(std::path::PathBuf::from));
}

#[test]
fn a_run_leaves_the_trees_of_another_alone() {
    if !has_make() {
        return;
    }
    let (lab, mark) = lab();
    let child = start(&lab, &mark);
    // Its sweep must leave the trees of the other alone. As many jobs, or the slots that hang are all it knows.
    lab.run(&["run", "ok", "--quiet", "--jobs", "8"]).exits(0);
    assert!(!sleepers(&mark).is_empty());
    assert_eq!(lab.left_over().len(), 1);
    kill_process(pid(&child), Signal::INT).expect("it runs");
    ended_well(&lab, &mark, end(child));
}
