//! Runs made by hand, night after night.

use super::*;
use crate::verdict::alarm::Blamed;

const DAY: u64 = 86_400;

fn alarm(name: &str, target: &str) -> PastAlarm {
    PastAlarm {
        identity: Identity { finding: name.into(), cause: None, targets: vec![target.into()] },
        class: if name == "rebuild.needless" { Class::Cost } else { Class::Wrong },
        standing: PastStanding::New,
        transient: false,
    }
}

fn blamed(name: &str, target: &str, step: &str, cmd: &str) -> PastAlarm {
    let cause = Blamed { fault: "wrongly skipped".into(), step: step.into(), reason: None, cmd: Some(cmd.into()) };
    let mut alarm = alarm(name, target);
    alarm.identity.cause = Some(cause);
    alarm
}

/// A cell that was built: failed if it has an alarm of class wrong that is new.
fn cell(id: &str, alarms: &[PastAlarm]) -> PastCell {
    let bad = |it: &PastAlarm| it.class == Class::Wrong && it.standing == PastStanding::New;
    PastCell {
        id: id.into(),
        verdict: if alarms.iter().any(bad) { Verdict::Failed } else { Verdict::Passed },
        alarms: alarms.to_vec(),
        kernel: Some("6.12.1".into()),
        source: "commit 1".into(),
        read: Some(Digest::of(b"main.c")),
        scenario: Some(Digest::of(b"scenario")),
        tools: vec![0],
        fingerprint: Some(0),
        builds: vec![PastBuild { id: "control/clean".into(), wall_ms: 1000, cpu_ms: 900 }],
        figures: Figures::default(),
    }
}

fn ended(id: &str, verdict: Verdict) -> PastCell {
    PastCell { verdict, builds: Vec::new(), ..cell(id, &[]) }
}

fn night(number: u64, cells: Vec<PastCell>) -> PastRun {
    PastRun {
        kind: KIND.into(),
        format: FORMAT,
        run: format!("night-{number}"),
        started: number * DAY,
        host: "a host".into(),
        harness: "0.1.0".into(),
        verdict: cells.iter().map(|cell| cell.verdict).min().unwrap_or(Verdict::Skipped),
        left_out: 0,
        tools: vec![PastTool {
            name: "gcc".into(),
            path: "/usr/bin/gcc".into(),
            version: "gcc 12.2".into(),
            sha256: Some(Digest::of(b"gcc")),
        }],
        files: vec![
            ("/usr/bin/gcc".into(), Some(Digest::of(b"gcc"))),
            ("/usr/lib/cc1".into(), Some(Digest::of(b"cc1"))),
            ("/dev/null".into(), None),
        ],
        fingerprints: vec![vec![0, 1, 2]],
        cells,
    }
}

fn since(runs: &[PastRun]) -> Since {
    History::new(runs).since()
}

/// A run of one cell `t/a` with these alarms, each night.
fn nights(all: &[&[PastAlarm]]) -> Vec<PastRun> {
    (1..).zip(all).map(|(number, alarms)| night(number, vec![cell("t/a", alarms)])).collect()
}

fn counts(new: usize, still: usize, gone: usize, flaky: usize) -> Counts {
    Counts { new, still, gone, flaky, ..Counts::default() }
}

#[test]
fn the_first_run_has_nothing_to_compare_with() {
    let since = since(&nights(&[&[alarm("rebuild.stale", "a.ko")]]));
    assert_eq!((since.last.clone(), since.runs, since.alarms[0].state), (None, 0, State::First));
    assert_eq!((since.alarms[0].changed.clone(), since.cells[0].before), (None, None));
}

