//! What a build closed to its own user, opened while it is looked at. As root there is nothing to do.

use std::fs::{self, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// Files and directories that got a permission more; they get their modes back when this goes.
#[derive(Debug, Default)]
pub(super) struct Opened(Vec<(PathBuf, u32)>);

impl Opened {
    /// Makes a file or directory readable if its mode is all that is in the way; no times change by that.
    pub(super) fn open(&mut self, path: &Path, meta: &Metadata) -> io::Result<()> {
        let needed = match meta.file_type() {
            kind if kind.is_dir() => 0o500,
            kind if kind.is_file() => 0o400,
            _ => return Ok(()),
        };
        let (mode, user) = (meta.mode() & 0o7777, rustix::process::geteuid());
        if mode & needed == needed || user.is_root() || meta.uid() != user.as_raw() {
            return Ok(());
        }
        fs::set_permissions(path, Permissions::from_mode(mode | needed))?;
        self.0.push((path.to_owned(), mode));
        Ok(())
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        // from below: what is closed again hides what it holds
        for (path, mode) in self.0.drain(..).rev() {
            // gone, or in a directory that is: then there is nothing to give back
            let _ = fs::set_permissions(path, Permissions::from_mode(mode));
        }
    }
}
