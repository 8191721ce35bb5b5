//! The whole picture of what this host can do: one model, rendered as text or as JSON.

mod text;

use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::bootstrap;
use super::host::{Host, Missing, Need, TOOLS, Weight, missing};
use text::size;

use crate::runner::prepared::Usage;
use crate::runner::results::Held;
use crate::tree::source::tools::{OFFERS, Tools};
use crate::tree::source::{SourceSpec, Sources, Status};

/// A whole kernel's build needs about this much of scratch, bytes.
const SCRATCH_WANTED: u64 = 4 << 30;
/// Open files that a parallel build with a tracer needs.
const NOFILE_WANTED: u64 = 1024;

/// Everything `doctor` knows. Sizes are bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Doctor {
    /// The version of this format.
    pub format: u32,
    /// The machine.
    pub machine: Machine,
    /// What can be run here, by need.
    pub abilities: Vec<Ability>,
    /// Every tool, in the order of [`TOOLS`].
    pub tools: Vec<ToolRow>,
    /// What installs the missing required tools, if there are any and the package manager is known.
    pub install: Option<String>,
    /// Where things are written.
    pub disks: Vec<Disk>,
    /// Resource limits, getrlimit(2).
    pub limits: Vec<Limit>,
    /// What the sandbox may do.
    pub capabilities: Vec<Capability>,
    /// Kernel sources, cached or known.
    pub sources: Vec<SourceRow>,
    /// Tools that scenarios can choose and that are not the system's.
    pub unpacked: Vec<UnpackedRow>,
    /// The prepared states of grafts.
    pub prepared: Option<Usage>,
    /// Results of clean builds that need not be made again.
    pub results: Option<Held>,
    /// What is unusual and not a fault.
    pub notes: Vec<String>,
}

/// The machine and its system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Machine {
    /// `Debian GNU/Linux 12 (bookworm)`.
    pub system: String,
    /// The running kernel.
    pub kernel: String,
    /// `x86_64`.
    pub arch: String,
    /// Processors this process may use.
    pub cpus: usize,
    /// Memory, or the control group's share of it; `None` without `/proc`.
    pub memory: Option<u64>,
    /// Memory that can be had without swapping.
    pub memory_available: Option<u64>,
    /// The effective user id.
    pub uid: u32,
}

/// Whether the tools for a need are there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Ability {
    /// What is to be done.
    pub need: Need,
    /// Whether it can be.
    pub able: bool,
    /// The required tools that are missing.
    pub missing: Vec<&'static str>,
}

/// One tool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ToolRow {
    /// Its name.
    pub name: &'static str,
    /// Whether builds need it or can do without.
    pub weight: Weight,
    /// What it is for.
    pub why: &'static str,
    /// Where it is; `None`: missing.
    pub path: Option<PathBuf>,
    /// What it says its version is; empty when it says none.
    pub version: String,
    /// The package to install when it is missing.
    pub package: Option<&'static str>,
    /// What cannot be done without it, when it is missing.
    pub costs: Vec<&'static str>,
}

/// A place and its file system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Disk {
    /// `scratch`, `cache` or `state`.
    pub what: &'static str,
    /// The directory; it need not exist yet.
    pub path: PathBuf,
    /// As in `/proc/self/mountinfo`, e.g. `ext4`; `unknown` without it.
    pub file_system: String,
    /// What an ordinary user may still write.
    pub free: u64,
    /// The size of the file system.
    pub total: u64,
    /// What is wrong with it, if anything.
    pub problem: Option<String>,
}

/// A resource limit; `None` is unlimited.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Limit {
    /// Its name in ulimit's words.
    pub name: &'static str,
    /// In effect.
    pub soft: Option<u64>,
    /// As far as it can be raised.
    pub hard: Option<u64>,
    /// What is wrong with it, if anything.
    pub problem: Option<String>,
}

/// Something the sandbox needs of the kernel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Capability {
    /// E.g. `overlay`.
    pub name: String,
    /// Whether it works here.
    pub works: bool,
    /// Why not.
    pub reason: Option<String>,
    /// What helps.
    pub hint: Option<String>,
}

