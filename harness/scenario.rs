//! Stage `scenario`: the text of a scenario file → [`Scenario`], with spans, all errors collected.
//!
//! No file system here: the text of a file and of those it `extends` come from a [`Loader`].
//! The types below are the format. Their JSON schema (`kbuild-repro schema`) is generated from
//! them and is also what checks a file, so that there is one definition of what may be written:
//!
//! ```text
//! text → document (spans kept) → extends merged → schema check → Scenario → semantic check
//! ```

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

mod check;
mod document;
mod edit;
mod error;
mod experiment;
mod finding;
mod graft;
mod interrupt;
mod matrix;
mod schema;
mod toolchain;
mod versions;

pub(crate) use check::path_fault;
pub use document::{Document, Key, Loader};
pub use edit::{Change, Edit, Tool, True, WhichTree};
pub use error::{Errors, Problem, Text};
pub use experiment::{Experiment, LATER, ListOrder, Start};
pub(crate) use experiment::{HOST_NAME, OBJ, SRC, UMASK};
pub use finding::{Class, FindingName};
pub use graft::{GRAFT, GRAFT_KERNEL, GraftArch};
pub use interrupt::{Fault, Interrupt, Moment, Signal, Whom};
pub use matrix::{Cell, Dimension, Except, Matrix, Part, SYSTEM, names_a_tool, told_apart, unfit, without_tools};
pub use schema::json_schema;
pub(crate) use schema::nearest;
pub use toolchain::{Compiler, TOOL_NAMES, Toolchain, Wanted};
pub use versions::{VersionRange, version_fits, version_is_among};

/// A scenario, and where each of its keys was written.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The scenario.
    pub scenario: Scenario,
    /// Where each key stands, for errors found later (an edit that does not apply).
    pub document: Document,
}

/// Reads a scenario from `text`, which was found under `name`; `loader` gives the files it extends.
///
/// # Errors
/// Every error of the file and of the files it extends, each with its place.
pub fn parse(name: &str, text: &str, loader: &dyn Loader) -> Result<Loaded, Errors> {
    let (loaded, errors) = read(name, text, loader);
    errors.into_result()?;
    Ok(loaded.expect("without an error there is a scenario"))
}

/// What can be read of a scenario, and what is wrong with the rest.
///
/// Where there are errors the scenario is one with all that is wrong taken out: it says nothing, but what is
/// left of it can be tried on its tree, so that one look at a file finds all its errors.
#[must_use]
pub fn read(name: &str, text: &str, loader: &dyn Loader) -> (Option<Loaded>, Errors) {
    let (mut document, mut errors) = Document::read(name, text, loader);
    let (json, more) = schema::check(&mut document);
    errors.0.extend(more.0);
    match serde_json::from_value::<Scenario>(json) {
        Ok(scenario) => {
            errors.0.extend(check::check(&scenario, &mut document).0);
            (Some(Loaded { scenario, document }), errors)
        }
        Err(error) if errors.0.is_empty() => {
            // The schema is generated from the type, so this is a gap between the two; say it plainly.
            (None, Errors::of(Problem::whole(&document, format!("cannot be read as a scenario: {error}"))))
        }
        Err(_) => (None, errors),
    }
}

