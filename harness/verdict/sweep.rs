//! Where a build is interrupted by a sweep, and what comes of it: pure.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::compare::{is_ignored, pattern_matches};
use crate::artifact::record::BuildRecord;
use crate::artifact::steps::Steps;
use crate::scenario::{Fault, Ignore, Interrupt, Moment, Signal, Whom};
use crate::trace::{Kind, Step, is_descent, live_name};

/// Why nothing was tried of a sweep that only lists.
pub const LISTED: &str = "listed alone";

/// At which places of each step, and how.
#[derive(Debug, Clone)]
pub struct Ways {
    /// When.
    pub when: Vec<Moment>,
    /// By which signals.
    pub signals: Vec<Signal>,
    /// Sent to whom.
    pub to: Vec<Whom>,
    /// At how many of its changes of files a step is interrupted, from the first on.
    pub changes: u32,
    /// With what writes fail.
    pub faults: Vec<Fault>,
    /// How many of its writes are the first to fail, one after the other.
    pub writes: u32,
}

/// What came of one interruption.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", tag = "came")]
pub enum Outcome {
    /// The next build gave what a clean one does.
    Resumed,
    /// It gave something else.
    Diverged {
        /// The artifacts.
        artifacts: Vec<String>,
    },
    /// It failed.
    Stuck,
    /// The build did not come to that step, or the step made fewer changes.
    Unreached,
    /// It was not tried.
    Untried {
        /// Why.
        why: String,
    },
}

impl Outcome {
    /// Whether the next build did not make it good.
    #[must_use]
    pub fn is_wrong(&self) -> bool {
        matches!(self, Self::Diverged { .. } | Self::Stuck)
    }
}

/// One interruption, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Point {
    /// Where and how.
    pub interrupt: Interrupt,
    /// What came of it.
    pub outcome: Outcome,
}

/// The sweep of one build.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Sweep {
    /// The edit after which the build was made.
    pub edit: String,
    /// How many steps it has.
    pub steps: usize,
    /// Every interruption.
    pub points: Vec<Point>,
    /// Artifacts that differ from a clean build without an interruption as well: nothing is said of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub already: Vec<String>,
}

impl Sweep {
    /// How many came to this.
    #[must_use]
    pub fn count(&self, which: impl Fn(&Outcome) -> bool) -> usize {
        self.points.iter().filter(|point| which(&point.outcome)).count()
    }
}

/// The steps of a build that are recipes, and `wanted`, with their numbers.
pub fn recipes(steps: &Steps, wanted: impl Fn(&Step) -> bool) -> impl Iterator<Item = (usize, &Step)> {
    steps.steps.iter().enumerate().filter(move |(_, step)| step.kind == Kind::Recipe && wanted(step))
}

/// Every interruption of a build in these ways, in the order of its steps.
#[must_use]
pub fn points(steps: &Steps, ways: &Ways, wanted: &dyn Fn(&Step) -> bool) -> Vec<Interrupt> {
    let names: Vec<String> = steps.steps.iter().map(|step| live_name(&step.command)).collect();
    let mut points = Vec::new();
    for (at, step) in recipes(steps, wanted) {
        let pattern = &names[at];
        // As the tracer counts: every step that fits, queries and makes below make aside.
        let counts = |step: &Step| step.kind != Kind::Query && !is_descent(&step.command);
        let fits = |n: &usize| counts(&steps.steps[*n]) && pattern_matches(pattern, &names[*n]);
        let nth = u32::try_from((0..at).filter(fits).count()).unwrap_or(u32::MAX - 1) + 1;
        let one = |when: Moment, change: Option<u32>, signal: Signal, to: Whom| Interrupt {
            step: pattern.clone(),
            nth: Some(nth).filter(|nth| *nth > 1),
            when: Some(when).filter(|when| *when != Moment::default()),
            change: change.filter(|change| *change > 1),
            signal: Some(signal).filter(|signal| *signal != Signal::default()),
            to: Some(to).filter(|to| *to != Whom::default()),
            fault: None,
            write: None,
            memory: None,
        };
        let changes = u32::try_from(step.outputs.len() + step.removed.len()).unwrap_or(u32::MAX).min(ways.changes);
        for (&when, &signal, &to) in ways
            .when
            .iter()
            .flat_map(|when| ways.signals.iter().map(move |signal| (when, signal)))
            .flat_map(|(when, signal)| ways.to.iter().map(move |to| (when, signal, to)))
        {
            match when {
                Moment::During => points.extend((1..=changes).map(|n| one(when, Some(n), signal, to))),
                // Nothing of it is left to get a signal.
                Moment::After if to == Whom::Step => {}
                _ => points.push(one(when, None, signal, to)),
            }
        }
        for (&fault, n) in ways.faults.iter().flat_map(|fault| (1..=ways.writes).map(move |n| (fault, n))) {
            let write = Some(n).filter(|n| *n > 1);
            let plain = one(Moment::default(), None, Signal::default(), Whom::default());
            points.push(Interrupt { fault: Some(fault), write, ..plain });
        }
    }
    points
}

