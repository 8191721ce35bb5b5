//! `audit`: what steps read and make does not know of, confirmed by builds.
//!
//! ```text
//! reads     clean  no-op  no-op   then a make with nothing to do that prints its data base     → candidates
//! edits     clean  edit 1: incremental   edit 2: incremental …                                 → suspects
//! confirm   clean  edit 1: incremental …   and after each the clean build of the same sources  → what counts
//! ```
//!
//! Each line is a run of scenarios like any other, made of the one that is audited. The clean builds, which cost most, are
//! made only for edits after which a step was not run; and they come with a second incremental build.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::BufReader;
use std::path::PathBuf;
use std::sync::atomic::Ordering;

use clap::Args;

use super::load::{self, Ready};
use super::progress::note;
use super::stages::{First, Stages, chosen, reason};
use super::traced::is_named;
use super::{CliError, HowArgs, Session};
use crate::artifact::database::Database;
use crate::artifact::record::ScenarioRecord;
use crate::artifact::steps::Steps;
use crate::report::ScenarioReport;
use crate::runner::Parts;
use crate::scenario::{Change, Class, Edit, Expect};
use crate::trace::Root;
use crate::tree::{self, FileState, TreePlan};
use crate::verdict::audit::{self, Audit, Ground, Outcome, Purpose, forms};
use crate::verdict::{ATTENTION, Standing, Verdict};

/// The edit by which makes are asked for their data bases.
const DATABASE: &str = "data-base";
/// How often edits are tried anew after one of them broke the build, or changed nothing.
const ROUNDS: usize = 8;

const AFTER_HELP: &str = "\
Builds the scenario's tree once under the tracer and asks make for its data base. What a step read and its
target does not depend on is a candidate. Each candidate is then edited (a comment is added, or to a file
that is generated an unused constant to a source of it): it counts, as `dep.missing`, if the build after the
edit did not run the step and a clean build has it read the new content.

Not followed: files of the toolchain, a configuration in one file, what a prepared state brings along
(--host-tools), names that are looked up in vain, directories that are listed.

  kbuild-repro audit scenarios/headers/missing-dep.toml
  kbuild-repro audit graft/noop@6.12 --list            candidates alone, without edits
  kbuild-repro audit graft/noop@6.12 --step 'LD*' --step cmd_modpost
  kbuild-repro audit tinyconfig.toml --limit 20 --format json";

/// What to audit.
#[derive(Debug, Clone, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct AuditArgs {
    /// Scenario files, directories of them, or patterns of ids; their trees are audited, not their edits
    #[arg(value_name = "SCENARIO", required = true)]
    what: Vec<String>,
    /// The most files of one scenario that are edited to confirm candidates; what is left out is said
    #[arg(long, value_name = "N", default_value = "40")]
    limit: usize,
    /// Only steps like this: a pattern of label, target, `cmd_X` or command (`*` is any run of characters)
    #[arg(long, value_name = "PATTERN")]
    step: Vec<String>,
    /// Find candidates and stop there: none of them is proven
    #[arg(long)]
    list: bool,
    /// Of a graft also audit what is prepared once and kept: configuration and host tools. Each clean build then starts
    /// from nothing
    #[arg(long)]
    host_tools: bool,
    /// The directory of scenarios; by default `scenarios` here or in a directory above
    #[arg(long, value_name = "DIR", env = "KBUILD_REPRO_SCENARIOS")]
    scenarios: Option<PathBuf>,
    #[command(flatten)]
    how: HowArgs,
}

/// What every part is run with.
struct Whole<'a> {
    args: &'a AuditArgs,
    stages: Stages<'a>,
}

/// One edit of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Trial {
    /// The file, below the source tree.
    source: String,
    purpose: Purpose,
    /// Which of the forms it takes.
    form: usize,
    /// By which the edit is called.
    number: usize,
    /// The candidates that it is for.
    candidates: Vec<usize>,
}

impl Trial {
    fn name(&self) -> String {
        format!("audit-{}", self.number)
    }
}

