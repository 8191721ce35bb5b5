//! Builds that are interrupted at one step, and the next ones.

use std::fs;

use kbuild_repro::scenario::FindingName;
use kbuild_repro::verdict::sweep::Outcome;

use crate::lab::{Lab, of, read_report};

/// A tree of one step that makes `out` of `in` in two writes, by way of a second file.
pub(crate) const TREE: &str = r#"tier = "quick"
[tree]
srctree = "./tree"
kind = "make"
[compare]
artifacts = ["out"]
[[edit]]
file = "in"
append = "more\n"
"#;

/// `recipe` are the lines of the rule for `out`.
pub(crate) fn lab(recipe: &[&str]) -> Lab {
    let lab = Lab::new();
    let tree = lab.path("scenarios/t/tree");
    fs::create_dir_all(&tree).unwrap();
    fs::write(tree.join("in"), "text\n").unwrap();
    let lines: String = recipe.iter().map(|line| format!("\t{line}\n")).collect();
    fs::write(tree.join("Makefile"), format!("out: in\n{lines}")).unwrap();
    lab
}

#[test]
fn what_is_half_done_after_a_kill_is_not_done_by_the_next_make() {
    let lab = lab(&["cat in >out", "echo end >>out"]);
    lab.scenario("killed", &format!("{TREE}interrupt = {{ step = \"echo end*\" }}\n"));
    lab.run(&["run", "killed"])
        .exits(1)
        .reports(&["resume.diverged out", "after SIGKILL to everything before `echo end >>out`"]);
}

#[test]
fn make_deletes_what_it_was_at_when_a_signal_says_so() {
    let lab = lab(&["cat in >out", "echo end >>out"]);
    for signal in ["INT", "TERM", "HUP"] {
        let scenario = format!("{TREE}interrupt = {{ step = \"echo end*\", signal = \"{signal}\" }}\n");
        lab.scenario("stopped", &scenario);
        lab.run(&["run", "stopped"]).exits(0);
    }
}

#[test]
fn during_a_step_its_first_change_is_made_and_nothing_after_it() {
    // What is there counts as done, as long as it is.
    let lab = lab(&["[ -e other ] || { cat in >other; cp other out; }; [ -s out ]", "rm other"]);
    let scenario =
        |change: u32| format!("{TREE}interrupt = {{ step = \"[ -e other*\", when = \"during\", change = {change} }}\n");
    // `other` is there and empty: then `out` is never made again, and the step fails for ever.
    lab.scenario("one", &scenario(1));
    lab.run(&["run", "one"]).exits(1).reports(&["resume.diverged out"]);
    // Of a step that changes two files in all, there is no third change.
    lab.scenario("three", &scenario(3));
    lab.run(&["run", "three"]).exits(1).reports(&["expect.unmet", "nothing was interrupted"]);
}

#[test]
fn after_a_step_its_file_is_whole_and_the_next_line_has_not_run() {
    let lab = lab(&["cat in >out", "echo end >>out"]);
    let scenario = format!("{TREE}interrupt = {{ step = \"cat in*\", when = \"after\", to = \"make\" }}\n");
    lab.scenario("after", &scenario);
    lab.run(&["run", "after"]).exits(1).reports(&["resume.diverged out", "SIGKILL to make right after `cat in >out`"]);
}

#[test]
fn a_step_alone_fails_and_make_says_so() {
    let lab = lab(&["cat in >out; echo end >>out"]);
    lab.scenario("step", &format!("{TREE}interrupt = {{ step = \"cat in*\", to = \"step\" }}\n"));
    lab.run(&["run", "step", "--verbose"]).exits(0).reports(&["edit-1/interrupted", "failed with exit code 2"]);
}

