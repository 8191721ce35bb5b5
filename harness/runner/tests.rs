use super::*;

fn scenario(text: &str) -> Scenario {
    crate::scenario::parse("test.toml", text, &()).expect("a valid scenario").scenario
}

const TWO_EDITS: &str = "title = 't'\n[tree]\nsrctree = 'mini'\n[[edit]]\nid = 'a'\nfile = 'x'\ntouch = true\n\
                         [[edit]]\nfile = 'y'\ntouch = true\n";

#[test]
fn the_plan_is_the_main_job() {
    let ids: Vec<String> =
        plan(&scenario(TWO_EDITS), Parts::ALL).into_iter().flat_map(|chain| chain.builds).map(|b| b.id).collect();
    assert_eq!(
        ids,
        [
            "control/clean",
            "control/noop-1",
            "control/noop-2",
            "a/incremental",
            "a/noop",
            "edit-2/incremental",
            "edit-2/noop",
            "experiment/clean",
            "a/oracle",
            "a/oracle-noop",
            "edit-2/oracle",
            "edit-2/oracle-noop",
        ]
    );
}

#[test]
fn an_expensive_oracle_is_built_for_the_last_edit_only() {
    let text = format!("{TWO_EDITS}[compare]\noracle = 'last'\n");
    let chains = plan(&scenario(&text), Parts::ALL);
    let oracles: Vec<&str> =
        chains.iter().filter(|chain| chain.role == Role::Oracle).map(|chain| chain.instance.as_str()).collect();
    assert_eq!(oracles, ["oracle-edit-2"]);
}

#[test]
fn what_the_host_cannot_vary_is_named() {
    let text = "title = 't'\n[tree]\nsrctree = 'mini'\n[experiment]\nsrctree = '/a'\nhostname = 'b'\njobs = 1\n";
    let scenario = scenario(text);
    let all = Variable { places: true, host_name: true, traced: true, addresses: true, groups: true, processors: 2 };
    assert_eq!(not_varied(&scenario, all), [""; 0]);
    assert_eq!(not_varied(&scenario, Variable { host_name: false, ..all }), ["the host name"]);
    let none =
        Variable { places: false, host_name: false, traced: false, addresses: false, groups: false, processors: 1 };
    assert_eq!(not_varied(&scenario, none), ["the place of the source tree", "the host name"]);
    let text = "title = 't'\n[tree]\nsrctree = 'mini'\n[experiment]\nshuffle = 1\nprocessors = 1\n\
                random_addresses = true\ndirectories = 'reversed'\ngroup = 1\n";
    let scenario = self::scenario(text);
    assert_eq!(not_varied(&scenario, all), [""; 0]);
    assert_eq!(not_varied(&scenario, none).len(), 6);
    let one = Scenario { make: crate::scenario::Make { jobs: Some(1), ..scenario.make.clone() }, ..scenario };
    assert_eq!(not_varied(&one, all), ["the order of jobs, of which there is one"]);
}
