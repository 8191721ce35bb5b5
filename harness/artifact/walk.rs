//! What lies in a directory, without opening any of it.

use std::borrow::Cow;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs::{self, FileType, Metadata};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::ArtifactError;
use super::opened::Opened;

/// What a directory entry is; everything that is never compared by content is `Other`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FileKind {
    /// A regular file.
    File,
    /// A directory.
    Dir,
    /// A symbolic link, never followed.
    Symlink,
    /// A device, socket or FIFO.
    Other,
}

/// A modification time: seconds since the epoch and nanoseconds, as in `st_mtim` (inode(7)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Mtime {
    /// Whole seconds since 1970-01-01 UTC; negative before.
    pub secs: i64,
    /// Nanoseconds within the second.
    pub nanos: u32,
}

/// One directory entry, as lstat(2) saw it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Relative to the root of the walk, `/` between components, escaped by [`escape_path`].
    pub path: String,
    /// What it is.
    pub kind: FileKind,
    /// Length in bytes; for a symbolic link that of its target's name.
    pub size: u64,
    /// When its content last changed.
    pub mtime: Mtime,
    /// Inode number: another one under the same name means replaced, not rewritten.
    pub ino: u64,
    /// Permission bits (`st_mode & 07777`).
    pub mode: u32,
}

/// All entries below `root` for which `filter` holds, sorted by the bytes of their path.
///
/// A directory that `filter` turns down is not entered. Symbolic links are not followed (`root` itself may
/// be one), and overlay whiteouts — character devices 0:0, see `Documentation/filesystems/overlayfs.rst` — are
/// left out. What vanishes during the walk was not there.
///
/// # Errors
/// [`ArtifactError::Io`] with the path of a directory that cannot be listed.
pub fn walk(root: &Path, filter: impl Fn(&str, FileKind) -> bool) -> Result<Vec<FileEntry>, ArtifactError> {
    walk_with(root, None, Err, filter)
}

/// As [`walk()`], going on past directories and entries that cannot be looked at, which are handed to `lost`.
///
/// # Errors
/// [`ArtifactError::Io`] when `root` itself cannot be listed.
pub(super) fn walk_past(root: &Path, lost: &mut Vec<ArtifactError>) -> Result<Vec<FileEntry>, ArtifactError> {
    let past = |error| {
        lost.push(error);
        Ok(())
    };
    walk_with(root, None, past, |_, _| true)
}

/// As [`walk()`] of a tree that may be written to: what was opened for it stays open for as long as `opened` does.
/// The entries have the modes from before.
pub(super) fn walk_opening(
    root: &Path,
    opened: &mut Opened,
    filter: impl Fn(&str, FileKind) -> bool,
) -> Result<Vec<FileEntry>, ArtifactError> {
    walk_with(root, Some(opened), Err, filter)
}

