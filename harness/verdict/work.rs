//! Work for nothing: steps that ran although nothing that they read had changed, and why make ran them.

use std::collections::{BTreeMap, BTreeSet};

use super::Finding;
use super::compare::{Comparison, finding, in_tree};
use super::guilt::{Fault, Timeline, Timelines, cut, words};
use crate::artifact::record::{BuildRecord, Mode, ScenarioRecord};
use crate::scenario::{Change, FindingName, WhichTree};
use crate::trace::{Content, Kind, Saved, Step, kbuild};

/// How many steps of one kind are named.
const NAMED: usize = 12;
/// How many newer files are named.
const NEWER: usize = 4;

/// What a shell's compound commands begin with (POSIX, Shell Command Language).
const COMPOUND: [&str; 8] = ["{", "(", "!", ":", "case", "for", "if", "while"];

/// A step of a timeline.
type At = (usize, usize);

/// Finds needless steps of incremental builds, and says of steps that a build with nothing changed ran why it did.
pub(super) fn needless<'r>(record: &'r ScenarioRecord, timelines: &Timelines<'r>, comparison: &mut Comparison) {
    for finding in comparison.findings.iter_mut().filter(|finding| finding.name == FindingName::NoopRan) {
        let build = record.builds.iter().find(|build| build.id == finding.build);
        if let Some(timeline) = build.and_then(|build| timelines.up_to(build)) {
            ran_again(&timeline, finding);
        }
    }
    // What was touched on purpose is made again on purpose.
    let touched = |n: usize| record.scenario.edit[n].changes_of().all(|change| change.touch.is_some());
    let meant = |build: &&BuildRecord| build.edit.is_some_and(touched);
    // What an interrupted build had done half is done again by design.
    let whole = |build: &&BuildRecord| build.edit.is_none_or(|n| record.scenario.edit[n].interrupt.is_none());
    let incremental =
        record.builds.iter().filter(|build| build.mode == Mode::Incremental && build.status.ok()).filter(whole);
    for build in incremental.filter(|build| !meant(build)) {
        if let Some(timeline) = timelines.up_to(build) {
            comparison.findings.extend(of_build(record, build, &timeline));
        }
    }
}

/// Whether a step makes something that is not for make's own books.
fn makes(step: &Step) -> bool {
    let book = |path: &str| path.rsplit('/').next().is_some_and(|name| name.starts_with('.') || name.ends_with(".d"));
    step.kind == Kind::Recipe && step.outputs.iter().any(|output| !book(&output.path))
}

/// The step of a build with nothing changed that a finding names.
fn ran_again(timeline: &Timeline<'_>, finding: &mut Finding) {
    let last = timeline.last();
    let Some((_, steps)) = timeline.builds.last() else { return };
    let target = format!("{}/{}", steps.objtree, finding.target);
    let named = |step: &Step| {
        step.label.as_deref() == Some(finding.target.as_str()) || step.outputs.iter().any(|it| *it.path == *target)
    };
    let real: Vec<usize> = (0..steps.steps.len()).filter(|at| makes(&steps.steps[*at])).collect();
    let Some(at) = (0..steps.steps.len()).find(|at| named(&steps.steps[*at])).or(real.first().copied()) else { return };
    let why = why(timeline, (last, at));
    let cost: u64 = real.iter().map(|at| wall(&steps.steps[*at])).sum();
    let wall_ms = timeline.build((last, at)).wall_ms;
    finding.detail.push(format!("it takes {}", share(cost, wall_ms)));
    finding.cost_ms = Some(cost / 1000);
    finding.cause = Some(timeline.cause(Fault::Needless, (last, at), why));
}

fn wall(step: &Step) -> u64 {
    step.ended.saturating_sub(step.began)
}

/// Microseconds as seconds, and as a part of a build. Steps run beside each other: together they can take longer than it.
fn share(micros: u64, build_ms: u64) -> String {
    let millis = micros / 1000;
    let part = (millis * 100).checked_div(build_ms).unwrap_or(0);
    format!(
        "{}.{:02} s of {}.{:02} s ({part} %)",
        millis / 1000,
        millis % 1000 / 10,
        build_ms / 1000,
        build_ms % 1000 / 10
    )
}

