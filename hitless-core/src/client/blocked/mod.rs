//! Commands that block at their server, and how they are called back from it: each a machine of its own ([`command`]).
//!
//! A command is sent in *parts*, requests of the client's own: on its connection, on the successor of that (`XREAD`), and over the
//! helper's connection, to ask about it and to have it sent away. Each part ends once, as every request does.

mod command;
#[cfg(feature = "explore")]
mod fingerprint;
mod listing;
mod reply;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;

use self::command::Command;
pub(super) use self::command::{Decision, Place};
pub(super) use self::listing::{Wanted, judge_listing, judge_unblocking};
#[cfg(feature = "driver")]
pub(super) use self::reply::has_taken;
use crate::command_table::{Blocker, Blocking};
use crate::endpoint::Peer;
use crate::error::{CloseCause, Delivery, RequestError};
use crate::ids::{ConnId, IdMap, LeaseId, RequestId};
use crate::request::{Outcome, Timeout};
use crate::timer::earliest;

/// So many addresses are remembered at which commands cannot be called back.
const PEERS: usize = 64;

/// The commands that block, by the ids that their callers know.
#[derive(Debug)]
#[cfg_attr(feature = "explore", derive(Clone))]
pub(super) struct Blocked {
    commands: IdMap<RequestId, Entry>,
    /// What was sent for them on their own connections, and has not ended.
    parts: IdMap<RequestId, Part>,
    /// What was asked about them over others, and is not answered.
    errands: IdMap<RequestId, Part>,
    /// The leases that they have or wait for.
    leases: IdMap<LeaseId, RequestId>,
    decisions: VecDeque<(RequestId, Decision)>,
    /// Servers that refuse to send commands away, or answer oddly; the latest at the end.
    unwilling: VecDeque<Peer>,
    /// Nothing is due before this instant. It is a lower bound.
    quiet_until: Option<Instant>,
}

#[derive(Clone, Debug)]
struct Entry {
    command: Command,
    lease: Option<LeaseId>,
    /// The part that counts as the command.
    main: Option<RequestId>,
    /// The PING behind that.
    probe: Option<RequestId>,
    /// The part on the successor, and the successor.
    joined: Option<(RequestId, ConnId)>,
    /// What is asked about it.
    errand: Option<RequestId>,
    /// The connection over which that was asked last. Ids belong to one proxy, and it has told this one.
    helper: Option<ConnId>,
}

/// A request that was sent for a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    of: RequestId,
    kind: PartKind,
    conn: ConnId,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum PartKind {
    /// The command itself.
    Main,
    /// The same on the successor of its connection.
    Joined,
    /// CLIENT LIST about the command on this connection.
    Ask { about: ConnId },
    /// CLIENT UNBLOCK.
    Unblock,
    /// PING on the connection of the command.
    Probe,
}

/// What the helper's connection has brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Answer {
    /// The command waits at the server, on the connection that we mean.
    Waits,
    /// It does not wait: it has not arrived yet, or its reply is on its way.
    NotYet,
    /// Whether UNBLOCK has sent it away.
    Unblocked(bool),
    /// The question was not sent.
    NotSent,
    /// There was none in this time, and what was asked for may still be done.
    Late(Duration),
    /// An error, an odd answer, or none because the connection is lost: this command cannot be called back.
    Impossible,
}

impl Part {
    pub(super) const fn new(of: RequestId, kind: PartKind, conn: ConnId) -> Self {
        Self { of, kind, conn }
    }

    /// The command.
    pub(super) fn of(self) -> RequestId {
        self.of
    }

    pub(super) fn kind(self) -> PartKind {
        self.kind
    }

    /// The connection that carries it.
    pub(super) fn conn(self) -> ConnId {
        self.conn
    }
}

impl Blocked {
    pub(super) const fn new() -> Self {
        Self {
            commands: IdMap::new(),
            parts: IdMap::new(),
            errands: IdMap::new(),
            leases: IdMap::new(),
            decisions: VecDeque::new(),
            unwilling: VecDeque::new(),
            quiet_until: None,
        }
    }

