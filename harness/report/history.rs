//! A run among those before it: what is kept of a report for later ones, and in what words it is said what is new, still
//! there and gone.

use std::collections::BTreeMap;

use super::terminal::clean;
use super::{Report, ScenarioReport};
use crate::artifact::Digest;
use crate::artifact::record::{Mode, Role, ScenarioRecord};
use crate::scenario::{Class, FindingName};
use crate::verdict::alarm::Identity;
use crate::verdict::history::{
    AlarmSince, CellAlarm, CellTrend, Counts, FORMAT, Figures, GoneAlarm, KIND, Moved, PastAlarm, PastBuild, PastCell,
    PastRun, PastTool, Since, State, When,
};
use crate::verdict::{ATTENTION, Finding, Standing};

pub mod overview;

/// How many alarms or scenarios of a kind are named.
const NAMED: usize = 12;
/// How many scenarios of one alarm are.
const CELLS: usize = 4;

/// What is kept of a report. Of each scenario its record is asked for, one after the other; without it less is known.
pub fn entry(report: &Report, record: &mut dyn FnMut(&ScenarioReport) -> Option<ScenarioRecord>) -> PastRun {
    let mut run = PastRun {
        kind: KIND.to_owned(),
        format: FORMAT,
        run: report.run.clone(),
        started: report.started,
        host: report.host.clone(),
        harness: report.harness.clone(),
        verdict: report.verdict,
        left_out: report.left_out.len(),
        tools: Vec::new(),
        files: Vec::new(),
        fingerprints: Vec::new(),
        cells: Vec::new(),
    };
    let mut numbers = BTreeMap::new();
    let mut sets = BTreeMap::new();
    for scenario in &report.scenarios {
        let record = record(scenario);
        let cell = cell(scenario, record.as_ref(), &mut run, &mut numbers, &mut sets);
        run.cells.push(cell);
    }
    run
}

