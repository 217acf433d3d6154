//! Subscriptions: shared by all endpoints.

use std::collections::BTreeSet;

use bytes::Bytes;
use resp3_codec::Frame;

use super::super::backend::Effect;
use super::super::machine::ServerConn;
use super::Dataset;
use super::dispatch::{Answer, Call, Outcome, bulk, integer};
use super::glob::matches;
use super::session::Session;

/// What is subscribed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Channel,
    Pattern,
}

pub(super) fn subscribe(call: &mut Call<'_>) -> Outcome {
    add(call, Kind::Channel, "subscribe")
}

pub(super) fn psubscribe(call: &mut Call<'_>) -> Outcome {
    add(call, Kind::Pattern, "psubscribe")
}

pub(super) fn unsubscribe(call: &mut Call<'_>) -> Outcome {
    remove(call, Kind::Channel, "unsubscribe")
}

pub(super) fn punsubscribe(call: &mut Call<'_>) -> Outcome {
    remove(call, Kind::Pattern, "punsubscribe")
}

pub(super) fn publish(call: &mut Call<'_>) -> Outcome {
    let (channel, message) = (call.arg(1).clone(), call.arg(2).clone());
    let mut messages: Vec<(ServerConn, Vec<Frame>)> = Vec::new();
    for conn in call.data.channels.get(&channel).into_iter().flatten() {
        messages.push((*conn, vec![bulk("message"), bulk(channel.clone()), bulk(message.clone())]));
    }
    for (pattern, conns) in &call.data.patterns {
        if matches(pattern, &channel) {
            for conn in conns {
                let words =
                    [bulk("pmessage"), bulk(pattern.clone()), bulk(channel.clone()), bulk(message.clone())];
                messages.push((*conn, words.to_vec()));
            }
        }
    }
    let receivers = messages.len();
    for (conn, words) in messages {
        // The publisher's own session is out of the table during the call.
        let session = if conn == call.conn { Some(&*call.session) } else { call.data.sessions.get(&conn) };
        if let Some(session) = session {
            let frame = session.fit(Frame::Push(words));
            call.effects.push_back(Effect::Push { conn, frame });
        }
    }
    Ok(integer(receivers).into())
}

fn add(call: &mut Call<'_>, kind: Kind, name: &'static str) -> Outcome {
    let mut confirmations = Vec::new();
    for key in call.request.words()[1..].iter().map(|key| Bytes::copy_from_slice(key)) {
        subscriptions(call.session, kind).insert(key.clone());
        let table = match kind {
            Kind::Channel => &mut call.data.channels,
            Kind::Pattern => &mut call.data.patterns,
        };
        table.entry(key.clone()).or_default().insert(call.conn);
        confirmations.push(confirmation(call.session, name, bulk(key)));
    }
    Ok(Answer::Frames(confirmations))
}

fn remove(call: &mut Call<'_>, kind: Kind, name: &'static str) -> Outcome {
    let named = call.request.words()[1..].to_vec();
    let all = || subscriptions_of(call.session, kind).iter().cloned().collect();
    let keys: Vec<Bytes> = if named.is_empty() { all() } else { named };
    if keys.is_empty() {
        return Ok(confirmation(call.session, name, Frame::Null).into());
    }
    let mut confirmations = Vec::new();
    for key in keys {
        subscriptions(call.session, kind).remove(&key);
        call.data.forget_subscription(call.conn, kind, &key);
        confirmations.push(confirmation(call.session, name, bulk(key)));
    }
    Ok(Answer::Frames(confirmations))
}

fn confirmation(session: &Session, name: &'static str, key: Frame) -> Frame {
    Frame::Push(vec![bulk(name), key, integer(session.subscriptions())])
}

fn subscriptions(session: &mut Session, kind: Kind) -> &mut BTreeSet<Bytes> {
    match kind {
        Kind::Channel => &mut session.channels,
        Kind::Pattern => &mut session.patterns,
    }
}

fn subscriptions_of(session: &Session, kind: Kind) -> &BTreeSet<Bytes> {
    match kind {
        Kind::Channel => &session.channels,
        Kind::Pattern => &session.patterns,
    }
}

impl Dataset {
    /// Ends all subscriptions of a connection.
    pub(super) fn forget_subscriptions(&mut self, conn: ServerConn) {
        let Some(session) = self.sessions.get_mut(&conn) else { return };
        let (channels, patterns) =
            (std::mem::take(&mut session.channels), std::mem::take(&mut session.patterns));
        self.forget_all(conn, &channels, &patterns);
    }

    pub(super) fn forget_all(
        &mut self,
        conn: ServerConn,
        channels: &BTreeSet<Bytes>,
        patterns: &BTreeSet<Bytes>,
    ) {
        channels.iter().for_each(|key| self.forget_subscription(conn, Kind::Channel, key));
        patterns.iter().for_each(|key| self.forget_subscription(conn, Kind::Pattern, key));
    }

    fn forget_subscription(&mut self, conn: ServerConn, kind: Kind, key: &Bytes) {
        let table = match kind {
            Kind::Channel => &mut self.channels,
            Kind::Pattern => &mut self.patterns,
        };
        if let Some(conns) = table.get_mut(key) {
            conns.remove(&conn);
            if conns.is_empty() {
                table.remove(key);
            }
        }
    }
}
