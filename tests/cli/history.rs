//! Run after run: what is new, still there and gone, and the directory that past runs are kept in.

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, SystemTime};

use kbuild_repro::report::Report;
use kbuild_repro::report::history::overview::{self, Overview};
use kbuild_repro::verdict::Verdict;
use serde_json::Value as Json;

use crate::lab::{Lab, Ran, has_make};

const MAKEFILE: &str = "\
.PHONY: one two three random
one: one.o
two: two.o
three: three.o
%.o: %.txt
\tcat $< b.txt > $@
random: random.o
random.o:
\tod -An -N8 -tx8 /dev/urandom > $@
";
const HEAD: &str =
    "tier = \"quick\"\n[tree]\nsrctree = \"../../tree\"\nkind = \"make\"\n[compare]\nartifacts = [\"*.o\"]\n";
/// `b.txt` is read, and no rule says so.
const STALE: &str = "[[edit]]\nfile = \"b.txt\"\nappend = \"3\\n\"\n";

fn lab() -> Lab {
    let lab = Lab::new();
    lab.write("tree/Makefile", MAKEFILE).write("tree/b.txt", "2\n");
    for name in ["one", "two", "three"] {
        lab.write(&format!("tree/{name}.txt"), name);
    }
    lab
}

/// Writes a scenario that makes one of the files, with an edit after which it is stale or without.
fn scenario(lab: &Lab, name: &str, stale: bool) {
    lab.scenario(name, &format!("{HEAD}[make]\ngoals = [\"{name}\"]\n{}", if stale { STALE } else { "" }));
}

/// A run with its report; runs are ordered by the second of their beginning.
fn night(lab: &Lab, more: &[&str]) -> (Ran, Report) {
    std::thread::sleep(Duration::from_millis(1100));
    lab.report(&[&["scenarios/t", "--history", "past"], more].concat())
}

fn files(lab: &Lab) -> Vec<PathBuf> {
    let entries = fs::read_dir(lab.path("past")).expect("a directory").map(|entry| entry.expect("an entry").path());
    let mut files: Vec<PathBuf> = entries.collect();
    files.sort();
    files
}

/// Two nights: in the first `one` and `two` are wrong, in the second `two` and `three`.
fn two_nights() -> (Lab, Report, (Ran, Report)) {
    let lab = lab();
    for (name, stale) in [("one", true), ("two", true), ("three", false)] {
        scenario(&lab, name, stale);
    }
    let (ran, first) = night(&lab, &["--out", "first"]);
    ran.exits(1).reports(&["the first run in the history"]);
    scenario(&lab, "one", false);
    scenario(&lab, "three", true);
    let second = night(&lab, &["--out", "second", "--report", "html=page.html"]);
    (lab, first, second)
}

fn is_valid(schema: &Json, text: &str) {
    let answer: Json = serde_json::from_str(text).expect("JSON");
    let validator = jsonschema::validator_for(schema).expect("a schema");
    let errors: Vec<String> = validator.iter_errors(&answer).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{errors:?}");
}

