//! `trace`: any command, watched.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};

use super::{CliError, Session, TICK};
use crate::report::trace::{Show, against, dot, perfetto, steps, text};
use crate::trace::{self, Root, Step, Trace, TraceError, What};

/// How long a command that was asked to stop may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// What to trace, and how to show it.
#[derive(Debug, Clone, Args)]
pub(super) struct TraceArgs {
    /// Processes, or what make ran step by step, for people; every detail for programs; a graph for Graphviz; a time line
    /// for Perfetto and Chrome
    #[arg(long, value_enum, default_value = "text")]
    format: TraceFormat,
    /// Write it to this file (`-`: standard output); by default standard error, since standard output is the command's
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Show what was looked up as well, found or not (of steps: in vain): headers that would shadow others, programs along PATH
    #[arg(long)]
    looks: bool,
    /// Show files of the system as well: programs, libraries, headers, devices
    #[arg(long)]
    system: bool,
    /// A directory of the build: contents of files in it are told by SHA-256 in JSON, and are what steps read and make;
    /// by default the working directory
    #[arg(long, value_name = "DIR")]
    dir: Vec<PathBuf>,
    /// Run nothing: show a trace that was written as JSON before
    #[arg(long, value_name = "FILE", conflicts_with = "command")]
    read: Option<PathBuf>,
    /// Say where the build parts from another, of which this is the trace as JSON: which steps got the same and made
    /// something else
    #[arg(long, value_name = "FILE", conflicts_with = "format")]
    against: Option<PathBuf>,
    /// The command
    #[arg(last = true, required_unless_present = "read", value_name = "COMMAND")]
    command: Vec<OsString>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum TraceFormat {
    Text,
    Steps,
    Json,
    Dot,
    Perfetto,
}

pub(super) fn trace(args: &TraceArgs, session: &mut Session<'_>) -> Result<u8, CliError> {
    let cwd = std::env::current_dir()?;
    // Opened before anything runs, as a shell would.
    let file = match &args.output {
        Some(path) if path.as_os_str() != "-" => Some(File::create(path).map_err(|error| {
            CliError::usage(format!("cannot write `{}`: {error}", path.display()), "name a file that can be written")
        })?),
        _ => None,
    };
    let dirs = if args.dir.is_empty() { vec![cwd.clone()] } else { args.dir.clone() };
    let own: Result<Vec<PathBuf>, CliError> = dirs
        .iter()
        .map(|dir| {
            cwd.join(dir).canonicalize().map_err(|error| {
                CliError::usage(format!("cannot find `{}`: {error}", dir.display()), "`--dir` takes a directory")
            })
        })
        .collect();
    let own = own?;
    let own: Vec<&Path> = own.iter().map(PathBuf::as_path).collect();
    let roots = named(&own);
    let before = args.against.as_deref().map(earlier).transpose()?;
    let (trace, code) = match &args.read {
        Some(path) => (earlier(path)?, 0),
        None => run(&args.command, &own, session)?,
    };
    for gap in &trace.gaps {
        super::progress::note(&format!("the trace is not whole: {gap}"));
    }
    match (file, &args.output) {
        (Some(file), _) => show(&trace, before.as_ref(), args, &roots, &mut BufWriter::new(file))?,
        (None, Some(_)) => show(&trace, before.as_ref(), args, &roots, &mut BufWriter::new(&mut *session.out))?,
        (None, None) => show(&trace, before.as_ref(), args, &roots, &mut BufWriter::new(io::stderr().lock()))?,
    }
    Ok(code)
}

/// A trace that was written before.
fn earlier(path: &Path) -> Result<Trace, CliError> {
    trace::read_all(path).map_err(|error: TraceError| {
        let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
        CliError::usage(format!("{error}{cause}"), "`trace --format json -o FILE -- COMMAND` writes one")
    })
}

/// Its steps, named by the makefiles as they are now.
fn named_steps(trace: &Trace, roots: &[Root]) -> Vec<Step> {
    let mut all = trace::steps(trace, roots);
    trace::kbuild::name(trace, &mut all, &mut |path| {
        let text = std::fs::read(path).ok()?;
        Some((Root::told(roots, path), String::from_utf8_lossy(&text).into_owned()))
    });
    all
}

/// Runs a command under the tracer: its trace, and its own status.
fn run(command: &[OsString], own: &[&Path], session: &Session<'_>) -> Result<(Trace, u8), CliError> {
    let dir = tempfile::tempdir()?;
    let out = dir.path().join("trace.json");
    let line = trace::wrap(std::env::current_exe()?.as_os_str(), What::All, &out, own, command);
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
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if session.cancel.load(Ordering::Relaxed) && asked.get_or_insert_with(Instant::now).elapsed() > PATIENCE {
            // Everything that is traced dies with it.
            child.kill()?;
        }
        std::thread::sleep(if asked.is_some() { TICK } else { Duration::from_millis(2) });
    }
}

/// The directories as a build's: one is told without its name, several by their own.
fn named(dirs: &[&Path]) -> Vec<Root> {
    let name = |dir: &Path| match dirs {
        [_] => String::new(),
        _ => dir.file_name().unwrap_or(dir.as_os_str()).to_string_lossy().into_owned(),
    };
    dirs.iter().map(|dir| Root { dir: dir.to_path_buf(), name: name(dir) }).collect()
}

fn show(
    trace: &Trace,
    before: Option<&Trace>,
    args: &TraceArgs,
    roots: &[Root],
    out: &mut dyn Write,
) -> Result<(), CliError> {
    if let Some(before) = before {
        against(&named_steps(before, roots), &named_steps(trace, roots), out)?;
        return Ok(out.flush()?);
    }
    let how = Show { system: args.system, looks: args.looks };
    match args.format {
        TraceFormat::Text => text(trace, how, out)?,
        TraceFormat::Steps => steps(trace, &named_steps(trace, roots), how, out)?,
        TraceFormat::Dot => dot(trace, how, out)?,
        TraceFormat::Perfetto => perfetto(trace, out)?,
        TraceFormat::Json => {
            trace.write(&mut *out).map_err(|error| CliError::Output(error.into()))?;
            writeln!(out)?;
        }
    }
    Ok(out.flush()?)
}
