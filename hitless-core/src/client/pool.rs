//! The slots of the pool: which connection serves each slot, which one will, and when to dial for an empty one.

#[cfg(feature = "explore")]
mod fingerprint;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::time::Instant;

use super::load::Load;
use crate::backoff::Reconnect;
use crate::coordinator::Redial;
use crate::ids::ConnId;
use crate::rng::Rng;
use crate::timer::after;

/// A client whose pool has never been open gives up after this many failed dials of one slot.
const START_ATTEMPTS: u32 = 4;

/// All slots, by their numbers.
#[derive(Debug)]
#[cfg_attr(feature = "explore", derive(Clone))]
pub(super) struct Pool {
    slots: Vec<Slot>,
    /// Slots whose connection takes requests.
    serving: usize,
    /// The `retry_at` of all slots, in order.
    retries: BTreeSet<(Instant, usize)>,
    /// The slot that requests gather on.
    current: usize,
    rng: Rng,
}

/// Room for one connection. While it moves, the old and the new one share it.
#[derive(Clone, Debug, Default)]
struct Slot {
    active: Option<ConnId>,
    /// The connection that is being opened: the first one, the next one after a loss, or the successor in a handoff.
    next: Option<ConnId>,
    /// When to dial for the slot again.
    retry_at: Option<Instant>,
    failures: u32,
    reconnect: Reconnect,
}

impl Pool {
    pub(super) fn new(size: usize, seed: u64) -> Self {
        let slots = std::iter::repeat_with(Slot::default).take(size).collect();
        // Not the coordinator's sequence: the two must not move in step.
        let rng = Rng::new(seed ^ 0x9e37_79b9_7f4a_7c15);
        // The clients of one name do not all begin with the first of its addresses.
        let current = seed.checked_rem(size as u64).unwrap_or(0) as usize;
        Self { slots, serving: 0, retries: BTreeSet::new(), current, rng }
    }

    /// The connection that takes the next request: the same as before while that is lightly loaded, for requests that
    /// travel together cost less. Otherwise requests gather on the next connection that is; while none is, the slots
    /// take turns.
    pub(super) fn route(&mut self, load: impl Fn(ConnId) -> Load) -> Option<ConnId> {
        let (current, conn) = self.find_route(load)?;
        self.current = current;
        Some(conn)
    }

    /// `conn` is being opened for `slot`.
    pub(super) fn assign(&mut self, slot: usize, conn: ConnId) {
        self.slots[slot].next = Some(conn);
    }

    /// `conn` serves `slot` from now on.
    pub(super) fn promote(&mut self, slot: usize, conn: ConnId) {
        self.schedule(slot, None);
        let slot = &mut self.slots[slot];
        if slot.active.replace(conn).is_none() {
            self.serving += 1;
        }
        slot.next.take_if(|next| *next == conn);
        slot.failures = 0;
        slot.reconnect.reset();
    }

    /// `conn` is no connection of `slot` any more.
    pub(super) fn vacate(&mut self, slot: usize, conn: ConnId) {
        let slot = &mut self.slots[slot];
        if slot.active.take_if(|active| *active == conn).is_some() {
            self.serving -= 1;
        }
        slot.next.take_if(|next| *next == conn);
    }

    /// `slot` has lost a connection, or an attempt to open one has failed. True if the client has to open one at once;
    /// otherwise the slot has one, or [`handle_timeout`](Self::handle_timeout) names it later.
    pub(super) fn refill(&mut self, now: Instant, slot: usize, redial: Redial) -> bool {
        let empty = &mut self.slots[slot];
        if empty.active.is_some() || empty.next.is_some() {
            return false;
        }
        let pause = match redial {
            Redial::AtOnce => return true,
            Redial::AfterPause => empty.reconnect.next(&mut self.rng),
            Redial::Hopeless => Reconnect::CAP,
        };
        self.schedule(slot, Some(after(now, pause)));
        false
    }

    /// A dial for `slot` has failed. True if a client whose pool has never been open gives up.
    pub(super) fn note_failure(&mut self, slot: usize, redial: Redial) -> bool {
        let failed = &mut self.slots[slot];
        if redial != Redial::AtOnce {
            failed.failures += 1;
        }
        redial == Redial::Hopeless || failed.failures >= START_ATTEMPTS
    }

    /// A slot to dial for now. To be called until there is none.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> Option<usize> {
        let (_, slot) = self.retries.first().copied().filter(|(at, _)| *at <= now)?;
        self.schedule(slot, None);
        Some(slot)
    }

    /// Dials for no slot any more.
    pub(super) fn stop_retrying(&mut self) {
        for (_, slot) in std::mem::take(&mut self.retries) {
            self.slots[slot].retry_at = None;
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.retries.first().map(|(at, _)| *at)
    }

    /// What [`route`](Self::route) would return.
    pub(super) fn next_route(&self, load: impl Fn(ConnId) -> Load) -> Option<ConnId> {
        self.find_route(load).map(|(_, conn)| conn)
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Slots that have a connection that takes requests.
    pub(super) fn serving(&self) -> usize {
        self.serving
    }

    /// Whether every slot has a connection that takes requests.
    pub(super) fn is_open(&self) -> bool {
        self.serving == self.slots.len()
    }

    fn find_route(&self, load: impl Fn(ConnId) -> Load) -> Option<(usize, ConnId)> {
        if self.serving == 0 {
            return None;
        }
        let current = self.slots[self.current].active;
        if let Some(conn) = current.filter(|conn| load(*conn) == Load::Light) {
            return Some((self.current, conn));
        }
        let slots = self.slots.len();
        let turns = (1..=slots).map(|ahead| (self.current + ahead) % slots);
        let serving = turns.filter_map(|slot| Some((slot, self.slots[slot].active?)));
        // The first of those that are loaded least.
        serving.min_by_key(|(_, conn)| load(*conn))
    }

    /// Sets when to dial for `slot`.
    fn schedule(&mut self, slot: usize, at: Option<Instant>) {
        if let Some(before) = std::mem::replace(&mut self.slots[slot].retry_at, at) {
            self.retries.remove(&(before, slot));
        }
        self.retries.extend(at.map(|at| (at, slot)));
    }
}
