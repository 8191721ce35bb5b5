//! Bad scenarios: every error at once, each with its place and a hint, exit code 2, nothing built.

use crate::lab::{Lab, Ran};

const MINI: &str = "[tree]\nsrctree = \"mini\"\n";

/// Checks one scenario; asserts exit code 2 and what is said.
#[track_caller]
fn refused(text: &str, says: &[&str]) {
    let lab = Lab::new();
    lab.scenario("bad", text);
    let ran = checked(&lab, "scenarios/t/bad.toml").says(says);
    // `run` says the same, and has built nothing.
    let run = lab.run(&["run", "scenarios/t/bad.toml"]).exits(2);
    assert_eq!(run.err, ran.err);
    assert!(!lab.path("state/kbuild-repro/runs").exists(), "{run}");
}

#[track_caller]
fn checked(lab: &Lab, file: &str) -> Ran {
    let ran = lab.run(&["check", file]).exits(2);
    assert_eq!(ran.out, "", "{ran}");
    assert!(ran.err.contains("error(s); nothing was built"), "{ran}");
    // Each error has a line that editors and people jump to.
    let count = ran.err.lines().filter(|line| line.contains(": error: ")).count();
    assert!(count > 0 && ran.err.contains(&format!("{count} error(s)")), "{ran}");
    assert!(!ran.err.contains("panicked"), "{ran}");
    ran
}

#[test]
fn all_errors_of_a_file_come_at_once() {
    let lab = Lab::new();
    let edits = "[[edit]]\nfile = \"/etc/passwd\"\ntouch = true\n[[edit]]\nundo = \"nothing\"\n\
                 [[edit]]\nid = \"edit-1\"\nfile = \"x\"\nappend = \"\"\n";
    lab.scenario("bad", &format!("{MINI}{edits}"));
    let ran = checked(&lab, "scenarios/t/bad.toml");
    let places: Vec<&str> = ran.err.lines().filter(|line| line.contains(": error: ")).collect();
    assert_eq!(
        places,
        [
            "scenarios/t/bad.toml:5:8: error: path `/etc/passwd` is absolute; paths are relative to the tree",
            "scenarios/t/bad.toml:8:8: error: no earlier edit is called `nothing`",
            "scenarios/t/bad.toml:9:1: error: the edit changes nothing: the text to add is empty",
            "scenarios/t/bad.toml:10:6: error: two edits are called `edit-1`",
            "scenarios/t/bad.toml:11:8: error: `x` is not in the tree",
        ]
    );
}

#[test]
fn errors_of_every_kind_come_at_once_and_none_that_only_follows() {
    let lab = Lab::new();
    let text = r#"
wyh = "an unknown key"
extends = "nowhere.toml"

[tree]
srctree = "mini"
symbols = { NO_SUCH = "y" }

[make]
jobs = "a wrong type"

[[edit]]
id = "leaves"
file = "../x"
touch = true

[[edit]]
id = "no-match"
file = "init/main.c"
replace = "no such text"
with = "x"

[[edit]]
id = "typo"
file = "init/mian.c"
apend = "x"

[[edit]]
id = "type"
file = 3
append = "x"

[[edit]]
id = "syntax"
file = "init/mian.c"
append = "x

[[edit]]
id = "symbol"
also = [{ config = { NO_SUCH_THING = "y" } }]

[[edit]]
undo = "no-match"

[[known]]
finding = "rebuild.stael"
why = ""
"#;
    lab.scenario("bad", text);
    let ran = checked(&lab, "scenarios/t/bad.toml");
    let told: Vec<&str> = ran.err.lines().filter(|line| line.contains(": error: ")).collect();
    let told: Vec<&str> = told.iter().map(|line| line.trim_start_matches("scenarios/t/bad.toml:")).collect();
    assert_eq!(
        told,
        [
            "3:1: error: unknown key `wyh` at the top",
            "4:11: error: cannot extend `nowhere.toml`: no such file",
            "8:13: error: no symbol `NO_SUCH` in this tree",
            "11:8: error: `jobs` must be an integer, not a string",
            "15:8: error: path `../x` leaves the tree by `..`",
            "21:11: error: `init/main.c` does not hold the text",
            "26:8: error: `init/mian.c` is not in the tree",
            "27:1: error: unknown key `apend` in `edit`",
            "31:8: error: `file` must be a string, not an integer",
            "36:8: error: `init/mian.c` is not in the tree",
            "37:12: error: not TOML: invalid basic string, expected `\"`",
            "41:22: error: no symbol `NO_SUCH_THING` in this tree",
            "47:11: error: no finding is called `rebuild.stael`",
            "48:7: error: a tolerated fault needs its reason",
        ]
    );
}

