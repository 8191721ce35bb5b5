//! Picks the step at which a build is interrupted, and says when that is due.
//!
//! A step is known as it is everywhere: a child of make and all below it. What is due is done while the step's process is stopped: as
//! its first program begins, as a call has returned, or as it ends (`PTRACE_EVENT_EXIT`), of which make does not know yet.

use wildmatch::WildMatch;

use crate::scenario::{Fault, Interrupt, Moment, Whom};
use crate::trace::steps::{is_descent, kbuild, label, live_name};

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
    /// Writes are to fail, once it was done.
    armed: bool,
    /// How many were made since.
    writes: u32,
}

impl Interrupter {
    pub(super) fn new(what: Interrupt) -> Self {
        let pattern = WildMatch::new(&what.step);
        Self {
            what,
            pattern,
            fitting: 0,
            step: None,
            name: String::new(),
            changes: 0,
            due: false,
            done: false,
            armed: false,
            writes: 0,
        }
    }

    fn when(&self) -> Moment {
        self.what.when.unwrap_or_default()
    }

    /// A child of make runs its first program: this is what make gave to the shell, or started.
    pub(super) fn began(&mut self, process: usize, command: &str) {
        // For want of memory the kernel picks.
        if self.step.is_some() || self.what.memory.is_some() || is_descent(command) {
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

    /// Whether it is time, once. For writes to fail it is then that they are counted.
    pub(super) fn is_due(&mut self) -> bool {
        let now = self.due && !self.done;
        self.done |= now;
        self.armed |= now && self.what.fault.is_some();
        now
    }

    /// With what a write may fail now.
    pub(super) fn fault(&self) -> Option<Fault> {
        self.what.fault.filter(|_| self.armed)
    }

    /// Whether a write fails that is made where it matters, by the step or by somebody else.
    pub(super) fn fails(&mut self, by_step: bool) -> bool {
        let Some(fault) = self.fault() else { return false };
        let first = self.what.write.unwrap_or(1);
        if self.writes < first {
            // After a step it is for others to write.
            if by_step || self.when() == Moment::After {
                self.writes += 1;
            }
            return self.writes == first;
        }
        match fault {
            Fault::Eio => false,
            Fault::Enospc | Fault::Epipe => by_step || self.what.to.unwrap_or_default() == Whom::Group,
        }
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
    fn a_make_below_make_is_none_of_the_steps_that_are_counted() {
        let mut it = of(r#"{"step":"*","nth":2}"#);
        for (number, command) in
            ["make -f Makefile.build obj=lib", "A=1 /usr/bin/make -C tools", "gcc -c a.c"].iter().enumerate()
        {
            it.began(number, command);
        }
        assert!(!it.is_due());
        // What does more than that, or says what it is, is a step.
        it.began(4, "make -C tools; cp tools/out .");
        assert_eq!((it.is_due(), it.step), (true, Some(4)));
        assert!(!is_descent("echo '  DESCEND objtool'; make -C tools/objtool") && !is_descent("gcc -DMAKE=make a.c"));
    }

    /// Of writes by the step (`true`) and by others, which fail.
    fn failing(what: &str, writes: &[bool]) -> Vec<bool> {
        let mut it = of(what);
        assert!(!it.fails(true));
        it.began(4, LINK);
        it.ended(4);
        assert!(it.is_due());
        writes.iter().map(|by_step| it.fails(*by_step)).collect()
    }

    #[test]
    fn a_full_disk_stays_full_and_a_write_error_is_one() {
        let writes = [false, true, true, false, true];
        let fails = |keys: &str| failing(&format!(r#"{{"step":"LD *",{keys}}}"#), &writes);
        assert_eq!(fails(r#""fault":"ENOSPC""#), [false, true, true, true, true]);
        assert_eq!(fails(r#""fault":"ENOSPC","write":2"#), [false, false, true, true, true]);
        assert_eq!(fails(r#""fault":"ENOSPC","to":"step""#), [false, true, true, false, true]);
        assert_eq!(fails(r#""fault":"EPIPE","write":2"#), [false, false, true, true, true]);
        assert_eq!(fails(r#""fault":"EIO""#), [false, true, false, false, false]);
        assert_eq!(fails(r#""fault":"EIO","write":3"#), [false, false, false, false, true]);
        assert_eq!(fails(r#""fault":"ENOSPC","when":"after""#), [true; 5]);
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
