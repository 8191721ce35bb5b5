//! What a scenario is run with, and why it could not be run.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use super::Parts;
use super::instance::Source;
use super::prepared::Store;
use super::results::Results;
use super::slots::Pool;
use crate::sandbox::{self, Isolation, Sandbox, SandboxError};
use crate::tree::kconfig::Unmet;
use crate::tree::source::tools::Unpacked;

/// What a scenario is run with.
#[derive(Debug)]
pub struct Context<'a> {
    /// Starts builds.
    pub sandbox: &'a Sandbox,
    /// The machine's job slots.
    pub pool: &'a Pool,
    /// A directory of the scenario's own for its trees.
    pub scratch: &'a Path,
    /// Where the sources come from.
    pub source: &'a Source,
    /// Where prepared states are kept, for trees whose clean builds start from one.
    pub prepared: Option<&'a Store>,
    /// Where results of clean builds are kept that need not be made again; none if all are made.
    pub results: Option<&'a Results>,
    /// How much isolation.
    pub isolation: Isolation,
    /// Whether the host has no mount namespaces: trees are then moved to one fixed place to be built.
    pub direct: bool,
    /// The most jobs one build may have.
    pub max_jobs: usize,
    /// Bytes that must stay free on the scratch file system.
    pub reserve: u64,
    /// Bytes that the trees may take; over the scenario's own bound.
    pub disk_limit: Option<u64>,
    /// Tools that builds find before the system's.
    pub toolchain: &'a [Unpacked],
    /// Set when everything is to stop.
    pub cancel: &'a AtomicBool,
    /// Whether builds are traced: then findings name steps.
    pub trace: bool,
    /// Whether trees stay.
    pub keep: bool,
    /// Whether kernels that builds make are booted.
    pub boot: bool,
    /// Which parts of the main job.
    pub parts: Parts,
}

impl Context<'_> {
    /// How much isolation a sandbox gets on this host.
    #[must_use]
    pub fn isolation(&self) -> Isolation {
        if self.direct { Isolation::Direct } else { self.isolation }
    }
}

/// Whose fault it is that a scenario could not be run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunErrorKind {
    /// The scenario does not fit its tree.
    Scenario,
    /// The host refuses something.
    HostCannot,
    /// The harness or the host is at fault.
    Harness,
    /// Stopped from outside.
    Interrupted,
}

/// Why a scenario could not be run to its end.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct RunError {
    /// Whose fault it is.
    pub kind: RunErrorKind,
    /// What happened.
    pub message: String,
    /// What would help.
    pub hint: Option<String>,
    /// Symbols that are not as asked; the caller says what they depend on.
    pub unmet: Vec<Unmet>,
}

impl RunError {
    pub(super) fn new(kind: RunErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None, unmet: Vec::new() }
    }
    /// An error that is the harness's or the host's, as what it comes from says.
    #[must_use]
    pub fn of(message: impl Into<String>, cause: &(dyn std::error::Error + 'static)) -> Self {
        match sandbox::scarce(cause) {
            Some(hint) => Self::new(RunErrorKind::HostCannot, message).hint(hint),
            None => Self::new(RunErrorKind::Harness, message),
        }
    }
    pub(super) fn harness(what: &str, error: impl std::error::Error + 'static) -> Self {
        Self::of(format!("cannot {what}: {error}"), &error)
    }
    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl From<SandboxError> for RunError {
    fn from(error: SandboxError) -> Self {
        let hint = error.hint().map(str::to_owned);
        let source = std::error::Error::source(&error).map(|source| format!(": {source}")).unwrap_or_default();
        Self { hint, ..Self::of(format!("{error}{source}"), &error) }
    }
}
