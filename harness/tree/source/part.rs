//! The part of a git revision that a graft needs, so that going to another commit takes a fraction of a second.
//!
//! Every file is kept once, under git's own name for its content, and a revision is a tree of hard links to these
//! (as in `cp -al`, or ostree): of a revision near one that was here before, only the files that differ are written.
//! All of them have one time stamp, older than anything a build makes, so that make goes by content as far as it can.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File, FileTimes};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, SystemTime};

use super::program::{ErrorFile, Programs, program_of, run};
use super::store::create_dir;
use super::{Progress, SourceError, git};
use crate::tree::materialise::SOURCE_TIME;

/// Directories of a kernel that neither flavour of the graft builds, lists or includes anything of; their Kconfig
/// files are needed all the same, because the real ones of the top directory are read.
const NOT_NEEDED: &[&str] = &[
    "Documentation/",
    "LICENSES/",
    "block/",
    "crypto/",
    "drivers/",
    "fs/",
    "include/dt-bindings/",
    "io_uring/",
    "ipc/",
    "net/",
    "rust/",
    "samples/",
    "sound/",
];
/// Architectures that are needed; of the others, again, the Kconfig files: some generic ones source them by name.
const ARCHITECTURES: &[&str] = &["arch/x86/", "arch/um/"];
/// Tools that are needed; the others are no host tools of a build.
const TOOLS: &[&str] = &[
    "tools/arch/",
    "tools/bpf/resolve_btfids/",
    "tools/build/",
    "tools/include/",
    "tools/lib/",
    "tools/objtool/",
    "tools/scripts/",
];

/// Whether a graft needs the file of a kernel's tree at this path.
#[must_use]
pub fn needed(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    let any = |dirs: &[&str]| dirs.iter().any(|dir| path.starts_with(dir));
    let below = |top: &str| path.strip_prefix(top).is_some_and(|rest| rest.contains('/'));
    name.starts_with("Kconfig")
        || !(any(NOT_NEEDED) || (below("arch/") && !any(ARCHITECTURES)) || (below("tools/") && !any(TOOLS)))
}

/// One file of a revision.
#[derive(Debug, PartialEq, Eq)]
struct Blob {
    kind: Kind,
    id: String,
    path: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Plain,
    Executable,
    Link,
}

impl Blob {
    /// The name it is kept under: links are made of a plain file's content.
    fn file(&self) -> String {
        if self.kind == Kind::Executable { format!("{}-x", self.id) } else { self.id.clone() }
    }

    fn place(&self, blobs: &Path) -> PathBuf {
        blobs.join(&self.id[..2]).join(self.file())
    }
}

/// Lays the needed part of a commit down in `into`, an empty directory on the file system of `blobs`. Nobody may
/// [`sweep`] meanwhile.
pub(super) fn checkout(
    programs: &Programs,
    repo: &Path,
    commit: &str,
    blobs: &Path,
    into: &Path,
    progress: &mut dyn FnMut(Progress),
) -> Result<(), SourceError> {
    let files = list(programs, repo, commit)?;
    // By name, so that each content is fetched once.
    let missing: BTreeMap<String, &Blob> =
        files.iter().filter(|blob| !blob.place(blobs).exists()).map(|blob| (blob.file(), blob)).collect();
    if !missing.is_empty() {
        let missing: Vec<&Blob> = missing.into_values().collect();
        fetch(programs, repo, &missing, blobs, progress)?;
        // The links that are made of them are believed later without a look.
        let dir = File::open(blobs).map_err(|e| SourceError::io("open", blobs, e))?;
        rustix::fs::syncfs(&dir).map_err(|e| SourceError::io("sync", blobs, e.into()))?;
    }
    let mut made = PathBuf::new();
    for blob in &files {
        let (target, place) = (into.join(&blob.path), blob.place(blobs));
        if let Some(dir) = target.parent().filter(|dir| *dir != made) {
            create_dir(dir)?;
            made = dir.to_owned();
        }
        let done = match blob.kind {
            Kind::Link => fs::read(&place).and_then(|to| symlink(OsStr::from_bytes(&to), &target)),
            Kind::Plain | Kind::Executable => {
                fs::hard_link(&place, &target).or_else(|error| copy(&place, &target, error))
            }
        };
        done.map_err(|e| SourceError::io("create", &target, e))?;
    }
    Ok(())
}

