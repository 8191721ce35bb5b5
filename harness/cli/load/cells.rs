//! The cells of scenarios with a `[matrix]`, and those that the command line makes of any scenario.

use std::collections::BTreeSet;
use std::path::Path;

use clap::Args;

use super::{Found, Ready, read_one, source};
use crate::cli::CliError;
use crate::cli::host::Host;
use crate::runner::shown;
use crate::scenario::{Cell, Compiler, Dimension, Errors, Loaded, Matrix, SYSTEM, nearest, unfit};
use crate::tree::source::SourceSpec;

/// Between a scenario's id and the name of a cell.
pub(super) const AT: char = '@';

/// `[matrix]` on the command line, over what scenarios say.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Matrix: each scenario is run for every combination of these, in place of its own lists")]
pub struct MatrixArgs {
    /// Kernels, as a `srctree` is written: debian:6.12 (or 6.12), git:DIR@REV, a tarball, a directory
    #[arg(long, value_name = "SOURCE,...", value_delimiter = ',')]
    kernel: Vec<String>,
    /// paholes: `system`, a version (the system's, or unpacked beside it), or the path of one
    #[arg(long, value_name = "VERSION|PATH,...", value_delimiter = ',')]
    pahole: Vec<String>,
    /// GNU makes: `system`, a version, or the path of one
    #[arg(long, value_name = "VERSION|PATH,...", value_delimiter = ',')]
    make: Vec<String>,
    /// Compilers: gcc, clang
    #[arg(long, value_name = "COMPILER,...", value_delimiter = ',', value_parser = parse_compiler)]
    compiler: Vec<Compiler>,
    /// Numbers of jobs of each make, -jN exactly; `--jobs` is the most of all together
    #[arg(long, value_name = "N,...", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..=4096))]
    make_jobs: Vec<u32>,
}

fn parse_compiler(text: &str) -> Result<Compiler, String> {
    [Compiler::Gcc, Compiler::Clang].into_iter().find(|one| one.name() == text).ok_or("gcc or clang".to_owned())
}

/// The option of a list.
fn option(dimension: Dimension) -> &'static str {
    match dimension {
        Dimension::Kernel => "--kernel",
        Dimension::Pahole => "--pahole",
        Dimension::Make => "--make",
        Dimension::Compiler => "--compiler",
        Dimension::Jobs => "--make-jobs",
    }
}

impl MatrixArgs {
    /// The lists, on this host.
    ///
    /// # Errors
    /// What is neither a kernel nor a tool, and a program that is another one.
    pub(crate) fn matrix(&self, host: &Host) -> Result<Matrix, CliError> {
        let matrix = self.lists(&host.cwd)?;
        for (name, values) in [("pahole", &matrix.pahole), ("make", &matrix.make)] {
            for program in values.iter().filter(|value| value.starts_with('/')) {
                if host.version_of_own(name, Path::new(program)).is_none() {
                    let what = format!("`{program}` is no {name}: `--version` does not answer as {name} does");
                    return Err(CliError::usage(what, format!("`--{name}` takes versions and paths of programs")));
                }
            }
        }
        Ok(matrix)
    }

    /// The lists, with paths that hold wherever they are read.
    fn lists(&self, cwd: &Path) -> Result<Matrix, CliError> {
        let Self { kernel, pahole, make, compiler, make_jobs } = self;
        Ok(Matrix {
            kernel: once(kernel.iter().map(|text| kernel_of(text, cwd)).collect::<Result<_, _>>()?),
            pahole: once(pahole.iter().map(|text| tool_of("pahole", text, cwd)).collect::<Result<_, _>>()?),
            make: once(make.iter().map(|text| tool_of("make", text, cwd)).collect::<Result<_, _>>()?),
            compiler: once(compiler.clone()),
            jobs: once(make_jobs.clone()),
            except: Vec::new(),
        })
    }
}

/// A list without what it has already: a cell is run once.
fn once<T: PartialEq>(list: Vec<T>) -> Vec<T> {
    list.into_iter().fold(Vec::new(), |mut kept, one| {
        if !kept.contains(&one) {
            kept.push(one);
        }
        kept
    })
}

