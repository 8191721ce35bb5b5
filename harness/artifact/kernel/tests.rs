use std::io::{Cursor, Write as _};

use super::super::btf::BtfFile;
use super::super::tests::{FLAVOURS, Random, elf};
use super::*;

/// What a boot image of x86 has: boot sector and setup code, a header of PE, the code that unpacks, the payload and what
/// follows it.
pub(in super::super) fn bzimage(payload: &[u8], version: &str) -> Vec<u8> {
    let mut bytes = vec![0; 0x1000];
    bytes[..2].copy_from_slice(b"MZ");
    bytes[0x3c] = 0x80;
    bytes[0x80..0x84].copy_from_slice(b"PE\0\0");
    bytes[0x98..0x9a].copy_from_slice(&[0x0b, 0x02]);
    // one sector of setup: the protected-mode code begins at 0x400
    bytes[0x1f1] = 1;
    bytes[0x1fe..0x200].copy_from_slice(&[0x55, 0xaa]);
    bytes[0x202..0x206].copy_from_slice(b"HdrS");
    bytes[0x206..0x208].copy_from_slice(&0x20fu16.to_le_bytes());
    bytes[0x20e..0x210].copy_from_slice(&0x100u16.to_le_bytes());
    bytes[0x248..0x24c].copy_from_slice(&0xc00u32.to_le_bytes());
    bytes[0x24c..0x250].copy_from_slice(&(payload.len() as u32).to_le_bytes());
    bytes[0x300..0x300 + version.len()].copy_from_slice(version.as_bytes());
    [&bytes, payload, b"code"].concat()
}

/// A file with a certificate table of these bytes, as sbsign(1) leaves it.
pub(in super::super) fn signed(mut image: Vec<u8>, certificate: &[u8]) -> Vec<u8> {
    let (at, length) = (image.len() as u32, certificate.len() as u32);
    image[0x98 + 64..0x98 + 68].copy_from_slice(&at.to_le_bytes());
    image[0x98 + 144..0x98 + 148].copy_from_slice(&at.to_le_bytes());
    image[0x98 + 148..0x98 + 152].copy_from_slice(&length.to_le_bytes());
    image.extend_from_slice(certificate);
    image
}

pub(in super::super) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("in memory");
    encoder.finish().expect("in memory")
}

fn zboot(payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; 64];
    bytes[..8].copy_from_slice(b"MZ\0\0zimg");
    bytes[8..12].copy_from_slice(&64u32.to_le_bytes());
    bytes[12..16].copy_from_slice(&(payload.len() as u32).to_le_bytes());
    bytes[24..28].copy_from_slice(b"gzip");
    [&bytes, payload, &[0; 4]].concat()
}

fn open(bytes: &[u8]) -> Result<Option<Vec<u8>>, KernelError> {
    let mut file = Cursor::new(bytes);
    let Some(image) = Image::find(&mut file)? else { return Ok(None) };
    let mut inside = Vec::new();
    image.open(&mut file, &AtomicBool::new(false))?.read_to_end(&mut inside)?;
    Ok(Some(inside))
}

#[test]
fn the_kernel_inside_is_found_by_each_kind_of_header() {
    let kernel: Vec<u8> = (0..50_000u32).flat_map(u32::to_le_bytes).collect();
    let packed = gzip(&kernel);
    for image in [bzimage(&packed, "6.1.0"), zboot(&packed), packed.clone(), signed(bzimage(&packed, ""), b"cert")] {
        assert!(open(&image).expect("whole").as_deref() == Some(&kernel));
    }
    // All but gzip have the length of what is inside after them.
    let block = lz4_flex::block::compress(&kernel);
    let lz4 =
        [&0x184c_2102u32.to_le_bytes()[..], &(block.len() as u32).to_le_bytes(), &block, &200_000u32.to_le_bytes()];
    assert!(open(&bzimage(&lz4.concat(), "")).expect("whole").as_deref() == Some(&kernel));
    let zstd = ruzstd::encoding::compress_to_vec(&kernel[..], ruzstd::encoding::CompressionLevel::Fastest);
    assert!(open(&bzimage(&[&zstd[..], &[64, 13, 3, 0]].concat(), "")).expect("whole").as_deref() == Some(&kernel));
    for other in [&b""[..], b"MZ", b"\x7fELF", &[0; 5000]] {
        assert!(matches!(open(other), Ok(None)), "{other:?}");
    }
}

