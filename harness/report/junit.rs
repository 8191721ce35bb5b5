//! The report as JUnit XML, in the flavour that Jenkins reads (<https://github.com/testmoapp/junitxml>).
//!
//! A scenario is a test case, and its directory the suite. Jenkins and GitLab follow a test from run to run by `classname`
//! and `name`, so that neither has anything in it that changes with the result. Jenkins takes what is before the last dot
//! of `classname` for a package, and shows one tree of packages: hence `kbuild-repro.` before the directory, and no other
//! dots in it. Of several findings of a scenario the first is the failure's message and type, since readers show one
//! failure a test case; its text has all.

use std::io::{self, Write};
use std::time::Duration;

use quick_junit::{NonSuccessKind, Report as Suites, TestCase, TestCaseStatus, TestSuite};

use super::machine::{besides, fails, file, headline, line, started, story, tools, topic_and_name};
use super::terminal::{clean, told, why_left_out};
use super::{Report, ScenarioReport};
use crate::verdict::Verdict;

/// The package of all test cases, and the suite of what is about no scenario.
const NAME: &str = "kbuild-repro";

/// Writes the report.
///
/// # Errors
/// What the writer answers.
pub fn write(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    let mut suites: Vec<(&str, Vec<TestCase>)> = Vec::new();
    let mut add = |topic, case| match suites.iter_mut().find(|(have, _)| *have == topic) {
        Some((_, cases)) => cases.push(case),
        None => suites.push((topic, vec![case])),
    };
    for scenario in &report.scenarios {
        add(topic_and_name(&scenario.id).0, of_scenario(scenario));
    }
    for id in &report.left_out {
        let mut status = TestCaseStatus::skipped();
        status.set_message(xml(why_left_out(report, id)));
        add(topic_and_name(id).0, case(id, status));
    }
    for finding in &report.findings {
        let mut status = TestCaseStatus::success();
        if fails(finding) {
            status = TestCaseStatus::non_success(NonSuccessKind::Failure);
            status.set_message(xml(&line(finding))).set_type(finding.name.name());
            status.set_description(xml(&told(&[finding], None)));
        }
        let mut case = TestCase::new(word(&format!("{} {}", finding.name, finding.target)), status);
        case.set_classname(NAME);
        add("", case);
    }
    let mut all = Suites::new(NAME);
    all.set_timestamp(started(report)).set_time(time(report.scenarios.iter().map(|scenario| scenario.seconds).sum()));
    for (topic, cases) in suites {
        let mut suite = TestSuite::new(word(if topic.is_empty() { NAME } else { topic }));
        let seconds = cases.iter().filter_map(|case| case.time).sum();
        suite.set_timestamp(started(report)).set_time(seconds);
        suite.add_property(("run", word(&report.run).as_str()));
        suite.add_property(("kbuild-repro", word(&report.harness).as_str()));
        suite.add_property(("host", word(&report.host).as_str()));
        suite.add_test_cases(cases);
        all.add_test_suite(suite);
    }
    all.serialize(out).map_err(io::Error::other)
}

/// A test case that is known by a scenario's id alone.
fn case(id: &str, status: TestCaseStatus) -> TestCase {
    let (topic, name) = topic_and_name(id);
    let mut case = TestCase::new(word(name), status);
    let class = topic.split('/').filter(|dir| !dir.is_empty()).map(|dir| dir.replace('.', "_"));
    case.set_classname(word(&std::iter::once(NAME.to_owned()).chain(class).collect::<Vec<_>>().join(".")));
    case
}

fn of_scenario(scenario: &ScenarioReport) -> TestCase {
    let status = match scenario.verdict {
        Verdict::Passed => TestCaseStatus::success(),
        Verdict::Skipped => {
            let mut status = TestCaseStatus::skipped();
            status.set_message(xml(&headline(scenario)));
            status
        }
        Verdict::Failed => {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
            let first = scenario.findings.iter().find(|finding| fails(finding));
            status.set_type(first.map_or(scenario.verdict.name(), |finding| finding.name.name()));
            status.set_message(xml(&headline(scenario))).set_description(xml(&story(scenario)));
            status
        }
        // Nothing was found out about the build under test; that is not passed, whoever's fault it is.
        verdict => {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
            status.set_type(verdict.name());
            status.set_message(xml(&headline(scenario))).set_description(xml(&story(scenario)));
            status
        }
    };
    let mut case = case(&scenario.id, status);
    case.set_time(time(scenario.seconds));
    // GitLab shows it as the test's file.
    if let Some(file) = file(scenario) {
        case.extra.insert("file".into(), word(file).into());
    }
    let mut property = |name: &str, value: &str| {
        case.add_property((word(name).as_str(), word(value).as_str()));
    };
    property("title", &scenario.title);
    if let Some(kernel) = &scenario.kernel {
        property("kernel", kernel);
    }
    property("source", &scenario.source);
    for (list, label) in &scenario.matrix {
        property(&format!("matrix.{list}"), label);
    }
    for tool in tools(scenario) {
        property(&format!("tool.{}", tool.name), &tool.version);
    }
    let besides = besides(scenario, &|_| true);
    if !besides.is_empty() {
        case.set_system_out(xml(&besides));
    }
    case
}

fn time(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}

/// The same for an attribute, in which a parser takes an end of line for a blank.
fn word(text: &str) -> String {
    xml(&clean(text))
}

/// Text without what XML 1.0 has no way to write (<https://www.w3.org/TR/xml/#charsets>). Control characters are told by
/// their escapes; tabs are blanks, since `quick_junit` drops them.
fn xml(text: &str) -> String {
    let lines: Vec<String> = text.split('\n').map(|line| clean(line).replace('\t', "    ")).collect();
    lines.join("\n").replace(['\u{fffe}', '\u{ffff}'], "\u{fffd}")
}
