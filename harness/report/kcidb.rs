//! The report as kernel CI reporting data, version 5.3 of the schema (<https://github.com/kernelci/kcidb-io>, `v05_03.py`).
//! A file is written; nothing is submitted.
//!
//! | KCIDB | here |
//! | --- | --- |
//! | checkout | the sources of scenarios, where they are the same |
//! | build | one build; of a scenario of which nothing was built, one that was skipped |
//! | test | a scenario, and below it each of its builds; what steps for nothing took, as a number |
//!
//! A path has no cell of a matrix in it: kernels and tools are those of checkout and build. A known fault passes, as it does
//! for the exit code, and so does one that a scenario demands; `misc.findings` has how each stands. Scenarios that were not
//! begun are skipped tests of one skipped build; findings about no scenario have no build to be told of.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::machine::{evidence, fails, standing, started, story, tools};
use super::terminal::{clean, why_left_out};
use super::{BuildReport, Report, ScenarioReport};
use crate::artifact::record::Status;
use crate::scenario::Class;
use crate::verdict::{Finding, Verdict};

/// The origin where none is named.
pub const ORIGIN: &str = "kbuild_repro";
/// The first part of every path.
const SUITE: &str = "kbuild-repro";
/// The most characters of an excerpt of a log.
const EXCERPT: usize = 16_384;
/// The compilers, as toolchains name them.
const COMPILERS: [&str; 2] = ["gcc", "clang"];

/// Whether this can be the name of a CI system.
#[must_use]
pub fn is_origin(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

#[derive(Serialize)]
struct Document {
    version: Version,
    checkouts: Vec<Checkout>,
    builds: Vec<Build>,
    tests: Vec<Test>,
}

#[derive(Serialize)]
struct Version {
    major: u32,
    minor: u32,
}

#[derive(Serialize)]
struct Checkout {
    id: String,
    origin: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    git_commit_hash: Option<String>,
    comment: String,
    start_time: String,
    valid: bool,
    misc: Value,
}

#[derive(Serialize)]
struct Build {
    checkout_id: String,
    id: String,
    origin: String,
    comment: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    duration: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    architecture: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    compiler: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    log_excerpt: Option<String>,
    status: &'static str,
    misc: Value,
}

#[derive(Serialize)]
struct Test {
    build_id: String,
    id: String,
    origin: String,
    environment: Value,
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    comment: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    log_excerpt: Option<String>,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    number: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    duration: Option<f64>,
    misc: Value,
}

/// Writes the report as that of the CI system `origin`, for which [`is_origin`] holds.
///
/// # Errors
/// What the writer answers.
pub fn write(report: &Report, origin: &str, out: &mut dyn Write) -> io::Result<()> {
    let mut submission = Submission {
        report,
        origin,
        all: Document {
            version: Version { major: 5, minor: 3 },
            checkouts: Vec::new(),
            builds: Vec::new(),
            tests: Vec::new(),
        },
    };
    for scenario in &report.scenarios {
        submission.scenario(scenario);
    }
    if !report.left_out.is_empty() {
        submission.left_out();
    }
    serde_json::to_writer_pretty(&mut *out, &submission.all)?;
    out.write_all(b"\n")
}

struct Submission<'r> {
    report: &'r Report,
    origin: &'r str,
    all: Document,
}

