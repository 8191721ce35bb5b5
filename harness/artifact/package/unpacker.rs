//! Where members of a package are put: names in a table, contents in a file without a name.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt as _;

use sha2::{Digest as _, Sha256};

use super::super::hash::fill;
use super::super::walk::escape_bytes;
use super::{Digest, Entry, FileKind, LARGEST, LONGEST_NAME, MOST_MEMBERS, MOST_NAMES, Opening, PackageError};

/// What is copied at once, in bytes.
const CHUNK: usize = 128 << 10;

/// What a member is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Node {
    /// A regular file of so many bytes.
    File(u64),
    Dir,
    /// A symbolic link to there.
    Symlink(Vec<u8>),
    /// Another name of a file that came before.
    HardLink(Vec<u8>),
    /// A device or a FIFO, for people.
    Other(String),
}

/// A member as the archive has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Member<'m> {
    pub(super) name: &'m [u8],
    pub(super) node: Node,
    pub(super) mode: u32,
    pub(super) mtime: i64,
    pub(super) owner: String,
}

/// What has been unpacked so far.
pub(super) struct Unpacker<'u> {
    how: &'u Opening<'u>,
    spool: File,
    /// Where the next content goes.
    end: u64,
    entries: BTreeMap<String, Entry>,
    names: usize,
    buffer: Vec<u8>,
    /// The directory of what the package says about itself, `DEBIAN/` or `RPM/`, while that is unpacked.
    pub(super) about: Option<&'static str>,
}

/// Why a member is not taken.
pub(super) enum Refused {
    /// It is not to be there.
    Member(String),
    /// Nothing more is to be unpacked.
    All(PackageError),
}

impl From<PackageError> for Refused {
    fn from(error: PackageError) -> Self {
        Self::All(error)
    }
}

impl Refused {
    /// As the error of that member.
    pub(super) fn of(self, name: &[u8], at: u64, archive: &str) -> PackageError {
        match self {
            Self::Member(why) => {
                PackageError::Member { name: escape_bytes(name), at, archive: archive.to_owned(), why }
            }
            Self::All(error) => error,
        }
    }
}

impl<'u> Unpacker<'u> {
    pub(super) fn new(how: &'u Opening<'u>) -> Result<Self, PackageError> {
        // It has no name, and is gone with the last who has it open.
        let spool = tempfile::tempfile().map_err(PackageError::Kept)?;
        let (entries, buffer) = (BTreeMap::new(), vec![0; CHUNK]);
        Ok(Self { how, spool, end: 0, entries, names: 0, buffer, about: None })
    }

    /// Takes a member, whose content is what `content` has next.
    pub(super) fn add(&mut self, member: Member<'_>, content: &mut dyn Read) -> Result<(), Refused> {
        let mut path = plain(member.name).map_err(Refused::Member)?;
        if let Some(about) = self.about {
            path = if path == "." { about.to_owned() } else { format!("{about}/{path}") };
        }
        let target = match &member.node {
            Node::Symlink(target) | Node::HardLink(target) => target.len(),
            _ => 0,
        };
        if target > LONGEST_NAME {
            return Err(Refused::Member(format!("its target has {target} bytes, more than a path may have")));
        }
        self.names += path.len() + target;
        if self.entries.len() >= MOST_MEMBERS || self.names > MOST_NAMES {
            let most = format!("{MOST_MEMBERS} members, or {} MiB of names", MOST_NAMES >> 20);
            return Err(PackageError::TooLarge(format!("it has more than {most}, the most that is unpacked")).into());
        }
        match self.entries.get(&path) {
            // As where two packages' contents were put into one archive; rpm and dpkg take it too.
            Some(before) if before.kind == FileKind::Dir && member.node == Node::Dir => {}
            Some(_) => return Err(Refused::Member("it is there twice; which one is meant cannot be told".to_owned())),
            None => {}
        }
        let (at, order) = (self.end, self.entries.len());
        let about = self.about.is_some();
        let Member { node, mode, mtime, owner, .. } = member;
        let mut entry = Entry {
            kind: FileKind::Other,
            mode: mode & 0o7777,
            size: 0,
            mtime,
            owner,
            told: String::new(),
            sha256: None,
            about,
            order,
            at,
        };
        let mut found = false;
        (entry.kind, entry.told) = match node {
            Node::File(size) => {
                entry.size = size;
                found = !about && self.how.wanted.is_some_and(|wanted| wanted(&path));
                if found || self.how.wanted.is_none() {
                    entry.sha256 = Some(self.keep(size, content)?);
                }
                (FileKind::File, "a regular file".to_owned())
            }
            Node::Dir => (FileKind::Dir, "a directory".to_owned()),
            Node::Symlink(target) => (FileKind::Symlink, format!("a symbolic link to {}", escape_bytes(&target))),
            Node::Other(told) => (FileKind::Other, told),
            Node::HardLink(target) => {
                let to = plain(&target).map_err(|why| Refused::Member(format!("its target: {why}")))?;
                match self.entries.get(&to) {
                    Some(file) if file.kind == FileKind::File => {
                        (entry.size, entry.at, entry.sha256) = (file.size, file.at, file.sha256);
                        (FileKind::File, "a regular file".to_owned())
                    }
                    _ => {
                        let why = format!("a hard link to `{to}`, which is no file that came before it");
                        return Err(Refused::Member(why));
                    }
                }
            }
        };
        self.entries.insert(path, entry);
        if found { Err(PackageError::Found.into()) } else { Ok(()) }
    }

