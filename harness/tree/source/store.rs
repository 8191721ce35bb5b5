//! The cache of unpacked sources: one directory per source, complete or not there.
//!
//! ```text
//! <cache>/sources/<key>/source.json     the marker, written last
//! <cache>/sources/<key>/linux/          the tree
//! <cache>/sources/<key>.partial/        being unpacked, under <key>.lock; never believed
//! ```

use std::fs::{self, File, FileTimes, TryLockError};
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::{KernelVersion, Progress, SourceError, any_tree_at};

/// The marker's file.
const MARKER: &str = "source.json";
/// The version of the marker's format; another one is unpacked again.
const FORMAT: u32 = 1;

/// What an unpacked source was made from: `source.json` beside the tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marker {
    /// The version of this format.
    pub format: u32,
    /// The source as it was asked for, e.g. `debian:6.12`.
    pub spec: String,
    /// The kernel's version from its Makefile; empty for a tree that is no kernel.
    pub kernel: String,
    /// Debian's package and version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub package: Option<String>,
    /// The package's version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub package_version: Option<String>,
    /// SHA-256 of the package file as the signed index states it and as it was found, hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub package_sha256: Option<String>,
    /// Git's commit id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// SHA-256 of the tar file (compressed, if it came so), hexadecimal.
    pub tar_sha256: String,
    /// Regular files and symbolic links in the tree.
    pub files: u64,
    /// Their sizes together, bytes.
    pub bytes: u64,
}

impl Marker {
    pub(super) fn new(spec: String) -> Self {
        Self {
            format: FORMAT,
            spec,
            kernel: String::new(),
            package: None,
            package_version: None,
            package_sha256: None,
            commit: None,
            tar_sha256: String::new(),
            files: 0,
            bytes: 0,
        }
    }
}

/// One complete source in the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The name of its directory.
    pub key: String,
    /// The unpacked tree.
    pub tree: PathBuf,
    /// What it was made from.
    pub marker: Marker,
}

#[derive(Clone)]
pub(super) struct Store {
    root: PathBuf,
}

/// An exclusive lock, given up when dropped. Children that hold a duplicate keep it: after SIGKILL of this process a
/// download that goes on is still alone.
pub(super) struct Lock(File);

impl Lock {
    pub(super) fn file(&self) -> &File {
        &self.0
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Said, not left to the closing: a fork of another thread has a copy of the descriptor until its exec.
        let _ = self.0.unlock();
    }
}

impl Store {
    pub(super) fn new(cache: &Path) -> Self {
        Self { root: cache.join("sources") }
    }

    pub(super) fn entry_dir(&self, key: &str) -> PathBuf {
        self.root.join(key)
    }

    /// Where `key` is unpacked; on the same file system as its place, so that a rename publishes it.
    pub(super) fn partial(&self, key: &str) -> PathBuf {
        self.root.join(format!("{key}.partial"))
    }

    /// Takes the lock of `name`, waiting for whoever has it.
    pub(super) fn lock(&self, name: &str, progress: &mut dyn FnMut(Progress)) -> Result<Lock, SourceError> {
        lock_file(&self.root.join(format!("{name}.lock")), progress)
    }

    /// Takes the lock of `name` together with others that share it, waiting for whoever has it alone.
    pub(super) fn share(&self, name: &str, progress: &mut dyn FnMut(Progress)) -> Result<Lock, SourceError> {
        let path = self.root.join(format!("{name}.lock"));
        create_dir(&self.root)?;
        let file = open_lock(&path)?;
        if file.try_lock_shared().is_err() {
            progress(Progress::Waiting { lock: path.clone() });
            file.lock_shared().map_err(|e| SourceError::io("lock", &path, e))?;
        }
        Ok(Lock(file))
    }

    /// Takes the lock of `name` if nobody has it.
    pub(super) fn try_lock(&self, name: &str) -> Result<Option<Lock>, SourceError> {
        let file = open_lock(&self.root.join(format!("{name}.lock")))?;
        Ok(file.try_lock().is_ok().then(|| Lock(file)))
    }

    /// Notes that an entry was used now, which counts where entries are bounded.
    pub(super) fn used(&self, key: &str) {
        let now = FileTimes::new().set_modified(SystemTime::now());
        // A cache that is read only is used none the less.
        let _ = File::options()
            .append(true)
            .open(self.entry_dir(key).join("source.json"))
            .and_then(|marker| marker.set_times(now));
    }

