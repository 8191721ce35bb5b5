//! The system calls that need unsafe code, each as one small function. The tracer has a single thread, which is what
//! makes fork(2) harmless and is what ptrace(2) wants: only the thread that attached may ask.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use libc::{c_int, c_uint, c_void, pid_t, sock_filter};

/// What the kernel tells about a stop at a system call: `struct ptrace_syscall_info` of `<linux/ptrace.h>`, of which only
/// the part for `PTRACE_SYSCALL_INFO_SECCOMP` is spelled out.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(super) struct SyscallInfo {
    op: u8,
    pad: [u8; 3],
    arch: u32,
    instruction_pointer: u64,
    stack_pointer: u64,
    nr: u64,
    /// The arguments of the call.
    pub(super) args: [u64; 6],
    /// What the filter said besides (`SECCOMP_RET_DATA`).
    pub(super) ret_data: u32,
    more: [u32; 3],
}

/// `PTRACE_SYSCALL_INFO_EXIT`.
const OP_EXIT: u8 = 2;
/// `PTRACE_SYSCALL_INFO_SECCOMP`.
const OP_SECCOMP: u8 = 3;

/// What waitpid(2) tells of a task.
pub(super) struct Change {
    /// Which.
    pub(super) task: pid_t,
    /// Its wait status.
    pub(super) status: c_int,
    /// What it has used, together with the children it has waited for (getrusage(2)).
    pub(super) usage: libc::rusage,
}

/// fork(2): the child's pid, or `None` in the child.
///
/// # Errors
/// As fork(2).
pub(super) fn fork() -> io::Result<Option<pid_t>> {
    // SAFETY: the tracer has one thread, so the child is a complete copy.
    match check(unsafe { libc::fork() })? {
        0 => Ok(None),
        pid => Ok(Some(pid)),
    }
}

/// A descriptor that was handed to this process, as a file that closes it, and that no other program gets.
///
/// # Errors
/// It is not open.
pub(super) fn take(fd: c_int) -> io::Result<File> {
    // SAFETY: asking for its flags changes nothing.
    check(unsafe { libc::fcntl(fd, libc::F_GETFD) })?;
    // SAFETY: it is open, and whoever started this process meant it for this one use.
    let file = unsafe { File::from_raw_fd(fd) };
    rustix::io::fcntl_setfd(&file, rustix::io::FdFlags::CLOEXEC)?;
    Ok(file)
}

/// Ends this process without running destructors or exit handlers, which belong to its parent.
pub(super) fn exit(code: c_int) -> ! {
    // SAFETY: _exit does not return and touches no memory.
    unsafe { libc::_exit(code) }
}

/// Sets the disposition of a signal to `SIG_DFL` or `SIG_IGN`.
pub(super) fn dispose(signal: c_int, how: libc::sighandler_t) {
    // SAFETY: only the two constants are passed, no function.
    unsafe { libc::signal(signal, how) };
}

/// execvp(3): returns only to say why it failed.
pub(super) fn execvp(argv: &[CString]) -> io::Error {
    let pointers: Vec<*const libc::c_char> = argv.iter().map(|s| s.as_ptr()).chain([std::ptr::null()]).collect();
    // SAFETY: the array has at least one string, which outlives the call, and ends with a null pointer.
    unsafe { libc::execvp(pointers[0], pointers.as_ptr()) };
    io::Error::last_os_error()
}

/// Takes a filter for this process and all below it. Needs `no_new_privs`.
///
/// # Errors
/// As seccomp(2).
pub(super) fn install(filter: &mut [sock_filter]) -> io::Result<()> {
    let len = u16::try_from(filter.len()).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
    let program = libc::sock_fprog { len, filter: filter.as_mut_ptr() };
    // It confines nobody, so that mitigations against speculation would only cost time.
    let flags = libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW;
    // SAFETY: the program points to `len` instructions, which the kernel copies.
    let r = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const program) };
    check(r as c_int).map(drop)
}

