//! The vmlinux whose BTF the modules of a tree build on, and where it is found.

use std::fs::{self, Metadata};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use super::super::btf::{BtfFileError, base_of};
use super::super::inside::Bases;
use super::super::package::Package;
use super::super::sparse::Bounds;
use super::super::{ArtifactError, Base, FileKind};
use super::Tree;
use super::place::Place;

/// Where a tree or a package has a kernel, what is best first: `*` is any name, or the rest of one.
const PLACES: &[&str] = &[
    "vmlinux",
    "usr/lib/debug/boot/vmlinux-*",
    "usr/lib/debug/lib/modules/*/vmlinux",
    "boot/vmlinux-*",
    "lib/modules/*/vmlinux",
    "usr/lib/modules/*/vmlinux",
    "boot/vmlinuz-*",
    "lib/modules/*/vmlinuz",
    "usr/lib/modules/*/vmlinuz",
];

/// The BTF of the vmlinux of each of two trees, read when it is first asked for: of a file that is named, else of one that
/// lies where distributions have it, or of `vmlinux` in the nearest directory above.
#[derive(Debug, Default)]
pub struct Vmlinux {
    a: Side,
    b: Side,
}

#[derive(Debug, Default)]
struct Side {
    from: Option<Place>,
    base: OnceLock<Result<Arc<Base>, String>>,
}

impl Vmlinux {
    /// Of two directories. Reads nothing yet.
    #[must_use]
    pub fn of(a: &Path, b: &Path) -> Self {
        Self::of_trees(&Tree::Dir(a), &Tree::Dir(b))
    }

    /// Of two trees. Reads nothing yet.
    #[must_use]
    pub fn of_trees(a: &Tree<'_>, b: &Tree<'_>) -> Self {
        let side = |tree: &Tree<'_>| Side { from: find(tree), base: OnceLock::new() };
        Self { a: side(a), b: side(b) }
    }

    /// With the BTF of files that were named, in place of what is found.
    #[must_use]
    pub fn with(self, a: Option<Arc<Base>>, b: Option<Arc<Base>>) -> Self {
        let side = |given: Option<Arc<Base>>, side: Side| {
            given.map_or(side, |base| Side { from: None, base: OnceLock::from(Ok(base)) })
        };
        Self { a: side(a, self.a), b: side(b, self.b) }
    }

    /// Kernels that were found, asked for, and cannot be read.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let told = |side: &Side| {
            let (from, error) = (side.from.as_ref()?, side.base.get()?.as_ref().err()?);
            Some(format!("no BTF is taken from `{}`: {error}", from.disk.display()))
        };
        [&self.a, &self.b].into_iter().filter_map(told).collect()
    }
}

impl Side {
    fn read(&self) -> Option<&Arc<Base>> {
        let from = self.from.as_ref();
        let read = || {
            let (mut file, _) = from.ok_or_else(String::new)?.open(&Bounds::none()).map_err(|error| error.told())?;
            base_of(&mut file, Bounds::none().cancel).map(Arc::new).map_err(|error| match error.hint() {
                Some(hint) => format!("{error}; {hint}"),
                None => error.to_string(),
            })
        };
        if let (Some(base), _) | (None, Some(base)) = (self.base.get(), from.map(|_| self.base.get_or_init(read))) {
            return base.as_ref().ok();
        }
        None
    }
}

impl Bases for Vmlinux {
    fn of_a(&self) -> Option<&Arc<Base>> {
        self.a.read()
    }
    fn of_b(&self) -> Option<&Arc<Base>> {
        self.b.read()
    }
}

/// The BTF of a vmlinux or a vmlinuz.
///
/// # Errors
/// As [`BtfFileError`] says.
pub fn base_in(path: &Path) -> Result<Base, BtfFileError> {
    let place = Place::on_disk(path.to_owned(), FileKind::File, 0);
    let (mut file, _) = place.open(&Bounds::none()).map_err(|error| match error {
        ArtifactError::Io { source, .. } => BtfFileError::Io(source),
        error => BtfFileError::Io(std::io::Error::other(error.told())),
    })?;
    base_of(&mut file, Bounds::none().cancel)
}

