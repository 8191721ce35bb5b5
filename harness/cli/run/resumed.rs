//! What an earlier attempt at the same shard has finished is not built again.

use super::{Run, Work};
use crate::artifact::record::{Ended, ScenarioRecord, ToolRecord};
use crate::cli::state::RunDir;
use crate::cli::toolchain::records;
use crate::verdict::{self, Accepted, Judgement};

impl Run<'_> {
    /// The record of a scenario that was finished before, judged, if it was made from the same scenario, sources and tools. What
    /// was interrupted, skipped or failed for the host's sake is tried again.
    pub(super) fn finished(
        &self,
        work: &Work,
        dir: &RunDir,
        system: &[ToolRecord],
        accepted: &Accepted,
    ) -> Option<(ScenarioRecord, Judgement)> {
        let own = dir.path.join(&work.ready.found.id);
        if !dir.resumed || !own.join("record.json").is_file() {
            return None;
        }
        let (hand, _, chosen) = work.state.as_ref().ok()?;
        let scenario = &work.ready.loaded.scenario;
        let record = ScenarioRecord::read(&own).ok();
        let same = record.filter(|record| {
            record.ended == Ended::Complete
                && record.source == hand.identity
                && record.scenario == *scenario
                && record.toolchain == records(system, scenario, chosen)
        });
        let Some(mut record) = same else {
            // No part of the old attempt is to be taken for one of the new.
            for name in ["evidence", "findings"] {
                let _ = crate::sandbox::remove_tree(&own.join(name));
            }
            for name in ["record.json", "recipe.json"] {
                let _ = std::fs::remove_file(own.join(name));
            }
            return None;
        };
        let judgement = verdict::judge(&record, accepted);
        record.traces.clear();
        Some((record, judgement))
    }
}
