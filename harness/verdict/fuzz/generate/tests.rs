use super::*;

fn population() -> Population {
    let files = [
        ("Makefile", "TAG ?= 0\n"),
        ("Kconfig", "config A\n\tbool \"a\"\n\tdefault y\n"),
        ("lib/Makefile", "obj-y := a.o b.o\nobj-$(CONFIG_A) += c.o\n"),
        ("lib/a.c", "#include <linux/a.h>\nint a = A_ROUNDS;\n"),
        ("lib/b.c", "int b = 3;\nconst char *name = \"name\";\n"),
        ("include/linux/a.h", "#ifndef A_H\n#define A_H\n#define A_ROUNDS 16\n#endif\n"),
        ("lib/mk.sh", "#!/bin/sh\nFIRST=3\n"),
    ];
    Population {
        files: files.into_iter().map(|(path, text)| (path.to_owned(), text.to_owned())).collect(),
        objects: ["lib/a.o", "lib/.a.o.cmd", "vmlinux"].map(str::to_owned).into(),
        symbols: BTreeMap::from([("A".to_owned(), (Type::Bool, Some("y".to_owned())))]),
        kbuild: true,
        ..Population::default()
    }
}

fn wanted(seed: u64, kinds: &[EditKind]) -> Wanted {
    Wanted { seed, edits: 12, kinds: kinds.to_vec() }
}

#[test]
fn a_sequence_is_the_same_for_the_same_seed_and_another_for_another() {
    let population = population();
    let one = sequence(&population, &wanted(1, EditKind::ALL), 5);
    assert_eq!(one.len(), 12);
    assert_eq!(one, sequence(&population, &wanted(1, EditKind::ALL), 5));
    assert_ne!(one, sequence(&population, &wanted(2, EditKind::ALL), 5));
    assert_ne!(one, sequence(&population, &wanted(1, EditKind::ALL), 6));
}

#[test]
fn every_kind_is_made_and_only_those_that_are_asked_for() {
    let population = population();
    for kind in EditKind::ALL {
        // An edit that is taken back is one of another kind; what breaks is taken back, and goals come back.
        let kinds = if *kind == EditKind::Undo { vec![EditKind::Change, *kind] } else { vec![*kind] };
        let made: Vec<Edit> = (0..20).flat_map(|n| sequence(&population, &wanted(3, &kinds), n)).collect();
        let prefix = if *kind == EditKind::Undo { "back-".to_owned() } else { format!("{}-", kind.name()) };
        let own = made.iter().filter(|edit| edit.id.as_deref().is_some_and(|id| id.starts_with(&prefix)));
        assert!(own.count() > 0, "{kind:?}: {made:#?}");
        let interrupted = made.iter().filter(|edit| edit.interrupt.is_some()).count();
        assert_eq!(interrupted > 0, *kind == EditKind::Interrupt, "{kind:?}");
    }
}

#[test]
fn what_is_broken_or_asked_for_in_part_is_whole_in_the_end() {
    let population = population();
    for number in 0..200 {
        let edits = sequence(&population, &wanted(4, EditKind::ALL), number);
        let goals = edits.iter().rev().flat_map(|edit| edit.changes_of()).find_map(|change| change.goals.as_ref());
        assert!(goals.is_none_or(Vec::is_empty), "{edits:#?}");
        for (n, edit) in edits.iter().enumerate() {
            if edit.id.as_deref().is_some_and(|id| id.starts_with("break-")) {
                assert_eq!(edits[n + 1].change.undo, edit.id, "{edits:#?}");
            }
        }
    }
}

#[test]
fn a_header_goes_with_the_line_that_includes_it() {
    let population = population();
    let edits = (0..40).flat_map(|n| sequence(&population, &wanted(5, &[EditKind::Header]), n));
    let gone: Vec<Edit> = edits.filter(|edit| edit.change.delete.is_some()).collect();
    let edit = gone.first().expect("one of many");
    let also = edit.also.first().expect("its user");
    // It may have got another name before.
    let line = also.replace.as_deref().unwrap_or_default();
    assert!(also.file.as_deref() == Some("lib/a.c") && line.starts_with("#include <linux/a"), "{also:?}");
    assert!(also.with.as_ref().is_some_and(|text| text.contains("A_ROUNDS")));
}

#[test]
fn what_is_not_compiled_is_changed_often_enough() {
    let population = population();
    let edits = (0..20).flat_map(|n| sequence(&population, &wanted(6, &[EditKind::Change]), n));
    let count = edits.filter(|edit| edit.change.file.as_deref() == Some("lib/mk.sh")).count();
    assert!((20..=120).contains(&count), "{count} of 240");
}
