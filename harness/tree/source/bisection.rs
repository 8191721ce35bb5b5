//! git-bisect(1), in a repository of its own.
//!
//! The repository is a bare clone that borrows the objects of the one that is asked about (`git clone --shared`): bisecting
//! writes refs and files, and nobody's own bisection, work tree or `git worktree list` is touched. Without a work tree git only
//! names the commit that is to be tested, in `BISECT_HEAD`.

use std::path::{Path, PathBuf};

use super::program::{Programs, run};
use super::{GitSource, SourceError, git};

/// Which commits are searched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitRange {
    /// The repository: a work tree or a bare one.
    pub repo: PathBuf,
    /// A revision that is as it should be.
    pub good: String,
    /// A revision that is not.
    pub bad: String,
    /// Only commits that touch these, as git's pathspecs; all if there are none.
    pub paths: Vec<String>,
    /// Only the first parents of merges.
    pub first_parent: bool,
}

/// A commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// Its whole id.
    pub id: String,
    /// The first line of its message.
    pub subject: String,
}

/// What git wants next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// That this commit is tested.
    Test(Commit),
    /// Nothing: this is the first that is bad.
    Found(Commit),
    /// Nothing: it is one of these, and the others cannot be tested.
    Among(Vec<Commit>),
}

/// What a test showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// As the good end.
    Good,
    /// As the bad end.
    Bad,
    /// Nothing.
    Skip,
}

impl Mark {
    /// git's word.
    fn word(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Bad => "bad",
            Self::Skip => "skip",
        }
    }
}

/// A bisection that is going on.
pub struct CommitSearch {
    programs: Programs,
    dir: PathBuf,
    /// The good and the bad end.
    pub ends: [Commit; 2],
    /// How many commits there are to choose from, the bad end among them.
    pub candidates: u64,
}

impl CommitSearch {
    /// The ends of a range.
    pub(super) fn ends(programs: &Programs, range: &CommitRange) -> Result<[Commit; 2], SourceError> {
        let end = |rev: &String| {
            let id = git::commit(programs, &GitSource { repo: range.repo.clone(), rev: rev.clone() })?;
            describe(programs, &range.repo, id)
        };
        Ok([end(&range.good)?, end(&range.bad)?])
    }

    /// Begins a bisection in the empty or absent directory `dir`. The first answer may be the last: there may be no choice.
    pub(super) fn start(programs: &Programs, range: &CommitRange, dir: &Path) -> Result<(Self, Next), SourceError> {
        let ends = Self::ends(programs, range)?;
        let failed =
            |what: &str, said: String| SourceError::GitBisect { repo: range.repo.clone(), what: what.into(), said };
        let repo = range.repo.canonicalize().map_err(|error| SourceError::io("resolve", &range.repo, error))?;
        let mut clone = git::git(programs, &repo)?;
        let said = run(clone.args(["clone", "--quiet", "--bare", "--shared"]).arg(&repo).arg(dir))?;
        if !said.success {
            return Err(failed("clone", said.stderr));
        }
        let [good, bad] = &ends;
        let mut search = Self { programs: programs.clone(), dir: dir.to_owned(), ends: ends.clone(), candidates: 0 };
        search.candidates = search.count(range, &good.id, &bad.id)?;
        if search.candidates == 0 {
            let touches = if range.paths.is_empty() { "" } else { " touches what is asked for" };
            return Err(failed("bisect", format!("no commit between {} and {}{touches}", range.good, range.bad)));
        }
        let mut start = git::git(programs, dir)?;
        start.args(["bisect", "start", "--no-checkout"]);
        start.args(range.first_parent.then_some("--first-parent"));
        start.args([&bad.id, &good.id]).arg("--").args(&range.paths);
        let said = run(&mut start)?;
        let next = search.next(said.success, &said.stdout, &said.stderr)?;
        Ok((search, next))
    }

    /// Tells git what a commit's test showed.
    ///
    /// # Errors
    /// git refuses it: of two merged branches the common ancestor is bad, for instance.
    pub fn mark(&self, commit: &Commit, mark: Mark) -> Result<Next, SourceError> {
        let said = run(git::git(&self.programs, &self.dir)?.args(["bisect", mark.word(), &commit.id]))?;
        self.next(said.success, &said.stdout, &said.stderr)
    }

