//! The published JSON schema, and the check of a document against it.
//!
//! A general JSON-schema validator has no notion of where a value was written and words its errors
//! for machines; this one knows only the part of JSON Schema 2020-12 that `schemars` writes for our
//! types (`$ref`, `anyOf`/`oneOf`, `type`, `enum`, `const`, `properties`, `required`,
//! `additionalProperties`, `items`, `minimum`, `maximum`) and fails loudly on anything else.

use std::sync::OnceLock;

use serde_json::Value as Json;

use super::document::{Document, Entry, Key, Node, Value};
use super::error::{Errors, Problem};
use super::{FindingName, Scenario};

/// The JSON schema of scenario files, as published.
#[must_use]
pub fn json_schema() -> &'static Json {
    static SCHEMA: OnceLock<Json> = OnceLock::new();
    SCHEMA.get_or_init(|| schemars::schema_for!(Scenario).to_value())
}

/// Checks every value of the document. What is left of it when all that is wrong is taken out, and what is
/// missing is filled in, is a scenario; where that was done the document is marked as damaged.
pub(super) fn check(document: &mut Document) -> (Json, Errors) {
    let mut checker =
        Checker { root: json_schema(), document, path: Vec::new(), mends: Vec::new(), errors: Errors::default() };
    checker.node(json_schema(), &document.root, "");
    let Checker { mends, errors, .. } = checker;
    let mut json = document.to_json();
    for mend in &mends {
        mend.apply(&mut json);
        document.fill(&mend.path);
    }
    (json, errors)
}

struct Checker<'a> {
    root: &'a Json,
    document: &'a Document,
    /// Where the value that is looked at stands.
    path: Vec<Key>,
    mends: Vec<Mend>,
    errors: Errors,
}

/// What makes a document fit the schema again.
struct Mend {
    path: Vec<Key>,
    /// The value to put there; without one the key is taken out.
    value: Option<Json>,
}

impl Mend {
    fn apply(&self, json: &mut Json) {
        let Some((last, parents)) = self.path.split_last() else { return };
        let mut at = json;
        for key in parents {
            let next = match key {
                Key::Name(name) => at.get_mut(name),
                Key::Index(index) => at.get_mut(*index),
            };
            // An earlier mend may have taken out what this one is in.
            let Some(next) = next else { return };
            at = next;
        }
        match (last, &self.value, at) {
            (Key::Name(name), Some(value), Json::Object(table)) => {
                table.insert(name.clone(), value.clone());
            }
            (Key::Name(name), None, Json::Object(table)) => {
                table.remove(name);
            }
            (Key::Index(index), value, Json::Array(items)) => {
                if let Some(item) = items.get_mut(*index) {
                    *item = value.clone().unwrap_or_default();
                }
            }
            _ => {}
        }
    }
}

