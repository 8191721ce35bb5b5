//! The page, word by word, of the sample that has everything; and what must hold of it whatever it shows.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::golden::{called, faulty, report_of, run};
use super::golden_machine::everything;
use super::history::tests::two_nights;
use super::html::{Beside, write};
use super::{Report, ScenarioReport};
use crate::artifact::record::{Confirmation, Outcome, ScenarioRecord};
use crate::artifact::steps::Steps;
use crate::trace::{Content, Step};
use crate::verdict::sample::twice;
use crate::verdict::{Cause, Fault};

fn page(report: &Report, record: &mut dyn FnMut(&ScenarioReport) -> Option<ScenarioRecord>) -> String {
    let mut file = |_: &ScenarioReport, name: &str, most: usize| {
        let text = format!("{name}: </pre><script>alert(1)</script>\n");
        Some((text.chars().take(most).collect(), false))
    };
    let mut text = Vec::new();
    write(report, &mut Beside { record, file: &mut file }, &mut text).expect("memory can be written");
    String::from_utf8(text).expect("UTF-8")
}

/// The page without style and script, which have files of their own, and with a line for each element that is a block.
fn told(page: &str) -> String {
    let (head, rest) = page.split_once("<style>").expect("a style");
    let (_, rest) = rest.split_once("</style>").expect("its end");
    let (body, rest) = rest.rsplit_once("<script>").expect("a script");
    let (_, end) = rest.split_once("</script>").expect("its end");
    let (start, policy) = head.split_once("style-src '").expect("a policy");
    let (_, policy) = policy.split_once("img-src").expect("more of it");
    let all = format!("{start}...; img-src{policy}{body}{end}");
    let blocks = [
        "head", "meta", "body", "header", "form", "section", "article", "details", "table", "tr", "p", "li", "figure",
        "pre", "footer",
    ];
    blocks.iter().fold(all, |text, block| {
        text.replace(&format!("<{block} "), &format!("\n<{block} "))
            .replace(&format!("<{block}>"), &format!("\n<{block}>"))
    })
}

#[test]
fn a_page_has_everything() {
    insta::assert_snapshot!(told(&page(&everything(), &mut |_| None)));
}

#[test]
fn what_earlier_runs_say_is_on_the_page() {
    let text = told(&page(&two_nights(), &mut |_| None));
    let section = |id: &str| {
        let (_, rest) = text.split_once(&format!("<section id=\"{id}\">")).expect("a section");
        rest.split_once("</section>").expect("its end").0.replace("<svg", "\n<svg").replace("<td>", "\n<td>")
    };
    insta::assert_snapshot!([section("since"), section("courses")].join("\n---"));
    let tags = |class: &str| text.matches(&format!("class=\"tag {class}\"")).count();
    assert_eq!((tags("new"), tags("still"), tags("gone")), (3, 2, 1), "in the list, and at the alarms");
}

#[test]
fn an_empty_page_is_one() {
    let text = told(&page(&report_of(&run(), Vec::new()), &mut |_| None));
    assert!(text.contains("Nothing was run.") && text.contains("No scenario was run."), "{text}");
}

fn content(path: &str) -> Content {
    Content { path: path.into(), number: 0, sha256: None }
}

fn step(label: &str, reads: &[&str], makes: &str, (began, ended): (u64, u64)) -> Step {
    Step {
        label: Some(label.into()),
        command: "cc".into(),
        target: Some(makes.into()),
        inputs: reads.iter().map(|path| content(path)).collect(),
        outputs: vec![content(makes)],
        began,
        ended,
        ..Step::default()
    }
}

