//! Removing a directory tree whatever modes it holds and however deep it is.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, chmod, fchmod, fstat, openat, statat, unlinkat};
use rustix::io::Errno;

const DIRECTORY: OFlags = OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Removes `path` and everything below it; a path that does not exist is fine. Symbolic links are removed, not
/// followed. Directories without permissions (an overlay's `work/work`, a build's read-only output) are opened up
/// first. One descriptor is enough for any depth.
///
/// # Errors
/// The first entry that cannot be removed.
pub fn remove_tree(path: &Path) -> io::Result<()> {
    let name = CString::new(path.as_os_str().as_bytes())?;
    remove_tree_at(CWD, &name)
}

/// [`remove_tree`] relative to an open directory.
pub(super) fn remove_tree_at(at: BorrowedFd<'_>, name: &CString) -> io::Result<()> {
    let stat = match statat(at, name.as_c_str(), AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => return Ok(()),
        r => r?,
    };
    if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
        return Ok(unlinkat(at, name.as_c_str(), AtFlags::empty())?);
    }
    let mut here = enter(at, name)?;
    // the way down: what is left to do in each directory above, its identity, and the name of the one we are in
    let mut above: Vec<(Vec<CString>, (u64, u64), CString)> = Vec::new();
    let mut todo = clear(&here)?;
    loop {
        if let Some(next) = todo.pop() {
            let below = enter(here.as_fd(), &next)?;
            let stat = fstat(&here)?;
            above.push((todo, (stat.st_dev, stat.st_ino), next));
            here = below;
            todo = clear(&here)?;
            continue;
        }
        let Some((left, identity, done)) = above.pop() else { break };
        let parent = openat(&here, c"..", OFlags::RDONLY | DIRECTORY, Mode::empty())?;
        let stat = fstat(&parent)?;
        if (stat.st_dev, stat.st_ino) != identity {
            // somebody moved the directory meanwhile: do not go on in a place we do not know
            return Err(io::Error::other("directory moved while it was being removed"));
        }
        unlinkat(&parent, done.as_c_str(), AtFlags::REMOVEDIR)?;
        here = parent;
        todo = left;
    }
    drop(here);
    Ok(unlinkat(at, name.as_c_str(), AtFlags::REMOVEDIR)?)
}

/// Opens a directory so that it can be listed and emptied.
fn enter(at: BorrowedFd<'_>, name: &CString) -> io::Result<OwnedFd> {
    let fd = match openat(at, name.as_c_str(), OFlags::RDONLY | DIRECTORY, Mode::empty()) {
        Err(Errno::ACCESS) => {
            let path = openat(at, name.as_c_str(), OFlags::PATH | DIRECTORY, Mode::empty())?;
            chmod(super::ops::magic_link(&path), Mode::RWXU)?;
            openat(at, name.as_c_str(), OFlags::RDONLY | DIRECTORY, Mode::empty())?
        }
        r => r?,
    };
    if Mode::from_raw_mode(fstat(&fd)?.st_mode) & Mode::RWXU != Mode::RWXU {
        // not the owner: removing will say so
        let _ = fchmod(&fd, Mode::RWXU);
    }
    Ok(fd)
}

/// Removes what is no directory; returns the directories.
fn clear(fd: &OwnedFd) -> io::Result<Vec<CString>> {
    let mut below = Vec::new();
    let mut files = Vec::new();
    for entry in Dir::read_from(fd)? {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let kind = match entry.file_type() {
            FileType::Unknown => FileType::from_raw_mode(statat(fd, name, AtFlags::SYMLINK_NOFOLLOW)?.st_mode),
            kind => kind,
        };
        if kind == FileType::Directory { &mut below } else { &mut files }.push(name.to_owned());
    }
    for name in files {
        unlinkat(fd, name.as_c_str(), AtFlags::empty())?;
    }
    Ok(below)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn closed_directories_go_and_what_links_lead_to_stays() {
        let dir = tempfile::tempdir().unwrap();
        let keep = dir.path().join("keep");
        fs::create_dir(&keep).unwrap();
        fs::write(keep.join("file"), "x").unwrap();
        let tree = dir.path().join("tree");
        fs::create_dir_all(tree.join("closed/inner")).unwrap();
        fs::write(tree.join("closed/inner/f"), "x").unwrap();
        fs::create_dir_all(tree.join("readonly")).unwrap();
        fs::write(tree.join("readonly/f"), "x").unwrap();
        symlink(&keep, tree.join("link")).unwrap();
        for (path, mode) in [("closed/inner", 0o000), ("closed", 0o000), ("readonly", 0o555)] {
            fs::set_permissions(tree.join(path), fs::Permissions::from_mode(mode)).unwrap();
        }
        remove_tree(&tree).unwrap();
        assert!(!tree.exists());
        assert!(keep.join("file").exists());
        remove_tree(&tree).unwrap();
    }

    #[test]
    fn depth_does_not_matter() {
        let dir = tempfile::tempdir().unwrap();
        let tree = dir.path().join("tree");
        fs::create_dir(&tree).unwrap();
        let mut fd = rustix::fs::open(&tree, OFlags::RDONLY | DIRECTORY, Mode::empty()).unwrap();
        for _ in 0..5000 {
            rustix::fs::mkdirat(&fd, c"d", Mode::RWXU).unwrap();
            fd = openat(&fd, c"d", OFlags::RDONLY | DIRECTORY, Mode::empty()).unwrap();
        }
        drop(fd);
        remove_tree(&tree).unwrap();
        assert!(!tree.exists());
    }
}
