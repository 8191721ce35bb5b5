//! Where a kernel source comes from: `srctree` strings, and a cache of unpacked sources.
//!
//! [`SourceSpec::parse`] reads the string; [`Sources::lookup`] says whether it is at hand, quickly and without network;
//! [`Sources::fetch`] gets it. What is unpacked is published by one rename with a marker beside it, so that a killed
//! fetch leaves nothing that is believed, and two at once fetch once.

mod apt;
mod bisection;
mod error;
mod git;
mod part;
mod program;
mod sources_list;
mod spec;
mod store;
pub mod tools;
mod unpack;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

pub use bisection::{Commit, CommitRange, CommitSearch, Mark, Next};
pub use error::SourceError;
pub use git::GitChange;
pub use part::needed as needed_by_graft;
pub use spec::{DebianSource, GitSource, SourceSpec, SpecError};
pub use store::{Entry, Hold, Marker};
pub(crate) use unpack::{hex, sha256, sha256_file};

use program::Programs;
use store::Store;

/// About what a Debian kernel source package has, bytes (6.1 to 7.3: 138 to 167 million).
pub const BYTES_DOWNLOAD: u64 = 170_000_000;
/// About what an unpacked kernel takes on disk, bytes (7.3: 1.7 GiB with file system blocks).
pub const BYTES_UNPACKED: u64 = 1_900_000_000;

/// About what a graft needs of a revision on disk, bytes (7.3: 160 million).
const BYTES_PART: u64 = 200_000_000;

/// How far a fetch is, in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Progress {
    /// Another process has the lock.
    Waiting {
        /// Its file.
        lock: PathBuf,
    },
    /// Package lists are being asked or updated.
    Looking {
        /// Which.
        place: String,
    },
    /// A package is on its way.
    Downloading {
        /// Bytes there.
        done: u64,
        /// Bytes in all.
        total: u64,
    },
    /// A digest is being computed.
    Checking {
        /// Bytes read.
        done: u64,
        /// Bytes in all.
        total: u64,
    },
    /// Files of a revision are being read.
    CheckingOut {
        /// Files that are there.
        done: u64,
        /// Files that were not there, in all.
        total: u64,
    },
    /// The tree is being written.
    Unpacking {
        /// Bytes of the archive read.
        done: u64,
        /// Bytes of the archive, where they are known.
        total: Option<u64>,
    },
}

/// Whether a source is at hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// Part of the program: `mini` and `graft`.
    BuiltIn,
    /// A directory that is used where it is.
    Ready(PathBuf),
    /// Unpacked in the cache.
    Cached(PathBuf),
    /// Has to be fetched, or unpacked.
    Absent {
        /// The command that does it.
        how: String,
        /// Bytes from the network, about.
        bytes_download: u64,
        /// Bytes on disk, about.
        bytes_unpacked: u64,
    },
}

/// A tree that can be built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Read only, please: it is shared by all that build it.
    pub dir: PathBuf,
    /// From its Makefile; none for a tree that is no kernel.
    pub version: Option<KernelVersion>,
    /// What makes it this source and no other.
    pub identity: Identity,
}

/// What identifies a source's content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// A Debian package: name, version, SHA-256 of the file.
    Debian {
        /// `linux-source-6.12`.
        package: String,
        /// `6.12.117-1~deb12u1`.
        version: String,
        /// Hexadecimal.
        sha256: String,
    },
    /// SHA-256 of the tarball, hexadecimal.
    Tarball(String),
    /// Git's commit id.
    Commit(String),
    /// A directory: whatever is in it.
    Directory,
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Debian { package, version, .. } => write!(f, "{package} {version}"),
            Self::Tarball(digest) => write!(f, "sha256:{digest}"),
            Self::Commit(id) => write!(f, "commit {id}"),
            Self::Directory => f.write_str("directory"),
        }
    }
}