#[test]
fn what_is_new_still_there_and_gone_is_told_in_every_report() {
    if !has_make() {
        return;
    }
    let (lab, first, (ran, second)) = two_nights();
    assert_eq!((first.exit_code, second.exit_code), (1, 1), "{ran}");
    let ran = ran.reports(&[": 1 new, 1 still there since ", " (2 runs), 1 gone\n", "[new]", ", 2 runs]"]);
    let ran = ran.reports(&["  new: cat three.txt b.txt > three.o — wrongly skipped (rebuild.stale) in t/three\n"]);
    let ran = ran.reports(&["  gone: cat one.txt b.txt > one.o — wrongly skipped (rebuild.stale) in t/one (last "]);
    assert_eq!(
        ran.out.matches("    changed since: the scenario was changed (not recorded: makefiles").count(),
        2,
        "{ran}"
    );
    let since = second.since.expect("it has a history");
    assert_eq!((since.runs, since.last.map(|last| last.run)), (1, Some(first.run)));
    assert_eq!(since.cells.iter().map(|cell| cell.verdicts.as_str()).collect::<Vec<_>>(), ["F.", ".F", "FF"], "{ran}");
    assert!(since.cells.iter().all(|cell| cell.trend.wall_ms.len() == 2 && !cell.flaky));
    let page = fs::read_to_string(lab.path("page.html")).expect("a page");
    for has in ["class=\"tag new\">NEW", "class=\"tag still\">SINCE", "class=\"tag gone\">GONE", "<svg class=\"spark\""]
    {
        assert!(page.contains(has), "{has}");
    }
    is_valid(kbuild_repro::report::json::schema(), &fs::read_to_string(lab.path("report.json")).expect("a report"));
    // The record has the same, and a reader that is no person has the findings alone.
    let recorded = fs::read_to_string(lab.path("second/report.txt")).expect("a report");
    assert!(recorded.contains("1 new, 1 still there"), "{recorded}");
    let junit = lab.run(&["judge", "second", "--history", "past", "--report", "junit"]).exits(1);
    assert!(!junit.out.contains("[new]"), "{junit}");
}

#[test]
fn a_run_that_is_judged_again_is_compared_with_what_was_before_it() {
    if !has_make() {
        return;
    }
    let (lab, first, (_, second)) = two_nights();
    let judged = |run: &str, more: &[&str]| -> Report {
        let ran = lab.run(&[&["judge", run, "--format", "json"], more].concat()).exits(1);
        serde_json::from_str(&ran.out).expect("a report")
    };
    assert_eq!(judged("first", &["--history", "past"]).since, first.since, "not with the second, nor with itself");
    assert_eq!(judged("second", &["--history", "past"]).since, second.since);
    assert_eq!((judged("second", &[]).since, files(&lab).len()), (None, 2), "none is asked for, and nothing entered");
    lab.run(&["report", "second", "--history", "past"]).exits(1).reports(&["1 new, 1 still there"]);
    // Without the history, and with one that is not there, the verdict is the same.
    let lost = judged("second", &["--history", "nowhere"]);
    assert_eq!((lost.exit_code, lost.since.expect("told").told.len()), (1, 1));
    assert!(!lab.path("nowhere").exists());
}

#[test]
fn history_shows_the_runs_one_of_them_and_scenarios_over_them() {
    if !has_make() {
        return;
    }
    let (lab, first, (_, second)) = two_nights();
    let history = |arguments: &[&str]| lab.run(&[&["history"], arguments].concat());
    let table = history(&["past"]).exits(0);
    let lines: Vec<&str> = table.out.lines().collect();
    assert!(lines[0].starts_with("started (UTC)") && lines.len() == 3, "{table}");
    assert!(lines[1].contains(&first.run) && lines[1].contains(" 2 failed, 1 passed"), "{table}");
    assert!(lines[2].contains(&second.run), "{table}");
    let counts: Vec<&str> = lines[2].split_whitespace().skip(3).take(4).collect();
    assert_eq!(counts, ["1", "1", "1", "0"], "{table}");
    let one = history(&[&second.run, "--history", "past"]).exits(0);
    let one = one.reports(&["1 new, 1 still there since ", "  gone: cat one.txt"]);
    is_valid(overview::schema(), &history(&[&second.run, "--history", "past", "--format", "json"]).exits(0).out);
    let cells = history(&["past", "--scenario", "t/t*"]).exits(0);
    let cells = cells.reports(&[
        "t/three  .F\n",
        "t/two    FF\n",
        "    make         ",
        " object tree  ",
        ". passed · F failed",
    ]);
    assert!(!cells.out.contains("t/one"), "{cells}");
    let json = history(&["past", "--scenario", "one", "--format", "json"]).exits(0).out;
    is_valid(overview::schema(), &json);
    let overview: Overview = serde_json::from_str(&json).expect("an answer");
    assert_eq!((overview.runs.len(), overview.cells.expect("asked for")[0].verdicts.as_str()), (2, "F."));
    let last = history(&["past", "--runs", "1", "--since", "1d"]).exits(0).reports(&["1 of 2 runs"]);
    assert!(!last.out.contains(&first.run) && last.out.contains(&second.run), "{one}{last}");
    history(&["past", "--scenario", "nothing"]).exits(4);
    history(&["2099", "--history", "past"]).exits(2).says(&["no run of the history"]);
    history(&["20", "--history", "past"]).exits(2).says(&["the beginning of several runs", &first.run]);
    history(&[]).exits(2).says(&["no history is named", "KBUILD_REPRO_HISTORY"]);
    history(&["--history", "nowhere"]).exits(2).says(&["cannot read the history"]);
    history(&["past", "--report", "junit"]).exits(2);
}

