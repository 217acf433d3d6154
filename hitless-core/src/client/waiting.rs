//! Commands that block: each has a dedicated connection while it waits, which a move takes along without losing anything.
//!
//! The client holds a lease for each of them, so that they wait in the same line as everybody else, within the same limits. What
//! is asked of the server about them goes over a shared connection to the same address, the *helper*: one that has been cut over stays for
//! that until the last command has left.

use std::time::{Duration, Instant};

use resp3_codec::{Command, Frame, cmd};

#[cfg(feature = "driver")]
use super::blocked::has_taken;
use super::blocked::{Answer, Decision, Part, PartKind, Place, Wanted, judge_listing, judge_unblocking};
use super::leases::Holding;
use super::owner::Owner;
use super::{Action, Client};
use crate::config::Protocol;
use crate::connection::Connection;
use crate::error::{CloseCause, Delivery, LeaseError, Refusal, RequestError, is_unblocked};
use crate::event::Event;
use crate::ids::{ConnId, LeaseId, RequestId};
use crate::request::{Orphan, Outcome, Replies, Request, SendError};
use crate::windows::effective_timeout;

impl Client {
    /// Accepts a command that blocks.
    pub(super) fn send_blocking(
        &mut self,
        now: Instant,
        since: Instant,
        request: Request,
    ) -> Result<RequestId, SendError> {
        let Some(blocker) = request.blocker() else { return Err(SendError::NeedsLease(request)) };
        if self.requests.room(Some(0)) == 0 || self.leases.is_crowded() {
            return Err(SendError::Full(request));
        }
        let id = self.requests.accept_apart();
        // Elsewhere a server of the cluster may have elements, so that nil is for a server to say.
        let asks_last = self.config.is_node();
        self.blocked.accept(since.min(now), id, request.payload, blocker, request.timeout, asks_last);
        self.settle(now);
        Ok(id)
    }

    /// Obeys what the commands that block have decided, until they are quiet.
    pub(super) fn obey_blocked(&mut self, now: Instant) {
        while let Some((id, decision)) = self.blocked.poll_decision() {
            self.obey_command(now, id, decision);
            self.obey_all(now);
            self.forget_blocked(id);
        }
    }

    /// A lease is granted: if a command that blocks has wished for it, that is sent. True if it was one.
    pub(super) fn place_blocked(&mut self, now: Instant, lease: LeaseId) -> bool {
        let Some(id) = self.blocked.of_lease(lease) else { return false };
        self.note_placed(now, id);
        self.obey_blocked(now);
        true
    }

    /// There is no connection for a command that blocks. False if `lease` is somebody else's.
    pub(super) fn refuse_blocked(&mut self, lease: LeaseId, error: &LeaseError) -> bool {
        let Some(id) = self.blocked.of_lease(lease) else { return false };
        let delivery = Delivery::NotSent;
        let error = match error.clone() {
            LeaseError::NoConnection { endpoint, cause, after } => {
                RequestError::NoConnection { endpoint, cause, after, delivery }
            }
            LeaseError::TimedOut { after } => RequestError::NotLent { after, delivery },
            LeaseError::Full | LeaseError::ShutDown => RequestError::ShutDown { delivery },
        };
        self.blocked.handle_refused(id, error);
        self.blocked.take_lease(id);
        true
    }

    /// A request of the client's own has ended, which was sent for a command that blocks. Gives it back if it was somebody's.
    pub(super) fn end_part(&mut self, request: RequestId, outcome: Outcome) -> Result<(), Outcome> {
        let Some(part) = self.blocked.end_part(request) else { return Err(outcome) };
        let Some(part) = part else { return Ok(()) };
        let now = self.now;
        match part.kind() {
            PartKind::Main | PartKind::Joined | PartKind::Probe => {
                // Another node of the cluster may run what this one refuses.
                let in_window =
                    self.coordinator.relaxed(now, Some(part.conn())).is_some() && !self.config.is_node();
                self.blocked.handle_outcome(now, part, outcome, in_window);
            }
            PartKind::Ask { about } => {
                let answer =
                    self.judge(part, &outcome, |client, reply| client.judge_listing(part.of(), about, reply));
                self.blocked.handle_answer(now, part.of(), answer);
            }
            PartKind::Unblock => {
                let answer = self.judge(part, &outcome, |_, reply| judge_unblocking(reply));
                self.blocked.handle_answer(now, part.of(), answer);
            }
        }
        Ok(())
    }