/// File systems bound the number of links (ext4: 65,000), and some have none.
fn copy(from: &Path, to: &Path, error: io::Error) -> io::Result<()> {
    if !matches!(
        error.kind(),
        io::ErrorKind::TooManyLinks | io::ErrorKind::Unsupported | io::ErrorKind::PermissionDenied
    ) {
        return Err(error);
    }
    fs::copy(from, to)?;
    set_time(&File::open(to)?)
}

fn set_time(file: &File) -> io::Result<()> {
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(SOURCE_TIME);
    file.set_times(FileTimes::new().set_modified(time).set_accessed(time))
}

/// The needed files of a commit, by path.
fn list(programs: &Programs, repo: &Path, commit: &str) -> Result<Vec<Blob>, SourceError> {
    let mut command = git::git(programs, repo)?;
    let said = run(command.args(["ls-tree", "-r", "-z", "--full-tree", commit]))?;
    if !said.success {
        return Err(SourceError::GitRevision { repo: repo.into(), rev: commit.into(), output: said.stderr });
    }
    let mut files = Vec::new();
    for entry in said.stdout.split_terminator('\0') {
        let blob = parse(entry).ok_or_else(|| SourceError::Unsafe {
            what: repo.into(),
            why: format!("`{}` in commit `{commit}`", entry.chars().take(200).collect::<String>()),
        })?;
        files.extend(blob.filter(|blob| needed(&blob.path)));
    }
    Ok(files)
}

/// A line of git-ls-tree(1): `<mode> <type> <object>TAB<file>`. A submodule is nothing; a path that would lead out of
/// the tree is refused.
fn parse(entry: &str) -> Option<Option<Blob>> {
    let (head, path) = entry.split_once('\t')?;
    let mut words = head.split(' ');
    let (mode, _, id) = (words.next()?, words.next()?, words.next()?);
    let kind = match mode {
        "100644" | "100664" => Kind::Plain,
        "100755" => Kind::Executable,
        "120000" => Kind::Link,
        "160000" => return Some(None),
        _ => return None,
    };
    let plain = Path::new(path).components().all(|part| matches!(part, Component::Normal(name) if name != ".git"));
    let is_id = id.len() >= 40 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    (plain && is_id && !path.is_empty()).then(|| Some(Blob { kind, id: id.to_owned(), path: path.to_owned() }))
}

