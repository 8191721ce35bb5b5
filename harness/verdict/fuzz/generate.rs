//! A sequence of edits from a seed: the same for the same tree, on any machine and at any time.

use std::collections::{BTreeMap, BTreeSet};

use super::EditKind;
use super::texts::{self, Kind, Replaced};
use crate::scenario::{Change, Edit, Interrupt, Moment, Signal, True, WhichTree, Whom};
use crate::tree::kconfig::Type;
use crate::verdict::random::Random;

/// How many edits are drawn for one that can be made.
const TRIES: usize = 40;
/// How many files include a header that few include.
const FEW: usize = 3;
/// What becomes of a compiler's output: nothing, and something else.
const FLAGS: [&str; 4] = ["-O1", "-Os", "-DFUZZ", "-fno-inline"];
/// Flags of a linker of modules that leave them what they are, or take local symbols away.
const LINKER_FLAGS: [&str; 2] = ["--no-warn-mismatch", "-X"];
/// What is changed, as often as it stands here.
const CHANGED: [Kind; 7] =
    [Kind::Source, Kind::Source, Kind::Source, Kind::Source, Kind::Script, Kind::Data, Kind::Assembler];
/// At which steps builds are interrupted: any, and those of which others are made.
const STEPS: [&str; 6] = ["*", "*", "*", "*.ko", "*vmlinux*", "* [M] *"];

/// What can be edited.
#[derive(Debug, Clone, Default)]
pub struct Population {
    /// Texts of the source tree, by path.
    pub files: BTreeMap<String, String>,
    /// What a clean build leaves in the object tree, by path.
    pub objects: BTreeSet<String>,
    /// Symbols with their types, and values where these are known.
    pub symbols: BTreeMap<String, (Type, Option<String>)>,
    /// The goals of the scenario.
    pub goals: Vec<String>,
    /// Its variables on make's command line.
    pub vars: BTreeMap<String, String>,
    /// Whether it is built by kbuild, or what is like it.
    pub kbuild: bool,
}

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// The seed.
    pub seed: u64,
    /// Edits of a sequence.
    pub edits: usize,
    /// Of which kinds.
    pub kinds: Vec<EditKind>,
}

/// What an edit touches: two that touch the same depend on each other's order.
type Thing = String;

/// The edits so far.
struct Sequence<'p> {
    population: &'p Population,
    random: Random,
    /// Files as they are now; none is there no longer.
    now: BTreeMap<String, Option<String>>,
    symbols: BTreeMap<String, String>,
    vars: BTreeMap<String, String>,
    goals: Option<Vec<String>>,
    edits: Vec<Edit>,
    /// What each edit touches, and whether it is in force.
    touched: Vec<(BTreeSet<Thing>, bool)>,
    /// States of files before each edit.
    before: Vec<BTreeMap<String, Option<String>>>,
    /// An edit that breaks the build, and is taken back next.
    broken: Option<String>,
}

/// The `number`th sequence.
#[must_use]
pub fn sequence(population: &Population, wanted: &Wanted, number: u64) -> Vec<Edit> {
    let mut sequence = Sequence {
        population,
        random: Random::new(wanted.seed, number),
        now: BTreeMap::new(),
        symbols: BTreeMap::new(),
        vars: BTreeMap::new(),
        goals: None,
        edits: Vec::new(),
        touched: Vec::new(),
        before: Vec::new(),
        broken: None,
    };
    let drawn: Vec<EditKind> = wanted.kinds.iter().flat_map(|kind| std::iter::repeat_n(*kind, kind.weight())).collect();
    for at in 1..=wanted.edits {
        if let Some(name) = sequence.broken.take() {
            sequence.take_back(&name, at);
        } else if sequence.goals.is_some() && (at == wanted.edits || sequence.random.once_in(2)) {
            sequence.goals_back(at);
        } else {
            let last = at == wanted.edits;
            let kinds = |sequence: &mut Sequence<'_>| sequence.random.one(&drawn).copied();
            for _ in 0..TRIES {
                let Some(kind) = kinds(&mut sequence) else { break };
                // What is broken or asked for in part has to be made whole again.
                if last && matches!(kind, EditKind::Break | EditKind::Goals) && wanted.edits > 1 {
                    continue;
                }
                if sequence.make(kind, at) {
                    break;
                }
            }
        }
    }
    sequence.edits
}

