//! What was opened, as fanotify(7) tells it: nobody has to stop for that.
//!
//! open(2) queues its event before it returns, and the queue is read at every stop before the task that stopped goes on. So the
//! file still has the name and the content that it had when it was opened, but for a task that opens it while another one is
//! in the call that changes it. Equal events of one task that follow each other are merged, which tells as much.
//!
//! An event does not say how the file was opened. Tasks stop at calls that open for writing, and what comes of a task in such a
//! call is that open. A directory is taken for listed. Of what is opened with `O_PATH` there is no event.

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use libc::pid_t;

use super::sys;
use crate::sandbox::listen;

/// Told of every file that is opened, by anyone.
pub(super) struct Listener {
    group: OwnedFd,
    /// What it listened to when it began.
    mounts: BTreeSet<(PathBuf, Vec<u8>)>,
    /// How many events are taken at once.
    most: usize,
    /// Those that were taken and not told yet.
    taken: VecDeque<sys::Event>,
}

/// How many events are taken at once, each with a descriptor. Where one of several fails, kernels before 6.13 drop it.
const MOST: usize = 64;

/// One open, or why it is not known.
pub(super) enum Heard {
    /// A thread opened a file.
    Opened(Opened),
    /// The queue was full.
    Overflow,
    /// What this thread opened could not be opened again; by whom is not known of kernels before 6.13.
    Failed(Option<pid_t>, io::Error),
}

/// A thread opened a file.
pub(super) struct Opened {
    /// Which.
    pub(super) task: pid_t,
    /// Whether the kernel did it, to run a program: this, a script, an interpreter, a dynamic loader. Before or after that, the
    /// same task may have opened it to read it.
    pub(super) to_run: bool,
    /// The file.
    pub(super) file: OwnedFd,
}

impl Opened {
    /// Whether it is a directory: the kernel says so only to groups that get no descriptors.
    pub(super) fn is_directory(&self) -> bool {
        rustix::fs::fstat(&self.file).is_ok_and(|data| rustix::fs::FileType::from_raw_mode(data.st_mode).is_dir())
    }
}

impl Listener {
    /// Listens, if the host allows it: by the sandbox's descriptor, or in a mount namespace of its own.
    pub(super) fn new() -> io::Result<Self> {
        let group = listen::inherited().map_or_else(listen::listen_apart, Ok)?;
        let most = if listen::tells_errors(group.as_fd()) { MOST } else { 1 };
        Ok(Self { group, mounts: listen::mounts()?, most, taken: VecDeque::new() })
    }

    /// The next event that is there already.
    pub(super) fn next(&mut self) -> Option<Heard> {
        if self.taken.is_empty() {
            match sys::events(self.group.as_fd(), self.most) {
                Ok(events) => self.taken.extend(events),
                Err(error) => return Some(Heard::Failed(None, error)),
            }
        }
        let event = self.taken.pop_front()?;
        if event.mask & libc::FAN_Q_OVERFLOW != 0 {
            return Some(Heard::Overflow);
        }
        Some(match event.file {
            Ok(file) => Heard::Opened(Opened { task: event.task, to_run: event.mask & libc::FAN_OPEN_EXEC != 0, file }),
            Err(error) => Heard::Failed(Some(event.task), error),
        })
    }

    /// Hears no more of a file.
    pub(super) fn ignore(&self, path: &Path) {
        // It may be gone again.
        let _ = listen::ignore(self.group.as_fd(), path);
    }

    /// Whether something was mounted since: what was opened there was not told.
    pub(super) fn outgrown(&self) -> bool {
        listen::mounts().map_or(true, |now| !now.is_subset(&self.mounts))
    }
}
