//! A naive server behind all addresses: one list for which commands wait, and one channel.

use std::hash::{Hash, Hasher};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hitless_core::Frame;
use hitless_core::endpoint::Peer;
use hitless_core::ids::ConnId;

use super::world::{Socket, World};

/// The contents that are published: each message is a byte of its own of one of them, so that two messages with equal contents can be
/// told apart by where their bytes are.
static CONTENTS: [[u8; 8]; 2] = [[b'x'; 8], [b'y'; 8]];

/// A server that has owed an answer for so long is out of order: the least of the limits that the client has for that.
pub(super) const LONG: Duration = Duration::from_secs(3);

/// What a server has received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// BLPOP of the call with this number.
    Pop(u8),
    /// CLIENT LIST about this client.
    List(i64),
    /// CLIENT UNBLOCK of this client.
    Unblock(i64),
    Subscribe,
    Unsubscribe,
    Ping,
}

/// What a server has said, and the client has not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Said {
    /// An element, to the call that has popped it.
    Element {
        number: u8,
        call: u8,
    },
    Nil(u8),
    /// The call was sent away; one that is held up is not over by that.
    Unblocked {
        call: u8,
        is_over: bool,
    },
    /// A client, and whether it waits; `None` if there is no such client.
    Listed(Option<(i64, bool)>),
    /// Whether UNBLOCK has hit.
    Answer(bool),
    Denied,
    Subscribed,
    Unsubscribed,
    Pong,
    /// The message with this number.
    Message(u8),
}

/// What becomes of an element.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Whereabouts {
    InList,
    /// The call with this number has popped it.
    Popped(u8),
    Delivered,
    Orphaned,
    /// The connection on which it was is gone.
    Lost,
}

/// The list and the channel.
#[derive(Clone, Debug, Default)]
pub(super) struct Keyspace {
    list: Vec<u8>,
    /// Where each element is that was ever appended.
    pub(super) elements: Vec<Whereabouts>,
    /// On which connections commands wait, in the order in which they came.
    line: Vec<ConnId>,
    /// The server holds commands up, and runs them later, as one before Redis 7.2 does with CLIENT PAUSE.
    pub(super) is_paused: bool,
    /// The contents of each message.
    pub(super) published: Vec<u8>,
    /// Connections so far: each has a number, which is not used again.
    clients: i64,
}

/// One connection, as its server has it.
#[derive(Clone, Debug, Default)]
pub(super) struct Station {
    /// The server's number of the connection.
    client: i64,
    /// What it has received and not carried out.
    pub(super) inbox: Vec<Word>,
    /// What it has said.
    pub(super) outbox: Vec<Said>,
    /// The call that waits.
    pub(super) waits: Option<u8>,
    /// The call that is held up.
    held: Option<u8>,
    pub(super) is_subscribed: bool,
    /// Since when the client awaits anything.
    pub(super) busy_since: Option<Instant>,
}

impl Word {
    /// What the words of a command say.
    pub(super) fn parse(words: &[Frame]) -> Option<Self> {
        let words: Vec<&str> = words.iter().filter_map(Frame::as_str).collect();
        Some(match words.as_slice() {
            ["BLPOP", "q", call, _] => Self::Pop(call.parse().ok()?),
            ["CLIENT", "LIST", "ID", client] => Self::List(client.parse().ok()?),
            ["CLIENT", "UNBLOCK", client, "ERROR"] => Self::Unblock(client.parse().ok()?),
            ["SUBSCRIBE", "c"] => Self::Subscribe,
            ["UNSUBSCRIBE", "c"] => Self::Unsubscribe,
            ["PING"] => Self::Ping,
            _ => return None,
        })
    }
}

impl Station {
    /// Whether the server has something to carry out.
    pub(super) fn is_to_serve(&self) -> bool {
        !self.is_waiting() && !self.inbox.is_empty()
    }

    /// Whether a call waits, or is held up.
    pub(super) fn is_waiting(&self) -> bool {
        self.waits.is_some() || self.held.is_some()
    }

    /// Whether the user may have no right to what the server is to carry out.
    pub(super) fn may_deny(&self) -> bool {
        self.is_to_serve()
            && matches!(self.inbox.first(), Some(Word::List(_) | Word::Unblock(_) | Word::Ping))
    }

    /// Whether an element is lost with this connection, or whatever is popped there next.
    pub(super) fn has_or_takes(&self) -> bool {
        self.is_waiting() || self.outbox.iter().any(|said| matches!(said, Said::Element { .. }))
    }
}

impl World {
    /// The server numbers a connection, whose HELLO it answers.
    pub(super) fn number(&mut self, conn: ConnId) -> i64 {
        self.keyspace.clients += 1;
        let client = self.keyspace.clients;
        self.socket_mut(conn).into_iter().for_each(|socket| socket.station.client = client);
        client
    }

