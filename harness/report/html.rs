//! The report as one HTML page that needs nothing else: no network, no other file. Its style and its script are named by
//! their digests in a Content-Security-Policy, so that nothing of a report could run even if it were not escaped
//! (<https://www.w3.org/TR/CSP3/>). Without the script it is a plain page that says the same.
//!
//! The page has bounds, so that thousands of cells stay usable; each place says what it left out, and where that is.

use std::io::{self, Write};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::{Digest as _, Sha256};

use super::machine::{fails, started};
use super::terminal::{counts, left_out};
use super::{Report, ScenarioReport};
use crate::artifact::record::ScenarioRecord;
use crate::scenario::Class;
use crate::verdict::alarm::Alarm;
use crate::verdict::{Standing, Verdict};

mod alarms;
mod cells;
mod graph;
mod since;
mod table;
mod text;
mod timeline;

use text::{name, slug};

const STYLE: &str = include_str!("html/page.css");
const SCRIPT: &str = include_str!("html/page.js");

/// Of how many scenarios the steps are looked at for pictures: those with the worst verdicts first.
const PICTURED: usize = 40;
/// How many steps all time lines have together.
const STEPS: usize = 5000;
/// How many bytes of a mail or a script are shown.
const FILE: usize = 24 << 10;
/// How many scenarios that were left out are named.
const NAMED: usize = 40;

/// Reads a file beside a scenario's record, of at most so many bytes, and says whether it goes on after them.
pub type ReadFile<'f> = dyn FnMut(&ScenarioReport, &str, usize) -> Option<(String, bool)> + 'f;

/// What the page shows beside the report. All of it may be missing.
pub struct Beside<'b> {
    /// What a scenario's builds did. Asked for one scenario after the other, since those of many would fill the memory.
    pub record: &'b mut dyn FnMut(&ScenarioReport) -> Option<ScenarioRecord>,
    /// The files beside a scenario's record.
    pub file: &'b mut ReadFile<'b>,
}

/// Writes the page.
///
/// # Errors
/// What the writer answers.
pub fn write(report: &Report, beside: &mut Beside<'_>, out: &mut dyn Write) -> io::Result<()> {
    let alarms = alarms::alarms(report);
    let pictures = pictures(report, &alarms, beside);
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            (head(report))
            body {
                a.skip href="#verdicts" { "To the verdicts" }
                (summary(report, &alarms))
                (controls(report))
                main {
                    (since::section(report, &alarms))
                    (table::verdicts(report))
                    (alarms::section(report, &alarms, &pictures.graphs, beside))
                    (since::courses(report))
                    (cells::section(report, &alarms, &pictures))
                    (losses(report))
                }
                footer {
                    p { "kbuild-repro " (name(&report.harness)) ", run " (name(&report.run)) " on " (name(&report.host)) "." }
                    @if let Some(record) = &report.record {
                        p { "Records: " code { (name(record)) } ". The page again: "
                            code { "kbuild-repro judge " (name(record)) " --report html=page.html" } }
                    }
                }
                script { (PreEscaped(SCRIPT)) }
            }
        }
    };
    out.write_all(page.into_string().as_bytes())?;
    out.write_all(b"\n")
}

/// The pictures of builds and steps.
struct Pictures {
    /// By the number of the scenario.
    timelines: Vec<Option<Markup>>,
    /// By the number of the alarm.
    graphs: Vec<Option<Markup>>,
    /// How many scenarios had no turn.
    left: usize,
}

