//! As much of Kconfig as it takes to say what is wrong with a symbol: where it is defined and what it
//! depends on. Source: `Documentation/kbuild/kconfig-language.rst`.

use std::collections::BTreeMap;

use super::{FileState, Lower, State};

/// What values a symbol takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    /// `y`, `n`.
    Bool,
    /// `y`, `m`, `n`.
    Tristate,
    /// A decimal number.
    Int,
    /// A hexadecimal number, with or without `0x`.
    Hex,
    /// Anything.
    String,
}

impl Type {
    fn of(word: &str) -> Option<Self> {
        Some(match word {
            "bool" | "def_bool" => Self::Bool,
            "tristate" | "def_tristate" => Self::Tristate,
            "int" => Self::Int,
            "hex" => Self::Hex,
            "string" => Self::String,
            _ => return None,
        })
    }

    fn takes(self, value: &str) -> bool {
        match self {
            Self::Bool => matches!(value, "y" | "n"),
            Self::Tristate => matches!(value, "y" | "m" | "n"),
            // `n` stands for "is not set", which a fragment may say of any symbol.
            Self::Int => value == "n" || value.parse::<i64>().is_ok(),
            Self::Hex => value == "n" || u64::from_str_radix(value.trim_start_matches("0x"), 16).is_ok(),
            Self::String => true,
        }
    }

    /// The values in words.
    #[must_use]
    pub fn values(self) -> &'static str {
        match self {
            Self::Bool => "`y` or `n`",
            Self::Tristate => "`y`, `m` or `n`",
            Self::Int => "a decimal number",
            Self::Hex => "a hexadecimal number, e.g. `0x1000`",
            Self::String => "a string",
        }
    }
}

/// Where a symbol is defined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Symbol {
    /// The Kconfig file.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Its `depends on` lines.
    pub depends: Vec<String>,
    /// Whether a user can set it: it has a prompt.
    pub prompt: bool,
    /// Its type, if this definition states it.
    pub kind: Option<Type>,
}

impl Symbol {
    /// The architecture whose own Kconfig file this is, if it is one's.
    #[must_use]
    pub fn arch(&self) -> Option<&str> {
        self.file.strip_prefix("arch/")?.split_once('/').map(|(arch, _)| arch)
    }

    fn is_foreign_to(&self, arch: &str) -> bool {
        self.arch().is_some_and(|own| own != arch)
    }
}

/// All symbols of a tree.
#[derive(Debug, Clone, Default)]
pub struct Index(BTreeMap<String, Vec<Symbol>>);

impl Index {
    /// Reads every `Kconfig*` file of the tree. What cannot be read is left out: the configuration
    /// itself will tell.
    #[must_use]
    pub fn read(lower: &dyn Lower) -> Self {
        let mut index = Self::default();
        for path in lower.below("").unwrap_or_default() {
            let name = path.rsplit('/').next().unwrap_or("");
            if name.starts_with("Kconfig")
                && let Ok(Some(file)) = lower.read(&path)
            {
                index.add(&path, &String::from_utf8_lossy(&file.bytes));
            }
        }
        index
    }

    /// Takes out what only Kconfig files of other architectures define, which this one never reads, and gives it.
    pub fn split_other_architectures(&mut self, arch: &str) -> Self {
        let mut others = Self::default();
        for (name, definitions) in &mut self.0 {
            let (other, seen) = std::mem::take(definitions).into_iter().partition(|symbol| symbol.is_foreign_to(arch));
            *definitions = seen;
            if definitions.is_empty() {
                others.0.insert(name.clone(), other);
            }
        }
        self.0.retain(|_, definitions| !definitions.is_empty());
        others
    }

    /// Adds the symbols of another index.
    pub fn merge(&mut self, other: Self) {
        for (name, definitions) in other.0 {
            self.0.entry(name).or_default().extend(definitions);
        }
    }

    /// The symbols of the Kconfig files that a scenario wrote or changed.
    #[must_use]
    pub fn of(state: &State) -> Self {
        let mut index = Self::default();
        for (path, file) in &state.files {
            if let FileState::Present { bytes, .. } = file
                && path.rsplit('/').next().is_some_and(|name| name.starts_with("Kconfig"))
            {
                index.add(path, &String::from_utf8_lossy(bytes));
            }
        }
        index
    }

