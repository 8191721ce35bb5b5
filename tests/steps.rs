//! The steps of real makes: what each line of a recipe read and made, the same whatever make prints and however many
//! jobs it has.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use kbuild_repro::trace::{self, Kind, Root, Step, What};

struct Lab {
    dir: tempfile::TempDir,
    here: PathBuf,
}

impl Lab {
    fn new(files: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let here = dir.path().canonicalize().expect("there").join("tree");
        fs::create_dir(&here).expect("made");
        for (name, text) in files {
            fs::write(here.join(name), text).expect("written");
        }
        Self { dir, here }
    }

    /// Builds in a fresh copy of the tree, at the same place.
    fn build(&self, make: &[&str]) -> Vec<Step> {
        let (out, before) = (self.dir.path().join("out.json"), self.dir.path().join("before"));
        let sh = |script: &str| {
            let ran = Command::new("sh").args(["-ec", script]).current_dir(self.dir.path()).status().expect("sh");
            assert!(ran.success(), "{script}");
        };
        if !before.exists() {
            sh("cp -a tree before");
        }
        sh("rm -rf tree; cp -a before tree");
        let words: Vec<_> = make.iter().map(Into::into).collect();
        let exe = env!("CARGO_BIN_EXE_kbuild-repro");
        let line = trace::wrap(exe.as_ref(), What::All, &out, &[self.here.as_path()], &words);
        let mut command = Command::new(&line[0]);
        command.args(&line[1..]).current_dir(&self.here).env_remove("MAKEFLAGS").env_remove("MAKELEVEL");
        let output = command.output().expect("started");
        assert!(output.status.success(), "{output:?}");
        let whole = trace::read_all(&out).expect("a trace");
        assert_eq!(whole.gaps, [].into());
        let roots = [Root { dir: self.here.clone(), name: String::new() }];
        let mut steps = trace::steps(&whole, &roots);
        trace::kbuild::name(&whole, &mut steps, &mut |path| {
            Some((Root::told(&roots, path), fs::read_to_string(path).ok()?))
        });
        steps
    }
}

/// What of a step has to be the same at every build.
fn told(step: &Step) -> String {
    let contents = |contents: &[trace::Content]| -> String {
        let one = |c: &trace::Content| format!("{}:{}", c.path, c.sha256.as_deref().map_or("?", |sha256| &sha256[..6]));
        contents.iter().map(one).collect::<Vec<_>>().join(",")
    };
    format!(
        "{:?} {} [{}] {} -> {} in place {:?} removes {:?} misses {:?}",
        step.kind,
        step.cmd.as_ref().map_or("-".to_owned(), |cmd| format!("{}@{}:{}", cmd.name, cmd.file, cmd.line)),
        step.target.as_deref().unwrap_or("-"),
        contents(&step.inputs),
        contents(&step.outputs),
        step.in_place,
        step.removed,
        step.missing
    )
}

/// As kbuild has it: labels that `make -s` does not print, commands kept in `.cmd` files, makes below.
const KBUILD: &[(&str, &str)] = &[
    (
        "Makefile",
        "quiet := $(if $(findstring s,$(filter-out --%,$(firstword -$(MAKEFLAGS)))),silent_,quiet_)
export quiet
NAME := $(shell cat name)
all: $(NAME).ko
%.ko: sub
\t@$(call cmd,ld)
\t@$(call cmd,btf)
sub: ; @$(MAKE) -f sub.mk a.o b.o
include kbuild.mk
.PHONY: all sub
",
    ),
    (
        "kbuild.mk",
        "quiet_log = echo '  $(quiet_cmd_$(1))';
silent_log = exec >/dev/null;
cmd = set -e; $($(quiet)log) trap 'rm -f $@' INT; $(cmd_$(1))

quiet_cmd_ld = LD [M]  $@
      cmd_ld = cat a.o b.o > $@.tmp; mv $@.tmp $@; \\
\tprintf '%s\\n' 'cmd_$@ := cat' > .$@.cmd
quiet_cmd_btf = BTF [M] $@
      cmd_btf = echo more-of-it >> $@
quiet_cmd_cc = CC      $@
      cmd_cc = test -e $*.h || tr a-z A-Z < $< > $@
",
    ),
    ("sub.mk", "%.o: %.c\n\t@$(call cmd,cc)\ninclude kbuild.mk\n"),
    ("name", "x\n"),
    ("a.c", "aa\n"),
    ("b.c", "bb\n"),
];

