//! `bisect`: which commit, version of a tool, or Kconfig symbols brought a finding, or took it away.
//!
//! ```text
//! ends        the good and the bad one: they have to differ in what is looked for
//! test-N      what git (commits), halving (versions) or delta debugging (symbols) asks for, with no more builds than it takes
//! before, after   both sides of what was found once more, with all builds: what counts, with its cause, mail and reproducer
//! ```
//!
//! Each is a run of the scenario like any other, but raw: what the scenario lists as known or expected does not count. What was
//! tested is kept until an answer is found, so that asking again goes on where it was stopped.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::Instant;

use clap::Args;

use super::load::{self, MatrixArgs, Ready};
use super::progress::note;
use super::run::capture;
use super::stages::{Stages, without_kernels};
use super::{CliError, HowArgs, SelectArgs, Session};
use crate::artifact::record::write_atomically;
use crate::report::ScenarioReport;
use crate::report::bisect as report;
use crate::tree::source::{Sources, sha256};
use crate::verdict::Verdict;
use crate::verdict::bisect::{Bisection, Outcome, State, Test};
use crate::verdict::wanted::{Answer, Wanted};

mod commits;
mod symbols;
mod tools;

const AFTER_HELP: &str = "\
Over commits, of which a graft needs seconds each:
  kbuild-repro bisect graft/noop --repo ~/linux --good v6.12 --bad v6.13
  kbuild-repro bisect relink.toml --repo ~/linux.git --good v6.12 --bad v6.13 \\
      --paths kbuild --finding 'expect.unmet@*:LD [M] *'
Over versions of a tool, and over Kconfig symbols of a fragment:
  kbuild-repro bisect graft/pahole@6.12 --tool pahole=1.24..1.32
  kbuild-repro bisect graft/noop@6.12 --config ..debug.config
  kbuild-repro bisect graft/noop@6.12 --config good.config..bad.config

Only what builds show counts: what the scenario lists as known or expected does
not. Which of the ends has the finding does not matter, as long as one has it:
it is searched for where it came or where it went. A commit whose kernel cannot
be built, or that an edit does not fit, is skipped. The answer is tested again,
and the commit before it.

Your repository is only read: git bisect runs in a clone that borrows its
objects. Stopped and asked again, it goes on; --restart begins anew. It ends
with 0 if there is an answer, 4 if there is none. For `git bisect run` there is
`kbuild-repro run --bisect`.";

/// What to bisect.
#[derive(Debug, Clone, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct BisectArgs {
    /// A scenario file, or its id; of one with a matrix one cell: `graft/noop@6.12`
    #[arg(value_name = "SCENARIO")]
    what: String,
    /// What is looked for: a finding by its name, its id, or a pattern of one (`rebuild.*`, `rebuild.stale@edit-1:*.ko`); by default
    /// any of class wrong
    #[arg(long, value_name = "FINDING")]
    finding: Vec<String>,
    /// Commits: the repository, which is only read
    #[arg(long, value_name = "DIR", requires_all = ["good", "bad"], required_unless_present_any = ["tool", "config"])]
    repo: Option<PathBuf>,
    /// A revision that is as it should be
    #[arg(long, alias = "old", value_name = "REV", requires = "repo")]
    good: Option<String>,
    /// A revision that is not; a descendant of the good one
    #[arg(long, alias = "new", value_name = "REV", requires = "repo")]
    bad: Option<String>,
    /// Only commits that touch these: git's pathspecs, or `kbuild` for what a build is made by (Makefile, scripts, tools, ...)
    #[arg(long, value_name = "PATH,...", value_delimiter = ',', requires = "repo")]
    paths: Vec<String>,
    /// Of merges only the branch that was merged into
    #[arg(long, requires = "repo")]
    first_parent: bool,
    /// What the ends are called where good and bad are not the words, e.g. `fast,slow`
    #[arg(long, value_name = "GOOD,BAD", value_delimiter = ',', requires = "repo")]
    terms: Vec<String>,
    /// Versions of a tool: `pahole=1.24..1.32`, or a list of versions and paths from good to bad, `pahole=1.24,/opt/pahole`
    #[arg(long, value_name = "TOOL=A..B", conflicts_with = "repo")]
    tool: Option<String>,
    /// Kconfig symbols that differ in two fragments or complete .config files; without the first, those of the second
    #[arg(long, value_name = "[A]..B", conflicts_with_all = ["repo", "tool"])]
    config: Option<String>,
    /// Tests without the finding that it takes to say that it is not there: more than one for what comes and goes
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u32).range(1..=100))]
    repeat: u32,
    /// Forget what an earlier bisection that was stopped has tested
    #[arg(long)]
    restart: bool,
    /// The directory of scenarios; by default `scenarios` here or in a directory above
    #[arg(long, value_name = "DIR", env = "KBUILD_REPRO_SCENARIOS")]
    scenarios: Option<PathBuf>,
    #[command(flatten)]
    matrix: MatrixArgs,
    #[command(flatten)]
    how: HowArgs,
}

