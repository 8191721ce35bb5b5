//! Where BTF is: in an ELF file, in the kernel inside a boot image, or as a file of its own (`/sys/kernel/btf/vmlinux`,
//! `pahole --btf_encode_detached`).

use std::fs::File;
use std::io::{self, Cursor, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use object::{Object as _, ObjectSection as _};

use super::super::kernel::{Image, KernelError, btf_in};
use super::super::section_of;
use super::super::sparse::Bounds;
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
    #[error("it is neither ELF nor BTF, nor a kernel that unpacks itself")]
    Foreign,
    /// A boot image whose kernel cannot be had.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// The kernel inside a boot image is an image of memory without BTF.
    #[error("no BTF is in the kernel inside")]
    NoneInside,
    /// A package without a kernel.
    #[error("no vmlinux or vmlinuz is in it, or several are")]
    NoKernel,
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
            Self::Foreign => Some("name an ELF file with BTF, a vmlinuz, or BTF alone"),
            Self::Kernel(error) => error.hint(),
            Self::NoKernel => Some("debug packages have one: linux-image-*-dbg of Debian, kernel-debuginfo of Fedora"),
            Self::None | Self::NoneInside => {
                Some("was it built with CONFIG_DEBUG_INFO_BTF, and by a make that finds pahole?")
            }
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

/// From how many bytes on a part of an ELF file is left out that has nothing to do with BTF.
const LARGE: u64 = 1 << 20;

/// A large ELF file with zeros in place of code, data and debug information, which are most of a vmlinux: they are not read, and zeros
/// take no memory before they are looked at. Nothing of any other file.
fn of_large_elf(file: &File, size: u64) -> io::Result<Option<Vec<u8>>> {
    if !(8 * LARGE..=MOST).contains(&size) {
        return Ok(None);
    }
    let elf::Layout::Elf(spans) = elf::layout(file, size)? else { return Ok(None) };
    let Ok(length) = usize::try_from(size) else { return Ok(None) };
    let mut bytes = vec![0; length];
    for span in spans {
        let name = elf::section_name(&span.name);
        let tables = [".symtab", ".symtab_shndx", ".strtab", ".shstrtab"];
        if span.size < LARGE || !name.starts_with('.') || name.starts_with(".BTF") || tables.contains(&name) {
            let at = span.offset as usize;
            file.read_exact_at(&mut bytes[at..at + span.size as usize], span.offset)?;
        }
    }
    Ok(Some(bytes))
}

impl BtfFile {
    /// Reads it.
    ///
    /// # Errors
    /// As [`BtfFileError`] says.
    pub fn read(path: &Path) -> Result<Self, BtfFileError> {
        // A FIFO may be waited for, and of a device there is no end.
        let meta = std::fs::metadata(path)?;
        let what = meta.file_type();
        if !what.is_file() {
            let what = if what.is_dir() { "it is a directory" } else { "it is no regular file" };
            return Err(io::Error::other(what).into());
        }
        let mut file = File::open(path)?;
        if let Some(bytes) = of_large_elf(&file, meta.len())? {
            return Self::of_plain(bytes);
        }
        file.rewind()?;
        let mut bytes = Vec::with_capacity(usize::try_from(meta.len().min(1 << 30)).unwrap_or(0));
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
        let mut file = Cursor::new(&bytes);
        let Some(image) = Image::find(&mut file)? else { return Self::of_plain(bytes) };
        let mut inside = Vec::new();
        image.open(&mut file, Bounds::none().cancel)?.read_to_end(&mut inside)?;
        match Self::of_plain(inside) {
            Err(BtfFileError::Foreign) => Err(BtfFileError::NoneInside),
            read => read,
        }
    }

    /// Takes what is no boot image, or was inside of one.
    fn of_plain(bytes: Vec<u8>) -> Result<Self, BtfFileError> {
        if matches!(bytes.get(..2), Some([0x9f, 0xeb] | [0xeb, 0x9f])) {
            return Ok(Self { btf: bytes.clone(), bytes, base: None, elf: false });
        }
        if !bytes.starts_with(b"\x7fELF") {
            let btf = btf_in(&bytes).ok_or(BtfFileError::Foreign)?.to_vec();
            return Ok(Self { bytes: btf.clone(), btf, base: None, elf: false });
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
        Btf::parse(self.btf.clone(), self.base_or(base)?)
    }

    /// Whether a kernel would take its BTF, over the file's own `.BTF.base`, else over `base`.
    ///
    /// # Errors
    /// The first fault in the order in which the kernel looks.
    pub fn check(&self, base: Option<&Arc<Base>>) -> Result<(), BtfError> {
        self.base.as_deref().map_or(Ok(()), |own| super::check(own, None))?;
        super::check(&self.btf, self.base_or(base)?.as_ref().map(|base| &base.0))
    }

    /// The file's own base, else the one that is given.
    fn base_or(&self, given: Option<&Arc<Base>>) -> Result<Option<Arc<Base>>, BtfError> {
        match &self.base {
            Some(own) => Ok(Some(Arc::new(Base::parse(own.clone())?))),
            None => Ok(given.cloned()),
        }
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

/// The BTF of a vmlinux, or of the one inside a boot image, as a base. Of an ELF file no more is read than that: with all its
/// debug information it is a gigabyte.
///
/// # Errors
/// As [`BtfFileError`] says.
pub(in super::super) fn base_of<R: Read + Seek>(file: &mut R, cancel: &AtomicBool) -> Result<Base, BtfFileError> {
    if let Some(image) = Image::find(file)? {
        let mut inside = image.open(file, cancel)?;
        return match plain_base(&mut inside) {
            Err(BtfFileError::Foreign) => Err(BtfFileError::NoneInside),
            read => read,
        };
    }
    plain_base(file)
}

fn plain_base<R: Read + Seek>(file: &mut R) -> Result<Base, BtfFileError> {
    let mut magic = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    (&mut *file).take(4).read_to_end(&mut magic)?;
    if magic == b"\x7fELF" {
        return Ok(Base::parse(section_of(file, ".BTF")?.ok_or(BtfFileError::None)?)?);
    }
    let mut bytes = magic;
    (&mut *file).take(super::super::packed::LARGEST).read_to_end(&mut bytes)?;
    BtfFile::of_plain(bytes)?.into_base().map_err(BtfFileError::Btf)
}

#[cfg(test)]
mod tests {
    use super::super::tests::Builder;
    use super::*;
    use crate::artifact::tests::{FLAVOURS, elf};

    #[test]
    fn of_a_large_file_no_more_is_read_than_btf_takes() {
        let mut b = Builder::new();
        b.int("long int");
        let btf = b.bytes();
        let code = vec![0x90; 9 << 20];
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("vmlinux");
        for flavour in FLAVOURS {
            let whole = elf(flavour, &[(".text", 1, &code), (".BTF", 1, &btf), (".BTF_ids", 1, &[1, 0, 0, 0])]);
            std::fs::write(&path, &whole).expect("written");
            let read = BtfFile::read(&path).expect("has BTF");
            let all = BtfFile::of(whole.clone()).expect("has BTF");
            assert_eq!((&read.btf, read.elf), (&all.btf, true));
            let zeros = read.bytes.iter().filter(|byte| **byte == 0x90).count();
            assert!(read.bytes.len() == whole.len() && zeros < 100, "{zeros}");
        }
        // What is large and no ELF file is read from its beginning.
        let mut b = Builder::new();
        b.int(&"x".repeat(9 << 20));
        std::fs::write(&path, b.bytes()).expect("written");
        assert_eq!(BtfFile::read(&path).expect("is BTF").btf, b.bytes());
    }
}
