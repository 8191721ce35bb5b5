//! A whole trace: every process of a command, the programs it ran, and what it did to files, in order.
//!
//! Names and contents are numbered, so that a build of ten thousand processes stays small. A *content* is what one file
//! holds between two changes of it: who writes a file makes a new content, who renames it carries the content along,
//! and who reads it later names the number of that content. Two processes that name one number met the same bytes.
//!
//! Paths are absolute, but for socket addresses ([`Deed::Connect`]). Of a file that was opened, the path is the one by which the kernel knows it, without symbolic links
//! (proc(5), `/proc/PID/fd`); of a look-up, the one that the process named, with `.` and `..` taken out.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Gap;
use crate::sandbox::wire;

/// Version of the file format.
const FORMAT: u32 = 1;

/// What a command and all below it did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trace {
    /// The processes, in the order in which they came to be; the first is the command.
    pub processes: Vec<Process>,
    /// The paths, by number.
    pub paths: Vec<PathBuf>,
    /// The contents, by number: the SHA-256 in hexadecimal digits, of files in the directories that this was asked for.
    pub contents: Vec<Option<String>>,
    /// The directories that it was asked for; none are known of older traces.
    pub dirs: Vec<PathBuf>,
    /// The environments of programs, by number.
    pub environments: Vec<Environment>,
    /// Why that is not everything; empty if it is.
    pub gaps: BTreeSet<Gap>,
    /// Whether nothing is told of look-ups ([`Deed::Found`], [`Deed::Missing`]), which were left out to take less time.
    pub looks_left_out: bool,
    /// Whether it was heard what was opened (fanotify(7)): then nothing is told of reading devices and pipes, and a directory that
    /// was opened is taken for listed.
    pub heard: bool,
    /// The step at which the command was interrupted, if it was to be and was.
    pub interrupted: Option<String>,
}

/// Environment variables, each as `NAME=value`, sorted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Environment(#[serde(with = "wire::list")] pub Vec<OsString>);

/// One process: from fork(2) to its end, through every program that it ran.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Process {
    /// Which process made it; none of the command's own.
    pub parent: Option<u32>,
    /// Its id where it ran.
    pub pid: i32,
    /// When it came to be, on the scale of [`Action::at`]: all of its parent's that has a smaller number was before.
    pub born: u32,
    /// When it came to be, in microseconds since the command was started.
    pub began: u64,
    /// When it had ended.
    pub ended: u64,
    /// Microseconds of processor time, user and system, of its own: without its children's.
    pub cpu: u64,
    /// How it ended; unknown where the trace ended first.
    pub end: Option<End>,
    /// The programs it ran, one after the other. One that was forked and ran none is a copy of its parent.
    pub programs: Vec<Program>,
    /// What it did, in order.
    pub actions: Vec<Action>,
}

impl Program {
    /// Its arguments, with blanks between.
    #[must_use]
    pub fn command(&self) -> String {
        let words: Vec<_> = self.argv.iter().map(|word| word.to_string_lossy()).collect();
        words.join(" ")
    }
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum End {
    /// With this exit code.
    Exit(i32),
    /// By this signal.
    Signal(i32),
}

/// A program that a process became by execve(2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Program {
    /// When, on the scale of [`Action::at`].
    pub at: u32,
    /// Path number of the file that runs: of a script, its interpreter's.
    pub file: u32,
    /// The arguments, as the process sees them: those of a script begin with its interpreter.
    #[serde(with = "wire::list")]
    pub argv: Vec<OsString>,
    /// Path number of the working directory at that time.
    pub cwd: u32,
    /// Number of the environment.
    pub env: u32,
    /// Whether its standard output is a pipe that its parent's is not: somebody reads it, as make does of `$(shell)`.
    pub captured: bool,
}

/// One thing that a process did to a file or a name. What it did several times with nothing new in it is told once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Row", into = "Row")]
pub struct Action {
    /// Its place in the order of everything that the command did.
    pub at: u32,
    /// What.
    pub deed: Deed,
    /// Path number.
    pub path: u32,
    /// Path number of the second name: where a file was renamed or linked to, what a symbolic link says.
    pub other: Option<u32>,
    /// The content that was read, was made, or went along.
    pub content: Option<u32>,
}

type Row = (u32, Deed, u32, Option<u32>, Option<u32>);

impl From<Row> for Action {
    fn from((at, deed, path, other, content): Row) -> Self {
        Self { at, deed, path, other, content }
    }
}

impl From<Action> for Row {
    fn from(action: Action) -> Self {
        (action.at, action.deed, action.path, action.other, action.content)
    }
}

