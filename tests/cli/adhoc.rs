//! `noop`, `incremental`, `twice` and `shell` on a small tree of the user's own.

use std::fs;
use std::path::PathBuf;

use kbuild_repro::report::Report;

use crate::lab::{Lab, Ran, has_make, read_report};

/// Nothing wrong with it.
const GOOD: &str = "all: out.o\nout.o: a.txt b.txt\n\tcat a.txt b.txt > $@\nclean:\n\trm -f out.o\n";

fn lab(makefile: &str) -> Lab {
    let lab = Lab::new();
    lab.write("tree/Makefile", makefile).write("tree/a.txt", "1\n").write("tree/b.txt", "2\n");
    lab
}

/// Runs `arguments -- make more`, in the tree.
fn adhoc(lab: &Lab, arguments: &[&str], make: &[&str]) -> (Ran, Option<Report>) {
    let json = lab.path("report.json");
    let _ = fs::remove_file(&json);
    let report = ["--json", json.to_str().expect("UTF-8")];
    let mut command = lab.command(&[arguments, &report, &["--", "make"], make].concat());
    let ran = Ran::of(command.current_dir(lab.path("tree")).output().expect("it starts"));
    (ran, read_report(&json))
}

#[track_caller]
fn finds(lab: &Lab, arguments: &[&str], code: i32, findings: &[&str]) -> Ran {
    let (ran, report) = adhoc(lab, arguments, &[]);
    let report = report.unwrap_or_else(|| panic!("no report: {ran}"));
    let found = &report.scenarios[0].findings;
    let mut ids: Vec<String> = found.iter().map(|finding| format!("{} {}", finding.name, finding.target)).collect();
    ids.sort();
    assert_eq!(ids, findings, "{ran}");
    assert_eq!(ran.code, code, "{ran}");
    assert!(report.scenarios[0].compared > 0);
    ran
}

fn names(lab: &Lab) -> Vec<PathBuf> {
    let mut names: Vec<PathBuf> =
        fs::read_dir(lab.path("tree")).expect("the tree").map(|entry| entry.expect("entry").path()).collect();
    names.sort();
    names
}

#[test]
fn scratch_space_in_the_tree_itself_is_refused() {
    let lab = lab(GOOD);
    let within = lab.path("tree").join("tmp");
    let (ran, report) = adhoc(&lab, &["noop", "--scratch", within.to_str().expect("UTF-8")], &[]);
    assert_eq!((ran.code, report.is_none()), (2, true), "{ran}");
    ran.says(&["is inside the tree", "--scratch"]);
}

#[test]
fn a_directory_for_temporary_files_that_is_not_there_is_not_made() {
    let lab = lab(GOOD);
    let mut command = lab.command(&["noop", "--", "make", "-C", "tree"]);
    command.env_remove("KBUILD_REPRO_SCRATCH").env("TMPDIR", lab.path("disk/tmp"));
    Ran::of(command.output().expect("it starts")).exits(3).says(&["No such file or directory", "--scratch DIR"]);
    assert!(!lab.path("disk").exists(), "it may be a disk that is not mounted");
}

#[test]
fn a_good_tree_is_good_and_is_not_touched() {
    if !has_make() {
        return;
    }
    let lab = lab(GOOD);
    let before = names(&lab);
    finds(&lab, &["noop"], 0, &[]);
    let (ran, _) = adhoc(&lab, &["noop"], &["-s", "-k"]);
    assert_eq!(ran.code, 0, "{ran}");
    let (ran, _) = adhoc(&lab, &["noop"], &["-B"]);
    assert_eq!(ran.code, 2, "what changes what is made is refused: {ran}");
    finds(&lab, &["twice"], 0, &[]);
    finds(&lab, &["incremental", "--edit", "b.txt"], 0, &[]);
    finds(&lab, &["incremental", "--edit", "b.txt", "--append", "3\n"], 0, &[]);
    assert_eq!(names(&lab), before);
    assert_eq!(fs::read_to_string(lab.path("tree/b.txt")).expect("there"), "2\n");
    assert_eq!(lab.left_over(), [""; 0].map(PathBuf::from));
}

