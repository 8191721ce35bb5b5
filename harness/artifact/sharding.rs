//! Which part of a run a record is, so that the parts can be put together and those that are missing be told.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::runner::pasted;

/// The file of a [`ShardRecord`] in the directory of a run.
pub const FILE: &str = "shard.json";

/// One shard of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ShardRecord {
    /// The version of record files that it is of.
    pub format: u32,
    /// Its number, from 1.
    pub index: u32,
    /// How many shards there are.
    pub count: u32,
    /// The command line of `run` it came from, without the program.
    pub command: Vec<String>,
    /// What decides what a run shows, by option: the same in all shards of a run.
    pub options: BTreeMap<String, String>,
    /// All scenarios of the run, in the order of its report.
    pub cells: Vec<ShardCell>,
}

/// A scenario, or a cell of its matrix, of a run that is divided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ShardCell {
    /// Its id.
    pub id: String,
    /// The shard that runs it, from 1.
    pub shard: u32,
    /// What it says, as the first digits of a SHA-256.
    pub digest: String,
    /// Where its sources come from, as `srctree` or `kernel` has it.
    pub source: String,
}

impl ShardRecord {
    /// The scenarios of a shard.
    pub fn of(&self, shard: u32) -> impl Iterator<Item = &str> {
        self.cells.iter().filter(move |cell| cell.shard == shard).map(|cell| cell.id.as_str())
    }

    /// Whether it has no scenario of its own.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.of(self.index).next().is_none()
    }

    /// Whether it is the same part of the same run, whatever the rest of its command line.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        (self.index, self.count, &self.options, &self.cells) == (other.index, other.count, &other.options, &other.cells)
    }

    /// The command that runs a shard of this run, for a shell. With `--out` its results go beside the others: a directory that is
    /// named by the number of the shard is named by the other's.
    #[must_use]
    pub fn again(&self, shard: u32) -> String {
        let mut words = vec!["kbuild-repro".to_owned()];
        let mut rest = self.command.iter();
        while let Some(word) = rest.next() {
            let (name, value) = match word.split_once('=') {
                Some((name @ ("--shard" | "--out"), value)) => (name, Some(value.to_owned())),
                _ => (word.as_str(), None),
            };
            if name != "--shard" && name != "--out" {
                words.push(word.clone());
                continue;
            }
            let value = value.or_else(|| rest.next().cloned()).unwrap_or_default();
            words.push(name.to_owned());
            words.push(if name == "--shard" { format!("{shard}/{}", self.count) } else { self.beside(&value, shard) });
        }
        pasted(&words)
    }

    /// The directory of another shard.
    fn beside(&self, out: &str, shard: u32) -> String {
        let (dir, name) = out.trim_end_matches('/').rsplit_once('/').map_or(("", out), |(dir, name)| (dir, name));
        let own = self.index.to_string();
        let is_digit = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_digit);
        let whole = |at: &usize| {
            let (bytes, end) = (name.as_bytes(), at + own.len());
            !(*at > 0 && is_digit(bytes.get(at - 1)) || is_digit(bytes.get(end)))
        };
        let name = match name.match_indices(&own).map(|(at, _)| at).find(whole) {
            Some(at) => format!("{}{shard}{}", &name[..at], &name[at + own.len()..]),
            None if shard == self.index => name.to_owned(),
            None => format!("{name}-{shard}"),
        };
        if dir.is_empty() && !out.starts_with('/') { name } else { format!("{dir}/{name}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn again(command: &[&str], shard: u32) -> String {
        let command = command.iter().map(ToString::to_string).collect();
        let record =
            ShardRecord { format: 1, index: 1, count: 12, command, options: BTreeMap::new(), cells: Vec::new() };
        record.again(shard)
    }

    #[test]
    fn the_command_of_another_shard_has_its_number_and_a_directory_of_its_own() {
        let told = again(&["run", "graft/*", "--shard", "auto", "--out", "/srv/1/shard-1", "--durations", "old"], 12);
        assert_eq!(told, "kbuild-repro run 'graft/*' --shard 12/12 --out /srv/1/shard-12 --durations old");
        assert_eq!(again(&["run", "--shard=1/12", "--out=11/21"], 3), "kbuild-repro run --shard 3/12 --out 11/21-3");
        assert_eq!(again(&["run", "--shard", "1/12"], 1), "kbuild-repro run --shard 1/12");
        assert_eq!(
            again(&["run", "--shard", "1/12", "--out", "night"], 1),
            "kbuild-repro run --shard 1/12 --out night"
        );
        assert_eq!(again(&["run", "--shard", "1/12", "--out", "/1/"], 2), "kbuild-repro run --shard 2/12 --out /2");
    }
}
