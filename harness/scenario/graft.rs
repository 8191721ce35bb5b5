//! Keys of a graft: a tree with our own sources and a kernel's kbuild.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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
