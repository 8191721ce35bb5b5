//! The answer of a bisection, for people and machines.

use std::io::{self, Write};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::reproducer::no_mail;
use super::terminal::clean;
use crate::scenario::FindingName;
use crate::verdict::Finding;
use crate::verdict::bisect::{Bisection, Outcome, State};

/// What is known of the answer beside it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Notes {
    /// The commit as git shows it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub shown: String,
    /// The `Fixes:` trailer of who mends it, where the commit brought the finding.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fixes: Option<String>,
    /// What was told to git: `git bisect replay` takes it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub log: String,
    /// Subjects of the commits that it is one of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub among: Vec<String>,
    /// The finding right before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub before: Vec<String>,
    /// The finding from there on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<String>,
}

/// All that is told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Told {
    /// The bisection.
    #[serde(flatten)]
    pub bisection: Bisection,
    /// What is known beside it.
    pub notes: Notes,
    /// Where the records are.
    pub record: String,
}

/// The exit code: 0 with an answer, 4 without one.
#[must_use]
pub fn exit_code(outcome: &Outcome) -> u8 {
    match outcome {
        Outcome::First { .. } | Outcome::Together { .. } => 0,
        Outcome::Interrupted => 130,
        Outcome::Among { .. } | Outcome::Alike { .. } | Outcome::Untestable { .. } | Outcome::Doubtful { .. } => 4,
    }
}

/// A commit id as people write it; other names as they are.
#[must_use]
pub fn short(name: &str) -> &str {
    let is_id = matches!(name.len(), 40 | 64) && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_id { &name[..12] } else { name }
}

/// A finding in lines: id, what differs, the step to blame.
pub fn finding(finding: &Finding) -> Vec<String> {
    let mut lines = vec![finding.id(), format!("  {}", finding.summary)];
    if let Some(cause) = &finding.cause {
        lines.push(format!("  cause: {} — {}", cause.step, cause.fault.words()));
        lines.push(format!("    {}", cause.why));
    }
    lines
}

/// The report for people.
///
/// # Errors
/// What the writer answers.
pub fn write(told: &Told, out: &mut dyn Write) -> io::Result<()> {
    for line in lines(told) {
        writeln!(out, "{}", clean(&line))?;
    }
    Ok(())
}

fn lines(told: &Told) -> Vec<String> {
    let Told { bisection, notes, record } = told;
    let finding = &bisection.finding;
    let [good, bad] = &bisection.ends;
    let mut lines = Vec::new();
    match &bisection.outcome {
        Outcome::First { name, subject, came } => {
            let verb = if *came { "came with" } else { "went with" };
            let subject = if subject.is_empty() { String::new() } else { format!(" (\"{subject}\")") };
            lines.push(format!("{}: {finding} {verb} {}{subject}", bisection.scenario, short(name)));
        }
        Outcome::Together { names } => {
            let with = if names.len() == 1 { "comes with" } else { "comes with these together:" };
            lines.push(format!("{}: {finding} {with} {}", bisection.scenario, names.join(" ")));
        }
        Outcome::Among { names } => {
            lines.push(format!(
                "{}: {finding}: one of {}; the others cannot be tested",
                bisection.scenario,
                names.len()
            ));
            let subject = |at: usize| notes.among.get(at).map_or("", String::as_str);
            lines.extend(names.iter().enumerate().map(|(at, name)| format!("    {} {}", short(name), subject(at))));
        }
        Outcome::Alike { present: true } => lines.push(format!(
            "{}: {finding} is at both ends, {good} and {bad}: take an older one as good",
            bisection.scenario
        )),
        Outcome::Alike { present: false } => lines.push(format!(
            "{}: {finding} is at neither end, {good} nor {bad}: nothing to search for",
            bisection.scenario
        )),
        Outcome::Untestable { name, why } => {
            lines.push(format!("{}: {} cannot be tested: {why}", bisection.scenario, short(name)));
        }
        Outcome::Doubtful { name } => lines.push(format!(
            "{}: {} showed another thing when it was tested again: {finding} comes and goes; try --repeat 5 --restart",
            bisection.scenario,
            short(name)
        )),
        Outcome::Interrupted => {
            lines.push(format!("{}: stopped; the same command goes on from here", bisection.scenario));
        }
    }
    lines.push(format!("  {}", tested(bisection)));
    let side = |name: &str, of: &[String]| -> Vec<String> {
        match of {
            [] => vec![format!("  {name}: not there")],
            all => {
                let head = std::iter::once(format!("  {name}:"));
                head.chain(all.iter().map(|line| format!("    {line}"))).collect()
            }
        }
    };
    if matches!(bisection.outcome, Outcome::First { .. } | Outcome::Together { .. }) {
        lines.extend(side("before", &notes.before));
        lines.extend(side("after", &notes.after));
    }
    if !notes.shown.is_empty() {
        lines.push(String::new());
        let shown = notes.shown.trim_end().lines().map(|line| format!("  {line}").trim_end().to_owned());
        lines.extend(shown);
        // git leaves two lines between a message and what it touches.
        lines.dedup_by(|line, before| line.is_empty() && before.is_empty());
        lines.push(String::new());
    }
    lines.extend(notes.fixes.as_ref().map(|fixes| format!("  {fixes}")));
    // What is about the scenario itself is no maintainer's.
    let has_mail = |id: &&String| {
        let name = id.split('@').next();
        let known = FindingName::ALL.iter().find(|known| Some(known.name()) == name);
        known.is_some_and(|name| no_mail(*name).is_none())
    };
    if let (Some(_), Some(first)) = (&notes.fixes, notes.after.first().filter(has_mail)) {
        let dir = crate::runner::shown(&[format!("{record}/after")]);
        lines.push(format!("  mail: kbuild-repro report {dir} --mail '{first}'"));
    }
    lines.push(format!("  records: {record} (before, after; bisection.json has the log)"));
    lines
}

/// How much was tested, and how long it took.
fn tested(bisection: &Bisection) -> String {
    let made: Vec<f64> = bisection.tests.iter().map(|test| test.seconds).filter(|seconds| *seconds > 0.0).collect();
    let all = bisection.tests.len();
    let recalled = all - made.len();
    let skipped = bisection.tests.iter().filter(|test| test.state == State::Untestable).count();
    #[expect(clippy::cast_precision_loss, reason = "as many tests as a person waits for")]
    let mean = made.iter().sum::<f64>() / made.len().max(1) as f64;
    let things = match bisection.over.as_str() {
        "commits" => "commits",
        "symbols" => "symbols that differ",
        _ => "versions",
    };
    let mut text = format!(
        "{all} tests over {} {things}, {mean:.1} s each, {:.0} s in all",
        bisection.candidates, bisection.seconds
    );
    if skipped > 0 {
        text.push_str(&format!("; {skipped} could not be tested"));
    }
    if recalled > 0 {
        text.push_str(&format!("; {recalled} known from before"));
    }
    text
}
