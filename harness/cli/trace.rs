//! `trace`: any command, watched.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::process::{Command, ExitStatus};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};

use super::{CliError, Session, TICK};
use crate::report::trace::{Show, dot, perfetto, text};
use crate::trace::{self, Trace, What};

/// How long a command that was asked to stop may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// What to trace, and how to show it.
#[derive(Debug, Clone, Args)]
pub(super) struct TraceArgs {
    /// For people; every detail for programs; a graph for Graphviz; a time line for Perfetto and Chrome
    #[arg(long, value_enum, default_value = "text")]
    format: TraceFormat,
    /// Write it to this file (`-`: standard output); by default standard error, since standard output is the command's
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Show what was looked up as well, found or not: headers that would shadow others, programs along PATH
    #[arg(long)]
    looks: bool,
    /// Show files of the system as well: programs, libraries, headers, devices
    #[arg(long)]
    system: bool,
    /// Tell contents of files below this directory by SHA-256, in JSON; by default the working directory
    #[arg(long, value_name = "DIR")]
    hash: Vec<PathBuf>,
    /// The command
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum TraceFormat {
    Text,
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
    let dirs = if args.hash.is_empty() { vec![cwd.clone()] } else { args.hash.clone() };
    let own: Result<Vec<PathBuf>, CliError> = dirs
        .iter()
        .map(|dir| {
            cwd.join(dir).canonicalize().map_err(|error| {
                CliError::usage(format!("cannot find `{}`: {error}", dir.display()), "`--hash` takes a directory")
            })
        })
        .collect();
    let own = own?;
    let own: Vec<&std::path::Path> = own.iter().map(PathBuf::as_path).collect();
    let dir = tempfile::tempdir()?;
    let out = dir.path().join("trace.json");
    let line = trace::wrap(std::env::current_exe()?.as_os_str(), What::All, &out, &own, &args.command);
    let status = watched(&line, session)?;
    let code = match status.code() {
        Some(code) => u8::try_from(code).unwrap_or(u8::MAX),
        None => return Err(CliError::harness("the tracer was killed, and the command with it")),
    };
    let trace = match trace::read_all(&out) {
        Ok(trace) => trace,
        Err(error) => {
            let hint = error.hint().map(str::to_owned);
            let CliError::Harness { message, .. } = CliError::internal(error) else {
                return Err(CliError::harness("no trace"));
            };
            return Err(CliError::Harness { message, hint });
        }
    };
    for gap in &trace.gaps {
        super::progress::note(&format!("the trace is not whole: {gap}"));
    }
    match (file, &args.output) {
        (Some(file), _) => show(&trace, args, &mut BufWriter::new(file))?,
        (None, Some(_)) => show(&trace, args, &mut BufWriter::new(&mut *session.out))?,
        (None, None) => show(&trace, args, &mut BufWriter::new(io::stderr().lock()))?,
    }
    Ok(code)
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

fn show(trace: &Trace, args: &TraceArgs, out: &mut dyn Write) -> Result<(), CliError> {
    let how = Show { system: args.system, looks: args.looks };
    match args.format {
        TraceFormat::Text => text(trace, how, out)?,
        TraceFormat::Dot => dot(trace, how, out)?,
        TraceFormat::Perfetto => perfetto(trace, out)?,
        TraceFormat::Json => {
            trace.write(&mut *out).map_err(|error| CliError::Output(error.into()))?;
            writeln!(out)?;
        }
    }
    Ok(out.flush()?)
}