/// The needless steps of an incremental build, those of one command in one finding.
fn of_build(record: &ScenarioRecord, build: &BuildRecord, timeline: &Timeline<'_>) -> Vec<Finding> {
    let last = timeline.last();
    let Some((_, steps)) = timeline.builds.last() else { return Vec::new() };
    let always = always(timeline);
    let lost = lost(record, build, &steps.objtree);
    let mut found: BTreeMap<String, Vec<At>> = BTreeMap::new();
    for at in (0..steps.steps.len()).map(|at| (last, at)).filter(|at| makes(timeline.step(*at))) {
        let key = timeline.key(at);
        let Some(earlier) = timeline.runs(&key).iter().rev().find(|run| run.0 < last) else { continue };
        // What is not there has to be made.
        let gone = |path: &str| timeline.was_missing(path, at) || lost.iter().any(|lost| is_below(path, lost));
        let had_to = timeline.step(at).outputs.iter().any(|output| gone(&output.path));
        let told = told_the_same(timeline, *earlier, at) || asked_otherwise(record, build);
        if !always.contains(&key) && !had_to && told && got_the_same(timeline, *earlier, at) {
            found.entry(kind_of(timeline.step(at))).or_default().push(at);
        }
    }
    let one = |(kind, all): (String, Vec<At>)| {
        let first = *all.first()?;
        let cost: u64 = all.iter().map(|at| wall(timeline.step(*at))).sum();
        let plural = if all.len() == 1 { "1 step" } else { &format!("{} steps", all.len()) };
        let what = if all.len() == 1 { "it reads" } else { "they read" };
        let target = |at: &At| {
            let step = timeline.step(*at);
            let told = step.target.clone().or_else(|| step.outputs.first().map(|output| output.path.to_string()));
            let told = told.unwrap_or_else(|| step.name());
            in_tree(&told).to_owned()
        };
        let place = build.edit.map_or(build.id.clone(), |n| record.scenario.edit_name(n));
        let id = |at: &At| format!("{}@{place}:{}", FindingName::RebuildNeedless, target(at));
        let reason = why(timeline, first);
        let named = |at: &At| match why(timeline, *at) {
            other if other != reason => format!("| {} - {other}", timeline.step(*at).name()),
            _ => format!("| {}", timeline.step(*at).name()),
        };
        let names = all.iter().take(NAMED).map(named);
        let more = all.len().saturating_sub(NAMED);
        let more = (more > 0).then(|| format!("| ... and {more} more"));
        Some(Finding {
            summary: format!(
                "`{kind}`: {plural} ran though nothing that {what} had changed: {}",
                share(cost, build.wall_ms)
            ),
            cause: Some(timeline.cause(Fault::Needless, first, reason.clone())),
            cost_ms: Some(cost / 1000),
            detail: if all.len() == 1 { Vec::new() } else { names.chain(more).collect() },
            folded: all.iter().skip(1).map(id).collect(),
            ..finding(record, FindingName::RebuildNeedless, &target(&first), build)
        })
    };
    found.into_iter().filter_map(one).collect()
}

/// What the edit of a build takes away from the object tree: files and directories, as steps name them.
fn lost(record: &ScenarioRecord, build: &BuildRecord, objtree: &str) -> Vec<String> {
    let changes = build.edit.into_iter().flat_map(|n| record.scenario.edit[n].changes_of());
    let deleted = changes.filter(|change| change.tree == Some(WhichTree::Obj) && change.delete.is_some());
    deleted.filter_map(|change| Some(format!("{objtree}/{}", change.file.as_deref()?))).collect()
}

