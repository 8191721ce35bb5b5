use super::*;
use crate::artifact::record::BuildRecord;
use crate::artifact::steps::Steps;
use crate::trace::{Content, End, Ran, Step};
use crate::verdict::sample::{build, record};
use crate::verdict::{Accepted, judge};

const EDIT: &str = "[[edit]]\nfile = \"init/main.c\"\nappend = \"int x;\\n\"\n";

fn contents(text: &str) -> Vec<Content> {
    let one = |word: &str| {
        let (path, sha256) = word.split_once('=').expect("path=content");
        Content { path: path.into(), number: 0, sha256: Some(sha256.into()) }
    };
    text.split_whitespace().map(one).collect()
}

/// A step that makes the object `target`: `cc a.o`, from `reads` to `makes`, both as `path=content`.
fn step(label: &str, reads: &str, makes: &str) -> Step {
    let target = label.rsplit_once(' ').map(|(_, target)| format!("obj/{target}"));
    let (inputs, outputs) = (contents(reads), contents(makes));
    let own = |output: &&Content| inputs.iter().any(|input| input.path == output.path);
    let in_place = outputs.iter().filter(own).map(|output| output.path.to_string()).collect();
    Step {
        command: label.to_lowercase(),
        label: Some(label.to_owned()),
        target,
        cwd: "obj".into(),
        inputs,
        outputs,
        in_place,
        end: Some(End::Exit(0)),
        ..Step::default()
    }
}

/// Steps one after the other, each taking ten microseconds.
fn steps(all: Vec<Step>) -> Steps {
    let timed = |(at, step): (usize, Step)| {
        let began = if step.began > 0 { step.began } else { at as u64 * 20 + 1 };
        let ended = if step.ended > 0 { step.ended } else { began + 10 };
        Step { began, ended, ..step }
    };
    let steps: Vec<Step> = all.into_iter().enumerate().map(timed).collect();
    Steps {
        objtree: "obj".into(),
        unlisted: vec![Vec::new(); steps.len()],
        environments: vec![Vec::new()],
        steps,
        ..Steps::default()
    }
}

/// The cause of the first finding of a scenario with one edit: builds with what they made of `a.ko`, and their steps.
#[track_caller]
fn cause(builds: Vec<(&str, &str, Vec<Step>)>) -> Cause {
    found(builds).cause.expect("a cause")
}

#[track_caller]
fn found(builds: Vec<(&str, &str, Vec<Step>)>) -> Finding {
    let named = |(id, text, _): &(&str, &str, Vec<Step>)| -> BuildRecord { build(id, &[("a.ko", text)]) };
    let mut record = record(EDIT, builds.iter().map(named).collect());
    record.traces = builds.into_iter().map(|(id, _, all)| (id.to_owned(), steps(all))).collect();
    let judgement = judge(&record, &Accepted::default());
    judgement.findings.into_iter().next().expect("a finding")
}

fn clean() -> Vec<Step> {
    vec![
        step("CC a.o", "src/a.c=1 src/a.h=1", "obj/a.o=o1"),
        step("LD a.ko", "obj/a.o=o1", "obj/a.ko=l1"),
        step("BTF a.ko", "obj/a.ko=l1 obj/vmlinux=v1", "obj/a.ko=b1"),
    ]
}

#[test]
fn a_step_that_was_not_run_though_what_it_reads_changed() {
    let found = cause(vec![
        ("control/clean", "1", clean()),
        ("edit-1/incremental", "1", vec![]),
        (
            "edit-1/oracle",
            "2",
            vec![
                step("CC a.o", "src/a.c=1 src/a.h=2", "obj/a.o=o2"),
                step("LD a.ko", "obj/a.o=o2", "obj/a.ko=l2"),
                step("BTF a.ko", "obj/a.ko=l2 obj/vmlinux=v1", "obj/a.ko=b2"),
            ],
        ),
    ]);
    assert_eq!((found.fault, found.step.as_str()), (Fault::Skipped, "CC a.o"));
    assert_eq!(found.build, "edit-1/incremental");
    assert_eq!(found.why, "it reads `src/a.h`, which changed, and was not run again");
}