impl<'a> Checker<'a> {
    fn resolve(&self, mut schema: &'a Json) -> &'a Json {
        // Bounded: our schema has no reference to itself.
        for _ in 0..16 {
            let Some(reference) = schema.get("$ref").and_then(Json::as_str) else { break };
            match reference.strip_prefix('#').and_then(|pointer| self.root.pointer(pointer)) {
                Some(target) => schema = target,
                None => break,
            }
        }
        schema
    }

    /// Looks at what stands below `key`.
    fn within(&mut self, key: Key, schema: &'a Json, node: &Node, name: &str) {
        self.path.push(key);
        self.node(schema, node, name);
        self.path.pop();
    }

    /// A value that cannot stay: required keys and items get one that fits, all else is taken out.
    fn wrong(&mut self, schema: &'a Json, node: &Node, name: &str, message: String, hint: Option<String>) {
        let value = self.placeholder(schema, 0);
        self.mends.push(Mend { path: self.path.clone(), value: Some(value) });
        match schema.get("items") {
            // A parser that lost its way makes one table of `[[edit]]`.
            Some(items) if self.document.incomplete && matches!(node.value, Value::Table(_)) => {
                self.within(Key::Index(0), items, node, name);
            }
            _ => self.problem(node, message, hint),
        }
    }

    /// The plainest value that fits a schema.
    fn placeholder(&self, schema: &'a Json, depth: usize) -> Json {
        let schema = self.resolve(schema);
        if depth > 16 {
            return Json::Null;
        }
        if let Some(choices) = schema.get("anyOf").or_else(|| schema.get("oneOf")).and_then(Json::as_array) {
            let values: Vec<Json> = choices.iter().map(|choice| self.placeholder(choice, depth + 1)).collect();
            // An optional value is best left out.
            return values.iter().find(|value| value.is_null()).or(values.first()).cloned().unwrap_or_default();
        }
        if let Some(allowed) = allowed_values(schema) {
            return allowed.first().map_or(Json::Null, |value| (*value).clone());
        }
        match expected_types(schema) {
            Some(types) if types.contains(&"null") => Json::Null,
            Some(types) => match types.first().copied() {
                Some("string") => Json::from(""),
                Some("integer" | "number") => Json::from(bound(schema, "minimum").unwrap_or(0)),
                Some("boolean") => Json::from(false),
                Some("array") => Json::Array(Vec::new()),
                Some("object") => {
                    let required = schema.get("required").and_then(Json::as_array).into_iter().flatten();
                    let required = required.filter_map(Json::as_str).filter_map(|name| {
                        let property = schema.get("properties")?.get(name)?;
                        Some((name.to_owned(), self.placeholder(property, depth + 1)))
                    });
                    Json::Object(required.collect())
                }
                _ => Json::Null,
            },
            None => Json::Null,
        }
    }

    fn problem(&mut self, node: &Node, message: String, hint: Option<String>) {
        let mut problem = Problem::at_span(self.document, node.source, node.span.clone(), message);
        problem.hint = hint;
        self.errors.0.push(problem);
    }

    fn node(&mut self, schema: &'a Json, node: &Node, name: &str) {
        let schema = self.resolve(schema);
        if let Some(choices) = schema.get("anyOf").or_else(|| schema.get("oneOf")).and_then(Json::as_array) {
            return self.any_of(schema, choices, node, name);
        }
        if let Some(expected) = expected_types(schema)
            && !expected.iter().any(|expected| is_of_type(node, expected))
        {
            let message = format!("`{name}` must be {}, not {}", type_list(&expected), type_of(node));
            return self.wrong(schema, node, name, message, described(schema));
        }
        if let Some(allowed) = allowed_values(schema) {
            return self.one_of(schema, &allowed, node, name);
        }
        match &node.value {
            Value::Table(entries) => self.table(schema, node, entries, name),
            Value::Array(items) => {
                if let Some(item_schema) = schema.get("items") {
                    for (index, item) in items.iter().enumerate() {
                        self.within(Key::Index(index), item_schema, item, name);
                    }
                }
            }
            Value::Integer(number) => {
                let (low, high) = (bound(schema, "minimum"), bound(schema, "maximum"));
                if low.is_some_and(|low| *number < low) || high.is_some_and(|high| *number > high) {
                    let range = match (low, high) {
                        (Some(low), Some(high)) => format!("{low} to {high}"),
                        (Some(low), None) => format!("{low} or more"),
                        (None, Some(high)) => format!("at most {high}"),
                        (None, None) => String::new(),
                    };
                    self.wrong(
                        schema,
                        node,
                        name,
                        format!("`{name}` must be {range}, not {number}"),
                        described(schema),
                    );
                }
            }
            _ => {}
        }
    }

    fn table(&mut self, schema: &'a Json, node: &Node, entries: &[Entry], name: &str) {
        let none = serde_json::Map::new();
        let properties = schema.get("properties").and_then(Json::as_object).unwrap_or(&none);
        let closed = schema.get("additionalProperties").or_else(|| schema.get("unevaluatedProperties"));
        for entry in entries {
            if let Some(property) = schema.get("properties").and_then(|all| all.get(&entry.name)) {
                self.within(Key::from(entry.name.as_str()), property, &entry.node, &entry.name);
            } else if let Some(other) = closed.filter(|other| other.is_object()) {
                self.within(Key::from(entry.name.as_str()), other, &entry.node, &entry.name);
            } else if closed == Some(&Json::Bool(false)) {
                let place = if name.is_empty() { "at the top".to_owned() } else { format!("in `{name}`") };
                let hint = match nearest(&entry.name, properties.keys().map(String::as_str)) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("known here: {}", properties.keys().cloned().collect::<Vec<_>>().join(", ")),
                };
                let problem = Problem::at_span(
                    self.document,
                    entry.source,
                    entry.name_span.clone(),
                    format!("unknown key `{}` {place}", entry.name),
                );
                self.errors.0.push(problem.hint(hint).label("unknown key"));
                self.mends.push(Mend { path: self.child(&entry.name), value: None });
            }
        }
        for required in schema.get("required").and_then(Json::as_array).into_iter().flatten() {
            let required = required.as_str().unwrap_or_default();
            if entries.iter().all(|entry| entry.name != required) {
                let value = schema.get("properties").and_then(|all| all.get(required));
                let value = value.map(|property| self.placeholder(property, 0));
                self.mends.push(Mend { path: self.child(required), value });
                if self.document.incomplete {
                    // It may stand in what could not be read.
                    continue;
                }
                let place = if name.is_empty() { "the scenario".to_owned() } else { format!("`{name}`") };
                let hint = properties.get(required).and_then(described);
                self.problem(node, format!("{place} lacks the key `{required}`"), hint);
            }
        }
    }

