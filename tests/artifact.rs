//! The artifact stage on files that gcc and pahole made, as a kernel build does.

use std::path::Path;
use std::process::Command;

use kbuild_repro::artifact::{Artifact, Base, BtfError, btf, describe, describe_with_base, diff_parts, read_part};

const COMMON: &str = "
    struct page { int flags; char *name; union { int x; struct { long lo, hi; }; }; enum { A1 = -1, B1 } e:4; };
    struct desc { struct page *page; int (*hook)(struct page *, void *); };
";
const VMLINUX: &str = "
    int printk(const char *fmt, ...) { return 0; }
    int use(struct page *p, struct desc *d) { return p->flags + d->hook(p, 0); }
";
const MODULE: &str = "
    struct md5 { struct desc d; struct { int q; } arr[3][4]; volatile const int *restrict vp; double dd; };
    static int __attribute__((noinline)) md5_init(struct desc *desc) { return desc->page->flags; }
    static int __attribute__((noinline)) printk(struct md5 *m) { return m->arr[1][2].q; }
    int init_module(struct md5 *m, struct desc *d) { return md5_init(d) + printk(m); }
";

/// Runs a command in `dir`; false when the program does not exist on this host.
fn run(dir: &Path, command: &[&str]) -> bool {
    let result = Command::new(command[0]).args(&command[1..]).current_dir(dir).output();
    match result {
        Ok(output) if output.status.success() => true,
        Ok(output) => panic!("{command:?}: {}", String::from_utf8_lossy(&output.stderr)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => false,
        Err(e) => panic!("{command:?}: {e}"),
    }
}

/// Makes `vmlinux` and `md5.ko` in a directory of its own, with `extra` sources in vmlinux; `None` without the tools.
fn build(extra: &str) -> Option<tempfile::TempDir> {
    let dir = tempfile::tempdir().expect("a directory");
    let write = |name: &str, text: String| {
        std::fs::write(dir.path().join(name), text).expect("written");
    };
    write("vmlinux.c", format!("{COMMON}{extra}{VMLINUX}"));
    write("md5.c", format!("{COMMON}{MODULE}"));
    let made = run(dir.path(), &["gcc", "-g", "-O1", "-c", "vmlinux.c", "-o", "vmlinux"])
        && run(dir.path(), &["gcc", "-g", "-O1", "-c", "md5.c", "-o", "md5.ko"])
        && run(dir.path(), &["pahole", "-J", "vmlinux"])
        && run(dir.path(), &["pahole", "-J", "--btf_base=vmlinux", "md5.ko"]);
    if !made {
        skip("gcc or pahole is not installed");
    }
    made.then_some(dir)
}

#[expect(clippy::print_stderr, reason = "a skipped test says so")]
fn skip(reason: &str) {
    eprintln!("skipped: {reason}");
}

fn btf_of(dir: &Path, name: &str) -> (Artifact, Vec<u8>) {
    let path = dir.join(name);
    let record = describe(&path, name).expect("readable");
    let part = record.part(".BTF").expect("has BTF");
    let bytes = read_part(&path, part).expect("unchanged");
    (record, bytes)
}

#[test]
fn split_btf_of_pahole_reads_the_same_on_any_base() {
    let (Some(plain), Some(other)) = (build(""), build("struct extra { int a; int b; } extra; ")) else {
        return;
    };
    let text = |dir: &Path| {
        let (_, base) = btf_of(dir, "vmlinux");
        let (_, module) = btf_of(dir, "md5.ko");
        (btf::full_text(&module, Some(&base)).expect("fits"), module, base)
    };
    let (plain_text, plain_module, plain_base) = text(plain.path());
    let (other_text, other_module, _) = text(other.path());
    assert_ne!(plain_module, other_module);
    assert_eq!(plain_text, other_text);
    for start in [
        "func md5_init(struct desc *desc) -> int [static]",
        "func printk(struct md5 *m) -> int [static]",
        "  arr: struct { int q; }[",
    ] {
        let found = plain_text.lines().any(|line| line.starts_with(start));
        assert!(found, "no `{start}` in\n{plain_text}");
    }

    let error = btf::full_text(&other_module, Some(&plain_base)).expect_err("another base");
    assert!(error.hint().is_some(), "{error}");
    assert_eq!(btf::full_text(&plain_module, None), Err(BtfError::BaseNeeded));
}

#[test]
fn facts_name_the_functions() {
    let Some(dir) = build("") else { return };
    let (vmlinux, base) = btf_of(dir.path(), "vmlinux");
    let facts = vmlinux.btf.expect("has BTF");
    assert!(!facts.base);
    assert_eq!(facts.function_names, ["printk", "use"]);

    // `printk` has its name from the base's strings.
    let (module, _) = btf_of(dir.path(), "md5.ko");
    let facts = module.btf.expect("has BTF");
    assert_eq!((facts.base, facts.sections, facts.functions), (true, 1, 3));
    assert_eq!((facts.function_names, facts.unnamed), (vec!["init_module".to_owned(), "md5_init".to_owned()], 1));

    let base = Base::parse(base).expect("is BTF");
    let module = describe_with_base(&dir.path().join("md5.ko"), "md5.ko", Some(&base));
    let facts = module.expect("readable").btf.expect("has BTF");
    assert_eq!(facts.function_names, ["init_module", "md5_init", "printk"]);
    assert_eq!((facts.unnamed, facts.problem), (0, None));
}

#[test]
fn a_second_pahole_is_a_change_of_layout() {
    let Some(dir) = build("") else { return };
    let before = describe(&dir.path().join("md5.ko"), "md5.ko").expect("readable");
    assert!(run(dir.path(), &["pahole", "-J", "--btf_base=vmlinux", "md5.ko"]));
    let after = describe(&dir.path().join("md5.ko"), "md5.ko").expect("readable");
    // Later versions of pahole may leave the file as it was: then there is nothing to see here.
    if before.sha256 == after.sha256 {
        return skip("this pahole is idempotent");
    }
    let diff = diff_parts(&before, &after);
    assert!(diff.layout_only, "{diff:?}");
    assert!(diff.summary.contains("layout only"), "{}", diff.summary);
    assert!(after.part(".BTF").is_some());
}

#[test]
fn a_lost_section_and_a_stripped_file_show() {
    let Some(dir) = build("") else { return };
    let (before, _) = btf_of(dir.path(), "md5.ko");
    if !run(dir.path(), &["objcopy", "--remove-section", ".BTF", "md5.ko"]) {
        return skip("objcopy is not installed");
    }
    let after = describe(&dir.path().join("md5.ko"), "md5.ko").expect("readable");
    assert_eq!(after.btf, None);
    let diff = diff_parts(&before, &after);
    assert!(diff.removed.iter().any(|name| name == ".BTF"), "{diff:?}");
    assert!(diff.summary.contains("only in A: .BTF"), "{}", diff.summary);
    assert_eq!(after.note, None);
}
