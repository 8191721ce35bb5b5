//! The header and what it says of the section: `btf_parse_hdr`, `btf_check_sec_info`, `btf_parse_str_sec`, and the beginning of
//! `btf_parse_layout_sec`, in the kernel's order and words.

/// Bytes of `struct btf_header` with `layout_off` and `layout_len`; kernels before 7.1 know the first 24.
const KNOWN: usize = 32;
/// `BTF_MAX_NAME_OFFSET`.
const MOST_STRINGS: u32 = 0x00ff_ffff;

/// Why the kernel refuses the section before it looks at a type; `has_base` if it is a module's.
pub(super) fn fault(bytes: &[u8], has_base: bool) -> Option<&'static str> {
    // The kernel reads its own byte order; a section of another machine is read in that of its magic number.
    let swapped = bytes.starts_with(&[0xeb, 0x9f]);
    let word = |at: usize| -> Option<u32> {
        let bytes = bytes.get(at..at + 4)?.try_into().ok()?;
        Some(if swapped { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
    };
    let Some(length) = word(4) else { return Some("hdr_len not found") };
    let Some(header) = bytes.get(..length as usize) else { return Some("btf_header not found") };
    if header.iter().skip(KNOWN).any(|&byte| byte != 0) {
        return Some("Unsupported btf_header");
    }
    // What the header is too short for is taken to be 0, byte by byte.
    let field = |at: usize| {
        let bytes = std::array::from_fn(|byte| header.get(at + byte).copied().unwrap_or(0));
        if swapped { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
    };
    if !matches!(header.get(..2), Some([0x9f, 0xeb] | [0xeb, 0x9f])) {
        return Some("Invalid magic");
    }
    match (header.get(2), header.get(3)) {
        (Some(1), None | Some(0)) => {}
        (Some(1), Some(_)) => return Some("Unsupported flags"),
        _ => return Some("Unsupported version"),
    }
    if !has_base && bytes.len() == header.len() {
        return Some("No data");
    }
    let with_layout = header.len() >= KNOWN && field(28) != 0;
    let mut parts = vec![(field(8), field(12)), (field(16), field(20))];
    parts.extend(with_layout.then(|| (field(24), field(28))));
    // The kernel goes by the sign of a difference of 32 bits (`btf_sec_info_cmp`), which is no order; so it is not left to a sort.
    for last in (1..parts.len()).rev() {
        for at in 0..last {
            let [(offset, size), (next, next_size)] = [parts[at], parts[at + 1]];
            let by = [offset.wrapping_sub(next), size.wrapping_sub(next_size)].into_iter().find(|by| *by != 0);
            if by.is_some_and(|by| by.cast_signed() > 0) {
                parts.swap(at, at + 1);
            }
        }
    }
    let expected = bytes.len() - header.len();
    let mut total = 0;
    for (offset, size) in parts.into_iter().map(|(offset, size)| (offset as usize, size as usize)) {
        match () {
            () if expected < offset => return Some("Invalid section offset"),
            () if total < offset => return Some("Unsupported section found"),
            () if total > offset => return Some("Section overlap found"),
            () if expected - total < size => return Some("Total section length too long"),
            () => total += size,
        }
    }
    if total != expected {
        return Some("Unsupported section found");
    }
    let (offset, size) = (field(16), field(20));
    let strings = &bytes[header.len() + offset as usize..][..size as usize];
    if header.len() < KNOWN && header.len() + offset as usize + strings.len() != bytes.len() {
        return Some("String section is not at the end");
    }
    if strings.is_empty() && has_base {
        return types(field(8), field(12), has_base);
    }
    let ends = strings.last() == Some(&0) && size - 1 <= MOST_STRINGS;
    if !ends || !has_base && strings[0] != 0 {
        return Some("Invalid string section");
    }
    if with_layout {
        match (field(24), field(28)) {
            (offset, _) if !offset.is_multiple_of(4) => return Some("Unaligned layout_off"),
            (_, size) if size < 4 => return Some("Layout section is too small"),
            (_, size) if !size.is_multiple_of(4) => return Some("layout_len is not multiple of 4"),
            _ => {}
        }
    }
    types(field(8), field(12), has_base)
}

fn types(offset: u32, size: u32, has_base: bool) -> Option<&'static str> {
    match () {
        // What stands alone goes through `btf_parse_type_sec`, a module's section does not.
        () if !has_base && !offset.is_multiple_of(4) => Some("Unaligned type_off"),
        () if !has_base && size == 0 => Some("No type found"),
        () => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(fields: [u32; 5], rest: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0x9f, 0xeb, 1, 0];
        fields.iter().for_each(|field| bytes.extend(field.to_le_bytes()));
        bytes.extend(rest);
        bytes
    }

    #[test]
    fn the_parts_have_to_cover_the_section() {
        let told = |fields: [u32; 5], size: usize| fault(&section(fields, &vec![0; size]), true);
        let header = 24;
        assert_eq!(told([header, 0, 12, 12, 4], 16), None);
        assert_eq!(told([header, 0, 12, 12, 4], 17), Some("Unsupported section found"));
        assert_eq!(told([header, 4, 12, 16, 4], 20), Some("Unsupported section found"));
        assert_eq!(told([header, 0, 12, 8, 8], 16), Some("Section overlap found"));
        assert_eq!(told([header, 0, 12, 12, 9], 16), Some("Total section length too long"));
        assert_eq!(told([header, 0, 12, 99, 4], 16), Some("Invalid section offset"));
        assert_eq!(told([header, 4, 12, 0, 4], 16), Some("String section is not at the end"));
        assert_eq!(told([999, 0, 12, 12, 4], 16), Some("btf_header not found"));
        assert_eq!(fault(&[0x9f, 0xeb, 1, 0], true), Some("hdr_len not found"));
        let alone = |fields: [u32; 5], rest: &[u8]| fault(&section(fields, rest), false);
        assert_eq!(alone([header, 0, 0, 0, 0], &[]), Some("No data"));
        assert_eq!(alone([header, 0, 0, 0, 1], &[0]), Some("No type found"));
        assert_eq!(alone([header, 0, 4, 4, 4], &[0, 0, 0, 0, 1, 0, 0, 0]), Some("Invalid string section"));
        assert_eq!(fault(&section([header, 0, 4, 4, 4], &[1; 8]), true), Some("Invalid string section"));
    }

    #[test]
    fn any_bytes_have_an_answer() {
        let whole = section([24, 0, 12, 12, 4], &[0; 16]);
        for length in 0..whole.len() {
            fault(&whole[..length], true);
            for at in 0..length {
                for value in [0, 1, 0x7f, 0xff] {
                    let mut bytes = whole[..length].to_vec();
                    bytes[at] = value;
                    fault(&bytes, at % 2 == 0);
                }
            }
        }
    }
}
