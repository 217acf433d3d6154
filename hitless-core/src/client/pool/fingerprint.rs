use std::hash::Hasher;

use super::{Pool, Rng, START_ATTEMPTS, Slot, Standstill};
use crate::backoff::Reconnect;
use crate::fingerprint::Digest;

impl Pool {
    /// How often a slot failed matters to a client that has not been up; later only whether it has.
    pub(in crate::client) fn fingerprint<H: Hasher>(&self, is_starting: bool, digest: &mut Digest<'_, H>) {
        let Self {
            slots,
            serving: _,
            reserved: _,
            silent: _,
            retries: _,
            standstill,
            crowded_at,
            small,
            large,
            rng: _,
        } = self;
        digest.value(&(small, large));
        digest.each(standstill, |digest, Standstill { knocks, pauses }| {
            digest.value(knocks);
            digest.part(pauses);
        });
        digest.value(&crowded_at.is_some());
        digest.each(slots, |digest, slot| {
            let Slot { active, since, next, retry_at, failures, reconnect, is_silent, is_reserved } = slot;
            digest.part(active);
            digest.value(&(is_silent, is_reserved));
            let since = since.filter(|_| active.is_some());
            digest.value(&(*crowded_at).zip(since).is_some_and(|(crowded_at, since)| crowded_at <= since));
            digest.deadline_if_any(since.map(|since| since + Reconnect::PROVEN_AFTER));
            digest.deadline_if_any(since.map(|since| since + Reconnect::TRUSTED_AFTER));
            digest.part(next);
            digest.deadline_if_any(*retry_at);
            digest.part(reconnect);
            let most = if is_starting { START_ATTEMPTS } else { 1 };
            digest.value(&(*failures).min(most));
        });
    }

    pub(in crate::client) fn reseed(&mut self, seed: u64) {
        self.rng = Rng::new(seed);
    }
}
