//! `boot`: what a kernel makes of modules, by the kernel itself.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use clap::Args;
use serde::Serialize;

use super::btf::{Bases, module_files};
use super::run::capture_without_tools;
use super::{CliError, Format, Session};
use crate::artifact::btf::{Base, BtfError, BtfFile, BtfFileError};
use crate::artifact::modules::{load_order, not_given, ready};
use crate::report::terminal::clean;
use crate::runner::boot::{Booted, Load, Machine, Module, boot as start, unbootable};
use crate::runner::{RunError, RunErrorKind};
use crate::sandbox::scratch::{Scratch, sweep};
use crate::sandbox::{Isolation, Sandbox};

const AFTER_HELP: &str = "\
The machine is qemu's, by software emulation: no privilege is needed, and nothing of it touches this host. The kernel needs no driver,
but CONFIG_BLK_DEV_INITRD, CONFIG_PRINTK, CONFIG_MODULES, and CONFIG_SYSFS to tell whether it took a module's BTF. Modules
are loaded after those that they need (`depends=`); what is not given is not there. A machine that says nothing for 180 s is stopped.

With CONFIG_MODULE_ALLOW_BTF_MISMATCH, as Debian has it, a kernel loads a module whose BTF it refuses, without it.

Exit codes: 0 every module was loaded · 1 a module or its BTF was refused, or the kernel did not come so far · 2 usage · 3 no qemu or no
compiler · 130 interrupted

Examples:
  kbuild-repro boot arch/x86/boot/bzImage net/ipv4/tcp_bbr.ko
  kbuild-repro boot /boot/vmlinuz-$(uname -r) /lib/modules/$(uname -r)/kernel/lib
  kbuild-repro boot --each bzImage old/x.ko new/x.ko";

/// What to boot, and what to load.
#[derive(Debug, Clone, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct BootArgs {
    /// A kernel of x86-64: bzImage or vmlinuz
    #[arg(value_name = "KERNEL")]
    kernel: PathBuf,
    /// Modules, compressed or not, and directories of them; without any the kernel is booted
    #[arg(value_name = "MODULE|DIR")]
    modules: Vec<PathBuf>,
    /// Unload each module before the next: for several of one name
    #[arg(long)]
    each: bool,
    /// The vmlinux of the kernel, for what `btf check` says beside the kernel; by default the one inside the image
    #[arg(long, value_name = "VMLINUX")]
    base: Option<PathBuf>,
    /// The result on standard output: for people, or one JSON document
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// A module with what both say of it.
#[derive(Debug, Serialize)]
struct Told {
    file: String,
    #[serde(flatten)]
    load: Load,
    /// Modules that it needs and that were not given.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    not_given: Vec<String>,
    /// What `btf check` says; none where it cannot say.
    #[serde(skip_serializing_if = "Option::is_none")]
    check: Option<Check>,
    /// Whether the two agree on what the kernel does with the BTF, where both could look at it.
    #[serde(skip_serializing_if = "Option::is_none")]
    agrees: Option<bool>,
}

/// What `btf check` says of a module's BTF.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Check {
    Good,
    /// The kernel refuses it.
    Refused {
        /// In its words.
        kernel: String,
        /// In ours.
        problem: String,
    },
    /// It is wrong, and the kernel does not look at that.
    Wrong(String),
}

impl Told {
    fn new(file: String, load: Load, not_given: Vec<String>, check: Option<Check>) -> Self {
        let agrees = Self::agrees(&load, check.as_ref());
        Self { file, load, not_given, check, agrees }
    }

    fn agrees(load: &Load, check: Option<&Check>) -> Option<bool> {
        let said = match check? {
            Check::Refused { kernel, .. } => Some(kernel.as_str()),
            Check::Good | Check::Wrong(_) => None,
        };
        match (load.refusal(), said) {
            (Some(kernel), Some(said)) => Some(same_words(kernel, said)),
            (None, None) if load.errno == 0 && load.btf => Some(true),
            // Refused for another reason, before it was looked at.
            (None, _) if load.errno != 0 => None,
            _ => Some(false),
        }
    }
}

