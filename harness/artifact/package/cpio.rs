//! The payload of an .rpm: cpio as `cpio -H newc` writes it, or rpm's own form of that, in which a member is named by its place
//! in the header's list of files (rpm's `lib/cpio.c`; rpmbuild writes it where a file has more than 4 GiB).
//!
//! The crate `cpio` reads no such form, and knows nothing of hard links.

use std::collections::BTreeMap;
use std::io::{self, Read};

use super::super::hash::fill;
use super::unpacker::{Member, Node, Unpacker, short};
use super::{LONGEST_NAME, PackageError};

const NEWC: &[u8] = b"070701";
/// With a checksum, which is not looked at: rpm writes none.
const CRC: &[u8] = b"070702";
const STRIPPED: &[u8] = b"07070X";
const TRAILER: &[u8] = b"TRAILER!!!";

/// A file as the header of an .rpm lists it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Listed {
    pub(super) name: Vec<u8>,
    pub(super) mode: u32,
    /// Of what the payload has for it: of names of one file the last has it all.
    pub(super) size: u64,
    pub(super) mtime: i64,
    pub(super) rdev: u32,
    /// What names of one file have in common; none where it has one name.
    pub(super) links: Option<(u64, u64)>,
}

/// Counts what is read, for alignment and to name places.
struct Counted<'r> {
    reader: &'r mut dyn Read,
    at: u64,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.reader.read(buffer)?;
        self.at += n as u64;
        Ok(n)
    }
}

/// Hands all members to `into`.
pub(super) fn read(
    stream: &mut dyn Read,
    listed: &dyn Fn(usize) -> Option<Listed>,
    into: &mut Unpacker<'_>,
) -> Result<(), PackageError> {
    let mut stream = Counted { reader: stream, at: 0 };
    // Names whose file is still to come.
    let mut names: BTreeMap<(u64, u64), Vec<Vec<u8>>> = BTreeMap::new();
    loop {
        align(&mut stream)?;
        let at = stream.at;
        let wrong =
            |why: String| PackageError::Member { name: "?".to_owned(), at, archive: "the payload".to_owned(), why };
        let mut magic = [0; 6];
        let n = fill(&mut stream, &mut magic).map_err(PackageError::Io)?;
        let Listed { name, mode, size, mtime, rdev, links } = match &magic[..n] {
            b"" => return Err(wrong("the archive ends without its last member".to_owned())),
            STRIPPED => {
                let number = fields::<1>(&mut stream).map_err(wrong)?[0];
                align(&mut stream)?;
                let number = usize::try_from(number).unwrap_or(usize::MAX);
                listed(number).ok_or_else(|| wrong(format!("file {number} is not in the header's list")))?
            }
            NEWC | CRC => match newc(&mut stream).map_err(wrong)? {
                Some(file) => file,
                None => return Ok(()),
            },
            other => {
                let shown = super::super::walk::escape_bytes(other);
                return Err(wrong(format!("`{shown}` where the magic of cpio should be")));
            }
        };
        let refuse = |why: String| super::unpacker::Refused::Member(why).of(&name, at, "the payload");
        let node = match mode & libc::S_IFMT {
            libc::S_IFREG => Node::File(size),
            libc::S_IFDIR => Node::Dir,
            libc::S_IFLNK => {
                Node::Symlink(short(&mut stream, size, LONGEST_NAME as u64, "its target").map_err(refuse)?)
            }
            libc::S_IFCHR => Node::Other(format!("a character device {}:{}", rdev >> 8, rdev & 0xff)),
            libc::S_IFBLK => Node::Other(format!("a block device {}:{}", rdev >> 8, rdev & 0xff)),
            libc::S_IFIFO => Node::Other("a FIFO".to_owned()),
            libc::S_IFSOCK => Node::Other("a socket".to_owned()),
            kind => return Err(refuse(format!("it is of type {kind:o}, which is not known"))),
        };
        if !matches!(node, Node::File(_) | Node::Symlink(_)) && size > 0 {
            return Err(refuse(format!("it is no file, and has {size} bytes")));
        }
        let mut content = (&mut stream).take(if matches!(node, Node::File(_)) { size } else { 0 });
        let member = Member { name: &name, node, mode, mtime, owner: String::new() };
        into.add(member, &mut content).map_err(|refused| refused.of(&name, at, "the payload"))?;
        // Of what was not wanted.
        io::copy(&mut content, &mut io::sink()).map_err(PackageError::Io)?;
        match links {
            Some(links) if size == 0 => names.entry(links).or_default().push(name),
            Some(links) => into.share(&names.remove(&links).unwrap_or_default(), &name),
            None => {}
        }
    }
}

fn align(stream: &mut Counted<'_>) -> Result<(), PackageError> {
    let n = (4 - stream.at % 4) % 4;
    let mut padding = [0; 3];
    fill(stream, &mut padding[..usize::try_from(n).unwrap_or(0)]).map_err(PackageError::Io)?;
    Ok(())
}

/// Numbers of eight hexadecimal digits.
fn fields<const N: usize>(stream: &mut Counted<'_>) -> Result<[u64; N], String> {
    let mut numbers = [0; N];
    for number in &mut numbers {
        let mut digits = [0; 8];
        if fill(stream, &mut digits).map_err(|error| error.to_string())? < digits.len() {
            return Err("the archive ends within a header".to_owned());
        }
        let text = str::from_utf8(&digits).ok().filter(|text| text.bytes().all(|digit| digit.is_ascii_hexdigit()));
        let parsed = text.and_then(|text| u64::from_str_radix(text, 16).ok());
        *number = parsed
            .ok_or_else(|| format!("`{}` where a number should be", super::super::walk::escape_bytes(&digits)))?;
    }
    Ok(numbers)
}

/// The rest of a header; none if it is the last.
fn newc(stream: &mut Counted<'_>) -> Result<Option<Listed>, String> {
    let [ino, mode, _, _, nlink, mtime, size, major, minor, rmajor, rminor, length, _] = fields::<13>(stream)?;
    let mut name = short(stream, length, LONGEST_NAME as u64 + 1, "a name")?;
    if name.pop() != Some(0) {
        return Err("a name does not end with a zero".to_owned());
    }
    align(stream).map_err(|error| error.to_string())?;
    if name == TRAILER {
        return Ok(None);
    }
    let links = (nlink > 1 && mode as u32 & libc::S_IFMT == libc::S_IFREG).then_some((major << 32 | minor, ino));
    let rdev = ((rmajor << 8) | (rminor & 0xff)) as u32;
    Ok(Some(Listed { name, mode: mode as u32, size, mtime: i64::try_from(mtime).unwrap_or(0), rdev, links }))
}