/// What is done to a file or a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Deed {
    /// Looked up and there: stat(2), access(2), readlink(2), open(2) of a directory or with `O_PATH`.
    Found,
    /// Looked up, or to be opened or run, in vain.
    Missing,
    /// Opened for reading, or run; or was to be run and is no program.
    Read,
    /// Made, or opened for writing with nothing left of what it held.
    Create,
    /// Opened for writing with what it held still there.
    Update,
    /// The names in a directory were read.
    List,
    /// The working directory was changed.
    Enter,
    /// A name was removed.
    Remove,
    /// A file was given another name in place of this one.
    Rename,
    /// A file was given a further name.
    Link,
    /// A symbolic link was made.
    Symlink,
    /// A directory was made.
    MakeDir,
    /// A directory was removed.
    RemoveDir,
    /// A pipe or device was made.
    MakeNode,
    /// The times were set.
    Touch,
    /// The mode was set.
    Mode,
    /// Was to be made, written, renamed or removed, which was not allowed, or made in a directory that is not there.
    Refused,
    /// A socket address was to be reached: in place of a path stands the address with its port (`192.0.2.1:53`).
    Connect,
}

impl Deed {
    /// Its name in reports and files.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Found => "found",
            Self::Missing => "missing",
            Self::Read => "read",
            Self::Create => "create",
            Self::Update => "update",
            Self::List => "list",
            Self::Enter => "enter",
            Self::Remove => "remove",
            Self::Rename => "rename",
            Self::Link => "link",
            Self::Symlink => "symlink",
            Self::MakeDir => "make-dir",
            Self::RemoveDir => "remove-dir",
            Self::MakeNode => "make-node",
            Self::Touch => "touch",
            Self::Mode => "mode",
            Self::Refused => "refused",
            Self::Connect => "connect",
        }
    }

    /// Whether it changes a file or a directory.
    #[must_use]
    pub fn changes(self) -> bool {
        !matches!(
            self,
            Self::Found | Self::Missing | Self::Read | Self::List | Self::Enter | Self::Refused | Self::Connect
        )
    }
}

impl Trace {
    /// The path of a number.
    #[must_use]
    pub fn path(&self, number: u32) -> &Path {
        self.paths.get(number as usize).map_or(Path::new(""), PathBuf::as_path)
    }

    /// The program that a process ran at a time on the scale of [`Action::at`]; before it ran one of its own, its parent's.
    #[must_use]
    pub fn program(&self, process: u32, at: u32) -> Option<&Program> {
        let mut process = self.processes.get(process as usize)?;
        let mut at = at;
        loop {
            if let Some(program) = process.programs.iter().rev().find(|program| program.at <= at) {
                return Some(program);
            }
            at = process.born;
            process = self.processes.get(process.parent? as usize)?;
        }
    }

    /// The SHA-256 of a content, if it is known.
    #[must_use]
    pub fn digest(&self, content: Option<u32>) -> Option<&str> {
        self.contents.get(content? as usize)?.as_deref()
    }

    /// Writes it as a file's content.
    ///
    /// # Errors
    /// As writing does.
    pub fn write(&self, to: impl std::io::Write) -> Result<(), serde_json::Error> {
        let file = File {
            format: FORMAT,
            gaps: Cow::Borrowed(&self.gaps),
            paths: Cow::Borrowed(&self.paths),
            contents: Cow::Borrowed(&self.contents),
            dirs: Cow::Borrowed(&self.dirs),
            environments: Cow::Borrowed(&self.environments),
            processes: Cow::Borrowed(&self.processes),
            looks_left_out: self.looks_left_out,
            heard: self.heard,
            interrupted: self.interrupted.clone(),
        };
        serde_json::to_writer(to, &file)
    }

    /// Reads a file's content, and checks that every number in it stands for something.
    ///
    /// # Errors
    /// It is not a whole trace of this version.
    pub fn parse(text: &[u8]) -> Result<Self, serde_json::Error> {
        use serde::de::Error;
        let File { format, paths, contents, dirs, environments, gaps, processes, looks_left_out, heard, interrupted } =
            serde_json::from_slice(text)?;
        if format != FORMAT {
            return Err(Error::custom(format!("format `{format}`, expected `{FORMAT}`")));
        }
        let trace = Self {
            processes: processes.into_owned(),
            paths: paths.into_owned(),
            contents: contents.into_owned(),
            dirs: dirs.into_owned(),
            environments: environments.into_owned(),
            gaps: gaps.into_owned(),
            looks_left_out,
            heard,
            interrupted,
        };
        trace.check().map_err(Error::custom)?;
        Ok(trace)
    }

