//! A run among those before it, word by word.

use super::*;
use crate::report::golden::{called, faulty, report_of, run};
use crate::report::terminal;
use crate::verdict::history::History;
use crate::verdict::sample::{build, twice};

/// Two nights: in the first `t/fixed` was wrong, in the second `btf/faulty` is, and both had `t/old`.
pub(in crate::report) fn two_nights() -> Report {
    let unlike = || vec![build("control/clean", &[("a.ko", "1")]), build("experiment/clean", &[("a.ko", "2")])];
    let old = || called("t/old", "", unlike());
    let mut before = run();
    before.id = "20261122T015500Z-1".into();
    before.started -= 86_400;
    let good = {
        let mut good = faulty();
        good.builds.retain(|build| build.id.ends_with("/clean"));
        good
    };
    let first = vec![good, called("t/fixed", "", unlike()), old()];
    let second = vec![faulty(), called("t/fixed", "", twice(&[("a.ko", "1")])), old()];
    let entered = |run, records: Vec<ScenarioRecord>| {
        let report = report_of(run, records.clone());
        let own = |scenario: &ScenarioReport| records.iter().find(|record| record.id == scenario.id).cloned();
        (entry(&report, &mut { own }), report)
    };
    let (past, _) = entered(&before, first);
    let (now, mut report) = entered(&run(), second);
    report.since = Some(History::up_to(&now, &[past]).since());
    report
}

#[test]
fn what_is_new_still_there_and_gone_is_said_for_people() {
    let mut text = Vec::new();
    let options = terminal::Options { colour: false, verbose: false };
    terminal::write(&two_nights(), options, &mut text).expect("memory can be written");
    insta::assert_snapshot!(String::from_utf8(text).expect("UTF-8"));
}

#[test]
fn a_first_run_says_that_it_is_one() {
    let report = report_of(&run(), vec![faulty()]);
    let now = entry(&report, &mut |_| None);
    let since = History::up_to(&now, &[]).since();
    assert_eq!(lines(&since), ["the first run in the history: nothing to compare with yet"]);
    // Without a record less is known.
    assert_eq!((now.cells[0].scenario, now.cells[0].figures.objtree_bytes), (None, None));
    assert_eq!(now.cells[0].figures.needless_ms, Some(0));
    assert!(now.is_whole());
}

#[test]
fn figures_are_told_in_units_for_people() {
    assert_eq!(
        [0, 9_999, 10_000, 12_345_678, 25_000_000_000].map(bytes),
        ["0 B", "9999 B", "10.0 kB", "12.3 MB", "25.00 GB"]
    );
    assert_eq!([0, 1_500, 150_000, 7_200_000].map(time), ["0 ms", "1.5 s", "2.5 min", "2.0 h"]);
    let moved = Moved::of(&[Some(1_500), None, Some(900), Some(1_200)]).expect("numbers");
    assert_eq!(moves(moved, true), "1.5 s → 1.2 s (900 ms to 1.5 s)");
    let moved = |first, last| Moved::of(&[Some(first), Some(last)]).expect("numbers");
    assert_eq!(moves(moved(75_432, 75_420), false), "75432 → 75420 B");
    assert_eq!(
        (moves(moved(75_432, 75_432), false), moves(moved(5_610, 5_640), true)),
        ("75.4 kB".into(), "5.6 s".into())
    );
}