#[test]
fn what_comes_and_goes_with_the_same_inputs_is_flaky() {
    if !has_make() {
        return;
    }
    let lab = lab();
    let names = reports(&lab, 3);
    for (number, name) in names.iter().enumerate() {
        let mut report: Report = serde_json::from_slice(&fs::read(lab.path(name)).expect("a file")).expect("a report");
        report.scenarios[0].source = "commit 1".into();
        if number == 1 {
            report.scenarios[0].verdict = Verdict::Passed;
            report.scenarios[0].findings.clear();
        }
        lab.write(name, serde_json::to_vec(&report).expect("JSON"));
    }
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    lab.run(&[&["history", "add", "--history", "past"], &names[..]].concat()).exits(0);
    let ran = lab.run(&["history", "night-02", "--history", "past"]).exits(0);
    ran.reports(&["): 1 flaky\n", "  flaky: t/one [F.F] with the same inputs 1 of the last 3 runs passed, 2 failed\n"]);
}

#[test]
fn what_differs_from_build_to_build_each_night_is_still_there() {
    if !has_make() {
        return;
    }
    let lab = lab();
    lab.scenario("random", &format!("{HEAD}[make]\ngoals = [\"random\"]\n[experiment]\njobs = 1\n"));
    night(&lab, &[]).0.exits(1);
    let (ran, report) = night(&lab, &[]);
    ran.exits(1).reports(&[": 1 still there since ", ", 2 runs, differs from build to build]"]);
    assert_eq!(report.since.expect("told").cells[0].verdicts, "~~");
}

#[test]
fn what_is_damaged_in_the_history_is_told_and_left_alone() {
    if !has_make() {
        return;
    }
    let lab = lab();
    scenario(&lab, "one", false);
    night(&lab, &[]).0.exits(0);
    let whole = fs::read(&files(&lab)[0]).expect("a file");
    lab.write("past/cut.json", &whole[..whole.len() / 2]).write("past/notes.txt", "mine");
    // A writer that was killed left this, and one is writing that.
    lab.write("past/.tmp-left", &whole[..100]).write("past/.tmp-now", "");
    let old = SystemTime::now() - Duration::from_secs(3 * 86_400);
    let left = fs::File::options().write(true).open(lab.path("past/.tmp-left")).expect("a file");
    left.set_times(fs::FileTimes::new().set_modified(old)).expect("set");
    let (ran, _) = night(&lab, &[]);
    ran.exits(0).reports(&["attention: `", "cut.json` is passed over: ", "notes.txt` is passed over: ", "nothing new"]);
    let names = |lab: &Lab| -> Vec<String> {
        files(lab).iter().map(|path| path.file_name().expect("a name").to_string_lossy().into_owned()).collect()
    };
    assert_eq!(names(&lab).len(), 5, "{:?}", names(&lab));
    assert!(lab.path("past/.tmp-now").exists() && !lab.path("past/.tmp-left").exists());
    lab.run(&["history", "past"]).exits(0).says(&["cut.json` is passed over"]);
    // A variable that is empty is none.
    let none = Ran::of(lab.command(&["judge"]).env("KBUILD_REPRO_HISTORY", "").output().expect("it starts")).exits(0);
    assert!(!none.out.contains("since the last run"), "{none}");
    // What cannot be kept is said before anything is built.
    lab.write("file", "");
    let ran = lab.run(&["run", "scenarios/t", "--history", "file"]).exits(2).says(&["cannot write the history"]);
    assert!(!ran.err.contains("t/one"), "{ran}");
}

