//! `compare`: two builds, two directories of modules, or two files.

use std::fs;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use clap::Args;
use rayon::prelude::*;

use super::progress::Bar;
use super::{CliError, Format, Session};
use crate::artifact::package;
use crate::artifact::trees::{self, How, Looked, Lost, Pair, Tree, Trees, Vmlinux};
use crate::artifact::{ArtifactError, Base, Bounds};
use crate::report::compare::{json, text};
use crate::verdict::pattern_matches;
use crate::verdict::trees::{BadRule, Rule, ignored_by, judge};

mod buildinfo;
mod open;

use open::{Kind, NAME};

const AFTER_HELP: &str = "\
Files are matched by path, x.ko with x.ko.zst too, and compared byte by byte. What differs is taken apart: ELF sections,
and in them keys of .modinfo, symbols, functions, relocations, BTF, notes, debug information by compilation unit, and who
signed a module. `equal but for the module signature` is a result of its own. Links are not followed.

A package (.deb, .rpm) is a tree: what it installs, and below DEBIAN/ or RPM/ what it says about itself. Its file's name has a
result of its own, which says in what else the packages differ. Paths of two releases (lib/modules/RELEASE) belong together.
Of a vmlinuz the vmlinux inside is compared. Two .buildinfo files are compared field by field, and then the packages that both
list and that lie beside them, each held against its checksum. Packages are unpacked where TMPDIR says, into a file that is
gone with the program.

Parts, as --ignore-part names them: an ELF section (`.note.gnu.build-id`, `.debug_*`), `module signature`, `layout` (headers
and padding), `mode`, `compression`, `target` (of a link), `bytes` (a file that is no ELF file),
`EFI signature` and `boot image` (of a vmlinuz), a field's name (of DEBIAN/control, RPM/tags, .buildinfo), and of a package itself
`mtime`, `owner`, `order`, `container`, `compression`, `signature`, `headers`.

Exit codes: 0 equal, or all that differs is ignored · 1 something differs · 2 usage, or a file that cannot be read (it is
named, the rest is compared) · 4 nothing was compared · 130 interrupted

Examples:
  kbuild-repro compare build-1 build-2
  kbuild-repro compare --only '*.ko*' --ignore-part '*.ko:module signature=signed with a key of its own' a b
  kbuild-repro compare old/fs/xfs/xfs.ko new/fs/xfs/xfs.ko.zst
  kbuild-repro compare linux-image-6.1.0-55-amd64_6.1.192-1_amd64.deb rebuilt/linux-image-6.1.0-55-amd64_6.1.192-1_amd64.deb
  kbuild-repro compare --ignore-part '*.deb:mtime=built later' --ignore 'DEBIAN/md5sums=follows' a.deb b.deb
  kbuild-repro compare linux_6.1.192-1_amd64.buildinfo rebuilt/linux_6.1.192-1_amd64.buildinfo
  kbuild-repro compare --vmlinux linux-image-6.1.0-55-amd64-dbg_6.1.192-1_amd64.deb old.ko new.ko
  kbuild-repro compare --format json a b | jq -r '.files[] | select(.result == \"differs\") | .path'";

/// What to compare.
#[derive(Debug, Clone, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct CompareArgs {
    /// A directory, a package (.deb, .rpm), a file or a .buildinfo
    #[arg(value_name = "A")]
    a: PathBuf,
    /// Another; a package goes with a package or a directory
    #[arg(value_name = "B")]
    b: PathBuf,
    /// The result on standard output: for people, or one JSON document
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    /// Compare only files whose path fits (`*` is any run of characters, `/` too)
    #[arg(long, value_name = "PATTERN")]
    only: Vec<String>,
    /// Files that may differ, and why; what is ignored is counted and shown
    #[arg(long, value_name = "PATTERN=REASON", value_parser = parse_path)]
    ignore: Vec<Rule>,
    /// Parts that may differ, and why, e.g. `*.ko:module signature=signed with a key of its own`
    #[arg(long, value_name = "PATTERN:PART=REASON", value_parser = parse_part)]
    ignore_part: Vec<Rule>,
    /// Read such rules from this file, one a line: with a `:` before the `=` it is for parts; `#` begins a comment
    #[arg(long, value_name = "FILE")]
    ignore_file: Vec<PathBuf>,
    /// The vmlinux whose BTF the modules of A build on, and those of B unless --vmlinux-b says otherwise: a vmlinux, a vmlinuz, its
    /// BTF alone, or a package that has one of these; by default the one in the tree or package, or `vmlinux` above it
    #[arg(long, value_name = "FILE")]
    vmlinux: Option<PathBuf>,
    /// That of B
    #[arg(long, value_name = "FILE")]
    vmlinux_b: Option<PathBuf>,
    /// No progress
    #[arg(long, short)]
    quiet: bool,
}

