//! Runs the commands and keeps watch: in the pid namespace as its init, else as a subreaper (prctl(2),
//! `PR_SET_CHILD_SUBREAPER`).

use std::collections::BTreeMap;
use std::ffi::{CString, OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::HelperErrorKind::{Exec, Internal};
use super::{Command, CommandResult, Facility, HelperError, Isolated, Limits, Spec, Status, direct_path, sys};

/// How the commands went.
pub(super) struct Ran {
    pub(super) commands: Vec<CommandResult>,
    pub(super) killed: bool,
    pub(super) error: Option<HelperError>,
}

/// What the commands run with, and what they are watched by.
pub(super) struct Supervisor<'a> {
    pub(super) spec: &'a Spec,
    pub(super) isolated: Isolated,
    pub(super) pid_ns: bool,
    pub(super) lifeline: BorrowedFd<'a>,
    pub(super) log: Option<&'a OwnedFd>,
    /// Told of every open: see [`Spec::listen`].
    pub(super) listener: Option<OwnedFd>,
}

impl Supervisor<'_> {
    /// Runs the commands one by one until one fails or the lifeline ends; nothing they started is alive afterwards.
    pub(super) fn run(&self) -> Ran {
        let mut ran = Ran { commands: Vec::new(), killed: false, error: None };
        let mut events = match sys::child_events() {
            Ok(e) => e,
            Err(e) => {
                ran.error = Some(HelperError::new(Internal, "run commands", "watch children").errno(e));
                return ran;
            }
        };
        for (index, command) in self.spec.commands.iter().enumerate() {
            match self.one(index, command, &mut events) {
                Ok(Some(result)) => {
                    let failed = result.status != Status::Exited(0);
                    ran.commands.push(result);
                    if failed {
                        break;
                    }
                }
                Ok(None) => {
                    ran.killed = true;
                    break;
                }
                Err(e) => {
                    ran.error = Some(e);
                    break;
                }
            }
        }
        self.kill_all();
        ran
    }

    fn one(&self, index: usize, command: &Command, events: &mut File) -> Result<Option<CommandResult>, HelperError> {
        let fail = |what: &str, e: io::Error| HelperError::new(Internal, "run commands", what).errno(e);
        // no pipe: what an earlier command left running could open its other end (see `sandbox`)
        let (mut complaint, report) = UnixStream::pair().map_err(|e| fail("make a pair of sockets", e))?;
        let begin = Instant::now();
        let parent = rustix::process::getpid();
        let Some(pid) = sys::fork().map_err(|e| fail("fork", e))? else {
            let problem = self.child(command, parent);
            let mut report = report;
            let text = serde_json::to_vec(&HelperError { kind: Exec { index }, ..problem }).unwrap_or_default();
            // the parent sees the missing complaint as status 127
            let _ = report.write_all(&text);
            sys::exit(127);
        };
        drop(report);
        let mut text = Vec::new();
        // ends when exec closes the other end
        complaint.read_to_end(&mut text).map_err(|e| fail("hear from the command", e))?;
        if !text.is_empty() {
            sys::reap(pid, true).map_err(|e| fail("wait", e))?;
            return Err(serde_json::from_slice(&text)
                .unwrap_or_else(|_| HelperError::new(Exec { index }, "start command", "unknown reason")));
        }
        loop {
            while let Ok(Some(dead)) = sys::reap(-1, false) {
                if dead.pid == pid {
                    return Ok(Some(CommandResult {
                        label: command.label.clone(),
                        status: dead.status,
                        wall: begin.elapsed(),
                        user: dead.user,
                        system: dead.system,
                        max_rss_kib: dead.max_rss_kib,
                    }));
                }
            }
            let mut fds = [PollFd::new(&*events, PollFlags::IN), PollFd::new(&self.lifeline, PollFlags::IN)];
            match poll(&mut fds, None) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(e) => return Err(fail("poll", e.into())),
            }
            if !fds[1].revents().is_empty() {
                return Ok(None);
            }
            let mut drain = [0; 128 * 16];
            while matches!(events.read(&mut drain), Ok(n) if n > 0) {}
        }
    }

    /// In the child: becomes the command, or says why not.
    fn child(&self, command: &Command, parent: rustix::process::Pid) -> HelperError {
        let fail = |what: String, e: io::Error| HelperError::new(Internal, "start command", what).errno(e);
        sys::default_signals();
        if !self.pid_ns {
            // nobody else takes the command down if its keeper is killed
            let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
            if rustix::process::getppid() != Some(parent) {
                sys::exit(127);
            }
        }
        if !self.spec.interactive {
            // a build that kills its own process group must not take its keeper with it
            let _ = rustix::process::setpgid(None, None);
        }
        let direct = self.isolated == Isolated::Direct;
        let cwd = if direct { direct_path(self.spec, &command.cwd) } else { command.cwd.clone() };
        if let Err(e) = std::env::set_current_dir(&cwd) {
            return fail(format!("change to `{}`", cwd.display()), e);
        }
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(self.spec.umask));
        if let Err(e) = limit(&self.spec.limits) {
            return fail("set resource limits".to_owned(), e);
        }
        if let Some(processors) = self.spec.processors
            && let Err(e) = use_processors(processors)
        {
            return fail(format!("use {processors} processor(s)"), e);
        }
        if let Some(group) = self.spec.group
            && let Err(e) = join_group(group)
        {
            return fail(format!("be of group {group}"), e);
        }
        if !self.spec.randomize_addresses
            && let Err(e) = sys::no_address_randomization()
        {
            return fail("switch address space randomisation off".to_owned(), e);
        }
        if let Err(e) = self.descriptors() {
            return fail("set up descriptors".to_owned(), e);
        }
        let mut env: BTreeMap<&OsStr, &OsStr> = BTreeMap::new();
        for (key, value) in self.spec.env.iter().chain(&command.env) {
            env.insert(key, value);
        }
        exec(&command.argv, &env)
    }

    fn descriptors(&self) -> io::Result<()> {
        if let Some(log) = self.log {
            let null = File::open("/dev/null")?;
            sys::redirect(&null, 0)?;
            sys::redirect(log, 1)?;
            sys::redirect(log, 2)?;
        }
        let swept = match self.spec.refuse.contains(&Facility::CloseRange) {
            true => Err(io::ErrorKind::Unsupported.into()),
            false => sys::cloexec_all(),
        };
        if swept.is_err() {
            for entry in fs::read_dir("/proc/self/fd")? {
                if let Some(fd) = entry?.file_name().to_str().and_then(|n| n.parse().ok())
                    && fd > 2
                    && sys::is_open(fd)
                {
                    sys::set_cloexec(fd, true)?;
                }
            }
        }
        let listener = self.listener.iter().map(AsRawFd::as_raw_fd);
        self.spec.inherit_fds.iter().copied().chain(listener).try_for_each(|fd| sys::set_cloexec(fd, false))
    }

    /// Kills and reaps everything below this process, within two seconds unless the kernel holds something back.
    pub(super) fn kill_all(&self) {
        let deadline = Instant::now() + Duration::from_secs(2);
        loop {
            if self.pid_ns {
                // kill(2): -1 is every process this one may signal, which from pid 1 is the namespace
                sys::kill(-1, libc::SIGKILL);
            } else {
                for pid in descendants(std::process::id()) {
                    sys::kill(pid, libc::SIGKILL);
                }
            }
            loop {
                match sys::reap(-1, false) {
                    Ok(Some(_)) => {}
                    Ok(None) => break,
                    // no children: nothing is left
                    Err(_) => return,
                }
            }
            if Instant::now() > deadline {
                return;
            }
            let _ = poll(&mut [], Some(&Timespec { tv_sec: 0, tv_nsec: 1_000_000 }));
        }
    }
}

