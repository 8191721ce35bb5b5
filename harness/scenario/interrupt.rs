//! `[edit.interrupt]`: at which step the build after an edit is interrupted, and how.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The build after the edit is interrupted, and then made again: what comes of that must be what a clean build makes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Interrupt {
    /// Pattern of the step, as make prints it (`"BTF [M] *.ko"`), or of its command where make prints nothing. Needed but with
    /// `memory`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub step: String,
    /// Which of the steps that fit, in the order in which they begin; by default the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub nth: Option<u32>,
    /// `before` it does anything (the default), `during` it, or `after` it, before make does anything else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<Moment>,
    /// With `during`: right after the step's so many-th change of a file (opened to be written, renamed, removed), by
    /// default the first: then the file is there and empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub change: Option<u32>,
    /// The signal: `KILL` (the default), `TERM`, `INT`, `HUP`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<Signal>,
    /// Who gets it: everything that runs (`group`, the default), the `make`s above the step alone, or the `step` alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Whom>,
    /// In place of a signal: from there on writes fail with this error, `ENOSPC`, `EIO` or `EPIPE`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<Fault>,
    /// With `fault`: the so many-th write from there on is the first that fails, by default the next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub write: Option<u32>,
    /// In place of everything else: all processes of the build together may use so much memory (`"64M"`), and of those that want
    /// more the kernel kills the largest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<String>,
}

/// When a step is interrupted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Moment {
    /// It has been started, and has done nothing.
    #[default]
    Before,
    /// It has begun to change a file.
    During,
    /// It has ended, and make has not gone on.
    After,
}

/// By what a build is interrupted (signal(7)).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum Signal {
    /// `SIGKILL`: no memory, a job over its time, a power cut.
    #[default]
    Kill,
    /// `SIGTERM`: a service that is stopped.
    Term,
    /// `SIGINT`: Ctrl-C.
    Int,
    /// `SIGHUP`: a terminal that is closed.
    Hup,
}

impl Signal {
    /// Its name as people write it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Kill => "SIGKILL",
            Self::Term => "SIGTERM",
            Self::Int => "SIGINT",
            Self::Hup => "SIGHUP",
        }
    }
}

/// What a write fails with (errno(3)), of a call as write(2); what is written through a mapping (mmap(2)) does not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum Fault {
    /// The disk is full, and stays so until the build has ended: no write to a file of the trees works. Files can still be
    /// made, as where there are inodes left, and are empty then.
    Enospc,
    /// A write error: one write to a file of the trees fails.
    Eio,
    /// Who reads what the build prints is gone, as in `make 2>&1 | head`: each write to standard output or error fails, with
    /// `SIGPIPE` (pipe(7)).
    Epipe,
}

impl Fault {
    /// Its name as errno(3) has it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Enospc => "ENOSPC",
            Self::Eio => "EIO",
            Self::Epipe => "EPIPE",
        }
    }
}

/// Who gets the signal.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Whom {
    /// Every process of the build, as by the terminal or a service manager.
    #[default]
    Group,
    /// Every make that the step is below, and nothing else: the step goes on for up to a second.
    Make,
    /// The step's own processes: make sees it fail.
    Step,
}

impl Interrupt {
    /// As a key of `[[edit]]`.
    #[must_use]
    pub fn toml(&self) -> String {
        // It holds strings and numbers alone, which can always be written.
        let keys = toml::to_string(self).unwrap_or_default();
        format!("interrupt = {{ {} }}", keys.lines().collect::<Vec<_>>().join(", "))
    }

    /// How many bytes of memory the build may use; none if that is not limited, or by no number that makes sense.
    #[must_use]
    pub fn memory_bytes(&self) -> Option<u64> {
        let text = self.memory.as_deref()?;
        let unit = match text.bytes().last()? {
            b'K' => 10,
            b'M' => 20,
            b'G' => 30,
            _ => return None,
        };
        let number = &text[..text.len() - 1];
        let digits = !number.starts_with('0') && number.bytes().all(|byte| byte.is_ascii_digit());
        number.parse::<u64>().ok().filter(|_| digits)?.checked_mul(1 << unit)
    }

    /// What it is done by, in a word: a signal or an error.
    #[must_use]
    pub fn by(&self) -> &'static str {
        if self.memory.is_some() {
            return "an out-of-memory kill";
        }
        self.fault.map_or_else(|| self.signal.unwrap_or_default().name(), Fault::name)
    }

    /// In words, of the step that it came to: "SIGKILL to everything before `LD a.o`".
    #[must_use]
    pub fn words(&self, step: &str) -> String {
        if let Some(memory) = &self.memory {
            return match step {
                "" => format!("an out-of-memory kill, as below `systemd-run --scope -p MemoryMax={memory}`"),
                step => format!("an out-of-memory kill in `{step}`, with {memory} for all processes"),
            };
        }
        if let Some(fault) = self.fault {
            return self.failing(fault, step);
        }
        let whom = match self.to.unwrap_or_default() {
            Whom::Group => "everything",
            Whom::Make => "make",
            Whom::Step => "the step",
        };
        let when = match self.when.unwrap_or_default() {
            Moment::Before => "before".to_owned(),
            Moment::During => format!("at change {} of a file in", self.change.unwrap_or(1)),
            Moment::After => "right after".to_owned(),
        };
        format!("{} to {whom} {when} `{step}`", self.by())
    }

    /// The same of writes that fail: "ENOSPC for everything from write 1 of `LD a.o` on".
    fn failing(&self, fault: Fault, step: &str) -> String {
        let after = match self.when.unwrap_or_default() {
            Moment::Before => "of".to_owned(),
            Moment::During => format!("after change {} of a file in", self.change.unwrap_or(1)),
            Moment::After => "after".to_owned(),
        };
        let place = format!("write {} {after} `{step}`", self.write.unwrap_or(1));
        match (fault, self.to.unwrap_or_default()) {
            (Fault::Eio, _) => format!("EIO at {place}"),
            (Fault::Enospc, Whom::Step) => format!("ENOSPC for the step from {place} on"),
            (Fault::Enospc, _) => format!("ENOSPC for everything from {place} on"),
            (Fault::Epipe, _) => format!("EPIPE for all output from {place} on"),
        }
    }
}
