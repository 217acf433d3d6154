//! What the data set knows of a connection.

use std::collections::{BTreeSet, VecDeque};
use std::time::Instant;

use bytes::Bytes;
use resp3_codec::Frame;

use super::super::backend::{Protocol, Turn};
use super::super::machine::EndpointId;
use super::super::request::Request;
use super::dispatch::full_name;
use super::store::Db;
use super::tracking::Tracking;

/// Which end of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Left,
    Right,
}

/// A client that waits for an element.
#[derive(Clone, Debug)]
pub(super) struct Blocked {
    pub(super) request: Request,
    pub(super) db: Db,
    pub(super) keys: Vec<Bytes>,
    pub(super) side: Side,
    pub(super) until: Option<Instant>,
    /// A pause holds it up: it waits for no element yet.
    pub(super) is_held_up: bool,
}

/// A transaction between `MULTI` and `EXEC`.
#[derive(Clone, Debug, Default)]
pub(super) struct Transaction {
    pub(super) queue: Vec<Request>,
    /// A command was refused: `EXEC` will fail.
    pub(super) aborted: bool,
}

#[derive(Debug)]
pub(super) struct Session {
    pub(super) endpoint: EndpointId,
    /// The id of `CLIENT ID`: unique at its endpoint only, as behind proxies.
    pub(super) id: i64,
    pub(super) protocol: Protocol,
    pub(super) user: Option<String>,
    pub(super) db: Db,
    pub(super) name: Bytes,
    pub(super) library: [Bytes; 2],
    pub(super) transaction: Option<Transaction>,
    pub(super) watched: BTreeSet<(Db, Bytes)>,
    /// A watched key was touched.
    pub(super) dirty: bool,
    pub(super) channels: BTreeSet<Bytes>,
    pub(super) patterns: BTreeSet<Bytes>,
    pub(super) sharded: BTreeSet<Bytes>,
    pub(super) tracking: Option<Tracking>,
    pub(super) blocked: Option<Blocked>,
    /// Requests that wait for a blocked one to end.
    pub(super) backlog: VecDeque<(Request, Turn)>,
    pub(super) last_command: Option<Request>,
    /// `ASKING` came right before, or before the transaction under way.
    pub(super) asking: bool,
    /// `READONLY`: it takes what a replica has.
    pub(super) reads_copies: bool,
}

impl Session {
    pub(super) fn new(endpoint: EndpointId, id: i64, user: Option<String>) -> Self {
        Self {
            endpoint,
            id,
            protocol: Protocol::Resp2,
            user,
            db: 0,
            name: Bytes::new(),
            library: [Bytes::new(), Bytes::new()],
            transaction: None,
            watched: BTreeSet::new(),
            dirty: false,
            channels: BTreeSet::new(),
            patterns: BTreeSet::new(),
            sharded: BTreeSet::new(),
            tracking: None,
            blocked: None,
            backlog: VecDeque::new(),
            last_command: None,
            asking: false,
            reads_copies: false,
        }
    }

    pub(super) fn subscriptions(&self) -> usize {
        self.channels.len() + self.patterns.len() + self.sharded.len()
    }

    /// The frame in the version of the protocol that the connection speaks.
    pub(super) fn fit(&self, frame: Frame) -> Frame {
        match self.protocol {
            Protocol::Resp3 => frame,
            Protocol::Resp2 => downgrade(frame),
        }
    }

    /// The words of `CLIENT LIST` for this connection.
    pub(super) fn describe(&self) -> String {
        let mut flags = String::new();
        for (set, flag) in [
            (self.blocked.is_some(), 'b'),
            (self.subscriptions() > 0, 'P'),
            (self.transaction.is_some(), 'x'),
            (self.dirty, 'd'),
        ] {
            flags.extend(set.then_some(flag));
        }
        let multi = self.transaction.as_ref().map_or(-1, |transaction| transaction.queue.len().cast_signed());
        format!(
            "id={} addr=127.0.0.1:{} laddr=127.0.0.1:6379 fd=8 name={} age=0 idle=0 flags={} db={} sub={} psub={} ssub={} \
             multi={multi} cmd={} user={} lib-name={} lib-ver={} resp={}\n",
            self.id,
            40_000 + self.id % 20_000,
            String::from_utf8_lossy(&self.name),
            if flags.is_empty() { "N" } else { &flags },
            self.db,
            self.channels.len(),
            self.patterns.len(),
            self.sharded.len(),
            self.last_command.as_ref().map_or_else(|| "NULL".to_owned(), full_name),
            self.user.as_deref().unwrap_or("default"),
            String::from_utf8_lossy(&self.library[0]),
            String::from_utf8_lossy(&self.library[1]),
            if self.protocol == Protocol::Resp3 { 3 } else { 2 },
        )
    }
}

/// A reply as RESP2 can carry it.
pub(super) fn downgrade(frame: Frame) -> Frame {
    let all = |frames: Vec<Frame>| Frame::Array(frames.into_iter().map(downgrade).collect());
    match frame {
        Frame::Null => Frame::NullBulk,
        Frame::Boolean(truth) => Frame::Integer(i64::from(truth)),
        Frame::Double(number) => Frame::Bulk(Bytes::from(number.to_string())),
        Frame::BigNumber(digits) => Frame::Bulk(digits),
        Frame::Verbatim { text, .. } => Frame::Bulk(text),
        Frame::BlobError(text) => Frame::Error(text),
        Frame::Array(frames) | Frame::Set(frames) | Frame::Push(frames) => all(frames),
        Frame::Map(pairs) => Frame::Array(
            pairs.into_iter().flat_map(|(key, value)| [downgrade(key), downgrade(value)]).collect(),
        ),
        same => same,
    }
}
