//! The source tree as a build sees it: a state's own files over a directory of the host.
//!
//! [`View`] answers what a path shows, following symbolic links of the directory as the build's kernel would, without
//! laying anything down. It is what a preparation that was made for one state is checked against for another.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use super::{FileState, State, materialise};

/// After how many symbolic links a path leads nowhere (path_resolution(7)).
const MOST_LINKS: usize = 40;

/// A state over the directory that lies below it.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// The directory: a kernel's sources.
    pub lower: &'a Path,
    /// What differs from it.
    pub state: &'a State,
}

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shown {
    /// Nothing.
    Absent,
    /// A directory.
    Dir,
    /// A file of the state's own.
    Own {
        /// Its content.
        bytes: Arc<[u8]>,
        /// Permission bits.
        mode: u32,
    },
    /// What the directory has at this path of the host; links are followed.
    Lower(PathBuf),
    /// A link leads out of the tree, to this path of the host.
    Outside(PathBuf),
    /// A link leads out of the tree to where only the build itself knows what is there.
    Elsewhere,
}

/// What a name in a directory is, as readdir(3) tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Named {
    /// A directory.
    Dir,
    /// A symbolic link.
    Link,
    /// Anything else.
    File,
}

impl Named {
    /// Of a directory's entry.
    #[must_use]
    pub fn of(entry: &fs::DirEntry) -> Self {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => Self::Dir,
            Ok(kind) if kind.is_symlink() => Self::Link,
            _ => Self::File,
        }
    }
}

/// Where sandboxes keep what is their own.
const SANDBOX: &str = "/build";

impl View<'_> {
    /// What is at `path`, relative to the top of the tree.
    #[must_use]
    pub fn at(&self, path: &Path) -> Shown {
        let path = match self.resolve(path, &mut Vec::new()) {
            Ok(path) => path,
            Err(shown) => return shown,
        };
        if let Some(text) = path.to_str() {
            match self.state.files.get(text) {
                Some(FileState::Present { bytes, mode }) => {
                    return Shown::Own { bytes: Arc::clone(bytes), mode: *mode };
                }
                Some(FileState::Deleted) => return Shown::Absent,
                None if self.own_below(text).next().is_some() => return Shown::Dir,
                None => {}
            }
        }
        let lower = self.lower.join(&path);
        match fs::symlink_metadata(&lower) {
            Ok(meta) if meta.is_dir() => Shown::Dir,
            Ok(_) => Shown::Lower(lower),
            Err(_) => Shown::Absent,
        }
    }

    /// The symbolic links that lead to `path`: each, and what it says.
    #[must_use]
    pub fn links(&self, path: &Path) -> Vec<(PathBuf, PathBuf)> {
        let mut links = Vec::new();
        let _ = self.resolve(path, &mut links);
        links
    }

    /// Whether no file of the state's own lies below a link of the directory: it would show at two places.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        let linked = |dir: &Path| self.lower.join(dir).symlink_metadata().is_ok_and(|meta| meta.is_symlink());
        let dirs = self.state.files.keys().flat_map(|path| Path::new(path).ancestors().skip(1));
        let mut dirs: Vec<&Path> = dirs.filter(|dir| !dir.as_os_str().is_empty()).collect();
        dirs.sort_unstable();
        dirs.dedup();
        !dirs.into_iter().any(linked)
    }

    /// The names in the directory at `path`; none if it is no directory.
    #[must_use]
    pub fn names(&self, path: &Path) -> BTreeMap<OsString, Named> {
        let Ok(path) = self.resolve(path, &mut Vec::new()) else { return BTreeMap::new() };
        let entries = fs::read_dir(self.lower.join(&path)).into_iter().flatten().flatten();
        let mut names: BTreeMap<OsString, Named> =
            entries.map(|entry| (entry.file_name(), Named::of(&entry))).collect();
        let Some(text) = path.to_str() else { return names };
        for (below, file) in self.own_below(text) {
            let name = below.split('/').next().unwrap_or(below);
            match file {
                FileState::Present { .. } => {
                    let named = if below == name { Named::File } else { Named::Dir };
                    names.insert(name.into(), named);
                }
                FileState::Deleted if below == name => _ = names.remove(&OsString::from(name)),
                FileState::Deleted => {}
            }
        }
        names
    }

    /// When what is at `path` was last changed, as make would see it.
    #[must_use]
    pub fn changed(&self, path: &Path) -> Option<SystemTime> {
        match self.at(path) {
            Shown::Own { .. } => {
                Some(SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(materialise::SOURCE_TIME))
            }
            Shown::Lower(path) => fs::metadata(path).ok()?.modified().ok(),
            Shown::Absent | Shown::Dir | Shown::Outside(_) | Shown::Elsewhere => None,
        }
    }

    /// The state's files below a directory, by the rest of their path.
    fn own_below<'s>(&'s self, dir: &str) -> impl Iterator<Item = (&'s str, &'s FileState)> + use<'s> {
        let prefix = if dir.is_empty() { String::new() } else { format!("{dir}/") };
        let length = prefix.len();
        let files = self.state.files.range(prefix.clone()..);
        files.take_while(move |(path, _)| path.starts_with(&prefix)).map(move |(path, file)| (&path[length..], file))
    }

    /// The path with the lower directory's symbolic links and all dots gone, or what an odd one shows.
    fn resolve(&self, path: &Path, seen: &mut Vec<(PathBuf, PathBuf)>) -> Result<PathBuf, Shown> {
        let mut todo: Vec<OsString> = parts(path);
        let mut done = PathBuf::new();
        let mut links = 0;
        while let Some(part) = todo.pop() {
            if part == ".." {
                if !done.pop() {
                    return Err(Shown::Elsewhere);
                }
                continue;
            }
            done.push(&part);
            if done.to_str().is_some_and(|text| self.state.files.contains_key(text)) {
                continue;
            }
            let Ok(target) = fs::read_link(self.lower.join(&done)) else { continue };
            seen.push((done.clone(), target.clone()));
            links += 1;
            if links > MOST_LINKS {
                return Err(Shown::Absent);
            }
            if target.is_absolute() {
                let rest: PathBuf = todo.iter().rev().collect();
                let target = target.join(rest);
                return Err(if target.starts_with(SANDBOX) { Shown::Elsewhere } else { Shown::Outside(target) });
            }
            done.pop();
            todo.extend(parts(&target));
        }
        Ok(done)
    }
}

