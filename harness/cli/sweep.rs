//! `sweep`: interrupts a build at each of its steps, one after the other, and looks at what the next build makes of it.
//!
//! ```text
//! steps       clean   the edit: incremental                                  → the places; and the clean build to compare with
//! parts-N     clean   the edit: interrupted, incremental   back   the edit: interrupted, incremental   back …
//! confirm     clean   the edit: interrupted, incremental   and the clean build of the same sources: what counts, with its cause
//! ```
//!
//! Each line is a run of scenarios like any other, made of the one that is swept. A tree in which a build went wrong goes on if
//! taking the edit back mends it; if not, what was to come in it is done in a fresh one.

use std::path::PathBuf;
use std::sync::atomic::Ordering;

use clap::Args;

use super::load::Ready;
use super::progress::note;
use super::stages::{First, Stages, chosen, reason, word};
use super::traced::is_named;
use super::{CliError, HowArgs, Session};
use crate::artifact::record::{BuildRecord, Mode, ScenarioRecord};
use crate::report::ScenarioReport;
use crate::runner::Parts;
use crate::scenario::{Change, Edit, Expect, Fault, Interrupt, Moment, Signal, Tier, Whom};
use crate::verdict::random::mixed;
use crate::verdict::sweep::{LISTED, Outcome, Point, Sweep, Ways, differing, outcome, points, recipes};
use crate::verdict::{ATTENTION, Finding, Standing, Verdict, is_ignored};

/// What a build is swept after where the scenario has no edits.
const FROM_CLEAN: &str = "make-clean";
/// How many interruptions one tree gets at most. What comes after one that went wrong is done again in another tree, which
/// takes a clean build: cheap with the built-in trees, dear with a whole kernel.
const MOST_IN_TREE: usize = 12;
const MOST_IN_KERNEL: usize = 60;
/// How often what was left in trees that went wrong is begun anew.
const ROUNDS: usize = 400;

const AFTER_HELP: &str = "\
Makes the build after the scenario's first edit (--edit: another one; without
edits: after `make clean`) once under the tracer, and then once more for each of
its steps, interrupted there: before the step does anything, as it changes its
first files, and when it has ended and make does not know. After each
interruption make is run again, and what it gives has to be what a clean build
gives. What is not is confirmed in a run of its own, which names the cause.

With --fault nothing is killed: writes fail, of a step and of what comes after
it. ENOSPC is a disk that is full until the build has ended, EIO one write
error, EPIPE an output that nobody reads any more (`make 2>&1 | head`).

  kbuild-repro sweep scenarios/resume/kill-window.toml
  kbuild-repro sweep graft/noop@7.3 --step 'BTF*' --signal KILL,TERM
  kbuild-repro sweep graft/noop@7.3 --fault ENOSPC,EIO
  kbuild-repro sweep scenarios/resume/clean.toml --edit terminated --list
  kbuild-repro sweep tinyconfig.toml --limit 50 --seed 7

The last is a sample, the same each time.";

