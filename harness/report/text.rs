//! Text of a bounded width: paragraphs are wrapped, commands continued.

/// Lines of at most `width` columns; a longer word has a line of its own.
pub(super) fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if columns(line) + 1 + columns(word) <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// A shell command in lines of at most `width` columns, broken between words; each but the last ends with a backslash.
/// A word that is longer stays whole, or it would be another.
pub(super) fn continued(command: &str, width: usize, indent: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in words(command) {
        let first = lines.len() == 1;
        let Some(line) = lines.last_mut() else { break };
        let own = if first { "" } else { indent };
        if line.is_empty() || line == own {
            line.push_str(&word);
        } else if columns(line) + 1 + columns(&word) + 2 <= width {
            line.push(' ');
            line.push_str(&word);
        } else {
            line.push_str(" \\");
            lines.push(format!("{indent}{word}"));
        }
    }
    lines
}

/// The words of a command, quotes and all.
fn words(command: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quote = None;
    for c in command.chars() {
        match quote {
            Some(open) if c == open => quote = None,
            None if c == '\'' || c == '"' => quote = Some(c),
            None if c == ' ' => {
                words.push(String::new());
                continue;
            }
            _ => {}
        }
        if let Some(word) = words.last_mut() {
            word.push(c);
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// How wide a line is shown; a tab goes to the next multiple of eight.
pub(super) fn columns(line: &str) -> usize {
    line.chars().fold(0, |at, c| if c == '\t' { (at / 8 + 1) * 8 } else { at + 1 })
}

#[cfg(test)]
mod tests {
    use super::{columns, continued, wrapped};

    #[test]
    fn paragraphs_are_wrapped_and_long_words_stay_whole() {
        assert_eq!(wrapped("a bb  ccc\ndddddddd e", 5), ["a bb", "ccc", "dddddddd", "e"]);
        assert_eq!(wrapped("", 5), [""; 0]);
    }

    #[test]
    fn commands_are_continued_between_words_and_never_within_quotes() {
        assert_eq!(continued("make A='x y  z' modules", 60, "\t"), ["make A='x y  z' modules"]);
        assert_eq!(continued("make A='x y  z' modules", 16, "  "), ["make \\", "  A='x y  z' \\", "  modules"]);
        assert_eq!(columns("\tab"), 10);
    }
}
