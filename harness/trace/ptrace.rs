//! Watching real processes: the only code that calls ptrace(2).
//!
//! ```text
//! tracer ──fork──> child: waits ──────────────> takes the filter, execs the command
//!    └── PTRACE_SEIZE, "go" ──┘                      │ fork, vfork, clone: attached to by the kernel
//!                                                    ▼
//!    ┌── waitpid: a stop <── SECCOMP_RET_TRACE at the calls of `calls`, signals, group stops, exec, ends
//!    └── events, PTRACE_CONT ──> the call is made
//! ```
//!
//! A task is stopped once for each listed call, on its way in. Its id names a thread; `/proc/TID` shows that
//! thread's own working directory and descriptors. A task can be killed while it is stopped: `ESRCH` is an answer
//! like others, and its end is still to come from waitpid(2).

use std::collections::BTreeSet;
use std::ffi::{CString, OsStr, OsString};
use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use libc::{c_int, pid_t};

use super::image::{Image, image};
use super::place::{Place, place};
use super::{Event, Fold, Gap, Look, Looked, TraceError};
use calls::{Call, How, Tells};

mod calls;
mod filter;
mod memory;
mod sys;

/// How long what the command left behind may go on. It is traced to its end; a pipe's writer ends a moment late.
const GRACE: Duration = Duration::from_secs(1);
/// How long what is killed then may take to be gone.
const DYING: Duration = Duration::from_secs(2);
/// How often it is looked whether something ended.
const TICK: Duration = Duration::from_millis(2);
/// So many interpreters the kernel lets one script need by another (fs/exec.c, `exec_binprm`).
const INTERPRETERS: usize = 6;
/// So many links the kernel follows in one path (path_resolution(7)).
const LINKS: usize = 40;

/// How tracing went.
pub(super) struct Traced {
    /// What was looked at.
    pub(super) looked: Looked,
    /// The command's status as a shell tells it.
    pub(super) status: u8,
    /// Why the command could not be started.
    pub(super) not_started: Option<io::Error>,
}

/// Runs a command to its end. To be called while there is one thread.
///
/// # Errors
/// When no process can be had.
pub(super) fn run(own: Vec<PathBuf>, command: &[OsString]) -> Result<Traced, TraceError> {
    let failed = |what| move |source| TraceError::Process { what, source };
    let argv: Result<Vec<CString>, _> = command.iter().map(|word| CString::new(word.as_bytes())).collect();
    let argv = argv.map_err(|error| failed("pass the command on")(error.into()))?;
    let (mut here, there) = UnixStream::pair().map_err(failed("make a pair of sockets"))?;
    let Some(main) = sys::fork().map_err(failed("fork"))? else {
        drop(here);
        child(there, &argv)
    };
    drop(there);
    // What is sent to the whole process group is for the command to take, and the status comes from there.
    for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM] {
        sys::dispose(signal, libc::SIG_IGN);
    }
    // Ignored, as somebody may have left it, children would vanish without a status.
    sys::dispose(libc::SIGCHLD, libc::SIG_DFL);
    let mut tracer = Tracer { main, status: None, tasks: BTreeSet::from([main]), own, fold: Fold::default() };
    let refused = attach(main).err();
    let go = Go { traced: refused.is_none() };
    here.write_all(&[u8::from(go.traced)]).map_err(failed("start the command"))?;
    if let Some(gap) = refused {
        tracer.fold.add(Event::Missed(gap));
    }
    tracer.watch().map_err(failed("wait for the command"))?;
    let mut said = Vec::new();
    here.read_to_end(&mut said).map_err(failed("hear from the command"))?;
    let mut not_started = None;
    for complaint in said.chunks_exact(size_of::<Complaint>()) {
        let Some((what, error)) = understand(complaint) else { continue };
        match what {
            NO_FILTER => tracer.miss(Gap::Refused { what: "a seccomp filter".into(), reason: error.to_string() }),
            _ => not_started = Some(error),
        }
    }
    let status = match &not_started {
        Some(error) if error.kind() == io::ErrorKind::NotFound => 127,
        Some(_) => 126,
        None => tracer.status.unwrap_or(u8::MAX),
    };
    Ok(Traced { looked: tracer.fold.finish(), status, not_started })
}

