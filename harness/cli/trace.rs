//! `trace`: any command, watched.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::traced::{Build, BuildArgs};
use super::{CliError, Session};
use crate::report::trace::{Show, against, dot, perfetto, steps, text};
use crate::trace::What;

/// What to trace, and how to show it.
#[derive(Debug, Clone, Args)]
pub(super) struct TraceArgs {
    /// Processes, or what make ran step by step, for people; every detail for programs; a graph for Graphviz; a time line
    /// for Perfetto and Chrome
    #[arg(long, value_enum, default_value = "text")]
    format: TraceFormat,
    /// Write it to this file (`-`: standard output); by default standard error, since standard output is the command's; with
    /// --read there is no command, and it goes to standard output
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Show what was looked up as well, found or not (of steps: in vain): headers that would shadow others, programs along PATH
    #[arg(long)]
    looks: bool,
    /// Do not record look-ups, even in JSON: takes less time, least where the host allows to listen to what is opened (root, or
    /// CAP_SYS_ADMIN); other formats leave them out without --looks in any case
    #[arg(long, conflicts_with_all = ["looks", "read"])]
    fast: bool,
    /// Show files of the system as well: programs, libraries, headers, devices
    #[arg(long)]
    system: bool,
    #[command(flatten)]
    build: BuildArgs,
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

impl TraceArgs {
    /// What has to be recorded for what is to be shown.
    fn what(&self) -> What {
        let json = self.format == TraceFormat::Json && self.against.is_none();
        if self.looks || json && !self.fast { What::All } else { What::Contents }
    }
}

pub(super) fn trace(args: &TraceArgs, session: &mut Session<'_>) -> Result<u8, CliError> {
    // Read before anything is written, which can be the same file.
    let before = args.against.as_deref().map(|path| Build::of(&args.build, path)).transpose()?;
    let recorded = Build::recorded(&args.build)?;
    // Opened before anything runs, as a shell would.
    let file = match &args.output {
        Some(path) if path.as_os_str() != "-" => Some(File::create(path).map_err(|error| {
            CliError::usage(format!("cannot write `{}`: {error}", path.display()), "name a file that can be written")
        })?),
        _ => None,
    };
    let build = match recorded {
        Some(build) => build,
        None => Build::traced(&args.build, args.what(), &args.command, session)?,
    };
    let out: Box<dyn Write + '_> = match (file, &args.output) {
        (Some(file), _) => Box::new(file),
        (None, output) if output.is_some() || args.build.is_read() => Box::new(&mut *session.out),
        (None, _) => Box::new(io::stderr().lock()),
    };
    show(&build, before.as_ref(), args, &mut BufWriter::new(out))?;
    Ok(build.code)
}

fn show(build: &Build, before: Option<&Build>, args: &TraceArgs, out: &mut dyn Write) -> Result<(), CliError> {
    let trace = &build.trace;
    if let Some(before) = before {
        against(&before.steps, &build.steps, out)?;
        return Ok(out.flush()?);
    }
    if args.looks && trace.looks_left_out {
        super::progress::note("the trace was made without look-ups");
    }
    let how = Show { system: args.system, looks: args.looks, dirs: &build.dirs };
    match args.format {
        TraceFormat::Text => text(trace, how, out)?,
        TraceFormat::Steps => steps(trace, &build.steps, how, out)?,
        TraceFormat::Dot => dot(trace, how, out)?,
        TraceFormat::Perfetto => perfetto(trace, out)?,
        TraceFormat::Json => {
            trace.write(&mut *out).map_err(|error| CliError::Output(error.into()))?;
            writeln!(out)?;
        }
    }
    Ok(out.flush()?)
}
