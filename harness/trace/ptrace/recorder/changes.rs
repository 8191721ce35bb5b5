//! Changes of names, from the call that is entered to what is told of it.

use std::path::{Path, PathBuf};

use super::Inode;
use crate::trace::Deed;

/// A change of names, with absolute paths.
pub(super) enum Change {
    Remove(PathBuf),
    Rename { from: PathBuf, to: PathBuf, exchange: bool, inode: Option<Inode> },
    Link { from: PathBuf, to: PathBuf },
    Symlink { text: PathBuf, at: PathBuf },
    Cut { path: PathBuf, length: u64 },
    Other(Deed, PathBuf),
}

impl Change {
    /// What would be changed.
    pub(super) fn path(&self) -> &Path {
        match self {
            Self::Remove(path) | Self::Cut { path, .. } | Self::Other(_, path) => path,
            Self::Rename { to, .. } | Self::Link { to, .. } => to,
            Self::Symlink { at, .. } => at,
        }
    }

    /// Whether it would make something in a directory that is not there.
    pub(super) fn lacks_its_place(&self) -> bool {
        let makes = !matches!(self, Self::Remove(_) | Self::Cut { .. } | Self::Other(Deed::RemoveDir | Deed::Enter, _));
        makes && self.path().parent().is_some_and(|place| !place.exists())
    }
}

/// Whether a call failed since the caller may not change that: `EROFS`, `EACCES`, `EPERM`.
pub(super) fn is_refused(value: i64) -> bool {
    [libc::EROFS, libc::EACCES, libc::EPERM].iter().any(|refused| value == -i64::from(*refused))
}
