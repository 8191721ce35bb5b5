//! The part of a git revision that a graft needs, so that going to another commit takes a fraction of a second.
//!
//! Every file is kept once, under git's own name for its content, and a revision is a tree of hard links to these
//! (as in `cp -al`, or ostree): of a revision near one that was here before, only the files that differ are written.
//! All of them have one time stamp, older than anything a build makes, so that make goes by content as far as it can.
//! A content that is there already is believed only if it has the digest that is its name.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, FileTimes};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, SystemTime};

use rayon::prelude::*;
use sha1::Sha1;
use sha2::{Digest, Sha256};

use super::hex;
use super::program::{ErrorFile, Programs, output, program_of};
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
    /// git's names are bytes, as the kernel's are.
    path: OsString,
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

    fn mode(&self) -> u32 {
        if self.kind == Kind::Executable { 0o755 } else { 0o644 }
    }

    /// Whether this is the content that git calls so. Source: gitformat-loose(5), "blob" objects; a name of 64 digits
    /// is of a repository whose object format is SHA-256 (gitformat-hash-function-transition(7)).
    fn has(&self, content: &[u8]) -> bool {
        let head = format!("blob {}\0", content.len());
        let digest = match self.id.len() {
            64 => hex(&Sha256::new().chain_update(head).chain_update(content).finalize()),
            _ => hex(&Sha1::new().chain_update(head).chain_update(content).finalize()),
        };
        digest == self.id
    }

    /// Whether the content is there as it was written: someone may have written through one of the links to it.
    fn is_kept(&self, blobs: &Path) -> bool {
        let place = self.place(blobs);
        fs::symlink_metadata(&place).is_ok_and(|meta| {
            let time = u64::try_from(meta.mtime()) == Ok(SOURCE_TIME) && meta.mtime_nsec() == 0;
            meta.is_file() && meta.mode() & 0o7777 == self.mode() && time
        }) && fs::read(&place).is_ok_and(|content| self.has(&content))
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
    let by_name: BTreeMap<String, &Blob> = files.iter().map(|blob| (blob.file(), blob)).collect();
    let missing: Vec<&Blob> =
        by_name.into_par_iter().map(|(_, blob)| blob).filter(|blob| !blob.is_kept(blobs)).collect();
    if !missing.is_empty() {
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
    let (success, listing, said) = output(command.args(["ls-tree", "-r", "-z", "--full-tree", commit]))?;
    if !success {
        return Err(SourceError::GitObject { repo: repo.into(), path: commit.into(), why: said });
    }
    let mut files = Vec::new();
    for entry in listing.split(|byte| *byte == 0).filter(|entry| !entry.is_empty()) {
        let blob = parse(entry).ok_or_else(|| SourceError::Unsafe {
            what: repo.into(),
            why: format!("`{}` in commit `{commit}`", String::from_utf8_lossy(&entry[..entry.len().min(200)])),
        })?;
        files.extend(blob.filter(|blob| needed(&blob.path.to_string_lossy())));
    }
    Ok(files)
}

/// A line of git-ls-tree(1): `<mode> <type> <object>TAB<file>`. A submodule is nothing; a path that would lead out of
/// the tree is refused.
fn parse(entry: &[u8]) -> Option<Option<Blob>> {
    let (head, path) = entry.split_at_checked(entry.iter().position(|byte| *byte == b'\t')?)?;
    let path = OsStr::from_bytes(&path[1..]);
    let mut words = std::str::from_utf8(head).ok()?.split(' ');
    let (mode, _, id) = (words.next()?, words.next()?, words.next()?);
    let kind = match mode {
        "100644" | "100664" => Kind::Plain,
        "100755" => Kind::Executable,
        "120000" => Kind::Link,
        "160000" => return Some(None),
        _ => return None,
    };
    let plain = Path::new(path).components().all(|part| matches!(part, Component::Normal(name) if name != ".git"));
    let is_id = matches!(id.len(), 40 | 64) && id.bytes().all(|byte| byte.is_ascii_hexdigit());
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
        BatchError::Object { path, why } => SourceError::GitObject { repo: repo.into(), path: path.into(), why },
    })
}

