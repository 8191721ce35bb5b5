//! One report of the shards of a run: the same as that of one run of everything, or what is missing of it. Pure: results in, a
//! report out.

use std::collections::{BTreeMap, BTreeSet};

use super::{Report, ScenarioReport, exit_code, worst};
use crate::artifact::record::{ShardCell, ShardRecord};
use crate::tree::source::tools::PLACE;
use crate::verdict::history::MERGED;

/// How many names a message has.
const NAMED: usize = 5;

/// What one shard left.
#[derive(Debug)]
pub struct Part {
    /// Where it is, for messages.
    pub place: String,
    /// Which it is.
    pub shard: ShardRecord,
    /// Its report; none of one that did not come to its end.
    pub report: Option<Report>,
    /// How many of its scenarios have a record, if it did not come to its end.
    pub finished: usize,
}

/// Why results are no parts of one run, and what to do.
#[derive(Debug, PartialEq, Eq)]
pub struct Apart {
    /// Why.
    pub message: String,
    /// What to do.
    pub hint: String,
}

/// What came of it.
#[derive(Debug)]
pub struct Merged {
    /// The report.
    pub report: Report,
    /// Whether something is missing or was cut short.
    pub incomplete: bool,
    /// What is to be said besides: what is missing and how to run it, and what makes results hard to compare.
    pub told: Vec<String>,
}

/// Puts shards together, in any order.
///
/// # Errors
/// They are not of one run, or one is there twice.
pub fn merge(mut parts: Vec<Part>) -> Result<Merged, Apart> {
    parts.sort_by(|a, b| (a.shard.index, &a.place).cmp(&(b.shard.index, &b.place)));
    let Some(first) = parts.first() else {
        return Err(Apart {
            message: "there is no result of a shard".into(),
            hint: "`run --shard K/N --out DIR`".into(),
        });
    };
    for other in &parts[1..] {
        same_run(first, other)?;
    }
    // What is lost is not missed where another attempt came to its end.
    let ended: BTreeSet<u32> = parts.iter().filter(|part| part.report.is_some()).map(|part| part.shard.index).collect();
    parts.retain(|part| part.report.is_some() || !ended.contains(&part.shard.index));
    for pair in parts.windows(2) {
        if pair[0].shard.index == pair[1].shard.index {
            let (index, count) = (pair[0].shard.index, pair[0].shard.count);
            return Err(Apart {
                message: format!("shard {index}/{count} is there twice: `{}` and `{}`", pair[0].place, pair[1].place),
                hint: "name one of them; the other may be an older attempt".into(),
            });
        }
    }
    for part in &parts {
        own_scenarios(part)?;
    }
    Ok(together(&parts))
}

fn apart(message: String, other: &Part) -> Apart {
    Apart {
        message,
        hint: format!("one run has the same options everywhere; again: {}", other.shard.again(other.shard.index)),
    }
}

/// Whether two results are of one run.
fn same_run(first: &Part, other: &Part) -> Result<(), Apart> {
    let (a, b) = (&first.shard, &other.shard);
    if a.count != b.count {
        let of = |part: &Part| format!("`{}` is shard {}/{}", part.place, part.shard.index, part.shard.count);
        return Err(apart(format!("{} and {}: they are no parts of one run", of(first), of(other)), other));
    }
    let names: BTreeSet<&String> = a.options.keys().chain(b.options.keys()).collect();
    for name in names {
        let value =
            |part: &Part| part.shard.options.get(name).map_or("not given".to_owned(), |value| format!("`{value}`"));
        if a.options.get(name) != b.options.get(name) {
            let differ = format!(
                "the shards were run differently: {name} is {} in `{}` and {} in `{}`",
                value(first),
                first.place,
                value(other),
                other.place
            );
            return Err(apart(differ, other));
        }
    }
    same_scenarios(first, other)
}

fn by_id(part: &Part) -> BTreeMap<&str, &ShardCell> {
    part.shard.cells.iter().map(|cell| (cell.id.as_str(), cell)).collect()
}

