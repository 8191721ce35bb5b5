//! The table of tools: what they are for, who needs them, how to ask their version, which package has them.

use serde::Serialize;

/// What a run needs of the host's tools.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Need {
    /// The built-in `mini` trees.
    Mini,
    /// `mini` trees whose modules carry BTF.
    MiniBtf,
    /// A kernel's kbuild on the built-in sources.
    Graft,
    /// Whole kernels.
    Kernel,
    /// Sources from Debian's archive.
    DebianSource,
    /// Sources from tarballs.
    Tarball,
    /// Sources from git.
    Git,
}

impl Need {
    /// All of them, the cheapest first.
    pub const ALL: [Self; 7] =
        [Self::Mini, Self::MiniBtf, Self::Graft, Self::Kernel, Self::DebianSource, Self::Tarball, Self::Git];

    /// What cannot be done without it.
    #[must_use]
    pub fn costs(self) -> &'static str {
        match self {
            Self::Mini => "no `mini` scenarios",
            Self::MiniBtf => "no `mini` scenarios with BTF",
            Self::Graft => "no `graft` scenarios",
            Self::Kernel => "no whole kernels",
            Self::DebianSource => "no `debian:` sources",
            Self::Tarball => "no sources from tarballs",
            Self::Git => "no sources from git",
        }
    }
}

/// How a tool is found, and how it is asked for its version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probe {
    /// A program on the search path, and the arguments that make it say its version.
    Program(&'static [&'static str]),
    /// A header in the compiler's directories, and the header and macro that hold its version.
    Header {
        /// As it is included, e.g. `gelf.h`.
        header: &'static str,
        /// E.g. `elfutils/version.h` and `_ELFUTILS_VERSION`.
        version: Option<(&'static str, &'static str)>,
    },
}

/// Whether a tool can be done without.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Weight {
    /// Needed by all that names it.
    Required,
    /// Needed by some configurations or goals; missing, it is told but not installed.
    Optional,
}