    /// What was told so far, for git-bisect(1)'s `replay`.
    ///
    /// # Errors
    /// git does not say.
    pub fn log(&self) -> Result<String, SourceError> {
        Ok(run(git::git(&self.programs, &self.dir)?.args(["bisect", "log"]))?.stdout)
    }

    /// A commit with its message and which files it touches, as people read it.
    ///
    /// # Errors
    /// git does not say.
    pub fn show(&self, commit: &Commit) -> Result<String, SourceError> {
        let mut show = git::git(&self.programs, &self.dir)?;
        show.args([
            "show",
            "--no-color",
            "--no-ext-diff",
            "--stat=80",
            "--format=commit %H%nAuthor: %an <%ae>%nDate:   %ad%n%n%w(0,4,4)%B",
        ]);
        Ok(run(show.arg(&commit.id))?.stdout)
    }

    /// The `Fixes:` trailer of a commit (Documentation/process/submitting-patches.rst).
    ///
    /// # Errors
    /// git does not say.
    pub fn fixes(&self, commit: &Commit) -> Result<String, SourceError> {
        let mut log = git::git(&self.programs, &self.dir)?;
        log.args(["-c", "core.abbrev=12", "log", "-1", "--format=Fixes: %h (\"%s\")"]);
        Ok(run(log.arg(&commit.id))?.stdout.trim_end().to_owned())
    }

    /// The first parent of a commit; itself where it has none.
    ///
    /// # Errors
    /// git does not say.
    pub fn parent(&self, commit: &Commit) -> Result<Commit, SourceError> {
        let rev = format!("{}^1", commit.id);
        match git::commit(&self.programs, &GitSource { repo: self.dir.clone(), rev }) {
            Ok(id) => describe(&self.programs, &self.dir, id),
            Err(SourceError::GitRevision { .. }) => Ok(commit.clone()),
            Err(error) => Err(error),
        }
    }

    fn count(&self, range: &CommitRange, good: &str, bad: &str) -> Result<u64, SourceError> {
        let mut list = git::git(&self.programs, &self.dir)?;
        list.args(["rev-list", "--count"]);
        list.args(range.first_parent.then_some("--first-parent"));
        list.arg(format!("{good}..{bad}")).arg("--").args(&range.paths);
        Ok(run(&mut list)?.stdout.trim().parse().unwrap_or(0))
    }

    /// What git's words mean. Source: builtin/bisect.c, whose words are those of git-bisect(1): 2 is the exit code where only
    /// skipped commits are left, and a commit that is found is told with 0.
    fn next(&self, success: bool, stdout: &str, stderr: &str) -> Result<Next, SourceError> {
        let is_id = |word: &&str| matches!(word.len(), 40 | 64) && word.bytes().all(|byte| byte.is_ascii_hexdigit());
        let first = stdout.lines().find_map(|line| line.strip_suffix(" is the first bad commit")).filter(is_id);
        if let Some(id) = first {
            return Ok(Next::Found(describe(&self.programs, &self.dir, id.to_owned())?));
        }
        if success && let Some(id) = self.head()? {
            return Ok(Next::Test(describe(&self.programs, &self.dir, id)?));
        }
        let left = stdout.lines().skip_while(|line| !line.starts_with("The first bad commit could be any of")).skip(1);
        let left: Vec<&str> = left.filter(is_id).collect();
        if left.is_empty() {
            let said = if stderr.is_empty() { stdout.trim_end().to_owned() } else { stderr.to_owned() };
            return Err(SourceError::GitBisect { repo: self.dir.clone(), what: "bisect".into(), said });
        }
        let commit = |id: &str| describe(&self.programs, &self.dir, id.to_owned());
        Ok(Next::Among(left.into_iter().map(commit).collect::<Result<_, _>>()?))
    }