/// `VERSION`, `PATCHLEVEL`, `SUBLEVEL` and `EXTRAVERSION` of a kernel's Makefile.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct KernelVersion {
    /// 6 of `6.12.117`.
    pub version: u32,
    /// 12 of `6.12.117`.
    pub patchlevel: u32,
    /// 117 of `6.12.117`.
    pub sublevel: u32,
    /// `-rc1`; mostly empty.
    pub extraversion: String,
}

impl KernelVersion {
    /// Reads the first lines of the top Makefile; `None` when it is not a kernel's.
    #[must_use]
    pub fn from_makefile(text: &str) -> Option<Self> {
        let get = |name: &str| {
            text.lines().take(50).find_map(|line| {
                let (key, value) = line.split_once('=')?;
                (key.trim() == name).then(|| value.trim())
            })
        };
        Some(Self {
            version: get("VERSION")?.parse().ok()?,
            patchlevel: get("PATCHLEVEL")?.parse().ok()?,
            sublevel: get("SUBLEVEL").and_then(|v| v.parse().ok()).unwrap_or(0),
            extraversion: get("EXTRAVERSION").unwrap_or_default().to_owned(),
        })
    }

    /// `6.12`, as scenarios name kernels.
    #[must_use]
    pub fn series(&self) -> String {
        format!("{}.{}", self.version, self.patchlevel)
    }
}

impl fmt::Display for KernelVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}{}", self.version, self.patchlevel, self.sublevel, self.extraversion)
    }
}

/// How much of a source is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// All of it.
    Whole,
    /// Of a git revision what a graft needs; of other sources all, too, because they are there as a whole.
    Graft,
}

/// The cache of sources and the programs that fill it.
#[derive(Clone)]
pub struct Sources {
    cache: PathBuf,
    part: Part,
    programs: Programs,
    store: Store,
}

impl Sources {
    /// `cache` is the harness's cache directory; `env` the host's environment as it was captured: `PATH` finds the
    /// programs, proxies are passed on, locale and options of git and tar are not.
    #[must_use]
    pub fn new(cache: PathBuf, env: BTreeMap<OsString, OsString>) -> Self {
        Self { store: Store::new(&cache), programs: Programs::new(env), part: Part::Whole, cache }
    }

    /// What changed in the repository that `dir` is in: from one commit to another (`A..B`), or from one to the work tree
    /// (`A`).
    ///
    /// # Errors
    /// There is no git, no repository, no such commit.
    pub fn change(&self, dir: &Path, range: &str) -> Result<GitChange, SourceError> {
        git::change(&self.programs, dir, range)
    }

    /// The good and the bad end of a range of commits.
    ///
    /// # Errors
    /// There is no git, no repository, no such commit.
    pub fn ends(&self, range: &CommitRange) -> Result<[Commit; 2], SourceError> {
        CommitSearch::ends(&self.programs, range)
    }

    /// Begins to bisect a range of commits, in `dir`, which must not be there.
    ///
    /// # Errors
    /// As [`Self::ends`]; git refuses.
    pub fn bisect(&self, range: &CommitRange, dir: &Path) -> Result<(CommitSearch, Next), SourceError> {
        CommitSearch::start(&self.programs, range, dir)
    }

    /// Whether a revision is there and has this file.
    #[must_use]
    pub fn has(&self, source: &GitSource, file: &str) -> bool {
        git::has(&self.programs, source, file)
    }

    /// The same for so much of each source.
    #[must_use]
    pub fn part(&self, part: Part) -> Self {
        Self { part, ..self.clone() }
    }

