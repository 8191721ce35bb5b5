//! Readers: of the source tree below the edits, and of the files beside a scenario.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use include_dir::{Dir, include_dir};

/// The built-in mini tree, so that a first run needs nothing but this binary, make and gcc.
static MINI: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/scenarios/trees/mini");
static GRAFT: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/scenarios/trees/graft");
static GRAFT_X86: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/scenarios/trees/graft-x86");

/// A file of the lower tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LowerFile {
    /// Content.
    pub bytes: Vec<u8>,
    /// Permission bits.
    pub mode: u32,
}

/// The source tree below the edits; read only.
pub trait Lower: Sync {
    /// The regular file at `path`, if it is one.
    ///
    /// # Errors
    /// Reading failed otherwise than by its absence.
    fn read(&self, path: &str) -> io::Result<Option<LowerFile>>;

    /// The paths of all files below the directory `dir`, sorted; empty if it is none.
    ///
    /// # Errors
    /// A directory could not be read.
    fn below(&self, dir: &str) -> io::Result<Vec<String>>;

    /// The names in the directory `dir` (`""` is the top), sorted; empty if it is none.
    ///
    /// # Errors
    /// The directory could not be read.
    fn names(&self, dir: &str) -> io::Result<Vec<String>>;

    /// Whether `path` is, by a symbolic link, a file outside of the tree: nothing that the tree's owner edits.
    fn leads_out(&self, _path: &str) -> bool {
        false
    }
}

/// A source tree in a directory of the host.
#[derive(Debug, Clone)]
pub struct DirLower(pub PathBuf);

impl Lower for DirLower {
    fn read(&self, path: &str) -> io::Result<Option<LowerFile>> {
        let path = self.0.join(path);
        match fs::metadata(&path) {
            Ok(meta) if meta.is_file() => {
                Ok(Some(LowerFile { bytes: fs::read(&path)?, mode: meta.permissions().mode() & 0o7777 }))
            }
            Ok(_) => Ok(None),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn below(&self, dir: &str) -> io::Result<Vec<String>> {
        let mut found = Vec::new();
        walk(&self.0.join(dir), dir, &mut found)?;
        found.sort();
        Ok(found)
    }

    fn names(&self, dir: &str) -> io::Result<Vec<String>> {
        match fs::read_dir(self.0.join(dir)) {
            Ok(entries) => {
                let mut names: Vec<String> =
                    entries.filter_map(Result::ok).filter_map(|entry| entry.file_name().into_string().ok()).collect();
                names.sort();
                Ok(names)
            }
            Err(_) => Ok(Vec::new()),
        }
    }

    fn leads_out(&self, path: &str) -> bool {
        let real = |path: &Path| path.canonicalize();
        matches!((real(&self.0), real(&self.0.join(path))), (Ok(top), Ok(file)) if !file.starts_with(&top))
    }
}

/// Lists the files below `dir`, following no symbolic link.
fn walk(dir: &Path, relative: &str, found: &mut Vec<String>) -> io::Result<()> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let entry = entry?;
        // A name that is not UTF-8 cannot be written in a scenario either.
        let Ok(name) = entry.file_name().into_string() else { continue };
        let path = if relative.is_empty() { name } else { format!("{relative}/{name}") };
        if entry.file_type()?.is_dir() {
            walk(&entry.path(), &path, found)?;
        } else {
            found.push(path);
        }
    }
    Ok(())
}

/// The mini tree built into this binary.
#[derive(Debug, Clone, Copy, Default)]
pub struct MiniLower;

impl MiniLower {
    /// Every file of the tree: path and content.
    #[must_use]
    pub fn files(&self) -> BTreeMap<String, LowerFile> {
        let mut files = BTreeMap::new();
        collect(&MINI, &mut files);
        files
    }
}

/// The graft's files as they are written, for every version of a kernel; [`super::graft::of`] has those for one.
pub(super) fn graft_files() -> BTreeMap<String, LowerFile> {
    files_of(&GRAFT)
}

/// The files of `ARCH=x86` over and beside those of the graft, as they are written.
pub(super) fn graft_x86_files() -> BTreeMap<String, LowerFile> {
    files_of(&GRAFT_X86)
}

fn files_of(tree: &Dir<'_>) -> BTreeMap<String, LowerFile> {
    let mut files = BTreeMap::new();
    collect(tree, &mut files);
    files.retain(|path, _| path != "README.md");
    files
}

