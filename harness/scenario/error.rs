//! Errors of scenario files: each with its place, what was expected, and a hint.

use std::ops::Range;
use std::sync::Arc;

use miette::{Diagnostic, LabeledSpan, NamedSource, SourceCode};

use super::document::{Document, Key};

/// A file's name and text, shared by the errors in it.
pub type Text = Arc<NamedSource<String>>;

/// One error of a scenario file.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct Problem {
    /// What is wrong, a lower-case fragment with the value in backticks.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// The file's name.
    pub file: String,
    /// Line and column, both from 1.
    pub at: (usize, usize),
    text: Text,
    span: Range<usize>,
    label: String,
    /// Whether it is one of the sources as they are, and not of the scenario alone: another version may not have it.
    pub(crate) of_sources: bool,
}

impl Problem {
    /// An error at byte range `span` of the source `index` of `document`.
    #[must_use]
    pub fn at_span(document: &Document, index: usize, span: Range<usize>, message: impl Into<String>) -> Self {
        Self::in_text(document.text(index), span, message)
    }

    /// An error at byte range `span` of a file's text.
    #[must_use]
    pub fn in_text(source: &Text, span: Range<usize>, message: impl Into<String>) -> Self {
        let text = source.inner();
        // Spans of a parser can end past a text that breaks off; keep them inside and on characters.
        let mut start = span.start.min(text.len());
        while !text.is_char_boundary(start) {
            start -= 1;
        }
        let mut end = span.end.clamp(start, text.len());
        while !text.is_char_boundary(end) {
            end += 1;
        }
        let before = &text[..start];
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
        Self {
            message: message.into(),
            hint: None,
            file: source.name().to_owned(),
            at: (line, column),
            text: Arc::clone(source),
            span: start..end,
            label: "here".into(),
            of_sources: false,
        }
    }

    /// An error at a key; where the key was not written, at the nearest table that was.
    #[must_use]
    pub fn at_key(document: &Document, key: &[Key], message: impl Into<String>) -> Self {
        let (index, span) = document.locate(key);
        Self::at_span(document, index, span, message)
    }

    /// An error of the name of a key, and not of its value.
    #[must_use]
    pub fn at_name(document: &Document, key: &[Key], message: impl Into<String>) -> Self {
        let (index, span) = document.locate_name(key);
        Self::at_span(document, index, span, message)
    }

    /// An error of the file as a whole.
    #[must_use]
    pub fn whole(document: &Document, message: impl Into<String>) -> Self {
        Self::at_span(document, 0, 0..0, message)
    }

    /// The file, and the byte in it.
    pub(super) fn place(&self) -> (&Text, usize) {
        (&self.text, self.span.start)
    }

    /// Says what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Says that it is one of the sources as they are.
    #[must_use]
    pub(crate) fn of_sources(mut self) -> Self {
        self.of_sources = true;
        self
    }

    /// What the mark under the line says, in place of "here".
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }
}

impl Diagnostic for Problem {
    fn help<'a>(&'a self) -> Option<Box<dyn std::fmt::Display + 'a>> {
        self.hint.as_ref().map(|hint| Box::new(hint) as Box<dyn std::fmt::Display>)
    }
    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(&self.text)
    }
    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        Some(Box::new(std::iter::once(LabeledSpan::new_with_span(
            Some(self.label.clone()),
            (self.span.start, self.span.len()),
        ))))
    }
}

/// All errors of a scenario file, in the order of the text.
#[derive(Debug, Clone, Default, thiserror::Error)]
#[error("{} error(s) in the scenario", .0.len())]
pub struct Errors(pub Vec<Problem>);

impl Errors {
    /// The one error `problem`.
    #[must_use]
    pub fn of(problem: Problem) -> Self {
        Self(vec![problem])
    }

    /// `Ok` if there is none.
    ///
    /// # Errors
    /// These, sorted by place.
    pub fn into_result(self) -> Result<(), Self> {
        if self.0.is_empty() { Ok(()) } else { Err(self.sorted()) }
    }

    /// In the order of their places, each once: files that extend the same file have the errors of that file.
    #[must_use]
    pub fn sorted(mut self) -> Self {
        self.0.sort_by(|a, b| (&a.file, a.at).cmp(&(&b.file, b.at)));
        self.0.dedup_by(|a, b| a.file == b.file && a.at == b.at && a.message == b.message);
        self
    }
}
