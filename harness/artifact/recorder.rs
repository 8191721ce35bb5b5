//! Looks at builds as they are made and records them: the runner's [`Observer`].

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use rayon::prelude::*;
use wildmatch::WildMatch;

use super::booting::Booting;
use super::opened::Opened;
use super::record::{BuildRecord, ReplayChange, ReplayRecord, SnapshotRecord};
use super::steps::{self, Sources, Steps};
use super::walk::walk_opening;
use super::{
    Artifact, ArtifactError, Base, Bounds, Digest, FileEntry, FileKind, PartDiff, describe_within, diff_parts,
    escape_path, hash_file_within, sparse, unescape_path,
};
use crate::artifact::btf;
use crate::artifact::{section, shipped};
use crate::runner::millis;
use crate::runner::replay::{Came, Change};
use crate::runner::{
    Built, Chain, Event, Mode, Observer, PlannedBuild, Prepared, REPLAYS, Replayed, Role, RunError, Seen, Status,
    labels, tail,
};
use crate::sandbox::overlay;

mod kept;

/// The most of a path that is told.
const PATH_TOLD: usize = 200;
/// Lines of the log that the record of a failed build keeps.
const TAIL: usize = 20;

/// What a recorder has to know.
#[derive(Debug)]
pub struct Plan {
    /// The directory of the scenario's record.
    pub dir: PathBuf,
    /// A directory where one copy of every artifact is kept while the scenario runs.
    pub store: PathBuf,
    /// Patterns of the artifacts.
    pub artifacts: Vec<String>,
    /// Artifacts whose BTF is wanted as text.
    pub snapshots: Vec<String>,
    /// How the kernels of builds are booted, if they are.
    pub boot: Option<Booting>,
}

/// The BTF text of each artifact that is kept as a snapshot, or why there is none.
pub type Texts = Vec<(String, Result<String, String>)>;

/// Records builds.
pub struct Recorder<'a> {
    plan: Plan,
    patterns: Vec<WildMatch>,
    /// Artifacts that the sources bring along; they are looked at once, since nobody writes to them.
    shipped: OnceLock<Result<Vec<Artifact>, RunError>>,
    bounds: Bounds<'a>,
    events: &'a (dyn Fn(Event) + Sync),
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    builds: Vec<BuildRecord>,
    trees: BTreeMap<String, Tree>,
    snapshots: Texts,
    traces: BTreeMap<String, Steps>,
    replays: Vec<ReplayRecord>,
    /// Digests of files outside of the trees, by path, with what they were known by.
    toolchain: HashMap<PathBuf, (FileEntry, Digest)>,
}

/// Everything recorded.
#[derive(Debug)]
pub struct Recorded {
    /// The builds.
    pub builds: Vec<BuildRecord>,
    /// Texts of snapshots.
    pub texts: Texts,
    /// What the traced builds did, by their names.
    pub traces: BTreeMap<String, Steps>,
    /// Steps that were run again.
    pub replays: Vec<ReplayRecord>,
}

/// What was in a tree after its last build.
#[derive(Default, Clone)]
struct Tree {
    files: BTreeMap<String, (FileEntry, Option<Digest>)>,
    artifacts: Vec<(String, Digest, u32)>,
}

impl<'a> Recorder<'a> {
    /// A recorder; `events` follows the progress. Files beyond the bounds are not compared.
    #[must_use]
    pub fn new(plan: Plan, bounds: Bounds<'a>, events: &'a (dyn Fn(Event) + Sync)) -> Self {
        let patterns = plan.artifacts.iter().map(|pattern| WildMatch::new(pattern)).collect();
        Self { plan, patterns, shipped: OnceLock::new(), bounds, events, state: Mutex::default() }
    }

