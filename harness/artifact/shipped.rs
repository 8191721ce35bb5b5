//! Artifacts that the sources bring along and no build writes: under an overlay they are in the lower directory,
//! and a build that deletes one leaves only a mark in the upper one.

use std::fs::{self, FileType};
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;

use super::{Artifact, ArtifactError, Digest, FileEntry, FileKind, Part, WHOLE, unescape_path, walk};

/// The files below `lower` that fit, by path.
///
/// # Errors
/// The directory cannot be listed.
pub(super) fn candidates(lower: &Path, fits: impl Fn(&str) -> bool) -> Result<Vec<FileEntry>, ArtifactError> {
    let mut entries = walk(lower, |path, kind| kind == FileKind::Dir || fits(path))?;
    entries.retain(|entry| entry.kind != FileKind::Dir);
    Ok(entries)
}

/// An artifact that is no regular file: compared by what kind it is, and a symbolic link by where it leads.
pub(super) fn special(root: &Path, entry: &FileEntry) -> Artifact {
    let path = root.join(unescape_path(&entry.path));
    let text = match fs::read_link(&path) {
        Ok(target) => [b"symbolic link to ", std::os::unix::ffi::OsStrExt::as_bytes(target.as_os_str())].concat(),
        Err(_) => fs::symlink_metadata(&path).map_or("gone", |meta| kind(meta.file_type())).as_bytes().to_vec(),
    };
    let (sha256, size) = (Digest::of(&text), text.len() as u64);
    Artifact {
        path: entry.path.clone(),
        sha256,
        size,
        mode: entry.mode,
        parts: vec![Part { name: WHOLE.into(), offset: 0, size, sha256 }],
        btf: None,
        shipped: false,
        note: Some(String::from_utf8_lossy(&text).into_owned()),
    }
}

fn kind(kind: FileType) -> &'static str {
    match kind {
        kind if kind.is_fifo() => "FIFO",
        kind if kind.is_socket() => "socket",
        kind if kind.is_block_device() || kind.is_char_device() => "device",
        _ => "special file",
    }
}
