//! The report for people: the summary first, then each finding with its evidence and the command to run
//! it again.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{self, Write};

use console::Style;

use super::{Report, ScenarioReport};
use crate::artifact::record::{Confirmation, Outcome};
use crate::runner::Preparation;
use crate::scenario::{Class, FindingName};
use crate::tree::maintainers::Owners;
use crate::verdict::alarm::groups;
use crate::verdict::{ATTENTION, Cause, Finding, Standing, Verdict};

/// How many targets of one finding are named.
const NAMED: usize = 12;

/// How many people and lists an owner is named by.
const OWNERS: usize = 4;

/// How many characters of a command are shown.
const COMMAND: usize = 160;

/// How the report is shown.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// With colours.
    pub colour: bool,
    /// With builds, costs, known findings in full.
    pub verbose: bool,
}

/// Text that came from a build or a file, without what a terminal would obey (console_codes(4)).
pub(crate) fn clean(text: &str) -> Cow<'_, str> {
    // Those that turn the direction of what follows are no control characters (UAX #9).
    let turns = |c: char| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let obeyed = |c: char| c.is_control() && c != '\t' || turns(c);
    if !text.contains(obeyed) {
        return Cow::Borrowed(text);
    }
    text.chars().map(|c| if obeyed(c) { c.escape_default().to_string() } else { c.to_string() }).collect()
}

/// Writes the report.
///
/// # Errors
/// What the writer answers.
pub fn write(report: &Report, options: Options, out: &mut dyn Write) -> io::Result<()> {
    let mut sink = Sink { out, options, report: Some(report) };
    sink.summary(report)?;
    for finding in &report.findings {
        sink.group(&[finding], "", None)?;
    }
    for scenario in &report.scenarios {
        sink.scenario(scenario)?;
    }
    if let Some(since) = &report.since {
        writeln!(sink.out)?;
        super::history::lines(since).iter().try_for_each(|line| writeln!(sink.out, "{line}"))?;
    }
    sink.losses(report)?;
    for line in super::matrix::tables(report) {
        writeln!(sink.out, "{}", sink.coloured(&line))?;
    }
    Ok(())
}

/// What findings that say the same say, in plain lines, for reports of other kinds.
pub(super) fn told(group: &[&Finding], scenario: Option<&ScenarioReport>) -> String {
    let mut text = Vec::new();
    let options = Options { colour: false, verbose: true };
    let mut sink = Sink { out: &mut text, options, report: None };
    // Memory takes everything.
    let _ = sink.group(group, "", scenario);
    String::from_utf8_lossy(&text).into_owned()
}

/// How many scenarios there are of each verdict, in plain words.
pub(super) fn counts(report: &Report) -> String {
    counted(report, &|verdict| verdict.name().to_owned())
}

fn counted(report: &Report, word: &dyn Fn(Verdict) -> String) -> String {
    let mut counts: BTreeMap<Verdict, usize> = BTreeMap::new();
    for scenario in &report.scenarios {
        *counts.entry(scenario.verdict).or_default() += 1;
    }
    let words: Vec<String> = counts.iter().map(|(verdict, count)| format!("{count} {}", word(*verdict))).collect();
    let total = report.scenarios.len();
    let plural = if total == 1 { "" } else { "s" };
    let none = match &report.shard {
        _ if report.verdict == Verdict::Interrupted => "interrupted before the first",
        Some(shard) if shard.is_idle() => "the shard has nothing to do",
        _ => "nothing was run",
    };
    let words = if words.is_empty() { none.to_owned() } else { words.join(", ") };
    let beside = match report.findings.len() {
        0 => "",
        1 => "; and 1 finding about no scenario",
        n => &format!("; and {n} findings about no scenario"),
    };
    format!("{total} scenario{plural}: {words}{beside}")
}

/// Why a scenario was not begun.
pub(super) fn why_left_out<'r>(report: &'r Report, id: &str) -> &'r str {
    let why = report.why_left_out.get(id);
    why.map_or_else(|| commonly(report), String::as_str)
}

/// The scenarios that were not begun, by the reason, with how many they are.
pub(super) fn left_out(report: &Report) -> Vec<(String, Vec<&str>)> {
    let mut all: Vec<(&str, Vec<&str>)> = Vec::new();
    for id in &report.left_out {
        let why = why_left_out(report, id);
        match all.iter_mut().find(|(have, _)| *have == why) {
            Some((_, ids)) => ids.push(id),
            None => all.push((why, vec![id])),
        }
    }
    all.into_iter().map(|(why, ids)| (format!("{} {}", ids.len(), clean(why)), ids)).collect()
}

