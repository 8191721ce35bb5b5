//! What an overlay shows, looked at from outside while it is not mounted.

use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

/// By which an overlay's upper directory says that it hides the lower one of the same name, as root and as an
/// ordinary user (Documentation/filesystems/overlayfs.rst, "Permission model" and "Whiteouts and Opaque Directories").
const OPAQUE: [&str; 2] = ["trusted.overlay.opaque", "user.overlay.opaque"];

/// Whether an overlay shows the lower directory's file: nothing in the upper directory replaces or hides it.
#[must_use]
pub fn shows_through(upper: &Path, path: &Path) -> bool {
    let mut at = upper.to_owned();
    for part in path {
        at.push(part);
        match fs::symlink_metadata(&at) {
            // What the upper directory does not have it does not hide either.
            Err(_) => return true,
            Ok(meta) if meta.is_dir() && !is_opaque(&at) => {}
            Ok(_) => return false,
        }
    }
    false
}

fn is_opaque(dir: &Path) -> bool {
    let mut value = [0; 8];
    OPAQUE
        .iter()
        .any(|name| rustix::fs::lgetxattr(dir, *name, &mut value[..]).is_ok_and(|length| value[..length] == *b"y"))
}

/// Where the overlay's file is on the host, if it shows one: in the upper directory or in the lower one.
#[must_use]
pub fn shown(upper: &Path, lower: &Path, path: &Path) -> Option<PathBuf> {
    let place = if shows_through(upper, path) { lower.join(path) } else { upper.join(path) };
    let meta = fs::symlink_metadata(&place).ok()?;
    (!is_whiteout(&meta)).then_some(place)
}

/// A character device 0:0 says that there is nothing (Documentation/filesystems/overlayfs.rst).
#[must_use]
pub fn is_whiteout(meta: &fs::Metadata) -> bool {
    meta.file_type().is_char_device() && meta.rdev() == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_deleted_replaced_or_below_a_file_does_not_show_through() {
        let dir = tempfile::tempdir().expect("a directory");
        let upper = dir.path();
        fs::create_dir_all(upper.join("a/b")).expect("made");
        fs::write(upper.join("a/replaced"), "x").expect("written");
        fs::write(upper.join("file"), "x").expect("written");
        assert!(shows_through(upper, Path::new("a/b/c.bin")) && shows_through(upper, Path::new("other/c.bin")));
        assert!(!shows_through(upper, Path::new("a/replaced")) && !shows_through(upper, Path::new("file/below")));
    }
}