    fn child(&self, name: &str) -> Vec<Key> {
        self.path.iter().cloned().chain([Key::from(name)]).collect()
    }

    /// The alternatives of an untagged choice (`string | list`, `X | null`, documented enum values).
    fn any_of(&mut self, schema: &'a Json, choices: &'a [Json], node: &Node, name: &str) {
        let choices: Vec<&Json> = choices.iter().map(|choice| self.resolve(choice)).collect();
        let constants: Vec<&Json> = choices.iter().filter_map(|choice| allowed_values(choice)).flatten().collect();
        if !constants.is_empty() && matches!(node.value, Value::String(_)) {
            return self.one_of(schema, &constants, node, name);
        }
        let fitting = choices.iter().find(|choice| {
            expected_types(choice).is_none_or(|types| types.iter().any(|expected| is_of_type(node, expected)))
        });
        if let Some(choice) = fitting {
            return self.node(choice, node, name);
        }
        let types: Vec<&str> =
            choices.iter().filter_map(|choice| expected_types(choice)).flatten().filter(|t| *t != "null").collect();
        let message = format!("`{name}` must be {}, not {}", type_list(&types), type_of(node));
        self.wrong(schema, node, name, message, described(schema));
    }

    fn one_of(&mut self, schema: &'a Json, allowed: &[&Json], node: &Node, name: &str) {
        let written = super::document::Document::json_of(node);
        if allowed.contains(&&written) {
            return;
        }
        let words: Vec<String> = allowed.iter().map(|value| shown(value)).collect();
        let text = shown(&written);
        let near = nearest(&text, words.iter().map(String::as_str));
        let hint = match near {
            Some(near) => format!("did you mean `{near}`? possible: {}", words.join(", ")),
            None => format!("possible: {}", words.join(", ")),
        };
        let what = if FindingName::ALL.iter().any(|finding| words.iter().any(|word| word == finding.name())) {
            format!("no finding is called `{text}`")
        } else {
            format!("`{name}` cannot be `{text}`")
        };
        self.wrong(schema, node, name, what, Some(hint));
    }
}

fn shown(value: &Json) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn bound(schema: &Json, key: &str) -> Option<i64> {
    schema.get(key).and_then(Json::as_i64)
}

fn described(schema: &Json) -> Option<String> {
    schema.get("description").and_then(Json::as_str).map(|text| text.replace('\n', " "))
}

fn expected_types(schema: &Json) -> Option<Vec<&str>> {
    match schema.get("type")? {
        Json::String(one) => Some(vec![one.as_str()]),
        Json::Array(many) => Some(many.iter().filter_map(Json::as_str).collect()),
        _ => None,
    }
}

