//! Stage `runner`: the run plan of a scenario, and its execution.
//!
//! ```text
//! control     clean  no-op  no-op …   edit 1: incremental  no-op   edit 2: incremental  no-op …
//! experiment  clean
//! oracle 1    clean  no-op            (the sources as after edit 1)
//! oracle 2    clean  no-op …
//! ```
//!
//! Each line is a [`Chain`]: builds in one tree, in order. Chains do not depend on each other and run side
//! by side, as many as there are job slots. The plan is a list that can be looked at without running.
//! What is to be seen of a build is the business of an [`Observer`].

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::scenario::{ObjTree, OracleWhen, Scenario, Tier, TreeKind};
use crate::tree::TreePlan;

mod blame;
pub mod boot;
mod command;
mod context;
mod copy;
mod execute;
mod instance;
mod jobs;
mod labels;
mod making;
pub mod prepared;
mod preparing;
pub mod recipe;
pub mod replay;
mod replaying;
pub mod reproduce;
pub mod results;
mod reusing;
mod script;
pub mod slots;
mod status;
mod traces;
mod varying;

pub use command::{ARTIFACTS, pasted, pinned_environment, shown};
pub use context::{Context, RunError, RunErrorKind};
pub use execute::run;
pub use instance::{Source, directory_size};
pub use labels::{labels, tail};
pub use prepared::Prepared;
pub(crate) use preparing::millis;
pub use replaying::{Replayed, TIMES as REPLAYS};
pub use status::Status;
pub use traces::Traced;
pub use varying::MOST as MOST_VARIED;

/// The tree a build is made in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The first clean build, and every build after an edit.
    Control,
    /// The second clean build.
    Experiment,
    /// A further clean build with some of what the experiment varies, to find out which of it makes the difference.
    Variation,
    /// A clean build of the sources as after an edit.
    Oracle,
}

/// The kinds of build.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// In a fresh tree.
    Clean,
    /// Again, with nothing changed.
    Noop,
    /// After an edit.
    Incremental,
    /// After an edit, and interrupted; the next build goes on from there.
    Interrupted,
}

/// One build of the plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedBuild {
    /// Its name: `control/clean`, `edit-1/incremental`.
    pub id: String,
    /// The kind.
    pub mode: Mode,
    /// The edit it follows, from 0.
    pub edit: Option<usize>,
}

/// Builds in one tree, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    /// The tree.
    pub role: Role,
    /// A directory name for it.
    pub instance: String,
    /// The builds.
    pub builds: Vec<PlannedBuild>,
}

/// How many no-op builds the control gets at least: some faults show only at the second.
pub const MIN_NOOPS: usize = 2;
/// After how many no-op builds that all change something it is said to change for ever.
pub const MAX_NOOPS: usize = 4;

/// Which parts of the main job are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parts {
    /// The second clean build.
    pub experiment: bool,
    /// The builds with nothing changed.
    pub noops: bool,
    /// The clean builds that incremental ones are compared with.
    pub oracles: bool,
}

impl Role {
    /// Whether its builds do what `[experiment]` says.
    #[must_use]
    pub fn is_varied(self) -> bool {
        matches!(self, Self::Experiment | Self::Variation)
    }
}

impl Parts {
    /// The whole main job.
    pub const ALL: Self = Self { experiment: true, noops: true, oracles: true };
}

/// The run plan of a scenario.
#[must_use]
pub fn plan(scenario: &Scenario, parts: Parts) -> Vec<Chain> {
    let build = |id: String, mode, edit| PlannedBuild { id, mode, edit };
    let mut control = vec![build("control/clean".into(), Mode::Clean, None)];
    if parts.noops {
        control.extend((1..=MIN_NOOPS).map(|n| build(format!("control/noop-{n}"), Mode::Noop, None)));
    }
    for (n, edit) in scenario.edit.iter().enumerate() {
        let name = scenario.edit_name(n);
        if edit.interrupt.is_some() {
            control.push(build(format!("{name}/interrupted"), Mode::Interrupted, Some(n)));
        }
        control.push(build(format!("{name}/incremental"), Mode::Incremental, Some(n)));
        if parts.noops {
            control.push(build(format!("{name}/noop"), Mode::Noop, Some(n)));
        }
    }
    let mut chains = vec![Chain { role: Role::Control, instance: "control".into(), builds: control }];
    if parts.experiment {
        let builds = vec![build("experiment/clean".into(), Mode::Clean, None)];
        chains.push(Chain { role: Role::Experiment, instance: "experiment".into(), builds });
    }
    if !parts.oracles {
        return chains;
    }
    let last = scenario.compare.oracle == Some(OracleWhen::Last);
    let first = if last { scenario.edit.len().saturating_sub(1) } else { 0 };
    chains.extend((first..scenario.edit.len()).map(|n| oracle(scenario, n, parts)));
    chains
}