#[test]
fn a_broken_header_is_one_error_and_what_was_read_after_it_counts() {
    let lab = Lab::new();
    lab.scenario("bad", "[tree\nsrctree = \"mini\"\n\n[[edit]]\nfile = \"x\"\ntouch = true\nbogus = 1\n");
    let ran = checked(&lab, "scenarios/t/bad.toml");
    let told: Vec<&str> = ran.err.lines().filter(|line| line.contains(": error: ")).collect();
    assert!(told[0].ends_with(":2:6: error: not TOML: unclosed table, expected `]`"), "{ran}");
    assert!(told.iter().any(|line| line.contains("unknown key `bogus`")), "{ran}");
    assert!(!ran.err.contains("lacks") && !ran.err.contains("is empty"), "{ran}");
}

#[test]
fn thousands_of_errors_are_counted_and_the_first_are_shown() {
    let lab = Lab::new();
    let edits = "[[edit]]\nfile = 3\ntouch = true\n".repeat(3000);
    lab.scenario("bad", &format!("{MINI}{edits}"));
    let ran = lab.run(&["check"]).exits(2);
    assert!(ran.err.contains("3000 error(s); nothing was built") && ran.err.contains("and 2000 more"), "{ran}");
    let json = lab.run(&["check", "--format", "json"]).exits(2);
    let json: serde_json::Value = serde_json::from_str(&json.out).expect("JSON");
    assert_eq!(json["errors"].as_array().map(Vec::len), Some(3000));
}

#[test]
fn files_that_extend_each_other_doubly_are_few_in_all() {
    let lab = Lab::new();
    for n in 0..10 {
        let next = n + 1;
        let text = format!("extends = [\"_{next}.toml\", \"_{next}.toml\"]\n");
        lab.write(&format!("scenarios/t/_{n}.toml"), text);
    }
    lab.write("scenarios/t/_10.toml", MINI).scenario("bad", "extends = \"_0.toml\"\n");
    let ran = lab.run(&["check"]).exits(2);
    assert!(ran.err.contains("more than 256 files in all"), "{ran}");
}

#[test]
fn errors_of_several_files_come_at_once() {
    let lab = Lab::new();
    lab.scenario("one", "[tree]\nsrctree = 1\n").scenario("two", "[tree]\n").scenario("good", MINI);
    let ran = lab.run(&["check"]).exits(2);
    assert!(ran.err.contains("one.toml:3:11: error:") && ran.err.contains("two.toml:2:1: error:"), "{ran}");
    let json = lab.run(&["check", "--format", "json"]).exits(2);
    let json: serde_json::Value = serde_json::from_str(&json.out).expect("JSON");
    assert_eq!(json["errors"].as_array().map(Vec::len), Some(2));
    assert_eq!((&json["errors"][0]["line"], &json["errors"][0]["column"]), (&3.into(), &11.into()));
}

#[test]
fn what_does_not_fit_the_format() {
    refused("[tree]\nsrctre = \"mini\"\n", &["bad.toml:3:1", "unknown key `srctre`", "did you mean `srctree`?"]);
    refused("[tree]\nsrctree = [1]\n", &["bad.toml:3:11", "must be a string, not an array"]);
    refused("[tree\nsrctree = \"mini\"\n", &["bad.toml:2:", "not TOML"]);
    refused("[tree]\nsrctree = \"mini\nx = 1\n", &["bad.toml:3:", "not TOML"]);
    refused(&format!("{MINI}[make]\njobs = 99999\n"), &["bad.toml:5:8", "1 to 4096"]);
    refused(&format!("{MINI}srctree = \"mini\"\n"), &["bad.toml:4:1", "duplicate"]);
    refused("", &["lacks the key `tree`"]);
}

#[test]
fn paths_stay_in_the_tree() {
    let edit = |path: &str| format!("{MINI}[[edit]]\nfile = \"{path}\"\ntouch = true\n");
    refused(&edit("../../etc/passwd"), &["leaves the tree by `..`"]);
    refused(&edit("init/../../x"), &["leaves the tree by `..`"]);
    refused(&edit("/etc/passwd"), &["is absolute"]);
    refused(&edit("init//main.c"), &["empty or `.` part"]);
    refused(&edit("init/main.c\\u0000"), &["NUL"]);
    refused(&edit(&"x".repeat(300)), &["longer than a path can be"]);
    let file = "[[tree.file]]\npath = \"../x\"\ntext = \"\"\n";
    refused(&format!("{MINI}{file}"), &["leaves the tree by `..`"]);
    let patch = "--- a/../x\n+++ b/../x\n@@ -0,0 +1 @@\n+x\n";
    refused(&format!("{MINI}[[edit]]\npatch = '''\n{patch}'''\n"), &["bad.toml:5:", "../x"]);
}

