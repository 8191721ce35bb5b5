//! Words and lines of a POSIX shell script.

use crate::runner::recipe::Recipe;

/// How wide a line of comments or a command gets.
const WIDTH: usize = 78;

/// A text in single quotes.
pub(super) fn single(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// What the trees are called by in words of commands: where the harness had them, and what stands for that.
#[derive(Debug, Clone)]
pub(in crate::report) struct Places(Vec<(String, &'static str)>);

impl Places {
    /// Shell variables in place of the trees.
    pub(in crate::report) fn variables(recipe: &Recipe) -> Self {
        Self::new(recipe, "$src", "$obj")
    }

    /// These names in place of the trees.
    pub(in crate::report) fn new(recipe: &Recipe, src: &'static str, obj: &'static str) -> Self {
        let mut places = vec![(recipe.src.clone(), src)];
        if recipe.obj != recipe.src {
            places.push((recipe.obj.clone(), obj));
        }
        Self(places)
    }

    /// A word as a shell takes it.
    pub(in crate::report) fn word(&self, word: &str) -> String {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_=./:,+@%".contains(c);
        let named = self.0.iter().find_map(|(place, name)| {
            let at = word.find(place.as_str())?;
            let rest = &word[at + place.len()..];
            // `/build/srcs` is another directory.
            rest.chars().next().is_none_or(|c| !c.is_alphanumeric()).then(|| word.replace(place.as_str(), name))
        });
        match named {
            Some(word) if word.chars().all(|c| plain(c) || c == '$') => format!("\"{word}\""),
            _ if !word.is_empty() && word.chars().all(plain) => word.to_owned(),
            // NAME='value' reads better than 'NAME=value'.
            _ => match word.split_once('=') {
                Some((name, value)) if !name.is_empty() && name.chars().all(plain) => {
                    format!("{name}={}", single(value))
                }
                _ => single(word),
            },
        }
    }
}

/// A script in the making.
pub(super) struct Script {
    text: String,
    places: Places,
    indent: String,
}

impl Script {
    pub(super) fn new(recipe: &Recipe) -> Self {
        Self { text: String::new(), places: Places::variables(recipe), indent: String::new() }
    }

    pub(super) fn text(self) -> String {
        self.text
    }

    /// How deep the lines that follow stand, in tabs.
    pub(super) fn indented(&mut self, depth: usize) {
        self.indent = "\t".repeat(depth);
    }

    pub(super) fn line(&mut self, line: &str) {
        if !line.is_empty() {
            self.text.push_str(&self.indent);
        }
        self.text.push_str(line);
        self.text.push('\n');
    }

    pub(super) fn comment(&mut self, text: &str) {
        for line in crate::report::text::wrapped(text, WIDTH - 2) {
            self.line(&format!("# {line}"));
        }
    }

    pub(super) fn word(&self, word: &str) -> String {
        self.places.word(word)
    }

    pub(super) fn words(&self, words: &[String]) -> String {
        words.iter().map(|word| self.word(word)).collect::<Vec<_>>().join(" ")
    }

    /// A command, over several lines if it is long, and what follows it.
    pub(super) fn command(&mut self, command: &str, or: &str) {
        let lines = crate::report::text::continued(&format!("{}{or}", command.trim_end()), WIDTH, "\t");
        for line in lines {
            self.line(&line);
        }
    }

    /// A head with a list of words, one a line if they are many.
    pub(super) fn list(&mut self, head: &str, words: &[&str], tail: &str) {
        let words: Vec<String> = words.iter().map(|word| self.word(word)).collect();
        let one = format!("{head} {}{tail}", words.join(" "));
        if one.len() <= WIDTH {
            return self.line(&one);
        }
        self.line(&format!("{head} \\"));
        for (at, word) in words.iter().enumerate() {
            let end = if at + 1 == words.len() { tail } else { " \\" };
            self.line(&format!("\t{word}{end}"));
        }
    }

    /// A command that reads a text.
    pub(super) fn here(&mut self, command: &str, text: &str) {
        self.here_then(command, text, "");
    }

    /// The same, and what follows the command: after it, a here-document would be read by that.
    pub(super) fn here_then(&mut self, command: &str, text: &str, then: &str) {
        let mut end = "EOF".to_owned();
        while text.lines().any(|line| line == end) {
            end.push('_');
        }
        self.line(&format!("{command} <<'{end}'{then}"));
        self.text.push_str(text);
        if !text.ends_with('\n') {
            self.text.push('\n');
        }
        self.text.push_str(&end);
        self.text.push('\n');
    }
}
