//! `history`: what is new, still there and gone from run to run; and what `run`, `merge` and `judge` say of that.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Args, Subcommand};

use super::amounts::{parse_size, parse_time};
use super::host::Host;
use super::judge::Judged;
use super::output::{OutputArgs, show_answer};
use super::past::read_report;
use super::progress::note;
use super::run::capture_without_tools;
use super::{CliError, Session};
use crate::artifact::record::ScenarioRecord;
use crate::report::history::overview::Overview;
use crate::report::{Report, history};
use crate::verdict::ATTENTION;
use crate::verdict::history::{History, PastRun};

mod store;

use store::{Entered, Store};

const EXAMPLES: &str = "\
Examples:
  kbuild-repro run --history /srv/history          a night: compared, then entered
  kbuild-repro history --history /srv/history      the nights, the newest last
  kbuild-repro history 20261127T02                 one of them in full
  kbuild-repro history --scenario 'graft/*@7.3'    verdicts, times and sizes
  kbuild-repro history add /srv/nightly            runs that were made without

Shown are the last 30 runs; --runs and --since choose others.";

/// Where the history is.
#[derive(Debug, Clone, Args)]
pub(super) struct HistoryArgs {
    /// The directory of past runs. The report says what is new, still there and gone since the last of them; the verdict does not
    /// go by it
    #[arg(long, value_name = "DIR", env = "KBUILD_REPRO_HISTORY", value_parser = maybe_empty(), help_heading = "History")]
    history: Option<PathBuf>,
}

/// The same where runs are entered.
#[derive(Debug, Clone, Args)]
pub(crate) struct EnterArgs {
    #[command(flatten)]
    at: HistoryArgs,
    /// The most that the history may take, e.g. 500M, 2G: the oldest runs go first, and the newest ten stay
    #[arg(long, value_name = "SIZE", default_value = "256M", value_parser = parse_size, help_heading = "History")]
    history_limit: u64,
}

/// What to show.
#[derive(Debug, Clone, Args)]
#[command(after_help = EXAMPLES, args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(super) struct ShowArgs {
    #[command(subcommand)]
    command: Option<HistoryCommand>,
    /// One run in full, by its name or the beginning of it; or the directory of past runs
    #[arg(value_name = "RUN|DIR")]
    what: Option<PathBuf>,
    #[command(flatten)]
    at: HistoryArgs,
    /// The scenarios of this pattern of ids (`*` is any run of characters; a plain word matches anywhere) over the runs
    #[arg(long, value_name = "PATTERN")]
    scenario: Option<String>,
    /// Only runs that began since then: 7d, 2w, 12h ago
    #[arg(long, value_name = "TIME", value_parser = parse_ago)]
    since: Option<Duration>,
    /// Only the last of them
    #[arg(long, value_name = "N", default_value_t = 30)]
    runs: usize,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, Clone, Subcommand)]
enum HistoryCommand {
    /// Enter runs that were made without a history; one that is there already stays one
    Add(AddArgs),
}

/// What to enter.
#[derive(Debug, Clone, Args)]
struct AddArgs {
    /// Directories of runs (what `--out` named), directories of such, or JSON reports, of which less is known
    #[arg(value_name = "DIR|REPORT", required = true)]
    what: Vec<PathBuf>,
    #[command(flatten)]
    enter: EnterArgs,
}

/// CI systems set a variable that nobody gave a value to an empty one.
fn maybe_empty() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().map(PathBuf::from)
}

/// `7d`, `2w`, or a time as elsewhere.
fn parse_ago(text: &str) -> Result<Duration, String> {
    let wrong = || "a time such as 7d, 2w or 12h".to_owned();
    let day = 24 * 60 * 60;
    let (digits, unit) = match (text.strip_suffix('d'), text.strip_suffix('w')) {
        (Some(days), _) => (days, day),
        (_, Some(weeks)) => (weeks, 7 * day),
        _ => return parse_time(text).map_err(|_| wrong()),
    };
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    number.checked_mul(unit).filter(|time| *time > 0).map(Duration::from_secs).ok_or_else(wrong)
}

impl HistoryArgs {
    /// The directory; none where the variable is empty.
    fn dir(&self, host: &Host) -> Option<PathBuf> {
        let named = self.history.as_deref().filter(|dir| !dir.as_os_str().is_empty());
        named.map(|dir| host.cwd.join(dir))
    }

    /// For a run that is over: it is compared with what was before it, and nothing is entered.
    pub(super) fn compare(&self, report: &mut Report) -> Result<(), CliError> {
        let host = capture_without_tools()?;
        if let Some(dir) = self.dir(&host) {
            Keeper { store: Store::new(dir), limit: 0 }.compare(report);
        }
        Ok(())
    }
}

