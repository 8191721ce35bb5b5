//! Oracles that were built before: when their results are taken, and that no finding rests on one.

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;

use kbuild_repro::artifact::record::{ScenarioRecord, read};

use super::{Lab, MAKEFILE, SOURCE_EDIT, said, vmlinux};

impl Lab {
    /// Runs the scenario, which ends with `code`, and returns its record and what it said.
    fn reuse(&self, more: &[&str], code: i32) -> (ScenarioRecord, String) {
        let output = self.reusing(&["--out", "out", "--verbose"]).args(more).output().expect("started");
        assert_eq!(output.status.code(), Some(code), "{}", said(&output));
        (read(&self.at("out/s/record.json")).expect("a record"), said(&output))
    }

    /// The builds that were not made again.
    fn taken(&self, more: &[&str]) -> Vec<String> {
        taken(&self.reuse(more, 0).0)
    }

    fn results(&self) -> Vec<PathBuf> {
        let dirs = fs::read_dir(self.at("cache/results")).into_iter().flatten().flatten();
        let files = dirs.flat_map(|dir| fs::read_dir(dir.path()).into_iter().flatten().flatten());
        files.map(|file| file.path()).filter(|path| path.extension().is_some_and(|it| it == "gz")).collect()
    }
}

fn taken(record: &ScenarioRecord) -> Vec<String> {
    record.builds.iter().filter(|build| build.reused).map(|build| build.id.clone()).collect()
}

const ORACLE: [&str; 2] = ["edit-1/oracle", "edit-1/oracle-noop"];

#[test]
fn an_oracle_is_built_once() {
    let lab = Lab::new();
    lab.scenario(SOURCE_EDIT);
    lab.prove();
    assert_eq!(lab.taken(&[]), [""; 0]);
    let (first, _) = lab.reuse(&["--no-reuse"], 0);
    let (second, told) = lab.reuse(&[], 0);
    assert_eq!(taken(&second), ORACLE);
    assert!(told.contains("s: edit-1/oracle was built before") && told.contains("as built before"), "{told}");
    // All that is recorded of it is there, and can be judged again.
    assert_eq!(vmlinux(&first, "edit-1/oracle"), vmlinux(&second, "edit-1/oracle"));
    for file in ["log", "build.sh", "steps.json"] {
        assert!(lab.at("out/s/edit-1/oracle").join(file).exists(), "{file}");
    }
    let told = |record: &ScenarioRecord| {
        record.builds.iter().map(|build| (build.id.clone(), build.labels.clone())).collect::<Vec<_>>()
    };
    assert_eq!(told(&first), told(&second));
    for none in [["--no-reuse"], ["--fresh"]] {
        assert_eq!(lab.taken(&none), [""; 0]);
    }
}

#[test]
fn what_it_was_made_from_is_what_it_was() {
    let lab = Lab::new();
    lab.scenario(SOURCE_EDIT);
    lab.prove();
    lab.taken(&[]);
    let built = |lab: &Lab| lab.taken(&[]).is_empty();
    assert!(!built(&lab));
    lab.write("kernel/unread", "more");
    assert!(!built(&lab), "nobody reads it");
    lab.write("kernel/init.txt", "other\n");
    assert!(built(&lab) && !built(&lab));
    // What the host tool is made of shows in the prepared tree.
    let tool = fs::read_to_string(lab.at("kernel/scripts/tool.c")).expect("there");
    lab.write("kernel/scripts/tool.c", &tool.replace("first", "second"));
    assert!(built(&lab) && !built(&lab));
    // A file that is looked for, and another command line or environment.
    lab.write("kernel/Makefile", &MAKEFILE.replace("all: vmlinux", "all: vmlinux\n-include $(srctree)/more.mk"));
    assert!(lab.taken(&["--no-reuse"]).is_empty(), "the way is tried");
    assert!(built(&lab) && !built(&lab));
    lab.write("kernel/more.mk", "# more\n");
    assert!(built(&lab) && !built(&lab));
    lab.scenario(&format!("vars = {{ A = \"b\" }}\n{SOURCE_EDIT}"));
    lab.taken(&["--no-reuse"]);
    assert!(built(&lab) && !built(&lab));
    lab.scenario(&format!("env = {{ A = \"b\" }}\n{SOURCE_EDIT}"));
    lab.taken(&["--no-reuse"]);
    assert!(built(&lab) && !built(&lab));
    // Other files are looked at of it.
    lab.scenario(&format!("{SOURCE_EDIT}[compare]\nartifacts = [\"scripts/*\"]\n"));
    assert!(built(&lab) && !built(&lab));
}

