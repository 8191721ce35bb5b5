//! `fuzz`: random sequences of edits from a seed, each compared with a clean build; what goes wrong is made as small as it gets.
//!
//! ```text
//! clean       clean  no-op  no-op …  and a second clean build            → what there is to edit, and what is wrong without an edit
//! round-N     clean  edit 1: incremental   edit 2: incremental …   and the clean build of the last sources, traced back
//! shrink-N    the same with fewer edits, smaller ones, a smaller configuration: as often as it shows the same
//! found-N     the scenario that is left, from its file: what counts, with its cause
//! ```
//!
//! Each line is runs of scenarios like any other. A sequence in which something went wrong is made once more without the edit at
//! which it began, so that one fault hides no other.

use std::collections::{BTreeSet, VecDeque};
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use clap::Args;

use super::amounts::parse_time;
use super::load::{self, AtHand, Ready};
use super::progress::note;
use super::stages::{First, Stages, chosen, reason, word};
use super::{CliError, HowArgs, Session};
use crate::report::ScenarioReport;
use crate::runner::{Parts, Status};
use crate::scenario::{Edit, Expect, FindingName, OracleWhen, When};
use crate::tree;
use crate::verdict::fuzz::generate::{Population, Wanted, sequence, things};
use crate::verdict::fuzz::{EditKind, Found, Fuzz, Listed, Shown, counts, groups};
use crate::verdict::{ATTENTION, Finding, Standing, Verdict};

mod population;
mod shrink;

/// Sequences that are made where neither a number nor a time is asked for.
const SEQUENCES: u64 = 20;
/// How often one sequence is made once more without an edit at which something went wrong.
const AGAIN: usize = 3;
/// And how often without one that could not be made, or with which nothing builds.
const SKIPPED: usize = 4;

const AFTER_HELP: &str = "\
Builds the scenario's tree, and then makes sequences of edits in it: comments,
other numbers, new functions, headers that get another name, flags and order of
objects, Kconfig symbols, variables, lost objects, other goals, interruptions;
and some are taken back. The scenario's own edits are not made.

After the last edit of each the incremental build has to be what a clean build
is, or halving finds the edit at which it was not. A fault is told once: it is
shrunk to the fewest and smallest edits and the smallest configuration that show
it, and written as a scenario.

  kbuild-repro fuzz scenarios/headers/missing-dep.toml
  kbuild-repro fuzz scenarios/build/clean.toml --for 10m --seed 3
  kbuild-repro fuzz graft/noop@7.3 --kinds header,interrupt --write found
  kbuild-repro fuzz scenarios/build/clean.toml --seed 3 --list
  kbuild-repro fuzz scenarios/build/clean.toml --seed 3 --only 17

The same seed gives the same sequences of the same tree, on any machine: --list
shows them without making them, --only makes one of them.";

