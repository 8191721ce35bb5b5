//! The graft's own files for a kernel: what its version needs otherwise, and what it must have.
//!
//! The differences between kernels are data (`scenarios/trees/graft/versions.toml`), each with its range and its reason;
//! this reads them and applies them to a kernel tree through [`Lower`]. Which side of a difference a tree is on is told by
//! what its files hold where the entry says how, since a commit between two releases still has the older one's number.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;

use super::lower::{Lower, LowerFile, graft_files, graft_x86_files};
use super::source::KernelVersion;
use crate::scenario::{GraftArch, Tool, VersionRange};

/// Where the differences are described.
const VERSIONS: &str = "versions.toml";
/// Where the files that are laid over for them are.
const LAID_OVER: &str = "versions/";

/// Where the texts are that are added at the end of a kernel's files.
const APPENDED: &str = "appended/";
/// What `ARCH=x86` takes of the files made for `ARCH=graft`, and where it has them: not the architecture but its headers
/// of our own, and no file of `lib/` that the boot code of a kernel includes.
const SHARED: &[(&str, &str)] = &[
    ("graft/", "graft/"),
    ("init/", "init/"),
    ("lib/crc.c", "lib/crc.c"),
    ("lib/gen_crctable.c", "lib/gen_crctable.c"),
    ("arch/graft/include/linux/graft", "arch/x86/include/linux/graft"),
];

/// What kernels of some versions need, and what all must have.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Versions {
    #[serde(default)]
    need: Vec<Need>,
    requires: Vec<Requires>,
}

/// A difference between kernels, and what is done about it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Need {
    id: String,
    kernels: VersionRange,
    #[serde(rename = "where")]
    probe: Option<Probe>,
    why: String,
    files: String,
    tool: Option<String>,
}

/// How a tree is told apart by what a file of it holds. A file that is not there holds nothing.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Probe {
    file: String,
    holds: Option<String>,
    lacks: Option<String>,
}

/// A file of the kernel without which the graft cannot be built.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Requires {
    /// Its path in the kernel.
    pub file: String,
    /// What it is needed for.
    pub why: String,
}

impl Need {
    fn applies(&self, kernel: &dyn Lower, version: Option<&KernelVersion>) -> bool {
        let within = |have: &KernelVersion| self.kernels.holds(&[have.version, have.patchlevel, have.sublevel]);
        let Some(probe) = &self.probe else { return version.is_some_and(within) };
        let text = text(kernel, &probe.file);
        let has = |wanted: &String| text.as_ref().is_some_and(|text| text.contains(wanted.as_str()));
        probe.holds.as_ref().is_none_or(has) && !probe.lacks.as_ref().is_some_and(has)
    }

    /// The files that are laid over, and the program that comes first on `PATH`.
    fn brings(&self, all: &BTreeMap<String, LowerFile>) -> (BTreeMap<String, LowerFile>, Option<(String, Tool)>) {
        let prefix = format!("{}/", self.files);
        let mut files: BTreeMap<String, LowerFile> = all
            .iter()
            .filter_map(|(path, file)| Some((path.strip_prefix(&prefix)?.to_owned(), file.clone())))
            .collect();
        let tool = self.tool.as_ref().and_then(|name| {
            let script = String::from_utf8(files.remove(name)?.bytes).ok()?;
            Some((name.clone(), Tool { name: name.clone(), script: Some(script), path: None }))
        });
        (files, tool)
    }
}

static ALL: LazyLock<BTreeMap<String, LowerFile>> = LazyLock::new(graft_files);
static ALL_X86: LazyLock<BTreeMap<String, LowerFile>> = LazyLock::new(graft_x86_files);

static WRITTEN: LazyLock<Versions> = LazyLock::new(|| written(&ALL));
static WRITTEN_X86: LazyLock<Versions> = LazyLock::new(|| written(&ALL_X86));

fn written(all: &BTreeMap<String, LowerFile>) -> Versions {
    let text = all.get(VERSIONS).map(|file| String::from_utf8_lossy(&file.bytes).into_owned());
    toml::from_str(&text.unwrap_or_default()).expect("the graft's versions.toml is built in, and a test reads it")
}

/// Where a file made for `ARCH=graft` is in a graft for `arch`, if it is there.
fn shared(arch: GraftArch, path: &str) -> Option<String> {
    match arch {
        GraftArch::Graft => Some(path.to_owned()),
        GraftArch::X86 => SHARED.iter().find_map(|(from, to)| Some(format!("{to}{}", path.strip_prefix(from)?))),
    }
}

