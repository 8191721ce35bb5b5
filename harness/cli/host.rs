//! The host, captured once: everything below `cli` gets it as values and asks neither the environment nor the path.

mod tools;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::IsTerminal;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rayon::prelude::*;
use serde::Serialize;
use thiserror::Error;

use crate::runner::pinned_environment;

pub use tools::{Need, Probe, TOOLS, Tool, Weight};

/// A tool that is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ToolInfo {
    /// The program or header, not resolved: a wrapper stays a wrapper.
    pub path: PathBuf,
    /// As it says it, e.g. `1.24` or `12.2.0`; empty when it says nothing that looks like one.
    pub version: String,
    /// What of it names a snapshot variant, e.g. `1.24` or `12`.
    pub version_key: String,
}

/// A tool's [`Tool::name`].
pub type ToolName = &'static str;

/// A tool that is not there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Missing {
    /// Its name.
    pub tool: ToolName,
    /// The package on this host, or Debian's where the package manager is not known.
    pub package: &'static str,
    /// What it does in a build.
    pub why: &'static str,
    /// What cannot be done without it, of what was asked for.
    pub costs: Vec<&'static str>,
    /// How much it is needed.
    pub weight: Weight,
}

/// os-release(5).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct OsRelease {
    /// `debian`.
    pub id: String,
    /// `debian` on a derivative of it.
    pub id_like: Vec<String>,
    /// `12`; empty on rolling releases.
    pub version_id: String,
    /// `Debian GNU/Linux 12 (bookworm)`.
    pub pretty: String,
}

/// Who installs packages here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PackageManager {
    /// Debian and its derivatives.
    Apt,
    /// Fedora and its relatives.
    Dnf,
    /// openSUSE.
    Zypper,
    /// Arch.
    Pacman,
    /// Alpine.
    Apk,
}

impl PackageManager {
    /// The command that installs, without packages.
    #[must_use]
    pub fn install(self) -> &'static [&'static str] {
        match self {
            Self::Apt => &["apt-get", "install", "-y", "--no-install-recommends"],
            Self::Dnf => &["dnf", "install", "-y"],
            Self::Zypper => &["zypper", "--non-interactive", "install"],
            Self::Pacman => &["pacman", "-S", "--needed", "--noconfirm"],
            Self::Apk => &["apk", "add"],
        }
    }
}

impl OsRelease {
    /// Reads the file's text; unknown keys are ignored, absent ones empty.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let get = |name: &str| {
            let value = text.lines().find_map(|l| l.trim().strip_prefix(name)?.strip_prefix('='));
            let value = value.unwrap_or_default().trim();
            let inner = ['"', '\''].iter().find_map(|&q| value.strip_prefix(q)?.strip_suffix(q));
            inner.unwrap_or(value).to_owned()
        };
        Self {
            id: get("ID"),
            id_like: get("ID_LIKE").split_whitespace().map(str::to_owned).collect(),
            version_id: get("VERSION_ID"),
            pretty: get("PRETTY_NAME"),
        }
    }

    /// By the distribution or the one it is like.
    #[must_use]
    pub fn package_manager(&self) -> Option<PackageManager> {
        std::iter::once(&self.id).chain(&self.id_like).find_map(|id| match id.as_str() {
            "debian" | "ubuntu" => Some(PackageManager::Apt),
            "fedora" | "rhel" | "centos" => Some(PackageManager::Dnf),
            "suse" | "opensuse" | "sles" => Some(PackageManager::Zypper),
            id if id.starts_with("opensuse") => Some(PackageManager::Zypper),
            "arch" => Some(PackageManager::Pacman),
            "alpine" => Some(PackageManager::Apk),
            _ => None,
        })
    }
}

