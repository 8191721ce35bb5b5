//! Two trees compared, for people and as JSON.

use std::collections::BTreeMap;
use std::io::{self, Write};

use console::Style;

use super::terminal::clean;
use crate::artifact::inside::{Detail, thousands};
use crate::verdict::trees::{Compared, Counts, FileResult, Standing};

/// From how many files on that differ it is said which are alike, and in how many ways.
const MANY: usize = 20;
const GROUPS: usize = 20;

/// Writes it for people: what differs, file by file, and the counts.
///
/// # Errors
/// What the writer answers.
pub fn text(compared: &Compared, colour: bool, out: &mut dyn Write) -> io::Result<()> {
    let style = |style: Style, text: &str| style.force_styling(colour).apply_to(text).to_string();
    writeln!(out, "A: {}\nB: {}", clean(&compared.a), clean(&compared.b))?;
    compared.notes.iter().try_for_each(|note| writeln!(out, "note: {}", clean(note)))?;
    let mut ignored = Vec::new();
    for file in &compared.files {
        let how = match file.result {
            Standing::Equal => continue,
            Standing::Ignored => {
                ignored.push(file);
                continue;
            }
            Standing::SignatureOnly => Style::new().yellow(),
            _ => Style::new().red(),
        };
        writeln!(out, "\n{}: {}", style(Style::new().bold(), &name(file)), style(how, &clean(&file.summary)))?;
        let reasons = file.parts.iter().filter_map(|part| Some((part.name.as_str(), part.ignored.as_deref()?)));
        let reasons: BTreeMap<&str, &str> = reasons.collect();
        // What is said in a line needs no second one.
        let is_said = |detail: &&Detail| detail.lines.len() == 1 && file.summary.contains(&detail.lines[0]);
        for detail in file.details.iter().filter(|detail| !is_said(detail)) {
            match reasons.get(detail.part.as_str()) {
                Some(reason) => writeln!(out, "    {}: ignored: {}", clean(&detail.part), clean(reason))?,
                None => self::detail(detail, &mut |text| style(Style::new().cyan(), text), out)?,
            }
        }
    }
    if !ignored.is_empty() {
        writeln!(out, "\nignored:")?;
        for file in ignored {
            let reason = file.reason.as_deref().unwrap_or_default();
            writeln!(out, "    {}: {} ({})", name(file), clean(&file.summary), clean(reason))?;
        }
    }
    let special: Vec<&FileResult> =
        compared.files.iter().filter(|file| file.result == Standing::Equal && !file.summary.is_empty()).collect();
    if !special.is_empty() {
        writeln!(out, "\nequal as far as can be told:")?;
        for file in special {
            writeln!(out, "    {}: {}", name(file), clean(&file.summary))?;
        }
    }
    if !compared.unused_rules.is_empty() {
        let rules: Vec<String> = compared.unused_rules.iter().map(|rule| format!("`{}`", clean(rule))).collect();
        writeln!(out, "\nnothing to ignore for {}", rules.join(", "))?;
    }
    alike(compared, out)?;
    writeln!(out, "\n{}", counts(&compared.summary))
}

/// Of many files, how many differ in the same parts: what stands out is not found among thousands that are alike.
fn alike(compared: &Compared, out: &mut dyn Write) -> io::Result<()> {
    let mut groups: BTreeMap<Vec<&str>, Vec<&FileResult>> = BTreeMap::new();
    for file in &compared.files {
        let parts = file.parts.iter().filter(|part| !part.follows && part.ignored.is_none());
        let mut names: Vec<&str> = parts.map(|part| part.name.as_str()).collect();
        names.sort_unstable();
        if !names.is_empty() && matches!(file.result, Standing::Differs | Standing::SignatureOnly) {
            groups.entry(names).or_default().push(file);
        }
    }
    if groups.values().map(Vec::len).sum::<usize>() < MANY {
        return Ok(());
    }
    let mut groups: Vec<(Vec<&str>, Vec<&FileResult>)> = groups.into_iter().collect();
    groups.sort_by_key(|(_, files)| std::cmp::Reverse(files.len()));
    writeln!(out, "\nalike:")?;
    let (shown, rest) = groups.split_at(groups.len().min(GROUPS));
    for (names, files) in shown {
        let first = files.first().map_or(String::new(), |file| clean(&file.path).into_owned());
        let names = clean(&names.join(", ")).into_owned();
        match files.len() {
            1 => writeln!(out, "    1 file differs in {names}: {first}")?,
            n => writeln!(out, "    {} files differ in {names}; the first is {first}", thousands(n as u64))?,
        }
    }
    if !rest.is_empty() {
        writeln!(out, "    and {} in other parts", thousands(rest.iter().map(|(_, files)| files.len() as u64).sum()))?;
    }
    Ok(())
}

fn name(file: &FileResult) -> String {
    match &file.path_b {
        Some(other) => format!("{} and {}", clean(&file.path), clean(other)),
        None => clean(&file.path).into_owned(),
    }
}

/// A part with one line has it beside its name, with more below.
fn detail(detail: &Detail, style: &mut dyn FnMut(&str) -> String, out: &mut dyn Write) -> io::Result<()> {
    let part = style(&clean(&detail.part));
    match detail.lines.as_slice() {
        [line] => writeln!(out, "    {part}: {}", clean(line)),
        lines => {
            writeln!(out, "    {part}:")?;
            lines.iter().try_for_each(|line| writeln!(out, "        {}", clean(line)))
        }
    }
}

/// `5,500 files: 5,497 equal, 3 differ`.
#[must_use]
pub fn counts(counts: &Counts) -> String {
    let all = [
        (counts.equal, "equal"),
        (counts.differ, if counts.differ == 1 { "differs" } else { "differ" }),
        (counts.signature_only, "equal but for the module signature"),
        (counts.only_a, "only in A"),
        (counts.only_b, "only in B"),
        (counts.ignored, "ignored"),
        (counts.unreadable, "not readable"),
    ];
    let mut words: Vec<String> =
        all.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{} {what}", thousands(*n as u64))).collect();
    if words.is_empty() {
        words.push("nothing was compared".to_owned());
    }
    let plural = if counts.files == 1 { "" } else { "s" };
    let parts = match counts.ignored_parts {
        0 => String::new(),
        1 => "; 1 part ignored".to_owned(),
        n => format!("; {} parts ignored", thousands(n as u64)),
    };
    format!("{} file{plural}: {}{parts}", thousands(counts.files as u64), words.join(", "))
}

/// Writes it as one JSON document.
///
/// # Errors
/// What the writer answers.
pub fn json(compared: &Compared, out: &mut dyn Write) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, compared)?;
    out.write_all(b"\n")
}
