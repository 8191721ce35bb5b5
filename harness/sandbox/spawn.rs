//! The harness's side: starting the helper, waiting for it, ending it.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, memfd_create};

use super::{Capabilities, Outcome, SUBCOMMAND, SandboxError, Spec, supervise, sys};

/// What the helper gets to end everything by itself. Its own patience is shorter.
const GRACE: Duration = Duration::from_millis(2500);
/// How often a helper is looked at that is to end.
const TICK: Duration = Duration::from_millis(5);

/// Starts sandboxes through one helper executable.
#[derive(Clone, Debug)]
pub struct Sandbox {
    helper: PathBuf,
}

impl Sandbox {
    /// `helper` is an absolute path to an executable whose `main` calls [`super::helper::main`] when its first
    /// argument is [`SUBCOMMAND`]: the harness itself.
    pub fn new(helper: impl Into<PathBuf>) -> Self {
        Self { helper: helper.into() }
    }

    /// The program that is the helper.
    #[must_use]
    pub fn program(&self) -> &Path {
        &self.helper
    }

    /// Starts what `spec` says. Standard output and error of the commands are appended to `log`.
    /// The threads of the harness may come and go meanwhile; the sandbox lives until it is done, killed or
    /// dropped, or until the harness is gone.
    ///
    /// # Errors
    /// When the helper cannot be started; what goes wrong later is in the [`Outcome`].
    pub fn spawn(&self, spec: &Spec, log: &File) -> Result<Running, SandboxError> {
        let channel = |what| move |source| SandboxError::Channel { what, source };
        if let Some(&fd) = spec.inherit_fds.iter().find(|&&fd| fd <= 2 || !sys::is_open(fd)) {
            return Err(SandboxError::InheritFd(fd));
        }
        let request = memfd(&serde_json::to_vec(spec).map_err(SandboxError::Encode)?)
            .map_err(channel("write the sandbox request"))?;
        let (result, result_inside) = UnixStream::pair().map_err(channel("make the result socket"))?;
        let (lifeline, lifeline_inside) = UnixStream::pair().map_err(channel("make the lifeline"))?;
        result.set_nonblocking(true).map_err(channel("set up the result socket"))?;
        let mut keep = vec![request.as_raw_fd(), result_inside.as_raw_fd(), lifeline_inside.as_raw_fd()];
        let mut command = Command::new(&self.helper);
        command.arg(SUBCOMMAND).arg("run").args(keep.iter().map(ToString::to_string));
        if spec.interactive {
            command.arg("-1");
        } else {
            command.arg(log.as_raw_fd().to_string());
            keep.push(log.as_raw_fd());
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        }
        keep.extend(&spec.inherit_fds);
        command.env_clear().current_dir("/");
        sys::keep_open(&mut command, keep);
        let child = command.spawn().map_err(|source| SandboxError::Start { exe: self.helper.clone(), source })?;
        Ok(Running {
            child,
            lifeline: Some(lifeline),
            result: Some(result),
            said: Vec::new(),
            own_session: !spec.interactive,
            reaped: false,
            ending: None,
        })
    }

    /// Tries everything the sandbox would like to have, each in a process of its own; overlays on `scratch`, an
    /// existing writable directory.
    ///
    /// # Errors
    /// When the helper cannot be started or does not answer.
    pub fn probe(&self, scratch: &Path) -> Result<Capabilities, SandboxError> {
        let channel = |what| move |source| SandboxError::Channel { what, source };
        let (mut result, writer) = io::pipe().map_err(channel("make the result pipe"))?;
        let mut command = Command::new(&self.helper);
        command.arg(SUBCOMMAND).arg("probe").arg(writer.as_raw_fd().to_string()).arg(scratch);
        command.env_clear().stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        sys::keep_open(&mut command, vec![writer.as_raw_fd()]);
        let mut child = command.spawn().map_err(|source| SandboxError::Start { exe: self.helper.clone(), source })?;
        drop(writer);
        let mut text = Vec::new();
        let read = result.read_to_end(&mut text).map_err(channel("read the result of the probe"));
        let status = child.wait().map_err(channel("wait for the sandbox helper"))?;
        read?;
        serde_json::from_slice(&text).map_err(|_| died(&status.to_string(), &text))
    }
}

