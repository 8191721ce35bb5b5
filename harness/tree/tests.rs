use std::io;

use super::*;
use crate::scenario::parse;

/// Files by path.
struct Files(BTreeMap<&'static str, &'static str>);

impl Lower for Files {
    fn read(&self, path: &str) -> io::Result<Option<LowerFile>> {
        Ok(self.0.get(path).map(|text| LowerFile { bytes: text.as_bytes().to_vec(), mode: 0o644 }))
    }
    fn below(&self, dir: &str) -> io::Result<Vec<String>> {
        let prefix = if dir.is_empty() { String::new() } else { format!("{dir}/") };
        Ok(self.0.keys().filter(|path| path.starts_with(&prefix)).map(ToString::to_string).collect())
    }
    fn names(&self, dir: &str) -> io::Result<Vec<String>> {
        let prefix = if dir.is_empty() { String::new() } else { format!("{dir}/") };
        let names = self.0.keys().filter_map(|path| path.strip_prefix(&prefix)?.split('/').next());
        Ok(names.map(str::to_owned).collect())
    }
}

impl Beside for Files {
    fn read(&self, name: &str) -> Result<Vec<u8>, String> {
        self.0.get(name).map(|text| text.as_bytes().to_vec()).ok_or_else(|| "no such file".into())
    }
    fn list(&self, _: &str) -> Result<BTreeMap<String, LowerFile>, String> {
        Err("no such directory".into())
    }
}

fn planned(edits: &str) -> Result<TreePlan, Vec<String>> {
    let text = format!("title = \"t\"\n[tree]\nsrctree = \"tree\"\n{edits}");
    let loaded = parse("t.toml", &text, &()).unwrap_or_else(|errors| panic!("{:?}", errors.0));
    let lower = Files(BTreeMap::from([
        ("Kconfig", "config NET\n\tbool \"net\"\n\nconfig LOG\n\tint \"log\"\n"),
        ("Makefile", "all:\n\techo\n"),
        ("a.c", "one\ntwo\nthree\n"),
        ("b/c.c", "c\n"),
        ("b/d/e.c", "e\n"),
    ]));
    let beside = Files(BTreeMap::from([
        ("x.patch", "--- a/a.c\n+++ b/a.c\n@@ -1,3 +1,3 @@\n one\n-two\n+zwei\n three\n"),
        ("x.config", "CONFIG_NET=y\n"),
    ]));
    plan(&loaded.scenario, &loaded.document, &lower, &beside)
        .map_err(|errors| errors.0.into_iter().map(|problem| problem.message).collect())
}

#[track_caller]
fn good(edits: &str) -> TreePlan {
    planned(edits).unwrap_or_else(|errors| panic!("{errors:?}"))
}

/// The error of a scenario that has one.
#[track_caller]
fn bad(edits: &str) -> String {
    let errors = planned(edits).expect_err("it does not apply");
    assert_eq!(errors.len(), 1, "{errors:?}");
    errors[0].clone()
}

/// The text of a file in a state; `-` if it is deleted, `=` if it is the lower tree's.
fn text(state: &State, path: &str) -> String {
    match state.files.get(path) {
        None => "=".into(),
        Some(FileState::Deleted) => "-".into(),
        Some(FileState::Present { bytes, .. }) => String::from_utf8_lossy(bytes).into_owned(),
    }
}

/// What an edit does to the incremental tree, in short.
fn ops(plan: &TreePlan, edit: usize) -> Vec<String> {
    let short = |op: &FileOp| match op {
        FileOp::Write { path, .. } => format!("write {path}"),
        FileOp::Delete { path } => format!("delete {path}"),
        FileOp::Rename { from, to } => format!("rename {from} {to}"),
        FileOp::Chmod { path, mode } => format!("chmod {path} {mode:o}"),
        FileOp::Touch { path } => format!("touch {path}"),
        FileOp::Object(_) => "object".into(),
    };
    plan.edits[edit].ops.iter().map(short).collect()
}

#[test]
fn edits_are_folded_one_after_the_other() {
    let plan = good(
        "[[edit]]\nfile = \"a.c\"\nappend = \"four\\n\"\n\
         [[edit]]\nfile = \"a.c\"\nreplace = \"four\"\nwith = \"4\"\n\
         [[edit]]\nfile = \"new.c\"\nwrite = \"n\\n\"\nalso = [{ file = \"a.c\", insert = \"0\\n\", before = \"one\" }]\n",
    );
    assert_eq!(text(&plan.edits[0].state, "a.c"), "one\ntwo\nthree\nfour\n");
    assert_eq!(text(&plan.edits[1].state, "a.c"), "one\ntwo\nthree\n4\n");
    assert_eq!(text(&plan.edits[2].state, "a.c"), "0\none\ntwo\nthree\n4\n");
    assert_eq!(ops(&plan, 2), ["write new.c", "write a.c"]);
    assert_eq!(text(&plan.base, "a.c"), "=");
}