    /// Removes of the entries whose keys begin so all but the `most` that were used last; those in use stay.
    pub(super) fn bound(&self, beginning: &str, most: usize, progress: &mut dyn FnMut(Progress)) {
        let mut entries: Vec<(SystemTime, String)> = fs::read_dir(&self.root)
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter(|key| key.starts_with(beginning) && !key.contains('.'))
            .filter_map(|key| {
                let marker = fs::metadata(self.entry_dir(&key).join("source.json")).ok()?;
                Some((marker.modified().ok()?, key))
            })
            .collect();
        entries.sort_by(|a, b| b.cmp(a));
        for (_, key) in entries.iter().skip(most) {
            // One that is in use goes another time.
            let _ = self.remove(key, progress);
        }
    }

    /// The entry, when it is complete and looks as it was left; otherwise why not.
    pub(super) fn check(&self, key: &str) -> Result<Entry, String> {
        let dir = self.entry_dir(key);
        let text = fs::read_to_string(dir.join(MARKER)).map_err(|e| format!("`source.json`: {e}"))?;
        let marker: Marker = serde_json::from_str(&text).map_err(|e| format!("`source.json`: {e}"))?;
        if marker.format != FORMAT {
            return Err(format!("format `{}` instead of `{FORMAT}`", marker.format));
        }
        let tree = dir.join("linux");
        let version = shown(any_tree_at(&tree).map_err(|e| e.to_string())?.as_ref());
        if version != marker.kernel {
            return Err(format!("kernel `{version}` instead of `{}`", marker.kernel));
        }
        Ok(Entry { key: key.to_owned(), tree, marker })
    }

    /// All complete entries, by key.
    pub(super) fn entries(&self) -> Vec<Entry> {
        let Ok(dir) = fs::read_dir(&self.root) else {
            return Vec::new();
        };
        let mut keys: Vec<String> = dir
            .flatten()
            .filter_map(|e| e.file_name().into_string().ok())
            .filter(|n| !n.ends_with(".lock") && !n.ends_with(".partial"))
            .collect();
        keys.sort();
        keys.iter().filter_map(|k| self.check(k).ok()).collect()
    }

    /// Has `unpack` fill an empty directory, and makes that the entry `key`. Needs the lock.
    ///
    /// What an earlier attempt left is removed first, and what this one leaves when it fails.
    pub(super) fn fill(
        &self,
        key: &str,
        unpack: impl FnOnce(&Path) -> Result<Marker, SourceError>,
    ) -> Result<Entry, SourceError> {
        self.fill_as(key, true, unpack)
    }

    /// [`Store::fill`] with what is on the disk for good already: hard links.
    pub(super) fn fill_light(
        &self,
        key: &str,
        unpack: impl FnOnce(&Path) -> Result<Marker, SourceError>,
    ) -> Result<Entry, SourceError> {
        self.fill_as(key, false, unpack)
    }

    fn fill_as(
        &self,
        key: &str,
        sync: bool,
        unpack: impl FnOnce(&Path) -> Result<Marker, SourceError>,
    ) -> Result<Entry, SourceError> {
        fill(&self.partial(key), |partial| {
            let into = partial.join("unpacked");
            create_dir(&into)?;
            unpack(&into).and_then(|marker| self.publish(key, marker, sync))
        })
    }

    /// Makes what [`Store::fill`] had unpacked the entry `key`.
    fn publish(&self, key: &str, mut marker: Marker, sync: bool) -> Result<Entry, SourceError> {
        let partial = self.partial(key);
        let tree = partial.join("linux");
        let top = single_top(&partial.join("unpacked"))?;
        rename(&top, &tree)?;
        let survey = survey(&tree)?;
        marker.files = survey.files;
        marker.bytes = survey.bytes;
        marker.kernel = shown(any_tree_at(&tree)?.as_ref());
        remove_tree(&partial.join("unpacked"))?;
        let place = self.entry_dir(key);
        seal(&partial, MARKER, &marker, &place, sync)?;
        Ok(Entry { key: key.to_owned(), tree: place.join("linux"), marker })
    }

