//! Job slots shared by every harness of a user on this machine, and a GNU make job server that lends them.
//!
//! A slot is a file that is locked with flock(2). The kernel drops the lock when a process dies, however it dies,
//! so the slots of a killed harness come back by themselves.
//!
//! A build starts with one slot: make's own job needs no token. A [`JobServer`] lends further slots as tokens while
//! the build takes them and others can do without, so that several builds at once, in one harness or in several,
//! never run more jobs than there are slots ("POSIX Jobserver Interaction" in the GNU make manual).
//!
//! The `jobserver` crate is no help here: its `try_acquire` makes the pipe non-blocking for the builds too
//! (`O_NONBLOCK` belongs to the open file, not the descriptor), and `acquire_raw` would block for good
//! when a make takes the token first.

use std::fs::{File, OpenOptions};
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::{Errno, ioctl_fionread};

use crate::sandbox::scratch::{ScratchError, private_directory};

/// How long a waiter sleeps between two looks.
const POLL: Duration = Duration::from_millis(10);
/// How long the broker sleeps when something just happened, and when nothing does.
const BUSY_TICK: Duration = Duration::from_millis(2);
const QUIET_TICK: Duration = Duration::from_millis(20);
/// After which an unread token goes back.
const IDLE: Duration = Duration::from_millis(100);
/// The longest pause before a build that left its last token unread is offered another.
const LONGEST_PAUSE: Duration = Duration::from_millis(800);
/// A pipe holds 64 KiB (pipe(7)); no build has more jobs than this.
const MOST_JOBS: usize = 4096;

