//! `list`, `check` and `doctor`: what there is, whether it is right, what the host can do.

use std::path::Path;

use super::host::Host;
use super::load::{self, OnPaper, Ready};
use super::run::{capture, capture_without_tools};
use super::toolchain::Shelf;
use super::{CliError, Format, SelectArgs, Session, doctor};
use crate::report::terminal::clean;
use crate::runner::prepared::Store;
use crate::runner::results::Results;
use crate::sandbox::scratch::Scratch;
use crate::sandbox::{Refusal, Sandbox};
use crate::scenario::{Errors, Toolchain, Wanted};
use crate::tree::source::Sources;
use crate::tree::source::tools::Offer;

/// `list`: one line per scenario.
pub(super) fn list(args: &SelectArgs, session: &mut Session<'_>) -> Result<u8, CliError> {
    let host = capture_without_tools()?;
    // One file that is wrong does not hide the others.
    let (mut ready, errors) = load::read_each(load::select(args, &host.cwd)?);
    ready.retain(|ready| taken(args, ready));
    if ready.is_empty() && errors.0.is_empty() {
        let hint = Some("`kbuild-repro list` shows all".to_owned());
        return Err(CliError::Nothing { message: "no scenario is selected".into(), hint });
    }
    let width = ready.iter().map(|ready| ready.found.id.len()).max().unwrap_or(0);
    let tree = ready.iter().map(|ready| ready.loaded.scenario.tree.srctree.len()).max().unwrap_or(0);
    for ready in &ready {
        let scenario = &ready.loaded.scenario;
        let (id, srctree, tier) = (&ready.found.id, &scenario.tree.srctree, scenario.tier().name());
        writeln!(session.out, "{id:<width$}  {srctree:<tree$}  {tier:<6}  {}", clean(&scenario.title))?;
    }
    errors.into_result().map_err(CliError::Scenario)?;
    Ok(0)
}

fn taken(args: &SelectArgs, ready: &Ready) -> bool {
    let tier = ready.loaded.scenario.tier();
    args.tier.is_empty() || args.tier.iter().any(|asked| asked.takes(tier))
}

fn selected(args: &SelectArgs, cwd: &Path, sources: &Sources) -> Result<Vec<Ready>, CliError> {
    let mut ready = load::read(load::select(args, cwd)?, sources)?;
    ready.retain(|ready| taken(args, ready));
    Ok(ready)
}

/// `check`: validates only.
pub(super) fn check(
    args: &SelectArgs,
    cache: Option<&Path>,
    format: Format,
    session: &mut Session<'_>,
) -> Result<u8, CliError> {
    match check_all(args, cache) {
        Ok(checked) => {
            if format == Format::Json {
                let Checked { good, unseen, notes, .. } = checked;
                let told = serde_json::json!({ "scenarios": good, "errors": [], "not_seen": unseen, "notes": notes });
                writeln!(session.out, "{told}")?;
            } else {
                for (id, why) in &checked.unseen {
                    writeln!(session.out, "{id}: the edits were not tried: {why}")?;
                }
                for (id, note) in &checked.notes {
                    writeln!(session.out, "{id}: {note}")?;
                }
                writeln!(session.out, "{}", checked.summary())?;
            }
            Ok(0)
        }
        Err(CliError::Scenario(errors)) if format == Format::Json => {
            let errors: Vec<_> = errors
                .0
                .iter()
                .map(|problem| {
                    serde_json::json!({
                        "file": problem.file, "line": problem.at.0, "column": problem.at.1,
                        "message": problem.message, "hint": problem.hint,
                    })
                })
                .collect();
            writeln!(session.out, "{}", serde_json::json!({ "errors": errors }))?;
            Ok(2)
        }
        Err(error) => Err(error),
    }
}

/// What is said of scenarios without an error.
#[derive(Debug, Default)]
struct Checked {
    /// How many there are.
    good: usize,
    /// Those whose edits were not tried, and why.
    unseen: Vec<(String, String)>,
    /// How many of them for want of their kernel.
    absent: usize,
    /// What keeps scenarios from being run.
    notes: Vec<(String, String)>,
}

impl Checked {
    fn summary(&self) -> String {
        let are = if self.good == 1 { " is" } else { "s are" };
        let valid = format!("{} scenario{are} valid", self.good);
        let kernels = if self.absent == 1 { "its kernel" } else { "their kernels" };
        match self.absent {
            0 => valid,
            all if all == self.good => format!("{valid} as far as can be told without {kernels}"),
            some => format!("{valid}, {some} of them as far as can be told without {kernels}"),
        }
    }
}

