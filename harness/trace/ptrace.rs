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
//! Who needs no look-ups can do without most stops, where the host allows it: `opened`.
//!
//! A task is stopped once for each listed call, on its way in. Its id names a thread; `/proc/TID` shows that
//! thread's own working directory and descriptors. A task can be killed while it is stopped: `ESRCH` is an answer
//! like others, and its end is still to come from waitpid(2).

use std::collections::BTreeSet;
use std::ffi::{CString, OsString};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use libc::{c_int, pid_t};

use super::{Disturb, Gap, Looked, Trace, TraceError, What};
use both::Both;
use calls::{Call, Does, Stops, Tells};
use looks::Looks;
use names::program;
use opened::Listener;
use recorder::Recorder;

mod both;
mod calls;
mod files;
mod filter;
mod interrupter;
mod looks;
mod memory;
mod names;
mod opened;
mod recorder;
mod sockets;
mod sys;

/// How long what the command left behind may go on. It is traced to its end; a pipe's writer ends a moment late.
const GRACE: Duration = Duration::from_secs(1);
/// How long what is killed then may take to be gone.
const DYING: Duration = Duration::from_secs(2);
/// How often, in microseconds, what was opened is looked at while no task stops.
const LISTEN: i64 = 100_000;
/// How often, in microseconds, it is looked whether a step that is to begin late may begin.
const LATE: i64 = 2_000;
/// How often it is looked whether something ended.
const TICK: Duration = Duration::from_millis(2);

/// Who is told what the traced tasks do.
trait Watch {
    /// Something is about to be told, or nothing was for a while.
    fn before(&mut self) {}

    /// A task makes a call that [`Tells::Path`], [`Tells::Writes`] or [`Tells::Nothing`] is said of.
    fn call(&mut self, task: pid_t, call: &'static Call, args: &[u64; 6]) -> Next;

    /// The call that was let go with [`Next::Return`] has returned, with this value or `-errno`.
    fn returned(&mut self, _task: pid_t, _value: i64) {}

    /// A task is new. Its own first stop can come before the event of whoever made it, and tells less; even its end can.
    fn born(&mut self, _task: pid_t, _by: Option<Birth>) {}

    /// A task has become another program; if another thread than the first did it, that was `former`.
    fn exec(&mut self, task: pid_t, former: Option<pid_t>);

    /// Whether tasks stop as they end, while whoever waits for them does not know yet.
    fn wants_exits(&self) -> bool {
        false
    }

    /// A task has all done, and will end when it goes on.
    fn ending(&mut self, _task: pid_t) {}

    /// A task has ended.
    fn ended(&mut self, _task: pid_t, _status: c_int, _usage: &libc::rusage) {}

    /// How late the step is to begin that has just been told of.
    fn late(&mut self) -> Option<Duration> {
        None
    }

    /// The processes that are to get a signal now.
    fn strike(&mut self) -> Vec<(pid_t, c_int)> {
        Vec::new()
    }

    /// Something cannot be told.
    fn miss(&mut self, gap: Gap);
}

/// What a task that stands at a call is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// Make it.
    Go,
    /// Make it and stop when it returns.
    Return,
    /// Not make it, and take it for one that failed with this error number.
    Fail(c_int),
}

/// How a task came to be.
#[derive(Clone, Copy, Debug)]
struct Birth {
    /// By whom.
    parent: pid_t,
    /// Whether it can be a thread of its parent's process: by clone(2), not by fork(2) or vfork(2).
    thread: bool,
}

/// How the command ended.
pub(super) struct Ran {
    /// The command's status as a shell tells it.
    pub(super) status: u8,
    /// Why the command could not be started.
    pub(super) not_started: Option<io::Error>,
}

