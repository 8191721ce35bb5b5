//! From a difference to the step that made it: what the traces of the builds show.
//!
//! Two timelines are laid side by side: the builds of the tree in which the file is wrong, and those of the tree in which it
//! is right. Whoever made the file last in each is compared by what it read. If an input differs in the end as well, the
//! search goes on with that input; the first step that got the same and gave something else, was not run though
//! something that it reads had changed, or read what it had made itself, is the one to blame.

use std::rc::Rc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::artifact::record::{BuildRecord, Role, ScenarioRecord};
use crate::trace::Cmd;

mod search;
mod timeline;

use search::Search;
pub(super) use search::{cut, rival, words};
pub(super) use timeline::{Timeline, Timelines};

use super::Finding;
use super::compare::{Comparison, in_tree};
use crate::scenario::FindingName;

/// What is the matter with a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// It was not run, though something that it reads or its command had changed.
    Skipped,
    /// It read what it had made itself the time before.
    OwnOutput,
    /// It got the same and gave something else.
    Irreproducible,
    /// It was run with another command, environment or tool than in the build it is compared with.
    OtherCommand,
    /// It was run, and the build it is compared with does not run it.
    Extra,
    /// It read a file in one build before another step had made it, and in the other build after that.
    Order,
    /// It made a file while another step did.
    Race,
    /// It failed.
    Failed,
    /// It was run for nothing.
    Needless,
    /// It reached outside of the trees.
    Escapes,
}

impl Fault {
    /// What is the matter, in a few words.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Skipped => "wrongly skipped",
            Self::OwnOutput => "depends on its own old output",
            Self::Irreproducible => "gives something else for the same",
            Self::OtherCommand => "was run in another way",
            Self::Extra => "is run here alone",
            Self::Order => "depends on the order of jobs",
            Self::Race => "two steps make one file",
            Self::Failed => "fails",
            Self::Needless => "runs for nothing",
            Self::Escapes => "reaches outside of the trees",
        }
    }
}

/// The step that a finding comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Cause {
    /// What is the matter with it.
    pub fault: Fault,
    /// The step, as kbuild prints it (`BTF [M] crypto/md5.ko`), or its command.
    pub step: String,
    /// The file that it is there to make, below `src` or `obj`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Its `cmd_X`, with the makefile and the line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cmd: Option<Cmd>,
    /// What make gave to the shell, without what kbuild puts before it; of several programs in it the one that is to blame,
    /// where that shows.
    pub command: String,
    /// The build in which it ran, or ought to have run.
    pub build: String,
    /// Why it is this one, in a line.
    pub why: String,
    /// How the change came to what it reads: a file of the sources, then steps and files in turns, the last what it reads.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub way: Vec<String>,
}

impl Cause {
    /// Whether two causes are the same fault of one `cmd_X`, or of the same step.
    #[must_use]
    pub fn is_like(&self, other: &Self) -> bool {
        self.fault == other.fault && (self.cmd.is_some() && self.cmd == other.cmd || self.step == other.step)
    }
}

/// Finds the steps that findings come from, as far as builds were traced.
pub(super) fn blame<'r>(record: &'r ScenarioRecord, timelines: &Timelines<'r>, comparison: &mut Comparison) {
    if record.traces.is_empty() {
        return;
    }
    for finding in &mut comparison.findings {
        let Some((have, want)) = both(record, timelines, finding) else { continue };
        let search = Search::new(&have, &want);
        let mut causes = match finding.name {
            FindingName::RebuildFailed | FindingName::ResumeStuck => search.failed().into_iter().collect(),
            _ => search.causes(&finding.target),
        }
        .into_iter();
        finding.cause = causes.next();
        let Some(cause) = &finding.cause else { continue };
        let more = |other: Cause| format!("another cause: {} — {}: {}", other.step, other.fault.words(), other.why);
        finding.detail.extend(causes.map(more));
        // What files alone let suppose, the trace knows.
        match (finding.name, cause.fault) {
            (FindingName::RebuildDiverged, Fault::Skipped) => finding.name = FindingName::RebuildStale,
            (FindingName::RebuildStale, Fault::OwnOutput | Fault::Irreproducible) => {
                finding.name = FindingName::RebuildDiverged;
            }
            _ => {}
        }
    }
}

/// The trees in which a finding's artifact is wrong and right.
fn both<'r>(
    record: &'r ScenarioRecord,
    timelines: &Timelines<'r>,
    finding: &Finding,
) -> Option<(Rc<Timeline<'r>>, Rc<Timeline<'r>>)> {
    use FindingName::{
        BtfBaseMismatch, BtfInvalid, BtfLost, NoopChanged, RebuildDiverged, RebuildFailed, RebuildStale, ReproMismatch,
        ResumeDiverged, ResumeStuck,
    };
    let wanted = [
        ReproMismatch,
        NoopChanged,
        RebuildStale,
        RebuildDiverged,
        RebuildFailed,
        ResumeDiverged,
        ResumeStuck,
        BtfLost,
        BtfInvalid,
        BtfBaseMismatch,
    ];
    if !wanted.contains(&finding.name) {
        return None;
    }
    let build = |id: &str| -> Option<&'r BuildRecord> { record.builds.iter().find(|build| build.id == id) };
    // Of what is varied and has no part in it the traces are better free: they could blame that.
    let alone = finding.varied.as_ref().and_then(|with| {
        let first = with.first().map(std::slice::from_ref).unwrap_or_default();
        let mut made = record.builds.iter().filter(|build| build.role == Role::Variation && build.status.ok());
        made.find(|build| build.varied == first)
    });
    if let Some(have) = alone.and_then(|build| timelines.up_to(build)) {
        return Some((have, timelines.up_to(build(finding.against.as_deref()?)?)?));
    }
    Some((timelines.up_to(build(&finding.build)?)?, timelines.up_to(build(finding.against.as_deref()?)?)?))
}

/// Findings of one step that are the same fault: what it made is told, and what was made of that is folded under it.
pub(super) fn fold(comparison: &mut Comparison) {
    let mut kept: Vec<Finding> = Vec::new();
    let same = |a: &Finding, b: &Finding| match (&a.cause, &b.cause) {
        (Some(x), Some(y)) => {
            (a.name, &a.build, x.fault, &x.step, &x.target) == (b.name, &b.build, y.fault, &y.step, &y.target)
        }
        _ => false,
    };
    let own = |finding: &Finding| {
        let target = finding.cause.as_ref().and_then(|cause| cause.target.as_deref());
        target.is_some_and(|target| target.contains('/') && in_tree(target) == finding.target)
    };
    for mut finding in std::mem::take(&mut comparison.findings) {
        match kept.iter_mut().find(|earlier| same(earlier, &finding)) {
            None => kept.push(finding),
            Some(earlier) if own(&finding) && !own(earlier) => {
                finding.folded.extend(std::mem::take(&mut earlier.folded));
                finding.folded.push(earlier.id());
                *earlier = finding;
            }
            Some(earlier) => {
                earlier.folded.push(finding.id());
                earlier.folded.append(&mut finding.folded);
            }
        }
    }
    comparison.findings = kept;
}

#[cfg(test)]
mod tests;
