//! What earlier runs say: what is new, still there and gone, and small pictures of how times and sizes moved.

use maud::{Markup, html};

use super::super::Report;
use super::super::history::{day, moves, named, sentence, since_when, tries};
use super::text::{name, short, tail};
use crate::verdict::alarm::{Alarm, Identity};
use crate::verdict::history::{AlarmSince, CellTrend, GoneAlarm, LEGEND, Moved, Since, State};
use crate::verdict::{ATTENTION, Finding, Standing};

/// How many alarms of a kind are listed.
const ALARMS: usize = 40;
/// How many scenarios have pictures: those that have something to tell first.
const CELLS: usize = 100;
/// How wide and how high a picture is, in its own units.
const SIZE: (u32, u32) = (120, 26);
/// How far from its edge the line stays.
const EDGE: u32 = 4;

/// The tag of a finding of a scenario.
pub(super) fn tagged(report: &Report, scenario: usize, finding: &Finding) -> Markup {
    let since = report.since.as_ref().filter(|since| since.last.is_some() && finding.standing != Standing::Expected);
    let own = since.and_then(|since| since.of(&report.scenarios[scenario].id, &Identity::of(finding)));
    html! {
        @if let Some((alarm, _)) = own {
            @let new = alarm.cells.iter().filter(|cell| cell.state != State::Still).count();
            " " span class={ "tag " (class(alarm)) } { (word(alarm)) }
            @if alarm.transient { " " span.tag.flaky { "TRANSIENT" } }
            @if alarm.state == State::Still {
                " " span.standing { (since_when(&alarm.first, alarm.runs))
                    @if new > 0 { ", new in " (new) @if new == 1 { " scenario" } @else { " scenarios" } } }
            }
        }
    }
}

fn word(alarm: &AlarmSince) -> &'static str {
    match (alarm.flaky, alarm.state) {
        (true, _) => "FLAKY",
        (_, State::New | State::First) => "NEW",
        (_, State::Still) => "SINCE",
    }
}

fn class(alarm: &AlarmSince) -> &'static str {
    match word(alarm) {
        "NEW" => "new",
        "FLAKY" => "flaky",
        _ => "still",
    }
}

/// What is new, gone, and comes and goes.
pub(super) fn section(report: &Report, alarms: &[Alarm<'_>]) -> Markup {
    let Some(since) = &report.since else { return Markup::default() };
    let link = |alarm: &AlarmSince| {
        let same = |it: &Alarm<'_>| {
            let (at, first) = it.first();
            alarm.identity.is(&Identity::of(first)) && alarm.cells.iter().any(|cell| cell.id == report.scenarios[at].id)
        };
        alarms.iter().position(same)
    };
    let first = since.last.is_none();
    let told = || since.alarms.iter().filter(|it| !it.cost && !it.known && !first);
    let flaky: Vec<&CellTrend> = since.cells.iter().filter(|cell| cell.flaky).collect();
    html! {
        section #since {
            h2 { "Since earlier runs" }
            p { (upper(&sentence(since))) "." }
            @if told().next().is_some() || !since.gone.is_empty() && !first {
                ul.changes {
                    @for alarm in told().take(ALARMS) { (there(alarm, link(alarm))) }
                    @if told().count() > ALARMS { li { (told().count() - ALARMS) " more are in the JSON report." } }
                    @for gone in since.gone.iter().filter(|gone| !gone.cost).take(ALARMS) { (away(gone)) }
                }
            }
            @if !flaky.is_empty() {
                p { "Verdicts that come and go:" }
                ul.changes { @for cell in flaky.iter().take(ALARMS) {
                    li { span.tag.flaky { "FLAKY" } " " (tail(&cell.id, 70)) " " code { (cell.verdicts) } " — " (tries(cell)) }
                } }
            }
            @for line in &since.told { p.note { (ATTENTION) (short(line, 1000)) } }
        }
    }
}

