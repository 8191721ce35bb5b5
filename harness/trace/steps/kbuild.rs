//! What kbuild calls a command: from the text that make gave to the shell, and the makefiles that it read.
//!
//! kbuild runs `cmd_X` by `$(call cmd,X)` or `$(call if_changed,X)` (scripts/Kbuild.include), which put around it what
//! prints the label and what removes a half-made target. The rest is the expansion of `cmd_X`. It is found again by
//! taking the literal pieces of every `cmd_X = ...` as a pattern, where each `$(...)` may stand for anything.

use std::collections::HashMap;
use std::path::Path;

use super::{Cmd, Step};
use crate::trace::{Deed, Trace};

/// Names the commands of the steps by the makefiles that their makes had read. `read` gives the text of a makefile and how
/// it is told; `None` if it is there no more.
pub fn name(trace: &Trace, steps: &mut [Step], read: &mut dyn FnMut(&Path) -> Option<(String, String)>) {
    let mut known: HashMap<u32, Vec<Definition>> = HashMap::new();
    let make = |step: &Step| trace.processes[*step.processes.first()? as usize].parent;
    for step in steps.iter() {
        let actions = make(step).map(|make| trace.processes[make as usize].actions.as_slice()).unwrap_or_default();
        for action in actions.iter().filter(|action| action.deed == Deed::Read) {
            known.entry(action.path).or_insert_with(|| match trace.path(action.path) {
                // Commands as they were run, thousands of them.
                path if path.extension().is_some_and(|extension| extension == "cmd") => Vec::new(),
                path => read(path).map(|(file, text)| definitions(&file, &text)).unwrap_or_default(),
            });
        }
    }
    let mut of_make: HashMap<u32, Vec<&Definition>> = HashMap::new();
    for step in steps {
        let Some(make) = make(step) else { continue };
        let definitions = of_make.entry(make).or_insert_with(|| {
            let read = trace.processes[make as usize].actions.iter().filter(|action| action.deed == Deed::Read);
            read.filter_map(|action| known.get(&action.path)).flatten().collect()
        });
        let found = named(&step.command, step.label.as_deref(), definitions);
        step.cmd = found.map(|it| Cmd { name: format!("cmd_{}", it.name), file: it.file.clone(), line: it.line });
    }
}

/// A `cmd_X = ...` in a makefile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Definition {
    /// As in `cmd_X`, without `cmd_`.
    pub name: String,
    /// The makefile.
    pub file: String,
    /// Line of the assignment, from 1.
    pub line: usize,
    /// Whether it is that of the label, `quiet_cmd_X`.
    quiet: bool,
    pattern: Vec<Piece>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    /// This text, blanks folded.
    Text(String),
    /// The expansion of something.
    Any,
}

/// The definitions in a makefile's text, in order.
#[must_use]
pub fn definitions(file: &str, text: &str) -> Vec<Definition> {
    let mut found = Vec::new();
    let mut lines = (1..).zip(text.lines());
    while let Some((line, first)) = lines.next() {
        let mut whole = first.to_owned();
        if let Some(name) = first.strip_prefix("define ").map(str::trim) {
            whole = format!("{name} =");
            // What stands between is the value, with its line breaks.
            for (_, next) in lines.by_ref().take_while(|(_, next)| next.trim() != "endef") {
                whole.push(' ');
                whole.push_str(next);
            }
        }
        while whole.ends_with('\\') {
            whole.pop();
            whole.push(' ');
            match lines.next() {
                Some((_, next)) => whole.push_str(next.trim_start()),
                None => break,
            }
        }
        found.extend(definition(file, line, &whole));
    }
    found
}

fn definition(file: &str, line: usize, text: &str) -> Option<Definition> {
    let (left, right) = text.split_once('=')?;
    let left = left.trim().trim_end_matches([':', '?', '+']).trim_end();
    // Of one target only: `target: cmd_X = ...`.
    let left = left.rsplit([' ', '\t', ':']).next()?;
    let (quiet, name) = match left.strip_prefix("quiet_cmd_") {
        Some(name) => (true, name),
        None => (false, left.strip_prefix("cmd_")?),
    };
    let pattern = pieces(right);
    // What goes around another command, as `cmd_and_savecmd`, is not what is done.
    let around = right.contains("$(cmd)") || right.contains("$(cmd_$(1))") || right.contains("$(call cmd");
    let plain = !name.is_empty() && !name.contains(['$', '(', ')']) && !around;
    (plain && !pattern.is_empty()).then(|| Definition { name: name.into(), file: file.into(), line, quiet, pattern })
}

