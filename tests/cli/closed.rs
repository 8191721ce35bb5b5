//! Builds that leave what cannot simply be read: closed to their own user, too deep, too large.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use kbuild_repro::verdict::Verdict;
use rustix::process::{Pid, Signal, kill_process};

use crate::lab::{Lab, Ran, has_make, of, read_report, told};

const HEAD: &str = "tier = \"quick\"\n[tree]\nsrctree = \"../../tree\"\nkind = \"make\"\n[compare]\n";

/// An ordinary user for tests that root runs.
const SOMEBODY: u32 = 54321;

fn give_away(path: &Path) {
    std::os::unix::fs::lchown(path, Some(SOMEBODY), Some(SOMEBODY)).expect("root gives away");
    if path.is_dir() {
        std::fs::read_dir(path).expect("a directory").for_each(|entry| give_away(&entry.expect("entry").path()));
    }
}

/// Runs as an ordinary user; `None` where that is not to be had.
#[expect(clippy::print_stderr, reason = "a skipped test says why")]
fn run_as_a_user(lab: &Lab, arguments: &[&str]) -> Option<Ran> {
    let command = |arguments: &[&str]| {
        let mut command = lab.command(arguments);
        if rustix::process::geteuid().is_root() {
            command.uid(SOMEBODY).gid(SOMEBODY);
        }
        command
    };
    if rustix::process::geteuid().is_root() {
        give_away(&lab.path(""));
    }
    if !command(&["--version"]).output().is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: an ordinary user cannot run the binary where it is");
        return None;
    }
    Some(Ran::of(command(arguments).output().expect("it starts")))
}

#[test]
fn what_a_build_closes_to_its_own_user_is_read_and_closed_again() {
    if !has_make() {
        return;
    }
    let lab = Lab::new();
    // The no-op looks whether it finds what it left.
    let makefile = "all: d/out.o\n\t@test \"$$(stat -c %a d other secret | tr '\\n' ' ')\" = '0 300 0 '\n\
                    d/out.o: in.txt\n\tmkdir -p d other/e; cat in.txt > d/out.o; echo x > other/e/f; echo y > secret\n\
                    \tchmod 000 d/out.o other/e secret; chmod 300 other; chmod 000 d\n";
    lab.write("tree/Makefile", makefile).write("tree/in.txt", "1\n");
    lab.scenario("closed", &format!("{HEAD}artifacts = [\"d/out.o\", \"other/e/f\"]\n"));
    let Some(ran) = run_as_a_user(&lab, &["run", "--json", "report.json"]) else { return };
    let ran = ran.exits(0);
    let report = read_report(&lab.path("report.json")).expect("a report");
    assert_eq!((told(of(&report, "closed")).0, of(&report, "closed").compared > 1), (Verdict::Passed, true), "{ran}");
}

#[test]
fn a_tree_too_deep_to_be_named_is_the_builds_own_doing() {
    if !has_make() {
        return;
    }
    let lab = Lab::new();
    let makefile = "out.o: in.txt\n\tcat in.txt > $@\n\t@n=$$(printf '%0250d' 0); i=0; \\\n\
                    \twhile [ $$i -lt 20 ]; do mkdir $$n && cd -P $$n || exit 1; i=$$((i+1)); done\n";
    lab.write("tree/Makefile", makefile).write("tree/in.txt", "1\n");
    lab.scenario("deep", &format!("{HEAD}artifacts = [\"out.o\"]\n"));
    let (ran, report) = lab.report(&[]);
    assert_eq!(ran.code, 4, "{ran}");
    let (verdict, findings) = told(of(&report, "deep"));
    assert_eq!((verdict, findings[0]), (Verdict::Inconclusive, "build.failed"), "{ran}");
    let summary = &of(&report, "deep").findings[0].summary;
    assert!(summary.contains("cannot be looked at") && summary.contains("File name too long"), "{summary}");
    assert!(summary.len() < 400, "{summary}");
    assert_eq!(lab.left_over(), [""; 0].map(std::path::PathBuf::from));
}

/// A tree whose only output is a hole of this size, and whose scenario has further keys.
fn hole(size: &str, tier: &str, more: &str) -> Lab {
    let lab = Lab::new();
    lab.write("tree/Makefile", format!("out.o: in.txt\n\ttruncate -s {size} $@ beside\n")).write("tree/in.txt", "1\n");
    let head = HEAD.replace("quick", tier);
    lab.scenario("hole", &format!("{head}artifacts = [\"out.o\"]\n{more}"));
    lab
}

#[test]
fn a_file_too_large_to_be_read_is_not_read() {
    if !has_make() {
        return;
    }
    let lab = hole("1T", "long", "");
    let (ran, report) = lab.report(&["scenarios/t/hole.toml"]);
    assert_eq!(ran.code, 4, "{ran}");
    assert_eq!(told(of(&report, "hole")).0, Verdict::Inconclusive, "{ran}");
    let summary = &of(&report, "hole").findings[0].summary;
    assert!(summary.contains("`out.o` is 1024 GiB long, more than the 64 GiB that are read"), "{summary}");
    // one that is not compared is only looked at
    let lab = hole("1T", "long", "only = [\"in.txt\"]\n");
    let (ran, _) = lab.report(&["scenarios/t/hole.toml"]);
    assert_ne!(ran.code, 70, "{ran}");
}

#[test]
fn the_reading_of_a_large_file_can_be_interrupted() {
    if !has_make() {
        return;
    }
    // a bound of the disk that lets it be read
    let lab = hole("250G", "quick", "[limits]\ndisk = 300000\n");
    let mut command = lab.command(&["run", "--out", "out", "--json", "report.json"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    let started = Instant::now();
    while !lab.path("out/t/hole/control/clean/build.sh").exists() {
        assert!(started.elapsed() < Duration::from_secs(60), "the build takes too long");
        std::thread::sleep(Duration::from_millis(10));
    }
    std::thread::sleep(Duration::from_millis(300));
    let asked = Instant::now();
    let pid = Pid::from_raw(i32::try_from(child.id()).expect("a pid")).expect("a pid");
    kill_process(pid, Signal::INT).expect("it runs");
    let ran = Ran::of(child.wait_with_output().expect("its output")).exits(130);
    assert!(asked.elapsed() < Duration::from_secs(4), "{:?}: {ran}", asked.elapsed());
    let report = read_report(&lab.path("report.json")).expect("a partial report");
    assert_eq!(of(&report, "hole").verdict, Verdict::Interrupted);
    assert_eq!(lab.left_over(), [""; 0].map(std::path::PathBuf::from));
}
