//! Members of a tar archive, by the crate `tar` as far as headers go: long names and extended headers it would read into
//! memory whatever their length, and sparse members it would fill in.

use std::io::Read;

use ::tar::{Archive, Entry, EntryType, PaxExtensions};

use super::PackageError;
use super::unpacker::{Member, Node, Refused, Unpacker, short};

/// The longest name before a member, or its extended header, in bytes.
const LONGEST: u64 = 64 << 10;

/// What comes before a member and is about it.
#[derive(Default)]
struct Before {
    name: Option<Vec<u8>>,
    target: Option<Vec<u8>>,
    mtime: Option<i64>,
    size: Option<u64>,
}

/// Hands all members to `into`.
pub(super) fn read(stream: &mut dyn Read, archive: &str, into: &mut Unpacker<'_>) -> Result<(), PackageError> {
    let mut tar = Archive::new(stream);
    // Raw: one header at a time, and nothing is looked at but that header.
    let entries = tar.entries().map_err(PackageError::Io)?.raw(true);
    let mut before = Before::default();
    let mut end = 0;
    for entry in entries {
        let broken = |error: std::io::Error| PackageError::Member {
            name: "?".to_owned(),
            at: end,
            archive: archive.to_owned(),
            why: format!("no header of tar: {error}"),
        };
        let mut entry = entry.map_err(broken)?;
        let at = entry.raw_header_position();
        end = entry.raw_file_position().saturating_add(entry.size().next_multiple_of(512));
        let name = before.name.clone().unwrap_or_else(|| entry.header().path_bytes().into_owned());
        let taken = one(&mut entry, &name, &mut before, into);
        if taken.map_err(|refused| refused.of(&name, at, archive))? {
            before = Before::default();
        }
    }
    Ok(())
}

/// Takes an entry; false if it is only about the next.
fn one(
    entry: &mut Entry<'_, &mut dyn Read>,
    name: &[u8],
    before: &mut Before,
    into: &mut Unpacker<'_>,
) -> Result<bool, Refused> {
    let number = |number: std::io::Result<u64>, what: &str| {
        number.map_err(|error| Refused::Member(format!("its {what}: {error}")))
    };
    let kind = entry.header().entry_type();
    let size = entry.size();
    let until_zero = |mut bytes: Vec<u8>| {
        bytes.truncate(bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len()));
        bytes
    };
    match kind {
        EntryType::GNULongName => {
            before.name = Some(until_zero(short(entry, size, LONGEST, "its name").map_err(Refused::Member)?));
            return Ok(false);
        }
        EntryType::GNULongLink => {
            before.target = Some(until_zero(short(entry, size, LONGEST, "its target").map_err(Refused::Member)?));
            return Ok(false);
        }
        EntryType::XHeader => {
            extended(&short(entry, size, LONGEST, "its extended header").map_err(Refused::Member)?, before)?;
            return Ok(false);
        }
        // git-archive(1) has the commit in one; it is in the digest of the archive.
        EntryType::XGlobalHeader => return Ok(false),
        _ => {}
    }
    if before.size.is_some_and(|said| said != size) {
        return Err(Refused::Member("its two headers do not agree on its length".to_owned()));
    }
    let header = entry.header().clone();
    let device = |what: &str| {
        let part = |part: std::io::Result<Option<u32>>| part.ok().flatten().unwrap_or(0);
        Node::Other(format!("a {what} device {}:{}", part(header.device_major()), part(header.device_minor())))
    };
    let target = || {
        let target = before.target.clone().or_else(|| header.link_name_bytes().map(|name| name.into_owned()));
        target.filter(|target| !target.is_empty()).ok_or_else(|| Refused::Member("a link without a target".to_owned()))
    };
    let node = match kind {
        // Before POSIX a directory was a file whose name ends so.
        EntryType::Regular | EntryType::Continuous if size == 0 && name.ends_with(b"/") => Node::Dir,
        EntryType::Regular | EntryType::Continuous => Node::File(size),
        EntryType::Directory => Node::Dir,
        EntryType::Symlink => Node::Symlink(target()?),
        EntryType::Link => Node::HardLink(target()?),
        EntryType::Char => device("character"),
        EntryType::Block => device("block"),
        EntryType::Fifo => Node::Other("a FIFO".to_owned()),
        EntryType::GNUSparse => {
            return Err(Refused::Member("it is sparse, which dpkg does not take either".to_owned()));
        }
        kind => {
            let kind = super::super::walk::escape_bytes(&[kind.as_byte()]);
            return Err(Refused::Member(format!("it is of type `{kind}`, which is not known")));
        }
    };
    let owner = |name: Option<&[u8]>, id: std::io::Result<u64>| {
        let name = super::super::walk::escape_bytes(name.unwrap_or_default());
        id.map_or_else(|_| name.clone(), |id| format!("{name}({id})"))
    };
    let owner = [owner(header.username_bytes(), header.uid()), owner(header.groupname_bytes(), header.gid())].join(":");
    let mode = number(header.mode().map(u64::from), "mode")? as u32;
    let mtime = match before.mtime {
        Some(mtime) => mtime,
        None => i64::try_from(number(header.mtime(), "time")?).unwrap_or(i64::MAX),
    };
    into.add(Member { name, node, mode, mtime, owner }, entry)?;
    Ok(true)
}

/// An extended header of POSIX (pax(1)), as far as it says something that counts here.
fn extended(bytes: &[u8], before: &mut Before) -> Result<(), Refused> {
    for record in PaxExtensions::new(bytes) {
        let record = record.map_err(|error| Refused::Member(format!("its extended header: {error}")))?;
        let number = || str::from_utf8(record.value_bytes()).ok()?.split('.').next()?.parse::<i64>().ok();
        match record.key_bytes() {
            b"path" => before.name = Some(record.value_bytes().to_vec()),
            b"linkpath" => before.target = Some(record.value_bytes().to_vec()),
            b"mtime" => before.mtime = number(),
            b"size" => before.size = number().and_then(|size| u64::try_from(size).ok()),
            key if key.starts_with(b"GNU.sparse.") => {
                return Err(Refused::Member("it is sparse, which dpkg does not take either".to_owned()));
            }
            _ => {}
        }
    }
    Ok(())
}
