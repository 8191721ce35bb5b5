//! Which builds are compared with which, and what their differences are called.

use wildmatch::WildMatch;

use super::{ATTENTION, Finding, Standing};
use crate::artifact::record::{BuildRecord, Mode, Role, ScenarioRecord, Status};
use crate::artifact::{Artifact, diff_parts};
use crate::runner::MOST_VARIED;
use crate::scenario::{Edit, FindingName, Ignore, LATER, Moment, nearest};
use crate::trace::{Kind, Step, kbuild, live_name};

mod btf;

/// Lines of make's output that a build with nothing to do prints too. Source: a no-op make of Linux 6.1 to 7.3.
const IDLE_LABELS: &[&str] =
    &["CALL *", "DESCEND *", "CHK *", "INSTALL libsubcmd_headers", "GEN Makefile", "SYNC *", "make*"];

/// Files that such a make writes again: with `O=` kbuild generates the object tree's `Makefile` each time.
const IDLE_FILES: &[&str] = &["Makefile"];

/// How many steps are named.
const NAMED_STEPS: usize = 20;

/// How many times longer than a whole build one may take that is only slow.
const SLOWER: u64 = 4;
/// How many files that a no-op wrote are named: they stand in one line.
const NAMED_FILES: usize = 6;

/// Findings so far.
#[derive(Debug, Default)]
pub(super) struct Comparison {
    pub(super) findings: Vec<Finding>,
    pub(super) notes: Vec<String>,
    pub(super) compared: u64,
}

/// Whether `text` fits `pattern`: `*` is any run of characters, `?` one, everything else itself.
#[must_use]
pub fn pattern_matches(pattern: &str, text: &str) -> bool {
    WildMatch::new(pattern).matches(text)
}

/// Whether any clean build came through. Without one nothing was compared, and what did not show says nothing.
pub(super) fn any_clean_worked(record: &ScenarioRecord) -> bool {
    record.builds.iter().any(|build| build.mode == Mode::Clean && build.status.ok())
}

pub(super) fn compare(record: &ScenarioRecord) -> Comparison {
    let mut comparison = Comparison::default();
    let find = |role, mode, edit| record.builds.iter().find(|b| b.role == role && b.mode == mode && b.edit == edit);
    let control = find(Role::Control, Mode::Clean, None);
    let experiment = find(Role::Experiment, Mode::Clean, None);
    for build in [control, experiment].into_iter().flatten() {
        comparison.clean(record, build);
    }
    if let (Some(control), Some(experiment)) = (control, experiment)
        && control.status.ok()
        && experiment.status.ok()
    {
        comparison.reproducible(record, control, experiment);
    }
    for (at, build) in record.builds.iter().enumerate() {
        if build.mode == Mode::Noop {
            // The build before it in the same tree.
            if let Some(before) = record.builds[..at].iter().rev().find(|b| b.is_in_tree_of(build)) {
                comparison.noop(record, before, build);
            }
        }
    }
    comparison.unmatched(record);
    comparison.unprepared(record);
    comparison.machines(record);
    let mut before = record.builds.iter().rfind(|b| b.role == Role::Control && b.edit.is_none());
    for (n, edit) in record.scenario.edit.iter().enumerate() {
        let Some(incremental) = find(Role::Control, Mode::Incremental, Some(n)) else { break };
        let interrupted = find(Role::Control, Mode::Interrupted, Some(n));
        if let Some(interrupted) = interrupted {
            comparison.interrupted(record, edit, interrupted);
        }
        let known = comparison.findings.len();
        match find(Role::Oracle, Mode::Clean, Some(n)) {
            Some(oracle) => comparison.edit(record, n, incremental, oracle, control),
            None if !incremental.status.ok() => {
                let finding = comparison.failed_build(record, FindingName::BuildFailed, incremental);
                comparison.findings.push(finding);
            }
            None => {}
        }
        if let Some(step) = interrupted.and_then(|build| build.interrupted.as_deref()) {
            comparison.resumed(known, edit, step);
        }
        if let Some(before) = before
            && incremental.status.ok()
        {
            comparison.expected_of_edit(record, edit, before, incremental, interrupted);
        }
        before = record.builds.iter().rfind(|b| b.role == Role::Control && b.edit == Some(n)).or(Some(incremental));
    }
    comparison
}

