//! What a preparation looked at, and whether another tree would show it the same.
//!
//! A list of what was read would do for a compiler; a build also goes by what is *not* there (a header that would
//! shadow another, a file that `wildcard` asks for) and by what a directory holds. So every path that was opened, asked
//! for or listed is kept with what it showed, whether it is in the sources or of the host's toolchain. It is a
//! "verifying trace" in the words of "Build Systems à la Carte" (Mokhov, Mitchell, Peyton Jones, 2018).

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::SystemTime;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::runner::execute::lock;
use crate::trace::{Look, Looked};
use crate::tree::source::{hex, sha256, sha256_file};
use crate::tree::view::{Named, Shown, View};

/// Directories that are a sandbox's own or the running kernel's: they hold nothing of a toolchain.
const NOT_TOOLS: &[&str] = &["/proc", "/sys", "/dev", "/tmp", "/var/tmp", "/run", "/build"];

/// Everything a preparation looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::runner) struct Manifest {
    /// Below the top of the source tree.
    pub(super) sources: BTreeMap<String, Saw>,
    /// On the host.
    pub(super) host: BTreeMap<String, Saw>,
}

/// What a path showed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::runner) struct Saw {
    /// The symbolic links that led there, each with what it says.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    links: Vec<(PathBuf, PathBuf)>,
    what: Thing,
}

/// What is at the end of a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Thing {
    /// Nothing was there.
    Absent,
    /// There was a directory; what it holds was not asked.
    Dir,
    /// There was a file; its content was not asked.
    File {
        /// Bytes.
        size: u64,
        /// Permission bits.
        mode: u32,
    },
    /// A file's content.
    Content {
        /// SHA-256, hexadecimal.
        sha256: String,
        /// Permission bits.
        mode: u32,
    },
    /// What a directory held.
    Names {
        /// SHA-256 of the sorted names, each with what kind it is, hexadecimal.
        sha256: String,
    },
    /// It is not known what is there.
    Unknown,
}

/// How a manifest and a tree go together.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fit {
    /// Everything shows the same; the time is when the newest of the sources was last changed.
    Same(Option<SystemTime>),
    /// Something does not.
    Other(Differs),
}

/// What does not show what it showed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Differs {
    /// The path that tells most: one with another content rather than a directory with other names, which has some because
    /// of another path.
    pub(super) path: String,
    /// How many there are.
    pub(super) count: usize,
    /// Of how many.
    pub(super) of: usize,
}

impl Differs {
    /// Whether it is the same kernel but for some files. Of another one nothing is worth telling.
    pub(super) fn of_the_same(&self) -> bool {
        self.count * 4 < self.of
    }
}

impl std::fmt::Display for Differs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.path.as_str() {
            "" => f.write_str("the top of the source tree")?,
            path => write!(f, "`{path}`")?,
        }
        match self.count {
            0 | 1 => f.write_str(" is not what it was"),
            more => write!(f, " and {} more are not what they were", more - 1),
        }
    }
}

/// Looks at a tree and at the host's toolchain.
#[derive(Debug, Clone)]
pub(in crate::runner) struct Eyes<'a> {
    pub(in crate::runner) view: View<'a>,
    /// Where the sources are seen inside.
    pub(in crate::runner) src: &'a Path,
    /// Where the build writes: what it reads there it made itself.
    pub(in crate::runner) obj: &'a Path,
    /// Directories of the host that the scenario makes visible, wherever they are.
    pub(in crate::runner) shown: Vec<PathBuf>,
    pub(in crate::runner) digests: &'a Digests,
}

