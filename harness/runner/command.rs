//! The commands and the environment of a build: data, not mechanism.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::sandbox;
use crate::scenario::{Scenario, TreeKind};
use crate::tree::source::tools::Unpacked;
use crate::tree::{OBJ, SRC, State, TreePlan};

/// Where programs of the scenario's own are seen, first on `PATH`.
pub(super) const TOOLS: &str = "/build/tools";
/// What is compared in a kbuild tree if the scenario says nothing else.
pub const ARTIFACTS: &[&str] = &[
    "*.ko",
    "vmlinux",
    "Module.symvers",
    "modules.order",
    "modules.builtin",
    "modules.builtin.modinfo",
    "System.map",
    "arch/*/boot/*Image",
];

/// The environment of every build. Without `KBUILD_BUILD_VERSION` the counter in `.version` makes every
/// vmlinux differ; without `LOCALVERSION` `setlocalversion` may add `-dirty`
/// (Documentation/kbuild/reproducible-builds.rst).
#[must_use]
pub fn pinned_environment() -> BTreeMap<String, String> {
    let path = format!("{TOOLS}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    [
        ("PATH", path.as_str()),
        ("HOME", sandbox::HOME),
        ("LC_ALL", "C"),
        ("TZ", "UTC"),
        ("TERM", "dumb"),
        ("SHELL", "/bin/sh"),
        ("USER", "kbuild"),
        ("LOGNAME", "kbuild"),
        ("SOURCE_DATE_EPOCH", "946684800"),
        ("KBUILD_BUILD_TIMESTAMP", "Sat Jan  1 00:00:00 UTC 2000"),
        ("KBUILD_BUILD_USER", "kbuild"),
        ("KBUILD_BUILD_HOST", "repro"),
        ("KBUILD_BUILD_VERSION", "1"),
        ("LOCALVERSION", ""),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .collect()
}

/// Over that, the environment of a graft. Its host tools have little to do, and most of a build from nothing is compiling
/// them: without optimisation in half the time (Documentation/kbuild/kbuild.rst, "HOSTCFLAGS").
const GRAFT_ENVIRONMENT: [(&str, &str); 1] = [("HOSTCFLAGS", "-O0")];

/// What make is told of the compiler that the scenario chose; the scenario's own variables win.
/// `LLVM=1` is kbuild's word (Documentation/kbuild/llvm.rst); other makefiles go by make's own variables (GNU make
/// manual, "Variables Used by Implicit Rules").
fn chosen_variables(scenario: &Scenario, kind: TreeKind) -> &'static [(&'static str, &'static str)] {
    match (scenario.toolchain.is_clang(), kind) {
        (false, _) => &[],
        // The kernel has no line for our architecture (scripts/Makefile.clang).
        (true, TreeKind::Kernel) if scenario.is_graft() => {
            &[("LLVM", "1"), ("CLANG_TARGET_FLAGS_graft", "x86_64-linux-gnu")]
        }
        (true, TreeKind::Kernel) => &[("LLVM", "1")],
        (true, TreeKind::Make) => &[("AR", "llvm-ar"), ("CC", "clang"), ("CXX", "clang++"), ("LD", "ld.lld")],
    }
}

/// A search path with `bins` after the scenario's own programs and before everything else, even where the scenario
/// sets the path: a tool that was chosen is the one that is used.
fn before_the_systems(path: &str, bins: &str) -> String {
    match path.strip_prefix(TOOLS) {
        Some(rest) if rest.is_empty() || rest.starts_with(':') => format!("{TOOLS}:{bins}{rest}"),
        _ if path.is_empty() => bins.to_owned(),
        _ => format!("{bins}:{path}"),
    }
}

/// Composes make command lines for one tree.
#[derive(Debug, Clone)]
pub(super) struct Maker<'a> {
    pub(super) scenario: &'a Scenario,
    pub(super) kind: TreeKind,
    pub(super) in_tree: bool,
    pub(super) src: String,
    pub(super) obj: String,
    /// Tools that are found before the system's.
    pub(super) toolchain: &'a [Unpacked],
}

impl<'a> Maker<'a> {
    pub(super) fn new(scenario: &'a Scenario, plan: &TreePlan, toolchain: &'a [Unpacked], varied: bool) -> Self {
        let experiment = scenario.experiment.as_ref().filter(|_| varied);
        let src = experiment.and_then(|e| e.srctree.clone()).or(scenario.tree.at.clone()).unwrap_or(SRC.into());
        let in_tree = super::in_tree(scenario, plan);
        let obj = if in_tree { src.clone() } else { experiment.and_then(|e| e.objtree.clone()).unwrap_or(OBJ.into()) };
        Self { scenario, kind: plan.kind, in_tree, src, obj, toolchain }
    }

