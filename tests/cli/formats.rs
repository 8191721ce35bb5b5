//! Reports for other programs: the command line, and what readers that are not ours make of them.
//!
//! `KBUILD_REPRO_PYTHON` is a Python with `html5lib`, `junitparser`, `jsonschema` and `kcidb-io`, as `.ci/run` makes one. The kernel's own
//! reader of KTAP is taken from the kernels that are in the cache.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use kbuild_repro::verdict::Verdict;
use serde_json::Value as Json;

use crate::lab::{Lab, Ran, has_make, of, skipped};

const HEAD: &str =
    "tier = \"quick\"\n[tree]\nsrctree = \"../../tree\"\nkind = \"make\"\n[compare]\nartifacts = [\"*.o\"]\n";
const EDIT: &str = "[[edit]]\nfile = \"b.txt\"\nappend = \"3\\n\"\n";

/// A name of a file with which every format has its trouble.
const HOSTILE: &str = "#]]>&<\"%,`|\u{1b}[31m\nok 1 - x::error::.o";

/// The same as findings have it.
pub(crate) const ESCAPED: &str = "#]]>&<\"%,`|\\x1b[31m\\x0aok 1 - x::error::.o";

/// Scenarios of every outcome. Of each `out.o` is stale after its edit.
pub(crate) fn lab() -> Lab {
    let lab = Lab::new();
    let makefile = [
        "all: out.o",
        "out.o: a.txt",
        "\tcat a.txt b.txt > $@",
        // Nobody can write this name in a makefile: it is printed.
        "hostile: a.txt",
        "\tcat a.txt b.txt > \"$$(cat name)\"; cat name; printf '\\377\\000\\033[31m # Subtest: x\\n'; : > hostile",
        "broken:",
        "\tprintf 'ok 1 - no\\n]]>\\377\\376\\001\\n'; exit 3",
        "",
    ];
    lab.write("tree/Makefile", makefile.join("\n")).write("tree/a.txt", "1\n").write("tree/b.txt", "2\n");
    lab.write("tree/name", HOSTILE);
    lab.scenario("bad", &format!("{HEAD}{EDIT}"));
    lab.scenario("broken", &format!("{HEAD}[make]\ngoals = [\"broken\"]\n"));
    lab.scenario("hostile", &format!("{HEAD}[make]\ngoals = [\"hostile\"]\n{EDIT}"));
    let known = "[[known]]\nfinding = \"rebuild.stale\"\nwhy = \"no # SKIP, ]]> and\\na line\"\n";
    lab.scenario("known", &format!("{HEAD}{EDIT}{known}"));
    lab.scenario("ok", HEAD);
    lab.scenario(
        "planted",
        &format!("{HEAD}{EDIT}[[expect.finding]]\nfinding = \"rebuild.stale\"\ntarget = \"out.o\"\n"),
    );
    lab.scenario("skipped", &format!("{HEAD}[toolchain]\npahole = \"1.30\"\n"));
    lab
}

const FORMATS: [&str; 7] = ["text", "json", "junit", "ktap", "kcidb", "perfetto", "html"];

/// Runs them all, with a report of every format beside.
pub(crate) fn run(lab: &Lab) -> Ran {
    let reports: Vec<String> = FORMATS.iter().map(|format| format!("{format}={format}.out")).collect();
    // What cannot be run is left out where it is not named.
    let mut arguments = vec!["run", "scenarios/t", "scenarios/t/skipped.toml", "--quiet", "--no-fetch", "--out", "out"];
    arguments.extend(reports.iter().flat_map(|report| ["--report", report]));
    lab.run(&arguments).exits(1)
}

pub(crate) fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path).expect("UTF-8")
}

/// What a reader makes of a file.
pub(crate) fn consume(python: &Path, arguments: &[&str]) -> Json {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli/consume.py");
    // The cache is not to be written to.
    let output = Command::new(python).arg("-B").arg(script).args(arguments).output().expect("it starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// A Python that has the readers.
pub(crate) fn python() -> Option<PathBuf> {
    let named = std::env::var_os("KBUILD_REPRO_PYTHON").filter(|path| !path.is_empty()).map(PathBuf::from);
    if named.is_none() {
        skipped("KBUILD_REPRO_PYTHON names no Python with html5lib, junitparser, jsonschema and kcidb-io");
    }
    named
}

/// `tools/testing/kunit` of the kernels in the cache.
fn kunit() -> Vec<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|path| !path.is_empty()).map(PathBuf::from);
    let cache = set("XDG_CACHE_HOME").or_else(|| Some(set("HOME")?.join(".cache")));
    let cache = set("KBUILD_REPRO_CACHE").or_else(|| Some(cache?.join("kbuild-repro")));
    let sources = cache.and_then(|cache| fs::read_dir(cache.join("sources")).ok()).into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = sources
        .map(|entry| entry.path().join("linux/tools/testing/kunit"))
        .filter(|dir| dir.join("kunit_parser.py").is_file() && dir.join("kunit_printer.py").is_file())
        .collect();
    found.sort();
    if found.is_empty() {
        skipped("no kernel is in the cache, whose tools/testing/kunit reads KTAP: `kbuild-repro fetch debian:6.12`");
    }
    found
}

