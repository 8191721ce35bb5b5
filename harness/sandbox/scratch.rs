//! Scratch directories that go away: at the end, or at the next [`sweep`] if the harness was killed.
//!
//! `<base>/kbuild-repro-<uid>/<unique>/` with a `lock` file beside its content. The lock is an flock(2): the
//! kernel releases it when the harness dies, and it is close-on-exec, so no build holds it.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::remove_tree;

/// What can go wrong with scratch space.
#[derive(Debug, thiserror::Error)]
pub enum ScratchError {
    /// A file or directory cannot be used.
    #[error("cannot {what} `{}`", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Somebody else's directory, or a link, is where ours should be.
    #[error("`{}` is not a directory of this user's own", path.display())]
    NotOurs {
        /// Which.
        path: PathBuf,
    },
}

impl ScratchError {
    /// What would help.
    pub fn hint(&self) -> &'static str {
        match self {
            ScratchError::Io { .. } => "choose another scratch directory, on a disk with space and write permission",
            ScratchError::NotOurs { .. } => "remove it if it is a leftover, or choose another scratch directory",
        }
    }
}

fn io_error(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ScratchError {
    let path = path.to_owned();
    move |source| ScratchError::Io { what, path, source }
}

/// A scratch directory of this process; removed when dropped.
#[derive(Debug)]
pub struct Scratch {
    dir: PathBuf,
    _lock: File,
}

impl Scratch {
    /// Makes one below `base`, an existing directory that others may write to as well (`/tmp`).
    ///
    /// # Errors
    /// When it cannot be made, or something that is not ours is in its place.
    pub fn create(base: &Path) -> Result<Self, ScratchError> {
        let home = own_directory(base)?;
        // a sweep may remove a directory between its making and its locking: then another is made
        for _ in 0..100 {
            let dir = tempfile::Builder::new()
                .prefix("run-")
                .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o700))
                .tempdir_in(&home)
                .map_err(io_error("make a directory in", &home))?
                .keep();
            if let Some(lock) = lock(&dir)? {
                return Ok(Self { dir, _lock: lock });
            }
        }
        Err(ScratchError::NotOurs { path: home })
    }

    /// Where it is: absolute, and empty but for the file `lock` at the start.
    pub fn path(&self) -> &Path {
        &self.dir
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // what cannot be removed now is left to the next sweep
        let _ = empty(&self.dir);
    }
}

/// Everything but the lock first: as long as something is left, the next sweep has to find the rest.
fn empty(dir: &Path) -> io::Result<()> {
    let mut names: Vec<_> =
        fs::read_dir(dir)?.collect::<Result<Vec<_>, _>>()?.into_iter().map(|e| e.file_name()).collect();
    names.sort();
    for name in names.iter().filter(|n| *n != "lock") {
        remove_tree(&dir.join(name))?;
    }
    remove_tree(dir)
}

/// Removes what dead harnesses of this user left below `base`; returns how many directories went.
/// One that is in use, or cannot be removed, stays.
///
/// # Errors
/// When the directory that holds them is not ours or cannot be read.
pub fn sweep(base: &Path) -> Result<usize, ScratchError> {
    let home = own_directory(base)?;
    let mut entries = Vec::new();
    for entry in fs::read_dir(&home).map_err(io_error("read", &home))? {
        entries.push(entry.map_err(io_error("read", &home))?.path());
    }
    entries.sort();
    let mut gone = 0;
    for dir in entries {
        // beside them lie the job slots
        let ours = dir.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"run-"))
            && fs::symlink_metadata(&dir).is_ok_and(|m| m.is_dir() && m.uid() == uid());
        if ours
            && let Ok(Some(_lock)) = lock(&dir)
            && empty(&dir).is_ok()
        {
            gone += 1;
        }
    }
    Ok(gone)
}

fn uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// `<base>/kbuild-repro-<uid>`, made if missing and checked: in a shared directory anybody could have made it.
fn own_directory(base: &Path) -> Result<PathBuf, ScratchError> {
    let base = fs::canonicalize(base).map_err(io_error("find", base))?;
    let home = base.join(format!("kbuild-repro-{}", uid()));
    private_directory(&home)?;
    Ok(home)
}

/// Makes `dir` with mode 0700, or checks that what is there is a directory of this user's, and closes it to others.
///
/// # Errors
/// [`ScratchError::NotOurs`] for a link, a file or another's directory.
pub fn private_directory(dir: &Path) -> Result<(), ScratchError> {
    match DirBuilder::new().mode(0o700).create(dir) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(io_error("make", dir)(e)),
        _ => {}
    }
    let meta = fs::symlink_metadata(dir).map_err(io_error("look at", dir))?;
    if !meta.is_dir() || meta.uid() != uid() {
        return Err(ScratchError::NotOurs { path: dir.to_owned() });
    }
    if meta.mode() & 0o077 != 0 {
        fs::set_permissions(dir, std::os::unix::fs::PermissionsExt::from_mode(0o700))
            .map_err(io_error("close", dir))?;
    }
    Ok(())
}

/// Takes the lock of a scratch directory; `None` if another has it or the directory is gone.
fn lock(dir: &Path) -> Result<Option<File>, ScratchError> {
    let path = dir.join("lock");
    let nofollow = libc::O_NOFOLLOW;
    let file =
        match File::options().create(true).truncate(false).write(true).custom_flags(nofollow).mode(0o600).open(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            r => r.map_err(io_error("open", &path))?,
        };
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::WOULDBLOCK) => return Ok(None),
        r => r.map_err(|e| io_error("lock", &path)(e.into()))?,
    }
    // who waited for the lock of a directory that was swept meanwhile has the lock of nothing
    let ours = file.metadata().map_err(io_error("look at", &path))?;
    let there = fs::symlink_metadata(&path);
    Ok(there.is_ok_and(|t| (t.dev(), t.ino()) == (ours.dev(), ours.ino())).then_some(file))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn sweep_takes_what_is_dead_and_leaves_what_lives() {
        let base = tempfile::tempdir().unwrap();
        let alive = Scratch::create(base.path()).unwrap();
        fs::write(alive.path().join("work"), "x").unwrap();
        let dead = Scratch::create(base.path()).unwrap();
        let dead_path = dead.path().to_owned();
        fs::create_dir(dead_path.join("tree")).unwrap();
        // as a killed harness leaves it: the lock is released, the directory stays
        let Scratch { dir: _, _lock } = &dead;
        flock(_lock, FlockOperation::Unlock).unwrap();
        assert_eq!(sweep(base.path()).unwrap(), 1);
        assert!(!dead_path.exists());
        assert!(alive.path().join("work").exists());
        let path = alive.path().to_owned();
        drop(alive);
        assert!(!path.exists());
    }

    #[test]
    fn a_link_in_our_place_is_refused() {
        let base = tempfile::tempdir().unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        symlink(elsewhere.path(), base.path().join(format!("kbuild-repro-{}", uid()))).unwrap();
        assert!(matches!(Scratch::create(base.path()), Err(ScratchError::NotOurs { .. })));
        assert!(sweep(base.path()).is_err());
        assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 0);
    }
}
