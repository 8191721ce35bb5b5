//! An .rpm (rpm's `docs/manual/format_v4.md`, `docs/manual/tags.md`): 96 bytes of lead, a header with signatures, a header
//! with all that is known of the package, and the payload.
//!
//! The crate `rpm` reads the whole payload into memory and brings thirty others; a header is a table of (tag, type, place,
//! count) and the bytes that it is about.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::super::packed::Packing;
use super::super::walk::escape_bytes;
use super::cpio::{self, Listed};
use super::unpacker::{Unpacker, short};
use super::{MOST_MEMBERS, PackageError, Piece, Source};
use crate::artifact::Digest;

const LEAD: usize = 96;
const MAGIC: &[u8] = &[0x8e, 0xad, 0xe8, 1];
/// `HEADER_TAGS_MAX` of rpm, and less than its `HEADER_DATA_MAX`: the header of a kernel's debug package has 10 MB.
const MOST_TAGS: u32 = 0xffff;
const LARGEST: u32 = 32 << 20;
/// The longest text that is made of a header, in bytes.
const LONGEST_TEXT: usize = 16 << 20;

/// `RPMSIGTAG_OPENPGP`.
const OPENPGP: u32 = 278;
/// Tags of signatures (`rpmSigTag_e`); all others there follow from what is signed.
const SIGNATURES: &[(u32, &str)] =
    &[(267, "DSA, of the header"), (268, "RSA, of the header"), (OPENPGP, "OpenPGP"), (1002, "PGP"), (1005, "GPG")];

/// Tags with one value or a list of them, by the names that `rpm --querytags` has.
const TAGS: &[(u32, &str)] = &[
    (1000, "Name"),
    (1003, "Epoch"),
    (1001, "Version"),
    (1002, "Release"),
    (1022, "Arch"),
    (1021, "Os"),
    (1004, "Summary"),
    (1005, "Description"),
    (1006, "Buildtime"),
    (1007, "Buildhost"),
    (1010, "Distribution"),
    (1011, "Vendor"),
    (1014, "License"),
    (1015, "Packager"),
    (1016, "Group"),
    (1020, "Url"),
    (1044, "Sourcerpm"),
    (1064, "Rpmversion"),
    (1085, "Preinprog"),
    (1086, "Postinprog"),
    (1087, "Preunprog"),
    (1088, "Postunprog"),
    (1094, "Cookie"),
    (1098, "Prefixes"),
    (1080, "Changelogtime"),
    (1081, "Changelogname"),
    (1082, "Changelogtext"),
    (1122, "Optflags"),
    (1123, "Disturl"),
    (1124, "Payloadformat"),
    (1125, "Payloadcompressor"),
    (1126, "Payloadflags"),
    (1132, "Platform"),
    (5062, "Encoding"),
];

/// Dependencies: what they are called, and the tags of their names, flags and versions.
const RELATIONS: &[(&str, u32, u32, u32)] = &[
    ("Requires", 1049, 1048, 1050),
    ("Provides", 1047, 1112, 1113),
    ("Conflicts", 1054, 1053, 1055),
    ("Obsoletes", 1090, 1114, 1115),
    ("Recommends", 5046, 5048, 5047),
    ("Suggests", 5049, 5051, 5050),
    ("Supplements", 5052, 5054, 5053),
    ("Enhances", 5055, 5057, 5056),
];

/// Scriptlets.
const SCRIPTS: &[(u32, &str)] = &[
    (1151, "pretrans"),
    (1023, "prein"),
    (1024, "postin"),
    (1025, "preun"),
    (1026, "postun"),
    (1152, "posttrans"),
    (1065, "triggers"),
    (1079, "verifyscript"),
];

/// Of each file, or of the package as a whole: they follow from what is installed, and that is compared itself. Also the
/// region's own tags and digests of the payload.
fn follows(tag: u32) -> bool {
    let per_file =
        matches!(tag, 1027..=1030 | 1033..=1037 | 1039 | 1040 | 1045 | 1095..=1097 | 1116..=1118 | 1140..=1145);
    let sizes = matches!(tag, 1009 | 1046 | 5008 | 5009 | 5011 | 5045 | 5090 | 5091);
    let digests = matches!(tag, 61..=63 | 100 | 257..=279 | 5092 | 5093 | 5097);
    per_file || sizes || digests
}

