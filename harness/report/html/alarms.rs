//! Findings with their evidence: one alarm for a cause, wherever it shows.

use maud::{Markup, html};

use super::super::machine::standing;
use super::super::terminal::whose;
use super::super::{Report, ScenarioReport};
use super::text::{lines, name, short, sided, slug, tail};
use super::{Beside, FILE, since, table, tone};
use crate::artifact::PartDiff;
use crate::artifact::record::{Confirmation, Outcome};
use crate::scenario::Class;
use crate::verdict::alarm::{self, Alarm};
use crate::verdict::{Cause, Finding};

/// How many alarms are shown in full; there are mails and pictures for no more.
const ALARMS: usize = 150;
/// How many targets, scenarios, and lines of evidence an alarm names.
const NAMED: usize = 24;
/// How many characters of a command or of a line of evidence are shown.
const LINE: usize = 1000;
/// How many bytes of mails and scripts a page has.
const FILES: usize = 1 << 20;

/// The alarms of a report: new ones first, then as bad as their class.
pub(super) fn alarms(report: &Report) -> Vec<Alarm<'_>> {
    alarm::alarms(report.scenarios.iter().map(|scenario| scenario.findings.as_slice()))
}

/// An alarm in a few words.
pub(super) fn headline(alarm: &Alarm<'_>) -> Markup {
    let finding = alarm.first().1;
    html! {
        @match &finding.cause {
            Some(cause) => { code { (short(&cause.step, 80)) } " " (cause.fault.words()) },
            None => { @if finding.target.is_empty() { (name(&finding.build)) } @else { code { (tail(&finding.target, 80)) } } },
        }
        " (" (finding.name.name()) ")"
    }
}

/// What is read of the files beside records, until there is no room.
struct Files<'f, 'b> {
    beside: &'f mut Beside<'b>,
    left: usize,
}

impl Files<'_, '_> {
    fn read(&mut self, scenario: &ScenarioReport, path: &str) -> Option<(String, bool)> {
        let read = (self.beside.file)(scenario, path, FILE.min(self.left))?;
        self.left = self.left.saturating_sub(read.0.len());
        Some(read)
    }
}

pub(super) fn section(
    report: &Report,
    alarms: &[Alarm<'_>],
    graphs: &[Option<Markup>],
    beside: &mut Beside<'_>,
) -> Markup {
    let mut files = Files { beside, left: FILES };
    let shown: Vec<Markup> = (0..alarms.len().min(ALARMS))
        .map(|number| article(report, &alarms[number], number, graphs[number].as_ref(), &mut files))
        .collect();
    html! {
        section #findings {
            h2 { "Findings" }
            @if alarms.is_empty() && report.findings.is_empty() { p { "There are none." } }
            @for finding in &report.findings {
                article class={ "alarm t-" (tone(finding)) } data-own="" {
                    h3 { span.id { (finding.name.name()) } " " code { (name(&finding.target)) } }
                    p { (name(&finding.summary)) }
                    (evidence(finding))
                }
            }
            @for alarm in &shown { (alarm) }
            @if alarms.len() > ALARMS {
                p.left { (alarms.len() - ALARMS) " more alarms have no room here; `kbuild-repro report --verbose` shows them." }
            }
        }
    }
}