/// A finding of which nothing more is known.
pub(super) fn finding(record: &ScenarioRecord, name: FindingName, target: &str, build: &BuildRecord) -> Finding {
    Finding {
        name,
        target: target.to_owned(),
        build: build.id.clone(),
        against: None,
        edit: build.edit.map(|n| record.scenario.edit_name(n)),
        summary: String::new(),
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

/// A path of the trees as artifacts are called: without the name of the tree that it begins with.
pub(super) fn in_tree(told: &str) -> &str {
    told.split_once('/').map_or(told, |(_, path)| path)
}

/// Whether a scenario has an artifact left out of comparisons.
#[must_use]
pub fn is_ignored(ignore: &[Ignore], path: &str) -> bool {
    ignore.iter().any(|ignore| pattern_matches(&ignore.artifact, path))
}

/// An artifact of two builds, where they have it: its path, and of each.
type Pair<'a> = (&'a str, Option<&'a Artifact>, Option<&'a Artifact>);

/// Artifacts of both builds side by side, by path.
fn pairs<'a>(record: &'a ScenarioRecord, a: &'a BuildRecord, b: &'a BuildRecord) -> Vec<Pair<'a>> {
    let mut paths: Vec<&str> = a.artifacts.iter().chain(&b.artifacts).map(|artifact| artifact.path.as_str()).collect();
    paths.sort_unstable();
    paths.dedup();
    paths.retain(|path| !is_ignored(&record.scenario.compare.ignore, path));
    paths.into_iter().map(|path| (path, a.artifact(path), b.artifact(path))).collect()
}

/// Whether two artifacts of control and experiment are the same: with another umask, modes are others by design.
fn same_but_for(record: &ScenarioRecord) -> fn(&Artifact, &Artifact) -> bool {
    match record.scenario.experiment.as_ref().and_then(|experiment| experiment.umask.as_ref()) {
        Some(_) => |a, b| a.sha256 == b.sha256,
        None => same,
    }
}

/// Whether a build that was stopped for its time was rather waiting for something than slow: one that makes all of it took a
/// small part of that time.
pub(super) fn hangs(build: &BuildRecord, whole: &BuildRecord) -> bool {
    matches!(build.status, Status::Timeout(seconds) if whole.wall_ms.saturating_mul(SLOWER) < seconds.saturating_mul(1000))
}

fn same(a: &Artifact, b: &Artifact) -> bool {
    a.sha256 == b.sha256 && a.mode == b.mode
}

impl Comparison {
    /// A clean build by itself: it must work, and must not hold what no build should make.
    fn clean(&mut self, record: &ScenarioRecord, build: &BuildRecord) {
        if !build.status.ok() {
            self.unbuilt(record, build);
        }
        if build.role != Role::Experiment {
            for artifact in &build.artifacts {
                let _ = self.duplicate_btf(record, build, artifact, None)
                    || self.unfit_btf(record, build, artifact, None, None);
            }
        }
    }

    /// Patterns of the scenario's own that nothing fits may be misspelt.
    fn unmatched(&mut self, record: &ScenarioRecord) {
        let compare = &record.scenario.compare;
        let made = || record.builds.iter().flat_map(|build| &build.artifacts);
        for pattern in compare.artifacts.iter().chain(&compare.only) {
            if made().next().is_some() && !made().any(|artifact| pattern_matches(pattern, &artifact.path)) {
                self.notes.push(format!("no build made anything that fits `{pattern}`"));
            }
        }
        // A demand that no build could have failed. What a preparation does is not seen, so it is no finding.
        let steps = || record.builds.iter().flat_map(|build| build.labels.iter().chain(&build.lines));
        let unread = record.builds.iter().any(|build| build.log_cut) || !any_clean_worked(record);
        for pattern in record.scenario.edit.iter().flat_map(|edit| &edit.skips) {
            if steps().next().is_some() && !unread && !steps().any(|label| pattern_matches(pattern, label)) {
                self.notes.push(format!(
                    "{ATTENTION}`skips = \"{pattern}\"` fits no step that any build printed, clean ones included: it \
                     may be misspelt{}",
                    nearest_step(pattern, record.builds.iter().flat_map(|build| &build.labels))
                ));
            }
        }
    }

