//! Artifacts that the sources bring along and no build writes: under an overlay they are in the lower directory,
//! and a build that deletes one leaves only a mark in the upper one.

use std::fs::{self, FileType};
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;

use super::{Artifact, ArtifactError, Digest, FileEntry, FileKind, Part, WHOLE, unescape_path, walk};

/// By which an overlay's upper directory says that it hides the lower one of the same name, as root and as an
/// ordinary user (Documentation/filesystems/overlayfs.rst, "Permission model" and "Whiteouts and Opaque Directories").
const OPAQUE: [&str; 2] = ["trusted.overlay.opaque", "user.overlay.opaque"];

/// The files below `lower` that fit, by path.
///
/// # Errors
/// The directory cannot be listed.
pub(super) fn candidates(lower: &Path, fits: impl Fn(&str) -> bool) -> Result<Vec<FileEntry>, ArtifactError> {
    let mut entries = walk(lower, |path, kind| kind == FileKind::Dir || fits(path))?;
    entries.retain(|entry| entry.kind != FileKind::Dir);
    Ok(entries)
}

/// Whether an overlay shows the lower directory's file: nothing in the upper directory replaces or hides it.
pub(super) fn shows_through(upper: &Path, path: &str) -> bool {
    let mut at = upper.to_owned();
    for part in &unescape_path(path) {
        at.push(part);
        match fs::symlink_metadata(&at) {
            // What the upper directory does not have it does not hide either.
            Err(_) => return true,
            Ok(meta) if meta.is_dir() && !is_opaque(&at) => {}
            Ok(_) => return false,
        }
    }
    false
}

fn is_opaque(dir: &Path) -> bool {
    let mut value = [0; 8];
    OPAQUE
        .iter()
        .any(|name| rustix::fs::lgetxattr(dir, *name, &mut value[..]).is_ok_and(|length| value[..length] == *b"y"))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_deleted_replaced_or_below_a_file_does_not_show_through() {
        let dir = tempfile::tempdir().expect("a directory");
        let upper = dir.path();
        fs::create_dir_all(upper.join("a/b")).expect("made");
        fs::write(upper.join("a/replaced"), "x").expect("written");
        fs::write(upper.join("file"), "x").expect("written");
        assert!(shows_through(upper, "a/b/c.bin") && shows_through(upper, "other/c.bin"));
        assert!(!shows_through(upper, "a/replaced") && !shows_through(upper, "file/below"));
    }
}
