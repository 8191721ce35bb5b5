//! A tar file, a package or a git revision, streamed into a directory.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use sha2::{Digest, Sha256};

use super::program::{ErrorFile, Programs, program_of};
use super::{Progress, SourceError};

const CHUNK: usize = 256 * 1024;

/// How a tar file is compressed, by its first bytes: endings lie, and Debian's may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compression {
    None,
    Gzip,
    Bzip2,
    Xz,
    Zstd,
}

impl Compression {
    pub(super) fn of(start: &[u8]) -> Self {
        // RFC 1952 2.3.1, bzip2 and xz file format 2.1.1.1, RFC 8878 3.1.1.
        match start {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [b'B', b'Z', b'h', ..] => Self::Bzip2,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Self::Xz,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            _ => Self::None,
        }
    }

    fn command(self, programs: &Programs) -> Result<Option<Command>, SourceError> {
        let (name, package, args): (_, _, &[&str]) = match self {
            Self::None => return Ok(None),
            Self::Gzip => ("gzip", "gzip", &["-dc"]),
            Self::Bzip2 => ("bzip2", "bzip2", &["-dc"]),
            Self::Xz => ("xz", "xz-utils", &["-dc", "-T0"]),
            Self::Zstd => ("zstd", "zstd", &["-dcq"]),
        };
        let mut command = programs.command(name, package)?;
        command.args(args);
        Ok(Some(command))
    }

    /// How much larger the tree is than the tar file, for the check of free space; kernels measured: xz 11, with
    /// file system blocks.
    pub(super) fn growth(self) -> u64 {
        match self {
            Self::None => 2,
            Self::Gzip => 8,
            Self::Bzip2 | Self::Zstd => 10,
            Self::Xz => 12,
        }
    }
}

/// What was read.
pub(super) struct Streamed {
    /// SHA-256 of all that came in, hexadecimal.
    pub(super) sha256: String,
}

/// A child and where its messages go; killed and reaped when given up.
struct Running {
    program: std::path::PathBuf,
    child: Child,
    errors: Option<ErrorFile>,
}

impl Running {
    fn start(command: &mut Command, scratch: &Path) -> Result<Self, SourceError> {
        let errors = ErrorFile::new(scratch)?;
        command.stderr(errors.stdio()?);
        let program = program_of(command);
        let child = command.spawn().map_err(|source| SourceError::Spawn { program: program.clone(), source })?;
        Ok(Self { program, child, errors: Some(errors) })
    }

