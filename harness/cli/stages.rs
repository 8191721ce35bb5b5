//! What `audit`, `sweep`, `fuzz`, `bisect` and `review` are made of: runs of scenarios that are made for it, one after the other, and one report.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::host::Host;
use super::load::{self, Ready};
use super::output::{show, show_answer};
use super::run::{Run, capture};
use super::state::audit_dir;
use super::{CliError, HowArgs, SelectArgs, Session};
use crate::artifact::record::{ScenarioRecord, write_atomically};
use crate::report::{Report, ScenarioReport};
use crate::runner::Parts;
use crate::scenario::{Cell, Dimension};
use crate::tree::source::{GitSource, SourceSpec, Sources};
use crate::verdict::Verdict;

/// What every stage is run with.
pub(super) struct Stages<'a> {
    pub(super) host: Host,
    how: &'a HowArgs,
    scenarios: Option<&'a Path>,
    /// Where the stages leave their records.
    pub(super) dir: PathBuf,
    began: Instant,
}

/// What becomes of a scenario that is through.
enum Done {
    /// This is said of it, in place of a verdict.
    As(&'static str),
    /// It is judged as always, and this trailer goes with its findings.
    Closely(Option<String>),
}

/// What is to be done with a scenario, or why nothing can be.
pub(super) type Begun<W> = Result<Result<W, (Verdict, String)>, CliError>;

/// The first stage: what it is called, what is said of each scenario that is through, what is built, and of whom.
pub(super) struct First<R> {
    pub(super) name: &'static str,
    pub(super) done: &'static str,
    pub(super) parts: Parts,
    pub(super) scenarios: Vec<Ready>,
    /// The scenario that a report's is found by.
    pub(super) of: fn(&R) -> &Ready,
}

impl<'a> Stages<'a> {
    pub(super) fn new(host: Host, how: &'a HowArgs, scenarios: Option<&'a Path>) -> Result<Self, CliError> {
        how.output.check_without_builds()?;
        let dir = audit_dir(&host, how.out.as_deref())?;
        Ok(Self { host, how, scenarios, dir, began: Instant::now() })
    }

    /// Runs scenarios as one stage. `done` is what is said of each that is through, in place of a verdict.
    pub(super) fn run(
        &self,
        name: &str,
        done: Option<&'static str>,
        parts: Parts,
        ready: Vec<Ready>,
        session: &mut Session<'_>,
    ) -> Result<Report, CliError> {
        self.run_as(self.how.clone(), name, done.map_or(Done::Closely(None), Done::As), parts, ready, session)
    }

    /// The same, of which nothing is said where it is not asked for: one of very many.
    pub(super) fn run_quietly(
        &self,
        name: &str,
        parts: Parts,
        ready: Vec<Ready>,
        session: &mut Session<'_>,
    ) -> Result<Report, CliError> {
        self.run_as(self.quietly(), name, Done::As("done"), parts, ready, session)
    }

    /// The same, of which all counts: findings have their mails, and reproducers are run. `fixes` is for these the trailer of
    /// whoever mends what is found.
    pub(super) fn run_closely(
        &self,
        name: &str,
        ready: Vec<Ready>,
        fixes: Option<String>,
        session: &mut Session<'_>,
    ) -> Result<Report, CliError> {
        self.run_as(self.quietly(), name, Done::Closely(fixes), Parts::ALL, ready, session)
    }

    /// Runs scenarios without their tracer, of which nothing is said: for their times.
    pub(super) fn run_untraced(
        &self,
        name: &str,
        parts: Parts,
        ready: Vec<Ready>,
        session: &mut Session<'_>,
    ) -> Result<Report, CliError> {
        let mut how = HowArgs { no_trace: true, ..self.how.clone() };
        how.output.quiet = true;
        self.run_as(how, name, Done::As("done"), parts, ready, session)
    }

    /// How what is one of very many is run.
    fn quietly(&self) -> HowArgs {
        let mut how = self.how.clone();
        how.output.quiet = !how.output.verbose;
        how
    }

    fn run_as(
        &self,
        mut how: HowArgs,
        name: &str,
        done: Done,
        parts: Parts,
        ready: Vec<Ready>,
        session: &mut Session<'_>,
    ) -> Result<Report, CliError> {
        how.out = Some(self.dir.join(name));
        // The whole has one report.
        (how.output.json, how.output.reports) = (None, Vec::new());
        let mut run = Run::new(self.host.clone(), &how, self.scenarios, parts, None)?;
        run.args = std::env::args().skip(1).collect();
        match done {
            Done::As(word) => run.stage = Some(word),
            Done::Closely(fixes) => run.fixes = fixes,
        }
        run.all(ready, true, session)
    }

    /// Runs the first stage, and makes of each scenario what is to be done with it, if anything can be.
    pub(super) fn begin<R, W>(
        &self,
        first: First<R>,
        all: &[R],
        again: &dyn Fn(&R) -> String,
        begin: &mut dyn FnMut(usize, &R, &ScenarioReport) -> Begun<W>,
        session: &mut Session<'_>,
    ) -> Result<(Report, Vec<W>), CliError> {
        let First { name, done, parts, scenarios, of } = first;
        let mut report = self.run(name, Some(done), parts, scenarios, session)?;
        let mut work = Vec::new();
        for (at, scenario) in report.scenarios.iter_mut().enumerate() {
            let Some(one) = all.iter().find(|one| of(one).found.id == scenario.id) else { continue };
            scenario.again = again(one);
            let begun = match refusal(scenario) {
                Some(why) => Err(why),
                None => begin(at, one, scenario)?,
            };
            match begun {
                Ok(begun) => work.push(begun),
                Err(why) => refuse(scenario, why),
            }
        }
        report.findings.clear();
        Ok((report, work))
    }

