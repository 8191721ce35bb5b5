//! Stage `report`: one model of what is to be said, and its sinks. Pure: text goes to a [`Write`].
//!
//! [`Write`]: std::io::Write

use std::collections::BTreeMap;
use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::artifact::record::{LossRecord, RunRecord, ScenarioRecord, ShardRecord, ToolRecord};
use crate::runner::Preparation;
use crate::scenario::{Class, Tier};
use crate::verdict::audit::Audit;
use crate::verdict::fuzz::Fuzz;
use crate::verdict::history::Since;
use crate::verdict::sweep::Sweep;
use crate::verdict::{Finding, Judgement, Standing, Verdict};

mod audit;
pub mod bisect;
pub mod compare;
pub mod explain;
mod fuzz;
pub mod github;
pub mod history;
pub mod html;
pub mod json;
pub mod junit;
pub mod kcidb;
pub mod ktap;
mod machine;
pub mod mail;
mod matrix;
pub mod merge;
pub mod perfetto;
pub mod reproducer;
pub mod review;
mod subject;
mod sweep;
pub mod terminal;
mod text;
pub mod trace;

/// Version of the JSON report.
pub const FORMAT: u32 = 1;

/// What is to be said of a run.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[schemars(title = "kbuild-repro report")]
pub struct Report {
    /// [`FORMAT`].
    pub format: u32,
    /// The run's name.
    pub run: String,
    /// Version of the harness.
    pub harness: String,
    /// Start, seconds since the epoch.
    pub started: u64,
    /// The host, in words.
    pub host: String,
    /// Where the run record is, if it is kept.
    pub record: Option<String>,
    /// The worst verdict.
    pub verdict: Verdict,
    /// The exit code that goes with it.
    pub exit_code: u8,
    /// Guarantees that the host could not give.
    pub losses: Vec<LossRecord>,
    /// Scenarios that were not begun, for a time budget or an interruption.
    pub left_out: Vec<String>,
    /// Why, where there is more to say than that: by id.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub why_left_out: BTreeMap<String, String>,
    /// Which part of a run it is, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shard: Option<ShardRecord>,
    /// The scenarios.
    pub scenarios: Vec<ScenarioReport>,
    /// Findings about no scenario: snapshots that nothing declares.
    pub findings: Vec<Finding>,
    /// What is new, still there and gone since earlier runs, where a history of them is kept. It is no part of the verdict.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Since>,
}

/// What is to be said of one scenario.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct ScenarioReport {
    /// Its id.
    pub id: String,
    /// How to name it to `run`.
    pub file: String,
    /// Which cell of a matrix it is: its values by the keys of their lists, e.g. `kernel`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub matrix: BTreeMap<String, String>,
    /// Its title.
    pub title: String,
    /// Its tier.
    pub tier: Tier,
    /// The kernel that was built.
    pub kernel: Option<String>,
    /// What identifies its sources.
    pub source: String,
    /// The toolchain.
    pub toolchain: Vec<ToolRecord>,
    /// Its verdict.
    pub verdict: Verdict,
    /// Why, where the findings do not say it.
    pub reason: Option<String>,
    /// What would help.
    pub hint: Option<String>,
    /// Its findings, the worst first.
    pub findings: Vec<Finding>,
    /// Things worth knowing.
    pub notes: Vec<String>,
    /// How many pairs of artifacts were compared.
    pub compared: u64,
    /// Its builds.
    pub builds: Vec<BuildReport>,
    /// Seconds of wall time.
    pub seconds: f64,
    /// The command that runs it again and keeps its trees.
    pub again: String,
    /// What its steps read and make does not know of, if it was audited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audit: Option<Audit>,
    /// Where its build was interrupted, and what came of that, if it was swept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sweep: Option<Sweep>,
    /// What random edits of it showed, if it was fuzzed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fuzz: Option<Fuzz>,
}

/// What is to be said of one build.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct BuildReport {
    /// Its name.
    pub id: String,
    /// How it ended, in words.
    pub status: String,
    /// How a clean build came to the prepared state it started from, if it started from one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preparation: Option<Preparation>,
    /// Whether an equal build was made before, in this run or an earlier one, and this is what was recorded of that.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub reused: bool,
    /// Seconds of wall time.
    pub seconds: f64,
    /// Seconds of processor time.
    pub cpu_seconds: f64,
    /// How many steps make printed.
    pub steps: usize,
    /// Its log, relative to the scenario's record.
    pub log: String,
}