fn walk_with(
    root: &Path,
    mut opened: Option<&mut Opened>,
    mut lost: impl FnMut(ArtifactError) -> Result<(), ArtifactError>,
    filter: impl Fn(&str, FileKind) -> bool,
) -> Result<Vec<FileEntry>, ArtifactError> {
    let mut open = |path: &Path, meta: &Metadata| match &mut opened {
        Some(opened) => opened.open(path, meta).map_err(|e| ArtifactError::io("open", path, e)),
        None => Ok(()),
    };
    let mut entries = Vec::new();
    let top = fs::metadata(root).map_err(|e| ArtifactError::io("list", root, e))?;
    open(root, &top)?;
    // A stack instead of recursion: the depth of a tree is not ours to choose.
    let mut pending = vec![(root.to_owned(), String::new())];
    while let Some((dir, prefix)) = pending.pop() {
        let list_error = |e| ArtifactError::io("list", &dir, e);
        let listing = match fs::read_dir(&dir) {
            Ok(listing) => listing,
            Err(e) if has_vanished(&e) && dir != root => continue,
            Err(e) if dir == root => return Err(list_error(e)),
            Err(e) => {
                lost(list_error(e))?;
                continue;
            }
        };
        for entry in listing {
            let entry = match entry {
                Ok(entry) => entry,
                Err(e) if has_vanished(&e) => continue,
                Err(e) => {
                    lost(list_error(e))?;
                    // what comes after an error of readdir(3) may be the same error again
                    break;
                }
            };
            let meta = match entry.metadata() {
                Ok(meta) => meta,
                Err(e) if has_vanished(&e) => continue,
                Err(e) => {
                    lost(ArtifactError::io("examine", &entry.path(), e))?;
                    continue;
                }
            };
            let kind = kind_of(meta.file_type());
            let path = format!("{prefix}{}", escape_path(Path::new(&entry.file_name())));
            if is_whiteout(&meta) || !filter(&path, kind) {
                continue;
            }
            open(&entry.path(), &meta)?;
            if kind == FileKind::Dir {
                pending.push((entry.path(), format!("{path}/")));
            }
            entries.push(FileEntry {
                path,
                kind,
                size: meta.size(),
                mtime: Mtime { secs: meta.mtime(), nanos: meta.mtime_nsec().try_into().unwrap_or(0) },
                ino: meta.ino(),
                mode: meta.mode() & 0o7777,
            });
        }
    }
    entries.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    Ok(entries)
}

fn kind_of(file_type: FileType) -> FileKind {
    if file_type.is_file() {
        FileKind::File
    } else if file_type.is_dir() {
        FileKind::Dir
    } else if file_type.is_symlink() {
        FileKind::Symlink
    } else {
        FileKind::Other
    }
}

fn is_whiteout(meta: &Metadata) -> bool {
    meta.file_type().is_char_device() && meta.rdev() == 0
}

/// Gone, or turned into something else between the listing and the look.
fn has_vanished(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// A path as text, without loss: bytes that are not UTF-8, control characters and `\` itself become `\xNN`.
pub fn escape_path(path: &Path) -> String {
    escape_bytes(path.as_os_str().as_bytes())
}

/// [`escape_path`] for any name that came out of a file.
pub(super) fn escape_bytes(bytes: &[u8]) -> String {
    escaped(bytes).into_owned()
}

/// As [`escape_bytes`], without a copy of what stands for itself, as almost all names do.
pub(super) fn escaped(bytes: &[u8]) -> Cow<'_, str> {
    // No early end: so the compiler looks at many bytes at once.
    let plain = bytes.iter().fold(true, |plain, byte| plain & matches!(byte, b' '..=b'~') & (*byte != b'\\'));
    if let Some(text) = plain.then(|| str::from_utf8(bytes).ok()).flatten() {
        return Cow::Borrowed(text);
    }
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c == '\\' || c.is_control() {
                let mut utf8 = [0; 4];
                for byte in c.encode_utf8(&mut utf8).bytes() {
                    push_escaped(&mut text, byte);
                }
            } else {
                text.push(c);
            }
        }
        for &byte in chunk.invalid() {
            push_escaped(&mut text, byte);
        }
    }
    Cow::Owned(text)
}

fn push_escaped(text: &mut String, byte: u8) {
    // Writing to a String cannot fail.
    let _ = write!(text, "\\x{byte:02x}");
}

/// The path that [`escape_path`] wrote; a `\` that begins no escape stands for itself.
pub fn unescape_path(text: &str) -> PathBuf {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        match escaped_byte(rest) {
            Some(byte) => {
                bytes.push(byte);
                rest = &rest[4..];
            }
            None => {
                bytes.push(first);
                rest = tail;
            }
        }
    }
    PathBuf::from(OsString::from_vec(bytes))
}

fn escaped_byte(text: &[u8]) -> Option<u8> {
    let digits = text.strip_prefix(b"\\x")?.get(..2)?;
    let digits = str::from_utf8(digits).ok()?;
    if !digits.bytes().all(|d| d.is_ascii_hexdigit()) {
        return None;
    }
    u8::from_str_radix(digits, 16).ok()
}
