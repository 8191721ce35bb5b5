//! Where "passed" would be a lie, and where it is said what it does not mean.

use std::fs;
use std::process::Command;

use kbuild_repro::report::{Report, ScenarioReport};
use kbuild_repro::verdict::Verdict;

use crate::lab::{Lab, Ran, has_make, of, told};

const HEAD: &str = "tier = \"quick\"\n[tree]\nsrctree = \"../../tree\"\nkind = \"make\"\n[compare]\n";
const EDIT: &str = "[[edit]]\nfile = \"a.c\"\nappend = \"2\\n\"\n";

/// A tree with a Makefile, `a.c` and `b.h`, and one scenario.
fn lab(makefile: &str, scenario: &str) -> Lab {
    let lab = Lab::new();
    lab.write("tree/Makefile", makefile).write("tree/a.c", "1\n").write("tree/b.h", "1\n");
    lab.scenario("one", &format!("{HEAD}{scenario}"));
    lab
}

fn run(makefile: &str, scenario: &str) -> (Ran, Report) {
    lab(makefile, scenario).report(&[])
}

fn one(report: &Report) -> &ScenarioReport {
    of(report, "one")
}

#[track_caller]
fn finds(makefile: &str, scenario: &str, wanted: &[&str]) {
    let (ran, report) = run(makefile, scenario);
    let found: Vec<String> = one(&report).findings.iter().map(|f| format!("{} {}", f.name, f.target)).collect();
    assert_eq!(
        (ran.code, found.as_slice()),
        (1, wanted.iter().map(ToString::to_string).collect::<Vec<_>>().as_slice()),
        "{ran}"
    );
}

#[test]
fn a_file_of_the_sources_that_a_build_deletes_is_missed() {
    if !has_make() {
        return;
    }
    let makefile = "o.txt: a.c\n\t@if [ -e o.txt ]; then rm -f fw.bin; fi\n\tcp a.c o.txt\n";
    let scenario = format!("artifacts = [\"o.txt\", \"fw.bin\"]\n{EDIT}");
    let lab = lab(makefile, &scenario);
    lab.write("tree/fw.bin", "firmware\n");
    let (ran, report) = lab.report(&[]);
    assert_eq!(ran.code, 1, "{ran}");
    let found = &one(&report).findings[0];
    assert_eq!((found.name.name(), found.target.as_str()), ("rebuild.stale", "fw.bin"), "{ran}");
    assert!(lab.path("tree/fw.bin").exists());
}

#[test]
fn what_was_built_before_the_first_build_is_not_taken_for_a_clean_build() {
    if !has_make() {
        return;
    }
    let makefile = "all: o.txt p.txt\no.txt: a.c\n\tcat a.c b.h > $@\np.txt: a.c b.h\n\tcat a.c b.h > $@\n";
    let edit = "[[edit]]\nfile = \"b.h\"\nappend = \"2\\n\"\n";
    let lab = lab(makefile, &format!("artifacts = [\"*.txt\"]\n{edit}"));
    lab.write("tree/o.txt", "1\n1\n");
    let (ran, report) = lab.report(&[]);
    assert_eq!(one(&report).verdict, Verdict::Passed, "{ran}");
    assert!(ran.out.contains("attention: `o.txt` was in the sources before the first build"), "{ran}");
    assert!(ran.out.contains("make.clean_first"), "{ran}");
}

#[test]
fn a_tolerated_fault_does_not_stand_in_for_a_comparison() {
    if !has_make() {
        return;
    }
    let known = |finding: &str| format!("artifacts = [\"*.txt\"]\n[[known]]\nfinding = \"{finding}\"\nwhy = \"w\"\n");
    let (ran, report) = run("all:\n\tfalse\n", &known("build.failed"));
    assert_eq!((ran.code, one(&report).verdict), (4, Verdict::Inconclusive), "{ran}");
    let (ran, _) = run(".PHONY: all\nall:\n\techo > out.o\n", &known("noop.ran"));
    assert_eq!(ran.code, 4, "{ran}");
}

