use super::*;

#[test]
fn versions_without_epoch_and_revision() {
    for (version, wanted) in [("1.30-1", "1.30"), ("1:19.1.7-3~deb12u1", "19.1.7"), ("4.4.1", "4.4.1")] {
        assert_eq!(upstream(version), wanted);
    }
}

#[test]
fn libraries_of_the_host_are_noticed() {
    let root = Path::new("/c/root");
    let own = "\tlinux-vdso.so.1 (0x00007ffd)\n\tlibc.so.6 => /c/root/lib/libc.so.6 (0x00007f)\n\
               \t/lib64/ld-linux-x86-64.so.2 => /c/root/lib/ld-linux-x86-64.so.2 (0x00007f)\n";
    assert_eq!(foreign(own, root), None);
    let host = format!("{own}\tlibz.so.1 => /lib/libz.so.1 (0x00007f)\n");
    assert_eq!(foreign(&host, root).as_deref(), Some("library `libz.so.1`: /lib/libz.so.1"));
    let none = format!("{own}\tlibz.so.1 => not found\n");
    assert_eq!(foreign(&none, root).as_deref(), Some("library `libz.so.1`: not found"));
}

#[test]
fn a_wrapper_names_fixed_places_only() {
    let program = &Offer::by_id("pahole-1.30").expect("offer").programs[0];
    let text = wrapper(program, "/t/ld.so", "/t/a:/t/b", "/t/usr/bin/pahole", "/t/bin/pahole");
    assert!(text.ends_with(
        "exec /t/ld.so --inhibit-cache --library-path /t/a:/t/b \\\n\t--argv0 /t/bin/pahole /t/usr/bin/pahole \"$@\"\n"
    ));
    let clang = &Offer::by_id("clang-19").expect("offer").programs[0];
    let text = wrapper(clang, "/t/ld.so", "/t/a", "/t/clang", "/t/bin/clang");
    assert!(text.contains("-cc1*) ;; *) set -- -no-canonical-prefixes \"$@\" ;; esac\n"), "{text}");
}

/// An entry as `fetch` leaves it, made by hand.
fn entry(cache: &Path, offer: &Offer) -> PathBuf {
    let dir = cache.join("tools").join(offer.id());
    fs::create_dir_all(dir.join("bin")).expect("mkdir");
    fs::write(dir.join("bin/tool"), "#!/bin/sh\n").expect("write");
    symlink("tool", dir.join("bin/link")).expect("symlink");
    let (sha256, bytes) = digest(&dir).expect("digest");
    let marker = Marker {
        format: FORMAT,
        name: offer.name.into(),
        version: format!("{}.1", offer.version),
        suite: "s".into(),
        packages: BTreeMap::new(),
        bytes,
        sha256,
    };
    fs::write(dir.join(MARKER), serde_json::to_vec(&marker).expect("json")).expect("write");
    dir
}

#[test]
fn a_damaged_entry_is_none() {
    let offer = Offer::by_id("make-4.4").expect("offer");
    type Damage = fn(&Path);
    let damages: [(&str, Damage); 6] = [
        ("content", |dir| fs::write(dir.join("bin/tool"), "#!/bin/SH\n").expect("write")),
        ("mode", |dir| fs::set_permissions(dir.join("bin/tool"), PermissionsExt::from_mode(0o755)).expect("chmod")),
        ("a file gone", |dir| fs::remove_file(dir.join("bin/tool")).expect("remove")),
        ("a file more", |dir| fs::write(dir.join("bin/more"), "").expect("write")),
        ("another link", |dir| {
            fs::remove_file(dir.join("bin/link")).expect("remove");
            symlink("other", dir.join("bin/link")).expect("symlink");
        }),
        ("no marker", |dir| fs::remove_file(dir.join(MARKER)).expect("remove")),
    ];
    for (what, damage) in damages {
        let cache = tempfile::tempdir().expect("tempdir");
        let tools = Tools::new(cache.path().into(), BTreeMap::new());
        assert!(tools.lookup(offer).is_none());
        let dir = entry(cache.path(), offer);
        let unpacked = tools.lookup(offer).expect("whole");
        assert_eq!((unpacked.place().as_str(), unpacked.key().as_str()), ("/build/toolchain/make", "4.4"));
        assert_eq!(tools.entries().len(), 1);
        damage(&dir);
        assert!(tools.lookup(offer).is_none(), "{what}");
    }
}

#[test]
fn an_entry_of_another_version_is_none() {
    let cache = tempfile::tempdir().expect("tempdir");
    let tools = Tools::new(cache.path().into(), BTreeMap::new());
    let dir = entry(cache.path(), Offer::by_id("make-4.4").expect("offer"));
    fs::rename(&dir, dir.with_file_name("make-4.3")).expect("rename");
    assert!(tools.entries().is_empty());
}

#[test]
fn what_a_killed_attempt_left_is_swept() {
    let cache = tempfile::tempdir().expect("tempdir");
    let tools = Tools::new(cache.path().into(), BTreeMap::new());
    fs::create_dir_all(cache.path().join("tools/make-4.4.partial/root")).expect("mkdir");
    assert_eq!(tools.sweep().expect("sweep"), 1);
    assert!(!cache.path().join("tools/make-4.4.partial").exists());
}
