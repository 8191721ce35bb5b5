//! Compressed modules (`CONFIG_MODULE_COMPRESS`, `scripts/Makefile.modinst`), kernels and archives, unpacked to be looked
//! into.
//!
//! The decoders are written in Rust alone, for what is unpacked need not be friendly. What they may take is bounded:
//! a decoder's window to 128 MiB, what comes out to [`LARGEST`].

use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder, StreamingDecoder};
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
    /// What lzma(1) makes, the format before xz.
    Lzma,
    /// What `lz4 -l` makes, the only format of lz4(1) that the kernel reads (`lib/decompress_unlz4.c`).
    Lz4,
}

impl Packing {
    /// How a file of this name is compressed, and what it is called without that: `x.ko` for `x.ko.zst`.
    #[must_use]
    pub fn of(path: &str) -> Option<(Self, &str)> {
        let endings = [(".gz", Self::Gzip), (".xz", Self::Xz), (".zst", Self::Zstd)];
        endings.into_iter().find_map(|(ending, packing)| Some((packing, path.strip_suffix(ending)?)))
    }

    /// How data that begin so are compressed, as `lib/decompress.c` of the kernel tells it; by name what there is no
    /// decoder for.
    ///
    /// # Errors
    /// The name of a way of compression that is known and not read.
    pub fn of_magic(head: &[u8]) -> Result<Option<Self>, &'static str> {
        Ok(Some(match head {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Self::Xz,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            // Properties of the encoder as it is by default, and a dictionary of whole kibibytes.
            [0x5d, 0, 0, ..] => Self::Lzma,
            [0x02, 0x21, 0x4c, 0x18, ..] => Self::Lz4,
            [b'B', b'Z', b'h', ..] => return Err("bzip2"),
            [0x89, b'L', b'Z', b'O', ..] => return Err("lzo"),
            [0x04, 0x22, 0x4d, 0x18, ..] => return Err("lz4 frames"),
            _ => return Ok(None),
        }))
    }
}

impl fmt::Display for Packing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gzip => "gzip",
            Self::Xz => "xz",
            Self::Zstd => "zstd",
            Self::Lzma => "lzma",
            Self::Lz4 => "lz4",
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

/// How much there is of something compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// Up to the end, one stream after the other, as in a file.
    All,
    /// One stream; what comes after it is something else.
    One,
}

/// Reads what is inside of what `source` has.
///
/// # Errors
/// A header that is malformed, where the decoder reads that at once.
pub(super) fn reader<'r, R: BufRead + 'r>(
    packing: Packing,
    source: R,
    extent: Extent,
) -> io::Result<Box<dyn Read + 'r>> {
    let all = extent == Extent::All;
    Ok(match packing {
        Packing::Gzip if all => Box::new(flate2::bufread::MultiGzDecoder::new(source)),
        Packing::Gzip => Box::new(flate2::bufread::GzDecoder::new(source)),
        Packing::Xz => Box::new(lzma_rust2::XzReader::new_mem_limit(source, all, (MEMORY >> 10) as u32)),
        Packing::Zstd => Box::new(Frames::new(source, all)),
        Packing::Lzma => Box::new(lzma_rust2::LzmaReader::new_mem_limit(source, (MEMORY >> 10) as u32, None)?),
        Packing::Lz4 => Box::new(Lz4::new(source)),
    })
}

/// What is inside, from its beginning.
///
/// # Errors
/// [`PackedError`]; what was unpacked before is thrown away.
pub fn unpack(packing: Packing, reader: &mut dyn Read, cancel: &AtomicBool) -> Result<SpooledTempFile, PackedError> {
    unpack_extent(packing, reader, Extent::All, cancel)
}

/// As [`unpack`], of one stream or of all.
pub(super) fn unpack_extent(
    packing: Packing,
    reader: &mut dyn Read,
    extent: Extent,
    cancel: &AtomicBool,
) -> Result<SpooledTempFile, PackedError> {
    let mut source = BufReader::new(Counted { reader, taken: 0 });
    let mut file = SpooledTempFile::new(IN_MEMORY);
    let done = match self::reader(packing, &mut source, extent) {
        Ok(mut reader) => drain(&mut *reader, &mut file, cancel),
        Err(error) => Err(Ended::Decoder(error)),
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

fn drain(decoder: &mut dyn Read, file: &mut SpooledTempFile, cancel: &AtomicBool) -> Result<(), Ended> {
    let mut buffer = vec![0; CHUNK];
    let mut size = 0;
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
        size += n as u64;
        if size > LARGEST {
            return Err(Ended::Other(PackedError::TooLarge));
        }
        file.write_all(&buffer[..n]).map_err(|error| Ended::Other(PackedError::Kept(error)))?;
    }
}

fn wrong(text: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text.into())
}

/// zstd: frames one after the other, some of which are to be skipped (RFC 8878, 3.1).
struct Frames<R> {
    source: R,
    decoder: FrameDecoder,
    /// Whether a frame has been begun and is not over.
    inside: bool,
    /// Whether there has been any.
    begun: bool,
    all: bool,
}

impl<R: BufRead> Frames<R> {
    fn new(source: R, all: bool) -> Self {
        let mut decoder = FrameDecoder::new();
        decoder.set_max_window_size(MEMORY);
        Self { source, decoder, inside: false, begun: false, all }
    }

    /// Reads the header of the next frame.
    fn begin(&mut self) -> io::Result<()> {
        match self.decoder.reset(&mut self.source) {
            Ok(()) => {
                (self.inside, self.begun) = (true, true);
                Ok(())
            }
            Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame { length, .. })) => {
                let skipped = io::copy(&mut (&mut self.source).take(length.into()), &mut io::sink())?;
                // Something was there, and nothing of it counts.
                self.begun = true;
                if skipped < u64::from(length) { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
            }
            Err(error) => Err(wrong(error.to_string())),
        }
    }
}

