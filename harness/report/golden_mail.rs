//! Mails and reproducers, word by word, from records made by hand.

use super::mail::mail;
use super::reproducer::script;
use super::subject::WIDTH;
use super::text::columns;
use crate::artifact::record::{Confirmation, Mode, Outcome, ScenarioRecord, Status};
use crate::runner::recipe::{Recipe, recipe};
use crate::scenario::parse;
use crate::tree::lower::{DirBeside, MiniLower};
use crate::verdict::sample::{build, record, twice};
use crate::verdict::{Accepted, Cause, Fault, Finding, judge};

/// The recipe of a record of the mini tree; only a few of its files, so that a script can be read here.
fn recipe_of(record: &ScenarioRecord) -> Recipe {
    let text = toml::to_string(&record.scenario).expect("a scenario can be written");
    let loaded = parse("sample.toml", &text, &()).expect("a valid scenario");
    let beside = DirBeside(Vec::new());
    let plan =
        crate::tree::plan(&loaded.scenario, &loaded.document, &MiniLower, &beside).expect("it fits the mini tree");
    let mut recipe = recipe(&record.scenario, &plan, &MiniLower, &[]);
    recipe.base.truncate(1);
    recipe
}

fn findings(record: &ScenarioRecord) -> Vec<Finding> {
    let findings = judge(record, &Accepted::default()).findings;
    findings.into_iter().filter(|finding| super::reproducer::no_mail(finding.name).is_none()).collect()
}

fn mail_of(record: &ScenarioRecord) -> String {
    let findings = findings(record);
    mail(record, Some(&recipe_of(record)), &findings, &findings[0]).expect("a finding of class wrong")
}

fn script_of(record: &ScenarioRecord) -> String {
    let findings = findings(record);
    script(record, &recipe_of(record), &[&findings[0]]).expect("a script")
}

/// An edit of a header that leaves one module stale.
fn stale() -> ScenarioRecord {
    let edit = "[[edit]]\nfile = \"include/linux/hash.h\"\n\
                replace = \"HASH_ROUNDS 16\"\nwith = \"HASH_ROUNDS 8\"\n";
    let mut builds = twice(&[("crypto/md5.ko", "1")]);
    builds.extend([
        build("edit-1/incremental", &[("crypto/md5.ko", "1")]),
        build("edit-1/oracle", &[("crypto/md5.ko", "22")]),
    ]);
    let mut record = record(edit, builds);
    record.scenario.link = vec!["https://lore.kernel.org/r/1".into()];
    record
}

/// A link command that takes the BTF of two modules.
fn lost() -> ScenarioRecord {
    let both = &[("a.ko", "1"), ("lib/b.ko", "1")];
    let with = |id: &str| build(id, both).btf("a.ko", 1, &["f"]).btf("lib/b.ko", 1, &["g"]);
    let edit = "[[edit]]\nid = \"flag\"\nvars = { LDFLAGS_MODULE = \"--x=1 --y\" }\n\
                [[known]]\nfinding = \"btf.lost\"\ncmd = \"btf_ko\"\nwhy = \"only a prerequisite runs it\"\n";
    let incremental = build("edit-1/incremental", &[("a.ko", "2"), ("lib/b.ko", "2")]);
    let mut all =
        record(edit, vec![with("control/clean"), with("experiment/clean"), incremental, with("edit-1/oracle")]);
    all.kernel = Some("7.3.4".into());
    all
}

