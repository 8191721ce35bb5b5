//! Which commit, version or symbol brings a finding.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::lab::{Lab, has};

/// A make tree of two text files; the header is no prerequisite where it is lost.
fn makefile(recipe: &str, header: bool, force: bool) -> String {
    let header = if header { " head.txt" } else { "" };
    let force = if force { " FORCE" } else { "" };
    format!("all: prog\nprog: part.txt{header}{force}\n\t{recipe}\nFORCE:\n")
}

const CAT: &str = "cat part.txt head.txt > $@";

/// One commit: the mark of its parent, the mark of what it merges, and the files that it changes.
struct Commit {
    subject: String,
    from: Option<usize>,
    merge: Option<usize>,
    files: Vec<(String, String)>,
}

/// Makes a repository of commits, by git-fast-import(1); `main` is the last.
fn repository(lab: &Lab, name: &str, commits: &[Commit]) {
    let dir = lab.path(name);
    let mut stream = String::new();
    for (at, commit) in commits.iter().enumerate() {
        let who = "N <n@example.org> 1700000000 +0000";
        let _ = write!(stream, "commit refs/heads/main\nmark :{}\nauthor {who}\ncommitter {who}\n", at + 1);
        let _ = write!(stream, "data {}\n{}\n", commit.subject.len(), commit.subject);
        if let Some(from) = commit.from {
            let _ = writeln!(stream, "from :{}", from + 1);
        }
        if let Some(merge) = commit.merge {
            let _ = writeln!(stream, "merge :{}", merge + 1);
        }
        for (path, text) in &commit.files {
            let _ = write!(stream, "M 644 inline {path}\ndata {}\n{text}\n", text.len());
        }
    }
    let run = |args: &[&str], input: &str| {
        let mut git = Command::new("git").arg("-C").arg(&dir).args(args).stdin(Stdio::piped()).spawn().expect("git");
        git.stdin.take().expect("a pipe").write_all(input.as_bytes()).expect("taken");
        assert!(git.wait().expect("ends").success(), "{args:?}");
    };
    fs::create_dir(&dir).expect("made");
    run(&["init", "--quiet", "--initial-branch=main"], "");
    run(&["fast-import", "--quiet"], &stream);
}

/// A line of commits: the first has the whole tree, each changes a note, and some the Makefile.
fn line(count: usize, changes: &[(usize, &str, String)]) -> Vec<Commit> {
    let file = |path: &str, text: &str| (path.to_owned(), text.to_owned());
    let commit = |at: usize| {
        let mut files = vec![file("note", &at.to_string())];
        if at == 0 {
            files.extend([file("part.txt", "part\n"), file("head.txt", "one\n"), file(".gitignore", "prog\n")]);
            files.push(file("Makefile", &makefile(CAT, true, false)));
        }
        let change = changes.iter().find(|(when, ..)| *when == at);
        files.extend(change.map(|(_, _, text)| file("Makefile", text)));
        let subject = change.map_or(format!("note {at}"), |(_, subject, _)| (*subject).to_owned());
        Commit { subject, from: at.checked_sub(1), merge: None, files }
    };
    (0..count).map(commit).collect()
}

/// The scenario that looks at it: the header changes.
const SCENARIO: &str = "tier = \"quick\"\n[tree]\nsrctree = \"git:../../repo@main\"\nkind = \"make\"\n\
                        [compare]\nartifacts = [\"prog\"]\n[[edit]]\nfile = \"head.txt\"\nreplace = \"one\"\nwith = \"two\"\n";

fn lab(commits: &[Commit]) -> Lab {
    let lab = Lab::new();
    repository(&lab, "repo", commits);
    lab.scenario("dep", SCENARIO);
    lab
}

fn bisect<'a>(good: &'a str, bad: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["bisect", "t/dep", "--repo", "repo", "--good", good, "--bad", bad][..], more].concat()
}

fn json(lab: &Lab) -> serde_json::Value {
    serde_json::from_slice(&fs::read(lab.path("bisection.json")).expect("written")).expect("JSON")
}

const LOST: &str = "Makefile: a shorter line";

