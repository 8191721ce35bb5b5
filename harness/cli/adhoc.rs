//! `noop`, `incremental`, `twice`: the main job without a scenario file, on the user's own tree. Each makes a
//! scenario of its command line and runs that, so that nothing here is another way to build.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Args;

use super::load::{Found, Ready};
use super::run::{Run, capture};
use super::{CliError, HowArgs, Session};
use crate::artifact::record::ScenarioRecord;
use crate::report::Report;
use crate::report::terminal::clean;
use crate::runner::Parts;
use crate::scenario::{
    Cell, Change, Compare, Edit, Expect, FindingName, Limits, Loaded, Make, Matrix, ObjTree, OneOrMany, Scenario, Tier,
    Toolchain, Tree, TreeKind, True,
};
use crate::trace::{Kind, Step};
use crate::tree::source::SourceSpec;
use crate::verdict::Verdict;

/// A build of the user's own.
#[derive(Debug, Clone, Args)]
pub(crate) struct AdhocArgs {
    /// The make command line: goals, NAME=VALUE, -jN, -C DIR; e.g. `-- make -C /lib/modules/$(uname -r)/build M=$PWD modules`
    #[arg(last = true, required = true, value_name = "MAKE")]
    command: Vec<String>,
    /// The source tree; by default the directory here
    #[arg(long, value_name = "DIR")]
    tree: Option<PathBuf>,
    /// Goals run first to bring a tree with objects back to its sources; by default `clean` if the tree has objects
    #[arg(long, value_name = "GOAL", value_delimiter = ',')]
    clean: Vec<String>,
    /// Files to compare, as patterns; by default what a kernel build makes, and `*.o`, `*.a`, `*.so`
    #[arg(long, value_name = "PATTERN")]
    artifact: Vec<String>,
    /// Write the scenario that was run to this file
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
    #[command(flatten)]
    how: HowArgs,
}

/// A build that may be made in the user's own tree.
#[derive(Debug, Clone, Args)]
pub(crate) struct NoopArgs {
    #[command(flatten)]
    adhoc: AdhocArgs,
    /// Build in the tree itself, not on an overlay of it
    #[arg(long)]
    in_place: bool,
}

/// An edit of the user's own tree.
#[derive(Debug, Clone, Args)]
pub(crate) struct IncrementalArgs {
    #[command(flatten)]
    adhoc: AdhocArgs,
    /// The file to touch, relative to the tree
    #[arg(long, value_name = "FILE", required = true)]
    edit: Vec<String>,
    /// Append this to the file, in place of only touching it
    #[arg(long, value_name = "TEXT")]
    append: Option<String>,
}

/// The commands here, which are also the ids of what they run.
pub(super) const ADHOC: &[&str] = &["noop", "incremental", "twice"];

/// Variables with which builds are commonly told what to do (Documentation/kbuild/kbuild.rst), and that do not reach
/// them here.
const DROPPED: &[&str] = &[
    "ARCH",
    "CC",
    "CFLAGS",
    "CPPFLAGS",
    "CROSS_COMPILE",
    "CXX",
    "HOSTCC",
    "KBUILD_OUTPUT",
    "KCFLAGS",
    "LD",
    "LDFLAGS",
    "LLVM",
    "PAHOLE",
];

/// What is compared in a tree of no known kind.
const ARTIFACTS: &[&str] = &["*.ko", "vmlinux", "Module.symvers", "modules.order", "*.o", "*.a", "*.so"];

pub(crate) fn noop(args: &NoopArgs, session: &mut Session<'_>) -> Result<u8, CliError> {
    let parts = Parts { experiment: false, ..Parts::ALL };
    let report = run(&args.adhoc, "noop", Vec::new(), parts, args.in_place, session)?;
    let ran = report.scenarios.iter().flat_map(|scenario| &scenario.findings);
    let quiet = report.verdict == Verdict::Passed && ran.clone().all(|finding| finding.name != FindingName::NoopRan);
    if quiet && args.adhoc.how.output.is_for_people() {
        writeln!(session.out, "a second and a third make ran no step and wrote no file")?;
    }
    Ok(report.exit_code)
}

pub(crate) fn twice(args: &AdhocArgs, session: &mut Session<'_>) -> Result<u8, CliError> {
    let report = run(args, "twice", Vec::new(), Parts { noops: false, ..Parts::ALL }, false, session)?;
    if report.verdict == Verdict::Passed && args.how.output.is_for_people() {
        writeln!(session.out, "{} files of two clean builds are equal", compared(&report))?;
    }
    Ok(report.exit_code)
}

fn compared(report: &Report) -> u64 {
    report.scenarios.iter().map(|scenario| scenario.compared).sum()
}

