//! The HTML page of a report: what a reader of HTML that is not ours makes of it, and what it does in a browser.
//!
//! The browser is Debian's `chromium`, as `.ci/run` installs it.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::process::Command;
use std::sync::{Arc, Mutex};

use kbuild_repro::report::Report;
use kbuild_repro::verdict::Verdict;
use serde_json::Value as Json;

use crate::formats::{ESCAPED, consume, lab, python, read, run};
use crate::lab::{Lab, has, has_make, of};

/// Looks at the page in a frame as wide as a phone, and writes what it saw into its own document.
const PROBE: &str = r##"<!doctype html><meta charset="utf-8"><meta name="color-scheme" content="light dark"><title>probe</title>
<iframe id="page" src="page.html" width="360" height="740"></iframe><pre id="seen"></pre><script>
const frame = document.getElementById("page");
frame.onload = () => {
  const win = frame.contentWindow, page = frame.contentDocument, root = page.documentElement, seen = {};
  const of = (it) => win.getComputedStyle(it);
  const rgb = (text) => (text.match(/[\d.]+/g) || []).map(Number);
  const light = (colour) => rgb(colour).slice(0, 3).map((c) => c / 255)
    .map((c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, at) => sum + c * [0.2126, 0.7152, 0.0722][at], 0);
  const contrast = (a, b) => (Math.max(light(a), light(b)) + 0.05) / (Math.min(light(a), light(b)) + 0.05);
  const behind = (it) => {
    if (it.closest("g")) return of(it.closest("g").querySelector("rect")).fill;
    for (; it; it = it.parentElement) {
      const colour = of(it).backgroundColor;
      if (rgb(colour).length === 3) return colour;
    }
    return of(page.body).backgroundColor;
  };
  for (const it of page.querySelectorAll("details")) it.open = true;
  // What is out of sight is laid out as well.
  for (const it of page.querySelectorAll(".cell")) it.style.contentVisibility = "visible";
  seen.system = of(page.body).backgroundColor;
  seen.worst = {};
  for (const theme of ["light", "dark"]) {
    root.dataset.theme = theme;
    seen[theme] = of(page.body).backgroundColor;
    let worst = [99, ""];
    const own = (it) => [...it.childNodes].some((child) => child.nodeType === 3 && child.data.trim());
    for (const it of page.body.querySelectorAll("*")) {
      if (it.closest("script,title,desc,option,.off,.skip") || !own(it)) continue;
      const colour = it instanceof win.SVGElement ? of(it).fill : of(it).color;
      const here = contrast(colour, behind(it));
      if (here < worst[0]) worst = [here, it.outerHTML.slice(0, 120)];
    }
    seen.worst[theme] = worst;
  }
  delete root.dataset.theme;
  seen.width = [root.scrollWidth, root.clientWidth];
  seen.small = [...page.querySelectorAll("button, select, input")].filter((it) => it.offsetHeight < 24).length;
  const q = page.getElementById("q");
  q.focus();
  q.value = "hostile";
  q.dispatchEvent(new win.Event("input", { bubbles: true }));
  seen.hash = win.location.hash;
  seen.shown = page.getElementById("shown").textContent;
  page.getElementById("theme").click();
  seen.theme = root.dataset.theme;
  win.localStorage.clear();
  seen.copies = page.querySelectorAll("button.copy").length;
  document.getElementById("seen").textContent = JSON.stringify(seen).replaceAll("<", "\\u003c");
};
</script>"##;

/// What a browser made of an address: the document, and what it complained of.
fn browse(lab: &Lab, arguments: &[&str], address: &str) -> (String, Vec<String>) {
    let profile = format!("--user-data-dir={}", lab.path("profile").display());
    let fixed = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--enable-logging=stderr"];
    let output = Command::new("chromium")
        .args(fixed)
        .arg(profile)
        .args(["--window-size=1200,900", "--virtual-time-budget=10000", "--dump-dom"])
        .args(arguments)
        .arg(address)
        .env("HOME", lab.path("home"))
        .output()
        .expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    let console = said.lines().filter(|line| line.contains("CONSOLE")).map(str::to_owned).collect();
    (String::from_utf8_lossy(&output.stdout).into_owned(), console)
}

/// Serves the page and the probe to one browser. The paths that were asked for.
fn serve(lab: &Lab) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = format!("http://{}", listener.local_addr().expect("an address"));
    let asked = Arc::new(Mutex::new(Vec::new()));
    let (page, log) = (read(lab.path("html.out")), Arc::clone(&asked));
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            let mut request = [0; 4096];
            let length = stream.read(&mut request).unwrap_or(0);
            let text = String::from_utf8_lossy(&request[..length]).into_owned();
            // A browser opens connections ahead that it does not use.
            let Some(path) = text.split_whitespace().nth(1) else { continue };
            log.lock().expect("whole").push(path.to_owned());
            let (status, body) = match path {
                "/page.html" => ("200 OK", page.as_str()),
                "/probe.html" => ("200 OK", PROBE),
                _ => ("404 Not Found", ""),
            };
            let head = format!(
                "HTTP/1.1 {status}\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {}\r\n\
                 Connection: close\r\n\r\n",
                body.len()
            );
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes()));
        }
    });
    (address, asked)
}