#[test]
fn the_commit_that_brought_a_finding_is_found_and_the_repository_is_left_alone() {
    if !has(&["make", "git"]) {
        return;
    }
    let lab = lab(&line(60, &[(37, LOST, makefile(CAT, false, false))]));
    let refs = || Command::new("git").arg("-C").arg(lab.path("repo")).arg("for-each-ref").output().expect("git").stdout;
    let before = refs();
    let ran = lab.run(&bisect("main~59", "main", &["--json", "bisection.json"])).exits(0);
    let ran = ran.reports(&[
        "came with",
        LOST,
        "Fixes: ",
        "before: not there",
        "rebuild.stale@edit-1:prog",
        "over 59 commits",
    ]);
    ran.says(&["[1] ", "[2] ", ": good (", ": bad ("]);
    let told = json(&lab);
    assert_eq!((&told["outcome"]["as"], &told["outcome"]["subject"]), (&"first".into(), &LOST.into()));
    let tests = told["tests"].as_array().expect("tests").len();
    assert!((4..=9).contains(&tests), "{tests}");
    assert!(told["notes"]["log"].as_str().expect("a log").contains("git bisect good"));
    let record = PathBuf::from(told["record"].as_str().expect("a place"));
    // The mail and the reproducer are there, with what the bisection told.
    let fixes = told["notes"]["fixes"].as_str().expect("a trailer");
    assert!(fixes.starts_with("Fixes: ") && fixes.contains(LOST), "{fixes}");
    let beside =
        fs::read_dir(record.join("after/t/dep/findings")).expect("there").flatten().next().expect("a finding").path();
    let read = |name: &str| fs::read_to_string(beside.join(name)).expect("written");
    assert!(read("mail.txt").lines().any(|line| line == fixes), "{}", read("mail.txt"));
    assert!(read("reproduce.sh").lines().any(|line| line == format!("# {fixes}")));
    assert!(!record.join("before/t/dep/findings").exists());
    let after = record.join("after").display().to_string();
    lab.run(&["report", &after, "--mail", "rebuild.stale@edit-1:prog"]).exits(0).reports(&[fixes]);
    assert_eq!(before, refs());
    assert!(!lab.path("repo/.git/BISECT_LOG").exists() && lab.left_over().is_empty());

    // Backwards it is the commit with which the finding goes, for who sees it from the other side.
    let back = [(12, "lost", makefile(CAT, false, false)), (20, "mended", makefile(CAT, true, false))];
    repository(&lab, "back", &line(30, &back));
    let args = ["bisect", "t/dep", "--repo", "back", "--good", "main~15", "--bad", "main", "--terms", "broken,whole"];
    lab.run(&args).exits(0).reports(&["went with", "(\"mended\")"]).says(&[": whole ("]);
}

#[test]
fn a_fault_that_another_hides_shows_where_that_one_goes() {
    if !has(&["make", "git"]) {
        return;
    }
    let changes = [
        (5, "the header is lost", makefile(CAT, false, false)),
        (10, "made each time", makefile(CAT, false, true)),
        (20, "made when it is old", makefile(CAT, false, false)),
    ];
    let lab = lab(&line(30, &changes));
    lab.run(&bisect("main~17", "main", &[])).exits(0).reports(&["(\"made when it is old\")"]);
    lab.run(&bisect("main~29", "main~22", &[])).exits(0).reports(&["(\"the header is lost\")"]);
    // Another finding of the same scenario came with another commit.
    let needless = bisect("main~22", "main~12", &["--finding", "noop.ran"]);
    lab.run(&needless).exits(0).reports(&["(\"made each time\")", "noop.ran came with"]);
    lab.run(&bisect("main~29", "main~26", &[])).exits(4).reports(&["is at neither end"]);
    lab.run(&bisect("main~5", "main", &[])).exits(4).reports(&["is at both ends"]);
}