    /// Whether the source is at hand. No network; a tarball that was never unpacked is not read.
    ///
    /// # Errors
    /// A directory that is no clean kernel source, a path that does not exist, an unknown git revision.
    pub fn lookup(&self, spec: &SourceSpec) -> Result<Status, SourceError> {
        let absent = |download, unpacked| Status::Absent {
            how: format!("kbuild-repro fetch {}", quoted(&spec.to_string())),
            bytes_download: download,
            bytes_unpacked: unpacked,
        };
        let cached = |key: &str| self.store.check(key).ok().map(|e| Status::Cached(e.tree));
        Ok(match spec {
            SourceSpec::Mini | SourceSpec::Graft => Status::BuiltIn,
            SourceSpec::Directory(dir) => {
                directory(dir)?;
                Status::Ready(dir.clone())
            }
            SourceSpec::Debian(wanted) => match self.cached_debian(wanted) {
                Some(entry) => Status::Cached(entry.tree),
                // apt would know the size, after the better part of a second.
                None => absent(BYTES_DOWNLOAD, BYTES_UNPACKED),
            },
            SourceSpec::Tarball(path) => {
                let stamp = Stamp::of(path)?;
                match self.known_digest(path, &stamp).and_then(|d| cached(&tarball_key(&d))) {
                    Some(status) => status,
                    None => absent(0, stamp.size.saturating_mul(12)),
                }
            }
            SourceSpec::Git(source) => {
                let commit = git::commit(&self.programs, source)?;
                let part = || cached(&part_key(&commit)).filter(|_| self.part == Part::Graft);
                let bytes = if self.part == Part::Graft { BYTES_PART } else { BYTES_UNPACKED };
                cached(&git_key(&commit)).or_else(part).unwrap_or_else(|| absent(0, bytes))
            }
        })
    }

    /// Gets the source: from the cache when it is there, else from its origin into the cache.
    ///
    /// # Errors
    /// [`SourceError`], with what was looked for, where, and in [`SourceError::hint`] what to do next.
    pub fn fetch(&self, spec: &SourceSpec, progress: &mut dyn FnMut(Progress)) -> Result<Source, SourceError> {
        match spec {
            SourceSpec::Mini | SourceSpec::Graft => Err(SourceError::BuiltIn(spec.to_string())),
            SourceSpec::Directory(dir) => {
                let version = Some(directory(dir)?);
                let dir = dir.canonicalize().map_err(|e| SourceError::io("resolve", dir, e))?;
                Ok(Source { dir, version, identity: Identity::Directory })
            }
            SourceSpec::Debian(wanted) => self.fetch_debian(spec, wanted, progress),
            SourceSpec::Tarball(path) => self.fetch_tarball(spec, path, progress),
            SourceSpec::Git(source) => self.fetch_git(spec, source, progress),
        }
    }

    /// The complete sources in the cache, by key.
    #[must_use]
    pub fn entries(&self) -> Vec<Entry> {
        self.store.entries()
    }

    /// Keeps a cached source from being removed as long as the value lives; `None` for a directory of the user's.
    #[must_use]
    pub fn hold(&self, source: &Source) -> Option<Hold> {
        if source.identity == Identity::Directory { None } else { store::hold(&source.dir) }
    }

    /// Removes what killed fetches left half unpacked, and returns how many there were.
    ///
    /// # Errors
    /// When a file cannot be removed.
    pub fn sweep(&self) -> Result<usize, SourceError> {
        self.store.sweep()
    }

    /// Removes one source from the cache; none of that key is fine.
    ///
    /// # Errors
    /// [`SourceError::Busy`] when somebody holds it; when a file cannot be removed.
    pub fn remove(&self, key: &str, progress: &mut dyn FnMut(Progress)) -> Result<(), SourceError> {
        self.store.remove(key, progress)
    }

    /// The newest cached package of a series, or the one of exactly this version.
    fn cached_debian(&self, wanted: &DebianSource) -> Option<Entry> {
        let package = wanted.package();
        if let Some(version) = &wanted.version {
            return self.store.check(&debian_key(&package, version)).ok();
        }
        let version = |e: &Entry| e.marker.package_version.clone().unwrap_or_default();
        self.store
            .entries()
            .into_iter()
            .filter(|e| e.marker.package.as_deref() == Some(&package))
            .max_by(|a, b| store::compare_versions(&version(a), &version(b)))
    }

