//! Groups of processes that may use so much memory together: of those that want more the kernel kills the largest (cgroups(7);
//! Documentation/admin-guide/cgroup-v1/memory.rst and cgroup-v2.rst of the kernel).
//!
//! A group is a directory beside or below the harness's own, locked for as long as the harness lives, as scratch directories are:
//! the next [`sweep`] removes what a killed harness left. With version 2 it is made in the nearest directory above, or the own
//! one, that hands the memory controller down; nothing of the host's setting is changed for it.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Component, Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};

use super::Refusal;

/// What the names of our groups begin with.
const PREFIX: &str = "kbuild-repro-";
/// How often, and after what time, a group is removed whose processes have just ended.
const TRIES: u32 = 200;
const TICK: Duration = Duration::from_millis(10);
/// The longest text with counts that is read, in bytes.
const COUNTS: usize = 4096;

/// One group. Dropping it removes it; its processes have to have ended.
#[derive(Debug)]
pub struct Group {
    dir: PathBuf,
    join: File,
    counts: File,
    _lock: File,
}

/// Where groups are made.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    /// By a hierarchy of version 1 that the memory controller belongs to.
    V1(PathBuf),
    /// Below these of version 2, the nearest first.
    V2(Vec<PathBuf>),
}

impl Group {
    /// Makes one whose processes may use so many bytes together.
    ///
    /// # Errors
    /// Why this host does not permit it.
    pub fn create(bytes: u64) -> Result<Self, Refusal> {
        let place = here()?;
        let (above, limits): (&Path, &[(&str, u64, bool)]) = match &place {
            // The hard limit comes first: that with swap cannot be below it.
            Place::V1(dir) => (
                dir,
                &[
                    ("memory.limit_in_bytes", bytes, true),
                    ("memory.memsw.limit_in_bytes", bytes, false),
                    ("memory.swappiness", 0, false),
                ],
            ),
            Place::V2(dirs) => (delegated(dirs)?, &[("memory.max", bytes, true), ("memory.swap.max", 0, false)]),
        };
        let (dir, lock) = make(above)
            .map_err(|error| refused(format!("cannot make a group in `{}`: {error}", above.display()), HINT))?;
        let v1 = matches!(place, Place::V1(_));
        let fail = |error: io::Error| {
            // Nothing is in it yet.
            let _ = fs::remove_dir(&dir);
            refused(format!("cannot set up `{}`: {error}", dir.display()), HINT)
        };
        for (name, value, needed) in limits {
            // A host without swap, or that does not count it, has no such file.
            match fs::write(dir.join(name), value.to_string()) {
                Err(error) if *needed => return Err(fail(error)),
                _ => {}
            }
        }
        let join = File::options().write(true).open(dir.join("cgroup.procs")).map_err(fail)?;
        let counts = File::open(dir.join(if v1 { "memory.oom_control" } else { "memory.events" })).map_err(fail)?;
        let group = Self { dir, join, counts, _lock: lock };
        if kills(&group.counts).is_none() {
            return Err(refused("the kernel does not count what it kills for want of memory".into(), "Linux 4.13"));
        }
        Ok(group)
    }

    /// The descriptors by which a process joins, and by which [`kills`] are counted; they are open for as long as this lives.
    #[must_use]
    pub fn fds(&self) -> [RawFd; 2] {
        [self.join.as_raw_fd(), self.counts.as_raw_fd()]
    }

    /// Whether a process of this user's may join, by one that does nothing.
    ///
    /// # Errors
    /// Why not.
    pub fn admits(&self) -> Result<(), Refusal> {
        let why = |error: io::Error| refused(format!("no process can join `{}`: {error}", self.dir.display()), HINT);
        let mut idle = Command::new("/bin/sh");
        let idle = idle.args(["-c", "read end"]).env_clear().current_dir("/");
        let mut idle = idle.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().map_err(why)?;
        let joined = (&self.join).write_all(idle.id().to_string().as_bytes());
        // It waits for its input, which ends now; it may have been killed for want of memory.
        drop(idle.stdin.take());
        let _ = idle.wait();
        joined.map_err(why)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        for _ in 0..TRIES {
            match fs::remove_dir(&self.dir) {
                // Processes that have ended are still there for a moment.
                Err(error) if error.kind() == io::ErrorKind::ResourceBusy => std::thread::sleep(TICK),
                _ => return,
            }
        }
    }
}

