//! Stage `trace`: what a command, and every process below it, did and looked at.
//!
//! `ptrace` is the edge that watches real processes, in a process of its own ([`helper`], the hidden subcommand
//! [`SUBCOMMAND`]), which runs inside the sandbox and leaves its result in a file. There are two kinds of result, both
//! values ([`What`]):
//!
//! - [`Trace`]: every process with its programs and what it did to files, in order.
//! - [`Looked`]: only what all of them together looked at, the strongest kind of look at each path; a [`Fold`] makes it of
//!   [`Event`]s. It takes less time, and is all that the key of a prepared state needs.
//!
//! What was [`Looked`] at is taken from the system calls as they are entered: whether a look-up failed and what a file
//! held is for the reader of the result to find out, who has to evaluate every path again anyway. The kinds of
//! look follow from that:
//!
//! | kind | system calls |
//! | --- | --- |
//! | [`Look::Probed`] | stat, access, readlink, chdir, statfs, getxattr and the like; open with `O_PATH`, or to create a file that must not exist; a directory that `..` left again |
//! | [`Look::Read`] | open for reading; execve, with the interpreter a `#!` line or an ELF header names; the old name of a link or rename |
//! | [`Look::Listed`] | open of a directory |
//!
//! Opening a file for writing only, or truncating it, is no look, nor is creating or removing names. Shared libraries are opened by
//! the dynamic loader like any file. What a command learns from its environment, the clock, a socket or a descriptor
//! it was started with is no look at a path and is not seen.
//!
//! A directory can be opened like a file, which is told apart when it first happens; who evaluates a path that was
//! read and finds a directory takes it for listed.
//!
//! Paths are as the traced processes named them, made absolute and normalised. Symbolic links in them are kept, for
//! the reader to resolve, but where `..` follows one: no later reader could tell where that led. Nor could it where the
//! command itself makes and changes links: below the directories that are its own, what a link leads to at the time of
//! the call is looked at, too.
//!
//! The command runs with `no_new_privs` (prctl(2)): a set-user-id program below it gains nothing.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::sandbox::wire;
use crate::scenario::Interrupt;

pub mod helper;
mod image;
mod place;
mod processes;
mod ptrace;
pub mod splitmix;
mod steps;

pub use processes::{Action, Deed, End, Environment, Process, Program, Trace};

pub use steps::{
    Cmd, Comparison, Content, Differs, Kind, Ran, Root, Saved, Step, compare, is_descent, kbuild, live_name, steps,
};

/// The hidden subcommand under which the harness's own executable traces a command.
pub const SUBCOMMAND: &str = "__trace";

/// The option by which the tracer is told what to do to its command.
const DISTURB: &str = "--disturb=";

/// What stands before the directories in which links are followed when they are used, where both are told ([`What::BuildLooked`]).
const LINKS: &str = "--links";

/// Version of the file format.
const FORMAT: u32 = 1;

/// How a path was looked at; a later kind is the stronger one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Look {
    /// Whether it exists, its attributes, or what it says as a symbolic link.
    Probed,
    /// Its content.
    Read,
    /// The names in it.
    Listed,
}

/// Why a trace does not tell everything. `program` is the name of the process (`/proc/PID/comm`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Gap {
    /// The host does not allow tracing: the command ran without.
    Refused {
        /// What was refused.
        what: String,
        /// The system's answer.
        reason: String,
    },
    /// A system call by the numbers of another architecture: i386 or x32 on x86-64, 32-bit Arm on 64-bit Arm.
    ForeignCall {
        /// Who.
        program: String,
    },
    /// A system call that opens files in ways that are not followed, or asks for another tracer.
    Unfollowed {
        /// Who.
        program: String,
        /// The name of the call.
        call: String,
    },
    /// A system call that changes what paths mean: mount, chroot, setns.
    Moved {
        /// Who.
        program: String,
        /// The name of the call.
        call: String,
    },
    /// What a system call was about could not be found out.
    Unreadable {
        /// Who.
        program: String,
        /// What could not be read.
        what: String,
        /// The system's answer.
        reason: String,
    },
    /// A process was still there a while after the command had ended, and was killed.
    Outlived {
        /// Who.
        program: String,
    },
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { what, reason } => write!(f, "{what} was refused: {reason}"),
            Self::ForeignCall { program } => write!(f, "`{program}` made system calls of another architecture"),
            Self::Unfollowed { program, call } => write!(f, "`{program}` called `{call}`, which is not followed"),
            Self::Moved { program, call } => write!(f, "`{program}` called `{call}`, which changes what paths mean"),
            Self::Unreadable { program, what, reason } => write!(f, "cannot read {what} of `{program}`: {reason}"),
            Self::Outlived { program } => write!(f, "`{program}` outlived the command"),
        }
    }
}

