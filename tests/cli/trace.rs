//! `trace`: the status is the command's, the trace goes where it is asked to, in every format.

use std::process::{Command, Output};

use kbuild_repro::trace::{Deed, Trace};

fn trace(dir: &tempfile::TempDir, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kbuild-repro"));
    command.arg("trace").args(args).current_dir(dir.path()).output().expect("started")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("UTF-8")
}

#[test]
fn the_status_and_the_output_are_the_commands_own() {
    let dir = tempfile::tempdir().expect("a directory");
    let output = trace(&dir, &["--", "sh", "-c", "echo said; echo x > made; exit 7"]);
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(7), "said\n"));
    let told = text(&output.stderr);
    assert!(told.starts_with("sh -c 'echo said;") && told.contains("exit 7") && told.contains("create made"), "{told}");
    assert_eq!(trace(&dir, &["--", "sh", "-c", "kill -TERM $$"]).status.code(), Some(128 + 15));
    let none = trace(&dir, &["--", "there-is-none"]);
    assert_eq!(none.status.code(), Some(127));
    assert!(text(&none.stderr).contains("cannot run `there-is-none`"));
    assert_eq!(trace(&dir, &[]).status.code(), Some(2));
}

#[test]
fn every_format_is_what_its_readers_take() {
    let dir = tempfile::tempdir().expect("a directory");
    std::fs::write(dir.path().join("in"), "x").expect("written");
    let of = |format: &str| {
        let output = trace(&dir, &["--format", format, "-o", "out", "--", "sh", "-c", "cat in > made"]);
        assert_eq!((output.status.code(), text(&output.stderr), text(&output.stdout)), (Some(0), "", ""), "{format}");
        std::fs::read(dir.path().join("out")).expect("written")
    };
    let whole = Trace::parse(&of("json")).expect("a trace");
    let read = whole.processes.iter().flat_map(|process| &process.actions).find(|action| {
        action.deed == Deed::Read && whole.path(action.path) == dir.path().canonicalize().expect("there").join("in")
    });
    let sha256_of_x = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881";
    assert_eq!(whole.digest(read.expect("read").content), Some(sha256_of_x));
    let line: serde_json::Value = serde_json::from_slice(&of("perfetto")).expect("JSON");
    assert!(line["traceEvents"].as_array().is_some_and(|events| !events.is_empty()));
    let dot = of("dot");
    assert!(text(&dot).starts_with("digraph") && text(&dot).contains("label=\"made\""), "{}", text(&dot));
    let beside = trace(&dir, &["-o", "-", "--", "sh", "-c", ":"]);
    assert!(text(&beside.stdout).starts_with("sh -c :"));
}

#[test]
fn look_ups_are_in_json_unless_they_are_left_out() {
    let dir = tempfile::tempdir().expect("a directory");
    let traced = |args: &[&str]| {
        let output = trace(&dir, &[args, &["-o", "out", "--", "sh", "-c", "test -e none; echo x > made"]].concat());
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        std::fs::read(dir.path().join("out")).expect("written")
    };
    let missing = |trace: &Trace| {
        let looks = trace.processes.iter().flat_map(|process| &process.actions);
        looks.filter(|action| action.deed == Deed::Missing && trace.path(action.path).ends_with("none")).count()
    };
    let whole = Trace::parse(&traced(&["--format", "json"])).expect("a trace");
    assert_eq!((whole.looks_left_out, missing(&whole)), (false, 1));
    let fast = Trace::parse(&traced(&["--format", "json", "--fast"])).expect("a trace");
    assert_eq!((fast.looks_left_out, missing(&fast)), (true, 0));
    assert!(text(&traced(&["--looks"])).contains("missing none"));
    assert!(!text(&traced(&[])).contains("missing none"));
    let output = trace(&dir, &["--fast", "--looks", "--", "true"]);
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn what_cannot_be_written_is_said_before_anything_runs() {
    let dir = tempfile::tempdir().expect("a directory");
    let output = trace(&dir, &["-o", "no/where", "--", "touch", "ran"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("no/where") && !dir.path().join("ran").exists());
    let output = trace(&dir, &["--dir", "nowhere", "--", "touch", "ran"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(!dir.path().join("ran").exists());
}

#[test]
fn two_builds_part_at_the_step_that_makes_the_difference() {
    let dir = tempfile::tempdir().expect("a directory");
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).expect("written");
    write(
        "Makefile",
        "all: x y\nx: stamp\n\tcp stamp x\nstamp:\n\tdate +%N > stamp\ny: in\n\tcp in y\n\tsed -i s/1/2/ y\n",
    );
    write("in", "1\n");
    let record = |to: &str| {
        let output = trace(&dir, &["--format", "json", "-o", to, "--", "sh", "-c", "rm -f x y stamp; make"]);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
    };
    record("a.json");
    record("b.json");
    let output = trace(&dir, &["--read", "b.json", "--against", "a.json", "-o", "-"]);
    insta::assert_snapshot!(text(&output.stdout), @r"
    4 steps in both builds, 2 with the same inputs and outputs

    got the same and made something else (1):
      date +%N > stamp
        - makes another stamp

    got something else (1), the first:
      cp stamp x
        - reads another stamp
        - makes another x
    ");
    write("in", "11\n");
    record("c.json");
    let output = trace(&dir, &["--read", "c.json", "--against", "b.json"]);
    assert!(text(&output.stdout).contains("the sources differ:\n    - in\n"), "{}", text(&output.stdout));
    let output = trace(&dir, &["--read", "c.json", "--format", "json", "-o", "c.json"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    Trace::parse(&std::fs::read(dir.path().join("c.json")).expect("there")).expect("still whole");
    let output = trace(&dir, &["--read", "Makefile", "-o", "-"]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
}
