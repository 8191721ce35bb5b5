//! Changes of texts, by kind of file: what a developer writes every day, and what mostly still builds.

/// What is written in a file, as far as it matters for how it can be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// C.
    Source,
    /// What C files include.
    Header,
    /// Assembler, linker scripts: C's comments.
    Assembler,
    /// Says what is in a directory (`obj-y`).
    Objects,
    /// Rules of make.
    Rules,
    /// Declares symbols.
    Kconfig,
    /// A program that is not compiled.
    Script,
    /// Text that something is made of.
    Data,
}

/// Directories of what a build works with, as against what it builds. A change of what they do is a change of the build's own
/// rules: what it leads to would be the edit's fault.
const TOOLS: [&str; 3] = ["scripts/", "tools/", "usr/"];

/// How a file can be changed, if it can: text that a build may read.
#[must_use]
pub fn kind(path: &str, text: &str) -> Option<Kind> {
    let name = path.rsplit('/').next().unwrap_or(path);
    let is = |wanted: &str| name == wanted || name.starts_with(&format!("{wanted}."));
    let told = |path: &str| ["README", "LICENSE", "COPYING", "MAINTAINERS"].iter().any(|word| path.starts_with(word));
    let ends = |endings: &[&str]| endings.iter().any(|ending| name.ends_with(ending));
    let config = path.split('/').any(|part| part == "configs") || ends(&["_defconfig", ".config"]);
    if name.starts_with('.') || told(name) || config || ends(&[".md", ".rst", ".toml"]) || text.contains('\0') {
        return None;
    }
    let objects = || text.lines().any(|line| words_of_objects(line).is_some());
    Some(match () {
        () if is("Kconfig") => Kind::Kconfig,
        () if (is("Makefile") && path.contains('/') || is("Kbuild")) && !is_tool(path) && objects() => Kind::Objects,
        () if is("Makefile") || is("Kbuild") || is("GNUmakefile") || ends(&[".mk"]) => Kind::Rules,
        () if ends(&[".c"]) => Kind::Source,
        () if ends(&[".h"]) => Kind::Header,
        () if ends(&[".S", ".lds", ".ld", ".dts", ".dtsi"]) => Kind::Assembler,
        () if text.starts_with("#!") || ends(&[".sh", ".awk", ".sed", ".pl", ".py"]) => Kind::Script,
        () => Kind::Data,
    })
}

/// Whether a file is one of what a build works with.
#[must_use]
pub fn is_tool(path: &str) -> bool {
    TOOLS.iter().any(|dir| path.starts_with(dir))
}

/// A text of the file that is there once, what is to stand in its place, and that in a few words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replaced {
    /// The text.
    pub old: String,
    /// What it becomes.
    pub new: String,
    /// What that means.
    pub words: String,
}

/// Whether a text stands in another exactly once.
fn once(text: &str, part: &str) -> bool {
    let mut found = text.match_indices(part);
    found.next().is_some() && found.next().is_none()
}

/// Lines that can be told from all others, with those that may hold a number in code.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(move |line| line.trim().len() > 3 && once(text, line))
}

/// Every whole number that can be another one.
#[must_use]
pub fn numbers(kind: Kind, text: &str) -> Vec<Replaced> {
    let comment = |line: &str| match kind {
        Kind::Script | Kind::Objects | Kind::Rules | Kind::Kconfig => line.starts_with('#'),
        _ => line.starts_with("//") || line.starts_with('*') || line.contains("/*"),
    };
    let plain = |line: &&str| {
        let trimmed = line.trim_start();
        let preprocessor = trimmed.starts_with('#') && !trimmed.starts_with("#define ");
        let macro_of_arguments = trimmed.starts_with("#define ") && trimmed.contains('(');
        // A number in brackets is a length or an index, which bounds others; one in quotes is a text.
        let bounds = line.contains(['"', '[', '\'']) || line.contains("<<") || line.contains("asm");
        let is_code = kind == Kind::Script || !preprocessor;
        is_code && !bounds && !macro_of_arguments && !comment(trimmed)
    };
    let mut found = Vec::new();
    for line in lines(text).filter(plain) {
        for (at, digits) in literals(line) {
            let Ok(number) = digits.parse::<u32>() else { continue };
            let next = number.wrapping_add(1).to_string();
            let new = format!("{}{next}{}", &line[..at], &line[at + digits.len()..]);
            let words = format!("{} becomes {}", short(line), short(&new));
            found.push(Replaced { old: line.to_owned(), new, words });
        }
    }
    found
}