/// What every test is made with.
struct Prober<'a> {
    stages: Stages<'a>,
    sources: Sources,
    wanted: Wanted,
    repeat: u32,
    /// Where tests are kept until there is an answer.
    file: PathBuf,
    known: BTreeMap<String, Test>,
    /// What was tested, in order.
    tests: Vec<Test>,
    runs: usize,
    quiet: bool,
    /// What it is called if the finding is as at the good end, and as at the bad one.
    terms: [String; 2],
    /// What the bad end showed, once it is known.
    bad: Option<State>,
}

/// Why a test gave no answer.
enum Halt {
    Interrupted,
    Error(CliError),
}

impl From<CliError> for Halt {
    fn from(error: CliError) -> Self {
        Self::Error(error)
    }
}

/// What is found out.
struct Found {
    candidates: u64,
    outcome: Outcome,
    /// What git says of the commit.
    notes: report::Notes,
}

pub(super) fn bisect(args: &BisectArgs, session: &mut Session<'_>) -> Result<u8, CliError> {
    let wanted = Wanted::parse(&args.finding)
        .map_err(|error| CliError::usage(error, "`kbuild-repro explain` lists the findings"))?;
    args.how.output.check_answer()?;
    let began = Instant::now();
    let host = capture()?;
    let select = SelectArgs { what: vec![args.what.clone()], tier: Vec::new(), scenarios: args.scenarios.clone() };
    let sources = load::sources(&host, args.how.cache.as_deref());
    let asked = ask(args, &host.cwd)?;
    let mut over = args.matrix.matrix(&host)?;
    asked.fill(&mut over);
    let found = load::select(&select, &host.cwd)?;
    let (ready, _) = load::read_over(found, &over, &sources)?;
    let ready = asked.one(ready)?;
    let key = sha256(
        format!("{:?}{:?}{}{wanted}{}", asked.identity(&sources)?, ready.loaded.scenario, ready.found.id, args.repeat)
            .as_bytes(),
    );
    let dir = host.paths.state.join("bisections");
    let file = dir.join(format!("{}.json", &key[..16]));
    fs::create_dir_all(&dir)
        .map_err(|error| CliError::host(format!("cannot write to `{}`: {error}", dir.display()), "XDG_STATE_HOME"))?;
    if args.restart {
        let _ = fs::remove_file(&file);
    }
    let terms = match args.terms.as_slice() {
        [] => ["good".to_owned(), "bad".to_owned()],
        [good, bad] if good != bad => [good.clone(), bad.clone()],
        words => {
            return Err(CliError::usage(
                format!("`--terms {}` are no two words", words.join(",")),
                "e.g. `--terms fast,slow`",
            ));
        }
    };
    let stages = Stages::new(host, &args.how, args.scenarios.as_deref())?;
    let known = recall(&file);
    let mut prober = Prober {
        stages,
        sources,
        wanted,
        repeat: args.repeat,
        file,
        known,
        tests: Vec::new(),
        runs: 0,
        quiet: args.how.output.quiet,
        terms,
        bad: None,
    };
    if !prober.known.is_empty() {
        prober.say(&format!(
            "goes on with {} results of a bisection that was stopped (--restart forgets them)",
            prober.known.len()
        ));
    }
    let searched = match &asked {
        Asked::Commits(range) => commits::search(&mut prober, &ready, range, session),
        Asked::Tool { name, versions } => tools::search(&mut prober, &ready, (*name, versions), session),
        Asked::Symbols(symbols) => symbols::search(&mut prober, &ready, symbols, session),
    };
    let found = match searched {
        Ok(found) => found,
        Err(Halt::Error(error)) => return Err(error),
        Err(Halt::Interrupted) => {
            Found { candidates: 0, outcome: Outcome::Interrupted, notes: report::Notes::default() }
        }
    };
    if !matches!(found.outcome, Outcome::Interrupted) {
        let _ = fs::remove_file(&prober.file);
    }
    let Found { candidates, outcome, notes } = found;
    let bisection = Bisection {
        scenario: ready.found.id.clone(),
        finding: prober.wanted.to_string(),
        over: asked.over().to_owned(),
        ends: asked.ends(),
        candidates,
        tests: prober.tests,
        outcome,
        seconds: began.elapsed().as_secs_f64(),
    };
    let told = report::Told { bisection, notes, record: prober.stages.dir.display().to_string() };
    let mut text = Vec::new();
    report::write(&told, &mut text)?;
    prober.stages.answer("bisection", &told, &text, session)?;
    Ok(report::exit_code(&told.bisection.outcome))
}

