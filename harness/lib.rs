//! Hermetic reproducibility test harness for the Linux kernel build.
//!
//! A scenario goes one way through the house; a stage imports only stages to its left
//! (`tests/tidy.rs` holds it to that):
//!
//! ```text
//! scenario → tree → sandbox → trace → runner → artifact → verdict → report      cli on top
//! ```
//!
//! [`run_scenario`] is that way on one screen: a scenario and its tree become a
//! [`ScenarioRecord`]; everything after it (`verdict::judge`, `report`) is a pure function of records.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

use artifact::Bounds;
use artifact::booting::Booting;
use artifact::record::{Ended, FORMAT, LossRecord, ScenarioRecord, ToolRecord};
use artifact::recorder::{Plan as RecorderPlan, Recorded, Recorder, snapshots};
use runner::{ARTIFACTS, Context, Event, RunError, RunErrorKind};
use scenario::{Errors, Loaded, Scenario, TreeKind};
use tree::{Beside, Lower, TreePlan, kconfig};

pub mod artifact;
pub mod cli;
pub mod report;
pub mod runner;
pub mod sandbox;
pub mod scenario;
pub mod trace;
pub mod tree;
pub mod verdict;

/// Larger files are not read, unless the scenario may take more of the disk: an output of a build that has such a
/// length has it by holes.
const LARGEST_FILE: u64 = 64 << 30;

/// A scenario together with everything that is known before it is run.
pub struct Job<'a> {
    /// The scenario's id.
    pub id: &'a str,
    /// How to name it to `run`.
    pub file: &'a str,
    /// Which cell of a matrix it is: its values by the keys of their lists.
    pub matrix: BTreeMap<String, String>,
    /// The command that runs it again and keeps its trees.
    pub again: &'a str,
    /// The scenario.
    pub loaded: &'a Loaded,
    /// Its source tree.
    pub lower: &'a dyn Lower,
    /// The files beside it.
    pub beside: &'a dyn Beside,
    /// Version of the kernel, if it is one.
    pub kernel: Option<String>,
    /// What identifies the sources.
    pub source: String,
    /// The toolchain.
    pub toolchain: Vec<ToolRecord>,
    /// The directory of its record.
    pub dir: PathBuf,
}

/// Resolves a scenario against its source tree: every edit is tried on paper.
///
/// # Errors
/// Everything that does not fit, with its place in the scenario.
pub fn plan_scenario(job: &Job<'_>) -> Result<TreePlan, Errors> {
    tree::plan(&job.loaded.scenario, &job.loaded.document, job.lower, job.beside)
}

/// Runs a scenario that was planned, and records what its builds left behind.
#[must_use]
pub fn run_scenario(
    job: &Job<'_>,
    plan: &TreePlan,
    context: &Context<'_>,
    events: &(dyn Fn(Event) + Sync),
) -> ScenarioRecord {
    let started = Instant::now();
    let scenario = &job.loaded.scenario;
    let recorder = Recorder::new(
        RecorderPlan {
            dir: job.dir.clone(),
            store: context.scratch.join("store"),
            artifacts: artifact_patterns(scenario, plan),
            snapshots: scenario.snapshots.as_ref().map_or(Vec::new(), |snapshots| snapshots.btf.clone()),
            boot: context.boot.then(|| Booting {
                sandbox: context.sandbox.clone(),
                isolation: context.isolation(),
                dir: context.scratch.join("boot"),
            }),
        },
        Bounds {
            cancel: context.cancel,
            largest: LARGEST_FILE.max(runner::disk_limit(scenario).unwrap_or(LARGEST_FILE)),
        },
        events,
    );
    let (ended, losses) = match runner::run(context, scenario, plan, &recorder) {
        Ok(losses) => (Ended::Complete, losses),
        Err(error) => (ended(job, plan, error), Vec::new()),
    };
    let order: Vec<String> =
        runner::plan(scenario, context.parts).into_iter().flat_map(|chain| chain.builds).map(|b| b.id).collect();
    let Recorded { builds, texts, traces, replays } = recorder.finish(&order);
    let variant = variant(scenario, &job.toolchain);
    ScenarioRecord {
        format: FORMAT,
        id: job.id.to_owned(),
        file: job.file.to_owned(),
        matrix: job.matrix.clone(),
        again: job.again.to_owned(),
        scenario: scenario.clone(),
        kernel: job.kernel.clone(),
        source: job.source.clone(),
        toolchain: job.toolchain.clone(),
        losses: losses.into_iter().map(loss_record).collect(),
        ended,
        wall_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        builds,
        snapshots: snapshots(texts, variant.as_deref()),
        replays,
        traces,
        says: Default::default(),
        owners: Default::default(),
        fixes: None,
        confirmations: Default::default(),
    }
}

