//! The builds of one tree, one after the other, as steps that read and make files.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use super::{Cause, Fault, cut};
use crate::artifact::Digest;
use crate::artifact::record::{BuildRecord, ScenarioRecord};
use crate::artifact::steps::Steps;
use crate::trace::{Kind, Step, kbuild};

/// A step of a timeline: the build and the step in it, both by number, in the order in which they were.
pub(in crate::verdict) type At = (usize, usize);

/// The builds of one tree up to one of them.
pub(in crate::verdict) struct Timeline<'r> {
    pub(in crate::verdict) builds: Vec<(&'r BuildRecord, &'r Steps)>,
    /// Who made each path, in order.
    writers: HashMap<&'r str, Vec<At>>,
    /// The runs of each step, by its key, in order.
    runs: HashMap<String, Vec<At>>,
}

/// The timelines of a record, each made when it is first asked for: many findings are about one build.
pub(in crate::verdict) struct Timelines<'r> {
    record: &'r ScenarioRecord,
    made: RefCell<BTreeMap<&'r str, Option<Rc<Timeline<'r>>>>>,
}

impl<'r> Timelines<'r> {
    pub(in crate::verdict) fn new(record: &'r ScenarioRecord) -> Self {
        Self { record, made: RefCell::default() }
    }

    /// The builds of the tree of this one, up to it; `None` if one of them was not traced.
    pub(in crate::verdict) fn up_to(&self, build: &'r BuildRecord) -> Option<Rc<Timeline<'r>>> {
        let make = || Timeline::up_to(self.record, build).map(Rc::new);
        self.made.borrow_mut().entry(&build.id).or_insert_with(make).clone()
    }
}

impl<'r> Timeline<'r> {
    fn up_to(record: &'r ScenarioRecord, build: &BuildRecord) -> Option<Self> {
        let last = record.builds.iter().position(|other| other.id == build.id)?;
        let same = |other: &&BuildRecord| build.is_in_tree_of(other);
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
    pub(in crate::verdict) fn last(&self) -> usize {
        self.builds.len().saturating_sub(1)
    }

    pub(in crate::verdict) fn build(&self, at: At) -> &'r BuildRecord {
        self.builds[at.0].0
    }

    pub(in crate::verdict) fn steps(&self, at: At) -> &'r Steps {
        self.builds[at.0].1
    }

    pub(in crate::verdict) fn step(&self, at: At) -> &'r Step {
        &self.builds[at.0].1.steps[at.1]
    }

    /// What a step is, whatever it was given: the same in all builds.
    pub(in crate::verdict) fn key(&self, at: At) -> String {
        key(self.steps(at), self.step(at))
    }

    /// Its command, wherever the trees are.
    pub(in crate::verdict) fn command(&self, at: At) -> String {
        self.steps(at).told(kbuild::body(&self.step(at).command))
    }

    /// Its environment, wherever the trees are.
    pub(in crate::verdict) fn environment(&self, at: At) -> Vec<String> {
        let steps = self.steps(at);
        let all = steps.environments.get(self.step(at).env as usize).map_or(&[][..], Vec::as_slice);
        all.iter().map(|variable| steps.told(variable)).collect()
    }

    /// The files outside of the trees that it used, with their contents where these are known.
    pub(in crate::verdict) fn toolchain(&self, at: At) -> BTreeMap<&'r str, Digest> {
        let steps = self.steps(at);
        let of = |tool: &'r String| Some((tool.as_str(), (*steps.toolchain.get(tool)?)?));
        self.step(at).tools.iter().filter_map(of).collect()
    }

    /// Whether a file of the object tree was not there before a step's build, and none of that build had made it.
    pub(in crate::verdict) fn was_missing(&self, path: &str, at: At) -> bool {
        let Some((before, steps)) = at.0.checked_sub(1).and_then(|build| self.builds.get(build)) else { return true };
        if self.writer(path, Some(at)).is_some_and(|maker| maker.0 == at.0) {
            return false;
        }
        // `make clean` before it, or what a rule does with half-made targets.
        let gone = |step: &Step| step.removed.iter().any(|removed| removed == path);
        if self.steps(at).steps[..at.1].iter().any(gone) {
            return true;
        }
        let below = path.strip_prefix(steps.objtree.as_str()).and_then(|path| path.strip_prefix('/'));
        let book = |path: &str| path.rsplit('/').next().is_some_and(|name| name.starts_with('.'));
        below.is_some_and(|path| !book(path) && before.artifact(path).is_none() && !before.files.contains_key(path))
    }

    /// A step as something to blame.
    pub(in crate::verdict) fn cause(&self, fault: Fault, at: At, why: String) -> Cause {
        let step = self.step(at);
        Cause {
            fault,
            step: cut(&step.name()),
            target: step.target.clone(),
            cmd: step.cmd.clone(),
            command: cut(&self.command(at)),
            build: self.build(at).id.clone(),
            why,
            way: Vec::new(),
        }
    }

    /// Who made a file last, before a step or at all.
    pub(in crate::verdict) fn writer(&self, path: &str, before: Option<At>) -> Option<At> {
        let all = self.writers.get(path)?;
        all.iter().rev().find(|at| before.is_none_or(|before| **at < before)).copied()
    }

    /// Who made a file in a build, in order.
    pub(in crate::verdict) fn writers_in(&self, path: &str, build: usize) -> impl Iterator<Item = At> + '_ {
        self.writers.get(path).into_iter().flatten().copied().filter(move |at| at.0 == build)
    }

    /// The runs of a step, in order.
    pub(in crate::verdict) fn runs(&self, key: &str) -> &[At] {
        self.runs.get(key).map_or(&[], Vec::as_slice)
    }

    /// The content of a file at the end, if the records have it.
    pub(in crate::verdict) fn content(&self, path: &str) -> Option<String> {
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
    pub(in crate::verdict) fn made(&self, path: &str, before: Option<At>) -> Option<String> {
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
