//! Where BTF is: in an ELF file, or as a file of its own (`/sys/kernel/btf/vmlinux`, `pahole --btf_encode_detached`).

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::Arc;

use object::{Object as _, ObjectSection as _};

use super::{Base, Btf, BtfError};
use crate::artifact::elf;

/// Larger files are not read: a vmlinux with all its debug information is a gigabyte.
const MOST: u64 = 4 << 30;

/// Why there is no BTF to be had from a file.
#[derive(Debug, thiserror::Error)]
pub enum BtfFileError {
    /// It cannot be read.
    #[error("cannot read it: {0}")]
    Io(#[from] io::Error),
    /// It is longer than 4 GiB.
    #[error("it has {0} bytes, more than is read")]
    TooLarge(u64),
    /// Neither ELF nor BTF.
    #[error("it is neither ELF nor BTF")]
    Foreign,
    /// An ELF file that cannot be understood.
    #[error("its ELF headers: {0}")]
    Elf(String),
    /// An ELF file without `.BTF`.
    #[error("it has no .BTF")]
    None,
    /// BTF that cannot be understood.
    #[error(transparent)]
    Btf(#[from] BtfError),
}

impl BtfFileError {
    /// What would help.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Foreign => Some("scripts/extract-vmlinux of a kernel source takes vmlinux out of a vmlinuz"),
            Self::None => Some("was it built with CONFIG_DEBUG_INFO_BTF, and by a make that finds pahole?"),
            Self::Btf(error) => error.hint(),
            _ => None,
        }
    }
}

/// The bytes of a file that has BTF.
#[derive(Debug)]
pub struct BtfFile {
    bytes: Vec<u8>,
    /// `.BTF`, `.BTF.base` if there is one.
    btf: Vec<u8>,
    base: Option<Vec<u8>>,
    elf: bool,
}

impl BtfFile {
    /// Reads it.
    ///
    /// # Errors
    /// As [`BtfFileError`] says.
    pub fn read(path: &Path) -> Result<Self, BtfFileError> {
        let file = File::open(path)?;
        let mut bytes = Vec::new();
        // Of what sysfs and procfs show the length is not known.
        file.take(MOST + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > MOST {
            return Err(BtfFileError::TooLarge(bytes.len() as u64));
        }
        Self::of(bytes)
    }

    /// Takes the bytes of a file.
    ///
    /// # Errors
    /// As [`BtfFileError`] says.
    pub fn of(bytes: Vec<u8>) -> Result<Self, BtfFileError> {
        if matches!(bytes.get(..2), Some([0x9f, 0xeb] | [0xeb, 0x9f])) {
            return Ok(Self { btf: bytes.clone(), bytes, base: None, elf: false });
        }
        if !bytes.starts_with(b"\x7fELF") {
            return Err(BtfFileError::Foreign);
        }
        let wrong = |error: object::Error| BtfFileError::Elf(error.to_string());
        let file = object::File::parse(bytes.as_slice()).map_err(wrong)?;
        let section = |name: &str| -> Result<Option<Vec<u8>>, BtfFileError> {
            let Some(index) = elf::find(&bytes, name).map_err(BtfFileError::Elf)? else { return Ok(None) };
            let section = file.section_by_index(object::SectionIndex(index)).map_err(wrong)?;
            Ok(Some(section.data().map_err(wrong)?.to_vec()))
        };
        let btf = section(".BTF")?.ok_or(BtfFileError::None)?;
        let base = section(".BTF.base")?;
        drop(file);
        Ok(Self { bytes, btf, base, elf: true })
    }

    /// Its BTF. Split BTF is read with the file's own `.BTF.base`, else with `base`.
    ///
    /// # Errors
    /// [`BtfError`].
    pub fn btf(&self, base: Option<&Arc<Base>>) -> Result<Btf, BtfError> {
        let base = match &self.base {
            Some(own) => Some(Arc::new(Base::parse(own.clone())?)),
            None => base.cloned(),
        };
        Btf::parse(self.btf.clone(), base)
    }

    /// Whether it cannot be read without a base from elsewhere.
    ///
    /// # Errors
    /// [`BtfError`].
    pub fn needs_base(&self) -> Result<bool, BtfError> {
        Ok(self.base.is_none() && super::is_split(&super::Wire::parse(self.btf.as_slice())?))
    }

    /// As the base of others.
    ///
    /// # Errors
    /// [`BtfError`] if it is split itself.
    pub fn into_base(self) -> Result<Base, BtfError> {
        Base::parse(self.btf)
    }

    /// The ELF file, if it is one.
    #[must_use]
    pub fn elf(&self) -> Option<&[u8]> {
        self.elf.then_some(self.bytes.as_slice())
    }
}
