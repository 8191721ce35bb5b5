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
        .reports(&["transient: a further build differs"]);
    lab("echo same").run(&["run", "varied", "--verbose"]).exits(0);
}

#[test]
fn what_is_varied_can_be_chosen_on_the_command_line() {
    let zone = lab("echo $$TZ");
    zone.run(&["run", "varied", "--variations", "none"]).exits(0);
    zone.run(&["run", "varied", "--variations", "locale,jobs"]).exits(0);
    zone.run(&["run", "varied", "--variations", "umask,time-zone"])
        .exits(1)
        .reports(&["varied: it comes with TZ=XXX-5"]);
    let umask = lab("umask");
    umask.run(&["run", "varied", "--variations", "all"]).exits(1).reports(&["varied: it comes with umask 077"]);
    // Modes are others by design then.
    lab("echo same").run(&["run", "varied", "--variations", "all"]).exits(0);
    zone.run(&["run", "varied", "--variations", "weather"]).exits(2).says(&["time-zone"]);
}