/// `Invalid name_offset:7` stands with and without a blank in kernels of different age.
fn same_words(kernel: &str, said: &str) -> bool {
    let plain = |text: &str| text.chars().filter(|c| c.is_alphabetic()).collect::<String>();
    plain(kernel) == plain(said)
}

pub(super) fn boot(args: &BootArgs, session: &mut Session<'_>) -> Result<u8, CliError> {
    let kernel = &args.kernel;
    let shown = kernel.display();
    let hint = "name a bzImage or a vmlinuz of x86-64";
    match unbootable(kernel) {
        Err(error) => return Err(CliError::usage(format!("cannot read `{shown}`: {error}"), hint)),
        Ok(Some(why)) => return Err(CliError::usage(format!("`{shown}` cannot be booted here: {why}"), hint)),
        Ok(None) => {}
    }
    let host = capture_without_tools()?;
    let base = &host.paths.scratch;
    let _ = sweep(base);
    let scratch = Scratch::create(base).map_err(|error| CliError::host(error.to_string(), error.hint()))?;
    let dir = |name: &str| -> Result<PathBuf, CliError> {
        let dir = scratch.path().join(name);
        std::fs::create_dir(&dir).map_err(CliError::internal)?;
        Ok(dir)
    };
    let files = module_files(&args.modules)?;
    let mut modules = ready(&files, &dir("modules")?, &session.cancel).map_err(|(file, why)| {
        CliError::usage(format!("`{}` cannot be loaded: {why}", file.display()), "name modules: *.ko, *.ko.xz")
    })?;
    let order: Vec<usize> = if args.each { (0..modules.len()).collect() } else { load_order(&modules) };
    modules.iter_mut().for_each(|module| module.unload = args.each);
    let ordered: Vec<Module> = order.iter().map(|&index| modules[index].clone()).collect();
    let sandbox = Sandbox::new(host.exe.clone());
    let can = sandbox.probe(scratch.path()).map_err(CliError::sandbox)?;
    let isolation = if can.mount_ns.is_err() { Isolation::Direct } else { Isolation::Auto };
    let machine = Machine { sandbox: &sandbox, isolation, scratch: &dir("machine")?, cancel: &session.cancel };
    super::progress::note(&format!("booting {shown} under qemu, with {} modules", ordered.len()));
    let since = Instant::now();
    let booted = match start(machine, kernel, &ordered) {
        Err(error) if error.kind == RunErrorKind::Interrupted => return Ok(130),
        booted => booted.map_err(failed)?,
    };
    let checks = Checks { kernel, given: args.base.as_deref() }.all(&ordered);
    let told: Vec<Told> = (booted.loads.iter().cloned().zip(checks).zip(&order))
        .map(|((load, check), &index)| {
            let missing = if load.errno == 0 { Vec::new() } else { not_given(&modules[index], &modules) };
            Told::new(files[index].display().to_string(), load, missing, check)
        })
        .collect();
    match args.format {
        Format::Json => json(&booted, &told, session)?,
        Format::Text => text(&booted, &told, since.elapsed().as_secs(), session)?,
    }
    let all_loaded =
        booted.problem.is_none() && told.iter().all(|told| told.load.errno == 0 && told.load.refusal().is_none());
    Ok(u8::from(!all_loaded))
}

/// Whose fault it is decides how it ends.
fn failed(error: RunError) -> CliError {
    let (message, hint) = (error.message, error.hint);
    match error.kind {
        RunErrorKind::HostCannot => CliError::Host { message, hint },
        _ => CliError::Harness { message, hint },
    }
}

/// What `btf check` says of modules.
struct Checks<'a> {
    kernel: &'a Path,
    given: Option<&'a Path>,
}

impl Checks<'_> {
    fn all(&self, modules: &[Module]) -> Vec<Option<Check>> {
        let base = Bases::default().of(self.kernel, true, Some(self.given.unwrap_or(self.kernel)));
        // An image that is packed in a way that cannot be opened here; its build directory may have the vmlinux.
        let base = base.or_else(|_| Bases::default().of(self.kernel, true, None)).ok().flatten();
        modules.iter().map(|module| Self::one(module, base.as_ref())).collect()
    }

    fn one(module: &Module, base: Option<&Arc<Base>>) -> Option<Check> {
        let file = match BtfFile::read(&module.file) {
            Err(BtfFileError::None | BtfFileError::Io(_) | BtfFileError::TooLarge(_)) => return None,
            file => file.ok()?,
        };
        match file.check(base) {
            Ok(()) => Some(Check::Good),
            Err(BtfError::BaseNeeded) => None,
            Err(error) => Some(match (error.kernel(), error.to_string()) {
                (Some(kernel), problem) => Check::Refused { kernel, problem },
                (None, problem) => Check::Wrong(problem),
            }),
        }
    }
}

