//! Where run records live: bounded in size, the oldest go first.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::CliError;
use super::host::Host;
use crate::artifact::record::{RunRecord, ShardRecord, read, write_atomically};
use crate::artifact::sharding;
use crate::report::Report;
use crate::runner::directory_size;

/// Bytes that the records of runs may take together.
const KEEP_BYTES: u64 = 2 << 30;
/// How many runs are kept.
const KEEP_RUNS: usize = 50;
/// How many runs with kept trees are kept beside them: whoever asked for a tree wants to look at it.
const KEEP_TREES: usize = 5;

/// The directory of one run.
pub(crate) struct RunDir {
    pub(crate) id: String,
    pub(crate) path: PathBuf,
    pub(crate) started: u64,
    /// Whether it holds what an earlier attempt at the same shard has finished.
    pub(crate) resumed: bool,
    /// Held while it is written to.
    _lock: Option<fs::File>,
    runs: Option<PathBuf>,
}

/// How many audits are kept.
const KEEP_AUDITS: usize = 10;

/// An empty file in the directory of every audit.
const AUDIT: &str = ".audit";

/// An empty file that is there from the start, so that the directory of a run that was killed is known as one.
const BEGUN: &str = ".run";

impl RunDir {
    /// Makes the directory of a new run, here or below the state directory. That of a shard which did not come to its end is gone on
    /// with.
    pub(crate) fn create(host: &Host, out: Option<&Path>, shard: Option<&ShardRecord>) -> Result<Self, CliError> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let id = format!("{}-{}", utc(now.as_secs()), std::process::id());
        let (path, runs) = match out {
            Some(out) => (host.cwd.join(out), None),
            None => {
                let runs = host.paths.state.join("runs");
                (runs.join(&id), Some(runs))
            }
        };
        let ours = ["run.json", BEGUN].iter().any(|name| path.join(name).exists());
        let foreign = out.is_some() && path.is_dir() && !ours && !is_empty(&path);
        if foreign {
            return Err(CliError::usage(
                format!("`{}` holds something that is no run record", path.display()),
                "name a new or an empty directory",
            ));
        }
        let failed = |error: io::Error| {
            CliError::host(format!("cannot write records to `{}`: {error}", path.display()), "--out DIR")
        };
        // Two writers of one directory would spoil each other's; a batch system may start a job again that it only believes dead.
        let mut lock = None;
        if ours && out.is_some() {
            lock = Some(locked(&path)?);
        }
        let resumed = out.is_some() && ours && shard.is_some_and(|shard| is_unfinished(&path, shard));
        if out.is_some() && ours && !resumed {
            crate::sandbox::remove_tree(&path).map_err(CliError::internal)?;
            lock = None;
        }
        if resumed {
            // Until this one has its own, nobody is to take the old end for one.
            for name in ["run.json", "report.json", "report.txt"] {
                let _ = fs::remove_file(path.join(name));
            }
        }
        fs::create_dir_all(&path)
            .and_then(|()| fs::OpenOptions::new().append(true).create(true).open(path.join(BEGUN)))
            .map_err(failed)?;
        if lock.is_none() {
            lock = Some(locked(&path)?);
        }
        if let Some(shard) = shard {
            let text = serde_json::to_vec(shard).map_err(CliError::internal)?;
            write_atomically(&path.join(sharding::FILE), &text).map_err(CliError::internal)?;
        }
        if let Some(runs) = &runs {
            prune(runs, &path);
        }
        Ok(Self { id, path, started: now.as_secs(), resumed, runs, _lock: lock })
    }

    /// Writes the run's own record and report, and points `latest` at it.
    pub(crate) fn finish(&self, record: &RunRecord, report: &Report) -> io::Result<()> {
        let write =
            |name: &str, text: Vec<u8>| write_atomically(&self.path.join(name), &text).map_err(io::Error::other);
        write("run.json", serde_json::to_vec_pretty(record)?)?;
        let mut text = Vec::new();
        crate::report::json::write(report, &mut text)?;
        write("report.json", text)?;
        let mut text = Vec::new();
        let options = crate::report::terminal::Options { colour: false, verbose: true };
        crate::report::terminal::write(report, options, &mut text)?;
        write("report.txt", text)?;
        let newer =
            |runs: &Path| fs::read_link(runs.join("latest")).is_ok_and(|other| other.as_os_str() > self.id.as_str());
        // The latest is the one that was begun last: names begin with that time.
        if let Some(runs) = self.runs.as_ref().filter(|runs| !newer(runs)) {
            // A rename replaces the old link in one step.
            let link = runs.join(format!(".latest-{}", std::process::id()));
            let _ = fs::remove_file(&link);
            std::os::unix::fs::symlink(&self.id, &link)?;
            fs::rename(&link, runs.join("latest"))?;
        }
        Ok(())
    }
}

/// Takes the directory of a shard for this process alone.
fn locked(dir: &Path) -> Result<fs::File, CliError> {
    let file = fs::OpenOptions::new().append(true).create(true).open(dir.join(BEGUN));
    let failed = |error: io::Error| CliError::host(format!("cannot lock `{}`: {error}", dir.display()), "--out DIR");
    let file = file.map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(CliError::usage(
            format!("another run writes to `{}`", dir.display()),
            "wait for its end, or name another directory by --out",
        )),
        // A file system without locks, as some network file systems are.
        Err(fs::TryLockError::Error(_)) => Ok(file),
    }
}