    /// Why a graft's clean builds, which could start from a prepared state, prepare themselves.
    fn unprepared(&mut self, record: &ScenarioRecord) {
        let scenario = &record.scenario;
        let clean = || record.builds.iter().filter(|build| build.mode == Mode::Clean);
        let older = scenario.experiment.as_ref().is_some_and(|experiment| experiment.file_times.is_some());
        // Where none worked, the preparation itself may be what failed.
        if !scenario.is_graft() || !any_clean_worked(record) || clean().any(|build| build.preparation.is_some()) {
            return;
        }
        let why = scenario
            .prepares_itself()
            .or(older.then_some("of sources with other times the second tells nothing of a prepared state"))
            .unwrap_or("the isolation, the configuration or the cache does not allow prepared states");
        self.notes.push(format!("each clean build prepared itself: {why}"));
    }

    fn failed_build(&self, record: &ScenarioRecord, name: FindingName, build: &BuildRecord) -> Finding {
        let mut finding = finding(record, name, "", build);
        finding.summary = format!("the build {}", build.status);
        finding.detail.extend(build.log_tail.iter().map(|line| format!("| {line}")));
        finding.detail.push(format!("the whole log: {}", build.log));
        finding
    }

    /// A build of which nothing can be said.
    fn unbuilt(&mut self, record: &ScenarioRecord, build: &BuildRecord) {
        let name = match build.status {
            Status::Timeout(_) => FindingName::BuildTimeout,
            _ => FindingName::BuildFailed,
        };
        let finding = self.failed_build(record, name, build);
        self.findings.push(finding);
    }

    /// Two clean builds of the same sources.
    fn reproducible(&mut self, record: &ScenarioRecord, control: &BuildRecord, experiment: &BuildRecord) {
        let same = same_but_for(record);
        let modes = record.scenario.experiment.as_ref().is_none_or(|experiment| experiment.umask.is_none());
        let demanded = record.scenario.experiment.as_ref().map_or(&[][..], |varied| &varied.changes);
        for pattern in demanded {
            self.changed(record, experiment, pattern, pairs(record, control, experiment), &same);
        }
        for (path, a, b) in pairs(record, control, experiment) {
            if a.is_some_and(|a| a.shipped) && b.is_some_and(|b| b.shipped) {
                self.notes.push(format!(
                    "{ATTENTION}`{path}` was in the sources before the first build, and clean builds did not make it: if a \
                     build made it, clean the tree (`make.clean_first`), else list it under `[[compare.ignore]]`"
                ));
                continue;
            }
            self.compared += 1;
            let mut finding = finding(record, FindingName::ReproMismatch, path, experiment);
            match (a, b) {
                (Some(a), Some(b)) if same(a, b) => continue,
                (Some(_), Some(_)) if demanded.iter().any(|pattern| pattern_matches(pattern, path)) => continue,
                (Some(a), Some(b)) => {
                    let b = Artifact { mode: if modes { b.mode } else { a.mode }, ..b.clone() };
                    let diff = diff_parts(a, &b);
                    finding.summary = diff.summary.clone();
                    finding.parts = Some(diff);
                    if !modes {
                        finding.detail.push("the umask is varied: modes are not compared".to_owned());
                    }
                }
                (Some(_), None) => finding.summary = "only the first build made it".into(),
                _ => finding.summary = "only the second build made it".into(),
            }
            finding.against = Some(control.id.clone());
            if let Some((varied, said)) = varies_with(record, control, experiment, path) {
                finding.varied = varied;
                finding.detail.push(said);
            }
            self.findings.push(finding);
        }
    }

    /// What the scenario demands of the second build: that what is varied is in these artifacts.
    fn changed(
        &mut self,
        record: &ScenarioRecord,
        experiment: &BuildRecord,
        pattern: &str,
        mut pairs: Vec<Pair<'_>>,
        same: &dyn Fn(&Artifact, &Artifact) -> bool,
    ) {
        pairs.retain(|(path, ..)| pattern_matches(pattern, path));
        let equal = |(_, a, b): &&Pair<'_>| matches!((a, b), (Some(a), Some(b)) if same(a, b));
        let unchanged: Vec<&str> = pairs.iter().filter(equal).map(|(path, ..)| *path).collect();
        let summary = match unchanged.first() {
            _ if pairs.is_empty() => "no artifact is called so".to_owned(),
            Some(first) => format!("{} artifact(s) did not change, first `{first}`", unchanged.len()),
            None => return,
        };
        let mut finding = finding(record, FindingName::ExpectUnmet, pattern, experiment);
        finding.summary = format!("`experiment.changes = \"{pattern}\"`: {summary}");
        finding.detail.push(format!("varied was {}", experiment.varied.join(", ")));
        self.findings.push(finding);
    }