    /// The record of a scenario in a stage.
    pub(super) fn record(&self, name: &str, id: &str) -> Result<ScenarioRecord, CliError> {
        ScenarioRecord::read(&self.dir.join(name).join(id)).map_err(CliError::internal)
    }

    /// Removes the record of a stage.
    pub(super) fn forget(&self, name: &str) -> Result<(), CliError> {
        crate::sandbox::remove_tree(&self.dir.join(name)).map_err(CliError::internal)
    }

    /// Keeps an answer that is no report of builds beside the records, as `NAME.json`, and shows it.
    pub(super) fn answer<T: serde::Serialize>(
        &self,
        name: &str,
        answer: &T,
        text: &[u8],
        session: &mut Session<'_>,
    ) -> Result<(), CliError> {
        let mut json = serde_json::to_vec_pretty(answer).map_err(CliError::internal)?;
        json.push(b'\n');
        write_atomically(&self.dir.join(format!("{name}.json")), &json).map_err(CliError::internal)?;
        show_answer(text, &json, &self.how.output, session)
    }

    /// Writes and shows the report.
    pub(super) fn finish(&self, mut report: Report, session: &mut Session<'_>) -> Result<u8, CliError> {
        report.record = Some(self.dir.display().to_string());
        // Stages run side by side: of one scenario that is asked for, what counts is how long it took.
        if let [scenario] = report.scenarios.as_mut_slice() {
            scenario.seconds = self.began.elapsed().as_secs_f64();
        }
        report.conclude(session.cancel.load(Ordering::Relaxed));
        let mut json = Vec::new();
        crate::report::json::write(&report, &mut json)?;
        write_atomically(&self.dir.join("report.json"), &json).map_err(CliError::internal)?;
        show(&report, &self.how.output, session)?;
        Ok(report.exit_code)
    }
}

/// The scenarios that are asked for, with the host and where their sources are.
pub(super) fn chosen(
    what: &[String],
    scenarios: Option<&Path>,
    how: &HowArgs,
) -> Result<(Host, Sources, Vec<Ready>), CliError> {
    let host = capture()?;
    let select = SelectArgs { what: what.to_vec(), tier: Vec::new(), scenarios: scenarios.map(Path::to_owned) };
    let sources = load::sources(&host, how.cache.as_deref());
    let ready = load::read(load::select(&select, &host.cwd)?, &sources)?;
    Ok((host, sources, ready))
}

/// A scenario on a commit of a repository.
pub(super) fn on_commit(ready: &Ready, repo: &Path, id: &str) -> Ready {
    let spec = SourceSpec::Git(GitSource { repo: repo.to_owned(), rev: id.to_owned() });
    let mut ready = ready.clone();
    let tree = &mut ready.loaded.scenario.tree;
    if tree.srctree == "graft" {
        tree.kernel = Some(spec.to_string());
    } else {
        tree.srctree = spec.to_string();
    }
    ready.source = spec;
    // What is asked for by a commit is fetched.
    ready.found.by_name = true;
    ready
}

/// Leaves the kernels of matrices away, to which commits come, and of what is the same then all but one.
pub(super) fn without_kernels(all: &mut Vec<Ready>) -> Result<(), CliError> {
    for ready in all.iter() {
        let tree = &ready.loaded.scenario.tree;
        if tree.srctree == "mini" || tree.at.is_some() {
            return Err(CliError::usage(
                format!("`{}` is built from `{}`, which no commit is of", ready.found.id, tree.srctree),
                "commits are tested by a graft (`srctree = \"graft\"`) or by a tree of the repository \
                 (`srctree = \"git:DIR@REV\"`)",
            ));
        }
    }
    let mut seen: Vec<(PathBuf, Cell)> = Vec::new();
    all.retain_mut(|ready| {
        ready.cell.0.remove(&Dimension::Kernel);
        let one = (ready.found.file.clone(), ready.cell.clone());
        let new = !seen.contains(&one);
        seen.push(one);
        new
    });
    Ok(())
}

/// A word of a scenario on the command line.
pub(super) fn word<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_json::from_value(text.into()).map_err(|error| error.to_string())
}

/// Has a scenario's report say that nothing can be done with it, and why.
fn refuse(scenario: &mut ScenarioReport, (verdict, reason): (Verdict, String)) {
    scenario.findings.clear();
    (scenario.verdict, scenario.reason) = (verdict, Some(reason));
}

/// Why nothing can be done with a scenario after its first stage, if so.
fn refusal(scenario: &ScenarioReport) -> Option<(Verdict, String)> {
    use Verdict::{HarnessError, HostCannot, Interrupted, ScenarioError, Skipped};
    let ended = matches!(scenario.verdict, HarnessError | HostCannot | ScenarioError | Interrupted | Skipped);
    ended.then(|| (scenario.verdict, reason(scenario)))
}

/// Why a scenario came to its verdict.
pub(super) fn reason(scenario: &ScenarioReport) -> String {
    scenario.reason.clone().unwrap_or_else(|| scenario.verdict.name().to_owned())
}
