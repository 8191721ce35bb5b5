//! The whole trace of real programs: exactly what each process read, wrote, renamed and removed, and nothing else.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use crate::lab::Lab;
use kbuild_repro::trace::{self, Deed, End, Process, Trace, What};

struct Traced {
    trace: Trace,
    here: PathBuf,
}

impl Lab {
    fn everything(&self, command: &[&dyn AsRef<OsStr>]) -> Traced {
        let (out, output) = self.run(What::All, &self.here, command);
        let trace = trace::read_all(&out).unwrap_or_else(|e| panic!("{e}: {output:?}"));
        assert_eq!(trace.gaps, [].into(), "{output:?}");
        Traced { trace, here: self.here.clone() }
    }

    fn c(&self, body: &str) -> Traced {
        let source = format!("{HEAD}\nint main(int argc, char **argv) {{ {body}\nreturn 0; }}");
        self.everything(&[&self.program("program", &source)])
    }

    fn script(&self, script: &str) -> Traced {
        self.everything(&[&"sh", &"-c", &script])
    }
}

const HEAD: &str = r#"
    #include <errno.h>
    #include <fcntl.h>
    #include <pthread.h>
    #include <dirent.h>
    #include <sched.h>
    #include <spawn.h>
    #include <stdio.h>
    #include <stdlib.h>
    #include <string.h>
    #include <sys/mman.h>
    #include <sys/stat.h>
    #include <sys/syscall.h>
    #include <sys/wait.h>
    #include <linux/sched.h>
    #include <unistd.h>
    #define must(x) do { if ((long)(x) < 0) { perror(#x); exit(99); } } while (0)
"#;

impl Traced {
    /// What a process did in the lab, but for look-ups that found something: `read a`, `rename a b`.
    fn of(&self, process: &Process) -> Vec<String> {
        let name = |number: u32| {
            let path = self.trace.path(number);
            path.strip_prefix(&self.here).unwrap_or(path).display().to_string()
        };
        process
            .actions
            .iter()
            .filter(|action| action.deed != Deed::Found && self.trace.path(action.path).starts_with(&self.here))
            .map(|action| {
                let other = action.other.map(|other| format!(" {}", name(other))).unwrap_or_default();
                format!("{} {}{other}", action.deed.name(), name(action.path))
            })
            .collect()
    }

    /// What all processes did in the lab, a line each; those that did nothing there are left out.
    fn all(&self) -> Vec<String> {
        self.trace.processes.iter().map(|p| self.of(p).join(", ")).filter(|line| !line.is_empty()).collect()
    }

    /// What the one process did that runs this program last.
    #[track_caller]
    fn by(&self, program: &str) -> Vec<String> {
        self.of(self.process(program))
    }

    #[track_caller]
    fn process(&self, program: &str) -> &Process {
        let runs = |process: &&Process| {
            process.programs.last().is_some_and(|last| Path::new(&last.argv[0]).ends_with(program))
        };
        let mut found = self.trace.processes.iter().filter(runs);
        let one = found.next().unwrap_or_else(|| panic!("no `{program}`"));
        assert!(found.next().is_none(), "several `{program}`");
        one
    }

    #[track_caller]
    fn command(&self, expected: &[&str]) {
        assert_eq!(self.of(&self.trace.processes[0]), expected);
    }
}

