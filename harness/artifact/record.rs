//! Run records: what builds left behind, as versioned files on disk. Everything after them is a pure
//! function of them.
//!
//! ```text
//! <run>/run.json                       RunRecord: when, on what host, which scenarios
//! <run>/shard.json                     ShardRecord: of which run it is which part, from the start
//! <run>/<scenario>/record.json         ScenarioRecord: builds with artifacts, toolchain, losses
//! <run>/<scenario>/<build>/log         what make printed
//! <run>/<scenario>/<build>/build.sh    the build as a plain script
//! <run>/<scenario>/<build>/steps.json  what it did, if it was traced
//! <run>/<scenario>/evidence/...        files that differ
//! <run>/<scenario>/recipe.json         runner::Recipe: how the builds are repeated by hand, where something is wrong
//! <run>/<scenario>/findings/N-.../     mail.txt and reproduce.sh of findings of class wrong
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write as _;
use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::booting::BootRecord;
pub use super::sharding::{ShardCell, ShardRecord};
use super::steps::{self, Steps};
use super::{Artifact, ArtifactError, Digest, PartDiff};
pub use crate::runner::{Mode, Preparation, Role, Status};
use crate::scenario::Scenario;
use crate::tree::maintainers::Owners;

/// Version of the record files. A reader refuses a newer one.
pub const FORMAT: u32 = 1;

/// One run of the harness.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RunRecord {
    /// [`FORMAT`].
    pub format: u32,
    /// The run's name: its start in UTC and the process id.
    pub id: String,
    /// Version of the harness.
    pub harness: String,
    /// Start, seconds since the epoch.
    pub started: u64,
    /// The harness's own command line, without the program.
    pub args: Vec<String>,
    /// The host's operating system, kernel and architecture, in words.
    pub host: String,
    /// Guarantees the host could not give.
    pub losses: Vec<LossRecord>,
    /// Ids of the scenarios, in the order of the report.
    pub scenarios: Vec<String>,
    /// Where accepted snapshots are.
    pub snapshots: Option<String>,
    /// Whether the run was cut short.
    pub interrupted: bool,
    /// Scenarios that a time budget left out.
    #[serde(default)]
    pub left_out: Vec<String>,
    /// Accepted snapshots that no scenario declares; looked for only where all scenarios were.
    #[serde(default)]
    pub unreferenced: Vec<String>,
    /// Why scenarios were not begun, where there is more to say than that the time budget left them out.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub why_left_out: BTreeMap<String, String>,
    /// Which part of a run it is, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shard: Option<ShardRecord>,
}

/// A guarantee that the host could not give.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct LossRecord {
    /// What is not guaranteed.
    pub guarantee: String,
    /// Why.
    pub reason: String,
    /// What would help.
    pub hint: Option<String>,
}

/// One tool of the toolchain, by content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ToolRecord {
    /// Name, e.g. `pahole`.
    pub name: String,
    /// Where it was found.
    pub path: String,
    /// What it says of its version.
    pub version: String,
    /// The part of the version that snapshots and lists of known faults go by, e.g. `1.24`.
    pub key: String,
    /// SHA-256 of the program file.
    #[schemars(with = "Option<String>")]
    pub sha256: Option<Digest>,
}

/// How a scenario's run ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ended {
    /// All builds of the plan were made.
    Complete,
    /// It was not run.
    Skipped {
        /// Why, and what would help.
        reason: String,
    },
    /// This kernel's kbuild cannot build it, or this revision cannot have what it asks for: nothing can be said.
    CannotBuild {
        /// Why.
        reason: String,
    },
    /// The scenario does not fit its tree; this showed only in the building.
    ScenarioError {
        /// What is wrong.
        message: String,
        /// What to do.
        hint: Option<String>,
    },
    /// The host cannot do it.
    HostCannot {
        /// What is missing.
        message: String,
        /// What would help.
        hint: Option<String>,
    },
    /// Something is wrong with the harness or the host.
    HarnessError {
        /// What.
        message: String,
        /// What to do.
        hint: Option<String>,
    },
    /// The user or a signal stopped it.
    Interrupted,
}

