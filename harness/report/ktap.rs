//! The report as KTAP, version 1 (Documentation/dev-tools/ktap.rst of the kernel).
//!
//! A scenario is a test, and each of its builds a subtest, so that names are the same whatever comes of them. What is found
//! in a build are diagnostic lines before its result; what is found in no build of its own, such as an expectation, is a
//! subtest by its name. A known or a demanded fault is `ok` with XFAIL, as kselftest writes it (tools/testing/selftests/
//! kselftest.h): a parent fails if a subtest does. The lines are kept apart by what the kernel's reader takes for results,
//! headers and the end (tools/testing/kunit/kunit_parser.py).

use std::io::{self, Write};

use super::machine::{besides, evidence, fails, headline, standing, timed_out};
use super::terminal::{clean, told, why_left_out};
use super::{Report, ScenarioReport};
use crate::scenario::Class;
use crate::verdict::{Finding, Standing, Verdict};

/// Where the kernel's reader takes the log of a machine for ended, wherever in a line this stands.
const ENDS: [&str; 3] = ["List of all partitions:", "Kernel panic - not syncing: VFS:", "reboot: System halted"];

struct Test {
    name: String,
    ok: bool,
    /// SKIP, XFAIL, TIMEOUT or ERROR, and why.
    directive: Option<(&'static str, String)>,
    diagnostics: String,
    subtests: Vec<Test>,
}

/// Writes the report.
///
/// # Errors
/// What the writer answers.
pub fn write(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    let mut tests: Vec<Test> = report.scenarios.iter().map(of_scenario).collect();
    tests.extend(report.left_out.iter().map(|id| Test {
        name: id.clone(),
        ok: true,
        directive: Some(("SKIP", why_left_out(report, id).into())),
        diagnostics: String::new(),
        subtests: Vec::new(),
    }));
    tests.extend(
        report.findings.iter().map(|finding| of_findings(&by_name(finding), &[finding], &told(&[finding], None))),
    );
    level(&tests, None, "", out)
}

/// The tests of one level: version, plan, results.
fn level(tests: &[Test], parent: Option<&str>, indent: &str, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{indent}KTAP version 1")?;
    if let Some(parent) = parent {
        // A diagnostic line; KUnit's reader takes the name of the test from it.
        writeln!(out, "{indent}# Subtest: {parent}")?;
    }
    writeln!(out, "{indent}1..{}", tests.len())?;
    for (number, test) in (1..).zip(tests) {
        let name = description(&test.name);
        if !test.subtests.is_empty() {
            level(&test.subtests, Some(&name), &format!("{indent}  "), out)?;
        }
        for line in test.diagnostics.lines() {
            writeln!(out, "{indent}{}", diagnostic(line).trim_end())?;
        }
        let result = if test.ok { "ok" } else { "not ok" };
        let directive = test.directive.as_ref().map(|(word, why)| format!(" # {word} {}", data(why)));
        let line = format!("{indent}{result} {number} {name}{}", directive.unwrap_or_default());
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

fn of_scenario(scenario: &ScenarioReport) -> Test {
    let mut subtests: Vec<Test> = Vec::new();
    for build in &scenario.builds {
        let findings: Vec<&Finding> = scenario.findings.iter().filter(|finding| finding.build == build.id).collect();
        subtests.push(of_findings(&build.id, &findings, &evidence(&findings, scenario)));
    }
    let elsewhere = |finding: &&Finding| scenario.builds.iter().all(|build| build.id != finding.build);
    for finding in scenario.findings.iter().filter(elsewhere) {
        subtests.push(of_findings(&by_name(finding), &[finding], &evidence(&[finding], scenario)));
    }
    let findings: Vec<&Finding> = scenario.findings.iter().collect();
    let directive = match scenario.verdict {
        Verdict::Passed | Verdict::Failed => None,
        Verdict::Skipped => Some("SKIP"),
        _ if timed_out(&findings) => Some("TIMEOUT"),
        _ => Some("ERROR"),
    };
    let ok = matches!(scenario.verdict, Verdict::Passed | Verdict::Skipped);
    let mut diagnostics = String::new();
    if !ok {
        let hint = scenario.hint.iter().map(|hint| format!("hint: {hint}\n"));
        diagnostics = hint.chain([format!("again: {}\n", scenario.again)]).collect();
    }
    // Findings stand with their builds.
    diagnostics += &besides(scenario, &|_| false);
    Test {
        // A subtest that is called as its test would end it for the kernel's reader.
        ok: ok && subtests.iter().all(|test| test.ok),
        name: if subtests.iter().any(|test| test.name == scenario.id) {
            format!("{}/", scenario.id)
        } else {
            scenario.id.clone()
        },
        directive: directive.map(|word| (word, headline(scenario))),
        diagnostics,
        subtests,
    }
}

/// A test that comes to these findings, or to none.
fn of_findings(name: &str, findings: &[&Finding], diagnostics: &str) -> Test {
    let failing = findings.iter().find(|finding| fails(finding));
    let tolerated = |finding: &&&Finding| matches!(finding.standing, Standing::Known { .. } | Standing::Expected);
    let directive = match failing {
        Some(_) if timed_out(findings) => Some("TIMEOUT"),
        Some(finding) if finding.name.class() == Class::Inconclusive => Some("ERROR"),
        Some(_) => None,
        None => findings.iter().find(tolerated).map(|_| "XFAIL"),
    };
    let why = match failing {
        Some(finding) => finding.summary.clone(),
        None => {
            let mut why: Vec<_> = findings.iter().filter(tolerated).filter_map(|finding| standing(finding)).collect();
            why.dedup();
            why.join("; ")
        }
    };
    Test {
        name: name.to_owned(),
        ok: failing.is_none(),
        directive: directive.map(|word| (word, why)),
        diagnostics: diagnostics.to_owned(),
        subtests: Vec::new(),
    }
}

fn by_name(finding: &Finding) -> String {
    format!("{} {}", finding.name, finding.target)
}

/// Text of a result line: `#` ends the description, and in what follows it may begin a directive.
fn data(text: &str) -> String {
    clean(text).replace('\t', " ").replace('#', "\\x23").trim().to_owned()
}

/// A description. Some readers take a dash in front of it for the one that TAP allows there.
fn description(name: &str) -> String {
    let name = data(name);
    match name.strip_prefix('-') {
        Some(rest) => format!("\\x2d{rest}"),
        None if name.starts_with(':') => format!("\\x3a{}", &name[1..]),
        None => name,
    }
}

fn diagnostic(line: &str) -> String {
    let mut line = clean(line).into_owned();
    for end in ENDS {
        line = line.replace(end, &end.replacen(' ', "  ", 1));
    }
    // `# Subtest: ` begins a test.
    let begins = line.starts_with("Subtest: ");
    format!("#{}{line}", if begins { "  " } else { " " })
}