/// A number that fits, of a list.
fn number(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

/// Where a file with its contents is in the list of a run.
type Numbers = BTreeMap<(String, Option<Digest>), u32>;

fn cell(
    scenario: &ScenarioReport,
    record: Option<&ScenarioRecord>,
    run: &mut PastRun,
    numbers: &mut Numbers,
    sets: &mut BTreeMap<Vec<u32>, u32>,
) -> PastCell {
    let mut tools = Vec::new();
    for tool in &scenario.toolchain {
        let tool = PastTool {
            name: tool.name.clone(),
            path: tool.path.clone(),
            version: tool.version.clone(),
            sha256: tool.sha256,
        };
        let at = run.tools.iter().position(|have| *have == tool).unwrap_or_else(|| {
            run.tools.push(tool);
            run.tools.len() - 1
        });
        tools.push(number(at));
    }
    let used = record.filter(|record| !record.traces.is_empty()).map(|record| {
        let all: BTreeMap<&String, &Option<Digest>> =
            record.traces.values().flat_map(|steps| &steps.toolchain).collect();
        let mut set: Vec<u32> = all
            .into_iter()
            .map(|(path, digest)| {
                *numbers.entry((path.clone(), *digest)).or_insert_with(|| {
                    run.files.push((path.clone(), *digest));
                    number(run.files.len() - 1)
                })
            })
            .collect();
        set.sort_unstable();
        set
    });
    let fingerprint = used.map(|set| {
        *sets.entry(set).or_insert_with_key(|set| {
            run.fingerprints.push(set.clone());
            number(run.fingerprints.len() - 1)
        })
    });
    PastCell {
        id: scenario.id.clone(),
        verdict: scenario.verdict,
        alarms: PastAlarm::of_all(&scenario.findings),
        kernel: scenario.kernel.clone(),
        source: scenario.source.clone(),
        read: record.and_then(read),
        scenario: record.and_then(|it| serde_json::to_vec(&it.scenario).ok()).map(|text| Digest::of(&text)),
        tools,
        fingerprint,
        builds: scenario
            .builds
            .iter()
            .map(|build| PastBuild {
                id: build.id.clone(),
                wall_ms: millis(build.seconds),
                cpu_ms: millis(build.cpu_seconds),
            })
            .collect(),
        figures: figures(scenario, record),
    }
}

/// Which files of the sources the steps of the first clean build read, with what was in them.
fn read(record: &ScenarioRecord) -> Option<Digest> {
    let build = record.builds.iter().find(|build| build.role == Role::Control && build.mode == Mode::Clean)?;
    let inputs = record.traces.get(&build.id)?.steps.iter().flat_map(|step| &step.inputs);
    let own = inputs.filter(|input| input.path.starts_with("src/"));
    let all: BTreeMap<&str, Option<String>> =
        own.map(|input| (&*input.path, input.sha256.as_ref().map(ToString::to_string))).collect();
    let line = |(path, digest): (&str, Option<String>)| format!("{path}\0{}\n", digest.unwrap_or_default());
    Some(Digest::of(all.into_iter().map(line).collect::<String>().as_bytes()))
}

fn millis(seconds: f64) -> u64 {
    std::time::Duration::try_from_secs_f64(seconds)
        .map_or(0, |time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}

fn figures(scenario: &ScenarioReport, record: Option<&ScenarioRecord>) -> Figures {
    let built = !scenario.builds.is_empty();
    let costs = || scenario.findings.iter().filter(|finding| finding.name.class() == Class::Cost);
    let needless = |finding: &&Finding| finding.name == FindingName::RebuildNeedless;
    let clean = record.and_then(|record| {
        record.builds.iter().find(|it| it.role == Role::Control && it.mode == Mode::Clean && it.status.ok())
    });
    let modules = clean.map(|build| {
        let own = build.artifacts.iter().filter(|artifact| artifact.path.ends_with(".ko"));
        own.map(|artifact| artifact.size).sum()
    });
    Figures {
        needless_ms: built.then(|| costs().filter_map(|finding| finding.cost_ms).sum()),
        // Those of one command are one finding, and the others are folded under it.
        needless_steps: built.then(|| costs().filter(needless).map(|finding| 1 + finding.folded.len() as u64).sum()),
        objtree_bytes: clean.map(|build| build.objtree_bytes).filter(|bytes| *bytes > 0),
        module_bytes: modules.filter(|bytes| *bytes > 0),
        vmlinux_bytes: clean.and_then(|build| build.artifact("vmlinux")).map(|artifact| artifact.size),
    }
}

/// A time for people.
#[must_use]
pub fn day(started: u64) -> String {
    let at = i64::try_from(started).ok().and_then(|at| chrono::DateTime::from_timestamp(at, 0)).unwrap_or_default();
    at.format("%Y-%m-%d %H:%M").to_string()
}

fn plural(count: usize, one: &str, more: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { more })
}

/// Since when something is there, in a few words.
#[must_use]
pub fn since_when(first: &When, runs: usize) -> String {
    format!("since {}, {}", day(first.started), plural(runs, "run", "runs"))
}

/// What is said of an alarm in a cell, in a few words.
fn tag(alarm: &AlarmSince, cell: &CellAlarm) -> String {
    let flaky = if cell.flaky { "flaky, " } else { "" };
    let transient = if alarm.transient { ", differs from build to build" } else { "" };
    let here = match cell.state {
        State::Still => since_when(&cell.first, cell.runs),
        State::New => "new".into(),
        State::First => "not tested before".into(),
    };
    let elsewhere = if cell.state != State::Still && alarm.state == State::Still {
        format!("; elsewhere {}", since_when(&alarm.first, alarm.runs))
    } else {
        String::new()
    };
    format!("{flaky}{here}{transient}{elsewhere}")
}

/// How many alarms are what, in a sentence; nothing if there are none.
fn counted(counts: Counts, since: &Since, cost: bool) -> String {
    let still = since.alarms.iter().filter(|it| it.cost == cost && it.state == State::Still && !it.known && !it.flaky);
    let longest = still.max_by_key(|alarm| alarm.runs);
    let there = longest.map_or(String::new(), |alarm| {
        let up_to = if counts.still > 1 { "up to " } else { "" };
        format!(" since {} ({up_to}{})", day(alarm.first.started), plural(alarm.runs, "run", "runs"))
    });
    let all = [
        (counts.new, "new", ""),
        (counts.still, "still there", there.as_str()),
        (counts.spread, "of these new in another scenario", ""),
        (counts.gone, "gone", ""),
        (counts.flaky, "flaky", ""),
        (counts.known, "known", ""),
    ];
    let told: Vec<String> = all
        .iter()
        .filter(|(count, ..)| *count > 0)
        .map(|(count, what, more)| format!("{count} {what}{more}"))
        .collect();
    told.join(", ")
}

/// What a run says over those before, in a line.
#[must_use]
pub fn sentence(since: &Since) -> String {
    let Some(When { started, .. }) = &since.last else {
        return "the first run in the history: nothing to compare with yet".into();
    };
    let wrong = counted(since.counts(false), since, false);
    let costs = counted(since.counts(true), since, true);
    let wrong = if wrong.is_empty() { "nothing new, nothing gone".to_owned() } else { wrong };
    let costs = if costs.is_empty() { String::new() } else { format!("; of costs {costs}") };
    format!("since the last run ({}): {wrong}{costs}", day(*started))
}

/// The scenarios, as many as are named.
#[must_use]
pub fn named<'i>(ids: impl Iterator<Item = &'i str> + Clone) -> String {
    let more = ids.clone().count().saturating_sub(CELLS);
    let named: Vec<&str> = ids.take(CELLS).collect();
    if more > 0 { format!("{} and {more} more", named.join(", ")) } else { named.join(", ") }
}

/// The cells of which the verdict comes and goes.
fn flaky(since: &Since) -> impl Iterator<Item = &CellTrend> {
    since.cells.iter().filter(|cell| cell.flaky)
}

