//! A directory with scenarios, and the binary run in it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use assert_cmd::assert::OutputAssertExt as _;
use kbuild_repro::report::{Report, ScenarioReport};
use kbuild_repro::verdict::Verdict;

/// The variables that would make the binary behave otherwise.
const CLEARED: &[&str] = &[
    "BUILDKITE_PARALLEL_JOB",
    "BUILDKITE_PARALLEL_JOB_COUNT",
    "CI",
    "CIRCLE_NODE_INDEX",
    "CIRCLE_NODE_TOTAL",
    "CI_NODE_INDEX",
    "CI_NODE_TOTAL",
    "GITHUB_ACTIONS",
    "GITHUB_STEP_SUMMARY",
    "JOB_COMPLETION_INDEX",
    "KBUILD_REPRO_CACHE",
    "KBUILD_REPRO_HISTORY",
    "KBUILD_REPRO_ISOLATION",
    "KBUILD_REPRO_NO_TRACE",
    "KBUILD_REPRO_ORIGIN",
    "KBUILD_REPRO_REQUIRE_ALL",
    "KBUILD_REPRO_SCENARIOS",
    "KBUILD_REPRO_SCRATCH",
    "KBUILD_REPRO_SHARD",
    "KBUILD_REPRO_SHARDS",
    "MAKEFLAGS",
    "MAKELEVEL",
    "SLURM_ARRAY_TASK_ID",
    "TMPDIR",
];

/// A directory with scenarios.
pub(crate) struct Lab {
    dir: tempfile::TempDir,
}

impl Lab {
    /// An empty one.
    pub(crate) fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("cli-").tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
        let lab = Self { dir };
        fs::create_dir(lab.path("scratch")).expect("made");
        lab
    }

    /// A path in it.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().canonicalize().expect("it is there").join(name)
    }

    /// Writes a file, and the directories above it.
    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) -> &Self {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("below the lab")).expect("made");
        fs::write(path, text).expect("written");
        self
    }

    /// Writes `scenarios/t/<name>.toml`: `text` after a title.
    pub(crate) fn scenario(&self, name: &str, text: &str) -> &Self {
        self.write(&format!("scenarios/t/{name}.toml"), format!("title = \"{name}\"\n{text}"))
    }

    /// The binary, in the lab, with nothing of the machine's own but its tools.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kbuild-repro"));
        command.args(arguments).current_dir(self.path("")).env("NO_COLOR", "1");
        for name in CLEARED {
            command.env_remove(name);
        }
        command
            .env("HOME", self.path("home"))
            .env("XDG_STATE_HOME", self.path("state"))
            .env("XDG_CACHE_HOME", self.path("cache"))
            .env("KBUILD_REPRO_SCRATCH", self.path("scratch"));
        command
    }

    /// Runs the binary.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        Ran::of(self.command(arguments).output().expect("it starts"))
    }

    /// Runs scenarios and reads the report.
    pub(crate) fn report(&self, arguments: &[&str]) -> (Ran, Report) {
        let json = self.path("report.json");
        let _ = fs::remove_file(&json);
        let ran = self.run(&[&["run", "--json", "report.json"], arguments].concat());
        let report = read_report(&json).unwrap_or_else(|| panic!("no report: {ran}"));
        assert_eq!(i32::from(report.exit_code), ran.code, "{ran}");
        (ran, report)
    }

    /// What is left of trees and mounts: everything in the scratch directory but the job slots.
    pub(crate) fn left_over(&self) -> Vec<PathBuf> {
        let homes = fs::read_dir(self.path("scratch")).expect("it is there").map(|entry| entry.expect("entry").path());
        let below = homes.flat_map(|home| fs::read_dir(home).expect("a directory").map(|e| e.expect("entry").path()));
        below.filter(|path| !path.ends_with("slots")).collect()
    }
}

/// Reads a report, if there is a whole one.
pub(crate) fn read_report(path: &Path) -> Option<Report> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

/// The scenario `t/<name>` of a report.
pub(crate) fn of<'r>(report: &'r Report, name: &str) -> &'r ScenarioReport {
    let id = format!("t/{name}");
    report.scenarios.iter().find(|scenario| scenario.id == id).unwrap_or_else(|| panic!("no `{id}` in the report"))
}

/// Verdict and names of the findings, for comparing.
pub(crate) fn told(scenario: &ScenarioReport) -> (Verdict, Vec<&'static str>) {
    (scenario.verdict, scenario.findings.iter().map(|finding| finding.name.name()).collect())
}

/// What a run of the binary came to.
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    pub(crate) fn of(output: Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self { code: output.status.code().unwrap_or(-1), out: text(&output.stdout), err: text(&output.stderr) }
    }

    /// Asserts the exit code.
    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self}");
        self
    }

    /// Asserts that standard error holds each of these.
    #[track_caller]
    pub(crate) fn says(self, words: &[&str]) -> Self {
        for word in words {
            assert!(self.err.contains(word), "`{word}` is not said: {self}");
        }
        self
    }
}

impl Ran {
    /// Asserts that standard output holds each of these.
    #[track_caller]
    pub(crate) fn reports(self, words: &[&str]) -> Self {
        for word in words {
            assert!(self.out.contains(word), "`{word}` is not reported: {self}");
        }
        self
    }
}

impl std::fmt::Display for Ran {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "exit code {}\n--- stdout\n{}--- stderr\n{}", self.code, self.out, self.err)
    }
}

/// Asserts success through assert_cmd and gives standard output.
#[track_caller]
pub(crate) fn succeed(mut command: Command) -> String {
    let assert = command.assert().success();
    String::from_utf8_lossy(&assert.get_output().stdout).into_owned()
}

/// Whether there is a make; without it a test that builds says so and passes.
pub(crate) fn has_make() -> bool {
    has(&["make"])
}

/// Whether these programs are there; without one a test says so and passes, but where nothing may be skipped.
pub(crate) fn has(programs: &[&str]) -> bool {
    let missing = programs.iter().find(|program| !is_there(program));
    if let Some(missing) = missing {
        skipped(&format!("there is no {missing}"));
    }
    missing.is_none()
}

/// Says why a test, or a part of it, is skipped; an error where nothing may be.
#[expect(clippy::print_stderr, reason = "a skipped test says so")]
pub(crate) fn skipped(why: &str) {
    let required = std::env::var_os("KBUILD_REPRO_REQUIRE_ALL").is_some_and(|v| !v.is_empty() && v != "0");
    assert!(!required, "{why}, and KBUILD_REPRO_REQUIRE_ALL is set");
    eprintln!("skipped: {why}");
}

/// Whether a program starts and says its version.
pub(crate) fn is_there(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success())
}
