//! What is explored: which servers there are, what they may say, and how often what may happen.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hitless_core::config::{Config, maintenance};
use hitless_core::coordinator::Role;
use hitless_core::endpoint::{Endpoint, Peer};
use resp3_codec::Frame;

use super::search::Limits;

/// The port of every server.
pub(super) const PORT: u16 = 6379;
/// Connections that may be lent.
pub(super) const LENT: usize = 1;
/// How often a handoff is tried again: once shows all that more would.
const RETRIES: u32 = 1;
/// The configured name.
const NAME: &str = "db.example";

/// How often something may happen, counted down as it does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Budget {
    pub(super) pushes: u8,
    /// Dials and handshakes that fail, and names that do not resolve.
    pub(super) faults: u8,
    /// Connections that the server closes.
    pub(super) closes: u8,
    /// Of those, the ones whose end is seen before what was said last is read.
    pub(super) endings: u8,
    pub(super) writes: u8,
    pub(super) reads: u8,
    pub(super) cancels: u8,
    /// Replies READONLY.
    pub(super) refusals: u8,
    pub(super) pauses: u8,
    pub(super) shutdowns: u8,
    /// Leases that are wanted.
    pub(super) leases: u8,
    /// Requests on them.
    pub(super) held: u8,
    /// Commands that wait for an element.
    pub(super) calls: u8,
    /// Callers of those who give up.
    pub(super) drops: u8,
    pub(super) elements: u8,
    /// Commands that wait until their time is over.
    pub(super) expiries: u8,
    /// How often the servers hold up what waits. The first time they do so from the beginning.
    pub(super) holds: u8,
    pub(super) subscribers: u8,
    pub(super) messages: u8,
    /// How often time passes although something could happen at once; `None` is as often as it likes.
    pub(super) delays: Option<u8>,
    /// Moves of slots.
    pub(super) moves: u8,
    /// Requests that are scripts.
    pub(super) scripts: u8,
    /// Questions for the topology whose answers may still come when their time is over.
    pub(super) late: u8,
}

/// Nothing happens but what must.
const NOTHING: Budget = Budget {
    pushes: 0,
    faults: 0,
    closes: 0,
    endings: 0,
    writes: 0,
    reads: 0,
    cancels: 0,
    refusals: 0,
    pauses: 0,
    shutdowns: 0,
    leases: 0,
    held: 0,
    calls: 0,
    drops: 0,
    elements: 0,
    expiries: 0,
    holds: 0,
    subscribers: 0,
    messages: 0,
    delays: None,
    moves: 0,
    scripts: 0,
    late: 0,
};

/// Which machine is explored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    Client,
    Coordinator,
    Cluster(Reshard),
}

/// What moves between the two nodes of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reshard {
    /// Who has the slots at first. B has all others, so that nothing leads to A but these.
    pub(super) first: Server,
    pub(super) told_by: ToldBy,
    /// The exploration goes so far in time.
    pub(super) horizon: Duration,
}

/// How clients learn that slots have moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ToldBy {
    /// ASK and MOVED, as in open source clusters.
    Redirects,
    /// SMIGRATING and SMIGRATED, and MOVED where a request is too late for that.
    Pushes,
}

/// A small world, and all that may happen in it.
#[derive(Clone, Debug)]
pub struct Scope {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    pub(super) subject: Subject,
    /// Connections of the pool.
    pub(super) pool: usize,
    /// The role for which the owner of a coordinator opens connections.
    pub(super) role: Role,
    /// What the name may resolve to.
    pub(super) answers: &'static [&'static [Server]],
    /// This server swallows whatever is sent to it, also in a kind world.
    pub(super) dead: Option<Server>,
    pub(super) pushes: &'static [Push],
    pub(super) budget: Budget,
    /// The pool is open, on server A; otherwise the exploration begins before the first dial.
    pub(super) is_open: bool,
    /// The exploration begins when the first push was told and its successors are ready.
    pub(super) is_moving: bool,
    /// Pushes may come between the replies of a handshake.
    pub(super) is_staged: bool,
    pub(super) limits: Limits,
}

/// A server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Server {
    A,
    B,
    C,
}

/// What a server may say on its own.
#[derive(Clone, Copy, Debug)]
pub(super) enum Push {
    /// In 15 s this address goes away; `None`: the name will lead elsewhere.
    Moving(i64, Option<Server>),
    Migrating(i64),
    Migrated(i64),
    FailingOver(i64),
    FailedOver(i64),
}

impl Server {
    pub(super) fn ip(self) -> IpAddr {
        let last = match self {
            Self::A => 1,
            Self::B => 2,
            Self::C => 3,
        };
        IpAddr::V4(Ipv4Addr::new(10, 0, 0, last))
    }
}