#[test]
fn every_format_can_be_written_at_the_end_and_later_with_the_same_bytes() {
    if !has_make() {
        return;
    }
    let lab = lab();
    let ran = run(&lab);
    let report: kbuild_repro::report::Report = serde_json::from_str(&read(lab.path("json.out"))).expect("a report");
    let verdicts =
        ["bad", "broken", "hostile", "known", "ok", "planted", "skipped"].map(|name| of(&report, name).verdict);
    use Verdict::{Failed, Inconclusive, Passed, Skipped};
    assert_eq!(verdicts, [Failed, Inconclusive, Failed, Passed, Passed, Passed, Skipped], "{ran}");
    assert!(of(&report, "hostile").findings.iter().any(|finding| finding.target == ESCAPED), "{ran}");
    assert_eq!(read(lab.path("text.out")), ran.out);
    assert_eq!(read(lab.path("json.out")), read(lab.path("out/report.json")));
    for format in FORMATS {
        let later = lab.run(&["judge", "out", "--report", format]).exits(1);
        assert_eq!(later.out, read(lab.path(&format!("{format}.out"))), "{format}");
    }
    lab.run(&["report", "out", "--report", "ktap", "-o", "again", "--report", "junit=again.xml"]).exits(1);
    assert_eq!(read(lab.path("again")), read(lab.path("ktap.out")));
    assert_eq!(read(lab.path("again.xml")), read(lab.path("junit.out")));
    // Who submits is asked for, and told by the environment.
    let mut command = lab.command(&["judge", "out", "--report", "kcidb"]);
    let named = Ran::of(command.env("KBUILD_REPRO_ORIGIN", "lab_1").output().expect("it starts")).exits(1);
    assert_eq!(named.out, read(lab.path("kcidb.out")).replace("kbuild_repro", "lab_1"));
    time_line(&serde_json::from_str(&read(lab.path("perfetto.out"))).expect("JSON"));
}

/// Each build that ran a step is a process, and its steps are in lanes in which nothing overlaps.
fn time_line(line: &Json) {
    let events = line["traceEvents"].as_array().expect("events");
    let named = |event: &&Json| event["name"] == "process_name";
    let builds: Vec<&str> = events.iter().filter(named).filter_map(|event| event["args"]["name"].as_str()).collect();
    if builds.is_empty() {
        return skipped("no build is traced here");
    }
    let steps = |build: &str| -> Vec<(&str, u64, u64, u64)> {
        let pid =
            events.iter().filter(named).find(|event| event["args"]["name"] == build).expect("a build")["pid"].clone();
        let own = events.iter().filter(|event| event["ph"] == "X" && event["pid"] == pid);
        let number = |event: &Json, key: &str| event[key].as_u64().expect("a number");
        own.map(|event| {
            let name = event["name"].as_str().expect("a name");
            (name, number(event, "tid"), number(event, "ts"), number(event, "dur"))
        })
        .collect()
    };
    assert!(steps("t/bad control/clean").iter().any(|(name, ..)| name.starts_with("cat a.txt b.txt >")), "{line}");
    assert_eq!(steps("t/bad control/noop-1").len(), 0, "{line}");
    for build in builds {
        let steps = steps(build);
        for (at, (_, lane, from, _)) in steps.iter().enumerate() {
            let before = steps[..at].iter().filter(|(_, other, ..)| other == lane);
            assert!(before.clone().all(|(_, _, ts, dur)| ts + dur <= *from), "{build}: {steps:?}");
        }
    }
}

#[test]
fn junitparser_reads_it() {
    let Some(python) = python().filter(|_| has_make()) else { return };
    let lab = lab();
    run(&lab);
    let read = consume(&python, &["junit", lab.path("junit.out").to_str().expect("UTF-8")]);
    assert_eq!(read["counts"], serde_json::json!([7, 2, 1, 1]));
    let case = |name: &str| {
        let case = read["cases"].as_array().expect("cases").iter().find(|case| case["name"] == name);
        case.unwrap_or_else(|| panic!("no `{name}`: {read}")).clone()
    };
    let result = |name: &str| case(name)["results"][0].as_array().cloned().unwrap_or_default();
    assert_eq!(case("bad")["class"], "kbuild-repro.t");
    assert_eq!((&result("bad")[0], &result("bad")[2]), (&"Failure".into(), &"rebuild.stale".into()));
    assert!(result("bad")[3].as_str().is_some_and(|text| text.contains("in edit-1/incremental against")), "{read}");
    assert_eq!((&result("broken")[0], &result("broken")[2]), (&"Error".into(), &"inconclusive".into()));
    assert!(result("broken")[3].as_str().is_some_and(|text| text.contains("ok 1 - no\n    | ]]>")), "{read}");
    assert!(result("hostile")[1].as_str().is_some_and(|text| text.contains(ESCAPED)), "{read}");
    assert_eq!(result("skipped")[0], "Skipped");
    assert!(case("known")["out"].as_str().is_some_and(|text| text.contains("(known: no # SKIP, ]]> and\\na line)")));
    for passed in ["known", "ok", "planted"] {
        assert!(result(passed).is_empty(), "{read}");
    }
    assert_eq!(case("ok")["properties"]["title"], "ok");
}

