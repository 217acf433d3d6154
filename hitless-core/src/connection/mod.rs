//! One socket's protocol: the handshake, then requests and replies in order, deadlines, pushes, and a drain.
//!
//! Frames and facts come in by `handle_*`, bytes go out by [`poll_transmit`](Connection::poll_transmit), everything else
//! by [`poll_event`](Connection::poll_event). Every method is total: after the end they are no-ops.
//!
//! # State by state
//!
#![doc = include_str!("../../docs/connection.md")]

mod accepted;
mod event;
#[cfg(feature = "explore")]
mod fingerprint;
mod pipeline;
mod silence;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use resp3_codec::{Command, Frame};

pub use self::accepted::Accepted;
pub(crate) use self::accepted::deferral;
use self::accepted::did_not_run;
pub use self::event::{Answer, ConnectionEvent};
pub use self::pipeline::Ticket;
pub(crate) use self::pipeline::is_pong;
use self::pipeline::{Matched, Own, PARTS, Pipeline};
use self::silence::Silence;
use crate::config::{Config, Credentials};
use crate::endpoint::Peer;
use crate::error::{CloseCause, Delivery, ProtocolError, Refusal, RequestError, is_unblocked};
use crate::handshake::{self, Handshake, Probe, Progress, Resp3, judge_auth, judge_opt_in};
use crate::ids::RequestId;
use crate::notification::Notification;
use crate::pubsub::Push;
use crate::request::{LARGE, Outcome, Replay, Request};
use crate::timer::earliest;
use crate::write_buffer::WriteBuffer;

/// The fewest frames in a part over TLS: the callers of each part write together, and each write is a record for both ends to encrypt and
/// decrypt. In `bench client --link encrypted`, 16 callers on one thread, parts of 8 had 1.5 times the rate of parts of 4 (a quarter of
/// the replies, as without TLS), at 0.7 of the processor time.
const ENCRYPTED_BATCH: usize = 8;
/// What a handshake is allocated with: enough for most.
const HANDSHAKE: usize = 512;

#[derive(Clone, Debug)]
enum Phase {
    Negotiating(Handshake),
    Ready,
    Draining,
    Closed,
}

/// One socket's protocol.
#[cfg_attr(feature = "explore", derive(Clone))]
pub struct Connection {
    phase: Phase,
    is_encrypted: bool,
    handshake_bytes: BytesMut,
    /// Known once the handshake is done.
    resp3: Option<Resp3>,
    /// The opt-in, until no request is under way.
    opt_in: Option<Bytes>,
    /// AUTH with other credentials, until it is written.
    auth: Option<Bytes>,
    /// Commands of the subscriptions that are not taken yet; absent on connections that carry none.
    subscribing: Option<VecDeque<Bytes>>,
    pipeline: Pipeline,
    relaxed: Option<Duration>,
    /// The latest refusal was the answer to something that was written inside a window, or came inside one.
    was_refused_in_window: bool,
    silence: Silence,
    /// A request has got a reply that is no error.
    has_answered: bool,
    /// The server tells what has changed of what was read here.
    tracks: bool,
    /// Another server may run what this one refuses.
    is_node: bool,
    events: VecDeque<ConnectionEvent>,
}

impl Connection {
    /// A connection whose socket was just connected to `peer`; the handshake waits to be written.
    #[must_use]
    pub fn new(config: &Arc<Config>, probe: Probe, peer: &Peer) -> Self {
        Self::with_credentials(config, config.credentials().cloned(), probe, peer)
    }

    /// The same, whose handshake authenticates with `credentials` instead of those of the configuration.
    #[must_use]
    pub fn with_credentials(
        config: &Arc<Config>,
        credentials: Option<Credentials>,
        probe: Probe,
        peer: &Peer,
    ) -> Self {
        let mut handshake_bytes = BytesMut::with_capacity(HANDSHAKE);
        let handshake = Handshake::begin(config, credentials, probe, peer, &mut handshake_bytes);
        Self {
            phase: Phase::Negotiating(handshake),
            is_encrypted: config.tls(),
            handshake_bytes,
            resp3: None,
            opt_in: None,
            auth: None,
            subscribing: None,
            pipeline: Pipeline::new(),
            relaxed: None,
            was_refused_in_window: false,
            silence: Silence::new(config.dead_link_timeout()),
            has_answered: false,
            tracks: false,
            is_node: config.is_node(),
            events: VecDeque::new(),
        }
    }