    /// An element is appended: whoever has waited for the longest time pops it.
    pub(super) fn append(&mut self) {
        let number = self.keyspace.elements.len() as u8;
        self.keyspace.elements.push(Whereabouts::InList);
        self.keyspace.list.push(number);
        if !self.keyspace.line.is_empty() {
            let conn = self.keyspace.line.remove(0);
            let call = self.socket_mut(conn).and_then(|socket| socket.station.waits.take());
            call.into_iter().for_each(|call| self.pop(conn, call));
        }
    }

    /// A message is published to all who are subscribed.
    pub(super) fn publish(&mut self, content: u8) {
        let number = self.keyspace.published.len() as u8;
        self.keyspace.published.push(content);
        let stations = self.sockets.iter_mut().map(|socket| &mut socket.station);
        stations.filter(|it| it.is_subscribed).for_each(|it| it.outbox.push(Said::Message(number)));
    }

    /// The time of the command that waits on `conn` is over.
    pub(super) fn expire(&mut self, conn: ConnId) {
        self.leave_line(conn, Said::Nil);
    }

    /// The server carries out what it has received first on `conn`.
    pub(super) fn serve(&mut self, conn: ConnId) {
        let Some(socket) = self.socket_mut(conn).filter(|socket| socket.station.is_to_serve()) else {
            return;
        };
        let (word, peer) = (socket.station.inbox.remove(0), socket.peer.clone());
        let said = match word {
            Word::Pop(call) if self.keyspace.is_paused => {
                self.socket_mut(conn).into_iter().for_each(|socket| socket.station.held = Some(call));
                return;
            }
            Word::Pop(call) if self.keyspace.list.is_empty() => {
                self.socket_mut(conn).into_iter().for_each(|socket| socket.station.waits = Some(call));
                return self.keyspace.line.push(conn);
            }
            Word::Pop(call) => return self.pop(conn, call),
            Word::List(client) => {
                let about = self.client(client, peer.as_ref());
                Said::Listed(about.map(|socket| (client, socket.station.is_waiting())))
            }
            Word::Unblock(client) => {
                let about = self.client(client, peer.as_ref()).map(|socket| socket.conn);
                Said::Answer(about.is_some_and(|about| self.unblock(about)))
            }
            Word::Subscribe => Said::Subscribed,
            Word::Unsubscribe => Said::Unsubscribed,
            Word::Ping => Said::Pong,
        };
        let Some(Socket { station, .. }) = self.socket_mut(conn) else { return };
        station.is_subscribed &= said != Said::Unsubscribed;
        station.is_subscribed |= said == Said::Subscribed;
        station.outbox.push(said);
    }

    /// The server holds commands up from now on.
    pub(super) fn pause(&mut self) {
        self.keyspace.is_paused = true;
    }

    /// The server runs what it has held up.
    pub(super) fn resume(&mut self) {
        self.keyspace.is_paused = false;
        let take = |socket: &mut Socket| Some((socket.conn, socket.station.held.take()?));
        let held: Vec<(ConnId, u8)> = self.sockets.iter_mut().filter_map(take).collect();
        for (conn, call) in held {
            self.socket_mut(conn).into_iter().for_each(|it| it.station.inbox.insert(0, Word::Pop(call)));
            self.serve(conn);
        }
    }

    /// The server denies what it has received first on `conn`.
    pub(super) fn deny(&mut self, conn: ConnId) {
        if let Some(socket) = self.socket_mut(conn) {
            socket.station.inbox.remove(0);
            socket.station.outbox.push(Said::Denied);
        }
    }

    /// The server's end of `socket` is gone, with what the client has not read.
    pub(super) fn sever(&mut self, socket: &Socket) {
        self.keyspace.line.retain(|conn| *conn != socket.conn);
        for said in &socket.station.outbox {
            if let Said::Element { number, .. } = said {
                self.keyspace.elements[usize::from(*number)] = Whereabouts::Lost;
            }
        }
    }

    /// What the client reads first on `conn`.
    pub(super) fn read(&mut self, conn: ConnId) -> Option<(Said, Frame)> {
        let socket = self.sockets.iter_mut().find(|socket| socket.conn == conn)?;
        if socket.station.outbox.is_empty() {
            return None;
        }
        let said = socket.station.outbox.remove(0);
        if socket.station.inbox.is_empty() && socket.station.outbox.is_empty() {
            socket.station.busy_since = None;
        }
        Some((said, self.keyspace.frame(said)))
    }

    fn pop(&mut self, conn: ConnId, call: u8) {
        let number = self.keyspace.list.remove(0);
        self.keyspace.elements[usize::from(number)] = Whereabouts::Popped(call);
        let station = self.socket_mut(conn).map(|socket| &mut socket.station);
        station.into_iter().for_each(|it| it.outbox.push(Said::Element { number, call }));
    }