/// A header: where what is in its store.
struct Header {
    index: BTreeMap<u32, (u32, usize, usize)>,
    store: Vec<u8>,
    digest: Digest,
}

impl Header {
    fn read(source: &mut Source<'_>, what: &str) -> Result<Self, PackageError> {
        let faults = source.faults.clone();
        let mut intro = [0; 16];
        source.exactly(&mut intro, what)?;
        let word = |bytes: &[u8], at: usize| {
            bytes.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_be_bytes)
        };
        if !intro.starts_with(MAGIC) {
            return Err(faults.malformed(format!("{what} does not begin as it should")));
        }
        let (count, size) = (word(&intro, 8), word(&intro, 12));
        if count > MOST_TAGS || size > LARGEST {
            return Err(
                faults.malformed(format!("{what} claims {count} tags and {size} bytes, more than there can be"))
            );
        }
        let entries = short(source, u64::from(count) * 16, u64::MAX, what).map_err(|why| faults.malformed(why))?;
        let store = short(source, size.into(), u64::MAX, what).map_err(|why| faults.malformed(why))?;
        let index = entries
            .chunks_exact(16)
            .map(|entry| (word(entry, 0), (word(entry, 4), word(entry, 8) as usize, word(entry, 12) as usize)));
        let digest = Digest::of(&[&entries, &store[..]].concat());
        Ok(Self { index: index.collect(), store, digest })
    }

    /// Numbers of any width; bytes are such too.
    fn numbers(&self, tag: u32) -> Result<Vec<u64>, String> {
        let Some((kind, at, count)) = self.index.get(&tag) else { return Ok(Vec::new()) };
        let width = match kind {
            1 | 2 | 7 => 1,
            3 => 2,
            4 => 4,
            5 => 8,
            kind => return Err(format!("tag {tag} is of type {kind}, and should be a number")),
        };
        let bytes = count.checked_mul(width).and_then(|length| self.store.get(*at..at.checked_add(length)?));
        let bytes = bytes.ok_or_else(|| format!("tag {tag} claims {count} numbers beyond the end of the header"))?;
        if *count > MOST_MEMBERS {
            return Err(format!("tag {tag} claims {count} numbers, more than there can be"));
        }
        let number = |bytes: &[u8]| bytes.iter().fold(0, |number: u64, byte| number << 8 | u64::from(*byte));
        Ok(bytes.chunks_exact(width).map(number).collect())
    }

    fn texts(&self, tag: u32) -> Result<Vec<&[u8]>, String> {
        let Some((kind, at, count)) = self.index.get(&tag) else { return Ok(Vec::new()) };
        if !matches!(kind, 6 | 8 | 9) {
            return Err(format!("tag {tag} is of type {kind}, and should be text"));
        }
        if *count > MOST_MEMBERS {
            return Err(format!("tag {tag} claims {count} texts, more than there can be"));
        }
        let mut rest = self.store.get(*at..).unwrap_or_default();
        let mut texts = Vec::new();
        for _ in 0..*count {
            let end = rest.iter().position(|byte| *byte == 0);
            let end = end.ok_or_else(|| format!("tag {tag} has text beyond the end of the header"))?;
            texts.push(&rest[..end]);
            rest = &rest[end + 1..];
        }
        Ok(texts)
    }

    fn text(&self, tag: u32) -> Result<Option<&[u8]>, String> {
        Ok(self.texts(tag)?.first().copied())
    }

    /// The values of a tag as lines.
    fn told(&self, tag: u32) -> Result<Vec<String>, String> {
        Ok(match self.index.get(&tag).map(|(kind, ..)| kind) {
            Some(6 | 8 | 9) => self.texts(tag)?.into_iter().map(lines).collect(),
            Some(7) => {
                let bytes: Vec<u8> = self.numbers(tag)?.into_iter().map(|byte| byte as u8).collect();
                vec![format!("{} bytes, sha256 {}", bytes.len(), Digest::of(&bytes))]
            }
            Some(_) => self.numbers(tag)?.iter().map(ToString::to_string).collect(),
            None => Vec::new(),
        })
    }
}

/// Text of any number of lines, as a field has it (deb-control(5), "multiline").
fn lines(text: &[u8]) -> String {
    let lines: Vec<String> = text
        .split(|byte| *byte == b'\n')
        .map(|line| if line.trim_ascii().is_empty() { ".".to_owned() } else { escape_bytes(line) })
        .collect();
    lines.join("\n ")
}

