//! Each scenario, or cell of its matrix: what it came to, its builds, and how to run it again.

use maud::{Markup, html};

use super::super::machine::{file, tools};
use super::super::terminal::clean;
use super::super::{Report, ScenarioReport};
use super::alarms::headline;
use super::text::{name, seconds, short, slug};
use super::{PICTURED, Pictures, table};
use crate::verdict::Verdict;
use crate::verdict::alarm::Alarm;

/// How many alarms, notes and builds of a scenario are named.
const NAMED: usize = 24;
/// Of how many scenarios that passed the builds are told each.
const TOLD: usize = 200;

pub(super) fn section(report: &Report, alarms: &[Alarm<'_>], pictures: &Pictures) -> Markup {
    let mut own: Vec<Vec<usize>> = vec![Vec::new(); report.scenarios.len()];
    for (number, alarm) in alarms.iter().enumerate() {
        alarm.scenarios().for_each(|at| own[at].push(number));
    }
    let mut room = TOLD;
    html! {
        section #scenarios {
            h2 { "Scenarios" }
            @if pictures.left > 0 {
                p.left { "The builds of " (PICTURED) " scenarios are drawn, the worst first. Of all there is a time line by "
                    code { "kbuild-repro judge --report perfetto=builds.json" } "." }
            }
            @for (at, scenario) in report.scenarios.iter().enumerate() {
                @let full = scenario.verdict != Verdict::Passed || {
                    room = room.saturating_sub(1);
                    room > 0
                };
                (cell(scenario, at, alarms, &own[at], pictures.timelines[at].as_ref(), full))
            }
        }
    }
}

fn cell(
    scenario: &ScenarioReport,
    at: usize,
    alarms: &[Alarm<'_>],
    own: &[usize],
    timeline: Option<&Markup>,
    full: bool,
) -> Markup {
    let mut names: Vec<&str> = scenario.findings.iter().map(|finding| finding.name.name()).collect();
    names.dedup();
    let asked = scenario.sweep.iter().flat_map(|sweep| super::super::sweep::lines(sweep, false));
    let asked = asked.chain(scenario.fuzz.iter().flat_map(super::super::fuzz::lines));
    let asked = asked.chain(scenario.audit.iter().flat_map(|audit| super::super::audit::lines(audit, false)));
    let asked: Vec<String> = asked.map(|line| clean(&line).into_owned()).collect();
    html! {
        details.cell #{ "s" (at + 1) } open[scenario.verdict != Verdict::Passed && at < NAMED]
            data-v=(slug(scenario.verdict.name())) data-k=(name(&table::kernel(scenario)).replace(' ', "\u{a0}"))
            data-f=[(!names.is_empty()).then(|| names.join(" "))] {
            summary {
                span class={ "mark v-" (slug(scenario.verdict.name())) } { (scenario.verdict.name()) } " "
                b { (name(&scenario.id)) } " " span.title { (short(&scenario.title, 200)) }
                " " span.took { (seconds(scenario.seconds)) }
            }
            @if let Some(reason) = &scenario.reason { p { (short(reason, 1000)) } }
            @if let Some(hint) = &scenario.hint { p { "Hint: " (short(hint, 1000)) } }
            @if !own.is_empty() {
                ul.alarms { @for number in own.iter().take(NAMED) { li { a href={ "#f" (number + 1) } { (headline(&alarms[*number])) } } }
                    @if own.len() > NAMED { li { "and " (own.len() - NAMED) " more" } } }
            }
            @for note in scenario.notes.iter().take(NAMED) { p.note { (short(note, 1000)) } }
            @if scenario.notes.len() > NAMED { p.left { (scenario.notes.len() - NAMED) " more notes are in the JSON report." } }
            @if !asked.is_empty() { pre tabindex="0" { @for line in asked.iter().take(NAMED) { (short(line, 400)) "\n" }
                @if asked.len() > NAMED { "and " (asked.len() - NAMED) " more lines: `kbuild-repro report`\n" } } }
            p.facts {
                @if let Some(kernel) = &scenario.kernel { "kernel " (name(kernel)) " · " }
                (short(&scenario.source, 100))
                @if full { @for tool in tools(scenario) { " · " (name(&tool.name)) " " (short(&tool.version, 60)) } }
                @if let Some(file) = file(scenario).filter(|_| full) { " · " code { (name(file)) } }
                " · " (scenario.compared) " compared"
            }
            @if full { (builds(scenario)) (timeline.cloned().unwrap_or_default())
                p.again { "Again: " code data-copy="" { (name(&scenario.again)) } } }
            @else { p.left { (scenario.builds.len()) " builds; `kbuild-repro report --verbose` tells each." } }
        }
    }
}

fn builds(scenario: &ScenarioReport) -> Markup {
    let left = scenario.builds.len().saturating_sub(NAMED);
    html! {
        @if !scenario.builds.is_empty() {
            div.scroll tabindex="0" role="region" aria-label="Builds" {
                table.builds {
                    thead { tr { th scope="col" { "build" } th scope="col" { "time" } th scope="col" { "processor" }
                        th scope="col" { "steps" } th scope="col" { "" } } }
                    tbody { @for build in scenario.builds.iter().take(NAMED) {
                        tr { th scope="row" { (name(&build.id)) } td { (seconds(build.seconds)) } td { (seconds(build.cpu_seconds)) }
                            td { (build.steps) } td { (short(&build.status, 200)) @if build.reused { ", as built before" } } }
                    } }
                }
            }
            @if left > 0 { p.left { (left) " more builds: " code { "kbuild-repro report --verbose" } } }
        }
    }
}
