//! The subject of a mail about findings of one build: what is wrong, and after what.

use std::path::Path;

use super::text::columns;
use crate::artifact::record::{Mode, ScenarioRecord};
use crate::scenario::{Change, FindingName};
use crate::verdict::Finding;

/// How wide a line of a mail gets.
pub(super) const WIDTH: usize = 72;

/// The subject, without `Subject:`, of at most 72 columns: a header can be folded, but is shown in a list.
pub(super) fn subject(record: &ScenarioRecord, findings: &[&Finding]) -> String {
    let prefix = match &record.kernel {
        Some(kernel) => format!("kbuild: {kernel}: "),
        None => format!("{}: ", record.id),
    };
    let long = what(findings, true);
    let short = what(findings, false);
    let after = after(record, findings);
    let candidates = [
        format!("{prefix}{long}{after}"),
        format!("{prefix}{short}{after}"),
        format!("{prefix}{short}"),
        short.clone(),
    ];
    let fits = candidates.iter().find(|subject| columns(subject) <= WIDTH);
    fits.cloned().unwrap_or_else(|| short.chars().take(WIDTH).collect())
}

/// The artifacts, by name where there is one.
fn things(findings: &[&Finding], full: bool) -> String {
    let name = |finding: &Finding| {
        let file = Path::new(&finding.target).file_name().and_then(|name| name.to_str());
        if full { finding.target.clone() } else { file.unwrap_or(&finding.target).to_owned() }
    };
    match findings {
        [one] => name(one),
        several if several.iter().all(|finding| finding.target.ends_with(".ko")) => {
            if full {
                format!("{} modules", several.len())
            } else {
                "modules".to_owned()
            }
        }
        several => format!("{} files", several.len()),
    }
}

/// What is wrong.
fn what(findings: &[&Finding], full: bool) -> String {
    let Some(first) = findings.first() else { return String::new() };
    let things = things(findings, full);
    let several = findings.len() > 1;
    match first.name {
        FindingName::BtfLost if first.summary.starts_with("no .BTF") => {
            // "from modules" is what a list is searched for; how many stands in the text.
            format!("BTF lost from {}", if several { "modules" } else { &things })
        }
        FindingName::BtfLost => format!("BTF of functions lost from {things}"),
        FindingName::BtfDuplicate => format!("{things} with two .BTF sections"),
        FindingName::BtfInvalid => format!("{things} with BTF that the kernel refuses"),
        FindingName::BtfBaseMismatch => format!("{things} with BTF of another vmlinux"),
        FindingName::RebuildStale => format!("{things} not made again"),
        FindingName::RebuildDiverged if several => format!("{things} differ from a clean build"),
        FindingName::RebuildDiverged => format!("{things} differs from a clean build"),
        FindingName::NoopChanged => format!("{things} changed by a second make"),
        FindingName::ReproMismatch if several => format!("{things} differ between two clean builds"),
        FindingName::ReproMismatch => format!("{things} differs between two clean builds"),
        FindingName::RebuildFailed if first.build.contains("noop") => "a second make fails".to_owned(),
        FindingName::RebuildFailed => "an incremental build fails".to_owned(),
        FindingName::ResumeDiverged if several => format!("{things} differ from a clean build"),
        FindingName::ResumeDiverged => format!("{things} differs from a clean build"),
        FindingName::ResumeStuck => "make cannot go on".to_owned(),
        FindingName::RebuildMasked => "an incremental build hides an error".to_owned(),
        FindingName::StepNotIdempotent => format!("{things} changed by running its step again"),
        FindingName::HazardWriteWrite => format!("two steps make {things}"),
        FindingName::HazardOrder => format!("{things} depends on the order of jobs"),
        FindingName::EscapeRead => "a step reads outside of the trees".to_owned(),
        FindingName::EscapeWrite => "a step writes outside of the trees".to_owned(),
        FindingName::EscapeNetwork => "a step wants to reach the network".to_owned(),
        other => other.name().to_owned(),
    }
}

/// After what, with a blank before it.
fn after(record: &ScenarioRecord, findings: &[&Finding]) -> String {
    let Some(first) = findings.first() else { return String::new() };
    let Some(build) = record.builds.iter().find(|build| build.id == first.build) else { return String::new() };
    if build.mode != Mode::Incremental {
        return String::new();
    }
    let edit = build.edit.and_then(|n| record.scenario.edit.get(n));
    let interrupted = build.edit.and_then(|n| {
        let build = record.builds.iter().find(|build| build.edit == Some(n) && build.mode == Mode::Interrupted)?;
        let interrupt = edit?.interrupt.as_ref()?;
        Some((interrupt.by(), build.interrupted.as_deref()?))
    });
    if let Some((by, step)) = interrupted {
        return format!(" after {by} at `{step}`");
    }
    let words = edit.and_then(|edit| edit.changes_of().find_map(change));
    words.map_or(String::new(), |words| format!(" after {words}"))
}

/// What one change of an edit is, as the end of a sentence.
fn change(change: &Change) -> Option<String> {
    if let Some(name) = change.vars.keys().chain(change.env.keys()).chain(&change.unset).next() {
        return Some(format!("{name} changes"));
    }
    if let Some((name, value)) = change.config.iter().next() {
        return Some(format!("CONFIG_{name}={value}"));
    }
    if let Some(tool) = &change.tool {
        return Some(format!("another {}", tool.name));
    }
    if let Some(clean) = &change.clean {
        return Some(format!("make {clean}"));
    }
    if change.goals.is_some() {
        return Some("other goals".to_owned());
    }
    if change.patch.is_some() {
        return Some("a patch".to_owned());
    }
    let file = change.file.as_ref()?;
    Some(match (change.delete.is_some(), change.rename.is_some(), change.touch.is_some()) {
        (true, ..) => format!("{file} is removed"),
        (_, true, _) => format!("{file} is renamed"),
        (.., true) => format!("{file} is touched"),
        _ => format!("{file} changes"),
    })
}
