//! Errors that end a command, each with its exit code and what to do next.

use std::io::{self, Write as _};

use crate::sandbox::SandboxError;
use crate::scenario::Errors;
use crate::tree::source::SourceError;

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
    /// A source cannot be had, by whose fault its exit code says.
    pub(crate) fn of_source(error: SourceError) -> Self {
        match error.exit_code() {
            2 => Self::Usage { message: error.to_string(), hint: error.hint() },
            _ => Self::not_had(error),
        }
    }
    /// A source or tool that was to be fetched cannot be had.
    pub(crate) fn not_had(error: SourceError) -> Self {
        Self::Host { message: error.to_string(), hint: error.hint() }
    }
    /// The sandbox cannot be had, for want of something of the host's or by a fault of ours.
    pub(crate) fn sandbox(error: SandboxError) -> Self {
        let source = std::error::Error::source(&error).map(|source| format!(": {source}")).unwrap_or_default();
        let (message, hint) = (format!("{error}{source}"), error.hint().map(str::to_owned));
        match crate::sandbox::scarce(&error) {
            Some(_) => Self::Host { message, hint },
            None => Self::Harness { message, hint },
        }
    }
    /// An error with all its causes. A disk that is full is the host's matter, not ours.
    pub(crate) fn internal(error: impl std::error::Error) -> Self {
        let mut message = error.to_string();
        let mut full = false;
        let mut cause: Option<&dyn std::error::Error> = error.source();
        while let Some(error) = cause {
            message.push_str(&format!(": {error}"));
            full |= error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::StorageFull);
            cause = error.source();
        }
        if full || message.contains("No space left on device") {
            return Self::host(message, "free some space, or choose another place by --out DIR and --scratch DIR");
        }
        Self::harness(message)
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

/// How many errors are shown with their lines: nobody reads more before mending the first.
const SHOWN: usize = 1000;

/// Scenario errors with the lines they are in.
#[must_use]
pub(super) fn render(errors: &Errors) -> String {
    let colour = console::colors_enabled_stderr();
    let theme = if colour { miette::GraphicalTheme::unicode() } else { miette::GraphicalTheme::unicode_nocolor() };
    let handler = miette::GraphicalReportHandler::new_themed(theme).with_links(false).with_width(100);
    let mut text = String::new();
    for problem in errors.0.iter().take(SHOWN) {
        text.push_str(&format!("{}:{}:{}: error: {problem}\n", problem.file, problem.at.0, problem.at.1));
        let _ = handler.render_report(&mut text, problem);
    }
    if let Some(more) = errors.0.len().checked_sub(SHOWN).filter(|more| *more > 0) {
        text.push_str(&format!("and {more} more: `kbuild-repro check --format json` has them all\n"));
    }
    text.push_str(&format!("{} error(s); nothing was built\n", errors.0.len()));
    text
}

#[cfg(test)]
mod tests {
    use super::render;
    use crate::scenario::parse;

