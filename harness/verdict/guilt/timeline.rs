//! The builds of one tree, one after the other, as steps that read and make files.

use std::collections::HashMap;

use crate::artifact::record::{BuildRecord, Role, ScenarioRecord};
use crate::artifact::steps::Steps;
use crate::trace::{Kind, Step, kbuild};

/// A step of a timeline: the build and the step in it, both by number, in the order in which they were.
pub(super) type At = (usize, usize);

/// The builds of one tree up to one of them.
pub(super) struct Timeline<'r> {
    pub(super) builds: Vec<(&'r BuildRecord, &'r Steps)>,
    /// Who made each path, in order.
    writers: HashMap<&'r str, Vec<At>>,
    /// The runs of each step, by its key, in order.
    runs: HashMap<String, Vec<At>>,
}

impl<'r> Timeline<'r> {
    /// The builds of the tree of this one, up to it; `None` if one of them was not traced.
    pub(super) fn up_to(record: &'r ScenarioRecord, build: &BuildRecord) -> Option<Self> {
        let last = record.builds.iter().position(|other| other.id == build.id)?;
        let same =
            |other: &&BuildRecord| other.role == build.role && (build.role != Role::Oracle || other.edit == build.edit);
        let builds = record.builds[..=last].iter().filter(same);
        let builds: Option<Vec<_>> = builds.map(|build| Some((build, record.traces.get(&build.id)?))).collect();
        let builds = builds?;
        let mut timeline = Self { builds, writers: HashMap::new(), runs: HashMap::new() };
        for (number, (_, steps)) in timeline.builds.iter().enumerate() {
            for (at, step) in steps.steps.iter().enumerate().filter(|(_, step)| step.kind != Kind::Query) {
                for output in &step.outputs {
                    timeline.writers.entry(&output.path).or_default().push((number, at));
                }
                timeline.runs.entry(key(steps, step)).or_default().push((number, at));
            }
        }
        Some(timeline)
    }

    /// The number of the last build.
    pub(super) fn last(&self) -> usize {
        self.builds.len().saturating_sub(1)
    }

    pub(super) fn build(&self, at: At) -> &'r BuildRecord {
        self.builds[at.0].0
    }

    pub(super) fn steps(&self, at: At) -> &'r Steps {
        self.builds[at.0].1
    }

    pub(super) fn step(&self, at: At) -> &'r Step {
        &self.builds[at.0].1.steps[at.1]
    }

    /// What a step is, whatever it was given: the same in all builds.
    pub(super) fn key(&self, at: At) -> String {
        key(self.steps(at), self.step(at))
    }

    /// Its command, wherever the trees are.
    pub(super) fn command(&self, at: At) -> String {
        self.steps(at).told(kbuild::body(&self.step(at).command))
    }

    /// Who made a file last, before a step or at all.
    pub(super) fn writer(&self, path: &str, before: Option<At>) -> Option<At> {
        let all = self.writers.get(path)?;
        all.iter().rev().find(|at| before.is_none_or(|before| **at < before)).copied()
    }

    /// Who made a file in a build, in order.
    pub(super) fn writers_in(&self, path: &str, build: usize) -> impl Iterator<Item = At> + '_ {
        self.writers.get(path).into_iter().flatten().copied().filter(move |at| at.0 == build)
    }

    /// The runs of a step, in order.
    pub(super) fn runs(&self, key: &str) -> &[At] {
        self.runs.get(key).map_or(&[], Vec::as_slice)
    }

    /// The content of a file at the end, if the records have it.
    pub(super) fn content(&self, path: &str) -> Option<String> {
        let last = self.builds.last()?;
        if let Some(path) = path.strip_prefix(last.1.objtree.as_str()).and_then(|path| path.strip_prefix('/')) {
            let artifact = last.0.artifact(path).map(|artifact| artifact.sha256);
            if let Some(digest) = artifact.or_else(|| last.0.files.get(path).copied()) {
                return Some(digest.to_string());
            }
        }
        self.made(path, None)
    }

    /// What the last step before another one left in a file.
    pub(super) fn made(&self, path: &str, before: Option<At>) -> Option<String> {
        let at = self.writer(path, before)?;
        let made = self.step(at).outputs.iter().find(|output| &*output.path == path)?;
        made.sha256.as_deref().map(str::to_owned)
    }
}

/// By which a step is known again: where it runs, what it does and for which target. Its command may change.
fn key(steps: &Steps, step: &Step) -> String {
    let body = kbuild::body(&step.command);
    let verb = step.label.as_deref().and_then(|label| label.rsplit_once(' ')).map(|(verb, _)| verb);
    let first = || body.split_whitespace().next().unwrap_or_default();
    let what = step.cmd.as_ref().map(|cmd| cmd.name.as_str()).or(verb).unwrap_or_else(first);
    let on = match (&step.target, step.outputs.as_slice()) {
        (Some(target), _) => target.clone(),
        (None, []) => steps.told(body),
        (None, outputs) => outputs.iter().map(|output| &*output.path).collect::<Vec<_>>().join(" "),
    };
    format!("{}\n{what}\n{on}", step.cwd)
}
