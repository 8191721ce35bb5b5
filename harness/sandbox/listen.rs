//! Listening to what is opened: a fanotify(7) group with a mark on each mount of this process's mount namespace.
//!
//! A mark stays with its mount: a group made before capabilities are dropped can be read without any. Who shares no mount
//! with this process is not heard.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use super::mounts::unescape;
use super::sys;

/// Whoever reads an event is given a descriptor of the file, by opening it again. Of a device that can do something, and what
/// these file systems show is no part of a build.
const LEFT_OUT: [&[u8]; 4] = [b"proc", b"devtmpfs", b"devpts", b"nsfs"];

/// Listens to every mount.
///
/// # Errors
/// As fanotify_init(2) and fanotify_mark(2): `EPERM` without `CAP_SYS_ADMIN`. Half a group is none.
pub fn listen() -> io::Result<OwnedFd> {
    let group = sys::fanotify()?;
    for (path, _) in mounts()?.into_iter().filter(|(_, kind)| !LEFT_OUT.contains(&kind.as_slice())) {
        match sys::fanotify_mark(group.as_fd(), libc::FAN_MARK_ADD | libc::FAN_MARK_MOUNT, true, &path) {
            // Covered by a later mount, so nobody can reach it.
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR)) => {}
            marked => marked?,
        }
    }
    Ok(group)
}

/// As [`listen`], in a mount namespace of this process's own, so that nobody is heard who is not below it. Mounts go on to
/// propagate in both directions (mount_namespaces(7)). To be called while there is one thread.
///
/// # Errors
/// As [`listen`], and unshare(2).
pub fn listen_apart() -> io::Result<OwnedFd> {
    // Asked first: who may not listen is to stay where it is.
    drop(sys::fanotify()?);
    sys::unshare(rustix::thread::UnshareFlags::NEWNS)?;
    listen()
}

/// A group that this process was started with: of a sandbox that listens ([`super::Spec::listen`]).
#[must_use]
pub fn inherited() -> Option<OwnedFd> {
    let group = |entry: fs::DirEntry| {
        let link = fs::read_link(entry.path()).ok()?;
        link.as_os_str().as_encoded_bytes().starts_with(b"anon_inode:[fanotify]").then(|| entry.file_name())
    };
    let number = fs::read_dir("/proc/self/fd").ok()?.flatten().find_map(group)?;
    sys::take_fd(number.to_str()?.parse().ok()?).ok()
}

/// Whether a file that could not be opened for its event comes as an event with the error (`FAN_REPORT_FD_ERROR`).
#[must_use]
pub fn tells_errors(group: BorrowedFd<'_>) -> bool {
    // proc_pid_fdinfo(5): the flags of fanotify_init(2), in hexadecimal.
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", group.as_raw_fd())).unwrap_or_default();
    let flags = info.lines().find_map(|line| line.strip_prefix("fanotify flags:")?.split_whitespace().next());
    flags
        .and_then(|flags| u32::from_str_radix(flags, 16).ok())
        .is_some_and(|flags| flags & sys::FAN_REPORT_FD_ERROR != 0)
}

/// Hears no more of the file at a path. Opening a pipe with a name wakes who waits for a reader, and an event is an open.
///
/// # Errors
/// As fanotify_mark(2).
pub fn ignore(group: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    let how = libc::FAN_MARK_ADD | libc::FAN_MARK_IGNORED_MASK | libc::FAN_MARK_IGNORED_SURV_MODIFY;
    sys::fanotify_mark(group, how | libc::FAN_MARK_DONT_FOLLOW, false, path)
}

/// The mounts of this process's namespace by mount point and kind: another one now is another to listen to.
///
/// # Errors
/// Without a `/proc`.
pub fn mounts() -> io::Result<BTreeSet<(PathBuf, Vec<u8>)>> {
    use std::os::unix::ffi::OsStringExt as _;
    let text = fs::read("/proc/self/mountinfo")?;
    let mount = |line: &[u8]| {
        // proc_pid_mountinfo(5): the optional fields before the type end with a hyphen.
        let mut fields = line.split(|byte| *byte == b' ').skip(4);
        let path = std::ffi::OsString::from_vec(unescape(fields.next()?)).into();
        let kind = fields.skip_while(|field| *field != b"-").nth(1)?.to_vec();
        Some((path, kind))
    };
    Ok(text.split(|byte| *byte == b'\n').filter_map(mount).collect())
}
