//! A change of the build before it is merged: the same scenarios on the tree without it and with it. Pure over records.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Finding, Judgement, Standing, Verdict};
use crate::artifact::record::{Mode, ScenarioRecord, ToolRecord};
use crate::scenario::Class;
use crate::trace::{Kind, Step};

/// What a change does to the builds of some scenarios.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Review {
    /// What is reviewed: subjects of patches, or commits.
    pub changes: Vec<String>,
    /// `Message-ID` of the first mail, where it came by mail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_id: Option<String>,
    /// How often each time was taken.
    pub repeated: u32,
    /// Processors of the host.
    pub processors: usize,
    /// The scenarios.
    pub scenarios: Vec<Reviewed>,
}

/// One scenario, without the change and with it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Reviewed {
    /// Its id.
    pub id: String,
    /// Its title.
    pub title: String,
    /// The kernel's version.
    pub kernel: Option<String>,
    /// What its sources are without the change.
    pub source: String,
    /// What it was built with.
    pub toolchain: Vec<ToolRecord>,
    /// Both sides.
    pub before: Side,
    /// Both sides.
    pub after: Side,
    /// Findings that are gone.
    pub gone: Vec<Told>,
    /// Findings that are new.
    pub new: Vec<Told>,
    /// Findings that are on both sides.
    pub same: Vec<Told>,
    /// What each edit costs.
    pub edits: Vec<EditCost>,
}

/// A scenario on one side.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Side {
    /// What came of it, by what builds show alone.
    pub verdict: Verdict,
    /// Why, where nothing can be said.
    pub reason: Option<String>,
    /// Bytes of the files that the first clean build left in the object tree.
    pub objtree_bytes: u64,
    /// How many modules there are.
    pub modules: usize,
    /// Their bytes.
    pub module_bytes: u64,
}

/// A finding, in short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Told {
    /// Its id.
    pub id: String,
    /// Whether it is of class wrong, or a cost.
    pub wrong: bool,
    /// What differs, or what happened.
    pub summary: String,
    /// The step to blame, and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
}

/// The incremental build after one edit, on both sides.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EditCost {
    /// The edit's name.
    pub edit: String,
    /// Without the change.
    pub before: Cost,
    /// With it.
    pub after: Cost,
}

/// What one build costs.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Cost {
    /// Steps that ran.
    pub steps: usize,
    /// By what kbuild prints before the target: `LD [M]`.
    pub kinds: BTreeMap<String, KindCost>,
    /// Seconds of wall time of each build that was timed, none of them traced.
    pub seconds: Vec<f64>,
}

/// What the steps of one kind cost.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct KindCost {
    /// How many ran.
    pub steps: usize,
    /// Seconds of processor time, all together.
    pub cpu_seconds: f64,
}

/// The steps of the rule for `%.ko` (scripts/Makefile.modfinal), by what kbuild prints.
pub const OF_KO: [&str; 2] = ["LD [M]", "BTF [M]"];

/// A record with what was judged of it.
pub type Judged<'a> = (&'a ScenarioRecord, &'a Judgement);

/// Lays both sides of a scenario side by side; times are added by who takes them.
#[must_use]
pub fn review(before: Judged<'_>, after: Judged<'_>) -> Reviewed {
    let ids = |judgement: &Judgement| -> BTreeSet<String> {
        judgement.findings.iter().filter(|finding| counts(finding)).map(Finding::id).collect()
    };
    let (old, new) = (ids(before.1), ids(after.1));
    let told = |judgement: &Judgement, pick: &dyn Fn(&String) -> bool| -> Vec<Told> {
        let counted = judgement.findings.iter().filter(|finding| counts(finding) && pick(&finding.id()));
        counted.map(Told::of).collect()
    };
    // Where nothing can be said of one side, no finding is gone or new.
    let both =
        [before.1, after.1].iter().all(|judgement| matches!(judgement.verdict, Verdict::Passed | Verdict::Failed));
    let record = before.0;
    Reviewed {
        id: record.id.clone(),
        title: record.scenario.title.clone(),
        kernel: record.kernel.clone(),
        source: record.source.clone(),
        toolchain: record.toolchain.clone(),
        before: Side::of(before),
        after: Side::of(after),
        gone: if both { told(before.1, &|id| !new.contains(id)) } else { Vec::new() },
        new: if both { told(after.1, &|id| !old.contains(id)) } else { Vec::new() },
        same: told(after.1, &|id| old.contains(id)),
        edits: costs(before.0, after.0),
    }
}

