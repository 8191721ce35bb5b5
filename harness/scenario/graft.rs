//! Keys of a graft: a tree with our own sources and a kernel's kbuild.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Scenario;

/// The `srctree` of a tree with our own sources and a kernel's kbuild.
pub const GRAFT: &str = "graft";
/// The kernel of a graft that names none.
pub const GRAFT_KERNEL: &str = "debian:6.12";

/// The architecture of a graft.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum GraftArch {
    /// Our own: as little of an architecture as the generic files of a kernel can do with.
    #[default]
    Graft,
    /// The kernel's `arch/x86`, without most of its objects.
    X86,
}

impl GraftArch {
    /// As it is written in a scenario, and as `ARCH` on make's command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Graft => "graft",
            Self::X86 => "x86",
        }
    }
}

impl Scenario {
    /// Where the sources that make the difference come from, as written: of a graft its kernel.
    #[must_use]
    pub fn kernel_source(&self) -> &str {
        if self.is_graft() { self.tree.kernel.as_deref().unwrap_or(GRAFT_KERNEL) } else { &self.tree.srctree }
    }

    /// The directory below `arch` that a graft is built with; none of other trees, whose build chooses it.
    #[must_use]
    pub fn graft_arch(&self) -> Option<&str> {
        let arch = self.make.vars.get("ARCH").map_or(self.tree.arch.unwrap_or_default().name(), String::as_str);
        // Names of one directory (SRCARCH in the kernel's top Makefile).
        let directory = if matches!(arch, "i386" | "x86_64") { GraftArch::X86.name() } else { arch };
        self.is_graft().then_some(directory)
    }

    /// Whether these are one revision of many: what does not fit it may fit another, so it says nothing of either.
    #[must_use]
    pub fn is_of_revision(&self) -> bool {
        self.kernel_source().trim().starts_with("git:")
    }
}
