//! `[[edit]]`: what changes, and what the build after it must do.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Interrupt;

/// One edit, followed by a build: what changes, and what the build must do.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
// Not serde's `deny_unknown_fields`, which does not go with `flatten`; the schema check denies them.
#[schemars(deny_unknown_fields)]
pub struct Edit {
    /// A name that `undo`, `[[known]]` and `[[expect.finding]]` can refer to; by default `edit-N`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// One line that says what a developer does here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The change.
    #[serde(flatten)]
    pub change: Change,
    /// Further changes of the same edit.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<Change>,
    /// Interrupts the build, which is then made again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interrupt: Option<Interrupt>,
    /// Steps that the build must run, as make prints them: `"CC init/version.o"`, `"BTF [M] *.ko"`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub runs: Vec<String>,
    /// Steps that the build must not run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skips: Vec<String>,
    /// Artifacts that the build must change.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<String>,
    /// Artifacts that the build must leave as they are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keeps: Vec<String>,
}

/// A change of sources, configuration, command line, tools or goal.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
// Not serde's `deny_unknown_fields`, which does not go with `flatten`; the schema check denies them.
#[schemars(deny_unknown_fields)]
pub struct Change {
    /// The file that is changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The tree that `file` is in: `src` (the default) or `obj`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tree: Option<WhichTree>,
    /// Makes this text the file's content; the file may be new.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub write: Option<String>,
    /// Adds this text at the end of the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub append: Option<String>,
    /// Puts this text in, `before` or `after` a text that the file holds once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub insert: Option<String>,
    /// With `insert`: the text before which it goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// With `insert`: the text after which it goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// The exact text that is replaced, `count` times in the file, by `with`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replace: Option<String>,
    /// With `replace`: the new text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub with: Option<String>,
    /// With `replace`: how often the text must be there, by default once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub count: Option<u32>,
    /// Deletes the file, or all files below the directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delete: Option<True>,
    /// Moves the file to this path; as `mv` does it, its time stamp goes with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rename: Option<String>,
    /// Sets the file's mode, in octal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chmod: Option<String>,
    /// Gives the file a new time stamp and nothing else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub touch: Option<True>,
    /// Applies a patch to the source tree: the name of a file beside the scenario, or its text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patch: Option<String>,
    /// Sets Kconfig symbols: `{ FOO = "y" }`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub config: BTreeMap<String, String>,
    /// Sets variables on make's command line.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub vars: BTreeMap<String, String>,
    /// Sets environment variables.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Removes variables of these names from make's command line and from the environment.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unset: Vec<String>,
    /// Puts a program first on `PATH`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool: Option<Tool>,
    /// Sets the goals of this and the following builds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub goals: Option<Vec<String>>,
    /// Sets `-jN` for this and the following builds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 4096))]
    pub jobs: Option<u32>,
    /// Runs this cleaning goal (`clean`, `mrproper`, ...) before the build.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clean: Option<String>,
    /// Takes back the edit of this name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undo: Option<String>,
}

/// A program put first on `PATH`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tool {
    /// The name it is called by, e.g. `pahole`.
    pub name: String,
    /// Its text, a script; or see `path`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub script: Option<String>,
    /// A program of the host, by absolute path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
}

/// The source or the object tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum WhichTree {
    /// The source tree.
    Src,
    /// The object tree.
    Obj,
}

/// `true`; a key that is a plain statement has no other value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "bool", into = "bool")]
pub struct True;

impl TryFrom<bool> for True {
    type Error = &'static str;
    fn try_from(value: bool) -> Result<Self, Self::Error> {
        if value { Ok(Self) } else { Err("only `true` means something here; leave the key out") }
    }
}

impl From<True> for bool {
    fn from(_: True) -> Self {
        true
    }
}

impl JsonSchema for True {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "True".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "boolean", "enum": [true] })
    }
}

impl Edit {
    /// The changes of the edit, in order.
    pub fn changes_of(&self) -> impl Iterator<Item = &Change> {
        // An edit may consist of `also` alone; the empty first change is then nothing.
        std::iter::once(&self.change).filter(|change| **change != Change::default()).chain(&self.also)
    }
}
