//! The initramfs of a machine: a cpio archive as Documentation/driver-api/early-userspace/buffer-format.rst describes it ("newc").
//!
//! A dozen lines, for the libraries there are either want every file in memory or do not write device nodes.

use std::fs::File;
use std::io::{self, BufWriter, Read as _, Write};
use std::path::Path;

use super::Module;

/// `S_IFDIR`, `S_IFREG` and `S_IFCHR` with permissions.
const DIRECTORY: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;
const CONSOLE: u32 = 0o020_600;

struct Archive<W> {
    out: W,
    inode: u32,
}

impl<W: Write> Archive<W> {
    /// The header of an entry of so many bytes; `device` is what a node leads to.
    fn head(&mut self, name: &str, mode: u32, size: u64, device: (u32, u32)) -> io::Result<()> {
        let size = u32::try_from(size).map_err(|_| io::Error::other(format!("{name} has more than 4 GiB")))?;
        self.inode += 1;
        let length = name.len() as u32 + 1;
        let fields = [self.inode, mode, 0, 0, 1, 0, size, 0, 0, device.0, device.1, length, 0];
        write!(self.out, "070701")?;
        fields.iter().try_for_each(|field| write!(self.out, "{field:08x}"))?;
        self.out.write_all(name.as_bytes())?;
        self.out.write_all(&[0])?;
        // The magic and thirteen fields are 110 bytes.
        self.pad(110 + u64::from(length))
    }

    fn pad(&mut self, written: u64) -> io::Result<()> {
        self.out.write_all(&[0; 3][..(written.wrapping_neg() & 3) as usize])
    }

    fn bytes(&mut self, name: &str, mode: u32, bytes: &[u8]) -> io::Result<()> {
        self.head(name, mode, bytes.len() as u64, (0, 0))?;
        self.out.write_all(bytes)?;
        self.pad(bytes.len() as u64)
    }

    fn file(&mut self, name: &str, path: &Path) -> io::Result<u64> {
        let file = File::open(path)?;
        let size = file.metadata()?.len();
        self.head(name, PROGRAM, size, (0, 0))?;
        // Not one byte more than the header says, whatever becomes of the file meanwhile.
        if io::copy(&mut file.take(size), &mut self.out)? != size {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.pad(size)?;
        Ok(size)
    }
}

/// Writes it: its size in bytes.
pub(super) fn write(to: &Path, init: &Path, modules: &[Module]) -> io::Result<u64> {
    let mut archive = Archive { out: BufWriter::new(File::create(to)?), inode: 0 };
    for dir in ["dev", "sys", "m"] {
        archive.bytes(dir, DIRECTORY, b"")?;
    }
    archive.head("dev/console", CONSOLE, 0, (5, 1))?;
    archive.file("init", init)?;
    for (number, module) in modules.iter().enumerate() {
        archive.file(&format!("m/{number}"), &module.file)?;
    }
    archive.bytes("plan", PROGRAM, plan(modules).as_bytes())?;
    archive.head("TRAILER!!!", 0, 0, (0, 0))?;
    let file = archive.out.into_inner().map_err(io::IntoInnerError::into_error)?;
    Ok(file.metadata()?.len())
}

/// What the first process does, a line each.
fn plan(modules: &[Module]) -> String {
    let of = |(number, module): (usize, &Module)| {
        let unload = if module.unload { format!("unload {}\n", module.name) } else { String::new() };
        format!("load /m/{number} {}\n{unload}", module.name)
    };
    modules.iter().enumerate().map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpio_reads_it() {
        let dir = tempfile::tempdir().expect("a directory");
        let at = |name: &str| dir.path().join(name);
        std::fs::write(at("init"), b"first").expect("written");
        std::fs::write(at("a.ko"), b"module").expect("written");
        let module = |unload| Module { name: "a".into(), file: at("a.ko"), unload };
        write(&at("out"), &at("init"), &[module(true), module(false)]).expect("written");
        assert_eq!(plan(&[module(true), module(false)]), "load /m/0 a\nunload a\nload /m/1 a\n");
        let bytes = std::fs::read(at("out")).expect("read");
        assert_eq!(bytes.len() % 4, 0);
        let archive = File::open(at("out")).expect("open");
        let listed = std::process::Command::new("cpio").args(["-t", "--quiet"]).stdin(archive).output();
        match listed {
            Ok(listed) => {
                let names = String::from_utf8_lossy(&listed.stdout).into_owned();
                assert_eq!(names, "dev\nsys\nm\ndev/console\ninit\nm/0\nm/1\nplan\n", "{listed:?}");
            }
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::NotFound, "cpio is not installed"),
        }
    }
}