#[test]
fn edits_that_do_not_apply() {
    let edit = |keys: &str| format!("{MINI}[[edit]]\n{keys}");
    refused(
        &edit("file = \"init/main.c\"\nreplace = \"schedule()\"\nwith = \"x\"\ncount = 7\n"),
        &["bad.toml:6:11", "holds the text once, not 7 times", "count = 1"],
    );
    refused(
        &edit("file = \"init/main.c\"\nreplace = \"no such text\"\nwith = \"x\"\n"),
        &["`init/main.c` does not hold the text", "quote it exactly"],
    );
    refused(&edit("file = \"init/mian.c\"\ntouch = true\n"), &["not in the tree", "did you mean `init/main.c`?"]);
    refused(&edit("file = \"init/main.c\"\nrename = \"init/version.c\"\n"), &["is there already"]);
    refused(&edit("file = \"init/main.c\"\nchmod = \"644\"\n"), &["already has mode 644"]);
    refused(&edit("vars = { A = \"1\" }\n[make]\nvars = { A = \"1\" }\n"), &["`A` is already `1`"]);
    refused(&edit("title = \"nothing\"\n"), &["the edit changes nothing"]);
    refused(&edit("goals = []\n"), &["the edit changes nothing"]);
    refused(&edit("undo = \"edit-9\"\n"), &["no earlier edit is called `edit-9`"]);
    refused(&edit("patch = \"nowhere.patch\"\n"), &["cannot read the patch `nowhere.patch`"]);
    refused(&edit("patch = \"not\\na patch\\n\"\n"), &["the patch is no unified diff: no valid patches found\n"]);
    let header = "--- a/init/main.c\\n+++ b/init/main.c\\n@@ -1,x @@\\n-a\\n+b\\n";
    let says = "the patch is no unified diff: unable to parse hunk header\n";
    refused(&edit(&format!("patch = \"{header}\"\n")), &[says]);
    refused(&edit("id = \"a b\"\nfile = \"init/main.c\"\ntouch = true\n"), &["`a b` cannot name an edit"]);
}

#[test]
fn places_that_cannot_be() {
    let file = |path: &str| format!("{MINI}[[tree.file]]\npath = \"{path}\"\ntext = \"\"\n");
    refused(&file("Makefile/x"), &["bad.toml:5:8", "`Makefile/x` lies below `Makefile`, which is a file"]);
    refused(&file("scripts"), &["bad.toml:5:8", "`scripts` is a directory", "name a file"]);
    let renamed = |to: &str| format!("{MINI}[[edit]]\nfile = \"init/main.c\"\nrename = \"{to}\"\n");
    refused(&renamed("scripts"), &["bad.toml:6:10", "`scripts` is a directory"]);
    refused(&renamed("Makefile/main.c"), &["bad.toml:6:10", "which is a file"]);
    let patch = "--- /dev/null\n+++ b/Makefile/x\n@@ -0,0 +1 @@\n+x\n";
    let message = "the patch creates what cannot be a file: `Makefile/x` lies below `Makefile`, which is a file";
    refused(&format!("{MINI}[[edit]]\npatch = '''\n{patch}'''\n"), &["bad.toml:5:9", message]);
    let lab = Lab::new();
    lab.write("scenarios/t/over/scripts", "").scenario("bad", &format!("{MINI}overlay = \"over\"\n"));
    checked(&lab, "scenarios/t/bad.toml").says(&["bad.toml:4:11", "in `over`: `scripts` is a directory of the tree"]);
    let within = "lie one within the other";
    refused(&format!("{MINI}at = \"/build/obj/src\"\n"), &["bad.toml:4:6", "`/build/obj/src`", within]);
    let experiment = |keys: &str| format!("{MINI}[experiment]\n{keys}\n");
    refused(&experiment("srctree = \"/build/obj/src\""), &["bad.toml:5:11", within]);
    let long = format!("hostname = \"{}\"", "h".repeat(65));
    refused(&experiment(&long), &["bad.toml:5:12", "no host has such a name", "1 to 64 bytes"]);
    refused(&experiment("objtree = \"/build\""), &["bad.toml:5:11", within, "`/build/src`"]);
    let same = "srctree = \"/build/x\"\nobjtree = \"/build/x\"";
    refused(&experiment(same), &["bad.toml:5:11", within]);
    let lab = Lab::new();
    lab.scenario("in-tree", &format!("{MINI}at = \"/build/obj/src\"\n[make]\nobjtree = \"in-tree\"\n"));
    lab.scenario("beside", &experiment("srctree = \"/build/objects\"\nobjtree = \"/build/src\""));
    lab.run(&["check"]).exits(0);
}