    /// Puts a text of ours among what the package says about itself.
    pub(super) fn add_text(&mut self, name: &str, text: &[u8], mode: u32) -> Result<(), PackageError> {
        let node = Node::File(text.len() as u64);
        let member = Member { name: name.as_bytes(), node, mode, mtime: 0, owner: String::new() };
        self.add(member, &mut &*text).map_err(|refused| refused.of(name.as_bytes(), 0, "header"))
    }

    /// Copies content to the end of the temporary file; zeros are left out, which makes holes.
    fn keep(&mut self, size: u64, content: &mut dyn Read) -> Result<Digest, Refused> {
        if self.end.checked_add(size).is_none_or(|end| end > LARGEST) {
            let why = format!("with it there are more than {} GiB, the most that is unpacked", LARGEST >> 30);
            return Err(Refused::Member(why));
        }
        let mut hash = Sha256::new();
        let mut left = size;
        while left > 0 {
            let n = usize::try_from(left).map_or(CHUNK, |left| left.min(CHUNK));
            let got = fill(content, &mut self.buffer[..n]).map_err(PackageError::Io)?;
            let bytes = &self.buffer[..got];
            hash.update(bytes);
            if bytes.iter().any(|byte| *byte != 0) {
                self.spool.write_all_at(bytes, self.end).map_err(PackageError::Kept)?;
            }
            self.end += got as u64;
            left -= got as u64;
            if got < n {
                return Err(Refused::Member(format!("it should have {size} bytes, and {left} are missing")));
            }
        }
        Ok(Digest(hash.finalize().into()))
    }

    /// Whether a file came before, and where a name that has no content of its own yet belongs.
    pub(super) fn share(&mut self, names: &[Vec<u8>], with: &[u8]) {
        let Some(file) = plain(with).ok().and_then(|path| self.entries.get(&path)).cloned() else { return };
        for path in names.iter().filter_map(|name| plain(name).ok()) {
            if let Some(entry) = self.entries.get_mut(&path) {
                (entry.size, entry.at, entry.sha256) = (file.size, file.at, file.sha256);
            }
        }
    }

    /// Says whose a member is, where the archive does not say it.
    pub(super) fn owned(&mut self, name: &[u8], owner: String) {
        if let Some(entry) = plain(name).ok().and_then(|path| self.entries.get_mut(&path)) {
            entry.owner = owner;
        }
    }

    /// All members, and the file that has their contents.
    pub(super) fn finish(self) -> Result<(BTreeMap<String, Entry>, File), PackageError> {
        // What follows the last hole ends somewhere too.
        self.spool.set_len(self.end).map_err(PackageError::Kept)?;
        for (path, entry) in self.entries.iter().filter(|(_, entry)| entry.kind != FileKind::Dir) {
            let below = format!("{path}/");
            if let Some((name, _)) = self.entries.range(below.clone()..).next().filter(|(n, _)| n.starts_with(&below)) {
                let why = format!("it lies below `{path}`, which is {}", entry.told);
                return Err(PackageError::Member { name: name.clone(), at: 0, archive: "the package".to_owned(), why });
            }
        }
        Ok((self.entries, self.spool))
    }
}

/// A member's name without the `./` before it and the `/` after it, escaped; `.` is the top.
pub(super) fn plain(name: &[u8]) -> Result<String, String> {
    if name.len() > LONGEST_NAME {
        return Err(format!("its name has {} bytes, more than a path may have", name.len()));
    }
    if name.is_empty() {
        return Err("it has no name".to_owned());
    }
    if name.starts_with(b"/") {
        return Err("its name is absolute".to_owned());
    }
    if name.contains(&0) {
        return Err("its name has a zero in it".to_owned());
    }
    let parts: Vec<&[u8]> = name.split(|byte| *byte == b'/').filter(|part| !matches!(part, [] | [b'.'])).collect();
    if parts.iter().any(|part| *part == b"..") {
        return Err("its name leads upwards".to_owned());
    }
    Ok(if parts.is_empty() { ".".to_owned() } else { escape_bytes(&parts.join(&b'/')) })
}

/// All of something that is short.
pub(super) fn short(reader: &mut dyn Read, size: u64, most: u64, what: &str) -> Result<Vec<u8>, String> {
    if size > most {
        return Err(format!("{what} has {size} bytes, and {most} are the most that is read"));
    }
    let mut bytes = Vec::new();
    let read: io::Result<usize> = reader.take(size).read_to_end(&mut bytes);
    match read {
        Ok(n) if n as u64 == size => Ok(bytes),
        Ok(n) => Err(format!("{what} should have {size} bytes, and {n} are there")),
        Err(error) => Err(error.to_string()),
    }
}
