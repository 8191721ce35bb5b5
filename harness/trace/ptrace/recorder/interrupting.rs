//! What a recorder knows of steps while they run, for a build that is to be interrupted at one.

use std::fs;
use std::path::Path;

use libc::{c_int, pid_t};

use super::super::calls::Call;
use super::super::names::directory;
use super::super::{Next, sys};
use super::disturbing::delay;
use super::{Recorder, inode};
use crate::sandbox::memory;
use crate::scenario::{Fault, Moment, Signal, Whom};
use crate::trace::steps::{command, is_make, live_name};

impl Recorder {
    /// The processes that are to get a signal now, which is told.
    pub(super) fn due(&mut self) -> Vec<(pid_t, c_int)> {
        let Some(interrupter) = &mut self.interrupter else { return Vec::new() };
        if !interrupter.is_due() {
            return Vec::new();
        }
        if interrupter.what.fault.is_some() {
            // It is told when a write has failed.
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
        if self.interrupter.is_none() && self.delays.is_none() || self.step_of(process) != Some(process) {
            return;
        }
        // What `$(shell)` runs is no step.
        if let [program] = self.trace.processes[process].programs.as_slice()
            && !program.captured
        {
            let command = command(&program.argv);
            self.late = self.delays.map(|seed| delay(seed, &command));
            if let Some(interrupter) = &mut self.interrupter {
                interrupter.began(process, &command);
            }
        }
    }

    /// A process was killed. If that was the kernel, for want of memory, the build was interrupted there.
    pub(super) fn was_killed(&mut self, process: usize) {
        let killed = self.counts.as_ref().and_then(memory::kills).is_some_and(|kills| kills > 0);
        if !killed || self.trace.interrupted.is_some() {
            return;
        }
        let program = |at: usize| self.trace.processes[at].programs.first();
        let step = self.step_of(process).and_then(program);
        let name = step.or_else(|| program(process)).map(|it| live_name(&command(&it.argv)));
        self.trace.interrupted = Some(name.unwrap_or_else(|| "?".to_owned()));
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

    /// A task is about to write to a descriptor: whether that is to fail.
    pub(super) fn writes(&mut self, task: pid_t, call: &Call, fd: c_int) -> Next {
        let Some(interrupter) = &self.interrupter else { return Next::Go };
        let Some(fault) = interrupter.fault() else { return Next::Go };
        let link = format!("/proc/{task}/fd/{fd}");
        let file = fs::metadata(&link);
        let meant = match fault {
            // What this process was started with is what the build prints to.
            Fault::Epipe => inode(file).is_some_and(|it| Some(it) == inode(fs::metadata("/proc/self/fd/1"))),
            Fault::Enospc | Fault::Eio => {
                file.is_ok_and(|data| data.is_file())
                    && directory(&link).ok().flatten().is_some_and(|path| self.files.is_own(&path))
            }
        };
        if !meant {
            return Next::Go;
        }
        // Whether it writes shows only when it has returned, at the end of what is copied not: as on a file system that has no
        // such call, the task copies by read(2) and write(2) then.
        match call.nr {
            libc::SYS_copy_file_range => return Next::Fail(libc::EXDEV),
            libc::SYS_sendfile | libc::SYS_splice => return Next::Fail(libc::EINVAL),
            _ => {}
        }
        let step = interrupter.step;
        let by_step = self.tasks.get(&task).and_then(|process| self.step_of(*process)) == step;
        let Some(interrupter) = self.interrupter.as_mut().filter(|_| step.is_some()) else { return Next::Go };
        if !interrupter.fails(by_step) {
            return Next::Go;
        }
        self.trace.interrupted = Some(interrupter.name.clone());
        Next::Fail(match fault {
            Fault::Enospc => libc::ENOSPC,
            Fault::Eio => libc::EIO,
            Fault::Epipe => {
                sys::signal_task(task, libc::SIGPIPE);
                libc::EPIPE
            }
        })
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