#[test]
fn a_value_of_a_symbol_is_one_line() {
    let value = "LOCALVERSION = \"a\\nCONFIG_NET=y\"";
    refused(&format!("{MINI}symbols = {{ {value} }}\n"), &["bad.toml:4:28", "holds a line break"]);
    refused(&format!("{MINI}[[edit]]\nconfig = {{ {value} }}\n"), &["bad.toml:5:27", "holds a line break"]);
}

#[test]
fn symbols_that_do_not_exist() {
    refused(
        &format!("{MINI}[tree.symbols]\nLOG_LEVLE = \"2\"\n"),
        &["no symbol `LOG_LEVLE` in this tree", "did you mean `LOG_LEVEL`?", "bad.toml:5:1:"],
    );
    refused(
        &format!("{MINI}[[edit]]\nconfig = {{ NO_SUCH_THING = \"y\" }}\n"),
        &["no symbol `NO_SUCH_THING`", ":5:12:"],
    );
    refused(
        &format!("{MINI}[[edit]]\nconfig = {{ CONFIG_NET = \"n\" }}\n"),
        &["written with its prefix", "write `NET`", ":5:12:"],
    );
    let lab = Lab::new();
    lab.write("scenarios/t/x.config", "CONFIG_NET=y\nCONFIG_NOT_THERE=y\n");
    lab.scenario("bad", "[tree]\nsrctree = \"mini\"\nconfig = [\"defconfig\", \"x.config\"]\n");
    checked(&lab, "scenarios/t/bad.toml").says(&["no symbol `NOT_THERE` (in `x.config`)", "bad.toml:4:24"]);
    refused(
        "[tree]\nsrctree = \"mini\"\nconfig = [\"defconfig\", \"y.config\"]\n",
        &["the fragment `y.config` is not there"],
    );
    refused("[tree]\nsrctree = \"mini\"\nconfig = [\"x/y\"]\n", &["neither a configuration target nor a file"]);
}

#[test]
fn kernels_that_are_not_there() {
    let srctree = |place: &str| format!("[tree]\nsrctree = \"{place}\"\n");
    refused(&srctree("./nowhere"), &["nowhere", "bad.toml:3:11"]);
    refused(&srctree("./nowhere.tar.xz"), &["nowhere.tar.xz", "bad.toml:3:11"]);
    refused(&srctree("git:./nowhere@v6.12"), &["nowhere", "bad.toml:3:11"]);
    refused(&srctree("git:./nowhere"), &["bad.toml:3:11"]);
    refused(&srctree("debian:"), &["bad.toml:3:11"]);
    refused(&srctree(""), &["`srctree` is empty"]);
    refused(&srctree("mini2"), &["bad.toml:3:11"]);
}

#[test]
fn extends_that_cannot_be_followed() {
    let lab = Lab::new();
    lab.scenario("one", "extends = \"two.toml\"\n").scenario("two", "extends = \"one.toml\"\n");
    lab.scenario("own", "extends = \"own.toml\"\n").scenario("lost", "extends = \"nowhere.toml\"\n");
    lab.write("scenarios/t/part.toml", "[tree]\nsrctre = \"mini\"\n").scenario("part-of", "extends = \"part.toml\"\n");
    checked(&lab, "scenarios/t/one.toml").says(&["scenarios/t/two.toml:2:11: error: \
         `extends` goes round: scenarios/t/one.toml → scenarios/t/two.toml → scenarios/t/one.toml\n"]);
    checked(&lab, "scenarios/t/own.toml").says(&["goes round: scenarios/t/own.toml → scenarios/t/own.toml\n"]);
    checked(&lab, "scenarios/t/lost.toml").says(&["cannot extend `nowhere.toml`: no such file", "lost.toml:2:11"]);
    // The place is in the file that is extended.
    checked(&lab, "scenarios/t/part-of.toml").says(&["scenarios/t/part.toml:2:1: error: unknown key `srctre`"]);
}

