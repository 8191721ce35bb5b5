//! What this host gives a sandbox, found out by trying (`doctor`).

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use rustix::mount::{MountFlags, mount};
use rustix::thread::UnshareFlags;
use serde::{Deserialize, Serialize};

use super::namespaces::{Knobs, Refused, hint, try_in_child, unshare};
use super::{Facility, Mount, Spec, sys};

/// Why something is not to be had.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// The system's answer.
    pub reason: String,
    /// What would help.
    pub hint: String,
}

/// What was tried, and how it went for this user on this host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capabilities {
    /// A user namespace with this user as uid 0.
    pub user_ns: Result<(), Refusal>,
    /// A mount namespace and a mount in it.
    pub mount_ns: Result<(), Refusal>,
    /// A pid namespace.
    pub pid_ns: Result<(), Refusal>,
    /// A network namespace.
    pub net_ns: Result<(), Refusal>,
    /// A namespace for the host name.
    pub uts_ns: Result<(), Refusal>,
    /// A namespace for System V IPC and message queues.
    pub ipc_ns: Result<(), Refusal>,
    /// An overlay as this user would mount it, on the scratch directory.
    pub overlay: Result<(), Refusal>,
    /// An overlay in a user namespace, with `userxattr`.
    pub overlay_userxattr: Result<(), Refusal>,
    /// mount_setattr(2).
    pub mount_setattr: Result<(), Refusal>,
    /// Tracing a child (ptrace(2)).
    pub ptrace: Result<(), Refusal>,
    /// Address spaces that are laid out the same each time (personality(2)).
    pub fixed_addresses: Result<(), Refusal>,
    /// Commands of another group (setresgid(2), setgroups(2)), without a user namespace.
    pub other_group: Result<(), Refusal>,
}

/// The helper's side: writes [`Capabilities`] as JSON to the descriptor named by `result`.
pub(super) fn main(result: &str, scratch: &Path) -> Option<()> {
    let mut result = File::from(sys::take_fd(result.parse().ok()?).ok()?);
    let text = serde_json::to_vec(&probe(scratch)).ok()?;
    result.write_all(&text).ok()
}

fn probe(scratch: &Path) -> Capabilities {
    let root = rustix::process::geteuid().is_root();
    let knobs = Knobs::read();
    let refusal = |step: &str, reason: String| Refusal { reason, hint: hint(step, &knobs) };
    let tried = |what: &dyn Fn() -> Result<(), Refused>| match try_in_child(what) {
        Ok(Ok(())) => Ok(()),
        Ok(Err(r)) => Err(refusal(r.step, format!("{} was refused: {}", r.step, r.error))),
        Err(e) => Err(refusal("", e.to_string())),
    };
    // what an ordinary user can have, it has in a user namespace
    let user_first = |flag: Option<(Facility, UnshareFlags)>, always: bool| {
        if always || !root {
            unshare(Facility::UserNs, UnshareFlags::NEWUSER, &[])?;
        }
        flag.map_or(Ok(()), |(facility, flag)| unshare(facility, flag, &[]))
    };
    let one = |facility, flag| tried(&|| user_first(Some((facility, flag)), false));
    let mounted = |then: &dyn Fn() -> Result<(), Refused>, userns: bool| {
        tried(&|| {
            user_first(Some((Facility::MountNs, UnshareFlags::NEWNS)), userns)?;
            mount("tmpfs", super::mounts::staging(), "tmpfs", MountFlags::NOSUID, None)
                .map_err(|e| Refused { step: "mounting a tmpfs", error: e.into() })?;
            then()
        })
    };
    Capabilities {
        user_ns: tried(&|| user_first(None, true)),
        mount_ns: mounted(&|| Ok(()), false),
        pid_ns: one(Facility::PidNs, UnshareFlags::NEWPID),
        net_ns: one(Facility::NetNs, UnshareFlags::NEWNET),
        uts_ns: one(Facility::UtsNs, UnshareFlags::NEWUTS),
        ipc_ns: one(Facility::IpcNs, UnshareFlags::NEWIPC),
        overlay: overlay(scratch, super::Isolation::Auto, &refusal),
        overlay_userxattr: overlay(scratch, super::Isolation::UserNs, &refusal),
        mount_setattr: mounted(
            &|| {
                sys::mount_setattr(Path::new(super::mounts::staging()), true, sys::MOUNT_ATTR_RDONLY)
                    .map_err(|error| Refused { step: "mount_setattr", error })
            },
            false,
        ),
        ptrace: tried(&|| seize().map_err(|error| Refused { step: "tracing a process", error })),
        fixed_addresses: tried(&|| {
            sys::no_address_randomization().map_err(|error| Refused { step: "personality", error })
        }),
        other_group: tried(&|| {
            super::supervise::join_group(1).map_err(|error| Refused { step: "changing the group", error })
        }),
    }
}

