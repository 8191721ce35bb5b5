//! Two trees side by side: which names belong together, and how what they name differs.
//!
//! Regular files are compared byte by byte, which tells more than digests and takes less; only those that differ are
//! taken apart. Symbolic links are compared by what they lead to, and not followed; devices, sockets and FIFOs
//! by what they are, and not opened.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::inside::{Bases, Detail};
use super::package::Package;
use super::walk::{FileKind, escape_path, walk_past};
use super::{ArtifactError, Bounds};
use matching::Names;
use place::Place;

mod bases;
mod boot;
mod content;
mod matching;
mod place;

pub use bases::{Vmlinux, base_in, base_in_package, kernel_above, kernel_place};

/// One name, in one tree or in both.
#[derive(Debug, Clone, Default)]
pub struct Pair {
    /// Relative to A, or to B if A has it not; escaped by [`escape_path`].
    pub path: String,
    /// What it is called in B, where that is something else.
    pub path_b: Option<String>,
    a: Option<Place>,
    b: Option<Place>,
}

impl Pair {
    /// Something that has names, and is compared elsewhere: a package itself.
    #[must_use]
    pub fn named(path: String, path_b: String) -> Self {
        let path_b = Some(path_b).filter(|other| *other != path);
        Self { path, path_b, a: None, b: None }
    }

    /// How many bytes there are to be compared.
    #[must_use]
    pub fn size(&self) -> u64 {
        [&self.a, &self.b].into_iter().flatten().filter(|place| place.kind == FileKind::File).map(|p| p.size).sum()
    }
}

/// What two trees have.
#[derive(Debug, Default)]
pub struct Trees {
    /// Sorted by path.
    pub pairs: Vec<Pair>,
    /// Directories and entries that could not be looked at, sorted by path. Nothing below them is among the pairs,
    /// for what one tree has there cannot be told to be missing in the other.
    pub lost: Vec<Lost>,
}

/// Something that could not be looked at.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lost {
    /// Relative to its tree, escaped.
    pub path: String,
    /// Which tree, and why.
    pub why: String,
}

/// One way in which a file differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartNote {
    /// The part of the file, as [`Part`](super::Part) names it; or `mode`, `kind`, `target` (of a symbolic link), `compression`.
    pub name: String,
    /// How.
    pub change: PartState,
    /// Its length in A, in bytes, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_a: Option<u64>,
    /// Its length in B, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_b: Option<u64>,
    /// It is other only because another part has another length.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub follows: bool,
    /// Why it is ignored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ignored: Option<String>,
}

/// How a part differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PartState {
    /// Other bytes.
    Changed,
    /// The same bytes at another offset.
    Moved,
    /// Only A has it.
    OnlyA,
    /// Only B has it.
    OnlyB,
}

impl PartNote {
    pub(super) fn of(name: &str, change: PartState) -> Self {
        Self { name: name.to_owned(), change, size_a: None, size_b: None, follows: false, ignored: None }
    }
}

/// How what both trees have differs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FileDiff {
    /// One line for people.
    pub summary: String,
    /// Every part that differs.
    pub parts: Vec<PartNote>,
    /// What differs in them, what matters most first.
    pub details: Vec<Detail>,
    /// The module signature is all that differs.
    pub signature_only: bool,
}

/// What came of comparing a pair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Looked {
    /// Nothing differs. Of what was not opened it says what it is.
    Equal(Option<String>),
    /// Something does.
    Differs(FileDiff),
    /// Only A has it; what it is.
    OnlyA(String),
    /// Only B has it; what it is.
    OnlyB(String),
    /// One of them cannot be read; why.
    Unreadable(String),
}

