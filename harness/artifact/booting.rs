//! What the kernel that a build made says of the modules that it made.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use serde::{Deserialize, Serialize};

use super::modules::{load_order, ready};
use super::{Artifact, module_name, unescape_path};
use crate::runner::RunError;
use crate::runner::boot::{Booted, Load, Machine, Module, boot, unbootable};
use crate::sandbox::{Isolation, Sandbox};

/// The end of the path of a kernel image of x86.
const IMAGE: &str = "/boot/bzImage";

/// How machines are made, and where.
#[derive(Debug)]
pub struct Booting {
    /// What runs them.
    pub sandbox: Sandbox,
    /// How much of the host they may see.
    pub isolation: Isolation,
    /// A directory of their own.
    pub dir: PathBuf,
}

/// What came of booting what a build made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootRecord {
    /// Why it was not booted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not: Option<String>,
    /// What `uname -r` said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<String>,
    /// Whether the kernel has BTF.
    #[serde(default)]
    pub has_btf: bool,
    /// How it ended before its time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// The end of its console then.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub console: Vec<String>,
    /// What it made of each module, by the path of the artifact.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub loads: BTreeMap<String, Load>,
}

impl Booting {
    /// Boots it and loads the modules.
    pub(super) fn boot(
        &self,
        build: &str,
        objtree: &Path,
        artifacts: &[Artifact],
        cancel: &AtomicBool,
    ) -> Result<BootRecord, RunError> {
        let not = |why: String| Ok(BootRecord { not: Some(why), ..BootRecord::default() });
        let place = |artifact: &Artifact| objtree.join(unescape_path(&artifact.path));
        let image = artifacts.iter().find(|artifact| format!("/{}", artifact.path).ends_with(IMAGE));
        let Some(image) = image.map(place) else { return not("it made no bzImage: is it among the goals?".into()) };
        match unbootable(&image) {
            Ok(None) => {}
            Ok(Some(why)) => return not(format!("of its bzImage, {why}")),
            Err(error) => return not(format!("its bzImage cannot be read: {error}")),
        }
        let failed = |error: std::io::Error| RunError::of(format!("cannot make a machine: {error}"), &error);
        let dir = self.dir.join(build.replace('/', "-"));
        let (machine, unpacked) = (dir.join("machine"), dir.join("modules"));
        fs::create_dir_all(&machine).and_then(|()| fs::create_dir_all(&unpacked)).map_err(failed)?;
        let modules: Vec<&Artifact> =
            artifacts.iter().filter(|artifact| module_name(&artifact.path).is_some()).collect();
        let files: Vec<PathBuf> = modules.iter().map(|artifact| place(artifact)).collect();
        let ready = match ready(&files, &unpacked, cancel) {
            Ok(ready) => ready,
            Err((file, why)) => return not(format!("`{}` cannot be loaded: {why}", file.display())),
        };
        let order = load_order(&ready);
        let ordered: Vec<Module> = order.iter().map(|&index| ready[index].clone()).collect();
        let machine = Machine { sandbox: &self.sandbox, isolation: self.isolation, scratch: &machine, cancel };
        let Booted { release, has_btf, loads, problem, console } = boot(machine, &image, &ordered)?;
        let loads = order.iter().zip(loads).map(|(&index, load)| (modules[index].path.clone(), load)).collect();
        fs::remove_dir_all(&dir).map_err(failed)?;
        Ok(BootRecord { not: None, release, has_btf, problem, console, loads })
    }
}