/// Decimal numbers of a line that are no part of anything else, with their places.
fn literals(line: &str) -> Vec<(usize, &str)> {
    let bytes = line.as_bytes();
    let mut found = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let length = bytes[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        if length == 0 {
            at += 1;
            continue;
        }
        let part =
            |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || b"_.$%#\\".contains(byte));
        let before = at.checked_sub(1).and_then(|at| bytes.get(at));
        if !part(before) && !part(bytes.get(at + length)) && length <= 6 {
            found.push((at, &line[at..at + length]));
        }
        at += length;
    }
    found
}

/// Every text in quotes that can be another one.
#[must_use]
pub fn strings(text: &str) -> Vec<Replaced> {
    let special = ["#", "MODULE_", "asm", "section", "EXPORT_", "alias", "__"];
    let plain = |line: &&str| {
        line.matches('"').count() == 2 && !line.contains('\\') && !special.iter().any(|word| line.contains(word))
    };
    lines(text)
        .filter(plain)
        .filter_map(|line| {
            let end = line.rfind('"')?;
            let new = format!("{}x{}", &line[..end], &line[end..]);
            Some(Replaced { old: line.to_owned(), words: format!("{} becomes {}", short(line), short(&new)), new })
        })
        .collect()
}

/// The numbers that a header defines (C11, 6.4.4.1), each by itself.
#[must_use]
pub fn constants(text: &str) -> Vec<&str> {
    let one = |line: &'_ str| -> Option<usize> {
        let mut words = line.strip_prefix("#define ")?.split_whitespace();
        let name = words.next().filter(|name| !name.contains('('))?;
        let value = words.next()?;
        (words.next().is_none() && is_number(value)).then_some(name.len())
    };
    text.lines().filter_map(|line| one(line).map(|length| &line["#define ".len()..][..length])).collect()
}

fn is_number(text: &str) -> bool {
    let digits = text.trim_end_matches(['u', 'U', 'l', 'L']);
    let hex = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X"));
    let all = |digits: &str, fits: fn(&u8) -> bool| !digits.is_empty() && digits.bytes().all(|byte| fits(&byte));
    hex.map_or_else(|| all(digits, u8::is_ascii_digit), |digits| all(digits, u8::is_ascii_hexdigit))
}

/// What a C file or header includes, with the lines: `#include <linux/hash.h>`, `linux/hash.h`.
#[must_use]
pub fn includes(text: &str) -> Vec<(&str, &str)> {
    let one = |line: &'_ str| -> Option<(usize, usize)> {
        let rest = line.strip_prefix("#include ")?;
        let close = if rest.starts_with('<') { '>' } else { '"' };
        let end = rest.get(1..)?.find(close)?;
        Some(("#include ".len() + 1, end))
    };
    text.lines().filter_map(|line| one(line).map(|(at, length)| (line, &line[at..at + length]))).collect()
}

/// The name by which others include a header, if it lies in a directory of headers.
#[must_use]
pub fn included_as(path: &str) -> Option<&str> {
    match path.strip_prefix("include/") {
        Some(name) => Some(name),
        None => path.split_once("/include/").map(|(_, name)| name),
    }
}

/// The variable and the words of a line that says what objects a directory has.
fn words_of_objects(line: &str) -> Option<(&str, Vec<&str>)> {
    let (name, rest) = line.split_once('=')?;
    let name = name.trim_end_matches([':', '+', ' ', '\t']);
    let list = ["obj-", "lib-"].iter().any(|list| name.starts_with(list));
    (list && !line.ends_with('\\')).then(|| (name, rest.split_whitespace().collect()))
}

/// The objects that a Makefile names.
#[must_use]
pub fn objects(text: &str) -> Vec<&str> {
    let mut found: Vec<&str> = text.lines().filter_map(words_of_objects).flat_map(|(_, words)| words).collect();
    found.retain(|word| word.ends_with(".o") && !word.contains('$'));
    found
}

