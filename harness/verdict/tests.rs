use super::sample::{build, record, twice};
use super::*;
use crate::artifact::Digest;
use crate::artifact::record::{BuildRecord, SnapshotRecord, Status};

const EDIT: &str = "[[edit]]\nfile = \"init/main.c\"\ntouch = true\n";

fn judged(record: &ScenarioRecord) -> Judgement {
    let judgement = judge(record, &Accepted::default());
    assert_eq!(judgement, judge(record, &Accepted::default()), "the same record gives the same answer");
    judgement
}

/// Findings as `id [standing]`.
fn ids(judgement: &Judgement) -> Vec<String> {
    let standing = |finding: &Finding| match &finding.standing {
        Standing::New => "",
        Standing::Expected => " expected",
        Standing::Known { .. } => " known",
        Standing::Latent => " latent",
    };
    judgement.findings.iter().map(|finding| format!("{}{}", finding.id(), standing(finding))).collect()
}

#[track_caller]
fn finds(record: &ScenarioRecord, verdict: Verdict, findings: &[&str]) -> Judgement {
    let judgement = judged(record);
    assert_eq!(ids(&judgement), findings, "{judgement:#?}");
    assert_eq!(judgement.verdict, verdict, "{judgement:#?}");
    judgement
}

/// Two clean builds, one edit, and its oracle.
fn edited(incremental: BuildRecord, oracle: BuildRecord) -> Vec<BuildRecord> {
    let mut builds = twice(&[("a.ko", "1")]);
    builds.extend([incremental, oracle]);
    builds
}

fn inc(text: &str) -> BuildRecord {
    build("edit-1/incremental", &[("a.ko", text)])
}

fn oracle(text: &str) -> BuildRecord {
    build("edit-1/oracle", &[("a.ko", text)])
}

#[test]
fn equal_builds_pass() {
    let mut builds = edited(inc("2"), oracle("2"));
    builds.insert(1, build("control/noop-1", &[("a.ko", "1")]));
    let judgement = finds(&record(EDIT, builds), Verdict::Passed, &[]);
    assert_eq!(judgement.compared, 3);
}

#[test]
fn nothing_compared_is_inconclusive() {
    let judgement = finds(&record("", twice(&[])), Verdict::Inconclusive, &[]);
    assert_eq!(judgement.reason.as_deref(), Some("no artifact was compared"));
    assert!(judgement.hint.is_some());
    // Also where everything is ignored.
    let ignore = "[compare]\nignore = [{ artifact = \"*\", why = \"a test\" }]\n";
    finds(&record(ignore, twice(&[("a.ko", "1")])), Verdict::Inconclusive, &[]);
}

#[test]
fn two_clean_builds_that_differ() {
    let builds = vec![
        build("control/clean", &[("a.ko", "1"), ("b.ko", "1"), ("c.ko", "1")]),
        build("experiment/clean", &[("a.ko", "2"), ("b.ko", "1"), ("d.ko", "1")]),
    ];
    let found = ["a.ko", "c.ko", "d.ko"].map(|name| format!("repro.mismatch@experiment/clean:{name}"));
    let found: Vec<&str> = found.iter().map(String::as_str).collect();
    let judgement = finds(&record("", builds.clone()), Verdict::Failed, &found);
    assert_eq!(judgement.compared, 4);
    assert_eq!(judgement.findings[1].summary, "only the first build made it");
    let ignore = "[compare]\nignore = [{ artifact = \"?.ko\", why = \"a test\" }]\n";
    finds(&record(ignore, builds), Verdict::Inconclusive, &[]);
}

#[test]
fn the_mode_of_a_file_counts() {
    let mut builds = twice(&[("run.sh", "1")]);
    builds[1].artifacts[0].mode = 0o755;
    finds(&record("", builds), Verdict::Failed, &["repro.mismatch@experiment/clean:run.sh"]);
}

#[test]
fn a_no_op_that_changes_something_is_one_finding() {
    let noop = |n: u32, text: &str| build(&format!("control/noop-{n}"), &[("a.ko", text)]);
    let mut builds = twice(&[("a.ko", "1")]);
    builds.splice(1..1, [noop(1, "2"), noop(2, "1"), noop(3, "1")]);
    let judgement = finds(&record("", builds), Verdict::Failed, &["noop.changed@control/noop-1:a.ko"]);
    assert_eq!(judgement.findings[0].still, ["control/noop-2"]);
}