/// What can go wrong with slots.
#[derive(Debug, thiserror::Error)]
pub enum SlotError {
    /// The directory of the slots is not ours or cannot be used.
    #[error(transparent)]
    Directory(#[from] ScratchError),
    /// A slot file cannot be opened or locked.
    #[error("cannot lock `{}`", path.display())]
    Lock {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The pipe or thread of a job server cannot be made.
    #[error("cannot start a job server")]
    Server(#[source] io::Error),
}

impl SlotError {
    /// What would help.
    pub fn hint(&self) -> &'static str {
        match self {
            SlotError::Directory(e) => e.hint(),
            SlotError::Lock { .. } => "the directory of the job slots has to be on a local file system (flock)",
            SlotError::Server(_) => "look at `ulimit -n` and `ulimit -u`",
        }
    }
}

/// A number of slots, shared by all processes that open the same directory with the same number.
#[derive(Clone, Debug)]
pub struct Pool {
    dir: Arc<Path>,
    slots: usize,
    /// How many of them this pool and its clones hold.
    held: Arc<AtomicUsize>,
}

/// One slot; free again when dropped or when this process dies.
#[derive(Debug)]
pub struct Slot {
    _lock: File,
    held: Arc<AtomicUsize>,
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.held.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Pool {
    /// Opens the pool of `slots` (at least 1) in `dir`, which is made if only its last component is missing.
    ///
    /// # Errors
    /// [`SlotError::Directory`] if `dir` is not a directory of this user's own.
    pub fn open(dir: &Path, slots: usize) -> Result<Self, SlotError> {
        private_directory(dir)?;
        Ok(Self { dir: dir.into(), slots: slots.max(1), held: Arc::default() })
    }

    /// How many slots there are.
    pub fn slots(&self) -> usize {
        self.slots
    }

    /// Whether this process holds none of them: then nothing of its own goes on.
    pub fn is_idle(&self) -> bool {
        self.held.load(Ordering::Relaxed) == 0
    }

    /// Takes a free slot, if there is one.
    ///
    /// # Errors
    /// [`SlotError::Lock`].
    pub fn try_acquire(&self) -> Result<Option<Slot>, SlotError> {
        for i in 0..self.slots {
            if let Some(lock) = self.lock(&format!("slot-{i}"), FlockOperation::NonBlockingLockExclusive)? {
                self.held.fetch_add(1, Ordering::Relaxed);
                return Ok(Some(Slot { _lock: lock, held: Arc::clone(&self.held) }));
            }
        }
        Ok(None)
    }

    /// Waits for a slot; `None` if `cancelled` said so first.
    ///
    /// Who waits here goes before every job server that only wants more, in all processes. Those who wait take
    /// turns: one looks for a slot, the others for the turn.
    ///
    /// # Errors
    /// [`SlotError::Lock`].
    pub fn acquire(&self, cancelled: &dyn Fn() -> bool) -> Result<Option<Slot>, SlotError> {
        let mut waiting = None;
        let mut turn = None;
        while !cancelled() {
            if waiting.is_none() {
                // refused only while a job server looks whether anybody waits
                waiting = self.lock("waiting", FlockOperation::NonBlockingLockShared)?;
            }
            if turn.is_none() {
                turn = self.lock("turn", FlockOperation::NonBlockingLockExclusive)?;
            }
            if turn.is_some()
                && let Some(slot) = self.try_acquire()?
            {
                return Ok(Some(slot));
            }
            std::thread::sleep(POLL);
        }
        Ok(None)
    }

    /// Whether anybody is waiting in [`Pool::acquire`].
    fn wanted(&self) -> bool {
        // another job server may be looking at the same moment, which a second and third look tells from a waiter;
        // if it cannot be told, better give way
        (0..3).all(|_| !matches!(self.lock("waiting", FlockOperation::NonBlockingLockExclusive), Ok(Some(_))))
    }

    fn lock(&self, name: &str, how: FlockOperation) -> Result<Option<File>, SlotError> {
        let path = self.dir.join(name);
        let fail = |source| SlotError::Lock { path: path.clone(), source };
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).write(true).mode(0o600).custom_flags(libc::O_NOFOLLOW);
        // each attempt is a new open file: the locks of one process exclude each other as well
        let file = options.open(&path).map_err(fail)?;
        match flock(&file, how) {
            Ok(()) => Ok(Some(file)),
            Err(Errno::WOULDBLOCK | Errno::INTR) => Ok(None),
            Err(e) => Err(fail(e.into())),
        }
    }
}

/// A job server for one build. Drop it when the build's processes are gone: then all it lent is free again,
/// also what a killed make took and never gave back.
#[derive(Debug)]
pub struct JobServer {
    read: PipeReader,
    write: PipeWriter,
    broker: Option<(JoinHandle<()>, Arc<Stop>)>,
    _first: Option<Slot>,
}

#[derive(Debug, Default)]
struct Stop {
    now: Mutex<bool>,
    told: Condvar,
}

impl Stop {
    /// Waits for a tick; whether it is time to stop.
    fn tick(&self, tick: Duration) -> bool {
        let guard = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        let (guard, _) = self.told.wait_timeout_while(guard, tick, |now| !*now).unwrap_or_else(PoisonError::into_inner);
        *guard
    }
}

impl JobServer {
    /// Lends slots of `pool` as the build takes them, never more than `max_jobs` with `first`, which is kept for the
    /// job that needs no token.
    ///
    /// # Errors
    /// [`SlotError::Server`].
    pub fn start(pool: Pool, first: Slot, max_jobs: usize) -> Result<Self, SlotError> {
        let (read, write) = io::pipe().map_err(SlotError::Server)?;
        let stop = Arc::new(Stop::default());
        let broker = Broker {
            pool,
            lent: Vec::new(),
            most: max_jobs.clamp(1, MOST_JOBS) - 1,
            // an open file of our own: non-blocking for us alone
            pull: OpenOptions::new()
                .read(true)
                .custom_flags(OFlags::NONBLOCK.bits() as i32)
                .open(format!("/proc/self/fd/{}", read.as_raw_fd()))
                .map_err(SlotError::Server)?,
            push: write.try_clone().map_err(SlotError::Server)?,
            unread_since: None,
            seen: 0,
            burst: 1,
            pause: Duration::ZERO,
            not_before: None,
        };
        let told = Arc::clone(&stop);
        let thread = std::thread::Builder::new()
            .name("job slots".to_owned())
            .spawn(move || broker.run(&told))
            .map_err(SlotError::Server)?;
        Ok(Self { read, write, broker: Some((thread, stop)), _first: Some(first) })
    }

    /// Exactly `jobs` jobs, whatever else runs on this machine: for a scenario that states `-jN`.
    ///
    /// # Errors
    /// [`SlotError::Server`].
    pub fn exact(jobs: usize) -> Result<Self, SlotError> {
        let (read, mut write) = io::pipe().map_err(SlotError::Server)?;
        write.write_all(&vec![b'+'; jobs.clamp(1, MOST_JOBS) - 1]).map_err(SlotError::Server)?;
        Ok(Self { read, write, broker: None, _first: None })
    }

    /// The read and write end, to be inherited by the build under the same numbers. They are close-on-exec here.
    pub fn fds(&self) -> [i32; 2] {
        [self.read.as_raw_fd(), self.write.as_raw_fd()]
    }

    /// The value of `MAKEFLAGS` for a make that is to use this server, as make 4.2 and later write it themselves.
    /// `MAKELEVEL` has to be unset and no `-j` on the command line, or make says that it resets the job server.
    pub fn makeflags(&self) -> String {
        let [read, write] = self.fds();
        format!("-j --jobserver-auth={read},{write}")
    }
}

impl Drop for JobServer {
    fn drop(&mut self) {
        if let Some((thread, stop)) = self.broker.take() {
            *stop.now.lock().unwrap_or_else(PoisonError::into_inner) = true;
            stop.told.notify_all();
            // a panic there was reported by the panic hook already, and its slots are free
            let _ = thread.join();
        }
    }
}

struct Broker {
    pool: Pool,
    /// One slot for each token that is in the pipe or with a make.
    lent: Vec<Slot>,
    most: usize,
    pull: File,
    push: PipeWriter,
    unread_since: Option<Instant>,
    /// Tokens in the pipe at the last look.
    seen: usize,
    /// How many tokens to offer at once: doubles while the build takes all it gets.
    burst: usize,
    pause: Duration,
    not_before: Option<Instant>,
}

impl Broker {
    fn run(mut self, stop: &Stop) {
        let mut tick = BUSY_TICK;
        while !stop.tick(tick) {
            tick = if self.step(Instant::now()) { BUSY_TICK } else { (tick * 2).min(QUIET_TICK) };
        }
    }

    /// One look at the pipe; whether anything moved.
    fn step(&mut self, now: Instant) -> bool {
        let unread = ioctl_fionread(&self.pull).map_or(0, |n| usize::try_from(n).unwrap_or(usize::MAX));
        let mut moved = unread != self.seen;
        if unread > self.lent.len() {
            // somebody wrote a token it never read: taking it out keeps the number of jobs right
            self.take_back(unread - self.lent.len(), false);
        }
        if unread == 0 {
            if self.seen > 0 {
                // all was taken: there is demand
                self.burst = (self.burst * 2).min(self.most.max(1));
                self.pause = Duration::ZERO;
                self.not_before = None;
            }
            self.unread_since = None;
            moved |= self.offer(now);
        } else {
            let since = *self.unread_since.get_or_insert(now);
            let idle = now.duration_since(since) >= IDLE;
            if idle || self.pool.wanted() {
                self.take_back(unread.min(self.lent.len()), true);
                self.burst = 1;
                self.unread_since = None;
                self.pause = (self.pause * 2).clamp(IDLE, LONGEST_PAUSE);
                self.not_before = Some(now + self.pause);
                moved = true;
            }
        }
        self.seen = ioctl_fionread(&self.pull).map_or(0, |n| usize::try_from(n).unwrap_or(usize::MAX));
        moved
    }

    fn offer(&mut self, now: Instant) -> bool {
        if self.lent.len() >= self.most || self.not_before.is_some_and(|t| now < t) || self.pool.wanted() {
            return false;
        }
        let mut given = false;
        for _ in 0..self.burst.min(self.most - self.lent.len()) {
            // an error here is one of the pool's directory; the build goes on with what it has
            let Ok(Some(slot)) = self.pool.try_acquire() else { break };
            if self.push.write_all(b"+").is_err() {
                break;
            }
            self.lent.push(slot);
            given = true;
        }
        given
    }

    fn take_back(&mut self, most: usize, count: bool) {
        for _ in 0..most {
            let mut token = [0];
            // a make may have been faster
            if !matches!(self.pull.read(&mut token), Ok(1)) {
                break;
            }
            if count {
                self.lent.pop();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use std::fs;
    use std::os::unix::process::CommandExt;
    use std::process::{Child, Command, Stdio};

    fn never() -> AtomicBool {
        AtomicBool::new(false)
    }

    fn take_all(pool: &Pool) -> Vec<Slot> {
        std::iter::from_fn(|| pool.try_acquire().unwrap()).collect()
    }

    /// Waits until so many slots are free. A child that another test starts at this moment has our locks until it
    /// becomes its program, so one look is not enough.
    fn all_back(pool: &Pool, slots: usize) {
        until("slots to come back", || take_all(pool).len() == slots);
    }

    fn until(what: &str, done: impl Fn() -> bool) {
        let begin = Instant::now();
        while !done() {
            assert!(begin.elapsed() < Duration::from_secs(60), "waited too long for {what}");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// make as the sandbox starts it: descriptors under their own numbers, no other environment.
    fn make(server: &JobServer, dir: &Path, more: &[&str]) -> Command {
        let [read, write] = server.fds();
        let mut command = Command::new("sh");
        // the shell is between, because without unsafe code only a shell can pass descriptors on
        let (r, w) =
            (format!("/proc/{}/fd/{read}", std::process::id()), format!("/proc/{}/fd/{write}", std::process::id()));
        command
            .arg("-c")
            .arg("exec 8<\"$1\" 9>\"$2\"; shift 2; exec make \"$@\"")
            .arg("sh")
            .args([r, w])
            .args(more)
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("MAKEFLAGS", "-j --jobserver-auth=8,9")
            .current_dir(dir)
            .process_group(0);
        command
    }

    #[test]
    fn slots_are_counted_and_come_back() {
        let dir = tempfile::tempdir().unwrap();
        let pool = Pool::open(&dir.path().join("p"), 3).unwrap();
        let mut all = take_all(&pool);
        assert_eq!(all.len(), 3);
        assert!(Pool::open(&dir.path().join("p"), 3).unwrap().try_acquire().unwrap().is_none());
        all.pop();
        assert!(pool.acquire(&|| false).unwrap().is_some());
        all.extend(pool.acquire(&|| false).unwrap());
        assert!(pool.acquire(&|| true).unwrap().is_none());
        let cancel = Arc::new(never());
        let waiter = {
            let (pool, cancel) = (pool.clone(), Arc::clone(&cancel));
            std::thread::spawn(move || pool.acquire(&|| cancel.load(Ordering::Relaxed)).unwrap().is_some())
        };
        until("a waiter", || pool.wanted());
        cancel.store(true, Ordering::Relaxed);
        assert!(!waiter.join().unwrap());
        assert!(!pool.wanted());
    }

    #[test]
    fn what_is_not_ours_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/tmp", dir.path().join("p")).unwrap();
        assert!(matches!(Pool::open(&dir.path().join("p"), 1), Err(SlotError::Directory(_))));
    }

    #[test]
    fn makeflags_name_the_descriptors() {
        let server = JobServer::exact(4).unwrap();
        let [r, w] = server.fds();
        assert_eq!(server.makeflags(), format!("-j --jobserver-auth={r},{w}"));
        assert_eq!(ioctl_fionread(&server.read).unwrap(), 3);
    }

    /// Two recipes that wait for each other: they end only if they run at once.
    const PARTNERS: &str = "all: a b\n\t@echo level $(MAKELEVEL)\na b:\n\t@touch $@.up; other=$$(echo $@ | tr ab ba); \
        i=0; while [ ! -e $$other.up ]; do sleep 0.01; i=$$((i+1)); [ $$i -lt 3000 ] || exit 1; done\n";

    #[test]
    fn make_takes_tokens_without_a_word() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("Makefile"), PARTNERS).unwrap();
        let pool = Pool::open(&dir.path().join("p"), 2).unwrap();
        for elastic in [true, false] {
            let server = match elastic {
                true => JobServer::start(pool.clone(), pool.acquire(&|| false).unwrap().unwrap(), 8).unwrap(),
                false => JobServer::exact(2).unwrap(),
            };
            let out = make(&server, dir.path(), &[]).output().unwrap();
            assert!(out.status.success(), "{out:?}");
            assert_eq!(String::from_utf8_lossy(&out.stdout), "level 0\n");
            assert_eq!(String::from_utf8_lossy(&out.stderr), "");
            drop(server);
            all_back(&pool, 2);
            for name in ["a.up", "b.up"] {
                fs::remove_file(dir.path().join(name)).unwrap();
            }
        }
    }

    #[test]
    fn a_waiter_gets_an_unread_token_and_a_killed_make_s_slot() {
        let dir = tempfile::tempdir().unwrap();
        let pool = Pool::open(&dir.path().join("p"), 2).unwrap();
        // nobody reads this one's tokens
        let server = JobServer::start(pool.clone(), pool.acquire(&|| false).unwrap().unwrap(), 8).unwrap();
        until("a token", || ioctl_fionread(&server.read).unwrap() == 1);
        assert!(pool.acquire(&|| false).unwrap().is_some());
        drop(server);
        all_back(&pool, 2);

        fs::write(dir.path().join("Makefile"), "all: a b\na b:\n\t@touch $@.up; sleep 1000\n").unwrap();
        let server = JobServer::start(pool.clone(), pool.acquire(&|| false).unwrap().unwrap(), 8).unwrap();
        let mut build = make(&server, dir.path(), &[]).spawn().unwrap();
        until("both recipes", || ["a.up", "b.up"].iter().all(|f| dir.path().join(f).exists()));
        kill_group(&mut build);
        assert_eq!(take_all(&pool).len(), 0, "the token is lost with its make");
        drop(server);
        // but not the slot
        all_back(&pool, 2);
    }

    #[test]
    fn tokens_nobody_lent_do_not_count() {
        let dir = tempfile::tempdir().unwrap();
        let pool = Pool::open(&dir.path().join("p"), 1).unwrap();
        let server = JobServer::start(pool.clone(), pool.acquire(&|| false).unwrap().unwrap(), 8).unwrap();
        (&server.write).write_all(b"+++").unwrap();
        until("their end", || ioctl_fionread(&server.read).unwrap() == 0);
    }

    fn kill_group(child: &mut Child) {
        let pid = rustix::process::Pid::from_raw(child.id() as i32).unwrap();
        rustix::process::kill_process_group(pid, rustix::process::Signal::KILL).unwrap();
        child.wait().unwrap();
    }

    /// Not a test: a harness with one build, for the test below.
    #[test]
    #[ignore = "started by builds_of_two_processes_share"]
    fn one_harness() {
        let Some(dir) = std::env::var_os("SLOTS_DIR").map(PathBuf::from) else { return };
        let pool = Pool::open(&dir.join("p"), 3).unwrap();
        let first = pool.acquire(&|| false).unwrap().unwrap();
        let server = JobServer::start(pool, first, 8).unwrap();
        let tag = std::env::var("SLOTS_TAG").unwrap();
        let status = make(&server, &dir, &[&format!("TAG={tag}")]).status().unwrap();
        assert!(status.success());
    }

    fn harness(dir: &Path, tag: &str) -> Child {
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "runner::slots::tests::one_harness", "--ignored", "--nocapture"])
            .env("SLOTS_DIR", dir)
            .env("SLOTS_TAG", tag)
            .stdout(Stdio::null())
            .spawn()
            .unwrap()
    }

    #[test]
    fn builds_of_two_processes_share() {
        let dir = tempfile::tempdir().unwrap();
        let jobs: Vec<String> = (0..30).map(|i| format!("j{i}")).collect();
        let jobs = jobs.join(" ");
        let makefile = format!(
            "all: {jobs}\n{jobs}:\n\t@echo + >> log; sleep 0.02; echo - >> log; echo $@ >> done.$(TAG)\n.PHONY: {jobs}\n"
        );
        fs::write(dir.path().join("Makefile"), makefile).unwrap();
        let (mut one, mut two) = (harness(dir.path(), "one"), harness(dir.path(), "two"));
        assert!(one.wait().unwrap().success());
        assert!(two.wait().unwrap().success());
        let log = fs::read_to_string(dir.path().join("log")).unwrap();
        let mut running = 0i32;
        let mut most = 0;
        for line in log.lines() {
            running += if line == "+" { 1 } else { -1 };
            most = most.max(running);
        }
        assert_eq!((running, log.lines().count()), (0, 120));
        assert!((2..=3).contains(&most), "{most} jobs at once");

        // a third is killed at work: its slots are free at once, though its builds still run
        let jobs = "all: x y z\nx y z:\n\t@touch $@.up; echo $$$$ >> pids; exec sleep 1000\n";
        fs::write(dir.path().join("Makefile"), jobs).unwrap();
        let pool = Pool::open(&dir.path().join("p"), 3).unwrap();
        let mut three = harness(dir.path(), "three");
        until("three recipes", || ["x.up", "y.up", "z.up"].iter().all(|f| dir.path().join(f).exists()));
        assert_eq!(take_all(&pool).len(), 0);
        three.kill().unwrap();
        three.wait().unwrap();
        all_back(&pool, 3);
        until("pids", || fs::read_to_string(dir.path().join("pids")).is_ok_and(|t| t.lines().count() == 3));
        for pid in fs::read_to_string(dir.path().join("pids")).unwrap().lines() {
            let pid = rustix::process::Pid::from_raw(pid.parse().unwrap()).unwrap();
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
        }
    }
}
