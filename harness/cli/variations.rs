//! `--variations`: what second clean builds do otherwise, whatever their scenarios say.

use std::collections::BTreeMap;

use clap::ValueEnum;

use super::load::Ready;
use crate::scenario::{Experiment, ListOrder, Scenario, Start};

/// A variation on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum VariationArg {
    /// Everything below but the order of jobs, which one job has not, a later start, which takes a minute, and the group, where
    /// it takes root
    All,
    /// Nothing, not even what the scenario says
    None,
    /// The place of the source tree
    SourcePath,
    /// The place of the object tree
    ObjectPath,
    /// The number of jobs
    Jobs,
    /// LC_ALL
    Locale,
    /// TZ
    TimeZone,
    /// HOME
    Home,
    /// USER and LOGNAME
    User,
    /// The host name
    HostName,
    /// A further variable
    Environment,
    /// The umask; modes are then not compared
    Umask,
    /// The order in which steps begin
    JobOrder,
    /// The number of processors seen
    Processors,
    /// The layout of address spaces
    Addresses,
    /// The order of names in directories
    DirectoryOrder,
    /// The times of the source tree's files, all by as much
    FileTimes,
    /// The group, which takes root
    Group,
    /// The minute of the clock in which the build begins; it is waited for
    LaterStart,
}

/// A group that every system has, be it called `daemon` or `bin`.
const GROUP: u32 = 1;
/// By how many seconds files are older: a day, an hour, a minute and a second, so that each part of a time that is
/// told is another.
const OLDER: u32 = 24 * 60 * 60 + 60 * 60 + 60 + 1;

/// The scenario with these variations in place of its own; as it is if there are none. A tree that has to be where it is stays there.
/// Whether the group can be another decides what all of them are.
pub(crate) fn vary(mut ready: Ready, wanted: &[VariationArg], groups: bool) -> Ready {
    if wanted.is_empty() {
        return ready;
    }
    let scenario = &mut ready.loaded.scenario;
    scenario.experiment = experiment(scenario, wanted, groups);
    if !ready.found.again.contains("--variations") {
        let names: Vec<String> =
            wanted.iter().filter_map(|one| Some(one.to_possible_value()?.get_name().to_owned())).collect();
        ready.found.again.push_str(&format!(" --variations {}", names.join(",")));
    }
    ready
}

/// What is varied of a scenario, if these are asked for.
pub(crate) fn experiment(scenario: &Scenario, wanted: &[VariationArg], groups: bool) -> Option<Experiment> {
    use VariationArg::{
        Addresses, All, DirectoryOrder, Environment, FileTimes, Group, Home, HostName, JobOrder, Jobs, LaterStart,
        Locale, None, ObjectPath, Processors, SourcePath, TimeZone, Umask, User,
    };
    if wanted.contains(&None) {
        return Option::None;
    }
    let has = |one| wanted.contains(&All) || wanted.contains(&one);
    let fixed = scenario.tree.at.is_some() || scenario.make.dir.as_ref().is_some_and(|dir| dir.starts_with('/'));
    let shuffles = wanted.contains(&JobOrder);
    let variables = [
        (Locale, "LC_ALL", "C.UTF-8"),
        (TimeZone, "TZ", "XXX-5"),
        (Home, "HOME", "/nonexistent"),
        (User, "USER", "somebody"),
        (User, "LOGNAME", "somebody"),
        (Environment, "KBUILD_REPRO_VARIED", "1"),
    ];
    let env: BTreeMap<String, String> = variables
        .into_iter()
        // What the scenario sets is what it is about.
        .filter(|(one, name, _)| has(*one) && !scenario.make.env.contains_key(*name))
        .map(|(_, name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    Some(Experiment {
        srctree: (has(SourcePath) && !fixed).then(|| "/build/elsewhere/src".to_owned()),
        objtree: (has(ObjectPath) && !fixed).then(|| "/build/elsewhere/obj".to_owned()),
        // One job has one order.
        jobs: (has(Jobs) || shuffles && scenario.make.jobs == Some(1)).then_some(match scenario.make.jobs {
            Some(1) => 2,
            Some(jobs) if shuffles => jobs + 1,
            Option::None if shuffles => 3,
            _ => 1,
        }),
        env,
        hostname: has(HostName).then(|| "elsewhere".to_owned()),
        umask: has(Umask).then(|| "077".to_owned()),
        shuffle: shuffles.then_some(1),
        processors: has(Processors).then_some(1),
        random_addresses: has(Addresses).then_some(true),
        directories: has(DirectoryOrder).then_some(ListOrder::Reversed),
        file_times: has(FileTimes).then_some(OLDER),
        group: (if groups { has(Group) } else { wanted.contains(&Group) }).then_some(GROUP),
        start: wanted.contains(&LaterStart).then_some(Start::Later),
        // It was about what the scenario varied.
        changes: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str, wanted: &[VariationArg]) -> Option<Experiment> {
        let text = format!("title = 't'\n{text}");
        let loaded = crate::scenario::parse("t.toml", &text, &()).expect("a scenario");
        experiment(&loaded.scenario, wanted, true)
    }

    #[test]
    fn a_tree_that_has_to_be_where_it_is_stays_there() {
        let all = of("[tree]\nsrctree = 'mini'\n", &[VariationArg::All]).expect("an experiment");
        assert_eq!(all.variations().len(), 16);
        let there = of("[tree]\nsrctree = './x'\nat = '/x'\n[make]\njobs = 1\n", &[VariationArg::All]).expect("one");
        assert_eq!((there.srctree.as_ref(), there.objtree.as_ref(), there.jobs), (None, None, Some(2)));
        let order = of("[tree]\nsrctree = 'mini'\n", &[VariationArg::JobOrder, VariationArg::Jobs]).expect("one");
        assert_eq!(all.group, Some(1));
        let loaded =
            crate::scenario::parse("t.toml", "title = 't'\n[tree]\nsrctree = 'mini'\n", &()).expect("a scenario");
        let group = |wanted: &[VariationArg]| experiment(&loaded.scenario, wanted, false).and_then(|one| one.group);
        assert_eq!((group(&[VariationArg::All]), group(&[VariationArg::Group])), (None, Some(1)));
        assert_eq!((all.shuffle, order.shuffle, order.jobs), (None, Some(1), Some(3)));
    }

    #[test]
    fn some_are_chosen_and_what_the_scenario_sets_is_left_alone() {
        let text = "[tree]\nsrctree = 'mini'\n[make]\nenv = { TZ = 'UTC' }\n[experiment]\njobs = 1\n";
        assert_eq!(of(text, &[VariationArg::None]), None);
        let some = of(text, &[VariationArg::TimeZone, VariationArg::Locale]).expect("one");
        let names: Vec<String> = some.variations().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["LC_ALL=C.UTF-8"]);
    }
}