    fn head(&self) -> Result<Option<String>, SourceError> {
        match git::commit(&self.programs, &GitSource { repo: self.dir.clone(), rev: "BISECT_HEAD".into() }) {
            Ok(id) => Ok(Some(id)),
            Err(SourceError::GitRevision { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn describe(programs: &Programs, repo: &Path, id: String) -> Result<Commit, SourceError> {
    let said = run(git::git(programs, repo)?.args(["log", "-1", "--format=%s"]).arg(&id))?;
    Ok(Commit { id, subject: said.stdout.trim_end().to_owned() })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::process::Command;

    use super::*;

    fn programs() -> Programs {
        Programs::new(BTreeMap::from([("PATH".into(), std::env::var_os("PATH").expect("a path"))]))
    }

    /// A repository in which commit `n` writes `n` to the file that `path` gives.
    fn history(count: usize, path: &dyn Fn(usize) -> &'static str) -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("a directory");
        let git = |args: &[&str]| {
            let mut command = Command::new("git");
            command.arg("-C").arg(dir.path()).args(["-c", "user.name=N", "-c", "user.email=n@example.org"]).args(args);
            let out = command.env("GIT_CONFIG_GLOBAL", "/dev/null").output().expect("git");
            assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
        };
        git(&["init", "--quiet", "--initial-branch=main"]);
        for n in 0..count {
            std::fs::write(dir.path().join(path(n)), n.to_string()).expect("written");
            git(&["add", "--all"]);
            git(&["commit", "--quiet", "-m", &format!("commit {n}")]);
        }
        dir
    }

    fn range(repo: &Path, good: usize, bad: usize, count: usize, paths: &[&str]) -> CommitRange {
        let rev = |n: usize| format!("main~{}", count - 1 - n);
        let paths = paths.iter().map(ToString::to_string).collect();
        CommitRange { repo: repo.to_owned(), good: rev(good), bad: rev(bad), paths, first_parent: false }
    }

    /// Bisects by what is said of the number of a commit.
    fn bisect(range: &CommitRange, mark: &dyn Fn(usize) -> Mark) -> (Vec<usize>, usize) {
        let dir = tempfile::tempdir().expect("a directory");
        let (search, mut next) =
            CommitSearch::start(&programs(), range, &dir.path().join("repo.git")).expect("it begins");
        let number = |commit: &Commit| commit.subject.trim_start_matches("commit ").parse::<usize>().expect("a number");
        let mut tests = 0;
        loop {
            match next {
                Next::Test(commit) => {
                    tests += 1;
                    next = search.mark(&commit, mark(number(&commit))).expect("it is taken");
                }
                Next::Found(commit) => {
                    assert!(search.fixes(&commit).expect("git").starts_with("Fixes: "));
                    assert!(search.log().expect("git").contains("git bisect start"));
                    return (vec![number(&commit)], tests);
                }
                Next::Among(commits) => {
                    let mut all: Vec<usize> = commits.iter().map(number).collect();
                    all.sort_unstable();
                    return (all, tests);
                }
            }
        }
    }

    fn from(first_bad: usize) -> impl Fn(usize) -> Mark {
        move |n| if n < first_bad { Mark::Good } else { Mark::Bad }
    }

    #[test]
    fn a_commit_is_found_and_the_repository_is_left_alone() {
        let repo = history(40, &|_| "file");
        let before =
            Command::new("git").arg("-C").arg(repo.path()).args(["for-each-ref"]).output().expect("git").stdout;
        let (found, tests) = bisect(&range(repo.path(), 0, 39, 40, &[]), &from(17));
        assert_eq!(found, [17]);
        assert!(tests <= 6, "{tests}");
        let after = Command::new("git").arg("-C").arg(repo.path()).args(["for-each-ref"]).output().expect("git").stdout;
        assert_eq!(before, after);
        assert!(!repo.path().join(".git/BISECT_LOG").exists());
    }

    #[test]
    fn paths_leave_commits_out_and_what_cannot_be_tested_is_gone_around() {
        let repo = history(30, &|n| if n % 5 == 0 { "scripts" } else { "other" });
        let (found, tests) = bisect(&range(repo.path(), 0, 29, 30, &["scripts"]), &from(15));
        assert_eq!(found, [15]);
        assert!(tests <= 3, "{tests}");
        let skips = |n| if (8..=12).contains(&n) { Mark::Skip } else { from(11)(n) };
        assert_eq!(bisect(&range(repo.path(), 0, 29, 30, &[]), &skips).0, [8, 9, 10, 11, 12, 13]);
    }

    #[test]
    fn neighbours_leave_no_choice() {
        let repo = history(3, &|_| "file");
        assert_eq!(bisect(&range(repo.path(), 1, 2, 3, &[]), &from(2)), (vec![2], 0));
    }

    #[test]
    fn ends_that_are_the_wrong_way_round_are_an_error_of_git() {
        let repo = history(3, &|_| "file");
        let wrong = range(repo.path(), 2, 0, 3, &[]);
        let dir = tempfile::tempdir().expect("a directory");
        assert!(CommitSearch::start(&programs(), &wrong, &dir.path().join("r")).is_err());
    }
}
