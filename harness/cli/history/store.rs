//! The directory of past runs: a file for each.
//!
//! Plain files and no database: a run is written once and never changed, so that a rename is all that writers have to agree on,
//! also of several machines on a network file system, where the locks of SQLite are not to be relied on
//! (<https://www.sqlite.org/howtocorrupt.html>, section 2); and a file can be looked at, copied and removed by hand.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::verdict::history::{FORMAT, KIND, PastRun};

/// The largest file that is read, in bytes.
const LARGEST: u64 = 256 << 20;
/// How many of the newest runs stay, however large they are.
const STAY: usize = 10;
/// How files that are being written are named.
const TEMPORARY: &str = ".tmp-";
/// After which time such a file is one that a killed writer left: what is written here takes seconds.
const ABANDONED: Duration = Duration::from_secs(24 * 60 * 60);
/// How many characters of a run's name are in that of its file.
const NAME: usize = 100;

/// A directory of past runs.
pub(crate) struct Store {
    pub(crate) dir: PathBuf,
}

/// What is in it.
#[derive(Default)]
pub(crate) struct Held {
    /// The runs, with their files and their sizes.
    pub(crate) runs: Vec<PastRun>,
    files: Vec<(PathBuf, u64)>,
    /// What was passed over, and why.
    pub(crate) told: Vec<String>,
}

/// What came of entering a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Entered {
    New,
    Replaced,
    Same,
}

impl Store {
    pub(crate) fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// Makes the directory, and sees whether files can be made in it.
    pub(crate) fn create(&self) -> io::Result<()> {
        fs::create_dir_all(&self.dir)?;
        tempfile::Builder::new().prefix(TEMPORARY).tempfile_in(&self.dir).map(drop)
    }