/// One thing that happened while the command ran.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A process looked at a path, absolute and normalised.
    Looked(PathBuf, Look),
    /// Something happened that is not known in full.
    Missed(Gap),
}

/// What a command looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Looked {
    /// The strongest look at each path.
    pub paths: BTreeMap<PathBuf, Look>,
    /// Why that is not everything; empty if it is.
    pub gaps: BTreeSet<Gap>,
}

impl Looked {
    /// Whether nothing was missed.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.gaps.is_empty()
    }
}

/// Makes [`Looked`] of events. Their order does not matter.
#[derive(Debug, Default)]
pub struct Fold {
    /// By bytes: comparing `Path`s takes them apart every time.
    paths: HashMap<OsString, Look>,
    gaps: BTreeSet<Gap>,
}

impl Fold {
    /// One more event.
    pub fn add(&mut self, event: Event) {
        match event {
            Event::Looked(path, look) => {
                let strongest = self.paths.entry(path.into()).or_insert(look);
                *strongest = look.max(*strongest);
            }
            Event::Missed(gap) => {
                self.gaps.insert(gap);
            }
        }
    }

    /// Whether such an event would change nothing.
    #[must_use]
    pub fn knows(&self, path: &OsStr, look: Look) -> bool {
        self.paths.get(path).is_some_and(|strongest| *strongest >= look)
    }

    /// The result.
    #[must_use]
    pub fn finish(self) -> Looked {
        Looked { paths: self.paths.into_iter().map(|(path, look)| (path.into(), look)).collect(), gaps: self.gaps }
    }
}

/// What of a command is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// What it looked at: [`read`]. The directories of its own are those in which it may make links.
    Looks,
    /// Everything: [`read_all`]. The directories of its own are those in which the contents of files are told by digest.
    All,
    /// As `All` without what was looked up, found or not: every process with what it read, wrote, renamed and removed. That takes
    /// less time, least where the host allows to listen to what is opened (fanotify(7), `CAP_SYS_ADMIN`); the trace says whether
    /// it did ([`Trace::heard`]).
    Contents,
    /// As `All`, of a build in a sandbox: what is still there a while after the command has ended is killed, as it would be
    /// with the sandbox.
    Build,
    /// As `Contents`, of a build in a sandbox.
    BuildContents,
    /// As `BuildContents`, and besides, in a file of its own ([`looked_beside`]), what `Looks` tells.
    BuildLooked,
}

impl What {
    const ALL: [Self; 6] =
        [Self::Looks, Self::All, Self::Contents, Self::Build, Self::BuildContents, Self::BuildLooked];

    /// Whether what is looked up has to be told.
    fn wants_looks(self) -> bool {
        matches!(self, Self::Looks | Self::All | Self::Build)
    }

    /// Whether what the command leaves behind is followed to its end.
    fn waits(self) -> bool {
        matches!(self, Self::All | Self::Contents)
    }

    /// On the tracer's command line.
    fn word(self) -> &'static str {
        match self {
            Self::Looks => "looks",
            Self::All => "all",
            Self::Contents => "contents",
            Self::Build => "build",
            Self::BuildContents => "build-contents",
            Self::BuildLooked => "build-looked",
        }
    }
}

/// The command line that traces another, started by `exe`, the harness's executable: the result will be in `out`. The
/// directories `own` are absolute.
///
/// Its status is the command's own, 128 + signal where a signal ended it, and 127 or 126 where it could not be started. It
/// is 70 with a message on standard error, and the command has not run, where `out` cannot be written.
#[must_use]
pub fn wrap(exe: &OsStr, what: What, out: &Path, own: &[&Path], command: &[OsString]) -> Vec<OsString> {
    wrap_disturbed(exe, what, out, &Disturb::default(), own, command)
}

