//! Builds that fail, hang, fill the disk, kill themselves: each gets its verdict, and the others keep theirs.

use kbuild_repro::report::{Report, ScenarioReport};
use kbuild_repro::verdict::Verdict;

use crate::lab::{Lab, Ran, has_make, of, told};

const MAKEFILE: &str = r"
out.o: in.txt
	cat in.txt > $@
fail: out.o
	@echo the last words >&2; exit 3
hang: out.o
	@echo waiting; sleep 1000
endless: out.o
	cat /dev/zero > big
many: out.o
	i=0; while :; do head -c 262144 /dev/zero > file$$i; i=$$((i+1)); done
memory: out.o
	i=0; while [ $$i -lt 80 ]; do head -c 4194304 /dev/zero > /tmp/file$$i || exit 1; i=$$((i+1)); done
suicide: out.o
	kill -9 0
massacre: out.o
	kill -9 -1
loud: out.o
	@head -c 50000000 /dev/zero | tr '\0' 'x'; echo; head -c 1000000 /dev/zero | tr '\0' '\n'
locked: out.o
	@mkdir -p d/e && touch d/e/f && chmod 000 d/e d
orphan: out.o
	@(setsid sleep 1000 &) ; exit 0
vandal: out.o
	@case $$(cat /proc/1/comm) in kbuild-repro*) trap '' PIPE; \
	for f in /proc/1/fd/*; do [ -f $$f ] || echo hacked > $$f; done 2>/dev/null;; esac; true
squatter: out.o
	@for f in /proc/$$PPID/fd/*; do sleep 1000 <>$$f & done 2>/dev/null; \
	case $$(cat /proc/1/comm) in kbuild-repro*) for f in /proc/1/fd/*; do sleep 1000 <>$$f & done 2>/dev/null;; esac; \
	echo squatting; wait
odd: out.o
	@printf 'x' > 'a b'; printf 'x' > '$$HOME'; printf 'x' > \*; rm -f pipe; mkfifo pipe; ln -sf /nowhere link
stamp: in.txt
	date +%N > out.o
";

/// A tree with the Makefile above, and one scenario a goal.
fn lab(goals: &[(&str, &str)]) -> Lab {
    let lab = Lab::new();
    lab.write("tree/Makefile", MAKEFILE).write("tree/in.txt", "1\n");
    for (goal, more) in goals {
        let goal_of = if *goal == "ok" { "out.o" } else { goal };
        lab.scenario(
            goal,
            &format!(
                "tier = \"quick\"\n[tree]\nsrctree = \"../../tree\"\nkind = \"make\"\n[make]\ngoals = [\"{goal_of}\"]\n\
                 [compare]\nartifacts = [\"out.o\"]\n{more}"
            ),
        );
    }
    lab
}

fn detail(scenario: &ScenarioReport) -> String {
    scenario.findings.iter().map(|f| format!("{}\n{}\n", f.summary, f.detail.join("\n"))).collect()
}

#[track_caller]
fn fails_with(report: &Report, goal: &str, finding: &str, says: &[&str]) {
    let scenario = of(report, goal);
    let (verdict, mut findings) = told(scenario);
    // The experiment may have come as far as the control.
    findings.dedup();
    assert_eq!((verdict, findings), (Verdict::Inconclusive, vec![finding]), "{goal}: {:?}", scenario.reason);
    let detail = detail(scenario);
    for word in says {
        assert!(detail.contains(word), "{goal}: `{word}` is not said:\n{detail}");
    }
}

#[test]
fn a_bad_build_gets_its_verdict_and_the_others_keep_theirs() {
    if !has_make() {
        return;
    }
    let disk = "[limits]\ndisk = 4\ntimeout = 60\n";
    let lab = lab(&[
        ("ok", ""),
        ("fail", ""),
        ("hang", "[limits]\ntimeout = 2\n"),
        ("endless", disk),
        ("many", disk),
        ("memory", "[limits]\ndisk = 50\n"),
        ("suicide", ""),
        ("massacre", ""),
        ("loud", ""),
        ("locked", ""),
        ("orphan", ""),
        ("vandal", ""),
        ("squatter", "[limits]\ntimeout = 2\n"),
        ("odd", ""),
        ("stamp", ""),
    ]);
    let (ran, report) = lab.report(&["--out", "out"]);
    assert_eq!(ran.code, 1, "{ran}");
    fails_with(&report, "fail", "build.failed", &["exit code 2", "the last words", "Error 3", "the whole log: "]);
    fails_with(&report, "hang", "build.timeout", &["did not end within 2 s", "waiting"]);
    fails_with(&report, "squatter", "build.timeout", &["did not end within 2 s", "squatting"]);
    fails_with(
        &report,
        "endless",
        "build.failed",
        &["File size limit exceeded", "was stopped: a file grew over the limit of 4 MiB"],
    );
    fails_with(&report, "many", "build.failed", &["the limit is 4 MiB"]);
    fails_with(&report, "memory", "build.failed", &["no space left on a file system it writes to"]);
    fails_with(&report, "suicide", "build.failed", &[]);
    fails_with(&report, "massacre", "build.failed", &[]);
    for goal in ["ok", "loud", "locked", "orphan", "vandal", "odd"] {
        assert_eq!(told(of(&report, goal)).0, Verdict::Passed, "{goal}: {:?}", of(&report, goal));
        assert!(of(&report, goal).compared > 0);
    }
    let (verdict, findings) = told(of(&report, "stamp"));
    assert_eq!((verdict, findings.contains(&"repro.mismatch")), (Verdict::Failed, true));
    // The whole log is where the finding says.
    let log = lab.path("out/t/fail").join("control/clean/log");
    assert!(std::fs::read_to_string(log).expect("a log").contains("the last words"));
    assert_eq!(lab.left_over(), [""; 0].map(std::path::PathBuf::from), "trees are gone, unreadable ones too");
}

#[test]
fn the_exit_code_is_that_of_the_worst() {
    if !has_make() {
        return;
    }
    let lab = lab(&[("ok", ""), ("fail", ""), ("stamp", "")]);
    for (names, code) in
        [(&["ok"][..], 0), (&["stamp"], 1), (&["ok", "stamp", "fail"], 1), (&["ok", "fail"], 4), (&["fail"], 4)]
    {
        let files: Vec<String> = names.iter().map(|name| format!("scenarios/t/{name}.toml")).collect();
        let files: Vec<&str> = files.iter().map(String::as_str).collect();
        let (ran, _) = lab.report(&files);
        assert_eq!(ran.code, code, "{names:?}: {ran}");
        assert!(code == 0 || ran.out.contains("again: kbuild-repro run scenarios/t/"), "{ran}");
    }
}

#[test]
fn what_appears_as_demanded_passes_and_what_does_not_fails() {
    if !has_make() {
        return;
    }
    let expect = |finding: &str| format!("[[expect.finding]]\nfinding = \"{finding}\"\ntarget = \"out.o\"\n");
    let known = "[[known]]\nfinding = \"repro.mismatch\"\nwhy = \"the time\"\n[[known]]\nfinding = \"noop.changed\"\n\
                 why = \"the time\"\n[[known]]\nfinding = \"noop.ran\"\nwhy = \"the time\"\nwhen = \"sometimes\"\n";
    let both = expect("repro.mismatch") + &expect("noop.changed");
    for (goal, more, code) in
        [("stamp", both.as_str(), 0), ("stamp", known, 0), ("ok", &expect("repro.mismatch"), 1), ("ok", "", 0)]
    {
        let lab = lab(&[(goal, more)]);
        let (ran, report) = lab.report(&[]);
        assert_eq!(ran.code, code, "{goal} {more}: {ran}");
        assert_eq!(code == 1, told(of(&report, goal)).1.contains(&"expect.unmet"), "{ran}");
    }
}

#[test]
fn what_could_not_be_seen_is_not_said_to_be_gone() {
    if !has_make() {
        return;
    }
    // The clean build fails: neither list was looked at.
    let lists = "[[known]]\nfinding = \"noop.changed\"\nwhy = \"w\"\n[[expect.finding]]\nfinding = \"rebuild.stale\"\n";
    let lab = lab(&[("fail", lists)]);
    let (ran, report) = lab.report(&[]);
    assert_eq!(ran.code, 4, "{ran}");
    let (verdict, mut findings) = told(of(&report, "fail"));
    findings.dedup();
    assert_eq!((verdict, findings), (Verdict::Inconclusive, vec!["build.failed"]), "{ran}");
}

#[test]
fn a_recorded_build_runs_without_the_harness() {
    if !has_make() {
        return;
    }
    let lab = lab(&[("ok", "")]);
    lab.report(&["--out", "out"]);
    let script = lab.path("out/t/ok/control/clean/build.sh");
    let sh = |arguments: &[&std::path::Path]| {
        std::process::Command::new("sh").arg(&script).args(arguments).output().expect("sh")
    };
    let tree = lab.path("tree");
    let ran = sh(&[&tree]);
    assert!(ran.status.success(), "{ran:?}");
    assert_eq!(std::fs::read_to_string(tree.join("out.o")).expect("built"), "1\n");
    let ran = sh(&[]);
    assert_eq!(ran.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&ran.stderr).contains("usage: sh build.sh SRCTREE"), "{ran:?}");
}

#[test]
fn edits_after_which_only_one_of_the_builds_works() {
    if !has_make() {
        return;
    }
    let lab = Lab::new();
    // out.o does not depend on b.txt, which it reads; and a leftover breaks the second build.
    lab.write("tree/Makefile", "out.o: a.txt\n\t[ ! -e stop ] && cat a.txt b.txt > $@ && touch stop\n");
    lab.write("tree/a.txt", "1\n").write("tree/b.txt", "2\n");
    let head =
        "tier = \"quick\"\n[tree]\nsrctree = \"../../tree\"\nkind = \"make\"\n[compare]\nartifacts = [\"out.o\"]\n";
    lab.scenario("masked", &format!("{head}[[edit]]\nfile = \"b.txt\"\ndelete = true\n"));
    lab.scenario("failed", &format!("{head}[[edit]]\nfile = \"a.txt\"\nappend = \"3\\n\"\n"));
    lab.scenario("stale", &format!("{head}[[edit]]\nfile = \"b.txt\"\nappend = \"3\\n\"\n"));
    let (ran, report) = lab.report(&[]);
    assert_eq!(ran.code, 1, "{ran}");
    assert_eq!(told(of(&report, "masked")), (Verdict::Failed, vec!["rebuild.masked"]));
    assert_eq!(told(of(&report, "failed")).1[0], "rebuild.failed", "{ran}");
    assert_eq!(told(of(&report, "stale")), (Verdict::Failed, vec!["rebuild.stale"]));
}

#[test]
fn a_run_that_needs_more_than_its_budget_is_not_started() {
    if !has_make() {
        return;
    }
    let lab = lab(&[("ok", "")]);
    lab.run(&["run", "--disk-budget", "1M"]).exits(3).says(&["the budget is 1 MiB", "raise --disk-budget"]);
    assert!(!lab.path("state/kbuild-repro/runs").exists());
    let (ran, report) = lab.report(&["--disk-budget", "8G", "--time-budget", "1h"]);
    assert_eq!((ran.code, of(&report, "ok").verdict), (0, Verdict::Passed), "{ran}");
}

#[test]
fn a_host_that_lets_few_files_be_open_is_told_so() {
    if !has_make() {
        return;
    }
    let lab = lab(&[("ok", "")]);
    let inner = lab.command(&["run"]);
    for files in ["10", "16"] {
        let mut command = std::process::Command::new("sh");
        command.args(["-c", &format!("ulimit -n {files} && exec \"$0\" \"$@\"")]).arg(inner.get_program());
        command.args(inner.get_args()).current_dir(inner.get_current_dir().expect("the lab"));
        for (name, value) in inner.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let ran = Ran::of(command.output().expect("it starts")).exits(3);
        assert!(format!("{ran}").contains("`ulimit -n 1024`"), "{ran}");
    }
}
