//! What executes the requests: the embedded data set, or a real server behind this one.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use resp3_codec::Frame;

use super::machine::{CloseHow, EndpointId, ServerConn};
use super::request::Request;

/// Who answers a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// The backend executes and answers it.
    Execute,
    /// The server answers it itself; the backend reports with [`Effect::Turn`] when the replies to all
    /// earlier requests of the connection are out.
    Announce,
}

/// The version of the protocol that a connection speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    /// RESP2, until `HELLO 3`.
    #[default]
    Resp2,
    /// RESP3.
    Resp3,
}

/// The state of the data behind an endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Condition {
    /// All is well.
    #[default]
    Serving,
    /// `-LOADING` to whatever touches data.
    Loading,
    /// `-READONLY` to writes; blocked clients are sent away with `-UNBLOCKED` when it begins.
    ReadOnly,
    /// `-MASTERDOWN` to whatever touches data.
    MasterDown,
    /// `BLPOP` and `BRPOP` are held up, and run when it ends: what a redis-server before 7.2 does with all writes while `CLIENT PAUSE` lasts; other
    /// writes are carried out here. `CLIENT LIST` shows such a client waiting, and `CLIENT UNBLOCK .. ERROR` answers 1 and has it told `-UNBLOCKED`, but the
    /// command runs all the same.
    Paused,
}

/// Something that a backend did.
#[derive(Debug)]
pub enum Effect {
    /// The reply to a request of this connection.
    Reply {
        /// The connection.
        conn: ServerConn,
        /// What is answered.
        request: Request,
        /// In the version of the protocol that the connection speaks.
        frame: Frame,
    },
    /// A frame that answers nothing: a message of a subscription.
    Push {
        /// The connection.
        conn: ServerConn,
        /// In the version of the protocol that the connection speaks.
        frame: Frame,
    },
    /// Whole frames of a real server, as they arrived.
    Raw {
        /// The connection.
        conn: ServerConn,
        /// Whole frames.
        bytes: Bytes,
    },
    /// It is the server's turn to answer an announced request.
    Turn {
        /// The connection.
        conn: ServerConn,
        /// The request that was announced.
        request: Request,
        /// What the backend has against it: it is not authenticated.
        refusal: Option<Frame>,
    },
    /// A request was executed.
    Executed {
        /// The connection.
        conn: ServerConn,
        /// What was executed.
        request: Request,
        /// Whether it ended without an error.
        ok: bool,
    },
    /// A request is held up by a pause.
    HeldUp {
        /// The connection.
        conn: ServerConn,
        /// What is held up.
        request: Request,
    },
    /// A request that was held up runs now.
    Resumed {
        /// The connection.
        conn: ServerConn,
        /// What was held up.
        request: Request,
    },
    /// `RESET`: the connection is as if new.
    Reset {
        /// The connection.
        conn: ServerConn,
    },
    /// The connection is to be closed once everything before is out.
    Close {
        /// The connection.
        conn: ServerConn,
        /// In which way.
        how: CloseHow,
    },
}

/// The effects of one call, in order.
pub type Effects = VecDeque<Effect>;

/// Executes requests for a [`Server`](super::Server).
pub trait Backend {
    /// An endpoint can be dialled here from now on. A real server knows where it is.
    fn place(&mut self, endpoint: EndpointId, address: SocketAddr, host: Option<&str>) {
        let _ = (endpoint, address, host);
    }

    /// A connection was accepted at an endpoint.
    fn open(&mut self, now: Instant, conn: ServerConn, endpoint: EndpointId);

    /// A connection is gone. Nothing more is reported about it.
    fn close(&mut self, now: Instant, conn: ServerConn, effects: &mut Effects);

    /// A request arrived.
    fn request(
        &mut self,
        now: Instant,
        conn: ServerConn,
        request: Request,
        turn: Turn,
        effects: &mut Effects,
    );

    /// The version of the protocol that the connection speaks.
    fn protocol(&self, conn: ServerConn) -> Protocol;

    /// The data behind an endpoint changes its state. A real server's state is its own business.
    fn set_condition(
        &mut self,
        now: Instant,
        endpoint: EndpointId,
        condition: Condition,
        effects: &mut Effects,
    ) {
        let _ = (now, endpoint, condition, effects);
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called next.
    fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    /// Time has passed.
    fn handle_timeout(&mut self, now: Instant, effects: &mut Effects) {
        let _ = (now, effects);
    }

    /// The address of the real server behind this one, if there is one.
    fn upstream(&self) -> Option<SocketAddr> {
        None
    }

    /// Appends what is to be sent to the real server.
    fn poll_upstream_transmit(&mut self, conn: ServerConn, buf: &mut BytesMut) -> bool {
        let _ = (conn, buf);
        false
    }

    /// Bytes arrived from the real server.
    fn handle_upstream_bytes(&mut self, now: Instant, conn: ServerConn, bytes: &[u8], effects: &mut Effects) {
        let _ = (now, conn, bytes, effects);
    }
}