fn json(booted: &Booted, told: &[Told], session: &mut Session<'_>) -> Result<(), CliError> {
    #[derive(Serialize)]
    struct Document<'a> {
        release: &'a Option<String>,
        has_btf: bool,
        modules: &'a [Told],
        problem: &'a Option<String>,
        console: &'a [String],
    }
    let Booted { release, has_btf, problem, console, .. } = booted;
    let document = Document { release, has_btf: *has_btf, modules: told, problem, console };
    serde_json::to_writer_pretty(&mut session.out, &document).map_err(|error| CliError::Output(error.into()))?;
    Ok(writeln!(session.out)?)
}

fn text(booted: &Booted, told: &[Told], seconds: u64, session: &mut Session<'_>) -> Result<(), CliError> {
    let out = &mut session.out;
    if let Some(release) = &booted.release {
        let btf =
            if booted.has_btf { "" } else { ", which has no BTF of its own and does not look at that of modules" };
        writeln!(out, "booted {}{btf} ({seconds} s)", clean(release))?;
    }
    for told in told {
        let file = clean(&told.file);
        match (told.load.errno, told.load.btf) {
            (0, true) => writeln!(out, "{file}: loaded, with its BTF")?,
            (0, false) if told.load.refusal().is_some() => writeln!(out, "{file}: loaded, and its BTF refused")?,
            (0, false) => writeln!(out, "{file}: loaded, without BTF")?,
            (errno, _) => {
                writeln!(out, "{file}: refused: {}", std::io::Error::from_raw_os_error(errno))?;
                if !told.not_given.is_empty() {
                    writeln!(out, "  it needs {}, which was not given", clean(&told.not_given.join(", ")))?;
                    continue;
                }
            }
        }
        if told.load.errno != 0 || told.load.refusal().is_some() {
            let log = told.load.log.iter().filter(|line| !line.trim_end().is_empty() && line.trim() != "BPF:");
            for line in log {
                writeln!(out, "  | {}", clean(line.trim_end()))?;
            }
        }
        match (&told.check, told.agrees) {
            (Some(Check::Wrong(why)), _) => {
                writeln!(out, "  btf check: {}; a kernel does not look at that", clean(why))?
            }
            (Some(Check::Refused { problem, .. }), Some(true)) => writeln!(out, "  btf check: {}", clean(problem))?,
            (Some(Check::Refused { kernel, problem }), Some(false)) => {
                writeln!(out, "  btf check says otherwise: {} ({})", clean(kernel), clean(problem))?;
            }
            (Some(Check::Good), Some(false)) => writeln!(out, "  btf check says otherwise: good")?,
            _ => {}
        }
    }
    let count = |fits: &dyn Fn(&Told) -> bool| told.iter().filter(|told| fits(told)).count();
    if !told.is_empty() {
        let loaded = count(&|told| told.load.errno == 0);
        let btf = count(&|told| told.load.refusal().is_some());
        let modules = if told.len() == 1 { "module" } else { "modules" };
        let both = count(&|told| told.agrees.is_some());
        let agreed = count(&|told| told.agrees == Some(true));
        write!(out, "{} {modules}: {loaded} loaded, {} refused", told.len(), told.len() - loaded)?;
        write!(out, "{}", if btf > 0 { format!("; the BTF of {btf} refused") } else { String::new() })?;
        writeln!(
            out,
            "{}",
            if both > 0 { format!("; btf check agrees on {agreed} of {both}") } else { String::new() }
        )?;
    }
    if let Some(problem) = &booted.problem {
        writeln!(out, "{}", clean(problem))?;
        for line in &booted.console {
            writeln!(out, "  | {}", clean(line))?;
        }
    }
    Ok(())
}