/// Where files to be compared are.
#[derive(Debug, Clone, Copy)]
pub enum Tree<'t> {
    /// Below a directory.
    Dir(&'t Path),
    /// In a package.
    Package(&'t Package),
}

/// Two directories, as [`pair_trees`] has them.
///
/// # Errors
/// [`ArtifactError::Io`] when one of the two cannot be listed itself.
pub fn pair(a: &Path, b: &Path) -> Result<Trees, ArtifactError> {
    pair_trees(&Tree::Dir(a), &Tree::Dir(b))
}

/// Lists two trees and puts together what belongs together. Directories are left out but where they are empty, or
/// are something else in the other tree.
///
/// # Errors
/// [`ArtifactError::Io`] when one of the two cannot be listed itself.
pub fn pair_trees(a: &Tree<'_>, b: &Tree<'_>) -> Result<Trees, ArtifactError> {
    let mut trees = Trees::default();
    let mut names = Names::new();
    let mut full_somewhere: BTreeSet<String> = BTreeSet::new();
    for (tree, other, is_a) in [(a, b, true), (b, a, false)] {
        let entries = match tree {
            Tree::Dir(root) => on_disk(root, is_a, &mut trees.lost)?,
            Tree::Package(package) => {
                let alike = matches!(other, Tree::Package(other) if other.kind == package.kind);
                // What a package says about itself, and how it has the top, is nothing that others could have.
                let entries = package.entries.iter().filter(|(path, e)| alike || !e.about && *path != ".");
                entries.map(|(path, entry)| (path.clone(), Place::in_package(package, path, entry))).collect()
            }
        };
        let parent = |path: &str| path.rsplit_once('/').map_or(".", |(parent, _)| parent).to_owned();
        let full: BTreeSet<String> = entries.iter().map(|(path, _)| parent(path)).collect();
        for (path, place) in entries {
            // Listed for its mode where both have it; where one has it, it is told by what it holds.
            full_somewhere.extend(full.get(&path).cloned());
            let sides = names.entry(path).or_default();
            *(if is_a { &mut sides.0 } else { &mut sides.1 }) = Some(place);
        }
    }
    trees.lost.sort();
    trees.lost.dedup_by(|one, other| one.path == other.path);
    for lost in &trees.lost {
        let below = format!("{}/", lost.path);
        // Sorted by bytes: what is below comes together, up to the next after `/`.
        let end = format!("{}0", lost.path);
        let paths: Vec<String> =
            names.range(below..end).map(|(path, _)| path.clone()).chain([lost.path.clone()]).collect();
        paths.iter().for_each(|path| drop(names.remove(path)));
    }
    let is_dir = |place: &Place| place.kind == FileKind::Dir;
    names.retain(|path, sides| match sides {
        (Some(only), None) | (None, Some(only)) => !(is_dir(only) && full_somewhere.contains(path)),
        // modes of directories are looked at, and equal ones are no files that were compared
        (Some(a), Some(b)) if is_dir(a) && is_dir(b) => {
            let mode = |place: &Place| place.look().map(|seen| seen.mode).ok();
            mode(a) != mode(b)
        }
        _ => true,
    });
    let matched = matching::put_together(&mut names);
    trees.pairs =
        names.into_iter().map(|(path, (a, b))| Pair { path_b: matched.get(&path).cloned(), path, a, b }).collect();
    Ok(trees)
}

/// What lies below a directory, and what cannot be looked at.
fn on_disk(root: &Path, is_a: bool, lost: &mut Vec<Lost>) -> Result<Vec<(String, Place)>, ArtifactError> {
    let mut errors = Vec::new();
    let entries = walk_past(root, &mut errors)?;
    lost.extend(errors.iter().map(|error| {
        let path = escape_path(error.place().strip_prefix(root).unwrap_or(error.place()));
        let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
        Lost { path, why: format!("cannot be listed in {}{cause}", if is_a { "A" } else { "B" }) }
    }));
    let place = |entry: super::FileEntry| {
        let disk = root.join(super::unescape_path(&entry.path));
        (entry.path, Place::on_disk(disk, entry.kind, entry.size))
    };
    Ok(entries.into_iter().map(place).collect())
}

/// Two files, whatever they are called.
///
/// # Errors
/// [`ArtifactError`] when one is no regular file, or is not there.
pub fn pair_files(a: &Path, b: &Path) -> Result<Pair, ArtifactError> {
    let place = |path: &Path| {
        // A link that is named on the command line is meant to be followed.
        let disk = fs::canonicalize(path).map_err(|e| ArtifactError::io("read", path, e))?;
        let meta = fs::symlink_metadata(&disk).map_err(|e| ArtifactError::io("read", path, e))?;
        if !meta.is_file() {
            return Err(ArtifactError::NotAFile { path: path.to_owned() });
        }
        Ok(Place::on_disk(disk, FileKind::File, meta.len()))
    };
    let name = |path: &Path| path.file_name().map(|name| escape_path(Path::new(name))).unwrap_or_default();
    let (path, path_b) = (name(a), Some(name(b)));
    Ok(Pair { path_b: path_b.filter(|other| *other != path), path, a: Some(place(a)?), b: Some(place(b)?) })
}

/// How pairs are compared.
#[derive(Clone, Copy)]
pub struct How<'h> {
    /// Whether a file that differs is looked into.
    pub decode: bool,
    /// When to stop, and what is too large.
    pub bounds: &'h Bounds<'h>,
    /// The BTF that modules build on.
    pub bases: &'h dyn Bases,
}