/// A value as what has to be there and what may be anything (GNU make manual, "Basics of Variable References").
fn pieces(value: &str) -> Vec<Piece> {
    let mut pieces: Vec<Piece> = Vec::new();
    let mut text = String::new();
    let mut rest = value.trim();
    while let Some(at) = rest.find('$') {
        text.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        match rest.chars().next() {
            Some('$') => {
                text.push('$');
                rest = &rest[1..];
                continue;
            }
            Some(open @ ('(' | '{')) => rest = &rest[closing(rest, open)..],
            Some(one) => rest = &rest[one.len_utf8()..],
            None => {}
        }
        flush(&mut pieces, &mut text);
        if pieces.last() != Some(&Piece::Any) {
            pieces.push(Piece::Any);
        }
    }
    text.push_str(rest);
    flush(&mut pieces, &mut text);
    pieces
}

fn flush(pieces: &mut Vec<Piece>, text: &mut String) {
    let folded = folded(text);
    text.clear();
    // Only blanks: they go with the expansion beside them, which may be empty.
    if !folded.trim().is_empty() {
        pieces.push(Piece::Text(folded.trim().to_owned()));
    }
}

/// How long a reference in parentheses is, others inside it included.
fn closing(text: &str, open: char) -> usize {
    let close = if open == '(' { ')' } else { '}' };
    let mut depth = 0;
    for (at, c) in text.char_indices() {
        if c == open {
            depth += 1;
        } else if c == close {
            depth -= 1;
            if depth == 0 {
                return at + c.len_utf8();
            }
        }
    }
    text.len()
}

/// With every run of blanks as one.
fn folded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            ' ' | '\t' | '\n' => {
                if !out.ends_with(' ') {
                    out.push(' ');
                }
            }
            c => out.push(c),
        }
    }
    out
}

impl Definition {
    /// How much of a text it tells, in bytes, if the text can be its expansion or begin with it.
    fn tells(&self, text: &str) -> Option<usize> {
        let mut rest = text;
        let mut told = 0;
        let mut anywhere = false;
        for piece in &self.pattern {
            match piece {
                Piece::Any => anywhere = true,
                Piece::Text(text) => {
                    let at = rest.find(text.as_str())?;
                    if !anywhere && !rest[..at].trim().is_empty() {
                        return None;
                    }
                    rest = &rest[at + text.len()..];
                    told += text.len();
                    anywhere = false;
                }
            }
        }
        Some(told)
    }
}

/// What a command is of the definitions that its make had read: the one of which most stands there. Where a label is
/// known, only those whose label can be that.
#[must_use]
pub fn named<'d>(command: &str, label: Option<&str>, definitions: &[&'d Definition]) -> Option<&'d Definition> {
    let body = folded(body(command));
    let label_fits = |name: &str| {
        let label = label?;
        let quiet = definitions.iter().filter(|it| it.quiet && it.name == name);
        quiet.filter_map(|it| it.tells(label)).max()
    };
    definitions
        .iter()
        .filter(|it| !it.quiet)
        .filter_map(|&it| {
            let told = it.tells(body.trim())?;
            let by_label = label_fits(&it.name);
            // Nothing of its own stands in it: it could be any.
            let fits = by_label.is_some() || label.is_none() && told >= 8;
            fits.then(|| ((by_label.unwrap_or(0), told), it))
        })
        .max_by(|(a, x), (b, y)| a.cmp(b).then_with(|| (&y.file, y.line).cmp(&(&x.file, x.line))))
        .map(|(_, it)| it)
}

/// A command without what kbuild puts before it: `set -e; echo '  LABEL'; trap '...' SIGNAL; ...`.
#[must_use]
pub fn body(command: &str) -> &str {
    let mut rest = command.trim();
    loop {
        let word = rest.split([' ', ';']).next().unwrap_or_default();
        let quoted = matches!(word, "echo" | "trap") && rest[word.len()..].trim_start().starts_with('\'');
        let silenced = rest.starts_with("exec >/dev/null;");
        let sets = rest.starts_with("set -e;");
        // So do makefiles that have no `if_changed`: the saved command is emptied first.
        let empties = rest.starts_with(": >");
        if !(quoted || silenced || sets || empties || rest.starts_with(';')) {
            return rest;
        }
        let Some(end) = end_of_command(rest) else { return rest };
        // All there is: it is what was to be done.
        if rest[end..].trim().is_empty() {
            return rest;
        }
        rest = rest[end..].trim_start();
    }
}

