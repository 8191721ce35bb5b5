//! Scenarios against kernels, and toolchains where those vary: a word a cell, which leads to what is behind it.

use std::collections::{BTreeMap, BTreeSet};

use maud::{Markup, html};

use super::super::matrix::{key, word};
use super::super::{Report, ScenarioReport};
use super::text::{name, slug, tail};
use crate::verdict::Verdict;

/// How much of a scenario's name is shown; the whole is in its title.
const NAME: usize = 60;

/// The kernel that a scenario was built on, as its cell of a matrix has it.
pub(super) fn kernel(scenario: &ScenarioReport) -> String {
    let own = scenario.matrix.get("kernel").or(scenario.kernel.as_ref());
    own.map_or_else(|| "no kernel".to_owned(), |kernel| kernel.clone())
}

/// The scenarios of a row, by their column.
type Cells = BTreeMap<Vec<String>, Vec<usize>>;

pub(super) fn verdicts(report: &Report) -> Markup {
    let mut varied: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (list, value) in report.scenarios.iter().flat_map(|scenario| &scenario.matrix) {
        varied.entry(list).or_default().insert(value);
    }
    let lists: Vec<&str> =
        varied.iter().filter(|(list, values)| **list != "kernel" && values.len() > 1).map(|(list, _)| *list).collect();
    let column = |scenario: &ScenarioReport| -> Vec<String> {
        let tools = lists.iter().map(|list| scenario.matrix.get(*list).cloned().unwrap_or_default());
        std::iter::once(kernel(scenario)).chain(tools).collect()
    };
    let mut columns: Vec<Vec<String>> = Vec::new();
    let mut rows: Vec<(&str, Cells)> = Vec::new();
    let mut places: BTreeMap<&str, usize> = BTreeMap::new();
    for (at, scenario) in report.scenarios.iter().enumerate() {
        let id = scenario.id.split('@').next().unwrap_or_default();
        let row = *places.entry(id).or_insert_with(|| {
            rows.push((id, BTreeMap::new()));
            rows.len() - 1
        });
        let column = column(scenario);
        rows[row].1.entry(column.clone()).or_default().push(at);
        columns.push(column);
    }
    columns.sort_by_cached_key(|column| {
        (column[0] != "no kernel", column.iter().map(|value| key(value)).collect::<Vec<_>>())
    });
    columns.dedup();
    let cell = |at: usize| {
        let scenario = &report.scenarios[at];
        html! {
            a class={ "mark v-" (slug(scenario.verdict.name())) } href={ "#s" (at + 1) } data-s=(at + 1)
                title=[(scenario.verdict == Verdict::Failed).then(|| name(&scenario.id))] { (word(scenario).0.to_lowercase()) }
        }
    };
    html! {
        section #verdicts {
            h2 { "Verdicts" }
            @if rows.is_empty() { p { "No scenario was run." } } @else {
                div.scroll tabindex="0" role="region" aria-label="Verdicts by scenario and kernel" {
                    table.matrix {
                        thead {
                            tr { th scope="col" { "kernel" } @for column in &columns { th scope="col" { (name(&column[0])) } } }
                            @for (n, list) in lists.iter().enumerate() {
                                tr { th scope="col" { (name(list)) }
                                    @for column in &columns { th scope="col" title=(name(&column[n + 1])) { (tail(&column[n + 1], 16)) } } }
                            }
                        }
                        tbody { @for (id, cells) in &rows {
                            tr { th scope="row" title=(name(id)) { (tail(id, NAME)) }
                                @for column in &columns { td { @for at in cells.get(column).into_iter().flatten() { (cell(*at)) } } } }
                        } }
                    }
                }
            }
        }
    }
}