/// What lies over a kernel to make it a graft.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Graft {
    /// Files, by path.
    pub files: BTreeMap<String, LowerFile>,
    /// What is added at the end of a kernel's file, by its path.
    pub appended: BTreeMap<String, Vec<u8>>,
    /// Programs that come first on `PATH`, by name.
    pub tools: BTreeMap<String, Tool>,
    /// Which needs of its version were met, each with the reason.
    pub needs: BTreeMap<String, String>,
}

/// What lies over this kernel.
#[must_use]
pub fn of(kernel: &dyn Lower, arch: GraftArch) -> Graft {
    let version = version(kernel);
    let mut graft = Graft::default();
    let own = |path: &String| path != VERSIONS && !path.starts_with(LAID_OVER);
    let placed = |path: &String, file: &LowerFile| Some((shared(arch, path)?, file.clone()));
    graft.files.extend(ALL.iter().filter(|(path, _)| own(path)).filter_map(|(path, file)| placed(path, file)));
    for need in WRITTEN.need.iter().filter(|need| need.applies(kernel, version.as_ref())) {
        let (files, tool) = need.brings(&ALL);
        graft.files.extend(files.iter().filter_map(|(path, file)| placed(path, file)));
        graft.tools.extend(tool);
        graft.needs.insert(need.id.clone(), need.why.clone());
    }
    if arch == GraftArch::X86 {
        for (path, file) in ALL_X86.iter().filter(|(path, _)| own(path)) {
            match path.strip_prefix(APPENDED) {
                Some(path) => _ = graft.appended.insert(path.to_owned(), file.bytes.clone()),
                None => _ = graft.files.insert(path.clone(), file.clone()),
            }
        }
    }
    graft
}

/// The files that the graft needs of a kernel and this one has not.
#[must_use]
pub fn missing(kernel: &dyn Lower, arch: GraftArch) -> Vec<Requires> {
    let there = |path: &str| matches!(kernel.read(path), Ok(Some(_)));
    let of_x86 = if arch == GraftArch::X86 { WRITTEN_X86.requires.as_slice() } else { &[] };
    WRITTEN.requires.iter().chain(of_x86).filter(|requires| !there(&requires.file)).cloned().collect()
}

/// Why this kernel's kbuild cannot build the graft, if a file that it takes is not there.
#[must_use]
pub fn cannot(kernel: &dyn Lower, arch: GraftArch) -> Option<String> {
    let missing = missing(kernel, arch);
    let first = missing.first()?;
    let version = version(kernel).map_or(String::new(), |version| format!(" of {version}"));
    let more = if missing.len() > 1 { format!(" (and {} more)", missing.len() - 1) } else { String::new() };
    Some(format!(
        "the graft cannot be built by the kbuild{version}: `{}` is not there{more}: {}",
        first.file, first.why
    ))
}

fn version(kernel: &dyn Lower) -> Option<KernelVersion> {
    KernelVersion::from_makefile(&text(kernel, "Makefile")?)
}

