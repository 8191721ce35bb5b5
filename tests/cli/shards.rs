//! One run on several machines: shards, their budgets, and one report of them all.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value as Json;

use crate::formats::{consume, python};
use crate::lab::{Lab, Ran, has_make, skipped};

const HEAD: &str =
    "tier = \"quick\"\n[tree]\nsrctree = \"../../tree\"\nkind = \"make\"\n[compare]\nartifacts = [\"*.o\"]\n";
const EDIT: &str = "[[edit]]\nfile = \"b.txt\"\nappend = \"3\\n\"\n";

/// Scenarios of several outcomes, eight in all.
pub(crate) fn lab() -> Lab {
    let lab = Lab::new();
    let makefile = "all: out.o\nout.o: a.txt\n\tcat a.txt b.txt > $@\nbroken:\n\texit 3\nhang: out.o\n\tsleep 1000\n";
    lab.write("tree/Makefile", makefile).write("tree/a.txt", "1\n").write("tree/b.txt", "2\n");
    for name in ["a", "b", "c", "d"] {
        lab.scenario(name, HEAD);
    }
    lab.scenario("bad", &format!("{HEAD}{EDIT}"));
    lab.scenario("broken", &format!("{HEAD}[make]\ngoals = [\"broken\"]\n"));
    lab.scenario("known", &format!("{HEAD}{EDIT}[[known]]\nfinding = \"rebuild.stale\"\nwhy = \"it is\"\n"));
    lab.scenario("skipped", &format!("{HEAD}[toolchain]\npahole = \"1.30\"\n"));
    lab
}

/// What is run, in one piece or in several.
const WHAT: [&str; 5] = ["run", "scenarios/t", "scenarios/t/skipped.toml", "--no-fetch", "--quiet"];

fn shard(lab: &Lab, index: u32, count: u32, more: &[&str]) -> Ran {
    let (which, out) = (format!("{index}/{count}"), format!("shards/{index}"));
    let ran = lab.run(&[&WHAT[..], &["--shard", &which, "--out", &out], more].concat());
    assert!(lab.path(&out).join("report.json").is_file(), "{ran}");
    ran
}

/// All shards; none of them is empty.
fn shards(lab: &Lab, count: u32, more: &[&str]) {
    for index in 1..=count {
        shard(lab, index, count, more);
    }
}

fn json(path: impl AsRef<Path>) -> Json {
    serde_json::from_slice(&fs::read(path).expect("a file")).expect("JSON")
}

/// A report without times and places.
pub(crate) fn timeless(mut report: Json) -> Json {
    fn strip(value: &mut Json) {
        match value {
            Json::Object(all) => {
                for key in ["seconds", "cpu_seconds", "run", "started", "record", "cost_ms", "wall_ms", "cpu_ms"] {
                    all.remove(key);
                }
                all.values_mut().for_each(strip);
            }
            Json::Array(all) => all.iter_mut().for_each(strip),
            _ => {}
        }
    }
    strip(&mut report);
    report
}

/// A text in which every number is `N`, but for what the JSON report has: names, findings, order are left.
fn numberless(text: &str, run: &str, record: &str) -> String {
    let mut text = text.replace(run, "RUN").replace(record, "RECORD");
    // A digest of all that follows, times and all.
    if let Some((_, rest)) = text.clone().split_once("::stop-commands::") {
        text = text.replace(rest.lines().next().unwrap_or_default(), "TOKEN");
    }
    let mut short = String::new();
    for c in text.chars() {
        let c = if c.is_ascii_digit() { 'N' } else { c };
        if !("N ".contains(c) && short.ends_with(c)) {
            short.push(c);
        }
    }
    short.replace("N.N", "N")
}

const FORMATS: [&str; 5] = ["text", "junit", "ktap", "kcidb", "github"];

