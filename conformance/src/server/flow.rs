//! The way of bytes through a server: requests in, effects out, closes and timers.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use resp3_codec::Frame;

use super::backend::{Backend, Effect, Protocol, Turn};
use super::config::{EndpointSpec, Hello};
use super::connection::{Connection, Notifications, OwnAnswer};
use super::faults::Fault;
use super::ledger::{ClosedBy, Event};
use super::machine::{CloseHow, DialRefused, EndpointId, Listening, ServerConn, ServerMachine};
use super::request::Request;
use super::{Server, Timer};

impl<B: Backend> ServerMachine for Server<B> {
    fn endpoints(&self) -> Vec<EndpointId> {
        (0..self.endpoints.len()).filter_map(|index| u32::try_from(index).ok()).map(EndpointId).collect()
    }

    fn address(&self, endpoint: EndpointId) -> SocketAddr {
        self.endpoints[endpoint.index()].spec.address
    }

    fn set_address(&mut self, endpoint: EndpointId, address: SocketAddr) {
        let spec = &mut self.endpoints[endpoint.index()].spec;
        spec.address = address;
        self.backend.place(endpoint, address, spec.host.as_deref());
    }

    fn listening(&self, now: Instant, endpoint: EndpointId) -> Listening {
        self.endpoints[endpoint.index()].listening(now)
    }

    fn accept(&mut self, now: Instant, endpoint: EndpointId) -> Result<ServerConn, DialRefused> {
        let listening = self.listening(now, endpoint);
        match listening {
            Listening::Accepting => {}
            Listening::Refusing | Listening::BlackHole => {
                self.ledger.add(now, endpoint, None, Event::Dialled(listening));
                let refused = listening == Listening::Refusing;
                return Err(if refused { DialRefused::Refused } else { DialRefused::Unanswered });
            }
        }
        let conn = ServerConn(self.next_conn);
        self.next_conn += 1;
        self.ledger.add(now, endpoint, Some(conn), Event::Dialled(listening));
        self.connections.insert(conn, Connection::new(endpoint));
        if let Some(life) = self.endpoints[endpoint.index()].life(now) {
            self.timers.insert((now + life, Timer::Close(conn)));
        }
        self.backend.open(now, conn, endpoint);
        Ok(conn)
    }

    fn handle_bytes(&mut self, now: Instant, conn: ServerConn, bytes: &[u8]) {
        if let Some(connection) = self.connections.get_mut(&conn) {
            connection.parser.extend(bytes);
        }
        // Looked up again for each request: the one before may have closed the connection.
        while let Some(connection) = self.connections.get_mut(&conn).filter(|connection| connection.is_live())
        {
            match connection.parser.poll_request() {
                Ok(Some(request)) => self.on_request(now, conn, request),
                Ok(None) => break,
                Err(error) => {
                    self.write_reply(now, conn, &Frame::Error(Bytes::from(error.0)), Duration::ZERO);
                    self.close(now, conn, CloseHow::Fin);
                }
            }
            self.settle(now);
        }
    }

    fn handle_disconnect(&mut self, now: Instant, conn: ServerConn) {
        let Some(connection) = self.connections.remove(&conn) else { return };
        if connection.is_live() {
            self.ledger.add(now, connection.endpoint, Some(conn), Event::Closed(ClosedBy::Client));
            self.backend.close(now, conn, &mut self.effects);
            self.settle(now);
        }
    }

    fn poll_ready(&mut self) -> Option<ServerConn> {
        while let Some(conn) = self.ready.pop_front() {
            if let Some(connection) = self.connections.get_mut(&conn) {
                connection.queued = false;
                if connection.outbox.is_ready() {
                    return Some(conn);
                }
            }
        }
        None
    }

    fn poll_transmit(&mut self, conn: ServerConn, buf: &mut BytesMut) -> bool {
        self.connections.get_mut(&conn).is_some_and(|connection| connection.outbox.transmit(buf))
    }

