//! Established connections: where each is connected, in which role and phase, and what still drains behind it.

#[cfg(feature = "explore")]
mod fingerprint;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use super::Role;
use super::timers::Timers;
use crate::endpoint::Peer;
use crate::ids::{ConnId, IdMap};

/// The established connections.
///
/// A connection that drains has a *successor*, the connection that serves in its place. If the successor is lost first, the
/// connection in its place becomes the successor or, if there is none, the next one that is opened, so that nobody dials a third
/// connection for the place while the first one still drains.
#[derive(Clone, Debug)]
pub(super) struct Conns {
    live: IdMap<ConnId, Conn>,
    by_peer: BTreeMap<Peer, BTreeSet<ConnId>>,
    /// The draining connection behind each successor, which may still be a dial attempt.
    behind: BTreeMap<ConnId, ConnId>,
    /// Draining connections whose successors were lost.
    orphaned: VecDeque<ConnId>,
    /// When drains end.
    deadlines: Timers<ConnId>,
}

/// An established connection.
#[derive(Clone, Debug)]
pub(super) struct Conn {
    role: Role,
    peer: Peer,
    /// What was dialled: support is known by it. Behind a tunnel it is not the peer.
    address: Peer,
    /// The server has closed the stream; what it sent before is still to be read.
    is_ending: bool,
    phase: Phase,
}

#[derive(Clone, Debug)]
enum Phase {
    Serving,
    /// Ready, and to take the place of `from` when the owner has switched.
    AwaitsSwitch {
        from: ConnId,
    },
    /// Answers what it has, since its successor serves.
    Draining {
        since: Instant,
        successor: Option<ConnId>,
    },
}

impl Conns {
    pub(super) const fn new() -> Self {
        Self {
            live: IdMap::new(),
            by_peer: BTreeMap::new(),
            behind: BTreeMap::new(),
            orphaned: VecDeque::new(),
            deadlines: Timers::new(),
        }
    }

    /// `conn`, which was dialled at `address`, is connected to `peer` and serves.
    pub(super) fn establish(&mut self, conn: ConnId, role: Role, peer: Peer, address: Peer, is_ending: bool) {
        self.by_peer.entry(peer.clone()).or_default().insert(conn);
        self.live.insert(conn, Conn { role, peer, address, is_ending, phase: Phase::Serving });
    }

    /// `to` is ready to take the place of `from`, which serves until the owner has switched.
    pub(super) fn await_switch(&mut self, from: ConnId, to: ConnId) {
        if let Some(conn) = self.live.get_mut(to) {
            conn.phase = Phase::AwaitsSwitch { from };
        }
    }

    /// `to` serves from now on, because the owner has switched or nothing is left to switch from.
    pub(super) fn end_wait(&mut self, to: ConnId) {
        if let Some(conn) =
            self.live.get_mut(to).filter(|conn| matches!(conn.phase, Phase::AwaitsSwitch { .. }))
        {
            conn.phase = Phase::Serving;
        }
    }

    /// `successor` serves in the place of `conn`, which drains until then, or until its last caller has given up. False if `conn` is gone.
    pub(super) fn begin_drain(
        &mut self,
        now: Instant,
        conn: ConnId,
        successor: ConnId,
        until: impl Into<Option<Instant>>,
    ) -> bool {
        let Some(old) = self.live.get_mut(conn) else { return false };
        old.phase = Phase::Draining { since: now, successor: Some(successor) };
        self.behind.insert(successor, conn);
        if let Some(until) = until.into() {
            self.deadlines.arm(conn, until);
        }
        true
    }

    /// `successor`, established or a dial attempt, is in the place of `conn`, which is lost or overdue: what drains behind `conn`
    /// is behind `successor` from now on.
    pub(super) fn hand_over(&mut self, conn: ConnId, successor: ConnId) {
        if let Some(older) = self.behind.remove(&conn) {
            self.follow(older, successor);
        }
    }

    /// `conn` is being opened: it becomes the successor of a draining connection that has lost its own.
    pub(super) fn adopt_orphan(&mut self, conn: ConnId) {
        if let Some(orphan) = self.orphaned.pop_front() {
            self.follow(orphan, conn);
        }
    }

    /// `conn`, established or a dial attempt, has left its place. Returns the connection that has nothing behind it any
    /// more because of that.
    pub(super) fn vacate(&mut self, conn: ConnId) -> Option<ConnId> {
        let older = self.behind.remove(&conn);
        let successor = match self.live.get(conn).map(|conn| &conn.phase) {
            Some(Phase::Draining { successor, .. }) => *successor,
            Some(Phase::Serving | Phase::AwaitsSwitch { .. }) | None => None,
        };
        self.orphaned.retain(|orphan| *orphan != conn);
        if let Some(successor) = successor {
            self.behind.remove(&successor);
        }
        match (older, successor) {
            (Some(older), Some(successor)) => self.follow(older, successor),
            (Some(older), None) => self.orphan(older),
            (None, successor) => return successor,
        }
        None
    }

