//! Who wants to know everything: each process with its programs and what it did to files.
//!
//! Looks are told as their call is entered, by a look of the tracer's own at the same path: whether it is there. What opens
//! or changes something is told when it has returned, by what came of it. A file whose content is about to be lost
//! is hashed before the call goes on, every other one at the end.
//!
//! With a [`Listener`], tasks do not stop at what opens for reading only: that is heard, and told before anything that a stop
//! tells.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use libc::{c_int, pid_t};

use super::calls::{Call, Does, How, Name, Tells};
use super::files::Files;
use super::interrupter::Interrupter;
use super::names::{base, directory, needed, proc_file, program, real, running, start};
use super::opened::Listener;
use super::{Birth, Next, Watch, memory, open_how, sockets, unreadable};
use crate::trace::place::place;
use crate::trace::{Action, Deed, End, Environment, Gap, Process, Program, Trace};

mod changes;
mod disturbing;
mod heard;
mod interrupting;

use changes::{Change, is_refused};

/// `ENOENT` and `ENOTDIR`, as calls return them.
const NO_ENTRY: i64 = libc::ENOENT as i64;
const NO_DIRECTORY: i64 = libc::ENOTDIR as i64;

/// A call that is under way.
enum Pending {
    /// open(2) and its kin.
    Open { path: PathBuf, flags: c_int, existed: bool },
    /// Anything that changes names: what to tell if it works.
    Change(Change),
    /// getdents(2), whose names, from this address on, are to come the other way round.
    List(u64),
}

/// Device and number: which file it is, whatever its name.
type Inode = (u64, u64);

pub(super) struct Recorder {
    began: Instant,
    trace: Trace,
    files: Files,
    /// Which process a task belongs to.
    tasks: HashMap<pid_t, usize>,
    /// The same of tasks that are not known yet by whoever made them; they can have ended.
    early: HashMap<pid_t, usize>,
    pending: HashMap<pid_t, Pending>,
    /// Digests of what the call of a task will have replaced, if it works.
    going: HashMap<pid_t, Vec<(u32, String)>>,
    /// What a task is about to run: what the call named, or what the kernel was heard to open.
    running: HashMap<pid_t, Vec<PathBuf>>,
    /// What each process has done already, so that it is told once.
    done: Vec<HashMap<(Deed, u32), Option<u32>>>,
    /// Processor time with that of children, until these are taken away.
    usage: Vec<u64>,
    /// The numbers of environments.
    environments: HashMap<Environment, u32>,
    /// Files that were opened for reading, by the names that this was done by. Most reads are of headers and libraries that
    /// many processes read: what could be opened by a name once can be again, until names change.
    readable: HashMap<OsString, PathBuf>,
    /// The names, by file.
    names: HashMap<PathBuf, Vec<OsString>>,
    /// The number of the next action.
    next: u32,
    /// Tells what is opened for reading, where tasks do not stop for that. Then look-ups are not told.
    listener: Option<Listener>,
    /// The mount namespace that is listened to.
    mounts: Option<PathBuf>,
    /// Interrupts the command.
    interrupter: Option<Interrupter>,
    /// The seed by which steps begin late, and how late the one does that has just been told of.
    delays: Option<u32>,
    late: Option<Duration>,
    /// Whether its own directories list their names the other way round.
    reversed: bool,
    /// Where the kernel counts what it kills for want of memory.
    counts: Option<File>,
}

impl Watch for Recorder {
    fn before(&mut self) {
        self.hear();
    }

    fn call(&mut self, task: pid_t, call: &'static Call, args: &[u64; 6]) -> Next {
        self.pending.remove(&task);
        self.going.remove(&task);
        self.did_not_run(task);
        match self.entered(task, call, args) {
            Ok(next) => next,
            Err(error) => {
                unreadable(self, task, &format!("what `{}` is about", call.name), &error);
                Next::Go
            }
        }
    }

