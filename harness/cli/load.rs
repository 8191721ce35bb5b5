//! Finding scenario files and getting what they name ready: the edge before the pure stages.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rayon::prelude::*;

mod cells;

pub use cells::MatrixArgs;

use crate::artifact::record::ToolRecord;
use crate::cli::host::{Host, Need};
use crate::cli::progress::note;
use crate::cli::{CliError, SelectArgs, Session};
use crate::scenario::{self, Cell, Errors, GraftArch, Key, Loaded, Loader, Matrix, Problem, Tier, TreeKind};
use crate::tree::lower::{DirBeside, DirLower, MiniLower, read_regular};
use crate::tree::source::{Hold, Identity, Part, Progress, SourceError, SourceSpec, Sources, Status};
use crate::tree::{self, Lower};

/// A scenario file that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its id.
    pub id: String,
    /// The file.
    pub file: PathBuf,
    /// How to name it on the command line.
    pub name: String,
    /// The command that runs it again and keeps its trees.
    pub again: String,
    /// Whether it was named itself, and not by a directory, a pattern, or not at all.
    pub by_name: bool,
    /// Those of its cells that are asked for, by name; all if none is named.
    pub cells: Vec<String>,
}

/// A scenario that was read: of one with a matrix, one cell.
#[derive(Debug, Clone)]
pub struct Ready {
    /// The file.
    pub found: Found,
    /// What it says.
    pub loaded: Loaded,
    /// Where its sources come from.
    pub source: SourceSpec,
    /// What of a matrix it is; nothing where there is none.
    pub cell: Cell,
}

/// Reads files that others extend, relative to the file that names them. Names are relative to the current
/// directory where that is above, as on the command line: a cycle is known by them.
pub(crate) struct FileLoader;

impl Loader for FileLoader {
    fn load(&self, from: &str, wanted: &str) -> Result<(String, String), String> {
        let path = Path::new(from).parent().unwrap_or(Path::new("")).join(wanted);
        let text = text_of(&path).map_err(|(_, why)| why)?;
        let name = path.canonicalize().unwrap_or(path);
        let cwd = Path::new(".").canonicalize().unwrap_or_default();
        Ok((name.strip_prefix(&cwd).unwrap_or(&name).display().to_string(), text))
    }
}

/// The directory of scenarios: as asked, or `scenarios` here or above.
///
/// # Errors
/// It was asked for and is not there.
pub fn scenario_dir(asked: Option<&Path>, cwd: &Path) -> Result<Option<PathBuf>, CliError> {
    if let Some(dir) = asked {
        let dir = cwd.join(dir);
        if !dir.is_dir() {
            return Err(CliError::usage(format!("`{}` is no directory", dir.display()), "`--scenarios DIR`"));
        }
        return Ok(Some(dir));
    }
    // Any directory may be called `scenarios`; ours holds scenario files one level down.
    // What cannot be listed to its end is told by whoever needs it.
    let ours =
        |dir: &PathBuf| std::fs::read_dir(dir).is_ok() && !scenario_files(dir).is_ok_and(|files| files.is_empty());
    Ok(cwd.ancestors().map(|dir| dir.join("scenarios")).find(ours))
}

/// All scenario files below a directory, sorted. Sources of trees, fragments and files that only others
/// extend (their names start with `_`) are not scenarios.
///
/// # Errors
/// A directory cannot be listed, or a name is no UTF-8: a scenario would be left out that nobody misses.
pub fn scenario_files(dir: &Path) -> Result<Vec<PathBuf>, CliError> {
    let unread = |why: String| {
        CliError::host(
            format!("cannot list the scenarios in `{}`: {why}", dir.display()),
            "make all below it readable, or name the files that are wanted",
        )
    };
    let mut files = Vec::new();
    toml_files(dir, &mut files).map_err(unread)?;
    files.retain(|path| !["trees", "configs"].iter().any(|other| path.starts_with(dir.join(other))));
    files.retain(|path| !path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('_')));
    if let Some(odd) = files.iter().find(|path| path.to_str().is_none()) {
        return Err(CliError::usage(
            format!("the name of the scenario `{}` is no UTF-8", odd.display()),
            "give it another name",
        ));
    }
    files.sort_by(|a, b| a.as_os_str().cmp(b.as_os_str()));
    Ok(files)
}

