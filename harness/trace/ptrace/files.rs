//! Which content every file holds while a command runs, and what of it is hashed when.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use crate::tree::source::sha256_file;

/// Larger files are not hashed: no build of a kernel makes one, but by holes.
const LARGEST: u64 = 4 << 30;

pub(super) struct Files {
    /// Where contents are hashed.
    own: Vec<PathBuf>,
    numbers: HashMap<OsString, u32>,
    paths: Vec<PathBuf>,
    /// The content that a path holds now; none was needed yet of those that are not here.
    holds: HashMap<u32, u32>,
    contents: Vec<Option<String>>,
}

impl Files {
    pub(super) fn new(own: Vec<PathBuf>) -> Self {
        Self { own, numbers: HashMap::new(), paths: Vec::new(), holds: HashMap::new(), contents: Vec::new() }
    }

    /// The number of a path.
    pub(super) fn name(&mut self, path: &Path) -> u32 {
        if let Some(number) = self.numbers.get(path.as_os_str()) {
            return *number;
        }
        let number = next(self.paths.len());
        self.numbers.insert(path.as_os_str().to_owned(), number);
        self.paths.push(path.to_owned());
        number
    }

    /// The path of a number.
    pub(super) fn path(&self, number: u32) -> &Path {
        self.paths.get(number as usize).map_or(Path::new(""), PathBuf::as_path)
    }

    /// The content that a file holds.
    pub(super) fn current(&mut self, path: &Path) -> u32 {
        let path = self.name(path);
        if let Some(content) = self.holds.get(&path) {
            return *content;
        }
        self.fresh(path)
    }

    /// The content of a file that is being written from now on.
    pub(super) fn written(&mut self, path: &Path) -> u32 {
        let path = self.name(path);
        self.fresh(path)
    }

    fn fresh(&mut self, path: u32) -> u32 {
        let content = next(self.contents.len());
        self.contents.push(None);
        self.holds.insert(path, content);
        content
    }

    /// A name is gone.
    pub(super) fn take(&mut self, path: &Path) -> Option<u32> {
        let path = self.name(path);
        self.holds.remove(&path)
    }

    /// A file, or a directory with all in it, has another name.
    pub(super) fn rename(&mut self, from: &Path, to: &Path, exchange: bool) -> Option<u32> {
        let below = |path: &&PathBuf, dir: &Path| path.starts_with(dir) && path.as_path() != dir;
        let moved = |files: &Self, from: &Path, to: &Path| -> Vec<(PathBuf, PathBuf)> {
            let inside = files.paths.iter().filter(|path| below(path, from));
            let inside = inside.filter_map(|path| Some((path.clone(), to.join(path.strip_prefix(from).ok()?))));
            inside.chain([(from.to_owned(), to.to_owned())]).collect()
        };
        // Nearly always a file, which nothing is below.
        let directory = fs::symlink_metadata(to).is_ok_and(|data| data.is_dir());
        let one = |from: &Path, to: &Path| vec![(from.to_owned(), to.to_owned())];
        let mut moves = if directory { moved(self, from, to) } else { one(from, to) };
        if exchange {
            moves.extend(if directory { moved(self, to, from) } else { one(to, from) });
        }
        let contents: Vec<Option<u32>> = moves.iter().map(|(from, _)| self.take(from)).collect();
        for ((_, to), content) in moves.iter().zip(&contents) {
            let to = self.name(to);
            match content {
                Some(content) => drop(self.holds.insert(to, *content)),
                None => drop(self.holds.remove(&to)),
            }
        }
        let at = moves.iter().position(|(path, _)| path == from)?;
        // Whoever reads it under the new name meets what was there under the old.
        contents[at].or_else(|| (!directory).then(|| self.current(to)))
    }

    /// A file has a further name.
    pub(super) fn link(&mut self, from: &Path, to: &Path) -> Option<u32> {
        let content = self.current(from);
        let to = self.name(to);
        self.holds.insert(to, content);
        Some(content)
    }

    /// What a file holds, which may be lost with the next call: the content, and its digest if it is not known yet.
    pub(super) fn preserve(&mut self, path: &Path) -> Option<(u32, String)> {
        let hashable = |data: fs::Metadata| data.is_file() && data.len() <= LARGEST;
        if !self.is_own(path) || !fs::symlink_metadata(path).is_ok_and(hashable) {
            return None;
        }
        let content = self.current(path);
        if self.contents[content as usize].is_some() {
            return None;
        }
        Some((content, sha256_file(path, &mut |_| {}).ok()?))
    }

    /// It was lost, and this was its digest.
    pub(super) fn lost(&mut self, (content, digest): (u32, String)) {
        self.contents[content as usize] = Some(digest);
    }

    pub(super) fn is_own(&self, path: &Path) -> bool {
        self.own.iter().any(|own| path.starts_with(own))
    }

    /// The paths and the contents, by number, with what is left hashed.
    pub(super) fn finish(mut self) -> (Vec<PathBuf>, Vec<Option<String>>) {
        let mut holds: Vec<(u32, u32)> = self.holds.iter().map(|(path, content)| (*path, *content)).collect();
        holds.sort_unstable();
        for (path, _) in holds {
            let path = self.paths[path as usize].clone();
            if let Some(last) = self.preserve(&path) {
                self.lost(last);
            }
        }
        (self.paths, self.contents)
    }
}

/// Four thousand million names are beyond the memory of any machine that builds a kernel.
fn next(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents_go_along_with_names() {
        let mut files = Files::new(Vec::new());
        let (a, b) = (Path::new("/none/a"), Path::new("/none/b"));
        let first = files.current(a);
        assert_eq!(files.current(a), first);
        let second = files.written(a);
        assert_ne!(first, second);
        assert_eq!(files.rename(a, b, false), Some(second));
        assert_eq!(files.current(b), second);
        assert_ne!(files.current(a), second, "what comes there now is another");
        assert_eq!(files.link(b, a), Some(second));
        assert_eq!(files.take(a), Some(second));
        let (c, d) = (files.written(a), files.current(b));
        assert_eq!(files.rename(a, b, true), Some(c));
        assert_eq!((files.current(a), files.current(b)), (d, c));
    }

    #[test]
    fn a_hole_is_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hole");
        fs::File::create(&path).unwrap().set_len(1 << 40).unwrap();
        let mut files = Files::new(vec![dir.path().to_owned()]);
        files.current(&path);
        assert_eq!(files.finish().1, [None]);
    }

    #[test]
    fn what_is_lost_is_hashed_before() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        let mut files = Files::new(vec![dir.path().to_owned()]);
        fs::write(&path, "one").unwrap();
        let before = files.preserve(&path).unwrap();
        files.lost(before);
        files.written(&path);
        fs::write(&path, "two").unwrap();
        files.current(Path::new("/etc/passwd"));
        let (paths, contents) = files.finish();
        assert_eq!(paths, [path, "/etc/passwd".into()]);
        let digest = |text: &str| crate::tree::source::sha256(text.as_bytes());
        assert_eq!(contents, [Some(digest("one")), Some(digest("two")), None]);
    }
}