    fn returned(&mut self, task: pid_t, value: i64) {
        for lost in self.going.remove(&task).filter(|_| value >= 0).into_iter().flatten() {
            self.files.lost(lost);
        }
        match self.pending.remove(&task) {
            // Other errors are of the caller's doing: that it may not, or must not be there, or that a signal came.
            Some(Pending::Open { path, flags, .. }) if value < 0 => {
                if matches!(-value, NO_ENTRY | NO_DIRECTORY) {
                    self.tell(task, Deed::Missing, &path);
                    // With O_CREAT it is the directory that is missing: outside, perhaps one that is hidden from it.
                    if flags & libc::O_CREAT != 0 && !self.files.is_own(&path) {
                        self.tell(task, Deed::Refused, &path);
                    }
                } else if is_refused(value) && flags & (libc::O_ACCMODE | libc::O_CREAT) != libc::O_RDONLY {
                    self.tell(task, Deed::Refused, &path);
                }
            }
            Some(Pending::Change(change))
                if is_refused(value)
                    || -value == NO_ENTRY && !self.files.is_own(change.path()) && change.lacks_its_place() =>
            {
                self.tell(task, Deed::Refused, change.path());
            }
            Some(Pending::Open { path, flags, existed }) => self.opened(task, value, &path, flags, existed),
            Some(Pending::Change(change)) if value >= 0 => self.changed(task, change),
            Some(Pending::List(address)) if value > 0 => self.reverse(task, address, value),
            _ => {}
        }
    }

    fn born(&mut self, task: pid_t, by: Option<Birth>) {
        // It can have ended, and was looked at before.
        if self.listener.is_some() && mounts(&task.to_string()).is_some_and(|own| Some(own) != self.mounts) {
            self.miss(Gap::Unfollowed { program: program(task), call: "clone".to_owned() });
        }
        let parent = by.and_then(|birth| self.tasks.get(&birth.parent).copied());
        if let Some(process) = by.and_then(|_| self.early.remove(&task)) {
            if let Some(known) = self.trace.processes.get_mut(process).filter(|known| known.pid == task) {
                known.parent = parent.and_then(|parent| u32::try_from(parent).ok()).filter(|p| (*p as usize) < process);
            }
            return;
        }
        let (mut leader, mut parent) = (task, parent);
        if by.is_none_or(|birth| birth.thread) {
            let status = proc_file(task, "status");
            let status = String::from_utf8_lossy(&status);
            let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
            leader = field("Tgid:").unwrap_or(task);
            parent = parent.or_else(|| self.tasks.get(&field("PPid:")?).copied());
        }
        let thread_of = self.tasks.get(&leader).copied().filter(|_| leader != task);
        let process = thread_of.unwrap_or_else(|| self.add(task, parent));
        self.tasks.insert(task, process);
        if by.is_none() {
            self.early.insert(task, process);
        }
    }

    fn exec(&mut self, task: pid_t, former: Option<pid_t>) {
        let started = self.running.remove(&former.unwrap_or(task)).unwrap_or_default();
        if let Some(former) = former
            && let Some(process) = self.tasks.remove(&former)
        {
            self.tasks.insert(task, process);
        }
        self.pending.remove(&task);
        let Some(&process) = self.tasks.get(&task) else { return };
        let argv = proc_file(task, "cmdline");
        let argv = argv.strip_suffix(b"\0").unwrap_or(&argv);
        let argv = argv.split(|byte| *byte == 0).map(|word| OsStr::from_bytes(word).to_owned()).collect();
        let environ = proc_file(task, "environ");
        let environ = environ.split(|byte| *byte == 0).filter(|variable| !variable.is_empty());
        let mut environ: Vec<OsString> = environ.map(|variable| OsStr::from_bytes(variable).to_owned()).collect();
        environ.sort_unstable();
        let count = self.environments.len();
        let env = *self.environments.entry(Environment(environ)).or_insert(u32::try_from(count).unwrap_or(u32::MAX));
        let cwd = directory(&format!("/proc/{task}/cwd")).ok().flatten().unwrap_or_default();
        let exe = running(task).or_else(|| started.first().cloned()).unwrap_or_default();
        let run = Program {
            at: self.number(),
            file: self.files.name(&exe),
            argv,
            cwd: self.files.name(&cwd),
            env,
            captured: self.captured(task, process),
        };
        self.trace.processes[process].programs.push(run);
        self.began(process);
        let files = if self.listener.is_some() {
            started
        } else {
            let program = started.into_iter().next().unwrap_or_else(|| exe.clone());
            let (files, _) = needed(task, program, &mut |base, name| place(base, name, &mut real).path);
            files.into_iter().map(|file| fs::canonicalize(&file).unwrap_or(file)).collect()
        };
        for file in files.into_iter().chain([exe]) {
            self.read(task, &file);
        }
    }

