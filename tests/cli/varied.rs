//! Second clean builds that are varied, and which of it makes the difference.

use std::fs;

use crate::lab::Lab;

/// A tree of one file, which holds what `adds` prints.
fn lab(adds: &str) -> Lab {
    let lab = Lab::new();
    let tree = lab.path("scenarios/t/tree");
    fs::create_dir_all(&tree).unwrap();
    fs::write(tree.join("in"), "text\n").unwrap();
    fs::write(tree.join("Makefile"), format!("out: in\n\tcat in >out; {adds} >>out\n")).unwrap();
    let scenario = "tier = \"quick\"\n[tree]\nsrctree = \"./tree\"\nkind = \"make\"\n[compare]\nartifacts = [\"out\"]\n\
                    [experiment]\nhostname = \"other\"\njobs = 1\nsrctree = \"/build/elsewhere/src\"\n\
                    env = { LC_ALL = \"C.UTF-8\", TZ = \"XXX-5\", HOME = \"/nowhere\" }\n";
    lab.scenario("varied", scenario);
    lab
}

#[test]
fn the_one_that_makes_the_difference_is_named() {
    for (adds, with) in
        [("echo $$TZ", "TZ=XXX-5"), ("uname -n", "the host name"), ("pwd", "the place of the source tree")]
    {
        let says = format!("varied: it comes with {with}, and without what else is varied");
        lab(adds).run(&["run", "varied"]).exits(1).reports(&["repro.mismatch out", &says]);
    }
}

#[test]
fn each_of_several_is_named_and_what_only_several_do_together() {
    let says = "varied: it comes with LC_ALL=C.UTF-8, and with the host name, and without";
    lab("{ echo $$LC_ALL; uname -n; }").run(&["run", "varied"]).exits(1).reports(&[says]);
    let both = "{ [ $$LC_ALL = C ] || [ $$TZ = UTC ] || echo both; }";
    lab(both).run(&["run", "varied"]).exits(1).reports(&["varied: it comes with several together of: "]);
}

#[test]
fn what_comes_by_itself_is_no_variation_s() {
    lab("cat /proc/sys/kernel/random/uuid")
        .run(&["run", "varied"])
        .exits(1)
        .reports(&["transient: a further build differs", "confirmed by"]);
    lab("echo same").run(&["run", "varied", "--verbose"]).exits(0);
}

#[test]
fn each_artifact_is_asked_for_by_itself() {
    let lab = lab("echo same");
    let rules = "all: out other random\nout: in\n\techo $$TZ >out\nother: in\n\tuname -n >other\n\
                 random: in\n\tcat /proc/sys/kernel/random/uuid >random\n";
    lab.write("scenarios/t/tree/Makefile", rules);
    let text = fs::read_to_string(lab.path("scenarios/t/varied.toml")).unwrap();
    lab.write("scenarios/t/varied.toml", text.replace("[\"out\"]", "[\"out\", \"other\", \"random\"]"));
    lab.run(&["run", "varied"]).exits(1).reports(&[
        "repro.mismatch other",
        "varied: it comes with the host name, and without what else is varied",
        "repro.mismatch out",
        "varied: it comes with TZ=XXX-5, and without what else is varied",
        "repro.mismatch random",
        "transient: a further build differs",
    ]);
}

#[test]
fn what_is_varied_can_be_chosen_on_the_command_line() {
    let zone = lab("echo $$TZ");
    zone.run(&["run", "varied", "--variations", "none"]).exits(0);
    zone.run(&["run", "varied", "--variations", "locale,jobs"]).exits(0);
    zone.run(&["run", "varied", "--variations", "umask,time-zone"])
        .exits(1)
        .reports(&["varied: it comes with TZ=XXX-5", "--keep --variations umask,time-zone"]);
    let umask = lab("umask");
    umask
        .run(&["run", "varied", "--variations", "all"])
        .exits(1)
        .reports(&["varied: it comes with umask 077", "confirmed by"]);
    // Modes are others by design then.
    lab("echo same").run(&["run", "varied", "--variations", "all"]).exits(0);
    zone.run(&["run", "varied", "--variations", "weather"]).exits(2).says(&["time-zone"]);
}

