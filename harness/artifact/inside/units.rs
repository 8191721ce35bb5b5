//! Debug information, by compilation unit: which source files have other types, variables or lines.
//!
//! Of each unit in `.debug_info` the header and the first entry are read (DWARF 5, 7.5.1 and 7.5.3; also versions 2
//! to 4), which has the unit's name and the place of its line program. By hand and not through `gimli`: that reads a
//! unit's whole table of abbreviations, which units that lie may share a million times, and here one of them will do.

use std::collections::BTreeMap;
use std::io::{self, Read, Seek};
use std::ops::Range;

use super::super::walk::escape_bytes;
use super::headers::{Order, SHT_REL, SHT_RELA, Side};
use super::{SHOWN, count, relocs, strings, thousands};

/// How many units are read: a distribution's vmlinux has some 5,000, and few of Rust.
const MAX_UNITS: usize = 1 << 18;
/// How much of `.debug_abbrev` is read in all, in bytes: the first abbreviation of a unit is mostly its own.
const MAX_ABBREV: usize = 16 << 20;
/// How often a byte of the strings may belong to a unit's name: units of one file have one name, and others may share one.
const SHARED: usize = 16;
/// How often a section is looked at to compare what units have in it: units that lie may all have the same.
const TIMES: usize = 8;
/// How much of a name is read, in bytes.
const MAX_NAME: usize = 1024;

const DW_AT_NAME: u64 = 0x03;
const DW_AT_STMT_LIST: u64 = 0x10;
const DW_AT_STR_OFFSETS_BASE: u64 = 0x72;

/// A compilation unit: where its bytes are in `.debug_info`, and its line program in `.debug_line`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unit {
    pub(super) name: String,
    pub(super) range: Range<usize>,
    pub(super) line: Option<u64>,
}

/// The sections that name units, relocated as far as is needed for that.
#[derive(Debug, Default)]
pub(super) struct Sections {
    pub(super) info: Vec<u8>,
    pub(super) abbrev: Vec<u8>,
    pub(super) str: Vec<u8>,
    pub(super) line_str: Vec<u8>,
    pub(super) str_offsets: Vec<u8>,
}

/// What differs in a section of DWARF.
pub(super) fn lines<R: Read + Seek>(
    a: &mut Side<'_, R>,
    b: &mut Side<'_, R>,
    part: &str,
    in_a: &[u8],
    in_b: &[u8],
) -> io::Result<Result<Vec<String>, String>> {
    // Compressed bytes of one section differ from the first difference on.
    let (in_a, in_b) = match (a.unpacked(part, in_a), b.unpacked(part, in_b)) {
        (Ok(in_a), Ok(in_b)) => (in_a, in_b),
        (Err(why), _) | (_, Err(why)) => return Ok(Err(why)),
    };
    let (in_a, in_b) = (&*in_a, &*in_b);
    if in_a == in_b {
        return Ok(Ok(vec!["the same inside, compressed otherwise".to_owned()]));
    }
    if a.section(part).is_some_and(super::is_text) {
        return Ok(Ok(strings::lines(in_a, in_b, 0)));
    }
    let plain = Ok(Ok(vec![super::code::first_difference(in_a, in_b)]));
    if !matches!(part, ".debug_info" | ".debug_line") {
        return plain;
    }
    let read = |side: &mut Side<'_, R>| -> io::Result<Result<Vec<Unit>, String>> {
        let order = side.order;
        Ok(sections(side)?.and_then(|sections| units(&sections, order)))
    };
    let (units_a, units_b) = match (read(a)?, read(b)?) {
        (Ok(units_a), Ok(units_b)) => (units_a, units_b),
        (Err(why), _) => return Ok(Err(format!("{why} (A)"))),
        (_, Err(why)) => return Ok(Err(format!("{why} (B)"))),
    };
    fn of<'u>(part: &str, units: &'u [Unit], bytes: &[u8], order: Order) -> Vec<(&'u str, Range<usize>)> {
        let range = |unit: &Unit| match part {
            ".debug_info" => Some(unit.range.clone()),
            _ => program(bytes, unit.line?, order),
        };
        units.iter().filter_map(|unit| Some((unit.name.as_str(), range(unit)?))).collect()
    }
    let lines = compare((in_a, &of(part, &units_a, in_a, a.order)), (in_b, &of(part, &units_b, in_b, b.order)));
    if lines.is_empty() { plain } else { Ok(Ok(lines)) }
}