    /// A command is accepted, and its caller knows it by `id`.
    pub(super) fn accept(
        &mut self,
        now: Instant,
        id: RequestId,
        payload: Bytes,
        blocker: Blocker,
        timeout: Timeout,
        asks_last: bool,
    ) {
        let command = Command::new(now, payload, blocker, timeout, asks_last);
        self.quiet_until = earliest([self.quiet_until, command.poll_timeout()]);
        self.commands.insert(
            id,
            Entry { command, lease: None, main: None, probe: None, joined: None, errand: None, helper: None },
        );
        self.decisions.push_back((id, Decision::Wait));
    }

    /// `id` waits for `lease`.
    pub(super) fn note_wish(&mut self, id: RequestId, lease: LeaseId) {
        if let Some(entry) = self.commands.get_mut(id) {
            entry.lease = Some(lease);
            self.leases.insert(lease, id);
        }
    }

    /// `id` has a connection; `limit` is what the client allows a command beyond its time at the server.
    pub(super) fn handle_placed(&mut self, now: Instant, id: RequestId, limit: Option<Duration>) {
        self.with(id, |command, say| command.handle_placed(now, limit, say));
    }

    /// The wish of `id` for a connection has failed.
    pub(super) fn handle_refused(&mut self, id: RequestId, error: RequestError) {
        self.with(id, |command, say| command.handle_refused(error, say));
    }

    /// The successor of the connection of `id` is ready.
    pub(super) fn handle_successor(&mut self, now: Instant, id: RequestId) {
        self.with(id, |command, say| command.handle_successor(now, say));
    }

    /// The lease of `id` is lost; what was written there may still be answered.
    pub(super) fn handle_lost(&mut self, id: RequestId) {
        self.with(id, Command::handle_lost);
    }

    /// A part of a command has ended with this reply of its own. `in_window`: maintenance is under way there.
    pub(super) fn handle_outcome(&mut self, now: Instant, part: Part, outcome: Outcome, in_window: bool) {
        self.with(part.of, |command, say| match part.kind {
            PartKind::Main => command.handle_outcome(now, outcome, in_window, say),
            PartKind::Joined => command.handle_joined(outcome, say),
            PartKind::Probe => command.handle_probed(now, outcome, say),
            PartKind::Ask { .. } | PartKind::Unblock => {}
        });
    }

    /// A part of `id` finds no connection that takes it.
    pub(super) fn handle_unsent(&mut self, now: Instant, id: RequestId, kind: PartKind) {
        let error = RequestError::ConnectionLost { cause: CloseCause::Silent, delivery: Delivery::NotSent };
        self.with(id, |command, say| match kind {
            PartKind::Joined => command.handle_joined(Err(error), say),
            PartKind::Main => command.handle_outcome(now, Err(error), false, say),
            PartKind::Probe => command.handle_probed(now, Err(error), say),
            PartKind::Ask { .. } | PartKind::Unblock => command.handle_answer(now, Answer::NotSent, say),
        });
    }

    /// There is no successor to send `id` on, and its connection may stay.
    pub(super) fn handle_staying(&mut self, now: Instant, id: RequestId) {
        self.with(id, |command, say| command.handle_staying(now, say));
    }

    /// There is no connection to send `id` on again: it waits for another one.
    pub(super) fn handle_unplaced(&mut self, id: RequestId) {
        self.with(id, Command::handle_unplaced);
    }

    /// What is asked about `id` has this answer.
    pub(super) fn handle_answer(&mut self, now: Instant, id: RequestId, answer: Answer) {
        self.with(id, |command, say| command.handle_answer(now, answer, say));
    }

    /// The connection over which was asked about `id` last.
    pub(super) fn helper(&self, id: RequestId) -> Option<ConnId> {
        self.commands.get(id)?.helper
    }