    /// Adds the symbols of one Kconfig file.
    pub fn add(&mut self, file: &str, text: &str) {
        let mut current: Option<String> = None;
        for (number, line) in text.lines().enumerate() {
            let mut words = line.split_whitespace();
            match words.next() {
                Some("config" | "menuconfig") if !line.starts_with("\t\t") => {
                    current = words.next().map(str::to_owned);
                    if let Some(name) = &current {
                        let symbol = Symbol {
                            file: file.into(),
                            line: number + 1,
                            depends: Vec::new(),
                            prompt: false,
                            kind: None,
                        };
                        self.0.entry(name.clone()).or_default().push(symbol);
                    }
                }
                Some("choice" | "endchoice" | "menu" | "endmenu" | "if" | "endif" | "source" | "comment") => {
                    current = None;
                }
                Some("depends") => {
                    if let Some(symbol) = self.last(current.as_deref()) {
                        symbol.depends.push(words.skip(1).collect::<Vec<_>>().join(" "));
                    }
                }
                // `help` is free text, which may begin a line with any of these words.
                Some("help" | "---help---") => current = None,
                Some(word) if word == "prompt" || Type::of(word).is_some() => {
                    if let Some(symbol) = self.last(current.as_deref()) {
                        symbol.prompt |= line.contains('"');
                        symbol.kind = symbol.kind.or(Type::of(word));
                    }
                }
                _ => {}
            }
        }
    }

    fn last(&mut self, name: Option<&str>) -> Option<&mut Symbol> {
        self.0.get_mut(name?)?.last_mut()
    }

    /// The definitions of a symbol.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&[Symbol]> {
        self.0.get(name).map(Vec::as_slice)
    }

    /// Why a symbol cannot have this value, if so: the type of all its definitions that state one.
    #[must_use]
    pub fn refuses(&self, name: &str, value: &str) -> Option<Type> {
        let kind = self.get(name)?.iter().find_map(|symbol| symbol.kind)?;
        (!kind.takes(value)).then_some(kind)
    }

    /// Whether no Kconfig file was found.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The symbol, of these or of `own`, with the name nearest to a mistyped one.
    #[must_use]
    pub fn nearest<'a>(&'a self, own: &'a Self, name: &str) -> Option<&'a str> {
        // 20,000 symbols: compare only names of about the same length.
        let close = self.0.keys().chain(own.0.keys()).filter(|have| have.len().abs_diff(name.len()) <= 2);
        crate::scenario::nearest(name, close.map(String::as_str))
    }
}

/// The symbols a fragment or a `.config` sets: name (without `CONFIG_`) and value, `n` for "is not set".
#[must_use]
pub fn assignments(text: &str) -> Vec<(String, String)> {
    text.lines().filter_map(assignment).collect()
}

fn assignment(line: &str) -> Option<(String, String)> {
    let line = line.trim();
    if let Some(rest) = line.strip_prefix("# CONFIG_") {
        return rest.strip_suffix(" is not set").map(|name| (name.to_owned(), "n".to_owned()));
    }
    let (name, value) = line.strip_prefix("CONFIG_")?.split_once('=')?;
    Some((name.to_owned(), unquote(value).to_owned()))
}

/// A string value without its quotes.
fn unquote(value: &str) -> &str {
    value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value)
}

/// One line of a `.config` that sets a symbol. What is not a tristate, number or quoted is quoted.
#[must_use]
pub fn line(name: &str, value: &str) -> String {
    let plain = matches!(value, "y" | "m")
        || value.parse::<i64>().is_ok()
        || value.strip_prefix("0x").is_some_and(|hex| u64::from_str_radix(hex, 16).is_ok())
        || value.starts_with('"');
    match value {
        "n" => format!("# CONFIG_{name} is not set\n"),
        value if plain => format!("CONFIG_{name}={value}\n"),
        value => format!("CONFIG_{name}=\"{}\"\n", value.replace('\\', "\\\\").replace('"', "\\\"")),
    }
}

/// A symbol that did not end up as asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unmet {
    /// The symbol.
    pub name: String,
    /// What was asked.
    pub asked: String,
    /// What it is; `None` if the configuration does not mention it.
    pub is: Option<String>,
}

