//! `btf`: BTF as text, what two BTFs say differently, and whether a kernel would take it.

use std::collections::BTreeMap;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;

use super::{CliError, Session};
use crate::artifact::btf::{
    Base, Btf, BtfDiff, BtfError, BtfFile, BtfFileError, Ext, Ids, Relation, diff_ids, ext, ids,
};
use crate::artifact::trees::kernel_above;
use crate::artifact::{FileEntry, FileKind, module_name, unescape_path, walk};
use crate::report::terminal::clean;

/// What to do.
#[derive(Debug, Clone, Args)]
pub(super) struct BtfArgs {
    #[command(subcommand)]
    command: BtfCommand,
}

#[derive(Debug, Clone, Subcommand)]
enum BtfCommand {
    /// Print the BTF of a module, a vmlinux, a vmlinuz or a file of its own: types by their C names, and the ids of `.BTF_ids`
    Dump(DumpArgs),
    /// Say what two files' BTF says differently: types matched by what they say, not by their ids; 0 if it is the same
    Diff(DiffArgs),
    /// Say whether a kernel would take it, and whether it fits the vmlinux it is for; 1 if not
    Check(FilesArgs),
}

#[derive(Debug, Clone, Args)]
struct BaseArgs {
    /// The vmlinux that split BTF builds on; by default the file's own .BTF.base, a `vmlinux` in a directory above it, or
    /// /sys/kernel/btf/vmlinux for what belongs to the running kernel
    #[arg(long, value_name = "VMLINUX")]
    base: Option<PathBuf>,
}

#[derive(Debug, Clone, Args)]
struct DumpArgs {
    /// An ELF file (*.ko, *.o, vmlinux), a vmlinuz, or BTF alone
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    base: BaseArgs,
    /// How
    #[arg(long, value_enum, default_value = "text")]
    format: DumpFormat,
}

#[derive(Debug, Clone, Args)]
struct FilesArgs {
    /// ELF files, a vmlinuz, BTF alone, or directories of modules
    #[arg(value_name = "FILE|DIR", required = true)]
    files: Vec<PathBuf>,
    #[command(flatten)]
    base: BaseArgs,
}