    fn wants_exits(&self) -> bool {
        self.is_due_at_an_end()
    }

    fn ending(&mut self, task: pid_t) {
        self.ends(task);
    }

    fn ended(&mut self, task: pid_t, status: c_int, usage: &libc::rusage) {
        self.pending.remove(&task);
        self.did_not_run(task);
        let Some(process) = self.tasks.remove(&task) else { return };
        let ended = self.now();
        let known = &mut self.trace.processes[process];
        if known.pid != task {
            return;
        }
        known.ended = ended;
        known.end = Some(if libc::WIFSIGNALED(status) {
            End::Signal(libc::WTERMSIG(status))
        } else {
            End::Exit(libc::WEXITSTATUS(status))
        });
        let micros = |time: libc::timeval| {
            u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000 + u64::try_from(time.tv_usec).unwrap_or(0)
        };
        self.usage[process] = micros(usage.ru_utime) + micros(usage.ru_stime);
        self.done[process] = HashMap::new();
        if libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == libc::SIGKILL {
            self.was_killed(process);
        }
    }

    fn strike(&mut self) -> Vec<(pid_t, c_int)> {
        self.due()
    }

    fn late(&mut self) -> Option<Duration> {
        self.late.take()
    }

    fn miss(&mut self, gap: Gap) {
        self.trace.gaps.insert(gap);
    }
}

impl Recorder {
    /// Of the process that will become the command; contents are told of files below `own`.
    pub(super) fn new(command: pid_t, own: Vec<PathBuf>, looks: bool, listener: Option<Listener>) -> Self {
        let mut recorder = Self {
            began: Instant::now(),
            trace: Trace { dirs: own.clone(), ..Trace::default() },
            files: Files::new(own),
            tasks: HashMap::new(),
            early: HashMap::new(),
            pending: HashMap::new(),
            going: HashMap::new(),
            running: HashMap::new(),
            done: Vec::new(),
            usage: Vec::new(),
            environments: HashMap::new(),
            readable: HashMap::new(),
            names: HashMap::new(),
            next: 0,
            mounts: listener.as_ref().and_then(|_| mounts("self")),
            listener,
            interrupter: None,
            delays: None,
            late: None,
            reversed: false,
            counts: None,
        };
        recorder.trace.looks_left_out = !looks;
        recorder.trace.heard = recorder.listener.is_some();
        let process = recorder.add(command, None);
        recorder.tasks.insert(command, process);
        recorder
    }

    /// Everything, once the command has ended.
    pub(super) fn finish(mut self) -> Trace {
        self.before();
        // What is hashed from here on is opened by this process only.
        if self.listener.take().is_some_and(|listener| listener.outgrown()) {
            self.miss(Gap::Moved { program: "?".to_owned(), call: "mount".to_owned() });
        }
        // What is left was killed with the command.
        let now = self.now();
        for process in self.trace.processes.iter_mut().filter(|process| process.end.is_none()) {
            process.ended = now;
        }
        let mut children = vec![0; self.usage.len()];
        for (process, usage) in self.trace.processes.iter().zip(&self.usage) {
            if let Some(of) = process.parent.and_then(|parent| children.get_mut(parent as usize)) {
                *of += usage;
            }
        }
        for ((process, usage), children) in self.trace.processes.iter_mut().zip(self.usage).zip(children) {
            process.cpu = usage.saturating_sub(children);
        }
        let (paths, contents) = self.files.finish();
        let mut environments = vec![Environment::default(); self.environments.len()];
        for (environment, number) in self.environments {
            environments[number as usize] = environment;
        }
        Trace { paths, contents, environments, ..self.trace }
    }

