//! Bisecting commits: git says which, and the scenario is run on each.

use super::{CliError, Found, Halt, Prober, Session};
use crate::cli::load::Ready;
use crate::report::bisect::Notes;
use crate::scenario::{Cell, Dimension};
use crate::tree::source::{Commit, CommitRange, GitSource, Mark, Next, SourceError, SourceSpec};
use crate::verdict::bisect::{Outcome, State};

/// What a kernel is built by, as git's pathspecs: a change of anything else changes what is built.
const KBUILD: &[&str] = &[
    "Kbuild",
    "Makefile",
    ":(glob)arch/*/Makefile",
    ":(glob)arch/*/Makefile.*",
    ":(glob)arch/*/boot/**/Makefile",
    "include/asm-generic/vmlinux.lds.h",
    ":(glob)init/Makefile",
    "scripts",
    "tools/Makefile",
    "tools/bpf",
    "tools/build",
    "tools/include",
    "tools/lib",
    "tools/objtool",
    "tools/scripts",
    ":(glob)usr/Makefile",
    ":(glob)usr/*.sh",
];

/// `kbuild` is a list of its own; all else is git's.
pub(super) fn paths(asked: &[String]) -> Vec<String> {
    let one = |text: &String| match text.as_str() {
        "kbuild" => KBUILD.iter().map(ToString::to_string).collect(),
        _ => vec![text.clone()],
    };
    asked.iter().flat_map(one).collect()
}

pub(super) fn error(error: SourceError) -> CliError {
    let (message, hint) = (error.to_string(), error.hint());
    match error.exit_code() {
        2 => CliError::Usage { message, hint },
        _ => CliError::Host { message, hint },
    }
}

/// Leaves the kernels of a matrix away, and of what is the same then all but one.
pub(super) fn without_kernels(all: &mut Vec<Ready>) -> Result<(), CliError> {
    for ready in all.iter() {
        let tree = &ready.loaded.scenario.tree;
        if tree.srctree == "mini" || tree.at.is_some() {
            return Err(CliError::usage(
                format!("`{}` is built from `{}`, which no commit is of", ready.found.id, tree.srctree),
                "commits are tested by a graft (`srctree = \"graft\"`) or by a tree of the repository \
                 (`srctree = \"git:DIR@REV\"`)",
            ));
        }
    }
    let mut seen: Vec<Cell> = Vec::new();
    all.retain_mut(|ready| {
        ready.cell.0.remove(&Dimension::Kernel);
        let new = !seen.contains(&ready.cell);
        seen.push(ready.cell.clone());
        new
    });
    Ok(())
}

/// The scenario on a commit.
fn at(ready: &Ready, range: &CommitRange, commit: &Commit) -> Ready {
    let spec = SourceSpec::Git(GitSource { repo: range.repo.clone(), rev: commit.id.clone() });
    let mut ready = ready.clone();
    let tree = &mut ready.loaded.scenario.tree;
    if tree.srctree == "graft" {
        tree.kernel = Some(spec.to_string());
    } else {
        tree.srctree = spec.to_string();
    }
    ready.source = spec;
    ready.found.by_name = true;
    ready
}

pub(super) fn search(
    prober: &mut Prober<'_>,
    ready: &Ready,
    range: &CommitRange,
    session: &mut Session<'_>,
) -> Result<Found, Halt> {
    let place = prober.stages.dir.join("git");
    let (git, mut next) = prober.sources.bisect(range, &place).map_err(error)?;
    let [good, bad] = git.ends.clone();
    let on = |commit: &Commit| at(ready, range, commit);
    let sides = [on(&good), on(&bad)];
    let ends = prober.ends((&good.id, &good.subject, &sides[0]), (&bad.id, &bad.subject, &sides[1]), session)?;
    let names = [range.good.clone(), range.bad.clone()];
    let told = |outcome, candidates, notes| Found { over: "commits", ends: names.clone(), candidates, outcome, notes };
    let bad_state = match ends {
        Ok(state) => state,
        Err(outcome) => return Ok(told(outcome, 0, Notes::default())),
    };
    prober.say(&format!("{} commits between the two", git.candidates));
    let result = loop {
        match next {
            Next::Test(commit) => {
                let test = prober.probe(&commit.id, &commit.subject, &on(&commit), session)?;
                let mark = match test.state {
                    State::Untestable => Mark::Skip,
                    state if state == bad_state => Mark::Bad,
                    _ => Mark::Good,
                };
                next = git.mark(&commit, mark).map_err(error)?;
            }
            Next::Found(commit) => break Ok(commit),
            Next::Among(commits) => break Err(commits),
        }
    };
    let mut notes = Notes { log: git.log().map_err(error)?, ..Notes::default() };
    let outcome = match result {
        Err(commits) => {
            notes.among = commits.iter().map(|commit| commit.subject.clone()).collect();
            Outcome::Among { names: commits.into_iter().map(|commit| commit.id).collect() }
        }
        Ok(commit) => {
            let before = git.parent(&commit).map_err(error)?;
            notes.shown = git.show(&commit).map_err(error)?;
            notes.fixes = Some(git.fixes(&commit).map_err(error)?).filter(|_| bad_state == State::Present);
            let (old, new) = (on(&before), on(&commit));
            match prober.confirm([(&before.id, &old), (&commit.id, &new)], bad_state, session)? {
                Ok(lines) => {
                    [notes.before, notes.after] = lines;
                    Outcome::First { name: commit.id, subject: commit.subject, came: bad_state == State::Present }
                }
                Err(name) => Outcome::Doubtful { name },
            }
        }
    };
    let _ = crate::sandbox::remove_tree(&place);
    Ok(told(outcome, git.candidates, notes))
}
