//! The tracer on real processes: whatever way a program looks at a file, it is seen, and what cannot be seen is said.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::lab::Lab;
use kbuild_repro::sandbox::{self, Isolation, Mount, Sandbox, Spec, Status};
use kbuild_repro::trace::{self, Gap, Look, Looked, What};

struct Traced {
    looked: Looked,
    output: Output,
    here: PathBuf,
}

impl Lab {
    fn trace(&self, command: &[&dyn AsRef<OsStr>]) -> Traced {
        let (out, output) = self.run(What::Looks, &self.here.join("own"), command);
        let looked = trace::read(&out).unwrap_or_else(|e| panic!("{e}: {output:?}"));
        Traced { looked, output, here: self.here.clone() }
    }

    fn sh(&self, script: &str) -> Traced {
        self.trace(&[&"sh", &"-c", &script])
    }
}

impl Traced {
    /// How a file below the lab, or at an absolute path, was looked at.
    fn look(&self, path: impl AsRef<Path>) -> Option<Look> {
        self.looked.paths.get(&self.here.join(path)).copied()
    }

    #[track_caller]
    fn whole(self, code: i32) -> Self {
        assert_eq!(self.output.status.code(), Some(code), "{:?}", self.output);
        assert_eq!(self.looked.gaps, [].into());
        self
    }

    fn stdout(&self) -> &str {
        std::str::from_utf8(&self.output.stdout).unwrap()
    }
}

const READ: Option<Look> = Some(Look::Read);
const PROBED: Option<Look> = Some(Look::Probed);
const LISTED: Option<Look> = Some(Look::Listed);

/// Whether a process has ended. A zombie may stay where nobody reaps orphans.
fn gone(process: &Path) -> bool {
    fs::read_to_string(process.join("stat")).map_or(true, |stat| stat.contains(") Z "))
}

