//! The command line: captures the host once, is the only one that prints, and knows the exit codes.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::scenario::Tier;

mod adhoc;
mod amounts;
mod audit;
mod bisect;
mod boot;
pub mod bootstrap;
mod btf;
mod check;
mod compare;
pub mod doctor;
mod error;
mod explain;
mod fingerprint;
mod fuzz;
mod history;
pub mod host;
mod judge;
pub mod load;
mod merge;
mod new;
mod output;
mod past;
mod patch_file;
mod progress;
mod replay;
mod report;
mod reproduce;
mod review;
pub mod run;
mod shard;
mod shell;
pub mod snapshots;
mod stages;
mod state;
mod sweep;
mod toolchain;
mod trace;
mod traced;
mod variations;

pub use error::CliError;
pub use output::OutputArgs;

/// Reproducibility test harness for the Linux kernel build: builds a kernel-like tree twice, changes
/// nothing, applies edits, and compares every incremental build with a clean one.
#[derive(Debug, Parser)]
#[command(name = "kbuild-repro", version, max_term_width = 100, after_help = AFTER_HELP)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
Exit codes: 0 passed · 1 findings · 2 usage or scenario error · 3 the host cannot do it ·
4 nothing was compared · 70 harness error · 130 interrupted

First steps:
  kbuild-repro run --bootstrap              install what is missing, run what is quick, and the grafts
                                            whose kernel is in the cache
  kbuild-repro run scenarios/modules/clean.toml --verbose
  kbuild-repro noop -- make                 what does a second make in the tree here do?
  kbuild-repro noop -- make -C /lib/modules/$(uname -r)/build M=$PWD modules
                                            the same for an external module
  kbuild-repro trace -- make                what does each process of a build read and write?";

/// How often it is looked whether a signal came.
const TICK: Duration = Duration::from_millis(100);
/// For how long a further signal is taken for the first one.
const SAME_SIGNAL: Duration = Duration::from_millis(500);

#[derive(Debug, Subcommand)]
enum Command {
    /// Run scenarios: files, directories, or patterns of ids; by default the quick ones and grafts in the cache
    Run(RunArgs),
    /// List the scenarios: id, tree, tier, title
    List(SelectArgs),
    /// Validate scenarios without building: syntax, keys, and every edit against its tree
    Check(CheckArgs),
    /// Write a scenario to begin with: from a tree and an edit, a patch, or what git says of a change
    New(new::NewArgs),
    /// Recompute verdict and report of a recorded run, without building
    Judge(JudgeArgs),
    /// Make one report of the shards of a run, and say which are missing: `merge shard-1 shard-2`
    Merge(merge::MergeArgs),
    /// Show what is new, still there and gone from run to run, and how times and sizes moved
    History(history::ShowArgs),
    /// Print the digest of every toolchain file that a run's builds used, or how two runs differ in that
    Fingerprint(fingerprint::FingerprintArgs),
    /// Show the report of a recorded run again, or a finding as a mail or as a shell script: `report --mail 1`
    Report(report::ReportArgs),
    /// Say what a finding means, how builds come to it, what to do, and which scenario shows it
    Explain(explain::ExplainArgs),
    /// Show what this host can do: tools with versions, namespaces, overlay, ptrace, disk
    Doctor(DoctorArgs),
    /// Print the JSON schema of scenario files, of the report, or of a history
    Schema(SchemaArgs),
    /// Get a kernel source or a tool into the cache, e.g. `debian:6.12`, `tool:pahole-1.30`
    Fetch(FetchArgs),
    /// Open a shell inside the sandbox, in a tree that a run kept, at the failing build
    Shell(ShellArgs),
    /// Build the tree here, build it again, and say what ran: `noop -- make modules`
    Noop(adhoc::NoopArgs),
    /// Build, touch or change a file, rebuild, and compare with a clean build
    Incremental(adhoc::IncrementalArgs),
    /// Build the tree here twice from clean and compare
    Twice(adhoc::AdhocArgs),
    /// Compare two builds, two directories of modules, or two files, and say what differs inside
    Compare(compare::CompareArgs),
    /// Run any command and say what every process below it read, wrote, renamed and removed
    Trace(trace::TraceArgs),
    /// Find files that steps read and make does not know of, and confirm each by an edit and two builds
    Audit(audit::AuditArgs),
    /// Interrupt a build at each of its steps, and say where the next build does not make it good
    Sweep(sweep::SweepArgs),
    /// Make random edits from a seed, compare each build with a clean one, and shrink what goes wrong to a scenario
    Fuzz(fuzz::FuzzArgs),
    /// Find the commit, the version of a tool, or the Kconfig symbols that a finding came with, or went with
    Bisect(bisect::BisectArgs),
    /// What a patch of the build does before it is merged: findings, steps and seconds without it and with it
    Review(review::ReviewArgs),
    /// Print BTF, say what two BTFs say differently, or whether a kernel would take it
    Btf(btf::BtfArgs),
    /// Boot a kernel under qemu, load modules, and say what it makes of them and of their BTF
    Boot(boot::BootArgs),
    /// Trace a build in the tree here, then run steps of it again on their own output: is each idempotent?
    Replay(replay::ReplayArgs),
}