#[test]
fn what_is_put_together_is_what_one_run_says() {
    if !has_make() {
        return;
    }
    let lab = lab();
    let whole = lab.run(&[&WHAT[..], &["--out", "whole"]].concat()).exits(1);
    shards(&lab, 3, &[]);
    let ran = lab.run(&["merge", "shards/3", "shards/1", "shards/2", "--out", "merged"]).exits(1);
    let (one, all) = (json(lab.path("whole/report.json")), json(lab.path("merged/report.json")));
    assert_eq!(timeless(one.clone()), timeless(all.clone()), "{whole}{ran}");
    assert_eq!(all["scenarios"].as_array().map(Vec::len), Some(8), "{ran}");
    let words = |report: &Json, key: &str| report[key].as_str().expect("a word").to_owned();
    for format in FORMATS {
        let of = |dir: &str, report: &Json| {
            let told = lab.run(&["judge", dir, "--verbose", "--report", format]).exits(1).out;
            numberless(&told, &words(report, "run"), &words(report, "record"))
        };
        assert_eq!(of("whole", &one), of("merged", &all), "{format}");
    }
    // The records are there as well: the time line of all builds, and a mail.
    let line =
        |dir: &str| lab.run(&["judge", dir, "--report", "perfetto"]).exits(1).out.matches("process_name").count();
    assert_eq!(line("whole"), line("merged"));
    let mail = lab.run(&["report", "merged", "--list"]).exits(0);
    assert!(mail.out.contains("t/bad"), "{mail}");
    // A directory of shards, and reports alone, give the same.
    lab.run(&["merge", "shards", "--out", "again", "--quiet"]).exits(1);
    assert_eq!(timeless(json(lab.path("again/report.json"))), timeless(all.clone()));
    let reports: Vec<String> = (1..=3).map(|n| format!("shards/{n}/report.json")).collect();
    let names: Vec<&str> = reports.iter().map(String::as_str).collect();
    lab.run(&[&["merge"], &names[..], &["--out", "alone"]].concat()).exits(1).says(&["reports alone have no records"]);
    assert_eq!(timeless(json(lab.path("alone/report.json"))), timeless(all));
    lab.run(&[&["merge"], &names[..], &["--report", "perfetto=x"]].concat()).exits(2).says(&["a JSON report has none"]);
    lab.run(&["merge", "shards", "--out", "shards/1"]).exits(2).says(&["would be written over"]);
    lab.run(&["merge", "whole"]).exits(2).says(&["is a run, but no shard of one"]);
    lab.run(&["merge", "scenarios"]).exits(2).says(&["has no shard"]);
}

#[test]
fn shards_have_all_scenarios_each_once_and_one_can_have_none() {
    if !has_make() {
        return;
    }
    let lab = Lab::new();
    lab.write("tree/Makefile", "out.o: a.txt\n\tcat a.txt > $@\n").write("tree/a.txt", "1\n");
    lab.scenario("one", HEAD).scenario("two", HEAD);
    let mut seen = BTreeSet::new();
    for index in 1..=4 {
        let (which, out) = (format!("{index}/4"), format!("shards/{index}"));
        let ran = lab.run(&["run", "--shard", &which, "--out", &out, "--report", "ktap=ktap"]).exits(0);
        let report = json(lab.path(&out).join("report.json"));
        let own: Vec<String> =
            report["scenarios"].as_array().expect("a list").iter().map(|it| it["id"].to_string()).collect();
        if own.is_empty() {
            assert!(ran.err.contains("nothing to do: there are 2 scenarios"), "{ran}");
            assert!(ran.out.starts_with("0 scenarios: the shard has nothing to do\n"), "{ran}");
        }
        assert!(own.iter().all(|id| seen.insert(id.clone())), "{ran}");
    }
    assert_eq!(seen.len(), 2);
    lab.run(&["merge", "shards"]).exits(0).reports(&["2 scenarios: 2 passed"]);
}

