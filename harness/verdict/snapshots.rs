//! Texts against accepted snapshots.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::compare::Comparison;
use super::{Finding, Standing};
use crate::artifact::record::ScenarioRecord;
use crate::artifact::snapshot::{normalized, text_diff};
use crate::scenario::FindingName;

/// Accepted snapshots: contents by path below the snapshot directory.
#[derive(Debug, Clone, Default)]
pub struct Accepted(pub BTreeMap<PathBuf, String>);

/// Where the snapshot of an artifact is, below the snapshot directory.
#[must_use]
pub fn snapshot_path(scenario: &str, variant: &str, artifact: &str) -> PathBuf {
    // One file a snapshot in one directory a variant: `/` in an artifact's path is not a directory there.
    [scenario, variant, &format!("{}.snap", artifact.replace('/', "__"))].iter().collect()
}

/// The directory of a variant: `gcc-12,pahole-1.24`.
#[must_use]
pub fn variant_name(variant: &BTreeMap<String, String>) -> String {
    variant.iter().map(|(tool, version)| format!("{tool}-{version}")).collect::<Vec<_>>().join(",")
}

/// Findings about accepted snapshots, by path, that no scenario declares.
#[must_use]
pub fn unreferenced(paths: &[String]) -> Vec<Finding> {
    let finding = |path: &String| Finding {
        name: FindingName::SnapshotUnreferenced,
        target: path.clone(),
        build: "all".into(),
        against: None,
        edit: None,
        summary: "no scenario declares it, in any variant".into(),
        parts: None,
        cause: None,
        confirmed: None,
        detail: vec!["delete it, or declare it under `[snapshots]` of its scenario".into()],
        still: Vec::new(),
        folded: Vec::new(),
        standing: Standing::New,
    };
    paths.iter().map(finding).collect()
}

pub(super) fn compare(record: &ScenarioRecord, accepted: &Accepted, comparison: &mut Comparison) {
    for snapshot in &record.snapshots {
        let Some(variant) = &snapshot.variant else {
            comparison.notes.push(format!(
                "no snapshot of `{}` is declared for this toolchain; add it to `[snapshots] variants` to keep one",
                snapshot.artifact
            ));
            continue;
        };
        let path = snapshot_path(&record.id, variant, &snapshot.artifact);
        let shown = path.display().to_string();
        let (name, summary, detail) = match (&snapshot.contents, accepted.0.get(&path)) {
            (Err(why), _) => (FindingName::SnapshotMissing, format!("nothing to compare: {why}"), Vec::new()),
            (Ok(_), None) => (
                FindingName::SnapshotMissing,
                format!("`{shown}` is not there"),
                vec!["review the pending one: cargo insta review".to_owned()],
            ),
            (Ok(new), Some(old)) if normalized(old) == normalized(new) => {
                comparison.compared += 1;
                continue;
            }
            (Ok(new), Some(old)) => {
                comparison.compared += 1;
                let mut detail: Vec<String> = text_diff(old, new).lines().map(str::to_owned).collect();
                detail.push("accept or reject it: cargo insta review".into());
                (FindingName::SnapshotChanged, format!("differs from `{shown}`"), detail)
            }
        };
        comparison.findings.push(Finding {
            name,
            target: snapshot.artifact.clone(),
            build: "control/clean".into(),
            against: None,
            edit: None,
            summary,
            parts: None,
            cause: None,
            confirmed: None,
            detail,
            still: Vec::new(),
            folded: Vec::new(),
            standing: Standing::New,
        });
    }
}
