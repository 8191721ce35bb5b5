//! One tree on disk: its directories, how they are mounted, and what they hold.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::command::{Maker, TOOLS};
use super::copy::{age, copy_some, copy_tree_without};
use super::prepared::Prepared;
use crate::sandbox::{self, Change, Content, Mount, Op, Stamp, overlay};
use crate::tree::source::{Part, needed_by_graft};
use crate::tree::{FileState, State, materialise};

/// Where the sources come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The built-in mini tree: laid down anew for each tree.
    Mini,
    /// A directory, never written to: an overlay holds the edits.
    Overlay(PathBuf),
    /// A directory of which so much is copied, where the host refuses overlays.
    Copy(PathBuf, Part),
    /// The user's own directory, built in place.
    InPlace(PathBuf),
}

/// One tree on disk.
#[derive(Debug, Clone)]
pub(super) struct Instance {
    pub(super) dir: PathBuf,
    source: Source,
    in_tree: bool,
    /// What of the sources is not in it.
    hidden: &'static [&'static str],
    /// What lies below the object tree.
    prepared: Option<Arc<Prepared>>,
    /// By how many seconds the sources are older than they are elsewhere.
    older: u32,
}

impl Instance {
    /// Makes the directories of a tree; the mini tree and copies are laid down as `state` has them.
    /// What is `hidden` of the sources is not in it. Those of an overlay are not ours to be made `older`.
    pub(super) fn create(
        dir: &Path,
        source: &Source,
        in_tree: bool,
        state: &State,
        hidden: &'static [&'static str],
        older: u32,
    ) -> io::Result<Self> {
        let instance = Self { dir: dir.to_owned(), source: source.clone(), in_tree, hidden, prepared: None, older };
        fs::DirBuilder::new().recursive(true).mode(0o755).create(dir)?;
        for name in ["obj", "tools"] {
            fs::create_dir_all(dir.join(name))?;
        }
        match source {
            Source::Mini => {
                fs::create_dir_all(dir.join("src"))?;
                materialise::mini(&dir.join("src"), state)?;
                for (path, file) in &state.files {
                    if *file == FileState::Deleted {
                        remove_if_there(&dir.join("src").join(path))?;
                    }
                }
            }
            Source::Overlay(lower) => {
                fs::create_dir_all(dir.join("upper"))?;
                fs::create_dir_all(dir.join("work"))?;
                for name in hidden.iter().filter(|name| lower.join(name).symlink_metadata().is_ok()) {
                    whiteout(&dir.join("upper").join(name))?;
                }
            }
            Source::Copy(from, Part::Whole) => copy_tree_without(from, &dir.join("src"), hidden)?,
            Source::Copy(from, Part::Graft) => copy_some(from, &dir.join("src"), &needed_by_graft)?,
            Source::InPlace(_) => {}
        }
        if older > 0 && matches!(source, Source::Mini | Source::Copy(..)) {
            age(&dir.join("src"), older)?;
        }
        instance.install_tools(state)?;
        Ok(instance)
    }

    /// Has the object tree start from a prepared one; nothing was built yet.
    pub(super) fn start_from(&mut self, prepared: Prepared) -> io::Result<()> {
        fs::create_dir_all(self.dir.join("obj-work"))?;
        self.prepared = Some(Arc::new(prepared));
        Ok(())
    }

    /// What the object tree started from.
    pub(super) fn prepared(&self) -> Option<&Arc<Prepared>> {
        self.prepared.as_ref()
    }

    /// The tree moved to another directory.
    pub(super) fn at(&self, dir: &Path) -> Self {
        Self { dir: dir.to_owned(), ..self.clone() }
    }

    /// Whether `create` already laid the files of the state down.
    pub(super) fn holds_state(&self) -> bool {
        self.source == Source::Mini
    }

    /// Writes the scenario's own programs.
    pub(super) fn install_tools(&self, state: &State) -> io::Result<()> {
        let dir = self.dir.join("tools");
        for entry in fs::read_dir(&dir)? {
            let entry = entry?;
            if !entry.file_name().to_str().is_some_and(|name| state.tools.contains_key(name)) {
                fs::remove_file(entry.path())?;
            }
        }
        for (name, tool) in &state.tools {
            let path = dir.join(name);
            remove_if_there(&path)?;
            match (&tool.script, &tool.path) {
                (Some(script), _) => {
                    fs::write(&path, script)?;
                    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
                }
                (None, Some(target)) => symlink(target, &path)?,
                (None, None) => {}
            }
        }
        Ok(())
    }

    /// The object tree on the host. Of an overlay it is the upper directory: what the build wrote.
    pub(super) fn objtree(&self) -> PathBuf {
        if self.in_tree { self.written_source() } else { self.dir.join("obj") }
    }

    /// Where a file of the object tree is on the host, if it is there.
    pub(super) fn object(&self, path: &str) -> Option<PathBuf> {
        match &self.prepared {
            Some(prepared) => overlay::shown(&self.objtree(), prepared.dir(), Path::new(path)),
            None => Some(self.objtree().join(path)).filter(|path| path.symlink_metadata().is_ok()),
        }
    }

    /// What of the sources shows through below the object tree, if that is an overlay's upper directory.
    pub(super) fn lower(&self) -> Option<PathBuf> {
        match &self.source {
            Source::Overlay(lower) if self.in_tree => Some(lower.clone()),
            _ => None,
        }
    }

    /// Whether the upper directory of the sources holds nothing but the state's own files: no command wrote there.
    pub(super) fn sources_untouched(&self, state: &State) -> bool {
        let own = |path: &str| match (state.files.get(path), fs::symlink_metadata(self.written_source().join(path))) {
            (Some(FileState::Present { bytes, mode }), Ok(meta)) if meta.is_file() => {
                meta.permissions().mode() & 0o7777 == *mode
                    && fs::read(self.written_source().join(path)).is_ok_and(|have| have == **bytes)
            }
            (Some(FileState::Deleted), Ok(meta)) => overlay::is_whiteout(&meta),
            // A directory of the state's own files, or of the sources', which overlayfs copied up.
            (None, Ok(meta)) if meta.is_dir() => {
                let below = format!("{path}/");
                self.had(path)
                    || state.files.range(below.clone()..).next().is_some_and(|(own, _)| own.starts_with(&below))
            }
            _ => self.hidden.contains(&path),
        };
        all_below(&self.written_source(), "", &own).unwrap_or(false)
    }

    /// Whether the sources had a file before any edit.
    fn had(&self, path: &str) -> bool {
        match &self.source {
            Source::Overlay(from) | Source::Copy(from, _) => from.join(path).symlink_metadata().is_ok(),
            Source::Mini | Source::InPlace(_) => true,
        }
    }

    /// The part of the source tree on the host that edits and builds write to.
    fn written_source(&self) -> PathBuf {
        match &self.source {
            Source::Mini | Source::Copy(..) => self.dir.join("src"),
            Source::Overlay(_) => self.dir.join("upper"),
            Source::InPlace(dir) => dir.clone(),
        }
    }

    /// Directories whose newest file an edit must be newer than.
    pub(super) fn stamped(&self) -> Vec<PathBuf> {
        let prepared = self.prepared.iter().map(|prepared| prepared.dir().to_owned());
        [self.written_source(), self.dir.join("obj")].into_iter().chain(prepared).collect()
    }

    /// How the tree is mounted.
    pub(super) fn mounts(&self, maker: &Maker<'_>) -> Vec<Mount> {
        let src = PathBuf::from(&maker.src);
        let mut mounts = vec![match &self.source {
            Source::Overlay(lower) => Mount::Overlay {
                lower: vec![lower.clone()],
                upper: self.dir.join("upper"),
                work: self.dir.join("work"),
                at: src,
            },
            _ => Mount::Bind { host: self.written_source(), at: src, writable: true },
        }];
        let (obj, at) = (self.dir.join("obj"), PathBuf::from(&maker.obj));
        mounts.extend(match &self.prepared {
            _ if self.in_tree => None,
            Some(prepared) => Some(Mount::Overlay {
                lower: vec![prepared.dir().to_owned()],
                upper: obj,
                work: self.dir.join("obj-work"),
                at,
            }),
            None => Some(Mount::Bind { host: obj, at, writable: true }),
        });
        mounts.push(Mount::Bind { host: self.dir.join("tools"), at: TOOLS.into(), writable: false });
        mounts
    }

    /// The operations that bring a fresh overlay or copy to `state`.
    pub(super) fn initial_ops(&self, maker: &Maker<'_>, state: &State) -> Vec<Op> {
        if self.holds_state() {
            return Vec::new();
        }
        let secs = i64::try_from(materialise::SOURCE_TIME).unwrap_or(0) - i64::from(self.older);
        let stamp = Some(Stamp { secs, nanos: 0 });
        state
            .files
            .iter()
            // A file that one edit made and another took away was never there.
            .filter(|(path, file)| **file != FileState::Deleted || self.had(path))
            .map(|(path, file)| {
                let (change, stamp) = match file {
                    FileState::Present { bytes, mode } => {
                        (Change::Write { content: Content::Bytes(bytes.to_vec()), mode: Some(*mode) }, stamp)
                    }
                    FileState::Deleted => (Change::Delete { tree: false }, None),
                };
                Op { root: maker.src.clone().into(), path: path.into(), change, stamp }
            })
            .collect()
    }

    /// Removes the tree.
    pub(super) fn remove(&self) -> io::Result<()> {
        sandbox::remove_tree(&self.dir)
    }
}