/// What the tracer does to its command, beside telling of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disturb {
    /// The step at which it is interrupted, and how.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interrupt: Option<Interrupt>,
    /// Each step of make begins up to 50 ms late, by chance from this seed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delays: Option<u32>,
    /// Its own directories list their names the other way round.
    #[serde(default)]
    pub reversed: bool,
    /// The descriptors of a group that it joins, whose memory is limited: see [`crate::sandbox::memory::Group::fds`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<[i32; 2]>,
}

impl Disturb {
    /// Whether writes are made to fail.
    #[must_use]
    pub fn fails_writes(&self) -> bool {
        self.interrupt.as_ref().is_some_and(|interrupt| interrupt.fault.is_some())
    }
}

/// As [`wrap`], and something is done to the command. Of [`What::Looks`] there are no steps.
#[must_use]
pub fn wrap_disturbed(
    exe: &OsStr,
    what: What,
    out: &Path,
    disturb: &Disturb,
    own: &[&Path],
    command: &[OsString],
) -> Vec<OsString> {
    let some = Some(disturb).filter(|it| **it != Disturb::default());
    // It holds strings and numbers alone, which can always be written.
    let disturb = some.and_then(|it| serde_json::to_string(it).ok()).map(|json| format!("{DISTURB}{json}").into());
    let own = own.iter().map(|dir| dir.as_os_str().to_owned());
    let ours = [exe, SUBCOMMAND.as_ref(), what.word().as_ref(), out.as_os_str()].map(OsStr::to_owned);
    let ours = ours.into_iter().chain(disturb).chain(own).chain(["--".into()]);
    ours.chain(command.iter().cloned()).collect()
}

/// The command line that traces a build in a sandbox and tells besides what it looked at: as [`wrap`] with
/// [`What::BuildLooked`], where links below the directories `links` are followed when they are used.
#[must_use]
pub fn wrap_looked(exe: &OsStr, out: &Path, own: &[&Path], links: &[&Path], command: &[OsString]) -> Vec<OsString> {
    let own: Vec<&Path> = own.iter().copied().chain([Path::new(LINKS)]).chain(links.iter().copied()).collect();
    wrap(exe, What::BuildLooked, out, &own, command)
}

/// Where a tracer leaves what was looked at, if it leaves a trace in `out` as well.
#[must_use]
pub fn looked_beside(out: &Path) -> PathBuf {
    out.with_extension("looked")
}

/// The result as a file. `complete` is there for people: `gaps` says the same.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    format: u32,
    complete: bool,
    gaps: BTreeSet<Gap>,
    looked: Vec<Line>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    look: Look,
    #[serde(with = "wire::single")]
    path: PathBuf,
}

