//! Installation with a fake apt-get and sudo on a search path of its own. Nothing of the machine is touched.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use kbuild_repro::cli::bootstrap::{BootstrapError, Outcome, run};
use kbuild_repro::cli::host::{Host, Need};
use tempfile::TempDir;

struct Lab {
    dir: TempDir,
    host: Host,
}

impl Lab {
    fn new(is_root: bool) -> Self {
        let dir = tempfile::tempdir().expect("tempdir");
        let bin = dir.path().join("bin");
        fs::create_dir_all(dir.path().join("lists")).expect("mkdir");
        fs::create_dir_all(&bin).expect("mkdir");
        let mut host = Host::capture().expect("capture");
        host.env = [("PATH", bin.clone()), ("LAB", dir.path().into())]
            .into_iter()
            .map(|(k, v)| (k.into(), v.into_os_string()))
            .collect();
        host.builds_path = bin.clone().into();
        host.is_root = is_root;
        host.include_dirs = vec![dir.path().join("include")];
        host.paths.scratch = dir.path().into();
        host.os_release.id = "debian".into();
        let lab = Self { host, dir };
        lab.fake("apt-cache", "for p; do [ $p = policy ] || { echo \"$p:\"; echo \"  Candidate: 1\"; }; done");
        lab.fake("apt-config", "echo \"X='$LAB/lists/'\"");
        // Puts a pahole on the search path, as the package would.
        lab.fake("apt-get", "case \"$*\" in *install*) printf '#!/bin/sh\\necho v1.24\\n' >$LAB/bin/pahole; /bin/chmod +x $LAB/bin/pahole;; esac");
        Self { host: lab.host.clone().with_tools(), ..lab }
    }

    /// Written by a child: a descriptor of ours, open for writing and copied by another test's fork, would make its
    /// execution fail with "text file busy".
    fn fake(&self, name: &str, script: &str) {
        let path = self.dir.path().join("bin").join(name);
        let mut child = Command::new("sh")
            .args(["-c", "cat >\"$0\"; chmod +x \"$0\""])
            .arg(&path)
            .stdin(Stdio::piped())
            .spawn()
            .expect("sh");
        let text = format!("#!/bin/sh\necho \"{name} $*\" >>\"$LAB/log\"\n{script}\n");
        child.stdin.take().expect("stdin").write_all(text.as_bytes()).expect("write");
        assert!(child.wait().expect("wait").success());
    }

    fn run(&self) -> (Result<Outcome, BootstrapError>, String) {
        let mut said = String::new();
        let outcome = run(&self.host, &[Need::MiniBtf], &self.lock(), false, &mut |line| {
            said.push_str(line);
            said.push('\n');
        });
        (outcome, said)
    }

    fn lock(&self) -> PathBuf {
        self.dir.path().join("locks/bootstrap.lock")
    }

    fn log(&self) -> String {
        let log = fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
        log.lines().filter(|l| !l.contains("--version")).map(|l| format!("{l}\n")).collect()
    }

    fn calls(&self, words: &str) -> usize {
        self.log().lines().filter(|l| l.contains(words)).count()
    }
}

const INSTALL: &str =
    "apt-get install -o DPkg::Lock::Timeout=300 -o Acquire::Retries=2 -y --no-install-recommends pahole";

#[test]
fn root_installs_and_looks_again() {
    let lab = Lab::new(true);
    let (outcome, said) = lab.run();
    let Ok(Outcome::Installed(host)) = outcome else { panic!("{outcome:?}\n{}", lab.log()) };
    assert_eq!(host.version_key("pahole"), Some("1.24"));
    assert!(said.contains("pahole  pahole: resolves BTF type information"), "{said}");
    assert!(said.contains("$ apt-get install -y --no-install-recommends pahole\n"), "{said}");
    assert_eq!((lab.calls(INSTALL), lab.calls("update")), (1, 0), "{}", lab.log());
    // Now that it is there, nothing is asked at all.
    let before = lab.log();
    let again = run(&host, &[Need::MiniBtf], &lab.lock(), false, &mut |_| panic!("nothing to say"));
    assert_eq!(again.ok(), Some(Outcome::Nothing));
    assert_eq!(lab.log(), before);
}

#[test]
fn an_ordinary_user_goes_through_sudo() {
    let lab = Lab::new(false);
    lab.fake("env", "shift 2; exec \"$@\"");
    lab.fake("sudo", "[ \"$2\" = true ] && exit 0; shift; exec \"$@\"");
    let (outcome, said) = lab.run();
    assert!(matches!(outcome, Ok(Outcome::Installed(_))), "{outcome:?}\n{}", lab.log());
    assert!(said.contains("$ sudo apt-get install"), "{said}");
    assert_eq!(lab.calls("sudo -n env DEBIAN_FRONTEND=noninteractive"), 1, "{}", lab.log());
}