fn article(
    report: &Report,
    alarm: &Alarm<'_>,
    number: usize,
    graph: Option<&Markup>,
    files: &mut Files<'_, '_>,
) -> Markup {
    let (at, first) = alarm.first();
    let (group, scenario) = (&alarm.places[0].1, &report.scenarios[at]);
    let attribute = |mut values: Vec<String>| {
        values.sort();
        values.dedup();
        values.join(" ")
    };
    let own = || alarm.scenarios().map(|at| &report.scenarios[at]);
    html! {
        article #{ "f" (number + 1) } class={ "alarm t-" (tone(first)) } data-f=(first.name.name())
            data-v=(attribute(own().map(|scenario| slug(scenario.verdict.name())).collect()))
            data-k=(attribute(own().map(|scenario| name(&table::kernel(scenario)).replace(' ', "\u{a0}")).collect())) {
            h3 {
                span.id { (first.name.name()) } " "
                @if let Some(cause) = &first.cause { code { (short(&cause.step, 120)) } " — " (cause.fault.words()) }
                @else if first.target.is_empty() { (name(&first.build)) } @else { code { (tail(&first.target, 120)) } }
                @if let Some(standing) = standing(first) { " " span.standing { (name(&standing)) } }
                (since::tagged(report, at, first))
            }
            p.where {
                @for (n, at) in alarm.scenarios().take(NAMED).enumerate() {
                    @if n > 0 { " · " }
                    a href={ "#s" (at + 1) } { (tail(&report.scenarios[at].id, 70)) }
                }
                @let more = alarm.scenarios().count().saturating_sub(NAMED);
                @if more > 0 { " · and " (more) " more scenarios" }
            }
            (targets(group))
            @if let Some(cause) = &first.cause { (told(cause)) }
            (place(first))
            (evidence(first))
            @if let Some(owners) = &first.owners { p.owner { "Owner: " (short(&whose(owners), LINE)) } }
            @if let Some(graph) = graph { (graph) }
            @else if first.cause.is_some() && first.name.class() != Class::Cost {
                p.left { "No picture of its steps: the builds were not traced, or there is no room; the records have the steps." }
            }
            @if let Some(confirmation) = &first.confirmed { (mailed(scenario, first, confirmation, files)) }
        }
    }
}

/// The files that it is about, and what is to be said of each.
fn targets(group: &[&Finding]) -> Markup {
    let first = group[0];
    let same = group.iter().all(|finding| finding.summary == first.summary);
    let more = group.len().saturating_sub(NAMED);
    html! {
        @if group.len() == 1 || same {
            p { @for (n, finding) in group.iter().take(NAMED).enumerate() {
                    @if !finding.target.is_empty() { @if n > 0 { ", " } code { (name(&finding.target)) } }
                }
                @if more > 0 { " and " (more) " more" }
                @if !first.target.is_empty() { ": " } (name(&first.summary)) }
        } @else {
            ul { @for finding in group.iter().take(NAMED) {
                    li { code { (name(&finding.target)) } ": " (name(&finding.summary)) }
                }
                @if more > 0 { li { "and " (more) " more" } } }
        }
    }
}

fn told(cause: &Cause) -> Markup {
    html! {
        dl.cause {
            dt { "Why" } dd { (name(&cause.why)) }
            @if let Some(cmd) = &cause.cmd {
                dt { "Where" } dd { code { (name(&cmd.name)) } " in " code { (name(&cmd.file)) ":" (cmd.line) } }
            }
            @if cause.command != cause.step { dt { "Command" } dd { code.command { (short(&cause.command, LINE)) } } }
            @if !cause.way.is_empty() {
                dt { "The change" }
                dd { @for (n, at) in cause.way.iter().enumerate() { @if n > 0 { " → " } code { (short(at, 200)) } } }
            }
        }
    }
}

/// In which builds it shows.
fn place(finding: &Finding) -> Markup {
    html! {
        @if !finding.target.is_empty() && finding.build != "all" {
            p.place { "In " code { (name(&finding.build)) }
                @if let Some(against) = &finding.against { " against " code { (name(against)) } }
                @if let Some(edit) = finding.edit.as_ref().filter(|edit| !finding.build.starts_with(edit.as_str())) { ", after " code { (name(edit)) } }
                @if !finding.still.is_empty() { "; still so in " (name(&finding.still.join(", "))) }
                @if !finding.folded.is_empty() { "; " (finding.folded.len()) " finding(s) follow from it" }
                "." }
        }
    }
}