/// Builds a whole root with an overlay in it, as a run would.
fn overlay(
    scratch: &Path,
    isolation: super::Isolation,
    refusal: &dyn Fn(&str, String) -> Refusal,
) -> Result<(), Refusal> {
    let step = "an overlay mount";
    let dir = tempfile::Builder::new()
        .prefix("kbuild-repro-probe-")
        .tempdir_in(scratch)
        .map_err(|e| refusal(step, format!("cannot write to `{}`: {e}", scratch.display())))?;
    let done = (|| -> Result<(), String> {
        let at = |name: &str| dir.path().join(name);
        for name in ["lower", "upper", "work"] {
            fs::create_dir(at(name)).map_err(|e| e.to_string())?;
        }
        fs::create_dir(at("lower/d")).map_err(|e| e.to_string())?;
        let mut spec = Spec {
            isolation,
            mounts: vec![Mount::Overlay {
                lower: vec![at("lower")],
                upper: at("upper"),
                work: at("work"),
                at: "/build/probe".into(),
            }],
            ..Spec::default()
        };
        super::mounts::resolve(&mut spec).map_err(|e| e.to_string())?;
        let (mut read, mut write) = io::pipe().map_err(|e| e.to_string())?;
        let Some(pid) = sys::fork().map_err(|e| e.to_string())? else {
            let text = overlay_in_child(&spec).err().unwrap_or_default();
            let _ = write.write_all(text.as_bytes());
            sys::exit(0);
        };
        drop(write);
        let mut text = String::new();
        io::Read::read_to_string(&mut read, &mut text).map_err(|e| e.to_string())?;
        sys::reap(pid, true).map_err(|e| e.to_string())?;
        if text.is_empty() { Ok(()) } else { Err(text) }
    })();
    // tempfile cannot remove an overlay's closed work directory; what is left here is empty
    let _ = super::remove_tree(dir.path());
    done.map_err(|reason| refusal(step, reason))
}

fn overlay_in_child(spec: &Spec) -> Result<(), String> {
    let entered = super::namespaces::enter(spec).map_err(|e| e.to_string())?;
    if entered.isolated == super::Isolated::Direct {
        return Err(entered.losses.first().map_or_else(String::new, |l| l.reason.clone()));
    }
    super::mounts::build_root(spec, entered.isolated, false).map_err(|e| e.to_string())?;
    // a directory replaced by another needs an extended attribute: the first thing that fails on unfit upper layers
    let d = Path::new("/build/probe/d");
    fs::remove_dir(d).and_then(|()| fs::create_dir(d)).map_err(|e| format!("replace a directory on an overlay: {e}"))
}

fn seize() -> io::Result<()> {
    let (read, write) = io::pipe()?;
    let Some(pid) = sys::fork()? else {
        drop(write);
        // until the parent is through
        let _ = io::Read::read(&mut { read }, &mut [0]);
        sys::exit(0);
    };
    let seized = sys::seize(pid);
    drop(write);
    sys::kill(pid, libc::SIGKILL);
    sys::reap(pid, true)?;
    seized
}
