//! The fast way of the tracer, which listens to what is opened, tells the same as the one in which every task stops.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::Path;

use crate::lab::Lab;
use kbuild_repro::sandbox::{self, Isolation, Mount, Sandbox, Spec, Status};
use kbuild_repro::trace::{self, Deed, Gap, Root, Trace, What};

/// Whether this host has to allow it: root, who was not made so by a user namespace, with `CAP_SYS_ADMIN`.
fn allowed() -> bool {
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    let real = map.split_whitespace().eq(["0", "0", "4294967295"]);
    let sets = rustix::thread::capabilities(None).unwrap();
    let allowed = real && sets.effective.contains(rustix::thread::CapabilitySet::SYS_ADMIN);
    if !allowed {
        eprintln!("skipped: this host does not let this user listen (fanotify(7), CAP_SYS_ADMIN)");
    }
    allowed
}

/// Reads and changes of all processes as lines, sorted: nothing that depends on ids, or on which of two came first. Then the
/// directories that were listed.
fn graph(trace: &Trace, lab: &Lab) -> (Vec<String>, Vec<String>) {
    let (here, above) = (lab.here.to_str().unwrap(), lab.dir.path().to_str().unwrap());
    let told = |text: &str| temporary(&text.replace(here, "HERE").replace(above, "ABOVE"));
    let name = |path: &Path| told(&path.display().to_string());
    let word = |word: &OsString| told(&word.to_string_lossy());
    let who: Vec<String> = trace
        .processes
        .iter()
        .map(|process| {
            let run = |program: &trace::Program| {
                let argv: Vec<String> = program.argv.iter().map(word).collect();
                format!("{} {}", name(trace.path(program.cwd)), argv.join(" "))
            };
            process.programs.iter().map(run).collect::<Vec<_>>().join(" -> ")
        })
        .collect();
    let parents = |mut number: usize| {
        let mut line = vec![who[number].clone()];
        while let Some(parent) = trace.processes[number].parent {
            number = parent as usize;
            line.push(who[number].chars().take(30).collect());
        }
        line.join(" < ")
    };
    // Who made a content, and as what.
    let mut makers: HashMap<u32, String> = HashMap::new();
    for (number, process) in trace.processes.iter().enumerate() {
        for action in &process.actions {
            if let (Deed::Create | Deed::Update, Some(content)) = (action.deed, action.content) {
                makers.insert(content, format!("{} of `{}`", name(trace.path(action.path)), parents(number)));
            }
        }
    }
    let (mut lines, mut lists) = (Vec::new(), Vec::new());
    for (number, process) in trace.processes.iter().enumerate() {
        lines.push(format!("{} {:?}", parents(number), process.end));
        let mut seen = Vec::new();
        for action in &process.actions {
            let path = trace.path(action.path);
            if matches!(action.deed, Deed::Found | Deed::Missing)
                || action.deed == Deed::Read && path.starts_with("/dev")
            {
                continue;
            }
            let other = action.other.map(|other| name(trace.path(other)));
            let made = action.content.and_then(|content| makers.get(&content));
            // What an assembler is given differs by the name of a temporary file.
            let digest = trace.digest(action.content).filter(|_| !path.starts_with("/tmp/cc"));
            let line = format!("{} {} {other:?} {digest:?} {made:?}", action.deed.name(), name(path));
            if action.deed == Deed::List { lists.push(format!("{}: {line}", parents(number))) } else { seen.push(line) }
        }
        // In this order, where a process has one thread.
        if !threads(trace, number) {
            seen = seen.into_iter().enumerate().map(|(at, line)| format!("{at}: {line}")).collect();
        }
        lines.extend(seen.into_iter().map(|line| format!("{}: {line}", parents(number))));
    }
    lines.sort();
    (lines, lists)
}

/// Whether a process has several threads, whose deeds have no order: that of the test, and a linker.
fn threads(trace: &Trace, process: usize) -> bool {
    trace.processes[process].programs.iter().any(|program| trace.path(program.file).ends_with("threads"))
}

