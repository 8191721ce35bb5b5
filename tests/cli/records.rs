//! Run records: where they go, and what is made of them later.

use std::fs;

use kbuild_repro::verdict::Verdict;
use serde_json::Value as Json;

use crate::lab::{Lab, Ran, has_make, of, told};

const HEAD: &str =
    "tier = \"quick\"\n[tree]\nsrctree = \"../../tree\"\nkind = \"make\"\n[compare]\nartifacts = [\"*.o\"]\n";

fn lab() -> Lab {
    let lab = Lab::new();
    lab.write("tree/Makefile", "all: out.o stamp.o\nout.o: a.txt\n\tcat a.txt b.txt > $@\nstamp.o:\n\tdate +%N > $@\n");
    lab.write("tree/a.txt", "1\n").write("tree/b.txt", "2\n");
    lab.scenario("ok", &format!("{HEAD}[make]\ngoals = [\"out.o\"]\n"));
    lab.scenario("bad", &format!("{HEAD}[[edit]]\nfile = \"b.txt\"\nappend = \"3\\n\"\n"));
    lab
}

fn json(text: &str) -> Json {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("no JSON: {error}\n{text}"))
}

#[test]
fn judging_again_gives_the_same_report_byte_for_byte() {
    if !has_make() {
        return;
    }
    let lab = lab();
    let out = lab.path("out");
    let out = out.to_str().expect("UTF-8");
    let run = lab.run(&["run", "--quiet", "--format", "json", "--out", out]).exits(1);
    let findings = json(&run.out)["scenarios"][0]["findings"].as_array().map_or(0, Vec::len);
    assert!(findings >= 2, "{run}");
    for _ in 0..2 {
        let judged = lab.run(&["judge", out, "--format", "json"]).exits(1);
        assert_eq!(judged.out, run.out);
    }
    assert_eq!(fs::read_to_string(lab.path("out/report.json")).expect("a report"), run.out);
    // In words, too.
    let text = lab.run(&["judge", "out", "--verbose"]).exits(1);
    assert_eq!(fs::read_to_string(lab.path("out/report.txt")).expect("a report"), text.out);
}

#[test]
fn the_latest_run_is_judged_by_default() {
    if !has_make() {
        return;
    }
    let lab = lab();
    lab.run(&["run", "ok"]).exits(0);
    lab.run(&["judge"]).exits(0);
    lab.run(&["run", "bad"]).exits(1);
    let judged = lab.run(&["judge"]).exits(1);
    assert!(judged.out.contains("rebuild.stale out.o"), "{judged}");
    let runs = lab.path("state/kbuild-repro/runs");
    let latest = fs::read_link(runs.join("latest")).expect("a link");
    lab.run(&["judge", latest.to_str().expect("UTF-8")]).exits(1);
    assert_eq!(fs::read_dir(runs).expect("runs").count(), 3, "two runs and the link");
}

#[test]
fn records_that_cannot_be_used_are_usage_errors() {
    if !has_make() {
        return;
    }
    let lab = lab();
    lab.run(&["run", "ok", "--out", "out"]).exits(0);
    let whole = fs::read_to_string(lab.path("out/t/ok/record.json")).expect("a record");
    for (text, says) in [
        (&whole[..whole.len() / 2], "is no run record"),
        ("{}", "is no run record"),
        ("{\"format\": 99}", "has format 99; this harness reads up to 1"),
        ("", "is no run record"),
    ] {
        lab.write("out/t/ok/record.json", text);
        lab.run(&["judge", "out"]).exits(2).says(&["out/t/ok/record.json", says]);
    }
    fs::remove_file(lab.path("out/t/ok/record.json")).expect("removed");
    lab.run(&["judge", "out"]).exits(2).says(&["cannot read the record"]);
}

#[test]
fn a_directory_with_other_things_is_not_written_to() {
    if !has_make() {
        return;
    }
    let lab = lab();
    lab.write("mine/thesis.txt", "years of work");
    lab.run(&["run", "ok", "--out", "mine"]).exits(2).says(&["holds something that is no run record"]);
    // What a run that was killed leaves is known as a run's.
    lab.write("killed/.run", "").write("killed/t/ok/record.json", "{");
    lab.run(&["run", "ok", "--out", "killed"]).exits(0);
    assert_eq!(fs::read_dir(lab.path("mine")).expect("there").count(), 1);
    lab.write("file", "");
    assert_ne!(lab.run(&["run", "ok", "--out", "file"]).code, 0);
    // An empty one, and one of an earlier run, are.
    fs::create_dir(lab.path("empty")).expect("made");
    for _ in 0..2 {
        lab.run(&["run", "ok", "--out", "empty"]).exits(0);
    }
}