#[test]
fn every_cause_is_told_and_what_chance_decides_comes_last() {
    let all = |a: &str, t: &str, h: &str| {
        vec![
            step("GEN a0.o", "src/t=1", &format!("obj/a0.o={t}")),
            step("CC a.o", &format!("src/a.c=1 src/a.h={h}"), &format!("obj/a.o={a}")),
            step("LD a.ko", &format!("obj/a0.o={t} obj/a.o={a}"), &format!("obj/a.ko={t}{a}")),
        ]
    };
    let found = found(vec![
        ("control/clean", "1", all("o1", "t1", "1")),
        ("edit-1/incremental", "1", vec![]),
        ("edit-1/oracle", "2", all("o2", "t2", "2")),
    ]);
    let cause = found.cause.as_ref().expect("a cause");
    assert_eq!((cause.fault, cause.step.as_str()), (Fault::Skipped, "CC a.o"));
    let [other] = found.detail.as_slice() else { panic!("{:?}", found.detail) };
    assert!(other.starts_with("another cause: GEN a0.o — gives something else for the same: "), "{other}");
}

#[test]
fn the_way_by_which_a_change_came_is_told() {
    let vmlinux = |n: &str| {
        vec![
            step("CC v.o", &format!("src/v.c={n}"), &format!("obj/v.o=v{n}")),
            step("LD vmlinux", &format!("obj/v.o=v{n}"), &format!("obj/vmlinux=v{n}")),
        ]
    };
    let btf = |v: &str| step("BTF a.ko", &format!("obj/a.ko=l1 obj/vmlinux={v}"), &format!("obj/a.ko=b{v}"));
    let with = |n: &str, more: Vec<Step>| vmlinux(n).into_iter().chain(more).collect::<Vec<_>>();
    let link = || step("LD a.ko", "obj/a.o=o1", "obj/a.ko=l1");
    let found = cause(vec![
        ("control/clean", "1", with("1", vec![link(), btf("v1")])),
        ("edit-1/incremental", "1", with("2", vec![])),
        ("edit-1/oracle", "2", with("2", vec![link(), btf("v2")])),
    ]);
    assert_eq!((found.fault, found.step.as_str()), (Fault::Skipped, "BTF a.ko"));
    assert_eq!(found.way, ["src/v.c", "CC v.o", "obj/v.o", "LD vmlinux", "obj/vmlinux"]);
}

#[test]
fn a_step_that_reads_what_its_rule_had_made_before() {
    let mut again = step("BTF a.ko", "obj/a.ko=b1 obj/vmlinux=v2", "obj/a.ko=b9");
    let ran = |command: &str, in_place: &[&str]| Ran {
        command: command.into(),
        inputs: None,
        outputs: contents("obj/a.ko=b9"),
        in_place: in_place.iter().map(ToString::to_string).collect(),
    };
    again.ran = vec![ran("tmp", &[]), ran("pahole -J a.ko", &["obj/a.ko"]), ran("resolve_btfids", &["obj/a.ko"])];
    let found = cause(vec![
        ("control/clean", "1", clean()),
        ("edit-1/incremental", "9", vec![step("LD vmlinux", "src/v.c=2", "obj/vmlinux=v2"), again]),
        (
            "edit-1/oracle",
            "2",
            vec![
                step("CC a.o", "src/a.c=1 src/a.h=1", "obj/a.o=o1"),
                step("LD a.ko", "obj/a.o=o1", "obj/a.ko=l1"),
                step("LD vmlinux", "src/v.c=2", "obj/vmlinux=v2"),
                step("BTF a.ko", "obj/a.ko=l1 obj/vmlinux=v2", "obj/a.ko=b2"),
            ],
        ),
    ]);
    assert_eq!((found.fault, found.command.as_str()), (Fault::OwnOutput, "pahole -J a.ko"));
    assert!(found.why.contains("it gets what `LD a.ko` makes"), "{}", found.why);
}