/// Leaves this process the first so many of the processors that it may use.
fn use_processors(wanted: u32) -> io::Result<()> {
    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
    let (may, mut few) = (sched_getaffinity(None)?, CpuSet::new());
    let those = (0..CpuSet::MAX_CPU).filter(|cpu| may.is_set(*cpu));
    those.take(wanted as usize).for_each(|cpu| few.set(cpu));
    Ok(sched_setaffinity(None, &few)?)
}

/// Has this process, and what it starts, be of this group alone. It is still root, and may write where only the first group
/// could.
pub(super) fn join_group(group: u32) -> io::Result<()> {
    use rustix::thread::{set_thread_groups, set_thread_res_gid};
    // all bits set would mean none (setresgid(2))
    if group == u32::MAX {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let gid = rustix::process::Gid::from_raw(group);
    set_thread_groups(&[gid])?;
    Ok(set_thread_res_gid(gid, gid, gid)?)
}

fn limit(limits: &Limits) -> io::Result<()> {
    for (resource, value) in [
        (Resource::Fsize, limits.file_size),
        (Resource::Core, limits.core),
        (Resource::Nofile, limits.open_files),
        (Resource::Stack, limits.stack),
    ] {
        let Some(value) = value else { continue };
        let hard = getrlimit(resource).maximum;
        let value = hard.map_or(value, |h| value.min(h));
        setrlimit(resource, Rlimit { current: Some(value), maximum: Some(value) })?;
    }
    Ok(())
}

/// Finds the program as execvp(3) does, but in the `PATH` that the command gets, and becomes it.
fn exec(argv: &[OsString], env: &BTreeMap<&OsStr, &OsStr>) -> HelperError {
    let text = |bytes: &[u8]| CString::new(bytes).ok();
    let problem = |what: &str| HelperError::new(Internal, "start command", what);
    let Some(name) = argv.first() else {
        return problem("the command is empty");
    };
    let args: Option<Vec<CString>> = argv.iter().map(|a| text(a.as_bytes())).collect();
    let vars: Option<Vec<CString>> =
        env.iter().map(|(k, v)| text(&[k.as_bytes(), b"=", v.as_bytes()].concat())).collect();
    let (Some(args), Some(vars)) = (args, vars) else {
        return problem("an argument or environment variable holds a NUL byte");
    };
    let path = env.get(OsStr::new("PATH")).map_or(OsStr::new("/usr/bin:/bin"), |p| *p);
    let candidates: Vec<PathBuf> = if name.as_bytes().contains(&b'/') {
        vec![PathBuf::from(name)]
    } else {
        std::env::split_paths(path).map(|d| if d.as_os_str().is_empty() { ".".into() } else { d }.join(name)).collect()
    };
    let mut error = io::Error::from_raw_os_error(libc::ENOENT);
    for candidate in &candidates {
        let Some(program) = text(candidate.as_os_str().as_bytes()) else { continue };
        let e = sys::execve(&program, &args, &vars);
        // execvp(3): EACCES is remembered, a missing file is not
        if !matches!(e.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR)) {
            error = e;
            if error.raw_os_error() != Some(libc::EACCES) {
                break;
            }
        }
    }
    let hint = if candidates.len() == 1 && name.as_bytes().contains(&b'/') {
        "is it visible inside? extra directories have to be named".to_owned()
    } else {
        format!("install it, or add its directory to PATH (`{}`)", path.to_string_lossy())
    };
    problem(&format!("run `{}`", Path::new(name).display())).errno(error).hint(hint)
}

