//! Behaviour of the server in virtual time.

mod cluster;
mod commands;
mod faults;
mod maintenance;
#[cfg(feature = "scripts")]
mod scripts;
mod upstream;

use std::time::{Duration, Instant};

use bytes::BytesMut;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// A server, and a clock that only the test moves.
pub(super) struct Lab {
    pub(super) server: Server,
    pub(super) now: Instant,
    pub(super) a: EndpointId,
    pub(super) b: EndpointId,
}

impl Lab {
    pub(super) fn new() -> Self {
        Self::with(ServerConfig::default())
    }

    #[expect(clippy::disallowed_methods, reason = "an origin for virtual time")]
    pub(super) fn with(config: ServerConfig) -> Self {
        let mut server = Server::new(config);
        let spec = |text: &str| EndpointSpec::new(text.parse().unwrap());
        let a = server.add_endpoint(spec("10.0.0.1:6379").with_host("a.example"));
        let b = server.add_endpoint(spec("10.0.0.2:6379").with_host("b.example"));
        Self { server, now: Instant::now(), a, b }
    }

    pub(super) fn dial(&mut self, endpoint: EndpointId) -> ServerConn {
        self.server.accept(self.now, endpoint).unwrap()
    }

    /// A connection that speaks RESP3 and gets notifications.
    pub(super) fn opted_in(&mut self, endpoint: EndpointId) -> ServerConn {
        let conn = self.dial(endpoint);
        self.ask(conn, "HELLO 3");
        let answer = self.ask(conn, "CLIENT MAINT_NOTIFICATIONS ON moving-endpoint-type internal-ip");
        assert!(answer.starts_with("+OK\r\n"), "{answer}");
        conn
    }

    pub(super) fn send(&mut self, conn: ServerConn, command: &str) {
        let mut buf = BytesMut::new();
        let words: Vec<&[u8]> = command.split(' ').map(str::as_bytes).collect();
        resp3_codec::encode_command(&mut buf, &words);
        self.server.handle_bytes(self.now, conn, &buf);
    }

    /// What a connection has been sent since the last time, in one write.
    pub(super) fn read(&mut self, conn: ServerConn) -> String {
        let mut buf = BytesMut::new();
        self.server.poll_transmit(conn, &mut buf);
        String::from_utf8(buf.to_vec()).unwrap()
    }

    pub(super) fn ask(&mut self, conn: ServerConn, command: &str) -> String {
        self.send(conn, command);
        self.read(conn)
    }

    /// Lets time pass, stopping at every timeout.
    pub(super) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(at) = self.server.poll_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.server.handle_timeout(self.now);
            assert!(self.server.poll_timeout().is_none_or(|next| next > self.now), "the server spins");
        }
        self.now = end;
    }

    pub(super) fn closes(&mut self) -> Vec<(ServerConn, CloseHow)> {
        std::iter::from_fn(|| self.server.poll_close()).collect()
    }
}
