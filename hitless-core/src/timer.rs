//! Deadlines of machines that have no clock: an instant to be reached, or none.

use std::fmt;
use std::time::{Duration, Instant};

/// Where [`after`] ends: far enough to mean "never", near enough for every platform to represent.
const FAR_FUTURE: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// A timer is late because other tasks had the thread, or because the process was stopped. From this much on it was stopped, and has read
/// nothing meanwhile.
pub(crate) const STOPPED: Duration = Duration::from_millis(100);

/// The earliest of `deadlines`; absent ones do not count.
#[must_use]
pub(crate) fn earliest(deadlines: impl IntoIterator<Item = Option<Instant>>) -> Option<Instant> {
    // Not `flatten().min()`, which keeps a state that compilers do not see through: this is on every request's way.
    deadlines.into_iter().fold(None, |earliest, deadline| match (earliest, deadline) {
        (Some(earliest), Some(deadline)) => Some(deadline.min(earliest)),
        (earliest, deadline) => earliest.or(deadline),
    })
}

/// Brings `earliest` forward to `deadline`, if that is earlier. It is on every request's way, and hardly ever is.
#[inline]
pub(crate) fn bring_forward(earliest: &mut Option<Instant>, deadline: Option<Instant>) {
    if let Some(deadline) = deadline
        && earliest.is_none_or(|earliest| deadline < earliest)
    {
        *earliest = Some(deadline);
    }
}

/// `delay` after `now`, where `now + delay` could overflow and panic: such a delay ends in the far future
/// instead.
#[must_use]
#[inline]
pub(crate) fn after(now: Instant, delay: Duration) -> Instant {
    now.checked_add(delay).or_else(|| now.checked_add(FAR_FUTURE)).unwrap_or(now)
}

/// A length of time as people read it: like `Debug`, but to the millisecond where it is not shorter, and nothing is `0s`, and not `0ns`
/// or `0.000ns`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span(pub(crate) Duration);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MILLISECOND: u128 = 1_000_000;
        let nanos = self.0.as_nanos();
        let rounded = u64::try_from((nanos + MILLISECOND / 2) / MILLISECOND).map(Duration::from_millis);
        match rounded {
            _ if nanos == 0 => f.write_str("0s"),
            Ok(rounded) if nanos >= MILLISECOND => fmt::Debug::fmt(&rounded, f),
            _ => fmt::Debug::fmt(&self.0, f),
        }
    }
}

/// An arbitrary instant for tests to count from: nothing but a clock can make the first one.
#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests in virtual time need an origin")]
pub(crate) fn epoch() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// RULE-135
    #[test]
    fn no_time_reads_as_no_time() {
        assert_eq!(format!("{} {:.3}", Span(Duration::ZERO), Span(Duration::ZERO)), "0s 0s");
        assert_eq!(format!("{} {:.1}", Span(3 * SECOND), Span(3 * SECOND / 2)), "3s 1.5s");
    }

    /// RULE-238
    #[test]
    fn what_was_measured_reads_as_what_was_set() {
        let shown = |nanos| Span(Duration::from_nanos(nanos)).to_string();
        assert_eq!(shown(2_000_431_219), "2s");
        assert_eq!(shown(1_999_500_000), "2s");
        assert_eq!(shown(250_600_001), "251ms");
        assert_eq!(shown(1_000_001), "1ms");
        assert_eq!(shown(999_001), "999.001µs");
        assert_eq!(Span(Duration::MAX).to_string(), format!("{:?}", Duration::MAX));
    }

    #[test]
    fn earliest_skips_what_is_absent() {
        let now = epoch();
        assert_eq!(earliest([None, Some(now + SECOND), Some(now), None]), Some(now));
        assert_eq!(earliest([None, None]), None);
    }

    #[test]
    fn after_never_overflows() {
        let now = epoch();
        assert_eq!(after(now, SECOND), now + SECOND);
        assert!(after(now, Duration::MAX) > now + Duration::from_secs(3600));
    }
}
