//! Whose a finding is: as a kernel's MAINTAINERS says, and as its own script reads that.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use kbuild_repro::tree::maintainers::Maintainers;

use crate::lab::{Lab, has, has_make, skipped};

/// Files of the build, and some that are not.
const FILES: [&str; 14] = [
    "Makefile",
    "Kbuild",
    "scripts/Makefile.build",
    "scripts/Makefile.btf",
    "scripts/Makefile.modfinal",
    "scripts/Makefile.modpost",
    "scripts/link-vmlinux.sh",
    "scripts/kallsyms.c",
    "scripts/mod/modpost.c",
    "scripts/kconfig/confdata.c",
    "scripts/sorttable.c",
    "tools/bpf/resolve_btfids/main.c",
    "kernel/Makefile",
    "arch/x86/boot/compressed/Makefile",
];

/// The kernels in the cache.
fn kernels() -> Vec<PathBuf> {
    let cache = env::var_os("KBUILD_REPRO_CACHE").map(PathBuf::from);
    let cache = cache.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cache/kbuild-repro")));
    let sources = cache.and_then(|cache| fs::read_dir(cache.join("sources")).ok()).into_iter().flatten().flatten();
    let whole = |dir: &PathBuf| dir.join("scripts/get_maintainer.pl").is_file() && dir.join("COPYING").is_file();
    let mut found: Vec<PathBuf> = sources.map(|entry| entry.path().join("linux")).filter(whole).collect();
    found.sort();
    found
}

fn address(line: &str) -> String {
    let inside = line.rsplit_once('<').and_then(|(_, rest)| rest.split('>').next());
    inside.unwrap_or(line).trim().to_owned()
}

#[test]
fn owners_are_those_of_the_kernels_own_script() {
    if !has(&["perl"]) {
        return;
    }
    let kernels = kernels();
    if kernels.is_empty() {
        return skipped(
            "no kernel is in the cache, whose get_maintainer.pl is asked: `kbuild-repro fetch debian:6.12`",
        );
    }
    for kernel in kernels {
        let text = fs::read(kernel.join("MAINTAINERS")).expect("a kernel's");
        let maintainers = Maintainers::parse(&String::from_utf8_lossy(&text));
        for file in FILES.iter().filter(|file| kernel.join(file).is_file()) {
            let mut command = Command::new("perl");
            command.args(["scripts/get_maintainer.pl", "--no-git", "--no-git-fallback", "--no-rolestats", "-f", file]);
            let output = command.current_dir(&kernel).output().expect("perl");
            let told = String::from_utf8_lossy(&output.stdout).into_owned();
            if String::from_utf8_lossy(&output.stderr).contains("Can't locate") {
                return skipped("get_maintainer.pl takes modules that come with all of Perl, which is not installed");
            }
            let wanted: BTreeSet<String> = told.lines().map(address).collect();
            assert!(!wanted.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
            let owners = maintainers.of(file).expect("somebody's");
            let all = owners.maintainers.iter().chain(&owners.reviewers).chain(&owners.lists);
            let have: BTreeSet<String> = all.map(|one| address(one)).collect();
            assert_eq!(have, wanted, "{file} of {}", kernel.display());
        }
    }
}

#[test]
fn a_finding_and_its_mail_name_the_owner() {
    if !has_make() {
        return;
    }
    let lab = Lab::new();
    lab.write("tree/Makefile", "all: out.o\nout.o: a.txt\n\tcat a.txt b.txt > $@\n");
    lab.write("tree/a.txt", "1\n").write("tree/b.txt", "2\n");
    lab.write(
        "tree/MAINTAINERS",
        "THE BUILD\nM:\tAnn \"A.\" Example <ann@example.org>\nR:\tRob <rob@example.org>\nL:\tbuild@example.org\nF:\tMakefile\n\n\
         THE REST\nL:\tall@example.org\nF:\t*\nF:\t*/\n",
    );
    lab.scenario(
        "bad",
        "tier = \"quick\"\n[tree]\nsrctree = \"../../tree\"\nkind = \"make\"\n[compare]\nartifacts = [\"*.o\"]\n\
         [[edit]]\nfile = \"b.txt\"\nappend = \"3\\n\"\n",
    );
    let ran = lab.run(&["run", "t/bad", "--out", "out"]).exits(1);
    ran.reports(&[
        "owner: THE BUILD (Makefile): Ann \"A.\" Example <ann@example.org>, build@example.org, all@example.org",
    ]);
    let mail = lab.run(&["report", "out", "--mail", "rebuild.stale@edit-1:out.o"]).exits(0);
    mail.reports(&[
        "To: Ann \"A.\" Example <ann@example.org>\n",
        "Cc: build@example.org,\n all@example.org,\n Rob <rob@example.org>\n",
    ]);
    // It is in the record, and the sources need not be there.
    fs::remove_file(lab.path("tree/MAINTAINERS")).expect("removed");
    lab.run(&["judge", "out"]).exits(1).reports(&["owner: THE BUILD (Makefile)"]);
}