#[test]
fn kcidb_validates_it() {
    let Some(python) = python().filter(|_| has_make()) else { return };
    let lab = lab();
    run(&lab);
    let read = consume(&python, &["kcidb", lab.path("kcidb.out").to_str().expect("UTF-8")]);
    assert_eq!((&read["lost"], &read["twice"]), (&serde_json::json!([]), &serde_json::json!([0, 0, 0])));
    let told = |path: &str| read["tests"][format!("kbuild-repro.t.{path}")].as_str().unwrap_or("none").to_owned();
    let scenarios = ["bad", "broken", "hostile", "known", "ok", "planted", "skipped"].map(told);
    assert_eq!(scenarios, ["FAIL", "ERROR", "FAIL", "PASS", "PASS", "PASS", "SKIP"], "{read}");
    let builds = ["bad.edit-1.incremental", "bad.edit-1.oracle", "broken.control.clean", "known.edit-1.incremental"];
    assert_eq!(builds.map(told), ["FAIL", "PASS", "ERROR", "PASS"], "{read}");
}

#[test]
fn the_kernel_s_own_parser_reads_ktap() {
    let python = PathBuf::from("python3");
    let kunit = kunit();
    if !has_make() || kunit.is_empty() || !crate::lab::has(&["python3"]) {
        return;
    }
    let lab = lab();
    run(&lab);
    let file = lab.path("ktap.out");
    for dir in kunit {
        let read = consume(&python, &["ktap", file.to_str().expect("UTF-8"), dir.to_str().expect("UTF-8")]);
        let tests = read["tree"]["subtests"].as_array().expect("tests").clone();
        let status = |test: &Json| {
            (test["name"].as_str().expect("a name").to_owned(), test["status"].as_str().expect("one").to_owned())
        };
        let told: Vec<(String, String)> = tests.iter().map(status).collect();
        let expected = [
            ("t/bad", "FAILURE"),
            ("t/broken", "FAILURE"),
            ("t/hostile", "FAILURE"),
            ("t/known", "SUCCESS"),
            ("t/ok", "SUCCESS"),
            ("t/planted", "SUCCESS"),
            ("t/skipped", "SKIPPED"),
        ];
        let expected: Vec<_> =
            expected.iter().map(|(name, status)| ((*name).to_owned(), (*status).to_owned())).collect();
        assert_eq!(told, expected, "{}: {read}", dir.display());
        // It found nothing that is not as it wants it, anywhere.
        assert!(
            tests.iter().all(|test| test["errors"] == 0) && read["tree"]["errors"] == 0,
            "{}: {read}",
            dir.display()
        );
        let builds =
            |at: usize| tests[at]["subtests"].as_array().expect("builds").iter().map(status).collect::<Vec<_>>();
        let failed = |at: usize| {
            builds(at).into_iter().filter(|(_, status)| status != "SUCCESS").map(|(name, _)| name).collect::<Vec<_>>()
        };
        assert_eq!(failed(0), ["edit-1/incremental"], "{read}");
        assert_eq!(failed(1), ["control/clean"], "{read}");
        assert_eq!(failed(2), ["edit-1/incremental"], "{read}");
        assert!(failed(3).is_empty() && builds(3).len() >= 5, "{read}");
    }
}

