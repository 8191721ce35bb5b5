//! The report for people, word by word.

use super::{Report, report, terminal};
use crate::artifact::record::{BuildRecord, Ended, FORMAT, LossRecord, RunRecord, ScenarioRecord, Status};
use crate::verdict::sample::{build, record, twice};
use crate::verdict::{Accepted, judge, unreferenced};

pub(super) const EDIT: &str = "[[edit]]\nfile = \"init/main.c\"\ntouch = true\n";

pub(super) fn run() -> RunRecord {
    RunRecord {
        format: FORMAT,
        id: "20261123T015500Z-1".into(),
        harness: "0.1.0".into(),
        started: 1_795_398_900,
        args: vec!["run".into()],
        host: "Debian GNU/Linux 12 (bookworm), Linux 6.1, x86_64".into(),
        losses: Vec::new(),
        scenarios: Vec::new(),
        snapshots: None,
        interrupted: false,
        left_out: Vec::new(),
        unreferenced: Vec::new(),
        why_left_out: Default::default(),
        shard: None,
    }
}

pub(super) fn report_of(run: &RunRecord, records: Vec<ScenarioRecord>) -> Report {
    let judged: Vec<_> = records
        .into_iter()
        .map(|record| {
            let judgement = judge(&record, &Accepted::default());
            (record, judgement)
        })
        .collect();
    report(run, Some("/runs/1".into()), &judged, unreferenced(&run.unreferenced))
}

fn shown(report: &Report, verbose: bool) -> String {
    let mut text = Vec::new();
    terminal::write(report, terminal::Options { colour: false, verbose }, &mut text).expect("memory can be written");
    String::from_utf8(text).expect("UTF-8")
}

/// A scenario of another id.
pub(super) fn called(id: &str, text: &str, builds: Vec<BuildRecord>) -> ScenarioRecord {
    ScenarioRecord { id: id.into(), ..record(text, builds) }
}

pub(super) fn faulty() -> ScenarioRecord {
    let artifacts: Vec<String> = (1..=10).map(|n| format!("drivers/{n:02}.ko")).collect();
    let made = |id: &str, text: &'static str| {
        build(id, &artifacts.iter().map(|path| (path.as_str(), text)).collect::<Vec<_>>())
    };
    let mut builds = vec![made("control/clean", "1"), made("control/noop-1", "1").printed(&["CC init/main.o"])];
    builds.extend([made("experiment/clean", "1"), made("edit-1/incremental", "3"), made("edit-1/oracle", "2")]);
    called("btf/faulty", EDIT, builds)
}

