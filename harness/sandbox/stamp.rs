//! Modification times: make goes by them, so an edit has to be later than every output and earlier than what the
//! next build writes, on whatever file system, and without long sleeps.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat, Timestamps, fstat, futimens, open, openat, statat};
use rustix::time::{ClockId, Timespec, clock_gettime};
use serde::{Deserialize, Serialize};

const BILLION: i128 = 1_000_000_000;

/// A modification time: seconds and nanoseconds since 1970-01-01 UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Stamp {
    /// Seconds; negative before 1970.
    pub secs: i64,
    /// Nanoseconds, below 1,000,000,000.
    pub nanos: u32,
}

impl Stamp {
    fn total(self) -> i128 {
        i128::from(self.secs) * BILLION + i128::from(self.nanos)
    }

    fn from_total(total: i128) -> Self {
        Self { secs: total.div_euclid(BILLION) as i64, nanos: total.rem_euclid(BILLION) as u32 }
    }

    /// The modification time of a file.
    pub(super) fn modified(stat: &Stat) -> Self {
        Self { secs: stat.st_mtime, nanos: stat.st_mtime_nsec as u32 }
    }

    /// Both access and modification time, for utimensat(2).
    pub(super) fn times(self) -> Timestamps {
        let t = Timespec { tv_sec: self.secs, tv_nsec: i64::from(self.nanos) };
        Timestamps { last_access: t, last_modification: t }
    }
}

/// What can go wrong with a stamp.
#[derive(Debug, thiserror::Error)]
pub enum StampError {
    /// A directory cannot be read or written.
    #[error("cannot look at times in `{}`", path.display())]
    Io {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is later than the clock: waiting would take too long.
    #[error("a file is {} s later than the clock of this host", ahead.as_secs())]
    Future {
        /// By how much.
        ahead: Duration,
    },
}

impl StampError {
    /// What would help.
    pub fn hint(&self) -> &'static str {
        match self {
            StampError::Io { .. } => "the directory has to exist and be writable",
            StampError::Future { .. } => "set the clock, or touch the files of the tree",
        }
    }
}

/// The latest modification time of any regular file in `trees`, following no symbolic link; the smallest stamp
/// if there is none. What vanishes meanwhile is left out, and so are directories that cannot be read.
///
/// # Errors
/// When one of `trees` itself cannot be read.
pub fn newest_mtime(trees: &[PathBuf]) -> Result<Stamp, StampError> {
    Ok(newest(trees)?.file)
}

/// The latest modification times of a tree.
struct Newest {
    /// Of any regular file.
    file: Stamp,
    /// Of an archive with members of its own.
    archive: Stamp,
}

fn newest(trees: &[PathBuf]) -> Result<Newest, StampError> {
    let never = Stamp { secs: i64::MIN, nanos: 0 };
    let mut newest = Newest { file: never, archive: never };
    for tree in trees {
        let fail = |e: rustix::io::Errno| StampError::Io { path: tree.clone(), source: e.into() };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let top = open(tree, flags - OFlags::NOFOLLOW, Mode::empty()).map_err(fail)?;
        // open directories are few: a tree is as deep as its path, and each is listed as a whole before descending
        let mut stack: Vec<OwnedFd> = vec![top];
        let mut names: Vec<Vec<std::ffi::CString>> = Vec::new();
        names.push(list(&stack[0], &mut newest).map_err(fail)?);
        while let (Some(dir), Some(todo)) = (stack.last(), names.last_mut()) {
            let Some(name) = todo.pop() else {
                stack.pop();
                names.pop();
                continue;
            };
            if let Ok(fd) = openat(dir, name.as_c_str(), flags, Mode::empty()) {
                let found = list(&fd, &mut newest).unwrap_or_default();
                stack.push(fd);
                names.push(found);
            }
        }
    }
    Ok(newest)
}

/// Looks at the files of one directory; returns the names of its directories.
fn list(fd: &OwnedFd, newest: &mut Newest) -> Result<Vec<std::ffi::CString>, rustix::io::Errno> {
    let mut below = Vec::new();
    for entry in Dir::read_from(fd)? {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        if entry.file_type() == FileType::Directory {
            below.push(name.to_owned());
        } else if let Ok(stat) = statat(fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::RegularFile => {
                    let mtime = Stamp::modified(&stat);
                    newest.file = mtime.max(newest.file);
                    if mtime > newest.archive && name.to_bytes().ends_with(b".a") && is_archive(fd, name) {
                        newest.archive = mtime;
                    }
                }
                // file systems without d_type
                FileType::Directory => below.push(name.to_owned()),
                _ => {}
            }
        }
    }
    Ok(below)
}

