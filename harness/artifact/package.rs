//! Packages of distributions, opened: what is in them, and how they hold it.
//!
//! ```text
//! .deb   ar: debian-binary, control.tar*, data.tar*                     deb(5)
//! .rpm   lead, signature header, header, cpio or what replaces it       rpm's docs/manual/format_v4.md
//! ```
//!
//! No name in a package ever becomes a name on disk: the contents of its files lie one after the other in one temporary
//! file that has no name itself, and everything else (names, links, devices, modes) is a table in memory. So `..`, absolute
//! names, files below links and the like can hurt nobody, nothing is left behind however the program ends, and what
//! is no file is never made. They are refused all the same, for dpkg and rpm would do something else with them.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sha2::{Digest as _, Sha256};

use super::hash::fill;
use super::packed::{Extent, Packing, reader};
use super::{Digest, FileKind};
use unpacker::Unpacker;

mod ar;
mod cpio;
mod differ;
mod rpm;
mod tar;
#[cfg(test)]
pub(super) mod tests;
mod unpacker;

pub use differ::{contents_equal, differences};

/// The most that is unpacked of one package, in bytes: debug information of a kernel has 6 GB.
pub const LARGEST: u64 = 32 << 30;
/// The most members of a package. Sources of a kernel have 90,000.
const MOST_MEMBERS: usize = 500_000;
/// The most bytes that their names and targets have together.
const MOST_NAMES: usize = 64 << 20;
/// The longest name or target: `PATH_MAX`.
const LONGEST_NAME: usize = 4096;

/// Which kind of package it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// deb(5).
    Deb,
    /// rpm(8).
    Rpm,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Deb => "deb",
            Self::Rpm => "rpm",
        })
    }
}

/// Why a package cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// It cannot be read.
    #[error("cannot read it: {0}")]
    Io(io::Error),
    /// It is no package.
    #[error("it is neither a .deb nor an .rpm")]
    Foreign,
    /// Its structure is broken.
    #[error("at offset {at:#x}: {what}")]
    Malformed {
        /// In the file, in bytes.
        at: u64,
        /// What is wrong there.
        what: String,
    },
    /// One of its members is not to be unpacked.
    #[error("member `{name}`, at offset {at:#x} of {archive}: {why}")]
    Member {
        /// Escaped.
        name: String,
        /// In the archive, unpacked, in bytes.
        at: u64,
        /// Which archive.
        archive: String,
        /// What is wrong with it.
        why: String,
    },
    /// There is no decoder for it.
    #[error("{0} is compressed by {1}, which is not unpacked here")]
    Compression(String, String),
    /// It has more than is unpacked.
    #[error("{0}")]
    TooLarge(String),
    /// There is no place for what is inside.
    #[error("what is inside cannot be kept in a temporary file: {0}")]
    Kept(io::Error),
    /// Everything was to stop meanwhile.
    #[error("stopped")]
    Stopped,
    /// What was wanted has been found.
    #[error("found")]
    Found,
}

impl PackageError {
    /// What would help.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Foreign => "name two directories, two files, or packages",
            Self::Compression(..) => "unpack it by dpkg-deb -x or rpm2cpio, and compare the directories",
            Self::Member { .. } | Self::TooLarge(_) => {
                "no tool that builds packages makes such; if it is meant, unpack it yourself and compare the directories"
            }
            Self::Kept(_) => {
                "TMPDIR says where temporary files lie; it needs as much room as the packages have unpacked"
            }
            Self::Io(_) | Self::Malformed { .. } | Self::Stopped | Self::Found => {
                "is the file whole? its checksum tells"
            }
        }
    }
}

/// A member of a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What it is.
    pub kind: FileKind,
    /// Permission bits.
    pub mode: u32,
    /// Length of a regular file, in bytes.
    pub size: u64,
    /// When it was last changed, in seconds since the epoch.
    pub mtime: i64,
    /// Whose it is, as the package says it.
    pub owner: String,
    /// What it is, for people: `a symbolic link to x`.
    pub told: String,
    /// Of a regular file that was unpacked.
    pub sha256: Option<Digest>,
    /// What the package says about itself, and does not install.
    pub about: bool,
    /// The how-manieth member it is.
    order: usize,
    /// Where in the temporary file its content begins.
    pub(super) at: u64,
}

/// A part of the package's own structure.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Piece {
    /// What it is called in the file.
    name: String,
    /// What the file says of it: time, owner, mode.
    header: String,
    packing: Option<Packing>,
    /// Of its bytes as they are there, and unpacked.
    outside: Digest,
    inside: Digest,
}