/// A path without what is random in the names that programs give to temporary files: compilers, binutils, coreutils, sed.
fn temporary(path: &str) -> String {
    let fixed = |part: &str| {
        let (name, kind) =
            part.split_once('.').map_or((part, String::new()), |(name, kind)| (name, format!(".{kind}")));
        let random = |prefix: &&str| name.strip_prefix(*prefix).is_some_and(|rest| rest.len() == 6 && rest.is_ascii());
        let prefix = ["cc", "st", "Cu", "sed"].into_iter().find(|prefix| random(prefix));
        prefix.map_or_else(|| part.to_owned(), |prefix| format!("{prefix}*{kind}"))
    };
    path.split('/').map(fixed).collect::<Vec<_>>().join("/")
}

/// Steps without numbers, times, and what was looked up in vain.
fn steps(trace: &Trace, lab: &Lab) -> Vec<String> {
    let root = Root { dir: lab.here.clone(), name: String::new() };
    let contents = |list: &[trace::Content]| -> Vec<(String, Option<String>)> {
        list.iter().map(|content| (content.path.to_string(), content.sha256.as_deref().map(str::to_owned))).collect()
    };
    let mut steps: Vec<String> = trace::steps(trace, &[root])
        .iter()
        .map(|step| {
            let (kind, command, end) = (step.kind, &step.command, step.end);
            let (inputs, outputs) = (contents(&step.inputs), contents(&step.outputs));
            let rest = (&step.removed, &step.in_place, &step.tools, &step.strays, &step.target, &step.cwd);
            format!("{kind:?} {command} {end:?} {inputs:?} {outputs:?} {rest:?}")
        })
        .collect();
    steps.sort();
    steps
}

/// The trace of a command in a laboratory of its own.
fn traced(what: What, lab: &Lab, command: &[&dyn AsRef<OsStr>]) -> Trace {
    let (out, output) = lab.run(what, &lab.here, command);
    let trace = trace::read_all(&out).unwrap_or_else(|e| panic!("{e}: {output:?}"));
    assert_eq!(trace.gaps, [].into(), "{output:?}");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    trace
}

/// Traces a command in both ways: what it did has to be the same. Gives what the fast way told, if the host allows that.
fn both(prepare: &dyn Fn(&Lab), command: &dyn Fn(&Lab) -> Vec<OsString>) -> Option<Vec<String>> {
    let run = |what| {
        let lab = Lab::new();
        prepare(&lab);
        let words = command(&lab);
        let words: Vec<&dyn AsRef<OsStr>> = words.iter().map(|word| word as &dyn AsRef<OsStr>).collect();
        (traced(what, &lab, &words), lab)
    };
    let (fast, at) = run(What::Contents);
    assert_eq!((fast.looks_left_out, fast.heard), (true, allowed()));
    let (full, lab) = run(What::All);
    assert!(!full.looks_left_out && !full.heard);
    let ((mut mine, lists), (other, listed)) = (graph(&fast, &at), graph(&full, &lab));
    let only =
        |of: &[String], other: &[String]| of.iter().filter(|line| !other.contains(line)).cloned().collect::<Vec<_>>();
    assert!(mine == other, "only fast: {:#?}\nonly full: {:#?}", only(&mine, &other), only(&other, &mine));
    assert_eq!(steps(&fast, &at), steps(&full, &lab));
    // A directory that was opened is taken for one.
    assert_eq!(only(&listed, &lists), Vec::<String>::new());
    mine.extend(lists);
    fast.heard.then_some(mine)
}

fn script(prepare: &dyn Fn(&Lab), script: &str) -> Option<Vec<String>> {
    both(prepare, &|_| ["sh", "-c", script].map(OsString::from).to_vec())
}

/// As [`both`], of the body of a C program's `main`.
fn c(prepare: &dyn Fn(&Lab), before: &str, body: &str) -> Option<Vec<String>> {
    let source = format!("{HEAD}\n{before}\nint main(int argc, char **argv) {{ {body}\nreturn 0; }}");
    both(prepare, &|lab| vec![lab.program("threads", &source).into()])
}

const HEAD: &str = r#"
    #include <errno.h>
    #include <fcntl.h>
    #include <pthread.h>
    #include <signal.h>
    #include <stdio.h>
    #include <stdlib.h>
    #include <string.h>
    #include <sys/mman.h>
    #include <sys/stat.h>
    #include <sys/syscall.h>
    #include <sys/wait.h>
    #include <unistd.h>
    #define must(x) do { if ((long)(x) < 0) { perror(#x); exit(99); } } while (0)
    static void look(const char *name) { int f = open(name, O_RDONLY); must(f); close(f); }
"#;