/// The audit of one scenario.
struct Work {
    /// Where its report is.
    at: usize,
    /// The scenario without edits and expectations.
    ready: Ready,
    plan: TreePlan,
    record: ScenarioRecord,
    clean: Steps,
    audit: Audit,
    /// What is to be tried.
    open: Vec<Trial>,
    /// What was tried and is to be confirmed.
    suspects: Vec<Trial>,
    /// The last number of an edit.
    number: usize,
    /// Names of the edits that showed a candidate.
    shown: BTreeMap<usize, String>,
    /// Why a run of it came to no end: verdict, reason, hint.
    broken: Option<(Verdict, Option<String>, Option<String>)>,
    seconds: f64,
}

pub(super) fn audit(args: &AuditArgs, session: &mut Session<'_>) -> Result<u8, CliError> {
    if args.how.no_trace {
        return Err(CliError::usage("an audit without traces has nothing to look at", "leave `--no-trace` away"));
    }
    let (host, sources, ready) = chosen(&args.what, args.scenarios.as_deref(), &args.how)?;
    let ready: Vec<Ready> = ready.into_iter().map(|ready| plain(ready, args.host_tools)).collect();
    let stages = Stages::new(host, &args.how, args.scenarios.as_deref())?;
    let whole = Whole { args, stages };
    let first = First {
        name: "reads",
        done: "what its steps read is known",
        parts: Parts { experiment: false, oracles: false, ..Parts::ALL },
        scenarios: ready.iter().map(asking).collect(),
        of: |ready| ready,
    };
    let again = |ready: &Ready| {
        let steps = args.step.iter().flat_map(|step| ["--step".to_owned(), step.clone()]);
        let words: Vec<String> = std::iter::once(ready.found.name.clone()).chain(steps).collect();
        format!("kbuild-repro audit {}", crate::runner::pasted(&words))
    };
    let mut known = |at: usize, ready: &Ready, scenario: &ScenarioReport| begin(&whole, at, ready, &sources, scenario);
    let (mut report, mut work) = whole.stages.begin(first, &ready, &again, &mut known, session)?;
    if !args.list {
        for round in 1..=ROUNDS {
            if !try_edits(&whole, round, &mut work, session)? {
                break;
            }
        }
        confirm(&whole, &mut work, session)?;
    }
    let interrupted = session.cancel.load(Ordering::Relaxed);
    for work in work {
        conclude(args, work, interrupted, &mut report.scenarios);
    }
    whole.stages.finish(report, session)
}

/// The scenario without what is no part of its tree and how it is built.
fn plain(mut ready: Ready, host_tools: bool) -> Ready {
    let scenario = &mut ready.loaded.scenario;
    scenario.edit.clear();
    scenario.experiment = None;
    scenario.expect = Expect::default();
    scenario.snapshots = None;
    scenario.compare.oracle = None;
    if host_tools && scenario.is_graft() {
        scenario.tree.prepared = Some(false);
    }
    ready
}

fn with(ready: &Ready, edit: Vec<Edit>) -> Ready {
    let mut ready = ready.clone();
    ready.loaded.scenario.edit = edit;
    ready
}

/// The same, with a make that prints its data base after the clean build and its no-ops. It is told by the environment, by
/// which it reaches every make below; and one job, so that no two print at once. No scenario may say so (`check`): this one is
/// not read from a file.
fn asking(ready: &Ready) -> Ready {
    let env = BTreeMap::from([("GNUMAKEFLAGS".to_owned(), "-p".to_owned())]);
    let change = Change { env, jobs: Some(1), ..Change::default() };
    with(ready, vec![Edit { id: Some(DATABASE.into()), change, ..Edit::default() }])
}

