//! Texts against accepted snapshots.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::compare::Comparison;
use super::{Finding, Standing};
use crate::artifact::record::{ScenarioRecord, ToolRecord};
use crate::artifact::snapshot::{normalized, text_diff};
use crate::scenario::{FindingName, without_tools};

/// How many digits of a program's digest tell it from another.
const DIGITS: usize = 12;

/// Accepted snapshots.
#[derive(Debug, Clone, Default)]
pub struct Accepted {
    /// Their contents, by path below the snapshot directory.
    pub contents: BTreeMap<PathBuf, String>,
    /// By which tools they were made, in words of [`tools`], where that is known.
    pub tools: BTreeMap<PathBuf, String>,
}

/// The tools of a scenario, each by its version and the digest of its program: `gcc 12.2.0 1f2e3d4c, pahole v1.24 ...`.
#[must_use]
pub fn tools(record: &ScenarioRecord) -> String {
    let one = |tool: &ToolRecord| {
        let digest = tool.sha256.map(|digest| digest.to_string()).unwrap_or_default();
        format!("{} {} {}", tool.name, tool.key, &digest[..digest.len().min(DIGITS)]).trim_end().to_owned()
    };
    record.toolchain.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// Which tools are not those by which a snapshot was made.
fn other_tools(accepted: &str, now: &str) -> Vec<String> {
    let by_name = |text: &str| -> BTreeMap<String, String> {
        let one = |tool: &str| tool.split_once(' ').map(|(name, what)| (name.to_owned(), what.to_owned()));
        text.split(", ").filter_map(one).collect()
    };
    let (then, now) = (by_name(accepted), by_name(now));
    let changed = then.iter().filter_map(|(name, was)| {
        let is = now.get(name).filter(|is| *is != was)?;
        Some(format!("made by another {name}: {is}; the accepted one by {was}"))
    });
    changed.collect()
}

/// Where the snapshot of an artifact is, below the snapshot directory. Its tools are in the variant's name, and not in the
/// scenario's: a version that a cell of a matrix names may be the system's elsewhere.
#[must_use]
pub fn snapshot_path(scenario: &str, variant: &str, artifact: &str) -> PathBuf {
    // One file a snapshot in one directory a variant: `/` in an artifact's path is not a directory there.
    [without_tools(scenario), variant, &format!("{}.snap", artifact.replace('/', "__"))].iter().collect()
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
        says: Vec::new(),
        owners: None,
        detail: vec!["delete it, or declare it under `[snapshots]` of its scenario".into()],
        still: Vec::new(),
        folded: Vec::new(),
        varied: None,
        cost_ms: None,
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
        let (name, summary, detail) = match (&snapshot.contents, accepted.contents.get(&path)) {
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
                let then = accepted.tools.get(&path);
                let other = then.map(|then| other_tools(then, &tools(record))).unwrap_or_default();
                let mut detail: Vec<String> = other;
                detail.extend(text_diff(old, new).lines().map(str::to_owned));
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
            says: Vec::new(),
            owners: None,
            detail,
            still: Vec::new(),
            folded: Vec::new(),
            varied: None,
            cost_ms: None,
            standing: Standing::New,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_that_is_another_than_then_is_named() {
        let then = "gcc 12 aa, pahole 1.24 bb";
        assert_eq!(other_tools(then, then), [""; 0]);
        let now = "gcc 12 aa, ld 2.40 cc, pahole 1.25 dd";
        assert_eq!(other_tools(then, now), ["made by another pahole: 1.25 dd; the accepted one by 1.24 bb"]);
    }
}
