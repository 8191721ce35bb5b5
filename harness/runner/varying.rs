//! Which of the things that the experiment varies makes the difference: further clean builds, each with a part of them.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, PoisonError};

use wildmatch::WildMatch;

use super::execute::{RunError, Runner, lock};
use super::{Chain, Event, Mode, PlannedBuild, Role};
use crate::scenario::{Experiment, LATER, Scenario};

/// How many builds are made for it at most.
pub const MOST: usize = 24;

type Variation = (String, Experiment);
/// Whether a build with these variations differs from the control; `None` where that cannot be told.
type Differs<'d, E> = dyn Fn(&[Variation]) -> Result<Option<bool>, E> + 'd;

impl Runner<'_> {
    /// Makes the build that varies nothing.
    pub(super) fn plain_variation(&self) -> Result<(), RunError> {
        self.variation(1, self.with_part(Experiment::default())).map(drop)
    }

    /// What a build does otherwise that varies only a part. Where addresses are varied at all, builds without that have theirs
    /// fixed.
    fn with_part(&self, part: Experiment) -> Experiment {
        let varied = self.scenario.experiment.as_ref().and_then(|experiment| experiment.random_addresses);
        Experiment { random_addresses: part.random_addresses.or(varied.map(|_| false)), ..part }
    }

    /// Makes the builds, if control and experiment differ. What they show is for the verdict to say: one without any variation
    /// that differs as well is a difference that comes without them. Each artifact is asked for by itself, for one thing may be
    /// in one and another in another; a build tells of all of them.
    pub(super) fn find_variation(&self) -> Result<(), RunError> {
        let Some(experiment) = &self.scenario.experiment else { return Ok(()) };
        // Either of two builds can have what the other lacks.
        let differing = |id: &str| {
            let both = [("control/clean", id), (id, "control/clean")];
            let told = both.map(|(build, other)| self.observer.differing(build, other));
            told.iter().any(Option::is_some).then(|| told.into_iter().flatten().flatten().collect::<BTreeSet<String>>())
        };
        let mut artifacts = differing("experiment/clean").unwrap_or_default();
        // Of what is to differ it need not be found out.
        let demanded: Vec<WildMatch> = experiment.changes.iter().map(|pattern| WildMatch::new(pattern)).collect();
        artifacts.retain(|artifact| !demanded.iter().any(|pattern| pattern.matches(artifact)));
        let made: RefCell<BTreeMap<Vec<String>, Option<BTreeSet<String>>>> = RefCell::default();
        let mut all = experiment.variations();
        let later = all.iter().position(|(name, _)| name == LATER).map(|at| all.remove(at));
        if later.is_some() {
            // It was made beside the control.
            made.borrow_mut().insert(Vec::new(), differing("variation-1/clean"));
        }
        let build = |of: &[Variation]| -> Result<Option<BTreeSet<String>>, RunError> {
            let names: Vec<String> = of.iter().map(|(name, _)| name.clone()).collect();
            if let Some(known) = made.borrow().get(&names) {
                return Ok(known.clone());
            }
            let number = made.borrow().len() + 1;
            if number > MOST {
                return Ok(None);
            }
            let id = self.variation(number, self.with_part(Experiment::together(of)))?;
            let told = differing(&id);
            made.borrow_mut().insert(names, told.clone());
            Ok(told)
        };
        for artifact in &artifacts {
            let differs = |of: &[Variation]| -> Result<Option<bool>, RunError> {
                Ok(build(of)?.map(|differing| differing.contains(artifact)))
            };
            let Some(later) = &later else {
                guilty(all.clone(), true, &differs)?;
                continue;
            };
            // From now on every build is made in another minute than the control. Only where that by itself makes no
            // difference do such builds tell of anything else.
            if !all.is_empty() && differs(&[])? == Some(false) && differs(std::slice::from_ref(later))? == Some(false) {
                guilty(all.clone(), false, &differs)?;
            }
        }
        Ok(())
    }

    /// Makes a clean build with these variations, and tells its name.
    fn variation(&self, number: usize, experiment: Experiment) -> Result<String, RunError> {
        let mut scenario = Scenario { experiment: Some(experiment), ..self.scenario.clone() };
        if self.copies {
            // Nor do they start from a prepared state: nobody saw in this run that it will do.
            scenario.tree.prepared = Some(false);
        }
        let instance = format!("variation-{number}");
        let id = format!("{instance}/clean");
        let builds = vec![PlannedBuild { id: id.clone(), mode: Mode::Clean, edit: None }];
        let runner = Runner {
            context: self.context,
            scenario: &scenario,
            plan: self.plan,
            observer: self.observer,
            stop: self.stop,
            stage: self.stage,
            losses: Mutex::default(),
            configs: Mutex::default(),
            configured: Mutex::default(),
            control_done: AtomicBool::new(true),
            control_started: Mutex::default(),
            control_began: Mutex::default(),
            clean_started: self.clean_started,
            experiment_begun: AtomicBool::new(true),
            from_nothing: Mutex::default(),
            taken: Mutex::default(),
            afresh: AtomicBool::new(true),
            copies: self.copies,
        };
        self.observer.event(Event::Planned(1));
        runner.chains(&[Chain { role: Role::Variation, instance, builds }])?;
        let Runner { losses, from_nothing, .. } = runner;
        let losses: BTreeMap<_, _> = losses.into_inner().unwrap_or_else(PoisonError::into_inner);
        lock(&self.losses).extend(losses);
        lock(&self.from_nothing).extend(from_nothing.into_inner().unwrap_or_else(PoisonError::into_inner));
        Ok(id)
    }
}

