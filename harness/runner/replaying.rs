//! Replays within a run: every step of a clean build that rewrites a file is run again on its own output.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::execute::{RunError, RunErrorKind, Runner};
use super::making::{Making, Tree};
use super::replay::{Came, ReplayError, Replays, Top};
use super::{PlannedBuild, Traced};
use crate::sandbox::{self, Mount};
use crate::trace::{Kind, Root, Step, steps};

/// How often a step is run again: the second time shows what settles after the first.
pub const TIMES: u32 = 2;
/// How long the replays of a build may take at least; more if the build itself takes longer.
const PATIENCE: Duration = Duration::from_secs(60);

/// A step that was run again, while what it made is still there.
#[derive(Debug)]
pub struct Replayed<'a> {
    /// The build.
    pub build: &'a PlannedBuild,
    /// The step; it has no `cmd_X` yet.
    pub step: &'a Step,
    /// What came of it.
    pub came: Came,
}

impl Runner<'_> {
    /// Runs the in-place steps of a clean build again, each by itself.
    pub(super) fn replay_in_place(
        &self,
        build: &PlannedBuild,
        tree: Tree<'_>,
        log: &Path,
        traced: &Traced,
    ) -> Result<(), RunError> {
        let Ok(traces) = traced.read() else { return Ok(()) };
        let mut base = Making::new(self, tree, true, log.to_owned())?.base();
        let (tops, mounts) = layers(std::mem::take(&mut base.mounts));
        base.mounts = mounts;
        let began = Instant::now();
        let scratch = tree.instance.dir.join("replays");
        for trace in &traces {
            let all = steps(trace, &traced.roots);
            let replays = Replays {
                trace,
                steps: &all,
                inside: &|told| inside(&traced.roots, told),
                tops: &tops,
                base: &base,
                sandbox: self.context.sandbox,
                // The clean builds themselves are never in the same second.
                apart: false,
                cancel: self.context.cancel,
            };
            let mut chosen: Vec<&Step> = all.iter().filter(|step| rewrites(step)).collect();
            chosen.sort_by_key(|step| step.began);
            for step in chosen {
                let came = if began.elapsed() > PATIENCE {
                    Came::NotReplayable(format!("replays were stopped after {} s", PATIENCE.as_secs()))
                } else {
                    match replays.step(step, TIMES, &scratch) {
                        Ok(came) => came,
                        Err(ReplayError::Stopped) => return Err(self.interrupted()),
                        Err(ReplayError::Sandbox(error)) => return Err(error.into()),
                        // What was allowed for the build is refused for its replay: no finding of the build's.
                        Err(ReplayError::Refused(error)) => Came::NotReplayable(error.to_string()),
                        Err(error) => return Err(RunError::new(RunErrorKind::Harness, error.to_string())),
                    }
                };
                self.observer.replayed(&Replayed { build, step, came })?;
                sandbox::remove_tree(&scratch).map_err(|error| RunError::harness("remove a replay", error))?;
            }
        }
        Ok(())
    }
}

/// Whether a step rewrites a file that is more than a note for make.
fn rewrites(step: &Step) -> bool {
    let note = |path: &String| path.rsplit('/').next().is_some_and(|name| name.starts_with('.'));
    step.kind == Kind::Recipe && step.in_place.iter().any(|path| !note(path))
}

/// Where a file of the build is in it.
fn inside(roots: &[Root], told: &str) -> PathBuf {
    let below = |root: &Root| Some(root.dir.join(told.strip_prefix(root.name.as_str())?.strip_prefix('/')?));
    roots.iter().find_map(below).unwrap_or_else(|| told.into())
}

/// What can be written as directories for overlays, and the mounts that stay as they are.
fn layers(mounts: Vec<Mount>) -> (Vec<Top>, Vec<Mount>) {
    let (mut tops, mut others) = (Vec::new(), Vec::new());
    for mount in mounts {
        match mount {
            Mount::Overlay { lower, upper, at, .. } => {
                tops.push(Top { at, lower: std::iter::once(upper).chain(lower).collect() });
            }
            Mount::Bind { host, at, writable: true } => tops.push(Top { at, lower: vec![host] }),
            other => others.push(other),
        }
    }
    (tops, others)
}