/// The chain of the clean build after edit `n`.
#[must_use]
pub fn oracle(scenario: &Scenario, n: usize, parts: Parts) -> Chain {
    let name = scenario.edit_name(n);
    let mut builds = vec![PlannedBuild { id: format!("{name}/oracle"), mode: Mode::Clean, edit: Some(n) }];
    if parts.noops {
        builds.push(PlannedBuild { id: format!("{name}/oracle-noop"), mode: Mode::Noop, edit: Some(n) });
    }
    Chain { role: Role::Oracle, instance: format!("oracle-{name}"), builds }
}

/// A build that was made, while its tree is still there.
#[derive(Debug)]
pub struct Built<'a> {
    /// What was planned.
    pub build: &'a PlannedBuild,
    /// What of the scenario's `[experiment]` it varies.
    pub varied: Vec<String>,
    /// The tree.
    pub role: Role,
    /// The tree's directory name.
    pub instance: &'a str,
    /// The commands, as a shell would take them.
    pub commands: Vec<String>,
    /// How it ended.
    pub status: Status,
    /// Wall time of its commands.
    pub wall: Duration,
    /// Processor time of its commands.
    pub cpu: Duration,
    /// The object tree, on the host.
    pub objtree: PathBuf,
    /// What of the sources shows through below it, if it is the upper directory of an overlay.
    pub lower: Option<PathBuf>,
    /// The prepared tree that shows through below it, if it started from one.
    pub prepared: Option<Arc<Prepared>>,
    /// How it came to that, if this is the build that started from it.
    pub preparation: Option<Preparation>,
    /// The log file, on the host.
    pub log: PathBuf,
    /// What it did, if it was traced.
    pub traced: Option<Traced>,
}

/// How a clean build came to the prepared state that it started from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Preparation {
    /// Whether it was there, from this run or an earlier one.
    pub reused: bool,
    /// Milliseconds of wall time that its commands took, if it was not.
    pub wall_ms: u64,
    /// Milliseconds of processor time, likewise.
    pub cpu_ms: u64,
    /// Why none that was there could be taken, or why this one cannot be kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// Something that happens while a scenario is run, for progress.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// So many builds are planned; more can be added later.
    Planned(usize),
    /// A tree (its directory name) waits for a job slot: other processes hold all.
    Waiting(String),
    /// A tree (its directory name) waits for another run, which prepares what it needs.
    Awaiting(String),
    /// A tree (its directory name) waits until its build begins in another minute of the clock than the control's.
    Later(String),
    /// A tree (its directory name) is prepared before its clean build; why, if another state was there.
    Preparing(String, Option<String>),
    /// A build was made before, and is recorded from that.
    Reused(String),
    /// A build has its job slot and starts.
    Started(String),
    /// A build ended.
    Ended(String, Status, Duration),
}

/// What was seen of a build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// The artifacts of the build before it in the same tree.
    Same,
    /// Other artifacts, or the first.
    Changed,
    /// What it left cannot be looked at: that is how it ended.
    Nothing(Status),
    /// Everything was to stop meanwhile; nothing is recorded.
    Stopped,
}

