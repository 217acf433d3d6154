//! Clients that wait for an element: served in the order in which they came.

use std::time::Instant;

use bytes::Bytes;
use resp3_codec::Frame;

use super::super::backend::{Effect, Effects};
use super::super::machine::{EndpointId, ServerConn};
use super::super::request::Request;
use super::Dataset;
use super::lists::{nothing_popped, take};
use super::session::{Blocked, Session, Side};
use super::store::Db;

/// To one that `CLIENT UNBLOCK .. ERROR` has sent away.
const UNBLOCKED: &[u8] = b"UNBLOCKED client unblocked via CLIENT UNBLOCK";
/// To those who wait at a node that is a master no longer.
const FORCED: &[u8] =
    b"UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)";

/// How a waiting client is sent away by another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UnblockReason {
    /// As if its time were over.
    Timeout,
    /// With `-UNBLOCKED`.
    Error,
}

impl Dataset {
    /// The session is not in the table during the call, hence the parameter.
    pub(super) fn block(&mut self, conn: ServerConn, session: &mut Session, blocked: Blocked) {
        for key in &blocked.keys {
            let queue = self.waiting.entry((blocked.db, key.clone())).or_default();
            if !queue.contains(&conn) {
                queue.push_back(conn);
            }
        }
        if let Some(until) = blocked.until {
            self.deadlines.insert((until, conn));
        }
        session.blocked = Some(blocked);
    }

    /// Takes a client out of all queues; what it waited for, if it waited.
    pub(super) fn unblock(&mut self, conn: ServerConn) -> Option<Blocked> {
        let blocked = self.sessions.get_mut(&conn)?.blocked.take()?;
        for key in &blocked.keys {
            let key = (blocked.db, key.clone());
            if let Some(queue) = self.waiting.get_mut(&key) {
                queue.retain(|waiting| *waiting != conn);
                if queue.is_empty() {
                    self.waiting.remove(&key);
                }
            }
        }
        if let Some(until) = blocked.until {
            self.deadlines.remove(&(until, conn));
        }
        self.resumable.push_back(conn);
        Some(blocked)
    }

    /// A key was touched: those who wait for it get what it holds, the first comer first.
    pub(super) fn serve(&mut self, now: Instant, db: Db, key: &Bytes, effects: &mut Effects) {
        while let Some(conn) = self.waiting.get(&(db, key.clone())).and_then(|queue| queue.front().copied()) {
            if !matches!(self.store.list(now, db, key), Ok(Some(_))) {
                return;
            }
            let Some(blocked) = self.unblock(conn) else { return };
            let popped = self.store.change_list(now, db, key, |list| take(list, blocked.side));
            if let Ok(Some(element)) = popped {
                let frame = Frame::Array(vec![Frame::Bulk(key.clone()), Frame::Bulk(element)]);
                self.answer_blocked(conn, blocked, frame, effects);
            }
        }
    }

    pub(super) fn on_block_timeout(&mut self, conn: ServerConn, effects: &mut Effects) {
        if let Some(blocked) = self.unblock(conn) {
            let frame =
                self.sessions.get(&conn).map_or(Frame::Null, |session| nothing_popped(session.protocol));
            self.answer_blocked(conn, blocked, frame, effects);
        }
    }

    /// `CLIENT UNBLOCK`: ids are those of one endpoint. Whether somebody was waiting.
    pub(super) fn unblock_by_id(
        &mut self,
        endpoint: EndpointId,
        id: i64,
        reason: UnblockReason,
        effects: &mut Effects,
    ) -> bool {
        let found = self.sessions.iter().find(|(_, session)| {
            session.endpoint == endpoint && session.id == id && session.blocked.is_some()
        });
        let Some((conn, session)) = found.map(|(conn, session)| (*conn, session)) else { return false };
        if let Some(held_up) = session.blocked.as_ref().filter(|blocked| blocked.is_held_up) {
            let request = held_up.request.clone();
            return Self::deny_held_up(conn, request, reason, effects);
        }
        match reason {
            UnblockReason::Timeout => self.on_block_timeout(conn, effects),
            UnblockReason::Error => self.refuse_blocked(conn, UNBLOCKED, effects),
        }
        true
    }

    /// A pause holds the request of the session up, which is not in the table during the call.
    pub(super) fn hold_up(
        &mut self,
        conn: ServerConn,
        session: &mut Session,
        request: &Request,
        effects: &mut Effects,
    ) {
        let request = request.clone();
        effects.push_back(Effect::HeldUp { conn, request: request.clone() });
        let (db, side) = (session.db, Side::Left);
        self.block(
            conn,
            session,
            Blocked { request, db, keys: Vec::new(), side, until: None, is_held_up: true },
        );
    }

    /// The pause of an endpoint is over: what it has held up runs.
    pub(super) fn resume(&mut self, now: Instant, endpoint: EndpointId, effects: &mut Effects) {
        let is_held_up = |session: &Session| session.blocked.as_ref().is_some_and(|it| it.is_held_up);
        let there = self.sessions.iter().filter(|(_, session)| session.endpoint == endpoint);
        let conns: Vec<ServerConn> =
            there.filter(|(_, session)| is_held_up(session)).map(|(conn, _)| *conn).collect();
        for conn in conns {
            if let Some(Blocked { request, .. }) = self.unblock(conn) {
                effects.push_back(Effect::Resumed { conn, request: request.clone() });
                self.execute(now, conn, &request, effects);
            }
        }
    }

    /// What a server before 7.2 does with one that is held up (seen with 7.0.15): it says `-UNBLOCKED`, and goes on to hold the command up. Without
    /// `ERROR` it crashes; here nothing happens.
    fn deny_held_up(
        conn: ServerConn,
        request: Request,
        reason: UnblockReason,
        effects: &mut Effects,
    ) -> bool {
        if reason == UnblockReason::Error {
            let frame = Frame::Error(Bytes::from_static(UNBLOCKED));
            effects.push_back(Effect::Reply { conn, request, frame });
        }
        reason == UnblockReason::Error
    }

    /// The node is no longer a master: whoever waits there is sent away.
    pub(super) fn send_blocked_away(&mut self, endpoint: EndpointId, effects: &mut Effects) {
        let there = |session: &Session| session.endpoint == endpoint && session.blocked.is_some();
        let conns: Vec<ServerConn> =
            self.sessions.iter().filter(|(_, session)| there(session)).map(|(conn, _)| *conn).collect();
        for conn in conns {
            self.refuse_blocked(conn, FORCED, effects);
        }
    }

    /// Not entered in the ledger: it did not run.
    pub(super) fn refuse_blocked(&mut self, conn: ServerConn, text: impl Into<Bytes>, effects: &mut Effects) {
        if let Some(blocked) = self.unblock(conn) {
            let frame = Frame::Error(text.into());
            effects.push_back(Effect::Reply { conn, request: blocked.request, frame });
        }
    }

    fn answer_blocked(&self, conn: ServerConn, blocked: Blocked, frame: Frame, effects: &mut Effects) {
        let Some(session) = self.sessions.get(&conn) else { return };
        effects.push_back(Effect::Executed { conn, request: blocked.request.clone(), ok: true });
        effects.push_back(Effect::Reply { conn, request: blocked.request, frame: session.fit(frame) });
    }
}
