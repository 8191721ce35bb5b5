//! Steps that were run again on their own output.

use super::compare::{self, Comparison};
use super::guilt::{Fault, Timelines};
use super::{Finding, Standing};
use crate::artifact::record::{ReplayRecord, ScenarioRecord};
use crate::scenario::FindingName;
use crate::trace::Step;

/// Adds the steps whose replay changed what they had made. One that a build came to is told by what came of it; else it
/// is latent: nothing that the scenario does shows it.
pub(super) fn find<'r>(record: &'r ScenarioRecord, timelines: &Timelines<'r>, comparison: &mut Comparison) {
    for replay in record.replays.iter().filter(|it| !it.changes.is_empty() || it.failed.is_some()) {
        let Some(finding) = finding(record, timelines, replay) else { continue };
        let step = finding.cause.as_ref().map(|cause| (&cause.step, &cause.target));
        let came_of_it = |other: &&mut Finding| {
            let cause = other.cause.as_ref().filter(|cause| cause.fault == Fault::OwnOutput);
            cause.is_some() && cause.map(|cause| (&cause.step, &cause.target)) == step
        };
        let mut latent = true;
        for other in comparison.findings.iter_mut().filter(came_of_it) {
            latent = false;
            other.folded.push(finding.id());
            let why = finding.cause.as_ref().map_or("", |cause| cause.why.as_str());
            other.detail.push(format!("the step alone: {why}"));
        }
        if latent {
            comparison.findings.push(finding);
        }
    }
}

fn finding<'r>(record: &'r ScenarioRecord, timelines: &Timelines<'r>, replay: &ReplayRecord) -> Option<Finding> {
    let build = record.builds.iter().find(|build| build.id == replay.build)?;
    let first = replay.changes.first();
    let mut runs: Vec<u32> = replay.changes.iter().map(|change| change.run).collect();
    runs.dedup();
    let (runs, all) = (runs.len(), replay.runs);
    let (summary, why) = match &replay.failed {
        Some(how) => (format!("it fails on what it had made: {how}"), format!("run again on what it had made, {how}")),
        None => {
            let what = first.and_then(|first| first.parts.as_ref()).map_or("it is gone", |parts| &parts.summary);
            // The programs alone: with their arguments no two findings would be alike.
            let program = |command: &String| {
                let program = command.split(' ').next().unwrap_or_default();
                format!("`{}`", program.rsplit('/').next().unwrap_or(program))
            };
            let alone: std::collections::BTreeSet<String> = replay.by.iter().map(program).collect();
            let alone: Vec<String> = alone.into_iter().collect();
            let alone = match alone.as_slice() {
                [] => String::new(),
                programs => format!("; by itself, so does {}", programs.join(" and ")),
            };
            let why = format!("run again on what it had made, it changed that in {runs} of {all} runs{alone}");
            (format!("{runs} of {all} runs change it: {what}"), why)
        }
    };
    let mut target = first.map(|first| first.output.clone());
    let cause = timelines.up_to(build).and_then(|timeline| {
        let last = timeline.last();
        let same = |step: &Step| step.command == replay.command && step.cwd == replay.cwd;
        let at = timeline.builds.last()?.1.steps.iter().position(same)?;
        let step = timeline.step((last, at));
        target = target.take().or_else(|| step.target.clone()).or_else(|| step.in_place.first().cloned());
        Some(timeline.cause(Fault::OwnOutput, (last, at), why))
    });
    let target = target.unwrap_or_default();
    Some(Finding {
        summary,
        parts: first.and_then(|first| first.parts.clone()),
        cause,
        standing: Standing::Latent,
        ..compare::finding(record, FindingName::StepNotIdempotent, compare::in_tree(&target), build)
    })
}
