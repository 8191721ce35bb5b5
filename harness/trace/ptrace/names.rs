//! What the names in system calls mean: where they start, and what `/proc` makes of them.

use std::ffi::OsStr;
use std::fs::{self, OpenOptions};
use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use libc::{c_int, pid_t};

use crate::trace::image::{Image, image};

/// So many interpreters the kernel lets one script need by another (fs/exec.c, `exec_binprm`).
const INTERPRETERS: usize = 6;

/// The name of a task's program, for messages.
pub(super) fn program(task: pid_t) -> String {
    let name = proc_file(task, "comm");
    String::from_utf8_lossy(name.trim_ascii_end()).into_owned()
}

/// What proc(5) adds to the name of a file that has none any more.
const DELETED: &[u8] = b" (deleted)";

/// A file of `/proc/TID`, empty where it cannot be read. In large pieces: it has no size to go by, and each read(2) makes its
/// text anew.
pub(super) fn proc_file(task: pid_t, name: &str) -> Vec<u8> {
    /// Most environments fit, and most lists of arguments.
    const PIECE: usize = 16 << 10;
    let read = || -> io::Result<Vec<u8>> {
        let mut file = fs::File::open(format!("/proc/{task}/{name}"))?;
        let (mut text, mut used) = (Vec::new(), 0);
        loop {
            text.resize(used + PIECE, 0);
            match file.read(&mut text[used..])? {
                0 => break,
                some => used += some,
            }
        }
        text.truncate(used);
        Ok(text)
    };
    read().unwrap_or_default()
}

/// Where a link of `/proc/TID` leads; `None` for a descriptor that is not open or is no file, on which the call fails.
pub(super) fn directory(link: &str) -> io::Result<Option<PathBuf>> {
    let path = match fs::read_link(link) {
        Ok(path) if path.is_absolute() => path,
        Ok(_) => return Ok(None),
        Err(e) if matches!(e.raw_os_error(), Some(libc::ENOENT | libc::ESRCH)) => return Ok(None),
        Err(e) => return Err(e),
    };
    // Nothing can be found below a directory that was removed; a name of that kind may also be one.
    match path.as_os_str().as_bytes().strip_suffix(DELETED) {
        Some(name) if fs::symlink_metadata(&path).is_err() => Ok(Some(OsStr::from_bytes(name).into())),
        _ => Ok(Some(path)),
    }
}

/// A name that means something else to each process: `/proc/self`, `/dev/fd`, and in them the links that lead to a file
/// without its name (proc(5)). `None` when it is no such name.
fn magic(task: pid_t, name: &[u8]) -> Option<Vec<u8>> {
    let mut parts = name.strip_prefix(b"/")?.split(|byte| *byte == b'/').filter(|part| !matches!(*part, b"" | b"."));
    let mut part = || parts.next();
    let mut number = None;
    let (who, mut what) = match (part()?, part()?) {
        (b"proc", b"self" | b"thread-self") => (task.to_string(), part()?),
        (b"proc", pid) if pid.iter().all(u8::is_ascii_digit) => (String::from_utf8_lossy(pid).into_owned(), part()?),
        (b"dev", b"fd") => (task.to_string(), &b"fd"[..]),
        (b"dev", standard) => {
            number = Some(match standard {
                b"stdin" => &b"0"[..],
                b"stdout" => b"1",
                b"stderr" => b"2",
                _ => return None,
            });
            (task.to_string(), &b"fd"[..])
        }
        _ => return None,
    };
    if what == b"task" {
        // Of one thread: they share what matters here, unless they asked not to.
        part()?;
        what = part()?;
    }
    let link = match what {
        b"cwd" | b"root" | b"exe" => format!("/proc/{who}/{}", String::from_utf8_lossy(what)),
        b"fd" => format!("/proc/{who}/fd/{}", String::from_utf8_lossy(number.or_else(part)?)),
        _ => return None,
    };
    let mut path = directory(&link).ok().flatten()?.into_os_string().into_vec();
    for part in parts {
        path.push(b'/');
        path.extend(part);
    }
    Some(path)
}