/// Has git write the contents that are not there yet.
fn fetch(
    programs: &Programs,
    repo: &Path,
    missing: &[&Blob],
    blobs: &Path,
    progress: &mut dyn FnMut(Progress),
) -> Result<(), SourceError> {
    create_dir(blobs)?;
    let errors = ErrorFile::new(blobs)?;
    let mut command = git::git(programs, repo)?;
    command.args(["cat-file", "--batch", "--buffer"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    command.stderr(errors.stdio()?);
    let ids: String = missing.iter().map(|blob| format!("{}\n", blob.id)).collect();
    let read = read_batch(&mut command, ids, missing, blobs, progress);
    read.map_err(|error| match error {
        BatchError::Source(error) => error,
        BatchError::Io(error) => {
            let said = errors.text();
            let why = if said.is_empty() { error.to_string() } else { format!("{error}: {said}") };
            SourceError::io("read objects of", repo, io::Error::other(why))
        }
    })
}

enum BatchError {
    Source(SourceError),
    Io(io::Error),
}

fn read_batch(
    command: &mut Command,
    ids: String,
    missing: &[&Blob],
    blobs: &Path,
    progress: &mut dyn FnMut(Progress),
) -> Result<(), BatchError> {
    let program = program_of(command);
    let mut child = command.spawn().map_err(|source| BatchError::Source(SourceError::Spawn { program, source }))?;
    let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
    let asking = thread::spawn(move || stdin.map_or(Ok(()), |mut stdin| stdin.write_all(ids.as_bytes())));
    let mut answers = BufReader::new(stdout.ok_or_else(|| BatchError::Io(io::ErrorKind::BrokenPipe.into()))?);
    let mut written = Ok(());
    for (done, blob) in missing.iter().enumerate() {
        if done % 512 == 0 {
            progress(Progress::CheckingOut { done: done as u64, total: missing.len() as u64 });
        }
        written = answer(&mut answers, blob).and_then(|bytes| keep(blob, &bytes, blobs));
        if written.is_err() {
            // It would wait for us to read the rest.
            let _ = child.kill();
            break;
        }
    }
    drop(answers);
    let ended = child.wait();
    let asked = asking.join().unwrap_or_else(|_| Err(io::Error::other("a thread panicked")));
    written.and(ended.map(|_| ())).and(asked).map_err(BatchError::Io)
}

/// One answer of `git cat-file --batch`: `<object> blob <size>`, the content, a line feed.
fn answer(answers: &mut impl BufRead, blob: &Blob) -> io::Result<Vec<u8>> {
    let mut head = String::new();
    answers.read_line(&mut head)?;
    let size = head.trim_end().strip_prefix(&format!("{} blob ", blob.id)).and_then(|size| size.parse::<usize>().ok());
    let Some(size) = size else {
        let why = if head.trim_end().ends_with(" missing") {
            format!(
                "`{}` is not in the repository; a partial clone has to fetch it first (git-fetch(1), `--refetch`)",
                blob.path
            )
        } else {
            format!("`{}`: git answers `{}`", blob.path, head.trim_end())
        };
        return Err(io::Error::other(why));
    };
    let mut bytes = vec![0; size];
    answers.read_exact(&mut bytes)?;
    let mut end = [0];
    answers.read_exact(&mut end)?;
    Ok(bytes)
}

/// Writes a content under its name; another process may have done so.
fn keep(blob: &Blob, bytes: &[u8], blobs: &Path) -> io::Result<()> {
    let place = blob.place(blobs);
    let dir = place.parent().unwrap_or(blobs);
    fs::create_dir_all(dir)?;
    let mut file = tempfile::NamedTempFile::new_in(dir)?;
    file.write_all(bytes)?;
    let mode = if blob.kind == Kind::Executable { 0o755 } else { 0o644 };
    file.as_file().set_permissions(fs::Permissions::from_mode(mode))?;
    set_time(file.as_file())?;
    file.persist(place).map_err(|error| error.error)?;
    Ok(())
}

/// Removes the contents that no tree has any more. Nobody may check out meanwhile.
pub(super) fn sweep(blobs: &Path) {
    for dir in fs::read_dir(blobs).into_iter().flatten().flatten() {
        for entry in fs::read_dir(dir.path()).into_iter().flatten().flatten() {
            if entry.metadata().is_ok_and(|meta| meta.is_file() && meta.nlink() == 1) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_graft_needs_is_a_part_of_a_kernel() {
        for path in [
            "Makefile",
            "arch/Kconfig",
            "arch/x86/boot/Makefile",
            "arch/arm/crypto/Kconfig",
            "drivers/net/Kconfig.debug",
            "include/linux/module.h",
            "init/Makefile",
            "scripts/mod/modpost.c",
            "tools/Makefile",
            "tools/lib/bpf/btf.c",
            "usr/gen_init_cpio.c",
        ] {
            assert!(needed(path), "{path}");
        }
        for path in ["drivers/net/loopback.c", "arch/arm/Makefile", "tools/perf/builtin.c", "Documentation/conf.py"] {
            assert!(!needed(path), "{path}");
        }
    }

    #[test]
    fn a_listing_is_read_and_nothing_leads_out_of_the_tree() {
        let id = "0123456789012345678901234567890123456789";
        let blob = parse(&format!("100755 blob {id}\tscripts/x y.sh")).expect("fine").expect("a file");
        assert_eq!(
            (blob.kind, blob.path.as_str(), blob.file()),
            (Kind::Executable, "scripts/x y.sh", format!("{id}-x"))
        );
        assert_eq!(parse(&format!("160000 commit {id}\tsub")), Some(None));
        for bad in ["../x", "/etc/passwd", "a/../../x", ".git/hooks/pre-commit", ""] {
            assert_eq!(parse(&format!("100644 blob {id}\t{bad}")), None, "{bad}");
        }
        assert_eq!(parse(&format!("040000 tree {id}\ta")), None);
        assert_eq!(parse("100644 blob 12\ta"), None);
    }
}
