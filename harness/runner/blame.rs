//! Whose fault an error of the sandbox's is.

use std::path::Path;

use super::execute::{RunError, RunErrorKind};
use crate::sandbox::{HelperError, HelperErrorKind, scarce_errno};
use crate::scenario::{Scenario, Tool};

/// The error as the run tells it. A place or name that the scenario chose is the scenario's to change, so the key is
/// named.
pub(super) fn blame<'t>(error: &HelperError, scenario: &Scenario, tools: impl Iterator<Item = &'t Tool>) -> RunError {
    let scarce = error.errno.and_then(scarce_errno);
    let (kind, message) = match error.kind {
        HelperErrorKind::HostCannot => (RunErrorKind::HostCannot, error.to_string()),
        HelperErrorKind::Op { .. } | HelperErrorKind::Exec { .. } => (RunErrorKind::Scenario, error.to_string()),
        HelperErrorKind::BadSpec => match key(error, scenario, tools) {
            Some(key) => (RunErrorKind::Scenario, format!("`{key}`: {error}")),
            None => (RunErrorKind::Harness, error.to_string()),
        },
        HelperErrorKind::Internal if scarce.is_some() => (RunErrorKind::HostCannot, error.to_string()),
        HelperErrorKind::Internal => (RunErrorKind::Harness, error.to_string()),
    };
    RunError { hint: error.hint.clone().or(scarce.map(str::to_owned)), ..RunError::new(kind, message) }
}

/// The key of the scenario whose value the error is about.
fn key<'t>(error: &HelperError, scenario: &Scenario, tools: impl Iterator<Item = &'t Tool>) -> Option<String> {
    let mut chosen: Vec<(String, String)> = Vec::new();
    let mut add = |key: &str, value: Option<&str>| {
        chosen.extend(value.map(|value| (key.to_owned(), value.trim_end_matches('/').to_owned())));
    };
    add("tree.at", scenario.tree.at.as_deref());
    scenario.tree.host.iter().for_each(|host| add("tree.host", Some(host)));
    if let Some(experiment) = &scenario.experiment {
        add("experiment.srctree", experiment.srctree.as_deref());
        add("experiment.objtree", experiment.objtree.as_deref());
        add("experiment.hostname", experiment.hostname.as_deref());
    }
    for tool in tools {
        // what is made visible is the directory it is in
        add("tool.path", tool.path.as_deref().and_then(|path| Path::new(path).parent()?.to_str()));
    }
    let quoted =
        |value: &str| error.what.contains(&format!("`{value}`")) || error.what.contains(&format!("`{value}/`"));
    chosen.into_iter().find(|(_, value)| quoted(value)).map(|(key, _)| key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_that_the_scenario_named_is_its_own_fault() {
        let text = "title = \"t\"\n[tree]\nsrctree = \"mini\"\nat = \"/usr/src/x\"\nhost = [\"/opt/none/\", \"/opt/x\"]\n\
                    [experiment]\nhostname = \"odd\"\n";
        let scenario = crate::scenario::parse("t.toml", text, &()).expect("a scenario").scenario;
        let tool = Tool { name: "cc".into(), script: None, path: Some("/none/bin/cc".into()) };
        let told = |kind, what: &str| {
            let error = HelperError { kind, stage: "mount".into(), what: what.into(), errno: Some(2), hint: None };
            let error = blame(&error, &scenario, [&tool].into_iter());
            (error.kind, error.message.split(": ").next().unwrap_or_default().to_owned())
        };
        for (what, key) in [
            ("make mount point `/usr/src/x`", "`tree.at`"),
            ("find `/opt/none/`", "`tree.host`"),
            ("bind `/opt/y` at `/opt/x`", "`tree.host`"),
            ("find `/none/bin`", "`tool.path`"),
            ("set host name `odd`", "`experiment.hostname`"),
        ] {
            assert_eq!(told(HelperErrorKind::BadSpec, what), (RunErrorKind::Scenario, key.to_owned()));
        }
        assert_eq!(told(HelperErrorKind::BadSpec, "find `/build/obj`").0, RunErrorKind::Harness);
        assert_eq!(told(HelperErrorKind::Internal, "find `/opt/x`").0, RunErrorKind::Harness);
        assert_eq!(told(HelperErrorKind::HostCannot, "bind `/opt/x`").0, RunErrorKind::HostCannot);
    }
}
