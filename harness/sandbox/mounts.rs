//! The file system of the sandbox: a new root on a tmpfs, what of the host is visible, and the spec's mounts.
//!
//! While it is put together the old root is at [`HOST`]; then it is detached and the new one is read-only.
//! Host paths were resolved before, in the host's view: an absolute symbolic link would now lead elsewhere.

use std::ffi::CString;
use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::mount::{
    MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, mount, mount_bind,
    mount_bind_recursive, mount_change, mount_remount, move_mount, open_tree, unmount,
};

use super::HelperErrorKind::{BadSpec, HostCannot, Internal};
use super::{Facility, Guarantee, HOME, HelperError, Isolated, Loss, Mount, Spec, View, sys};

/// Where the old root is while the new one is built.
const HOST: &str = "/.host";
/// Where overlay layers have names that need no quoting.
const LAYERS: &str = "/.layers";
/// Where the memory of [`Root::temporary`] is until its parts are in their places.
const TEMPORARY: &str = "/.temporary";
const STAGE: &str = "mount";

type Result<T, E = HelperError> = std::result::Result<T, E>;

/// A directory of the host that a tmpfs can be put on.
pub(super) fn staging() -> &'static str {
    ["/tmp", "/run", "/mnt"].into_iter().find(|d| Path::new(d).is_dir()).unwrap_or("/proc")
}

/// Resolves the host paths of `spec` while they still mean what the caller meant; extra read-only paths
/// become the first mounts.
///
/// # Errors
/// `BadSpec` for a path that is missing, relative, or no directory where one is needed; `HostCannot` for an
/// upper directory that cannot be one.
pub(super) fn resolve(spec: &mut Spec) -> Result<()> {
    let extra = std::mem::take(&mut spec.extra_read_only);
    let extra = extra.into_iter().map(|at| Mount::Bind { host: at.clone(), at, writable: false });
    spec.mounts.splice(0..0, extra);
    for mount in &mut spec.mounts {
        if !plain(mount.at()) {
            return Err(bad(format!("`{}` is not an absolute path below `/` without `..`", mount.at().display())));
        }
        match mount {
            Mount::Bind { host, .. } => *host = canonical(host)?,
            Mount::Overlay { lower, upper, work, .. } => {
                if lower.is_empty() {
                    return Err(bad("overlay without lower directory"));
                }
                for dir in lower.iter_mut().chain([&mut *upper, &mut *work]) {
                    *dir = canonical(dir)?;
                    if !dir.is_dir() {
                        return Err(bad(format!("`{}` is not a directory", dir.display())));
                    }
                }
                if let Some(problem) =
                    upper_problem(upper).map_err(|e| bad(format!("`{}`", upper.display())).errno(e))?
                {
                    let what = format!("`{}` cannot be the upper directory of an overlay: {problem}", upper.display());
                    return Err(HelperError::new(HostCannot, STAGE, what)
                        .hint("put scratch space on a local disk or a tmpfs, or copy the tree"));
                }
            }
            Mount::Tmpfs { .. } => {}
        }
    }
    Ok(())
}

fn plain(path: &Path) -> bool {
    use std::path::Component::{Normal, RootDir};
    path.is_absolute() && path.file_name().is_some() && path.components().all(|c| matches!(c, RootDir | Normal(_)))
}

fn bad(what: impl Into<String>) -> HelperError {
    HelperError::new(BadSpec, STAGE, what)
}

fn canonical(path: &Path) -> Result<PathBuf> {
    if !path.is_absolute() {
        return Err(bad(format!("`{}` is not absolute", path.display())));
    }
    fs::canonicalize(path).map_err(|e| bad(format!("find `{}`", path.display())).errno(e))
}

/// Why a directory cannot be the upper one of an overlay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UpperProblem {
    /// It is on an overlay itself, as in a container's own root.
    #[error("it is on an overlay itself")]
    OnOverlay,
    /// Network and FUSE file systems have no `d_type` or whiteouts that overlayfs accepts.
    #[error("its file system ({0}) is not fit for it")]
    FileSystem(&'static str),
}