/// A kernel source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SourceRow {
    /// As a scenario names it.
    pub spec: String,
    /// Whether it is at hand.
    pub state: SourceState,
    /// The kernel's version, where it is known.
    pub kernel: Option<String>,
    /// Where it is.
    pub path: Option<PathBuf>,
    /// Bytes in its files, or on disk after a fetch (about).
    pub bytes: u64,
    /// What fetches it, or why it cannot be used.
    pub remark: Option<String>,
}

/// A tool beside the system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UnpackedRow {
    /// As `fetch` names it.
    pub spec: String,
    /// Its exact version, when it is in the cache.
    pub version: Option<String>,
    /// Where it is.
    pub path: Option<PathBuf>,
    /// Bytes in its files, or on disk after a fetch (about).
    pub bytes: u64,
    /// What fetches it, when it is not there.
    pub remark: Option<String>,
}

/// Whether a source is at hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SourceState {
    /// In the cache.
    Cached,
    /// A directory used where it is.
    Ready,
    /// To be fetched.
    Absent,
    /// Cannot be used.
    Unusable,
}

/// What the sandbox stage found out: names, and for what does not work the reason and a hint.
pub type Capabilities = [(String, Result<(), (String, String)>)];

/// Looks at everything. Reads `/proc` and file system sizes; starts nothing.
#[must_use]
pub fn examine(host: &Host, capabilities: &Capabilities, sources: Vec<SourceRow>) -> Doctor {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let meminfo = read("/proc/meminfo");
    let total = meminfo_value(&meminfo, "MemTotal");
    let group = cgroup_limit();
    let memory = match (total, group) {
        (Some(total), Some(group)) => Some(total.min(group)),
        (total, group) => total.or(group),
    };
    let mut notes = host.paths.notes.clone();
    if let (Some(total), Some(group)) = (total, group)
        && group < total
    {
        notes.push(format!("the control group allows {} of {} memory", size(group), size(total)));
    }
    let absent = missing(host, &Need::ALL);
    let plan = bootstrap::plan(host, &Need::ALL);
    let mountinfo = read("/proc/self/mountinfo");
    let places = [("scratch", &host.paths.scratch), ("cache", &host.paths.cache), ("state", &host.paths.state)];
    Doctor {
        format: 1,
        machine: Machine {
            system: host.os_release.pretty.clone(),
            kernel: host.kernel.clone(),
            arch: host.arch.clone(),
            cpus: host.cpus,
            memory,
            memory_available: meminfo_value(&meminfo, "MemAvailable").map(|a| memory.map_or(a, |m| a.min(m))),
            uid: host.uid,
        },
        abilities: Need::ALL.into_iter().map(|need| ability(host, need)).collect(),
        tools: tool_rows(host, &absent),
        install: (!plan.command.is_empty()).then(|| plan.shown()),
        disks: places.into_iter().map(|(what, path)| disk(what, path, &mountinfo)).collect(),
        limits: limits(),
        capabilities: capabilities
            .iter()
            .map(|(name, result)| Capability {
                name: name.clone(),
                works: result.is_ok(),
                reason: result.as_ref().err().map(|e| e.0.clone()),
                hint: result.as_ref().err().map(|e| e.1.clone()).filter(|h| !h.is_empty()),
            })
            .collect(),
        sources,
        unpacked: Vec::new(),
        prepared: None,
        results: None,
        notes,
    }
}

/// The sources in the cache, and those of `known` that are not there. No network.
#[must_use]
pub fn source_rows(sources: &Sources, known: &[SourceSpec]) -> Vec<SourceRow> {
    let mut rows: Vec<SourceRow> = sources
        .entries()
        .into_iter()
        .map(|e| SourceRow {
            spec: e.marker.spec,
            state: SourceState::Cached,
            kernel: Some(e.marker.kernel),
            path: Some(e.tree),
            bytes: e.marker.bytes,
            remark: None,
        })
        .collect();
    for spec in known {
        let row =
            |state, path, bytes, remark| SourceRow { spec: spec.to_string(), state, kernel: None, path, bytes, remark };
        match sources.lookup(spec) {
            Ok(Status::BuiltIn) => {}
            Ok(Status::Cached(path)) if rows.iter().any(|r| r.path.as_ref() == Some(&path)) => {}
            Ok(Status::Cached(path)) => rows.push(row(SourceState::Cached, Some(path), 0, None)),
            Ok(Status::Ready(path)) => rows.push(row(SourceState::Ready, Some(path), 0, None)),
            Ok(Status::Absent { how, bytes_unpacked, .. }) => {
                rows.push(row(SourceState::Absent, None, bytes_unpacked, Some(how)));
            }
            Err(e) => rows.push(row(SourceState::Unusable, None, 0, Some(e.to_string()))),
        }
    }
    rows
}