/// Runs all scenarios, and makes the page of them over a night before, in which one had not failed yet and another had.
fn run_over_a_night(lab: &Lab) {
    run(lab);
    let mut report: Report = serde_json::from_str(&read(lab.path("out/report.json"))).expect("a report");
    report.run = "the night before".into();
    report.started -= 86_400;
    report.record = None;
    let stale = of(&report, "bad").findings.clone();
    for scenario in &mut report.scenarios {
        match scenario.id.as_str() {
            "t/bad" => (scenario.verdict, scenario.findings) = (Verdict::Passed, Vec::new()),
            "t/ok" => (scenario.verdict, scenario.findings) = (Verdict::Failed, stale.clone()),
            _ => {}
        }
    }
    lab.write("before.json", serde_json::to_vec(&report).expect("JSON"));
    lab.run(&["history", "add", "before.json", "--history", "past"]).exits(0);
    lab.run(&["judge", "out", "--history", "past", "--report", "html=html.out", "--quiet"]).exits(1);
    let page = read(lab.path("html.out"));
    for class in ["tag new", "tag still", "tag gone", "spark"] {
        assert!(page.contains(&format!("class=\"{class}\"")), "{class}");
    }
}

/// The ids of the scenarios that a document shows.
fn shown(document: &str) -> Vec<String> {
    let cells = document.split("<details class=\"cell\"").skip(1);
    let shown = cells.filter(|cell| !cell.split('>').next().unwrap_or_default().contains(" hidden"));
    shown.filter_map(|cell| Some(cell.split_once("<b>")?.1.split_once("</b>")?.0.to_owned())).collect()
}

#[test]
fn html5lib_reads_it() {
    let Some(python) = python().filter(|_| has_make()) else { return };
    let lab = lab();
    run_over_a_night(&lab);
    let read = consume(&python, &["html", lab.path("html.out").to_str().expect("UTF-8")]);
    for nothing in ["lost", "twice", "fetched"] {
        assert_eq!(read[nothing], serde_json::json!([]), "{nothing}");
    }
    assert_eq!(read["scripts"], 1);
    let verdict = |name: &str| read["cells"][format!("t/{name}")].as_str().unwrap_or("none").to_owned();
    let verdicts = ["bad", "broken", "hostile", "known", "ok", "planted", "skipped"].map(verdict);
    assert_eq!(verdicts, ["failed", "inconclusive", "failed", "passed", "passed", "passed", "skipped"], "{read}");
    assert!(read["text"].as_str().is_some_and(|text| text.contains(ESCAPED)), "{read}");
}

#[test]
fn a_browser_filters_by_the_fragment_and_says_nothing_is_wrong() {
    if !has_make() || !has(&["chromium"]) {
        return;
    }
    let lab = lab();
    run_over_a_night(&lab);
    std::fs::rename(lab.path("html.out"), lab.path("page.html")).expect("renamed");
    let page = format!("file://{}", lab.path("page.html").display());
    let of = |fragment: &str| {
        let (document, console) = browse(&lab, &[], &format!("{page}{fragment}"));
        assert!(console.is_empty(), "{console:?}");
        shown(&document)
    };
    assert_eq!(of("").len(), 7);
    assert_eq!(of("#verdict=failed"), ["t/bad", "t/hostile"]);
    assert_eq!(of("#verdict=failed&q=HOSTILE"), ["t/hostile"]);
    assert_eq!(of("#finding=rebuild.stale&verdict=passed"), ["t/known", "t/planted"]);
    assert_eq!(of("#kernel=no+kernel&q=nothing%20such"), [""; 0]);
    // A place is no filter.
    assert_eq!(of("#s1").len(), 7);
}

#[test]
fn a_browser_asks_for_nothing_else_and_a_phone_has_room_for_it() {
    if !has_make() || !has(&["chromium"]) {
        return;
    }
    let lab = lab();
    run_over_a_night(&lab);
    let (address, asked) = serve(&lab);
    let mut grounds = Vec::new();
    for preferred in ["1", "0"] {
        let scheme = format!("--blink-settings=preferredColorScheme={preferred}");
        let (document, console) = browse(&lab, &[&scheme], &format!("{address}/probe.html"));
        let complaints: Vec<&String> = console.iter().filter(|line| !line.contains("favicon")).collect();
        assert!(complaints.is_empty(), "{complaints:?}");
        let seen = document.split_once("<pre id=\"seen\">").and_then(|(_, rest)| rest.split_once("</pre>"));
        let seen = seen.map(|(seen, _)| seen.replace("&gt;", ">").replace("&amp;", "&"));
        let seen: Json = serde_json::from_str(&seen.expect("a probe")).unwrap_or_else(|_| panic!("{document}"));
        assert_eq!(seen["width"][0], seen["width"][1], "it scrolls sideways: {seen}");
        assert_eq!((&seen["hash"], &seen["shown"]), (&"#q=hostile".into(), &"1 of 7 scenarios".into()), "{seen}");
        assert_eq!((&seen["theme"], &seen["small"]), (&"light".into(), &0.into()), "{seen}");
        assert!(seen["copies"].as_u64().is_some_and(|copies| copies > 7), "{seen}");
        for theme in ["light", "dark"] {
            // https://www.w3.org/TR/WCAG22/#contrast-minimum
            assert!(seen["worst"][theme][0].as_f64().is_some_and(|worst| worst >= 4.5), "{theme}: {seen}");
        }
        assert_ne!(seen["light"], seen["dark"], "{seen}");
        assert_eq!(seen["system"], seen[if preferred == "0" { "dark" } else { "light" }], "{seen}");
        grounds.push(seen["system"].clone());
    }
    assert_ne!(grounds[0], grounds[1]);
    let asked = asked.lock().expect("whole").clone();
    let own = asked.iter().filter(|path| *path != "/favicon.ico");
    let times = |path: &str| own.clone().filter(|asked| *asked == path).count();
    assert_eq!((times("/page.html"), own.clone().count()), (2, 4), "{asked:?}");
}