/// Adds the files below a directory that are called like scenarios.
fn toml_files(dir: &Path, files: &mut Vec<PathBuf>) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("{error}: `{}`", dir.display());
    for entry in std::fs::read_dir(dir).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let path = entry.path();
        if entry.file_type().map_err(failed)?.is_dir() {
            toml_files(&path, files)?;
        } else if path.extension().is_some_and(|it| it == "toml") {
            files.push(path);
        }
    }
    Ok(())
}

/// Names in the record of a run that no scenario can have.
const RESERVED: &[&str] =
    &["run.json", "report.json", "report.txt", crate::artifact::sharding::FILE, "trees", "latest"];

/// The id of a scenario file: its path below the directory of scenarios, without `.toml`.
fn id_of(file: &Path, dir: Option<&Path>) -> String {
    let absolute = file.canonicalize().unwrap_or_else(|_| file.to_owned());
    let dir = dir.map(|dir| dir.canonicalize().unwrap_or_else(|_| dir.to_owned()));
    let relative = dir.and_then(|dir| absolute.strip_prefix(dir).ok().map(Path::to_owned));
    let path = relative.unwrap_or_else(|| PathBuf::from(file.file_name().unwrap_or_default()));
    let text = path.with_extension("").display().to_string();
    // It becomes a directory name, part by part.
    let safe = |c: char| if c.is_ascii_alphanumeric() || "-_./+".contains(c) { c } else { '_' };
    text.chars().map(safe).collect::<String>().trim_start_matches('.').to_owned()
}

/// The scenario files that the command line asks for.
///
/// # Errors
/// A file that is not there, a pattern that matches nothing, no directory of scenarios.
pub fn select(args: &SelectArgs, cwd: &Path) -> Result<Vec<Found>, CliError> {
    let dir = scenario_dir(args.scenarios.as_deref(), cwd)?;
    let found = |file: PathBuf, by_name| {
        let name = file.strip_prefix(cwd).unwrap_or(&file).display().to_string();
        let again = format!("kbuild-repro run {} --keep", crate::runner::shown(std::slice::from_ref(&name)));
        Found { id: id_of(&file, dir.as_deref()), file, name, again, by_name, cells: Vec::new() }
    };
    let all = || dir.as_deref().map_or(Ok(Vec::new()), scenario_files);
    let mut chosen: Vec<Found> = Vec::new();
    if args.what.is_empty() {
        if dir.is_none() {
            return Err(CliError::usage(
                "there is no directory `scenarios` here or above",
                "name a scenario file, or `--scenarios DIR`",
            ));
        }
        chosen.extend(all()?.into_iter().map(|file| found(file, false)));
    }
    for what in &args.what {
        let path = cwd.join(what);
        if path.is_dir() && dir.as_ref().is_none_or(|dir| !dir.join(what).is_dir() || path.starts_with(dir)) {
            chosen.extend(scenario_files(&path)?.into_iter().map(|file| found(file, false)));
        } else if path.is_file() {
            chosen.push(found(path, true));
        } else if let Some((file, cell)) = cells::of_file(what, cwd) {
            let mut one = found(cwd.join(file), true);
            if !cells::names(&one).iter().any(|name| name == cell) {
                return Err(cells::no_cell(&one, cell));
            }
            one.cells.push(cell.to_owned());
            chosen.push(one);
        } else if path.is_dir() && Path::new(what).is_absolute() {
            let files = scenario_files(&path)?;
            if files.is_empty() {
                return Err(CliError::usage(
                    format!("there is no scenario in `{what}`"),
                    "scenarios are files named *.toml",
                ));
            }
            chosen.extend(files.into_iter().map(|file| found(file, false)));
        } else if what.ends_with(".toml") || what.starts_with(['/', '.']) {
            return Err(CliError::usage(format!("there is no file `{what}`"), "kbuild-repro list"));
        } else {
            let pattern = wildmatch::WildMatch::new(what);
            let fits =
                |id: &str| if what.contains(['*', '?']) { pattern.matches(id) } else { id.contains(what.as_str()) };
            let picked = |found: Found| {
                if fits(&found.id) {
                    return Some(found);
                }
                if !cells::can_name(what, &found.id) {
                    return None;
                }
                let cells: Vec<String> =
                    cells::names(&found).into_iter().filter(|cell| fits(&cell_id(&found.id, cell))).collect();
                (!cells.is_empty()).then_some(Found { cells, ..found })
            };
            let files = all()?;
            let each = || files.iter().map(|file| found(file.clone(), false));
            let matching: Vec<Found> = each().filter_map(picked).collect();
            if matching.is_empty() {
                return Err(no_match(what, &each().collect::<Vec<_>>()));
            }
            let is_it = |found: &Found| {
                found.id == *what || matches!(found.cells.as_slice(), [cell] if cell_id(&found.id, cell) == *what)
            };
            let exact = matching.iter().any(is_it);
            chosen.extend(matching.into_iter().filter(|found| !exact || is_it(found)).map(|mut found| {
                found.by_name = exact;
                found
            }));
        }
    }
    let file = |found: &Found| found.file.canonicalize().unwrap_or_else(|_| found.file.clone());
    let mut chosen = cells::merge(chosen, &file);
    // Two files outside the directory of scenarios can have one name.
    let names = scenario::told_apart(chosen.iter().map(|found| found.id.clone()).collect());
    for (found, name) in chosen.iter_mut().zip(names) {
        found.id = name;
    }
    let top = |found: &Found| found.id.split('/').next().unwrap_or_default().to_owned();
    if let Some(found) = chosen.iter().find(|found| RESERVED.contains(&top(found).as_str())) {
        return Err(CliError::usage(
            format!("`{}`: a run keeps a file of its own under the name `{}`", found.name, top(found)),
            "give the scenario another name",
        ));
    }
    Ok(chosen)
}

