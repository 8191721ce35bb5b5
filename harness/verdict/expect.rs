//! Findings against what the scenario demands (`[[expect.finding]]`) and tolerates (`[[known]]`).

use std::collections::BTreeMap;

use super::compare::{Comparison, any_clean_worked, pattern_matches};
use super::{Finding, Standing};
use crate::artifact::record::{Ended, ScenarioRecord};
use crate::scenario::{Class, ExpectFinding, FindingName, Known, When, version_is_among};

/// Where a finding stands that is about no build in particular.
const NO_BUILD: &str = "all";

/// Gives every finding its standing, and adds what was demanded or listed and did not appear, unless builds are
/// missing in which it could have appeared.
pub(super) fn weigh(record: &ScenarioRecord, comparison: &mut Comparison) {
    let (mut missing, mut fixed) = (Vec::new(), Vec::new());
    // What only an audit finds is not missed here.
    let here = |known: &&Known| known.finding != FindingName::DepMissing && is_known_here(record, known);
    for known in record.scenario.known.iter().filter(here) {
        let mut seen = false;
        for finding in &mut comparison.findings {
            let fits = finding.name == known.finding
                && fits_target(finding, known.target.as_deref())
                // Strictly: what began at an earlier edit is not known because it lasts until this one.
                && known.edit.as_ref().is_none_or(|edit| finding.edit.as_ref() == Some(edit))
                && fits_cmd(finding, known.cmd.as_deref());
            if fits {
                seen = true;
                if matches!(finding.standing, Standing::New | Standing::Latent) {
                    finding.standing = Standing::Known { why: known.why.clone() };
                }
            }
        }
        if seen || known.when == Some(When::Sometimes) {
            continue;
        }
        let what = format!("`{}` is listed as known and was not found: {}", known.finding, known.why);
        if pinned(record) {
            missing.push(absent(
                FindingName::KnownStale,
                known.finding,
                known.target.as_deref(),
                known.edit.clone(),
                what,
            ));
        } else {
            fixed.push(format!("fixed? {what}"));
        }
    }
    // A list that is out of date can be demanded too; what is demanded stands over what is tolerated.
    comparison.findings.append(&mut missing);
    let here = |expected: &&ExpectFinding| applies(record, &expected.kernels, &expected.tools);
    for expected in record.scenario.expect.finding.iter().filter(here) {
        let mut seen = 0;
        for finding in &mut comparison.findings {
            let fits = |target: &&str| expected.target.as_ref().is_none_or(|want| pattern_matches(want, target));
            let fitting = targets(finding, expected.finding).filter(fits).count();
            if fitting > 0 && fits_edit(finding, expected.edit.as_deref()) {
                finding.standing = Standing::Expected;
                seen += u32::try_from(fitting).unwrap_or(u32::MAX);
            }
        }
        let wanted = expected.at_least.unwrap_or(1);
        if seen < wanted {
            missing.push(absent(
                FindingName::ExpectUnmet,
                expected.finding,
                expected.target.as_deref(),
                expected.edit.clone(),
                format!("`{}` must be found {wanted} time(s), and was {seen}", expected.finding),
            ));
        }
    }
    comparison.findings.extend(missing);
    let cut_short = record.ended != Ended::Complete
        || comparison.findings.iter().any(|f| f.name.class() == Class::Inconclusive && f.standing == Standing::New);
    if cut_short {
        comparison.findings.retain(|finding| finding.build != NO_BUILD);
    } else if any_clean_worked(record) {
        comparison.notes.append(&mut fixed);
    }
}

/// Gives what an audit found its standing. An entry of which nothing is seen is not judged: a limit, or a choice of steps,
/// may have left it out.
pub(super) fn weigh_audit(record: &ScenarioRecord, findings: &mut [Finding]) {
    let listed = |known: &&Known| known.finding == FindingName::DepMissing && is_known_here(record, known);
    for known in record.scenario.known.iter().filter(listed) {
        let fits = |finding: &&mut Finding| {
            fits_target(finding, known.target.as_deref()) && fits_cmd(finding, known.cmd.as_deref())
        };
        for finding in findings.iter_mut().filter(fits) {
            finding.standing = Standing::Known { why: known.why.clone() };
        }
    }
}

fn absent(
    name: FindingName,
    wanted: FindingName,
    target: Option<&str>,
    edit: Option<String>,
    summary: String,
) -> Finding {
    Finding {
        name,
        target: format!("{wanted} {}", target.unwrap_or("*")),
        build: NO_BUILD.into(),
        against: None,
        edit,
        summary,
        parts: None,
        cause: None,
        confirmed: None,
        says: Vec::new(),
        owners: None,
        detail: Vec::new(),
        still: Vec::new(),
        folded: Vec::new(),
        varied: None,
        cost_ms: None,
        standing: Standing::New,
    }
}

/// Whether a finding, or one of its name that was folded under it, is about such an artifact.
fn fits_target(finding: &Finding, pattern: Option<&str>) -> bool {
    targets(finding, finding.name).any(|target| pattern.is_none_or(|pattern| pattern_matches(pattern, target)))
}

/// Whether a finding can come from such a `cmd_X`: where its step, or the name of its command, is not known, it can.
fn fits_cmd(finding: &Finding, wanted: Option<&str>) -> bool {
    fn bare(name: &str) -> &str {
        name.strip_prefix("cmd_").unwrap_or(name)
    }
    let known = finding.cause.as_ref().and_then(|cause| cause.cmd.as_ref());
    wanted.zip(known).is_none_or(|(wanted, known)| bare(wanted) == bare(&known.name))
}

/// What a finding is about if it has this name, and those of this name that were folded under it; one of another name is
/// about what it was folded under as well.
fn targets(finding: &Finding, name: FindingName) -> impl Iterator<Item = &str> {
    let folded = || {
        finding.folded.iter().filter_map(move |id| {
            let (other, rest) = id.split_once('@')?;
            (other == name.name()).then(|| rest.split_once(':'))?.map(|(_, target)| target)
        })
    };
    let own = finding.name == name || folded().next().is_some();
    own.then_some(finding.target.as_str()).into_iter().chain(folded())
}

fn fits_edit(finding: &Finding, edit: Option<&str>) -> bool {
    edit.is_none_or(|edit| {
        let still = finding.still.iter().any(|build| build.split('/').next() == Some(edit));
        finding.edit.as_deref() == Some(edit) || still
    })
}

fn is_known_here(record: &ScenarioRecord, known: &Known) -> bool {
    applies(record, &known.kernels, &known.tools)
}

/// Whether an entry with these speaks of this kernel and these tools.
fn applies(record: &ScenarioRecord, kernels: &[String], tools: &BTreeMap<String, String>) -> bool {
    let kernel = kernels.is_empty()
        || record.kernel.as_deref().is_some_and(|have| kernels.iter().any(|meant| version_is_among(meant, have, have)));
    let tools = tools.iter().all(|(name, meant)| {
        record.toolchain.iter().any(|tool| tool.name == *name && version_is_among(meant, &tool.key, &tool.version))
    });
    kernel && tools
}

/// Whether the sources are a release that does not move: then a fault that is gone is an error in the list.
fn pinned(record: &ScenarioRecord) -> bool {
    let srctree = record.scenario.kernel_source();
    srctree == "mini" || srctree.starts_with("debian:") || srctree.contains(".tar")
}
