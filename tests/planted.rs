//! Faults that are planted in the kbuild of a real kernel, where a seed says: the step that is named has to be the planted one.
//!
//! ```text
//! cargo test --test planted                            another seed each time
//! KBUILD_REPRO_SEED=7 cargo test --test planted        this one
//! ```
//!
//! The seed chooses the kernel among those in the cache, the module, and what the fault is about. Every message has it.

#![expect(clippy::print_stderr, reason = "tests say why they skip")]

use std::fs;
use std::process::Command;
use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

use kbuild_repro::report::{Report, ScenarioReport};
use kbuild_repro::scenario::{Class, FindingName};
use kbuild_repro::verdict::random::mixed;
use kbuild_repro::verdict::{Fault, Finding, Standing};

/// Both ways of making modules: that of before 6.13, and that of 7.2 and later.
const KERNELS: [&str; 2] = ["debian:6.12", "debian:7.3"];
/// Modules of the graft that are made of one source.
const MODULES: [&str; 4] = ["exporter", "user", "kfuncs", "deep/deep"];

fn seed() -> u64 {
    static SEED: OnceLock<u64> = OnceLock::new();
    *SEED.get_or_init(|| {
        let given = std::env::var("KBUILD_REPRO_SEED").ok();
        let now = || SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").subsec_nanos().into();
        given.map_or_else(now, |text| text.parse().expect("KBUILD_REPRO_SEED is a number"))
    })
}

/// What the seed chooses for one fault, each call another.
struct Choice {
    seed: u64,
    number: u64,
}

impl Choice {
    fn of(fault: &str) -> Self {
        let seed = fault.bytes().fold(seed(), |state, byte| state.wrapping_mul(31).wrapping_add(byte.into()));
        Self { seed, number: 0 }
    }

    /// One of these.
    fn among<'t>(&mut self, list: &[&'t str]) -> &'t str {
        let drawn = mixed(self.seed, self.number);
        self.number += 1;
        list[usize::try_from(drawn % list.len() as u64).expect("an index")]
    }
}

/// What a run of a graft with these edits says.
struct Ran {
    report: Report,
    about: String,
}

/// A further line of the recipe that links modules, which does something for this target when it is made.
fn in_recipe(target: &str, does: &str) -> String {
    let line = format!("\\t@$(if $(and $(filter {target},$@),$(newer-prereqs)),{does})\\n");
    format!(
        "[[tree.edit]]\nfile = \"scripts/Makefile.modfinal\"\ninsert = \"{line}\"\n\
         after = \"$(call cmd,btf_ko))\\nendif\\n\"\n"
    )
}

/// A rule beside that one.
fn rule(text: &str) -> String {
    format!(
        "[[tree.edit]]\nfile = \"scripts/Makefile.modfinal\"\ninsert = \"{text}\\n\"\n\
         before = \"# Re-generate module BTFs\"\n"
    )
}

/// What makes a header of one module does this as well.
fn in_generator(before: &str, after: &str) -> String {
    let with = format!("cmd_table = {before}$(CONFIG_SHELL) $(filter %.sh,$^) < $(filter %.tbl,$^) > $@{after}");
    format!(
        "[[tree.edit]]\nfile = \"graft/modules/Makefile\"\n\
         replace = \"cmd_table = $(CONFIG_SHELL) $(filter %.sh,$^) < $(filter %.tbl,$^) > $@\"\nwith = '{with}'\n"
    )
}

/// A later line in the table that the header is made of.
const TABLE: &str = "[[edit]]\nfile = \"graft/modules/pair.tbl\"\nappend = \"planted 7\\n\"\n";