/// The ids of the scenarios that a file gives: those of its cells that are asked for, or its own.
pub(super) fn ids(found: &Found) -> Vec<String> {
    let cells = if found.cells.is_empty() { cells::names(found) } else { found.cells.clone() };
    if cells.is_empty() { vec![found.id.clone()] } else { cells.iter().map(|cell| cell_id(&found.id, cell)).collect() }
}

/// The id of a scenario's cell.
fn cell_id(id: &str, cell: &str) -> String {
    format!("{id}{}{cell}", cells::AT)
}

/// The error that nothing matches a pattern; the nearest name is one of a scenario or of a cell.
fn no_match(what: &str, others: &[Found]) -> CliError {
    // Only where the scenario is right is it worth reading what cells it has.
    let asked = what.split_once(cells::AT).map_or("", |(id, _)| id);
    let of_it = others.iter().find(|found| found.id == asked);
    let cells: Vec<String> = of_it.map_or(Vec::new(), cells::names);
    let cells: Vec<String> = cells.iter().map(|cell| cell_id(asked, cell)).collect();
    let ids = others.iter().map(|found| found.id.as_str()).chain(cells.iter().map(String::as_str));
    let near = scenario::nearest(what, ids);
    CliError::Nothing {
        message: format!("no scenario matches `{what}`"),
        hint: Some(near.map_or("kbuild-repro list".into(), |near| format!("did you mean `{near}`?"))),
    }
}

/// Reads the scenario files: one scenario for each, and of one with a matrix one for each cell.
///
/// # Errors
/// All errors of all files: where one is wrong, they are all tried on their trees, as far as these are at hand
/// in `sources`, so that what is wrong there too is told with it.
pub fn read(found: Vec<Found>, sources: &Sources) -> Result<Vec<Ready>, CliError> {
    Ok(read_over(found, &Matrix::default(), sources)?.0)
}