/// What to fuzz.
#[derive(Debug, Clone, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct FuzzArgs {
    /// Scenario files, directories of them, or patterns of ids; their trees are edited, their own edits are not made
    #[arg(value_name = "SCENARIO", required = true)]
    what: Vec<String>,
    /// From which the sequences come
    #[arg(long, value_name = "N", default_value = "0", allow_negative_numbers = true)]
    seed: u64,
    /// How many sequences of each scenario; by default 20
    #[arg(long, value_name = "N", conflicts_with = "only", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    sequences: Option<u64>,
    /// For how long sequences are begun, e.g. 90s, 10m, 1h; without --sequences as many as fit
    #[arg(long = "for", value_name = "TIME", value_parser = parse_time, conflicts_with = "only")]
    time: Option<Duration>,
    /// Edits in a sequence
    #[arg(long, value_name = "N", default_value = "12", value_parser = clap::value_parser!(u16).range(1..=200))]
    edits: u16,
    /// Kinds of edits: touch, comment, change, header, makefile, kconfig, command, mode, delete, goals, undo, break, interrupt; by
    /// default all
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = word::<EditKind>)]
    kinds: Vec<EditKind>,
    /// The sequence of this number alone
    #[arg(long, value_name = "K")]
    only: Option<u64>,
    /// List the sequences and stop there
    #[arg(long)]
    list: bool,
    /// Compare with a clean build after every edit, not after the last: slower, and finds what a later edit makes good
    #[arg(long)]
    every: bool,
    /// Begin no sequence after the first fault
    #[arg(long)]
    first: bool,
    /// Steps that a build with nothing changed runs are failures too (`noop.ran`)
    #[arg(long)]
    costs: bool,
    /// Of a graft also edit what the build reads of the kernel: its makefiles and scripts get comments and time stamps
    #[arg(long)]
    scripts: bool,
    /// Where scenarios are written; by default beside the records
    #[arg(long, value_name = "DIR")]
    write: Option<PathBuf>,
    /// Do not make what was found smaller
    #[arg(long)]
    no_shrink: bool,
    /// The most runs that one fault is made smaller by
    #[arg(long, value_name = "N", default_value = "80")]
    shrink_runs: usize,
    /// The directory of scenarios; by default `scenarios` here or in a directory above
    #[arg(long, value_name = "DIR", env = "KBUILD_REPRO_SCENARIOS")]
    scenarios: Option<PathBuf>,
    #[command(flatten)]
    how: HowArgs,
}

/// What every part is run with.
struct Whole<'a> {
    args: &'a FuzzArgs,
    stages: Stages<'a>,
    wanted: Wanted,
    /// Where scenarios are written.
    write: PathBuf,
    began: Instant,
    /// The options by which the sequences are the same.
    options: String,
}

/// A sequence, or what is left of it.
#[derive(Debug, Clone)]
struct Try {
    number: u64,
    edits: Vec<Edit>,
    /// How often it can be made once more: after a fault, and for another reason.
    again: (usize, usize),
    /// Whether it is the whole sequence, for the first time.
    first: bool,
}

/// A fault, and the edits that show it.
struct Case {
    found: Found,
    finding: Finding,
    edits: Vec<Edit>,
    /// The edit at which it shows.
    edit: Option<String>,
}

/// The fuzzing of one scenario.
struct Work {
    /// Where its report is.
    at: usize,
    /// The scenario without edits and expectations.
    ready: Ready,
    hand: AtHand,
    population: Population,
    fuzz: Fuzz,
    queue: VecDeque<Try>,
    next: u64,
    /// Whether a sequence was begun.
    begun: bool,
    wrong: BTreeSet<u64>,
    cases: Vec<Case>,
    /// Why it came to no end.
    broken: Option<(Verdict, Option<String>, Option<String>)>,
    compared: u64,
    seconds: f64,
    notes: Vec<String>,
}