/// Attaches to a child without stopping it; those it starts are attached to as well, and all die with the tracer.
///
/// # Errors
/// As ptrace(2).
pub(super) fn seize(pid: pid_t, exits: bool) -> io::Result<()> {
    let exits = if exits { libc::PTRACE_O_TRACEEXIT } else { 0 };
    let options = libc::PTRACE_O_TRACEFORK
        | libc::PTRACE_O_TRACEVFORK
        | libc::PTRACE_O_TRACECLONE
        | libc::PTRACE_O_TRACEEXEC
        | libc::PTRACE_O_TRACESECCOMP
        | libc::PTRACE_O_TRACESYSGOOD
        | libc::PTRACE_O_EXITKILL
        | exits;
    request(libc::PTRACE_SEIZE, pid, options as usize)
}

/// Lets a stopped task go on; a signal other than 0 is delivered.
///
/// # Errors
/// As ptrace(2).
pub(super) fn resume(task: pid_t, signal: c_int) -> io::Result<()> {
    request(libc::PTRACE_CONT, task, signal as usize)
}

/// Lets a task that stands at a call make it, and stop when it returns.
///
/// # Errors
/// As ptrace(2).
pub(super) fn resume_to_return(task: pid_t) -> io::Result<()> {
    request(libc::PTRACE_SYSCALL, task, 0)
}

/// Has a task that stands at a call, by the filter, not make it and get this error number. The kernel skips a call whose
/// number is -1, and leaves in the register for the result what is there (`__seccomp_filter` of kernel/seccomp.c).
///
/// # Errors
/// As ptrace(2).
#[cfg(target_arch = "x86_64")]
pub(super) fn fail(task: pid_t, error: c_int) -> io::Result<()> {
    // SAFETY: zero is a value of every field of this structure of numbers.
    let mut registers: libc::user_regs_struct = unsafe { std::mem::zeroed() };
    let none = std::ptr::null_mut::<c_void>();
    // SAFETY: the kernel writes one structure to a live variable.
    check(unsafe { libc::ptrace(libc::PTRACE_GETREGS, task, none, &raw mut registers) } as c_int)?;
    registers.orig_rax = u64::MAX;
    registers.rax = (-i64::from(error)).cast_unsigned();
    // SAFETY: the kernel reads one structure from a live variable.
    check(unsafe { libc::ptrace(libc::PTRACE_SETREGS, task, none, &raw const registers) } as c_int).map(drop)
}

/// The same, where the number of the call is a set of registers of its own.
///
/// # Errors
/// As ptrace(2).
#[cfg(target_arch = "aarch64")]
pub(super) fn fail(task: pid_t, error: c_int) -> io::Result<()> {
    /// `NT_ARM_SYSTEM_CALL` of `<linux/elf.h>`.
    const NT_ARM_SYSTEM_CALL: usize = 0x404;
    // SAFETY: zero is a value of every field of this structure of numbers.
    let mut registers: libc::user_regs_struct = unsafe { std::mem::zeroed() };
    let set = libc::NT_PRSTATUS as usize as *mut c_void;
    let mut all = libc::iovec { iov_base: (&raw mut registers).cast(), iov_len: size_of_val(&registers) };
    // SAFETY: the kernel writes at most `iov_len` bytes to a live structure.
    check(unsafe { libc::ptrace(libc::PTRACE_GETREGSET, task, set, &raw mut all) } as c_int)?;
    registers.regs[0] = (-i64::from(error)).cast_unsigned();
    all = libc::iovec { iov_base: (&raw mut registers).cast(), iov_len: size_of_val(&registers) };
    // SAFETY: the kernel reads `iov_len` bytes of a live structure.
    check(unsafe { libc::ptrace(libc::PTRACE_SETREGSET, task, set, &raw mut all) } as c_int)?;
    let mut number: c_int = -1;
    let set = NT_ARM_SYSTEM_CALL as *mut c_void;
    let mut one = libc::iovec { iov_base: (&raw mut number).cast(), iov_len: size_of_val(&number) };
    // SAFETY: the kernel reads one int from a live variable.
    check(unsafe { libc::ptrace(libc::PTRACE_SETREGSET, task, set, &raw mut one) } as c_int).map(drop)
}