#[test]
fn the_time_of_a_source_is_found_and_what_the_build_writes_is_no_source() {
    let older = "file_times = 90061\nhostname = \"other\"\n";
    let with = "varied: it comes with the times of source files, and without";
    for leaks in ["stat -c %y Makefile", "stat -c %Y names", "tar -cf - names/one"] {
        let rules = format!("out:\n\t{leaks} >out\n");
        varied(&rules, older).run(&["run", "varied"]).exits(1).reports(&["repro.mismatch out", with]);
    }
    // The order stays, so make does the same; and the sources of the user are as they were.
    let lab = varied("out: b\n\techo same >out\nb: Makefile\n\ttouch b\n", older);
    let tree = lab.path("scenarios/t/tree");
    fs::write(tree.join("b"), "").unwrap();
    let time = || fs::metadata(tree.join("b")).unwrap().modified().unwrap();
    let before = time();
    lab.run(&["run", "varied"]).exits(0);
    assert_eq!(time(), before);
}

#[test]
fn a_group_is_found_by_root_and_not_varied_by_others() {
    let lab = varied("out:\n\tid -G >out\n", "group = 1\nhostname = \"other\"\n");
    let ran = lab.run(&["run", "varied"]);
    if rustix::process::geteuid().is_root() {
        ran.exits(1).reports(&["repro.mismatch out", "varied: it comes with group 1, and without"]);
        let made = varied("out:\n\ttouch a; stat -c %g a >out\n", "group = 1\n").run(&["run", "varied"]);
        made.exits(1).reports(&["varied: it comes with group 1"]);
        varied("out:\n\tid -u >out\n", "group = 1\n").run(&["run", "varied"]).exits(0);
    } else {
        ran.exits(4).reports(&["cannot vary the group, which takes root"]);
    }
    lab.run(&["run", "varied", "--isolation", "user-ns"])
        .exits(4)
        .reports(&["cannot vary the group, which takes root"]);
    lab.run(&["run", "varied", "--isolation", "user-ns", "--variations", "all"])
        .exits(0)
        .says(&["not varied: the group, which takes root"]);
}

#[test]
fn a_diff_of_the_scripts_of_two_builds_shows_what_was_varied_and_nothing_else() {
    let lab = varied("out:\n\techo same >out\n", "jobs = 1\n");
    lab.run(&["run", "varied", "--variations", "all,job-order", "--out", "run"]).exits(0);
    let script = |build: &str| fs::read_to_string(lab.path(&format!("run/t/varied/{build}/clean/build.sh"))).unwrap();
    let (control, experiment) = (script("control"), script("experiment"));
    let only = |one: &str, other: &str| -> Vec<String> {
        let lines = one.lines().filter(|line| !other.lines().any(|it| it == *line));
        lines.map(|line| line.trim().trim_end_matches(" \\").to_owned()).collect()
    };
    assert_eq!(
        only(&control, &experiment),
        [
            "src=/build/src",
            "with=\"$with setarch -R\"",
            "umask 022",
            "HOME='/build/home'",
            "LC_ALL='C'",
            "LOGNAME='kbuild'",
            "TZ='UTC'",
            "USER='kbuild'",
            "MAKEFLAGS=-j2",
        ]
    );
    let mut wanted = vec![
        "src=/build/elsewhere/src",
        "with=\"$with taskset -c 0\"",
        "with=\"$with setpriv --regid=1 --groups=1\"",
        "# The host name was elsewhere: unshare --uts sh -c 'hostname elsewhere; sh build.sh ...'",
        "find \"$src\" -exec sh -c 'for file; do touch -h -d \"@$(($(stat -c %Y \"$file\") - 90061))\" \"$file\"; done' - {} +",
        "# A tracer had each step begin up to 50 ms late, by chance from seed 1.",
        "# A tracer had directories list their names the other way round.",
        "umask 077",
        "HOME='/nonexistent'",
        "KBUILD_REPRO_VARIED='1'",
        "LC_ALL='C.UTF-8'",
        "LOGNAME='somebody'",
        "TZ='XXX-5'",
        "USER='somebody'",
        "MAKEFLAGS=-j3",
    ];
    if !rustix::process::geteuid().is_root() {
        wanted.remove(2);
    }
    assert_eq!(only(&experiment, &control), wanted);
}