#[test]
fn replace_wants_the_count_it_is_given() {
    let edit = |keys: &str| format!("[[edit]]\nfile = \"a.c\"\nreplace = \"{keys}\n");
    assert_eq!(text(&good(&edit("t\"\nwith = \"T\"\ncount = 2")).edits[0].state, "a.c"), "one\nTwo\nThree\n");
    assert_eq!(bad(&edit("t\"\nwith = \"T\"")), "`a.c` holds the text twice, not once");
    assert_eq!(bad(&edit("x\"\nwith = \"T\"")), "`a.c` does not hold the text");
    // Occurrences do not overlap, as sed and every editor count them.
    assert_eq!(replace(b"aaaa", "aa", "b", 2), Ok(b"bb".to_vec()));
    assert_eq!(replace(b"aaa", "aa", "b", 1), Ok(b"ba".to_vec()));
    assert_eq!(replace(b"", "aa", "b", 1), Err((0, 1)));
}

#[test]
fn insert_wants_its_anchor_once() {
    let edit = |keys: &str| format!("[[edit]]\nfile = \"a.c\"\ninsert = \"x\\n\"\n{keys}\n");
    assert_eq!(text(&good(&edit("after = \"one\\n\"")).edits[0].state, "a.c"), "one\nx\ntwo\nthree\n");
    assert_eq!(text(&good(&edit("before = \"one\\n\"")).edits[0].state, "a.c"), "x\none\ntwo\nthree\n");
    assert_eq!(bad(&edit("before = \"t\"")), "`a.c` holds this text twice, not once");
    assert_eq!(bad(&edit("after = \"four\"")), "`a.c` does not hold this text");
}

#[test]
fn undo_takes_an_edit_back_and_leaves_the_others() {
    let plan = good(
        "[[edit]]\nid = \"a\"\nfile = \"a.c\"\nappend = \"A\\n\"\n\
         [[edit]]\nid = \"b\"\nfile = \"b/c.c\"\nappend = \"B\\n\"\nvars = { X = \"1\" }\n\
         [[edit]]\nid = \"not-a\"\nundo = \"a\"\n\
         [[edit]]\nid = \"not-b\"\nundo = \"b\"\n",
    );
    let [_, both, only_b, none] = plan.edits.as_slice() else { panic!("four edits") };
    assert_eq!(
        (text(&both.state, "a.c"), text(&both.state, "b/c.c")),
        ("one\ntwo\nthree\nA\n".into(), "c\nB\n".into())
    );
    assert_eq!((text(&only_b.state, "a.c"), text(&only_b.state, "b/c.c")), ("=".into(), "c\nB\n".into()));
    assert_eq!(ops(&plan, 2), ["write a.c"]);
    assert_eq!(none.state, plan.base);
    assert_eq!(both.state.vars.get("X").map(String::as_str), Some("1"));
}

#[test]
fn undo_of_an_undo_brings_the_edit_back() {
    let plan = good(
        "[[edit]]\nid = \"a\"\nfile = \"a.c\"\nappend = \"A\\n\"\n\
         [[edit]]\nid = \"u\"\nundo = \"a\"\n\
         [[edit]]\nid = \"uu\"\nundo = \"u\"\n\
         [[edit]]\nid = \"uuu\"\nundo = \"uu\"\n",
    );
    assert_eq!(plan.edits[1].state, plan.base);
    assert_eq!(plan.edits[2].state, plan.edits[0].state);
    assert_eq!(plan.edits[3].state, plan.base);
}

#[test]
fn an_edit_that_others_stand_on_cannot_be_taken_back() {
    let error = bad("[[edit]]\nid = \"a\"\nfile = \"a.c\"\nappend = \"A\\n\"\n\
         [[edit]]\nfile = \"a.c\"\nreplace = \"A\"\nwith = \"B\"\n\
         [[edit]]\nundo = \"a\"\n");
    assert!(error.contains("cannot be taken back") && error.contains("does not hold the text"), "{error}");
}