fn commonly(report: &Report) -> &'static str {
    let interrupted = |scenario: &ScenarioReport| scenario.verdict == Verdict::Interrupted;
    if report.verdict == Verdict::Interrupted || report.scenarios.iter().any(interrupted) {
        "not begun"
    } else {
        "left out by the time budget"
    }
}

/// What a clean build started from.
/// Whose a step is, in a line: the closest section of MAINTAINERS, and where to write to.
pub(super) fn whose(owners: &Owners) -> String {
    let section = owners.sections.first().map_or("nobody", String::as_str);
    let to = owners.maintainers.iter().chain(&owners.lists).take(OWNERS).map(String::as_str);
    let left = (owners.maintainers.len() + owners.lists.len()).saturating_sub(OWNERS);
    let more = if left > 0 { format!(" and {left} more") } else { String::new() };
    format!("{section} ({}): {}{more}", owners.file, to.collect::<Vec<_>>().join(", "))
}

fn prepared(preparation: &Preparation) -> String {
    if preparation.reused {
        return ", from a prepared state".into();
    }
    let (seconds, millis) = (preparation.wall_ms / 1000, preparation.wall_ms % 1000);
    let why = match preparation.why.as_deref() {
        None => String::new(),
        Some(why) if why.starts_with("not kept") => format!(" (what it made is {why})"),
        Some(why) => format!(" (since {why})"),
    };
    format!(", after preparing for {seconds}.{:02} s{why}", millis / 10)
}

/// Where mail and reproducer are, and what came of it.
fn reproduced(confirmation: &Confirmation, place: &str) -> String {
    let why = confirmation.why.as_deref().unwrap_or_default();
    match confirmation.outcome {
        Outcome::Confirmed => format!("confirmed by {place}/reproduce.sh"),
        Outcome::NotSeen => format!("not confirmed by its reproducer {place}/reproduce.sh, which was run"),
        Outcome::NotRun if why.starts_with("it ") => format!("not confirmed: {place}/reproduce.sh was run: {why}"),
        Outcome::NotRun => format!("not run: {place}/reproduce.sh ({why})"),
        Outcome::NoScript => format!("no reproducer ({why}); the mail is {place}/mail.txt"),
    }
}

struct Sink<'a> {
    out: &'a mut dyn Write,
    options: Options,
    /// What earlier runs say is told for people alone.
    report: Option<&'a Report>,
}