/// Those of several that each make a difference, found by halving. `differs` is asked for none, for halves, and in the end for what
/// is left without those that were found; where it cannot tell, the search ends. That all together make one is `known`, or asked for.
fn guilty<E>(all: Vec<Variation>, mut known: bool, differs: &Differs<'_, E>) -> Result<Vec<Variation>, E> {
    let mut found = Vec::new();
    if differs(&[])? != Some(false) {
        return Ok(found);
    }
    let mut left = all;
    while !left.is_empty() {
        if !known && differs(&left)? != Some(true) {
            break;
        }
        known = false;
        let mut among = left.clone();
        // Whether the one that is left was seen to make the difference alone.
        let mut alone = false;
        while among.len() > 1 {
            let rest = among.split_off(among.len().div_ceil(2));
            match differs(&among)? {
                Some(true) => alone = among.len() == 1,
                Some(false) => {
                    among = rest;
                    alone = false;
                }
                None => return Ok(found),
            }
        }
        if !alone && left.len() > 1 && differs(&among)? != Some(true) {
            // Only several together make it.
            break;
        }
        left.retain(|one| !among.contains(one));
        found.append(&mut among);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::convert::Infallible;

    use super::*;

    /// Which of `all` are found where these make a difference, and by how many builds.
    fn found(all: &[&str], guilty_ones: &[&str], without: bool) -> (Vec<String>, usize) {
        let all = all.iter().map(|name| ((*name).to_owned(), Experiment::default())).collect();
        let asked = Cell::new(0);
        let differs = |some: &[Variation]| -> Result<Option<bool>, Infallible> {
            asked.set(asked.get() + 1);
            Ok(Some(without || some.iter().any(|(name, _)| guilty_ones.contains(&name.as_str()))))
        };
        let Ok(found) = guilty(all, true, &differs);
        (found.into_iter().map(|(name, _)| name).collect(), asked.get())
    }

    #[test]
    fn the_guilty_ones_are_found_by_halving() {
        let all = ["a", "b", "c", "d", "e", "f"];
        assert_eq!(found(&all, &["b"], false), (vec!["b".into()], 6));
        assert_eq!(found(&all, &["f"], false).0, ["f"]);
        assert_eq!(found(&all, &["a", "e"], false).0, ["a", "e"]);
        assert_eq!(found(&["a"], &["a"], false), (vec!["a".into()], 1));
        assert_eq!(found(&all, &[], true), (vec![], 1));
    }

    #[test]
    fn what_only_several_make_together_is_told_of_none() {
        let all = ["a", "b"].map(|name| (name.to_owned(), Experiment::default())).to_vec();
        let both = |some: &[Variation]| -> Result<Option<bool>, Infallible> { Ok(Some(some.len() == 2)) };
        let Ok(found) = guilty(all, true, &both);
        assert!(found.is_empty());
    }

    #[test]
    fn that_all_make_a_difference_is_asked_for_where_it_is_not_known() {
        let one = vec![("a".to_owned(), Experiment::default())];
        let never = |_: &[Variation]| -> Result<Option<bool>, Infallible> { Ok(Some(false)) };
        let Ok(found) = guilty(one, false, &never);
        assert!(found.is_empty());
    }
}