#[test]
fn options_of_make_do_not_come_in_by_its_variables() {
    for (table, name) in [("vars", "MAKEFLAGS"), ("env", "GNUMAKEFLAGS"), ("env", "MAKEFILES"), ("vars", "MFLAGS")] {
        let lab = lab("", &format!("artifacts = [\"*\"]\n[make]\n{table} = {{ {name} = \"-i\" }}\n"));
        lab.run(&["check"]).exits(2).says(&[&format!("`{name}` is the harness's own")]);
    }
}

#[test]
fn what_is_known_of_one_edit_is_not_known_of_an_earlier_one() {
    if !has_make() {
        return;
    }
    let edits = "[[edit]]\nfile = \"b.h\"\nappend = \"2\\n\"\n[[edit]]\nfile = \"Makefile\"\nappend = \"# x\\n\"\n";
    let known = |edit: &str| {
        format!(
            "artifacts = [\"*.txt\"]\n{edits}[[known]]\nfinding = \"rebuild.stale\"\nedit = \"{edit}\"\nwhy = \"w\"\n"
        )
    };
    let makefile = "o.txt: a.c\n\tcat a.c b.h > $@\n";
    assert_eq!(run(makefile, &known("edit-2")).0.code, 1);
    assert_eq!(run(makefile, &known("edit-1")).0.code, 0);
}

#[test]
fn a_link_is_compared_by_where_it_leads() {
    if !has_make() {
        return;
    }
    let makefile = "all: a.o\na.o: a.c\n\tcp a.c a.o\n\tln -sf v$$(date +%N) latest\n";
    finds(makefile, "artifacts = [\"a.o\", \"latest\"]\n", &["repro.mismatch latest"]);
}

#[test]
fn a_label_does_not_hide_commands_without_one() {
    if !has_make() {
        return;
    }
    let makefile = "out.txt: a.c\n\t@echo '  NOTE    all is well'\n\tcat a.c > out.txt\n";
    let scenario = format!("artifacts = [\"*.txt\"]\n{EDIT}skips = [\"cat *\"]\n");
    finds(makefile, &scenario, &["expect.unmet cat *"]);
}

#[test]
fn a_log_that_is_cut_off_proves_no_absence() {
    if !has_make() {
        return;
    }
    let makefile =
        "out.txt: a.c\n\t@yes '  CC      x.o' | head -n 200005\n\t@echo '  LD [M]  bad.ko'\n\tcat a.c > out.txt\n";
    let scenario = format!("artifacts = [\"*.txt\"]\n{EDIT}skips = [\"LD [M] *\"]\n");
    finds(makefile, &scenario, &["expect.unmet LD [M] *"]);
}

#[test]
fn what_a_clean_build_does_not_make_is_left_over() {
    if !has_make() {
        return;
    }
    let makefile = "all: $(patsubst %.c,%.ko,$(wildcard *.c))\n%.ko: %.c\n\tcp $< $@\n";
    let scenario = "artifacts = [\"*.ko\"]\n[[edit]]\nfile = \"a.c\"\ndelete = true\n";
    let lab = lab(makefile, scenario);
    lab.write("tree/z.c", "z\n");
    let (ran, report) = lab.report(&[]);
    assert_eq!(told(one(&report)), (Verdict::Failed, vec!["rebuild.stale"]), "{ran}");
}

#[test]
fn that_a_file_that_is_never_equal_can_be_stale_as_well_is_said() {
    if !has_make() {
        return;
    }
    let makefile = "out.txt: a.c\n\t(cat a.c b.h; date +%N) > out.txt\n";
    let scenario = "artifacts = [\"*.txt\"]\n[[edit]]\nfile = \"b.h\"\nappend = \"2\\n\"\n\
                    [[known]]\nfinding = \"repro.mismatch\"\nwhy = \"w\"\n";
    let (ran, _) = run(makefile, scenario);
    assert_eq!(ran.code, 0, "{ran}");
    assert!(ran.out.contains("attention: `out.txt` differs between two clean builds"), "{ran}");
}

