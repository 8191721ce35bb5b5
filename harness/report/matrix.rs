//! Scenarios against the cells of their matrices, as tables.

use std::collections::BTreeMap;

use super::{Report, ScenarioReport};
use crate::scenario::Dimension;
use crate::verdict::Standing as Stands;
use crate::verdict::Verdict;

/// How a word of a table is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// A name.
    Plain,
    /// All is well.
    Good,
    /// Nothing is said.
    Open,
    /// Something is wrong.
    Bad,
}

/// A line of a table, in pieces that are shown each in its way.
pub(super) type Line = Vec<(String, Standing)>;

/// One table for scenarios that are listed over the same: a row each, a column for each combination. None where nothing was
/// run more than once.
pub(super) fn tables(report: &Report) -> Vec<Line> {
    let mut kinds: Vec<(Vec<&'static str>, Vec<&ScenarioReport>)> = Vec::new();
    for scenario in report.scenarios.iter().filter(|scenario| !scenario.matrix.is_empty()) {
        let lists: Vec<_> = Dimension::ALL
            .map(Dimension::name)
            .into_iter()
            .filter(|name| scenario.matrix.contains_key(*name))
            .collect();
        match kinds.iter_mut().find(|(have, _)| *have == lists) {
            Some((_, scenarios)) => scenarios.push(scenario),
            None => kinds.push((lists, vec![scenario])),
        }
    }
    kinds.iter().flat_map(|(lists, scenarios)| table(lists, scenarios)).collect()
}

fn table(lists: &[&'static str], scenarios: &[&ScenarioReport]) -> Vec<Line> {
    let column = |scenario: &&ScenarioReport| -> Vec<String> {
        lists.iter().filter_map(|list| scenario.matrix.get(*list)).cloned().collect()
    };
    let mut columns: Vec<Vec<String>> = Vec::new();
    let mut rows: Vec<(&str, BTreeMap<usize, &ScenarioReport>)> = Vec::new();
    for scenario in scenarios {
        let own = column(scenario);
        let at = columns.iter().position(|have| *have == own).unwrap_or_else(|| {
            columns.push(own);
            columns.len() - 1
        });
        let id = scenario.id.split('@').next().unwrap_or_default();
        match rows.iter_mut().find(|(have, _)| *have == id) {
            Some((_, cells)) => _ = cells.insert(at, scenario),
            None => rows.push((id, BTreeMap::from([(at, *scenario)]))),
        }
    }
    if columns.len() < 2 {
        return Vec::new();
    }
    // By their values, so that the table is the same in whatever order they came.
    let mut order: Vec<usize> = (0..columns.len()).collect();
    order.sort_by(|a, b| columns[*a].iter().map(|v| key(v)).cmp(columns[*b].iter().map(|v| key(v))));
    let words = |at: usize| rows.iter().filter_map(move |(_, cells)| Some(word(cells.get(&at)?).0));
    let width = |at: usize| words(at).chain(columns[at].iter().map(String::as_str)).map(str::len).max().unwrap_or(0);
    let first = rows.iter().map(|(id, _)| id.len()).chain(lists.iter().map(|list| list.len())).max().unwrap_or(0);
    let mut lines: Vec<Line> = vec![Vec::new()];
    for (n, list) in lists.iter().enumerate() {
        let mut line = vec![(format!("{list:<first$}"), Standing::Plain)];
        line.extend(order.iter().map(|&at| (format!("  {:<1$}", columns[at][n], width(at)), Standing::Plain)));
        lines.push(line);
    }
    for (id, cells) in &rows {
        let mut line = vec![(format!("{id:<first$}"), Standing::Plain)];
        for &at in &order {
            let (word, standing) = cells.get(&at).map_or(("", Standing::Plain), |scenario| word(scenario));
            line.push((format!("  {word:<0$}", width(at)), standing));
        }
        lines.push(line);
    }
    lines
}

/// By which values are sorted: numbers as numbers, so that 6.2 comes before 6.12.
pub(super) fn key(value: &str) -> Vec<(u64, String)> {
    let mut key: Vec<(u64, String)> = Vec::new();
    for part in value.split(['.', '-']) {
        let digits = part.bytes().take_while(u8::is_ascii_digit).count();
        key.push((part[..digits].parse().unwrap_or(u64::MAX), part[digits..].to_owned()));
    }
    key
}

/// A verdict as a word of a table.
pub(super) fn word(scenario: &ScenarioReport) -> (&'static str, Standing) {
    let known = || scenario.findings.iter().any(|finding| matches!(finding.standing, Stands::Known { .. }));
    match scenario.verdict {
        Verdict::Passed if known() => ("known", Standing::Good),
        Verdict::Passed => ("passed", Standing::Good),
        Verdict::Failed => ("FAILED", Standing::Bad),
        verdict @ (Verdict::Skipped | Verdict::Inconclusive | Verdict::Interrupted) => (verdict.name(), Standing::Open),
        verdict => (verdict.name(), Standing::Bad),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_sorted_as_numbers() {
        let mut values = ["6.12", "system", "1.24", "6.2", "6.12-rc1", "4"];
        values.sort_by_key(|value| key(value));
        assert_eq!(values, ["1.24", "4", "6.2", "6.12", "6.12-rc1", "system"]);
    }
}
