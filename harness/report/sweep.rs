//! A sweep in lines for people.

use std::collections::BTreeMap;

use crate::verdict::sweep::{LISTED, Outcome, Point, Sweep};

/// How many interruptions of one outcome are named.
const NAMED: usize = 40;

/// What was interrupted and what came of it; `verbose` names also the interruptions of which nothing came.
pub(super) fn lines(sweep: &Sweep, verbose: bool) -> Vec<String> {
    let count = |which: fn(&Outcome) -> bool| sweep.count(which);
    let (diverged, stuck) =
        (count(|it| matches!(it, Outcome::Diverged { .. })), count(|it| matches!(it, Outcome::Stuck)));
    let mut lines = vec![
        format!("swept: {} interruptions at {} steps, after {}", sweep.points.len(), sweep.steps, sweep.edit),
        format!(
            "  {} are made good by the next build; after {diverged} it gives something else, after {stuck} it fails",
            count(|it| matches!(it, Outcome::Resumed))
        ),
    ];
    let unreached = count(|it| matches!(it, Outcome::Unreached));
    if unreached > 0 {
        lines.push(format!("  {unreached} were not come to: another order of jobs, or a step that made fewer changes"));
    }
    let untried = count(|it| matches!(it, Outcome::Untried { .. }));
    if untried > 0 {
        lines.push(format!("  {untried} were not tried"));
    }
    if !sweep.already.is_empty() {
        lines.push(format!(
            "  not looked at, for they differ without an interruption too: {}",
            sweep.already.join(", ")
        ));
    }
    let mut groups: BTreeMap<(u8, String), Vec<&Point>> = BTreeMap::new();
    for point in &sweep.points {
        let key = match &point.outcome {
            Outcome::Stuck => (0, "the next build fails after".to_owned()),
            Outcome::Diverged { artifacts } => {
                (1, format!("{} not as a clean build makes it after", artifacts.join(", ")))
            }
            Outcome::Untried { why } if verbose || why == LISTED => (2, format!("not tried, {why}:")),
            Outcome::Unreached if verbose => (3, "not come to:".to_owned()),
            Outcome::Resumed if verbose => (4, "made good after".to_owned()),
            Outcome::Unreached | Outcome::Resumed | Outcome::Untried { .. } => continue,
        };
        groups.entry(key).or_default().push(point);
    }
    for ((_, heading), points) in groups {
        let most = if heading.contains(LISTED) { points.len() } else { NAMED };
        let left = points.len().saturating_sub(most);
        lines.push(heading);
        lines.extend(points.iter().take(most).map(|point| {
            let nth = point.interrupt.nth.map_or(String::new(), |nth| format!(" (the {nth}. of this name)"));
            format!("  {}{nth}", point.interrupt.words(&point.interrupt.step))
        }));
        if left > 0 {
            lines.push(format!("  and {left} more"));
        }
    }
    lines
}