/// Every process below `top`, from `/proc/<pid>/stat` (proc_pid_stat(5)).
fn descendants(top: u32) -> Vec<i32> {
    let mut parents: Vec<(i32, i32)> = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|n| n.parse::<i32>().ok()) else { continue };
        // it may be gone by now
        let Ok(stat) = fs::read(entry.path().join("stat")) else { continue };
        if let Some(parent) = parent_of(&stat) {
            parents.push((pid, parent));
        }
    }
    let mut found = vec![top as i32];
    let mut next = 0;
    while next < found.len() {
        let of = found[next];
        found.extend(parents.iter().filter(|(pid, parent)| *parent == of && *pid != of).map(|(pid, _)| *pid));
        next += 1;
    }
    found.split_off(1)
}

/// Kills every process of a session: what is left to do when the helper itself was killed and there was no pid
/// namespace. The caller has not reaped the session's leader, so its number means no other session.
pub(super) fn kill_session(leader: u32) {
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|n| n.parse::<i32>().ok()) else { continue };
        let Ok(stat) = fs::read(entry.path().join("stat")) else { continue };
        if pid as u32 != leader && session_of(&stat) == Some(leader as i32) {
            sys::kill(pid, libc::SIGKILL);
        }
    }
}

fn parent_of(stat: &[u8]) -> Option<i32> {
    field_after_name(stat, 1)
}

