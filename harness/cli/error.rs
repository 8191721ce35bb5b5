//! Errors that end a command, each with its exit code and what to do next.

use std::io::{self, Write as _};

use crate::scenario::Errors;

/// Why a command ended before it had anything to report.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The command line or a file it names is wrong: exit code 2.
    #[error("{message}")]
    Usage {
        /// What is wrong.
        message: String,
        /// What to do.
        hint: Option<String>,
    },
    /// Scenario files are wrong: exit code 2.
    #[error("{} error(s) in scenario files", .0.0.len())]
    Scenario(Errors),
    /// The host cannot do it: exit code 3.
    #[error("{message}")]
    Host {
        /// What is missing.
        message: String,
        /// What helps.
        hint: Option<String>,
    },
    /// Nothing was selected or compared: exit code 4.
    #[error("{message}")]
    Nothing {
        /// Why.
        message: String,
        /// What to do.
        hint: Option<String>,
    },
    /// Something is wrong with the harness or the host: exit code 70.
    #[error("{message}")]
    Harness {
        /// What.
        message: String,
        /// What to do.
        hint: Option<String>,
    },
    /// Standard output is gone: nobody is left to tell.
    #[error("cannot write to standard output")]
    Output(#[from] io::Error),
}

impl CliError {
    pub(crate) fn usage(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Usage { message: message.into(), hint: Some(hint.into()) }
    }
    pub(crate) fn host(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Host { message: message.into(), hint: Some(hint.into()) }
    }
    pub(crate) fn harness(message: impl Into<String>) -> Self {
        Self::Harness { message: message.into(), hint: None }
    }
    pub(crate) fn internal(error: impl std::fmt::Display) -> Self {
        Self::harness(error.to_string())
    }

    /// The exit code that goes with it.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Usage { .. } | Self::Scenario(_) => 2,
            Self::Host { .. } => 3,
            Self::Nothing { .. } => 4,
            Self::Harness { .. } => 70,
            // As a program that dies of SIGPIPE: `kbuild-repro list | head` is no error of ours.
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => 141,
            Self::Output(_) => 70,
        }
    }

    fn hint(&self) -> Option<&str> {
        match self {
            Self::Usage { hint, .. }
            | Self::Host { hint, .. }
            | Self::Nothing { hint, .. }
            | Self::Harness { hint, .. } => hint.as_deref(),
            Self::Scenario(_) | Self::Output(_) => None,
        }
    }

    /// Says it on standard error.
    pub(crate) fn print(&self) {
        let mut err = io::stderr().lock();
        let _ = match self {
            Self::Scenario(errors) => write!(err, "{}", render(errors)),
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            _ => writeln!(err, "kbuild-repro: {self}"),
        };
        if let Some(hint) = self.hint() {
            let _ = writeln!(err, "hint: {hint}");
        }
    }
}

/// Scenario errors with the lines they are in.
#[must_use]
pub(super) fn render(errors: &Errors) -> String {
    let colour = console::colors_enabled_stderr();
    let theme = if colour { miette::GraphicalTheme::unicode() } else { miette::GraphicalTheme::unicode_nocolor() };
    let handler = miette::GraphicalReportHandler::new_themed(theme).with_links(false).with_width(100);
    let mut text = String::new();
    for problem in &errors.0 {
        text.push_str(&format!("{}:{}:{}: error: {problem}\n", problem.file, problem.at.0, problem.at.1));
        let _ = handler.render_report(&mut text, problem);
    }
    text.push_str(&format!("{} error(s); nothing was built\n", errors.0.len()));
    text
}
