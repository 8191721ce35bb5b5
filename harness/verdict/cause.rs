//! From a difference towards its cause, as far as files alone show it.

use std::collections::{BTreeMap, BTreeSet};

use super::ATTENTION;
use super::Finding;
use super::compare::Comparison;
use crate::artifact::record::{BuildRecord, ScenarioRecord};
use crate::scenario::FindingName;

/// An artifact that was made again from an object that was not: what is wrong is the object, so the
/// artifact is stale, not diverged. Objects are tied to the artifact by kbuild's own naming: `x.ko` is
/// linked from `x.o` and `x.mod.o`, vmlinux from everything built in.
pub(super) fn untouched_input(finding: &mut Finding, path: &str, incremental: &BuildRecord, oracle: &BuildRecord) {
    if finding.name != FindingName::RebuildDiverged {
        return;
    }
    let differs = |file: &&String| {
        let want = oracle.files.get(*file);
        want.is_some() && incremental.files.get(*file) != want && !incremental.written.contains(*file)
    };
    let stale: Vec<&String> = incremental.files.keys().filter(differs).filter(|file| feeds(file, path)).collect();
    if let Some(first) = stale.first() {
        finding.name = FindingName::RebuildStale;
        let more = if stale.len() > 1 { format!(" and {} more", stale.len() - 1) } else { String::new() };
        finding.detail.push(format!("it was made again, but from `{first}`{more}, which was not and differs"));
    }
}

fn feeds(file: &str, artifact: &str) -> bool {
    let object = [".o", ".a", ".c", ".h", ".S", ".lds"].iter().any(|suffix| file.ends_with(suffix));
    match artifact.strip_suffix(".ko") {
        None => object,
        Some(stem) => {
            let dir = stem.rsplit_once('/').map_or("", |(dir, _)| dir);
            // The objects of a composite module lie in its directory.
            object && file.rsplit_once('/').map_or("", |(d, _)| d) == dir || file.starts_with("include/generated/")
        }
    }
}

/// Folds consequences under their causes.
pub(super) fn fold(record: &ScenarioRecord, comparison: &mut Comparison) {
    fold_irreproducible(record, comparison);
    fold_lasting(record, comparison);
    fold_flipping(comparison);
}

/// An artifact that differs between two clean builds without a variation differs after every edit as well.
fn fold_irreproducible(record: &ScenarioRecord, comparison: &mut Comparison) {
    if record.scenario.experiment.is_some() {
        return;
    }
    let parts = |finding: &Finding| -> Option<BTreeSet<String>> {
        let diff = finding.parts.as_ref()?;
        let names = diff.changed.iter().map(|part| part.name.clone());
        Some(names.chain(diff.added.iter().cloned()).chain(diff.removed.iter().cloned()).collect())
    };
    let causes: BTreeMap<String, (usize, Option<BTreeSet<String>>)> = comparison
        .findings
        .iter()
        .enumerate()
        .filter(|(_, finding)| finding.name == FindingName::ReproMismatch)
        .map(|(at, finding)| (finding.target.clone(), (at, parts(finding))))
        .collect();
    let mut folded: Vec<(usize, String)> = Vec::new();
    let mut unknown: BTreeSet<String> = BTreeSet::new();
    comparison.findings.retain(|finding| {
        let consequence = matches!(finding.name, FindingName::RebuildDiverged | FindingName::RebuildStale);
        let Some((cause, cause_parts)) = causes.get(&finding.target).filter(|_| consequence) else { return true };
        let within = match (parts(finding), cause_parts) {
            (Some(mine), Some(cause)) => mine.is_subset(cause),
            _ => false,
        };
        if within {
            folded.push((*cause, finding.id()));
            if finding.name == FindingName::RebuildStale {
                unknown.insert(finding.target.clone());
            }
        }
        !within
    });
    for target in unknown {
        comparison.notes.push(format!(
            "{ATTENTION}`{target}` differs between two clean builds: whether an edit left it stale cannot be told"
        ));
    }
    // Causes come before everything folded here: `compare` reports clean builds first.
    for (cause, id) in folded {
        if let Some(finding) = comparison.findings.get_mut(cause) {
            finding.folded.push(id);
        }
    }
}

/// Whether a finding is about an artifact that an edit left otherwise than a clean build makes it.
fn is_of_edit(name: FindingName) -> bool {
    use FindingName::{BtfBaseMismatch, BtfInvalid, BtfLost, RebuildDiverged, RebuildStale, ResumeDiverged};
    [RebuildDiverged, RebuildStale, ResumeDiverged, BtfLost, BtfInvalid, BtfBaseMismatch].contains(&name)
}

/// A difference that later builds leave exactly as it is, is one finding.
fn fold_lasting(record: &ScenarioRecord, comparison: &mut Comparison) {
    let bytes = |build: Option<&String>, target: &str| {
        let build = record.builds.iter().find(|b| Some(&b.id) == build)?;
        build.artifact(target).map(|artifact| artifact.sha256)
    };
    let mut kept: Vec<Finding> = Vec::new();
    for finding in std::mem::take(&mut comparison.findings) {
        let lasting = is_of_edit(finding.name) && finding.against.is_some();
        let earlier = kept.iter_mut().find(|earlier| {
            lasting
                && earlier.target == finding.target
                && is_of_edit(earlier.name)
                && bytes(Some(&earlier.build), &finding.target) == bytes(Some(&finding.build), &finding.target)
                && bytes(earlier.against.as_ref(), &finding.target) == bytes(finding.against.as_ref(), &finding.target)
        });
        match earlier {
            Some(earlier) => earlier.still.push(finding.build),
            None => kept.push(finding),
        }
    }
    comparison.findings = kept;
}

/// An artifact that every no-op changes, or a step that every no-op runs, is one finding a tree.
fn fold_flipping(comparison: &mut Comparison) {
    let mut kept: Vec<Finding> = Vec::new();
    for finding in std::mem::take(&mut comparison.findings) {
        let noop = matches!(finding.name, FindingName::NoopChanged | FindingName::NoopRan);
        match kept.iter_mut().find(|earlier| noop && earlier.name == finding.name && earlier.target == finding.target) {
            Some(earlier) => earlier.still.push(finding.build),
            None => kept.push(finding),
        }
    }
    comparison.findings = kept;
}