/// Two objects or directories of a line in the other order.
#[must_use]
pub fn reordered(text: &str) -> Vec<Replaced> {
    let two = |line: &str| {
        let (_, words) = words_of_objects(line)?;
        let [first, second, ..] = words.as_slice() else { return None };
        let both = format!("{first} {second}");
        once(line, &both).then(|| Replaced {
            old: line.to_owned(),
            new: line.replacen(&both, &format!("{second} {first}"), 1),
            words: format!("{second} comes before {first}"),
        })
    };
    lines(text).filter_map(two).collect()
}

/// A module or a part that depends on a symbol is dropped: its line goes.
#[must_use]
pub fn dropped(text: &str) -> Vec<(Replaced, String)> {
    let one = |line: &str| {
        let (name, words) = words_of_objects(line)?;
        let [object] = words.as_slice() else { return None };
        let conditional = name.contains('$') || name == "obj-m";
        (conditional && object.ends_with(".o")).then(|| {
            let words = format!("{object} is dropped");
            (Replaced { old: format!("{line}\n"), new: String::new(), words }, (*object).to_owned())
        })
    };
    lines(text).filter_map(one).filter(|(replaced, _)| text.contains(&replaced.old)).collect()
}

/// Another default of a symbol.
#[must_use]
pub fn defaults(text: &str) -> Vec<Replaced> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("config ") {
        let start = at == 0 || rest.as_bytes()[at - 1] == b'\n';
        let stanza = &rest[at..];
        let end = stanza["config ".len()..].find("\nconfig ").map_or(stanza.len(), |end| end + "config ".len());
        rest = &stanza["config ".len()..];
        let stanza = &stanza[..end];
        let name = stanza.lines().next().unwrap_or_default().trim_start_matches("config ").trim();
        let Some(line) = stanza.lines().find(|line| line.trim_start().starts_with("default ")) else { continue };
        let value = line.trim_start().trim_start_matches("default ").trim();
        let new = match value {
            "y" => "n".to_owned(),
            "n" => "y".to_owned(),
            "m" => "n".to_owned(),
            number => match number.parse::<u32>() {
                Ok(number) => number.wrapping_add(1).to_string(),
                Err(_) => continue,
            },
        };
        let (Some(upto), false) = (stanza.find(line), name.starts_with("FAULT_")) else { continue };
        let old = stanza[..upto + line.len()].to_owned();
        if start && once(text, &old) {
            let replaced = format!("{}{}", &old[..old.len() - value.len()], new);
            found.push(Replaced { old, new: replaced, words: format!("{name}: default {value} becomes {new}") });
        }
    }
    found
}

/// The plain default of a symbol in a Kconfig file.
#[must_use]
pub fn default_of(text: &str, name: &str) -> Option<String> {
    let mut lines = text.lines().skip_while(|line| line.trim() != format!("config {name}")).skip(1);
    let line = lines
        .by_ref()
        .take_while(|line| !line.starts_with("config "))
        .find(|line| line.trim_start().starts_with("default "))?;
    let value = line.trim_start().trim_start_matches("default ").trim();
    let plain = matches!(value, "y" | "m" | "n") || value.parse::<u32>().is_ok();
    plain.then(|| value.to_owned())
}

/// The symbols that a text names: `CONFIG_FOO`.
pub fn symbols(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices("CONFIG_").map(|(at, word)| {
        let rest = &text[at + word.len()..];
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        &rest[..end]
    })
}

/// Variables that make's command line can set, with the numbers that they have else: `MINI_TAG ?= 0`.
#[must_use]
pub fn variables(text: &str) -> Vec<(&str, u32)> {
    let one = |line: &'_ str| -> Option<(usize, u32)> {
        let (name, value) = line.split_once("?=")?;
        let name = name.trim_end();
        let plain = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        (plain && !name.starts_with("KBUILD_")).then_some(name.len()).zip(value.trim().parse().ok())
    };
    text.lines().filter_map(|line| one(line).map(|(length, value)| (&line[..length], value))).collect()
}