/// What can go wrong with a trace, beside what makes it incomplete.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// The result cannot be written.
    #[error("cannot write trace `{}`", path.display())]
    Write {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The result is not there: the tracer was killed, or did not come to its end.
    #[error("cannot read trace `{}`", path.display())]
    Read {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The result is not a whole one, or one of another version.
    #[error("`{}` is not a trace of this version", path.display())]
    Parse {
        /// Where.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// The command could not be started or waited for.
    #[error("cannot {what}")]
    Process {
        /// What was tried.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
}

impl TraceError {
    /// What would help.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Write { .. } => Some("the directory has to be there and writable, and not full"),
            Self::Read { .. } => Some("the tracer leaves its result when its command has ended; it was killed before"),
            Self::Parse { .. } => Some("trace the command again"),
            Self::Process { .. } => Some("look at `ulimit -u` and at free memory"),
        }
    }
}

/// Reads the whole trace that a tracer left behind.
///
/// # Errors
/// When there is no whole result.
pub fn read_all(path: &Path) -> Result<Trace, TraceError> {
    read_as(path, Trace::parse)
}

/// Reads what a tracer left behind of looks.
///
/// # Errors
/// When there is no whole result.
pub fn read(path: &Path) -> Result<Looked, TraceError> {
    read_as(path, parse)
}

fn read_as<T>(path: &Path, parse: impl FnOnce(&[u8]) -> Result<T, serde_json::Error>) -> Result<T, TraceError> {
    let text = std::fs::read(path).map_err(|source| TraceError::Read { path: path.to_owned(), source })?;
    parse(&text).map_err(|source| TraceError::Parse { path: path.to_owned(), source })
}

/// As [`read`], of a file's content.
///
/// # Errors
/// When it is not a whole result of this version.
pub fn parse(text: &[u8]) -> Result<Looked, serde_json::Error> {
    use serde::de::Error;
    let File { format, complete, gaps, looked } = serde_json::from_slice(text)?;
    if format != FORMAT {
        return Err(Error::custom(format!("format `{format}`, expected `{FORMAT}`")));
    }
    if complete != gaps.is_empty() {
        return Err(Error::custom("`complete` contradicts `gaps`"));
    }
    Ok(Looked { paths: looked.into_iter().map(|Line { look, path }| (path, look)).collect(), gaps })
}

/// The content of the file that [`read`] reads.
fn text(looked: &Looked) -> Result<Vec<u8>, serde_json::Error> {
    let lines = looked.paths.iter().map(|(path, look)| Line { look: *look, path: path.clone() });
    serde_json::to_vec(&File {
        format: FORMAT,
        complete: looked.is_complete(),
        gaps: looked.gaps.clone(),
        looked: lines.collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStringExt;

    fn fold(events: &[Event]) -> Looked {
        let mut fold = Fold::default();
        events.iter().cloned().for_each(|event| fold.add(event));
        fold.finish()
    }

    fn looked(path: &str, look: Look) -> Event {
        Event::Looked(path.into(), look)
    }

    #[test]
    fn the_strongest_look_counts_in_any_order() {
        let mut events = vec![
            looked("/a", Look::Probed),
            looked("/a", Look::Read),
            looked("/b", Look::Listed),
            looked("/b", Look::Probed),
        ];
        let expected = BTreeMap::from([("/a".into(), Look::Read), ("/b".into(), Look::Listed)]);
        let mut known = Fold::default();
        known.add(looked("/a", Look::Read));
        let knows = |path: &str, look| known.knows(path.as_ref(), look);
        assert!(knows("/a", Look::Probed) && knows("/a", Look::Read));
        assert!(!knows("/a", Look::Listed) && !knows("/b", Look::Probed));
        assert_eq!(fold(&events).paths, expected);
        events.reverse();
        assert_eq!(fold(&events).paths, expected);
    }

    #[test]
    fn a_gap_makes_it_incomplete_and_is_told_once() {
        assert!(fold(&[looked("/a", Look::Read)]).is_complete());
        let gap = Event::Missed(Gap::ForeignCall { program: "as".into() });
        let result = fold(&[gap.clone(), looked("/a", Look::Read), gap]);
        assert!(!result.is_complete());
        let told: Vec<String> = result.gaps.iter().map(ToString::to_string).collect();
        assert_eq!(told, ["`as` made system calls of another architecture"]);
    }

    #[test]
    fn a_result_survives_its_file_bytes_that_are_no_text_too() {
        let odd = PathBuf::from(OsString::from_vec(b"/a\xff\n\"b".to_vec()));
        let outlived = Gap::Outlived { program: "sleep".into() };
        let result = fold(&[Event::Looked(odd, Look::Probed), looked("/b", Look::Listed), Event::Missed(outlived)]);
        assert_eq!(parse(&text(&result).unwrap()).unwrap(), result);
    }

    #[test]
    fn half_a_result_and_another_version_are_refused() {
        let whole = text(&fold(&[looked("/a", Look::Read)])).unwrap();
        assert!(parse(&whole).is_ok());
        assert!(parse(&whole[..whole.len() - 1]).is_err());
        assert!(parse(b"").is_err());
        let other = String::from_utf8(whole.clone()).unwrap().replace("\"format\":1", "\"format\":2");
        assert!(parse(other.as_bytes()).unwrap_err().to_string().contains("format `2`"));
        let lying = String::from_utf8(whole).unwrap().replace("true", "false");
        assert!(parse(lying.as_bytes()).is_err());
    }
}
