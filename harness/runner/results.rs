//! Results of clean builds, kept for runs that would make the same build again.
//!
//! ```text
//! <cache>/results/<key>/<id>.json.gz   a line with the key and what the build looked at, and one with what was recorded
//! <cache>/results/locks/<00..ff>       held while a build is made whose result will be kept
//! ```
//!
//! The key is what is known before a build reads anything: configuration, environment, command lines, places, the prepared
//! tree it starts from. The entries below it differ in what the build looked at (a manifest); one is taken if everything
//! still shows the same. It holds digests of what was built and no files: whatever differs from a result that was taken is
//! built anew before it is told, and what does not differ is there already.
//!
//! An entry is one file that is complete under its name or not there; gzip's checksum (RFC 1952) tells one that was damaged.

use std::fs::{self, File, FileTimes, TryLockError};
use std::io::{self, BufRead as _, BufReader, BufWriter, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::prepared::{Eyes, Manifest};
use crate::tree::source::sha256;

/// The version of the format; of another one nothing is believed.
const FORMAT: u32 = 2;
/// Bytes that all results may take together; that of a graft's build takes some 200 thousand.
const MOST_BYTES: u64 = 512 << 20;
/// Entries of one key: a bisection goes to and fro between few.
const MOST_PER_KEY: usize = 12;
/// Bytes of an entry, unpacked, that are read; a larger result is not kept.
const LARGEST: u64 = 512 << 20;
/// After how long a file that was not written to its end is somebody's no more.
const ABANDONED: Duration = Duration::from_secs(24 * 60 * 60);
const EXTENSION: &str = ".json.gz";
const PARTIAL: &str = ".partial-";
const LOCKS: &str = "locks";

/// After how long a result is not taken any more. A build can go by what no trace shows, the clock above all: what came out of it
/// once is asked for again, sooner or later.
const OLDEST: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// The first line of an entry.
#[derive(Debug, Serialize, Deserialize)]
struct Head {
    format: u32,
    /// When it was kept: seconds since the epoch.
    made: u64,
    /// In full, for whoever looks.
    key: Value,
    manifest: Manifest,
}

/// The cache of results.
#[derive(Debug)]
pub struct Results {
    root: PathBuf,
}

/// What the cache of results holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Held {
    /// How many results.
    pub results: usize,
    /// Bytes on disk.
    pub bytes: u64,
    /// Bytes after which those used longest ago are removed.
    pub bytes_most: u64,
    /// The directory.
    pub path: PathBuf,
}

/// What is known of a build before it reads anything.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ResultKey(pub(super) Value);

impl ResultKey {
    fn name(&self) -> String {
        sha256(self.0.to_string().as_bytes())[..24].to_owned()
    }
}

impl Results {
    /// The cache below the harness's cache directory.
    #[must_use]
    pub fn new(cache: &Path) -> Self {
        Self { root: cache.join("results") }
    }

    /// What the cache holds.
    #[must_use]
    pub fn held(&self) -> Held {
        let all = self.all();
        let bytes = all.iter().map(|(_, size, _)| size).sum();
        Held { results: all.len(), bytes, bytes_most: MOST_BYTES, path: self.root.clone() }
    }