/// Whether a finding is one of what builds do; what is latent no build of the scenario came to.
fn counts(finding: &Finding) -> bool {
    finding.standing != Standing::Latent
}

impl Told {
    fn of(finding: &Finding) -> Self {
        let cause = finding.cause.as_ref();
        Self {
            id: finding.id(),
            wrong: finding.name.class() == Class::Wrong,
            summary: finding.summary.clone(),
            cause: cause.map(|cause| format!("{} — {}: {}", cause.step, cause.fault.words(), cause.why)),
        }
    }
}

impl Side {
    fn of((record, judgement): Judged<'_>) -> Self {
        let clean = record.builds.iter().find(|build| build.id == "control/clean");
        let modules: Vec<u64> = clean
            .into_iter()
            .flat_map(|build| &build.artifacts)
            .filter(|artifact| artifact.path.ends_with(".ko"))
            .map(|artifact| artifact.size)
            .collect();
        Self {
            verdict: judgement.verdict,
            reason: judgement.reason.clone(),
            objtree_bytes: clean.map_or(0, |build| build.objtree_bytes),
            modules: modules.len(),
            module_bytes: modules.iter().sum(),
        }
    }
}

fn costs(before: &ScenarioRecord, after: &ScenarioRecord) -> Vec<EditCost> {
    let edits = 0..before.scenario.edit.len();
    edits
        .map(|edit| EditCost {
            edit: before.scenario.edit_name(edit),
            before: Cost::of(before, edit),
            after: Cost::of(after, edit),
        })
        .collect()
}

impl Cost {
    /// What the traced incremental build after an edit did.
    fn of(record: &ScenarioRecord, edit: usize) -> Self {
        let build = record.builds.iter().find(|build| build.mode == Mode::Incremental && build.edit == Some(edit));
        let steps = build.and_then(|build| record.traces.get(&build.id));
        let mut cost = Self::default();
        for step in steps.into_iter().flat_map(|steps| &steps.steps).filter(|step| makes(step)) {
            cost.steps += 1;
            let Some(label) = &step.label else { continue };
            let kind = cost.kinds.entry(kind_of(label).to_owned()).or_default();
            kind.steps += 1;
            #[expect(clippy::cast_precision_loss, reason = "microseconds of a build fit a double many times over")]
            let seconds = step.cpu as f64 / 1e6;
            kind.cpu_seconds += seconds;
        }
        cost
    }

    /// Seconds of processor time of the rule for `%.ko`: linking, BTF.
    #[must_use]
    pub fn of_ko(&self) -> [f64; 2] {
        OF_KO.map(|kind| self.kinds.get(kind).map_or(0.0, |kind| kind.cpu_seconds))
    }

    /// The median of its times, the least and the most.
    #[must_use]
    pub fn spread(&self) -> Option<[f64; 3]> {
        let mut seconds = self.seconds.clone();
        seconds.sort_by(f64::total_cmp);
        let middle = *seconds.get(seconds.len() / 2)?;
        let median = if seconds.len().is_multiple_of(2) {
            f64::midpoint(seconds[seconds.len() / 2 - 1], middle)
        } else {
            middle
        };
        Some([median, seconds[0], seconds[seconds.len() - 1]])
    }
}

/// Whether a step made something: make's own questions and checks of what is up to date do not count.
fn makes(step: &Step) -> bool {
    step.kind == Kind::Recipe && !step.outputs.is_empty()
}

/// `LD [M]` of `LD [M] crypto/md5.ko`.
fn kind_of(label: &str) -> &str {
    label.rsplit_once(' ').map_or(label, |(kind, _)| kind.trim_end())
}

/// What the `.ko` rule of a graft would cost in a whole kernel. An estimate by the number of modules: a real module is larger, so
/// time is a lower bound; disk is by the bytes of modules.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// Seconds of processor time of linking modules.
    pub link_seconds: f64,
    /// And of their BTF.
    pub btf_seconds: f64,
}

/// Modules of a distribution's kernel, and their bytes with debug information.
pub const DISTRIBUTION: (usize, f64) = (5_500, 8e9);

impl Reviewed {
    /// The estimate for one edit, of both sides.
    #[must_use]
    pub fn estimate(&self, edit: &EditCost) -> Option<[Estimate; 2]> {
        let of = |side: &Side, cost: &Cost| {
            if side.modules == 0 {
                return None;
            }
            #[expect(clippy::cast_precision_loss, reason = "numbers of modules")]
            let times = DISTRIBUTION.0 as f64 / side.modules as f64;
            let [link, btf] = cost.of_ko();
            Some(Estimate { link_seconds: link * times, btf_seconds: btf * times })
        };
        Some([of(&self.before, &edit.before)?, of(&self.after, &edit.after)?])
    }

