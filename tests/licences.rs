//! Every dependency may be used under a licence of the list below. Works offline: cargo knows the licences of what it
//! has built with.

use std::path::Path;
use std::process::Command;

use serde_json::Value as Json;

/// Licences that go with `MIT OR Apache-2.0`, by SPDX identifier. A new one is a decision: add it with its reason.
const ALLOWED: &[(&str, &str)] = &[
    ("0BSD", "asks for nothing"),
    ("Apache-2.0", "our own"),
    ("Apache-2.0 WITH LLVM-exception", "asks for less than our own"),
    ("BSD-2-Clause", "asks for the notice"),
    ("BSD-3-Clause", "asks for the notice"),
    ("BSL-1.0", "asks for the notice, in sources only"),
    ("CC0-1.0", "asks for nothing"),
    ("ISC", "asks for the notice"),
    ("MIT", "our own"),
    ("MIT-0", "asks for nothing"),
    ("Unicode-3.0", "asks for the notice; tables of character properties"),
    ("Unlicense", "asks for nothing"),
    ("Zlib", "asks for the notice, in sources only"),
];

/// Packages under another licence, each with the reason why it is taken all the same.
const EXCEPTIONS: &[(&str, &str, &str)] = &[
    ("btf-rs", "LGPL-2.1-or-later", "linked statically: who passes a binary on must let it be linked again (README)"),
    ("btf-rs-derive", "LGPL-2.1-or-later", "part of btf-rs"),
];

fn excepted(name: &str, licence: &str) -> bool {
    EXCEPTIONS.iter().any(|(have, under, _)| *have == name && *under == licence)
}

fn allowed(licence: &str) -> bool {
    ALLOWED.iter().any(|(name, _)| *name == licence)
}

/// Whether an SPDX expression can be met: of `OR` one side, of `AND` both (SPDX specification, annex D: `AND` binds
/// closer). Before there were expressions `/` meant `OR`.
fn met(expression: &str) -> bool {
    let words = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let mut words: Vec<&str> = words.split_whitespace().rev().collect();
    let answer = either(&mut words);
    answer && words.is_empty()
}

/// `words` are the rest of the expression, the next one last.
fn either(words: &mut Vec<&str>) -> bool {
    let mut answer = both(words);
    while words.last() == Some(&"OR") {
        words.pop();
        answer |= both(words);
    }
    answer
}

fn both(words: &mut Vec<&str>) -> bool {
    let mut answer = one(words);
    while words.last() == Some(&"AND") {
        words.pop();
        answer &= one(words);
    }
    answer
}

fn one(words: &mut Vec<&str>) -> bool {
    match words.pop() {
        Some("(") => either(words) && words.pop() == Some(")"),
        Some(licence) if words.last() == Some(&"WITH") => {
            words.pop();
            words.pop().is_some_and(|exception| allowed(&format!("{licence} WITH {exception}")))
        }
        Some(licence) => allowed(licence),
        None => false,
    }
}

#[test]
fn expressions_are_read_as_spdx_has_them() {
    for good in [
        "MIT",
        "MIT OR GPL-3.0-only",
        "GPL-3.0-only OR MIT AND ISC",
        "(MIT OR Apache-2.0) AND Unicode-3.0",
        "MIT/GPL-2.0",
        "Apache-2.0 WITH LLVM-exception OR GPL-2.0-only",
    ] {
        assert!(met(good), "{good}");
    }
    for bad in ["", "GPL-3.0-only", "MIT AND GPL-3.0-only", "(MIT OR ISC) AND GPL-2.0", "(MIT", "MIT)", "MIT ISC"] {
        assert!(!met(bad), "{bad}");
    }
    // An exception takes nothing away, but it is another licence and another decision.
    assert!(!met("MIT WITH Something"));
}

#[test]
fn dependencies_have_licences_that_go_with_ours() {
    let output = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output();
        let output = output.expect("the toolchain that builds this");
        assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let version = output(&Path::new(&cargo).with_file_name("rustc").display().to_string(), &["-vV"]);
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).expect("rustc names its host");
    // Of this platform alone: others' dependencies were not downloaded.
    let arguments = ["metadata", "--offline", "--locked", "--format-version", "1", "--filter-platform", host];
    let metadata: Json = serde_json::from_str(&output(&cargo, &arguments)).expect("JSON");
    let packages = metadata["packages"].as_array().expect("a list");
    assert!(packages.len() > 50, "only {} packages", packages.len());
    let fits = |package: &Json| {
        let name = package["name"].as_str().unwrap_or_default();
        package["license"].as_str().is_some_and(|licence| met(licence) || excepted(name, licence))
    };
    let wrong: Vec<String> = packages
        .iter()
        .filter(|package| !fits(package))
        .map(|package| format!("{} {}: {}", package["name"], package["version"], package["license"]))
        .collect();
    assert!(wrong.is_empty(), "a licence that is not on the list:\n{}", wrong.join("\n"));
    for (name, ..) in EXCEPTIONS {
        let there = packages.iter().any(|package| package["name"].as_str() == Some(*name));
        assert!(there, "`{name}` is no dependency any more; take it off the list of exceptions");
    }
}