#[test]
fn a_step_that_did_not_follow_the_one_before_it() {
    let found = cause(vec![
        ("control/clean", "1", clean()),
        ("edit-1/incremental", "l2", vec![step("LD a.ko", "obj/a.o=o1", "obj/a.ko=l2")]),
        ("edit-1/oracle", "2", {
            let mut all = clean();
            all[1] = step("LD a.ko", "obj/a.o=o1", "obj/a.ko=l2");
            all[2] = step("BTF a.ko", "obj/a.ko=l2 obj/vmlinux=v1", "obj/a.ko=b2");
            all
        }),
    ]);
    assert_eq!((found.fault, found.step.as_str()), (Fault::Skipped, "BTF a.ko"));
    assert!(found.why.starts_with("`LD a.ko` made `obj/a.ko` anew in edit-1/incremental"), "{}", found.why);
    assert!(found.why.contains("its own command is not saved"), "{}", found.why);
}

#[test]
fn the_first_step_that_got_the_same_and_gave_something_else() {
    let other = |o: &str| {
        vec![
            step("GEN stamp", "src/gen.sh=1", &format!("obj/stamp={o}")),
            step("CC a.o", &format!("src/a.c=1 obj/stamp={o}"), &format!("obj/a.o=o{o}")),
            step("LD a.ko", &format!("obj/a.o=o{o}"), &format!("obj/a.ko=l{o}")),
        ]
    };
    let found = cause(vec![("control/clean", "1", other("1")), ("experiment/clean", "2", other("2"))]);
    assert_eq!((found.fault, found.step.as_str()), (Fault::Irreproducible, "GEN stamp"));
}

#[test]
fn a_command_that_changed_and_was_not_run_again() {
    let with = |flag: &str, out: &str| {
        let step = step("CC a.ko", "src/a.c=1", &format!("obj/a.ko={out}"));
        vec![Step { command: format!("cc {flag} a.ko"), ..step }]
    };
    let found = cause(vec![
        ("control/clean", "1", with("-O1", "1")),
        ("edit-1/incremental", "1", vec![]),
        ("edit-1/oracle", "2", with("-O2", "2")),
    ]);
    assert_eq!(found.fault, Fault::Skipped);
    assert_eq!(found.why, "its command is another: --O2 +-O1, and it was not run again");
}

#[test]
fn two_steps_that_make_one_file_and_two_that_nothing_orders() {
    let at = |step: Step, began: u64| Step { began, ended: began + 10, ..step };
    let race = |first: &str| {
        vec![
            at(step("GEN a.stamp", "src/x=1", &format!("obj/a.ko={first} obj/a.stamp=1")), 1),
            at(step("GEN b.stamp", "src/x=1", &format!("obj/a.ko={first} obj/b.stamp=1")), 5),
        ]
    };
    let found = cause(vec![("control/clean", "1", race("1")), ("experiment/clean", "2", race("2"))]);
    assert_eq!((found.fault, found.step.as_str()), (Fault::Race, "GEN b.stamp"));

    let early = vec![
        at(step("GEN x.h", "src/x=1", "obj/x.h=1"), 1),
        at(step("CC a.ko", "src/a.c=1 obj/x.h=1", "obj/a.ko=1"), 20),
    ];
    let late = vec![
        at(Step { missing: vec!["obj/x.h".into()], ..step("CC a.ko", "src/a.c=1", "obj/a.ko=2") }, 1),
        at(step("GEN x.h", "src/x=1", "obj/x.h=1"), 5),
    ];
    let found = cause(vec![("control/clean", "1", early), ("experiment/clean", "2", late)]);
    assert_eq!((found.fault, found.step.as_str()), (Fault::Order, "CC a.ko"));
}

#[test]
fn a_step_that_only_one_of_the_builds_has() {
    let found = cause(vec![
        ("control/clean", "1", clean()),
        ("edit-1/incremental", "3", vec![step("SIGN a.ko", "obj/a.ko=b1", "obj/a.ko=s")]),
        ("edit-1/oracle", "2", clean()),
    ]);
    assert_eq!((found.fault, found.step.as_str()), (Fault::Extra, "SIGN a.ko"));
}

