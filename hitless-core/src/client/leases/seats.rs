//! The seats: each is the room for one dedicated connection, which a connection and its successor share.

#[cfg(feature = "explore")]
mod fingerprint;

use std::time::{Duration, Instant};

use crate::backoff::Reconnect;
use crate::ids::{ConnId, LeaseId};
use crate::timer::after;

/// How long a connection that nobody uses is kept.
const IDLE: Duration = Duration::from_secs(60);

/// The seats in use, by their numbers.
#[derive(Clone, Debug)]
pub(super) struct Seats {
    limit: usize,
    /// One of the places belongs to the subscriptions.
    is_reserved: bool,
    /// A place that is empty is used again.
    seats: Vec<Option<Seat>>,
    taken: usize,
    /// Those of them that have no connection yet.
    opening: usize,
    /// Seats whose connection nobody has, the one that was used last at the end.
    idle: Vec<usize>,
}

#[derive(Clone, Debug)]
struct Seat {
    active: Option<ConnId>,
    /// Since when `active` is there.
    since: Option<Instant>,
    /// What is dialled for the seat: its first connection, or the successor in a handoff; also a successor that is ready.
    next: Vec<ConnId>,
    /// The coordinator has asked to switch to the one of `next` that is ready.
    is_asked: bool,
    used_by: User,
}

/// Who has the connection of a seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum User {
    /// There is none yet.
    Nobody,
    Idle {
        since: Instant,
    },
    Holder(LeaseId),
    /// Its lease is lost, and what was written is still awaited. Nobody gets it any more.
    Retired,
}

impl Seats {
    pub(super) const fn new(limit: usize) -> Self {
        Self { limit, is_reserved: false, seats: Vec::new(), taken: 0, opening: 0, idle: Vec::new() }
    }

    /// Takes an empty seat. There must be room.
    pub(super) fn take(&mut self) -> usize {
        let seat =
            Seat { active: None, since: None, next: Vec::new(), is_asked: false, used_by: User::Nobody };
        self.taken += 1;
        self.opening += 1;
        match self.seats.iter().position(Option::is_none) {
            Some(free) => {
                self.seats[free] = Some(seat);
                free
            }
            None => {
                self.seats.push(Some(seat));
                self.seats.len() - 1
            }
        }
    }

    /// `conn` is being opened for `seat`.
    pub(super) fn assign(&mut self, seat: usize, conn: ConnId) {
        if let Some(seat) = self.get_mut(seat) {
            seat.next.push(conn);
        }
    }

    /// `conn` is the connection of `seat` from now on: of whoever has the one before, or of nobody.
    pub(super) fn promote(&mut self, now: Instant, at: usize, conn: ConnId) {
        let Some(seat) = self.get_mut(at) else { return };
        let before = seat.active.replace(conn);
        seat.since = Some(now);
        seat.next.retain(|next| *next != conn);
        seat.is_asked = false;
        let is_held = matches!(seat.used_by, User::Holder(_));
        self.opening -= usize::from(before.is_none());
        if is_held {
            return;
        }
        self.idle.retain(|idle| *idle != at);
        self.set_idle(now, at);
    }

    /// `conn` is no connection of `seat` any more. A seat without any is free.
    pub(super) fn vacate(&mut self, at: usize, conn: ConnId) {
        let Some(seat) = self.get_mut(at) else { return };
        if seat.next.contains(&conn) {
            // The successor that is ready, if there is one, is the only one of `next`.
            seat.is_asked = false;
            seat.next.retain(|next| *next != conn);
        }
        if seat.active == Some(conn) {
            (seat.active, seat.since, seat.used_by) = (None, None, User::Nobody);
            self.opening += 1;
            self.idle.retain(|idle| *idle != at);
        }
        self.free_if_empty(at);
    }

    /// Frees a seat for which nothing was opened.
    pub(super) fn free_if_empty(&mut self, at: usize) {
        if self.get(at).is_some_and(|seat| seat.active.is_none() && seat.next.is_empty()) {
            self.seats[at] = None;
            self.taken -= 1;
            self.opening -= 1;
        }
    }

    /// Gives the connection that was used last to `lease`.
    pub(super) fn lend(&mut self, lease: LeaseId) -> Option<(usize, ConnId)> {
        let at = self.idle.pop()?;
        let seat = self.get_mut(at)?;
        seat.used_by = User::Holder(lease);
        Some((at, seat.active?))
    }

    /// The holder of the connection of `seat` does not use it any more. True if the coordinator waits for that.
    pub(super) fn give_back(&mut self, now: Instant, at: usize) -> bool {
        if self.get(at).is_some_and(|seat| matches!(seat.used_by, User::Holder(_))) {
            self.set_idle(now, at);
        }
        self.get(at).is_some_and(|seat| seat.is_asked)
    }

    /// The lease on `conn` is lost. Returns it, if there was one.
    pub(super) fn lose(&mut self, at: usize, conn: ConnId) -> Option<LeaseId> {
        let seat = self.get_mut(at).filter(|seat| seat.active == Some(conn))?;
        let User::Holder(lease) = seat.used_by else { return None };
        seat.used_by = User::Retired;
        Some(lease)
    }

    /// A successor of `conn` is ready. True if the switch may be made at once, because nobody has `conn`.
    pub(super) fn may_switch(&mut self, at: usize, conn: ConnId) -> bool {
        let Some(seat) = self.get_mut(at).filter(|seat| seat.active == Some(conn)) else { return true };
        seat.is_asked = matches!(seat.used_by, User::Holder(_));
        !seat.is_asked
    }

