//! The system calls that need unsafe code, each as one small function. All but `stdio_for_helper` are called by
//! the helper and the tracer only, which have a single thread: that is what makes fork(2) and unshare(2) harmless.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use super::Status;

/// Takes over a descriptor whose number came on the command line.
///
/// # Errors
/// `EBADF` when nothing is open there.
pub(super) fn take_fd(number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: fcntl with F_SETFD takes no pointers; it also shows whether the descriptor is open.
    check(unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) })?;
    // SAFETY: the descriptor is open, and the harness passed each number for this one owner.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Whether a descriptor is open.
pub(super) fn is_open(fd: RawFd) -> bool {
    // SAFETY: fcntl with F_GETFD takes no pointers.
    unsafe { libc::fcntl(fd, libc::F_GETFD) >= 0 }
}

/// Closes every descriptor from 3 on that is not in `keep`. For the very beginning of the helper, where nothing
/// has been opened but what `keep` names; without a `/proc` nothing is closed.
pub(super) fn close_all_but(keep: &[RawFd]) {
    let names = std::fs::read_dir("/proc/self/fd").into_iter().flatten().flatten().map(|entry| entry.file_name());
    let open: Vec<RawFd> = names.filter_map(|name| name.to_str()?.parse().ok()).collect();
    for fd in open.into_iter().filter(|fd| *fd > 2 && !keep.contains(fd)) {
        // SAFETY: no object of this process owns it; for the one that listed the directory this is a second close
        // of a free number, which fails harmlessly.
        unsafe { libc::close(fd) };
    }
}

/// Sets or clears `FD_CLOEXEC`.
///
/// # Errors
/// `EBADF`.
pub(super) fn set_cloexec(fd: RawFd, on: bool) -> io::Result<()> {
    let flags = if on { libc::FD_CLOEXEC } else { 0 };
    // SAFETY: fcntl with F_SETFD takes no pointers and is async-signal-safe (signal-safety(7)).
    check(unsafe { libc::fcntl(fd, libc::F_SETFD, flags) }).map(drop)
}

/// Lets a child of the harness keep descriptors that are close-on-exec in the harness itself, so that no
/// other child that starts at the same time gets them.
pub(super) fn keep_open(command: &mut std::process::Command, fds: Vec<RawFd>) {
    use std::os::unix::process::CommandExt;
    let keep = move || fds.iter().try_for_each(|&fd| set_cloexec(fd, false));
    // SAFETY: between fork and exec the closure only reads a vector that exists already and calls fcntl,
    // which is async-signal-safe; it allocates nothing.
    unsafe {
        command.pre_exec(keep);
    }
}

/// fork(2): the child's pid, or `None` in the child.
///
/// # Errors
/// As fork(2).
pub(super) fn fork() -> io::Result<Option<i32>> {
    // SAFETY: the helper has one thread, so the child is a complete copy.
    match check(unsafe { libc::fork() })? {
        0 => Ok(None),
        pid => Ok(Some(pid)),
    }
}

/// Ends this process without running destructors or exit handlers, which belong to its parent.
pub(super) fn exit(code: i32) -> ! {
    // SAFETY: _exit does not return and touches no memory.
    unsafe { libc::_exit(code) }
}

/// unshare(2).
///
/// # Errors
/// As unshare(2).
pub(super) fn unshare(flags: rustix::thread::UnshareFlags) -> io::Result<()> {
    // SAFETY: CLONE_FILES is never passed, and there is one thread.
    Ok(unsafe { rustix::thread::unshare_unsafe(flags) }?)
}

/// A reaped child.
pub(super) struct Reaped {
    pub(super) pid: i32,
    pub(super) status: Status,
    pub(super) user: Duration,
    pub(super) system: Duration,
    pub(super) max_rss_kib: u64,
}

