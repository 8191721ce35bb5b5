//! Bisecting commits: git says which, and the scenario is run on each.

use super::{CliError, Found, Halt, Prober, Session};
use crate::cli::load::Ready;
use crate::cli::stages::on_commit;
use crate::report::bisect::Notes;
use crate::tree::source::{Commit, CommitRange, Mark, Next};
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

pub(super) fn search(
    prober: &mut Prober<'_>,
    ready: &Ready,
    range: &CommitRange,
    session: &mut Session<'_>,
) -> Result<Found, Halt> {
    let place = prober.stages.dir.join("git");
    let (git, mut next) = prober.sources.bisect(range, &place).map_err(CliError::of_source)?;
    let [good, bad] = git.ends.clone();
    let on = |commit: &Commit| on_commit(ready, &range.repo, &commit.id);
    let sides = [on(&good), on(&bad)];
    let ends = prober.ends((&good.id, &good.subject, &sides[0]), (&bad.id, &bad.subject, &sides[1]), session)?;
    let candidates = git.candidates;
    let bad_state = match ends {
        Ok(state) => state,
        Err(outcome) => return Ok(Found { candidates, outcome, notes: Notes::default() }),
    };
    prober.say(&format!("{candidates} commits between the two"));
    let result = loop {
        match next {
            Next::Test(commit) => {
                let test = prober.probe(&commit.id, &commit.subject, &on(&commit), session)?;
                let mark = match test.state {
                    State::Untestable => Mark::Skip,
                    state if state == bad_state => Mark::Bad,
                    _ => Mark::Good,
                };
                next = git.mark(&commit, mark).map_err(CliError::of_source)?;
            }
            Next::Found(commit) => break Ok(commit),
            Next::Among(commits) => break Err(commits),
        }
    };
    let mut notes = Notes { log: git.log().map_err(CliError::of_source)?, ..Notes::default() };
    let outcome = match result {
        Err(commits) => {
            notes.among = commits.iter().map(|commit| commit.subject.clone()).collect();
            Outcome::Among { names: commits.into_iter().map(|commit| commit.id).collect() }
        }
        Ok(commit) => {
            let before = git.parent(&commit).map_err(CliError::of_source)?;
            notes.shown = git.show(&commit).map_err(CliError::of_source)?;
            notes.fixes =
                Some(git.fixes(&commit).map_err(CliError::of_source)?).filter(|_| bad_state == State::Present);
            let (old, new) = (on(&before), on(&commit));
            let fixes = notes.fixes.as_deref();
            match prober.confirm([(&before.id, &old), (&commit.id, &new)], bad_state, fixes, session)? {
                Ok(lines) => {
                    [notes.before, notes.after] = lines;
                    Outcome::First { name: commit.id, subject: commit.subject, came: bad_state == State::Present }
                }
                Err(name) => Outcome::Doubtful { name },
            }
        }
    };
    let _ = crate::sandbox::remove_tree(&place);
    Ok(Found { candidates, outcome, notes })
}
