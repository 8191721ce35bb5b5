//! A sandbox within a sandbox.

use super::*;

/// Not a test: what `a_sandbox_in_a_sandbox_says_what_it_lost` runs inside.
#[test]
#[ignore = "started by a_sandbox_in_a_sandbox_says_what_it_lost"]
fn nested() {
    if std::env::var_os("NESTED").is_none() {
        return;
    }
    let upper = Path::new("/build/src");
    assert_eq!(upper_problem(upper).unwrap(), Some(UpperProblem::OnOverlay));
    assert_eq!(upper_problem(Path::new("/build/mem")).unwrap(), None);
    let mut spec = spec(Isolation::Auto, "touch /usr/x 2>/dev/null; echo inner $$; ls /proc | grep -c '^[0-9]'");
    let (outcome, text) = run(&spec);
    assert!(outcome.success(), "{outcome:?}");
    assert!(text.starts_with("inner "), "{text}");
    // uid 0 without CAP_SYS_ADMIN makes no namespaces, and without CAP_SETFCAP it maps no uid 0 either
    // (user_namespaces(7)): as in a container that was started with few capabilities
    assert_eq!(outcome.isolation, Isolated::Direct, "{outcome:?}");
    assert!(outcome.losses.iter().all(|l| l.reason.contains("refused")), "{outcome:?}");
    assert_eq!(outcome.losses[0].guarantee, Guarantee::FileSystem);
    for dir in ["u", "w", "l"] {
        fs::create_dir(upper.join(dir)).unwrap();
        fs::create_dir(Path::new("/build/mem").join(dir)).unwrap();
    }
    let overlay = |base: &Path| Mount::Overlay {
        lower: vec![base.join("l")],
        upper: base.join("u"),
        work: base.join("w"),
        at: "/build/inner".into(),
    };
    spec.mounts = vec![overlay(upper)];
    let error = run(&spec).0.error.unwrap();
    assert_eq!(error.kind, HelperErrorKind::HostCannot);
    assert!(error.to_string().contains("overlay itself"), "{error}");
    spec.isolation = Isolation::Full;
    spec.mounts.clear();
    assert_eq!(run(&spec).0.error.unwrap().kind, HelperErrorKind::HostCannot);
}

#[test]
fn a_sandbox_in_a_sandbox_says_what_it_lost() {
    for way in isolated() {
        let scratch = scratch();
        let exe = std::env::current_exe().unwrap();
        let mut spec = stubborn(way, "nested", scratch.path());
        spec.env.push(("NESTED".into(), "1".into()));
        spec.mounts.push(Mount::Tmpfs { at: "/build/mem".into(), size_bytes: 1 << 20 });
        spec.extra_read_only = vec![exe.clone(), env!("CARGO_BIN_EXE_kbuild-repro").into()];
        spec.commands[0].argv = ["nesting::nested", "--exact", "--ignored", "--nocapture"].map(OsString::from).to_vec();
        spec.commands[0].argv.insert(0, exe.into());
        let (outcome, text) = run(&spec);
        assert!(outcome.success(), "{way:?} {outcome:?} {text}");
        assert!(text.contains("1 passed"), "{text}");
    }
}
