//! Help, version, lists, schemas, exit codes that need no build.

use std::fs;

use serde_json::Value as Json;

use crate::lab::{Lab, succeed};

const MINI: &str = "[tree]\nsrctree = \"mini\"\n";

#[test]
fn help_and_version_go_to_standard_output() {
    let lab = Lab::new();
    for arguments in [&["--help"][..], &["run", "--help"], &["help", "noop"]] {
        let text = succeed(lab.command(arguments));
        assert!(text.contains("Usage: kbuild-repro"), "{text}");
    }
    let version = succeed(lab.command(&["--version"]));
    assert_eq!(version, format!("kbuild-repro {}\n", env!("CARGO_PKG_VERSION")));
    assert!(succeed(lab.command(&["--help"])).contains("Exit codes: 0 passed"));
}

#[test]
fn a_wrong_command_line_is_a_usage_error() {
    let lab = Lab::new();
    for arguments in [
        &[][..],
        &["frobnicate"],
        &["run", "--frobnicate"],
        &["run", "--tier", "huge"],
        &["run", "--disk-budget", "lots"],
        &["run", "--time-budget", "0s"],
        &["run", "--quiet", "--verbose"],
        &["run", "--json", "-"],
        &["noop"],
        &["noop", "--", "make", "--dry-run"],
        &["incremental", "--", "make"],
        &["twice", "--in-place", "--", "make"],
        &["incremental", "--in-place", "--edit", "x", "--", "make"],
        &["check", "missing.toml"],
        &["run", "./missing.toml"],
        &["list", "--scenarios", "nowhere"],
        &["judge", "nowhere"],
        &["judge"],
    ] {
        let ran = lab.run(arguments);
        assert_eq!(ran.code, 2, "{arguments:?}: {ran}");
        assert!(!ran.err.is_empty() && ran.out.is_empty(), "{arguments:?}: {ran}");
    }
}

