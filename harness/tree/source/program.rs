//! Running the host's programs: found on a search path that is a value, not in this process's environment.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::SourceError;

/// The environment programs are found and run in.
#[derive(Debug, Clone)]
pub(super) struct Programs {
    env: BTreeMap<OsString, OsString>,
}

impl Programs {
    pub(super) fn new(mut env: BTreeMap<OsString, OsString>) -> Self {
        // A caller's GIT_DIR, TAR_OPTIONS or XZ_DEFAULTS would change what the commands below mean.
        env.retain(|name, _| {
            let name = name.to_string_lossy();
            !name.starts_with("GIT_")
                && !matches!(
                    &*name,
                    "TAR_OPTIONS" | "XZ_OPT" | "XZ_DEFAULTS" | "GZIP" | "BZIP" | "BZIP2" | "APT_CONFIG"
                )
        });
        // Messages are recognised below, and output is parsed.
        env.retain(|name, _| !name.to_string_lossy().starts_with("LC_") && name != "LANGUAGE");
        env.insert("LC_ALL".into(), "C".into());
        Self { env }
    }

    pub(super) fn find(&self, name: &str) -> Option<PathBuf> {
        std::env::split_paths(self.env.get(OsStr::new("PATH"))?)
            .filter(|dir| dir.is_absolute())
            .map(|dir| dir.join(name))
            .find(|p| p.metadata().is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0))
    }

    /// A command that reads nothing; `package` is Debian's name of what has it.
    pub(super) fn command(&self, name: &'static str, package: &'static str) -> Result<Command, SourceError> {
        let path = self.find(name).ok_or(SourceError::NoProgram { program: name, package })?;
        Ok(self.command_at(&path))
    }

    pub(super) fn command_at(&self, path: &Path) -> Command {
        let mut command = Command::new(path);
        command.env_clear().envs(&self.env).stdin(Stdio::null());
        command
    }
}

/// What a short command said.
pub(super) struct Said {
    pub(super) success: bool,
    pub(super) stdout: String,
    /// The end of standard error.
    pub(super) stderr: String,
}

/// Runs a command whose output is small.
pub(super) fn run(command: &mut Command) -> Result<Said, SourceError> {
    let (success, stdout, stderr) = output(command)?;
    Ok(Said { success, stdout: String::from_utf8_lossy(&stdout).into_owned(), stderr })
}

/// Whether a command succeeded, its whole output, byte for byte, and the end of what it said beside it.
pub(super) fn output(command: &mut Command) -> Result<(bool, Vec<u8>, String), SourceError> {
    let out = command.output().map_err(|source| SourceError::Spawn { program: program_of(command), source })?;
    Ok((out.status.success(), out.stdout, tail(&String::from_utf8_lossy(&out.stderr))))
}

/// The program's path, for messages.
pub(super) fn program_of(command: &Command) -> PathBuf {
    command.get_program().into()
}

/// The whole command, quoted so that a shell takes it back.
pub(super) fn shown(command: &Command) -> String {
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| {
            let word = word.to_string_lossy();
            let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:+~@,%^".contains(c);
            if !word.is_empty() && word.chars().all(plain) {
                word.into_owned()
            } else {
                format!("'{}'", word.replace('\'', r"'\''"))
            }
        })
        .collect::<Vec<_>>()
        .join(" ")
}

/// The last lines of a program's output: enough to see the cause, short enough for a message.
pub(super) fn tail(text: &str) -> String {
    let lines: Vec<_> = text.trim_end().lines().collect();
    lines[lines.len().saturating_sub(12)..].join("\n")
}

/// A file for a child's standard error: with several children at once a pipe would have to be read by a thread.
pub(super) struct ErrorFile(File);

impl ErrorFile {
    pub(super) fn new(dir: &Path) -> Result<Self, SourceError> {
        tempfile::tempfile_in(dir).map(Self).map_err(|e| SourceError::io("create a temporary file in", dir, e))
    }

    pub(super) fn stdio(&self) -> Result<Stdio, SourceError> {
        let file = self.0.try_clone().map_err(|e| SourceError::io("duplicate", Path::new("stderr"), e))?;
        Ok(file.into())
    }

    /// The last of it; a hostile archive can make tar write without end.
    pub(super) fn text(mut self) -> String {
        const MOST: u64 = 16 * 1024;
        let mut bytes = Vec::new();
        let length = self.0.metadata().map_or(0, |m| m.len());
        if self.0.seek(SeekFrom::Start(length.saturating_sub(MOST))).is_ok() {
            // A message that cannot be read back is missing, no more.
            let _ = self.0.take(MOST).read_to_end(&mut bytes);
        }
        tail(&String::from_utf8_lossy(&bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(path: &str) -> BTreeMap<OsString, OsString> {
        [("PATH", path), ("GIT_DIR", "/x"), ("LC_MESSAGES", "de_DE"), ("http_proxy", "p")]
            .into_iter()
            .map(|(k, v)| (k.into(), v.into()))
            .collect()
    }

    #[test]
    fn finds_only_executables_on_the_given_path() {
        let dir = tempfile::tempdir().expect("tempdir");
        std::fs::write(dir.path().join("tool"), "").expect("write");
        let programs = Programs::new(env(&format!("relative:{}", dir.path().display())));
        assert_eq!(programs.find("tool"), None);
        std::fs::set_permissions(dir.path().join("tool"), PermissionsExt::from_mode(0o755)).expect("chmod");
        assert_eq!(programs.find("tool"), Some(dir.path().join("tool")));
        assert!(programs.command("no-such-tool", "pkg").is_err());
    }

    #[test]
    fn environment_is_clean() {
        let programs = Programs::new(env("/usr/bin:/bin"));
        let said = run(&mut programs.command("env", "coreutils").expect("env")).expect("run");
        assert_eq!(said.stdout, "LC_ALL=C\nPATH=/usr/bin:/bin\nhttp_proxy=p\n");
    }

    #[test]
    fn commands_are_shown_quoted() {
        let mut c = Command::new("/bin/echo");
        c.args(["a b", "", "it's", "v6.12^{commit}"]);
        assert_eq!(shown(&c), r"/bin/echo 'a b' '' 'it'\''s' 'v6.12^{commit}'");
    }

    #[test]
    fn tails_are_short() {
        let text = (0..100).map(|i| format!("{i}\n")).collect::<String>();
        assert!(tail(&text).starts_with("88\n"));
        assert_eq!(tail(""), "");
    }
}
