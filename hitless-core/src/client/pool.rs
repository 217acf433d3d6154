//! The slots of the pool: which connection serves each slot, which one will, and when to dial for an empty one.

#[cfg(feature = "explore")]
mod fingerprint;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::load::Load;
use crate::backoff::Reconnect;
use crate::coordinator::Redial;
use crate::ids::ConnId;
use crate::request::Size;
use crate::rng::Rng;
use crate::timer::{after, earliest};

/// A client whose pool has never been open gives up after this many failed dials of one slot.
const START_ATTEMPTS: u32 = 4;

/// So many slots dial after pauses of their own; those beyond them dial more seldom, so that all of those together dial as often as
/// so many.
const KNOCKING: usize = 4;

/// All slots, by their numbers.
#[derive(Debug)]
#[cfg_attr(feature = "explore", derive(Clone))]
pub(super) struct Pool {
    slots: Vec<Slot>,
    /// Slots whose connection takes requests.
    serving: usize,
    /// Slots whose connection is kept for requests that travel alone.
    reserved: usize,
    /// Slots whose connection does not answer.
    silent: usize,
    /// The `retry_at` of all slots, in order.
    retries: BTreeSet<(Instant, usize)>,
    /// The server refuses what only a change of settings can mend.
    standstill: Option<Standstill>,
    /// When a slot was last told to wait for longer than its own pause, because enough others dial.
    crowded_at: Option<Instant>,
    /// The slot that small requests gather on.
    small: usize,
    /// The slot that large requests gather on.
    large: usize,
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
    /// What is dialled for the slot: the first connection, the next one after a loss, or the successor in a handoff. An attempt
    /// has two dials under way where an address takes long.
    next: Vec<ConnId>,
    /// When to dial for the slot again.
    retry_at: Option<Instant>,
    failures: u32,
    reconnect: Reconnect,
    /// The connection that is active does not answer: it gets no new requests, and another one is wanted.
    is_silent: bool,
    /// The connection that is active is kept for requests that travel alone.
    is_reserved: bool,
}

impl Pool {
    pub(super) fn new(size: usize, seed: u64) -> Self {
        let slots = std::iter::repeat_with(Slot::default).take(size).collect();
        // Not the coordinator's sequence: the two must not move in step.
        let rng = Rng::new(seed ^ 0x9e37_79b9_7f4a_7c15);
        // The clients of one name do not all begin with the first of its addresses.
        let first = seed.checked_rem(size as u64).unwrap_or(0) as usize;
        Self {
            slots,
            serving: 0,
            reserved: 0,
            silent: 0,
            retries: BTreeSet::new(),
            standstill: None,
            crowded_at: None,
            small: first,
            large: first,
            rng,
        }
    }

    /// The connection that takes the next request of this size: the same as for the last one while that is lightly loaded,
    /// for requests that travel together cost less. Otherwise requests gather on the next connection that is; while none
    /// is, the slots take turns. `load` is that for a request of this size.
    pub(super) fn route(&mut self, size: Size, load: impl Fn(ConnId) -> Load) -> Option<ConnId> {
        let (slot, conn) = self.find_route(size, load)?;
        match size {
            Size::Small => self.small = slot,
            Size::Large => self.large = slot,
        }
        Some(conn)
    }

    /// The connection that the last request of this size went to, if it takes requests. If it is lightly loaded, it is what [`route`](Self::route) would
    /// return.
    #[inline]
    pub(super) fn current(&self, size: Size) -> Option<ConnId> {
        self.slots[self.current_slot(size)].serving()
    }

    /// `conn` is being opened for `slot`.
    pub(super) fn assign(&mut self, slot: usize, conn: ConnId) {
        self.slots[slot].next.push(conn);
    }

    /// `conn` serves `slot` from now on. Its failures are not forgotten yet: there are servers that close behind the
    /// handshake.
    pub(super) fn promote(&mut self, now: Instant, slot: usize, conn: ConnId) {
        self.schedule(slot, None);
        self.change(slot, |slot| {
            slot.active = Some(conn);
            (slot.is_silent, slot.is_reserved) = (false, false);
        });
        let promoted = &mut self.slots[slot];
        promoted.since = Some(now);
        promoted.next.retain(|next| *next != conn);
        self.note_accepted(now);
    }

    /// The server has accepted a connection, whatever becomes of it: the settings are right.
    pub(super) fn note_accepted(&mut self, now: Instant) {
        if self.standstill.take().is_some() {
            self.end_standstill(now);
        }
    }

