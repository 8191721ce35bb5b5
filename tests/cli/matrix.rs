//! One scenario over several tools and numbers of jobs, by its file and by the command line.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use kbuild_repro::artifact::record::{ScenarioRecord, read};
use kbuild_repro::report::Report;
use kbuild_repro::verdict::Verdict;

use crate::lab::{Lab, of, told};

/// A tree of one file, which holds what a program called pahole prints.
const TREE: &str =
    "tier = \"quick\"\n[tree]\nsrctree = \"../../tree\"\nkind = \"make\"\n[compare]\nartifacts = [\"out\"]\n";

/// A lab with that tree, and two paholes: one says the same each time, the other does not.
fn lab() -> Lab {
    let lab = Lab::new();
    lab.write("tree/Makefile", "out: in\n\tpahole >$@\n").write("tree/in", "");
    for (dir, version, prints) in
        [("base", "v1.31", "echo same"), ("next", "v1.32", "cat /proc/sys/kernel/random/uuid")]
    {
        let text = format!("#!/bin/sh\nif [ \"$1\" = --version ]; then echo {version}; else {prints}; fi\n");
        let path = format!("{dir}/build/pahole");
        lab.write(&path, text);
        fs::set_permissions(lab.path(&path), fs::Permissions::from_mode(0o755)).expect("chmod");
    }
    lab
}

fn ids(report: &Report) -> Vec<&str> {
    report.scenarios.iter().map(|scenario| scenario.id.as_str()).collect()
}

#[test]
fn each_cell_is_a_scenario_of_its_own_and_the_table_has_them_all() {
    let lab = lab();
    lab.write("tree/Makefile", "out: in\n\tcp in $@\n");
    lab.scenario("two", &format!("{TREE}[matrix]\njobs = [2, 1]\n"));
    lab.scenario("one", TREE);
    let (ran, report) = lab.report(&["--out", "out"]);
    assert_eq!(ids(&report), ["t/one", "t/two@jobs=2", "t/two@jobs=1"]);
    let cell = of(&report, "two@jobs=1");
    assert_eq!(cell.matrix.iter().collect::<Vec<_>>(), [(&"jobs".to_owned(), &"1".to_owned())]);
    assert_eq!(cell.again, "kbuild-repro run scenarios/t/two.toml@jobs=1 --keep");
    assert!(of(&report, "one").matrix.is_empty());
    let record: ScenarioRecord = read(&lab.path("out/t/two@jobs=2/record.json")).expect("a record");
    assert_eq!((record.scenario.make.jobs, record.matrix["jobs"].as_str()), (Some(2), "2"));
    ran.exits(0).reports(&["\njobs   1       2\nt/two  passed  passed\n"]);
}

#[test]
fn cells_are_named_as_scenarios_are() {
    let lab = lab();
    lab.write("tree/Makefile", "out: in\n\tcp in $@\n");
    lab.scenario("a", &format!("{TREE}[matrix]\njobs = [1, 2]\nmake = [\"system\"]\n"));
    lab.scenario("b", &format!("{TREE}[matrix]\njobs = [1, 2]\n"));
    let chosen = |what: &[&str]| {
        let (ran, report) = lab.report(what);
        ran.exits(0);
        ids(&report).join(" ")
    };
    assert_eq!(chosen(&["t/a@jobs=2"]), "t/a@jobs=2");
    assert_eq!(chosen(&["t/*@jobs=2"]), "t/a@jobs=2 t/b@jobs=2");
    assert_eq!(chosen(&["scenarios/t/b.toml@jobs=1", "t/b@jobs=2"]), "t/b@jobs=1 t/b@jobs=2");
    // The command line goes over what is written, in the cells that are named.
    assert_eq!(chosen(&["t/b@jobs=1", "--make-jobs", "3,4"]), "t/b@jobs=3 t/b@jobs=4");
    lab.run(&["run", "t/a@jobs=3"]).exits(4).says(&["no scenario matches `t/a@jobs=3`", "did you mean `t/a@jobs="]);
    let file = lab.run(&["run", "scenarios/t/a.toml@jobs=3"]).exits(2);
    file.says(&["`scenarios/t/a.toml` has no cell `jobs=3`", "its cells: jobs=1 jobs=2"]);
    lab.run(&["list"]).exits(0).reports(&["t/a@jobs=1", "t/b@jobs=2"]);
    lab.run(&["check"]).exits(0).reports(&["4 scenarios are valid"]);
}

#[test]
fn a_cell_has_its_own_tree_for_a_shell() {
    let lab = lab();
    lab.write("tree/Makefile", "out: in\n\tcp in $@\n");
    lab.scenario("a", &format!("{TREE}[matrix]\njobs = [1, 2]\n"));
    lab.run(&["shell", "t/a"]).exits(2).says(&["`t/a` is more than one scenario", "t/a@jobs=1 t/a@jobs=2"]);
    lab.run(&["run", "t/a@jobs=2", "--keep"]).exits(0);
    lab.run(&["shell", "t/a@jobs=2", "--", "cat", "out"]).exits(0).says(&["in the tree of control/clean"]);
    // Of one that is in no file the tree is found all the same.
    lab.run(&["run", "t/a@jobs=2", "--make-jobs", "3", "--keep"]).exits(0);
    lab.run(&["shell", "t/a@jobs=3", "--", "cat", "out"]).exits(0).says(&["in the tree of control/clean"]);
}