#[test]
fn what_is_new_still_there_and_gone() {
    let (a, b) = (alarm("rebuild.stale", "a.ko"), alarm("rebuild.diverged", "b.ko"));
    let new = since(&nights(&[&[], std::slice::from_ref(&a)]));
    assert_eq!((new.counts(false), new.alarms[0].runs), (counts(1, 0, 0, 0), 1));
    let runs = nights(&[&[], std::slice::from_ref(&a), std::slice::from_ref(&a), &[a.clone(), b.clone()]]);
    let still = since(&runs);
    assert_eq!(still.counts(false), counts(1, 1, 0, 0));
    let first = &still.alarms[1];
    assert_eq!((first.state, first.runs, first.first.run.as_str()), (State::Still, 3, "night-2"));
    assert_eq!(still.last.map(|last| last.run), Some("night-3".into()));
    let gone = since(&nights(&[&[a.clone(), b.clone()], &[a.clone(), b], &[a]]));
    assert_eq!(gone.counts(false), counts(0, 1, 1, 0));
    let told = &gone.gone[0];
    assert_eq!((told.title.as_str(), told.last.run.as_str(), told.runs), ("b.ko (rebuild.diverged)", "night-2", 2));
    assert_eq!((told.cells.as_slice(), gone.cells[0].before), (["t/a".to_owned()].as_slice(), Some(Verdict::Failed)));
}

#[test]
fn a_run_that_tested_nothing_is_looked_through() {
    let a = alarm("rebuild.stale", "a.ko");
    let there = std::slice::from_ref(&a);
    let mut runs = nights(&[there, &[], there]);
    runs[1].cells = vec![ended("t/a", Verdict::Skipped)];
    let still = since(&runs);
    assert_eq!((still.counts(false), still.alarms[0].runs), (counts(0, 1, 0, 0), 2));
    assert_eq!((still.last.map(|it| it.run), still.cells[0].verdicts.as_str()), (Some("night-2".into()), "FsF"));
    // One that is not run to its end says of nothing that it is gone.
    runs[2].cells = vec![ended("t/a", Verdict::Interrupted)];
    assert_eq!(since(&runs).counts(false), Counts::default());
    runs[2].cells = vec![cell("t/a", &[])];
    assert_eq!(since(&runs).counts(false), counts(0, 0, 1, 0));
    // Nor is another cell that was not run.
    runs[2].cells = vec![cell("t/b", &[])];
    assert_eq!(since(&runs).counts(false), Counts::default());
}

#[test]
fn what_makes_a_run_inconclusive_is_followed_as_well() {
    let mut failed = cell("t/a", &[]);
    failed.verdict = Verdict::Inconclusive;
    failed.alarms = vec![PastAlarm { class: Class::Inconclusive, ..alarm("build.failed", "control/clean") }];
    let runs = [night(1, vec![cell("t/a", &[])]), night(2, vec![failed.clone()]), night(3, vec![failed])];
    assert_eq!(since(&runs[..2]).counts(false), counts(1, 0, 0, 0));
    assert_eq!(since(&runs).counts(false), counts(0, 1, 0, 0));
    let fixed = [runs[1].clone(), night(4, vec![cell("t/a", &[])])];
    assert_eq!(since(&fixed).counts(false), counts(0, 0, 1, 0));
}

#[test]
fn one_cause_in_many_cells_is_one_alarm() {
    let of = |at: &str| blamed("rebuild.stale", at, &format!("LD [M] {at}"), "cmd_ld_ko_o scripts/Makefile.modfinal");
    let runs = [
        night(1, vec![cell("t/a", &[of("a.ko")]), cell("t/b", &[])]),
        night(2, vec![cell("t/a", &[of("a.ko")]), cell("t/b", &[of("b.ko")]), cell("t/c", &[of("c.ko")])]),
    ];
    let since = since(&runs);
    assert_eq!((since.alarms.len(), since.counts(false)), (1, Counts { spread: 1, ..counts(0, 1, 0, 0) }));
    let states: Vec<_> = since.alarms[0].cells.iter().map(|cell| (cell.id.as_str(), cell.state)).collect();
    assert_eq!(states, [("t/a", State::Still), ("t/b", State::New), ("t/c", State::First)]);
    assert_eq!(since.alarms[0].changed, Some(Changed::default()), "of the cell where it is new");
    let own = since.of("t/b", &of("other.ko").identity).expect("by its command");
    assert_eq!((own.0.state, own.1.state), (State::Still, State::New));
    assert!(since.of("t/d", &of("a.ko").identity).is_none());
}

