//! What is seen while it works, on standard error: bars on a terminal, plain lines elsewhere.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::runner::Event;
use crate::scenario::{Class, FindingName};
use crate::tree::source;
use crate::verdict::{Judgement, Standing};

/// How often a plain line says that a long build is still at work.
const STILL: Duration = Duration::from_secs(30);

/// A scenario's line before it is known how many builds there will be, and after.
const BEGUN: &str = "{spinner} {prefix:<32!} {elapsed:>4} {wide_msg}";
const COUNTED: &str = "{spinner} {prefix:<32!} {elapsed:>4} [{bar:20}] {pos}/{len} {wide_msg}";

/// Follows the scenarios of a run.
pub(crate) struct Progress {
    how: How,
    bars: MultiProgress,
    state: Mutex<BTreeMap<String, Shown>>,
    total: usize,
    done: Mutex<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    Silent,
    Lines { verbose: bool },
    Bars,
}

struct Shown {
    bar: Option<ProgressBar>,
    started: Instant,
    said: Instant,
    waiting: bool,
}

impl Progress {
    pub(crate) fn new(how: How, total: usize) -> Self {
        let target = if how == How::Bars { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        Self { how, bars: MultiProgress::with_draw_target(target), state: Mutex::default(), total, done: Mutex::new(0) }
    }

    fn line(&self, text: &str) {
        match self.how {
            How::Silent => {}
            How::Lines { .. } => say(text),
            How::Bars => {
                let _ = self.bars.println(text);
            }
        }
    }

    /// Follows one scenario.
    pub(crate) fn event(&self, id: &str, event: &Event) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let shown = state.entry(id.to_owned()).or_insert_with(|| self.start(id));
        match event {
            Event::Planned(count) => {
                if let Some(bar) = &shown.bar {
                    bar.inc_length(*count as u64);
                    if let Ok(style) = ProgressStyle::with_template(COUNTED) {
                        bar.set_style(style.progress_chars("=> "));
                    }
                }
            }
            Event::Waiting(tree) => match &shown.bar {
                Some(bar) => bar.set_message(format!("{tree} waits for a job slot")),
                None if shown.waiting => {}
                None => {
                    shown.waiting = true;
                    self.line(&format!("{id}: {tree} waits for a job slot: other runs on this machine hold all"));
                }
            },
            Event::Awaiting(tree) => match &shown.bar {
                Some(bar) => bar.set_message(format!("{tree} waits for what another run prepares")),
                None => self.line(&format!("{id}: {tree} waits for another run, which prepares the same")),
            },
            Event::Later(tree) => match &shown.bar {
                Some(bar) => bar.set_message(format!("{tree} waits for another minute of the clock")),
                None => self.line(&format!("{id}: {tree} waits for another minute of the clock to begin in")),
            },
            Event::Preparing(tree, why) => {
                shown.waiting = true;
                if let Some(bar) = &shown.bar {
                    bar.set_message(format!("{tree}: host tools"));
                }
                if self.how == (How::Lines { verbose: true }) || shown.said.elapsed() > STILL {
                    shown.said = Instant::now();
                    let why = why.as_ref().map_or(String::new(), |why| format!(", since {why}"));
                    let since = shown.started.elapsed().as_secs_f64();
                    self.line(&format!("{id}: {tree} prepares: configuration, host tools{why} … ({since:.0} s)"));
                }
            }
            Event::Reused(build) => {
                if let Some(bar) = &shown.bar {
                    bar.inc(1);
                }
                if self.how == (How::Lines { verbose: true }) {
                    self.line(&format!("{id}: {build} was built before"));
                }
            }
            Event::Started(build) => {
                shown.waiting = true;
                if let Some(bar) = &shown.bar {
                    bar.set_message(build.clone());
                }
                if self.how == (How::Lines { verbose: true }) || shown.said.elapsed() > STILL {
                    shown.said = Instant::now();
                    self.line(&format!("{id}: {build} … ({:.0} s)", shown.started.elapsed().as_secs_f64()));
                }
            }
            Event::Ended(build, status, wall) => {
                if let Some(bar) = &shown.bar {
                    bar.inc(1);
                }
                if self.how == (How::Lines { verbose: true }) {
                    self.line(&format!("{id}: {build} {status} in {:.2} s", wall.as_secs_f64()));
                }
            }
        }
    }