    /// Takes the right to make a build of this name whose result will be kept; `None` while somebody else has it. There are
    /// few locks, so that none need ever be removed: two names can have the same, and then wait for each other in vain.
    pub(super) fn claim(&self, name: &str) -> io::Result<Option<File>> {
        let dir = self.root.join(LOCKS);
        fs::create_dir_all(&dir)?;
        let path = dir.join(&sha256(name.as_bytes())[..2]);
        let lock = File::options().read(true).append(true).create(true).open(path)?;
        match lock.try_lock() {
            Ok(()) => Ok(Some(lock)),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// What was recorded of the build used last whose manifest fits what `eyes` see.
    pub(super) fn find(&self, key: &ResultKey, eyes: &Eyes<'_>) -> Option<Value> {
        entries(&self.root.join(key.name())).into_iter().find_map(|(_, _, path)| {
            let kept = match read(&path, key, eyes) {
                Ok(kept) => kept?,
                // Nobody can use it.
                Err(Unread::Damaged) => {
                    let _ = fs::remove_file(&path);
                    return None;
                }
                Err(Unread::Io) => return None,
            };
            let now = FileTimes::new().set_modified(SystemTime::now());
            // A cache that is read only is used none the less.
            let _ = File::options().append(true).open(&path).and_then(|file| file.set_times(now));
            Some(kept)
        })
    }

    /// Keeps what was recorded of a build.
    ///
    /// # Errors
    /// What the file system answers; the caller can do without.
    pub(super) fn keep(&self, key: &ResultKey, manifest: Manifest, kept: &Value) -> io::Result<()> {
        let dir = self.root.join(key.name());
        fs::create_dir_all(&dir)?;
        let id = sha256(&serde_json::to_vec(&manifest)?);
        let head = serde_json::to_vec(&Head {
            format: FORMAT,
            made: seconds(SystemTime::now()),
            key: key.0.clone(),
            manifest,
        })?;
        let kept = serde_json::to_vec(kept)?;
        if (head.len() + kept.len()) as u64 >= LARGEST {
            return Ok(());
        }
        let path = dir.join(format!("{}{EXTENSION}", &id[..16]));
        let partial = tempfile::Builder::new().prefix(PARTIAL).tempfile_in(&dir)?;
        let mut to = GzEncoder::new(BufWriter::new(partial.as_file()), Compression::fast());
        to.write_all(&head)?;
        to.write_all(b"\n")?;
        to.write_all(&kept)?;
        to.finish()?.flush()?;
        partial.as_file().sync_all()?;
        partial.persist(&path)?;
        self.prune();
        Ok(())
    }

    /// All entries, the one used last first.
    fn all(&self) -> Vec<(SystemTime, u64, PathBuf)> {
        let keys = fs::read_dir(&self.root).into_iter().flatten().flatten();
        let mut all: Vec<_> = keys.flat_map(|key| entries(&key.path())).collect();
        all.sort_by(|a, b| b.cmp(a));
        all
    }

    /// Removes what was used longest ago, as far as there is too much. Who reads it has it open.
    fn prune(&self) {
        let mut bytes = 0;
        let mut of_key = std::collections::BTreeMap::new();
        for (_, size, path) in self.all() {
            bytes += size;
            let count = of_key.entry(path.parent().map(Path::to_owned)).or_insert(0);
            *count += 1;
            if bytes > MOST_BYTES || *count > MOST_PER_KEY {
                let _ = fs::remove_file(&path);
            }
        }
        for key in fs::read_dir(&self.root).into_iter().flatten().flatten() {
            for entry in fs::read_dir(key.path()).into_iter().flatten().flatten() {
                let old =
                    |meta: fs::Metadata| meta.modified().is_ok_and(|at| at.elapsed().is_ok_and(|t| t > ABANDONED));
                if entry.file_name().to_string_lossy().starts_with(PARTIAL) && entry.metadata().is_ok_and(old) {
                    let _ = fs::remove_file(entry.path());
                }
            }
        }
    }
}

/// Why an entry says nothing.
enum Unread {
    /// It cannot be read now, or is gone.
    Io,
    /// It will never be read.
    Damaged,
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// What was recorded, if the entry is of this key and fits.
fn read(path: &Path, key: &ResultKey, eyes: &Eyes<'_>) -> Result<Option<Value>, Unread> {
    let broken = |error: io::Error| match error.kind() {
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput | io::ErrorKind::UnexpectedEof => Unread::Damaged,
        _ => Unread::Io,
    };
    let file = File::open(path).map_err(|_| Unread::Io)?;
    let mut from = BufReader::new(GzDecoder::new(BufReader::new(file)).take(LARGEST));
    let mut line = Vec::new();
    from.read_until(b'\n', &mut line).map_err(broken)?;
    let head: Head = serde_json::from_slice(&line).map_err(|_| Unread::Damaged)?;
    // One of the future is of a clock that was wrong.
    let age = seconds(SystemTime::now()).checked_sub(head.made);
    if head.format != FORMAT || age.is_none_or(|age| age > OLDEST.as_secs()) {
        return Err(Unread::Damaged);
    }
    if head.key != key.0 || !eyes.shows(&head.manifest) {
        return Ok(None);
    }
    line.clear();
    from.read_to_end(&mut line).map_err(broken)?;
    serde_json::from_slice(&line).map(Some).map_err(|_| Unread::Damaged)
}

/// The entries of a key, the one used last first: when that was, bytes, and where.
fn entries(dir: &Path) -> Vec<(SystemTime, u64, PathBuf)> {
    let mut entries: Vec<_> = fs::read_dir(dir)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.to_str().is_some_and(|path| path.ends_with(EXTENSION)))
        .filter_map(|path| {
            let meta = fs::metadata(&path).ok()?;
            Some((meta.modified().ok()?, meta.len(), path))
        })
        .collect();
    entries.sort_by(|a, b| b.cmp(a));
    entries
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::prepared::Digests;
    use super::*;
    use crate::trace::{Look, Looked};
    use crate::tree::State;
    use crate::tree::view::View;

    /// Asks with a tree in which a build read `Makefile`.
    fn with_eyes<R>(sources: &Path, ask: impl FnOnce(&Eyes<'_>, Manifest) -> R) -> R {
        let (state, digests) = (State::default(), Digests::default());
        let view = View { lower: sources, state: &state };
        let (src, obj) = (Path::new("/build/src"), Path::new("/build/obj"));
        let eyes = Eyes { view, src, obj, shown: Vec::new(), digests: &digests };
        let looked = [("/build/src/Makefile".into(), Look::Read), ("/build/obj/a.o".into(), Look::Read)];
        let looked = Looked { paths: looked.into(), ..Looked::default() };
        let manifest = eyes.manifest(&looked).expect("a complete trace");
        ask(&eyes, manifest)
    }

    #[test]
    fn a_result_is_taken_while_all_that_was_looked_at_shows_the_same() {
        let (cache, sources) = (tempfile::tempdir().expect("made"), tempfile::tempdir().expect("made"));
        let results = Results::new(cache.path());
        let (key, other) = (ResultKey(json!({ "make": ["make"] })), ResultKey(json!({ "make": ["make", "W=1"] })));
        let find = |key: &ResultKey| with_eyes(sources.path(), |eyes, _| results.find(key, eyes));
        fs::write(sources.path().join("Makefile"), "all:").expect("written");
        assert_eq!(find(&key), None);
        let keep = |what: &str| {
            with_eyes(sources.path(), |_, manifest| results.keep(&key, manifest, &json!({ "made": what })))
        };
        keep("first").expect("kept");
        assert_eq!(find(&key), Some(json!({ "made": "first" })));
        assert_eq!(find(&other), None);
        fs::write(sources.path().join("README"), "nobody reads it").expect("written");
        assert_eq!(find(&key), Some(json!({ "made": "first" })));
        fs::write(sources.path().join("Makefile"), "all: more").expect("written");
        assert_eq!(find(&key), None);
        keep("second").expect("kept");
        assert_eq!(find(&key), Some(json!({ "made": "second" })));
        fs::write(sources.path().join("Makefile"), "all:").expect("written");
        assert_eq!(find(&key), Some(json!({ "made": "first" })), "both are there");
        assert_eq!(results.held().results, 2);
    }

    #[test]
    fn what_is_damaged_or_half_written_is_not_believed() {
        let (cache, sources) = (tempfile::tempdir().expect("made"), tempfile::tempdir().expect("made"));
        let results = Results::new(cache.path());
        let key = ResultKey(json!("key"));
        fs::write(sources.path().join("Makefile"), "all:").expect("written");
        let find = || with_eyes(sources.path(), |eyes, _| results.find(&key, eyes));
        for damage in [
            |bytes: &mut Vec<u8>| bytes.truncate(bytes.len() / 2),
            // Its checksum (RFC 1952, section 2.2: the last eight bytes are CRC32 and length).
            |bytes: &mut Vec<u8>| {
                let sum = bytes.len() - 8;
                bytes[sum] ^= 1;
            },
        ] {
            with_eyes(sources.path(), |_, manifest| results.keep(&key, manifest, &json!("kept"))).expect("kept");
            assert_eq!(find(), Some(json!("kept")));
            let (_, _, path) = results.all().remove(0);
            let mut bytes = fs::read(&path).expect("read");
            damage(&mut bytes);
            fs::write(&path, bytes).expect("written");
            assert_eq!(find(), None);
            assert!(!path.exists(), "nobody can use it");
        }
        // Wherever else a bit is another it is not believed either, but may look like a result of other sources.
        with_eyes(sources.path(), |_, manifest| results.keep(&key, manifest, &json!("kept"))).expect("kept");
        let (_, _, path) = results.all().remove(0);
        let whole = fs::read(&path).expect("read");
        for at in 10..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            fs::write(&path, bytes).expect("written");
            assert_eq!(find(), None, "byte {at}");
        }
        let _ = fs::remove_file(&path);
        fs::write(cache.path().join("results").join(key.name()).join(".partial-abc"), "half").expect("written");
        assert_eq!(find(), None);
    }

    #[test]
    fn few_of_one_key_are_kept_and_the_first_to_go_is_the_one_used_longest_ago() {
        let (cache, sources) = (tempfile::tempdir().expect("made"), tempfile::tempdir().expect("made"));
        let results = Results::new(cache.path());
        let key = ResultKey(json!("key"));
        for n in 0..=MOST_PER_KEY {
            fs::write(sources.path().join("Makefile"), n.to_string()).expect("written");
            with_eyes(sources.path(), |_, manifest| results.keep(&key, manifest, &json!(n))).expect("kept");
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(results.held().results, MOST_PER_KEY);
        let find = |n: usize| {
            fs::write(sources.path().join("Makefile"), n.to_string()).expect("written");
            with_eyes(sources.path(), |eyes, _| results.find(&key, eyes))
        };
        assert_eq!((find(0), find(1)), (None, Some(json!(1))));
    }

    #[test]
    fn one_at_a_time_makes_a_result() {
        let cache = tempfile::tempdir().expect("made");
        let results = Results::new(cache.path());
        let first = results.claim("one").expect("a lock");
        assert!(first.is_some() && results.claim("one").expect("a lock").is_none());
        drop(first);
        assert!(results.claim("one").expect("a lock").is_some());
    }
}
