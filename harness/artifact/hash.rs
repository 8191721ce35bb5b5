//! SHA-256 of readers and files, streaming through a buffer of fixed size.

use std::fmt;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use rayon::prelude::*;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};

use super::ArtifactError;
use super::sparse::{Bounds, SparseFile};

/// Bytes read at once: large enough that system calls do not show, small enough for the L2 cache.
const BUFFER: usize = 128 << 10;

/// A SHA-256 digest (FIPS 180-4); shown, stored and ordered as 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// The digest of bytes already in memory.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// The first 12 digits, enough to tell files of one run apart in a message.
    pub fn short(&self) -> String {
        self.to_string()[..12].to_owned()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Text that is not 64 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a SHA-256 digest of 64 hexadecimal digits")]
pub struct BadDigest(String);

impl FromStr for Digest {
    type Err = BadDigest;

    fn from_str(text: &str) -> Result<Self, BadDigest> {
        let bad = || BadDigest(text.chars().take(80).collect());
        let digits = text.as_bytes();
        if digits.len() != 64 {
            return Err(bad());
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let high = char::from(pair[0]).to_digit(16).ok_or_else(bad)?;
            let low = char::from(pair[1]).to_digit(16).ok_or_else(bad)?;
            *byte = (high << 4 | low) as u8;
        }
        Ok(Self(bytes))
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // `Cow` does not borrow through every format; a short String costs nothing here.
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// Reads to the end; the digest and the number of bytes read.
///
/// # Errors
/// What the reader says; interrupted reads are repeated.
pub fn hash_reader(reader: &mut impl Read) -> io::Result<(Digest, u64)> {
    let mut hasher = Sha256::new();
    let mut size = 0;
    let mut buffer = vec![0; BUFFER];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return Ok((Digest(hasher.finalize().into()), size)),
            Ok(n) => {
                hasher.update(&buffer[..n]);
                size += n as u64;
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}

/// The digest and length in bytes of a regular file.
///
/// # Errors
/// [`ArtifactError::NotAFile`] for anything else than a regular file (a symbolic link is followed),
/// [`ArtifactError::Io`] when it cannot be read.
pub fn hash_file(path: &Path) -> Result<(Digest, u64), ArtifactError> {
    hash_file_within(path, &Bounds::none())
}

/// As [`hash_file`], within bounds.
///
/// # Errors
/// As [`hash_file`], and [`ArtifactError::TooLarge`] or [`ArtifactError::Stopped`].
pub fn hash_file_within(path: &Path, bounds: &Bounds<'_>) -> Result<(Digest, u64), ArtifactError> {
    let mut file = SparseFile::open(path, bounds)?;
    hash_reader(&mut file).map_err(|e| ArtifactError::io("read", path, e))
}

/// [`hash_file`] of many files on rayon's threads; the results are in the order of `paths`.
pub fn hash_files(paths: &[PathBuf]) -> Vec<Result<(Digest, u64), ArtifactError>> {
    paths.par_iter().map(|path| hash_file(path)).collect()
}

/// A reader handed out in spans of known length, for one pass over a file and all its parts.
pub(super) struct Chunks<R> {
    reader: R,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

impl<R: Read> Chunks<R> {
    pub(super) fn new(reader: R) -> Self {
        Self { reader, buffer: vec![0; BUFFER], start: 0, end: 0 }
    }

    /// Passes the next `size` bytes to `sink`, in pieces.
    pub(super) fn take(&mut self, mut size: u64, mut sink: impl FnMut(&[u8])) -> io::Result<()> {
        while size > 0 {
            if self.at_end()? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let held = self.end - self.start;
            let n = usize::try_from(size).map_or(held, |size| size.min(held));
            sink(&self.buffer[self.start..self.start + n]);
            self.start += n;
            size -= n as u64;
        }
        Ok(())
    }

    /// Whether nothing is left, which only another read can tell.
    pub(super) fn at_end(&mut self) -> io::Result<bool> {
        while self.start == self.end {
            match self.reader.read(&mut self.buffer) {
                Ok(0) => return Ok(true),
                Ok(n) => (self.start, self.end) = (0, n),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(false)
    }
}

/// Reads until the buffer is full or the reader ends; how many bytes there were.
///
/// # Errors
/// What the reader says; interrupted reads are repeated.
pub(super) fn fill(reader: &mut dyn Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut have = 0;
    while have < buffer.len() {
        match reader.read(&mut buffer[have..]) {
            Ok(0) => break,
            Ok(n) => have += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(have)
}
