//! `compare` of packages, kernels and `.buildinfo` files.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value as Json;

use crate::compare::{elf, module, result};
use crate::lab::{Lab, Ran, has, succeed};

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("in memory");
    encoder.finish().expect("in memory")
}

fn tar(files: &[(&str, &[u8])], mtime: u64) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(mtime);
        archive.append_data(&mut header, name, *bytes).expect("in memory");
    }
    archive.into_inner().expect("in memory")
}

fn deb(control: &str, files: &[(&str, &[u8])], mtime: u64) -> Vec<u8> {
    let control = gzip(&tar(&[("./control", control.as_bytes())], mtime));
    let data = gzip(&tar(files, mtime));
    let mut bytes = b"!<arch>\n".to_vec();
    for (name, content) in [("debian-binary", &b"2.0\n"[..]), ("control.tar.gz", &control), ("data.tar.gz", &data)] {
        bytes.extend(format!("{name:<16}{mtime:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, 100_644, content.len()).bytes());
        bytes.extend_from_slice(content);
        bytes.resize(bytes.len().next_multiple_of(2), b'\n');
    }
    bytes
}

/// A kernel's package: a module that differs by its signature alone, one that does not, and a vmlinuz.
fn kernel(release: &str, signature: &[u8], mtime: u64) -> Vec<u8> {
    let control = format!("Package: linux-image-{release}\nVersion: {release}\nDepends: kmod, linux-base (>= 4.3)\n");
    let vmlinux = elf(&[(".text", b"kernel")], b"");
    deb(
        &control,
        &[
            (&format!("boot/vmlinuz-{release}"), &vmlinuz(&gzip(&vmlinux), release)),
            (&format!("lib/modules/{release}/kernel/signed.ko"), &module("6", signature)),
            (&format!("lib/modules/{release}/kernel/versioned.ko"), &module(release, signature)),
            (&format!("lib/modules/{release}/modules.order"), b"signed.ko\n"),
        ],
        mtime,
    )
}

/// A boot image of x86 (Documentation/arch/x86/boot.rst).
fn vmlinuz(payload: &[u8], version: &str) -> Vec<u8> {
    let mut bytes = vec![0; 0x1000];
    bytes[0x1f1] = 1;
    bytes[0x1fe..0x200].copy_from_slice(&[0x55, 0xaa]);
    bytes[0x202..0x208].copy_from_slice(b"HdrS\x0f\x02");
    bytes[0x20e..0x210].copy_from_slice(&0x100u16.to_le_bytes());
    bytes[0x248..0x24c].copy_from_slice(&0xc00u32.to_le_bytes());
    bytes[0x24c..0x250].copy_from_slice(&(payload.len() as u32).to_le_bytes());
    bytes[0x300..0x300 + version.len()].copy_from_slice(version.as_bytes());
    [&bytes, payload].concat()
}

fn document(lab: &Lab, arguments: &[&str], code: i32) -> Json {
    let ran = lab.run(&[&["compare", "--format", "json"], arguments].concat()).exits(code);
    serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("no JSON: {error}: {ran}"))
}

#[test]
fn two_versions_of_a_package_are_put_together_by_their_releases() {
    let lab = Lab::new();
    lab.write("a.deb", kernel("6.1.0-1", b"one", 1_700_000_000))
        .write("b.deb", kernel("6.1.0-2", b"two!", 1_700_000_000));
    let ran = lab.run(&["compare", "a.deb", "b.deb"]).exits(1);
    insta::assert_snapshot!(ran.out, @r"
    A: a.deb
    B: b.deb

    DEBIAN/control: Package, Version differ
        Package: linux-image-6.1.0-1 → linux-image-6.1.0-2
        Version: 6.1.0-1 → 6.1.0-2

    boot/vmlinuz-6.1.0-1 and boot/vmlinuz-6.1.0-2: the same vmlinux inside; boot image differs
        boot image: version: 6.1.0-1 → 6.1.0-2

    lib/modules/6.1.0-1/kernel/signed.ko and lib/modules/6.1.0-2/kernel/signed.ko: equal but for the module signature
        module signature: length 3 → 4

    lib/modules/6.1.0-1/kernel/versioned.ko and lib/modules/6.1.0-2/kernel/versioned.ko: .modinfo, module signature differ
        .modinfo: vermagic: 6.1.0-1 → 6.1.0-2
        module signature: length 3 → 4

    5 files: 1 equal, 3 differ, 1 equal but for the module signature
    ");
    let found = document(&lab, &["a.deb", "b.deb", "--only", "*.ko"], 1);
    assert_eq!(result(&found, "lib/modules/6.1.0-1/kernel/signed.ko"), "signature-only");
    assert_eq!(found["files"][0]["path_b"], "lib/modules/6.1.0-2/kernel/signed.ko");
    // A part of a control file is one of its fields.
    lab.run(&["compare", "a.deb", "b.deb", "--only", "DEBIAN/*", "--ignore-part", "DEBIAN/control:*=new"]).exits(0);
}

#[test]
fn a_package_that_was_built_later_is_equal_but_for_its_times() {
    let lab = Lab::new();
    fs::create_dir(lab.path("b")).expect("made");
    lab.write("x.deb", kernel("6.1", b"one", 1_700_000_000)).write("b/x.deb", kernel("6.1", b"one", 1_700_000_060));
    let ran = lab.run(&["compare", "x.deb", "b/x.deb"]).exits(1);
    insta::assert_snapshot!(ran.out, @r"
    A: x.deb
    B: b/x.deb

    x.deb: the contents are equal, the packages are not: container, mtime differ
        container:
            debian-binary: mtime 1700000000 → mtime 1700000060
            control.tar.gz: mtime 1700000000 → mtime 1700000060
            data.tar.gz: mtime 1700000000 → mtime 1700000060
        mtime:
            of 5 of 5 common members, all by +60 s
            DEBIAN/control: 2023-11-14T22:13:20Z → 2023-11-14T22:14:20Z

    6 files: 5 equal, 1 differs
    ");
    let rules = ["--ignore-part", "*.deb:mtime=built later", "--ignore-part", "*.deb:container=built later"];
    lab.run(&[&["compare", "x.deb", "b/x.deb"], &rules[..]].concat()).exits(0);
    let same = lab.run(&["compare", "x.deb", "x.deb"]).exits(0);
    assert!(same.out.ends_with("6 files: 6 equal\n"), "{same}");
}

#[test]
fn a_package_is_compared_with_a_directory_by_what_it_installs() {
    let lab = Lab::new();
    lab.write("x.deb", deb("Package: x\n", &[("usr/a", b"1"), ("usr/b", b"2")], 1));
    lab.write("dir/usr/a", b"1").write("dir/usr/b", b"3");
    for arguments in [["x.deb", "dir"], ["dir", "x.deb"]] {
        let ran = lab.run(&["compare", arguments[0], arguments[1]]).exits(1);
        assert!(
            ran.out.contains("note: what is compared is what they install; the control file of `x.deb` is not\n"),
            "{ran}"
        );
        assert!(ran.out.contains("usr/b: lines differ") && ran.out.ends_with("2 files: 1 equal, 1 differs\n"), "{ran}");
    }
    lab.run(&["compare", "x.deb", "dir/usr/a"]).exits(2).says(&["`x.deb` is a package, and `dir/usr/a` is not"]);
}

#[test]
fn what_is_broken_says_where_and_what_to_do() {
    let lab = Lab::new();
    let whole = kernel("6.1", b"one", 1);
    lab.write("x.deb", &whole).write("cut.deb", &whole[..whole.len() / 2]);
    let ran = lab.run(&["compare", "x.deb", "cut.deb"]).exits(2);
    assert!(ran.err.contains("`cut.deb`: at offset 0x") && ran.err.contains("hint: is the file whole?"), "{ran}");
    lab.write("up.deb", deb("Package: x\n", &[("x", b"1")], 1));
    // The tar crate writes no such name: one is put in place of another.
    let data = tar(&[("aa/x", b"1")], 1);
    let mut header = tar::Header::new_old();
    header.as_mut_bytes().copy_from_slice(&data[..512]);
    header.as_mut_bytes()[..4].copy_from_slice(b"../x");
    header.set_cksum();
    let data = gzip(&[&header.as_bytes()[..], &data[512..]].concat());
    let control = gzip(&tar(&[("./control", b"Package: x\n")], 1));
    let mut bytes = b"!<arch>\n".to_vec();
    for (name, content) in [("debian-binary", &b"2.0\n"[..]), ("control.tar.gz", &control), ("data.tar.gz", &data)] {
        bytes.extend(format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, 0, 100_644, content.len()).bytes());
        bytes.extend_from_slice(content);
        bytes.resize(bytes.len().next_multiple_of(2), b'\n');
    }
    lab.write("up.deb", bytes);
    lab.run(&["compare", "x.deb", "up.deb"]).exits(2).says(&["member `../x`", "its name leads upwards", "hint:"]);
    lab.run(&["compare", "--vmlinux", "x.deb", "x.deb", "x.deb"]).exits(2).says(&["`x.deb`: it has no .BTF", "hint:"]);
}

#[test]
fn an_interruption_ends_the_unpacking_and_leaves_nothing() {
    let lab = Lab::new();
    fs::create_dir(lab.path("tmp")).expect("made");
    // Two gibibytes of zeros.
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let mut header = tar::Header::new_gnu();
    header.set_path("zeros").expect("short");
    header.set_size(8 << 30);
    header.set_mode(0o644);
    header.set_mtime(0);
    header.set_cksum();
    encoder.write_all(header.as_bytes()).expect("in memory");
    for _ in 0..2048 {
        encoder.write_all(&vec![0; 1 << 20]).expect("in memory");
    }
    let (control, data) = (gzip(&tar(&[], 0)), encoder.finish().expect("in memory"));
    let mut bytes = b"!<arch>\n".to_vec();
    for (name, content) in [("debian-binary", &b"2.0\n"[..]), ("control.tar.gz", &control), ("data.tar.gz", &data)] {
        bytes.extend(format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, 0, 100_644, content.len()).bytes());
        bytes.extend_from_slice(content);
        bytes.resize(bytes.len().next_multiple_of(2), b'\n');
    }
    lab.write("a.deb", &bytes).write("b.deb", &bytes);
    let mut command: Command = lab.command(&["compare", "a.deb", "b.deb"]);
    command.env("TMPDIR", lab.path("tmp"));
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("started");
    std::thread::sleep(Duration::from_millis(300));
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("it runs");
    Ran::of(child.wait_with_output().expect("it ended")).exits(130);
    assert_eq!(fs::read_dir(lab.path("tmp")).expect("there").count(), 0);
}

#[test]
fn of_two_kernels_the_vmlinux_inside_is_compared() {
    let lab = Lab::new();
    let (one, two) = (elf(&[(".text", b"code")], b""), elf(&[(".text", b"c0de")], b""));
    lab.write("a", vmlinuz(&gzip(&one), "6.1 (me@here) #1")).write("b", vmlinuz(&gzip(&one), "6.1 (me@there) #1"));
    let ran = lab.run(&["compare", "a", "b"]).exits(1);
    assert!(ran.out.contains("a and b: the same vmlinux inside; boot image differs\n"), "{ran}");
    assert!(ran.out.contains("version: 6.1 (me@here) #1 → 6.1 (me@there) #1\n"), "{ran}");
    lab.run(&["compare", "a", "b", "--ignore-part", "*:boot image=other hosts"]).exits(0);
    lab.write("b", vmlinuz(&gzip(&two), "6.1 (me@here) #1"));
    let ran = lab.run(&["compare", "a", "b"]).exits(1);
    assert!(ran.out.contains("a and b: in the vmlinux inside, .text differs\n"), "{ran}");
    // How long what is inside is, stands in the header.
    lab.run(&["compare", "a", "b", "--ignore-part", "*:.text=known"]).exits(0);
    lab.write("b", vmlinuz(b"\x89LZO\0\x0d\x0a", "6.1"));
    let ran = lab.run(&["compare", "a", "b"]).exits(1);
    assert!(ran.out.contains("B is not looked into: the kernel inside is compressed by lzo"), "{ran}");
    assert!(ran.out.contains("scripts/extract-vmlinux"), "{ran}");
}

fn sha256(path: &Path) -> String {
    kbuild_repro::artifact::hash_file(path).expect("read").0.to_string()
}

#[test]
fn buildinfo_files_are_compared_by_field_and_their_packages_after_that() {
    let lab = Lab::new();
    for (side, version, text) in [("a", "12.2.0-14", b"1"), ("b", "12.2.0-15", b"2")] {
        lab.write(&format!("{side}/x_1_all.deb"), deb("Package: x\nVersion: 1\n", &[("usr/x", text)], 1));
        let sum = sha256(&lab.path(&format!("{side}/x_1_all.deb")));
        let info = format!(
            "Format: 1.0\nSource: x\nChecksums-Sha256:\n {sum} 10 x_1_all.deb\n {} 10 gone_1_all.deb\n\
             Build-Date: Sat, 14 Nov 2026 10:29:58 +0000\nInstalled-Build-Depends:\n gcc-12 (= {version}),\n make (= 4.3-4.1)\n\
             Environment:\n LANG=\"C.UTF-8\"\n",
            "0".repeat(64)
        );
        lab.write(&format!("{side}/x_1_amd64.buildinfo"), info);
    }
    let arguments = ["a/x_1_amd64.buildinfo", "b/x_1_amd64.buildinfo"];
    let ran = lab.run(&["compare", arguments[0], arguments[1]]).exits(1);
    let told = ran
        .out
        .replace(&sha256(&lab.path("a/x_1_all.deb")), "SUM-A")
        .replace(&sha256(&lab.path("b/x_1_all.deb")), "SUM-B");
    insta::assert_snapshot!(told, @r"
    A: a/x_1_amd64.buildinfo
    B: b/x_1_amd64.buildinfo
    note: `gone_1_all.deb`: not beside both .buildinfo files; listed with the same checksum

    x_1_amd64.buildinfo: Installed-Build-Depends, Checksums-Sha256 differ
        Installed-Build-Depends: gcc-12: 12.2.0-14 → 12.2.0-15
        Checksums-Sha256: x_1_all.deb: SUM-A → SUM-B

    x_1_all.deb/usr/x: lines differ
        bytes:
            - 1
            + 2

    3 files: 1 equal, 2 differ
    ");
    // A package that is not the one that is listed.
    lab.write("b/x_1_all.deb", deb("Package: x\nVersion: 1\n", &[("usr/x", b"1")], 1));
    let found = document(&lab, &arguments, 1);
    assert_eq!(result(&found, "x_1_all.deb"), "differs");
    let own =
        found["files"].as_array().expect("files").iter().find(|file| file["path"] == "x_1_all.deb").expect("there");
    assert!(own["details"][0]["lines"][0].as_str().expect("text").starts_with("B has "), "{own}");
    lab.write("b/x_1_amd64.buildinfo", b"no field");
    lab.run(&["compare", arguments[0], arguments[1]]).exits(2).says(&["it is no list of fields"]);
}

#[test]
fn what_dpkg_deb_makes_is_read_however_it_is_compressed() {
    if !has(&["dpkg-deb"]) {
        return;
    }
    let lab = Lab::new();
    lab.write(
        "tree/DEBIAN/control",
        "Package: x\nVersion: 1\nArchitecture: all\nMaintainer: m <m@example.org>\nDescription: d\n",
    );
    lab.write("tree/usr/lib/x", vec![7; 300_000]);
    std::os::unix::fs::symlink("x", lab.path("tree/usr/lib/link")).expect("linked");
    for how in ["none", "gzip", "xz", "zstd"] {
        let mut command = Command::new("dpkg-deb");
        command.args(["--root-owner-group", &format!("-Z{how}"), "-b", "tree", &format!("{how}.deb")]);
        // Where dpkg-deb is older than zstd.
        let made = command.current_dir(lab.path("")).output().expect("it starts").status.success();
        assert!(made || how == "zstd", "{how}");
        if !made {
            continue;
        }
        let ran = lab.run(&[
            "compare",
            "none.deb",
            &format!("{how}.deb"),
            "--ignore-part",
            "*:compression=another",
            "--ignore-part",
            "*:container=later",
        ]);
        ran.exits(0);
        lab.run(&[
            "compare",
            &format!("{how}.deb"),
            "tree",
            "--ignore",
            "DEBIAN*=about it",
            "--ignore-part",
            "*:mode=umask",
        ])
        .exits(0);
    }
}

#[test]
fn what_rpmbuild_makes_is_read() {
    if !has(&["rpmbuild"]) {
        return;
    }
    let lab = Lab::new();
    lab.write(
        "x.spec",
        "Name: x\nVersion: 1\nRelease: 1\nSummary: s\nLicense: GPL-2.0\nBuildArch: noarch\n%description\nd\n%install\n\
         mkdir -p %{buildroot}/boot\necho one > %{buildroot}/boot/x\nln %{buildroot}/boot/x %{buildroot}/boot/hard\n\
         %files\n/boot/*\n%post\necho post\n",
    );
    for (how, name) in [("w9.gzdio", "gzip"), ("w6.xzdio", "xz"), ("w3.zstdio", "zstd")] {
        let mut command = Command::new("rpmbuild");
        let top = lab.path(name);
        command.args(["-bb", "--quiet", "--define", &format!("_topdir {}", top.display())]);
        command.args(["--define", &format!("_binary_payload {how}"), "--define", "_tmppath /tmp", "x.spec"]);
        command.current_dir(lab.path("")).env("HOME", lab.path("")).env("SOURCE_DATE_EPOCH", "1700000000");
        succeed(command);
        fs::rename(top.join("RPMS/noarch/x-1-1.noarch.rpm"), lab.path(&format!("{name}.rpm"))).expect("built");
    }
    for name in ["xz", "zstd"] {
        let found = document(&lab, &["gzip.rpm", &format!("{name}.rpm"), "--only", "boot/*", "--only", "RPM/*"], 1);
        for path in ["boot/x", "boot/hard", "RPM/postin"] {
            assert_eq!(result(&found, path), "equal");
        }
        assert_eq!(result(&found, "RPM/tags"), "differs");
    }
}