    /// Takes a request.
    ///
    /// # Errors
    /// Gives it back if the connection is not ready, or is draining or closed.
    pub fn enqueue(&mut self, accepted: Accepted) -> Result<Ticket, Accepted> {
        if self.is_serving() { Ok(self.push(accepted)) } else { Err(accepted) }
    }

    /// The place of the request that is accepted next, if the connection takes requests.
    #[inline]
    pub(crate) fn next_ticket(&self) -> Option<Ticket> {
        self.is_serving().then(|| self.pipeline.next_ticket())
    }

    /// Accepts `request` at a place that is [`next_ticket`](Self::next_ticket). Returns its deadline. `configured` is the client's command timeout.
    #[inline]
    pub(crate) fn accept(
        &mut self,
        since: Instant,
        id: RequestId,
        request: Request,
        configured: Option<Duration>,
    ) -> Option<Instant> {
        let deadline = accepted::deadline(&request, since, configured, self.relaxed);
        self.pipeline.push(Accepted::until(deadline, since, id, request));
        deadline
    }

    fn push(&mut self, mut accepted: Accepted) -> Ticket {
        if let Some(relaxed) = self.relaxed {
            accepted.relax(relaxed);
        }
        self.pipeline.push(accepted)
    }

    /// Takes a request of the client itself, which concerns the server behind this link, so that it comes while the connection drains,
    /// too.
    pub(crate) fn enqueue_own(&mut self, accepted: Accepted) -> Result<Ticket, Accepted> {
        if self.takes_own() { Ok(self.push(accepted)) } else { Err(accepted) }
    }

    /// Cancels a request; true if it was here. If it was written, the connection swallows its replies when they come,
    /// so that the others stay in order.
    pub fn cancel(&mut self, ticket: Ticket) -> bool {
        let was_here = self.pipeline.cancel(ticket);
        self.give_up_if_dead();
        was_here
    }

    /// The socket takes bytes: requests that wait to be written and are overdue fail instead. Call it before
    /// [`poll_transmit`](Self::poll_transmit), which hands out the others.
    pub fn handle_writable(&mut self, now: Instant) {
        for accepted in self.pipeline.take_due_unsent(now) {
            self.time_out(accepted, false);
        }
    }

    /// It is `now`: from here on silence is counted, if a reply is owed and nothing came since the last instant.
    pub(crate) fn note_time(&mut self, now: Instant) {
        if !self.pipeline.is_drained() {
            self.silence.begin(now);
        }
    }

    /// The process could not read for `late` before `now`: the silence of that time says nothing of the link.
    pub(crate) fn forget_silence(&mut self, now: Instant, late: Duration) {
        self.silence.leave_out(now, late);
    }

    /// Opts in by `command`, on a connection whose handshake did not. The command waits until no request is under way:
    /// if the link dies at it, no reply is lost. Does nothing unless the connection speaks RESP3.
    pub(crate) fn opt_in(&mut self, command: Command) {
        if self.resp3.is_some() && self.is_serving() {
            self.opt_in = Some(command.into_bytes());
        }
    }

    /// Does not opt in, if that was not written yet. True if it was to be.
    pub(crate) fn withdraw_opt_in(&mut self) -> bool {
        self.opt_in.take().is_some()
    }

    /// Authenticates with other credentials, once the handshake is done: AUTH is written between two requests, none of which is
    /// cut in two, and [`Authenticated`](ConnectionEvent::Authenticated) is the answer. Does nothing on a connection that drains
    /// or has ended. A call before the last one was written takes its place.
    pub fn authenticate(&mut self, credentials: &Credentials) {
        match self.phase {
            Phase::Negotiating(_) | Phase::Ready => {
                self.auth = Some(handshake::auth(credentials).into_bytes());
            }
            Phase::Draining | Phase::Closed => {}
        }
    }

    /// The connection carries subscriptions, and no requests.
    pub(crate) fn carry_subscriptions(&mut self) {
        self.subscribing.get_or_insert_default();
    }

    /// Whether it was made to carry subscriptions.
    #[cfg(feature = "driver")]
    pub(crate) fn carries_subscriptions(&self) -> bool {
        self.subscribing.is_some()
    }

    /// The handshake turns tracking on, as it is configured, or fails.
    pub(crate) fn track(&mut self) {
        if let Phase::Negotiating(handshake) = &mut self.phase {
            handshake.track();
            self.tracks = true;
        }
    }

