//! `.ci/recipes/slurm.sh` under a real Slurm: four shards of an array job and the job that merges them.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value as Json;

use crate::lab::{Ran, has_make, skipped};
use crate::shards::{lab, timeless};

/// Whether jobs can be submitted here and would be run.
fn is_up() -> bool {
    let sinfo = Command::new("sinfo").args(["--noheader", "--format=%T"]).output();
    let told = sinfo.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let up = told.lines().any(|state| ["idle", "mixed", "allocated"].contains(&state.trim()));
    if !up {
        skipped("no Slurm runs here, with a node that takes jobs: `.ci/run` starts one");
    }
    up
}

fn json(path: impl AsRef<Path>) -> Json {
    serde_json::from_slice(&fs::read(path).expect("a file")).expect("JSON")
}

#[test]
fn four_shards_of_an_array_job_are_merged_into_the_report_of_one_run() {
    if !has_make() || !is_up() {
        return;
    }
    let lab = lab();
    let what = ["scenarios/t", "scenarios/t/skipped.toml", "--no-fetch"];
    lab.run(&[&["run"], &what[..], &["--quiet", "--out", "whole"]].concat()).exits(1);
    let recipe = Path::new(env!("CARGO_MANIFEST_DIR")).join(".ci/recipes/slurm.sh");
    // Slurm hands the environment on.
    let binary = Path::new(env!("CARGO_BIN_EXE_kbuild-repro"));
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = lab.command(&[]);
    let of_lab: Vec<_> =
        command.get_envs().map(|(name, value)| (name.to_owned(), value.map(ToOwned::to_owned))).collect();
    command = Command::new("sh");
    for (name, value) in of_lab {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.arg(recipe).args(["4", "night"]).args(what).current_dir(lab.path(""));
    command.env("PATH", format!("{}:{path}", binary.parent().expect("a directory").display()));
    command.env("WAIT", "1").env("CPUS", "1");
    let ran = Ran::of(command.output().expect("it starts"));
    let logs = || -> String {
        let files = fs::read_dir(lab.path("night/logs")).into_iter().flatten().filter_map(Result::ok);
        files.map(|file| fs::read_to_string(file.path()).unwrap_or_default()).collect()
    };
    assert_eq!(ran.code, 1, "{ran}{}", logs());
    for shard in 1..=4 {
        let report = json(lab.path(&format!("night/shards/{shard}/report.json")));
        assert_eq!(report["scenarios"].as_array().map(Vec::len), Some(2), "{}", logs());
    }
    let (one, all) = (json(lab.path("whole/report.json")), json(lab.path("night/merged/report.json")));
    assert_eq!(timeless(one), timeless(all), "{}", logs());
    assert!(lab.path("night/junit.xml").is_file());
}
