//! Findings that have one cause: one alarm, in however many builds and scenarios it shows; and how it is known again in
//! another run.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Cause, Fault, Finding, Standing};
use crate::scenario::Class;

/// How many targets an alarm is known again by.
const TARGETS: usize = 12;
/// How many characters its words have.
const TITLE: usize = 160;

/// Findings of one name at one place that say no more than a line each, in order.
#[must_use]
pub fn groups<'f>(findings: &[&'f Finding]) -> Vec<Vec<&'f Finding>> {
    let mut groups: Vec<Vec<&Finding>> = Vec::new();
    for finding in findings {
        let same = |group: &&mut Vec<&Finding>| {
            let first = group[0];
            !first.target.is_empty()
                && (first.name, &first.build, &first.standing, &first.detail, &first.still, &first.confirmed)
                    == (
                        finding.name,
                        &finding.build,
                        &finding.standing,
                        &finding.detail,
                        &finding.still,
                        &finding.confirmed,
                    )
                && alike(first.cause.as_ref(), finding.cause.as_ref())
        };
        match groups.iter_mut().find(same) {
            Some(group) => group.push(finding),
            None => groups.push(vec![finding]),
        }
    }
    groups
}

/// Whether two causes are one.
fn alike(a: Option<&Cause>, b: Option<&Cause>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => a.is_like(b),
        (None, None) => true,
        _ => false,
    }
}

/// What has one cause.
#[derive(Debug)]
pub struct Alarm<'f> {
    /// Where it shows, in the order of the scenarios: the number of one, and the findings there that say the same. There is at
    /// least one.
    pub places: Vec<(usize, Vec<&'f Finding>)>,
}

impl<'f> Alarm<'f> {
    /// Where it shows first: that is the one that is told.
    #[must_use]
    pub fn first(&self) -> (usize, &'f Finding) {
        let (at, group) = &self.places[0];
        (*at, group[0])
    }

    /// The numbers of the scenarios in which it shows, each once.
    pub fn scenarios(&self) -> impl Iterator<Item = usize> + '_ {
        self.places.chunk_by(|(a, _), (b, _)| a == b).map(|places| places[0].0)
    }

    /// Whether something is wrong with the build under test.
    #[must_use]
    pub fn is_wrong(&self) -> bool {
        let first = self.first().1;
        first.standing == Standing::New && first.name.class() == Class::Wrong
    }

    fn holds(&self, group: &[&Finding]) -> bool {
        let (mine, other) = (self.first().1, group[0]);
        let kind = |finding: &Finding| (finding.name, std::mem::discriminant(&finding.standing));
        let cause = match (&mine.cause, &other.cause) {
            (Some(a), Some(b)) => a.is_like(b) && (a.step == b.step || reason(a) == reason(b)),
            (None, None) => mine.target == other.target && mine.summary == other.summary,
            _ => false,
        };
        kind(mine) == kind(other) && cause
    }
}

/// The alarms of scenarios, of which the findings are given in order: new ones first, then as bad as their class.
pub fn alarms<'f>(scenarios: impl IntoIterator<Item = &'f [Finding]>) -> Vec<Alarm<'f>> {
    let mut alarms: Vec<Alarm<'_>> = Vec::new();
    for (at, findings) in scenarios.into_iter().enumerate() {
        let all: Vec<&Finding> = findings.iter().collect();
        for group in groups(&all) {
            match alarms.iter_mut().find(|alarm| alarm.holds(&group)) {
                Some(alarm) => alarm.places.push((at, group)),
                None => alarms.push(Alarm { places: vec![(at, group)] }),
            }
        }
    }
    alarms.sort_by_key(|alarm| (alarm.first().1.standing != Standing::New, alarm.first().1.name.class()));
    alarms
}

/// What an alarm is known by in another run, of another kernel or scenario: the same fault of the same `cmd_X` in the same
/// makefile at whatever line, else of the same step, else a finding of the same name about the same file. Edits are not
/// in it: they are named by number, and one more before them would make everything new.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Identity {
    /// The finding, e.g. `rebuild.stale`.
    pub finding: String,
    /// The step to blame, if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Blamed>,
    /// The files that it is about, the first of many; where it is about none, the build, without numbers of edits.
    pub targets: Vec<String>,
}

/// A step that is to blame.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Blamed {
    /// What is the matter with it, in words.
    pub fault: String,
    /// Its label or command.
    pub step: String,
    /// Of one that was wrongly skipped, what had changed: its command, or what it reads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Its `cmd_X` and the makefile that has it, with a blank between.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cmd: Option<String>,
}

