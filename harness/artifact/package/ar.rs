//! deb(5): an ar(5) archive of `debian-binary`, `control.tar*` and `data.tar*`.
//!
//! Sixty bytes of text before each member are all there is to ar. The crate `ar` takes memory for whatever length a
//! header claims, and knows forms of long names that no .deb has.

use super::super::packed::Packing;
use super::super::walk::escape_bytes;
use super::unpacker::Unpacker;
use super::{PackageError, Piece, Source, tar};
use crate::artifact::Digest;

const MAGIC: &[u8] = b"!<arch>\n";
/// `struct ar_hdr`: name 16, date 12, uid 6, gid 6, mode 8, size 10, and an end of two bytes.
const HEADER: usize = 60;
/// `debian-binary` is a version and a line feed; other members have nothing that is read.
const LONGEST: u64 = 4096;

pub(super) fn read(source: &mut Source<'_>, into: &mut Unpacker<'_>) -> Result<Vec<Piece>, PackageError> {
    let faults = source.faults.clone();
    source.exactly(&mut [0; MAGIC.len()], "the magic of ar")?;
    let mut pieces: Vec<Piece> = Vec::new();
    let (mut data, mut padding) = (false, 0);
    // dpkg reads no further than data.tar; that there is more is said.
    while !data {
        let mut header = [0; HEADER];
        let at = faults.taken.get();
        source.exactly(&mut header, "the header of the next member (data.tar is still to come)")?;
        let wrong = |what: &str| PackageError::Malformed { at, what: what.to_owned() };
        if !header.ends_with(b"`\n") {
            return Err(wrong("no header of ar: it ends without ` and a line feed"));
        }
        let text = |range: std::ops::Range<usize>| escape_bytes(header[range].trim_ascii_end());
        // A slash after the name is System V's.
        let name = text(0..16).trim_end_matches('/').to_owned();
        let size: u64 = text(48..58).parse().map_err(|_| wrong("the length of a member is no number"))?;
        let said = format!("mtime {}, owner {}:{}, mode {}", text(16..28), text(28..34), text(34..40), text(40..48));
        if pieces.iter().any(|piece| piece.name == name) {
            return Err(wrong(&format!("a second `{name}`")));
        }
        let piece = match name.as_str() {
            _ if pieces.is_empty() => {
                if name != "debian-binary" {
                    return Err(wrong(&format!("`{name}` where `debian-binary` should be")));
                }
                let version = super::unpacker::short(source, size, LONGEST, &name).map_err(|why| wrong(&why))?;
                if !version.starts_with(b"2.") {
                    return Err(wrong(&format!("a package of format `{}`, not 2", escape_bytes(version.trim_ascii()))));
                }
                let digest = Digest::of(&version);
                Piece { name, header: said, packing: None, outside: digest, inside: digest }
            }
            _ if tarball(&name, "control").is_some() || tarball(&name, "data").is_some() => {
                data = name.starts_with("data");
                let packing = tarball(&name, if data { "data" } else { "control" }).unwrap_or(Err("?"));
                let packing = packing.map_err(|how| PackageError::Compression(format!("`{name}`"), how.to_owned()))?;
                if !data && pieces.iter().any(|piece| piece.name.starts_with("control.tar")) {
                    return Err(wrong(&format!("`{name}` is another control.tar")));
                }
                if data && !pieces.iter().any(|piece| piece.name.starts_with("control.tar")) {
                    return Err(wrong("data.tar before control.tar"));
                }
                into.about = (!data).then_some("DEBIAN");
                let archive = if data { "data.tar" } else { "control.tar" };
                source.archive((name, said, size), packing, |stream| tar::read(stream, archive, into))?
            }
            // "dpkg ignores members whose name begins with an underscore" (deb(5))
            _ if name.starts_with('_') => source.archive((name, said, size), None, |_| Ok(()))?,
            _ => return Err(wrong(&format!("`{name}` is nothing that a .deb has"))),
        };
        pieces.push(piece);
        padding = size % 2;
        if padding > 0 && !data {
            source.exactly(&mut [0], "padding")?;
        }
    }
    into.about = None;
    let rest = source.drain()?.saturating_sub(padding);
    if rest > 0 {
        let header = format!("{rest} bytes after data.tar, which dpkg does not look at");
        let digest = Digest::of(header.as_bytes());
        pieces.push(Piece { name: "rest".to_owned(), header, packing: None, outside: digest, inside: digest });
    }
    Ok(pieces)
}

/// How such a tarball is compressed, or which way of compression is not read.
fn tarball(name: &str, which: &str) -> Option<Result<Option<Packing>, &'static str>> {
    Some(match name.strip_prefix(which)?.strip_prefix(".tar")? {
        "" => Ok(None),
        ".gz" => Ok(Some(Packing::Gzip)),
        ".xz" => Ok(Some(Packing::Xz)),
        ".zst" => Ok(Some(Packing::Zstd)),
        ".lzma" => Ok(Some(Packing::Lzma)),
        ".bz2" => Err("bzip2"),
        _ => return None,
    })
}
