//! Two trees side by side: which names belong together, and how what they name differs.
//!
//! Regular files are compared byte by byte, which tells more than digests and takes less; only those that differ are
//! taken apart. Symbolic links are compared by what they lead to, and not followed; devices, sockets and FIFOs
//! by what they are, and not opened.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Metadata};
use std::io::{self, Read, Seek};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Serialize};

use super::hash::fill;
use super::inside::{self, Bases, Detail};

use super::packed::{PackedError, Packing, unpack};
use super::sparse::SparseFile;
use super::walk::{FileKind, escape_path, walk_past};
use super::{Artifact, ArtifactError, Base, Bounds, describe_reader, diff_parts};

/// What a module's signature is called among the parts of a file.
const SIGNATURE: &str = "module signature";
/// What is compared at once, in bytes.
const CHUNK: usize = 128 << 10;
/// Endings of modules, packed or not: `x.ko` in one tree belongs to `x.ko.zst` in the other.
const MODULE: &str = ".ko";

/// One name, in one tree or in both.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pair {
    /// Relative to A, or to B if A has it not; escaped by [`escape_path`].
    pub path: String,
    /// What it is called in B, where that is something else.
    pub path_b: Option<String>,
    a: Option<Place>,
    b: Option<Place>,
}

/// Where it lies, and what it was when the tree was listed.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    disk: PathBuf,
    kind: FileKind,
    /// In bytes.
    size: u64,
}

impl Pair {
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
    fn of(name: &str, change: PartState) -> Self {
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

/// Lists two trees and puts together what belongs together. Directories are left out but where they are empty, or
/// are something else in the other tree.
///
/// # Errors
/// [`ArtifactError::Io`] when one of the two cannot be listed itself.
pub fn pair(a: &Path, b: &Path) -> Result<Trees, ArtifactError> {
    let mut trees = Trees::default();
    let mut names: BTreeMap<String, (Option<Place>, Option<Place>)> = BTreeMap::new();
    let mut full_somewhere: BTreeSet<String> = BTreeSet::new();
    for (root, is_a) in [(a, true), (b, false)] {
        let mut errors = Vec::new();
        let entries = walk_past(root, &mut errors)?;
        trees.lost.extend(errors.iter().map(|error| {
            let path = escape_path(error.place().strip_prefix(root).unwrap_or(error.place()));
            let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
            Lost { path, why: format!("cannot be listed in {}{cause}", if is_a { "A" } else { "B" }) }
        }));
        let parent = |path: &str| path.rsplit_once('/').map(|(parent, _)| parent.to_owned());
        let full: BTreeSet<String> = entries.iter().filter_map(|entry| parent(&entry.path)).collect();
        for entry in entries {
            // Listed for its mode where both have it; where one has it, it is told by what it holds.
            full_somewhere.extend(full.get(&entry.path).cloned());
            let place =
                Place { disk: root.join(super::unescape_path(&entry.path)), kind: entry.kind, size: entry.size };
            let sides = names.entry(entry.path).or_default();
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
            let mode = |place: &Place| fs::symlink_metadata(&place.disk).map(|meta| meta.mode()).ok();
            mode(a) != mode(b)
        }
        _ => true,
    });
    let matched = match_modules(&mut names);
    trees.pairs =
        names.into_iter().map(|(path, (a, b))| Pair { path_b: matched.get(&path).cloned(), path, a, b }).collect();
    Ok(trees)
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
        Ok(Place { disk, kind: FileKind::File, size: meta.len() })
    };
    let name = |path: &Path| path.file_name().map(|name| escape_path(Path::new(name))).unwrap_or_default();
    let (path, path_b) = (name(a), Some(name(b)));
    Ok(Pair { path_b: path_b.filter(|other| *other != path), path, a: Some(place(a)?), b: Some(place(b)?) })
}

