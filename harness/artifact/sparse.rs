//! Files with holes, read and copied without the holes, and without outlasting who has to stop.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{SeekFrom as Whence, seek};
use rustix::io::Errno;

use super::ArtifactError;

/// What is copied between two looks at the flag: some hundredths of a second.
const CHUNK: u64 = 16 << 20;

/// Bounds of the looking at files.
#[derive(Debug, Clone, Copy)]
pub struct Bounds<'c> {
    /// Set when everything is to stop.
    pub cancel: &'c AtomicBool,
    /// Larger files are not read.
    pub largest: u64,
}

impl Bounds<'static> {
    /// None.
    #[must_use]
    pub fn none() -> Self {
        static NEVER: AtomicBool = AtomicBool::new(false);
        Self { cancel: &NEVER, largest: u64::MAX }
    }
}

/// The flag was set.
#[derive(Debug, thiserror::Error)]
#[error("stopped")]
struct Stopped;

pub(super) fn go_on(cancel: &AtomicBool) -> io::Result<()> {
    if cancel.load(Ordering::Relaxed) { Err(io::Error::other(Stopped)) } else { Ok(()) }
}

/// Whether an error is that of a set flag.
pub(super) fn is_stop(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<Stopped>())
}

/// A regular file whose holes are zeros that no disk is asked for.
pub(super) struct SparseFile<'c> {
    file: File,
    cancel: &'c AtomicBool,
    at: u64,
    /// What is known of the bytes from `at` on: data up to here, or zeros up to there.
    data: u64,
    zeros: u64,
    sparse: bool,
}

impl<'c> SparseFile<'c> {
    /// Opens it.
    ///
    /// # Errors
    /// [`ArtifactError::NotAFile`], [`ArtifactError::TooLarge`], or that it cannot be opened.
    pub(super) fn open(path: &Path, bounds: &Bounds<'c>) -> Result<Self, ArtifactError> {
        let read_error = |e| ArtifactError::io("read", path, e);
        // Look before opening: opening a FIFO would wait for its writer.
        if !std::fs::metadata(path).map_err(read_error)?.is_file() {
            return Err(ArtifactError::NotAFile { path: path.to_owned() });
        }
        let file = File::open(path).map_err(read_error)?;
        let meta = file.metadata().map_err(read_error)?;
        if meta.len() > bounds.largest {
            return Err(ArtifactError::TooLarge { path: path.to_owned(), size: meta.len(), largest: bounds.largest });
        }
        let sparse = meta.blocks() * 512 < meta.len();
        Ok(Self { file, cancel: bounds.cancel, at: 0, data: 0, zeros: 0, sparse })
    }

    pub(super) fn metadata(&self) -> io::Result<std::fs::Metadata> {
        self.file.metadata()
    }

    fn look(&mut self) -> io::Result<()> {
        let next = if self.sparse { next_data(&self.file, self.at)? } else { Some((self.at, u64::MAX)) };
        match next {
            Some((start, _)) if start > self.at => self.zeros = start,
            Some((_, end)) => self.data = end,
            // at the end of the file a read says so
            None => {
                self.zeros = self.file.metadata()?.len();
                self.data = u64::MAX;
            }
        }
        Ok(())
    }
}

impl Read for SparseFile<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        go_on(self.cancel)?;
        if self.at >= self.data && self.at >= self.zeros {
            self.look()?;
        }
        let within = |end: u64| usize::try_from(end - self.at).map_or(buffer.len(), |left| left.min(buffer.len()));
        let n = if self.at < self.zeros {
            let n = within(self.zeros);
            buffer[..n].fill(0);
            n
        } else {
            let n = within(self.data);
            self.file.read_at(&mut buffer[..n], self.at)?
        };
        self.at += n as u64;
        Ok(n)
    }
}

impl Seek for SparseFile<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
            SeekFrom::End(by) => self.file.metadata()?.len().checked_add_signed(by),
        };
        self.at = at.ok_or(io::ErrorKind::InvalidInput)?;
        (self.data, self.zeros) = (0, 0);
        Ok(self.at)
    }
}