#[test]
fn what_was_made_of_it_is_folded_under_the_file_that_differs_first() {
    let tree = |o: &str| {
        vec![
            step("LD vmlinux", "src/v.c=1", &format!("obj/vmlinux={o}")),
            step("LD a.ko", &format!("obj/vmlinux={o}"), &format!("obj/a.ko=a{o}")),
            step("LD b.ko", &format!("obj/vmlinux={o}"), &format!("obj/b.ko=b{o}")),
        ]
    };
    let made = |id: &str, o: &str| build(id, &[("a.ko", o), ("b.ko", o), ("vmlinux", o)]);
    let mut record = record("", vec![made("control/clean", "1"), made("experiment/clean", "2")]);
    let traces = [("control/clean", "1"), ("experiment/clean", "2")];
    record.traces = traces.map(|(id, o)| (id.to_owned(), steps(tree(o)))).into();
    let judgement = judge(&record, &Accepted::default());
    let ids: Vec<String> = judgement.findings.iter().map(Finding::id).collect();
    assert_eq!(ids, ["repro.mismatch@experiment/clean:vmlinux"]);
    assert_eq!(judgement.findings[0].folded.len(), 2);
}

#[test]
fn a_step_that_ran_for_nothing_is_a_cost_with_the_reason_why_make_ran_it() {
    let mut again = step("LD a.ko", "obj/a.o=o1", "obj/a.ko=l1");
    again.command = "ld a.ko".into();
    let mut record = record(
        EDIT,
        ["control/clean", "edit-1/incremental", "edit-1/oracle"].map(|id| build(id, &[("a.ko", "1")])).into(),
    );
    record.traces = [("control/clean", clean()), ("edit-1/incremental", vec![again]), ("edit-1/oracle", clean())]
        .map(|(id, all)| (id.to_owned(), steps(all)))
        .into();
    let judgement = judge(&record, &Accepted::default());
    let ids: Vec<String> = judgement.findings.iter().map(Finding::id).collect();
    assert_eq!(ids, ["rebuild.needless@edit-1:a.ko"]);
    let cause = judgement.findings[0].cause.clone().expect("a cause");
    assert_eq!((cause.fault, cause.why.as_str()), (Fault::Needless, "a prerequisite was newer, none that it reads"));
}

#[test]
fn a_prerequisite_that_another_line_of_the_recipe_reads_is_named() {
    let tree = |v: &str| {
        let vmlinux = step("LD vmlinux", &format!("src/v.c={v}"), &format!("obj/vmlinux=v{v}"));
        let link = step("LD a.ko", "obj/a.o=o1", "obj/a.ko=l1");
        vec![vmlinux, link, step("BTF a.ko", &format!("obj/a.ko=l1 obj/vmlinux=v{v}"), "obj/a.ko=b1")]
    };
    let ids = ["control/clean", "edit-1/incremental", "edit-1/oracle"];
    let mut record = record(EDIT, ids.map(|id| build(id, &[("a.ko", "1")])).into());
    record.traces = ids.into_iter().zip(["1", "2", "2"]).map(|(id, v)| (id.to_owned(), steps(tree(v)))).collect();
    let judgement = judge(&record, &Accepted::default());
    let whys: Vec<&str> = judgement.findings.iter().filter_map(|it| Some(it.cause.as_ref()?.why.as_str())).collect();
    assert_eq!(whys, ["due to newer prerequisites: `obj/vmlinux`, which another line of the recipe reads"]);
}

#[test]
fn a_command_that_comes_to_and_fro_with_the_goals_is_work_for_nothing_and_one_that_was_asked_for_is_not() {
    let needless = |edit: &str| {
        let cc = |command: &str| Step { command: command.into(), ..step("CC a.o", "src/a.c=1", "obj/a.o=1") };
        let ids = ["control/clean", "edit-1/incremental", "edit-1/oracle"];
        let mut record = record(edit, ids.map(|id| build(id, &[("a.o", "1")])).into());
        let commands = ["cc -DMODULE a.c", "cc a.c", "cc a.c"];
        record.traces =
            ids.into_iter().zip(commands).map(|(id, command)| (id.to_owned(), steps(vec![cc(command)]))).collect();
        let judgement = judge(&record, &Accepted::default());
        judgement.findings.iter().filter_map(|it| Some(it.cause.as_ref()?.why.clone())).collect::<Vec<_>>()
    };
    assert_eq!(needless("[[edit]]\ngoals = [\"a.o\"]\n"), ["due to command line change: --DMODULE"]);
    assert_eq!(needless("[[edit]]\ngoals = [\"a.o\"]\nvars = { KCFLAGS = \"\" }\n"), [""; 0]);
}