fn same_scenarios(first: &Part, other: &Part) -> Result<(), Apart> {
    let (a, b) = (by_id(first), by_id(other));
    for (have, lacks, [one, two]) in [(&a, &b, [first, other]), (&b, &a, [other, first])] {
        let alone: Vec<&str> = have.keys().copied().filter(|id| !lacks.contains_key(id)).collect();
        if !alone.is_empty() {
            let told = named(&alone);
            return Err(apart(
                format!("`{}` was run with scenarios that `{}` does not know: {told}", one.place, two.place),
                other,
            ));
        }
    }
    let differ = |what: &dyn Fn(&ShardCell, &ShardCell) -> bool| -> Vec<&str> {
        a.iter().filter(|(id, cell)| what(cell, b[*id])).map(|(id, _)| *id).collect()
    };
    let changed = differ(&|a, b| (&a.digest, &a.source) != (&b.digest, &b.source));
    if !changed.is_empty() {
        let (one, two) = (&first.place, &other.place);
        return Err(apart(format!("scenarios are others in `{one}` than in `{two}`: {}", named(&changed)), other));
    }
    let order = |part: &Part| part.shard.cells.iter().map(|cell| cell.id.clone()).collect::<Vec<_>>();
    if !differ(&|a, b| a.shard != b.shard).is_empty() || order(first) != order(other) {
        let (one, two) = (&first.place, &other.place);
        return Err(apart(format!("`{one}` and `{two}` divide the scenarios differently"), other));
    }
    Ok(())
}