pub(super) fn fuzz(args: &FuzzArgs, session: &mut Session<'_>) -> Result<u8, CliError> {
    let (host, sources, ready) = chosen(&args.what, args.scenarios.as_deref(), &args.how)?;
    let ready: Vec<Ready> = ready.into_iter().map(|ready| plain(ready, args.every)).collect();
    // No sequence has the oracle of another: what would be kept of them is what others need.
    let how = HowArgs { no_reuse: true, ..args.how.clone() };
    let stages = Stages::new(host, &how, args.scenarios.as_deref())?;
    let kinds = if args.kinds.is_empty() { EditKind::ALL.to_vec() } else { args.kinds.clone() };
    // What interrupts builds is their tracer.
    let kinds = kinds.into_iter().filter(|kind| *kind != EditKind::Interrupt || !args.how.no_trace).collect();
    let wanted = Wanted { seed: args.seed, edits: usize::from(args.edits), kinds };
    let write = args.write.as_ref().map_or(stages.dir.join("scenarios"), |dir| stages.host.cwd.join(dir));
    if args.write.is_some() && !args.list {
        std::fs::create_dir_all(&write).and_then(|()| tempfile::tempfile_in(&write).map(drop)).map_err(|error| {
            CliError::host(format!("cannot write to `{}`: {error}", write.display()), "--write DIR")
        })?;
    }
    if wanted.kinds.is_empty() {
        return Err(CliError::usage("what interrupts builds is their tracer", "leave `--no-trace` away"));
    }
    let mut whole = Whole { args, stages, wanted, write, began: Instant::now(), options: options(args) };
    let parts = if args.list {
        Parts { experiment: false, noops: false, oracles: false }
    } else {
        Parts { oracles: false, ..Parts::ALL }
    };
    let again = |ready: &Ready| format!("kbuild-repro fuzz {} {}", ready.found.name, whole.options);
    let first =
        First { name: "clean", done: "its clean builds are known", parts, scenarios: ready.clone(), of: |ready| ready };
    let mut known = |at: usize, ready: &Ready, scenario: &ScenarioReport| begin(&whole, at, ready, &sources, scenario);
    let (mut report, mut work) = whole.stages.begin(first, &ready, &again, &mut known, session)?;
    if !args.list {
        whole.began = Instant::now();
        let mut round = 0;
        loop {
            round += 1;
            if !explore(&whole, round, &mut work, session)? {
                break;
            }
        }
        for work in &mut work {
            shrink::all(&whole, work, session)?;
        }
    }
    let interrupted = session.cancel.load(Ordering::Relaxed);
    for work in work {
        conclude(args, work, interrupted, &mut report.scenarios);
    }
    whole.stages.finish(report, session)
}

/// The options by which the sequences are the same another time.
fn options(args: &FuzzArgs) -> String {
    let mut words = format!("--seed {} --edits {}", args.seed, args.edits);
    if !args.kinds.is_empty() {
        let kinds: Vec<&str> = args.kinds.iter().map(|kind| kind.name()).collect();
        words.push_str(&format!(" --kinds {}", kinds.join(",")));
    }
    if args.scripts {
        words.push_str(" --scripts");
    }
    words
}

/// The scenario without its edits. What it knows of stays known whatever edit it comes with.
fn plain(mut ready: Ready, every: bool) -> Ready {
    let scenario = &mut ready.loaded.scenario;
    scenario.edit.clear();
    scenario.experiment = None;
    scenario.expect = Expect::default();
    scenario.snapshots = None;
    scenario.compare.oracle = if every { None } else { Some(OracleWhen::Last) };
    for known in &mut scenario.known {
        known.edit = None;
        known.when = Some(When::Sometimes);
    }
    ready
}

/// The scenario with edits.
fn with(ready: &Ready, edits: Vec<Edit>, suffix: &str) -> Ready {
    let mut ready = ready.clone();
    ready.found.id.push_str(suffix);
    ready.loaded.scenario.edit = edits;
    ready
}