    /// The holder of a lease loses it. True if that is a command that blocks.
    pub(super) fn lose_blocked(&mut self, lease: LeaseId) -> bool {
        let Some(id) = self.blocked.of_lease(lease) else { return false };
        self.blocked.handle_lost(id);
        true
    }

    /// A successor of `conn` is ready: the command that waits there is called back.
    pub(super) fn call_back(&mut self, now: Instant, seat: usize, conn: ConnId) {
        let id = self.leases.holder(seat, conn).and_then(|lease| self.blocked.of_lease(lease));
        if let Some(id) = id {
            self.blocked.handle_successor(now, id);
        }
    }

    /// `conn` has answered everything. True if it stays, until the last command that waits at its server has left.
    pub(super) fn stays_as_helper(&mut self, conn: ConnId) -> bool {
        // Without a move nothing is called back from there for a while, and no deadline would end it.
        let is_shared = matches!(self.links.owner(conn), Some(Owner::Slot(_)));
        let is_leaving = is_shared && self.coordinator.is_being_replaced(conn);
        if !is_leaving || !self.is_helper_needed(conn) {
            return false;
        }
        let peer = self.coordinator.peer(conn);
        let has_other = self.helpers.iter().any(|other| {
            *other != conn && self.links.contains(*other) && self.coordinator.peer(*other) == peer
        });
        if !has_other && !self.helpers.contains(&conn) {
            self.helpers.push(conn);
        }
        !has_other
    }

    /// Lets helpers go that nobody needs any more.
    pub(super) fn release_helpers(&mut self, now: Instant) {
        let mut at = 0;
        while let Some(conn) = self.helpers.get(at).copied() {
            let is_busy = self.links.connection(conn).is_some_and(|connection| connection.requests() > 0);
            if is_busy || (self.links.contains(conn) && self.is_helper_needed(conn)) {
                at += 1;
                continue;
            }
            self.helpers.swap_remove(at);
            self.coordinator.handle_drained(now, conn);
            self.obey_all(now);
        }
    }

    /// A window concerns `conn`.
    pub(super) fn relax_blocked(&mut self, conn: ConnId, relaxed: Option<Duration>) {
        if let (Some(Owner::Seat(seat)), Some(relaxed)) = (self.links.owner(conn), relaxed)
            && let Some(lease) = self.leases.holder(seat, conn)
        {
            self.blocked.relax(lease, relaxed);
        }
    }

    /// Whether a command waits at its server on `conn`.
    pub(super) fn is_blocking(&self, conn: ConnId) -> bool {
        match self.links.owner(conn) {
            Some(Owner::Subscriptions) => true,
            Some(Owner::Seat(seat)) => {
                self.leases.holder(seat, conn).is_some_and(|lease| self.blocked.is_sent(lease))
            }
            Some(Owner::Slot(_)) | None => false,
        }
    }

    fn obey_command(&mut self, now: Instant, id: RequestId, decision: Decision) {
        match decision {
            Decision::Wait => {
                let limit =
                    effective_timeout(self.config.lease_timeout(), self.coordinator.relaxed(now, None));
                let lease = self.leases.rejoin(now, limit);
                self.blocked.note_wish(id, lease);
            }
            Decision::Issue(left) => self.issue(now, id, left),
            Decision::Join(left) => self.join(now, id, left),
            Decision::Leave => {
                if let Some((request, to)) = self.blocked.take_joined(id) {
                    self.cancel_part(now, request);
                    self.release(now, to, CloseCause::ByClient);
                }
            }
            Decision::TakeOver => self.blocked.take_over(id),
            Decision::Ask(place) => self.ask(now, id, place),
            Decision::Unblock => self.unblock(now, id),
            Decision::Probe => self.probe(now, id),
            Decision::MoveOn { may_stay, is_verified } => self.move_on(now, id, may_stay, is_verified),
            Decision::Return { may_stay } => self.return_blocked(now, id, may_stay),
            Decision::Complete(outcome) => self.complete_blocked(id, outcome),
            Decision::CompleteEmpty => {
                let nil = match self.config.protocol() {
                    Protocol::Resp2 => Frame::NullArray,
                    Protocol::Resp3 => Frame::Null,
                };
                self.complete_blocked(id, Ok(Replies::from_iter([nil])));
            }
            Decision::Orphan(replies) => self.hand_out_orphan(id, replies),
        }
    }

