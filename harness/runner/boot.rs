//! Boots a kernel to hear what it says of modules: under qemu, by software emulation, so that it works wherever qemu does and needs no
//! privilege. The machine has the kernel, an initramfs of one program (`boot/init.c`) with the modules beside it, and no disk or network.
//!
//! qemu runs in a sandbox, as builds do: it ends with the harness.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::RunErrorKind;
use super::command::pinned_environment;
use super::execute::{RunError, TICK};
use crate::sandbox::{self, Command, Isolation, Mount, Sandbox, Spec, Status};
pub use said::{Booted, Load, NO_REASON};

mod initramfs;
mod said;

/// The emulator.
pub const QEMU: &str = "qemu-system-x86_64";
/// What installs what is missing.
pub const HINT: &str = "apt-get install qemu-system-x86 gcc";
/// What makes the first process.
const CC: &str = "cc";
/// The first process, in C.
const INIT: &str = include_str!("boot/init.c");
/// Where all of it is, inside.
const PLACE: &str = "/build/boot";
/// How long a machine may say nothing.
const PATIENCE: Duration = Duration::from_secs(180);
/// Memory of a machine without its modules, in MiB.
const MEMORY: u64 = 384;
/// Lines of the console that are told of a machine that came to nothing.
const CONSOLE_TOLD: usize = 30;

/// A module that the machine loads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Module {
    /// What the kernel calls it.
    pub name: String,
    /// The ELF file, not compressed.
    pub file: PathBuf,
    /// Whether it is unloaded again at once, so that another of its name can be loaded.
    pub unload: bool,
}

/// What a machine is made with.
#[derive(Clone, Copy)]
pub struct Machine<'a> {
    /// What runs it.
    pub sandbox: &'a Sandbox,
    /// How much of the host it may see.
    pub isolation: Isolation,
    /// An empty directory that is there.
    pub scratch: &'a Path,
    /// When to stop.
    pub cancel: &'a AtomicBool,
}

/// What is not installed of what machines are made with.
#[must_use]
pub fn missing() -> Option<&'static str> {
    let path = pinned_environment().remove("PATH").unwrap_or_default();
    let there = |program: &&str| path.split(':').any(|dir| Path::new(dir).join(program).is_file());
    [QEMU, CC].into_iter().find(|program| !there(program))
}

/// Why a kernel is not one that is booted here, in a clause; nothing if it is.
///
/// # Errors
/// It cannot be read.
pub fn unbootable(kernel: &Path) -> io::Result<Option<&'static str>> {
    use std::os::unix::fs::FileExt as _;
    // A FIFO would be waited for.
    if !fs::metadata(kernel)?.is_file() {
        return Ok(Some("it is no regular file"));
    }
    let mut header = [0; 0x240];
    match File::open(kernel)?.read_exact_at(&mut header, 0) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(Some("it is too short for a kernel")),
        Err(error) => return Err(error),
    }
    // Documentation/arch/x86/boot.rst: `HdrS` at 0x202, the version of the protocol behind it, and from 2.12 on the flag
    // XLF_KERNEL_64 in the word at 0x236.
    let word = |at: usize| u16::from_le_bytes([header[at], header[at + 1]]);
    Ok(match () {
        () if header.starts_with(b"\x7fELF") => Some("it is ELF; qemu boots arch/x86/boot/bzImage"),
        () if &header[0x202..0x206] != b"HdrS" => Some("it is no bzImage of x86"),
        () if word(0x206) < 0x20c || word(0x236) & 1 == 0 => Some("it is a kernel of 32 bits"),
        () => None,
    })
}

/// Boots the kernel and loads the modules in this order. Every module has its load in the result, unless the machine came to
/// an end before it.
///
/// # Errors
/// It cannot be done here, or everything is to stop.
pub fn boot(machine: Machine<'_>, kernel: &Path, modules: &[Module]) -> Result<Booted, RunError> {
    // A full disk is the host's matter.
    let failed = |what: &'static str| move |error: io::Error| RunError::of(format!("cannot {what}: {error}"), &error);
    let dir = machine.scratch;
    let at = |name: &str| dir.join(name);
    fs::write(at("init.c"), INIT).map_err(failed("write the first process"))?;
    fs::copy(kernel, at("kernel")).map_err(failed("copy the kernel"))?;
    machine.make_init()?;
    let size = initramfs::write(&at("initramfs"), &at("init"), modules).map_err(failed("write the initramfs"))?;
    let (log, stopped) = machine.emulate(MEMORY + 3 * (size >> 20))?;
    let console = fs::read(at("console")).unwrap_or_default();
    let mut text = fs::read(&log).map_err(failed("read what the machine told"))?;
    // A kernel without CONFIG_X86_IOPL_IOPERM lets nobody at a port: then it was told on the console.
    if text.is_empty() {
        text.clone_from(&console);
    }
    let mut booted = said::heard(&String::from_utf8_lossy(&text), modules);
    if let Some(problem) = &mut booted.problem {
        if stopped {
            problem.push_str(&format!(", and said nothing more for {} s", PATIENCE.as_secs()));
        }
        booted.console = end(&String::from_utf8_lossy(&console));
    }
    Ok(booted)
}