fn named(ids: &[&str]) -> String {
    let more = ids.len().saturating_sub(NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", ids[..ids.len().min(NAMED)].join(", "))
}

/// Whether a result has its own scenarios and no other, each once.
fn own_scenarios(part: &Part) -> Result<(), Apart> {
    let own: BTreeSet<&str> = part.shard.of(part.shard.index).collect();
    let mut seen = BTreeSet::new();
    let report = part.report.iter();
    let told = report.flat_map(|report| {
        report.scenarios.iter().map(|scenario| scenario.id.as_str()).chain(report.left_out.iter().map(String::as_str))
    });
    for id in told {
        let wrong = match (own.contains(id), seen.insert(id)) {
            (true, true) => continue,
            (false, _) => "which is not its own",
            (true, false) => "twice",
        };
        let (shard, place) = (&part.shard, &part.place);
        return Err(Apart {
            message: format!("`{place}`, shard {}/{}, has `{id}`, {wrong}", shard.index, shard.count),
            hint: format!("run the shard again: {}", shard.again(shard.index)),
        });
    }
    Ok(())
}

fn together(parts: &[Part]) -> Merged {
    let plan = &parts[0].shard;
    let position: BTreeMap<&str, usize> = (0..).zip(&plan.cells).map(|(at, cell)| (cell.id.as_str(), at)).collect();
    let reports = || parts.iter().filter_map(|part| part.report.as_ref());
    let mut scenarios: Vec<ScenarioReport> = reports().flat_map(|report| report.scenarios.clone()).collect();
    scenarios.sort_by_key(|scenario| position.get(scenario.id.as_str()).copied());
    let mut report = Report {
        format: super::FORMAT,
        run: String::new(),
        harness: plan.options.get("the version of kbuild-repro").cloned().unwrap_or_default(),
        started: 0,
        host: String::new(),
        record: None,
        verdict: crate::verdict::Verdict::Skipped,
        exit_code: 0,
        losses: Vec::new(),
        left_out: Vec::new(),
        why_left_out: BTreeMap::new(),
        shard: None,
        scenarios,
        findings: Vec::new(),
        since: None,
    };
    // Named by the one that began first: a shard that is lost and run again begins later, and the run stays the same.
    let first = reports().min_by_key(|it| (it.started, &it.run));
    report.run = format!("{}{MERGED}", first.map_or("lost", |it| it.run.as_str()));
    report.started = first.map_or(0, |it| it.started);
    let mut hosts: Vec<&str> = Vec::new();
    for other in reports() {
        if !hosts.contains(&other.host.as_str()) {
            hosts.push(&other.host);
        }
        for loss in &other.losses {
            if !report.losses.contains(loss) {
                report.losses.push(loss.clone());
            }
        }
        for finding in &other.findings {
            if !report.findings.contains(finding) {
                report.findings.push(finding.clone());
            }
        }
    }
    report.host = hosts.join("; ");
    let mut told = Vec::new();
    let incomplete = left_out(parts, &mut report, &mut told);
    report.verdict = worst(&report.scenarios, &report.findings, incomplete);
    report.exit_code = exit_code(report.verdict);
    told.extend(unlike(plan, &report));
    Merged { report, incomplete, told }
}

/// What was not begun, or whose results are lost, with the reason; and whether a shard did not come to its end.
fn left_out(parts: &[Part], report: &mut Report, told: &mut Vec<String>) -> bool {
    let plan = &parts[0].shard;
    let mut why: BTreeMap<String, Option<String>> = BTreeMap::new();
    for index in 1..=plan.count {
        let part = parts.iter().find(|part| part.shard.index == index);
        let again = part.map_or_else(|| plan.again(index), |part| part.shard.again(index));
        let name = format!("shard {index}/{}", plan.count);
        let own = || plan.of(index).map(str::to_owned);
        let all = own().count();
        let (ids, what): (Vec<String>, String) = match part {
            Some(Part { report: Some(own), .. }) if own.verdict != crate::verdict::Verdict::Interrupted => {
                for id in &own.left_out {
                    why.insert(id.clone(), own.why_left_out.get(id).cloned());
                }
                continue;
            }
            Some(Part { report: Some(own), place, .. }) => {
                (own.left_out.clone(), format!("{name} was interrupted ({place})"))
            }
            Some(Part { finished, place, .. }) => (
                own().collect(),
                format!("{name} was lost ({place}): it had finished {finished} of {all}, which are not built again"),
            ),
            // Of one that has no scenario nothing is missing but its word.
            None => (own().collect(), format!("{name} is missing")),
        };
        told.push(format!("{what}; run it: {again}"));
        why.extend(ids.into_iter().map(|id| (id, Some(format!("not run, {what}: {again}")))));
    }
    let incomplete = !told.is_empty();
    for (id, why) in why {
        // Where the verdict is that of an interruption, an id without a reason would be taken for interrupted.
        let why = why.or_else(|| incomplete.then(|| "left out by the time budget".to_owned()));
        report.why_left_out.extend(why.map(|why| (id.clone(), why)));
        report.left_out.push(id);
    }
    incomplete
}

/// What was not the same on all machines, though one run would have had it the same, and what no machine had.
fn unlike(plan: &ShardRecord, report: &Report) -> Vec<String> {
    let mut told = Vec::new();
    let of: BTreeMap<&str, &str> = plan.cells.iter().map(|cell| (cell.id.as_str(), cell.source.as_str())).collect();
    let mut sources: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let mut tools: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for scenario in report.scenarios.iter().filter(|scenario| !scenario.builds.is_empty()) {
        if let Some(spec) = of.get(scenario.id.as_str()) {
            sources.entry(spec).or_default().insert(&scenario.source);
        }
        for tool in scenario.toolchain.iter().filter(|tool| !std::path::Path::new(&tool.path).starts_with(PLACE)) {
            tools.entry(&tool.name).or_default().insert(&tool.version);
        }
    }
    let list = |all: &BTreeSet<&str>| all.iter().copied().collect::<Vec<_>>().join("; ");
    for (spec, all) in sources.iter().filter(|(_, all)| all.len() > 1) {
        told.push(format!("attention: `{spec}` was not the same on all machines: {}", list(all)));
    }
    for (tool, all) in tools.iter().filter(|(_, all)| all.len() > 1) {
        told.push(format!("attention: {tool} was not the same for all scenarios: {}", list(all)));
    }
    let seen: BTreeSet<&str> = report.scenarios.iter().map(|scenario| scenario.id.as_str()).collect();
    let left: BTreeSet<&str> = report.left_out.iter().map(String::as_str).collect();
    let absent: Vec<&str> = of.keys().copied().filter(|id| !seen.contains(id) && !left.contains(id)).collect();
    if !absent.is_empty() {
        let count = absent.len();
        told.push(format!("left out: {count} of {}, what they need is not in the cache: {}", of.len(), named(&absent)));
    }
    told
}