/// The link of `/proc` that leads to where relative names start: the working directory, or the one of a descriptor.
pub(super) fn base(task: pid_t, dir: Option<c_int>) -> String {
    match dir {
        None | Some(libc::AT_FDCWD) => format!("/proc/{task}/cwd"),
        Some(fd) => format!("/proc/{task}/fd/{fd}"),
    }
}

/// From which directory, and by which name, what a call names is found; `None` where it starts at nothing.
pub(super) fn start(task: pid_t, dir: Option<c_int>, name: Vec<u8>) -> io::Result<Option<(PathBuf, Vec<u8>)>> {
    let base = match name.first() {
        Some(b'/') => PathBuf::from("/"),
        _ => match directory(&base(task, dir))? {
            Some(base) => base,
            None => return Ok(None),
        },
    };
    // The directory may be one of /proc itself.
    Ok(Some(match magic(task, base.join(OsStr::from_bytes(&name)).as_os_str().as_bytes()) {
        Some(name) => (PathBuf::from("/"), name),
        None => (base, name),
    }))
}

/// Where a component of a path leads that is a link; for `place`.
pub(super) fn real(path: &Path) -> Option<PathBuf> {
    let link = fs::symlink_metadata(path).is_ok_and(|data| data.is_symlink());
    if link { fs::canonicalize(path).ok() } else { None }
}

/// The file of the program that a task runs, if it still has a name.
pub(super) fn running(task: pid_t) -> Option<PathBuf> {
    let exe = fs::read_link(format!("/proc/{task}/exe")).ok()?;
    (exe.is_absolute() && !exe.as_os_str().as_bytes().ends_with(DELETED)).then_some(exe)
}

/// The files that the kernel opens to run a program: itself, then what interprets or loads it, and why there may be more.
/// `place` tells where a name leads from a directory.
pub(super) fn needed(
    task: pid_t,
    program: PathBuf,
    place: &mut dyn FnMut(&Path, &[u8]) -> PathBuf,
) -> (Vec<PathBuf>, Option<io::Error>) {
    let mut files = Vec::new();
    let mut next = Some(program);
    for _ in 0..INTERPRETERS {
        let Some(path) = next.take() else { break };
        let image = if fs::metadata(&path).is_ok_and(|data| data.is_file()) {
            // The look at a file must not change it, nor wait if it is no file after all.
            let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(&path);
            file.and_then(image)
        } else {
            Ok(Image::Other)
        };
        files.push(path);
        match image {
            Ok(Image::Script(name)) => match directory(&format!("/proc/{task}/cwd")) {
                Ok(base) => next = Some(place(&base.unwrap_or_default(), name.as_os_str().as_bytes())),
                Err(error) => return (files, Some(error)),
            },
            Ok(Image::Elf(loader)) => files.extend(loader),
            Ok(Image::Other) => {}
            Err(error) => return (files, Some(error)),
        }
    }
    (files, None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_of_proc_lead_to_the_file_itself() {
        let me = std::process::id().cast_signed();
        let here = std::env::current_dir().unwrap();
        let below = |name: &str| here.join(name).into_os_string().into_vec();
        assert_eq!(magic(me, b"/proc/self/cwd/a/b").unwrap(), below("a/b"));
        assert_eq!(magic(me, format!("/proc/{me}/cwd/a").as_bytes()).unwrap(), below("a"));
        assert_eq!(magic(me, format!("/proc/self/task/{me}/./cwd/a").as_bytes()).unwrap(), below("a"));
        assert_eq!(magic(me, b"/proc/self/status"), None);
        assert_eq!(magic(me, b"/dev/fd/99999"), None);
        assert_eq!(magic(me, b"/usr/bin/x"), None);
        assert_eq!(magic(me, b"proc/self/cwd"), None);
        let file = fs::File::open(here.join("Cargo.toml")).unwrap();
        let link = format!("/dev/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&file));
        assert_eq!(magic(me, link.as_bytes()).unwrap(), below("Cargo.toml"));
    }
}