pub(crate) fn incremental(args: &IncrementalArgs, session: &mut Session<'_>) -> Result<u8, CliError> {
    let change = |file: &String| Change {
        file: Some(file.clone()),
        touch: args.append.is_none().then_some(True),
        append: args.append.clone(),
        ..Change::default()
    };
    let tree = args.adhoc.tree.clone().unwrap_or_default();
    if let Some(missing) = args.edit.iter().find(|file| !tree.join(file).is_file()) {
        return Err(CliError::usage(
            format!("`{missing}` is no file in the tree"),
            "--edit takes a path below the tree, e.g. `--edit init/version.c`",
        ));
    }
    let mut changes = args.edit.iter().map(change);
    let first = changes.next().unwrap_or_default();
    let edit = Edit { change: first, also: changes.collect(), ..Edit::default() };
    let report = run(&args.adhoc, "incremental", vec![edit], Parts::ALL, false, session)?;
    let built = report.scenarios.iter().flat_map(|scenario| &scenario.builds);
    let idle = built.filter(|build| build.id == "edit-1/incremental").any(|build| build.steps == 0);
    if report.verdict == Verdict::Passed && args.adhoc.how.output.is_for_people() {
        writeln!(session.out, "{} comparisons of files found no difference", compared(&report))?;
        if idle {
            let files = args.edit.join(", ");
            writeln!(
                session.out,
                "but the edit of {files} made make run no step: nothing depends on it, as far as make knows"
            )?;
            let readers: Vec<String> = args.edit.iter().flat_map(|file| readers(&report, file)).collect();
            if let Some(first) = readers.first() {
                let more = readers.len() - 1;
                let more = if more > 0 { format!(" and {more} more") } else { String::new() };
                writeln!(
                    session.out,
                    "attention: the clean build read it, in `{}`{more}: an edit that changes what is made of it would be lost. \
                     `kbuild-repro audit` makes sure of such (--write FILE has the scenario)",
                    clean(first)
                )?;
            }
            if args.append.is_none() {
                writeln!(
                    session.out,
                    "a touch changes no content; `--append TEXT` shows whether something should have run"
                )?;
            }
        }
    }
    Ok(report.exit_code)
}

/// The steps of the first clean build that read a file of the tree.
fn readers(report: &Report, file: &str) -> Vec<String> {
    let Some((dir, scenario)) = report.record.as_ref().zip(report.scenarios.first()) else { return Vec::new() };
    let Ok(record) = ScenarioRecord::read(&Path::new(dir).join(&scenario.id)) else { return Vec::new() };
    let path = format!("src/{}", file.trim_start_matches("./"));
    let steps = record.traces.get("control/clean").map_or(&[][..], |steps| &steps.steps);
    let reads = |step: &&Step| step.kind == Kind::Recipe && step.inputs.iter().any(|input| *input.path == *path);
    steps.iter().filter(reads).map(|step| step.label.clone().unwrap_or_else(|| step.command.clone())).collect()
}

