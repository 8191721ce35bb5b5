//! Installing what is missing, where that can be done; naming it where it cannot.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use serde::Serialize;
use thiserror::Error;

use super::host::{Host, Missing, Need, PackageManager, Weight, missing};

/// How long apt waits for another apt, seconds.
const APT_LOCK_TIMEOUT: &str = "DPkg::Lock::Timeout=300";
/// Package lists older than this are updated first: the archive forgets what they name.
const LISTS_OLD: Duration = Duration::from_secs(7 * 24 * 3600);
/// Attempts in all when a mirror fails.
const ATTEMPTS: usize = 3;

/// What would be installed. Made from values only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// Everything that is missing; optional tools are told, not installed.
    pub missing: Vec<Missing>,
    /// Packages by name, with the reasons.
    pub packages: BTreeMap<&'static str, Vec<String>>,
    /// Who installs here, where that is known.
    pub manager: Option<PackageManager>,
    /// What installs them, for a root shell.
    pub command: Vec<String>,
    /// Whether this user is root.
    pub is_root: bool,
}

impl Plan {
    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.packages.is_empty()
    }

    /// The command as this user would type it.
    #[must_use]
    pub fn shown(&self) -> String {
        let sudo = if self.is_root || self.command.is_empty() { "" } else { "sudo " };
        format!("{sudo}{}", self.command.join(" "))
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("nothing is missing\n");
        }
        let width = self.packages.keys().map(|p| p.len()).max().unwrap_or(0);
        for (package, reasons) in &self.packages {
            writeln!(f, "  {package:width$}  {}", reasons.join("; "))?;
        }
        Ok(())
    }
}

/// What is to be installed for `needs`. Pure.
#[must_use]
pub fn plan(host: &Host, needs: &[Need]) -> Plan {
    let missing = missing(host, needs);
    let mut packages: BTreeMap<&'static str, Vec<String>> = BTreeMap::new();
    for m in missing.iter().filter(|m| m.weight == Weight::Required) {
        packages.entry(m.package).or_default().push(format!("{}: {}", m.tool, m.why));
    }
    let manager = host.os_release.package_manager();
    let command = match manager {
        Some(manager) if !packages.is_empty() => {
            manager.install().iter().copied().chain(packages.keys().copied()).map(str::to_owned).collect()
        }
        _ => Vec::new(),
    };
    Plan { missing, packages, manager, command, is_root: host.is_root }
}

/// What an installation came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing was missing; nothing was run.
    Nothing,
    /// Somebody else installed it while we waited.
    Meanwhile(Box<Host>),
    /// Installed; the host as it is now.
    Installed(Box<Host>),
}

/// Why the host still cannot do it. All of these end with exit code 3.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BootstrapError {
    /// Not a host, or not a user, that we can install for.
    #[error("cannot install {}: {why}", tick(packages))]
    HostCannot {
        /// The packages.
        packages: Vec<String>,
        /// Why not.
        why: String,
        /// What to type, if that is known.
        command: Option<String>,
    },
    /// The package manager failed.
    #[error("`{command}` failed: {output}")]
    Failed {
        /// What was run.
        command: String,
        /// Its last lines.
        output: String,
    },
    /// It succeeded, and tools are missing all the same.
    #[error("still missing after the installation: {}", tick(tools))]
    StillMissing {
        /// The tools.
        tools: Vec<String>,
        /// The search path they were looked for on.
        path: String,
    },
    /// The lock file cannot be used.
    #[error("cannot lock `{}`", path.display())]
    Lock {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The package manager's output cannot be kept.
    #[error("cannot write a temporary file in `{}`", path.display())]
    Output {
        /// The directory.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
}

impl BootstrapError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::HostCannot { command: Some(command), .. } => format!("run `{command}`"),
            Self::HostCannot { packages, .. } => {
                format!("install these, or what they are called here: {}", tick(packages))
            }
            Self::Failed { command, .. } => format!("run `{command}` by hand and see what it says"),
            Self::StillMissing { path, .. } => {
                format!("look whether they are on the search path `{path}`")
            }
            Self::Lock { .. } => "choose another cache with `--cache DIR`".into(),
            Self::Output { .. } => "choose another directory with `TMPDIR`".into(),
        }
    }

    /// The program's exit code: the host cannot do it.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        3
    }
}

fn tick(words: &[String]) -> String {
    words.iter().map(|w| format!("`{w}`")).collect::<Vec<_>>().join(", ")
}

