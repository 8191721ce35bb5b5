//! Kernels that a graft cannot be built on, what of a kernel's directory a build sees, and further makes of a build.

use kbuild_repro::verdict::Verdict;

use crate::lab::{Lab, told};

/// A kernel as far as the harness looks at it: what is there says who it is, and its Makefile builds one file.
fn kernel(lab: &Lab, makefile: &str) {
    let head = "VERSION = 5\nPATCHLEVEL = 4\nSUBLEVEL = 0\nEXTRAVERSION =\n";
    lab.write("linux/Makefile", format!("{head}{makefile}"));
    lab.write("linux/Kconfig", "config A\n\tbool\n").write("linux/scripts/Makefile.build", "");
}

/// Everything that the graft requires, empty.
fn whole(lab: &Lab) {
    let versions: toml::Table = include_str!("../../scenarios/trees/graft/versions.toml").parse().expect("it is TOML");
    for requires in versions["requires"].as_array().expect("a list") {
        let file = requires["file"].as_str().expect("a path");
        if !lab.path(&format!("linux/{file}")).exists() {
            lab.write(&format!("linux/{file}"), "");
        }
    }
}

const GRAFT: &str = "[tree]\nsrctree = \"graft\"\nkernel = \"../../linux\"\n";

#[test]
fn a_kernel_without_a_file_that_the_graft_takes_is_inconclusive_and_named_by_it() {
    let lab = Lab::new();
    kernel(&lab, "all:\n");
    lab.scenario("old", GRAFT);
    let (ran, report) = lab.report(&["t/old"]);
    assert_eq!(ran.code, 4, "{ran}");
    let scenario = &report.scenarios[0];
    assert_eq!(told(scenario), (Verdict::Inconclusive, Vec::new()));
    let reason = scenario.reason.as_deref().unwrap_or_default();
    let wanted = "the graft cannot be built by the kbuild of 5.4.0: `scripts/Makefile.modfinal` is not there";
    assert!(reason.starts_with(wanted), "{reason}");
    // To look at it without building is no error either.
    let ran = lab.run(&["check", "t/old"]);
    assert!(ran.code == 0 && ran.out.contains(wanted), "{ran}");
}

#[test]
fn a_clean_build_that_misses_a_file_of_the_kernel_names_it() {
    let lab = Lab::new();
    whole(&lab);
    lab.scenario("moved", &format!("{GRAFT}[make]\ngoals = [\"all\"]\n"));
    // In the build itself, and in what is prepared for it.
    for rules in ["prepare scripts:\n\t@:\nall: kernel/bounds.s\n", "all:\nprepare scripts: kernel/bounds.s\n"] {
        kernel(&lab, &format!("graft_defconfig:\n\ttouch $(O)/.config\n{rules}"));
        let (ran, report) = lab.report(&["t/moved"]);
        assert_eq!(ran.code, 4, "{ran}");
        let reason = report.scenarios[0].reason.as_deref().unwrap_or_default();
        assert!(reason.ends_with("by the kbuild of 5.4.0: `kernel/bounds.s` is not in the kernel"), "{reason}: {ran}");
    }
}

/// Makes the kernel a repository of one commit.
fn commit(lab: &Lab) {
    for args in
        [vec!["init", "-q"], vec!["add", "-A"], vec!["-c", "user.name=x", "-c", "user.email=x", "commit", "-qm1"]]
    {
        let done = std::process::Command::new("git").args(args).current_dir(lab.path("linux")).status();
        assert!(done.is_ok_and(|status| status.success()));
    }
}

