//! Findings name the step that they come from: on makefiles that are not kbuild's, whatever they print.

use kbuild_repro::report::{Report, ScenarioReport};
use kbuild_repro::scenario::FindingName;
use kbuild_repro::verdict::{Cause, Fault, Finding, Standing};

use crate::lab::{Lab, has_make, of};

const HEAD: &str =
    "tier = \"quick\"\n[tree]\nsrctree = \"../../tree\"\nkind = \"make\"\n[compare]\nartifacts = [\"*.o\"]\n";

/// A tree with this Makefile, one file `a.txt` and one `b.txt`.
fn lab(makefile: &str) -> Lab {
    let lab = Lab::new();
    lab.write("tree/Makefile", makefile).write("tree/a.txt", "1\n").write("tree/b.txt", "2\n");
    lab
}

fn report(lab: &Lab, scenario: &str) -> Report {
    lab.scenario("one", &format!("{HEAD}{scenario}"));
    lab.report(&[]).1
}

#[track_caller]
fn finding(report: &ScenarioReport, name: FindingName) -> &Finding {
    let found = report.findings.iter().find(|finding| finding.name == name);
    found.unwrap_or_else(|| panic!("no {name}: {:#?}", report.findings))
}

#[track_caller]
fn cause(finding: &Finding) -> &Cause {
    finding.cause.as_ref().unwrap_or_else(|| panic!("no cause: {finding:#?}"))
}

const EDIT: &str = "[[edit]]\nfile = \"b.txt\"\nappend = \"3\\n\"\n";

#[test]
fn what_was_wrongly_skipped_is_named_also_where_nothing_is_printed() {
    if !has_make() {
        return;
    }
    // The fault is two steps before the artifact.
    let rules = "all: out.o\nout.o: mid\n\tcp mid $@\nmid: a.txt\n\tcat a.txt b.txt > $@\n";
    for makefile in [rules.to_owned(), format!(".SILENT:\n{rules}"), format!("MAKEFLAGS += -s\n{rules}")] {
        let report = report(&lab(&makefile), EDIT);
        let found = finding(of(&report, "one"), FindingName::RebuildStale);
        let cause = cause(found);
        assert_eq!((cause.fault, cause.command.as_str()), (Fault::Skipped, "cat a.txt b.txt > mid"), "{makefile}");
        assert_eq!(cause.why, "it reads `src/b.txt`, which changed, and was not run again", "{makefile}");
    }
    let twin = report(&lab(&rules.replace("mid: a.txt", "mid: a.txt b.txt")), EDIT);
    assert_eq!(of(&twin, "one").findings, []);
}

#[test]
fn a_step_that_builds_on_its_own_output_is_named_and_its_replay_is_latent_where_no_build_shows_it() {
    if !has_make() {
        return;
    }
    let rules =
        "all: out.o\nout.o: a.txt b.txt\n\ttest -f $@ || cp a.txt $@\n\tcat b.txt $@ > t && cat t > $@ && rm t\n";
    let diverged = report(&lab(rules), EDIT);
    let found = finding(of(&diverged, "one"), FindingName::RebuildDiverged);
    let told = cause(found);
    assert_eq!(told.fault, Fault::OwnOutput);
    assert_eq!(told.command, "cat b.txt out.o > t && cat t > out.o && rm t");
    assert!(found.folded.iter().any(|id| id.starts_with("step.not-idempotent@")), "{found:#?}");
    assert!(found.detail.iter().any(|line| line.contains("changed that in 2 of 2 runs")), "{found:#?}");

    let latent = report(&lab(rules), "");
    let one = of(&latent, "one");
    assert_eq!(finding(one, FindingName::StepNotIdempotent).standing, Standing::Latent);
    assert_eq!(latent.exit_code, 0);

    let demanded = report(&lab(rules), "[[expect.finding]]\nfinding = \"step.not-idempotent\"\ntarget = \"out.o\"\n");
    assert_eq!(finding(of(&demanded, "one"), FindingName::StepNotIdempotent).standing, Standing::Expected);

    let twin = "all: out.o\nout.o: a.txt b.txt\n\tcp a.txt $@\n\tsort -u -o $@ $@\n";
    let twin = report(&lab(twin), EDIT);
    assert!(of(&twin, "one").findings.iter().all(|it| it.name == FindingName::RebuildNeedless), "{twin:#?}");
}

