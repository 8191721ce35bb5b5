//! Kernels that unpack themselves, opened to the vmlinux inside: `vmlinuz`, `bzImage`, `vmlinuz.efi`, `Image.gz`.
//!
//! ```text
//! x86 bzImage   setup header with payload_offset and payload_length (Documentation/arch/x86/boot.rst, 2.08)
//! EFI zboot     "MZ", "zimg", offset and length of the payload (drivers/firmware/efi/libstub/zboot-header.S)
//! Image.gz      compressed as a whole (arm64, riscv)
//! ```
//!
//! In a bzImage the payload is an ELF file, vmlinux without its symbols (`arch/x86/boot/compressed/Makefile`); elsewhere it
//! may be the memory's image, in which BTF is found by what it begins with.

use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::sync::atomic::AtomicBool;

use tempfile::SpooledTempFile;

use super::Base;
use super::hash::fill;
use super::packed::{Extent, PackedError, Packing, unpack_extent};

/// As much of a file as says where the kernel is: the headers of PE may lie behind those of x86.
const HEAD: usize = 4096;
/// The end of the x86 setup header up to `payload_length`.
const SETUP: usize = 0x250;

/// Why the kernel inside a boot image cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// There is no decoder for it.
    #[error("the kernel inside is compressed by {0}, which is not unpacked here")]
    Compression(&'static str),
    /// It begins with nothing that is known.
    #[error("the kernel inside, at offset {0:#x}, is compressed in a way that is not known")]
    Unknown(u64),
    /// Before protocol 2.08 nothing says where the payload is.
    #[error("its boot protocol {}.{:02} does not say where the kernel is; 2.08 and newer do", .0 >> 8, .0 & 0xff)]
    Old(u16),
    /// The header says what cannot be.
    #[error("its header at {at:#x} says that the kernel is at {start:#x}, {length} bytes, and the file has {size}")]
    Outside {
        /// Where the header says so.
        at: u64,
        /// The first byte.
        start: u64,
        /// How many.
        length: u64,
        /// How many there are.
        size: u64,
    },
    /// It cannot be unpacked.
    #[error("the kernel inside, at offset {0:#x}: {1}")]
    Packed(u64, PackedError),
    /// It cannot be read.
    #[error("cannot read it: {0}")]
    Io(#[from] io::Error),
}

impl KernelError {
    /// What would help.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Compression(_) | Self::Old(_) | Self::Unknown(_) => {
                Some("scripts/extract-vmlinux of a kernel source takes vmlinux out of it; name that instead")
            }
            Self::Outside { .. } | Self::Packed(..) => Some("is the file whole?"),
            Self::Io(_) => None,
        }
    }
}

/// Where what is in a boot image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// The compressed kernel.
    payload: Range<u64>,
    packing: Packing,
    /// `kernel_version` of x86: release, who built it, where and when.
    version: Option<String>,
    /// Where that is.
    version_at: Range<u64>,
    /// What a signer adds or sets (Microsoft's "PE Format"): the checksum, the entry of the certificate table, and that table.
    signing: Vec<Range<u64>>,
    /// The certificate table, of a file that is signed.
    signature: Option<Range<u64>>,
}