/// What the edit with this name touches, by its own words. Those that touch the same cannot be told apart when one is left out.
#[must_use]
pub fn things(edit: &Edit) -> BTreeSet<Thing> {
    let mut things = BTreeSet::new();
    for change in edit.changes_of() {
        things.extend(change.file.iter().map(|file| match change.is_object() {
            true => format!("obj/{file}"),
            false => file.clone(),
        }));
        things.extend(change.rename.clone());
        things.extend(change.config.keys().map(|name| format!("CONFIG_{name}")));
        things.extend(change.vars.keys().chain(change.env.keys()).chain(&change.unset).map(|name| format!("${name}")));
        things.extend(change.undo.iter().map(|name| format!("undo {name}")));
        if change.goals.is_some() {
            things.insert("goals".into());
        }
        if change.jobs.is_some() {
            things.insert("jobs".into());
        }
    }
    things
}

fn of_file(file: &str) -> Change {
    Change { file: Some(file.to_owned()), ..Change::default() }
}

fn replace(file: &str, replaced: &Replaced) -> Change {
    Change { replace: Some(replaced.old.clone()), with: Some(replaced.new.clone()), ..of_file(file) }
}

impl Sequence<'_> {
    /// Makes an edit of a kind, if there is one to make.
    fn make(&mut self, kind: EditKind, at: usize) -> bool {
        let made = match kind {
            EditKind::Touch => self.any_file(&[]).map(|file| {
                let change = Change { touch: Some(True), ..of_file(&file) };
                (vec![change], format!("{file}: touched"))
            }),
            EditKind::Comment => self.comment(at),
            EditKind::Change => self.change(at),
            EditKind::Header => self.header(at),
            EditKind::Makefile => self.makefile(),
            EditKind::Kconfig => self.kconfig(at),
            EditKind::Command => self.command(at),
            EditKind::Mode => self.mode(),
            EditKind::Delete => self.delete(),
            EditKind::Goals => self.asked(at),
            EditKind::Undo => return self.undo(at),
            EditKind::Break => self.breaking(),
            EditKind::Interrupt => match self.random.once_in(2) {
                true => self.change(at),
                false => self.header(at),
            },
        };
        let Some((changes, title)) = made else { return false };
        let name = format!("{}-{at}", kind.name());
        let interrupt = (kind == EditKind::Interrupt).then(|| self.interrupt());
        if kind == EditKind::Break {
            self.broken = Some(name.clone());
        }
        self.push(name, title, changes, interrupt)
    }

    /// Adds an edit and follows what it does.
    fn push(&mut self, name: String, title: String, changes: Vec<Change>, interrupt: Option<Interrupt>) -> bool {
        let before: BTreeMap<String, Option<String>> = changes
            .iter()
            .flat_map(|change| change.file.iter().chain(&change.rename))
            .map(|file| (file.clone(), self.text(file).map(str::to_owned)))
            .collect();
        for change in &changes {
            self.follow(change);
        }
        let mut changes = changes.into_iter();
        let Some(change) = changes.next() else { return false };
        let edit =
            Edit { id: Some(name), title: Some(title), change, also: changes.collect(), interrupt, ..Edit::default() };
        self.touched.push((things(&edit), true));
        self.before.push(before);
        self.edits.push(edit);
        true
    }

    fn follow(&mut self, change: &Change) {
        self.symbols.extend(change.config.clone());
        self.vars.extend(change.vars.clone());
        change.unset.iter().for_each(|name| _ = self.vars.remove(name));
        let Some(file) = change.file.clone().filter(|_| !change.is_object()) else { return };
        let text = self.text(&file).unwrap_or_default().to_owned();
        let new = if let Some(added) = &change.append {
            Some(format!("{text}{added}"))
        } else if let (Some(old), Some(new)) = (&change.replace, &change.with) {
            Some(text.replacen(old.as_str(), new, 1))
        } else if let (Some(added), Some(before)) = (&change.insert, &change.before) {
            Some(text.replacen(before.as_str(), &format!("{added}{before}"), 1))
        } else if change.delete.is_some() {
            None
        } else if let Some(to) = &change.rename {
            self.now.insert(to.clone(), Some(text));
            None
        } else {
            return;
        };
        self.now.insert(file, new);
    }

    /// A file as it is now.
    fn text(&self, file: &str) -> Option<&str> {
        match self.now.get(file) {
            Some(text) => text.as_deref(),
            None => self.population.files.get(file).map(String::as_str),
        }
    }

    /// The files that are there now, of these kinds or of any.
    fn files(&self, kinds: &[Kind]) -> Vec<String> {
        let names = self.population.files.keys().chain(self.now.keys()).collect::<BTreeSet<_>>();
        let fits = |file: &&&String| {
            let kind = self.text(file).and_then(|text| texts::kind(file, text));
            kind.is_some_and(|kind| kinds.is_empty() || kinds.contains(&kind))
        };
        names.iter().filter(fits).map(|file| (*file).clone()).collect()
    }

    fn any_file(&mut self, kinds: &[Kind]) -> Option<String> {
        let files = self.files(kinds);
        self.random.one(&files).cloned()
    }

    fn kind(&self, file: &str) -> Option<Kind> {
        texts::kind(file, self.text(file)?)
    }

    /// A text is put at the end, on a line of its own.
    fn append(&self, file: &str, added: &str) -> Change {
        let whole = self.text(file).is_none_or(|text| text.is_empty() || text.ends_with('\n'));
        Change { append: Some(format!("{}{added}", if whole { "" } else { "\n" })), ..of_file(file) }
    }

    fn comment(&mut self, at: usize) -> Option<(Vec<Change>, String)> {
        let file = self.any_file(&[])?;
        let added = match self.kind(&file)? {
            Kind::Source | Kind::Header | Kind::Assembler => format!("/* fuzz {at} */\n"),
            Kind::Data => return None,
            _ => format!("# fuzz {at}\n"),
        };
        Some((vec![self.append(&file, &added)], format!("{file}: a comment")))
    }

    /// Something in a source that is compiled, run or read.
    fn change(&mut self, at: usize) -> Option<(Vec<Change>, String)> {
        // By kind first: of scripts and data there are few, and what is made of them is not made by a compiler.
        let there: Vec<Kind> = CHANGED.into_iter().filter(|kind| !self.files(&[*kind]).is_empty()).collect();
        let kind = *self.random.one(&there)?;
        let file = self.any_file(&[kind])?;
        if kind == Kind::Data {
            return Some((vec![self.append(&file, &format!("fuzz {at}\n"))], format!("{file}: another line")));
        }
        let tool = texts::is_tool(&file);
        let text = self.text(&file)?;
        let mut options = if tool { Vec::new() } else { texts::numbers(kind, text) };
        if kind == Kind::Source && !tool {
            options.extend(texts::strings(text));
        }
        if kind == Kind::Source && (options.is_empty() || self.random.once_in(3)) {
            return self.new_code(&file, at);
        }
        let replaced = self.random.one(&options)?.clone();
        Some((vec![replace(&file, &replaced)], format!("{file}: {}", replaced.words)))
    }

    /// A function, a variable, or one with a number out of a header.
    fn new_code(&mut self, file: &str, at: usize) -> Option<(Vec<Change>, String)> {
        let text = self.text(file)?.to_owned();
        let host = texts::is_tool(file) || text.contains("#include <stdio.h>");
        match self.random.below(3) {
            0 => {
                let added = format!("int fuzz_{at};\n");
                Some((vec![self.append(file, &added)], format!("{file}: another variable")))
            }
            1 if !host => self.new_dependency(file, &text, at),
            _ => {
                let added = format!("int fuzz_{at}(void);\nint fuzz_{at}(void)\n{{\n\treturn {at};\n}}\n");
                Some((vec![self.append(file, &added)], format!("{file}: another function")))
            }
        }
    }

    fn new_dependency(&mut self, file: &str, text: &str, at: usize) -> Option<(Vec<Change>, String)> {
        let (first, _) = *texts::includes(text).first()?;
        let headers = self.files(&[Kind::Header]);
        let header = self.random.one(&headers)?.clone();
        let name = texts::included_as(&header)?.to_owned();
        let header_text = self.text(&header)?.to_owned();
        let constants = texts::constants(&header_text);
        let constant = *self.random.one(&constants)?;
        if text.matches(first).count() != 1 || texts::includes(text).iter().any(|(_, other)| *other == name) {
            return None;
        }
        let include =
            Change { insert: Some(format!("#include <{name}>\n")), before: Some(first.to_owned()), ..of_file(file) };
        let used = self.append(file, &format!("int fuzz_{at} = {constant};\n"));
        Some((vec![include, used], format!("{file}: includes {name} and uses {constant}")))
    }

    /// A number in a header, a new declaration, or another name of it.
    fn header(&mut self, at: usize) -> Option<(Vec<Change>, String)> {
        let headers = self.headers();
        if !self.random.once_in(3) {
            let numbers =
                |file: &String| self.text(file).map(|text| texts::numbers(Kind::Header, text)).unwrap_or_default();
            let with: Vec<(String, Vec<Replaced>)> = headers
                .iter()
                .map(|file| (file.clone(), numbers(file)))
                .filter(|(_, numbers)| !numbers.is_empty())
                .collect();
            if let Some((file, options)) = self.random.one(&with) {
                let replaced = self.random.one(options)?.clone();
                return Some((vec![replace(file, &replaced)], format!("{file}: {}", replaced.words)));
            }
        }
        let file = self.random.one(&headers)?.clone();
        let text = self.text(&file)?.to_owned();
        match self.random.below(6) {
            0 | 1 => return self.moved_header(&file, at),
            2 => return self.inlined_header(&file),
            _ => {}
        }
        let guard = text.lines().find(|line| line.starts_with("#define ") && line.split_whitespace().count() == 2);
        let guard = guard.filter(|line| text.matches(*line).count() == 1 && !file.contains("/asm/"));
        let Some(guard) = guard else {
            return Some((vec![self.append(&file, &format!("#define FUZZ_{at} {at}\n"))], format!("{file}: a macro")));
        };
        let new = format!("{guard}\nstruct fuzz_{at} {{ int a; char b[{at}]; }};");
        let replaced = Replaced { old: guard.to_owned(), new, words: String::new() };
        Some((vec![replace(&file, &replaced)], format!("{file}: a struct")))
    }

    /// The headers to choose from: mostly those that few include. After a change of one that all include everything is made again,
    /// and with it what an edit before should have made.
    fn headers(&mut self) -> Vec<String> {
        let all = self.files(&[Kind::Header]);
        let users = self.files(&[Kind::Source, Kind::Header]);
        let included: Vec<&str> =
            users.iter().filter_map(|user| self.text(user)).flat_map(texts::includes).map(|(_, name)| name).collect();
        let few = |header: &&String| {
            let own = header.rsplit('/').next().unwrap_or(header);
            let name = texts::included_as(header).unwrap_or(own);
            (1..=FEW).contains(&included.iter().filter(|included| **included == name).count())
        };
        let few: Vec<String> = all.iter().filter(few).cloned().collect();
        if few.is_empty() || self.random.once_in(3) { all } else { few }
    }

    /// Everyone who includes a header includes it by another name.
    fn moved_header(&mut self, file: &str, at: usize) -> Option<(Vec<Change>, String)> {
        let stem = file.strip_suffix(".h")?;
        let to = format!("{stem}-fuzz{at}.h");
        let own = file.rsplit('/').next()?;
        let name = texts::included_as(file).unwrap_or(own).to_owned();
        let new = format!("{}-fuzz{at}.h", name.strip_suffix(".h")?);
        let mut changes = vec![Change { rename: Some(to.clone()), ..of_file(file) }];
        for user in self.files(&[Kind::Source, Kind::Header, Kind::Assembler]) {
            let text = self.text(&user)?;
            // A path of its own on a command line (`-include`) is no line that can be followed.
            let lines = texts::includes(text).into_iter().filter(|(_, included)| *included == name);
            let (line, count) = match lines.collect::<Vec<_>>().as_slice() {
                [] => continue,
                [(line, _)] => ((*line).to_owned(), 1),
                _ => return None,
            };
            if text.matches(line.as_str()).count() != count || user == file {
                return None;
            }
            let renamed = Replaced { new: line.replace(&name, &new), old: line, words: String::new() };
            changes.push(replace(&user, &renamed));
        }
        (changes.len() > 1).then(|| (changes, format!("{file}: becomes {to}")))
    }

    /// A header goes, and its only user has its text in place of it.
    fn inlined_header(&mut self, file: &str) -> Option<(Vec<Change>, String)> {
        let own = file.rsplit('/').next()?;
        let name = texts::included_as(file).unwrap_or(own);
        let text = self.text(file)?.to_owned();
        let mut users = Vec::new();
        for user in self.files(&[Kind::Source, Kind::Header, Kind::Assembler]) {
            let lines = texts::includes(self.text(&user)?).into_iter().filter(|(_, included)| *included == name);
            users.extend(lines.map(|(line, _)| (user.clone(), line.to_owned())));
        }
        // A path of its own on a command line (`-include`) is no line, and then somebody else uses it.
        let [(user, line)] = users.as_slice() else { return None };
        if self.kind(user) != Some(Kind::Source) || self.text(user)?.matches(line.as_str()).count() != 1 {
            return None;
        }
        let gone = Change { delete: Some(True), ..of_file(file) };
        let replaced = Replaced { old: line.clone(), new: text.trim_end().to_owned(), words: String::new() };
        Some((vec![gone, replace(user, &replaced)], format!("{file} goes, and {user} has its text")))
    }

    fn makefile(&mut self) -> Option<(Vec<Change>, String)> {
        let file = self.any_file(&[Kind::Objects])?;
        let text = self.text(&file)?.to_owned();
        let dir = file.rsplit_once('/').map_or("", |(dir, _)| dir);
        let flag = *self.random.one(&FLAGS)?;
        match self.random.below(4) {
            0 => {
                let added = self.append(&file, &format!("ccflags-y += {flag}\n"));
                Some((vec![added], format!("{file}: {flag} for all objects")))
            }
            1 => {
                let mut objects = texts::objects(&text);
                objects.retain(|object| self.text(&format!("{dir}/{}c", object.trim_end_matches('o'))).is_some());
                let object = *self.random.one(&objects)?;
                let added = self.append(&file, &format!("CFLAGS_{object} += {flag}\n"));
                Some((vec![added], format!("{file}: {flag} for {object}")))
            }
            2 => {
                let options = texts::reordered(&text);
                let replaced = self.random.one(&options)?.clone();
                Some((vec![replace(&file, &replaced)], format!("{file}: {}", replaced.words)))
            }
            _ => {
                let options = texts::dropped(&text);
                let (replaced, object) = self.random.one(&options)?.clone();
                let source = format!("{dir}/{}c", object.trim_end_matches('o'));
                let mut changes = vec![replace(&file, &replaced)];
                let also = self.text(&source).is_some() && self.random.once_in(2);
                if also {
                    changes.push(Change { delete: Some(True), ..of_file(&source) });
                }
                let too = if also { ", and its source" } else { "" };
                Some((changes, format!("{file}: {}{too}", replaced.words)))
            }
        }
    }

    fn kconfig(&mut self, at: usize) -> Option<(Vec<Change>, String)> {
        let files = self.files(&[Kind::Kconfig]);
        if !files.is_empty() && self.random.once_in(4) {
            let file = self.random.one(&files)?.clone();
            let text = self.text(&file)?.to_owned();
            if self.random.once_in(2) {
                let options = texts::defaults(&text);
                let replaced = self.random.one(&options)?.clone();
                return Some((vec![replace(&file, &replaced)], format!("{file}: {}", replaced.words)));
            }
            let added = format!("\nconfig FUZZ_{at}\n\tbool \"fuzz {at}\"\n\tdefault y\n");
            return Some((vec![self.append(&file, &added)], format!("{file}: another symbol")));
        }
        let names: Vec<&String> = self.population.symbols.keys().collect();
        let name = (*self.random.one(&names)?).clone();
        let (kind, known) = self.population.symbols.get(&name)?.clone();
        let value = self.symbols.get(&name).cloned().or(known);
        let values: Vec<String> = match kind {
            Type::Bool => vec!["y".into(), "n".into()],
            Type::Tristate => vec!["y".into(), "m".into(), "n".into(), "n".into()],
            Type::Int => vec![value.as_ref()?.parse::<u32>().ok()?.wrapping_add(1).to_string()],
            Type::String => vec![format!("fuzz{at}")],
            Type::Hex => return None,
        };
        let others: Vec<String> = values.into_iter().filter(|new| Some(new) != value.as_ref()).collect();
        let new = self.random.one(&others)?.clone();
        let config = BTreeMap::from([(name.clone(), new.clone())]);
        let was = value.map_or(String::new(), |value| format!(", was {value}"));
        Some((vec![Change { config, ..Change::default() }], format!("CONFIG_{name}={new}{was}")))
    }

    /// make's command line, and the environment.
    fn command(&mut self, at: usize) -> Option<(Vec<Change>, String)> {
        let mut options: Vec<(String, String)> = Vec::new();
        for file in self.files(&[Kind::Rules, Kind::Objects]) {
            let numbers = self.text(&file).map(texts::variables).unwrap_or_default();
            options
                .extend(numbers.into_iter().map(|(name, value)| (name.to_owned(), (value as usize + at).to_string())));
        }
        if self.population.kbuild {
            let of = |name: &str, value: &str| (name.to_owned(), value.to_owned());
            options.extend(FLAGS.iter().map(|flag| of("KCFLAGS", flag)));
            options.extend(LINKER_FLAGS.iter().map(|flag| of("LDFLAGS_MODULE", flag)));
        }
        if self.population.kbuild && self.random.once_in(5) {
            let name = *self.random.one(&["KBUILD_BUILD_USER", "KBUILD_BUILD_HOST"])?;
            let value = format!("fuzz{at}");
            let title = format!("{name}={value} in the environment");
            let env = BTreeMap::from([(name.to_owned(), value)]);
            return Some((vec![Change { env, ..Change::default() }], title));
        }
        let mut set: Vec<String> = self.vars.keys().cloned().collect();
        set.retain(|name| !self.population.vars.contains_key(name));
        if !set.is_empty() && self.random.once_in(3) {
            let name = self.random.one(&set)?.clone();
            let title = format!("without {name}");
            return Some((vec![Change { unset: vec![name], ..Change::default() }], title));
        }
        let (name, value) = self.random.one(&options)?.clone();
        if self.vars.get(&name).or(self.population.vars.get(&name)) == Some(&value) {
            return None;
        }
        let title = format!("make {name}={value}");
        Some((vec![Change { vars: BTreeMap::from([(name, value)]), ..Change::default() }], title))
    }

    fn mode(&mut self) -> Option<(Vec<Change>, String)> {
        let file = self.any_file(&[])?;
        let mode = *self.random.one(&["700", "640", "600"])?;
        let change = Change { chmod: Some(mode.to_owned()), ..of_file(&file) };
        Some((vec![change], format!("{file}: mode {mode}")))
    }

    /// Something that a build made is lost.
    fn delete(&mut self) -> Option<(Vec<Change>, String)> {
        let all: Vec<&String> = self.population.objects.iter().collect();
        let file = (*self.random.one(&all)?).clone();
        let lost = |edit: &Edit| edit.change.is_object() && edit.change.file.as_ref() == Some(&file);
        // It may be gone, or not made again.
        if self.goals.is_some() || self.edits.iter().any(lost) {
            return None;
        }
        let change = Change { tree: Some(WhichTree::Obj), delete: Some(True), ..of_file(&file) };
        Some((vec![change], format!("{file} is lost")))
    }

    /// Other goals, for a build or two, with something to do for them; other jobs; or a cleaning.
    fn asked(&mut self, at: usize) -> Option<(Vec<Change>, String)> {
        if self.random.once_in(4) {
            let jobs = [1, 2, 3][self.random.below(3)];
            return Some((vec![Change { jobs: Some(jobs), ..Change::default() }], format!("make -j{jobs}")));
        }
        if !self.population.kbuild || self.goals.is_some() {
            return None;
        }
        if self.random.once_in(5) {
            return Some((vec![Change { clean: Some("clean".into()), ..Change::default() }], "make clean".into()));
        }
        let mut goals: Vec<Vec<String>> = vec![vec!["vmlinux".into()], vec!["modules".into()]];
        let objects = self.population.objects.iter().filter(|object| object.ends_with(".o") && object.contains('/'));
        let single: Vec<&String> =
            objects.filter(|object| self.text(&format!("{}c", object.trim_end_matches('o'))).is_some()).collect();
        let single: Vec<&String> = single.into_iter().filter(|object| !texts::is_tool(object)).collect();
        goals.extend(self.random.one(&single).map(|object| vec![(*object).clone()]));
        let goals = self.random.one(&goals)?.clone();
        if goals == self.population.goals {
            return None;
        }
        let (mut changes, title) = if self.random.once_in(2) { self.change(at)? } else { self.header(at)? };
        let title = format!("make {}; {title}", goals.join(" "));
        changes.insert(0, Change { goals: Some(goals.clone()), ..Change::default() });
        self.goals = Some(goals);
        Some((changes, title))
    }

    fn goals_back(&mut self, at: usize) {
        self.goals = None;
        let goals = self.population.goals.clone();
        let title = if goals.is_empty() { "make".to_owned() } else { format!("make {}", goals.join(" ")) };
        let change = Change { goals: Some(goals), ..Change::default() };
        self.push(format!("goals-{at}"), title, vec![change], None);
    }

    /// Takes an edit back that no later one has to do with.
    fn undo(&mut self, at: usize) -> bool {
        let free = |n: usize| {
            let (own, active) = &self.touched[n];
            let edit = &self.edits[n];
            let whole = edit.changes_of().all(|change| {
                !change.is_object()
                    && change.clean.is_none()
                    && change.touch.is_none()
                    && change.undo.is_none()
                    && change.goals.is_none()
                    && change.jobs.is_none()
            });
            let later = self.touched[n + 1..].iter().any(|(things, _)| !things.is_disjoint(own));
            *active && whole && !later
        };
        let names: Vec<String> =
            (0..self.edits.len()).filter(|n| free(*n)).filter_map(|n| self.edits[n].id.clone()).collect();
        let Some(name) = self.random.one(&names).cloned() else { return false };
        self.take_back(&name, at);
        true
    }

    fn take_back(&mut self, name: &str, at: usize) {
        let Some(n) = self.edits.iter().position(|edit| edit.id.as_deref() == Some(name)) else { return };
        self.touched[n].1 = false;
        let restored = self.before[n].clone();
        for change in self.edits[n].changes_of().cloned().collect::<Vec<_>>() {
            for symbol in change.config.keys() {
                self.symbols.remove(symbol);
            }
            for name in change.vars.keys() {
                self.vars.remove(name);
            }
        }
        let title = format!("{} is taken back", self.edits[n].title.clone().unwrap_or_default());
        let change = Change { undo: Some(name.to_owned()), ..Change::default() };
        self.push(format!("back-{at}"), title, vec![change], None);
        // What it touches is what was touched.
        let things = self.touched[n].0.clone();
        if let Some((own, active)) = self.touched.last_mut() {
            own.extend(things);
            *active = false;
        }
        self.now.extend(restored);
    }

    /// A constant that others use gets another name: a build that works now is wrong.
    fn breaking(&mut self) -> Option<(Vec<Change>, String)> {
        if self.goals.is_some() {
            return None;
        }
        let headers = self.headers();
        let file = self.random.one(&headers)?.clone();
        let text = self.text(&file)?.to_owned();
        let constants = texts::constants(&text);
        let constant = *self.random.one(&constants)?;
        let old = format!("#define {constant} ");
        let used =
            self.files(&[Kind::Source]).iter().any(|user| self.text(user).is_some_and(|text| text.contains(constant)));
        if text.matches(&old).count() != 1 || !used {
            return None;
        }
        let replaced = Replaced { new: format!("#define {constant}_GONE "), old, words: String::new() };
        Some((
            vec![replace(&file, &replaced)],
            format!("{file}: {constant} gets another name, and its users do not know"),
        ))
    }

    fn interrupt(&mut self) -> Interrupt {
        let step = self.random.one(&STEPS).copied().unwrap_or("*").to_owned();
        let nth = u32::try_from(1 + self.random.below(if step == "*" { 8 } else { 3 })).unwrap_or(1);
        let when = [Moment::Before, Moment::Before, Moment::During, Moment::After][self.random.below(4)];
        let signal = [Signal::Kill, Signal::Kill, Signal::Term, Signal::Int][self.random.below(4)];
        let to = [Whom::Group, Whom::Group, Whom::Make, Whom::Step][self.random.below(4)];
        // Nothing of a step is left after it.
        let to = if when == Moment::After && to == Whom::Step { Whom::Group } else { to };
        Interrupt {
            step,
            nth: Some(nth).filter(|nth| *nth > 1),
            when: Some(when).filter(|when| *when != Moment::default()),
            change: None,
            signal: Some(signal).filter(|signal| *signal != Signal::default()),
            to: Some(to).filter(|to| *to != Whom::default()),
            fault: None,
            write: None,
            memory: None,
        }
    }
}

#[cfg(test)]
mod tests;