#[track_caller]
fn has(lines: Option<Vec<String>>, expected: &[&str]) {
    let Some(lines) = lines else { return };
    for line in expected {
        assert!(lines.iter().any(|found| found.contains(line)), "no `{line}` in {lines:#?}");
    }
}

#[test]
fn pipelines_of_a_shell() {
    let prepare = |lab: &Lab| drop(lab.write("in", "b\na\n"));
    let told = script(
        &prepare,
        "cat < in | sort | tee copy > out; head -n1 out >> log; tail -n1 out >> log; test -e nothing; \
         while read line; do echo $line; done < log > lines; (cat in out) > sub; cat <<-END > here\n\ttext\n\tEND\n",
    );
    has(told, &["read HERE/in None", "read HERE/out None", "read HERE/log None"]);
}

#[test]
fn a_compiler_and_a_linker() {
    let prepare = |lab: &Lab| {
        lab.write("second/h.h", "#define X 0\n");
        lab.write("a.c", "#include <stdio.h>\n#include <h.h>\nint b(void);\nint main(void) { return b() + X; }\n");
        lab.write("b.c", "#include \"second/h.h\"\nint b(void) { return X; }\n");
    };
    let told = script(
        &prepare,
        "cc -Ifirst -Isecond -c a.c -o a.o && cc -c b.c -o b.o && ar rcs lib.a b.o && cc a.o lib.a -o a && ./a && \
         ld -r a.o b.o -o both.o && objcopy --strip-debug both.o",
    );
    has(told, &["read HERE/second/h.h None", "read HERE/lib.a None", "read HERE/a None"]);
}

#[test]
fn make_with_jobs_and_makes_below() {
    let prepare = |lab: &Lab| {
        for name in ["a", "b", "c", "d"] {
            lab.write(&format!("{name}.in"), name);
        }
        lab.write(
            "Makefile",
            "V := $(shell cat version)\nall: a.out b.out c.out d.out\n\t@$(MAKE) -C sub\n\
             %.out: %.in\n\tcat $< version > $@.tmp\n\tmv $@.tmp $@\n\t@cmp -s $< $@ || echo $< >> $@\n-include none.d\n",
        );
        lab.write("sub/Makefile", "all: x y\nx y: ../a.out\n\tsort $< > $@; cat $@ ../b.out > $@.both; rm -f $@\n");
        lab.write("version", "1\n");
    };
    let told = both(&prepare, &|_| ["make", "-j4"].map(OsString::from).to_vec());
    has(told, &["read HERE/sub/Makefile None", "read HERE/version None", "remove HERE/sub/x"]);
}

#[test]
fn threads_that_open_at_the_same_time() {
    let prepare = |lab: &Lab| {
        for number in 0..8 {
            for file in 0..20 {
                lab.write(&format!("t{number}-{file}"), "x");
            }
        }
    };
    let told = c(
        &prepare,
        r#"static void *work(void *n) {
            char name[20], to[20];
            for (int i = 0; i < 20; i++) {
                snprintf(name, 20, "t%ld-%d", (long)n, i); snprintf(to, 20, "o%ld-%d", (long)n, i);
                look(name); must(rename(name, to)); look(to); int f = open(to, O_WRONLY | O_APPEND); must(f);
                must(write(f, "y", 1)); close(f); look(to);
            }
            return 0;
        }
        static void *leave(void *n) { look("o7-19"); execl("/bin/sh", "sh", "-c", "cat o7-19 > after", (char *)0); return n; }"#,
        r#"pthread_t t[8], last;
        for (long n = 0; n < 8; n++) pthread_create(&t[n], 0, work, (void *)n);
        for (long n = 0; n < 8; n++) pthread_join(t[n], 0);
        pthread_create(&last, 0, leave, 0); for (;;) pause();"#,
    );
    has(told, &["read HERE/t3-7 None", "read HERE/o3-7 None"]);
}