/// What is to be fuzzed of a scenario that was built; or why there is nothing.
fn begin(
    whole: &Whole<'_>,
    at: usize,
    ready: &Ready,
    sources: &crate::tree::source::Sources,
    scenario: &ScenarioReport,
) -> Result<Result<Work, (Verdict, String)>, CliError> {
    let nothing = |why: String| Ok(Err((Verdict::Inconclusive, why)));
    let args = whole.args;
    let record = whole.stages.record("clean", &ready.found.id)?;
    if !record.builds.iter().any(|build| build.id == "control/clean" && build.status.ok()) {
        return nothing(reason(scenario));
    }
    let hand = match load::at_hand(ready, sources) {
        Ok(hand) => hand,
        Err(_) => return nothing("its sources are gone".into()),
    };
    let loaded = &ready.loaded;
    let plan = tree::plan(&loaded.scenario, &loaded.document, hand.lower.as_ref(), &load::beside(&ready.found));
    let plan = plan.map_err(CliError::Scenario)?;
    let population = population::of(&loaded.scenario, &plan, hand.lower.as_ref(), &record, args.scripts);
    if population.files.is_empty() && population.symbols.is_empty() {
        return nothing("its tree has no text that could be edited".into());
    }
    let asked = match (args.only, args.sequences, args.time) {
        (Some(_), ..) => Some(1),
        (_, Some(sequences), _) => Some(sequences),
        (.., Some(_)) => None,
        _ => Some(SEQUENCES),
    };
    let fuzz = Fuzz {
        seed: args.seed,
        edits: usize::from(args.edits),
        files: population.files.len(),
        asked,
        ..Fuzz::default()
    };
    let mut work = Work {
        at,
        ready: ready.clone(),
        hand,
        population,
        fuzz,
        queue: VecDeque::new(),
        next: args.only.unwrap_or(0),
        begun: false,
        wrong: BTreeSet::new(),
        cases: Vec::new(),
        broken: None,
        compared: scenario.compared,
        seconds: 0.0,
        notes: Vec::new(),
    };
    if args.list {
        let numbers = (work.next..=u64::MAX).take(usize::try_from(asked.unwrap_or(SEQUENCES)).unwrap_or(usize::MAX));
        work.fuzz.listed =
            numbers.map(|number| listed(number, &sequence(&work.population, &whole.wanted, number))).collect();
        return Ok(Ok(work));
    }
    let own: Vec<&Finding> = wrong(scenario, whole).filter(|finding| finding.standing == Standing::New).collect();
    for shown in groups(own.iter().copied()) {
        let finding = own.iter().find(|finding| finding.name == shown.finding && finding.target == shown.target);
        if let Some(finding) = finding {
            work.cases.push(Case::new(&shown, finding, Vec::new(), Vec::new()));
        }
    }
    if !args.how.output.quiet {
        let how_many = match (asked, args.time) {
            (Some(asked), _) => {
                format!("{asked} sequence{} of {} edits", if asked == 1 { "" } else { "s" }, args.edits)
            }
            (None, Some(time)) => format!("sequences of {} edits for {} s", args.edits, time.as_secs()),
            (None, None) => String::new(),
        };
        note(&format!("{}: {how_many} in {} files, seed {}", ready.found.id, work.fuzz.files, args.seed));
    }
    Ok(Ok(work))
}

fn listed(number: u64, edits: &[Edit]) -> Listed {
    let one = |edit: &Edit| {
        let what = edit.title.clone().unwrap_or_default();
        let interrupt = edit.interrupt.as_ref().map_or(String::new(), |it| {
            format!(
                "; {}{}",
                it.words(&it.step),
                it.nth.map_or(String::new(), |nth| format!(" (number {nth} of these)"))
            )
        });
        (edit.id.clone().unwrap_or_default(), format!("{what}{interrupt}"))
    };
    Listed { number, edits: edits.iter().map(one).collect() }
}

/// What a run found that is not to be.
fn wrong<'s>(scenario: &'s ScenarioReport, whole: &'s Whole<'_>) -> impl Iterator<Item = &'s Finding> {
    scenario.findings.iter().filter(|finding| counts(finding, whole.args.costs) && finding.standing != Standing::Latent)
}

impl Case {
    fn new(shown: &Shown, finding: &Finding, sequences: Vec<u64>, edits: Vec<Edit>) -> Self {
        let upto = shown.edit.as_ref().and_then(|name| edits.iter().position(|edit| edit.id.as_ref() == Some(name)));
        let edits: Vec<Edit> = edits.into_iter().take(upto.map_or(0, |at| at + 1)).collect();
        let found = Found {
            finding: shown.finding,
            about: shown.about.clone(),
            sequences,
            edits: edits.len(),
            of: edits.len(),
            runs: 0,
            file: None,
            confirmed: false,
        };
        Self { found, finding: finding.clone(), edits, edit: shown.edit.clone() }
    }
}

impl Work {
    /// Whether the edits can be made, as far as that shows on paper, and end with the scenario's own goals.
    fn applies(&self, ready: &Ready) -> bool {
        let loaded = &ready.loaded;
        let planned =
            tree::plan(&loaded.scenario, &loaded.document, self.hand.lower.as_ref(), &load::beside(&ready.found));
        planned.is_ok_and(|plan| plan.edits.last().is_none_or(|last| last.state.goals == plan.base.goals))
    }

