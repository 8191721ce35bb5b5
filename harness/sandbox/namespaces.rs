//! Which namespaces this host gives, and entering them (namespaces(7), user_namespaces(7)).
//!
//! unshare(2) cannot be undone, so the pair that decides everything, user and mount namespace, is tried in a
//! child first. The others are tried one by one, and what is refused is a [`Loss`].

use std::fs;
use std::io::{self, Read, Write};

use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use rustix::thread::UnshareFlags;

use super::HelperErrorKind::{BadSpec, HostCannot, Internal};
use super::{Facility, Guarantee, HelperError, Isolated, Isolation, Loss, Spec, sys};

/// What this process is in now; children made from here on are pid 1 and following if `pid_ns`.
pub(super) struct Entered {
    pub(super) isolated: Isolated,
    pub(super) pid_ns: bool,
    pub(super) losses: Vec<Loss>,
}

/// A step of entering that the host refused.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) step: &'static str,
    pub(super) error: io::Error,
}

/// Enters the namespaces that `spec` asks for and the host gives.
///
/// # Errors
/// `HostCannot` when `spec.isolation` leaves no way to do without what is refused.
pub(super) fn enter(spec: &Spec) -> Result<Entered, HelperError> {
    let root = rustix::process::geteuid().is_root();
    let ways: &[Isolated] = match (spec.isolation, root) {
        (Isolation::Direct, _) => &[],
        (Isolation::UserNs, _) | (_, false) => &[Isolated::UserNs],
        (_, true) => &[Isolated::Root, Isolated::UserNs],
    };
    let mut refused = None;
    for &way in ways {
        match trial(way, &spec.refuse)? {
            Ok(()) => return enter_way(way, spec),
            // the first reason is the telling one: root is refused namespaces for want of a capability
            Err(r) => refused = refused.or(Some(r)),
        }
    }
    let (reason, hint) = match &refused {
        None => ("asked for".to_owned(), "leave out `--sandbox none`".to_owned()),
        Some(r) => (format!("{} was refused: {}", r.step, r.error), hint(r.step, &Knobs::read())),
    };
    if refused.is_some() && spec.isolation != Isolation::Auto {
        return Err(HelperError::new(HostCannot, "enter namespaces", reason).hint(hint));
    }
    let all = [Guarantee::FileSystem, Guarantee::Processes, Guarantee::Network, Guarantee::HostName, Guarantee::Ipc];
    let losses = all.map(|guarantee| Loss { guarantee, reason: reason.clone(), hint: hint.clone() }).to_vec();
    Ok(Entered { isolated: Isolated::Direct, pid_ns: false, losses })
}

fn enter_way(way: Isolated, spec: &Spec) -> Result<Entered, HelperError> {
    base(way, &spec.refuse).map_err(|r| HelperError::new(HostCannot, "enter namespaces", r.step).errno(r.error))?;
    let mut entered = Entered { isolated: way, pid_ns: false, losses: Vec::new() };
    let rest = [
        (Facility::PidNs, UnshareFlags::NEWPID, Guarantee::Processes),
        (Facility::NetNs, UnshareFlags::NEWNET, Guarantee::Network),
        (Facility::UtsNs, UnshareFlags::NEWUTS, Guarantee::HostName),
        (Facility::IpcNs, UnshareFlags::NEWIPC, Guarantee::Ipc),
    ];
    let mut uts = false;
    for (facility, flag, guarantee) in rest {
        match unshare(facility, flag, &spec.refuse) {
            Ok(()) => {
                entered.pid_ns |= facility == Facility::PidNs;
                uts |= facility == Facility::UtsNs;
            }
            Err(r) => entered.losses.push(Loss {
                guarantee,
                reason: format!("{} was refused: {}", r.step, r.error),
                hint: hint(r.step, &Knobs::read()),
            }),
        }
    }
    if uts {
        rustix::system::sethostname(spec.hostname.as_bytes()).map_err(|e| {
            HelperError::new(BadSpec, "enter namespaces", format!("set host name `{}`", spec.hostname)).errno(e)
        })?;
    }
    Ok(entered)
}

/// User and mount namespace, with nothing propagating back to the host.
fn base(way: Isolated, refuse: &[Facility]) -> Result<(), Refused> {
    if way == Isolated::UserNs {
        let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        unshare(Facility::UserNs, UnshareFlags::NEWUSER, refuse)?;
        // user_namespaces(7): setgroups has to be denied before an unprivileged process may map its group
        for (file, text) in [
            ("/proc/self/setgroups", "deny".to_owned()),
            ("/proc/self/uid_map", format!("0 {uid} 1\n")),
            ("/proc/self/gid_map", format!("0 {gid} 1\n")),
        ] {
            match fs::write(file, text) {
                // before Linux 3.19 there is no setgroups file and no need for it
                Err(e) if e.kind() == io::ErrorKind::NotFound && file.ends_with("setgroups") => {}
                r => r.map_err(|error| Refused { step: "mapping the user", error })?,
            }
        }
    }
    unshare(Facility::MountNs, UnshareFlags::NEWNS, refuse)?;
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .map_err(|e| Refused { step: "making mounts private", error: e.into() })
}

/// Tries [`base`] and a mount in a child: an AppArmor profile can let the namespace pass and refuse its use.
fn trial(way: Isolated, refuse: &[Facility]) -> Result<Result<(), Refused>, HelperError> {
    try_in_child(|| {
        base(way, refuse)?;
        mount("tmpfs", super::mounts::staging(), "tmpfs", MountFlags::NOSUID, None)
            .map_err(|e| Refused { step: "mounting a tmpfs", error: e.into() })
    })
}

