use super::*;
use crate::trace::{Content, Root};

/// A step that made the first from the others, each a path and a content.
fn step(command: &str, output: (&str, &str), inputs: &[(&str, &str)]) -> Step {
    let content =
        |(path, text): &(&str, &str)| Content { path: (*path).into(), number: 0, sha256: Some((*text).into()) };
    Step {
        command: command.into(),
        target: Some(output.0.into()),
        cwd: "obj".into(),
        inputs: inputs.iter().map(content).collect(),
        outputs: vec![content(&output)],
        ended: 1,
        end: Some(End::Exit(0)),
        ..Step::default()
    }
}

fn build(steps: Vec<Step>) -> Steps {
    let unlisted = steps.iter().map(|_| Vec::new()).collect();
    Steps { objtree: "obj".into(), commands: vec![0], unlisted, steps, ..Steps::default() }
}

/// A data base of one make with these rules, `target: prerequisites`, each with a recipe.
fn database(rules: &[&str]) -> Database {
    let rules: Vec<String> =
        rules.iter().map(|rule| format!("{rule}\n#  recipe to execute (from 'Makefile', line 3):\n\tx\n\n")).collect();
    let text = format!("# Make data base, printed on x\nCURDIR := /obj\n# Files\n{}", rules.concat());
    let root = |dir: &str, name: &str| Root { dir: dir.into(), name: name.into() };
    Database::read(text.as_bytes(), &[root("/obj", "obj"), root("/src", "src")]).unwrap()
}

fn audit(clean: &Steps, database: &Database) -> Audit {
    Ground { clean, goals: 1, noops: Vec::new(), database }.audit(&|_| true)
}

fn files(audit: &Audit) -> Vec<&str> {
    audit.candidates.iter().map(|candidate| candidate.file.as_str()).collect()
}

#[test]
fn what_make_does_not_know_of_is_a_candidate() {
    let inputs = [("src/a.c", "1"), ("src/a.h", "1"), ("obj/include/generated/autoconf.h", "1"), ("tools/cc", "1")];
    let clean = build(vec![step("cc", ("obj/a.o", "2"), &inputs)]);
    let audit = audit(&clean, &database(&["a.o: /src/a.c FORCE"]));
    assert_eq!(files(&audit), ["src/a.h"]);
    assert_eq!((audit.counts.reads, audit.counts.declared), (4, 1));
    let undeclared: Vec<_> = audit.counts.undeclared.iter().map(|(origin, count)| (origin.name(), *count)).collect();
    assert_eq!(undeclared, [("source", 1), ("configuration", 1), ("toolchain", 1)]);
    assert_eq!(audit.candidates[0].rule, Some(("obj/Makefile".into(), 3)));
    assert_eq!(audit.candidates[0].sources, ["a.h"]);
}

#[test]
fn what_a_prerequisite_is_made_from_comes_last_and_what_it_brings_along_is_no_candidate() {
    let clean = build(vec![
        step("cc", ("obj/b.o", "2"), &[("src/b.c", "1")]),
        step("ar", ("obj/b.a", "3"), &[("obj/b.o", "2")]),
        step("ld", ("obj/x", "4"), &[("obj/b.a", "3"), ("obj/b.o", "2"), ("src/b.c", "1"), ("src/x.lds", "1")]),
    ]);
    let rules = ["b.o: /src/b.c", "b.a: b.o", "x: b.a"];
    assert_eq!(files(&audit(&clean, &database(&rules))), ["src/x.lds", "src/b.c"]);
    // With the archive itself forgotten it is told, and its member with it; a source of it shows it.
    let found = audit(&clean, &database(&["b.o: /src/b.c", "b.a: b.o", "x: | b.a"]));
    let archive = found.candidates.iter().find(|it| it.file == "obj/b.a").unwrap();
    assert_eq!(
        (archive.folded.as_slice(), archive.sources.as_slice()),
        (&["obj/b.o".into(), "src/b.c".into()][..], &["b.c".into()][..])
    );
    assert!(!files(&found).contains(&"obj/b.o"), "{found:?}");
}

#[test]
fn steps_of_every_build_and_those_that_keep_books_need_nothing() {
    let clean = build(vec![
        step("gen", ("obj/v.h", "1"), &[("src/v", "1")]),
        step("cc", ("obj/a.o", "2"), &[("obj/scripts/basic/fixdep", "1"), ("obj/.a.o.cmd", "1")]),
        step("dep", ("obj/.a.o.cmd", "2"), &[("src/z", "1")]),
    ]);
    let noop = build(vec![step("gen", ("obj/v.h", "1"), &[("src/v", "1")])]);
    let empty = database(&["a.o:"]);
    let ground = Ground { clean: &clean, goals: 1, noops: vec![&noop, &noop], database: &empty };
    let found = ground.audit(&|_| true);
    assert_eq!((found.counts.steps, found.counts.always, found.counts.own), (2, 1, 2));
    assert!(found.candidates.is_empty(), "{found:?}");
}

#[test]
fn only_two_builds_make_it_count() {
    let clean = build(vec![step("cc", ("obj/a.o", "2"), &[("src/a.h", "1")])]);
    let found = audit(&clean, &database(&["a.o:"]));
    let candidate = &found.candidates[0];
    let nothing = build(Vec::new());
    let again = build(vec![step("cc", ("obj/a.o", "9"), &[("src/a.h", "8")])]);
    assert_eq!(suspect(candidate, "a.h", &clean, &nothing), None);
    assert_eq!(suspect(candidate, "a.h", &clean, &again), Some(Outcome::Runs { edited: "a.h".into() }));
    assert_eq!(confirm(candidate, "a.h", &clean, &nothing, &again), Ok(vec!["obj/a.o".into()]));
    // A clean build that reads what it always did, or does not run the step, shows nothing.
    assert!(confirm(candidate, "a.h", &clean, &nothing, &clean).is_err());
    assert!(confirm(candidate, "a.h", &clean, &nothing, &nothing).is_err());
}

#[test]
fn a_generated_file_has_to_change_under_the_step() {
    let gen_ = |text: &str, source: &str| step("gen", ("obj/t.h", text), &[("src/t.c", source)]);
    let cc = |text: &str| step("cc", ("obj/a.o", text), &[("obj/t.h", text)]);
    let clean = build(vec![gen_("1", "1"), cc("1")]);
    let found = audit(&clean, &database(&["t.h: /src/t.c", "a.o:"]));
    let [candidate] = found.candidates.as_slice() else { panic!("{found:?}") };
    assert_eq!(candidate.sources, ["t.c"]);
    let same = build(vec![gen_("1", "2")]);
    assert!(matches!(suspect(candidate, "t.c", &clean, &same), Some(Outcome::Untried { .. })));
    let moved = build(vec![gen_("2", "2")]);
    assert_eq!(suspect(candidate, "t.c", &clean, &moved), None);
    let oracle = build(vec![gen_("2", "2"), cc("2")]);
    assert_eq!(confirm(candidate, "t.c", &clean, &moved, &oracle), Ok(vec!["obj/a.o".into()]));
}