/// The same with the lists of the command line in place of those of the files, and beside them why scenarios that were
/// not named themselves have no use for these, with how many they are.
///
/// # Errors
/// As [`read`], and that a scenario that was named has no use for them.
pub(super) fn read_over(
    found: Vec<Found>,
    over: &Matrix,
    sources: &Sources,
) -> Result<(Vec<Ready>, BTreeMap<String, usize>), CliError> {
    let All { ready, wrong, unfit, mut errors } = read_all(found, over);
    if let Some(unfit) = unfit.iter().find(|unfit| unfit.found.by_name) {
        return Err(unfit.usage());
    }
    if errors.0.is_empty() {
        let mut reasons = BTreeMap::new();
        for unfit in unfit {
            *reasons.entry(unfit.why).or_default() += 1;
        }
        return Ok((ready, reasons));
    }
    for ready in ready.iter().chain(&wrong) {
        errors.0.extend(on_paper(ready, sources).err().unwrap_or_default().0);
    }
    Err(CliError::Scenario(errors.sorted()))
}

/// The scenario files that are right, and the errors of the others.
pub(super) fn read_each(found: Vec<Found>) -> (Vec<Ready>, Errors) {
    let All { ready, errors, .. } = read_all(found, &Matrix::default());
    (ready, errors.sorted())
}

/// What came of reading scenario files.
#[derive(Default)]
struct All {
    /// The scenarios that are right.
    ready: Vec<Ready>,
    /// What is left of those that are wrong.
    wrong: Vec<Ready>,
    /// Those that have no use for the command line's lists.
    unfit: Vec<cells::Unfit>,
    /// What is wrong.
    errors: Errors,
}

fn read_all(found: Vec<Found>, over: &Matrix) -> All {
    let mut all = All::default();
    for found in found {
        let (loaded, more) = read_one(&found);
        let right = more.0.is_empty();
        all.errors.0.extend(more.0);
        let Some(loaded) = loaded else { continue };
        match cells::expand(&found, &loaded, over) {
            Ok((cells, problems)) => {
                if right { &mut all.ready } else { &mut all.wrong }.extend(cells);
                // Where `srctree` is not written or of a wrong type, that was said.
                if !loaded.document.is_damaged(&crate::key_path!["tree", "srctree"]) {
                    all.errors.0.extend(problems.0);
                }
            }
            Err(unfit) => all.unfit.push(*unfit),
        }
    }
    all
}

/// Tries a scenario's edits on its tree without building.
///
/// # Errors
/// Every edit that does not apply, and everything it names that is not there.
pub(super) fn on_paper(ready: &Ready, sources: &Sources) -> Result<OnPaper, Errors> {
    match at_hand(ready, sources) {
        Ok(hand) => {
            if let Some(reason) = cannot_build(ready, &hand) {
                return Ok(OnPaper::CannotBuild(reason));
            }
            let Loaded { scenario, document } = &ready.loaded;
            match tree::plan(scenario, document, hand.lower.as_ref(), &beside(&ready.found)) {
                Ok(_) => Ok(OnPaper::Tried),
                Err(errors) => does_not_fit(ready, errors).map(OnPaper::CannotBuild),
            }
        }
        Err(Absent::Wrong(problem)) => Err(Errors::of(*problem)),
        Err(Absent::Fetch(how)) => Ok(OnPaper::NotAtHand(how)),
    }
}

/// Whether edits could be tried.
pub(super) enum OnPaper {
    /// They all apply.
    Tried,
    /// The tree is not in the cache; the command that gets it.
    NotAtHand(String),
    /// The kernel cannot build the graft; why.
    CannotBuild(String),
}

/// Why the kernel cannot build what the scenario asks of it, where that shows without building.
#[must_use]
pub fn cannot_build(ready: &Ready, hand: &AtHand) -> Option<String> {
    let scenario = &ready.loaded.scenario;
    let arch = scenario.tree.arch.unwrap_or_default();
    scenario.is_graft().then(|| tree::graft::cannot(hand.lower.as_ref(), arch)).flatten()
}

