//! What a recorder knows of steps while they run, for a build that is to be interrupted at one.

use std::path::Path;

use libc::{c_int, pid_t};

use super::super::interrupter::Interrupter;
use super::Recorder;
use crate::scenario::{Interrupt, Moment, Signal, Whom};
use crate::trace::steps::{command, is_make};

impl Recorder {
    /// The same, and the command is interrupted.
    pub(in super::super) fn interrupting(mut self, interrupt: Option<Interrupt>) -> Self {
        self.interrupter = interrupt.map(Interrupter::new);
        self
    }

    /// The processes that are to get a signal now, which is told.
    pub(super) fn due(&mut self) -> Vec<(pid_t, c_int)> {
        let Some(interrupter) = &mut self.interrupter else { return Vec::new() };
        if !interrupter.is_due() {
            return Vec::new();
        }
        self.trace.interrupted = Some(interrupter.name.clone());
        let signal = match interrupter.what.signal.unwrap_or_default() {
            Signal::Kill => libc::SIGKILL,
            Signal::Term => libc::SIGTERM,
            Signal::Int => libc::SIGINT,
            Signal::Hup => libc::SIGHUP,
        };
        let (step, whom) = (interrupter.step, interrupter.what.to.unwrap_or_default());
        let above: Vec<usize> = std::iter::successors(step, |at| self.parent(*at)).skip(1).collect();
        let hit = |at: usize| match whom {
            Whom::Group => true,
            Whom::Make => above.contains(&at) && self.runs_make(at),
            Whom::Step => self.step_of(at) == step,
        };
        let alive = self.trace.processes.iter().enumerate().filter(|(_, process)| process.end.is_none());
        alive.filter(|(at, _)| hit(*at)).map(|(_, process)| (process.pid, signal)).collect()
    }

    fn parent(&self, process: usize) -> Option<usize> {
        self.trace.processes[process].parent.map(|parent| parent as usize)
    }

    fn runs_make(&self, process: usize) -> bool {
        let own = std::iter::successors(Some(process), |at| self.parent(*at));
        let mut programs = own.filter_map(|at| self.trace.processes[at].programs.last());
        programs.next().is_some_and(|program| is_make(self.files.path(program.file), &program.argv))
    }

    /// The child of make that a process is, or is below.
    fn step_of(&self, process: usize) -> Option<usize> {
        let mut line = std::iter::successors(Some(process), |at| self.parent(*at));
        line.find(|at| self.parent(*at).is_some_and(|parent| self.runs_make(parent)))
    }

    /// A process has become another program: if that is the first of a child of make, a step begins.
    pub(super) fn began(&mut self, process: usize) {
        if self.interrupter.is_none() || self.step_of(process) != Some(process) {
            return;
        }
        // What `$(shell)` runs is no step.
        if let [program] = self.trace.processes[process].programs.as_slice()
            && !program.captured
            && let Some(interrupter) = &mut self.interrupter
        {
            interrupter.began(process, &command(&program.argv));
        }
    }

    /// Whether somebody has to know that a step ends before make does.
    pub(super) fn is_due_at_an_end(&self) -> bool {
        self.interrupter.as_ref().is_some_and(|interrupter| interrupter.what.when == Some(Moment::After))
    }

    /// A task is about to end; of a process it is the first that counts.
    pub(super) fn ends(&mut self, task: pid_t) {
        if let (Some(&process), Some(interrupter)) = (self.tasks.get(&task), &mut self.interrupter)
            && self.trace.processes[process].pid == task
        {
            interrupter.ended(process);
        }
    }

    /// A process has changed a file.
    pub(super) fn changed_by(&mut self, process: usize, path: &Path) {
        if self.interrupter.is_none() || !self.files.is_own(path) {
            return;
        }
        let step = self.step_of(process);
        self.interrupter.iter_mut().zip(step).for_each(|(interrupter, step)| interrupter.changed(step));
    }
}
