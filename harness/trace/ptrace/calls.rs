//! The system calls that are stopped at, and what each tells. Those that only make, change or remove something
//! (creat(2), mkdir(2), unlink(2)) are no looks and are not here.

use libc::c_long;

use crate::trace::Look;

/// A system call that is stopped at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call {
    /// Its number on this architecture.
    pub(super) nr: c_long,
    /// Its name.
    pub(super) name: &'static str,
    /// What it tells.
    pub(super) tells: Tells,
}

/// What a system call tells.
#[derive(Clone, Copy, Debug)]
pub(super) enum Tells {
    /// A process looks at a path.
    Path {
        /// The argument with the directory it is relative to; without one that is the working directory.
        dir: Option<usize>,
        /// The argument that points to it.
        path: usize,
        /// How it looks.
        how: How,
    },
    /// It opens files by other means than a path, or wants to trace.
    Unfollowed,
    /// It changes what paths mean.
    Moves,
}

/// How a system call looks at its path.
#[derive(Clone, Copy, Debug)]
pub(super) enum How {
    /// Always in this way.
    As(Look),
    /// As the flags say, in this argument.
    Open(usize),
    /// As `struct open_how` says, to which this argument points (openat2(2)).
    OpenAs(usize),
    /// Runs it.
    Exec,
}

const PROBE: How = How::As(Look::Probed);
const READ: How = How::As(Look::Read);

/// A path in the first argument.
const fn path(nr: c_long, name: &'static str, how: How) -> Call {
    Call { nr, name, tells: Tells::Path { dir: None, path: 0, how } }
}

/// A directory in the first argument, a path in the second.
const fn at(nr: c_long, name: &'static str, how: How) -> Call {
    Call { nr, name, tells: Tells::Path { dir: Some(0), path: 1, how } }
}

const fn odd(nr: c_long, name: &'static str, tells: Tells) -> Call {
    Call { nr, name, tells }
}

/// On every architecture. Numbers from 424 on are the same everywhere and given where libc has no name yet.
const COMMON: &[Call] = &[
    at(libc::SYS_openat, "openat", How::Open(2)),
    at(libc::SYS_openat2, "openat2", How::OpenAs(2)),
    at(libc::SYS_newfstatat, "newfstatat", PROBE),
    at(libc::SYS_statx, "statx", PROBE),
    at(libc::SYS_faccessat, "faccessat", PROBE),
    at(libc::SYS_faccessat2, "faccessat2", PROBE),
    at(libc::SYS_readlinkat, "readlinkat", PROBE),
    path(libc::SYS_execve, "execve", How::Exec),
    at(libc::SYS_execveat, "execveat", How::Exec),
    path(libc::SYS_chdir, "chdir", PROBE),
    path(libc::SYS_statfs, "statfs", PROBE),
    path(libc::SYS_getxattr, "getxattr", PROBE),
    path(libc::SYS_lgetxattr, "lgetxattr", PROBE),
    path(libc::SYS_listxattr, "listxattr", PROBE),
    path(libc::SYS_llistxattr, "llistxattr", PROBE),
    at(464, "getxattrat", PROBE),
    at(465, "listxattrat", PROBE),
    at(468, "file_getattr", PROBE),
    at(libc::SYS_name_to_handle_at, "name_to_handle_at", PROBE),
    at(libc::SYS_open_tree, "open_tree", PROBE),
    at(467, "open_tree_attr", PROBE),
    at(libc::SYS_fspick, "fspick", PROBE),
    odd(libc::SYS_inotify_add_watch, "inotify_add_watch", Tells::Path { dir: None, path: 1, how: PROBE }),
    odd(libc::SYS_fanotify_mark, "fanotify_mark", Tells::Path { dir: Some(3), path: 4, how: PROBE }),
    // What was there goes on under another name, by which nobody knows it.
    at(libc::SYS_linkat, "linkat", READ),
    at(libc::SYS_renameat, "renameat", READ),
    at(libc::SYS_renameat2, "renameat2", READ),
    odd(libc::SYS_io_uring_setup, "io_uring_setup", Tells::Unfollowed),
    odd(libc::SYS_open_by_handle_at, "open_by_handle_at", Tells::Unfollowed),
    // Fails on a process that has a tracer, so that the command does something else than without.
    odd(libc::SYS_ptrace, "ptrace", Tells::Unfollowed),
    odd(libc::SYS_chroot, "chroot", Tells::Moves),
    odd(libc::SYS_pivot_root, "pivot_root", Tells::Moves),
    odd(libc::SYS_mount, "mount", Tells::Moves),
    odd(libc::SYS_umount2, "umount2", Tells::Moves),
    odd(libc::SYS_move_mount, "move_mount", Tells::Moves),
    odd(libc::SYS_setns, "setns", Tells::Moves),
];