/// Which scenarios.
#[derive(Debug, Clone, Args)]
pub struct SelectArgs {
    /// Scenario files, directories of them, or patterns of ids (`*` is any run of characters; a plain word matches anywhere)
    #[arg(value_name = "FILE|FILTER")]
    pub what: Vec<String>,
    /// Only scenarios of these tiers. Without it `list` and `check` take all; `run` takes a file that is named, and of all
    /// others `quick`, and `graft` where the kernel is in the cache
    #[arg(long, value_enum, value_delimiter = ',')]
    pub tier: Vec<TierArg>,
    /// The directory of scenarios; by default `scenarios` here or in a directory above
    #[arg(long, value_name = "DIR", env = "KBUILD_REPRO_SCENARIOS")]
    pub scenarios: Option<PathBuf>,
}

/// A tier on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TierArg {
    /// The mini tree
    Quick,
    /// The graft tree: the kbuild of a kernel on small sources, in seconds
    Graft,
    /// Whole source trees; and grafts that take longer or more: on arch/x86, and by clang
    Kernel,
    /// Sweeps
    Long,
    /// All of them
    All,
}

impl TierArg {
    fn takes(self, tier: Tier) -> bool {
        match self {
            Self::Quick => tier == Tier::Quick,
            Self::Graft => tier == Tier::Graft,
            Self::Kernel => tier == Tier::Kernel,
            Self::Long => tier == Tier::Long,
            Self::All => true,
        }
    }
}

/// How a run is done.
#[derive(Debug, Clone, Args)]
#[command(after_help = RUN_HELP)]
pub struct RunArgs {
    #[command(flatten)]
    pub(crate) select: SelectArgs,
    #[command(flatten)]
    pub(crate) how: HowArgs,
    #[command(flatten)]
    pub(crate) matrix: load::MatrixArgs,
    #[command(flatten)]
    pub(crate) scale: shard::ShardArgs,
    #[command(flatten)]
    history: history::EnterArgs,
    /// End as `git bisect run` wants it: 0 without the finding, 1 with it, 125 where nothing can be said, 128 where something else is
    /// wrong. What scenarios list as known or expected does not count
    #[arg(long, help_heading = "Bisecting")]
    pub(crate) bisect: bool,
    /// The finding, by its name, its id, or a pattern of one (`rebuild.*`, `rebuild.stale@edit-1:*.ko`); by default any of class wrong
    #[arg(long, value_name = "FINDING", requires = "bisect", help_heading = "Bisecting")]
    pub(crate) finding: Vec<String>,
}

