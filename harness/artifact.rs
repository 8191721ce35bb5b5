//! Stage `artifact`: the bytes a build left behind, made into records.
//!
//! ```text
//! directory --walk--> FileEntry          what is there (never opened)
//! file --describe--> Artifact            digest, parts that cover every byte, BTF facts
//! (Artifact, Artifact) --diff_parts--> PartDiff
//! (file, file, PartDiff) --inside::details--> lines    what differs, in the words of whoever made it
//! (tree, tree) --trees::pair--> Pair --trees::compare--> Looked
//! .BTF bytes --btf::full_text--> text --snapshot--> `.snap` file
//! ```
//!
//! Everything below works on bytes or readers, apart from [`walk`](walk()), [`hash_file`], [`describe`],
//! [`trees`] and [`Snapshot::write`](snapshot::Snapshot::write), which are the thin edge to the file system.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

pub mod booting;
pub mod btf;
pub mod buildinfo;
pub mod database;
mod diff;
mod elf;
pub mod fields;
mod hash;
pub mod inside;
pub mod kernel;
mod meaning;
pub mod modules;
mod opened;
pub mod package;
pub mod packed;
pub mod record;
pub mod recorder;
pub mod sharding;
mod shipped;
pub mod snapshot;
mod sparse;
pub mod steps;
pub mod trees;
mod walk;

pub use btf::{Base, BtfError, BtfFacts};
pub use diff::{PartChange, PartDiff, PartMove, diff_parts};
pub use hash::{Digest, hash_file, hash_file_within, hash_files, hash_reader};
pub use meaning::{Side, btf_difference};
pub use sparse::Bounds;
pub use walk::{FileEntry, FileKind, Mtime, escape_path, unescape_path, walk};

/// `.BTF` sections larger than this many bytes are hashed but not read: 64 MiB is ten times the BTF of a
/// distribution's vmlinux, and a section header can claim anything.
const MAX_BTF_BYTES: u64 = 64 << 20;

/// The name of the only part of a file that is not taken apart.
const WHOLE: &str = "bytes";

/// A named range of a file. The parts of an [`Artifact`] follow each other without hole or overlap.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// A section's name (`.text`, the second of a name as `.BTF#2`), or `ELF header`, `program headers`,
    /// `section headers`, `gap before <next part>`, `tail`, `module signature`, or `bytes` for a whole file.
    pub name: String,
    /// Where the part begins, in bytes from the start of the file.
    pub offset: u64,
    /// Its length in bytes.
    pub size: u64,
    /// SHA-256 of its bytes.
    pub sha256: Digest,
}

/// One output of a build, by content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifact {
    /// Path relative to the tree it belongs to, as [`escape_path`] writes it.
    pub path: String,
    /// SHA-256 of the whole file.
    pub sha256: Digest,
    /// Length in bytes.
    pub size: u64,
    /// Permission bits (`st_mode & 07777`, inode(7)).
    pub mode: u32,
    /// Every byte of the file exactly once, by rising offset; at least one part.
    pub parts: Vec<Part>,
    /// What the `.BTF` sections say, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub btf: Option<BtfFacts>,
    /// Whether it is a file of the sources that no build of this tree wrote.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shipped: bool,
    /// Why the file could not be taken apart although its magic says ELF.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

impl Artifact {
    /// The part called `name`, if there is one.
    pub fn part(&self, name: &str) -> Option<&Part> {
        self.parts.iter().find(|part| part.name == name)
    }
}

/// What can go wrong between a path and a record. Never a finding: it is about the host or about us.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArtifactError {
    /// A file or directory could not be read or written.
    #[error("cannot {action} `{}`", path.display())]
    Io {
        /// What was being done: `read`, `list`, `write`, ...
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// A directory, device, socket or FIFO where a regular file was expected.
    #[error("`{}` is not a regular file", path.display())]
    NotAFile {
        /// The path that was given.
        path: PathBuf,
    },
    /// A file that is longer than what is read.
    #[error("`{}` is {} GiB long, more than the {} GiB that are read", path.display(), size >> 30, largest >> 30)]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its length in bytes.
        size: u64,
        /// The bound in bytes.
        largest: u64,
    },
    /// Everything was to stop meanwhile.
    #[error("stopped")]
    Stopped,
    /// The file's length changed between two looks at it.
    #[error("`{}` changed while it was read", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// A snapshot file that insta would not read either.
    #[error("cannot use snapshot `{}`", path.display())]
    Snapshot {
        /// The `.snap` file.
        path: PathBuf,
        /// What is wrong with its text.
        source: snapshot::SnapshotError,
    },
}