fn pictures(report: &Report, alarms: &[Alarm<'_>], beside: &mut Beside<'_>) -> Pictures {
    let mut order: Vec<usize> = (0..report.scenarios.len()).collect();
    // Alarms that are no fault of the build under test, such as demanded ones, come after those that are.
    let first = |at: usize| alarms.iter().position(|alarm| alarm.first().0 == at).unwrap_or(usize::MAX);
    order.sort_by_cached_key(|at| (report.scenarios[*at].verdict, first(*at), *at));
    order.retain(|at| !report.scenarios[*at].builds.is_empty());
    let left = order.len().saturating_sub(PICTURED);
    order.truncate(PICTURED);
    let mut pictures =
        Pictures { timelines: vec![None; report.scenarios.len()], graphs: vec![None; alarms.len()], left };
    let mut room = STEPS;
    for at in order {
        let Some(record) = (beside.record)(&report.scenarios[at]) else { continue };
        let own = || alarms.iter().enumerate().filter(|(_, alarm)| alarm.first().0 == at);
        let guilty: Vec<_> = own().filter_map(|(_, alarm)| alarm.first().1.cause.as_ref()).collect();
        pictures.timelines[at] = timeline::section(&record, &guilty, &mut room);
        for (number, alarm) in own() {
            pictures.graphs[number] = graph::figure(&record, alarm.first().1, number);
        }
    }
    pictures
}

fn policy() -> String {
    let hash = |text: &str| STANDARD.encode(Sha256::digest(text.as_bytes()));
    format!(
        "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; img-src data:; base-uri 'none'; \
         form-action 'none'",
        hash(STYLE),
        hash(SCRIPT)
    )
}

fn head(report: &Report) -> Markup {
    html! {
        head {
            meta charset="utf-8";
            meta http-equiv="Content-Security-Policy" content=(policy());
            meta name="viewport" content="width=device-width, initial-scale=1";
            meta name="color-scheme" content="light dark";
            meta name="referrer" content="no-referrer";
            // Browsers ask a server for an icon unless one is named.
            link rel="icon" href="data:,";
            title { (report.verdict.name()) ": kbuild-repro " (name(&report.run)) }
            style { (PreEscaped(STYLE)) }
        }
    }
}

/// What a maintainer has to know, in a sentence.
fn sentence(report: &Report, alarms: &[Alarm<'_>]) -> Markup {
    let of = |verdict| report.scenarios.iter().filter(|scenario| scenario.verdict == verdict).count();
    let failed = of(Verdict::Failed);
    let total = report.scenarios.len();
    let plural = |n: usize, one: &'static str, more: &'static str| if n == 1 { one } else { more };
    let wrong: Vec<(usize, &Alarm<'_>)> = alarms.iter().enumerate().filter(|(_, alarm)| alarm.is_wrong()).collect();
    if let Some((number, first)) = wrong.first() {
        let causes = wrong.len();
        return html! {
            (causes) " " (plural(causes, "thing is", "things are")) " wrong, in " (failed) " of " (total) " "
            (plural(total, "scenario", "scenarios")) "; first: "
            a href={ "#f" (number + 1) } { (alarms::headline(first)) } "."
        };
    }
    let own = report.findings.iter().filter(|finding| fails(finding)).count();
    let other = total - of(Verdict::Passed) - of(Verdict::Skipped);
    match () {
        () if own > 0 => html! { "Something is wrong with what the scenarios say: see the findings." },
        () if total == 0 => html! { "Nothing was run." },
        () if other > 0 => html! {
            "Nothing wrong was found, but " (other) " of " (total) " "
            (plural(total, "scenario", "scenarios")) " came to no verdict."
        },
        () if of(Verdict::Passed) == 0 => html! { "Nothing was compared: every scenario was skipped." },
        () => html! {
            "Nothing is wrong: " (of(Verdict::Passed)) " " (plural(of(Verdict::Passed), "scenario", "scenarios"))
            " passed."
        },
    }
}

fn summary(report: &Report, alarms: &[Alarm<'_>]) -> Markup {
    let at = started(report);
    let seconds: f64 = report.scenarios.iter().map(|scenario| scenario.seconds).sum();
    html! {
        header {
            p.run { "kbuild-repro · run " (name(&report.run)) " · "
                time datetime=(at.to_rfc3339()) { (at.format("%-d %B %Y, %H:%M")) " UTC" }
                " · " (text::seconds(seconds)) " of scenarios" }
            h1 { span class={ "mark v-" (slug(report.verdict.name())) } { (report.verdict.name()) } }
            p.sentence { (sentence(report, alarms)) }
            p.counts { (counts(report)) "." }
            @for (why, ids) in left_out(report) {
                p { (why) ": "
                    @for (n, id) in ids.iter().take(NAMED).enumerate() {
                        @if n > 0 { ", " } code { (name(id)) }
                    }
                    @if ids.len() > NAMED { " and " (ids.len() - NAMED) " more" }
                }
            }
        }
    }
}

/// Search and filter; shown by the script that they need.
fn controls(report: &Report) -> Markup {
    let mut verdicts: Vec<Verdict> = report.scenarios.iter().map(|scenario| scenario.verdict).collect();
    verdicts.sort();
    verdicts.dedup();
    let mut kernels: Vec<String> = report.scenarios.iter().map(table::kernel).collect();
    kernels.sort_by_cached_key(|kernel| super::matrix::key(kernel));
    kernels.dedup();
    let mut names: Vec<&str> =
        report.scenarios.iter().flat_map(|scenario| &scenario.findings).map(|finding| finding.name.name()).collect();
    names.sort_unstable();
    names.dedup();
    html! {
        form #filter role="search" aria-label="Filter" hidden {
            label.q { span { "Search" } input #q type="search" placeholder="scenario, file, step … ( / )" autocomplete="off" spellcheck="false"; }
            label { span { "Verdict" } select #verdict {
                option value="" { "all" }
                @for verdict in verdicts { option value=(slug(verdict.name())) { (verdict.name()) } }
            } }
            label { span { "Kernel" } select #kernel {
                option value="" { "all" }
                @for kernel in &kernels { option value=(name(kernel)) { (name(kernel)) } }
            } }
            label { span { "Finding" } select #finding {
                option value="" { "all" }
                @for finding in names { option value=(finding) { (finding) } }
            } }
            button #clear type="button" { "Clear" }
            button #theme type="button" { "Theme: system" }
            output #shown aria-live="polite" {}
        }
    }
}

fn losses(report: &Report) -> Markup {
    html! {
        @if !report.losses.is_empty() {
            section #losses {
                h2 { "Not guaranteed on this host" }
                ul { @for loss in &report.losses {
                    li { b { (name(&loss.guarantee)) } ": " (name(&loss.reason))
                        @if let Some(hint) = &loss.hint { " — " (name(hint)) } }
                } }
            }
        }
    }
}

/// A class of how a finding stands.
fn tone(finding: &crate::verdict::Finding) -> &'static str {
    match (&finding.standing, finding.name.class()) {
        (Standing::New, Class::Wrong) => "failed",
        (Standing::New, Class::Inconclusive) => "inconclusive",
        (Standing::New, Class::Cost) => "cost",
        _ => "known",
    }
}