    fn poll_close(&mut self) -> Option<(ServerConn, CloseHow)> {
        if let Some(closed) = self.closed.pop_front() {
            return Some(closed);
        }
        let connections = &self.connections;
        self.closing.retain(|conn| connections.contains_key(conn));
        let at = self.closing.iter().position(|conn| connections[conn].outbox.is_empty())?;
        let conn = self.closing.swap_remove(at);
        let how = self.connections.remove(&conn)?.closing?;
        Some((conn, how))
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let own = self.timers.first().map(|(at, _)| *at);
        let backend = self.backend.poll_timeout();
        own.into_iter().chain(backend).min()
    }

    fn handle_timeout(&mut self, now: Instant) {
        while self.timers.first().is_some_and(|(at, _)| *at <= now) {
            match self.timers.pop_first() {
                Some((_, Timer::Release(conn))) => self.release(now, conn),
                Some((_, Timer::Retire(id))) => self.on_retired(now, id),
                Some((_, Timer::CloseMove(id))) => self.on_move_over(now, id),
                Some((_, Timer::Message(number))) => self.on_message_due(now, number),
                Some((_, Timer::Close(conn))) => self.close(now, conn, CloseHow::Fin),
                Some((_, Timer::Listen(_))) | None => {}
            }
        }
        self.backend.handle_timeout(now, &mut self.effects);
        self.settle(now);
    }

    fn upstream(&self) -> Option<SocketAddr> {
        self.backend.upstream()
    }

    fn poll_upstream_transmit(&mut self, conn: ServerConn, buf: &mut BytesMut) -> bool {
        self.backend.poll_upstream_transmit(conn, buf)
    }

    fn handle_upstream_bytes(&mut self, now: Instant, conn: ServerConn, bytes: &[u8]) {
        self.backend.handle_upstream_bytes(now, conn, bytes, &mut self.effects);
        self.settle(now);
    }

    fn handle_upstream_disconnect(&mut self, now: Instant, conn: ServerConn) {
        self.close(now, conn, CloseHow::Fin);
        self.settle(now);
    }
}

impl<B: Backend> Server<B> {
    fn on_request(&mut self, now: Instant, conn: ServerConn, request: Request) {
        let Some(connection) = self.connections.get_mut(&conn) else { return };
        let endpoint = connection.endpoint;
        self.ledger.received(now, endpoint, conn, &request);
        let own = match self.rules.on_request(now, endpoint, conn, &request) {
            Some(Fault::CloseUnexecuted(how)) => return self.close(now, conn, how),
            Some(Fault::Refuse(frame)) => Some(OwnAnswer::Frame(frame)),
            _ => own_answer(&self.endpoints[endpoint.index()].spec, &request),
        };
        let turn = if own.is_some() { Turn::Announce } else { Turn::Execute };
        connection.own_answers.extend(own);
        self.backend.request(now, conn, request, turn, &mut self.effects);
    }

    /// Carries out what the backend did, until nothing is left to carry out.
    pub(super) fn settle(&mut self, now: Instant) {
        while let Some(effect) = self.effects.pop_front() {
            match effect {
                Effect::Reply { conn, request, frame } => self.reply(now, conn, &request, &frame),
                Effect::Push { conn, frame } => self.pass_on(now, conn, frame),
                Effect::Raw { conn, bytes } => {
                    self.write(now, conn, Duration::ZERO, |buf| buf.extend_from_slice(&bytes))
                }
                Effect::Turn { conn, request, refusal } => self.on_turn(now, conn, &request, refusal),
                Effect::Executed { conn, request, ok } => {
                    if let Some(connection) = self.connections.get(&conn) {
                        self.ledger.executed(now, connection.endpoint, conn, request, ok);
                    }
                }
                Effect::HeldUp { conn, request } => self.on_pause(now, conn, Event::HeldUp(request)),
                Effect::Resumed { conn, request } => self.on_pause(now, conn, Event::Resumed(request)),
                Effect::Reset { conn } => {
                    if let Some(connection) = self.connections.get_mut(&conn) {
                        connection.notifications = Notifications::Off;
                    }
                }
                Effect::Close { conn, how } => self.close(now, conn, how),
            }
        }
    }

    fn on_pause(&mut self, now: Instant, conn: ServerConn, event: Event) {
        if let Some(connection) = self.connections.get(&conn) {
            self.ledger.paused(now, connection.endpoint, conn, event);
        }
    }