#[test]
fn undo_of_what_is_undone_already() {
    let edits =
        "[[edit]]\nid = \"a\"\nfile = \"a.c\"\nappend = \"A\\n\"\n[[edit]]\nundo = \"a\"\n[[edit]]\nundo = \"a\"\n";
    assert_eq!(bad(edits), "`a` is taken back already");
}

#[test]
fn undo_of_deletions_renames_and_modes_restores_them() {
    for (edit, there, back) in [
        ("file = \"a.c\"\ndelete = true", "delete a.c", vec!["write a.c"]),
        ("file = \"a.c\"\nrename = \"z.c\"", "rename a.c z.c", vec!["write a.c", "delete z.c"]),
        ("file = \"a.c\"\nchmod = \"755\"", "chmod a.c 755", vec!["chmod a.c 644"]),
        ("file = \"z.c\"\nwrite = \"z\"", "write z.c", vec!["delete z.c"]),
    ] {
        let plan = good(&format!("[[edit]]\nid = \"x\"\n{edit}\n[[edit]]\nundo = \"x\"\n"));
        assert_eq!(ops(&plan, 0), [there]);
        assert_eq!(ops(&plan, 1), back, "{edit}");
        assert_eq!(plan.edits[1].state, plan.base);
    }
}

#[test]
fn a_directory_is_deleted_with_all_below_it() {
    let plan = good("[[edit]]\nfile = \"b/n.c\"\nwrite = \"n\"\n[[edit]]\nfile = \"b\"\ndelete = true\n");
    assert_eq!(ops(&plan, 1), ["delete b/c.c", "delete b/d/e.c", "delete b/n.c"]);
    let again = "[[edit]]\nfile = \"b\"\ndelete = true\n[[edit]]\nfile = \"b\"\ndelete = true\n";
    assert_eq!(bad(again), "`b` is not in the tree");
    assert_eq!(bad("[[edit]]\nfile = \"b/d\"\ntouch = true\n"), "`b/d` is a directory");
}

#[test]
fn a_renamed_file_is_at_its_new_place_only() {
    let plan = good("[[edit]]\nfile = \"a.c\"\nrename = \"b/z.c\"\n[[edit]]\nfile = \"b/z.c\"\nappend = \"4\\n\"\n");
    assert_eq!(text(&plan.edits[1].state, "a.c"), "-");
    assert_eq!(text(&plan.edits[1].state, "b/z.c"), "one\ntwo\nthree\n4\n");
    assert_eq!(bad("[[edit]]\nfile = \"a.c\"\nrename = \"b/c.c\"\n"), "`b/c.c` is there already");
    let gone = "[[edit]]\nfile = \"a.c\"\nrename = \"z.c\"\n[[edit]]\nfile = \"a.c\"\ntouch = true\n";
    assert_eq!(bad(gone), "`a.c` is not in the tree any more");
}

fn patched(patch: &str) -> String {
    format!("[[edit]]\npatch = '''\n{patch}'''\n")
}

#[test]
fn patches_create_change_delete_and_rename() {
    let create = "--- /dev/null\n+++ b/n.c\n@@ -0,0 +1 @@\n+n\n";
    let delete = "--- a/b/c.c\n+++ /dev/null\n@@ -1 +0,0 @@\n-c\n";
    let change = "--- a/a.c\n+++ b/a.c\n@@ -1,3 +1,3 @@\n one\n-two\n+2\n three\n";
    let plan = good(&patched(&format!("{create}{delete}{change}")));
    let state = &plan.edits[0].state;
    assert_eq!(
        (text(state, "n.c"), text(state, "b/c.c"), text(state, "a.c")),
        ("n\n".into(), "-".into(), "one\n2\nthree\n".into())
    );
    assert_eq!(ops(&plan, 0), ["write n.c", "delete b/c.c", "write a.c"]);
    let rename = "diff --git a/a.c b/z.c\nsimilarity index 60%\nrename from a.c\nrename to z.c\n--- a/a.c\n+++ b/z.c\n\
                  @@ -1,3 +1,3 @@\n one\n-two\n+2\n three\n";
    let plan = good(&patched(rename));
    assert_eq!(text(&plan.edits[0].state, "a.c"), "-");
    assert_eq!(text(&plan.edits[0].state, "z.c"), "one\n2\nthree\n");
    let from_file = good("[[edit]]\npatch = \"x.patch\"\n");
    assert_eq!(text(&from_file.edits[0].state, "a.c"), "one\nzwei\nthree\n");
    let new_mode = "diff --git a/s.sh b/s.sh\nnew file mode 100755\n--- /dev/null\n+++ b/s.sh\n@@ -0,0 +1 @@\n+#!\n";
    let plan = good(&patched(new_mode));
    assert!(matches!(plan.edits[0].state.files.get("s.sh"), Some(FileState::Present { mode: 0o755, .. })));
}