pub(super) fn read(source: &mut Source<'_>, into: &mut Unpacker<'_>) -> Result<Vec<Piece>, PackageError> {
    let faults = source.faults.clone();
    let wrong = |why: String| faults.malformed(why);
    let mut lead = [0; LEAD];
    source.exactly(&mut lead, "the lead")?;
    // What follows is alike; rpm 6 writes 4 there.
    if !matches!(lead[4], 3 | 4) {
        return Err(wrong(format!("an rpm of format {}, not 3 or 4", lead[4])));
    }
    let signature = Header::read(source, "the signature header")?;
    // Up to the next eight bytes.
    let padding = (8 - signature.store.len() % 8) % 8;
    source.exactly(&mut [0; 8][..padding], "padding")?;
    let header = Header::read(source, "the header")?;
    let mut signed = Vec::new();
    let mut by = Vec::new();
    for (tag, name) in SIGNATURES {
        // The newest is text, the others are bytes.
        let value = match *tag {
            OPENPGP => signature.texts(*tag).map_err(wrong)?.concat().into_iter().map(u64::from).collect(),
            tag => signature.numbers(tag).map_err(wrong)?,
        };
        if !value.is_empty() {
            by.push(format!("{name}, {} bytes", value.len()));
            signed.extend(value.into_iter().map(|byte| byte as u8));
        }
    }
    let by = if by.is_empty() { "none".to_owned() } else { by.join("; ") };
    let piece = |name: &str, header: String, digest: Digest| Piece {
        name: name.to_owned(),
        header,
        packing: None,
        outside: digest,
        inside: digest,
    };
    let mut pieces = vec![
        piece("lead", String::new(), Digest::of(&lead)),
        piece("signature", by, Digest::of(&signed)),
        piece("header", String::new(), header.digest),
    ];
    into.about = Some("RPM");
    into.add_text("tags", tags(&header).map_err(wrong)?.as_bytes(), 0o644)?;
    for (tag, name) in SCRIPTS {
        let texts = header.texts(*tag).map_err(wrong)?;
        if !texts.is_empty() {
            into.add_text(name, &texts.join(&b'\n'), 0o755)?;
        }
    }
    into.about = None;
    let name = |tag: u32, plain: &str| -> Result<String, PackageError> {
        Ok(header.text(tag).map_err(wrong)?.map_or_else(|| plain.to_owned(), escape_bytes))
    };
    let format = name(1124, "cpio")?;
    if format != "cpio" {
        return Err(wrong(format!("its payload is `{format}`, and cpio alone is read")));
    }
    // Of what is not compressed the header says nothing, and an old rpmbuild says gzip for whatever it did.
    let begins = source.peek()?.to_vec();
    let packing = match Packing::of_magic(&begins) {
        Ok(None) if begins.starts_with(b"0707") => None,
        Ok(Some(packing)) => Some(packing),
        Err(how) => return Err(PackageError::Compression("its payload".to_owned(), how.to_owned())),
        Ok(None) => {
            let how = name(1125, "?")?;
            return Err(wrong(format!("its payload, by `{how}`, begins with nothing that is known")));
        }
    };
    let files = Files::of(&header).map_err(wrong)?;
    let payload = ("payload".to_owned(), String::new(), u64::MAX);
    pieces.push(source.archive(payload, packing, |stream| cpio::read(stream, &|number| files.get(number), into))?);
    for number in 0..files.names.len() {
        if let Some(name) = files.name(number) {
            into.owned(&name, files.owner(number));
        }
    }
    Ok(pieces)
}

/// What the header lists of each file.
struct Files<'h> {
    names: Vec<&'h [u8]>,
    dirs: Vec<&'h [u8]>,
    dir_of: Vec<u64>,
    modes: Vec<u64>,
    sizes: Vec<u64>,
    mtimes: Vec<u64>,
    rdevs: Vec<u64>,
    inodes: Vec<u64>,
    devices: Vec<u64>,
    users: Vec<&'h [u8]>,
    groups: Vec<&'h [u8]>,
    /// Of several names of a file, the last; it has the content.
    last: BTreeMap<(u64, u64), (usize, usize)>,
}