    /// Removes an entry that nobody holds; first out of sight, then for good, so that no half of it is ever believed.
    pub(super) fn remove(&self, key: &str, progress: &mut dyn FnMut(Progress)) -> Result<(), SourceError> {
        let _lock = self.lock(lock_name(key), progress)?;
        let place = self.entry_dir(key);
        if is_held(&place.join(MARKER)) {
            return Err(SourceError::Busy { path: place });
        }
        let partial = self.partial(key);
        remove_tree(&partial)?;
        match fs::rename(&place, &partial) {
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
            Err(e) => Err(SourceError::io("rename", &place, e)),
            Ok(()) => remove_tree(&partial),
        }
    }

    /// Removes what killed processes left half unpacked; what is being unpacked now stays. Returns how many.
    pub(super) fn sweep(&self) -> Result<usize, SourceError> {
        sweep(&self.root, lock_name)
    }
}

/// Has `make` fill the empty directory `partial`. Needs the lock.
///
/// What an earlier attempt left is removed first, and what this one leaves when it fails.
pub(super) fn fill<T>(partial: &Path, make: impl FnOnce(&Path) -> Result<T, SourceError>) -> Result<T, SourceError> {
    remove_tree(partial)?;
    create_dir(partial)?;
    let made = make(partial);
    if made.is_err() {
        // The first error is the one to tell; the next attempt removes what this could not.
        let _ = remove_tree(partial);
    }
    made
}

/// Writes the marker into a directory that is complete, and publishes it at `place` by one rename. Without `sync` what
/// is in the directory has to be on the disk for good already.
pub(super) fn seal(
    partial: &Path,
    marker_name: &str,
    marker: &impl Serialize,
    place: &Path,
    sync: bool,
) -> Result<(), SourceError> {
    let path = partial.join(marker_name);
    let mut text =
        serde_json::to_string_pretty(marker).map_err(|e| SourceError::io("encode", &path, std::io::Error::other(e)))?;
    text.push('\n');
    fs::write(&path, text).map_err(|e| SourceError::io("write", &path, e))?;
    // The rename may reach the disk before the data does: after a power cut the marker would vouch for empty files.
    if sync {
        let dir = File::open(partial).map_err(|e| SourceError::io("open", partial, e))?;
        rustix::fs::syncfs(&dir).map_err(|e| SourceError::io("sync", partial, e.into()))?;
    }
    remove_tree(place)?;
    rename(partial, place)
}

/// Removes what killed processes left half unpacked below `root`; `lock` names the lock that an entry is made under.
pub(super) fn sweep(root: &Path, lock: impl Fn(&str) -> &str) -> Result<usize, SourceError> {
    let mut keys: Vec<String> = fs::read_dir(root)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|e| Some(e.file_name().to_str()?.strip_suffix(".partial")?.to_owned()))
        .collect();
    keys.sort();
    let mut swept = 0;
    for key in keys {
        let file = open_lock(&root.join(format!("{}.lock", lock(&key))))?;
        if file.try_lock().is_ok() {
            let _lock = Lock(file);
            remove_tree(&root.join(format!("{key}.partial")))?;
            swept += 1;
        }
    }
    Ok(swept)
}

/// Keeps an entry from being removed while it is built from; given up when dropped.
#[derive(Debug)]
pub struct Hold {
    marker: File,
}

impl Drop for Hold {
    fn drop(&mut self) {
        // As with [`Lock`].
        let _ = self.marker.unlock();
    }
}

/// Shares the marker's lock; `None` for a tree that is not the cache's.
pub(super) fn hold(tree: &Path) -> Option<Hold> {
    hold_marker(&tree.parent()?.join(MARKER))
}

/// Shares a marker's lock.
pub(super) fn hold_marker(path: &Path) -> Option<Hold> {
    let marker = File::open(path).ok()?;
    marker.try_lock_shared().ok()?;
    Some(Hold { marker })
}

/// Whether somebody holds the entry of this marker.
pub(super) fn is_held(path: &Path) -> bool {
    File::open(path).is_ok_and(|marker| marker.try_lock().is_err())
}

/// The lock an entry is made under: all versions of a package share one.
fn lock_name(key: &str) -> &str {
    key.split('_').next().unwrap_or(key)
}

fn open_lock(path: &Path) -> Result<File, SourceError> {
    File::options().read(true).append(true).create(true).open(path).map_err(|e| SourceError::io("open", path, e))
}