/// Leaves a task stopped that a signal has stopped, until another wakes it.
///
/// # Errors
/// As ptrace(2).
pub(super) fn listen(task: pid_t) -> io::Result<()> {
    request(libc::PTRACE_LISTEN, task, 0)
}

fn request(what: c_uint, task: pid_t, data: usize) -> io::Result<()> {
    // SAFETY: of the requests made here none takes a pointer: addr is ignored, data is a number.
    let r = unsafe { libc::ptrace(what, task, std::ptr::null_mut::<c_void>(), data) };
    check(r as c_int).map(drop)
}

/// What a task has stopped at, which has to be a stop by the filter.
///
/// # Errors
/// As ptrace(2): `EIO` before Linux 5.3; `EINVAL` when it is another stop.
pub(super) fn syscall_info(task: pid_t) -> io::Result<SyscallInfo> {
    stop_info(task, OP_SECCOMP)
}

/// What the call has returned that a task stands at the return of: a value, or `-errno`.
///
/// # Errors
/// As [`syscall_info`].
pub(super) fn returned(task: pid_t) -> io::Result<i64> {
    // `rval` is where a call has its number.
    stop_info(task, OP_EXIT).map(|info| info.nr.cast_signed())
}

fn stop_info(task: pid_t, op: u8) -> io::Result<SyscallInfo> {
    let mut info = SyscallInfo::default();
    let size = size_of::<SyscallInfo>();
    // SAFETY: the kernel writes at most `size` bytes to a live structure of plain numbers.
    let r = unsafe { libc::ptrace(libc::PTRACE_GET_SYSCALL_INFO, task, size, &raw mut info) };
    check(r as c_int)?;
    if info.op == op { Ok(info) } else { Err(io::Error::from_raw_os_error(libc::EINVAL)) }
}

/// The former id of a task that has become another program (`PTRACE_EVENT_EXEC`).
///
/// # Errors
/// As ptrace(2).
pub(super) fn event_message(task: pid_t) -> io::Result<pid_t> {
    let mut message: libc::c_ulong = 0;
    // SAFETY: the kernel writes one unsigned long to a live variable.
    let r = unsafe { libc::ptrace(libc::PTRACE_GETEVENTMSG, task, std::ptr::null_mut::<c_void>(), &raw mut message) };
    check(r as c_int)?;
    Ok(message as pid_t)
}

/// Waits until a task stops or ends; `None` if none has yet: without `block`, or because of [`tick`].
///
/// # Errors
/// `ECHILD` when there is none left.
pub(super) fn wait(block: bool) -> io::Result<Option<Change>> {
    let flags = libc::__WALL | if block { 0 } else { libc::WNOHANG };
    let mut status = 0;
    // SAFETY: zero is a value of every field of this structure of numbers.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes one int and one structure to live variables.
    match check(unsafe { libc::wait4(-1, &raw mut status, flags, &raw mut usage) }) {
        Ok(0) => Ok(None),
        Ok(task) => Ok(Some(Change { task, status, usage })),
        Err(e) if e.kind() == io::ErrorKind::Interrupted => Ok(None),
        Err(e) => Err(e),
    }
}

/// An event of a fanotify(7) group.
pub(super) struct Event {
    /// What happened.
    pub(super) mask: u64,
    /// The file, or why it could not be opened again.
    pub(super) file: io::Result<OwnedFd>,
    /// The thread that it happened in; 0 of one outside of this pid namespace.
    pub(super) task: pid_t,
}

