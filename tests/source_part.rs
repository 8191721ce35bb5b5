//! What of a git revision a graft gets, from real repositories: only what it needs, each content once.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use kbuild_repro::tree::source::{Identity, Part, SourceError, SourceSpec, Sources, Status};
use tempfile::TempDir;

/// A repository of something like a kernel, and a cache.
struct Lab(TempDir);

impl Lab {
    fn new() -> Self {
        let lab = Self(tempfile::tempdir().expect("a directory"));
        lab.sh("git init -q linux; cd linux
                mkdir -p scripts/mod drivers/net arch/arm include/linux tools/perf tools/lib
                printf 'VERSION = 7\\nPATCHLEVEL = 1\\nSUBLEVEL = 0\\nEXTRAVERSION =\\n' >Makefile
                echo one >scripts/mod/modpost.c; printf '#!/bin/sh\\n' >scripts/run.sh; chmod +x scripts/run.sh
                ln -s mod/modpost.c scripts/link.c
                echo menu >drivers/net/Kconfig; echo driver >drivers/net/a.c; echo arm >arch/arm/Makefile
                echo perf >tools/perf/perf.c; echo lib >tools/lib/a.c; echo same >include/linux/a.h
                git add .; git commit -qm one; git tag one
                echo two >scripts/mod/modpost.c; git commit -qam two; git tag two");
        lab
    }

    fn sh(&self, script: &str) {
        let out = Command::new("sh")
            .args(["-ec", script])
            .current_dir(self.0.path())
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .envs([("GIT_AUTHOR_NAME", "x"), ("GIT_AUTHOR_EMAIL", "x@example.org")])
            .envs([("GIT_COMMITTER_NAME", "x"), ("GIT_COMMITTER_EMAIL", "x@example.org")])
            .output()
            .expect("sh");
        assert!(out.status.success(), "{script}: {}", String::from_utf8_lossy(&out.stderr));
    }

    fn sources(&self) -> Sources {
        let env = BTreeMap::from([("PATH".into(), "/usr/local/bin:/usr/bin:/bin".into())]);
        Sources::new(self.0.path().join("cache"), env).part(Part::Graft)
    }

    fn spec(&self, rev: &str) -> SourceSpec {
        self.spec_in("linux", rev)
    }

    fn spec_in(&self, repo: &str, rev: &str) -> SourceSpec {
        SourceSpec::parse(&format!("git:{}@{rev}", self.0.path().join(repo).display())).expect("a source")
    }

    fn fetch(&self, rev: &str) -> Result<PathBuf, SourceError> {
        self.sources().fetch(&self.spec(rev), &mut |_| {}).map(|source| source.dir)
    }
}

fn inode(path: &Path) -> u64 {
    fs::metadata(path).expect("there").ino()
}

#[test]
fn only_what_a_graft_needs_and_nothing_of_git() {
    let lab = Lab::new();
    assert!(matches!(lab.sources().lookup(&lab.spec("one")), Ok(Status::Absent { bytes_download: 0, .. })));
    let source = lab.sources().fetch(&lab.spec("one"), &mut |_| {}).expect("checked out");
    assert_eq!(source.version.expect("a kernel").to_string(), "7.1.0");
    assert!(matches!(source.identity, Identity::Commit(_)));
    for there in ["Makefile", "scripts/mod/modpost.c", "drivers/net/Kconfig", "tools/lib/a.c", "include/linux/a.h"] {
        assert!(source.dir.join(there).is_file(), "{there}");
    }
    for gone in [".git", "drivers/net/a.c", "arch/arm/Makefile", "tools/perf"] {
        assert!(!source.dir.join(gone).exists(), "{gone}");
    }
    assert_eq!(fs::read_link(source.dir.join("scripts/link.c")).expect("a link"), Path::new("mod/modpost.c"));
    assert_eq!(fs::metadata(source.dir.join("scripts/run.sh")).expect("there").mode() & 0o777, 0o755);
    assert!(matches!(lab.sources().lookup(&lab.spec("one")), Ok(Status::Cached(_))));
    // The part is not taken for the whole.
    let whole = lab.sources().part(Part::Whole);
    assert!(matches!(whole.lookup(&lab.spec("one")), Ok(Status::Absent { .. })));
}

#[test]
fn another_commit_shares_all_that_is_the_same_and_is_as_old() {
    let lab = Lab::new();
    let (one, two) = (lab.fetch("one").expect("one"), lab.fetch("two").expect("two"));
    assert_ne!(one, two);
    let file = |dir: &Path, name: &str| dir.join(name);
    assert_eq!(inode(&file(&one, "include/linux/a.h")), inode(&file(&two, "include/linux/a.h")));
    let modpost = "scripts/mod/modpost.c";
    let text = |dir: &Path| fs::read_to_string(dir.join(modpost)).expect("there");
    assert_eq!((text(&one).as_str(), text(&two).as_str()), ("one\n", "two\n"));
    let time = |dir: &Path| fs::metadata(dir.join(modpost)).expect("there").mtime();
    assert_eq!(time(&one), time(&two), "make must not see which commit was here first");
    assert!(time(&one) < 1_000_000_000);
}

#[test]
fn many_commits_do_not_fill_the_disk() {
    let lab = Lab::new();
    let first = lab.fetch("one").expect("one");
    let held = lab.sources().fetch(&lab.spec("two"), &mut |_| {}).expect("two");
    let hold = lab.sources().hold(&held).expect("in the cache");
    lab.sh("cd linux; for n in $(seq 30); do echo $n >scripts/mod/modpost.c; git commit -qam $n; git tag n$n; done");
    for n in 1..=30 {
        lab.fetch(&format!("n{n}")).expect("checked out");
    }
    assert!(!first.exists(), "the one that was used longest ago is gone");
    assert!(held.dir.exists(), "one in use is not");
    drop(hold);
    let blobs = lab.0.path().join("cache/sources/blobs");
    let dirs = fs::read_dir(&blobs).expect("blobs").map(|dir| dir.expect("an entry").path());
    let files = dirs.flat_map(|dir| fs::read_dir(dir).expect("blobs")).count();
    assert!(files < 40, "contents that nobody has any more are gone: {files}");
    assert_eq!(
        fs::read_to_string(lab.fetch("one").expect("again").join("scripts/mod/modpost.c")).expect("there"),
        "one\n"
    );
}

#[test]
fn what_is_missing_or_leads_out_of_the_tree_is_said() {
    let lab = Lab::new();
    lab.sh("git -C linux config uploadpack.allowFilter true; git -C linux config uploadpack.allowAnySHA1InWant true
            git clone -q --bare --no-local --filter=blob:none \"file://$PWD/linux\" partial 2>/dev/null");
    let error = lab.sources().fetch(&lab.spec_in("partial", "one"), &mut |_| {}).expect_err("no contents");
    let SourceError::GitObject { path, why, .. } = &error else { panic!("{error:?}") };
    assert!(lab.0.path().join("linux").join(path).is_file(), "the file is named: {error}");
    assert!(why.contains("not in the repository"), "{error}");
    assert!(error.hint().is_some_and(|hint| hint.contains("--refetch")), "{error:?}");
    lab.sh("cd linux; blob=$(echo x | git hash-object -w --stdin)
            tree=$(printf '100644 blob %s\\t..\\n' $blob | git mktree); tree=$(printf '040000 tree %s\\tscripts\\n' $tree | git mktree)
            git tag out $(git commit-tree -m x $tree)");
    let error = lab.fetch("out").expect_err("a hostile tree");
    assert!(matches!(error, SourceError::Unsafe { .. }), "{error:?}");
    assert!(lab.fetch("one").is_ok(), "nothing is left of either");
}

#[test]
fn a_content_that_was_written_over_is_not_believed() {
    let lab = Lab::new();
    let one = lab.fetch("one").expect("one");
    // All trees that have the file share its inode.
    fs::write(one.join("include/linux/a.h"), "damage\n").expect("written");
    let two = lab.fetch("two").expect("two");
    let text = fs::read_to_string(two.join("include/linux/a.h")).expect("there");
    assert_ne!(text, "damage\n");
    assert_ne!(inode(&one.join("include/linux/a.h")), inode(&two.join("include/linux/a.h")));
}

#[test]
fn a_commit_is_what_its_id_says_whatever_replaces_it() {
    let lab = Lab::new();
    lab.sh("cd linux; git replace $(git rev-parse one) $(git rev-parse two)");
    let modpost = fs::read_to_string(lab.fetch("one").expect("fetched").join("scripts/mod/modpost.c")).expect("there");
    assert_eq!(modpost, "one\n");
}

#[test]
fn a_name_that_is_no_text_is_laid_down_as_it_is() {
    let lab = Lab::new();
    lab.sh("cd linux; echo z >\"scripts/$(printf '\\377')\"; git add .; git commit -qm bytes; git tag bytes");
    let names = fs::read_dir(lab.fetch("bytes").expect("checked out").join("scripts")).expect("a directory");
    assert!(names.flatten().any(|entry| entry.file_name().into_encoded_bytes() == b"\xff"));
}
