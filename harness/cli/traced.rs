//! A build under the tracer, with its steps: what `trace` shows and `replay` runs again.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use clap::Args;

use super::host::Host;
use super::run::capture_without_tools;
use super::{CliError, Session, TICK};
use crate::report::terminal::clean;
use crate::sandbox::scratch::{Scratch, sweep};
use crate::trace::{self, Root, Step, Trace, TraceError, What};
use crate::verdict::pattern_matches;

/// How long a command that the terminal has asked to stop may take before it is asked again.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long it may take then.
const LAST: Duration = Duration::from_secs(5);

/// Where a build is, and whether it is made.
#[derive(Debug, Clone, Args)]
pub(super) struct BuildArgs {
    /// A directory of the build: contents of files in it are told by SHA-256 in JSON, and are what steps read and make;
    /// by default the working directory, or with --read those that the trace was made with
    #[arg(long, value_name = "DIR")]
    dir: Vec<PathBuf>,
    /// Run nothing: take a trace that was written as JSON before
    #[arg(long, value_name = "FILE", conflicts_with = "command")]
    read: Option<PathBuf>,
}

impl BuildArgs {
    /// Whether nothing is run.
    pub(super) fn is_read(&self) -> bool {
        self.read.is_some()
    }
}

/// A traced build.
pub(super) struct Build {
    pub(super) trace: Trace,
    /// Its steps, named by the makefiles as they are now.
    pub(super) steps: Vec<Step>,
    /// Its directories, without symbolic links.
    pub(super) dirs: Vec<PathBuf>,
    roots: Vec<Root>,
    /// Where it was traced, or is looked at.
    pub(super) host: Host,
    /// The command's own status; 0 of one that was traced before.
    pub(super) code: u8,
}

impl Build {
    /// The trace that is asked for, or else one of the command.
    pub(super) fn get(args: &BuildArgs, command: &[OsString], session: &Session<'_>) -> Result<Self, CliError> {
        match Self::recorded(args)? {
            Some(build) => Ok(build),
            None => Self::traced(args, What::Contents, command, session),
        }
    }

    /// The trace that was written before, if one is asked for.
    pub(super) fn recorded(args: &BuildArgs) -> Result<Option<Self>, CliError> {
        args.read.as_deref().map(|path| Self::of(args, path)).transpose()
    }

    /// Runs the command and traces it.
    pub(super) fn traced(
        args: &BuildArgs,
        what: What,
        command: &[OsString],
        session: &Session<'_>,
    ) -> Result<Self, CliError> {
        let host = capture_without_tools()?;
        let dirs = directories(args, &host)?;
        let own: Vec<&Path> = dirs.iter().map(PathBuf::as_path).collect();
        let (trace, code) = run(what, command, &own, &host, session)?;
        Ok(Self::new(trace, dirs, host, code))
    }

    /// A trace that was written before.
    pub(super) fn of(args: &BuildArgs, path: &Path) -> Result<Self, CliError> {
        let trace = trace::read_all(path).map_err(|error: TraceError| {
            let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
            CliError::usage(format!("{error}{cause}"), "`trace --format json -o FILE -- COMMAND` writes one")
        })?;
        let host = capture_without_tools()?;
        // It is read in the directories in which it was made, wherever it is read.
        let dirs = match (args.dir.as_slice(), trace.dirs.as_slice()) {
            ([], [_, ..]) => trace.dirs.clone(),
            _ => directories(args, &host)?,
        };
        Ok(Self::new(trace, dirs, host, 0))
    }

    fn new(trace: Trace, dirs: Vec<PathBuf>, host: Host, code: u8) -> Self {
        for gap in &trace.gaps {
            super::progress::note(&clean(&format!("the trace is not whole: {gap}")));
        }
        let roots = named(&dirs);
        let mut steps = trace::steps(&trace, &roots);
        trace::kbuild::name(&trace, &mut steps, &mut |path| {
            let text = std::fs::read(path).ok()?;
            Some((Root::told(&roots, path), String::from_utf8_lossy(&text).into_owned()))
        });
        Self { trace, steps, dirs, roots, host, code }
    }