/// Whether the child is to take the filter: without a tracer, calls it stops at would fail.
struct Go {
    traced: bool,
}

/// What the child says: what failed, and the error number.
type Complaint = [u8; 5];
const NO_FILTER: u8 = 1;
const NOT_STARTED: u8 = 2;

fn complain(to: &mut UnixStream, what: u8, error: &io::Error) {
    let mut complaint: Complaint = [what, 0, 0, 0, 0];
    complaint[1..].copy_from_slice(&error.raw_os_error().unwrap_or(0).to_ne_bytes());
    let _ = to.write_all(&complaint);
}

fn understand(complaint: &[u8]) -> Option<(u8, io::Error)> {
    let (what, errno) = complaint.split_first()?;
    Some((*what, io::Error::from_raw_os_error(i32::from_ne_bytes(errno.try_into().ok()?))))
}

/// The child: becomes the command.
fn child(mut tracer: UnixStream, argv: &[CString]) -> ! {
    // Without a tracer nothing else would end it when this one is killed.
    let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
    let mut go = [0];
    if tracer.read_exact(&mut go).is_err() {
        sys::exit(c_int::from(u8::MAX));
    }
    if go == [1] {
        let filtered = rustix::thread::set_no_new_privs(true)
            .map_err(io::Error::from)
            .and_then(|()| sys::install(&mut filter::program()));
        if let Err(error) = filtered {
            complain(&mut tracer, NO_FILTER, &error);
        }
    }
    // Rust's runtime ignores it, and what is ignored stays so.
    sys::dispose(libc::SIGPIPE, libc::SIG_DFL);
    let error = sys::execvp(argv);
    complain(&mut tracer, NOT_STARTED, &error);
    sys::exit(127)
}

/// Attaches to the child, or says why that is not to be had.
fn attach(child: pid_t) -> Result<(), Gap> {
    let refused = |what: &str, reason: String| Gap::Refused { what: what.to_owned(), reason };
    let status = fs::read_to_string("/proc/self/status").map_err(|e| refused("`/proc`", e.to_string()))?;
    if let Err(pids) = own_proc(&status) {
        let reason = format!("it is another pid namespace's, which knows this process as `{pids}`");
        return Err(refused("`/proc`", reason));
    }
    sys::seize(child).map_err(|e| refused("ptrace", e.to_string()))
}

/// Whether `/proc` has the numbers by which this process knows others: it lists one pid for each pid namespace
/// from its own down (proc(5), `NSpid`).
fn own_proc(status: &str) -> Result<(), String> {
    let pids = status.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap_or_default().trim();
    if pids.split_whitespace().count() <= 1 { Ok(()) } else { Err(pids.replace('\t', " ")) }
}

/// What waitpid(2) tells.
#[derive(Debug, PartialEq, Eq)]
enum Stop {
    /// It ended, with this status as a shell tells it.
    Ended(u8),
    /// At a call that the filter stops at.
    Call,
    /// It has become another program.
    Exec,
    /// A signal has stopped the whole process.
    Group,
    /// A signal is about to be delivered.
    Signal(c_int),
    /// It is new, has made a new task, or was woken.
    Other,
}

fn decode(status: c_int) -> Stop {
    // Both are below 128.
    let byte = |number: c_int| u8::try_from(number & 0xff).unwrap_or(u8::MAX);
    if libc::WIFEXITED(status) {
        return Stop::Ended(byte(libc::WEXITSTATUS(status)));
    }
    if libc::WIFSIGNALED(status) {
        return Stop::Ended(128 | byte(libc::WTERMSIG(status)));
    }
    let signal = libc::WSTOPSIG(status);
    let stops = matches!(signal, libc::SIGSTOP | libc::SIGTSTP | libc::SIGTTIN | libc::SIGTTOU);
    match status >> 16 {
        0 => Stop::Signal(signal),
        libc::PTRACE_EVENT_SECCOMP => Stop::Call,
        libc::PTRACE_EVENT_EXEC => Stop::Exec,
        PTRACE_EVENT_STOP if stops => Stop::Group,
        _ => Stop::Other,
    }
}