impl Image {
    /// Looks whether a file is one.
    ///
    /// # Errors
    /// It is one, and the kernel inside cannot be had.
    pub fn find<R: Read + Seek>(reader: &mut R) -> Result<Option<Self>, KernelError> {
        let size = reader.seek(SeekFrom::End(0))?;
        reader.seek(SeekFrom::Start(0))?;
        let mut head = vec![0; HEAD];
        let n = fill(reader, &mut head)?;
        head.truncate(n);
        let word = |at: usize| head.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes);
        let half = |at: usize| head.get(at..at + 2)?.try_into().ok().map(u16::from_le_bytes);
        let (mut version, mut version_at) = (None, 0..0);
        let payload = if head.get(0x202..0x206) == Some(b"HdrS") && half(0x1fe) == Some(0xaa55) && n >= SETUP {
            let protocol = half(0x206).unwrap_or(0);
            if protocol < 0x208 {
                return Err(KernelError::Old(protocol));
            }
            // Of old 0 meant 4; the kernel counts from the protected-mode code on, after the boot sector.
            let sectors = u64::from(head[0x1f1]);
            let code = (if sectors == 0 { 4 } else { sectors } + 1) * 512;
            let (offset, length) = (word(0x248).unwrap_or(0), word(0x24c).unwrap_or(0));
            let at = half(0x20e).filter(|at| *at != 0).map(|at| u64::from(at) + 0x200);
            if let Some(at) = at {
                let text = text_at(reader, at.min(size))?;
                version_at = at..at + text.len() as u64;
                version = Some(super::walk::escape_bytes(&text)).filter(|text| !text.is_empty());
            }
            within(0x248, code + u64::from(offset), u64::from(length), size)?
        } else if head.starts_with(b"MZ") && head.get(4..8) == Some(b"zimg") {
            let (offset, length) = (word(8).unwrap_or(0), word(12).unwrap_or(0));
            within(8, u64::from(offset), u64::from(length), size)?
        } else if matches!(Packing::of_magic(&head), Ok(Some(packing)) if packing != Packing::Lzma) {
            // lzma begins with too little to be told from anything else
            0..size
        } else {
            return Ok(None);
        };
        let mut begins = [0; 8];
        reader.seek(SeekFrom::Start(payload.start))?;
        let n = fill(reader, &mut begins)?;
        let packing = Packing::of_magic(&begins[..n]).map_err(KernelError::Compression)?;
        let packing = packing.ok_or(KernelError::Unknown(payload.start))?;
        let (signing, signature) = signing(&head, size).unwrap_or_default();
        Ok(Some(Self { payload, packing, version, version_at, signing, signature }))
    }

    /// Unpacks the kernel.
    ///
    /// # Errors
    /// As [`KernelError`] says.
    pub fn open<R: Read + Seek>(&self, reader: &mut R, cancel: &AtomicBool) -> Result<SpooledTempFile, KernelError> {
        reader.seek(SeekFrom::Start(self.payload.start))?;
        let mut length = self.payload.end - self.payload.start;
        // Blocks of lz4 have no end of their own; the length of what is inside follows them (scripts/Makefile.lib, size_append).
        if self.packing == Packing::Lz4 && self.payload.start > 0 {
            length = length.saturating_sub(4);
        }
        let extent = if self.payload.start > 0 { Extent::One } else { Extent::All };
        unpack_extent(self.packing, &mut reader.take(length), extent, cancel)
            .map_err(|error| KernelError::Packed(self.payload.start, error))
    }

    /// Whether there is anything but the kernel: code that unpacks it, headers.
    #[must_use]
    pub fn boots(&self) -> bool {
        self.payload.start > 0
    }

    /// How the kernel is compressed.
    #[must_use]
    pub fn packing(&self) -> Packing {
        self.packing
    }

    /// `kernel_version` of x86.
    #[must_use]
    pub fn version(&self) -> Option<&str> {
        self.version.as_deref()
    }

    /// Whether another image has the same compressed bytes.
    pub(super) fn packed_alike<R: Read + Seek, S: Read + Seek>(
        &self,
        (reader, other, other_reader): (&mut R, &Self, &mut S),
    ) -> io::Result<bool> {
        let length = self.payload.end - self.payload.start;
        if length != other.payload.end - other.payload.start {
            return Ok(false);
        }
        reader.seek(SeekFrom::Start(self.payload.start))?;
        other_reader.seek(SeekFrom::Start(other.payload.start))?;
        let (mut reader, mut other_reader) = (reader.take(length), other_reader.take(length));
        let (mut a, mut b) = (vec![0; 1 << 16], vec![0; 1 << 16]);
        loop {
            let (n, m) = (fill(&mut reader, &mut a)?, fill(&mut other_reader, &mut b)?);
            if a[..n] != b[..m] || n == 0 {
                return Ok(a[..n] == b[..m]);
            }
        }
    }

    /// The bytes before the kernel and after it, with zeros for what a signer sets and for the version, and the signature.
    ///
    /// # Errors
    /// It cannot be read, or is longer than such code is.
    pub(super) fn around<R: Read + Seek>(&self, reader: &mut R) -> io::Result<Around> {
        const MOST: u64 = 16 << 20;
        let size = reader.seek(SeekFrom::End(0))?;
        let end = self.signature.as_ref().map_or(size, |range| range.start);
        let mut read = |range: Range<u64>| -> io::Result<Vec<u8>> {
            if range.end.saturating_sub(range.start) > MOST {
                return Err(io::Error::other("it has more than 16 MiB beside the kernel"));
            }
            reader.seek(SeekFrom::Start(range.start))?;
            let mut bytes = Vec::new();
            reader.take(range.end.saturating_sub(range.start)).read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        let mut before = read(0..self.payload.start)?;
        let after = read(self.payload.end.min(end)..end)?;
        let signature = self.signature.clone().map(&mut read).transpose()?;
        for range in self.signing.iter().chain([&self.version_at]) {
            let here = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(before.len());
            let range = here(range.start)..here(range.end);
            before[range].fill(0);
        }
        Ok(Around { before, after, signature })
    }
}

