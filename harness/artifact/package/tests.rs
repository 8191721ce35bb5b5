use std::collections::BTreeMap;
use std::io::{Cursor, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::FileExt as _;

use super::super::btf::BtfFileError;
use super::super::kernel::tests::{bzimage, gzip};
use super::super::tests::{FLAVOURS, Random, elf};
use super::super::trees::{Looked, base_in_package};
use super::*;

static NEVER: AtomicBool = AtomicBool::new(false);

fn read(kind: Kind, bytes: &[u8]) -> Result<Package, PackageError> {
    let how = Opening { cancel: &NEVER, progress: &|_| {}, wanted: None };
    Package::read(kind, &mut &bytes[..], &how)
}

/// One member of a tar archive: type, name, target and content.
fn member(kind: u8, name: &[u8], target: &[u8], content: &[u8]) -> Vec<u8> {
    let mut header = ::tar::Header::new_gnu();
    header.set_entry_type(::tar::EntryType::new(kind));
    header.set_mode(0o644);
    header.set_mtime(1_700_000_000);
    header.set_size(content.len() as u64);
    let raw = header.as_mut_bytes();
    raw[..name.len()].copy_from_slice(name);
    raw[157..157 + target.len()].copy_from_slice(target);
    header.set_cksum();
    let padding = content.len().next_multiple_of(512) - content.len();
    [&header.as_bytes()[..], content, &vec![0; padding]].concat()
}

fn tar(members: &[Vec<u8>]) -> Vec<u8> {
    [&members.concat(), &[0; 1024][..]].concat()
}

fn ar(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut bytes = b"!<arch>\n".to_vec();
    for (name, content) in members {
        bytes.extend(format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", 1, 0, 0, 100_644, content.len()).bytes());
        bytes.extend_from_slice(content);
        bytes.extend(vec![b'\n'; content.len() % 2]);
    }
    bytes
}

/// A .deb with these in its data.tar.gz.
fn deb(members: &[Vec<u8>]) -> Vec<u8> {
    let control = gzip(&tar(&[member(b'0', b"./control", b"", b"Package: x\nVersion: 1\n")]));
    ar(&[("debian-binary", b"2.0\n"), ("control.tar.gz", &control), ("data.tar.gz", &gzip(&tar(members)))])
}

fn content(package: &Package, path: &str) -> Vec<u8> {
    let entry = &package.entries[path];
    let mut bytes = vec![0; usize::try_from(entry.size).expect("small")];
    package.spool.read_exact_at(&mut bytes, entry.at).expect("kept");
    bytes
}

/// Why a .deb with these is refused.
fn refused(members: &[Vec<u8>]) -> String {
    read(Kind::Deb, &deb(members)).expect_err("refused").to_string()
}

#[test]
fn a_deb_is_what_its_archives_have() {
    let long = format!("./{}/x", "long".repeat(40));
    let package = read(
        Kind::Deb,
        &deb(&[
            member(b'5', b"./", b"", b""),
            member(b'5', b"./usr/", b"", b""),
            member(b'5', b"./usr", b"", b""),
            member(b'0', b"./usr/file", b"", &[7; 200_000]),
            member(b'0', b"usr/holes", b"", &[0; 600_000]),
            member(b'0', b"./usr/empty", b"", b""),
            member(b'1', b"./usr/hard", b"./usr/file", b""),
            member(b'2', b"./usr/soft", b"/etc/\x1b[2J", b""),
            member(b'3', b"./usr/device", b"", b""),
            member(b'6', b"./usr/fifo", b"", b""),
            member(b'L', b"././@LongLink", b"", [long.as_bytes(), b"\0"].concat().as_slice()),
            member(b'0', b"cut off", b"", b"long"),
            member(b'x', b"pax", b"", b"19 path=./usr/p\xc3\xa4x\n"),
            member(b'0', b"short", b"", b"pax"),
            member(b'0', b"./usr/\xff\xfe", b"", b"no UTF-8"),
        ]),
    )
    .expect("a package");
    let told: Vec<(&str, &str)> = package.entries.iter().map(|(path, e)| (path.as_str(), e.told.as_str())).collect();
    let long = &long[2..];
    assert_eq!(
        told,
        [
            (".", "a directory"),
            ("DEBIAN/control", "a regular file"),
            (long, "a regular file"),
            ("usr", "a directory"),
            ("usr/\\xff\\xfe", "a regular file"),
            ("usr/device", "a character device 0:0"),
            ("usr/empty", "a regular file"),
            ("usr/fifo", "a FIFO"),
            ("usr/file", "a regular file"),
            ("usr/hard", "a regular file"),
            ("usr/holes", "a regular file"),
            ("usr/päx", "a regular file"),
            ("usr/soft", "a symbolic link to /etc/\\x1b[2J"),
        ]
    );
    assert_eq!(content(&package, "usr/hard"), [7; 200_000]);
    assert_eq!(content(&package, "usr/holes"), [0; 600_000]);
    assert_eq!(content(&package, long), b"long");
    assert_eq!(content(&package, "DEBIAN/control"), b"Package: x\nVersion: 1\n");
    assert!(package.entries["DEBIAN/control"].about && !package.entries["usr"].about);
}

#[test]
fn hostile_members_are_refused_by_name() {
    let file = |name: &[u8]| member(b'0', name, b"", b"x");
    for (members, why) in [
        (vec![file(b"./../x")], "member `./../x`, at offset 0x0 of data.tar: its name leads upwards"),
        (vec![file(b"a/../../x")], "its name leads upwards"),
        (vec![file(b"/etc/passwd")], "its name is absolute"),
        (vec![file(b"x"), file(b"./x")], "member `./x`, at offset 0x400 of data.tar: it is there twice"),
        (vec![member(b'2', b"d", b"/etc", b""), file(b"d/passwd")], "below `d`, which is a symbolic link to /etc"),
        (vec![file(b"d"), file(b"d/x")], "member `d/x`, at offset 0x0 of the package: it lies below `d`"),
        (vec![file(b"DEBIAN/control")], "it is there twice"),
        (vec![member(b'1', b"h", b"/etc/shadow", b"")], "its target: its name is absolute"),
        (vec![member(b'1', b"h", b"later", b""), file(b"later")], "a hard link to `later`, which is no file that came"),
        (vec![member(b'2', b"s", b"t", b""), member(b'1', b"h", b"s", b"")], "which is no file that came before it"),
        (vec![member(b'2', b"s", b"", b"")], "a link without a target"),
        (vec![member(b'S', b"sparse", b"", b"")], "it is sparse"),
        (vec![member(b'x', b"pax", b"", b"25 GNU.sparse.realsize=9\n")], "it is sparse"),
        (vec![member(b'x', b"pax", b"", b"10 size=9\n"), file(b"x")], "its two headers do not agree on its length"),
        (vec![member(b'Z', b"odd", b"", b"")], "it is of type `Z`, which is not known"),
        (vec![member(b'L', b"l", b"", &vec![b'x'; 70_000])], "its name has 70000 bytes, and 65536 are the most"),
        (vec![member(b'L', b"l", b"", &vec![b'x'; 5000]), file(b"x")], "more than a path may have"),
    ] {
        let told = refused(&members);
        assert!(told.contains(why), "`{why}`: {told}");
    }
}

#[test]
fn lengths_that_lie_take_no_more_than_there_is() {
    // eight gibibytes, of which three bytes are there
    let mut lying = member(b'0', b"x", b"", b"abc");
    lying[124..136].copy_from_slice(b"77777777777\0");
    let mut header = ::tar::Header::new_old();
    header.as_mut_bytes().copy_from_slice(&lying[..512]);
    header.set_cksum();
    lying[..512].copy_from_slice(header.as_bytes());
    let told = refused(&[lying]);
    assert!(told.contains("it should have 8589934591 bytes, and") && told.contains("are missing"), "{told}");
    let lying = b"!<arch>\ndebian-binary   1           0     0     100644  9999999999`\n2.0\n";
    let told = read(Kind::Deb, lying).expect_err("refused").to_string();
    assert!(told.contains("at offset 0x8: debian-binary has 9999999999 bytes"), "{told}");
    let cut = deb(&[member(b'0', b"x", b"", &[7; 5000])]);
    for length in (0..cut.len()).step_by(31) {
        read(Kind::Deb, &cut[..length]).expect_err("cut off");
    }
    let mut header = [&[0xed, 0xab, 0xee, 0xdb, 3][..], &[0; 91], &[0x8e, 0xad, 0xe8, 1, 0, 0, 0, 0]].concat();
    header.extend([0, 0, 0, 9, 0x01, 0, 0, 0]);
    let told = read(Kind::Rpm, &header).expect_err("refused").to_string();
    assert!(told.contains("the signature header should have 144 bytes, and 0 are there"), "{told}");
}

#[test]
fn bombs_are_not_unpacked_to_their_end() {
    // As many names as there may be and some more, each an empty file.
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    for number in 0..=MOST_MEMBERS {
        encoder.write_all(&member(b'0', format!("{number}").as_bytes(), b"", b"")).expect("in memory");
    }
    let data = encoder.finish().expect("in memory");
    let control = gzip(&tar(&[]));
    let bomb = ar(&[("debian-binary", b"2.0\n"), ("control.tar.gz", &control), ("data.tar.gz", &data)]);
    let told = read(Kind::Deb, &bomb).expect_err("too many").to_string();
    assert!(told.contains("it has more than 500000 members"), "{told}");
    let cancel = AtomicBool::new(true);
    let how = Opening { cancel: &cancel, progress: &|_| {}, wanted: None };
    assert!(matches!(Package::read(Kind::Deb, &mut &bomb[..], &how), Err(PackageError::Stopped)));
}

#[test]
fn what_is_no_deb_says_what_it_is() {
    let tar = tar(&[]);
    for (members, why) in [
        (vec![("control.tar", &tar[..])], "`control.tar` where `debian-binary` should be"),
        (vec![("debian-binary", b"3.0\n")], "a package of format `3.0`, not 2"),
        (vec![("debian-binary", b"2.0\n"), ("data.tar", &tar)], "data.tar before control.tar"),
        (vec![("debian-binary", b"2.0\n"), ("control.tar", &tar), ("odd", b"")], "`odd` is nothing that a .deb has"),
        (vec![("debian-binary", b"2.0\n"), ("control.tar", &tar)], "data.tar is still to come"),
        (vec![("debian-binary", b"2.0\n"), ("control.tar.bz2", &tar)], "compressed by bzip2, which is not unpacked"),
        (vec![("debian-binary", b"2.0\n"), ("control.tar.xz", b"none")], "control.tar.xz: its xz data cannot be read"),
    ] {
        let told = read(Kind::Deb, &ar(&members)).expect_err("refused").to_string();
        assert!(told.contains(why), "`{why}`: {told}");
    }
}

/// A header of an .rpm with these tags.
fn header(tags: &BTreeMap<u32, Vec<&str>>, numbers: &BTreeMap<u32, Vec<u32>>) -> Vec<u8> {
    let (mut index, mut store) = (Vec::new(), Vec::new());
    for (tag, numbers) in numbers {
        index.extend([*tag, 4, store.len() as u32, numbers.len() as u32].map(u32::to_be_bytes).concat());
        store.extend(numbers.iter().flat_map(|number| number.to_be_bytes()));
    }
    for (tag, texts) in tags {
        index.extend([*tag, 8, store.len() as u32, texts.len() as u32].map(u32::to_be_bytes).concat());
        texts.iter().for_each(|text| store.extend(text.bytes().chain([0])));
    }
    let lengths = [(index.len() / 16) as u32, store.len() as u32].map(u32::to_be_bytes).concat();
    [&[0x8e, 0xad, 0xe8, 1, 0, 0, 0, 0][..], &lengths, &index, &store].concat()
}

fn newc(name: &str, mode: u32, (ino, links): (u32, u32), content: &[u8]) -> Vec<u8> {
    let fields = [ino, mode, 0, 0, links, 1, content.len() as u32, 0, 0, 0, 0, name.len() as u32 + 1, 0];
    let mut bytes = b"070701".to_vec();
    fields.iter().for_each(|field| bytes.extend(format!("{field:08x}").bytes()));
    bytes.extend(name.bytes().chain([0]));
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes.extend_from_slice(content);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn rpm(release: &str, payload: &[u8]) -> Vec<u8> {
    let lead = [&[0xed, 0xab, 0xee, 0xdb, 3][..], &[0; 91]].concat();
    let texts = BTreeMap::from([
        (1000, vec!["kernel"]),
        (1002, vec![release]),
        (1024, vec!["echo installed"]),
        (1117, vec!["one", "two"]),
        (1118, vec!["/boot/"]),
        (1039, vec!["root", "games"]),
        (1040, vec!["root", "root"]),
        (1049, vec!["b", "a"]),
        (1050, vec!["", "2"]),
    ]);
    let numbers = BTreeMap::from([
        (1048, vec![0, 12]),
        (1116, vec![0, 0]),
        (1028, vec![3, 3]),
        (1030, vec![0o100_644, 0o100_644]),
        (1034, vec![5, 5]),
        (1095, vec![1, 1]),
        (1096, vec![7, 7]),
    ]);
    [&lead, &header(&BTreeMap::new(), &BTreeMap::new()), &header(&texts, &numbers), &gzip(payload)[..]].concat()
}

#[test]
fn an_rpm_is_its_payload_and_what_its_header_says() {
    let payload = [
        newc("./boot", 0o040_755, (1, 2), b""),
        newc("./boot/one", 0o100_644, (7, 2), b""),
        newc("./boot/two", 0o100_600, (7, 2), b"abc"),
        newc("./boot/link", 0o120_777, (9, 1), b"two"),
        newc("TRAILER!!!", 0, (0, 1), b""),
    ]
    .concat();
    let package = read(Kind::Rpm, &rpm("1", &payload)).expect("a package");
    assert_eq!(content(&package, "boot/one"), b"abc", "a name of the file that comes later");
    assert_eq!(package.entries["boot/link"].told, "a symbolic link to two");
    assert_eq!(package.entries["boot/two"].owner, "games:root");
    assert_eq!(content(&package, "RPM/postin"), b"echo installed");
    let tags = content(&package, "RPM/tags");
    assert_eq!(str::from_utf8(&tags), Ok("Name: kernel\nRelease: 1\nRequires:\n a >= 2\n b\n"));
    // Members by number: names, modes and lengths are the header's.
    let stripped =
        [&b"07070X00000000\0\0"[..], b"07070X00000001\0\0abc\0", &newc("TRAILER!!!", 0, (0, 1), b"")].concat();
    let other = read(Kind::Rpm, &rpm("1", &stripped)).expect("a package");
    assert_eq!((content(&other, "boot/one"), other.entries.len()), (b"abc".to_vec(), 4));
    for (payload, why) in [
        (&b"07070X00000009\0\0"[..], "file 9 is not in the header's list"),
        (b"07070100", "the archive ends within a header"),
        (b"070701zzzzzzzz", "`zzzzzzzz` where a number should be"),
        (b"nothing", "`nothin` where the magic of cpio should be"),
        (b"", "the archive ends without its last member"),
        (&newc("../x", 0o100_644, (1, 1), b""), "its name leads upwards"),
        (&newc("x", 0o040_755, (1, 1), b"abc"), "it is no file, and has 3 bytes"),
    ] {
        let told = read(Kind::Rpm, &rpm("1", payload)).expect_err("refused").to_string();
        assert!(told.contains(why), "`{why}`: {told}");
    }
}

#[test]
fn packages_with_equal_contents_say_how_they_differ() {
    let told = |a: &[u8], b: &[u8]| -> Vec<String> {
        let (a, b) = (read(Kind::Deb, a).expect("a package"), read(Kind::Deb, b).expect("a package"));
        match differences(&a, &b) {
            Some(Looked::Differs(diff)) => {
                let lines = diff.details.iter().flat_map(|detail| detail.lines.clone());
                std::iter::once(diff.summary).chain(lines).collect()
            }
            Some(_) => vec!["equal".to_owned()],
            None => Vec::new(),
        }
    };
    let (x, y) = (member(b'0', b"x", b"", b"1"), member(b'0', b"y", b"", b"2"));
    let one = deb(&[x.clone(), y.clone()]);
    assert_eq!(told(&one, &one), ["equal"]);
    assert_eq!(told(&one, &deb(&[x.clone(), member(b'0', b"y", b"", b"3")])), [""; 0], "contents are told elsewhere");
    let swapped = told(&one, &deb(&[y.clone(), x.clone()]));
    assert_eq!(swapped[0], "the contents are equal, the packages are not: order differs");
    assert_eq!(swapped[1], "`x` comes before `y` in A, and after it in B");
    let mut later = x.clone();
    later[136..148].copy_from_slice(b"14524770001\0");
    let mut header = ::tar::Header::new_old();
    header.as_mut_bytes().copy_from_slice(&later[..512]);
    header.set_cksum();
    later[..512].copy_from_slice(header.as_bytes());
    let moved = told(&one, &deb(&[later, y.clone()]));
    assert_eq!(
        moved[1..],
        ["of 1 of 3 common members, all by -255 s", "x: 2023-11-14T22:13:20Z → 2023-11-14T22:09:05Z"]
    );
    let plain = tar(&[member(b'0', b"./control", b"", b"Package: x\nVersion: 1\n")]);
    let packed =
        ar(&[("debian-binary", b"2.0\n"), ("control.tar", &plain), ("data.tar", &tar(&[x.clone(), y.clone()]))]);
    assert_eq!(told(&one, &packed)[1..], ["control: gzip → none", "data: gzip → none"]);
    let longer = [tar(&[x, y]), vec![0; 4096]].concat();
    let padded = ar(&[("debian-binary", b"2.0\n"), ("control.tar", &plain), ("data.tar", &longer)]);
    assert_eq!(told(&packed, &padded)[1..], ["data.tar is written otherwise, with the same in it"]);
    let more = [&one[..], b"trailing"].concat();
    assert_eq!(told(&one, &more)[1..], ["rest: only in B 8 bytes after data.tar, which dpkg does not look at"]);
}

#[test]
fn mutated_packages_never_panic() {
    let mut random = Random(0xdeb);
    let members = [member(b'0', b"x", b"", b"1"), member(b'L', b"l", b"", b"y\0"), member(b'2', b"z", b"t", b"")];
    let plain = ar(&[("debian-binary", b"2.0\n"), ("control.tar", &tar(&[])), ("data.tar", &tar(&members))]);
    let payload = [newc("./boot/two", 0o100_600, (7, 2), b"abc"), newc("TRAILER!!!", 0, (0, 1), b"")].concat();
    for (kind, whole) in [(Kind::Deb, plain), (Kind::Deb, deb(&members)), (Kind::Rpm, rpm("1", &payload))] {
        read(kind, &whole).expect("whole");
        let mut failed = 0;
        for _ in 0..400 {
            let mut bytes = whole.clone();
            random.mutate(&mut bytes, 900);
            failed += usize::from(read(kind, &bytes).is_err());
        }
        assert!(failed > 40, "{kind}: {failed}");
    }
}

#[test]
fn the_kernel_of_a_package_is_found() {
    let elf = elf(FLAVOURS[0], &[(".BTF", 1, &super::super::btf::tests::base_sample())]);
    let image = bzimage(&gzip(&elf), "6.1");
    let find = |members: &[Vec<u8>]| base_in_package(&read(Kind::Deb, &deb(members)).expect("a package"));
    for (name, bytes) in [
        (&b"./boot/vmlinuz-6.1"[..], &image),
        (b"usr/lib/debug/boot/vmlinux-6.1", &elf),
        (b"lib/modules/6.1/vmlinuz", &image),
        (b"usr/lib/debug/lib/modules/6.1/vmlinux", &elf),
    ] {
        // what is better comes first, wherever it stands
        find(&[member(b'0', b"usr/lib/modules/6.1/vmlinuz", b"", b"none"), member(b'0', name, b"", bytes)])
            .expect("found");
    }
    let two = [member(b'0', b"boot/vmlinuz-6.1", b"", &image), member(b'0', b"boot/vmlinuz-6.2", b"", &image)];
    for none in [&two[..], &[member(b'0', b"boot/other", b"", &image)], &[member(b'2', b"boot/vmlinuz-1", b"x", b"")]] {
        assert!(matches!(find(none), Err(BtfFileError::NoKernel)));
    }
    let error = find(&[member(b'0', b"boot/vmlinuz-6.1", b"", &bzimage(b"BZh9", ""))]).expect_err("not unpacked");
    assert!(error.to_string().contains("bzip2"), "{error}");
}

#[test]
fn of_what_is_wanted_alone_the_rest_is_not_read() {
    let bytes = deb(&[member(b'0', b"a", b"", b"1"), member(b'0', b"boot/vmlinux-6", b"", b"22"), vec![7; 512]]);
    let wanted = |path: &str| path.starts_with("boot/");
    let how = Opening { cancel: &NEVER, progress: &|_| {}, wanted: Some(&wanted) };
    let mut file = Cursor::new(&bytes);
    file.seek(SeekFrom::Start(0)).expect("in memory");
    let package = Package::read(Kind::Deb, &mut file, &how).expect("found before what is broken");
    assert_eq!(content(&package, "boot/vmlinux-6"), b"22");
    assert!(package.entries["a"].sha256.is_none());
}
