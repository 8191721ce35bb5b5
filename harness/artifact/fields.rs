//! Files of fields, `Name: value` with further lines indented (deb822(5)): a package's control file, what is told of the
//! header of an .rpm, and `.buildinfo`.

use std::collections::{BTreeMap, BTreeSet};

use super::trees::PartState;

/// The longest that is read by field, in bytes.
pub const LONGEST: u64 = 32 << 20;
/// How many lines are told of one field.
const SHOWN: usize = 200;

/// Whether a file of this name has fields.
#[must_use]
pub fn are_fields(path: &str) -> bool {
    let ends = |end: &str| path == end || path.strip_suffix(end).is_some_and(|before| before.ends_with('/'));
    ends("DEBIAN/control") || ends("RPM/tags") || path.ends_with(".buildinfo")
}

/// Fields in the order in which they are; the value of each by line.
pub type Fields = Vec<(String, Vec<String>)>;

/// Reads the first paragraph; none if it is something else. A clear signature around it (RFC 9580, 7) is not looked at.
#[must_use]
pub fn parse(text: &str) -> Option<Fields> {
    let mut fields: Fields = Vec::new();
    let mut lines = text.lines().peekable();
    if lines.peek().is_some_and(|line| line.starts_with("-----BEGIN PGP SIGNED MESSAGE-----")) {
        // headers of the armour, up to an empty line
        lines.by_ref().find(|line| line.trim().is_empty());
    }
    for line in lines {
        if line.trim().is_empty() {
            if fields.is_empty() { continue } else { break }
        }
        if line.starts_with('#') {
            continue;
        }
        if line.starts_with([' ', '\t']) {
            fields.last_mut()?.1.push(line.trim().to_owned());
            continue;
        }
        let (name, value) = line.split_once(':')?;
        let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic());
        if !is_name {
            return None;
        }
        let value = value.trim();
        fields.push((name.to_owned(), if value.is_empty() { Vec::new() } else { vec![value.to_owned()] }));
    }
    // Which of two is meant cannot be told.
    let names: BTreeSet<&str> = fields.iter().map(|(name, _)| name.as_str()).collect();
    (!fields.is_empty() && names.len() == fields.len()).then_some(fields)
}

/// The lines of a field.
#[must_use]
pub fn get<'f>(fields: &'f Fields, name: &str) -> Option<&'f [String]> {
    fields.iter().find(|(have, _)| have.eq_ignore_ascii_case(name)).map(|(_, lines)| lines.as_slice())
}

/// A field that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Its name.
    pub name: String,
    /// How.
    pub state: PartState,
    /// For people: an entry a line.
    pub lines: Vec<String>,
    /// It says nothing of its own: checksums of what is compared itself.
    pub follows: bool,
}

/// What differs, field by field.
#[must_use]
pub fn compare(a: &Fields, b: &Fields) -> Vec<Change> {
    let mut changes = Vec::new();
    for (name, lines) in a {
        let follows = name.starts_with("Checksums-");
        match get(b, name) {
            Some(other) if other == lines => {}
            Some(other) => {
                let told = values(name, lines, other);
                changes.push(Change { name: name.clone(), state: PartState::Changed, lines: told, follows });
            }
            None => {
                let lines = vec![format!("only in A: {}", lines.join(" "))];
                changes.push(Change { name: name.clone(), state: PartState::OnlyA, lines, follows });
            }
        }
    }
    for (name, lines) in b.iter().filter(|(name, _)| get(a, name).is_none()) {
        let lines = vec![format!("only in B: {}", lines.join(" "))];
        let follows = name.starts_with("Checksums-");
        changes.push(Change { name: name.clone(), state: PartState::OnlyB, lines, follows });
    }
    // Whatever else it says matters more.
    changes.sort_by_key(|change| change.follows);
    changes
}

/// The entries of a field that is a list, by what they are about; none of one that is text.
fn entries(name: &str, lines: &[String]) -> Option<BTreeMap<String, String>> {
    let split = |entry: &str, at: usize| {
        let (key, value) = entry.split_at(at);
        (key.trim().to_owned(), value.trim().to_owned())
    };
    let keyed = |entry: &str| -> (String, String) {
        match name {
            // KEY="value"
            "Environment" => entry.find('=').map_or((entry.to_owned(), String::new()), |at| split(entry, at)),
            // checksum, length, name
            _ if name.starts_with("Checksums-") => {
                let mut words = entry.split_whitespace();
                let (sum, _, file) = (words.next(), words.next(), words.next());
                (file.unwrap_or(entry).to_owned(), sum.unwrap_or_default().to_owned())
            }
            // name (relation version), or as rpm has it
            _ => entry.find(' ').map_or((entry.to_owned(), String::new()), |at| split(entry, at)),
        }
    };
    let commas = matches!(
        name,
        "Depends"
            | "Pre-Depends"
            | "Recommends"
            | "Suggests"
            | "Enhances"
            | "Conflicts"
            | "Breaks"
            | "Replaces"
            | "Provides"
            | "Built-Using"
            | "Static-Built-Using"
            | "Installed-Build-Depends"
    );
    let by_line = matches!(name, "Environment" | "Requires" | "Obsoletes" | "Supplements" | "Build-Tainted-By")
        || name.starts_with("Checksums-");
    if !(commas || by_line) {
        return None;
    }
    let all = lines.iter().flat_map(|line| line.split(if commas { ',' } else { '\n' }));
    let mut found = BTreeMap::new();
    for entry in all.map(str::trim).filter(|entry| !entry.is_empty()) {
        let (key, value) = keyed(entry);
        // `a (>= 1), a (<< 2)`: these are two
        let key = if found.contains_key(&key) { entry.to_owned() } else { key };
        found.insert(key, value);
    }
    Some(found)
}

