//! Which tools can be unpacked, from where, and how they are started: data.

use crate::scenario::version_fits;

/// A tool that Debian's archive has.
#[derive(Debug, PartialEq, Eq)]
pub struct Offer {
    /// As scenarios call it.
    pub name: &'static str,
    /// The version that scenarios ask for; what is unpacked may have further numbers.
    pub version: &'static str,
    /// Numbers of the version that snapshots and lists of known faults go by.
    pub key: usize,
    /// Suites of Debian that have this version, in the order they are asked.
    pub suites: &'static [&'static str],
    /// What is unpacked, with everything it depends on; the first package's version is the tool's.
    pub packages: &'static [&'static str],
    /// Patterns of packages that it depends on and does not need here: what is linked into programs for the system is
    /// the system's.
    pub without: &'static [&'static str],
    /// What can be started.
    pub programs: &'static [Program],
    /// Symbolic links beside the programs' directory: name, and where it leads below the root.
    pub links: &'static [(&'static str, &'static str)],
    /// About what is downloaded, bytes.
    pub bytes_download: u64,
    /// About what it takes on disk, bytes.
    pub bytes_unpacked: u64,
}

/// A program of a tool.
#[derive(Debug, PartialEq, Eq)]
pub struct Program {
    /// The name it is called by.
    pub name: &'static str,
    /// Where it is below the root.
    pub path: &'static str,
    /// What it is told first, unless it starts itself again with `-cc1`.
    pub option: Option<&'static str>,
}

const fn program(name: &'static str, path: &'static str) -> Program {
    Program { name, path, option: None }
}

/// clang takes its place from `/proc/self/exe`, which is the loader; so it is told to go by its name, and finds its
/// headers by the link `lib` and the linker beside itself.
const fn clang(name: &'static str) -> Program {
    Program { option: Some("-no-canonical-prefixes"), ..program(name, "usr/lib/llvm-19/bin/clang") }
}

const PAHOLE: Offer = Offer {
    name: "pahole",
    version: "",
    key: 2,
    suites: &[],
    packages: &["pahole"],
    without: &[],
    programs: &[program("pahole", "usr/bin/pahole")],
    links: &[],
    bytes_download: 5_000_000,
    bytes_unpacked: 22_000_000,
};

const MAKE: Offer = Offer { name: "make", packages: &["make"], programs: &[program("make", "usr/bin/make")], ..PAHOLE };

/// Every tool that can be unpacked, newest version last.
pub const OFFERS: &[Offer] = &[
    Offer { version: "1.24", suites: &["bookworm"], ..PAHOLE },
    Offer { version: "1.30", suites: &["trixie"], ..PAHOLE },
    Offer { version: "1.32", suites: &["sid", "forky"], ..PAHOLE },
    Offer { version: "4.3", suites: &["bookworm"], ..MAKE },
    Offer { version: "4.4", suites: &["trixie", "sid"], ..MAKE },
    Offer {
        name: "clang",
        version: "19",
        key: 1,
        // The newest of bookworm; 7.2 wants 17.0.1 or later (scripts/min-tool-version.sh).
        suites: &["bookworm", "trixie"],
        packages: &["clang-19", "lld-19", "llvm-19"],
        without: &[
            "binutils*",
            "libc-dev-bin",
            "libc6-dev",
            "libcrypt-dev",
            "libgcc-*-dev",
            "libnsl*",
            "libobjc*",
            "libstdc++-*-dev",
            "libtirpc*",
            "linux-libc-dev",
            "rpcsvc-proto",
        ],
        programs: &[
            clang("clang"),
            clang("clang++"),
            program("ld.lld", "usr/lib/llvm-19/bin/lld"),
            program("llvm-ar", "usr/lib/llvm-19/bin/llvm-ar"),
            program("llvm-nm", "usr/lib/llvm-19/bin/llvm-nm"),
            program("llvm-objcopy", "usr/lib/llvm-19/bin/llvm-objcopy"),
            program("llvm-objdump", "usr/lib/llvm-19/bin/llvm-objdump"),
            program("llvm-readelf", "usr/lib/llvm-19/bin/llvm-readobj"),
            program("llvm-strip", "usr/lib/llvm-19/bin/llvm-objcopy"),
        ],
        links: &[("lib", "usr/lib/llvm-19/lib")],
        bytes_download: 105_000_000,
        bytes_unpacked: 420_000_000,
    },
];

/// Tools that a path can name. They are no offer: nobody has them but who built them.
pub(super) const OWN: &[Offer] = &[Offer { version: "own", ..PAHOLE }, Offer { version: "own", ..MAKE }];

impl Offer {
    /// `pahole-1.30`: its name on the command line and in the cache.
    #[must_use]
    pub fn id(&self) -> String {
        format!("{}-{}", self.name, self.version)
    }

    /// The offer that a scenario's choice is met by: any version where none is asked for.
    #[must_use]
    pub fn find(name: &str, version: Option<&str>) -> Option<&'static Self> {
        // `4.4.1` is served by 4.4 if that is what the archive has, which shows after the look-up.
        let fits =
            |offer: &&Self| version.is_none_or(|v| version_fits(v, offer.version) || version_fits(offer.version, v));
        OFFERS.iter().rev().filter(|offer| offer.name == name).find(fits)
    }

    /// The offer of this id.
    #[must_use]
    pub fn by_id(id: &str) -> Option<&'static Self> {
        OFFERS.iter().find(|offer| offer.id() == id)
    }

    /// The ids of a tool's offers, or of all.
    #[must_use]
    pub fn ids(name: Option<&str>) -> Vec<String> {
        OFFERS.iter().filter(|offer| name.is_none_or(|name| offer.name == name)).map(Self::id).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_table_is_sound() {
        let ids: BTreeSet<String> = OFFERS.iter().map(Offer::id).collect();
        assert_eq!(ids.len(), OFFERS.len(), "an id twice");
        for offer in OFFERS {
            assert!(!offer.suites.is_empty() && !offer.packages.is_empty() && !offer.programs.is_empty(), "{offer:?}");
            assert_eq!(Offer::by_id(&offer.id()), Some(offer));
            let paths = offer.programs.iter().map(|p| p.path).chain(offer.links.iter().map(|(_, to)| *to));
            for path in paths {
                assert!(!path.starts_with('/') && !path.contains(".."), "{path}");
            }
        }
    }

    #[test]
    fn a_choice_is_met_by_version() {
        let id = |name, version| Offer::find(name, version).map(Offer::id);
        assert_eq!(id("pahole", Some("1.30")).as_deref(), Some("pahole-1.30"));
        assert_eq!(id("pahole", Some("1.3")), None, "not a beginning of 1.30");
        assert_eq!(id("pahole", Some("1")).as_deref(), Some("pahole-1.32"));
        assert_eq!(id("make", Some("4.4.1")).as_deref(), Some("make-4.4"));
        assert_eq!(id("clang", None).as_deref(), Some("clang-19"));
        assert_eq!(id("gcc", None), None);
        assert_eq!(Offer::ids(Some("make")), ["make-4.3", "make-4.4"]);
    }
}
