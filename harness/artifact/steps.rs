//! The steps of one build, as a file beside its log.
//!
//! `steps.json` holds every text once, in `strings`; all else names texts by number. Of a file that was read or made the row is
//! `[path, digest]`, where the digest is -1 if the trace does not have it.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::record::RecordError;
use super::{ArtifactError, Digest};
use crate::trace::{Cmd, Content, End, Kind, Ran, Root, Saved, Step, Trace, kbuild, steps};

/// Version of the file.
const FORMAT: u32 = 1;

/// Its name, beside the build's log.
pub const FILE: &str = "steps.json";

/// Variables that say how make is run, not what a step is to make: they hold job servers and depths of their own.
const OF_MAKE: [&str; 9] =
    ["MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKE_TERMOUT", "MAKE_TERMERR", "GNUMAKEFLAGS", "SHLVL", "OLDPWD", "_"];

/// What a build did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Steps {
    /// By which name files of the object tree are told: `obj`, or `src` where output goes beside the sources.
    pub objtree: String,
    /// The directories of the build as commands name them, each with its name.
    pub roots: Vec<(String, String)>,
    /// Why it is not everything; empty if it is.
    pub gaps: Vec<String>,
    /// The steps, in the order in which they began.
    pub steps: Vec<Step>,
    /// Of each step, what it read and its target's `.cmd` file does not list, if it left one.
    pub unlisted: Vec<Vec<Arc<str>>>,
    /// Of each command of the build, in order, the number of its first step.
    pub commands: Vec<usize>,
    /// Environments by number, without what make has there for itself.
    pub environments: Vec<Vec<String>>,
    /// Every file outside of the trees that the build read or ran, with its content where it can be read.
    pub toolchain: BTreeMap<String, Option<Digest>>,
}

/// Where traces are read from.
pub struct Sources<'s> {
    /// The directories of the build, with their names.
    pub roots: &'s [Root],
    /// By which of these names files of the object tree are told.
    pub objtree: &'s str,
    /// A file of the trees as it is now, by its path in the build.
    pub read: &'s mut dyn FnMut(&Path) -> Option<Vec<u8>>,
    /// The content of a file outside of the trees, by its path in the build.
    pub hash: &'s mut dyn FnMut(&Path) -> Option<Digest>,
}

/// Where the system keeps programs (hier(7)).
const TOOLS: [&str; 4] = ["/bin", "/opt", "/sbin", "/usr"];

impl Steps {
    /// The steps of a build whose commands left these traces, one after the other.
    #[must_use]
    pub fn of(traces: &[Trace], from: &mut Sources<'_>) -> Self {
        let told = |root: &Root| (root.dir.to_string_lossy().into_owned(), root.name.clone());
        let roots = from.roots.iter().map(told).collect();
        let mut all = Self { objtree: from.objtree.to_owned(), roots, ..Self::default() };
        let mut gaps = BTreeSet::new();
        let mut toolchain = BTreeSet::new();
        let mut passed = 0;
        for trace in traces {
            gaps.extend(trace.gaps.iter().map(ToString::to_string));
            let roots = from.roots;
            let mut made = steps(trace, roots);
            kbuild::name(trace, &mut made, &mut |path| {
                let text = (from.read)(path)?;
                Some((Root::told(roots, path), String::from_utf8_lossy(&text).into_owned()))
            });
            // In the order in which they began; `places` has where each of the trace's steps is then.
            let mut order: Vec<usize> = (0..made.len()).collect();
            order.sort_by_key(|at| (made[*at].began, made[*at].processes.first().copied()));
            let mut places = vec![0; made.len()];
            order.iter().enumerate().for_each(|(place, at)| places[*at] = place);
            let end = made.iter().map(|step| step.ended).max().unwrap_or(0);
            let first = all.steps.len();
            all.commands.push(first);
            for at in order {
                let mut step = std::mem::take(&mut made[at]);
                step.began += passed;
                step.ended += passed;
                step.within = step.within.and_then(|at| Some(first + places.get(at)?));
                step.processes.clear();
                toolchain.extend(step.tools.iter().cloned());
                step.env = all.environment(trace, step.env);
                all.steps.push(step);
            }
            // A make is no step of its own.
            let programs = trace.processes.iter().flat_map(|process| &process.programs).map(|it| trace.path(it.file));
            let outside = programs.filter(|path| TOOLS.iter().any(|dir| path.starts_with(dir)));
            toolchain.extend(outside.map(|path| path.to_string_lossy().into_owned()));
            passed += end + 1;
            let made: HashSet<&str> =
                all.steps[first..].iter().flat_map(|step| &step.outputs).map(|content| &*content.path).collect();
            let made: HashSet<String> = made.into_iter().map(str::to_owned).collect();
            // What nobody makes cannot have been too late.
            for step in &mut all.steps[first..] {
                step.missing.retain(|path| made.contains(path));
            }
        }
        all.gaps = gaps.into_iter().collect();
        all.toolchain = toolchain
            .into_iter()
            .map(|path| ((from.hash)(Path::new(&path)), path))
            .map(|(digest, path)| (path, digest))
            .collect();
        all.unlisted = all.steps.iter().map(|step| unlisted(step, from)).collect();
        all
    }

