//! Builds whose memory is limited, so that the kernel kills one of their processes.

#![expect(clippy::print_stderr, reason = "tests say why they skip")]

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use crate::interrupted::{self, TREE};
use crate::lab::{Lab, Ran};

/// What needs 128 MiB between its first line of output and its last.
const GREEDY: &str = "cat in && dd if=/dev/zero of=/dev/null bs=128M count=1 status=none && echo end";

/// What a run says where the host permits no limit.
const UNTESTED: &str = "not tested: an out-of-memory kill takes a memory cgroup";

fn lab(recipe: &str) -> Lab {
    interrupted::lab(&[recipe])
}

fn limited(memory: &str) -> String {
    format!("{TREE}interrupt = {{ memory = \"{memory}\" }}\n")
}

/// The groups that are there of one harness, below all that a hierarchy has.
fn groups(harness: u32) -> Vec<PathBuf> {
    let wanted = format!("kbuild-repro-{harness}-");
    let mut dirs = vec![PathBuf::from("/sys/fs/cgroup")];
    let mut found = Vec::new();
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => dirs.push(entry.path()),
                _ => continue,
            }
            if entry.file_name().to_string_lossy().starts_with(&wanted) {
                found.push(entry.path());
            }
        }
    }
    found
}

#[test]
fn what_the_kernel_kills_for_want_of_memory_is_told_and_what_a_pipe_hides_of_it_is_found() {
    let lab = lab(&format!("{{ {GREEDY}; }} | cat >out"));
    lab.scenario("greedy", &limited("64M"));
    let child = lab.command(&["run", "greedy"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
    let harness = child.id();
    let ran = Ran::of(child.wait_with_output().expect("it ends"));
    assert_eq!(groups(harness), Vec::<PathBuf>::new(), "{ran}");
    if ran.out.contains(UNTESTED) {
        eprintln!("skipped: no memory cgroups");
        ran.exits(4);
        return;
    }
    ran.exits(1).reports(&[
        "resume.diverged out",
        "after an out-of-memory kill in `{ cat in && dd",
        "with 64M for all processes",
        "the build worked in spite of an out-of-memory kill",
    ]);
    // Whoever heeds it is silent, and what is enough kills nobody.
    let heeds = self::lab(&format!("{{ {GREEDY}; }} >new && mv new out"));
    heeds.scenario("greedy", &limited("64M"));
    heeds.run(&["run", "greedy", "--verbose"]).exits(0).reports(&["edit-1/interrupted", "failed with exit code 2"]);
    heeds.scenario("greedy", &limited("1G"));
    heeds.run(&["run", "greedy"]).exits(1).reports(&["expect.unmet memory", "nothing was killed, for that was enough"]);
}

#[test]
fn a_host_that_permits_no_limit_is_told_and_is_no_pass() {
    let lab = lab("cat in >out");
    lab.scenario("greedy", &limited("64M"));
    let plain = lab.command(&["run", "greedy"]);
    // A mount over the cgroups, in a mount namespace of its own.
    let hidden = "mount -t tmpfs none /sys/fs/cgroup && exec \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", hidden, "sh"]).arg(plain.get_program()).args(plain.get_args());
    command.current_dir(lab.path(""));
    for (name, value) in plain.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let ran = Ran::of(command.output().expect("unshare(1) starts"));
    if ran.err.contains("unshare") || ran.err.contains("mount:") {
        eprintln!("skipped: {ran}");
        return;
    }
    ran.exits(4).reports(&["skipped", UNTESTED, "hint: run as root"]);
}

#[test]
fn the_group_of_a_harness_that_was_killed_is_removed_by_the_next_run() {
    // After the edit the step does not come to its end.
    let lab = lab("if grep -q more in; then sleep 1000; fi; cat in >out");
    lab.scenario("slow", &limited("64M"));
    let mut child = lab.command(&["run", "slow"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("starts");
    let Some(group) = working_group(&mut child) else {
        eprintln!("skipped: no memory cgroups");
        return;
    };
    child.kill().expect("it runs");
    child.wait().expect("it ends");
    let procs = || fs::read_to_string(group.join("cgroup.procs")).is_ok_and(|text| !text.is_empty());
    while procs() {
        sleep(Duration::from_millis(20));
    }
    assert!(group.is_dir(), "it is there until somebody sweeps");
    lab.scenario("plain", &TREE.replace("[[edit]]\nfile = \"in\"\nappend = \"more\\n\"\n", ""));
    lab.run(&["run", "plain"]).exits(0);
    assert!(!group.exists(), "{}", group.display());
}

/// The group that a running harness has put make in; none if it ends without one.
fn working_group(child: &mut Child) -> Option<PathBuf> {
    loop {
        let make = |group: &PathBuf| {
            let procs = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
            procs.lines().any(|pid| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name == "sleep\n"))
        };
        if let Some(group) = groups(child.id()).into_iter().find(make) {
            return Some(group);
        }
        if child.try_wait().expect("a child").is_some() {
            return None;
        }
        sleep(Duration::from_millis(20));
    }
}