#[test]
fn two_programs_by_their_paths_are_a_baseline_and_a_candidate() {
    let lab = lab();
    lab.scenario("plain", TREE);
    let paths = "base/build/pahole,next/build/pahole";
    let (ran, report) = lab.report(&["plain", "--pahole", paths, "--no-confirm"]);
    assert_eq!(told(of(&report, "plain@pahole=base")), (Verdict::Passed, vec![]));
    assert_eq!(told(of(&report, "plain@pahole=next")), (Verdict::Failed, vec!["repro.mismatch"]));
    let tool = of(&report, "plain@pahole=next").chosen().next().expect("it is chosen");
    assert_eq!((tool.name.as_str(), tool.key.as_str()), ("pahole", "1.32"));
    let again = &of(&report, "plain@pahole=next").again;
    assert!(again.contains(" --pahole /") && again.ends_with("/next/build/pahole --keep"), "{again}");
    ran.exits(1).reports(&["\npahole   base    next\nt/plain  passed  FAILED\n"]);
}

#[test]
fn a_program_that_is_another_tool_is_not_taken_for_it() {
    let lab = lab();
    lab.scenario("plain", TREE);
    let answer = "`--version` does not answer as pahole does";
    let named = lab.run(&["run", "plain", "--pahole", "/bin/true"]).exits(2);
    named.says(&["`/usr/bin/true` is no pahole: ", answer]);
    // A scenario can be of another machine.
    lab.scenario("elsewhere", &format!("{TREE}[toolchain]\npahole = \"/bin/true\"\n"));
    lab.run(&["run", "t/elsewhere"]).exits(4).reports(&["t/elsewhere: skipped", answer]);
}

#[test]
fn what_is_demanded_and_tolerated_goes_by_the_tools_of_the_cell() {
    let lab = lab();
    let (base, next) = (lab.path("base/build/pahole"), lab.path("next/build/pahole"));
    let matrix = format!("[matrix]\npahole = [\"{}\", \"{}\"]\n", base.display(), next.display());
    let entry = "finding = \"repro.mismatch\"\ntools = { pahole = \"1.32\" }\n";
    lab.scenario("demanded", &format!("{TREE}{matrix}[[expect.finding]]\n{entry}"));
    lab.scenario("tolerated", &format!("{TREE}{matrix}[[known]]\n{entry}why = \"planted\"\n"));
    let always = entry.replace("1.32", "1.31");
    lab.scenario("elsewhere", &format!("{TREE}{matrix}[[expect.finding]]\n{always}"));
    let (ran, report) = lab.report(&["--no-confirm"]);
    for name in ["demanded@pahole=base", "demanded@pahole=next", "tolerated@pahole=base", "tolerated@pahole=next"] {
        assert_eq!(of(&report, name).verdict, Verdict::Passed, "{name}: {ran}");
    }
    assert_eq!(told(of(&report, "elsewhere@pahole=base")), (Verdict::Failed, vec!["expect.unmet"]));
    assert_eq!(told(of(&report, "elsewhere@pahole=next")), (Verdict::Failed, vec!["repro.mismatch"]));
    ran.exits(1).reports(&["t/demanded   passed  passed", "t/tolerated  passed  known"]);
}

#[test]
fn what_a_scenario_has_no_use_for_is_an_error_where_it_is_named() {
    let lab = lab();
    lab.write("tree/Makefile", "out: in\n\tcp in $@\n");
    lab.scenario("plain", TREE);
    let named = lab.run(&["run", "t/plain", "--kernel", "6.12,7.3"]).exits(2);
    named.says(&["`--kernel` for `t/plain`: `../../tree` is no kernel", "hint: kernels are chosen for"]);
    lab.run(&["run", "--kernel", "6.12"]).exits(4).says(&["left out: 1 scenario: `../../tree` is no kernel"]);
    lab.run(&["run", "plain", "--kernel", "mini"]).exits(2).says(&["`mini` is no kernel"]);
    lab.run(&["run", "plain", "--pahole", "newest"]).exits(2).says(&["`newest` is no pahole", "--pahole system,1.30"]);
    lab.run(&["run", "plain", "--pahole", "./none"]).exits(2).says(&["there is no program `./none`"]);
    lab.run(&["run", "plain", "--compiler", "tcc"]).exits(2).says(&["gcc or clang"]);
}

#[test]
fn what_is_not_there_is_skipped_with_its_reason() {
    let lab = lab();
    lab.write("tree/Makefile", "out: in\n\tcp in $@\n");
    lab.scenario("plain", &format!("{TREE}[matrix]\nmake = [\"system\", \"4.99\", \"/nowhere/make\"]\n"));
    let (ran, report) = lab.report(&["t/plain", "--no-fetch"]);
    assert_eq!(of(&report, "plain@system").verdict, Verdict::Passed, "{ran}");
    let reason = |name: &str| of(&report, name).reason.clone().unwrap_or_default();
    assert!(reason("plain@make=4.99").contains("no make 4.99"), "{ran}");
    assert!(reason("plain@make=nowhere").contains("`/nowhere/make` cannot be used"), "{ran}");
    ran.exits(0).reports(&["t/plain  skipped  skipped  passed"]);
}