#[test]
fn what_an_edit_takes_away_is_not_made_for_nothing() {
    let needless = |edit: &str| {
        let ids = ["control/clean", "edit-1/incremental", "edit-1/oracle"];
        let mut record = record(edit, ids.map(|id| build(id, &[("d/a.o", "1")])).into());
        let cc = || step("CC d/a.o", "src/a.c=1", "obj/d/a.o=1 obj/d/.a.o.cmd=1");
        record.traces = ids.into_iter().map(|id| (id.to_owned(), steps(vec![cc()]))).collect();
        judge(&record, &Accepted::default()).findings.len()
    };
    let deleted = |file: &str| format!("[[edit]]\ntree = \"obj\"\nfile = \"{file}\"\ndelete = true\n");
    assert_eq!(["d/a.o", "d/.a.o.cmd", "d"].map(|file| needless(&deleted(file))), [0; 3]);
    assert_eq!(["d/b.o", "d/a.o.old"].map(|file| needless(&deleted(file))), [1; 2]);
}

#[test]
fn a_known_fault_of_one_command_does_not_excuse_another() {
    let by = |cmd: Option<&str>| {
        let name = |name: &str| crate::trace::Cmd { name: name.into(), file: "src/Makefile".into(), line: 1 };
        let link = |made: &str| Step { cmd: cmd.map(name), ..step("LD a.ko", "obj/a.o=o1", made) };
        let known =
            "[[known]]\nfinding = \"rebuild.diverged\"\ncmd = \"btf_ko\"\nwhy = \"a test\"\nwhen = \"sometimes\"\n";
        let builds = [("control/clean", "1"), ("edit-1/incremental", "1"), ("edit-1/oracle", "2")];
        let mut record =
            record(&format!("{EDIT}{known}"), builds.iter().map(|(id, text)| build(id, &[("a.ko", text)])).collect());
        record.traces = builds
            .iter()
            .map(|(id, text)| ((*id).to_owned(), steps(vec![link(&format!("obj/a.ko=l{text}"))])))
            .collect();
        judge(&record, &Accepted::default())
    };
    let verdict = |cmd| by(cmd).verdict;
    assert_eq!(verdict(Some("cmd_btf_ko")), crate::verdict::Verdict::Passed, "{:#?}", by(Some("cmd_btf_ko")));
    assert_eq!(verdict(Some("cmd_ld_ko_o")), crate::verdict::Verdict::Failed);
    // Where the step's command has no name, it can be this one.
    assert_eq!(verdict(None), crate::verdict::Verdict::Passed);
}

#[test]
fn what_a_step_never_came_to_read_is_not_what_went_wrong() {
    let object = || step("CC a.o", "src/a.c=2", "obj/a.o=o2");
    // A thin archive has its members by name: who reads a short one opens none of them.
    let found = cause(vec![
        ("control/clean", "1", vec![]),
        (
            "edit-1/incremental",
            "1",
            vec![
                object(),
                step("AR built-in.a", "", "obj/built-in.a=short"),
                step("LD a.ko", "obj/built-in.a=short", "obj/a.ko=l1"),
            ],
        ),
        (
            "edit-1/oracle",
            "2",
            vec![
                object(),
                step("AR built-in.a", "obj/a.o=o2", "obj/built-in.a=whole"),
                step("LD a.ko", "obj/a.o=o2 obj/built-in.a=whole", "obj/a.ko=l2"),
            ],
        ),
    ]);
    assert_eq!((found.fault, found.step.as_str()), (Fault::Irreproducible, "AR built-in.a"), "{}", found.why);
}
