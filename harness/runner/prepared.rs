//! Prepared states: the object tree as it is after the configuration and `make prepare scripts`, made once and then
//! shared by the clean builds of all scenarios that would make the same.
//!
//! Host tools are most of the work of a clean build of a graft, and they are not what its scenarios are about. What a
//! clean build starts from must still be exactly what it would have made itself, or it would be an incremental build
//! in disguise. So a state is taken only if every file that its preparation read, asked for or listed shows the same in
//! the tree that is to be built, edits included (`manifest`), and after its own bytes were verified (`store`).
//!
//! That the goals of a scenario would have made it, is found out by a build from nothing (`way`).
//!
//! The control starts from one state, all other clean builds from another that was prepared independently
//! (`Slot`): what is not reproducible in the preparation shows as it always would.
//!
//! A state lies under an overlay's upper directory and is never written to.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::json;

mod manifest;
mod store;
mod survey;
mod way;

#[cfg(test)]
pub(super) use manifest::Digests;
pub(super) use manifest::{Eyes, Manifest};
pub(super) use store::{Claim, Found};
pub use store::{Store, Usage};
pub(super) use way::way;

use super::copy::{copy_tree, copy_tree_at};
use survey::{Item, What};

use crate::tree::source::sha256;

/// The goals that make everything a build has to have before it compiles the first object
/// (Documentation/kbuild/modules.rst has `modules_prepare` for the same).
pub(super) const GOALS: [&str; 2] = ["prepare", "scripts"];

/// Of two states for the same sources, which one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Slot {
    /// The control's.
    Control,
    /// That of the experiment and of all oracles.
    Other,
}

/// What is known of a preparation before it reads anything.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Key {
    value: serde_json::Value,
    slot: Slot,
}

/// What a preparation is made with, beside the sources.
#[derive(Debug)]
pub(super) struct Inputs<'a> {
    /// The configuration: how it is made, or its text.
    pub(super) config: serde_json::Value,
    /// The environment, without what belongs to the job server.
    pub(super) env: &'a std::collections::BTreeMap<String, String>,
    /// The make command line without a goal.
    pub(super) make: &'a [String],
    /// Where make is started.
    pub(super) cwd: &'a str,
    /// Where the trees are seen.
    pub(super) places: [&'a str; 2],
    /// The host's name, as the build sees it.
    pub(super) hostname: &'a str,
    /// The jobs, if their number is fixed.
    pub(super) jobs: Option<u32>,
    /// The group, if it is another than the harness's.
    pub(super) group: Option<u32>,
    /// The scenario's own programs: name, and content, or place and digest.
    pub(super) tools: Vec<(String, String)>,
    /// The chosen tools that are no part of the system: place, and SHA-256 of all their files.
    pub(super) toolchain: Vec<(String, String)>,
    /// Whether all of the host is seen, and which directories of it are in any case: what is not seen is not there.
    pub(super) seen: (bool, Vec<PathBuf>),
    /// What can be learned of the machine without reading a file.
    pub(super) machine: &'a serde_json::Value,
}

impl Inputs<'_> {
    /// What is known before anything is read, as a value.
    pub(super) fn value(&self) -> serde_json::Value {
        let mut value = json!({
            // What the harness itself does in a preparation belongs to the key, too.
            "harness": env!("CARGO_PKG_VERSION"),
            "goals": GOALS,
            "config": self.config,
            "env": self.env,
            "make": self.make,
            "cwd": self.cwd,
            "places": self.places,
            "hostname": self.hostname,
            "jobs": self.jobs,
            "tools": self.tools,
            "toolchain": self.toolchain,
            "seen": self.seen,
            "machine": self.machine,
        });
        if let Some(group) = self.group {
            value["group"] = group.into();
        }
        value
    }
}

impl Key {
    pub(super) fn new(value: serde_json::Value, slot: Slot) -> Self {
        Self { value, slot }
    }

    /// The name of its directory.
    fn name(&self) -> String {
        let slot = match self.slot {
            Slot::Control => "control",
            Slot::Other => "other",
        };
        format!("{}-{slot}", &sha256(self.value.to_string().as_bytes())[..24])
    }
}

