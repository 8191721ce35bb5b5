//! What the reports for other programs have in common: names, what a scenario fails by, and its story in plain lines.

use std::borrow::Cow;

use super::terminal::{clean, told};
use super::{Report, ScenarioReport};
use crate::artifact::record::ToolRecord;
use crate::scenario::{Class, FindingName};
use crate::verdict::alarm::groups;
use crate::verdict::{Finding, Standing, Verdict};

/// Tools whose versions are of interest to who reads of a fault.
pub(super) const TOOLS: [&str; 6] = ["make", "gcc", "clang", "ld", "ld.lld", "pahole"];

/// What a scenario was built by, as far as it is of interest.
pub(super) fn tools(scenario: &ScenarioReport) -> impl Iterator<Item = &ToolRecord> {
    scenario.toolchain.iter().filter(|tool| TOOLS.contains(&tool.name.as_str()))
}

/// The directories that a scenario lies in, and its own name with its cell of a matrix.
pub(super) fn topic_and_name(id: &str) -> (&str, &str) {
    // What comes after `@` are labels, and those can be paths.
    let labels = id.find('@').unwrap_or(id.len());
    id[..labels].rfind('/').map_or(("", id), |at| (&id[..at], &id[at + 1..]))
}

/// The scenario's file, without a cell of its matrix; none of what has no file.
pub(super) fn file(scenario: &ScenarioReport) -> Option<&str> {
    let end = scenario.file.find(".toml")? + ".toml".len();
    let rest = &scenario.file[end..];
    (rest.is_empty() || rest.starts_with('@')).then_some(&scenario.file[..end])
}

/// Whether a finding is one for which a scenario does not pass.
pub(super) fn fails(finding: &Finding) -> bool {
    finding.standing == Standing::New && finding.name.class() != Class::Cost
}

/// How a finding stands to what the scenario says, in a word or two; nothing if it says nothing.
pub(super) fn standing(finding: &Finding) -> Option<Cow<'_, str>> {
    match &finding.standing {
        Standing::New if finding.name.class() == Class::Cost => Some("cost".into()),
        Standing::New => None,
        Standing::Expected => Some("expected: the scenario demands it".into()),
        Standing::Known { why } => Some(format!("known: {why}").into()),
        Standing::Latent => Some("latent: no build of the scenario comes to it".into()),
    }
}

/// A finding in a line.
pub(super) fn line(finding: &Finding) -> String {
    let about = if finding.target.is_empty() { &finding.build } else { &finding.target };
    clean(&format!("{} {about}: {}", finding.name, finding.summary)).into_owned()
}

/// What a scenario failed by, in a line; the rest is counted.
pub(super) fn headline(scenario: &ScenarioReport) -> String {
    let failing = || scenario.findings.iter().filter(|finding| fails(finding));
    let more = match failing().count() {
        0 | 1 => String::new(),
        2 => "; and 1 more finding".into(),
        n => format!("; and {} more findings", n - 1),
    };
    // What it does not pass for where the findings do not say it, e.g. a harness error beside them.
    let reason = scenario.reason.as_deref().filter(|_| scenario.verdict != Verdict::Failed);
    let reason = reason.map(|reason| clean(reason).into_owned());
    let first = reason.or_else(|| failing().next().map(line)).unwrap_or_else(|| scenario.verdict.name().to_owned());
    first + &more
}

/// What a scenario does not pass for: reason, hint, findings with their evidence, and the command to run it again.
pub(super) fn story(scenario: &ScenarioReport) -> String {
    told_with(scenario, "")
}

/// The same, and what is worth knowing besides.
pub(super) fn whole_story(scenario: &ScenarioReport) -> String {
    told_with(scenario, &besides(scenario, &|_| true))
}

fn told_with(scenario: &ScenarioReport, besides: &str) -> String {
    let mut lines = String::new();
    let said = [(&scenario.reason, ""), (&scenario.hint, "hint: ")];
    for (text, kind) in said.iter().filter_map(|(text, kind)| Some((text.as_deref()?, kind))) {
        lines.push_str(&format!("{kind}{}\n", clean(text)));
    }
    lines.push_str(&of(scenario, &fails));
    lines.push_str(besides);
    lines.push_str(&format!("again: {}\n", clean(&scenario.again)));
    lines
}

/// What is worth knowing besides: of the findings that do not fail it those that are `wanted`, what was asked of it, and notes.
pub(super) fn besides(scenario: &ScenarioReport, wanted: &dyn Fn(&Finding) -> bool) -> String {
    let mut lines = of(scenario, &|finding| !fails(finding) && wanted(finding));
    let swept = scenario.sweep.iter().flat_map(|sweep| super::sweep::lines(sweep, false));
    let fuzzed = scenario.fuzz.iter().flat_map(super::fuzz::lines);
    let audited = scenario.audit.iter().flat_map(|audit| super::audit::lines(audit, false));
    let notes = scenario.notes.iter().map(|note| format!("note: {note}"));
    lines.extend(swept.chain(fuzzed).chain(audited).chain(notes).map(|line| format!("{}\n", clean(&line))));
    lines
}

fn of(scenario: &ScenarioReport, wanted: &dyn Fn(&Finding) -> bool) -> String {
    let findings: Vec<&Finding> = scenario.findings.iter().filter(|finding| wanted(finding)).collect();
    groups(&findings).iter().map(|group| told(group, Some(scenario))).collect()
}

/// The text of findings that one build shows.
pub(super) fn evidence(findings: &[&Finding], scenario: &ScenarioReport) -> String {
    groups(findings).iter().map(|group| told(group, Some(scenario))).collect()
}

/// Whether a build did not end in time.
pub(super) fn timed_out(findings: &[&Finding]) -> bool {
    findings.iter().any(|finding| finding.name == FindingName::BuildTimeout && finding.standing == Standing::New)
}

/// The start of a run, as RFC 3339 has it; the epoch if the record holds a time that there is not.
pub(super) fn started(report: &Report) -> chrono::DateTime<chrono::Utc> {
    i64::try_from(report.started).ok().and_then(|at| chrono::DateTime::from_timestamp(at, 0)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::topic_and_name;

    #[test]
    fn labels_of_a_cell_belong_to_the_name() {
        assert_eq!(topic_and_name("graft/noop@6.12"), ("graft", "noop@6.12"));
        assert_eq!(topic_and_name("a/b/c@7.3,pahole=/x/y"), ("a/b", "c@7.3,pahole=/x/y"));
        assert_eq!(topic_and_name("example"), ("", "example"));
        assert_eq!(topic_and_name("example@/a/b"), ("", "example@/a/b"));
    }
}
