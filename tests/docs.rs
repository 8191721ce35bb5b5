//! The examples in README.md and scenarios/README.md are run, and what they promise about keys, findings and
//! exit codes is compared with the code.
//!
//! A code block whose first word is `toml` is an example. The second word says what it is:
//!
//! | word | meaning |
//! | --- | --- |
//! | none | a complete scenario: read, and planned against the mini tree |
//! | `run` | the same, and run: must pass; with `exit=N` it must end with that code |
//! | `parse` | a complete scenario on a tree that is not here: read only |
//! | `fragment` | a part: title and tree are added where it has none |
//!
//! A block `text output` after a `run` block is what the run prints, except for times and places.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use kbuild_repro::report::exit_code;
use kbuild_repro::scenario::{FindingName, Loaded, Loader, json_schema, parse};
use kbuild_repro::tree;
use kbuild_repro::tree::lower::{DirBeside, MiniLower};
use kbuild_repro::verdict::Verdict;
use serde_json::Value as Json;

const PAGES: &[&str] = &["README.md", "scenarios/README.md"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn page(name: &str) -> String {
    fs::read_to_string(root().join(name)).expect("the page is there")
}

/// A fenced code block.
struct Block {
    /// Page and line, for messages.
    place: String,
    /// The words after the fence.
    words: Vec<String>,
    text: String,
}

impl Block {
    fn is(&self, word: &str) -> bool {
        self.words.iter().skip(1).any(|have| have == word)
    }
    fn is_toml(&self) -> bool {
        self.words.first().is_some_and(|word| word == "toml")
    }
    /// The text as a whole scenario.
    fn scenario(&self) -> String {
        if !self.is("fragment") {
            return self.text.clone();
        }
        // Keys of the top level come before the first table, and a table may come last.
        let has = |start: &str| self.text.lines().any(|line| line.starts_with(start));
        let tree = if has("[tree]") { "" } else { "\n[tree]\nsrctree = \"mini\"\n" };
        // TOML has `[tree]` stand before `[[tree.file]]`, or nowhere.
        format!("title = \"an example\"\n{tree}{}", self.text)
    }
}

fn blocks(name: &str) -> Vec<Block> {
    let text = page(name);
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for (number, line) in (1..).zip(text.lines()) {
        match (line.strip_prefix("```"), &mut open) {
            (Some(info), None) => {
                let words = info.split_whitespace().map(str::to_owned).collect();
                open = Some(Block { place: format!("{name}:{number}"), words, text: String::new() });
            }
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (None, Some(block)) => {
                block.text.push_str(line);
                block.text.push('\n');
            }
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a code block of {name} has no end");
    blocks
}

/// Reads files that an example extends from `scenarios/btf`, where the one that says `extends` stands.
struct Beside;

impl Loader for Beside {
    fn load(&self, _: &str, wanted: &str) -> Result<(String, String), String> {
        let path = root().join("scenarios/btf").join(wanted);
        Ok((wanted.to_owned(), fs::read_to_string(path).map_err(|error| error.to_string())?))
    }
}

fn read(block: &Block) -> Loaded {
    parse(&block.place, &block.scenario(), &Beside).unwrap_or_else(|errors| {
        let told: Vec<String> = errors.0.iter().map(|e| format!("{}:{}: {e}", e.file, e.at.0)).collect();
        panic!("the example at {} is no scenario:\n{}\n{}", block.place, told.join("\n"), block.scenario())
    })
}

#[test]
fn every_example_is_a_scenario_and_fits_the_mini_tree() {
    let mut seen = 0;
    for block in PAGES.iter().flat_map(|name| blocks(name)).filter(Block::is_toml) {
        let loaded = read(&block);
        seen += 1;
        if block.is("parse") {
            continue;
        }
        assert_eq!(loaded.scenario.tree.srctree, "mini", "{}: mark it `parse`", block.place);
        let beside = DirBeside(vec![root().join("scenarios/configs")]);
        if let Err(errors) = tree::plan(&loaded.scenario, &loaded.document, &MiniLower, &beside) {
            let told: Vec<String> = errors.0.iter().map(|e| format!("{}: {e}", e.at.0)).collect();
            panic!("the example at {} does not fit:\n{}", block.place, told.join("\n"));
        }
    }
    assert!(seen > 15, "only {seen} examples were found");
}

#[expect(clippy::print_stderr, reason = "a skipped test says so")]
fn has(program: &str) -> bool {
    let there = Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success());
    if !there {
        let required = std::env::var_os("KBUILD_REPRO_REQUIRE_ALL").is_some_and(|v| !v.is_empty() && v != "0");
        assert!(!required, "there is no {program}, and KBUILD_REPRO_REQUIRE_ALL is set");
        eprintln!("skipped: there is no {program}");
    }
    there
}

#[test]
fn examples_that_are_run_end_and_print_as_they_say() {
    if !(has("make") && has("gcc")) {
        return;
    }
    let dir = tempfile::tempdir().expect("a directory");
    let mut ran = 0;
    for name in PAGES {
        let blocks = blocks(name);
        for (at, block) in blocks.iter().enumerate().filter(|(_, block)| block.is_toml() && block.is("run")) {
            fs::write(dir.path().join("example.toml"), &block.text).expect("written");
            let exit = block.words.iter().find_map(|word| word.strip_prefix("exit=")).unwrap_or("0");
            let output = Command::new(env!("CARGO_BIN_EXE_kbuild-repro"))
                .args(["run", "example.toml"])
                .current_dir(dir.path())
                .env("XDG_STATE_HOME", dir.path().join("state"))
                .env("NO_COLOR", "1")
                .env_remove("CI")
                .env_remove("KBUILD_REPRO_SCENARIOS")
                .output()
                .expect("it starts");
            let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            assert_eq!(
                output.status.code().map(|code| code.to_string()).as_deref(),
                Some(exit),
                "the example at {}:\n{out}{err}",
                block.place
            );
            if let Some(shown) = blocks.get(at + 1).filter(|next| next.is("output")) {
                assert_eq!(timeless(&shown.text), timeless(&out), "the output at {} is another", shown.place);
            }
            ran += 1;
        }
    }
    assert!(ran >= 3, "only {ran} examples were run");
}

/// Output without the line that says where the records are, without commands that were typed, with every time as `N`.
fn timeless(text: &str) -> String {
    let lines = text.lines().filter(|line| !line.starts_with("records: ") && !line.starts_with("$ "));
    let words = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        let is_time = |at: usize| {
            words.get(at + 1).is_some_and(|next| next.starts_with("s)"))
                && words[at].trim_start_matches('(').parse::<f64>().is_ok()
        };
        let word = |(at, word): (usize, &&str)| if is_time(at) { "(N".to_owned() } else { (*word).to_owned() };
        words.iter().enumerate().map(word).collect::<Vec<_>>().join(" ")
    };
    lines.map(words).collect::<Vec<_>>().join("\n").trim().to_owned()
}

#[test]
fn times_and_places_are_taken_out_of_output_and_nothing_else() {
    let text = "records: /x\n\na/b: failed (1.5 s) — 2 s of it\n    .text differ\n";
    assert_eq!(timeless(text), "a/b: failed (N s) — 2 s of it\n    .text differ");
}

/// Where scenarios/README.md has the table of each type's keys: the heading, and the first column's title.
const TABLES: &[(&str, &str, &str)] = &[
    ("", "## Top level", "| key |"),
    ("Tree", "## `[tree]`", "| key |"),
    ("SourceFile", "## `[tree]`", "| key of `[[tree.file]]` |"),
    ("Make", "## `[make]`", "| key |"),
    ("Then", "## `[make]`", "| key of `[[make.then]]` |"),
    ("Toolchain", "## `[toolchain]`", "| key |"),
    ("Matrix", "## `[matrix]`", "| key |"),
    ("Except", "## `[matrix]`", "| key of `except` |"),
    ("Experiment", "## `[experiment]`", "| key |"),
    ("Compare", "## `[compare]`", "| key |"),
    ("Ignore", "## `[compare]`", "| key of `[[compare.ignore]]` |"),
    ("Limits", "## `[limits]`", "| key |"),
    ("Edit", "## `[[edit]]`", "| key |"),
    ("Change", "### Changes", "| key |"),
    ("Tool", "### Changes", "| key of `tool` |"),
    ("Interrupt", "### Interruptions", "| key of `interrupt` |"),
    ("ExpectFinding", "## `[[expect.finding]]`", "| key |"),
    ("Known", "## `[[known]]`", "| key |"),
    ("Snapshots", "## `[snapshots]`", "| key |"),
];

/// The keys in the first column of a table: all words in backticks.
fn keys_of_table(text: &str, heading: &str, first_column: &str) -> BTreeSet<String> {
    let mut lines = text.lines().skip_while(|line| *line != heading);
    let in_section = lines.by_ref().skip(1).take_while(|line| !line.starts_with("## "));
    let rows = in_section.skip_while(|line| !line.starts_with(first_column)).skip(2);
    let cells = rows.take_while(|line| line.starts_with('|')).filter_map(|line| line.split('|').nth(1));
    cells.flat_map(|cell| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>()).collect()
}

fn keys_of_type(name: &str) -> BTreeSet<String> {
    let schema = if name.is_empty() { json_schema() } else { &json_schema()["$defs"][name] };
    let keys = |schema: &Json| -> BTreeSet<String> {
        schema["properties"].as_object().map(|all| all.keys().cloned().collect()).unwrap_or_default()
    };
    let mut own = keys(schema);
    if name == "Edit" {
        // An edit is a change and more; the keys of a change have a table of their own.
        let change = keys(&json_schema()["$defs"]["Change"]);
        own.retain(|key| !change.contains(key));
    }
    own
}

#[test]
fn every_key_of_the_schema_is_documented_and_no_other() {
    let text = page("scenarios/README.md");
    for (name, heading, column) in TABLES {
        let (documented, real) = (keys_of_table(&text, heading, column), keys_of_type(name));
        assert!(!real.is_empty(), "no type `{name}` in the schema");
        assert_eq!(documented, real, "the table under `{heading}` and the type `{name}`");
    }
    let types = json_schema()["$defs"].as_object().expect("an object");
    let tables = |name: &str| TABLES.iter().any(|(have, ..)| *have == name);
    for (name, schema) in types.iter().filter(|(_, schema)| schema.get("properties").is_some()) {
        // `expect` is a table with nothing but `[[expect.finding]]` in it.
        assert!(tables(name) || name == "Expect", "no table has the keys of `{name}`: {schema}");
    }
}

/// The rows of the table under `heading` in the README.
fn rows(heading: &str) -> Vec<String> {
    let text = page("README.md");
    let section = text.lines().skip_while(|line| *line != heading).skip(1).take_while(|line| !line.starts_with("## "));
    let rows = section.skip_while(|line| !line.starts_with("| ---")).skip(1).take_while(|line| line.starts_with('|'));
    rows.map(str::to_owned).collect()
}

/// The first cell of each row, without backticks.
fn first_cells(heading: &str) -> Vec<String> {
    rows(heading).iter().filter_map(|row| Some(row.split('|').nth(1)?.trim().replace('`', ""))).collect()
}

#[test]
fn the_findings_and_exit_codes_in_the_readme_are_those_of_the_code() {
    let row = |finding: &FindingName| {
        let class = format!("{:?}", finding.class()).to_lowercase();
        format!("| `{}` | {class} | {} |", finding.name(), finding.meaning().trim())
    };
    let findings: Vec<String> = FindingName::ALL.iter().map(row).collect();
    assert_eq!(rows("## Findings"), findings);
    let verdicts = [
        Verdict::Passed,
        Verdict::Failed,
        Verdict::ScenarioError,
        Verdict::HostCannot,
        Verdict::Inconclusive,
        Verdict::HarnessError,
        Verdict::Interrupted,
    ];
    let codes: Vec<String> = verdicts.iter().map(|verdict| exit_code(*verdict).to_string()).collect();
    assert_eq!(first_cells("## Exit codes"), codes);
}

#[test]
fn the_commands_in_the_readme_are_those_of_the_binary() {
    let help = Command::new(env!("CARGO_BIN_EXE_kbuild-repro")).arg("--help").output().expect("it starts");
    let help = String::from_utf8(help.stdout).expect("UTF-8");
    let commands = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let commands: Vec<&str> = commands
        .filter_map(|line| line.strip_prefix("  ")?.split(' ').next())
        .filter(|name| !name.is_empty())
        .collect();
    let documented = first_cells("## Commands");
    for command in commands.iter().filter(|command| **command != "help") {
        assert!(documented.iter().any(|row| row.split(' ').next() == Some(command)), "`{command}` is not documented");
    }
    assert_eq!(documented.len(), commands.len() - 1, "{documented:?} against {commands:?}");
}

#[test]
fn links_to_files_lead_somewhere() {
    for name in PAGES {
        let dir: PathBuf = root().join(name).parent().expect("a directory").into();
        for target in page(name).split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = target.split('#').next().unwrap_or_default();
            if !file.is_empty() && !target.starts_with("http") {
                assert!(dir.join(file).exists(), "{name} links to `{target}`, which is not there");
            }
        }
    }
}
