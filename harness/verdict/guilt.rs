//! From a difference to the step that made it: what the traces of the builds show.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::trace::Cmd;

/// What is the matter with a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// It was not run, though something that it reads or its command had changed.
    Skipped,
    /// It read what it had made itself the time before.
    OwnOutput,
    /// It got the same and gave something else.
    Irreproducible,
    /// It was run with another command, environment or tool than in the build it is compared with.
    OtherCommand,
    /// It was run, and the build it is compared with does not run it.
    Extra,
}

/// The step that a finding comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Cause {
    /// What is the matter with it.
    pub fault: Fault,
    /// The step, as kbuild prints it (`BTF [M] crypto/md5.ko`), or its command.
    pub step: String,
    /// The file that it is there to make, below `src` or `obj`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Its `cmd_X`, with the makefile and the line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cmd: Option<Cmd>,
    /// What make gave to the shell, without what kbuild puts before it.
    pub command: String,
    /// The build in which it ran, or ought to have run.
    pub build: String,
    /// Why it is this one, in a line.
    pub why: String,
    /// How the change came to what it reads: a file of the sources, then steps and files in turns, the last what it reads.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub way: Vec<String>,
}