    /// Writes a message of a subscription, sooner or later.
    fn pass_on(&mut self, now: Instant, conn: ServerConn, frame: Frame) {
        let Some(connection) = self.connections.get(&conn) else { return };
        let delay = self.endpoints[connection.endpoint.index()].spec.message_delay;
        if delay.is_zero() {
            return self.write_reply(now, conn, &frame, Duration::ZERO);
        }
        // Not in the outbox: what is answered meanwhile overtakes it.
        let number = self.next_message;
        self.next_message += 1;
        self.messages.insert(number, (conn, frame));
        self.timers.insert((now + delay, Timer::Message(number)));
    }

    fn on_message_due(&mut self, now: Instant, number: u64) {
        if let Some((conn, frame)) = self.messages.remove(&number) {
            self.write_reply(now, conn, &frame, Duration::ZERO);
        }
    }

    fn on_turn(&mut self, now: Instant, conn: ServerConn, request: &Request, refusal: Option<Frame>) {
        let own = self.connections.get_mut(&conn).and_then(|connection| connection.own_answers.pop_front());
        match (own, refusal) {
            (None, _) => {}
            (Some(OwnAnswer::Frame(frame)), _) | (Some(OwnAnswer::OptIn), Some(frame)) => {
                self.reply(now, conn, request, &frame);
            }
            (Some(OwnAnswer::OptIn), None) => self.answer_opt_in(now, conn, request),
        }
    }

    /// Answers a request, unless a fault strikes the answer.
    pub(super) fn reply(&mut self, now: Instant, conn: ServerConn, request: &Request, frame: &Frame) {
        let Some(connection) = self.connections.get(&conn) else { return };
        let mut delay = Duration::ZERO;
        let (mut before, mut instead, mut after, mut close) = (Vec::new(), None, Vec::new(), None);
        for fault in self.rules.on_reply(now, connection.endpoint, conn, request) {
            match fault {
                Fault::Before(bytes) => before.push(bytes),
                Fault::After(bytes) => after.push(bytes),
                Fault::Instead(frame) => instead = Some(frame),
                Fault::Delay(extra) => delay += extra,
                Fault::CloseAnswered(how) => close = Some(how),
                Fault::CloseUnanswered(how) => return self.close(now, conn, how),
                Fault::Unanswered => return,
                // These strike when the request arrives.
                Fault::Refuse(_) | Fault::CloseUnexecuted(_) => {}
            }
        }
        let frame = self.adorned(now, conn, instead.as_ref().unwrap_or(frame));
        self.write(now, conn, delay, |buf| {
            before.iter().for_each(|bytes| buf.extend_from_slice(bytes));
            frame.encode(buf);
            after.iter().for_each(|bytes| buf.extend_from_slice(bytes));
        });
        if let Some(how) = close {
            self.close(now, conn, how);
        }
    }

    /// Writes a frame in its place among the replies.
    pub(super) fn write_reply(&mut self, now: Instant, conn: ServerConn, frame: &Frame, delay: Duration) {
        let frame = self.adorned(now, conn, frame);
        self.write(now, conn, delay, |buf| frame.encode(buf));
    }