    /// UNBLOCK. What is held up runs later all the same.
    fn unblock(&mut self, conn: ConnId) -> bool {
        let station = self.socket_mut(conn).map(|socket| &mut socket.station);
        if let Some((station, call)) = station.and_then(|station| station.held.map(|call| (station, call))) {
            station.outbox.push(Said::Unblocked { call, is_over: false });
            return true;
        }
        self.leave_line(conn, |call| Said::Unblocked { call, is_over: true })
    }

    /// The command that waits on `conn` is sent away. False if none does.
    fn leave_line(&mut self, conn: ConnId, said: fn(u8) -> Said) -> bool {
        let Some(Socket { station, .. }) = self.socket_mut(conn) else { return false };
        let Some(call) = station.waits.take() else { return false };
        station.outbox.push(said(call));
        self.keyspace.line.retain(|other| *other != conn);
        true
    }

    /// The connection that the server at `peer` knows by this number.
    fn client(&self, client: i64, peer: Option<&Peer>) -> Option<&Socket> {
        self.sockets.iter().find(|socket| socket.station.client == client && socket.peer.as_ref() == peer)
    }

    pub(super) fn fingerprint_servers(&self, now: Instant, hasher: &mut impl Hasher) {
        let Keyspace { list, elements, line, is_paused, published, clients: _ } = &self.keyspace;
        (list, elements, is_paused, published).hash(hasher);
        line.iter().for_each(|conn| conn.index().hash(hasher));
        let place = |client: i64| {
            let known = self.sockets.iter().find(|socket| socket.station.client == client);
            known.map(|socket| socket.conn.index())
        };
        for Socket { station, .. } in &self.sockets {
            let Station { client: _, inbox, outbox, waits, held, is_subscribed, busy_since } = station;
            (waits, held, is_subscribed, inbox.len(), outbox.len()).hash(hasher);
            busy_since.map(|since| now.saturating_duration_since(since).min(LONG)).hash(hasher);
            for word in inbox {
                std::mem::discriminant(word).hash(hasher);
                match word {
                    Word::Pop(call) => call.hash(hasher),
                    Word::List(client) | Word::Unblock(client) => place(*client).hash(hasher),
                    Word::Subscribe | Word::Unsubscribe | Word::Ping => {}
                }
            }
            for said in outbox {
                match said {
                    Said::Listed(Some((client, waits))) => (place(*client), waits).hash(hasher),
                    other => other.hash(hasher),
                }
            }
        }
    }
}

impl Keyspace {
    /// The number of the message that has these contents.
    pub(super) fn message(&self, payload: &Bytes) -> Option<u8> {
        (0..).zip(&self.published).map(|(number, _)| number).find(|number| {
            let known = self.payload(*number);
            known.as_ptr() == payload.as_ptr() && known == *payload
        })
    }

    /// The element in `reply`, if the call with this number has popped it.
    pub(super) fn take(&mut self, reply: &Frame, call: u8) -> Option<&mut Whereabouts> {
        let Some([Frame::Bulk(_), element]) = reply.as_array() else { return None };
        let number: usize = element.as_str()?.parse().ok()?;
        self.elements.get_mut(number).filter(|element| **element == Whereabouts::Popped(call))
    }

    /// Whether two messages have equal contents.
    pub(super) fn has_equal(&self) -> bool {
        self.published.iter().enumerate().any(|(at, content)| self.published[..at].contains(content))
    }

    fn payload(&self, number: u8) -> Bytes {
        let (at, content) = (usize::from(number), usize::from(self.published[usize::from(number)]));
        Bytes::from_static(&CONTENTS[content][at..=at])
    }

    fn frame(&self, said: Said) -> Frame {
        let subscribed =
            |word, count| Frame::Push(vec![Frame::bulk(word), Frame::bulk("c"), Frame::Integer(count)]);
        match said {
            Said::Element { number, .. } => {
                Frame::Array(vec![Frame::bulk("q"), Frame::bulk(number.to_string())])
            }
            Said::Nil(_) => Frame::Null,
            Said::Unblocked { .. } => Frame::error("UNBLOCKED client unblocked via CLIENT UNBLOCK"),
            Said::Listed(None) => Frame::bulk(""),
            Said::Listed(Some((client, waits))) => {
                let (flags, command) = if waits { ("b", "blpop") } else { ("N", "client|setinfo") };
                Frame::bulk(format!("id={client} name= age=1 flags={flags} db=0 cmd={command} user=default"))
            }
            Said::Answer(has_hit) => Frame::Integer(has_hit.into()),
            Said::Denied => Frame::error("NOPERM this user has no permissions"),
            Said::Subscribed => subscribed("subscribe", 1),
            Said::Unsubscribed => subscribed("unsubscribe", 0),
            Said::Pong => Frame::simple("PONG"),
            Said::Message(number) => {
                let payload = Frame::Bulk(self.payload(number));
                Frame::Push(vec![Frame::bulk("message"), Frame::bulk("c"), payload])
            }
        }
    }
}