impl EnterArgs {
    /// Sees whether a history can be kept, before anything is built.
    pub(super) fn keeper(&self, host: &Host) -> Result<Option<Keeper>, CliError> {
        let Some(dir) = self.at.dir(host) else { return Ok(None) };
        let keeper = Keeper { store: Store::new(dir), limit: self.history_limit };
        keeper.store.create().map_err(|error| keeper.failed("write", &error))?;
        Ok(Some(keeper))
    }
}

/// Compares a run with those before it and enters it.
pub(crate) struct Keeper {
    store: Store,
    limit: u64,
}

impl Keeper {
    fn failed(&self, what: &str, error: &std::io::Error) -> CliError {
        CliError::usage(
            format!("cannot {what} the history `{}`: {error}", self.store.dir.display()),
            "--history (or KBUILD_REPRO_HISTORY) names another directory",
        )
    }

    /// Adds to a report what it says over those before it. What goes wrong here is told and changes nothing else.
    fn compare(&self, report: &mut Report) -> PastRun {
        let now = entry(report);
        let mut since = match self.store.read() {
            Ok(held) => {
                let mut since = History::up_to(&now, &held.runs).since();
                since.told = held.told;
                since
            }
            Err(error) => {
                let mut since = History::new([&now]).since();
                since.told = vec![format!("cannot read the history `{}`: {error}", self.store.dir.display())];
                since
            }
        };
        since.told.sort();
        report.since = Some(since);
        now
    }

    /// The same, and enters it, unless it is a part of a run: that is what `merge` makes of the parts.
    pub(crate) fn keep(&self, report: &mut Report) {
        let now = self.compare(report);
        let bounded = || self.store.enter(&now).and_then(|_| self.store.bound(self.limit));
        if report.shard.is_none()
            && let Err(error) = bounded()
        {
            let told = format!("the run is not in the history `{}`: {error}", self.store.dir.display());
            report.since.get_or_insert_default().told.push(told);
        }
    }
}

/// What is kept of a run, with what its records have.
fn entry(report: &Report) -> PastRun {
    let dir = report.record.as_deref().map(PathBuf::from);
    history::entry(report, &mut |scenario| ScenarioRecord::read(&dir.as_ref()?.join(&scenario.id)).ok())
}

/// The command `history`.
pub(super) fn history(args: &ShowArgs, session: &mut Session<'_>) -> Result<u8, CliError> {
    if let Some(HistoryCommand::Add(args)) = &args.command {
        return add(args, session);
    }
    args.output.check_answer()?;
    let host = capture_without_tools()?;
    let named = args.what.as_ref().map(|what| host.cwd.join(what)).filter(|path| path.is_dir());
    let asked = args.what.as_ref().filter(|_| named.is_none()).map(|what| what.to_string_lossy().into_owned());
    let dir = named.or_else(|| args.at.dir(&host)).ok_or_else(|| {
        CliError::usage("no history is named", "--history DIR, or KBUILD_REPRO_HISTORY; `run --history DIR` begins one")
    })?;
    let keeper = Keeper { store: Store::new(dir), limit: 0 };
    let held = keeper.store.read().map_err(|error| keeper.failed("read", &error))?;
    if !args.output.quiet {
        held.told.iter().for_each(|told| note(&format!("{ATTENTION}{told}")));
    }
    let history = History::new(&held.runs);
    let shown = match &asked {
        Some(name) => vec![named_run(&history, name)?],
        None => chosen(&history, args),
    };
    let mut overview = Overview::of(&history, &shown, held.told.clone());
    if let (Some(_), Some(at)) = (&asked, shown.first()) {
        overview.since = Some(history.since_at(*at));
    }
    if let Some(pattern) = &args.scenario {
        let runs: Vec<&PastRun> = shown.iter().filter_map(|at| history.runs().nth(*at)).collect();
        let among = History::new(runs);
        let cells = among.cells(&|id| load_matches(pattern, id));
        if cells.is_empty() {
            return Err(CliError::Nothing {
                message: format!("no run that is shown has a scenario `{pattern}`"),
                hint: Some("a pattern has `*` for any characters; `--runs N` and `--since TIME` take more runs".into()),
            });
        }
        overview.cells = Some(cells);
    }
    let mut text = Vec::new();
    overview.write(&mut text)?;
    let mut json = serde_json::to_vec_pretty(&overview).map_err(CliError::internal)?;
    json.push(b'\n');
    show_answer(&text, &json, &args.output, session)?;
    Ok(0)
}

/// As `run` takes patterns: a plain word matches anywhere.
fn load_matches(pattern: &str, id: &str) -> bool {
    if pattern.contains('*') { crate::verdict::pattern_matches(pattern, id) } else { id.contains(pattern) }
}