impl Identity {
    /// That of a finding.
    #[must_use]
    pub fn of(finding: &Finding) -> Self {
        let blamed = |cause: &Cause| Blamed {
            fault: cause.fault.words().to_owned(),
            step: cut(&cause.step),
            reason: reason(cause).map(str::to_owned),
            cmd: cause.cmd.as_ref().map(|cmd| format!("{} {}", cmd.name, cmd.file)),
        };
        let target = if finding.target.is_empty() { without_numbers(&finding.build) } else { finding.target.clone() };
        Self {
            finding: finding.name.name().to_owned(),
            cause: finding.cause.as_ref().map(blamed),
            targets: vec![cut(&target)],
        }
    }

    /// That of findings that say the same, at least one.
    #[must_use]
    pub fn of_group(group: &[&Finding]) -> Self {
        let mut all = Self::of(group[0]);
        group[1..].iter().for_each(|finding| all.take(&Self::of(finding)));
        all
    }

    /// Whether both are one alarm. What one run could blame on a step and another could not, for want of traces, is known by its
    /// files.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        let cause = match (&self.cause, &other.cause) {
            (Some(a), Some(b)) => {
                let command = a.cmd.is_some() && a.cmd == b.cmd && a.reason == b.reason;
                a.fault == b.fault && (command || a.step == b.step)
            }
            _ => self.targets.iter().any(|target| other.targets.contains(target)),
        };
        self.finding == other.finding && cause
    }

    /// Adds the files of another one.
    pub(super) fn take(&mut self, other: &Self) {
        for target in &other.targets {
            if self.targets.len() < TARGETS && !self.targets.contains(target) {
                self.targets.push(target.clone());
            }
        }
    }

    /// It in a few words.
    #[must_use]
    pub fn title(&self) -> String {
        match &self.cause {
            Some(cause) => format!("{} — {} ({})", cause.step, cause.fault, self.finding),
            None => {
                let first = self.targets.first().map_or("", String::as_str);
                let more = self.targets.len().saturating_sub(1);
                let more = if more > 0 { format!(" and {more} more") } else { String::new() };
                format!("{first}{more} ({})", self.finding)
            }
        }
    }
}

/// The same `cmd_X` is skipped for two reasons that have nothing to do with each other: without FORCE nobody compares commands, and
/// without a prerequisite nobody compares times.
fn reason(cause: &Cause) -> Option<&'static str> {
    let command = cause.why.starts_with("its ");
    (cause.fault == Fault::Skipped).then_some(if command { "its command" } else { "what it reads" })
}

fn cut(text: &str) -> String {
    text.chars().take(TITLE).collect()
}

/// `edit-2/incremental` as `edit/incremental`.
fn without_numbers(build: &str) -> String {
    let number = |rest: &str| rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    match build.strip_prefix("edit-") {
        Some(rest) => format!("edit{}", &rest[number(rest)..]),
        None => build.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(finding: &str, cause: Option<(&str, Option<&str>)>, targets: &[&str]) -> Identity {
        let cause = cause.map(|(step, cmd)| Blamed {
            fault: "wrongly skipped".into(),
            step: step.into(),
            reason: None,
            cmd: cmd.map(str::to_owned),
        });
        let targets = targets.iter().map(ToString::to_string).collect();
        Identity { finding: finding.into(), cause, targets }
    }

    #[test]
    fn an_alarm_is_known_by_its_command_then_its_step_then_its_file() {
        let md5 = identity("rebuild.stale", Some(("CC md5.o", Some("cmd_cc_o_c Makefile.build"))), &["md5.ko"]);
        let crc = identity("rebuild.stale", Some(("CC crc.o", Some("cmd_cc_o_c Makefile.build"))), &["crc.ko"]);
        let bare = identity("rebuild.stale", Some(("CC md5.o", None)), &["other.ko"]);
        let untraced = identity("rebuild.stale", None, &["md5.ko"]);
        assert!(md5.is(&crc) && md5.is(&bare) && md5.is(&untraced) && untraced.is(&md5));
        assert!(!crc.is(&bare) && !crc.is(&untraced));
        assert!(!md5.is(&identity("rebuild.diverged", None, &["md5.ko"])), "another finding");
        let with = |change: fn(Blamed) -> Blamed| Identity { cause: md5.cause.clone().map(change), ..md5.clone() };
        let other = with(|cause| Blamed { fault: "fails".into(), ..cause });
        assert!(!md5.is(&other), "another fault of the same step");
        let other = with(|cause| Blamed { reason: Some("its command".into()), ..cause });
        assert!(md5.is(&other) && !crc.is(&other), "for another reason it is the same of the same step alone");
    }

    #[test]
    fn numbers_of_edits_say_nothing() {
        assert_eq!(without_numbers("edit-12/incremental"), "edit/incremental");
        assert_eq!(without_numbers("control/noop-2"), "control/noop-2");
    }
}