#[test]
fn what_is_missing_is_told_with_the_command_that_runs_it() {
    if !has_make() {
        return;
    }
    let lab = lab();
    shards(&lab, 3, &[]);
    let own = |index: u32| -> Vec<String> {
        let report = json(lab.path(&format!("shards/{index}/report.json")));
        report["scenarios"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|it| it["id"].as_str().expect("an id").to_owned())
            .collect()
    };
    let third = own(3);
    let again = "kbuild-repro run scenarios/t scenarios/t/skipped.toml --no-fetch --quiet --shard 3/3 --out shards/3";
    let ran = lab.run(&["merge", "shards/1", "shards/2", "--report", "junit=junit.xml", "--out", "merged"]).exits(130);
    let ran = ran.says(&[&format!("shard 3/3 is missing; run it: {again}")]);
    assert!(
        ran.out.contains(&format!("{} not run, shard 3/3 is missing: {again}: {}", third.len(), third.join(", "))),
        "{ran}"
    );
    let junit = fs::read_to_string(lab.path("junit.xml")).expect("a report");
    assert_eq!(junit.matches("not run, shard 3/3 is missing").count(), third.len(), "{junit}");
    // Judged later it is the same.
    lab.run(&["judge", "merged"]).exits(130).reports(&["shard 3/3 is missing"]);
    // As a shard that is killed leaves it: the last thing that is written is not there, and one scenario is not through.
    for name in ["run.json", "report.json", "report.txt"] {
        fs::remove_file(lab.path("shards/3").join(name)).expect("removed");
    }
    let (done, open) = third.split_first().expect("some");
    for id in open {
        fs::remove_file(lab.path("shards/3").join(id).join("record.json")).expect("removed");
    }
    let lost = format!(
        "shard 3/3 was lost (shards/3): it had finished 1 of {}, which are not built again; run it: {again}",
        third.len()
    );
    lab.run(&["merge", "shards"]).exits(130).says(&[&lost]);
    // The same command goes on.
    let record = lab.path("shards/3").join(done).join("record.json");
    let before = fs::metadata(&record).expect("a record");
    let which = ["--shard", "3/3", "--out", "shards/3"];
    let ran = lab.run(&[&WHAT[..4], &which].concat());
    let done_line = format!("] {done}: ");
    let line = ran.err.lines().find(|line| line.contains(&done_line)).unwrap_or_else(|| panic!("not told: {ran}"));
    let was_skipped = json(&record)["ended"] != "complete" && !line.contains("finished before");
    if !was_skipped {
        let now = fs::metadata(&record).expect("a record");
        assert_eq!((before.ino(), before.mtime_nsec()), (now.ino(), now.mtime_nsec()), "{ran}");
        assert!(line.ends_with("finished before"), "{ran}");
    }
    for id in open {
        assert!(ran.err.lines().any(|line| line.contains(&format!("] {id}: ")) && !line.contains("before")), "{ran}");
    }
    lab.run(&["merge", "shards"]).exits(1);
    // A shard that came to its end is another night's: all of it is run.
    let ran = lab.run(&[&WHAT[..4], &which].concat());
    assert!(!ran.err.contains("finished before"), "{ran}");
}

#[test]
fn a_shard_that_is_killed_is_lost_and_an_interrupted_one_is_incomplete() {
    if !has_make() {
        return;
    }
    let lab = lab();
    lab.scenario("hang", &format!("{HEAD}[make]\ngoals = [\"hang\"]\n"));
    let start = || {
        let mut command = lab.command(&["run", "t/a", "t/hang", "--shard", "1/1", "--out", "out", "--jobs", "8"]);
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
        let started = Instant::now();
        while !lab.path("out/t/a/record.json").exists() {
            assert!(started.elapsed() < Duration::from_secs(60), "waited too long");
            std::thread::sleep(Duration::from_millis(10));
        }
        child
    };
    let mut child = start();
    // Whoever is still at it is not disturbed.
    lab.run(&["run", "t/a", "t/hang", "--shard", "1/1", "--out", "out"]).exits(2).says(&["another run writes to"]);
    child.kill().expect("SIGKILL");
    child.wait().expect("gone");
    let ran = lab.run(&["merge", "out"]).exits(130).says(&["shard 1/1 was lost (out): it had finished 1 of 2"]);
    assert!(ran.out.contains("t/a, t/hang"), "{ran}");
    let ino = |name: &str| fs::metadata(lab.path(name)).expect("a record").ino();
    let first = ino("out/t/a/record.json");
    let child = start();
    std::thread::sleep(Duration::from_millis(300));
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::INT)
        .expect("SIGINT");
    let ended = Ran::of(child.wait_with_output().expect("gone"));
    assert_eq!(ended.code, 130, "{ended}");
    assert_eq!(ino("out/t/a/record.json"), first, "it was run again");
    lab.run(&["merge", "out"])
        .exits(130)
        .says(&["shard 1/1 was interrupted (out); run it: kbuild-repro run t/a t/hang"]);
}

