//! How a build ended.

use serde::{Deserialize, Serialize};

/// How a build ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// Every command exited with 0.
    Ok,
    /// A command exited with this code.
    Exit(i32),
    /// A command was killed by this signal.
    Signal(i32),
    /// It was stopped after this many seconds.
    Timeout(u64),
    /// It was stopped because the disk ran full; in words.
    DiskFull(String),
    /// It worked, but what it left behind cannot be looked at; in words.
    Unseen(String),
}

impl Status {
    /// Whether the build worked.
    #[must_use]
    pub fn ok(&self) -> bool {
        *self == Self::Ok
    }

    /// Whether the harness stopped it, for a reason that is none of the build's: then it says nothing of the build.
    #[must_use]
    pub fn was_stopped(&self) -> bool {
        matches!(self, Self::Timeout(_) | Self::DiskFull(_))
    }
}

impl std::fmt::Display for Status {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Ok => out.write_str("worked"),
            Self::Exit(code) => write!(out, "failed with exit code {code}"),
            Self::Signal(signal) => write!(out, "was killed by signal {signal}"),
            Self::Timeout(seconds) => write!(out, "did not end within {seconds} s"),
            Self::DiskFull(what) => write!(out, "was stopped: {what}"),
            Self::Unseen(why) => write!(out, "left what cannot be looked at: {why}"),
        }
    }
}