/// What to sweep.
#[derive(Debug, Clone, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct SweepArgs {
    /// Scenario files, directories of them, or patterns of ids
    #[arg(value_name = "SCENARIO", required = true)]
    what: Vec<String>,
    /// The edit whose build is swept, by its name; those before it are made before
    #[arg(long, value_name = "EDIT")]
    edit: Option<String>,
    /// Only steps like this: a pattern of label, target, `cmd_X` or command (`*` is any run of characters)
    #[arg(long, value_name = "PATTERN")]
    step: Vec<String>,
    /// Also steps that change no file, as kbuild's checks of generated files that are up to date
    #[arg(long)]
    all_steps: bool,
    /// When a step is interrupted
    #[arg(long, value_delimiter = ',', value_parser = word::<Moment>, default_value = "before,during,after")]
    when: Vec<Moment>,
    /// By which signals; KILL where neither this nor --fault is given
    #[arg(long, value_delimiter = ',', value_parser = word::<Signal>)]
    signal: Vec<Signal>,
    /// By writes that fail: ENOSPC, EIO, EPIPE
    #[arg(long, value_delimiter = ',', value_parser = word::<Fault>)]
    fault: Vec<Fault>,
    /// How many of a step's writes are the first to fail, one after the other
    #[arg(long, value_name = "N", default_value = "2", requires = "fault", value_parser = clap::value_parser!(u32).range(1..))]
    writes: u32,
    /// Who gets them
    #[arg(long, value_delimiter = ',', value_parser = word::<Whom>, default_value = "group")]
    to: Vec<Whom>,
    /// At how many of its changes of files a step is interrupted, from the first on
    #[arg(long, value_name = "N", default_value = "2", value_parser = clap::value_parser!(u32).range(1..))]
    changes: u32,
    /// The most interruptions: a sample of all, chosen by --seed
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,
    /// By which the sample is chosen
    #[arg(long, value_name = "N", default_value = "0", requires = "limit", allow_negative_numbers = true)]
    seed: u64,
    /// The most that are confirmed, one of each step and what it spoils
    #[arg(long, value_name = "N", default_value = "8")]
    confirmed: usize,
    /// List the interruptions and stop there
    #[arg(long)]
    list: bool,
    /// The directory of scenarios; by default `scenarios` here or in a directory above
    #[arg(long, value_name = "DIR", env = "KBUILD_REPRO_SCENARIOS")]
    scenarios: Option<PathBuf>,
    #[command(flatten)]
    how: HowArgs,
}

/// What every part is run with.
struct Whole<'a> {
    args: &'a SweepArgs,
    stages: Stages<'a>,
}

/// The sweep of one scenario.
struct Work {
    /// Where its report is.
    at: usize,
    /// The scenario with the edits before the one that is swept, and no expectations.
    ready: Ready,
    edit: Edit,
    oracle: BuildRecord,
    sweep: Sweep,
    /// Numbers of the interruptions that are still to be tried.
    open: Vec<usize>,
    /// Why a part came to no end.
    broken: Option<(Verdict, Option<String>, Option<String>)>,
    seconds: f64,
}

pub(super) fn sweep(args: &SweepArgs, session: &mut Session<'_>) -> Result<u8, CliError> {
    if args.how.no_trace {
        return Err(CliError::usage("what interrupts builds is their tracer", "leave `--no-trace` away"));
    }
    let (host, _, ready) = chosen(&args.what, args.scenarios.as_deref(), &args.how)?;
    let ready: Result<Vec<(Ready, Edit)>, CliError> =
        ready.into_iter().map(|ready| split(ready, args.edit.as_deref())).collect();
    let ready = ready?;
    let stages = Stages::new(host, &args.how, args.scenarios.as_deref())?;
    let whole = Whole { args, stages };
    let first = ready.iter().map(|(ready, edit)| with(ready, vec![edit.clone()], "")).collect();
    let parts = Parts { experiment: false, noops: false, oracles: true };
    let again = |(ready, _): &(Ready, Edit)| {
        let words: Vec<String> = std::iter::once(ready.found.name.clone()).chain(options(args)).collect();
        format!("kbuild-repro sweep {}", crate::runner::pasted(&words))
    };
    let first = First {
        name: "steps",
        done: "its steps are known",
        parts,
        scenarios: first,
        of: |(ready, _): &(Ready, Edit)| ready,
    };
    let mut known =
        |at: usize, (ready, edit): &(Ready, Edit), scenario: &ScenarioReport| begin(&whole, at, ready, edit, scenario);
    let (mut report, mut work) = whole.stages.begin(first, &ready, &again, &mut known, session)?;
    let mut found = Vec::new();
    if !args.list {
        for round in 1..=ROUNDS {
            if !interrupt(&whole, round, &mut work, session)? {
                break;
            }
        }
        found = confirm(&whole, &work, session)?;
    }
    let interrupted = session.cancel.load(Ordering::Relaxed);
    for work in work {
        conclude(args, work, interrupted, &found, &mut report.scenarios);
    }
    whole.stages.finish(report, session)
}

