//! What is wrong with the BTF of a module or of vmlinux, whatever else differs.

use std::borrow::Cow;

use super::{ATTENTION, Comparison, finding, is_ignored};
use crate::artifact::record::{BuildRecord, ScenarioRecord};
use crate::artifact::{Artifact, BtfFacts, diff_parts, module_name};
use crate::runner::boot::Load;
use crate::scenario::FindingName;

/// How many functions that lost their BTF are named.
const NAMED_FUNCTIONS: usize = 8;

impl Comparison {
    /// Says so if the module lost BTF that the clean build has.
    pub(super) fn lost_btf(
        &mut self,
        record: &ScenarioRecord,
        incremental: &BuildRecord,
        oracle: &BuildRecord,
        have: &Artifact,
        want: &Artifact,
    ) -> bool {
        let Some(wanted) = &want.btf else { return false };
        let mut finding = finding(record, FindingName::BtfLost, &have.path, incremental);
        finding.against = Some(oracle.id.clone());
        finding.parts = Some(diff_parts(want, have));
        match &have.btf {
            None => {
                finding.summary = format!(
                    "no .BTF; a clean build gives it one with {} types and {} functions",
                    wanted.types, wanted.functions
                );
            }
            Some(btf) => {
                let lost: Vec<&str> = wanted
                    .function_names
                    .iter()
                    .filter(|name| !btf.function_names.contains(name))
                    .map(String::as_str)
                    .collect();
                // Other functions in both builds is a stale or diverged module, not lost BTF.
                let gained = btf.function_names.iter().any(|name| !wanted.function_names.contains(name));
                if lost.is_empty() || gained || btf.sha256 == wanted.sha256 || have_code_of_other_source(have, want) {
                    return false;
                }
                let named = lost.iter().take(NAMED_FUNCTIONS).copied().collect::<Vec<_>>().join(", ");
                let more = lost.len().saturating_sub(NAMED_FUNCTIONS);
                let more = if more > 0 { format!(" and {more} more") } else { String::new() };
                let functions = if lost.len() == 1 { "function lost its" } else { "functions lost their" };
                finding.summary = format!("{} {functions} BTF: {named}{more}", lost.len());
            }
        }
        self.findings.push(finding);
        true
    }

    pub(super) fn duplicate_btf(
        &mut self,
        record: &ScenarioRecord,
        build: &BuildRecord,
        artifact: &Artifact,
        control: Option<&BuildRecord>,
    ) -> bool {
        let sections = |artifact: &Artifact| artifact.btf.as_ref().map_or(0, |btf| btf.sections);
        let count = sections(artifact);
        if count < 2 || is_ignored(&record.scenario.compare.ignore, &artifact.path) {
            return false;
        }
        // A module that a clean build gives two is reported once, there.
        if control.and_then(|control| control.artifact(&artifact.path)).is_some_and(|clean| sections(clean) >= 2) {
            return true;
        }
        let mut finding = finding(record, FindingName::BtfDuplicate, &artifact.path, build);
        finding.summary = format!("{count} .BTF sections; the kernel takes the first and tools differ");
        self.findings.push(finding);
        true
    }

    /// Says so if a kernel refuses the BTF, or if it does not mean what it meant when it was made. `clean` is what a clean build
    /// of the same sources has, with its name, and `control` the first clean build.
    pub(super) fn unfit_btf(
        &mut self,
        record: &ScenarioRecord,
        build: &BuildRecord,
        have: &Artifact,
        clean: Option<(&BuildRecord, &Artifact)>,
        control: Option<&BuildRecord>,
    ) -> bool {
        let Some(btf) = have.btf.as_ref().filter(|_| !is_ignored(&record.scenario.compare.ignore, &have.path)) else {
            return false;
        };
        let btf = &self.by_the_kernel(build, have, btf);
        let first = control.and_then(|control| control.artifact(&have.path)?.btf.as_ref());
        // What is wrong in the first clean build is reported once, there.
        if first.is_some_and(|first| first.problem.is_some()) {
            return false;
        }
        let made = made_with(record, build, have);
        let moved = made.is_some_and(|made| made.meaning.is_some() && made.meaning != btf.meaning);
        if btf.problem.is_none() && !(moved && btf.meaning.is_some()) {
            return false;
        }
        let name = match btf.problem.is_none() || btf.misfit || moved {
            true => FindingName::BtfBaseMismatch,
            false => FindingName::BtfInvalid,
        };
        let mut finding = finding(record, name, &have.path, build);
        if let Some((oracle, want)) = clean {
            finding.against = Some(oracle.id.clone());
            finding.parts = Some(diff_parts(want, have));
        }
        finding.summary = match (&btf.problem, &btf.refusal, module_name(&have.path)) {
            (None, ..) => {
                "its .BTF means other types over the BTF that vmlinux has now; a kernel loads it all the same".into()
            }
            (Some(_), Some(why), Some(module)) => {
                format!("a kernel refuses it: failed to validate module [{module}] BTF: -22 ({why})")
            }
            (Some(_), Some(why), None) => format!("a kernel refuses its .BTF: {why}"),
            (Some(problem), None, _) => format!("{problem}; a kernel does not look at that as it loads it"),
        };
        let problem = btf.problem.as_ref().filter(|_| btf.refusal.is_some());
        finding.detail.extend(problem.map(|problem| format!("in its .BTF, {problem}")));
        if moved {
            finding.detail.push("it was made for an earlier vmlinux, whose types or strings stood elsewhere".into());
        }
        self.findings.push(finding);
        true
    }
}