#[test]
fn scenarios_with_a_matrix_are_told_in_a_table_as_well() {
    let cell = |id: &str, labels: &[(&str, &str)], record: ScenarioRecord| {
        let matrix = labels.iter().map(|(list, label)| ((*list).to_owned(), (*label).to_owned())).collect();
        ScenarioRecord { id: id.into(), matrix, ..record }
    };
    let passed = || called("t/a", "", twice(&[("a.ko", "1")]));
    let skipped = || ScenarioRecord { ended: Ended::Skipped { reason: "no pahole 1.32".into() }, ..passed() };
    let records = vec![
        passed(),
        cell("t/a@7.3", &[("kernel", "7.3"), ("pahole", "system")], passed()),
        cell("t/a@6.12", &[("kernel", "6.12"), ("pahole", "system")], passed()),
        cell("t/a@6.12,pahole=1.32", &[("kernel", "6.12"), ("pahole", "1.32")], skipped()),
        cell("btf/faulty@7.3", &[("kernel", "7.3"), ("pahole", "system")], faulty()),
        cell("t/alone@7.3", &[("kernel", "7.3")], passed()),
    ];
    let text = shown(&report_of(&run(), records), false);
    let table = text.split("--keep\n").last().expect("the end").trim();
    insta::assert_snapshot!(table, @"
    kernel      6.12     6.12    7.3
    pahole      1.32     system  system
    t/a         skipped  passed  passed
    btf/faulty                   FAILED
    ");
}

#[test]
fn a_run_in_which_everything_passed_is_short() {
    let passed = |id: &str| called(id, "", twice(&[("a.ko", "1")]));
    let report = report_of(&run(), vec![passed("t/a"), passed("t/b")]);
    insta::assert_snapshot!(shown(&report, false), @"
    2 scenarios: 2 passed
    records: /runs/1
    ");
    insta::assert_snapshot!(shown(&report, true), @"
    2 scenarios: 2 passed
    records: /runs/1

    t/a: passed (1.5 s) — a sample
      build control/clean                    0.25 s     0 steps  worked
      build experiment/clean                 0.25 s     0 steps  worked

    t/b: passed (1.5 s) — a sample
      build control/clean                    0.25 s     0 steps  worked
      build experiment/clean                 0.25 s     0 steps  worked
    ");
}

#[test]
fn a_finding_has_its_evidence_and_the_command_to_run_again() {
    let passed = called("t/a", "", twice(&[("a.ko", "1")]));
    let failed = called("t/failed", "", vec![build("control/clean", &[]).failed(Status::Exit(2))]);
    let mut skipped = called("t/skipped", "", Vec::new());
    skipped.ended = Ended::Skipped { reason: "missing: pahole; install: apt-get install pahole".into() };
    let report = report_of(&run(), vec![faulty(), passed, failed, skipped]);
    insta::assert_snapshot!(shown(&report, false), @"
    4 scenarios: 1 failed, 1 inconclusive, 1 skipped, 1 passed
    records: /runs/1

    btf/faulty: failed (1.5 s) — a sample
      rebuild.diverged drivers/01.ko, drivers/02.ko, drivers/03.ko, drivers/04.ko, drivers/05.ko, drivers/06.ko, drivers/07.ko, drivers/08.ko, drivers/09.ko, drivers/10.ko
          bytes differ
          in edit-1/incremental against edit-1/oracle
      noop.ran CC init/main.o
          nothing was changed, and `CC init/main.o` ran
          in control/noop-1
          | CC init/main.o
      again: kbuild-repro run scenarios/t/sample.toml --keep

    t/failed: inconclusive (1.5 s) — a sample
      control/clean: the build failed with exit code 2
      build.failed control/clean
          the build failed with exit code 2
          | make: *** [Makefile:1: all] Error 1
          the whole log: control/clean/log
      again: kbuild-repro run scenarios/t/sample.toml --keep

    t/skipped: skipped (1.5 s) — a sample
      missing: pahole; install: apt-get install pahole
    ");
}

#[test]
fn known_and_expected_findings_are_shown_when_asked_for() {
    let known = "[[known]]\nfinding = \"repro.mismatch\"\ntarget = \"a.ko\"\nwhy = \"a time stamp\"\n";
    let expected = "[[expect.finding]]\nfinding = \"repro.mismatch\"\ntarget = \"b.ko\"\n";
    let builds = vec![
        build("control/clean", &[("a.ko", "1"), ("b.ko", "1")]),
        build("experiment/clean", &[("a.ko", "2"), ("b.ko", "2")]),
    ];
    let report = report_of(&run(), vec![called("t/known", &format!("{known}{expected}"), builds)]);
    insta::assert_snapshot!(shown(&report, false), @"
    1 scenario: 1 passed
    records: /runs/1

    t/known: passed (1.5 s) — a sample
      1 known finding; --verbose shows them
    ");
    insta::assert_snapshot!(shown(&report, true), @"
    1 scenario: 1 passed
    records: /runs/1

    t/known: passed (1.5 s) — a sample
      build control/clean                    0.25 s     0 steps  worked
      build experiment/clean                 0.25 s     0 steps  worked
      repro.mismatch a.ko (known: a time stamp)
          bytes differ
          in experiment/clean against control/clean
      repro.mismatch b.ko (expected)
          bytes differ
          in experiment/clean against control/clean
      again: kbuild-repro run scenarios/t/sample.toml --keep
    ");
}

#[test]
fn what_is_not_a_scenario_s_is_said_once() {
    let mut run = run();
    run.interrupted = true;
    run.left_out = vec!["btf/long".into()];
    run.unreferenced = vec!["t/gone/gcc-12/a.snap".into()];
    run.losses = vec![LossRecord {
        guarantee: "no network".into(),
        reason: "unshare(2): operation not permitted".into(),
        hint: Some("sysctl kernel.unprivileged_userns_clone=1".into()),
    }];
    let mut cut = called("t/cut", EDIT, twice(&[("a.ko", "1")]));
    cut.ended = Ended::Interrupted;
    let mut broken = called("t/broken", "", Vec::new());
    broken.ended = Ended::HarnessError { message: "cannot open the log".into(), hint: Some("df".into()) };
    let report = report_of(&run, vec![broken, cut]);
    assert_eq!(report.exit_code, 70);
    insta::assert_snapshot!(shown(&report, false), @"
    2 scenarios: 1 harness error, 1 interrupted; and 1 finding about no scenario
    1 not begun: btf/long
    records: /runs/1
    snapshot.unreferenced t/gone/gcc-12/a.snap
        no scenario declares it, in any variant
        delete it, or declare it under `[snapshots]` of its scenario

    t/broken: harness error (1.5 s) — a sample
      cannot open the log
      hint: df

    t/cut: interrupted (1.5 s) — a sample
      stopped before the end

    not guaranteed on this host:
      no network: unshare(2): operation not permitted
        hint: sysctl kernel.unprivileged_userns_clone=1
    ");
}

#[test]
fn nothing_run_is_said() {
    let report = report_of(&run(), Vec::new());
    assert_eq!(report.exit_code, 4);
    insta::assert_snapshot!(shown(&report, false), @"
    0 scenarios: nothing was run
    records: /runs/1
    ");
}

#[test]
fn colours_are_for_terminals() {
    let report = report_of(&run(), vec![faulty()]);
    let mut text = Vec::new();
    terminal::write(&report, terminal::Options { colour: true, verbose: false }, &mut text).expect("written");
    let text = String::from_utf8(text).expect("UTF-8");
    assert!(text.contains("\u{1b}["));
    assert_eq!(console::strip_ansi_codes(&text), shown(&report, false));
}