/// The next events of a group that are there already, as many as `most`, which is to be small enough for as many descriptors.
///
/// # Errors
/// As read(2), and without `FAN_REPORT_FD_ERROR` as opening the file of the first.
pub(super) fn events(group: BorrowedFd<'_>, most: usize) -> io::Result<Vec<Event>> {
    const SIZE: usize = size_of::<libc::fanotify_event_metadata>();
    let mut bytes = vec![0_u8; most * SIZE];
    // SAFETY: the kernel writes at most so many bytes to a live buffer.
    let got = unsafe { libc::read(group.as_raw_fd(), bytes.as_mut_ptr().cast(), bytes.len()) };
    if got < 0 {
        let error = io::Error::last_os_error();
        return if error.kind() == io::ErrorKind::WouldBlock { Ok(Vec::new()) } else { Err(error) };
    }
    let event = |bytes: &[u8]| {
        // SAFETY: the structure is plain numbers, and there are as many bytes.
        let data: libc::fanotify_event_metadata = unsafe { std::ptr::read_unaligned(bytes.as_ptr().cast()) };
        if data.vers != libc::FANOTIFY_METADATA_VERSION || data.event_len as usize != SIZE {
            return Err(io::Error::from_raw_os_error(libc::EPROTO));
        }
        let file = match data.fd {
            // SAFETY: the kernel has opened it for this event.
            fd @ 0.. => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
            // FAN_NOFD is -1, and no event but the overflow has it where there are errors.
            error => Err(io::Error::from_raw_os_error(-error)),
        };
        Ok(Event { mask: data.mask, file, task: data.pid })
    };
    bytes[..got.cast_unsigned()].chunks_exact(SIZE).map(event).collect()
}

/// Interrupts [`wait`] ever so often.
///
/// # Errors
/// As setitimer(2).
pub(super) fn tick(micros: i64) -> io::Result<()> {
    extern "C" fn nothing(_: c_int) {}
    // SAFETY: zero is a value of every field of this structure.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    // Without SA_RESTART.
    action.sa_sigaction = nothing as *const () as libc::sighandler_t;
    // SAFETY: the structure is whole, and the function does nothing, which is safe in a signal handler.
    check(unsafe { libc::sigaction(libc::SIGALRM, &raw const action, std::ptr::null_mut()) })?;
    let interval = libc::timeval { tv_sec: micros / 1_000_000, tv_usec: micros % 1_000_000 };
    let timer = libc::itimerval { it_interval: interval, it_value: interval };
    // SAFETY: the structure is whole. execve(2) keeps a timer, fork(2) does not pass it on.
    check(unsafe { libc::setitimer(libc::ITIMER_REAL, &raw const timer, std::ptr::null_mut()) }).map(drop)
}

/// Kills a process; it may be gone already.
pub(super) fn kill(pid: pid_t) {
    signal(pid, libc::SIGKILL);
}

/// Sends a process a signal; it may be gone already.
pub(super) fn signal(pid: pid_t, signal: c_int) {
    // SAFETY: kill takes no pointers.
    unsafe { libc::kill(pid, signal) };
}

/// Sends one thread a signal; it may be gone already.
pub(super) fn signal_task(task: pid_t, signal: c_int) {
    // SAFETY: tkill takes no pointers.
    unsafe { libc::syscall(libc::SYS_tkill, task, signal) };
}

/// Reads memory of a task: how many bytes there were.
///
/// # Errors
/// As process_vm_readv(2).
pub(super) fn read_memory(task: pid_t, address: u64, buffer: &mut [u8]) -> io::Result<usize> {
    let local = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    let remote = libc::iovec { iov_base: address as *mut c_void, iov_len: buffer.len() };
    // SAFETY: one element each; the local one is the live buffer, and the remote address is checked by the kernel.
    let got = unsafe { libc::process_vm_readv(task, &raw const local, 1, &raw const remote, 1, 0) };
    usize::try_from(got).map_err(|_| io::Error::last_os_error())
}

/// Writes memory of a task: how many bytes could be.
///
/// # Errors
/// As process_vm_writev(2).
pub(super) fn write_memory(task: pid_t, address: u64, bytes: &[u8]) -> io::Result<usize> {
    let local = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    let remote = libc::iovec { iov_base: address as *mut c_void, iov_len: bytes.len() };
    // SAFETY: one element each; the local one is only read, and the remote address is checked by the kernel.
    let put = unsafe { libc::process_vm_writev(task, &raw const local, 1, &raw const remote, 1, 0) };
    usize::try_from(put).map_err(|_| io::Error::last_os_error())
}

fn check(r: c_int) -> io::Result<c_int> {
    if r < 0 { Err(io::Error::last_os_error()) } else { Ok(r) }
}