    fn check(&self) -> Result<(), String> {
        let path = |number: u32| (number as usize) < self.paths.len();
        let env = |number: u32| (number as usize) < self.environments.len();
        for (own, process) in self.processes.iter().enumerate() {
            let fine = process.parent.is_none_or(|parent| (parent as usize) < own)
                && process.programs.iter().all(|it| path(it.file) && path(it.cwd) && env(it.env))
                && process.actions.iter().all(|action| {
                    path(action.path)
                        && action.other.is_none_or(path)
                        && action.content.is_none_or(|content| (content as usize) < self.contents.len())
                });
            if !fine {
                return Err(format!("process {own} names what is not there"));
            }
        }
        Ok(())
    }
}

/// A trace as a file. It is large, so that it is not copied to be written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File<'t> {
    format: u32,
    gaps: Cow<'t, BTreeSet<Gap>>,
    #[serde(serialize_with = "wire::list::serialize", deserialize_with = "owned")]
    paths: Cow<'t, [PathBuf]>,
    contents: Cow<'t, [Option<String>]>,
    #[serde(default = "none", serialize_with = "wire::list::serialize", deserialize_with = "owned")]
    dirs: Cow<'t, [PathBuf]>,
    environments: Cow<'t, [Environment]>,
    processes: Cow<'t, [Process]>,
    /// Traces that were made before there was a choice have everything.
    #[serde(default)]
    looks_left_out: bool,
    #[serde(default)]
    heard: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    interrupted: Option<String>,
}

fn none() -> Cow<'static, [PathBuf]> {
    Cow::Borrowed(&[])
}

fn owned<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Cow<'static, [PathBuf]>, D::Error> {
    wire::list::deserialize(from).map(Cow::Owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStringExt;

    fn sample() -> Trace {
        let program = Program {
            at: 0,
            file: 0,
            argv: vec!["cc".into(), OsString::from_vec(b"\xff".to_vec())],
            cwd: 1,
            env: 0,
            captured: false,
        };
        let read = Action { at: 1, deed: Deed::Read, path: 2, other: None, content: Some(0) };
        let rename = Action { at: 2, deed: Deed::Rename, path: 2, other: Some(1), content: Some(0) };
        let command = Process { pid: 7, end: Some(End::Exit(1)), programs: vec![program], ..Process::default() };
        let child = Process { parent: Some(0), actions: vec![read, rename], ..Process::default() };
        Trace {
            processes: vec![command, child],
            paths: vec!["/bin/cc".into(), "/".into(), OsString::from_vec(b"/a\xff\n".to_vec()).into()],
            contents: vec![Some("00".into())],
            dirs: vec!["/".into()],
            environments: vec![Environment(vec!["A=b".into()])],
            gaps: [Gap::Outlived { program: "x".into() }].into(),
            looks_left_out: true,
            heard: true,
            interrupted: Some("LD vmlinux".into()),
        }
    }

    fn json(trace: &Trace) -> Vec<u8> {
        let mut text = Vec::new();
        trace.write(&mut text).unwrap();
        text
    }

    #[test]
    fn a_trace_survives_its_file() {
        let trace = sample();
        let text = json(&trace);
        assert_eq!(Trace::parse(&text).unwrap(), trace);
        assert!(String::from_utf8(text).unwrap().contains(r#"[2,"rename",2,1,0]"#));
    }

    #[test]
    fn a_trace_from_before_the_choice_has_its_looks() {
        let text = String::from_utf8(json(&sample())).unwrap();
        let old = text.replace(",\"looks_left_out\":true,\"heard\":true", "").replace("\"dirs\":[\"/\"],", "");
        assert!(!old.contains("looks") && !old.contains("dirs"), "{old}");
        let dirs = Vec::new();
        let old = Trace::parse(old.as_bytes()).unwrap();
        assert_eq!(old, Trace { looks_left_out: false, heard: false, dirs, ..sample() });
    }

    #[test]
    fn numbers_that_stand_for_nothing_are_refused() {
        let refused = |change: &dyn Fn(&mut Trace)| {
            let mut trace = sample();
            change(&mut trace);
            Trace::parse(&json(&trace)).is_err()
        };
        assert!(!refused(&|_| ()));
        assert!(refused(&|trace| trace.processes[1].actions[0].path = 3));
        assert!(refused(&|trace| trace.processes[1].actions[1].other = Some(3)));
        assert!(refused(&|trace| trace.processes[1].actions[0].content = Some(1)));
        assert!(refused(&|trace| trace.processes[1].parent = Some(1)));
        assert!(refused(&|trace| trace.processes[0].programs[0].cwd = 9));
        assert!(refused(&|trace| trace.processes[0].programs[0].env = 1));
    }
}