/// What the builds of one scenario left behind.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ScenarioRecord {
    /// [`FORMAT`].
    pub format: u32,
    /// The scenario's id.
    pub id: String,
    /// How to name it to `run`.
    pub file: String,
    /// Which cell of a matrix it is: its values by the keys of their lists.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub matrix: BTreeMap<String, String>,
    /// The command that runs it again and keeps its trees.
    #[serde(default)]
    pub again: String,
    /// The scenario as it was run.
    pub scenario: Scenario,
    /// Version of the kernel that was built, e.g. `6.12.117`; none for other trees.
    pub kernel: Option<String>,
    /// What identifies the source tree: a package version, a commit, a digest.
    pub source: String,
    /// The toolchain.
    pub toolchain: Vec<ToolRecord>,
    /// Guarantees that were lost for this scenario.
    pub losses: Vec<LossRecord>,
    /// How it ended.
    pub ended: Ended,
    /// Milliseconds of wall time.
    pub wall_ms: u64,
    /// The builds, in the order of the plan.
    pub builds: Vec<BuildRecord>,
    /// What snapshots are to be compared with.
    pub snapshots: Vec<SnapshotRecord>,
    /// Steps of the experiment that were run again on their own output.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replays: Vec<ReplayRecord>,
    /// What the builds did, by their names, of those that were traced: each in a file of its own ([`steps::FILE`]).
    #[serde(skip)]
    pub traces: BTreeMap<String, Steps>,
    /// What the parts that differ say differently, by the finding's id.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub says: BTreeMap<String, Vec<String>>,
    /// Whose the files are to which the causes of findings lead, by file.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub owners: BTreeMap<String, Owners>,
    /// The `Fixes:` trailer of whoever mends what is found, where a bisection has told the commit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fixes: Option<String>,
    /// What came of the reproducers of findings, by the finding's id.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub confirmations: BTreeMap<String, Confirmation>,
}

impl ScenarioRecord {
    /// Reads a scenario's record with the steps of its builds from its directory.
    ///
    /// # Errors
    /// A file cannot be read, or is none of this version.
    pub fn read(dir: &Path) -> Result<Self, RecordError> {
        let mut record: Self = read(&dir.join("record.json"))?;
        for build in record.builds.iter().filter(|build| build.traced) {
            let steps = Steps::read(&dir.join(&build.id).join(steps::FILE))?;
            record.traces.insert(build.id.clone(), steps);
        }
        Ok(record)
    }
}

/// A step that was run again on its own output.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ReplayRecord {
    /// The build.
    pub build: String,
    /// Its command, as make gave it to the shell.
    pub command: String,
    /// Its working directory.
    pub cwd: String,
    /// How often it was run again.
    pub runs: u32,
    /// What the runs changed.
    pub changes: Vec<ReplayChange>,
    /// The programs of the step that change it by themselves: their arguments, with blanks between.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub by: Vec<String>,
    /// How it failed on what it had made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
    /// Why it cannot be told.
    pub not_replayable: Option<String>,
}

/// An output that a replay changed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ReplayChange {
    /// The file, below `src` or `obj`.
    pub output: String,
    /// In which run, from 1.
    pub run: u32,
    /// How; none if the file is gone.
    pub parts: Option<PartDiff>,
}

/// What came of the stand-alone reproducer of a finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Confirmation {
    /// Whether it shows the fault.
    pub outcome: Outcome,
    /// Why it was not run, or is not there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// The directory that holds it with the mail, relative to the scenario's record.
    pub beside: String,
}

/// Whether a reproducer shows the fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It was run and shows it.
    Confirmed,
    /// It was run and does not.
    NotSeen,
    /// It was not run.
    NotRun,
    /// The builds cannot be repeated by a script.
    NoScript,
}