fn collect(dir: &Dir<'_>, files: &mut BTreeMap<String, LowerFile>) {
    for file in dir.files() {
        let Some(path) = file.path().to_str() else { continue };
        let bytes = file.contents().to_vec();
        // The binary keeps no modes: what starts with `#!` is run.
        let mode = if bytes.starts_with(b"#!") { 0o755 } else { 0o644 };
        files.insert(path.to_owned(), LowerFile { bytes, mode });
    }
    for dir in dir.dirs() {
        collect(dir, files);
    }
}

impl Lower for MiniLower {
    fn read(&self, path: &str) -> io::Result<Option<LowerFile>> {
        Ok(MINI.get_file(path).map(|file| {
            let bytes = file.contents().to_vec();
            let mode = if bytes.starts_with(b"#!") { 0o755 } else { 0o644 };
            LowerFile { bytes, mode }
        }))
    }

    fn below(&self, dir: &str) -> io::Result<Vec<String>> {
        let prefix = format!("{dir}/");
        Ok(self.files().into_keys().filter(|path| dir.is_empty() || path.starts_with(&prefix)).collect())
    }

    fn names(&self, dir: &str) -> io::Result<Vec<String>> {
        let entries = if dir.is_empty() { Some(&MINI) } else { MINI.get_dir(dir) };
        let mut names: Vec<String> = entries
            .into_iter()
            .flat_map(|dir| dir.entries())
            .filter_map(|entry| Some(entry.path().file_name()?.to_str()?.to_owned()))
            .collect();
        names.sort();
        Ok(names)
    }
}

/// Files beside a scenario: patches, fragments, overlays.
pub trait Beside {
    /// The content of the file `name`.
    ///
    /// # Errors
    /// Why it cannot be read, in a few words.
    fn read(&self, name: &str) -> Result<Vec<u8>, String>;

    /// All files below the directory `name`, by relative path.
    ///
    /// # Errors
    /// Why it cannot be read, in a few words.
    fn list(&self, name: &str) -> Result<BTreeMap<String, LowerFile>, String>;
}

/// Files in the scenario's directory, then in further ones (`scenarios/configs`).
#[derive(Debug, Clone)]
pub struct DirBeside(pub Vec<PathBuf>);

impl Beside for DirBeside {
    fn read(&self, name: &str) -> Result<Vec<u8>, String> {
        let mut first = None;
        for dir in &self.0 {
            match read_regular(&dir.join(name), MAX_BESIDE) {
                Ok(bytes) => return Ok(bytes),
                Err(why) => first = first.or(Some(why)),
            }
        }
        Err(first.unwrap_or_else(|| "there is no directory to look in".into()))
    }

    fn list(&self, name: &str) -> Result<BTreeMap<String, LowerFile>, String> {
        for dir in &self.0 {
            let top = dir.join(name);
            if !top.is_dir() {
                continue;
            }
            let lower = DirLower(top);
            let mut files = BTreeMap::new();
            for path in lower.below("").map_err(|error| reason(&error))? {
                if let Some(file) = lower.read(&path).map_err(|error| reason(&error))? {
                    files.insert(path, file);
                }
            }
            return Ok(files);
        }
        Err("no such directory".into())
    }
}

/// The most bytes a file beside a scenario may have: a patch of a whole kernel series fits many times over.
const MAX_BESIDE: u64 = 256 << 20;

/// The content of a regular file of at most `most` bytes. A pipe would make us wait for whoever writes it, and a
/// device may have no end.
///
/// # Errors
/// Why it cannot be read, in a few words.
pub(crate) fn read_regular(path: &Path, most: u64) -> Result<Vec<u8>, String> {
    if !fs::metadata(path).map_err(|error| reason(&error))?.is_file() {
        return Err(if path.is_dir() { "it is a directory" } else { "it is no regular file" }.into());
    }
    let mut bytes = Vec::new();
    fs::File::open(path)
        .and_then(|file| file.take(most + 1).read_to_end(&mut bytes))
        .map_err(|error| reason(&error))?;
    if bytes.len() as u64 > most {
        return Err(format!("it is larger than {} MiB", most >> 20));
    }
    Ok(bytes)
}

/// An I/O error in a few words, without the operating system's number.
#[must_use]
pub fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "no such file".into(),
        io::ErrorKind::PermissionDenied => "permission denied".into(),
        io::ErrorKind::IsADirectory => "it is a directory".into(),
        _ => error.to_string(),
    }
}
