//! The cache of prepared states.
//!
//! ```text
//! <cache>/prepared/<key>-<slot>/lock                  held while one is made
//! <cache>/prepared/<key>-<slot>/<id>/prepared.json    the marker; locked (shared) by who builds on it
//! <cache>/prepared/<key>-<slot>/<id>/obj/             the object tree, never written to
//! <cache>/prepared/<key>-<slot>/<id>.partial/         being made, or being removed; never believed
//! <cache>/prepared/ways/<digest>                      goals that came, from nothing, to what is prepared for them
//! ```
//!
//! The key is what is known before anything is read: configuration, environment, command line, places. The entries
//! below it differ in what the preparation read ([`Manifest`]); one is taken if everything still shows the same.

use std::collections::BTreeSet;
use std::fs::{self, File, FileTimes, TryLockError};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::manifest::{Digests, Eyes, Fit, Manifest};
use super::survey::{Item, What, check, survey};
use super::{Key, Prepared};
use crate::runner::copy::copy_tree;
use crate::runner::execute::lock;
use crate::sandbox;
use crate::tree::source::sha256;

/// The version of the marker's format; of another one nothing is believed.
const FORMAT: u32 = 2;
/// Bytes that all prepared states may take together; a graft's takes about 20 million.
const MOST_BYTES: u64 = 2 << 30;
/// Entries of one key: a bisection goes to and fro between few.
const MOST_PER_KEY: usize = 12;
const MARKER: &str = "prepared.json";
const WAYS: &str = "ways";

/// What lies beside a prepared object tree.
#[derive(Debug, Serialize, Deserialize)]
struct Marker {
    format: u32,
    /// The key in full, for whoever looks.
    key: serde_json::Value,
    manifest: Manifest,
    items: Vec<Item>,
    /// The commands that made it.
    commands: Vec<Vec<String>>,
}

/// The cache of prepared states, of one run.
#[derive(Debug)]
pub struct Store {
    root: PathBuf,
    /// Nothing is taken that this run has not made itself.
    fresh: bool,
    /// The entries that this run has made.
    own: Mutex<BTreeSet<PathBuf>>,
    digests: Digests,
    /// What a program can learn of the machine without reading a file.
    machine: serde_json::Value,
    /// Entries that this run has verified.
    verified: Mutex<BTreeSet<PathBuf>>,
}

/// What the cache of prepared states holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Usage {
    /// How many states.
    pub states: usize,
    /// Bytes on disk.
    pub bytes: u64,
    /// Bytes after which those used longest ago are removed.
    pub bytes_most: u64,
    /// The directory.
    pub path: PathBuf,
}

/// The right to make an entry of a key; given up when dropped.
#[derive(Debug)]
pub(in crate::runner) struct Claim {
    _lock: File,
}

/// What the cache has.
#[derive(Debug)]
pub(in crate::runner) enum Found {
    /// A state that fits.
    Ready(Prepared),
    /// None, and why the nearest one does not fit, if there is any of such sources.
    None(Option<String>),
}

impl Store {
    /// The cache below the harness's cache directory. With `fresh` what earlier runs made is not taken.
    #[must_use]
    pub fn new(cache: &Path, fresh: bool) -> Self {
        Self {
            root: cache.join("prepared"),
            fresh,
            own: Mutex::default(),
            digests: Digests::default(),
            machine: machine(),
            verified: Mutex::default(),
        }
    }

    /// What the cache holds.
    #[must_use]
    pub fn usage(&self) -> Usage {
        let keys = fs::read_dir(&self.root).into_iter().flatten().flatten();
        let dirs: Vec<PathBuf> = keys.flat_map(|key| entries(&key.path())).map(|(_, dir)| dir).collect();
        let bytes = dirs.iter().map(|dir| super::super::directory_size(dir)).sum();
        Usage { states: dirs.len(), bytes, bytes_most: MOST_BYTES, path: self.root.clone() }
    }

    pub(in crate::runner) fn digests(&self) -> &Digests {
        &self.digests
    }

    /// What a preparation can ask of the machine by system calls: uname(2), the processors it may use, who it is, and the
    /// limits it is given (getrlimit(2)).
    pub(in crate::runner) fn machine(&self) -> &serde_json::Value {
        &self.machine
    }