fn run(
    args: &AdhocArgs,
    what: &str,
    edit: Vec<Edit>,
    parts: Parts,
    in_place: bool,
    session: &mut Session<'_>,
) -> Result<Report, CliError> {
    let host = capture()?;
    let tree = args.tree.as_ref().map_or(host.cwd.clone(), |tree| host.cwd.join(tree));
    let tree = tree
        .canonicalize()
        .map_err(|error| CliError::usage(format!("cannot use the tree `{}`: {error}", tree.display()), "--tree DIR"))?;
    let place = tree.to_str().ok_or_else(|| {
        CliError::usage(format!("the path `{}` is not UTF-8", tree.display()), "rename the directory")
    })?;
    let mut make = make_line(&args.command)?;
    make.clean_first = if args.clean.is_empty() && has_objects(&tree) && !in_place {
        vec!["clean".into()]
    } else {
        args.clean.clone()
    };
    if args.clean.is_empty() && !make.clean_first.is_empty() && !args.how.output.quiet {
        super::progress::note("the tree has objects: `make clean` is run first; another goal by --clean GOAL");
    }
    let dropped: Vec<&str> = DROPPED.iter().copied().filter(|name| std::env::var_os(name).is_some()).collect();
    if !dropped.is_empty() && !args.how.output.quiet {
        let names = dropped.join(", ");
        super::progress::note(&format!("builds get a clean environment, without {names}: write NAME=VALUE after make"));
    }
    let artifacts: Vec<String> = if args.artifact.is_empty() {
        ARTIFACTS.iter().map(ToString::to_string).collect()
    } else {
        args.artifact.clone()
    };
    let mut scenario = Scenario {
        title: format!("{what}: {}", args.command.join(" ")).replace('\n', " "),
        why: None,
        link: Vec::new(),
        extends: OneOrMany::None,
        tier: Some(Tier::Kernel),
        needs: Vec::new(),
        tree: Tree {
            srctree: place.to_owned(),
            kernel: None,
            arch: None,
            kind: Some(TreeKind::Make),
            config: Vec::new(),
            symbols: BTreeMap::new(),
            overlay: None,
            patches: Vec::new(),
            file: Vec::new(),
            edit: Vec::new(),
            prepared: None,
            prepare: Vec::new(),
            at: Some(place.to_owned()),
            host: Vec::new(),
        },
        make,
        toolchain: Toolchain::default(),
        matrix: Matrix::default(),
        experiment: None,
        compare: Compare { only: artifacts, ..Compare::default() },
        limits: Limits::default(),
        edit,
        expect: Expect::default(),
        known: Vec::new(),
        snapshots: None,
    };
    if !args.how.variations.is_empty() {
        let groups = host.is_root && args.how.isolation != super::IsolationArg::UserNs;
        scenario.experiment = super::variations::experiment(&scenario, &args.how.variations, groups);
    }
    let text = toml::to_string_pretty(&scenario).map_err(CliError::internal)?;
    if let Some(path) = &args.write {
        let path = host.cwd.join(path);
        std::fs::write(&path, &text)
            .map_err(|error| CliError::usage(format!("cannot write `{}`: {error}", path.display()), "--write FILE"))?;
        super::progress::note(&format!("the scenario: {}", path.display()));
    }
    // Read back from its text: one way in, and a path that a scenario cannot hold is told here.
    let Loaded { scenario, document } =
        crate::scenario::parse("the command line", &text, &()).map_err(CliError::Scenario)?;
    let name = args.write.as_ref().map_or("FILE.toml".to_owned(), |path| path.display().to_string());
    let mut again = vec!["kbuild-repro".to_owned()];
    again.extend(std::env::args().skip(1));
    let again = crate::runner::pasted(&again);
    let file = tree.join("scenario.toml");
    let found = Found { id: what.to_owned(), file, name, again, by_name: true, cells: Vec::new() };
    let source = SourceSpec::Directory(tree.clone());
    let ready = Ready { found, loaded: Loaded { scenario, document }, source, cell: Cell::default() };
    let in_place = in_place.then_some(tree);
    let mut run = Run::new(host, &args.how, None, parts, in_place)?;
    run.args = std::env::args().skip(1).collect();
    let report = run.all(vec![ready], true, session)?;
    run.show(&report, session)?;
    Ok(report)
}

/// What is said to make and changes only what it prints, or that it goes on after a failure.
const OF_NO_MATTER: [&str; 8] =
    ["-s", "--silent", "--quiet", "-k", "--keep-going", "-w", "--print-directory", "--no-print-directory"];

/// Goals, variables and jobs of a make command line.
fn make_line(words: &[String]) -> Result<Make, CliError> {
    let unknown = |word: &str| {
        CliError::usage(
            format!("`{word}` is not understood in a make command line"),
            "understood are goals, NAME=VALUE, -jN, -C DIR, after the name of the make program; `make LLVM=1`, not `LLVM=1 make`",
        )
    };
    let mut words = words.iter();
    let program = words.next().cloned().unwrap_or_default();
    if program.is_empty() || program.starts_with('-') || program.contains('=') {
        return Err(unknown(&program));
    }
    let mut make = Make { program: Some(program), objtree: Some(ObjTree::InTree), ..Make::default() };
    while let Some(word) = words.next() {
        let mut value = |rest: &str| match rest {
            "" => words.next().cloned().ok_or_else(|| unknown(word)),
            rest => Ok(rest.trim_start_matches('=').to_owned()),
        };
        if let Some(rest) = word.strip_prefix("-j").or_else(|| word.strip_prefix("--jobs=")) {
            // A bare -j is make's "no limit"; the job slots are the limit here.
            if !rest.is_empty() {
                make.jobs = Some(rest.parse().map_err(|_| unknown(word))?);
            }
        } else if let Some(rest) = word.strip_prefix("-C").or_else(|| word.strip_prefix("--directory")) {
            // As of an external module: `make -C /lib/modules/6.12.0/build M=$PWD modules`.
            make.dir = Some(value(rest)?);
        } else if OF_NO_MATTER.contains(&word.as_str()) {
            super::progress::note(&format!("`{word}` is left out: it changes nothing that make makes"));
        } else if word.starts_with('-') {
            return Err(unknown(word));
        } else if let Some((name, value)) = word.split_once('=') {
            make.vars.insert(name.to_owned(), value.to_owned());
        } else {
            make.goals.push(word.clone());
        }
    }
    Ok(make)
}

/// Whether a tree was built in: objects at its top or below the first level.
fn has_objects(tree: &std::path::Path) -> bool {
    let object =
        |path: &std::path::Path| path.extension().is_some_and(|extension| extension == "o" || extension == "ko");
    let list = |dir: &std::path::Path| {
        std::fs::read_dir(dir).into_iter().flatten().filter_map(Result::ok).map(|e| e.path()).collect::<Vec<_>>()
    };
    list(tree).iter().any(|path| object(path) || (path.is_dir() && list(path).iter().any(|path| object(path))))
}