#[test]
fn a_time_stamp_is_found_by_two_builds() {
    if !has_make() {
        return;
    }
    let lab = lab("out.o: a.txt\n\tdate +%N > $@\n");
    let ran = finds(&lab, &["twice"], 1, &["repro.mismatch out.o"]);
    assert!(ran.out.contains("in experiment/clean against control/clean"), "{ran}");
    finds(&lab, &["noop"], 0, &[]);
}

#[test]
fn a_time_in_seconds_is_found_however_fast_the_build_is() {
    if !has_make() {
        return;
    }
    // What make's parsing takes from the clock, and what a recipe does: the whole build takes milliseconds.
    let lab = lab("NOW := $(shell date +%s)\nall: a.o b.o\na.o:\n\techo $(NOW) > $@\nb.o:\n\tdate > $@\n");
    for _ in 0..3 {
        finds(&lab, &["twice"], 1, &["repro.mismatch a.o", "repro.mismatch b.o"]);
    }
}

#[test]
fn a_touch_on_which_nothing_depends_is_said() {
    if !has_make() {
        return;
    }
    let lab = lab("out.o: a.txt\n\tcat a.txt b.txt > $@\n");
    let ran = finds(&lab, &["incremental", "--edit", "b.txt"], 0, &[]);
    assert!(ran.out.contains("the edit of b.txt made make run no step"), "{ran}");
    assert!(ran.out.contains("`--append TEXT`"), "{ran}");
    assert!(ran.out.contains("attention: the clean build read it, in `cat a.txt b.txt > out.o`"), "{ran}");
    // A text that makes no difference shows nothing, and who read the file is told all the same.
    lab.write("tree/Makefile", "out.o: a.txt\n\tgrep -v '#' b.txt > $@\n");
    let ran = finds(&lab, &["incremental", "--edit", "b.txt", "--append", "# no\n"], 0, &[]);
    assert!(ran.out.contains("attention: the clean build read it"), "{ran}");
    lab.write("tree/Makefile", "out.o: a.txt\n\tcat a.txt b.txt > $@\n");
    let ran = finds(&lab, &["incremental", "--edit", "a.txt"], 0, &[]);
    assert!(!ran.out.contains("no step"), "{ran}");
}

#[test]
fn a_kept_tree_can_be_looked_at() {
    if !has_make() {
        return;
    }
    let lab = lab(GOOD);
    lab.run(&["shell", "twice", "--", "true"]).exits(2).says(&["no run of `twice` kept its trees"]);
    finds(&lab, &["twice", "--keep"], 0, &[]);
    lab.run(&["shell", "twice", "--build", "experiment/clean", "--", "grep", "-q", "2", "out.o"]).exits(0);
}

#[test]
fn what_does_not_reach_the_build_is_said() {
    if !has_make() {
        return;
    }
    let lab = lab(GOOD);
    let mut command = lab.command(&["twice", "--", "make"]);
    let ran = Ran::of(command.env("CROSS_COMPILE", "x-").current_dir(lab.path("tree")).output().expect("it starts"));
    ran.exits(0).says(&["without CROSS_COMPILE", "write NAME=VALUE after make"]);
}

#[test]
fn a_step_that_runs_for_nothing_is_found_by_a_second_make() {
    if !has_make() {
        return;
    }
    let lab = lab(".PHONY: all\nall:\n\t@date +%N > out.o\n");
    finds(&lab, &["noop"], 1, &["noop.changed out.o", "noop.ran out.o"]);
}

#[test]
fn a_missing_dependency_is_found_by_an_edit() {
    if !has_make() {
        return;
    }
    let lab = lab("out.o: a.txt\n\tcat a.txt b.txt > $@\n");
    finds(&lab, &["incremental", "--edit", "b.txt", "--append", "3\n"], 1, &["rebuild.stale out.o"]);
    // Touching alone changes no byte of a clean build.
    finds(&lab, &["incremental", "--edit", "b.txt"], 0, &[]);
    finds(&lab, &["noop"], 0, &[]);
}