    fn fetch_debian(
        &self,
        spec: &SourceSpec,
        wanted: &DebianSource,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Source, SourceError> {
        if let Some(entry) = self.cached_debian(wanted) {
            return source_of(entry);
        }
        let package = wanted.package();
        let lock = self.store.lock(&format!("debian-{package}"), progress)?;
        // Whoever had the lock may have fetched it.
        if let Some(entry) = self.cached_debian(wanted) {
            return source_of(entry);
        }
        let space = |deb: &sources_list::DebFile| {
            let growth = unpack::Compression::Xz.growth();
            store::check_space(&self.cache, deb.size.saturating_mul(growth + 1))
        };
        let (path, deb) = apt::fetch(&self.programs, &self.cache, wanted, &lock, &space, progress)?;
        let entry = self.store.fill(&debian_key(&package, &deb.version), |into| {
            let streamed = unpack::unpack_deb(&path, into, deb.size, &self.programs, progress)?;
            let mut marker = Marker::new(spec.to_string());
            marker.package = Some(package);
            marker.package_version = Some(deb.version.clone());
            marker.package_sha256 = Some(deb.sha256);
            marker.tar_sha256 = streamed.sha256;
            Ok(marker)
        })?;
        // The tree is what is kept; the package can be had again.
        fs::remove_file(&path).map_err(|e| SourceError::io("remove", &path, e))?;
        source_of(entry)
    }

    fn fetch_tarball(
        &self,
        spec: &SourceSpec,
        path: &Path,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Source, SourceError> {
        let stamp = Stamp::of(path)?;
        let known = self.known_digest(path, &stamp);
        let digest = match &known {
            Some(digest) => digest.clone(),
            None => sha256_file(path, &mut |done| progress(Progress::Checking { done, total: stamp.size }))
                .map_err(|e| SourceError::io("read", path, e))?,
        };
        let key = tarball_key(&digest);
        let lock = self.store.lock(&key, progress)?;
        let entry = match self.store.check(&key) {
            Ok(entry) => entry,
            Err(_) => {
                let mut file = File::open(path).map_err(|e| SourceError::io("open", path, e))?;
                let compression = unpack::compression_of(&mut file, path)?;
                store::check_space(&self.cache, stamp.size.saturating_mul(compression.growth()))?;
                self.store.fill(&key, |into| {
                    let total = Some(stamp.size);
                    let streamed = unpack::unpack(&mut file, path, into, total, &self.programs, progress)?;
                    if streamed.sha256 != digest {
                        return Err(SourceError::Checksum {
                            what: path.display().to_string(),
                            expected: digest.clone(),
                            found: streamed.sha256,
                        });
                    }
                    let mut marker = Marker::new(spec.to_string());
                    marker.tar_sha256.clone_from(&digest);
                    Ok(marker)
                })?
            }
        };
        drop(lock);
        if known.is_none() {
            self.remember_digest(path, &stamp, &digest)?;
        }
        source_of(entry)
    }

    fn fetch_git(
        &self,
        spec: &SourceSpec,
        source: &GitSource,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Source, SourceError> {
        let commit = git::commit(&self.programs, source)?;
        let key = git_key(&commit);
        let _lock = self.store.lock(&key, progress)?;
        if let Ok(entry) = self.store.check(&key) {
            return source_of(entry);
        }
        if self.part == Part::Graft {
            return self.fetch_part(spec, source, commit, progress);
        }
        let mut archive = git::archive(&self.programs, &source.repo, &commit)?;
        let entry = self.store.fill(&key, |into| {
            let streamed = unpack::unpack_output(&mut archive, &source.repo, into, &self.programs, progress)?;
            let mut marker = Marker::new(spec.to_string());
            marker.commit = Some(commit);
            marker.tar_sha256 = streamed.sha256;
            Ok(marker)
        })?;
        source_of(entry)
    }

    /// The part of a commit that a graft needs.
    fn fetch_part(
        &self,
        spec: &SourceSpec,
        source: &GitSource,
        commit: String,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Source, SourceError> {
        let key = part_key(&commit);
        let lock = self.store.lock(&key, progress)?;
        if let Ok(entry) = self.store.check(&key) {
            self.store.used(&key);
            return source_of(entry);
        }
        let blobs = self.cache.join("sources").join("blobs");
        store::check_space(&self.cache, BYTES_PART)?;
        let entry = {
            let _sharing = self.store.share("blobs", progress)?;
            self.store.fill_light(&key, |into| {
                part::checkout(&self.programs, &source.repo, &commit, &blobs, into, progress)?;
                let mut marker = Marker::new(spec.to_string());
                marker.commit = Some(commit.clone());
                Ok(marker)
            })?
        };
        drop(lock);
        self.store.bound(PART_KEY, MOST_PARTS, &mut |_| {});
        // Whoever checks out now sweeps the next time.
        if let Some(_alone) = self.store.try_lock("blobs")? {
            part::sweep(&blobs);
        }
        source_of(entry)
    }

    /// Digests of tarballs that were read before, so that a look need not read 150 MB: a small file per path.
    fn digest_file(&self, path: &Path) -> PathBuf {
        use std::os::unix::ffi::OsStrExt;
        let name = unpack::sha256(path.as_os_str().as_bytes());
        self.cache.join("sources").join("digests").join(&name[..32])
    }

    fn known_digest(&self, path: &Path, stamp: &Stamp) -> Option<String> {
        let path = path.canonicalize().ok()?;
        let text = fs::read_to_string(self.digest_file(&path)).ok()?;
        let (digest, rest) = text.trim_end().split_once(' ')?;
        (rest == stamp.to_string() && digest.len() == 64).then(|| digest.to_owned())
    }

    fn remember_digest(&self, path: &Path, stamp: &Stamp, digest: &str) -> Result<(), SourceError> {
        let path = path.canonicalize().map_err(|e| SourceError::io("resolve", path, e))?;
        let file = self.digest_file(&path);
        let dir = file.parent().unwrap_or(&self.cache);
        store::create_dir(dir)?;
        let write = || -> std::io::Result<()> {
            let mut temporary = tempfile::NamedTempFile::new_in(dir)?;
            std::io::Write::write_all(&mut temporary, format!("{digest} {stamp}\n").as_bytes())?;
            temporary.persist(&file)?;
            Ok(())
        };
        write().map_err(|e| SourceError::io("write", &file, e))
    }
}

/// What changes when a file is written anew.
struct Stamp {
    size: u64,
    text: String,
}

impl Stamp {
    fn of(path: &Path) -> Result<Self, SourceError> {
        let meta = path
            .metadata()
            .ok()
            .filter(fs::Metadata::is_file)
            .ok_or_else(|| SourceError::NoSuch { path: path.into(), what: "tarball" })?;
        let text = format!(
            "{} {} {}.{:09} {}.{:09}",
            meta.len(),
            meta.ino(),
            meta.mtime(),
            meta.mtime_nsec(),
            meta.ctime(),
            meta.ctime_nsec()
        );
        Ok(Self { size: meta.len(), text })
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn debian_key(package: &str, version: &str) -> String {
    format!("debian-{package}_{version}")
}

fn tarball_key(digest: &str) -> String {
    format!("tarball-{digest}")
}

fn git_key(commit: &str) -> String {
    format!("git-{commit}")
}

/// How the keys of parts of commits begin.
const PART_KEY: &str = "graft-";
/// Parts of commits that are kept: a bisection of a release takes 14 steps.
const MOST_PARTS: usize = 24;

fn part_key(commit: &str) -> String {
    format!("{PART_KEY}{commit}")
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:+~@,%^".contains(c);
    if word.chars().all(plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

fn source_of(entry: Entry) -> Result<Source, SourceError> {
    let version = any_tree_at(&entry.tree)?;
    let m = entry.marker;
    let identity = match (m.package, m.package_version, m.package_sha256, m.commit) {
        (Some(package), Some(version), Some(sha256), _) => Identity::Debian { package, version, sha256 },
        (_, _, _, Some(commit)) => Identity::Commit(commit),
        _ => Identity::Tarball(m.tar_sha256),
    };
    Ok(Source { dir: entry.tree, version, identity })
}

/// A directory given by the user.
fn directory(dir: &Path) -> Result<KernelVersion, SourceError> {
    if !dir.is_dir() {
        return Err(SourceError::NoSuch { path: dir.into(), what: "directory" });
    }
    tree_at(dir)
}

/// The version of the kernel source at `dir`, if it is one and nothing was built in it.
///
/// # Errors
/// [`SourceError::NotATree`]; [`SourceError::Unclean`] under the conditions of the `outputmakefile` rule in the kernel's
/// top Makefile, which refuses to build with `O=` then.
pub fn tree_at(dir: &Path) -> Result<KernelVersion, SourceError> {
    let not = |missing: &str| SourceError::NotATree { path: dir.into(), missing: missing.into() };
    let version = match store::makefile_version(dir) {
        Ok(Some(version)) => version,
        Ok(None) => return Err(not("its Makefile states no `VERSION` and `PATCHLEVEL`")),
        Err(_) => return Err(not("it has no readable Makefile")),
    };
    if !dir.join("scripts").is_dir() {
        return Err(not("it has no `scripts` directory"));
    }
    let mut traces = vec![PathBuf::from(".config"), PathBuf::from("include/config")];
    if let Ok(archs) = fs::read_dir(dir.join("arch")) {
        let mut archs: Vec<_> = archs.flatten().map(|a| a.file_name()).collect();
        archs.sort();
        traces.extend(archs.iter().map(|a| Path::new("arch").join(a).join("include/generated")));
    }
    match traces.iter().find(|t| dir.join(t).symlink_metadata().is_ok()) {
        Some(found) => Err(SourceError::Unclean { path: dir.into(), found: found.display().to_string() }),
        None => Ok(version),
    }
}

/// The version of the tree at `dir` if it is a kernel's; none if it is another tree that builds with make.
///
/// # Errors
/// As [`tree_at`] for a kernel; [`SourceError::NotATree`] for a tree with nothing to build it by.
pub fn any_tree_at(dir: &Path) -> Result<Option<KernelVersion>, SourceError> {
    let other = !dir.join("Kconfig").exists() && !matches!(store::makefile_version(dir), Ok(Some(_)));
    // What configures first has no Makefile yet (GNU make manual, "What Name to Give Your Makefile").
    let builds = ["GNUmakefile", "makefile", "Makefile", "configure", "configure.ac", "autogen.sh", "CMakeLists.txt"];
    if other && builds.iter().any(|name| dir.join(name).is_file()) {
        return Ok(None);
    }
    tree_at(dir).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn makefile_versions() {
        let of = |t: &str| KernelVersion::from_makefile(t).map(|v| v.to_string());
        let text = "# SPDX\nVERSION = 6\nPATCHLEVEL = 12\nSUBLEVEL = 117\nEXTRAVERSION =\nNAME = Baby Opossum\n";
        assert_eq!(of(text).as_deref(), Some("6.12.117"));
        assert_eq!(
            of("VERSION = 7\nPATCHLEVEL = 4\nSUBLEVEL = 0\nEXTRAVERSION = -rc3\n").as_deref(),
            Some("7.4.0-rc3")
        );
        assert_eq!(of("all:\n\tcc x.c\n"), None);
        assert_eq!(of("VERSION = six\nPATCHLEVEL = 1\n"), None);
    }

    #[test]
    fn a_built_tree_is_refused_with_the_way_out() {
        let dir = tempfile::tempdir().expect("tempdir");
        let d = dir.path();
        assert!(matches!(tree_at(d), Err(SourceError::NotATree { .. })));
        fs::write(d.join("Makefile"), "VERSION = 6\nPATCHLEVEL = 1\n").expect("write");
        assert!(matches!(tree_at(d), Err(SourceError::NotATree { .. })));
        fs::create_dir_all(d.join("scripts")).expect("mkdir");
        assert_eq!(tree_at(d).expect("tree").series(), "6.1");
        for trace in ["arch/x86/include/generated", "include/config"] {
            fs::create_dir_all(d.join(trace)).expect("mkdir");
            let e = tree_at(d).expect_err(trace);
            assert!(matches!(&e, SourceError::Unclean { found, .. } if found == trace), "{e}");
            assert!(e.hint().is_some_and(|h| h.contains("mrproper")));
        }
    }
}