/// Where the next data begins and ends (lseek(2)); `None` if there is only a hole up to the end of the file.
fn next_data(file: &File, at: u64) -> io::Result<Option<(u64, u64)>> {
    match seek(file, Whence::Data(at)) {
        Ok(start) => Ok(Some((start, seek(file, Whence::Hole(start))?))),
        Err(Errno::NXIO) => Ok(None),
        // a file system without holes
        Err(Errno::INVAL | Errno::OPNOTSUPP) => Ok(Some((at, u64::MAX))),
        Err(e) => Err(e.into()),
    }
}

/// Copies content and permission bits to a file that is there, holes as holes.
///
/// # Errors
/// What the file system answers; [`is_stop`] when the flag was set.
pub(super) fn copy(from: &Path, to: &Path, cancel: &AtomicBool) -> io::Result<()> {
    let (mut source, mut target) =
        (File::open(from)?, File::options().write(true).create(true).truncate(true).open(to)?);
    let meta = source.metadata()?;
    target.set_len(meta.len())?;
    let mut at = 0;
    while let Some((start, end)) = next_data(&source, at)? {
        let end = end.min(meta.len());
        if start >= end {
            break;
        }
        source.seek(SeekFrom::Start(start))?;
        target.seek(SeekFrom::Start(start))?;
        at = start;
        while at < end {
            go_on(cancel)?;
            // the kernel copies it, if the file systems can
            match io::copy(&mut (&source).take(CHUNK.min(end - at)), &mut target)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                n => at += n,
            }
        }
    }
    target.set_permissions(meta.permissions())
}

#[cfg(test)]
mod tests {
    use super::super::{Digest, hash};
    use super::*;

    /// A file of `size` bytes with data in some places.
    fn holey(path: &Path, size: u64, data: &[u64]) {
        let file = File::create(path).expect("made");
        file.set_len(size).expect("set");
        data.iter().for_each(|at| file.write_all_at(b"some data", *at).expect("written"));
    }

    #[test]
    fn holes_are_zeros() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("f");
        for (size, data) in
            [(0, &[][..]), (9, &[0]), (5 << 20, &[]), (5 << 20, &[0, 1 << 20]), ((4 << 20) + 9, &[4 << 20])]
        {
            holey(&path, size, data);
            let whole = std::fs::read(&path).expect("read");
            assert_eq!(hash::hash_file(&path).expect("hashed"), (Digest::of(&whole), size), "{size} {data:?}");
            let mut file = SparseFile::open(&path, &Bounds::none()).expect("opened");
            let middle = size / 2;
            file.seek(SeekFrom::Start(middle)).expect("sought");
            let mut rest = Vec::new();
            file.read_to_end(&mut rest).expect("read");
            assert!(rest == whole[usize::try_from(middle).expect("small")..], "{size} {data:?}");
            let copied = dir.path().join("g");
            copy(&path, &copied, Bounds::none().cancel).expect("copied");
            assert!(std::fs::read(&copied).expect("read") == whole, "{size} {data:?}");
            let blocks = |path: &Path| std::fs::metadata(path).expect("there").blocks();
            assert!(blocks(&copied) <= blocks(&path) + 8, "{size} {data:?}");
        }
    }

    #[test]
    fn a_set_flag_and_a_bound_stop_at_once() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("f");
        holey(&path, 1 << 40, &[0]);
        let cancel = AtomicBool::new(true);
        let error = hash::hash_file_within(&path, &Bounds { cancel: &cancel, largest: u64::MAX }).expect_err("stopped");
        assert!(matches!(error, ArtifactError::Stopped), "{error}");
        assert!(is_stop(&copy(&path, &dir.path().join("g"), &cancel).expect_err("stopped")));
        let error =
            hash::hash_file_within(&path, &Bounds { largest: 64 << 30, ..Bounds::none() }).expect_err("too large");
        assert!(
            error.is_of_the_build()
                && error.to_string().ends_with("is 1024 GiB long, more than the 64 GiB that are read"),
            "{error}"
        );
    }
}