    /// Success and messages.
    fn finish(mut self) -> Result<(bool, String), SourceError> {
        let status = self.child.wait().map_err(|e| SourceError::io("wait for", &self.program, e))?;
        Ok((status.success(), self.errors.take().map(ErrorFile::text).unwrap_or_default()))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail when it has been waited for, which is the good case.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Unpacks `input` into the existing directory `into`, as it comes, without an intermediate file.
///
/// Refused are members with absolute paths or `..` (tar(1) would drop the first and go on). `total` is the number of
/// bytes that are expected, for the callback only.
pub(super) fn unpack(
    input: &mut dyn Read,
    what: &Path,
    into: &Path,
    total: Option<u64>,
    programs: &Programs,
    progress: &mut dyn FnMut(Progress),
) -> Result<Streamed, SourceError> {
    let scratch = into.parent().unwrap_or(into);
    let mut start = vec![0; CHUNK];
    let mut length = 0;
    while length < start.len() {
        match input.read(&mut start[length..]) {
            Ok(0) => break,
            Ok(n) => length += n,
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(SourceError::io("read", what, e)),
        }
    }
    start.truncate(length);

    let mut tar = programs.command("tar", "tar")?;
    // Modes are those of the archive whatever the caller's umask; owners are ours.
    tar.args(["--extract", "--file=-", "--no-same-owner", "--same-permissions", "--delay-directory-restore"])
        .arg("--directory")
        .arg(into);
    let mut children = Vec::new();
    let mut sink = match Compression::of(&start).command(programs)? {
        None => {
            let mut tar = Running::start(tar.stdin(Stdio::piped()).stdout(Stdio::null()), scratch)?;
            let sink = tar.child.stdin.take();
            children.push(tar);
            sink
        }
        Some(mut decompress) => {
            let mut first = Running::start(decompress.stdin(Stdio::piped()).stdout(Stdio::piped()), scratch)?;
            let sink = first.child.stdin.take();
            let between = first.child.stdout.take().map_or_else(Stdio::null, Stdio::from);
            children.push(first);
            children.push(Running::start(tar.stdin(between).stdout(Stdio::null()), scratch)?);
            sink
        }
    };
    // It holds our copy of tar's input: with it open, what writes there would not see tar die.
    drop(tar);

    let mut hash = Sha256::new();
    let mut bytes = 0;
    let mut buffer = vec![0; CHUNK];
    let mut chunk: &[u8] = &start;
    loop {
        if chunk.is_empty() {
            break;
        }
        hash.update(chunk);
        bytes += chunk.len() as u64;
        if let Some(pipe) = &mut sink
            && let Err(e) = pipe.write_all(chunk)
        {
            if e.kind() != ErrorKind::BrokenPipe {
                return Err(SourceError::io("unpack", what, e));
            }
            // The reader has ended. It either failed, which its status says, or has seen the archive's end: what
            // follows still belongs to the digest.
            sink = None;
        }
        progress(Progress::Unpacking { done: bytes, total });
        let n = loop {
            match input.read(&mut buffer) {
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                other => break other.map_err(|e| SourceError::io("read", what, e))?,
            }
        };
        chunk = &buffer[..n];
    }
    drop(sink);

    let mut refused = None;
    let mut failed = Vec::new();
    for child in children {
        let program = child.program.clone();
        let (success, messages) = child.finish()?;
        refused = refused.or_else(|| {
            messages
                .lines()
                .find(|l| l.contains("Removing leading `") || l.contains("Member name contains '..'"))
                .map(str::to_owned)
        });
        if !success {
            failed.push(format!("{}: {messages}", program.display()));
        }
    }
    if let Some(why) = refused {
        return Err(SourceError::Unsafe { what: what.into(), why });
    }
    if !failed.is_empty() || bytes == 0 {
        return Err(SourceError::Unpack { what: what.into(), output: failed.join("\n") });
    }
    Ok(Streamed { sha256: hex(&hash.finalize()) })
}

/// Unpacks the tar file that is inside Debian's `linux-source` package.
pub(super) fn unpack_deb(
    deb: &Path,
    into: &Path,
    total: u64,
    programs: &Programs,
    progress: &mut dyn FnMut(Progress),
) -> Result<Streamed, SourceError> {
    let scratch = into.parent().unwrap_or(into);
    let mut outer = Running::start(
        programs.command("dpkg-deb", "dpkg")?.arg("--fsys-tarfile").arg(deb).stdout(Stdio::piped()),
        scratch,
    )?;
    let between = outer.child.stdout.take().map_or_else(Stdio::null, Stdio::from);
    let mut member = Running::start(
        programs
            .command("tar", "tar")?
            .args(["--extract", "--file=-", "--to-stdout", "--wildcards", "./usr/src/linux-source-*.tar*"])
            .stdin(between)
            .stdout(Stdio::piped()),
        scratch,
    )?;
    let mut stdout = member
        .child
        .stdout
        .take()
        .ok_or_else(|| SourceError::Unpack { what: deb.into(), output: "no pipe from tar".into() })?;
    let streamed = unpack(&mut stdout, deb, into, Some(total), programs, progress);
    drop(stdout);
    // When unpacking stopped early these two die of a broken pipe; its error is the cause.
    let streamed = streamed?;
    for child in [outer, member] {
        let program = child.program.clone();
        let (success, messages) = child.finish()?;
        if !success {
            return Err(SourceError::Unpack { what: deb.into(), output: format!("{}: {messages}", program.display()) });
        }
    }
    Ok(streamed)
}

/// Unpacks the standard output of a command, such as `git archive`.
pub(super) fn unpack_output(
    command: &mut Command,
    what: &Path,
    into: &Path,
    programs: &Programs,
    progress: &mut dyn FnMut(Progress),
) -> Result<Streamed, SourceError> {
    let mut source = Running::start(command.stdout(Stdio::piped()), into.parent().unwrap_or(into))?;
    let mut stdout = source
        .child
        .stdout
        .take()
        .ok_or_else(|| SourceError::Unpack { what: what.into(), output: "no pipe".into() })?;
    let streamed = unpack(&mut stdout, what, into, None, programs, progress);
    drop(stdout);
    let program = source.program.clone();
    let (success, messages) = source.finish()?;
    if !success {
        return Err(SourceError::Unpack { what: what.into(), output: format!("{}: {messages}", program.display()) });
    }
    streamed
}

/// How a file that was just opened is compressed; it is left at its start.
pub(super) fn compression_of(file: &mut File, path: &Path) -> Result<Compression, SourceError> {
    let mut start = Vec::new();
    let io = |e| SourceError::io("read", path, e);
    Read::by_ref(file).take(8).read_to_end(&mut start).map_err(io)?;
    file.rewind().map_err(io)?;
    Ok(Compression::of(&start))
}

/// SHA-256 of bytes, hexadecimal.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// SHA-256 of a file, hexadecimal; `progress` is told the bytes that were read.
pub(crate) fn sha256_file(path: &Path, progress: &mut dyn FnMut(u64)) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; CHUNK];
    let mut done = 0;
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(hex(&hash.finalize())),
            Ok(n) => {
                hash.update(&buffer[..n]);
                done += n as u64;
                progress(done);
            }
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes.iter().flat_map(|b| [DIGITS[usize::from(b >> 4)], DIGITS[usize::from(b & 15)]]).map(char::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compression_by_first_bytes() {
        assert_eq!(Compression::of(b"\x1f\x8b\x08"), Compression::Gzip);
        assert_eq!(Compression::of(b"BZh9"), Compression::Bzip2);
        assert_eq!(Compression::of(b"\xfd7zXZ\0"), Compression::Xz);
        assert_eq!(Compression::of(b"\x28\xb5\x2f\xfd"), Compression::Zstd);
        assert_eq!(Compression::of(b"linux/"), Compression::None);
        assert_eq!(Compression::of(b""), Compression::None);
    }

    #[test]
    fn digests_are_hexadecimal() {
        assert_eq!(hex(&[0, 0xab, 0x10]), "00ab10");
    }
}
