//! Stage `sandbox`: a build runs in namespaces of its own, sees the host's toolchain read-only and its
//! trees at fixed paths, and is killed as a whole.
//!
//! This file holds the values that go in ([`Spec`]) and come out ([`Outcome`]); the children hold mechanism.
//! The harness has threads, so it never forks itself: it runs a copy of its own executable with the hidden
//! subcommand [`SUBCOMMAND`], which has one thread and does what the `Spec` says ([`helper`]).
//!
//! ```text
//! harness ──spawn──> helper, stage 1 ──fork──> pid 1 of the namespace ──fork, exec──> commands, one by one
//!    │                 unshare, id maps          mounts, file operations, reaping
//!    └── lifeline: only the harness holds its other end; at end of file pid 1 kills all and exits,
//!        however the harness ended, and the mounts vanish with the mount namespace
//! ```
//!
//! A build of root's may look into `/proc/1/fd`. What the helper talks through are therefore sockets, which
//! cannot be opened there; of a pipe a build could open the other end, and keep the lifeline alive by it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

mod caps;
mod foreign;
pub mod helper;
pub mod listen;
pub mod memory;
mod mounts;
mod namespaces;
mod ops;
pub mod overlay;
mod probe;
mod remove;
mod scarce;
pub mod scratch;
mod spawn;
mod stamp;
mod supervise;
mod sys;
pub(crate) mod wire;

pub use mounts::{UpperProblem, upper_problem};
pub use probe::{Capabilities, Refusal};
pub use remove::remove_tree;
pub use scarce::{scarce, scarce_errno};
pub use spawn::{Running, Sandbox};
pub use stamp::{Stamp, StampError, granularity, newest_mtime, next_stamp, stamp_after, wait_past};

/// The hidden subcommand under which the harness's own executable is the sandbox helper.
pub const SUBCOMMAND: &str = "__sandbox";

/// Where `HOME` should point inside: an empty, writable directory.
pub const HOME: &str = "/build/home";

/// Everything the helper has to know. Paths are absolute; `at`, `cwd` and `root` are paths inside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spec {
    /// How much isolation to use.
    pub isolation: Isolation,
    /// What of the host is visible.
    pub view: View,
    /// Host paths that are visible read-only at the same path besides what `view` shows.
    #[serde(with = "wire::list")]
    pub extra_read_only: Vec<PathBuf>,
    /// Mounted in this order, later ones over earlier ones.
    pub mounts: Vec<Mount>,
    /// File operations executed after mounting and before the commands.
    pub ops: Vec<Op>,
    /// Executed in this order; the first that fails is the last.
    pub commands: Vec<Command>,
    /// The whole environment; nothing is inherited.
    #[serde(with = "wire::pairs")]
    pub env: Vec<(OsString, OsString)>,
    /// What `uname -n` says.
    pub hostname: String,
    /// File mode creation mask of the commands, normally `0o022`.
    pub umask: u32,
    /// Whether the commands run with a randomised address space (see personality(2), `ADDR_NO_RANDOMIZE`).
    pub randomize_addresses: bool,
    /// How many of the processors that this process may use the commands may; all if `None` (sched_setaffinity(2)).
    #[serde(default)]
    pub processors: Option<u32>,
    /// The group that the commands are of, and of no other; that of the harness if `None`. It takes root, and no user
    /// namespace.
    #[serde(default)]
    pub group: Option<u32>,
    /// Resource limits of the commands.
    pub limits: Limits,
    /// Descriptors of the harness that stay open in the commands under the same number (job server pipes).
    pub inherit_fds: Vec<i32>,
    /// Hear what is opened on any mount, if the host allows it, for a tracer among the commands (fanotify(7), [`listen`]): they
    /// are started with the descriptor. It shows them every file that is opened in the sandbox.
    #[serde(default)]
    pub listen: bool,
    /// Keep standard input, output, error and the controlling terminal (`shell`).
    pub interactive: bool,
    /// Treat these as refused by the host, so that what happens without them can be seen on any host.
    #[serde(default)]
    pub refuse: Vec<Facility>,
}

impl Default for Spec {
    fn default() -> Self {
        Self {
            isolation: Isolation::Auto,
            view: View::Toolchain,
            extra_read_only: Vec::new(),
            mounts: Vec::new(),
            ops: Vec::new(),
            commands: Vec::new(),
            env: Vec::new(),
            hostname: "kbuild-repro".to_owned(),
            umask: 0o022,
            randomize_addresses: true,
            processors: None,
            group: None,
            limits: Limits::default(),
            inherit_fds: Vec::new(),
            listen: false,
            interactive: false,
            refuse: Vec::new(),
        }
    }
}