/// The kernel of the nearest directory above a file that has one, where distributions have it.
#[must_use]
pub fn kernel_above(file: &Path) -> Option<PathBuf> {
    let real = file.canonicalize().unwrap_or_else(|_| file.to_owned());
    let one = |dir: &Path| {
        let mut found = in_dir(dir);
        let best = found.iter().map(|(rank, _)| *rank).min()?;
        found.retain(|(rank, _)| *rank == best);
        // Of several as good as each other nobody knows whose the module is.
        if found.len() == 1 { found.pop().map(|(_, place)| place.disk) } else { None }
    };
    real.ancestors().skip(1).filter(|dir| dir.parent().is_some()).find_map(one)
}

/// The BTF of the kernel in a package.
///
/// # Errors
/// As [`BtfFileError`] says; none is an error of its own.
pub fn base_in_package(package: &Package) -> Result<Base, BtfFileError> {
    let from = find(&Tree::Package(package)).ok_or(BtfFileError::NoKernel)?;
    let (mut file, _) = from.open(&Bounds::none()).map_err(|error| BtfFileError::Io(std::io::Error::other(error)))?;
    base_of(&mut file, Bounds::none().cancel)
}

/// Whether a path is where a kernel is, and how good a place it is; a lower number is better.
#[must_use]
pub fn kernel_place(path: &str) -> Option<usize> {
    let fits = |pattern: &&str| {
        let (mut path, mut pattern) = (path.split('/'), pattern.split('/'));
        loop {
            match (path.next(), pattern.next()) {
                (None, None) => return true,
                (Some(name), Some(wanted)) => match wanted.strip_suffix('*') {
                    Some(begin) if name.starts_with(begin) => {}
                    None if name == wanted => {}
                    _ => return false,
                },
                _ => return false,
            }
        }
    };
    PLACES.iter().position(fits)
}

/// The kernel of a tree. Where there are several as good as each other, none: whose modules are whose cannot be told.
fn find(tree: &Tree<'_>) -> Option<Place> {
    let mut found: Vec<(usize, Place)> = match tree {
        Tree::Package(package) => {
            let files = package.entries.iter().filter(|(_, entry)| entry.sha256.is_some());
            let places =
                files.filter_map(|(path, entry)| Some((kernel_place(path)?, Place::in_package(package, path, entry))));
            places.collect()
        }
        Tree::Dir(root) => {
            let real = root.canonicalize().unwrap_or_else(|_| root.to_path_buf());
            let above = real.ancestors().map(|dir| dir.join("vmlinux")).find(|at| is_file(at));
            above.map_or_else(|| in_dir(&real), |at| vec![(0, Place::on_disk(at, FileKind::File, 0))])
        }
    };
    let best = found.iter().map(|(rank, _)| *rank).min()?;
    found.retain(|(rank, _)| *rank == best);
    if found.len() == 1 { found.pop().map(|(_, place)| place) } else { None }
}

/// A link, as distributions have one in `/`, is to somebody else's; nor is a FIFO opened.
fn is_file(at: &Path) -> bool {
    fs::symlink_metadata(at).is_ok_and(|meta: Metadata| meta.is_file())
}

fn in_dir(root: &Path) -> Vec<(usize, Place)> {
    let mut found = Vec::new();
    for (rank, pattern) in PLACES.iter().enumerate() {
        let mut dirs = vec![root.to_owned()];
        for part in pattern.split('/') {
            let below = |dir: &PathBuf| -> Vec<PathBuf> {
                let Some(begin) = part.strip_suffix('*') else { return vec![dir.join(part)] };
                let names = fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.file_name());
                let names = names.filter(|name| name.as_encoded_bytes().starts_with(begin.as_bytes()));
                names.map(|name| dir.join(name)).collect()
            };
            dirs = dirs.iter().flat_map(below).collect();
        }
        found.extend(dirs.into_iter().filter(|at| is_file(at)).map(|at| (rank, Place::on_disk(at, FileKind::File, 0))));
    }
    found
}