/// Runs a graft of this kernel; `None` where it is not at hand.
fn run(kernel: &str, edits: &str) -> Option<Ran> {
    let dir = tempfile::Builder::new().prefix("planted-").tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let scenario = format!(
        "title = \"planted\"\nneeds = [\"pahole\"]\n[tree]\nsrctree = \"graft\"\nkernel = \"{kernel}\"\n\
         [make]\ngoals = [\"vmlinux\", \"modules\"]\n{edits}"
    );
    let about = format!("KBUILD_REPRO_SEED={}\n{scenario}", seed());
    fs::write(dir.path().join("planted.toml"), scenario).expect("written");
    let mut command = Command::new(env!("CARGO_BIN_EXE_kbuild-repro"));
    command.args([
        "run",
        "planted.toml",
        "--quiet",
        "--no-fetch",
        "--no-confirm",
        "--json",
        "report.json",
        "--out",
        "out",
    ]);
    if std::env::var_os("KBUILD_REPRO_SCRATCH").is_none() {
        command.arg("--scratch").arg(env!("CARGO_TARGET_TMPDIR"));
    }
    let output = command.current_dir(dir.path()).output().expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr);
    if said.contains("is not in the cache") {
        let required = std::env::var_os("KBUILD_REPRO_REQUIRE_ALL").is_some_and(|v| !v.is_empty() && v != "0");
        assert!(!required, "KBUILD_REPRO_REQUIRE_ALL is set: {said}");
        eprintln!("skipped: {said}");
        return None;
    }
    let report = fs::read(dir.path().join("report.json")).unwrap_or_else(|e| panic!("{e}: {said}\n{about}"));
    let report = serde_json::from_slice(&report).unwrap_or_else(|e| panic!("{e}: {said}\n{about}"));
    Some(Ran { report, about: format!("{about}\n{}{said}", String::from_utf8_lossy(&output.stdout)) })
}

impl Ran {
    fn scenario(&self) -> &ScenarioReport {
        &self.report.scenarios[0]
    }

    /// The findings for which it fails.
    fn failing(&self) -> Vec<&Finding> {
        let fails = |it: &&Finding| it.standing == Standing::New && it.name.class() != Class::Cost;
        self.scenario().findings.iter().filter(fails).collect()
    }

    /// The finding of this name about this target, and no other finding that fails.
    #[track_caller]
    fn only(&self, name: FindingName, target: &str) -> &Finding {
        let about = &self.about;
        let failing = self.failing();
        assert!(failing.iter().all(|it| it.name == name), "{failing:#?}\n{about}");
        let found = self.scenario().findings.iter().find(|it| it.name == name && it.target == target);
        found.unwrap_or_else(|| panic!("no {name} of {target}: {:#?}\n{about}", self.scenario().findings))
    }

    /// What is to blame for it.
    #[track_caller]
    fn blames(&self, finding: &Finding, fault: Fault, command: &str) {
        let cause = finding.cause.as_ref().unwrap_or_else(|| panic!("no cause: {finding:#?}\n{}", self.about));
        assert_eq!(cause.fault, fault, "{finding:#?}\n{}", self.about);
        assert!(
            cause.command.contains(command) || cause.step.contains(command),
            "not `{command}`: {finding:#?}\n{}",
            self.about
        );
    }
}

#[test]
fn what_a_step_takes_from_the_clock() {
    let mut choice = Choice::of("clock");
    let (kernel, module) = (choice.among(&KERNELS), choice.among(&MODULES));
    let target = format!("graft/modules/{module}.ko");
    let Some(ran) = run(kernel, &in_recipe(&target, "date +%N >> $@")) else { return };
    let found = ran.only(FindingName::ReproMismatch, &target);
    ran.blames(found, Fault::Irreproducible, "date +%N >> ");
}

#[test]
fn a_rule_that_does_not_know_of_a_header() {
    let mut choice = Choice::of("header");
    let (kernel, module) = (choice.among(&KERNELS), choice.among(&["exporter", "user"]));
    let rule = format!("\\n$(obj)/{module}.o: $(src)/{module}.c\\n\\t$(call cmd,cc_o_c)\\n");
    let Some(ran) = run(
        kernel,
        &format!(
            "[[tree.edit]]\nfile = \"graft/modules/Makefile\"\nappend = \"{rule}\"\n\
             [[edit]]\nfile = \"graft/modules/exporter.h\"\nreplace = \"int value;\"\nwith = \"int value, more;\"\n"
        ),
    ) else {
        return;
    };
    let found = ran.only(FindingName::RebuildStale, &format!("graft/modules/{module}.ko"));
    ran.blames(found, Fault::Skipped, &format!("graft/modules/{module}.o"));
    let why = &found.cause.as_ref().expect("just looked at").why;
    assert!(why.contains("graft/modules/exporter.h"), "{why}\n{}", ran.about);
}

