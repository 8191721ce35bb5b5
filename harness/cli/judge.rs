//! `judge`: verdict and report from records, without building.

use std::path::Path;

use super::run::{capture_without_tools, show};
use super::state::find_run;
use super::{CliError, OutputArgs, Session, snapshots};
use crate::artifact::record::{RunRecord, ScenarioRecord, read};
use crate::verdict;

pub(super) fn judge(
    run: Option<&Path>,
    snapshots: Option<&Path>,
    output: &OutputArgs,
    session: &mut Session<'_>,
) -> Result<u8, CliError> {
    let host = capture_without_tools()?;
    let dir = find_run(&host, run)?;
    let unusable = |error: crate::artifact::record::RecordError| {
        CliError::usage(error.to_string(), "run the scenarios again by `kbuild-repro run`")
    };
    let record: RunRecord = read(&dir.join("run.json")).map_err(unusable)?;
    let snapshots = snapshots.map(|dir| host.cwd.join(dir)).or(record.snapshots.clone().map(Into::into));
    let accepted = snapshots.as_deref().map(snapshots::accepted).unwrap_or_default();
    let mut judged = Vec::new();
    for id in &record.scenarios {
        let mut scenario = ScenarioRecord::read(&dir.join(id)).map_err(unusable)?;
        let judgement = verdict::judge(&scenario, &accepted);
        scenario.traces.clear();
        judged.push((scenario, judgement));
    }
    let dir = dir.canonicalize().unwrap_or(dir);
    let report = crate::report::report(
        &record,
        Some(dir.display().to_string()),
        &judged,
        verdict::unreferenced(&record.unreferenced),
    );
    show(&report, output, session)?;
    Ok(report.exit_code)
}