    /// The number of an environment of a trace.
    fn environment(&mut self, trace: &Trace, number: u32) -> u32 {
        let all = trace.environments.get(number as usize).map(|environment| environment.0.as_slice());
        let own: Vec<String> = all
            .unwrap_or_default()
            .iter()
            .map(|variable| variable.to_string_lossy().into_owned())
            .filter(|variable| !OF_MAKE.contains(&variable.split('=').next().unwrap_or_default()))
            .collect();
        let known = self.environments.iter().position(|known| *known == own).unwrap_or_else(|| {
            self.environments.push(own);
            self.environments.len() - 1
        });
        u32::try_from(known).unwrap_or(u32::MAX)
    }

    /// A text with the names of the directories in place of where they were: two builds at other places then say the same.
    #[must_use]
    pub fn told(&self, text: &str) -> String {
        self.roots.iter().fold(text.to_owned(), |text, (dir, name)| text.replace(dir.as_str(), name))
    }

    /// Writes the file.
    ///
    /// # Errors
    /// What the file system answers.
    pub fn write(&self, path: &Path) -> Result<(), ArtifactError> {
        let failed = |source| ArtifactError::Io { action: "write", path: path.to_owned(), source };
        let file = std::fs::File::create(path).map_err(failed)?;
        let mut out = std::io::BufWriter::new(file);
        serde_json::to_writer(&mut out, &File::of(self)).map_err(|error| failed(error.into()))?;
        out.flush().map_err(failed)
    }

    /// Reads the file.
    ///
    /// # Errors
    /// It cannot be read, or is not one of this version.
    pub fn read(path: &Path) -> Result<Self, RecordError> {
        let name = path.display().to_string();
        let text = std::fs::read(path).map_err(|source| RecordError::Read { path: name.clone(), source })?;
        Self::parse(&text).map_err(|source| RecordError::Parse { path: name, source })
    }

    fn parse(text: &[u8]) -> Result<Self, serde_json::Error> {
        use serde::de::Error;
        let file: File = serde_json::from_slice(text)?;
        if file.format != FORMAT {
            return Err(Error::custom(format!("format {}, expected {FORMAT}", file.format)));
        }
        file.steps().ok_or_else(|| Error::custom("a number that stands for nothing"))
    }
}

/// What a step read and the `.cmd` file that it left does not name. Makefiles may name it, so it is no proof of anything.
fn unlisted(step: &Step, from: &mut Sources<'_>) -> Vec<Arc<str>> {
    let Some(target) = &step.target else { return Vec::new() };
    let (dir, name) = target.rsplit_once('/').unwrap_or(("", target));
    let cmd = format!("{dir}/.{name}.cmd");
    let Some(cmd) = step.outputs.iter().find(|output| *output.path == *cmd) else { return Vec::new() };
    let place = from
        .roots
        .iter()
        .find_map(|root| Some(root.dir.join(cmd.path.strip_prefix(root.name.as_str())?.strip_prefix('/')?)));
    let Some(text) = place.and_then(|place| (from.read)(&place)) else { return Vec::new() };
    let text = String::from_utf8_lossy(&text);
    let told = |word: &str| Root::told(from.roots, Path::new(word));
    // Paths in it are relative to where the compiler ran: in kbuild the object tree, in the kernel's tools/ the sources.
    let listed: HashSet<String> = text
        .split_whitespace()
        .flat_map(|word| {
            let word = word.strip_prefix("$(wildcard").unwrap_or(word).trim_end_matches([')', '\\', ';']);
            let word = word.strip_prefix("./").unwrap_or(word);
            [told(word), format!("{}/{word}", from.objtree), format!("{}/{word}", step.cwd)]
        })
        .collect();
    step.inputs.iter().filter(|input| !listed.contains(&*input.path)).map(|input| Arc::clone(&input.path)).collect()
}

/// The file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    format: u32,
    objtree: String,
    roots: Vec<(String, String)>,
    gaps: Vec<String>,
    #[serde(default)]
    commands: Vec<usize>,
    environments: Vec<Vec<String>>,
    toolchain: BTreeMap<String, Option<Digest>>,
    strings: Vec<Text>,
    steps: Vec<Row>,
}