/// Where things live, see the XDG base directory specification.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Paths {
    /// Run records: `$XDG_STATE_HOME/kbuild-repro`.
    pub state: PathBuf,
    /// Sources and results that can be had again: `$XDG_CACHE_HOME/kbuild-repro`.
    pub cache: PathBuf,
    /// The parent of scratch directories: `$TMPDIR` or `/tmp`.
    pub scratch: PathBuf,
    /// `$XDG_RUNTIME_DIR`, where there is one.
    pub runtime: Option<PathBuf>,
    /// Why a path is not the usual one; for `doctor`.
    pub notes: Vec<String>,
}

/// Standard error, as far as it matters to what is written there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Terminal {
    /// Whether it is one.
    pub is_terminal: bool,
    /// Its width in columns, 80 where unknown.
    pub columns: u16,
}

/// The host as it was when the program started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// The environment, sorted.
    pub env: BTreeMap<OsString, OsString>,
    /// The current directory.
    pub cwd: PathBuf,
    /// This program.
    pub exe: PathBuf,
    /// The effective user id.
    pub uid: u32,
    /// Whether that is 0.
    pub is_root: bool,
    /// Processors this process may use.
    pub cpus: usize,
    /// The distribution.
    pub os_release: OsRelease,
    /// Every tool of [`TOOLS`]; empty if they were not asked.
    pub tools: BTreeMap<ToolName, Option<ToolInfo>>,
    /// The machine as uname(2) names it, e.g. `x86_64`.
    pub arch: String,
    /// The running kernel's release.
    pub kernel: String,
    /// Where things live.
    pub paths: Paths,
    /// Standard error.
    pub terminal: Terminal,
    /// Where headers are looked for.
    pub include_dirs: Vec<PathBuf>,
    /// Where builds look for programs, whatever `PATH` this process has.
    pub builds_path: OsString,
}

/// Why the host cannot be captured.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum HostError {
    /// The current directory is gone or not readable.
    #[error("no current directory")]
    Cwd(#[source] std::io::Error),
    /// This program's own path is not known: no `/proc`.
    #[error("cannot find this program's own path")]
    Exe(#[source] std::io::Error),
    /// A directory of ours belongs to someone else or is a link.
    #[error("`{}` is not a directory of user `{uid}`", path.display())]
    NotOurs {
        /// The directory.
        path: PathBuf,
        /// Whose it should be.
        uid: u32,
    },
    /// A directory of ours cannot be made.
    #[error("cannot create `{}`", path.display())]
    Create {
        /// The directory.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
}

impl HostError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Cwd(_) => "`cd` to a directory that exists".into(),
            Self::Exe(_) => "mount /proc".into(),
            Self::NotOurs { path, .. } => {
                format!("look at it: `ls -ld {}`; or choose places with `--out DIR` and `--cache DIR`", path.display())
            }
            Self::Create { .. } => "choose places with `--out DIR` and `--cache DIR`".into(),
        }
    }
}

impl Host {
    /// Captures the host; asks every tool its version, all at once.
    ///
    /// # Errors
    /// No current directory, or no `/proc`.
    pub fn capture() -> Result<Self, HostError> {
        Self::capture_without_tools().map(Self::with_tools)
    }