    /// The next sequences, as many as this.
    fn take(&mut self, whole: &Whole<'_>, most: usize) -> Vec<Try> {
        let mut taken: Vec<Try> = Vec::new();
        while taken.len() < most {
            if let Some(next) = self.queue.pop_front() {
                taken.push(next);
                continue;
            }
            let first = whole.args.only.unwrap_or(0);
            let enough = whole.args.first && !self.cases.is_empty();
            let late = enough || whole.args.time.is_some_and(|time| whole.began.elapsed() >= time);
            let one = whole.args.only.is_some() && self.begun;
            if late || one || self.fuzz.asked.is_some_and(|asked| self.next - first >= asked) {
                break;
            }
            let number = self.next;
            self.next = number.saturating_add(1);
            self.begun = true;
            let edits = sequence(&self.population, &whole.wanted, number);
            taken.push(Try { number, edits: self.possible(edits), again: (AGAIN, SKIPPED), first: true });
        }
        taken
    }

    /// The edits without those that cannot be made, which a generator of texts cannot always know.
    fn possible(&mut self, edits: Vec<Edit>) -> Vec<Edit> {
        if self.applies(&with(&self.ready, edits.clone(), "")) {
            return edits;
        }
        let mut kept = Vec::new();
        for edit in edits {
            kept.push(edit);
            let loaded = &self.ready.loaded;
            let mut scenario = loaded.scenario.clone();
            scenario.edit.clone_from(&kept);
            let beside = load::beside(&self.ready.found);
            if tree::plan(&scenario, &loaded.document, self.hand.lower.as_ref(), &beside).is_err() {
                kept.pop();
                self.fuzz.void += 1;
            }
        }
        kept
    }

    /// Has a sequence made once more without an edit.
    fn again(&mut self, tried: &Try, edit: &str, fault: bool) {
        let edits = without(&tried.edits, edit);
        let again = match (fault, tried.again) {
            (true, (faults, skipped)) => faults.checked_sub(1).map(|faults| (faults, skipped)),
            (false, (faults, skipped)) => skipped.checked_sub(1).map(|skipped| (faults, skipped)),
        };
        let Some(again) = again.filter(|_| !edits.is_empty() && edits.len() < tried.edits.len()) else { return };
        let next = Try { number: tried.number, edits, again, first: false };
        if self.applies(&with(&self.ready, next.edits.clone(), "")) {
            self.queue.push_back(next);
        }
    }

