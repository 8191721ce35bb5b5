//! Debian's kernel sources through apt: the system's lists first, then lists of our own for other suites.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::program::{ErrorFile, Programs, Said, run, shown};
use super::sources_list::{self, DebFile, Entry};
use super::store::{Lock, create_dir, lock_file};
use super::unpack::sha256_file;
use super::{DebianSource, Progress, SourceError};

/// Suites that hold kernels the system's own do not, in the order they are asked. Backports first: they are what
/// people run, their index is small, and they keep several versions of a series.
const OTHER_SUITES: &[&str] = &[
    "trixie-backports",
    "sid",
    "bookworm-backports",
    "trixie",
    "trixie-security",
    "bookworm",
    "bookworm-security",
    "stable-backports",
    "experimental",
];

/// Where apt has its download helper (apt 1.1 and later); it is not on any search path.
const APT_HELPER: &str = "/usr/lib/apt/apt-helper";

/// apt with the system's lists, or with a private state.
struct Apt<'a> {
    programs: &'a Programs,
    /// For `-c`; `None`: the system as it is.
    conf: Option<PathBuf>,
    /// For messages.
    name: String,
}

impl Apt<'_> {
    fn command(&self, program: &'static str) -> Result<Command, SourceError> {
        let mut command = self.programs.command(program, "apt")?;
        if let Some(conf) = &self.conf {
            command.arg("-c").arg(conf);
        }
        Ok(command)
    }

    /// What the lists at hand know of the package; quick, no network.
    fn candidate(&self, wanted: &DebianSource) -> Result<Option<DebFile>, SourceError> {
        let package = wanted.package();
        let name = match &wanted.version {
            Some(version) => format!("{package}={version}"),
            None => package.clone(),
        };
        let said = run(self.command("apt-get")?.args(["--print-uris", "download", &name]))?;
        let found = sources_list::parse_print_uris(&package, &said.stdout);
        Ok(found.filter(|deb| wanted.version.as_ref().is_none_or(|v| *v == deb.version)))
    }

    fn update(&self) -> Result<Said, SourceError> {
        run(self.command("apt-get")?.arg("update"))
    }

    /// The kernel sources these lists know.
    fn series(&self) -> Vec<String> {
        self.command("apt-cache")
            .and_then(|mut c| run(c.args(["search", "--names-only", "^linux-source-[0-9]"])))
            .map(|said| sources_list::parse_series(&said.stdout))
            .unwrap_or_default()
    }

    /// The versions of one package these lists know.
    fn versions(&self, package: &str) -> Vec<String> {
        self.command("apt-cache")
            .and_then(|mut c| run(c.args(["madison", package])))
            .map(|said| said.stdout.lines().filter_map(|l| l.split('|').nth(1)).map(|v| v.trim().to_owned()).collect())
            .unwrap_or_default()
    }

    /// Whether any package index has been downloaded.
    fn has_lists(&self) -> bool {
        self.command("apt-get")
            .and_then(|mut c| run(c.args(["indextargets", "--format", "$(FILENAME)"])))
            .is_ok_and(|said| said.stdout.contains("Packages"))
    }
}

