//! Picks the step at which a build is interrupted, and says when that is due.
//!
//! A step is known as it is everywhere: a child of make and all below it. What is due is done while the step's process is stopped: as
//! its first program begins, as a call has returned, or as it ends (`PTRACE_EVENT_EXIT`), of which make does not know yet.

use wildmatch::WildMatch;

use crate::scenario::{Interrupt, Moment};
use crate::trace::steps::{kbuild, label, live_name};

pub(super) struct Interrupter {
    pub(super) what: Interrupt,
    pattern: WildMatch,
    /// How many steps that fit have begun.
    fitting: u32,
    /// The process of the step that was picked.
    pub(super) step: Option<usize>,
    /// Its name.
    pub(super) name: String,
    /// How many changes of files it made.
    changes: u32,
    due: bool,
    /// It is done once.
    done: bool,
}

impl Interrupter {
    pub(super) fn new(what: Interrupt) -> Self {
        let pattern = WildMatch::new(&what.step);
        Self { what, pattern, fitting: 0, step: None, name: String::new(), changes: 0, due: false, done: false }
    }

    fn when(&self) -> Moment {
        self.what.when.unwrap_or_default()
    }

    /// A child of make runs its first program: this is what make gave to the shell, or started.
    pub(super) fn began(&mut self, process: usize, command: &str) {
        if self.step.is_some() {
            return;
        }
        let label = label(command);
        if !label.as_deref().into_iter().chain([kbuild::body(command)]).any(|name| self.pattern.matches(name)) {
            return;
        }
        self.fitting += 1;
        if self.fitting == self.what.nth.unwrap_or(1) {
            self.step = Some(process);
            self.name = live_name(command);
            self.due = self.when() == Moment::Before;
        }
    }

    /// A step has changed a file of the build.
    pub(super) fn changed(&mut self, step: usize) {
        if self.step == Some(step) && self.when() == Moment::During {
            self.changes += 1;
            self.due |= self.changes == self.what.change.unwrap_or(1);
        }
    }

    /// A process is about to end.
    pub(super) fn ended(&mut self, process: usize) {
        self.due |= self.step == Some(process) && self.when() == Moment::After;
    }

    /// Whether it is time, once.
    pub(super) fn is_due(&mut self) -> bool {
        let now = self.due && !self.done;
        self.done |= now;
        now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(what: &str) -> Interrupter {
        Interrupter::new(serde_json::from_str(what).unwrap())
    }

    const LINK: &str = "set -e; echo '  LD [M]  lib/crc.ko'; ld -r -o lib/crc.ko lib/crc.o";

    #[test]
    fn a_step_is_picked_by_its_label_or_its_command_and_once() {
        for pattern in ["LD [M] lib/*.ko", "ld -r -o lib/crc.ko *"] {
            let mut it = of(&format!(r#"{{"step":"{pattern}"}}"#));
            it.began(3, "gcc -c lib/crc.c");
            assert!(!it.is_due());
            it.began(4, LINK);
            assert_eq!((it.is_due(), it.step, it.name.as_str()), (true, Some(4), "LD [M] lib/crc.ko"));
            it.began(5, LINK);
            assert_eq!((it.is_due(), it.step), (false, Some(4)));
        }
    }

    #[test]
    fn the_second_that_fits_at_its_third_change() {
        let mut it = of(r#"{"step":"LD *","nth":2,"when":"during","change":3}"#);
        it.began(4, LINK);
        it.changed(4);
        it.began(7, LINK);
        for due in [false, false, true, false] {
            it.changed(4);
            it.changed(7);
            assert_eq!(it.is_due(), due);
        }
    }

    #[test]
    fn after_it_is_when_its_own_process_has_ended() {
        let mut it = of(r#"{"step":"LD *","when":"after"}"#);
        it.began(4, LINK);
        it.ended(5);
        assert!(!it.is_due());
        it.ended(4);
        assert!(it.is_due() && !it.is_due());
    }
}