    /// Captures the host but for [`Host::tools`], for commands that run none: to start thirty programs takes longer
    /// than what such a command does.
    ///
    /// # Errors
    /// No current directory, or no `/proc`.
    pub fn capture_without_tools() -> Result<Self, HostError> {
        let env: BTreeMap<OsString, OsString> = std::env::vars_os().collect();
        let uid = rustix::process::geteuid().as_raw();
        let uname = rustix::system::uname();
        let arch = uname.machine().to_string_lossy().into_owned();
        let os_release = ["/etc/os-release", "/usr/lib/os-release"]
            .iter()
            .find_map(|p| fs::read_to_string(p).ok())
            .map(|text| OsRelease::parse(&text))
            .unwrap_or_default();
        let home = env
            .get(OsStr::new("HOME"))
            .map(PathBuf::from)
            .or_else(|| home_of(uid, &fs::read_to_string("/etc/passwd").unwrap_or_default()));
        let include_dirs = vec![
            "/usr/local/include".into(),
            "/usr/include".into(),
            // https://wiki.debian.org/Multiarch/Tuples: gcc's own triplet but for the i386 family.
            PathBuf::from(format!("/usr/include/{}-linux-gnu", if arch == "i686" { "i386" } else { &arch })),
        ];
        let columns = rustix::termios::tcgetwinsize(rustix::stdio::stderr()).map_or(0, |w| w.ws_col);
        Ok(Self {
            cwd: std::env::current_dir().map_err(HostError::Cwd)?,
            exe: std::env::current_exe().map_err(HostError::Exe)?,
            uid,
            is_root: uid == 0,
            cpus: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            os_release,
            tools: BTreeMap::new(),
            arch,
            kernel: uname.release().to_string_lossy().into_owned(),
            paths: paths(&env, home.as_deref(), uid, &writable),
            terminal: Terminal {
                is_terminal: std::io::stderr().is_terminal(),
                columns: if columns == 0 { 80 } else { columns },
            },
            include_dirs,
            builds_path: pinned_environment().remove("PATH").unwrap_or_default().into(),
            env,
        })
    }

    /// The same host with its tools looked for again, as after an installation.
    #[must_use]
    pub fn with_tools(mut self) -> Self {
        let found: Vec<_> = TOOLS.par_iter().map(|tool| (tool.name, self.probe(tool))).collect();
        self.tools = found.into_iter().collect();
        self
    }

    /// A program on the captured search path.
    #[must_use]
    pub fn find(&self, program: &str) -> Option<PathBuf> {
        let fallback = OsString::from("/usr/local/bin:/usr/bin:/bin");
        Self::find_on(self.env.get(OsStr::new("PATH")).unwrap_or(&fallback), program)
    }

    /// A program on the search path that every build gets, whatever the user's own is.
    #[must_use]
    pub fn find_for_builds(&self, program: &str) -> Option<PathBuf> {
        Self::find_on(&self.builds_path, program)
    }

    fn find_on(path: &OsStr, program: &str) -> Option<PathBuf> {
        let dirs: Vec<PathBuf> = std::env::split_paths(path).filter(|d| d.is_absolute()).collect();
        // Ordinary users have no `sbin` on theirs; kbuild looks there too (scripts/depmod.sh).
        let sbin = dirs.iter().filter(|d| d.ends_with("bin")).map(|d| d.with_file_name("sbin"));
        dirs.iter()
            .cloned()
            .chain(sbin)
            .map(|d| d.join(program))
            .find(|p| p.metadata().is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0))
    }

    /// A command with the captured environment, which reads nothing and speaks English.
    #[must_use]
    pub fn command(&self, path: &Path) -> Command {
        let mut command = Command::new(path);
        command.env_clear().envs(&self.env).env("LC_ALL", "C").env_remove("LANGUAGE").stdin(Stdio::null());
        command
    }

    /// The version that a program says when it is started with these arguments.
    fn version_of(&self, program: &Path, args: &[&str]) -> Option<String> {
        version_in(&self.said_by(program, args)?).map(str::to_owned)
    }

    /// The version that a program of the user's says, if it says it as the tool `name` does: another program has one too.
    pub(super) fn version_of_own(&self, name: &str, program: &Path) -> Option<String> {
        let said = self.said_by(program, &["--version"])?;
        version_in(&said).filter(|_| says_as(name, &said)).map(str::to_owned)
    }

    fn said_by(&self, program: &Path, args: &[&str]) -> Option<String> {
        let out = self.command(program).args(args).output().ok()?;
        Some(String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned())
    }

    fn probe(&self, tool: &Tool) -> Option<ToolInfo> {
        let (path, version) = match tool.probe {
            Probe::Program(args) => {
                let path = if tool.is_for_builds() { self.find_for_builds(tool.name) } else { self.find(tool.name) }?;
                // One that does not run is there all the same: what it lacks shows when it is used.
                let version = self.version_of(&path, args);
                (path, version)
            }
            Probe::Header { header, version } => {
                let find = |name: &str| self.include_dirs.iter().map(|d| d.join(name)).find(|p| p.is_file());
                let version = version.and_then(|(file, name)| {
                    let text = fs::read(find(file)?).ok()?;
                    macro_in(&String::from_utf8_lossy(&text), name)
                });
                (find(header)?, version)
            }
        };
        let version = version.unwrap_or_default();
        Some(ToolInfo { path, version_key: version_key(&version, tool.key), version })
    }

    /// The version key of a tool that is there, e.g. `1.24`.
    #[must_use]
    pub fn version_key(&self, tool: &str) -> Option<&str> {
        Some(self.tools.get(tool)?.as_ref()?.version_key.as_str())
    }
}