impl Sink<'_> {
    fn style(&self, style: Style) -> Style {
        style.force_styling(self.options.colour)
    }

    fn verdict(&self, verdict: Verdict) -> String {
        let style = match verdict {
            Verdict::Passed => Style::new().green(),
            Verdict::Skipped | Verdict::Inconclusive | Verdict::Interrupted => Style::new().yellow(),
            _ => Style::new().red().bold(),
        };
        self.style(style).apply_to(verdict.name()).to_string()
    }

    /// A line of a table, whose words of what is wrong and not tested stand out.
    fn coloured(&self, line: &super::matrix::Line) -> String {
        let styled = |(text, standing): &(String, super::matrix::Standing)| {
            use super::matrix::Standing;
            let style = match standing {
                Standing::Plain => return clean(text).into_owned(),
                Standing::Good => Style::new().green(),
                Standing::Open => Style::new().yellow(),
                Standing::Bad => Style::new().red().bold(),
            };
            self.style(style).apply_to(clean(text)).to_string()
        };
        line.iter().map(styled).collect::<String>().trim_end().to_owned()
    }

    fn summary(&mut self, report: &Report) -> io::Result<()> {
        writeln!(self.out, "{}", counted(report, &|verdict| self.verdict(verdict)))?;
        for (why, ids) in left_out(report) {
            writeln!(self.out, "{why}: {}", clean(&ids.join(", ")))?;
        }
        if let Some(record) = &report.record {
            writeln!(self.out, "records: {record}")?;
        }
        Ok(())
    }

    fn scenario(&mut self, scenario: &ScenarioReport) -> io::Result<()> {
        let asked = scenario.audit.is_some() || scenario.sweep.is_some() || scenario.fuzz.is_some();
        let quiet = matches!(scenario.verdict, Verdict::Passed) && !self.options.verbose && !asked;
        // Of what 7.2 and later do by design (they link every module again) there is a line only.
        let needless = |finding: &&Finding| finding.name == FindingName::RebuildNeedless;
        let shown =
            |finding: &&Finding| self.options.verbose || finding.standing == Standing::New && !needless(finding);
        let findings: Vec<&Finding> = scenario.findings.iter().filter(shown).collect();
        let known = scenario.findings.iter().filter(|f| matches!(f.standing, Standing::Known { .. })).count();
        let important = |note: &&String| note.starts_with("fixed?") || note.starts_with(ATTENTION);
        if quiet && known == 0 && findings.is_empty() && !scenario.notes.iter().any(|note| important(&note)) {
            return Ok(());
        }
        let kernel = scenario.kernel.as_deref().map_or(String::new(), |kernel| format!(" on {kernel}"));
        let chosen: Vec<String> = scenario.chosen().map(|tool| format!("{} {}", tool.name, tool.key)).collect();
        let chosen = if chosen.is_empty() { String::new() } else { format!(" with {}", chosen.join(", ")) };
        let bold = self.style(Style::new().bold());
        writeln!(
            self.out,
            "\n{}: {}{kernel}{} ({:.1} s) — {}",
            bold.apply_to(clean(&scenario.id)),
            self.verdict(scenario.verdict),
            clean(&chosen),
            scenario.seconds,
            clean(&scenario.title)
        )?;
        if let Some(reason) = &scenario.reason {
            writeln!(self.out, "  {}", clean(reason))?;
        }
        if let Some(hint) = &scenario.hint {
            writeln!(self.out, "  hint: {}", clean(hint))?;
        }
        if self.options.verbose {
            for build in &scenario.builds {
                let prepared = build.preparation.as_ref().map_or(String::new(), prepared);
                let reused = if build.reused { ", as built before" } else { "" };
                writeln!(
                    self.out,
                    "  build {:<28} {:>8.2} s  {:>4} steps  {}{reused}{}",
                    build.id,
                    build.seconds,
                    build.steps,
                    build.status,
                    clean(&prepared)
                )?;
            }
        }
        for group in groups(&findings) {
            self.group(&group, "  ", Some(scenario))?;
        }
        if known > 0 && !self.options.verbose {
            let plural = if known == 1 { "" } else { "s" };
            writeln!(self.out, "  {known} known finding{plural}; --verbose shows them")?;
        }
        for line in scenario.sweep.iter().flat_map(|sweep| super::sweep::lines(sweep, self.options.verbose)) {
            writeln!(self.out, "  {}", clean(&line))?;
        }
        for line in scenario.fuzz.iter().flat_map(super::fuzz::lines) {
            writeln!(self.out, "  {}", clean(&line))?;
        }
        for line in scenario.audit.iter().flat_map(|audit| super::audit::lines(audit, self.options.verbose)) {
            writeln!(self.out, "  {}", clean(&line))?;
        }
        let latent = scenario.findings.iter().filter(|finding| finding.standing == Standing::Latent).count();
        if latent > 0 && !self.options.verbose {
            let plural = if latent == 1 { "" } else { "s" };
            writeln!(self.out, "  {latent} latent finding{plural}; --verbose shows them")?;
        }
        let costs = scenario.findings.iter().filter(needless).count();
        if costs > 0 && !self.options.verbose {
            writeln!(self.out, "  steps ran for nothing ({costs} × rebuild.needless); --verbose shows them")?;
        }
        for note in &scenario.notes {
            let kind = if note.starts_with(ATTENTION) { "" } else { "note: " };
            writeln!(self.out, "  {kind}{}", clean(note))?;
        }
        if !findings.is_empty() {
            writeln!(self.out, "  again: {}", clean(&scenario.again))?;
        }
        Ok(())
    }

    /// Findings that say the same of several artifacts.
    fn group(&mut self, group: &[&Finding], indent: &str, scenario: Option<&ScenarioReport>) -> io::Result<()> {
        let Some(first) = group.first() else { return Ok(()) };
        let style = match (&first.standing, first.name.class()) {
            (Standing::New, Class::Wrong) => Style::new().red(),
            (Standing::New, _) => Style::new().yellow(),
            _ => Style::new().dim(),
        };
        let standing = match &first.standing {
            Standing::New => String::new(),
            Standing::Expected => " (expected)".into(),
            Standing::Latent => " (latent: no build of the scenario comes to it)".into(),
            Standing::Known { why } => format!(" (known: {why})"),
        };
        let tag = self.report.zip(scenario).and_then(|(report, it)| super::history::tag_of(report, &it.id, first));
        let standing = standing + &tag.map_or(String::new(), |tag| format!(" [{tag}]"));
        let name = self.style(style).apply_to(first.name.name());
        let left = group.len().saturating_sub(NAMED);
        if group.iter().all(|finding| finding.summary == first.summary) {
            let named: Vec<&str> = group.iter().take(NAMED).map(|finding| finding.target.as_str()).collect();
            let more = if left > 0 { format!(" and {left} more") } else { String::new() };
            let targets = named.join(", ");
            let targets = if targets.is_empty() { first.build.clone() } else { targets };
            writeln!(self.out, "{indent}{name} {}{more}{}", clean(&targets), clean(&standing))?;
            writeln!(self.out, "{indent}    {}", clean(&first.summary))?;
        } else {
            writeln!(self.out, "{indent}{name} × {}{}", group.len(), clean(&standing))?;
            let named = || group.iter().take(NAMED);
            let width = named().map(|finding| finding.target.len()).max().unwrap_or(0);
            for finding in named() {
                let (target, summary) = (clean(&finding.target), clean(&finding.summary));
                writeln!(self.out, "{indent}    {target:<width$}  {summary}")?;
            }
            if left > 0 {
                writeln!(self.out, "{indent}    and {left} more")?;
            }
        }
        for line in first.says.iter().take(NAMED) {
            writeln!(self.out, "{indent}      {}", clean(line))?;
        }
        let against = first.against.as_deref().map_or(String::new(), |against| format!(" against {against}"));
        // What is about no build in particular stands in `all`.
        if !first.target.is_empty() && first.build != "all" {
            writeln!(self.out, "{indent}    in {}{against}", first.build)?;
        }
        if let (Some(edit), Some(_)) = (&first.edit, scenario)
            && !first.build.starts_with(edit.as_str())
        {
            writeln!(self.out, "{indent}    after {edit}")?;
        }
        if let Some(cause) = &first.cause {
            self.cause(cause, group.len(), indent)?;
        }
        for line in &first.detail {
            writeln!(self.out, "{indent}    {}", clean(line))?;
        }
        if let Some(owners) = &first.owners {
            writeln!(self.out, "{indent}    owner: {}", clean(&whose(owners)))?;
        }
        if !first.still.is_empty() {
            writeln!(self.out, "{indent}    still so in {}", first.still.join(", "))?;
        }
        if !first.folded.is_empty() {
            writeln!(self.out, "{indent}    and {} finding(s) that follow from it", first.folded.len())?;
        }
        if let (Some(confirmation), Some(scenario)) = (&first.confirmed, scenario) {
            let place = format!("{}/{}", scenario.id, confirmation.beside);
            writeln!(self.out, "{indent}    {}", clean(&reproduced(confirmation, &place)))?;
        }
        Ok(())
    }

    /// The step to blame; of several alike, the first.
    fn cause(&mut self, cause: &Cause, count: usize, indent: &str) -> io::Result<()> {
        let others = if count > 1 { ", and the like of the others" } else { "" };
        writeln!(self.out, "{indent}    cause: {} — {}{others}", clean(&cause.step), cause.fault.words())?;
        writeln!(self.out, "{indent}      {}", clean(&cause.why))?;
        if let Some(cmd) = &cause.cmd {
            writeln!(self.out, "{indent}      {}, {}:{}", clean(&cmd.name), clean(&cmd.file), cmd.line)?;
        }
        if cause.command != cause.step {
            writeln!(self.out, "{indent}      $ {}", clean(&shortened(&cause.command)))?;
        }
        if !cause.way.is_empty() {
            writeln!(self.out, "{indent}      the change: {}", clean(&cause.way.join(" → ")))?;
        }
        Ok(())
    }

    fn losses(&mut self, report: &Report) -> io::Result<()> {
        if !report.losses.is_empty() {
            writeln!(self.out, "\nnot guaranteed on this host:")?;
        }
        for loss in &report.losses {
            writeln!(self.out, "  {}: {}", loss.guarantee, loss.reason)?;
            if let Some(hint) = &loss.hint {
                writeln!(self.out, "    hint: {hint}")?;
            }
        }
        Ok(())
    }
}

/// A command as far as it says what it is.
fn shortened(command: &str) -> String {
    let mut short: String = command.chars().take(COMMAND).collect();
    if short.len() < command.len() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::{Preparation, prepared};

    #[test]
    fn what_a_clean_build_started_from_is_said_with_its_reason() {
        let told = |reused: bool, why: Option<&str>| {
            prepared(&Preparation { reused, wall_ms: 53_570, cpu_ms: 0, why: why.map(str::to_owned) })
        };
        assert_eq!(told(true, None), ", from a prepared state");
        assert_eq!(told(false, None), ", after preparing for 53.57 s");
        let other = told(false, Some("scripts/Kbuild is not what it was"));
        assert_eq!(other, ", after preparing for 53.57 s (since scripts/Kbuild is not what it was)");
        let lost = told(false, Some("not kept: its sources were changed meanwhile"));
        assert_eq!(
            lost,
            ", after preparing for 53.57 s (what it made is not kept: its sources were changed meanwhile)"
        );
    }
}
