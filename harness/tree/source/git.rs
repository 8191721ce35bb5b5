//! One revision of a local repository, without its `.git`.

use std::path::{Path, PathBuf};
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

/// Whether a revision is there and has this file.
pub(super) fn has(programs: &Programs, source: &GitSource, file: &str) -> bool {
    let object = |id: String| run(git(programs, &source.repo)?.args(["cat-file", "-e"]).arg(format!("{id}:{file}")));
    commit(programs, source).and_then(object).is_ok_and(|said| said.success)
}

/// What git says of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GitChange {
    /// The top of the work tree, or the bare repository.
    pub repo: PathBuf,
    /// The commit that is changed.
    pub base: String,
    /// The change, as `git diff` writes it.
    pub patch: String,
    /// The subject of the commit that makes it, where it is one commit.
    pub subject: Option<String>,
}

/// The change from one commit to another (`A..B`), or from one to the work tree (`A`). Nothing of a user's settings counts.
pub(super) fn change(programs: &Programs, dir: &Path, range: &str) -> Result<GitChange, SourceError> {
    let (from, to) = match range.split_once("..") {
        Some((from, to)) => (from, Some(to)),
        None => (range, None),
    };
    let or_head = |rev: &str| if rev.is_empty() { "HEAD".to_owned() } else { rev.to_owned() };
    let id = |rev: &str| commit(programs, &GitSource { repo: dir.to_owned(), rev: or_head(rev) });
    let base = id(from)?;
    let to = to.map(id).transpose()?;
    let failed = |output: String| SourceError::GitRevision { repo: dir.to_owned(), rev: range.to_owned(), output };
    let top = run(git(programs, dir)?.args(["rev-parse", "--show-toplevel"]))?;
    let repo = if top.success { PathBuf::from(top.stdout.trim_end_matches('\n')) } else { dir.to_owned() };
    let mut command = git(programs, &repo)?;
    command.args([
        "-c",
        "core.quotePath=false",
        "diff",
        "--no-color",
        "--no-ext-diff",
        "--no-textconv",
        "--no-renames",
    ]);
    command.args(["--src-prefix=a/", "--dst-prefix=b/", "--unified=3"]).arg(&base).args(&to).arg("--");
    let said = run(&mut command)?;
    if !said.success {
        return Err(failed(said.stderr));
    }
    let parent = to.as_ref().map(|to| run(git(programs, &repo)?.args(["log", "-1", "--format=%P%n%s"]).arg(to)));
    let subject = parent.transpose()?.and_then(|said| {
        let (parents, subject) = said.stdout.split_once('\n')?;
        (parents == base).then(|| subject.trim().to_owned())
    });
    Ok(GitChange { repo, base, patch: said.stdout, subject })
}
