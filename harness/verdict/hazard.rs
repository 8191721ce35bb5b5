//! What a build should not do, whatever came of it: two steps that make one file, steps that reach outside of the trees.

use std::collections::BTreeSet;
use std::path::Path;

use super::Finding;
use super::compare::{Comparison, finding, in_tree};
use super::guilt::{Cause, Fault, Timelines, rival};
use crate::artifact::record::{Mode, ScenarioRecord};
use crate::artifact::steps::Steps;
use crate::sandbox::HOME;
use crate::scenario::FindingName;
use crate::trace::Content;
use crate::tree::source::tools::PLACE;

/// Where the system keeps what every build may use (hier(7)), beside what is temporary.
const SYSTEM: [&str; 14] = [
    "/bin", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/libx32", "/nix", "/opt", "/proc", "/sbin", "/sys", "/usr",
    PLACE,
];
/// The SHA-256 of nothing.
const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
/// What programs keep for themselves beside what they run, each file renamed into its place (Python, PEP 3147).
const CACHES: [&str; 1] = ["__pycache__"];
/// Files of it by which one machine differs from another.
const OF_MACHINE: [&str; 3] = ["/etc/hostname", "/etc/machine-id", "/var/lib/dbus/machine-id"];

pub(super) fn find<'r>(record: &'r ScenarioRecord, timelines: &Timelines<'r>, comparison: &mut Comparison) {
    let mut seen: BTreeSet<(FindingName, String)> = BTreeSet::new();
    let made = comparison.findings.len();
    for finding in comparison.findings.clone() {
        // Of two that make one file, the order decides as well.
        let ordered = |cause: &&Cause| matches!(cause.fault, Fault::Order | Fault::Race);
        let Some(cause) = finding.cause.as_ref().filter(ordered) else { continue };
        let target = cause.target.clone().unwrap_or_else(|| cause.step.clone());
        let target = in_tree(&target).to_owned();
        if seen.insert((FindingName::HazardOrder, target.clone())) {
            let mut hazard = Finding { name: FindingName::HazardOrder, target, parts: None, ..finding };
            hazard.summary = hazard.cause.as_ref().map(|cause| cause.why.clone()).unwrap_or_default();
            hazard.folded.clear();
            comparison.findings.push(hazard);
        }
    }
    for build in &record.builds {
        let Some(timeline) = timelines.up_to(build) else { continue };
        let (clean, last) = (build.mode == Mode::Clean, timeline.last());
        let Some((_, steps)) = timeline.builds.last() else { continue };
        let empty = empty(steps);
        for (at, step) in steps.steps.iter().enumerate() {
            let mut add = |name: FindingName, target: &str, fault: Fault, why: String| {
                if seen.insert((name, target.to_owned())) {
                    let cause = timeline.cause(fault, (last, at), why.clone());
                    let finding = finding(record, name, target, build);
                    comparison.findings.push(Finding { summary: why, cause: Some(cause), ..finding });
                }
            };
            // Files that hold nothing are locks and stamps, and who may read a cache writes it.
            let counts = |output: &&Content| {
                !empty.contains(&*output.path) && !output.path.split('/').any(|part| CACHES.contains(&part))
            };
            for output in step.outputs.iter().filter(|_| clean).filter(counts) {
                if let Some(other) = rival(&timeline, &output.path, (last, at)) {
                    let why = format!("`{}` and `{}` both make it", step.name(), timeline.step(other).name());
                    add(FindingName::HazardWriteWrite, in_tree(&output.path), Fault::Race, why);
                }
            }
            let target = step.target.as_deref().map_or_else(|| step.name(), |target| in_tree(target).to_owned());
            let mut escape = |name: FindingName, all: Vec<&String>, what: &str| {
                if let Some(first) = all.first() {
                    let more = if all.len() > 1 { format!(" and {} more", all.len() - 1) } else { String::new() };
                    add(name, &target, Fault::Escapes, format!("it {what} `{first}`{more}"));
                }
            };
            // Its home is a directory of the sandbox's own.
            let written = step.strays.iter().filter(|path| !Path::new(path).starts_with(HOME)).collect();
            escape(FindingName::EscapeWrite, written, "wrote, or wanted to write,");
            let reached = step.network.iter().filter(|address| !is_here(address)).collect();
            escape(FindingName::EscapeNetwork, reached, "wanted to reach");
            // To look for a file first is part of writing it.
            let looked = |path: &&String| escapes(record, path) && !step.strays.contains(path);
            let read = step.tools.iter().chain(&step.sought).filter(looked).collect();
            escape(FindingName::EscapeRead, read, "read, or wanted to read,");
        }
    }
    fold(comparison, made);
}

/// The files into which no step of a build wrote anything. What one had put into a file is not known if another one
/// emptied it meanwhile: what other steps left there says it.
fn empty(steps: &Steps) -> BTreeSet<&str> {
    let written = || steps.steps.iter().flat_map(|step| &step.outputs);
    let known = |is_empty: bool| {
        let is = move |output: &&Content| output.sha256.as_deref().is_some_and(|it| (it == EMPTY) == is_empty);
        written().filter(is).map(|output| &*output.path)
    };
    let full: BTreeSet<&str> = known(false).collect();
    known(true).filter(|path| !full.contains(path)).collect()
}

/// A hazard that came about is told by what came of it; of two rivals the first says it for both.
fn fold(comparison: &mut Comparison, made: usize) {
    let hazards = comparison.findings.split_off(made.min(comparison.findings.len()));
    let mut pairs = BTreeSet::new();
    for hazard in hazards {
        let seen_as = |finding: &&mut Finding| match (&finding.cause, &hazard.cause) {
            (Some(came), Some(cause)) => {
                came.fault == cause.fault && (came.step == cause.step || came.why.contains(&cause.step))
            }
            _ => false,
        };
        match comparison.findings[..made].iter_mut().find(seen_as) {
            Some(finding) if matches!(hazard.name, FindingName::HazardOrder | FindingName::HazardWriteWrite) => {
                finding.folded.push(hazard.id());
            }
            _ if pairs.insert((hazard.name, hazard.target.clone())) => comparison.findings.push(hazard),
            _ => {}
        }
    }
}

/// Whether an address is the machine's own.
fn is_here(address: &str) -> bool {
    let address: Option<std::net::SocketAddr> = address.parse().ok();
    address.is_some_and(|address| address.ip().is_loopback() || address.ip().is_unspecified())
}

/// Whether a file that a build read is neither the system's nor what the scenario shows to its builds.
fn escapes(record: &ScenarioRecord, path: &str) -> bool {
    if OF_MACHINE.contains(&path) {
        return true;
    }
    let path = Path::new(path);
    if path.starts_with(HOME) {
        return false;
    }
    let tree = &record.scenario.tree;
    let shown = tree.host.iter().map(Path::new).chain(tree.at.as_deref().map(Path::new));
    !SYSTEM.iter().map(Path::new).chain(shown).any(|dir| path.starts_with(dir))
}