/// Looks at builds as they are made. Chains run side by side, hence `Sync`.
pub trait Observer: Sync {
    /// Looks at a build and records it.
    ///
    /// # Errors
    /// Why the tree could not be looked at, for reasons of the harness's or the host's.
    fn built(&self, built: &Built<'_>) -> Result<Seen, RunError>;

    /// Looks at a step that was run again, and records it.
    ///
    /// # Errors
    /// As [`Observer::built`].
    fn replayed(&self, replayed: &Replayed<'_>) -> Result<(), RunError>;

    /// The artifacts of the other build that this one has otherwise, or lacks; `None` if not both worked, or the other has none.
    fn differing(&self, build: &str, other: &str) -> Option<BTreeSet<String>>;

    /// Whether a build that was looked at failed.
    fn failed(&self, build: &str) -> bool;

    /// Whether both worked and left the same artifacts, with the same modes.
    fn agrees(&self, build: &str, other: &str) -> bool;

    /// Patterns of what is looked at of a build.
    fn artifacts(&self) -> &[String];

    /// What was recorded of a chain's builds, for a run that would make the same; `None` if nobody should take it for another:
    /// not all worked, or a build with nothing changed changed something.
    fn kept(&self, chain: &Chain) -> Option<serde_json::Value>;

    /// Records a chain's builds from what was kept of equal ones; says whether it could be read.
    fn adopt(&self, chain: &Chain, kept: serde_json::Value) -> bool;

    /// Forgets the builds of a chain: they are made after all.
    fn forget(&self, chain: &Chain);

    /// Follows the progress.
    fn event(&self, event: Event);

    /// Where the log of a build goes.
    fn log(&self, build: &str) -> PathBuf;
}

/// Seconds that one build may take.
#[must_use]
pub fn timeout(scenario: &Scenario) -> Duration {
    Duration::from_secs(scenario.limits.timeout.unwrap_or(match scenario.tier() {
        Tier::Quick => 120,
        Tier::Graft => 600,
        Tier::Kernel | Tier::Long => 7200,
    }))
}

/// Bytes that the trees of the scenario may take on disk, if there is a bound.
#[must_use]
pub fn disk_limit(scenario: &Scenario) -> Option<u64> {
    let mib = scenario.limits.disk.or(match scenario.tier() {
        Tier::Quick => Some(1024),
        Tier::Graft => Some(4096),
        Tier::Kernel | Tier::Long => None,
    });
    mib.map(|mib| mib << 20)
}

/// Bytes on disk that a run of the scenario is expected to need.
#[must_use]
pub fn disk_needed(scenario: &Scenario) -> u64 {
    let chains = plan(scenario, Parts::ALL).len() as u64;
    let one: u64 = match scenario.tier() {
        _ if scenario.tree.kind == Some(TreeKind::Make) => 256 << 20,
        Tier::Quick => 16 << 20,
        Tier::Graft => 64 << 20,
        // Measured: a tinyconfig 6.12 with debug information takes 0.6 GB.
        Tier::Kernel | Tier::Long => 1 << 30,
    };
    // Not all oracles stand at once: a chain's tree is removed when it is through.
    one * chains.min(4)
}

/// What a host can vary.
#[derive(Debug, Clone, Copy)]
pub struct Variable {
    /// Where a tree is: it has mount namespaces.
    pub places: bool,
    /// The host name: it has namespaces for it.
    pub host_name: bool,
    /// What a tracer varies: builds are traced.
    pub traced: bool,
    /// Whether address spaces are random (personality(2)).
    pub addresses: bool,
    /// Whether a build can be of another group.
    pub groups: bool,
    /// How many processors it has.
    pub processors: usize,
}

/// What the experiment varies and this host cannot: without mount namespaces a tree has one place only, and
/// without a name space of its own a build has the host's name.
#[must_use]
pub fn not_varied(scenario: &Scenario, host: Variable) -> Vec<&'static str> {
    let Some(experiment) = &scenario.experiment else { return Vec::new() };
    let jobs = experiment.jobs.or(scenario.make.jobs).map_or(host.processors, |jobs| jobs as usize);
    let wanted = [
        ("the order of jobs, of which there is one", experiment.shuffle.is_some() && jobs < 2),
        ("the place of the source tree", experiment.srctree.is_some() && !host.places),
        ("the place of the object tree", experiment.objtree.is_some() && !host.places),
        ("the host name", experiment.hostname.is_some() && !host.host_name),
        ("the order of jobs, which takes a tracer", experiment.shuffle.is_some() && !host.traced),
        ("the order of names in directories, which takes a tracer", experiment.directories.is_some() && !host.traced),
        ("the layout of address spaces", experiment.random_addresses.is_some() && !host.addresses),
        ("the group, which takes root and no user namespace", experiment.group.is_some() && !host.groups),
        (
            "the number of processors, of which there are no more",
            experiment.processors.is_some_and(|wanted| wanted as usize >= host.processors),
        ),
    ];
    wanted.into_iter().filter_map(|(what, lacking)| lacking.then_some(what)).collect()
}

/// Whether output goes beside the sources.
#[must_use]
pub fn in_tree(scenario: &Scenario, plan: &TreePlan) -> bool {
    match (scenario.make.objtree, plan.kind) {
        (Some(objtree), _) => objtree == ObjTree::InTree,
        (None, TreeKind::Kernel) => false,
        (None, TreeKind::Make) => true,
    }
}

/// The file beside a build's log that holds the build as a script.
#[must_use]
pub fn script_path(log: &Path) -> PathBuf {
    log.with_file_name("build.sh")
}

#[cfg(test)]
mod tests;
