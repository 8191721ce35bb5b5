//! `audit`: exactly the planted fault is found, its twin is silent, and a tree that is not kbuild's is no other.

use std::path::Path;

use kbuild_repro::report::Report;
use kbuild_repro::sandbox::Sandbox;
use kbuild_repro::verdict::Verdict;
use kbuild_repro::verdict::audit::{Candidate, Origin, Outcome};

use crate::lab::{Lab, Ran, has_make, read_report};

fn has_compiler() -> bool {
    std::process::Command::new("gcc").arg("--version").output().is_ok_and(|output| output.status.success())
}

/// Builds are traced in mount namespaces alone.
fn able() -> bool {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let probed = Sandbox::new(env!("CARGO_BIN_EXE_kbuild-repro")).probe(dir.path());
    has_make() && probed.is_ok_and(|host| host.mount_ns.is_ok())
}

fn audit(lab: &Lab, arguments: &[&str]) -> (Ran, Report) {
    let _ = std::fs::remove_file(lab.path("audit.json"));
    let ran = lab.run(&[&["audit", "--json", "audit.json"], arguments].concat());
    let report = read_report(&lab.path("audit.json")).unwrap_or_else(|| panic!("no report: {ran}"));
    assert_eq!(i32::from(report.exit_code), ran.code, "{ran}");
    (ran, report)
}

/// What is missing: target of the step, and file.
fn missing(report: &Report) -> Vec<(String, String)> {
    let audits = report.scenarios.iter().filter_map(|scenario| scenario.audit.as_ref());
    let candidates = audits.flat_map(|audit| &audit.candidates);
    let missing = candidates.filter(|it| matches!(it.outcome, Outcome::Missing { .. }));
    missing.map(|it| (it.target.clone().unwrap_or_default(), it.file.clone())).collect()
}

fn findings(report: &Report) -> Vec<String> {
    report.scenarios.iter().flat_map(|scenario| &scenario.findings).map(|finding| finding.id()).collect()
}

/// A scenario on the mini tree with a fault; `with` goes into its tree.
fn mini(lab: &Lab, symbols: &str, with: &str) {
    let tree = "[tree]\nsrctree = \"mini\"\nconfig = [\"tinyconfig\"]\n";
    lab.scenario("mini", &format!("{tree}symbols = {{ {symbols} }}\n{with}"));
}

/// Has every make of the mini tree say nothing, as `make -s`.
const SILENT: &str =
    "[[tree.edit]]\nfile = \"Makefile\"\nreplace = \"MAKEFLAGS += -rR\"\nwith = \"MAKEFLAGS += -rR -s\"\n";

#[test]
fn a_planted_fault_is_found_and_nothing_else() {
    if !able() || !has_compiler() {
        return;
    }
    let modules = "MODULES = \"y\", CRYPTO_MD5 = \"m\", CRYPTO_SHA = \"m\", CHAR_NULL = \"m\"";
    let planted = [
        ("FAULT_MISSING_DEP", "obj/crypto/md5.o", "src/include/linux/hash.h"),
        ("FAULT_MISSING_GEN_DEP", "obj/drivers/char/devids.h", "src/drivers/char/mkdevids.sh"),
        ("FAULT_MISSING_HOST_DEP", "obj/lib/crctable.h", "obj/lib/gen_crctable"),
        ("FAULT_LIB_STALE", "obj/vmlinux", "obj/lib/lib.a"),
    ];
    for (fault, target, file) in planted {
        let lab = Lab::new();
        mini(&lab, &format!("{modules}, {fault} = \"y\""), if fault == "FAULT_MISSING_DEP" { SILENT } else { "" });
        let (ran, report) = audit(&lab, &["scenarios/t/mini.toml"]);
        assert_eq!(ran.code, 1, "{fault}: {ran}");
        assert_eq!(missing(&report), [(target.to_owned(), file.to_owned())], "{fault}: {ran}");
        let id = format!("dep.missing@audit-1:{}", target.trim_start_matches("obj/"));
        assert_eq!(findings(&report), [id], "{fault}: {ran}");
        assert!(ran.out.contains(&format!("reads {file} and does not depend on it")), "{ran}");
        assert_eq!(lab.left_over(), [""; 0].map(std::path::PathBuf::from));
    }
}