#[test]
fn without_privileges_the_command_is_told() {
    for has_sudo in [false, true] {
        let lab = Lab::new(false);
        if has_sudo {
            lab.fake("sudo", "exit 1");
        }
        let e = lab.run().0.expect_err("no privileges");
        assert!(matches!(e, BootstrapError::HostCannot { .. }), "{e}");
        assert_eq!(e.hint(), "run `sudo apt-get install -y --no-install-recommends pahole`");
        assert_eq!(lab.calls("apt-get"), 0);
    }
}

#[test]
fn lists_without_a_candidate_are_updated_first() {
    let lab = Lab::new(true);
    lab.fake("apt-cache", "printf 'pahole:\\n  Candidate: (none)\\n'");
    assert!(matches!(lab.run().0, Ok(Outcome::Installed(_))));
    let log = lab.log();
    let (update, install) = (log.find("apt-get update").expect("update"), log.find(INSTALL).expect("install"));
    assert!(update < install, "{log}");
}

#[test]
fn old_lists_are_updated_first() {
    let lab = Lab::new(true);
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(30 * 24 * 3600);
    fs::File::open(lab.dir.path().join("lists")).and_then(|d| d.set_modified(old)).expect("utime");
    assert!(matches!(lab.run().0, Ok(Outcome::Installed(_))));
    assert_eq!(lab.calls("apt-get update"), 1);
}

#[test]
fn a_mirror_may_fail_twice() {
    let lab = Lab::new(true);
    lab.fake(
        "apt-get",
        "case \"$*\" in *install*) if [ -e $LAB/two ]; then printf '#!/bin/sh\\necho v1.24\\n' >$LAB/bin/pahole; /bin/chmod +x $LAB/bin/pahole
         else [ -e $LAB/one ] && : >$LAB/two; : >$LAB/one; echo 'E: Failed to fetch http://mirror.example 503' >&2; exit 100; fi;; esac",
    );
    let (outcome, said) = lab.run();
    assert!(matches!(outcome, Ok(Outcome::Installed(_))), "{outcome:?}");
    assert_eq!((lab.calls(INSTALL), lab.calls("apt-get update")), (3, 1));
    assert_eq!(said.matches("the mirror failed").count(), 2);
}

#[test]
fn a_failure_keeps_the_last_lines() {
    let lab = Lab::new(true);
    lab.fake(
        "apt-get",
        "i=0; while [ $i -lt 50 ]; do echo line $i; i=$((i+1)); done; echo 'E: broken packages' >&2; exit 100",
    );
    let e = lab.run().0.expect_err("failed");
    let BootstrapError::Failed { output, .. } = &e else { panic!("{e}") };
    assert!(output.ends_with("line 49\nE: broken packages") && !output.contains("line 30\n"), "{output}");
    assert_eq!(lab.calls(INSTALL), 1, "not a mirror's fault: once");
}

#[test]
fn what_is_still_missing_is_an_error() {
    let lab = Lab::new(true);
    lab.fake("apt-get", "");
    let e = lab.run().0.expect_err("still missing");
    assert!(matches!(&e, BootstrapError::StillMissing { tools, .. } if tools == &["pahole"]), "{e}");
    assert_eq!(e.exit_code(), 3);
}

#[test]
fn two_at_once_install_once() {
    let lab = Lab::new(true);
    lab.fake(
        "apt-get",
        "case \"$*\" in *install*) /bin/sleep 0.3; printf '#!/bin/sh\\necho v1.24\\n' >$LAB/bin/pahole; /bin/chmod +x $LAB/bin/pahole;; esac",
    );
    let outcomes: Vec<_> = std::thread::scope(|s| {
        let jobs: Vec<_> = (0..3).map(|_| s.spawn(|| lab.run().0.expect("run"))).collect();
        jobs.into_iter().map(|j| j.join().expect("join")).collect()
    });
    assert_eq!(lab.calls(INSTALL), 1, "{}", lab.log());
    let installed = outcomes.iter().filter(|o| matches!(o, Outcome::Installed(_))).count();
    let meanwhile = outcomes.iter().filter(|o| matches!(o, Outcome::Meanwhile(_))).count();
    assert_eq!((installed, meanwhile), (1, 2));
}

#[test]
fn a_lock_that_cannot_be_made_is_named() {
    let lab = Lab::new(true);
    let e = run(&lab.host, &[Need::MiniBtf], Path::new("/proc/no/lock"), false, &mut |_| {}).expect_err("lock");
    assert!(matches!(e, BootstrapError::Lock { .. }), "{e}");
    assert_eq!(lab.calls("apt-get"), 0);
}
