//! One revision of a local repository, without its `.git`.

use std::path::Path;
use std::process::Command;

use super::program::{Programs, run};
use super::{GitSource, SourceError};

/// `git` on the repository. A caller's `GIT_*` is not passed on; nothing is fetched and nothing asked, and an object is what
/// its id says, whatever git-replace(1) put in its place.
pub(super) fn git(programs: &Programs, repo: &Path) -> Result<Command, SourceError> {
    let mut command = programs.command("git", "git")?;
    command.env("GIT_TERMINAL_PROMPT", "0").env("GIT_NO_LAZY_FETCH", "1").env("GIT_OPTIONAL_LOCKS", "0");
    command.env("GIT_NO_REPLACE_OBJECTS", "1");
    command.arg("-C").arg(repo);
    Ok(command)
}

/// The commit id of a revision.
pub(super) fn commit(programs: &Programs, source: &GitSource) -> Result<String, SourceError> {
    // `git -C ''` would mean the current directory, `git -C missing` complains about a directory only.
    if !source.repo.is_dir() {
        return Err(SourceError::NoSuch { path: source.repo.clone(), what: "git repository" });
    }
    // A revision never begins with `-` here: it would be read as an option; the parser refuses it, and so do we.
    if source.rev.starts_with('-') {
        return Err(SourceError::GitRevision {
            repo: source.repo.clone(),
            rev: source.rev.clone(),
            output: String::new(),
        });
    }
    let said = run(git(programs, &source.repo)?
        .args(["rev-parse", "--verify", "--quiet"])
        .arg(format!("{}^{{commit}}", source.rev)))?;
    let id = said.stdout.trim();
    let is_id = (id.len() == 40 || id.len() == 64) && id.bytes().all(|b| b.is_ascii_hexdigit());
    if said.success && is_id {
        return Ok(id.to_owned());
    }
    Err(SourceError::GitRevision { repo: source.repo.clone(), rev: source.rev.clone(), output: said.stderr })
}

/// A command that writes the tree of a commit to its standard output as tar. Attributes and tar settings outside the
/// commit do not count.
pub(super) fn archive(programs: &Programs, repo: &Path, commit: &str) -> Result<Command, SourceError> {
    let mut command = git(programs, repo)?;
    command.args(["-c", "core.attributesFile=/dev/null", "-c", "tar.umask=0022"]);
    command.args(["archive", "--format=tar", "--prefix=linux/", commit]);
    Ok(command)
}