#[test]
fn the_first_step_that_is_not_reproducible_is_named_and_what_follows_is_folded() {
    if !has_make() {
        return;
    }
    let rules = "all: x.o y.o\nstamp: a.txt\n\tcat a.txt > $@; date +%s%N >> $@\nx.o y.o: %.o: stamp\n\tcp stamp $@\n";
    let report = report(&lab(rules), "");
    let one = of(&report, "one");
    assert_eq!(one.findings.len(), 1, "{:#?}", one.findings);
    let told = cause(&one.findings[0]);
    assert_eq!((told.fault, told.command.as_str()), (Fault::Irreproducible, "date +%s%N"));
    assert_eq!(one.findings[0].folded.len(), 1);
}

#[test]
fn two_recipes_that_make_one_file_are_a_hazard_even_where_the_bytes_agree() {
    if !has_make() {
        return;
    }
    let rules = "all: x.o y.o\nx.o: a.txt\n\tcat a.txt > shared.h; cat a.txt > $@\ny.o: a.txt\n\tcat a.txt > shared.h; cat a.txt > $@\n";
    let found = report(&lab(rules), "");
    let told = finding(of(&found, "one"), FindingName::HazardWriteWrite);
    assert_eq!((told.target.as_str(), cause(told).fault), ("shared.h", Fault::Race));
    let twin = rules.replace("y.o: a.txt\n\tcat a.txt > shared.h; ", "y.o: a.txt x.o\n\t");
    assert_eq!(of(&report(&lab(&twin), ""), "one").findings, []);
}

#[test]
fn what_ran_for_nothing_has_its_seconds_and_the_reason_for_which_make_ran_it() {
    if !has_make() {
        return;
    }
    let rules = "all: out.o\nout.o: a.txt b.txt\n\tcat a.txt > $@\n";
    let report = report(&lab(rules), EDIT);
    let told = finding(of(&report, "one"), FindingName::RebuildNeedless);
    assert!(told.summary.starts_with("`cat`: 1 step ran though nothing that it reads had changed: "), "{told:#?}");
    assert_eq!(cause(told).why, "a prerequisite was newer, none that it reads");
    assert_eq!(report.exit_code, 0, "a cost is no failure");
}

#[test]
fn a_failing_step_is_named_with_what_it_had_left_itself() {
    if !has_make() {
        return;
    }
    let rules = "all: out.o\nout.o: a.txt b.txt\n\ttest ! -s $@ && cat a.txt b.txt > $@\n";
    let report = report(&lab(rules), EDIT);
    let told = cause(finding(of(&report, "one"), FindingName::RebuildFailed));
    assert_eq!(told.fault, Fault::Failed);
    assert!(told.why.starts_with("it ended with status 1"), "{told:#?}");
}

#[test]
fn who_wants_to_reach_another_machine_or_leaves_something_beside_the_trees_is_named() {
    if !has_make() {
        return;
    }
    let rules = |more: &str| format!("SHELL := /bin/bash\nall: out.o\nout.o: a.txt\n\t{more}\n\tcat a.txt > $@\n");
    let network = report(&lab(&rules("echo > /dev/tcp/192.0.2.1/80 || true")), "");
    let told = finding(of(&network, "one"), FindingName::EscapeNetwork);
    assert_eq!((told.target.as_str(), cause(told).fault), ("echo > /dev/tcp/192.0.2.1/80 || true", Fault::Escapes));
    assert_eq!(told.summary, "it wanted to reach `192.0.2.1:80`");
    // What is a word between processes of the build leaves nothing.
    let twin = report(&lab(&rules("echo > /dev/tcp/127.0.0.1/80 || true; echo > $$HOME/x; echo > /tmp/x")), "");
    assert_eq!(of(&twin, "one").findings, []);
    let beside = report(&lab(&rules("echo 1 > ../beside || true")), "");
    assert!(finding(of(&beside, "one"), FindingName::EscapeWrite).summary.contains("`/build/beside`"));
    let home = report(&lab(&rules("cat /home/me/.secret 2>/dev/null || true")), "");
    assert!(finding(of(&home, "one"), FindingName::EscapeRead).summary.contains("`/home/me/.secret`"));
}

#[test]
fn without_traces_there_are_findings_and_no_causes() {
    if !has_make() {
        return;
    }
    let lab = lab("all: out.o\nout.o: a.txt\n\tcat a.txt b.txt > $@\n");
    lab.scenario("one", &format!("{HEAD}{EDIT}"));
    let (_, report) = lab.report(&["--no-trace"]);
    assert_eq!(finding(of(&report, "one"), FindingName::RebuildStale).cause, None);
}

