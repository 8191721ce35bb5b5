//! Random edits: the same from the same seed, what they find, and the scenario that is left of it.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::symlink;
use std::process::Stdio;

use kbuild_repro::report::Report;
use kbuild_repro::scenario::FindingName;
use rustix::process::{Pid, Signal, kill_process};

use crate::lab::{Lab, Ran, has_make, of, read_report};

/// A tree of files that are put together, one of which is no prerequisite if `fault`.
fn lab(fault: bool) -> Lab {
    let lab = Lab::new();
    let tree = lab.path("scenarios/t/tree");
    fs::create_dir_all(&tree).unwrap();
    for name in ["a", "b", "c", "d"] {
        fs::write(tree.join(name), format!("{name}\n")).unwrap();
    }
    let needs = if fault { "a" } else { "a b" };
    let makefile = format!("all: first second\nfirst: {needs}\n\tcat a b >first\nsecond: c d\n\tcat c d >second\n");
    fs::write(tree.join("Makefile"), makefile).unwrap();
    lab.scenario(
        "tree",
        "tier = \"quick\"\n[tree]\nsrctree = \"./tree\"\nkind = \"make\"\n[compare]\nartifacts = [\"first\", \"second\"]\n",
    );
    lab
}

fn fuzz(lab: &Lab, arguments: &[&str]) -> (Ran, Report) {
    let ran = lab.run(&[&["fuzz", "tree", "--json", "report.json"], arguments].concat());
    let report = read_report(&lab.path("report.json")).unwrap_or_else(|| panic!("no report: {ran}"));
    (ran, report)
}

#[test]
fn a_seed_gives_the_same_sequences_each_time() {
    if !has_make() {
        return;
    }
    let lab = lab(false);
    let listed = |seed: &str| {
        let (ran, report) = fuzz(&lab, &["--list", "--sequences", "5", "--seed", seed]);
        let fuzz = of(&report, "tree").fuzz.clone().expect("fuzzed");
        assert_eq!((ran.code, fuzz.listed.len(), fuzz.tried), (0, 5, 0), "{ran}");
        assert!(ran.out.contains("sequence 4"), "{ran}");
        fuzz.listed
    };
    let one = listed("7");
    assert_eq!(one, listed("7"));
    assert_ne!(one, listed("8"));
    // One of them by its number.
    let (_, report) = fuzz(&lab, &["--list", "--only", "3", "--seed", "7"]);
    assert_eq!(of(&report, "tree").fuzz.as_ref().expect("fuzzed").listed, [one[3].clone()]);
    // Another directory has the same tree.
    let other = self::lab(false);
    let (_, report) = fuzz(&other, &["--list", "--sequences", "5", "--seed", "7"]);
    assert_eq!(of(&report, "tree").fuzz.as_ref().expect("fuzzed").listed, one);
}

#[test]
fn a_missing_dependency_is_found_and_shrunk_to_one_edit_and_the_scenario_that_is_written_passes() {
    if !has_make() {
        return;
    }
    let lab = lab(true);
    let kinds = ["--kinds", "touch,comment,change,mode,undo", "--edits", "6", "--sequences", "4", "--write", "found"];
    let (ran, report) = fuzz(&lab, &kinds);
    let scenario = of(&report, "tree");
    let fuzz = scenario.fuzz.as_ref().expect("fuzzed");
    assert_eq!((ran.code, fuzz.tried, fuzz.broke), (1, 4, 0), "{ran}");
    let [found] = fuzz.found.as_slice() else { panic!("{:#?} {ran}", fuzz.found) };
    assert_eq!((found.finding, found.edits, found.confirmed), (FindingName::RebuildStale, 1, true), "{ran}");
    assert!(found.of > 0 && !found.sequences.is_empty() && found.runs > 0, "{found:?}");
    let file = found.file.as_deref().expect("written");
    assert!(file.starts_with("found/rebuild-stale-"), "{file}");
    let text = fs::read_to_string(lab.path(file)).expect("it is there");
    for words in [
        "file = \"b\"",
        "finding = \"rebuild.stale\"",
        "target = \"first\"",
        "--seed 0 --edits 6 --kinds touch,comment,change,mode,undo --only",
    ] {
        assert!(text.contains(words), "`{words}`: {text}");
    }
    assert_eq!(text.matches("[[edit]]").count(), 1, "{text}");
    lab.run(&["run", file]).exits(0).says(&["the planted fault was found"]);
    // Without the fault it says that there is none any more.
    let makefile = lab.path("scenarios/t/tree/Makefile");
    fs::write(&makefile, fs::read_to_string(&makefile).unwrap().replace("first: a\n", "first: a b\n")).unwrap();
    lab.run(&["run", file]).exits(1).reports(&["expect.unmet"]);
    assert_eq!(lab.left_over(), [""; 0].map(std::path::PathBuf::from));
}

