//! `[experiment]`: what the second clean build does otherwise than the first.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A variation: what the second clean build does otherwise.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Experiment {
    /// Another place for the source tree, e.g. `/build/elsewhere/src`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub srctree: Option<String>,
    /// Another place for the object tree.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objtree: Option<String>,
    /// Another number of jobs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 4096))]
    pub jobs: Option<u32>,
    /// Further environment variables.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Another host name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// Another umask, in octal: `"077"`. Modes of artifacts are then not compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub umask: Option<String>,
    /// Another order of jobs, by chance from this seed: each step begins up to 50 ms late, and a make that can is told
    /// `--shuffle`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shuffle: Option<u32>,
    /// So many processors are seen, at most as many as there are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 4096))]
    pub processors: Option<u32>,
    /// Address spaces are laid out at random (`true`), and each time the same in all other builds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub random_addresses: Option<bool>,
    /// `reversed`: directories of the trees list their names the other way round.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directories: Option<ListOrder>,
    /// Files and directories of the source tree are so many seconds older.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub file_times: Option<u32>,
    /// `later`: the second build begins a minute later than the first, or more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<Start>,
    /// Another group, by number: builds are of this one alone. It takes root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 4_294_967_294_u32))]
    pub group: Option<u32>,
    /// Patterns of the artifacts that must come out otherwise by this; all others must not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<String>,
}

/// Where builds see the source tree if the scenario does not say otherwise.
pub(crate) const SRC: &str = "/build/src";
/// Where they see the object tree.
pub(crate) const OBJ: &str = "/build/obj";
/// The host name that they see.
pub(crate) const HOST_NAME: &str = "repro";
/// The umask of their commands.
pub(crate) const UMASK: u32 = 0o022;

/// What is varied by [`Start::Later`].
pub const LATER: &str = "a start in another minute";

/// When the second build begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Start {
    /// In another minute of the clock than the first.
    Later,
}

/// In which order a directory lists its names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ListOrder {
    /// The last of those that the file system gives at a time comes first.
    Reversed,
}

impl Experiment {
    /// Each thing that is varied by itself, with what it is called.
    #[must_use]
    pub fn variations(&self) -> Vec<(String, Self)> {
        let Self {
            srctree,
            objtree,
            jobs,
            env,
            hostname,
            umask,
            shuffle,
            processors,
            random_addresses,
            directories,
            file_times,
            start,
            group,
            changes: _,
        } = self;
        let mut all: Vec<(String, Self)> = Vec::new();
        if srctree.is_some() {
            all.push(("the place of the source tree".into(), Self { srctree: srctree.clone(), ..Self::default() }));
        }
        if objtree.is_some() {
            all.push(("the place of the object tree".into(), Self { objtree: objtree.clone(), ..Self::default() }));
        }
        if let Some(jobs) = *jobs {
            all.push((format!("jobs = {jobs}"), Self { jobs: Some(jobs), ..Self::default() }));
        }
        for (name, value) in env {
            let env = BTreeMap::from([(name.clone(), value.clone())]);
            all.push((format!("{name}={value}"), Self { env, ..Self::default() }));
        }
        if hostname.is_some() {
            all.push(("the host name".into(), Self { hostname: hostname.clone(), ..Self::default() }));
        }
        if let Some(umask) = umask {
            all.push((format!("umask {umask}"), Self { umask: Some(umask.clone()), ..Self::default() }));
        }
        if shuffle.is_some() {
            all.push(("the order of jobs".into(), Self { shuffle: *shuffle, ..Self::default() }));
        }
        if processors.is_some() {
            all.push(("the number of processors".into(), Self { processors: *processors, ..Self::default() }));
        }
        // Where they are fixed in all builds, nothing is varied.
        if *random_addresses == Some(true) {
            let one = Self { random_addresses: *random_addresses, ..Self::default() };
            all.push(("the layout of address spaces".into(), one));
        }
        if directories.is_some() {
            all.push((
                "the order of names in directories".into(),
                Self { directories: *directories, ..Self::default() },
            ));
        }
        if file_times.is_some() {
            all.push(("the times of source files".into(), Self { file_times: *file_times, ..Self::default() }));
        }
        if let Some(group) = *group {
            all.push((format!("group {group}"), Self { group: Some(group), ..Self::default() }));
        }
        if start.is_some() {
            all.push((LATER.into(), Self { start: *start, ..Self::default() }));
        }
        all
    }

    /// What several vary together.
    #[must_use]
    pub fn together(parts: &[(String, Self)]) -> Self {
        let mut whole = Self::default();
        for (_, part) in parts.iter().cloned() {
            let Self {
                srctree,
                objtree,
                jobs,
                env,
                hostname,
                umask,
                shuffle,
                processors,
                random_addresses,
                directories,
                file_times,
                start,
                group,
                changes: _,
            } = part;
            whole.srctree = srctree.or(whole.srctree);
            whole.objtree = objtree.or(whole.objtree);
            whole.jobs = jobs.or(whole.jobs);
            whole.env.extend(env);
            whole.hostname = hostname.or(whole.hostname);
            whole.umask = umask.or(whole.umask);
            whole.shuffle = shuffle.or(whole.shuffle);
            whole.processors = processors.or(whole.processors);
            whole.random_addresses = random_addresses.or(whole.random_addresses);
            whole.directories = directories.or(whole.directories);
            whole.file_times = file_times.or(whole.file_times);
            whole.start = start.or(whole.start);
            whole.group = group.or(whole.group);
        }
        whole
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_varied_is_taken_apart_and_put_together_again() {
        let text = "srctree = '/a'\nobjtree = '/b'\njobs = 1\nhostname = 'c'\numask = '077'\nshuffle = 7\nprocessors = 1\nrandom_addresses = true\ndirectories = 'reversed'\nfile_times = 60\nstart = 'later'\ngroup = 1\nenv = { TZ = 'X', LC_ALL = 'C.UTF-8' }\n";
        let whole: Experiment = toml::from_str(text).unwrap();
        let parts = whole.variations();
        let names: Vec<&str> = parts.iter().map(|(name, _)| name.as_str()).collect();
        let places = ["the place of the source tree", "the place of the object tree"];
        assert_eq!(
            names,
            [
                &places[..],
                &["jobs = 1", "LC_ALL=C.UTF-8", "TZ=X", "the host name", "umask 077", "the order of jobs"],
                &["the number of processors", "the layout of address spaces", "the order of names in directories"],
                &["the times of source files", "group 1", LATER],
            ]
            .concat()
        );
        assert_eq!(Experiment::together(&parts), whole);
        assert_eq!(Experiment::together(&parts[2..3]), Experiment { jobs: Some(1), ..Experiment::default() });
        assert_eq!(Experiment::default().variations(), []);
    }
}
