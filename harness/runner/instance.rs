//! One tree on disk: its directories, how they are mounted, and what they hold.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use super::command::{Maker, TOOLS};
use crate::sandbox::{self, Change, Content, Mount, Op, Stamp};
use crate::tree::{FileState, State, materialise};

/// Where the sources come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// The built-in mini tree: laid down anew for each tree.
    Mini,
    /// A directory, never written to: an overlay holds the edits.
    Overlay(PathBuf),
    /// A directory that is copied, where the host refuses overlays.
    Copy(PathBuf),
    /// The user's own directory, built in place.
    InPlace(PathBuf),
}

/// One tree on disk.
#[derive(Debug, Clone)]
pub(super) struct Instance {
    pub(super) dir: PathBuf,
    source: Source,
    in_tree: bool,
}

impl Instance {
    /// Makes the directories of a tree; the mini tree and copies are laid down as `state` has them.
    /// What is `hidden` of the sources is not in it.
    pub(super) fn create(
        dir: &Path,
        source: &Source,
        in_tree: bool,
        state: &State,
        hidden: &[&str],
    ) -> io::Result<Self> {
        let instance = Self { dir: dir.to_owned(), source: source.clone(), in_tree };
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
            Source::Copy(from) => copy_tree(from, &dir.join("src"), hidden)?,
            Source::InPlace(_) => {}
        }
        instance.install_tools(state)?;
        Ok(instance)
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

    /// What shows through below the object tree, if that is an overlay's upper directory.
    pub(super) fn lower(&self) -> Option<PathBuf> {
        match &self.source {
            Source::Overlay(lower) if self.in_tree => Some(lower.clone()),
            _ => None,
        }
    }

    /// Whether the sources had a file before any edit.
    fn had(&self, path: &str) -> bool {
        match &self.source {
            Source::Overlay(from) | Source::Copy(from) => from.join(path).symlink_metadata().is_ok(),
            Source::Mini | Source::InPlace(_) => true,
        }
    }

    /// The part of the source tree on the host that edits and builds write to.
    fn written_source(&self) -> PathBuf {
        match &self.source {
            Source::Mini | Source::Copy(_) => self.dir.join("src"),
            Source::Overlay(_) => self.dir.join("upper"),
            Source::InPlace(dir) => dir.clone(),
        }
    }

    /// Directories whose newest file an edit must be newer than.
    pub(super) fn stamped(&self) -> Vec<PathBuf> {
        vec![self.written_source(), self.dir.join("obj")]
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
        if !self.in_tree {
            mounts.push(Mount::Bind { host: self.dir.join("obj"), at: maker.obj.clone().into(), writable: true });
        }
        mounts.push(Mount::Bind { host: self.dir.join("tools"), at: TOOLS.into(), writable: false });
        mounts
    }

    /// The operations that bring a fresh overlay or copy to `state`.
    pub(super) fn initial_ops(&self, maker: &Maker<'_>, state: &State) -> Vec<Op> {
        if self.holds_state() {
            return Vec::new();
        }
        let stamp = Some(Stamp { secs: i64::try_from(materialise::SOURCE_TIME).unwrap_or(0), nanos: 0 });
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

/// Copies a tree with its modes and times, following no symbolic link. `fs::copy` shares blocks where the
/// file system can.
fn copy_tree(from: &Path, to: &Path, hidden: &[&str]) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        if hidden.iter().any(|name| entry.file_name() == *name) {
            continue;
        }
        let (kind, target) = (entry.file_type()?, to.join(entry.file_name()));
        if kind.is_dir() {
            copy_tree(&entry.path(), &target, &[])?;
        } else if kind.is_symlink() {
            symlink(fs::read_link(entry.path())?, &target)?;
        } else if kind.is_file() {
            fs::copy(entry.path(), &target)?;
            let meta = entry.metadata()?;
            let times = fs::FileTimes::new().set_modified(meta.modified()?).set_accessed(meta.modified()?);
            fs::File::open(&target)?.set_times(times)?;
        }
    }
    Ok(())
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
