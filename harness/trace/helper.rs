//! The tracer as a program: what the harness's executable is when its first argument is [`super::SUBCOMMAND`].
//!
//! Arguments: `looks|all|contents|build|build-contents|build-looked OUT [--disturb=JSON] [DIRECTORY...] [--links DIRECTORY...]
//! -- COMMAND...`; the directories are the command's own.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::{DISTURB, Disturb, LINKS, TraceError, What, looked_beside, ptrace, text};

/// Usage, as everywhere.
const USAGE: u8 = 2;
/// A fault of the harness or the host, as everywhere.
const HARNESS_ERROR: u8 = 70;

/// Runs the tracer on this process's arguments. To be called first thing in `main`, while there is one thread.
pub fn main() -> ExitCode {
    // Who asked for the trace is gone: nobody will read it.
    let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
    let args: Vec<OsString> = std::env::args_os().skip(2).collect();
    let mut halves = args.splitn(2, |arg| arg == "--");
    let (Some([what, out, own @ ..]), Some(command @ [_, ..])) = (halves.next(), halves.next()) else {
        return ExitCode::from(USAGE);
    };
    let Some(what) = What::ALL.into_iter().find(|known| what == known.word()) else {
        return ExitCode::from(USAGE);
    };
    let disturb = own.first().and_then(|arg| arg.to_str()?.strip_prefix(DISTURB));
    let own = own.iter().skip(usize::from(disturb.is_some())).map(PathBuf::from).collect();
    let Ok(disturb) = disturb.map(serde_json::from_str).transpose() else { return ExitCode::from(USAGE) };
    let code = run(what, out.as_ref(), own, disturb.unwrap_or_default(), command).unwrap_or_else(|error| {
        let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
        say(&format!("{error}{cause}"));
        if let Some(hint) = error.hint() {
            say(&format!("hint: {hint}"));
        }
        HARNESS_ERROR
    });
    ExitCode::from(code)
}

fn run(what: What, out: &Path, own: Vec<PathBuf>, disturb: Disturb, command: &[OsString]) -> Result<u8, TraceError> {
    let failed = |source| TraceError::Write { path: out.to_owned(), source };
    // Opened before anything runs: what an earlier tracer left is gone, and a place that cannot be written known.
    let mut file = File::create(out).map_err(failed)?;
    let ran = match what {
        What::Looks => {
            let (looked, ran) = ptrace::looks(own, command)?;
            let text = text(&looked).map_err(|error| failed(error.into()))?;
            file.write_all(&text).map_err(failed)?;
            ran
        }
        What::BuildLooked => {
            let (mut own, mut links) = (own, Vec::new());
            if let Some(at) = own.iter().position(|dir| dir.as_os_str() == LINKS) {
                links = own.split_off(at).split_off(1);
            }
            let beside = looked_beside(out);
            let failed_beside = |source| TraceError::Write { path: beside.clone(), source };
            let mut looked_file = File::create(&beside).map_err(failed_beside)?;
            let (trace, looked, ran) = ptrace::both(own, links, command)?;
            let mut to = BufWriter::new(file);
            trace.write(&mut to).map_err(|error| failed(error.into()))?;
            to.flush().map_err(failed)?;
            let text = text(&looked).map_err(|error| failed_beside(error.into()))?;
            looked_file.write_all(&text).map_err(failed_beside)?;
            ran
        }
        What::All | What::Contents | What::Build | What::BuildContents => {
            let (trace, ran) = ptrace::all(own, what, disturb, command)?;
            let mut to = BufWriter::new(file);
            trace.write(&mut to).map_err(|error| failed(error.into()))?;
            to.flush().map_err(failed)?;
            ran
        }
    };
    if let Some(error) = ran.not_started {
        say(&format!("cannot run `{}`: {error}", command[0].to_string_lossy().escape_debug()));
    }
    Ok(ran.status)
}

/// Standard error is the command's own, whose log this ends up in.
fn say(message: &str) {
    let _ = writeln!(io::stderr(), "kbuild-repro: {message}");
}
