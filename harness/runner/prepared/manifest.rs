//! What a preparation looked at, and whether another tree would show it the same.
//!
//! A list of what was read would do for a compiler; a build also goes by what is *not* there (a header that would
//! shadow another, a file that `wildcard` asks for) and by what a directory holds. So every path that was opened, asked
//! for or listed is kept with what it showed, whether it is in the sources or of the host's toolchain. It is a
//! "verifying trace" in the words of "Build Systems à la Carte" (Mokhov, Mitchell, Peyton Jones, 2018).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::trace::{Look, Looked};
use crate::tree::view::{Shown, View, is_executable};

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
#[serde(rename_all = "kebab-case")]
pub(in crate::runner) enum Saw {
    /// Nothing was there.
    Absent,
    /// There was a directory; what it holds was not asked.
    Dir,
    /// There was a file; its content was not asked.
    File {
        /// Whether it may be executed.
        x: bool,
    },
    /// A file's content.
    Content {
        /// SHA-256, hexadecimal.
        sha256: String,
        /// Whether it may be executed.
        x: bool,
    },
    /// What a directory held.
    Names {
        /// SHA-256 of the sorted names, each ended by a NUL byte, hexadecimal.
        sha256: String,
    },
}

/// How a manifest and a tree go together.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fit {
    /// Everything shows the same; the time is when the newest of the sources was last changed.
    Same(Option<SystemTime>),
    /// This path does not.
    Other(String),
}

/// Looks at a tree and at the host's toolchain.
#[derive(Debug, Clone, Copy)]
pub(in crate::runner) struct Eyes<'a> {
    pub(in crate::runner) view: View<'a>,
    /// Where the sources are seen inside.
    pub(in crate::runner) src: &'a Path,
    /// Where the build writes: what it reads there it made itself.
    pub(in crate::runner) obj: &'a Path,
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
        let mut manifest = Manifest::default();
        let (mut sources, mut host) = (Vec::new(), Vec::new());
        for (path, look) in &looked.paths {
            let text = || path.to_str().ok_or_else(|| format!("`{}` is no UTF-8", path.display()));
            if path.starts_with(self.obj) {
                continue;
            }
            match path.strip_prefix(self.src) {
                Ok(below) => sources.push((text()?.to_owned(), below, *look)),
                Err(_) if NOT_TOOLS.iter().any(|dir| path.starts_with(dir)) => {}
                Err(_) => host.push((text()?.to_owned(), path.as_path(), *look)),
            }
        }
        let below = |path: &str| path[self.src.as_os_str().len()..].trim_start_matches('/').to_owned();
        manifest.sources =
            sources.into_par_iter().map(|(text, path, look)| (below(&text), self.source(path, look))).collect();
        manifest.host = host.into_par_iter().map(|(text, path, look)| (text, self.host(path, look))).collect();
        Ok(manifest)
    }

    /// Whether everything in the manifest shows the same here.
    pub(super) fn fit(&self, manifest: &Manifest) -> Fit {
        // The sources first: they are what mostly differs.
        let source = manifest
            .sources
            .par_iter()
            .find_map_first(|(path, saw)| (self.source(Path::new(path), saw.look()) != *saw).then(|| path.clone()));
        let host = || {
            manifest
                .host
                .par_iter()
                .find_map_first(|(path, saw)| (self.host(Path::new(path), saw.look()) != *saw).then(|| path.clone()))
        };
        match source.or_else(host) {
            Some(path) => Fit::Other(path),
            None => {
                Fit::Same(manifest.sources.par_iter().filter_map(|(path, _)| self.view.changed(Path::new(path))).max())
            }
        }
    }

    /// Whether a source in the manifest was changed at `time` or later.
    pub(in crate::runner) fn changed_since(&self, manifest: &Manifest, time: SystemTime) -> bool {
        manifest.sources.par_iter().any(|(path, _)| self.view.changed(Path::new(path)).is_some_and(|at| at >= time))
    }

    fn source(&self, path: &Path, look: Look) -> Saw {
        match self.view.at(path) {
            Shown::Absent => Saw::Absent,
            Shown::Dir if look == Look::Probed => Saw::Dir,
            Shown::Dir => Saw::Names { sha256: names_digest(&self.view.names(path)) },
            Shown::Own { executable, .. } if look == Look::Probed => Saw::File { x: executable },
            Shown::Own { bytes, executable } => Saw::Content { sha256: sha256(&bytes), x: executable },
            Shown::Lower(path) | Shown::Outside(path) => self.host(&path, look),
        }
    }

    fn host(&self, path: &Path, look: Look) -> Saw {
        let Ok(meta) = fs::metadata(path) else { return Saw::Absent };
        let x = is_executable(&meta);
        match (meta.is_dir(), look) {
            (true, Look::Probed) => Saw::Dir,
            (true, _) => {
                let entries = fs::read_dir(path).into_iter().flatten().flatten();
                Saw::Names { sha256: names_digest(&entries.map(|entry| entry.file_name()).collect()) }
            }
            (false, Look::Read | Look::Listed) if meta.is_file() => match self.digests.of(path, &meta) {
                Ok(sha256) => Saw::Content { sha256, x },
                // What this user cannot read the build could not either.
                Err(_) => Saw::File { x },
            },
            (false, _) => Saw::File { x },
        }
    }
}