#[test]
fn opening_is_reading_or_writing_as_the_flags_say() {
    let lab = Lab::new();
    for name in ["r", "rw", "w", "wt", "rt", "rwt", "a", "path"] {
        lab.write(name, "text");
    }
    let traced = lab.c(r#"
        must(open("r", O_RDONLY)); must(open("rw", O_RDWR)); must(open("w", O_WRONLY));
        must(open("wt", O_WRONLY | O_TRUNC)); must(open("rt", O_RDONLY | O_TRUNC)); must(open("rwt", O_RDWR | O_TRUNC));
        must(open("a", O_WRONLY | O_APPEND | O_CREAT, 0644)); must(open("new", O_RDWR | O_CREAT | O_EXCL, 0644));
        must(creat("created", 0644)); must(open("path", O_PATH)); must(open("r", O_RDONLY | O_CREAT, 0644));
    "#);
    traced.command(&[
        "read r",
        "read rw",
        "update rw",
        "update w",
        "create wt",
        "create rt",
        "create rwt",
        "update a",
        "create new",
        "create created",
    ]);
}

#[test]
fn what_fails_is_no_read_and_no_write() {
    let lab = Lab::new();
    lab.write("there", "");
    lab.write("d/x", "");
    let traced = lab.c(r#"
        open("missing", O_RDONLY); open("no/dir", O_WRONLY | O_CREAT, 0644); open("there/below", O_RDONLY);
        open("there", O_RDWR | O_CREAT | O_EXCL, 0644); open("d", O_WRONLY); stat("missing2", &(struct stat){0});
        rename("missing", "x"); unlink("missing"); rmdir("d"); mkdir("d", 0755); link("missing", "y");
        truncate("missing", 0); symlink("text", "there"); chdir("nowhere"); chmod("missing", 0600);
    "#);
    traced.command(&[
        "missing missing",
        "missing no/dir",
        "missing there/below",
        "missing missing2",
        "missing nowhere",
    ]);
}

#[test]
fn names_are_changed_as_they_were() {
    let lab = Lab::new();
    for name in ["a", "b", "c", "x", "y", "u", "v"] {
        lab.write(name, name);
    }
    let traced = lab.c(r#"
        must(rename("a", "a2")); must(renameat(AT_FDCWD, "b", AT_FDCWD, "c"));
        must(syscall(SYS_renameat2, AT_FDCWD, "x", AT_FDCWD, "y", 2));
        must(link("u", "u2")); must(linkat(AT_FDCWD, "u", AT_FDCWD, "u3", 0)); must(symlink("u/../v", "s"));
        must(unlink("u")); must(unlinkat(AT_FDCWD, "u2", 0)); must(mkdir("d", 0755)); must(mkdirat(AT_FDCWD, "e", 0755));
        must(rmdir("d")); must(unlinkat(AT_FDCWD, "e", AT_REMOVEDIR)); must(mkfifo("p", 0600));
        must(truncate("v", 1)); must(truncate("v", 0)); must(chmod("v", 0600)); must(utimensat(AT_FDCWD, "v", 0, 0));
        must(open("s", O_RDONLY | O_NOFOLLOW | O_PATH)); open("s", O_RDONLY);
    "#);
    traced.command(&[
        "rename a a2",
        "rename b c",
        "rename x y",
        "link u u2",
        "link u u3",
        "symlink s u/../v",
        "remove u",
        "remove u2",
        "make-dir d",
        "make-dir e",
        "remove-dir d",
        "remove-dir e",
        "make-node p",
        "update v",
        "create v",
        "mode v",
        "touch v",
        "missing s",
    ]);
}

#[test]
fn a_file_is_known_by_one_name_however_it_was_reached() {
    let lab = Lab::new();
    lab.write("d/e/f", "");
    std::os::unix::fs::symlink("d/e", lab.here.join("link")).unwrap();
    let traced = lab.c(r#"
        must(open("link/f", O_RDONLY)); must(chdir("link")); must(open("f", O_WRONLY)); must(open("../g", O_WRONLY | O_CREAT, 0644));
        int d = open("..", O_RDONLY | O_DIRECTORY); must(d); must(unlinkat(d, "g", 0)); must(openat(d, "e/./f", O_RDONLY));
        must(fchdir(d)); must(open("/proc/self/cwd/e/f", O_RDWR)); must(creat("../link/new", 0644));
    "#);
    traced.command(&[
        "read d/e/f",
        "enter link",
        "update d/e/f",
        "create d/g",
        "remove d/g",
        "read d/e/f",
        "enter d",
        "update d/e/f",
        "create d/e/new",
    ]);
}

#[test]
fn what_a_call_would_have_replaced_is_hashed_only_if_it_works() {
    let lab = Lab::new();
    let traced = lab.c(r#"
        int f = open("o", O_WRONLY | O_CREAT, 0644); must(write(f, "a", 1));
        open("o", O_CREAT | O_EXCL | O_WRONLY, 0644); rename("nonexistent", "o"); rmdir("o");
        must(write(f, "b", 1)); must(close(f));
    "#);
    traced.command(&["create o"]);
    let content = traced.trace.processes[0].actions.iter().rev().find_map(|action| action.content);
    let sha256_of_ab = "fb8e20fc2e4c3f248c60c39bd652f3c1347298bb977b8b4d5903b85055620603";
    assert_eq!(traced.trace.digest(content), Some(sha256_of_ab));
}

#[test]
fn what_the_command_leaves_behind_is_traced_to_its_end() {
    let lab = Lab::new();
    let traced = lab.script("{ sleep 1.3; echo x > late; } > /dev/null 2>&1 & exit 3");
    assert_eq!(traced.all().last().map(String::as_str), Some("create late"));
    assert_eq!(traced.trace.processes[0].end, Some(End::Exit(3)));
}

#[test]
fn a_link_that_leads_nowhere_is_there_itself() {
    let lab = Lab::new();
    std::os::unix::fs::symlink("nowhere", lab.here.join("link")).unwrap();
    let traced = lab.c(r#"
        struct stat s; char text[9]; must(lstat("link", &s)); must(readlink("link", text, 9));
        must(fstatat(AT_FDCWD, "link", &s, AT_SYMLINK_NOFOLLOW)); stat("link", &s);
    "#);
    traced.command(&["missing link"]);
    let found =
        |action: &&trace::Action| action.deed == Deed::Found && traced.trace.path(action.path).ends_with("link");
    assert_eq!(traced.trace.processes[0].actions.iter().filter(found).count(), 1);
}

#[test]
fn a_name_is_followed_anew_when_it_leads_elsewhere() {
    let lab = Lab::new();
    for name in ["d/a", "e/a", "f", "g"] {
        lab.write(name, name);
    }
    let link = |to: &str, at: &str| std::os::unix::fs::symlink(to, lab.here.join(at)).unwrap();
    link("d", "dir");
    link("f", "file");
    let traced = lab.c(r#"
        #define look(name) close(open(name, O_RDONLY))
        look("dir/a"); look("dir/a"); must(unlink("dir")); must(symlink("e", "dir")); look("dir/a");
        look("file"); look("file"); must(rename("g", "file")); look("file");
        look("f"); must(unlink("f")); look("f"); must(creat("f", 0644)); look("f");
        look("d/a"); must(rename("d", "d2")); look("d/a"); must(rename("e", "d")); look("d/a");
    "#);
    traced.command(&[
        "read d/a",
        "remove dir",
        "symlink dir e",
        "read e/a",
        "read f",
        "rename g file",
        "read file",
        "remove f",
        "missing f",
        "create f",
        "read f",
        "rename d d2",
        "missing d/a",
        "rename e d",
        "read d/a",
    ]);
}

#[test]
fn what_was_read_once_is_not_read_by_whoever_wants_a_directory_or_no_link() {
    let lab = Lab::new();
    lab.write("a", "");
    std::os::unix::fs::symlink("a", lab.here.join("link")).unwrap();
    let traced = lab.c(r#"
        must(open("a", O_RDONLY)); must(open("link", O_RDONLY));
        if (fork()) return 0;
        open("a", O_PATH | O_DIRECTORY); open("link", O_RDONLY | O_NOFOLLOW); must(open("link", O_PATH));
    "#);
    assert_eq!(traced.all(), ["read a"]);
}

#[test]
fn a_directory_is_listed_only_if_its_names_are_read() {
    let lab = Lab::new();
    lab.write("d/x", "");
    lab.write("e/x", "");
    let traced = lab.c(r#"
        must(open("e", O_RDONLY | O_DIRECTORY)); DIR *d = opendir("d"); while (readdir(d)); rewinddir(d); while (readdir(d));
    "#);
    traced.command(&["list d"]);
}

#[test]
fn a_file_without_a_name_gets_one() {
    let lab = Lab::new();
    let traced = lab.c(r#"
        int f = open(".", O_TMPFILE | O_RDWR, 0644);
        if (f < 0) return 0;
        char name[64]; must(write(f, "x", 1)); snprintf(name, sizeof name, "/proc/self/fd/%d", f);
        must(linkat(AT_FDCWD, name, AT_FDCWD, "named", AT_SYMLINK_FOLLOW)); must(open("named", O_RDONLY));
    "#);
    let actions = traced.of(&traced.trace.processes[0]);
    let [made, linked, read] = &actions[..] else { panic!("{actions:?}") };
    let unnamed = made.strip_prefix("create ").unwrap();
    assert_eq!([linked, read], [&format!("link {unnamed} named"), "read named"]);
    let content = |at: usize| {
        let kept = traced.trace.processes[0].actions.iter().filter(|a| a.content.is_some());
        let own = kept.filter(|a| traced.trace.path(a.path).starts_with(&traced.here));
        own.map(|a| a.content).nth(at).unwrap()
    };
    assert_eq!([content(0), content(1)], [content(2); 2], "one content under two names");
}

#[test]
fn copies_maps_and_pipes_need_no_calls_of_their_own() {
    let lab = Lab::new();
    lab.write("from", "0123456789");
    lab.write("mapped", "0123456789");
    let traced = lab.c(r#"
        int from = open("from", O_RDONLY), to = open("to", O_WRONLY | O_CREAT, 0644); must(from); must(to);
        must(copy_file_range(from, 0, to, 0, 10, 0));
        int m = open("mapped", O_RDWR); must(m);
        char *text = mmap(0, 10, PROT_READ | PROT_WRITE, MAP_SHARED, m, 0); text[0] = 'x';
        int p[2]; must(pipe(p)); must(write(p[1], "y", 1));
    "#);
    traced.command(&["read from", "create to", "read mapped", "update mapped"]);
    let digest = |deed: Deed, name: &str| {
        let is = |a: &&trace::Action| a.deed == deed && traced.trace.path(a.path) == traced.here.join(name);
        let action = traced.trace.processes[0].actions.iter().find(is).unwrap();
        traced.trace.digest(action.content).unwrap().to_owned()
    };
    assert_eq!(digest(Deed::Read, "from"), digest(Deed::Create, "to"));
    assert_eq!(digest(Deed::Read, "mapped"), digest(Deed::Read, "from"), "hashed before it was opened for writing");
    assert_ne!(digest(Deed::Update, "mapped"), digest(Deed::Read, "mapped"));
}

#[test]
fn every_way_to_start_a_process_is_one() {
    let lab = Lab::new();
    for name in ["spawned", "vforked", "cloned", "cloned3", "executed", "inherited"] {
        lab.write(name, "");
    }
    let traced = lab.c(r#"
        if (argc > 1) { must(open(argv[1], O_RDONLY)); return 0; }
        pid_t pid; char *a[] = { argv[0], "spawned", 0 };
        must(-posix_spawn(&pid, argv[0], 0, 0, a, 0)); waitpid(pid, 0, 0);
        if (!(pid = vfork())) { execl(argv[0], argv[0], "vforked", (char *)0); _exit(1); } waitpid(pid, 0, 0);
        if (!(pid = syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0))) { open("cloned", O_RDONLY); _exit(0); } waitpid(pid, 0, 0);
        struct clone_args how = { .exit_signal = SIGCHLD };
        if (!(pid = syscall(SYS_clone3, &how, sizeof how))) { open("cloned3", O_RDONLY); _exit(3); } waitpid(pid, 0, 0);
        if (!(pid = fork())) {
            char *b[] = { argv[0], "executed", 0 }; int self = open(argv[0], O_PATH);
            syscall(SYS_execveat, self, "", b, 0, AT_EMPTY_PATH); _exit(1);
        }
        waitpid(pid, 0, 0);
    "#);
    assert_eq!(traced.all(), ["read spawned", "read vforked", "read cloned", "read cloned3", "read executed"]);
    let children = &traced.trace.processes[1..];
    assert!(children.iter().all(|child| child.parent == Some(0)));
    let ends: Vec<_> = children.iter().map(|child| child.end.unwrap()).collect();
    assert_eq!(ends, [0, 0, 0, 3, 0].map(End::Exit));
    let argv: Vec<_> = children.iter().map(|child| child.programs.last().map(|p| p.argv[1].clone())).collect();
    let some = |word: &str| Some(OsString::from(word));
    assert_eq!(argv, [some("spawned"), some("vforked"), None, None, some("executed")]);
}

#[test]
fn threads_are_their_process() {
    let lab = Lab::new();
    for number in 0..8 {
        lab.write(&format!("t{number}"), "");
    }
    let source = format!(
        r#"{HEAD}
        static void *look(void *n) {{ char name[9]; snprintf(name, 9, "t%ld", (long)n); must(open(name, O_RDONLY)); return 0; }}
        static void *leave(void *n) {{ execl("/bin/sh", "sh", "-c", ": > after", (char *)0); return n; }}
        int main(void) {{
            pthread_t t[8], last;
            for (long n = 0; n < 8; n++) pthread_create(&t[n], 0, look, (void *)n);
            for (long n = 0; n < 8; n++) pthread_join(t[n], 0);
            pthread_create(&last, 0, leave, 0); for (;;) pause();
        }}"#
    );
    let traced = lab.everything(&[&lab.compile("program", &source, &["-pthread"]).unwrap()]);
    assert_eq!(traced.trace.processes.len(), 1);
    let mut did = traced.of(&traced.trace.processes[0]);
    assert_eq!(did.pop().as_deref(), Some("create after"));
    did.sort();
    assert_eq!(did, (0..8).map(|n| format!("read t{n}")).collect::<Vec<_>>());
    let programs = &traced.trace.processes[0].programs;
    assert_eq!(programs.iter().map(|p| p.argv.len()).collect::<Vec<_>>(), [1, 3]);
}

#[test]
fn a_static_program_reads_only_what_it_opens() {
    let lab = Lab::new();
    lab.write("a", "");
    let source = format!("{HEAD}\nint main(void) {{ must(open(\"a\", O_RDONLY)); return 0; }}");
    let Some(program) = lab.compile("program", &source, &["-static"]) else { return };
    let traced = lab.everything(&[&program]);
    let read = traced.trace.processes[0].actions.iter().filter(|action| action.deed == Deed::Read);
    let read: Vec<_> = read.map(|action| traced.trace.path(action.path)).collect();
    assert_eq!(read, [program.canonicalize().unwrap(), lab.here.join("a")]);
}

#[test]
fn a_pipeline_of_a_shell_is_told_by_process() {
    let lab = Lab::new();
    lab.write("in", "b\na\n");
    let traced = lab.script("cat < in | sort > out; head -n1 out >> log; test -e nothing; cd /; exit 4");
    assert_eq!(traced.by("cat"), ["read in"], "opened by the shell before it became cat");
    assert_eq!(traced.by("sort"), ["create out"]);
    assert_eq!(traced.by("head"), ["read out"]);
    // Who opens what a single command writes to is up to the shell.
    let log = traced.all().iter().filter(|line| line.contains("create log")).count();
    assert_eq!((log, traced.of(&traced.trace.processes[0]).pop().as_deref()), (1, Some("missing nothing")));
    assert_eq!(traced.trace.processes[0].end, Some(End::Exit(4)));
}

#[test]
fn make_runs_its_recipes_below_itself() {
    let lab = Lab::new();
    lab.write("Makefile", "V := $(shell cat version)\nall: a b\na b: in\n\tcp in $@\n\t@$(MAKE) -f sub.mk of=$@\n");
    lab.write("sub.mk", "$(of).o: $(of)\n\tsort $< > $@\n");
    lab.write("version", "1\n");
    lab.write("in", "x\n");
    let traced = lab.everything(&[&"make", &"-j2"]);
    let of = |word: &str| -> Vec<Vec<String>> {
        let runs = |process: &&Process| {
            process.programs.last().is_some_and(|program| program.argv.iter().any(|argument| argument == word))
        };
        traced.trace.processes.iter().filter(runs).map(|process| traced.of(process)).collect()
    };
    let line = |words: [&str; 3]| words.map(str::to_owned).to_vec();
    let mut copies = of("cp");
    copies.sort();
    assert_eq!(copies, ["a", "b"].map(|to| line([&format!("missing {to}"), "read in", &format!("create {to}")])));
    let captured: Vec<&OsString> = traced
        .trace
        .processes
        .iter()
        .flat_map(|process| &process.programs)
        .filter(|program| program.captured)
        .map(|program| program.argv.last().unwrap())
        .collect();
    assert_eq!(captured, ["version"], "what `$(shell)` runs");
    assert_eq!(traced.of(&traced.trace.processes[0])[1], "read Makefile");
}

#[test]
fn a_compiler_names_headers_that_would_shadow_others() {
    let lab = Lab::new();
    lab.write("second/h.h", "#define X 1\n");
    lab.write("first/other.h", "");
    lab.write("a.c", "#include <h.h>\nint x = X;\nint main(void) { return !x; }\n");
    let traced = lab.script("cc -Ifirst -Isecond -c a.c -o a.o && cc a.o -o a && ./a");
    let cc1 = traced.by("cc1");
    let expected = ["read a.c", "missing first/h.h", "read second/h.h"];
    assert_eq!(cc1.iter().filter(|line| expected.contains(&line.as_str())).collect::<Vec<_>>(), expected);
    assert!(!cc1.iter().any(|line| line.starts_with("create") || line.starts_with("update")), "{cc1:?}");
    assert_eq!(traced.by("ld").iter().filter(|line| *line == "create a" || *line == "read a.o").count(), 2);
    let as_ = traced.by("as");
    assert_eq!(as_.iter().filter(|line| *line == "create a.o").count(), 1, "{as_:?}");
}

#[test]
fn what_one_process_writes_another_reads_as_the_same_content() {
    let lab = Lab::new();
    lab.write("a", "old");
    let traced = lab.script("cat a > b; mv b c; cat c > /dev/null; echo new > a; cat a c > d");
    let action = |deed: Deed, name: &str, nth: usize| {
        let mut all: Vec<trace::Action> =
            traced.trace.processes.iter().flat_map(|process| process.actions.iter().copied()).collect();
        all.sort_by_key(|action| action.at);
        let is = |a: &trace::Action| a.deed == deed && traced.trace.path(a.path) == traced.here.join(name);
        all.into_iter().filter(is).nth(nth).unwrap_or_else(|| panic!("{} {name}", deed.name())).content
    };
    assert_eq!(action(Deed::Create, "b", 0), action(Deed::Read, "c", 0));
    assert_eq!(action(Deed::Read, "c", 0), action(Deed::Read, "c", 1));
    assert_ne!(action(Deed::Read, "a", 0), action(Deed::Read, "a", 1));
    let digest = |content| traced.trace.digest(content);
    assert_eq!(digest(action(Deed::Read, "a", 0)), digest(action(Deed::Create, "b", 0)), "as bytes");
    assert!(digest(action(Deed::Read, "a", 1)).is_some());
}
