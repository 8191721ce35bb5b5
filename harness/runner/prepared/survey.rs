//! What is in a prepared object tree, down to the last byte: taken when it is kept, compared when it is used.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::tree::source::sha256_file;

/// One entry of the tree.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Item {
    /// Relative to the top of the tree.
    pub(super) path: String,
    /// Permission bits.
    pub(super) mode: u32,
    /// Modification time: seconds and nanoseconds since the epoch.
    pub(super) mtime: (i64, i64),
    /// What it is.
    pub(super) what: What,
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum What {
    /// A directory.
    Dir,
    /// A symbolic link, and where it leads.
    Link(String),
    /// A regular file.
    File {
        /// Bytes.
        size: u64,
        /// SHA-256, hexadecimal.
        sha256: String,
    },
}

/// Everything below `top`, by path.
///
/// # Errors
/// What the file system answers; a name that is no UTF-8, or an entry that is neither file, directory nor link:
/// kbuild makes none.
pub(super) fn survey(top: &Path) -> io::Result<Vec<Item>> {
    let mut found = Vec::new();
    walk(top, "", &mut found)?;
    let mut items: Vec<Item> = found.into_par_iter().map(|path| item(top, path)).collect::<io::Result<_>>()?;
    items.sort();
    Ok(items)
}

/// Refuses a tree with anything in it that [`survey`] would refuse, without reading files.
///
/// # Errors
/// As [`survey`].
pub(super) fn check(top: &Path) -> io::Result<()> {
    let mut found = Vec::new();
    walk(top, "", &mut found)?;
    for path in found {
        let kind = fs::symlink_metadata(top.join(&path))?.file_type();
        if !(kind.is_dir() || kind.is_symlink() || kind.is_file()) {
            return Err(odd(&path));
        }
    }
    Ok(())
}

fn walk(dir: &Path, prefix: &str, found: &mut Vec<String>) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name().into_string().map_err(|name| odd(&name.to_string_lossy()))?;
        let path = format!("{prefix}{name}");
        if entry.file_type()?.is_dir() {
            walk(&entry.path(), &format!("{path}/"), found)?;
        }
        found.push(path);
    }
    Ok(())
}

fn item(top: &Path, path: String) -> io::Result<Item> {
    let place = top.join(&path);
    let meta = fs::symlink_metadata(&place)?;
    let what = if meta.is_dir() {
        What::Dir
    } else if meta.is_symlink() {
        What::Link(fs::read_link(&place)?.into_os_string().into_string().map_err(|_| odd(&path))?)
    } else if meta.is_file() {
        What::File { size: meta.len(), sha256: sha256_file(&place, &mut |_| {})? }
    } else {
        return Err(odd(&path));
    };
    Ok(Item { path, mode: meta.mode() & 0o7777, mtime: (meta.mtime(), meta.mtime_nsec()), what })
}

fn odd(path: &str) -> io::Error {
    io::Error::other(format!("`{path}` is nothing that a preparation leaves behind"))
}