#[test]
fn a_tree_without_a_fault_shows_nothing() {
    if !has_make() {
        return;
    }
    let lab = lab(false);
    let (ran, report) = fuzz(&lab, &["--sequences", "3", "--edits", "6", "--every"]);
    let fuzz = of(&report, "tree").fuzz.clone().expect("fuzzed");
    assert_eq!((ran.code, fuzz.tried, fuzz.wrong, fuzz.found.len()), (0, 3, 0, 0), "{ran}");
    assert!(fuzz.made >= 12, "{fuzz:?}");
}

#[test]
fn what_is_wrong_without_an_edit_is_found_before_the_first() {
    if !has_make() {
        return;
    }
    let lab = lab(false);
    let tree = lab.path("scenarios/t/tree");
    fs::write(tree.join("Makefile"), "all: first second\nfirst: a\n\tdate +%N >first\nsecond: b\n\tcat b >second\n")
        .unwrap();
    let (ran, report) = fuzz(&lab, &["--sequences", "1", "--edits", "3", "--kinds", "change"]);
    let fuzz = of(&report, "tree").fuzz.clone().expect("fuzzed");
    let [found] = fuzz.found.as_slice() else { panic!("{:#?} {ran}", fuzz.found) };
    assert_eq!((ran.code, found.finding, found.edits, fuzz.wrong), (1, FindingName::ReproMismatch, 0, 0), "{ran}");
    assert!(found.confirmed, "{ran}");
}

#[test]
fn options_that_mean_nothing_are_told() {
    let lab = lab(false);
    lab.run(&["fuzz", "tree", "--kinds", "header,headers"]).exits(2).says(&["headers", "interrupt"]);
    lab.run(&["fuzz", "tree", "--edits", "0"]).exits(2).says(&["--edits"]);
    lab.run(&["fuzz", "tree", "--sequences", "0"]).exits(2).says(&["--sequences"]);
    lab.run(&["fuzz", "tree", "--only", "3", "--for", "1m"]).exits(2).says(&["--only"]);
    lab.run(&["fuzz", "tree", "--for", "soon"]).exits(2).says(&["a time such as"]);
    lab.run(&["fuzz"]).exits(2).says(&["SCENARIO"]);
    lab.run(&["fuzz", "nosuch"]).exits(4).says(&["nosuch"]);
}

#[test]
fn what_was_found_is_written_when_it_is_stopped() {
    if !has_make() {
        return;
    }
    let lab = lab(true);
    let arguments = ["fuzz", "tree", "--kinds", "touch,change", "--edits", "6", "--sequences", "4", "--write", "found"];
    let mut command = lab.command(&[&arguments[..], &["--json", "report.json"]].concat());
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("it starts");
    let said = BufReader::new(child.stderr.take().expect("piped")).lines();
    let mut all = String::new();
    for line in said.map_while(Result::ok) {
        // Before the first run that makes it small, and once: a second signal ends it at once.
        if line.contains("faults: 1") && !all.contains("faults: 1") {
            kill_process(Pid::from_child(&child), Signal::INT).expect("it runs");
        }
        all.push_str(&line);
        all.push('\n');
    }
    assert_eq!(child.wait().expect("it ends").code(), Some(130), "{all}");
    let report = read_report(&lab.path("report.json")).expect("a report");
    let fuzz = of(&report, "tree").fuzz.clone().expect("fuzzed");
    let [found] = fuzz.found.as_slice() else { panic!("{:#?} {all}", fuzz.found) };
    let file = found.file.as_deref().expect("written");
    assert!(!found.confirmed && lab.path(file).is_file(), "{found:?} {all}");
    lab.run(&["check", file]).exits(0);
}

#[test]
fn a_link_out_of_the_tree_is_nothing_to_edit() {
    let lab = lab(false);
    lab.write("outside", "text\n");
    let files = || {
        let (_, report) = fuzz(&lab, &["--list", "--sequences", "1"]);
        of(&report, "tree").fuzz.as_ref().expect("fuzzed").files
    };
    let own = files();
    // A source, which is edited whether a build reads it or not.
    let link = lab.path("scenarios/t/tree/link.c");
    symlink(lab.path("outside"), &link).unwrap();
    assert_eq!(files(), own);
    fs::remove_file(&link).unwrap();
    symlink("a", &link).unwrap();
    assert_eq!(files(), own + 1);
}

#[test]
fn the_help_of_what_takes_long_fits_a_terminal() {
    let lab = Lab::new();
    for (command, first) in [("fuzz", "Builds the scenario's tree"), ("sweep", "Makes the build after")] {
        let ran = lab.run(&[command, "--help"]).exits(0);
        let end: Vec<&str> = ran.out.lines().skip_while(|line| !line.starts_with(first)).collect();
        assert!(end.len() > 10, "{ran}");
        let long: Vec<&&str> = end.iter().filter(|line| line.len() > 80).collect();
        assert!(long.is_empty(), "{long:#?}");
        // Nothing was broken anew: but for the last of a paragraph, lines are filled.
        let short = end.windows(2).find(|two| {
            let plain = two.iter().all(|line| !line.is_empty() && !line.starts_with(' '));
            plain && two[0].len() + 1 + two[1].split(' ').next().map_or(0, str::len) <= 78
        });
        assert_eq!(short, None);
    }
}
