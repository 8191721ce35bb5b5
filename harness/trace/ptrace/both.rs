//! Who wants to know everything that was done, and besides all that was looked at, by the names that were used.
//!
//! A trace has a file under the name that it has without symbolic links, and a manifest needs the links as well: one that
//! leads elsewhere the next time shows other files. So both watchers are told of each call.

use std::path::PathBuf;
use std::time::Duration;

use libc::{c_int, pid_t};

use super::calls::{self, Call, Stops};
use super::looks::Looks;
use super::recorder::Recorder;
use super::{Birth, Next, Watch};
use crate::trace::{Gap, Looked, Trace};

/// Both watchers of one command.
pub(super) struct Both {
    recorder: Recorder,
    looks: Looks,
}

impl Both {
    /// The recorder stops at all calls; below `links`, links are followed when they are used.
    pub(super) fn new(recorder: Recorder, links: Vec<PathBuf>) -> Self {
        Self { recorder, looks: Looks::new(links) }
    }

    /// Everything, once the command has ended.
    pub(super) fn finish(self) -> (Trace, Looked) {
        (self.recorder.finish(), self.looks.finish())
    }
}

impl Watch for Both {
    fn before(&mut self) {
        self.recorder.before();
    }

    fn call(&mut self, task: pid_t, call: &'static Call, args: &[u64; 6]) -> Next {
        // Before the call is made, whoever else is told of it.
        self.looks.call(task, call, args);
        match calls::acting(call) {
            Stops::Never => Next::Go,
            _ => self.recorder.call(task, call, args),
        }
    }

    fn returned(&mut self, task: pid_t, value: i64) {
        self.recorder.returned(task, value);
    }

    fn born(&mut self, task: pid_t, by: Option<Birth>) {
        self.recorder.born(task, by);
    }

    fn exec(&mut self, task: pid_t, former: Option<pid_t>) {
        self.looks.exec(task, former);
        self.recorder.exec(task, former);
    }

    fn wants_exits(&self) -> bool {
        self.recorder.wants_exits()
    }

    fn ending(&mut self, task: pid_t) {
        self.recorder.ending(task);
    }

    fn ended(&mut self, task: pid_t, status: c_int, usage: &libc::rusage) {
        self.recorder.ended(task, status, usage);
    }

    fn late(&mut self) -> Option<Duration> {
        self.recorder.late()
    }

    fn strike(&mut self) -> Vec<(pid_t, c_int)> {
        self.recorder.strike()
    }

    fn miss(&mut self, gap: Gap) {
        self.looks.miss(gap.clone());
        self.recorder.miss(gap);
    }
}
