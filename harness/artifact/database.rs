//! What make itself knows of targets: its data base, as `make -p` prints it when it ends (GNU make manual, "Summary of
//! Options"). Every make below prints its own, if it is told by the environment.
//!
//! The data base holds what no makefile says in so many words: prerequisites that were computed, those from an implicit rule,
//! and those of every `.cmd` or `.d` file that was included. It is printed by a build with nothing to do: then make has
//! included what the build before it left.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufRead};
use std::path::{Component, Path, PathBuf};

use crate::trace::Root;

/// The rule for one target, as one make knows it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rule {
    /// What the target is out of date against, below a root by that root's name.
    pub prerequisites: BTreeSet<String>,
    /// Whether it stands for no file.
    pub phony: bool,
    /// Whether there is something to run.
    pub recipe: bool,
    /// The makefile and line of the recipe.
    pub place: Option<(String, usize)>,
    /// Whether the recipe runs another make, which has a rule of its own.
    pub descends: bool,
}

/// What the makes of one build know.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Database {
    /// How many makes there were.
    pub makes: usize,
    /// What they read as makefiles.
    pub makefiles: BTreeSet<String>,
    rules: BTreeMap<String, Vec<Rule>>,
}

/// One make's part while it is read.
struct Part<'r> {
    roots: &'r [Root],
    cwd: PathBuf,
    makefiles: String,
    /// Whether the list of files has begun.
    files: bool,
    /// The target whose rule is being read.
    open: Option<(String, Rule)>,
    /// Whether the line before was of a recipe and goes on.
    continued: bool,
}

impl Database {
    /// Reads what the makes of a build printed, among whatever else it printed.
    ///
    /// # Errors
    /// The text cannot be read.
    pub fn read(mut text: impl BufRead, roots: &[Root]) -> io::Result<Self> {
        let mut all = Self::default();
        let mut part: Option<Part<'_>> = None;
        let mut line = Vec::new();
        loop {
            line.clear();
            if text.read_until(b'\n', &mut line)? == 0 {
                return Ok(all);
            }
            let line = String::from_utf8_lossy(&line);
            let line = line.trim_end_matches('\n');
            if line.starts_with("# Make data base, printed on ") {
                part = Some(Part::new(roots));
                all.makes += 1;
            } else if line.starts_with("# Finished Make data base") {
                part = None;
            } else if let Some(part) = &mut part {
                part.line(line, &mut all);
            }
        }
    }

    /// The rules for a target that have something to run. Where several makes have one, and one of them only runs the make of
    /// another, it is that other's which decides.
    pub fn rules(&self, target: &str) -> impl Iterator<Item = &Rule> {
        let all = self.rules.get(target).map_or(&[][..], Vec::as_slice);
        let own = all.iter().any(|rule| rule.recipe && !rule.descends);
        all.iter().filter(move |rule| rule.recipe && !(own && rule.descends))
    }

    /// All that a target is out of date against, by its prerequisites and theirs. What a phony target depends on is no
    /// reason: it is always run for, and who comes after it decides anew.
    #[must_use]
    pub fn reach(&self, targets: &[&str]) -> BTreeSet<&str> {
        let mut seen: BTreeSet<&str> = BTreeSet::new();
        let mut open: Vec<&str> = targets.to_vec();
        while let Some(target) = open.pop() {
            let Some((name, all)) = self.rules.get_key_value(target) else { continue };
            let of: Vec<&Rule> = match self.rules(name).next() {
                Some(_) => self.rules(name).collect(),
                None => all.iter().collect(),
            };
            for prerequisite in of.into_iter().filter(|rule| !rule.phony).flat_map(|rule| &rule.prerequisites) {
                if seen.insert(prerequisite) {
                    open.push(prerequisite);
                }
            }
        }
        seen
    }
}

impl<'r> Part<'r> {
    fn new(roots: &'r [Root]) -> Self {
        let (cwd, makefiles) = (PathBuf::new(), String::new());
        Self { roots, cwd, makefiles, files: false, open: None, continued: false }
    }

    fn line(&mut self, line: &str, all: &mut Database) {
        if !self.files {
            if let Some(value) = line.strip_prefix("CURDIR := ") {
                self.cwd = value.into();
            } else if let Some(value) = line.strip_prefix("MAKEFILE_LIST := ") {
                value.clone_into(&mut self.makefiles);
            } else if line == "# Files" {
                self.files = true;
                let read: Vec<String> = self.makefiles.split_whitespace().map(|name| self.told(name)).collect();
                all.makefiles.extend(read);
            }
            return;
        }
        // A line of a recipe that goes on begins with whatever stood there.
        let continued = std::mem::take(&mut self.continued);
        if continued || line.starts_with('\t') {
            self.continued = line.chars().rev().take_while(|c| *c == '\\').count() % 2 == 1;
            if let Some((_, rule)) = &mut self.open {
                rule.recipe = true;
                rule.descends |= line.contains("$(MAKE)") || line.contains("${MAKE}");
            }
        } else if line.is_empty() || line.starts_with("# files hash-table stats") {
            if let Some((target, rule)) = self.open.take() {
                all.rules.entry(target).or_default().push(rule);
            }
            self.files = !line.starts_with("# files");
        } else if let Some(comment) = line.strip_prefix('#') {
            let place = comment.trim_start().strip_prefix("recipe to execute (from '").and_then(|rest| {
                let (file, rest) = rest.split_once("', line ")?;
                Some((self.told(file), rest.trim_end_matches("):").parse().ok()?))
            });
            if let Some((_, rule)) = &mut self.open {
                rule.phony |= comment.trim_start().starts_with("Phony target");
                rule.place = place.or(rule.place.take());
            }
        } else if let Some((target, prerequisites)) = entry(line) {
            let prerequisites = prerequisites.split_whitespace().take_while(|word| *word != "|");
            let prerequisites = prerequisites.map(|name| self.told(name)).collect();
            self.open = Some((self.told(target), Rule { prerequisites, ..Rule::default() }));
        }
    }