#[test]
fn commits_that_do_not_build_are_gone_around() {
    if !has(&["make", "git"]) {
        return;
    }
    let broken = [
        (10, "does not build", makefile("false", true, false)),
        (13, "builds again", makefile(CAT, true, false)),
        (17, LOST, makefile(CAT, false, false)),
    ];
    let first = lab(&line(24, &broken));
    first.run(&bisect("main~23", "main", &[])).exits(0).reports(&[LOST]).says(&["skipped"]);

    let broken =
        [(8, "does not build", makefile("false", true, false)), (14, "builds, worse", makefile(CAT, false, false))];
    let second = lab(&line(20, &broken));
    let ran = second.run(&bisect("main~19", "main", &[])).exits(4);
    ran.reports(&["one of 7", "does not build", "builds, worse", "could not be tested"]);
    second.run(&bisect("main~10", "main", &[])).exits(4).reports(&["cannot be tested: "]);
}

#[test]
fn of_a_merge_the_branch_or_the_merge_is_found() {
    if !has(&["make", "git"]) {
        return;
    }
    let mut commits = line(12, &[]);
    // A branch from commit 3 that loses the header, merged at the end, and three more commits.
    let file = |path: &str, text: String| (path.to_owned(), text);
    let commit = |subject: &str, from: usize, merge: Option<usize>, files| Commit {
        subject: subject.to_owned(),
        from: Some(from),
        merge,
        files,
    };
    commits.push(commit("branch: a", 3, None, vec![file("side", "a".into())]));
    commits.push(commit("branch: lost", 12, None, vec![file("Makefile", makefile(CAT, false, false))]));
    let merged = vec![file("Makefile", makefile(CAT, false, false)), file("side", "a".into())];
    commits.push(commit("merge", 11, Some(13), merged));
    for (at, note) in ["x", "y", "z"].into_iter().enumerate() {
        commits.push(commit(note, 14 + at, None, vec![file("note", note.into())]));
    }
    let lab = lab(&commits);
    lab.run(&bisect("main~10", "main", &[])).exits(0).reports(&["(\"branch: lost\")"]);
    lab.run(&bisect("main~10", "main", &["--first-parent"])).exits(0).reports(&["(\"merge\")"]);
    // The note is in neither: only commits that touch the Makefile are looked at.
    let ran = lab.run(&bisect("main~10", "main", &["--paths", "Makefile", "--json", "bisection.json"])).exits(0);
    ran.reports(&["(\"branch: lost\")"]);
    assert!(json(&lab)["candidates"].as_u64().expect("a number") <= 2);
    lab.run(&bisect("main~3", "main", &["--paths", "none"])).exits(2).says(&["no commit between"]);
}