#[test]
fn names_that_change_between_reads() {
    let prepare = |lab: &Lab| {
        for name in ["a", "b", "x", "y", "u", "d/f", "e/f"] {
            lab.write(name, name);
        }
        std::os::unix::fs::symlink("d", lab.here.join("link")).unwrap();
    };
    let told = c(
        &prepare,
        "",
        r#"look("a"); must(rename("a", "a2")); look("a2"); must(rename("b", "a2")); look("a2"); must(rename("a2", "a")); look("a");
        look("x"); look("y"); must(syscall(SYS_renameat2, AT_FDCWD, "x", AT_FDCWD, "y", 2)); look("x"); look("y");
        look("u"); must(link("u", "u2")); look("u2"); must(unlink("u")); look("u2"); must(rename("u2", "u3")); look("u3");
        look("link/f"); must(unlink("link")); must(symlink("e", "link")); look("link/f");
        look("d/f"); must(rename("d", "d2")); look("d2/f"); must(rename("e", "d")); look("d/f"); look("./d/../d2/f");
        must(chdir("d")); look("f"); look("../d2/f"); must(mkdir("g", 0755)); must(rmdir("g"));"#,
    );
    has(told, &["read HERE/a None", "read HERE/u3 None", "read HERE/d2/f None", "read HERE/e/f None"]);
}

#[test]
fn what_was_read_and_is_then_written_anew() {
    let prepare = |lab: &Lab| {
        for name in ["place", "mapped", "cut", "gone", "held", "new", "both"] {
            lab.write(name, name);
        }
    };
    let told = c(
        &prepare,
        "",
        r#"
        int f, m; char *text; char name[64];
        look("place"); must(f = open("place", O_RDWR)); must(write(f, "X", 1)); close(f); look("place"); look("place");
        must(f = open("place", O_WRONLY | O_TRUNC)); must(write(f, "Y", 1)); close(f); look("place");
        look("mapped"); must(m = open("mapped", O_RDWR));
        text = mmap(0, 4, PROT_READ | PROT_WRITE, MAP_SHARED, m, 0); text[0] = 'x'; munmap(text, 4); look("mapped");
        must(f = open("mapped", O_RDONLY)); text = mmap(0, 4, PROT_READ, MAP_PRIVATE, f, 0); must(-(text[0] != 'x'));
        look("cut"); must(truncate("cut", 1)); look("cut"); must(truncate("cut", 0)); look("cut");
        look("gone"); must(unlink("gone"));
        must(f = open("held", O_RDONLY)); must(unlink("held")); snprintf(name, 64, "/proc/self/fd/%d", f);
        must(creat("held", 0644)); look("held");
        must(open("both", O_RDONLY | O_CREAT, 0644)); must(open("made", O_RDONLY | O_CREAT, 0644)); look("made");
        must(open("new", O_RDONLY | O_TRUNC)); look("new"); open("none", O_WRONLY); open("none", O_RDONLY);
        if (!fork()) { look("place"); must(creat("child", 0644)); _exit(0); } wait(0); look("child");
        must(open("place", O_PATH)); must(f = open(".", O_PATH | O_DIRECTORY)); must(openat(f, "child", O_RDONLY | O_NOFOLLOW));
        "#,
    );
    has(told, &["read HERE/gone None", "read HERE/made None", "create HERE/new None"]);
}

#[test]
fn what_one_writes_another_reads() {
    let prepare = |lab: &Lab| drop(lab.write("a", "old"));
    let told = script(
        &prepare,
        "for i in 1 2 3 4 5 6 7 8; do cat a > b; mv b c; cat c > d; cat d c > a; echo $i >> a; ln -f a e; cat e >> c; \
         rm d; done; sed -i s/o/p/ c; cp c f; install -m 644 f g; touch h; cat h g > i; chmod 600 i; cat i > j",
    );
    has(told, &["read HERE/e None", "read HERE/i None"]);
}

#[test]
fn a_script_that_the_kernel_does_not_run_is_read_by_the_shell() {
    let prepare = |lab: &Lab| {
        for (name, text) in [("plain", "cat in\n"), ("marked", "#!/bin/sh\ncat in\n"), ("odd", "#!/none\n"), ("in", "")]
        {
            let path = lab.write(name, text);
            fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        }
    };
    has(
        script(&prepare, "./plain; ./marked; ./odd; sh ./plain; . ./plain"),
        &["read HERE/plain None", "read HERE/odd None"],
    );
    let run = |_: &Lab| ["bash", "-c", "./plain; ./marked; ./odd; cat <(cat in); true"].map(OsString::from).to_vec();
    has(both(&prepare, &run), &["read HERE/plain None", "read HERE/marked None"]);
}

#[test]
fn directories_that_are_listed() {
    let prepare = |lab: &Lab| {
        for name in ["d/a", "d/e/b", "f/c"] {
            lab.write(name, "");
        }
    };
    let told =
        script(&prepare, "ls d > out; find d -type f >> out; echo f/* >> out; rm -r d; mkdir -p g/h; ls g/* >> out");
    has(told, &["list HERE/d/e None", "list HERE/f None", "list HERE/g/h None"]);
}