    /// Reads what is in it. A file that cannot be read, or is none of ours, is passed over, and stays where it is.
    pub(crate) fn read(&self) -> io::Result<Held> {
        let mut held = Held::default();
        let mut names: Vec<PathBuf> = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let path = entry?.path();
            // Hidden files are temporary ones, or somebody's `.gitignore`.
            if !path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.')) {
                names.push(path);
            }
        }
        names.sort();
        for path in names {
            match read(&path) {
                Ok((run, size)) => {
                    held.runs.push(run);
                    held.files.push((path, size));
                }
                // Another writer has removed it since, as the oldest.
                Err(Unusable::Gone) => {}
                Err(Unusable::Because(why)) => held.told.push(format!("`{}` is passed over: {why}", path.display())),
            }
        }
        Ok(held)
    }

    /// Writes a run: a reader sees it whole or not at all, also after a loss of power (fsync(2), rename(2)). The same run again takes
    /// the place of what was there.
    pub(crate) fn enter(&self, run: &PastRun) -> io::Result<Entered> {
        fs::create_dir_all(&self.dir)?;
        let path = self.dir.join(file_name(run));
        let text = serde_json::to_vec(run)?;
        let before = fs::read(&path);
        if before.as_ref().is_ok_and(|before| *before == text) {
            return Ok(Entered::Same);
        }
        let mut file = tempfile::Builder::new().prefix(TEMPORARY).tempfile_in(&self.dir)?;
        file.write_all(&text)?;
        let mode = <fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o644);
        file.as_file().set_permissions(mode)?;
        file.as_file().sync_all()?;
        file.persist(&path).map_err(|error| error.error)?;
        fs::File::open(&self.dir)?.sync_all()?;
        Ok(if before.is_ok() { Entered::Replaced } else { Entered::New })
    }

    /// Removes the oldest runs until the rest has no more than so many bytes, and what killed writers left. How many runs went.
    pub(crate) fn bound(&self, limit: u64) -> io::Result<usize> {
        self.sweep();
        let held = self.read()?;
        let mut order: BTreeMap<(u64, &str, &Path), u64> = BTreeMap::new();
        for (run, (path, size)) in held.runs.iter().zip(&held.files) {
            order.insert((run.started, &run.run, path), *size);
        }
        let (mut bytes, mut removed) = (0_u64, 0);
        for (at, ((.., path), size)) in order.iter().rev().enumerate() {
            bytes = bytes.saturating_add(*size);
            if at >= STAY && bytes > limit {
                match fs::remove_file(path) {
                    Ok(()) => removed += 1,
                    // Two writers found the same ones too many.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(removed)
    }

    fn sweep(&self) {
        let now = SystemTime::now();
        for entry in fs::read_dir(&self.dir).into_iter().flatten().filter_map(Result::ok) {
            let ours = entry.file_name().to_string_lossy().starts_with(TEMPORARY);
            let old = || entry.metadata().ok().filter(fs::Metadata::is_file)?.modified().ok();
            if ours && old().is_some_and(|time| now.duration_since(time).is_ok_and(|age| age > ABANDONED)) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

/// The file of a run: names come from reports that others wrote, and are no paths here.
fn file_name(run: &PastRun) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "-_".contains(c) { c } else { '_' };
    let name: String = run.run.chars().map(plain).take(NAME).collect();
    format!("{name}.{}.json", run.digest().short())
}

enum Unusable {
    Gone,
    Because(String),
}

fn read(path: &Path) -> Result<(PastRun, u64), Unusable> {
    let because = |why: &str| Unusable::Because(why.to_owned());
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => Unusable::Gone,
        _ => Unusable::Because(format!("it cannot be read: {error}")),
    };
    // A link that leads nowhere is there all the same.
    let meta = path.symlink_metadata().map_err(failed)?;
    if !meta.is_file() {
        return Err(because("it is no regular file"));
    }
    if meta.len() > LARGEST {
        return Err(Unusable::Because(format!("it has {} MiB, more than any run", meta.len() >> 20)));
    }
    let text = fs::read(path).map_err(failed)?;
    let head: Result<Head, _> = serde_json::from_slice(&text);
    match head {
        Ok(head) if head.kind != KIND => return Err(because("it is no run of a history")),
        Ok(head) if head.format > FORMAT => {
            let why = format!("it has format {}; this program reads up to {FORMAT}", head.format);
            return Err(Unusable::Because(why));
        }
        Ok(_) => {}
        Err(error) => return Err(Unusable::Because(format!("it is no run of a history: {error}"))),
    }
    let run: PastRun =
        serde_json::from_slice(&text).map_err(|error| Unusable::Because(format!("it is damaged: {error}")))?;
    if !run.is_whole() {
        return Err(because("it is damaged: it names tools or files that it does not have"));
    }
    Ok((run, meta.len()))
}

/// What is read of a file first.
#[derive(serde::Deserialize)]
struct Head {
    kind: String,
    format: u32,
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::*;
    use crate::verdict::Verdict;

    fn run(number: u64, name: &str) -> PastRun {
        PastRun {
            kind: KIND.into(),
            format: FORMAT,
            run: name.into(),
            started: number,
            host: "h".repeat(1000),
            harness: "0.1.0".into(),
            verdict: Verdict::Passed,
            left_out: 0,
            tools: Vec::new(),
            files: Vec::new(),
            fingerprints: Vec::new(),
            cells: Vec::new(),
        }
    }

    fn store() -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().expect("a directory");
        let store = Store::new(dir.path().join("below/history"));
        (dir, store)
    }

    fn names(store: &Store) -> Vec<String> {
        store.read().expect("a directory").runs.into_iter().map(|run| run.run).collect()
    }

    #[test]
    fn a_run_is_entered_once_and_its_name_is_no_path() {
        let (_dir, store) = store();
        let mut one = run(1, "../../../etc/passwd\u{1b}\n");
        assert_eq!(store.enter(&one).expect("written"), Entered::New);
        assert_eq!(store.enter(&one).expect("written"), Entered::Same);
        one.verdict = Verdict::Failed;
        assert_eq!(store.enter(&one).expect("written"), Entered::Replaced);
        assert_eq!(store.enter(&PastRun { host: "another".into(), ..one }).expect("written"), Entered::New);
        assert_eq!(fs::read_dir(&store.dir).expect("a directory").count(), 2);
    }

    #[test]
    fn what_is_damaged_or_foreign_is_told_and_stays() {
        let (_dir, store) = store();
        store.enter(&run(1, "one")).expect("written");
        let whole = serde_json::to_string(&run(2, "two")).expect("written");
        let newer = whole.replace("\"format\":1", "\"format\":99");
        let broken = whole.replace("\"fingerprints\":[]", "\"fingerprints\":[[4]]");
        let all =
            [("cut.json", &whole[..whole.len() / 2]), ("newer.json", &newer), ("broken.json", &broken), ("notes", "x")];
        for (name, text) in all {
            fs::write(store.dir.join(name), text).expect("written");
        }
        fs::write(store.dir.join("other.json"), "{\"kind\":\"else\",\"format\":1}").expect("written");
        fs::write(store.dir.join(".gitignore"), "*").expect("written");
        fs::create_dir(store.dir.join("dir.json")).expect("made");
        std::os::unix::fs::symlink("/nowhere", store.dir.join("link.json")).expect("made");
        let held = store.read().expect("a directory");
        assert_eq!((held.runs.len(), held.told.len()), (1, 7), "{:?}", held.told);
        assert_eq!(store.bound(0).expect("bounded"), 0);
        assert_eq!(fs::read_dir(&store.dir).expect("a directory").count(), 9);
    }

    #[test]
    fn the_oldest_go_and_the_newest_stay() {
        let (_dir, store) = store();
        for number in 0..15 {
            // The order is that of their beginning, not of their names.
            store.enter(&run(number, &format!("run-{:02}", 99 - number))).expect("written");
        }
        assert_eq!(store.bound(13_500).expect("bounded"), 4, "of some 1,200 bytes each");
        assert_eq!(names(&store).last().map(String::as_str), Some("run-95"));
        assert_eq!(store.bound(1).expect("bounded"), 1);
        assert_eq!(names(&store).len(), STAY);
    }

    #[test]
    fn what_a_killed_writer_left_goes_when_it_is_old() {
        let (_dir, store) = store();
        store.enter(&run(1, "one")).expect("written");
        for (name, age) in [(".tmp-old", 2), (".tmp-new", 0), (".other", 2)] {
            let file = fs::File::create(store.dir.join(name)).expect("made");
            let time = SystemTime::now() - age * ABANDONED;
            file.set_times(fs::FileTimes::new().set_modified(time)).expect("set");
        }
        assert_eq!(names(&store), ["one"], "none of them is read");
        store.bound(u64::MAX).expect("bounded");
        let left = [".tmp-old", ".tmp-new", ".other"].map(|name| store.dir.join(name).exists());
        assert_eq!(left, [false, true, true]);
    }

    #[test]
    fn writers_at_once_lose_nothing() {
        let (_dir, store) = store();
        let barrier = Barrier::new(8);
        std::thread::scope(|scope| {
            for writer in 0..8 {
                let (store, barrier) = (&store, &barrier);
                scope.spawn(move || {
                    barrier.wait();
                    for number in 0..5 {
                        store.enter(&run(number, &format!("{writer}-{number}"))).expect("written");
                        store.bound(u64::MAX).expect("bounded");
                        assert!(store.read().expect("a directory").told.is_empty(), "no half file is seen");
                    }
                });
            }
        });
        assert_eq!(names(&store).len(), 40);
    }
}