/// What a boot image has beside the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Around {
    /// Headers and code before it.
    pub(super) before: Vec<u8>,
    /// What comes after it, without the signature.
    pub(super) after: Vec<u8>,
    /// The certificate table.
    pub(super) signature: Option<Vec<u8>>,
}

fn within(at: u64, start: u64, length: u64, size: u64) -> Result<Range<u64>, KernelError> {
    match start.checked_add(length) {
        Some(end) if end <= size && start > 0 && length > 0 => Ok(start..end),
        _ => Err(KernelError::Outside { at, start, length, size }),
    }
}

/// Text up to a zero, of at most a few hundred bytes.
fn text_at<R: Read + Seek>(reader: &mut R, at: u64) -> io::Result<Vec<u8>> {
    reader.seek(SeekFrom::Start(at))?;
    let mut bytes = Vec::new();
    reader.take(512).read_to_end(&mut bytes)?;
    bytes.truncate(bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len()));
    Ok(bytes)
}

/// What a signer sets, and the certificate table.
type Signing = (Vec<Range<u64>>, Option<Range<u64>>);

/// Where a signer writes; none if there are no headers of PE.
fn signing(head: &[u8], size: u64) -> Option<Signing> {
    let word = |at: usize| head.get(at..at.checked_add(4)?)?.try_into().ok().map(u32::from_le_bytes);
    let pe = usize::try_from(word(0x3c)?).ok().filter(|at| head.starts_with(b"MZ") && *at < HEAD)?;
    if head.get(pe..pe + 4)? != b"PE\0\0" {
        return None;
    }
    let optional = pe + 24;
    // The fifth data directory is the certificate table.
    let entry = match head.get(optional..optional + 2)? {
        [0x0b, 0x01] => optional + 96 + 32,
        [0x0b, 0x02] => optional + 112 + 32,
        _ => return None,
    };
    let (at, length) = (u64::from(word(entry)?), u64::from(word(entry + 4)?));
    let range = |at: usize, length: u64| at as u64..at as u64 + length;
    let table = (at > 0 && length > 0 && at + length <= size).then_some(at..at + length);
    Some((vec![range(optional + 64, 4), range(entry, 8)], table))
}

/// How many places that look like BTF are tried: each may claim all that follows.
const TRIED: usize = 64;

/// BTF in an image of memory, which has no table that says where: the first that can be read as a whole.
pub(super) fn btf_in(bytes: &[u8]) -> Option<&[u8]> {
    // struct btf_header: magic, version 1, no flags, its own length, where types and strings are
    const BEGINS: &[u8] = &[0x9f, 0xeb, 1, 0, 24, 0, 0, 0];
    let word =
        |at: usize| bytes.get(at..at + 4)?.try_into().ok().map(|word: [u8; 4]| u32::from_le_bytes(word) as usize);
    let whole = |at: usize| -> Option<&[u8]> {
        let (types, strings) = ((word(at + 8)?, word(at + 12)?), (word(at + 16)?, word(at + 20)?));
        if types.0 != 0 || strings.0 != types.1 || types.1 == 0 {
            return None;
        }
        let found = bytes.get(at..at.checked_add(24)?.checked_add(strings.0)?.checked_add(strings.1)?)?;
        Base::parse(found.to_vec()).is_ok().then_some(found)
    };
    // The kernel aligns it to four (include/asm-generic/vmlinux.lds.h), and so will whoever laid it there.
    let begins = (0..bytes.len().saturating_sub(24)).step_by(4).filter(|at| bytes[*at..].starts_with(BEGINS));
    begins.take(TRIED).find_map(whole)
}

#[cfg(test)]
pub(super) mod tests;
