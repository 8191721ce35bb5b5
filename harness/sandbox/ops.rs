//! File operations inside the sandbox. A path is resolved below its tree and never leaves it, whatever symbolic
//! links a source tree holds (openat2(2), `RESOLVE_BENEATH`).

use std::ffi::{CString, OsStr};
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, chmod, fchmod, fstat, mkdirat, open, openat, openat2, renameat,
    statat, symlinkat, unlinkat,
};
use rustix::io::Errno;

use super::HelperErrorKind::{self, BadSpec};
use super::{Change, Content, Facility, HelperError, Isolated, Op, Spec, direct_path, foreign, remove, stamp};

/// Reads referenced files while the host is in sight, and checks paths.
///
/// # Errors
/// `BadSpec` for a path that leaves its tree by name, `Op` for a file that cannot be read.
pub(super) fn load(spec: &mut Spec) -> Result<(), HelperError> {
    for (index, op) in spec.ops.iter_mut().enumerate() {
        let to = match &op.change {
            Change::Rename { to } => Some(to),
            _ => None,
        };
        for path in [&op.path].into_iter().chain(to) {
            let normal = path.components().all(|c| matches!(c, Component::Normal(_)));
            if !normal || path.as_os_str().is_empty() {
                let what = format!("op {index}: `{}` is not a relative path without `..`", path.display());
                return Err(HelperError::new(BadSpec, "edit", what));
            }
        }
        if let Change::Write { content, .. } | Change::Append { content } = &mut op.change
            && let Content::File(path) = content
        {
            let bytes = fs::read(&*path).map_err(|e| {
                HelperError::new(HelperErrorKind::Op { index }, "edit", format!("read `{}`", path.display())).errno(e)
            })?;
            *content = Content::Bytes(bytes);
        }
    }
    Ok(())
}

/// Executes the operations in order.
///
/// # Errors
/// `Op` with the index of the first that fails; those before it are done.
pub(super) fn execute(spec: &Spec, isolated: Isolated) -> Result<(), HelperError> {
    // modes are given as they are to be
    rustix::process::umask(Mode::from_raw_mode(0o022));
    for (index, op) in spec.ops.iter().enumerate() {
        let root = if isolated == Isolated::Direct { direct_path(spec, &op.root) } else { op.root.clone() };
        let walk = spec.refuse.contains(&Facility::Openat2);
        let foreign =
            |e: Errno| isolated == Isolated::UserNs && matches!(e, Errno::ACCESS | Errno::PERM | Errno::OVERFLOW);
        let done = match one(&root, op, walk) {
            // if it cannot be made ours the first answer is the telling one
            Err(e) if foreign(e) => make_ours(&root, &op.path, walk).map_err(|_| e).and_then(|()| one(&root, op, walk)),
            r => r,
        };
        done.map_err(|e| {
            let what = format!("op {index}: {} `{}` in `{}`", verb(&op.change), op.path.display(), root.display());
            let kind = if foreign(e) { HelperErrorKind::HostCannot } else { HelperErrorKind::Op { index } };
            let error = HelperError::new(kind, "edit", what).errno(e);
            match e {
                e if foreign(e) => error.hint(foreign::HINT),
                Errno::XDEV | Errno::LOOP => error.hint("a symbolic link there leads out of the tree"),
                Errno::NOENT => {
                    error.hint("the file is not there; is it generated, or called otherwise on this version?")
                }
                _ => error,
            }
        })?;
    }
    Ok(())
}

fn verb(change: &Change) -> &'static str {
    match change {
        Change::Write { .. } => "write",
        Change::Append { .. } => "append to",
        Change::Delete { .. } => "delete",
        Change::Rename { .. } => "rename",
        Change::Chmod { .. } => "change the mode of",
        Change::Touch => "touch",
        Change::Symlink { .. } => "link",
        Change::Mkdir => "make directory",
        Change::SetTimes => "set the time of",
    }
}

/// A path by which an open file, `O_PATH` too, can be named again (proc_pid_fd(5)).
pub(super) fn magic_link(fd: &impl AsRawFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", fd.as_raw_fd()))
}

struct Tree {
    root: OwnedFd,
    walk: bool,
}

/// Puts a copy of ours in the place of a file or symbolic link that is somebody else's, with its mode and time.
fn make_ours(root: &Path, path: &Path, walk: bool) -> Result<(), Errno> {
    let tree = Tree::at(root, walk)?;
    let (dir, name) = tree.entry(path)?;
    if FileType::from_raw_mode(statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW)?.st_mode) == FileType::Directory {
        return Err(Errno::ISDIR);
    }
    let from = (dir, name);
    let copied = OsStr::new(".kbuild-repro-copy");
    let to = (openat(&from.0, c".", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?, copied);
    copy(&from, &to)?;
    renameat(&to.0, copied, &from.0, name)
}