/// JSON reports of so many nights, made from one.
fn reports(lab: &Lab, count: usize) -> Vec<String> {
    scenario(lab, "one", true);
    let (_, report) = lab.report(&["scenarios/t"]);
    (0..count)
        .map(|number| {
            let mut night = report.clone();
            night.run = format!("night-{number:02}");
            night.started += 86_400 * number as u64;
            night.record = None;
            let name = format!("night-{number:02}.json");
            lab.write(&name, serde_json::to_vec(&night).expect("JSON"));
            name
        })
        .collect()
}

#[test]
fn runs_that_were_made_without_are_added_by_many_at_once_and_bounded() {
    if !has_make() {
        return;
    }
    let lab = lab();
    let names = reports(&lab, 13);
    let add = |names: &[String], more: &[&str]| {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        lab.command(&[&["history", "add", "--history", "past"], more, &names[..]].concat())
    };
    // Those of the middle are entered by several.
    let writers: Vec<_> = [&names[..6], &names[3..9], &names[3..9], &names[6..12]]
        .into_iter()
        .map(|part| add(part, &[]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts"))
        .collect();
    for writer in writers {
        Ran::of(writer.wait_with_output().expect("it ends")).exits(0);
    }
    assert_eq!(files(&lab).len(), 12);
    let again = Ran::of(add(&names[..12], &[]).output().expect("it starts")).exits(0);
    assert_eq!(again.out, "0 runs entered, 12 there already\n");
    lab.run(&["history", "past"]).exits(0).reports(&["night-00 ", "night-11 "]);
    let bounded = Ran::of(add(&names[12..], &["--history-limit", "1K"]).output().expect("it starts")).exits(0);
    assert_eq!(bounded.out, "1 run entered, 3 of the oldest removed (--history-limit)\n");
    let left = lab.run(&["history", "past"]).exits(0);
    assert!(left.out.contains("night-12") && left.out.contains("night-03") && !left.out.contains("night-02"), "{left}");
    // The one cause of all is still there since the first that is left.
    lab.run(&["history", "night-12", "--history", "past"]).exits(0).reports(&["1 still there since ", "(10 runs)"]);
    lab.write("no.json", "{}");
    Ran::of(add(&["no.json".into()], &[]).output().expect("it starts")).exits(2).says(&["it is no JSON report"]);
    Ran::of(add(&["scenarios".into()], &[]).output().expect("it starts")).exits(2).says(&["is no run"]);
}

#[test]
fn shards_are_compared_and_what_is_merged_is_entered() {
    if !has_make() {
        return;
    }
    let (lab, ..) = two_nights();
    std::thread::sleep(Duration::from_millis(1100));
    for (which, out) in [("1/2", "shards/1"), ("2/2", "shards/2")] {
        let ran = lab.run(&["run", "scenarios/t", "--history", "past", "--shard", which, "--out", out]);
        ran.reports(&["since the last run ("]);
    }
    assert_eq!(files(&lab).len(), 2, "no part of a run is entered");
    lab.run(&["history", "add", "shards/1", "--history", "past"]).exits(2).says(&["is shard 1/2", "merge"]);
    lab.run(&["merge", "shards", "--history", "past", "--out", "third"]).exits(1).reports(&["2 still there since "]);
    assert_eq!(files(&lab).len(), 3);
    // From the records the same is made: all three of them are there.
    let runs = ["first", "second", "third"];
    let again = lab.run(&[&["history", "add", "--history", "past"], &runs[..]].concat()).exits(0);
    assert_eq!(again.out, "0 runs entered, 3 there already\n");
    lab.run(&["history", "past"]).exits(0).reports(&["-merged "]);
    // A bisection's runs are no nights.
    lab.run(&["run", "scenarios/t", "--history", "past", "--bisect"]).exits(1);
    assert_eq!(files(&lab).len(), 3);
}