/// What is not there of what is needed, in the order of [`TOOLS`].
#[must_use]
pub fn missing(host: &Host, needs: &[Need]) -> Vec<Missing> {
    let manager = host.os_release.package_manager().unwrap_or(PackageManager::Apt);
    TOOLS
        .iter()
        .filter(|tool| host.tools.get(tool.name).is_none_or(Option::is_none))
        .filter_map(|tool| {
            let costs: Vec<_> =
                Need::ALL.iter().filter(|n| needs.contains(n) && tool.needs.contains(n)).map(|n| n.costs()).collect();
            (!costs.is_empty()).then(|| Missing {
                tool: tool.name,
                package: tool.packages[manager as usize],
                why: tool.why,
                costs,
                weight: tool.weight,
            })
        })
        .collect()
}

/// Makes a directory that only this user can enter, as one in `/tmp` has to be, or checks that it is one.
///
/// # Errors
/// When it cannot be made, is a link, or belongs to someone else.
pub fn private_dir(path: &Path, uid: u32) -> Result<(), HostError> {
    let create = |source| HostError::Create { path: path.into(), source };
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(create)?;
    let meta = path.symlink_metadata().map_err(create)?;
    if meta.is_dir() && meta.uid() == uid && meta.mode() & 0o022 == 0 {
        return Ok(());
    }
    Err(HostError::NotOurs { path: path.into(), uid })
}

/// The home directory in passwd(5).
fn home_of(uid: u32, passwd: &str) -> Option<PathBuf> {
    passwd.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        (fields.get(2)?.parse() == Ok(uid)).then(|| fields.get(5).map(PathBuf::from))?
    })
}

/// Whether something can be made at `path`: its nearest parent that exists lets us write.
fn writable(path: &Path) -> bool {
    let existing = path.ancestors().find(|a| a.exists());
    existing.is_some_and(|dir| {
        dir.is_dir() && rustix::fs::access(dir, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK).is_ok()
    })
}

/// Pure but for `writable`. The specification has relative values ignored.
fn paths(env: &BTreeMap<OsString, OsString>, home: Option<&Path>, uid: u32, writable: &dyn Fn(&Path) -> bool) -> Paths {
    let mut notes = Vec::new();
    let mut absolute = |name: &str| {
        let value = PathBuf::from(env.get(OsStr::new(name)).filter(|v| !v.is_empty())?);
        if value.is_absolute() {
            return Some(value);
        }
        notes.push(format!("`{name}` is relative and ignored: `{}`", value.display()));
        None
    };
    let (state, cache) = (absolute("XDG_STATE_HOME"), absolute("XDG_CACHE_HOME"));
    let scratch = absolute("TMPDIR").unwrap_or_else(|| "/tmp".into());
    let runtime = absolute("XDG_RUNTIME_DIR");
    let home = home.filter(|h| h.is_absolute());
    let mut place = |given: Option<PathBuf>, below_home: &str, what: &str| {
        let usual = given.or_else(|| Some(home?.join(below_home))).map(|p| p.join("kbuild-repro"));
        match usual {
            Some(path) if writable(&path) => path,
            other => {
                let instead = scratch.join(format!("kbuild-repro-{uid}")).join(what);
                let why = match other {
                    Some(path) => format!("`{}` is not writable", path.display()),
                    None => "no home directory".into(),
                };
                notes.push(format!("{why}: {what} is in `{}`", instead.display()));
                instead
            }
        }
    };
    let state = place(state, ".local/state", "state");
    let cache = place(cache, ".cache", "cache");
    Paths { state, cache, scratch, runtime, notes }
}