#[test]
fn what_is_no_part_of_one_run_is_told() {
    if !has_make() {
        return;
    }
    let lab = lab();
    shards(&lab, 2, &[]);
    let copy = |from: &str, to: &str, change: &dyn Fn(&mut Json)| {
        let mut report = json(lab.path(from).join("report.json"));
        change(&mut report);
        lab.write(to, serde_json::to_vec(&report).expect("JSON"));
    };
    let with = |other: &str, says: &[&str]| {
        lab.run(&["merge", "shards/1", other]).exits(2).says(says);
    };
    copy("shards/2", "n.json", &|it| it["shard"]["count"] = 3.into());
    with("n.json", &["`shards/1` is shard 1/2 and `n.json` is shard 2/3: they are no parts of one run"]);
    copy("shards/2", "version.json", &|it| it["shard"]["options"]["the version of kbuild-repro"] = "9.9".into());
    with(
        "version.json",
        &["the version of kbuild-repro is `0.1.0` in `shards/1` and `9.9` in `version.json`", "again: "],
    );
    copy("shards/1", "twice.json", &|_| {});
    with("twice.json", &["shard 1/2 is there twice: `shards/1` and `twice.json`"]);
    copy("shards/2", "less.json", &|it| drop(it["shard"]["cells"].as_array_mut().expect("a list").remove(0)));
    with("less.json", &["`shards/1` was run with scenarios that `less.json` does not know: "]);
    let first = json(lab.path("shards/1/report.json"))["scenarios"][0].clone();
    copy("shards/2", "over.json", &|it| it["scenarios"].as_array_mut().expect("a list").push(first.clone()));
    with("over.json", &["`over.json`, shard 2/2, has `", "which is not its own"]);
    copy("shards/2", "out.json", &|it| it["shard"]["cells"][0]["id"] = "../../x".into());
    with("out.json", &["has `../../x`, which can be no scenario"]);
    copy("shards/2", "zero.json", &|it| it["shard"]["index"] = 0.into());
    with("zero.json", &["says that it is shard 0 of 2"]);
    lab.write("cut.json", "{\"format\": 1, ");
    with("cut.json", &["`cut.json`: it is no JSON report"]);
    with("tree", &["`tree` has no shard"]);
    with("/dev/null", &["it is no regular file"]);
    // Real ones: another option, a scenario that was edited in between, other durations.
    lab.run(&[&WHAT[..], &["--shard", "2/2", "--out", "traced", "--no-trace"]].concat());
    with("traced", &["--no-trace is `no` in `shards/1` and `yes` in `traced`"]);
    lab.run(&[&WHAT[..], &["--shard", "2/2", "--out", "timed", "--durations", "shards/1"]].concat());
    with("timed", &["--durations is not given in `shards/1` and `"]);
    let edited = lab.path("scenarios/t/a.toml");
    let text = fs::read_to_string(&edited).expect("a scenario");
    fs::write(&edited, format!("{text}{EDIT}")).expect("written");
    lab.run(&[&WHAT[..], &["--shard", "2/2", "--out", "edited"]].concat());
    with("edited", &["scenarios are others in `shards/1` than in `edited`: t/a"]);
}

#[test]
fn which_part_this_is_is_read_from_the_environment() {
    if !has_make() {
        return;
    }
    let lab = lab();
    let run = |set: &[(&str, &str)]| {
        let mut command = lab.command(&["run", "t/a", "t/b", "--shard", "auto", "--out", "out"]);
        command.envs(set.iter().copied());
        Ran::of(command.output().expect("it starts"))
    };
    run(&[("CI_NODE_INDEX", "2"), ("CI_NODE_TOTAL", "2")]).exits(0).says(&["shard 2/2: 1 of 2 scenarios"]);
    run(&[]).exits(2).says(&["no variable says which part", "KBUILD_REPRO_SHARD=K/N"]);
    run(&[("CI_NODE_INDEX", "3"), ("CI_NODE_TOTAL", "2")]).exits(2).says(&["`CI_NODE_INDEX` is 3"]);
    lab.run(&["run", "--shard", "3/2"]).exits(2).says(&["there is no part 3 of 2"]);
}

