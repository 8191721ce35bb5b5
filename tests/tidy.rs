//! What the compiler does not check: layering, published schemas, planted faults for every finding, tidiness.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use kbuild_repro::cli::SelectArgs;
use kbuild_repro::cli::host::Host;
use kbuild_repro::cli::load::{self, Ready};
use kbuild_repro::cli::snapshots;
use kbuild_repro::scenario::{Edit, FindingName};

/// The stages, each of which may import those before it.
const STAGES: &[&str] = &["scenario", "tree", "sandbox", "trace", "runner", "artifact", "verdict", "report"];

/// Findings without a scenario that plants them, and where they are tested instead.
const NOT_PLANTED: &[(FindingName, &str)] = &[
    (FindingName::DepMissing, "is found by `audit`, not by a run: tests/cli/audit.rs"),
    (FindingName::SnapshotUnreferenced, "is about all scenarios, not one: tests/cli/records.rs"),
];

/// The most lines a source file may have: a file is read on its own.
const LINES: usize = 700;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The Rust files below a directory, by path relative to the root, sorted.
fn sources(dir: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut open = vec![root().join(dir)];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(&dir).expect("a directory of the repository") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root()).expect("below the root").display().to_string();
                found.insert(name, fs::read_to_string(&path).expect("a source file is UTF-8"));
            }
        }
    }
    found
}

/// The lines of a source file without comments, numbered from 1.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let code = |line: &'_ str| line.find("//").map_or(line.len(), |at| at);
    (1..).zip(text.lines()).map(move |(number, line)| (number, &line[..code(line)]))
}

/// The identifiers at the top of the crate that a line of code names: `crate::x`, `crate::{x, y::z}`.
fn top_level(line: &str, depth: usize) -> Vec<String> {
    let identifier = |text: &str| -> String { text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect() };
    let climb = "super::".repeat(depth);
    let mut names = Vec::new();
    for prefix in ["crate::", climb.as_str()] {
        for (at, _) in line.match_indices(prefix) {
            let rest = &line[at + prefix.len()..];
            match rest.strip_prefix('{') {
                // Only the first name of each item: `{artifact::record, tree}`.
                Some(group) => names.extend(
                    group.split(['}', ';']).next().unwrap_or("").split(',').map(|item| identifier(item.trim())),
                ),
                None => names.push(identifier(rest)),
            }
        }
    }
    names
}

#[test]
fn imports_of_the_top_are_seen_however_they_are_written() {
    assert_eq!(top_level("use crate::{artifact::record, tree};", 2), ["artifact", "tree"]);
    assert_eq!(top_level("let x = crate::verdict::judge(&crate::cli::x());", 2), ["verdict", "cli"]);
    assert_eq!(top_level("use super::super::report::Report;", 2), ["report"]);
    assert_eq!(top_level("use super::slots::Pool;", 2), [""; 0]);
}

