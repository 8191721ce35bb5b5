//! Accepted and pending snapshots on disk.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::artifact::ArtifactError;
use crate::artifact::record::ScenarioRecord;
use crate::artifact::snapshot::{Snapshot, Value, normalized, pending_path};
use crate::scenario::{FindingName, Scenario};
use crate::tree::Lower as _;
use crate::tree::lower::DirLower;
use crate::verdict::{Accepted, Finding, Standing, snapshot_path, tools, variant_name};

/// How a snapshot's description begins: the tools follow.
const MADE_BY: &str = "made by ";

/// Reads every accepted snapshot below a directory. One that is no snapshot counts as not there: then it is
/// missing, and that is said.
#[must_use]
pub fn accepted(dir: &Path) -> Accepted {
    let paths = DirLower(dir.to_owned()).below("").unwrap_or_default();
    let mut accepted = Accepted::default();
    for path in paths.into_iter().filter(|path| path.ends_with(".snap")) {
        let Ok(text) = fs::read_to_string(dir.join(&path)) else { continue };
        let Ok(snapshot) = Snapshot::parse(&text) else { continue };
        let made = match snapshot.metadata.get("description") {
            Some(Value::Text(text)) => text.strip_prefix(MADE_BY).map(str::to_owned),
            _ => None,
        };
        accepted.tools.extend(made.map(|tools| (PathBuf::from(&path), tools)));
        accepted.contents.insert(path.into(), snapshot.contents);
    }
    accepted
}

/// Writes what differs from the accepted snapshots as `.snap.new` beside them, for `cargo insta review`;
/// says what was written. What is equal has no pending snapshot any more; neither has what the scenario demands
/// or tolerates to differ, which nobody is to accept.
///
/// # Errors
/// It cannot be written.
pub fn write_pending(
    dir: &Path,
    record: &ScenarioRecord,
    findings: &[Finding],
    accepted: &Accepted,
) -> Result<Vec<PathBuf>, ArtifactError> {
    let mut written = Vec::new();
    for snapshot in &record.snapshots {
        let (Some(variant), Ok(contents)) = (&snapshot.variant, &snapshot.contents) else { continue };
        let relative = snapshot_path(&record.id, variant, &snapshot.artifact);
        let path = dir.join(&relative);
        let pending = pending_path(&path);
        let equal = accepted.contents.get(&relative).is_some_and(|old| normalized(old) == normalized(contents));
        if equal || is_meant(findings, &snapshot.artifact) {
            let _ = fs::remove_file(&pending);
            continue;
        }
        let mut new = Snapshot::new(contents.clone(), &record.file, &format!("BTF of {}", snapshot.artifact));
        let made = format!("{MADE_BY}{}", tools(record));
        new.metadata.insert("description".into(), Value::Text(made));
        new.write(&pending)?;
        written.push(pending);
    }
    Ok(written)
}

/// Whether the scenario says that the snapshot of an artifact differs or is not there.
#[must_use]
pub fn is_meant(findings: &[Finding], artifact: &str) -> bool {
    let about = |finding: &&Finding| {
        matches!(finding.name, FindingName::SnapshotChanged | FindingName::SnapshotMissing)
            && finding.target == artifact
    };
    findings.iter().filter(about).any(|finding| finding.standing != Standing::New)
}

/// The paths of the snapshots that a scenario declares, all its variants.
#[must_use]
pub fn declared(id: &str, scenario: &Scenario) -> Vec<PathBuf> {
    let Some(snapshots) = &scenario.snapshots else { return Vec::new() };
    let variants = snapshots.variants.iter().map(variant_name);
    variants
        .flat_map(|variant| snapshots.btf.iter().map(move |artifact| snapshot_path(id, &variant, artifact)))
        .collect()
}

/// The snapshots below `dir` that are not among the `declared` ones, readable or not.
#[must_use]
pub fn unreferenced(dir: &Path, declared: &BTreeSet<PathBuf>) -> Vec<String> {
    let mut paths = DirLower(dir.to_owned()).below("").unwrap_or_default();
    paths.retain(|path| path.ends_with(".snap") && !declared.contains(Path::new(path)));
    paths
}