#[test]
fn what_cannot_be_opened_says_why_and_what_helps() {
    let told = |image: &[u8]| {
        let error = open(image).expect_err("cannot be opened");
        assert!(error.hint().is_some(), "{error}");
        error.to_string()
    };
    assert_eq!(told(&bzimage(b"BZh91AY", "")), "the kernel inside is compressed by bzip2, which is not unpacked here");
    assert_eq!(told(&bzimage(b"\x89LZO\0", "")), "the kernel inside is compressed by lzo, which is not unpacked here");
    assert!(told(&bzimage(b"none", "")).contains("at offset 0x1000, is compressed in a way that is not known"));
    let mut image = bzimage(&gzip(b"x"), "");
    image[0x206] = 7;
    assert_eq!(told(&image), "its boot protocol 2.07 does not say where the kernel is; 2.08 and newer do");
    let mut image = bzimage(&gzip(b"x"), "");
    image[0x24f] = 0x7f;
    assert!(told(&image).contains("its header at 0x248 says that the kernel is at 0x1000"), "{}", told(&image));
    let whole = bzimage(&gzip(&[7; 90_000]), "");
    let cut = [&whole[..0x1040], &vec![0xff; whole.len() - 0x1040][..]].concat();
    assert!(told(&cut).contains("the kernel inside, at offset 0x1000: its gzip data cannot be read"), "{}", told(&cut));
}

#[test]
fn what_a_signer_sets_is_told_from_the_rest() {
    let plain = bzimage(&gzip(b"kernel"), "6.1.0 (me@here) #1");
    let signed = signed(plain.clone(), b"certificate");
    let look = |bytes: &[u8]| {
        let mut file = Cursor::new(bytes);
        let image = Image::find(&mut file).expect("an image").expect("an image");
        (image.version().map(str::to_owned), image.around(&mut file).expect("read"))
    };
    let ((version, without), (_, with)) = (look(&plain), look(&signed));
    assert_eq!(version.as_deref(), Some("6.1.0 (me@here) #1"));
    assert_eq!((&without.before, &without.after), (&with.before, &with.after));
    assert_eq!((without.signature, with.signature.as_deref()), (None, Some(&b"certificate"[..])));
}

#[test]
fn btf_is_read_from_a_boot_image() {
    let btf = super::super::btf::tests::base_sample();
    let elf = elf(FLAVOURS[0], &[(".BTF", 1, &btf)]);
    for inside in [elf, [&[7; 4096], &btf[..], b"rest"].concat()] {
        let file = BtfFile::of(bzimage(&gzip(&inside), "")).expect("it has BTF");
        file.into_base().expect("no split BTF");
    }
    let error = BtfFile::of(bzimage(&gzip(b"no BTF at all"), "")).expect_err("none");
    assert_eq!(error.to_string(), "no BTF is in the kernel inside");
}

#[test]
fn mutated_images_never_panic() {
    let mut random = Random(0xb00);
    let whole = [bzimage(&gzip(b"kernel"), "6.1"), zboot(&gzip(b"kernel")), signed(bzimage(&gzip(b"k"), ""), b"c")];
    let mut failed = 0;
    for round in 0..3000 {
        let mut bytes = whole[round % whole.len()].clone();
        random.mutate(&mut bytes, 0x250);
        failed += usize::from(open(&bytes).is_err());
        if let Ok(Some(image)) = Image::find(&mut Cursor::new(&bytes)) {
            let _ = image.around(&mut Cursor::new(&bytes));
        }
    }
    assert!(failed > 100, "{failed}");
}