const RUN_HELP: &str = "\
Examples:
  kbuild-repro run                                          what is quick, and grafts in the cache
  kbuild-repro run graft/vmlinux-only                       one scenario: all cells of its [matrix]
  kbuild-repro run graft/vmlinux-only@6.12 'graft/*@7.3'    one cell, and those of one kernel
  kbuild-repro run graft/vmlinux-only --kernel 6.12,7.3 --pahole 1.24,1.30,1.32
  kbuild-repro run 'graft/*@7.3' --pahole ~/base/build/pahole --pahole ~/next/build/pahole
  kbuild-repro run modules/clean --make 4.3,4.4 --compiler gcc,clang --make-jobs 1,4
  git bisect run kbuild-repro run relink.toml --bisect --finding expect.unmet    `bisect` does it all
  kbuild-repro run --history /srv/history                   what is new, still there and gone since the last run
  kbuild-repro run --report junit=junit.xml --report ktap=run.ktap --report perfetto=builds.json
  kbuild-repro run --report github                          in a step of GitHub Actions
  kbuild-repro run --shard 2/4 --out shard-2                one of four parts; then `merge shard-*`

What a combination needs is fetched for scenarios that are named; for others with --bootstrap, or
they are left out. With --no-fetch it is skipped.";

/// Options of everything that builds.
#[derive(Debug, Clone, Args)]
pub struct HowArgs {
    /// Install missing system packages first, and unpack the tools that scenarios choose beside the system
    #[arg(long)]
    pub(crate) bootstrap: bool,
    /// What the second clean build does otherwise, in place of what scenarios say; where builds differ, further ones find out with
    /// which of it
    #[arg(long, value_enum, value_delimiter = ',', value_name = "all|none|LIST", hide_possible_values = false)]
    pub(crate) variations: Vec<variations::VariationArg>,
    /// Keep the trees, for `shell`
    #[arg(long)]
    pub(crate) keep: bool,
    /// Boot the kernel that each build made under qemu, load its modules, and go by what it says of their BTF
    #[arg(long)]
    pub(crate) boot: bool,
    /// Write the run record here; by default below $XDG_STATE_HOME/kbuild-repro/runs
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Where kernel sources are kept; by default $XDG_CACHE_HOME/kbuild-repro
    #[arg(long, value_name = "DIR", env = "KBUILD_REPRO_CACHE")]
    pub(crate) cache: Option<PathBuf>,
    /// Fetch nothing: a scenario whose kernel or tools are not in the cache is skipped
    #[arg(long)]
    pub(crate) no_fetch: bool,
    /// Prepare every graft anew: take no prepared state that an earlier run left in the cache
    #[arg(long)]
    pub(crate) fresh: bool,
    /// Build everything: take no result of an equal clean build from this or an earlier run. Only what incremental builds
    /// are compared with is ever taken, and built after all where they differ
    #[arg(long)]
    pub(crate) no_reuse: bool,
    /// Where trees are built; by default $TMPDIR or /tmp
    #[arg(long, value_name = "DIR", env = "KBUILD_REPRO_SCRATCH")]
    pub(crate) scratch: Option<PathBuf>,
    /// Where accepted snapshots are; by default `snapshots` beside the directory of scenarios
    #[arg(long, value_name = "DIR")]
    pub(crate) snapshots: Option<PathBuf>,
    /// Jobs in all; by default one a processor
    #[arg(long, short, value_name = "N", value_parser = parse_jobs)]
    pub(crate) jobs: Option<usize>,
    /// The most disk that trees may take, e.g. 500M, 20G
    #[arg(long, value_name = "SIZE", value_parser = amounts::parse_size)]
    pub(crate) disk_budget: Option<u64>,
    /// The most time, e.g. 90s, 30m, 8h: asked before each scenario begins, and one that has begun runs to its end. First comes
    /// what failed the last time, then what is new, then one cell of each scenario, the shortest first; none begins that took
    /// longer than is left. What is left out is said, as skipped
    #[arg(long, value_name = "TIME", value_parser = amounts::parse_time)]
    pub(crate) time_budget: Option<std::time::Duration>,
    /// Do not trace builds: faster, and findings name artifacts but no steps
    #[arg(long, env = "KBUILD_REPRO_NO_TRACE", value_parser = clap::builder::FalseyValueParser::new())]
    pub(crate) no_trace: bool,
    /// A guarantee that this host cannot give is an error
    #[arg(long)]
    pub(crate) require_hermetic: bool,
    /// A skipped scenario is an error
    #[arg(long, env = "KBUILD_REPRO_REQUIRE_ALL", value_parser = clap::builder::FalseyValueParser::new())]
    pub(crate) require_all: bool,
    /// Run the reproducers of all findings of class wrong: of whole kernels, too, and of known and expected ones
    #[arg(long)]
    pub(crate) confirm: bool,
    /// Run no reproducer. Without either, those of new findings are run, but for whole kernels
    #[arg(long, conflicts_with = "confirm")]
    pub(crate) no_confirm: bool,
    /// How much isolation to use; for testing the harness itself
    #[arg(long, value_enum, default_value = "auto", hide = true, env = "KBUILD_REPRO_ISOLATION")]
    pub(crate) isolation: IsolationArg,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// How much isolation, on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum IsolationArg {
    Auto,
    UserNs,
    Direct,
}

