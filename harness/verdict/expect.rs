//! Findings against what the scenario demands (`[[expect.finding]]`) and tolerates (`[[known]]`).

use super::compare::{Comparison, any_clean_worked, pattern_matches};
use super::{Finding, Standing};
use crate::artifact::record::{Ended, ScenarioRecord};
use crate::scenario::{Class, FindingName, Known, When, version_fits};

/// Where a finding stands that is about no build in particular.
const NO_BUILD: &str = "all";

/// Gives every finding its standing, and adds what was demanded or listed and did not appear, unless builds are
/// missing in which it could have appeared.
pub(super) fn weigh(record: &ScenarioRecord, comparison: &mut Comparison) {
    let (mut missing, mut fixed) = (Vec::new(), Vec::new());
    for known in record.scenario.known.iter().filter(|known| applies(record, known)) {
        let mut seen = false;
        for finding in &mut comparison.findings {
            let fits = finding.name == known.finding
                && fits_target(finding, known.target.as_deref())
                // Strictly: what began at an earlier edit is not known because it lasts until this one.
                && known.edit.as_ref().is_none_or(|edit| finding.edit.as_ref() == Some(edit));
            if fits {
                seen = true;
                if finding.standing == Standing::New {
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
    for expected in &record.scenario.expect.finding {
        let mut seen = 0;
        for finding in &mut comparison.findings {
            let fits = finding.name == expected.finding
                && fits_target(finding, expected.target.as_deref())
                && fits_edit(finding, expected.edit.as_deref());
            if fits {
                finding.standing = Standing::Expected;
                seen += 1;
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
        detail: Vec::new(),
        still: Vec::new(),
        folded: Vec::new(),
        standing: Standing::New,
    }
}

fn fits_target(finding: &Finding, pattern: Option<&str>) -> bool {
    pattern.is_none_or(|pattern| pattern_matches(pattern, &finding.target))
}

fn fits_edit(finding: &Finding, edit: Option<&str>) -> bool {
    edit.is_none_or(|edit| {
        let still = finding.still.iter().any(|build| build.split('/').next() == Some(edit));
        finding.edit.as_deref() == Some(edit) || still
    })
}

/// Whether the entry speaks of this kernel and these tools.
fn applies(record: &ScenarioRecord, known: &Known) -> bool {
    let kernel = known.kernels.is_empty()
        || record.kernel.as_deref().is_some_and(|have| known.kernels.iter().any(|wanted| version_fits(wanted, have)));
    let tools = known.tools.iter().all(|(name, wanted)| {
        record.toolchain.iter().any(|tool| tool.name == *name && version_fits(wanted, &tool.key))
    });
    kernel && tools
}

/// Whether the sources are a release that does not move: then a fault that is gone is an error in the list.
fn pinned(record: &ScenarioRecord) -> bool {
    let srctree = record.scenario.kernel_source();
    srctree == "mini" || srctree.starts_with("debian:") || srctree.contains(".tar")
}
