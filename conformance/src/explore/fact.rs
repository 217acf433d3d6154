//! What may happen to a machine.

use std::fmt;

use hitless_core::ids::{ConnId, NodeId};

use super::scope::Server;

/// Something that happens, at the present instant unless it is time that passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fact {
    /// Until the machine wants to be told.
    TimePasses,
    /// A second, within which nothing is due.
    Pause,
    /// The nth of the answers that the name has in this scope.
    Resolved(ConnId, u8),
    ResolveFailed(ConnId),
    Connected(ConnId),
    Refused(ConnId),
    /// The server accepts HELLO, and the opt-in if it was asked.
    Greeted(ConnId),
    /// The server answers the rest of the handshake.
    Settled(ConnId),
    /// The server accepts HELLO and does not know the opt-in.
    OptInRefused(ConnId),
    /// The server is loading its data.
    Loading(ConnId),
    /// The nth of the pushes of this scope.
    Push(ConnId, u8),
    /// The socket takes what there is to write.
    Written(ConnId),
    /// The reply to the oldest request there.
    Replied(ConnId),
    /// The same, by a server that was just demoted.
    RepliedReadOnly(ConnId),
    /// The end of the stream was seen; what was sent before is still to be read.
    Ending(ConnId),
    Closed(ConnId),
    /// The owner of a coordinator opens a connection.
    Open,
    /// It says that a connection which drains has answered everything.
    Drained(ConnId),
    /// It says that it uses the successor of a connection that is held.
    Switched(ConnId),
    SendWrite,
    SendRead,
    /// Somebody wants a lease.
    Wish,
    /// The nth of those who have one sends a request there, which may leave anything behind.
    SendOn(u8),
    /// The nth of those who have a lease, or want one, returns it.
    Return(u8),
    /// The caller of the nth request under way gives up.
    Cancel(u8),
    /// Somebody sends a command that waits for an element.
    Call,
    /// The caller of the nth such command gives up.
    Drop(u8),
    /// Somebody appends an element to the list.
    Append,
    /// The servers hold up what waits for elements, and run it later.
    Hold,
    /// They run what they have held up.
    Release,
    /// Somebody subscribes.
    Subscribe,
    /// Somebody publishes one of two contents.
    Publish(u8),
    /// The server carries out the oldest command that it has received there.
    Served(ConnId),
    /// It refuses that, because the user has no right to it.
    Denied(ConnId),
    /// The time of the command that waits there is over.
    TimeIsUp(ConnId),
    Shutdown,
    /// A millisecond, within which nothing is due.
    Moment,
    /// Slots begin to move to the other node of a cluster.
    MoveBegins,
    /// The keys of these slots have gone ahead.
    KeysGo,
    /// A node learns who has the slots that move.
    Learns(Server),
    /// A node goes away, and its connections with it.
    Fails(Server),
    Returns(Server),
    /// The client of a node is connected.
    NodeReady(NodeId),
    NodeUnreachable(NodeId),
    /// The nth question for the topology is answered by what the node knew when it was asked.
    ToldAsAsked(u8),
    /// By what the node knows now.
    ToldAsNow(u8),
    /// SMIGRATING, for the move that goes on.
    Migrating,
    /// SMIGRATED, for the nth move so far.
    Migrated(u8),
    SendScript,
    /// The node to which the nth request was written carries it out, or says where else it belongs.
    NodeServes(u8),
    /// It cannot at the moment; a script has an error of this kind as its own, after a write.
    NodeRefuses(u8),
    /// What the node says to the nth request is read.
    NodeReplied(u8),
}

impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimePasses => write!(f, "time passes until something is due"),
            Self::Pause => write!(f, "a second passes"),
            Self::Resolved(conn, nth) => write!(f, "{conn}: the name is resolved, answer {nth}"),
            Self::ResolveFailed(conn) => write!(f, "{conn}: the name is not resolved"),
            Self::Connected(conn) => write!(f, "{conn}: connected"),
            Self::Refused(conn) => write!(f, "{conn}: refused"),
            Self::Greeted(conn) => write!(f, "{conn}: HELLO and the opt-in are accepted"),
            Self::Settled(conn) => write!(f, "{conn}: the rest of the handshake is answered"),
            Self::OptInRefused(conn) => write!(f, "{conn}: HELLO is accepted, the opt-in is not"),
            Self::Loading(conn) => write!(f, "{conn}: HELLO is refused with LOADING"),
            Self::Push(conn, nth) => write!(f, "{conn}: push {nth}"),
            Self::Written(conn) => write!(f, "{conn}: the socket takes what there is"),
            Self::Replied(conn) => write!(f, "{conn}: a reply"),
            Self::RepliedReadOnly(conn) => write!(f, "{conn}: a reply, READONLY"),
            Self::Ending(conn) => write!(f, "{conn}: the end of the stream is seen"),
            Self::Closed(conn) => write!(f, "{conn}: closed by the server"),
            Self::Open => write!(f, "the owner opens a connection"),
            Self::Drained(conn) => write!(f, "{conn}: drained"),
            Self::Switched(conn) => write!(f, "{conn}: its owner has switched"),
            Self::SendWrite => write!(f, "a request, not to be repeated"),
            Self::SendRead => write!(f, "a request that may be repeated"),
            Self::Wish => write!(f, "a lease is wanted"),
            Self::SendOn(nth) => write!(f, "holder {nth} sends a request on its lease"),
            Self::Return(nth) => write!(f, "holder {nth} returns its lease"),
            Self::Cancel(nth) => write!(f, "request {nth} of those under way is cancelled"),
            Self::Call => write!(f, "a command that waits for an element"),
            Self::Drop(nth) => write!(f, "the caller of waiting command {nth} gives up"),
            Self::Append => write!(f, "an element is appended"),
            Self::Hold => write!(f, "the servers hold up what waits for elements"),
            Self::Release => write!(f, "the servers run what they have held up"),
            Self::Subscribe => write!(f, "somebody subscribes"),
            Self::Publish(content) => write!(f, "content {content} is published"),
            Self::Served(conn) => write!(f, "{conn}: the server carries out what it has received first"),
            Self::Denied(conn) => write!(f, "{conn}: the server denies what it has received first"),
            Self::TimeIsUp(conn) => write!(f, "{conn}: the time of the command that waits is over"),
            Self::Shutdown => write!(f, "shutdown, with 5 s to finish"),
            Self::Moment => write!(f, "a millisecond passes"),
            Self::MoveBegins => write!(f, "the slots begin to move"),
            Self::KeysGo => write!(f, "the keys of the slots have gone ahead"),
            Self::Learns(server) => write!(f, "{server:?} learns who has the slots"),
            Self::Fails(server) => write!(f, "{server:?} goes away"),
            Self::Returns(server) => write!(f, "{server:?} is back"),
            Self::NodeReady(node) => write!(f, "{node}: connected"),
            Self::NodeUnreachable(node) => write!(f, "{node}: not to be reached"),
            Self::ToldAsAsked(nth) => write!(f, "question {nth} is answered by what was known when it came"),
            Self::ToldAsNow(nth) => write!(f, "question {nth} is answered by what is known now"),
            Self::Migrating => write!(f, "SMIGRATING"),
            Self::Migrated(nth) => write!(f, "SMIGRATED for move {nth}"),
            Self::SendScript => write!(f, "a script is sent"),
            Self::NodeServes(nth) => write!(f, "the node serves request {nth}"),
            Self::NodeRefuses(nth) => write!(f, "the node refuses request {nth}, a script after its write"),
            Self::NodeReplied(nth) => write!(f, "the reply to request {nth} is read"),
        }
    }
}