/// The components of a path, the last first.
fn parts(path: &Path) -> Vec<OsString> {
    let part = |component: Component<'_>| match component {
        Component::Normal(part) => Some(part.to_owned()),
        Component::ParentDir => Some("..".into()),
        _ => None,
    };
    let mut parts: Vec<OsString> = path.components().filter_map(part).collect();
    parts.reverse();
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn present(text: &str) -> FileState {
        FileState::Present { bytes: Arc::from(text.as_bytes()), mode: 0o755 }
    }

    #[test]
    fn own_files_lie_over_the_directory_and_links_are_followed() {
        let dir = tempfile::tempdir().expect("a directory");
        let top = dir.path();
        fs::create_dir_all(top.join("scripts/mod")).expect("made");
        for name in ["scripts/a", "scripts/gone", "scripts/mod/b"] {
            fs::write(top.join(name), name).expect("written");
        }
        symlink("scripts/mod", top.join("link")).expect("linked");
        symlink("../scripts/a", top.join("scripts/to-a")).expect("linked");
        symlink("loop", top.join("loop")).expect("linked");
        symlink("/usr/include", top.join("out")).expect("linked");
        let mut state = State::default();
        state.files.insert("scripts/a".into(), present("own"));
        state.files.insert("scripts/new/c".into(), present("new"));
        state.files.insert("scripts/gone".into(), FileState::Deleted);
        let view = View { lower: top, state: &state };
        let at = |path: &str| view.at(Path::new(path));
        assert!(matches!(at("scripts/a"), Shown::Own { mode: 0o755, .. }));
        assert!(matches!(at("scripts/to-a"), Shown::Own { .. }), "the link's target is the state's own");
        assert_eq!(at("link/b"), Shown::Lower(top.join("scripts/mod/b")));
        assert_eq!(at("link/../a"), at("scripts/a"), "`..` is that of the link's target");
        assert_eq!([at("scripts/gone"), at("nowhere"), at("loop")], [const { Shown::Absent }; 3]);
        assert_eq!(at("../x"), Shown::Elsewhere);
        assert_eq!([at("scripts/new"), at("scripts"), at("link"), at("")], [const { Shown::Dir }; 4]);
        assert_eq!(at("out/stdio.h"), Shown::Outside("/usr/include/stdio.h".into()));
        let names: Vec<_> = view.names(Path::new("scripts")).into_iter().collect();
        let named = |name: &str, named| (OsString::from(name), named);
        let want =
            [named("a", Named::File), named("mod", Named::Dir), named("new", Named::Dir), named("to-a", Named::Link)];
        assert_eq!(names, want);
        assert_eq!(view.names(Path::new("link")).into_keys().collect::<Vec<_>>(), ["b"]);
        assert_eq!(view.links(Path::new("link/b")), [(PathBuf::from("link"), PathBuf::from("scripts/mod"))]);
        assert!(view.is_plain());
        let mut state = state.clone();
        state.files.insert("link/b".into(), present("twice"));
        assert!(!View { lower: top, state: &state }.is_plain());
    }
}
