//! Clients that wait for an element: served in the order in which they came.

use std::time::Instant;

use bytes::Bytes;
use resp3_codec::Frame;

use super::super::backend::{Effect, Effects};
use super::super::machine::{EndpointId, ServerConn};
use super::Dataset;
use super::lists::{nothing_popped, take};
use super::session::{Blocked, Session};
use super::store::Db;

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
        let Some(conn) = found.map(|(conn, _)| *conn) else { return false };
        match reason {
            UnblockReason::Timeout => self.on_block_timeout(conn, effects),
            UnblockReason::Error => {
                self.refuse_blocked(conn, "UNBLOCKED client unblocked via CLIENT UNBLOCK", effects)
            }
        }
        true
    }

    /// The node is no longer a master: whoever waits there is sent away.
    pub(super) fn send_blocked_away(&mut self, endpoint: EndpointId, effects: &mut Effects) {
        let there = |session: &Session| session.endpoint == endpoint && session.blocked.is_some();
        let conns: Vec<ServerConn> =
            self.sessions.iter().filter(|(_, session)| there(session)).map(|(conn, _)| *conn).collect();
        for conn in conns {
            let text = "UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)";
            self.refuse_blocked(conn, text, effects);
        }
    }

    /// Not entered in the ledger: it did not run.
    fn refuse_blocked(&mut self, conn: ServerConn, text: &'static str, effects: &mut Effects) {
        if let Some(blocked) = self.unblock(conn) {
            let frame = Frame::Error(Bytes::from_static(text.as_bytes()));
            effects.push_back(Effect::Reply { conn, request: blocked.request, frame });
        }
    }

    fn answer_blocked(&self, conn: ServerConn, blocked: Blocked, frame: Frame, effects: &mut Effects) {
        let Some(session) = self.sessions.get(&conn) else { return };
        effects.push_back(Effect::Executed { conn, request: blocked.request.clone(), ok: true });
        effects.push_back(Effect::Reply { conn, request: blocked.request, frame: session.fit(frame) });
    }
}