    /// The connection that `id` has.
    fn conn_of(&self, id: RequestId) -> Option<ConnId> {
        match self.leases.holding(self.blocked.lease(id)?) {
            Holding::Connection(conn) => Some(conn),
            Holding::Lost(_) | Holding::Nothing => None,
        }
    }

    fn note_placed(&mut self, now: Instant, id: RequestId) {
        let relaxed = self.conn_of(id).and_then(|conn| self.coordinator.relaxed(now, Some(conn)));
        let limit = effective_timeout(self.config.command_timeout(), relaxed);
        self.blocked.handle_placed(now, id, limit);
    }

    fn issue(&mut self, now: Instant, id: RequestId, left: Option<Duration>) {
        let sent = self.conn_of(id).zip(self.blocked.payload(id, left));
        let Some((conn, (payload, blocking))) = sent else {
            return self.blocked.handle_unsent(now, id, PartKind::Main);
        };
        let part = Part::new(id, PartKind::Main, conn);
        self.send_part(now, part, Request::apart(payload, blocking));
    }

    fn join(&mut self, now: Instant, id: RequestId, left: Option<Duration>) {
        let to = self.blocked.lease(id).and_then(|lease| self.leases.successor(lease));
        if let (Some(conn), Some((payload, blocking))) = (to, self.blocked.payload(id, left)) {
            let part = Part::new(id, PartKind::Joined, conn);
            self.send_part(now, part, Request::apart(payload, blocking));
        } else {
            self.blocked.handle_unsent(now, id, PartKind::Joined);
        }
    }

    fn probe(&mut self, now: Instant, id: RequestId) {
        match self.conn_of(id) {
            Some(conn) => {
                let part = Part::new(id, PartKind::Probe, conn);
                // The server answers it behind the command, which may wait once more.
                let blocking = self.blocked.blocker(id).and_then(|blocker| blocker.time);
                self.send_part(now, part, Request::probe(blocking));
            }
            None => self.blocked.handle_unsent(now, id, PartKind::Probe),
        }
    }

    /// Asks the server whether `id` waits there.
    fn ask(&mut self, now: Instant, id: RequestId, place: Place) {
        let about = match place {
            Place::Here => self.conn_of(id),
            Place::There => self.blocked.successor(id),
        };
        let client_id = about.and_then(|about| self.links.client_id(about));
        match about.zip(client_id) {
            Some((about, client_id)) => {
                let command = cmd("CLIENT").arg("LIST").arg("ID").arg(client_id);
                match self.find_helper(about) {
                    Some(helper) => self.run_errand(now, id, helper, PartKind::Ask { about }, command),
                    None => self.blocked.handle_answer(now, id, Answer::Impossible),
                }
            }
            None => self.blocked.handle_answer(now, id, Answer::Impossible),
        }
    }

    fn unblock(&mut self, now: Instant, id: RequestId) {
        let client_id = self.conn_of(id).and_then(|about| self.links.client_id(about));
        // Over the connection that has shown it waiting: another one may lead to another proxy, where the id is somebody else's.
        let takes = |conn: &ConnId| self.links.connection(*conn).is_some_and(Connection::takes_own);
        match self.blocked.helper(id).filter(takes).zip(client_id) {
            Some((helper, client_id)) => {
                let command = cmd("CLIENT").arg("UNBLOCK").arg(client_id).arg("ERROR");
                self.run_errand(now, id, helper, PartKind::Unblock, command);
            }
            None => self.blocked.handle_answer(now, id, Answer::NotSent),
        }
    }