const HINT: &str = "run as root, or below a unit with `Delegate=yes` (`systemd-run --user --scope -p Delegate=yes …`)";

fn refused(reason: String, hint: &str) -> Refusal {
    Refusal { reason, hint: hint.to_owned() }
}

/// How many processes of a group were killed for want of memory, by the second of [`Group::fds`]; `None` if it is not told.
#[must_use]
pub fn kills(counts: &File) -> Option<u64> {
    let mut text = [0; COUNTS];
    let length = counts.read_at(&mut text, 0).ok()?;
    kills_told(&String::from_utf8_lossy(&text[..length]))
}

fn kills_told(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
}

/// Removes groups that dead harnesses left; returns how many went.
pub fn sweep() -> usize {
    let above = match here() {
        Ok(Place::V1(dir)) => dir,
        Ok(Place::V2(dirs)) => match delegated(&dirs) {
            Ok(dir) => dir.to_owned(),
            Err(_) => return 0,
        },
        Err(_) => return 0,
    };
    let Ok(entries) = fs::read_dir(&above) else { return 0 };
    let ours = |name: &std::ffi::OsStr| name.as_encoded_bytes().starts_with(PREFIX.as_bytes());
    let mut dirs: Vec<PathBuf> =
        entries.flatten().filter(|entry| ours(&entry.file_name())).map(|entry| entry.path()).collect();
    dirs.sort();
    // One with processes stays, whoever made it.
    dirs.iter().filter(|dir| lock(dir).is_ok_and(|lock| lock.is_some()) && fs::remove_dir(dir).is_ok()).count()
}

/// A new group and its lock. A sweep may come between the two: then another is made.
fn make(above: &Path) -> io::Result<(PathBuf, File)> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    for _ in 0..100 {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let dir = above.join(format!("{PREFIX}{}-{number}", std::process::id()));
        match fs::create_dir(&dir) {
            // A process of another namespace can have this one's number.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
            made => made?,
        }
        match lock(&dir) {
            Ok(Some(lock)) => return Ok((dir, lock)),
            Ok(None) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                let _ = fs::remove_dir(&dir);
                return Err(error);
            }
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// The lock of a group, which is the directory itself; `None` if another has it or the group is gone.
fn lock(dir: &Path) -> io::Result<Option<File>> {
    let file = File::open(dir)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
        locked => locked?,
    }
    let ours = file.metadata()?;
    Ok(fs::metadata(dir).is_ok_and(|there| (there.dev(), there.ino()) == (ours.dev(), ours.ino())).then_some(file))
}

/// Where this process is.
fn here() -> Result<Place, Refusal> {
    let read = |path: &str| {
        fs::read_to_string(path).map_err(|error| refused(format!("cannot read `{path}`: {error}"), "mount /proc"))
    };
    place(&read("/proc/self/cgroup")?, &read("/proc/self/mountinfo")?)
        .ok_or_else(|| refused("no memory cgroup that this process is in is mounted".into(), HINT))
}

/// Where a process with this `/proc/self/cgroup` is, by the mounts of its `/proc/self/mountinfo`. A controller belongs to one
/// version at a time.
fn place(cgroup: &str, mountinfo: &str) -> Option<Place> {
    let mut groups = cgroup.lines().filter_map(|line| {
        let (_, line) = line.split_once(':')?;
        line.split_once(':')
    });
    let of_v1 = groups.clone().find(|(controllers, _)| controllers.split(',').any(|name| name == "memory"));
    let (path, kind) = match of_v1 {
        Some((_, path)) => (path, "cgroup"),
        None => (groups.find(|(controllers, _)| controllers.is_empty())?.1, "cgroup2"),
    };
    let (top, dir) = mountinfo.lines().filter_map(|line| mounted(line, kind, Path::new(path))).next_back()?;
    Some(match kind {
        "cgroup" => Place::V1(dir),
        _ => Place::V2(dir.ancestors().take_while(|above| above.starts_with(&top)).map(Path::to_owned).collect()),
    })
}