fn one(root: &Path, op: &Op, walk: bool) -> Result<(), Errno> {
    let tree = Tree::at(root, walk)?;
    let mode = |bits: u32| Mode::from_raw_mode(bits & 0o7777);
    // on a file: the file a link in the tree leads to
    let stamp_file = |file: &OwnedFd| op.stamp.map_or(Ok(()), |s| stamp::set_times(file, s));
    // on an entry: the link itself
    let stamp_entry = |(dir, name): &(OwnedFd, &OsStr)| op.stamp.map_or(Ok(()), |s| stamp::set_times_at(dir, name, s));
    match &op.change {
        Change::Write { content, mode: bits } => {
            tree.make_parents(&op.path)?;
            let file = tree.regular(&op.path, OFlags::WRONLY | OFlags::CREATE)?;
            rustix::fs::ftruncate(&file, 0)?;
            let file = write(file, content)?;
            if let Some(bits) = bits {
                fchmod(&file, mode(*bits))?;
            }
            stamp_file(&file)
        }
        Change::Append { content } => {
            let file = write(tree.regular(&op.path, OFlags::WRONLY | OFlags::APPEND)?, content)?;
            stamp_file(&file)
        }
        Change::Delete { tree: whole } => {
            let (dir, name) = tree.entry(&op.path)?;
            let stat = statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW)?;
            if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
                return unlinkat(&dir, name, AtFlags::empty());
            }
            if !whole {
                return Err(Errno::ISDIR);
            }
            let name = CString::new(name.as_bytes()).map_err(|_| Errno::INVAL)?;
            remove::remove_tree_at(dir.as_fd(), &name).map_err(errno)
        }
        Change::Rename { to } => {
            let from = tree.entry(&op.path)?;
            tree.make_parents(to)?;
            let to = tree.entry(to)?;
            match renameat(&from.0, from.1, &to.0, to.1) {
                // an overlay without redirect_dir: a directory of a lower layer moves as mv(1) does it
                Err(Errno::XDEV) => move_by_copy(&from, &to)?,
                r => r?,
            }
            stamp_entry(&to)
        }
        Change::Chmod { mode: bits } => {
            let file = tree.open(&op.path, OFlags::PATH, Mode::empty())?;
            chmod(magic_link(&file), mode(*bits))?;
            stamp_file(&file)
        }
        Change::Touch => {
            let file = match tree.open(&op.path, OFlags::PATH, Mode::empty()) {
                Err(Errno::NOENT) => {
                    tree.make_parents(&op.path)?;
                    tree.regular(&op.path, OFlags::WRONLY | OFlags::CREATE)?
                }
                r => r?,
            };
            match op.stamp {
                Some(s) => stamp::set_times(&file, s),
                None => {
                    let now = rustix::fs::Timestamps {
                        last_access: rustix::time::Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_NOW },
                        last_modification: rustix::time::Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_NOW },
                    };
                    rustix::fs::utimensat(CWD, magic_link(&file), &now, AtFlags::empty())
                }
            }
        }
        Change::Symlink { target } => {
            tree.make_parents(&op.path)?;
            let entry = tree.entry(&op.path)?;
            match unlinkat(&entry.0, entry.1, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(e) => return Err(e),
            }
            symlinkat(target, &entry.0, entry.1)?;
            stamp_entry(&entry)
        }
        Change::Mkdir => {
            tree.make_parents(&op.path)?;
            let entry = tree.entry(&op.path)?;
            match mkdirat(&entry.0, entry.1, Mode::from_raw_mode(0o755)) {
                Err(Errno::EXIST) => {
                    let stat = statat(&entry.0, entry.1, AtFlags::SYMLINK_NOFOLLOW)?;
                    if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
                        return Err(Errno::NOTDIR);
                    }
                }
                r => r?,
            }
            stamp_entry(&entry)
        }
        Change::SetTimes => {
            let entry = tree.entry(&op.path)?;
            statat(&entry.0, entry.1, AtFlags::SYMLINK_NOFOLLOW)?;
            stamp_entry(&entry)
        }
    }
}

fn write(file: OwnedFd, content: &Content) -> Result<OwnedFd, Errno> {
    let Content::Bytes(bytes) = content else { return Err(Errno::INVAL) };
    let mut file = File::from(file);
    file.write_all(bytes).map_err(errno)?;
    Ok(file.into())
}

fn errno(e: io::Error) -> Errno {
    Errno::from_io_error(&e).unwrap_or(Errno::IO)
}

/// The last component, which [`load`] made sure there is.
fn last(path: &Path) -> Result<&OsStr, Errno> {
    path.file_name().ok_or(Errno::INVAL)
}