/// Why a scenario will be skipped for a tool that neither the system has nor anybody offers. What is only not unpacked yet
/// is no matter of the scenario's.
fn never_there(
    ready: &Ready,
    shelf: &mut Option<(Host, Shelf)>,
    cache: Option<&Path>,
) -> Result<Vec<String>, CliError> {
    let scenario = &ready.loaded.scenario;
    let offered = |wanted: &Wanted<'_>| {
        wanted.program().map_or_else(|| Offer::find(wanted.name, wanted.version).is_some(), Path::is_file)
    };
    let mut reasons = Vec::new();
    for wanted in scenario.toolchain.wanted().into_iter().filter(|wanted| !offered(wanted)) {
        // Only now is it worth asking the system's tools for their versions.
        if shelf.is_none() {
            let host = capture()?;
            let tools = Shelf::new(&host, cache);
            *shelf = Some((host, tools));
        }
        let Some((host, tools)) = shelf else { continue };
        let mut alone = scenario.clone();
        let of = |name: &str, chosen: &Option<String>| chosen.clone().filter(|_| wanted.name == name);
        alone.toolchain = Toolchain {
            pahole: of("pahole", &scenario.toolchain.pahole),
            make: of("make", &scenario.toolchain.make),
            compiler: None,
        };
        reasons.extend(tools.choose(host, &alone, false)?.err());
    }
    Ok(reasons)
}

fn check_all(args: &SelectArgs, cache: Option<&Path>) -> Result<Checked, CliError> {
    let host = capture_without_tools()?;
    let sources = load::sources(&host, cache);
    let mut errors = Errors::default();
    let ready = selected(args, &host.cwd, &sources)?;
    let mut checked = Checked { good: ready.len(), ..Checked::default() };
    let mut shelf = None;
    for ready in &ready {
        let id = &ready.found.id;
        let reasons = never_there(ready, &mut shelf, cache)?.into_iter();
        checked.notes.extend(reasons.map(|reason| (id.clone(), format!("it would be skipped: {reason}"))));
        match load::on_paper(ready, &sources) {
            Ok(OnPaper::Tried) => {}
            Ok(OnPaper::NotAtHand(how)) => {
                checked.absent += 1;
                checked.unseen.push((id.clone(), format!("`{}` is not in the cache ({how})", ready.source)));
            }
            Ok(OnPaper::CannotBuild(why)) => checked.unseen.push((id.clone(), why)),
            Err(more) => errors.0.extend(more.0),
        }
    }
    errors.into_result().map_err(CliError::Scenario)?;
    Ok(checked)
}

/// `doctor`: the whole picture of the host.
pub(super) fn doctor(cache: Option<&Path>, format: Format, session: &mut Session<'_>) -> Result<u8, CliError> {
    let host = capture()?;
    let scratch =
        Scratch::create(&host.paths.scratch).map_err(|error| CliError::host(error.to_string(), error.hint()))?;
    let capabilities = Sandbox::new(host.exe.clone()).probe(scratch.path()).map_err(CliError::sandbox)?;
    let told = |name: &str, result: &Result<(), Refusal>| {
        let result = match result {
            Ok(()) => Ok(()),
            Err(refusal) => Err((refusal.reason.clone(), refusal.hint.clone())),
        };
        (name.to_owned(), result)
    };
    let list = [
        told("user namespaces", &capabilities.user_ns),
        told("mount namespaces", &capabilities.mount_ns),
        told("pid namespaces", &capabilities.pid_ns),
        told("network namespaces", &capabilities.net_ns),
        told("uts namespaces", &capabilities.uts_ns),
        told("ipc namespaces", &capabilities.ipc_ns),
        told("overlay", &capabilities.overlay),
        told("overlay in a user namespace", &capabilities.overlay_userxattr),
        told("recursive read-only mounts", &capabilities.mount_setattr),
        told("ptrace", &capabilities.ptrace),
    ];
    let sources = load::sources(&host, cache);
    let rows = doctor::source_rows(&sources, &[]);
    let mut picture = doctor::examine(&host, &list, rows);
    picture.unpacked = doctor::unpacked_rows(&super::toolchain::tools(&host, cache));
    picture.results = Some(Results::new(&load::cache(&host, cache)).held());
    picture.prepared = Some(Store::new(&load::cache(&host, cache), false).usage());
    match format {
        Format::Json => write!(session.out, "{}", picture.json().map_err(CliError::internal)?)?,
        Format::Text => write!(session.out, "{}", picture.text(console::colors_enabled()))?,
    }
    Ok(0)
}