#[test]
fn patches_that_do_not_apply() {
    let other = "--- a/a.c\n+++ b/a.c\n@@ -1,2 +1,2 @@\n eins\n-two\n+2\n";
    assert!(bad(&patched(other)).contains("does not apply to `a.c`"));
    let absent = "--- a/x.c\n+++ b/x.c\n@@ -1 +1 @@\n-x\n+y\n";
    assert_eq!(bad(&patched(absent)), "the patch changes `x.c`, which is not there");
    let there = "--- /dev/null\n+++ b/a.c\n@@ -0,0 +1 @@\n+n\n";
    assert_eq!(bad(&patched(there)), "the patch creates `a.c`, which is there already");
    assert_eq!(bad("[[edit]]\npatch = \"y.patch\"\n"), "cannot read the patch `y.patch`: no such file");
}

#[test]
fn edits_that_change_nothing() {
    assert_eq!(bad("[[edit]]\nfile = \"a.c\"\nwrite = \"one\\ntwo\\nthree\\n\"\n"), "`a.c` already has this text");
    assert_eq!(bad("[[edit]]\nfile = \"a.c\"\nchmod = \"644\"\n"), "`a.c` already has mode 644");
    assert_eq!(bad("[make]\ngoals = [\"all\"]\n[[edit]]\ngoals = [\"all\"]\n"), "the edit changes nothing");
    assert_eq!(bad("[make]\njobs = 2\n[[edit]]\njobs = 2\n"), "the edit changes nothing");
    assert_eq!(bad("[[edit]]\nunset = [\"X\", \"X\"]\n"), "`X` is not set");
    let twice = "[[edit]]\nvars = { X = \"1\" }\n[[edit]]\nvars = { X = \"1\" }\n";
    assert_eq!(bad(twice), "`X` is already `1`");
    // A new time stamp and a cleaning goal are changes that no state shows.
    good("[[edit]]\nfile = \"a.c\"\ntouch = true\n[[edit]]\nclean = \"clean\"\n");
}

#[test]
fn one_bad_edit_does_not_hide_the_next() {
    let errors = planned(
        "[[edit]]\nfile = \"x.c\"\ntouch = true\n[[edit]]\nfile = \"a.c\"\nappend = \"4\"\n\
         [[edit]]\nfile = \"a.c\"\nreplace = \"5\"\nwith = \"6\"\n",
    );
    let errors = errors.expect_err("two do not apply");
    assert_eq!(errors, ["`x.c` is not in the tree", "`a.c` does not hold the text"]);
}

#[test]
fn symbols_are_looked_up_where_they_are_set() {
    let plan = good(
        "config = [\"tinyconfig\", \"x.config\"]\n[tree.symbols]\nLOG = \"3\"\n[[edit]]\nconfig = { NET = \"n\" }\n",
    );
    let config = plan.config.expect("a kbuild tree has one");
    assert_eq!(config.base, ConfigBase::Goal("tinyconfig".into()));
    assert_eq!(config.fragments.len(), 1);
    assert!(plan.edits[0].config_changed);
    assert_eq!(bad("[[edit]]\nconfig = { NTE = \"y\" }\n"), "no symbol `NTE` in this tree");
    let twice = "[[edit]]\nconfig = { NET = \"y\" }\n[[edit]]\nconfig = { NET = \"y\" }\n";
    assert_eq!(bad(twice), "`NET` is already `y`");
    assert!(bad("kind = \"make\"\n[tree.symbols]\nNET = \"y\"\n").contains("has no configuration"));
}

#[test]
fn files_of_the_scenario_are_in_the_first_build() {
    let plan = good(
        "[[tree.file]]\npath = \"n.c\"\ntext = \"n\"\nmode = \"755\"\n[[tree.edit]]\nfile = \"a.c\"\ndelete = true\n",
    );
    assert!(matches!(plan.base.files.get("n.c"), Some(FileState::Present { mode: 0o755, .. })));
    assert_eq!(text(&plan.base, "a.c"), "-");
    assert_eq!(bad("[[tree.file]]\npath = \"n.c\"\nfrom = \"nowhere\"\n"), "cannot read `nowhere`: no such file");
}