/// The options by which it sweeps the same another time.
fn options(args: &SweepArgs) -> Vec<String> {
    let mut words = Vec::new();
    let mut say = |name: &str, value: String| words.extend([format!("--{name}"), value]);
    args.edit.iter().for_each(|edit| say("edit", edit.clone()));
    args.step.iter().for_each(|step| say("step", step.clone()));
    let lists = [("when", named(&args.when)), ("signal", named(&args.signal)), ("fault", named(&args.fault))];
    lists
        .into_iter()
        .chain([("to", named(&args.to))])
        .filter(|(_, list)| !list.is_empty())
        .for_each(|(n, l)| say(n, l));
    say("changes", args.changes.to_string());
    if !args.fault.is_empty() {
        say("writes", args.writes.to_string());
    }
    if let Some(limit) = args.limit {
        say("limit", limit.to_string());
        say("seed", args.seed.to_string());
    }
    words.extend(args.all_steps.then(|| "--all-steps".to_owned()));
    words
}

/// Words of a scenario as a list on the command line.
fn named<T: serde::Serialize>(list: &[T]) -> String {
    let word = |one: &T| serde_json::to_value(one).ok().and_then(|word| word.as_str().map(str::to_owned));
    list.iter().filter_map(word).collect::<Vec<_>>().join(",")
}

/// The scenario up to the edit whose build is swept, and that edit.
fn split(mut ready: Ready, wanted: Option<&str>) -> Result<(Ready, Edit), CliError> {
    let scenario = &mut ready.loaded.scenario;
    let names: Vec<String> = (0..scenario.edit.len()).map(|n| scenario.edit_name(n)).collect();
    let at = match wanted {
        Some(wanted) => names.iter().position(|name| name == wanted).ok_or_else(|| {
            let hint = if names.is_empty() { "it has none".into() } else { format!("its edits: {}", names.join(", ")) };
            CliError::usage(format!("`{}` has no edit `{wanted}`", ready.found.id), hint)
        })?,
        None => 0,
    };
    let edit = match scenario.edit.get(at) {
        Some(edit) => {
            let (change, also) = (edit.change.clone(), edit.also.clone());
            Edit { id: Some(names[at].clone()), title: edit.title.clone(), change, also, ..Edit::default() }
        }
        None => {
            let change = Change { clean: Some("clean".into()), ..Change::default() };
            Edit { id: Some(FROM_CLEAN.into()), change, ..Edit::default() }
        }
    };
    scenario.edit.truncate(at);
    for (name, edit) in names.iter().zip(&mut scenario.edit) {
        let (change, also) = (edit.change.clone(), edit.also.clone());
        *edit = Edit { id: Some(name.clone()), change, also, ..Edit::default() };
    }
    scenario.experiment = None;
    scenario.expect = Expect::default();
    scenario.snapshots = None;
    scenario.compare.oracle = None;
    Ok((ready, edit))
}

fn with(ready: &Ready, edits: Vec<Edit>, suffix: &str) -> Ready {
    let mut ready = ready.clone();
    ready.found.id.push_str(suffix);
    ready.loaded.scenario.edit.extend(edits);
    ready
}

