//! One recorded step again, on what it left behind.
//!
//! The step runs in a sandbox with its own working directory and environment, on throw-away overlays of the directories
//! of the build: the tree itself stays as it is. Each round goes on from what the one before it left.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::sandbox::{Command, HelperError, Mount, Sandbox, SandboxError, Spec, Status, overlay};
use crate::trace::{Content, Environment, Program, Ran, Step, Trace};
use crate::tree::source::sha256_file;

/// How often it is looked whether to stop.
const TICK: Duration = Duration::from_millis(50);

/// A directory of the build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Top {
    /// Where the build sees it.
    pub at: PathBuf,
    /// What it is made of on the host, the topmost first.
    pub lower: Vec<PathBuf>,
}

impl Top {
    /// Those of the directories that are in no other, each as it is on the host.
    #[must_use]
    pub fn of(dirs: &[PathBuf]) -> Vec<Self> {
        let inside = |dir: &PathBuf| dirs.iter().any(|top| dir != top && dir.starts_with(top));
        let top = |dir: &PathBuf| Self { at: dir.clone(), lower: vec![dir.clone()] };
        dirs.iter().filter(|dir| !inside(dir)).map(top).collect()
    }
}

/// What is run again.
#[derive(Debug, Clone)]
pub struct Again<'a> {
    /// Program and arguments.
    pub argv: &'a [OsString],
    /// Its working directory.
    pub cwd: &'a Path,
    /// Its environment.
    pub env: &'a Environment,
    /// The directories of the build; what it writes elsewhere it cannot, but for `/tmp`.
    pub tops: &'a [Top],
    /// The sandbox without them, and without a command.
    pub base: &'a Spec,
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

/// What came of a step that was run again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Came {
    /// Nothing changed.
    Idempotent,
    /// Something did.
    Changed {
        /// What, round by round.
        changes: Vec<Change>,
        /// The programs of the step that change it by themselves: their arguments, with blanks between. None of a step of one
        /// program, or where it cannot be told.
        by: Vec<String>,
    },
    /// It failed, on what it had made itself, with all that it had read still there: how.
    Failed(String),
    /// It cannot be told, and why.
    NotReplayable(String),
}

/// An output that a round changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Its path, as the step tells it.
    pub output: String,
    /// The round, from 1.
    pub round: u32,
    /// What it was before that round, on the host.
    pub before: PathBuf,
    /// What it is after it; none if it is gone.
    pub after: Option<PathBuf>,
}

/// How steps are run again.
pub struct Replays<'a> {
    /// The trace.
    pub trace: &'a Trace,
    /// All its steps.
    pub steps: &'a [Step],
    /// Where a file of the build is in it, by how it is told.
    pub inside: &'a dyn Fn(&str) -> PathBuf,
    /// The directories of the build.
    pub tops: &'a [Top],
    /// The sandbox without them, and without a command.
    pub base: &'a Spec,
    /// Starts it.
    pub sandbox: &'a Sandbox,
    /// Whether each run begins in a later second than the one before, which takes longer and shows what depends on the time.
    pub apart: bool,
    /// Set when everything is to stop.
    pub cancel: &'a AtomicBool,
}