/// A text of the file.
#[derive(Serialize, Deserialize, Clone)]
#[serde(from = "String", into = "String")]
struct Text(Arc<str>);

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl From<Text> for String {
    fn from(text: Text) -> Self {
        text.0.to_string()
    }
}

/// Command, digest of what it read, what it made, what of it in place.
type RanRow = (u32, Option<String>, Vec<(u32, i64)>, Vec<u32>);

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    kind: Kind,
    command: u32,
    label: Option<u32>,
    cmd: Option<(u32, u32, usize)>,
    target: Option<u32>,
    cwd: u32,
    env: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    within: Option<usize>,
    /// Absent: not asked for; -2: there was none; -1: of unknown content; else its digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    saved: Option<i64>,
    began: u64,
    ended: u64,
    cpu: u64,
    end: Option<End>,
    inputs: Vec<(u32, i64)>,
    outputs: Vec<(u32, i64)>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    ran: Vec<RanRow>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    removed: Vec<u32>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    in_place: Vec<u32>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    missing: Vec<u32>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    strays: Vec<u32>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    sought: Vec<u32>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    network: Vec<u32>,
    tools: Vec<u32>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    unlisted: Vec<u32>,
}

/// Texts with their numbers.
#[derive(Default)]
struct Texts {
    all: Vec<Text>,
    known: HashMap<Arc<str>, u32>,
}

impl Texts {
    fn number(&mut self, text: &str) -> u32 {
        if let Some(number) = self.known.get(text) {
            return *number;
        }
        let number = u32::try_from(self.all.len()).unwrap_or(u32::MAX);
        let text: Arc<str> = text.into();
        self.all.push(Text(Arc::clone(&text)));
        self.known.insert(text, number);
        number
    }

    fn digest(&mut self, digest: Option<&str>) -> i64 {
        digest.map_or(-1, |digest| self.number(digest).into())
    }

    fn list(&mut self, texts: &[String]) -> Vec<u32> {
        texts.iter().map(|text| self.number(text)).collect()
    }

    fn contents(&mut self, contents: &[Content]) -> Vec<(u32, i64)> {
        contents.iter().map(|it| (self.number(&it.path), self.digest(it.sha256.as_deref()))).collect()
    }
}

impl File {
    fn of(steps: &Steps) -> Self {
        let mut texts = Texts::default();
        let none = Vec::new();
        let unlisted = steps.unlisted.iter().chain(std::iter::repeat(&none));
        let rows = steps.steps.iter().zip(unlisted).map(|(step, unlisted)| Row {
            kind: step.kind,
            command: texts.number(&step.command),
            label: step.label.as_ref().map(|label| texts.number(label)),
            cmd: step.cmd.as_ref().map(|cmd| (texts.number(&cmd.name), texts.number(&cmd.file), cmd.line)),
            target: step.target.as_ref().map(|target| texts.number(target)),
            cwd: texts.number(&step.cwd),
            env: step.env,
            within: step.within,
            saved: match &step.saved {
                Saved::Unasked => None,
                Saved::Missing => Some(-2),
                Saved::Read(digest) => Some(texts.digest(digest.as_deref())),
            },
            began: step.began,
            ended: step.ended,
            cpu: step.cpu,
            end: step.end,
            inputs: texts.contents(&step.inputs),
            outputs: texts.contents(&step.outputs),
            ran: step
                .ran
                .iter()
                .map(|it| {
                    let (command, outputs) = (texts.number(&it.command), texts.contents(&it.outputs));
                    (command, it.inputs.clone(), outputs, texts.list(&it.in_place))
                })
                .collect(),
            removed: texts.list(&step.removed),
            in_place: texts.list(&step.in_place),
            missing: texts.list(&step.missing),
            strays: texts.list(&step.strays),
            sought: texts.list(&step.sought),
            network: texts.list(&step.network),
            tools: texts.list(&step.tools),
            unlisted: unlisted.iter().map(|path| texts.number(path)).collect(),
        });
        let rows = rows.collect();
        Self {
            format: FORMAT,
            objtree: steps.objtree.clone(),
            roots: steps.roots.clone(),
            gaps: steps.gaps.clone(),
            commands: steps.commands.clone(),
            environments: steps.environments.clone(),
            toolchain: steps.toolchain.clone(),
            strings: texts.all,
            steps: rows,
        }
    }