type Ranges<'u> = (&'u [u8], &'u [(&'u str, Range<usize>)]);

/// Which units have other bytes, by name; those of one name in their order.
fn compare((in_a, a): Ranges<'_>, (in_b, b): Ranges<'_>) -> Vec<String> {
    type Named<'d> = BTreeMap<&'d str, Vec<&'d [u8]>>;
    fn named<'d>(bytes: &'d [u8], all: &[(&'d str, Range<usize>)]) -> Named<'d> {
        let mut named = Named::new();
        for (name, range) in all {
            named.entry(*name).or_default().push(bytes.get(range.clone()).unwrap_or_default());
        }
        named
    }
    let (a, b) = (named(in_a, a), named(in_b, b));
    let mut differ = Vec::new();
    let mut left = TIMES.saturating_mul(in_a.len() + in_b.len());
    for (name, before) in &a {
        left = left.saturating_sub(before.iter().map(|unit| unit.len()).fold(0, usize::saturating_add));
        match b.get(name) {
            None => differ.push(format!("- unit {name}")),
            Some(_) if left == 0 => {
                differ.push(format!("unit {name}, and all after it: not compared, for they lie over each other"));
                break;
            }
            Some(after) if before == after => {}
            Some(after) => {
                let size = |all: &[&[u8]]| thousands(all.iter().map(|unit| unit.len() as u64).sum());
                let (x, y) = (size(before), size(after));
                let sizes = if x == y { format!("{x} bytes, other contents") } else { format!("{x} → {y} bytes") };
                differ.push(format!("unit {name}: {sizes}"));
            }
        }
    }
    differ.extend(b.keys().filter(|name| !a.contains_key(*name)).map(|name| format!("+ unit {name}")));
    let more = differ.len().saturating_sub(SHOWN);
    differ.truncate(SHOWN);
    if more > 0 {
        differ.push(format!("and {} more", count(more, "unit")));
    }
    differ
}

/// Where a line program is: from its length on.
fn program(bytes: &[u8], at: u64, order: Order) -> Option<Range<usize>> {
    let start = usize::try_from(at).ok()?;
    let mut cursor = Cursor { bytes, at: start, order };
    let (length, _) = cursor.length()?;
    let end = cursor.at.checked_add(length).filter(|end| *end <= bytes.len())?;
    Some(start..end)
}

fn sections<R: Read + Seek>(side: &mut Side<'_, R>) -> io::Result<Result<Sections, String>> {
    let mut sections = Sections::default();
    for (name, into) in [
        (".debug_info", &mut sections.info),
        (".debug_abbrev", &mut sections.abbrev),
        (".debug_str", &mut sections.str),
        (".debug_line_str", &mut sections.line_str),
        (".debug_str_offsets", &mut sections.str_offsets),
    ] {
        match side.part(name)? {
            Some(bytes) => match side.unpacked(name, &bytes) {
                Ok(bytes) => *into = bytes.into_owned(),
                Err(why) => return Ok(Err(why)),
            },
            None if side.section(name).is_some() => return Ok(Err(format!("{name} is too large to be read"))),
            None => {}
        }
    }
    for (name, bytes) in [(".debug_info", &mut sections.info), (".debug_str_offsets", &mut sections.str_offsets)] {
        relocate(side, name, bytes)?;
    }
    Ok(Ok(sections))
}

/// How many bytes an absolute relocation writes (psABIs): in debug information there are hardly any others.
fn width(machine: u16, kind: u32) -> Option<usize> {
    match (machine, kind) {
        // x86, ARM
        (3, 1) | (40, 2) => Some(4),
        // x86-64: R_X86_64_64, _32, _32S
        (62, 1) => Some(8),
        (62, 10 | 11) => Some(4),
        // AArch64: R_AARCH64_ABS64, _ABS32
        (183, 257) => Some(8),
        (183, 258) => Some(4),
        // RISC-V and LoongArch: R_*_32, R_*_64
        (243 | 258, 1) => Some(4),
        (243 | 258, 2) => Some(8),
        // PowerPC and PowerPC64: R_PPC_ADDR32, R_PPC64_ADDR64
        (20 | 21, 1) => Some(4),
        (21, 38) => Some(8),
        // s390: R_390_32, R_390_64
        (22, 4) => Some(4),
        (22, 22) => Some(8),
        _ => None,
    }
}

/// Writes into a section of a relocatable file what its relocations say, as far as they are absolute.
fn relocate<R: Read + Seek>(side: &mut Side<'_, R>, part: &str, bytes: &mut [u8]) -> io::Result<()> {
    let (Some(index), order, machine) = (side.index(part), side.order, side.header.machine) else { return Ok(()) };
    let is_for = |s: &&super::Section| matches!(s.kind, SHT_REL | SHT_RELA) && s.info as usize == index;
    let Some(section) = side.sections.iter().find(is_for) else { return Ok(()) };
    let (name, rela, link) = (section.label.clone(), section.kind == SHT_RELA, section.link as usize);
    let (Some(raw), Ok(table)) = (side.part(&name)?, side.table(link)?) else { return Ok(()) };
    for relocation in relocs::parse(&raw, rela, order) {
        let Some(width) = width(machine, relocation.kind) else { continue };
        let Some(symbol) = table.symbols.get(relocation.symbol as usize) else { continue };
        let field = usize::try_from(relocation.offset).ok().and_then(|at| bytes.get_mut(at..)?.get_mut(..width));
        let Some(field) = field else { continue };
        let there = if width == 8 { order.u64(field, 0) } else { order.u32(field, 0).map(u64::from) };
        let addend = relocation.addend.map_or(there.unwrap_or_default(), |addend| addend as u64);
        let value = symbol.value.wrapping_add(addend);
        match order.big_endian {
            true => field.copy_from_slice(&value.to_be_bytes()[8 - width..]),
            false => field.copy_from_slice(&value.to_le_bytes()[..width]),
        }
    }
    Ok(())
}

/// All units, or where it stops to be units.
pub(super) fn units(sections: &Sections, order: Order) -> Result<Vec<Unit>, String> {
    let mut all = Vec::new();
    let mut left = MAX_ABBREV;
    let strings = sections.str.len() + sections.line_str.len();
    let mut names = strings.saturating_mul(SHARED).saturating_add(sections.info.len() + MAX_NAME);
    let mut at = 0;
    while at < sections.info.len() {
        let wrong = |what: &str| format!("the unit at offset {at:#x} of .debug_info {what}");
        if all.len() == MAX_UNITS {
            return Err(format!("more than {MAX_UNITS} units"));
        }
        let mut cursor = Cursor { bytes: &sections.info, at, order };
        let (length, is_64) = cursor.length().ok_or_else(|| wrong("has no length"))?;
        let end = cursor.at.checked_add(length).filter(|end| *end <= sections.info.len() && length > 0);
        let end = end.ok_or_else(|| wrong("reaches beyond the section"))?;
        cursor.bytes = &sections.info[..end];
        let first = entry(&mut cursor, is_64, sections, &mut left).ok_or_else(|| wrong("has no first entry"))?;
        names = names.checked_sub(first.0.len()).ok_or_else(|| wrong("has a name that too many have"))?;
        all.push(Unit { name: first.0, range: at..end, line: first.1 });
        at = end;
    }
    Ok(all)
}

/// Name and line program of a unit, from its version on.
fn entry(cursor: &mut Cursor<'_>, is_64: bool, sections: &Sections, left: &mut usize) -> Option<(String, Option<u64>)> {
    let version = cursor.fixed(2)?;
    let (kind, address, abbrev) = match version {
        5 => {
            let (kind, address) = (cursor.fixed(1)?, cursor.fixed(1)?);
            (kind, address, cursor.offset(is_64)?)
        }
        2..=4 => {
            let abbrev = cursor.offset(is_64)?;
            (1, cursor.fixed(1)?, abbrev)
        }
        _ => return None,
    };
    // DW_UT_skeleton and DW_UT_split_compile have an id, DW_UT_type and DW_UT_split_type a signature and an offset
    match kind {
        4 | 5 => cursor.skip(8)?,
        2 | 6 => cursor.skip(if is_64 { 16 } else { 12 })?,
        _ => {}
    }
    let how = Form { address: usize::try_from(address).ok()?, is_64, version };
    let code = cursor.uleb()?;
    let specs = abbreviation(&sections.abbrev, usize::try_from(abbrev).ok()?, code, cursor.order, left)?;
    let (mut name, mut line, mut base) = (None, None, if is_64 { 16 } else { 8 });
    for (attribute, form) in specs {
        let value = how.value(cursor, form)?;
        match (attribute, &value) {
            (DW_AT_NAME, _) => name = Some(value),
            (DW_AT_STMT_LIST, Value::Number(at)) => line = Some(*at),
            (DW_AT_STR_OFFSETS_BASE, Value::Number(at)) => base = *at,
            _ => {}
        }
    }
    let name = match name {
        Some(Value::Inline(name)) => name,
        Some(Value::Str(at)) => text(&sections.str, at)?,
        Some(Value::LineStr(at)) => text(&sections.line_str, at)?,
        Some(Value::Index(index)) => {
            let width = if is_64 { 8 } else { 4 };
            let at = usize::try_from(index.checked_mul(width)?.checked_add(base)?).ok()?;
            let mut offsets = Cursor { bytes: &sections.str_offsets, at, order: cursor.order };
            text(&sections.str, offsets.offset(is_64)?)?
        }
        _ => b"(without a name)",
    };
    Some((escape_bytes(&name[..name.len().min(MAX_NAME)]), line))
}

fn text(table: &[u8], at: u64) -> Option<&[u8]> {
    let rest = table.get(usize::try_from(at).ok()?..)?;
    rest[..rest.len().min(MAX_NAME)].split(|&byte| byte == 0).next()
}

/// The attributes and forms of one abbreviation (DWARF 5, 7.5.3); `left` is how much may still be read.
fn abbreviation(table: &[u8], at: usize, code: u64, order: Order, left: &mut usize) -> Option<Vec<(u64, u64)>> {
    let mut cursor = Cursor { bytes: table.get(..)?, at, order };
    loop {
        let start = cursor.at;
        let this = cursor.uleb()?;
        if this == 0 {
            return None;
        }
        // tag, and whether it has children
        cursor.uleb()?;
        cursor.skip(1)?;
        let mut specs = Vec::new();
        loop {
            let (attribute, form) = (cursor.uleb()?, cursor.uleb()?);
            if form == 0x21 {
                // DW_FORM_implicit_const: the value is here
                cursor.uleb()?;
            }
            if (attribute, form) == (0, 0) {
                break;
            }
            if this == code {
                specs.push((attribute, form));
            }
        }
        *left = left.checked_sub(cursor.at - start)?;
        if this == code {
            return Some(specs);
        }
    }
}

/// A value as far as one is needed.
enum Value<'d> {
    Inline(&'d [u8]),
    Str(u64),
    LineStr(u64),
    Index(u64),
    Number(u64),
    Other,
}

/// What the lengths of forms hang on.
struct Form {
    /// Length of an address in bytes.
    address: usize,
    is_64: bool,
    version: u64,
}

impl Form {
    /// Reads a value of a form (DWARF 5, table 7.6), or passes it.
    fn value<'d>(&self, cursor: &mut Cursor<'d>, form: u64) -> Option<Value<'d>> {
        let other = |_: ()| Value::Other;
        let block = |cursor: &mut Cursor<'d>, length: Option<u64>| cursor.skip(usize::try_from(length?).ok()?);
        Some(match form {
            // addr
            0x01 => cursor.skip(self.address).map(other)?,
            // block2, block4, block, exprloc, block1
            0x03 => cursor.fixed(2).and_then(|n| block(cursor, Some(n))).map(other)?,
            0x04 => cursor.fixed(4).and_then(|n| block(cursor, Some(n))).map(other)?,
            0x09 | 0x18 => cursor.uleb().and_then(|n| block(cursor, Some(n))).map(other)?,
            0x0a => cursor.fixed(1).and_then(|n| block(cursor, Some(n))).map(other)?,
            // data2, data4, data8, data1: before sec_offset these were offsets as well
            0x05 => Value::Number(cursor.fixed(2)?),
            0x06 => Value::Number(cursor.fixed(4)?),
            0x07 => Value::Number(cursor.fixed(8)?),
            0x0b | 0x0c => Value::Number(cursor.fixed(1)?),
            0x1e => cursor.skip(16).map(other)?,
            0x08 => Value::Inline(cursor.string()?),
            // sdata, udata, ref_udata, addrx, loclistx, rnglistx, and GNU's addr_index
            0x0d | 0x0f | 0x15 | 0x1b | 0x22 | 0x23 | 0x1f01 => cursor.uleb().map(|_| Value::Other)?,
            0x0e => Value::Str(cursor.offset(self.is_64)?),
            0x1f => Value::LineStr(cursor.offset(self.is_64)?),
            0x17 => Value::Number(cursor.offset(self.is_64)?),
            // strx, strx1 to strx4, and GNU's str_index
            0x1a | 0x1f02 => Value::Index(cursor.uleb()?),
            0x25 => Value::Index(cursor.fixed(1)?),
            0x26 => Value::Index(cursor.fixed(2)?),
            0x27 => Value::Index(cursor.fixed(3)?),
            0x28 => Value::Index(cursor.fixed(4)?),
            // ref_addr: of an address' length in version 2
            0x10 if self.version == 2 => cursor.skip(self.address).map(other)?,
            // ref_addr, strp_sup, GNU_ref_alt, GNU_strp_alt
            0x10 | 0x1d | 0x1f20 | 0x1f21 => cursor.offset(self.is_64).map(|_| Value::Other)?,
            // ref1, ref2, ref4, ref8, ref_sig8, ref_sup4, ref_sup8, addrx1 to addrx4
            0x11 | 0x29 => cursor.skip(1).map(other)?,
            0x12 | 0x2a => cursor.skip(2).map(other)?,
            0x2b => cursor.skip(3).map(other)?,
            0x13 | 0x1c | 0x2c => cursor.skip(4).map(other)?,
            0x14 | 0x20 | 0x24 => cursor.skip(8).map(other)?,
            // flag_present, implicit_const
            0x19 | 0x21 => Value::Other,
            _ => return None,
        })
    }
}