/// The tools that can be unpacked; what is in the cache is told by its markers.
#[must_use]
pub fn unpacked_rows(tools: &Tools) -> Vec<UnpackedRow> {
    let there = tools.entries();
    OFFERS
        .iter()
        .map(|offer| {
            let spec = format!("tool:{}", offer.id());
            match there.iter().find(|unpacked| unpacked.offer == offer) {
                Some(unpacked) => UnpackedRow {
                    spec,
                    version: Some(unpacked.marker.version.clone()),
                    path: Some(unpacked.dir.clone()),
                    bytes: unpacked.marker.bytes,
                    remark: None,
                },
                None => UnpackedRow {
                    remark: Some(format!("kbuild-repro fetch {spec}")),
                    spec,
                    version: None,
                    path: None,
                    bytes: offer.bytes_unpacked,
                },
            }
        })
        .collect()
}

impl Doctor {
    /// As JSON, indented, with a final line break.
    ///
    /// # Errors
    /// A path that is not UTF-8.
    pub fn json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string_pretty(self).map(|mut text| {
            text.push('\n');
            text
        })
    }
}

fn ability(host: &Host, need: Need) -> Ability {
    let missing: Vec<_> =
        missing(host, &[need]).into_iter().filter(|m| m.weight == Weight::Required).map(|m| m.tool).collect();
    Ability { need, able: missing.is_empty(), missing }
}

fn tool_rows(host: &Host, absent: &[Missing]) -> Vec<ToolRow> {
    TOOLS
        .iter()
        // What no need names is only of interest when it is there.
        .filter(|t| !t.needs.is_empty() || host.tools.get(t.name).is_some_and(Option::is_some))
        .map(|t| {
            let info = host.tools.get(t.name).and_then(Option::as_ref);
            let absent = absent.iter().find(|m| m.tool == t.name);
            ToolRow {
                name: t.name,
                weight: t.weight,
                why: t.why,
                path: info.map(|i| i.path.clone()),
                version: info.map(|i| i.version.clone()).unwrap_or_default(),
                package: absent.map(|m| m.package),
                costs: absent.map(|m| m.costs.clone()).unwrap_or_default(),
            }
        })
        .collect()
}

fn disk(what: &'static str, path: &Path, mountinfo: &str) -> Disk {
    let existing = path.ancestors().find(|a| a.exists()).unwrap_or(Path::new("/"));
    let real = existing.canonicalize().unwrap_or_else(|_| existing.to_owned());
    let (free, total, read_only) = match rustix::fs::statvfs(&real) {
        Ok(s) => (
            s.f_bavail.saturating_mul(s.f_frsize),
            s.f_blocks.saturating_mul(s.f_frsize),
            s.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY),
        ),
        Err(_) => (0, 0, false),
    };
    let file_system = file_system_of(mountinfo, &real).unwrap_or_else(|| "unknown".into());
    let problem = if read_only {
        Some("the file system is read-only".to_owned())
    } else if free < SCRATCH_WANTED {
        Some(format!("less than the {} that a whole kernel takes", size(SCRATCH_WANTED)))
    } else if what == "scratch" && file_system == "overlay" {
        // Documentation/filesystems/overlayfs.rst, "upper and lower": an overlay cannot be another's upper layer.
        Some("an overlay cannot hold another's upper layer: a tmpfs or a volume can, see `TMPDIR`".to_owned())
    } else {
        None
    };
    Disk { what, path: path.into(), file_system, free, total, problem }
}