fn upper(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

fn there(alarm: &AlarmSince, link: Option<usize>) -> Markup {
    let ids = |state: fn(State) -> bool| alarm.cells.iter().filter(move |it| state(it.state)).map(|it| it.id.as_str());
    let new = named(ids(|state| state != State::Still));
    html! {
        li { span class={ "tag " (class(alarm)) } { (word(alarm)) } " "
            @match link {
                Some(number) => { a href={ "#f" (number + 1) } { (short(&alarm.title, 140)) } },
                None => { (short(&alarm.title, 140)) },
            }
            span.where {
                @match alarm.state {
                    State::Still => { " " (since_when(&alarm.first, alarm.runs)) @if !new.is_empty() { "; new in " (name(&new)) } },
                    State::New => { " in " (name(&new)) },
                    State::First => { " in " (name(&new)) ", not tested before" },
                }
                @if let Some(changed) = &alarm.changed { br; "Changed since: " (name(&changed.to_string())) "." }
            } }
    }
}

fn away(gone: &GoneAlarm) -> Markup {
    html! {
        li { span.tag.gone { "GONE" } " " (short(&gone.title, 140))
            span.where { " in " (name(&named(gone.cells.iter().map(String::as_str)))) "; last seen " (day(gone.last.started)) ", in "
                (gone.runs) @if gone.runs == 1 { " run" } @else { " runs" }
                @if gone.known { "; it is listed as known" } @if gone.flaky { "; it comes and goes" }
                br; "Changed since: " (name(&gone.changed.to_string())) "." } }
    }
}

/// How verdicts, times and sizes of the scenarios moved.
pub(super) fn courses(report: &Report) -> Markup {
    let Some(since) = report.since.as_ref().filter(|since| since.last.is_some()) else { return Markup::default() };
    let numbers = order(since);
    let left = numbers.len().saturating_sub(CELLS);
    html! {
        section #courses {
            h2 { "Over the last runs" }
            p.legend { "Verdicts, the latest last: " (LEGEND) }
            div.scroll tabindex="0" role="region" aria-label="Verdicts, times and sizes over the last runs" {
                table.courses {
                    thead { tr { th scope="col" { "scenario" } th scope="col" { "verdicts" } th scope="col" { "make" }
                        th scope="col" { "processor" } th scope="col" { "steps for nothing" } th scope="col" { "object tree" }
                        th scope="col" { "modules" } th scope="col" { "vmlinux" } } }
                    tbody { @for at in numbers.iter().take(CELLS) {
                        @let cell = &since.cells[*at];
                        tr { th scope="row" title=(name(&cell.id)) { a href={ "#s" (at + 1) } { (tail(&cell.id, 44)) } }
                            td { code.verdicts { (cell.verdicts) } }
                            (picture("make", &cell.trend.wall_ms, true)) (picture("processor", &cell.trend.cpu_ms, true))
                            (picture("steps for nothing", &cell.trend.needless_ms, true))
                            (picture("object tree", &cell.trend.objtree_bytes, false))
                            (picture("modules", &cell.trend.module_bytes, false))
                            (picture("vmlinux", &cell.trend.vmlinux_bytes, false)) }
                    } }
                }
            }
            @if left > 0 { p.left { (left) " more scenarios have no room here: " code { "kbuild-repro history --scenario" } } }
        }
    }
}

/// The cells with a course: those whose verdict changed first, then those that moved furthest.
fn order(since: &Since) -> Vec<usize> {
    let mut numbers: Vec<usize> =
        (0..since.cells.len()).filter(|at| since.cells[*at].verdicts.chars().count() > 1).collect();
    let moved = |cell: &CellTrend| {
        let trend = &cell.trend;
        let all = [&trend.wall_ms, &trend.needless_ms, &trend.objtree_bytes, &trend.module_bytes, &trend.vmlinux_bytes];
        all.iter().filter_map(|numbers| Moved::of(numbers)).map(|moved| moved.per_mille()).max().unwrap_or(0)
    };
    if numbers.len() > CELLS {
        numbers.sort_by_cached_key(|at| {
            let cell = &since.cells[*at];
            let same = cell.before.is_none_or(|before| before == cell.verdict);
            (!cell.flaky, same, std::cmp::Reverse(moved(cell)), *at)
        });
    }
    numbers
}

/// A line over the runs, with the last one marked, and the same in words.
fn picture(what: &str, numbers: &[Option<u64>], is_time: bool) -> Markup {
    let Some(moved) = Moved::of(numbers) else { return html! { td {} } };
    let words = moves(moved, is_time);
    let points = points(numbers, moved);
    html! {
        td {
            @if let Some(last) = points.last().filter(|_| points.len() > 1) {
                svg.spark viewBox={ "0 0 " (SIZE.0) " " (SIZE.1) } width=(SIZE.0) height=(SIZE.1) role="img"
                    aria-label={ (what) " over " (points.len()) " runs: " (words) } {
                    polyline points=(points.iter().map(|(x, y)| format!("{x},{y}")).collect::<Vec<_>>().join(" ")) {}
                    circle cx=(last.0) cy=(last.1) r="2.5" {}
                }
            }
            span.moved { (words) }
        }
    }
}

/// Where each number is: the least at the bottom, the most at the top. What moves by less than a fiftieth does not fill the height,
/// and what does not move is in the middle.
fn points(numbers: &[Option<u64>], moved: Moved) -> Vec<(u64, u64)> {
    let (width, height) = (u64::from(SIZE.0 - 2 * EDGE), u64::from(SIZE.1 - 2 * EDGE));
    let steps = (numbers.len() as u64).saturating_sub(1).max(1);
    let own = u128::from(moved.most - moved.least);
    let span = own.max(u128::from(moved.most / 50));
    let below = (span - own) / 2;
    let place = |(at, number): (u64, &Option<u64>)| {
        let number = (*number)?;
        let up = ((u128::from(number - moved.least) + below) * u128::from(height)).checked_div(span);
        let up = up.and_then(|up| u64::try_from(up).ok()).unwrap_or(height / 2);
        Some((u64::from(EDGE) + at * width / steps, u64::from(EDGE) + height - up))
    };
    (0..).zip(numbers).filter_map(place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_is_at_the_bottom_and_what_is_missing_has_no_point() {
        let of = |numbers: &[Option<u64>]| points(numbers, Moved::of(numbers).expect("numbers"));
        assert_eq!(of(&[Some(10), None, Some(20)]), [(4, 22), (116, 4)]);
        assert_eq!(of(&[Some(7), Some(7)]), [(4, 13), (116, 13)]);
        assert_eq!(of(&[Some(100_000), Some(100_200)]), [(4, 14), (116, 13)], "two thousandths");
        assert_eq!(of(&[Some(0), Some(u64::MAX)]), [(4, 22), (116, 4)]);
        assert_eq!(of(&[Some(1)]), [(4, 13)]);
    }
}