/// The interruptions of a scenario that was built; or why there can be none.
fn begin(
    whole: &Whole<'_>,
    at: usize,
    ready: &Ready,
    edit: &Edit,
    scenario: &ScenarioReport,
) -> Result<Result<Work, (Verdict, String)>, CliError> {
    let nothing = |why: String| Ok(Err((Verdict::Inconclusive, why)));
    let args = whole.args;
    let record = whole.stages.record("steps", &ready.found.id)?;
    let name = edit.id.clone().unwrap_or_default();
    let id = format!("{name}/incremental");
    let build = |id: &str| record.builds.iter().find(|build| build.id == id && build.status.ok());
    let (Some(whole_build), Some(oracle)) = (build(&id), build(&format!("{name}/oracle"))) else {
        return nothing(format!("the build after `{name}` does not work: {}", reason(scenario)));
    };
    let Some(steps) = record.traces.get(&id) else {
        return nothing("the build was not traced; see `kbuild-repro doctor`".into());
    };
    let ignore = &ready.loaded.scenario.compare.ignore;
    if oracle.artifacts.iter().all(|artifact| is_ignored(ignore, &artifact.path)) {
        return nothing("no artifact was compared: `[compare]` names none that the build makes".into());
    }
    // What leaves everything as it is cannot be left half done.
    let leaves = |step: &crate::trace::Step| !step.outputs.is_empty() || !step.removed.is_empty();
    let named = |step: &crate::trace::Step| args.step.is_empty() || is_named(&args.step, step);
    let wanted = |step: &crate::trace::Step| named(step) && (args.all_steps || leaves(step));
    let signals = match args.signal.as_slice() {
        [] if args.fault.is_empty() => vec![Signal::default()],
        given => given.to_vec(),
    };
    let ways = Ways {
        when: args.when.clone(),
        signals,
        to: args.to.clone(),
        changes: args.changes,
        faults: args.fault.clone(),
        writes: args.writes,
    };
    let all = points(steps, &ways, &wanted);
    if all.is_empty() {
        let such = if args.step.is_empty() { "" } else { "such " };
        return nothing(format!("the build after `{name}` runs no {such}step that changes a file"));
    }
    let chosen = match args.limit {
        Some(limit) => sample(all, limit as usize, args.seed),
        None => all,
    };
    let outcome = Outcome::Untried { why: LISTED.into() };
    let points = chosen.into_iter().map(|interrupt| Point { interrupt, outcome: outcome.clone() }).collect();
    let ignore = &ready.loaded.scenario.compare.ignore;
    let sweep = Sweep {
        edit: name,
        steps: recipes(steps, wanted).count(),
        points,
        already: differing(whole_build, oracle, ignore).into_iter().collect(),
    };
    let open = (0..sweep.points.len()).collect();
    if !args.how.output.quiet {
        note(&format!("{}: {} interruptions at {} steps", ready.found.id, sweep.points.len(), sweep.steps));
    }
    let (oracle, ready, edit) = (oracle.clone(), ready.clone(), edit.clone());
    Ok(Ok(Work { at, ready, edit, oracle, sweep, open, broken: None, seconds: 0.0 }))
}

/// So many of all, in their order; the same for the same seed.
fn sample(all: Vec<Interrupt>, limit: usize, seed: u64) -> Vec<Interrupt> {
    let mut order: Vec<(u64, usize)> = (0..all.len()).map(|at| (mixed(seed, at as u64), at)).collect();
    order.sort_unstable();
    let mut chosen: Vec<usize> = order.into_iter().take(limit).map(|(_, at)| at).collect();
    chosen.sort_unstable();
    chosen.into_iter().map(|at| all[at].clone()).collect()
}

impl Work {
    /// Whether the edit does the same each time, with nothing to take back.
    fn repeats(&self) -> bool {
        let again = |change: &Change| change.touch.is_some() || change.clean.is_some() || change.tree.is_some();
        self.edit.changes_of().all(again)
    }

    /// The edit with an interruption, under a name of its own, and what takes it back.
    fn tries(&self, number: usize) -> Vec<Edit> {
        let name = format!("at-{number}");
        let interrupt = Some(self.sweep.points[number].interrupt.clone());
        let edit = Edit { id: Some(name.clone()), interrupt, ..self.edit.clone() };
        let change = Change { undo: Some(name.clone()), ..Change::default() };
        let back = Edit { id: Some(format!("back-{number}")), change, ..Edit::default() };
        if self.repeats() { vec![edit] } else { vec![edit, back] }
    }

    /// Whether a tree that went wrong is, with the edit taken back, what it was before: all of its files but kbuild's books.
    fn is_mended(&self, record: &ScenarioRecord, number: usize) -> bool {
        let back = record.builds.iter().find(|build| build.id == format!("back-{number}/incremental"));
        let before = record.builds.iter().take_while(|build| build.mode != Mode::Interrupted).last();
        back.zip(before).is_some_and(|(back, before)| {
            let ignore = &self.ready.loaded.scenario.compare.ignore;
            back.status.ok() && differing(back, before, ignore).is_empty() && back.files == before.files
        })
    }
}