/// A package, unpacked.
#[derive(Debug)]
pub struct Package {
    /// Which kind.
    pub kind: Kind,
    /// Where it lies.
    pub path: PathBuf,
    /// Of the whole file.
    pub sha256: Digest,
    /// By path, escaped.
    pub entries: std::collections::BTreeMap<String, Entry>,
    pieces: Vec<Piece>,
    /// The contents of all files.
    pub(super) spool: Arc<File>,
}

/// How packages are opened.
#[derive(Clone, Copy)]
pub struct Opening<'o> {
    /// Set when everything is to stop.
    pub cancel: &'o AtomicBool,
    /// Told how many bytes of the package were taken.
    pub progress: &'o (dyn Fn(u64) + Sync),
    /// Which file is unpacked; once it is, the rest of the package is not read.
    pub wanted: Option<&'o (dyn Fn(&str) -> bool + Sync)>,
}

impl Package {
    /// Which kind of package a file is by its first bytes, if any.
    #[must_use]
    pub fn kind_of(path: &Path) -> Option<Kind> {
        let mut head = [0; 8];
        // A FIFO would be waited for.
        std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file)?;
        let n = fill(&mut File::open(path).ok()?, &mut head).ok()?;
        match &head[..n] {
            b"!<arch>\n" => Some(Kind::Deb),
            [0xed, 0xab, 0xee, 0xdb, ..] => Some(Kind::Rpm),
            _ => None,
        }
    }

    /// Opens it.
    ///
    /// # Errors
    /// As [`PackageError`] says.
    pub fn open(path: &Path, how: &Opening<'_>) -> Result<Self, PackageError> {
        let kind = Self::kind_of(path).ok_or(PackageError::Foreign)?;
        let file = File::open(path).map_err(PackageError::Io)?;
        let mut package = Self::read(kind, &mut BufReader::new(file), how)?;
        package.path = path.to_owned();
        Ok(package)
    }

    /// Reads a package from its first byte on.
    fn read(kind: Kind, file: &mut dyn Read, how: &Opening<'_>) -> Result<Self, PackageError> {
        let faults = Faults::default();
        let mut source = Source { file, peeked: Vec::new(), hash: Sha256::new(), how, faults: &faults };
        let mut into = Unpacker::new(how)?;
        let pieces = match kind {
            Kind::Deb => ar::read(&mut source, &mut into),
            Kind::Rpm => rpm::read(&mut source, &mut into),
        };
        // What a reader below met is the cause of whatever those above say.
        let pieces = match faults.or(pieces) {
            Err(PackageError::Found) => Vec::new(),
            pieces => pieces?,
        };
        let (entries, spool) = into.finish()?;
        let sha256 = Digest(source.hash.finalize().into());
        Ok(Self { kind, path: PathBuf::new(), sha256, entries, pieces, spool: Arc::new(spool) })
    }

    /// Its file's name, for people.
    #[must_use]
    pub fn name(&self) -> String {
        self.path.file_name().map(|name| super::escape_path(Path::new(name))).unwrap_or_default()
    }
}

/// What went wrong in one of the readers that lie one above the other, and where the lowest of them is.
#[derive(Clone, Default)]
struct Faults {
    first: Rc<RefCell<Option<PackageError>>>,
    taken: Rc<Cell<u64>>,
}

impl Faults {
    /// Keeps an error, and makes one for the reader above.
    fn keep(&self, error: PackageError) -> io::Error {
        let told = io::Error::other(error.to_string());
        self.first.borrow_mut().get_or_insert(error);
        told
    }

    fn malformed(&self, what: impl Into<String>) -> PackageError {
        PackageError::Malformed { at: self.taken.get(), what: what.into() }
    }

    /// A result, or the error that is its cause.
    fn or<T>(&self, result: Result<T, PackageError>) -> Result<T, PackageError> {
        let kept = self.first.borrow_mut().take();
        match (result, kept) {
            (Ok(value), _) => Ok(value),
            (Err(_), Some(kept)) => Err(kept),
            (Err(error), None) => Err(error),
        }
    }
}

/// The file: every byte is taken once, in order.
struct Source<'s> {
    file: &'s mut dyn Read,
    /// What was looked at and not taken yet.
    peeked: Vec<u8>,
    hash: Sha256,
    how: &'s Opening<'s>,
    faults: &'s Faults,
}