/// `<linux/ptrace.h>`; libc has it for no target that matters here.
const PTRACE_EVENT_STOP: c_int = 128;

struct Tracer {
    main: pid_t,
    /// The command's status, once it has ended.
    status: Option<u8>,
    /// Every task that has been seen and has not ended.
    tasks: BTreeSet<pid_t>,
    /// Where links may come and go while the command runs.
    own: Vec<PathBuf>,
    fold: Fold,
}

impl Tracer {
    /// Until the command and all below it have ended.
    fn watch(&mut self) -> io::Result<()> {
        while self.status.is_none() {
            if let Some((task, status)) = sys::wait(true)? {
                self.handle(task, status)?;
            }
        }
        if self.drain(GRACE)? {
            return Ok(());
        }
        if self.tasks.is_empty() {
            // It was attached to, and has not come to its first stop.
            self.miss(Gap::Outlived { program: "?".to_owned() });
        }
        for task in self.tasks.clone() {
            self.miss(Gap::Outlived { program: program(task) });
            sys::kill(task);
        }
        self.drain(DYING).map(drop)
    }

    /// Whether all that is left ends by itself in some time.
    fn drain(&mut self, patience: Duration) -> io::Result<bool> {
        let deadline = Instant::now() + patience;
        loop {
            // Asked before: what makes calls without end gets no more time than what sleeps.
            let late = Instant::now() >= deadline;
            match sys::wait(false) {
                Ok(Some((task, status))) => self.handle(task, status)?,
                Ok(None) if !late => std::thread::sleep(TICK),
                Ok(None) => {}
                Err(e) if e.raw_os_error() == Some(libc::ECHILD) => return Ok(true),
                Err(e) => return Err(e),
            }
            if late {
                return Ok(false);
            }
        }
    }

    fn handle(&mut self, task: pid_t, status: c_int) -> io::Result<()> {
        let signal = match decode(status) {
            Stop::Ended(status) => {
                self.tasks.remove(&task);
                if task == self.main {
                    self.status = Some(status);
                }
                return Ok(());
            }
            Stop::Group => {
                self.tasks.insert(task);
                return normal(sys::listen(task));
            }
            Stop::Signal(signal) => signal,
            stop => {
                match stop {
                    Stop::Call => self.call(task),
                    Stop::Exec => self.exec(task),
                    // It may be its first: PTRACE_EVENT_STOP, where the kernel attaches to a new task.
                    _ => drop(self.tasks.insert(task)),
                }
                0
            }
        };
        normal(sys::resume(task, signal))
    }

    /// A task became another program. If another thread than the first did it, it goes on under the first one's id.
    fn exec(&mut self, task: pid_t) {
        if let Ok(former) = sys::event_message(task) {
            self.tasks.remove(&former);
        }
        self.tasks.insert(task);
        // What binfmt_misc chose to run it by shows nowhere else.
        if let Ok(exe) = fs::read_link(format!("/proc/{task}/exe"))
            && exe.is_absolute()
            && !exe.as_os_str().as_bytes().ends_with(DELETED)
        {
            self.fold.add(Event::Looked(exe, Look::Read));
        }
    }

    fn call(&mut self, task: pid_t) {
        let info = match sys::syscall_info(task) {
            Ok(info) => info,
            Err(error) => return self.unreadable(task, "a system call", &error),
        };
        if info.ret_data == filter::FOREIGN {
            return self.miss(Gap::ForeignCall { program: program(task) });
        }
        let Some(call) = calls::listed(info.ret_data) else { return };
        match call.tells {
            Tells::Unfollowed => {
                self.miss(Gap::Unfollowed { program: program(task), call: call.name.to_owned() });
            }
            Tells::Moves => self.miss(Gap::Moved { program: program(task), call: call.name.to_owned() }),
            Tells::Path { dir, path, how } => {
                // The kernel takes the low half of it.
                let dir = dir.map(|argument| info.args[argument] as c_int);
                if let Err(error) = self.path(task, call, &info.args, dir, info.args[path], how) {
                    self.unreadable(task, &format!("the path of `{}`", call.name), &error);
                }
            }
        }
    }