#[test]
fn a_pattern_that_no_step_fits_is_told_and_so_is_a_key_that_means_nothing() {
    let lab = lab(&["cat in >out"]);
    lab.scenario("misspelt", &format!("{TREE}interrupt = {{ step = \"dog in*\" }}\n"));
    lab.run(&["run", "misspelt"])
        .exits(1)
        .reports(&["expect.unmet dog in*", "nothing was interrupted, for no such step ran"]);
    for (keys, says) in [
        ("step = \"x\", change = 2", "`change` needs `when = \"during\"`"),
        ("step = \"x\", when = \"after\", to = \"step\"", "after a step nothing of it is left"),
        ("step = \" \"", "the pattern is empty"),
        ("step = \"x\", signal = \"SEGV\"", "SEGV"),
        ("step = \"x\", write = 2", "`write` needs `fault`"),
        ("step = \"x\", fault = \"EIO\", signal = \"TERM\"", "in place of a signal"),
        ("step = \"x\", fault = \"EIO\", to = \"step\"", "a write error meets one write"),
        ("step = \"x\", fault = \"ENOSPC\", to = \"make\"", "make itself writes no file"),
        ("step = \"x\", fault = \"EPIPE\", to = \"group\"", "to the same output"),
        ("step = \"x\", fault = \"EPERM\"", "EPERM"),
        ("memory = \"64\"", "no amount of memory"),
        ("memory = \"64M\", step = \"x\"", "`memory` is in place of a step and a signal"),
        ("signal = \"INT\"", "the pattern is empty"),
    ] {
        lab.scenario("wrong", &format!("{TREE}interrupt = {{ {keys} }}\n"));
        lab.run(&["check", "wrong"]).exits(2).says(&[says]);
    }
    lab.scenario("untraced", &format!("{TREE}interrupt = {{ step = \"cat*\" }}\n"));
    lab.run(&["run", "untraced", "--no-trace"]).exits(4).reports(&["interrupted by its tracer"]);
}

#[test]
fn a_sweep_finds_where_the_next_make_goes_wrong_and_keeps_it() {
    let lab = lab(&["cat in >out", "echo end >>out"]);
    lab.scenario("swept", TREE);
    let ran = lab.run(&["sweep", "swept", "--json", "report.json"]).exits(1);
    let report = read_report(&lab.path("report.json")).expect("a report");
    let scenario = of(&report, "swept");
    let sweep = scenario.sweep.as_ref().expect("a sweep");
    let wrong: Vec<String> = sweep
        .points
        .iter()
        .filter(|point| point.outcome == Outcome::Diverged { artifacts: vec!["out".into()] })
        .map(|point| point.interrupt.words(&point.interrupt.step))
        .collect();
    // Before the first step nothing is changed, and after the last nothing is left to do.
    assert_eq!(
        wrong,
        [
            "SIGKILL to everything at change 1 of a file in `cat in >out`",
            "SIGKILL to everything right after `cat in >out`",
            "SIGKILL to everything before `echo end >>out`",
            "SIGKILL to everything at change 1 of a file in `echo end >>out`",
        ],
        "{ran}"
    );
    assert_eq!((sweep.points.len(), sweep.count(|it| *it == Outcome::Resumed)), (6, 2));
    assert!(scenario.findings.iter().all(|finding| finding.name == FindingName::ResumeDiverged), "{ran}");
    assert!(ran.out.contains("interrupt = { step = \"cat in >out\", when = \"during\" }"), "{ran}");
}

#[test]
fn a_sweep_of_what_is_made_anew_each_time_finds_nothing_and_a_list_tries_nothing() {
    let lab = lab(&["cat in >new; echo end >>new; mv new out"]);
    lab.scenario("swept", TREE);
    lab.run(&["sweep", "swept", "--signal", "KILL,INT"])
        .exits(0)
        .reports(&["at 1 steps, after edit-1", "after 0 it gives something else, after 0 it fails"]);
    lab.run(&["sweep", "swept", "--list"]).exits(0).reports(&["not tried, listed alone"]);
    lab.run(&["sweep", "swept", "--edit", "other"]).exits(2).says(&["has no edit `other`", "edit-1"]);
    lab.run(&["sweep", "swept", "--step", "LD*"]).exits(4).reports(&["runs no such step that changes a file"]);
}

