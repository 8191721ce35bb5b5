//! `new`: what it writes is a scenario.

use std::process::Command;

use crate::lab::{Lab, has_make, of};
use kbuild_repro::verdict::Verdict;

/// A repository with two commits and a change that is in neither, or none where there is no git.
fn repository(lab: &Lab) -> Option<()> {
    lab.write("r/Makefile", "all: a.out\na.out: a.txt\n\tcat a.txt >a.out\n").write("r/a.txt", "one\n");
    let git = |words: &[&str]| {
        let mut git = Command::new("git");
        git.args(["-c", "user.email=a@example.org", "-c", "user.name=a", "-c", "init.defaultBranch=main"]).args(words);
        git.current_dir(lab.path("r")).env("GIT_CONFIG_GLOBAL", "/dev/null").output().ok()
    };
    git(&["init", "-q"])?;
    git(&["add", "."])?;
    git(&["commit", "-qm", "one"])?;
    lab.write("r/a.txt", "one\ntwo's '''\n");
    git(&["commit", "-qam", "two lines"])?;
    lab.write("r/a.txt", "one\ntwo's '''\nthree\n");
    Some(())
}

#[test]
fn what_git_says_of_a_change_becomes_a_scenario_that_runs() {
    let lab = Lab::new();
    lab.write("scenarios/t/_none.toml", "");
    if repository(&lab).is_none() || !has_make() {
        return;
    }
    for (range, name, title) in
        [("--diff", "open", "a change of a.txt"), ("--diff=HEAD~1..HEAD", "commit", "two lines")]
    {
        let file = format!("scenarios/t/{name}.toml");
        let ran = lab.run(&["new", "--tree", "./r", range, &file]);
        assert_eq!((ran.code, ran.out.trim()), (0, &*format!("kbuild-repro run {file}")), "{ran}");
        let text = std::fs::read_to_string(lab.path(&file)).unwrap();
        assert!(text.contains(title), "{text}");
        // The tree is none that has defaults.
        let text = text.replace("artifacts = [", "artifacts = [\"*.out\", ");
        lab.write(&file, text);
        let (ran, report) = lab.report(&[&file]);
        assert_eq!(of(&report, name).verdict, Verdict::Passed, "{ran}");
        assert!(of(&report, name).builds.iter().any(|build| build.id == "change/incremental"), "{ran}");
    }
}

#[test]
fn an_edit_of_the_mini_tree_is_tried_before_it_is_written() {
    let lab = Lab::new();
    let good = ["new", "--edit", "init/version.c", "--append", "int probe;"];
    let ran = lab.run(&good);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{ran}");
    lab.write("new.toml", &ran.out);
    assert_eq!(lab.run(&["check", "new.toml"]).code, 0);
    // What is there stays.
    let ran = lab.run(&[&good[..], &["new.toml"]].concat());
    assert_eq!(ran.code, 2, "{ran}");
    assert_eq!(lab.run(&[&good[..], &["new.toml", "--force"]].concat()).code, 0);
    let wrong: [(&[&str], &str); 6] = [
        (&["new", "--edit", "no/such.c", "--touch", "x.toml"], "is not in the tree"),
        (&["new", "--edit", "init/version.c", "--replace", "no such", "--with", "a", "x.toml"], "no such"),
        (&["new", "x.toml"], "there is no edit"),
        (&["new", "--edit", "init/version.c", "x.toml"], "nothing is done to"),
        (&["new", "--graft", "--edit", "init/version.c", "--touch", "x.toml"], "is no kernel"),
        (&["new", "--diff", "--tree", "mini", "x.toml"], "is no repository"),
    ];
    for (arguments, word) in wrong {
        let ran = lab.run(arguments);
        assert_eq!(ran.code, 2, "{ran}");
        assert!(ran.err.contains(word), "{word}: {ran}");
        assert!(!lab.path("x.toml").exists(), "{ran}");
    }
}

#[test]
fn what_is_no_patch_and_no_revision_is_not_taken_for_one() {
    let lab = Lab::new();
    lab.write("src/Makefile", "all:\n");
    let is = |arguments: &[&str], says: &[&str]| {
        lab.run(arguments).exits(2).says(says);
    };
    is(&["new", "--patch", "/dev/zero"], &["cannot read `/dev/zero`: it is no file"]);
    is(&["review", "--patch", "/dev/zero", "x"], &["it is no file"]);
    is(&["new", "--tree", "src", "--diff", "HEAD~5"], &["`HEAD~5` would be the file that is written", "--diff=HEAD~5"]);
    assert!(!lab.path("HEAD~5").exists());
}