/// Finds the package and downloads it into `downloads`; the file's SHA-256 is that of the signed index.
///
/// `lock` is handed to the programs that download, see [`Lock`].
pub(super) fn fetch(
    programs: &Programs,
    cache: &Path,
    wanted: &DebianSource,
    lock: &Lock,
    space: &dyn Fn(&DebFile) -> Result<(), SourceError>,
    progress: &mut dyn FnMut(Progress),
) -> Result<(PathBuf, DebFile), SourceError> {
    let mut looked = Vec::new();
    let mut there = Vec::new();
    let mut note = |apt: &Apt, looked: &mut Vec<String>, outcome: &str| {
        looked.push(if outcome.is_empty() { apt.name.clone() } else { format!("{} ({outcome})", apt.name) });
        if wanted.version.is_some() {
            there.extend(apt.versions(&wanted.package()));
        } else {
            there.extend(apt.series());
        }
    };

    let (downloads, package) = (cache.join("downloads"), wanted.package());
    progress(Progress::Looking { place: "the system's package lists".into() });
    let system = Apt { programs, conf: None, name: "the system's package lists".into() };
    let mut own_first = false;
    match system.candidate(wanted)? {
        Some(deb) => match download(programs, &downloads, &package, &deb, lock, space, progress) {
            Ok(path) => return Ok((path, deb)),
            // The lists are older than the archive: it keeps few versions.
            Err(SourceError::Download { output, .. }) => {
                own_first = true;
                note(
                    &system,
                    &mut looked,
                    &format!("`{}` could not be downloaded: {}", deb.version, last_line(&output)),
                );
            }
            Err(e) => return Err(e),
        },
        None => {
            own_first |= !system.has_lists();
            note(&system, &mut looked, "");
        }
    }

    let (files, entries) = system_entries(programs)?;
    let mut suites: Vec<Option<&str>> = OTHER_SUITES.iter().copied().map(Some).collect();
    suites.insert(if own_first { 0 } else { suites.len() }, None);
    let mut any = false;
    for suite in suites {
        let name = suite.unwrap_or("system");
        let list = match suite {
            Some(suite) => sources_list::with_suite(&entries, suite),
            None => sources_list::own(&entries),
        };
        let Some(list) = list else { continue };
        any = true;
        let shown = suite.map_or_else(|| "the system's suites, updated".into(), |s| format!("suite `{s}`"));
        let (_state_lock, apt, said) = open_suite(programs, cache, name, shown, &list, progress)?;
        if !said.success {
            note(&apt, &mut looked, &last_line(&said.stderr));
            continue;
        }
        let Some(deb) = apt.candidate(wanted)? else {
            note(&apt, &mut looked, "");
            continue;
        };
        let path = download(programs, &downloads, &package, &deb, lock, space, progress)?;
        return Ok((path, deb));
    }
    if !any {
        return Err(SourceError::NoDebianEntry { looked: files });
    }
    there.sort_by(|a, b| super::store::compare_versions(a, b));
    there.dedup();
    Err(SourceError::NotFound { package: wanted.package(), version: wanted.version.clone(), looked, there })
}

/// Packages of one suite with all they depend on, as if nothing were installed: what a program needs on any system.
pub(super) fn closure(
    programs: &Programs,
    cache: &Path,
    suite: &str,
    packages: &[&str],
    progress: &mut dyn FnMut(Progress),
) -> Result<Vec<Package>, SourceError> {
    let (files, entries) = system_entries(programs)?;
    let list = sources_list::with_suite(&entries, suite).ok_or(SourceError::NoDebianEntry { looked: files })?;
    let (_lock, apt, said) = open_suite(programs, cache, suite, format!("suite `{suite}`"), &list, progress)?;
    let failed = |output: &str| SourceError::Closure {
        packages: packages.join(" "),
        suite: suite.into(),
        output: last_line(output),
    };
    if !said.success {
        return Err(failed(&said.stderr));
    }
    let status = cache.join("apt").join(suite).join("status");
    fs::write(&status, "").map_err(|e| SourceError::io("write", &status, e))?;
    let mut resolve = apt.command("apt-get")?;
    resolve.arg("-o").arg(format!("Dir::State::status={}", status.display()));
    resolve.args(["--simulate", "--no-install-recommends", "install"]).args(packages);
    let said = run(&mut resolve)?;
    let chosen = sources_list::parse_simulated(&said.stdout);
    if !said.success || chosen.is_empty() {
        return Err(failed(&said.stderr));
    }
    // `install --print-uris` states MD5 sums only.
    let exact = chosen.iter().map(|(name, version)| format!("{name}={version}"));
    let said = run(apt.command("apt-get")?.args(["--print-uris", "download"]).args(exact))?;
    chosen
        .into_iter()
        .map(|(name, version)| match sources_list::parse_print_uris(&name, &said.stdout) {
            Some(deb) if deb.version == version => Ok(Package { name, deb }),
            _ => Err(failed(&format!("no file of `{name}` `{version}`: {}", said.stderr))),
        })
        .collect()
}

/// One package of a closure.
pub(super) struct Package {
    pub(super) name: String,
    pub(super) deb: DebFile,
}

/// apt with a private state for one list, updated; its lock keeps other processes out of the state.
fn open_suite<'p>(
    programs: &'p Programs,
    cache: &Path,
    name: &str,
    shown: String,
    list: &str,
    progress: &mut dyn FnMut(Progress),
) -> Result<(Lock, Apt<'p>, Said), SourceError> {
    let state = cache.join("apt").join(name);
    let lock = lock_file(&cache.join("apt").join(format!("{name}.lock")), progress)?;
    let conf = write_state(&state, list)?;
    let apt = Apt { programs, conf: Some(conf), name: shown };
    progress(Progress::Looking { place: apt.name.clone() });
    let said = apt.update()?;
    if !said.success && is_offline(&said.stderr) {
        return Err(SourceError::Offline { suite: name.into(), output: said.stderr });
    }
    Ok((lock, apt, said))
}