    /// A build with nothing changed.
    fn noop(&mut self, record: &ScenarioRecord, before: &BuildRecord, noop: &BuildRecord) {
        if !before.status.ok() {
            return;
        }
        if noop.status.was_stopped() && !hangs(noop, before) {
            return self.unbuilt(record, noop);
        }
        if !noop.status.ok() {
            let mut finding = self.failed_build(record, FindingName::RebuildFailed, noop);
            finding.summary = format!("nothing was changed, and the build {}", noop.status);
            self.findings.push(finding);
            return;
        }
        for (path, a, b) in pairs(record, before, noop) {
            self.compared += 1;
            let mut finding = finding(record, FindingName::NoopChanged, path, noop);
            match (a, b) {
                (Some(a), Some(b)) if same(a, b) => continue,
                (Some(a), Some(b)) => {
                    let diff = diff_parts(a, b);
                    finding.summary = diff.summary.clone();
                    finding.parts = Some(diff);
                }
                (None, _) => finding.summary = "a build with nothing changed made it".into(),
                (_, None) => finding.summary = "a build with nothing changed deleted it".into(),
            }
            finding.against = Some(before.id.clone());
            self.findings.push(finding);
        }
        let ran: Vec<&String> =
            noop.labels.iter().filter(|label| !IDLE_LABELS.iter().any(|idle| pattern_matches(idle, label))).collect();
        // What was written tells of steps that print nothing (`make -s`, `@` before a recipe).
        let hidden = |path: &&String| path.rsplit('/').next().is_some_and(|name| name.starts_with('.'));
        let idle = |path: &&String| IDLE_FILES.contains(&path.as_str());
        let written: Vec<&String> = noop.written.iter().filter(|path| !hidden(path) && !idle(path)).collect();
        if let Some(first) = ran.first().or(written.first()) {
            let mut finding = finding(record, FindingName::NoopRan, first, noop);
            finding.summary = match (ran.as_slice(), written.as_slice()) {
                ([one], _) => format!("nothing was changed, and `{one}` ran"),
                ([], [one]) => format!("nothing was changed, and `{one}` was written again"),
                ([], several) => format!("nothing was changed, and {} files were written again", several.len()),
                (several, _) => format!("nothing was changed, and {} steps ran", several.len()),
            };
            finding.detail.extend(shortened("they are", &ran).into_iter().skip(1));
            if !written.is_empty() {
                let named: Vec<&str> = written.iter().take(NAMED_FILES).map(|path| path.as_str()).collect();
                let more = written.len().saturating_sub(NAMED_FILES);
                let more = if more > 0 { format!(" and {more} more") } else { String::new() };
                finding.detail.push(format!("written again: {}{more}", named.join(", ")));
            }
            self.findings.push(finding);
        }
    }

