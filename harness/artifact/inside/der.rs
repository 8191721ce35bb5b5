//! As much of DER (ITU-T X.690) as a signature needs: definite lengths, one level at a time.

/// Context-specific, constructed: `[0]`.
pub(super) const CONTEXT_0: u8 = 0xa0;
pub(super) const INTEGER: u8 = 0x02;
pub(super) const OBJECT_ID: u8 = 0x06;
pub(super) const SEQUENCE: u8 = 0x30;
pub(super) const SET: u8 = 0x31;

/// A value with its tag. Contents lie within the bytes it was read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Value<'d> {
    pub(super) tag: u8,
    pub(super) content: &'d [u8],
}

/// Values one after the other. Each step goes on by at least two bytes, so that a walk ends.
#[derive(Debug, Clone, Copy)]
pub(super) struct Values<'d> {
    rest: &'d [u8],
    /// Offset of `rest` in what was given, for messages.
    at: usize,
}

impl<'d> Values<'d> {
    pub(super) fn of(bytes: &'d [u8]) -> Self {
        Self { rest: bytes, at: 0 }
    }

    /// The next value, or why there is none.
    pub(super) fn next(&mut self) -> Result<Value<'d>, String> {
        let at = self.at;
        let (value, length) = read(self.rest).ok_or_else(|| format!("DER at offset {at:#x} is cut off"))?;
        self.rest = &self.rest[length..];
        self.at += length;
        Ok(value)
    }

    /// The next value, which must have this tag.
    pub(super) fn expect(&mut self, tag: u8, what: &str) -> Result<Value<'d>, String> {
        let at = self.at;
        match self.next()? {
            value if value.tag == tag => Ok(value),
            value => Err(format!("DER at offset {at:#x}: tag {:#04x} where {what} should be", value.tag)),
        }
    }

    /// The next value if it has this tag, else nothing is taken.
    pub(super) fn optional(&mut self, tag: u8) -> Option<Value<'d>> {
        let (value, length) = read(self.rest).filter(|(value, _)| value.tag == tag)?;
        self.rest = &self.rest[length..];
        self.at += length;
        Some(value)
    }
}

/// A value, and its length with tag and length.
fn read(bytes: &[u8]) -> Option<(Value<'_>, usize)> {
    let (&tag, &first) = (bytes.first()?, bytes.get(1)?);
    // Tags of several bytes do not occur in signatures.
    if tag & 0x1f == 0x1f {
        return None;
    }
    let (start, length) = if first < 0x80 {
        (2, usize::from(first))
    } else {
        // Indefinite lengths (0x80) are BER; of more than four bytes none fits a file.
        let digits = usize::from(first & 0x7f);
        if !(1..=4).contains(&digits) {
            return None;
        }
        let length = bytes.get(2..2 + digits)?.iter().fold(0, |sum, &byte| sum << 8 | usize::from(byte));
        (2 + digits, length)
    };
    let content = bytes.get(start..)?.get(..length)?;
    Some((Value { tag, content }, start + length))
}