/// The end of a console: from the first line on that says what went wrong, else the last lines.
fn end(console: &str) -> Vec<String> {
    let lines: Vec<&str> = console.lines().collect();
    let bad = |line: &&str| {
        ["BUG:", "Oops", "Kernel panic", "invalid opcode", "kernel BUG"].iter().any(|word| line.contains(word))
    };
    let first = lines.iter().position(bad).unwrap_or(lines.len().saturating_sub(CONSOLE_TOLD));
    lines[first..].iter().take(CONSOLE_TOLD).map(ToString::to_string).collect()
}

impl Machine<'_> {
    fn make_init(&self) -> Result<(), RunError> {
        let argv = [CC, "-O1", "-static", "-nostdlib", "-ffreestanding", "-fno-stack-protector", "-fno-pie", "-no-pie"];
        let argv = argv.into_iter().chain(["-o", "init", "init.c"]);
        let log = self.scratch.join("cc.log");
        let status = self.run(argv.map(Into::into).collect(), &log, &mut || false)?;
        if status == Some(Status::Exited(0)) {
            return Ok(());
        }
        let said = fs::read_to_string(&log).unwrap_or_default();
        let first = said.lines().next().unwrap_or("it says nothing").to_owned();
        Err(RunError::new(
            RunErrorKind::HostCannot,
            format!("`{CC}` cannot make the first process of a machine: {first}"),
        )
        .hint(HINT))
    }

    /// The machine from its first instruction to its end: the log of what it told, and whether it was stopped for saying nothing.
    fn emulate(&self, mebibytes: u64) -> Result<(PathBuf, bool), RunError> {
        let argv =
            [QEMU, "-accel", "tcg", "-cpu", "max", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]
                .into_iter()
                .chain(["-serial", "file:console", "-debugcon", "stdio", "-kernel", "kernel", "-initrd", "initramfs"])
                // Of the kernel's own messages only the last ones of a panic: all others are taken from its log.
                .chain(["-append", "console=ttyS0 earlyprintk=serial,ttyS0 loglevel=3 panic=-1 reboot=t nokaslr"]);
        let argv = argv.map(str::to_owned).chain(["-m".to_owned(), mebibytes.to_string()]).map(Into::into).collect();
        let log = self.scratch.join("told");
        let length = |path: &Path| fs::metadata(path).map_or(0, |meta| meta.len());
        let (console, told) = (self.scratch.join("console"), log.clone());
        let (mut seen, mut since) = (0, Instant::now());
        let mut silent = || {
            let now = length(&console) + length(&told);
            if now != seen {
                (seen, since) = (now, Instant::now());
            }
            since.elapsed() > PATIENCE
        };
        match self.run(argv, &log, &mut silent)? {
            // What it told until then is told.
            None => Ok((log, true)),
            Some(Status::Exited(0)) => Ok((log, false)),
            Some(status) => {
                let said = fs::read_to_string(&log).unwrap_or_default();
                let last = said.lines().last().unwrap_or("it says nothing").to_owned();
                let how = match status {
                    Status::Exited(code) => format!("status {code}"),
                    Status::Signaled(signal) => format!("signal {signal}"),
                };
                Err(RunError::new(RunErrorKind::HostCannot, format!("`{QEMU}` ended with {how}: {last}")).hint(HINT))
            }
        }
    }

    /// Runs a command in the machine's directory; nothing if it was stopped because of its time.
    fn run(
        &self,
        argv: Vec<std::ffi::OsString>,
        log: &Path,
        is_over: &mut dyn FnMut() -> bool,
    ) -> Result<Option<Status>, RunError> {
        let program = argv[0].to_string_lossy().into_owned();
        let mount = Mount::Bind { host: self.scratch.to_owned(), at: PLACE.into(), writable: true };
        let mut spec = Spec { isolation: self.isolation, mounts: vec![mount], ..Spec::default() };
        let cwd = match self.isolation {
            Isolation::Direct => sandbox::direct_path(&spec, Path::new(PLACE)),
            _ => PLACE.into(),
        };
        spec.env = pinned_environment().into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        spec.commands = vec![Command { argv, cwd, env: Vec::new(), label: program.clone() }];
        let log = File::create(log).map_err(|error| RunError::harness("open a log", error))?;
        let mut running = self.sandbox.spawn(&spec, &log)?;
        let outcome = loop {
            if let Some(outcome) = running.wait_timeout(TICK)? {
                break outcome;
            }
            if self.cancel.load(Ordering::Relaxed) {
                running.kill();
                return Err(RunError::new(RunErrorKind::Interrupted, "stopped"));
            }
            if is_over() {
                running.kill();
                return Ok(None);
            }
        };
        if let Some(error) = outcome.error {
            return Err(RunError::new(RunErrorKind::HostCannot, error.to_string()).hint(HINT));
        }
        Ok(outcome.commands.last().map(|command| command.status))
    }
}