/// Reaps one child, any for -1: `Ok(None)` when none has ended yet (only without `block`).
///
/// # Errors
/// `ECHILD` when there is no child.
pub(super) fn reap(pid: i32, block: bool) -> io::Result<Option<Reaped>> {
    let mut status = 0;
    // SAFETY: rusage is plain numbers, for which zero is a value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    let flags = if block { 0 } else { libc::WNOHANG };
    loop {
        // SAFETY: both pointers are to live variables of the right type.
        let got = unsafe { libc::wait4(pid, &mut status, flags, &mut usage) };
        match check(got) {
            Ok(0) => return Ok(None),
            Ok(pid) => {
                let status = if libc::WIFSIGNALED(status) {
                    Status::Signaled(libc::WTERMSIG(status))
                } else {
                    Status::Exited(libc::WEXITSTATUS(status))
                };
                return Ok(Some(Reaped {
                    pid,
                    status,
                    user: duration(usage.ru_utime),
                    system: duration(usage.ru_stime),
                    max_rss_kib: u64::try_from(usage.ru_maxrss).unwrap_or(0),
                }));
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}

fn duration(t: libc::timeval) -> Duration {
    Duration::new(u64::try_from(t.tv_sec).unwrap_or(0), u32::try_from(t.tv_usec).unwrap_or(0) * 1000)
}

/// kill(2); the process may be gone already.
pub(super) fn kill(pid: i32, signal: i32) {
    // SAFETY: kill takes no pointers.
    unsafe { libc::kill(pid, signal) };
}

/// Blocks `SIGCHLD` and returns a descriptor that is readable when it is pending (signalfd(2)).
///
/// # Errors
/// As signalfd(2).
pub(super) fn child_events() -> io::Result<File> {
    // SAFETY: the set is initialised by sigemptyset before use, and all pointers are to live variables.
    let fd = unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        libc::sigaddset(&mut set, libc::SIGCHLD);
        check(libc::sigprocmask(libc::SIG_BLOCK, &set, std::ptr::null_mut()))?;
        check(libc::signalfd(-1, &set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK))?
    };
    // SAFETY: signalfd returned a new descriptor.
    Ok(unsafe { File::from_raw_fd(fd) })
}

/// Ignores what a terminal sends, so that Ctrl-C reaches the shell in the sandbox and not its keepers.
pub(super) fn ignore_terminal_signals() {
    for signal in [libc::SIGINT, libc::SIGQUIT, libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU] {
        // SAFETY: SIG_IGN is a valid disposition for these signals.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
}

/// Every signal to its default disposition and unblocked: a build must not inherit the harness's habits.
pub(super) fn default_signals() {
    // SIG_DFL, no flags, no mask: all zero, and larger than any architecture's `struct kernel_sigaction`
    let default = [0u64; 8];
    for signal in 1..=64 {
        // SAFETY: rt_sigaction reads at most as many bytes as the array has and writes nothing. It is called
        // directly because libc refuses the signals it keeps for itself (32 and 33), which may be ignored, too.
        // For SIGKILL and SIGSTOP it fails harmlessly.
        unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, default.as_ptr(), std::ptr::null_mut::<u64>(), 8) };
    }
    // SAFETY: rt_sigprocmask reads the 8 bytes of an empty set, again past libc to reach all signals.
    unsafe {
        let empty = 0u64;
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            libc::SIG_SETMASK,
            &empty as *const u64,
            std::ptr::null_mut::<u64>(),
            8,
        );
    }
}

/// dup2(2) onto one of the standard streams.
///
/// # Errors
/// As dup2(2).
pub(super) fn redirect(from: &impl AsRawFd, to: RawFd) -> io::Result<()> {
    // SAFETY: dup2 takes no pointers; `to` is 0, 1 or 2, which no Rust object here owns.
    check(unsafe { libc::dup2(from.as_raw_fd(), to) }).map(drop)
}

