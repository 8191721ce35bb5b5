//! Records made by hand, for the tests of what is made of records.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Cursor;

use crate::artifact::record::{BuildRecord, Ended, FORMAT, Mode, Role, ScenarioRecord, Status, ToolRecord};
use crate::artifact::{Artifact, BtfFacts, Digest, describe_reader};

/// A record of the scenario `text`, after a title and the mini tree, with these builds.
pub(crate) fn record(text: &str, builds: Vec<BuildRecord>) -> ScenarioRecord {
    let srctree = if text.contains("[tree]") { "" } else { "[tree]\nsrctree = \"mini\"\n" };
    let text = format!("title = \"a sample\"\n{srctree}{text}");
    let tool = |name: &str, key: &str| ToolRecord {
        name: name.into(),
        path: format!("/usr/bin/{name}"),
        version: format!("{key}.0"),
        key: key.into(),
        sha256: None,
    };
    ScenarioRecord {
        format: FORMAT,
        id: "t/sample".into(),
        file: "scenarios/t/sample.toml".into(),
        matrix: BTreeMap::new(),
        again: "kbuild-repro run scenarios/t/sample.toml --keep".into(),
        scenario: crate::scenario::parse("sample.toml", &text, &()).expect("a valid scenario").scenario,
        kernel: None,
        source: "mini".into(),
        toolchain: vec![tool("gcc", "12"), tool("pahole", "1.24")],
        losses: Vec::new(),
        ended: Ended::Complete,
        wall_ms: 1500,
        builds,
        snapshots: Vec::new(),
        replays: Vec::new(),
        traces: BTreeMap::new(),
        says: Default::default(),
        owners: Default::default(),
        fixes: None,
        confirmations: Default::default(),
    }
}

/// A build by its id (`control/clean`, `edit-1/oracle-noop`) that made these artifacts, and wrote them.
pub(crate) fn build(id: &str, artifacts: &[(&str, &str)]) -> BuildRecord {
    let (place, kind) = id.split_once('/').expect("a build is called `place/kind`");
    let mode = match kind {
        "clean" | "oracle" => Mode::Clean,
        "incremental" => Mode::Incremental,
        "interrupted" => Mode::Interrupted,
        _ => Mode::Noop,
    };
    let role = match (place, kind.starts_with("oracle")) {
        ("experiment", _) => Role::Experiment,
        (_, true) => Role::Oracle,
        _ => Role::Control,
    };
    let edit = place.strip_prefix("edit-").map(|n| n.parse::<usize>().expect("a number") - 1);
    let written = if mode == Mode::Noop { &[] } else { artifacts };
    let mut artifacts: Vec<Artifact> = artifacts.iter().map(|(path, text)| artifact(path, text)).collect();
    artifacts.sort_by(|a, b| a.path.cmp(&b.path));
    BuildRecord {
        interrupted: None,
        varied: Vec::new(),
        id: id.into(),
        role,
        mode,
        edit,
        commands: vec!["make".into()],
        status: Status::Ok,
        preparation: None,
        reused: false,
        wall_ms: 250,
        cpu_ms: 200,
        labels: Vec::new(),
        log: format!("{id}/log"),
        lines: Vec::new(),
        log_cut: false,
        log_tail: Vec::new(),
        traced: false,
        untraced: None,
        boot: None,
        artifacts,
        files: BTreeMap::new(),
        objtree_bytes: 0,
        written: written.iter().map(|(path, _)| (*path).to_owned()).collect(),
    }
}

fn artifact(path: &str, text: &str) -> Artifact {
    let described = describe_reader(&mut Cursor::new(text.as_bytes()), path, None).expect("memory can be read");
    Artifact { mode: 0o644, ..described }
}

/// Changes to a build, in a chain.
impl BuildRecord {
    pub(crate) fn failed(mut self, status: Status) -> Self {
        self.status = status;
        self.log_tail = vec!["make: *** [Makefile:1: all] Error 1".into()];
        self.artifacts.clear();
        self.written.clear();
        self
    }

    pub(crate) fn wrote(mut self, paths: &[&str]) -> Self {
        self.written = paths.iter().map(ToString::to_string).collect::<BTreeSet<_>>();
        self
    }

    pub(crate) fn printed(mut self, labels: &[&str]) -> Self {
        self.labels = labels.iter().map(ToString::to_string).collect();
        self
    }

    pub(crate) fn held(mut self, files: &[(&str, &str)]) -> Self {
        self.files = files.iter().map(|(path, text)| ((*path).to_owned(), Digest::of(text.as_bytes()))).collect();
        self
    }

    /// Gives an artifact BTF of these functions, in so many sections.
    pub(crate) fn btf(mut self, path: &str, sections: u32, functions: &[&str]) -> Self {
        let artifact = self.artifacts.iter_mut().find(|artifact| artifact.path == path).expect("an artifact");
        artifact.btf = Some(BtfFacts {
            sections,
            types: 10,
            functions: u32::try_from(functions.len()).expect("few"),
            function_names: functions.iter().map(ToString::to_string).collect(),
            base: true,
            sha256: Digest::of(functions.join(" ").as_bytes()),
            ..BtfFacts::default()
        });
        self
    }
}

/// Control and experiment with the same artifacts.
pub(crate) fn twice(artifacts: &[(&str, &str)]) -> Vec<BuildRecord> {
    vec![build("control/clean", artifacts), build("experiment/clean", artifacts)]
}