fn parse_path(text: &str) -> Result<Rule, BadRule> {
    Rule::of_path(text)
}

fn parse_part(text: &str) -> Result<Rule, BadRule> {
    Rule::of_part(text)
}

pub(super) fn compare(args: &CompareArgs, session: &mut Session<'_>) -> Result<u8, CliError> {
    let rules = rules(args)?;
    let bounds = Bounds { cancel: &session.cancel, largest: crate::LARGEST_FILE };
    let mut work = Work { args, rules: &rules, bounds, found: Found::default(), bases: (None, None) };
    match work.all() {
        Ok(()) => {}
        Err(Ended::Stopped) => return Ok(130),
        Err(Ended::Refused(error)) => return Err(error),
    }
    let Found { looked, lost, notes } = work.found;
    if session.cancel.load(Ordering::Relaxed) {
        return Ok(130);
    }
    let lost = lost.into_iter().map(|lost| (lost.path, lost.why)).collect();
    let names = (args.a.display().to_string(), args.b.display().to_string());
    let mut compared = judge(names, looked, lost, &rules);
    compared.notes = notes;
    let mut out = BufWriter::new(&mut *session.out);
    match args.format {
        Format::Text => text(&compared, console::colors_enabled(), &mut out)?,
        Format::Json => json(&compared, &mut out)?,
    }
    out.flush()?;
    Ok(compared.exit_code())
}

/// What came of all that was looked at.
#[derive(Default)]
struct Found {
    looked: Vec<(Pair, Looked)>,
    lost: Vec<Lost>,
    notes: Vec<String>,
}

/// Why there is no result.
enum Ended {
    Stopped,
    Refused(CliError),
}

impl From<CliError> for Ended {
    fn from(error: CliError) -> Self {
        Self::Refused(error)
    }
}

impl From<ArtifactError> for Ended {
    fn from(error: ArtifactError) -> Self {
        match error {
            ArtifactError::Stopped => Self::Stopped,
            error => Self::Refused(CliError::usage(error.told(), NAME)),
        }
    }
}

/// The BTF of the kernels that were named, for A and for B.
type Given = (Option<Arc<Base>>, Option<Arc<Base>>);

/// One comparison.
struct Work<'w> {
    args: &'w CompareArgs,
    rules: &'w [Rule],
    bounds: Bounds<'w>,
    found: Found,
    bases: Given,
}

