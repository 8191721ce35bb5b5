use super::*;
use crate::trace::Process;

/// Builds traces by hand: what matters is which content goes where.
#[derive(Default)]
struct Story {
    trace: Trace,
    at: u32,
}

impl Story {
    fn path(&mut self, path: &str) -> u32 {
        let known = self.trace.paths.iter().position(|have| have == Path::new(path));
        let number = known.unwrap_or_else(|| {
            self.trace.paths.push(path.into());
            self.trace.paths.len() - 1
        });
        u32::try_from(number).unwrap()
    }

    fn process(&mut self, parent: Option<u32>, file: &str, argv: &[&str], captured: bool) -> u32 {
        let (file, cwd) = (self.path(file), self.path("/o"));
        self.at += 1;
        let argv = argv.iter().map(Into::into).collect();
        let program = Program { at: self.at, file, argv, cwd, env: 0, captured };
        let began = u64::from(self.at);
        let born = self.at - 1;
        let process =
            Process { parent, born, began, ended: began + 10, cpu: 1, programs: vec![program], ..Process::default() };
        self.trace.processes.push(process);
        u32::try_from(self.trace.processes.len() - 1).unwrap()
    }

    fn make(&mut self, parent: Option<u32>) -> u32 {
        self.process(parent, "/usr/bin/make", &["make"], false)
    }

    fn sh(&mut self, parent: u32, text: &str) -> u32 {
        self.process(Some(parent), "/usr/bin/dash", &["/bin/sh", "-c", text], false)
    }

    fn act(&mut self, process: u32, deed: Deed, path: &str, other: Option<&str>, content: Option<u32>) {
        let (path, other) = (self.path(path), other.map(|other| self.path(other)));
        self.at += 1;
        let action = Action { at: self.at, deed, path, other, content };
        self.trace.processes[process as usize].actions.push(action);
    }

    fn steps(&self) -> Vec<Step> {
        steps(&self.trace, &[Root { dir: "/o".into(), name: "obj".into() }])
    }
}

fn paths(contents: &[Content]) -> Vec<&str> {
    contents.iter().map(|content| &*content.path).collect()
}

#[test]
fn a_step_is_a_child_of_make_with_all_below_it() {
    let mut story = Story::default();
    let make = story.make(None);
    story.act(make, Deed::Read, "/o/Makefile", None, Some(0));
    let shell = story.sh(make, "cc -o a a.c; touch b");
    let cc = story.process(Some(shell), "/usr/bin/gcc", &["cc"], false);
    story.act(cc, Deed::Read, "/o/a.c", None, Some(1));
    story.act(cc, Deed::Read, "/usr/include/stdio.h", None, Some(2));
    story.act(cc, Deed::Missing, "/o/stdio.h", None, None);
    story.act(cc, Deed::Create, "/o/a", None, Some(3));
    story.act(cc, Deed::Create, "/tmp/x.s", None, Some(4));
    story.act(cc, Deed::Create, "/var/lib/x", None, Some(5));
    let [step] = &story.steps()[..] else { panic!("one step") };
    assert_eq!((step.kind, step.command.as_str()), (Kind::Recipe, "cc -o a a.c; touch b"));
    assert_eq!((paths(&step.inputs), paths(&step.outputs)), (vec!["obj/a.c"], vec!["obj/a"]));
    assert_eq!((step.missing.clone(), step.in_place.len()), (vec!["obj/stdio.h".to_owned()], 0));
    assert_eq!(
        (step.tools.clone(), step.strays.clone()),
        (vec!["/usr/include/stdio.h".into()], vec!["/var/lib/x".into()])
    );
    assert_eq!((step.processes.clone(), step.cpu, step.cwd.as_str()), (vec![shell, cc], 2, "obj"));
}

#[test]
fn the_steps_of_a_make_below_a_step_are_its_own() {
    let mut story = Story::default();
    let make = story.make(None);
    let link = story.sh(make, "sh link-vmlinux.sh");
    story.act(link, Deed::Create, "/o/vmlinux", None, Some(0));
    let inner = story.make(Some(link));
    story.act(inner, Deed::Read, "/o/x.cmd", None, Some(1));
    let cc = story.sh(inner, "cc version.c");
    story.act(cc, Deed::Create, "/o/version.o", None, Some(2));
    let asked = story.process(Some(inner), "/usr/bin/dash", &["/bin/sh", "-c", "pwd"], true);
    story.act(asked, Deed::Read, "/o/asked", None, Some(3));
    let steps = story.steps();
    let by = |command: &str| steps.iter().position(|step| step.command == command).unwrap();
    let (outer, version, query) = (by("sh link-vmlinux.sh"), by("cc version.c"), by("pwd"));
    assert_eq!((steps[outer].kind, steps[version].kind, steps[query].kind), (Kind::Descent, Kind::Recipe, Kind::Query));
    assert_eq!([steps[outer].within, steps[version].within, steps[query].within], [None, Some(outer), Some(outer)]);
    assert_eq!(paths(&steps[outer].outputs), ["obj/vmlinux"]);
    assert_eq!(paths(&steps[outer].inputs), [""; 0], "what make reads is make's");
}