    /// Where a file is that is told in this way.
    pub(super) fn place(&self, told: &str) -> PathBuf {
        let below = |root: &Root| match root.name.as_str() {
            "" => Some(root.dir.join(told)),
            name => Some(root.dir.join(told.strip_prefix(name)?.strip_prefix('/')?)),
        };
        self.roots.iter().find_map(below).unwrap_or_else(|| told.into())
    }
}

/// Whether one of the patterns fits a step's label or name, target, `cmd_X` or command.
pub(super) fn is_named(patterns: &[String], step: &Step) -> bool {
    let cmd = step.cmd.as_ref().map(|cmd| cmd.name.as_str());
    let name = step.name();
    let names = [Some(name.as_str()), step.target.as_deref(), cmd, Some(step.command.as_str())];
    patterns.iter().any(|pattern| names.iter().flatten().any(|name| pattern_matches(pattern, name)))
}

fn directories(args: &BuildArgs, host: &Host) -> Result<Vec<PathBuf>, CliError> {
    let cwd = &host.cwd;
    let dirs = if args.dir.is_empty() { vec![cwd.clone()] } else { args.dir.clone() };
    let real = |dir: &PathBuf| {
        cwd.join(dir).canonicalize().map_err(|error| {
            CliError::usage(format!("cannot find `{}`: {error}", dir.display()), "`--dir` takes a directory")
        })
    };
    dirs.iter().map(real).collect()
}

/// The directories as a build's: one is told without its name, several by their own.
fn named(dirs: &[PathBuf]) -> Vec<Root> {
    let name = |dir: &Path| match dirs {
        [_] => String::new(),
        _ => dir.file_name().unwrap_or(dir.as_os_str()).to_string_lossy().into_owned(),
    };
    dirs.iter().map(|dir| Root { dir: dir.clone(), name: name(dir) }).collect()
}

/// Runs a command under the tracer: its trace, and its own status.
fn run(
    what: What,
    command: &[OsString],
    own: &[&Path],
    host: &Host,
    session: &Session<'_>,
) -> Result<(Trace, u8), CliError> {
    let base = &host.paths.scratch;
    // What an earlier one left when it was killed.
    let _ = sweep(base);
    let dir = Scratch::create(base).map_err(|error| CliError::host(error.to_string(), error.hint()))?;
    let out = dir.path().join("trace.json");
    let line = trace::wrap(host.exe.as_os_str(), what, &out, own, command);
    let status = watched(&line, session)?;
    let Some(code) = status.code() else {
        return Err(CliError::harness("the tracer was killed, and the command with it"));
    };
    let trace = trace::read_all(&out).map_err(|error| {
        let hint = error.hint().map(str::to_owned);
        match CliError::internal(error) {
            CliError::Harness { message, .. } => CliError::Harness { message, hint },
            other => other,
        }
    })?;
    Ok((trace, u8::try_from(code).unwrap_or(u8::MAX)))
}

/// Runs the tracer to its end. What the terminal sends goes to the command as well, which may take its time over it.
fn watched(line: &[OsString], session: &Session<'_>) -> Result<ExitStatus, CliError> {
    let mut child = Command::new(&line[0]).args(&line[1..]).spawn()?;
    let mut asked: Option<Instant> = None;
    let mut told = false;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if session.cancel.load(Ordering::Relaxed) {
            let since = asked.get_or_insert_with(Instant::now).elapsed();
            if since > PATIENCE && !told {
                told = true;
                // A signal that came to this process alone: the tracer itself takes none.
                terminate_children(child.id());
            } else if since > PATIENCE + LAST {
                // Everything that is traced dies with it.
                child.kill()?;
            }
        }
        std::thread::sleep(if asked.is_some() { TICK } else { Duration::from_millis(2) });
    }
}

/// Asks the children of a process to end (proc(5), `/proc/PID/task/TID/children`).
fn terminate_children(pid: u32) {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    for child in children.split_whitespace().filter_map(|child| child.parse().ok()) {
        if let Some(child) = rustix::process::Pid::from_raw(child) {
            let _ = rustix::process::kill_process(child, rustix::process::Signal::TERM);
        }
    }
}