/// How much isolation to use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Isolation {
    /// As much as the host allows; what is missing is reported as [`Loss`].
    Auto,
    /// As `Auto`, but anything missing is an error.
    Full,
    /// In a user namespace, for root too; no way without mount namespace.
    UserNs,
    /// No namespaces: commands run on the host's paths, see [`direct_path`].
    Direct,
}

/// What of the host is visible inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum View {
    /// Only what tools are made of: `/usr`, `/bin`, `/sbin`, `/lib*`, `/etc`, `/opt`, `/nix`, `/gnu`.
    Toolchain,
    /// Every top-level directory, for a tree of the user's that refers to anything.
    Host,
}

/// One mount. A missing mount point is created.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Mount {
    /// A directory or file of the host, with what is mounted below it.
    Bind {
        /// Path on the host.
        #[serde(with = "wire::single")]
        host: PathBuf,
        /// Path inside.
        #[serde(with = "wire::single")]
        at: PathBuf,
        /// Whether the build may write there.
        writable: bool,
    },
    /// An overlay file system (Documentation/filesystems/overlayfs.rst).
    Overlay {
        /// Directories of the host, the topmost first.
        #[serde(with = "wire::list")]
        lower: Vec<PathBuf>,
        /// Directory of the host that takes all changes.
        #[serde(with = "wire::single")]
        upper: PathBuf,
        /// Empty directory of the host on the same file system and mount as `upper`.
        #[serde(with = "wire::single")]
        work: PathBuf,
        /// Path inside.
        #[serde(with = "wire::single")]
        at: PathBuf,
    },
    /// An empty directory in memory that vanishes with the sandbox.
    Tmpfs {
        /// Path inside.
        #[serde(with = "wire::single")]
        at: PathBuf,
        /// Upper bound of its size in bytes.
        size_bytes: u64,
    },
}

impl Mount {
    /// The path inside.
    pub fn at(&self) -> &Path {
        match self {
            Mount::Bind { at, .. } | Mount::Overlay { at, .. } | Mount::Tmpfs { at, .. } => at,
        }
    }
}

/// One change of a file inside a tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Op {
    /// The tree: a directory inside. No symbolic link leads out of it.
    #[serde(with = "wire::single")]
    pub root: PathBuf,
    /// The file: a relative path below `root`, without `..`.
    #[serde(with = "wire::single")]
    pub path: PathBuf,
    /// What happens to it.
    pub change: Change,
    /// Modification time set on the file afterwards, and on nothing else.
    pub stamp: Option<Stamp>,
}

/// What an [`Op`] does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "do")]
pub enum Change {
    /// Replace the content in place; a missing file and its directories are created.
    Write {
        /// The new content.
        content: Content,
        /// Permission bits; `None` leaves them as they are (0644 for a new file).
        mode: Option<u32>,
    },
    /// Add at the end; the file has to be there.
    Append {
        /// What is added.
        content: Content,
    },
    /// Remove a file, symbolic link or, with `tree`, a directory with all it holds.
    Delete {
        /// Whether a directory may be removed, with all it holds.
        tree: bool,
    },
    /// Move within the tree; an existing file is replaced. The stamp goes to the new name.
    Rename {
        /// New relative path.
        #[serde(with = "wire::single")]
        to: PathBuf,
    },
    /// Set permission bits.
    Chmod {
        /// The bits, at most `0o7777`.
        mode: u32,
    },
    /// Create an empty file, or only set the time of one that is there.
    Touch,
    /// Make a symbolic link, replacing a file or link of that name.
    Symlink {
        /// What the link says; it may lead anywhere.
        #[serde(with = "wire::single")]
        target: PathBuf,
    },
    /// Make a directory and those above it; one that is there is fine.
    Mkdir,
    /// Only set the time, of a symbolic link itself too.
    SetTimes,
}