impl Read for Source<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.how.cancel.load(Ordering::Relaxed) {
            return Err(self.faults.keep(PackageError::Stopped));
        }
        let read = if self.peeked.is_empty() {
            self.file.read(buffer)
        } else {
            let n = self.peeked.len().min(buffer.len());
            buffer[..n].copy_from_slice(&self.peeked[..n]);
            self.peeked.drain(..n);
            Ok(n)
        };
        let n = match read {
            Ok(n) => n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Err(error),
            Err(error) => return Err(self.faults.keep(PackageError::Io(error))),
        };
        self.hash.update(&buffer[..n]);
        self.faults.taken.set(self.faults.taken.get() + n as u64);
        (self.how.progress)(n as u64);
        Ok(n)
    }
}

impl Source<'_> {
    /// As many bytes, which are few, or what is missing.
    fn exactly(&mut self, buffer: &mut [u8], what: &str) -> Result<(), PackageError> {
        match fill(self, buffer) {
            Ok(n) if n == buffer.len() => Ok(()),
            Ok(n) => {
                Err(self.faults.malformed(format!("{what} should have {} bytes, and {n} are there", buffer.len())))
            }
            Err(error) => Err(PackageError::Io(error)),
        }
    }

    /// The next few bytes, which are still to be taken.
    fn peek(&mut self) -> Result<&[u8], PackageError> {
        let mut next = [0; 8];
        let n = fill(self.file, &mut next).map_err(PackageError::Io)?;
        self.peeked.extend_from_slice(&next[..n]);
        Ok(&self.peeked)
    }

    /// Takes what is left.
    fn drain(&mut self) -> Result<u64, PackageError> {
        io::copy(self, &mut io::sink()).map_err(PackageError::Io)
    }

    /// Hands the archive that the next bytes are, unpacked, to `read`, and says what it was.
    fn archive(
        &mut self,
        (name, header, size): (String, String, u64),
        packing: Option<Packing>,
        read: impl FnOnce(&mut dyn Read) -> Result<(), PackageError>,
    ) -> Result<Piece, PackageError> {
        let faults = self.faults.clone();
        let mut outside = Hashing { reader: self.take(size), hash: Sha256::new() };
        let inside = {
            let source = BufReader::with_capacity(64 << 10, &mut outside);
            let decoder: Box<dyn Read + '_> = match packing {
                Some(packing) => reader(packing, source, Extent::All)
                    .map_err(|error| faults.malformed(format!("{name}: its {packing} data cannot be read: {error}")))?,
                None => Box::new(source),
            };
            let bounded = Bounded { reader: decoder, left: LARGEST, packing, name: &name, faults: &faults };
            let mut inside = Hashing { reader: bounded, hash: Sha256::new() };
            read(&mut inside)?;
            // What comes after the end of the archive is part of the file as well.
            io::copy(&mut inside, &mut io::sink()).map_err(PackageError::Io)?;
            Digest(inside.hash.finalize().into())
        };
        // As after the last stream of a compressed member.
        io::copy(&mut outside, &mut io::sink()).map_err(PackageError::Io)?;
        // A payload goes on to the end of the file.
        if size != u64::MAX && outside.reader.limit() > 0 {
            let what = format!("{name} should have {size} bytes, and {} are missing", outside.reader.limit());
            return Err(faults.malformed(what));
        }
        Ok(Piece { name, header, packing, outside: Digest(outside.hash.finalize().into()), inside })
    }
}

struct Hashing<R> {
    reader: R,
    hash: Sha256,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.reader.read(buffer)?;
        self.hash.update(&buffer[..n]);
        Ok(n)
    }
}

/// What a decoder gives, up to a bound, with its errors kept.
struct Bounded<'b> {
    reader: Box<dyn Read + 'b>,
    left: u64,
    packing: Option<Packing>,
    name: &'b str,
    faults: &'b Faults,
}

impl Read for Bounded<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = match self.reader.read(buffer) {
            Ok(n) => n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Err(error),
            Err(error) => {
                let packing = self.packing.map_or("plain".to_owned(), |packing| packing.to_string());
                let what = format!("{}: its {packing} data cannot be read: {error}", self.name);
                return Err(self.faults.keep(self.faults.malformed(what)));
            }
        };
        match self.left.checked_sub(n as u64) {
            Some(left) => self.left = left,
            None => {
                let what =
                    format!("{} has more than {} GiB inside, the most that is unpacked", self.name, LARGEST >> 30);
                return Err(self.faults.keep(PackageError::TooLarge(what)));
            }
        }
        Ok(n)
    }
}