fn evidence(finding: &Finding) -> Markup {
    let most = NAMED * 3;
    html! {
        @if let Some(parts) = finding.parts.as_ref().filter(|parts| has_rows(parts)) { (sections(parts)) }
        @if !finding.says.is_empty() {
            details open { summary { "What differs (A: " (name(finding.against.as_deref().unwrap_or("before"))) ", B: " (name(&finding.build)) ")" }
                pre.diff tabindex="0" { @for line in finding.says.iter().take(most) { (sided(&short(line, LINE))) }
                    @if finding.says.len() > most { "and " (finding.says.len() - most) " more lines: `kbuild-repro report --verbose`\n" } } }
        }
        @if !finding.detail.is_empty() {
            details open[finding.detail.len() <= 12] { summary { "Evidence" }
                pre tabindex="0" { @for line in finding.detail.iter().take(most) { (short(line.strip_prefix("| ").unwrap_or(line), LINE)) "\n" }
                    @if finding.detail.len() > most { "and " (finding.detail.len() - most) " more lines: `kbuild-repro report --verbose`\n" } } }
        }
    }
}

fn has_rows(parts: &PartDiff) -> bool {
    !(parts.changed.is_empty() && parts.added.is_empty() && parts.removed.is_empty() && parts.moved.is_empty())
}

/// The sections that differ. A is what it is compared with.
fn sections(parts: &PartDiff) -> Markup {
    let rows = parts.changed.len() + parts.added.len() + parts.removed.len();
    html! {
        div.scroll tabindex="0" role="region" aria-label="Sections that differ" {
            table.sections {
                thead { tr { th scope="col" { "section" } th scope="col" { "in A, bytes" } th scope="col" { "in B, bytes" } th scope="col" { "" } } }
                tbody {
                    @for part in parts.changed.iter().take(NAMED) {
                        tr { th scope="row" { code { (short(&part.name, 60)) } } td { (part.size_a) } td { (part.size_b) }
                            td { @match part.size_b.cmp(&part.size_a) {
                                std::cmp::Ordering::Equal => "other bytes",
                                std::cmp::Ordering::Greater => ins { "+" (part.size_b - part.size_a) },
                                std::cmp::Ordering::Less => del { "−" (part.size_a - part.size_b) },
                            } } }
                    }
                    @for part in parts.removed.iter().take(NAMED) {
                        tr { th scope="row" { code { (short(part, 60)) } } td {} td { "—" } td { del { "only in A" } } }
                    }
                    @for part in parts.added.iter().take(NAMED) {
                        tr { th scope="row" { code { (short(part, 60)) } } td { "—" } td {} td { ins { "only in B" } } }
                    }
                }
            }
        }
        @if rows > NAMED || !parts.moved.is_empty() {
            p.left { (parts.moved.len()) " moved"
                @if rows > NAMED { "; of each kind at most " (NAMED) " are shown, the JSON report has all" } "." }
        }
    }
}

fn mailed(
    scenario: &ScenarioReport,
    finding: &Finding,
    confirmation: &Confirmation,
    files: &mut Files<'_, '_>,
) -> Markup {
    let came = match confirmation.outcome {
        Outcome::Confirmed => "Confirmed by its reproducer.",
        Outcome::NotSeen => "Not confirmed by its reproducer, which was run.",
        Outcome::NotRun => "Its reproducer was not run",
        Outcome::NoScript => "It has no reproducer",
    };
    let mut file = |what: &str, file: &str| {
        let path = format!("{}/{file}", confirmation.beside);
        let read = files.read(scenario, &path)?;
        let option = if file == "mail.txt" { "mail" } else { "reproducer" };
        Some(html! {
            details.file { summary { (what) }
                pre data-copy="" tabindex="0" { (lines(&read.0)) }
                @if read.1 { p.left { "It goes on: " code { "kbuild-repro report --" (option) " '" (name(&finding.id())) "'" } " prints it all." } } }
        })
    };
    let (mail, script) =
        (file("Mail to the maintainer", "mail.txt"), file("Reproducer (shell script)", "reproduce.sh"));
    html! {
        p.confirmed { (came)
            @if let Some(why) = &confirmation.why { " (" (name(why)) ")." }
            " Beside the record: " code { (name(&scenario.id)) "/" (name(&confirmation.beside)) } }
        @if let Some(mail) = mail { (mail) }
        @if let Some(script) = script { (script) }
    }
}