#[test]
fn a_mail_says_what_was_done_expected_and_seen() {
    let mut record = stale();
    let confirmed = Confirmation { outcome: Outcome::Confirmed, why: None, beside: "findings/1".into() };
    record.confirmations.insert(findings(&record)[0].id(), confirmed);
    insta::assert_snapshot!(mail_of(&record), @"
    Subject: t/sample: md5.ko differs from a clean build

    The sources were built from clean by `make`. Then include/linux/hash.h
    was changed, and the tree was built again. The result is compared with a
    clean build of the same sources at the same place.

        --- a/include/linux/hash.h
        +++ b/include/linux/hash.h
        @@ -4,7 +4,7 @@

         #include <linux/types.h>

        -#define HASH_ROUNDS 16
        +#define HASH_ROUNDS 8

         struct hash_state {
                 u32 word[4];

    Expected:
      crypto/md5.ko is, byte for byte, what a clean build makes of these
      sources.

    Seen:
      crypto/md5.ko: bytes differ

        bytes       incremental         clean
        the file              1             2

    [Steps to reproduce]

      (in the source tree that reproduce.sh writes; KEEP=1 keeps it)
      make O=obj defconfig
      make O=obj
      (in include/linux/hash.h change this line)
        -#define HASH_ROUNDS 16
        +#define HASH_ROUNDS 8
      make O=obj
      sha256sum obj/crypto/md5.ko
      (and the same from clean, in an object tree at the same place)

    reproduce.sh, beside this mail, does all of that, writes the sources and
    exits with 1 if the fault is there: `sh reproduce.sh`. It needs make,
    the toolchain and sha256sum. It was run and shows it.

    Versions:
      sources: mini
      gcc 12.0, pahole 1.24.0

    Configuration: defconfig.

    Environment: LC_ALL=C, TZ=UTC and KBUILD_BUILD_* set, as in the script.

    Link: https://lore.kernel.org/r/1
    ");
}

#[test]
fn alike_findings_are_one_mail_with_the_command_that_the_scenario_names() {
    insta::assert_snapshot!(mail_of(&lost()), @"
Subject: kbuild: 7.3.4: BTF lost from modules after LDFLAGS_MODULE
 changes

The sources were built from clean by `make`. Then `LDFLAGS_MODULE='--x=1
--y'` was added to make's command line, and the tree was built again.
The result is compared with a clean build of the same sources at the
same place.

Expected:
  a.ko has the .BTF that a clean build gives it.

Seen:
  a.ko: no .BTF; a clean build gives it one with 10 types and 1
  functions

    bytes       incremental         clean
    the file              1             1

The same shows in another file: lib/b.ko.

Cause, as far as it is known:
  `cmd_btf_ko` (scripts/Makefile.faults:117): only a prerequisite runs
  it.

[Steps to reproduce]

  (in the source tree that reproduce.sh writes; KEEP=1 keeps it)
  make O=obj defconfig
  make O=obj
  make O=obj LDFLAGS_MODULE='--x=1 --y'
  readelf -S obj/a.ko | grep BTF
  (nothing; a clean build of the same sources has .BTF)

reproduce.sh, beside this mail, does all of that, writes the sources and
exits with 1 if the fault is there: `sh reproduce.sh`. It needs make,
the toolchain and sha256sum. It has not been run.

Versions:
  kernel 7.3.4 (mini)
  gcc 12.0, pahole 1.24.0

Configuration: defconfig.

Environment: LC_ALL=C, TZ=UTC and KBUILD_BUILD_* set, as in the script.
");
}

#[test]
fn a_traced_step_is_named_with_its_place() {
    let record = stale();
    let mut findings = findings(&record);
    findings[0].cause = Some(Cause {
        fault: Fault::Skipped,
        step: "CC [M] crypto/md5.o".into(),
        target: Some("obj/crypto/md5.o".into()),
        cmd: Some(crate::trace::Cmd {
            name: "cmd_cc_o_c".into(),
            file: "src/scripts/Makefile.build".into(),
            line: 250,
        }),
        command: format!(
            "gcc -Wp,-MMD,crypto/.md5.o.d {} -c -o crypto/md5.o crypto/md5.c",
            "-Wall -Wundef -O2 ".repeat(6)
        ),
        build: "edit-1/incremental".into(),
        why: "it reads `include/linux/hash.h`, which had changed".into(),
        way: vec!["scripts/hash.sh".into(), "include/linux/hash.h".into()],
    });
    let text = mail(&record, Some(&recipe_of(&record)), &findings, &findings[0]).expect("a mail");
    let cause: Vec<&str> =
        text.split("Cause:").nth(1).expect("it is told").lines().skip(1).take_while(|l| !l.is_empty()).collect();
    insta::assert_snapshot!(cause.join("\n"), @r#"
    `cmd_cc_o_c` (scripts/Makefile.build:250), here `CC [M] crypto/md5.o`,
    is not run, though it has to be: it reads `include/linux/hash.h`,
    which had changed.
    The change comes to it by scripts/hash.sh -> include/linux/hash.h.
    Its command:
      gcc -Wp,-MMD,crypto/.md5.o.d -Wall -Wundef -O2 -Wall -Wundef -O2 \
          -Wall -Wundef -O2 -Wall -Wundef -O2 -Wall -Wundef -O2 -Wall \
          -Wundef -O2 -c -o crypto/md5.o crypto/md5.c
    "#);
    assert!(text.lines().all(|line| columns(line) <= WIDTH), "{text}");
}

#[test]
fn no_mail_is_wider_than_a_list_wants_it_and_nobody_is_named_in_one() {
    let mut wide = stale();
    wide.id = "a/very/long/name/of/a/scenario/that/would/not/fit/in/any/subject/of/a/mail/at/all".into();
    for record in [stale(), lost(), wide] {
        for recipe in [None, Some(recipe_of(&record))] {
            let findings = findings(&record);
            let text = mail(&record, recipe.as_ref(), &findings, &findings[0]).expect("a mail");
            for line in text.lines() {
                assert!(columns(line) <= WIDTH, "{line}");
                assert!(!line.contains("-by:"), "{line}");
            }
        }
    }
}

#[test]
fn a_script_builds_edits_and_compares_and_can_be_read() {
    insta::assert_snapshot!(script_of(&stale()), @r#"
    #!/bin/sh
    # t/sample: md5.ko differs from a clean build
    #
    # usage: sh reproduce.sh
    #
    # It needs make, the toolchain of the tree and sha256sum.
    # Trees are made below ${TMPDIR:-/tmp} and removed at the end; with KEEP=1 in
    # the environment they stay.
    # Exit status: 1 the fault is seen, 0 it is not, 2 usage, or a build fails
    # that has to work.

    set -u
    jobs=${JOBS--j$(nproc 2>/dev/null || echo 1)}
    export KBUILD_BUILD_HOST=repro
    export KBUILD_BUILD_TIMESTAMP='Sat Jan  1 00:00:00 UTC 2000'
    export KBUILD_BUILD_USER=kbuild
    export KBUILD_BUILD_VERSION=1
    export LC_ALL=C
    export LOCALVERSION=''
    export SOURCE_DATE_EPOCH=946684800
    export TZ=UTC

    main() {
    	sources
    	echo '== a clean build'
    	configure
    	run make O="$obj" $jobs || broken
    	echo '== edit-1'
    	sleep 1 # what is changed now is later than all that was built
    	edit_1
    	cp "$obj/.config" config
    	run make O="$obj" $jobs || broken
    	echo '== a clean build of the same sources, at the same place'
    	mv "$obj" "$obj.incremental"
    	mkdir -p "$obj"
    	cp config "$obj/.config"
    	run make O="$obj" $jobs || broken
    	seen=0
    	for file in crypto/md5.ko; do
    		echo "$file"
    		a=$(sum "$obj.incremental/$file") b=$(sum "$obj/$file")
    		echo "  incremental $a"
    		echo "  clean       $b"
    		if [ "$a" != "$b" ]; then
    			echo "SEEN $file"
    			seen=1
    		fi
    	done
    	[ $seen = 1 ] || echo 'not seen'
    	exit $seen
    }

    # Runs a make in the source tree; what it prints is in the log.
    run() {
    	echo "\$ $*"
    	(cd "$src" && "$@") </dev/null >>"$work/log" 2>&1
    }

    broken() {
    	tail -n 20 "$work/log" >&2
    	die 'this build has to work, and fails'
    }

    die() {
    	echo "reproduce.sh: $*" >&2
    	exit 2
    }

    sum() {
    	if [ -e "$1" ]; then sha256sum <"$1" | cut -d ' ' -f 1; else echo 'not there'; fi
    }

    configure() {
    	mkdir -p "$obj"
    	run make O="$obj" defconfig || broken
    }

    edit_1() {
    	sed -i 's/^#define HASH_ROUNDS 16$/#define HASH_ROUNDS 8/' "$src"/include/linux/hash.h
    }

    # Writes the file $1 from what is read.
    put() {
    	mkdir -p "$(dirname "$src/$1")"
    	cat >"$src/$1"
    }

    # Makes the source tree.
    sources() {
    	mkdir "$src"
    	put Kbuild <<'EOF'
    # The directories that go into vmlinux, in link order.
    obj-y += init/
    obj-y += kernel/
    obj-y += lib/
    obj-y += crypto/
    obj-y += drivers/
    obj-$(CONFIG_NET) += net/
    EOF
    }

    work=$(mktemp -d "${TMPDIR:-/tmp}/reproduce.XXXXXX") || exit 2
    [ -n "${KEEP:-}" ] || trap 'rm -rf "$work"' EXIT
    trap 'exit 2' HUP INT TERM
    cd "$work" || exit 2
    src=$work/src obj=$work/obj
    main
    "#);
}

#[test]
fn every_way_to_see_a_finding_is_a_script_that_a_shell_reads() {
    let changed = |id: &str| build(id, &[("a.ko", "2")]);
    let clean = |id: &str| build(id, &[("a.ko", "1")]);
    let edit = "[[edit]]\nfile = \"init/main.c\"\ntouch = true\n";
    let failed = |id: &str| clean(id).failed(Status::Exit(2));
    let varied = "[experiment]\nenv = { LC_ALL = \"de_DE.UTF-8\" }\n";
    let after = |text: &str, builds: Vec<_>| record(text, [twice(&[("a.ko", "1")]), builds].concat());
    let cases = [
        ("repro.mismatch", record(varied, vec![clean("control/clean"), changed("experiment/clean")])),
        ("noop.changed", after("", vec![changed("control/noop-1")])),
        (
            "noop.changed",
            after(edit, vec![clean("edit-1/incremental"), clean("edit-1/oracle"), changed("edit-1/oracle-noop")]),
        ),
        ("rebuild.failed", after(edit, vec![failed("edit-1/incremental"), clean("edit-1/oracle")])),
        ("rebuild.masked", after(edit, vec![clean("edit-1/incremental"), failed("edit-1/oracle")])),
        ("rebuild.failed", after("", vec![failed("control/noop-1")])),
        ("rebuild.diverged", after(edit, vec![changed("edit-1/incremental"), clean("edit-1/oracle")])),
        (
            "btf.duplicate",
            record(
                "",
                vec![clean("control/clean").btf("a.ko", 2, &["f"]), clean("experiment/clean").btf("a.ko", 2, &["f"])],
            ),
        ),
        ("btf.lost", lost()),
    ];
    for (name, record) in cases {
        let findings = findings(&record);
        assert!(findings.iter().any(|finding| finding.name.name() == name), "{name}: {findings:?}");
        for finding in &findings {
            let text = script(&record, &recipe_of(&record), &[finding]).expect(name);
            let checked = std::process::Command::new("sh").args(["-n", "-c", &text]).status().expect("a shell");
            assert!(checked.success(), "{name}:\n{text}");
            assert!(text.contains("exit $seen"), "{name}:\n{text}");
        }
    }
    assert!(record("", twice(&[])).builds.iter().all(|build| build.mode == Mode::Clean));
}

#[test]
fn what_is_about_the_scenario_has_neither() {
    let demanded = "[[expect.finding]]\nfinding = \"btf.lost\"\n";
    let record = record(demanded, twice(&[("a.ko", "1")]));
    let all = judge(&record, &Accepted::default()).findings;
    assert_eq!(mail(&record, None, &all, &all[0]), Err("it is about what the scenario says".into()));
    assert_eq!(script(&record, &recipe_of(&record), &[&all[0]]), Err("it is about what the scenario says".into()));
}