fn limits() -> Vec<Limit> {
    use rustix::process::{Resource, getrlimit};
    [
        ("open files", Resource::Nofile, NOFILE_WANTED),
        ("processes", Resource::Nproc, 256),
        ("file size", Resource::Fsize, 2 << 30),
        ("stack", Resource::Stack, 0),
        ("address space", Resource::As, 4 << 30),
    ]
    .into_iter()
    .map(|(name, resource, wanted)| {
        let limit = getrlimit(resource);
        let low = limit.current.is_some_and(|n| n < wanted);
        let problem = low.then(|| format!("builds want {wanted}: see `ulimit`"));
        Limit { name, soft: limit.current, hard: limit.maximum, problem }
    })
    .collect()
}

/// A line of `/proc/meminfo`, bytes.
fn meminfo_value(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(':'))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// The memory limit of this process's control group (Documentation/admin-guide/cgroup-v2.rst, `memory.max`), the
/// tightest on the way to the root.
fn cgroup_limit() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = groups.lines().find_map(|l| l.strip_prefix("0::/"))?;
    Path::new("/sys/fs/cgroup")
        .join(path)
        .ancestors()
        .take_while(|dir| dir.starts_with("/sys/fs/cgroup"))
        .filter_map(|dir| fs::read_to_string(dir.join("memory.max")).ok()?.trim().parse().ok())
        .min()
}

