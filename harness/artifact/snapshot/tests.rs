use super::*;

/// Texts that are awkward in one way or another.
const AWKWARD: [&str; 9] = [
    "plain",
    "two\nlines",
    "",
    "---\nlooks like metadata\n---",
    "spaces at the end   \nand tabs\t",
    "\n\nempty lines first",
    "key: value\n\"quoted\" \\ back `ticks`",
    "carriage\rreturn inside",
    "ünïcode → …",
];

/// Runs insta's own assertion against `name.snap` in `dir`; whether it accepts. A refused text is left by insta in
/// `name.snap.new`.
fn insta_accepts(dir: &Path, name: &str, contents: &str, description: &str) -> bool {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(dir);
    settings.set_prepend_module_to_snapshot(false);
    settings.set_description(description);
    settings.set_omit_expression(false);
    let assertion = || settings.bind(|| insta::assert_snapshot!(name, contents));
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(assertion)).is_ok()
}

/// insta's answer depends on its environment (`CI`, `INSTA_UPDATE`), which a test must not change for its
/// neighbours: runs the test `name` again in a process of its own. True in that process, which is to go on.
fn in_insta_s_default_mode(name: &str) -> bool {
    const CHILD: &str = "KBUILD_REPRO_TEST_CHILD";
    if std::env::var_os(CHILD).is_some() {
        return true;
    }
    let mut command = std::process::Command::new(std::env::current_exe().expect("running"));
    for (key, _) in std::env::vars_os() {
        if key.to_string_lossy().starts_with("INSTA_") {
            command.env_remove(key);
        }
    }
    let output = command
        .args(["--exact", &format!("artifact::snapshot::tests::{name}")])
        .env(CHILD, "1")
        .env("INSTA_UPDATE", "new")
        .output()
        .expect("started");
    let stdout = String::from_utf8_lossy(&output.stdout);
    let passed = output.status.success() && stdout.contains("1 passed");
    assert!(passed, "{stdout}{}", String::from_utf8_lossy(&output.stderr));
    false
}

#[test]
fn insta_accepts_what_we_write() {
    if !in_insta_s_default_mode("insta_accepts_what_we_write") {
        return;
    }
    let dir = tempfile::tempdir().expect("a directory");
    for (index, contents) in AWKWARD.iter().enumerate() {
        let path = dir.path().join(format!("ours-{index}.snap"));
        let pending = pending_path(&path);
        assert!(pending.ends_with(format!("ours-{index}.snap.new")));
        let mut snapshot = Snapshot::new(*contents, "scenarios/a: b.toml", "full_text(\"x\")");
        let info = Value::Raw("\n  pahole: 1.24\n  list:\n    - a".to_owned());
        snapshot.metadata.insert("info".to_owned(), info);
        snapshot.write(&pending).expect("written");
        fs::rename(&pending, &path).expect("accepted");
        let name = format!("ours-{index}");
        assert!(insta_accepts(dir.path(), &name, contents, ""), "{contents:?}");
        assert!(!pending.exists(), "insta found something to review");
        let other = format!("{contents} but not the same");
        assert!(!insta_accepts(dir.path(), &name, &other, ""), "{contents:?}");
    }
}

#[test]
fn we_read_and_repeat_what_insta_writes() {
    if !in_insta_s_default_mode("we_read_and_repeat_what_insta_writes") {
        return;
    }
    let dir = tempfile::tempdir().expect("a directory");
    let descriptions = ["", "plain", "with: colon", "1.24", "0x10", "a\"b\\c\n\u{1}", "yes", "- x", "é"];
    for (index, contents) in AWKWARD.iter().enumerate() {
        let name = format!("theirs-{index}");
        let path = dir.path().join(format!("{name}.snap"));
        let description = descriptions[index];
        // Without a file to compare with, insta leaves its own for review.
        assert!(!insta_accepts(dir.path(), &name, contents, description));
        let written = &pending_path(&path);
        let text = fs::read_to_string(written).expect("written by insta");
        let theirs = Snapshot::parse(&text).expect("is a snapshot");
        assert_eq!(theirs.render(), text, "{text}");
        let ours = Snapshot::new(*contents, "x", "y");
        assert!(ours.contents_eq(&theirs), "{text}");
        let expected = Value::Text(description.to_owned());
        let found = theirs.metadata.get("description");
        assert!(description.is_empty() || found == Some(&expected), "{text}");
        assert_eq!(Snapshot::read(written).expect("readable").as_ref(), Some(&theirs));
        // And the way back: written by us as the accepted one, it is equal to insta.
        theirs.write(&path).expect("written");
        assert!(insta_accepts(dir.path(), &name, contents, description), "{text}");
    }
}

