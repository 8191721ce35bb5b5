//! What of a tree can be edited: from its own files, and from what a clean build left and read.

use std::collections::{BTreeMap, BTreeSet};

use crate::artifact::record::ScenarioRecord;
use crate::scenario::{Scenario, TreeKind};
use crate::tree::kconfig::{self, Index, Type};
use crate::tree::{FileState, Lower, TreePlan};
use crate::verdict::fuzz::generate::Population;
use crate::verdict::fuzz::texts::{self, Kind};

/// A tree of more files than this is a kernel's: of those the ones that a build reads are edited.
const SMALL: usize = 2000;
/// No file that people edit is larger.
const LARGEST: usize = 256 << 10;

/// Files that a build makes and can make again.
const MADE: [&str; 12] =
    [".o", ".ko", ".a", ".cmd", ".mod", ".mod.c", ".order", ".symvers", "vmlinux", "System.map", ".builtin", ".h"];

/// What is there to be edited. `scripts`: of a graft what the build reads of the kernel, too.
pub(super) fn of(
    scenario: &Scenario,
    plan: &TreePlan,
    lower: &dyn Lower,
    record: &ScenarioRecord,
    scripts: bool,
) -> Population {
    let kbuild = plan.kind == TreeKind::Kernel;
    let mut names: BTreeSet<String> = plan.base.files.keys().cloned().collect();
    if scenario.is_graft() {
        // A file of the kernel to which something of ours is added is not ours; what is under arch/ is for its architecture alone.
        names.retain(|path| kbuild && !path.starts_with("scripts/"));
    } else {
        let all = lower.below("").unwrap_or_default();
        if all.len() <= SMALL { names.extend(all) } else { names.extend(read(record)) }
    }
    if scripts {
        names.extend(read(record).filter(|path| texts::is_tool(path) || path == "Makefile"));
    }
    let text = |path: &str| -> Option<String> {
        let bytes = match plan.base.files.get(path) {
            Some(FileState::Present { bytes, .. }) => bytes.to_vec(),
            Some(FileState::Deleted) => return None,
            None if lower.leads_out(path) => return None,
            None => lower.read(path).ok().flatten()?.bytes,
        };
        String::from_utf8(bytes).ok().filter(|text| text.len() <= LARGEST)
    };
    let seen: BTreeSet<String> = read(record).collect();
    let files: BTreeMap<String, String> = names
        .into_iter()
        .filter_map(|path| text(&path).map(|text| (path, text)))
        .filter(|(path, text)| match texts::kind(path, text) {
            None => false,
            // A program or a text that no step reads makes no difference.
            Some(Kind::Script | Kind::Data) => seen.is_empty() || seen.contains(path),
            Some(_) => true,
        })
        .collect();
    let symbols = if kbuild { symbols(scenario, plan, lower, &files) } else { BTreeMap::new() };
    Population {
        objects: objects(record, &files, kbuild),
        symbols,
        goals: plan.base.goals.clone(),
        vars: plan.base.vars.clone(),
        kbuild,
        files,
    }
}

/// What of its sources the clean build read, if it was traced.
fn read(record: &ScenarioRecord) -> impl Iterator<Item = String> {
    let steps = record.traces.get("control/clean").into_iter().flat_map(|steps| &steps.steps);
    let paths: BTreeSet<&str> = steps.flat_map(|step| &step.inputs).map(|input| &*input.path).collect();
    let own = paths.into_iter().filter_map(|path| path.strip_prefix("src/")).map(str::to_owned);
    own.collect::<Vec<_>>().into_iter()
}

/// What the clean build left that it can make again.
fn objects(record: &ScenarioRecord, files: &BTreeMap<String, String>, kbuild: bool) -> BTreeSet<String> {
    let Some(clean) = record.builds.iter().find(|build| build.id == "control/clean") else { return BTreeSet::new() };
    let artifacts = clean.artifacts.iter().map(|artifact| &artifact.path);
    if !kbuild {
        // Which other files it made, and which it came with, nobody says.
        return artifacts.filter(|path| !files.contains_key(*path)).cloned().collect();
    }
    let made = |path: &&String| {
        let name = path.rsplit('/').next().unwrap_or(path);
        let generated = !name.ends_with(".h") || path.starts_with("include/generated/") && name != "autoconf.h";
        let apart = texts::is_tool(path) || path.starts_with("include/config/") || path.contains("tmp");
        MADE.iter().any(|end| name.ends_with(end)) && generated && !apart
    };
    artifacts.chain(clean.files.keys()).filter(made).cloned().collect()
}

/// The symbols that the files name and people can set, with what they are as far as that is known without a build.
fn symbols(
    scenario: &Scenario,
    plan: &TreePlan,
    lower: &dyn Lower,
    files: &BTreeMap<String, String>,
) -> BTreeMap<String, (Type, Option<String>)> {
    let mut index = Index::read(lower);
    if let Some(arch) = scenario.graft_arch() {
        index.split_other_architectures(arch);
    }
    index.merge(Index::of(&plan.base));
    let mut values: BTreeMap<String, String> = BTreeMap::new();
    for (path, text) in files {
        let kind = texts::kind(path, text);
        if kind == Some(Kind::Kconfig) {
            let named = text.lines().filter_map(|line| line.strip_prefix("config "));
            values
                .extend(named.filter_map(|name| Some((name.trim().to_owned(), texts::default_of(text, name.trim())?))));
        }
    }
    let own = |path: &String| path.ends_with("/graft_defconfig");
    for file in plan.base.files.iter().filter(|(path, _)| own(path)).map(|(_, file)| file) {
        if let FileState::Present { bytes, .. } = file {
            values.extend(kconfig::assignments(&String::from_utf8_lossy(bytes)));
        }
    }
    for (_, fragment) in plan.config.iter().flat_map(|config| &config.fragments) {
        values.extend(kconfig::assignments(fragment));
    }
    values.extend(scenario.tree.symbols.clone());
    let named: BTreeSet<&str> = files.values().flat_map(|text| texts::symbols(text)).collect();
    let usable = |name: &&str| {
        // Planted faults are the tree's own; BTF takes a tool that need not be there.
        !name.is_empty() && !name.starts_with("FAULT_") && !name.contains("BTF")
    };
    named
        .into_iter()
        .filter(usable)
        .filter_map(|name| {
            let definitions = index.get(name)?;
            let kind = definitions.iter().find_map(|symbol| symbol.kind)?;
            definitions.iter().any(|symbol| symbol.prompt).then(|| (name.to_owned(), (kind, values.get(name).cloned())))
        })
        .collect()
}