/// What is searched.
enum Asked {
    Commits(crate::tree::source::CommitRange),
    Tool { name: tools::Tool, versions: Vec<String> },
    Symbols(symbols::Symbols),
}

fn ask(args: &BisectArgs, cwd: &Path) -> Result<Asked, CliError> {
    if let Some(text) = &args.tool {
        let (name, versions) = tools::parse(text)?;
        return Ok(Asked::Tool { name, versions });
    }
    if let Some(text) = &args.config {
        return symbols::parse(text, cwd).map(Asked::Symbols);
    }
    match (&args.repo, &args.good, &args.bad) {
        (Some(repo), Some(good), Some(bad)) => Ok(Asked::Commits(crate::tree::source::CommitRange {
            repo: cwd.join(repo),
            good: good.clone(),
            bad: bad.clone(),
            paths: commits::paths(&args.paths),
            first_parent: args.first_parent,
        })),
        _ => Err(CliError::usage("nothing to bisect", "--repo DIR --good REV --bad REV, --tool, or --config")),
    }
}

impl Asked {
    fn over(&self) -> &'static str {
        match self {
            Self::Commits(_) => "commits",
            Self::Tool { name, .. } => name.name(),
            Self::Symbols(_) => "symbols",
        }
    }

    fn ends(&self) -> [String; 2] {
        match self {
            Self::Commits(range) => [range.good.clone(), range.bad.clone()],
            Self::Tool { versions, .. } => {
                [versions.first().cloned().unwrap_or_default(), versions.last().cloned().unwrap_or_default()]
            }
            Self::Symbols(symbols) => symbols.ends(),
        }
    }

    /// What it is that was asked: the same question has the same.
    fn identity(&self, sources: &Sources) -> Result<Vec<String>, CliError> {
        Ok(match self {
            Self::Commits(range) => {
                let [good, bad] = sources.ends(range).map_err(CliError::of_source)?;
                let words = [good.id, bad.id, range.first_parent.to_string()];
                words.into_iter().chain(range.paths.iter().cloned()).collect()
            }
            Self::Tool { name, versions } => {
                std::iter::once(name.name().to_owned()).chain(versions.iter().cloned()).collect()
            }
            Self::Symbols(symbols) => symbols.values().collect(),
        })
    }

    /// What of the scenario's matrix is chosen by what is searched.
    fn fill(&self, over: &mut crate::scenario::Matrix) {
        if let Self::Tool { name, versions } = self {
            name.list(over).extend(versions.first().cloned());
        }
    }

    /// The one scenario of those that were selected.
    fn one(&self, mut ready: Vec<Ready>) -> Result<Ready, CliError> {
        if matches!(self, Self::Commits(_)) {
            // Its kernels give way to commits: of cells that differ in nothing else one is enough.
            without_kernels(&mut ready)?;
        }
        let names: Vec<String> = ready.iter().map(|ready| ready.found.id.clone()).collect();
        let mut ready = ready.into_iter();
        match (ready.next(), ready.next()) {
            (Some(mut one), None) => {
                one.loaded.scenario = Wanted::raw(&one.loaded.scenario);
                Ok(one)
            }
            (Some(_), Some(_)) => Err(CliError::usage(
                format!("these are {} scenarios: {}", names.len(), names.join(" ")),
                "name one, or choose one kernel and tool by --kernel, --pahole, --make, --compiler, --make-jobs",
            )),
            (None, _) => Err(CliError::Nothing {
                message: "no scenario is selected".into(),
                hint: Some("kbuild-repro list".into()),
            }),
        }
    }
}