enum BatchError {
    Source(SourceError),
    Io(io::Error),
    /// git does not give the content of this file.
    Object {
        path: OsString,
        why: String,
    },
}

impl From<io::Error> for BatchError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
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
        written = answer(&mut answers, blob).and_then(|bytes| Ok(keep(blob, &bytes, blobs)?));
        if written.is_err() {
            // It would wait for us to read the rest.
            let _ = child.kill();
            break;
        }
    }
    drop(answers);
    let ended = child.wait();
    let asked = asking.join().unwrap_or_else(|_| Err(io::Error::other("a thread panicked")));
    written?;
    Ok(ended.map(|_| ()).and(asked)?)
}

/// One answer of `git cat-file --batch`: `<object> blob <size>`, the content, a line feed.
fn answer(answers: &mut impl BufRead, blob: &Blob) -> Result<Vec<u8>, BatchError> {
    let lacks = |why: String| BatchError::Object { path: blob.path.clone(), why };
    let mut head = String::new();
    answers.read_line(&mut head)?;
    let head = head.trim_end();
    let size = head.strip_prefix(&format!("{} blob ", blob.id)).and_then(|size| size.parse::<usize>().ok());
    let Some(size) = size else {
        return Err(lacks(match head {
            "" => "git ended early".to_owned(),
            head if head.ends_with(" missing") => "it is not in the repository".to_owned(),
            head => format!("git answers `{head}`"),
        }));
    };
    let mut bytes = vec![0; size];
    answers.read_exact(&mut bytes)?;
    let mut end = [0];
    answers.read_exact(&mut end)?;
    if blob.has(&bytes) { Ok(bytes) } else { Err(lacks("its content has another digest than its name".to_owned())) }
}

/// Writes a content under its name; another process may have done so.
fn keep(blob: &Blob, bytes: &[u8], blobs: &Path) -> io::Result<()> {
    let place = blob.place(blobs);
    let dir = place.parent().unwrap_or(blobs);
    fs::create_dir_all(dir)?;
    let mut file = tempfile::NamedTempFile::new_in(dir)?;
    file.write_all(bytes)?;
    file.as_file().set_permissions(fs::Permissions::from_mode(blob.mode()))?;
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
        let parse = |entry: &str| super::parse(entry.as_bytes());
        let blob = parse(&format!("100755 blob {id}\tscripts/x y.sh")).expect("fine").expect("a file");
        assert_eq!((blob.kind, blob.file()), (Kind::Executable, format!("{id}-x")));
        assert_eq!(blob.path, "scripts/x y.sh");
        assert_eq!(parse(&format!("160000 commit {id}\tsub")), Some(None));
        for bad in ["../x", "/etc/passwd", "a/../../x", ".git/hooks/pre-commit", ""] {
            assert_eq!(parse(&format!("100644 blob {id}\t{bad}")), None, "{bad}");
        }
        assert_eq!(parse(&format!("040000 tree {id}\ta")), None);
        assert_eq!(parse("100644 blob 12\ta"), None);
        let bytes = super::parse(&[format!("100644 blob {id}\tusr/").as_bytes(), b"\xff"].concat());
        assert_eq!(bytes.flatten().map(|blob| blob.path.into_encoded_bytes()), Some(b"usr/\xff".to_vec()));
    }

    #[test]
    fn a_content_is_known_by_gits_digest() {
        // `printf 'x\n' | git hash-object --stdin`, the second in a repository of `--object-format=sha256`.
        for id in [
            "587be6b4c3f93f93c489c0111bba5596147a26cb",
            "14f5162e2fe3d240d0d37aaab0f90e4af9a7cfa79639f3bab005b5bfb4174d9f",
        ] {
            let blob = Blob { kind: Kind::Plain, id: id.into(), path: "x".into() };
            assert!(blob.has(b"x\n"), "{id}");
            assert!(!blob.has(b"y\n"), "{id}");
        }
    }
}