impl Submission<'_> {
    /// An id that no other run of this origin has.
    fn id(&self, parts: &[&str]) -> String {
        let own: String = parts.iter().map(|part| format!(":{}", plain(part))).collect();
        format!("{}:{}{own}", self.origin, plain(&self.report.run))
    }

    fn scenario(&mut self, scenario: &ScenarioReport) {
        let checkout = self.checkout(scenario);
        let id = self.id(&[&scenario.id]);
        let path = path(&scenario.id);
        let failed = !matches!(scenario.verdict, Verdict::Passed | Verdict::Skipped);
        let first = scenario.builds.first().map_or("none", |build| build.id.as_str());
        self.all.tests.push(Test {
            comment: Some(plain(&scenario.title)),
            log_excerpt: failed.then(|| excerpt(&story(scenario))),
            duration: Some(scenario.seconds),
            ..self.test(scenario, first, id, path.clone(), status(scenario.verdict), about(scenario))
        });
        if scenario.builds.is_empty() {
            self.all.builds.push(Build {
                duration: None,
                log_excerpt: None,
                ..self.build(&checkout, scenario, first, "SKIP", json!({ "scenario": scenario.id }))
            });
        }
        for build in &scenario.builds {
            self.one(&checkout, scenario, build, &path);
        }
    }

    /// What was not begun. A test needs a build, and a build a checkout; of which sources they would have been is not known.
    fn left_out(&mut self) {
        const NAME: &str = "not begun";
        let (checkout, build) = (self.id(&[NAME]), self.id(&[NAME, "none"]));
        self.all.checkouts.push(Checkout {
            id: checkout.clone(),
            origin: self.origin.to_owned(),
            git_commit_hash: None,
            comment: "the sources of scenarios that were not begun".into(),
            start_time: started(self.report).to_rfc3339(),
            valid: true,
            misc: json!({}),
        });
        self.all.builds.push(Build {
            checkout_id: checkout,
            id: build.clone(),
            origin: self.origin.to_owned(),
            comment: "scenarios that were not begun".into(),
            duration: None,
            architecture: None,
            compiler: None,
            log_excerpt: None,
            status: "SKIP",
            misc: json!({}),
        });
        for id in &self.report.left_out {
            let why = plain(why_left_out(self.report, id));
            self.all.tests.push(Test {
                build_id: build.clone(),
                id: self.id(&[id]),
                origin: self.origin.to_owned(),
                environment: json!({ "comment": plain(&self.report.host) }),
                path: path(id),
                comment: Some(why.clone()),
                log_excerpt: None,
                status: "SKIP",
                number: None,
                duration: None,
                misc: json!({ "scenario": id, "reason": why }),
            });
        }
    }

    /// A build, and what was found in it.
    fn one(&mut self, checkout: &str, scenario: &ScenarioReport, build: &BuildReport, path: &str) {
        let findings: Vec<&Finding> = scenario.findings.iter().filter(|finding| finding.build == build.id).collect();
        let text = (!findings.is_empty()).then(|| excerpt(&evidence(&findings, scenario)));
        let worked = build.status == Status::Ok.to_string();
        let ended = match worked {
            true => "PASS",
            // It was to be: nothing is said of the sources by that.
            false if build.id.ends_with("/interrupted") => "DONE",
            false => "FAIL",
        };
        let misc = json!({
            "scenario": scenario.id, "build": build.id, "ended": build.status, "cpu_seconds": build.cpu_seconds,
            "steps": build.steps, "log": build.log,
        });
        self.all.builds.push(Build {
            duration: Some(build.seconds),
            log_excerpt: text.clone().filter(|_| !worked),
            ..self.build(checkout, scenario, &build.id, ended, misc)
        });
        let failing = |class| findings.iter().any(|finding| fails(finding) && finding.name.class() == class);
        let status = match (failing(Class::Wrong), failing(Class::Inconclusive)) {
            (true, _) => "FAIL",
            (_, true) => "ERROR",
            _ => "PASS",
        };
        let path = format!("{path}.{}", dotted(&build.id));
        let misc = json!({ "findings": findings.iter().map(|finding| found(finding)).collect::<Vec<_>>() });
        self.all.tests.push(Test {
            log_excerpt: text,
            ..self.test(scenario, &build.id, self.id(&[&scenario.id, &build.id]), path.clone(), status, misc)
        });
        let costs = || findings.iter().filter_map(|finding| finding.cost_ms);
        if costs().next().is_some() {
            let seconds = std::time::Duration::from_millis(costs().sum()).as_secs_f64();
            let id = self.id(&[&scenario.id, &build.id, "needless"]);
            let misc = json!({ "of": "steps that ran for nothing" });
            self.all.tests.push(Test {
                number: Some(json!({ "value": seconds, "unit": "s" })),
                ..self.test(scenario, &build.id, id, format!("{path}.needless"), "DONE", misc)
            });
        }
    }

    /// The id of the checkout of a scenario's sources, which is added if it is new.
    fn checkout(&mut self, scenario: &ScenarioReport) -> String {
        let id = self.id(&[&scenario.source]);
        if self.all.checkouts.iter().all(|checkout| checkout.id != id) {
            let commit = scenario.source.strip_prefix("commit ").filter(|hash| {
                hash.len() == 40 && hash.chars().all(|c| c.is_ascii_digit() || ('a'..='f').contains(&c))
            });
            let mut misc = Map::from_iter([("source".to_owned(), json!(scenario.source))]);
            misc.extend(scenario.kernel.as_ref().map(|kernel| ("kernel".to_owned(), json!(kernel))));
            self.all.checkouts.push(Checkout {
                id: id.clone(),
                origin: self.origin.to_owned(),
                git_commit_hash: commit.map(str::to_owned),
                comment: plain(&scenario.source),
                start_time: started(self.report).to_rfc3339(),
                valid: true,
                misc: misc.into(),
            });
        }
        id
    }

    fn build(
        &self,
        checkout: &str,
        scenario: &ScenarioReport,
        build: &str,
        status: &'static str,
        misc: Value,
    ) -> Build {
        let compiler = scenario.toolchain.iter().find(|tool| COMPILERS.contains(&tool.name.as_str()));
        // The last word on the host.
        let architecture = self.report.host.rsplit(", ").next().filter(|word| is_origin(word));
        Build {
            checkout_id: checkout.to_owned(),
            id: self.id(&[&scenario.id, build]),
            origin: self.origin.to_owned(),
            comment: plain(&format!("{}: {build}", scenario.id)),
            duration: None,
            architecture: architecture.map(str::to_owned),
            compiler: compiler.map(|tool| plain(&format!("{} {}", tool.name, tool.version))),
            log_excerpt: None,
            status,
            misc,
        }
    }

    fn test(
        &self,
        scenario: &ScenarioReport,
        build: &str,
        id: String,
        path: String,
        status: &'static str,
        misc: Value,
    ) -> Test {
        Test {
            build_id: self.id(&[&scenario.id, build]),
            id,
            origin: self.origin.to_owned(),
            environment: json!({ "comment": plain(&self.report.host) }),
            path,
            comment: None,
            log_excerpt: None,
            status,
            number: None,
            duration: None,
            misc,
        }
    }
}