/// Compares a pair.
///
/// # Errors
/// [`ArtifactError::Stopped`] alone: everything else is said of the pair.
pub fn compare(pair: &Pair, how: &How<'_>) -> Result<Looked, ArtifactError> {
    let looked = match (&pair.a, &pair.b) {
        (Some(a), Some(b)) => both(pair, a, b, how),
        (Some(a), None) => Ok(Looked::OnlyA(a.told())),
        (None, Some(b)) => Ok(Looked::OnlyB(b.told())),
        (None, None) => Ok(Looked::Equal(None)),
    };
    match looked {
        Err(ArtifactError::Stopped) => Err(ArtifactError::Stopped),
        Err(error) => Ok(Looked::Unreadable(error.told())),
        Ok(looked) => Ok(looked),
    }
}

fn both(pair: &Pair, a: &Place, b: &Place, how: &How<'_>) -> Result<Looked, ArtifactError> {
    let (seen_a, seen_b) = (a.look()?, b.look()?);
    let mode = || {
        let (before, after) = (seen_a.mode, seen_b.mode);
        (before != after).then(|| format!("{before:o} → {after:o}"))
    };
    let told = || format!("{} → {}", seen_a.told, seen_b.told);
    let mut diff = match seen_a.kind {
        kind if kind != seen_b.kind => return Ok(Looked::Differs(single("kind", told()))),
        FileKind::File if a.is(b) => None,
        FileKind::File => content::files(pair, a, b, how)?,
        FileKind::Dir => None,
        FileKind::Symlink if seen_a.told != seen_b.told => return Ok(Looked::Differs(single("target", told()))),
        // The mode of a link means nothing (symlink(7)).
        FileKind::Symlink => return Ok(Looked::Equal(None)),
        FileKind::Other if seen_a.told != seen_b.told => return Ok(Looked::Differs(single("kind", told()))),
        FileKind::Other => {
            return Ok(match mode() {
                Some(change) => Looked::Differs(single("mode", change)),
                None => Looked::Equal(Some(seen_a.told)),
            });
        }
    };
    if let Some(change) = mode() {
        let diff = diff.get_or_insert_default();
        diff.signature_only = false;
        let summary = format!("mode {change}");
        diff.summary = if diff.summary.is_empty() { summary } else { format!("{}; {summary}", diff.summary) };
        diff.parts.push(PartNote::of("mode", PartState::Changed));
        diff.details.push(Detail { part: "mode".to_owned(), lines: vec![change] });
    }
    Ok(diff.map_or(Looked::Equal(None), Looked::Differs))
}

fn single(part: &str, line: String) -> FileDiff {
    FileDiff {
        summary: format!("{part}: {line}"),
        parts: vec![PartNote::of(part, PartState::Changed)],
        details: vec![Detail { part: part.to_owned(), lines: vec![line] }],
        signature_only: false,
    }
}
