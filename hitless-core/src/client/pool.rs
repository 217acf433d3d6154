//! The slots of the pool: which connection serves each slot, which one will, and when to dial for an empty one.

#[cfg(feature = "explore")]
mod fingerprint;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

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
    /// The server refuses what only a change of settings can mend.
    standstill: Option<Standstill>,
    turn: usize,
    rng: Rng,
}

/// While nothing can change by itself, one slot knocks, and those that have no connection wait for it.
#[derive(Clone, Debug)]
struct Standstill {
    knocks: usize,
    pauses: Reconnect,
}

/// Room for one connection. While it moves, the old and the new one share it.
#[derive(Clone, Debug, Default)]
struct Slot {
    active: Option<ConnId>,
    /// Since when `active` serves.
    since: Option<Instant>,
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
        Self { slots, serving: 0, retries: BTreeSet::new(), standstill: None, turn: 0, rng }
    }

    /// The connection that takes the next request: the slots take turns.
    pub(super) fn route(&mut self) -> Option<ConnId> {
        let (turn, conn) = self.find_route()?;
        self.turn = turn;
        Some(conn)
    }

    /// `conn` is being opened for `slot`.
    pub(super) fn assign(&mut self, slot: usize, conn: ConnId) {
        self.slots[slot].next = Some(conn);
    }

    /// `conn` serves `slot` from now on. Its failures are not forgotten yet: there are servers that close behind the
    /// handshake.
    pub(super) fn promote(&mut self, now: Instant, slot: usize, conn: ConnId) {
        self.schedule(slot, None);
        let promoted = &mut self.slots[slot];
        if promoted.active.replace(conn).is_none() {
            self.serving += 1;
        }
        promoted.since = Some(now);
        promoted.next.take_if(|next| *next == conn);
        if self.standstill.take().is_some() {
            self.end_standstill(now);
        }
    }

    /// The active connection of `slot` is about to leave it. If it has answered a request, or has lived for a while, the
    /// failures before it are forgotten. False if it was good for nothing.
    pub(super) fn note_service(
        &mut self,
        now: Instant,
        slot: usize,
        conn: ConnId,
        has_answered: bool,
    ) -> bool {
        let slot = &mut self.slots[slot];
        if slot.active != Some(conn) {
            return true;
        }
        let lived = slot.since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        let has_served = has_answered || lived >= Reconnect::TRUSTED_AFTER;
        if has_served {
            slot.failures = 0;
            slot.reconnect.reset();
        }
        has_served
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
        if !self.slots[slot].is_empty() {
            return false;
        }
        if redial == Redial::AtOnce {
            return true;
        }
        if redial == Redial::Hopeless && self.standstill.is_none() {
            self.stop_retrying();
            self.standstill = Some(Standstill { knocks: slot, pauses: Reconnect::new() });
        }
        let pause = match &mut self.standstill {
            Some(standstill) if standstill.knocks != slot => return false,
            Some(standstill) if redial == Redial::Hopeless => standstill.pauses.next_hopeless(&mut self.rng),
            Some(_) | None => self.slots[slot].reconnect.next(&mut self.rng),
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
    pub(super) fn next_route(&self) -> Option<ConnId> {
        self.find_route().map(|(_, conn)| conn)
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

    fn find_route(&self) -> Option<(usize, ConnId)> {
        if self.serving == 0 {
            return None;
        }
        let slots = self.slots.len();
        let mut turns = (1..=slots).map(|ahead| (self.turn + ahead) % slots);
        turns.find_map(|turn| Some((turn, self.slots[turn].active?)))
    }

    /// The server takes connections again: the slots that have waited dial soon, but not all at the same time.
    fn end_standstill(&mut self, now: Instant) {
        for slot in 0..self.slots.len() {
            if self.slots[slot].is_empty() && self.slots[slot].retry_at.is_none() {
                let pause = self.slots[slot].reconnect.next(&mut self.rng);
                self.schedule(slot, Some(after(now, pause)));
            }
        }
    }

    /// Sets when to dial for `slot`.
    fn schedule(&mut self, slot: usize, at: Option<Instant>) {
        if let Some(before) = std::mem::replace(&mut self.slots[slot].retry_at, at) {
            self.retries.remove(&(before, slot));
        }
        self.retries.extend(at.map(|at| (at, slot)));
    }
}

impl Slot {
    fn is_empty(&self) -> bool {
        self.active.is_none() && self.next.is_none()
    }
}