/// Whether `fits` holds for every path below a directory.
fn all_below(top: &Path, below: &str, fits: &dyn Fn(&str) -> bool) -> io::Result<bool> {
    for entry in fs::read_dir(top.join(below))? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { return Ok(false) };
        let path = if below.is_empty() { name } else { format!("{below}/{name}") };
        let fine = fits(&path) && (!entry.file_type()?.is_dir() || all_below(top, &path, fits)?);
        if !fine {
            return Ok(false);
        }
    }
    Ok(true)
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Marks a file or directory of the lower layer as removed: a character device 0:0, which anybody may make
/// (Documentation/filesystems/overlayfs.rst, "whiteouts and opaque directories"; a3c751a50fe6, v5.8).
fn whiteout(path: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
    Ok(mknodat(CWD, path, FileType::CharacterDevice, Mode::empty(), makedev(0, 0))?)
}

/// Bytes that a directory takes on disk; what vanishes meanwhile is not counted.
#[must_use]
pub fn directory_size(dir: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(dir) else { return 0 };
    entries
        .filter_map(Result::ok)
        .map(|entry| match entry.file_type() {
            Ok(kind) if kind.is_dir() => directory_size(&entry.path()),
            Ok(_) => entry.metadata().map_or(0, |meta| meta.blocks() * 512),
            Err(_) => 0,
        })
        .sum()
}