/// Why a git revision cannot be tested, if all that is wrong is that edits do not fit its files, or symbols its Kconfig:
/// what they look for came later, or is gone. In a bisection that says nothing of the revision; of other sources it is the
/// scenario's error.
pub(super) fn does_not_fit(ready: &Ready, errors: Errors) -> Result<String, Errors> {
    let SourceSpec::Git(source) = &ready.source else { return Err(errors) };
    match errors.0.as_slice() {
        [first, rest @ ..] if first.of_sources && rest.iter().all(|problem| problem.of_sources) => {
            let hint = first.hint.as_ref().map_or(String::new(), |hint| format!(" ({hint})"));
            Ok(format!("the scenario does not fit `{}`: {}:{}: {first}{hint}", source.rev, first.file, first.at.0))
        }
        _ => Err(errors),
    }
}

/// No scenario is larger, whatever it patches.
const MAX_SIZE: u64 = 16 << 20;

/// The text of a scenario file.
///
/// # Errors
/// Why it cannot be read, in a few words, and where its text ends to be text.
fn text_of(path: &Path) -> Result<String, (String, String)> {
    let bytes = read_regular(path, MAX_SIZE).map_err(|why| (String::new(), why))?;
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let before = String::from_utf8_lossy(&error.as_bytes()[..valid]).into_owned();
        (before, "not UTF-8 from here on".to_owned())
    })
}

fn read_one(found: &Found) -> (Option<Loaded>, Errors) {
    match text_of(&found.file) {
        Ok(text) => scenario::read(&found.name, &text, &FileLoader),
        Err((before, why)) => {
            let at = before.len();
            let text = Arc::new(miette::NamedSource::new(&found.name, before));
            (None, Errors::of(Problem::in_text(&text, at..at, format!("cannot read the scenario: {why}"))))
        }
    }
}

/// The key that says where the sources come from.
fn source_key(loaded: &Loaded, cell: &Cell) -> Vec<Key> {
    if let Some(key) = cell.kernel_key() {
        return key.into();
    }
    let graft = loaded.scenario.is_graft() && loaded.scenario.tree.kernel.is_some();
    crate::key_path!["tree", if graft { "kernel" } else { "srctree" }].into()
}

fn source(found: &Found, loaded: &Loaded, cell: &Cell) -> Result<SourceSpec, Box<Problem>> {
    let at = source_key(loaded, cell);
    let spec = SourceSpec::parse(loaded.scenario.kernel_source())
        .map_err(|error| Box::new(Problem::at_key(&loaded.document, &at, error.to_string()).hint(error.hint())))?;
    if loaded.scenario.is_graft() && matches!(spec, SourceSpec::Mini | SourceSpec::Graft) {
        let problem = Problem::at_key(&loaded.document, &at, format!("`{spec}` is no kernel"));
        return Err(Box::new(
            problem.hint("a graft is built by the kbuild of a kernel, e.g. `kernel = \"debian:6.12\"`"),
        ));
    }
    let dir = found.file.parent().unwrap_or(Path::new("/"));
    // A path is relative to the file that names it, even where that is one that is extended.
    let (index, _) = loaded.document.locate(&at);
    let name = loaded.document.text(index).name();
    let named = std::path::absolute(name).unwrap_or_else(|_| name.into());
    let base = if index == 0 { dir } else { named.parent().unwrap_or(dir) };
    Ok(spec.resolve(base))
}

/// What a scenario needs of the host's tools.
#[must_use]
pub fn needs(ready: &Ready) -> Vec<Need> {
    let scenario = &ready.loaded.scenario;
    let mut needs = match (&ready.source, scenario.tree.kind) {
        // It has what whole kernels have: bc, objtool with its libelf, a compressed image.
        _ if scenario.is_graft() && scenario.tree.arch == Some(GraftArch::X86) => vec![Need::Kernel],
        _ if scenario.is_graft() => vec![Need::Graft],
        (SourceSpec::Mini, _) | (_, Some(TreeKind::Make)) => vec![Need::Mini],
        (SourceSpec::Directory(dir), None) if !dir.join("Kconfig").is_file() => vec![Need::Mini],
        _ => vec![Need::Kernel],
    };
    match &ready.source {
        SourceSpec::Debian(_) => needs.push(Need::DebianSource),
        SourceSpec::Tarball(_) => needs.push(Need::Tarball),
        SourceSpec::Git(_) => needs.push(Need::Git),
        _ => {}
    }
    if scenario.needs.iter().any(|need| need == "pahole") {
        needs.push(Need::MiniBtf);
    }
    needs
}