    fn path(
        &mut self,
        task: pid_t,
        call: &Call,
        args: &[u64; 6],
        dir: Option<c_int>,
        address: u64,
        how: How,
    ) -> io::Result<()> {
        let look = match how {
            How::As(look) => Some(look),
            How::Open(flags) => calls::open(args[flags]),
            How::OpenAs(how) => {
                // struct open_how of <linux/openat2.h>: flags, mode, resolve
                let [flags, _, resolve] = memory::words(task, args[how])?;
                if resolve & libc::RESOLVE_IN_ROOT != 0 {
                    self.miss(Gap::Moved { program: program(task), call: call.name.to_owned() });
                }
                calls::open(flags)
            }
            How::Exec => Some(Look::Read),
        };
        let Some(look) = look else { return Ok(()) };
        if address == 0 {
            // The kernel refuses it, or takes it for the descriptor alone.
            return Ok(());
        }
        let base = match dir {
            None | Some(libc::AT_FDCWD) => format!("/proc/{task}/cwd"),
            Some(fd) => format!("/proc/{task}/fd/{fd}"),
        };
        let path = match memory::path(task, address)? {
            // Most looks are such: a name in full, from the search for a header or a library. A name that is known is
            // normalised and stands for itself.
            Some(name)
                if !matches!(how, How::Exec)
                    && self.fold.knows(OsStr::from_bytes(&name), look)
                    && !self.is_own(Path::new(OsStr::from_bytes(&name))) =>
            {
                return Ok(());
            }
            Some(name) => {
                let base = match name.first() {
                    Some(b'/') => PathBuf::from("/"),
                    _ => match directory(&base)? {
                        Some(base) => base,
                        None => return Ok(()),
                    },
                };
                // The directory may be one of /proc itself.
                match magic(task, base.join(OsStr::from_bytes(&name)).as_os_str().as_bytes()) {
                    Some(name) => self.place(Path::new("/"), &name),
                    None => self.place(&base, &name),
                }
            }
            // The descriptor itself is run (fexecve(3)), which may have been opened with O_PATH.
            None if matches!(how, How::Exec) => match directory(&base)? {
                Some(path) => path,
                None => return Ok(()),
            },
            None => return Ok(()),
        };
        if matches!(how, How::Exec) {
            return self.interpreters(task, path);
        }
        // Only the flag of opendir(3) is visible in the call.
        let listed = look == Look::Read && fs::metadata(&path).is_ok_and(|data| data.is_dir());
        self.looked(path, if listed { Look::Listed } else { look });
        Ok(())
    }

    fn is_own(&self, path: &Path) -> bool {
        self.own.iter().any(|own| path.starts_with(own))
    }

    /// A look at a path, and at what it leads to now if a link of the command's own leads elsewhere.
    fn looked(&mut self, path: PathBuf, look: Look) {
        if self.is_own(&path)
            && let Some(target) = self.followed(&path)
        {
            self.fold.add(Event::Looked(target, look));
        }
        self.fold.add(Event::Looked(path, look));
    }

