//! What a change does to builds: a table for people, and text for the answer to a patch mail.

use std::io::{self, Write};

use super::terminal::clean;
use super::text::wrapped;
use crate::verdict::Verdict;
use crate::verdict::review::{Cost, DISTRIBUTION, EditCost, Review, Reviewed, Side, Told};

/// How many findings of one name are named.
const NAMED: usize = 6;
/// Columns of a mail (Documentation/process/submitting-patches.rst: "wrapped at 75 columns"; quoting takes some).
const MAIL_WIDTH: usize = 72;

/// The exit code: 1 with a new finding of class wrong, 4 where nothing can be said of a scenario, 0 otherwise.
#[must_use]
pub fn exit_code(review: &Review) -> u8 {
    let of = |scenario: &Reviewed| match scenario {
        scenario if scenario.new.iter().any(|told| told.wrong) => 1,
        scenario if scenario.untested().is_some() => 4,
        _ => 0,
    };
    let codes: Vec<u8> = review.scenarios.iter().map(of).collect();
    match codes.as_slice() {
        [] => 4,
        codes if codes.contains(&1) => 1,
        codes if codes.contains(&4) => 4,
        _ => 0,
    }
}

impl Reviewed {
    /// Why nothing can be said, if nothing can.
    #[must_use]
    pub fn untested(&self) -> Option<String> {
        let of = |name: &str, side: &Side| {
            let said = matches!(side.verdict, Verdict::Passed | Verdict::Failed);
            let why = side.reason.clone().unwrap_or_else(|| side.verdict.name().to_owned());
            (!said).then(|| format!("{name} it: {why}"))
        };
        of("without", &self.before).or_else(|| of("with", &self.after))
    }
}

/// The report for people.
///
/// # Errors
/// What the writer answers.
pub fn write(review: &Review, record: &str, out: &mut dyn Write) -> io::Result<()> {
    let mut lines = Vec::new();
    for change in &review.changes {
        lines.push(format!("review: {change}"));
    }
    for scenario in &review.scenarios {
        lines.push(String::new());
        lines.push(format!("{} — {}", scenario.id, scenario.title));
        lines.extend(indented(2, body(review, scenario)));
    }
    lines.push(String::new());
    lines.push(format!("records: {record} (before, after; review.json has all of it)"));
    for line in lines {
        writeln!(out, "{}", clean(&line))?;
    }
    Ok(())
}

fn indented(by: usize, lines: Vec<String>) -> impl Iterator<Item = String> {
    lines.into_iter().map(move |line| format!("{:by$}{line}", ""))
}

fn body(review: &Review, scenario: &Reviewed) -> Vec<String> {
    let mut lines = findings(scenario);
    if let Some(why) = scenario.untested() {
        lines.push(format!("cannot be tested {why}"));
        return lines;
    }
    for edit in &scenario.edits {
        lines.push(format!("after {}:", edit.edit));
        lines.extend(indented(2, costs(review, scenario, edit)));
    }
    let [before, after] = [&scenario.before, &scenario.after].map(|side| side.objtree_bytes);
    lines.push(format!("object tree: {} → {}", kib(before), kib(after)));
    lines
}

/// What is gone, new, and as it was.
fn findings(scenario: &Reviewed) -> Vec<String> {
    let kinds = [("gone", &scenario.gone), ("new", &scenario.new), ("as before", &scenario.same)];
    let mut lines: Vec<String> = kinds.iter().flat_map(|(what, told)| group(what, told)).collect();
    if lines.is_empty() && scenario.untested().is_none() {
        lines.push("no finding without it, none with it".into());
    }
    lines
}

/// Findings of one name in one line, with what the first says.
fn group(what: &str, told: &[Told]) -> Vec<String> {
    let mut names: Vec<&str> = told.iter().map(|told| name(&told.id)).collect();
    names.dedup();
    let mut lines = Vec::new();
    for name in names {
        let all: Vec<&Told> = told.iter().filter(|told| self::name(&told.id) == name).collect();
        // After several edits it may be the same file each time.
        let mut targets: Vec<&str> = Vec::new();
        for target in all.iter().map(|told| target(&told.id)) {
            if !targets.contains(&target) {
                targets.push(target);
            }
        }
        let more = targets.len().checked_sub(NAMED).filter(|more| *more > 0);
        let more = more.map_or(String::new(), |more| format!(" and {more} more"));
        targets.truncate(NAMED);
        lines.push(format!("{what}: {name} × {}: {}{more}", all.len(), targets.join(", ")));
        if what != "as before"
            && let Some(first) = all.first()
        {
            lines.push(format!("  {}", first.summary));
            lines.extend(first.cause.as_ref().map(|cause| format!("  cause: {cause}")));
        }
    }
    lines
}

/// `rebuild.stale` of `rebuild.stale@edit-1:a.ko`.
fn name(id: &str) -> &str {
    id.split('@').next().unwrap_or(id)
}