impl Saw {
    /// The look that shows this.
    fn look(&self) -> Look {
        match self {
            // The strongest look at what is not there shows no more.
            Self::Absent => Look::Listed,
            Self::Dir | Self::File { .. } => Look::Probed,
            Self::Content { .. } => Look::Read,
            Self::Names { .. } => Look::Listed,
        }
    }
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
        if let Some(digest) = known(&self.0.lock().unwrap_or_else(PoisonError::into_inner)) {
            return Ok(digest);
        }
        let digest = sha256_file(path)?;
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(path.to_owned(), (stamp, digest.clone()));
        Ok(digest)
    }
}

/// SHA-256 of bytes, hexadecimal.
pub(super) fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// SHA-256 of a file, hexadecimal.
pub(super) fn sha256_file(path: &Path) -> io::Result<String> {
    let (mut file, mut hash) = (File::open(path)?, Sha256::new());
    let mut buffer = vec![0; 128 << 10];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hex(&hash.finalize())),
            n => hash.update(&buffer[..n]),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn names_digest(names: &BTreeSet<OsString>) -> String {
    let mut hash = Sha256::new();
    for name in names {
        hash.update(name.as_bytes());
        hash.update([0]);
    }
    hex(&hash.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;
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
            Eyes { view: View { lower, state }, src, obj, digests }
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
        for unseen in ["README", "scripts/other.c", "scripts/asked", "drivers/net/a.c"] {
            assert!(matches!(fit(&write(unseen)), Fit::Same(Some(_))), "{unseen}");
        }
        for seen in ["Makefile", "scripts/fixdep.c", "scripts/missing.h"] {
            assert_eq!(fit(&write(seen)), Fit::Other(seen.into()));
        }
        assert_eq!(fit(&write("scripts/mod/new.c")), Fit::Other("scripts/mod".into()), "a listing counts");
        let mut gone = State::default();
        gone.files.insert("scripts/asked".into(), FileState::Deleted);
        assert_eq!(fit(&gone), Fit::Other("scripts/asked".into()));
        let mut made_executable = State::default();
        made_executable
            .files
            .insert("scripts/asked".into(), FileState::Present { bytes: b"".as_slice().into(), mode: 0o755 });
        assert_eq!(fit(&made_executable), Fit::Other("scripts/asked".into()));
        // The file on disk, not only the state over it.
        fs::write(top.join("scripts/fixdep.c"), "changed").expect("written");
        assert_eq!(fit(&first), Fit::Other("scripts/fixdep.c".into()));
    }

    #[test]
    fn the_toolchain_counts_and_an_incomplete_trace_does_not() {
        // Not in /tmp, which is a sandbox's own.
        let tools = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).expect("a directory");
        let gcc = tools.path().join("gcc");
        fs::write(&gcc, "12").expect("written");
        let (digests, state) = (Digests::default(), State::default());
        let eyes = Eyes {
            view: View { lower: Path::new("/nonexistent"), state: &state },
            src: Path::new("/build/src"),
            obj: Path::new("/build/obj"),
            digests: &digests,
        };
        let mut looks = looked(&[(gcc.to_str().expect("UTF-8"), Look::Read)]);
        let manifest = eyes.manifest(&looks).expect("a complete trace");
        assert_eq!(eyes.fit(&manifest), Fit::Same(None));
        fs::write(&gcc, "13").expect("written");
        assert_eq!(eyes.fit(&manifest), Fit::Other(gcc.display().to_string()));
        looks.gaps.insert(Gap::ForeignCall { program: "old".into() });
        let error = eyes.manifest(&looks).expect_err("not all is known");
        assert!(error.contains("`old`"), "{error}");
    }
}