/// The number of the run of this name, or of the only one that begins so.
fn named_run(history: &History<'_>, name: &str) -> Result<usize, CliError> {
    let all: Vec<&str> = history.runs().map(|run| run.run.as_str()).collect();
    let found: Vec<usize> = match all.iter().rposition(|run| *run == name) {
        Some(at) => vec![at],
        None => (0..all.len()).filter(|at| all[*at].starts_with(name)).collect(),
    };
    match found.as_slice() {
        [at] => Ok(*at),
        [] => Err(CliError::usage(
            format!("`{name}` is no directory, and no run of the history"),
            "`kbuild-repro history` lists the runs",
        )),
        several => {
            let names: Vec<&str> = several.iter().map(|at| all[*at]).collect();
            Err(CliError::usage(format!("`{name}` is the beginning of several runs"), names.join("\n")))
        }
    }
}

/// The numbers of the runs that are shown.
fn chosen(history: &History<'_>, args: &ShowArgs) -> Vec<usize> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let from = args.since.map_or(0, |ago| now.saturating_sub(ago).as_secs());
    let all: Vec<usize> = (0..).zip(history.runs()).filter(|(_, run)| run.started >= from).map(|(at, _)| at).collect();
    all[all.len().saturating_sub(args.runs)..].to_vec()
}

/// `history add`: all is read before anything is entered.
fn add(args: &AddArgs, session: &mut Session<'_>) -> Result<u8, CliError> {
    let host = capture_without_tools()?;
    let Some(keeper) = args.enter.keeper(&host)? else {
        return Err(CliError::usage("no history is named", "--history DIR, or KBUILD_REPRO_HISTORY"));
    };
    let mut runs = Vec::new();
    for what in &args.what {
        let path = host.cwd.join(what);
        if path.is_dir() && !path.join("run.json").is_file() {
            let below = runs_below(&path);
            if below.is_empty() {
                return Err(CliError::usage(
                    format!("`{}` is no run, and none is below it", what.display()),
                    "a run's directory is what `records:` names",
                ));
            }
            for dir in below {
                runs.extend(of_dir(&dir, true)?);
            }
        } else if path.is_file() {
            runs.extend(of_report(&path)?);
        } else {
            runs.extend(of_dir(what, false)?);
        }
    }
    let (mut new, mut same) = (0, 0);
    for run in &runs {
        match keeper.store.enter(run).map_err(|error| keeper.failed("write", &error))? {
            Entered::New | Entered::Replaced => new += 1,
            Entered::Same => same += 1,
        }
    }
    let gone = keeper.store.bound(keeper.limit).map_err(|error| keeper.failed("bound", &error))?;
    let plural = if new == 1 { "run" } else { "runs" };
    let there = if same > 0 { format!(", {same} there already") } else { String::new() };
    let gone = if gone > 0 { format!(", {gone} of the oldest removed (--history-limit)") } else { String::new() };
    writeln!(session.out, "{new} {plural} entered{there}{gone}")?;
    Ok(0)
}

/// The runs in a directory, each in a directory of its own. A link, as `latest`, is one of these again.
fn runs_below(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().filter_map(Result::ok);
    let real = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path());
    let mut runs: Vec<PathBuf> = real.filter(|path| path.join("run.json").is_file()).collect();
    runs.sort();
    runs
}

/// A part of a run is an error where it is named, and passed over where it is one of many.
fn part(report: &Report, place: &str, passed_over: bool) -> Result<bool, CliError> {
    match &report.shard {
        None => Ok(false),
        Some(_) if passed_over => Ok(true),
        Some(shard) => Err(CliError::usage(
            format!("`{place}` is shard {}/{} of a run", shard.index, shard.count),
            "put the shards together by `kbuild-repro merge`, and enter that",
        )),
    }
}

fn of_dir(dir: &Path, below: bool) -> Result<Option<PastRun>, CliError> {
    let report = Judged::read(Some(dir), None)?.report();
    Ok((!part(&report, &dir.display().to_string(), below)?).then(|| entry(&report)))
}

fn of_report(path: &Path) -> Result<Option<PastRun>, CliError> {
    let wrong = |why: String| {
        CliError::usage(
            format!("`{}`: {why}", path.display()),
            "name a run's directory, or what `run --json FILE` wrote",
        )
    };
    let mut report = read_report(path).map_err(wrong)?;
    let part = part(&report, &path.display().to_string(), false)?;
    // A report says where its records were on the machine that wrote it; here something else may be there.
    let beside = report.record.as_deref().map(|dir| Path::new(dir).join("report.json"));
    let own = beside.and_then(|file| read_report(&file).ok()).is_some_and(|other| {
        (other.run, other.started, other.host) == (report.run.clone(), report.started, report.host.clone())
    });
    if !own {
        report.record = None;
    }
    Ok((!part).then(|| entry(&report)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_ago_have_days_and_weeks() {
        assert_eq!(parse_ago("7d"), Ok(Duration::from_secs(7 * 86_400)));
        assert_eq!(parse_ago("2w"), Ok(Duration::from_secs(14 * 86_400)));
        assert_eq!(parse_ago("12h"), Ok(Duration::from_secs(43_200)));
        for bad in ["", "d", "0d", "-1d", "1y", "é", "99999999999999999999d"] {
            assert!(parse_ago(bad).is_err(), "{bad}");
        }
    }
}