fn target(id: &str) -> &str {
    id.split_once(':').map_or(id, |(_, target)| target)
}

fn costs(review: &Review, scenario: &Reviewed, edit: &EditCost) -> Vec<String> {
    let EditCost { before, after, .. } = edit;
    let mut lines = vec![format!("steps: {} → {}{}", before.steps, after.steps, kinds(before, after))];
    if let (Some(old), Some(new)) = (before.spread(), after.spread()) {
        let told = |[median, least, most]: [f64; 3]| format!("{median:.2} s ({least:.2}–{most:.2})");
        let builds = if review.repeated == 1 { "1 build".to_owned() } else { format!("{} builds", review.repeated) };
        lines.push(format!("make: {} → {}, {builds} each", told(old), told(new)));
    }
    let [old, new] = [before.of_ko(), after.of_ko()];
    if old != new {
        lines.push(format!(
            "rule of %.ko: link {:.2} → {:.2} s, BTF {:.2} → {:.2} s of processor time, {} modules",
            old[0], new[0], old[1], new[1], scenario.after.modules
        ));
    }
    if let Some([old, new]) = scenario.estimate(edit).filter(|_| old != new) {
        let disk = scenario.growth().filter(|growth| growth.abs() > 0.01).map_or(String::new(), |growth| {
            format!(
                "; disk by bytes of modules: {:+.1} GB of {:.0}",
                growth * DISTRIBUTION.1 / 1e9,
                DISTRIBUTION.1 / 1e9
            )
        });
        lines.push(format!(
            "extrapolated to {} modules: link {:.0} → {:.0} s, BTF {:.0} → {:.0} s, a lower bound: these modules are small{disk}",
            DISTRIBUTION.0, old.link_seconds, new.link_seconds, old.btf_seconds, new.btf_seconds
        ));
    }
    lines
}

/// Which kinds of steps run more or less often: `; LD [M] 0 → 5`.
fn kinds(before: &Cost, after: &Cost) -> String {
    let of = |cost: &Cost, kind: &str| cost.kinds.get(kind).map_or(0, |kind| kind.steps);
    let mut names: Vec<&String> = before.kinds.keys().chain(after.kinds.keys()).collect();
    names.sort();
    names.dedup();
    let other = names.into_iter().filter(|kind| of(before, kind) != of(after, kind));
    let told: Vec<String> = other.map(|kind| format!("{kind} {} → {}", of(before, kind), of(after, kind))).collect();
    if told.is_empty() { String::new() } else { format!(" ({})", told.join(", ")) }
}

fn kib(bytes: u64) -> String {
    format!("{} KiB", bytes.div_ceil(1024))
}

/// The text for an answer to the patch: what was tested, on what, and what came out. Tags are for a person to write.
///
/// # Errors
/// What the writer answers.
pub fn reply(review: &Review, harness: &str, out: &mut dyn Write) -> io::Result<()> {
    let mut lines = Vec::new();
    let subject = review.changes.first().map_or("", String::as_str);
    if subject.starts_with('[') {
        lines.push(format!("Subject: Re: {subject}"));
    }
    lines.extend(review.message_id.as_ref().map(|id| format!("In-Reply-To: <{id}>")));
    if !lines.is_empty() {
        lines.push(String::new());
    }
    let mut kernels: Vec<&str> = review.scenarios.iter().filter_map(|it| it.kernel.as_deref()).collect();
    kernels.sort_unstable();
    kernels.dedup();
    let many = review.scenarios.len();
    let what = format!(
        "I ran {many} scenario{} of {harness} without and with this, on {}: each builds a small tree with the kernel's own kbuild, edits it, \
         and compares every incremental build with a clean one.",
        if many == 1 { "" } else { "s" },
        if kernels.is_empty() { "no kernel".to_owned() } else { format!("Linux {}", kernels.join(", ")) }
    );
    lines.extend(wrapped(&what, MAIL_WIDTH));
    let tools: Vec<String> = review.scenarios.first().map_or(Vec::new(), |it| {
        let wanted = ["gcc", "clang", "ld", "make", "pahole"];
        it.toolchain
            .iter()
            .filter(|tool| wanted.contains(&tool.name.as_str()))
            .map(|tool| format!("{} {}", tool.name, tool.version))
            .collect()
    });
    for tool in tools {
        lines.extend(wrapped(&format!("  {tool}"), MAIL_WIDTH));
    }
    for scenario in &review.scenarios {
        lines.push(String::new());
        lines.extend(wrapped(&format!("{}: {}", scenario.id, scenario.title), MAIL_WIDTH));
        for line in body(review, scenario) {
            let depth = line.len() - line.trim_start().len();
            let indent = " ".repeat(depth + 2);
            let told = wrapped(line.trim_start(), MAIL_WIDTH - indent.len());
            lines.extend(told.into_iter().map(|line| format!("{indent}{line}")));
        }
    }
    for line in lines {
        writeln!(out, "{}", clean(line.trim_end()))?;
    }
    Ok(())
}
