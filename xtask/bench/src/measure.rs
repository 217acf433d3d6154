//! Taking times that can be compared.

use std::io;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How long one sample lasts at least: long against the clock's resolution, so short that many of them fall between
/// the turns of other programs on the machine.
const SAMPLE: Duration = Duration::from_micros(200);

/// The time one pass of some work takes, over all rounds.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    /// The shortest sample, in nanoseconds per pass: what the work costs when nothing disturbs it.
    pub best: f64,
    /// The median sample, in nanoseconds per pass.
    pub median: f64,
}

impl Timing {
    /// The times for one of `parts` equal parts of a pass.
    pub fn per(self, parts: f64) -> Self {
        Self { best: self.best / parts, median: self.median / parts }
    }
}

/// Runs all of `work` in turns for so many rounds; the times in the order of `work`.
pub fn interleaved(work: &mut [Box<dyn FnMut() + '_>], rounds: usize) -> Vec<Timing> {
    let passes = work.iter_mut().map(calibrate).collect::<Vec<_>>();
    let mut samples = vec![Vec::with_capacity(rounds); work.len()];
    for _ in 0..rounds {
        for (at, pass) in work.iter_mut().enumerate() {
            // The one before has left its data in the caches.
            pass();
            let elapsed = time(|| (0..passes[at]).for_each(|_| pass()));
            samples[at].push(elapsed.as_nanos() as f64 / f64::from(passes[at]));
        }
    }
    samples.iter_mut().map(|samples| summary(samples)).collect()
}

/// How many passes fill a sample. Also warms up caches and the allocator.
fn calibrate(pass: &mut Box<dyn FnMut() + '_>) -> u32 {
    let mut passes = 1;
    loop {
        let elapsed = time(|| (0..passes).for_each(|_| pass()));
        if elapsed >= SAMPLE || passes >= 1 << 20 {
            return passes;
        }
        passes *= 2;
    }
}

/// How long `work` takes, once.
pub fn time(work: impl FnOnce()) -> Duration {
    let start = now();
    work();
    now().saturating_duration_since(start)
}

/// The time by the clock.
#[expect(clippy::disallowed_methods, reason = "a benchmark is about the real clock")]
pub fn now() -> Instant {
    Instant::now()
}

/// The time since the beginning of 1970, in UTC.
///
/// # Errors
///
/// When the clock of the system is set to an earlier time.
#[expect(clippy::disallowed_methods, reason = "a benchmark says when it was run")]
pub fn since_1970() -> io::Result<Duration> {
    SystemTime::now().duration_since(UNIX_EPOCH).map_err(io::Error::other)
}

fn summary(samples: &mut [f64]) -> Timing {
    samples.sort_by(f64::total_cmp);
    let best = samples.first().copied().unwrap_or(f64::NAN);
    let median = samples.get(samples.len() / 2).copied().unwrap_or(f64::NAN);
    Timing { best, median }
}
