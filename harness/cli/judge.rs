//! `judge`: verdict and report from records, without building.

use std::path::{Path, PathBuf};

use super::output::show;
use super::run::capture_without_tools;
use super::state::find_run;
use super::{CliError, JudgeArgs, Session, snapshots};
use crate::artifact::record::{RunRecord, ScenarioRecord, read};
use crate::report::Report;
use crate::verdict::{self, Judgement};

/// A recorded run, judged again.
pub(super) struct Judged {
    /// Its directory.
    pub(super) dir: PathBuf,
    pub(super) run: RunRecord,
    pub(super) scenarios: Vec<(ScenarioRecord, Judgement)>,
}

impl Judged {
    /// Reads a run and judges it, against accepted snapshots elsewhere if that is asked.
    pub(super) fn read(run: Option<&Path>, snapshots: Option<&Path>) -> Result<Self, CliError> {
        let host = capture_without_tools()?;
        let dir = find_run(&host, run)?;
        let unusable = |error: crate::artifact::record::RecordError| {
            CliError::usage(error.to_string(), "run the scenarios again by `kbuild-repro run`")
        };
        let run: RunRecord = read(&dir.join("run.json")).map_err(unusable)?;
        let snapshots = snapshots.map(|dir| host.cwd.join(dir)).or(run.snapshots.clone().map(Into::into));
        let accepted = snapshots.as_deref().map(snapshots::accepted).unwrap_or_default();
        let mut scenarios = Vec::new();
        for id in &run.scenarios {
            let mut scenario = ScenarioRecord::read(&dir.join(id)).map_err(unusable)?;
            let judgement = verdict::judge(&scenario, &accepted);
            scenario.traces.clear();
            scenarios.push((scenario, judgement));
        }
        let dir = dir.canonicalize().unwrap_or(dir);
        Ok(Self { dir, run, scenarios })
    }

    pub(super) fn report(&self) -> Report {
        let unreferenced = verdict::unreferenced(&self.run.unreferenced);
        crate::report::report(&self.run, Some(self.dir.display().to_string()), &self.scenarios, unreferenced)
    }
}

pub(super) fn judge(args: &JudgeArgs, session: &mut Session<'_>) -> Result<u8, CliError> {
    let mut report = Judged::read(args.run.as_deref(), args.snapshots.as_deref())?.report();
    args.history.compare(&mut report)?;
    show(&report, &args.output, session)?;
    Ok(report.exit_code)
}
