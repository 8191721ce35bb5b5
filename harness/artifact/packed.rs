//! Compressed modules (`CONFIG_MODULE_COMPRESS`, `scripts/Makefile.modinst`), unpacked to be looked into.
//!
//! The decoders are written in Rust alone, for what is unpacked need not be friendly. What they may take is bounded:
//! a decoder's window to 128 MiB, what comes out to [`LARGEST`].

use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{FrameDecoder, StreamingDecoder};
use tempfile::SpooledTempFile;

/// The most that is unpacked of one file, in bytes.
pub const LARGEST: u64 = 1 << 30;
/// What a decoder may take for its window, in bytes. The kernel asks for 1 MiB of xz, and zstd for 8 MiB by itself.
const MEMORY: u64 = 128 << 20;
/// What is unpacked lies in memory up to this many bytes, and then in a temporary file without a name.
const IN_MEMORY: usize = 32 << 20;
/// What is unpacked between two looks at the flag.
const CHUNK: usize = 128 << 10;

/// How a file is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// gzip(1), RFC 1952.
    Gzip,
    /// xz(1).
    Xz,
    /// zstd(1), RFC 8878.
    Zstd,
}

impl Packing {
    /// How a file of this name is compressed, and what it is called without that: `x.ko` for `x.ko.zst`.
    #[must_use]
    pub fn of(path: &str) -> Option<(Self, &str)> {
        let endings = [(".gz", Self::Gzip), (".xz", Self::Xz), (".zst", Self::Zstd)];
        endings.into_iter().find_map(|(ending, packing)| Some((packing, path.strip_suffix(ending)?)))
    }
}

impl fmt::Display for Packing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gzip => "gzip",
            Self::Xz => "xz",
            Self::Zstd => "zstd",
        })
    }
}

/// Why a file could not be unpacked.
#[derive(Debug, thiserror::Error)]
pub enum PackedError {
    /// It is longer than what is unpacked.
    #[error("it has more than {} MiB inside, which is the most that is unpacked", LARGEST >> 20)]
    TooLarge,
    /// It is no such file, or a broken one.
    #[error("its {packing} data cannot be read at offset {at:#x}: {error}")]
    Malformed {
        /// How its name says it is compressed.
        packing: Packing,
        /// How many compressed bytes had been taken.
        at: u64,
        /// What the decoder says.
        error: io::Error,
    },
    /// There is no place for what is inside.
    #[error("what is inside cannot be kept in a temporary file: {0}")]
    Kept(io::Error),
    /// Everything was to stop meanwhile.
    #[error("stopped")]
    Stopped,
}

/// Counts what is read through it.
struct Counted<R> {
    reader: R,
    taken: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.reader.read(buffer)?;
        self.taken += n as u64;
        Ok(n)
    }
}

/// What is inside, from its beginning.
///
/// # Errors
/// [`PackedError`]; what was unpacked before is thrown away.
pub fn unpack(packing: Packing, reader: &mut dyn Read, cancel: &AtomicBool) -> Result<SpooledTempFile, PackedError> {
    let mut source = BufReader::new(Counted { reader, taken: 0 });
    let mut file = SpooledTempFile::new(IN_MEMORY);
    let mut size = 0;
    let done = match packing {
        Packing::Gzip => drain(&mut flate2::bufread::MultiGzDecoder::new(&mut source), &mut file, &mut size, cancel),
        Packing::Xz => {
            let mut reader = lzma_rust2::XzReader::new_mem_limit(&mut source, true, (MEMORY >> 10) as u32);
            drain(&mut reader, &mut file, &mut size, cancel)
        }
        Packing::Zstd => zstd(&mut source, &mut file, &mut size, cancel),
    };
    // What the buffer still holds was read and not yet taken.
    let held = source.buffer().len() as u64;
    let at = source.get_ref().taken - held;
    done.map_err(|error| match error {
        Ended::Decoder(error) => PackedError::Malformed { packing, at, error },
        Ended::Other(error) => error,
    })?;
    file.seek(SeekFrom::Start(0)).map_err(PackedError::Kept)?;
    Ok(file)
}