#[derive(Debug, Clone, Args)]
struct DiffArgs {
    /// One file
    a: PathBuf,
    /// The other
    b: PathBuf,
    #[command(flatten)]
    base: BaseArgs,
    /// The vmlinux of B, if it is another
    #[arg(long, value_name = "VMLINUX")]
    base_b: Option<PathBuf>,
    /// How
    #[arg(long, value_enum, default_value = "text")]
    format: DiffFormat,
    /// How many types of each sort are named
    #[arg(long, value_name = "N", default_value_t = 20)]
    most: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum DumpFormat {
    /// A line for each type and each member, the same whatever the ids are
    Text,
    /// Counts, digests and tagged functions alone
    Summary,
    /// Every type with its id
    Json,
    /// Declarations in C
    C,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum DiffFormat {
    Text,
    Json,
}

pub(super) fn btf(args: &BtfArgs, session: &mut Session<'_>) -> Result<u8, CliError> {
    match &args.command {
        BtfCommand::Dump(args) => dump(args, session),
        BtfCommand::Diff(args) => diff(args, session),
        BtfCommand::Check(args) => check(args, session),
    }
}

/// A file with its BTF, its lists of ids, and what it says of instructions.
struct Loaded {
    btf: Btf,
    ids: Vec<Ids>,
    ext: Vec<Ext>,
}

fn dump(args: &DumpArgs, session: &mut Session<'_>) -> Result<u8, CliError> {
    let file = read(&args.file)?;
    let loaded = load(&args.file, &file, args.base.base.as_deref())?;
    let mut out = BufWriter::new(&mut *session.out);
    let fails = |error| refused(&args.file, &BtfFileError::Btf(error));
    match args.format {
        DumpFormat::Summary => write!(out, "{}", loaded.btf.summary().map_err(fails)?)?,
        DumpFormat::Text => {
            for piece in loaded.btf.text().map_err(fails)? {
                out.write_all(piece.as_bytes())?;
            }
            write_ids(&loaded.ids, &mut out)?;
            write_ext(&loaded.ext, &mut out)?;
        }
        DumpFormat::C => loaded.btf.write_c(&mut out).map_err(|error| {
            match error.get_ref().and_then(|error| error.downcast_ref::<BtfError>()) {
                Some(error) => fails(error.clone()),
                None => CliError::Output(error),
            }
        })?,
        DumpFormat::Json => {
            #[derive(Serialize)]
            struct Dump<'a> {
                types: Vec<crate::artifact::btf::TypeEntry>,
                btf_ids: &'a [Ids],
                #[serde(skip_serializing_if = "<[Ext]>::is_empty")]
                btf_ext: &'a [Ext],
            }
            let dump = Dump { types: loaded.btf.entries(), btf_ids: &loaded.ids, btf_ext: &loaded.ext };
            serde_json::to_writer(&mut out, &dump).map_err(|error| CliError::Output(error.into()))?;
            writeln!(out)?;
        }
    }
    out.flush()?;
    Ok(0)
}

fn write_ids(ids: &[Ids], out: &mut impl std::io::Write) -> std::io::Result<()> {
    for list in ids {
        let kind = list.kind.name();
        let flags = list.flags.map_or(String::new(), |flags| format!(", flags {flags:#x}"));
        writeln!(out, "btf_ids {kind} {}: {}{flags}", list.name, list.ids.len())?;
        if let Some(problem) = &list.problem {
            writeln!(out, "  {problem}")?;
        }
        for id in &list.ids {
            let flags = id.flags.map_or(String::new(), |flags| format!(": flags {flags:#x}"));
            writeln!(out, "  {}{flags}", id.name)?;
        }
    }
    Ok(())
}

fn write_ext(ext: &[Ext], out: &mut impl std::io::Write) -> std::io::Result<()> {
    for list in ext {
        writeln!(out, "btf_ext {} {}: {}", list.kind.name(), list.section, list.records.len())?;
        for record in &list.records {
            writeln!(out, "  {:#x} {}", record.offset, record.says)?;
        }
    }
    Ok(())
}

fn diff(args: &DiffArgs, session: &mut Session<'_>) -> Result<u8, CliError> {
    #[derive(Serialize)]
    struct Both<'a> {
        #[serde(flatten)]
        btf: &'a BtfDiff,
        btf_ids: &'a [String],
    }
    let (a, b) = (read(&args.a)?, read(&args.b)?);
    let a = load(&args.a, &a, args.base.base.as_deref())?;
    let b = load(&args.b, &b, args.base_b.as_deref().or(args.base.base.as_deref()))?;
    let (btf, ids) = (BtfDiff::of(&a.btf, &b.btf), diff_ids(&a.ids, &b.ids));
    match args.format {
        DiffFormat::Json => {
            let both = Both { btf: &btf, btf_ids: &ids };
            serde_json::to_writer_pretty(&mut session.out, &both).map_err(|error| CliError::Output(error.into()))?;
            writeln!(session.out)?;
        }
        DiffFormat::Text => {
            let ids = ids.iter().map(|line| format!(".BTF_ids: {line}"));
            for line in btf.lines(args.most).into_iter().chain(ids) {
                writeln!(session.out, "{}", clean(&line))?;
            }
        }
    }
    let same = matches!(btf.relation, Relation::Identical | Relation::SameMeaning) && ids.is_empty();
    Ok(u8::from(!same))
}

fn check(args: &FilesArgs, session: &mut Session<'_>) -> Result<u8, CliError> {
    let mut worst = 0;
    let mut bases = Bases::default();
    let files = module_files(&args.files)?;
    let mut counts = [0; 3];
    for path in &files {
        if session.cancel.load(std::sync::atomic::Ordering::Relaxed) {
            return Ok(130);
        }
        let checked = read(path).and_then(|file| {
            // What cannot be read is refused with any base.
            let base = bases.of(path, file.needs_base().unwrap_or(false), args.base.base.as_deref())?;
            Ok(file.check(base.as_ref()))
        });
        let name = path.display().to_string();
        match checked {
            Ok(Ok(())) => {
                counts[0] += 1;
                writeln!(session.out, "{}: good", clean(&name))?;
            }
            Ok(Err(error)) => {
                worst = worst.max(1);
                counts[if error.kernel().is_some() { 1 } else { 2 }] += 1;
                writeln!(session.out, "{}: wrong: {}", clean(&name), clean(&error.to_string()))?;
                match (error.kernel(), module_name(&name)) {
                    (Some(why), Some(module)) => {
                        let module = clean(&module);
                        writeln!(
                            session.out,
                            "  a kernel says: failed to validate module [{module}] BTF: -22 ({why})"
                        )?;
                    }
                    (Some(why), None) => writeln!(session.out, "  a kernel says: {why}")?,
                    (None, _) => writeln!(session.out, "  a kernel does not look at that as it loads a module")?,
                }
            }
            Err(error) if files.len() == 1 => return Err(error),
            Err(error) => {
                worst = 2;
                writeln!(session.out, "{}: not checked: {}", clean(&name), clean(&error.to_string()))?;
            }
        }
    }
    if files.len() > 1 {
        let [good, refused, other] = counts;
        writeln!(
            session.out,
            "{} files: {good} good, {refused} that a kernel refuses, {other} with what a kernel does not look at",
            files.len()
        )?;
    }
    for base in bases.0.keys().filter(|_| args.base.base.is_none()) {
        super::progress::note(&format!("the base is {}", clean(&base.display().to_string())));
    }
    Ok(worst)
}