    /// An incremental build and the clean build of the same sources.
    fn edit(
        &mut self,
        record: &ScenarioRecord,
        n: usize,
        incremental: &BuildRecord,
        oracle: &BuildRecord,
        control: Option<&BuildRecord>,
    ) {
        match (incremental.status.ok(), oracle.status.ok()) {
            (true, true) => {}
            (_, false) if oracle.status.was_stopped() || matches!(oracle.status, Status::Unseen(_)) => {
                return self.unbuilt(record, oracle);
            }
            (false, true) if incremental.status.was_stopped() && !hangs(incremental, oracle) => {
                return self.unbuilt(record, incremental);
            }
            (false, true) => {
                let mut finding = self.failed_build(record, FindingName::RebuildFailed, incremental);
                finding.summary = format!("the incremental build {}; a clean build works", incremental.status);
                finding.against = Some(oracle.id.clone());
                self.findings.push(finding);
                return;
            }
            (true, false) => {
                let mut finding = self.failed_build(record, FindingName::RebuildMasked, oracle);
                finding.build.clone_from(&incremental.id);
                finding.against = Some(oracle.id.clone());
                finding.summary = format!("the incremental build works; a clean build {}", oracle.status);
                self.findings.push(finding);
                return;
            }
            // Two builds that fail alike agree in nothing.
            (false, false) => return self.unbuilt(record, oracle),
        }
        let config = |build: &BuildRecord| build.files.get(".config").copied();
        if config(incremental).is_some() && config(oracle).is_some() && config(incremental) != config(oracle) {
            self.notes.push(format!("{}: the build changed `.config`; the clean build has another", incremental.id));
        }
        for (path, have, want) in pairs(record, incremental, oracle) {
            let Some(want) = want else {
                // What earlier goals or a removed rule left over is asked for by nobody now.
                if have.is_some() && !oracle_goals_differ(record, n) {
                    self.left_over(record, path, incremental, oracle);
                }
                continue;
            };
            self.compared += 1;
            let written = incremental.written.contains(path);
            let name = if written { FindingName::RebuildDiverged } else { FindingName::RebuildStale };
            let mut finding = finding(record, name, path, incremental);
            finding.against = Some(oracle.id.clone());
            match have {
                Some(have) if same(have, want) => {
                    let _ = self.duplicate_btf(record, incremental, have, control)
                        || self.unfit_btf(record, incremental, have, None, control);
                    continue;
                }
                Some(have) => {
                    // What is read through another base lost nothing: it is not understood.
                    if self.unfit_btf(record, incremental, have, Some((oracle, want)), control)
                        || self.lost_btf(record, incremental, oracle, have, want)
                        || self.duplicate_btf(record, incremental, have, control)
                    {
                        continue;
                    }
                    let diff = diff_parts(want, have);
                    finding.summary = diff.summary.clone();
                    finding.parts = Some(diff);
                }
                None => {
                    finding.name = FindingName::RebuildStale;
                    finding.summary = "a clean build makes it, the incremental build did not".into();
                }
            }
            super::cause::untouched_input(&mut finding, path, incremental, oracle);
            self.findings.push(finding);
        }
    }

    /// An artifact that a clean build does not make. kbuild leaves a `.ko` behind when its module is switched off,
    /// by design: what counts there is `modules.order`.
    fn left_over(&mut self, record: &ScenarioRecord, path: &str, incremental: &BuildRecord, oracle: &BuildRecord) {
        let kbuild = record.kernel.is_some() || record.scenario.tree.srctree == "mini";
        if kbuild {
            // A scenario that demands a finding about it says so itself.
            let mut targets = record.scenario.expect.finding.iter().filter_map(|expected| expected.target.as_deref());
            if targets.any(|target| pattern_matches(target, path)) {
                return;
            }
            let id = &incremental.id;
            return self.notes.push(format!("{ATTENTION}{id}: `{path}` is left over; a clean build does not make it"));
        }
        let mut finding = finding(record, FindingName::RebuildStale, path, incremental);
        finding.against = Some(oracle.id.clone());
        finding.summary = "it is left over; a clean build does not make it".into();
        self.findings.push(finding);
    }

    /// A build that was to be interrupted.
    fn interrupted(&mut self, record: &ScenarioRecord, edit: &Edit, build: &BuildRecord) {
        let Some(interrupt) = &edit.interrupt else { return };
        if let (None, Some(memory)) = (&build.interrupted, &interrupt.memory) {
            let mut finding = finding(record, FindingName::ExpectUnmet, "memory", build);
            finding.summary = format!("`interrupt.memory = \"{memory}\"`: nothing was killed, for that was enough");
            finding.detail = vec![format!("the whole log: {}", build.log)];
            return self.findings.push(finding);
        }
        let Some(step) = &build.interrupted else {
            let pattern = &interrupt.step;
            let mut finding = finding(record, FindingName::ExpectUnmet, pattern, build);
            let nth = interrupt.nth.filter(|nth| *nth > 1);
            let ran = ran(record, build, pattern) >= nth.unwrap_or(1) as usize;
            let what = match nth {
                _ if ran && interrupt.fault.is_some() => "it did not write so often".to_owned(),
                _ if ran && interrupt.when == Some(Moment::During) => "it did not change files so often".to_owned(),
                Some(nth) => format!("no {nth} such steps ran"),
                None => "no such step ran".to_owned(),
            };
            let near = nearest_step(pattern, build.labels.iter());
            finding.summary = format!("`interrupt.step = \"{pattern}\"`: nothing was interrupted, for {what}{near}");
            finding.detail = match &build.untraced {
                Some(why) => vec![format!("the build was not traced: {why}")],
                None => shortened("make printed", &build.labels),
            };
            finding.detail.push(format!("the whole log: {}", build.log));
            return self.findings.push(finding);
        };
        if build.status.ok() {
            let words = interrupt.words(step);
            self.notes.push(format!("{ATTENTION}{}: the build worked in spite of {words}", build.id));
        }
    }

