//! Patches that the command line names: files, and standard input.

use std::fs;
use std::io::{self, ErrorKind, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::atomic::Ordering;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::Session;

/// The largest patch that is read, in bytes: all of one release of the kernel after the other takes 70 million.
const LARGEST: u64 = 256 << 20;

/// How long a pipe is waited for at a time: a signal ends the waiting.
const PATIENCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// A file, or standard input, that is no larger than a patch can be. Who writes to a pipe may never come.
pub(super) fn bytes(path: &Path, cwd: &Path, session: &Session<'_>) -> io::Result<Vec<u8>> {
    let mut file: Box<dyn Source> = if path == Path::new("-") {
        Box::new(io::stdin())
    } else {
        let path = cwd.join(path);
        let kind = fs::metadata(&path)?.file_type();
        if kind.is_dir() || kind.is_block_device() || kind.is_char_device() {
            return Err(io::Error::other("it is no file"));
        }
        Box::new(fs::File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path)?)
    };
    let (mut bytes, mut part) = (Vec::new(), vec![0; 1 << 16]);
    loop {
        let ready = poll(&mut [PollFd::new(&file, PollFlags::IN)], Some(&PATIENCE));
        if session.cancel.load(Ordering::Relaxed) {
            return Err(io::Error::other("stopped while it was waited for"));
        }
        if matches!(ready, Ok(0) | Err(rustix::io::Errno::INTR)) {
            continue;
        }
        match file.read(&mut part) {
            Ok(0) => return Ok(bytes),
            Ok(length) => bytes.extend(&part[..length]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(error) => return Err(error),
        }
        if bytes.len() as u64 > LARGEST {
            return Err(io::Error::other(format!("it has more than {} MiB", LARGEST >> 20)));
        }
    }
}

/// What can be read and waited for.
trait Source: Read + AsFd {}

impl<T: Read + AsFd> Source for T {}