/// Runs a command to its end, and tells what was looked at; below `own`, links are followed when they are used. To be
/// called while there is one thread.
///
/// # Errors
/// When no process can be had.
pub(super) fn looks(own: Vec<PathBuf>, command: &[OsString]) -> Result<(Looked, Ran), TraceError> {
    let (looks, ran) = run(calls::looking, |_| Looks::new(own), None, command, Some(GRACE))?;
    Ok((looks.finish(), ran))
}

/// As [`looks`], and tells everything; the contents of files below `own` by digest. What the command leaves behind is traced
/// for as long as it lives, or of a build as briefly as for looks. Where look-ups need not be told, that takes less time if the
/// host allows it.
///
/// # Errors
/// When no process can be had.
pub(super) fn all(
    own: Vec<PathBuf>,
    what: What,
    disturb: Disturb,
    command: &[OsString],
) -> Result<(Trace, Ran), TraceError> {
    // A host that refuses it is an ordinary one.
    let listener = if what.wants_looks() { None } else { Listener::new().ok() };
    let stops: fn(&Call) -> Stops = match what.wants_looks() {
        true => calls::any,
        false if listener.is_some() => calls::changing,
        false => calls::acting,
    };
    let (fails, reversed) = (disturb.fails_writes(), disturb.reversed);
    let stops = move |call: &Call| match (call.tells, call.does) {
        (Tells::Writes(_), _) if fails => Stops::Always,
        (_, Some(Does::List)) if reversed => Stops::Always,
        _ => stops(call),
    };
    let taken =
        |fd| sys::take(fd).map_err(|source| TraceError::Process { what: "take the descriptors of a group", source });
    let [join, counts] = match disturb.group {
        Some(fds) => fds.map(Some),
        None => [None, None],
    };
    let (join, counts) = (join.map(taken).transpose()?, counts.map(taken).transpose()?);
    let watch = |main| {
        if disturb.delays.is_some() {
            let _ = sys::tick(LATE);
        } else if listener.is_some() {
            // Without it a command that only reads would fill the queue: without an end, as long as it makes no stop.
            let _ = sys::tick(LISTEN);
        }
        Recorder::new(main, own, what.wants_looks(), listener).disturbing(disturb, counts)
    };
    let (recorder, ran) = run(stops, watch, join, command, (!what.waits()).then_some(GRACE))?;
    Ok((recorder.finish(), ran))
}

/// As [`all`] of a build without what it looks up, and tells besides what was looked at, as [`looks`] does: of one run of it.
///
/// # Errors
/// When no process can be had.
pub(super) fn both(
    own: Vec<PathBuf>,
    links: Vec<PathBuf>,
    command: &[OsString],
) -> Result<(Trace, Looked, Ran), TraceError> {
    let watch = |main| Both::new(Recorder::new(main, own, false, None), links);
    let (both, ran) = run(calls::any, watch, None, command, Some(GRACE))?;
    let (trace, looked) = both.finish();
    Ok((trace, looked, ran))
}