/// What is inside a section that is compressed by itself (`SHF_COMPRESSED`), of at most so many bytes.
///
/// # Errors
/// Why it cannot be read.
pub(super) fn section(kind: u32, bytes: &[u8], largest: u64) -> Result<Vec<u8>, String> {
    // ELFCOMPRESS_ZLIB and ELFCOMPRESS_ZSTD
    let mut decoder: Box<dyn Read + '_> = match kind {
        1 => Box::new(flate2::read::ZlibDecoder::new(bytes)),
        2 => {
            let mut decoder = FrameDecoder::new();
            decoder.set_max_window_size(MEMORY);
            Box::new(StreamingDecoder::new_with_decoder(bytes, decoder).map_err(|error| error.to_string())?)
        }
        kind => return Err(format!("it is compressed in way {kind}, which is not known")),
    };
    let mut inside = Vec::new();
    // `take` bounds what comes out, whatever a header claims.
    (&mut decoder).take(largest + 1).read_to_end(&mut inside).map_err(|error| error.to_string())?;
    if inside.len() as u64 > largest {
        return Err(format!("it has more than {largest} bytes inside, which is all that may still be unpacked"));
    }
    Ok(inside)
}

/// Why unpacking ended: by the decoder, whose error still lacks its place, or otherwise.
enum Ended {
    Decoder(io::Error),
    Other(PackedError),
}

fn drain(decoder: &mut dyn Read, file: &mut SpooledTempFile, size: &mut u64, cancel: &AtomicBool) -> Result<(), Ended> {
    let mut buffer = vec![0; CHUNK];
    loop {
        if cancel.load(Ordering::Relaxed) {
            return Err(Ended::Other(PackedError::Stopped));
        }
        let n = match decoder.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(n) => n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Ended::Decoder(error)),
        };
        *size += n as u64;
        if *size > LARGEST {
            return Err(Ended::Other(PackedError::TooLarge));
        }
        file.write_all(&buffer[..n]).map_err(|error| Ended::Other(PackedError::Kept(error)))?;
    }
}