/// Of a line of mountinfo (proc_pid_mountinfo(5)): where its mount is, and where a group is below it.
fn mounted(line: &str, kind: &str, path: &Path) -> Option<(PathBuf, PathBuf)> {
    let (mount, file_system) = line.split_once(" - ")?;
    let mut file_system = file_system.split(' ');
    let found = file_system.next()?;
    let options = file_system.nth(1).unwrap_or_default();
    if found != kind || kind == "cgroup" && !options.split(',').any(|option| option == "memory") {
        return None;
    }
    let mut fields = mount.split(' ').skip(3);
    let (root, top) = (Path::new(fields.next()?), PathBuf::from(fields.next()?));
    let below = path.strip_prefix(root).ok()?;
    // Of a group outside of a cgroup namespace there is no way to it.
    let plain = below.components().all(|part| matches!(part, Component::Normal(_)));
    plain
        .then(|| if below.as_os_str().is_empty() { (top.clone(), top.clone()) } else { (top.clone(), top.join(below)) })
}

/// The first of these that hands the memory controller down to the groups in it.
fn delegated(dirs: &[PathBuf]) -> Result<&Path, Refusal> {
    let hands_down = |dir: &&PathBuf| {
        let controllers = fs::read_to_string(dir.join("cgroup.subtree_control")).unwrap_or_default();
        controllers.split_whitespace().any(|name| name == "memory")
    };
    dirs.iter().find(hands_down).map(PathBuf::as_path).ok_or_else(|| {
        let own = dirs.first().map(|dir| dir.display().to_string()).unwrap_or_default();
        refused(format!("no group at or above `{own}` hands the memory controller down"), HINT)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const V1: &str = "30 25 0:26 / /sys/fs/cgroup/cpu rw,relatime shared:9 - cgroup cgroup rw,cpu\n\
        31 25 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
        32 25 0:28 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";

    #[test]
    fn version_1_has_the_controller_where_it_is_mounted_by_itself() {
        let found = place("4:memory:/jobs/7\n1:cpu:/\n0::/\n", V1);
        assert_eq!(found, Some(Place::V1("/sys/fs/cgroup/memory/jobs/7".into())));
        // Docker shows a container its own part of the hierarchy.
        let part = V1.replace("0:27 / /", "0:27 /docker/ab /");
        assert_eq!(place("4:memory:/docker/ab\n", &part), Some(Place::V1("/sys/fs/cgroup/memory".into())));
        assert_eq!(place("4:memory:/elsewhere\n", &part), None);
        assert_eq!(place("4:memory:/../..\n", V1), None);
    }

    #[test]
    fn version_2_has_it_in_the_own_group_or_above() {
        let mount = "24 1 0:22 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n";
        let found = place("0::/user.slice/app.slice\n", mount);
        let dirs =
            ["/user.slice/app.slice", "/user.slice", ""].map(|dir| PathBuf::from(format!("/sys/fs/cgroup{dir}")));
        assert_eq!(found, Some(Place::V2(dirs.to_vec())));
        assert_eq!(place("0::/\n", "24 1 0:22 / / rw - ext4 /dev/sda rw\n"), None);
    }

    #[test]
    fn a_group_is_made_where_the_controller_is_handed_down() {
        let top = tempfile::tempdir().unwrap();
        let (app, own) = (top.path().join("app"), top.path().join("app/own"));
        fs::create_dir_all(&own).unwrap();
        fs::write(own.join("cgroup.subtree_control"), "\n").unwrap();
        fs::write(app.join("cgroup.subtree_control"), "cpu memory pids\n").unwrap();
        let dirs = [own.clone(), app.clone()];
        assert_eq!(delegated(&dirs).unwrap(), app);
        let refused = delegated(&dirs[..1]).unwrap_err();
        assert!(refused.reason.contains("hands the memory controller down"), "{}", refused.reason);
    }

    #[test]
    fn kills_are_counted_in_both_versions() {
        assert_eq!(kills_told("oom_kill_disable 0\nunder_oom 0\noom_kill 3\n"), Some(3));
        assert_eq!(kills_told("low 0\nhigh 0\nmax 12\noom 1\noom_kill 1\noom_group_kill 0\n"), Some(1));
        assert_eq!(kills_told("oom_kill_disable 0\nunder_oom 0\n"), None);
    }

    #[test]
    fn what_lives_is_not_swept_and_what_is_dead_is() {
        let top = tempfile::tempdir().unwrap();
        let (dir, alive) = make(top.path()).unwrap();
        assert!(lock(&dir).unwrap().is_none(), "a second lock of the same group");
        drop(alive);
        assert!(lock(&dir).unwrap().is_some());
        assert!(dir.is_dir());
    }
}
