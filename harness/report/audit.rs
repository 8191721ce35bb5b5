//! An audit in lines for people.

use std::collections::BTreeMap;

use crate::verdict::audit::{Audit, Candidate, Outcome};

/// How many files are named.
const NAMED: usize = 60;

/// What was read and what came of it; `verbose` names also the files that turned out to be none.
pub(super) fn lines(audit: &Audit, verbose: bool) -> Vec<String> {
    let counts = &audit.counts;
    let mut lines = vec![
        format!(
            "audited: {}, {} of them run by every build; {} read by the others; {} of make",
            number(counts.steps, "step"),
            counts.always,
            number(counts.reads, "file"),
            number(audit.makes, "data base"),
        ),
        format!(
            "  declared {}, through a prerequisite {}, of the same rule {}",
            counts.declared, counts.through, counts.own
        ),
    ];
    if counts.listed > 0 {
        lines.push(format!("  in a `.cmd` file that no make reads while nothing is changed: {}", counts.listed));
    }
    let undeclared: Vec<String> =
        counts.undeclared.iter().map(|(origin, count)| format!("{} {count}", origin.name())).collect();
    if !undeclared.is_empty() {
        lines.push(format!("  not declared: {}", undeclared.join(", ")));
    }
    let count = |which: &dyn Fn(&Outcome) -> bool| audit.candidates.iter().filter(|it| which(&it.outcome)).count();
    let missing = count(&|it| matches!(it, Outcome::Missing { .. }));
    let runs = count(&|it| matches!(it, Outcome::Runs { .. }));
    lines.push(match audit.candidates.len() {
        0 => "candidates: none".into(),
        all => format!(
            "candidates: {all}, of which {missing} are missing, {runs} are run all the same, {} are not known (edits of {})",
            all - missing - runs,
            number(audit.edits, "file")
        ),
    });
    // A header that many objects read is one line.
    let mut groups: BTreeMap<(u8, &str, String), Vec<&Candidate>> = BTreeMap::new();
    for candidate in &audit.candidates {
        let (rank, came) = match &candidate.outcome {
            // It is a finding.
            Outcome::Missing { .. } => continue,
            Outcome::Runs { edited } if verbose => (1, format!("run after an edit of {edited}")),
            Outcome::Runs { .. } => continue,
            Outcome::Untried { why } => (0, why.clone()),
        };
        groups.entry((rank, &candidate.file, came)).or_default().push(candidate);
    }
    let left = groups.len().saturating_sub(NAMED);
    for ((_, file, came), group) in groups.into_iter().take(NAMED) {
        let Some(first) = group.first() else { continue };
        let others = match group.len() - 1 {
            0 => String::new(),
            others => format!(" and {}", number(others, "other step")),
        };
        let step: String = first.step.chars().take(100).collect();
        lines.push(format!("  {file} ({}), read by {step}{others}: {came}", first.origin.name()));
    }
    if left > 0 {
        lines.push(format!("  and {left} more; --format json has them"));
    }
    lines
}

fn number(count: usize, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}