#[test]
fn a_step_of_github_actions_has_annotations_and_a_summary() {
    if !has_make() {
        return;
    }
    let lab = lab();
    run(&lab);
    lab.write("summary.md", "what was there\n");
    let judge = |actions: &str| {
        let mut command = lab.command(&["judge", "out", "--report", "github"]);
        command.env("GITHUB_ACTIONS", actions).env("GITHUB_STEP_SUMMARY", lab.path("summary.md"));
        Ran::of(command.output().expect("it starts")).exits(1)
    };
    let ran = judge("true");
    let commands: Vec<&str> = ran.out.lines().take_while(|line| !line.starts_with("::stop")).collect();
    assert_eq!(commands.len(), 4, "{ran}");
    let first = "::error title=kbuild-repro%3A 7 scenarios%3A 2 failed%2C 1 inconclusive%2C 1 skipped%2C 3 passed::t/bad: rebuild.stale";
    assert!(commands[0].starts_with(first), "{ran}");
    assert!(
        commands[1].starts_with("::error file=scenarios/t/bad.toml,title=t/bad%3A failed::rebuild.stale out.o%0A"),
        "{ran}"
    );
    assert!(
        commands[2]
            .contains("title=t/hostile%3A failed::rebuild.stale #]]>&<\"%25,`|\\x1b[31m\\x0aok 1 - x::error::.o%0A"),
        "{ran}"
    );
    assert!(
        commands[3].starts_with("::warning file=scenarios/t/broken.toml,title=t/broken%3A inconclusive::"),
        "{ran}"
    );
    // What people read comes after it, and no name or log in it is a command.
    let text = lab.run(&["judge", "out"]).exits(1).out;
    let rest = ran.out.split_once("\n::stop-commands::").expect("an end of commands").1;
    let (token, rest) = rest.split_once('\n').expect("a line");
    assert!(token.len() > 20 && !text.contains(token), "{ran}");
    assert_eq!(rest, format!("{text}::{token}::\n"));
    let summary = read(lab.path("summary.md"));
    assert!(summary.starts_with("what was there\n## kbuild-repro: failed\n\n7 scenarios: "), "{summary}");
    assert!(summary.contains("\n| <code>t/bad</code> | failed | "), "{summary}");
    judge("true");
    assert_eq!(read(lab.path("summary.md")).matches("## kbuild-repro").count(), 2);
    // Elsewhere there is no step, and what is there already counts.
    assert_eq!(judge("").out, ran.out);
    assert_eq!(read(lab.path("summary.md")).matches("## kbuild-repro").count(), 2);
    lab.write("summary.md", "x".repeat((1 << 20) - 300));
    judge("true");
    let full = read(lab.path("summary.md"));
    assert!(
        full.len() <= 1 << 20 && full.ends_with("more parts have no room here: `kbuild-repro report` shows them.\n")
    );
}

#[test]
fn nothing_follows_a_report_for_another_program() {
    if !has_make() {
        return;
    }
    let lab = lab();
    for (arguments, end) in [
        (&["noop", "--artifact", "*.o"][..], "ok 1 noop\n"),
        (&["twice", "--artifact", "*.o"], "ok 1 twice\n"),
        (&["incremental", "--edit", "a.txt", "--artifact", "*.o"], "ok 1 incremental\n"),
    ] {
        let mut command = lab.command(&[arguments, &["--report", "ktap", "--", "make", "out.o"]].concat());
        let ran = Ran::of(command.current_dir(lab.path("tree")).output().expect("it starts")).exits(0);
        assert!(ran.out.starts_with("KTAP version 1\n1..1\n") && ran.out.ends_with(end), "{ran}");
    }
}

#[test]
fn what_cannot_be_written_is_said_before_anything_is_built() {
    let lab = lab();
    for (arguments, says) in [
        (vec!["--report", "xunit"], "there is no format `xunit`; there are text, json, junit"),
        (vec!["--report", "junit=-"], "on standard output it is `junit` alone"),
        (vec!["--report", "junit="], "a file, or `junit` alone"),
        (vec!["--report", "junit", "--report", "ktap"], "standard output has room for one report: `junit` or `ktap`"),
        (vec!["--report", "junit", "--format", "json"], "standard output has room for one report: `json` or `junit`"),
        (vec!["--report", "junit=a", "--json", "a"], "`json` and `junit` would be one file: `a`"),
        (vec!["--report", "junit=no/such/a.xml"], "cannot write `no/such/a.xml`: no directory `no/such`"),
        (vec!["--report", "kcidb", "--origin", "My-Lab"], "lower-case letters, digits and `_`"),
    ] {
        let arguments = [&["run", "t/ok"], arguments.as_slice()].concat();
        lab.run(&arguments).exits(2).says(&[says]);
    }
    lab.run(&["audit", "scenarios/t/ok.toml", "--report", "perfetto=a"])
        .exits(2)
        .says(&["judge DIR/STAGE --report perfetto"]);
    assert!(!lab.path("state/kbuild-repro/runs").exists(), "something was run");
}

#[test]
fn one_report_that_cannot_be_written_keeps_no_other_from_it() {
    if !has_make() {
        return;
    }
    let lab = lab();
    fs::create_dir(lab.path("dir")).expect("made");
    let ran = lab
        .run(&["run", "t/ok", "--report", "junit=dir", "--report", "ktap=ktap.out"])
        .exits(2)
        .says(&["cannot write `dir`"]);
    assert!(read(lab.path("ktap.out")).ends_with("ok 1 t/ok\n"), "{ran}");
    ran.reports(&["1 scenario: 1 passed"]);
}
