//! Where a report goes and in which format: `--format`, `--json`, `--report`.

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::progress::note;
use super::{CliError, Format, Session};
use crate::artifact::record::{ScenarioRecord, write_atomically};
use crate::artifact::{ArtifactError, Digest};
use crate::report::perfetto::TimeLine;
use crate::report::{self, Report, ScenarioReport, kcidb};

/// How a report is shown.
#[derive(Debug, Clone, Args)]
pub struct OutputArgs {
    /// The report on standard output: for people, or one JSON document
    #[arg(long, value_enum, default_value = "text")]
    pub(super) format: Format,
    /// Write the JSON report to this file as well
    #[arg(long, value_name = "FILE", value_parser = parse_file)]
    pub(super) json: Option<PathBuf>,
    /// Write the report to this file as well, as text, json, junit, ktap, kcidb, github, perfetto (a time line of all builds),
    /// or html (a page that needs nothing else);
    /// without a file, to standard output in place of the one for people. May be given several times
    #[arg(long = "report", value_name = "FORMAT[=FILE]", value_parser = parse_wanted)]
    pub(super) reports: Vec<Wanted>,
    /// The CI system that a kcidb report is of: lower-case letters, digits, `_`
    #[arg(long, value_name = "NAME", default_value = kcidb::ORIGIN, env = "KBUILD_REPRO_ORIGIN", value_parser = parse_origin)]
    pub(super) origin: String,
    /// No progress; only the report
    #[arg(long, short, conflicts_with = "verbose")]
    pub(super) quiet: bool,
    /// Every build, every finding, known ones too
    #[arg(long, short)]
    pub(super) verbose: bool,
}

/// A report that is asked for.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    kind: Kind,
    /// None is standard output.
    file: Option<PathBuf>,
}

/// What a report can be written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    Text,
    Json,
    Junit,
    Ktap,
    Kcidb,
    Github,
    Perfetto,
    Html,
}

impl Kind {
    fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

/// The file of a report. Elsewhere `-` is standard output, which has its own option here.
fn parse_file(text: &str) -> Result<PathBuf, String> {
    match text {
        "-" => Err("on standard output it is `--format json`; a file of this name is `./-`".to_owned()),
        text => Ok(text.into()),
    }
}

fn parse_origin(text: &str) -> Result<String, String> {
    let origin = Some(text.to_owned()).filter(|text| kcidb::is_origin(text));
    origin.ok_or_else(|| "lower-case letters, digits and `_`, as KCIDB has it".to_owned())
}

/// `junit`, `junit=FILE`.
fn parse_wanted(text: &str) -> Result<Wanted, String> {
    let (kind, file) = text.split_once('=').map_or((text, None), |(kind, file)| (kind, Some(file)));
    let kind = Kind::from_str(kind, false).map_err(|_| {
        let all: Vec<String> = Kind::value_variants().iter().map(|kind| kind.name()).collect();
        format!("there is no format `{kind}`; there are {}", all.join(", "))
    })?;
    let file = match file {
        Some("-") => {
            return Err(format!("on standard output it is `{}` alone; a file of this name is `./-`", kind.name()));
        }
        Some("") => return Err(format!("a file, or `{}` alone for standard output", kind.name())),
        file => file.map(PathBuf::from),
    };
    Ok(Wanted { kind, file })
}

impl OutputArgs {
    /// Whether a format is asked for.
    fn wants(&self, kind: Kind) -> bool {
        self.reports.iter().any(|wanted| wanted.kind == kind)
    }

    /// Whether a format is asked for that the report alone does not make.
    pub(super) fn reads_records(&self) -> bool {
        self.wants(Kind::Perfetto)
    }

    /// The formats on standard output.
    fn shown(&self) -> Vec<Kind> {
        let asked = self.reports.iter().filter(|wanted| wanted.file.is_none()).map(|wanted| wanted.kind);
        let first = match self.format {
            Format::Json => Some(Kind::Json),
            Format::Text => None,
        };
        first.into_iter().chain(asked).collect()
    }

    /// Whether standard output is for people, so that a sentence after the report is no harm.
    pub(super) fn is_for_people(&self) -> bool {
        self.shown().iter().all(|kind| *kind == Kind::Text)
    }

    /// The reports that go to files.
    fn files(&self) -> impl Iterator<Item = (Kind, &Path)> {
        let json = self.json.iter().map(|file| (Kind::Json, file.as_path()));
        json.chain(self.reports.iter().filter_map(|wanted| Some((wanted.kind, wanted.file.as_deref()?))))
    }