/// Candidates of a scenario that was built; or why there can be none.
fn begin(
    whole: &Whole<'_>,
    at: usize,
    ready: &Ready,
    sources: &crate::tree::source::Sources,
    scenario: &ScenarioReport,
) -> Result<Result<Work, (Verdict, String)>, CliError> {
    let nothing = |why: String| Ok(Err((Verdict::Inconclusive, why)));
    let args = whole.args;
    let dir = whole.stages.dir.join("reads").join(&ready.found.id);
    let mut record = whole.stages.record("reads", &ready.found.id)?;
    let build = |id: &str| record.builds.iter().find(|build| build.id == id);
    let Some(clean) = build("control/clean").filter(|build| build.status.ok()) else {
        return nothing(reason(scenario));
    };
    let Some(asked) = build(&format!("{DATABASE}/incremental")).filter(|build| build.status.ok()) else {
        return nothing("a make that prints its data base fails".into());
    };
    let log = dir.join(&asked.log);
    let why = clean.untraced.clone();
    let mut traces = std::mem::take(&mut record.traces);
    let Some(clean) = traces.remove("control/clean") else {
        let why = why.map_or_else(|| "this host cannot trace it".to_owned(), |why| format!("it was not traced: {why}"));
        return nothing(format!("{why}; see `kbuild-repro doctor`"));
    };
    let roots: Vec<Root> = clean.roots.iter().map(|(dir, name)| Root { dir: dir.into(), name: name.clone() }).collect();
    let read = File::open(&log).and_then(|file| Database::read(BufReader::new(file), &roots));
    let database = read.map_err(|error| CliError::harness(format!("cannot read `{}`: {error}", log.display())))?;
    if database.makes == 0 {
        return nothing("make printed no data base: it is not GNU make, or older than 4.0".into());
    }
    let noops = traces.iter().filter(|(id, _)| id.starts_with("control/noop")).map(|(_, steps)| steps).collect();
    let goals = 1 + ready.loaded.scenario.make.then.len();
    let ground = Ground { clean: &clean, goals, noops, database: &database };
    let audit = ground.audit(&|step| args.step.is_empty() || is_named(&args.step, step));
    if audit.counts.steps == 0 {
        return nothing(match args.step.as_slice() {
            [] => "no step of the build leaves anything".into(),
            _ => "no step of the build is like that; `trace --format steps` lists them".into(),
        });
    }
    let hand = match load::at_hand(ready, sources) {
        Ok(hand) => hand,
        Err(_) => return nothing("its sources are gone".into()),
    };
    let beside = load::beside(&ready.found);
    let loaded = &ready.loaded;
    let plan = tree::plan(&loaded.scenario, &loaded.document, hand.lower.as_ref(), &beside);
    let plan = plan.map_err(CliError::Scenario)?;
    drop(hand);
    let mut work = Work {
        at,
        ready: ready.clone(),
        plan,
        record,
        clean,
        audit,
        open: Vec::new(),
        suspects: Vec::new(),
        number: 0,
        shown: BTreeMap::new(),
        broken: None,
        seconds: 0.0,
    };
    for candidate in 0..work.audit.candidates.len() {
        work.open(if args.list { usize::MAX } else { args.limit }, candidate, 0);
    }
    if args.list {
        work.untried("candidates are listed alone");
    } else if !args.how.output.quiet {
        let (candidates, edits) = (work.audit.candidates.len(), work.open.len());
        note(&format!("{}: {candidates} candidates, by edits of {edits} files", ready.found.id));
    }
    Ok(Ok(work))
}

impl Work {
    /// Says of the candidates that were not tried why.
    fn untried(&mut self, why: &str) {
        for trial in std::mem::take(&mut self.open).into_iter().chain(std::mem::take(&mut self.suspects)) {
            self.set(&trial.candidates, &Outcome::Untried { why: why.to_owned() });
        }
    }

    fn set(&mut self, candidates: &[usize], outcome: &Outcome) {
        for candidate in candidates {
            self.audit.candidates[*candidate].outcome = outcome.clone();
        }
    }

    /// Has a candidate tried by its `route`-th source, together with others that are tried by the same.
    fn open(&mut self, limit: usize, candidate: usize, route: usize) {
        let it = &self.audit.candidates[candidate];
        let purpose = if it.is_made() { Purpose::Changed } else { Purpose::Touched };
        let Some(source) = it.sources.get(route).cloned() else {
            if route == 0 {
                let why = "no source is known whose edit changes it, and nothing else that the step depends on";
                self.set(&[candidate], &Outcome::Untried { why: why.into() });
            }
            return;
        };
        let same = |trial: &&mut Trial| trial.source == source && trial.purpose == purpose;
        if let Some(trial) = self.open.iter_mut().find(same) {
            trial.candidates.push(candidate);
        } else if self.number >= limit {
            let why = format!("left out by --limit {limit}");
            self.set(&[candidate], &Outcome::Untried { why });
        } else {
            self.number += 1;
            self.open.push(Trial { source, purpose, form: 0, number: self.number, candidates: vec![candidate] });
        }
    }