/// Whether `path` is on a file system that overlayfs refuses as upper (or, worse, takes and gets wrong);
/// `None` means it is worth trying. See "Upper and Lower" in Documentation/filesystems/overlayfs.rst.
///
/// # Errors
/// As statfs(2).
pub fn upper_problem(path: &Path) -> io::Result<Option<UpperProblem>> {
    // magic numbers of <linux/magic.h> and the file systems' own headers
    let magic = rustix::fs::statfs(path)?.f_type as u64 & 0xffff_ffff;
    Ok(match magic {
        0x794c_7630 => Some(UpperProblem::OnOverlay),
        0x6969 => Some(UpperProblem::FileSystem("nfs")),
        0xff53_4d42 | 0xfe53_4d42 => Some(UpperProblem::FileSystem("cifs")),
        0x0102_1997 => Some(UpperProblem::FileSystem("9p")),
        0x6573_5546 => Some(UpperProblem::FileSystem("fuse")),
        0x4d44 => Some(UpperProblem::FileSystem("vfat")),
        0x2011_bab0 => Some(UpperProblem::FileSystem("exfat")),
        0xf15f => Some(UpperProblem::FileSystem("ecryptfs")),
        0x786f_4256 => Some(UpperProblem::FileSystem("vboxsf")),
        _ => None,
    })
}

/// Puts the new root together and makes it this process's root. The process is in a new mount namespace with
/// nothing propagating out of it; for a fresh `/proc` it has to be in the pid namespace too.
///
/// # Errors
/// `HostCannot` for what the host refuses without a way around, `BadSpec` for a mount that cannot be.
pub(super) fn build_root(spec: &Spec, isolated: Isolated, own_pids: bool) -> Result<Vec<Loss>> {
    let mut root = Root { spec, isolated, losses: Vec::new() };
    root.enter_tmpfs()?;
    root.expose_host()?;
    root.proc(own_pids)?;
    root.sys_and_dev()?;
    root.temporary()?;
    for (number, mount) in spec.mounts.iter().enumerate() {
        match mount {
            Mount::Bind { host, at, writable } => root.bind(host, at, *writable)?,
            Mount::Overlay { lower, upper, work, at } => root.overlay(number, lower, upper, work, at)?,
            Mount::Tmpfs { at, size_bytes } => {
                make_dir(at).map_err(|e| no_mount_point(at, e))?;
                root.tmpfs(at, &format!("mode=0755,size={size_bytes}"))?;
            }
        }
    }
    root.close()?;
    Ok(root.losses)
}

struct Root<'a> {
    spec: &'a Spec,
    isolated: Isolated,
    losses: Vec<Loss>,
}

/// The place of a host path while the new root is built.
fn old(path: &Path) -> PathBuf {
    Path::new(HOST).join(path.strip_prefix("/").unwrap_or(path))
}

fn no_mount_point(at: &Path, error: io::Error) -> HelperError {
    bad(format!("make mount point `{}`", at.display()))
        .errno(error)
        .hint("choose a path that no read-only directory of the host covers, or one that exists there")
}

fn make_dir(path: &Path) -> io::Result<()> {
    if path.is_dir() { Ok(()) } else { DirBuilder::new().recursive(true).mode(0o755).create(path) }
}

fn make_file(path: &Path) -> io::Result<()> {
    if path.exists() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        make_dir(parent)?;
    }
    File::create(path).map(drop)
}