impl<R: BufRead> Read for Frames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if self.inside {
                while self.decoder.can_collect() == 0 && !self.decoder.is_finished() {
                    let more = self.decoder.decode_blocks(&mut self.source, BlockDecodingStrategy::UptoBlocks(1));
                    more.map_err(|error| wrong(error.to_string()))?;
                }
                if self.decoder.can_collect() > 0 {
                    return self.decoder.read(buffer);
                }
                let sums = (self.decoder.get_checksum_from_data(), self.decoder.get_calculated_checksum());
                if let (Some(said), Some(is)) = sums
                    && said != is
                {
                    return Err(wrong(format!("checksum {said:#010x} where {is:#010x} should be")));
                }
                self.inside = false;
                if !self.all {
                    return Ok(0);
                }
            } else if self.begun && (!self.all || self.source.fill_buf()?.is_empty()) {
                return Ok(0);
            } else {
                self.begin()?;
            }
        }
    }
}

/// lz4 as the kernel has it: after the magic number blocks of at most 8 MiB, each after its compressed length, up to the
/// end or to another magic number (lz4's `doc/lz4_Frame_format.md`, "Legacy frame").
struct Lz4<R> {
    source: R,
    block: Vec<u8>,
    at: usize,
    begun: bool,
}

/// `LEGACY_MAGICNUMBER`
const LZ4_MAGIC: u32 = 0x184c_2102;
/// The most that is inside of a block of lz4.
const LZ4_BLOCK: usize = 8 << 20;

impl<R: Read> Lz4<R> {
    fn new(source: R) -> Self {
        Self { source, block: Vec::new(), at: 0, begun: false }
    }

    /// The next word; none at the end.
    fn word(&mut self) -> io::Result<Option<u32>> {
        let mut word = [0; 4];
        match super::hash::fill(&mut self.source, &mut word)? {
            4 => Ok(Some(u32::from_le_bytes(word))),
            0 => Ok(None),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

impl<R: Read> Read for Lz4<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.block.len() {
            let length = match self.word()? {
                Some(LZ4_MAGIC) => {
                    self.begun = true;
                    continue;
                }
                Some(length) if self.begun => length as usize,
                None if self.begun => return Ok(0),
                _ => return Err(wrong("it does not begin as lz4 does")),
            };
            // LZ4_compressBound
            if length > LZ4_BLOCK + LZ4_BLOCK / 255 + 16 {
                return Err(wrong(format!("a block of {length} bytes, more than there can be")));
            }
            let mut packed = Vec::new();
            (&mut self.source).take(length as u64).read_to_end(&mut packed)?;
            if packed.len() < length {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.block.resize(LZ4_BLOCK, 0);
            let inside = lz4_flex::block::decompress_into(&packed, &mut self.block);
            self.block.truncate(inside.map_err(|error| wrong(error.to_string()))?);
            self.at = 0;
        }
        let n = buffer.len().min(self.block.len() - self.at);
        buffer[..n].copy_from_slice(&self.block[self.at..self.at + n]);
        self.at += n;
        Ok(n)
    }
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
            Packing::Lzma => {
                let options = lzma_rust2::LzmaOptions::with_preset(1);
                let mut encoder = lzma_rust2::LzmaWriter::new_use_header(Vec::new(), &options, None).expect("options");
                encoder.write_all(bytes).expect("in memory");
                encoder.finish().expect("in memory")
            }
            Packing::Lz4 => {
                let blocks = bytes.chunks(LZ4_BLOCK).flat_map(|block| {
                    let packed = lz4_flex::block::compress(block);
                    [(packed.len() as u32).to_le_bytes().to_vec(), packed].concat()
                });
                LZ4_MAGIC.to_le_bytes().into_iter().chain(blocks).collect()
            }
        }
    }

    const ALL: [Packing; 5] = [Packing::Gzip, Packing::Xz, Packing::Zstd, Packing::Lzma, Packing::Lz4];

    #[test]
    fn what_was_packed_comes_out_again() {
        let bytes: Vec<u8> = (0..200_000u32).flat_map(|n| (n / 7).to_le_bytes()).collect();
        for packing in ALL {
            for inside in [&[][..], b"x", &bytes] {
                assert_eq!(read(packing, &packed(packing, inside)).expect("whole"), inside, "{packing}");
            }
            assert_eq!(Packing::of_magic(&packed(packing, &bytes)), Ok(Some(packing)));
            // one after the other, as cat(1) makes them; lzma(1) has no such files
            let twice = [packed(packing, b"one"), packed(packing, b"two")].concat();
            if packing != Packing::Lzma {
                assert_eq!(read(packing, &twice).expect("whole"), b"onetwo", "{packing}");
            }
            if packing != Packing::Lz4 {
                let mut one =
                    unpack_extent(packing, &mut &twice[..], Extent::One, &AtomicBool::new(false)).expect("one");
                let mut inside = Vec::new();
                one.read_to_end(&mut inside).expect("in memory");
                assert_eq!(inside, b"one", "{packing}");
            }
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
            // These two take memory for each file, of a size that the file may choose.
            let rounds = if matches!(packing, Packing::Lzma | Packing::Lz4) { 150 } else { 1500 };
            for _ in 0..rounds {
                let mut broken = whole.clone();
                random.mutate(&mut broken, 64);
                match read(packing, &broken) {
                    Ok(inside) if inside == bytes => read_all += 1,
                    Ok(_) => {}
                    Err(_) => failed += 1,
                }
            }
            assert!(failed > rounds / 15, "{packing}: {read_all} as before, {failed} failed");
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