#[test]
fn what_a_script_can_vary_it_varies() {
    let rules = "out:\n\t{ umask; stat -c %Y in; echo $$TZ; nproc; } >out\n";
    let experiment = "umask = \"077\"\nfile_times = 100\nenv = { TZ = \"XXX-5\" }\nrandom_addresses = true\n";
    let lab = varied(rules, experiment);
    lab.write("scenarios/t/tree/in", "");
    lab.run(&["run", "varied", "--out", "run"]).exits(1);
    let made = |build: &str| {
        let tree = lab.path(build);
        fs::create_dir(&tree).unwrap();
        for name in ["Makefile", "in"] {
            fs::copy(lab.path("scenarios/t/tree").join(name), tree.join(name)).unwrap();
        }
        let old = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000);
        fs::File::open(tree.join("in")).unwrap().set_modified(old).unwrap();
        let script = lab.path(&format!("run/t/varied/{build}/clean/build.sh"));
        let ran = std::process::Command::new("sh").arg(script).arg(&tree).output().expect("sh");
        assert!(ran.status.success(), "{ran:?}");
        fs::read_to_string(tree.join("out")).unwrap().lines().take(3).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(made("control"), ["0022", "1000000", "UTC"]);
    assert_eq!(made("experiment"), ["0077", "999900", "XXX-5"]);
}

#[test]
fn cause_and_reproducer_go_by_the_one_variation_that_makes_the_difference() {
    let lab = lab("{ echo $$TZ; echo $$HOME >/dev/null; }");
    lab.run(&["run", "varied", "--out", "run"]).exits(1).reports(&[
        "varied: it comes with TZ=XXX-5, and without what else is varied",
        "its environment is another: TZ\n",
        "confirmed by",
    ]);
    let beside = lab.path("run/t/varied");
    let found = walkdir(&beside, "reproduce.sh");
    let script = fs::read_to_string(&found[0]).unwrap();
    assert!(script.contains("export TZ='XXX-5'") || script.contains("export TZ=XXX-5"), "{script}");
    assert!(!script.contains("/nowhere") && !script.contains("C.UTF-8"), "{script}");
}

/// The files of this name below a directory.
fn walkdir(dir: &std::path::Path, name: &str) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let below = |path: std::path::PathBuf| match path.is_dir() {
        true => walkdir(&path, name),
        false => Vec::from_iter(path.file_name().is_some_and(|it| it == name).then_some(path)),
    };
    entries.flat_map(below).collect()
}

#[test]
fn a_stamp_without_seconds_is_found_by_a_start_in_another_minute() {
    // The one test that waits for a minute: so all that is to be said of it is said here.
    let lab = varied(
        "out: a b c\n\tcat $^ >$@\na:\n\tdate +%H:%M >$@\nb:\n\techo $$TZ >$@\nc:\n\techo same >$@\n",
        "start = \"later\"\nenv = { TZ = \"XXX-5\" }\n",
    );
    let text = fs::read_to_string(lab.path("scenarios/t/varied.toml")).unwrap();
    lab.write("scenarios/t/varied.toml", text.replace("[\"out\"]", "[\"a\", \"b\", \"c\"]"));
    lab.run(&["run", "varied"])
        .exits(1)
        .reports(&[
            "repro.mismatch a",
            "varied: it comes with a start in another minute; what else does it was not found out",
            "repro.mismatch b",
            "varied: it comes with TZ=XXX-5, and without what else is varied",
        ])
        .says(&["experiment waits for another minute of the clock"]);
}