#[test]
fn stages_import_only_leftwards() {
    let mut wrong = Vec::new();
    for (file, text) in sources("harness") {
        let parts: Vec<&str> = file.trim_end_matches(".rs").split('/').skip(1).collect();
        let Some(rank) = STAGES.iter().position(|stage| Some(stage) == parts.first()) else {
            assert!(["lib", "main", "cli"].contains(&parts[0]), "`{file}` is in no stage");
            continue;
        };
        // An exported macro is at the top of the crate, wherever it is written.
        let allowed = |name: &str| STAGES[..=rank].contains(&name) || name == "key_path" || name == "self";
        let is_stage = |name: &str| STAGES.contains(&name) || name == "cli";
        // `use` groups can go over several lines.
        let joined: String = code(&text).map(|(_, line)| line.trim()).collect::<Vec<_>>().join(" ");
        for statement in joined.split_inclusive(';') {
            for name in top_level(statement, parts.len()) {
                let climbed = !statement.contains("crate::");
                if !allowed(&name) && (!climbed || is_stage(&name)) {
                    wrong.push(format!(
                        "{file}: `{name}` in `{}`",
                        statement.trim().chars().take(80).collect::<String>()
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "imports to the right or of the top:\n{}", wrong.join("\n"));
}

#[test]
fn unsafe_code_is_in_the_sandbox_and_the_tracer_alone() {
    let has_unsafe =
        |line: &str| ["unsafe {", "unsafe fn", "unsafe impl", "unsafe extern"].iter().any(|u| line.contains(u));
    let mut wrong = Vec::new();
    for (file, text) in sources("harness") {
        if !file.starts_with("harness/sandbox") && !file.starts_with("harness/trace/ptrace") {
            wrong.extend(
                code(&text).filter(|(_, line)| has_unsafe(line)).map(|(n, line)| format!("{file}:{n}: {line}")),
            );
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn nothing_is_left_to_do_and_the_library_does_not_print() {
    let mut wrong = Vec::new();
    for (file, text) in sources("harness") {
        for (number, line) in code(&text) {
            for word in ["todo!", "unimplemented!", "println!(", "print!(", "dbg!("] {
                // `eprintln!` ends like `println!`, and is what `cli` says on standard error.
                let found = line.find(word).is_some_and(|at| !line[..at].ends_with('e'));
                if found {
                    wrong.push(format!("{file}:{number}: {}", line.trim()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What is drawn by chance has to come from one row of numbers, of which there is a test.
#[test]
fn the_finaliser_of_splitmix64_stands_once() {
    let factor = concat!("0xbf58_476d", "_1ce4_e5b9");
    let all = ["harness", "tests", "benches"].into_iter().flat_map(sources);
    let with: Vec<String> = all.filter(|(_, text)| text.contains(factor)).map(|(file, _)| file).collect();
    assert_eq!(with, ["harness/trace/splitmix.rs"]);
}

#[test]
fn files_can_be_read_on_their_own() {
    let all = sources("harness").into_iter().chain(sources("tests"));
    let long: Vec<String> = all
        .map(|(file, text)| (file, text.lines().count()))
        .filter(|(_, lines)| *lines >= LINES)
        .map(|(file, lines)| format!("{file}: {lines} lines"))
        .collect();
    assert!(long.is_empty(), "{LINES} lines or more:\n{}", long.join("\n"));
}

#[test]
fn the_licences_are_there() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).expect("Cargo.toml");
    assert!(manifest.contains("license = \"MIT OR Apache-2.0\""));
    let has = |file: &str, words: &str| fs::read_to_string(root().join(file)).is_ok_and(|text| text.contains(words));
    assert!(has("LICENSE-MIT", "Permission is hereby granted"));
    assert!(has("LICENSE-APACHE", "Apache License"));
}

fn kbuild_repro(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_kbuild-repro")).args(arguments).output().expect("it starts");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

#[test]
fn the_published_schemas_are_current() {
    let schemas = [
        (&["schema"][..], "scenarios/schema.json"),
        (&["schema", "report"][..], "harness/report/report.schema.json"),
        (&["schema", "history"][..], "harness/report/history.schema.json"),
    ];
    for (arguments, file) in schemas {
        let published = fs::read_to_string(root().join(file)).unwrap_or_default();
        assert!(
            published == kbuild_repro(arguments),
            "`{file}` is not what the types say; write it again: cargo run -- {} > {file}",
            arguments.join(" ")
        );
    }
}

#[test]
fn the_readme_lists_the_subcommands() {
    let help = kbuild_repro(&["--help"]);
    let commands = help.split("Commands:").nth(1).and_then(|rest| rest.split("Options:").next()).expect("commands");
    // A line that goes on is indented further.
    let commands: BTreeSet<&str> = commands
        .lines()
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .collect();
    assert!(commands.contains("run"), "{help}");
    let readme = fs::read_to_string(root().join("README.md")).expect("README.md");
    let section = readme.split("\n## Commands").nth(1).expect("a section `## Commands`");
    let section = section.split("\n## ").next().unwrap_or(section);
    let listed: BTreeSet<&str> = section
        .lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .filter_map(|row| row.trim_start_matches("kbuild-repro ").split([' ', '`']).next())
        .collect();
    assert_eq!(listed, commands, "README.md's table of commands, and `--help`");
}

fn scenarios() -> Vec<Ready> {
    let select = SelectArgs { what: Vec::new(), tier: Vec::new(), scenarios: Some(root().join("scenarios")) };
    let found = load::select(&select, &root()).expect("the directory of scenarios is there");
    let host = Host::capture_without_tools().expect("this host");
    load::read(found, &load::sources(&host, None)).expect("every scenario file is right")
}

/// The silent twin of a scenario that plants a fault: it has the same tree, makes the same edits and perhaps more,
/// and would fail if the finding appeared. It lies beside it.
fn is_twin(twin: &Ready, planted: &Ready, name: FindingName) -> bool {
    let topic = |ready: &Ready| ready.found.id.rsplit_once('/').map(|(topic, _)| topic.to_owned());
    let (silent, loud) = (&twin.loaded.scenario, &planted.loaded.scenario);
    let tolerates = silent.expect.finding.iter().any(|expected| expected.finding == name)
        || silent.known.iter().any(|known| known.finding == name);
    let plants = silent.tree.symbols.keys().any(|symbol| symbol.starts_with("FAULT_"));
    let same_edit = |a: &Edit, b: &Edit| (&a.change, &a.also, &a.interrupt) == (&b.change, &b.also, &b.interrupt);
    let edits = loud.edit.iter().all(|edit| silent.edit.iter().any(|other| same_edit(edit, other)));
    topic(twin) == topic(planted) && silent.tree.srctree == loud.tree.srctree && !tolerates && !plants && edits
}

#[test]
fn every_finding_is_planted_and_has_a_silent_twin() {
    let all = scenarios();
    let expects =
        |ready: &Ready, name: FindingName| ready.loaded.scenario.expect.finding.iter().any(|e| e.finding == name);
    let mut wrong = Vec::new();
    for &name in FindingName::ALL {
        let planted: Vec<&Ready> = all.iter().filter(|ready| expects(ready, name)).collect();
        let listed = NOT_PLANTED.iter().any(|(not, _)| *not == name);
        match (planted.is_empty(), listed) {
            (true, false) => wrong.push(format!("`{name}`: no scenario plants it")),
            (false, true) => wrong.push(format!("`{name}`: is planted, and listed as not planted")),
            (false, false) if !planted.iter().any(|loud| all.iter().any(|twin| is_twin(twin, loud, name))) => {
                let ids: Vec<&str> = planted.iter().map(|ready| ready.found.id.as_str()).collect();
                wrong.push(format!("`{name}`: no silent twin of {}", ids.join(", ")));
            }
            _ => {}
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_snapshot_is_declared() {
    let declared =
        scenarios().iter().flat_map(|ready| snapshots::declared(&ready.found.id, &ready.loaded.scenario)).collect();
    let unreferenced = snapshots::unreferenced(&root().join("snapshots"), &declared);
    assert!(unreferenced.is_empty(), "no scenario declares these; delete them:\n{}", unreferenced.join("\n"));
}

#[test]
fn a_scenario_is_named_once() {
    let mut names = BTreeSet::new();
    for ready in scenarios() {
        let id = Path::new(&ready.found.id).to_owned();
        assert!(names.insert(id.clone()), "two scenarios are called `{}`", id.display());
        assert!(ready.found.id.contains('/'), "`{}` lies in no topic", ready.found.id);
    }
}