/// The first word of a version message that looks like a version; what is in parentheses is the packager's.
fn version_in(output: &str) -> Option<&str> {
    let line = output.lines().find(|l| !l.trim().is_empty())?;
    let mut depth = 0_u32;
    for word in line.split_whitespace() {
        let inside = depth > 0 || word.starts_with('(');
        depth += u32::try_from(word.matches('(').count()).unwrap_or(0);
        depth = depth.saturating_sub(u32::try_from(word.matches(')').count()).unwrap_or(0));
        if inside {
            continue;
        }
        let word = word.strip_prefix('v').unwrap_or(word);
        let end = word.find(['(', ',', ';']).unwrap_or(word.len());
        let word = word[..end].trim_end_matches('.');
        if word.starts_with(|c: char| c.is_ascii_digit()) {
            return Some(word);
        }
    }
    None
}

/// Whether a version message is that of a tool: `GNU Make 4.4.1` and what follows, or `v1.30` alone, which is all that
/// pahole says (dwarves' `dwarves_print_version`).
fn says_as(name: &str, said: &str) -> bool {
    match name {
        "make" => said.contains("GNU Make"),
        "pahole" => said.trim().strip_prefix('v').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit())),
        _ => true,
    }
}

/// The value of a C macro, without quotes.
fn macro_in(text: &str, name: &str) -> Option<String> {
    text.lines().find_map(|line| {
        let rest = line.trim().strip_prefix('#')?.trim_start().strip_prefix("define")?.trim_start();
        let value = rest.strip_prefix(name)?;
        value.starts_with([' ', '\t']).then(|| value.trim().trim_matches('"').to_owned())
    })
}