#[test]
fn comparison_is_insta_s() {
    let is_equal = |a: &str, b: &str| Snapshot::new(a, "", "").contents_eq(&Snapshot::new(b, "x", "y"));
    assert!(is_equal("a\n", "a"));
    assert!(is_equal("a \t\n\n", "a"));
    assert!(is_equal("a\r\nb", "a\nb"));
    assert!(!is_equal("a\rb", "a\nb"));
    assert!(!is_equal(" a", "a"));
    assert!(!is_equal("a \nb", "a\nb"));
}

#[test]
fn what_is_no_snapshot_is_refused() {
    assert_eq!(Snapshot::parse(""), Err(SnapshotError::NoMetadata));
    assert_eq!(Snapshot::parse("Expression: x\n\nold"), Err(SnapshotError::NoMetadata));
    assert_eq!(Snapshot::parse("---\nsource: x\n"), Err(SnapshotError::Unended));
    let error = Snapshot::parse("---\nsource: x\nnonsense\n---\n").expect_err("no colon");
    assert_eq!(error.to_string(), "line 3: `nonsense` is not `key: value`");
    let none = Snapshot::parse("---\n{}\n---\na\n").expect("is one");
    assert_eq!((none.metadata.len(), none.contents.as_str()), (0, "a"));
    assert_eq!(none.render(), "---\n{}\n---\na\n");
}

#[test]
fn writing_replaces_and_leaves_nothing_behind() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("scenario/gcc-12/a.ko.snap");
    for contents in ["one", "two"] {
        Snapshot::new(contents, "s", "e").write(&path).expect("written");
        let read = Snapshot::read(&path).expect("readable").expect("there");
        assert_eq!(read.contents, contents);
    }
    let parent = path.parent().expect("has one");
    assert_eq!(fs::read_dir(parent).expect("listed").count(), 1);
    let mode = fs::metadata(&path).expect("there").permissions().mode();
    // As any file of this user's, not the 0600 of a temporary one.
    fs::write(dir.path().join("plain"), "").expect("written");
    let plain = fs::metadata(dir.path().join("plain")).expect("there");
    assert_eq!(mode, plain.permissions().mode());
    assert_eq!(Snapshot::read(&dir.path().join("none")).expect("no error"), None);
    let error = Snapshot::read(dir.path()).expect_err("is a directory");
    assert!(error.to_string().starts_with("cannot read `"), "{error}");
}

#[test]
fn diffs_are_unified_and_bounded() {
    assert_eq!(text_diff("a\nb\n", "a\nb\n"), "");
    assert_eq!(
        text_diff("1\n2\n3\n4\n5\n6\n7\n8\n9", "1\n2\n3\n4\nfive\n6\n7\n8\n9"),
        "@@ -2,7 +2,7 @@\n 2\n 3\n 4\n-5\n+five\n 6\n 7\n 8\n"
    );
    let many = |word: &str| (0..5000).map(|n| format!("{word} {n}\n")).collect::<String>();
    let diff = text_diff(&many("old"), &many("new"));
    let lines: Vec<&str> = diff.lines().collect();
    assert_eq!(lines.len(), 202);
    assert_eq!(lines[200], "… 3801 more lines");
    assert_eq!(lines[201], "… compared up to line 2000 only");
    // A change far down is found, under its own line number.
    let old = many("same");
    let new = old.replace("same 4000\n", "other\n");
    let diff = text_diff(&old, &new);
    assert!(diff.starts_with("@@ -3998,7 +3998,7 @@\n same 3997\n"), "{diff}");
}