/// Bytes of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Content {
    /// These bytes.
    Bytes(#[serde(with = "wire::bytes")] Vec<u8>),
    /// What a file of the host holds when the helper starts.
    File(#[serde(with = "wire::single")] PathBuf),
}

/// One command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// Program and arguments. A program without slash is looked up in the `PATH` of the command's environment.
    #[serde(with = "wire::list")]
    pub argv: Vec<OsString>,
    /// Working directory inside.
    #[serde(with = "wire::single")]
    pub cwd: PathBuf,
    /// Additions to [`Spec::env`]; the same name replaces.
    #[serde(with = "wire::pairs")]
    pub env: Vec<(OsString, OsString)>,
    /// What reports call it.
    pub label: String,
}

/// Resource limits (setrlimit(2), but for the last); never raised above the hard limit of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// `RLIMIT_FSIZE` in bytes.
    pub file_size: Option<u64>,
    /// `RLIMIT_CORE` in bytes.
    pub core: Option<u64>,
    /// `RLIMIT_NOFILE`, a number of descriptors.
    pub open_files: Option<u64>,
    /// `RLIMIT_STACK` in bytes.
    pub stack: Option<u64>,
    /// Bytes of memory that files in `/tmp`, `/var/tmp`, `/run`, `/dev/shm` and [`HOME`] may take together. Never
    /// more than a quarter of the host's.
    #[serde(default)]
    pub temporary: Option<u64>,
}

impl Default for Limits {
    fn default() -> Self {
        Self { file_size: None, core: Some(0), open_files: None, stack: None, temporary: None }
    }
}

/// Something a host may refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Facility {
    /// `CLONE_NEWUSER`.
    UserNs,
    /// `CLONE_NEWNS`.
    MountNs,
    /// `CLONE_NEWPID`.
    PidNs,
    /// `CLONE_NEWNET`.
    NetNs,
    /// `CLONE_NEWUTS`.
    UtsNs,
    /// `CLONE_NEWIPC`.
    IpcNs,
    /// mount_setattr(2), Linux 5.12.
    MountSetattr,
    /// Mounting a new procfs (containers mask parts of theirs).
    FreshProc,
    /// openat2(2), Linux 5.6.
    Openat2,
    /// close_range(2) with `CLOSE_RANGE_CLOEXEC`, Linux 5.11.
    CloseRange,
    /// pivot_root(2) (refused below chroot and on an initramfs).
    PivotRoot,
}

/// A guarantee that this host could not give.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loss {
    /// What does not hold.
    pub guarantee: Guarantee,
    /// Why.
    pub reason: String,
    /// What would help.
    pub hint: String,
}

/// What the sandbox promises when nothing is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Guarantee {
    /// Only declared files are visible, and only the build's own are writable.
    FileSystem,
    /// Processes of the host are invisible, and the kernel kills the build as a whole.
    Processes,
    /// No network.
    Network,
    /// A fixed host name.
    HostName,
    /// No System V or POSIX message queues and semaphores shared with the host.
    Ipc,
    /// `/proc` shows only the build.
    Proc,
    /// The root file system of the host is out of reach even for a privileged process.
    RootPinned,
}

/// What a sandbox leaves behind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// One entry for each command that was started, in order.
    pub commands: Vec<CommandResult>,
    /// What this host could not give.
    pub losses: Vec<Loss>,
    /// Which way of isolation was used in the end.
    pub isolation: Isolated,
    /// The sandbox was killed before the commands were through.
    pub killed: bool,
    /// What stopped the helper, if it was not a command.
    pub error: Option<HelperError>,
}

impl Outcome {
    /// Whether all commands ran and ended with status 0.
    pub fn success(&self) -> bool {
        self.error.is_none() && !self.killed && self.commands.iter().all(|c| c.status == Status::Exited(0))
    }
}

/// Which way of isolation was used in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Isolated {
    /// Namespaces made as root of the host, without a user namespace.
    Root,
    /// Namespaces owned by a new user namespace.
    UserNs,
    /// None.
    Direct,
}

/// How one command ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandResult {
    /// [`Command::label`].
    pub label: String,
    /// How it ended.
    pub status: Status,
    /// From fork to reaping.
    pub wall: Duration,
    /// User time of the command and everything below it that was waited for.
    pub user: Duration,
    /// System time, likewise.
    pub system: Duration,
    /// Largest resident set of one process, in KiB (getrusage(2)).
    pub max_rss_kib: u64,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// Exit status.
    Exited(i32),
    /// Number of the signal.
    Signaled(i32),
}

