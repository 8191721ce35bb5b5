//! `merge`: the shards of a run as one run, with one report.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use clap::Args;

use super::history::EnterArgs;
use super::output::show;
use super::past::read_report;
use super::progress::note;
use super::run::capture_without_tools;
use super::state::{RunDir, find_run};
use super::{CliError, OutputArgs, Session};
use crate::artifact::record::{FORMAT, RunRecord, ShardRecord, read};
use crate::artifact::sharding;
use crate::report::merge::{self, Merged, Part};

const EXAMPLES: &str = "\
Examples:
  kbuild-repro run --shard 1/2 --out shard-1      on one machine
  kbuild-repro run --shard 2/2 --out shard-2      on another
  kbuild-repro merge shard-1 shard-2 --report junit=junit.xml
  kbuild-repro merge results --out night          all shards below a directory

The report, its exit code and the record are those of one run of everything.
Where a shard is missing, was killed or interrupted, what it did not do is told
as skipped, with the command that runs it, and the exit code is 130, as that of
a run that was interrupted. What is no part of the same run (another N, other
options, scenarios, or version; a shard that is there twice) is an error.";

/// What to put together.
#[derive(Debug, Clone, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct MergeArgs {
    /// Directories of shards (what `--out` named), a directory of such, or JSON reports, of which no records are kept
    #[arg(value_name = "DIR|REPORT", required = true)]
    what: Vec<PathBuf>,
    /// Write the record of the whole here; by default below $XDG_STATE_HOME/kbuild-repro/runs
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    #[command(flatten)]
    history: EnterArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// A result that was found.
struct Found {
    part: Part,
    /// Its records.
    dir: Option<PathBuf>,
    run: Option<RunRecord>,
}

pub(super) fn merge(args: &MergeArgs, session: &mut Session<'_>) -> Result<u8, CliError> {
    args.output.check()?;
    let host = capture_without_tools()?;
    let keeper = args.history.keeper(&host)?;
    let mut found = Vec::new();
    for what in &args.what {
        let path = host.cwd.join(what);
        if path.is_dir() {
            found.extend(of_dir(&path, what)?);
        } else if path.exists() {
            found.push(of_report(&path, what)?);
        } else {
            // A run without `--out` has a name.
            let dir = find_run(&host, Some(what))?;
            found.extend(of_dir(&dir, what)?);
        }
    }
    let out = args.out.as_ref().map(|out| host.cwd.join(out));
    if let Some(out) = &out {
        apart(out, &found)?;
    }
    let dirs: BTreeMap<u32, PathBuf> = found
        .iter()
        .filter(|it| it.run.is_some())
        .filter_map(|it| Some((it.part.shard.index, it.dir.clone()?)))
        .collect();
    let runs: Vec<RunRecord> = found.iter().filter_map(|it| it.run.clone()).collect();
    let alone = found.iter().any(|it| it.part.report.is_some() && it.dir.is_none());
    if alone && args.output.reads_records() {
        return Err(CliError::usage(
            "`--report perfetto` is made from records, and a JSON report has none",
            "name the directories of the shards",
        ));
    }
    let parts = found.into_iter().map(|found| found.part).collect();
    let Merged { mut report, incomplete, told } =
        merge::merge(parts).map_err(|apart| CliError::usage(apart.message, apart.hint))?;
    let dir = RunDir::create(&host, args.out.as_deref(), None)?;
    report.record = Some(dir.path.display().to_string());
    for scenario in &report.scenarios {
        for from in dirs.values().map(|dir| dir.join(&scenario.id)).filter(|from| from.join("record.json").is_file()) {
            copy(&from, &dir.path.join(&scenario.id)).map_err(|error| {
                CliError::host(format!("cannot copy the record of `{}`: {error}", scenario.id), "--out DIR")
            })?;
        }
    }
    let mut unreferenced: Vec<String> = runs.iter().flat_map(|run| run.unreferenced.clone()).collect();
    unreferenced.sort();
    unreferenced.dedup();
    let record = RunRecord {
        format: FORMAT,
        id: report.run.clone(),
        harness: report.harness.clone(),
        started: report.started,
        args: std::env::args().skip(1).collect(),
        host: report.host.clone(),
        losses: report.losses.clone(),
        scenarios: report.scenarios.iter().map(|scenario| scenario.id.clone()).collect(),
        snapshots: runs.iter().find_map(|run| run.snapshots.clone()),
        interrupted: incomplete,
        left_out: report.left_out.clone(),
        unreferenced,
        why_left_out: report.why_left_out.clone(),
        shard: None,
    };
    if let Some(keeper) = &keeper {
        keeper.keep(&mut report);
    }
    dir.finish(&record, &report).map_err(CliError::internal)?;
    if !args.output.quiet {
        told.iter().for_each(|line| note(line));
        if alone {
            note("reports alone have no records: `judge` and `report --mail` need the directories of the shards");
        }
    }
    show(&report, &args.output, session)?;
    Ok(report.exit_code)
}

