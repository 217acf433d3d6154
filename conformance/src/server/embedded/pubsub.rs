//! Subscriptions: shared by all endpoints. Sharded channels belong to the slots of their names, as keys do.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use resp3_codec::Frame;

use super::super::backend::{Effect, Effects};
use super::super::machine::ServerConn;
use super::Dataset;
use super::dispatch::{Answer, Call, Outcome, bulk, integer};
use super::glob::matches;
use super::session::Session;

/// Said to those who ask for it, and to those whose channel has gone to another node.
const SUNSUBSCRIBE: &str = "sunsubscribe";

/// What is subscribed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Channel,
    Pattern,
    Sharded,
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

pub(super) fn ssubscribe(call: &mut Call<'_>) -> Outcome {
    add(call, Kind::Sharded, "ssubscribe")
}

pub(super) fn sunsubscribe(call: &mut Call<'_>) -> Outcome {
    remove(call, Kind::Sharded, SUNSUBSCRIBE)
}

pub(super) fn spublish(call: &mut Call<'_>) -> Outcome {
    let (channel, message) = (call.arg(1).clone(), call.arg(2).clone());
    let words = [bulk("smessage"), bulk(channel.clone()), bulk(message)];
    let conns = call.data.sharded.get(&channel).into_iter().flatten();
    let is_shown = |conn: &&ServerConn| {
        let session = if **conn == call.conn { Some(&*call.session) } else { call.data.sessions.get(conn) };
        let shows = |session: &Session| {
            call.data.cluster.as_ref().is_none_or(|cluster| cluster.shows(session.endpoint, &channel))
        };
        session.is_some_and(shows)
    };
    let messages = conns.filter(is_shown).map(|conn| (*conn, words.to_vec())).collect();
    Ok(integer(send(call, messages)).into())
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
    Ok(integer(send(call, messages)).into())
}

/// Sends messages. How many there are.
fn send(call: &mut Call<'_>, messages: Vec<(ServerConn, Vec<Frame>)>) -> usize {
    let receivers = messages.len();
    for (conn, words) in messages {
        // The publisher's own session is out of the table during the call.
        let session = if conn == call.conn { Some(&*call.session) } else { call.data.sessions.get(&conn) };
        if let Some(session) = session {
            let frame = session.fit(Frame::Push(words));
            call.effects.push_back(Effect::Push { conn, frame });
        }
    }
    receivers
}

fn add(call: &mut Call<'_>, kind: Kind, name: &'static str) -> Outcome {
    let mut confirmations = Vec::new();
    for key in call.request.words()[1..].iter().map(|key| Bytes::copy_from_slice(key)) {
        subscriptions(call.session, kind).insert(key.clone());
        let table = call.data.subscribers(kind);
        table.entry(key.clone()).or_default().insert(call.conn);
        confirmations.push(confirmation(call.session, kind, name, bulk(key)));
    }
    Ok(Answer::Frames(confirmations))
}

fn remove(call: &mut Call<'_>, kind: Kind, name: &'static str) -> Outcome {
    let named = call.request.words()[1..].to_vec();
    let all = || subscriptions_of(call.session, kind).iter().cloned().collect();
    let keys: Vec<Bytes> = if named.is_empty() { all() } else { named };
    if keys.is_empty() {
        return Ok(confirmation(call.session, kind, name, Frame::Null).into());
    }
    let mut confirmations = Vec::new();
    for key in keys {
        subscriptions(call.session, kind).remove(&key);
        call.data.forget_subscription(call.conn, kind, &key);
        confirmations.push(confirmation(call.session, kind, name, bulk(key)));
    }
    Ok(Answer::Frames(confirmations))
}

/// Sharded channels are counted apart.
fn confirmation(session: &Session, kind: Kind, name: &'static str, key: Frame) -> Frame {
    let sharded = session.sharded.len();
    let count = if kind == Kind::Sharded { sharded } else { session.subscriptions() - sharded };
    Frame::Push(vec![bulk(name), key, integer(count)])
}

fn subscriptions(session: &mut Session, kind: Kind) -> &mut BTreeSet<Bytes> {
    match kind {
        Kind::Channel => &mut session.channels,
        Kind::Pattern => &mut session.patterns,
        Kind::Sharded => &mut session.sharded,
    }
}

fn subscriptions_of(session: &Session, kind: Kind) -> &BTreeSet<Bytes> {
    match kind {
        Kind::Channel => &session.channels,
        Kind::Pattern => &session.patterns,
        Kind::Sharded => &session.sharded,
    }
}

/// What a connection was subscribed to.
pub(super) struct Subscriptions([(Kind, BTreeSet<Bytes>); 3]);

/// Leaves a session without subscriptions.
pub(super) fn take_all(session: &mut Session) -> Subscriptions {
    let kinds = [Kind::Channel, Kind::Pattern, Kind::Sharded];
    Subscriptions(kinds.map(|kind| (kind, std::mem::take(subscriptions(session, kind)))))
}

impl Dataset {
    /// Ends all subscriptions of a connection.
    pub(super) fn forget_subscriptions(&mut self, conn: ServerConn) {
        let Some(session) = self.sessions.get_mut(&conn) else { return };
        let all = take_all(session);
        self.forget_all(conn, all);
    }

    /// Ends all subscriptions of a connection, whose session may be out of the table.
    pub(super) fn forget_all(&mut self, conn: ServerConn, all: Subscriptions) {
        for (kind, keys) in all.0 {
            keys.iter().for_each(|key| self.forget_subscription(conn, kind, key));
        }
    }

    /// Sharded channels whose slots a node serves no longer are over for those who are subscribed there, and they are told.
    pub(crate) fn end_strange_channels(&mut self, effects: &mut Effects) {
        let Some(cluster) = &self.cluster else { return };
        let mut over = Vec::new();
        for (conn, session) in &self.sessions {
            let strange = session.sharded.iter().filter(|channel| cluster.ends(session.endpoint, channel));
            over.extend(strange.map(|channel| (*conn, channel.clone())));
        }
        for (conn, channel) in over {
            self.forget_subscription(conn, Kind::Sharded, &channel);
            if let Some(session) = self.sessions.get_mut(&conn) {
                session.sharded.remove(&channel);
                let frame = confirmation(session, Kind::Sharded, SUNSUBSCRIBE, bulk(channel));
                effects.push_back(Effect::Push { conn, frame: session.fit(frame) });
            }
        }
    }

    fn subscribers(&mut self, kind: Kind) -> &mut BTreeMap<Bytes, BTreeSet<ServerConn>> {
        match kind {
            Kind::Channel => &mut self.channels,
            Kind::Pattern => &mut self.patterns,
            Kind::Sharded => &mut self.sharded,
        }
    }

    fn forget_subscription(&mut self, conn: ServerConn, kind: Kind, key: &Bytes) {
        let table = self.subscribers(kind);
        if let Some(conns) = table.get_mut(key) {
            conns.remove(&conn);
            if conns.is_empty() {
                table.remove(key);
            }
        }
    }
}
