//! Operations on trees, as the sandbox executes them before the commands.

use super::*;

fn op(path: &str, change: Change) -> Op {
    Op { root: "/build/src".into(), path: path.into(), change, stamp: Some(Stamp { secs: 1_000_000_000, nanos: 5 }) }
}

fn text(s: &str) -> Content {
    Content::Bytes(s.as_bytes().to_vec())
}

#[test]
fn file_operations_do_what_they_say() {
    for (way, refuse) in with_direct().into_iter().flat_map(|w| [(w, vec![]), (w, vec![Facility::Openat2])]) {
        let scratch = scratch();
        let src = scratch.path().join("src");
        fs::create_dir_all(src.join("dir/sub")).unwrap();
        for (name, content) in
            [("a", "old"), ("dir/b", "b"), ("dir/sub/c", "c"), ("gone", ""), ("keep", "k"), ("times", "t")]
        {
            fs::write(src.join(name), content).unwrap();
        }
        fs::write(scratch.path().join("reference"), "from a file").unwrap();
        symlink("keep", src.join("link")).unwrap();
        fs::set_permissions(src.join("a"), fs::Permissions::from_mode(0o755)).unwrap();
        let (upper, work) = (scratch.path().join("u"), scratch.path().join("w"));
        fs::create_dir(&upper).unwrap();
        fs::create_dir(&work).unwrap();
        let mut spec = spec(way, "true");
        spec.refuse = refuse;
        let overlay = way != Isolation::Direct;
        spec.mounts = if overlay {
            vec![Mount::Overlay { lower: vec![src.clone()], upper, work, at: "/build/src".into() }]
        } else {
            vec![Mount::Bind { host: src.clone(), at: "/build/src".into(), writable: true }]
        };
        spec.ops = vec![
            op("a", Change::Write { content: text("new"), mode: None }),
            op(
                "new/deep/file",
                Change::Write { content: Content::File(scratch.path().join("reference")), mode: Some(0o600) },
            ),
            op("keep", Change::Append { content: text("+") }),
            op("gone", Change::Delete { tree: false }),
            op("dir/sub", Change::Delete { tree: true }),
            op("dir", Change::Rename { to: "moved/dir".into() }),
            op("exec", Change::Touch),
            op("exec", Change::Chmod { mode: 0o700 }),
            op("sym", Change::Symlink { target: "/etc/passwd".into() }),
            op("made/dir", Change::Mkdir),
            op("times", Change::SetTimes),
            op("link", Change::SetTimes),
        ];
        spec.commands = vec![Command {
            cwd: "/build/src".into(),
            ..sh("cat a keep new/deep/file moved/dir/b; echo; readlink sym; ls -A moved/dir . made; \
                  stat -c '%n %a %Y' a new/deep/file keep exec times made/dir moved/dir link sym | sort; stat -c %Y .")
        }];
        let (outcome, text) = run(&spec);
        assert!(outcome.success(), "{way:?} {:?} {text}", outcome.error);
        assert!(text.starts_with("newk+from a fileb\n/etc/passwd\n"), "{text}");
        for line in [
            "a 755 1000000000",
            "exec 700 1000000000",
            "keep 644 1000000000",
            "link 777 1000000000",
            "made/dir 755 1000000000",
            "moved/dir 755 1000000000",
            "new/deep/file 600 1000000000",
            "sym 777 1000000000",
            "times 644 1000000000",
        ] {
            assert!(lines(&text).contains(&line), "{way:?}: {line} in {text}");
        }
        assert!(!lines(&text).contains(&"gone") && !lines(&text).contains(&"sub"));
        assert_ne!(lines(&text).last(), Some(&"1000000000"), "directories are not stamped");
        assert_eq!(fs::read_to_string(src.join("a")).unwrap() == "old", overlay);
        if !overlay {
            let meta = fs::metadata(src.join("a")).unwrap();
            assert_eq!((meta.mtime(), meta.mtime_nsec()), (1_000_000_000, 5));
        }
    }
}