    /// What was found in the build after an interrupted one, from the `known`th finding on: it is the interruption's.
    fn resumed(&mut self, known: usize, edit: &Edit, step: &str) {
        use FindingName::{BtfBaseMismatch, BtfInvalid, BtfLost, RebuildDiverged, RebuildFailed, RebuildStale};
        for finding in self.findings.iter_mut().skip(known) {
            finding.name = match finding.name {
                RebuildStale | RebuildDiverged | BtfLost | BtfInvalid | BtfBaseMismatch => FindingName::ResumeDiverged,
                RebuildFailed => FindingName::ResumeStuck,
                other => other,
            };
            if let Some(interrupt) = &edit.interrupt {
                finding.detail.insert(0, format!("after {}", interrupt.words(step)));
            }
        }
    }

    /// What the scenario demands of the build after an edit.
    fn expected_of_edit(
        &mut self,
        record: &ScenarioRecord,
        edit: &Edit,
        before: &BuildRecord,
        after: &BuildRecord,
        interrupted: Option<&BuildRecord>,
    ) {
        let mut unmet = |key: &str, pattern: &str, summary: String, detail: Vec<String>| {
            let mut finding = finding(record, FindingName::ExpectUnmet, pattern, after);
            finding.summary = format!("`{key} = \"{pattern}\"`: {summary}");
            finding.detail = detail;
            self.findings.push(finding);
        };
        let steps = || after.labels.iter().chain(&after.lines);
        for pattern in &edit.runs {
            if !steps().any(|label| pattern_matches(pattern, label)) {
                let mut detail = match after.labels.as_slice() {
                    [] => vec!["make printed no step at all".to_owned()],
                    labels => shortened("make printed", labels),
                };
                detail.push(format!("the whole log: {}", after.log));
                let earlier = interrupted.filter(|build| ran(record, build, pattern) > 0);
                let summary = match earlier {
                    Some(build) => format!("it ran in {}, and not in the build that this is about, the next", build.id),
                    None => format!("no such step ran{}", nearest_step(pattern, after.labels.iter())),
                };
                unmet("runs", pattern, summary, detail);
            }
        }
        for pattern in &edit.skips {
            let ran: Vec<&String> = steps().filter(|label| pattern_matches(pattern, label)).collect();
            if after.log_cut && ran.is_empty() {
                unmet("skips", pattern, "the log is so long that not all of it was read".into(), Vec::new());
            }
            if let Some(first) = ran.first() {
                let detail = if ran.len() == 1 { Vec::new() } else { shortened("they are", &ran) };
                let steps = if ran.len() == 1 { "step" } else { "steps" };
                unmet("skips", pattern, format!("{} such {steps} ran, first `{first}`", ran.len()), detail);
            }
        }
        let mut wanted = |key: &str, patterns: &[String], must_change: bool| {
            for pattern in patterns {
                let matching: Vec<_> = pairs(record, before, after)
                    .into_iter()
                    .filter(|(path, ..)| pattern_matches(pattern, path))
                    .collect();
                let changed = |(_, a, b): &&(&str, Option<&Artifact>, Option<&Artifact>)| match (a, b) {
                    (Some(a), Some(b)) => !same(a, b),
                    _ => true,
                };
                let wrong: Vec<&str> =
                    matching.iter().filter(|pair| changed(pair) != must_change).map(|(path, ..)| *path).collect();
                if matching.is_empty() {
                    unmet(key, pattern, "no artifact is called so".into(), Vec::new());
                } else if let Some(first) = wrong.first() {
                    let what = if must_change { "did not change" } else { "changed" };
                    unmet(key, pattern, format!("{} artifact(s) {what}, first `{first}`", wrong.len()), Vec::new());
                }
            }
        };
        wanted("changes", &edit.changes, true);
        wanted("keeps", &edit.keeps, false);
    }
}

