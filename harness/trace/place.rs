//! Where a path leads that a process named: absolute, and normalised without losing a look.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// A path that a process named.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Absolute, without `.`, `..` and needless slashes.
    pub(super) path: PathBuf,
    /// What `..` left again on the way: the whole depends on these being directories. They are looked at, too.
    pub(super) passed: Vec<PathBuf>,
}

/// `name`, relative to `base` if it is relative. `base` is a directory as the kernel names it, without symbolic links, so that
/// `..` can climb from it; that a component of `name` is a link is found out by `real`, which gives what it leads to.
pub(super) fn place(base: &Path, name: &[u8], real: &mut dyn FnMut(&Path) -> Option<PathBuf>) -> Place {
    let mut path: Vec<u8> = Vec::with_capacity(256);
    if !name.starts_with(b"/") {
        path.extend(base.as_os_str().as_bytes().strip_suffix(b"/").unwrap_or(base.as_os_str().as_bytes()));
    }
    // How much of `path` is free of symbolic links.
    let mut known = path.len();
    let mut passed = Vec::new();
    for component in name.split(|byte| *byte == b'/') {
        match component {
            b"" | b"." => {}
            b".." => {
                if path.len() > known {
                    let left = PathBuf::from(OsStr::from_bytes(&path));
                    if let Some(target) = real(&left) {
                        path = target.into_os_string().into_encoded_bytes();
                        known = path.len();
                    }
                    passed.push(left);
                }
                path.truncate(path.iter().rposition(|byte| *byte == b'/').unwrap_or(0));
                known = known.min(path.len());
            }
            component => {
                path.push(b'/');
                path.extend(component);
            }
        }
    }
    if path.is_empty() {
        path.push(b'/');
    }
    Place { path: PathBuf::from(OsStr::from_bytes(&path)), passed }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(base: &str, name: &str) -> (String, Vec<String>) {
        // `/o/source` is a link to `/src/linux`, as kbuild makes one in its output directory.
        let mut real = |path: &Path| (path == Path::new("/o/source")).then(|| PathBuf::from("/src/linux"));
        let Place { path, passed } = place(Path::new(base), name.as_bytes(), &mut real);
        let text = |path: PathBuf| path.to_str().unwrap().to_owned();
        (text(path), passed.into_iter().map(text).collect())
    }

    #[test]
    fn relative_paths_start_at_the_directory() {
        assert_eq!(at("/o", "a/./b//c"), ("/o/a/b/c".into(), vec![]));
        assert_eq!(at("/", "a"), ("/a".into(), vec![]));
        assert_eq!(at("/o", "/a/"), ("/a".into(), vec![]));
        assert_eq!(at("/o", "."), ("/o".into(), vec![]));
        assert_eq!(at("/", "."), ("/".into(), vec![]));
    }

    #[test]
    fn climbing_from_the_directory_passes_nothing() {
        assert_eq!(at("/o/x", "../y"), ("/o/y".into(), vec![]));
        assert_eq!(at("/o", "../../../y"), ("/y".into(), vec![]));
        assert_eq!(at("/o", ".."), ("/".into(), vec![]));
    }

    #[test]
    fn what_is_left_again_was_looked_at() {
        assert_eq!(at("/o", "a/../b"), ("/o/b".into(), vec!["/o/a".into()]));
        assert_eq!(at("/o", "a/b/../../c"), ("/o/c".into(), vec!["/o/a/b".into(), "/o/a".into()]));
        assert_eq!(at("/o", "/usr/lib/gcc/../x"), ("/usr/lib/x".into(), vec!["/usr/lib/gcc".into()]));
        assert_eq!(at("/o", "../a/../b"), ("/b".into(), vec!["/a".into()]));
    }

    #[test]
    fn the_parent_of_a_link_is_where_it_leads() {
        assert_eq!(at("/o", "source/../x"), ("/src/x".into(), vec!["/o/source".into()]));
        assert_eq!(at("/o", "source/../../x"), ("/x".into(), vec!["/o/source".into()]));
        assert_eq!(at("/o", "source/x"), ("/o/source/x".into(), vec![]));
    }
}
