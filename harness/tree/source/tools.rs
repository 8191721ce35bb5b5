//! Tools that the system does not have, unpacked from Debian's archive beside it.
//!
//! ```text
//! <cache>/tools/pahole-1.30/tool.json    the marker, written last
//! <cache>/tools/pahole-1.30/root/        the packages, with the C library they were linked for
//! <cache>/tools/pahole-1.30/bin/pahole   starts it through that library's own loader, ld.so(8)
//! ```
//!
//! A build sees such a directory at [`Unpacked::place`], the same on every host. There is at most one version of each
//! line of [`OFFERS`] in the cache, which bounds it.

mod offers;
mod own;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use wildmatch::WildMatch;

pub use offers::{OFFERS, Offer};

use super::program::{Programs, run};
use super::store::{self, Hold, Lock};
use super::{Progress, SourceError, apt, unpack};
use crate::scenario::version_fits;

/// Where builds see unpacked tools.
pub const PLACE: &str = "/build/toolchain";

/// The marker's file.
const MARKER: &str = "tool.json";
/// The version of the marker's format; another one is unpacked again.
const FORMAT: u32 = 1;
/// Directories of packages that no program needs to run: documentation, headers, configuration of the system.
const PRUNED: &[&str] = &["etc", "usr/include", "usr/share", "var"];

/// What an unpacked tool was made from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marker {
    /// The version of this format.
    pub format: u32,
    /// `pahole`.
    pub name: String,
    /// Its version without Debian's revision, e.g. `1.30`.
    pub version: String,
    /// The suite it came from.
    pub suite: String,
    /// The packages: `NAME VERSION` to SHA-256 as the signed index states it and as it was found.
    pub packages: BTreeMap<String, String>,
    /// Bytes in all files.
    pub bytes: u64,
    /// SHA-256 over all files: paths, kinds, modes and content.
    pub sha256: String,
}

/// A tool in the cache that was looked at whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unpacked {
    /// Its line of the table.
    pub offer: &'static Offer,
    /// Its directory on the host.
    pub dir: PathBuf,
    /// What it was made from.
    pub marker: Marker,
}

impl Unpacked {
    /// Where builds see it.
    #[must_use]
    pub fn place(&self) -> String {
        format!("{PLACE}/{}", self.offer.name)
    }

    /// Where builds find its programs.
    #[must_use]
    pub fn bin(&self) -> String {
        format!("{}/bin", self.place())
    }

    /// The path of one of its programs, as builds see it.
    #[must_use]
    pub fn program(&self, name: &str) -> String {
        format!("{}/{name}", self.bin())
    }

    /// How one comes to have it there, to go on after what is missing.
    #[must_use]
    pub fn how(&self) -> String {
        match self.offer.suites {
            [] => "link a directory there whose bin has it".to_owned(),
            _ => format!("kbuild-repro fetch tool:{} unpacks it, link it there", self.offer.id()),
        }
    }

    /// The part of the version that snapshots and lists of known faults go by.
    #[must_use]
    pub fn key(&self) -> String {
        self.marker.version.split('.').take(self.offer.key).collect::<Vec<_>>().join(".")
    }
}

/// The cache of unpacked tools.
pub struct Tools {
    cache: PathBuf,
    root: PathBuf,
    programs: Programs,
}

impl Tools {
    /// `cache` and `env` as for [`super::Sources::new`].
    #[must_use]
    pub fn new(cache: PathBuf, env: BTreeMap<OsString, OsString>) -> Self {
        Self { root: cache.join("tools"), programs: Programs::new(env), cache }
    }

    /// The tool, if it is in the cache and every file is as it was left. No network.
    #[must_use]
    pub fn lookup(&self, offer: &'static Offer) -> Option<Unpacked> {
        let unpacked = self.stated(offer)?;
        let (sha256, _) = digest(&unpacked.dir).ok()?;
        (sha256 == unpacked.marker.sha256).then_some(unpacked)
    }

    /// What the marker says, without a look at the files.
    fn stated(&self, offer: &'static Offer) -> Option<Unpacked> {
        let dir = self.root.join(offer.id());
        let marker: Marker = serde_json::from_str(&fs::read_to_string(dir.join(MARKER)).ok()?).ok()?;
        let ours = marker.format == FORMAT && marker.name == offer.name && version_fits(offer.version, &marker.version);
        ours.then_some(Unpacked { offer, dir, marker })
    }