fn last_line(output: &str) -> String {
    let lines = || output.lines().rev().map(str::trim).filter(|l| !l.is_empty());
    // apt's closing `E: Some index files failed` says less than the first complaint.
    lines()
        .find(|l| l.starts_with("E:") && !l.contains("Some index files"))
        .or_else(|| lines().find(|l| l.starts_with("W:")))
        .or_else(|| lines().next())
        .unwrap_or("no message")
        .to_owned()
}

fn is_offline(output: &str) -> bool {
    ["Temporary failure resolving", "Could not resolve", "Could not connect", "Network is unreachable"]
        .iter()
        .any(|m| output.contains(m))
}

/// The files apt reads its sources from, and the `deb` entries in them.
fn system_entries(programs: &Programs) -> Result<(Vec<PathBuf>, Vec<Entry>), SourceError> {
    let ask = |key: &str| -> Result<PathBuf, SourceError> {
        let said = run(programs.command("apt-config", "apt")?.args(["shell", "X", key]))?;
        Ok(said.stdout.trim().strip_prefix("X=").unwrap_or_default().trim_matches('\'').into())
    };
    let mut files = vec![ask("Dir::Etc::sourcelist/f")?];
    let parts = ask("Dir::Etc::sourceparts/d")?;
    if let Ok(dir) = fs::read_dir(&parts) {
        let mut found: Vec<PathBuf> = dir
            .flatten()
            .map(|e| e.path())
            .filter(|p| p.extension().is_some_and(|e| e == "list" || e == "sources"))
            .collect();
        found.sort();
        files.extend(found);
    }
    let entries = files
        .iter()
        .filter_map(|f| Some(sources_list::parse(f.to_str()?, &fs::read_to_string(f).ok()?)))
        .flatten()
        .collect();
    Ok((files, entries))
}

/// Writes the private state's two files; apt makes the rest.
fn write_state(state: &Path, list: &str) -> Result<PathBuf, SourceError> {
    for dir in ["lists/partial", "cache/archives/partial"] {
        create_dir(&state.join(dir))?;
    }
    let conf = state.join("apt.conf");
    let text = sources_list::private_conf(state).ok_or_else(|| SourceError::CachePath { path: state.into() })?;
    for (path, text) in [(&state.join("debian.sources"), list), (&conf, text.as_str())] {
        fs::write(path, text).map_err(|e| SourceError::io("write", path, e))?;
    }
    Ok(conf)
}

/// Downloads one package file, going on with what an earlier attempt left, and checks it.
pub(super) fn download(
    programs: &Programs,
    dir: &Path,
    package: &str,
    deb: &DebFile,
    lock: &Lock,
    space: &dyn Fn(&DebFile) -> Result<(), SourceError>,
    progress: &mut dyn FnMut(Progress),
) -> Result<PathBuf, SourceError> {
    create_dir(dir)?;
    space(deb)?;
    // The digest in the name keeps a partial file from being continued with another version.
    let name = format!("{package}_{}.deb", &deb.sha256[..16]);
    forget_others(dir, &format!("{package}_"), &name)?;
    let path = dir.join(name);
    let length = || path.metadata().map_or(0, |m| m.len());
    let mut found = String::new();
    for attempt in 0..2 {
        if length() > deb.size {
            remove_file(&path)?;
        }
        let mut whole = length() == deb.size;
        if !whole && length() > 0 && attempt == 0 {
            whole = resume(programs, deb, &path, dir, lock, progress)?;
        }
        if !whole {
            helper(programs, deb, &path, dir, lock, progress)?;
        }
        progress(Progress::Checking { done: 0, total: deb.size });
        found = sha256_file(&path, &mut |done| progress(Progress::Checking { done, total: deb.size }))
            .map_err(|e| SourceError::io("read", &path, e))?;
        if found == deb.sha256 {
            return Ok(path);
        }
        // A continued file may join two; from the start once, then it is the mirror.
        remove_file(&path)?;
    }
    Err(SourceError::Checksum { what: deb.uri.clone(), expected: deb.sha256.clone(), found })
}