#[test]
fn a_time_budget_leaves_out_what_does_not_fit_and_says_so_everywhere() {
    if !has_make() {
        return;
    }
    let lab = lab();
    lab.run(&["run", "t/a", "t/b", "t/bad", "--out", "past"]).exits(1);
    let mut past = json(lab.path("past/report.json"));
    for scenario in past["scenarios"].as_array_mut().expect("a list") {
        scenario["seconds"] = if scenario["id"] == "t/b" { 5000.0 } else { 0.5 }.into();
    }
    lab.write("past.json", serde_json::to_vec(&past).expect("JSON"));
    let arguments = ["--durations", "past.json", "--time-budget", "1h", "--jobs", "1", "--out", "out"];
    let reports: Vec<String> = FORMATS[..4].iter().map(|format| format!("{format}={format}.out")).collect();
    let reports: Vec<&str> = reports.iter().flat_map(|report| ["--report", report]).collect();
    let what = ["run", "t/a", "t/b", "t/bad", "t/c"];
    let ran = lab.run(&[&what[..], &arguments, &reports].concat()).exits(1);
    assert!(ran.out.contains("\n1 left out by the time budget: t/b\n"), "{ran}");
    let read = |name: &str| fs::read_to_string(lab.path(name)).expect("a report");
    assert!(read("junit.out").contains("<skipped message=\"left out by the time budget\"/>"), "{ran}");
    assert!(read("junit.out").contains("skipped=\"1\""), "{ran}");
    assert!(read("ktap.out").contains("ok 4 t/b # SKIP left out by the time budget"), "{}", read("ktap.out"));
    let kcidb: Json = serde_json::from_str(&read("kcidb.out")).expect("JSON");
    let tests = kcidb["tests"].as_array().expect("a list");
    let left = tests.iter().find(|test| test["path"] == "kbuild-repro.t.b").expect("it is told");
    assert_eq!((&left["status"], &left["comment"]), (&"SKIP".into(), &"left out by the time budget".into()));
    assert_eq!(json(lab.path("out/report.json"))["left_out"], serde_json::json!(["t/b"]));
    if let Some(python) = python() {
        let read = consume(&python, &["kcidb", lab.path("kcidb.out").to_str().expect("UTF-8")]);
        assert_eq!((&read["lost"], &read["tests"]["kbuild-repro.t.b"]), (&serde_json::json!([]), &"SKIP".into()));
    }
    // A skip beside results does not count; nothing but skips is nothing compared.
    lab.run(&[&["run", "t/a", "t/b"][..], &arguments].concat()).exits(0);
    lab.run(&[&["run", "t/b"][..], &arguments].concat()).exits(4);
    // By shards it is told of the whole.
    for index in ["1/2", "2/2"] {
        let out = format!("shards/{}", &index[..1]);
        lab.run(&[&what[..], &arguments[..4], &["--shard", index, "--out", &out]].concat());
    }
    lab.run(&["merge", "shards"]).exits(1).reports(&["1 left out by the time budget: t/b"]);
    lab.run(&["run", "t/a", "--durations", "nowhere"]).exits(2).says(&["--durations: cannot read `"]);
    lab.write("empty.json", "[]");
    lab.run(&["run", "t/a", "--durations", "empty.json"]).exits(2).says(&["it is no JSON report"]);
}

#[test]
fn shards_are_balanced_by_what_took_long() {
    if !has_make() {
        return;
    }
    let lab = lab();
    lab.run(&["run", "t/a", "t/b", "t/c", "t/d", "--out", "past"]).exits(0);
    let mut past = json(lab.path("past/report.json"));
    for scenario in past["scenarios"].as_array_mut().expect("a list") {
        scenario["seconds"] = if scenario["id"] == "t/c" { 30.0 } else { 10.0 }.into();
    }
    lab.write("past.json", serde_json::to_vec(&past).expect("JSON"));
    let counts: BTreeSet<usize> = ["1/2", "2/2"]
        .into_iter()
        .map(|which| {
            let out = format!("shards/{}", &which[..1]);
            let what = ["run", "t/a", "t/b", "t/c", "t/d", "--durations", "past.json", "--shard", which, "--out", &out];
            lab.run(&what).exits(0);
            json(lab.path(&out).join("report.json"))["scenarios"].as_array().map_or(0, Vec::len)
        })
        .collect();
    assert_eq!(counts, BTreeSet::from([1, 3]));
    lab.run(&["merge", "shards"]).exits(0).reports(&["4 scenarios: 4 passed"]);
}

/// The ready files, with what reads them that is not ours.
fn recipe(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(".ci/recipes").join(name)
}

#[test]
fn the_recipes_are_what_their_systems_read() {
    let Some(python) = std::env::var_os("KBUILD_REPRO_PYTHON").filter(|path| !path.is_empty()) else {
        return skipped("KBUILD_REPRO_PYTHON names no Python with check-jsonschema and kubernetes-validate");
    };
    let check = |arguments: &[&str], file: &Path| {
        // Schemas come with the packages; nothing is fetched.
        let output = Command::new(&python).arg("-B").args(arguments).arg(file).output().expect("it starts");
        (
            output.status.success(),
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)),
        )
    };
    let schema = |name| ["-m", "check_jsonschema", "--builtin-schema", name];
    let cases: [(&str, Vec<&str>, &str); 3] = [
        ("github.yml", schema("vendor.github-workflows").to_vec(), "runs-on"),
        ("gitlab.yml", schema("vendor.gitlab-ci").to_vec(), "script"),
        ("kubernetes.yaml", vec!["-m", "kubernetes_validate", "--strict"], "completionMode"),
    ];
    for (name, arguments, key) in cases {
        let (good, told) = check(&arguments, &recipe(name));
        assert!(good, "{name}: {told}");
        // The reader does find what is wrong.
        let text = fs::read_to_string(recipe(name)).expect("a recipe").replace(&format!("{key}:"), &format!("{key}x:"));
        let wrong = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::write(&wrong, text).expect("written");
        assert!(!check(&arguments, &wrong).0, "{name}: `{key}x` is taken");
    }
}