/// Those without a directory, which newer architectures no longer have.
#[cfg(target_arch = "x86_64")]
const OWN: &[Call] = &[
    path(libc::SYS_open, "open", How::Open(1)),
    path(libc::SYS_stat, "stat", PROBE),
    path(libc::SYS_lstat, "lstat", PROBE),
    path(libc::SYS_access, "access", PROBE),
    path(libc::SYS_readlink, "readlink", PROBE),
    path(libc::SYS_link, "link", READ),
    path(libc::SYS_rename, "rename", READ),
    path(libc::SYS_uselib, "uselib", READ),
];
#[cfg(not(target_arch = "x86_64"))]
const OWN: &[Call] = &[];

/// All of them.
pub(super) fn all() -> impl Iterator<Item = &'static Call> {
    COMMON.iter().chain(OWN)
}

/// The one at a place in the list, counted from 1.
pub(super) fn listed(place: u32) -> Option<&'static Call> {
    let index = usize::try_from(place).ok()?.checked_sub(1)?;
    COMMON.get(index).or_else(|| OWN.get(index.checked_sub(COMMON.len())?))
}

/// What opening a file with these flags looks at (open(2)).
pub(super) fn open(flags: u64) -> Option<Look> {
    let has = |flag: libc::c_int| {
        let flag = u64::from(flag.cast_unsigned());
        flags & flag == flag
    };
    match () {
        // Before O_DIRECTORY, which is a part of it: a file without a name.
        () if has(libc::O_TMPFILE) => None,
        // Neither content nor names can be had through it; what is opened through it is seen.
        () if has(libc::O_PATH) => Some(Look::Probed),
        () if has(libc::O_TRUNC) => None,
        () if has(libc::O_DIRECTORY) => Some(Look::Listed),
        () if has(libc::O_CREAT) && has(libc::O_EXCL) => Some(Look::Probed),
        () if flags & u64::from(libc::O_ACCMODE.cast_unsigned()) == u64::from(libc::O_WRONLY.cast_unsigned()) => None,
        () => Some(Look::Read),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn no_call_is_there_twice() {
        let numbers: BTreeSet<c_long> = all().map(|call| call.nr).collect();
        let names: BTreeSet<&str> = all().map(|call| call.name).collect();
        assert_eq!((numbers.len(), names.len()), (all().count(), all().count()));
        for (call, place) in all().zip(1..) {
            assert_eq!(listed(place).map(|call| call.nr), Some(call.nr));
        }
        assert!(listed(0).is_none() && listed(u32::MAX).is_none());
    }

    #[test]
    fn opening_is_a_look_as_its_flags_say() {
        let look = |flags: libc::c_int| open(u64::from(flags.cast_unsigned()));
        assert_eq!(look(libc::O_RDONLY | libc::O_CLOEXEC), Some(Look::Read));
        assert_eq!(look(libc::O_RDWR), Some(Look::Read));
        assert_eq!(look(libc::O_RDWR | libc::O_CREAT), Some(Look::Read));
        assert_eq!(look(libc::O_RDONLY | libc::O_DIRECTORY), Some(Look::Listed));
        assert_eq!(look(libc::O_PATH | libc::O_DIRECTORY), Some(Look::Probed));
        assert_eq!(look(libc::O_RDWR | libc::O_CREAT | libc::O_EXCL), Some(Look::Probed));
        assert_eq!(look(libc::O_WRONLY | libc::O_CREAT | libc::O_APPEND), None);
        assert_eq!(look(libc::O_RDWR | libc::O_CREAT | libc::O_TRUNC), None);
        assert_eq!(look(libc::O_RDWR | libc::O_TMPFILE), None);
    }
}