#[test]
fn what_comes_and_goes_with_the_same_inputs_is_flaky() {
    let a = alarm("repro.mismatch", "a.ko");
    let (there, away) = (std::slice::from_ref(&a), &[][..]);
    let flaky = since(&nights(&[away, there, away]));
    assert_eq!((flaky.counts(false), flaky.cells[0].flaky), (counts(0, 0, 0, 1), true));
    assert_eq!((flaky.cells[0].tried, flaky.cells[0].passed, flaky.cells[0].verdicts.as_str()), (3, 2, ".F."));
    // There and away once is a change for which the reason is not recorded.
    assert_eq!(since(&nights(&[away, there])).counts(false), counts(1, 0, 0, 0));
    // With something else in between it is that.
    let mut runs = nights(&[away, there, away]);
    runs[1].tools[0].version = "gcc 13".into();
    assert_eq!(since(&runs).counts(false), counts(0, 0, 1, 0));
    // So may a directory have, of which the makefiles are not recorded.
    let mut runs = nights(&[away, there, away]);
    runs.iter_mut().for_each(|run| run.cells[0].source = "/src/linux".into());
    assert_eq!(since(&runs).counts(false), counts(0, 0, 1, 0));
    // Long ago is long ago.
    let mut long = vec![away, there];
    long.extend([away; 10]);
    assert!(!since(&nights(&long)).cells[0].flaky);
    // What differs from build to build each night is there each night.
    let transient = PastAlarm { transient: true, ..a };
    let own = since(&nights(&[std::slice::from_ref(&transient); 3]));
    assert_eq!((own.counts(false), own.cells[0].verdicts.as_str()), (counts(0, 1, 0, 0), "~~~"));
    assert!(own.alarms[0].transient && !own.cells[0].flaky);
}

#[test]
fn known_and_demanded_findings_are_no_news() {
    let stands = |standing| PastAlarm { standing, ..alarm("repro.mismatch", "a.ko") };
    let known = since(&nights(&[&[], &[stands(PastStanding::Known)]]));
    assert_eq!(known.counts(false), Counts { known: 1, ..Counts::default() });
    let demanded = since(&nights(&[&[stands(PastStanding::Expected)], &[]]));
    assert_eq!(demanded.counts(false), Counts::default());
    // What is tolerated no more was there all the same.
    let listed = since(&nights(&[&[stands(PastStanding::Known)], &[stands(PastStanding::New)]]));
    assert_eq!(listed.counts(false), counts(0, 1, 0, 0));
    let cost = since(&nights(&[&[], &[alarm("rebuild.needless", "vmlinux")]]));
    assert_eq!((cost.counts(false), cost.counts(true)), (Counts::default(), counts(1, 0, 0, 0)));
}

fn changed(change: impl Fn(&mut PastRun)) -> String {
    let mut runs = nights(&[&[], &[alarm("rebuild.stale", "a.ko")]]);
    change(&mut runs[1]);
    since(&runs).alarms[0].changed.clone().expect("it is new").to_string()
}

#[test]
fn what_changed_in_between_is_told_by_name() {
    assert_eq!(changed(|_| {}), "nothing that is recorded");
    assert_eq!(changed(|run| run.cells[0].kernel = Some("6.12.2".into())), "kernel 6.12.1 → 6.12.2");
    assert_eq!(changed(|run| run.cells[0].source = "commit 2".into()), "sources commit 1 → commit 2");
    assert_eq!(changed(|run| run.cells[0].scenario = Some(Digest::of(b"x"))), "the scenario was changed");
    assert_eq!(changed(|run| run.harness = "0.2.0".into()), "kbuild-repro 0.1.0 → 0.2.0");
    assert_eq!(changed(|run| run.host = "another".into()), "host a host → another");
    let tool = changed(|run| {
        run.tools[0].version = "gcc 13.1".into();
        run.files[0].1 = Some(Digest::of(b"gcc 13"));
    });
    assert_eq!(tool, "gcc: gcc 12.2 → gcc 13.1", "its file is not told beside it");
    let same = changed(|run| run.tools[0].sha256 = Some(Digest::of(b"built again")));
    assert_eq!(same, "gcc is another file of the same version");
    let (old, new) = (Digest::of(b"cc1"), Digest::of(b"x"));
    let file = changed(|run| run.files[1].1 = Some(new));
    assert_eq!(file, format!("/usr/lib/cc1 {} → {}", old.short(), new.short()));
    // A step that was not run reads nothing: that is no change of a file.
    assert_eq!(changed(|run| run.fingerprints[0] = vec![0]), "nothing that is recorded");
    let untraced = changed(|run| run.cells[0].fingerprint = None);
    assert_eq!(untraced, "nothing that is recorded (not recorded: files of the toolchain)");
    let directory = changed(|run| run.cells[0].source = "/src/linux".into());
    assert!(directory.ends_with("no step reads in the directory of the sources)"), "{directory}");
    let read = changed(|run| run.cells[0].read = Some(Digest::of(b"main.c, changed")));
    assert_eq!(read, "what steps read of the sources was changed");
}