/// Whether a file is an archive as ar(5) has it. A thin one, as kbuild makes them, has no members that make could ask for.
fn is_archive(dir: &OwnedFd, name: &std::ffi::CStr) -> bool {
    const MAGIC: &[u8; 8] = b"!<arch>\n";
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let mut found = [0; MAGIC.len()];
    let file = openat(dir, name, flags, Mode::empty());
    file.is_ok_and(|file| rustix::io::read(&file, &mut found).is_ok_and(|got| found[..got] == *MAGIC))
}

/// How finely the file system of `dir` keeps modification times, found by setting one and reading it back:
/// 1 ns on most, 1 s and 2 s on old ones.
///
/// # Errors
/// When no file can be made in `dir`.
pub fn granularity(dir: &Path) -> Result<Duration, StampError> {
    let fail = |source: io::Error| StampError::Io { path: dir.to_owned(), source };
    let file: File = tempfile::tempfile_in(dir).map_err(fail)?;
    // odd in every decimal place and in seconds
    let asked = Stamp { secs: 1_111_111_111, nanos: 111_111_111 };
    futimens(&file, &asked.times()).map_err(|e| fail(e.into()))?;
    let stat = fstat(&file).map_err(|e| fail(e.into()))?;
    let got = Stamp::modified(&stat);
    Ok(coarseness(asked, got))
}

/// The smallest usual step that explains why `asked` was kept as `got`.
fn coarseness(asked: Stamp, got: Stamp) -> Duration {
    let steps = [1, 100, 1_000, 1_000_000, 10_000_000, 1_000_000_000, 2_000_000_000];
    let kept = |step: u64| asked.total() - asked.total().rem_euclid(i128::from(step)) == got.total();
    Duration::from_nanos(steps.into_iter().find(|s| kept(*s)).unwrap_or(2_000_000_000))
}

/// The first time that a file system of this granularity keeps strictly apart from `newest`.
pub fn next_stamp(newest: Stamp, granularity: Duration) -> Stamp {
    let step = i128::try_from(granularity.as_nanos()).unwrap_or(1).max(1);
    Stamp::from_total((newest.total().div_euclid(step) + 1) * step)
}

/// Waits until whatever is written from now on is strictly later than `stamp`, also after rounding down to
/// `granularity`. The kernel stamps files with its coarse clock (current_time() in fs/inode.c), which
/// ticks every 1 to 10 ms, so with fine granularity that is the longest wait.
///
/// # Errors
/// [`StampError::Future`] when that is more than a tick and two steps away.
pub fn wait_past(stamp: Stamp, granularity: Duration) -> Result<(), StampError> {
    wait_for(stamp, granularity, Duration::ZERO)
}

/// As [`wait_past`], for a stamp that may be so much later than now.
fn wait_for(stamp: Stamp, granularity: Duration, later: Duration) -> Result<(), StampError> {
    let goal = next_stamp(stamp, granularity);
    let now = || {
        let t = clock_gettime(ClockId::RealtimeCoarse);
        Stamp { secs: t.tv_sec, nanos: t.tv_nsec as u32 }
    };
    let ahead = goal.total() - now().total();
    let patience = 2 * granularity.as_nanos() as i128 + later.as_nanos() as i128 + 50_000_000;
    if ahead > patience {
        return Err(StampError::Future { ahead: Duration::from_nanos(u64::try_from(ahead).unwrap_or(u64::MAX)) });
    }
    let begin = Instant::now();
    while now() < goal {
        std::thread::sleep(Duration::from_micros(200));
        // somebody set the clock back
        if begin.elapsed() > Duration::from_nanos(patience as u64) * 2 {
            return Err(StampError::Future { ahead: begin.elapsed() });
        }
    }
    Ok(())
}

