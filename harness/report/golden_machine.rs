//! The reports for other programs, word by word, of one sample that has everything.

use super::golden::{EDIT, called, faulty, report_of, run};
use super::{Report, github, junit, kcidb, ktap};
use crate::artifact::record::{Ended, Status};
use crate::verdict::sample::{build, twice};

/// A sample with every outcome, and with names and texts that each format has its trouble with.
pub(super) fn everything() -> Report {
    let mut run = run();
    run.left_out = vec!["btf/long".into()];
    run.unreferenced = vec!["t/gone/gcc-12/a.snap".into()];
    let passed = called("t/a@7.3", "", twice(&[("a.ko", "1")]));
    let failed = called("t/failed", "", vec![build("control/clean", &[]).failed(Status::Exit(2))]);
    let slow = called("t/slow", "", vec![build("control/clean", &[]).failed(Status::Timeout(60))]);
    let mut skipped = called("t/skipped", "", Vec::new());
    skipped.ended = Ended::Skipped { reason: "no pahole, 100 % sure # SKIP\nor \u{1b}[31mso".into() };
    let mut broken = called("broken", "", Vec::new());
    broken.ended = Ended::HarnessError { message: "cannot open the log".into(), hint: Some("df".into()) };
    let known = "[[known]]\nfinding = \"repro.mismatch\"\ntarget = \"a.ko\"\nwhy = \"a # time stamp\"\n";
    let expected = "[[expect.finding]]\nfinding = \"repro.mismatch\"\ntarget = \"b.ko\"\n";
    let both = |id: &str, text: &'static str| build(id, &[("a.ko", text), ("b.ko", text)]);
    let builds = vec![both("control/clean", "1"), both("experiment/clean", "2")];
    let known = called("t/known", &format!("{known}{expected}"), builds);
    let hostile = "<a>&\"'#]]>\t\u{1b}[0m\u{0}\nok 1 - x\u{ffff}\u{fffd}::error::%,`|.ko";
    let hostile = called("a.b/- # hostile: `x`", EDIT, {
        let made = |id: &str, text: &'static str| build(id, &[(hostile, text)]);
        let mut builds = vec![made("control/clean", "1"), made("experiment/clean", "1")];
        builds.extend([made("edit-1/incremental", "3"), made("edit-1/oracle", "2")]);
        builds
    });
    report_of(&run, vec![faulty(), passed, failed, slow, skipped, broken, known, hostile])
}

fn text(write: impl FnOnce(&mut Vec<u8>) -> std::io::Result<()>) -> String {
    let mut text = Vec::new();
    write(&mut text).expect("memory can be written");
    String::from_utf8(text).expect("UTF-8")
}