/// Makes the report of a run from its records and what was judged of them.
#[must_use]
pub fn report(
    run: &RunRecord,
    record_dir: Option<String>,
    judged: &[(ScenarioRecord, Judgement)],
    findings: Vec<Finding>,
) -> Report {
    let scenarios: Vec<ScenarioReport> = judged.iter().map(|(record, judgement)| scenario(record, judgement)).collect();
    let verdict = match worst(&scenarios, &findings, run.interrupted) {
        // A shard that has nothing to do has done it.
        Verdict::Skipped if run.shard.as_ref().is_some_and(ShardRecord::is_idle) => Verdict::Passed,
        verdict => verdict,
    };
    Report {
        format: FORMAT,
        run: run.id.clone(),
        harness: run.harness.clone(),
        started: run.started,
        host: run.host.clone(),
        record: record_dir,
        verdict,
        exit_code: exit_code(verdict),
        losses: run.losses.clone(),
        left_out: run.left_out.clone(),
        why_left_out: run.why_left_out.clone(),
        shard: run.shard.clone(),
        scenarios,
        findings,
        since: None,
    }
}

fn scenario(record: &ScenarioRecord, judgement: &Judgement) -> ScenarioReport {
    ScenarioReport {
        id: record.id.clone(),
        file: record.file.clone(),
        matrix: record.matrix.clone(),
        title: record.scenario.title.clone(),
        tier: record.scenario.tier(),
        kernel: record.kernel.clone(),
        source: record.source.clone(),
        toolchain: record.toolchain.clone(),
        verdict: judgement.verdict,
        reason: judgement.reason.clone(),
        hint: judgement.hint.clone(),
        findings: judgement.findings.clone(),
        notes: judgement.notes.clone(),
        compared: judgement.compared,
        builds: record
            .builds
            .iter()
            .map(|build| BuildReport {
                id: build.id.clone(),
                status: build.status.to_string(),
                preparation: build.preparation.clone(),
                reused: build.reused,
                seconds: seconds(build.wall_ms),
                cpu_seconds: seconds(build.cpu_ms),
                steps: build.labels.len(),
                log: build.log.clone(),
            })
            .collect(),
        seconds: seconds(record.wall_ms),
        again: record.again.clone(),
        audit: None,
        sweep: None,
        fuzz: None,
    }
}

fn seconds(millis: u64) -> f64 {
    std::time::Duration::from_millis(millis).as_secs_f64()
}

impl ScenarioReport {
    /// The tools that the scenario chose in place of the host's.
    pub fn chosen(&self) -> impl Iterator<Item = &ToolRecord> {
        self.toolchain.iter().filter(|tool| Path::new(&tool.path).starts_with(crate::tree::source::tools::PLACE))
    }
}

impl Report {
    /// Takes the verdict anew from those of the scenarios.
    pub fn conclude(&mut self, interrupted: bool) {
        self.verdict = worst(&self.scenarios, &self.findings, interrupted);
        self.exit_code = exit_code(self.verdict);
    }
}

/// The worst verdict of a run. A skip beside results does not count; nothing but skips is nothing compared.
fn worst(scenarios: &[ScenarioReport], findings: &[Finding], interrupted: bool) -> Verdict {
    let wrong = |finding: &Finding| finding.name.class() == Class::Wrong && finding.standing == Standing::New;
    let own = findings.iter().any(wrong).then_some(Verdict::Failed);
    let cut = interrupted.then_some(Verdict::Interrupted);
    let results = scenarios.iter().map(|scenario| scenario.verdict).filter(|verdict| *verdict != Verdict::Skipped);
    results.chain(own).chain(cut).min().unwrap_or(Verdict::Skipped)
}

/// The exit code of a verdict.
#[must_use]
pub fn exit_code(verdict: Verdict) -> u8 {
    match verdict {
        Verdict::Passed => 0,
        Verdict::Failed => 1,
        Verdict::ScenarioError => 2,
        Verdict::HostCannot => 3,
        Verdict::Inconclusive | Verdict::Skipped => 4,
        Verdict::HarnessError => 70,
        Verdict::Interrupted => 130,
    }
}

#[cfg(test)]
mod golden;
#[cfg(test)]
mod golden_html;
#[cfg(test)]
mod golden_machine;
#[cfg(test)]
mod golden_mail;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_codes_are_those_of_the_design() {
        let all = [
            (Verdict::Passed, 0),
            (Verdict::Failed, 1),
            (Verdict::ScenarioError, 2),
            (Verdict::HostCannot, 3),
            (Verdict::Inconclusive, 4),
            (Verdict::Skipped, 4),
            (Verdict::HarnessError, 70),
            (Verdict::Interrupted, 130),
        ];
        for (verdict, code) in all {
            assert_eq!(exit_code(verdict), code, "{verdict:?}");
        }
    }
}