impl Eyes<'_> {
    /// What was looked at, with what it shows here.
    ///
    /// # Errors
    /// Why the trace cannot be believed.
    pub(in crate::runner) fn manifest(&self, looked: &Looked) -> Result<Manifest, String> {
        if let Some(gap) = looked.gaps.first() {
            return Err(gap.to_string());
        }
        let (mut sources, mut host) = (Vec::new(), Vec::new());
        let text =
            |path: &Path| path.to_str().map(str::to_owned).ok_or_else(|| format!("`{}` is no UTF-8", path.display()));
        for (path, &look) in &looked.paths {
            let shown = || self.shown.iter().any(|dir| path.starts_with(dir));
            if path.starts_with(self.obj) {
                continue;
            }
            match path.strip_prefix(self.src) {
                Ok(below) => sources.push((text(below)?, look)),
                Err(_) if NOT_TOOLS.iter().any(|dir| path.starts_with(dir)) && !shown() => {}
                Err(_) => host.push((text(path)?, look)),
            }
        }
        let manifest = Manifest {
            sources: sources
                .into_par_iter()
                .map(|(path, look)| (path.clone(), self.source(Path::new(&path), look)))
                .collect(),
            host: host.into_par_iter().map(|(path, look)| (path.clone(), self.host(Path::new(&path), look))).collect(),
        };
        match manifest.sources.iter().find(|(_, saw)| saw.what == Thing::Unknown) {
            Some((path, _)) => Err(format!("`{path}` leads out of the source tree")),
            None => Ok(manifest),
        }
    }

    /// How everything in the manifest shows here.
    pub(super) fn fit(&self, manifest: &Manifest) -> Fit {
        // The sources first: they are what mostly differs.
        let sources = manifest.sources.par_iter();
        let mut differ: Vec<(&String, &Saw)> =
            sources.filter(|(path, saw)| self.source(Path::new(path), saw.look()) != **saw).collect();
        if differ.is_empty() {
            let host = manifest.host.par_iter();
            differ = host.filter(|(path, saw)| self.host(Path::new(path), saw.look()) != **saw).collect();
        }
        let names = |(_, saw): &&(&String, &Saw)| matches!(saw.what, Thing::Names { .. });
        match differ.iter().find(|it| !names(it)).or(differ.first()) {
            Some((path, _)) => {
                let (count, of) = (differ.len(), manifest.sources.len() + manifest.host.len());
                Fit::Other(Differs { path: (*path).clone(), count, of })
            }
            None => {
                Fit::Same(manifest.sources.par_iter().filter_map(|(path, _)| self.view.changed(Path::new(path))).max())
            }
        }
    }

    /// Whether everything in the manifest shows the same here.
    pub(in crate::runner) fn shows(&self, manifest: &Manifest) -> bool {
        matches!(self.fit(manifest), Fit::Same(_))
    }

    /// Whether something in the manifest was changed at `time` or later: then it may not be what was read. The time of
    /// the inode counts, which nobody can set back; where there is nothing, that of the directory. A file of several names
    /// gets that time with each further name, as one that other checkouts share: of such a file its own time has to do.
    pub(in crate::runner) fn changed_since(&self, manifest: &Manifest, time: SystemTime) -> bool {
        let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let since = (i64::try_from(since.as_secs()).unwrap_or(i64::MAX), i64::from(since.subsec_nanos()));
        let changed = |path: &Path| {
            let meta = path.ancestors().find_map(|path| fs::symlink_metadata(path).ok());
            let later = |meta: &fs::Metadata| {
                let shared = meta.is_file() && meta.nlink() > 1;
                let changed =
                    if shared { (meta.mtime(), meta.mtime_nsec()) } else { (meta.ctime(), meta.ctime_nsec()) };
                changed >= since
            };
            meta.as_ref().is_some_and(later) || fs::metadata(path).is_ok_and(|meta| later(&meta))
        };
        let source = |path: &str| match self.view.at(Path::new(path)) {
            Shown::Own { .. } => false,
            Shown::Lower(path) | Shown::Outside(path) => changed(&path),
            Shown::Absent | Shown::Dir | Shown::Elsewhere => changed(&self.view.lower.join(path)),
        };
        manifest.sources.par_iter().any(|(path, _)| source(path))
            || manifest.host.par_iter().any(|(path, _)| changed(Path::new(path)))
    }

    fn source(&self, path: &Path, look: Look) -> Saw {
        let what = match self.view.at(path) {
            Shown::Absent => Thing::Absent,
            Shown::Dir if look == Look::Probed => Thing::Dir,
            Shown::Dir => Thing::Names { sha256: names_digest(&self.view.names(path)) },
            Shown::Own { bytes, mode } if look == Look::Probed => Thing::File { size: bytes.len() as u64, mode },
            Shown::Own { bytes, mode } => Thing::Content { sha256: sha256(&bytes), mode },
            Shown::Lower(path) | Shown::Outside(path) => self.thing(&path, look),
            Shown::Elsewhere => Thing::Unknown,
        };
        Saw { links: self.view.links(path), what }
    }

    fn host(&self, path: &Path, look: Look) -> Saw {
        Saw { links: links(path), what: self.thing(path, look) }
    }

    fn thing(&self, path: &Path, look: Look) -> Thing {
        let Ok(meta) = fs::metadata(path) else { return Thing::Absent };
        let (size, mode) = (meta.len(), meta.mode() & 0o7777);
        match (meta.is_dir(), look) {
            (true, Look::Probed) => Thing::Dir,
            (true, _) => {
                let entries = fs::read_dir(path).into_iter().flatten().flatten();
                let names = entries.map(|entry| (entry.file_name(), Named::of(&entry))).collect();
                Thing::Names { sha256: names_digest(&names) }
            }
            (false, Look::Read | Look::Listed) if meta.is_file() => match self.digests.of(path, &meta) {
                Ok(sha256) => Thing::Content { sha256, mode },
                // What this user cannot read the build could not either.
                Err(_) => Thing::File { size, mode },
            },
            (false, _) => Thing::File { size, mode },
        }
    }
}

