//! `compare`: two builds, two directories of modules, or two files.

use std::fs;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use clap::Args;
use rayon::prelude::*;

use super::progress::Bar;
use super::{CliError, Format, Session};
use crate::artifact::trees::{self, How, Looked, Pair, Trees, Vmlinux};
use crate::artifact::{ArtifactError, Bounds};
use crate::report::compare::{json, text};
use crate::verdict::pattern_matches;
use crate::verdict::trees::{BadRule, Rule, ignored_by, judge};

const AFTER_HELP: &str = "\
Files are matched by path, x.ko with x.ko.zst too, and compared byte by byte. What differs is taken apart: ELF sections,
and in them keys of .modinfo, symbols, functions, relocations, BTF, notes, debug information by compilation unit, and who
signed a module. `equal but for the module signature` is a result of its own. Links are not followed.

Parts, as --ignore-part names them: an ELF section (`.note.gnu.build-id`, `.debug_*`), `module signature`, `layout` (headers
and padding), `mode`, `compression`, `target` (of a link), `bytes` (a file that is no ELF file).

Exit codes: 0 equal, or all that differs is ignored · 1 something differs · 2 usage, or a file that cannot be read (it is
named, the rest is compared) · 4 nothing was compared · 130 interrupted

Examples:
  kbuild-repro compare build-1 build-2
  kbuild-repro compare --only '*.ko*' --ignore-part '*.ko:module signature=signed with a key of its own' a b
  kbuild-repro compare old/fs/xfs/xfs.ko new/fs/xfs/xfs.ko.zst
  kbuild-repro compare --format json a b | jq -r '.files[] | select(.result == \"differs\") | .path'";

/// What to compare.
#[derive(Debug, Clone, Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct CompareArgs {
    /// A directory or a file
    #[arg(value_name = "A")]
    a: PathBuf,
    /// Another of the same kind
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
    let Trees { mut pairs, lost } = pairs(&args.a, &args.b)?;
    pairs.retain(|pair| is_wanted(pair, &args.only));
    let bounds = Bounds { cancel: &session.cancel, largest: crate::LARGEST_FILE };
    let vmlinux = Vmlinux::of(&args.a, &args.b);
    let bar = Bar::new(pairs.iter().map(Pair::size).sum(), !args.quiet);
    let look = |pair: Pair| -> Result<(Pair, Looked), ArtifactError> {
        let decode = ignored_by(&pair, &rules).is_none();
        let looked = trees::compare(&pair, &How { decode, bounds: &bounds, bases: &vmlinux })?;
        bar.inc(pair.size());
        Ok((pair, looked))
    };
    let looked: Result<Vec<_>, ArtifactError> = pairs.into_par_iter().map(look).collect();
    bar.finish();
    if session.cancel.load(Ordering::Relaxed) {
        return Ok(130);
    }
    let lost = lost.into_iter().map(|lost| (lost.path, lost.why)).collect();
    let names = (args.a.display().to_string(), args.b.display().to_string());
    let compared = judge(names, looked.map_err(CliError::internal)?, lost, &rules);
    let mut out = BufWriter::new(&mut *session.out);
    match args.format {
        Format::Text => text(&compared, console::colors_enabled(), &mut out)?,
        Format::Json => json(&compared, &mut out)?,
    }
    out.flush()?;
    Ok(compared.exit_code())
}

fn is_wanted(pair: &Pair, only: &[String]) -> bool {
    let fits = |path: &str| only.iter().any(|pattern| pattern_matches(pattern, path));
    only.is_empty() || fits(&pair.path) || pair.path_b.as_deref().is_some_and(fits)
}

fn pairs(a: &Path, b: &Path) -> Result<Trees, CliError> {
    let is_dir = |path: &Path| {
        fs::metadata(path).map(|meta| meta.is_dir()).map_err(|error| {
            CliError::usage(format!("cannot read `{}`: {error}", path.display()), "name two directories or two files")
        })
    };
    let unusable = |error: ArtifactError| CliError::usage(error.told(), "name two directories or two files");
    match (is_dir(a)?, is_dir(b)?) {
        (true, true) => trees::pair(a, b).map_err(unusable),
        (false, false) => Ok(Trees { pairs: vec![trees::pair_files(a, b).map_err(unusable)?], lost: Vec::new() }),
        (is_dir, _) => {
            let (dir, other) = if is_dir { (a, b) } else { (b, a) };
            let message = format!("`{}` is a directory, and `{}` is not", dir.display(), other.display());
            Err(CliError::usage(message, "name two directories or two files"))
        }
    }
}

fn rules(args: &CompareArgs) -> Result<Vec<Rule>, CliError> {
    let mut rules: Vec<Rule> = args.ignore.iter().chain(&args.ignore_part).cloned().collect();
    for path in &args.ignore_file {
        let shown = path.display();
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