    /// Nobody waits for `id` any more. False if it is no command that blocks.
    pub(super) fn handle_dropped(&mut self, id: RequestId) -> bool {
        if self.commands.get(id).is_none_or(|entry| !entry.command.is_wanted()) {
            return false;
        }
        self.with(id, Command::handle_dropped);
        true
    }

    /// The client shuts down: what waits is called back.
    pub(super) fn handle_shutdown(&mut self) {
        self.with_all(Command::handle_shutdown);
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if self.quiet_until.is_none_or(|at| at > now) {
            return;
        }
        self.with_all(|command, say| command.handle_timeout(now, say));
        self.quiet_until = earliest(self.commands.iter().map(|(_, entry)| entry.command.poll_timeout()));
    }

    /// The next decision. To be obeyed at once.
    pub(super) fn poll_decision(&mut self) -> Option<(RequestId, Decision)> {
        self.decisions.pop_front()
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.quiet_until
    }

    /// A window is open: extends the time of what was sent on `conn`.
    pub(super) fn relax(&mut self, lease: LeaseId, relaxed: Duration) {
        let id = self.leases.get(lease).copied();
        if let Some(entry) = id.and_then(|id| self.commands.get_mut(id)) {
            entry.command.relax(relaxed);
            self.quiet_until = earliest([self.quiet_until, entry.command.poll_timeout()]);
        }
    }

    /// `request` is a part of a command.
    pub(super) fn note_part(&mut self, request: RequestId, part: Part) {
        let Some(entry) = self.commands.get_mut(part.of) else { return };
        let parts = match part.kind {
            PartKind::Ask { .. } | PartKind::Unblock => &mut self.errands,
            PartKind::Main | PartKind::Joined | PartKind::Probe => &mut self.parts,
        };
        match part.kind {
            PartKind::Main => entry.main = Some(request),
            PartKind::Joined => entry.joined = Some((request, part.conn)),
            PartKind::Ask { .. } | PartKind::Unblock => {
                (entry.errand, entry.helper) = (Some(request), Some(part.conn));
            }
            PartKind::Probe => entry.probe = Some(request),
        }
        parts.insert(request, part);
    }

    /// Whether a shared connection may bring an answer about a command.
    #[inline]
    pub(super) fn has_errands(&self) -> bool {
        !self.errands.is_empty()
    }

    /// `request` has ended. Returns what it was if the command still waits for that.
    pub(super) fn end_part(&mut self, request: RequestId) -> Option<Option<Part>> {
        let part = self.parts.remove(request);
        let mut part = part.or_else(|| self.errands.remove(request))?;
        let Some(entry) = self.commands.get_mut(part.of) else { return Some(None) };
        if entry.main.take_if(|main| *main == request).is_some() {
            // It may have begun as the one on the successor.
            part.kind = PartKind::Main;
            return Some(Some(part));
        }
        let is_probe = entry.probe.take_if(|probe| *probe == request).is_some();
        let is_joined = entry.joined.take_if(|(joined, _)| *joined == request).is_some();
        let is_errand = entry.errand.take_if(|errand| *errand == request).is_some();
        Some((is_probe || is_joined || is_errand).then_some(part))
    }

    /// The part on the successor is the command from now on.
    pub(super) fn take_over(&mut self, id: RequestId) {
        if let Some(entry) = self.commands.get_mut(id) {
            entry.main = entry.joined.take().map(|(request, _)| request);
        }
    }

    /// Takes the part on the successor out.
    pub(super) fn take_joined(&mut self, id: RequestId) -> Option<(RequestId, ConnId)> {
        let joined = self.commands.get_mut(id)?.joined.take()?;
        self.parts.remove(joined.0);
        Some(joined)
    }