    /// How many bytes the object tree grows by for each byte of modules.
    #[must_use]
    pub fn growth(&self) -> Option<f64> {
        #[expect(clippy::cast_precision_loss, reason = "bytes of a build fit a double")]
        let [before, after, modules] =
            [self.before.objtree_bytes, self.after.objtree_bytes, self.before.module_bytes].map(|bytes| bytes as f64);
        (modules > 0.0).then(|| (after - before) / modules)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::judge;
    use crate::verdict::sample::{build, record, twice};

    const EDIT: &str = "[[edit]]\nid = \"e\"\nfile = \"a.c\"\nappend = \"x\"\n";

    fn side(incremental: &str, oracle: &str) -> (ScenarioRecord, Judgement) {
        let mut builds = twice(&[("a.ko", "old")]);
        builds.push(build("edit-1/incremental", &[("a.ko", incremental)]));
        builds.push(build("edit-1/oracle", &[("a.ko", oracle)]));
        let record = record(EDIT, builds);
        let judgement = judge(&record, &Default::default());
        (record, judgement)
    }

    fn reviewed(before: &(ScenarioRecord, Judgement), after: &(ScenarioRecord, Judgement)) -> Reviewed {
        review((&before.0, &before.1), (&after.0, &after.1))
    }

    fn ids(told: &[Told]) -> Vec<&str> {
        told.iter().map(|told| told.id.as_str()).collect()
    }

    #[test]
    fn findings_are_gone_new_or_the_same() {
        let (wrong, right) = (side("other", "new"), side("new", "new"));
        let mended = reviewed(&wrong, &right);
        assert_eq!((ids(&mended.gone), mended.new.len(), mended.same.len()), (vec!["rebuild.diverged@e:a.ko"], 0, 0));
        let broken = reviewed(&right, &wrong);
        assert_eq!((broken.gone.len(), ids(&broken.new)), (0, vec!["rebuild.diverged@e:a.ko"]));
        let still = reviewed(&wrong, &wrong);
        assert_eq!((still.gone.len(), still.new.len(), ids(&still.same)), (0, 0, vec!["rebuild.diverged@e:a.ko"]));
    }

    #[test]
    fn of_what_cannot_be_built_nothing_is_gone() {
        let wrong = side("other", "new");
        let mut cannot = side("new", "new");
        cannot.1 = Judgement { verdict: Verdict::Inconclusive, findings: Vec::new(), ..cannot.1 };
        let told = reviewed(&wrong, &cannot);
        assert_eq!((told.gone.len(), told.new.len()), (0, 0));
    }

    #[test]
    fn times_are_told_by_their_median() {
        let of = |seconds: &[f64]| Cost { seconds: seconds.to_vec(), ..Cost::default() }.spread();
        assert_eq!(of(&[3.0, 1.0, 2.0]), Some([2.0, 1.0, 3.0]));
        assert_eq!(of(&[4.0, 2.0]), Some([3.0, 2.0, 4.0]));
        assert_eq!(of(&[]), None);
    }

    #[test]
    fn a_kind_is_what_stands_before_the_target() {
        assert_eq!(kind_of("LD [M] crypto/md5.ko"), "LD [M]");
        assert_eq!(kind_of("CC      init/main.o"), "CC");
        assert_eq!(kind_of("MODPOST"), "MODPOST");
    }

    #[test]
    fn what_a_whole_kernel_would_take_goes_by_modules_and_bytes() {
        let (wrong, right) = (side("other", "new"), side("new", "new"));
        let mut told = reviewed(&wrong, &right);
        told.before = Side { modules: 5, module_bytes: 1000, objtree_bytes: 10_000, ..told.before };
        told.after = Side { modules: 5, objtree_bytes: 11_000, ..told.after };
        let kinds = BTreeMap::from([("LD [M]".to_owned(), KindCost { steps: 5, cpu_seconds: 0.5 })]);
        told.edits[0].after.kinds = kinds;
        let [before, after] = told.estimate(&told.edits[0]).expect("there are modules");
        assert_eq!((before.link_seconds, after.link_seconds, after.btf_seconds), (0.0, 550.0, 0.0));
        assert_eq!(told.growth(), Some(1.0));
    }
}
