//! `shell`: the sandbox of a build, with a shell in it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::adhoc::ADHOC;
use super::host::Host;
use super::run::{Run, capture, capture_without_tools};
use super::state::{find_run, runs};
use super::{CliError, SelectArgs, Session, ShellArgs, load};
use crate::artifact::record::{ScenarioRecord, read};
use crate::runner::Parts;
use crate::sandbox::{Command, Sandbox, Spec, Status};
use crate::verdict::{Accepted, judge};

pub(super) fn shell(args: &ShellArgs, session: &mut Session<'_>) -> Result<u8, CliError> {
    let host = capture_without_tools()?;
    let (dir, id) = kept_tree(args, &host, session)?;
    let scenario_dir = dir.join(&id);
    let record: ScenarioRecord = read(&scenario_dir.join("record.json")).map_err(CliError::internal)?;
    let build = match &args.build {
        Some(build) => build.clone(),
        None => {
            let findings = judge(&record, &Accepted::default()).findings;
            let named = findings.into_iter().map(|finding| finding.build).find(|b| scenario_dir.join(b).is_dir());
            let failed = record.builds.iter().find(|build| !build.status.ok()).map(|build| build.id.clone());
            failed.or(named).unwrap_or_else(|| "control/clean".into())
        }
    };
    let path = scenario_dir.join(&build).join("spec.json");
    let text = fs::read(&path).map_err(|_| {
        let builds: Vec<&str> = record.builds.iter().map(|build| build.id.as_str()).collect();
        CliError::usage(format!("there is no kept build `{build}`"), format!("builds: {}", builds.join(", ")))
    })?;
    let mut spec: Spec = serde_json::from_slice(&text).map_err(CliError::internal)?;
    let built: Vec<&str> = spec.commands.iter().map(|command| command.label.as_str()).collect();
    let built = built.join("; ");
    let cwd = spec.commands.first().map_or_else(|| "/".into(), |command| command.cwd.clone());
    spec.ops.clear();
    spec.inherit_fds.clear();
    spec.env.retain(|(name, _)| name != "MAKEFLAGS" && name != "TERM");
    let term = host.env.iter().find(|(name, _)| *name == "TERM").map_or("dumb".into(), |(_, value)| value.clone());
    spec.env.push(("TERM".into(), term));
    spec.interactive = true;
    spec.limits.file_size = None;
    let argv = if args.command.is_empty() {
        vec!["/bin/bash".into(), "--norc".into(), "-i".into()]
    } else {
        args.command.iter().map(Into::into).collect()
    };
    spec.commands = vec![Command { argv, cwd, env: Vec::new(), label: "shell".into() }];
    super::progress::note(&format!("in the tree of {build}; what you write stays in it. The build: {built}"));
    let log = File::options().append(true).open("/dev/null")?;
    let mut running = Sandbox::new(host.exe.clone()).spawn(&spec, &log).map_err(CliError::sandbox)?;
    let outcome = loop {
        if let Some(outcome) = running.wait_timeout(Duration::from_millis(200)).map_err(CliError::sandbox)? {
            break outcome;
        }
    };
    if let Some(error) = outcome.error {
        return Err(CliError::Host { message: error.to_string(), hint: error.hint });
    }
    // The command's own status, as a shell gives it.
    Ok(match outcome.commands.last().map(|command| command.status) {
        Some(Status::Exited(code)) => u8::try_from(code).unwrap_or(70),
        Some(Status::Signaled(signal)) => u8::try_from(128 + signal).unwrap_or(70),
        None => 70,
    })
}

/// The run that kept the tree of the scenario, and the scenario's id; without one it is run first.
fn kept_tree(args: &ShellArgs, host: &Host, session: &mut Session<'_>) -> Result<(PathBuf, String), CliError> {
    let runs = match &args.how.out {
        Some(out) => vec![host.cwd.join(out)],
        None => runs(host),
    };
    let kept = |id: &str| runs.iter().find(|dir| is_kept(dir, id)).map(|dir| (dir.clone(), id.to_owned()));
    // Builds without a scenario are recorded under the name of their command.
    if ADHOC.contains(&args.what.as_str()) {
        return kept(&args.what).ok_or_else(|| {
            CliError::usage(
                format!("no run of `{}` kept its trees", args.what),
                format!("kbuild-repro {} --keep ... -- make ...", args.what),
            )
        });
    }
    // A cell that the command line of its run made is in no file.
    if args.what.contains('@')
        && let Some(kept) = kept(&args.what)
    {
        return Ok(kept);
    }
    let select = SelectArgs { what: vec![args.what.clone()], tier: Vec::new(), scenarios: args.scenarios.clone() };
    let found = load::select(&select, &host.cwd)?;
    let ids: Vec<String> = found.iter().flat_map(load::ids).collect();
    let ([found], [id]) = (found.as_slice(), ids.as_slice()) else {
        return Err(CliError::usage(format!("`{}` is more than one scenario", args.what), ids.join(" ")));
    };
    if let Some(kept) = kept(id) {
        return Ok(kept);
    }
    super::progress::note("no kept tree of this scenario; running it first");
    let mut how = args.how.clone();
    how.keep = true;
    let ready = load::read(vec![found.clone()], &load::sources(host, how.cache.as_deref()))?;
    let mut run = Run::new(capture()?, &how, args.scenarios.as_deref(), Parts::ALL, None)?;
    run.args = std::env::args().skip(1).collect();
    let report = run.all(ready, true, session)?;
    run.show(&report, session)?;
    let dir = find_run(host, report.record.as_deref().map(Path::new))?;
    Ok((dir, id.clone()))
}

/// Whether the run kept the trees of this scenario, and they are still there.
fn is_kept(run: &Path, id: &str) -> bool {
    run.join(super::run::KEPT).is_dir() && run.join(id).join("record.json").is_file()
}