/// The directory of a shard, or those below it.
fn of_dir(dir: &Path, name: &Path) -> Result<Vec<Found>, CliError> {
    if let Some(found) = shard(dir, name)? {
        return Ok(vec![found]);
    }
    let wrong =
        |why: &str| CliError::usage(format!("`{}` {why}", name.display()), "`run --shard K/N --out DIR` makes one");
    if dir.join("run.json").is_file() {
        return Err(wrong("is a run, but no shard of one"));
    }
    let entries = fs::read_dir(dir).map_err(|error| wrong(&format!("cannot be read: {error}")))?;
    let mut below: Vec<PathBuf> = entries.filter_map(Result::ok).map(|entry| entry.path()).collect();
    below.sort();
    let mut found = Vec::new();
    for path in below.iter().filter(|path| path.is_dir()) {
        found.extend(shard(path, &name.join(path.file_name().unwrap_or_default()))?);
    }
    if found.is_empty() { Err(wrong("has no shard, and none is below it")) } else { Ok(found) }
}

/// What a shard left in its directory, if this is one.
fn shard(dir: &Path, name: &Path) -> Result<Option<Found>, CliError> {
    let file = dir.join(sharding::FILE);
    if !file.is_file() {
        return Ok(None);
    }
    let wrong = |why: String| CliError::usage(why, format!("run the shard again into `{}`", name.display()));
    let shard: ShardRecord = read(&file).map_err(|error| wrong(error.to_string()))?;
    let place = name.display().to_string();
    check(&shard, &place)?;
    // It is written last; what a killed one leaves is whole or not there.
    let ended = ["run.json", "report.json"].iter().all(|name| dir.join(name).is_file());
    let (run, report) = if ended {
        let run: RunRecord = read(&dir.join("run.json")).map_err(|error| wrong(error.to_string()))?;
        let report = read_report(&dir.join("report.json"));
        (Some(run), Some(report.map_err(|why| wrong(format!("cannot read `{place}/report.json`: {why}")))?))
    } else {
        (None, None)
    };
    let finished = shard.of(shard.index).filter(|id| dir.join(id).join("record.json").is_file()).count();
    Ok(Some(Found { part: Part { place, shard, report, finished }, dir: Some(dir.to_owned()), run }))
}

fn of_report(path: &Path, name: &Path) -> Result<Found, CliError> {
    let place = name.display().to_string();
    let wrong = |why: String| {
        CliError::usage(
            format!("`{place}`: {why}"),
            "name the JSON report of a shard, or the directory that its --out named",
        )
    };
    let report = read_report(path).map_err(wrong)?;
    let shard = report.shard.clone().ok_or_else(|| wrong("it is the report of no shard".into()))?;
    check(&shard, &place)?;
    Ok(Found { part: Part { place, shard, report: Some(report), finished: 0 }, dir: None, run: None })
}

/// Results come from other machines; the ids in them become paths here.
fn check(shard: &ShardRecord, place: &str) -> Result<(), CliError> {
    let is_plain =
        |id: &str| !id.is_empty() && Path::new(id).components().all(|part| matches!(part, Component::Normal(_)));
    let wrong = |what: String| CliError::usage(format!("`{place}` {what}"), "run the shard again");
    if let Some(cell) = shard.cells.iter().find(|cell| !is_plain(&cell.id)) {
        return Err(wrong(format!("has `{}`, which can be no scenario", cell.id.escape_default())));
    }
    if shard.index == 0 || shard.index > shard.count || shard.count > super::shard::MOST {
        return Err(wrong(format!("says that it is shard {} of {}", shard.index, shard.count)));
    }
    Ok(())
}

/// What is put together is not to be written over.
fn apart(out: &Path, found: &[Found]) -> Result<(), CliError> {
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let out = real(out);
    let inside = |dir: &Path| dir.starts_with(&out) || out.starts_with(dir);
    match found.iter().filter_map(|found| found.dir.as_deref()).find(|dir| inside(&real(dir))) {
        Some(dir) => Err(CliError::usage(
            format!("`{}` is what is put together, and would be written over", dir.display()),
            "--out names another directory",
        )),
        None => Ok(()),
    }
}

/// Copies the record of a scenario: files and directories; nothing else is in one.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (kind, to) = (entry.file_type()?, to.join(entry.file_name()));
        if kind.is_dir() {
            copy(&entry.path(), &to)?;
        } else if kind.is_file() {
            fs::copy(entry.path(), &to)?;
        }
    }
    Ok(())
}
