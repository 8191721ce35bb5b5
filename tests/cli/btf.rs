//! `btf`: what pahole makes of C, printed, compared and checked.

use std::process::Command;

use serde_json::Value as Json;

use crate::lab::{Lab, has, is_there};

/// `NAME.o` with the BTF that pahole gives it.
fn object(lab: &Lab, name: &str, source: &str) {
    lab.write(&format!("{name}.c"), source);
    for command in [&["gcc", "-g", "-c", &format!("{name}.c")][..], &["pahole", "-J", &format!("{name}.o")]] {
        let ran = Command::new(command[0]).args(&command[1..]).current_dir(lab.path("")).output().expect("it starts");
        assert!(ran.status.success(), "{command:?}: {ran:?}");
    }
}

const FIRST: &str = "struct list { struct list *next; int n; };\nint add(struct list *l, int m) { return l->n + m; }\n";

#[test]
fn types_are_printed_compared_and_checked() {
    if !has(&["gcc", "pahole"]) {
        return;
    }
    let lab = Lab::new();
    object(&lab, "a", FIRST);
    object(&lab, "b", &FIRST.replace("int n;", "long n;").replace("int m)", "long m)"));
    let text = lab.run(&["btf", "dump", "a.o"]).exits(0);
    for line in
        ["struct list: 16 bytes\n  next: struct list * @0\n  n: int @64\n", "func add(struct list *l, int m) -> int"]
    {
        assert!(text.out.contains(line), "`{line}`: {text}");
    }
    let c = lab.run(&["btf", "dump", "--format", "c", "a.o"]).exits(0);
    assert!(c.out.contains("struct list {\n\tstruct list *next;\n\tint n;\n};"), "{c}");
    assert_eq!(lab.run(&["btf", "diff", "a.o", "a.o"]).exits(0).out, "identical\n");
    let diff = lab.run(&["btf", "diff", "a.o", "b.o"]).exits(1);
    for line in ["  func add\n    parameter 2: int m → long int m\n", "  struct list\n    n: int → long int\n"] {
        assert!(diff.out.contains(line), "`{line}`: {diff}");
    }
    let json: Json =
        serde_json::from_str(&lab.run(&["btf", "diff", "--format", "json", "a.o", "b.o"]).out).expect("JSON");
    assert_eq!((&json["relation"], json["changed"].as_array().map(Vec::len)), (&"different".into(), Some(2)));
    assert_eq!(
        lab.run(&["btf", "check", "a.o", "b.o"]).exits(0).out,
        "a.o: good\nb.o: good\n2 files: 2 good, 0 that a kernel refuses, 0 with what a kernel does not look at\n"
    );
    lab.run(&["btf", "dump", "a.c"]).exits(2).says(&["it is neither ELF nor BTF"]);
    lab.run(&["btf", "dump", "none"]).exits(2).says(&["`none`"]);
}

#[test]
fn bpftool_reads_the_same() {
    if !has(&["gcc", "pahole"]) {
        return;
    }
    // A peer, which nothing else needs.
    if !is_there("bpftool") {
        return;
    }
    let lab = Lab::new();
    object(&lab, "a", FIRST);
    let ours: Json =
        serde_json::from_str(&lab.run(&["btf", "dump", "--format", "json", "a.o"]).exits(0).out).expect("JSON");
    let mut bpftool = Command::new("bpftool");
    let theirs = bpftool.args(["-j", "btf", "dump", "file", "a.o"]).current_dir(lab.path("")).output();
    let theirs: Json = serde_json::from_slice(&theirs.expect("it starts").stdout).expect("JSON");
    let facts = |types: &Json, anonymous: &str| -> Vec<(u64, String, String)> {
        let of = |one: &Json| {
            let name = one["name"].as_str().filter(|name| *name != anonymous).unwrap_or_default();
            (one["id"].as_u64().expect("an id"), one["kind"].as_str().expect("a kind").to_lowercase(), name.to_owned())
        };
        types["types"].as_array().expect("types").iter().map(of).collect()
    };
    assert_eq!(facts(&ours, ""), facts(&theirs, "(anon)"));
}