/// Which variation an artifact's difference between control and experiment comes with, as far as further builds tell: each that
/// does it alone, and the same in a sentence.
fn varies_with(
    record: &ScenarioRecord,
    control: &BuildRecord,
    experiment: &BuildRecord,
    path: &str,
) -> Option<(Option<Vec<String>>, String)> {
    record.scenario.experiment.as_ref()?;
    let same = same_but_for(record);
    let differs = |build: &&BuildRecord| match (control.artifact(path), build.artifact(path)) {
        (Some(a), Some(b)) => !same(a, b),
        (a, b) => a.is_some() != b.is_some(),
    };
    let made = || record.builds.iter().filter(|build| build.role == Role::Variation && build.status.ok());
    let all = &experiment.varied;
    if all.is_empty() {
        return None;
    }
    Some(match made().find(|build| build.varied.is_empty()) {
        None => (None, format!("the second build was varied by `[experiment]`: {}", all.join(", "))),
        Some(plain) if differs(&plain) => {
            (Some(Vec::new()), "transient: a further build differs too, in which nothing is varied".into())
        }
        Some(_) if all.len() == 1 => (Some(all.clone()), format!("varied: it comes with {}", all.join(", "))),
        Some(_) => {
            let alone = made().filter(|build| build.varied.len() == 1).filter(differs);
            let with: Vec<&str> = alone.flat_map(|build| &build.varied).map(String::as_str).collect();
            // Whatever was built after that was built later: it tells of nothing else.
            if with.contains(&LATER) {
                let said = format!("varied: it comes with {LATER}; what else does it was not found out");
                return Some((Some(vec![LATER.to_owned()]), said));
            }
            let others: Vec<&String> = all.iter().filter(|one| !with.contains(&one.as_str())).collect();
            let here = |one: &&&String| one.as_str() != LATER;
            let without = |build: &BuildRecord| {
                build.varied.iter().filter(|one| here(&one)).eq(others.iter().copied().filter(|one| here(&one)))
                    && !differs(&build)
            };
            let ended = record.builds.iter().filter(|build| build.role == Role::Variation).count() >= MOST_VARIED;
            let said = match with.as_slice() {
                [] if ended => {
                    format!("varied: by which of these was not found out by {MOST_VARIED} builds: {}", all.join(", "))
                }
                [] => format!("varied: it comes with several together of: {}", all.join(", ")),
                with if others.is_empty() => format!("varied: it comes with {}, each alone", with.join(", and with ")),
                with if made().any(without) => {
                    format!("varied: it comes with {}, and without what else is varied", with.join(", and with "))
                }
                with => {
                    format!("varied: it comes with {}; what else does it was not found out", with.join(", and with "))
                }
            };
            let with: Vec<String> = with.into_iter().map(str::to_owned).collect();
            (Some(with).filter(|with| !with.is_empty()), said)
        }
    })
}

/// How many steps of a build fit: by what make printed, or where it printed nothing (`make -s`) by the trace.
fn ran(record: &ScenarioRecord, build: &BuildRecord, pattern: &str) -> usize {
    let printed = build.labels.iter().chain(&build.lines).filter(|line| pattern_matches(pattern, line)).count();
    let fits = |step: &&Step| {
        let names = [live_name(&step.command), kbuild::body(&step.command).to_owned()];
        step.kind == Kind::Recipe && names.iter().any(|name| pattern_matches(pattern, name))
    };
    let traced = record.traces.get(&build.id).map_or(0, |steps| steps.steps.iter().filter(fits).count());
    printed.max(traced)
}

/// The first of many lines under a heading; what is left out is counted.
fn shortened(heading: &str, lines: &[impl AsRef<str>]) -> Vec<String> {
    let more = lines.len().saturating_sub(NAMED_STEPS);
    std::iter::once(format!("{heading}:"))
        .chain(lines.iter().take(NAMED_STEPS).map(|line| format!("| {}", line.as_ref())))
        .chain((more > 0).then(|| format!("| ... and {more} more")))
        .collect()
}

/// A step that the pattern may have meant, as the end of a sentence.
fn nearest_step<'a>(pattern: &str, steps: impl Iterator<Item = &'a String>) -> String {
    let plain = pattern.trim_matches('*');
    // It was meant if it is there.
    let nearest = nearest(plain, steps.map(String::as_str)).filter(|step| plain.len() > 2 && *step != plain);
    nearest.map(|step| format!("; did you mean `{step}`?")).unwrap_or_default()
}

/// Whether any edit up to this one chose other goals: then the trees need not hold the same files.
fn oracle_goals_differ(record: &ScenarioRecord, n: usize) -> bool {
    record.scenario.edit[..=n].iter().any(|edit| edit.changes_of().any(|change| change.goals.is_some()))
}