/// Patterns of the files that are compared.
#[must_use]
pub fn artifact_patterns(scenario: &Scenario, plan: &TreePlan) -> Vec<String> {
    let compare = &scenario.compare;
    if !compare.only.is_empty() {
        return compare.only.clone();
    }
    let defaults: &[&str] = if plan.kind == TreeKind::Kernel { ARTIFACTS } else { &[] };
    defaults.iter().map(ToString::to_string).chain(compare.artifacts.iter().cloned()).collect()
}

/// The declared snapshot variant that this toolchain is.
#[must_use]
pub fn variant(scenario: &Scenario, toolchain: &[ToolRecord]) -> Option<String> {
    let version = |name: &str| toolchain.iter().find(|tool| tool.name == name).map(|tool| tool.key.as_str());
    let variants = &scenario.snapshots.as_ref()?.variants;
    let fits = |variant: &&BTreeMap<String, String>| {
        variant.iter().all(|(tool, wanted)| version(tool) == Some(wanted.as_str()))
    };
    variants.iter().find(fits).map(verdict::variant_name)
}

/// A sandbox's loss as reports show it.
#[must_use]
pub fn loss_record(loss: sandbox::Loss) -> LossRecord {
    let guarantee = match loss.guarantee {
        sandbox::Guarantee::FileSystem => "only declared files are visible, and only the build's own are writable",
        sandbox::Guarantee::Processes => "the build sees no other process and is killed as a whole",
        sandbox::Guarantee::Network => "no network",
        sandbox::Guarantee::HostName => "a fixed host name",
        sandbox::Guarantee::Ipc => "no message queues or semaphores shared with the host",
        sandbox::Guarantee::Proc => "`/proc` shows only the build",
        sandbox::Guarantee::RootPinned => "the host's root file system is out of reach",
    };
    LossRecord { guarantee: guarantee.into(), reason: loss.reason, hint: Some(loss.hint).filter(|h| !h.is_empty()) }
}

fn ended(job: &Job<'_>, plan: &TreePlan, error: RunError) -> Ended {
    let RunError { kind, mut message, mut hint, unmet } = error;
    if !unmet.is_empty() {
        // Only now is it worth reading every Kconfig file.
        let mut index = kconfig::Index::read(job.lower);
        if let Some(arch) = job.loaded.scenario.graft_arch() {
            index.split_other_architectures(arch);
        }
        index.merge(kconfig::Index::of(&plan.base));
        let lines: Vec<String> = unmet
            .iter()
            .map(|unmet| {
                let (what, why) = unmet.explain(&index);
                format!("{what} ({why})")
            })
            .collect();
        message = lines.join("; ");
        hint = Some("ask for what the symbol depends on as well, or for another value".into());
    }
    match kind {
        // What this revision cannot have, another may: as where an edit does not fit it.
        RunErrorKind::Scenario if !unmet.is_empty() && job.loaded.scenario.is_of_revision() => {
            Ended::CannotBuild { reason: message }
        }
        RunErrorKind::Scenario => Ended::ScenarioError { message, hint },
        RunErrorKind::HostCannot => Ended::HostCannot { message, hint },
        RunErrorKind::Harness => Ended::HarnessError { message, hint },
        RunErrorKind::Interrupted => Ended::Interrupted,
    }
}