#[test]
fn junit_has_a_case_for_each_scenario() {
    insta::assert_snapshot!(text(|out| junit::write(&everything(), out)), @r##"
    <?xml version="1.0" encoding="UTF-8"?>
    <testsuites name="kbuild-repro" tests="10" skipped="2" failures="3" errors="3" timestamp="2026-11-23T01:55:00.000+00:00" time="12.000">
        <testsuite name="btf" tests="2" skipped="1" errors="0" failures="1" timestamp="2026-11-23T01:55:00.000+00:00" time="1.500">
            <properties>
                <property name="run" value="20261123T015500Z-1"/>
                <property name="kbuild-repro" value="0.1.0"/>
                <property name="host" value="Debian GNU/Linux 12 (bookworm), Linux 6.1, x86_64"/>
            </properties>
            <testcase name="faulty" classname="kbuild-repro.btf" time="1.500" file="scenarios/t/sample.toml">
                <properties>
                    <property name="title" value="a sample"/>
                    <property name="source" value="mini"/>
                    <property name="tool.gcc" value="12.0"/>
                    <property name="tool.pahole" value="1.24.0"/>
                </properties>
                <failure message="rebuild.diverged drivers/01.ko: bytes differ; and 9 more findings" type="rebuild.diverged">rebuild.diverged drivers/01.ko, drivers/02.ko, drivers/03.ko, drivers/04.ko, drivers/05.ko, drivers/06.ko, drivers/07.ko, drivers/08.ko, drivers/09.ko, drivers/10.ko
        bytes differ
        in edit-1/incremental against edit-1/oracle
    again: kbuild-repro run scenarios/t/sample.toml --keep
    </failure>
                <system-out>noop.ran CC init/main.o
        nothing was changed, and `CC init/main.o` ran
        in control/noop-1
        | CC init/main.o
    </system-out>
            </testcase>
            <testcase name="long" classname="kbuild-repro.btf">
                <skipped message="left out by the time budget"/>
            </testcase>
        </testsuite>
        <testsuite name="t" tests="5" skipped="1" errors="2" failures="0" timestamp="2026-11-23T01:55:00.000+00:00" time="7.500">
            <properties>
                <property name="run" value="20261123T015500Z-1"/>
                <property name="kbuild-repro" value="0.1.0"/>
                <property name="host" value="Debian GNU/Linux 12 (bookworm), Linux 6.1, x86_64"/>
            </properties>
            <testcase name="a@7.3" classname="kbuild-repro.t" time="1.500" file="scenarios/t/sample.toml">
                <properties>
                    <property name="title" value="a sample"/>
                    <property name="source" value="mini"/>
                    <property name="tool.gcc" value="12.0"/>
                    <property name="tool.pahole" value="1.24.0"/>
                </properties>
            </testcase>
            <testcase name="failed" classname="kbuild-repro.t" time="1.500" file="scenarios/t/sample.toml">
                <properties>
                    <property name="title" value="a sample"/>
                    <property name="source" value="mini"/>
                    <property name="tool.gcc" value="12.0"/>
                    <property name="tool.pahole" value="1.24.0"/>
                </properties>
                <error message="control/clean: the build failed with exit code 2" type="inconclusive">control/clean: the build failed with exit code 2
    build.failed control/clean
        the build failed with exit code 2
        | make: *** [Makefile:1: all] Error 1
        the whole log: control/clean/log
    again: kbuild-repro run scenarios/t/sample.toml --keep
    </error>
            </testcase>
            <testcase name="slow" classname="kbuild-repro.t" time="1.500" file="scenarios/t/sample.toml">
                <properties>
                    <property name="title" value="a sample"/>
                    <property name="source" value="mini"/>
                    <property name="tool.gcc" value="12.0"/>
                    <property name="tool.pahole" value="1.24.0"/>
                </properties>
                <error message="control/clean: the build did not end within 60 s" type="inconclusive">control/clean: the build did not end within 60 s
    build.timeout control/clean
        the build did not end within 60 s
        | make: *** [Makefile:1: all] Error 1
        the whole log: control/clean/log
    again: kbuild-repro run scenarios/t/sample.toml --keep
    </error>
            </testcase>
            <testcase name="skipped" classname="kbuild-repro.t" time="1.500" file="scenarios/t/sample.toml">
                <properties>
                    <property name="title" value="a sample"/>
                    <property name="source" value="mini"/>
                    <property name="tool.gcc" value="12.0"/>
                    <property name="tool.pahole" value="1.24.0"/>
                </properties>
                <skipped message="no pahole, 100 % sure # SKIP\nor \u{1b}[31mso"/>
            </testcase>
            <testcase name="known" classname="kbuild-repro.t" time="1.500" file="scenarios/t/sample.toml">
                <properties>
                    <property name="title" value="a sample"/>
                    <property name="source" value="mini"/>
                    <property name="tool.gcc" value="12.0"/>
                    <property name="tool.pahole" value="1.24.0"/>
                </properties>
                <system-out>repro.mismatch a.ko (known: a # time stamp)
        bytes differ
        in experiment/clean against control/clean
    repro.mismatch b.ko (expected)
        bytes differ
        in experiment/clean against control/clean
    </system-out>
            </testcase>
        </testsuite>
        <testsuite name="kbuild-repro" tests="2" skipped="0" errors="1" failures="1" timestamp="2026-11-23T01:55:00.000+00:00" time="1.500">
            <properties>
                <property name="run" value="20261123T015500Z-1"/>
                <property name="kbuild-repro" value="0.1.0"/>
                <property name="host" value="Debian GNU/Linux 12 (bookworm), Linux 6.1, x86_64"/>
            </properties>
            <testcase name="broken" classname="kbuild-repro" time="1.500" file="scenarios/t/sample.toml">
                <properties>
                    <property name="title" value="a sample"/>
                    <property name="source" value="mini"/>
                    <property name="tool.gcc" value="12.0"/>
                    <property name="tool.pahole" value="1.24.0"/>
                </properties>
                <error message="cannot open the log" type="harness error">cannot open the log
    hint: df
    again: kbuild-repro run scenarios/t/sample.toml --keep
    </error>
            </testcase>
            <testcase name="snapshot.unreferenced t/gone/gcc-12/a.snap" classname="kbuild-repro">
                <failure message="snapshot.unreferenced t/gone/gcc-12/a.snap: no scenario declares it, in any variant" type="snapshot.unreferenced">snapshot.unreferenced t/gone/gcc-12/a.snap
        no scenario declares it, in any variant
        delete it, or declare it under `[snapshots]` of its scenario
    </failure>
            </testcase>
        </testsuite>
        <testsuite name="a.b" tests="1" skipped="0" errors="0" failures="1" timestamp="2026-11-23T01:55:00.000+00:00" time="1.500">
            <properties>
                <property name="run" value="20261123T015500Z-1"/>
                <property name="kbuild-repro" value="0.1.0"/>
                <property name="host" value="Debian GNU/Linux 12 (bookworm), Linux 6.1, x86_64"/>
            </properties>
            <testcase name="- # hostile: `x`" classname="kbuild-repro.a_b" time="1.500" file="scenarios/t/sample.toml">
                <properties>
                    <property name="title" value="a sample"/>
                    <property name="source" value="mini"/>
                    <property name="tool.gcc" value="12.0"/>
                    <property name="tool.pahole" value="1.24.0"/>
                </properties>
                <failure message="rebuild.diverged &lt;a&gt;&amp;&quot;&apos;#]]&gt;    \u{1b}[0m\u{0}\nok 1 - x��::error::%,`|.ko: bytes differ" type="rebuild.diverged">rebuild.diverged &lt;a&gt;&amp;&quot;&apos;#]]&gt;    \u{1b}[0m\u{0}\nok 1 - x��::error::%,`|.ko
        bytes differ
        in edit-1/incremental against edit-1/oracle
    again: kbuild-repro run scenarios/t/sample.toml --keep
    </failure>
            </testcase>
        </testsuite>
    </testsuites>
    "##);
}

#[test]
fn ktap_has_a_test_for_each_scenario_and_a_subtest_for_each_build() {
    insta::assert_snapshot!(text(|out| ktap::write(&everything(), out)), @r##"
    KTAP version 1
    1..10
      KTAP version 1
      # Subtest: btf/faulty
      1..5
      ok 1 control/clean
      # noop.ran CC init/main.o
      #     nothing was changed, and `CC init/main.o` ran
      #     in control/noop-1
      #     | CC init/main.o
      ok 2 control/noop-1
      ok 3 experiment/clean
      # rebuild.diverged drivers/01.ko, drivers/02.ko, drivers/03.ko, drivers/04.ko, drivers/05.ko, drivers/06.ko, drivers/07.ko, drivers/08.ko, drivers/09.ko, drivers/10.ko
      #     bytes differ
      #     in edit-1/incremental against edit-1/oracle
      not ok 4 edit-1/incremental
      ok 5 edit-1/oracle
    # again: kbuild-repro run scenarios/t/sample.toml --keep
    not ok 1 btf/faulty
      KTAP version 1
      # Subtest: t/a@7.3
      1..2
      ok 1 control/clean
      ok 2 experiment/clean
    ok 2 t/a@7.3
      KTAP version 1
      # Subtest: t/failed
      1..1
      # build.failed control/clean
      #     the build failed with exit code 2
      #     | make: *** [Makefile:1: all] Error 1
      #     the whole log: control/clean/log
      not ok 1 control/clean # ERROR the build failed with exit code 2
    # again: kbuild-repro run scenarios/t/sample.toml --keep
    not ok 3 t/failed # ERROR control/clean: the build failed with exit code 2
      KTAP version 1
      # Subtest: t/slow
      1..1
      # build.timeout control/clean
      #     the build did not end within 60 s
      #     | make: *** [Makefile:1: all] Error 1
      #     the whole log: control/clean/log
      not ok 1 control/clean # TIMEOUT the build did not end within 60 s
    # again: kbuild-repro run scenarios/t/sample.toml --keep
    not ok 4 t/slow # TIMEOUT control/clean: the build did not end within 60 s
    ok 5 t/skipped # SKIP no pahole, 100 % sure \x23 SKIP\nor \u{1b}[31mso
    # hint: df
    # again: kbuild-repro run scenarios/t/sample.toml --keep
    not ok 6 broken # ERROR cannot open the log
      KTAP version 1
      # Subtest: t/known
      1..2
      ok 1 control/clean
      # repro.mismatch a.ko (known: a # time stamp)
      #     bytes differ
      #     in experiment/clean against control/clean
      # repro.mismatch b.ko (expected)
      #     bytes differ
      #     in experiment/clean against control/clean
      ok 2 experiment/clean # XFAIL known: a \x23 time stamp; expected: the scenario demands it
    ok 7 t/known
      KTAP version 1
      # Subtest: a.b/- \x23 hostile: `x`
      1..4
      ok 1 control/clean
      ok 2 experiment/clean
      # rebuild.diverged <a>&"'#]]>	\u{1b}[0m\u{0}\nok 1 - x￿�::error::%,`|.ko
      #     bytes differ
      #     in edit-1/incremental against edit-1/oracle
      not ok 3 edit-1/incremental
      ok 4 edit-1/oracle
    # again: kbuild-repro run scenarios/t/sample.toml --keep
    not ok 8 a.b/- \x23 hostile: `x`
    ok 9 btf/long # SKIP left out by the time budget
    # snapshot.unreferenced t/gone/gcc-12/a.snap
    #     no scenario declares it, in any variant
    #     delete it, or declare it under `[snapshots]` of its scenario
    not ok 10 snapshot.unreferenced t/gone/gcc-12/a.snap
    "##);
}

#[test]
fn ktap_of_nothing_is_no_success() {
    insta::assert_snapshot!(text(|out| ktap::write(&report_of(&run(), Vec::new()), out)), @r"
    KTAP version 1
    1..0
    ");
}

#[test]
fn github_is_told_the_count_and_the_first_finding_first() {
    insta::assert_snapshot!(text(|out| github::annotations(&everything(), out)), @r##"
    ::error title=kbuild-repro%3A 8 scenarios%3A 1 harness error%2C 2 failed%2C 2 inconclusive%2C 1 skipped%2C 2 passed; and 1 finding about no scenario::btf/faulty: rebuild.diverged drivers/01.ko: bytes differ; and 9 more findings
    ::error file=scenarios/t/sample.toml,title=btf/faulty%3A failed::rebuild.diverged drivers/01.ko, drivers/02.ko, drivers/03.ko, drivers/04.ko, drivers/05.ko, drivers/06.ko, drivers/07.ko, drivers/08.ko, drivers/09.ko, drivers/10.ko%0A    bytes differ%0A    in edit-1/incremental against edit-1/oracle%0Aagain: kbuild-repro run scenarios/t/sample.toml --keep
    ::error file=scenarios/t/sample.toml,title=broken%3A harness error::cannot open the log%0Ahint: df%0Aagain: kbuild-repro run scenarios/t/sample.toml --keep
    ::error file=scenarios/t/sample.toml,title=a.b/- # hostile%3A `x`%3A failed::rebuild.diverged <a>&"'#]]>	\u{1b}[0m\u{0}\nok 1 - x￿�::error::%25,`|.ko%0A    bytes differ%0A    in edit-1/incremental against edit-1/oracle%0Aagain: kbuild-repro run scenarios/t/sample.toml --keep
    ::warning file=scenarios/t/sample.toml,title=t/failed%3A inconclusive::control/clean: the build failed with exit code 2%0Abuild.failed control/clean%0A    the build failed with exit code 2%0A    | make: *** [Makefile:1: all] Error 1%0A    the whole log: control/clean/log%0Aagain: kbuild-repro run scenarios/t/sample.toml --keep
    ::warning file=scenarios/t/sample.toml,title=t/slow%3A inconclusive::control/clean: the build did not end within 60 s%0Abuild.timeout control/clean%0A    the build did not end within 60 s%0A    | make: *** [Makefile:1: all] Error 1%0A    the whole log: control/clean/log%0Aagain: kbuild-repro run scenarios/t/sample.toml --keep
    "##);
    let good = report_of(&run(), vec![called("t/a", "", twice(&[("a.ko", "1")]))]);
    insta::assert_snapshot!(text(|out| github::annotations(&good, out)), @"::notice title=kbuild-repro%3A 1 scenario%3A 1 passed::nothing is wrong");
}

#[test]
fn of_many_scenarios_that_fail_ten_annotations_are_written() {
    let many: Vec<_> =
        (10..40).map(|n| crate::artifact::record::ScenarioRecord { id: format!("t/{n}"), ..faulty() }).collect();
    let report = report_of(&run(), many);
    let told = text(|out| github::annotations(&report, out));
    assert_eq!(told.lines().count(), 10, "{told}");
    assert!(
        told.starts_with("::error title=kbuild-repro%3A 30 scenarios%3A 30 failed::t/10: rebuild.diverged"),
        "{told}"
    );
    assert!(
        told.ends_with("::error title=kbuild-repro::and 22 more scenarios: the summary of the step names them\n"),
        "{told}"
    );
    // What has no room is left out whole, from the end, and said.
    let whole = github::summary(&report, github::SUMMARY);
    let short = github::summary(&report, whole.len() - 1);
    assert!(short.len() < whole.len() && whole.starts_with(short.split("\n1 more").next().expect("a part")), "{short}");
    assert!(short.ends_with("more parts have no room here: `kbuild-repro report` shows them.\n"), "{short}");
    for most in (0..whole.len()).step_by(997) {
        assert!(github::summary(&report, most).len() <= most.max(200), "{most}");
    }
}

#[test]
fn the_summary_of_a_step_has_a_table_and_the_stories() {
    insta::assert_snapshot!(github::summary(&everything(), github::SUMMARY), @r##"
    ## kbuild-repro: harness error

    8 scenarios: 1 harness error, 2 failed, 2 inconclusive, 1 skipped, 2 passed; and 1 finding about no scenario

    1 left out by the time budget: <code>btf/long</code>

    | scenario | verdict | time | |
    | --- | --- | --- | --- |
    | <code>btf/faulty</code> | failed | 1.5 s | rebuild.diverged drivers/01.ko: bytes differ; and 9 more findings |
    | <code>t/failed</code> | inconclusive | 1.5 s | control/clean: the build failed with exit code 2 |
    | <code>t/slow</code> | inconclusive | 1.5 s | control/clean: the build did not end within 60 s |
    | <code>broken</code> | harness error | 1.5 s | cannot open the log |
    | <code>a.b/- \# hostile: \`x\`</code> | failed | 1.5 s | rebuild.diverged &lt;a&gt;&amp;"'\#\]\]&gt;	\\u{1b}\[0m\\u{0}\\nok 1 - x￿�::error::%,\`\|.ko: bytes differ |

    - snapshot.unreferenced t/gone/gcc-12/a.snap: no scenario declares it, in any variant

    <details open><summary>btf/faulty: failed — a sample</summary>

    ```text
    rebuild.diverged drivers/01.ko, drivers/02.ko, drivers/03.ko, drivers/04.ko, drivers/05.ko, drivers/06.ko, drivers/07.ko, drivers/08.ko, drivers/09.ko, drivers/10.ko
        bytes differ
        in edit-1/incremental against edit-1/oracle
    noop.ran CC init/main.o
        nothing was changed, and `CC init/main.o` ran
        in control/noop-1
        | CC init/main.o
    again: kbuild-repro run scenarios/t/sample.toml --keep
    ```

    </details>

    <details open><summary>t/failed: inconclusive — a sample</summary>

    ```text
    control/clean: the build failed with exit code 2
    build.failed control/clean
        the build failed with exit code 2
        | make: *** [Makefile:1: all] Error 1
        the whole log: control/clean/log
    again: kbuild-repro run scenarios/t/sample.toml --keep
    ```

    </details>

    <details open><summary>t/slow: inconclusive — a sample</summary>

    ```text
    control/clean: the build did not end within 60 s
    build.timeout control/clean
        the build did not end within 60 s
        | make: *** [Makefile:1: all] Error 1
        the whole log: control/clean/log
    again: kbuild-repro run scenarios/t/sample.toml --keep
    ```

    </details>

    <details open><summary>broken: harness error — a sample</summary>

    ```text
    cannot open the log
    hint: df
    again: kbuild-repro run scenarios/t/sample.toml --keep
    ```

    </details>

    <details><summary>t/known: passed — a sample</summary>

    ```text
    repro.mismatch a.ko (known: a # time stamp)
        bytes differ
        in experiment/clean against control/clean
    repro.mismatch b.ko (expected)
        bytes differ
        in experiment/clean against control/clean
    ```

    </details>

    <details open><summary>a.b/- # hostile: `x`: failed — a sample</summary>

    ```text
    rebuild.diverged <a>&"'#]]>	\u{1b}[0m\u{0}\nok 1 - x￿�::error::%,`|.ko
        bytes differ
        in edit-1/incremental against edit-1/oracle
    again: kbuild-repro run scenarios/t/sample.toml --keep
    ```

    </details>
    "##);
}

#[test]
fn kcidb_has_checkouts_builds_and_tests() {
    let mut report = everything();
    report.scenarios.retain(|scenario| ["t/skipped", "btf/faulty"].contains(&scenario.id.as_str()));
    // What is left out is told in tests/cli/shards.rs.
    report.left_out.clear();
    for scenario in &mut report.scenarios {
        scenario.findings.truncate(1);
        scenario.builds.truncate(1);
        scenario.findings.iter_mut().for_each(|finding| {
            (finding.build, finding.cost_ms) = ("control/clean".into(), Some(1250));
        });
    }
    report.scenarios[1].source = format!("commit {}", "0123456789abcdef0123".repeat(2));
    insta::assert_snapshot!(text(|out| kcidb::write(&report, "lab_1", out)), @r##"
    {
      "version": {
        "major": 5,
        "minor": 3
      },
      "checkouts": [
        {
          "id": "lab_1:20261123T015500Z-1:mini",
          "origin": "lab_1",
          "comment": "mini",
          "start_time": "2026-11-23T01:55:00+00:00",
          "valid": true,
          "misc": {
            "source": "mini"
          }
        },
        {
          "id": "lab_1:20261123T015500Z-1:commit 0123456789abcdef01230123456789abcdef0123",
          "origin": "lab_1",
          "git_commit_hash": "0123456789abcdef01230123456789abcdef0123",
          "comment": "commit 0123456789abcdef01230123456789abcdef0123",
          "start_time": "2026-11-23T01:55:00+00:00",
          "valid": true,
          "misc": {
            "source": "commit 0123456789abcdef01230123456789abcdef0123"
          }
        }
      ],
      "builds": [
        {
          "checkout_id": "lab_1:20261123T015500Z-1:mini",
          "id": "lab_1:20261123T015500Z-1:btf/faulty:control/clean",
          "origin": "lab_1",
          "comment": "btf/faulty: control/clean",
          "duration": 0.25,
          "architecture": "x86_64",
          "compiler": "gcc 12.0",
          "status": "PASS",
          "misc": {
            "build": "control/clean",
            "cpu_seconds": 0.2,
            "ended": "worked",
            "log": "control/clean/log",
            "scenario": "btf/faulty",
            "steps": 0
          }
        },
        {
          "checkout_id": "lab_1:20261123T015500Z-1:commit 0123456789abcdef01230123456789abcdef0123",
          "id": "lab_1:20261123T015500Z-1:t/skipped:none",
          "origin": "lab_1",
          "comment": "t/skipped: none",
          "architecture": "x86_64",
          "compiler": "gcc 12.0",
          "status": "SKIP",
          "misc": {
            "scenario": "t/skipped"
          }
        }
      ],
      "tests": [
        {
          "build_id": "lab_1:20261123T015500Z-1:btf/faulty:control/clean",
          "id": "lab_1:20261123T015500Z-1:btf/faulty",
          "origin": "lab_1",
          "environment": {
            "comment": "Debian GNU/Linux 12 (bookworm), Linux 6.1, x86_64"
          },
          "path": "kbuild-repro.btf.faulty",
          "comment": "a sample",
          "log_excerpt": "rebuild.diverged drivers/01.ko\n    bytes differ\n    in control/clean against edit-1/oracle\n    after edit-1\nagain: kbuild-repro run scenarios/t/sample.toml --keep\n",
          "status": "FAIL",
          "duration": 1.5,
          "misc": {
            "again": "kbuild-repro run scenarios/t/sample.toml --keep",
            "compared": 30,
            "findings": [
              {
                "build": "control/clean",
                "finding": "rebuild.diverged",
                "id": "rebuild.diverged@edit-1:drivers/01.ko",
                "standing": "new",
                "summary": "bytes differ",
                "target": "drivers/01.ko"
              }
            ],
            "scenario": "btf/faulty",
            "tier": "quick",
            "toolchain": {
              "gcc": "12.0",
              "pahole": "1.24.0"
            },
            "verdict": "failed"
          }
        },
        {
          "build_id": "lab_1:20261123T015500Z-1:btf/faulty:control/clean",
          "id": "lab_1:20261123T015500Z-1:btf/faulty:control/clean",
          "origin": "lab_1",
          "environment": {
            "comment": "Debian GNU/Linux 12 (bookworm), Linux 6.1, x86_64"
          },
          "path": "kbuild-repro.btf.faulty.control.clean",
          "log_excerpt": "rebuild.diverged drivers/01.ko\n    bytes differ\n    in control/clean against edit-1/oracle\n    after edit-1\n",
          "status": "FAIL",
          "misc": {
            "findings": [
              {
                "build": "control/clean",
                "finding": "rebuild.diverged",
                "id": "rebuild.diverged@edit-1:drivers/01.ko",
                "standing": "new",
                "summary": "bytes differ",
                "target": "drivers/01.ko"
              }
            ]
          }
        },
        {
          "build_id": "lab_1:20261123T015500Z-1:btf/faulty:control/clean",
          "id": "lab_1:20261123T015500Z-1:btf/faulty:control/clean:needless",
          "origin": "lab_1",
          "environment": {
            "comment": "Debian GNU/Linux 12 (bookworm), Linux 6.1, x86_64"
          },
          "path": "kbuild-repro.btf.faulty.control.clean.needless",
          "status": "DONE",
          "number": {
            "unit": "s",
            "value": 1.25
          },
          "misc": {
            "of": "steps that ran for nothing"
          }
        },
        {
          "build_id": "lab_1:20261123T015500Z-1:t/skipped:none",
          "id": "lab_1:20261123T015500Z-1:t/skipped",
          "origin": "lab_1",
          "environment": {
            "comment": "Debian GNU/Linux 12 (bookworm), Linux 6.1, x86_64"
          },
          "path": "kbuild-repro.t.skipped",
          "comment": "a sample",
          "status": "SKIP",
          "duration": 1.5,
          "misc": {
            "again": "kbuild-repro run scenarios/t/sample.toml --keep",
            "compared": 0,
            "findings": [],
            "reason": "no pahole, 100 % sure # SKIP\nor \u001b[31mso",
            "scenario": "t/skipped",
            "tier": "quick",
            "toolchain": {
              "gcc": "12.0",
              "pahole": "1.24.0"
            },
            "verdict": "skipped"
          }
        }
      ]
    }
    "##);
}

#[test]
fn an_excerpt_has_its_limit_in_characters() {
    let mut report = everything();
    report.scenarios[0].findings[0].summary = "ä".repeat(40_000);
    let text = text(|out| kcidb::write(&report, kcidb::ORIGIN, out));
    let json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let excerpts = json["tests"].as_array().expect("tests").iter().filter_map(|test| test["log_excerpt"].as_str());
    assert_eq!(excerpts.map(|excerpt| excerpt.chars().count()).max(), Some(16_384));
}

#[test]
fn an_origin_is_what_kcidb_takes_for_one() {
    assert!(kcidb::is_origin(kcidb::ORIGIN) && kcidb::is_origin("0dayci_2"));
    for none in ["", "kbuild-repro", "Lab", "a:b", "ä", "a\n"] {
        assert!(!kcidb::is_origin(none), "{none}");
    }
}