/// Stopped at the calls that `stops` says, and watched by what `watch` makes for the process that will become the command;
/// that joins a group of processes first, if it is to.
fn run<W: Watch>(
    stops: impl Fn(&Call) -> Stops,
    watch: impl FnOnce(pid_t) -> W,
    join: Option<File>,
    command: &[OsString],
    grace: Option<Duration>,
) -> Result<(W, Ran), TraceError> {
    let failed = |what| move |source| TraceError::Process { what, source };
    let argv: Result<Vec<CString>, _> = command.iter().map(|word| CString::new(word.as_bytes())).collect();
    let argv = argv.map_err(|error| failed("pass the command on")(error.into()))?;
    let (mut here, there) = UnixStream::pair().map_err(failed("make a pair of sockets"))?;
    let Some(main) = sys::fork().map_err(failed("fork"))? else {
        drop(here);
        child(there, &argv, stops, join)
    };
    drop(there);
    // What is sent to the whole process group is for the command to take, and the status comes from there.
    for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM] {
        sys::dispose(signal, libc::SIG_IGN);
    }
    // Ignored, as somebody may have left it, children would vanish without a status.
    sys::dispose(libc::SIGCHLD, libc::SIG_DFL);
    let mut tracer = Tracer {
        main,
        status: None,
        tasks: BTreeSet::from([main]),
        early: BTreeSet::new(),
        held: Vec::new(),
        watch: watch(main),
    };
    let refused = attach(main, tracer.watch.wants_exits()).err();
    let go = Go { traced: refused.is_none() };
    here.write_all(&[u8::from(go.traced)]).map_err(failed("start the command"))?;
    if let Some(gap) = refused {
        tracer.watch.miss(gap);
    }
    tracer.watch(grace).map_err(failed("wait for the command"))?;
    let mut said = Vec::new();
    here.read_to_end(&mut said).map_err(failed("hear from the command"))?;
    let mut not_started = None;
    for complaint in said.chunks_exact(size_of::<Complaint>()) {
        let Some((what, error)) = understand(complaint) else { continue };
        match what {
            NO_FILTER => tracer.watch.miss(Gap::Refused { what: "a seccomp filter".into(), reason: error.to_string() }),
            _ => not_started = Some(error),
        }
    }
    let status = match &not_started {
        Some(error) if error.kind() == io::ErrorKind::NotFound => 127,
        Some(_) => 126,
        None => tracer.status.unwrap_or(u8::MAX),
    };
    Ok((tracer.watch, Ran { status, not_started }))
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
fn child(mut tracer: UnixStream, argv: &[CString], stops: impl Fn(&Call) -> Stops, join: Option<File>) -> ! {
    // Without a tracer nothing else would end it when this one is killed.
    let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
    let mut go = [0];
    if tracer.read_exact(&mut go).is_err() {
        sys::exit(c_int::from(u8::MAX));
    }
    if go == [1] {
        let filtered = rustix::thread::set_no_new_privs(true)
            .map_err(io::Error::from)
            .and_then(|()| sys::install(&mut filter::program(stops)));
        if let Err(error) = filtered {
            complain(&mut tracer, NO_FILTER, &error);
        }
    }
    // The writer itself joins (cgroups(7)). What it has of the tracer's memory is not counted.
    if let Some(Err(error)) = join.map(|mut procs| procs.write_all(b"0")) {
        complain(&mut tracer, NOT_STARTED, &error);
        sys::exit(c_int::from(u8::MAX));
    }
    // Rust's runtime ignores it, and what is ignored stays so.
    sys::dispose(libc::SIGPIPE, libc::SIG_DFL);
    let error = sys::execvp(argv);
    complain(&mut tracer, NOT_STARTED, &error);
    sys::exit(127)
}

/// Attaches to the child, or says why that is not to be had.
fn attach(child: pid_t, exits: bool) -> Result<(), Gap> {
    let refused = |what: &str, reason: String| Gap::Refused { what: what.to_owned(), reason };
    let status = fs::read_to_string("/proc/self/status").map_err(|e| refused("`/proc`", e.to_string()))?;
    if let Err(pids) = own_proc(&status) {
        let reason = format!("it is another pid namespace's, which knows this process as `{pids}`");
        return Err(refused("`/proc`", reason));
    }
    sys::seize(child, exits).map_err(|e| refused("ptrace", e.to_string()))
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
    /// At the return of a call.
    Return,
    /// It is about to end.
    Exit,
    /// It has become another program.
    Exec,
    /// A signal has stopped the whole process.
    Group,
    /// A signal is about to be delivered.
    Signal(c_int),
    /// It has made a new task; by clone(2) it can be a thread.
    Birth { thread: bool },
    /// It is new, or was woken.
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
        0 if signal == RETURN => Stop::Return,
        0 => Stop::Signal(signal),
        libc::PTRACE_EVENT_SECCOMP => Stop::Call,
        libc::PTRACE_EVENT_EXEC => Stop::Exec,
        libc::PTRACE_EVENT_EXIT => Stop::Exit,
        libc::PTRACE_EVENT_FORK | libc::PTRACE_EVENT_VFORK => Stop::Birth { thread: false },
        libc::PTRACE_EVENT_CLONE => Stop::Birth { thread: true },
        PTRACE_EVENT_STOP if stops => Stop::Group,
        _ => Stop::Other,
    }
}

