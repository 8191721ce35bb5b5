//! Stage `verdict`: run records → findings and verdict. Pure: the same records give the same answer.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::artifact::PartDiff;
use crate::artifact::record::{Confirmation, Ended, ScenarioRecord};
use crate::scenario::{Class, FindingName};
use crate::tree::maintainers::Owners;

mod absent;
pub mod alarm;
pub mod audit;
pub mod bisect;
mod cause;
mod compare;
mod expect;
pub mod fuzz;
mod guilt;
mod hazard;
pub mod history;
mod owners;
pub mod random;
mod replays;
pub mod review;
mod snapshots;
pub mod sweep;
pub mod trees;
pub mod wanted;
mod work;

pub use compare::{is_ignored, pattern_matches};
pub use guilt::{Cause, Fault};
pub use owners::{owned, owners};
pub use snapshots::{Accepted, snapshot_path, tools, unreferenced, variant_name};

/// How a note begins that is shown even where all is well: a limit of what "passed" means.
pub const ATTENTION: &str = "attention: ";

/// The outcome, from the worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Something is wrong with the harness or the host.
    HarnessError,
    /// The host cannot do it.
    HostCannot,
    /// The scenario does not fit its tree.
    ScenarioError,
    /// It was stopped.
    Interrupted,
    /// Findings of class wrong, or an unmet expectation.
    Failed,
    /// Nothing can be said.
    Inconclusive,
    /// Not run, for a reason.
    Skipped,
    /// Everything is as it should be, or as is known.
    Passed,
}

impl Verdict {
    /// The verdict in a word or two.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::HarnessError => "harness error",
            Self::HostCannot => "host cannot",
            Self::ScenarioError => "scenario error",
            Self::Interrupted => "interrupted",
            Self::Failed => "failed",
            Self::Inconclusive => "inconclusive",
            Self::Skipped => "skipped",
            Self::Passed => "passed",
        }
    }
}

/// How a finding stands to what the scenario says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", tag = "as")]
pub enum Standing {
    /// The scenario says nothing of it.
    New,
    /// The scenario demands it.
    Expected,
    /// The scenario tolerates it.
    Known {
        /// Why.
        why: String,
    },
    /// It is there, and no build of the scenario came to it: it fails only against an expectation.
    Latent,
}

/// Something about the build under test, with its evidence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// Which.
    pub name: FindingName,
    /// The artifact, step or expectation it is about.
    pub target: String,
    /// The build in which it shows, e.g. `edit-1/incremental`.
    pub build: String,
    /// The build it was compared with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub against: Option<String>,
    /// The edit, by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edit: Option<String>,
    /// What it comes with of that which the second build varied, each alone; nothing where it comes by itself. Not there where
    /// nothing is varied, or it was not found out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub varied: Option<Vec<String>>,
    /// What differs, or what happened, in a line.
    pub summary: String,
    /// The parts of the file that differ.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<serde_json::Value>")]
    pub parts: Option<PartDiff>,
    /// The step that it comes from, where the builds were traced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    /// What came of its stand-alone reproducer, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirmed: Option<Confirmation>,
    /// What the parts that differ say differently: types, functions, flags of kfuncs; A is what it is compared with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub says: Vec<String>,
    /// Whose the rule of the step is, where the sources have a MAINTAINERS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owners: Option<Owners>,
    /// Further lines: the cause as far as it is known, the end of a log.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub detail: Vec<String>,
    /// Later builds that show the same, unchanged.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub still: Vec<String>,
    /// Findings that follow from this one: their targets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub folded: Vec<String>,
    /// Milliseconds that all steps for nothing took together, of class cost; beside each other they can take longer than the build.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_ms: Option<u64>,
    /// How it stands to what the scenario says.
    pub standing: Standing,
}

impl Finding {
    /// A name that stays the same from run to run: `rebuild.stale@edit-1:lib/crc.ko`.
    #[must_use]
    pub fn id(&self) -> String {
        let place = self.edit.as_deref().unwrap_or(&self.build);
        format!("{}@{place}:{}", self.name, self.target)
    }
}

/// What is to be said of one scenario.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judgement {
    /// The verdict.
    pub verdict: Verdict,
    /// Why, where the findings do not say it.
    pub reason: Option<String>,
    /// What would help.
    pub hint: Option<String>,
    /// The findings, the worst first.
    pub findings: Vec<Finding>,
    /// Things worth knowing that are no finding.
    pub notes: Vec<String>,
    /// How many pairs of artifacts were compared.
    pub compared: u64,
}