#[test]
fn a_generator_that_goes_on_from_what_it_had_left() {
    let kernel = Choice::of("own").among(&KERNELS);
    let edits = in_generator("", "; echo >> $@.runs; echo \"extern int runs; int runs = $$(wc -l < $@.runs);\" >> $@");
    let Some(ran) = run(kernel, &format!("{edits}{TABLE}")) else { return };
    let found = ran.only(FindingName::RebuildDiverged, "graft/modules/pair.ko");
    ran.blames(found, Fault::OwnOutput, "pair-table.h");
}

#[test]
fn a_generator_that_works_only_once() {
    let kernel = Choice::of("once").among(&KERNELS);
    let Some(ran) = run(kernel, &format!("{}{TABLE}", in_generator("mkdir $@.once; ", ""))) else { return };
    let failing = ran.failing();
    assert!(!failing.is_empty() && failing.iter().all(|it| it.name == FindingName::RebuildFailed), "{}", ran.about);
    ran.blames(failing[0], Fault::Failed, "pair-table.h");
}

#[test]
fn a_prerequisite_that_is_always_new() {
    let mut choice = Choice::of("stamp");
    let (kernel, module) = (choice.among(&KERNELS), choice.among(&MODULES));
    let target = format!("graft/modules/{module}.ko");
    let stamp = rule(&format!("{target}: {target}.stamp\\n{target}.stamp: FORCE\\n\\t@date +%N > $@\\n"));
    let Some(ran) = run(kernel, &stamp) else { return };
    let found = ran.only(FindingName::NoopRan, &format!("LD [M] {target}"));
    assert!(format!("{found:?}").contains(".stamp"), "{found:#?}\n{}", ran.about);
}

#[test]
fn a_prerequisite_that_is_not_read() {
    let mut choice = Choice::of("needless");
    let (kernel, module) = (choice.among(&KERNELS), choice.among(&["user", "kfuncs", "deep/deep"]));
    let (target, other) = (format!("graft/modules/{module}.ko"), "graft/modules/exporter.c");
    let edits = format!(
        "{}[[edit]]\nfile = \"{other}\"\nappend = \"/* planted */\\n\"\n",
        rule(&format!("{target}: $(srctree)/{other}\\n"))
    );
    let Some(ran) = run(kernel, &edits) else { return };
    // A cost, not a fault: it must not fail.
    assert_eq!(ran.report.exit_code, 0, "{}", ran.about);
    // That of the module whose source it is has a newer object.
    let line = format!("| LD [M] {target} - a prerequisite was newer, none that it reads");
    let needless = ran.scenario().findings.iter().find(|it| it.detail.contains(&line));
    assert!(needless.is_some_and(|it| it.name == FindingName::RebuildNeedless), "no `{line}`: {}", ran.about);
}

#[test]
fn recipes_that_write_one_file() {
    let mut choice = Choice::of("write-write");
    let (kernel, other) = (choice.among(&KERNELS), choice.among(&MODULES));
    // Of two alone the one can follow the other as if they were lines of one recipe.
    let targets = MODULES.iter().filter(|module| **module != other).map(|module| format!("graft/modules/{module}.ko"));
    let targets = targets.collect::<Vec<_>>().join(" ");
    let Some(ran) = run(kernel, &in_recipe(&targets, "echo $@ > graft/modules/last")) else { return };
    let found = ran.only(FindingName::HazardWriteWrite, "graft/modules/last");
    ran.blames(found, Fault::Race, "> graft/modules/last");
}

#[test]
fn a_step_that_reads_what_is_the_machines_own() {
    let mut choice = Choice::of("escape");
    let (kernel, module) = (choice.among(&KERNELS), choice.among(&MODULES));
    let file = choice.among(&["/etc/hostname", "/etc/machine-id", "/srv/planted", "/home/planted"]);
    let target = format!("graft/modules/{module}.ko");
    let Some(ran) = run(kernel, &in_recipe(&target, &format!("cat {file} 2>/dev/null || :"))) else { return };
    let failing = ran.failing();
    assert!(failing.iter().all(|it| it.name == FindingName::EscapeRead), "{failing:#?}\n{}", ran.about);
    // It makes nothing, so it is named by what it does.
    let found = failing.first().unwrap_or_else(|| panic!("no escape.read: {}", ran.about));
    ran.blames(found, Fault::Escapes, &format!("cat {file}"));
}