/// What came of a scenario, in KCIDB's words.
fn status(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Passed => "PASS",
        Verdict::Failed => "FAIL",
        Verdict::Skipped => "SKIP",
        // The test did not come to its end.
        Verdict::Inconclusive | Verdict::ScenarioError => "ERROR",
        // The harness did not.
        Verdict::HarnessError | Verdict::HostCannot | Verdict::Interrupted => "MISS",
    }
}

/// Our own data about a scenario.
fn about(scenario: &ScenarioReport) -> Value {
    let tools = tools(scenario).map(|tool| (tool.name.clone(), json!(tool.version)));
    let mut misc = Map::from_iter([
        ("scenario".to_owned(), json!(scenario.id)),
        ("verdict".to_owned(), json!(scenario.verdict)),
        ("tier".to_owned(), json!(scenario.tier)),
        ("compared".to_owned(), json!(scenario.compared)),
        ("again".to_owned(), json!(scenario.again)),
        ("toolchain".to_owned(), Map::from_iter(tools).into()),
        ("findings".to_owned(), scenario.findings.iter().map(found).collect()),
    ]);
    for (key, text) in [("reason", &scenario.reason), ("hint", &scenario.hint), ("kernel", &scenario.kernel)] {
        misc.extend(text.as_ref().map(|text| (key.to_owned(), json!(text))));
    }
    if !scenario.matrix.is_empty() {
        misc.insert("matrix".to_owned(), json!(scenario.matrix));
    }
    misc.into()
}

/// A finding in brief.
fn found(finding: &Finding) -> Value {
    let mut brief = Map::from_iter([
        ("id".to_owned(), json!(finding.id())),
        ("finding".to_owned(), json!(finding.name)),
        ("target".to_owned(), json!(finding.target)),
        ("build".to_owned(), json!(finding.build)),
        ("summary".to_owned(), json!(finding.summary)),
        ("standing".to_owned(), json!(standing(finding).as_deref().unwrap_or("new"))),
    ]);
    brief.extend(finding.cause.as_ref().map(|cause| ("step".to_owned(), json!(cause.step))));
    brief.into()
}

/// The path of a scenario: its directories and its name, without its cell of a matrix.
fn path(id: &str) -> String {
    format!("{SUITE}.{}", dotted(id.split('@').next().unwrap_or(id)))
}

/// A name with slashes as a part of a path.
fn dotted(name: &str) -> String {
    let legal = |c: char| if c.is_ascii_alphanumeric() || c == '_' || c == '-' { c } else { '_' };
    let part = |part: &str| if part.is_empty() { "_".to_owned() } else { part.chars().map(legal).collect() };
    name.split('/').map(part).collect::<Vec<_>>().join(".")
}

/// A line of text; no string of KCIDB's may hold a NUL.
fn plain(text: &str) -> String {
    clean(text).into_owned()
}

/// As much of a text as an excerpt may have.
fn excerpt(text: &str) -> String {
    if text.chars().count() <= EXCERPT {
        return text.to_owned();
    }
    text.chars().take(EXCERPT - 1).chain(['…']).collect()
}