fn text(kernel: &dyn Lower, path: &str) -> Option<String> {
    kernel.read(path).ok().flatten().map(|file| String::from_utf8_lossy(&file.bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    /// A kernel of a few files.
    struct Kernel(BTreeMap<&'static str, String>);

    impl Lower for Kernel {
        fn read(&self, path: &str) -> io::Result<Option<LowerFile>> {
            Ok(self.0.get(path).map(|text| LowerFile { bytes: text.clone().into_bytes(), mode: 0o644 }))
        }
        fn below(&self, _: &str) -> io::Result<Vec<String>> {
            Ok(Vec::new())
        }
        fn names(&self, _: &str) -> io::Result<Vec<String>> {
            Ok(Vec::new())
        }
    }

    fn kernel(version: &str, files: &[(&'static str, &str)]) -> Kernel {
        let (major, minor) = version.split_once('.').expect("two numbers");
        let makefile = format!("VERSION = {major}\nPATCHLEVEL = {minor}\nSUBLEVEL = 0\n");
        let mut all = BTreeMap::from([("Makefile", makefile)]);
        all.extend(files.iter().map(|(path, text)| (*path, (*text).to_owned())));
        Kernel(all)
    }

    #[test]
    fn what_is_written_is_complete() {
        let mut used = Vec::new();
        for need in &WRITTEN.need {
            let (files, tool) = need.brings(&ALL);
            assert!(!files.is_empty() || tool.is_some(), "`{}` brings nothing", need.id);
            assert_eq!(tool.is_some(), need.tool.is_some(), "`{}`: the tool is not in `{}`", need.id, need.files);
            assert!(need.why.len() > 20, "`{}` says no reason", need.id);
            let probe = need.probe.as_ref();
            assert!(probe.is_none_or(|p| p.holds.is_some() != p.lacks.is_some()), "`{}`: `holds` or `lacks`", need.id);
            // What is laid over is a file that every kernel gets, or the graft would differ by more than it says.
            for path in files.keys() {
                assert!(ALL.contains_key(path), "`{}` brings `{path}`, which other kernels do not have", need.id);
            }
            used.push(format!("{}/", need.files));
        }
        let stray = |path: &&String| path.starts_with(LAID_OVER) && !used.iter().any(|dir| path.starts_with(dir));
        assert_eq!(ALL.keys().find(stray), None, "no need uses it");
    }

    #[test]
    fn what_a_file_holds_decides_over_the_release() {
        let bare = ("include/linux/module.h", "#define MODULE_IMPORT_NS(ns) MODULE_INFO(import_ns, __stringify(ns))\n");
        let quoted = ("include/linux/module.h", "#define MODULE_IMPORT_NS(ns) MODULE_INFO(import_ns, ns)\n");
        let header = "arch/graft/include/linux/graft-namespace.h";
        let text =
            |kernel: &Kernel| String::from_utf8_lossy(&of(kernel, GraftArch::Graft).files[header].bytes).into_owned();
        // A commit of the merge window of 6.13 still calls itself 6.12.
        assert!(text(&kernel("6.12", &[bare])).contains("__stringify"));
        assert!(!text(&kernel("6.12", &[quoted])).contains("__stringify"));
        assert!(!text(&kernel("7.2", &[quoted])).contains("__stringify"));
    }

    #[test]
    fn an_old_kernel_gets_its_pahole_wrapper_and_a_new_one_does_not() {
        let old = of(&kernel("6.1", &[]), GraftArch::Graft);
        assert!(old.tools["pahole"].script.as_ref().is_some_and(|script| script.starts_with("#!/bin/sh")));
        assert!(!old.files.contains_key("pahole") && old.needs.contains_key("pahole-jobs"));
        let new =
            of(&kernel("7.2", &[("scripts/Makefile.btf", "ifeq ($(KBUILD_BUILD_TIMESTAMP),)\n")]), GraftArch::Graft);
        assert!(new.tools.is_empty());
        assert!(new.files.keys().all(|path| !path.starts_with(LAID_OVER) && path != VERSIONS));
    }

    #[test]
    fn a_kernel_without_a_required_file_is_told_by_it() {
        let files: Vec<(&'static str, &str)> = WRITTEN.requires.iter().map(|r| (r.file.as_str(), "")).collect();
        assert_eq!(cannot(&kernel("6.1", &files), GraftArch::Graft), None);
        let without: Vec<_> = files.into_iter().filter(|(path, _)| *path != "scripts/Makefile.vmlinux").collect();
        let told = cannot(&kernel("5.4", &without), GraftArch::Graft).expect("a file is missing");
        assert!(
            told.starts_with("the graft cannot be built by the kbuild of 5.4.0: `scripts/Makefile.vmlinux` is not"),
            "{told}"
        );
        let told = cannot(&kernel("2.6", &[]), GraftArch::Graft).expect("files are missing");
        assert!(told.contains("`Kconfig`") && told.contains("more)"), "{told}");
    }

    #[test]
    fn x86_has_the_sources_of_the_graft_and_the_architecture_of_the_kernel() {
        assert!(WRITTEN_X86.need.is_empty(), "met for `ARCH=x86` only when `of` looks at them");
        let graft = of(&kernel("6.1", &[]), GraftArch::X86);
        let other = |path: &&String| path.starts_with("arch/graft/") || path.starts_with(APPENDED) || *path == VERSIONS;
        assert_eq!(graft.files.keys().find(other), None);
        // The boot code of a kernel includes it.
        assert!(!graft.files.contains_key("lib/ctype.c"));
        // Shared files and what lies over them for a version, at the place where this architecture looks.
        assert!(graft.files.contains_key("graft/modules/kfuncs.c") && graft.tools.contains_key("pahole"));
        let kfuncs = &graft.files["arch/x86/include/linux/graft-kfuncs.h"];
        assert!(String::from_utf8_lossy(&kfuncs.bytes).contains("BTF_SET8_START"));
        assert!(graft.appended["Kbuild"].starts_with(b"\n"), "a line of its own after whatever the kernel's ends with");
        for (from, _) in SHARED {
            assert!(ALL.keys().any(|path| path.starts_with(from)), "nothing is shared by `{from}`");
        }
        let told = cannot(&kernel("5.4", &[]), GraftArch::X86).expect("files are missing");
        assert_ne!(cannot(&kernel("5.4", &[]), GraftArch::Graft), Some(told));
    }
}