/// apt's own helper: its proxies, credentials and certificates, and the digest checked while it reads.
fn helper(
    programs: &Programs,
    deb: &DebFile,
    path: &Path,
    dir: &Path,
    lock: &Lock,
    progress: &mut dyn FnMut(Progress),
) -> Result<(), SourceError> {
    let found = programs.find("apt-helper").or_else(|| Some(PathBuf::from(APT_HELPER)).filter(|p| p.exists()));
    let found = found.ok_or(SourceError::NoProgram { program: "apt-helper", package: "apt" })?;
    let mut command = programs.command_at(&found);
    command
        .args(["-o", "Acquire::Retries=2", "download-file", &deb.uri])
        .arg(path)
        .arg(format!("SHA256:{}", deb.sha256));
    let (success, output) = watch(&mut command, deb, path, dir, lock, progress)?;
    if success {
        return Ok(());
    }
    Err(SourceError::Download { uri: deb.uri.clone(), command: shown(&command), output })
}

/// Goes on with a partial file. apt asks with `If-Range` and the file's mtime, which after SIGKILL, or with a mirror
/// that sends no date, starts again from zero; curl(1) asks for the range alone, and the digest decides afterwards.
/// Without curl, or when it fails, nothing is lost: apt's helper is next.
fn resume(
    programs: &Programs,
    deb: &DebFile,
    path: &Path,
    dir: &Path,
    lock: &Lock,
    progress: &mut dyn FnMut(Progress),
) -> Result<bool, SourceError> {
    if !deb.uri.starts_with("http://") && !deb.uri.starts_with("https://") {
        return Ok(false);
    }
    let Some(curl) = programs.find("curl") else {
        return Ok(false);
    };
    let mut command = programs.command_at(&curl);
    command.args(["--silent", "--show-error", "--fail", "--location", "--retry", "2"]);
    command.args(["--proto", "=http,https", "--continue-at", "-"]).arg("--output").arg(path);
    if let Some(proxy) = apt_proxy(programs) {
        command.arg("--proxy").arg(proxy);
    }
    command.arg("--").arg(&deb.uri);
    let (success, _) = watch(&mut command, deb, path, dir, lock, progress)?;
    Ok(success && path.metadata().is_ok_and(|m| m.len() == deb.size))
}

fn apt_proxy(programs: &Programs) -> Option<String> {
    let said = run(programs.command("apt-config", "apt").ok()?.args(["shell", "X", "Acquire::http::Proxy"])).ok()?;
    let proxy = said.stdout.trim().strip_prefix("X=")?.trim_matches('\'').to_owned();
    (!proxy.is_empty() && proxy != "DIRECT").then_some(proxy)
}

/// Runs a command that writes `path`, and tells how long the file is meanwhile.
fn watch(
    command: &mut Command,
    deb: &DebFile,
    path: &Path,
    dir: &Path,
    lock: &Lock,
    progress: &mut dyn FnMut(Progress),
) -> Result<(bool, String), SourceError> {
    let errors = ErrorFile::new(dir)?;
    let stdin = lock.file().try_clone().map_err(|e| SourceError::io("duplicate the lock in", dir, e))?;
    let program = super::program::program_of(command);
    let mut child = command
        .stdin(stdin)
        .stdout(Stdio::null())
        .stderr(errors.stdio()?)
        .spawn()
        .map_err(|source| SourceError::Spawn { program: program.clone(), source })?;
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Ok((status.success(), errors.text())),
            Ok(None) => {}
            Err(e) => return Err(SourceError::io("wait for", &program, e)),
        }
        progress(Progress::Downloading { done: path.metadata().map_or(0, |m| m.len()), total: deb.size });
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Removes what is left of downloads of other versions; the lock on the package keeps others out.
fn forget_others(dir: &Path, prefix: &str, keep: &str) -> Result<(), SourceError> {
    for entry in fs::read_dir(dir).map_err(|e| SourceError::io("read", dir, e))?.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with(prefix) && name != keep {
            remove_file(&entry.path())?;
        }
    }
    Ok(())
}

fn remove_file(path: &Path) -> Result<(), SourceError> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(SourceError::io("remove", path, e)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_cause_is_told() {
        let out = "E: The repository 'x' does not have a Release file.\nE: Some index files failed to download.\n";
        assert_eq!(last_line(out), "E: The repository 'x' does not have a Release file.");
        assert_eq!(last_line("a\nb\n\n"), "b");
        assert_eq!(last_line(""), "no message");
        assert!(is_offline("Err: Temporary failure resolving 'm'"));
        assert!(!is_offline(out));
    }
}