#[test]
fn what_was_stopped_goes_on() {
    use rustix::process::{Pid, Signal, kill_process};

    if !has(&["make", "git"]) {
        return;
    }
    let lab = lab(&line(40, &[(30, LOST, makefile(CAT, false, false))]));
    let args = bisect("main~39", "main", &[]);
    let mut child = lab.command(&args).stderr(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
    let mut told = std::io::BufReader::new(child.stderr.take().expect("a pipe"));
    let mut line = String::new();
    while !line.starts_with("[3] ") {
        line.clear();
        assert!(std::io::BufRead::read_line(&mut told, &mut line).expect("text") > 0, "it ended");
    }
    kill_process(Pid::from_child(&child), Signal::INT).expect("it is there");
    std::io::Read::read_to_string(&mut told, &mut line).expect("text");
    assert_eq!(child.wait().expect("ends").code(), Some(130), "{line}");
    let ran = lab.run(&args).exits(0).says(&["goes on with ", "(known)"]);
    ran.reports(&[LOST, "known from before"]);
    assert!(!lab.run(&args).exits(0).err.contains("goes on with"), "what has an answer is asked anew");
}

#[test]
fn what_is_asked_wrongly_is_said() {
    if !has(&["make", "git"]) {
        return;
    }
    let lab = lab(&line(3, &[]));
    lab.scenario("mini", "[tree]\nsrctree = \"mini\"\n");
    let asked = |args: &[&str]| lab.run(args);
    asked(&bisect("main~2", "none", &[])).exits(2).says(&["no commit `none`"]);
    asked(&bisect("main~2", "main", &["--finding", "rebuild.stail"])).exits(2).says(&["did you mean `rebuild.stale`"]);
    asked(&["bisect", "t/dep", "--repo", "nowhere", "--good", "a", "--bad", "b"]).exits(2).says(&["nowhere"]);
    asked(&bisect("main~2", "main", &["--terms", "slow"])).exits(2).says(&["no two words"]);
    asked(&["bisect", "t/dep"]).exits(2).says(&["--repo"]);
    asked(&["bisect", "t/mini", "--repo", "repo", "--good", "main~2", "--bad", "main"])
        .exits(2)
        .says(&["no commit is of"]);
    asked(&["bisect", "t/*", "--repo", "repo", "--good", "main~2", "--bad", "main"]).exits(2);
    asked(&["bisect", "t/dep", "--tool", "phole=1..2"]).exits(2).says(&["did you mean `pahole`"]);
}

#[test]
fn git_bisect_run_takes_the_exit_code() {
    if !has(&["make", "git"]) {
        return;
    }
    let broken = [
        (6, "does not build", makefile("false", true, false)),
        (7, "builds again", makefile(CAT, true, false)),
        (11, LOST, makefile(CAT, false, false)),
    ];
    let lab = lab(&line(16, &broken));
    let at = |rev: &str| SCENARIO.replace("main", rev);
    for (rev, code) in [("main~15", 0), ("main", 1), ("main~9", 125), ("nothing", 128)] {
        lab.scenario("one", &at(rev));
        assert_eq!(lab.run(&["run", "t/one", "--bisect", "--quiet"]).code, code, "{rev}");
    }
    lab.scenario("one", &at("main"));
    assert_eq!(lab.run(&["run", "t/one", "--bisect", "--finding", "repro.mismatch"]).code, 0);
    assert_eq!(lab.run(&["run", "t/none", "--bisect"]).code, 125, "nothing is selected");
    assert_eq!(lab.run(&["run", "t/one", "--bisect", "--finding", "none"]).code, 128);
    // What a scenario tolerates is there all the same.
    let known = "[[known]]\nfinding = \"rebuild.stale\"\nwhy = \"so it is\"\n";
    lab.scenario("one", &format!("{SCENARIO}{known}"));
    lab.run(&["run", "t/one"]).exits(0);
    assert_eq!(lab.run(&["run", "t/one", "--bisect"]).code, 1);

    lab.scenario("one", &at("BISECT_HEAD"));
    let repo = lab.path("repo");
    let git = |args: &[&str]| {
        // git wants the program as one that it finds; the environment is the lab's.
        let mut command = lab.command(&[]);
        let program = command.get_program().to_owned();
        let envs: Vec<_> =
            command.get_envs().map(|(name, value)| (name.to_owned(), value.map(ToOwned::to_owned))).collect();
        command = Command::new("git");
        command.arg("-C").arg(&repo).args(args);
        if args.contains(&"run") {
            command
                .arg(&program)
                .args(["run", "t/one", "--bisect", "--quiet", "--scenarios"])
                .arg(lab.path("scenarios"));
        }
        for (name, value) in envs {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        String::from_utf8_lossy(&command.output().expect("git").stdout).into_owned()
    };
    git(&["bisect", "start", "--no-checkout", "main", "main~15"]);
    let told = git(&["bisect", "run"]);
    assert!(told.contains("is the first bad commit") && told.contains(LOST), "{told}");
}

#[test]
fn the_version_of_a_tool_is_found() {
    if !has(&["make"]) {
        return;
    }
    let lab = Lab::new();
    lab.write("tree/Makefile", "out: in\n\tpahole >$@\n").write("tree/in", "");
    let mut paths = Vec::new();
    for number in 0..8 {
        // From the sixth on its output is another each time.
        let prints = if number < 5 { "echo same" } else { "cat /proc/sys/kernel/random/uuid" };
        let text = format!("#!/bin/sh\nif [ \"$1\" = --version ]; then echo v1.{}; else {prints}; fi\n", 20 + number);
        let path = format!("v{number}/pahole");
        lab.write(&path, text);
        fs::set_permissions(lab.path(&path), fs::Permissions::from_mode(0o755)).expect("chmod");
        paths.push(lab.path(&path).display().to_string());
    }
    lab.scenario(
        "tool",
        "tier = \"quick\"\n[tree]\nsrctree = \"../../tree\"\nkind = \"make\"\n[compare]\nartifacts = [\"out\"]\n",
    );
    let asked = format!("pahole={}", paths.join(","));
    let ran = lab.run(&["bisect", "t/tool", "--tool", &asked, "--finding", "repro.mismatch"]).exits(0);
    ran.reports(&[&format!("repro.mismatch came with {}", paths[5]), "over 7 versions"]);
}

#[test]
fn the_symbols_that_bring_a_finding_are_found() {
    if !has(&["make", "gcc", "ld"]) {
        return;
    }
    let lab = Lab::new();
    lab.scenario(
        "symbols",
        "[tree]\nsrctree = \"mini\"\nconfig = [\"tinyconfig\"]\n[tree.symbols]\nMODULES = \"y\"\n[[edit]]\nfile = \"include/linux/hash.h\"\n\
         replace = \"HASH_ROUNDS 16\"\nwith = \"HASH_ROUNDS 8\"\n",
    );
    lab.write("bad.config", "CONFIG_NET=y\nCONFIG_CRYPTO_MD5=m\nCONFIG_CHAR_NULL=m\nCONFIG_FAULT_MISSING_DEP=y\n");
    let ran = lab.run(&["bisect", "t/symbols", "--config", "..bad.config", "--finding", "rebuild.stale"]).exits(0);
    let first = ran.out.lines().next().unwrap_or_default().to_owned();
    assert!(first.contains("comes with these together: CONFIG_CRYPTO_MD5=m CONFIG_FAULT_MISSING_DEP=y"), "{ran}");
}

/// The mini tree, and the path of each of its files.
fn mini_tree() -> Vec<(String, String)> {
    let top = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios/trees/mini"));
    let (mut files, mut dirs) = (Vec::new(), vec![top.clone()]);
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).expect("a directory").map(|entry| entry.expect("an entry").path()) {
            if entry.is_dir() {
                dirs.push(entry);
            } else {
                let name = entry.strip_prefix(&top).expect("below").to_str().expect("UTF-8").to_owned();
                files.push((name, fs::read_to_string(&entry).expect("read")));
            }
        }
    }
    files.sort();
    files
}