/// A failing scenario whose first finding comes from a step of a clean build that was skipped.
fn traced() -> (Report, ScenarioRecord) {
    let mut record = faulty();
    let hostile = "obj/<script>alert(1)</script>\u{202e}.o";
    let steps = vec![
        step("CC <b>.o", &["src/a.c"], hostile, (0, 500_000)),
        step("LD [M] drivers/01.ko", &[hostile, "src/module.lds"], "obj/drivers/01.ko", (500_000, 700_000)),
        step("SIGN 01.ko", &["obj/drivers/01.ko"], "obj/drivers/01.sig", (700_000, 1_000_000)),
    ];
    let steps = Steps { steps, ..Steps::default() };
    record.traces = BTreeMap::from([("edit-1/oracle".to_owned(), steps)]);
    let mut report = report_of(&run(), vec![ScenarioRecord { traces: BTreeMap::new(), ..record.clone() }]);
    for finding in &mut report.scenarios[0].findings {
        if finding.target != "drivers/01.ko" {
            continue;
        }
        finding.cause = Some(Cause {
            fault: Fault::Skipped,
            step: "LD [M] drivers/01.ko".into(),
            target: Some("obj/drivers/01.ko".into()),
            cmd: None,
            command: "ld -r </code>".into(),
            build: "edit-1/incremental".into(),
            why: "it reads what changed".into(),
            way: vec!["src/a.c".into(), "CC <b>.o".into(), hostile.into()],
        });
        finding.says = vec!["- <i>".into(), "+ b".into()];
        let beside = "findings/1".to_owned();
        finding.confirmed = Some(Confirmation { outcome: Outcome::Confirmed, why: None, beside });
    }
    (report, record)
}

#[test]
fn the_step_to_blame_is_drawn_with_what_is_around_it() {
    let (report, record) = traced();
    let text = page(&report, &mut |_| Some(record.clone()));
    let (_, graph) = text.split_once("<figure class=\"graph\">").expect("a graph");
    let (graph, _) = graph.split_once("</figure>").expect("its end");
    insta::assert_snapshot!(graph.replace("<g ", "\n<g ").replace("<path ", "\n<path "));
    let (_, times) = text.split_once("<figure class=\"timeline\">").expect("a time line");
    let (times, _) = times.split_once("</figure>").expect("its end");
    insta::assert_snapshot!(times.replace("<g ", "\n<g "));
}

#[test]
fn what_is_hostile_is_text() {
    let (report, record) = traced();
    let text = page(&report, &mut |_| Some(record.clone()));
    assert_eq!(text.matches("<script").count(), 1, "one is ours");
    assert!(!text.contains("<i>") && text.contains("<del>- &lt;i&gt;</del>"), "a line of a difference");
    assert!(text.contains("mail.txt: &lt;/pre&gt;&lt;script&gt;"), "a file");
    assert!(!text.contains('\u{202e}') && text.contains("\\u{202e}"), "a name that turns");
    assert!(!text.contains(" style=") && !text.contains(" onclick="), "the policy would refuse it");
    assert!(!page(&everything(), &mut |_| None).contains('\u{1b}'));
}

/// What is behind a page of thousands of cells stays bounded.
#[test]
fn thousands_of_cells_make_a_page_that_can_be_opened() {
    let passed = |at: usize| {
        let kernel = format!("7.{}", at % 10);
        let record = called(&format!("t/s{:03}@{kernel}", at / 10), "", twice(&[("a.ko", "1")]));
        ScenarioRecord { matrix: BTreeMap::from([("kernel".to_owned(), kernel)]), ..record }
    };
    let mut records: Vec<ScenarioRecord> = (0..1900).map(passed).collect();
    records.extend((0..100).map(|at| ScenarioRecord { id: format!("t/bad{at}@7.3"), ..faulty() }));
    let report = report_of(&run(), records);
    let long: Vec<String> = (0..3000).map(|at| format!("CC drivers/a/long/name/of/a/file/{at}.o")).collect();
    let steps: Vec<Step> = (0..).zip(&long).map(|(at, name)| step(name, &["src/a.c"], name, (at, at + 2))).collect();
    let steps = Arc::new(Steps { steps, ..Steps::default() });
    let mut asked = 0;
    let text = page(&report, &mut |scenario| {
        asked += 1;
        let builds = ["control/clean", "experiment/clean", "edit-1/incremental", "edit-1/oracle"];
        let traces = builds.iter().map(|id| ((*id).to_owned(), (*steps).clone())).collect();
        Some(ScenarioRecord { id: scenario.id.clone(), traces, ..faulty() })
    });
    assert_eq!((asked, text.matches("<details class=\"cell\"").count()), (40, 2000));
    assert!(text.len() < 5 << 20, "{} bytes", text.len());
    assert!(text.contains("The builds of 40 scenarios are drawn"), "what was left out is said");
    // The same fault of a hundred scenarios is one alarm.
    assert_eq!(text.matches("<article id=\"f").count(), 2, "ten modules, and a step that ran");
}