/// Tools that a scenario names itself and that are not there.
#[must_use]
pub fn missing_own(ready: &Ready, host: &Host) -> Vec<String> {
    let scenario = &ready.loaded.scenario;
    let missing = |need: &&String| host.find(need).is_none() && !super::toolchain::brings(scenario, need);
    scenario.needs.iter().filter(missing).cloned().collect()
}

/// A source tree that is at hand.
pub struct AtHand {
    /// What reads it.
    pub lower: Box<dyn Lower + Send>,
    /// Its directory; none for the mini tree.
    pub dir: Option<PathBuf>,
    /// The kernel's version.
    pub kernel: Option<String>,
    /// What identifies it.
    pub identity: String,
    /// Keeps it in the cache while it is used.
    _hold: Option<Hold>,
}

/// Whether the source must be fetched first, and how.
#[derive(Debug)]
pub enum Absent {
    /// The command that gets it.
    Fetch(String),
    /// It cannot be had.
    Wrong(Box<Problem>),
}

/// The source tree of a scenario, without fetching anything.
///
/// # Errors
/// It is not there: it can be fetched, or the scenario is wrong.
pub fn at_hand(ready: &Ready, sources: &Sources) -> Result<AtHand, Absent> {
    let scenario = &ready.loaded.scenario;
    let sources = &sources.part(part(ready));
    let wrong = |message: String, hint: String| {
        let problem = Problem::at_key(&ready.loaded.document, &source_key(&ready.loaded, &ready.cell), message);
        Absent::Wrong(Box::new(problem.hint(hint)))
    };
    match &ready.source {
        SourceSpec::Mini => Ok(AtHand {
            lower: Box::new(MiniLower),
            dir: None,
            kernel: None,
            identity: format!("mini of kbuild-repro {}", env!("CARGO_PKG_VERSION")),
            _hold: None,
        }),
        SourceSpec::Directory(dir) if plain(dir, scenario.tree.kind) => {
            if !dir.is_dir() {
                return Err(wrong(format!("`{}` is no directory", dir.display()), "name a source tree".into()));
            }
            let dir = dir.canonicalize().unwrap_or_else(|_| dir.clone());
            let identity = dir.display().to_string();
            Ok(AtHand { lower: Box::new(DirLower(dir.clone())), dir: Some(dir), kernel: None, identity, _hold: None })
        }
        spec => match sources.lookup(spec) {
            // At hand already: this fetches nothing, and says what exactly it is.
            Ok(Status::Ready(_) | Status::Cached(_)) => match sources.fetch(spec, &mut |_| {}) {
                Ok(source) if source.version.is_none() && !plain(&source.dir, scenario.tree.kind) => Err(wrong(
                    format!("`{spec}` is no kernel source: its Makefile states no VERSION and PATCHLEVEL"),
                    "for another tree that builds with make say `kind = \"make\"`".into(),
                )),
                Ok(source) => Ok(AtHand {
                    lower: Box::new(DirLower(source.dir.clone())),
                    kernel: source.version.as_ref().map(ToString::to_string),
                    identity: match source.identity {
                        Identity::Directory => source.dir.display().to_string(),
                        ref identity => identity.to_string(),
                    },
                    _hold: sources.hold(&source),
                    dir: Some(source.dir),
                }),
                Err(error) => Err(wrong(error.to_string(), hint_of(&error))),
            },
            Ok(Status::Absent { how, .. }) => Err(Absent::Fetch(how)),
            // `source` lets no other name of a built-in tree through.
            Ok(Status::BuiltIn) => Err(wrong(format!("`{spec}` is no source tree"), "use `mini`".into())),
            Err(error) => Err(wrong(error.to_string(), hint_of(&error))),
        },
    }
}

/// What to do about a source that cannot be had.
fn hint_of(error: &SourceError) -> String {
    match error {
        // git has this name only while it bisects without a work tree.
        SourceError::GitRevision { repo, rev, .. } if rev.starts_with("BISECT_HEAD") => {
            format!("no bisection is going on there: `git -C {} bisect start --no-checkout BAD GOOD`", repo.display())
        }
        error => error.hint().unwrap_or_default(),
    }
}