    /// A connection that nobody has used for long. To be closed, and to be asked for until there is none.
    pub(super) fn expired(&self, now: Instant) -> Option<ConnId> {
        self.get(*self.idle.first()?)?.active.filter(|_| self.poll_timeout().is_some_and(|at| at <= now))
    }

    /// When a connection has been idle for too long.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        match self.get(*self.idle.first()?)?.used_by {
            User::Idle { since } => Some(after(since, IDLE)),
            User::Nobody | User::Holder(_) | User::Retired => None,
        }
    }

    /// Whether the connection of `seat` has proved that its server works: by an answer or by its life; and whether it has for so long
    /// that pauses begin anew. A connection that has left the seat says nothing.
    pub(super) fn has_served(
        &self,
        now: Instant,
        at: usize,
        conn: ConnId,
        has_answered: bool,
    ) -> (bool, bool) {
        let Some(seat) = self.get(at).filter(|seat| seat.active == Some(conn)) else { return (true, false) };
        let lived = seat.since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        let has_served = has_answered || lived >= Reconnect::TRUSTED_AFTER;
        (has_served, has_served && lived >= Reconnect::PROVEN_AFTER)
    }

    pub(super) fn active(&self, at: usize) -> Option<ConnId> {
        self.get(at)?.active
    }

    /// Who has `conn`, the connection of `seat`.
    pub(super) fn holder(&self, at: usize, conn: ConnId) -> Option<LeaseId> {
        let seat = self.get(at).filter(|seat| seat.active == Some(conn))?;
        match seat.used_by {
            User::Holder(lease) => Some(lease),
            User::Nobody | User::Idle { .. } | User::Retired => None,
        }
    }

    /// Whether nobody gets `conn` any more.
    pub(super) fn is_retired(&self, at: usize, conn: ConnId) -> bool {
        self.get(at).is_some_and(|seat| seat.active == Some(conn) && seat.used_by == User::Retired)
    }

    /// The leases and their connections.
    pub(super) fn lent(&self) -> impl Iterator<Item = (LeaseId, ConnId)> {
        self.seats.iter().flatten().filter_map(|seat| match seat.used_by {
            User::Holder(lease) => Some((lease, seat.active?)),
            User::Nobody | User::Idle { .. } | User::Retired => None,
        })
    }

    /// The connections that nobody has; the one that was used last longest ago is the first.
    pub(super) fn idle(&self) -> impl Iterator<Item = ConnId> {
        self.idle.iter().filter_map(|at| self.active(*at))
    }

    /// The successor that is ready, if the coordinator waits for the switch to it.
    pub(super) fn successor(&self, at: usize) -> Option<ConnId> {
        self.get(at).filter(|seat| seat.is_asked)?.next.first().copied()
    }

    pub(super) fn has_idle(&self) -> bool {
        !self.idle.is_empty()
    }

    pub(super) fn has_room(&self) -> bool {
        self.taken < self.limit - usize::from(self.is_reserved)
    }

    /// Keeps a place for the subscriptions, or gives it back. False if there is none to keep.
    pub(super) fn reserve(&mut self, is_needed: bool) -> bool {
        if is_needed && !self.is_reserved && !self.has_room() {
            return false;
        }
        self.is_reserved = is_needed;
        true
    }

    /// Whether room is kept that is nobody's seat.
    pub(super) fn is_reserved(&self) -> bool {
        self.is_reserved
    }

    /// Seats whose first connection is under way.
    pub(super) fn opening(&self) -> usize {
        self.opening
    }

    /// Seats that have a connection, or for which one is under way.
    pub(super) fn taken(&self) -> usize {
        self.taken
    }

    /// The seat is not among those that are idle.
    fn set_idle(&mut self, now: Instant, at: usize) {
        if let Some(seat) = self.get_mut(at) {
            seat.used_by = User::Idle { since: now };
            self.idle.push(at);
        }
    }

    fn get(&self, at: usize) -> Option<&Seat> {
        self.seats.get(at)?.as_ref()
    }

    fn get_mut(&mut self, at: usize) -> Option<&mut Seat> {
        self.seats.get_mut(at)?.as_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Arena;
    use crate::timer::epoch;

    /// Whatever becomes of a seat, the count of those that open is right, and no seat is idle twice. INV-14
    #[test]
    fn seats_that_open_are_counted() {
        let (mut ids, mut leases, now) = (Arena::new(), Arena::new(), epoch());
        let [first, successor, given_up] = [(), (), ()].map(|()| ids.insert(()));
        let lease = leases.insert(());
        let mut seats = Seats::new(2);
        let check = |seats: &Seats, opening| {
            let scanned = seats.seats.iter().flatten().filter(|seat| seat.active.is_none()).count();
            assert_eq!((seats.opening(), scanned), (opening, opening));
        };
        let [at, other] = [seats.take(), seats.take()];
        seats.assign(at, first);
        seats.assign(other, given_up);
        check(&seats, 2);
        seats.vacate(other, given_up);
        check(&seats, 1);
        seats.promote(now, at, first);
        check(&seats, 0);
        seats.lend(lease);
        for _ in 0..2 {
            seats.give_back(now, at);
        }
        seats.assign(at, successor);
        seats.promote(now, at, successor);
        assert_eq!(seats.idle, [at]);
        seats.vacate(at, first);
        seats.assign(at, first);
        seats.vacate(at, successor);
        check(&seats, 1);
        seats.vacate(at, first);
        check(&seats, 0);
        assert_eq!(seats.taken(), 0);
    }
}
