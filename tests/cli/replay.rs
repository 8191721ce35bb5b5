//! `replay`: which steps come to the same again on their own output, and that the tree stays as it is.

use std::process::{Command, Output};

use kbuild_repro::sandbox::Sandbox;

const MAKEFILE: &str = "\
all: same counts once late both
same: in
\tcp in same
\tsed -i s/1/2/ same
counts: in
\tcp in counts
\techo more >> counts
once: in
\tcp in once.tmp; cp in once
\tcat once.tmp once > once.new && mv once.new once
\trm once.tmp
late: in
\tcp in late
\tsed -i s/1/3/ late
\techo end >> late
both: in
\tcp in both
\tsed -i s/9/2/ both; dd if=in of=both oflag=append conv=notrunc status=none
";

struct Lab(tempfile::TempDir);

impl Lab {
    fn new() -> Self {
        // Not below /tmp, where a sandbox has a directory of its own.
        let lab = Self(tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory"));
        lab.write("Makefile", MAKEFILE);
        lab.write("in", "1\n");
        lab
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.0.path().join(name), text).expect("written");
    }

    fn run(&self, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kbuild-repro"));
        command.args(args).current_dir(self.0.path()).env_remove("MAKEFLAGS").env_remove("MAKELEVEL");
        command.output().expect("started")
    }
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("UTF-8")
}

/// Replays need overlays.
fn able() -> bool {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let probed = Sandbox::new(env!("CARGO_BIN_EXE_kbuild-repro")).probe(dir.path());
    probed.is_ok_and(|host| host.overlay.is_ok())
}

#[test]
fn steps_that_rewrite_a_file_are_run_again_on_it() {
    if !able() {
        return;
    }
    let lab = Lab::new();
    let output = lab.run(&["replay", "--times", "3", "--", "make", "-s"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = text(&output.stdout);
    for line in [
        "sed -i s/1/2/ same: idempotent",
        "echo more >> counts: not idempotent: 3 of 3 runs change its output, 3 different results",
        "both oflag=append conv=notrunc status=none: not idempotent: 3 of 3 runs change its output, 3 different results\n  \
         by itself: dd if=in of=both oflag=append conv=notrunc status=none\n  - run 1",
        "cat once.tmp once > once.new && mv once.new once: not replayable: `once.tmp`, which it read, is there no more",
        "sed -i s/1/3/ late: not replayable: `late` was written again by `echo end >> late`",
    ] {
        assert!(said.contains(line), "`{line}`: {said}");
    }
    assert!(said.ends_with("6 steps, 4 replayed 3 times each, 3 not idempotent\n"), "{said}");
    let counts = std::fs::read_to_string(lab.0.path().join("counts")).expect("there");
    assert_eq!(counts, "1\nmore\n", "the tree stays as it is");
}

#[test]
fn any_step_can_be_named_and_a_trace_be_taken() {
    if !able() {
        return;
    }
    let lab = Lab::new();
    let traced = lab.run(&["trace", "--format", "json", "-o", "t.json", "--", "make"]);
    assert_eq!(traced.status.code(), Some(0), "{traced:?}");
    let output = lab.run(&["replay", "--read", "t.json", "sed*same"]);
    assert_eq!((output.status.code(), text(&output.stdout).lines().count()), (Some(0), 2), "{output:?}");
    assert_eq!(lab.run(&["replay", "--read", "t.json", "no such step"]).status.code(), Some(4));
    // What somebody else has changed since is not what the step left.
    lab.write("same", "other\n");
    let output = lab.run(&["replay", "--read", "t.json", "sed*same"]);
    assert_eq!(output.status.code(), Some(4), "{output:?}");
    assert!(text(&output.stdout).contains("is not what the step left"), "{output:?}");
}

#[test]
fn what_a_replay_cannot_tell_it_does_not() {
    if !able() {
        return;
    }
    let lab = Lab::new();
    let text = "all:\n\tcat n >/dev/null; date +%N > n\n\tcat m >/dev/null; test -e flag || date +%N > m; touch flag\n\
                \tcat k >/dev/null; cp in k\n\techo 2 > in\n";
    lab.write("Makefile", text);
    for name in ["n", "m", "k"] {
        lab.write(name, "0\n");
    }
    let output = lab.run(&["replay", "--", "make", "-s"]);
    let said = text_of(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("date +%N > n: not idempotent: 2 of 2 runs"), "{said}");
    assert!(said.contains("touch flag: not replayable: it did not write `m` again"), "{said}");
    assert!(said.contains("cp in k: not replayable: `in` is not what the step read"), "{said}");
}

fn text_of(output: &Output) -> &str {
    text(&output.stdout)
}

#[test]
fn what_does_not_build_is_not_replayed() {
    let lab = Lab::new();
    lab.write("Makefile", "all:\n\tfalse\n");
    let output = lab.run(&["replay", "--", "make"]);
    assert_eq!(output.status.code(), Some(4), "{output:?}");
    lab.write("Makefile", "all:\n\ttouch out\n");
    let output = lab.run(&["replay", "--", "make"]);
    assert_eq!(output.status.code(), Some(4), "{output:?}");
    assert!(text(&output.stderr).contains("no step rewrites a file"), "{output:?}");
}
