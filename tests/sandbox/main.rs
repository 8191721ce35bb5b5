//! The sandbox on the real kernel: as root directly and in a user namespace, as an ordinary user in a user
//! namespace, and without any. What a host refuses to root and user alike is skipped with a word on stderr.
#![allow(clippy::print_stderr, reason = "a skipped test says why")]

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command as Process, Stdio};
use std::time::{Duration, Instant};

use kbuild_repro::runner::slots::{JobServer, Pool};
use kbuild_repro::sandbox::scratch::Scratch;
use kbuild_repro::sandbox::{
    Change, Command, Content, Facility, Guarantee, HelperErrorKind, Isolated, Isolation, Limits, Mount, Op, Outcome,
    Sandbox, Spec, Stamp, Status, UpperProblem, View, remove_tree, upper_problem,
};

mod keeper;
mod nesting;
mod operations;

/// A sandbox whose helpers can be told from all others: by a name of their executable in `dir`.
fn known_sandbox(dir: &Path) -> Sandbox {
    let helper = dir.join("helper");
    symlink(env!("CARGO_BIN_EXE_kbuild-repro"), &helper).unwrap();
    Sandbox::new(helper)
}

fn sandbox() -> Sandbox {
    Sandbox::new(env!("CARGO_BIN_EXE_kbuild-repro"))
}

fn env() -> Vec<(OsString, OsString)> {
    vec![("PATH".into(), "/usr/sbin:/usr/bin:/sbin:/bin".into()), ("HOME".into(), "/build/home".into())]
}

fn sh(script: &str) -> Command {
    Command {
        argv: ["sh", "-c", script].map(OsString::from).to_vec(),
        cwd: "/".into(),
        env: Vec::new(),
        label: script.chars().take(20).collect(),
    }
}

fn spec(isolation: Isolation, script: &str) -> Spec {
    Spec { isolation, env: env(), commands: vec![sh(script)], ..Spec::default() }
}

/// Runs to the end, with what the commands printed.
fn run(spec: &Spec) -> (Outcome, String) {
    let mut log = tempfile::NamedTempFile::new().unwrap();
    let outcome = sandbox().spawn(spec, log.as_file()).unwrap().wait().unwrap();
    let mut text = String::new();
    File::open(log.path()).unwrap().read_to_string(&mut text).unwrap();
    log.as_file_mut().set_len(0).unwrap();
    (outcome, text)
}

/// The ways of isolation with a mount namespace that this host gives.
fn isolated() -> Vec<Isolation> {
    let all = [Isolation::Full, Isolation::UserNs];
    all.into_iter()
        .filter(|way| {
            let (outcome, _) = run(&spec(*way, "true"));
            let fine = outcome.success() && outcome.losses.is_empty();
            if !fine {
                assert!(std::env::var_os("KBUILD_REPRO_REQUIRE_ALL").is_none(), "{way:?}: {outcome:?}");
                eprintln!("skipped: {way:?} is not to be had: {:?} {:?}", outcome.error, outcome.losses);
            }
            fine
        })
        .collect()
}

fn with_direct() -> Vec<Isolation> {
    [isolated(), vec![Isolation::Direct]].concat()
}

fn scratch() -> Scratch {
    Scratch::create(&std::env::temp_dir()).unwrap()
}

fn lines(text: &str) -> Vec<&str> {
    text.lines().collect()
}

#[test]
fn commands_run_in_order_until_one_fails() {
    for way in with_direct() {
        let mut spec = spec(way, "echo one; echo err >&2");
        spec.commands.push(sh("echo two; exit 3"));
        spec.commands.push(sh("echo three"));
        let (outcome, text) = run(&spec);
        assert_eq!(outcome.error, None);
        assert_eq!(lines(&text), ["one", "err", "two"], "{way:?}");
        let status: Vec<Status> = outcome.commands.iter().map(|c| c.status).collect();
        assert_eq!(status, [Status::Exited(0), Status::Exited(3)]);
        assert!(!outcome.success());
        assert!(outcome.commands[0].max_rss_kib > 0);
        let (outcome, _) = run(&self::spec(way, "kill -TERM $$"));
        assert_eq!(outcome.commands[0].status, Status::Signaled(libc::SIGTERM));
    }
}