impl Root<'_> {
    fn refused(&self, facility: Facility) -> bool {
        self.spec.refuse.contains(&facility)
    }

    fn enter_tmpfs(&mut self) -> Result<()> {
        let fail = |what: &str, e: Errno| {
            HelperError::new(HostCannot, STAGE, what)
                .errno(e)
                .hint("a container or security module forbids mounts; `--sandbox none` does without")
        };
        let flags = MountFlags::NOSUID | MountFlags::NODEV;
        let staging = staging();
        let host = Path::new(staging).join(&HOST[1..]);
        let cover = || {
            mount("tmpfs", staging, "tmpfs", flags, Some(c"mode=0755")).map_err(|e| fail("mount the new root", e))?;
            fs::create_dir(&host).map_err(|e| HelperError::new(Internal, STAGE, "make a directory").errno(e))
        };
        cover()?;
        let pivoted = match self.refused(Facility::PivotRoot) {
            true => Err(Errno::INVAL),
            false => rustix::process::pivot_root(staging, &host),
        };
        match pivoted {
            Ok(()) => {}
            // pivot_root(2): the root is no mount point (chroot), or the initial one (initramfs)
            Err(Errno::INVAL) => {
                // a copy of the host's tree has to be from before the tmpfs covers part of it
                unmount(staging, UnmountFlags::DETACH).map_err(|e| fail("unmount the new root", e))?;
                let clone =
                    OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
                let tree = open_tree(rustix::fs::CWD, "/", clone).map_err(|e| fail("copy the root mount", e))?;
                cover()?;
                move_mount(&tree, "", rustix::fs::CWD, &host, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
                    .map_err(|e| fail("move the root mount", e))?;
                rustix::process::chroot(staging).map_err(|e| fail("chroot", e))?;
                self.losses.push(Loss {
                    guarantee: Guarantee::RootPinned,
                    reason: "the root of this process is no mount point (chroot, initramfs): pivot_root is impossible"
                        .to_owned(),
                    hint: "run the harness outside the chroot".to_owned(),
                });
            }
            Err(e) => return Err(fail("pivot_root", e)),
        }
        rustix::process::chdir("/").map_err(|e| fail("change to the new root", e))?;
        mount_change(HOST, MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
            .map_err(|e| fail("make the host's mounts private", e))
    }

    fn expose_host(&self) -> Result<()> {
        for name in read_dir_sorted(Path::new(HOST))? {
            let path = Path::new("/").join(&name);
            let shown = match self.spec.view {
                View::Toolchain => {
                    let n = name.to_string_lossy();
                    ["usr", "bin", "sbin", "etc", "opt", "nix", "gnu"].contains(&n.as_ref()) || n.starts_with("lib")
                }
                View::Host => !["proc", "sys", "dev", "tmp", "run", "lost+found"].iter().any(|n| *n == name),
            };
            if shown {
                self.expose(&path)?;
            }
        }
        Ok(())
    }

    /// Shows one path of the host. A directory in which a mount point is missing is shown entry by entry, on
    /// a directory of ours where it can be made.
    fn expose(&self, path: &Path) -> Result<()> {
        let source = old(path);
        let meta = fs::symlink_metadata(&source).map_err(|e| bad(format!("look at `{}`", path.display())).errno(e))?;
        if meta.is_symlink() {
            let target = fs::read_link(&source).map_err(|e| bad(format!("read `{}`", path.display())).errno(e))?;
            return symlink(target, path).map_err(|e| no_mount_point(path, e));
        }
        let points = self.spec.mounts.iter().map(Mount::at);
        let missing = |p: &Path| p != path && p.starts_with(path) && !old(p).exists();
        if meta.is_dir() && points.chain([Path::new(HOME)]).any(missing) {
            make_dir(path).map_err(|e| no_mount_point(path, e))?;
            for name in read_dir_sorted(&source)? {
                self.expose(&path.join(name))?;
            }
            return Ok(());
        }
        let kind = meta.file_type();
        if kind.is_socket() || kind.is_fifo() || kind.is_char_device() || kind.is_block_device() {
            return Ok(());
        }
        self.bind(path, path, false)
    }

    fn bind(&self, host: &Path, at: &Path, writable: bool) -> Result<()> {
        let source = old(host);
        let meta = fs::metadata(&source).map_err(|e| bad(format!("find `{}`", host.display())).errno(e))?;
        let made = if meta.is_dir() { make_dir(at) } else { make_file(at) };
        made.map_err(|e| no_mount_point(at, e))?;
        let fail = |e: io::Error| bad(format!("bind `{}` at `{}`", host.display(), at.display())).errno(e);
        mount_bind_recursive(&source, at).map_err(|e| fail(e.into()))?;
        let read_only = if writable { 0 } else { sys::MOUNT_ATTR_RDONLY };
        self.restrict(at, read_only | sys::MOUNT_ATTR_NOSUID | sys::MOUNT_ATTR_NODEV).map_err(fail)
    }

    /// Adds attributes to the mount at `at` and all below it.
    fn restrict(&self, at: &Path, attributes: u64) -> io::Result<()> {
        let at = fs::canonicalize(at)?;
        if !self.refused(Facility::MountSetattr) {
            match sys::mount_setattr(&at, true, attributes) {
                // before Linux 5.12, or a seccomp filter older than the call
                Err(e) if [Some(libc::ENOSYS), Some(libc::EPERM)].contains(&e.raw_os_error()) => {}
                r => return r,
            }
        }
        restrict_one_by_one(&at, attributes)
    }

    fn proc(&mut self, own_pids: bool) -> Result<()> {
        make_dir(Path::new("/proc")).map_err(|e| no_mount_point(Path::new("/proc"), e))?;
        let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        let fresh = match self.refused(Facility::FreshProc) || !own_pids {
            true => Err(Errno::PERM),
            false => mount("proc", "/proc", "proc", flags, None),
        };
        if let Err(e) = fresh {
            mount_bind_recursive(old(Path::new("/proc")), "/proc")
                .map_err(|e| HelperError::new(HostCannot, STAGE, "bind `/proc`").errno(e))?;
            self.losses.push(Loss {
                guarantee: Guarantee::Proc,
                reason: if own_pids {
                    format!("a new `/proc` was refused: {}", io::Error::from(e))
                } else {
                    "there is no pid namespace for a new `/proc`".to_owned()
                },
                hint: "a container masks parts of its /proc: docker run --security-opt systempaths=unconfined"
                    .to_owned(),
            });
        }
        // uid 0 may write here by mere ownership, capabilities or not: core_pattern alone would be enough to leave
        for name in ["sys", "sysrq-trigger", "irq", "bus", "fs", "acpi", "scsi", "driver"] {
            let path = Path::new("/proc").join(name);
            if path.exists() {
                let done = mount_bind_recursive(&path, &path)
                    .map_err(io::Error::from)
                    .and_then(|()| self.restrict(&path, sys::MOUNT_ATTR_RDONLY));
                // in a user namespace this uid 0 is nobody to them
                if let (Err(e), Isolated::Root) = (done, self.isolated) {
                    let what = format!("make `{}` read-only", path.display());
                    return Err(HelperError::new(HostCannot, STAGE, what).errno(e));
                }
            }
        }
        Ok(())
    }

    fn sys_and_dev(&self) -> Result<()> {
        if old(Path::new("/sys")).is_dir() {
            self.bind(Path::new("/sys"), Path::new("/sys"), false)?;
        }
        let dev = Path::new("/dev");
        make_dir(dev).map_err(|e| no_mount_point(dev, e))?;
        self.tmpfs(dev, "mode=0755,size=64k")?;
        let fail = |what: String, e: io::Error| HelperError::new(HostCannot, STAGE, what).errno(e);
        for name in ["null", "zero", "full", "random", "urandom", "tty"] {
            let (source, at) = (old(dev).join(name), dev.join(name));
            if source.exists() {
                make_file(&at).map_err(|e| no_mount_point(&at, e))?;
                mount_bind(&source, &at).map_err(|e| fail(format!("bind `{}`", at.display()), e.into()))?;
            }
        }
        for (name, target) in [
            ("fd", "/proc/self/fd"),
            ("stdin", "/proc/self/fd/0"),
            ("stdout", "/proc/self/fd/1"),
            ("stderr", "/proc/self/fd/2"),
        ] {
            symlink(target, dev.join(name)).map_err(|e| fail(format!("link `/dev/{name}`"), e))?;
        }
        make_dir(&dev.join("shm")).map_err(|e| no_mount_point(dev, e))?;
        // as root, a tool that replaces its output file must not be able to replace /dev/null
        mount_remount(dev, MountFlags::BIND | MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV, "")
            .map_err(|e| fail("make `/dev` read-only".to_owned(), e.into()))
    }

    /// Directories in memory for what a build writes beside its trees: parts of one file system, so that its size
    /// bounds them together.
    fn temporary(&self) -> Result<()> {
        let fail = |what: String, e: io::Error| HelperError::new(HostCannot, STAGE, what).errno(e);
        let whole = Path::new(TEMPORARY);
        make_dir(whole).map_err(|e| no_mount_point(whole, e))?;
        self.tmpfs(whole, &format!("mode=0755,size={}", temporary_size(self.spec.limits.temporary)))?;
        let dirs = [("/tmp", 0o1777), ("/var/tmp", 0o1777), ("/run", 0o755), (HOME, 0o755), ("/dev/shm", 0o1777)];
        for (number, (dir, mode)) in dirs.into_iter().enumerate() {
            let (at, part) = (Path::new(dir), whole.join(number.to_string()));
            // a host whose read-only /var has no tmp has nobody who could miss it
            if make_dir(at).is_err() {
                continue;
            }
            fs::create_dir(&part)
                .and_then(|()| fs::set_permissions(&part, Permissions::from_mode(mode)))
                .and_then(|()| Ok(mount_bind(&part, at)?))
                .map_err(|e| fail(format!("put memory at `{dir}`"), e))?;
        }
        unmount(whole, UnmountFlags::DETACH).map_err(|e| fail(format!("unmount `{TEMPORARY}`"), e.into()))
    }

    fn tmpfs(&self, at: &Path, options: &str) -> Result<()> {
        let options = CString::new(options).map_err(|e| bad("tmpfs options").errno(io::Error::from(e)))?;
        mount("tmpfs", at, "tmpfs", MountFlags::NOSUID | MountFlags::NODEV, Some(options.as_c_str()))
            .map_err(|e| HelperError::new(HostCannot, STAGE, format!("mount a tmpfs at `{}`", at.display())).errno(e))
    }

    /// Layers are named through symbolic links of ours, so that nothing in a host path needs quoting; binding them
    /// would not do, because upper and work directory have to be on one mount.
    fn overlay(&self, number: usize, lower: &[PathBuf], upper: &Path, work: &Path, at: &Path) -> Result<()> {
        make_dir(at).map_err(|e| no_mount_point(at, e))?;
        let dir = Path::new(LAYERS).join(number.to_string());
        let fail = |e: io::Error| HelperError::new(Internal, STAGE, "name overlay layers").errno(e);
        make_dir(&dir).map_err(fail)?;
        let link = |name: &str, host: &Path| symlink(old(host), dir.join(name)).map_err(fail);
        link("u", upper)?;
        link("w", work)?;
        let mut options = "lowerdir=".to_owned();
        for (n, layer) in lower.iter().enumerate() {
            link(&n.to_string(), layer)?;
            let separator = if n == 0 { "" } else { ":" };
            options.push_str(&format!("{separator}{LAYERS}/{number}/{n}"));
        }
        options.push_str(&format!(",upperdir={LAYERS}/{number}/u,workdir={LAYERS}/{number}/w"));
        if self.isolated == Isolated::UserNs {
            options.push_str(",userxattr");
        }
        // what `volatile` left in the work directory: we are the only user, and the documentation tells such to remove it
        super::remove_tree(&dir.join("w/work/incompat")).map_err(fail)?;
        // volatile: no sync of the upper file system at the end. The others: every file in upper is a whole one
        // with its own content, as readers outside expect; with userxattr redirects are off by themselves, and
        // naming them is a conflict. Older kernels know less of it.
        let redirects = if self.isolated == Isolated::UserNs { "" } else { ",redirect_dir=off" };
        let mut last = Errno::INVAL;
        for extra in [",index=off,metacopy=off,volatile", ",index=off", ""] {
            let extra = if extra.is_empty() { "" } else { &format!("{extra}{redirects}") };
            let text = CString::new(format!("{options}{extra}"))
                .map_err(|e| bad("overlay options").errno(io::Error::from(e)))?;
            match mount("overlay", at, "overlay", MountFlags::NOSUID | MountFlags::NODEV, Some(text.as_c_str())) {
                Ok(()) => return Ok(()),
                Err(e) => last = e,
            }
            if last != Errno::INVAL {
                break;
            }
        }
        let knobs = super::namespaces::Knobs::read();
        Err(HelperError::new(HostCannot, STAGE, format!("mount an overlay at `{}`", at.display()))
            .errno(last)
            .hint(super::namespaces::hint("an overlay mount", &knobs)))
    }

    fn close(&self) -> Result<()> {
        let fail = |e: Errno| HelperError::new(Internal, STAGE, "leave the host's root").errno(e);
        unmount(HOST, UnmountFlags::DETACH).map_err(fail)?;
        for dir in [HOST, LAYERS, TEMPORARY] {
            if let Err(e) = fs::remove_dir_all(dir)
                && e.kind() != io::ErrorKind::NotFound
            {
                return Err(HelperError::new(Internal, STAGE, format!("remove `{dir}`")).errno(e));
            }
        }
        mount_remount("/", MountFlags::BIND | MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV, "")
            .map_err(|e| HelperError::new(Internal, STAGE, "make the new root read-only").errno(e))
    }
}

/// Bytes, as an option of tmpfs (tmpfs(5)).
fn temporary_size(limit: Option<u64>) -> u64 {
    let host = rustix::system::sysinfo();
    // numbers of the kernel's own types, which differ between architectures
    #[allow(clippy::unnecessary_cast, reason = "not everywhere")]
    let quarter = (host.totalram as u64).saturating_mul(u64::from(host.mem_unit)) / 4;
    // no size is no limit
    limit.map_or(quarter, |limit| limit.min(quarter)).max(1)
}

fn restrict_one_by_one(at: &Path, attributes: u64) -> io::Result<()> {
    // the host's /proc until there is one of our own; both show this process
    let text = fs::read("/proc/self/mountinfo").or_else(|_| fs::read(Path::new(HOST).join("proc/self/mountinfo")))?;
    let mut add = MountFlags::BIND;
    for (bit, flag) in [
        (sys::MOUNT_ATTR_RDONLY, MountFlags::RDONLY),
        (sys::MOUNT_ATTR_NOSUID, MountFlags::NOSUID),
        (sys::MOUNT_ATTR_NODEV, MountFlags::NODEV),
    ] {
        if attributes & bit != 0 {
            add |= flag;
        }
    }
    for (path, flags) in mount_points(&text).filter(|(p, _)| p.starts_with(at)) {
        match mount_remount(&path, add | flags, "") {
            Ok(()) => {}
            // covered by a later mount, so nobody can reach it
            Err(Errno::INVAL | Errno::NOENT | Errno::ACCESS) if path != at => {}
            Err(e) => return Err(e.into()),
        }
    }
    Ok(())
}

/// Mount points of `/proc/self/mountinfo` with the flags that a remount has to repeat (proc_pid_mountinfo(5)).
fn mount_points(text: &[u8]) -> impl Iterator<Item = (PathBuf, MountFlags)> + '_ {
    text.split(|b| *b == b'\n').filter_map(|line| {
        let mut fields = line.split(|b| *b == b' ').skip(4);
        let path = PathBuf::from(std::ffi::OsString::from_vec(unescape(fields.next()?)));
        let mut flags = MountFlags::empty();
        for option in fields.next()?.split(|b| *b == b',') {
            flags |= match option {
                b"ro" => MountFlags::RDONLY,
                b"nosuid" => MountFlags::NOSUID,
                b"nodev" => MountFlags::NODEV,
                b"noexec" => MountFlags::NOEXEC,
                b"noatime" => MountFlags::NOATIME,
                b"nodiratime" => MountFlags::NODIRATIME,
                b"relatime" => MountFlags::RELATIME,
                _ => MountFlags::empty(),
            };
        }
        Some((path, flags))
    })
}

