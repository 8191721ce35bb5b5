//! The system calls that are stopped at: what each looks at, and what each changes. Who wants to know only of looks is
//! not stopped at calls that only make, change or remove something (mkdir(2), unlink(2)).

use libc::c_long;

use crate::trace::Look;

/// A system call that is stopped at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call {
    /// Its number on this architecture.
    pub(super) nr: c_long,
    /// Its name.
    pub(super) name: &'static str,
    /// What it tells of looks.
    pub(super) tells: Tells,
    /// What else it does, if it is more than a look or an open.
    pub(super) does: Option<Does>,
}

impl Call {
    /// Whether it looks at a symbolic link rather than at what that leads to.
    pub(super) fn looks_at_link(&self, args: &[u64; 6]) -> bool {
        let asked = |flags: u64| flags & u64::from(libc::AT_SYMLINK_NOFOLLOW.cast_unsigned()) != 0;
        match self.name {
            "lstat" | "readlink" | "readlinkat" | "lgetxattr" | "llistxattr" => true,
            "newfstatat" | "faccessat2" => asked(args[3]),
            "statx" => asked(args[2]),
            _ => false,
        }
    }
}

/// Whether tasks stop at a system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stops {
    /// They make it at full speed.
    Never,
    /// Each time.
    Always,
    /// If it has one of these flags in this argument.
    If {
        /// Which argument.
        argument: u32,
        /// The flags.
        flags: u32,
    },
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
    /// No look.
    Nothing,
    /// No look: it writes to the descriptor in this argument.
    Writes(usize),
    /// It opens files by other means than a path, or wants to trace.
    Unfollowed,
    /// It changes what paths mean.
    Moves,
}

/// A name among the arguments of a system call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Name {
    /// The argument with the directory it is relative to; without one that is the working directory.
    pub(super) dir: Option<usize>,
    /// The argument that points to it.
    pub(super) path: usize,
}

/// What a system call does to names and files.
#[derive(Clone, Copy, Debug)]
pub(super) enum Does {
    /// creat(2).
    Create(Name),
    /// Removes a name; with `AT_REMOVEDIR` in the flags, if there is an argument for them, a directory.
    Remove(Name, Option<usize>),
    /// Removes a directory.
    RemoveDir(Name),
    /// Gives a file another name, in place of the first; the last is the argument with flags.
    Rename(Name, Name, Option<usize>),
    /// Gives a file a further name; the last is the argument with flags.
    Link(Name, Name, Option<usize>),
    /// Makes a link with the text that an argument points to.
    Symlink(usize, Name),
    /// Makes a directory.
    MakeDir(Name),
    /// Makes a pipe, a device or an empty file.
    MakeNode(Name),
    /// Cuts a file to the length in the second argument, by name.
    Truncate(Name),
    /// Sets times; without a path, of the descriptor in the place of the directory.
    Touch(Name),
    /// Sets the mode.
    Mode(Name),
    /// Sets the mode of the descriptor in the first argument.
    ModeOf,
    /// Changes the working directory.
    Enter(Name),
    /// Changes the working directory to the descriptor in the first argument.
    EnterOf,
    /// Reads names from the directory in the first argument.
    List,
    /// Wants to reach the socket address that an argument points to, of the length in another.
    Connect(usize, usize),
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
    Call { nr, name, tells: Tells::Path { dir: None, path: 0, how }, does: None }
}

/// A directory in the first argument, a path in the second.
const fn at(nr: c_long, name: &'static str, how: How) -> Call {
    Call { nr, name, tells: Tells::Path { dir: Some(0), path: 1, how }, does: None }
}

const fn odd(nr: c_long, name: &'static str, tells: Tells) -> Call {
    Call { nr, name, tells, does: None }
}

/// No look, but something is done.
const fn only(nr: c_long, name: &'static str, does: Does) -> Call {
    Call { nr, name, tells: Tells::Nothing, does: Some(does) }
}

const fn and(call: Call, does: Does) -> Call {
    Call { does: Some(does), ..call }
}

const FIRST: Name = Name { dir: None, path: 0 };
const SECOND: Name = Name { dir: None, path: 1 };
const AT: Name = Name { dir: Some(0), path: 1 };
const AT_THIRD: Name = Name { dir: Some(2), path: 3 };
const AFTER_TEXT: Name = Name { dir: Some(1), path: 2 };

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
    and(path(libc::SYS_chdir, "chdir", PROBE), Does::Enter(FIRST)),
    only(libc::SYS_fchdir, "fchdir", Does::EnterOf),
    only(libc::SYS_getdents64, "getdents64", Does::List),
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
    and(at(libc::SYS_linkat, "linkat", READ), Does::Link(AT, AT_THIRD, Some(4))),
    and(at(libc::SYS_renameat, "renameat", READ), Does::Rename(AT, AT_THIRD, None)),
    and(at(libc::SYS_renameat2, "renameat2", READ), Does::Rename(AT, AT_THIRD, Some(4))),
    only(libc::SYS_unlinkat, "unlinkat", Does::Remove(AT, Some(2))),
    only(libc::SYS_mkdirat, "mkdirat", Does::MakeDir(AT)),
    only(libc::SYS_mknodat, "mknodat", Does::MakeNode(AT)),
    only(libc::SYS_symlinkat, "symlinkat", Does::Symlink(0, AFTER_TEXT)),
    only(libc::SYS_truncate, "truncate", Does::Truncate(FIRST)),
    only(libc::SYS_utimensat, "utimensat", Does::Touch(AT)),
    only(libc::SYS_fchmodat, "fchmodat", Does::Mode(AT)),
    only(452, "fchmodat2", Does::Mode(AT)),
    only(libc::SYS_fchmod, "fchmod", Does::ModeOf),
    only(libc::SYS_connect, "connect", Does::Connect(1, 2)),
    only(libc::SYS_sendto, "sendto", Does::Connect(4, 5)),
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
    odd(libc::SYS_unshare, "unshare", Tells::Nothing),
    odd(libc::SYS_write, "write", Tells::Writes(0)),
    odd(libc::SYS_pwrite64, "pwrite64", Tells::Writes(0)),
    odd(libc::SYS_writev, "writev", Tells::Writes(0)),
    odd(libc::SYS_pwritev, "pwritev", Tells::Writes(0)),
    odd(libc::SYS_pwritev2, "pwritev2", Tells::Writes(0)),
    odd(libc::SYS_sendfile, "sendfile", Tells::Writes(0)),
    odd(libc::SYS_fallocate, "fallocate", Tells::Writes(0)),
    odd(libc::SYS_copy_file_range, "copy_file_range", Tells::Writes(2)),
    odd(libc::SYS_splice, "splice", Tells::Writes(2)),
];