impl Work<'_> {
    fn all(&mut self) -> Result<(), Ended> {
        let (a, b) = (&self.args.a, &self.args.b);
        let kinds = (Kind::of(a)?, Kind::of(b)?);
        self.bases = self.given()?;
        match kinds {
            (Kind::Buildinfo, Kind::Buildinfo) => self.buildinfos(a, b),
            (Kind::File | Kind::Buildinfo, Kind::File | Kind::Buildinfo) => {
                let vmlinux = Vmlinux::of(a, b);
                self.pairs(vec![trees::pair_files(a, b)?], vmlinux)
            }
            (Kind::Dir | Kind::Package, Kind::Dir | Kind::Package) => {
                let (opened_a, opened_b) = self.open_both((a, kinds.0), (b, kinds.1))?;
                self.trees(&opened_a.tree(), &opened_b.tree(), "")
            }
            (kind, other) => {
                let shown = |path: &Path, kind: Kind| format!("`{}` is a {}", path.display(), kind.name());
                let verb = if kind.name() == other.name() { "too" } else { "not" };
                let message = format!("{}, and `{}` is {verb}", shown(a, kind), b.display());
                Err(CliError::usage(message, NAME).into())
            }
        }
    }

    /// Compares two trees, with a prefix to the paths of what is in them.
    fn trees(&mut self, a: &Tree<'_>, b: &Tree<'_>, prefix: &str) -> Result<(), Ended> {
        let Trees { mut pairs, lost } = trees::pair_trees(a, b)?;
        self.found.lost.extend(lost);
        for pair in &mut pairs {
            pair.path = format!("{prefix}{}", pair.path);
            pair.path_b = pair.path_b.take().map(|path| format!("{prefix}{path}"));
        }
        match (a, b) {
            (Tree::Package(a), Tree::Package(b)) if a.kind == b.kind => {
                if let Some(looked) = package::differences(a, b) {
                    let pair = Pair::named(a.name(), b.name());
                    if is_wanted(&pair, &self.args.only) {
                        self.found.looked.push((pair, looked));
                    }
                }
            }
            (Tree::Package(package), _) | (_, Tree::Package(package)) => {
                let about = match package.kind {
                    package::Kind::Deb => "control file",
                    package::Kind::Rpm => "header",
                };
                let note = format!("what is compared is what they install; the {about} of `{}` is not", package.name());
                self.found.notes.push(note);
            }
            (Tree::Dir(_), Tree::Dir(_)) => {}
        }
        let vmlinux = Vmlinux::of_trees(a, b);
        self.pairs(pairs, vmlinux)
    }

    fn pairs(&mut self, mut pairs: Vec<Pair>, vmlinux: Vmlinux) -> Result<(), Ended> {
        pairs.retain(|pair| is_wanted(pair, &self.args.only));
        let vmlinux = vmlinux.with(self.bases.0.clone(), self.bases.1.clone());
        let bar = Bar::new(pairs.iter().map(Pair::size).sum(), !self.args.quiet);
        let (rules, bounds) = (self.rules, &self.bounds);
        let look = |pair: Pair| -> Result<(Pair, Looked), ArtifactError> {
            let decode = ignored_by(&pair, rules).is_none();
            let looked = trees::compare(&pair, &How { decode, bounds, bases: &vmlinux })?;
            bar.inc(pair.size());
            Ok((pair, looked))
        };
        let looked: Result<Vec<_>, ArtifactError> = pairs.into_par_iter().map(look).collect();
        bar.finish();
        self.found.looked.extend(looked?);
        self.found.notes.extend(vmlinux.problems());
        Ok(())
    }
}

fn is_wanted(pair: &Pair, only: &[String]) -> bool {
    let fits = |path: &str| only.iter().any(|pattern| pattern_matches(pattern, path));
    only.is_empty() || fits(&pair.path) || pair.path_b.as_deref().is_some_and(fits)
}

fn rules(args: &CompareArgs) -> Result<Vec<Rule>, CliError> {
    let mut rules: Vec<Rule> = args.ignore.iter().chain(&args.ignore_part).cloned().collect();
    for path in &args.ignore_file {
        let shown = path.display();
        let is_file = fs::metadata(path).map(|meta| meta.is_file());
        if matches!(is_file, Ok(false)) {
            return Err(CliError::usage(format!("`{shown}` is no regular file"), "name a file with a rule a line"));
        }
        let text = fs::read_to_string(path).map_err(|error| {
            CliError::usage(format!("cannot read `{shown}`: {error}"), "name a file with a rule a line")
        })?;
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            rules.push(Rule::of_line(line).map_err(|error| {
                CliError::usage(format!("{shown}:{number}: {error}"), "a rule is `*.ko:module signature = REASON`")
            })?);
        }
    }
    Ok(rules)
}
