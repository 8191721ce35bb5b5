//! What the kernel itself opens to run a program: the interpreter of a `#!` line (fs/binfmt_script.c) and the one that
//! an ELF header names, the dynamic loader (fs/binfmt_elf.c). No system call shows these.

use std::ffi::OsStr;
use std::io::{self, Read, Seek};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use object::Endianness;
use object::elf::{FileHeader32, FileHeader64};
use object::read::ReadCache;
use object::read::elf::{FileHeader, ProgramHeader};

/// How much of a file the kernel looks at to see what it is (`BINPRM_BUF_SIZE`).
const HEAD: usize = 256;

/// What the kernel needs to run a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Image {
    /// A script, with the path of its interpreter as written; it may be relative.
    Script(PathBuf),
    /// An ELF file, with the path of its loader if it is dynamically linked.
    Elf(Option<PathBuf>),
    /// Neither.
    Other,
}

/// Looks at a file as execve(2) would.
///
/// # Errors
/// As reading does.
pub(super) fn image(mut file: impl Read + Seek) -> io::Result<Image> {
    let mut head = Vec::with_capacity(HEAD);
    file.by_ref().take(HEAD as u64).read_to_end(&mut head)?;
    if let Some(line) = head.strip_prefix(b"#!") {
        return Ok(interpreter(line).map_or(Image::Other, Image::Script));
    }
    if !head.starts_with(&object::elf::ELFMAG) {
        return Ok(Image::Other);
    }
    let cache = ReadCache::new(file);
    // The fifth byte is the class (elf(5)); what is no ELF file after all will not run.
    let loader = match head.get(4) {
        Some(&class) if class == object::elf::ELFCLASS64.0 => loader::<FileHeader64<Endianness>>(&cache),
        _ => loader::<FileHeader32<Endianness>>(&cache),
    };
    Ok(Image::Elf(loader))
}

fn interpreter(line: &[u8]) -> Option<PathBuf> {
    let line = line.split(|byte| *byte == b'\n').next()?;
    let word = line.split(|byte| matches!(byte, b' ' | b'\t' | b'\0')).find(|word| !word.is_empty())?;
    Some(OsStr::from_bytes(word).into())
}

fn loader<Header: FileHeader>(cache: &ReadCache<impl Read + Seek>) -> Option<PathBuf> {
    let header = Header::parse(cache).ok()?;
    let endian = header.endian().ok()?;
    let segments = header.program_headers(endian, cache).ok()?;
    let path = segments.iter().find_map(|segment| segment.interpreter(endian, cache).ok().flatten())?;
    Some(OsStr::from_bytes(path).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    fn of(bytes: &[u8]) -> Image {
        image(Cursor::new(bytes)).unwrap()
    }

    #[test]
    fn the_interpreter_of_a_script_is_its_first_word() {
        for text in ["#!/bin/sh\n", "#! /bin/sh -e\nexit\n", "#!\t/bin/sh\t", "#!/bin/sh"] {
            assert_eq!(of(text.as_bytes()), Image::Script("/bin/sh".into()), "{text:?}");
        }
        assert_eq!(of(b"#!../tool x\n"), Image::Script("../tool".into()));
        assert_eq!(of(b"#! \n/bin/sh\n"), Image::Other);
    }

    #[test]
    fn what_is_neither_needs_nothing() {
        assert_eq!(of(b""), Image::Other);
        assert_eq!(of(b"echo\n"), Image::Other);
        assert_eq!(of(b"\x7fELF\x02"), Image::Elf(None));
    }

    #[test]
    fn this_program_names_its_loader_if_it_has_one() {
        let bytes = std::fs::read("/proc/self/exe").unwrap();
        let Image::Elf(loader) = of(&bytes) else { panic!("an ELF file") };
        if cfg!(target_env = "gnu") {
            assert!(loader.is_some_and(|path| path.is_absolute() && path.exists()));
        }
    }
}