/// Takes the lock at `path`, telling when it has to wait.
pub(super) fn lock_file(path: &Path, progress: &mut dyn FnMut(Progress)) -> Result<Lock, SourceError> {
    if let Some(dir) = path.parent() {
        create_dir(dir)?;
    }
    let file = open_lock(path)?;
    match file.try_lock() {
        Ok(()) => return Ok(Lock(file)),
        Err(TryLockError::WouldBlock) => progress(Progress::Waiting { lock: path.into() }),
        Err(TryLockError::Error(e)) => return Err(SourceError::io("lock", path, e)),
    }
    file.lock().map_err(|e| SourceError::io("lock", path, e))?;
    Ok(Lock(file))
}

pub(super) fn create_dir(dir: &Path) -> Result<(), SourceError> {
    fs::create_dir_all(dir).map_err(|e| SourceError::io("create", dir, e))
}

fn rename(from: &Path, to: &Path) -> Result<(), SourceError> {
    fs::rename(from, to).map_err(|e| SourceError::io("rename", from, e))
}

/// Removes a directory; none is fine. Directories that their archive made unreadable are opened up first, as rm(1)
/// does not.
pub(super) fn remove_tree(dir: &Path) -> Result<(), SourceError> {
    match fs::remove_dir_all(dir) {
        Ok(()) => Ok(()),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
        Err(e) if e.kind() == ErrorKind::PermissionDenied => {
            open_up(dir);
            fs::remove_dir_all(dir).map_err(|e| SourceError::io("remove", dir, e))
        }
        Err(e) => Err(SourceError::io("remove", dir, e)),
    }
}

fn open_up(dir: &Path) {
    // What cannot be opened up shows as the error of the removal that follows.
    let _ = fs::set_permissions(dir, PermissionsExt::from_mode(0o700));
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            open_up(&entry.path());
        }
    }
}

/// The only directory below `dir`, as kernel tarballs have one; `dir` itself when the archive has none.
fn single_top(dir: &Path) -> Result<PathBuf, SourceError> {
    let io = |e| SourceError::io("read", dir, e);
    let mut entries = fs::read_dir(dir).map_err(io)?;
    let first = entries.next().transpose().map_err(io)?;
    match (first, entries.next()) {
        (Some(only), None) if only.file_type().map_err(io)?.is_dir() => Ok(only.path()),
        _ => Ok(dir.to_owned()),
    }
}

struct Survey {
    files: u64,
    bytes: u64,
}

/// Counts a tree, and refuses what no source has: devices, pipes, sockets, set-user-id files.
fn survey(root: &Path) -> Result<Survey, SourceError> {
    let mut survey = Survey { files: 0, bytes: 0 };
    let mut todo = vec![root.to_owned()];
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(&dir).map_err(|e| SourceError::io("read", &dir, e))? {
            let path = entry.map_err(|e| SourceError::io("read", &dir, e))?.path();
            let meta = path.symlink_metadata().map_err(|e| SourceError::io("read", &path, e))?;
            let kind = meta.file_type();
            if kind.is_dir() {
                todo.push(path);
            } else if kind.is_file() || kind.is_symlink() {
                if kind.is_file() && meta.permissions().mode() & 0o6000 != 0 {
                    return Err(SourceError::Unsafe { what: path, why: "set-user-id or set-group-id file".into() });
                }
                survey.files += 1;
                survey.bytes += meta.len();
            } else {
                return Err(SourceError::Unsafe { what: path, why: "neither a file, a directory nor a link".into() });
            }
        }
    }
    Ok(survey)
}

/// Fails when the file system of `dir` (or of its nearest parent that exists) has less than `needed` bytes free.
pub(super) fn check_space(dir: &Path, needed: u64) -> Result<(), SourceError> {
    let existing = dir.ancestors().find(|a| a.exists()).unwrap_or(Path::new("/"));
    let stat = rustix::fs::statvfs(existing).map_err(|e| SourceError::io("statvfs", existing, e.into()))?;
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    if free < needed {
        return Err(SourceError::Disk { path: dir.into(), needed, free });
    }
    // tmpfs and some network file systems state no inodes at all.
    if stat.f_files > 0 && stat.f_favail < 100_000 && needed > super::BYTES_DOWNLOAD {
        return Err(SourceError::Inodes { path: dir.into(), free: stat.f_favail });
    }
    Ok(())
}

