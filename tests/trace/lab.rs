//! An empty directory that commands are traced in.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use kbuild_repro::trace::{self, What};

pub(crate) struct Lab {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) here: PathBuf,
}

impl Lab {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        // As the kernel names it.
        let here = dir.path().canonicalize().unwrap().join("work");
        fs::create_dir(&here).unwrap();
        Self { dir, here }
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.here.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    /// A C program outside the directory; `None` where the compiler or a library is not to be had.
    pub(crate) fn compile(&self, name: &str, source: &str, flags: &[&str]) -> Option<PathBuf> {
        let (from, to) = (self.dir.path().join(format!("{name}.c")), self.dir.path().join(name));
        fs::write(&from, source).unwrap();
        let output = Command::new("cc").args(["-D_GNU_SOURCE", "-o"]).arg(&to).arg(&from).args(flags).output().ok()?;
        if output.status.success() {
            return Some(to);
        }
        eprintln!("skipped: {}", String::from_utf8_lossy(&output.stderr));
        None
    }

    pub(crate) fn program(&self, name: &str, source: &str) -> PathBuf {
        self.compile(name, source, &["-pthread"]).expect("a C compiler")
    }

    /// Runs a command under the tracer: where its result is, and what the command printed.
    pub(crate) fn run(&self, what: What, own: &Path, command: &[&dyn AsRef<OsStr>]) -> (PathBuf, Output) {
        let out = self.dir.path().join("out.json");
        let words: Vec<OsString> = command.iter().map(|word| AsRef::<OsStr>::as_ref(*word).to_owned()).collect();
        let line = trace::wrap(env!("CARGO_BIN_EXE_kbuild-repro").as_ref(), what, &out, &[own], &words);
        let mut tracer = Command::new(&line[0]);
        tracer.args(&line[1..]).current_dir(&self.here).env("LC_ALL", "C").env_remove("MAKEFLAGS");
        let output = tracer.output().unwrap();
        (out, output)
    }
}