    /// Where a path leads if one of its components is a link; what is not there need not be.
    fn followed(&mut self, path: &Path) -> Option<PathBuf> {
        let mut path = path.to_owned();
        let mut links = 0;
        'again: while links <= LINKS {
            let mut at = PathBuf::new();
            let mut rest = path.components();
            while let Some(part) = rest.next() {
                at.push(part);
                // Links elsewhere stay what they are: they are the reader's.
                if self.is_own(&at)
                    && let Ok(target) = fs::read_link(&at)
                {
                    links += 1;
                    at.pop();
                    let name = target.join(rest.as_path());
                    path = self.place(&at, name.as_os_str().as_bytes());
                    continue 'again;
                }
            }
            return (links > 0).then_some(path);
        }
        // A loop leads nowhere.
        None
    }

    /// Where a name leads; what `..` passes on the way there is looked at.
    fn place(&mut self, base: &Path, name: &[u8]) -> PathBuf {
        let mut real = |path: &Path| {
            let link = fs::symlink_metadata(path).is_ok_and(|data| data.is_symlink());
            if link { fs::canonicalize(path).ok() } else { None }
        };
        let Place { path, passed } = place(base, name, &mut real);
        for path in passed {
            self.looked(path, Look::Probed);
        }
        path
    }

    /// A file is run: what the kernel opens for it.
    fn interpreters(&mut self, task: pid_t, program: PathBuf) -> io::Result<()> {
        let mut next = Some(program);
        for _ in 0..INTERPRETERS {
            let Some(path) = next.take() else { break };
            let needed = if fs::metadata(&path).is_ok_and(|data| data.is_file()) {
                // The look at a file must not change it, nor wait if it is no file after all.
                let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(&path);
                file.and_then(image)
            } else {
                Ok(Image::Other)
            };
            self.looked(path, Look::Read);
            next = match needed? {
                Image::Script(name) => {
                    let base = directory(&format!("/proc/{task}/cwd"))?.unwrap_or_default();
                    Some(self.place(&base, name.as_os_str().as_bytes()))
                }
                Image::Elf(loader) => {
                    if let Some(loader) = loader {
                        self.looked(loader, Look::Read);
                    }
                    None
                }
                Image::Other => None,
            };
        }
        Ok(())
    }

    fn unreadable(&mut self, task: pid_t, what: &str, error: &io::Error) {
        // Killed while it was stopped: the call is not made.
        if error.raw_os_error() != Some(libc::ESRCH) {
            let (program, reason) = (program(task), error.to_string());
            self.miss(Gap::Unreadable { program, what: what.to_owned(), reason });
        }
    }

    fn miss(&mut self, gap: Gap) {
        self.fold.add(Event::Missed(gap));
    }
}

/// A task that is killed at any time is nothing wrong.
fn normal(result: io::Result<()>) -> io::Result<()> {
    result.or_else(|e| if e.raw_os_error() == Some(libc::ESRCH) { Ok(()) } else { Err(e) })
}

/// The name of a task's program, for messages.
fn program(task: pid_t) -> String {
    let name = fs::read(format!("/proc/{task}/comm")).unwrap_or_default();
    String::from_utf8_lossy(name.trim_ascii_end()).into_owned()
}

/// What proc(5) adds to the name of a file that has none any more.
const DELETED: &[u8] = b" (deleted)";

/// Where a link of `/proc/TID` leads; `None` for a descriptor that is not open or is no file, on which the call fails.
fn directory(link: &str) -> io::Result<Option<PathBuf>> {
    let path = match fs::read_link(link) {
        Ok(path) if path.is_absolute() => path,
        Ok(_) => return Ok(None),
        Err(e) if matches!(e.raw_os_error(), Some(libc::ENOENT | libc::ESRCH)) => return Ok(None),
        Err(e) => return Err(e),
    };
    // Nothing can be found below a directory that was removed; a name of that kind may also be one.
    match path.as_os_str().as_bytes().strip_suffix(DELETED) {
        Some(name) if fs::symlink_metadata(&path).is_err() => Ok(Some(OsStr::from_bytes(name).into())),
        _ => Ok(Some(path)),
    }
}

