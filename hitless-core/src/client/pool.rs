//! The slots of the pool: which connection serves, and which is to take its place.

#[cfg(feature = "explore")]
mod fingerprint;

use std::collections::BTreeSet;
use std::time::Instant;

use super::{Action, Client, Link};
use crate::backoff::Reconnect;
use crate::coordinator::{Redial, Role};
use crate::error::ConnectError;
use crate::handshake::Probe;
use crate::ids::ConnId;
use crate::rng::Rng;
use crate::timer::after;

/// Failed dials of one slot after which a client that has never been up gives up.
const START_ATTEMPTS: u32 = 4;

#[derive(Debug)]
#[cfg_attr(feature = "explore", derive(Clone))]
pub(super) struct Pool {
    slots: Vec<Slot>,
    /// Slots whose connection takes requests.
    serving: usize,
    /// When slots are to be dialled for again: what their `retry_at` say, in order.
    retries: BTreeSet<(Instant, usize)>,
    turn: usize,
    rng: Rng,
}

/// Room for one connection. While it moves, the old and the new one share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Slot {
    pub(super) active: Option<ConnId>,
    /// Being dialled: the first one, a replacement for one that was lost, or the new one of a handoff.
    pub(super) next: Option<ConnId>,
    retry_at: Option<Instant>,
    failures: u32,
    reconnect: Reconnect,
}

/// Whether the pool has been open.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Start {
    Pending,
    Told,
}

impl Pool {
    pub(super) fn new(size: usize, seed: u64) -> Self {
        let slots = std::iter::repeat_with(Slot::default).take(size).collect();
        // Not the coordinator's sequence: the two must not move in step.
        Self {
            slots,
            serving: 0,
            retries: BTreeSet::new(),
            turn: 0,
            rng: Rng::new(seed ^ 0x9e37_79b9_7f4a_7c15),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn serving(&self) -> usize {
        self.serving
    }

    /// A connection that takes requests, the next one each time.
    pub(super) fn route(&mut self) -> Option<ConnId> {
        let (turn, conn) = self.find_route()?;
        self.turn = turn;
        Some(conn)
    }

    /// What [`route`](Self::route) will say.
    pub(super) fn next_route(&self) -> Option<ConnId> {
        self.find_route().map(|(_, conn)| conn)
    }

    fn find_route(&self) -> Option<(usize, ConnId)> {
        if self.serving == 0 {
            return None;
        }
        let slots = self.slots.len();
        let mut turns = (1..=slots).map(|ahead| (self.turn + ahead) % slots);
        turns.find_map(|turn| Some((turn, self.slots[turn].active?)))
    }

    pub(super) fn slot_mut(&mut self, slot: usize) -> &mut Slot {
        &mut self.slots[slot]
    }

    /// Takes `conn` out of the slot that it is in.
    pub(super) fn vacate(&mut self, slot: usize, conn: ConnId) {
        let slot = &mut self.slots[slot];
        if slot.active.take_if(|active| *active == conn).is_some() {
            self.serving -= 1;
        }
        slot.next.take_if(|next| *next == conn);
    }

    /// `conn` serves from now on.
    pub(super) fn promote(&mut self, slot: usize, conn: ConnId) {
        self.retry(slot, None);
        let slot = &mut self.slots[slot];
        if slot.active.replace(conn).is_none() {
            self.serving += 1;
        }
        slot.next.take_if(|next| *next == conn);
        slot.failures = 0;
        slot.reconnect.reset();
    }

    pub(super) fn next_retry(&self) -> Option<Instant> {
        self.retries.first().map(|(at, _)| *at)
    }

    pub(super) fn stop_retrying(&mut self) {
        for (_, slot) in std::mem::take(&mut self.retries) {
            self.slots[slot].retry_at = None;
        }
    }

    /// Dials for `slot` again then, instead of when it was to be dialled for.
    fn retry(&mut self, slot: usize, at: Option<Instant>) {
        if let Some(before) = std::mem::replace(&mut self.slots[slot].retry_at, at) {
            self.retries.remove(&(before, slot));
        }
        self.retries.extend(at.map(|at| (at, slot)));
    }

    /// A slot that is to be dialled for now.
    fn take_due(&mut self, now: Instant) -> Option<usize> {
        let (_, slot) = self.retries.first().copied().filter(|(at, _)| *at <= now)?;
        self.retry(slot, None);
        Some(slot)
    }
}

impl Client {
    /// Begins to open a connection for `slot`.
    pub(super) fn open(&mut self, now: Instant, slot: usize) {
        // The new id may have the place of one that the coordinator has forgotten: what it says of that one comes first.
        self.obey_all(now);
        if !self.lifecycle.is_running() {
            // That was the failure by which the start was given up.
            return;
        }
        let conn = self.coordinator.open(now, Role::Shared);
        // The coordinator says in its `Dial` whether to opt in.
        self.links.insert(
            conn,
            Link { slot, probe: Probe::Skip, connection: None, flushing: false, client_id: None },
        );
        self.pool.slot_mut(slot).next = Some(conn);
    }

    pub(super) fn reopen_due(&mut self, now: Instant) {
        if !self.lifecycle.is_running() {
            return;
        }
        while let Some(slot) = self.pool.take_due(now) {
            self.open(now, slot);
        }
    }

    /// `slot` has lost its connection: opens another one, unless one is on its way.
    pub(super) fn reopen(&mut self, now: Instant, slot: usize, redial: Redial) {
        if !self.lifecycle.is_running() {
            return;
        }
        let empty = &mut self.pool.slots[slot];
        if empty.active.is_some() || empty.next.is_some() {
            return;
        }
        let pause = match redial {
            Redial::AtOnce => return self.open(now, slot),
            Redial::AfterPause => empty.reconnect.next(&mut self.pool.rng),
            Redial::Hopeless => Reconnect::CAP,
        };
        self.pool.retry(slot, Some(after(now, pause)));
    }

    /// A connection of `slot` could not be opened.
    pub(super) fn open_failed(&mut self, now: Instant, slot: usize, error: ConnectError, redial: Redial) {
        let failed = self.pool.slot_mut(slot);
        if redial != Redial::AtOnce {
            failed.failures += 1;
        }
        let give_up = redial == Redial::Hopeless || failed.failures >= START_ATTEMPTS;
        if self.start == Start::Pending && give_up {
            self.start = Start::Told;
            self.actions.push_back(Action::Started(Err(error)));
            self.begin_shutdown(now, now);
            return;
        }
        self.reopen(now, slot, redial);
    }

    /// Says so once every slot has its connection.
    pub(super) fn report_start(&mut self) {
        if self.start == Start::Pending && self.pool.serving == self.pool.len() {
            self.start = Start::Told;
            self.actions.push_back(Action::Started(Ok(())));
        }
    }
}