#[track_caller]
fn until(mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !done() {
        assert!(Instant::now() < deadline, "in vain");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_shell_looks_from_where_it_is() {
    let lab = Lab::new();
    lab.write("a", "1");
    lab.write("d/b", "2");
    lab.write("d/e/c", "3");
    let traced = lab.sh("read x < a; cd d; read x < b; cd e; read x < ../../a; test -e nothing; : > written; exit 3");
    let traced = traced.whole(3);
    assert_eq!([traced.look("a"), traced.look("d/b")], [READ, READ]);
    assert_eq!([traced.look("d"), traced.look("d/e"), traced.look("d/e/nothing")], [PROBED; 3]);
    assert_eq!([traced.look("d/e/written"), traced.look("d/e/c"), traced.look("b")], [None; 3]);
    let sh = traced.looked.paths.iter().any(|(path, look)| path.ends_with("bin/sh") && *look == Look::Read);
    let loader = traced
        .looked
        .paths
        .iter()
        .any(|(path, look)| path.to_str().is_some_and(|path| path.contains("/ld-")) && *look == Look::Read);
    assert!(sh && loader, "{:?}", traced.looked.paths);
}

#[test]
fn reading_beats_probing_and_a_listing_is_told_from_a_file() {
    let lab = Lab::new();
    lab.write("d/a", "");
    lab.write("f", "");
    let traced = lab.sh("test -e f; cat f; test -e f; ls d; test -d d; ls -d e").whole(2);
    assert_eq!([traced.look("f"), traced.look("d"), traced.look("e")], [READ, LISTED, PROBED]);
    assert_eq!(traced.look("d/a"), None, "its name was read, but nobody looked at it");
}

#[test]
fn links_are_kept_but_where_dots_follow_them() {
    let lab = Lab::new();
    lab.write("real/deep/a", "");
    lab.write("real/b", "");
    symlink("real/deep", lab.here.join("link")).unwrap();
    let traced = lab.sh("cat link/a link/../b real/deep/../deep/a; readlink link").whole(0);
    assert_eq!([traced.look("link/a"), traced.look("real/b"), traced.look("real/deep/a")], [READ; 3]);
    assert_eq!([traced.look("link"), traced.look("real/deep")], [PROBED; 2]);
    assert_eq!(traced.look("b"), None);
}

#[test]
fn names_that_are_no_text_are_kept() {
    let lab = Lab::new();
    let name = OsStr::from_bytes(b"a\xffb\n");
    fs::write(lab.here.join(name), "").unwrap();
    let traced = lab.trace(&[&"cat", &name]).whole(0);
    assert_eq!(traced.look(name), READ);
}

#[test]
fn a_script_is_read_with_its_interpreters() {
    let lab = Lab::new();
    let executable = |path: PathBuf| fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    executable(lab.write("inner", "#! /bin/sh\nexec /bin/sh \"$@\"\n"));
    executable(lab.write("d/outer", "#!./inner\necho ran\n"));
    let traced = lab.trace(&[&"d/outer"]).whole(0);
    assert_eq!(traced.stdout(), "ran\n");
    assert_eq!([traced.look("d/outer"), traced.look("inner"), traced.look("/bin/sh")], [READ; 3]);
}

#[test]
fn a_static_program_is_traced_like_any_other() {
    let lab = Lab::new();
    let source = r#"
        #include <fcntl.h>
        int main(void) { return open("a", O_RDONLY) < 0; }
    "#;
    let Some(program) = lab.compile("static", source, &["-static"]) else { return };
    lab.write("a", "");
    let traced = lab.trace(&[&program]).whole(0);
    assert_eq!([traced.look("a"), traced.look(&program)], [READ, READ]);
    assert!(!traced.looked.paths.keys().any(|path| path.to_string_lossy().contains("/ld-")));
}

#[test]
fn every_thread_is_followed_and_an_exec_in_one_as_well() {
    let lab = Lab::new();
    let source = r#"
        #include <fcntl.h>
        #include <pthread.h>
        #include <stdio.h>
        #include <unistd.h>
        static void *look(void *number) {
            char name[32];
            for (int i = 0; i < 50; i++) {
                snprintf(name, sizeof name, "t%ld-%d", (long)number, i);
                close(open(name, O_RDONLY));
            }
            return 0;
        }
        static void *leave(void *unused) {
            execl("/bin/cat", "cat", "last", (char *)0);
            return unused;
        }
        int main(void) {
            pthread_t threads[8], other;
            for (long t = 0; t < 8; t++) pthread_create(&threads[t], 0, look, (void *)t);
            for (int t = 0; t < 8; t++) pthread_join(threads[t], 0);
            pthread_create(&other, 0, leave, 0);
            for (;;) pause();
        }
    "#;
    let program = lab.program("threads", source);
    lab.write("last", "it");
    let traced = lab.trace(&[&program]).whole(0);
    assert_eq!(traced.stdout(), "it");
    let all = (0..8).flat_map(|t| (0..50).map(move |i| format!("t{t}-{i}")));
    assert_eq!(all.filter(|name| traced.look(name) != READ).collect::<Vec<_>>(), Vec::<String>::new());
    assert_eq!(traced.look("last"), READ);
}

#[test]
fn every_way_to_start_a_process_is_followed() {
    let lab = Lab::new();
    let source = r#"
        #include <spawn.h>
        #include <stdlib.h>
        #include <sys/wait.h>
        #include <unistd.h>
        extern char **environ;
        int main(void) {
            char *a[] = { "cat", "by-spawn", 0 };
            pid_t pid;
            if (posix_spawn(&pid, "/bin/cat", 0, 0, a, environ)) return 1;
            waitpid(pid, 0, 0);
            if (!(pid = vfork())) { execl("/bin/cat", "cat", "by-vfork", (char *)0); _exit(1); }
            waitpid(pid, 0, 0);
            if (!(pid = fork())) { if (!fork()) execl("/bin/cat", "cat", "by-grandchild", (char *)0); wait(0); _exit(0); }
            waitpid(pid, 0, 0);
            return system("cat by-system");
        }
    "#;
    let program = lab.program("spawn", source);
    let names = ["by-spawn", "by-vfork", "by-grandchild", "by-system"];
    for name in names {
        lab.write(name, name);
    }
    let traced = lab.trace(&[&program]).whole(0);
    assert_eq!(traced.stdout(), names.concat());
    assert_eq!(names.map(|name| traced.look(name)), [READ; 4]);
}

#[test]
fn descriptors_of_directories_are_followed() {
    let lab = Lab::new();
    let source = r#"
        #include <fcntl.h>
        #include <stdio.h>
        #include <sys/stat.h>
        #include <sys/syscall.h>
        #include <unistd.h>
        struct how { unsigned long long flags, mode, resolve; };
        int main(void) {
            struct stat st;
            struct statx sx;
            char text[64];
            int d = open("d", O_PATH | O_DIRECTORY);
            openat(d, "by-openat", O_RDONLY);
            struct how how = { O_RDONLY, 0, 0 };
            syscall(SYS_openat2, d, "by-openat2", &how, sizeof how);
            fstatat(d, "by-fstatat", &st, 0);
            statx(d, "by-statx", 0, STATX_ALL, &sx);
            faccessat(d, "by-faccessat", R_OK, 0);
            readlinkat(d, "by-readlinkat", text, sizeof text);
            openat(d, "../up", O_RDONLY);
            int hidden = openat(d, "hidden", O_PATH);
            snprintf(text, sizeof text, "/proc/self/fd/%d", hidden);
            open(text, O_RDONLY);
            fstatat(d, "", &st, AT_EMPTY_PATH);
            openat(12345, "nowhere", O_RDONLY);
            fchdir(d);
            openat(AT_FDCWD, "by-fchdir", O_RDONLY);
            char *args[] = { "true", 0 };
            execveat(d, "tool", args, 0, 0);
            return 1;
        }
    "#;
    let program = lab.program("at", source);
    for name in ["by-openat", "by-openat2", "by-statx", "hidden", "by-fchdir"] {
        lab.write(&format!("d/{name}"), "");
    }
    fs::copy("/bin/true", lab.here.join("d/tool")).unwrap();
    let traced = lab.trace(&[&program]).whole(0);
    let read = ["d/by-openat", "d/by-openat2", "up", "d/hidden", "d/by-fchdir", "d/tool"];
    assert_eq!(read.map(|name| traced.look(name)), [READ; 6]);
    let probed = ["d", "d/by-fstatat", "d/by-statx", "d/by-faccessat", "d/by-readlinkat"];
    assert_eq!(probed.map(|name| traced.look(name)), [PROBED; 5]);
    assert!(!traced.looked.paths.keys().any(|path| path.ends_with("nowhere")));
}

#[test]
fn a_descriptor_that_is_run_was_read() {
    let lab = Lab::new();
    let source = r#"
        #include <fcntl.h>
        #include <unistd.h>
        int main(void) {
            char *args[] = { "true", 0 };
            execveat(open("tool", O_PATH | O_CLOEXEC), "", args, 0, AT_EMPTY_PATH);
            return 1;
        }
    "#;
    let program = lab.program("fexec", source);
    fs::copy("/bin/true", lab.here.join("tool")).unwrap();
    assert_eq!(lab.trace(&[&program]).whole(0).look("tool"), READ);
}

#[test]
fn what_goes_on_under_another_name_was_read() {
    let lab = Lab::new();
    lab.write("a", "");
    lab.write("b", "");
    let traced = lab.sh("ln a c; mv b d; ln -s nothing e; mkdir f; rmdir f").whole(0);
    assert_eq!([traced.look("a"), traced.look("b")], [READ; 2]);
}

#[test]
fn statuses_and_signals_are_passed_on() {
    let lab = Lab::new();
    for (script, code) in [
        ("exit 0", 0),
        ("exit 77", 77),
        ("kill -TERM $$", 128 + 15),
        ("kill -KILL $$", 128 + 9),
        ("kill -SEGV $$", 128 + 11),
        ("trap 'exit 5' USR1; kill -USR1 $$", 5),
        ("trap 'exit 6' TRAP; kill -TRAP $$", 6),
        ("trap '' HUP; kill -HUP $$; exit 7", 7),
    ] {
        lab.sh(script).whole(code);
    }
    // As without a tracer, a writer nobody reads from ends by a signal.
    let traced = lab.trace(&[&"bash", &"-c", &"yes | head -n1; echo ${PIPESTATUS[0]}"]).whole(0);
    assert_eq!(traced.stdout(), "y\n141\n");
}

#[test]
fn a_stopped_process_stays_stopped_until_it_is_woken() {
    let lab = Lab::new();
    let source = r#"
        #include <fcntl.h>
        #include <signal.h>
        #include <stdio.h>
        #include <sys/wait.h>
        #include <unistd.h>
        int main(void) {
            int status;
            pid_t pid = fork();
            if (!pid) { raise(SIGSTOP); open("after", O_RDONLY); _exit(9); }
            waitpid(pid, &status, WUNTRACED);
            printf("%d", WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP);
            usleep(100000);
            printf("%d", waitpid(pid, &status, WNOHANG) == 0);
            kill(pid, SIGCONT);
            waitpid(pid, &status, WCONTINUED);
            printf("%d", WIFCONTINUED(status));
            waitpid(pid, &status, 0);
            printf("%d\n", WEXITSTATUS(status));
        }
    "#;
    let traced = lab.trace(&[&lab.program("stop", source)]).whole(0);
    assert_eq!(traced.stdout(), "1119\n");
    assert_eq!(traced.look("after"), READ);
}

#[test]
fn what_ends_a_little_later_is_waited_for_and_what_does_not_is_killed_and_told() {
    let lab = Lab::new();
    lab.write("late", "");
    let traced = lab.sh("{ sleep 0.2; cat late; } > /dev/null 2>&1 & exit 4").whole(4);
    assert_eq!(traced.look("late"), READ);

    for (program, script) in [("sleep", "sleep 1000"), ("sh", "while :; do test -e a; done")] {
        let begin = Instant::now();
        let traced = lab.sh(&format!("{script} > /dev/null 2>&1 & echo $!; exit 5"));
        assert_eq!(traced.output.status.code(), Some(5));
        assert_eq!(traced.looked.gaps, [Gap::Outlived { program: program.into() }].into());
        assert!(begin.elapsed() < Duration::from_secs(20));
        let pid = traced.stdout().trim();
        until(|| gone(&Path::new("/proc").join(pid)));
    }
}

#[test]
fn everything_dies_with_the_tracer() {
    let lab = Lab::new();
    let out = lab.dir.path().join("out.json");
    let line = trace::wrap(
        env!("CARGO_BIN_EXE_kbuild-repro").as_ref(),
        What::Looks,
        &out,
        &[],
        &["sleep".into(), "1000".into()],
    );
    let mut tracer = Command::new(&line[0]).args(&line[1..]).stdout(Stdio::null()).spawn().unwrap();
    let children = PathBuf::from(format!("/proc/{0}/task/{0}/children", tracer.id()));
    let mut child = PathBuf::new();
    until(|| {
        child = Path::new("/proc").join(fs::read_to_string(&children).unwrap().trim());
        fs::read_to_string(child.join("comm")).is_ok_and(|name| name == "sleep\n")
    });
    tracer.kill().unwrap();
    tracer.wait().unwrap();
    until(|| gone(&child));
    assert!(trace::read(&out).is_err(), "an unfinished trace is none");
}

#[test]
fn calls_that_hide_looks_are_told() {
    let lab = Lab::new();
    let source = r#"
        #include <signal.h>
        #include <stdlib.h>
        #include <string.h>
        #include <sys/mman.h>
        #include <sys/ptrace.h>
        #include <sys/syscall.h>
        #include <unistd.h>
        int main(int argc, char **argv) {
            char parameters[256] = { 0 };
            if (argc < 2) return 1;
            if (!strcmp(argv[1], "uring")) syscall(SYS_io_uring_setup, 1, parameters);
            if (!strcmp(argv[1], "handle")) syscall(SYS_open_by_handle_at, -1, parameters, 0);
            if (!strcmp(argv[1], "ptrace")) ptrace(PTRACE_TRACEME, 0, 0, 0);
            if (!strcmp(argv[1], "chroot")) syscall(SYS_chroot, "nothing");
            if (!strcmp(argv[1], "mount")) syscall(SYS_mount, "a", "b", "c", 0, 0);
            if (!strcmp(argv[1], "wild")) syscall(SYS_chdir, 1);
        #ifdef __x86_64__
            /* getpid, as i386 has it, and as x32 has it */
            int result = 20;
            if (!strcmp(argv[1], "i386")) __asm__ volatile("int $0x80" : "+a"(result) :: "memory");
            if (!strcmp(argv[1], "x32")) syscall(0x40000000 | SYS_getpid);
        #endif
            return 0;
        }
    "#;
    let program = lab.program("hidden", source);
    let seen = |what: &str| {
        let traced = lab.trace(&[&program, &what]);
        // Where the kernel has no such calls, i386's are a fault.
        assert!(traced.output.status.success() || what == "i386", "{what}: {:?}", traced.output);
        traced.looked.gaps
    };
    let me = || "hidden".to_owned();
    assert_eq!(seen("nothing"), [].into());
    for (what, call) in [("uring", "io_uring_setup"), ("handle", "open_by_handle_at"), ("ptrace", "ptrace")] {
        assert_eq!(seen(what), [Gap::Unfollowed { program: me(), call: call.into() }].into());
    }
    for what in ["chroot", "mount"] {
        assert_eq!(seen(what), [Gap::Moved { program: me(), call: what.into() }].into());
    }
    let gaps = seen("wild");
    let [Gap::Unreadable { what, .. }] = gaps.iter().collect::<Vec<_>>()[..] else { panic!("{gaps:?}") };
    assert_eq!(what, "the path of `chdir`");
    if cfg!(target_arch = "x86_64") {
        assert_eq!(seen("x32"), [Gap::ForeignCall { program: me() }].into());
        let gaps = seen("i386");
        let killed = lab.trace(&[&program, &"i386"]).output.status.code() == Some(128 + 11);
        assert!(killed || gaps == [Gap::ForeignCall { program: me() }].into(), "{gaps:?}");
    }
}

#[test]
fn a_command_that_cannot_be_run_ends_as_in_a_shell() {
    let lab = Lab::new();
    lab.write("no-program", "");
    for (command, code, why) in [
        ("there-is-none", 127, "No such file"),
        ("./none", 127, "No such file"),
        ("./no-program", 126, "Permission denied"),
    ] {
        let traced = lab.trace(&[&command]).whole(code);
        let said = String::from_utf8_lossy(&traced.output.stderr);
        assert!(said.contains(&format!("cannot run `{command}`: {why}")), "{said}");
    }
    let traced = lab.trace(&[&"./none"]);
    assert_eq!(traced.look("none"), READ, "that it is not there decided what happened");
}

#[test]
fn nothing_runs_where_the_result_cannot_be_written() {
    let lab = Lab::new();
    let out = lab.here.join("no/directory");
    let line = trace::wrap(
        env!("CARGO_BIN_EXE_kbuild-repro").as_ref(),
        What::Looks,
        &out,
        &[],
        &["touch".into(), "ran".into()],
    );
    let output = Command::new(&line[0]).args(&line[1..]).current_dir(&lab.here).output().unwrap();
    assert_eq!(output.status.code(), Some(70));
    assert!(String::from_utf8_lossy(&output.stderr).contains("cannot write trace"), "{output:?}");
    assert!(!lab.here.join("ran").exists());
}

#[test]
fn a_second_tracer_is_refused_and_the_command_runs_nevertheless() {
    let lab = Lab::new();
    // The tracer in the tracer may attach to its own child no longer: both cannot trace one process.
    let inner = lab.here.join("inner.json");
    let line = trace::wrap(
        env!("CARGO_BIN_EXE_kbuild-repro").as_ref(),
        What::Looks,
        &inner,
        &[],
        &["echo".into(), "ran".into()],
    );
    let words: Vec<&dyn AsRef<OsStr>> = line.iter().map(|word| word as &dyn AsRef<OsStr>).collect();
    let traced = lab.trace(&words);
    assert_eq!((traced.output.status.code(), traced.stdout()), (Some(0), "ran\n"));
    let gaps = trace::read(&inner).unwrap().gaps;
    let [Gap::Refused { what, reason }] = gaps.iter().collect::<Vec<_>>()[..] else { panic!("{gaps:?}") };
    assert_eq!((what.as_str(), reason.as_str()), ("ptrace", "Operation not permitted (os error 1)"));
    let told: Vec<String> = traced.looked.gaps.iter().map(ToString::to_string).collect();
    assert_eq!(told, ["`kbuild-repro` called `ptrace`, which is not followed"]);
}

#[test]
fn make_with_jobs_is_traced_as_a_whole() {
    let lab = Lab::new();
    let names: Vec<String> = (0..40).map(|i| format!("in{i}")).collect();
    for name in &names {
        lab.write(name, "x\n");
    }
    lab.write("deep/Makefile", "all: ; @cat ../in0 > /dev/null\n");
    lab.write(
        "Makefile",
        "all: $(patsubst in%,out%,$(wildcard in*)) ; @$(MAKE) -s -C deep\nout%: in% ; @cat < $< > $@\n-include missing.d\n",
    );
    let traced = lab.trace(&[&"make", &"-j2", &"-s"]).whole(0);
    assert_eq!(names.iter().filter(|name| traced.look(name) != READ).collect::<Vec<_>>(), Vec::<&String>::new());
    assert_eq!([traced.look("Makefile"), traced.look("deep/Makefile"), traced.look("missing.d")], [READ; 3]);
    assert_eq!([traced.look("."), traced.look("out0"), traced.look("deep")], [LISTED, PROBED, LISTED]);
}

/// As it is meant to be used: the tracer is the sandbox's command, bound into it read-only.
fn in_sandbox(isolation: Isolation) {
    let lab = Lab::new();
    lab.write("a", "text\n");
    let exe = Path::new("/build/tools/kbuild-repro");
    let command = ["sh", "-c", "cat a; test -e b; exit 3"].map(OsString::from);
    let spec = Spec {
        isolation,
        mounts: vec![
            Mount::Bind { host: env!("CARGO_BIN_EXE_kbuild-repro").into(), at: exe.into(), writable: false },
            Mount::Bind { host: lab.here.clone(), at: "/build/work".into(), writable: true },
        ],
        commands: vec![sandbox::Command {
            argv: trace::wrap(exe.as_os_str(), What::Looks, Path::new("/build/work/out.json"), &[], &command),
            cwd: "/build/work".into(),
            env: Vec::new(),
            label: "traced".into(),
        }],
        env: vec![("PATH".into(), "/usr/bin:/bin".into())],
        ..Spec::default()
    };
    let log = tempfile::tempfile().unwrap();
    let outcome = Sandbox::new(env!("CARGO_BIN_EXE_kbuild-repro")).spawn(&spec, &log).unwrap().wait().unwrap();
    if outcome.isolation == sandbox::Isolated::Direct {
        eprintln!("skipped: {:?}", outcome.losses);
        return;
    }
    assert_eq!(outcome.commands[0].status, Status::Exited(3), "{outcome:?}");
    let looked = trace::read(&lab.here.join("out.json")).unwrap();
    if outcome.losses.iter().any(|loss| loss.guarantee == sandbox::Guarantee::Proc) {
        eprintln!("skipped: {:?}", outcome.losses);
        return;
    }
    assert_eq!(looked.gaps, [].into());
    assert_eq!(looked.paths.get(Path::new("/build/work/a")), Some(&Look::Read));
    assert_eq!(looked.paths.get(Path::new("/build/work/b")), Some(&Look::Probed));
}

#[test]
fn it_works_in_a_sandbox() {
    in_sandbox(Isolation::Auto);
}

#[test]
fn it_works_in_a_user_namespace() {
    in_sandbox(Isolation::UserNs);
}

#[test]
fn links_of_the_commands_own_are_followed_when_they_are_used() {
    let lab = Lab::new();
    fs::create_dir_all(lab.here.join("own/deep")).unwrap();
    for dir in ["one", "two"] {
        fs::create_dir(lab.here.join(dir)).unwrap();
        fs::write(lab.here.join(dir).join("file"), dir).unwrap();
    }
    // Retargeted after the first use, removed after the second; then a loop.
    let traced = lab
        .sh("at=$(pwd)/own; ln -s ../one own/link; cat $at/link/file; ln -sfn ../two own/link; cat $at/link/file
            test -e own/link/absent; rm own/link; ln -s ../own/link/file own/deep/up; ln -s ../one own/link
            cat own/deep/up; rm -r own/link own/deep; ln -s loop own/loop; cat own/loop 2>/dev/null; true")
        .whole(0);
    for read in ["one/file", "two/file"] {
        assert_eq!(traced.look(read), Some(Look::Read), "{read}");
    }
    assert_eq!(traced.look("two/absent"), Some(Look::Probed));
}

#[test]
fn descriptors_are_followed_however_they_are_named() {
    let lab = Lab::new();
    for file in ["a", "b", "c"] {
        fs::write(lab.here.join(file), file).unwrap();
    }
    // O_PATH is no look at the content; what is opened through the descriptor is.
    let program = lab.program(
        "fds",
        r#"#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>
int main(void)
{
    char name[64];
    int dir = open("/proc/self/fd", O_RDONLY | O_DIRECTORY), file = open("a", O_PATH), other = open("b", O_PATH);
    snprintf(name, sizeof name, "%d", file);
    int good = openat(dir, name, O_RDONLY) >= 0;
    snprintf(name, sizeof name, "/proc/self/task/%d/fd/%d", getpid(), other);
    good &= open(name, O_RDONLY) >= 0;
    return !good;
}
"#,
    );
    let traced = lab.trace(&[&program]).whole(0);
    assert_eq!(traced.look("a"), Some(Look::Read));
    assert_eq!(traced.look("b"), Some(Look::Read));
    let traced = lab.sh("exec <c; cat /dev/stdin >/dev/null").whole(0);
    assert_eq!(traced.look("c"), Some(Look::Read));
}

/// A script with what a build does: links, of which one is made, look-ups in vain, a listing, changes, programs.
const ALL: &str = "cat link/a >own/made; ln -s ../dir own/to; cat own/to/b missing 2>/dev/null; ls dir >own/list; \
                   test -e absent; test -e dir/a && echo more >>own/made; mv own/made own/moved; /bin/sh -c 'cat dir/b' >own/c";

#[test]
fn both_are_told_of_one_run_as_of_two() {
    let lay = || {
        let lab = Lab::new();
        lab.write("dir/a", "a\n");
        lab.write("dir/b", "b\n");
        fs::create_dir(lab.here.join("own")).unwrap();
        symlink("dir", lab.here.join("link")).unwrap();
        lab
    };
    let lab = lay();
    let alone = lab.sh(ALL).whole(0);
    let here = |path: &Path, top: &Path| path.strip_prefix(top).map(Path::to_owned).ok();
    let own = |looked: &Looked, top: &Path| -> Vec<(PathBuf, Look)> {
        looked.paths.iter().filter_map(|(path, look)| Some((here(path, top)?, *look))).collect()
    };
    let alone_looked = own(&alone.looked, &lab.here);
    assert!(alone_looked.contains(&("link/a".into(), Look::Read)), "{alone_looked:?}");

    let lab = lay();
    let out = lab.dir.path().join("out.json");
    let words: Vec<OsString> = ["sh", "-c", ALL].map(Into::into).to_vec();
    let links = lab.here.join("own");
    let line = trace::wrap_looked(env!("CARGO_BIN_EXE_kbuild-repro").as_ref(), &out, &[&lab.here], &[&links], &words);
    let mut tracer = Command::new(&line[0]);
    let output = tracer.args(&line[1..]).current_dir(&lab.here).env("LC_ALL", "C").output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let looked = trace::read(&trace::looked_beside(&out)).unwrap();
    assert_eq!((own(&looked, &lab.here), looked.gaps), (alone_looked, [].into()));

    let (both, top) = (trace::read_all(&out).unwrap(), lab.here.clone());
    let lab = lay();
    let (out, _) = lab.run(What::BuildContents, &lab.here, &[&"sh", &"-c", &ALL]);
    let one = trace::read_all(&out).unwrap();
    let deeds = |trace: &trace::Trace, top: &Path| {
        let told = |action: &trace::Action| Some((action.deed, here(trace.path(action.path), top)?));
        // Whether a directory was opened to be listed is told in two ways, and in which order processes do things is up to them.
        let mut all: Vec<_> = trace.processes.iter().flat_map(|one| one.actions.iter().filter_map(told)).collect();
        all.sort();
        all
    };
    assert_eq!(deeds(&both, &top), deeds(&one, &lab.here));
    let contents =
        |trace: &trace::Trace| trace.contents.iter().flatten().cloned().collect::<std::collections::BTreeSet<_>>();
    assert_eq!(contents(&both), contents(&one));
}