fn values(name: &str, a: &[String], b: &[String]) -> Vec<String> {
    let mut told = match (entries(name, a), entries(name, b)) {
        (Some(a), Some(b)) => {
            let entry = |key: &str, value: &str| {
                if name == "Environment" { format!("{key}{value}") } else { format!("{key} {value}").trim().to_owned() }
            };
            let bare = |value: &str| {
                let value = value.strip_prefix("(= ").and_then(|value| value.strip_suffix(')')).unwrap_or(value);
                value.strip_prefix('=').unwrap_or(value).to_owned()
            };
            let mut lines = Vec::new();
            for (key, value) in &a {
                match b.get(key) {
                    Some(other) if other == value => {}
                    Some(other) if value.starts_with("(= ") && other.starts_with("(= ") || name == "Environment" => {
                        lines.push(format!("{key}: {} → {}", bare(value), bare(other)));
                    }
                    Some(other) => lines.push(format!("{key}: {value} → {other}")),
                    None => lines.push(format!("- {}", entry(key, value))),
                }
            }
            let added = b.iter().filter(|(key, _)| !a.contains_key(*key));
            lines.extend(added.map(|(key, value)| format!("+ {}", entry(key, value))));
            if lines.is_empty() {
                lines.push("the same entries in another order".to_owned());
            }
            lines
        }
        _ => match (a, b) {
            ([a], [b]) => vec![format!("{a} → {b}")],
            _ => {
                let minus = a.iter().filter(|line| !b.contains(line)).map(|line| format!("- {line}"));
                let plus = b.iter().filter(|line| !a.contains(line)).map(|line| format!("+ {line}"));
                let lines: Vec<String> = minus.chain(plus).collect();
                if lines.is_empty() { vec!["the same lines in another order".to_owned()] } else { lines }
            }
        },
    };
    if told.len() > SHOWN {
        let more = told.len() - SHOWN;
        told.truncate(SHOWN);
        told.push(format!("and {more} more"));
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(a: &str, b: &str) -> Vec<(String, Vec<String>)> {
        let (a, b) = (parse(a).expect("fields"), parse(b).expect("fields"));
        compare(&a, &b).into_iter().map(|change| (change.name, change.lines)).collect()
    }

    #[test]
    fn fields_are_compared_by_what_is_in_them() {
        let a = "Package: x\nVersion: 1\nDepends: kmod, libc6 (>= 2.3), gone\nDescription: short\n long\n .\n";
        let b = "Package: x\nVersion: 2\nDepends: libc6 (>= 2.4), kmod, new (= 1)\nDescription: short\n other\n .\n";
        let lines = |lines: &[&str]| lines.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(
            told(a, b),
            [
                ("Version".to_owned(), lines(&["1 → 2"])),
                ("Depends".to_owned(), lines(&["- gone", "libc6: (>= 2.3) → (>= 2.4)", "+ new (= 1)"])),
                ("Description".to_owned(), lines(&["- long", "+ other"])),
            ]
        );
        let a = "Installed-Build-Depends:\n gcc-12 (= 12.2.0-14),\n make (= 4.3-4.1)\nEnvironment:\n LANG=\"C\"\n";
        let b = "Installed-Build-Depends:\n gcc-12 (= 12.2.0-15),\n make (= 4.3-4.1)\nEnvironment:\n LANG=\"C.UTF-8\"\n TZ=\"UTC\"\n";
        assert_eq!(
            told(a, b),
            [
                ("Installed-Build-Depends".to_owned(), lines(&["gcc-12: 12.2.0-14 → 12.2.0-15"])),
                ("Environment".to_owned(), lines(&["LANG: \"C\" → \"C.UTF-8\"", "+ TZ=\"UTC\""])),
            ]
        );
        assert_eq!(told("A: 1\nB: x\n", "B: x\nC: 2\n").len(), 2);
    }

    #[test]
    fn what_has_no_fields_is_told_from_what_has() {
        let signed = "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\nFormat: 1.0\nSource: x\n\n-----BEGIN PGP SIGNATURE-----\n";
        let fields = parse(signed).expect("fields");
        assert_eq!(get(&fields, "source"), Some(&["x".to_owned()][..]));
        assert_eq!(fields.len(), 2);
        for other in ["", "\n\n", " x\n", "no field", "A: 1\nA: 2\n", ": x\n"] {
            assert_eq!(parse(other), None, "{other:?}");
        }
    }
}