/// Installs what is missing for `needs`; at once and without a call when that is nothing.
///
/// `lock` is a file that all runs of this user share. `say` gets a line at a time of what is done and why; the package
/// manager's own output goes to standard error with `verbose`, else only its end into the error.
///
/// # Errors
/// [`BootstrapError`]: nothing was installed, or not enough.
pub fn run(
    host: &Host,
    needs: &[Need],
    lock: &Path,
    verbose: bool,
    say: &mut dyn FnMut(&str),
) -> Result<Outcome, BootstrapError> {
    let first = plan(host, needs);
    if first.is_empty() {
        return Ok(Outcome::Nothing);
    }
    let packages = |plan: &Plan| plan.packages.keys().map(|p| (*p).to_owned()).collect::<Vec<_>>();
    if first.manager != Some(PackageManager::Apt) {
        let known = first.manager.is_some();
        let why = if known { "only apt is run by itself" } else { "this distribution's package manager is not known" };
        return Err(BootstrapError::HostCannot {
            packages: packages(&first),
            why: why.into(),
            command: known.then(|| first.shown()),
        });
    }
    let cannot = |why: &str| BootstrapError::HostCannot {
        packages: packages(&first),
        why: why.into(),
        command: Some(first.shown()),
    };
    let Some(apt) = host.find("apt-get") else {
        return Err(cannot("no `apt-get` on the search path"));
    };
    let sudo = if host.is_root {
        None
    } else {
        let sudo = host.find("sudo").ok_or_else(|| cannot("not root, and no `sudo`"))?;
        let works = host.command(&sudo).args(["-n", "true"]).stderr(Stdio::null()).stdout(Stdio::null()).status();
        if !works.is_ok_and(|s| s.success()) {
            return Err(cannot("not root, and `sudo` asks for a password"));
        }
        Some(sudo)
    };
    let runner = Runner { host, apt, sudo, verbose };

    let _lock = take_lock(lock, say)?;
    // Whoever had the lock may have installed it.
    let now = host.clone().with_tools();
    let plan = plan(&now, needs);
    if plan.is_empty() {
        return Ok(Outcome::Meanwhile(Box::new(now)));
    }
    say(&format!("installing what is missing:\n{plan}"));
    say(&format!("$ {}", plan.shown()));
    runner.install(&plan, say)?;

    let now = now.with_tools();
    let left: Vec<_> = missing(&now, needs).into_iter().filter(|m| m.weight == Weight::Required).collect();
    if left.is_empty() {
        return Ok(Outcome::Installed(Box::new(now)));
    }
    Err(BootstrapError::StillMissing {
        tools: left.iter().map(|m| m.tool.to_owned()).collect(),
        path: host.env.get(std::ffi::OsStr::new("PATH")).map(|p| p.to_string_lossy().into_owned()).unwrap_or_default(),
    })
}

fn take_lock(path: &Path, say: &mut dyn FnMut(&str)) -> Result<File, BootstrapError> {
    let error = |source| BootstrapError::Lock { path: path.into(), source };
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir).map_err(error)?;
    }
    let file = File::options().read(true).append(true).create(true).open(path).map_err(error)?;
    if file.try_lock().is_err() {
        say("waiting for another installation");
        file.lock().map_err(error)?;
    }
    Ok(file)
}

struct Runner<'a> {
    host: &'a Host,
    apt: PathBuf,
    sudo: Option<PathBuf>,
    verbose: bool,
}

