//! What can be added to a source file without breaking what is made of it, by kind of file.

/// How a file is to be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Purpose {
    /// Its own bytes are to differ, and nothing else need.
    Touched,
    /// What is made of it is to differ.
    Changed,
}

/// How a kind of file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Syntax {
    /// `/* */`: C, what goes through its preprocessor, linker scripts, device trees, grammars.
    C,
    /// `//`
    Slashes,
    /// `#`
    Hash,
    /// `--`
    Dashes,
    /// Text in which nothing but an empty line is known to mean nothing.
    Text,
}

/// Endings of names and how such files are written. Kinds that a kernel's build reads, and a few of other trees.
const ENDINGS: &[(&str, Syntax)] = &[
    (".c", Syntax::C),
    (".h", Syntax::C),
    (".S", Syntax::C),
    (".cc", Syntax::C),
    (".cpp", Syntax::C),
    (".hpp", Syntax::C),
    (".cocci", Syntax::Slashes),
    (".dts", Syntax::C),
    (".dtsi", Syntax::C),
    (".lds", Syntax::C),
    (".ld", Syntax::C),
    (".l", Syntax::C),
    (".y", Syntax::C),
    (".inc", Syntax::C),
    (".rs", Syntax::Slashes),
    (".sh", Syntax::Hash),
    (".py", Syntax::Hash),
    (".pl", Syntax::Hash),
    (".awk", Syntax::Hash),
    (".sed", Syntax::Hash),
    (".mk", Syntax::Hash),
    (".tbl", Syntax::Hash),
    (".config", Syntax::Hash),
    (".conf", Syntax::Hash),
    (".gperf", Syntax::Hash),
    (".asn1", Syntax::Dashes),
];

/// Names that say how a file is written.
const NAMES: &[&str] = &["Makefile", "Kbuild", "Kconfig", "GNUmakefile", "makefile"];

/// What may be added at the end of the file, the first that is best; of no use twice in one file, so that `number` is in it.
///
/// # Errors
/// Why there is nothing.
pub fn forms(path: &str, bytes: &[u8], purpose: Purpose, number: usize) -> Result<Vec<String>, &'static str> {
    let Ok(text) = std::str::from_utf8(bytes) else { return Err("it is not text") };
    if text.contains('\0') {
        return Err("it is not text");
    }
    let name = path.rsplit('/').next().unwrap_or(path);
    let by_name = || NAMES.iter().any(|known| name == *known || name.starts_with(&format!("{known}.")));
    let by_ending = || ENDINGS.iter().find(|(ending, _)| name.ends_with(ending)).map(|(_, syntax)| *syntax);
    let syntax = match text.strip_prefix("#!") {
        Some(_) => Syntax::Hash,
        None if by_name() => Syntax::Hash,
        None => by_ending().unwrap_or(Syntax::Text),
    };
    // A last line without an end would swallow what is added.
    let start = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    let words = format!("kbuild-repro audit {number}");
    let added = match (purpose, syntax) {
        (Purpose::Touched, Syntax::C) => vec![format!("/* {words} */\n"), "\n".into()],
        (Purpose::Touched, Syntax::Slashes) => vec![format!("// {words}\n"), "\n".into()],
        (Purpose::Touched, Syntax::Hash) => vec![format!("# {words}\n"), "\n".into()],
        (Purpose::Touched, Syntax::Dashes) => vec![format!("-- {words}\n"), "\n".into()],
        (Purpose::Touched, Syntax::Text) => vec!["\n".into(), format!("# {words}\n")],
        // An object that nothing refers to and the compiler keeps all the same.
        (Purpose::Changed, Syntax::C) if name.ends_with(".c") => {
            vec![format!("static const char kbuild_repro_audit_{number}[] __attribute__((__used__)) = \"{words}\";\n")]
        }
        (Purpose::Changed, _) => return Err("no harmless change of what is made of it is known"),
    };
    Ok(added.into_iter().map(|text| format!("{start}{text}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(path: &str, text: &str) -> String {
        forms(path, text.as_bytes(), Purpose::Touched, 3).unwrap().swap_remove(0)
    }

    #[test]
    fn a_kind_of_file_is_known_by_its_name_or_first_line() {
        assert_eq!(first("include/a.h", "int a;\n"), "/* kbuild-repro audit 3 */\n");
        assert_eq!(first("scripts/mk", "#!/bin/sh\nx"), "\n# kbuild-repro audit 3\n");
        assert_eq!(first("lib/Makefile", ""), "# kbuild-repro audit 3\n");
        assert_eq!(first("a/Kconfig.debug", ""), "# kbuild-repro audit 3\n");
        assert_eq!(first("x509.asn1", ""), "-- kbuild-repro audit 3\n");
        assert_eq!(first("table.txt", "1 2\n"), "\n");
    }

    #[test]
    fn what_is_no_text_is_left_alone() {
        assert!(forms("logo.ppm", b"\xff\x00", Purpose::Touched, 1).is_err());
        assert!(forms("blob", b"a\0b", Purpose::Touched, 1).is_err());
        assert!(forms("a.sh", b"", Purpose::Changed, 1).is_err());
        assert!(forms("a.c", b"", Purpose::Changed, 1).unwrap()[0].contains("kbuild_repro_audit_1[]"));
    }
}