    /// The edit of a trial; or why there is none.
    fn edit(&self, trial: &Trial, lower: &dyn tree::Lower) -> Result<Edit, String> {
        let read = || lower.read(&trial.source).ok().flatten().map(|file| file.bytes);
        let bytes = match self.plan.base.files.get(&trial.source) {
            Some(FileState::Present { bytes, .. }) => Some(bytes.to_vec()),
            Some(FileState::Deleted) => None,
            None => read(),
        };
        let bytes = bytes.ok_or("it is no regular file of the source tree")?;
        let forms = forms(&trial.source, &bytes, trial.purpose, trial.number)?;
        let append = forms.into_iter().nth(trial.form).ok_or("the build fails with every edit of it that is known")?;
        let change = Change { file: Some(trial.source.clone()), append: Some(append), ..Change::default() };
        Ok(Edit { id: Some(trial.name()), change, ..Edit::default() })
    }

    /// The edits of the trials, which lose those that cannot be made.
    fn edits(&mut self, trials: Vec<Trial>, lower: &dyn tree::Lower) -> (Vec<Trial>, Vec<Edit>) {
        let mut made = (Vec::new(), Vec::new());
        for trial in trials {
            match self.edit(&trial, lower) {
                Ok(edit) => {
                    made.0.push(trial);
                    made.1.push(edit);
                }
                Err(why) => {
                    let why = format!("{} cannot be edited: {why}", trial.source);
                    self.set(&trial.candidates, &Outcome::Untried { why });
                }
            }
        }
        made
    }
}