    /// Looks at what came of a sequence.
    fn look(&mut self, tried: &Try, scenario: &ScenarioReport, whole: &Whole<'_>) {
        use Verdict::{HarnessError, HostCannot, Interrupted, ScenarioError, Skipped};
        self.seconds += scenario.seconds;
        let made = |name: &str| scenario.builds.iter().find(|build| build.id == format!("{name}/incremental"));
        let names: Vec<&str> = tried.edits.iter().filter_map(|edit| edit.id.as_deref()).collect();
        match scenario.verdict {
            Interrupted => return,
            // A host that cannot trace cannot interrupt.
            Skipped if tried.edits.iter().any(|edit| edit.interrupt.is_some()) => {
                let note =
                    format!("{ATTENTION}nothing was interrupted: {}", scenario.reason.as_deref().unwrap_or_default());
                if !self.notes.contains(&note) {
                    self.notes.push(note);
                }
                let whole = |edit: &Edit| Edit { interrupt: None, ..edit.clone() };
                let edits = tried.edits.iter().map(whole).collect();
                self.queue.push_back(Try { edits, ..tried.clone() });
                return;
            }
            HarnessError | HostCannot | Skipped => {
                self.broken = Some((scenario.verdict, scenario.reason.clone(), scenario.hint.clone()));
                return;
            }
            ScenarioError => {
                // What only a build can show: a file that is not there, a symbol that cannot be set.
                self.fuzz.void += 1;
                if let Some(name) = names.iter().find(|name| made(name).is_none()) {
                    self.again(tried, name, false);
                }
                // What came of it was not looked at yet.
                if let Some(next) = self.queue.back_mut().filter(|next| next.number == tried.number) {
                    next.first = tried.first;
                }
                return;
            }
            _ => {}
        }
        self.compared += scenario.compared;
        if tried.first {
            self.fuzz.tried += 1;
            self.fuzz.made += names.iter().filter(|name| made(name).is_some()).count() as u64;
        }
        let tolerated = |finding: &&Finding| matches!(finding.standing, Standing::Known { .. });
        let (listed, new): (Vec<&Finding>, Vec<&Finding>) = wrong(scenario, whole).partition(tolerated);
        self.fuzz.known += u64::from(!listed.is_empty());
        let mut guilty: Vec<String> = listed.iter().filter_map(|finding| finding.edit.clone()).take(1).collect();
        for shown in groups(new.iter().copied()) {
            if self.is_of_the_tree(&shown) {
                continue;
            }
            self.wrong.insert(tried.number);
            guilty.extend(shown.edit.clone());
            match self.cases.iter_mut().find(|case| case.found.is(&shown)) {
                Some(case) => {
                    if !case.found.sequences.contains(&tried.number) {
                        case.found.sequences.push(tried.number);
                    }
                }
                None => {
                    let of = |finding: &&&Finding| finding.name == shown.finding && finding.target == shown.target;
                    if let Some(finding) = new.iter().find(of) {
                        self.cases.push(Case::new(&shown, finding, vec![tried.number], tried.edits.clone()));
                    }
                }
            }
        }
        // What a clean build fails with as well is no failure; what comes after it was not compared.
        let fails = [FindingName::BuildFailed, FindingName::BuildTimeout];
        let failing = scenario.findings.iter().filter(|finding| fails.contains(&finding.name));
        let meant = |name: &str| name.starts_with(EditKind::Break.name());
        let failing: Vec<&str> =
            failing.filter_map(|finding| finding.edit.as_deref()).filter(|name| !meant(name)).collect();
        if let Some(name) = names.iter().find(|name| failing.contains(name)) {
            self.fuzz.broke += 1;
            self.again(tried, name, false);
        } else if let Some(name) = guilty.first() {
            self.again(tried, name, true);
        }
        // A build that works after what ought to have broken it is looked at by itself.
        if tried.first && !whole.args.every {
            for (at, name) in names.iter().enumerate().filter(|(at, name)| meant(name) && *at + 1 < names.len()) {
                let works = made(name).is_some_and(|build| build.status == Status::Ok.to_string());
                if works {
                    let edits = tried.edits[..=at].to_vec();
                    self.queue.push_back(Try { number: tried.number, edits, again: (0, 0), first: false });
                }
            }
        }
    }

    /// Whether it shows without an edit as well.
    fn is_of_the_tree(&self, shown: &Shown) -> bool {
        let own = |case: &&Case| case.found.sequences.is_empty();
        self.cases.iter().filter(own).any(|case| {
            let same = case.finding.target == shown.target;
            case.found.is(shown) || same || !case.found.about.is_disjoint(&shown.about)
        })
    }
}

/// The edits without one, and without later ones that have to do with the same.
fn without(edits: &[Edit], name: &str) -> Vec<Edit> {
    let Some(at) = edits.iter().position(|edit| edit.id.as_deref() == Some(name)) else { return edits.to_vec() };
    let mut gone = things(&edits[at]);
    gone.insert(format!("undo {name}"));
    let mut kept: Vec<Edit> = edits[..at].to_vec();
    // An edit that breaks the build does not stay without the one that takes it back.
    kept.retain(|edit| {
        let broken = |id: &String| id.starts_with(EditKind::Break.name()) && edits[at].change.undo.as_ref() == Some(id);
        !edit.id.as_ref().is_some_and(broken)
    });
    for edit in &edits[at + 1..] {
        let own = things(edit);
        if own.is_disjoint(&gone) {
            kept.push(edit.clone());
        } else {
            gone.extend(own);
            gone.extend(edit.id.iter().map(|id| format!("undo {id}")));
        }
    }
    // Goals that nobody sets back are set by nobody.
    let goals = |edit: &Edit| edit.changes_of().any(|change| change.goals.is_some());
    if gone.contains("goals") {
        kept.retain(|edit| !goals(edit));
    }
    kept
}

