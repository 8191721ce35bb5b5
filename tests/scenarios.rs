//! Each scenario file is one test, run through the binary as a user runs it.
//!
//! A test is called as its scenario, with `::` for `/`: `btf::vmlinux-only-6.12`, and of one with a matrix each cell is one:
//! `graft::noop@6.12`. Scenarios of tier `quick` always
//! run, those of tier `graft` where the source of their kernel is cached; `kernel` and `long` are ignored tests:
//!
//! ```text
//! cargo test --test scenarios -- --exact mini::clean
//! cargo test --test scenarios -- --ignored btf
//! KBUILD_REPRO_REQUIRE_ALL=1 cargo test               a skip of a selected tier fails
//! ```
//!
//! Nothing is installed or fetched. Listing reads scenario files and nothing else.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use kbuild_repro::artifact::record::{ScenarioRecord, SnapshotRecord};
use kbuild_repro::cli::host::Host;
use kbuild_repro::cli::load::{self, Absent, Ready};
use kbuild_repro::cli::{CliError, SelectArgs, snapshots};
use kbuild_repro::report::{Report, ScenarioReport};
use kbuild_repro::scenario::{Class, FindingName, Tier};
use kbuild_repro::tree::source::Sources;
use kbuild_repro::verdict::{Standing, Verdict, snapshot_path};
use libtest_mimic::{Arguments, Completion, Failed, Trial};

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // As libtest has it.
    let threads = || std::env::var("RUST_TEST_THREADS").ok()?.parse().ok();
    arguments.test_threads = arguments.test_threads.or_else(threads);
    let select = SelectArgs { what: Vec::new(), tier: Vec::new(), scenarios: Some(root().join("scenarios")) };
    let found = load::select(&select, &root()).expect("the directory of scenarios is there");
    let name = |found: &load::Found| found.id.replace('/', "::");
    let host = Host::capture_without_tools().expect("this host");
    let cache = std::env::var_os("KBUILD_REPRO_CACHE").map(PathBuf::from);
    let sources = load::sources(&host, cache.as_deref());
    // With --exact only one file is looked at, however many there are. Cells are named behind its id.
    let exact = arguments.filter.as_deref().filter(|_| arguments.exact);
    let wanted = exact.map(|name| name.split('@').next().unwrap_or(name));
    let trials = found
        .into_iter()
        .filter(|found| wanted.is_none_or(|wanted| wanted.ends_with(&name(found))))
        .flat_map(|found| {
            let its_name = name(&found);
            match load::read(vec![found], &sources) {
                Ok(ready) => ready.into_iter().map(|ready| trial(name(&ready.found), ready, &sources)).collect(),
                // The errors of a scenario file are those of its test.
                Err(error) => vec![Trial::test(its_name, move || Err(Failed::from(shown(&error))))],
            }
        })
        .collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn shown(error: &CliError) -> String {
    match error {
        CliError::Scenario(errors) => {
            errors.0.iter().map(|p| format!("{}:{}:{}: {p}\n", p.file, p.at.0, p.at.1)).collect::<String>()
        }
        error => error.to_string(),
    }
}

fn require_all() -> bool {
    std::env::var_os("KBUILD_REPRO_REQUIRE_ALL").is_some_and(|value| !["", "0", "false"].iter().any(|no| value == *no))
}

fn trial(name: String, ready: Ready, sources: &Sources) -> Trial {
    let tier = ready.loaded.scenario.tier();
    let ignored = if tier > Tier::Graft { " --ignored" } else { "" };
    let again = format!("cargo test --test scenarios -- --exact {name}{ignored}");
    // Looked up once for the list and for the test, which fetches nothing.
    let absent = absent(&ready, sources).filter(|_| tier > Tier::Quick);
    let why = absent.clone().filter(|_| tier == Tier::Graft);
    let test = move || match absent {
        Some(why) => skip(why),
        None => test(&ready, &again),
    };
    let trial = Trial::ignorable_test(name, test).with_ignored_flag(tier > Tier::Graft || why.is_some());
    match why {
        Some(why) => trial.with_kind(why),
        None => trial,
    }
}

/// Why the sources of a scenario are not at hand, if so.
fn absent(ready: &Ready, sources: &Sources) -> Option<String> {
    match load::at_hand(ready, sources) {
        Ok(_) => None,
        Err(Absent::Fetch(how)) => Some(format!("`{}` is not in the cache: {how}", ready.source)),
        // The run will say what is wrong.
        Err(Absent::Wrong(_)) => None,
    }
}

fn skip(reason: String) -> Result<Completion, Failed> {
    if require_all() {
        return Err(Failed::from(format!("skipped, and KBUILD_REPRO_REQUIRE_ALL is set: {reason}")));
    }
    Ok(Completion::ignored_with(reason))
}