impl Saw {
    /// The look that shows this.
    fn look(&self) -> Look {
        match self.what {
            // The strongest look at what is not there shows no more.
            Thing::Absent | Thing::Names { .. } => Look::Listed,
            Thing::Dir | Thing::File { .. } | Thing::Unknown => Look::Probed,
            Thing::Content { .. } => Look::Read,
        }
    }
}

/// The symbolic links of the host on the way to a path, as far as its own components are links.
fn links(path: &Path) -> Vec<(PathBuf, PathBuf)> {
    let mut above: Vec<&Path> = path.ancestors().collect();
    above.reverse();
    above.into_iter().filter_map(|path| Some((path.to_owned(), fs::read_link(path).ok()?))).collect()
}

/// Digests of files that were read before, by path, as long as nothing about the file has changed since.
#[derive(Debug, Default)]
pub(in crate::runner) struct Digests(Mutex<HashMap<PathBuf, (Stamp, String)>>);

/// What changes when a file is written: device, inode, size, time of change of data and of the inode.
type Stamp = (u64, u64, u64, (i64, i64), (i64, i64));

impl Digests {
    fn of(&self, path: &Path, meta: &fs::Metadata) -> io::Result<String> {
        let stamp =
            (meta.dev(), meta.ino(), meta.size(), (meta.mtime(), meta.mtime_nsec()), (meta.ctime(), meta.ctime_nsec()));
        let known = |it: &HashMap<PathBuf, (Stamp, String)>| {
            it.get(path).filter(|(have, _)| *have == stamp).map(|(_, digest)| digest.clone())
        };
        if let Some(digest) = known(&lock(&self.0)) {
            return Ok(digest);
        }
        let digest = sha256_file(path, &mut |_| {})?;
        lock(&self.0).insert(path.to_owned(), (stamp, digest.clone()));
        Ok(digest)
    }
}

