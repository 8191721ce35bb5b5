//! What a schema cannot say: keys that need or exclude each other, paths, names that refer to others.

mod tools;

use super::document::{Document, Key};
use super::error::{Errors, Problem};
use super::{Change, Experiment, Fault, HOST_NAME, Interrupt, Moment, OBJ, SRC, Scenario, UMASK, Whom};
use crate::key_path;

/// Variables by which make takes options and further makefiles (GNU make manual, "Variables Used by Implicit Rules"
/// and "Communicating Options to a Sub-make").
const MAKES_OWN: &[&str] =
    &["MAKEFLAGS", "GNUMAKEFLAGS", "MFLAGS", "MAKEOVERRIDES", "MAKEFILES", "MAKELEVEL", "MAKE_TERMOUT", "MAKE_TERMERR"];

/// Directories that the sandbox itself fills.
const SYSTEM: &[&str] = &["/proc", "/sys", "/dev"];
/// Directories of the system that a tree in their place would hide.
const HIDES: &[&str] = &["/", "/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc"];

/// Bytes of the longest host name: `__NEW_UTS_LEN` in include/uapi/linux/utsname.h.
const HOST_NAME_MOST: usize = 64;

/// Names in the record of a scenario that no edit can have.
const RESERVED: &[&str] = &["control", "experiment", "evidence", "record.json", "log", "trees"];

/// The most bytes the name of an edit may have: it becomes part of file names.
const NAME: usize = 100;

/// Checks a scenario that fits the schema, and marks the document as damaged where it is wrong.
pub(super) fn check(scenario: &Scenario, document: &mut Document) -> Errors {
    let mut checker = Checker { document, errors: Errors::default(), places: Vec::new() };
    checker.scenario(scenario);
    let Checker { errors, places, .. } = checker;
    for place in places {
        document.damage(&place);
    }
    errors
}

/// Why `path` cannot name something inside a tree, if so.
#[must_use]
pub(crate) fn path_fault(path: &str) -> Option<&'static str> {
    if path.is_empty() {
        Some("is empty")
    } else if path.starts_with('/') {
        Some("is absolute; paths are relative to the tree")
    } else if path.contains('\0') {
        Some("holds a NUL byte")
    } else if path.len() > 4000 || path.split('/').any(|part| part.len() > 255) {
        Some("is longer than a path can be")
    } else if path.split('/').any(|part| part == "..") {
        Some("leaves the tree by `..`")
    } else if path.split('/').any(|part| part.is_empty() || part == ".") {
        Some("has an empty or `.` part")
    } else {
        None
    }
}

struct Checker<'a> {
    document: &'a Document,
    errors: Errors,
    /// The keys at which they are.
    places: Vec<Vec<Key>>,
}