    #[test]
    fn scenario_errors_show_the_line() {
        console::set_colors_enabled_stderr(false);
        let text = "title = \"t\"\n[tree]\nsrctre = \"mini\"\n\n[[edit]]\nfile = 3\ntouch = false\n";
        let errors = parse("scenarios/t/bad.toml", text, &()).expect_err("three errors");
        insta::assert_snapshot!(render(&errors), @r#"
        scenarios/t/bad.toml:2:1: error: `tree` lacks the key `srctree`
          × `tree` lacks the key `srctree`
           ╭─[scenarios/t/bad.toml:2:1]
         1 │ title = "t"
         2 │ [tree]
           · ───┬──
           ·    ╰── here
         3 │ srctre = "mini"
           ╰────
          help: Where the sources are: `mini` (built in), `graft` (small sources of our own, built by the
                kbuild of `kernel`), a kernel as `debian:6.12`, a git revision as `git:DIR@REV`, a
                tarball, or a directory; paths are relative to the scenario file.
        scenarios/t/bad.toml:3:1: error: unknown key `srctre` in `tree`
          × unknown key `srctre` in `tree`
           ╭─[scenarios/t/bad.toml:3:1]
         2 │ [tree]
         3 │ srctre = "mini"
           · ───┬──
           ·    ╰── unknown key
         4 │ 
           ╰────
          help: did you mean `srctree`?
        scenarios/t/bad.toml:6:8: error: `file` must be a string, not an integer
          × `file` must be a string, not an integer
           ╭─[scenarios/t/bad.toml:6:8]
         5 │ [[edit]]
         6 │ file = 3
           ·        ┬
           ·        ╰── here
         7 │ touch = false
           ╰────
          help: The file that is changed.
        scenarios/t/bad.toml:7:9: error: `touch` cannot be `false`
          × `touch` cannot be `false`
           ╭─[scenarios/t/bad.toml:7:9]
         6 │ file = 3
         7 │ touch = false
           ·         ──┬──
           ·           ╰── here
           ╰────
          help: possible: true
        4 error(s); nothing was built
        "#);
        let errors = parse("t.toml", "title = \"t\n", &()).expect_err("a syntax error");
        insta::assert_snapshot!(render(&errors), @r#"
        t.toml:1:11: error: not TOML: invalid basic string, expected `"`
          × not TOML: invalid basic string, expected `"`
           ╭─[t.toml:1:11]
         1 │ title = "t
           ·           ▲
           ·           ╰── here
           ╰────
          help: the format is TOML 1.0: `key = "value"`, `[table]`, `[[edit]]`
        1 error(s); nothing was built
        "#);
        let text = "title = \"t\"\n[tree]\nsrctree = \"mini\"\n[[known]]\nfinding = \"rebuild.stael\"\nwhy = \"w\"\n";
        let errors = parse("t.toml", text, &()).expect_err("no such finding");
        insta::assert_snapshot!(render(&errors), @r#"
        t.toml:5:11: error: no finding is called `rebuild.stael`
          × no finding is called `rebuild.stael`
           ╭─[t.toml:5:11]
         4 │ [[known]]
         5 │ finding = "rebuild.stael"
           ·           ───────┬───────
           ·                  ╰── here
         6 │ why = "w"
           ╰────
          help: did you mean `rebuild.stale`? possible: repro.mismatch, noop.changed, noop.ran,
                rebuild.stale, rebuild.diverged, rebuild.needless, rebuild.failed, rebuild.masked,
                resume.diverged, resume.stuck, dep.missing, step.not-idempotent, hazard.write-write,
                hazard.order, escape.read, escape.write, escape.network, btf.lost, btf.duplicate,
                btf.invalid, btf.base-mismatch, build.failed, build.timeout, expect.unmet, known.stale,
                snapshot.changed, snapshot.missing, snapshot.unreferenced
        1 error(s); nothing was built
        "#);
        let text = "title = \"t\"\n[tree]\nsrctree = \"mini\"\n[[edit]]\nid = \"a b\"\nfile = \"../x\"\nappend = \"\"\n\
                    [[known]]\nfinding = \"rebuild.stale\"\nwhy = \"\"\n";
        let errors = parse("t.toml", text, &()).expect_err("four errors");
        insta::assert_snapshot!(render(&errors), @r#"
        t.toml:4:1: error: the edit changes nothing: the text to add is empty
          × the edit changes nothing: the text to add is empty
           ╭─[t.toml:4:1]
         3 │ srctree = "mini"
         4 │ [[edit]]
           · ────┬───
           ·     ╰── here
         5 │ id = "a b"
           ╰────
          help: an edit must change something
        t.toml:5:6: error: `a b` cannot name an edit
          × `a b` cannot name an edit
           ╭─[t.toml:5:6]
         4 │ [[edit]]
         5 │ id = "a b"
           ·      ──┬──
           ·        ╰── here
         6 │ file = "../x"
           ╰────
          help: letters, digits, `-`, `_` and `.`; not the name of another part of the record
        t.toml:6:8: error: path `../x` leaves the tree by `..`
          × path `../x` leaves the tree by `..`
           ╭─[t.toml:6:8]
         5 │ id = "a b"
         6 │ file = "../x"
           ·        ───┬──
           ·           ╰── here
         7 │ append = ""
           ╰────
          help: write it as the tree has it, e.g. `init/version.c`
        t.toml:10:7: error: a tolerated fault needs its reason
          × a tolerated fault needs its reason
            ╭─[t.toml:10:7]
          9 │ finding = "rebuild.stale"
         10 │ why = ""
            ·       ─┬
            ·        ╰── here
            ╰────
          help: say why it is tolerated, with a reference
        4 error(s); nothing was built
        "#);
    }
}
