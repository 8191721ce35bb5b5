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
        let found = named(&step.command, step.label.as_deref(), within(step), definitions);
        if let (Some(found), None) = (found, &step.label) {
            step.label = silenced(step, found, definitions);
        }
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
    /// What stands there.
    value: String,
    pattern: Vec<Piece>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    /// This text, blanks folded.
    Text(String),
    /// `$@`.
    Target,
    /// The expansion of something.
    Any,
}

impl Piece {
    /// Whether it may stand for anything.
    fn is_open(&self) -> bool {
        !matches!(self, Self::Text(_))
    }
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
    (plain && !pattern.is_empty()).then(|| Definition {
        name: name.into(),
        file: file.into(),
        line,
        quiet,
        value: right.trim().into(),
        pattern,
    })
}

/// A value as what has to be there and what may be anything (GNU make manual, "Basics of Variable References").
fn pieces(value: &str) -> Vec<Piece> {
    let mut pieces: Vec<Piece> = Vec::new();
    let mut text = String::new();
    let mut rest = value.trim();
    while let Some(at) = rest.find('$') {
        text.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let mut piece = Piece::Any;
        match rest.chars().next() {
            Some('$') => {
                text.push('$');
                rest = &rest[1..];
                continue;
            }
            Some('@') => {
                piece = Piece::Target;
                rest = &rest[1..];
            }
            Some(open @ ('(' | '{')) => rest = &rest[closing(rest, open)..],
            Some(one) => rest = &rest[one.len_utf8()..],
            None => {}
        }
        flush(&mut pieces, &mut text);
        if piece == Piece::Target || pieces.last() != Some(&Piece::Any) {
            pieces.push(piece);
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
    /// How much of a text it tells, in bytes, if the text can be its expansion or begin with it; and whether the target stands
    /// where it ought to.
    fn tells(&self, text: &str, target: Option<&str>) -> Option<(usize, bool)> {
        let mut rest = text;
        let mut told = 0;
        let (mut anywhere, mut aimed) = (false, false);
        for piece in &self.pattern {
            match piece {
                piece if piece.is_open() => {
                    let names = |target: &str| *piece == Piece::Target && rest.trim_start().starts_with(target);
                    aimed |= target.is_some_and(names);
                    anywhere = true;
                }
                Piece::Target | Piece::Any => {}
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
        Some((told, aimed))
    }

    /// Whether its name ends with what it makes and of what, as those of kbuild do: `cc_o_c`, `as_o_S`, `ld_ko_o`.
    fn is_of_kinds(&self, target: &str, body: &str) -> bool {
        let mut kinds = self.name.rsplit('_');
        let (Some(from), Some(to)) = (kinds.next(), kinds.next()) else { return false };
        let is = |path: &str, kind: &str| path.rsplit_once('.').is_some_and(|(_, extension)| extension == kind);
        let mut words = body.split([' ', ';']).filter(|word| *word != target);
        is(target, to) && words.any(|word| is(word, from))
    }
}

/// What a command is of the definitions that its make had read: the one of which most stands there. Where a label is
/// known, only those whose label can be that; where none is, `target` is what the command makes, as it says it.
#[must_use]
pub fn named<'d>(
    command: &str,
    label: Option<&str>,
    target: Option<&str>,
    definitions: &[&'d Definition],
) -> Option<&'d Definition> {
    let body = folded(body(command));
    let label_fits = |name: &str| {
        let label = label?;
        let quiet = definitions.iter().filter(|it| it.quiet && it.name == name);
        quiet.filter_map(|it| it.tells(label, None)).max()
    };
    definitions
        .iter()
        .filter(|it| !it.quiet)
        .filter_map(|&it| {
            let (told, aimed) = it.tells(body.trim(), target)?;
            let by_label = label_fits(&it.name);
            // Nothing of its own stands in it: it could be any.
            let fits = by_label.is_some() || label.is_none() && told >= if aimed { AIMED } else { ALONE };
            let kinds = target.is_some_and(|target| it.is_of_kinds(target, &body));
            fits.then(|| ((by_label.map_or(0, |(told, _)| told), kinds, aimed, told), it))
        })
        .max_by(|(a, x), (b, y)| a.cmp(b).then_with(|| (&y.file, y.line).cmp(&(&x.file, x.line))))
        .map(|(_, it)| it)
}

/// How many bytes of a definition have to stand in a command without a label, if the target is where it ought to be.
const AIMED: usize = 5;
/// The same if it is not.
const ALONE: usize = 8;

/// A step's target as its command says it: from the working directory.
fn within(step: &Step) -> Option<&str> {
    let target = step.target.as_deref()?;
    Some(target.strip_prefix(step.cwd.as_str()).and_then(|below| below.strip_prefix('/')).unwrap_or(target))
}

/// The label that `make -s` does not print: `quiet_cmd_X` of the same makefile, as far as it holds no more than the target and
/// the mark of modules, which are compiled with `-DMODULE` (scripts/Makefile.lib, `quiet_modtag`).
fn silenced(step: &Step, found: &Definition, definitions: &[&Definition]) -> Option<String> {
    let target = within(step)?;
    // It prints by itself what it does, the last of all that (scripts/link-vmlinux.sh).
    if found.name == "link_vmlinux" {
        return Some(format!("LD {target}"));
    }
    let quiet = definitions.iter().find(|it| it.quiet && (&it.name, &it.file) == (&found.name, &found.file))?;
    let mark = if step.command.split([' ', '\t']).any(|word| word == "-DMODULE") { "[M]" } else { "" };
    let label = quiet.value.replace("$(quiet_modtag)", mark).replace("$@", target);
    (!label.contains('$')).then(|| folded(label.trim()))
}

/// A command without what kbuild puts before it: `set -e; echo '  LABEL'; trap '...' SIGNAL; ...`.
#[must_use]
pub fn body(command: &str) -> &str {
    let mut rest = command.trim();
    loop {
        let word = rest.split([' ', ';']).next().unwrap_or_default();
        let after = rest[word.len()..].trim_start();
        let said = word == "echo" && after.starts_with("'  ") || word == "trap" && after.starts_with('\'');
        let silenced = rest.starts_with("exec >/dev/null;");
        let sets = rest.starts_with("set -e;");
        // So do makefiles that have no `if_changed`: the saved command is emptied before the label.
        let labelled = |end: usize| rest[end..].trim_start().starts_with("echo '  ");
        let empties = rest.starts_with(": >") && end_of_command(rest).is_some_and(labelled);
        if !(said || silenced || sets || empties || rest.starts_with(';')) {
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
        named(command, label, None, &all).map(|it| (it.name.clone(), it.line))
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
    fn where_nothing_is_printed_the_target_tells_as_well() {
        let text = format!(
            "{MODFINAL}quiet_cmd_as_o_S = AS $(quiet_modtag)  $@\n      cmd_as_o_S = $(CC) $(a_flags) -c -o $@ $<\n\
             quiet_cmd_cc_s_c = CC $(quiet_modtag)  $@\n      cmd_cc_s_c = $(CC) $(c_flags) -fverbose-asm -S -o $@ $<\n"
        );
        let definitions = definitions("m", &text);
        let all: Vec<&Definition> = definitions.iter().collect();
        let named = |command: &str, target: &str| {
            let found = named(command, None, Some(target), &all)?;
            let step = Step {
                command: command.into(),
                cwd: "obj".into(),
                target: Some(format!("obj/{target}")),
                ..Step::default()
            };
            Some((found.name.as_str(), silenced(&step, found, &all)?))
        };
        let label = |name: &'static str, label: &str| Some((name, label.to_owned()));
        assert_eq!(
            named("set -e; exec >/dev/null; gcc -O2 -c -o x/a.o ../a.c", "x/a.o"),
            label("cc_o_c", "CC [M] x/a.o")
        );
        assert_eq!(named("gcc -D__A__ -c -o x/a.o ../a.S", "x/a.o"), label("as_o_S", "AS x/a.o"));
        assert_eq!(named("gcc -DMODULE -D__A__ -c -o x/a.o ../a.S", "x/a.o"), label("as_o_S", "AS [M] x/a.o"));
        assert_eq!(named("gcc -fverbose-asm -S -o a.s a.c", "a.s"), label("cc_s_c", "CC a.s"));
        assert_eq!(named("gcc -c a.c -o b.o", "a.o"), None);
    }

    #[test]
    fn what_is_not_defined_has_no_name() {
        assert_eq!(found("cp a b", None), None);
        assert_eq!(found("gcc -c -o a.o a.c", None), None, "too little of it stands there");
        assert_eq!(found(BTF, Some("CC [M] a.o")), None, "another label");
    }

    #[test]
    fn references_may_hold_others() {
        assert_eq!(pieces("$(if $(x),$(y) z)a$$b $@"), [Piece::Any, Piece::Text("a$b".into()), Piece::Target]);
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
        assert_eq!(body("echo '#define A' > b.h; : > c"), "echo '#define A' > b.h; : > c");
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
