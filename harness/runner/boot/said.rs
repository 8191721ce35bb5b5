//! What a machine told, as `boot/init.c` describes it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Module;

/// What stands for the kernel's words where it refuses BTF and says nothing.
pub const NO_REASON: &str = "it does not say why";
/// Lines of the kernel's log that are kept of one module.
const KEPT: usize = 40;

/// What came of booting a kernel.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Booted {
    /// What `uname -r` says; none if it did not get that far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<String>,
    /// Whether the kernel has BTF of its own, without which it does not look at that of modules.
    pub has_btf: bool,
    /// The modules, in the order in which they were loaded.
    pub loads: Vec<Load>,
    /// How it ended, where that was before its time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// The end of its console then.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub console: Vec<String>,
}

/// What the kernel made of a module.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Load {
    /// What the kernel calls it.
    pub module: String,
    /// Why it was refused, as errno(3) has it; 0 if it was loaded.
    pub errno: i32,
    /// Whether the kernel took its BTF, and shows it under `/sys/kernel/btf`.
    pub btf: bool,
    /// What the kernel logged meanwhile, without times and levels.
    pub log: Vec<String>,
}

impl Load {
    /// Why the BTF was refused, in the kernel's words, if it was.
    #[must_use]
    pub fn refusal(&self) -> Option<&str> {
        let refused = |line: &&String| line.starts_with("failed to validate module [");
        let at = self.log.iter().position(|line| refused(&line))?;
        // What is wrong stands before, alone or behind the type: `BPF:[7] FUNC (anon)`, `BPF: Invalid name`; `BPF: [7] Invalid kind:0`.
        let why = self.log[..at].iter().rev().find_map(|line| {
            let words = line.strip_prefix("BPF:")?.trim();
            let of_type = words.strip_prefix('[').and_then(|words| words.split_once("] "));
            match of_type {
                // `[7] STRUCT name` names the type.
                Some((_, what)) => {
                    (!what.starts_with(|c: char| c.is_uppercase()) || what.starts_with("Invalid ")).then_some(what)
                }
                None => (!words.is_empty()).then_some(words),
            }
        });
        Some(why.unwrap_or(NO_REASON))
    }
}

/// Takes apart what a machine told that was to load these modules.
pub(super) fn heard(text: &str, modules: &[Module]) -> Booted {
    let mut booted = Booted::default();
    let mut ended = false;
    // Lines of the plan, from 0, and the modules they load.
    let mut lines = Vec::new();
    for module in modules {
        lines.push(Some(module));
        lines.extend(module.unload.then_some(None));
    }
    for line in text.lines() {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match (word, booted.loads.last_mut()) {
            ("@boot", _) => booted.release = Some(rest.to_owned()),
            ("@btf", None) => booted.has_btf = rest == "1",
            ("@btf", Some(load)) => load.btf = rest == "1",
            ("@load", _) => {
                let mut numbers = rest.split(' ').map(str::parse::<usize>);
                let (Some(Ok(line)), Some(Ok(errno))) = (numbers.next(), numbers.next()) else { continue };
                let Some(module) = lines.get(line).copied().flatten() else { continue };
                let errno = i32::try_from(errno).unwrap_or(i32::MAX);
                booted.loads.push(Load { module: module.name.clone(), errno, ..Load::default() });
            }
            ("@end", _) => ended = true,
            (_, Some(load)) if line.starts_with('|') && load.log.len() < KEPT => load.log.push(message(&line[1..])),
            _ => {}
        }
    }
    if !ended {
        booted.problem = Some(match (&booted.release, modules.get(booted.loads.len())) {
            (None, _) => "the kernel did not come to its first process".to_owned(),
            (Some(_), Some(next)) => format!("it ended as it loaded `{}`", next.name),
            (Some(_), None) => "it ended after the last module".to_owned(),
        });
    }
    booted
}

/// A line of the kernel's log without its level and time: `<4>[    1.234567] text`.
fn message(line: &str) -> String {
    let line = line.strip_prefix('<').and_then(|line| line.split_once('>')).map_or(line, |(_, rest)| rest);
    let timed = line.strip_prefix('[').and_then(|line| line.split_once("] "));
    let is_time = |text: &str| text.trim().chars().all(|c| c.is_ascii_digit() || c == '.');
    timed.filter(|(time, _)| is_time(time)).map_or(line, |(_, rest)| rest).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn module(name: &str, unload: bool) -> Module {
        Module { name: name.into(), file: name.into(), unload }
    }

    #[test]
    fn what_a_machine_tells() {
        let modules = [module("a", true), module("b", false), module("c", false)];
        let text = "SeaBIOS\n@boot 6.12.1\n@btf 1\n@load 0 0\n@btf 1\n@load 2 22\n\
                    |<4>[    1.5] BPF:[7] FUNC (anon)\n|<4>[    1.5] BPF: \n|<4>[    1.5] BPF: Invalid name\n|<4>[    1.5] BPF: \n\
                    |<4>[    1.6] failed to validate module [b] BTF: -22\n@btf 0\n@load 3 2\n\
                    |<3>[    1.7] c: Unknown symbol f (err -2)\n@btf 0\n@end\n";
        let booted = heard(text, &modules);
        assert_eq!((booted.release.as_deref(), booted.has_btf, &booted.problem), (Some("6.12.1"), true, &None));
        let told: Vec<_> = booted.loads.iter().map(|load| (load.module.as_str(), load.errno, load.btf)).collect();
        assert_eq!(told, [("a", 0, true), ("b", 22, false), ("c", 2, false)]);
        assert_eq!(booted.loads[1].refusal(), Some("Invalid name"));
        assert_eq!(
            (booted.loads[2].refusal(), booted.loads[2].log[0].as_str()),
            (None, "c: Unknown symbol f (err -2)")
        );
    }

    #[test]
    fn a_machine_that_ends_before_its_time() {
        let modules = [module("a", false), module("b", false)];
        let problem = |text: &str| heard(text, &modules).problem.expect("it did not end");
        assert_eq!(problem(""), "the kernel did not come to its first process");
        assert_eq!(problem("@boot 6.1\n@btf 1\n@load 0 0\n"), "it ended as it loaded `b`");
        // What a kernel under test may say is no reason to fall over.
        for text in ["@load\n@load 9 9\n@load 0 x\n|", "@boot\n|<\n@btf\n@load 0 99999999999\n|[\n|<4>[x] y"] {
            heard(text, &modules);
        }
    }
}