fn test(ready: &Ready, again: &str) -> Result<Completion, Failed> {
    let temp = tempfile::Builder::new().prefix("scenario-").tempdir_in(env!("CARGO_TARGET_TMPDIR"));
    let temp = temp.map_err(|error| format!("no directory for the run: {error}"))?;
    let (out, json) = (temp.path().join("run"), temp.path().join("report.json"));
    let mut run = Command::new(env!("CARGO_BIN_EXE_kbuild-repro"));
    run.arg("run")
        .arg(&ready.found.name)
        .arg("--quiet")
        .arg("--no-fetch")
        .arg("--out")
        .arg(&out)
        .arg("--json")
        .arg(&json);
    run.arg("--snapshots").arg(root().join("snapshots"));
    if std::env::var_os("KBUILD_REPRO_SCRATCH").is_none() {
        run.arg("--scratch").arg(env!("CARGO_TARGET_TMPDIR"));
    }
    // Pending snapshots are insta's to write here, as its own settings say.
    run.current_dir(root()).env("CI", "true").env("NO_COLOR", "1");
    let output = run.output().map_err(|error| format!("cannot start the harness: {error}"))?;
    let said = |text: &[u8]| String::from_utf8_lossy(text).into_owned();
    let failed = |why: &str| {
        let text = format!(
            "{why}\n{}{}\nagain: {again}\n   or: cargo run -- run {} --keep",
            said(&output.stdout),
            said(&output.stderr),
            ready.found.name
        );
        Failed::from(text)
    };
    let report: Option<Report> = fs::read(&json).ok().and_then(|text| serde_json::from_slice(&text).ok());
    let Some(report) = report else { return Err(failed(&format!("no report; {}", output.status))) };
    if output.status.code() != Some(i32::from(report.exit_code)) {
        return Err(failed(&format!("{}, and the report says {}", output.status, report.exit_code)));
    }
    let Some(scenario) = report.scenarios.first() else { return Err(failed("the report has no scenario")) };
    match scenario.verdict {
        // Tools that are no part of the system are no part of what has to be there either.
        Verdict::Skipped if !ready.loaded.scenario.toolchain.is_empty() => {
            return Ok(Completion::ignored_with(scenario.reason.clone().unwrap_or_default()));
        }
        Verdict::Skipped => return skip(scenario.reason.clone().unwrap_or_default()),
        Verdict::Passed => {}
        // insta shows those better, and leaves the pending ones for a review.
        Verdict::Failed if only_snapshots(scenario) => {}
        _ => return Err(failed("")),
    }
    let record = kbuild_repro::artifact::record::read(&out.join(&scenario.id).join("record.json"));
    let record: ScenarioRecord = record.map_err(|error| failed(&error.to_string()))?;
    // What the scenario says to differ is no matter for a review.
    let compared = || record.snapshots.iter().filter(|it| !snapshots::is_meant(&scenario.findings, &it.artifact));
    compare_snapshots(&record.id, compared(), &ready.found.file)?;
    // A text that could not be made has nothing for insta to compare.
    let made = compared().all(|snapshot| snapshot.variant.is_none() || snapshot.contents.is_ok());
    if made { Ok(Completion::Completed) } else { Err(failed("")) }
}

fn only_snapshots(scenario: &ScenarioReport) -> bool {
    let snapshot = [FindingName::SnapshotChanged, FindingName::SnapshotMissing];
    let open = scenario
        .findings
        .iter()
        .filter(|finding| finding.standing == Standing::New && finding.name.class() == Class::Wrong);
    let mut names = open.map(|finding| finding.name).peekable();
    names.peek().is_some() && names.all(|name| snapshot.contains(&name))
}

/// Compares the BTF of the run with the accepted snapshots, all of them before it fails.
fn compare_snapshots<'a>(id: &str, taken: impl Iterator<Item = &'a SnapshotRecord>, file: &Path) -> Result<(), Failed> {
    let mut failures = BTreeMap::new();
    for snapshot in taken {
        let (Some(variant), Ok(contents)) = (&snapshot.variant, &snapshot.contents) else { continue };
        let path = root().join("snapshots").join(snapshot_path(id, variant, &snapshot.artifact));
        let (Some(dir), Some(stem)) = (path.parent(), path.file_stem().and_then(|stem| stem.to_str())) else {
            continue;
        };
        let compare = || {
            let mut settings = insta::Settings::new();
            settings.set_snapshot_path(dir);
            settings.set_prepend_module_to_snapshot(false);
            settings.set_omit_expression(true);
            settings.set_input_file(file);
            settings.bind(|| insta::assert_snapshot!(stem, contents));
        };
        let same = std::panic::catch_unwind(compare);
        if same.is_err() {
            failures.insert(snapshot.artifact.clone(), path.display().to_string());
        }
    }
    if failures.is_empty() {
        return Ok(());
    }
    let list: String = failures.iter().map(|(artifact, path)| format!("  {artifact}: {path}\n")).collect();
    Err(Failed::from(format!("snapshots differ or are not there:\n{list}review them: cargo insta review")))
}