/// One scenario file: a tree, how to build it, and edits, each followed by a build.
///
/// Always checked, without a key: two clean builds are equal; a build with nothing changed changes
/// nothing; after every edit the incremental build equals a clean build of the same sources.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "kbuild-repro scenario")]
pub struct Scenario {
    /// One line that says what is tested.
    pub title: String,
    /// Why it matters: what a wrong build would cost, in a sentence or a paragraph.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// References, as in a `Link:` trailer: a mail, a commit, a bug.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub link: Vec<String>,
    /// Files whose keys this file takes over, later ones over earlier ones, this file over all.
    /// Tables are merged key by key; every other value, arrays too, replaces the inherited one.
    #[serde(default, skip_serializing_if = "OneOrMany::is_empty")]
    pub extends: OneOrMany,
    /// When it is run without being asked for: by default `quick` for the mini tree, `graft` for
    /// the graft, `kernel` for everything else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tier: Option<Tier>,
    /// Tools it needs beyond those of its kind of tree, e.g. `["pahole"]`; without them it is skipped.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<String>,
    /// What is built.
    pub tree: Tree,
    /// How it is built.
    #[serde(default)]
    pub make: Make,
    /// What it is built with, where that is not the system's.
    #[serde(default, skip_serializing_if = "Toolchain::is_empty")]
    pub toolchain: Toolchain,
    /// Lists of kernels, tools and jobs: it is run for each combination, and each is a scenario of its own.
    #[serde(default, skip_serializing_if = "Matrix::is_empty")]
    pub matrix: Matrix,
    /// What the second clean build (the experiment) does otherwise than the first (the control).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub experiment: Option<Experiment>,
    /// What is compared beyond the defaults.
    #[serde(default)]
    pub compare: Compare,
    /// Bounds of each build.
    #[serde(default)]
    pub limits: Limits,
    /// The edits, in order, each followed by a build.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub edit: Vec<Edit>,
    /// What must be found.
    #[serde(default)]
    pub expect: Expect,
    /// Faults that are known and tolerated, each with its reason.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub known: Vec<Known>,
    /// BTF to keep as snapshots under `snapshots/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshots: Option<Snapshots>,
}

/// When a scenario is run without being asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Tier {
    /// The mini tree: seconds.
    Quick,
    /// The real kbuild of a kernel on our own sources: needs a kernel source.
    Graft,
    /// A whole source tree: minutes a build.
    Kernel,
    /// Sweeps and fuzzing: hours.
    Long,
}

impl Tier {
    /// The tier's name as written in a scenario.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Quick => "quick",
            Self::Graft => "graft",
            Self::Kernel => "kernel",
            Self::Long => "long",
        }
    }
}

/// The source tree of a scenario.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tree {
    /// Where the sources are: `mini` (built in), `graft` (small sources of our own, built by the kbuild of
    /// `kernel`), a kernel as `debian:6.12`, a git revision as `git:DIR@REV`, a tarball, or a directory; paths are
    /// relative to the scenario file.
    pub srctree: String,
    /// Of a `graft`: the kernel whose kbuild it is built by, written as a `srctree`; by default `debian:6.12`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel: Option<String>,
    /// Of a `graft`: the architecture it is built for, `graft` (one of our own, the default) or `x86` (the kernel's,
    /// with few objects: objtool, asm-offsets, the vDSO and bzImage too).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arch: Option<GraftArch>,
    /// How it is built: `kernel` (kbuild: `O=`, a configuration, modules) or `make` (any tree that
    /// builds with make, in the tree itself). By default `kernel` if the tree has a `Kconfig`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<TreeKind>,
    /// The configuration: first a target (`tinyconfig`, `defconfig`, ...) or a complete `.config`
    /// file, then fragments. A file is looked for beside the scenario, in `scenarios/configs`,
    /// then in the tree's own `kernel/configs` and `configs`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub config: Vec<String>,
    /// Kconfig symbols set after the fragments: `FOO = "y"`, `"m"`, `"n"`, a number or a string.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub symbols: BTreeMap<String, String>,
    /// A directory whose files are laid over the source tree; relative to the scenario file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overlay: Option<String>,
    /// Patches applied to the source tree, in order: file names beside the scenario, or the text itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub patches: Vec<String>,
    /// Files written into the source tree before the first build.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub file: Vec<SourceFile>,
    /// Edits that belong to the tree: applied before the first build, as `[[edit]]` would be.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub edit: Vec<Change>,
    /// Of a `graft`: whether clean builds start from a state in which configuration and host tools are made already
    /// and verified to be what this tree would make (the default), or each from nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prepared: Option<bool>,
    /// Commands run once in a fresh tree before the first make, e.g. `[["./configure"]]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prepare: Vec<Vec<String>>,
    /// Where the source tree is seen by the build; by default `/build/src`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// Further directories of the host that the build may read, e.g. a toolchain's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub host: Vec<String>,
}