#[test]
fn a_run_is_compared_with_what_was_before_it_and_not_with_itself() {
    let a = alarm("rebuild.stale", "a.ko");
    let runs = nights(&[&[], std::slice::from_ref(&a), std::slice::from_ref(&a)]);
    let judged_again = runs[1].clone();
    let since = History::up_to(&judged_again, &runs).since();
    assert_eq!((since.runs, since.alarms[0].state, since.alarms[0].runs), (1, State::New, 1));
    let same: Vec<_> = History::new(runs.iter().chain(&runs)).runs().map(|run| run.run.as_str()).collect();
    assert_eq!(same, ["night-1", "night-2", "night-3"], "each once");
}

#[test]
fn figures_move() {
    let mut runs = nights(&[[].as_slice(); 40]);
    for (number, run) in (0..).zip(&mut runs) {
        run.cells[0].builds[0].wall_ms = 1000 + number;
        run.cells[0].figures.objtree_bytes = (number != 39).then_some(5000 - number);
    }
    runs[20].cells = vec![ended("t/a", Verdict::Skipped)];
    let trend = since(&runs).cells.remove(0);
    assert_eq!((trend.trend.started.len(), trend.verdicts.chars().count()), (SHOWN, SHOWN));
    let moved = Moved::of(&trend.trend.wall_ms).expect("numbers");
    assert_eq!((moved.first, moved.last, moved.least, moved.most), (1009, 1039, 1009, 1039));
    let size = Moved::of(&trend.trend.objtree_bytes).expect("numbers");
    assert_eq!((size.first, size.last, size.per_mille()), (4991, 4962, 5));
    assert_eq!(Moved::of(&trend.trend.vmlinux_bytes), None);
}

#[test]
fn numbers_that_lead_nowhere_are_seen() {
    let run = night(1, vec![cell("t/a", &[])]);
    assert!(run.is_whole());
    let mut broken = run.clone();
    broken.fingerprints[0].push(7);
    assert!(!broken.is_whole());
    let mut broken = run;
    broken.cells[0].tools = vec![1];
    assert!(!broken.is_whole());
}

#[test]
fn it_is_written_and_read() {
    let run = night(1, vec![cell("t/a", &[blamed("rebuild.stale", "a.ko", "LD a.ko", "cmd_ld x")])]);
    let text = serde_json::to_string(&run).expect("written");
    assert_eq!(serde_json::from_str::<PastRun>(&text).expect("read"), run);
}

#[test]
fn shards_that_are_put_together_anew_are_one_run() {
    let merged = |cells: Vec<PastCell>, host: &str| PastRun {
        run: format!("night-3{MERGED}"),
        host: host.into(),
        ..night(3, cells)
    };
    let part = merged(vec![cell("a", &[])], "one");
    let whole = merged(vec![cell("a", &[]), cell("b", &[])], "one; two");
    assert_eq!(part.digest(), whole.digest());
    let past = [night(2, vec![cell("a", &[])]), part];
    assert_eq!(History::up_to(&whole, &past).runs().count(), 2, "the night before, and itself");
}