#[test]
fn a_no_op_that_runs_something_costs_and_passes() {
    let mut builds = twice(&[("a.ko", "1")]);
    let labels = ["CALL scripts/checksyscalls.sh", "CC init/main.o"];
    builds.insert(1, build("control/noop-1", &[("a.ko", "1")]).printed(&labels));
    let judgement = finds(&record("", builds), Verdict::Passed, &["noop.ran@control/noop-1:CC init/main.o"]);
    assert_eq!(judgement.findings[0].summary, "nothing was changed, and `CC init/main.o` ran");
    // make's own chatter is no step.
    let mut builds = twice(&[("a.ko", "1")]);
    builds.insert(1, build("control/noop-1", &[("a.ko", "1")]).printed(&labels[..1]));
    finds(&record("", builds), Verdict::Passed, &[]);
}

#[test]
fn a_no_op_that_does_much_names_the_first_of_it() {
    let names: Vec<String> = (10..40).map(|n| format!("{n}.o")).collect();
    let labels: Vec<String> = names.iter().map(|name| format!("CC {name}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
    let mut builds = twice(&[("a.ko", "1")]);
    builds.insert(1, build("control/noop-1", &[("a.ko", "1")]).printed(&labels).wrote(&names));
    let judgement = finds(&record("", builds), Verdict::Passed, &["noop.ran@control/noop-1:CC 10.o"]);
    let detail = &judgement.findings[0].detail;
    assert_eq!((detail[0].as_str(), detail[20].as_str()), ("| CC 10.o", "| ... and 10 more"));
    assert_eq!(detail[21], "written again: 10.o, 11.o, 12.o, 13.o, 14.o, 15.o and 24 more");
}

#[test]
fn a_no_op_that_fails() {
    let mut builds = twice(&[("a.ko", "1")]);
    builds.insert(1, build("control/noop-1", &[]).failed(Status::Exit(2)));
    finds(&record("", builds), Verdict::Failed, &["rebuild.failed@control/noop-1:"]);
}

#[test]
fn not_made_again_is_stale_and_made_again_is_diverged() {
    let stale = edited(inc("1").wrote(&[]), oracle("2"));
    finds(&record(EDIT, stale), Verdict::Failed, &["rebuild.stale@edit-1:a.ko"]);
    let diverged = edited(inc("3"), oracle("2"));
    finds(&record(EDIT, diverged), Verdict::Failed, &["rebuild.diverged@edit-1:a.ko"]);
    let absent = edited(build("edit-1/incremental", &[]), oracle("2"));
    finds(&record(EDIT, absent), Verdict::Failed, &["rebuild.stale@edit-1:a.ko"]);
}

#[test]
fn made_again_from_an_object_that_was_not_is_stale() {
    let builds = edited(inc("3").held(&[("a.o", "old"), ("x/b.o", "old")]), oracle("2").held(&[("a.o", "new")]));
    let judgement = finds(&record(EDIT, builds), Verdict::Failed, &["rebuild.stale@edit-1:a.ko"]);
    assert!(judgement.findings[0].detail[0].contains("from `a.o`"), "{judgement:#?}");
    // An object of another directory is no input of the module.
    let builds = edited(inc("3").held(&[("x/b.o", "old")]), oracle("2").held(&[("x/b.o", "new")]));
    finds(&record(EDIT, builds), Verdict::Failed, &["rebuild.diverged@edit-1:a.ko"]);
}

#[test]
fn builds_of_which_one_fails() {
    let failed = |build: BuildRecord| build.failed(Status::Exit(2));
    let only_incremental = edited(failed(inc("2")), oracle("2"));
    finds(&record(EDIT, only_incremental), Verdict::Failed, &["rebuild.failed@edit-1:"]);
    let only_oracle = edited(inc("2"), failed(oracle("2")));
    let judgement = finds(&record(EDIT, only_oracle), Verdict::Failed, &["rebuild.masked@edit-1:"]);
    assert_eq!(judgement.findings[0].build, "edit-1/incremental");
}

#[test]
fn builds_that_fail_alike_agree_in_nothing() {
    let failed = |build: BuildRecord| build.failed(Status::Exit(2));
    let builds = edited(failed(inc("2")), failed(oracle("2")));
    let judgement = finds(&record(EDIT, builds), Verdict::Inconclusive, &["build.failed@edit-1:"]);
    assert!(judgement.reason.is_some_and(|reason| reason.contains("edit-1/oracle")));
    let builds = vec![failed(build("control/clean", &[])), failed(build("experiment/clean", &[]))];
    let both = ["build.failed@control/clean:", "build.failed@experiment/clean:"];
    let judgement = finds(&record("", builds), Verdict::Inconclusive, &both);
    assert!(judgement.findings[0].detail.iter().any(|line| line.contains("Error 1")));
    assert!(judgement.findings[0].detail.contains(&"the whole log: control/clean/log".to_owned()));
    let builds = vec![build("control/clean", &[]).failed(Status::Timeout(2))];
    finds(&record("", builds), Verdict::Inconclusive, &["build.timeout@control/clean:"]);
    // Where there is no oracle yet, nobody knows whether a clean build would work.
    let mut builds = twice(&[("a.ko", "1")]);
    builds.push(failed(inc("2")));
    finds(&record(EDIT, builds), Verdict::Inconclusive, &["build.failed@edit-1:"]);
}

#[test]
fn a_build_that_was_stopped_says_nothing_of_the_other() {
    let stopped = |build: BuildRecord, status: &Status| build.failed(status.clone());
    let (slow, full) = (Status::Timeout(1), Status::DiskFull("no room".into()));
    for (status, name) in [(&slow, "build.timeout@edit-1:"), (&full, "build.failed@edit-1:")] {
        let masked = edited(inc("2"), stopped(oracle("2"), status));
        finds(&record(EDIT, masked.clone()), Verdict::Inconclusive, &[name]);
        let text = format!("{EDIT}[[expect.finding]]\nfinding = \"rebuild.masked\"\n");
        assert_eq!(
            judge(&record(&text, masked), &Accepted::default()).verdict,
            Verdict::Inconclusive,
            "it is not that"
        );
        finds(&record(EDIT, edited(stopped(inc("2"), status), oracle("2"))), Verdict::Inconclusive, &[name]);
    }
    // One that takes very much longer than all of it waits for something: a lock that was left, an input.
    let hangs = edited(inc("2").failed(Status::Timeout(120)), oracle("2"));
    finds(&record(EDIT, hangs), Verdict::Failed, &["rebuild.failed@edit-1:"]);
    let unseen = edited(inc("2"), oracle("2").failed(Status::Unseen("a name of 5,000 bytes".into())));
    finds(&record(EDIT, unseen), Verdict::Inconclusive, &["build.failed@edit-1:"]);
}

#[test]
fn a_planted_failure_passes_although_nothing_is_compared() {
    let builds = vec![build("control/clean", &[]).failed(Status::Exit(2))];
    let text = "[[expect.finding]]\nfinding = \"build.failed\"\n";
    finds(&record(text, builds), Verdict::Passed, &["build.failed@control/clean: expected"]);
}

#[test]
fn btf_that_is_lost() {
    let clean = || oracle("with BTF").btf("a.ko", 1, &["f", "g"]);
    let none = edited(inc("without"), clean());
    let judgement = finds(&record(EDIT, none), Verdict::Failed, &["btf.lost@edit-1:a.ko"]);
    assert_eq!(judgement.findings[0].summary, "no .BTF; a clean build gives it one with 10 types and 2 functions");
    let fewer = edited(inc("other").btf("a.ko", 1, &["g"]), clean());
    let judgement = finds(&record(EDIT, fewer), Verdict::Failed, &["btf.lost@edit-1:a.ko"]);
    assert_eq!(judgement.findings[0].summary, "1 function lost its BTF: f");
    // A module of other sources has other functions, and lost none.
    let other = edited(inc("other").btf("a.ko", 1, &["h"]), clean());
    finds(&record(EDIT, other), Verdict::Failed, &["rebuild.diverged@edit-1:a.ko"]);
}

#[test]
fn btf_that_is_there_twice() {
    let text = "1";
    let two = |build: BuildRecord| build.btf("a.ko", 2, &["f"]);
    let builds = edited(two(inc("other")), oracle(text).btf("a.ko", 1, &["f"]));
    finds(&record(EDIT, builds), Verdict::Failed, &["btf.duplicate@edit-1:a.ko"]);
    // A clean build that does it is named, and the edits after it are not.
    let builds: Vec<BuildRecord> = edited(inc(text), oracle(text)).into_iter().map(two).collect();
    let found = ["btf.duplicate@control/clean:a.ko"];
    finds(&record("", builds[..2].to_vec()), Verdict::Failed, &found);
    let judgement = judged(&record(EDIT, builds));
    assert!(ids(&judgement).contains(&found[0].to_owned()));
    assert!(judgement.findings.iter().all(|finding| finding.build != "edit-1/incremental"), "{judgement:#?}");
}

#[test]
fn a_difference_that_lasts_is_one_finding() {
    let second = |kind: &str, text: &str| build(&format!("edit-2/{kind}"), &[("a.ko", text)]);
    let two = format!("{EDIT}{EDIT}");
    let mut builds = edited(inc("3"), oracle("2"));
    builds.extend([second("incremental", "3").wrote(&[]), second("oracle", "2")]);
    let judgement = finds(&record(&two, builds), Verdict::Failed, &["rebuild.diverged@edit-1:a.ko"]);
    assert_eq!(judgement.findings[0].still, ["edit-2/incremental"]);
    // Another difference after the second edit is another finding.
    let mut builds = edited(inc("3"), oracle("2"));
    builds.extend([second("incremental", "4"), second("oracle", "2")]);
    let both = ["rebuild.diverged@edit-1:a.ko", "rebuild.diverged@edit-2:a.ko"];
    finds(&record(&two, builds), Verdict::Failed, &both);
}

/// Gives `a.ko` BTF of these bytes that says this over its vmlinux, or that a kernel refuses.
fn with_btf(build: BuildRecord, bytes: &str, says: Result<&str, &str>) -> BuildRecord {
    let mut build = build.btf("a.ko", 1, &["f"]);
    let btf = build.artifacts[0].btf.as_mut().expect("just given");
    btf.sha256 = Digest::of(bytes.as_bytes());
    btf.meaning = says.ok().map(|says| Digest::of(says.as_bytes()));
    btf.refusal = says.err().map(str::to_owned);
    btf.problem = says.err().map(|_| "type `7` cannot be named ``".to_owned());
    build
}

#[test]
fn btf_that_was_made_for_another_vmlinux() {
    let clean = || build("control/clean", &[("a.ko", "1")]);
    let builds = |first: BuildRecord, inc: BuildRecord, oracle: BuildRecord| {
        vec![first, build("experiment/clean", &[("a.ko", "1")]), inc, oracle]
    };
    let fits = || with_btf(clean(), "b", Ok("long"));
    let told = |builds, found: &[&str]| -> Vec<String> {
        let verdict = if found.is_empty() { Verdict::Passed } else { Verdict::Failed };
        finds(&record(EDIT, builds), verdict, found).findings.iter().map(|finding| finding.summary.clone()).collect()
    };
    let right = || with_btf(oracle("2"), "c", Ok("long"));
    // The same bytes, which the kernel refuses, or which mean something else; its code may be stale as well.
    let mismatch = ["btf.base-mismatch@edit-1:a.ko"];
    let refused = told(builds(fits(), with_btf(inc("1"), "b", Err("Invalid name")), right()), &mismatch);
    assert_eq!(refused, ["a kernel refuses it: failed to validate module [a] BTF: -22 (Invalid name)"]);
    let other = told(builds(fits(), with_btf(inc("1"), "b", Ok("short")), right()), &mismatch);
    assert!(other[0].contains("means other types"), "{other:?}");
    // Other bytes that say something else are a difference like any other.
    told(builds(fits(), with_btf(inc("1"), "d", Ok("short")), right()), &["rebuild.diverged@edit-1:a.ko"]);
    told(builds(fits(), with_btf(inc("2"), "c", Ok("long")), right()), &[]);
    // New bytes that are broken by themselves.
    told(builds(fits(), with_btf(inc("3"), "d", Err("vlen != 0")), right()), &["btf.invalid@edit-1:a.ko"]);
    // What a clean build makes broken is told of that one alone.
    let broken = |build| with_btf(build, "x", Err("Invalid magic"));
    told(builds(broken(clean()), broken(inc("1")), broken(oracle("1"))), &["btf.invalid@control/clean:a.ko"]);
}

#[test]
fn what_is_not_reproducible_is_not_reported_after_every_edit() {
    let builds = vec![
        build("control/clean", &[("a.ko", "1")]),
        build("experiment/clean", &[("a.ko", "2")]),
        inc("3"),
        oracle("4"),
    ];
    let mismatch = "repro.mismatch@experiment/clean:a.ko";
    let judgement = finds(&record(EDIT, builds.clone()), Verdict::Failed, &[mismatch]);
    assert_eq!(judgement.findings[0].folded, ["rebuild.diverged@edit-1:a.ko"]);
    // What a variation does says nothing about builds without it.
    let varied = format!("[experiment]\nhostname = \"other\"\n{EDIT}");
    finds(&record(&varied, builds), Verdict::Failed, &[mismatch, "rebuild.diverged@edit-1:a.ko"]);
}

#[test]
fn what_a_clean_build_does_not_make_is_a_note() {
    let builds = edited(build("edit-1/incremental", &[("a.ko", "2"), ("old.ko", "1")]), oracle("2"));
    let judgement = finds(&record(EDIT, builds.clone()), Verdict::Passed, &[]);
    assert!(judgement.notes[0].contains("`old.ko` is left over"), "{judgement:#?}");
    // Where a finding about it is demanded, the scenario says so itself.
    let demanded =
        format!("{EDIT}changes = [\"old.ko\"]\n[[expect.finding]]\nfinding = \"expect.unmet\"\ntarget = \"old.ko\"\n");
    let mut same = builds.clone();
    for build in &mut same[..2] {
        let old = builds[2].artifact("old.ko").expect("made").clone();
        build.artifacts.push(old);
    }
    let judgement = finds(&record(&demanded, same), Verdict::Passed, &["expect.unmet@edit-1:old.ko expected"]);
    assert!(judgement.notes.is_empty(), "{judgement:#?}");
    let goals = format!("{EDIT}goals = [\"modules\"]\n");
    assert!(finds(&record(&goals, builds), Verdict::Passed, &[]).notes.is_empty());
}

#[test]
fn what_an_edit_demands() {
    let text = format!(
        "{EDIT}runs = [\"CC init/main.o\", \"LD *\"]\nskips = [\"CC [M] *\"]\nchanges = [\"a.ko\", \"none\"]\n\
         keeps = [\"*.ko\"]\n"
    );
    let ran = inc("2").printed(&["CC init/main.o", "CC [M] a.o"]);
    let unmet = ["*.ko", "CC [M] *", "LD *", "none"].map(|pattern| format!("expect.unmet@edit-1:{pattern}"));
    let unmet: Vec<&str> = unmet.iter().map(String::as_str).collect();
    finds(&record(&text, edited(ran, oracle("2"))), Verdict::Failed, &unmet);
    let clean = || oracle("2").printed(&["CC init/main.o", "CC [M] a.o"]);
    let text = format!("{EDIT}runs = [\"CC init/main.o\"]\nskips = [\"CC [M] *\"]\nchanges = [\"a.ko\"]\n");
    let ran = || inc("2").printed(&["CC init/main.o", "CC a.o"]);
    let judgement = finds(&record(&text, edited(ran(), clean())), Verdict::Passed, &[]);
    assert!(judgement.notes.is_empty(), "{judgement:#?}");
    // A pattern that no build could have met: two spaces.
    let misspelt = text.replace("CC [M] *", "CC [M]  a.o");
    let judgement = finds(&record(&misspelt, edited(ran(), clean())), Verdict::Passed, &[]);
    let note = &judgement.notes[0];
    assert!(note.starts_with("attention: `skips = \"CC [M]  a.o\"`"), "{note}");
    assert!(note.ends_with("did you mean `CC [M] a.o`?"), "{note}");
}

#[test]
fn where_no_clean_build_worked_nothing_is_said_of_what_was_not_seen() {
    let failed = |id: &str| build(id, &[]).failed(Status::Exit(2)).printed(&["HOSTCC scripts/basic/fixdep"]);
    let text = format!(
        "[tree]\nsrctree = \"graft\"\nkernel = \"git:/linux@v6.12\"\n{EDIT}skips = [\"LD [M] *\"]\n\
         [[known]]\nfinding = \"rebuild.stale\"\nwhy = \"a test\"\n"
    );
    let builds = vec![failed("control/clean"), failed("experiment/clean")];
    let both = ["build.failed@control/clean:", "build.failed@experiment/clean:"];
    let judgement = finds(&record(&text, builds), Verdict::Inconclusive, &both);
    assert!(judgement.notes.is_empty(), "{judgement:#?}");
    // With builds that worked all three are said.
    let judgement = judged(&record(&text, edited(inc("2").printed(&["CC a.o"]), oracle("2"))));
    for note in ["attention: `skips", "each clean build prepared itself", "fixed? "] {
        assert!(judgement.notes.iter().any(|have| have.starts_with(note)), "{note}: {judgement:#?}");
    }
}

#[test]
fn a_step_that_did_not_run_is_reported_with_the_nearest_that_did() {
    let many: Vec<String> = (0..30).map(|n| format!("CC lib/{n}.o")).chain(["LD [M] crypto/a.ko".to_owned()]).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let text = format!("{EDIT}runs = [\"LD [M]  crypto/a.ko\"]\n");
    let judgement = judged(&record(&text, edited(inc("2").printed(&many), oracle("2"))));
    let finding = &judgement.findings[0];
    assert!(finding.summary.ends_with("did you mean `LD [M] crypto/a.ko`?"), "{finding:#?}");
    assert!(finding.detail.iter().any(|line| line == "| ... and 11 more"), "{finding:#?}");
    assert!(finding.detail.iter().any(|line| line.starts_with("the whole log: ")), "{finding:#?}");
}

#[test]
fn what_is_demanded_must_appear_as_demanded() {
    let expect = |more: &str| format!("{EDIT}[[expect.finding]]\nfinding = \"rebuild.stale\"\n{more}");
    let builds = || edited(inc("1").wrote(&[]), oracle("2"));
    for fits in ["", "target = \"*.ko\"\n", "edit = \"edit-1\"\n", "at_least = 1\n"] {
        finds(&record(&expect(fits), builds()), Verdict::Passed, &["rebuild.stale@edit-1:a.ko expected"]);
    }
    for (does_not, unmet) in [("target = \"b.ko\"\n", "b.ko"), ("target = \"a.k\"\n", "a.k")] {
        let unmet = format!("expect.unmet@all:rebuild.stale {unmet}");
        finds(&record(&expect(does_not), builds()), Verdict::Failed, &["rebuild.stale@edit-1:a.ko", &unmet]);
    }
    let found = ["expect.unmet@all:rebuild.stale *", "rebuild.stale@edit-1:a.ko expected"];
    finds(&record(&expect("at_least = 2\n"), builds()), Verdict::Failed, &found);
    let silent = edited(inc("2"), oracle("2"));
    finds(&record(&expect(""), silent), Verdict::Failed, &["expect.unmet@all:rebuild.stale *"]);
}

/// The same edit and its builds on a kernel of this version.
fn on_kernel(version: &str, srctree: &str, known: &str, builds: Vec<BuildRecord>) -> ScenarioRecord {
    let mut record = record(&format!("[tree]\nsrctree = \"{srctree}\"\n{EDIT}{known}"), builds);
    record.kernel = Some(version.into());
    record
}

#[test]
fn what_is_known_passes_where_it_is_known() {
    let known = |more: &str| format!("[[known]]\nfinding = \"rebuild.stale\"\nwhy = \"a test\"\n{more}");
    let faulty = || edited(inc("1").wrote(&[]), oracle("2"));
    for (fits, is_known) in [
        ("", true),
        ("kernels = [\"6.1\", \"6.12\"]\n", true),
        ("kernels = [\"6.1\"]\n", false),
        ("tools = { pahole = \"1.24\" }\n", true),
        ("tools = { pahole = \"1.2\" }\n", false),
        ("tools = { ld = \"2\" }\n", false),
        ("kernels = [\">= 6.1, < 6.13\"]\n", true),
        ("kernels = [\"< 6.12\"]\n", false),
        ("tools = { pahole = \"< 1.28\" }\n", true),
        ("tools = { pahole = \">= 1.28\" }\n", false),
        ("target = \"b.ko\"\nwhen = \"sometimes\"\n", false),
        ("edit = \"edit-1\"\n", true),
    ] {
        let record = on_kernel("6.12.117", "debian:6.12", &known(fits), faulty());
        let (verdict, standing) = if is_known { (Verdict::Passed, " known") } else { (Verdict::Failed, "") };
        finds(&record, verdict, &[&format!("rebuild.stale@edit-1:a.ko{standing}")]);
    }
}

#[test]
fn what_is_demanded_is_demanded_where_it_says() {
    let expected = |more: &str| format!("[[expect.finding]]\nfinding = \"rebuild.stale\"\n{more}");
    for (fits, is_demanded) in [
        ("kernels = [\"6.1\", \"6.12\"]\n", true),
        ("kernels = [\"6.1\"]\n", false),
        ("tools = { pahole = \"1.24\" }\n", true),
        ("tools = { pahole = \"1.30\" }\n", false),
        ("kernels = [\"6.12\"]\ntools = { pahole = \"1.30\" }\n", false),
    ] {
        // Where it is not demanded it is a fault as any other, and missed by nobody.
        let faulty = edited(inc("1").wrote(&[]), oracle("2"));
        let faulty = on_kernel("6.12.117", "debian:6.12", &expected(fits), faulty);
        let (verdict, standing) = if is_demanded { (Verdict::Passed, " expected") } else { (Verdict::Failed, "") };
        finds(&faulty, verdict, &[&format!("rebuild.stale@edit-1:a.ko{standing}")]);
        let fine = on_kernel("6.12.117", "debian:6.12", &expected(fits), edited(inc("2"), oracle("2")));
        let (verdict, unmet) = if is_demanded {
            (Verdict::Failed, vec!["expect.unmet@all:rebuild.stale *"])
        } else {
            (Verdict::Passed, vec![])
        };
        finds(&fine, verdict, &unmet);
    }
}

#[test]
fn a_known_fault_that_is_gone() {
    let known = "[[known]]\nfinding = \"rebuild.stale\"\nwhy = \"a test\"\n";
    let fine = || edited(inc("2"), oracle("2"));
    // A release does not change: then the list is wrong.
    let pinned = on_kernel("6.12.117", "debian:6.12", known, fine());
    finds(&pinned, Verdict::Failed, &["known.stale@all:rebuild.stale *"]);
    let moving = on_kernel("6.12.117", "git:/linux@master", known, fine());
    let judgement = finds(&moving, Verdict::Passed, &[]);
    assert!(judgement.notes[0].starts_with("fixed? `rebuild.stale`"), "{judgement:#?}");
    let random = on_kernel("6.12.117", "debian:6.12", &format!("{known}when = \"sometimes\"\n"), fine());
    finds(&random, Verdict::Passed, &[]);
    let elsewhere = on_kernel("7.3", "debian:7.3", &format!("{known}kernels = [\"6.12\"]\n"), fine());
    finds(&elsewhere, Verdict::Passed, &[]);
}

#[test]
fn snapshots_are_compared_where_they_are_declared() {
    let snapshots = "[snapshots]\nbtf = [\"a.ko\"]\nvariants = [{ gcc = \"12\" }]\n";
    let with = |variant: Option<&str>, contents: Result<&str, &str>| {
        let mut record = record(snapshots, twice(&[("a.ko", "1")]));
        record.snapshots = vec![SnapshotRecord {
            artifact: "a.ko".into(),
            variant: variant.map(str::to_owned),
            contents: contents.map(str::to_owned).map_err(str::to_owned),
        }];
        record
    };
    let path = snapshot_path("t/sample", "gcc-12", "a.ko");
    let accepted = Accepted { contents: [(path, "STRUCT page\n".to_owned())].into(), ..Accepted::default() };
    let told = |record: &ScenarioRecord| {
        let judgement = judge(record, &accepted);
        (judgement.verdict, ids(&judgement))
    };
    assert_eq!(told(&with(Some("gcc-12"), Ok("STRUCT page"))), (Verdict::Passed, Vec::new()));
    let changed = with(Some("gcc-12"), Ok("STRUCT folio"));
    assert_eq!(told(&changed), (Verdict::Failed, vec!["snapshot.changed@control/clean:a.ko".to_owned()]));
    let detail = judge(&changed, &accepted).findings[0].detail.join("\n");
    assert!(detail.contains("folio") && detail.contains("cargo insta review"), "{detail}");
    let missing = vec!["snapshot.missing@control/clean:a.ko".to_owned()];
    assert_eq!(told(&with(Some("gcc-13"), Ok("STRUCT page"))), (Verdict::Failed, missing.clone()));
    assert_eq!(told(&with(Some("gcc-12"), Err("no .BTF"))), (Verdict::Failed, missing));
    // Another toolchain is no failure, and is said.
    let other = judge(&with(None, Ok("STRUCT page")), &accepted);
    assert_eq!((other.verdict, ids(&other)), (Verdict::Passed, Vec::new()));
    assert!(other.notes[0].contains("is declared for this toolchain"), "{other:#?}");
}

#[test]
fn an_end_before_the_end_keeps_what_was_found() {
    let text = format!("{EDIT}[[expect.finding]]\nfinding = \"btf.lost\"\n");
    let builds = vec![build("control/clean", &[("a.ko", "1")]), build("experiment/clean", &[("a.ko", "2")])];
    let mut record = record(&text, builds);
    let found = ["repro.mismatch@experiment/clean:a.ko"];
    for (ended, verdict) in [
        (Ended::Interrupted, Verdict::Interrupted),
        (Ended::HarnessError { message: "x".into(), hint: None }, Verdict::HarnessError),
        (Ended::HostCannot { message: "x".into(), hint: None }, Verdict::HostCannot),
        (Ended::ScenarioError { message: "x".into(), hint: None }, Verdict::ScenarioError),
    ] {
        record.ended = ended;
        finds(&record, verdict, &found);
    }
    record.ended = Ended::Skipped { reason: "no pahole".into() };
    let judgement = finds(&record, Verdict::Skipped, &[]);
    assert_eq!(judgement.reason.as_deref(), Some("no pahole"));
}

#[test]
fn findings_come_the_worst_first() {
    let builds = vec![
        build("control/clean", &[("a.ko", "1"), ("b.ko", "1")]),
        build("control/noop-1", &[("a.ko", "2"), ("b.ko", "1")]).printed(&["CC x.o"]),
        build("experiment/clean", &[("a.ko", "1"), ("b.ko", "2")]),
    ];
    let known = "[[known]]\nfinding = \"repro.mismatch\"\nwhy = \"a test\"\n";
    let found = [
        "noop.changed@control/noop-1:a.ko",
        "noop.ran@control/noop-1:CC x.o",
        "repro.mismatch@experiment/clean:b.ko known",
    ];
    finds(&record(known, builds), Verdict::Failed, &found);
}

#[test]
fn what_ran_before_the_interruption_is_told_so() {
    let edit =
        "[[edit]]\nfile = \"init/main.c\"\ntouch = true\ninterrupt = { step = \"LD a.ko\" }\nruns = [\"CC a.o\"]\n";
    let mut interrupted = build("edit-1/interrupted", &[]).printed(&["CC a.o", "LD a.ko"]);
    interrupted.interrupted = Some("LD a.ko".into());
    let mut builds = edited(inc("2").printed(&["LD a.ko"]), oracle("2"));
    builds.insert(2, interrupted);
    let judgement = finds(&record(edit, builds), Verdict::Failed, &["expect.unmet@edit-1:CC a.o"]);
    let said = &judgement.findings[0].summary;
    assert!(said.contains("it ran in edit-1/interrupted, and not in the build that this is about"), "{said}");
}

#[test]
fn a_step_that_ran_and_printed_nothing_is_no_step_that_did_not_run() {
    let edit = "[[edit]]\nfile = \"init/main.c\"\ntouch = true\ninterrupt = { step = \"LD a.ko\", fault = \"EIO\" }\n";
    let mut builds = edited(inc("2"), oracle("2"));
    builds.insert(2, build("edit-1/interrupted", &[]));
    let mut record = record(edit, builds);
    let summary = |record: &ScenarioRecord| judged(record).findings[0].summary.clone();
    assert!(summary(&record).contains("for no such step ran"), "{}", summary(&record));
    let step = crate::trace::Step { command: "echo '  LD      a.ko'; ld -o a.ko".into(), ..Default::default() };
    let steps = crate::artifact::steps::Steps { steps: vec![step], ..Default::default() };
    record.traces.insert("edit-1/interrupted".into(), steps);
    assert!(summary(&record).contains("for it did not write so often"), "{}", summary(&record));
}

#[test]
fn modes_are_not_told_where_the_umask_is_varied() {
    let mut builds = twice(&[("a.ko", "1")]);
    builds[1] = build("experiment/clean", &[("a.ko", "2")]);
    builds[1].artifacts[0].mode = 0o600;
    let told = |text: &str| {
        let found = judged(&record(text, builds.clone())).findings[0].clone();
        format!("{} {:?}", found.summary, found.detail)
    };
    assert!(told("").contains("mode 644 in A, 600 in B"), "{}", told(""));
    let varied = told("[experiment]\numask = \"077\"\n");
    assert!(!varied.contains("600") && varied.contains("modes are not compared"), "{varied}");
}