    /// Has the connection `helper` say `command` about the command `id`.
    fn run_errand(&mut self, now: Instant, id: RequestId, helper: ConnId, kind: PartKind, command: Command) {
        let request = Request::own(command.into_bytes());
        let accepted = self.requests.accept(now, request, self.config.command_timeout());
        let (request, deadline) = (accepted.id, accepted.deadline());
        self.blocked.note_part(request, Part::new(id, kind, helper));
        match self.links.enqueue_own(helper, accepted) {
            Ok(ticket) => {
                self.requests.enqueued(request, deadline, helper, ticket);
                self.flush(helper);
            }
            Err(accepted) => self.fail_on_lease(accepted),
        }
    }

    /// A shared connection to the address of `about`, preferably one that is cut over: behind a virtual address the others may lead to
    /// the new node.
    fn find_helper(&self, about: ConnId) -> Option<ConnId> {
        let peer = self.coordinator.peer(about)?;
        if self.blocked.is_unwilling(peer) {
            return None;
        }
        let is_there = |conn: &ConnId| {
            matches!(self.links.owner(*conn), Some(Owner::Slot(_)))
                && self.coordinator.peer(*conn) == Some(peer)
        };
        let takes = |conn: &ConnId| self.links.connection(*conn).is_some_and(Connection::takes_own);
        let serves = |conn: &ConnId| self.links.connection(*conn).is_some_and(Connection::is_serving);
        self.links.ids().filter(|conn| is_there(conn) && takes(conn)).min_by_key(|conn| serves(conn))
    }

    /// Whether a command waits at the server of `conn`, or may soon: on a dedicated connection that has not left.
    fn is_helper_needed(&self, conn: ConnId) -> bool {
        let Some(peer) = self.coordinator.peer(conn) else { return false };
        if self.blocked.is_unwilling(peer) {
            return false;
        }
        self.is_called_back_by(conn)
            || self.leases.idle().any(|idle| self.coordinator.peer(idle) == Some(peer))
    }

    /// Whether a command waits at the server of `conn`, and may have to be called back.
    pub(super) fn is_called_back_by(&self, conn: ConnId) -> bool {
        let peer = self.coordinator.peer(conn);
        let mut blocked = self.leases.lent().filter(|(lease, _)| self.blocked.may_need_helper(*lease));
        blocked.any(|(_, conn)| self.coordinator.peer(conn) == peer)
    }

    /// The command did not run, and is to be sent again.
    fn move_on(&mut self, now: Instant, id: RequestId, may_stay: bool, is_verified: bool) {
        let to = self.blocked.lease(id).and_then(|lease| self.leases.successor(lease));
        if let (Some(from), Some(_)) = (self.conn_of(id), to) {
            self.coordinator.handle_switched(now, from);
            self.obey_all(now);
            if self.conn_of(id).is_some_and(|conn| conn != from) {
                return self.note_placed(now, id);
            }
        }
        if may_stay && self.conn_of(id).is_some() {
            return match is_verified {
                true => self.note_placed(now, id),
                false => self.blocked.handle_staying(now, id),
            };
        }
        self.return_blocked(now, id, false);
        self.blocked.handle_unplaced(id);
    }

    fn return_blocked(&mut self, now: Instant, id: RequestId, may_stay: bool) {
        let (lease, left) = self.blocked.take_lease(id);
        for (request, _) in &left {
            self.cancel_part(now, *request);
        }
        if let Some(lease) = lease {
            self.give_back(now, lease, may_stay && left.is_empty());
        }
        // Also where the lease was lost before: a server that still had it waiting would give it an element that nobody gets.
        if let Some((_, conn)) = left.first() {
            self.release(now, *conn, CloseCause::ByClient);
        }
    }

    fn forget_blocked(&mut self, id: RequestId) {
        if self.blocked.forget_if_over(id) {
            self.requests.complete(id);
        }
    }

