//! Clean builds that start from prepared states, with something like a kernel that builds in no time: what is reused,
//! what is not, and that nobody sees the difference.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant, SystemTime};

use kbuild_repro::artifact::record::{ScenarioRecord, read};
use kbuild_repro::runner::Preparation;
use kbuild_repro::scenario::GraftArch;
use kbuild_repro::tree::graft;
use kbuild_repro::tree::lower::DirLower;
use tempfile::TempDir;

/// As a kernel's: `O=`, a configuration, a host program, and an output that the host program writes.
const MAKEFILE: &str = r#"VERSION = 7
PATCHLEVEL = 1
SUBLEVEL = 0
EXTRAVERSION =
MAKEFLAGS += --no-print-directory
export srctree
ifeq ($(SUB),)
goals := $(or $(MAKECMDGOALS),all)
.PHONY: $(goals) sub
$(goals): sub ;
sub:
	@$(MAKE) -C $(O) -f $(CURDIR)/Makefile SUB=1 srctree=$(CURDIR) $(goals)
else
all: vmlinux
%config:
	@[ -e .config ] || echo CONFIG_A=y >.config
prepare: scripts/tool
scripts: ;
scripts/tool: $(wildcard $(srctree)/scripts/*.[ch])
	@echo '  HOSTCC  scripts/tool'; mkdir -p scripts
	@gcc -o $@ $(srctree)/scripts/tool.c
vmlinux: scripts/tool $(srctree)/init.txt
	@echo '  GEN     vmlinux'; scripts/tool >$@ && cat $(srctree)/init.txt >>$@
modules: ;
endif
"#;

const TOOL: &str = r#"#include <stdio.h>
#if __has_include("extra.h")
#include "extra.h"
#else
#define EXTRA "none"
#endif
int main(void) { puts("first " EXTRA); return 0; }
"#;

#[path = "prepared/results.rs"]
mod results;

struct Lab(TempDir);

impl Lab {
    fn new() -> Self {
        // Not in memory, which a sandbox hides, and not below /tmp, which may be.
        let lab = Self(tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory"));
        for (path, text) in [
            ("kernel/Makefile", MAKEFILE),
            ("kernel/Kconfig", ""),
            ("kernel/Kbuild", ""),
            ("kernel/init.txt", "init\n"),
            ("kernel/scripts/tool.c", TOOL),
            ("kernel/scripts/Makefile.build", ""),
            ("kernel/unread", ""),
        ] {
            lab.write(path, text);
        }
        // What a graft takes of every kernel has to be there, though nothing here looks at it.
        for requires in graft::missing(&DirLower(lab.at("kernel")), GraftArch::Graft) {
            lab.write(&format!("kernel/{}", requires.file), "");
        }
        lab
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.at(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("made");
        fs::write(path, text).expect("written");
    }

    fn scenario(&self, edits: &str) {
        let text = format!(
            "title = \"x\"\n[tree]\nsrctree = \"graft\"\nkernel = \"./kernel\"\n\
             [make]\ngoals = [\"vmlinux\", \"modules\"]\n{edits}"
        );
        self.write("s.toml", &text);
    }

    fn command(&self, more: &[&str]) -> Command {
        let mut command = self.reusing(more);
        command.args(["--quiet", "--no-reuse"]);
        command
    }

    /// One that takes results of earlier builds, too.
    fn reusing(&self, more: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kbuild-repro"));
        command.args(["run", "s.toml", "--cache", "cache", "--scratch", "."]).args(more);
        command.current_dir(self.0.path()).env("XDG_STATE_HOME", self.at("state")).env("NO_COLOR", "1");
        command
    }

    /// Runs the scenario, which has to pass, and returns its record.
    fn run(&self, more: &[&str]) -> ScenarioRecord {
        let out = self.at("out");
        let output = self.command(&["--out", "out"]).args(more).output().expect("started");
        assert!(output.status.success(), "{}", said(&output));
        read(&out.join("s/record.json")).expect("a record")
    }

    /// Has a run find out that the goals come to what is prepared for them, and leave nothing else behind.
    fn prove(&self) {
        self.run(&[]);
        for key in fs::read_dir(self.at("cache/prepared")).expect("a cache").flatten() {
            if key.file_name() != "ways" {
                fs::remove_dir_all(key.path()).expect("removed");
            }
        }
    }

    /// The states in the cache.
    fn states(&self) -> Vec<PathBuf> {
        let dirs = |dir: &Path| -> Vec<PathBuf> {
            let entries = fs::read_dir(dir).into_iter().flatten().flatten();
            entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
        };
        let mut states: Vec<PathBuf> = dirs(&self.at("cache/prepared")).iter().flat_map(|key| dirs(key)).collect();
        states.sort();
        states
    }
}

fn said(output: &Output) -> String {
    format!("{}\n{}{}", output.status, String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn preparation<'r>(record: &'r ScenarioRecord, build: &str) -> Option<&'r Preparation> {
    record.builds.iter().find(|it| it.id == build).expect("the build").preparation.as_ref()
}

fn reused(record: &ScenarioRecord, build: &str) -> bool {
    preparation(record, build).expect("a prepared state").reused
}

/// The content of vmlinux, by digest.
fn vmlinux(record: &ScenarioRecord, build: &str) -> String {
    let build = record.builds.iter().find(|it| it.id == build).expect("the build");
    build.artifact("vmlinux").expect("vmlinux").sha256.to_string()
}

const SOURCE_EDIT: &str = "[[edit]]\nfile = \"init.txt\"\nappend = \"more\\n\"\n";

#[test]
fn control_and_experiment_prepare_for_themselves_and_the_rest_is_reused() {
    let lab = Lab::new();
    lab.scenario(SOURCE_EDIT);
    lab.prove();
    let first = lab.run(&[]);
    assert!(!reused(&first, "control/clean") && !reused(&first, "experiment/clean"), "two states, not one");
    assert!(reused(&first, "edit-1/oracle"));
    assert_eq!(preparation(&first, "edit-1/incremental"), None);
    assert_eq!(lab.states().len(), 2);
    let again = lab.run(&[]);
    for build in ["control/clean", "experiment/clean", "edit-1/oracle"] {
        assert!(reused(&again, build), "{build}");
        assert_eq!(vmlinux(&first, build), vmlinux(&again, build));
    }
    // What stands in the record is what anybody can run from nothing.
    let clean = again.builds.iter().find(|build| build.id == "control/clean").expect("the build");
    assert!(clean.commands.iter().any(|command| command.ends_with("prepare scripts")), "{:?}", clean.commands);
    assert!(!clean.labels.iter().any(|label| label.starts_with("HOSTCC")), "{:?}", clean.labels);
    let fresh = lab.run(&["--fresh"]);
    assert!(preparation(&fresh, "control/clean").is_none() && !reused(&fresh, "experiment/clean"));
    assert!(reused(&fresh, "edit-1/oracle"), "what this run made itself is fresh");
}

#[test]
fn an_edit_of_a_host_tool_never_meets_a_state_from_before_it() {
    let lab = Lab::new();
    lab.scenario(
        "[[edit]]\nid = \"tool\"\nfile = \"scripts/tool.c\"\nreplace = \"first\"\nwith = \"second\"\n\
         [[edit]]\nid = \"header\"\nfile = \"scripts/extra.h\"\nwrite = \"#define EXTRA \\\"some\\\"\\n\"\n\
         [[edit]]\nid = \"source\"\nfile = \"init.txt\"\nappend = \"more\\n\"\n\
         [[edit]]\nid = \"unread\"\nfile = \"unread\"\nappend = \"more\\n\"\n\
         [[edit]]\nid = \"back\"\nundo = \"tool\"\n",
    );
    lab.prove();
    let record = lab.run(&[]);
    // The file that is looked for and not there counts as much as one that is read.
    let fresh = |build: &str| !reused(&record, build);
    assert!(fresh("tool/oracle") && fresh("back/oracle"));
    // The three have the same host tool; whichever comes first makes it.
    let made = ["header/oracle", "source/oracle", "unread/oracle"].into_iter().filter(|build| fresh(build)).count();
    assert_eq!(made, 1);
    // That the runs passed says that each oracle is what the incremental build made of the edited tool.
    assert_ne!(vmlinux(&record, "control/clean"), vmlinux(&record, "tool/oracle"));
    assert_ne!(vmlinux(&record, "tool/oracle"), vmlinux(&record, "header/oracle"));
    let again = lab.run(&[]);
    assert!(again.builds.iter().filter_map(|build| build.preparation.as_ref()).all(|it| it.reused));
}

const DEPENDS: &str = "vmlinux: scripts/tool $(srctree)";

#[test]
fn goals_that_do_not_make_what_they_need_do_not_pass_by_what_is_prepared() {
    let lab = Lab::new();
    let edit = format!("file = \"Makefile\"\nreplace = \"{DEPENDS}\"\nwith = \"vmlinux: $(srctree)\"\n");
    lab.scenario(SOURCE_EDIT);
    lab.prove();
    // A clean build of the edited sources finds no tool; the incremental one has it from before.
    lab.scenario(&format!("{SOURCE_EDIT}[[edit]]\nid = \"lost\"\n{edit}"));
    for _ in 0..2 {
        let output = lab.command(&["--out", "out"]).output().expect("started");
        assert_eq!(output.status.code(), Some(1), "{}", said(&output));
        assert!(said(&output).contains("rebuild.masked"), "{}", said(&output));
    }
    lab.scenario(&format!("[[tree.edit]]\n{edit}"));
    for _ in 0..2 {
        let output = lab.command(&["--out", "out"]).output().expect("started");
        assert_eq!(output.status.code(), Some(4), "{}", said(&output));
        assert!(said(&output).contains("build.failed"), "{}", said(&output));
    }
}

#[test]
fn the_first_clean_build_by_some_makefiles_is_made_from_nothing() {
    let lab = Lab::new();
    lab.scenario(SOURCE_EDIT);
    let first = lab.run(&[]);
    assert_eq!(preparation(&first, "control/clean"), None);
    assert!(!reused(&first, "experiment/clean") && reused(&first, "edit-1/oracle"));
    let second = lab.run(&[]);
    assert!(!reused(&second, "control/clean") && reused(&second, "experiment/clean"));
    assert!(reused(&lab.run(&[]), "control/clean"));
    lab.write("kernel/scripts/Makefile.build", "# new\n");
    assert_eq!(preparation(&lab.run(&[]), "control/clean"), None);
    // What makes the goals differ from run to run proves nothing.
    let odd = MAKEFILE.replace("&& cat $(srctree)", "&& date +%N >>$@ && cat $(srctree)");
    lab.write("kernel/Makefile", &odd);
    for _ in 0..2 {
        let output = lab.command(&["--out", "out"]).output().expect("started");
        assert_eq!(output.status.code(), Some(1), "{}", said(&output));
        let record: ScenarioRecord = read(&lab.at("out/s/record.json")).expect("a record");
        assert_eq!(preparation(&record, "control/clean"), None);
    }
}

#[test]
fn sources_of_the_future_are_built_from_nothing() {
    let lab = Lab::new();
    lab.scenario("");
    lab.prove();
    let tool = fs::File::options().append(true).open(lab.at("kernel/scripts/tool.c")).expect("there");
    tool.set_modified(SystemTime::now() + Duration::from_secs(3600)).expect("set");
    let record = lab.run(&[]);
    let clean = |build: &str| preparation(&record, build).cloned();
    assert_eq!([clean("control/clean"), clean("experiment/clean")], [None, None]);
}

#[test]
fn what_a_build_sees_of_the_host_is_another_preparation() {
    let lab = Lab::new();
    lab.write("host/conf", "one\n");
    let dir = lab.at("host").canonicalize().expect("there");
    let host = format!("host = [\"{}\"]\n", dir.display());
    lab.write(
        "kernel/Makefile",
        &MAKEFILE.replace("@gcc -o", &format!("@cat {}/conf 2>/dev/null; gcc -o", dir.display())),
    );
    lab.scenario("");
    lab.prove();
    lab.run(&[]);
    let text = fs::read_to_string(lab.at("s.toml")).expect("there");
    lab.write("s.toml", &text.replace("[make]", &format!("{host}[make]")));
    assert!(!reused(&lab.run(&[]), "control/clean"));
    assert!(reused(&lab.run(&[]), "control/clean"));
    lab.write("host/conf", "two\n");
    assert!(!reused(&lab.run(&[]), "control/clean"));
}

#[test]
fn what_lies_beside_a_program_of_the_scenarios_counts() {
    let lab = Lab::new();
    // Where a sandbox has a directory of its own.
    let dir = tempfile::tempdir_in("/tmp").expect("a directory");
    let (tool, conf) = (dir.path().join("helper"), dir.path().join("conf"));
    fs::write(&tool, "#!/bin/sh\ncat $(dirname $(readlink -f $0))/conf\n").expect("written");
    fs::set_permissions(&tool, fs::Permissions::from_mode(0o755)).expect("set");
    fs::write(&conf, "one").expect("written");
    lab.write("kernel/Makefile", &MAKEFILE.replace("@gcc -o", "@helper > scripts/conf; gcc -o"));
    let brought = format!("tool = {{ name = \"helper\", path = \"{}\" }}", tool.display());
    lab.scenario(&format!("[[tree.edit]]\n{brought}\n"));
    lab.prove();
    lab.run(&[]);
    assert!(reused(&lab.run(&[]), "control/clean"));
    fs::write(&conf, "two").expect("written");
    assert!(!reused(&lab.run(&[]), "control/clean"));
}

/// A scenario whose preparation runs `script` in the object tree, after it made something that a first run keeps.
fn stale(script: &str, setup: &dyn Fn(&Lab), change: &dyn Fn(&Lab), more: &str) {
    let lab = Lab::new();
    lab.scenario(more);
    lab.write("kernel/Makefile", &MAKEFILE.replace("@gcc -o", "@sh $(srctree)/scripts/prep.sh >/dev/null; gcc -o"));
    lab.write("kernel/scripts/prep.sh", script);
    setup(&lab);
    lab.prove();
    lab.run(&[]);
    change(&lab);
    assert!(!reused(&lab.run(&[]), "control/clean"), "`{script}` was not seen");
    assert!(reused(&lab.run(&[]), "control/clean"), "`{script}` is never kept");
}

#[test]
fn what_a_preparation_sees_by_roundabout_ways_counts() {
    let file = |path: &'static str, text: &'static str| move |lab: &Lab| lab.write(path, text);
    let link = |to: &'static str| {
        move |lab: &Lab| {
            let _ = fs::remove_file(lab.at("kernel/scripts/l"));
            std::os::unix::fs::symlink(to, lab.at("kernel/scripts/l")).expect("linked");
        }
    };
    let both = |lab: &Lab| {
        for name in ["a", "b"] {
            lab.write(&format!("kernel/scripts/{name}"), "same");
        }
        link("a")(lab);
    };
    let (f, g) = (file("kernel/scripts/f", "one"), file("kernel/scripts/f", "two"));
    // Through a link that the build makes in its object tree.
    stale("ln -sfn $srctree scripts/link; cat scripts/link/scripts/f", &f, &g, "");
    // The size of what is not read, and the text of a link whose targets are the same.
    stale("stat -c %s $srctree/scripts/f", &f, &file("kernel/scripts/f", "three"), "");
    stale("readlink $srctree/scripts/l", &both, &link("b"), "");
    stale(
        "stat -c %a $srctree/scripts/l",
        &both,
        &|lab| {
            fs::set_permissions(lab.at("kernel/scripts/a"), fs::Permissions::from_mode(0o600)).expect("set");
        },
        "",
    );
    // What kind of thing has a name.
    stale(
        "find $srctree/scripts -type f",
        &both,
        &|lab| {
            fs::remove_file(lab.at("kernel/scripts/l")).expect("removed");
            lab.write("kernel/scripts/l", "same");
        },
        "",
    );
}

#[test]
fn a_number_of_jobs_that_a_scenario_fixes_is_another_preparation() {
    let lab = Lab::new();
    lab.scenario("[experiment]\njobs = 1\n");
    lab.prove();
    lab.run(&[]);
    lab.scenario("");
    let record = lab.run(&[]);
    assert!(reused(&record, "control/clean") && !reused(&record, "experiment/clean"));
}

#[test]
fn an_edit_through_a_linked_directory_is_the_builds_own() {
    let lab = Lab::new();
    std::os::unix::fs::symlink("scripts", lab.at("kernel/alias")).expect("linked");
    lab.scenario("[[edit]]\nfile = \"alias/tool.c\"\nreplace = \"first\"\nwith = \"second\"\n");
    let record = lab.run(&[]);
    assert_eq!(preparation(&record, "edit-1/oracle"), None);
    assert_ne!(vmlinux(&record, "control/clean"), vmlinux(&record, "edit-1/oracle"));
}

#[test]
fn sources_that_are_newer_and_the_same_are_not_built_again() {
    let lab = Lab::new();
    lab.scenario(SOURCE_EDIT);
    lab.prove();
    lab.run(&[]);
    let tool = fs::File::options().append(true).open(lab.at("kernel/scripts/tool.c")).expect("there");
    tool.set_modified(SystemTime::now()).expect("set");
    let record = lab.run(&[]);
    for build in ["control/clean", "experiment/clean", "edit-1/oracle"] {
        let build = record.builds.iter().find(|it| it.id == build).expect("the build");
        assert!(build.preparation.as_ref().is_some_and(|it| it.reused));
        assert!(!build.labels.iter().any(|label| label.starts_with("HOSTCC")), "{}: {:?}", build.id, build.labels);
    }
    lab.write("kernel/scripts/tool.c", &TOOL.replace("first", "other"));
    let record = lab.run(&[]);
    assert!(!reused(&record, "control/clean"));
    let why = preparation(&record, "control/clean").and_then(|it| it.why.clone()).unwrap_or_default();
    assert!(why.contains("scripts/tool.c"), "{why}");
}

#[test]
fn what_is_damaged_is_not_believed() {
    let lab = Lab::new();
    lab.scenario(SOURCE_EDIT);
    lab.prove();
    lab.run(&[]);
    let states = lab.states();
    // Same size, same time, another program: the most that a broken disk or a careless hand can hide.
    let tool = states[0].join("obj/scripts/tool");
    let modified = fs::metadata(&tool).expect("there").modified().expect("a time");
    let mut bytes = fs::read(&tool).expect("there");
    let at = bytes.windows(5).position(|window| window == b"first").expect("the text");
    bytes[at..at + 5].copy_from_slice(b"worst");
    fs::write(&tool, bytes).expect("written");
    fs::File::options().append(true).open(&tool).expect("there").set_modified(modified).expect("set");
    fs::remove_file(states[1].join("obj/.config")).expect("removed");
    let record = lab.run(&[]);
    assert!(!reused(&record, "control/clean") && !reused(&record, "experiment/clean"));
    assert!(reused(&lab.run(&[]), "control/clean"), "it was made anew");
    for state in lab.states() {
        fs::write(state.join("prepared.json"), "{").expect("written");
    }
    assert!(!reused(&lab.run(&[]), "control/clean"));
}

#[test]
fn many_at_once_prepare_once() {
    let lab = Lab::new();
    lab.scenario(SOURCE_EDIT);
    lab.prove();
    let started: Vec<Child> = (0..4)
        .map(|n| {
            let out = format!("out-{n}");
            lab.command(&["--out", &out]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("started")
        })
        .collect();
    for child in started {
        let output = child.wait_with_output().expect("ended");
        assert!(output.status.success(), "{}", said(&output));
    }
    assert_eq!(lab.states().len(), 2);
    let made: usize = (0..4)
        .map(|n| read::<ScenarioRecord>(&lab.at(&format!("out-{n}/s/record.json"))).expect("a record"))
        .map(|record| record.builds.iter().filter(|it| it.preparation.as_ref().is_some_and(|it| !it.reused)).count())
        .sum();
    assert_eq!(made, 2);
}

#[test]
fn what_a_killed_run_leaves_is_in_nobodys_way() {
    let lab = Lab::new();
    lab.scenario(SOURCE_EDIT);
    lab.prove();
    lab.write("kernel/Makefile", &MAKEFILE.replace("@gcc -o", "@sleep 5; gcc -o"));
    let mut child =
        lab.command(&["--out", "killed"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("started");
    let began = Instant::now();
    while lab.at("killed/s/control/clean/log").metadata().map_or(0, |meta| meta.len()) == 0 {
        assert!(began.elapsed() < Duration::from_secs(60), "the preparation does not begin");
        std::thread::sleep(Duration::from_millis(20));
    }
    child.kill().expect("killed");
    child.wait().expect("ended");
    assert_eq!(lab.states().len(), 0, "nothing half made is there");
    lab.write("kernel/Makefile", MAKEFILE);
    assert!(!reused(&lab.run(&[]), "control/clean"));
    assert_eq!(lab.states().len(), 2);
}

#[test]
fn a_cache_that_cannot_be_written_costs_time_alone() {
    let lab = Lab::new();
    lab.scenario(SOURCE_EDIT);
    fs::create_dir_all(lab.at("cache")).expect("made");
    // Where a directory should be; a mode would not keep root from writing.
    lab.write("cache/prepared", "in the way");
    let record = lab.run(&[]);
    assert_eq!(preparation(&record, "control/clean"), None, "nothing can be known of it");
    for build in ["experiment/clean", "edit-1/oracle"] {
        let preparation = preparation(&record, build).expect("a state of its own");
        assert!(!preparation.reused && preparation.why.is_some(), "{build}: {preparation:?}");
    }
}

#[test]
fn a_preparation_that_writes_into_the_sources_is_the_builds_own() {
    let lab = Lab::new();
    lab.scenario(SOURCE_EDIT);
    lab.write("kernel/Makefile", &MAKEFILE.replace("@gcc -o", "@touch $(srctree)/scripts/left; gcc -o"));
    let record = lab.run(&[]);
    assert_eq!(preparation(&record, "control/clean"), None);
    let clean = record.builds.iter().find(|build| build.id == "control/clean").expect("the build");
    assert!(clean.labels.iter().any(|label| label.starts_with("HOSTCC")), "{:?}", clean.labels);
    assert_eq!(lab.states().len(), 0);
}

#[test]
fn what_cannot_be_copied_is_not_lost() {
    let lab = Lab::new();
    lab.scenario(SOURCE_EDIT);
    lab.write("kernel/Makefile", &MAKEFILE.replace("@gcc -o", "@mkfifo scripts/pipe; gcc -o"));
    lab.prove();
    let record = lab.run(&[]);
    assert_eq!(preparation(&record, "control/clean"), None);
    assert_eq!(lab.states().len(), 0);
}

#[test]
fn a_preparation_that_fails_is_a_clean_build_that_fails() {
    let lab = Lab::new();
    lab.scenario("");
    lab.write("kernel/scripts/tool.c", "#error broken here\n");
    let output = lab.command(&["--out", "out"]).output().expect("started");
    assert_eq!(output.status.code(), Some(4), "{}", said(&output));
    assert!(said(&output).contains("broken here"), "{}", said(&output));
    assert_eq!(lab.states().len(), 0);
}

#[test]
fn each_from_nothing_if_the_scenario_says_so() {
    let lab = Lab::new();
    lab.scenario(SOURCE_EDIT);
    let text = fs::read_to_string(lab.at("s.toml")).expect("there").replace("[make]", "prepared = false\n[make]");
    lab.write("s.toml", &text);
    let record = lab.run(&[]);
    assert_eq!(preparation(&record, "control/clean"), None);
    assert_eq!(lab.states().len(), 0);
}

#[test]
fn kept_trees_do_not_need_the_cache() {
    let lab = Lab::new();
    lab.scenario(SOURCE_EDIT);
    lab.run(&["--keep"]);
    fs::remove_dir_all(lab.at("cache")).expect("removed");
    let mut shell = Command::new(env!("CARGO_BIN_EXE_kbuild-repro"));
    shell.args([
        "shell",
        "s.toml",
        "--out",
        "out",
        "--build",
        "control/clean",
        "--",
        "sh",
        "-c",
        "cat scripts/tool.c; ls /build/obj/scripts",
    ]);
    let output = shell.current_dir(lab.0.path()).env("XDG_STATE_HOME", lab.at("state")).output().expect("started");
    assert!(output.status.success() && said(&output).contains("tool"), "{}", said(&output));
}