/// How often a cell that comes and goes was tried, and with what result.
#[must_use]
pub fn tries(cell: &CellTrend) -> String {
    let CellTrend { tried, passed, .. } = cell;
    format!("with the same inputs {passed} of the last {tried} runs passed, {} failed", tried.saturating_sub(*passed))
}

/// What a run says over those before, in lines for people; the first is the sentence.
#[must_use]
pub fn lines(since: &Since) -> Vec<String> {
    let mut lines = vec![sentence(since)];
    let most = |count: usize, what: &str, lines: &mut Vec<String>| {
        if count > NAMED {
            lines.push(format!("  and {} more {what}; the JSON report has all", count - NAMED));
        }
    };
    if since.last.is_some() {
        let new = since.alarms.iter().filter(|it| it.state != State::Still && !it.known && !it.cost);
        for alarm in new.clone().take(NAMED) {
            let what = match (alarm.flaky, alarm.state) {
                (true, _) => "flaky",
                (_, State::First) => "new, not tested before",
                _ => "new",
            };
            lines.push(format!(
                "  {what}: {} in {}",
                alarm.title,
                named(alarm.cells.iter().map(|cell| cell.id.as_str()))
            ));
            lines.extend(alarm.changed.iter().map(|changed| format!("    changed since: {changed}")));
        }
        most(new.count(), "that are new", &mut lines);
        let spread = since.alarms.iter().filter(|it| it.state == State::Still && !it.known && !it.cost);
        for alarm in spread.take(NAMED) {
            let new = alarm.cells.iter().filter(|cell| cell.state != State::Still).map(|cell| cell.id.as_str());
            if new.clone().next().is_some() {
                lines.push(format!("  still there, and new in {}: {}", named(new), alarm.title));
                lines.extend(alarm.changed.iter().map(|changed| format!("    changed since: {changed}")));
            }
        }
        let gone = since.gone.iter().filter(|it| !it.cost);
        for gone in gone.clone().take(NAMED) {
            lines.extend(gone_lines(gone));
        }
        most(gone.count(), "that are gone", &mut lines);
    }
    for cell in flaky(since).take(NAMED) {
        lines.push(format!("  flaky: {} [{}] {}", cell.id, cell.verdicts, tries(cell)));
    }
    most(flaky(since).count(), "that are flaky", &mut lines);
    lines.extend(since.told.iter().map(|told| format!("  {ATTENTION}{told}")));
    lines.into_iter().map(|line| clean(&line).into_owned()).collect()
}

fn gone_lines(gone: &GoneAlarm) -> [String; 2] {
    let what = match (gone.flaky, gone.known) {
        (true, _) => "away, and comes and goes",
        (_, true) => "gone, and listed as known",
        _ => "gone",
    };
    let runs = plural(gone.runs, "run", "runs");
    [
        format!(
            "  {what}: {} in {} (last {}, {runs})",
            gone.title,
            named(gone.cells.iter().map(String::as_str)),
            day(gone.last.started)
        ),
        format!("    changed since: {}", gone.changed),
    ]
}

/// The tag of findings of a scenario, if the report knows of earlier runs.
#[must_use]
pub fn tag_of(report: &Report, scenario: &str, finding: &Finding) -> Option<String> {
    let since = report.since.as_ref().filter(|since| since.last.is_some() && finding.standing != Standing::Expected)?;
    since.of(scenario, &Identity::of(finding)).map(|(alarm, cell)| tag(alarm, cell))
}

/// Bytes for people.
#[must_use]
pub fn bytes(bytes: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "three digits of it are shown")]
    let number = bytes as f64;
    match bytes {
        0..=9_999 => format!("{bytes} B"),
        10_000..=9_999_999 => format!("{:.1} kB", number / 1e3),
        10_000_000..=9_999_999_999 => format!("{:.1} MB", number / 1e6),
        _ => format!("{:.2} GB", number / 1e9),
    }
}

/// Milliseconds for people.
#[must_use]
pub fn time(millis: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "three digits of it are shown")]
    let seconds = millis as f64 / 1e3;
    match millis {
        0..=999 => format!("{millis} ms"),
        1_000..=99_999 => format!("{seconds:.1} s"),
        100_000..=5_999_999 => format!("{:.1} min", seconds / 60.0),
        _ => format!("{:.1} h", seconds / 3600.0),
    }
}

/// How a figure moved, in words.
#[must_use]
pub fn moves(moved: Moved, is_time: bool) -> String {
    let told = |number| if is_time { time(number) } else { bytes(number) };
    let Moved { first, last, least, most } = moved;
    if told(least) == told(most) {
        // A few bytes of many are of interest, a few milliseconds are not.
        return if is_time || first == last { told(last) } else { format!("{first} → {last} B") };
    }
    format!("{} → {} ({} to {})", told(first), told(last), told(least), told(most))
}

#[cfg(test)]
pub(super) mod tests;