/// The artifacts in which a build differs from a clean one.
#[must_use]
pub fn differing(build: &BuildRecord, oracle: &BuildRecord, ignore: &[Ignore]) -> BTreeSet<String> {
    let other = |path: &str| {
        let (have, want) = (build.artifact(path), oracle.artifact(path));
        have.map(|it| (it.sha256, it.mode)) != want.map(|it| (it.sha256, it.mode))
    };
    let paths = oracle.artifacts.iter().map(|artifact| artifact.path.as_str());
    paths.filter(|path| !is_ignored(ignore, path) && other(path)).map(str::to_owned).collect()
}

/// What came of an interruption: of the build that was interrupted and the next one, against a clean one.
#[must_use]
pub fn outcome(
    interrupted: &BuildRecord,
    next: &BuildRecord,
    oracle: &BuildRecord,
    ignore: &[Ignore],
    already: &[String],
) -> Outcome {
    let stopped = |build: &BuildRecord| {
        let hangs = super::compare::hangs(build, oracle);
        (build.status.was_stopped() && !hangs).then(|| format!("the build {}", build.status))
    };
    if interrupted.interrupted.is_none() {
        return stopped(interrupted).map_or(Outcome::Unreached, |why| Outcome::Untried { why });
    }
    if let Some(why) = stopped(next) {
        return Outcome::Untried { why };
    }
    if !next.status.ok() {
        return Outcome::Stuck;
    }
    let artifacts: Vec<String> =
        differing(next, oracle, ignore).into_iter().filter(|path| !already.contains(path)).collect();
    if artifacts.is_empty() { Outcome::Resumed } else { Outcome::Diverged { artifacts } }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(command: &str, outputs: usize) -> Step {
        let output = |n: usize| crate::trace::Content { path: format!("obj/{n}").into(), number: 0, sha256: None };
        Step { command: command.into(), outputs: (0..outputs).map(output).collect(), ..Step::default() }
    }

    #[test]
    fn what_was_stopped_for_another_reason_was_not_tried() {
        use crate::runner::Status;
        use crate::verdict::sample::build;
        let came = |interrupted: &BuildRecord, next: &BuildRecord| {
            outcome(interrupted, next, &build("edit-1/oracle", &[("a.ko", "1")]), &[], &[])
        };
        let next = build("edit-1/incremental", &[("a.ko", "1")]);
        let mut interrupted = build("edit-1/interrupted", &[]);
        assert_eq!(came(&interrupted, &next), Outcome::Unreached);
        let full = Status::DiskFull("no room".into());
        let untried = Outcome::Untried { why: format!("the build {full}") };
        assert_eq!(came(&interrupted.clone().failed(full.clone()), &next), untried);
        interrupted.interrupted = Some("LD a.ko".into());
        assert_eq!(came(&interrupted, &next), Outcome::Resumed);
        assert_eq!(came(&interrupted, &next.clone().failed(full)), untried);
        assert_eq!(came(&interrupted, &next.clone().failed(Status::Exit(2))), Outcome::Stuck);
        // It takes far longer than a whole build: that is how some do not go on.
        assert_eq!(came(&interrupted, &next.failed(Status::Timeout(600))), Outcome::Stuck);
    }

    #[test]
    fn each_step_is_interrupted_in_each_way_and_told_from_those_of_its_name() {
        let query = Step { kind: Kind::Query, ..step("echo '  LD  a.o'; ld a", 1) };
        let steps = Steps {
            steps: vec![
                query,
                step("echo '  LD  a.o'; ld a", 1),
                step("touch b", 0),
                step("echo '  LD  a.o'; ld b", 3),
            ],
            ..Steps::default()
        };
        let ways = Ways {
            when: vec![Moment::Before, Moment::During, Moment::After],
            signals: vec![Signal::Kill],
            to: vec![Whom::Group, Whom::Step],
            changes: 2,
            faults: vec![Fault::Enospc],
            writes: 2,
        };
        let told: Vec<String> = points(&steps, &ways, &|_| true)
            .iter()
            .map(|it| format!("{} #{}", it.words(&it.step), it.nth.unwrap_or(1)))
            .collect();
        assert_eq!(told.len(), 5 + 3 + 7 + 3 * 2, "{told:#?}");
        assert_eq!(told[0], "SIGKILL to everything before `LD a.o` #1");
        assert_eq!(told[18], "SIGKILL to everything right after `LD a.o` #2");
        assert_eq!(told[20], "ENOSPC for everything from write 2 of `LD a.o` on #2");
        assert!(told.contains(&"SIGKILL to the step at change 2 of a file in `LD a.o` #2".to_owned()));
    }
}