/// A line in its first words.
#[must_use]
pub fn short(line: &str) -> String {
    let words: Vec<&str> = line.split_whitespace().collect();
    let joined = words.join(" ");
    match joined.char_indices().nth(48) {
        Some((at, _)) => format!("`{}…`", &joined[..at]),
        None => format!("`{joined}`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(found: Vec<Replaced>) -> Vec<String> {
        found.into_iter().map(|it| it.words).collect()
    }

    #[test]
    fn files_are_told_apart_and_what_no_build_reads_is_left_alone() {
        assert_eq!(kind("crypto/Makefile", "obj-m += md5.o\n"), Some(Kind::Objects));
        assert_eq!(kind("Makefile", "obj-m += md5.o\n"), Some(Kind::Rules));
        assert_eq!(kind("Kbuild", "obj-y += init/\n"), Some(Kind::Objects));
        assert_eq!(kind("scripts/Makefile.build", "obj-y :=\n"), Some(Kind::Rules));
        assert_eq!(kind("lib/Kconfig.debug", ""), Some(Kind::Kconfig));
        assert_eq!(kind("scripts/mk", "#!/bin/sh\n"), Some(Kind::Script));
        assert_eq!(kind("in", "text\n"), Some(Kind::Data));
        for path in ["README.md", "configs/defconfig", ".gitignore", "arch/x86/configs/a.config"] {
            assert_eq!(kind(path, ""), None, "{path}");
        }
    }

    #[test]
    fn numbers_are_those_of_code_that_stand_alone() {
        let text = "/* 7 */\n#define ROUNDS 16\n#if A > 3\n\tint a[4];\n\tb = (a << 7);\n\tc = x2 + 5;\n\tcase 1.5:\n\tu32 d = 0x10;\n";
        assert_eq!(
            told(numbers(Kind::Header, text)),
            ["`#define ROUNDS 16` becomes `#define ROUNDS 17`", "`c = x2 + 5;` becomes `c = x2 + 6;`"]
        );
        assert_eq!(numbers(Kind::Script, "FIRST=3\nn=$1\n").len(), 1);
        // What stands there twice cannot be told from the other.
        assert_eq!(numbers(Kind::Source, "\tn = 1;\n\tn = 1;\n"), []);
    }

    #[test]
    fn texts_macros_and_includes_are_found() {
        assert_eq!(
            told(strings("\tprintk(\"up\");\nMODULE_LICENSE(\"MIT\");\n")),
            ["`printk(\"up\");` becomes `printk(\"upx\");`"]
        );
        assert_eq!(constants("#define A 1\n#define B(x) 1\n#define C 0x1fu\n#define D\n#define E x\n"), ["A", "C"]);
        assert_eq!(
            includes("#include <a/b.h>\n#include \"c.h\"\n#include X\n"),
            [("#include <a/b.h>", "a/b.h"), ("#include \"c.h\"", "c.h")]
        );
        assert_eq!(included_as("arch/graft/include/linux/graft.h"), Some("linux/graft.h"));
        assert_eq!(included_as("drivers/a.h"), None);
    }

    #[test]
    fn lists_of_objects_are_reordered_and_lose_what_is_conditional() {
        let text = "obj-y := a.o b.o\nobj-$(CONFIG_C) += c.o\nccflags-y := -I$(obj)\n";
        assert_eq!(told(reordered(text)), ["b.o comes before a.o"]);
        assert_eq!(
            dropped(text).into_iter().map(|(it, object)| (it.old, object)).collect::<Vec<_>>(),
            [("obj-$(CONFIG_C) += c.o\n".to_owned(), "c.o".to_owned())]
        );
        assert_eq!(objects(text), ["a.o", "b.o", "c.o"]);
    }

    #[test]
    fn defaults_are_changed_with_what_they_are_the_defaults_of() {
        let text = "config A\n\tbool \"a\"\n\tdefault y\n\nconfig B\n\tint \"b\"\n\tdefault 4\n\nconfig FAULT_X\n\tbool \"f\"\n\tdefault n\n";
        let found = defaults(text);
        assert_eq!(
            found.iter().map(|it| it.words.as_str()).collect::<Vec<_>>(),
            ["A: default y becomes n", "B: default 4 becomes 5"]
        );
        assert_eq!(found[1].new, "config B\n\tint \"b\"\n\tdefault 5");
        assert_eq!((default_of(text, "B"), default_of(text, "C")), (Some("4".to_owned()), None));
        assert_eq!(symbols("obj-$(CONFIG_A) += a.o\n#ifdef CONFIG_B_C\n").collect::<Vec<_>>(), ["A", "B_C"]);
        assert_eq!(variables("MINI_TAG ?= 0\nKBUILD_VERBOSE ?= 0\nA ?= x\n"), [("MINI_TAG", 0)]);
    }
}
