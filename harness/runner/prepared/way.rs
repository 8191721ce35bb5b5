//! Whether goals make what they need, by themselves.
//!
//! A state is prepared by goals of its own ([`super::GOALS`]), whether or not those of a scenario would have come to them:
//! a kernel in which `vmlinux` no longer depends on `prepare` would build from a state, and from nothing would not. So
//! the first clean build by some Makefiles and goals is made from nothing, and only if it agrees with one that is not, later
//! ones are taken to reach what is prepared for them. What makes the one need the other is written in the files that are
//! looked at here, and hardly depends on the configuration.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::Eyes;
use crate::trace::{Look, Looked};
use crate::tree::State;
use crate::tree::source::sha256;

/// The Makefiles that are a kernel's, beside those in `scripts`.
const KERNELS: [&str; 4] = ["Makefile", "Kbuild", "scripts/Kbuild.include", "arch/x86/Makefile"];

/// The way from goals to what they need: a digest of the Makefiles that lay it down, and of the command lines.
/// `None` where it cannot be told.
pub(in crate::runner) fn way(eyes: &Eyes<'_>, state: &State, commands: &[Vec<String>]) -> Option<String> {
    let is_makefile = |name: &str| name.starts_with("Makefile") || name.starts_with("Kbuild");
    let scripts = eyes.view.names(Path::new("scripts")).into_keys().filter_map(|name| name.into_string().ok());
    let scripts = scripts.filter(|name| is_makefile(name)).map(|name| format!("scripts/{name}"));
    let own = state.files.keys().filter(|path| is_makefile(path.rsplit('/').next().unwrap_or(path))).cloned();
    let all: BTreeSet<String> = KERNELS.into_iter().map(str::to_owned).chain(scripts).chain(own).collect();
    let read = |path: String| (eyes.src.join(path), Look::Read);
    let looked = Looked {
        paths: all.into_iter().map(read).collect::<std::collections::BTreeMap<PathBuf, Look>>(),
        gaps: BTreeSet::new(),
    };
    let manifest = eyes.manifest(&looked).ok()?;
    let text = serde_json::to_string(&(manifest, super::GOALS, commands)).ok()?;
    Some(sha256(text.as_bytes())[..24].to_owned())
}