#[test]
fn a_write_that_fails_unheard_leaves_what_the_next_make_takes_for_done() {
    // The shell goes on after what failed, and make sees the status of the last command.
    let lab = lab(&["cat in >out; echo end >>out; echo >done"]);
    lab.scenario("full", &format!("{TREE}interrupt = {{ step = \"cat in*\", fault = \"EIO\", write = 2 }}\n"));
    lab.run(&["run", "full"]).exits(1).reports(&[
        "resume.diverged out",
        "after EIO at write 2 of `cat in >out; echo end >>out; echo >done`",
        "the build worked in spite of EIO",
    ]);
    // Where the disk stays full the last command fails as well, and make deletes nothing that it was not told of.
    lab.scenario("full", &format!("{TREE}interrupt = {{ step = \"cat in*\", fault = \"ENOSPC\", write = 2 }}\n"));
    lab.run(&["run", "full", "--verbose"]).exits(1).reports(&[
        "resume.diverged out",
        "failed with exit code 2",
        "ENOSPC for everything from write 2 of",
    ]);
}

#[test]
fn what_heeds_a_failed_write_or_moves_the_whole_into_place_is_silent() {
    let lab = lab(&["cat in >new && echo end >>new && mv new out"]);
    for keys in ["fault = \"EIO\", write = 2", "fault = \"ENOSPC\"", "fault = \"ENOSPC\", to = \"step\", write = 2"] {
        lab.scenario("heeded", &format!("{TREE}interrupt = {{ step = \"cat in*\", {keys} }}\n"));
        lab.run(&["run", "heeded", "--verbose"]).exits(0).reports(&["edit-1/interrupted", "failed with exit code 2"]);
    }
    // Of three writes there is no fourth; the third is of no file of the trees.
    lab.scenario("heeded", &format!("{TREE}interrupt = {{ step = \"cat in*\", fault = \"EIO\", write = 4 }}\n"));
    lab.run(&["run", "heeded"]).exits(1).reports(&["nothing was interrupted, for it did not write so often"]);
}

#[test]
fn whoever_prints_when_nobody_reads_gets_a_signal() {
    // The shell that prints is gone before it has written the rest.
    let lab = lab(&["cat in >out; echo done; echo end >>out"]);
    lab.scenario("pipe", &format!("{TREE}interrupt = {{ step = \"cat in*\", fault = \"EPIPE\" }}\n"));
    lab.run(&["run", "pipe"])
        .exits(1)
        .reports(&["resume.diverged out", "after EPIPE for all output from write 1 of `cat in >out; echo done"]);
    let heeds = self::lab(&["cat in >new; echo done; echo end >>new; mv new out"]);
    heeds.scenario("pipe", &format!("{TREE}interrupt = {{ step = \"cat in*\", fault = \"EPIPE\" }}\n"));
    heeds.run(&["run", "pipe"]).exits(0);
}

#[test]
fn a_sweep_has_writes_fail_and_keeps_the_one_that_matters() {
    let lab = lab(&["cat in >out; echo end >>out"]);
    lab.scenario("swept", TREE);
    let ran = lab.run(&["sweep", "swept", "--fault", "EIO", "--writes", "3", "--json", "report.json"]).exits(1);
    let report = read_report(&lab.path("report.json")).expect("a report");
    let sweep = of(&report, "swept").sweep.as_ref().expect("a sweep");
    let came: Vec<&Outcome> = sweep.points.iter().map(|point| &point.outcome).collect();
    let diverged = Outcome::Diverged { artifacts: vec!["out".into()] };
    // The second fails the step, whose target make leaves without .DELETE_ON_ERROR.
    assert_eq!(came, [&diverged, &diverged, &Outcome::Unreached], "{ran}");
    assert!(ran.out.contains("interrupt = { step = \"cat in >out; echo end >>out\", fault = \"EIO\" }"), "{ran}");
}