/// The tests of an earlier bisection of the same question.
fn recall(file: &Path) -> BTreeMap<String, Test> {
    let tests: Vec<Test> = fs::read(file).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
    tests.into_iter().map(|test| (test.name.clone(), test)).collect()
}

impl Prober<'_> {
    fn say(&self, text: &str) {
        if !self.quiet {
            note(text);
        }
    }

    /// What it is called that a test showed.
    fn term(&self, state: State) -> &str {
        match (state, self.bad) {
            (State::Untestable, _) => "skipped",
            (state, Some(bad)) if state == bad => &self.terms[1],
            (_, Some(_)) => &self.terms[0],
            (State::Present, None) => "there",
            (State::Absent, None) => "not there",
        }
    }

    /// Runs the scenario, and says what of what is looked for it shows. One that was tested is not tested again.
    fn probe(&mut self, name: &str, subject: &str, ready: &Ready, session: &mut Session<'_>) -> Result<Test, Halt> {
        let (test, recalled) = match self.known.get(name) {
            Some(known) => (Test { seconds: 0.0, ..known.clone() }, true),
            None => (self.test(name, subject, ready, session)?, false),
        };
        let number = self.tests.len() + 1;
        let (short, state) = (report::short(name), self.term(test.state));
        let told = match (test.state, test.told.as_slice()) {
            (State::Untestable, [why, ..]) => format!(": {why}"),
            (State::Present, [first, rest @ ..]) if !rest.is_empty() => format!(": {first} and {} more", rest.len()),
            (State::Present, [first]) => format!(": {first}"),
            _ => String::new(),
        };
        let time = if recalled { "known".to_owned() } else { format!("{:.1} s", test.seconds) };
        let subject = if subject.is_empty() { String::new() } else { format!(" {subject}") };
        self.say(&format!("[{number}] {short}{subject}: {state} ({time}){told}"));
        self.tests.push(test.clone());
        self.known.insert(name.to_owned(), test.clone());
        let all: Vec<&Test> = self.known.values().collect();
        let text = serde_json::to_vec(&all).map_err(CliError::internal)?;
        write_atomically(&self.file, &text).map_err(CliError::internal)?;
        Ok(test)
    }

    fn test(&mut self, name: &str, subject: &str, ready: &Ready, session: &mut Session<'_>) -> Result<Test, Halt> {
        let began = Instant::now();
        let mut absent = 0;
        let mut doubtful = false;
        loop {
            self.runs += 1;
            let stage = format!("test-{}", self.runs);
            let report = self.stages.run_quietly(&stage, self.wanted.parts(), vec![ready.clone()], session)?;
            // Of what was only tried the answer is kept, and the report.
            let [scenario] = report.scenarios.as_slice() else {
                return Err(CliError::harness(format!("{} reports of one scenario", report.scenarios.len())).into());
            };
            if session.cancel.load(Ordering::Relaxed) {
                return Err(Halt::Interrupted);
            }
            let answer = self.wanted.answer(scenario.verdict, scenario.reason.as_deref(), &scenario.findings);
            let (state, told) = match answer {
                Answer::Absent => {
                    absent += 1;
                    if absent < self.repeat {
                        continue;
                    }
                    (State::Absent, Vec::new())
                }
                Answer::Present(told) => (State::Present, told),
                // A build that hangs, or fails by chance, is worth a second look.
                Answer::Untestable(_) if !doubtful && !scenario.builds.is_empty() => {
                    doubtful = true;
                    continue;
                }
                Answer::Untestable(why) => (State::Untestable, vec![why]),
                Answer::Broken(why) => return Err(broken(scenario, name, why).into()),
            };
            let seconds = began.elapsed().as_secs_f64();
            return Ok(Test { name: name.to_owned(), subject: subject.to_owned(), state, told, seconds });
        }
    }

    /// Both ends, which have to differ; or why there is nothing to search.
    fn ends(
        &mut self,
        good: (&str, &str, &Ready),
        bad: (&str, &str, &Ready),
        session: &mut Session<'_>,
    ) -> Result<Result<State, Outcome>, Halt> {
        let mut states = Vec::new();
        for (name, subject, ready) in [good, bad] {
            let test = self.probe(name, subject, ready, session)?;
            if test.state == State::Untestable {
                let why = test.told.into_iter().next().unwrap_or_default();
                return Ok(Err(Outcome::Untestable { name: name.to_owned(), why }));
            }
            states.push(test.state);
        }
        if states[0] == states[1] {
            return Ok(Err(Outcome::Alike { present: states[0] == State::Present }));
        }
        self.bad = Some(states[1]);
        Ok(Ok(states[1]))
    }

    /// Both sides of what was found, once more and with all builds: whether they show what they showed, and what exactly.
    fn confirm(
        &mut self,
        sides: [(&str, &Ready); 2],
        bad: State,
        fixes: Option<&str>,
        session: &mut Session<'_>,
    ) -> Result<Result<[Vec<String>; 2], String>, Halt> {
        let mut lines: [Vec<String>; 2] = [Vec::new(), Vec::new()];
        for (at, (name, ready)) in sides.into_iter().enumerate() {
            let stage = ["before", "after"][at];
            self.say(&format!("{stage}: {} once more", report::short(name)));
            let report = self.stages.run_closely(
                stage,
                vec![ready.clone()],
                fixes.map(str::to_owned).filter(|_| at == 1),
                session,
            )?;
            if session.cancel.load(Ordering::Relaxed) {
                return Err(Halt::Interrupted);
            }
            let Some(scenario) = report.scenarios.first() else { continue };
            let answer = self.wanted.answer(scenario.verdict, scenario.reason.as_deref(), &scenario.findings);
            let wanted = if at == 1 { bad } else { other(bad) };
            let state = match &answer {
                Answer::Present(_) => State::Present,
                Answer::Absent => State::Absent,
                Answer::Untestable(_) | Answer::Broken(_) => State::Untestable,
            };
            if state != wanted {
                return Ok(Err(name.to_owned()));
            }
            let told = |finding: &&crate::verdict::Finding| match &answer {
                Answer::Present(ids) => ids.contains(&finding.id()),
                _ => false,
            };
            lines[at] = scenario.findings.iter().filter(told).flat_map(report::finding).collect();
        }
        Ok(Ok(lines))
    }
}

/// The other of two states.
fn other(state: State) -> State {
    if state == State::Present { State::Absent } else { State::Present }
}

/// What ends a bisection: something that is wrong with no commit.
fn broken(scenario: &ScenarioReport, name: &str, why: String) -> CliError {
    let message = format!("at {}: {why}", report::short(name));
    let hint = scenario.hint.clone();
    match scenario.verdict {
        Verdict::ScenarioError => CliError::Usage { message, hint },
        Verdict::HostCannot => CliError::Host { message, hint },
        _ => CliError::Harness { message, hint },
    }
}