    /// The frame as this endpoint sends it now: with attributes, or as it is.
    pub(super) fn adorned<'a>(&self, now: Instant, conn: ServerConn, frame: &'a Frame) -> Cow<'a, Frame> {
        let endpoint =
            self.connections.get(&conn).map(|connection| &self.endpoints[connection.endpoint.index()]);
        let adorns = endpoint.is_some_and(|endpoint| endpoint.adorns.lasts(now));
        if !adorns || self.backend.protocol(conn) == Protocol::Resp2 {
            return Cow::Borrowed(frame);
        }
        let mut frame = frame.clone();
        if let Frame::Array(elements) | Frame::Push(elements) = &mut frame
            && let Some(last) = elements.pop()
        {
            elements.push(with_attribute(last));
        }
        Cow::Owned(with_attribute(frame))
    }

    /// Writes in its place among the replies, as late as the endpoint is slow.
    pub(super) fn write(
        &mut self,
        now: Instant,
        conn: ServerConn,
        delay: Duration,
        fill: impl FnOnce(&mut BytesMut),
    ) {
        let Some(connection) = self.connections.get_mut(&conn).filter(|connection| connection.is_live())
        else {
            return;
        };
        let latency = self.endpoints[connection.endpoint.index()].latency(now) + delay;
        let at = connection.held_until.map_or(now + latency, |until| until.max(now + latency));
        fill(connection.outbox.buffer(now, at));
        self.arm(conn);
    }

    /// Writes ahead of delayed replies, as notifications of a proxy do.
    pub(super) fn write_urgent(&mut self, now: Instant, conn: ServerConn, fill: impl FnOnce(&mut BytesMut)) {
        let Some(connection) = self.connections.get_mut(&conn).filter(|connection| connection.is_live())
        else {
            return;
        };
        match connection.held_until.filter(|until| *until > now) {
            Some(until) => fill(connection.outbox.buffer(now, until)),
            None => fill(connection.outbox.urgent()),
        }
        self.arm(conn);
    }

    /// Queues the connection if it has bytes that leave now, and sets the timer of those that leave later.
    pub(super) fn arm(&mut self, conn: ServerConn) {
        let Some(connection) = self.connections.get_mut(&conn) else { return };
        if connection.outbox.is_ready() && !connection.queued {
            connection.queued = true;
            self.ready.push_back(conn);
        }
        if let Some(at) = connection.outbox.next_release() {
            self.timers.insert((at, Timer::Release(conn)));
        }
    }

    fn release(&mut self, now: Instant, conn: ServerConn) {
        if let Some(connection) = self.connections.get_mut(&conn) {
            connection.outbox.release(now);
            self.arm(conn);
        }
    }

    /// Closes a connection. In order: what is due still leaves. At once: nothing does.
    pub(super) fn close(&mut self, now: Instant, conn: ServerConn, how: CloseHow) {
        let Some(connection) = self.connections.get_mut(&conn).filter(|connection| connection.is_live())
        else {
            return;
        };
        connection.closing = Some(how);
        self.ledger.add(now, connection.endpoint, Some(conn), Event::Closed(ClosedBy::Server));
        self.backend.close(now, conn, &mut self.effects);
        match how {
            CloseHow::Fin => self.closing.push(conn),
            CloseHow::Reset => {
                self.connections.remove(&conn);
                self.closed.push_back((conn, how));
            }
        }
    }
}

/// The frame behind an attribute.
fn with_attribute(frame: Frame) -> Frame {
    let attributes = vec![(Frame::bulk("key-popularity"), Frame::Integer(90))];
    Frame::Attribute { attributes, value: Box::new(frame) }
}

/// What the server answers instead of its backend.
fn own_answer(spec: &EndpointSpec, request: &Request) -> Option<OwnAnswer> {
    if request.is("CLIENT MAINT_NOTIFICATIONS") {
        return Some(OwnAnswer::OptIn);
    }
    if spec.answers_pings && request.is("PING") && request.words().len() == 1 {
        return Some(OwnAnswer::Frame(Frame::Simple(Bytes::from_static(b"PONG"))));
    }
    if !request.is("HELLO") {
        return None;
    }
    match spec.hello {
        Hello::Supported => None,
        Hello::Unknown => Some(OwnAnswer::Frame(Frame::Error(Bytes::from(unknown_command(request))))),
        Hello::NoProto if request.key().is_none_or(|version| &version[..] == b"2") => None,
        Hello::NoProto => {
            Some(OwnAnswer::Frame(Frame::Error(Bytes::from_static(b"NOPROTO unsupported protocol version"))))
        }
    }
}

/// The words of redis 7 for a command that it does not know; they repeat the arguments.
pub(super) fn unknown_command(request: &Request) -> String {
    let shorten = |bytes: &[u8]| String::from_utf8_lossy(&bytes[..bytes.len().min(128)]).into_owned();
    let mut args = String::new();
    for arg in request.words().iter().skip(1) {
        if args.len() >= 128 {
            break;
        }
        args.push_str(&format!("'{}' ", shorten(arg)));
    }
    format!("ERR unknown command '{}', with args beginning with: {args}", shorten(request.name()))
}