#[test]
fn a_tree_without_a_fault_has_nothing_missing() {
    if !able() || !has_compiler() {
        return;
    }
    let lab = Lab::new();
    for with in ["", SILENT] {
        mini(&lab, "MODULES = \"y\", CRYPTO_MD5 = \"m\", CRYPTO_SHA = \"m\", CHAR_NULL = \"m\"", with);
        let (ran, report) = audit(&lab, &["scenarios/t/mini.toml"]);
        assert_eq!((ran.code, findings(&report)), (0, Vec::new()), "{ran}");
        let audit = report.scenarios[0].audit.as_ref().expect("audited");
        let counts = &audit.counts;
        assert!(counts.steps > 30 && counts.always > 0 && counts.declared > 100, "{counts:?}");
        let of = |origin: Origin| counts.undeclared.get(&origin).copied().unwrap_or(0);
        assert!(of(Origin::Configuration) > 0 && of(Origin::Toolchain) > 0, "{counts:?}");
        assert_eq!((of(Origin::Source), of(Origin::Generated)), (0, 0), "{counts:?}");
    }
}

const MAKEFILE: &str = "\
all: a.txt b.txt c.txt always.txt
a.txt: in.txt
\tcat in.txt extra.txt > $@
%.txt: %.src
\tsh convert $< > $@
c.txt: b.txt
\tcat b.txt in.txt > $@
always.txt: FORCE
\tcat extra.txt > $@
FORCE:
.PHONY: all FORCE
";

/// A tree that is not kbuild's: a fault in a rule, one in a pattern rule, and steps that need nothing.
fn plain(lab: &Lab, makefile: &str, more: &str) {
    lab.write("tree/Makefile", makefile).write("tree/in.txt", "1\n").write("tree/extra.txt", "2\n");
    lab.write("tree/b.src", "3\n").write("tree/convert", "#!/bin/sh\ncat \"$1\"\n");
    let tree = "[tree]\nsrctree = \"../../tree\"\nkind = \"make\"\n[compare]\nonly = [\"*.txt\"]\n";
    lab.scenario("plain", &format!("{tree}{more}"));
}

fn outcome<'r>(report: &'r Report, file: &str) -> Option<&'r Candidate> {
    report.scenarios[0].audit.as_ref()?.candidates.iter().find(|it| it.file == file)
}

#[test]
fn a_tree_that_is_not_kbuilds_is_audited_by_the_data_base_of_make() {
    if !able() {
        return;
    }
    let lab = Lab::new();
    plain(&lab, MAKEFILE, "");
    let (ran, report) = audit(&lab, &["scenarios/t/plain.toml"]);
    let pair = |target: &str, file: &str| (target.to_owned(), file.to_owned());
    let want = [pair("src/b.txt", "src/convert"), pair("src/a.txt", "src/extra.txt"), pair("src/c.txt", "src/in.txt")];
    assert_eq!((ran.code, missing(&report)), (1, want.to_vec()), "{ran}");
    let rule = outcome(&report, "src/convert").and_then(|it| it.rule.clone());
    assert_eq!(rule, Some(("src/Makefile".into(), 5)), "{ran}");
    let found = outcome(&report, "src/extra.txt").map(|it| it.outcome.clone());
    let Some(Outcome::Missing { stale, .. }) = found else { panic!("{ran}") };
    assert_eq!(stale, ["src/a.txt"], "the edit went into what is made: {ran}");
    let always = report.scenarios[0].audit.as_ref().map(|audit| audit.counts.always);
    assert_eq!(always, Some(1), "{ran}");
    assert_eq!(std::fs::read_to_string(lab.path("tree/in.txt")).expect("there"), "1\n", "the sources stay as they are");

    let whole = MAKEFILE
        .replace("a.txt: in.txt", "a.txt: in.txt extra.txt")
        .replace("%.txt: %.src", "%.txt: %.src convert")
        .replace("c.txt: b.txt", "c.txt: b.txt in.txt");
    plain(&lab, &whole, "");
    let (ran, report) = audit(&lab, &["scenarios/t/plain.toml"]);
    assert_eq!((ran.code, missing(&report)), (0, Vec::new()), "{ran}");
}

