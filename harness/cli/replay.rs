//! `replay`: steps of a build in the tree here, each again on its own output.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::Args;

use super::traced::{Build, BuildArgs};
use super::{CliError, Session};
use crate::artifact::{Artifact, describe, diff_parts};
use crate::report::terminal::clean;
use crate::runner::replay::{Again, Replay, ReplayError};
use crate::sandbox::scratch::{Scratch, sweep};
use crate::sandbox::{Sandbox, Status};
use crate::trace::{Kind, Step};
use crate::tree::source::sha256_file;
use crate::verdict::pattern_matches;

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

/// What came of one step.
enum Told {
    /// Nothing changed.
    Idempotent,
    /// Something did: which file, in which run, how.
    Changed(Vec<(String, u32, String)>),
    /// It cannot be told, and why.
    NotReplayable(String),
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
        changed += usize::from(matches!(came, Told::Changed(_)));
        told += usize::from(!matches!(came, Told::NotReplayable(_)));
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
    let cmd = step.cmd.as_ref().map(|cmd| cmd.name.as_str());
    let names = [step.label.as_deref(), step.target.as_deref(), cmd, Some(step.command.as_str())];
    step.kind != Kind::Query
        && patterns.iter().any(|pattern| names.iter().flatten().any(|name| pattern_matches(pattern, name)))
}

fn one(
    step: &Step,
    build: &Build,
    dir: &Path,
    sandbox: &Sandbox,
    times: u32,
    session: &Session<'_>,
) -> Result<Told, CliError> {
    let not = |why: String| Ok(Told::NotReplayable(why));
    let process = step.processes.first().and_then(|number| build.trace.processes.get(*number as usize));
    let Some(program) = process.and_then(|process| process.programs.first()) else {
        return not("it ran no program".into());
    };
    let Some(env) = build.trace.environments.get(program.env as usize) else { return not("no environment".into()) };
    if step.outputs.is_empty() {
        return not("it leaves nothing in the tree".into());
    }
    let mut before: Vec<(&str, PathBuf, Artifact)> = Vec::new();
    for output in &step.outputs {
        let later = build.steps.iter().find(|other| {
            other.began > step.began
                && other.outputs.iter().any(|it| it.path == output.path && it.number != output.number)
        });
        if let Some(later) = later {
            return not(format!("`{}` was written again by `{}`", output.path, later.name()));
        }
        let path = build.place(&output.path);
        let Ok(artifact) = describe(&path, &output.path) else {
            return not(format!("`{}` is there no more", output.path));
        };
        if output.sha256.as_ref().is_some_and(|sha256| **sha256 != *artifact.sha256.to_string()) {
            return not(format!("`{}` is not what the step left", output.path));
        }
        before.push((&output.path, path, artifact));
    }
    let own = |path: &str| step.outputs.iter().any(|output| &*output.path == path);
    for input in step.inputs.iter().filter(|input| !own(&input.path)) {
        let path = build.place(&input.path);
        let now = sha256_file(&path, &mut |_| {}).ok();
        if now.is_none() && path.symlink_metadata().is_err() {
            return not(format!("`{}`, which it read, is there no more", input.path));
        }
        if input.sha256.is_some() && now.as_deref() != input.sha256.as_deref() {
            return not(format!("`{}` is not what the step read", input.path));
        }
    }
    let again = Again { argv: &program.argv, cwd: build.trace.path(program.cwd), env, dirs: &build.dirs };
    let failed = |error: ReplayError| match error {
        ReplayError::Sandbox(error) => CliError::sandbox(error),
        ReplayError::Refused(error) => CliError::Host { message: error.to_string(), hint: error.hint },
        other => CliError::harness(other.to_string()),
    };
    let replay = Replay::new(again, dir).map_err(failed)?;
    let log = dir.join("log");
    let mut changes = Vec::new();
    for run in 1..=times {
        let status = replay.round(sandbox, &log, &session.cancel).map_err(failed)?;
        if status != Some(Status::Exited(0)) {
            let said = std::fs::read_to_string(&log).unwrap_or_default();
            let last = said.lines().last().map(|line| format!(": {line}")).unwrap_or_default();
            return not(format!("run {run} fails{last}"));
        }
        for (name, path, artifact) in &mut before {
            if !replay.has_written(path) {
                return not(format!("it did not write `{name}` again"));
            }
            let now = replay.place(path).and_then(|place| describe(&place, name).ok());
            match now {
                Some(now) if now.sha256 == artifact.sha256 => {}
                Some(now) => {
                    changes.push(((*name).to_owned(), run, diff_parts(artifact, &now).summary));
                    *artifact = now;
                }
                None => changes.push(((*name).to_owned(), run, "is gone".to_owned())),
            }
        }
    }
    Ok(if changes.is_empty() { Told::Idempotent } else { Told::Changed(changes) })
}

fn write_one(step: &Step, told: &Told, times: u32, session: &mut Session<'_>) -> Result<(), CliError> {
    let name: String = step.name().chars().take(200).collect();
    let name = clean(&name).into_owned();
    match told {
        Told::Idempotent => writeln!(session.out, "{name}: idempotent")?,
        Told::NotReplayable(why) => {
            writeln!(session.out, "{name}: not replayable: {}", clean(why))?;
        }
        Told::Changed(changes) => {
            let runs: std::collections::BTreeSet<u32> = changes.iter().map(|(_, run, _)| *run).collect();
            writeln!(session.out, "{name}: not idempotent: {} of {times} runs change its output", runs.len())?;
            if let Some(cmd) = &step.cmd {
                writeln!(session.out, "  {}, {}:{}", clean(&cmd.name), clean(&cmd.file), cmd.line)?;
            }
            for (path, run, how) in changes {
                writeln!(session.out, "  - run {run}: {}: {}", clean(path), clean(how))?;
            }
        }
    }
    Ok(())
}