#[test]
fn bytes_that_are_no_scenario() {
    let lab = Lab::new();
    lab.write("latin1.toml", b"title = \"caf\xe9\"\n[tree]\nsrctree = \"mini\"\n");
    checked(&lab, "latin1.toml").says(&["latin1.toml:1:13", "not UTF-8 from here on"]);
    lab.write("nul.toml", b"title = \"a\0b\"\n");
    checked(&lab, "nul.toml").says(&["nul.toml:1:"]);
    lab.write("empty.toml", b"");
    checked(&lab, "empty.toml").says(&["lacks the key `title`"]);
    let deep = format!("title = \"x\"\nx = {}{}\n", "[".repeat(50_000), "]".repeat(50_000));
    lab.write("deep.toml", deep);
    checked(&lab, "deep.toml");
    let tables = format!("title = \"x\"\n[{}]\n", vec!["a"; 20_000].join("."));
    lab.write("tables.toml", tables);
    checked(&lab, "tables.toml");
    // One line, many megabytes, and an error at its end.
    let huge = format!("title = \"x\"\nwhy = \"{}\"\n[tree]\nsrctree = 1\n", "y".repeat(15 << 20));
    lab.write("huge.toml", huge);
    checked(&lab, "huge.toml").says(&["huge.toml:4:11"]);
    lab.write("larger.toml", vec![b'#'; (16 << 20) + 1]);
    checked(&lab, "larger.toml").says(&["larger than 16 MiB"]);
    let many: String = (0..300).map(|n| format!("[[edit]]\nfile{n} = 1\n")).collect();
    lab.write("many.toml", format!("title = \"x\"\n{MINI}{many}"));
    checked(&lab, "many.toml").says(&["unknown key `file299`"]);
}

#[test]
fn a_kernel_goes_with_a_graft() {
    refused(&format!("{MINI}kernel = \"debian:6.12\"\n"), &["`kernel` goes with `srctree = \"graft\"`"]);
    refused("[tree]\nsrctree = \"graft\"\nkernel = \"mini\"\n", &["bad.toml:4:10", "`mini` is no kernel"]);
    refused("[tree]\nsrctree = \"graft\"\nkernel = \"./nowhere\"\n", &["bad.toml:4:10", "nowhere"]);
    refused("[tree]\nsrctree = \"graft\"\nkernel = \"git:./nowhere@v6.12\"\n", &["bad.toml:4:10", "nowhere"]);
    refused(&format!("{MINI}arch = \"x86\"\n"), &["`arch` goes with `srctree = \"graft\"`"]);
    refused("[tree]\nsrctree = \"graft\"\narch = \"sparc\"\n", &["bad.toml:4:8", "sparc"]);
}

#[test]
fn a_directory_is_no_scenario_file() {
    let lab = Lab::new();
    std::fs::create_dir_all(lab.path("scenarios/t/dir.toml")).expect("made");
    lab.scenario("good", MINI);
    lab.run(&["check"]).exits(0);
}

#[test]
fn an_experiment_that_does_what_the_first_build_does_varies_nothing() {
    for (key, says) in [
        ("hostname = \"repro\"", "the first build has the same"),
        ("umask = \"022\"", "the first build has the same"),
        ("srctree = \"/build/src\"", "the first build has the same"),
        ("objtree = \"/build/obj\"", "the first build has the same"),
        ("random_addresses = false", "the first build has the same"),
        ("jobs = 2", "the first build has the same"),
        ("env = { A = \"b\" }", "the first build has `A=b` as well"),
    ] {
        let make = "[make]\njobs = 2\nenv = { A = \"b\" }\n";
        refused(&format!("{MINI}{make}[experiment]\n{key}\n"), &[says, "leave it away"]);
    }
}

#[test]
fn the_systems_own_directories_are_no_trees() {
    for tree in ["/", "/proc"] {
        refused(
            &format!("[tree]\nsrctree = \"{tree}\"\nkind = \"make\"\n"),
            &["is the system's own, and no source tree"],
        );
    }
    refused("[tree]\nsrctree = \"mini\"\nat = \"/usr\"\n", &["nor in place of the system's own"]);
}

#[test]
fn a_scenario_that_cannot_be_listed_is_missed() {
    use std::os::unix::ffi::OsStrExt as _;
    let lab = Lab::new();
    lab.scenario("good", MINI);
    let name = std::ffi::OsStr::from_bytes(b"odd-\xff.toml");
    std::fs::write(lab.path("scenarios/t").join(name), MINI).expect("written");
    for command in ["check", "list", "run"] {
        lab.run(&[command]).exits(2).says(&["the name of the scenario", "is no UTF-8", "another name"]);
    }
}

#[test]
fn a_run_keeps_names_for_itself() {
    let lab = Lab::new();
    lab.write("run.json.toml", format!("title = \"x\"\n{MINI}"));
    lab.scenario("fine", MINI);
    lab.run(&["run", "run.json.toml"]).exits(2).says(&["a run keeps a file of its own under the name `run.json`"]);
}