#[test]
fn an_edit_that_does_not_fit_a_revision_cannot_be_tested_and_one_that_fits_no_directory_is_wrong() {
    let lab = Lab::new();
    whole(&lab);
    kernel(&lab, "all:\n");
    commit(&lab);
    let edit = |kernel: &str| {
        format!(
            "[tree]\nsrctree = \"graft\"\nkernel = \"{kernel}\"\n[[edit]]\nfile = \"Makefile\"\nreplace = \"later\"\nwith = \"x\"\n"
        )
    };
    lab.scenario("git", &edit("git:../../linux@HEAD")).scenario("dir", &edit("../../linux"));
    let (ran, report) = lab.report(&["t/git"]);
    assert_eq!(ran.code, 4, "{ran}");
    let reason = report.scenarios[0].reason.as_deref().unwrap_or_default();
    assert!(
        reason.starts_with("the scenario does not fit `HEAD`: ")
            && reason.contains("`Makefile` does not hold the text"),
        "{reason}"
    );
    assert_eq!(lab.run(&["check", "t/git"]).code, 0);
    lab.run(&["run", "t/dir"]).exits(2).says(&["later"]);
}

#[test]
fn a_symbol_that_a_revision_does_not_have_or_cannot_set_cannot_be_tested_there() {
    let lab = Lab::new();
    whole(&lab);
    // `A` has no prompt: the configuration does not keep it.
    kernel(&lab, "graft_defconfig olddefconfig:\n\techo > $(O)/.config\nall:\nprepare scripts:\n\t@:\n");
    commit(&lab);
    let with = |kernel: &str, symbol: &str| {
        format!("[tree]\nsrctree = \"graft\"\nkernel = \"{kernel}\"\nsymbols = {{ {symbol} = \"y\" }}\n")
    };
    for (symbol, why) in [("LATER", "no symbol `LATER` in this tree"), ("A", "symbol `A` was asked to be `y`")] {
        lab.scenario("git", &with("git:../../linux@HEAD", symbol)).scenario("dir", &with("../../linux", symbol));
        let (ran, report) = lab.report(&["t/git"]);
        assert_eq!(ran.code, 4, "{ran}");
        assert_eq!(told(&report.scenarios[0]).0, Verdict::Inconclusive, "{ran}");
        let reason = report.scenarios[0].reason.as_deref().unwrap_or_default();
        assert!(reason.contains(why), "{reason}");
        let ran = lab.run(&["run", "t/dir"]).exits(2);
        assert!(format!("{ran}").contains(why), "{ran}");
    }
}

#[test]
fn a_symbol_of_another_architecture_is_refused_and_one_of_the_scenarios_own_is_suggested() {
    let lab = Lab::new();
    whole(&lab);
    kernel(&lab, "all:\n");
    lab.write("linux/arch/x86/Kconfig", "config X86_KERNEL_IBT\n\tbool \"ibt\"\n");
    lab.write("linux/arch/s390/Kconfig", "config MARCH_Z13\n\tbool \"z13\"\n");
    let check = |symbol: &str, more: &str| {
        let tree = format!("[tree]\nsrctree = \"graft\"\nkernel = \"../../linux\"\nsymbols = {{ {symbol} = \"y\" }}\n");
        lab.scenario("symbol", &format!("{tree}{more}"));
        lab.run(&["check", "t/symbol"])
    };
    check("X86_KERNEL_IBT", "").exits(2).says(&[
        "symbol.toml:5:13: error: symbol `X86_KERNEL_IBT` is one of arch/x86, and this graft is built with ARCH=graft",
        "`arch = \"x86\"` under `[tree]`",
    ]);
    check("MARCH_Z13", "").exits(2).says(&["is one of arch/s390"]);
    let own = "[[tree.file]]\npath = \"Kconfig.own\"\ntext = \"config OWN_PROBE\\n\\tbool \\\"own\\\"\\n\"\n";
    check("OWN_PORBE", own).exits(2).says(&["did you mean `OWN_PROBE`?"]);
    check("X86_KERNEL_IBT", "[make]\nvars = { ARCH = \"x86_64\" }\n").exits(0);
    let other = check("MARCH_Z14", "").exits(2);
    assert!(!other.err.contains("MARCH_Z13"), "it cannot be set either: {other}");
}

