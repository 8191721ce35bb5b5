//! Copies of directory trees.

use std::fs::{self, File, FileTimes};
use std::io;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::Path;
use std::time::SystemTime;

use rustix::fs::{AtFlags, CWD, Timestamps, utimensat};
use rustix::time::Timespec;

/// Copies a tree with its modes and times, following no symbolic link. `fs::copy` shares blocks where the
/// file system can.
pub(super) fn copy_tree(from: &Path, to: &Path) -> io::Result<()> {
    copy_tree_at(from, to, &|modified| modified)
}

/// [`copy_tree`], with what was modified at one time said to be at another.
pub(super) fn copy_tree_at(from: &Path, to: &Path, at: &dyn Fn(SystemTime) -> SystemTime) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_tree_at(&entry.path(), &target, at)?;
        } else {
            copy_file(&entry, &target, at)?;
        }
    }
    let meta = fs::metadata(from)?;
    fs::set_permissions(to, meta.permissions())?;
    // After the entries, whose making changed it.
    set_time(to, at(meta.modified()?))
}

/// [`copy_tree`] without some entries of its top.
pub(super) fn copy_tree_without(from: &Path, to: &Path, left_out: &[&str]) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (name, target) = (entry.file_name(), to.join(entry.file_name()));
        if left_out.iter().any(|it| name == *it) {
            continue;
        }
        if entry.file_type()?.is_dir() {
            copy_tree(&entry.path(), &target)?;
        } else {
            copy_file(&entry, &target, &|modified| modified)?;
        }
    }
    Ok(())
}

/// Copies those files of a tree whose path, relative to its top, is wanted; directories that have none are left out.
pub(super) fn copy_some(from: &Path, to: &Path, wanted: &dyn Fn(&str) -> bool) -> io::Result<()> {
    copy_some_below(from, to, "", wanted)
}

fn copy_some_below(from: &Path, to: &Path, below: &str, wanted: &dyn Fn(&str) -> bool) -> io::Result<()> {
    for entry in fs::read_dir(from.join(below))? {
        let entry = entry?;
        // What is asked for by name has one.
        let Ok(name) = entry.file_name().into_string() else { continue };
        let path = if below.is_empty() { name } else { format!("{below}/{name}") };
        if entry.file_type()?.is_dir() {
            copy_some_below(from, to, &path, wanted)?;
        } else if wanted(&path) {
            fs::create_dir_all(to.join(below))?;
            copy_file(&entry, &to.join(&path), &|modified| modified)?;
        }
    }
    Ok(())
}

/// Copies what is no directory; devices and the like are left out.
fn copy_file(entry: &fs::DirEntry, target: &Path, at: &dyn Fn(SystemTime) -> SystemTime) -> io::Result<()> {
    let kind = entry.file_type()?;
    if kind.is_symlink() {
        symlink(fs::read_link(entry.path())?, target)
    } else if kind.is_file() {
        fs::copy(entry.path(), target)?;
        set_time(target, at(entry.metadata()?.modified()?))
    } else {
        Ok(())
    }
}

/// Makes everything in a tree older by so many seconds, which keeps the order that make goes by. What would be from before
/// 1970 is left as it is: make takes no such time.
pub(super) fn age(dir: &Path, seconds: u32) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            age(&entry.path(), seconds)?;
        } else {
            make_older(&entry.path(), seconds)?;
        }
    }
    make_older(dir, seconds)
}

/// A link itself gets the time, not what it leads to.
fn make_older(path: &Path, seconds: u32) -> io::Result<()> {
    let meta = fs::symlink_metadata(path)?;
    let secs = meta.mtime() - i64::from(seconds);
    if secs < 0 {
        return Ok(());
    }
    let time = Timespec { tv_sec: secs, tv_nsec: meta.mtime_nsec() };
    let times = Timestamps { last_access: time, last_modification: time };
    Ok(utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}

fn set_time(path: &Path, time: SystemTime) -> io::Result<()> {
    File::open(path)?.set_times(FileTimes::new().set_modified(time).set_accessed(time))
}