impl ArtifactError {
    /// What the reader of the message can do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Io { source, .. } => match source.kind() {
                io::ErrorKind::PermissionDenied => Some("the tree must be readable by the user that runs the harness"),
                io::ErrorKind::StorageFull => Some("free some space, or choose another directory"),
                _ => None,
            },
            Self::NotAFile { .. } => Some("only regular files are compared"),
            Self::TooLarge { .. } => Some("raise `limits.disk`, or leave it out of what is compared"),
            Self::Stopped => None,
            Self::Changed { .. } => Some("is a build still running in this tree?"),
            Self::Snapshot { source, .. } => source.hint(),
        }
    }

    /// Whether it is what a build left behind that cannot be looked at, and not the host or us.
    #[must_use]
    pub fn is_of_the_build(&self) -> bool {
        match self {
            Self::Io { source, .. } => {
                matches!(source.raw_os_error(), Some(libc::EACCES | libc::EPERM | libc::ENAMETOOLONG | libc::ELOOP))
            }
            Self::NotAFile { .. } | Self::TooLarge { .. } => true,
            Self::Stopped | Self::Changed { .. } | Self::Snapshot { .. } => false,
        }
    }

    /// What it is about.
    #[must_use]
    pub fn place(&self) -> &Path {
        match self {
            Self::Io { path, .. }
            | Self::NotAFile { path }
            | Self::TooLarge { path, .. }
            | Self::Changed { path }
            | Self::Snapshot { path, .. } => path,
            Self::Stopped => Path::new(""),
        }
    }

    /// The error with its causes.
    #[must_use]
    pub fn told(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            text.push_str(&format!(": {error}"));
            cause = error.source();
        }
        text
    }

    fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        if sparse::is_stop(&source) { Self::Stopped } else { Self::Io { action, path: path.to_owned(), source } }
    }
}

/// Describes one file; function names that live in a base's strings stay unnamed.
///
/// `rel_path` goes into the record as it is. Memory is bounded by the section headers and `.BTF`, not by the file.
///
/// # Errors
/// [`ArtifactError`] when the file cannot be read, is not a regular file, or changes meanwhile. A malformed
/// ELF file is no error: it becomes one part `bytes` and a note.
pub fn describe(path_on_disk: &Path, rel_path: &str) -> Result<Artifact, ArtifactError> {
    describe_with_base(path_on_disk, rel_path, None)
}

/// As [`describe`], naming the functions of split BTF through `base`, the BTF of the vmlinux it was made for.
///
/// # Errors
/// As [`describe`].
pub fn describe_with_base(path_on_disk: &Path, rel_path: &str, base: Option<&Base>) -> Result<Artifact, ArtifactError> {
    describe_within(path_on_disk, rel_path, base, &Bounds::none())
}

/// As [`describe_with_base`], within bounds.
///
/// # Errors
/// As [`describe`], and [`ArtifactError::TooLarge`] or [`ArtifactError::Stopped`].
pub fn describe_within(
    path_on_disk: &Path,
    rel_path: &str,
    base: Option<&Base>,
    bounds: &Bounds<'_>,
) -> Result<Artifact, ArtifactError> {
    let read_error = |e| ArtifactError::io("read", path_on_disk, e);
    let mut file = sparse::SparseFile::open(path_on_disk, bounds)?;
    let meta = file.metadata().map_err(read_error)?;
    let record = describe_reader(&mut file, rel_path, base).map_err(|e| match e.kind() {
        io::ErrorKind::UnexpectedEof => ArtifactError::Changed { path: path_on_disk.to_owned() },
        _ => read_error(e),
    })?;
    if record.size != meta.len() {
        return Err(ArtifactError::Changed { path: path_on_disk.to_owned() });
    }
    Ok(Artifact { mode: meta.permissions().mode() & 0o7777, ..record })
}