#[test]
fn every_finding_is_explained() {
    let lab = Lab::new();
    let list = succeed(lab.command(&["explain"]));
    for line in list.lines() {
        let name = line.split_whitespace().next().unwrap();
        let text = succeed(lab.command(&["explain", name]));
        assert!(text.starts_with(&format!("{name}: ")) && text.contains("\nWhat to do\n"), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
    }
    let with_place = succeed(lab.command(&["explain", "rebuild.stale@edit-1:lib/crc.ko"]));
    assert_eq!(with_place, succeed(lab.command(&["explain", "rebuild.stale"])));
    lab.run(&["explain", "rebuild.stail"]).exits(2).says(&["no finding is called `rebuild.stail`", "`rebuild.stale`"]);
}

#[test]
fn a_report_on_standard_output_has_its_own_option() {
    let lab = Lab::new();
    lab.scenario("one", MINI);
    lab.run(&["run", "--json", "-"]).exits(2).says(&["--format json"]);
    assert!(!lab.path("-").exists());
}

#[test]
fn without_scenarios_there_is_a_hint() {
    // Above the lab lies the repository with its own scenarios.
    let elsewhere = tempfile::tempdir().expect("a directory");
    let lab = Lab::new();
    let mut command = lab.command(&["list"]);
    let ran = crate::lab::Ran::of(command.current_dir(elsewhere.path()).output().expect("it starts"));
    ran.exits(2).says(&["there is no directory `scenarios`", "hint: name a scenario file, or `--scenarios DIR`"]);
}

#[test]
fn scenarios_are_listed_by_id_tree_and_tier() {
    let lab = Lab::new();
    lab.scenario("one", MINI).scenario("two", "tier = \"long\"\n[tree]\nsrctree = \"debian:6.12\"\n");
    lab.write("scenarios/t/_part.toml", "this is no scenario").write("scenarios/configs/x.toml", "nor this");
    assert_eq!(succeed(lab.command(&["list"])), "t/one  mini         quick   one\nt/two  debian:6.12  long    two\n");
    assert_eq!(succeed(lab.command(&["list", "--tier", "long"])), "t/two  debian:6.12  long    two\n");
    assert_eq!(succeed(lab.command(&["list", "on"])), "t/one  mini  quick   one\n");
    assert_eq!(succeed(lab.command(&["list", "t/t*"])), "t/two  debian:6.12  long    two\n");
    lab.run(&["list", "nothing-like-it"]).exits(4).says(&["no scenario matches `nothing-like-it`"]);
    lab.run(&["list", "t/onne"]).exits(4).says(&["did you mean `t/one`?"]);
}

#[test]
fn an_empty_selection_is_nothing_compared() {
    let lab = Lab::new();
    lab.scenario("one", MINI);
    lab.run(&["run", "--tier", "long"]).exits(4).says(&["no scenario is selected", "--tier kernel"]);
    lab.run(&["run", "zebra"]).exits(4);
}

#[test]
fn good_scenarios_are_valid_and_nothing_is_built() {
    let lab = Lab::new();
    lab.scenario("one", MINI);
    let ran = lab.run(&["check"]).exits(0);
    assert_eq!(ran.out, "1 scenario is valid\n");
    assert_eq!(lab.left_over(), [""; 0].map(std::path::PathBuf::from));
    assert!(!lab.path("state").exists());
    let json: Json = serde_json::from_str(&lab.run(&["check", "--format", "json"]).exits(0).out).expect("JSON");
    assert_eq!(json["scenarios"], 1);
}

#[test]
fn a_scenario_whose_kernel_is_not_there_is_valid_as_far_as_can_be_told() {
    let lab = Lab::new();
    lab.scenario("far", "[tree]\nsrctree = \"debian:6.12\"\n");
    let ran = lab.run(&["check"]).exits(0);
    assert!(ran.out.ends_with("\n1 scenario is valid as far as can be told without its kernel\n"), "{ran}");
    lab.scenario("near", MINI);
    let ran = lab.run(&["check"]).exits(0);
    let last = "\n2 scenarios are valid, 1 of them as far as can be told without its kernel\n";
    assert!(ran.out.ends_with(last), "{ran}");
    lab.scenario("further", "[tree]\nsrctree = \"graft\"\nkernel = \"debian:7.3\"\n");
    let ran = lab.run(&["check", "--tier", "kernel,graft"]).exits(0);
    assert!(ran.out.ends_with("\n2 scenarios are valid as far as can be told without their kernels\n"), "{ran}");
}

#[test]
fn a_tool_that_nobody_has_is_noted() {
    let lab = Lab::new();
    lab.scenario("tool", &format!("{MINI}[toolchain]\nmake = \"4.4\"\npahole = \"1.31\"\n"));
    let ran = lab.run(&["check"]).exits(0);
    for word in ["t/tool: it would be skipped: no pahole 1.31", "pahole-1.30, pahole-1.32", "\n1 scenario is valid\n"] {
        assert!(ran.out.contains(word), "`{word}`: {ran}");
    }
    let json: Json = serde_json::from_str(&lab.run(&["check", "--format", "json"]).exits(0).out).expect("JSON");
    assert_eq!(json["notes"][0][0], "t/tool");
}

/// TOML as JSON, for a validator that knows only that.
fn toml_to_json(value: toml::Value) -> Json {
    match value {
        toml::Value::Array(items) => items.into_iter().map(toml_to_json).collect(),
        toml::Value::Table(table) => Json::Object(table.into_iter().map(|(k, v)| (k, toml_to_json(v))).collect()),
        toml::Value::String(text) => text.into(),
        toml::Value::Integer(number) => number.into(),
        toml::Value::Float(number) => number.into(),
        toml::Value::Boolean(value) => value.into(),
        toml::Value::Datetime(date) => date.to_string().into(),
    }
}

fn schema(lab: &Lab, arguments: &[&str]) -> jsonschema::Validator {
    let schema: Json = serde_json::from_str(&succeed(lab.command(arguments))).expect("JSON");
    jsonschema::meta::validate(&schema).unwrap_or_else(|error| panic!("no JSON schema: {error}"));
    jsonschema::validator_for(&schema).unwrap_or_else(|error| panic!("no JSON schema: {error}"))
}

#[test]
fn every_scenario_file_fits_the_published_schema() {
    let schema = schema(&Lab::new(), &["schema"]);
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let files = kbuild_repro::cli::load::scenario_files(&dir).expect("listed");
    assert!(!files.is_empty());
    let mut wrong = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).expect("UTF-8");
        let table: toml::Table = text.parse().unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let own = table.contains_key("extends");
        for error in schema.iter_errors(&toml_to_json(toml::Value::Table(table))) {
            // What a file that extends another leaves out, the other has.
            if !(own && error.to_string().contains("is a required property")) {
                wrong.push(format!("{}: {error} at {}", file.display(), error.instance_path()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_schema_refuses_what_check_refuses() {
    let lab = Lab::new();
    let schema = schema(&lab, &["schema"]);
    for (name, text) in [
        ("unknown", "[tree]\nsrctree = \"mini\"\ncolour = 1\n"),
        ("type", "[tree]\nsrctree = 3\n"),
        ("lacks", "[tree]\n"),
        ("edit", "[tree]\nsrctree = \"mini\"\n[[edit]]\nfile = \"init/main.c\"\ntouch = false\n"),
        ("finding", "[tree]\nsrctree = \"mini\"\n[[expect.finding]]\nfinding = \"rebuild.stael\"\n"),
        ("range", "[tree]\nsrctree = \"mini\"\n[make]\njobs = 0\n"),
    ] {
        lab.scenario(name, text);
        lab.run(&["check", &format!("scenarios/t/{name}.toml")]).exits(2);
        let table: toml::Table = format!("title = \"x\"\n{text}").parse().expect("TOML");
        assert!(!schema.is_valid(&toml_to_json(toml::Value::Table(table))), "{name}");
    }
}

/// The command on a host whose programs are all gone, but for this one.
fn without_programs(command: &std::process::Command) -> std::process::Command {
    const HIDE: &str = "for dir in /usr/local/sbin /usr/local/bin /usr/sbin /usr/bin; do
        mount -t tmpfs none $dir || exit 99; done; exec \"$@\"";
    let mut bare = std::process::Command::new("unshare");
    // The last directory that is hidden holds `mount` itself.
    bare.args(["--map-root-user", "--mount", "sh", "-c", HIDE, "sh"])
        .arg(command.get_program())
        .args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => bare.env(name, value),
            None => bare.env_remove(name),
        };
    }
    if let Some(dir) = command.get_current_dir() {
        bare.current_dir(dir);
    }
    bare
}

#[test]
fn without_tools_the_missing_ones_are_named() {
    let lab = Lab::new();
    lab.scenario("one", MINI);
    let output = without_programs(&lab.command(&["run"])).output().expect("unshare");
    // Everything was skipped: nothing was compared.
    let ran = crate::lab::Ran::of(output).exits(4);
    for word in ["make", "gcc", "missing"] {
        assert!(ran.out.contains(word), "`{word}`: {ran}");
    }
    let output = without_programs(&lab.command(&["run", "--require-all"])).output().expect("unshare");
    crate::lab::Ran::of(output).exits(3);
}

#[test]
fn what_builds_run_need_not_be_on_the_users_own_path() {
    let lab = Lab::new();
    lab.scenario("one", MINI);
    let mut command = lab.command(&["run"]);
    crate::lab::Ran::of(command.env("PATH", "/nonexistent").output().expect("it starts")).exits(0);
}

#[test]
fn the_report_fits_its_schema() {
    let lab = Lab::new();
    let schema = schema(&lab, &["schema", "report"]);
    lab.scenario("one", MINI);
    let mut command = lab.command(&["run", "--format", "json", "--quiet"]);
    let ran = crate::lab::Ran::of(command.env("PATH", "/nonexistent").output().expect("it starts"));
    let report: Json = serde_json::from_str(&ran.out).expect("JSON");
    let errors: Vec<String> = schema.iter_errors(&report).map(|e| format!("{e} at {}", e.instance_path())).collect();
    assert!(errors.is_empty(), "{}", errors.join("\n"));
}