/// Judges one scenario's record. `accepted` are the accepted snapshots.
#[must_use]
pub fn judge(record: &ScenarioRecord, accepted: &Accepted) -> Judgement {
    let early = |verdict, message: &str, hint: &Option<String>| Judgement {
        verdict,
        reason: Some(message.to_owned()),
        hint: hint.clone(),
        findings: Vec::new(),
        notes: Vec::new(),
        compared: 0,
    };
    if let Ended::Skipped { reason } = &record.ended {
        return early(Verdict::Skipped, reason, &None);
    }
    let mut judgement = judge_builds(record, accepted);
    // What was built before the end still counts: its findings stay in the report.
    let (verdict, message, hint) = match &record.ended {
        Ended::Complete | Ended::Skipped { .. } => return judgement,
        Ended::CannotBuild { reason } => (Verdict::Inconclusive, reason.as_str(), &None),
        Ended::ScenarioError { message, hint } => (Verdict::ScenarioError, message.as_str(), hint),
        Ended::HostCannot { message, hint } => (Verdict::HostCannot, message.as_str(), hint),
        Ended::HarnessError { message, hint } => (Verdict::HarnessError, message.as_str(), hint),
        Ended::Interrupted => (Verdict::Interrupted, "stopped before the end", &None),
    };
    judgement.findings.retain(|finding| finding.name != FindingName::ExpectUnmet);
    let findings = judgement.findings;
    Judgement { findings, notes: judgement.notes, compared: judgement.compared, ..early(verdict, message, hint) }
}

fn judge_builds(record: &ScenarioRecord, accepted: &Accepted) -> Judgement {
    let mut comparison = compare::compare(record);
    snapshots::compare(record, accepted, &mut comparison);
    let timelines = guilt::Timelines::new(record);
    guilt::blame(record, &timelines, &mut comparison);
    replays::find(record, &timelines, &mut comparison);
    hazard::find(record, &timelines, &mut comparison);
    work::needless(record, &timelines, &mut comparison);
    cause::fold(record, &mut comparison);
    guilt::fold(&mut comparison);
    expect::weigh(record, &mut comparison);
    let compare::Comparison { mut findings, notes, compared } = comparison;
    findings.sort_by_key(order);
    for finding in &mut findings {
        finding.confirmed = record.confirmations.get(&finding.id()).cloned();
        finding.says = record.says.get(&finding.id()).cloned().unwrap_or_default();
        owned(finding, &record.owners);
    }
    let open = |class| findings.iter().find(|f: &&Finding| f.name.class() == class && f.standing == Standing::New);
    let (verdict, reason) = if open(Class::Wrong).is_some() {
        (Verdict::Failed, None)
    } else if let Some(finding) = open(Class::Inconclusive) {
        (Verdict::Inconclusive, Some(absent::reason(record, finding)))
    } else if compared == 0 && findings.iter().all(|finding| finding.standing != Standing::Expected) {
        // A fault that is tolerated is no reason to believe that nothing else is wrong.
        (Verdict::Inconclusive, Some("no artifact was compared".to_owned()))
    } else {
        (Verdict::Passed, None)
    };
    let hint = (compared == 0
        && verdict == Verdict::Inconclusive
        && reason.as_deref() == Some("no artifact was compared"))
    .then(|| {
        "name what the build makes under `[compare] artifacts` (--artifact without a scenario); a tree that was built \
                 in before is cleaned by `make.clean_first` (--clean)"
            .to_owned()
    });
    Judgement { verdict, reason, hint, findings, notes, compared }
}

/// New before known, wrong before cost, in the order of the list of findings, then by place and target.
fn order(finding: &Finding) -> (bool, Class, FindingName, String, String) {
    (
        finding.standing != Standing::New,
        finding.name.class(),
        finding.name,
        finding.edit.clone().unwrap_or_default() + &finding.build,
        finding.target.clone(),
    )
}

/// Counts findings of one name and standing, for summaries.
#[must_use]
pub fn tally(findings: &[Finding]) -> BTreeMap<FindingName, usize> {
    let mut tally = BTreeMap::new();
    for finding in findings {
        *tally.entry(finding.name).or_insert(0) += 1;
    }
    tally
}

#[cfg(test)]
pub(crate) mod sample;
#[cfg(test)]
mod tests;