/// Whether a path is another one, or is below it.
fn is_below(path: &str, top: &str) -> bool {
    path.strip_prefix(top).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// What a step does, for all targets: `LD [M]`, or the first program's name; of a shell's compound command what it makes.
fn kind_of(step: &Step) -> String {
    let verb = step.label.as_deref().and_then(|label| label.rsplit_once(' ')).map(|(verb, _)| verb.to_owned());
    let cmd = || step.cmd.as_ref().map(|cmd| cmd.name.clone());
    let first = kbuild::body(&step.command).split_whitespace().next().unwrap_or_default();
    let made = step.target.as_deref().filter(|_| COMPOUND.contains(&first)).and_then(|it| it.rsplit('/').next());
    verb.or_else(cmd).unwrap_or_else(|| cut(made.unwrap_or(first)))
}

/// The steps that run in every build, by key: those of the builds with nothing changed.
fn always(timeline: &Timeline<'_>) -> BTreeSet<String> {
    let noops = timeline.builds.iter().enumerate().filter(|(_, (build, _))| build.mode == Mode::Noop);
    noops
        .flat_map(|(number, (_, steps))| (0..steps.steps.len()).map(move |at| (number, at)))
        .map(|at| timeline.key(at))
        .collect()
}

/// Whether two runs of a step were given the same.
fn got_the_same(timeline: &Timeline<'_>, earlier: At, now: At) -> bool {
    let known = |contents: &[Content]| contents.iter().all(|content| content.sha256.is_some());
    let (a, b) = (timeline.step(earlier), timeline.step(now));
    let digests = |step: &Step| -> BTreeMap<String, Option<String>> {
        let inputs = step.inputs.iter().filter(|input| !input.path.ends_with(".cmd"));
        inputs.map(|input| (input.path.to_string(), input.sha256.as_deref().map(str::to_owned))).collect()
    };
    // Who reads nothing of the trees is after something else: the time, or what make tells it.
    !b.inputs.is_empty()
        && known(&a.inputs)
        && known(&b.inputs)
        && digests(a) == digests(b)
        && timeline.environment(earlier) == timeline.environment(now)
        && timeline.toolchain(earlier) == timeline.toolchain(now)
}

/// Whether two runs of a step had the same command.
fn told_the_same(timeline: &Timeline<'_>, earlier: At, now: At) -> bool {
    timeline.command(earlier) == timeline.command(now)
}

/// Whether nothing but other goals was asked for: a command that is another one for that comes to and fro with them.
fn asked_otherwise(record: &ScenarioRecord, build: &BuildRecord) -> bool {
    let goals = |change: &Change| *change == Change { goals: change.goals.clone(), ..Change::default() };
    build.edit.is_some_and(|n| record.scenario.edit[n].changes_of().all(goals))
}

/// Why make ran a step, in kbuild's words (scripts/Kbuild.include, `why`), as far as the builds show it.
pub(super) fn why(timeline: &Timeline<'_>, at: At) -> String {
    let step = timeline.step(at);
    let key = timeline.key(at);
    let Some(earlier) = timeline.runs(&key).iter().rev().find(|run| **run < at).copied() else {
        return "it had not run before".into();
    };
    let name = step.target.as_deref().and_then(|target| target.rsplit('/').next());
    let saves = step.outputs.iter().any(|output| output.path.ends_with(".cmd"));
    if step.target.as_deref().is_some_and(|target| timeline.was_missing(target, at)) {
        return "due to target missing".into();
    }
    if timeline.command(earlier) != timeline.command(at) {
        return format!("due to command line change: {}", words(&timeline.command(earlier), &timeline.command(at)));
    }
    if let (true, Some(name)) = (saves, name) {
        match step.saved {
            Saved::Missing => return format!("due to missing .cmd file: `.{name}.cmd`"),
            Saved::Unasked => return format!("due to `{name}` not in $(targets)"),
            Saved::Read(_) => {}
        }
    }
    let made_now =
        |input: &&Content| timeline.writer(&input.path, Some(at)).is_some_and(|maker| maker.0 == at.0 && maker != at);
    let before = &timeline.step(earlier).inputs;
    let other = |input: &&Content| before.iter().all(|old| old.path != input.path || old.sha256 != input.sha256);
    let own = |path: &str| step.target.as_deref() == Some(path) || path.ends_with(".cmd");
    let mut newer: Vec<&str> = step
        .inputs
        .iter()
        .filter(|input| !own(&input.path) && (made_now(input) || other(input)))
        .map(|it| &*it.path)
        .collect();
    let mut reader = "";
    if newer.is_empty()
        && let Some(line) = of_the_same_recipe(timeline, at)
    {
        // What other lines of the recipe read is a prerequisite of all of them.
        newer = line.inputs.iter().filter(|input| !own(&input.path) && made_now(input)).map(|it| &*it.path).collect();
        reader = ", which another line of the recipe reads";
    }
    if newer.is_empty() {
        let every = always(timeline).contains(&key);
        return if every { "it runs in every build" } else { "a prerequisite was newer, none that it reads" }.into();
    }
    let more = newer.len().saturating_sub(NEWER);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let named: Vec<String> = newer.iter().take(NEWER).map(|path| format!("`{path}`")).collect();
    format!("due to newer prerequisites: {}{more}{reader}", named.join(", "))
}

/// A later step of the same target.
fn of_the_same_recipe<'r>(timeline: &Timeline<'r>, at: At) -> Option<&'r Step> {
    let step = timeline.step(at);
    let same = |other: &&Step| other.target == step.target && other.within == step.within && other.began >= step.ended;
    step.target.as_ref()?;
    timeline.builds[at.0].1.steps.iter().find(same)
}