/// A name that means something else to each process: `/proc/self`, `/dev/fd`, and in them the links that lead to a file
/// without its name (proc(5)). `None` when it is no such name.
fn magic(task: pid_t, name: &[u8]) -> Option<Vec<u8>> {
    let mut parts = name.strip_prefix(b"/")?.split(|byte| *byte == b'/').filter(|part| !matches!(*part, b"" | b"."));
    let mut part = || parts.next();
    let mut number = None;
    let (who, mut what) = match (part()?, part()?) {
        (b"proc", b"self" | b"thread-self") => (task.to_string(), part()?),
        (b"proc", pid) if pid.iter().all(u8::is_ascii_digit) => (String::from_utf8_lossy(pid).into_owned(), part()?),
        (b"dev", b"fd") => (task.to_string(), &b"fd"[..]),
        (b"dev", standard) => {
            number = Some(match standard {
                b"stdin" => &b"0"[..],
                b"stdout" => b"1",
                b"stderr" => b"2",
                _ => return None,
            });
            (task.to_string(), &b"fd"[..])
        }
        _ => return None,
    };
    if what == b"task" {
        // Of one thread: they share what matters here, unless they asked not to.
        part()?;
        what = part()?;
    }
    let link = match what {
        b"cwd" | b"root" | b"exe" => format!("/proc/{who}/{}", String::from_utf8_lossy(what)),
        b"fd" => format!("/proc/{who}/fd/{}", String::from_utf8_lossy(number.or_else(part)?)),
        _ => return None,
    };
    let mut path = directory(&link).ok().flatten()?.into_os_string().into_vec();
    for part in parts {
        path.push(b'/');
        path.extend(part);
    }
    Some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wait_statuses_are_told_apart() {
        let event = |event: c_int, signal: c_int| (event << 16) | (signal << 8) | 0x7f;
        assert_eq!(decode(3 << 8), Stop::Ended(3));
        assert_eq!(decode(libc::SIGKILL), Stop::Ended(137));
        // with a core dump
        assert_eq!(decode(libc::SIGSEGV | 0x80), Stop::Ended(139));
        assert_eq!(decode(event(0, libc::SIGTRAP)), Stop::Signal(libc::SIGTRAP));
        assert_eq!(decode(event(0, libc::SIGSTOP)), Stop::Signal(libc::SIGSTOP));
        assert_eq!(decode(event(libc::PTRACE_EVENT_SECCOMP, libc::SIGTRAP)), Stop::Call);
        assert_eq!(decode(event(libc::PTRACE_EVENT_EXEC, libc::SIGTRAP)), Stop::Exec);
        assert_eq!(decode(event(PTRACE_EVENT_STOP, libc::SIGTSTP)), Stop::Group);
        assert_eq!(decode(event(PTRACE_EVENT_STOP, libc::SIGTRAP)), Stop::Other);
        assert_eq!(decode(event(libc::PTRACE_EVENT_VFORK, libc::SIGTRAP)), Stop::Other);
    }

    #[test]
    fn a_foreign_proc_is_known_by_its_pids() {
        assert_eq!(own_proc("Pid:\t7\nNSpid:\t7\n"), Ok(()));
        assert_eq!(own_proc("Pid:\t7\n"), Ok(()));
        assert_eq!(own_proc("Pid:\t700\nNSpid:\t700\t7\n"), Err("700 7".into()));
    }

    #[test]
    fn links_of_proc_lead_to_the_file_itself() {
        let me = std::process::id().cast_signed();
        let here = std::env::current_dir().unwrap();
        let below = |name: &str| here.join(name).into_os_string().into_vec();
        assert_eq!(magic(me, b"/proc/self/cwd/a/b").unwrap(), below("a/b"));
        assert_eq!(magic(me, format!("/proc/{me}/cwd/a").as_bytes()).unwrap(), below("a"));
        assert_eq!(magic(me, format!("/proc/self/task/{me}/./cwd/a").as_bytes()).unwrap(), below("a"));
        assert_eq!(magic(me, b"/proc/self/status"), None);
        assert_eq!(magic(me, b"/dev/fd/99999"), None);
        assert_eq!(magic(me, b"/usr/bin/x"), None);
        assert_eq!(magic(me, b"proc/self/cwd"), None);
        let file = fs::File::open(here.join("Cargo.toml")).unwrap();
        let link = format!("/dev/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&file));
        assert_eq!(magic(me, link.as_bytes()).unwrap(), below("Cargo.toml"));
    }
}