fn kernel_of(text: &str, cwd: &Path) -> Result<String, CliError> {
    let is_version =
        text.starts_with(|c: char| c.is_ascii_digit()) && !text.contains(['/', ':']) && !text.contains(".tar");
    let text = if is_version { format!("debian:{text}") } else { text.to_owned() };
    match SourceSpec::parse(&text) {
        Ok(spec) if spec.is_built_in() => {
            Err(CliError::usage(format!("`{text}` is no kernel"), "e.g. `--kernel debian:6.12,git:linux@v7.0`"))
        }
        Ok(spec) => Ok(spec.resolve(cwd).to_string()),
        Err(error) => Err(CliError::usage(error.to_string(), error.hint())),
    }
}

fn tool_of(name: &str, text: &str, cwd: &Path) -> Result<String, CliError> {
    let is_path = text.contains('/');
    // As the kernel sees it: what is named by `..` is found below its own name.
    let real = |path: std::path::PathBuf| path.canonicalize().unwrap_or(path).display().to_string();
    let value = if is_path { real(cwd.join(text)) } else { text.to_owned() };
    if is_path && !Path::new(&value).is_file() {
        return Err(CliError::usage(
            format!("there is no program `{text}`"),
            format!("`--{name}` takes versions and paths"),
        ));
    }
    if crate::scenario::names_a_tool(&value) {
        return Ok(value);
    }
    let hint = format!("e.g. `--{name} {SYSTEM},{},/path/to/{name}`", if name == "make" { "4.4" } else { "1.30" });
    Err(CliError::usage(format!("`{text}` is no {name}"), hint))
}

/// The names of a scenario file's cells; none where it has no matrix, or cannot be read.
pub(super) fn names(found: &Found) -> Vec<String> {
    let (Some(loaded), errors) = read_one(found) else { return Vec::new() };
    let matrix = &loaded.scenario.matrix;
    if !errors.0.is_empty() || matrix.is_empty() {
        return Vec::new();
    }
    matrix.cells().iter().map(Cell::name).collect()
}

/// Whether a pattern of ids that does not fit this one can fit one of its cells: these have no slash in their names.
pub(super) fn can_name(what: &str, id: &str) -> bool {
    match what.split_once(AT) {
        _ if what.contains(['*', '?']) => true,
        Some((before, _)) => id.ends_with(before),
        None => !what.contains('/'),
    }
}

/// `FILE.toml@CELL`: the file, and the cell of it.
pub(super) fn of_file<'w>(what: &'w str, cwd: &Path) -> Option<(&'w str, &'w str)> {
    let (file, cell) = what.rsplit_once(AT)?;
    (file.ends_with(".toml") && cwd.join(file).is_file()).then_some((file, cell))
}

/// The error that a file has no such cell.
pub(super) fn no_cell(found: &Found, cell: &str) -> CliError {
    let names = names(found);
    let near = nearest(cell, names.iter().map(String::as_str)).map(|near| format!("did you mean `{near}`? "));
    let hint = if names.is_empty() {
        "it has no `[matrix]`".to_owned()
    } else {
        format!("{}its cells: {}", near.unwrap_or_default(), names.join(" "))
    };
    CliError::usage(format!("`{}` has no cell `{cell}`", found.name), hint)
}

/// A scenario that has no use for what the command line lists, and why.
#[derive(Debug)]
pub(super) struct Unfit {
    pub(super) found: Found,
    pub(super) dimension: Dimension,
    pub(super) why: String,
    pub(super) hint: &'static str,
}

impl Unfit {
    /// What is said where it was named itself.
    pub(super) fn usage(&self) -> CliError {
        CliError::usage(format!("`{}` for `{}`: {}", option(self.dimension), self.found.id, self.why), self.hint)
    }
}

