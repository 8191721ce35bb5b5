//! `fingerprint`: every file of the toolchain that a run's builds read or ran, by content; and how two runs differ in it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Args;

use super::host::Host;
use super::run::capture_without_tools;
use super::state::find_run;
use super::{CliError, Session};
use crate::artifact::Digest;
use crate::artifact::record::{RecordError, RunRecord, ScenarioRecord, read};
use crate::report::terminal::clean;

/// Which runs.
#[derive(Debug, Clone, Args)]
pub(super) struct FingerprintArgs {
    /// The run: a directory or a name; by default the latest
    #[arg(value_name = "RUN")]
    run: Option<PathBuf>,
    /// Say what another run used that this one did not, and the other way round
    #[arg(long, value_name = "RUN")]
    against: Option<PathBuf>,
}

/// What the builds of a run used.
struct Used {
    /// Programs by name, with what they say of their version.
    versions: BTreeMap<String, String>,
    /// Files outside of the trees, with their contents; none where it could not be read.
    files: BTreeMap<String, Option<Digest>>,
}

pub(super) fn fingerprint(args: &FingerprintArgs, session: &mut Session<'_>) -> Result<u8, CliError> {
    let host = capture_without_tools()?;
    let used = used(&host, args.run.as_deref())?;
    let Some(against) = &args.against else {
        // As sha256sum(1) prints it, and checks it.
        for (path, digest) in &used.files {
            if let Some(digest) = digest {
                writeln!(session.out, "{digest}  {}", clean(path))?;
            }
        }
        return Ok(0);
    };
    let other = self::used(&host, Some(against))?;
    let mut differ = 0;
    let names: std::collections::BTreeSet<&String> = used.versions.keys().chain(other.versions.keys()).collect();
    for name in names {
        let (here, there) = (used.versions.get(name), other.versions.get(name));
        if here != there {
            let told =
                |version: Option<&String>| version.map_or("none".to_owned(), |version| clean(version).into_owned());
            writeln!(session.out, "{}: {} there, {} here", clean(name), told(there), told(here))?;
        }
    }
    let paths: std::collections::BTreeSet<&String> = used.files.keys().chain(other.files.keys()).collect();
    for path in paths {
        let what = match (used.files.get(path), other.files.get(path)) {
            (Some(here), Some(there)) if here == there => continue,
            (Some(_), Some(_)) => "differs",
            (Some(_), None) => "is used here alone",
            _ => "is used there alone",
        };
        differ += 1;
        writeln!(session.out, "{} {what}", clean(path))?;
    }
    match differ {
        0 => writeln!(session.out, "{} files, all the same", used.files.len())?,
        1 => writeln!(session.out, "1 file differs")?,
        n => writeln!(session.out, "{n} files differ")?,
    }
    Ok(u8::from(differ > 0))
}

fn used(host: &Host, run: Option<&Path>) -> Result<Used, CliError> {
    let dir = find_run(host, run)?;
    let unusable = |error: RecordError| CliError::usage(error.to_string(), "run the scenarios again");
    let record: RunRecord = read(&dir.join("run.json")).map_err(unusable)?;
    let mut used = Used { versions: BTreeMap::new(), files: BTreeMap::new() };
    for id in &record.scenarios {
        let scenario = ScenarioRecord::read(&dir.join(id)).map_err(unusable)?;
        used.versions.extend(scenario.toolchain.into_iter().map(|tool| (tool.name, tool.version)));
        for steps in scenario.traces.into_values() {
            used.files.extend(steps.toolchain);
        }
    }
    if used.files.is_empty() {
        return Err(CliError::Nothing {
            message: format!("no build of `{}` was traced", dir.display()),
            hint: Some("run the scenarios again, without `--no-trace`".into()),
        });
    }
    Ok(used)
}