#[test]
fn what_is_read_and_written_again_is_in_place_however_it_is_done() {
    let mut story = Story::default();
    let make = story.make(None);
    // pahole -J: opened for reading and writing.
    let pahole = story.sh(make, "1 pahole");
    story.act(pahole, Deed::Read, "/o/a.ko", None, Some(0));
    story.act(pahole, Deed::Update, "/o/a.ko", None, Some(1));
    // objcopy: another file under the old name.
    let objcopy = story.sh(make, "2 objcopy");
    story.act(objcopy, Deed::Read, "/o/a.ko", None, Some(1));
    story.act(objcopy, Deed::Create, "/o/st1", None, Some(2));
    story.act(objcopy, Deed::Rename, "/o/st1", Some("/o/a.ko"), Some(2));
    // A shell that appends to what it has just made, and removes what is in between.
    let fresh = story.sh(make, "3 cat");
    story.act(fresh, Deed::Create, "/o/new", None, Some(3));
    story.act(fresh, Deed::Update, "/o/new", None, Some(4));
    story.act(fresh, Deed::Read, "/o/new", None, Some(4));
    story.act(fresh, Deed::Create, "/o/between", None, Some(5));
    story.act(fresh, Deed::Remove, "/o/between", None, Some(5));
    story.act(fresh, Deed::Remove, "/o/before", None, Some(6));
    let steps = story.steps();
    assert_eq!([&steps[0].in_place, &steps[1].in_place], [&vec!["obj/a.ko".to_owned()]; 2]);
    assert_eq!((steps[2].in_place.len(), paths(&steps[2].inputs)), (0, vec![]));
    assert_eq!((paths(&steps[2].outputs), steps[2].removed.clone()), (vec!["obj/new"], vec!["obj/before".to_owned()]));
    assert_eq!(paths(&steps[1].outputs), ["obj/a.ko"]);
}

#[test]
fn appending_to_what_was_there_depends_on_it() {
    let mut story = Story::default();
    let make = story.make(None);
    let append = story.sh(make, "echo >> log");
    story.act(append, Deed::Update, "/o/log", None, Some(1));
    let steps = story.steps();
    assert_eq!(steps[0].in_place, ["obj/log"]);
}

#[test]
fn a_make_that_a_loader_starts_is_one() {
    let mut story = Story::default();
    let argv = ["/t/ld-linux-x86-64.so.2", "--library-path", "/t/lib", "/t/bin/make", "-j2"];
    let make = story.process(None, "/t/ld-linux-x86-64.so.2", &argv, false);
    story.sh(make, "true");
    let other = story.process(None, "/t/ld-linux-x86-64.so.2", &["ld-linux-x86-64.so.2", "/t/bin/pahole"], false);
    story.sh(other, "false");
    assert_eq!(story.steps().iter().map(|step| step.command.as_str()).collect::<Vec<_>>(), ["true"]);
}

#[test]
fn labels_are_what_kbuild_prints() {
    let of = |text: &str| label(text);
    assert_eq!(of("set -e;  echo '  CC [M]  crypto/md5.o'; gcc -c").as_deref(), Some("CC [M] crypto/md5.o"));
    assert_eq!(of("echo '  LD      vmlinux'; ld").as_deref(), Some("LD vmlinux"));
    assert_eq!(of("set -e; gcc -c x.c"), None);
    assert_eq!(of("echo '  gcc -Wp -c x.c'; gcc"), None, "as with V=1");
    assert_eq!(of("echo '  '; x"), None);
    assert_eq!(of("echo '  OK'"), None);
}

#[test]
fn a_recipe_that_becomes_a_make_in_the_end_is_one_step_until_then() {
    let mut story = Story::default();
    let make = story.make(None);
    let shell = story.sh(make, "python3 x; exec make");
    let python = story.process(Some(shell), "/usr/bin/python3", &["python3"], false);
    story.act(python, Deed::Create, "/o/made", None, Some(0));
    story.act(shell, Deed::Create, "/o/by-shell", None, Some(1));
    let program = story.trace.processes[make as usize].programs[0].clone();
    story.at += 1;
    story.trace.processes[shell as usize].programs.push(Program { at: story.at, ..program });
    story.act(shell, Deed::Read, "/o/Makefile", None, Some(2));
    let inner = story.sh(shell, "cc");
    story.act(inner, Deed::Create, "/o/inner", None, Some(3));
    let steps = story.steps();
    let by = |command: &str| steps.iter().find(|step| step.command == command).unwrap();
    assert_eq!(steps.len(), 2);
    assert_eq!(paths(&by("python3 x; exec make").outputs), ["obj/by-shell", "obj/made"]);
    assert_eq!(paths(&by("python3 x; exec make").inputs), [""; 0]);
    assert_eq!((paths(&by("cc").outputs), by("python3 x; exec make").kind), (vec!["obj/inner"], Kind::Descent));
}
