//! What every simulated server is to the one that carries its bytes.

use std::fmt;
use std::net::SocketAddr;
use std::time::Instant;

use bytes::BytesMut;

/// One address at which a server can be dialled: a node or a proxy.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EndpointId(pub(crate) u32);

impl EndpointId {
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Debug for EndpointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "endpoint#{}", self.0)
    }
}

/// One accepted connection, seen from the server. Never reused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerConn(pub(crate) u64);

impl fmt::Debug for ServerConn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "server-conn#{}", self.0)
    }
}

/// How a connection is closed by the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseHow {
    /// In order: what was written before arrives, then the end of the stream.
    Fin,
    /// At once: what is under way is lost and the peer sees a reset.
    Reset,
}

/// What happens to a dial of an endpoint now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listening {
    /// It is accepted.
    Accepting,
    /// It is refused at once (`ECONNREFUSED`).
    Refusing,
    /// Nothing answers it: the dialler waits for its own timeout.
    BlackHole,
}

/// Why a dial did not become a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DialRefused {
    /// Refused at once.
    Refused,
    /// Never answered; the carrier lets the dialler wait.
    Unanswered,
}

/// The verbs by which a server is driven: by the loops in virtual time, by the TCP shell, or by
/// anything else that moves bytes.
///
/// After every `handle_*` and after every control call, drain in this order: [`poll_ready`] with
/// [`poll_transmit`] for each connection it names, then [`poll_close`]. Stale connections are no-ops.
///
/// [`poll_ready`]: Self::poll_ready
/// [`poll_transmit`]: Self::poll_transmit
/// [`poll_close`]: Self::poll_close
pub trait ServerMachine {
    /// The endpoints, in the order in which they were added.
    fn endpoints(&self) -> Vec<EndpointId>;

    /// The address of an endpoint.
    fn address(&self, endpoint: EndpointId) -> SocketAddr;

    /// Tells an endpoint the address at which it can really be dialled.
    fn set_address(&mut self, endpoint: EndpointId, address: SocketAddr);

    /// What a dial of this endpoint meets now.
    fn listening(&self, now: Instant, endpoint: EndpointId) -> Listening;

    /// A client dials the endpoint.
    ///
    /// # Errors
    /// The endpoint refuses dials now, or does not answer them.
    fn accept(&mut self, now: Instant, endpoint: EndpointId) -> Result<ServerConn, DialRefused>;

    /// Bytes arrived from the client.
    fn handle_bytes(&mut self, now: Instant, conn: ServerConn, bytes: &[u8]);

    /// The client closed, or the link broke.
    fn handle_disconnect(&mut self, now: Instant, conn: ServerConn);

    /// The next connection that has bytes to transmit.
    fn poll_ready(&mut self) -> Option<ServerConn>;

    /// Appends what is to be sent to the client now; `false` when there is nothing.
    fn poll_transmit(&mut self, conn: ServerConn, buf: &mut BytesMut) -> bool;

    /// The next connection to close. Everything that was to arrive before has been transmitted.
    fn poll_close(&mut self) -> Option<(ServerConn, CloseHow)>;

    /// When [`handle_timeout`](Self::handle_timeout) is to be called next.
    fn poll_timeout(&self) -> Option<Instant>;

    /// Time has passed. Too early or too often is a no-op.
    fn handle_timeout(&mut self, now: Instant);

    /// The address of the real server that must be dialled for each accepted connection, if this
    /// machine only stands in front of one.
    fn upstream(&self) -> Option<SocketAddr> {
        None
    }

    /// Appends what is to be sent to the real server behind this connection.
    fn poll_upstream_transmit(&mut self, conn: ServerConn, buf: &mut BytesMut) -> bool {
        let _ = (conn, buf);
        false
    }

    /// Bytes arrived from the real server behind this connection.
    fn handle_upstream_bytes(&mut self, now: Instant, conn: ServerConn, bytes: &[u8]) {
        let _ = (now, conn, bytes);
    }

    /// The real server behind this connection closed it.
    fn handle_upstream_disconnect(&mut self, now: Instant, conn: ServerConn) {
        let _ = (now, conn);
    }
}