    fn start(&self, id: &str) -> Shown {
        let bar = (self.how == How::Bars).then(|| {
            let bar = self.bars.add(ProgressBar::new(0));
            if let Ok(style) = ProgressStyle::with_template(BEGUN) {
                bar.set_style(style);
            }
            bar.set_prefix(id.to_owned());
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        Shown { bar, started: Instant::now(), said: Instant::now(), waiting: false }
    }

    /// A scenario is through with a part of what is done with it.
    pub(crate) fn staged(&self, id: &str, stage: &str, seconds: f64) {
        self.clear(id);
        self.line(&format!("{id}: {stage} ({seconds:.1} s)"));
    }

    fn clear(&self, id: &str) {
        if let Some(shown) = self.state.lock().unwrap_or_else(PoisonError::into_inner).remove(id)
            && let Some(bar) = shown.bar
        {
            bar.finish_and_clear();
        }
    }

    /// A scenario was through before this run began.
    pub(crate) fn kept(&self, id: &str, judgement: &Judgement) {
        let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        *done += 1;
        self.line(&format!("[{done}/{}] {id}: {}, finished before", self.total, judgement.verdict.name()));
    }

    /// A scenario is through.
    pub(crate) fn finished(&self, id: &str, judgement: &Judgement, seconds: f64) {
        self.clear(id);
        let mut done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        *done += 1;
        // Work for nothing is told by --verbose, and where it was not to be.
        let told = |name: FindingName| name.class() != Class::Cost;
        let count =
            |wanted: &Standing| judgement.findings.iter().filter(|f| f.standing == *wanted && told(f.name)).count();
        let found = match (count(&Standing::New), count(&Standing::Expected)) {
            (0, 0) => "",
            // Whoever sees `passed` for a planted fault should see why.
            (0, _) => ", the planted fault was found",
            (1, _) => ", 1 finding",
            (n, _) => &format!(", {n} findings"),
        };
        let verdict = judgement.verdict.name();
        self.line(&format!("[{done}/{}] {id}: {verdict}{found} ({seconds:.1} s)", self.total));
    }
}

fn say(text: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// Says something that is neither progress nor report.
pub(crate) fn note(text: &str) {
    say(text);
}

/// Follows the fetching of a source.
pub(crate) struct Fetching {
    name: String,
    bar: Option<ProgressBar>,
    phase: &'static str,
    tenth: u64,
}

impl Fetching {
    pub(crate) fn new(name: &str, terminal: bool) -> Self {
        let bar = terminal.then(|| {
            let bar = ProgressBar::new(0);
            let style = "{spinner} {msg} [{bar:30}] {bytes}/{total_bytes} {elapsed}";
            if let Ok(style) = ProgressStyle::with_template(style) {
                bar.set_style(style.progress_chars("=> "));
            }
            bar
        });
        Self { name: name.to_owned(), bar, phase: "", tenth: 0 }
    }

    pub(crate) fn show(&mut self, progress: &source::Progress) {
        let (phase, done, total) = match progress {
            source::Progress::Waiting { .. } => ("waiting for another process", 0, 0),
            source::Progress::Looking { .. } => ("looking it up", 0, 0),
            source::Progress::Downloading { done, total } => ("downloading", *done, *total),
            source::Progress::Checking { done, total } => ("checking", *done, *total),
            source::Progress::CheckingOut { .. } => ("checking files out", 0, 0),
            source::Progress::Unpacking { done, total } => ("unpacking", *done, total.unwrap_or(0)),
        };
        if let Some(bar) = &self.bar {
            bar.set_message(format!("{}: {phase}", self.name));
            bar.set_length(total);
            bar.set_position(done);
            return;
        }
        // Not a terminal: a line a phase, and one every quarter of it.
        let tenth = if total > 0 { done.saturating_mul(4) / total.max(1) } else { 0 };
        if phase != self.phase || tenth > self.tenth {
            let of = if total > 0 { format!(" ({} of {} MiB)", done >> 20, total >> 20) } else { String::new() };
            say(&format!("{}: {phase}{of}", self.name));
            self.phase = phase;
            self.tenth = tenth;
        }
    }

    pub(crate) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Follows bytes, on a terminal alone.
pub(crate) struct Bar(ProgressBar);

impl Bar {
    pub(crate) fn new(bytes: u64, shown: bool) -> Self {
        // Draws nothing where standard error is no terminal.
        let target = if shown { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(Some(bytes), target);
        if let Ok(style) = ProgressStyle::with_template("{spinner} [{bar:30}] {bytes}/{total_bytes} {elapsed}") {
            bar.set_style(style.progress_chars("=> "));
        }
        Self(bar)
    }

    pub(crate) fn inc(&self, bytes: u64) {
        self.0.inc(bytes);
    }

    pub(crate) fn finish(&self) {
        self.0.finish_and_clear();
    }
}