/// What one build left behind.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct BuildRecord {
    /// Its name, a path: `control/clean`, `edit-1/incremental`, `edit-1/oracle`.
    pub id: String,
    /// The tree.
    pub role: Role,
    /// The kind.
    pub mode: Mode,
    /// The edit it belongs to, from 0.
    pub edit: Option<usize>,
    /// What of the scenario's `[experiment]` it varies.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub varied: Vec<String>,
    /// The commands, as a shell would take them.
    pub commands: Vec<String>,
    /// How it ended.
    pub status: Status,
    /// How a clean build came to the prepared state it started from; none if it started from nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preparation: Option<Preparation>,
    /// Whether an equal build was made before, in this run or an earlier one, and this is what was recorded of that.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub reused: bool,
    /// Milliseconds of wall time of its commands.
    pub wall_ms: u64,
    /// Milliseconds of processor time of its commands.
    pub cpu_ms: u64,
    /// What make printed of steps: `CC init/version.o`, in order.
    pub labels: Vec<String>,
    /// Its other lines, where it printed steps: warnings, commands of rules without a label.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lines: Vec<String>,
    /// Whether it printed more than was read.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub log_cut: bool,
    /// The log, relative to the scenario's record.
    pub log: String,
    /// Whether it was traced: then its steps are in a file beside the log.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub traced: bool,
    /// Why it was not, though it was to be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub untraced: Option<String>,
    /// The step at which it was interrupted, if it was to be and was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interrupted: Option<String>,
    /// What its kernel said of its modules, if it was booted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot: Option<BootRecord>,
    /// The last lines of the log, if the build failed.
    pub log_tail: Vec<String>,
    /// The artifacts, by path.
    pub artifacts: Vec<Artifact>,
    /// Bytes of all files of the object tree, what it was prepared with among them.
    #[serde(default)]
    pub objtree_bytes: u64,
    /// Every other file of the object tree, by path.
    pub files: BTreeMap<String, Digest>,
    /// Files that this build wrote, changed or not.
    pub written: BTreeSet<String>,
}

impl BuildRecord {
    /// Whether it was made in the same tree: each edit has an oracle of its own.
    #[must_use]
    pub fn is_in_tree_of(&self, other: &Self) -> bool {
        match self.role {
            Role::Control | Role::Experiment => self.role == other.role,
            Role::Oracle => self.role == other.role && self.edit == other.edit,
            Role::Variation => self.id == other.id,
        }
    }

    /// The artifact of this path.
    #[must_use]
    pub fn artifact(&self, path: &str) -> Option<&Artifact> {
        self.artifacts.binary_search_by(|artifact| artifact.path.as_str().cmp(path)).ok().map(|at| &self.artifacts[at])
    }
}

/// The text to compare with an accepted snapshot.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SnapshotRecord {
    /// The artifact.
    pub artifact: String,
    /// The variant; `None` if the scenario declares none for this toolchain.
    pub variant: Option<String>,
    /// The text, or why there is none.
    pub contents: Result<String, String>,
}

/// Writes `text` to `path` so that a reader sees the old file or the new one, never half of one.
///
/// # Errors
/// What the file system answers.
pub fn write_atomically(path: &Path, text: &[u8]) -> Result<(), ArtifactError> {
    let failed = |source| ArtifactError::Io { action: "write", path: path.to_owned(), source };
    let dir = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(dir).map_err(failed)?;
    let mut file = tempfile::Builder::new().prefix(".tmp-").tempfile_in(dir).map_err(failed)?;
    file.write_all(text).map_err(failed)?;
    let mode = <fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o644);
    file.as_file().set_permissions(mode).map_err(failed)?;
    file.persist(path).map_err(|error| failed(error.error))?;
    Ok(())
}

/// Why a record cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// It cannot be read.
    #[error("cannot read the record `{path}`: {source}")]
    Read {
        /// The file.
        path: String,
        /// What the system answers.
        source: std::io::Error,
    },
    /// It is no record.
    #[error("`{path}` is no run record: {source}")]
    Parse {
        /// The file.
        path: String,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// A newer harness wrote it.
    #[error("`{path}` has format {found}; this harness reads up to {FORMAT}")]
    Newer {
        /// The file.
        path: String,
        /// Its format.
        found: u64,
    },
}

/// Reads a record file.
///
/// # Errors
/// It cannot be read, is no record, or is of a newer format.
pub fn read<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, RecordError> {
    let name = path.display().to_string();
    let text = fs::read(path).map_err(|source| RecordError::Read { path: name.clone(), source })?;
    let parsed = |source| RecordError::Parse { path: name.clone(), source };
    let value: serde_json::Value = serde_json::from_slice(&text).map_err(parsed)?;
    let found = value.get("format").and_then(serde_json::Value::as_u64).unwrap_or(0);
    if found > u64::from(FORMAT) {
        return Err(RecordError::Newer { path: name, found });
    }
    serde_json::from_value(value).map_err(parsed)
}