    /// Writes a command of the subscriptions, which has one answer: a reply, or the push by which
    /// [`confirm`](Self::confirm) is called. Does nothing on a connection that takes nothing more.
    pub(crate) fn write(&mut self, command: Bytes) {
        if let (Some(subscribing), Phase::Ready) = (&mut self.subscribing, &self.phase) {
            subscribing.push_back(command);
        }
    }

    /// A push has answered the oldest command of the subscriptions.
    pub(crate) fn confirm(&mut self) {
        if self.pipeline.confirm() {
            self.settle_drain();
        }
    }

    /// A frame was received.
    pub fn handle_frame(&mut self, frame: Frame) {
        // A client calls `answer` itself. Calling it here too lets the tests of a connection cover it.
        let mut answer = None;
        let other = self.answer_with(&mut std::iter::once(frame), |it| answer = Some(it));
        if let Some(answer) = answer {
            self.complete(answer.request, answer.into_outcome());
        }
        let Some(frame) = other else { return };
        self.handle_received();
        // The type decides first: a push is never the reply to a request.
        let frame = self.typed(frame);
        if !frame.is_push() {
            return self.on_reply(frame);
        }
        if let Some(elements) = frame.into_array() {
            self.on_push(elements);
        }
    }

    /// These frames were received: `answered` is told of the requests that end by one value each, and no event says so. Returns the first frame that is
    /// something else, for [`handle_frame`](Self::handle_frame), and leaves those behind it. While events are left, every frame counts as something else.
    #[inline]
    pub(crate) fn answer(
        &mut self,
        frames: &mut impl Iterator<Item = Frame>,
        answered: impl FnMut(Answer),
    ) -> Option<Frame> {
        if self.events.is_empty() { self.answer_with(frames, answered) } else { frames.next() }
    }

    #[inline]
    fn answer_with(
        &mut self,
        frames: &mut impl Iterator<Item = Frame>,
        mut answered: impl FnMut(Answer),
    ) -> Option<Frame> {
        let is_usual = matches!(self.phase, Phase::Ready) && !self.silence.is_dead;
        let mut has_answered = false;
        let other = loop {
            let Some(reply) = frames.next() else { break None };
            let is_value = is_usual && !reply.is_push() && !reply.is_error();
            let Some((request, command)) = is_value.then(|| self.pipeline.answer()).flatten() else {
                break Some(reply);
            };
            has_answered = true;
            answered(Answer { request, reply, command });
        };
        if has_answered {
            self.silence.end();
            self.has_answered = true;
        }
        other
    }

    /// Bytes were received, even if they complete no frame yet: the server is alive.
    pub fn handle_received(&mut self) {
        if self.silence.end() && matches!(self.phase, Phase::Ready) {
            self.events.push_back(ConnectionEvent::Heard);
        }
    }

    /// The socket is closed, or will be: nothing more comes. Requests that may be sent again come back, the others fail.
    pub fn handle_closed(&mut self, cause: CloseCause) {
        if matches!(self.phase, Phase::Closed) {
            return;
        }
        self.phase = Phase::Closed;
        self.handshake_bytes.clear();
        (self.opt_in, self.auth, self.subscribing) = (None, None, None);
        // Only the reply to the oldest request can be what we could not read: no other link would bring a better one.
        let is_ours = matches!(cause, CloseCause::Protocol(error) if error != ProtocolError::Unblocked);
        if let Some(mut accepted) = is_ours.then(|| self.pipeline.take_oldest()).flatten() {
            accepted.lose_reply();
            self.return_or_fail(accepted, false, cause);
        }
        for mut accepted in self.pipeline.take_written() {
            let repeatable = accepted.may_be_replayed();
            accepted.lose_reply();
            self.return_or_fail(accepted, repeatable, cause);
        }
        for accepted in self.pipeline.take_unsent() {
            let repeatable = accepted.request.replay != Replay::Never;
            self.return_or_fail(accepted, repeatable, cause);
        }
    }

    /// Time has passed. Calling it too early does nothing.
    pub fn handle_timeout(&mut self, now: Instant) {
        for (accepted, written) in self.pipeline.take_due(now) {
            self.time_out(accepted, written);
        }
        // A handshake has a limit of its own.
        if !self.pipeline.is_drained() && self.silence.judge(now, self.pipeline.blocking()) {
            self.events.push_back(ConnectionEvent::Silent);
            self.return_unsent();
        }
        self.give_up_if_dead();
    }

