//! Text of a report as a page may have it. [`maud`] escapes what HTML obeys; here is the rest.

use std::borrow::Cow;

use maud::{Markup, html};

/// Text in a line, with all that a reader would not see, or a browser would obey, told by its escape: control characters,
/// what turns the direction of text (a name must not look like another), and what HTML has no way to write
/// (<https://html.spec.whatwg.org/multipage/parsing.html#preprocessing-the-input-stream>).
pub(super) fn name(text: &str) -> Cow<'_, str> {
    if !text.contains(is_odd) {
        return Cow::Borrowed(text);
    }
    let told = |c: char| if is_odd(c) { c.escape_default().to_string() } else { c.to_string() };
    Cow::Owned(text.chars().map(told).collect())
}

/// The same of several lines.
pub(super) fn lines(text: &str) -> String {
    text.split('\n').map(name).collect::<Vec<_>>().join("\n")
}

fn is_odd(c: char) -> bool {
    let turns = matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{61c}');
    let none = matches!(c, '\u{fdd0}'..='\u{fdef}') || u32::from(c) & 0xfffe == 0xfffe;
    (c.is_control() && c != '\t') || turns || none
}

/// As much of a text as there is room for, from its beginning.
pub(super) fn short(text: &str, most: usize) -> String {
    let text = name(text);
    let mut kept: String = text.chars().take(most).collect();
    if kept.len() < text.len() {
        kept.push('…');
    }
    kept
}

/// As much of a path as there is room for: its end tells more than its beginning.
pub(super) fn tail(text: &str, most: usize) -> String {
    let text = name(text);
    let count = text.chars().count();
    if count <= most {
        return text.into_owned();
    }
    std::iter::once('…').chain(text.chars().skip(count - most + 1)).collect()
}

/// A few words as a class.
pub(super) fn slug(text: &str) -> String {
    text.replace(' ', "-")
}

/// Seconds for people.
pub(super) fn seconds(seconds: f64) -> String {
    match seconds {
        s if s < 1.0 => format!("{:.0} ms", s * 1000.0),
        s if s < 100.0 => format!("{s:.1} s"),
        s if s < 6000.0 => format!("{:.1} min", s / 60.0),
        s => format!("{:.1} h", s / 3600.0),
    }
}

/// A line of a difference in the colour of its side: A is what it is compared with.
pub(super) fn sided(line: &str) -> Markup {
    let body = line.trim_start();
    let side = match body.as_bytes().first() {
        Some(b'-') => "a",
        Some(b'+') => "b",
        _ if body.contains("only in A") => "a",
        _ if body.contains("only in B") => "b",
        Some(b'@') => "at",
        _ => "",
    };
    html! {
        @match side {
            "a" => del { (name(line)) },
            "b" => ins { (name(line)) },
            "at" => span.at { (name(line)) },
            _ => (name(line)),
        }
        "\n"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_reader_would_not_see_is_told() {
        assert_eq!(name("a\u{202e}b\u{1b}[0m\n\u{ffff}\u{fdd0}"), "a\\u{202e}b\\u{1b}[0m\\n\\u{ffff}\\u{fdd0}");
        assert_eq!(lines("a\n\tb\r"), "a\n\tb\\r");
        assert_eq!((short("abcdef", 3), tail("abcdef", 3)), ("abc…".into(), "…ef".into()));
    }

    #[test]
    fn lines_have_the_colour_of_their_side() {
        let of = |line: &str| sided(line).into_string();
        assert_eq!(of("    - a <b>"), "<del>    - a &lt;b&gt;</del>\n");
        assert_eq!(of(".BTF: only in B"), "<ins>.BTF: only in B</ins>\n");
        assert_eq!(of("1 type"), "1 type\n");
    }
}
