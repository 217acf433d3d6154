//! How long a replica is not read from that has not served a read.

use std::time::{Duration, Instant};

use crate::backoff::Reconnect;
use crate::rng::Rng;
use crate::timer::after;

/// How long one is left alone that says nothing. Until then its links count as dead, if they are.
const SILENT: Duration = Duration::from_secs(10);

/// Whether a replica rests: it has refused a read, or was lost, and is tried again after a pause that grows.
#[derive(Clone, Debug, Default)]
pub(super) struct Rest {
    pub(super) is_on: bool,
    /// The end of the last one.
    pub(super) until: Option<Instant>,
    pub(super) pauses: Reconnect,
}

impl Rest {
    /// A read that was sent at `sent_at` was not served. True if a rest begins: the reads that were sent before the end of the last one say
    /// nothing new.
    pub(super) fn begin(&mut self, now: Instant, sent_at: Instant, rng: &mut Rng) -> bool {
        if self.is_on || self.until.is_some_and(|until| sent_at < until) {
            return false;
        }
        if self.until.is_some_and(|until| after(until, Reconnect::TRUSTED_AFTER) <= now) {
            self.pauses.reset();
        }
        self.until = Some(after(now, self.pauses.next(rng)));
        self.is_on = true;
        true
    }

    /// A read had no reply in its time: others would wait as long for nothing. True if a rest begins.
    pub(super) fn begin_long(&mut self, now: Instant) -> bool {
        self.until = self.until.max(Some(after(now, SILENT)));
        !std::mem::replace(&mut self.is_on, true)
    }

    /// Time has passed. True if the rest is over.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> bool {
        let is_over = self.poll_timeout().is_some_and(|until| until <= now);
        self.is_on &= !is_over;
        is_over
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.until.filter(|_| self.is_on)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timer::epoch;

    /// RULE-408
    #[test]
    fn rests_grow_until_one_was_enough() {
        let (mut rest, mut rng, mut now) = (Rest::default(), Rng::new(7), epoch());
        let mut lengths = Vec::new();
        for _ in 0..12 {
            assert!(rest.begin(now, now, &mut rng) && !rest.begin(now, now, &mut rng));
            let until = rest.poll_timeout().unwrap();
            assert!(!rest.handle_timeout(until - Duration::from_nanos(1)));
            assert!(rest.handle_timeout(until) && !rest.handle_timeout(until));
            assert_eq!(rest.poll_timeout(), None);
            lengths.push(until - now);
            assert!(!rest.begin(until, now, &mut rng), "what was sent before says nothing new");
            now = until;
        }
        assert!(lengths[0] <= Reconnect::FIRST && lengths[0] >= Reconnect::FIRST / 2, "{lengths:?}");
        assert!(lengths[11] <= Reconnect::CAP && lengths[11] >= Reconnect::CAP / 2, "{lengths:?}");
        now += Reconnect::TRUSTED_AFTER;
        assert!(rest.begin(now, now, &mut rng));
        assert!(rest.poll_timeout().unwrap() <= now + Reconnect::FIRST);
        assert!(!rest.begin_long(now), "it rests");
        assert_eq!(rest.poll_timeout(), Some(now + SILENT));
    }
}