    /// Whether all that is asked for can be written: asked before hours of builds, not after them.
    pub(super) fn check(&self) -> Result<(), CliError> {
        if let [first, second, ..] = self.shown().as_slice() {
            return Err(CliError::usage(
                format!("standard output has room for one report: `{}` or `{}`", first.name(), second.name()),
                format!("write one to a file: `--report {}=FILE`", second.name()),
            ));
        }
        let files: Vec<(Kind, &Path)> = self.files().collect();
        for (at, (kind, file)) in files.iter().enumerate() {
            if let Some((other, _)) = files[..at].iter().find(|(_, before)| before == file) {
                return Err(CliError::usage(
                    format!("`{}` and `{}` would be one file: `{}`", other.name(), kind.name(), file.display()),
                    "name another file",
                ));
            }
            if let Some(dir) = no_directory(file) {
                return Err(cannot_write(*kind, file, &format!("no directory `{}`", dir.display())));
            }
        }
        Ok(())
    }

    /// The same, where what is reported is no run, whose builds could be looked at.
    pub(super) fn check_without_builds(&self) -> Result<(), CliError> {
        if self.wants(Kind::Perfetto) {
            return Err(CliError::usage(
                "`--report perfetto` is about the builds of one run",
                "each stage leaves a run in the directory that `records:` names: `kbuild-repro judge DIR/STAGE --report perfetto`",
            ));
        }
        self.check()
    }

    /// The same for an answer that is no report of builds: it has words and JSON alone.
    pub(super) fn check_answer(&self) -> Result<(), CliError> {
        if let Some(other) = self.reports.iter().find(|wanted| !matches!(wanted.kind, Kind::Text | Kind::Json)) {
            return Err(CliError::usage(
                format!("`{}` is for reports of runs; this answer is text or json", other.kind.name()),
                "of a run, or of a stage in the directory that `records:` names: `kbuild-repro judge DIR --report ...`",
            ));
        }
        self.check()
    }

    /// The report in a format.
    fn text(&self, report: &Report, kind: Kind, colour: bool) -> Result<Vec<u8>, CliError> {
        let mut text = Vec::new();
        match kind {
            Kind::Text => {
                let options = report::terminal::Options { colour, verbose: self.verbose };
                report::terminal::write(report, options, &mut text)?;
            }
            Kind::Json => report::json::write(report, &mut text)?,
            Kind::Junit => report::junit::write(report, &mut text)?,
            Kind::Ktap => report::ktap::write(report, &mut text)?,
            Kind::Kcidb => kcidb::write(report, &self.origin, &mut text)?,
            Kind::Github => report::github::annotations(report, &mut text)?,
            Kind::Perfetto => time_line(report, &mut text)?,
            Kind::Html => page(report, &mut text)?,
        }
        Ok(text)
    }
}

fn cannot_write(kind: Kind, file: &Path, why: &str) -> CliError {
    CliError::usage(
        format!("cannot write `{}`: {why}", file.display()),
        format!("name another file; of a recorded run: `kbuild-repro judge --report {}=FILE`", kind.name()),
    )
}

/// Writes the report as the command line asks. What cannot be written keeps nothing else from being written.
pub(super) fn show(report: &Report, output: &OutputArgs, session: &mut Session<'_>) -> Result<(), CliError> {
    output.check()?;
    let mut failed = None;
    for (kind, file) in output.files() {
        let text = output.text(report, kind, false)?;
        if let Err(error) = write_report(file, &text) {
            failed.get_or_insert(cannot_write(kind, file, &error.to_string()));
        }
    }
    let kind = output.shown().first().copied().unwrap_or(Kind::Text);
    let colour = console::colors_enabled();
    session.out.write_all(&output.text(report, kind, colour)?)?;
    if kind == Kind::Github {
        // A step's log is read by people as well. Names and logs in it are no commands: for that GitHub wants a word that
        // nobody can have written there, such as the digest of it all.
        let text = output.text(report, Kind::Text, colour)?;
        let token = Digest::of(&text);
        writeln!(session.out, "::stop-commands::{token}")?;
        session.out.write_all(&text)?;
        writeln!(session.out, "::{token}::")?;
    }
    session.out.flush()?;
    if output.wants(Kind::Github)
        && let Some(Err(error)) = step_summary().map(|file| append_summary(report, &file))
    {
        failed.get_or_insert(CliError::usage(
            format!("cannot write the summary of the step: {error}"),
            "GITHUB_STEP_SUMMARY",
        ));
    }
    failed.map_or(Ok(()), Err)
}

/// Writes an answer that is no report of builds as the command line asks.
pub(super) fn show_answer(
    text: &[u8],
    json: &[u8],
    output: &OutputArgs,
    session: &mut Session<'_>,
) -> Result<(), CliError> {
    let as_kind = |kind| if kind == Kind::Json { json } else { text };
    for (kind, file) in output.files() {
        write_report(file, as_kind(kind)).map_err(|error| cannot_write(kind, file, &error.to_string()))?;
    }
    session.out.write_all(as_kind(output.shown().first().copied().unwrap_or(Kind::Text)))?;
    session.out.flush()?;
    Ok(())
}

/// Where GitHub Actions wants the summary of a step, if this is one.
fn step_summary() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    set("GITHUB_ACTIONS").filter(|value| value == "true").and_then(|_| set("GITHUB_STEP_SUMMARY")).map(PathBuf::from)
}