/// The first `numbers` numbers of a version.
fn version_key(version: &str, numbers: usize) -> String {
    version
        .split(['.', '-', '+', '~'])
        .take_while(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()))
        .take(numbers)
        .collect::<Vec<_>>()
        .join(".")
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A host of which nothing is taken from the machine but what is on `path`.
    pub(in crate::cli) fn fake(path: &Path, include: &Path) -> Host {
        let env = [(OsString::from("PATH"), path.as_os_str().to_owned())].into();
        Host {
            paths: paths(&env, Some(path), 1000, &|_| true),
            env,
            cwd: "/".into(),
            exe: "/kbuild-repro".into(),
            uid: 1000,
            is_root: false,
            cpus: 2,
            os_release: OsRelease::parse("ID=debian\nVERSION_ID=\"12\"\nPRETTY_NAME='Debian 12'\n"),
            tools: BTreeMap::new(),
            arch: "x86_64".into(),
            kernel: "6.1.0".into(),
            terminal: Terminal { is_terminal: false, columns: 80 },
            include_dirs: vec![include.into()],
            builds_path: path.into(),
        }
    }

    /// Written by a child, so that no fork of this process holds it open for writing when it is executed.
    fn script(dir: &Path, name: &str, text: &str) {
        let done = Command::new("sh")
            .args(["-c", "printf '#!/bin/sh\\n%s\\n' \"$1\" >\"$0\"; chmod +x \"$0\""])
            .arg(dir.join(name))
            .arg(text)
            .status();
        assert!(done.expect("sh").success());
    }

    #[test]
    fn another_program_is_told_from_the_tool() {
        assert!(says_as("pahole", "v1.30\n") && says_as("make", "GNU Make 4.4.1\nBuilt for x86_64-pc-linux-gnu\n"));
        assert!(
            !says_as("pahole", "true (GNU coreutils) 9.1\n") && !says_as("make", "v1.30\n") && !says_as("pahole", "")
        );
    }

    #[test]
    fn versions_as_tools_say_them() {
        for (said, version, key) in [
            ("GNU Make 4.3\nBuilt for x86_64\n", "4.3", "4.3"),
            ("12.2.0\n", "12.2.0", "12.2"),
            ("gcc (Debian 12.2.0-14+deb12u1) 12.2.0\n", "12.2.0", "12.2"),
            ("GNU ld (GNU Binutils for Debian) 2.40\n", "2.40", "2.40"),
            ("GNU ld version 2.41-34.fc40\n", "2.41-34.fc40", "2.41"),
            ("v1.24\n", "1.24", "1.24"),
            ("kmod version 30\n", "30", "30"),
            ("GNU Awk 5.2.1, API 3.2\n", "5.2.1", "5.2"),
            ("mawk 1.3.4 20200120\n", "1.3.4", "1.3"),
            ("rsync  version 3.2.7  protocol version 31\n", "3.2.7", "3.2"),
            ("Debian 'dpkg-deb' package archive backend version 1.21.22 (amd64).\n", "1.21.22", "1.21"),
            ("GNU bash, version 5.2.15(1)-release (x)\n", "5.2.15", "5.2"),
            ("OpenSSL 3.0.16 11 Feb 2025 (Library: OpenSSL 3.0.16)\n", "3.0.16", "3.0"),
        ] {
            assert_eq!(version_in(said), Some(version), "{said}");
            assert_eq!(version_key(version, 2), key, "{said}");
        }
        assert_eq!(version_in("usage: awk [-F fs]\n"), None);
        assert_eq!(version_key("12.2.0", 1), "12");
        assert_eq!(version_key("", 2), "");
        assert_eq!(macro_in("# define  V_STR \"3.0.16\"\n", "V_STR").as_deref(), Some("3.0.16"));
        assert_eq!(macro_in("#define V_STRING 1\n", "V_STR"), None);
    }

    #[test]
    fn xdg_places() {
        let env = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| (k.into(), v.into())).collect();
        let yes = |_: &Path| true;
        let p = paths(&env(&[]), Some(Path::new("/h")), 7, &yes);
        assert_eq!((p.state, p.cache), ("/h/.local/state/kbuild-repro".into(), "/h/.cache/kbuild-repro".into()));
        assert_eq!((p.scratch, p.runtime, p.notes.len()), ("/tmp".into(), None, 0));
        let p = paths(
            &env(&[("XDG_STATE_HOME", "rel"), ("XDG_CACHE_HOME", "/c"), ("TMPDIR", "")]),
            Some(Path::new("/h")),
            7,
            &yes,
        );
        assert_eq!((p.state, p.cache), ("/h/.local/state/kbuild-repro".into(), "/c/kbuild-repro".into()));
        assert!(p.notes[0].contains("`XDG_STATE_HOME`"), "{:?}", p.notes);
        let p = paths(&env(&[("TMPDIR", "/t")]), None, 7, &yes);
        assert_eq!((p.state, p.notes.len()), ("/t/kbuild-repro-7/state".into(), 2));
        let p = paths(&env(&[]), Some(Path::new("/nonexistent")), 7, &|p| !p.starts_with("/nonexistent"));
        assert_eq!(p.cache, Path::new("/tmp/kbuild-repro-7/cache"));
        assert!(p.notes[1].contains("not writable"), "{:?}", p.notes);
        assert_eq!(home_of(7, "root:x:0:0:r:/root:/bin/sh\nu:x:7:7::/home/u:/bin/sh\n"), Some("/home/u".into()));
    }

    #[test]
    fn private_directories() {
        let dir = tempfile::tempdir().expect("tempdir");
        let uid = rustix::process::geteuid().as_raw();
        private_dir(&dir.path().join("a/b"), uid).expect("made");
        private_dir(&dir.path().join("a/b"), uid).expect("again");
        std::os::unix::fs::symlink("a", dir.path().join("l")).expect("symlink");
        for (path, uid) in [("l", uid), ("a", uid + 1)] {
            assert!(matches!(private_dir(&dir.path().join(path), uid), Err(HostError::NotOurs { .. })), "{path}");
        }
        fs::set_permissions(dir.path().join("a"), PermissionsExt::from_mode(0o777)).expect("chmod");
        assert!(private_dir(&dir.path().join("a"), uid).is_err(), "others can write there");
    }

    #[test]
    fn distributions() {
        let of = |t: &str| OsRelease::parse(t).package_manager();
        assert_eq!(of("ID=debian\n"), Some(PackageManager::Apt));
        assert_eq!(of("ID=linuxmint\nID_LIKE=\"ubuntu debian\"\n"), Some(PackageManager::Apt));
        assert_eq!(of("ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\n"), Some(PackageManager::Dnf));
        assert_eq!(of("ID=\"opensuse-tumbleweed\"\nID_LIKE=\"opensuse suse\"\n"), Some(PackageManager::Zypper));
        assert_eq!(of("ID=arch\n"), Some(PackageManager::Pacman));
        assert_eq!(of("ID=alpine\n"), Some(PackageManager::Apk));
        assert_eq!(of(""), None);
        assert_eq!(OsRelease::parse("VERSION_ID='12'\n").version_id, "12");
    }

    #[test]
    fn tools_are_found_where_who_runs_them_looks() {
        let dir = tempfile::tempdir().expect("tempdir");
        let (bin, include) = (dir.path().join("bin"), dir.path().join("include"));
        fs::create_dir_all(&bin).expect("mkdir");
        fs::create_dir_all(include.join("elfutils")).expect("mkdir");
        script(&bin, "make", "echo GNU Make 4.3");
        script(&bin, "pahole", "echo v1.24");
        script(&bin, "gcc", "exit 1");
        fs::write(include.join("gelf.h"), "").expect("write");
        fs::write(include.join("elfutils/version.h"), "#define _ELFUTILS_VERSION 188\n").expect("write");
        // What is first on the user's own path is not what builds run.
        let own = dir.path().join("own");
        fs::create_dir_all(&own).expect("mkdir");
        script(&own, "make", "echo GNU Make 3.81");
        script(&own, "git", "echo git version 2.1");
        let mut host = fake(&bin, &include);
        host.env.insert("PATH".into(), own.into());
        let host = host.with_tools();
        assert_eq!(host.version_key("git"), Some("2.1"));
        assert_eq!(host.version_key("make"), Some("4.3"));
        assert_eq!(host.version_key("pahole"), Some("1.24"));
        assert_eq!(host.version_key("gelf.h"), Some("188"));
        assert_eq!(host.version_key("gcc"), Some(""), "there, but says nothing");
        assert_eq!(host.tools.len(), TOOLS.len());
        let gone: Vec<_> = missing(&host, &[Need::Mini]).into_iter().map(|m| m.package).collect();
        assert_eq!(gone, ["binutils", "binutils", "binutils", "mawk", "sed"]);
        assert!(missing(&host, &[Need::MiniBtf]).is_empty());
        let kernel = missing(&host, &[Need::Kernel, Need::Tarball]);
        let tar = kernel.iter().find(|m| m.tool == "tar").expect("tar");
        assert_eq!(tar.costs, ["no sources from tarballs"]);
    }

    #[test]
    fn the_table_is_sound() {
        let mut names: Vec<_> = TOOLS.iter().map(|t| t.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), TOOLS.len(), "a tool is named twice");
        for need in Need::ALL {
            assert!(TOOLS.iter().any(|t| t.needs.contains(&need)), "{need:?} needs nothing");
        }
    }

    #[test]
    fn this_host() {
        let host = Host::capture().expect("capture");
        assert!(host.cpus >= 1 && host.cwd.is_absolute() && !host.arch.is_empty());
        assert!(host.paths.state.is_absolute() && host.paths.cache.is_absolute());
    }
}