impl Comparison {
    /// What the kernel itself said as it loaded the module, where it was booted, in place of what is known of kernels.
    fn by_the_kernel<'f>(&mut self, build: &BuildRecord, have: &Artifact, btf: &'f BtfFacts) -> Cow<'f, BtfFacts> {
        let Some(load) = build.boot.as_ref().and_then(|boot| boot.loads.get(&have.path)) else {
            return Cow::Borrowed(btf);
        };
        match (load.refusal(), &btf.refusal) {
            (Some(why), _) => {
                let said = || "the kernel that was built refuses it".to_owned();
                let problem = btf.problem.clone().unwrap_or_else(said);
                Cow::Owned(BtfFacts { refusal: Some(why.to_owned()), problem: Some(problem), ..btf.clone() })
            }
            (None, Some(expected)) if load.errno == 0 && load.btf => {
                self.notes.push(format!(
                    "{ATTENTION}{}: the kernel that was built takes the .BTF of `{}`; {expected} was expected",
                    build.id, have.path
                ));
                Cow::Owned(BtfFacts { refusal: None, problem: None, ..btf.clone() })
            }
            _ => Cow::Borrowed(btf),
        }
    }

    /// What came of the machines, and modules that are refused for another reason than their BTF.
    pub(super) fn machines(&mut self, record: &ScenarioRecord) {
        for build in &record.builds {
            let Some(boot) = &build.boot else { continue };
            let id = &build.id;
            if let Some(why) = &boot.not {
                self.notes.push(format!("{ATTENTION}{id} was not booted: {why}"));
                continue;
            }
            let release = boot.release.as_deref().unwrap_or("nothing");
            let count = |fits: &dyn Fn(&Load) -> bool| boot.loads.values().filter(|load| fits(load)).count();
            let (loaded, with) = (count(&|load| load.errno == 0), count(&|load| load.errno == 0 && load.btf));
            self.notes.push(format!(
                "{id}: booted {release}: {loaded} of {} modules loaded, {with} of them with their BTF",
                boot.loads.len()
            ));
            if let Some(problem) = &boot.problem {
                let last = boot.console.iter().rev().find(|line| !line.trim().is_empty());
                let last = last.map_or(String::new(), |line| format!("; the last on its console: {}", line.trim()));
                self.notes.push(format!("{ATTENTION}{id}: {problem}{last}"));
            }
            for (path, load) in boot.loads.iter().filter(|(_, load)| load.errno != 0 && load.refusal().is_none()) {
                let why = load.log.first().map_or_else(|| format!("error {}", load.errno), Clone::clone);
                self.notes.push(format!("{ATTENTION}{id}: the kernel that was built refuses `{path}`: {why}"));
            }
        }
    }
}

/// What was known of this `.BTF` when it was made: by the first build of this tree since which it is the same.
fn made_with<'r>(record: &'r ScenarioRecord, build: &BuildRecord, artifact: &Artifact) -> Option<&'r BtfFacts> {
    let sha256 = artifact.btf.as_ref()?.sha256;
    let at = record.builds.iter().position(|b| b.id == build.id)?;
    let earlier = record.builds[..at].iter().rev().filter(|b| b.is_in_tree_of(build)).filter(|b| b.status.ok());
    let facts = earlier.map_while(|b| b.artifact(&artifact.path)?.btf.as_ref().filter(|btf| btf.sha256 == sha256));
    facts.last()
}

/// Whether the code differs too: then the sources of the two modules differ, and so may their functions.
fn have_code_of_other_source(have: &Artifact, want: &Artifact) -> bool {
    let diff = diff_parts(have, want);
    let code = |name: &str| name.starts_with(".text") || name.starts_with(".init.text");
    diff.changed.iter().any(|part| code(&part.name)) || diff.added.iter().chain(&diff.removed).any(|name| code(name))
}