/// The steps a child can name; the index travels through the pipe.
const STEPS: [&str; 12] = [
    "a user namespace",
    "a mount namespace",
    "a pid namespace",
    "a network namespace",
    "a uts namespace",
    "an ipc namespace",
    "mapping the user",
    "making mounts private",
    "mounting a tmpfs",
    "an overlay mount",
    "mount_setattr",
    "tracing a process",
];

/// Runs `what` in a child and brings back how it ended, leaving this process as it was.
///
/// # Errors
/// `Internal` when there is no child to be had.
pub(super) fn try_in_child(what: impl FnOnce() -> Result<(), Refused>) -> Result<Result<(), Refused>, HelperError> {
    let fail = |e: io::Error| HelperError::new(Internal, "probe the host", "run a child").errno(e);
    let (mut read, mut write) = io::pipe().map_err(fail)?;
    let Some(pid) = sys::fork().map_err(fail)? else {
        let answer = match what() {
            Ok(()) => [255, 0, 0, 0, 0],
            Err(r) => {
                let step = STEPS.iter().position(|s| *s == r.step).unwrap_or(0) as u8;
                let errno = r.error.raw_os_error().unwrap_or(libc::EIO).to_le_bytes();
                [step, errno[0], errno[1], errno[2], errno[3]]
            }
        };
        // nobody is left to tell if this fails; the parent sees the missing answer
        let _ = write.write_all(&answer);
        sys::exit(0);
    };
    drop(write);
    let mut answer = [0; 5];
    let got = read.read_exact(&mut answer);
    sys::reap(pid, true).map_err(fail)?;
    got.map_err(fail)?;
    let [step, errno @ ..] = answer;
    Ok(match step {
        255 => Ok(()),
        _ => Err(Refused {
            step: STEPS.get(usize::from(step)).copied().unwrap_or("something"),
            error: io::Error::from_raw_os_error(i32::from_le_bytes(errno)),
        }),
    })
}

/// Makes one namespace.
pub(super) fn unshare(facility: Facility, flag: UnshareFlags, refuse: &[Facility]) -> Result<(), Refused> {
    let step = match facility {
        Facility::UserNs => STEPS[0],
        Facility::MountNs => STEPS[1],
        Facility::PidNs => STEPS[2],
        Facility::NetNs => STEPS[3],
        Facility::UtsNs => STEPS[4],
        _ => STEPS[5],
    };
    if refuse.contains(&facility) {
        return Err(Refused { step, error: io::Error::from_raw_os_error(libc::EPERM) });
    }
    sys::unshare(flag).map_err(|error| Refused { step, error })
}

/// The settings of a host that decide about user namespaces; `None` where the file is missing.
#[derive(Default)]
pub(super) struct Knobs {
    unprivileged_userns_clone: Option<u64>,
    apparmor_restrict: Option<u64>,
    max_user_namespaces: Option<u64>,
    container: bool,
}

impl Knobs {
    pub(super) fn read() -> Self {
        let number = |path: &str| fs::read_to_string(path).ok().and_then(|s| s.trim().parse().ok());
        Self {
            unprivileged_userns_clone: number("/proc/sys/kernel/unprivileged_userns_clone"),
            apparmor_restrict: number("/proc/sys/kernel/apparmor_restrict_unprivileged_userns"),
            max_user_namespaces: number("/proc/sys/user/max_user_namespaces"),
            container: ["/.dockerenv", "/run/.containerenv"].iter().any(|p| fs::exists(p).unwrap_or(false)),
        }
    }
}

/// What would help against the refusal of `step`.
pub(super) fn hint(step: &str, knobs: &Knobs) -> String {
    let text = if step == "an overlay mount" {
        "needs Linux 5.11 for an ordinary user, and scratch space that is no overlay or network file system"
    } else if step == "mount_setattr" {
        "needs Linux 5.12; mounts are made read-only one by one instead"
    } else if step == "tracing a process" {
        "sysctl kernel.yama.ptrace_scope=1, or docker run --cap-add SYS_PTRACE"
    } else if knobs.unprivileged_userns_clone == Some(0) {
        "sysctl kernel.unprivileged_userns_clone=1"
    } else if knobs.max_user_namespaces == Some(0) {
        "sysctl user.max_user_namespaces=15000"
    } else if knobs.apparmor_restrict == Some(1) {
        "sysctl kernel.apparmor_restrict_unprivileged_userns=0"
    } else if knobs.container {
        "a container's seccomp filter forbids it: docker run --privileged, \
         or --security-opt seccomp=unconfined --security-opt apparmor=unconfined --security-opt systempaths=unconfined"
    } else {
        "run as root, or allow user namespaces (sysctl user.max_user_namespaces; a seccomp filter can forbid them too)"
    };
    text.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hint_names_the_setting_that_is_in_the_way() {
        let step = "a user namespace";
        let off = Knobs { unprivileged_userns_clone: Some(0), ..Knobs::default() };
        assert!(hint(step, &off).contains("unprivileged_userns_clone=1"));
        let apparmor = Knobs {
            unprivileged_userns_clone: Some(1),
            apparmor_restrict: Some(1),
            max_user_namespaces: Some(1000),
            ..Knobs::default()
        };
        assert!(hint(step, &apparmor).contains("apparmor_restrict_unprivileged_userns=0"));
        let none = Knobs { max_user_namespaces: Some(0), ..Knobs::default() };
        assert!(hint(step, &none).contains("user.max_user_namespaces"));
        assert!(hint(step, &Knobs { container: true, ..Knobs::default() }).contains("docker"));
    }
}
