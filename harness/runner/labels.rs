//! What make printed of its steps. Until steps are traced, this is how it is known which ran.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom};
use std::path::Path;

/// A line of a log is read up to this length; a build can print anything.
const MAX_LINE: u64 = 64 << 10;
/// So many labels of one build are kept.
const MAX_LABELS: usize = 200_000;

/// What make printed.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Printed {
    /// The labels, in order, blanks folded: `  CC [M]  crypto/md5.o` → `CC [M] crypto/md5.o`. Of a log without any,
    /// every line but make's own.
    pub labels: Vec<String>,
    /// The other lines of a log with labels: warnings, and commands of rules that have none.
    pub lines: Vec<String>,
    /// Whether there was more than is read.
    pub cut: bool,
}

/// Reads a log.
///
/// # Errors
/// The log cannot be read.
pub fn labels(log: &Path) -> io::Result<Printed> {
    let mut reader = BufReader::new(File::open(log)?);
    let (mut labels, mut others) = (Vec::new(), Vec::new());
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = reader.by_ref().take(MAX_LINE).read_until(b'\n', &mut line)?;
        let cut = labels.len() + others.len() >= MAX_LABELS;
        if read == 0 || cut {
            // A tree that is not kbuild's prints its commands.
            let cut = cut && read > 0;
            return Ok(match labels.is_empty() {
                true => Printed { labels: others, lines: Vec::new(), cut },
                false => Printed { labels, lines: others, cut },
            });
        }
        let text = String::from_utf8_lossy(&line);
        match label(&text) {
            Some(label) => labels.push(label),
            None => others.extend(command(&text)),
        }
    }
}

/// The label of one line, if kbuild's `quiet_cmd` printed it: two blanks, a word in capitals, blanks,
/// and what it is about (`scripts/Kbuild.include`, `cmd` and `echo-cmd`).
fn label(line: &str) -> Option<String> {
    let rest = line.strip_prefix("  ")?;
    let mut words = rest.split_whitespace();
    let first = words.next()?;
    let capital = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || "_+.-".contains(c);
    if rest.starts_with(' ') || !first.starts_with(|c: char| c.is_ascii_uppercase()) || !first.chars().all(capital) {
        return None;
    }
    let mut label = first.to_owned();
    for word in words {
        label.push(' ');
        label.push_str(word);
    }
    (label.len() > first.len()).then_some(label)
}

/// A line that is neither blank nor make talking about itself.
fn command(line: &str) -> Option<String> {
    let line = line.trim();
    let make = line.starts_with("make:") || line.starts_with("make[");
    (!line.is_empty() && !make).then(|| line.chars().take(200).collect())
}

/// The last `lines` lines of a log.
///
/// # Errors
/// The log cannot be read.
pub fn tail(log: &Path, lines: usize) -> io::Result<Vec<String>> {
    const WINDOW: u64 = 64 << 10;
    let mut file = File::open(log)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(WINDOW)))?;
    let mut bytes = Vec::new();
    file.take(WINDOW).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let mut last: VecDeque<String> = VecDeque::new();
    for line in text.lines() {
        if last.len() == lines {
            last.pop_front();
        }
        last.push_back(line.chars().take(400).collect());
    }
    Ok(last.into())
}

#[cfg(test)]
mod tests {
    use super::label;

    #[test]
    fn quiet_lines_are_labels_and_others_are_not() {
        assert_eq!(label("  CC [M]  crypto/md5.o\n").as_deref(), Some("CC [M] crypto/md5.o"));
        assert_eq!(label("  BTF [M] crypto/md5.ko").as_deref(), Some("BTF [M] crypto/md5.ko"));
        assert_eq!(label("  LD      .tmp_vmlinux1").as_deref(), Some("LD .tmp_vmlinux1"));
        assert_eq!(label("gcc -c x.c"), None);
        assert_eq!(label("    CC x.o"), None);
        assert_eq!(label("  Building modules, stage 2."), None);
        assert_eq!(label("  123 | int x;"), None);
        assert_eq!(label("  OK"), None);
    }
}
