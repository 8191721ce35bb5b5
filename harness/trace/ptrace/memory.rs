//! What a system call's arguments point to.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use libc::pid_t;

use super::sys;

/// Reads never cross a border of this size: behind it nothing may be mapped. No architecture has smaller pages.
const PAGE: usize = 4096;
/// The kernel takes no longer path, its end included (`ENAMETOOLONG`).
const PATH_MAX: usize = libc::PATH_MAX as usize;

/// The path at an address; `None` for one that the kernel refuses, because it is empty or too long.
///
/// # Errors
/// When the memory cannot be read.
pub(super) fn path(task: pid_t, mut address: u64) -> io::Result<Option<Vec<u8>>> {
    let mut path = Vec::new();
    let mut page = [0; PAGE];
    while path.len() < PATH_MAX {
        let room = PAGE - (address % PAGE as u64) as usize;
        let got = read(task, address, &mut page[..room])?;
        if let Some(end) = page[..got].iter().position(|byte| *byte == 0) {
            path.extend(&page[..end]);
            return Ok((1..PATH_MAX).contains(&path.len()).then_some(path));
        }
        path.extend(&page[..got]);
        address += got as u64;
    }
    Ok(None)
}

/// Numbers at an address.
///
/// # Errors
/// When the memory cannot be read.
pub(super) fn words<const N: usize>(task: pid_t, address: u64) -> io::Result<[u64; N]> {
    let mut bytes = vec![0; N * 8];
    let got = read(task, address, &mut bytes)?;
    if got < bytes.len() {
        return Err(io::Error::from_raw_os_error(libc::EFAULT));
    }
    let mut words = bytes.chunks_exact(8).map(|word| u64::from_ne_bytes(word.try_into().unwrap_or_default()));
    Ok(std::array::from_fn(|_| words.next().unwrap_or_default()))
}

/// So many bytes at an address, or as many as there are.
///
/// # Errors
/// When the memory cannot be read.
pub(super) fn bytes(task: pid_t, address: u64, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    let got = read(task, address, &mut bytes)?;
    bytes.truncate(got);
    Ok(bytes)
}

/// Puts bytes at an address.
///
/// # Errors
/// When the memory cannot be written, all of it.
pub(super) fn write(task: pid_t, address: u64, bytes: &[u8]) -> io::Result<()> {
    match sys::write_memory(task, address, bytes) {
        Err(e) if e.raw_os_error() == Some(libc::ENOSYS) => {
            File::options().write(true).open(format!("/proc/{task}/mem"))?.write_all_at(bytes, address)
        }
        Ok(put) if put < bytes.len() => Err(io::Error::from_raw_os_error(libc::EFAULT)),
        other => other.map(drop),
    }
}

/// At least one byte, or an error.
fn read(task: pid_t, address: u64, buffer: &mut [u8]) -> io::Result<usize> {
    let got = match sys::read_memory(task, address, buffer) {
        // A kernel without CONFIG_CROSS_MEMORY_ATTACH.
        Err(e) if e.raw_os_error() == Some(libc::ENOSYS) => {
            File::open(format!("/proc/{task}/mem"))?.read_at(buffer, address)?
        }
        other => other?,
    };
    if got == 0 { Err(io::Error::from_raw_os_error(libc::EFAULT)) } else { Ok(got) }
}
