//! Runs a stand-alone reproducer as a person would: `sh reproduce.sh`, in a sandbox with the toolchain, an empty scratch
//! directory and, where it wants one, the source tree, read-only.

use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, Instant};

use super::Source;
use super::command::pinned_environment;
use super::execute::{Context, RunError, TICK};
use super::jobs::Jobs;
use crate::sandbox::{self, Command, Limits, Mount, Spec, View};
use crate::tree::source::tools::Unpacked;

/// Where the script is, inside.
const SCRIPT: &str = "/build/reproducer";
/// Where it makes its trees.
const WORK: &str = "/build/work";
/// Where the sources are that it is given.
const GIVEN: &str = "/build/given";

/// A script, and what it is run with.
#[derive(Debug, Clone, Copy)]
pub struct Reproducer<'a> {
    /// The directory that holds it.
    pub dir: &'a Path,
    /// Its name there.
    pub name: &'a str,
    /// Where its output goes.
    pub log: &'a Path,
    /// Whether it is given the source tree.
    pub given: bool,
    /// A number of jobs that some build fixes; then no job server may be in its way.
    pub fixed: Option<u32>,
    /// How long it may take.
    pub limit: Duration,
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ran {
    /// With this status.
    Exit(i32),
    /// By this signal.
    Signal(i32),
    /// It was stopped after its time.
    Timeout,
}

/// Runs it.
///
/// # Errors
/// It cannot be run here, or everything is to stop.
pub fn reproduce(context: &Context<'_>, reproducer: Reproducer<'_>) -> Result<Ran, RunError> {
    let stopped = || context.cancel.load(std::sync::atomic::Ordering::Relaxed);
    let interrupted = || RunError::new(super::RunErrorKind::Interrupted, "stopped");
    let jobs = Jobs::wait(context.pool, reproducer.fixed, context.max_jobs, &stopped)
        .map_err(|error| RunError::harness("get a job slot", error))?
        .ok_or_else(interrupted)?;
    let work = context.scratch.join("reproducer");
    fs::create_dir_all(&work).map_err(|error| RunError::harness("make a directory", error))?;
    let result = run(context, reproducer, &jobs, &work, &stopped);
    sandbox::remove_tree(&work).map_err(|error| RunError::harness("remove a tree", error))?;
    result
}

fn run(
    context: &Context<'_>,
    reproducer: Reproducer<'_>,
    jobs: &Jobs,
    work: &Path,
    stopped: &dyn Fn() -> bool,
) -> Result<Ran, RunError> {
    let spec = spec(context, reproducer, jobs, work);
    let log = File::create(reproducer.log).map_err(|error| RunError::harness("open the log", error))?;
    let mut running = context.sandbox.spawn(&spec, &log)?;
    let started = Instant::now();
    let outcome = loop {
        if let Some(outcome) = running.wait_timeout(TICK)? {
            break outcome;
        }
        if stopped() {
            running.kill();
            return Err(RunError::new(super::RunErrorKind::Interrupted, "stopped"));
        }
        if started.elapsed() > reproducer.limit {
            running.kill();
            return Ok(Ran::Timeout);
        }
    };
    if let Some(error) = outcome.error {
        return Err(RunError::new(super::RunErrorKind::HostCannot, error.to_string()));
    }
    Ok(match outcome.commands.last().map(|command| command.status) {
        Some(sandbox::Status::Exited(code)) => Ran::Exit(code),
        Some(sandbox::Status::Signaled(signal)) => Ran::Signal(signal),
        None => Ran::Signal(libc::SIGKILL),
    })
}

fn spec(context: &Context<'_>, reproducer: Reproducer<'_>, jobs: &Jobs, work: &Path) -> Spec {
    let bind = |host: &Path, at: &str, writable| Mount::Bind { host: host.to_owned(), at: at.into(), writable };
    let mut mounts = vec![bind(reproducer.dir, SCRIPT, false), bind(work, WORK, true)];
    if let (true, Source::Overlay(dir) | Source::Copy(dir, _) | Source::InPlace(dir)) =
        (reproducer.given, context.source)
    {
        mounts.push(bind(dir, GIVEN, false));
    }
    mounts.extend(context.toolchain.iter().map(|tool| bind(&tool.dir, &tool.place(), false)));
    let limit = context.disk_limit;
    let mut spec = Spec {
        isolation: context.isolation(),
        view: View::Toolchain,
        mounts,
        limits: Limits { file_size: limit, temporary: limit, ..Limits::default() },
        inherit_fds: jobs.fds(),
        ..Spec::default()
    };
    let place = |inside: String, spec: &Spec| {
        // Without mount namespaces the words of the command have to name the places of the host.
        if context.direct { sandbox::direct_path(spec, Path::new(&inside)).display().to_string() } else { inside }
    };
    let own = ["PATH", "LC_ALL", "TERM", "SHELL", "USER", "LOGNAME"];
    let mut env = pinned_environment();
    env.retain(|name, _| own.contains(&name.as_str()));
    let bins: Vec<String> = context.toolchain.iter().map(Unpacked::bin).collect();
    let system = env.get("PATH").map(|path| path.split_once(':').map_or("", |(_, system)| system).to_owned());
    env.insert("PATH".into(), bins.into_iter().chain(system).collect::<Vec<_>>().join(":"));
    env.insert("TMPDIR".into(), place(WORK.to_owned(), &spec));
    env.insert("HOME".into(), place(WORK.to_owned(), &spec));
    if reproducer.fixed.is_none() {
        // Its makes share the machine with every other build, as if a make had started them.
        env.insert("JOBS".into(), String::new());
        env.insert("MAKEFLAGS".into(), jobs.makeflags());
    }
    let mut argv = vec!["sh".to_owned(), place(format!("{SCRIPT}/{}", reproducer.name), &spec)];
    argv.extend(reproducer.given.then(|| place(GIVEN.to_owned(), &spec)));
    spec.commands = vec![Command {
        argv: argv.into_iter().map(Into::into).collect(),
        cwd: WORK.into(),
        env: Vec::new(),
        label: "reproduce.sh".into(),
    }];
    spec.env = env.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
    spec
}