impl Runner<'_> {
    fn install(&self, plan: &Plan, say: &mut dyn FnMut(&str)) -> Result<(), BootstrapError> {
        let packages: Vec<&str> = plan.packages.keys().copied().collect();
        let mut updated = false;
        if self.lists_are_stale(&packages) {
            say("updating the package lists");
            // A third party's archive that is down must not stop us: whether it matters shows at the installation.
            if let Err(e) = self.apt(&["update"]) {
                say(&e.to_string());
            }
            updated = true;
        }
        let mut arguments = plan.command.iter().skip(1).map(String::as_str).collect::<Vec<_>>();
        arguments.splice(1..1, ["-o", APT_LOCK_TIMEOUT, "-o", "Acquire::Retries=2"]);
        for attempt in 1.. {
            match self.apt(&arguments) {
                Ok(()) => return Ok(()),
                Err(BootstrapError::Failed { output, .. }) if attempt < ATTEMPTS && is_transient(&output) => {
                    say("the mirror failed, trying again");
                    if !updated {
                        // A list that names what the archive no longer has fails in the same words.
                        let _ = self.apt(&["update"]);
                        updated = true;
                    }
                }
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// Whether a package has no candidate, or the lists are too old to be believed.
    fn lists_are_stale(&self, packages: &[&str]) -> bool {
        let Some(cache) = self.host.find("apt-cache") else {
            return true;
        };
        let said = self.host.command(&cache).arg("policy").args(packages).stderr(Stdio::null()).output();
        let Ok(said) = said else { return true };
        let text = String::from_utf8_lossy(&said.stdout);
        let candidates =
            text.lines().filter_map(|l| l.trim().strip_prefix("Candidate:")).filter(|c| c.trim() != "(none)").count();
        candidates < packages.len() || self.lists_age().is_none_or(|age| age > LISTS_OLD)
    }

    /// Since the last update; `None` when there are no lists.
    fn lists_age(&self) -> Option<Duration> {
        let config = self.host.find("apt-config")?;
        let said = self.host.command(&config).args(["shell", "X", "Dir::State::lists/d"]).output().ok()?;
        let text = String::from_utf8_lossy(&said.stdout);
        let dir = text.trim().strip_prefix("X=")?.trim_matches('\'').to_owned();
        // The clock may stand before the lists' time: then they are new.
        Some(SystemTime::now().duration_since(fs::metadata(dir).ok()?.modified().ok()?).unwrap_or_default())
    }

    /// Runs apt-get with privileges and without questions.
    fn apt(&self, arguments: &[&str]) -> Result<(), BootstrapError> {
        let mut command = match &self.sudo {
            None => self.host.command(&self.apt),
            Some(sudo) => {
                let mut command = self.host.command(sudo);
                // sudo clears the environment.
                command.args(["-n", "env", "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C"]).arg(&self.apt);
                command
            }
        };
        command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
        let scratch = &self.host.paths.scratch;
        let output = |source| BootstrapError::Output { path: scratch.clone(), source };
        // One file for both streams keeps their order, and needs no thread.
        let mut kept = tempfile::tempfile_in(scratch).map_err(output)?;
        if self.verbose {
            command.stdout(std::io::stderr()).stderr(Stdio::inherit());
        } else {
            command.stdout(kept.try_clone().map_err(output)?).stderr(kept.try_clone().map_err(output)?);
        }
        let shown = shown(&command);
        let status =
            command.status().map_err(|e| BootstrapError::Failed { command: shown.clone(), output: e.to_string() })?;
        drop(command);
        if status.success() {
            return Ok(());
        }
        let mut text = Vec::new();
        kept.seek(SeekFrom::Start(0)).and_then(|_| kept.read_to_end(&mut text)).map_err(output)?;
        let mut text = last_lines(&String::from_utf8_lossy(&text));
        if text.is_empty() {
            text = status.to_string();
        }
        Err(BootstrapError::Failed { command: shown, output: text })
    }
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|w| w.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().filter(|l| !l.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(15)..].join("\n")
}

/// apt's words for a mirror that may be well again in a moment.
fn is_transient(output: &str) -> bool {
    [
        "Failed to fetch",
        "Unable to fetch",
        "Temporary failure",
        "Hash Sum mismatch",
        "Connection failed",
        "Connection timed out",
    ]
    .iter()
    .any(|m| output.contains(m))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::host::tests::fake;

    #[test]
    fn a_plan_names_each_package_once_with_its_reasons() {
        let host = fake(Path::new("/nowhere"), Path::new("/nowhere")).with_tools();
        let p = plan(&host, &[Need::Mini]);
        assert_eq!(p.packages.keys().copied().collect::<Vec<_>>(), ["binutils", "gcc", "make", "mawk", "sed"]);
        assert_eq!(p.packages["binutils"].len(), 3);
        assert_eq!(p.shown(), "sudo apt-get install -y --no-install-recommends binutils gcc make mawk sed");
        assert!(p.to_string().contains("  make      make: runs the build\n"), "{p}");
        let k = plan(&host, &[Need::Kernel]);
        assert!(k.missing.iter().any(|m| m.tool == "rsync") && !k.packages.contains_key("rsync"), "optional");
        assert!(k.packages.contains_key("libc6-dev"), "gcc only recommends it");
        assert!(plan(&host, &[]).is_empty());
    }

    #[test]
    fn other_distributions_have_other_names() {
        let mut host = fake(Path::new("/nowhere"), Path::new("/nowhere")).with_tools();
        host.os_release.id = "fedora".into();
        let p = plan(&host, &[Need::MiniBtf]);
        assert_eq!(p.shown(), "sudo dnf install -y dwarves");
        let e = run(&host, &[Need::MiniBtf], Path::new("/nowhere/lock"), false, &mut |_| {}).expect_err("not apt");
        assert!(matches!(e, BootstrapError::HostCannot { .. }));
        assert_eq!((e.exit_code(), e.hint().as_str()), (3, "run `sudo dnf install -y dwarves`"));
        host.os_release.id = "plan9".into();
        let e = run(&host, &[Need::MiniBtf], Path::new("/nowhere/lock"), false, &mut |_| {}).expect_err("unknown");
        assert!(e.hint().contains("`pahole`"), "{}", e.hint());
    }

    #[test]
    fn transient_failures() {
        assert!(is_transient("E: Failed to fetch http://x  404  Not Found"));
        assert!(!is_transient("E: Unable to locate package x"));
    }
}