/// Which of the symbols asked for are otherwise in the final `.config`. Later askings win.
#[must_use]
pub fn unmet(config: &str, asked: &[(String, String)]) -> Vec<Unmet> {
    let have: BTreeMap<String, String> = assignments(config).into_iter().collect();
    let wanted: BTreeMap<&String, &String> = asked.iter().map(|(name, value)| (name, value)).collect();
    wanted
        .into_iter()
        .filter_map(|(name, value)| {
            let is = have.get(name);
            let met = match is {
                None => value == "n",
                Some(is) => is == unquote(value),
            };
            (!met).then(|| Unmet { name: name.clone(), asked: value.clone(), is: is.cloned() })
        })
        .collect()
}

impl Unmet {
    /// The error in words: the symbol, what it depends on, and where that stands.
    #[must_use]
    pub fn explain(&self, index: &Index) -> (String, String) {
        let is = self.is.as_deref().unwrap_or("not set");
        let message = format!("symbol `{}` was asked to be `{}` and is {is}", self.name, self.asked);
        let hint = match index.get(&self.name) {
            None => "no Kconfig file of the tree has it".to_owned(),
            Some(definitions) => {
                let lines: Vec<String> = definitions
                    .iter()
                    .map(|symbol| {
                        let depends = if symbol.depends.is_empty() {
                            "no dependency of its own (look at the menus and `if`s around it)".to_owned()
                        } else {
                            format!("depends on {}", symbol.depends.join(" && "))
                        };
                        let prompt = if symbol.prompt { "" } else { ", has no prompt: only a `select` sets it" };
                        format!("{}:{}: {depends}{prompt}", symbol.file, symbol.line)
                    })
                    .collect();
                lines.join("; ")
            }
        };
        (message, hint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_symbol_is_found_with_what_it_depends_on() {
        let mut index = Index::default();
        index.add("lib/Kconfig.debug", "config DEBUG_INFO_BTF\n\tbool \"BTF\"\n\tdepends on !FOO\n\tdepends on BAR\n");
        let symbol = &index.get("DEBUG_INFO_BTF").unwrap()[0];
        assert_eq!((symbol.line, symbol.depends.join(";"), symbol.prompt), (1, "!FOO;BAR".into(), true));
        let mut own = Index::default();
        own.add("graft/Kconfig", "config GRAFT_NEW\n\tbool \"new\"\n");
        assert_eq!(index.nearest(&own, "DEBUG_INFO_BFT"), Some("DEBUG_INFO_BTF"));
        assert_eq!(index.nearest(&own, "GRAFT_NWE"), Some("GRAFT_NEW"));
    }

    #[test]
    fn what_only_another_architecture_defines_is_out_of_sight() {
        let mut index = Index::default();
        index.add("arch/Kconfig", "config KPROBES\n\tbool \"probes\"\n");
        index.add("arch/x86/Kconfig", "config X86_KERNEL_IBT\n\tbool \"ibt\"\nconfig SMP\n\tbool \"smp\"\n");
        index.add("arch/s390/Kconfig", "config SMP\n\tdef_bool y\n");
        let others = index.clone().split_other_architectures("x86");
        assert!(others.0.is_empty(), "s390 is not the only one that has SMP: {others:?}");
        let others = index.split_other_architectures("graft");
        assert_eq!(index.0.keys().collect::<Vec<_>>(), ["KPROBES"]);
        assert_eq!(others.get("X86_KERNEL_IBT").unwrap()[0].arch(), Some("x86"));
        assert_eq!(others.get("SMP").map(<[_]>::len), Some(2));
    }

    #[test]
    fn unmet_symbols_are_told_and_absent_counts_as_n() {
        let config = "CONFIG_A=y\n# CONFIG_B is not set\nCONFIG_S=\"x y\"\n";
        let ask = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(unmet(config, &[ask("A", "y"), ask("B", "n"), ask("C", "n"), ask("S", "x y")]), []);
        let bad = unmet(config, &[ask("A", "m"), ask("C", "y")]);
        assert_eq!(bad.iter().map(|u| u.name.as_str()).collect::<Vec<_>>(), ["A", "C"]);
    }

    #[test]
    fn a_line_quotes_strings_only() {
        assert_eq!(line("A", "y"), "CONFIG_A=y\n");
        assert_eq!(line("A", "n"), "# CONFIG_A is not set\n");
        assert_eq!(line("A", "-x \"q\""), "CONFIG_A=\"-x \\\"q\\\"\"\n");
        assert_eq!(line("A", "0x10"), "CONFIG_A=0x10\n");
    }
}