/// Undoes the octal escapes of mountinfo (space, tab, newline, backslash).
pub(super) fn unescape(field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [first, tail @ ..] = rest {
        match rest {
            [b'\\', a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', ..] => {
                out.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                rest = &rest[4..];
            }
            _ => {
                out.push(*first);
                rest = tail;
            }
        }
    }
    out
}

fn read_dir_sorted(dir: &Path) -> Result<Vec<std::ffi::OsString>> {
    let fail = |e: io::Error| HelperError::new(HostCannot, STAGE, format!("list `{}`", dir.display())).errno(e);
    let mut names = Vec::new();
    for entry in fs::read_dir(dir).map_err(fail)? {
        names.push(entry.map_err(fail)?.file_name());
    }
    names.sort_by(|a, b| a.as_bytes().cmp(b.as_bytes()));
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mountinfo_is_read_with_its_escapes() {
        let text = b"36 35 98:0 /m /a\\040b\\134c\\012 ro,noatime,nodev master:1 - ext3 /dev/root rw,errors=continue\n\
                     37 35 0:1 / / rw,relatime - tmpfs tmpfs rw\n";
        let got: Vec<_> = mount_points(text).collect();
        assert_eq!(got[0].0, Path::new("/a b\\c\n"));
        assert_eq!(got[0].1, MountFlags::RDONLY | MountFlags::NOATIME | MountFlags::NODEV);
        assert_eq!(got[1], (PathBuf::from("/"), MountFlags::RELATIME));
        assert_eq!(got.len(), 2);
    }

    #[test]
    fn only_plain_absolute_paths_are_mount_points() {
        assert!(plain(Path::new("/build/src")));
        assert!(!plain(Path::new("/")));
        assert!(!plain(Path::new("build/src")));
        assert!(!plain(Path::new("/build/../etc")));
    }
}