/// How a report is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    Text,
    /// For machines
    Json,
}

/// What to validate.
#[derive(Debug, Clone, Args)]
struct CheckArgs {
    #[command(flatten)]
    select: SelectArgs,
    /// Where kernel sources are kept
    #[arg(long, value_name = "DIR", env = "KBUILD_REPRO_CACHE")]
    cache: Option<PathBuf>,
    /// Errors for people, or as JSON
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

#[derive(Debug, Clone, Args)]
struct JudgeArgs {
    /// A run's directory or name; by default the latest
    #[arg(value_name = "RUN")]
    run: Option<PathBuf>,
    /// Judge against these accepted snapshots
    #[arg(long, value_name = "DIR")]
    snapshots: Option<PathBuf>,
    #[command(flatten)]
    history: history::HistoryArgs,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, Clone, Args)]
struct DoctorArgs {
    /// For people, or as JSON
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    /// Where kernel sources are kept
    #[arg(long, value_name = "DIR", env = "KBUILD_REPRO_CACHE")]
    cache: Option<PathBuf>,
}

#[derive(Debug, Clone, Args)]
struct SchemaArgs {
    /// Which schema
    #[arg(value_enum, default_value = "scenario")]
    of: SchemaOf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum SchemaOf {
    /// Scenario files
    Scenario,
    /// The JSON report
    Report,
    /// What `history --format json` prints
    History,
}

#[derive(Debug, Clone, Args)]
struct FetchArgs {
    /// `debian:6.12`, a tarball, `git:DIR@REV`, or a tool as `tool:pahole-1.30`
    #[arg(value_name = "SOURCE", required = true)]
    source: Vec<String>,
    /// Where kernel sources are kept
    #[arg(long, value_name = "DIR", env = "KBUILD_REPRO_CACHE")]
    cache: Option<PathBuf>,
}

#[derive(Debug, Clone, Args)]
struct ShellArgs {
    /// The scenario; or `noop`, `incremental`, `twice` for the latest of these that was run with --keep
    #[arg(value_name = "FILE|FILTER")]
    what: String,
    /// The build, e.g. `edit-1/incremental`; by default the first that a finding names
    #[arg(long)]
    build: Option<String>,
    /// Run this in place of an interactive shell
    #[arg(last = true)]
    command: Vec<String>,
    #[command(flatten)]
    how: HowArgs,
    /// The directory of scenarios
    #[arg(long, value_name = "DIR", env = "KBUILD_REPRO_SCENARIOS")]
    scenarios: Option<PathBuf>,
}

/// A number of jobs on the command line.
fn parse_jobs(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|jobs| (1..=4096).contains(jobs)).ok_or_else(|| "a number from 1 to 4096".to_owned())
}

/// What every command is given: the place where it prints, and whether to stop.
pub struct Session<'a> {
    pub(crate) out: &'a mut (dyn Write + Send),
    pub(crate) cancel: Arc<AtomicBool>,
}

