//! Snapshot files in insta's own format, so that `cargo insta review` works on ours.
//!
//! The format is that of insta 1.49 (`src/snapshot.rs`, `src/content/yaml`): a YAML mapping between two `---`
//! lines, then the contents. insta offers no function to write one outside an assertion, so this module does,
//! and its tests hold it against insta and its reader.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use similar::TextDiff;

use super::ArtifactError;

/// The keys insta writes, in its order; others follow in alphabetical order.
const KEYS: [&str; 8] =
    ["source", "assertion_line", "description", "expression", "info", "input_file", "extension", "snapshot_kind"];
/// How many lines of a diff are shown.
const DIFF_LINES: usize = 200;
/// How many lines from the first difference on are compared. Finding a minimal diff takes time in the square
/// of what differs, and only the beginning is shown.
const DIFF_INPUT: usize = 2000;

/// Why a text is no snapshot file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// The first line is not `---`.
    #[error("no `---` line at the beginning")]
    NoMetadata,
    /// The metadata have no end.
    #[error("no `---` line after the metadata")]
    Unended,
    /// A line of the metadata that is no `key: value`.
    #[error("line {line}: `{text}` is not `key: value`")]
    Metadata {
        /// Line number, from 1.
        line: usize,
        /// The line.
        text: String,
    },
}

impl SnapshotError {
    /// What the reader of the message can do about it.
    pub fn hint(&self) -> Option<&'static str> {
        Some("delete the file and accept the snapshot again")
    }
}

/// A value of the metadata.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// A string.
    Text(String),
    /// Anything else in YAML, as it stands after the colon: numbers, nested mappings, block scalars.
    Raw(String),
}

/// One `.snap` file. Metadata say where it comes from and are never compared.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Snapshot {
    /// insta's are `source`, `assertion_line`, `description`, `expression`, `info`, `input_file`.
    pub metadata: BTreeMap<String, Value>,
    /// The text that is compared, without the newline that ends the file.
    pub contents: String,
}

impl Snapshot {
    /// A snapshot of `contents` with the metadata insta shows in a review: the scenario it comes from, and
    /// what was rendered.
    pub fn new(contents: impl Into<String>, source: &str, expression: &str) -> Self {
        let text = |key: &str, value: &str| (key.to_owned(), Value::Text(value.to_owned()));
        Self {
            metadata: BTreeMap::from([text("source", source), text("expression", expression)]),
            contents: contents.into(),
        }
    }

    /// Reads the text of a `.snap` or `.snap.new` file as insta does.
    ///
    /// # Errors
    /// [`SnapshotError`], also for insta's format from before 2018, which it only reads under protest.
    pub fn parse(text: &str) -> Result<Self, SnapshotError> {
        let mut lines = (1..).zip(text.lines());
        if lines.next().is_none_or(|(_, first)| first.trim_end() != "---") {
            return Err(SnapshotError::NoMetadata);
        }
        let mut entries: Vec<(String, String)> = Vec::new();
        loop {
            let (line, text) = lines.next().ok_or(SnapshotError::Unended)?;
            if text.trim_end() == "---" {
                break;
            }
            let continued = text.is_empty() || text.starts_with([' ', '\t', '-']);
            match (continued, entries.last_mut(), text.split_once(':')) {
                (true, Some((_, value)), _) => {
                    value.push('\n');
                    value.push_str(text);
                }
                (false, _, Some((key, value))) => entries.push((key.to_owned(), value.to_owned())),
                // Nothing to say, in YAML: no metadata, or a comment.
                _ if matches!(text.trim_end(), "" | "{}") || text.starts_with('#') => {}
                _ => {
                    let text = text.chars().take(80).collect();
                    return Err(SnapshotError::Metadata { line, text });
                }
            }
        }
        let contents: Vec<&str> = lines.map(|(_, text)| text).collect();
        Ok(Self {
            metadata: entries.into_iter().map(|(key, raw)| (key, parse_value(raw))).collect(),
            contents: contents.join("\n"),
        })
    }

    /// The text of the file, byte for byte as insta would write it.
    pub fn render(&self) -> String {
        let mut out = String::from("---\n");
        let rest = self.metadata.keys().map(String::as_str).filter(|key| !KEYS.contains(key));
        for key in KEYS.into_iter().chain(rest) {
            match self.metadata.get(key) {
                Some(Value::Text(text)) if needs_quotes(text) => {
                    out.push_str(&format!("{key}: {}\n", quoted(text)));
                }
                Some(Value::Text(text)) => out.push_str(&format!("{key}: {text}\n")),
                Some(Value::Raw(raw)) => out.push_str(&format!("{key}:{raw}\n")),
                None => {}
            }
        }
        if self.metadata.is_empty() {
            out.push_str("{}\n");
        }
        out.push_str("---\n");
        out.push_str(&normalized(&self.contents));
        out.push('\n');
        out
    }

    /// Whether two snapshots are equal to insta: the contents are, after [`normalized`]. Stricter than insta in
    /// one point: it lets files of its first versions pass, whose leading empty lines did not count.
    pub fn contents_eq(&self, other: &Self) -> bool {
        normalized(&self.contents) == normalized(&other.contents)
    }

