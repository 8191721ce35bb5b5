//! Whose the causes of findings are.

use std::collections::BTreeMap;

use super::Finding;
use crate::scenario::Class;
use crate::tree::maintainers::{Maintainers, Owners};

/// What kernels call the file, at the top of their sources.
const FILE: &str = "MAINTAINERS";
/// The file that is the whole build's, for what no trace leads to a rule.
const TOP: &str = "Makefile";

/// The file to which a finding leads, from the top of the sources: that of the rule of the step to blame. A rule of a tree's own
/// (`obj/`) leads nowhere.
fn file(finding: &Finding) -> Option<&str> {
    if finding.name.class() != Class::Wrong {
        return None;
    }
    match finding.cause.as_ref().map(|cause| cause.cmd.as_ref()) {
        Some(Some(cmd)) => cmd.file.strip_prefix("src/"),
        Some(None) | None => Some(TOP),
    }
}

/// Whose the files are to which findings lead, by file; `read` reads a file of the sources, of which kernels have MAINTAINERS.
pub fn owners(findings: &[Finding], read: &dyn Fn(&str) -> Option<Vec<u8>>) -> BTreeMap<String, Owners> {
    let files: Vec<&str> = findings.iter().filter_map(file).collect();
    if files.is_empty() {
        return BTreeMap::new();
    }
    let Some(text) = read(FILE) else { return BTreeMap::new() };
    let maintainers = Maintainers::parse(&String::from_utf8_lossy(&text));
    files.into_iter().filter_map(|file| Some((file.to_owned(), maintainers.of(file)?))).collect()
}

/// Has a finding say whose it is.
pub fn owned(finding: &mut Finding, owners: &BTreeMap<String, Owners>) {
    finding.owners = file(finding).and_then(|file| owners.get(file)).cloned();
}