fn session_of(stat: &[u8]) -> Option<i32> {
    field_after_name(stat, 3)
}

/// The second field is a name in parentheses that may hold anything, so fields count from the last parenthesis.
fn field_after_name(stat: &[u8], index: usize) -> Option<i32> {
    let end = stat.iter().rposition(|b| *b == b')')?;
    let rest = std::str::from_utf8(stat.get(end + 1..)?).ok()?;
    rest.split_ascii_whitespace().nth(index)?.parse().ok()
}

/// Waits until the process ends and reaps it; after the end of the lifeline it gets 1.5 s to end by itself.
pub(super) fn guard(pid: i32, lifeline: BorrowedFd<'_>) -> io::Result<()> {
    let mut events = sys::child_events()?;
    let mut deadline: Option<Instant> = None;
    loop {
        if sys::reap(pid, false)?.is_some() {
            return Ok(());
        }
        let left = deadline.map(|d| d.saturating_duration_since(Instant::now()));
        if left == Some(Duration::ZERO) {
            // pid 1 watches the lifeline itself and is given time to say how far it came
            sys::kill(pid, libc::SIGKILL);
            sys::reap(pid, true)?;
            return Ok(());
        }
        let mut fds = [PollFd::from_borrowed_fd(events.as_fd(), PollFlags::IN), PollFd::new(&lifeline, PollFlags::IN)];
        let watched = if deadline.is_some() { &mut fds[..1] } else { &mut fds[..] };
        let timeout = left.and_then(|d| Timespec::try_from(d).ok());
        match poll(watched, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
        if deadline.is_none() && !fds[1].revents().is_empty() {
            deadline = Some(Instant::now() + Duration::from_millis(1500));
        }
        let mut drain = [0; 128 * 16];
        while matches!(events.read(&mut drain), Ok(n) if n > 0) {}
    }
}

/// Whether the harness is gone or wants an end.
pub(super) fn lifeline_ended(lifeline: BorrowedFd<'_>) -> bool {
    let mut fds = [PollFd::new(&lifeline, PollFlags::IN)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    matches!(poll(&mut fds, Some(&now)), Ok(n) if n > 0)
}

/// Sets `O_APPEND`, so that lines of several writers stay whole.
pub(super) fn append_mode(log: &OwnedFd) -> io::Result<()> {
    let flags = rustix::fs::fcntl_getfl(log)?;
    Ok(rustix::fs::fcntl_setfl(log, flags | rustix::fs::OFlags::APPEND)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_name_cannot_hide_its_parent() {
        assert_eq!(parent_of(b"12 (a) R 7) S 34 12 12 0"), Some(34));
        assert_eq!(parent_of(b"12 (sh) S 1 12"), Some(1));
        assert_eq!(session_of(b"12 (a) R 7) S 34 56 78 0"), Some(78));
        assert_eq!(parent_of(b"junk"), None);
    }
}