fn names_digest(names: &BTreeMap<OsString, Named>) -> String {
    let mut hash = Sha256::new();
    for (name, named) in names {
        hash.update(name.as_bytes());
        hash.update([0, *named as u8]);
    }
    hex(&hash.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    use crate::trace::Gap;
    use crate::tree::{FileState, State};

    fn looked(paths: &[(&str, Look)]) -> Looked {
        Looked { paths: paths.iter().map(|(path, look)| (PathBuf::from(path), *look)).collect(), gaps: BTreeSet::new() }
    }

    #[test]
    fn only_what_was_looked_at_counts_and_as_far_as_it_was_looked_at() {
        let dir = tempfile::tempdir().expect("a directory");
        let top = dir.path();
        fs::create_dir_all(top.join("scripts/mod")).expect("made");
        for name in ["Makefile", "scripts/fixdep.c", "scripts/asked", "scripts/mod/modpost.c", "README"] {
            fs::write(top.join(name), name).expect("written");
        }
        let digests = Digests::default();
        let first = State::default();
        fn eyes<'e>(lower: &'e Path, state: &'e State, digests: &'e Digests) -> Eyes<'e> {
            let (src, obj) = (Path::new("/build/src"), Path::new("/build/obj"));
            Eyes { view: View { lower, state }, src, obj, shown: Vec::new(), digests }
        }
        let looks = looked(&[
            ("/build/src/Makefile", Look::Read),
            ("/build/src/scripts/fixdep.c", Look::Read),
            ("/build/src/scripts/asked", Look::Probed),
            ("/build/src/scripts/missing.h", Look::Read),
            ("/build/src/scripts/mod", Look::Listed),
            ("/build/obj/.config", Look::Read),
            ("/proc/self/maps", Look::Read),
        ]);
        let manifest = eyes(top, &first, &digests).manifest(&looks).expect("a complete trace");
        assert_eq!((manifest.sources.len(), manifest.host.len()), (5, 0));
        let write = |path: &str| {
            let mut state = State::default();
            state.files.insert(path.into(), FileState::Present { bytes: b"other".as_slice().into(), mode: 0o644 });
            state
        };
        let fit = |state: &State| eyes(top, state, &digests).fit(&manifest);
        let other = |path: &str, count: usize| Fit::Other(Differs { path: path.into(), count, of: 5 });
        for unseen in ["README", "scripts/other.c", "drivers/net/a.c"] {
            assert!(matches!(fit(&write(unseen)), Fit::Same(Some(_))), "{unseen}");
        }
        // A size can be asked for without reading.
        for seen in ["Makefile", "scripts/fixdep.c", "scripts/missing.h", "scripts/asked"] {
            assert_eq!(fit(&write(seen)), other(seen, 1));
        }
        assert_eq!(fit(&write("scripts/mod/new.c")), other("scripts/mod", 1), "a listing counts");
        let mut gone = State::default();
        gone.files.insert("scripts/asked".into(), FileState::Deleted);
        assert_eq!(fit(&gone), other("scripts/asked", 1));
        let mut made_executable = State::default();
        made_executable
            .files
            .insert("scripts/asked".into(), FileState::Present { bytes: b"".as_slice().into(), mode: 0o755 });
        assert_eq!(fit(&made_executable), other("scripts/asked", 1));
        // The file on disk, not only the state over it.
        fs::write(top.join("scripts/fixdep.c"), "changed").expect("written");
        assert_eq!(fit(&first), other("scripts/fixdep.c", 1));
    }

    #[test]
    fn the_toolchain_counts_and_an_incomplete_trace_does_not() {
        let tools = tempfile::tempdir().expect("a directory");
        // A sandbox has its own /tmp, so that a directory in it has to be shown to count.
        let shown = vec![tools.path().to_owned()];
        let gcc = tools.path().join("gcc");
        fs::write(&gcc, "12").expect("written");
        let (digests, state) = (Digests::default(), State::default());
        let eyes = Eyes {
            view: View { lower: Path::new("/nonexistent"), state: &state },
            src: Path::new("/build/src"),
            obj: Path::new("/build/obj"),
            shown,
            digests: &digests,
        };
        let mut looks = looked(&[(gcc.to_str().expect("UTF-8"), Look::Read)]);
        let manifest = eyes.manifest(&looks).expect("a complete trace");
        assert_eq!(eyes.fit(&manifest), Fit::Same(None));
        fs::write(&gcc, "13").expect("written");
        assert_eq!(eyes.fit(&manifest), Fit::Other(Differs { path: gcc.display().to_string(), count: 1, of: 1 }));
        looks.gaps.insert(Gap::ForeignCall { program: "old".into() });
        let error = eyes.manifest(&looks).expect_err("not all is known");
        assert!(error.contains("`old`"), "{error}");
    }
}