#[test]
fn edits_that_come_back_have_one_oracle() {
    let lab = Lab::new();
    let edit = |id: &str, what: &str| format!("[[edit]]\nid = \"{id}\"\n{what}\n");
    let more = "file = \"init.txt\"\nappend = \"more\\n\"";
    lab.scenario(&[edit("a", more), edit("b", "undo = \"a\""), edit("c", more), edit("d", "undo = \"c\"")].concat());
    lab.prove();
    let taken = lab.taken(&[]);
    // Whichever comes first is built.
    let count = |ids: [&str; 2]| ids.iter().filter(|id| taken.contains(&format!("{id}/oracle"))).count();
    assert_eq!((count(["a", "c"]), count(["b", "d"])), (1, 1), "{taken:?}");
}

#[test]
fn a_difference_is_told_of_a_build_of_this_run() {
    let lab = Lab::new();
    // vmlinux is not made again where init.txt changes: stale after the edit, and no matter where it is not.
    let broken = MAKEFILE.replace("vmlinux: scripts/tool $(srctree)/init.txt", "vmlinux: scripts/tool");
    lab.write("kernel/Makefile", &broken);
    lab.scenario(SOURCE_EDIT);
    for _ in 0..4 {
        let (record, told) = lab.reuse(&[], 1);
        assert_eq!(taken(&record), [""; 0]);
        assert!(told.contains("rebuild.stale vmlinux"), "{told}");
    }
    assert_eq!(lab.results().len(), 1);
}

#[test]
fn an_oracle_of_another_day_is_no_difference() {
    let lab = Lab::new();
    // The day of the build, as far as a test can turn it.
    let dir = lab.at("").canonicalize().expect("there");
    let dated = MAKEFILE.replace("&& cat $(srctree)", &format!("&& sh {}/day >>$@ && cat $(srctree)", dir.display()));
    lab.write("kernel/Makefile", &dated);
    // Not looked at by a path: by a descriptor that a shell has from a pipe.
    lab.write("day", "echo $(($(date +%s) / 4))\n");
    lab.scenario(&format!("{SOURCE_EDIT}[experiment]\n"));
    let text = fs::read_to_string(lab.at("s.toml")).expect("there");
    lab.write("s.toml", &text.replace("[make]", &format!("host = [\"{}\"]\n[make]", dir.display())));
    // Whatever a run says of builds in other seconds, it says of its own: an oracle that was taken is not among what differs.
    for _ in 0..3 {
        let output = lab.reusing(&["--out", "out"]).output().expect("started");
        let record: ScenarioRecord = read(&lab.at("out/s/record.json")).expect("a record");
        let differs = vmlinux(&record, "edit-1/incremental") != vmlinux(&record, "edit-1/oracle");
        assert!(!differs || taken(&record).is_empty(), "{}", said(&output));
    }
}

#[test]
fn a_result_that_is_damaged_is_made_anew() {
    let lab = Lab::new();
    lab.scenario(SOURCE_EDIT);
    lab.prove();
    lab.taken(&[]);
    for damage in ["", "{", "no gzip at all"] {
        let [path] = &lab.results()[..] else { panic!("{:?}", lab.results()) };
        fs::write(path, damage).expect("written");
        assert_eq!(lab.taken(&[]), [""; 0]);
        assert_eq!(lab.taken(&[]), ORACLE);
    }
}

#[test]
fn two_runs_at_once_make_one_result() {
    let lab = Lab::new();
    lab.scenario(SOURCE_EDIT);
    lab.prove();
    let both = ["one", "two"].map(|out| {
        let mut command = lab.reusing(&["--out", out]);
        (out, command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("started"))
    });
    let taken = both.map(|(out, child)| {
        let output = child.wait_with_output().expect("ended");
        assert!(output.status.success(), "{}", said(&output));
        taken(&read(&lab.at(out).join("s/record.json")).expect("a record")).len()
    });
    assert_eq!(taken.iter().sum::<usize>(), ORACLE.len(), "{taken:?}");
    assert_eq!(lab.results().len(), 1);
}