#[test]
fn what_is_not_looked_at_is_said() {
    if !able() {
        return;
    }
    let lab = Lab::new();
    plain(&lab, MAKEFILE, "");
    let (ran, report) = audit(&lab, &["scenarios/t/plain.toml", "--limit", "1"]);
    assert_eq!((ran.code, missing(&report).len()), (1, 1), "{ran}");
    assert!(ran.out.contains("attention: 2 candidates are left out by --limit 1"), "{ran}");
    let (ran, report) = audit(&lab, &["scenarios/t/plain.toml", "--list"]);
    assert_eq!((ran.code, missing(&report).len()), (0, 0), "{ran}");
    assert!(ran.out.contains("src/convert (source), read by sh convert b.src > b.txt"), "{ran}");
    let (ran, report) = audit(&lab, &["scenarios/t/plain.toml", "--step", "*a.txt"]);
    assert_eq!((ran.code, missing(&report).len()), (1, 1), "{ran}");
    let (ran, report) = audit(&lab, &["scenarios/t/plain.toml", "--step", "nothing"]);
    assert_eq!((ran.code, report.scenarios[0].verdict), (4, Verdict::Inconclusive), "{ran}");
    lab.run(&["audit"]).exits(2);
    lab.run(&["audit", "scenarios/t/plain.toml", "--no-trace"]).exits(2);
}

#[test]
fn a_build_that_fails_is_not_audited() {
    if !able() {
        return;
    }
    let lab = Lab::new();
    plain(&lab, "all:\n\tfalse\n", "");
    let (ran, report) = audit(&lab, &["scenarios/t/plain.toml"]);
    assert_eq!((ran.code, report.scenarios[0].verdict), (4, Verdict::Inconclusive), "{ran}");
}

#[test]
fn an_edit_that_breaks_the_build_is_made_otherwise() {
    if !able() {
        return;
    }
    let lab = Lab::new();
    // A line of words is refused, an empty one is not; and what would have come after it is not lost.
    let makefile = "all: check.txt x.txt b.txt\ncheck.txt: a-strict.sh\n\t! grep -q audit a-strict.sh && echo > $@\n\
                    x.txt:\n\tcat a-strict.sh > $@\nb.txt:\n\tcat in.txt > $@\n";
    plain(&lab, makefile, "");
    lab.write("tree/a-strict.sh", "1\n");
    let (ran, report) = audit(&lab, &["scenarios/t/plain.toml"]);
    let pair = |target: &str, file: &str| (target.to_owned(), file.to_owned());
    let want = [pair("src/x.txt", "src/a-strict.sh"), pair("src/b.txt", "src/in.txt")];
    assert_eq!((ran.code, missing(&report)), (1, want.to_vec()), "{ran}");
    let found = outcome(&report, "src/a-strict.sh").map(|it| it.outcome.clone());
    assert!(matches!(found, Some(Outcome::Missing { added, .. }) if added == "\n"), "{ran}");
}

#[test]
fn a_missing_dependency_can_be_known() {
    if !able() {
        return;
    }
    let lab = Lab::new();
    let known = |target: &str| format!("[[known]]\nfinding = \"dep.missing\"\ntarget = \"{target}\"\nwhy = \"w\"\n");
    plain(&lab, MAKEFILE, &known("*.txt"));
    let (ran, report) = audit(&lab, &["scenarios/t/plain.toml"]);
    assert_eq!((ran.code, missing(&report).len()), (0, 3), "{ran}");
    plain(&lab, MAKEFILE, &known("a.txt"));
    assert_eq!(audit(&lab, &["scenarios/t/plain.toml"]).0.code, 1);
    // A run finds none of that and does not say that it is gone.
    let (ran, report) = lab.report(&["scenarios/t/plain.toml"]);
    assert!(findings(&report).iter().all(|id| !id.starts_with("known.stale")), "{ran}");
    assert!(Path::new(&lab.path("state/kbuild-repro/audits")).is_dir(), "its records are kept beside those of runs");
}