/// Makes interruptions in as many trees as there are processors. Says whether there is more to do.
fn interrupt(whole: &Whole<'_>, round: usize, work: &mut [Work], session: &mut Session<'_>) -> Result<bool, CliError> {
    if session.cancel.load(Ordering::Relaxed) {
        return Ok(false);
    }
    let mut taken: Vec<(usize, Vec<usize>)> = Vec::new();
    let mut ready = Vec::new();
    for (at, work) in work.iter_mut().enumerate().filter(|(_, work)| work.broken.is_none()) {
        let most = match work.ready.loaded.scenario.tier() {
            Tier::Quick | Tier::Graft => MOST_IN_TREE,
            Tier::Kernel | Tier::Long => MOST_IN_KERNEL,
        };
        let each = work.open.len().div_ceil(whole.stages.host.cpus.max(1)).clamp(1, most);
        let now: Vec<Vec<usize>> = work.open.chunks(each).map(<[usize]>::to_vec).collect();
        work.open.clear();
        for (tree, numbers) in now.into_iter().enumerate() {
            let edits = numbers.iter().flat_map(|number| work.tries(*number)).collect();
            ready.push(with(&work.ready, edits, &format!("-{}", tree + 1)));
            taken.push((at, numbers));
        }
    }
    if ready.is_empty() {
        return Ok(false);
    }
    let name = format!("parts-{round}");
    let ids: Vec<String> = ready.iter().map(|ready| ready.found.id.clone()).collect();
    let parts = Parts { experiment: false, noops: false, oracles: false };
    let report = whole.stages.run(&name, Some("interrupted at some steps"), parts, ready, session)?;
    for ((at, numbers), id) in taken.into_iter().zip(ids) {
        let work = &mut work[at];
        let Some(scenario) = report.scenarios.iter().find(|scenario| scenario.id == id) else {
            work.open.extend(numbers);
            continue;
        };
        work.seconds += scenario.seconds;
        let record = whole.stages.record(&name, &id)?;
        let build = |id: String| record.builds.iter().find(|build| build.id == id);
        let mut numbers = numbers.into_iter();
        let mut done = 0;
        for number in numbers.by_ref() {
            let both = build(format!("at-{number}/interrupted")).zip(build(format!("at-{number}/incremental")));
            let Some((interrupted, next)) = both else {
                work.open.push(number);
                break;
            };
            let ignore = &work.ready.loaded.scenario.compare.ignore;
            let came = outcome(interrupted, next, &work.oracle, ignore, &work.sweep.already);
            let fine = matches!(came, Outcome::Resumed | Outcome::Unreached);
            work.sweep.points[number].outcome = came;
            done += 1;
            if !fine && !work.is_mended(&record, number) {
                break;
            }
        }
        work.open.extend(numbers);
        if done == 0 {
            // It will not go better the next time.
            work.broken = Some((scenario.verdict, scenario.reason.clone(), scenario.hint.clone()));
        }
    }
    Ok(work.iter().any(|work| !work.open.is_empty() && work.broken.is_none()))
}

/// Makes one of each kind of what went wrong once more, with all that a run does.
fn confirm(
    whole: &Whole<'_>,
    work: &[Work],
    session: &mut Session<'_>,
) -> Result<Vec<(usize, ScenarioReport)>, CliError> {
    let mut ready = Vec::new();
    let mut of = Vec::new();
    for work in work {
        let mut seen: Vec<(&str, &Outcome)> = Vec::new();
        for point in &work.sweep.points {
            let kind = (point.interrupt.step.as_str(), &point.outcome);
            if !point.outcome.is_wrong() || seen.contains(&kind) || seen.len() == whole.args.confirmed {
                continue;
            }
            seen.push(kind);
            let edit = Edit { interrupt: Some(point.interrupt.clone()), ..work.edit.clone() };
            ready.push(with(&work.ready, vec![edit], &format!("-{}", seen.len())));
            of.push((work.at, ready.last().map_or(String::new(), |ready| ready.found.id.clone())));
        }
    }
    if ready.is_empty() || session.cancel.load(Ordering::Relaxed) {
        return Ok(Vec::new());
    }
    let parts = Parts { experiment: false, noops: false, oracles: true };
    let report = whole.stages.run("confirm", None, parts, ready, session)?;
    let found = report.scenarios.into_iter().filter_map(|scenario| {
        let (at, _) = of.iter().find(|(_, id)| *id == scenario.id)?;
        Some((*at, scenario))
    });
    Ok(found.collect())
}