#[test]
fn no_operation_leaves_its_tree() {
    for (way, refuse) in with_direct().into_iter().flat_map(|w| [(w, vec![]), (w, vec![Facility::Openat2])]) {
        let scratch = scratch();
        let (src, out) = (scratch.path().join("src"), scratch.path().join("out"));
        fs::create_dir(&src).unwrap();
        fs::create_dir(&out).unwrap();
        fs::write(out.join("f"), "untouched").unwrap();
        symlink("../out", src.join("rel")).unwrap();
        symlink(&out, src.join("abs")).unwrap();
        symlink("../out/f", src.join("file")).unwrap();
        symlink("/proc/self/root", src.join("magic")).unwrap();
        let write = || Change::Write { content: text("FAULT"), mode: None };
        for (path, change) in [
            ("rel/f", write()),
            ("abs/f", write()),
            ("file", write()),
            ("magic/f", write()),
            ("file", Change::Append { content: text("FAULT") }),
            ("file", Change::Chmod { mode: 0 }),
            ("file", Change::Touch),
            ("rel/f", Change::Delete { tree: false }),
            ("rel/new", Change::Mkdir),
            ("rel/new/x", write()),
            ("rel/f", Change::SetTimes),
            ("rel/f", Change::Rename { to: "stolen".into() }),
        ] {
            let mut spec = spec(way, "true");
            spec.refuse = refuse.clone();
            // both are visible under one parent, as on the host
            spec.mounts = vec![
                Mount::Bind { host: src.clone(), at: "/build/src".into(), writable: true },
                Mount::Bind { host: out.clone(), at: "/build/out".into(), writable: true },
                Mount::Bind { host: out.clone(), at: out.clone(), writable: true },
            ];
            spec.ops = vec![op("fine", Change::Touch), op(path, change.clone())];
            let error = run(&spec).0.error.unwrap_or_else(|| panic!("{way:?} {path} {change:?}"));
            assert_eq!(error.kind, HelperErrorKind::Op { index: 1 }, "{error}");
            assert!(error.errno.is_some() && error.to_string().contains(path), "{error}");
        }
        assert_eq!(fs::read_to_string(out.join("f")).unwrap(), "untouched");
        assert_eq!(fs::read_dir(&out).unwrap().count(), 1);
        assert_ne!(fs::metadata(out.join("f")).unwrap().mtime(), 1_000_000_000);
        for path in ["", "/etc/passwd", "../out/f", "a/../../out/f"] {
            let mut spec = spec(way, "true");
            spec.ops = vec![op(path, write())];
            assert_eq!(run(&spec).0.error.unwrap().kind, HelperErrorKind::BadSpec);
        }
    }
}

/// A tree as a user finds it that somebody else owns, or somebody else's group; uids that are not mapped are as good
/// as another user's.
fn foreign_tree(src: &Path, uid: u32, gid: u32) {
    fs::create_dir_all(src.join("dir/sub")).unwrap();
    for name in ["w", "a", "t", "m", "r", "dir/sub/w", "dir/gone", "dir/stay"] {
        fs::write(src.join(name), "old").unwrap();
        fs::set_permissions(src.join(name), fs::Permissions::from_mode(0o754)).unwrap();
    }
    symlink("w", src.join("link")).unwrap();
    symlink("dir", src.join("way")).unwrap();
    let all = ["", "w", "a", "t", "m", "r", "link", "way", "dir", "dir/sub", "dir/sub/w", "dir/gone", "dir/stay"];
    for path in all.map(|name| src.join(name)) {
        std::os::unix::fs::lchown(&path, Some(uid), Some(gid)).unwrap();
    }
    fs::set_permissions(src.join("dir"), fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn a_tree_of_another_user_can_be_edited() {
    if !rustix::process::geteuid().is_root() || !isolated().contains(&Isolation::UserNs) {
        eprintln!("skipped: giving files away takes root");
        return;
    }
    for (uid, gid) in [(12345, 12345), (0, 12345), (12345, 0)] {
        let scratch = scratch();
        let src = scratch.path().join("src");
        foreign_tree(&src, uid, gid);
        let [upper, work] = ["u", "w"].map(|name| scratch.path().join(name));
        fs::create_dir(&upper).unwrap();
        fs::create_dir(&work).unwrap();
        let mut spec = spec(Isolation::UserNs, "true");
        spec.mounts = vec![Mount::Overlay { lower: vec![src.clone()], upper, work, at: "/build/src".into() }];
        let write = || Change::Write { content: text("new"), mode: None };
        spec.ops = vec![
            op("w", write()),
            op("dir/sub/w", write()),
            op("a", Change::Append { content: text("+") }),
            op("t", Change::SetTimes),
            op("link", Change::SetTimes),
            op("m", Change::Chmod { mode: 0o600 }),
            op("r", Change::Rename { to: "dir/sub/moved".into() }),
            op("dir/gone", Change::Delete { tree: false }),
            op("dir/new", write()),
        ];
        spec.commands = vec![Command {
            cwd: "/build/src".into(),
            ..sh(
                "cat w dir/sub/w a t m dir/sub/moved dir/new dir/stay; echo; ls -A . dir dir/sub | tr '\\n' ' '; echo; \
                  stat -c '%n %a %Y' w dir/sub/w a t link m dir/sub/moved; stat -c '%n %a' dir",
            )
        }];
        let (outcome, text) = run(&spec);
        assert!(outcome.success(), "{uid}:{gid}: {:?} {text}", outcome.error);
        let expect = [
            "newnewold+oldoldoldnewold",
            ".: a dir link m t w way  dir: new stay sub  dir/sub: moved w ",
            "w 754 1000000000",
            "dir/sub/w 754 1000000000",
            "a 754 1000000000",
            "t 754 1000000000",
            "link 777 1000000000",
            "m 600 1000000000",
            "dir/sub/moved 754 1000000000",
            "dir 755",
        ];
        assert_eq!(lines(&text), expect, "{uid}:{gid}");
        assert_eq!(fs::read_to_string(src.join("w")).unwrap(), "old");
        // what cannot even be read: nothing helps, and it is said
        let secret = src.join("secret");
        fs::write(&secret, "").unwrap();
        std::os::unix::fs::chown(&secret, Some(12345), Some(12345)).unwrap();
        fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
        spec.ops = vec![op("secret", Change::Append { content: self::text("+") })];
        let error = run(&spec).0.error.unwrap();
        assert_eq!(error.kind, HelperErrorKind::HostCannot, "{error}");
        assert!(error.hint.unwrap().contains("copy it"));
    }
}
