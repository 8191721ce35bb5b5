//! Mail and reproducer of a finding: written, run by the harness, and run by a plain shell.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use kbuild_repro::artifact::record::Outcome;

use crate::lab::{Lab, Ran, has_make, of};

const STALE: &str = "[tree]\nsrctree = \"mini\"\nsymbols = { FAULT_MISSING_DEP = \"y\" }\n\
    [[edit]]\nfile = \"include/linux/hash.h\"\nreplace = \"HASH_ROUNDS 16\"\nwith = \"HASH_ROUNDS 8\"\n";

/// Whether the mini tree can be built.
fn can_build_mini() -> bool {
    has_make() && Command::new("gcc").arg("--version").output().is_ok_and(|output| output.status.success())
}

/// A tree beside the sources: `out` depends on `a`, and not on `b`, which it is made of as well.
fn plain(lab: &Lab) {
    lab.write("tree/Makefile", "all: out.o\nout.o: a.txt\n\tcat a.txt b.txt > $@\n");
    lab.write("tree/a.txt", "1\n").write("tree/b.txt", "2\n");
    let head =
        "tier = \"quick\"\n[tree]\nsrctree = \"../../tree\"\nkind = \"make\"\n[compare]\nartifacts = [\"*.o\"]\n";
    lab.scenario("plain", &format!("{head}[[edit]]\nfile = \"b.txt\"\nappend = \"3\\n\"\n"));
}

/// Runs a script as a person would, with nothing of the harness.
fn sh(lab: &Lab, script: &str) -> Ran {
    fs::create_dir_all(lab.path("tmp")).expect("made");
    let mut command = Command::new("sh");
    command.arg(lab.path(script)).current_dir(lab.path("tmp")).env("TMPDIR", lab.path("tmp")).env_remove("MAKEFLAGS");
    let ran = Ran::of(command.output().expect("a shell"));
    assert_eq!(fs::read_dir(lab.path("tmp")).expect("there").count(), 0, "it leaves nothing: {ran}");
    ran
}

/// The one directory of a finding of `t/<name>`.
fn beside(lab: &Lab, name: &str) -> PathBuf {
    let findings = lab.path(&format!("out/t/{name}/findings"));
    let mut all: Vec<PathBuf> = fs::read_dir(findings).expect("findings").map(|e| e.expect("entry").path()).collect();
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0)
}

#[test]
fn a_finding_has_a_script_that_shows_it_and_shows_nothing_where_the_fault_is_mended() {
    if !can_build_mini() {
        return;
    }
    let lab = Lab::new();
    lab.scenario("stale", STALE);
    let (ran, report) = lab.report(&["stale", "--out", "out"]);
    let finding = &of(&report, "stale").findings[0];
    assert_eq!(finding.id(), "rebuild.stale@edit-1:crypto/md5.ko", "{ran}");
    let confirmed = finding.confirmed.as_ref().expect("it was run");
    assert_eq!((confirmed.outcome, &confirmed.why), (Outcome::Confirmed, &None), "{ran}");
    assert!(ran.out.contains("confirmed by t/stale/findings/1-"), "{ran}");
    let mail = fs::read_to_string(beside(&lab, "stale").join("mail.txt")).expect("a mail");
    assert!(mail.contains("It was run and shows it."), "{mail}");
    assert!(mail.lines().all(|line| line.chars().count() <= 72 && !line.contains("-by:")), "{mail}");
    // The same is told later, by number, by id, by its beginning.
    for name in ["1", "rebuild.stale@edit-1:crypto/md5.ko", "rebuild", "t/stale:rebuild.stale"] {
        assert_eq!(lab.run(&["report", "out", "--mail", name]).exits(0).out, mail, "{name}");
    }
    lab.run(&["report", "out", "--reproducer", "1", "-o", "again.sh"]).exits(0);
    let script = fs::read_to_string(lab.path("again.sh")).expect("a script");
    assert_eq!(fs::read_to_string(beside(&lab, "stale").join("reproduce.sh")).expect("a script"), script);
    let seen = sh(&lab, "again.sh").exits(1);
    assert!(seen.out.contains("SEEN crypto/md5.ko\n"), "{seen}");
    let mended = script.replace("CONFIG_FAULT_MISSING_DEP=y", "CONFIG_FAULT_MISSING_DEP=n");
    assert_ne!(mended, script);
    lab.write("mended.sh", mended);
    let silent = sh(&lab, "mended.sh").exits(0);
    assert!(silent.out.ends_with("not seen\n"), "{silent}");
}

#[test]
fn a_tree_that_is_built_beside_its_sources_is_carried_by_its_script() {
    if !has_make() {
        return;
    }
    let lab = Lab::new();
    plain(&lab);
    let (ran, report) = lab.report(&["plain", "--out", "out", "--no-confirm"]);
    let confirmed = of(&report, "plain").findings[0].confirmed.as_ref().expect("it was written");
    assert_eq!((confirmed.outcome, confirmed.why.as_deref()), (Outcome::NotRun, Some("--no-confirm")), "{ran}");
    lab.run(&["report", "out", "--reproducer", "1", "-o", "plain.sh"]).exits(0);
    let seen = sh(&lab, "plain.sh").exits(1);
    assert!(seen.out.contains("SEEN out.o\n"), "{seen}");
    let script = fs::read_to_string(lab.path("plain.sh")).expect("a script");
    lab.write("mended.sh", script.replace("out.o: a.txt", "out.o: a.txt b.txt"));
    sh(&lab, "mended.sh").exits(0);
    // A build that has to work and does not is neither.
    lab.write("broken.sh", script.replace("cat a.txt b.txt", "false"));
    sh(&lab, "broken.sh").exits(2).says(&["this build has to work, and fails"]);
}

#[test]
fn a_finding_that_is_not_there_is_a_usage_error_with_those_that_are() {
    if !can_build_mini() {
        return;
    }
    let lab = Lab::new();
    plain(&lab);
    lab.scenario("stale", STALE);
    lab.run(&["run", "stale", "plain", "--out", "out", "--no-confirm"]).exits(1);
    let unknown = lab.run(&["report", "out", "--mail", "rebuild.stale@edit-1:crypto/md4.ko"]).exits(2);
    let id = "rebuild.stale@edit-1:crypto/md5.ko";
    unknown.says(&["there is no finding", &format!("did you mean `{id}`?"), "t/plain  rebuild.stale@edit-1:out.o"]);
    lab.run(&["report", "out", "--mail", "rebuild"])
        .exits(2)
        .says(&["the beginning of several", &format!("t/stale:{id}")]);
    lab.run(&["report", "out", "--reproducer", "99"]).exits(2).says(&["there is no finding `99`"]);
    let list = lab.run(&["report", "out", "--list"]).exits(0);
    assert_eq!(list.out.lines().count(), 2, "{list}");
    // Without any of it, it is the report.
    assert_eq!(lab.run(&["report", "out"]).exits(1).out, lab.run(&["judge", "out"]).exits(1).out);
    // A record from before recipes were kept has a mail and no script.
    fs::remove_file(lab.path("out/t/stale/recipe.json")).expect("removed");
    lab.run(&["report", "out", "--mail", id]).exits(0);
    lab.run(&["report", "out", "--reproducer", id]).exits(2).says(&["run the scenario again"]);
}