/// Something went wrong in the helper, not in a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{stage}: {what}{}", errno.map(|e| format!(": {}", std::io::Error::from_raw_os_error(e))).unwrap_or_default())]
pub struct HelperError {
    /// Whose fault it is.
    pub kind: HelperErrorKind,
    /// What the helper was doing.
    pub stage: String,
    /// What failed, with the value in backticks.
    pub what: String,
    /// The system's answer.
    pub errno: Option<i32>,
    /// What would help.
    pub hint: Option<String>,
}

/// Whose fault a [`HelperError`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HelperErrorKind {
    /// The host refuses something that there is no way around.
    HostCannot,
    /// The `Spec` asks for something that does not exist or makes no sense.
    BadSpec,
    /// A file operation failed; `index` counts from 0 in [`Spec::ops`].
    Op {
        /// Which one.
        index: usize,
    },
    /// A command could not be started; `index` counts from 0 in [`Spec::commands`].
    Exec {
        /// Which one.
        index: usize,
    },
    /// A fault of the helper itself.
    Internal,
}

impl HelperError {
    fn new(kind: HelperErrorKind, stage: &str, what: impl Into<String>) -> Self {
        Self { kind, stage: stage.to_owned(), what: what.into(), errno: None, hint: None }
    }

    fn errno(mut self, error: impl Into<std::io::Error>) -> Self {
        self.errno = error.into().raw_os_error();
        self
    }

    fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// What can go wrong between the harness and its helper.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The helper could not be started.
    #[error("cannot start sandbox helper `{}`", exe.display())]
    Start {
        /// The executable.
        exe: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A socket, pipe or memory file could not be made or used.
    #[error("cannot {what}")]
    Channel {
        /// What was tried.
        what: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// The `Spec` cannot be written down.
    #[error("cannot encode sandbox request")]
    Encode(#[source] serde_json::Error),
    /// A descriptor in [`Spec::inherit_fds`] is a standard stream or not open.
    #[error("cannot inherit descriptor `{0}`")]
    InheritFd(i32),
    /// The helper ended without saying what happened.
    #[error("sandbox helper ended without a result ({status})")]
    Died {
        /// How it ended.
        status: String,
        /// The start of what it said instead, if anything.
        said: String,
    },
}

impl SandboxError {
    /// What would help.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            _ if scarce(self).is_some() => scarce(self),
            SandboxError::Start { .. } => Some("the executable of the harness has to be readable and executable"),
            SandboxError::Channel { .. } => Some("look at `ulimit -n` and at free memory"),
            SandboxError::Encode(_) => None,
            SandboxError::InheritFd(_) => Some("pass descriptors above 2 that stay open until spawn returns"),
            SandboxError::Died { .. } => Some(
                "something killed it: the kernel for want of memory (`dmesg`), somebody, or the build, where it has no pid namespace",
            ),
        }
    }
}

/// Where an inside path is on the host when there is no mount namespace ([`Isolation::Direct`]): the last
/// bind mount above it decides. A path below none, or below an overlay or tmpfs, is returned as it is.
pub fn direct_path(spec: &Spec, inner: &Path) -> PathBuf {
    for mount in spec.mounts.iter().rev() {
        if let Ok(rest) = inner.strip_prefix(mount.at()) {
            return match mount {
                // join("") would add a slash, and a file with a slash at the end is an error
                Mount::Bind { host, .. } if rest.as_os_str().is_empty() => host.clone(),
                Mount::Bind { host, .. } => host.join(rest),
                Mount::Overlay { .. } | Mount::Tmpfs { .. } => inner.to_owned(),
            };
        }
    }
    inner.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bind(host: &str, at: &str) -> Mount {
        Mount::Bind { host: host.into(), at: at.into(), writable: true }
    }

    #[test]
    fn the_last_mount_above_a_path_decides() {
        let spec = Spec {
            mounts: vec![bind("/h/build", "/build"), bind("/h/src", "/build/src"), bind("/h/f", "/build/file")],
            ..Spec::default()
        };
        let map = |p: &str| direct_path(&spec, Path::new(p));
        assert_eq!(map("/build/obj/a"), Path::new("/h/build/obj/a"));
        assert_eq!(map("/build/src"), Path::new("/h/src"));
        assert_eq!(map("/build/file").as_os_str(), "/h/f");
        assert_eq!(map("/build/srcs"), Path::new("/h/build/srcs"));
        assert_eq!(map("/usr/bin/make"), Path::new("/usr/bin/make"));
    }
}