#[test]
fn nobody_else_is_heard() {
    let lab = Lab::new();
    lab.write("mine", "");
    lab.write("theirs", "");
    let theirs = lab.here.join("theirs");
    let stop = std::sync::atomic::AtomicBool::new(false);
    let trace = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                fs::read(&theirs).unwrap();
            }
        });
        let trace = traced(What::Contents, &lab, &[&"sh", &"-c", &"cat mine; sleep 0.1; cat mine"]);
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        trace
    });
    assert_eq!(trace.heard, allowed());
    assert!(trace.paths.contains(&lab.here.join("mine")) && !trace.paths.contains(&theirs));
}

#[test]
fn a_pipe_with_a_name_works_as_it_did() {
    let lab = Lab::new();
    let script = "mkfifo p; for i in 1 2 3 4 5 6 7 8 9; do { cat p > got; } & echo $i > p; wait; cat got; done";
    let (_, output) = lab.run(What::Contents, &lab.here, &[&"sh", &"-c", &script]);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "1\n2\n3\n4\n5\n6\n7\n8\n9\n");
}

#[test]
fn mounts_of_its_own_are_a_gap() {
    if !allowed() {
        return;
    }
    let lab = Lab::new();
    let gaps = |body: &str| {
        let source = format!("{HEAD}\n#include <sched.h>\nint main(void) {{ {body} return 0; }}");
        let (out, output) = lab.run(What::Contents, &lab.here, &[&lab.program("program", &source)]);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        trace::read_all(&out).unwrap().gaps
    };
    let gap = |program: &str, call: &str| Gap::Unfollowed { program: program.to_owned(), call: call.to_owned() };
    assert_eq!(gaps("must(unshare(CLONE_FS));"), [].into());
    assert_eq!(gaps("must(unshare(CLONE_NEWNS));"), [gap("program", "unshare")].into());
    let clone = "if (!syscall(SYS_clone, CLONE_NEWNS | SIGCHLD, 0, 0, 0, 0)) _exit(0); wait(0);";
    assert_eq!(gaps(clone), [gap("program", "clone")].into());
}

#[test]
fn a_sandbox_listens_for_the_tracer_in_it() {
    let lab = Lab::new();
    lab.write("a", "text\n");
    let exe = Path::new("/build/tools/kbuild-repro");
    let command = ["sh", "-c", "cat a > b; cat b; exit 3"].map(OsString::from);
    let work = Path::new("/build/work");
    let spec = Spec {
        isolation: Isolation::Auto,
        mounts: vec![
            Mount::Bind { host: env!("CARGO_BIN_EXE_kbuild-repro").into(), at: exe.into(), writable: false },
            Mount::Bind { host: lab.here.clone(), at: work.into(), writable: true },
        ],
        commands: vec![sandbox::Command {
            argv: trace::wrap(exe.as_os_str(), What::Contents, &work.join("out.json"), &[work], &command),
            cwd: work.into(),
            env: Vec::new(),
            label: "traced".into(),
        }],
        env: vec![("PATH".into(), "/usr/bin:/bin".into())],
        listen: true,
        ..Spec::default()
    };
    let log = tempfile::tempfile().unwrap();
    let outcome = Sandbox::new(env!("CARGO_BIN_EXE_kbuild-repro")).spawn(&spec, &log).unwrap().wait().unwrap();
    assert_eq!(outcome.commands[0].status, Status::Exited(3), "{outcome:?}");
    let trace = trace::read_all(&lab.here.join("out.json")).unwrap();
    if outcome.isolation != sandbox::Isolated::Root {
        eprintln!("skipped: {:?}", outcome.losses);
        return;
    }
    assert_eq!((trace.heard, &trace.gaps), (allowed(), &[].into()));
    let read = |process: &trace::Process| -> Vec<std::path::PathBuf> {
        let read = process.actions.iter().filter(|action| action.deed == Deed::Read);
        read.map(|action| trace.path(action.path).to_owned()).filter(|path| path.starts_with(work)).collect()
    };
    let read: Vec<_> = trace.processes.iter().flat_map(read).collect();
    assert_eq!(read, [work.join("a"), work.join("b")]);
}