/// One line of [`TOOLS`].
#[derive(Debug, Clone, Copy)]
pub struct Tool {
    /// The program or header.
    pub name: &'static str,
    /// Package names: Debian, Fedora, openSUSE, Arch, Alpine.
    pub packages: [&'static str; 5],
    /// How to find it.
    pub probe: Probe,
    /// Numbers of the version that matter to what is built: 1 for compilers, 2 for the rest.
    pub key: usize,
    /// What it does in a build.
    pub why: &'static str,
    /// Who needs it.
    pub needs: &'static [Need],
    /// How much.
    pub weight: Weight,
}

impl Tool {
    /// Whether builds run it: they look for it on a search path of their own. What only the harness runs is on the user's.
    #[must_use]
    pub fn is_for_builds(&self) -> bool {
        let builds = [Need::Mini, Need::MiniBtf, Need::Graft, Need::Kernel];
        self.needs.iter().any(|need| builds.contains(need)) || matches!(self.name, "clang" | "ld.lld")
    }
}

const VERSION: Probe = Probe::Program(&["--version"]);
const BUILD: &[Need] = &[Need::Mini, Need::Graft, Need::Kernel];
const KBUILD: &[Need] = &[Need::Graft, Need::Kernel];
const KERNEL: &[Need] = &[Need::Kernel];
const ARCHIVES: &[Need] = &[Need::DebianSource, Need::Tarball];

const fn tool(
    name: &'static str,
    packages: [&'static str; 5],
    probe: Probe,
    why: &'static str,
    needs: &'static [Need],
) -> Tool {
    Tool { name, packages, probe, key: 2, why, needs, weight: Weight::Required }
}

const fn optional(tool: Tool) -> Tool {
    Tool { weight: Weight::Optional, ..tool }
}

const fn same(name: &'static str) -> [&'static str; 5] {
    [name; 5]
}

/// Every tool the harness or a build under test may use. The kernel's own list is
/// `Documentation/process/changes.rst`.
pub const TOOLS: &[Tool] = &[
    tool("make", same("make"), VERSION, "runs the build", BUILD),
    Tool { key: 1, ..tool("gcc", same("gcc"), Probe::Program(&["-dumpfullversion"]), "compiles", BUILD) },
    tool("ld", same("binutils"), VERSION, "links", BUILD),
    tool("nm", same("binutils"), VERSION, "lists symbols", BUILD),
    tool("objcopy", same("binutils"), VERSION, "adds and strips sections", BUILD),
    tool("ar", same("binutils"), VERSION, "makes archives", KBUILD),
    tool(
        "awk",
        ["mawk", "gawk", "gawk", "gawk", "gawk"],
        Probe::Program(&["-W", "version"]),
        "edits build metadata",
        BUILD,
    ),
    tool("sed", same("sed"), VERSION, "edits build metadata", BUILD),
    tool(
        "stdio.h",
        ["libc6-dev", "glibc-devel", "glibc-devel", "glibc", "musl-dev"],
        Probe::Header { header: "stdio.h", version: None },
        "the C library for programs that run during the build",
        KBUILD,
    ),
    tool(
        "pahole",
        ["pahole", "dwarves", "dwarves", "pahole", "pahole"],
        VERSION,
        "resolves BTF type information: vmlinux and modules",
        &[Need::MiniBtf, Need::Graft, Need::Kernel],
    ),
    tool("flex", same("flex"), VERSION, "makes kconfig's and dtc's scanners", KBUILD),
    tool("bison", same("bison"), VERSION, "makes kconfig's and dtc's parsers", KBUILD),
    tool("bc", same("bc"), VERSION, "computes timeconst.h", KBUILD),
    tool("perl", same("perl"), Probe::Program(&["-e", "printf '%vd', $^V"]), "generates sources", KERNEL),
    tool("python3", ["python3", "python3", "python3", "python", "python3"], VERSION, "generates sources", KERNEL),
    tool(
        "gelf.h",
        ["libelf-dev", "elfutils-libelf-devel", "libelf-devel", "libelf", "elfutils-dev"],
        Probe::Header { header: "gelf.h", version: Some(("elfutils/version.h", "_ELFUTILS_VERSION")) },
        "objtool and resolve_btfids read and write ELF with libelf",
        KBUILD,
    ),
    tool(
        "zlib.h",
        ["zlib1g-dev", "zlib-devel", "zlib-devel", "zlib", "zlib-dev"],
        Probe::Header { header: "zlib.h", version: Some(("zlib.h", "ZLIB_VERSION")) },
        "resolve_btfids links with zlib",
        KBUILD,
    ),
    tool("openssl", same("openssl"), Probe::Program(&["version"]), "makes the module signing key", KERNEL),
    tool(
        "openssl/opensslv.h",
        ["libssl-dev", "openssl-devel", "libopenssl-devel", "openssl", "openssl-dev"],
        Probe::Header { header: "openssl/opensslv.h", version: Some(("openssl/opensslv.h", "OPENSSL_VERSION_STR")) },
        "sign-file and extract-cert are compiled against libcrypto",
        KERNEL,
    ),
    tool("cpio", same("cpio"), VERSION, "packs kheaders and the initramfs", KERNEL),
    tool("depmod", same("kmod"), VERSION, "modules_install", KERNEL),
    optional(tool("rsync", same("rsync"), VERSION, "headers_install", KERNEL)),
    tool("tar", same("tar"), VERSION, "unpacks sources", ARCHIVES),
    tool(
        "xz",
        ["xz-utils", "xz", "xz", "xz", "xz"],
        VERSION,
        "unpacks sources, compresses modules and images",
        &[Need::Kernel, Need::DebianSource, Need::Tarball],
    ),
    optional(tool("gzip", same("gzip"), VERSION, "unpacks .tar.gz", &[Need::Tarball])),
    optional(tool("bzip2", same("bzip2"), VERSION, "unpacks .tar.bz2", &[Need::Tarball])),
    optional(tool("zstd", same("zstd"), VERSION, "unpacks .tar.zst", &[Need::Tarball])),
    tool("dpkg-deb", same("dpkg"), VERSION, "unpacks Debian packages", &[Need::DebianSource]),
    tool("apt-get", same("apt"), VERSION, "finds and downloads Debian packages", &[Need::DebianSource]),
    optional(tool("curl", same("curl"), VERSION, "continues an interrupted download", &[Need::DebianSource])),
    tool("git", same("git"), VERSION, "reads kernel revisions", &[Need::Git]),
    optional(Tool { key: 1, ..tool("clang", same("clang"), VERSION, "compiles, with LLVM=1", &[]) }),
    optional(Tool { key: 1, ..tool("ld.lld", same("lld"), VERSION, "links, with LLVM=1", &[]) }),
    optional(tool("sudo", same("sudo"), VERSION, "installs packages for an ordinary user", &[])),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scenarios_know_the_names_of_all_tools() {
        let names: Vec<_> = TOOLS.iter().map(|tool| tool.name).collect();
        assert_eq!(names, crate::scenario::TOOL_NAMES);
    }
}