#[test]
fn a_result_that_depends_on_what_was_there_is_found_by_an_edit() {
    if !has_make() {
        return;
    }
    let lab = lab("out.o: a.txt\n\tcat a.txt >> $@\n");
    finds(&lab, &["incremental", "--edit", "a.txt", "--append", "3\n"], 1, &["rebuild.diverged out.o"]);
}

#[test]
fn a_tree_with_objects_is_cleaned_first() {
    if !has_make() {
        return;
    }
    let lab = lab(GOOD);
    lab.write("tree/out.o", "left over from another day, and newer than its sources\n");
    finds(&lab, &["twice"], 0, &[]);
    finds(&lab, &["incremental", "--edit", "a.txt", "--append", "3\n"], 0, &[]);
    assert!(fs::read_to_string(lab.path("tree/out.o")).expect("there").starts_with("left over"));
}

#[test]
fn in_place_means_in_place() {
    if !has_make() {
        return;
    }
    let lab = lab(GOOD);
    finds(&lab, &["noop", "--in-place"], 0, &[]);
    assert_eq!(fs::read_to_string(lab.path("tree/out.o")).expect("built here"), "1\n2\n");
}

#[test]
fn goals_variables_and_directories_are_passed_on() {
    if !has_make() {
        return;
    }
    let lab = lab("all:\n\texit 1\nout.o:\n\t[ \"$(A)\" = \"it's 1\" ]\n\techo > $@\n");
    let (ran, report) = adhoc(&lab, &["twice"], &["-j2", "A=it's 1", "out.o"]);
    assert_eq!(ran.code, 0, "{ran}");
    assert_eq!(report.expect("a report").scenarios[0].compared, 1);
    let (ran, _) = adhoc(&lab, &["twice"], &[]);
    assert_eq!(ran.code, 4, "a build that fails says nothing: {ran}");
    assert!(ran.out.contains("build.failed"), "{ran}");
    let (ran, _) = adhoc(&lab, &["twice", "--artifact", "*.nothing"], &["out.o"]);
    assert_eq!(ran.code, 4, "nothing was compared: {ran}");
    let (ran, _) = adhoc(&lab, &["incremental", "--edit", "nowhere.txt"], &["out.o"]);
    ran.exits(2).says(&["`nowhere.txt` is no file in the tree"]);
}

#[test]
fn the_scenario_that_is_written_can_be_checked_and_run() {
    if !has_make() {
        return;
    }
    let lab = lab("out.o: a.txt\n\tcat a.txt b.txt > $@\n");
    let file = lab.path("mine.toml");
    let file = file.to_str().expect("UTF-8");
    finds(&lab, &["incremental", "--edit", "b.txt", "--append", "3\n", "--write", file], 1, &["rebuild.stale out.o"]);
    lab.run(&["check", file]).exits(0);
    let (ran, report) = lab.report(&[file]);
    assert_eq!(ran.code, 1, "{ran}");
    let found: Vec<_> = report.scenarios[0].findings.iter().map(|finding| finding.name.name()).collect();
    assert_eq!(found, ["rebuild.stale"]);
    assert_eq!(lab.run(&["list", file]).exits(0).out.split_whitespace().nth(2), Some("kernel"));
}

#[test]
fn a_shell_has_the_status_of_its_command() {
    if !has_make() {
        return;
    }
    let lab = lab(GOOD);
    let head =
        "tier = \"quick\"\n[tree]\nsrctree = \"../../tree\"\nkind = \"make\"\n[compare]\nartifacts = [\"out.o\"]\n";
    lab.scenario("ok", head);
    let file = "scenarios/t/ok.toml";
    lab.run(&["shell", file, "--", "true"]).exits(0);
    lab.run(&["shell", file, "--", "sh", "-c", "exit 7"]).exits(7);
    lab.run(&["shell", file, "--", "sh", "-c", "kill -TERM $$"]).exits(143);
    // It is the tree of the build, where the build saw it.
    lab.run(&["shell", file, "--", "sh", "-c", "[ $PWD = /build/src ] && grep -q 2 out.o"]).exits(0);
    lab.run(&["shell", file, "--build", "no/such", "--", "true"]).exits(2).says(&["no kept build `no/such`"]);
}
