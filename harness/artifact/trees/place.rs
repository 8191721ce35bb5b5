//! Where something lies that is compared: in a directory, or in a package.

use std::fs::{self, File, Metadata};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{FileExt as _, FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::super::inside;
use super::super::package::{Entry, Package};
use super::super::sparse::{SparseFile, go_on};
use super::super::walk::{FileKind, escape_path};
use super::super::{ArtifactError, Bounds, Digest};

/// What a file is read through once it is open: itself, or what is inside of it.
pub(super) trait Bytes: Read + Seek {}
impl<T: Read + Seek> Bytes for T {}

/// Where it lies, and what it was when the tree was listed.
#[derive(Debug, Clone)]
pub(super) struct Place {
    /// In a package, where it would lie below it.
    pub(super) disk: PathBuf,
    pub(super) kind: FileKind,
    /// In bytes.
    pub(super) size: u64,
    held: Option<Held>,
}

/// What a package holds.
#[derive(Debug, Clone)]
struct Held {
    spool: Arc<File>,
    at: u64,
    mode: u32,
    told: String,
    sha256: Option<Digest>,
}

/// What something is when it is looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) kind: FileKind,
    /// Permission bits.
    pub(super) mode: u32,
    /// For people.
    pub(super) told: String,
}

impl Place {
    pub(super) fn on_disk(disk: PathBuf, kind: FileKind, size: u64) -> Self {
        Self { disk, kind, size, held: None }
    }

    pub(super) fn in_package(package: &Package, path: &str, entry: &Entry) -> Self {
        let held = Held {
            spool: Arc::clone(&package.spool),
            at: entry.at,
            mode: entry.mode,
            told: entry.told.clone(),
            sha256: entry.sha256,
        };
        Self { disk: package.path.join(path), kind: entry.kind, size: entry.size, held: Some(held) }
    }

    /// Looks again: what a tree has may be another thing since it was listed.
    pub(super) fn look(&self) -> Result<Seen, ArtifactError> {
        if let Some(held) = &self.held {
            return Ok(Seen { kind: self.kind, mode: held.mode, told: held.told.clone() });
        }
        let meta = self.metadata()?;
        let kind = match meta.file_type() {
            kind if kind.is_file() => FileKind::File,
            kind if kind.is_dir() => FileKind::Dir,
            kind if kind.is_symlink() => FileKind::Symlink,
            _ => FileKind::Other,
        };
        Ok(Seen { kind, mode: meta.mode() & 0o7777, told: named(&self.disk, &meta) })
    }

    fn metadata(&self) -> Result<Metadata, ArtifactError> {
        fs::symlink_metadata(&self.disk).map_err(|e| ArtifactError::io("examine", &self.disk, e))
    }

    /// Whether both are known to have the same bytes: a file under two names, or by digests that packages had to take anyway.
    pub(super) fn is(&self, other: &Self) -> bool {
        match (&self.held, &other.held) {
            (Some(a), Some(b)) => a.sha256.is_some() && a.sha256 == b.sha256,
            (None, None) => {
                let identity = |place: &Self| place.metadata().ok().map(|meta| (meta.dev(), meta.ino()));
                identity(self).is_some_and(|own| Some(own) == identity(other))
            }
            _ => false,
        }
    }

    /// Opens a regular file; with its length.
    pub(super) fn open<'c>(&self, bounds: &Bounds<'c>) -> Result<(Box<dyn Bytes + 'c>, u64), ArtifactError> {
        if let Some(held) = &self.held {
            let (file, cancel) = (Arc::clone(&held.spool), bounds.cancel);
            return Ok((Box::new(Window { file, start: held.at, size: self.size, at: 0, cancel }), self.size));
        }
        let file = SparseFile::open(&self.disk, bounds)?;
        let size = file.metadata().map_err(|e| ArtifactError::io("read", &self.disk, e))?.len();
        Ok((Box::new(file), size))
    }

    /// What only one side has, for people.
    pub(super) fn told(&self) -> String {
        match self.kind {
            FileKind::File => inside::bytes(self.size),
            FileKind::Dir => "an empty directory".to_owned(),
            FileKind::Symlink | FileKind::Other => self.look().map_or_else(|_| "gone".to_owned(), |seen| seen.told),
        }
    }
}

/// A part of a file that many read at once.
struct Window<'c> {
    file: Arc<File>,
    start: u64,
    size: u64,
    at: u64,
    cancel: &'c AtomicBool,
}

impl Read for Window<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        go_on(self.cancel)?;
        let left = usize::try_from(self.size.saturating_sub(self.at)).unwrap_or(usize::MAX);
        let n = buffer.len().min(left);
        let n = self.file.read_at(&mut buffer[..n], self.start + self.at)?;
        self.at += n as u64;
        Ok(n)
    }
}

impl Seek for Window<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
            SeekFrom::End(by) => self.size.checked_add_signed(by),
        };
        self.at = at.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

/// What lies under a name, for people.
fn named(path: &Path, meta: &Metadata) -> String {
    let kind = meta.file_type();
    let device =
        |what: &str| format!("{what} device {}:{}", rustix::fs::major(meta.rdev()), rustix::fs::minor(meta.rdev()));
    match () {
        () if kind.is_file() => "a regular file".to_owned(),
        () if kind.is_dir() => "a directory".to_owned(),
        () if kind.is_symlink() => {
            let target = fs::read_link(path).map_or_else(|_| "?".to_owned(), |target| escape_path(&target));
            format!("a symbolic link to {target}")
        }
        () if kind.is_fifo() => "a FIFO".to_owned(),
        () if kind.is_socket() => "a socket".to_owned(),
        () if kind.is_block_device() => device("block"),
        () => device("character"),
    }
}
