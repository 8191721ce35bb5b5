//! The closed list of what can be found about a build, by name.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What weight a finding has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// Bytes that should be equal are not, or a build that cannot go on: fails.
    Wrong,
    /// Nothing can be said.
    Inconclusive,
    /// Work for nothing: reported; fails only against an expectation.
    Cost,
}

macro_rules! findings {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal, $class:ident;)+) => {
        /// A finding's name, as scenarios and reports write it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        pub enum FindingName {
            $($(#[doc = $doc])+ #[serde(rename = $name)] $variant,)+
        }

        impl FindingName {
            /// Every finding, in the order in which reports list them.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The name, e.g. `rebuild.stale`.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }

            /// Whether it is about how a build ends, not about what it leaves.
            #[must_use]
            pub fn is_of_the_end(self) -> bool {
                matches!(self, Self::RebuildFailed | Self::RebuildMasked | Self::ResumeStuck)
            }

            /// What weight it has.
            #[must_use]
            pub fn class(self) -> Class {
                match self { $(Self::$variant => Class::$class),+ }
            }

            /// What it means, in a sentence.
            #[must_use]
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc),+)),+ }
            }
        }
    };
}

findings! {
    /// two clean builds of the same sources differ
    ReproMismatch = "repro.mismatch", Wrong;
    /// a build with nothing changed changed an artifact
    NoopChanged = "noop.changed", Wrong;
    /// a build with nothing changed ran a step
    NoopRan = "noop.ran", Cost;
    /// the incremental build differs from a clean one, and the artifact was not made again
    RebuildStale = "rebuild.stale", Wrong;
    /// the incremental build differs from a clean one though it made the artifact again: the result depends on what was there before
    RebuildDiverged = "rebuild.diverged", Wrong;
    /// a step ran although nothing that it reads had other content than the time before
    RebuildNeedless = "rebuild.needless", Cost;
    /// the incremental build fails where a clean one works
    RebuildFailed = "rebuild.failed", Wrong;
    /// the incremental build works where a clean one fails
    RebuildMasked = "rebuild.masked", Wrong;
    /// the build after an interrupted one differs from a clean build
    ResumeDiverged = "resume.diverged", Wrong;
    /// the build after an interrupted one fails where a clean one works
    ResumeStuck = "resume.stuck", Wrong;
    /// a step reads a file and is not run again when that file changes: nobody told make that it depends on it
    DepMissing = "dep.missing", Wrong;
    /// a step that rewrites a file changes it again when it is run on its own output
    StepNotIdempotent = "step.not-idempotent", Wrong;
    /// two steps of one build make the same file
    HazardWriteWrite = "hazard.write-write", Wrong;
    /// two steps came in one order in one clean build and in the other in the second, with different results: nothing orders them
    HazardOrder = "hazard.order", Wrong;
    /// a step read a file that is neither of the trees nor of the toolchain
    EscapeRead = "escape.read", Wrong;
    /// a step wrote a file outside of the trees, or wanted to
    EscapeWrite = "escape.write", Wrong;
    /// a step wanted to reach another machine
    EscapeNetwork = "escape.network", Wrong;
    /// a module lost its .BTF, or functions that a clean build describes
    BtfLost = "btf.lost", Wrong;
    /// a module has more than one .BTF
    BtfDuplicate = "btf.duplicate", Wrong;
    /// a module or vmlinux has BTF that a kernel refuses
    BtfInvalid = "btf.invalid", Wrong;
    /// a module's BTF does not fit the vmlinux beside it: the kernel refuses it, or takes it for other types
    BtfBaseMismatch = "btf.base-mismatch", Wrong;
    /// the clean build itself fails: nothing can be said
    BuildFailed = "build.failed", Inconclusive;
    /// a build did not end within its time limit
    BuildTimeout = "build.timeout", Inconclusive;
    /// the scenario demanded something that did not happen
    ExpectUnmet = "expect.unmet", Wrong;
    /// the scenario lists a fault that is gone
    KnownStale = "known.stale", Wrong;
    /// a snapshot differs from the accepted one
    SnapshotChanged = "snapshot.changed", Wrong;
    /// there is no accepted snapshot
    SnapshotMissing = "snapshot.missing", Wrong;
    /// an accepted snapshot belongs to no declared scenario and variant
    SnapshotUnreferenced = "snapshot.unreferenced", Wrong;
}

impl std::fmt::Display for FindingName {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.pad(self.name())
    }
}