#[test]
fn a_file_that_comes_and_goes_by_edits() {
    if !has_make() {
        return;
    }
    let makefile = "o.txt: a.c $(wildcard *.h)\n\tcat $^ > $@\n";
    for second in ["delete = true", "rename = \"m.h\""] {
        let edits = format!("[[edit]]\nfile = \"n.h\"\nwrite = \"x\\n\"\n[[edit]]\nfile = \"n.h\"\n{second}\n");
        let (ran, report) = run(makefile, &format!("artifacts = [\"*.txt\"]\n{edits}"));
        // Whether make sees that a header is gone is the Makefile's matter.
        let sane = matches!(one(&report).verdict, Verdict::Passed | Verdict::Failed);
        assert!(sane && one(&report).builds.iter().all(|build| build.status == "worked"), "{second}: {ran}");
    }
}

#[test]
fn an_edit_in_between_that_only_fails_incrementally_is_found_without_its_oracle() {
    if !has_make() {
        return;
    }
    let makefile = "o.txt: a.c\n\t[ ! -e o.txt ] || ! grep -q BAD a.c\n\tcp a.c o.txt\n";
    let scenario = "artifacts = [\"*.txt\"]\noracle = \"last\"\n[[edit]]\nfile = \"a.c\"\nappend = \"BAD\\n\"\n\
                    [[edit]]\nfile = \"a.c\"\nreplace = \"BAD\"\nwith = \"GOOD\"\n";
    let (ran, report) = run(makefile, scenario);
    assert_eq!(ran.code, 1, "{ran}");
    assert_eq!(one(&report).findings[0].name.name(), "rebuild.failed", "{ran}");
}

#[test]
fn a_report_goes_where_a_shell_would_write_it() {
    if !has_make() {
        return;
    }
    let lab = lab("o.txt: a.c\n\tcp a.c o.txt\n", "artifacts = [\"*.txt\"]\n");
    lab.write("target.json", "");
    std::os::unix::fs::symlink(lab.path("target.json"), lab.path("link.json")).expect("made");
    lab.run(&["run", "--json", "link.json"]).exits(0);
    assert!(lab.path("link.json").symlink_metadata().expect("there").is_symlink());
    assert!(fs::read_to_string(lab.path("target.json")).expect("there").contains("\"verdict\""));
    lab.run(&["run", "--json", "nowhere/x.json"]).exits(2).says(&["no directory `nowhere`"]);
    let fifo = lab.path("fifo");
    let made = Command::new("mkfifo").arg(&fifo).status().expect("mkfifo");
    assert!(made.success());
    let reader = Command::new("cat").arg(&fifo).stdout(std::process::Stdio::piped()).spawn().expect("cat");
    lab.run(&["run", "--json", "fifo"]).exits(0);
    let read = reader.wait_with_output().expect("read");
    assert!(String::from_utf8_lossy(&read.stdout).contains("\"verdict\""));
}

#[test]
fn a_build_does_not_speak_to_the_terminal() {
    if !has_make() {
        return;
    }
    let (ran, _) = run("all:\n\t@printf '\\033]0;owned\\007\\033[2Jlast words\\n'; exit 1\n", "artifacts = [\"*\"]\n");
    assert!(ran.out.contains("last words") && !ran.out.contains('\u{1b}') && !ran.out.contains('\u{7}'), "{ran}");
}

#[test]
fn files_beside_a_scenario_are_files() {
    let lab = lab("o.txt: a.c\n\tcp a.c o.txt\n", "artifacts = [\"*\"]\n[[edit]]\npatch = \"/dev/zero\"\n");
    lab.run(&["check"]).exits(2).says(&["cannot read the patch `/dev/zero`: it is no regular file"]);
}

#[test]
#[expect(clippy::print_stderr, reason = "a skipped test says why")]
fn what_is_left_out_for_its_kernel_is_not_asked_for_its_tools() {
    let lab = Lab::new();
    lab.scenario(
        "tools",
        "tier = \"graft\"\n[tree]\nsrctree = \"graft\"\nkernel = \"debian:6.12\"\n[toolchain]\npahole = \"1.29\"\n",
    );
    let ran = lab.run(&["run"]);
    if ran.out.contains("missing:") {
        eprintln!("skipped: {ran}");
        return;
    }
    ran.exits(4).says(&["`debian:6.12` is not in the cache"]);
}