#[test]
fn a_snapshot_that_nothing_declares_fails_a_run_of_everything() {
    if !has_make() {
        return;
    }
    let lab = lab();
    fs::remove_file(lab.path("scenarios/t/bad.toml")).expect("removed");
    lab.run(&["run"]).exits(0);
    lab.write("snapshots/t/gone/gcc-12/vmlinux.snap", "---\nsource: x\n---\nBTF\n").write("snapshots/t/ok/x.snap", "?");
    let (ran, report) = lab.report(&["--out", "out"]);
    assert_eq!((ran.code, report.verdict), (1, Verdict::Failed), "{ran}");
    let targets: Vec<&str> = report.findings.iter().map(|finding| finding.target.as_str()).collect();
    assert_eq!(targets, ["t/gone/gcc-12/vmlinux.snap", "t/ok/x.snap"]);
    assert!(ran.out.contains("snapshot.unreferenced"), "{ran}");
    assert_eq!(told(of(&report, "ok")).0, Verdict::Passed);
    assert_eq!(lab.run(&["judge", "out"]).exits(1).out, ran.out);
    // What happens to be selected says nothing about what is declared.
    lab.run(&["run", "ok"]).exits(0);
    lab.run(&["run", "--tier", "quick"]).exits(0);
    // Declared in a scenario that the tiers leave out counts.
    let declares = "[snapshots]\nbtf = [\"vmlinux\"]\nvariants = [{ gcc = \"12\" }]\n";
    lab.scenario("gone", &format!("tier = \"long\"\n[tree]\nsrctree = \"mini\"\n{declares}"));
    fs::remove_file(lab.path("snapshots/t/ok/x.snap")).expect("removed");
    lab.run(&["run"]).exits(0);
}

#[test]
fn two_runs_at_once_do_not_disturb_each_other() {
    if !has_make() {
        return;
    }
    let lab = lab();
    let start = || {
        let mut command = lab.command(&["run", "ok", "--quiet"]);
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().expect("it starts")
    };
    let runs: Vec<_> = (0..4).map(|_| start()).collect();
    for run in runs {
        Ran::of(run.wait_with_output().expect("it ends")).exits(0);
    }
    assert_eq!(lab.left_over(), [""; 0].map(std::path::PathBuf::from));
    let runs = fs::read_dir(lab.path("state/kbuild-repro/runs")).expect("runs").count();
    assert_eq!(runs, 5, "four runs and the link");
}

#[test]
fn two_runs_do_not_write_to_one_directory() {
    if !has_make() {
        return;
    }
    let lab = Lab::new();
    lab.scenario("plain", "[tree]\nsrctree = \"mini\"\n");
    lab.run(&["run", "t/plain", "--out", "out"]).exits(0);
    let held = std::fs::File::options().append(true).open(lab.path("out/.run")).expect("a run's");
    held.try_lock().expect("nobody is at it");
    lab.run(&["run", "t/plain", "--out", "out"]).exits(2).says(&["another run writes to", "--out"]);
    assert!(lab.path("out/run.json").is_file(), "it is left alone");
    drop(held);
    lab.run(&["run", "t/plain", "--out", "out"]).exits(0);
}

#[test]
fn nothing_compared_is_no_pass_for_whoever_tries_very_much() {
    if !has_make() {
        return;
    }
    let lab = Lab::new();
    let edit = "[[edit]]\nfile = \"crypto/md5.c\"\nappend = \"int a;\\n\"\n";
    lab.scenario("none", &format!("[tree]\nsrctree = \"mini\"\n[compare]\nonly = [\"nothing.ko\"]\n{edit}"));
    for command in [
        &["fuzz", "t/none", "--kinds", "header", "--edits", "2", "--only", "1"][..],
        &["sweep", "t/none", "--step", "*md5.ko", "--limit", "1"],
    ] {
        lab.run(command).exits(4).reports(&["no artifact was compared"]);
    }
    lab.run(&["sweep", "t/none", "--limit", "0"]).exits(2);
}