/// How a source tree is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TreeKind {
    /// kbuild: `make O=/build/obj`, a `.config`, `.ko` files.
    Kernel,
    /// Any tree that builds with make: in the tree itself, artifacts named by the scenario.
    Make,
}

/// A file of the scenario's own in the source tree.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SourceFile {
    /// Its path in the source tree.
    pub path: String,
    /// Its text; or see `from`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The file beside the scenario that holds its text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Its mode in octal, by default `"644"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
}

/// How the tree is built.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Make {
    /// The goals; none means make's default goal.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub goals: Vec<String>,
    /// Variables on make's command line.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub vars: BTreeMap<String, String>,
    /// The environment, over the pinned one (`KBUILD_BUILD_TIMESTAMP` and others).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Variables removed from the pinned environment, e.g. `["KBUILD_BUILD_VERSION"]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unset: Vec<String>,
    /// `-jN` exactly. By default as many as there are free job slots on the machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 4096))]
    pub jobs: Option<u32>,
    /// Where output goes: `separate` (`O=/build/obj`, the default for kbuild) or `in-tree`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objtree: Option<ObjTree>,
    /// The make program, by default `make`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program: Option<String>,
    /// The directory in which make is started, by default the top of the source tree; relative to that, or
    /// an absolute path of the host (`/lib/modules/.../build`), which `tree.at` makes visible.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dir: Option<String>,
    /// Further makes of each build, in order, each after the one before it worked: external modules (`M=`), an
    /// installation (`modules_install`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub then: Vec<Then>,
    /// Goals that bring a tree with objects back to its sources, run in a fresh tree before the
    /// first build, e.g. `["clean"]` for a tree that was built in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub clean_first: Vec<String>,
}

/// A further make of each build, with the variables, environment and jobs of the first.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Then {
    /// The goals; none means make's default goal.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub goals: Vec<String>,
    /// Variables on its command line, over those of the first.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub vars: BTreeMap<String, String>,
}

/// Where a build writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ObjTree {
    /// `O=/build/obj`.
    Separate,
    /// Beside the sources.
    InTree,
}

/// What is compared. In patterns `*` is any run of characters, `/` included, `?` is one character,
/// and everything else, `[` too, is itself.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Compare {
    /// Files compared beside the defaults (kbuild: `*.ko`, `vmlinux`, `Module.symvers`,
    /// `modules.order`, `modules.builtin*`, `System.map`, `arch/*/boot/*Image`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub artifacts: Vec<String>,
    /// Files compared in place of the defaults.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub only: Vec<String>,
    /// Files that are not compared, each with its reason.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ignore: Vec<Ignore>,
    /// How often an incremental build gets its clean build to be compared with: after `every` edit
    /// (the default), or after the `last` one only, where a clean build is expensive; a difference
    /// there is then traced back to the first edit that has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oracle: Option<OracleWhen>,
}

/// An artifact that is not compared.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ignore {
    /// Pattern of the artifact's path.
    pub artifact: String,
    /// Why its differences say nothing.
    pub why: String,
}

/// How often an incremental build is compared with a clean one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OracleWhen {
    /// After every edit.
    Every,
    /// After the last edit; differences are traced back.
    Last,
}

/// Bounds of each build.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Seconds of wall time that one build may take; by default 120 for tier `quick`, 600 for
    /// `graft`, 7200 for the others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub timeout: Option<u64>,
    /// MiB that the trees of one scenario may take on disk together; by default 1024 for `quick`,
    /// 4096 for `graft`, no limit but the free space for the others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100_000_000))]
    pub disk: Option<u64>,
}

/// A string, or a list of strings.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum OneOrMany {
    /// None written.
    #[default]
    #[serde(skip)]
    None,
    /// One.
    One(String),
    /// Several.
    Many(Vec<String>),
}

impl OneOrMany {
    /// The strings.
    #[must_use]
    pub fn as_slice(&self) -> &[String] {
        match self {
            Self::None => &[],
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many,
        }
    }
    fn is_empty(&self) -> bool {
        self.as_slice().is_empty()
    }
}

