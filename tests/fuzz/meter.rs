//! What an execution takes: memory, counted by the allocator, and time, with somebody who looks at the clock.

use std::alloc::{GlobalAlloc, Layout, System};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};
use std::time::{Duration, Instant};

/// The longest that an execution may take: no measure of speed, but of whether it ends. Unoptimised code gets more.
pub(crate) const LONGEST: Duration = Duration::from_secs(if cfg!(debug_assertions) { 120 } else { 10 });
/// How many times as long it may take by the clock, since other processes want the processors too.
const HANGS: u128 = 10;
/// What an execution may take whatever its input is, in bytes, and for each byte of input.
pub(crate) const MEMORY: usize = 64 << 20;
pub(crate) const MEMORY_EACH: usize = 200;
/// At this many bytes the process ends before the machine does.
const MOST: usize = 6 << 30;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);
/// When the execution began, in milliseconds since [`since`]; 0 between two.
static BEGAN: AtomicU64 = AtomicU64::new(0);
/// One execution at a time: memory and clock are the process'.
static ONE: Mutex<()> = Mutex::new(());
/// What is executed, for the case that the process has to be ended.
static NOW: Mutex<(String, Vec<u8>)> = Mutex::new((String::new(), Vec::new()));
/// Where the last panic was, and its message.
static PANIC: Mutex<String> = Mutex::new(String::new());

/// The system's allocator with a counter.
struct Counting;

fn took(bytes: usize) {
    let live = LIVE.fetch_add(bytes, Ordering::Relaxed) + bytes;
    PEAK.fetch_max(live, Ordering::Relaxed);
}

// SAFETY: every call goes to the system's allocator as it came; the counters are atomic and allocate nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        took(layout.size());
        // SAFETY: the caller keeps the contract, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        took(layout.size());
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // Old and new may be there at once.
        took(size);
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Why an execution is a find.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    /// A word for the kind, of which a name of a file can be made; the same for the same fault.
    pub(crate) kind: String,
    /// In full.
    pub(crate) text: String,
}

/// Time that this process had a processor.
fn busy() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or_default())
}

/// What an execution took.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Taken {
    pub(crate) time: Duration,
    pub(crate) memory: usize,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn since() -> u64 {
    static START: Mutex<Option<Instant>> = Mutex::new(None);
    let start = *lock(&START).get_or_insert_with(Instant::now);
    // Never 0, which says that nothing runs.
    start.elapsed().as_millis() as u64 + 1
}

/// Where finds go.
pub(crate) fn finds() -> PathBuf {
    let saved = std::env::var_os("KBUILD_REPRO_FUZZ_SAVE").map(PathBuf::from);
    saved.unwrap_or_else(|| super::corpus::root().join("found"))
}

fn watch() {
    static WATCHED: Once = Once::new();
    WATCHED.call_once(|| {
        let told = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| match BEGAN.load(Ordering::Relaxed) {
            0 => told(info),
            _ => *lock(&PANIC) = info.to_string(),
        }));
        std::thread::spawn(|| {
            loop {
                std::thread::sleep(Duration::from_millis(50));
                let began = BEGAN.load(Ordering::Relaxed);
                let late = began != 0 && u128::from(since().saturating_sub(began)) > HANGS * LONGEST.as_millis();
                let large = LIVE.load(Ordering::Relaxed) > MOST;
                if late || large {
                    let why = if late { "has-no-end" } else { "memory" };
                    let (name, input) = &*lock(&NOW);
                    let at = finds().join(format!("{why}-{name}"));
                    let saved = std::fs::write(&at, input);
                    eprintln!("{name}: {why}; input: {} ({saved:?})", at.display());
                    std::process::exit(101);
                }
            }
        });
    });
}

/// Runs something that may do anything, with `input` bytes, so much more memory than is said above, and in so much time. Panics become faults, and what takes too long or too much.
pub(crate) fn run<T>(
    name: &str,
    input: &[u8],
    (extra, longest): (usize, Duration),
    body: impl FnOnce() -> Result<T, Fault>,
) -> Result<(T, Taken), Fault> {
    watch();
    let _one = lock(&ONE);
    *lock(&NOW) = (name.to_owned(), input.to_vec());
    let before = LIVE.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    let (start, before_busy) = (Instant::now(), busy());
    BEGAN.store(since(), Ordering::Relaxed);
    let done = catch_unwind(AssertUnwindSafe(body));
    BEGAN.store(0, Ordering::Relaxed);
    // Other processes may want the processors as well, and other tests of this one.
    let time = start.elapsed().min(busy().saturating_sub(before_busy));
    let taken = Taken { time, memory: PEAK.load(Ordering::Relaxed).saturating_sub(before) };
    let value = match done {
        Ok(done) => done?,
        Err(_) => {
            let text = lock(&PANIC).clone();
            let place = text.lines().next().unwrap_or_default().rsplit(" at ").next().unwrap_or_default();
            let place = place.trim_end_matches(':').replace(['/', ':'], "-");
            return Err(Fault { kind: format!("panic-{place}"), text });
        }
    };
    if taken.time > longest {
        return Err(Fault { kind: "slow".into(), text: format!("it took {:?}", taken.time) });
    }
    let most = MEMORY + extra + MEMORY_EACH * input.len();
    if taken.memory > most {
        let text = format!("it took {} MiB, and may take {} MiB", taken.memory >> 20, most >> 20);
        return Err(Fault { kind: "memory".into(), text });
    }
    Ok((value, taken))
}