/// Marks every descriptor from 3 on close-on-exec.
///
/// # Errors
/// As close_range(2), notably `ENOSYS` and `EINVAL` before Linux 5.11.
pub(super) fn cloexec_all() -> io::Result<()> {
    // SAFETY: close_range with CLOSE_RANGE_CLOEXEC takes no pointers and closes nothing now.
    let r = unsafe { libc::syscall(libc::SYS_close_range, 3u32, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    check(r as i32).map(drop)
}

/// personality(2) with `ADDR_NO_RANDOMIZE`.
///
/// # Errors
/// As personality(2).
pub(super) fn no_address_randomization() -> io::Result<()> {
    // SAFETY: personality takes no pointers.
    unsafe {
        let now = check(libc::personality(0xffff_ffff))?;
        check(libc::personality(now as libc::c_ulong | libc::ADDR_NO_RANDOMIZE as libc::c_ulong))?;
    }
    Ok(())
}

/// execve(2): returns only to say why it failed.
pub(super) fn execve(program: &CString, argv: &[CString], env: &[CString]) -> io::Error {
    let pointers = |list: &[CString]| -> Vec<*const libc::c_char> {
        list.iter().map(|s| s.as_ptr()).chain([std::ptr::null()]).collect()
    };
    let (argv, env) = (pointers(argv), pointers(env));
    // SAFETY: both arrays end with a null pointer and point to strings that outlive the call.
    unsafe { libc::execve(program.as_ptr(), argv.as_ptr(), env.as_ptr()) };
    io::Error::last_os_error()
}

/// `struct mount_attr` of `<linux/mount.h>`.
#[repr(C)]
struct MountAttr {
    set: u64,
    clear: u64,
    propagation: u64,
    userns_fd: u64,
}

/// Mount attributes of `<linux/mount.h>`.
pub(super) const MOUNT_ATTR_RDONLY: u64 = 1;
pub(super) const MOUNT_ATTR_NOSUID: u64 = 2;
pub(super) const MOUNT_ATTR_NODEV: u64 = 4;

/// mount_setattr(2): adds attributes to a mount and, if `recursive`, to all below it, leaving the others.
///
/// # Errors
/// As mount_setattr(2); `ENOSYS` before Linux 5.12.
pub(super) fn mount_setattr(path: &Path, recursive: bool, set: u64) -> io::Result<()> {
    const AT_RECURSIVE: libc::c_uint = 0x8000;
    let path = CString::new(path.as_os_str().as_bytes())?;
    let attr = MountAttr { set, clear: 0, propagation: 0, userns_fd: 0 };
    // SAFETY: the path is a C string, and the size given is that of the structure pointed to.
    let r = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            libc::AT_FDCWD,
            path.as_ptr(),
            if recursive { AT_RECURSIVE } else { 0 },
            &attr as *const MountAttr,
            size_of::<MountAttr>(),
        )
    };
    check(r as i32).map(drop)
}

/// PTRACE_SEIZE on a child, and nothing else: for the probe.
///
/// # Errors
/// As ptrace(2).
pub(super) fn seize(pid: i32) -> io::Result<()> {
    let none = std::ptr::null_mut::<libc::c_void>();
    // SAFETY: PTRACE_SEIZE ignores addr and takes options as a number in data; the child is ours.
    let r = unsafe { libc::ptrace(libc::PTRACE_SEIZE, pid, none, none) };
    check(r as i32).map(drop)
}

/// `<linux/fanotify.h>`, since Linux 6.13: an open that fails comes as an event with the error.
pub(super) const FAN_REPORT_FD_ERROR: libc::c_uint = 0x2000;

/// A fanotify(7) group that tells of every open, with the thread that does it. It gives a descriptor of the file for each, which
/// must neither wait nor stay open in children. Its queue has no limit: what cannot be queued would be lost.
///
/// # Errors
/// As fanotify_init(2): `EPERM` without `CAP_SYS_ADMIN`.
pub(super) fn fanotify() -> io::Result<OwnedFd> {
    let flags = libc::FAN_CLASS_NOTIF
        | libc::FAN_CLOEXEC
        | libc::FAN_NONBLOCK
        | libc::FAN_UNLIMITED_QUEUE
        | libc::FAN_UNLIMITED_MARKS
        | libc::FAN_REPORT_TID;
    let files = (libc::O_RDONLY | libc::O_NONBLOCK | libc::O_LARGEFILE | libc::O_CLOEXEC).cast_unsigned();
    // SAFETY: fanotify_init takes no pointers.
    let init = |flags| check(unsafe { libc::fanotify_init(flags, files) });
    let fd = match init(flags | FAN_REPORT_FD_ERROR) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => init(flags)?,
        other => other?,
    };
    // SAFETY: the descriptor is new.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Adds to what a group says of the opens at a path: of files, to read or to run them, and with `directories` of these.
///
/// # Errors
/// As fanotify_mark(2).
pub(super) fn fanotify_mark(
    group: BorrowedFd<'_>,
    how: libc::c_uint,
    directories: bool,
    path: &Path,
) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let opens = libc::FAN_OPEN | libc::FAN_OPEN_EXEC | if directories { libc::FAN_ONDIR } else { 0 };
    // SAFETY: the path is a C string that outlives the call.
    let r = unsafe { libc::fanotify_mark(group.as_raw_fd(), how, opens, libc::AT_FDCWD, path.as_ptr()) };
    check(r).map(drop)
}

fn check(r: i32) -> io::Result<i32> {
    if r < 0 { Err(io::Error::last_os_error()) } else { Ok(r) }
}