impl<'h> Files<'h> {
    fn of(header: &'h Header) -> Result<Self, String> {
        let long = header.numbers(5008)?;
        let mut files = Self {
            names: header.texts(1117)?,
            dirs: header.texts(1118)?,
            dir_of: header.numbers(1116)?,
            modes: header.numbers(1030)?,
            sizes: if long.is_empty() { header.numbers(1028)? } else { long },
            mtimes: header.numbers(1034)?,
            rdevs: header.numbers(1033)?,
            inodes: header.numbers(1096)?,
            devices: header.numbers(1095)?,
            users: header.texts(1039)?,
            groups: header.texts(1040)?,
            last: BTreeMap::new(),
        };
        for number in 0..files.names.len() {
            if let Some(identity) = files.identity(number) {
                let (last, count) = files.last.entry(identity).or_default();
                (*last, *count) = (number, *count + 1);
            }
        }
        Ok(files)
    }

    fn identity(&self, number: usize) -> Option<(u64, u64)> {
        let regular = *self.modes.get(number)? as u32 & libc::S_IFMT == libc::S_IFREG;
        regular.then_some((*self.devices.get(number)?, *self.inodes.get(number)?))
    }

    /// As the payload has it, without the `/` before it.
    fn name(&self, number: usize) -> Option<Vec<u8>> {
        let dir = self.dirs.get(usize::try_from(*self.dir_of.get(number)?).ok()?)?;
        let dir = dir.strip_prefix(b"/").unwrap_or(dir);
        Some([dir, *self.names.get(number)?].concat())
    }

    fn owner(&self, number: usize) -> String {
        let name = |names: &[&[u8]]| names.get(number).map_or_else(String::new, |name| escape_bytes(name));
        format!("{}:{}", name(&self.users), name(&self.groups))
    }

    fn get(&self, number: usize) -> Option<Listed> {
        let shared = self.identity(number).and_then(|identity| Some((identity, *self.last.get(&identity)?)));
        let shared = shared.filter(|(_, (_, count))| *count > 1);
        let mode = *self.modes.get(number)? as u32;
        let empty = shared.is_some_and(|(_, (last, _))| last != number)
            || !matches!(mode & libc::S_IFMT, libc::S_IFREG | libc::S_IFLNK);
        Some(Listed {
            name: self.name(number)?,
            mode,
            size: if empty { 0 } else { *self.sizes.get(number)? },
            mtime: self.mtimes.get(number).map_or(0, |time| i64::try_from(*time).unwrap_or(0)),
            rdev: self.rdevs.get(number).map_or(0, |rdev| *rdev as u32),
            links: shared.map(|(identity, _)| identity),
        })
    }
}

/// All that the header says of the package, as fields like those of a .deb's control file.
fn tags(header: &Header) -> Result<String, String> {
    let mut text = String::new();
    let mut write = |name: &str, values: &[String]| -> Result<(), String> {
        match values {
            [] => {}
            [one] => drop(writeln!(text, "{name}: {one}")),
            all => drop(writeln!(text, "{name}:\n {}", all.join("\n "))),
        }
        if text.len() > LONGEST_TEXT { Err("it says more than can be read".to_owned()) } else { Ok(()) }
    };
    for (tag, name) in TAGS {
        write(name, &header.told(*tag)?)?;
    }
    for (name, names, flags, versions) in RELATIONS {
        let (flags, versions) = (header.numbers(*flags)?, header.texts(*versions)?);
        let relation = |(number, name): (usize, &&[u8])| {
            let flags = flags.get(number).copied().unwrap_or(0);
            // RPMSENSE_LESS, RPMSENSE_GREATER, RPMSENSE_EQUAL
            let sense: String =
                [(2, '<'), (4, '>'), (8, '=')].iter().filter(|(bit, _)| flags & bit != 0).map(|(_, c)| *c).collect();
            let version = versions.get(number).map(|version| escape_bytes(version)).unwrap_or_default();
            let name = escape_bytes(name);
            if sense.is_empty() || version.is_empty() { name } else { format!("{name} {sense} {version}") }
        };
        let mut all: Vec<String> = header.texts(*names)?.iter().enumerate().map(relation).collect();
        all.sort();
        write(name, &all)?;
    }
    let told = |tag: &u32| {
        TAGS.iter().any(|(known, _)| known == tag)
            || SCRIPTS.iter().any(|(known, _)| known == tag)
            || RELATIONS.iter().any(|(_, a, b, c)| [a, b, c].contains(&tag))
            || follows(*tag)
    };
    for tag in header.index.keys().filter(|tag| !told(tag)) {
        write(&format!("Tag-{tag}"), &header.told(*tag)?)?;
    }
    Ok(text)
}