    /// `id` uses its lease no more. Returns that, and what has not ended on its connection, with that connection.
    pub(super) fn take_lease(&mut self, id: RequestId) -> (Option<LeaseId>, Vec<(RequestId, ConnId)>) {
        let Some(entry) = self.commands.get_mut(id) else { return (None, Vec::new()) };
        let (lease, left) = (entry.lease.take(), [entry.main.take(), entry.probe.take()]);
        lease.map(|lease| self.leases.remove(lease));
        let left = left.into_iter().flatten();
        (lease, left.filter_map(|part| Some((part, self.parts.remove(part)?.conn))).collect())
    }

    /// Forgets `id` if it has ended and uses nothing any more; true if so.
    pub(super) fn forget_if_over(&mut self, id: RequestId) -> bool {
        let is_over = |entry: &Entry| entry.command.is_over() && entry.lease.is_none();
        let is_said = self.decisions.iter().all(|(other, _)| *other != id);
        is_said && self.commands.get(id).is_some_and(is_over) && self.commands.remove(id).is_some()
    }

    /// Commands cannot be called back from `peer`.
    pub(super) fn note_unwilling(&mut self, peer: &Peer) {
        if !self.is_unwilling(peer) {
            self.unwilling.push_back(peer.clone());
            if self.unwilling.len() > PEERS {
                self.unwilling.pop_front();
            }
        }
    }

    // ---- reading

    pub(super) fn is_unwilling(&self, peer: &Peer) -> bool {
        self.unwilling.contains(peer)
    }

    /// The command that has or waits for `lease`.
    pub(super) fn of_lease(&self, lease: LeaseId) -> Option<RequestId> {
        self.leases.get(lease).copied()
    }

    pub(super) fn lease(&self, id: RequestId) -> Option<LeaseId> {
        self.commands.get(id)?.lease
    }

    /// The successor on which `id` was sent as well.
    pub(super) fn successor(&self, id: RequestId) -> Option<ConnId> {
        Some(self.commands.get(id)?.joined?.1)
    }

    pub(super) fn blocker(&self, id: RequestId) -> Option<&Blocker> {
        Some(self.commands.get(id)?.command.blocker())
    }

    /// See [`Command::payload`].
    pub(super) fn payload(&self, id: RequestId, left: Option<Duration>) -> Option<(Bytes, Option<Blocking>)> {
        self.commands.get(id)?.command.payload(left)
    }

    /// Whether the command that has `lease` may still have to be called back.
    pub(super) fn may_need_helper(&self, lease: LeaseId) -> bool {
        let entry = self.of_lease(lease).and_then(|id| self.commands.get(id));
        entry.is_some_and(|entry| entry.command.may_need_helper())
    }

    /// Whether the command that has `lease` waits at its server.
    pub(super) fn is_sent(&self, lease: LeaseId) -> bool {
        let entry = self.of_lease(lease).and_then(|id| self.commands.get(id));
        entry.is_some_and(|entry| entry.command.is_sent())
    }

    /// Whether no command is left, dropped ones included.
    pub(super) fn is_empty(&self) -> bool {
        self.commands.is_empty()
    }

    /// Commands whose callers wait.
    pub(super) fn waiting(&self) -> usize {
        self.commands.iter().filter(|(_, entry)| entry.command.is_wanted()).count()
    }

    /// Requests that nobody has asked for, or that nobody waits for any more.
    pub(super) fn own_requests(&self) -> usize {
        self.parts.len() + self.errands.len() + self.commands.len() - self.waiting()
    }

    fn with(&mut self, id: RequestId, change: impl FnOnce(&mut Command, &mut Vec<Decision>)) {
        let Some(entry) = self.commands.get_mut(id) else { return };
        let mut said = Vec::new();
        change(&mut entry.command, &mut said);
        self.quiet_until = earliest([self.quiet_until, entry.command.poll_timeout()]);
        self.decisions.extend(said.into_iter().map(|decision| (id, decision)));
    }

    fn with_all(&mut self, mut change: impl FnMut(&mut Command, &mut Vec<Decision>)) {
        let all: Vec<RequestId> = self.commands.iter().map(|(id, _)| id).collect();
        for id in all {
            self.with(id, &mut change);
        }
    }
}
