//! What is taken from the files that findings are about, before they go away.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use crate::artifact::record::ScenarioRecord;
use crate::artifact::recorder::{base_of, keep_evidence};
use crate::artifact::{Side, btf_difference};
use crate::scenario::FindingName;
use crate::verdict::{Finding, Judgement};

/// Of how many findings of a scenario it is said what their BTF says; a kernel has thousands of modules.
const EXPLAINED: usize = 100;

/// What BTF that differs says differently, while the files are still there; by the findings' ids.
pub(super) fn says(record: &ScenarioRecord, judgement: &Judgement, store: &Path) -> BTreeMap<String, Vec<String>> {
    let kept = |build: &str, artifact: &str| {
        let build = record.builds.iter().find(|record| record.id == build)?;
        Some(store.join(build.artifact(artifact)?.sha256.to_string())).filter(|kept| kept.is_file())
    };
    // What BTF says over another base than its own, a kernel refuses to hear; to list it as gained and lost is to be believed.
    let is_misread = |finding: &Finding| {
        let build = record.builds.iter().find(|build| build.id == finding.build);
        let btf = build.and_then(|build| build.artifact(&finding.target)?.btf.as_ref());
        finding.name == FindingName::BtfBaseMismatch && btf.is_some_and(|btf| btf.problem.is_some())
    };
    let of = |finding: &Finding| {
        if is_misread(finding) {
            return None;
        }
        let parts = finding.parts.as_ref()?;
        parts.changed.iter().find(|part| part.name.starts_with(".BTF"))?;
        let (before, now) = (finding.against.as_deref()?, finding.build.as_str());
        let files = (kept(before, &finding.target)?, kept(now, &finding.target)?);
        let base = |build: &str| Some(base_of(store, build)).filter(|kept| kept.is_file());
        let bases = (base(before), base(now));
        let before = Side { file: &files.0, vmlinux: bases.0.as_deref() };
        let now = Side { file: &files.1, vmlinux: bases.1.as_deref() };
        let lines = btf_difference(before, now);
        (!lines.is_empty()).then(|| (finding.id(), lines))
    };
    judgement.findings.iter().filter_map(of).take(EXPLAINED).collect()
}

/// Copies the files that findings are about into the record.
pub(super) fn keep(record: &ScenarioRecord, judgement: &Judgement, store: &Path, dir: &Path) -> io::Result<()> {
    for finding in judgement.findings.iter().filter(|finding| finding.parts.is_some()) {
        for build in std::iter::once(&finding.build).chain(&finding.against) {
            keep_evidence(store, dir, &record.builds, build, &finding.target)?;
        }
    }
    Ok(())
}