impl Push {
    pub(super) fn frame(self) -> Frame {
        let bulk = Frame::bulk;
        let words = match self {
            Self::Moving(seq, target) => {
                let target = target.map(|server| format!("{}:{PORT}", server.ip()));
                let target = target.map_or(Frame::Null, Frame::bulk);
                vec![bulk("MOVING"), Frame::Integer(seq), Frame::Integer(15), target]
            }
            Self::Migrating(seq) => vec![bulk("MIGRATING"), Frame::Integer(seq), Frame::Integer(1)],
            Self::Migrated(seq) => vec![bulk("MIGRATED"), Frame::Integer(seq)],
            Self::FailingOver(seq) => vec![bulk("FAILING_OVER"), Frame::Integer(seq), Frame::Integer(1)],
            Self::FailedOver(seq) => vec![bulk("FAILED_OVER"), Frame::Integer(seq)],
        };
        Frame::Push(words)
    }
}

impl Scope {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// What happens in it.
    #[must_use]
    pub fn about(&self) -> &'static str {
        self.about
    }

    /// How far it is explored.
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Whether nothing ever comes back from `peer`.
    pub(super) fn is_dead(&self, peer: Option<&Peer>) -> bool {
        let dead = self.dead.map(|server| Peer::from(SocketAddr::new(server.ip(), PORT)));
        dead.is_some() && dead.as_ref() == peer
    }

    /// Whether somebody waits for elements or messages: then the servers understand what they receive.
    pub(super) fn has_consumers(&self) -> bool {
        self.budget.calls + self.budget.subscribers > 0
    }

    /// The nth of the answers that the name has.
    pub(super) fn addresses(&self, nth: u8) -> Vec<IpAddr> {
        self.answers[usize::from(nth)].iter().map(|server| server.ip()).collect()
    }

    pub(super) fn config(&self) -> Arc<Config> {
        let endpoint = Endpoint::parse(NAME, PORT).expect("a name and a port");
        let maintenance = maintenance::Config::builder().max_handoff_retries(RETRIES).build();
        let maintenance = maintenance.expect("retries within the range");
        let config = Config::builder(endpoint)
            .pool_size(self.pool as u32)
            .max_dedicated(LENT as u32)
            .maintenance(maintenance)
            .build();
        Arc::new(config.expect("two connections"))
    }
}

/// What most scopes have in common: an open pool, and a name that leads to two servers.
const BASE: Scope = Scope {
    name: "",
    about: "",
    subject: Subject::Client,
    pool: 2,
    role: Role::Shared,
    answers: &[&[Server::A, Server::B]],
    dead: None,
    pushes: &[],
    budget: NOTHING,
    is_open: true,
    is_moving: false,
    is_staged: false,
    limits: Limits { depth: 200, states: 500_000, complete_every: 100 },
};

/// The same, but that whatever can happen happens before time passes.
const PROMPT: Budget = Budget { delays: Some(0), ..NOTHING };

/// What the scopes have in common in which somebody waits for elements or messages: one connection for that, and one in the pool.
const CONSUMERS: Scope =
    Scope { pool: 1, answers: &[&[Server::A]], pushes: &[Push::Moving(1, Some(Server::B))], ..BASE };

/// Slots of a cluster go to a node that nobody has heard of.
const BY_REDIRECTS: Reshard =
    Reshard { first: Server::B, told_by: ToldBy::Redirects, horizon: Duration::from_secs(8) };

/// The same, announced.
const BY_PUSHES: Reshard = Reshard { told_by: ToldBy::Pushes, ..BY_REDIRECTS };