/// After the first `;` that no single quotes enclose.
fn end_of_command(text: &str) -> Option<usize> {
    let mut inside = false;
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if !inside => escaped = true,
            '\'' => inside = !inside,
            ';' if !inside => return Some(at + 1),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From the Makefiles of Linux 6.12, shortened.
    const MODFINAL: &str = r#"
quiet_cmd_cc_o_c = CC [M]  $@
      cmd_cc_o_c = $(CC) $(filter-out $(CC_FLAGS_CFI), $(c_flags)) -c -o $@ $<

quiet_cmd_ld_ko_o = LD [M]  $@
      cmd_ld_ko_o =							\
	$(LD) -r $(KBUILD_LDFLAGS)					\
		$(KBUILD_LDFLAGS_MODULE) $(LDFLAGS_MODULE)		\
		-T scripts/module.lds -o $@ $(filter %.o, $^)

quiet_cmd_btf_ko = BTF [M] $@
      cmd_btf_ko = 							\
	if [ ! -f $(objtree)/vmlinux ]; then				\
		printf "Skipping BTF generation for %s due to unavailability of vmlinux\n" $@ 1>&2; \
	else								\
		LLVM_OBJCOPY="$(OBJCOPY)" $(PAHOLE) -J $(PAHOLE_FLAGS) $(MODULE_PAHOLE_FLAGS) --btf_base $(objtree)/vmlinux $@; \
		$(RESOLVE_BTFIDS) -b $(objtree)/vmlinux $@;		\
	fi;

define cmd_twice
	echo first > $@
	echo second >> $@
endef
"#;

    fn found(command: &str, label: Option<&str>) -> Option<(String, usize)> {
        let definitions = definitions("scripts/Makefile.modfinal", MODFINAL);
        let all: Vec<&Definition> = definitions.iter().collect();
        named(command, label, &all).map(|it| (it.name.clone(), it.line))
    }

    const PRELUDE: &str = "set -e;  echo '  BTF [M] a.ko';   trap 'rm -f a.ko; trap - HUP; kill -s HUP $$' HUP; ";
    const BTF: &str = "if [ ! -f ./vmlinux ]; then printf \"Skipping BTF generation for %s due to unavailability of \
                       vmlinux\\n\" a.ko 1>&2; else LLVM_OBJCOPY=\"objcopy\" pahole -J   --btf_base ./vmlinux a.ko; \
                       ./tools/bpf/resolve_btfids/resolve_btfids -b ./vmlinux a.ko; fi;";

    #[test]
    fn a_command_is_known_by_its_definition_with_label_and_without() {
        let btf = Some(("btf_ko".to_owned(), 12));
        assert_eq!(found(&format!("{PRELUDE}{BTF}"), Some("BTF [M] a.ko")), btf);
        assert_eq!(found(&format!("set -e; exec >/dev/null; {BTF}"), None), btf);
        let ld = "ld -r -m elf_x86_64 --build-id=sha1 -T scripts/module.lds -o a.ko a.o a.mod.o; \
                  printf '%s\\n' 'savedcmd_a.ko := ld -r' > .a.ko.cmd";
        let known = Some(("ld_ko_o".to_owned(), 6));
        assert_eq!(found(&format!("set -e; echo '  LD [M]  a.ko'; {ld}"), Some("LD [M] a.ko")), known);
        assert_eq!(found(ld, None), known);
        assert_eq!(found("set -e; gcc -O2 -c -o a.o a.c", Some("CC [M] a.o")), Some(("cc_o_c".to_owned(), 3)));
        assert_eq!(found("echo first > x echo second >> x", None), Some(("twice".to_owned(), 20)));
    }

    #[test]
    fn what_is_not_defined_has_no_name() {
        assert_eq!(found("cp a b", None), None);
        assert_eq!(found("gcc -c -o a.o a.c", None), None, "too little of it stands there");
        assert_eq!(found(BTF, Some("CC [M] a.o")), None, "another label");
    }

    #[test]
    fn references_may_hold_others() {
        assert_eq!(pieces("$(if $(x),$(y) z)a$$b $@"), [Piece::Any, Piece::Text("a$b".into()), Piece::Any]);
        assert_eq!(pieces("  ${x} -o $(call y,$(z)"), [Piece::Any, Piece::Text("-o".into()), Piece::Any]);
        assert_eq!(pieces("$"), [Piece::Any]);
    }

    #[test]
    fn what_comes_before_a_command_is_taken_off() {
        assert_eq!(body(&format!("{PRELUDE}{BTF}")), BTF);
        assert_eq!(body("set -e; echo '  A b'; : ; x"), ": ; x");
        assert_eq!(body("set -e; : > .a.cmd; echo '  A b'; x; : > y"), "x; : > y");
        assert_eq!(body("set -e; : > a"), ": > a");
        assert_eq!(body("echo 'it is all'"), "echo 'it is all'");
        assert_eq!(body("cc x; echo '  A b'"), "cc x; echo '  A b'");
    }

    #[test]
    fn only_assignments_are_definitions() {
        let of = |text: &str| definitions("m", text).into_iter().map(|it| it.name).collect::<Vec<_>>();
        assert_eq!(of("cmd_a = x\nother = y\n\tcmd_b := z\n$(obj)/c: cmd_c = q\n# cmd_d\n"), ["a", "b", "c"]);
        assert_eq!(of("cmd_$(x) = a\ncmd_ = b\ncmd_e =\n"), [""; 0]);
        assert_eq!(of("cmd_and_savecmd = \\\n\t$(cmd); printf x > $(dot-target).cmd\n"), [""; 0]);
    }
}
