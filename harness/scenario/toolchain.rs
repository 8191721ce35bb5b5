//! `[toolchain]`: the tools a scenario chooses.

use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::versions::is_version;

/// Tools that the build is to be made with, where another than the system's matters. What the system does not have is
/// unpacked from Debian's archive, beside the system and never into it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Toolchain {
    /// pahole, by its version: `1.30` is any 1.30.x; or one of the host, by its absolute path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pahole: Option<String>,
    /// `gcc` with binutils (the default), or `clang` with lld and LLVM's binutils: `LLVM=1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compiler: Option<Compiler>,
    /// GNU make, by its version: `4.4` is any 4.4.x; or one of the host, by its absolute path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub make: Option<String>,
}

/// The compiler and what goes with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Compiler {
    /// gcc and binutils.
    Gcc,
    /// clang, lld and LLVM's binutils.
    Clang,
}

impl Compiler {
    /// As it is written in a scenario.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gcc => "gcc",
            Self::Clang => "clang",
        }
    }
}

/// A tool as a scenario asks for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted<'a> {
    /// `pahole`, `clang` or `make`.
    pub name: &'static str,
    /// Its version or the beginning of it, or the program's path; any if `None`.
    pub version: Option<&'a str>,
}

impl Wanted<'_> {
    /// The program itself, where a path names it.
    #[must_use]
    pub fn program(&self) -> Option<&Path> {
        self.version.filter(|version| version.starts_with('/')).map(Path::new)
    }
}

impl std::fmt::Display for Wanted<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)?;
        self.version.map_or(Ok(()), |version| write!(f, " {version}"))
    }
}

impl Toolchain {
    /// Whether nothing is chosen.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether the compiler is clang.
    #[must_use]
    pub fn is_clang(&self) -> bool {
        self.compiler == Some(Compiler::Clang)
    }

    /// The tools that are chosen. gcc is the system's always.
    #[must_use]
    pub fn wanted(&self) -> Vec<Wanted<'_>> {
        let by_version = [("pahole", &self.pahole), ("make", &self.make)];
        let versions =
            by_version.into_iter().filter_map(|(name, v)| Some(Wanted { name, version: Some(v.as_deref()?) }));
        let clang = self.is_clang().then_some(Wanted { name: "clang", version: None });
        versions.chain(clang).collect()
    }
}

/// The tools of which a record has the version, as `tools` and `variants` may name them; of a library it is a header.
pub const TOOL_NAMES: &[&str] = &[
    "make",
    "gcc",
    "ld",
    "nm",
    "objcopy",
    "ar",
    "awk",
    "sed",
    "stdio.h",
    "pahole",
    "flex",
    "bison",
    "bc",
    "perl",
    "python3",
    "gelf.h",
    "zlib.h",
    "openssl",
    "openssl/opensslv.h",
    "cpio",
    "depmod",
    "rsync",
    "tar",
    "xz",
    "gzip",
    "bzip2",
    "zstd",
    "dpkg-deb",
    "apt-get",
    "curl",
    "git",
    "clang",
    "ld.lld",
    "sudo",
];

/// Whether a text can choose a tool: by its version, or by the absolute path of the program.
pub(super) fn is_choice(text: &str) -> bool {
    let is_path = |path: &str| super::path_fault(path).is_none();
    text.strip_prefix('/').map_or_else(|| is_version(text), is_path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_numbers_with_dots() {
        assert!(is_version("1.30") && is_version("4") && is_version("4.4.1"));
        assert!(is_choice("1.30") && is_choice("/opt/pahole/bin/pahole"));
        assert!(!is_choice("./pahole") && !is_choice("/opt/../pahole") && !is_choice("/"));
        for bad in ["", "1.", ".3", "v1.30", "1.30-1", "1.x", "latest"] {
            assert!(!is_version(bad), "{bad}");
        }
    }

    #[test]
    fn what_cannot_be_chosen_is_told_with_a_hint() {
        let told = |toolchain: &str| {
            let text = format!("title = \"t\"\n[tree]\nsrctree = \"mini\"\n{toolchain}\n");
            let errors = crate::scenario::parse("t.toml", &text, &()).expect_err(toolchain);
            let told = errors.0.iter().map(|p| format!("{}; {}", p.message, p.hint.clone().unwrap_or_default()));
            told.collect::<Vec<_>>().join("\n")
        };
        assert!(told("[toolchain]\npahol = \"1.30\"").contains("did you mean `pahole`?"));
        assert!(told("[toolchain]\ncompiler = \"clan\"").contains("did you mean `clang`? possible: gcc, clang"));
        assert!(told("[toolchain]\npahole = \"v1.30\"").starts_with("`v1.30` is no version of pahole"));
        assert!(told("[toolchain]\npahole = 1.30").contains("must be a string"));
        let entry = |meant: &str| told(&format!("[[known]]\nfinding = \"rebuild.stale\"\nwhy = \"w\"\n{meant}"));
        assert!(entry("kernels = [\"v6.12\"]").starts_with("`v6.12` is no version; numbers with dots"));
        assert!(entry("tools = { pahole = \"<= 1.28\" }").starts_with("`<= 1.28` is no version"));
        let of_tool = entry("tools = { gc = \"12\" }");
        assert!(
            of_tool.starts_with("no version of `gc` is recorded; did you mean `gcc`? there are: make, "),
            "{of_tool}"
        );
        let variant = told("[snapshots]\nbtf = [\"a.ko\"]\nvariants = [{ phole = \"1.24\" }]");
        assert!(variant.starts_with("no version of `phole` is recorded; did you mean `pahole`?"), "{variant}");
        let both = told("[toolchain]\nmake = \"4.4\"\n[make]\nprogram = \"gmake\"");
        assert_eq!(both, "`make.program` names another make; leave one of the two out");
    }

    #[test]
    fn what_is_chosen_is_wanted() {
        let all = Toolchain { pahole: Some("1.30".into()), compiler: Some(Compiler::Clang), make: Some("4.4".into()) };
        let shown: Vec<String> = all.wanted().iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["pahole 1.30", "make 4.4", "clang"]);
        assert!(Toolchain { compiler: Some(Compiler::Gcc), ..Toolchain::default() }.wanted().is_empty());
    }
}
