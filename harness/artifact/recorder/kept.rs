//! What is recorded of builds, as a value that another run can take for its own.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::super::record::{BuildRecord, write_atomically};
use super::super::steps::{self, Steps};
use super::Recorder;
use crate::runner::{Chain, Mode, script_path};

/// One build. Its files are texts: the log, the build as a script, and its steps.
#[derive(Debug, Serialize, Deserialize)]
struct KeptBuild {
    record: BuildRecord,
    log: String,
    script: String,
    steps: String,
}

impl Recorder<'_> {
    /// The builds of a chain; `None` if not all worked, changed nothing where nothing was changed, and left texts.
    pub(super) fn keep_chain(&self, chain: &Chain) -> Option<serde_json::Value> {
        let state = self.state();
        let mut kept: Vec<KeptBuild> = Vec::new();
        for planned in &chain.builds {
            let record = state.builds.iter().find(|record| record.id == planned.id)?;
            let changed = |first: &KeptBuild| !same_artifacts(&first.record, record);
            let told = record.status.ok() && record.traced && record.boot.is_none();
            if !told || record.mode == Mode::Noop && kept.first().is_none_or(changed) {
                return None;
            }
            let log = self.plan.dir.join(&record.log);
            let text = |path: &Path| fs::read_to_string(path).ok();
            kept.push(KeptBuild {
                record: record.clone(),
                script: text(&script_path(&log))?,
                steps: text(&log.with_file_name(steps::FILE))?,
                log: text(&log)?,
            });
        }
        serde_json::to_value(kept).ok()
    }

    /// Records the builds of a chain from what was kept; nothing if it cannot be read or written.
    pub(super) fn adopt_chain(&self, chain: &Chain, kept: serde_json::Value) -> Option<()> {
        let kept: Vec<KeptBuild> = serde_json::from_value(kept).ok()?;
        if kept.len() != chain.builds.len() {
            return None;
        }
        let mut adopted = Vec::new();
        for (planned, KeptBuild { record, log, script, steps: text }) in chain.builds.iter().zip(kept) {
            if record.mode != planned.mode || record.role != chain.role {
                return None;
            }
            let path = self.log_of(&planned.id);
            let files =
                [(path.clone(), &log), (script_path(&path), &script), (path.with_file_name(steps::FILE), &text)];
            for (file, text) in &files {
                write_atomically(file, text.as_bytes()).ok()?;
            }
            let steps = Steps::read(&path.with_file_name(steps::FILE)).ok()?;
            let record = BuildRecord {
                id: planned.id.clone(),
                edit: planned.edit,
                log: path.strip_prefix(&self.plan.dir).unwrap_or(&path).display().to_string(),
                reused: true,
                ..record
            };
            adopted.push((record, steps));
        }
        let mut state = self.state();
        for (record, steps) in adopted {
            state.traces.insert(record.id.clone(), steps);
            state.builds.push(record);
        }
        Some(())
    }

    /// As if the chain's builds had not been made.
    pub(super) fn forget_chain(&self, chain: &Chain) {
        let mut state = self.state();
        for build in &chain.builds {
            state.builds.retain(|record| record.id != build.id);
            state.traces.remove(&build.id);
        }
        state.trees.remove(&chain.instance);
    }
}

/// Whether two builds left the same artifacts, with the same modes.
pub(super) fn same_artifacts(one: &BuildRecord, other: &BuildRecord) -> bool {
    let told = |record: &BuildRecord| {
        record.artifacts.iter().map(|one| (one.path.clone(), one.sha256, one.mode)).collect::<Vec<_>>()
    };
    told(one) == told(other)
}