    /// Forgets `conn`, which must have left its place ([`vacate`](Self::vacate)).
    pub(super) fn remove(&mut self, conn: ConnId) -> Option<Conn> {
        let removed = self.live.remove(conn)?;
        self.deadlines.cancel(&conn);
        if let Some(siblings) = self.by_peer.get_mut(&removed.peer) {
            siblings.remove(&conn);
            if siblings.is_empty() {
                self.by_peer.remove(&removed.peer);
            }
        }
        Some(removed)
    }

    /// The server has closed the stream of `conn`.
    pub(super) fn note_end(&mut self, conn: ConnId) {
        if let Some(conn) = self.live.get_mut(conn) {
            conn.is_ending = true;
        }
    }

    /// A draining connection whose time is over. To be asked until there is none.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> Option<ConnId> {
        self.deadlines.fire(now)
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.deadlines.next()
    }

    pub(super) fn get(&self, conn: ConnId) -> Option<&Conn> {
        self.live.get(conn)
    }

    pub(super) fn len(&self) -> usize {
        self.live.len()
    }

    pub(super) fn contains(&self, conn: ConnId) -> bool {
        self.live.get(conn).is_some()
    }

    /// Whether `conn` takes requests: it is established, and nothing has its place.
    pub(super) fn is_serving(&self, conn: ConnId) -> bool {
        self.live.get(conn).is_some_and(Conn::is_serving)
    }

    /// For how long `conn` has been draining, if it is.
    pub(super) fn draining_for(&self, now: Instant, conn: ConnId) -> Option<Duration> {
        match self.live.get(conn)?.phase {
            Phase::Draining { since, .. } => Some(now.saturating_duration_since(since)),
            Phase::Serving | Phase::AwaitsSwitch { .. } => None,
        }
    }

    /// Whether the connection whose place `conn` has taken still drains.
    pub(super) fn is_behind_drain(&self, conn: ConnId) -> bool {
        self.behind.contains_key(&conn)
    }

    /// The connection whose place `conn` has taken, while it drains.
    pub(super) fn predecessor(&self, conn: ConnId) -> Option<ConnId> {
        self.behind.get(&conn).copied()
    }

    /// Whether `conn` is given a time to end.
    pub(super) fn has_deadline(&self, conn: ConnId) -> bool {
        self.deadlines.is_armed(&conn)
    }

    /// Whether anything is connected to `peer`.
    pub(super) fn is_connected_to(&self, peer: &Peer) -> bool {
        self.by_peer.contains_key(peer)
    }

    /// The connections to `peer` that take requests, in the order of their ids.
    pub(super) fn serving_at(&self, peer: &Peer) -> Vec<ConnId> {
        let there = self.by_peer.get(peer).into_iter().flatten().copied();
        there.filter(|conn| self.is_serving(*conn)).collect()
    }

    /// The connections to `peer` but for those that drain, in the order of their ids.
    pub(super) fn residents_of(&self, peer: &Peer) -> Vec<ConnId> {
        let there = self.by_peer.get(peer).into_iter().flatten().copied();
        there.filter(|conn| self.get(*conn).is_some_and(|conn| !conn.is_draining())).collect()
    }

    /// How many connections there are to each address.
    pub(super) fn count_by_peer(&self) -> impl Iterator<Item = (&Peer, usize)> {
        self.by_peer.iter().map(|(peer, conns)| (peer, conns.len()))
    }

    /// From now on `successor` serves in the place of `older`, which drains.
    fn follow(&mut self, older: ConnId, successor: ConnId) {
        self.behind.insert(successor, older);
        self.set_successor(older, Some(successor));
    }

    fn orphan(&mut self, older: ConnId) {
        self.set_successor(older, None);
        self.orphaned.push_back(older);
    }

    fn set_successor(&mut self, older: ConnId, now_serving: Option<ConnId>) {
        if let Some(Conn { phase: Phase::Draining { successor, .. }, .. }) = self.live.get_mut(older) {
            *successor = now_serving;
        }
    }
}

impl Conn {
    pub(super) fn role(&self) -> Role {
        self.role
    }

    pub(super) fn peer(&self) -> &Peer {
        &self.peer
    }

    pub(super) fn address(&self) -> &Peer {
        &self.address
    }

    pub(super) fn is_ending(&self) -> bool {
        self.is_ending
    }

    pub(super) fn is_serving(&self) -> bool {
        matches!(self.phase, Phase::Serving)
    }

    pub(super) fn is_draining(&self) -> bool {
        matches!(self.phase, Phase::Draining { .. })
    }

    /// The connection whose place it is to take when the owner has switched.
    pub(super) fn awaits_switch_from(&self) -> Option<ConnId> {
        match self.phase {
            Phase::AwaitsSwitch { from } => Some(from),
            Phase::Serving | Phase::Draining { .. } => None,
        }
    }
}
