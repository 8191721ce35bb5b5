//! Source trees of somebody else's, edited in a user namespace: of their owner and group only our own are known
//! there, and overlayfs copies nothing up whose owner it cannot name (`EOVERFLOW`).
//!
//! What lies in the upper directory already need not be copied up. So the directories above the files that are
//! going to be changed are made there beforehand, as ours; in them a file can be replaced by a copy that is ours
//! ([`super::ops`]).

use std::fs::{self, DirBuilder, File, FileTimes, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use super::HelperErrorKind::HostCannot;
use super::{Change, HelperError, Mount, Spec};

/// What helps where nothing else does.
pub(super) const HINT: &str = "the tree belongs to somebody else: copy it to one of your own";

/// Makes the directories of others above all files that `spec` changes ours. The process is in its user namespace
/// and still sees the host's files.
///
/// # Errors
/// `HostCannot` for a directory that cannot be made in the upper one.
pub(super) fn open_up(spec: &Spec) -> Result<(), HelperError> {
    for op in &spec.ops {
        let Some(Mount::Overlay { lower, upper, at, .. }) =
            spec.mounts.iter().rev().find(|mount| op.root.starts_with(mount.at()))
        else {
            continue;
        };
        let Ok(root) = op.root.strip_prefix(at) else { continue };
        let to = if let Change::Rename { to } = &op.change { Some(to) } else { None };
        for path in [Some(&op.path), to].into_iter().flatten() {
            let Some(dir) = path.parent() else { continue };
            above(lower, upper, &root.join(dir)).map_err(|e| {
                let what = format!("make `{}` writable", op.root.join(dir).display());
                HelperError::new(HostCannot, "edit", what).errno(e).hint(HINT)
            })?;
        }
    }
    Ok(())
}

fn above(lower: &[PathBuf], upper: &Path, dir: &Path) -> io::Result<()> {
    let mut so_far = PathBuf::new();
    let mut found: Vec<(PathBuf, Metadata)> = Vec::new();
    for part in dir.components() {
        so_far.push(part);
        let layers = [upper].into_iter().chain(lower.iter().map(PathBuf::as_path));
        let Some(meta) = layers.map(|layer| layer.join(&so_far)).find_map(|path| fs::symlink_metadata(path).ok())
        else {
            break;
        };
        // what a symbolic link leads to is not made ours: the edit then says that it cannot be
        if !meta.is_dir() {
            break;
        }
        found.push((upper.join(&so_far), meta));
    }
    // uid and gid 0 are the only ones that are mapped
    if found.iter().all(|(_, meta)| (meta.uid(), meta.gid()) == (0, 0)) {
        return Ok(());
    }
    let mut made = Vec::new();
    for (path, meta) in &found {
        match DirBuilder::new().mode(0o700).create(path) {
            Ok(()) => made.push((path, meta)),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(e),
        }
    }
    // from below, as making a directory changes the time of the one above
    for (path, meta) in made.into_iter().rev() {
        fs::set_permissions(path, Permissions::from_mode(meta.mode() & 0o7777 | 0o700))?;
        let times = FileTimes::new().set_modified(meta.modified()?).set_accessed(meta.accessed()?);
        File::open(path)?.set_times(times)?;
    }
    Ok(())
}
