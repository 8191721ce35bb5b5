//! The commands of a step: who started what, and for whom a shell opened a file.

use std::collections::{BTreeMap, HashMap};

use super::is_shell;
use crate::trace::{Action, Deed, Trace};

/// The commands of a step, each by its first process.
pub(super) struct Commands<'t> {
    /// Which one a process belongs to.
    of: HashMap<u32, u32>,
    /// What each did.
    pub(super) did: BTreeMap<u32, Vec<&'t Action>>,
}

impl<'t> Commands<'t> {
    /// As shells and scripts start them: each with all that is below its first process. What a shell does itself is one of its
    /// own.
    pub(super) fn of_step(trace: &Trace, processes: &[u32]) -> Self {
        let mut commands = Self { of: HashMap::new(), did: BTreeMap::new() };
        let mut started: HashMap<u32, u32> = HashMap::new();
        // Parents have smaller numbers than their children.
        for number in processes {
            let process = &trace.processes[*number as usize];
            let above = process.parent.and_then(|parent| started.get(&parent).copied());
            let name = process.programs.last().and_then(|program| program.argv.first());
            // One that ran no program is a part of the shell that it is a copy of.
            let shell = name.is_none_or(|name| is_shell(&name.to_string_lossy()));
            let command = above.unwrap_or(*number);
            if above.is_some() || !shell {
                started.insert(*number, command);
            }
            commands.of.insert(*number, command);
            commands.did.entry(command).or_default();
        }
        commands
    }

    /// What the command of a process did.
    pub(super) fn of_process(&mut self, process: u32) -> Option<&mut Vec<&'t Action>> {
        self.did.get_mut(self.of.get(&process)?)
    }
}

/// Files that a shell opens for writing before it starts a program, which then writes there (`cat a > b`; POSIX.1-2017, Shell
/// Command Language, 2.7): by the place of that in the order of things, the process that it is for.
pub(super) fn redirected(trace: &Trace, processes: &[u32]) -> HashMap<u32, u32> {
    let mut children: HashMap<u32, Vec<(u32, u32)>> = HashMap::new();
    for number in processes {
        let process = &trace.processes[*number as usize];
        if let Some(parent) = process.parent.filter(|_| !process.programs.is_empty()) {
            children.entry(parent).or_default().push((process.born, *number));
        }
    }
    let mut given = HashMap::new();
    for (number, mut children) in children {
        children.sort_unstable();
        let shell = |at: u32| {
            let program = trace.program(number, at);
            program.and_then(|program| program.argv.first()).is_some_and(|name| is_shell(&name.to_string_lossy()))
        };
        let Some(process) = processes.binary_search(&number).ok().map(|_| &trace.processes[number as usize]) else {
            continue;
        };
        let writes = process.actions.iter().filter(|action| matches!(action.deed, Deed::Create | Deed::Update));
        let writes: Vec<u32> = writes.map(|action| action.at).filter(|at| shell(*at)).collect();
        for (place, at) in writes.iter().enumerate() {
            let next = writes.get(place + 1).copied().unwrap_or(u32::MAX);
            let after = children.partition_point(|(born, _)| born <= at);
            if let Some((_, first)) = children.get(after).filter(|(born, _)| *born < next) {
                given.insert(*at, *first);
            }
        }
    }
    given
}