/// The pure part of [`describe_with_base`]; `mode` stays 0.
///
/// # Errors
/// What the reader says; [`io::ErrorKind::UnexpectedEof`] when it ends before or after its own length.
pub fn describe_reader<R: Read + Seek>(reader: &mut R, rel_path: &str, base: Option<&Base>) -> io::Result<Artifact> {
    let size = reader.seek(SeekFrom::End(0))?;
    reader.seek(SeekFrom::Start(0))?;
    let whole = || vec![elf::Span { name: WHOLE.to_owned(), offset: 0, size }];
    let (spans, note) = match elf::layout(&mut *reader, size)? {
        elf::Layout::NotElf => (whole(), None),
        elf::Layout::Malformed(why) => (whole(), Some(format!("not taken apart: {why}"))),
        elf::Layout::Elf(spans) => (spans, None),
    };

    reader.seek(SeekFrom::Start(0))?;
    let mut stream = hash::Chunks::new(reader);
    let mut file_hash = Sha256::new();
    let mut parts = Vec::with_capacity(spans.len());
    let mut btf_sections: Vec<Vec<u8>> = Vec::new();
    let mut own_base: Option<Vec<u8>> = None;
    let mut btf_count = 0;
    for span in spans {
        let is_btf = elf::section_name(&span.name) == ".BTF";
        let is_base = elf::section_name(&span.name) == ".BTF.base";
        btf_count += u32::from(is_btf);
        let mut kept = Vec::new();
        // With one part, the file's digest is the part's: do not hash everything twice.
        let sha256 = if span.size == size {
            stream.take(size, |chunk| file_hash.update(chunk))?;
            Digest(file_hash.clone().finalize().into())
        } else {
            let mut part_hash = Sha256::new();
            let first = is_btf && btf_sections.is_empty() || is_base && own_base.is_none();
            let keep = first && span.size <= MAX_BTF_BYTES;
            stream.take(span.size, |chunk| {
                file_hash.update(chunk);
                part_hash.update(chunk);
                if keep {
                    kept.extend_from_slice(chunk);
                }
            })?;
            match keep {
                true if is_base => own_base = Some(kept),
                true => btf_sections.push(kept),
                false => {}
            }
            Digest(part_hash.finalize().into())
        };
        parts.push(Part { name: span.name, offset: span.offset, size: span.size, sha256 });
    }
    if !stream.at_end()? {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    // A module that has a base of its own is relocated by the kernel, and does not depend on vmlinux as it is.
    let own_base = own_base.map(Base::parse);
    let base = match &own_base {
        Some(Ok(own)) => Some(own),
        Some(Err(_)) => None,
        None => base,
    };
    let btf = (btf_count > 0).then(|| {
        let first = parts.iter().find(|p| p.name == ".BTF").map(|p| p.sha256);
        match (btf_sections.first(), first) {
            (Some(bytes), _) => BtfFacts::of(bytes, btf_count, base),
            (None, digest) => BtfFacts::unread(btf_count, digest.unwrap_or_default()),
        }
    });
    Ok(Artifact {
        path: rel_path.to_owned(),
        sha256: Digest(file_hash.finalize().into()),
        size,
        mode: 0,
        parts,
        btf,
        shipped: false,
        note,
    })
}

/// What the kernel calls the module in a file: `KBUILD_MODNAME`, `sha_256` for `crypto/sha-256.ko` and for `sha-256.ko.xz`.
#[must_use]
pub fn module_name(path: &str) -> Option<String> {
    let file = path.rsplit('/').next().unwrap_or(path);
    let plain = packed::Packing::of(file).map_or(file, |(_, plain)| plain);
    Some(plain.strip_suffix(".ko")?.replace('-', "_"))
}

/// The bytes of a file's first section of this name, if it is an ELF file that has one.
///
/// # Errors
/// The file cannot be read.
pub fn section(path: &Path, name: &str) -> io::Result<Option<Vec<u8>>> {
    match File::open(path) {
        Ok(mut file) => section_of(&mut file, name),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// As [`section`], of whatever can be read.
fn section_of<R: Read + Seek>(file: &mut R, name: &str) -> io::Result<Option<Vec<u8>>> {
    let size = file.seek(SeekFrom::End(0))?;
    file.seek(SeekFrom::Start(0))?;
    let elf::Layout::Elf(spans) = elf::layout(&mut *file, size)? else { return Ok(None) };
    let Some(span) = spans.iter().find(|span| span.name == name && span.size <= MAX_BTF_BYTES) else { return Ok(None) };
    file.seek(SeekFrom::Start(span.offset))?;
    let mut bytes = Vec::new();
    file.take(span.size).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

/// Reads one part of a file that was described before, such as the `.BTF` of a vmlinux.
///
/// # Errors
/// [`ArtifactError::Io`] when it cannot be read, [`ArtifactError::Changed`] when its bytes are no longer those.
pub fn read_part(path_on_disk: &Path, part: &Part) -> Result<Vec<u8>, ArtifactError> {
    let read_error = |e| ArtifactError::io("read", path_on_disk, e);
    let mut file = File::open(path_on_disk).map_err(read_error)?;
    file.seek(SeekFrom::Start(part.offset)).map_err(read_error)?;
    let mut bytes = Vec::new();
    // `take` bounds the memory by what the file has, whatever a record from disk claims.
    file.take(part.size).read_to_end(&mut bytes).map_err(read_error)?;
    if Digest::of(&bytes) != part.sha256 {
        return Err(ArtifactError::Changed { path: path_on_disk.to_owned() });
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests;