/// Puts what came of a sweep into the report of its scenario.
fn conclude(
    args: &SweepArgs,
    mut work: Work,
    interrupted: bool,
    found: &[(usize, ScenarioReport)],
    scenarios: &mut [ScenarioReport],
) {
    let Some(report) = scenarios.get_mut(work.at) else { return };
    let why = match &work.broken {
        Some((verdict, reason, _)) => reason.clone().unwrap_or_else(|| verdict.name().to_owned()),
        None if args.list => LISTED.into(),
        None => "interrupted before it".into(),
    };
    for number in work.open {
        work.sweep.points[number].outcome = Outcome::Untried { why: why.clone() };
    }
    (report.reason, report.hint, report.findings, report.notes) = (None, None, Vec::new(), Vec::new());
    let own = || found.iter().filter(|(at, _)| *at == work.at).map(|(_, scenario)| scenario);
    for scenario in own() {
        let told = scenario.findings.iter().filter(|it| it.standing != Standing::Latent).cloned();
        // What is beside a finding is beside the record of the run that confirmed it.
        report.findings.extend(told.map(|finding| Finding { confirmed: None, ..finding }));
        report.seconds += scenario.seconds;
    }
    let mut wrong = work.sweep.points.iter().filter(|it| it.outcome.is_wrong());
    if let Some(first) = wrong.clone().next() {
        report.notes.push(format!("to keep it, under the edit: {}", first.interrupt.toml()));
    }
    let some = wrong.next().is_some();
    let untried = work.sweep.count(|it| matches!(it, Outcome::Untried { .. }));
    let compared = work.sweep.count(|it| !matches!(it, Outcome::Untried { .. } | Outcome::Unreached)) as u64;
    let tolerated = own().next().is_some() && own().all(|scenario| scenario.verdict == Verdict::Passed);
    if some && tolerated && report.findings.is_empty() {
        report.notes.push(format!("{ATTENTION}what went wrong did not once more: it depends on the order of jobs"));
    }
    report.verdict = match work.broken {
        Some((Verdict::Passed | Verdict::Failed, ..)) => Verdict::HarnessError,
        Some((verdict, reason, hint)) => {
            (report.reason, report.hint) = (reason, hint);
            verdict
        }
        None if interrupted => Verdict::Interrupted,
        None if some && (!tolerated || report.findings.is_empty()) => Verdict::Failed,
        None if untried > 0 && !args.list => {
            report.reason = Some(format!("{untried} of {} interruptions could not be tried", work.sweep.points.len()));
            report.hint = Some("give it more room (--scratch, `limits.disk`) or time (`limits.timeout`)".into());
            Verdict::Inconclusive
        }
        None if compared == 0 && !args.list => {
            report.reason = Some("no interruption was come to".into());
            report.hint =
                Some("fewer jobs have one order of steps: --jobs 1; --list shows what would be interrupted".into());
            Verdict::Inconclusive
        }
        None => Verdict::Passed,
    };
    report.compared = compared;
    report.seconds += work.seconds;
    report.sweep = Some(work.sweep);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_the_same_for_the_same_seed_and_in_order() {
        let all: Vec<Interrupt> =
            (0..100).map(|n| Interrupt { step: format!("{n:03}"), ..Interrupt::default() }).collect();
        let one = sample(all.clone(), 10, 1);
        assert_eq!((one.len(), &one), (10, &sample(all.clone(), 10, 1)));
        assert!(one.is_sorted_by(|a, b| a.step < b.step));
        assert_ne!(one, sample(all.clone(), 10, 2));
        assert_eq!(sample(all.clone(), 1000, 3), all);
    }
}