/// A stamp for an edit: strictly later than every file in `trees`, and when this returns strictly earlier than
/// whatever is written next on the file system of `on`, a writable directory.
///
/// # Errors
/// As [`newest_mtime`], [`granularity`], [`wait_past`].
pub fn stamp_after(trees: &[PathBuf], on: &Path) -> Result<Stamp, StampError> {
    let granularity = granularity(on)?;
    let newest = newest(trees)?;
    // an empty tree has no time; any but the oldest will do
    let first = Stamp { secs: 1, nanos: 0 };
    let stamp = next_stamp(newest.file.max(first), granularity);
    // An archive keeps the times of its members in seconds, and make takes such a time for the end of its second (GNU make,
    // remake.c, `f_mtime`): within that nothing is newer.
    let second = Duration::from_secs(1);
    let stamp = stamp.max(next_stamp(newest.archive.max(first), granularity.max(second)));
    wait_for(stamp, granularity, second)?;
    Ok(stamp)
}

/// `utimensat` on the entry itself, never on what a link leads to.
pub(super) fn set_times_at(dir: &OwnedFd, name: &std::ffi::OsStr, stamp: Stamp) -> Result<(), rustix::io::Errno> {
    rustix::fs::utimensat(dir, name, &stamp.times(), AtFlags::SYMLINK_NOFOLLOW)
}

/// `utimensat` on an open file, `O_PATH` too.
pub(super) fn set_times(file: &OwnedFd, stamp: Stamp) -> Result<(), rustix::io::Errno> {
    rustix::fs::utimensat(CWD, super::ops::magic_link(file), &stamp.times(), AtFlags::empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn s(secs: i64, nanos: u32) -> Stamp {
        Stamp { secs, nanos }
    }

    #[test]
    fn the_next_stamp_is_strictly_later_in_the_file_system_s_own_steps() {
        let ns = Duration::from_nanos(1);
        assert_eq!(next_stamp(s(5, 999_999_999), ns), s(6, 0));
        assert_eq!(next_stamp(s(5, 1), Duration::from_secs(1)), s(6, 0));
        assert_eq!(next_stamp(s(5, 0), Duration::from_secs(2)), s(6, 0));
        assert_eq!(next_stamp(s(6, 0), Duration::from_secs(2)), s(8, 0));
        assert_eq!(next_stamp(s(-1, 5), Duration::from_secs(1)), s(0, 0));
    }

    #[test]
    fn granularity_is_told_from_what_was_kept() {
        let asked = s(1_111_111_111, 111_111_111);
        assert_eq!(coarseness(asked, asked), Duration::from_nanos(1));
        assert_eq!(coarseness(asked, s(1_111_111_111, 111_111_100)), Duration::from_nanos(100));
        assert_eq!(coarseness(asked, s(1_111_111_111, 0)), Duration::from_secs(1));
        assert_eq!(coarseness(asked, s(1_111_111_110, 0)), Duration::from_secs(2));
    }

    #[test]
    fn an_edit_is_later_than_outputs_and_earlier_than_the_next_ones() {
        let dir = tempfile::tempdir().unwrap();
        let mtime = |p: &Path| {
            let stat = rustix::fs::stat(p).unwrap();
            Stamp::modified(&stat)
        };
        for round in 0..50 {
            let (old, new) = (dir.path().join(format!("old{round}")), dir.path().join(format!("new{round}")));
            fs::write(&old, "x").unwrap();
            let stamp = stamp_after(&[dir.path().to_owned()], dir.path()).unwrap();
            fs::write(&new, "x").unwrap();
            assert!(mtime(&old) < stamp, "round {round}");
            assert!(stamp < mtime(&new), "round {round}");
        }
    }

    #[test]
    fn links_are_not_followed_and_the_future_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("tree")).unwrap();
        fs::write(dir.path().join("tree/a"), "").unwrap();
        let late = File::create(dir.path().join("late")).unwrap();
        futimens(&late, &s(10_000_000_000, 0).times()).unwrap();
        std::os::unix::fs::symlink("../late", dir.path().join("tree/link")).unwrap();
        std::os::unix::fs::symlink("..", dir.path().join("tree/up")).unwrap();
        let tree = [dir.path().join("tree")];
        assert!(newest_mtime(&tree).unwrap() < s(10_000_000_000, 0));
        let all = [dir.path().to_owned()];
        assert_eq!(newest_mtime(&all).unwrap(), s(10_000_000_000, 0));
        assert!(matches!(stamp_after(&all, dir.path()), Err(StampError::Future { .. })));
    }
}