/// A sandbox at work. Dropping it kills everything inside and waits for that.
#[derive(Debug)]
pub struct Running {
    child: Child,
    lifeline: Option<UnixStream>,
    result: Option<UnixStream>,
    said: Vec<u8>,
    own_session: bool,
    reaped: bool,
    /// When the helper is killed because it has not ended by itself.
    ending: Option<Instant>,
}

impl Running {
    /// The pid of the helper, as the host sees it.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until the sandbox is done, at most for `limit`: `None` means it is still at work.
    /// After an outcome the sandbox is gone: no process, no mount.
    ///
    /// # Errors
    /// When the helper ended without a result. Once done, the answer stays the same.
    pub fn wait_timeout(&mut self, limit: Duration) -> Result<Option<Outcome>, SandboxError> {
        let deadline = Instant::now().checked_add(limit);
        self.wait_until(deadline)
    }

    /// Waits until the sandbox is done.
    ///
    /// # Errors
    /// When the helper ended without a result.
    pub fn wait(mut self) -> Result<Outcome, SandboxError> {
        loop {
            if let Some(outcome) = self.wait_until(None)? {
                return Ok(outcome);
            }
        }
    }

    /// Ends everything inside; [`Running::wait`] then gives an outcome with `killed` set, within two seconds. A
    /// helper that is kept from ending (a build without namespaces can stop it) is killed a little later.
    pub fn kill(&mut self) {
        self.lifeline = None;
        self.ending.get_or_insert_with(|| Instant::now() + GRACE);
    }

    /// Kills the helper, whose pid 1 dies of that, if it had its time to end.
    fn press(&mut self) {
        if !self.reaped && self.ending.is_some_and(|at| Instant::now() >= at) {
            // it is gone already, or it is ours to kill
            let _ = self.child.kill();
            self.kill_stragglers();
        }
    }

    /// What is left to do when the helper ended early: its session, by a number that is its own until it is reaped.
    fn kill_stragglers(&self) {
        if self.own_session && !self.reaped {
            supervise::kill_session(self.child.id());
        }
    }

    fn wait_until(&mut self, deadline: Option<Instant>) -> Result<Option<Outcome>, SandboxError> {
        let channel = |source| SandboxError::Channel { what: "read the sandbox's result", source };
        while let Some(result) = &mut self.result {
            let mut buffer = [0; 16 * 1024];
            match result.read(&mut buffer) {
                Ok(0) => {
                    self.result = None;
                    break;
                }
                Ok(n) => self.said.extend_from_slice(&buffer[..n]),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    let next = [deadline, self.ending].into_iter().flatten().min();
                    let left = next.map(|d| d.saturating_duration_since(Instant::now()));
                    let timeout = left.and_then(|d| Timespec::try_from(d).ok());
                    let mut fds = [PollFd::from_borrowed_fd(result.as_fd(), PollFlags::IN)];
                    match poll(&mut fds, timeout.as_ref()) {
                        Ok(0) if self.ending.is_some_and(|d| Instant::now() >= d) => {
                            self.press();
                            self.ending = None;
                        }
                        Ok(0) if deadline.is_some_and(|d| Instant::now() >= d) => return Ok(None),
                        Ok(_) | Err(rustix::io::Errno::INTR) => {}
                        Err(e) => return Err(channel(e.into())),
                    }
                }
                Err(e) => return Err(channel(e)),
            }
        }
        let answer = serde_json::from_slice(&self.said);
        if answer.is_err() {
            self.kill_stragglers();
        }
        let status = self.child.wait().map_err(channel)?;
        self.reaped = true;
        answer.map(Some).map_err(|_| died(&status.to_string(), &self.said))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
        self.result = None;
        while let (false, Ok(None)) = (self.reaped, self.child.try_wait()) {
            self.press();
            std::thread::sleep(TICK);
        }
    }
}

fn died(status: &str, said: &[u8]) -> SandboxError {
    let start = &said[..said.len().min(400)];
    SandboxError::Died { status: status.to_owned(), said: String::from_utf8_lossy(start).into_owned() }
}

fn memfd(bytes: &[u8]) -> io::Result<OwnedFd> {
    let mut file = File::from(memfd_create("kbuild-repro-sandbox", MemfdFlags::CLOEXEC)?);
    file.write_all(bytes)?;
    file.rewind()?;
    Ok(file.into())
}