/// Frames one after the other, some of which are to be skipped (RFC 8878, 3.1).
fn zstd(
    source: &mut BufReader<Counted<&mut dyn Read>>,
    file: &mut SpooledTempFile,
    size: &mut u64,
    cancel: &AtomicBool,
) -> Result<(), Ended> {
    let mut first = true;
    let wrong = |text: String| Ended::Decoder(io::Error::new(io::ErrorKind::InvalidData, text));
    while first || !source.fill_buf().map_err(Ended::Decoder)?.is_empty() {
        first = false;
        let mut decoder = FrameDecoder::new();
        decoder.set_max_window_size(MEMORY);
        let mut stream = match StreamingDecoder::new_with_decoder(&mut *source, decoder) {
            Ok(stream) => stream,
            Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame { length, .. })) => {
                let skipped = io::copy(&mut source.take(length.into()), &mut io::sink()).map_err(Ended::Decoder)?;
                if skipped < u64::from(length) {
                    return Err(Ended::Decoder(io::ErrorKind::UnexpectedEof.into()));
                }
                continue;
            }
            Err(error) => return Err(wrong(error.to_string())),
        };
        drain(&mut stream, file, size, cancel)?;
        let (said, is) = (stream.decoder.get_checksum_from_data(), stream.decoder.get_calculated_checksum());
        if let (Some(said), Some(is)) = (said, is)
            && said != is
        {
            return Err(wrong(format!("checksum {said:#010x} where {is:#010x} should be")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::tests::Random;
    use super::*;

    fn read(packing: Packing, bytes: &[u8]) -> Result<Vec<u8>, PackedError> {
        let mut file = unpack(packing, &mut &bytes[..], &AtomicBool::new(false))?;
        let mut inside = Vec::new();
        file.read_to_end(&mut inside).map_err(PackedError::Kept)?;
        Ok(inside)
    }

    fn packed(packing: Packing, bytes: &[u8]) -> Vec<u8> {
        match packing {
            Packing::Gzip => {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                encoder.write_all(bytes).expect("in memory");
                encoder.finish().expect("in memory")
            }
            Packing::Xz => {
                let mut encoder =
                    lzma_rust2::XzWriter::new(Vec::new(), lzma_rust2::XzOptions::with_preset(1)).expect("options");
                encoder.write_all(bytes).expect("in memory");
                encoder.finish().expect("in memory")
            }
            Packing::Zstd => ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest),
        }
    }

    const ALL: [Packing; 3] = [Packing::Gzip, Packing::Xz, Packing::Zstd];

    #[test]
    fn what_was_packed_comes_out_again() {
        let bytes: Vec<u8> = (0..200_000u32).flat_map(|n| (n / 7).to_le_bytes()).collect();
        for packing in ALL {
            for inside in [&[][..], b"x", &bytes] {
                assert_eq!(read(packing, &packed(packing, inside)).expect("whole"), inside, "{packing}");
            }
            // one after the other, as cat(1) makes them
            let twice = [packed(packing, b"one"), packed(packing, b"two")].concat();
            assert_eq!(read(packing, &twice).expect("whole"), b"onetwo", "{packing}");
        }
        let skipped = [&[0x50, 0x2a, 0x4d, 0x18, 2, 0, 0, 0, 7, 7], &packed(Packing::Zstd, b"x")[..]].concat();
        assert_eq!(read(Packing::Zstd, &skipped).expect("whole"), b"x");
    }

    #[test]
    fn broken_data_is_told_with_its_place() {
        let bytes: Vec<u8> = (0..50_000u32).flat_map(|n| (n * n).to_le_bytes()).collect();
        for packing in ALL {
            let whole = packed(packing, &bytes);
            let error = read(packing, &whole[..whole.len() / 2]).expect_err("cut off").to_string();
            assert!(error.contains(&format!("its {packing} data cannot be read at offset 0x")), "{error}");
            for other in [&b""[..], b"\x7fELF, and no compressed data at all"] {
                // an empty file is no frame; it is not an empty module either
                assert!(matches!(read(packing, other), Err(PackedError::Malformed { .. })), "{packing} {other:?}");
            }
        }
    }

    #[test]
    fn mutated_data_never_panics_nor_takes_more_than_its_bound() {
        let mut random = Random(0x9ac);
        let bytes: Vec<u8> = (0..3000u32).flat_map(|n| (n * n / 5).to_le_bytes()).collect();
        for packing in ALL {
            let whole = packed(packing, &bytes);
            let (mut read_all, mut failed) = (0, 0);
            for _ in 0..1500 {
                let mut broken = whole.clone();
                random.mutate(&mut broken, 64);
                match read(packing, &broken) {
                    Ok(inside) if inside == bytes => read_all += 1,
                    Ok(_) => {}
                    Err(_) => failed += 1,
                }
            }
            assert!(failed > 100, "{packing}: {read_all} as before, {failed} failed");
        }
    }

    #[test]
    fn a_bomb_is_not_unpacked_to_its_end() {
        // A gigabyte of zeros and a byte is a megabyte of gzip.
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        let mebibyte = vec![0; 1 << 20];
        for _ in 0..=LARGEST >> 20 {
            encoder.write_all(&mebibyte).expect("in memory");
        }
        let bomb = encoder.finish().expect("in memory");
        let cancel = AtomicBool::new(false);
        let error = unpack(Packing::Gzip, &mut &bomb[..], &cancel).expect_err("too large");
        assert!(matches!(error, PackedError::TooLarge), "{error}");
        cancel.store(true, Ordering::Relaxed);
        let error = unpack(Packing::Gzip, &mut &bomb[..], &cancel).expect_err("stopped");
        assert!(matches!(error, PackedError::Stopped), "{error}");
    }
}