/// The scenarios of a file, one for each cell that is asked for, and what is wrong with their sources; or why the command
/// line's lists say nothing for it.
pub(super) fn expand(found: &Found, loaded: &Loaded, over: &Matrix) -> Result<(Vec<Ready>, Errors), Box<Unfit>> {
    let matrix = &loaded.scenario.matrix;
    for dimension in Dimension::ALL.into_iter().filter(|dimension| !over.values(*dimension).is_empty()) {
        if let Some((why, hint)) = unfit(&loaded.scenario, dimension) {
            return Err(Box::new(Unfit { found: found.clone(), dimension, why, hint }));
        }
    }
    let mut written = matrix.cells();
    written.retain(|cell| found.cells.is_empty() || found.cells.contains(&cell.name()));
    let cells = if over.is_empty() { written } else { matrix.cells_over(&written, over) };
    let (mut all, mut errors) = (Vec::new(), Errors::default());
    for cell in cells {
        let ready = one(found, loaded, cell);
        match source(&ready.found, &ready.loaded, &ready.cell) {
            Ok(source) => all.push(Ready { source, ..ready }),
            Err(problem) => errors.0.push(*problem),
        }
    }
    Ok((all, errors))
}

/// The scenario of one cell, whose source is still to be looked up.
fn one(found: &Found, loaded: &Loaded, cell: Cell) -> Ready {
    let mut found = Found { cells: Vec::new(), ..found.clone() };
    if cell == Cell::default() {
        return Ready { found, loaded: loaded.clone(), source: SourceSpec::Mini, cell };
    }
    found.id = format!("{}{AT}{}", found.id, cell.name());
    // What is written in the file is named by its cell; the rest has to be said again.
    let written: Cell =
        Cell(cell.0.iter().filter(|(_, part)| part.at.is_some()).map(|(d, p)| (*d, p.clone())).collect());
    let mut words = vec!["kbuild-repro".to_owned(), "run".to_owned()];
    if written.0.len() == cell.0.len() {
        found.name = format!("{}{AT}{}", found.name, cell.name());
        words.push(found.name.clone());
    } else {
        words.push(found.name.clone());
        for (dimension, part) in &cell.0 {
            words.extend([option(*dimension).to_owned(), part.value.clone()]);
        }
    }
    words.push("--keep".into());
    found.again = shown(&words);
    let loaded = Loaded { scenario: cell.of(&loaded.scenario), document: loaded.document.clone() };
    Ready { found, loaded, source: SourceSpec::Mini, cell }
}