impl Replays<'_> {
    /// Where a file of the build is on the host, if it is there.
    fn place(&self, told: &str) -> Option<PathBuf> {
        let path = (self.inside)(told);
        let top = self.tops.iter().find(|top| path.starts_with(&top.at))?;
        let below = path.strip_prefix(&top.at).ok()?;
        shown(&top.lower, below)
    }

    /// Runs a step again so many times, with an empty directory of its own for what it writes.
    ///
    /// # Errors
    /// It could not be run.
    pub fn step(&self, step: &Step, times: u32, scratch: &Path) -> Result<Came, ReplayError> {
        let not = |why: String| Ok(Came::NotReplayable(why));
        let process = step.processes.first().and_then(|number| self.trace.processes.get(*number as usize));
        let Some(program) = process.and_then(|process| process.programs.first()) else {
            return not("it ran no program".into());
        };
        let outputs = match self.left(step) {
            Ok(outputs) => outputs,
            Err(why) => return not(why),
        };
        let rewrites = !step.in_place.is_empty();
        let came = self.program(program, outputs.clone(), rewrites, times, &scratch.join("step"))?;
        Ok(match came {
            Came::Changed { changes, .. } => Came::Changed { changes, by: self.guilty(step, &outputs, scratch)? },
            other => other,
        })
    }

    /// Which programs of a step that changed its outputs do so by themselves, each from the state after the step. What one made
    /// anew and a later one of the step has worked on since is no output of that one.
    fn guilty(&self, step: &Step, outputs: &[Left<'_>], scratch: &Path) -> Result<Vec<String>, ReplayError> {
        let mut by = Vec::new();
        let changes = |ran: &&Ran| {
            let left = |it: &&Content| ran.in_place.iter().any(|own| **own == *it.path) || step.outputs.contains(it);
            let mut left = ran.outputs.iter().filter(left);
            left.any(|it| outputs.iter().any(|(name, ..)| **name == *it.path))
        };
        for (number, ran) in step.ran.iter().filter(changes).enumerate() {
            let processes = step.processes.iter().filter_map(|number| self.trace.processes.get(*number as usize));
            let mut programs = processes.filter_map(|process| process.programs.last());
            let Some(program) = programs.find(|program| program.command() == ran.command) else { continue };
            let own = outputs.iter().filter(|(name, ..)| ran.outputs.iter().any(|it| *it.path == **name));
            let scratch = scratch.join(format!("program-{number}"));
            if let Came::Changed { .. } = self.program(program, own.cloned().collect(), false, 1, &scratch)? {
                by.push(ran.command.clone());
            }
        }
        Ok(by)
    }

    /// Runs one program so many times; all its `outputs` have to be written each time.
    fn program(
        &self,
        program: &Program,
        mut outputs: Vec<Left<'_>>,
        rewrites: bool,
        times: u32,
        scratch: &Path,
    ) -> Result<Came, ReplayError> {
        let not = |why: String| Ok(Came::NotReplayable(why));
        let Some(env) = self.trace.environments.get(program.env as usize) else { return not("no environment".into()) };
        let again =
            Again { argv: &program.argv, cwd: self.trace.path(program.cwd), env, tops: self.tops, base: self.base };
        let replay = Replay::new(again, scratch)?;
        let log = scratch.join("log");
        let mut changes = Vec::new();
        for round in 1..=times {
            if self.apart && round > 1 {
                self.next_second()?;
            }
            let status = replay.round(self.sandbox, &log, self.cancel)?;
            if status != Some(Status::Exited(0)) {
                let said = fs::read_to_string(&log).unwrap_or_default();
                let last = said.lines().last().map(|line| format!(": {line}")).unwrap_or_default();
                let how = format!("run {round} fails{last}");
                // One that rewrites nothing may miss what the build has removed since.
                return if rewrites { Ok(Came::Failed(how)) } else { not(how) };
            }
            for (number, (name, before, digest)) in outputs.iter_mut().enumerate() {
                let inside = (self.inside)(name);
                if !replay.has_written(&inside) {
                    return not(format!("it did not write `{name}` again"));
                }
                let now = replay.place(&inside);
                let hash = now.as_deref().and_then(|now| sha256_file(now, &mut |_| {}).ok());
                if now.is_some() && hash == *digest {
                    continue;
                }
                // The next round may write it again.
                let kept = match &now {
                    None => None,
                    Some(now) => {
                        let kept = scratch.join(format!("round-{round}-{number}"));
                        let copied = fs::copy(now, &kept);
                        copied.map_err(|source| ReplayError::Io { what: "keep what a replay made", source })?;
                        Some(kept)
                    }
                };
                let before = std::mem::replace(before, kept.clone().unwrap_or_default());
                changes.push(Change { output: (*name).to_owned(), round, before, after: kept });
                *digest = hash;
            }
            if changes.iter().any(|change| change.after.is_none()) {
                break;
            }
        }
        Ok(if changes.is_empty() { Came::Idempotent } else { Came::Changed { changes, by: Vec::new() } })
    }

    /// Waits until the clock shows another second.
    fn next_second(&self) -> Result<(), ReplayError> {
        let now = || SystemTime::now().duration_since(UNIX_EPOCH).map(|since| since.as_secs()).ok();
        let before = now();
        while now() == before {
            if self.cancel.load(Ordering::Relaxed) {
                return Err(ReplayError::Stopped);
            }
            std::thread::sleep(TICK);
        }
        Ok(())
    }

    /// What a step left behind, if that and what it read are still as they were: name, place, digest.
    fn left<'s>(&self, step: &'s Step) -> Result<Vec<Left<'s>>, String> {
        if step.outputs.is_empty() {
            return Err("it leaves nothing in the tree".into());
        }
        let mut left: Vec<Left<'s>> = Vec::new();
        for output in &step.outputs {
            let later = self.steps.iter().find(|other| {
                other.began > step.began
                    && other.outputs.iter().any(|it| it.path == output.path && it.number != output.number)
            });
            if let Some(later) = later {
                return Err(format!("`{}` was written again by `{}`", output.path, later.name()));
            }
            let Some(path) = self.place(&output.path) else {
                return Err(format!("`{}` is there no more", output.path));
            };
            let Ok(now) = sha256_file(&path, &mut |_| {}) else {
                return Err(format!("`{}` is there no more", output.path));
            };
            if output.sha256.as_deref().is_some_and(|sha256| *sha256 != now) {
                return Err(format!("`{}` is not what the step left", output.path));
            }
            left.push((&output.path, path, Some(now)));
        }
        let own = |path: &str| step.outputs.iter().any(|output| &*output.path == path);
        for input in step.inputs.iter().filter(|input| !own(&input.path)) {
            let Some(path) = self.place(&input.path) else {
                return Err(format!("`{}`, which it read, is there no more", input.path));
            };
            let now = sha256_file(&path, &mut |_| {}).ok();
            if input.sha256.is_some() && now.as_deref() != input.sha256.as_deref() {
                return Err(format!("`{}` is not what the step read", input.path));
            }
        }
        Ok(left)
    }
}