/// The type of the file system that `path` is on, by the longest mount point; the last of equals hides the others.
/// proc_pid_mountinfo(5).
fn file_system_of(mountinfo: &str, path: &Path) -> Option<String> {
    let mut best: Option<(usize, &str)> = None;
    for line in mountinfo.lines() {
        let Some((left, right)) = line.split_once(" - ") else {
            continue;
        };
        let (Some(point), Some(kind)) = (left.split(' ').nth(4), right.split(' ').next()) else {
            continue;
        };
        let point = point.replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\");
        if path.starts_with(&point) && best.is_none_or(|(length, _)| point.len() >= length) {
            best = Some((point.len(), kind));
        }
    }
    best.map(|(_, kind)| kind.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::host::{PackageManager, ToolInfo, tests::fake};

    fn example() -> Doctor {
        let mut host = fake(Path::new("/nowhere"), Path::new("/nowhere")).with_tools();
        for t in TOOLS.iter().filter(|t| t.name != "pahole" && t.name != "rsync") {
            let info =
                ToolInfo { path: Path::new("/bin").join(t.name), version: "1.2".into(), version_key: "1.2".into() };
            host.tools.insert(t.name, Some(info));
        }
        host.paths.notes.push("no home directory".into());
        let capabilities = [
            ("pid namespace".to_owned(), Ok(())),
            ("overlay".to_owned(), Err(("refused: EPERM".to_owned(), "use a volume".to_owned()))),
        ];
        let source = SourceRow {
            spec: "debian:7.3".into(),
            state: SourceState::Absent,
            kernel: None,
            path: None,
            bytes: 1 << 30,
            remark: Some("kbuild-repro fetch debian:7.3".into()),
        };
        let mut doctor = examine(&host, &capabilities, vec![source]);
        // What is this machine's own is replaced.
        doctor.machine.memory = Some(8 << 30);
        doctor.machine.memory_available = None;
        doctor.disks = vec![Disk {
            what: "scratch",
            path: "/tmp".into(),
            file_system: "tmpfs".into(),
            free: 1 << 30,
            total: 2 << 30,
            problem: Some("small".into()),
        }];
        doctor.limits = vec![Limit { name: "open files", soft: Some(512), hard: None, problem: None }];
        doctor.notes.retain(|n| n.starts_with("no home"));
        doctor.prepared = Some(Usage { states: 1, bytes: 17 << 20, bytes_most: 2 << 30, path: "/c/prepared".into() });
        doctor
    }

    #[test]
    fn text_names_what_is_missing_and_what_it_costs() {
        let text = example().text(false);
        for line in [
            "  Debian 12, Linux 6.1.0 on x86_64, user 1000\n",
            "  2 processors, 8.0 GiB memory\n",
            "  ok   mini\n",
            "  ok   1 state  17.0 MiB of at most 2.0 GiB  /c/prepared\n",
            "  no   graft          needs pahole\n",
            "  ok   make                1.2  /bin/make\n",
            "  no   pahole              missing: package pahole; resolves BTF type information: vmlinux and modules\n",
            "  without it: no `mini` scenarios with BTF, no `graft` scenarios, no whole kernels\n",
            "  note rsync               missing: package rsync; headers_install\n",
            "  install what is required: sudo apt-get install -y --no-install-recommends pahole\n",
            "  note scratch  /tmp  tmpfs  1.0 GiB free of 2.0 GiB\n",
            "  ok   open files  512 (at most unlimited)\n",
            "  no   overlay        refused: EPERM\n",
            "hint: use a volume\n",
            "  note debian:7.3  1.0 GiB  kbuild-repro fetch debian:7.3\n",
            "\nnotes\n  no home directory\n",
        ] {
            assert!(text.contains(line), "{line:?} is not in\n{text}");
        }
        assert!(!text.contains('\x1b'), "no colours unless asked for");
    }

    #[test]
    fn colours_change_nothing_but_colour() {
        let doctor = example();
        let coloured = doctor.text(true);
        assert!(coloured.contains('\x1b'));
        assert_eq!(console::strip_ansi_codes(&coloured), doctor.text(false));
    }

    #[test]
    fn json_is_the_same_picture() {
        let doctor = example();
        let json: serde_json::Value = serde_json::from_str(&doctor.json().expect("json")).expect("parse");
        assert_eq!(json["format"], 1);
        assert_eq!(json["machine"]["arch"], "x86_64");
        let pahole = json["tools"].as_array().and_then(|t| t.iter().find(|t| t["name"] == "pahole")).expect("pahole");
        assert!(pahole["path"].is_null());
        assert_eq!(pahole["package"], "pahole");
        assert_eq!(json["capabilities"][1]["works"], false);
        assert_eq!(json["sources"][0]["state"], "absent");
        assert_eq!(json["abilities"][1]["need"], "mini-btf");
    }

    #[test]
    fn package_names_follow_the_distribution() {
        let mut host = fake(Path::new("/nowhere"), Path::new("/nowhere")).with_tools();
        host.os_release.id = "fedora".into();
        assert_eq!(host.os_release.package_manager(), Some(PackageManager::Dnf));
        let doctor = examine(&host, &[], Vec::new());
        let elf = doctor.tools.iter().find(|t| t.name == "gelf.h").expect("gelf.h");
        assert_eq!(elf.package, Some("elfutils-libelf-devel"));
        assert!(doctor.abilities.iter().all(|a| !a.able));
    }

    #[test]
    fn file_systems_by_mount_point() {
        let table = "\
22 1 253:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 22 0:26 / /tmp rw shared:5 - tmpfs tmpfs rw
31 22 0:27 / /a\\040b rw - xfs /dev/b rw
32 22 0:28 / /tmp rw master:3 - btrfs /dev/c rw
broken line
";
        let of = |p: &str| file_system_of(table, Path::new(p));
        assert_eq!(of("/home/u").as_deref(), Some("ext4"));
        assert_eq!(of("/tmp/x").as_deref(), Some("btrfs"), "the later mount hides the earlier");
        assert_eq!(of("/tmpx").as_deref(), Some("ext4"));
        assert_eq!(of("/a b/c").as_deref(), Some("xfs"));
        assert_eq!(file_system_of("", Path::new("/")), None);
    }

    #[test]
    fn numbers() {
        assert_eq!(meminfo_value("MemTotal:  2048 kB\nMemAvailable: 1 kB\n", "MemTotal"), Some(2 << 20));
        assert_eq!(meminfo_value("MemTotal: x kB\n", "MemTotal"), None);
        assert_eq!(size(1023), "1023 B");
        assert_eq!(size(1536), "1.5 KiB");
        assert_eq!(size(u64::MAX), "16777215.9 TiB");
    }

    #[test]
    fn cached_and_known_sources() {
        let dir = tempfile::tempdir().expect("tempdir");
        let sources = Sources::new(dir.path().into(), [("PATH".into(), "/nowhere".into())].into());
        let known: Vec<_> =
            ["debian:7.3", "/nowhere/linux", "mini"].iter().map(|s| SourceSpec::parse(s).expect(s)).collect();
        let states: Vec<_> = source_rows(&sources, &known).into_iter().map(|r| r.state).collect();
        assert_eq!(states, [SourceState::Absent, SourceState::Unusable]);
    }
}