/// What must be found, or the scenario fails.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    /// Findings that must appear: planted faults.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub finding: Vec<ExpectFinding>,
}

/// A finding that must appear.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExpectFinding {
    /// Which finding.
    pub finding: FindingName,
    /// Pattern of the artifact it is about; any if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// The edit after which it appears; any build if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edit: Option<String>,
    /// How many artifacts it must be about, at least; by default 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub at_least: Option<u32>,
    /// Kernel releases it appears on, e.g. `["6.1", "6.12"]` or `[">= 6.9, < 6.13"]`; all if left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kernels: Vec<String>,
    /// Tool versions it appears with, e.g. `{ pahole = "1.24" }` or `{ pahole = "< 1.28" }`; all if left out.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tools: BTreeMap<String, String>,
}

/// A fault that is known and tolerated.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Known {
    /// Which finding.
    pub finding: FindingName,
    /// Pattern of the artifact it is about; any if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// The kbuild command to blame, greps to `cmd_...`: what another one did is not this fault. Where that is not known, any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cmd: Option<String>,
    /// The edit after which it appears; any build if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edit: Option<String>,
    /// Kernel releases it is known on, e.g. `["6.1", "6.12"]` or `[">= 6.9, < 6.13"]`; all if left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kernels: Vec<String>,
    /// Tool versions it is known with, e.g. `{ pahole = "1.24" }` or `{ pahole = "< 1.28" }`; all if left out.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tools: BTreeMap<String, String>,
    /// Why it is tolerated.
    pub why: String,
    /// Whether it shows at every run; `always` is the default, and then its absence is news.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<When>,
}

/// How regularly a known fault shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum When {
    /// At every run.
    Always,
    /// At random.
    Sometimes,
}

/// BTF of the first clean build kept as snapshots.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Snapshots {
    /// Artifacts by exact path: a module's BTF in full, vmlinux's as a summary.
    pub btf: Vec<String>,
    /// The toolchains that the committed snapshots are for, e.g. `[{ pahole = "1.24", gcc = "12" }]`:
    /// what is named here matters to the bytes, and another version is another snapshot.
    pub variants: Vec<BTreeMap<String, String>>,
}

impl Scenario {
    /// The tier, written or by kind of tree.
    #[must_use]
    pub fn tier(&self) -> Tier {
        self.tier.unwrap_or(match self.tree.srctree.as_str() {
            "mini" => Tier::Quick,
            GRAFT => Tier::Graft,
            _ => Tier::Kernel,
        })
    }

    /// Whether its sources are our own and its kbuild a kernel's.
    #[must_use]
    pub fn is_graft(&self) -> bool {
        self.tree.srctree == GRAFT
    }

    /// What of the scenario itself makes each clean build of a graft prepare itself, if anything does.
    #[must_use]
    pub fn prepares_itself(&self) -> Option<&'static str> {
        if self.tree.prepared == Some(false) {
            Some("`tree.prepared` is `false`")
        } else if !self.tree.prepare.is_empty() {
            Some("`tree.prepare` has commands, which may change what is prepared")
        } else if !self.make.clean_first.is_empty() {
            Some("`make.clean_first` would clean it away")
        } else if self.experiment.as_ref().is_some_and(|experiment| experiment.start.is_some()) {
            Some("with `experiment.start` what is prepared is made in another minute, too")
        } else {
            None
        }
    }

    /// The name of edit `index` (from 0).
    #[must_use]
    pub fn edit_name(&self, index: usize) -> String {
        self.edit.get(index).and_then(|edit| edit.id.clone()).unwrap_or_else(|| format!("edit-{}", index + 1))
    }
}

/// A file mode written in octal: three or four digits.
#[must_use]
pub fn parse_mode(mode: &str) -> Option<u32> {
    ((3..=4).contains(&mode.len()) && mode.bytes().all(|digit| (b'0'..=b'7').contains(&digit)))
        .then(|| u32::from_str_radix(mode, 8).ok())
        .flatten()
}