/// The cells that a run's `[matrix]` names, each once, of files that were named more than once.
pub(super) fn merge(chosen: Vec<Found>, same: &dyn Fn(&Found) -> std::path::PathBuf) -> Vec<Found> {
    let mut merged: Vec<Found> = Vec::new();
    for found in chosen {
        let Some(have) = merged.iter_mut().find(|have| same(have) == same(&found)) else {
            merged.push(found);
            continue;
        };
        have.by_name |= found.by_name;
        // None named is all.
        if have.cells.is_empty() || found.cells.is_empty() {
            have.cells.clear();
        } else {
            let all: BTreeSet<String> = have.cells.drain(..).chain(found.cells).collect();
            have.cells = all.into_iter().collect();
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ready(text: &str, over: &Matrix, cells: &[&str]) -> Vec<Ready> {
        let text = format!("title = \"t\"\n{text}");
        let loaded = crate::scenario::parse("t.toml", &text, &()).expect("a scenario");
        let found = found(cells);
        expand(&found, &loaded, over).expect("it fits").0
    }

    fn found(cells: &[&str]) -> Found {
        Found {
            id: "topic/name".into(),
            file: "t.toml".into(),
            name: "t.toml".into(),
            again: "kbuild-repro run t.toml --keep".into(),
            by_name: true,
            cells: cells.iter().map(ToString::to_string).collect(),
        }
    }

    const TWO: &str = "[tree]\nsrctree = \"graft\"\n[matrix]\nkernel = [\"debian:6.12\", \"debian:7.3\"]\n";

    #[test]
    fn each_cell_has_a_name_and_a_command_of_its_own() {
        let all = ready(TWO, &Matrix::default(), &[]);
        let told: Vec<_> = all.iter().map(|it| (it.found.id.as_str(), it.found.again.as_str())).collect();
        assert_eq!(told[0], ("topic/name@6.12", "kbuild-repro run t.toml@6.12 --keep"));
        assert_eq!(all[1].source.to_string(), "debian:7.3");
        assert_eq!(ready(TWO, &Matrix::default(), &["7.3"]).len(), 1);
        let alone = ready("[tree]\nsrctree = \"mini\"\n", &Matrix::default(), &[]);
        assert_eq!((alone[0].found.id.as_str(), &alone[0].cell), ("topic/name", &Cell::default()));
    }

    #[test]
    fn what_the_command_line_lists_is_part_of_the_command() {
        let over = Matrix { pahole: vec!["1.30".into()], ..Matrix::default() };
        let all = ready(TWO, &over, &["7.3"]);
        assert_eq!(all[0].found.id, "topic/name@7.3,pahole=1.30");
        assert_eq!(all[0].found.again, "kbuild-repro run t.toml --kernel debian:7.3 --pahole 1.30 --keep");
        assert_eq!(all[0].loaded.scenario.toolchain.pahole.as_deref(), Some("1.30"));
    }

    #[test]
    fn what_a_scenario_has_no_use_for_is_told() {
        let loaded = crate::scenario::parse("t.toml", "title = \"t\"\n[tree]\nsrctree = \"mini\"\n", &()).expect("one");
        let over = Matrix { kernel: vec!["debian:6.12".into()], ..Matrix::default() };
        let unfit = expand(&found(&[]), &loaded, &over).expect_err("mini has no kernel");
        let said = "`--kernel` for `topic/name`: `mini` is no kernel: there is none to choose";
        assert_eq!(unfit.usage().to_string(), said);
    }

    #[test]
    fn kernels_and_tools_are_told_from_words() {
        let args = |kernel: &str, pahole: &str| {
            let list = |text: &str| text.split(',').filter(|word| !word.is_empty()).map(str::to_owned).collect();
            let args = MatrixArgs { kernel: list(kernel), pahole: list(pahole), ..MatrixArgs::default() };
            args.lists(Path::new("/here")).map_err(|error| error.to_string())
        };
        let kernels = args("6.12,debian:7.3,./linux,git:l@v7.0", "").expect("kernels").kernel;
        assert_eq!(kernels, ["debian:6.12", "debian:7.3", "/here/./linux", "git:/here/l@v7.0"]);
        assert_eq!(args("mini", ""), Err("`mini` is no kernel".into()));
        assert_eq!(args("", "system,1.30").expect("paholes").pahole, [SYSTEM, "1.30"]);
        assert_eq!(args("", "newest"), Err("`newest` is no pahole".into()));
        assert_eq!(args("", "./no/pahole"), Err("there is no program `./no/pahole`".into()));
    }

    #[test]
    fn what_a_list_has_twice_is_one_cell() {
        let kernel = ["6.12", "7.3", "debian:6.12"].map(str::to_owned).to_vec();
        let args = MatrixArgs { kernel, make_jobs: vec![1, 4, 1], ..MatrixArgs::default() };
        let matrix = args.lists(Path::new("/here")).expect("lists");
        assert_eq!((matrix.kernel, matrix.jobs), (vec!["debian:6.12".into(), "debian:7.3".into()], vec![1, 4]));
    }

    #[test]
    fn only_files_that_can_have_such_a_cell_are_read_for_it() {
        for (what, id, can) in [
            ("resume/stuck", "graft/noop", false),
            ("noop@6.12", "graft/noop", true),
            ("noop@6.12", "graft/noop-2", false),
            ("6.12", "graft/noop", true),
            ("pahole=1.30", "graft/noop", true),
            ("*@6.12", "graft/noop", true),
        ] {
            assert_eq!(can_name(what, id), can, "{what} {id}");
        }
    }

    #[test]
    fn files_that_are_named_twice_are_one() {
        let same = |found: &Found| found.file.clone();
        let of = |lists: &[&[&str]]| merge(lists.iter().map(|cells| found(cells)).collect(), &same);
        assert_eq!(of(&[&["6.12"], &["7.3"]])[0].cells, ["6.12", "7.3"]);
        assert_eq!((of(&[&["6.12"], &[]]).len(), of(&[&["6.12"], &[]])[0].cells.len()), (1, 0));
    }
}