/// Files that are named, and the modules in directories that are.
pub(super) fn module_files(named: &[PathBuf]) -> Result<Vec<PathBuf>, CliError> {
    let mut files = Vec::new();
    for path in named {
        let shown = path.display();
        let unreadable = |error: std::io::Error| {
            CliError::usage(format!("cannot read `{shown}`: {error}"), "name files that are there")
        };
        let meta = std::fs::metadata(path).map_err(unreadable)?;
        if !meta.is_dir() {
            files.push(path.clone());
            continue;
        }
        let before = files.len();
        let entries = walk(path, |_, _| true).map_err(CliError::internal)?;
        let is_module = |entry: &FileEntry| entry.kind == FileKind::File && module_name(&entry.path).is_some();
        let modules = entries.iter().filter(|entry| is_module(entry));
        files.extend(modules.map(|entry| path.join(unescape_path(&entry.path))));
        if files.len() == before {
            return Err(CliError::usage(
                format!("there are no modules in `{shown}`"),
                "name modules, or a directory of them",
            ));
        }
    }
    Ok(files)
}

fn read(path: &Path) -> Result<BtfFile, CliError> {
    BtfFile::read(path).map_err(|error| refused(path, &error))
}

fn refused(path: &Path, error: &BtfFileError) -> CliError {
    let message = format!("`{}`: {error}", path.display());
    match error.hint() {
        Some(hint) => CliError::usage(message, hint),
        None => CliError::usage(message, "name an ELF file with BTF, a vmlinuz, or BTF alone"),
    }
}

fn load(path: &Path, file: &BtfFile, base: Option<&Path>) -> Result<Loaded, CliError> {
    let fails = |error| refused(path, &BtfFileError::Btf(error));
    let base = Bases::default().of(path, file.needs_base().map_err(fails)?, base)?;
    let btf = file.btf(base.as_ref()).map_err(fails)?;
    let ids = match file.elf() {
        Some(elf) => ids(elf, Some(&btf)).map_err(|why| refused(path, &BtfFileError::Elf(why)))?,
        None => Vec::new(),
    };
    let ext = match file.elf() {
        Some(elf) => ext(elf, &btf).map_err(|why| refused(path, &BtfFileError::Elf(why)))?,
        None => Vec::new(),
    };
    Ok(Loaded { btf, ids, ext })
}

/// Bases that were read; thousands of modules have one.
#[derive(Default)]
pub(super) struct Bases(BTreeMap<PathBuf, Arc<Base>>);

impl Bases {
    /// The base that is named, or that a file's place tells.
    pub(super) fn of(
        &mut self,
        path: &Path,
        needed: bool,
        given: Option<&Path>,
    ) -> Result<Option<Arc<Base>>, CliError> {
        if !needed {
            return Ok(None);
        }
        let at = match given {
            Some(given) => given.to_owned(),
            None => place_of_base(path)?,
        };
        if let Some(known) = self.0.get(&at) {
            return Ok(Some(Arc::clone(known)));
        }
        let base = read(&at)?.into_base().map_err(|error| refused(&at, &BtfFileError::Btf(error)))?;
        let base = Arc::new(base);
        self.0.insert(at, Arc::clone(&base));
        Ok(Some(base))
    }
}

fn place_of_base(path: &Path) -> Result<PathBuf, CliError> {
    let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    if let Some(beside) = real.ancestors().skip(1).map(|dir| dir.join("vmlinux")).find(|beside| beside.is_file()) {
        return Ok(beside);
    }
    let running = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let own = real.starts_with("/sys/kernel/btf")
        || !running.trim().is_empty() && real.components().any(|part| part.as_os_str() == running.trim());
    let live = Path::new("/sys/kernel/btf/vmlinux");
    if own && live.is_file() {
        return Ok(live.to_owned());
    }
    // As in a package that was unpacked: `boot/vmlinuz-*`.
    if let Some(kernel) = kernel_above(path) {
        return Ok(kernel);
    }
    Err(CliError::usage(
        format!("`{}` holds split BTF, and no vmlinux is in a directory above it", path.display()),
        "--base VMLINUX: the vmlinux of the same build",
    ))
}