    /// What of the sources a build does not see: with the repository in sight a kernel takes its release from the state
    /// of that (scripts/setlocalversion).
    pub(super) fn hidden(&self) -> &'static [&'static str] {
        if self.kind == TreeKind::Kernel { &[".git"] } else { &[] }
    }

    /// Whether a build sees all of the host, not only where toolchains are.
    pub(super) fn sees_all(&self) -> bool {
        self.scenario.tree.at.is_some()
    }

    /// Directories of the host that a build sees, wherever they are: those the scenario names, and those of its programs.
    pub(super) fn shown(&self, state: &State) -> Vec<PathBuf> {
        let tools = state.tools.values().filter_map(|tool| Path::new(tool.path.as_deref()?).parent());
        self.scenario.tree.host.iter().map(PathBuf::from).chain(tools.map(Path::to_owned)).collect()
    }

    /// Where make is started.
    pub(super) fn cwd(&self) -> String {
        match &self.scenario.make.dir {
            Some(dir) if dir.starts_with('/') => dir.clone(),
            Some(dir) => format!("{}/{dir}", self.src),
            None => self.src.clone(),
        }
    }

    /// `make [O=...] VAR=value... goal...`; jobs come by the job server.
    pub(super) fn make(&self, state: &State, goals: &[String]) -> Vec<String> {
        self.make_with(state, goals, &BTreeMap::new())
    }

    /// The same with variables over those of the state.
    pub(super) fn make_with(&self, state: &State, goals: &[String], vars: &BTreeMap<String, String>) -> Vec<String> {
        let program = self.scenario.make.program.clone().unwrap_or("make".into());
        let mut argv = vec![program];
        if self.kind == TreeKind::Kernel && !self.in_tree {
            argv.push(format!("O={}", self.obj));
        }
        // The scenario's own win over those of its tools.
        let chosen = chosen_variables(self.scenario, self.kind).iter().copied();
        let own = state.vars.iter().chain(vars).map(|(name, value)| (name.as_str(), value.as_str()));
        let all: BTreeMap<&str, &str> = chosen.chain(own).collect();
        argv.extend(all.into_iter().map(|(name, value)| format!("{name}={value}")));
        argv.extend(goals.iter().cloned());
        argv
    }

    /// The environment of a build, without the job server's part.
    pub(super) fn environment(&self, state: &State, varied: bool) -> BTreeMap<String, String> {
        let mut env = pinned_environment();
        if self.scenario.is_graft() {
            env.extend(GRAFT_ENVIRONMENT.map(|(name, value)| (name.to_owned(), value.to_owned())));
        }
        for (name, value) in &state.env {
            match value {
                Some(value) => env.insert(name.clone(), value.clone()),
                None => env.remove(name),
            };
        }
        if let Some(experiment) = self.scenario.experiment.as_ref().filter(|_| varied) {
            env.extend(experiment.env.iter().map(|(name, value)| (name.clone(), value.clone())));
        }
        let bins: Vec<String> = self.toolchain.iter().map(Unpacked::bin).collect();
        if !bins.is_empty() {
            let path = env.entry("PATH".to_owned()).or_default();
            *path = before_the_systems(path, &bins.join(":"));
        }
        env
    }
}

/// A command line as a shell would take it.
#[must_use]
pub fn shown(argv: &[String]) -> String {
    argv.iter().map(|word| quote(word)).collect::<Vec<_>>().join(" ")
}

/// A command line to be pasted into a terminal, on one line: a word with control characters as bash and zsh take it.
#[must_use]
pub fn pasted(argv: &[String]) -> String {
    let word = |word: &String| {
        if !word.chars().any(char::is_control) {
            return quote(word);
        }
        let escaped: String = word
            .chars()
            .map(|c| match c {
                '\n' => "\\n".to_owned(),
                '\t' => "\\t".to_owned(),
                '\\' | '\'' => format!("\\{c}"),
                c if c.is_control() => format!("\\u{:04x}", u32::from(c)),
                c => c.to_string(),
            })
            .collect();
        format!("$'{escaped}'")
    };
    argv.iter().map(word).collect::<Vec<_>>().join(" ")
}

pub(super) fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=./:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    // NAME='value' reads better than 'NAME=value'.
    match word.split_once('=') {
        Some((name, value)) if !name.is_empty() && name.chars().all(plain) => format!("{name}={}", single(value)),
        _ => single(word),
    }
}

pub(super) fn single(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::{before_the_systems, shown};

    #[test]
    fn chosen_tools_come_after_the_scenarios_own_and_before_the_systems() {
        let path = |path| before_the_systems(path, "/t/bin");
        assert_eq!(path("/build/tools:/usr/bin"), "/build/tools:/t/bin:/usr/bin");
        assert_eq!(path("/build/tools"), "/build/tools:/t/bin");
        assert_eq!(path("/usr/bin"), "/t/bin:/usr/bin");
        assert_eq!(path("/build/toolsmith:/usr/bin"), "/t/bin:/build/toolsmith:/usr/bin");
        assert_eq!(path(""), "/t/bin");
    }

    #[test]
    fn command_lines_are_shown_as_a_shell_takes_them() {
        let argv = ["make", "O=/build/obj", "LDFLAGS_MODULE=--x -T it's", "modules", ""];
        let argv: Vec<String> = argv.iter().map(ToString::to_string).collect();
        assert_eq!(shown(&argv), "make O=/build/obj LDFLAGS_MODULE='--x -T it'\\''s' modules ''");
    }
}
