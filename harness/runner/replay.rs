//! One recorded command again, on what it left behind.
//!
//! The command runs in a sandbox with its own working directory and environment, on throw-away overlays of the directories
//! of the build: the tree itself stays as it is. Each round goes on from what the one before it left.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::sandbox::{Command, HelperError, Mount, Sandbox, SandboxError, Spec, Status, View, overlay};
use crate::trace::Environment;

/// How often it is looked whether to stop.
const TICK: Duration = Duration::from_millis(50);

/// What is run again.
#[derive(Debug, Clone, Copy)]
pub struct Again<'a> {
    /// Program and arguments.
    pub argv: &'a [OsString],
    /// Its working directory.
    pub cwd: &'a Path,
    /// Its environment.
    pub env: &'a Environment,
    /// The directories of the build; what it writes elsewhere it cannot, but for `/tmp`.
    pub dirs: &'a [PathBuf],
}

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// A directory or the log cannot be made.
    #[error("cannot {what}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
    /// The sandbox cannot be had.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// The host does not allow the sandbox.
    #[error("{0}")]
    Refused(HelperError),
    /// Everything was to stop.
    #[error("stopped")]
    Stopped,
}

/// Where a replay's files are.
#[derive(Debug)]
pub struct Replay<'a> {
    again: Again<'a>,
    scratch: &'a Path,
    /// Those of the directories that are in no other.
    tops: Vec<&'a Path>,
}

impl<'a> Replay<'a> {
    /// In an empty directory `scratch`, which is no part of the build.
    ///
    /// # Errors
    /// Directories cannot be made.
    pub fn new(again: Again<'a>, scratch: &'a Path) -> Result<Self, ReplayError> {
        let tops: Vec<&Path> = again.dirs.iter().map(PathBuf::as_path).collect();
        let inside = |dir: &Path| tops.iter().any(|top| dir != *top && dir.starts_with(top));
        let tops: Vec<&Path> = tops.iter().copied().filter(|dir| !inside(dir)).collect();
        let replay = Self { again, scratch, tops };
        for number in 0..replay.tops.len() {
            for part in ["upper", "work"] {
                let made = fs::create_dir_all(replay.part(number, part));
                made.map_err(|source| ReplayError::Io { what: "make a directory", source })?;
            }
        }
        Ok(replay)
    }

    /// Runs the command once more: its status. What it prints is added to `log`.
    ///
    /// # Errors
    /// It could not be run.
    pub fn round(&self, sandbox: &Sandbox, log: &Path, cancel: &AtomicBool) -> Result<Option<Status>, ReplayError> {
        let mounts = self.tops.iter().enumerate().map(|(number, dir)| Mount::Overlay {
            lower: vec![dir.to_path_buf()],
            upper: self.part(number, "upper"),
            work: self.part(number, "work"),
            at: dir.to_path_buf(),
        });
        let spec = Spec {
            view: View::Host,
            mounts: mounts.collect(),
            env: environment(self.again.env),
            commands: vec![Command {
                argv: self.again.argv.to_vec(),
                cwd: self.again.cwd.to_owned(),
                env: Vec::new(),
                label: "replay".into(),
            }],
            ..Spec::default()
        };
        let log = File::options().create(true).append(true).open(log);
        let log = log.map_err(|source| ReplayError::Io { what: "open the log", source })?;
        let mut running = sandbox.spawn(&spec, &log)?;
        let outcome = loop {
            if let Some(outcome) = running.wait_timeout(TICK)? {
                break outcome;
            }
            if cancel.load(Ordering::Relaxed) {
                running.kill();
                return Err(ReplayError::Stopped);
            }
        };
        match outcome.error {
            Some(error) => Err(ReplayError::Refused(error)),
            None => Ok(outcome.commands.first().map(|command| command.status)),
        }
    }

    /// Whether some round has written a file of the build, changed or not.
    #[must_use]
    pub fn has_written(&self, path: &Path) -> bool {
        self.overlay(path).is_some_and(|(upper, _, below)| !overlay::shows_through(&upper, below))
    }

    /// Where a file of the build is now, if there is one.
    #[must_use]
    pub fn place(&self, path: &Path) -> Option<PathBuf> {
        let (upper, lower, below) = self.overlay(path)?;
        overlay::shown(&upper, lower, below)
    }

    /// The upper and lower directory of the overlay that a file is in, and its path below them.
    fn overlay<'p>(&self, path: &'p Path) -> Option<(PathBuf, &'a Path, &'p Path)> {
        let found =
            |(number, top): (usize, &&'a Path)| Some((self.part(number, "upper"), *top, path.strip_prefix(top).ok()?));
        self.tops.iter().enumerate().find_map(found)
    }

    /// A directory of the overlay with this number.
    fn part(&self, number: usize, part: &str) -> PathBuf {
        self.scratch.join(number.to_string()).join(part)
    }
}

/// The environment, without the job server of a make that is gone.
fn environment(recorded: &Environment) -> Vec<(OsString, OsString)> {
    let pair = |variable: &OsString| {
        let at = variable.as_bytes().iter().position(|byte| *byte == b'=')?;
        let (name, value) = variable.as_bytes().split_at(at);
        let name = OsStr::from_bytes(name).to_owned();
        let mut value = value[1..].to_vec();
        if name == "MAKEFLAGS" || name == "MFLAGS" {
            let words = value.split(|byte| *byte == b' ').filter(|word| !word.starts_with(b"--jobserver"));
            value = words.collect::<Vec<_>>().join(&b' ');
        }
        Some((name, OsString::from_vec(value)))
    };
    recorded.0.iter().filter_map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_job_server_of_before_is_left_out() {
        let recorded =
            Environment(vec!["A=b=c".into(), "MAKEFLAGS= -j2 --jobserver-auth=3,4 -- X=1".into(), "odd".into()]);
        let pair = |name: &str, value: &str| (OsString::from(name), OsString::from(value));
        assert_eq!(environment(&recorded), [pair("A", "b=c"), pair("MAKEFLAGS", " -j2 -- X=1")]);
    }
}