    /// Reads a file; `None` if there is none.
    ///
    /// # Errors
    /// [`ArtifactError::Io`] or [`ArtifactError::Snapshot`], with the path.
    pub fn read(path: &Path) -> Result<Option<Self>, ArtifactError> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(ArtifactError::io("read", path, e)),
        };
        match Self::parse(&text) {
            Ok(snapshot) => Ok(Some(snapshot)),
            Err(source) => Err(ArtifactError::Snapshot { path: path.to_owned(), source }),
        }
    }

    /// Writes the file whole or not at all, and makes the directories above it.
    ///
    /// # Errors
    /// [`ArtifactError::Io`] with the path.
    pub fn write(&self, path: &Path) -> Result<(), ArtifactError> {
        let write_error = |e| ArtifactError::io("write", path, e);
        let dir = match path.parent() {
            Some(dir) if dir != Path::new("") => dir,
            _ => Path::new("."),
        };
        fs::create_dir_all(dir).map_err(write_error)?;
        // A temporary file is private by default; this one is to be committed, under the user's umask.
        let mut file = tempfile::Builder::new()
            .prefix(".snap-")
            .permissions(Permissions::from_mode(0o666))
            .tempfile_in(dir)
            .map_err(write_error)?;
        file.write_all(self.render().as_bytes()).map_err(write_error)?;
        file.persist(path).map_err(|e| write_error(e.error))?;
        Ok(())
    }
}

/// Where a snapshot waits for review: `a.snap` → `a.snap.new`.
pub fn pending_path(path: &Path) -> PathBuf {
    path.with_extension("snap.new")
}

/// What insta compares: without white space at the end, with `\n` for `\r\n`.
pub fn normalized(contents: &str) -> String {
    contents.trim_end().replace("\r\n", "\n")
}

/// A unified diff with three lines of context; at most 200 lines, then how many more there are.
///
/// Of long texts only the first 2000 lines from the first difference on are compared, which is said at the end.
pub fn text_diff(old: &str, new: &str) -> String {
    let old: Vec<&str> = old.lines().collect();
    let new: Vec<&str> = new.lines().collect();
    let same = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    let end = same + DIFF_INPUT;
    let (old_end, new_end) = (old.len().min(end), new.len().min(end));
    let compared = TextDiff::from_slices(&old[..old_end], &new[..new_end]);
    let mut shown = Vec::new();
    for hunk in compared.unified_diff().context_radius(3).iter_hunks() {
        shown.push(hunk.header().to_string());
        for change in hunk.iter_changes() {
            shown.push(format!("{}{}", change.tag(), change.value()));
        }
    }
    let more = shown.len().saturating_sub(DIFF_LINES);
    shown.truncate(DIFF_LINES);
    if more > 0 {
        shown.push(format!("… {more} more lines"));
    }
    if old_end < old.len() || new_end < new.len() {
        shown.push(format!("… compared up to line {end} only"));
    }
    let mut out = String::new();
    for line in shown {
        out.push_str(&line);
        out.push('\n');
    }
    out
}

/// A value as it stands after the colon.
fn parse_value(raw: String) -> Value {
    let text = raw.trim();
    if raw.contains('\n') {
        return Value::Raw(raw);
    }
    let unquoted = match text.as_bytes() {
        [b'"', .., b'"'] => unquoted(&text[1..text.len() - 1]),
        // What insta would have quoted, had it been a string, is none: `12`, `~`, `true`, `{}`.
        _ if needs_quotes(text) => None,
        _ => Some(text.to_owned()),
    };
    unquoted.map_or(Value::Raw(raw), Value::Text)
}

/// Resolves the escapes that [`quoted`] writes; `None` for others.
fn unquoted(text: &str) -> Option<String> {
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        out.push(match chars.next()? {
            c @ ('"' | '\\' | '/') => c,
            'b' => '\u{8}',
            't' => '\t',
            'n' => '\n',
            'f' => '\u{c}',
            'r' => '\r',
            'u' => {
                let digits: String = chars.by_ref().take(4).collect();
                char::from_u32(u32::from_str_radix(&digits, 16).ok()?)?
            }
            _ => return None,
        });
    }
    Some(out)
}

/// insta's `escape_str`.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\u{c}' => out.push_str("\\f"),
            '\r' => out.push_str("\\r"),
            '\0'..='\x1f' | '\x7f' => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            _ => out.push(c),
        }
    }
    out.push('"');
    out
}

/// insta's `need_quotes`: whether a plain scalar would be read as something else than this string.
fn needs_quotes(text: &str) -> bool {
    const WORDS: [&str; 22] = [
        "yes", "Yes", "YES", "no", "No", "NO", "True", "TRUE", "true", "False", "FALSE", "false", "on", "On", "ON",
        "off", "Off", "OFF", "null", "Null", "NULL", "~",
    ];
    let at_start = |c: char| "&*?|-<>=!%@".contains(c);
    let anywhere = |c: char| {
        ":{}[],#`\"'\\".contains(c)
            || matches!(c, '\0'..='\x06' | '\t' | '\n' | '\r' | '\x0e'..='\x1a' | '\x1c'..='\x1f')
    };
    text.is_empty()
        || text.starts_with([' ', '.'])
        || text.ends_with(' ')
        || text.starts_with("0x")
        || text.starts_with(at_start)
        || text.contains(anywhere)
        || WORDS.contains(&text)
        || text.parse::<i64>().is_ok()
        || text.parse::<f64>().is_ok()
}

#[cfg(test)]
mod tests;