    fn add(&mut self, pid: pid_t, parent: Option<usize>) -> usize {
        let parent = parent.and_then(|parent| u32::try_from(parent).ok());
        let born = self.next;
        self.trace.processes.push(Process { parent, pid, born, began: self.now(), ..Process::default() });
        self.done.push(HashMap::new());
        self.usage.push(0);
        self.trace.processes.len() - 1
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    fn number(&mut self) -> u32 {
        let number = self.next;
        self.next = self.next.saturating_add(1);
        number
    }

    /// Whether a program's standard output is a pipe of its own: not its parent's.
    fn captured(&self, task: pid_t, process: usize) -> bool {
        let output = |task: pid_t| fs::read_link(format!("/proc/{task}/fd/1")).ok();
        let parent = self.trace.processes[process].parent.map(|parent| self.trace.processes[parent as usize].pid);
        let own = output(task).filter(|output| output.as_os_str().as_bytes().starts_with(b"pipe:"));
        own.is_some() && parent.is_some_and(|parent| output(parent) != own)
    }

    /// A call is entered.
    fn entered(&mut self, task: pid_t, call: &Call, args: &[u64; 6]) -> io::Result<Next> {
        if let Some(does) = call.does {
            return self.changing(task, does, args);
        }
        if let Tells::Writes(fd) = call.tells {
            return Ok(self.writes(task, call, args[fd] as c_int));
        }
        let Tells::Path { dir, path, how } = call.tells else {
            self.miss(Gap::Unfollowed { program: program(task), call: call.name.to_owned() });
            return Ok(Next::Go);
        };
        let (dir, address) = (dir.map(|argument| args[argument] as c_int), args[path]);
        let flags = match how {
            How::As(_) | How::Exec => None,
            How::Open(flags) => Some(args[flags]),
            How::OpenAs(how) => Some(open_how(self, task, call, args[how])?),
        };
        let named = match self.named(task, dir, address)? {
            Some(path) => path,
            // The descriptor itself is run (fexecve(3)).
            None if matches!(how, How::Exec) => match directory(&base(task, dir))? {
                Some(path) => path,
                None => return Ok(Next::Go),
            },
            None => return Ok(Next::Go),
        };
        if let Some(flags) = flags {
            return Ok(self.opening(task, named, flags as c_int));
        }
        let link = call.looks_at_link(args);
        let there = if link { fs::symlink_metadata(&named).is_ok() } else { fs::metadata(&named).is_ok() };
        match how {
            How::Exec if there => drop(self.running.insert(task, vec![named])),
            _ => self.tell(task, if there { Deed::Found } else { Deed::Missing }, &named),
        }
        Ok(Next::Go)
    }

    fn opening(&mut self, task: pid_t, path: PathBuf, flags: c_int) -> Next {
        let has = |flag: c_int| flags & flag == flag;
        let reads = flags & libc::O_ACCMODE == libc::O_RDONLY && !has(libc::O_TRUNC) && !has(libc::O_CREAT);
        if reads && self.listener.is_some() {
            return Next::Go;
        }
        // What asks for a directory, or for no link, or not to be opened at all, can meet something else by the same name.
        let plain = flags & (libc::O_PATH | libc::O_DIRECTORY | libc::O_NOFOLLOW) == 0;
        if reads
            && plain
            && let Some(file) = self.readable.get(path.as_os_str())
        {
            let file = file.clone();
            self.read(task, &file);
            return Next::Go;
        }
        let data = fs::metadata(&path);
        let existed = data.is_ok();
        if !existed && !has(libc::O_CREAT) {
            self.tell(task, Deed::Missing, &path);
            return Next::Go;
        }
        // O_DIRECTORY is a part of O_TMPFILE, which makes a file in the directory.
        let unnamed = has(libc::O_TMPFILE);
        if has(libc::O_PATH) || !unnamed && data.is_ok_and(|data| data.is_dir()) {
            self.tell(task, Deed::Found, &path);
            return Next::Go;
        }
        if !reads && existed && !unnamed {
            self.preserve(task, &fs::canonicalize(&path).unwrap_or_else(|_| path.clone()));
        }
        self.pending.insert(task, Pending::Open { path, flags, existed: existed && !unnamed });
        Next::Return
    }

    fn opened(&mut self, task: pid_t, fd: i64, named: &Path, flags: c_int, existed: bool) {
        let Ok(Some(path)) = directory(&format!("/proc/{task}/fd/{fd}")) else { return };
        // Of what proc(5) shows nothing is an output of a build, and its names hold the ids of processes.
        if path.starts_with("/proc") {
            return;
        }
        let mode = flags & libc::O_ACCMODE;
        if existed && mode != libc::O_RDONLY && fs::metadata(named).is_ok_and(|data| !data.is_file()) {
            // A device or a pipe keeps nothing.
            return self.tell(task, Deed::Update, &path);
        }
        if mode == libc::O_RDONLY && flags & libc::O_TRUNC == 0 && existed {
            self.read(task, &path);
            // By a descriptor of the task's own another task would not find it.
            if flags & libc::O_NOFOLLOW == 0 && !named.starts_with("/dev") {
                self.can_be_read(named.to_owned(), path);
            }
            return;
        }
        if flags & libc::O_TRUNC != 0 || !existed {
            return self.write(task, Deed::Create, &path);
        }
        if mode == libc::O_RDWR {
            self.read(task, &path);
        }
        self.write(task, Deed::Update, &path);
    }

    /// A call that changes something is entered.
    fn changing(&mut self, task: pid_t, does: Does, args: &[u64; 6]) -> io::Result<Next> {
        let change = match does {
            Does::Create(name) => {
                let Some(path) = self.at(task, name, args)? else { return Ok(Next::Go) };
                return Ok(self.opening(task, path, libc::O_CREAT | libc::O_WRONLY | libc::O_TRUNC));
            }
            Does::Remove(name, flags) => {
                let removes_dir = flags.is_some_and(|flags| args[flags] & libc::AT_REMOVEDIR as u64 != 0);
                let Some(path) = self.entry(task, name, args)? else { return Ok(Next::Go) };
                if removes_dir {
                    Change::Other(Deed::RemoveDir, path)
                } else {
                    self.preserve(task, &path);
                    self.forget(&path);
                    Change::Remove(path)
                }
            }
            Does::Rename(from, to, flags) => {
                let flags = flags.map_or(0, |flags| args[flags] as u32);
                let (Some(from), Some(to)) = (self.entry(task, from, args)?, self.entry(task, to, args)?) else {
                    return Ok(Next::Go);
                };
                self.preserve(task, &to);
                self.forget(&from);
                self.forget(&to);
                let inode = self.listener.as_ref().and_then(|_| inode(fs::symlink_metadata(&from)));
                Change::Rename { from, to, exchange: flags & libc::RENAME_EXCHANGE != 0, inode }
            }
            Does::Link(from, to, flags) => {
                let flags = flags.map_or(0, |flags| args[flags] as c_int);
                let from = match self.entry(task, from, args)? {
                    Some(path) => Some(path),
                    // The descriptor itself, e.g. of a file without a name.
                    None if flags & libc::AT_EMPTY_PATH != 0 => {
                        directory(&base(task, from.dir.map(|argument| args[argument] as c_int)))?
                    }
                    None => None,
                };
                let (Some(from), Some(to)) = (from, self.entry(task, to, args)?) else { return Ok(Next::Go) };
                Change::Link { from, to }
            }
            Does::Symlink(text, name) => {
                let Some(at) = self.entry(task, name, args)? else { return Ok(Next::Go) };
                let text = memory::path(task, args[text])?.unwrap_or_default();
                Change::Symlink { text: OsStr::from_bytes(&text).into(), at }
            }
            Does::Truncate(name) => {
                let Some(path) = self.at(task, name, args)? else { return Ok(Next::Go) };
                let path = fs::canonicalize(&path).unwrap_or(path);
                self.preserve(task, &path);
                Change::Cut { path, length: args[1] }
            }
            Does::MakeDir(name) => return self.other(task, Deed::MakeDir, name, args),
            Does::RemoveDir(name) => return self.other(task, Deed::RemoveDir, name, args),
            Does::MakeNode(name) => return self.other(task, Deed::MakeNode, name, args),
            Does::Mode(name) => return self.other(task, Deed::Mode, name, args),
            Does::Touch(name) => match name.dir.map(|argument| args[argument] as c_int) {
                Some(fd) if args[name.path] == 0 => return self.of_descriptor(task, Deed::Touch, fd),
                _ => return self.other(task, Deed::Touch, name, args),
            },
            Does::ModeOf => return self.of_descriptor(task, Deed::Mode, args[0] as c_int),
            Does::EnterOf => return self.of_descriptor(task, Deed::Enter, args[0] as c_int),
            Does::Connect(address, length) => {
                let length = usize::try_from(args[length]).unwrap_or(0).min(sockets::LENGTH);
                // sendto(2) on a socket that is connected names none.
                if args[address] != 0 && length > 0 {
                    let bytes = memory::bytes(task, args[address], length).unwrap_or_default();
                    if let Some(address) = sockets::address(&bytes) {
                        self.tell(task, Deed::Connect, Path::new(&address.to_string()));
                    }
                }
                return Ok(Next::Go);
            }
            Does::List => {
                let next = self.of_descriptor(task, Deed::List, args[0] as c_int)?;
                return Ok(self.listing(task, args).unwrap_or(next));
            }
            Does::Enter(name) => {
                let Some(path) = self.at(task, name, args)? else { return Ok(Next::Go) };
                if fs::metadata(&path).is_ok() {
                    Change::Other(Deed::Enter, path)
                } else {
                    self.tell(task, Deed::Missing, &path);
                    return Ok(Next::Go);
                }
            }
        };
        self.pending.insert(task, Pending::Change(change));
        Ok(Next::Return)
    }

    fn other(&mut self, task: pid_t, deed: Deed, name: Name, args: &[u64; 6]) -> io::Result<Next> {
        let Some(path) = self.entry(task, name, args)? else { return Ok(Next::Go) };
        if deed == Deed::Mode {
            self.forget(&path);
        }
        self.pending.insert(task, Pending::Change(Change::Other(deed, path)));
        Ok(Next::Return)
    }

    /// Something is done to an open file, which can hardly fail.
    fn of_descriptor(&mut self, task: pid_t, deed: Deed, fd: c_int) -> io::Result<Next> {
        if let Some(path) = directory(&format!("/proc/{task}/fd/{fd}"))? {
            self.tell(task, deed, &path);
        }
        Ok(Next::Go)
    }

    fn changed(&mut self, task: pid_t, change: Change) {
        match change {
            Change::Remove(path) => {
                // Another task may have opened it since the call was entered.
                self.forget_file(&path);
                let content = self.files.take(&path);
                self.act(task, Deed::Remove, &path, None, content);
            }
            Change::Rename { from, to, exchange, .. } => {
                self.forget_file(&from);
                let content = self.files.rename(&from, &to, exchange);
                self.act(task, Deed::Rename, &from, Some(&to), content);
            }
            Change::Link { from, to } => {
                let content = self.files.link(&from, &to);
                self.act(task, Deed::Link, &from, Some(&to), content);
            }
            Change::Symlink { text, at } => self.act(task, Deed::Symlink, &at, Some(&text), None),
            Change::Cut { path, length } => {
                self.write(task, if length == 0 { Deed::Create } else { Deed::Update }, &path);
            }
            Change::Other(deed, path) => {
                if let (Deed::MakeNode, Some(listener)) = (deed, &self.listener) {
                    listener.ignore(&path);
                }
                self.tell(task, deed, &path);
            }
        }
    }

    /// A task goes on with the program that it had: what it wanted to run was looked into, and is perhaps read by it then, as
    /// shells read what is no program.
    fn did_not_run(&mut self, task: pid_t) {
        for file in self.running.remove(&task).unwrap_or_default() {
            if self.listener.is_some() {
                self.read(task, &file);
            } else if fs::metadata(&file).is_ok_and(|data| data.is_file() && data.mode() & 0o111 != 0) {
                let file = fs::canonicalize(&file).unwrap_or(file);
                self.read(task, &file);
            }
        }
    }

    fn read(&mut self, task: pid_t, path: &Path) {
        let content = self.files.current(path);
        self.act(task, Deed::Read, path, None, Some(content));
    }

    fn write(&mut self, task: pid_t, deed: Deed, path: &Path) {
        let content = self.files.written(path);
        self.act(task, deed, path, None, Some(content));
    }

    fn tell(&mut self, task: pid_t, deed: Deed, path: &Path) {
        let left_out = self.trace.looks_left_out && matches!(deed, Deed::Found | Deed::Missing);
        if !left_out && !path.starts_with("/proc") {
            self.act(task, deed, path, None, None);
        }
    }

    fn act(&mut self, task: pid_t, deed: Deed, path: &Path, other: Option<&Path>, content: Option<u32>) {
        let Some(&process) = self.tasks.get(&task) else { return };
        if deed.changes() {
            self.changed_by(process, path);
        }
        let number = self.files.name(path);
        let other = other.map(|other| self.files.name(other));
        // A change is always new; a look or a read that found what it had found before is not.
        if !deed.changes() {
            let known = self.done[process].insert((deed, number), content);
            if known == Some(content) {
                return;
            }
        }
        let at = self.number();
        self.trace.processes[process].actions.push(Action { at, deed, path: number, other, content });
    }

    /// What a file holds may be lost with the call that is entered.
    fn preserve(&mut self, task: pid_t, path: &Path) {
        let going = self.files.preserve(path);
        self.going.entry(task).or_default().extend(going);
    }

    fn can_be_read(&mut self, name: PathBuf, file: PathBuf) {
        self.names.entry(file.clone()).or_default().push(name.clone().into_os_string());
        self.readable.insert(name.into_os_string(), file);
    }

    /// Before a name goes away or gets to lead elsewhere: a link or a directory can be part of any name, a file has few.
    fn forget(&mut self, path: &Path) {
        match fs::symlink_metadata(path) {
            Ok(data) if data.is_file() => self.forget_file(path),
            Ok(_) => {
                self.readable.clear();
                self.names.clear();
            }
            Err(_) => {}
        }
    }

    fn forget_file(&mut self, path: &Path) {
        for name in self.names.remove(path).unwrap_or_default() {
            self.readable.remove(&name);
        }
    }

    /// The path that a call names; none for one that the kernel refuses, or takes for the descriptor alone.
    fn named(&mut self, task: pid_t, dir: Option<c_int>, address: u64) -> io::Result<Option<PathBuf>> {
        if address == 0 {
            return Ok(None);
        }
        let Some(name) = memory::path(task, address)? else { return Ok(None) };
        Ok(start(task, dir, name)?.map(|(base, name)| place(&base, &name, &mut real).path))
    }

    fn at(&mut self, task: pid_t, name: Name, args: &[u64; 6]) -> io::Result<Option<PathBuf>> {
        self.named(task, name.dir.map(|argument| args[argument] as c_int), args[name.path])
    }

    /// The path of a directory's entry: its directory without symbolic links, and its own name.
    fn entry(&mut self, task: pid_t, name: Name, args: &[u64; 6]) -> io::Result<Option<PathBuf>> {
        let Some(path) = self.at(task, name, args)? else { return Ok(None) };
        let entry = path.parent().and_then(|dir| fs::canonicalize(dir).ok()).zip(path.file_name());
        Ok(Some(entry.map_or_else(|| path.clone(), |(dir, name)| dir.join(name))))
    }
}

/// The mount namespace of a process (namespaces(7)).
fn mounts(process: &str) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{process}/ns/mnt")).ok()
}

fn inode(data: io::Result<Metadata>) -> Option<Inode> {
    data.ok().map(|data| (data.dev(), data.ino()))
}