/// Whether a directory holds an attempt at this shard that was killed or interrupted.
fn is_unfinished(dir: &Path, shard: &ShardRecord) -> bool {
    let same = read::<ShardRecord>(&dir.join(sharding::FILE)).is_ok_and(|before| before.is_same(shard));
    let ended = read::<RunRecord>(&dir.join("run.json")).is_ok_and(|run| !run.interrupted);
    same && !ended
}

/// A new directory for the runs of an audit or a sweep: the one that is asked for, or one below the state directory, where the
/// oldest go. They are no runs of their own: `judge` and `latest` are not about them.
pub(crate) fn audit_dir(host: &Host, out: Option<&Path>) -> Result<PathBuf, CliError> {
    let failed = |dir: &Path, error: io::Error| {
        CliError::host(format!("cannot write records to `{}`: {error}", dir.display()), "--out DIR")
    };
    if let Some(out) = out {
        let dir = host.cwd.join(out);
        if dir.is_dir() && !is_empty(&dir) && !dir.join(AUDIT).exists() {
            return Err(CliError::usage(
                format!("`{}` holds something that is no audit and no sweep", dir.display()),
                "name a new or an empty directory",
            ));
        }
        let cleared = if dir.is_dir() { crate::sandbox::remove_tree(&dir) } else { Ok(()) };
        let made = cleared.and_then(|()| fs::create_dir_all(&dir)).and_then(|()| fs::write(dir.join(AUDIT), ""));
        made.map_err(|error| failed(&dir, error))?;
        return Ok(dir);
    }
    let all = host.paths.state.join("audits");
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let dir = all.join(format!("{}-{}", utc(now.as_secs()), std::process::id()));
    fs::create_dir_all(&dir).and_then(|()| fs::write(dir.join(AUDIT), "")).map_err(|error| failed(&dir, error))?;
    let entries = fs::read_dir(&all).into_iter().flatten().filter_map(Result::ok);
    let mut dirs: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(|dir| dir.join(AUDIT).exists()).collect();
    dirs.sort();
    for old in dirs.iter().rev().skip(KEEP_AUDITS) {
        let _ = crate::sandbox::remove_tree(old);
    }
    Ok(dir)
}

/// The run that is asked for: a directory, a name, or the latest.
pub(crate) fn find_run(host: &Host, asked: Option<&Path>) -> Result<PathBuf, CliError> {
    let runs = host.paths.state.join("runs");
    let candidates = match asked {
        None => vec![runs.join("latest")],
        Some(asked) => vec![host.cwd.join(asked), runs.join(asked)],
    };
    let found = candidates.iter().find(|dir| dir.join("run.json").is_file()).cloned();
    found.ok_or_else(|| {
        let what =
            asked.map_or("no run is recorded yet".to_owned(), |asked| format!("`{}` is no run", asked.display()));
        CliError::usage(what, format!("runs are kept in {}; make one by `kbuild-repro run`", runs.display()))
    })
}

fn is_empty(dir: &Path) -> bool {
    fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_none())
}

/// The finished runs, the newest first. Names begin with the time.
pub(crate) fn runs(host: &Host) -> Vec<PathBuf> {
    finished(&host.paths.state.join("runs"))
}

fn finished(runs: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(runs).into_iter().flatten().filter_map(Result::ok);
    let mut dirs: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(|path| is_run(path)).collect();
    dirs.sort();
    dirs.reverse();
    dirs
}

/// Removes the oldest runs while there are too many or they are too large; of runs with kept trees, the oldest but
/// some.
fn prune(runs: &Path, own: &Path) {
    let finished = finished(runs);
    let (trees, plain): (Vec<&PathBuf>, Vec<&PathBuf>) =
        finished.iter().filter(|dir| *dir != own).partition(|dir| dir.join(super::run::KEPT).is_dir());
    let mut bytes = 0;
    let too_many = trees.iter().skip(KEEP_TREES).copied();
    let too_large = plain.iter().enumerate().filter(|(at, dir)| {
        bytes += directory_size(dir);
        // The newest stays however large.
        *at > 0 && (*at + 1 >= KEEP_RUNS || bytes > KEEP_BYTES)
    });
    for dir in too_large.map(|(_, dir)| *dir).chain(too_many) {
        let _ = crate::sandbox::remove_tree(dir);
    }
}

/// A directory that a finished run left; one without its record may still be written to.
fn is_run(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|meta| meta.is_dir()) && path.join("run.json").is_file()
}

/// Seconds since the epoch as `20261123T015500Z`.
fn utc(seconds: u64) -> String {
    let time = i64::try_from(seconds).ok().and_then(|at| chrono::DateTime::from_timestamp(at, 0)).unwrap_or_default();
    time.format("%Y%m%dT%H%M%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::utc;

    #[test]
    fn a_run_is_named_by_its_time() {
        assert_eq!(utc(0), "19700101T000000Z");
        assert_eq!(utc(951_782_400), "20000229T000000Z");
        assert_eq!(utc(1_795_398_900), "20261123T015500Z");
    }
}