    /// A window has opened or closed. Opening extends the deadlines of all requests here; closing shortens none. A
    /// refusal of a request that was under way when the window closed still counts as one inside the window.
    pub fn retime(&mut self, relaxed: Option<Duration>) {
        let before = std::mem::replace(&mut self.relaxed, relaxed);
        self.silence.retime(relaxed);
        match relaxed {
            Some(relaxed) => self.pipeline.relax(relaxed),
            None if before.is_some() => self.pipeline.close_window(),
            None => {}
        }
    }

    /// Takes no more requests. Those that were not written come back; the others wait for their replies.
    pub fn drain(&mut self) {
        if !matches!(self.phase, Phase::Ready) {
            return;
        }
        self.phase = Phase::Draining;
        (self.opt_in, self.auth) = (None, None);
        if let Some(subscribing) = &mut self.subscribing {
            subscribing.clear();
        }
        self.return_unsent();
        self.settle_drain();
        self.give_up_if_dead();
    }

    /// Appends what there is to write, at most 64 KiB and the rest of one request; true if there was anything. What it
    /// appends counts as written: the server may run it.
    pub fn poll_transmit(&mut self, buffer: &mut WriteBuffer) -> bool {
        if !self.handshake_bytes.is_empty() {
            buffer.push(&std::mem::take(&mut self.handshake_bytes).freeze());
            return true;
        }
        // Each request is whole: those before are written, and the others are not begun.
        if let Some(command) = self.auth.take_if(|_| matches!(self.phase, Phase::Ready)) {
            buffer.push(&command);
            self.pipeline.expect_own(Own::Auth);
            return true;
        }
        if let Some(command) = self.opt_in.take_if(|_| self.pipeline.len() == 0) {
            buffer.push(&command);
            self.pipeline.expect_own(Own::OptIn);
            return true;
        }
        match self.phase {
            Phase::Ready if self.subscribing.is_some() => self.transmit_subscriptions(buffer),
            Phase::Draining if self.subscribing.is_some() => false,
            // A connection that drains has requests of the client itself, and no others.
            Phase::Ready | Phase::Draining => self.pipeline.transmit(buffer),
            Phase::Negotiating(_) | Phase::Closed => false,
        }
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<ConnectionEvent> {
        self.events.pop_front()
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do, or a little earlier.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let owes = !self.pipeline.is_drained();
        let dead_at = self.silence.deadline(self.pipeline.blocking()).filter(|_| owes);
        earliest([self.pipeline.poll_timeout(), dead_at])
    }

    /// True if requests may be enqueued.
    #[must_use]
    pub fn is_serving(&self) -> bool {
        matches!(self.phase, Phase::Ready) && !self.silence.is_dead
    }

    /// True if requests of the client itself may be enqueued.
    pub(crate) fn takes_own(&self) -> bool {
        matches!(self.phase, Phase::Ready | Phase::Draining) && !self.silence.is_dead
    }

    /// True if [`poll_transmit`](Self::poll_transmit) has something to append.
    #[must_use]
    pub fn has_unsent(&self) -> bool {
        let opts_in = self.opt_in.is_some() && self.pipeline.len() == 0;
        let authenticates = self.auth.is_some() && matches!(self.phase, Phase::Ready);
        let subscribes = self.subscribing.as_ref().is_some_and(|unsent| !unsent.is_empty());
        !self.handshake_bytes.is_empty()
            || self.pipeline.has_unsent()
            || opts_in
            || authenticates
            || subscribes
    }

    /// True if the opt-in was written and not yet answered: if the link dies now, the opt-in may be why.
    #[must_use]
    pub fn awaits_opt_in(&self) -> bool {
        matches!(&self.phase, Phase::Negotiating(handshake) if handshake.awaits_opt_in())
    }

    /// Whether a window was open when the latest refusal came, or when what it answers was written.
    pub(crate) const fn was_refused_in_window(&self) -> bool {
        self.was_refused_in_window
    }

    /// True if a request has got a reply that is no error: behind this link is a server that works.
    #[must_use]
    pub fn has_answered(&self) -> bool {
        self.has_answered
    }

    /// True if the server tells what has changed of what was read here.
    pub(crate) const fn tracks(&self) -> bool {
        self.tracks
    }

    /// The same, and it has answered something.
    pub(crate) const fn vouches(&self) -> bool {
        self.tracks && self.has_answered
    }

    /// Requests here, waiting or written. A cancelled request that was written counts until its replies are in.
    #[must_use]
    pub fn requests(&self) -> usize {
        self.pipeline.len()
    }

    /// Those of them that were written, and that nobody waits for any more: cancelled or timed out, their replies are still to come.
    #[must_use]
    pub fn abandoned(&self) -> usize {
        self.pipeline.abandoned()
    }

    /// True if nobody waits for anything that may still come.
    pub(crate) fn is_idle(&self) -> bool {
        self.pipeline.len() == 0 || (self.silence.is_dead && !self.pipeline.is_awaited())
    }

    /// Bytes of the requests that wait to be written.
    #[must_use]
    pub fn unsent_bytes(&self) -> usize {
        self.pipeline.unsent_bytes()
    }

    /// True if a large request is here, waiting or written.
    pub(crate) fn has_large(&self) -> bool {
        self.pipeline.has_large()
    }

    /// Replies that are still to come for what was written.
    #[must_use]
    pub fn awaited(&self) -> usize {
        self.pipeline.awaited()
    }

    /// How many frames to hand in at a time, 2 to 64, and over TLS no fewer than 8: about a quarter of the replies that are awaited. A
    /// caller that has its reply may send the next request, and the server works on that while the other replies are handed in. Of a
    /// node of a cluster it is all of them: next requests go to other nodes, which have work meanwhile, and each part would cost writes to all.
    #[must_use]
    pub fn batch(&self) -> usize {
        let batch = self.pipeline.batch(if self.is_node { 1 } else { PARTS });
        if self.is_encrypted { batch.max(ENCRYPTED_BATCH) } else { batch }
    }

    /// RESP2 has no type for pushes. Who subscribes to nothing gets no such array but as a reply.
    fn typed(&self, frame: Frame) -> Frame {
        let is_possible = self.subscribing.is_some() && self.resp3.is_none();
        match frame {
            Frame::Array(elements) if is_possible && Push::is_one(&elements) => Frame::Push(elements),
            frame => frame,
        }
    }

    fn transmit_subscriptions(&mut self, buffer: &mut WriteBuffer) -> bool {
        let Some(subscribing) = &mut self.subscribing else { return false };
        let limit = buffer.len() + LARGE;
        let mut any = false;
        while buffer.len() < limit {
            let Some(command) = subscribing.pop_front() else { break };
            buffer.push(&command);
            self.pipeline.expect_own(Own::Subscribing);
            any = true;
        }
        any
    }

    fn on_push(&mut self, elements: Vec<Frame>) {
        if matches!(self.phase, Phase::Closed) {
            return;
        }
        self.events.push_back(match Notification::parse(&elements) {
            Ok(Some(notification)) => ConnectionEvent::Notified { notification, elements },
            Ok(None) => ConnectionEvent::Pushed(elements),
            Err(error) => ConnectionEvent::Malformed(error),
        });
    }

    fn on_reply(&mut self, reply: Frame) {
        match &mut self.phase {
            Phase::Closed => {}
            Phase::Negotiating(handshake) => {
                match handshake.handle_reply(&reply, &mut self.handshake_bytes) {
                    Ok(Progress::Pending | Progress::Write) => {}
                    Ok(Progress::Done(negotiated)) => {
                        self.resp3 = handshake.resp3();
                        let lacks_readonly = handshake.lacks_readonly();
                        self.phase = Phase::Ready;
                        self.events.extend(lacks_readonly.then_some(ConnectionEvent::ReadonlyRefused));
                        self.events.push_back(ConnectionEvent::Ready(negotiated));
                    }
                    Err(error) => {
                        self.phase = Phase::Closed;
                        self.events.push_back(ConnectionEvent::HandshakeFailed(error));
                    }
                }
            }
            Phase::Ready | Phase::Draining => self.on_reply_to_request(reply),
        }
    }

    fn on_reply_to_request(&mut self, reply: Frame) {
        let error = reply.as_error();
        // Its second reply would be taken for that of the next request.
        let is_unproved = error.is_some_and(is_unblocked) && !self.pipeline.is_next_proved();
        let refusal = error.and_then(Refusal::of_error);
        if refusal.is_some() {
            self.was_refused_in_window = self.relaxed.is_some() || self.pipeline.next_has_outlived_window();
        }
        match self.pipeline.reply(reply) {
            Matched::Complete { mut accepted, replies, outlived_window } => {
                self.has_answered = self.has_answered || replies.iter().any(|reply| !reply.is_error());
                // The notification that closed the window may have come over another connection, ahead of this
                // older reply.
                let in_window = self.relaxed.is_some() || outlived_window;
                let event = if self.is_node && accepted.may_run_elsewhere(&replies) {
                    ConnectionEvent::Deferred { accepted: Box::new(accepted), replies }
                } else if in_window && !self.is_node && accepted.may_run_later(&replies) {
                    if !replies.iter().all(did_not_run) {
                        accepted.note_partly_run();
                    }
                    ConnectionEvent::Deferred { accepted: Box::new(accepted), replies }
                } else {
                    ConnectionEvent::Completed { id: accepted.id, outcome: Ok(replies) }
                };
                self.events.push_back(event);
                self.note_refusal(refusal);
                self.settle_drain();
            }
            Matched::Own(own, reply) => {
                self.events.extend(match own {
                    Own::OptIn => {
                        self.resp3.map(|proof| ConnectionEvent::OptedIn(judge_opt_in(proof, &reply)))
                    }
                    Own::Auth => Some(ConnectionEvent::Authenticated(judge_auth(&reply))),
                    Own::Subscribing => Some(ConnectionEvent::Answered(reply)),
                });
                self.settle_drain();
            }
            Matched::Nothing => {
                // Also of a request that nobody waits for any more.
                self.note_refusal(refusal);
                self.settle_drain();
            }
            Matched::Stray => {
                let cause = CloseCause::Protocol(ProtocolError::UnexpectedReply);
                self.events.push_back(ConnectionEvent::Failed(cause));
            }
        }
        if is_unproved {
            let cause = CloseCause::Protocol(ProtocolError::Unblocked);
            self.events.push_back(ConnectionEvent::Failed(cause));
        }
    }

    fn note_refusal(&mut self, refusal: Option<Refusal>) {
        if let Some(refusal) = refusal {
            self.events.push_back(ConnectionEvent::Refused(refusal));
        }
    }

    fn time_out(&mut self, accepted: Accepted, written: bool) {
        let delivery = if written { Delivery::Unknown } else { accepted.delivery() };
        let after = accepted.timeout();
        self.complete(accepted.id, Err(RequestError::TimedOut { after, delivery }));
    }

    fn return_unsent(&mut self) {
        let unsent = self.pipeline.take_unsent();
        self.events.extend(unsent.map(returned));
    }

    /// A link that counts as dead and is replaced is kept for those who still wait for a reply, and for nobody else.
    fn give_up_if_dead(&mut self) {
        if matches!(self.phase, Phase::Draining) && self.silence.is_dead && !self.pipeline.is_awaited() {
            self.events.push_back(ConnectionEvent::Failed(CloseCause::Silent));
        }
    }

    fn settle_drain(&mut self) {
        if matches!(self.phase, Phase::Draining) && self.pipeline.len() == 0 {
            self.events.push_back(ConnectionEvent::Drained);
        }
    }

    fn return_or_fail(&mut self, accepted: Accepted, repeatable: bool, cause: CloseCause) {
        if repeatable {
            self.events.push_back(returned(accepted));
            return;
        }
        let delivery = accepted.delivery();
        let error = match cause {
            CloseCause::MoveDeadline => RequestError::MoveDeadline { delivery },
            CloseCause::ShutDown => RequestError::ShutDown { delivery },
            cause => RequestError::ConnectionLost { cause, delivery },
        };
        self.complete(accepted.id, Err(error));
    }

    fn complete(&mut self, id: RequestId, outcome: Outcome) {
        self.events.push_back(ConnectionEvent::Completed { id, outcome });
    }
}

/// Shows how many bytes the handshake has, not which: a password is among them.
impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("phase", &self.phase)
            .field("handshake_bytes", &self.handshake_bytes.len())
            .field("opt_in", &self.opt_in)
            .field("authenticates", &self.auth.is_some())
            .field("pipeline", &self.pipeline)
            .field("relaxed", &self.relaxed)
            .field("silence", &self.silence)
            .field("events", &self.events)
            .finish_non_exhaustive()
    }
}

fn returned(accepted: Accepted) -> ConnectionEvent {
    ConnectionEvent::Returned { accepted: Box::new(accepted) }
}