/// A tree of one file, with these rules, keys of `[experiment]`, and a control with two jobs.
fn varied(rules: &str, experiment: &str) -> Lab {
    let lab = Lab::new();
    let tree = lab.path("scenarios/t/tree");
    fs::create_dir_all(tree.join("names")).unwrap();
    for name in ["one", "two", "three"] {
        fs::write(tree.join("names").join(name), "").unwrap();
    }
    fs::write(tree.join("Makefile"), rules).unwrap();
    let scenario = format!(
        "tier = \"quick\"\n[tree]\nsrctree = \"./tree\"\nkind = \"make\"\n[make]\njobs = 2\n\
         [compare]\nartifacts = [\"out\"]\n[experiment]\n{experiment}"
    );
    lab.scenario("varied", &scenario);
    lab
}

#[test]
fn an_order_of_names_an_address_and_a_number_of_processors_are_found_in_what_they_get_into() {
    for (prints, key, with) in [
        ("ls -U names", "directories = \"reversed\"", "the order of names in directories"),
        ("find names", "directories = \"reversed\"", "the order of names in directories"),
        ("grep stack /proc/self/maps", "random_addresses = true", "the layout of address spaces"),
        ("nproc", "processors = 1", "the number of processors"),
    ] {
        let rules = format!("out:\n\t{prints} >out\n");
        let says = format!("varied: it comes with {with}");
        let ran = varied(&rules, &format!("{key}\n")).run(&["run", "varied"]);
        if std::thread::available_parallelism().is_ok_and(|n| n.get() == 1) && prints == "nproc" {
            ran.exits(4).reports(&["cannot vary the number of processors"]);
        } else {
            ran.exits(1).reports(&["repro.mismatch out", &says]);
        }
    }
    // Among others, it is the one that is named; what sorts, or does not look, is silent.
    let three = "directories = \"reversed\"\nrandom_addresses = true\nshuffle = 3\nhostname = \"other\"\n";
    varied("out:\n\tls -U names >out\n", three)
        .run(&["run", "varied"])
        .exits(1)
        .reports(&["varied: it comes with the order of names in directories, and without"]);
    varied("out:\n\t{ ls names; find names | sort; } >out\n", three).run(&["run", "varied"]).exits(0);
}

#[test]
fn who_is_first_of_two_jobs_is_found_by_beginning_late() {
    // Both take as long: which is the first to write depends on which begins first, and that is by less than a delay.
    let race = "out: a b\n\tcat log >out\na b:\n\t@echo $@ >>log; touch $@\n";
    let found = |seed: u32| {
        let ran = varied(race, &format!("shuffle = {seed}\n")).run(&["run", "varied"]);
        ran.out.contains("repro.mismatch out")
    };
    assert!((1..=8).any(found), "of eight seeds none has `b` begin first");
    let ordered = "out: a b\n\tcat log >out\nb: a\na b:\n\t@echo $@ >>log; touch $@\n";
    varied(ordered, "shuffle = 1\n").run(&["run", "varied"]).exits(0);
    varied(ordered, "shuffle = 1\njobs = 1\n").run(&["run", "varied"]).exits(2).says(&["one job has one order"]);
}

#[test]
fn what_takes_a_tracer_is_not_varied_without_one_and_that_is_said() {
    let lab = varied("out:\n\techo >out\n", "directories = \"reversed\"\nshuffle = 1\n");
    lab.run(&["run", "varied", "--no-trace"])
        .exits(4)
        .reports(&["cannot vary the order of jobs, which takes a tracer, the order of names in directories"]);
}