    fn complete_blocked(&mut self, id: RequestId, outcome: Outcome) {
        if matches!(outcome, Err(RequestError::TimedOut { .. } | RequestError::NotLent { .. })) {
            self.emit(Event::RequestTimedOut { conn: self.conn_of(id) });
        }
        // Its id is in use until nothing is left of it.
        self.actions.push_back(Action::Complete { request: id, outcome });
    }

    fn hand_out_orphan(&mut self, id: RequestId, replies: Replies) {
        if let Some(command) = self.blocked.blocker(id).map(|blocker| blocker.name) {
            self.orphan(command, replies);
        }
    }

    /// The caller has dropped the replies of `command` unread. The elements that it removed are handed to `on_orphan`; replies without
    /// elements are given back.
    #[cfg(feature = "driver")]
    pub(crate) fn handle_unread(
        &mut self,
        now: Instant,
        command: &'static str,
        replies: Replies,
    ) -> Option<Replies> {
        if !has_taken(replies.first()) {
            return Some(replies);
        }
        self.orphan(command, replies);
        self.settle(now);
        None
    }

    fn orphan(&mut self, command: &'static str, replies: Replies) {
        let Some(reply) = replies.into_iter().next() else { return };
        self.emit(Event::Orphaned { command });
        self.actions.push_back(Action::Orphaned(Orphan { command, reply }));
    }

    /// Sends a part of a command on a connection that it has for itself. It has no time of its own: the command has.
    fn send_part(&mut self, now: Instant, part: Part, request: Request) {
        let accepted = self.requests.accept(now, request, None);
        let request = accepted.id;
        self.blocked.note_part(request, part);
        match self.links.enqueue(now, part.conn(), accepted) {
            Ok(ticket) => {
                self.requests.enqueued(request, None, part.conn(), ticket);
                self.flush(part.conn());
            }
            Err(accepted) => self.fail_on_lease(accepted),
        }
    }

    /// Nobody wants the replies of a part.
    fn cancel_part(&mut self, now: Instant, request: RequestId) {
        if let Some((conn, ticket)) = self.requests.cancel(request)
            && let Some(connection) = self.links.connection_mut(conn)
        {
            connection.cancel(ticket);
            self.drain_events(now, conn);
        }
    }

    /// What the end of an errand says.
    fn judge(
        &mut self,
        part: Part,
        outcome: &Outcome,
        answer: impl FnOnce(&Self, &Frame) -> Answer,
    ) -> Answer {
        let reply = match outcome.as_ref().map(|replies| replies.first()) {
            Ok(Some(reply)) => reply,
            Err(error) if error.delivery() == Delivery::NotSent => return Answer::NotSent,
            Err(RequestError::TimedOut { after, .. }) => return Answer::Late(*after),
            Ok(None) | Err(_) => return Answer::Impossible,
        };
        if reply.as_error().is_some_and(passes) {
            return Answer::NotSent;
        }
        if reply.as_error().is_some_and(is_unblocked) {
            return Answer::Late(Duration::ZERO);
        }
        let answer = answer(self, reply);
        if answer == Answer::Impossible
            && reply.is_error()
            && let Some(peer) = self.coordinator.peer(part.conn())
        {
            self.blocked.note_unwilling(peer);
        }
        answer
    }

    fn judge_listing(&self, id: RequestId, about: ConnId, reply: &Frame) -> Answer {
        let client_id = self.links.client_id(about);
        let Some((client_id, blocker)) = client_id.zip(self.blocked.blocker(id)) else {
            return Answer::NotYet;
        };
        let client_name = self.config.client_name().unwrap_or_default();
        let database = self.config.database();
        judge_listing(reply, Wanted { client_id, command: blocker.name, client_name, database })
    }
}

/// Whether an error says that the server can run nothing for now. It has not run the command, and it may be asked again.
fn passes(error: &[u8]) -> bool {
    Refusal::of_code(error).is_some() || error.starts_with(b"BUSY ") || error.starts_with(b"TRYAGAIN ")
}