#[test]
fn steps_are_the_same_whatever_is_printed_and_in_whatever_order() {
    let lab = Lab::new(KBUILD);
    let plain: Vec<String> = lab.build(&["make"]).iter().map(told).collect();
    let mut sorted = plain.clone();
    sorted.sort();
    let heads: Vec<&str> = sorted.iter().map(|step| step.split(':').next().unwrap_or(step)).collect();
    assert_eq!(heads[0], "Descent - [-]  ->  in place [] removes [] misses []");
    assert_eq!(
        heads[1..],
        [
            "Query - [-] name",
            "Recipe cmd_btf@kbuild.mk",
            "Recipe cmd_cc@kbuild.mk",
            "Recipe cmd_cc@kbuild.mk",
            "Recipe cmd_ld@kbuild.mk"
        ]
    );
    assert!(sorted[5].starts_with("Recipe cmd_ld@kbuild.mk:6 [x.ko] a.o:"), "{}", sorted[5]);
    let btf = sorted.iter().find(|step| step.contains("cmd_btf")).expect("a step");
    assert!(btf.contains("in place [\"x.ko\"]"), "{btf}");
    let cc = sorted.iter().find(|step| step.contains("[a.o]")).expect("a step");
    assert!(cc.contains("misses [\"a.h\"]"), "{cc}");
    for other in [&["make", "-j4"][..], &["make", "-s"], &["make", "-j4", "-s", "-O"], &["make"]] {
        let mut steps: Vec<String> = lab.build(other).iter().map(told).collect();
        steps.sort();
        assert_eq!(steps, sorted, "{other:?}");
    }
}

#[test]
fn labels_are_told_where_kbuild_prints_them() {
    let lab = Lab::new(KBUILD);
    let mut labels: Vec<String> = lab.build(&["make", "-j2"]).into_iter().filter_map(|step| step.label).collect();
    labels.sort();
    assert_eq!(labels, ["BTF [M] x.ko", "CC a.o", "CC b.o", "LD [M] x.ko"]);
}

#[test]
fn programs_that_make_starts_itself_keep_all_their_words() {
    let text = "all:\n\tgrep -c x in\n\tgcc -c a.c\n\tsh -ec 'cp in out'\n\tmkdir d.tmp; cp in d.tmp/x; mv d.tmp d\n";
    let lab = Lab::new(&[("Makefile", text), ("in", "x\n"), ("a.c", "int x;\n")]);
    let steps = lab.build(&["make"]);
    let commands: Vec<&str> = steps.iter().map(|step| step.command.as_str()).collect();
    assert_eq!(commands, ["cp in out", "gcc -c a.c", "grep -c x in", "mkdir d.tmp; cp in d.tmp/x; mv d.tmp d"]);
    let outputs: Vec<&str> = steps[3].outputs.iter().map(|output| &*output.path).collect();
    assert_eq!((outputs, steps[3].removed.len()), (vec!["d/x"], 0));
}

#[test]
fn makefiles_that_are_not_kbuilds_have_steps_too() {
    let text = "out: in\n\tcp in out\n\tsed -i s/a/b/ out\n\t@rm -f nothing; sort out -o out\n\tcc -E - < /dev/null > /dev/null\n";
    let lab = Lab::new(&[("Makefile", text), ("in", "a\n")]);
    let steps = lab.build(&["make"]);
    let by = |command: &str| steps.iter().find(|step| step.command.starts_with(command)).expect(command);
    assert_eq!(steps.len(), 4);
    assert!(steps.iter().all(|step| step.kind == Kind::Recipe && step.cmd.is_none() && step.within.is_none()));
    assert_eq!(by("cp").target.as_deref(), Some("out"));
    assert_eq!([&by("sed").in_place, &by("rm").in_place], [&vec!["out".to_owned()]; 2]);
    assert_eq!(by("cp").in_place, [""; 0]);
    assert!(by("cc").outputs.is_empty() && !by("cc").tools.is_empty());
}
