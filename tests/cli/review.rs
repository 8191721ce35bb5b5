//! What a patch does, before it is merged. Real kernels are tried by hand; here a tree of a repository stands for one.

use std::fs;
use std::process::Command;

use crate::lab::{Lab, has};

/// A make tree whose header is no prerequisite, or is one.
fn makefile(header: bool) -> String {
    let header = if header { " head.txt" } else { "" };
    format!("all: prog\nprog: part.txt{header}\n\tcat part.txt head.txt > $@\n")
}

fn lab() -> Lab {
    let lab = Lab::new();
    lab.write("repo/part.txt", "part\n").write("repo/head.txt", "one\n").write("repo/Makefile", makefile(false));
    git(&lab, &["init", "--quiet", "--initial-branch=main"]);
    git(&lab, &["add", "."]);
    git(&lab, &["commit", "--quiet", "-m", "first"]);
    lab.write("repo/Makefile", makefile(true));
    git(&lab, &["commit", "--quiet", "-am", "Makefile: prog depends on the header"]);
    lab.scenario(
        "dep",
        "tier = \"quick\"\n[tree]\nsrctree = \"git:../../repo@main~1\"\nkind = \"make\"\n[compare]\nartifacts = [\"prog\"]\n\
         [[edit]]\nid = \"header\"\nfile = \"head.txt\"\nreplace = \"one\"\nwith = \"two\"\n\
         [[known]]\nfinding = \"rebuild.stale\"\nwhy = \"known for long\"\n",
    );
    lab
}

fn git(lab: &Lab, args: &[&str]) -> String {
    let who = ["-c", "user.name=N", "-c", "user.email=n@example.org"];
    let out = Command::new("git").arg("-C").arg(lab.path("repo")).args(who).args(args).output().expect("git");
    assert!(out.status.success(), "{args:?}");
    String::from_utf8_lossy(&out.stdout).into_owned()
}

#[test]
fn a_mail_that_mends_it_and_one_that_breaks_it() {
    if !has(&["make", "git"]) {
        return;
    }
    let lab = lab();
    let mail = git(&lab, &["format-patch", "--stdout", "-1"]);
    lab.write("mend.mbox", mail.replace("Subject:", "Message-ID: <1@example.org>\nSubject:"));
    let ran = lab.run(&["review", "--patch", "mend.mbox", "t/dep", "--repeat", "2", "--json", "review.json"]).exits(0);
    let ran = ran.reports(&[
        "review: [PATCH] Makefile: prog depends on the header",
        "gone: rebuild.stale × 1: prog",
        "wrongly skipped",
    ]);
    ran.reports(&["after header:", "steps: 0 → 1", "2 builds each", "object tree: "]);
    let told: serde_json::Value =
        serde_json::from_slice(&fs::read(lab.path("review.json")).expect("written")).expect("JSON");
    let edit = &told["scenarios"][0]["edits"][0];
    for side in ["before", "after"] {
        assert_eq!(edit[side]["seconds"].as_array().expect("times").len(), 2, "{edit}");
    }
    let ran = lab.run(&["review", "--patch", "mend.mbox", "t/dep", "--repeat", "0", "--reply"]).exits(0);
    let head = "Subject: Re: [PATCH] Makefile: prog depends on the header\nIn-Reply-To: <1@example.org>\n\nI ran 1 scenario of kbuild-repro";
    assert!(ran.out.starts_with(head), "{ran}");
    let long = ran.out.lines().skip(2).find(|line| line.chars().count() > 75);
    assert_eq!(long, None, "{ran}");

    // Two commits say the same as the patch.
    let ran = lab.run(&["review", "--repo", "repo", "--range", "main~1..main", "t/dep", "--repeat", "0"]).exits(0);
    ran.reports(&[" first → ", "gone: rebuild.stale × 1: prog"]);

    // The other way round: what was right is wrong with it.
    lab.write(
        "scenarios/t/dep.toml",
        fs::read_to_string(lab.path("scenarios/t/dep.toml")).expect("there").replace("main~1", "main"),
    );
    lab.write("break.patch", git(&lab, &["diff", "main", "main~1"]));
    let ran = lab.run(&["review", "--patch", "break.patch", "t/dep", "--repeat", "0"]).exits(1);
    ran.reports(&["a patch without a subject", "new: rebuild.stale × 1: prog"]);
    let ran = lab.run(&["review", "--patch", "mend.mbox", "t/dep"]).exits(4);
    ran.reports(&["cannot be tested with it", "does not apply to `Makefile`"]);
}

#[test]
fn what_is_asked_wrongly_is_said() {
    if !has(&["make", "git"]) {
        return;
    }
    let lab = lab();
    lab.scenario("mini", "[tree]\nsrctree = \"mini\"\n")
        .write("none.patch", "nothing\n")
        .write("one.patch", git(&lab, &["diff", "HEAD~1"]));
    lab.run(&["review", "t/dep"]).exits(2).says(&["--patch"]);
    lab.run(&["review", "--patch", "none.patch", "t/dep"]).exits(2).says(&["there is no patch in it"]);
    lab.run(&["review", "--patch", "gone.patch", "t/dep"]).exits(2).says(&["gone.patch"]);
    lab.run(&["review", "--patch", "one.patch", "t/mini"]).exits(2).says(&["no patch is for"]);
    lab.run(&["review", "--repo", "repo", "--range", "main", "t/dep"]).exits(2).says(&["no range of commits"]);
}

#[test]
fn a_patch_that_is_none_is_told_before_anything_is_built_and_a_pipe_can_be_given_up() {
    use rustix::process::{Pid, Signal, kill_process};
    let lab = Lab::new();
    lab.scenario("one", "[tree]\nsrctree = \"../../tree\"\nkind = \"make\"\n").write("tree/Makefile", "all:\n");
    lab.write("bad.patch", "--- a/Makefile\n+++ b/Makefile\n@@ -99999999999999999999,1 +1 @@\n-all:\n+all: x\n");
    lab.run(&["review", "--patch", "bad.patch", "t/one"]).exits(2).says(&["`bad.patch`", "is no unified diff"]);
    // Nobody ever writes to it.
    let fifo = lab.path("fifo");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().expect("coreutils").success());
    let mut child = lab.command(&["review", "--patch", "fifo", "t/one"]).spawn().expect("it starts");
    std::thread::sleep(std::time::Duration::from_millis(500));
    assert!(child.try_wait().expect("asked").is_none(), "it waits");
    kill_process(Pid::from_child(&child), Signal::TERM).expect("it is there");
    assert!(!child.wait().expect("it ends").success());
}
