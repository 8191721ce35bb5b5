//! `[toolchain]` and `[matrix]`: what a scenario is built with.

use super::super::versions::means_versions;
use super::super::{Dimension, Key, Matrix, Scenario, TOOL_NAMES, names_a_tool, nearest, toolchain, unfit};
use super::Checker;
use crate::key_path;

/// The most combinations a matrix may have: each is some builds.
const CELLS: usize = 1000;

impl Checker<'_> {
    pub(super) fn toolchain(&mut self, scenario: &Scenario) {
        let chosen = &scenario.toolchain;
        for (name, version) in [("pahole", &chosen.pahole), ("make", &chosen.make)] {
            if let Some(version) = version
                && !toolchain::is_choice(version)
            {
                self.fault(
                    &key_path!["toolchain", name],
                    format!("`{version}` is no version of {name}"),
                    "numbers with dots between, as many as matter, e.g. `1.30`; or the absolute path of a program",
                );
            }
        }
        if chosen.make.is_some() && scenario.make.program.is_some() {
            self.fault(
                &key_path!["toolchain", "make"],
                "`make.program` names another make",
                "leave one of the two out",
            );
        }
    }

    /// Of which kernels and tools an entry speaks: what is no version would never be met, and nobody would miss the entry.
    pub(super) fn versions_meant(&mut self, scenario: &Scenario) {
        let expected = scenario.expect.finding.iter().enumerate();
        let expected = expected.map(|(n, e)| (key_path!["expect", "finding", n].to_vec(), &e.kernels, &e.tools));
        let known = scenario.known.iter().enumerate();
        let known = known.map(|(n, k)| (key_path!["known", n].to_vec(), &k.kernels, &k.tools));
        for (entry, kernels, tools) in expected.chain(known) {
            for name in tools.keys() {
                self.tool_name(&[&entry[..], &key_path!["tools", name.as_str()]].concat(), name);
            }
            let kernels = kernels.iter().enumerate().map(|(n, text)| (key_path!["kernels", n].to_vec(), text));
            let tools = tools.iter().map(|(name, text)| (key_path!["tools", name.as_str()].to_vec(), text));
            for (key, text) in kernels.chain(tools).filter(|(_, text)| !means_versions(text)) {
                self.fault(
                    &[&entry[..], &key].concat(),
                    format!("`{text}` is no version"),
                    "numbers with dots between, as many as matter, e.g. `6.12`; or a range, `< 6.13` or `>= 6.9, < 6.13`",
                );
            }
        }
    }

    /// A tool that nothing is recorded of is as one of another version.
    pub(super) fn tool_name(&mut self, at: &[Key], name: &str) {
        if !TOOL_NAMES.contains(&name) {
            let near = nearest(name, TOOL_NAMES.iter().copied()).map(|near| format!("did you mean `{near}`? "));
            let hint = format!("{}there are: {}", near.unwrap_or_default(), TOOL_NAMES.join(", "));
            self.fault(at, format!("no version of `{name}` is recorded"), hint);
        }
    }

    pub(super) fn matrix(&mut self, scenario: &Scenario) {
        let matrix = &scenario.matrix;
        let (tree, tools) = (&scenario.tree, &scenario.toolchain);
        let chosen = |dimension| match dimension {
            // The `srctree` of a whole kernel has to be written; there it is one of several.
            Dimension::Kernel => (tree.kernel.is_some(), key_path!["tree", "kernel"]),
            Dimension::Pahole => (tools.pahole.is_some(), key_path!["toolchain", "pahole"]),
            Dimension::Make => (tools.make.is_some(), key_path!["toolchain", "make"]),
            Dimension::Compiler => (tools.compiler.is_some(), key_path!["toolchain", "compiler"]),
            Dimension::Jobs => (scenario.make.jobs.is_some(), key_path!["make", "jobs"]),
        };
        for dimension in Dimension::ALL {
            let name = dimension.name();
            let values = matrix.values(dimension);
            if values.is_empty() {
                continue;
            }
            if let Some((message, hint)) = unfit(scenario, dimension) {
                self.fault(&key_path!["matrix", name], message, hint);
            }
            let (twice, at) = chosen(dimension);
            if twice {
                let hint = "leave one of the two out";
                self.fault(&at, format!("`matrix.{name}` chooses it already"), hint);
            }
            for (n, value) in values.iter().enumerate() {
                let at = key_path!["matrix", name, n];
                let is_tool = matches!(dimension, Dimension::Pahole | Dimension::Make);
                if is_tool && !names_a_tool(value) {
                    let hint = "`system`, a version such as `1.30`, or the absolute path of a program";
                    self.fault(&at, format!("`{value}` is no {name}"), hint);
                } else if values[..n].contains(value) {
                    self.fault(&at, format!("`{value}` is listed twice"), "leave one of the two out");
                }
            }
        }
        let lengths = Dimension::ALL.map(|dimension| matrix.values(dimension).len().max(1));
        if lengths.into_iter().fold(1_usize, usize::saturating_mul) > CELLS {
            let message = format!("these are more than {CELLS} combinations");
            self.fault(&key_path!["matrix"], message, "make shorter lists, or more scenarios");
            return;
        }
        let all = Matrix { except: Vec::new(), ..matrix.clone() }.cells();
        for (n, except) in matrix.except.iter().enumerate() {
            let at = key_path!["matrix", "except", n];
            if except.why.trim().is_empty() {
                let hint = "say why there is nothing to be tested";
                self.fault(&[&at[..], &key_path!["why"]].concat(), "what is left out needs a reason", hint);
            }
            let alone = Matrix { except: vec![except.clone()], ..matrix.clone() };
            if alone.cells().len() == all.len() {
                self.fault(&at, "no combination has this", "name values of the lists, as they are written there");
            }
        }
        if matrix.cells().is_empty() {
            self.fault(&key_path!["matrix", "except"], "every combination is left out", "leave some");
        }
    }
}