/// Compares Debian package versions as dpkg does (deb-version(7)), without an epoch: linux has none.
pub(super) fn compare_versions(a: &str, b: &str) -> std::cmp::Ordering {
    let split = |v: &str| match v.rsplit_once('-') {
        Some((upstream, revision)) => (upstream.to_owned(), revision.to_owned()),
        None => (v.to_owned(), String::new()),
    };
    let ((ua, ra), (ub, rb)) = (split(a), split(b));
    compare_part(ua.as_bytes(), ub.as_bytes()).then_with(|| compare_part(ra.as_bytes(), rb.as_bytes()))
}

fn compare_part(mut a: &[u8], mut b: &[u8]) -> std::cmp::Ordering {
    use std::cmp::Ordering::Equal;
    // `~` before the end, the end before letters, letters before the rest.
    let weight = |c: Option<&u8>| match c {
        Some(b'~') => -1,
        None | Some(b'0'..=b'9') => 0,
        Some(&c) if c.is_ascii_alphabetic() => i32::from(c),
        Some(&c) => i32::from(c) + 256,
    };
    while !a.is_empty() || !b.is_empty() {
        while a.first().is_some_and(|c| !c.is_ascii_digit()) || b.first().is_some_and(|c| !c.is_ascii_digit()) {
            let order = weight(a.first()).cmp(&weight(b.first()));
            if order != Equal {
                return order;
            }
            a = a.get(1..).unwrap_or_default();
            b = b.get(1..).unwrap_or_default();
        }
        let number = |s: &[u8]| s.iter().take_while(|c| c.is_ascii_digit()).count();
        let (na, nb) = (number(a), number(b));
        let strip = |s: &[u8]| -> Vec<u8> { s.iter().copied().skip_while(|&c| c == b'0').collect() };
        let (da, db) = (strip(&a[..na]), strip(&b[..nb]));
        let order = da.len().cmp(&db.len()).then_with(|| da.cmp(&db));
        if order != Equal {
            return order;
        }
        a = &a[na..];
        b = &b[nb..];
    }
    Equal
}

/// A version as a marker has it; empty for a tree that is no kernel.
fn shown(version: Option<&KernelVersion>) -> String {
    version.map_or(String::new(), ToString::to_string)
}

/// The version a kernel tree states, with no further look at it.
pub(super) fn makefile_version(tree: &Path) -> Result<Option<KernelVersion>, std::io::Error> {
    match fs::read(tree.join("Makefile")) {
        Ok(bytes) => Ok(KernelVersion::from_makefile(&String::from_utf8_lossy(&bytes))),
        Err(e) => Err(e),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cmp::Ordering::{Equal, Greater, Less};

    #[test]
    fn versions_order_as_dpkg_orders_them() {
        for (a, b, order) in [
            ("6.12.117-1~deb12u1", "6.12.115-2~deb12u1", Greater),
            ("6.12.117-1~deb12u1", "6.12.117-1", Less),
            ("7.3.4-1~bpo13+1", "7.3.4-1", Less),
            ("7.3.4-1", "7.3.10-1", Less),
            ("7.4~rc3-1~exp1", "7.4-1", Less),
            ("6.1.0-1", "6.1.00-1", Equal),
            ("6.1.1-1+b1", "6.1.1-1", Greater),
        ] {
            assert_eq!(compare_versions(a, b), order, "{a} {b}");
            assert_eq!(compare_versions(b, a), order.reverse(), "{b} {a}");
        }
    }

    #[test]
    fn a_full_disk_is_said_before() {
        let dir = tempfile::tempdir().expect("tempdir");
        check_space(&dir.path().join("not/yet"), 1).expect("one byte");
        let e = check_space(dir.path(), u64::MAX).expect_err("too much");
        assert!(matches!(e, SourceError::Disk { .. }), "{e}");
    }

    #[test]
    fn survey_refuses_special_files() {
        let dir = tempfile::tempdir().expect("tempdir");
        fs::write(dir.path().join("f"), "abc").expect("write");
        std::os::unix::fs::symlink("f", dir.path().join("l")).expect("symlink");
        let s = survey(dir.path()).expect("plain");
        assert_eq!((s.files, s.bytes), (2, 4));
        let _socket = std::os::unix::net::UnixListener::bind(dir.path().join("s")).expect("bind");
        assert!(matches!(survey(dir.path()), Err(SourceError::Unsafe { .. })));
    }
}
