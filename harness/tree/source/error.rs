//! Why a source cannot be had, and what to do about it.

use std::path::{Path, PathBuf};

use thiserror::Error;

/// Why a source cannot be had.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SourceError {
    /// A program of the host is not there.
    #[error("no `{program}` on the search path")]
    NoProgram {
        /// Its name.
        program: &'static str,
        /// Debian's package that has it.
        package: &'static str,
    },
    /// A program of the host could not be started.
    #[error("cannot run `{}`", program.display())]
    Spawn {
        /// Its path.
        program: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A call to the system failed.
    #[error("cannot {verb} `{}`", path.display())]
    Io {
        /// What was tried.
        verb: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// Not enough free space.
    #[error("`{}` needs {} MiB and has {} MiB free", path.display(), needed >> 20, free >> 20)]
    Disk {
        /// Where.
        path: PathBuf,
        /// Bytes.
        needed: u64,
        /// Bytes.
        free: u64,
    },
    /// Not enough free inodes.
    #[error("`{}` has {free} inodes free, a kernel has about 90000 files", path.display())]
    Inodes {
        /// Where.
        path: PathBuf,
        /// How many.
        free: u64,
    },
    /// The cache's path cannot be written in apt's configuration.
    #[error("apt cannot use the cache path `{}`", path.display())]
    CachePath {
        /// The path.
        path: PathBuf,
    },
    /// The system's apt has no entry of Debian's archive to derive others from.
    #[error("no entry for Debian's main archive in {}", list(looked))]
    NoDebianEntry {
        /// The files that were read.
        looked: Vec<PathBuf>,
    },
    /// No suite has the package.
    #[error("no `{package}`{} in: {}", version.as_ref().map(|v| format!(" version `{v}`")).unwrap_or_default(), looked.join(", "))]
    NotFound {
        /// The package.
        package: String,
        /// Its version, if one was asked for.
        version: Option<String>,
        /// Where it was looked for, with what came of it.
        looked: Vec<String>,
        /// What there is instead: series, or versions of this one.
        there: Vec<String>,
    },
    /// A suite does not have packages, or not all they depend on.
    #[error("cannot have `{packages}` from suite `{suite}`: {output}")]
    Closure {
        /// The packages.
        packages: String,
        /// The suite.
        suite: String,
        /// apt's words.
        output: String,
    },
    /// A tool's packages do not make a tool that runs.
    #[error("the packages of `{tool}` do not run: {why}")]
    NotATool {
        /// The tool and version.
        tool: String,
        /// What is missing.
        why: String,
    },
    /// A program that is to be a tool cannot be one.
    #[error("`{}` cannot be used: {why}", path.display())]
    NotAProgram {
        /// Where it is.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The archive cannot be reached.
    #[error("cannot reach the archive for `{suite}`: {output}")]
    Offline {
        /// The suite that was asked.
        suite: String,
        /// apt's last lines.
        output: String,
    },
    /// A download failed.
    #[error("cannot download `{uri}`: {output}")]
    Download {
        /// From where.
        uri: String,
        /// The command that failed.
        command: String,
        /// Its last lines.
        output: String,
    },
    /// A file is not the one that the signed index names.
    #[error("`{what}` has SHA-256 `{found}` instead of `{expected}`")]
    Checksum {
        /// What was read.
        what: String,
        /// From the index.
        expected: String,
        /// Of the file.
        found: String,
    },
    /// An archive holds what no source has.
    #[error("refused `{}`: {why}", what.display())]
    Unsafe {
        /// The archive or the file.
        what: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// An archive could not be read to its end.
    #[error("cannot unpack `{}`: {}", what.display(), if output.is_empty() { "it is empty" } else { output })]
    Unpack {
        /// The archive.
        what: PathBuf,
        /// The programs' last lines.
        output: String,
    },
    /// A path that does not exist or is something else.
    #[error("no {what} at `{}`", path.display())]
    NoSuch {
        /// The path.
        path: PathBuf,
        /// What was expected there.
        what: &'static str,
    },
    /// A directory that is no kernel source.
    #[error("`{}` is no kernel source: {missing}; another tree that make builds has `kind = \"make\"`", path.display())]
    NotATree {
        /// The directory.
        path: PathBuf,
        /// What is not there.
        missing: String,
    },
    /// A directory that was built in.
    #[error("`{}` is not clean: it has `{found}`", path.display())]
    Unclean {
        /// The directory.
        path: PathBuf,
        /// The trace of a build, relative.
        found: String,
    },
    /// A revision that the repository does not have.
    #[error("no commit `{rev}` in `{}`{}", repo.display(), if output.is_empty() { String::new() } else { format!(": {output}") })]
    GitRevision {
        /// The repository.
        repo: PathBuf,
        /// What was asked for.
        rev: String,
        /// git's last lines.
        output: String,
    },
    /// git does not bisect.
    #[error("git {what} of `{}`: {said}", repo.display())]
    GitBisect {
        /// The repository.
        repo: PathBuf,
        /// What it was to do.
        what: String,
        /// git's last lines.
        said: String,
    },
    /// A commit whose files the repository does not have, or has damaged.
    #[error("`{}` cannot be had from `{}`: {why}", path.display(), repo.display())]
    GitObject {
        /// The repository.
        repo: PathBuf,
        /// The file's path in the commit, or the commit itself.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// A cached source that is being built from.
    #[error("`{}` is in use", path.display())]
    Busy {
        /// The entry.
        path: PathBuf,
    },
    /// The source is part of the program.
    #[error("`{0}` is built in: there is nothing to fetch")]
    BuiltIn(String),
}

impl SourceError {
    pub(super) fn io(verb: &'static str, path: &Path, source: std::io::Error) -> Self {
        Self::Io { verb, path: path.into(), source }
    }

    /// The program's exit code for it: 2 when what was asked for is not there, 3 when the host cannot get it, 70 when
    /// something is wrong with us or the disk.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::NotFound { .. }
            | Self::Unsafe { .. }
            | Self::Unpack { .. }
            | Self::NoSuch { .. }
            | Self::NotATree { .. }
            | Self::Unclean { .. }
            | Self::GitRevision { .. }
            | Self::GitBisect { .. }
            | Self::GitObject { .. }
            | Self::BuiltIn(_) => 2,
            Self::NoProgram { .. }
            | Self::Disk { .. }
            | Self::Inodes { .. }
            | Self::CachePath { .. }
            | Self::NoDebianEntry { .. }
            | Self::Offline { .. }
            | Self::Download { .. }
            | Self::Checksum { .. }
            | Self::Closure { .. }
            | Self::NotATool { .. }
            | Self::NotAProgram { .. }
            | Self::Busy { .. } => 3,
            Self::Spawn { .. } | Self::Io { .. } => 70,
        }
    }

    /// What to do about it: the next command where there is one.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NoProgram { program: "apt-get" | "apt-config" | "apt-cache" | "apt-helper", .. } => {
                "`debian:` needs apt; name a tarball or a directory instead".into()
            }
            Self::NoProgram { package, .. } => format!("`apt-get install {package}`"),
            Self::Disk { path, .. } | Self::Inodes { path, .. } => {
                format!("make room in `{}`, or put the cache elsewhere with `--cache DIR`", path.display())
            }
            Self::CachePath { .. } => "choose a path without quotes and backslashes with `--cache DIR`".into(),
            Self::NoDebianEntry { .. } => {
                "add Debian's archive to the system's apt sources (sources.list(5)), or name a tarball instead".into()
            }
            Self::NotFound { there, .. } if !there.is_empty() => format!("there are: {}", there.join(", ")),
            Self::NotFound { .. } => "`apt-get update`, or name a tarball instead".into(),
            Self::Offline { .. } => {
                "check the network and apt's proxy, or name a tarball or a directory instead".into()
            }
            Self::Download { command, .. } => format!("run it by hand: `{command}`"),
            Self::Closure { .. } => "the archive may be changing or have moved on: try again later".into(),
            Self::NotATool { .. } => "`uname -m`: is this the architecture that apt takes packages for?".into(),
            Self::NotAProgram { path, .. } => format!("try it: `{} --version`", path.display()),
            Self::Checksum { .. } => "the mirror or a proxy alters files, or is being updated: try again later".into(),
            Self::Unsafe { .. } => "this is no kernel tarball; check where it came from".into(),
            Self::Unpack { what, .. } => format!("check the file: `tar -tf {}`", what.display()),
            Self::NoSuch { .. } => "check the path; a relative one starts at the scenario's directory".into(),
            Self::NotATree { .. } => "name the directory that has kbuild's top Makefile".into(),
            Self::Unclean { path, .. } => format!(
                "kbuild refuses O= with such a source: `make -C {} mrproper`, or use `git:{}@HEAD`",
                path.display(),
                path.display()
            ),
            Self::GitRevision { repo, rev, .. } => {
                format!("`git -C {} fetch --tags`, then `git -C {} rev-parse {rev}`", repo.display(), repo.display())
            }
            Self::GitBisect { .. } => "the good revision is to be an ancestor of the bad one, or of both the common \
                                       ancestor has to be good"
                .into(),
            Self::GitObject { repo, .. } => format!(
                "`git -C {} fsck` tells a damaged repository; a partial clone gets what it lacks by \
                 `git fetch --refetch --no-filter`",
                repo.display()
            ),
            Self::Busy { .. } => "try again when the runs that use it have ended".into(),
            Self::BuiltIn(_) | Self::Spawn { .. } | Self::Io { .. } => return None,
        })
    }
}

fn list(paths: &[PathBuf]) -> String {
    if paths.is_empty() {
        return "any file".into();
    }
    paths.iter().map(|p| format!("`{}`", p.display())).collect::<Vec<_>>().join(", ")
}