/// An output as a step left it: how it is told, where it is, its digest.
type Left<'s> = (&'s str, PathBuf, Option<String>);

/// Where a replay's files are.
#[derive(Debug)]
struct Replay<'a> {
    again: Again<'a>,
    scratch: &'a Path,
}

impl<'a> Replay<'a> {
    /// In an empty directory `scratch`, which is no part of the build.
    fn new(again: Again<'a>, scratch: &'a Path) -> Result<Self, ReplayError> {
        let replay = Self { again, scratch };
        for number in 0..replay.again.tops.len() {
            for part in ["upper", "work"] {
                let made = fs::create_dir_all(replay.part(number, part));
                made.map_err(|source| ReplayError::Io { what: "make a directory", source })?;
            }
        }
        Ok(replay)
    }

    /// Runs the command once more: its status. What it prints is added to `log`.
    fn round(&self, sandbox: &Sandbox, log: &Path, cancel: &AtomicBool) -> Result<Option<Status>, ReplayError> {
        let mounts = self.again.tops.iter().enumerate().map(|(number, top)| Mount::Overlay {
            lower: top.lower.clone(),
            upper: self.part(number, "upper"),
            work: self.part(number, "work"),
            at: top.at.clone(),
        });
        let spec = Spec {
            mounts: mounts.chain(self.again.base.mounts.iter().cloned()).collect(),
            env: environment(self.again.env),
            commands: vec![Command {
                argv: self.again.argv.to_vec(),
                cwd: self.again.cwd.to_owned(),
                env: Vec::new(),
                label: "replay".into(),
            }],
            ..self.again.base.clone()
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
    fn has_written(&self, path: &Path) -> bool {
        self.overlay(path).is_some_and(|(upper, _, below)| !overlay::shows_through(&upper, below))
    }

    /// Where a file of the build is now, if there is one.
    fn place(&self, path: &Path) -> Option<PathBuf> {
        let (upper, lower, below) = self.overlay(path)?;
        let layers: Vec<PathBuf> = std::iter::once(upper).chain(lower.iter().cloned()).collect();
        shown(&layers, below)
    }

    /// The upper directory of the overlay that a file is in, what lies below that, and the file's path in them.
    fn overlay<'p>(&self, path: &'p Path) -> Option<(PathBuf, &'a [PathBuf], &'p Path)> {
        let found = |(number, top): (usize, &'a Top)| {
            Some((self.part(number, "upper"), top.lower.as_slice(), path.strip_prefix(&top.at).ok()?))
        };
        self.again.tops.iter().enumerate().find_map(found)
    }

    /// A directory of the overlay with this number.
    fn part(&self, number: usize, part: &str) -> PathBuf {
        self.scratch.join(number.to_string()).join(part)
    }
}

/// Where the file is that layers show, the topmost first.
fn shown(layers: &[PathBuf], below: &Path) -> Option<PathBuf> {
    match layers {
        [] => None,
        [only] => {
            Some(only.join(below)).filter(|path| path.symlink_metadata().is_ok_and(|meta| !overlay::is_whiteout(&meta)))
        }
        [top, rest @ ..] if overlay::shows_through(top, below) => shown(rest, below),
        [top, ..] => shown(std::slice::from_ref(top), below),
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

    #[test]
    fn a_directory_in_another_is_seen_with_it() {
        let dirs: Vec<PathBuf> = ["/a/b", "/a", "/c"].iter().map(PathBuf::from).collect();
        let at: Vec<PathBuf> = Top::of(&dirs).into_iter().map(|top| top.at).collect();
        assert_eq!(at, [Path::new("/a"), Path::new("/c")]);
    }

    #[test]
    fn the_topmost_layer_that_has_a_file_shows_it() {
        let dir = tempfile::tempdir().unwrap();
        let layers: Vec<PathBuf> = ["0", "1", "2"].iter().map(|name| dir.path().join(name)).collect();
        for layer in &layers {
            fs::create_dir(layer).unwrap();
        }
        fs::write(layers[1].join("x"), "1").unwrap();
        fs::write(layers[2].join("x"), "2").unwrap();
        assert_eq!(shown(&layers, Path::new("x")), Some(layers[1].join("x")));
        assert_eq!(shown(&layers, Path::new("y")), None);
    }
}