    /// What the cache holds, by the markers alone.
    #[must_use]
    pub fn entries(&self) -> Vec<Unpacked> {
        OFFERS.iter().filter_map(|offer| self.stated(offer)).collect()
    }

    /// Keeps a tool from being replaced as long as the value lives.
    #[must_use]
    pub fn hold(&self, unpacked: &Unpacked) -> Option<Hold> {
        store::hold_marker(&unpacked.dir.join(MARKER))
    }

    /// Removes what killed attempts left half unpacked, and returns how many there were.
    ///
    /// # Errors
    /// When a file cannot be removed.
    pub fn sweep(&self) -> Result<usize, SourceError> {
        Ok(store::sweep(&self.root, |key| key)? + store::sweep(&self.root.join("own"), |key| key)?)
    }

    /// Gets a tool: from the cache when it is there and whole, else from Debian's archive.
    ///
    /// # Errors
    /// [`SourceError`], with what to do next in [`SourceError::hint`].
    pub fn fetch(&self, offer: &'static Offer, progress: &mut dyn FnMut(Progress)) -> Result<Unpacked, SourceError> {
        if let Some(unpacked) = self.lookup(offer) {
            return Ok(unpacked);
        }
        let id = offer.id();
        let lock = store::lock_file(&self.root.join(format!("{id}.lock")), progress)?;
        // Whoever had the lock may have fetched it.
        if let Some(unpacked) = self.lookup(offer) {
            return Ok(unpacked);
        }
        let place = self.root.join(&id);
        if store::is_held(&place.join(MARKER)) {
            // Damaged, and a build runs from it.
            return Err(SourceError::Busy { path: place });
        }
        let (suite, version, packages) = self.resolve(offer, progress)?;
        store::check_space(&self.cache, offer.bytes_download + offer.bytes_unpacked)?;
        let downloads = self.cache.join("downloads").join(&id);
        let files = self.download(&packages, &downloads, &lock, progress)?;
        let partial = self.root.join(format!("{id}.partial"));
        let marker = store::fill(&partial, |into| {
            let root = into.join("root");
            store::create_dir(&root)?;
            let total = packages.iter().map(|package| package.deb.size).sum();
            let mut done = 0;
            for (package, file) in packages.iter().zip(&files) {
                progress(Progress::Unpacking { done, total: Some(total) });
                let mut tar = self.programs.command("dpkg-deb", "dpkg")?;
                unpack::unpack_output(tar.arg("--fsys-tarfile").arg(file), file, &root, &self.programs, &mut |_| {})?;
                done += package.deb.size;
            }
            for dir in PRUNED {
                store::remove_tree(&root.join(dir))?;
            }
            self.make_startable(offer, into)?;
            let (sha256, bytes) = digest(into)?;
            let sums = packages.iter().map(|p| (format!("{} {}", p.name, p.deb.version), p.deb.sha256.clone()));
            let name = offer.name.to_owned();
            let marker = Marker { format: FORMAT, name, version, suite, packages: sums.collect(), bytes, sha256 };
            store::seal(into, MARKER, &marker, &place, true)?;
            Ok(marker)
        })?;
        store::remove_tree(&downloads)?;
        Ok(Unpacked { offer, dir: place, marker })
    }