/// Reads fields one after the other; none beyond the end.
struct Cursor<'d> {
    bytes: &'d [u8],
    at: usize,
    order: Order,
}

impl<'d> Cursor<'d> {
    fn skip(&mut self, by: usize) -> Option<()> {
        self.at = self.at.checked_add(by).filter(|at| *at <= self.bytes.len())?;
        Some(())
    }

    /// A number of up to eight bytes.
    fn fixed(&mut self, width: usize) -> Option<u64> {
        let start = self.at;
        self.skip(width)?;
        let field = self.bytes.get(start..self.at)?;
        let add = |sum: u64, byte: &u8| sum << 8 | u64::from(*byte);
        Some(if self.order.big_endian { field.iter().fold(0, add) } else { field.iter().rev().fold(0, add) })
    }

    fn offset(&mut self, is_64: bool) -> Option<u64> {
        self.fixed(if is_64 { 8 } else { 4 })
    }

    /// A length, and whether offsets have 64 bits (DWARF 5, 7.2.2).
    fn length(&mut self) -> Option<(usize, bool)> {
        let (length, is_64) = match self.fixed(4)? {
            0xffff_ffff => (self.fixed(8)?, true),
            0xffff_fff0.. => return None,
            length => (length, false),
        };
        Some((usize::try_from(length).ok()?, is_64))
    }

    fn uleb(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.fixed(1)?;
            value |= (byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    fn string(&mut self) -> Option<&'d [u8]> {
        let rest = self.bytes.get(self.at..)?;
        let length = rest.iter().position(|&byte| byte == 0)?;
        self.skip(length + 1)?;
        Some(&rest[..length])
    }
}