/// How much of its source a scenario needs.
#[must_use]
pub fn part(ready: &Ready) -> Part {
    if ready.loaded.scenario.is_graft() { Part::Graft } else { Part::Whole }
}

/// Whether a directory is built as a plain make tree.
fn plain(dir: &Path, kind: Option<TreeKind>) -> bool {
    kind == Some(TreeKind::Make) || (kind.is_none() && !dir.join("Kconfig").is_file())
}

/// Where the files beside a scenario are looked for.
#[must_use]
pub fn beside(found: &Found) -> DirBeside {
    let dir = found.file.parent().unwrap_or(Path::new("/")).to_owned();
    let shared = dir.ancestors().map(|dir| dir.join("configs")).find(|dir| dir.is_dir());
    DirBeside(std::iter::once(dir).chain(shared).collect())
}

/// The toolchain that builds will use, by content.
#[must_use]
pub fn toolchain(host: &Host) -> Vec<ToolRecord> {
    host.tools
        .par_iter()
        .filter_map(|(name, info)| {
            let info = info.as_ref()?;
            let sha256 = crate::artifact::hash_file(&info.path).ok().map(|(digest, _)| digest);
            Some(ToolRecord {
                name: (*name).to_owned(),
                path: info.path.display().to_string(),
                version: info.version.clone(),
                key: info.version_key.clone(),
                sha256,
            })
        })
        .collect()
}

/// Gets sources and tools into the cache; one that cannot be had keeps none of the others away.
///
/// # Errors
/// Those of the first that cannot be had; the others are told.
pub fn fetch(what: &[String], cache: Option<&Path>, session: &mut Session<'_>) -> Result<u8, CliError> {
    let host = super::run::capture_without_tools()?;
    let mut failed = None;
    for source in what {
        match fetch_one(&host, source, cache) {
            Ok(got) => writeln!(session.out, "{got}")?,
            Err(error) if failed.is_none() => failed = Some(error),
            Err(error) => note(&format!("{source}: {error}")),
        }
    }
    failed.map_or(Ok(0), Err)
}

/// Gets one, and says what and where it is.
fn fetch_one(host: &Host, source: &str, cache: Option<&Path>) -> Result<String, CliError> {
    if let Some(id) = source.strip_prefix(super::toolchain::SCHEME) {
        return super::toolchain::fetch(host, id, cache);
    }
    let spec = SourceSpec::parse(source).map_err(|error| CliError::usage(error.to_string(), error.hint()))?;
    let spec = spec.resolve(&host.cwd);
    let sources = sources(host, cache);
    let got = get(&sources, &spec, host.terminal.is_terminal)?;
    let version = got.version.map_or(String::new(), |version| format!(" {version}"));
    Ok(format!("{}{version} in {}", got.identity, got.dir.display()))
}

/// The cache of sources.
#[must_use]
pub fn sources(host: &Host, cache: Option<&Path>) -> Sources {
    Sources::new(self::cache(host, cache), host.env.clone())
}

/// The cache directory: as asked, or the user's.
#[must_use]
pub fn cache(host: &Host, asked: Option<&Path>) -> PathBuf {
    asked.map_or(host.paths.cache.clone(), |cache| host.cwd.join(cache))
}

/// Gets a source, with progress on standard error.
///
/// # Errors
/// It cannot be had.
pub fn get(sources: &Sources, spec: &SourceSpec, terminal: bool) -> Result<crate::tree::source::Source, CliError> {
    let mut shown = crate::cli::progress::Fetching::new(&spec.to_string(), terminal);
    let got = sources.fetch(spec, &mut |progress: Progress| shown.show(&progress));
    shown.finish();
    got.map_err(CliError::not_had)
}

/// Tiers that a run takes without being asked.
#[must_use]
pub fn default_tier(tier: Tier, by_name: bool) -> bool {
    by_name || matches!(tier, Tier::Quick | Tier::Graft)
}
