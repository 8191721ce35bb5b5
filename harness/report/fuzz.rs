//! Fuzzing in lines for people.

use crate::verdict::fuzz::{Found, Fuzz};

/// How many sequences of one fault are named.
const NAMED: usize = 8;

fn number(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// What was tried, and which faults there are.
pub(super) fn lines(fuzz: &Fuzz) -> Vec<String> {
    if !fuzz.listed.is_empty() {
        let mut lines = vec![format!("seed {}: {}", fuzz.seed, number(fuzz.listed.len() as u64, "sequence"))];
        for sequence in &fuzz.listed {
            lines.push(format!("sequence {}", sequence.number));
            lines.extend(sequence.edits.iter().map(|(name, what)| format!("  {name}: {what}")));
        }
        return lines;
    }
    let of = fuzz.asked.filter(|asked| *asked != fuzz.tried).map_or(String::new(), |asked| format!(" of {asked}"));
    let mut lines = vec![format!(
        "fuzzed: {}{of}, {}, seed {}: {} went wrong",
        number(fuzz.tried, "sequence"),
        number(fuzz.made, "edit"),
        fuzz.seed,
        fuzz.wrong
    )];
    let of_edits = [(fuzz.broke, "broke clean builds as well"), (fuzz.void, "could not be made")];
    let told: Vec<String> =
        of_edits.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
    if !told.is_empty() {
        lines.push(format!("  of the edits {}", told.join(", ")));
    }
    if fuzz.known > 0 {
        lines.push(format!("  {} showed what is known", number(fuzz.known, "sequence")));
    }
    lines.extend(fuzz.found.iter().flat_map(found));
    lines
}

fn found(found: &Found) -> Vec<String> {
    // A build as a whole has no name of its own.
    let about: Vec<&str> = found.about.iter().map(String::as_str).filter(|about| !about.is_empty()).collect();
    let about = if about.is_empty() { String::new() } else { format!(" {}", about.join(", ")) };
    let named: Vec<String> = found.sequences.iter().take(NAMED).map(ToString::to_string).collect();
    let more = if found.sequences.len() > NAMED { ", …" } else { "" };
    let seen = match found.sequences.len() {
        0 => "without an edit".to_owned(),
        1 => format!("in sequence {}", named.join(", ")),
        count => format!("in {count} sequences: {}{more}", named.join(", ")),
    };
    let left = match (found.edits, found.of) {
        (_, 0) => String::new(),
        (left, of) if left == of && found.runs == 0 => format!("; {}", number(left as u64, "edit")),
        (left, of) => {
            format!("; {left} of {} left, by {}", number(of as u64, "edit"), number(found.runs as u64, "run"))
        }
    };
    let mut lines = vec![format!("{}{about} — {seen}{left}", found.finding)];
    lines.extend(found.file.as_ref().map(|file| format!("  kbuild-repro run {file}")));
    lines
}