/// `<linux/ptrace.h>`; libc has it for no target that matters here.
const PTRACE_EVENT_STOP: c_int = 128;
/// What `PTRACE_O_TRACESYSGOOD` makes of the stop at a call's return.
const RETURN: c_int = libc::SIGTRAP | 0x80;

struct Tracer<W> {
    main: pid_t,
    /// The command's status, once it has ended.
    status: Option<u8>,
    /// Every task that has been seen and has not ended.
    tasks: BTreeSet<pid_t>,
    /// Those whose own stop came before the event of whoever made them. They can have ended when that comes.
    early: BTreeSet<pid_t>,
    /// Those that are to go on at some time.
    held: Vec<(Instant, pid_t)>,
    watch: W,
}

impl<W: Watch> Tracer<W> {
    /// Until the command and all below it have ended.
    fn watch(&mut self, grace: Option<Duration>) -> io::Result<()> {
        while self.status.is_none() || grace.is_none() {
            self.release()?;
            match sys::wait(true) {
                Ok(Some(change)) => self.handle(&change)?,
                Ok(None) => self.watch.before(),
                Err(e) if e.raw_os_error() == Some(libc::ECHILD) && self.status.is_some() => return Ok(()),
                Err(e) => return Err(e),
            }
        }
        if self.drain(grace.unwrap_or(GRACE))? {
            return Ok(());
        }
        if self.tasks.is_empty() {
            // It was attached to, and has not come to its first stop.
            self.watch.miss(Gap::Outlived { program: "?".to_owned() });
        }
        for task in self.tasks.clone() {
            self.watch.miss(Gap::Outlived { program: program(task) });
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
            self.release()?;
            match sys::wait(false) {
                Ok(Some(change)) => self.handle(&change)?,
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

    /// Lets those go on whose time it is.
    fn release(&mut self) -> io::Result<()> {
        if self.held.is_empty() {
            return Ok(());
        }
        let now = Instant::now();
        for (_, task) in self.held.extract_if(.., |(at, _)| *at <= now) {
            normal(sys::resume(task, 0))?;
        }
        Ok(())
    }

    fn handle(&mut self, change: &sys::Change) -> io::Result<()> {
        let task = change.task;
        let mut next = Next::Go;
        self.watch.before();
        let signal = match decode(change.status) {
            Stop::Ended(status) => {
                self.tasks.remove(&task);
                if task == self.main {
                    self.status = Some(status);
                }
                self.watch.ended(task, change.status, &change.usage);
                self.strike();
                return Ok(());
            }
            Stop::Group => {
                self.tasks.insert(task);
                return normal(sys::listen(task));
            }
            Stop::Signal(signal) => signal,
            stop => {
                match stop {
                    Stop::Call => next = self.call(task),
                    Stop::Return => {
                        if let Ok(value) = sys::returned(task) {
                            self.watch.returned(task, value);
                        }
                    }
                    Stop::Exec => self.exec(task),
                    Stop::Exit => self.watch.ending(task),
                    Stop::Birth { thread } => self.birth(task, thread),
                    // It may be its first: PTRACE_EVENT_STOP, where the kernel attaches to a new task.
                    _ => {
                        if self.tasks.insert(task) {
                            self.early.insert(task);
                            self.watch.born(task, None);
                        }
                    }
                }
                0
            }
        };
        // Before the task goes on.
        self.strike();
        if let Some(late) = self.watch.late() {
            self.held.push((Instant::now() + late, task));
            return Ok(());
        }
        normal(match next {
            Next::Go => sys::resume(task, signal),
            Next::Return => sys::resume_to_return(task),
            Next::Fail(error) => sys::fail(task, error).and_then(|()| sys::resume(task, signal)),
        })
    }

    fn strike(&mut self) {
        for (process, signal) in self.watch.strike() {
            sys::signal(process, signal);
        }
    }

    fn birth(&mut self, parent: pid_t, thread: bool) {
        // Its number fails to come only if the parent is being killed, and then the child's own stop tells of it.
        if let Ok(child) = sys::event_message(parent) {
            if !self.early.remove(&child) {
                self.tasks.insert(child);
            }
            self.watch.born(child, Some(Birth { parent, thread }));
        }
    }

    /// A task became another program. If another thread than the first did it, it goes on under the first one's id.
    fn exec(&mut self, task: pid_t) {
        let former = sys::event_message(task).ok().filter(|former| *former != task);
        if let Some(former) = former {
            self.tasks.remove(&former);
        }
        self.tasks.insert(task);
        self.watch.exec(task, former);
    }

    fn call(&mut self, task: pid_t) -> Next {
        let info = match sys::syscall_info(task) {
            Ok(info) => info,
            Err(error) => {
                unreadable(&mut self.watch, task, "a system call", &error);
                return Next::Go;
            }
        };
        if info.ret_data == filter::FOREIGN {
            self.watch.miss(Gap::ForeignCall { program: program(task) });
            return Next::Go;
        }
        let Some(call) = calls::listed(info.ret_data) else { return Next::Go };
        match call.tells {
            Tells::Unfollowed => {
                self.watch.miss(Gap::Unfollowed { program: program(task), call: call.name.to_owned() });
                Next::Go
            }
            Tells::Moves => {
                self.watch.miss(Gap::Moved { program: program(task), call: call.name.to_owned() });
                Next::Go
            }
            Tells::Path { .. } | Tells::Nothing | Tells::Writes(_) => self.watch.call(task, call, &info.args),
        }
    }
}

/// The flags of an openat2(2), of `struct open_how` in <linux/openat2.h>: flags, mode, resolve.
fn open_how(watch: &mut impl Watch, task: pid_t, call: &Call, address: u64) -> io::Result<u64> {
    let [flags, _, resolve] = memory::words(task, address)?;
    if resolve & libc::RESOLVE_IN_ROOT != 0 {
        watch.miss(Gap::Moved { program: program(task), call: call.name.to_owned() });
    }
    Ok(flags)
}

/// What a call is about cannot be found out.
fn unreadable(watch: &mut impl Watch, task: pid_t, what: &str, error: &io::Error) {
    // Killed while it was stopped: the call is not made.
    if error.raw_os_error() != Some(libc::ESRCH) {
        let (program, reason) = (program(task), error.to_string());
        watch.miss(Gap::Unreadable { program, what: what.to_owned(), reason });
    }
}

/// A task that is killed at any time is nothing wrong.
fn normal(result: io::Result<()>) -> io::Result<()> {
    result.or_else(|e| if e.raw_os_error() == Some(libc::ESRCH) { Ok(()) } else { Err(e) })
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
        assert_eq!(decode(event(libc::PTRACE_EVENT_VFORK, libc::SIGTRAP)), Stop::Birth { thread: false });
        assert_eq!(decode(event(libc::PTRACE_EVENT_CLONE, libc::SIGTRAP)), Stop::Birth { thread: true });
        assert_eq!(decode(event(0, libc::SIGTRAP | 0x80)), Stop::Return);
    }

    #[test]
    fn a_foreign_proc_is_known_by_its_pids() {
        assert_eq!(own_proc("Pid:\t7\nNSpid:\t7\n"), Ok(()));
        assert_eq!(own_proc("Pid:\t7\n"), Ok(()));
        assert_eq!(own_proc("Pid:\t700\nNSpid:\t700\t7\n"), Err("700 7".into()));
    }
}
