//! Lays a source tree down on disk: the thin edge of the stage.

use std::fs::{self, File, FileTimes, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::{FileState, State, lower::MiniLower};

/// The time stamp of every source file of a fresh tree, in seconds since the epoch: 2000-01-01, older
/// than anything a build writes.
pub const SOURCE_TIME: u64 = 946_684_800;

/// Writes the mini tree as it is in `state` into the empty directory `dir`.
///
/// # Errors
/// What the file system answers.
pub fn mini(dir: &Path, state: &State) -> io::Result<()> {
    let mut files = MiniLower.files();
    files.retain(|path, _| !state.files.contains_key(path));
    for (path, file) in &files {
        write(dir, path, &file.bytes, file.mode)?;
    }
    changed(dir, state)
}

/// Writes the files by which `state` differs from its lower tree.
///
/// # Errors
/// What the file system answers.
pub fn changed(dir: &Path, state: &State) -> io::Result<()> {
    for (path, file) in &state.files {
        if let FileState::Present { bytes, mode } = file {
            write(dir, path, bytes, *mode)?;
        }
    }
    Ok(())
}

fn write(dir: &Path, path: &str, bytes: &[u8], mode: u32) -> io::Result<()> {
    let path = dir.join(path);
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::write(&path, bytes)?;
    fs::set_permissions(&path, Permissions::from_mode(mode))?;
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(SOURCE_TIME);
    File::open(&path)?.set_times(FileTimes::new().set_accessed(time).set_modified(time))
}