/// Runs the command line and returns its exit code.
#[must_use]
pub fn main() -> ExitCode {
    if std::env::args_os().nth(1).is_some_and(|a| a == crate::sandbox::SUBCOMMAND) {
        return crate::sandbox::helper::main();
    }
    if std::env::args_os().nth(1).is_some_and(|a| a == crate::trace::SUBCOMMAND) {
        return crate::trace::helper::main();
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    let cancel = Arc::new(AtomicBool::new(false));
    // These look at nothing but files, and leave nothing behind.
    listen(&cancel, matches!(cli.command, Command::Btf(_)));
    let mut out = std::io::stdout();
    let mut session = Session { out: &mut out, cancel: Arc::clone(&cancel) };
    match dispatch(cli.command, &mut session) {
        Ok(code) => ExitCode::from(code),
        Err(_) if cancel.load(Ordering::Relaxed) => ExitCode::from(130),
        Err(error) => {
            error.print();
            ExitCode::from(error.exit_code())
        }
    }
}

/// The first signal asks everything to stop, which takes less than two seconds; a later one ends the harness at
/// once, and its builds die with it. With `at_once` the first one does.
fn listen(cancel: &Arc<AtomicBool>, at_once: bool) {
    let impatient = Arc::new(AtomicBool::new(at_once));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP] {
        let _ = signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(&impatient));
        let _ = signal_hook::flag::register(signal, Arc::clone(cancel));
    }
    let cancel = Arc::clone(cancel);
    // timeout(1) signals its child and then its process group, so that one signal comes twice; a terminal that
    // is closed may send two as well. Only what comes after a while is a second one.
    std::thread::spawn(move || {
        while !cancel.load(Ordering::Relaxed) {
            std::thread::sleep(TICK);
        }
        std::thread::sleep(SAME_SIGNAL);
        impatient.store(true, Ordering::Relaxed);
    });
}

fn dispatch(command: Command, session: &mut Session<'_>) -> Result<u8, CliError> {
    match command {
        Command::Run(args) if args.bisect => run::bisected(&args, session),
        Command::Run(args) => run::run(&args, session),
        Command::List(args) => check::list(&args, session),
        Command::Check(args) => check::check(&args.select, args.cache.as_deref(), args.format, session),
        Command::New(args) => new::new(&args, session),
        Command::Judge(args) => judge::judge(&args, session),
        Command::Merge(args) => merge::merge(&args, session),
        Command::History(args) => history::history(&args, session),
        Command::Fingerprint(args) => fingerprint::fingerprint(&args, session),
        Command::Report(args) => report::report(&args, session),
        Command::Explain(args) => explain::explain(&args, session),
        Command::Doctor(args) => check::doctor(args.cache.as_deref(), args.format, session),
        Command::Schema(args) => {
            let schema = match args.of {
                SchemaOf::Scenario => crate::scenario::json_schema(),
                SchemaOf::Report => crate::report::json::schema(),
                SchemaOf::History => crate::report::history::overview::schema(),
            };
            let text = serde_json::to_string_pretty(schema).map_err(CliError::internal)?;
            writeln!(session.out, "{text}")?;
            Ok(0)
        }
        Command::Fetch(args) => load::fetch(&args.source, args.cache.as_deref(), session),
        Command::Shell(args) => shell::shell(&args, session),
        Command::Noop(args) => adhoc::noop(&args, session),
        Command::Incremental(args) => adhoc::incremental(&args, session),
        Command::Twice(args) => adhoc::twice(&args, session),
        Command::Audit(args) => audit::audit(&args, session),
        Command::Sweep(args) => sweep::sweep(&args, session),
        Command::Fuzz(args) => fuzz::fuzz(&args, session),
        Command::Bisect(args) => bisect::bisect(&args, session),
        Command::Review(args) => review::review(&args, session),
        Command::Compare(args) => compare::compare(&args, session),
        Command::Trace(args) => trace::trace(&args, session),
        Command::Btf(args) => btf::btf(&args, session),
        Command::Boot(args) => boot::boot(&args, session),
        Command::Replay(args) => replay::replay(&args, session),
    }
}