    /// The first suite that has the version, and the packages there.
    fn resolve(
        &self,
        offer: &Offer,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(String, String, Vec<apt::Package>), SourceError> {
        let mut there = Vec::new();
        let mut failed = None;
        for suite in offer.suites {
            let mut packages = match apt::closure(&self.programs, &self.cache, suite, offer.packages, progress) {
                Ok(packages) => packages,
                Err(error @ SourceError::Closure { .. }) => {
                    failed = failed.or(Some(error));
                    continue;
                }
                Err(error) => return Err(error),
            };
            let version = packages.iter().find(|p| Some(&p.name.as_str()) == offer.packages.first());
            let version = version.map(|p| upstream(&p.deb.version).to_owned()).unwrap_or_default();
            if version_fits(offer.version, &version) {
                let needless = |name: &str| offer.without.iter().any(|pattern| WildMatch::new(pattern).matches(name));
                packages.retain(|package| !needless(&package.name));
                return Ok(((*suite).to_owned(), version, packages));
            }
            there.push(version);
        }
        Err(failed.unwrap_or_else(|| SourceError::NotFound {
            package: offer.name.into(),
            version: Some(offer.version.into()),
            looked: offer.suites.iter().map(|suite| format!("suite `{suite}`")).collect(),
            there,
        }))
    }

    fn download(
        &self,
        packages: &[apt::Package],
        dir: &Path,
        lock: &Lock,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Vec<PathBuf>, SourceError> {
        let total = packages.iter().map(|package| package.deb.size).sum();
        let mut before = 0;
        let mut files = Vec::new();
        for package in packages {
            let mut shown = |p| match p {
                Progress::Downloading { done, .. } => progress(Progress::Downloading { done: before + done, total }),
                // Digests of small files are there in no time.
                Progress::Checking { .. } => {}
                other => progress(other),
            };
            let deb = &package.deb;
            files.push(apt::download(&self.programs, dir, &package.name, deb, lock, &|_| Ok(()), &mut shown)?);
            before += deb.size;
        }
        Ok(files)
    }

    /// Writes what starts the programs, and has the loader say that each has all its libraries.
    fn make_startable(&self, offer: &Offer, entry: &Path) -> Result<(), SourceError> {
        let not = |why: String| SourceError::NotATool { tool: offer.id(), why };
        let root = entry.join("root");
        let layout = layout(&root)?;
        let loader = layout.loader.ok_or_else(|| not("no loader `ld-linux*.so.*` among the packages".into()))?;
        let bin = entry.join("bin");
        store::create_dir(&bin)?;
        for (name, to) in offer.links {
            let (link, to) = (entry.join(name), Path::new("root").join(to));
            symlink(to, &link).map_err(|e| SourceError::io("link", &link, e))?;
        }
        let at = |base: &Path, dirs: &[PathBuf]| -> OsString {
            let dirs: Vec<_> = dirs.iter().map(|dir| base.join(dir).into_os_string()).collect();
            dirs.join(std::ffi::OsStr::new(":"))
        };
        let inside = Path::new(PLACE).join(offer.name);
        for program in offer.programs {
            let real = root.join(program.path);
            if !real.is_file() {
                return Err(not(format!("no `{}` among the packages", program.path)));
            }
            let mut list = self.programs.command_at(&root.join(&loader));
            list.args(["--inhibit-cache", "--library-path"]).arg(at(&root, &layout.libraries));
            let said = run(list.arg("--list").arg(&real))?;
            if let Some(why) = foreign(&said.stdout, &root) {
                return Err(not(format!("`{}`: {why}", program.name)));
            }
            if !said.success {
                return Err(not(format!("`{}`: {}", program.name, said.stderr)));
            }
            let inner = inside.join("root");
            let text = wrapper(
                program,
                &inner.join(&loader).display().to_string(),
                &at(&inner, &layout.libraries).to_string_lossy(),
                &inner.join(program.path).display().to_string(),
                &inside.join("bin").join(program.name).display().to_string(),
            );
            let path = bin.join(program.name);
            fs::write(&path, text).map_err(|e| SourceError::io("write", &path, e))?;
            fs::set_permissions(&path, PermissionsExt::from_mode(0o755))
                .map_err(|e| SourceError::io("set the mode of", &path, e))?;
        }
        Ok(())
    }
}

/// `1.30` of `1.30-1`, `19.1.7` of `1:19.1.7-3~deb12u1` (deb-version(7)).
fn upstream(version: &str) -> &str {
    let version = version.split_once(':').map_or(version, |(_, rest)| rest);
    version.rsplit_once('-').map_or(version, |(upstream, _)| upstream)
}

/// A shell script that starts a program through its own C library. Its name is kept, as what a program does can hang
/// on that (lld, llvm-objcopy).
fn wrapper(program: &offers::Program, loader: &str, libraries: &str, real: &str, name: &str) -> String {
    let mut text =
        String::from("#!/bin/sh\n# Starts a program beside the C library that it was linked for, ld.so(8).\n");
    if let Some(option) = program.option {
        text.push_str(&format!("case \"$1\" in -cc1*) ;; *) set -- {option} \"$@\" ;; esac\n"));
    }
    text.push_str(&format!(
        "exec {loader} --inhibit-cache --library-path {libraries} \\\n\t--argv0 {name} {real} \"$@\"\n"
    ));
    text
}

/// What the loader's list names that is not of the packages: then the tool would differ from host to host.
fn foreign(list: &str, root: &Path) -> Option<String> {
    list.lines().find_map(|line| {
        let (library, rest) = line.trim().split_once(" => ")?;
        let path = rest.split(" (0x").next().unwrap_or(rest).trim();
        (!Path::new(path).starts_with(root)).then(|| format!("library `{library}`: {path}"))
    })
}

/// Where in a root the loader and the libraries are, relative and sorted.
struct Layout {
    loader: Option<PathBuf>,
    libraries: Vec<PathBuf>,
}

fn layout(root: &Path) -> Result<Layout, SourceError> {
    let mut layout = Layout { loader: None, libraries: Vec::new() };
    for entry in walk(root)? {
        let name = entry.path.file_name().unwrap_or_default().to_string_lossy();
        let dir = entry.path.parent().unwrap_or(Path::new("")).to_owned();
        if name.starts_with("ld-linux") && name.contains(".so.") && matches!(entry.kind, Kind::File { .. }) {
            layout.loader = layout.loader.or(Some(entry.path.clone()));
        }
        // `gconv` and the like hold modules that are opened by path.
        let of_a_triplet = dir.starts_with("lib") || dir.starts_with("usr/lib");
        if name.starts_with("lib") && name.contains(".so.") && of_a_triplet && !layout.libraries.contains(&dir) {
            layout.libraries.push(dir);
        }
    }
    Ok(layout)
}

/// Something below a directory.
struct Found {
    path: PathBuf,
    kind: Kind,
}

enum Kind {
    Dir,
    File { mode: u32, bytes: u64 },
    Link(PathBuf),
}

/// Everything below a directory, sorted by path, with relative paths.
fn walk(root: &Path) -> Result<Vec<Found>, SourceError> {
    let mut found = Vec::new();
    let mut todo = vec![root.to_owned()];
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(&dir).map_err(|e| SourceError::io("read", &dir, e))? {
            let path = entry.map_err(|e| SourceError::io("read", &dir, e))?.path();
            let meta = path.symlink_metadata().map_err(|e| SourceError::io("read", &path, e))?;
            let kind = if meta.is_dir() {
                todo.push(path.clone());
                Kind::Dir
            } else if meta.is_symlink() {
                Kind::Link(fs::read_link(&path).map_err(|e| SourceError::io("read", &path, e))?)
            } else if meta.is_file() && meta.permissions().mode() & 0o6000 == 0 {
                Kind::File { mode: meta.permissions().mode() & 0o777, bytes: meta.len() }
            } else {
                let why = "neither a directory, a link nor an ordinary file".into();
                return Err(SourceError::Unsafe { what: path, why });
            };
            let path = path.strip_prefix(root).unwrap_or(&path).to_owned();
            found.push(Found { path, kind });
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

/// SHA-256 over all files of an entry but its marker, and how many bytes they have.
fn digest(entry: &Path) -> Result<(String, u64), SourceError> {
    use std::os::unix::ffi::OsStrExt;
    let mut all = Sha256::new();
    let mut total = 0;
    for Found { path, kind } in walk(entry)? {
        if path == Path::new(MARKER) {
            continue;
        }
        let what = match kind {
            Kind::Dir => "d".to_owned(),
            Kind::File { mode, bytes } => {
                total += bytes;
                let file = entry.join(&path);
                let content = unpack::sha256_file(&file, &mut |_| {}).map_err(|e| SourceError::io("read", &file, e))?;
                format!("f {mode:o} {content}")
            }
            Kind::Link(to) => format!("l {}", unpack::sha256(to.as_os_str().as_bytes())),
        };
        // No path holds a NUL byte, so that each list is written in one way only.
        all.update(path.as_os_str().as_bytes());
        all.update([0]);
        all.update(what);
        all.update([0]);
    }
    Ok((unpack::hex(&all.finalize()), total))
}

#[cfg(test)]
mod tests;