    /// Whether it is known of a way ([`super::way`]) that it leads to what is prepared.
    pub(in crate::runner) fn is_proved(&self, way: &str) -> bool {
        !self.fresh && self.root.join(WAYS).join(way).exists()
    }

    /// It does. A cache that cannot be written does not learn it.
    pub(in crate::runner) fn prove(&self, way: &str) {
        let dir = self.root.join(WAYS);
        let _ = fs::create_dir_all(&dir).and_then(|()| File::create(dir.join(way)));
    }

    fn dir(&self, key: &Key) -> PathBuf {
        self.root.join(key.name())
    }

    /// Takes the right to make an entry; `None` while somebody else has it.
    pub(in crate::runner) fn claim(&self, key: &Key) -> io::Result<Option<Claim>> {
        let dir = self.dir(key);
        fs::create_dir_all(&dir)?;
        let lock = File::options().read(true).append(true).create(true).open(dir.join("lock"))?;
        match lock.try_lock() {
            Ok(()) => Ok(Some(Claim { _lock: lock })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// The newest entry that fits what `eyes` see.
    pub(in crate::runner) fn find(&self, key: &Key, eyes: &Eyes<'_>) -> Found {
        let mut why: Option<(usize, String)> = None;
        let mut damaged = None;
        for (_, dir) in entries(&self.dir(key)) {
            let Some((held, marker)) = open(&dir) else { continue };
            if self.fresh && !lock(&self.own).contains(&dir) {
                continue;
            }
            let newest_source = match eyes.fit(&marker.manifest) {
                Fit::Same(newest) => newest,
                Fit::Other(differs) => {
                    let told = differs.of_the_same().then(|| (differs.count, differs.to_string()));
                    why = why.into_iter().chain(told).min_by_key(|(count, _)| *count);
                    continue;
                }
            };
            if !self.verify(&dir, &marker) {
                drop(held);
                // Nobody could build on it, so nobody misses it.
                self.discard(&dir);
                damaged = Some(format!("`{}` in the cache was damaged", dir.display()));
                continue;
            }
            let now = FileTimes::new().set_modified(SystemTime::now());
            // A cache that is read only is used none the less.
            let _ = File::options().append(true).open(dir.join(MARKER)).and_then(|file| file.set_times(now));
            return Found::Ready(Prepared::of(
                dir.join("obj"),
                marker.items,
                marker.commands,
                newest_source,
                Some(held),
            ));
        }
        Found::None(damaged.or(why.map(|(_, why)| why)))
    }

    fn is_verified(&self, dir: &Path) -> bool {
        lock(&self.verified).contains(dir)
    }

    /// Whether the object tree is, byte for byte, what it was when it was made; once a run.
    fn verify(&self, dir: &Path, marker: &Marker) -> bool {
        if self.is_verified(dir) {
            return true;
        }
        let same = survey(&dir.join("obj")).is_ok_and(|items| items == marker.items);
        if same {
            lock(&self.verified).insert(dir.to_owned());
        }
        same
    }

    /// Keeps a copy of a freshly prepared object tree. Needs the claim.
    ///
    /// # Errors
    /// What the file system answers; the caller can do without.
    pub(in crate::runner) fn keep(
        &self,
        key: &Key,
        _claim: &Claim,
        obj: &Path,
        manifest: Manifest,
        commands: Vec<Vec<String>>,
    ) -> io::Result<()> {
        let dir = self.dir(key);
        remove_partial(&dir);
        let id = &sha256(&serde_json::to_vec(&manifest)?)[..16];
        // One of the same manifest was damaged, or is not to be used any more; somebody may build on it still.
        self.discard(&dir.join(id));
        let names = (1..).map(|n| if n == 1 { id.to_owned() } else { format!("{id}-{n}") });
        let place = names.map(|name| dir.join(name)).find(|place| !place.exists()).unwrap_or_default();
        let partial = place.with_extension("partial");
        let make = || {
            fs::create_dir_all(&partial)?;
            check(obj)?;
            copy_tree(obj, &partial.join("obj"))?;
            let items = survey(&partial.join("obj"))?;
            let marker = Marker { format: FORMAT, key: key.value.clone(), manifest, items, commands };
            fs::write(partial.join(MARKER), serde_json::to_vec(&marker)?)?;
            fs::rename(&partial, &place)
        };
        make().inspect_err(|_| {
            // What is half made takes the room that was missing.
            let _ = sandbox::remove_tree(&partial);
        })?;
        lock(&self.own).insert(place.clone());
        lock(&self.verified).insert(place);
        self.prune();
        Ok(())
    }

    /// Removes the entries that were used longest ago, as far as there are too many and nobody builds on them.
    fn prune(&self) {
        let keys = fs::read_dir(&self.root).into_iter().flatten().flatten();
        let mut all = Vec::new();
        for key in keys {
            if let Ok(lock) = File::open(key.path().join("lock"))
                && lock.try_lock().is_ok()
            {
                remove_partial(&key.path());
            }
            let entries = entries(&key.path());
            for (_, dir) in entries.iter().skip(MOST_PER_KEY) {
                self.discard(dir);
            }
            all.extend(entries.into_iter().take(MOST_PER_KEY));
        }
        all.sort_by(|a, b| b.cmp(a));
        let mut bytes = 0;
        for (_, dir) in all {
            bytes += super::super::directory_size(&dir);
            if bytes > MOST_BYTES {
                self.discard(&dir);
            }
        }
    }

    /// Removes an entry that nobody builds on: first out of sight, then for good.
    fn discard(&self, dir: &Path) {
        let Ok(marker) = File::open(dir.join(MARKER)) else { return };
        if marker.try_lock().is_err() {
            return;
        }
        let gone = dir.with_extension(format!("{}.partial", std::process::id()));
        if fs::rename(dir, &gone).is_ok() {
            lock(&self.verified).remove(dir);
            let _ = sandbox::remove_tree(&gone);
        }
    }
}

fn machine() -> serde_json::Value {
    use rustix::process::{Resource, getrlimit};
    let uname = rustix::system::uname();
    let limits = [Resource::Stack, Resource::As, Resource::Data, Resource::Nofile, Resource::Nproc, Resource::Cpu];
    let words = [uname.release(), uname.version(), uname.machine()].map(|word| word.to_string_lossy().into_owned());
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let user = rustix::process::geteuid().as_raw();
    let limits = limits.map(|limit| getrlimit(limit).current);
    serde_json::json!({ "uname": words, "processors": processors, "user": user, "limits": limits })
}

/// Removes what was left by one that was killed. Needs the claim: whoever is at it now would have it.
fn remove_partial(dir: &Path) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().ends_with(".partial") {
            let _ = sandbox::remove_tree(&entry.path());
        }
    }
}

/// The entries of a key, the one used last first.
fn entries(dir: &Path) -> Vec<(SystemTime, PathBuf)> {
    let mut entries: Vec<(SystemTime, PathBuf)> = fs::read_dir(dir)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_none())
        .filter_map(|path| Some((fs::metadata(path.join(MARKER)).ok()?.modified().ok()?, path)))
        .collect();
    entries.sort_by(|a, b| b.cmp(a));
    entries
}

/// What tells a marker from another one at the same place.
fn inode(dir: &Path) -> Option<(u64, u64)> {
    let meta = fs::metadata(dir.join(MARKER)).ok()?;
    Some((meta.dev(), meta.ino()))
}

/// The marker, locked against removal; `None` if it is not there any more or not ours to read.
fn open(dir: &Path) -> Option<(File, Marker)> {
    let mut file = File::open(dir.join(MARKER)).ok()?;
    file.try_lock_shared().ok()?;
    // It may have been removed, and another put in its place, before it was locked.
    let meta = file.metadata().ok()?;
    let same = inode(dir) == Some((meta.dev(), meta.ino()));
    let mut text = Vec::new();
    file.read_to_end(&mut text).ok()?;
    let marker: Marker = serde_json::from_slice(&text).ok()?;
    (same && marker.format == FORMAT).then_some((file, marker))
}

/// When the oldest file among them was modified.
pub(super) fn oldest(items: &[Item]) -> Option<(i64, i64)> {
    items.iter().filter(|item| matches!(item.what, What::File { .. })).map(|item| item.mtime).min()
}