    fn steps(self) -> Option<Steps> {
        let text = |number: u32| Some(Arc::clone(&self.strings.get(number as usize)?.0));
        let string = |number: u32| Some(text(number)?.to_string());
        let maybe = |number: Option<u32>| number.map_or(Some(None), |number| Some(Some(string(number)?)));
        let list = |numbers: &[u32]| numbers.iter().map(|number| string(*number)).collect::<Option<Vec<_>>>();
        let digest = |number: i64| match u32::try_from(number) {
            Ok(number) => Some(Some(text(number)?)),
            Err(_) => Some(None),
        };
        let contents = |rows: &[(u32, i64)]| {
            let one =
                |(path, sha256): &(u32, i64)| Some(Content { path: text(*path)?, number: 0, sha256: digest(*sha256)? });
            rows.iter().map(one).collect::<Option<Vec<_>>>()
        };
        let ran = |(command, inputs, outputs, in_place): &RanRow| {
            Some(Ran {
                command: string(*command)?,
                inputs: inputs.clone(),
                outputs: contents(outputs)?,
                in_place: list(in_place)?,
            })
        };
        let cmd = |row: Option<(u32, u32, usize)>| {
            row.map_or(Some(None), |(name, file, line)| {
                Some(Some(Cmd { name: string(name)?, file: string(file)?, line }))
            })
        };
        let mut all = Steps {
            objtree: self.objtree.clone(),
            roots: self.roots.clone(),
            gaps: self.gaps.clone(),
            commands: self.commands.clone(),
            environments: self.environments.clone(),
            toolchain: self.toolchain.clone(),
            ..Steps::default()
        };
        for row in &self.steps {
            all.environments.get(row.env as usize)?;
            all.unlisted.push(row.unlisted.iter().map(|number| text(*number)).collect::<Option<_>>()?);
            all.steps.push(Step {
                kind: row.kind,
                command: string(row.command)?,
                label: maybe(row.label)?,
                cmd: cmd(row.cmd)?,
                target: maybe(row.target)?,
                cwd: string(row.cwd)?,
                env: row.env,
                saved: match row.saved {
                    None => Saved::Unasked,
                    Some(-2) => Saved::Missing,
                    Some(number) => Saved::Read(digest(number)?),
                },
                within: row.within,
                inputs: contents(&row.inputs)?,
                outputs: contents(&row.outputs)?,
                ran: row.ran.iter().map(ran).collect::<Option<_>>()?,
                removed: list(&row.removed)?,
                in_place: list(&row.in_place)?,
                missing: list(&row.missing)?,
                tools: list(&row.tools)?,
                strays: list(&row.strays)?,
                sought: list(&row.sought)?,
                network: list(&row.network)?,
                processes: Vec::new(),
                began: row.began,
                ended: row.ended,
                cpu: row.cpu,
                end: row.end,
            });
        }
        Some(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_survive_their_file() {
        let content =
            |path: &str, sha256: Option<&str>| Content { path: path.into(), number: 0, sha256: sha256.map(Into::into) };
        let step = Step {
            kind: Kind::Recipe,
            command: "set -e; echo '  CC a.o'; cc -c a.c".into(),
            label: Some("CC a.o".into()),
            cmd: Some(Cmd { name: "cmd_cc_o_c".into(), file: "src/scripts/Makefile.build".into(), line: 7 }),
            target: Some("obj/a.o".into()),
            cwd: "obj".into(),
            env: 0,
            saved: Saved::Read(Some("ab".into())),
            within: None,
            inputs: vec![content("src/a.c", Some("01")), content("obj/fifo", None)],
            outputs: vec![content("obj/a.o", Some("02"))],
            ran: vec![Ran {
                command: "as -o a.o".into(),
                inputs: Some("0a".into()),
                outputs: vec![content("obj/a.o", Some("02"))],
                in_place: vec!["obj/a.o".into()],
            }],
            removed: vec!["obj/a.tmp".into()],
            in_place: Vec::new(),
            missing: vec!["obj/b.h".into()],
            tools: vec!["/usr/bin/cc".into()],
            strays: Vec::new(),
            sought: Vec::new(),
            network: Vec::new(),
            processes: Vec::new(),
            began: 3,
            ended: 9,
            cpu: 5,
            end: Some(End::Exit(0)),
        };
        let steps = Steps {
            objtree: "obj".into(),
            roots: vec![("/build/obj".into(), "obj".into())],
            gaps: vec!["something was not followed".into()],
            unlisted: vec![vec!["obj/fifo".into()], Vec::new()],
            steps: vec![step.clone(), Step { saved: Saved::Missing, cmd: None, label: None, ..step }],
            commands: vec![0, 1],
            environments: vec![vec!["A=b".into()]],
            toolchain: BTreeMap::from([("/usr/bin/cc".into(), Some(Digest::of(b"cc"))), ("/dev/x".into(), None)]),
        };
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        steps.write(&path).unwrap();
        assert_eq!(Steps::read(&path).unwrap(), steps);
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.replace("\"env\":0", "\"env\":1")).unwrap();
        assert!(Steps::read(&path).is_err(), "an environment that is not there");
    }
}