/// Puts a module that only A has together with the same one, otherwise compressed, that only B has. The names in B.
fn match_modules(names: &mut BTreeMap<String, (Option<Place>, Option<Place>)>) -> BTreeMap<String, String> {
    let stem = |path: &str| {
        let stem = Packing::of(path).map_or(path, |(_, stem)| stem);
        stem.ends_with(MODULE).then(|| stem.to_owned())
    };
    let is_file = |place: &Option<Place>| place.as_ref().is_some_and(|place| place.kind == FileKind::File);
    let only_b = names.iter().filter(|(_, (a, b))| a.is_none() && is_file(b));
    let mut by_stem: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (path, _) in only_b {
        if let Some(stem) = stem(path) {
            by_stem.entry(stem).or_default().push(path.clone());
        }
    }
    let mut matched = BTreeMap::new();
    let only_a: Vec<String> =
        names.iter().filter(|(_, (a, b))| is_file(a) && b.is_none()).map(|(path, _)| path.clone()).collect();
    for path in only_a {
        let Some(other) = stem(&path).and_then(|stem| by_stem.get_mut(&stem)?.pop()) else { continue };
        let Some((_, place)) = names.remove(&other) else { continue };
        if let Some(sides) = names.get_mut(&path) {
            sides.1 = place;
        }
        matched.insert(path, other);
    }
    matched
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

/// The BTF of `vmlinux` at the top of each of two trees, or in the nearest directory above, read when it is first asked for.
#[derive(Debug, Default)]
pub struct Vmlinux {
    a: (PathBuf, OnceLock<Option<Arc<Base>>>),
    b: (PathBuf, OnceLock<Option<Arc<Base>>>),
}

impl Vmlinux {
    /// Reads nothing yet.
    #[must_use]
    pub fn of(a: &Path, b: &Path) -> Self {
        let of = |root: &Path| {
            let real = root.canonicalize().unwrap_or_else(|_| root.to_owned());
            // A link, as distributions have one in `/`, is to somebody else's.
            let there = |at: &PathBuf| fs::symlink_metadata(at).is_ok_and(|meta| meta.is_file());
            let found = real.ancestors().map(|dir| dir.join("vmlinux")).find(there);
            (found.unwrap_or_else(|| root.join("vmlinux")), OnceLock::new())
        };
        Self { a: of(a), b: of(b) }
    }

    fn read(side: &(PathBuf, OnceLock<Option<Arc<Base>>>)) -> Option<&Arc<Base>> {
        let read = || {
            // A link is not followed, nor a FIFO opened.
            fs::symlink_metadata(&side.0).ok().filter(Metadata::is_file)?;
            Base::parse(super::section(&side.0, ".BTF").ok()??).ok().map(Arc::new)
        };
        side.1.get_or_init(read).as_ref()
    }
}

impl Bases for Vmlinux {
    fn of_a(&self) -> Option<&Arc<Base>> {
        Self::read(&self.a)
    }
    fn of_b(&self) -> Option<&Arc<Base>> {
        Self::read(&self.b)
    }
}

/// Compares a pair.
///
/// # Errors
/// [`ArtifactError::Stopped`] alone: everything else is said of the pair.
pub fn compare(pair: &Pair, how: &How<'_>) -> Result<Looked, ArtifactError> {
    let looked = match (&pair.a, &pair.b) {
        (Some(a), Some(b)) => both(pair, a, b, how),
        (Some(a), None) => Ok(Looked::OnlyA(told(a))),
        (None, Some(b)) => Ok(Looked::OnlyB(told(b))),
        (None, None) => Ok(Looked::Equal(None)),
    };
    match looked {
        Err(ArtifactError::Stopped) => Err(ArtifactError::Stopped),
        Err(error) => Ok(Looked::Unreadable(error.told())),
        Ok(looked) => Ok(looked),
    }
}

fn told(place: &Place) -> String {
    match place.kind {
        FileKind::File => inside::bytes(place.size),
        FileKind::Dir => "an empty directory".to_owned(),
        FileKind::Symlink | FileKind::Other => {
            fs::symlink_metadata(&place.disk).map_or_else(|_| "gone".to_owned(), |meta| named(&place.disk, &meta))
        }
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

fn both(pair: &Pair, a: &Place, b: &Place, how: &How<'_>) -> Result<Looked, ArtifactError> {
    let look =
        |place: &Place| fs::symlink_metadata(&place.disk).map_err(|e| ArtifactError::io("examine", &place.disk, e));
    let (meta_a, meta_b) = (look(a)?, look(b)?);
    let kind = |meta: &Metadata| meta.mode() & libc::S_IFMT;
    let mut diff = if kind(&meta_a) != kind(&meta_b) {
        let (what_a, what_b) = (named(&a.disk, &meta_a), named(&b.disk, &meta_b));
        return Ok(Looked::Differs(single("kind", format!("{what_a} → {what_b}"))));
    } else if meta_a.is_file() {
        // The same file under two names; a link that was made since, too, is equal to itself.
        let same = (meta_a.dev(), meta_a.ino()) == (meta_b.dev(), meta_b.ino());
        if same { None } else { files(pair, a, b, how)? }
    } else if meta_a.is_dir() {
        None
    } else {
        let (what_a, what_b) = (named(&a.disk, &meta_a), named(&b.disk, &meta_b));
        let part = if meta_a.is_symlink() { "target" } else { "kind" };
        if what_a != what_b {
            return Ok(Looked::Differs(single(part, format!("{what_a} → {what_b}"))));
        }
        // The mode of a link means nothing (symlink(7)).
        if meta_a.is_symlink() {
            return Ok(Looked::Equal(None));
        }
        return match mode(&meta_a, &meta_b) {
            Some(change) => Ok(Looked::Differs(single("mode", change))),
            None => Ok(Looked::Equal(Some(what_a))),
        };
    };
    if let Some(change) = mode(&meta_a, &meta_b) {
        let diff = diff.get_or_insert_default();
        diff.signature_only = false;
        let summary = format!("mode {change}");
        diff.summary = if diff.summary.is_empty() { summary } else { format!("{}; {summary}", diff.summary) };
        diff.parts.push(PartNote::of("mode", PartState::Changed));
        diff.details.push(Detail { part: "mode".to_owned(), lines: vec![change] });
    }
    Ok(diff.map_or(Looked::Equal(None), Looked::Differs))
}

fn mode(a: &Metadata, b: &Metadata) -> Option<String> {
    let (a, b) = (a.mode() & 0o7777, b.mode() & 0o7777);
    (a != b).then(|| format!("{a:o} → {b:o}"))
}

fn single(part: &str, line: String) -> FileDiff {
    FileDiff {
        summary: format!("{part}: {line}"),
        parts: vec![PartNote::of(part, PartState::Changed)],
        details: vec![Detail { part: part.to_owned(), lines: vec![line] }],
        signature_only: false,
    }
}

/// What a file is read through once it is open: itself, or what is inside of it.
trait Bytes: Read + Seek {}
impl<T: Read + Seek> Bytes for T {}

/// Two regular files; none if they have the same bytes.
fn files(pair: &Pair, a: &Place, b: &Place, how: &How<'_>) -> Result<Option<FileDiff>, ArtifactError> {
    let bounds = how.bounds;
    let open = |place: &Place| SparseFile::open(&place.disk, bounds);
    let size = |file: &SparseFile<'_>, place: &Place| {
        file.metadata().map(|meta| meta.len()).map_err(|e| ArtifactError::io("read", &place.disk, e))
    };
    let names = (pair.path.as_str(), pair.path_b.as_deref().unwrap_or(&pair.path));
    let (mut file_a, mut file_b) = (open(a)?, open(b)?);
    if size(&file_a, a)? == size(&file_b, b)? {
        if same(&mut file_a, a, &mut file_b, b)? {
            return Ok(None);
        }
        (file_a, file_b) = (open(a)?, open(b)?);
    }
    let packing = (Packing::of(names.0).map(|(p, _)| p), Packing::of(names.1).map(|(p, _)| p));
    if packing != (None, None) && !how.decode {
        return Ok(Some(FileDiff { summary: "compressed files differ".to_owned(), ..FileDiff::default() }));
    }
    if packing == (None, None) {
        return looked_into(&mut file_a, a, &mut file_b, b, how).map(Some);
    }
    // Otherwise compressed is a difference of its own, beside what there is inside.
    let told = |packing: Option<Packing>| packing.map_or("not compressed".to_owned(), |packing| packing.to_string());
    type Opened<'c> = Result<Box<dyn Bytes + 'c>, PackedError>;
    fn inside<'c>(packing: Option<Packing>, mut file: SparseFile<'c>, bounds: &Bounds<'c>) -> Opened<'c> {
        match packing {
            Some(packing) => Ok(Box::new(unpack(packing, &mut file, bounds.cancel)?)),
            None => Ok(Box::new(file)),
        }
    }
    let (in_a, in_b) = (inside(packing.0, file_a, bounds), inside(packing.1, file_b, bounds));
    let (mut in_a, mut in_b) = match (in_a, in_b) {
        (Ok(in_a), Ok(in_b)) => (in_a, in_b),
        (Err(PackedError::Stopped), _) | (_, Err(PackedError::Stopped)) => return Err(ArtifactError::Stopped),
        (in_a, in_b) => {
            let (mut file_a, mut file_b) = (open(a)?, open(b)?);
            let mut diff = looked_into(&mut file_a, a, &mut file_b, b, how)?;
            for (which, result) in [("A", in_a.err()), ("B", in_b.err())] {
                if let Some(error) = result {
                    let line = format!("{which} cannot be looked into: {error}");
                    diff.summary = format!("{}; {line}", diff.summary);
                    diff.details.push(Detail { part: "compression".to_owned(), lines: vec![line] });
                }
            }
            return Ok(Some(diff));
        }
    };
    let same = same(&mut in_a, a, &mut in_b, b)?;
    let mut diff = if same { FileDiff::default() } else { looked_into(&mut in_a, a, &mut in_b, b, how)? };
    if same || packing.0 != packing.1 {
        let change = match packing {
            (x, y) if x == y => format!("the same inside, compressed otherwise ({})", told(x)),
            (x, y) if same => format!("the same inside; {} → {}", told(x), told(y)),
            (x, y) => format!("{} → {}", told(x), told(y)),
        };
        diff.summary = if same { change.clone() } else { format!("{}; {change}", diff.summary) };
        diff.signature_only = false;
        diff.parts.push(PartNote::of("compression", PartState::Changed));
        diff.details.push(Detail { part: "compression".to_owned(), lines: vec![change] });
    }
    Ok(Some(diff))
}

/// Whether two readers have the same bytes from where they are on. Stops at the first difference.
fn same(a: &mut dyn Read, place_a: &Place, b: &mut dyn Read, place_b: &Place) -> Result<bool, ArtifactError> {
    let failed = |place: &Place, e| ArtifactError::io("read", &place.disk, e);
    let (mut in_a, mut in_b) = (vec![0; CHUNK], vec![0; CHUNK]);
    loop {
        let n = fill(a, &mut in_a).map_err(|e| failed(place_a, e))?;
        let m = fill(b, &mut in_b).map_err(|e| failed(place_b, e))?;
        if in_a[..n] != in_b[..m] {
            return Ok(false);
        }
        if n < CHUNK {
            return Ok(true);
        }
    }
}

/// Takes two files apart that are known to differ.
fn looked_into<R: Read + Seek>(
    a: &mut R,
    place_a: &Place,
    b: &mut R,
    place_b: &Place,
    how: &How<'_>,
) -> Result<FileDiff, ArtifactError> {
    let failed = |place: &Place, e: io::Error| match e.kind() {
        io::ErrorKind::UnexpectedEof => ArtifactError::Changed { path: place.disk.clone() },
        _ => ArtifactError::io("read", &place.disk, e),
    };
    let in_a = describe_reader(a, "", None).map_err(|e| failed(place_a, e))?;
    let in_b = describe_reader(b, "", None).map_err(|e| failed(place_b, e))?;
    let diff = diff_parts(&in_a, &in_b);
    let mut inside = inside::Inside::default();
    if how.decode {
        inside = inside::details((&in_a, a), (&in_b, b), &diff, how.bases).map_err(|e| failed(place_a, e))?;
    }
    let mut parts = Vec::new();
    for part in &diff.changed {
        let sizes = (Some(part.size_a), Some(part.size_b));
        let note = PartNote::of(&part.name, PartState::Changed);
        parts.push(PartNote { size_a: sizes.0, size_b: sizes.1, ..note });
    }
    parts
        .extend(diff.moved.iter().map(|part| PartNote { follows: true, ..PartNote::of(&part.name, PartState::Moved) }));
    // A file can have some hundred thousand parts.
    fn sizes(artifact: &Artifact) -> BTreeMap<&str, u64> {
        artifact.parts.iter().map(|part| (part.name.as_str(), part.size)).collect()
    }
    let (sizes_a, sizes_b) = (sizes(&in_a), sizes(&in_b));
    for name in &diff.removed {
        let size_a = sizes_a.get(name.as_str()).copied();
        parts.push(PartNote { size_a, ..PartNote::of(name, PartState::OnlyA) });
    }
    for name in &diff.added {
        let size_b = sizes_b.get(name.as_str()).copied();
        parts.push(PartNote { size_b, ..PartNote::of(name, PartState::OnlyB) });
    }
    let follow: BTreeSet<&str> = inside.follow.iter().map(String::as_str).collect();
    parts.iter_mut().for_each(|part| part.follows |= follow.contains(part.name.as_str()));
    let signature_only = !parts.is_empty() && parts.iter().all(|part| part.name == SIGNATURE);
    let mut summary = match (signature_only, parts.first().map(|part| part.change)) {
        (true, Some(PartState::OnlyA)) => "equal but for the module signature, which only A has".to_owned(),
        (true, Some(PartState::OnlyB)) => "equal but for the module signature, which only B has".to_owned(),
        (true, _) => "equal but for the module signature".to_owned(),
        _ if inside.text => "lines differ".to_owned(),
        // headers that say something else are no mere layout
        _ if diff.layout_only && !inside.details.is_empty() => {
            let parts: Vec<&str> = inside.details.iter().map(|detail| detail.part.as_str()).collect();
            format!("the same contents of sections; {} differ", parts.join(", "))
        }
        _ => diff.summary.clone(),
    };
    for (which, artifact) in [("A", &in_a), ("B", &in_b)] {
        if let Some(note) = &artifact.note {
            summary.push_str(&format!("; {which} {note}"));
        }
    }
    Ok(FileDiff { summary, parts, details: inside.details, signature_only })
}