    /// A name as make has it, as paths are told.
    fn told(&self, name: &str) -> String {
        let mut path = PathBuf::new();
        for part in self.cwd.join(name).components() {
            match part {
                Component::ParentDir => _ = path.pop(),
                Component::CurDir => {}
                part => path.push(part),
            }
        }
        Root::told(self.roots, Path::new(&path))
    }
}

/// Target and prerequisites of a line `a: b c`, or `a:: b c`.
fn entry(line: &str) -> Option<(&str, &str)> {
    let (target, prerequisites) = match line.split_once(": ") {
        Some((target, prerequisites)) => (target, prerequisites),
        None => (line.strip_suffix(':')?, ""),
    };
    Some((target.trim_end_matches(':'), prerequisites))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRINTED: &str = "\
  CC      a.o
# Make data base, printed on Thu Nov 26 09:57:57 2026

# Variables
# makefile
CURDIR := /build/obj
# makefile (from 'Makefile', line 1)
MAKEFILE_LIST :=  Makefile /build/src/rules.mk sub/../.a.cmd
define x
# no comment
endef

# Implicit Rules
%.o: %.c

# Files

# Not a target:
/build/src/a.c:
#  Implicit rule search has not been done.

a.o: /build/src/a.c ./a.h FORCE | dirs order
#  Implicit rule search has been done.
# a.o: VAR := 3
# variable set hash-table stats:
# Load=1/32=3%, Rehash=0, Collisions=0/2=0%
#  recipe to execute (from '/build/src/rules.mk', line 7):
\tset -e; echo one \\
two: three
\techo $@

both:: first
#  recipe to execute (from 'Makefile', line 2):
\t$(MAKE) -C sub both

sub: FORCE
#  Phony target (prerequisite of .PHONY).
#  recipe to execute (from 'Makefile', line 2):
\t+$(MAKE) -C sub both

# files hash-table stats:
# Load=1/32=3%, Rehash=0, Collisions=0/2=0%
after: it
# Finished Make data base on Thu Nov 26 09:57:57 2026
# Make data base, printed on Thu Nov 26 09:57:57 2026
CURDIR := /build/obj/sub
# Files
../both: ../a.o
#  recipe to execute (from '../Makefile', line 9):
\tcp $< $@

# files hash-table stats:
# Finished Make data base on Thu Nov 26 09:57:57 2026
";

    fn read() -> Database {
        let root = |dir: &str, name: &str| Root { dir: dir.into(), name: name.into() };
        Database::read(PRINTED.as_bytes(), &[root("/build/src", "src"), root("/build/obj", "obj")]).unwrap()
    }

    #[test]
    fn rules_are_read_with_what_they_come_from() {
        let database = read();
        assert_eq!(database.makes, 2);
        let makefiles: Vec<&str> = database.makefiles.iter().map(String::as_str).collect();
        assert_eq!(makefiles, ["obj/.a.cmd", "obj/Makefile", "src/rules.mk"]);
        let rules: Vec<&Rule> = database.rules("obj/a.o").collect();
        let [rule] = rules.as_slice() else { panic!("{rules:?}") };
        let prerequisites: Vec<&str> = rule.prerequisites.iter().map(String::as_str).collect();
        assert_eq!(prerequisites, ["obj/FORCE", "obj/a.h", "src/a.c"], "what is only to be there is no dependency");
        assert_eq!(rule.place, Some(("src/rules.mk".into(), 7)));
        assert!(!rule.descends && !rule.phony);
        assert_eq!(database.rules("src/a.c").count(), 0, "it has no recipe");
        assert_eq!(database.rules("obj/after").count(), 0, "what comes after the files");
    }

    #[test]
    fn the_make_that_runs_the_recipe_decides() {
        let database = read();
        let rules: Vec<&Rule> = database.rules("obj/both").collect();
        let [rule] = rules.as_slice() else { panic!("{rules:?}") };
        assert_eq!(rule.place, Some(("obj/Makefile".into(), 9)));
        let reach = database.reach(&["obj/both"]);
        assert!(reach.contains("obj/a.o") && reach.contains("src/a.c") && !reach.contains("obj/first"), "{reach:?}");
        assert!(
            database.reach(&["obj/sub"]).is_empty(),
            "nothing is out of date against a phony target's prerequisites"
        );
    }
}