#[test]
fn one_commit_of_a_thousand_of_the_mini_tree() {
    if !has(&["make", "git", "gcc", "nm"]) {
        return;
    }
    const BROKEN: usize = 617;
    let tree = mini_tree();
    let text = |path: &str| tree.iter().find(|(name, _)| name == path).expect("it is there").1.clone();
    let sources: Vec<&String> = tree.iter().map(|(path, _)| path).filter(|path| path.ends_with(".c")).collect();
    let commit = |at: usize| {
        let (subject, files) = match at {
            0 => ("the whole tree".to_owned(), tree.clone()),
            BROKEN => {
                let more = "fixdep-flags_crypto/md5.o := -i include/linux/hash.h\n";
                (
                    "crypto: fewer files to look at".to_owned(),
                    vec![("crypto/Makefile".into(), text("crypto/Makefile") + more)],
                )
            }
            _ => {
                // Something else each time, so that no two commits build the same.
                let path = sources[at % sources.len()];
                (format!("{path}: note {at}"), vec![(path.clone(), format!("{}\nint note_{at};\n", text(path)))])
            }
        };
        Commit { subject, from: at.checked_sub(1), merge: None, files }
    };
    let lab = Lab::new();
    repository(&lab, "repo", &(0..1000).map(commit).collect::<Vec<_>>());
    lab.scenario(
        "dep",
        "[tree]\nsrctree = \"git:../../repo@main\"\nkind = \"kernel\"\nconfig = [\"tinyconfig\"]\n\
         symbols = { MODULES = \"y\", CRYPTO_MD5 = \"m\" }\n\
         [[edit]]\nfile = \"include/linux/hash.h\"\nreplace = \"HASH_ROUNDS 16\"\nwith = \"HASH_ROUNDS 8\"\n",
    );
    let ran = lab.run(&bisect("main~999", "main", &["--json", "bisection.json"])).exits(0);
    ran.reports(&["(\"crypto: fewer files to look at\")", "over 999 commits", "rebuild.stale@edit-1:crypto/md5.ko"]);
    let told = json(&lab);
    let tests = told["tests"].as_array().expect("tests").len();
    assert!((10..=15).contains(&tests), "two ends and at most 10 halvings, and both sides of the commit: {tests}");
}