#[test]
fn the_head_of_a_bisection_that_is_not_going_on_has_a_hint() {
    let lab = Lab::new();
    whole(&lab);
    kernel(&lab, "all:\n");
    commit(&lab);
    lab.scenario("head", "[tree]\nsrctree = \"graft\"\nkernel = \"git:../../linux@BISECT_HEAD\"\n");
    let says = ["head.toml:4:10: error: ", "no bisection is going on", "bisect start --no-checkout"];
    lab.run(&["check", "t/head"]).exits(2).says(&says);
}

/// Builds `out` from whether `.git` is in sight, twice with the sources as they are.
fn sees_git(lab: &Lab, isolation: &[&str]) {
    kernel(lab, "defconfig:\n\ttouch $(O)/.config\nall:\n\ttest ! -e .git && cp Kconfig $(O)/out\n");
    lab.scenario("git", "[tree]\nsrctree = \"../../linux\"\n[make]\ngoals = [\"all\"]\n[compare]\nonly = [\"out\"]\n");
    let (ran, report) = lab.report(&[&["t/git"], isolation].concat());
    assert_eq!(told(&report.scenarios[0]).0, Verdict::Passed, "{ran}");
}

#[test]
fn the_repository_of_a_kernel_is_out_of_sight() {
    let lab = Lab::new();
    lab.write("linux/.git/HEAD", "ref: refs/heads/main\n").write("linux/.git/objects/pack/x", "");
    sees_git(&lab, &[]);
    sees_git(&lab, &["--isolation", "direct"]);
    assert!(lab.path("linux/.git/HEAD").is_file(), "and stays where it is");
}

#[test]
fn the_file_that_names_the_repository_of_a_work_tree_is_too() {
    let lab = Lab::new();
    lab.write("linux/.git", "gitdir: /nowhere\n");
    sees_git(&lab, &[]);
}

#[test]
fn further_makes_of_a_build_follow_in_order_with_their_own_variables() {
    let lab = Lab::new();
    lab.write(
        "plain/Makefile",
        "W = first\nall:\n\techo $(W) $(X) > out\nmore:\n\tcat out > more; echo $(W) $(X) >> more\n",
    );
    let text = "[tree]\nsrctree = \"../../plain\"\nkind = \"make\"\n[make]\ngoals = [\"all\"]\nvars = { X = \"x\" }\n\
                [[make.then]]\ngoals = [\"more\"]\nvars = { W = \"second\" }\n[compare]\nartifacts = [\"more\"]\n";
    lab.scenario("then", text);
    let ran = lab.run(&["run", "t/then", "--keep", "--out", "run"]);
    assert_eq!(ran.code, 0, "{ran}");
    let script = lab.path("run/t/then/control/clean/build.sh");
    let script = std::fs::read_to_string(script).expect("the build as a script");
    let makes: Vec<&str> = script.lines().filter(|line| line.starts_with("run make")).collect();
    assert_eq!(makes, ["run make X=x all", "run make W=second X=x more"]);
}

#[test]
fn a_build_whose_further_make_fails_has_failed() {
    let lab = Lab::new();
    lab.write("plain/Makefile", "all:\n\techo x > out\nmore:\n\tfalse\nlast:\n\techo never > never\n");
    let then = "[[make.then]]\ngoals = [\"more\"]\n[[make.then]]\ngoals = [\"last\"]\n";
    let tree = "[tree]\nsrctree = \"../../plain\"\nkind = \"make\"\n[make]\ngoals = [\"all\"]\n";
    lab.scenario("fails", &format!("{tree}{then}[compare]\nartifacts = [\"out\", \"never\"]\n"));
    let (ran, report) = lab.report(&["t/fails"]);
    let (verdict, findings) = told(&report.scenarios[0]);
    assert_eq!((verdict, findings.first()), (Verdict::Inconclusive, Some(&"build.failed")), "{ran}");
    assert!(!ran.out.contains("never > never"), "{ran}");
}
