//! Is an address in use still advertised? Servers were seen to take one out of service with a MIGRATING and a MIGRATED
//! alone: it leaves the name's answers, and what is connected there is closed half a minute later, without a MOVING.

#[cfg(feature = "explore")]
mod fingerprint;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::endpoint::Peer;
use crate::notification::Seq;
use crate::rng::Rng;
use crate::timer::after;

/// Lookups after a completion: names were seen to follow up to twenty seconds later.
const LOOKUPS: u32 = 4;
/// Between two of them, give or take a quarter.
const PAUSE: Duration = Duration::from_secs(6);
const PAUSE_JITTER_PERCENT: u32 = 25;
/// Addresses of one answer that are remembered.
const ADDRESSES: usize = 64;

/// What the configured name was seen to lead to, and the lookups that follow a completion.
#[derive(Debug)]
#[cfg_attr(feature = "explore", derive(Clone))]
pub(super) struct Advertised {
    rng: Rng,
    /// The addresses of the last answer, and those of earlier ones that are still in use. Others, to which a MOVING has
    /// led, say nothing by their absence: names follow moves late.
    seen: BTreeSet<Peer>,
    check: Option<Check>,
}

/// The lookups after a completion.
#[derive(Clone, Debug)]
struct Check {
    seq: Seq,
    left: u32,
    next_at: Instant,
}

impl Advertised {
    pub(super) fn new(seed: u64) -> Self {
        Self { rng: Rng::new(seed), seen: BTreeSet::new(), check: None }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.check.as_ref().map(|check| check.next_at)
    }

    /// A completion has closed a window: the name is looked up several times from now on.
    pub(super) fn begin_check(&mut self, now: Instant, seq: Seq) {
        self.check = Some(Check { seq, left: LOOKUPS, next_at: now });
    }

    /// Whether the name is to be looked up now.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> bool {
        let Some(check) = self.check.as_mut().filter(|check| check.next_at <= now) else { return false };
        let Some(left) = check.left.checked_sub(1) else {
            self.check = None;
            return false;
        };
        check.left = left;
        check.next_at = after(now, self.rng.jitter(PAUSE, PAUSE_JITTER_PERCENT));
        true
    }

    /// The id of the completion that the lookups follow, if there was one.
    pub(super) fn checks_for(&self) -> Option<Seq> {
        self.check.as_ref().map(|check| check.seq)
    }

    /// Remembers an answer of the configured name. Returns the addresses in use that were in earlier answers and are not
    /// in this one.
    pub(super) fn note(&mut self, answer: &[Peer], is_in_use: impl Fn(&Peer) -> bool) -> Vec<Peer> {
        let before: Vec<Peer> = self.seen.iter().filter(|peer| is_in_use(peer)).cloned().collect();
        let withdrawn = before.iter().filter(|peer| !answer.contains(peer)).cloned().collect();
        self.seen = answer.iter().take(ADDRESSES).cloned().chain(before).collect();
        withdrawn
    }
}