#[test]
fn a_run_has_a_fingerprint_of_its_toolchain_that_another_can_be_held_against() {
    if !has_make() {
        return;
    }
    let lab = lab("all: out.o\nout.o: a.txt\n\tcat a.txt > $@\n");
    lab.scenario("one", HEAD);
    lab.scenario(
        "two",
        &format!("{HEAD}[[edit]]\nfile = \"Makefile\"\nreplace = \"cat a.txt\"\nwith = \"tac a.txt\"\n"),
    );
    lab.run(&["run", "t/one", "--out", "first"]).exits(0);
    lab.run(&["run", "t/two", "--out", "second"]).exits(0);
    let printed = lab.run(&["fingerprint", "first"]).exits(0);
    let cat = |line: &str| line.ends_with("/cat") && line.split("  ").next().is_some_and(|digest| digest.len() == 64);
    assert!(printed.out.lines().any(cat), "{printed}");
    let same = lab.run(&["fingerprint", "first", "--against", "first"]).exits(0);
    assert!(same.out.ends_with("all the same\n"), "{same}");
    let other = lab.run(&["fingerprint", "second", "--against", "first"]).exits(1);
    assert!(other.out.contains("/tac is used here alone"), "{other}");
    lab.run(&["run", "t/one", "--no-trace", "--out", "third"]).exits(0);
    lab.run(&["fingerprint", "third"]).exits(4).says(&["was traced", "--no-trace"]);
}

#[test]
fn of_two_steps_that_append_to_what_an_earlier_build_left_the_first_is_named() {
    if !has_make() {
        return;
    }
    let rules = "all: b.o\na: b.txt\n\tcat b.txt >> log.o; cat b.txt > a\nb.o: a\n\techo b >> log.o; cat a > b.o\n";
    let report = report(&lab(rules), EDIT);
    let cause = cause(finding(of(&report, "one"), FindingName::RebuildDiverged));
    assert_eq!((cause.fault, cause.step.as_str()), (Fault::OwnOutput, "cat b.txt >> log.o; cat b.txt > a"));
}

#[test]
fn locks_are_no_hazard_and_recipes_that_write_one_file_are() {
    if !has_make() {
        return;
    }
    let rules = |with: &str| {
        let recipe = |name: &str| format!("{name}.o: a.txt\n\texec 9>lock; {with} cp a.txt {name}.o\n");
        format!("all: a.o b.o c.o\n{}{}{}", recipe("a"), recipe("b"), recipe("c"))
    };
    let locked = report(&lab(&rules("flock 9;")), "");
    assert_eq!(of(&locked, "one").findings, []);
    let written = report(&lab(&rules("echo $@ > last;")), "");
    assert_eq!(finding(of(&written, "one"), FindingName::HazardWriteWrite).target, "last");
}

#[test]
fn members_of_an_archive_are_older_than_an_edit() {
    if !has_make() {
        return;
    }
    let rules = ".NOTPARALLEL:\nall: p.o\np.o: lib.a\n\tar p lib.a > $@\n\
                 lib.a: lib.a(a.txt) lib.a(b.txt)\n(%): %\n\tar rvU $@ $<\n";
    let report = report(&lab(rules), EDIT);
    assert_eq!(of(&report, "one").findings, []);
}

#[test]
fn what_is_to_be_written_outside_is_told_as_written_also_where_nothing_is_there() {
    if !has_make() {
        return;
    }
    for does in ["echo > /srv/x", "mkdir /srv/x", "ln -s x /mnt/x", "cp a.txt /home/x"] {
        let report = report(&lab(&format!("all: a.o\na.o: a.txt\n\t{does} 2>/dev/null; cp a.txt a.o\n")), "");
        let names: Vec<_> = of(&report, "one").findings.iter().map(|it| it.name).collect();
        assert_eq!(names, [FindingName::EscapeWrite], "{does}");
    }
}

#[test]
fn what_no_script_shows_has_a_mail() {
    if !has_make() {
        return;
    }
    let rules =
        "all: a.o b.o\na.o: a.txt\n\tcp a.txt a.o; echo $@ > last\nb.o: a.txt\n\tcp a.txt b.o; echo $@ > last\n";
    let lab = lab(rules);
    report(&lab, "");
    let mail = lab.run(&["report", "--mail", "hazard.write-write"]).exits(0);
    assert!(mail.out.starts_with("Subject: t/one: two steps make last\n"), "{mail}");
    for part in ["One step makes last.", "makes a file that another step makes as well", "No script goes with this"] {
        assert!(mail.out.replace("\n  ", " ").contains(part), "`{part}`: {mail}");
    }
    lab.run(&["report", "--reproducer", "hazard.write-write"]).says(&["it shows only where jobs meet"]);
    let lab = self::lab("all: a.o\na.o: a.txt\n\tcp a.txt a.o; cat /home/me/.secret 2>/dev/null || true\n");
    report(&lab, "");
    let mail = lab.run(&["report", "--mail", "1"]).exits(0);
    assert!(mail.out.contains("reads outside of the trees") && mail.out.contains("/home/me/.secret"), "{mail}");
}