/// Makes some sequences. Says whether there is more to do.
fn explore(whole: &Whole<'_>, round: usize, work: &mut [Work], session: &mut Session<'_>) -> Result<bool, CliError> {
    if session.cancel.load(Ordering::Relaxed) {
        return Ok(false);
    }
    let most = whole.stages.host.cpus.clamp(1, 8) * 2;
    let mut taken: Vec<(usize, Try, String)> = Vec::new();
    let mut ready = Vec::new();
    for (at, work) in work.iter_mut().enumerate().filter(|(_, work)| work.broken.is_none()) {
        for (n, tried) in work.take(whole, most).into_iter().enumerate() {
            let one = with(&work.ready, tried.edits.clone(), &format!("-{}", n + 1));
            taken.push((at, tried, one.found.id.clone()));
            ready.push(one);
        }
    }
    if ready.is_empty() {
        return Ok(false);
    }
    let name = format!("round-{round}");
    let parts = Parts { experiment: false, noops: whole.args.costs, oracles: true };
    let report = whole.stages.run_quietly(&name, parts, ready, session)?;
    for (at, tried, id) in taken {
        let work = &mut work[at];
        match report.scenarios.iter().find(|scenario| scenario.id == id) {
            Some(scenario) => work.look(&tried, scenario, whole),
            None => work.queue.push_back(tried),
        }
    }
    // There are very many, and what they showed is shown once more by a run of its own.
    whole.stages.forget(&name)?;
    if !whole.args.how.output.quiet {
        for work in work.iter() {
            let of = work.fuzz.asked.map_or(String::new(), |asked| format!(" of {asked}"));
            let (tried, wrong, faults) = (work.fuzz.tried, work.wrong.len(), work.cases.len());
            note(&format!("{}: {tried}{of} sequences, {wrong} went wrong, faults: {faults}", work.ready.found.id));
        }
    }
    Ok(work.iter().any(|work| work.broken.is_none()))
}

/// Puts what came of it into the report of its scenario.
fn conclude(args: &FuzzArgs, mut work: Work, interrupted: bool, scenarios: &mut [ScenarioReport]) {
    let Some(report) = scenarios.get_mut(work.at) else { return };
    work.fuzz.wrong = work.wrong.len() as u64;
    (report.reason, report.hint, report.findings, report.notes) = (None, None, Vec::new(), work.notes);
    for case in &work.cases {
        report.findings.push(Finding { confirmed: None, standing: Standing::New, ..case.finding.clone() });
        if !case.found.confirmed && case.found.file.is_some() {
            let id = case.finding.id();
            let what = if interrupted { "was not run to its end" } else { "does not show it once more" };
            report.notes.push(format!("{ATTENTION}{id}: the scenario that was written {what}"));
        }
    }
    work.fuzz.found = work.cases.into_iter().map(|case| case.found).collect();
    report.verdict = match work.broken {
        Some((verdict, reason, hint)) => {
            (report.reason, report.hint) = (reason, hint);
            verdict
        }
        None if interrupted => Verdict::Interrupted,
        None if !work.fuzz.found.is_empty() => Verdict::Failed,
        None if work.fuzz.made == 0 && !args.list => {
            let why = "no edit of the kinds that are wanted could be made and compared; --list shows the sequences";
            report.reason = Some(why.into());
            Verdict::Inconclusive
        }
        None if work.compared == 0 && !args.list => {
            report.reason = Some("no artifact was compared".into());
            report.hint = Some("`[compare]` names what is compared, and what of it is ignored".into());
            Verdict::Inconclusive
        }
        None => Verdict::Passed,
    };
    report.compared = work.compared;
    report.seconds += work.seconds;
    report.fuzz = Some(work.fuzz);
}