impl Checker<'_> {
    fn fault(&mut self, at: &[Key], message: impl Into<String>, hint: impl Into<String>) {
        // What is wrong here was said; the rest would be its consequence.
        if !self.document.is_damaged(at) {
            self.errors.0.push(Problem::at_key(self.document, at, message).hint(hint));
            self.places.push(at.to_vec());
        }
    }

    /// Where the name of a key is wrong, and not its value.
    fn misnamed(&mut self, at: &[Key], message: impl Into<String>, hint: impl Into<String>) {
        if !self.document.is_damaged(at) {
            self.errors.0.push(Problem::at_name(self.document, at, message).hint(hint));
            self.places.push(at.to_vec());
        }
    }

    fn path(&mut self, at: &[Key], path: &str) {
        if let Some(fault) = path_fault(path) {
            self.fault(at, format!("path `{path}` {fault}"), "write it as the tree has it, e.g. `init/version.c`");
        }
    }

    fn scenario(&mut self, scenario: &Scenario) {
        if scenario.title.trim().is_empty() || scenario.title.contains('\n') {
            self.fault(
                &key_path!["title"],
                "the title must be one line",
                "say what is tested, e.g. `vmlinux alone changes: modules equal a clean build`",
            );
        }
        self.tree(scenario);
        self.make(scenario);
        self.toolchain(scenario);
        self.matrix(scenario);
        self.edits(scenario);
        self.expectations(scenario);
        self.versions_meant(scenario);
        if let Some(snapshots) = &scenario.snapshots {
            for (n, path) in snapshots.btf.iter().enumerate() {
                self.path(&key_path!["snapshots", "btf", n], path);
                if path.contains(['*', '?']) {
                    self.fault(
                        &key_path!["snapshots", "btf", n],
                        format!("`{path}` is a pattern"),
                        "snapshots are named one by one, so that a snapshot nobody asks for can be told",
                    );
                }
            }
            if snapshots.variants.is_empty() || snapshots.variants.iter().any(|variant| variant.is_empty()) {
                self.fault(
                    &key_path!["snapshots", "variants"],
                    "no toolchain is named",
                    "name what matters to the bytes, e.g. `variants = [{ pahole = \"1.24\", gcc = \"12\" }]`",
                );
            }
            let variants = snapshots.variants.iter().enumerate();
            for (n, name) in variants.flat_map(|(n, variant)| variant.keys().map(move |name| (n, name))) {
                self.tool_name(&key_path!["snapshots", "variants", n, name.as_str()], name);
            }
        }
    }

    fn tree(&mut self, scenario: &Scenario) {
        let tree = &scenario.tree;
        if ["/", "/proc", "/sys", "/dev"].contains(&tree.srctree.trim_end_matches('/')) || tree.srctree == "/" {
            let message = format!("`{}` is the system's own, and no source tree", tree.srctree);
            self.fault(&key_path!["tree", "srctree"], message, "the directory of the tree");
        }
        if tree.srctree.is_empty() {
            self.fault(
                &key_path!["tree", "srctree"],
                "`srctree` is empty",
                "e.g. `mini`, `debian:6.12`, or a directory",
            );
        }
        if tree.kernel.is_some() && !scenario.is_graft() {
            self.fault(
                &key_path!["tree", "kernel"],
                "`kernel` goes with `srctree = \"graft\"`",
                "a whole kernel is named by `srctree` itself",
            );
        }
        if tree.arch.is_some() && !scenario.is_graft() {
            self.fault(
                &key_path!["tree", "arch"],
                "`arch` goes with `srctree = \"graft\"`",
                "a whole kernel is built for another architecture by `[make] vars = { ARCH = \"...\" }`",
            );
        }
        let places = [("tree", "at", &tree.at)].into_iter().chain(
            scenario
                .experiment
                .iter()
                .flat_map(|e| [("experiment", "srctree", &e.srctree), ("experiment", "objtree", &e.objtree)]),
        );
        for (table, key, place) in places {
            let system = |place: &str| {
                let place = std::path::Path::new(place);
                SYSTEM.iter().any(|dir| place.starts_with(dir))
                    || HIDES.iter().any(|dir| place == std::path::Path::new(dir))
            };
            if let Some(place) = place
                && (!place.starts_with('/') || path_fault(&place[1..]).is_some() || system(place))
            {
                self.fault(
                    &key_path![table, key],
                    format!(
                        "`{place}` is no absolute path at which a tree can be: not below /proc, /sys or /dev, nor in place of the system's own"
                    ),
                    "e.g. `/build/elsewhere/src`",
                );
            }
        }
        for (n, host) in tree.host.iter().enumerate() {
            if !host.starts_with('/') || path_fault(host.trim_matches('/')).is_some() {
                let message = format!("`{host}` is no absolute path of a directory below `/`");
                self.fault(&key_path!["tree", "host", n], message, "e.g. `/opt/toolchain`");
            }
        }
        for (n, file) in tree.file.iter().enumerate() {
            self.path(&key_path!["tree", "file", n, "path"], &file.path);
            if file.text.is_some() == file.from.is_some() {
                self.fault(
                    &key_path!["tree", "file", n],
                    "a file needs exactly one of `text` and `from`",
                    "`text` holds the content, `from` names a file beside the scenario",
                );
            }
            self.mode(&key_path!["tree", "file", n, "mode"], file.mode.as_deref());
        }
        for (n, command) in tree.prepare.iter().enumerate() {
            if command.first().is_none_or(String::is_empty) {
                self.fault(&key_path!["tree", "prepare", n], "the command is empty", "e.g. `[\"./configure\"]`");
            }
        }
        for (n, change) in tree.edit.iter().enumerate() {
            let at = key_path!["tree", "edit", n];
            self.change(&at, change);
            let build = !change.vars.is_empty()
                || !change.env.is_empty()
                || !change.unset.is_empty()
                || change.goals.is_some()
                || change.jobs.is_some()
                || change.clean.is_some()
                || change.undo.is_some()
                || change.touch.is_some()
                || change.tree == Some(super::WhichTree::Obj);
            if build {
                self.fault(
                    &at,
                    "only sources, symbols and tools can be changed before the first build",
                    "variables, goals and jobs of the first build stand in `[make]`",
                );
            }
        }
        for (name, value) in &tree.symbols {
            self.symbol(&key_path!["tree", "symbols", name.as_str()], name, value);
        }
    }

    fn symbol(&mut self, at: &[Key], name: &str, value: &str) {
        let bare = name.strip_prefix("CONFIG_").filter(|bare| !bare.is_empty());
        if let Some(bare) = bare {
            self.misnamed(at, format!("symbol `{name}` is written with its prefix"), format!("write `{bare}`"));
        } else if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            self.misnamed(at, format!("`{name}` cannot be a Kconfig symbol"), "letters, digits and `_`");
        } else if value.contains(char::is_control) {
            self.fault(
                at,
                format!("the value of `{name}` holds a line break or another control character"),
                "a `.config` has one line a symbol",
            );
        }
    }

    fn make(&mut self, scenario: &Scenario) {
        let make = &scenario.make;
        self.words(&key_path!["make", "goals"], &make.goals);
        self.words(&key_path!["make", "clean_first"], &make.clean_first);
        for name in make.vars.keys() {
            self.variable(&key_path!["make", "vars", name.as_str()], name);
        }
        for (n, then) in make.then.iter().enumerate() {
            self.words(&key_path!["make", "then", n, "goals"], &then.goals);
            for name in then.vars.keys() {
                self.variable(&key_path!["make", "then", n, "vars", name.as_str()], name);
            }
        }
        for (name, value) in &make.env {
            self.environment(&key_path!["make", "env", name.as_str()], name, value);
        }
        if let Some(dir) = make.dir.as_ref().filter(|dir| !dir.starts_with('/')) {
            self.path(&key_path!["make", "dir"], dir);
        }
        if let Some(experiment) = &scenario.experiment {
            self.mode(&key_path!["experiment", "umask"], experiment.umask.as_deref());
            if let Some(name) = &experiment.hostname
                && !(1..=HOST_NAME_MOST).contains(&name.len())
            {
                let hint = format!("1 to {HOST_NAME_MOST} bytes (sethostname(2))");
                self.fault(&key_path!["experiment", "hostname"], "no host has such a name", hint);
            }
            if experiment.shuffle.is_some() && experiment.jobs.or(make.jobs) == Some(1) {
                let hint = "have `jobs` be two or more, or leave it away";
                self.fault(&key_path!["experiment", "shuffle"], "one job has one order", hint);
            }
            self.varies(scenario, experiment);
            if experiment.group == Some(u32::MAX) {
                let hint = "it stands for none (setresgid(2)); any smaller number";
                self.fault(&key_path!["experiment", "group"], "no group has this number", hint);
            }
            if !experiment.changes.is_empty() && experiment.variations().is_empty() {
                let hint = "name what is varied, e.g. `env = { KBUILD_BUILD_USER = \"other\" }`";
                self.fault(&key_path!["experiment", "changes"], "nothing is varied that could change it", hint);
            }
            for (name, value) in &experiment.env {
                self.environment(&key_path!["experiment", "env", name.as_str()], name, value);
            }
        }
    }

    /// What the second build is told to do otherwise is not what the first does.
    fn varies(&mut self, scenario: &Scenario, experiment: &Experiment) {
        let src = scenario.tree.at.as_deref().unwrap_or(SRC);
        let mode = |text: &String| super::parse_mode(text);
        let same = [
            ("srctree", experiment.srctree.as_deref() == Some(src)),
            ("objtree", experiment.objtree.as_deref() == Some(OBJ)),
            ("hostname", experiment.hostname.as_deref() == Some(HOST_NAME)),
            ("umask", experiment.umask.as_ref().and_then(mode) == Some(UMASK)),
            ("jobs", experiment.jobs.is_some() && experiment.jobs == scenario.make.jobs),
            ("random_addresses", experiment.random_addresses == Some(false) && experiment.variations().is_empty()),
        ];
        for (key, _) in same.into_iter().filter(|(_, same)| *same) {
            let hint = "name another value, or leave it away: nothing would be varied";
            self.fault(&key_path!["experiment", key], "the first build has the same", hint);
        }
        for (name, value) in experiment.env.iter().filter(|(name, value)| scenario.make.env.get(*name) == Some(value)) {
            let message = format!("the first build has `{name}={value}` as well");
            self.fault(&key_path!["experiment", "env", name.as_str()], message, "name another value, or leave it away");
        }
    }

    fn words(&mut self, at: &[Key], words: &[String]) {
        for word in words {
            if word.is_empty() || word.contains(['\0', '\n']) {
                self.fault(at, format!("`{word}` cannot be a goal"), "a goal is a target's name");
            } else if word.starts_with('-') {
                self.fault(
                    at,
                    format!("`{word}` is an option, not a goal"),
                    "jobs have the key `jobs`; other options of make are not the scenario's",
                );
            } else if word.contains('=') {
                self.fault(at, format!("`{word}` sets a variable"), "write it under `vars`");
            }
        }
    }

    fn variable(&mut self, at: &[Key], name: &str) {
        if MAKES_OWN.contains(&name) {
            return self.makes_own(at, name);
        }
        if name.is_empty() || name.starts_with('-') || name.contains(|c: char| c.is_whitespace() || "=:#\0".contains(c))
        {
            self.misnamed(
                at,
                format!("`{name}` cannot be a variable of make"),
                "no blanks, `=`, `:`, `#`, no leading `-`",
            );
        }
    }

    fn environment(&mut self, at: &[Key], name: &str, value: &str) {
        if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
            self.fault(at, format!("`{name}` cannot be an environment variable"), "no `=`, no NUL");
        } else if MAKES_OWN.contains(&name) {
            self.makes_own(at, name);
        }
    }

    fn makes_own(&mut self, at: &[Key], name: &str) {
        self.misnamed(
            at,
            format!("`{name}` is the harness's own"),
            "options such as `-i` would make a failed build look like one that worked; jobs have the key `jobs`, variables `vars`",
        );
    }

    fn mode(&mut self, at: &[Key], mode: Option<&str>) {
        if let Some(mode) = mode
            && super::parse_mode(mode).is_none()
        {
            self.fault(at, format!("`{mode}` is no file mode"), "three or four octal digits, e.g. `\"755\"`");
        }
    }

    fn edits(&mut self, scenario: &Scenario) {
        let mut names: Vec<String> = Vec::new();
        for (n, edit) in scenario.edit.iter().enumerate() {
            if edit.changes_of().next().is_none() {
                self.fault(
                    &key_path!["edit", n],
                    "the edit changes nothing",
                    "e.g. `file` with `append`, `config`, `vars`, `goals`, `touch`",
                );
            }
            if edit.change != Change::default() {
                self.change(&key_path!["edit", n], &edit.change);
            }
            for (m, change) in edit.also.iter().enumerate() {
                self.change(&key_path!["edit", n, "also", m], change);
            }
            let undone = std::iter::once((key_path!["edit", n, "undo"].to_vec(), edit.change.undo.as_ref()));
            let also = edit.also.iter().enumerate();
            let also = also.map(|(m, c)| (key_path!["edit", n, "also", m, "undo"].to_vec(), c.undo.as_ref()));
            for (at, undo) in undone.chain(also) {
                if let Some(undo) = undo
                    && !names.contains(undo)
                    && self.names_are_known(&scenario.edit[..n])
                {
                    let hint = match names.as_slice() {
                        [] => "it is the first edit".to_owned(),
                        names => format!("earlier edits: {}", names.join(", ")),
                    };
                    self.fault(&at, format!("no earlier edit is called `{undo}`"), hint);
                }
            }
            let name = scenario.edit_name(n);
            if names.contains(&name) {
                self.fault(
                    &key_path!["edit", n, "id"],
                    format!("two edits are called `{name}`"),
                    "give one of them another `id`",
                );
            }
            if name.is_empty()
                || RESERVED.contains(&name.as_str())
                || name.len() > NAME
                || !name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
                || name.starts_with('.')
            {
                self.fault(
                    &key_path!["edit", n, "id"],
                    format!("`{name}` cannot name an edit"),
                    "letters, digits, `-`, `_` and `.`; not the name of another part of the record",
                );
            }
            names.push(name);
            if let Some(interrupt) = &edit.interrupt {
                self.interrupt(&key_path!["edit", n, "interrupt"], interrupt);
            }
            let lists =
                [("runs", &edit.runs), ("skips", &edit.skips), ("changes", &edit.changes), ("keeps", &edit.keeps)];
            for (key, patterns) in lists {
                for (m, pattern) in patterns.iter().enumerate() {
                    if pattern.trim().is_empty() {
                        self.fault(
                            &key_path!["edit", n, key, m],
                            "the pattern is empty",
                            "quote a line of make's output, e.g. `CC init/version.o`",
                        );
                    }
                }
            }
        }
    }

    fn interrupt(&mut self, at: &[Key], interrupt: &Interrupt) {
        let key = |name: &str| [at, &key_path![name]].concat();
        if interrupt.memory.is_some() {
            if interrupt.memory_bytes().is_none() {
                self.fault(&key("memory"), "no amount of memory", "a number with K, M or G, e.g. `64M`");
            }
            if *interrupt != (Interrupt { memory: interrupt.memory.clone(), ..Interrupt::default() }) {
                let help = "leave the other keys away: which process is killed, and when, is for the kernel to say";
                self.fault(&key("memory"), "`memory` is in place of a step and a signal", help);
            }
            return;
        }
        if interrupt.step.trim().is_empty() {
            self.fault(&key("step"), "the pattern is empty", "quote a line of make's output, e.g. `LD [M] *.ko`");
        }
        let when = interrupt.when.unwrap_or_default();
        if interrupt.change.is_some() && when != Moment::During {
            self.fault(
                &key("change"),
                "`change` needs `when = \"during\"`",
                "it counts the files that the step changes",
            );
        }
        if when == Moment::After && interrupt.to == Some(Whom::Step) {
            self.fault(&key("to"), "after a step nothing of it is left to get a signal", "`group` or `make`");
        }
        match interrupt.fault {
            None if interrupt.write.is_some() => {
                self.fault(
                    &key("write"),
                    "`write` needs `fault`",
                    "it says which write fails, e.g. `fault = \"ENOSPC\"`",
                );
            }
            None => {}
            Some(fault) => {
                if interrupt.signal.is_some() {
                    let name = fault.name();
                    self.fault(
                        &key("signal"),
                        format!("`fault = \"{name}\"` is in place of a signal"),
                        "one of the two",
                    );
                }
                match (fault, interrupt.to) {
                    (Fault::Enospc, Some(Whom::Make)) => {
                        self.fault(&key("to"), "make itself writes no file of the trees", "`group` or `step`");
                    }
                    (Fault::Eio, Some(_)) => {
                        self.fault(&key("to"), "a write error meets one write, that of the step", "leave `to` away");
                    }
                    (Fault::Epipe, Some(_)) => {
                        self.fault(&key("to"), "all that runs writes to the same output", "leave `to` away");
                    }
                    _ => {}
                }
            }
        }
    }

    /// Whether what the first edits are called is what was meant.
    fn names_are_known(&self, edits: &[super::Edit]) -> bool {
        let doubtful = |(n, edit): (usize, &super::Edit)| {
            let at = key_path!["edit", n];
            self.document.is_damaged(&at)
                && (edit.id.is_none() || self.document.is_damaged(&[&at[..], &key_path!["id"]].concat()))
        };
        !self.document.incomplete && !edits.iter().enumerate().any(doubtful)
    }

    fn change(&mut self, at: &[Key], change: &Change) {
        self.values(at, change);
        // Of keys that go together one may be what is wrong.
        if !self.document.is_damaged(at) {
            self.combination(at, change);
        }
    }

    /// Each key for itself.
    fn values(&mut self, at: &[Key], change: &Change) {
        let at_key = |key: &str| [at, &[Key::from(key)]].concat();
        if let Some(file) = &change.file {
            self.path(&at_key("file"), file);
        }
        if let Some(to) = &change.rename {
            self.path(&at_key("rename"), to);
        }
        self.mode(&at_key("chmod"), change.chmod.as_deref());
        for (name, value) in &change.config {
            self.symbol(&[at, &key_path!["config", name.as_str()]].concat(), name, value);
        }
        for name in change.vars.keys() {
            self.variable(&[at, &key_path!["vars", name.as_str()]].concat(), name);
        }
        for (name, value) in &change.env {
            self.environment(&[at, &key_path!["env", name.as_str()]].concat(), name, value);
        }
        if let Some(goals) = &change.goals {
            self.words(&at_key("goals"), goals);
        }
        if let Some(clean) = &change.clean {
            self.words(&at_key("clean"), std::slice::from_ref(clean));
        }
        if let Some(tool) = &change.tool
            && (tool.name.is_empty() || tool.name.contains(['/', '\0']) || tool.name.starts_with('.'))
        {
            self.fault(
                &at_key("tool"),
                format!("`{}` cannot be a program's name", tool.name),
                "the name it is called by, e.g. `pahole`",
            );
        }
    }

    /// Keys that need or exclude each other.
    fn combination(&mut self, at: &[Key], change: &Change) {
        let at_key = |key: &str| [at, &[Key::from(key)]].concat();
        let on_file: Vec<&str> = [
            ("write", change.write.is_some()),
            ("append", change.append.is_some()),
            ("insert", change.insert.is_some()),
            ("replace", change.replace.is_some()),
            ("delete", change.delete.is_some()),
            ("rename", change.rename.is_some()),
            ("chmod", change.chmod.is_some()),
            ("touch", change.touch.is_some()),
        ]
        .into_iter()
        .filter_map(|(key, there)| there.then_some(key))
        .collect();
        if let Some(file) = &change.file {
            match on_file.as_slice() {
                [] => self.fault(
                    at,
                    format!("nothing is done to `{file}`"),
                    "one of `write`, `append`, `insert`, `replace`, `delete`, `rename`, `chmod`, `touch`",
                ),
                [_] => {}
                several => self.fault(
                    at,
                    format!("`{file}` is changed in {} ways at once: {}", several.len(), several.join(", ")),
                    "one a change; put the others under `also`",
                ),
            }
        } else {
            for key in &on_file {
                self.fault(&at_key(key), format!("`{key}` needs `file`"), "name the file it is done to");
            }
            if change.tree.is_some() {
                self.fault(&at_key("tree"), "`tree` needs `file`", "it says which tree `file` is in");
            }
            let other = change.patch.is_some()
                || !change.config.is_empty()
                || !change.vars.is_empty()
                || !change.env.is_empty()
                || !change.unset.is_empty()
                || change.tool.is_some()
                || change.goals.is_some()
                || change.jobs.is_some()
                || change.clean.is_some()
                || change.undo.is_some();
            if !other && on_file.is_empty() {
                self.fault(at, "the change changes nothing", "e.g. `file` with `append`, `config`, `vars`, `goals`");
            }
        }
        if change.replace.is_some() != change.with.is_some() {
            self.fault(at, "`replace` and `with` go together", "`replace` is the old text, `with` the new one");
        }
        if change.replace.as_deref() == Some("") {
            self.fault(&at_key("replace"), "the text to replace is empty", "quote text that the file holds");
        }
        if change.replace.is_some() && change.replace == change.with {
            self.fault(
                &at_key("with"),
                "the edit changes nothing: old and new text are the same",
                "an edit must change something",
            );
        }
        if change.count.is_some() && change.replace.is_none() {
            self.fault(&at_key("count"), "`count` goes with `replace`", "leave it out");
        }
        if change.append.as_deref() == Some("") || change.insert.as_deref() == Some("") {
            self.fault(at, "the edit changes nothing: the text to add is empty", "an edit must change something");
        }
        let anchors = usize::from(change.before.is_some()) + usize::from(change.after.is_some());
        if change.insert.is_some() && anchors != 1 {
            self.fault(
                &at_key("insert"),
                "`insert` needs one of `before` and `after`",
                "quote text that the file holds once",
            );
        }
        if change.insert.is_none() && anchors != 0 {
            self.fault(at, "`before` and `after` go with `insert`", "leave them out");
        }
        if change.rename.is_some() && change.file == change.rename {
            self.fault(
                &at_key("rename"),
                "the edit changes nothing: old and new name are the same",
                "an edit must change something",
            );
        }
        if let Some(tool) = &change.tool {
            match (&tool.script, &tool.path) {
                (Some(_), None) => {}
                (None, Some(path)) if path.starts_with('/') => {}
                (None, Some(path)) => {
                    self.fault(&at_key("tool"), format!("`{path}` is not absolute"), "e.g. `/opt/pahole/bin/pahole`")
                }
                _ => self.fault(
                    &at_key("tool"),
                    "a tool needs exactly one of `script` and `path`",
                    "`script` is its text, `path` a program of the host",
                ),
            }
        }
    }

    fn expectations(&mut self, scenario: &Scenario) {
        let names: Vec<String> = (0..scenario.edit.len()).map(|n| scenario.edit_name(n)).collect();
        let known_names = self.names_are_known(&scenario.edit);
        let expected = scenario.expect.finding.iter().enumerate();
        let expected = expected.map(|(n, e)| (key_path!["expect", "finding", n, "edit"].to_vec(), &e.edit));
        let known = scenario.known.iter().enumerate();
        let known = known.map(|(n, k)| (key_path!["known", n, "edit"].to_vec(), &k.edit));
        for (at, edit) in expected.chain(known) {
            if let Some(edit) = edit
                && !names.contains(edit)
                && known_names
            {
                self.fault(&at, format!("no edit is called `{edit}`"), format!("edits: {}", names.join(", ")));
            }
        }
        for (n, known) in scenario.known.iter().enumerate() {
            if known.why.trim().is_empty() {
                self.fault(
                    &key_path!["known", n, "why"],
                    "a tolerated fault needs its reason",
                    "say why it is tolerated, with a reference",
                );
            }
        }
        for (n, ignore) in scenario.compare.ignore.iter().enumerate() {
            if ignore.why.trim().is_empty() {
                self.fault(
                    &key_path!["compare", "ignore", n, "why"],
                    "an artifact that is not compared needs a reason",
                    "say why its differences say nothing",
                );
            }
        }
    }
}