fn allowed_values(schema: &Json) -> Option<Vec<&Json>> {
    if let Some(constant) = schema.get("const") {
        return Some(vec![constant]);
    }
    schema.get("enum").and_then(Json::as_array).map(|values| values.iter().filter(|v| !v.is_null()).collect())
}

fn is_of_type(node: &Node, expected: &str) -> bool {
    matches!(
        (&node.value, expected),
        (Value::String(_), "string")
            | (Value::Integer(_), "integer" | "number")
            | (Value::Float(_), "number")
            | (Value::Bool(_), "boolean")
            | (Value::Array(_), "array")
            | (Value::Table(_), "object")
    )
}

fn type_of(node: &Node) -> &'static str {
    match node.value {
        Value::String(_) => "a string",
        Value::Integer(_) => "an integer",
        Value::Float(_) => "a number with a fraction or out of range",
        Value::Bool(_) => "a boolean",
        Value::Datetime(_) => "a date",
        Value::Array(_) => "an array",
        Value::Table(_) => "a table",
    }
}

fn type_list(types: &[&str]) -> String {
    let words: Vec<&str> = types
        .iter()
        .filter(|t| **t != "null")
        .map(|t| match *t {
            "string" => "a string",
            "integer" => "an integer",
            "number" => "a number",
            "boolean" => "a boolean",
            "array" => "an array",
            "object" => "a table",
            other => other,
        })
        .collect();
    words.join(" or ")
}

/// The candidate nearest to a mistyped word, if one is near.
pub(crate) fn nearest<'w>(word: &str, candidates: impl Iterator<Item = &'w str>) -> Option<&'w str> {
    candidates
        .map(|candidate| (similar::TextDiff::from_chars(word, candidate).ratio(), candidate))
        .filter(|(ratio, _)| *ratio >= 0.7)
        .max_by(|a, b| a.0.total_cmp(&b.0).then(b.1.cmp(a.1)))
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The checker knows only some keywords; a type that needs another must fail here, not be unchecked.
    #[test]
    fn the_schema_uses_only_keywords_the_checker_knows() {
        const KNOWN: &[&str] = &[
            "$schema",
            "$defs",
            "$ref",
            "title",
            "description",
            "default",
            "type",
            "properties",
            "required",
            "additionalProperties",
            "unevaluatedProperties",
            "items",
            "enum",
            "const",
            "anyOf",
            "oneOf",
            "minimum",
            "maximum",
            "format",
        ];
        fn walk(schema: &Json, unknown: &mut Vec<String>) {
            let Some(object) = schema.as_object() else { return };
            for (key, value) in object {
                match key.as_str() {
                    "properties" | "$defs" => {
                        value.as_object().into_iter().flatten().for_each(|(_, s)| walk(s, unknown))
                    }
                    "items" | "additionalProperties" => walk(value, unknown),
                    "anyOf" | "oneOf" => value.as_array().into_iter().flatten().for_each(|s| walk(s, unknown)),
                    key if KNOWN.contains(&key) => {}
                    key => unknown.push(key.to_owned()),
                }
            }
        }
        let mut unknown = Vec::new();
        walk(json_schema(), &mut unknown);
        assert!(unknown.is_empty(), "{unknown:?}");
    }

    #[test]
    fn every_table_is_closed_or_says_what_its_values_are() {
        fn walk(schema: &Json, at: &str, open: &mut Vec<String>) {
            let Some(object) = schema.as_object() else { return };
            if object.contains_key("properties")
                && object.get("additionalProperties").or_else(|| object.get("unevaluatedProperties"))
                    != Some(&Json::Bool(false))
            {
                open.push(at.to_owned());
            }
            for (key, value) in object {
                match value {
                    Json::Array(items) => items.iter().for_each(|item| walk(item, &format!("{at}/{key}"), open)),
                    value => walk(value, &format!("{at}/{key}"), open),
                }
            }
        }
        let mut open = Vec::new();
        walk(json_schema(), "", &mut open);
        assert!(open.is_empty(), "{open:?}");
    }
}
