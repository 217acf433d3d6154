//! Two naive nodes of a cluster, and the slots that move between them.

use hitless_core::endpoint::Endpoint;
use resp3_codec::Frame;

use crate::explore::scope::{PORT, Reshard, Server, ToldBy};

/// The slot of every request: one of those that move.
pub(super) const SLOT: u16 = 7;
/// The last of the slots that move.
const LAST: u16 = 99;
/// A slot that stays where it is.
pub(super) const OTHER_SLOT: u16 = 100;

/// What a node says to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Said {
    /// It has carried it out.
    Done,
    Moved(Server),
    Ask(Server),
    /// Some of the keys have gone ahead.
    TryAgain,
    /// The cluster is down.
    Down,
    /// A script has written, and then said READONLY.
    ReadOnly,
}

/// Slots on their way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Move {
    to: Server,
    /// Requests for keys at the old node are sent on with ASK.
    have_keys_gone: bool,
}

/// A node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Node {
    is_up: bool,
    /// Whom it takes for the owner of the slots that move.
    owner: Server,
}

/// Both nodes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Servers {
    a: Node,
    b: Node,
    on_the_move: Option<Move>,
    is_announced: bool,
    /// Where each move that was announced has led.
    announced: Vec<Server>,
}

impl Servers {
    pub(super) fn new(reshard: Reshard) -> Self {
        let node = Node { is_up: true, owner: reshard.first };
        let is_announced = reshard.told_by == ToldBy::Pushes;
        Self { a: node, b: node, on_the_move: None, is_announced, announced: Vec::new() }
    }

    pub(super) fn set_up(&mut self, server: Server, is_up: bool) {
        self.node_mut(server).is_up = is_up;
    }

    /// The slots begin to move to the node that has them not. An announced move is done at once, but for what the old node knows.
    pub(super) fn begin_move(&mut self) {
        let to = if self.a.owner == Server::A { Server::B } else { Server::A };
        self.on_the_move = Some(Move { to, have_keys_gone: self.is_announced });
        if self.is_announced {
            self.announced.push(to);
            self.learn(to);
        }
    }

    pub(super) fn move_keys(&mut self) {
        self.on_the_move.iter_mut().for_each(|it| it.have_keys_gone = true);
    }

    /// `server` learns where the slots are.
    pub(super) fn learn(&mut self, server: Server) {
        let Some(Move { to, .. }) = self.on_the_move else { return };
        self.node_mut(server).owner = to;
        if self.a.owner == self.b.owner {
            self.on_the_move = None;
        }
    }

    /// What `server` says to a request, with ASKING ahead of it or not.
    pub(super) fn serve(&self, server: Server, asking: bool) -> Said {
        let owner = self.owner_by(server);
        match self.on_the_move {
            // Who announces serves on at the old node until that knows better.
            Some(Move { to, have_keys_gone: true })
                if owner == server && to != server && !self.is_announced =>
            {
                Said::Ask(to)
            }
            Some(Move { to, .. }) if asking && to == server => Said::Done,
            _ if owner == server => Said::Done,
            _ => Said::Moved(owner),
        }
    }

    /// What a node says to a request that it cannot carry out at the moment.
    pub(super) fn refuse(&self) -> Said {
        if self.on_the_move.is_some() { Said::TryAgain } else { Said::Down }
    }

    pub(super) fn is_up(&self, server: Server) -> bool {
        self.node(server).is_up
    }

    /// Whom `server` takes for the owner.
    pub(super) fn owner_by(&self, server: Server) -> Server {
        self.node(server).owner
    }

    /// The owner, if both nodes agree.
    pub(super) fn owner(&self) -> Option<Server> {
        (self.a.owner == self.b.owner).then_some(self.a.owner)
    }

    pub(super) fn is_moving(&self) -> bool {
        self.on_the_move.is_some()
    }

    /// Whether the keys may go now.
    pub(super) fn may_keys_go(&self) -> bool {
        self.on_the_move.is_some_and(|it| !it.have_keys_gone)
    }

    /// Whether `server` is yet to learn of the move.
    pub(super) fn may_learn(&self, server: Server) -> bool {
        self.on_the_move.is_some_and(|it| it.have_keys_gone && it.to != self.owner_by(server))
    }

    /// Where each announced move has led.
    pub(super) fn announced(&self) -> &[Server] {
        &self.announced
    }

    fn node(&self, server: Server) -> &Node {
        if server == Server::A { &self.a } else { &self.b }
    }

    fn node_mut(&mut self, server: Server) -> &mut Node {
        if server == Server::A { &mut self.a } else { &mut self.b }
    }
}

impl Said {
    /// The reply.
    pub(super) fn frame(self) -> Frame {
        match self {
            Self::Done => Frame::simple("OK"),
            Self::Moved(to) => Frame::error(format!("MOVED {SLOT} {}:{PORT}", to.ip())),
            Self::Ask(to) => Frame::error(format!("ASK {SLOT} {}:{PORT}", to.ip())),
            Self::TryAgain => Frame::error("TRYAGAIN Multiple keys request during rehashing of slot"),
            Self::Down => Frame::error("CLUSTERDOWN The cluster is down"),
            Self::ReadOnly => Frame::error("READONLY You can't write against a read only replica."),
        }
    }
}

pub(super) fn endpoint(server: Server) -> Endpoint {
    Endpoint::parse(&server.ip().to_string(), PORT).expect("an address and a port")
}

/// The answer to CLUSTER SLOTS of a node that takes `owner` for the owner of the slots that move.
pub(super) fn topology(owner: Server) -> Frame {
    let range = |start: u16, end: u16, server: Server| {
        let host = Frame::bulk(server.ip().to_string());
        let id = Frame::bulk(format!("id-of-{server:?}"));
        let node = Frame::Array(vec![host, Frame::Integer(PORT.into()), id]);
        Frame::Array(vec![Frame::Integer(start.into()), Frame::Integer(end.into()), node])
    };
    Frame::Array(vec![range(0, LAST, owner), range(LAST + 1, 16_383, Server::B)])
}

/// SMIGRATED with this id: the slots have gone to `to`.
pub(super) fn migrated(seq: i64, to: Server) -> Frame {
    let from = if to == Server::A { Server::B } else { Server::A };
    let at = |server: Server| Frame::bulk(format!("{}:{PORT}", server.ip()));
    let moved = Frame::Array(vec![at(from), at(to), Frame::bulk(format!("0-{LAST}"))]);
    Frame::Push(vec![Frame::bulk("SMIGRATED"), Frame::Integer(seq), Frame::Array(vec![moved])])
}

/// SMIGRATING with this id.
pub(super) fn migrating(seq: i64) -> Frame {
    Frame::Push(vec![Frame::bulk("SMIGRATING"), Frame::Integer(seq), Frame::bulk(format!("0-{LAST}"))])
}