/// All scopes, in the order in which they are explored. Where the states are not limited to fewer than there are, the scope
/// is explored to its end.
pub const SCOPES: &[Scope] = &[
    Scope {
        name: "start",
        about: "a pool is opened, something fails, and the first request does not wait",
        budget: Budget { faults: 1, writes: 1, ..NOTHING },
        is_open: false,
        ..BASE
    },
    Scope {
        name: "move",
        about: "one address is retired, told of twice, with a request under way",
        answers: &[&[Server::A], &[Server::B]],
        pushes: &[Push::Moving(1, Some(Server::B))],
        budget: Budget { pushes: 2, faults: 1, writes: 1, ..NOTHING },
        is_staged: true,
        ..BASE
    },
    Scope {
        name: "loss",
        about: "one address is retired, a connection is lost, and something fails",
        pushes: &[Push::Moving(1, Some(Server::B))],
        budget: Budget { pushes: 1, faults: 1, closes: 1, ..NOTHING },
        // There is always one more dial that nobody answers.
        limits: Limits { depth: 60, ..BASE.limits },
        ..BASE
    },
    Scope {
        name: "null",
        about: "the server names no endpoint, the name changes sooner or later, or not, and something fails",
        answers: &[&[Server::A], &[Server::B], &[Server::A, Server::B]],
        pushes: &[Push::Moving(1, None)],
        budget: Budget { pushes: 2, faults: 1, ..NOTHING },
        ..BASE
    },
    Scope {
        name: "requests",
        about: "one address is retired, requests are under way, and a connection is lost, perhaps after its last words",
        pushes: &[Push::Moving(1, Some(Server::B))],
        budget: Budget { pushes: 1, closes: 1, endings: 1, writes: 1, reads: 1, ..NOTHING },
        limits: Limits { states: 250_000, ..BASE.limits },
        ..BASE
    },
    Scope {
        name: "moves",
        about: "moves there and back, and on to a third address, chase each other",
        pushes: &[
            Push::Moving(1, Some(Server::B)),
            Push::Moving(2, Some(Server::A)),
            Push::Moving(3, Some(Server::C)),
        ],
        budget: Budget { pushes: 3, writes: 1, ..NOTHING },
        is_staged: true,
        limits: Limits { states: 250_000, ..BASE.limits },
        ..BASE
    },
    Scope {
        name: "windows",
        about: "a migration and a failover begin and end, requests are refused and given up, an address is withdrawn",
        answers: &[&[Server::A], &[Server::B]],
        pushes: &[Push::Migrating(1), Push::Migrated(1), Push::FailingOver(2), Push::FailedOver(2)],
        budget: Budget { pushes: 3, writes: 1, reads: 1, cancels: 1, refusals: 1, pauses: 1, ..NOTHING },
        limits: Limits { states: 150_000, ..BASE.limits },
        ..BASE
    },
    Scope {
        name: "dead",
        about: "one of the addresses of the name swallows what is dialled, and connections are lost or time out",
        dead: Some(Server::B),
        budget: Budget { faults: 1, closes: 2, ..NOTHING },
        // There is always one more dial that nobody answers.
        limits: Limits { depth: 60, states: 100_000, ..BASE.limits },
        ..BASE
    },
    Scope {
        name: "silent",
        about: "connections do not answer, others take their places, and something fails",
        budget: Budget { faults: 1, writes: 1, reads: 1, cancels: 1, ..NOTHING },
        limits: Limits { states: 100_000, ..BASE.limits },
        ..BASE
    },
    Scope {
        name: "demotion",
        about: "a server refuses a write without a word before, and the name leads elsewhere sooner or later, or not",
        answers: &[&[Server::A], &[Server::B]],
        pushes: &[Push::Moving(1, Some(Server::B))],
        budget: Budget { pushes: 1, faults: 1, writes: 1, refusals: 1, ..NOTHING },
        limits: Limits { states: 100_000, ..BASE.limits },
        ..BASE
    },
    Scope {
        name: "policy",
        about: "the coordinator alone: moves there and back, by a link that is lost and a dial that fails",
        subject: Subject::Coordinator,
        pushes: &[Push::Moving(1, Some(Server::B)), Push::Moving(2, Some(Server::A)), Push::Moving(2, None)],
        budget: Budget { pushes: 2, faults: 1, closes: 1, ..NOTHING },
        is_staged: true,
        limits: Limits { states: 250_000, ..BASE.limits },
        ..BASE
    },
    Scope {
        name: "held",
        about: "the coordinator alone: connections that are held move when their owner switches, in time or not",
        subject: Subject::Coordinator,
        role: Role::Held,
        answers: &[&[Server::A]],
        pushes: &[Push::Moving(1, Some(Server::B)), Push::Moving(2, Some(Server::C))],
        budget: Budget { pushes: 2, faults: 1, closes: 1, ..NOTHING },
        limits: Limits { states: 250_000, ..BASE.limits },
        ..BASE
    },
    Scope {
        name: "leases",
        about: "a connection is lent to one caller and then to another, as it was or not, while its address retires or it is lost",
        answers: &[&[Server::A]],
        pushes: &[Push::Moving(1, Some(Server::B))],
        budget: Budget { pushes: 1, closes: 1, leases: 2, held: 1, ..NOTHING },
        limits: Limits { states: 150_000, ..BASE.limits },
        ..BASE
    },
    Scope {
        name: "blocked",
        about: "a command waits for an element while its address retires, is given up or not, and another one follows",
        budget: Budget { pushes: 1, refusals: 1, calls: 2, drops: 1, elements: 1, ..PROMPT },
        ..CONSUMERS
    },
    Scope {
        name: "blocked-loss",
        about: "a command waits for an element while its address retires, and a connection is lost",
        budget: Budget { pushes: 1, closes: 1, calls: 1, drops: 1, elements: 2, expiries: 1, ..PROMPT },
        ..CONSUMERS
    },
    Scope {
        name: "blocked-late",
        about: "a command waits for an element while its address retires, and once the servers take their time",
        budget: Budget {
            pushes: 1,
            refusals: 1,
            calls: 1,
            drops: 1,
            elements: 1,
            delays: Some(1),
            ..NOTHING
        },
        ..CONSUMERS
    },
    Scope {
        name: "blocked-paused",
        about: "the servers hold up what waits for an element, and run it later, while its address retires",
        budget: Budget { pushes: 1, refusals: 1, calls: 1, drops: 1, elements: 1, holds: 2, ..PROMPT },
        limits: Limits { states: 250_000, ..BASE.limits },
        ..CONSUMERS
    },
    Scope {
        name: "blocked-paused-loss",
        about: "the servers hold up what waits for an element, and a connection is lost",
        budget: Budget { pushes: 1, closes: 1, calls: 1, elements: 2, holds: 2, ..PROMPT },
        limits: Limits { states: 250_000, ..BASE.limits },
        ..CONSUMERS
    },
    Scope {
        name: "subscribed",
        about: "messages are published while the address of a subscription retires",
        budget: Budget { pushes: 1, subscribers: 1, messages: 3, ..PROMPT },
        ..CONSUMERS
    },
    Scope {
        name: "subscribed-loss",
        about: "messages are published while the address of a subscription retires, and a connection is lost",
        budget: Budget { pushes: 1, closes: 1, subscribers: 1, messages: 2, ..PROMPT },
        limits: Limits { states: 250_000, ..BASE.limits },
        ..CONSUMERS
    },
    Scope {
        name: "overlap",
        about: "messages are published while two connections are subscribed, and once the servers take their time",
        budget: Budget { pushes: 1, subscribers: 1, messages: 2, delays: Some(1), ..NOTHING },
        is_moving: true,
        ..CONSUMERS
    },
    Scope {
        name: "end",
        about: "the client is shut down in the middle of a move, with a request that the server may refuse",
        answers: &[&[Server::A]],
        pushes: &[Push::Moving(1, Some(Server::B))],
        budget: Budget {
            pushes: 1,
            faults: 1,
            closes: 1,
            writes: 1,
            reads: 1,
            cancels: 1,
            refusals: 1,
            shutdowns: 1,
            ..NOTHING
        },
        limits: Limits { states: 150_000, ..BASE.limits },
        ..BASE
    },
    Scope {
        name: "reshard",
        about: "the cluster alone: slots move there and back with ASK and MOVED, nodes learn of it in any order, and a request is under way",
        subject: Subject::Cluster(Reshard { first: Server::A, ..BY_REDIRECTS }),
        budget: Budget { moves: 2, writes: 1, pauses: 2, late: 1, delays: Some(2), ..NOTHING },
        ..BASE
    },
    Scope {
        name: "announced",
        about: "the cluster alone: slots move to an unknown node and back, told of late, twice and in any order, with a request",
        subject: Subject::Cluster(BY_PUSHES),
        budget: Budget { moves: 2, pushes: 3, writes: 1, pauses: 1, delays: Some(2), ..NOTHING },
        ..BASE
    },
    Scope {
        name: "node-loss",
        about: "the cluster alone: slots move by ASK and MOVED, and nodes fail and come back, with a request under way",
        subject: Subject::Cluster(BY_REDIRECTS),
        budget: Budget { moves: 1, closes: 2, writes: 1, late: 1, delays: Some(1), ..NOTHING },
        ..BASE
    },
    Scope {
        name: "announced-loss",
        about: "the cluster alone: slots move with an announcement to a node that fails and comes back, with a request under way",
        subject: Subject::Cluster(BY_PUSHES),
        budget: Budget {
            moves: 1,
            pushes: 2,
            closes: 1,
            faults: 1,
            writes: 1,
            late: 1,
            delays: Some(1),
            ..NOTHING
        },
        ..BASE
    },
    Scope {
        name: "two-requests",
        about: "the cluster alone: slots move by ASK and MOVED while a command and a script are under way, and a node refuses one",
        subject: Subject::Cluster(BY_REDIRECTS),
        budget: Budget { moves: 1, writes: 1, scripts: 1, refusals: 1, delays: Some(1), ..NOTHING },
        ..BASE
    },
];