#[test]
fn inside_is_fixed_whatever_the_host_is() {
    for way in isolated() {
        let script = "id -u; id -g; uname -n; pwd; umask; env | sort; cat /proc/net/dev | tail -n +3 | wc -l; \
                      ls -A /build/home | wc -l; ls -A /tmp | wc -l; ls /; ls -l /proc/self/fd | wc -l; \
                      ls -d /proc/[0-9]* | wc -l; readlink /proc/1/ns/pid | wc -l; grep Sig /proc/self/status";
        let (outcome, text) = run(&spec(way, script));
        assert!(outcome.success(), "{outcome:?} {text}");
        let mut expect = vec!["0", "0", "kbuild-repro", "/", "0022", "HOME=/build/home"];
        expect.extend(["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "PWD=/"]);
        let got = lines(&text);
        assert_eq!(got[..8], expect, "{way:?}");
        // lo only, and it is down
        assert_eq!(got[8..11], ["1", "0", "0"], "{way:?}: {text}");
        assert!(got.contains(&"build") && got.contains(&"usr") && !got.contains(&".host") && !got.contains(&"home"));
        assert!(got.contains(&"SigIgn:\t0000000000000000"), "{text}");
        assert!(got.contains(&"SigBlk:\t0000000000000000"), "{text}");
    }
}

#[test]
fn nothing_of_the_host_can_be_written() {
    let secret = tempfile::NamedTempFile::new().unwrap();
    for way in isolated() {
        let script = format!(
            "t() {{ \"$@\" 2>/dev/null && echo \"FAULT: $*\"; }}
             t touch /usr/x; t touch /etc/x; t touch /x; t touch /bin/x; t touch /sys/x; t touch /dev/x
             t mount -o remount,rw /usr; t mount -o remount,rw,bind /usr; t mount -o remount,rw /; t umount /usr
             t mount -t tmpfs none /usr; t umount -l /proc/sys; t mknod /tmp/disk b 254 0; t mknod /tmp/null c 1 3
             t test -w /proc/sys/kernel/core_pattern; t test -w /proc/sysrq-trigger; t test -w /sys/power/state
             t test -w /proc/irq/default_smp_affinity; t hostname other; t chroot / true
             t unshare -m true; t unshare -Urm mount -o remount,rw,bind /usr; t unshare -Urm touch /usr/x; t test -e {}
             echo done",
            secret.path().display()
        );
        let (outcome, text) = run(&spec(way, &script));
        assert!(outcome.success(), "{outcome:?}");
        assert_eq!(lines(&text), ["done"], "{way:?}");
        let (_, text) = run(&spec(way, "grep -E 'Cap(Prm|Eff|Bnd|Inh|Amb)|NoNewPrivs' /proc/self/status"));
        for line in text.lines().filter(|l| l.starts_with("Cap")) {
            let set = u64::from_str_radix(line.rsplit('\t').next().unwrap(), 16).unwrap();
            // CHOWN, DAC_OVERRIDE, FOWNER, FSETID, KILL, SETGID, SETUID, NET_BIND_SERVICE, SYS_PTRACE
            let kept = [0, 1, 3, 4, 5, 6, 7, 10, 19].iter().fold(0, |a, b| a | 1u64 << b);
            assert_eq!(set & !kept, 0, "{way:?}: {line}");
        }
        assert!(text.contains("NoNewPrivs:\t1"), "{text}");
    }
}

/// Names that would break mount options, shells, mountinfo or UTF-8 readers.
fn weird(base: &Path) -> PathBuf {
    let dir = base.join(OsStr::from_bytes(b"a b,c:d\\e\\054\"'$x\n=\xc3\xa9\xff,upperdir=x"));
    fs::create_dir_all(&dir).unwrap();
    dir
}

#[test]
fn overlays_and_binds_take_any_path() {
    for way in isolated() {
        let scratch = scratch();
        let base = weird(scratch.path());
        for name in ["l,1", "l:2", "up", "wo\\rk", "bind"] {
            fs::create_dir(base.join(name)).unwrap();
        }
        fs::write(base.join("l,1/top"), "top").unwrap();
        fs::write(base.join("l:2/top"), "hidden").unwrap();
        fs::write(base.join("l:2/low"), "low").unwrap();
        fs::write(base.join("bind/file"), "bound").unwrap();
        symlink(base.join("bind"), base.join("link")).unwrap();
        let mounts = vec![
            Mount::Overlay {
                lower: vec![base.join("l,1"), base.join("l:2")],
                upper: base.join("up"),
                work: base.join("wo\\rk"),
                at: "/build/src".into(),
            },
            Mount::Bind { host: base.join("link"), at: "/build/src/ro".into(), writable: false },
            Mount::Bind { host: base.join("bind"), at: "/build/obj".into(), writable: true },
            Mount::Bind { host: base.join("bind/file"), at: "/build/one".into(), writable: false },
            Mount::Tmpfs { at: "/build/obj/mem".into(), size_bytes: 1 << 20 },
        ];
        let script = "cd /build/src; cat top low ro/file /build/one; echo; echo new > low; rm top; echo x > added; \
                      mkdir -p d; chmod 0 d; touch ro/x 2>/dev/null && echo FAULT; echo w > /build/obj/written; \
                      echo m > /build/obj/mem/x; dd if=/dev/zero of=/build/obj/mem/y bs=1M count=2 2>/dev/null || echo full; \
                      stat -f -c %T /build/src";
        let mut spec = spec(way, script);
        spec.mounts = mounts;
        let (outcome, text) = run(&spec);
        assert!(outcome.success(), "{way:?} {outcome:?} {text}");
        assert_eq!(lines(&text), ["toplowboundbound", "full", "overlayfs"], "{way:?}");
        assert_eq!(fs::read_to_string(base.join("up/low")).unwrap(), "new\n");
        assert_eq!(fs::read_to_string(base.join("l:2/low")).unwrap(), "low");
        assert_eq!(fs::read_to_string(base.join("bind/written")).unwrap(), "w\n");
        assert!(!base.join("bind/mem/x").exists());
        // the same upper directory again: what was done is still there
        spec.commands = vec![sh("cd /build/src; cat low; ls top 2>/dev/null; cat added")];
        let (outcome, text) = run(&spec);
        assert!(outcome.success(), "{way:?} {outcome:?}");
        assert_eq!(lines(&text), ["new", "x"], "{way:?}");
        let path = scratch.path().to_owned();
        drop(scratch);
        assert!(!path.exists(), "the work directory with mode 0 goes too");
    }
}

#[test]
fn extra_paths_and_the_host_view() {
    for way in isolated() {
        let scratch = scratch();
        fs::create_dir(scratch.path().join("tool")).unwrap();
        fs::write(scratch.path().join("tool/x"), "tool").unwrap();
        symlink("tool", scratch.path().join("via")).unwrap();
        let tool = scratch.path().join("via");
        let mut spec = spec(way, &format!("cat {0}/x; touch {0}/y 2>/dev/null && echo FAULT", tool.display()));
        spec.commands[0].argv[2].push("; true");
        spec.extra_read_only = vec![tool.clone()];
        let (outcome, text) = run(&spec);
        assert!(outcome.success(), "{outcome:?}");
        assert_eq!(text, "tool", "{way:?}");

        let mut spec = self::spec(way, "head -1 /etc/passwd; touch /etc/kbuild-repro-FAULT; ls -d /home; true");
        spec.view = View::Host;
        // below a read-only directory of the host, where it does not exist
        spec.mounts = vec![Mount::Tmpfs { at: "/opt/none/such/dir".into(), size_bytes: 4096 }];
        spec.commands.push(sh("touch /opt/none/such/dir/x"));
        let (outcome, text) = run(&spec);
        assert!(outcome.success(), "{outcome:?} {text}");
        assert!(text.starts_with("root:"), "{text}");
        assert!(text.contains("/home"), "{text}");
        assert!(!Path::new("/etc/kbuild-repro-FAULT").exists());
        assert!(!Path::new("/opt/none").exists());
    }
}

/// Processes of this user whose environment holds `mark`. Root's own are read as root.
fn marked(mark: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let pid = entry.file_name().to_string_lossy().into_owned();
        if pid.parse::<u32>().is_ok()
            && let Ok(env) = fs::read(entry.path().join("environ"))
            && env.windows(mark.len()).any(|w| w == mark.as_bytes())
        {
            found.push(pid);
        }
    }
    found
}

/// How many helpers of a [`known_sandbox`] there are. What they have open is nobody's to see.
fn helpers(dir: &Path) -> usize {
    let name = dir.join("helper");
    let is_one = |line: Vec<u8>| line.split(|b| *b == 0).next() == Some(name.as_os_str().as_bytes());
    let processes = fs::read_dir("/proc").unwrap().flatten();
    processes.filter(|entry| is_one(fs::read(entry.path().join("cmdline")).unwrap_or_default())).count()
}

fn until(what: &str, limit: Duration, done: impl Fn() -> bool) {
    let begin = Instant::now();
    while !done() {
        assert!(begin.elapsed() < limit, "{what} took longer than {limit:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A build that does what it can to survive: other sessions, ignored signals, orphans, and whatever its keeper
/// has open kept open, for reading and for writing.
const STUBBORN: &str = "trap '' TERM INT HUP; (setsid sh -c 'trap \"\" TERM HUP; while :; do sleep 100; done' &) ; \
                        (sh -c 'sleep 1000 & sleep 1000 & wait' &) ; \
                        for f in /proc/$PPID/fd/*; do sleep 1000 <>$f & done 2>/dev/null; echo up; sleep 1000";

fn stubborn(way: Isolation, mark: &str, scratch: &Path) -> Spec {
    let mut spec = spec(way, STUBBORN);
    spec.env.push(("MARK".into(), mark.into()));
    if way != Isolation::Direct {
        for name in ["l", "u", "w"] {
            let _ = fs::create_dir(scratch.join(name));
        }
        spec.mounts = vec![Mount::Overlay {
            lower: vec![scratch.join("l")],
            upper: scratch.join("u"),
            work: scratch.join("w"),
            at: "/build/src".into(),
        }];
    }
    spec
}

fn has_text(path: &Path, text: &str) -> bool {
    fs::read_to_string(path).is_ok_and(|t| t.contains(text))
}

#[test]
fn killing_leaves_nothing() {
    for (way, drop_it) in with_direct().into_iter().flat_map(|w| [(w, false), (w, true)]) {
        let scratch = scratch();
        let mark = format!("killing-{}-{way:?}-{drop_it}", std::process::id());
        let log = scratch.path().join("log");
        let file = File::create(&log).unwrap();
        let mut running = sandbox().spawn(&stubborn(way, &mark, scratch.path()), &file).unwrap();
        until("start", Duration::from_secs(20), || has_text(&log, "up"));
        until("start", Duration::from_secs(20), || marked(&mark).len() >= 4);
        assert_eq!(running.wait_timeout(Duration::from_millis(1)).unwrap(), None);
        if drop_it {
            drop(running);
        } else {
            running.kill();
            let outcome = running.wait().unwrap();
            assert!(outcome.killed && !outcome.success(), "{outcome:?}");
        }
        assert_eq!(marked(&mark), Vec::<String>::new(), "{way:?}");
        let path = scratch.path().to_owned();
        drop(scratch);
        assert!(!path.exists(), "{way:?}");
    }
}

#[test]
fn stragglers_do_not_outlive_the_last_command() {
    for way in with_direct() {
        let mark = format!("straggler-{}-{way:?}", std::process::id());
        let mut spec = spec(way, "(setsid sleep 1000 &); sleep 1000 & echo ok");
        spec.env.push(("MARK".into(), mark.clone().into()));
        let (outcome, text) = run(&spec);
        assert!(outcome.success(), "{outcome:?}");
        assert_eq!(text, "ok\n");
        assert_eq!(marked(&mark), Vec::<String>::new(), "{way:?}");
    }
}

/// Not a test: the process that `a_killed_harness_leaves_nothing` starts and kills.
#[test]
#[ignore = "started by a_killed_harness_leaves_nothing"]
fn harness_to_be_killed() {
    let Ok(way) = std::env::var("HARNESS_WAY") else { return };
    let way = match way.as_str() {
        "Full" => Isolation::Full,
        "UserNs" => Isolation::UserNs,
        _ => Isolation::Direct,
    };
    let dir = PathBuf::from(std::env::var_os("HARNESS_DIR").unwrap());
    let log = File::create(dir.join("log")).unwrap();
    let spec = stubborn(way, &std::env::var("HARNESS_MARK").unwrap(), &dir);
    // from a thread that ends: only the process counts
    let running = std::thread::spawn(move || known_sandbox(&dir).spawn(&spec, &log).unwrap()).join().unwrap();
    let _outcome = running.wait();
}

#[test]
fn a_killed_harness_leaves_nothing() {
    for way in with_direct() {
        let scratch = scratch();
        let mark = format!("harness-{}-{way:?}", std::process::id());
        let mut harness = Process::new(std::env::current_exe().unwrap())
            .args(["--exact", "harness_to_be_killed", "--ignored", "--nocapture"])
            .env("HARNESS_WAY", format!("{way:?}"))
            .env("HARNESS_DIR", scratch.path())
            .env("HARNESS_MARK", &mark)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let log = scratch.path().join("log");
        until("start", Duration::from_secs(30), || has_text(&log, "up") && marked(&format!("MARK={mark}")).len() >= 5);
        assert!(helpers(scratch.path()) > 0, "the look below sees something");
        harness.kill().unwrap();
        harness.wait().unwrap();
        until(&format!("{way:?}: the end"), Duration::from_secs(2), || marked(&mark).is_empty());
        until(&format!("{way:?}: the end of the keepers"), Duration::from_secs(2), || helpers(scratch.path()) == 0);
        // nothing is mounted on the host
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!mounts.contains("/build/src"), "{mounts}");
        remove_tree(&scratch.path().join("u")).unwrap();
        remove_tree(&scratch.path().join("w")).unwrap();
    }
}

#[test]
fn only_named_descriptors_get_in() {
    for way in with_direct() {
        let secret = File::open("/etc/passwd").unwrap();
        // a careless library of the harness's
        rustix::io::fcntl_setfd(&secret, rustix::io::FdFlags::empty()).unwrap();
        let (read, write) = std::io::pipe().unwrap();
        for refuse in [vec![], vec![Facility::CloseRange]] {
            let script = format!(
                "for f in /proc/self/fd/*; do readlink $f; done | grep -v '^/proc' | grep -c passwd; echo hello > /proc/self/fd/{}",
                write.as_raw_fd()
            );
            let mut spec = spec(way, &script);
            spec.inherit_fds = vec![write.as_raw_fd()];
            spec.refuse = refuse;
            let (outcome, text) = run(&spec);
            assert!(outcome.success(), "{outcome:?} {text}");
            assert_eq!(text, "0\n", "{way:?}");
            let mut line = String::new();
            BufReader::with_capacity(6, &read).read_line(&mut line).unwrap();
            assert_eq!(line, "hello\n");
        }
    }
    let mut bad = spec(Isolation::Auto, "true");
    bad.inherit_fds = vec![1];
    assert!(sandbox().spawn(&bad, &File::open("/dev/null").unwrap()).is_err());
}

#[test]
fn limits_umask_and_address_layout() {
    for way in with_direct() {
        let dir = tempfile::tempdir().unwrap();
        let mut spec =
            spec(way, "ulimit -c; umask; grep -E '(stack|heap)' /proc/self/maps; head -c 5000 /dev/zero > big");
        spec.mounts = vec![Mount::Bind { host: dir.path().into(), at: "/build/obj".into(), writable: true }];
        spec.commands[0].cwd = "/build/obj".into();
        spec.umask = 0o077;
        spec.randomize_addresses = false;
        spec.limits = Limits { file_size: Some(4096), ..Limits::default() };
        let (outcome, first) = run(&spec);
        assert_eq!(outcome.error, None);
        assert!(!outcome.success(), "the file is too large");
        assert_eq!(lines(&first)[..2], ["0", "0077"]);
        let big = fs::metadata(dir.path().join("big")).unwrap();
        assert!(big.len() <= 4096, "{}", big.len());
        assert_eq!(big.permissions().mode() & 0o777, 0o600);
        let (_, second) = run(&spec);
        assert_eq!(first, second, "{way:?}: the same addresses");
    }
}

#[test]
fn what_lies_in_memory_is_bounded() {
    for way in isolated() {
        let script = "cd /tmp; head -c 3000000 /dev/zero > a || exit 1; cd /dev/shm; head -c 3000000 /dev/zero > a || exit 2; \
                      for d in /var/tmp /run /build/home; do echo x > $d/x || exit 3; done; \
                      head -c 3000000 /dev/zero > /var/tmp/a && exit 4; rm /tmp/a; head -c 2500000 /dev/zero > /run/a; \
                      stat -c %a /tmp /var/tmp /run /dev/shm /build/home; grep -c ' /.temp' /proc/self/mountinfo; \
                      grep -E ' /(tmp|dev/shm) ' /proc/self/mountinfo | grep -c nosuid,nodev; ls -d /.temporary; true";
        let mut spec = spec(way, script);
        spec.limits.temporary = Some(8 << 20);
        let (outcome, text) = run(&spec);
        assert!(outcome.success(), "{way:?}: {outcome:?} {text}");
        let told: Vec<&str> = lines(&text).into_iter().filter(|line| line.len() < 5).collect();
        assert_eq!(told, ["1777", "1777", "755", "1777", "755", "0", "2"], "{way:?}: {text}");
    }
}

#[test]
fn what_is_refused_is_named() {
    let lost = |refuse: &[Facility]| {
        let mut spec = spec(Isolation::Auto, "id -u; echo $$");
        spec.refuse = refuse.to_vec();
        let (outcome, _) = run(&spec);
        assert!(outcome.success(), "{outcome:?}");
        assert!(outcome.losses.iter().all(|l| !l.reason.is_empty() && !l.hint.is_empty()));
        (outcome.isolation, outcome.losses.into_iter().map(|l| l.guarantee).collect::<Vec<_>>())
    };
    if isolated().len() < 2 {
        return;
    }
    use Guarantee::*;
    let (way, losses) = lost(&[Facility::MountNs]);
    assert_eq!((way, losses), (Isolated::Direct, vec![FileSystem, Processes, Network, HostName, Ipc]));
    assert_eq!(lost(&[Facility::NetNs]).1, [Network]);
    assert_eq!(lost(&[Facility::PidNs]).1, [Processes, Proc]);
    assert_eq!(lost(&[Facility::UtsNs, Facility::IpcNs]).1, [HostName, Ipc]);
    assert_eq!(lost(&[Facility::FreshProc]).1, [Proc]);
    assert_eq!(lost(&[Facility::PivotRoot]).1, [RootPinned]);
    assert_eq!(lost(&[Facility::MountSetattr]).1, []);

    let mut full = spec(Isolation::Full, "true");
    full.refuse = vec![Facility::NetNs];
    let error = run(&full).0.error.unwrap();
    assert_eq!(error.kind, HelperErrorKind::HostCannot);
    assert!(error.hint.is_some());
    full.refuse = vec![Facility::UserNs, Facility::MountNs];
    assert_eq!(run(&full).0.error.unwrap().kind, HelperErrorKind::HostCannot);
}

#[test]
fn old_kernels_get_the_same_protection() {
    for way in isolated() {
        for refuse in [Facility::MountSetattr, Facility::PivotRoot] {
            let dir = tempfile::tempdir().unwrap();
            let mut spec = spec(
                Isolation::Auto,
                "touch /usr/x /etc/x /x /build/src/x /sys/x 2>/dev/null; ls /usr/x /etc/x /build/src/x /.host 2>/dev/null; echo $?; ls /tmp | wc -l",
            );
            if way == Isolation::UserNs {
                spec.isolation = way;
                // with UserNs a lost RootPinned is no reason to stop
            }
            spec.mounts = vec![Mount::Bind { host: dir.path().into(), at: "/build/src".into(), writable: false }];
            spec.refuse = vec![refuse];
            let (outcome, text) = run(&spec);
            assert!(outcome.success(), "{way:?} {refuse:?} {outcome:?}");
            assert_eq!(lines(&text), ["2", "0"], "{way:?} {refuse:?}");
            assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        }
    }
}

#[test]
fn without_a_pid_namespace_all_is_killed_too() {
    for way in isolated() {
        let mark = format!("nopid-{}-{way:?}", std::process::id());
        let scratch = scratch();
        let mut spec = stubborn(if way == Isolation::Full { Isolation::Auto } else { way }, &mark, scratch.path());
        spec.refuse = vec![Facility::PidNs];
        let log = scratch.path().join("log");
        let mut running = sandbox().spawn(&spec, &File::create(&log).unwrap()).unwrap();
        until("start", Duration::from_secs(20), || has_text(&log, "up") && marked(&mark).len() >= 4);
        running.kill();
        let outcome = running.wait().unwrap();
        assert!(outcome.killed, "{outcome:?}");
        assert_eq!(marked(&mark), Vec::<String>::new(), "{way:?}");
    }
}

#[test]
fn no_overlay_and_no_program_are_told_apart() {
    let scratch = scratch();
    let direct = stubborn(Isolation::Direct, "x", scratch.path());
    let mut overlay = stubborn(Isolation::Auto, "x", scratch.path());
    overlay.isolation = Isolation::Direct;
    assert_eq!(run(&overlay).0.error.unwrap().kind, HelperErrorKind::HostCannot);
    for way in with_direct() {
        let mut spec = Spec { isolation: way, commands: direct.commands.clone(), ..direct.clone() };
        spec.commands[0].argv = vec!["no-such-program".into()];
        let error = run(&spec).0.error.unwrap();
        assert_eq!(error.kind, HelperErrorKind::Exec { index: 0 });
        assert_eq!(error.errno, Some(libc::ENOENT));
        assert!(error.to_string().contains("`no-such-program`"), "{error}");
        spec.commands[0].argv = vec!["true".into()];
        spec.commands[0].cwd = "/no/such/dir".into();
        let error = run(&spec).0.error.unwrap();
        assert_eq!(error.kind, HelperErrorKind::Exec { index: 0 });
        spec.mounts = vec![Mount::Bind { host: "/no/such".into(), at: "/build/src".into(), writable: false }];
        assert_eq!(run(&spec).0.error.unwrap().kind, HelperErrorKind::BadSpec);
    }
    assert!(Sandbox::new("/no/such/helper").spawn(&direct, &File::open("/dev/null").unwrap()).is_err());
    // an executable that is no helper
    let log = File::create(scratch.path().join("log")).unwrap();
    assert!(Sandbox::new("/bin/true").spawn(&direct, &log).unwrap().wait().is_err());
}

#[test]
fn probing_answers_for_every_part() {
    let dir = tempfile::tempdir().unwrap();
    let got = sandbox().probe(dir.path()).unwrap();
    let ways = isolated();
    assert_eq!(got.user_ns.is_ok() && got.overlay_userxattr.is_ok(), ways.contains(&Isolation::UserNs), "{got:?}");
    if ways.contains(&Isolation::Full) {
        for part in [&got.mount_ns, &got.pid_ns, &got.net_ns, &got.uts_ns, &got.ipc_ns, &got.overlay, &got.ptrace] {
            assert_eq!(part, &Ok(()));
        }
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn make_gets_its_tokens_inside() {
    let scratch = scratch();
    fs::create_dir(scratch.path().join("src")).unwrap();
    let makefile = "all:\n\t@$(MAKE) --no-print-directory -f sub.mk\n\t@echo level $(MAKELEVEL)\n";
    fs::write(scratch.path().join("src/Makefile"), makefile).unwrap();
    // each waits for the other, so they have to run at once
    let sub = "all: a b\na b:\n\t@touch $@.up; o=$$(echo $@ | tr ab ba); i=0; while [ ! -e $$o.up ]; do \
               sleep 0.01; i=$$((i+1)); [ $$i -lt 3000 ] || exit 1; done\n";
    fs::write(scratch.path().join("src/sub.mk"), sub).unwrap();
    let pool = Pool::open(&scratch.path().join("slots"), 2).unwrap();
    for way in with_direct() {
        let server = JobServer::start(pool.clone(), pool.acquire(&|| false).unwrap().unwrap(), 2).unwrap();
        let mut spec = spec(way, "make; rm *.up");
        spec.commands[0].cwd = "/build/src".into();
        spec.env.push(("MAKEFLAGS".into(), server.makeflags().into()));
        spec.inherit_fds = server.fds().to_vec();
        spec.mounts = vec![Mount::Bind { host: scratch.path().join("src"), at: "/build/src".into(), writable: true }];
        let (outcome, text) = run(&spec);
        assert!(outcome.success(), "{way:?} {outcome:?} {text}");
        assert_eq!(text, "level 0\n", "{way:?}");
    }
}

/// Not a test: a harness with a terminal's input, for the test below.
#[test]
#[ignore = "started by an_interactive_sandbox_keeps_its_input"]
fn harness_with_a_shell() {
    let Ok(direct) = std::env::var("HARNESS_DIRECT") else { return };
    let mut spec = spec(if direct == "1" { Isolation::Direct } else { Isolation::Auto }, "");
    spec.commands[0].argv = vec!["sh".into()];
    spec.interactive = true;
    let null = File::open("/dev/null").unwrap();
    let outcome = sandbox().spawn(&spec, &null).unwrap().wait().unwrap();
    assert_eq!(outcome.commands[0].status, Status::Exited(7), "{outcome:?}");
}

#[test]
fn an_interactive_sandbox_keeps_its_input() {
    for direct in ["0", "1"] {
        let mut harness = Process::new(std::env::current_exe().unwrap())
            .args(["--exact", "harness_with_a_shell", "--ignored", "--nocapture"])
            .env("HARNESS_DIRECT", direct)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        std::io::Write::write_all(&mut harness.stdin.take().unwrap(), b"echo sum $((40+2))\nexit 7\n").unwrap();
        let out = harness.wait_with_output().unwrap();
        assert!(out.status.success() && String::from_utf8_lossy(&out.stdout).contains("sum 42"), "{out:?}");
    }
}

#[test]
fn many_at_once_are_ended_one_by_one() {
    let way = if isolated().is_empty() { Isolation::Direct } else { Isolation::Auto };
    let scratch = scratch();
    let one = |i: usize| {
        let mark = format!("many-{}-{i}", std::process::id());
        let dir = scratch.path().join(i.to_string());
        fs::create_dir(&dir).unwrap();
        let log = dir.join("log");
        let running = sandbox().spawn(&stubborn(way, &mark, &dir), &File::create(&log).unwrap()).unwrap();
        (running, mark, log)
    };
    // started at the same moment, so that a descriptor that leaks from one into another would keep that one alive
    let all: Vec<_> = std::thread::scope(|s| {
        let threads: Vec<_> = (0..6)
            .map(|i| {
                s.spawn({
                    let one = &one;
                    move || one(i)
                })
            })
            .collect();
        threads.into_iter().map(|t| t.join().unwrap()).collect()
    });
    for (_, _, log) in &all {
        until("start", Duration::from_secs(30), || has_text(log, "up"));
    }
    let mut all = all.into_iter();
    while let Some((mut running, mark, _)) = all.next() {
        running.kill();
        assert!(running.wait().unwrap().killed);
        assert_eq!(marked(&mark), Vec::<String>::new());
        for (_, mark, _) in all.as_slice() {
            assert!(!marked(mark).is_empty(), "the others live on");
        }
    }
}
