//! `replay`: steps of a build in the tree here, each again on its own output.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::Path;

use clap::Args;

use super::traced::{Build, BuildArgs, is_named};
use super::{CliError, Session};
use crate::artifact::{describe, diff_parts};
use crate::report::terminal::clean;
use crate::runner::replay::{Came, Change, ReplayError, Replays, Top};
use crate::sandbox::scratch::{Scratch, sweep};
use crate::sandbox::{Sandbox, Spec, View};
use crate::trace::{Kind, Step};
use crate::tree::source::sha256_file;

/// What to replay.
#[derive(Debug, Clone, Args)]
pub(super) struct ReplayArgs {
    /// Steps to run again, as patterns of their label, target, `cmd_X` or command (`*` is any run of characters); by
    /// default all that rewrite a file which they had read
    #[arg(value_name = "STEP")]
    steps: Vec<String>,
    /// How often each is run again
    #[arg(long, value_name = "N", default_value = "2", value_parser = clap::value_parser!(u32).range(1..=1000))]
    times: u32,
    #[command(flatten)]
    build: BuildArgs,
    /// The make command; it is traced, and then its steps are replayed
    #[arg(last = true, required_unless_present = "read", value_name = "COMMAND")]
    command: Vec<OsString>,
}

pub(super) fn replay(args: &ReplayArgs, session: &mut Session<'_>) -> Result<u8, CliError> {
    let build = Build::get(&args.build, &args.command, session)?;
    if build.code != 0 {
        return Err(CliError::Nothing {
            message: format!("the build ended with status {}: there is nothing to replay", build.code),
            hint: Some("make it work first".into()),
        });
    }
    let mut chosen: Vec<&Step> = build.steps.iter().filter(|step| chooses(&args.steps, step)).collect();
    chosen.sort_by_key(|step| step.began);
    if chosen.is_empty() {
        let (message, hint) = match args.steps.as_slice() {
            [] => ("no step rewrites a file that it had read", "name a step to run it again all the same"),
            _ => ("no such step", "`trace --format steps` lists them"),
        };
        return Err(CliError::Nothing { message: message.into(), hint: Some(hint.into()) });
    }
    let sandbox = Sandbox::new(build.host.exe.clone());
    let base = &build.host.paths.scratch;
    // What an earlier one left when it was killed.
    let _ = sweep(base);
    let scratch = Scratch::create(base).map_err(|error| CliError::host(error.to_string(), error.hint()))?;
    let (mut changed, mut told) = (0, 0);
    for (number, step) in chosen.iter().enumerate() {
        let dir = scratch.path().join(number.to_string());
        let came = one(step, &build, &dir, &sandbox, args.times, session)?;
        write_one(step, &came, args.times, session)?;
        changed += usize::from(matches!(came, Came::Changed { .. } | Came::Failed(_)));
        told += usize::from(!matches!(came, Came::NotReplayable(_)));
    }
    writeln!(
        session.out,
        "{} steps, {told} replayed {} times each, {changed} not idempotent",
        chosen.len(),
        args.times
    )?;
    Ok(match (changed, told) {
        (0, 0) => 4,
        (0, _) => 0,
        _ => 1,
    })
}

fn chooses(patterns: &[String], step: &Step) -> bool {
    if patterns.is_empty() {
        return step.kind == Kind::Recipe && !step.in_place.is_empty();
    }
    step.kind != Kind::Query && is_named(patterns, step)
}

fn one(
    step: &Step,
    build: &Build,
    dir: &Path,
    sandbox: &Sandbox,
    times: u32,
    session: &Session<'_>,
) -> Result<Came, CliError> {
    let (tops, base) = (Top::of(&build.dirs), Spec { view: View::Host, ..Spec::default() });
    let replays = Replays {
        trace: &build.trace,
        steps: &build.steps,
        inside: &|told| build.place(told),
        tops: &tops,
        base: &base,
        sandbox,
        apart: true,
        cancel: &session.cancel,
    };
    replays.step(step, times, dir).map_err(|error| match error {
        ReplayError::Sandbox(error) => CliError::sandbox(error),
        ReplayError::Refused(error) => CliError::Host { message: error.to_string(), hint: error.hint },
        other => CliError::harness(other.to_string()),
    })
}

/// What a round changed, in a line.
fn summary(change: &Change) -> String {
    let Some(after) = &change.after else { return "is gone".into() };
    match (describe(&change.before, &change.output), describe(after, &change.output)) {
        (Ok(before), Ok(after)) => diff_parts(&before, &after).summary,
        _ => "bytes differ".into(),
    }
}

/// How many different contents the runs made of the file of which they made most.
fn different(changes: &[Change]) -> usize {
    let mut made: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for change in changes {
        let digest = change.after.as_deref().and_then(|after| sha256_file(after, &mut |_| {}).ok());
        made.entry(&change.output).or_default().extend(digest);
    }
    made.values().map(BTreeSet::len).max().unwrap_or(0)
}

fn write_one(step: &Step, came: &Came, times: u32, session: &mut Session<'_>) -> Result<(), CliError> {
    let name: String = step.name().chars().take(200).collect();
    let name = clean(&name).into_owned();
    match came {
        Came::Idempotent => writeln!(session.out, "{name}: idempotent")?,
        Came::Failed(how) => {
            writeln!(session.out, "{name}: not idempotent: on what it had made, {}", clean(how))?;
        }
        Came::NotReplayable(why) => {
            writeln!(session.out, "{name}: not replayable: {}", clean(why))?;
        }
        Came::Changed { changes, by } => {
            let runs: BTreeSet<u32> = changes.iter().map(|change| change.round).collect();
            let different = different(changes);
            let different = if different > 1 { format!(", {different} different results") } else { String::new() };
            writeln!(
                session.out,
                "{name}: not idempotent: {} of {times} runs change its output{different}",
                runs.len()
            )?;
            if let Some(cmd) = &step.cmd {
                writeln!(session.out, "  {}, {}:{}", clean(&cmd.name), clean(&cmd.file), cmd.line)?;
            }
            for command in by {
                writeln!(session.out, "  by itself: {}", clean(command))?;
            }
            for change in changes {
                let how = summary(change);
                writeln!(session.out, "  - run {}: {}: {}", change.round, clean(&change.output), clean(&how))?;
            }
        }
    }
    Ok(())
}