impl Tree {
    fn at(root: &Path, walk: bool) -> Result<Self, Errno> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self { root: open(root, flags, Mode::empty())?, walk })
    }

    /// Opens below the root, following links that stay in the tree.
    fn open(&self, path: &Path, flags: OFlags, mode: Mode) -> Result<OwnedFd, Errno> {
        let flags = flags | OFlags::CLOEXEC;
        if path.as_os_str().is_empty() {
            return openat(&self.root, c".", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
        }
        if !self.walk {
            let how = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
            for _ in 0..100 {
                match openat2(&self.root, path, flags, mode, how) {
                    // openat2(2): a rename happened meanwhile
                    Err(Errno::AGAIN) => {}
                    // before Linux 5.6, or a seccomp filter that does not know it
                    Err(Errno::NOSYS | Errno::PERM) => break,
                    r => return r,
                }
            }
        }
        // without the kernel's help no link is followed at all
        let mut dir = openat(&self.root, c".", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let parent = path.parent().unwrap_or(Path::new(""));
        for part in parent.components() {
            let step = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            dir = openat(&dir, part.as_os_str(), step, Mode::empty())
                .map_err(|e| self.link_or(&dir, part.as_os_str(), e))?;
        }
        let name = last(path)?;
        let fd = openat(&dir, name, flags | OFlags::NOFOLLOW, mode)?;
        // O_PATH opens the link itself
        if FileType::from_raw_mode(fstat(&fd)?.st_mode) == FileType::Symlink {
            return Err(Errno::LOOP);
        }
        Ok(fd)
    }

    /// `ENOTDIR` from `O_DIRECTORY | O_NOFOLLOW` on a link would hide that it is one.
    fn link_or(&self, dir: &OwnedFd, name: &OsStr, error: Errno) -> Errno {
        match statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(s) if FileType::from_raw_mode(s.st_mode) == FileType::Symlink => Errno::LOOP,
            _ => error,
        }
    }

    /// A regular file, open without waiting for anybody.
    fn regular(&self, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
        let mode = if flags.contains(OFlags::CREATE) { Mode::from_raw_mode(0o644) } else { Mode::empty() };
        let fd = self.open(path, flags | OFlags::NONBLOCK | OFlags::NOCTTY, mode)?;
        match FileType::from_raw_mode(fstat(&fd)?.st_mode) {
            FileType::RegularFile => Ok(fd),
            FileType::Directory => Err(Errno::ISDIR),
            _ => Err(Errno::INVAL),
        }
    }

    /// The directory an entry is in, and its name there.
    fn entry<'p>(&self, path: &'p Path) -> Result<(OwnedFd, &'p OsStr), Errno> {
        let parent = path.parent().unwrap_or(Path::new(""));
        Ok((self.open(parent, OFlags::PATH | OFlags::DIRECTORY, Mode::empty())?, last(path)?))
    }

    fn make_parents(&self, path: &Path) -> Result<(), Errno> {
        let Some(parent) = path.parent() else { return Ok(()) };
        let mut so_far = PathBuf::new();
        for part in parent.components() {
            let above = self.open(&so_far, OFlags::PATH | OFlags::DIRECTORY, Mode::empty())?;
            match mkdirat(&above, part.as_os_str(), Mode::from_raw_mode(0o755)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(e) => return Err(e),
            }
            so_far.push(part);
        }
        Ok(())
    }
}

/// Moves a directory entry by entry, keeping modes, times and links.
fn move_by_copy(from: &(OwnedFd, &OsStr), to: &(OwnedFd, &OsStr)) -> Result<(), Errno> {
    copy(from, to)?;
    let name = CString::new(from.1.as_bytes()).map_err(|_| Errno::INVAL)?;
    remove::remove_tree_at(from.0.as_fd(), &name).map_err(errno)
}

fn copy(from: &(OwnedFd, &OsStr), to: &(OwnedFd, &OsStr)) -> Result<(), Errno> {
    let stat = statat(&from.0, from.1, AtFlags::SYMLINK_NOFOLLOW)?;
    let bits = Mode::from_raw_mode(stat.st_mode);
    let nofollow = OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => {
            mkdirat(&to.0, to.1, Mode::RWXU)?;
            let source = openat(&from.0, from.1, OFlags::RDONLY | OFlags::DIRECTORY | nofollow, Mode::empty())?;
            let target = openat(&to.0, to.1, OFlags::RDONLY | OFlags::DIRECTORY | nofollow, Mode::empty())?;
            let mut names: Vec<CString> = Vec::new();
            for entry in rustix::fs::Dir::read_from(&source)? {
                let name = entry?.file_name().to_owned();
                if name.as_c_str() != c"." && name.as_c_str() != c".." {
                    names.push(name);
                }
            }
            names.sort();
            // pairs own their directory, so each level has one pair for all its entries
            let (mut source, mut target) = (source, target);
            for name in &names {
                let name = OsStr::from_bytes(name.as_bytes());
                let (a, b) = ((source, name), (target, name));
                copy(&a, &b)?;
                (source, target) = (a.0, b.0);
            }
            fchmod(&target, bits)?;
        }
        FileType::Symlink => {
            let target = rustix::fs::readlinkat(&from.0, from.1, Vec::new())?;
            symlinkat(target.as_c_str(), &to.0, to.1)?;
        }
        FileType::RegularFile => {
            let mut source = File::from(openat(&from.0, from.1, OFlags::RDONLY | nofollow, Mode::empty())?);
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | nofollow;
            let mut target = File::from(openat(&to.0, to.1, flags, Mode::RUSR | Mode::WUSR)?);
            io::copy(&mut source, &mut target).map_err(errno)?;
            fchmod(&target, bits)?;
        }
        _ => return Err(Errno::INVAL),
    }
    stamp::set_times_at(&to.0, to.1, stamp::Stamp::modified(&stat))
}