/// Adds the summary to what other commands of the step have written there; all together have a limit.
fn append_summary(report: &Report, file: &Path) -> std::io::Result<()> {
    let have = file.metadata().map_or(0, |meta| usize::try_from(meta.len()).unwrap_or(usize::MAX));
    let summary = report::github::summary(report, report::github::SUMMARY.saturating_sub(have));
    fs::OpenOptions::new().append(true).create(true).open(file)?.write_all(summary.as_bytes())
}

/// The time line of the builds that a run has recorded.
fn time_line(report: &Report, out: &mut Vec<u8>) -> Result<(), CliError> {
    let mut line = TimeLine::new(out)?;
    let dir = PathBuf::from(report.record.as_deref().unwrap_or_default());
    for scenario in &report.scenarios {
        // One after the other: those of many scenarios would fill the memory.
        let record = ScenarioRecord::read(&dir.join(&scenario.id)).map_err(CliError::internal)?;
        for build in &record.builds {
            if let Some(steps) = record.traces.get(&build.id) {
                line.build(&scenario.id, &build.id, steps)?;
            }
        }
    }
    if line.end()? == 0 {
        note(
            "no build was traced: the time line is empty (`--no-trace`, or a host without mount namespaces or ptrace)",
        );
    }
    Ok(())
}

/// The page of a run, with what its records have.
fn page(report: &Report, out: &mut Vec<u8>) -> Result<(), CliError> {
    let dir = report.record.as_deref().map(PathBuf::from);
    let of = |scenario: &ScenarioReport| dir.as_ref().map(|dir| dir.join(&scenario.id));
    // A page without pictures is better than none.
    let mut record = |scenario: &ScenarioReport| ScenarioRecord::read(&of(scenario)?).ok();
    let mut file = |scenario: &ScenarioReport, name: &str, most: usize| {
        let mut text = Vec::new();
        let file = fs::File::open(of(scenario)?.join(name)).ok()?;
        file.take(most as u64 + 1).read_to_end(&mut text).ok()?;
        let more = text.len() > most;
        text.truncate(most);
        Some((String::from_utf8_lossy(&text).into_owned(), more))
    };
    let mut beside = report::html::Beside { record: &mut record, file: &mut file };
    Ok(report::html::write(report, &mut beside, out)?)
}

/// The directory of a file, if it is not there.
fn no_directory(file: &Path) -> Option<&Path> {
    file.parent().filter(|parent| !parent.as_os_str().is_empty() && !parent.is_dir())
}

/// Writes a file that a reader sees whole or not at all; into what is no regular file, such as `/dev/stdout`, a pipe
/// or a symbolic link, as a shell would.
pub(super) fn write_report(path: &Path, text: &[u8]) -> std::io::Result<()> {
    let special = path.symlink_metadata().is_ok_and(|meta| !meta.is_file());
    if special {
        return fs::write(path, text);
    }
    if let Some(dir) = no_directory(path) {
        return Err(std::io::Error::new(std::io::ErrorKind::NotFound, format!("no directory `{}`", dir.display())));
    }
    write_atomically(path, text).map_err(|error| match error {
        ArtifactError::Io { source, .. } => source,
        error => std::io::Error::other(error),
    })
}