    /// The active connection of `slot` is about to leave it. If it has answered a request, or has lived for long, the failures
    /// before it are forgotten; the pauses stay as long as they are unless it has lived for a while, too. False if it was good
    /// for nothing.
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
        }
        if has_served && lived >= Reconnect::PROVEN_AFTER {
            slot.reconnect.reset();
        }
        has_served
    }

    /// `conn` is no connection of `slot` any more.
    pub(super) fn vacate(&mut self, slot: usize, conn: ConnId) {
        if self.slots[slot].active == Some(conn) {
            self.change(slot, |slot| {
                slot.active = None;
                (slot.is_silent, slot.is_reserved) = (false, false);
            });
        }
        self.slots[slot].next.retain(|next| *next != conn);
    }

    /// `conn` does not answer. True if it is the one that serves `slot`: it gets no new requests from now on.
    pub(super) fn rest(&mut self, slot: usize, conn: ConnId) -> bool {
        let rests = self.slots[slot].answering() == Some(conn);
        if rests {
            // Requests that travel alone need one that answers.
            self.change(slot, |slot| (slot.is_silent, slot.is_reserved) = (true, false));
        }
        rests
    }

    /// A slot whose connection does not answer, for which nothing is dialled nor will be, and which waits for no other slot.
    pub(super) fn find_silent(&self) -> Option<usize> {
        if self.silent == 0 {
            return None;
        }
        let waits = |at: usize| self.standstill.as_ref().is_some_and(|standstill| standstill.knocks != at);
        let is_stuck = |slot: &Slot| slot.is_silent && slot.next.is_empty() && slot.retry_at.is_none();
        (0..self.slots.len()).find(|at| is_stuck(&self.slots[*at]) && !waits(*at))
    }

    /// `conn` answers again. True if `slot` has no other connection: `conn` serves it again. A slot that has knocked for all knocks
    /// no more.
    pub(super) fn resume(&mut self, now: Instant, slot: usize, conn: ConnId) -> bool {
        let resumed = &self.slots[slot];
        let resumes = resumed.is_silent && resumed.active == Some(conn);
        if resumes {
            self.change(slot, |slot| slot.is_silent = false);
            self.schedule(slot, None);
            if self.standstill.take_if(|standstill| standstill.knocks == slot).is_some() {
                self.end_standstill(now);
            }
        }
        resumes
    }

    /// Keeps a connection for requests that travel alone: the one with the least to do, as `load` says. Others join it no
    /// more until it is [set free](Self::set_free). False if half of the connections are kept already, or the only one.
    pub(super) fn reserve(&mut self, load: impl Fn(ConnId) -> usize) -> bool {
        let answering = self.slots.iter().filter(|slot| slot.answering().is_some()).count();
        if self.reserved >= (answering / 2).max(1) {
            return false;
        }
        let serving = self.slots.iter().enumerate().filter_map(|(at, slot)| Some((at, slot.serving()?)));
        let Some((slot, _)) = serving.min_by_key(|(_, conn)| load(*conn)) else { return false };
        self.change(slot, |slot| slot.is_reserved = true);
        true
    }

    /// A connection that is kept for requests that travel alone, and is as `is_meant` says.
    pub(super) fn find_reserved(&self, is_meant: impl Fn(ConnId) -> bool) -> Option<ConnId> {
        if self.reserved == 0 {
            return None;
        }
        let mut reserved = self.slots.iter().filter(|slot| slot.is_reserved).filter_map(Slot::answering);
        reserved.find(|conn| is_meant(*conn))
    }

    /// `conn` takes any request again.
    pub(super) fn set_free(&mut self, conn: ConnId) {
        if let Some(slot) = self.slots.iter().position(|slot| slot.active == Some(conn)) {
            self.change(slot, |slot| slot.is_reserved = false);
        }
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
            Some(_) => self.slots[slot].reconnect.next(&mut self.rng),
            None => self.next_pause(now, slot),
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

    /// Whether the last attempt for `slot` has failed, or led to a connection that was of no use.
    pub(super) fn has_failed(&self, slot: usize) -> bool {
        self.slots[slot].failures > 0
    }

    /// How often the slot was dialled for that has failed most often, a dial that is under way included.
    pub(super) fn attempts(&self) -> u32 {
        let empty = self.slots.iter().filter(|slot| slot.active.is_none());
        empty.map(|slot| slot.failures + u32::from(!slot.next.is_empty())).max().unwrap_or(0)
    }

    /// A slot to dial for now. To be called until there is none.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> Option<usize> {
        if self.lasting_at().is_some_and(|at| at <= now) {
            self.end_crowd(now);
        }
        let (_, slot) = self.retries.first().copied().filter(|(at, _)| *at <= now)?;
        self.schedule(slot, None);
        Some(slot)
    }

    /// Dials for no slot any more.
    pub(super) fn stop_retrying(&mut self) {
        self.crowded_at = None;
        for (_, slot) in std::mem::take(&mut self.retries) {
            self.slots[slot].retry_at = None;
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        earliest([self.retries.first().map(|(at, _)| *at), self.lasting_at()])
    }

    /// What [`route`](Self::route) would return.
    pub(super) fn next_route(&self, size: Size, load: impl Fn(ConnId) -> Load) -> Option<ConnId> {
        self.find_route(size, load).map(|(_, conn)| conn)
    }

    /// The connection of `slot`, and whether it answers.
    pub(super) fn active(&self, slot: usize) -> Option<(ConnId, bool)> {
        let slot = &self.slots[slot];
        Some((slot.active?, !slot.is_silent))
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Slots that have a connection that takes requests.
    pub(super) fn serving(&self) -> usize {
        self.serving
    }

    /// Whether any connection takes requests, be it those that travel alone.
    pub(super) fn is_connected(&self) -> bool {
        self.serving + self.reserved > 0
    }

    /// Whether every slot has a connection, whatever that takes.
    pub(super) fn is_open(&self) -> bool {
        // From behind: the first slots are the first to be open, and this is asked at each step of the start.
        self.slots.iter().rev().all(|slot| slot.active.is_some())
    }

    fn find_route(&self, size: Size, load: impl Fn(ConnId) -> Load) -> Option<(usize, ConnId)> {
        if self.serving == 0 {
            return None;
        }
        let current = self.current_slot(size);
        let serving = self.slots[current].serving();
        if let Some(conn) = serving.filter(|conn| load(*conn) == Load::Light) {
            return Some((current, conn));
        }
        let slots = self.slots.len();
        let turns = (1..=slots).map(|ahead| (current + ahead) % slots);
        // The first of those that are loaded least.
        let mut least: Option<(Load, (usize, ConnId))> = None;
        for (slot, conn) in turns.filter_map(|slot| Some((slot, self.slots[slot].serving()?))) {
            let load = load(conn);
            if load == Load::Light {
                return Some((slot, conn));
            }
            if least.is_none_or(|(least, _)| load < least) {
                least = Some((load, (slot, conn)));
            }
        }
        least.map(|(_, route)| route)
    }

    fn current_slot(&self, size: Size) -> usize {
        match size {
            Size::Small => self.small,
            Size::Large => self.large,
        }
    }

    /// Changes which connection `slot` has, or what that takes.
    fn change(&mut self, slot: usize, change: impl FnOnce(&mut Slot)) {
        let slot = &mut self.slots[slot];
        let counts =
            |slot: &Slot| [slot.serving().is_some(), slot.is_reserved, slot.is_silent].map(usize::from);
        let before = counts(slot);
        change(slot);
        let after = counts(slot);
        for (at, count) in [&mut self.serving, &mut self.reserved, &mut self.silent].into_iter().enumerate() {
            *count = *count + after[at] - before[at];
        }
    }

    /// How long `slot` waits after one more failure. A first loss is made good soon, whatever the others do.
    fn next_pause(&mut self, now: Instant, slot: usize) -> Duration {
        let pause = self.slots[slot].reconnect.next(&mut self.rng);
        if pause <= Reconnect::FIRST {
            return pause;
        }
        let soon = after(now, Reconnect::CAP);
        let others = self.slots.iter().enumerate().filter(|(at, other)| *at != slot && other.is_wanting());
        let (wanting, knocking) = others.fold((1_usize, 0_usize), |(wanting, knocking), (_, other)| {
            (wanting + 1, knocking + usize::from(other.retry_at.is_none_or(|at| at <= soon)))
        });
        if knocking < KNOCKING {
            return pause;
        }
        self.crowded_at = Some(now);
        pause * u32::try_from(wanting.div_ceil(KNOCKING)).unwrap_or(u32::MAX)
    }

    /// When a connection has lasted that was opened after the last failure among many: then all may dial again.
    fn lasting_at(&self) -> Option<Instant> {
        let crowded_at = self.crowded_at?;
        let answering = self.slots.iter().filter(|slot| slot.answering().is_some());
        let opened = answering.filter_map(|slot| slot.since.filter(|since| *since >= crowded_at));
        opened.min().map(|since| after(since, Reconnect::PROVEN_AFTER))
    }

    /// Those that wait for longer than their own pauses dial soon, but not all at the same time.
    fn end_crowd(&mut self, now: Instant) {
        self.crowded_at = None;
        let late = self.retries.split_off(&(after(now, Reconnect::CAP), 0));
        for (_, slot) in late {
            let pause = self.slots[slot].reconnect.next(&mut self.rng);
            self.schedule(slot, Some(after(now, pause)));
        }
    }

    /// Nobody knocks any more: the slots that have waited dial soon, but not all at the same time.
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
    /// It has no connection that answers, and none is on its way.
    fn is_empty(&self) -> bool {
        self.answering().is_none() && self.next.is_empty()
    }

    /// It has no connection that answers, and is dialled for or will be.
    fn is_wanting(&self) -> bool {
        self.answering().is_none() && (!self.next.is_empty() || self.retry_at.is_some())
    }

    /// The connection that takes any request.
    fn serving(&self) -> Option<ConnId> {
        self.answering().filter(|_| !self.is_reserved)
    }

    /// The connection, if it answers.
    fn answering(&self) -> Option<ConnId> {
        self.active.filter(|_| !self.is_silent)
    }
}