/// Runs scenarios with these edits; gives each its record, or none if it has none to speak of.
fn build(
    whole: &Whole<'_>,
    name: (&str, &'static str),
    parts: Parts,
    work: &mut [Work],
    edits: Vec<(usize, Vec<Edit>)>,
    session: &mut Session<'_>,
) -> Result<Vec<Option<ScenarioRecord>>, CliError> {
    let ready = edits.into_iter().map(|(at, edits)| with(&work[at].ready, edits)).collect();
    let report = whole.stages.run(name.0, Some(name.1), parts, ready, session)?;
    let mut records = Vec::new();
    for work in work {
        let id = &work.ready.found.id;
        let Some(scenario) = report.scenarios.iter().find(|scenario| scenario.id == *id) else {
            records.push(None);
            continue;
        };
        work.seconds += scenario.seconds;
        if matches!(scenario.verdict, Verdict::HarnessError | Verdict::HostCannot | Verdict::ScenarioError) {
            work.broken = Some((scenario.verdict, scenario.reason.clone(), scenario.hint.clone()));
        }
        records.push(Some(whole.stages.record(name.0, id)?));
    }
    Ok(records)
}

/// What is tried in one run: of each scenario its trials, and the edits of those that have any.
#[derive(Default)]
struct Taken {
    trials: Vec<Vec<Trial>>,
    edits: Vec<(usize, Vec<Edit>)>,
}

/// Takes trials of all scenarios and makes their edits.
fn take(whole: &Whole<'_>, work: &mut [Work], which: impl Fn(&mut Work) -> Vec<Trial>) -> Taken {
    let sources = load::sources(&whole.stages.host, whole.args.how.cache.as_deref());
    let mut taken = Taken::default();
    for (at, work) in work.iter_mut().enumerate() {
        let trials = which(work);
        let made = match load::at_hand(&work.ready, &sources) {
            Ok(hand) => work.edits(trials, hand.lower.as_ref()),
            Err(_) => (Vec::new(), Vec::new()),
        };
        if !made.1.is_empty() {
            taken.edits.push((at, made.1));
        }
        taken.trials.push(made.0);
    }
    taken
}

/// Makes the open edits, each followed by a build. Says whether there is more to try.
fn try_edits(whole: &Whole<'_>, round: usize, work: &mut [Work], session: &mut Session<'_>) -> Result<bool, CliError> {
    let Taken { trials, edits } = take(whole, work, |work| std::mem::take(&mut work.open));
    if edits.is_empty() || session.cancel.load(Ordering::Relaxed) {
        return Ok(false);
    }
    let name = format!("edits-{round}");
    let parts = Parts { experiment: false, noops: false, oracles: false };
    let records = build(whole, (&name, "files are edited, one by one"), parts, work, edits, session)?;
    for ((work, trials), record) in work.iter_mut().zip(trials).zip(records) {
        let Some(record) = record else { continue };
        let mut trials = trials.into_iter();
        while let Some(mut trial) = trials.next() {
            let id = format!("{}/incremental", trial.name());
            let build = record.builds.iter().find(|build| build.id == id);
            let steps = record.traces.get(&id);
            let (Some(build), Some(steps)) = (build, steps) else {
                let why = build.map_or("the build after the edit was not made", |_| "that build was not traced");
                work.set(&trial.candidates, &Outcome::Untried { why: why.into() });
                continue;
            };
            if !build.status.ok() {
                // What comes after it in this tree says nothing: all of it once more, and this in another form.
                trial.form += 1;
                let mut again: Vec<Trial> = trials.by_ref().collect();
                again.push(trial);
                work.open.extend(again);
                break;
            }
            let mut left = Vec::new();
            for candidate in std::mem::take(&mut trial.candidates) {
                let it = &work.audit.candidates[candidate];
                match audit::suspect(it, &trial.source, &work.clean, steps) {
                    None => left.push(candidate),
                    Some(outcome) => {
                        let next = it.sources.iter().position(|source| *source == trial.source).map_or(0, |at| at + 1);
                        let unchanged = matches!(outcome, Outcome::Untried { .. });
                        work.set(&[candidate], &outcome);
                        if unchanged && next > 0 {
                            work.open(whole.args.limit, candidate, next);
                        }
                    }
                }
            }
            if !left.is_empty() {
                work.suspects.push(Trial { candidates: left, ..trial });
            }
        }
    }
    Ok(work.iter().any(|work| !work.open.is_empty()))
}

/// Makes the edits after which a step was not run once more, each with the clean build of the same sources.
fn confirm(whole: &Whole<'_>, work: &mut [Work], session: &mut Session<'_>) -> Result<(), CliError> {
    for work in work.iter_mut() {
        for trial in std::mem::take(&mut work.open) {
            let why = format!("no edit of {} was found with which the build works", trial.source);
            work.set(&trial.candidates, &Outcome::Untried { why });
        }
        for trial in work.suspects.clone() {
            work.set(&trial.candidates, &Outcome::Untried { why: "interrupted before it was confirmed".into() });
        }
    }
    let Taken { trials, edits } = take(whole, work, |work| std::mem::take(&mut work.suspects));
    if edits.is_empty() || session.cancel.load(Ordering::Relaxed) {
        return Ok(());
    }
    let added: Vec<BTreeMap<String, String>> = (0..work.len())
        .map(|at| {
            let of = edits.iter().filter(|(of, _)| *of == at).flat_map(|(_, edits)| edits);
            of.filter_map(|edit| Some((edit.id.clone()?, edit.change.append.clone()?))).collect()
        })
        .collect();
    let parts = Parts { experiment: false, noops: false, oracles: true };
    let name = ("confirm", "edits are compared with clean builds");
    let records = build(whole, name, parts, work, edits, session)?;
    for (((work, trials), record), added) in work.iter_mut().zip(trials).zip(records).zip(added) {
        let Some(record) = record else { continue };
        for trial in trials {
            let name = trial.name();
            let steps = |id: String| {
                let ok = record.builds.iter().any(|build| build.id == id && build.status.ok());
                record.traces.get(&id).filter(|_| ok)
            };
            let both = steps(format!("{name}/incremental")).zip(steps(format!("{name}/oracle")));
            let Some((incremental, oracle)) = both else {
                let why = format!("a build after the edit of {} does not work, or was not traced", trial.source);
                work.set(&trial.candidates, &Outcome::Untried { why });
                continue;
            };
            for candidate in trial.candidates {
                let it = &work.audit.candidates[candidate];
                let outcome = match audit::confirm(it, &trial.source, &work.clean, incremental, oracle) {
                    Ok(stale) => {
                        work.shown.insert(candidate, name.clone());
                        let added = added.get(&name).cloned().unwrap_or_default();
                        Outcome::Missing { edited: trial.source.clone(), added, stale }
                    }
                    Err(outcome) => outcome,
                };
                work.set(&[candidate], &outcome);
            }
        }
    }
    Ok(())
}

/// Puts what came of an audit into the report of its scenario.
fn conclude(args: &AuditArgs, mut work: Work, interrupted: bool, scenarios: &mut [ScenarioReport]) {
    if interrupted {
        work.untried("interrupted");
    }
    let Some(report) = scenarios.get_mut(work.at) else { return };
    let found = work.audit.candidates.iter().enumerate().filter_map(|(number, candidate)| {
        let edit = work.shown.get(&number)?;
        let command = work.clean.steps.get(candidate.at).map_or("", |step| &step.command);
        audit::finding(candidate, edit, &work.clean.told(command))
    });
    let mut findings: Vec<_> = found.collect();
    audit::weigh(&work.record, &mut findings);
    let open =
        |class| findings.iter().any(|finding| finding.name.class() == class && finding.standing == Standing::New);
    (report.reason, report.hint) = (None, None);
    report.verdict = match work.broken {
        Some((verdict, reason, hint)) => {
            (report.reason, report.hint) = (reason, hint);
            verdict
        }
        None if interrupted => Verdict::Interrupted,
        None if open(Class::Wrong) => Verdict::Failed,
        None => Verdict::Passed,
    };
    let candidates = &work.audit.candidates;
    let tried: BTreeSet<&str> = candidates
        .iter()
        .filter_map(|candidate| match &candidate.outcome {
            Outcome::Missing { edited, .. } | Outcome::Runs { edited } => Some(edited.as_str()),
            Outcome::Untried { .. } => None,
        })
        .collect();
    work.audit.edits = tried.len();
    report.notes = Vec::new();
    let limited = format!("left out by --limit {}", args.limit);
    let left =
        candidates.iter().filter(|it| matches!(&it.outcome, Outcome::Untried { why } if *why == limited)).count();
    if left > 0 {
        report.notes.push(format!("{ATTENTION}{left} candidates are {limited}"));
    }
    report.notes.extend(work.clean.gaps.iter().map(|gap| format!("{ATTENTION}the trace is not whole: {gap}")));
    report.compared = candidates.iter().filter(|it| !matches!(it.outcome, Outcome::Untried { .. })).count() as u64;
    report.seconds += work.seconds;
    report.findings = findings;
    report.audit = Some(work.audit);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edit_of_an_audit_is_called_by_its_number() {
        let trial =
            Trial { source: "a.h".into(), purpose: Purpose::Touched, form: 0, number: 7, candidates: Vec::new() };
        assert_eq!(trial.name(), "audit-7");
    }

    #[test]
    fn what_is_audited_is_the_tree_alone() {
        let text = "title = 't'\n[tree]\nsrctree = 'mini'\n[[edit]]\nfile = 'x'\ntouch = true\n\
                    [[expect.finding]]\nfinding = 'rebuild.stale'\n";
        let loaded = crate::scenario::parse("t.toml", text, &()).expect("a scenario");
        let found = load::Found {
            id: "t".into(),
            file: "t.toml".into(),
            name: "t.toml".into(),
            again: String::new(),
            by_name: true,
            cells: Vec::new(),
        };
        let source = crate::tree::source::SourceSpec::Mini;
        let ready = Ready { found, loaded, source, cell: crate::scenario::Cell::default() };
        let crate::scenario::Scenario { edit, expect, .. } = asking(&plain(ready, true)).loaded.scenario;
        assert_eq!(edit.len(), 1);
        assert_eq!(edit[0].change.env.get("GNUMAKEFLAGS").map(String::as_str), Some("-p"));
        assert!(expect.finding.is_empty());
    }
}