/// Those without a directory, which newer architectures no longer have.
#[cfg(target_arch = "x86_64")]
const OWN: &[Call] = &[
    path(libc::SYS_open, "open", How::Open(1)),
    path(libc::SYS_stat, "stat", PROBE),
    path(libc::SYS_lstat, "lstat", PROBE),
    path(libc::SYS_access, "access", PROBE),
    path(libc::SYS_readlink, "readlink", PROBE),
    and(path(libc::SYS_link, "link", READ), Does::Link(FIRST, SECOND, None)),
    and(path(libc::SYS_rename, "rename", READ), Does::Rename(FIRST, SECOND, None)),
    only(libc::SYS_creat, "creat", Does::Create(FIRST)),
    only(libc::SYS_unlink, "unlink", Does::Remove(FIRST, None)),
    only(libc::SYS_rmdir, "rmdir", Does::RemoveDir(FIRST)),
    only(libc::SYS_mkdir, "mkdir", Does::MakeDir(FIRST)),
    only(libc::SYS_mknod, "mknod", Does::MakeNode(FIRST)),
    only(libc::SYS_symlink, "symlink", Does::Symlink(0, SECOND)),
    only(libc::SYS_utime, "utime", Does::Touch(FIRST)),
    only(libc::SYS_utimes, "utimes", Does::Touch(FIRST)),
    only(libc::SYS_futimesat, "futimesat", Does::Touch(AT)),
    only(libc::SYS_chmod, "chmod", Does::Mode(FIRST)),
    only(libc::SYS_getdents, "getdents", Does::List),
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

/// Whether a call can open a file in another way than for reading, by the flags that say how; both halves of `O_TMPFILE` need one.
const WRITES: u32 = (libc::O_WRONLY | libc::O_RDWR | libc::O_CREAT | libc::O_TRUNC).cast_unsigned();

/// Where tasks stop who only look.
pub(super) fn looking(call: &Call) -> Stops {
    if matches!(call.tells, Tells::Nothing | Tells::Writes(_)) { Stops::Never } else { Stops::Always }
}

/// Where tasks stop of whom everything is told.
pub(super) fn any(call: &Call) -> Stops {
    let nothing = call.does.is_none() && matches!(call.tells, Tells::Nothing | Tells::Writes(_));
    if nothing { Stops::Never } else { Stops::Always }
}

/// Where tasks stop of whom everything is told but what they look up.
pub(super) fn acting(call: &Call) -> Stops {
    let looks = matches!(call.tells, Tells::Path { how: How::As(_), .. }) && call.does.is_none();
    if looks { Stops::Never } else { any(call) }
}

/// Where tasks stop when what is opened, to read, list or run it, is known otherwise: at what changes something.
pub(super) fn changing(call: &Call) -> Stops {
    match call.tells {
        Tells::Path { how: How::Open(argument), .. } => {
            Stops::If { argument: u32::try_from(argument).unwrap_or(u32::MAX), flags: WRITES }
        }
        Tells::Path { how: How::As(_) | How::Exec, .. } if call.does.is_none() => Stops::Never,
        Tells::Writes(_) => Stops::Never,
        Tells::Nothing if matches!(call.does, Some(Does::List)) => Stops::Never,
        // Mounts of its own are others to listen to.
        Tells::Nothing if call.nr == libc::SYS_unshare => {
            Stops::If { argument: 0, flags: libc::CLONE_NEWNS.cast_unsigned() }
        }
        _ => Stops::Always,
    }
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
        () if has(libc::O_PATH | libc::O_DIRECTORY) => Some(Look::Probed),
        // It can be opened for reading by its descriptor in /proc later.
        () if has(libc::O_PATH) => Some(Look::Read),
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
        assert_eq!(look(libc::O_PATH), Some(Look::Read));
        assert_eq!(look(libc::O_RDWR | libc::O_CREAT | libc::O_EXCL), Some(Look::Probed));
        assert_eq!(look(libc::O_WRONLY | libc::O_CREAT | libc::O_APPEND), None);
        assert_eq!(look(libc::O_RDWR | libc::O_CREAT | libc::O_TRUNC), None);
        assert_eq!(look(libc::O_RDWR | libc::O_TMPFILE), None);
    }
}