/// A prepared object tree, kept from being removed while the value lives.
#[derive(Debug)]
pub struct Prepared {
    dir: PathBuf,
    items: Arc<Vec<Item>>,
    /// The commands that made it.
    pub(super) commands: Vec<Vec<String>>,
    /// When the newest source was changed, if that is later than the oldest file here: make would make it again.
    too_new: Option<SystemTime>,
    _lock: Option<File>,
}

impl Prepared {
    fn of(
        dir: PathBuf,
        items: Vec<Item>,
        commands: Vec<Vec<String>>,
        newest_source: Option<SystemTime>,
        lock: Option<File>,
    ) -> Self {
        let oldest = store::oldest(&items).map(time);
        let too_new = newest_source.filter(|newest| oldest.is_some_and(|oldest| oldest <= *newest));
        Self { dir, items: Arc::new(items), commands, too_new, _lock: lock }
    }

    /// Tells its files from those of another state, whenever they were made.
    pub(super) fn digest(&self) -> String {
        let items: Vec<_> = self.items.iter().map(|item| (&item.path, item.mode, &item.what)).collect();
        // It holds strings and numbers alone, which can always be written.
        sha256(&serde_json::to_vec(&items).unwrap_or_default())
    }

    /// A state that is not shared: it lies in the scenario's scratch directory.
    pub(super) fn private(dir: PathBuf, commands: Vec<Vec<String>>) -> io::Result<Self> {
        let items = survey::survey(&dir)?;
        Ok(Self::of(dir, items, commands, None, None))
    }

    /// The object tree; read only.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The regular files in it: path, SHA-256 in hexadecimal, length in bytes.
    pub fn files(&self) -> impl Iterator<Item = (&str, &str, u64)> {
        self.items.iter().filter_map(|item| match &item.what {
            What::File { sha256, size } => Some((item.path.as_str(), sha256.as_str(), *size)),
            What::Dir | What::Link(_) => None,
        })
    }

    /// Whether the clock is behind some of its files, or behind sources that are newer than all of these: make would take
    /// what is built on it for older than what it is built from, or what an edit changes for older than the state.
    pub(super) fn is_of_the_future(&self, now: SystemTime) -> bool {
        let newest = self.items.iter().map(|item| time(item.mtime)).max();
        newest.into_iter().chain(self.too_new).any(|time| time >= now)
    }

    /// A state whose files are all newer than the sources, and that stays as long as `into`, if `own` says that it must:
    /// itself, if it will do, or a copy.
    ///
    /// Sources of the same content can be newer than a state, where somebody else's checkout wrote them. The copy's
    /// files keep their order, which is all that make goes by, at steps of a microsecond after the newest source.
    pub(super) fn or_copy(self, into: &Path, own: bool) -> io::Result<Self> {
        match self.too_new {
            None if !own => return Ok(self),
            None => copy_tree(&self.dir, into)?,
            Some(newest) => {
                let mut times: Vec<(i64, i64)> = self.items.iter().map(|item| item.mtime).collect();
                times.push(std::fs::metadata(&self.dir).map(|meta| {
                    use std::os::unix::fs::MetadataExt as _;
                    (meta.mtime(), meta.mtime_nsec())
                })?);
                times.sort_unstable();
                times.dedup();
                let times: Vec<SystemTime> = times.into_iter().map(time).collect();
                let at = |modified: SystemTime| {
                    let rank = times.partition_point(|time| *time < modified) as u64;
                    newest + Duration::from_micros(rank + 1)
                };
                copy_tree_at(&self.dir, into, &at)?;
            }
        }
        Ok(Self { dir: into.to_owned(), too_new: None, _lock: None, ..self })
    }
}

/// A time as stat(2) gives it; before the epoch nothing was made.
fn time((secs, nanos): (i64, i64)) -> SystemTime {
    UNIX_EPOCH + Duration::new(u64::try_from(secs).unwrap_or(0), u32::try_from(nanos).unwrap_or(0))
}