    /// Everything recorded: builds in the order of `order` (ids), others after them.
    #[must_use]
    pub fn finish(self, order: &[String]) -> Recorded {
        let mut state = self.state.into_inner().unwrap_or_else(PoisonError::into_inner);
        let rank = |build: &BuildRecord| {
            // A further no-op stands behind the planned ones of its tree.
            let known = order.iter().position(|id| *id == build.id);
            let kin = || order.iter().rposition(|id| id.starts_with("control/noop"));
            (known.or_else(kin).unwrap_or(usize::MAX), build.id.clone())
        };
        state.builds.sort_by_key(rank);
        Recorded { builds: state.builds, texts: state.snapshots, traces: state.traces, replays: state.replays }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_artifact(&self, path: &str) -> bool {
        // Under O= kbuild leaves a link to the sources behind and host tools no one compares.
        self.patterns.iter().any(|pattern| pattern.matches(path))
    }

    fn record(&self, built: &Built<'_>) -> Result<Seen, RunError> {
        let before = self.state().trees.get(built.instance).cloned().unwrap_or_default();
        // until the end of this function
        let mut opened = Opened::default();
        let entries = match walk_opening(&built.objtree, &mut opened, |_, _| true) {
            Ok(entries) => entries,
            Err(error) => return self.unseen(built, &error),
        };
        let (entries, others): (Vec<_>, Vec<_>) = entries.into_iter().partition(|e| e.kind == FileKind::File);
        let mut objtree_bytes: u64 = entries.iter().map(|entry| entry.size).sum();
        let is_special = |e: &FileEntry| e.kind != FileKind::Dir && self.is_artifact(&e.path);
        let special: Vec<FileEntry> = others.into_iter().filter(is_special).collect();
        let is_new = |entry: &FileEntry| {
            before.files.get(&entry.path).is_none_or(|(old, _)| (old.mtime, old.ino) != (entry.mtime, entry.ino))
        };
        let written: BTreeSet<String> = entries.iter().filter(|e| is_new(e)).map(|e| e.path.clone()).collect();
        let on_disk = |path: &str| built.objtree.join(unescape_path(path));
        let base = section(&on_disk("vmlinux"), ".BTF").ok().flatten();
        if let Some(base) = &base {
            let kept = base_of(&self.plan.store, &built.build.id);
            let written = fs::create_dir_all(&self.plan.store).and_then(|()| fs::write(kept, base));
            written.map_err(|error| RunError::of(format!("cannot keep the BTF of vmlinux: {error}"), &error))?;
        }
        let base = base.and_then(|bytes| Base::parse(bytes).ok());
        let (mut artifacts, others): (Vec<_>, Vec<_>) =
            entries.into_iter().partition(|entry| self.is_artifact(&entry.path));
        artifacts.sort_by(|a, b| a.path.cmp(&b.path));
        let described: Result<Vec<Artifact>, ArtifactError> = artifacts
            .par_iter()
            .map(|entry| {
                let artifact = describe_within(&on_disk(&entry.path), &entry.path, base.as_ref(), &self.bounds)?;
                Ok(Artifact { mode: entry.mode, ..artifact })
            })
            .collect();
        let mut artifacts = match described {
            Ok(artifacts) => artifacts,
            Err(error) => return self.unseen(built, &error),
        };
        for artifact in &artifacts {
            match self.keep(&on_disk(&artifact.path), artifact.sha256) {
                Err(error) if sparse::is_stop(&error) => return Ok(Seen::Stopped),
                r => r.map_err(|error| {
                    RunError::of(format!("cannot keep a copy of `{}`: {error}", artifact.path), &error)
                })?,
            }
        }
        artifacts.extend(special.iter().map(|entry| shipped::special(&built.objtree, entry)));
        if let Some(lower) = &built.lower {
            let brought = match self.shipped(lower) {
                Err(_) if self.bounds.cancel.load(Ordering::Relaxed) => return Ok(Seen::Stopped),
                brought => brought?,
            };
            let seen = |artifact: &&Artifact| overlay::shows_through(&built.objtree, &unescape_path(&artifact.path));
            artifacts.extend(brought.iter().filter(seen).cloned());
        }
        let mut brought = BTreeMap::new();
        if let Some(prepared) = &built.prepared {
            match self.prepared(prepared, built) {
                Err(ArtifactError::Stopped) => return Ok(Seen::Stopped),
                Err(error) => return Err(RunError::of(chain(&error), &error)),
                Ok(Brought { artifacts: more, files, bytes }) => {
                    artifacts.extend(more);
                    brought = files;
                    objtree_bytes += bytes;
                }
            }
        }
        artifacts.sort_by(|a, b| a.path.cmp(&b.path));
        // Of these only the times are kept, by which it is known whether they were written.
        let books: Vec<FileEntry> = others.iter().filter(|entry| is_bookkeeping(&entry.path)).cloned().collect();
        // Files that were not written since keep their digest; an artifact is always read again. One that cannot be
        // read or is too large has none: by its time and size it is known whether it was written.
        let files: Option<BTreeMap<String, (FileEntry, Option<Digest>)>> = others
            .into_par_iter()
            .filter(|entry| !is_bookkeeping(&entry.path))
            .map(|entry| {
                let old =
                    before.files.get(&entry.path).filter(|(old, _)| *old == entry).and_then(|(_, digest)| *digest);
                let digest = match old {
                    Some(digest) => Some(digest),
                    None => match hash_file_within(&on_disk(&entry.path), &self.bounds) {
                        Err(ArtifactError::Stopped) => return None,
                        hashed => hashed.ok().map(|(digest, _)| digest),
                    },
                };
                Some((entry.path.clone(), (entry, digest)))
            })
            .collect();
        let Some(files) = files else { return Ok(Seen::Stopped) };
        let now: Vec<(String, Digest, u32)> =
            artifacts.iter().map(|artifact| (artifact.path.clone(), artifact.sha256, artifact.mode)).collect();
        let changed = now != before.artifacts;
        if built.build.mode == Mode::Clean && built.role == Role::Control && built.status.ok() {
            let texts =
                self.plan.snapshots.iter().map(|path| (path.clone(), text(&on_disk(path), path, base.as_ref())));
            let texts: Vec<_> = texts.collect();
            self.state().snapshots = texts;
        }
        let mut record = BuildRecord {
            artifacts,
            files: brought
                .into_iter()
                .chain(files.iter().filter_map(|(path, (_, digest))| Some((path.clone(), (*digest)?))))
                .collect(),
            written,
            objtree_bytes,
            ..self.outline(built, built.status.clone())?
        };
        self.steps(built, &mut record)?;
        let tells = built.build.mode != Mode::Noop && built.role != Role::Variation;
        if let Some(booting) = self.plan.boot.as_ref().filter(|_| built.status.ok() && tells) {
            let cancel = self.bounds.cancel;
            record.boot = Some(booting.boot(&record.id, &built.objtree, &record.artifacts, cancel)?);
        }
        let mut tree = Tree { files, artifacts: now };
        tree.files.extend(books.into_iter().map(|entry| (entry.path.clone(), (entry, None))));
        // Artifacts have their times looked at, too.
        for artifact in &record.artifacts {
            if let Ok(meta) = fs::symlink_metadata(on_disk(&artifact.path)) {
                tree.files.insert(artifact.path.clone(), (entry_of(&artifact.path, &meta), None));
            }
        }
        let mut state = self.state();
        state.trees.insert(built.instance.to_owned(), tree);
        state.builds.push(record);
        Ok(if changed { Seen::Changed } else { Seen::Same })
    }

    /// What a build did, in a file beside its log; processor time is that of its processes, without the tracer's.
    fn steps(&self, built: &Built<'_>, record: &mut BuildRecord) -> Result<(), RunError> {
        let Some(traced) = &built.traced else { return Ok(()) };
        let traces = match traced.read() {
            Ok(traces) => traces,
            // A build that was killed, and its tracer with it, leaves none.
            Err(error) => {
                record.untraced = Some(chain(&error));
                return Ok(());
            }
        };
        record.interrupted = traces.iter().find_map(|trace| trace.interrupted.clone());
        record.cpu_ms = traces.iter().flat_map(|trace| &trace.processes).map(|process| process.cpu).sum::<u64>() / 1000;
        let mut from = Sources {
            roots: &traced.roots,
            objtree: &traced.objtree,
            read: &mut |path| fs::read(traced.place(path)?).ok(),
            hash: &mut |path| self.outside(&traced.place(path)?),
        };
        let steps = Steps::of(&traces, &mut from);
        drop(traces);
        let path = built.log.with_file_name(steps::FILE);
        steps.write(&path).map_err(|error| RunError::of(chain(&error), &error))?;
        record.traced = true;
        self.state().traces.insert(built.build.id.clone(), steps);
        Ok(())
    }

    /// The digest of a file outside of the trees, which few builds change.
    fn outside(&self, path: &Path) -> Option<Digest> {
        let entry = entry_of(&path.to_string_lossy(), &fs::metadata(path).ok().filter(fs::Metadata::is_file)?);
        if let Some((_, digest)) = self.state().toolchain.get(path).filter(|(known, _)| *known == entry) {
            return Some(*digest);
        }
        let (digest, _) = hash_file_within(path, &self.bounds).ok()?;
        self.state().toolchain.insert(path.to_owned(), (entry, digest));
        Some(digest)
    }

    /// Records a build whose files cannot be looked at: nothing can be said about them.
    fn unseen(&self, built: &Built<'_>, error: &ArtifactError) -> Result<Seen, RunError> {
        if matches!(error, ArtifactError::Stopped) {
            return Ok(Seen::Stopped);
        }
        if !error.is_of_the_build() {
            return Err(RunError::of(chain(error), error));
        }
        // A failed build stays what it is.
        let status = if built.status.ok() { Status::Unseen(self.told(built, error)) } else { built.status.clone() };
        let mut record = self.outline(built, status.clone())?;
        self.steps(built, &mut record)?;
        let mut state = self.state();
        state.builds.push(record);
        Ok(Seen::Nothing(status))
    }

    /// The error with the path as the build knows it, and not all of one that is too long.
    fn told(&self, built: &Built<'_>, error: &ArtifactError) -> String {
        let text = chain(error).replace(&format!("{}/", built.objtree.display()), "");
        let Some((path, rest)) = text.rsplit_once('`').filter(|(path, _)| path.chars().count() > PATH_TOLD) else {
            return text;
        };
        format!("{}…`{rest}", path.chars().take(PATH_TOLD).collect::<String>())
    }

    /// What is known of a build without its files.
    fn outline(&self, built: &Built<'_>, status: Status) -> Result<BuildRecord, RunError> {
        let unread = |error: io::Error| RunError::of(format!("cannot read the log: {error}"), &error);
        let printed = labels(&built.log).map_err(unread)?;
        Ok(BuildRecord {
            id: built.build.id.clone(),
            role: built.role,
            mode: built.build.mode,
            edit: built.build.edit,
            varied: built.varied.clone(),
            commands: built.commands.clone(),
            preparation: built.preparation.clone(),
            wall_ms: millis(built.wall),
            cpu_ms: millis(built.cpu),
            labels: printed.labels,
            lines: printed.lines,
            log_cut: printed.cut,
            log: built.log.strip_prefix(&self.plan.dir).unwrap_or(&built.log).display().to_string(),
            reused: false,
            traced: false,
            untraced: None,
            interrupted: None,
            boot: None,
            log_tail: if status.ok() { Vec::new() } else { tail(&built.log, TAIL).map_err(unread)? },
            status,
            artifacts: Vec::new(),
            files: BTreeMap::new(),
            objtree_bytes: 0,
            written: BTreeSet::new(),
        })
    }

    /// What of the prepared state shows in the object tree.
    fn prepared(&self, prepared: &Prepared, built: &Built<'_>) -> Result<Brought, ArtifactError> {
        let Brought { mut artifacts, mut files, mut bytes } = Brought::default();
        for (path, sha256, size) in prepared.files() {
            if !overlay::shows_through(&built.objtree, Path::new(path)) {
                continue;
            }
            bytes += size;
            let (name, place) = (escape_path(Path::new(path)), prepared.dir().join(path));
            if self.is_artifact(&name) {
                let artifact = describe_within(&place, &name, None, &self.bounds)?;
                let io = |source| ArtifactError::Io { action: "keep", path: place.clone(), source };
                self.keep(&place, artifact.sha256).map_err(io)?;
                let mode = fs::metadata(&place).map_err(io)?.permissions().mode() & 0o7777;
                artifacts.push(Artifact { mode, ..artifact });
            } else if let (false, Ok(digest)) = (is_bookkeeping(&name), sha256.parse()) {
                files.insert(name, digest);
            }
        }
        Ok(Brought { artifacts, files, bytes })
    }

    /// The artifacts that the sources bring along.
    fn shipped(&self, lower: &Path) -> Result<&[Artifact], RunError> {
        let failed = |error: &ArtifactError| RunError::of(chain(error), error);
        let look = || {
            let entries = shipped::candidates(lower, |path| self.is_artifact(path)).map_err(|e| failed(&e))?;
            let describe = |entry: &FileEntry| {
                let path = lower.join(unescape_path(&entry.path));
                let artifact = match entry.kind {
                    FileKind::File => match describe_within(&path, &entry.path, None, &self.bounds) {
                        // What cannot be read is at least there or not.
                        Err(error) if error.is_of_the_build() => shipped::special(lower, entry),
                        described => {
                            let artifact = described.map_err(|error| failed(&error))?;
                            self.keep(&path, artifact.sha256).map_err(|e| RunError::of(e.to_string(), &e))?;
                            artifact
                        }
                    },
                    _ => shipped::special(lower, entry),
                };
                Ok(Artifact { shipped: true, ..artifact })
            };
            entries.par_iter().map(describe).collect::<Result<Vec<_>, RunError>>()
        };
        self.shipped.get_or_init(look).as_deref().map_err(Clone::clone)
    }

    /// Keeps one copy of a content. Not a hard link: an in-place step would change it, too.
    fn keep(&self, path: &Path, digest: Digest) -> io::Result<()> {
        let kept = self.place(digest);
        if kept.exists() {
            return Ok(());
        }
        fs::create_dir_all(&self.plan.store)?;
        let temporary = tempfile::NamedTempFile::new_in(&self.plan.store)?;
        sparse::copy(path, temporary.path(), self.bounds.cancel)?;
        temporary.persist(&kept).map_err(|error| error.error)?;
        Ok(())
    }

    fn log_of(&self, build: &str) -> PathBuf {
        let dir = self.plan.dir.join(build);
        // If it cannot be made, opening the log says so.
        let _ = fs::create_dir_all(&dir);
        dir.join("log")
    }

    fn place(&self, digest: Digest) -> PathBuf {
        self.plan.store.join(digest.to_string())
    }
}

/// What a build started from and left as it was.
#[derive(Default)]
struct Brought {
    artifacts: Vec<Artifact>,
    /// Other files, with their digests.
    files: BTreeMap<String, Digest>,
    /// The bytes of all, kbuild's books among them.
    bytes: u64,
}

fn entry_of(path: &str, meta: &fs::Metadata) -> FileEntry {
    use std::os::unix::fs::MetadataExt as _;
    FileEntry {
        path: path.to_owned(),
        kind: FileKind::File,
        size: meta.len(),
        mtime: super::Mtime { secs: meta.mtime(), nanos: u32::try_from(meta.mtime_nsec()).unwrap_or(0) },
        ino: meta.ino(),
        mode: meta.mode() & 0o7777,
    }
}

/// Files by which kbuild keeps its books: they hold paths and times of their own and are no one's input by
/// content. The configuration is one.
fn is_bookkeeping(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    path != ".config" && name.starts_with('.') || name.ends_with(".d")
}

fn chain(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

/// The BTF of an artifact as snapshot text: a module's in full, vmlinux's as a summary.
fn text(path: &Path, name: &str, base: Option<&Base>) -> Result<String, String> {
    let bytes = section(path, ".BTF").map_err(|error| chain(&error))?.ok_or(format!("`{name}` has no .BTF"))?;
    let text = if name == "vmlinux" { btf::summary_text(&bytes) } else { btf::full_text_with(&bytes, base) };
    text.map_err(|error| error.to_string())
}

impl Observer for Recorder<'_> {
    fn built(&self, built: &Built<'_>) -> Result<Seen, RunError> {
        self.record(built)
    }

    fn replayed(&self, replayed: &Replayed<'_>) -> Result<(), RunError> {
        let described = |path: &Path, name: &str| {
            let name = name.split_once('/').map_or(name, |(_, path)| path);
            describe_within(path, name, None, &self.bounds).map_err(|error| RunError::of(chain(&error), &error))
        };
        let parts = |change: &Change| -> Result<Option<PartDiff>, RunError> {
            let Some(after) = &change.after else { return Ok(None) };
            let (before, after) = (described(&change.before, &change.output)?, described(after, &change.output)?);
            Ok(Some(diff_parts(&before, &after)))
        };
        let mut record = ReplayRecord {
            build: replayed.build.id.clone(),
            command: replayed.step.command.clone(),
            cwd: replayed.step.cwd.clone(),
            runs: REPLAYS,
            changes: Vec::new(),
            by: Vec::new(),
            failed: None,
            not_replayable: None,
        };
        match &replayed.came {
            Came::Idempotent => {}
            Came::Failed(how) => record.failed = Some(how.clone()),
            Came::NotReplayable(why) => record.not_replayable = Some(why.clone()),
            Came::Changed { changes, by } => {
                let told = |change: &Change| {
                    Ok(ReplayChange { output: change.output.clone(), run: change.round, parts: parts(change)? })
                };
                record.changes = changes.iter().map(told).collect::<Result<_, RunError>>()?;
                record.by.clone_from(by);
            }
        }
        self.state().replays.push(record);
        Ok(())
    }

    fn differing(&self, build: &str, other: &str) -> Option<BTreeSet<String>> {
        let state = self.state();
        let find = |id: &str| state.builds.iter().find(|record| record.id == id && record.status.ok());
        let (have, want) = find(build).zip(find(other))?;
        let differs = |one: &&Artifact| have.artifact(&one.path).is_none_or(|mine| mine.sha256 != one.sha256);
        (!want.artifacts.is_empty())
            .then(|| want.artifacts.iter().filter(differs).map(|one| one.path.clone()).collect())
    }

    fn failed(&self, build: &str) -> bool {
        self.state().builds.iter().any(|record| record.id == build && !record.status.ok())
    }

    fn agrees(&self, build: &str, other: &str) -> bool {
        let state = self.state();
        let find = |id: &str| state.builds.iter().find(|record| record.id == id && record.status.ok());
        find(build).zip(find(other)).is_some_and(|(have, want)| kept::same_artifacts(have, want))
    }

    fn artifacts(&self) -> &[String] {
        &self.plan.artifacts
    }

    fn kept(&self, chain: &Chain) -> Option<serde_json::Value> {
        self.keep_chain(chain)
    }

    fn adopt(&self, chain: &Chain, kept: serde_json::Value) -> bool {
        self.adopt_chain(chain, kept).is_some()
    }

    fn forget(&self, chain: &Chain) {
        self.forget_chain(chain);
    }

    fn event(&self, event: Event) {
        (self.events)(event);
    }

    fn log(&self, build: &str) -> PathBuf {
        self.log_of(build)
    }
}

/// The snapshots of a record, each with its variant.
#[must_use]
pub fn snapshots(texts: Texts, variant: Option<&str>) -> Vec<SnapshotRecord> {
    texts
        .into_iter()
        .map(|(artifact, contents)| SnapshotRecord { artifact, variant: variant.map(str::to_owned), contents })
        .collect()
}

/// Where a store has the BTF of a build's vmlinux, as a file of its own.
#[must_use]
pub fn base_of(store: &Path, build: &str) -> PathBuf {
    store.join(format!("{}.vmlinux.btf", build.replace('/', "-")))
}

/// Copies the files that a finding is about from the store into the record, and says where they are.
///
/// # Errors
/// What the file system answers.
pub fn keep_evidence(
    store: &Path,
    dir: &Path,
    builds: &[BuildRecord],
    build: &str,
    artifact: &str,
) -> io::Result<Option<String>> {
    let Some(record) = builds.iter().find(|record| record.id == build) else { return Ok(None) };
    let Some(artifact) = record.artifact(artifact) else { return Ok(None) };
    let kept = store.join(artifact.sha256.to_string());
    if !kept.exists() {
        // A symbolic link or a FIFO has no content to keep; the summary says what it is.
        return Ok(None);
    }
    let relative = format!("evidence/{build}/{}", artifact.path);
    let target = dir.join("evidence").join(build).join(unescape_path(&artifact.path));
    if let Some(parent) = target.parent() {
        fs::create_dir_all(parent)?;
    }
    sparse::copy(&kept, &target, Bounds::none().cancel)?;
    Ok(Some(relative))
}

/// A planned build's id, for callers that only have the plan.
#[must_use]
pub fn ids(builds: &[PlannedBuild]) -> Vec<String> {
    builds.iter().map(|build| build.id.clone()).collect()
}
