//! The client's machine, and servers that say yes to everything.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use hitless_core::client::{Action, Client};
use hitless_core::config::{Config, maintenance};
use hitless_core::endpoint::{Endpoint, Peer};
use hitless_core::event::Event;
use hitless_core::ids::ConnId;
use hitless_core::request::Request;
use hitless_core::write_buffer::WriteBuffer;
use resp3_codec::Frame;

use crate::figures::Work;

/// Connections that are told to move.
pub const MOVED: u32 = 100;
/// Handoffs that work at the same time.
pub const WORKERS: u32 = 100;

/// A client in virtual time.
pub struct World {
    /// The machine.
    pub client: Client,
    /// The time, which stands still.
    pub now: Instant,
    dials: VecDeque<(ConnId, Peer)>,
    buffer: WriteBuffer,
    /// One that serves, and where the last command was written.
    pub conn: Option<ConnId>,
    /// Connections that were cut over.
    pub moved: u32,
}

impl World {
    /// A pool that is ready.
    ///
    /// # Panics
    ///
    /// When the pool is too large.
    pub fn new(pool: u32) -> Self {
        let endpoint = Endpoint::from(SocketAddr::from(([127, 0, 0, 1], 1)));
        let maintenance = maintenance::Config::builder().max_workers(WORKERS).build();
        let maintenance = maintenance.expect("as many workers as may be");
        let config = Config::builder(endpoint).pool_size(pool).maintenance(maintenance).build();
        let now = origin();
        let mut world = Self {
            client: Client::new(now, Arc::new(config.expect("a pool of a size that may be")), 1),
            now,
            dials: VecDeque::new(),
            buffer: WriteBuffer::new(),
            conn: None,
            moved: 0,
        };
        world.obey();
        world.answer_dials();
        world
    }

    /// Carries out what the client has decided, and writes all there is.
    pub fn obey(&mut self) {
        while let Some(action) = self.client.poll_action() {
            match action {
                Action::Connect { conn, target, .. } => self.dials.push_back((conn, target.address)),
                Action::Flush { conn } => {
                    while self.client.poll_transmit(conn, &mut self.buffer) {}
                    self.buffer = WriteBuffer::new();
                    self.conn = Some(conn);
                }
                Action::Emit(Event::CutOver { .. }) => self.moved += 1,
                _ => {}
            }
        }
    }

    /// Every dial succeeds, those included that follow from it.
    pub fn answer_dials(&mut self) {
        while let Some((conn, address)) = self.dials.pop_front() {
            self.client.handle_connected(self.now, conn, address);
            self.obey();
            let hello = Frame::Map(vec![(Frame::bulk("proto"), Frame::Integer(3))]);
            let ok = || Frame::simple("OK");
            self.client.handle_frames(self.now, conn, [hello, ok(), ok(), ok()]);
            self.obey();
            self.conn = Some(conn);
        }
    }

    /// One command, from its acceptance to its completion.
    pub fn command(&mut self) {
        let request = Request::raw(Bytes::from_static(b"*1\r\n$4\r\nPING\r\n"), NonZeroU32::MIN);
        if self.client.send(self.now, request).is_ok() {
            self.obey();
            if let Some(conn) = self.conn {
                self.client.handle_frames(self.now, conn, [Frame::simple("PONG")]);
            }
            self.obey();
        }
        std::hint::black_box(self.client.poll_timeout());
    }

    /// A push comes on one of the connections.
    pub fn push(&mut self, words: &[&str]) {
        let element =
            |word: &&str| word.parse().map_or_else(|_| Frame::bulk(word.as_bytes().to_vec()), Frame::Integer);
        if let Some(conn) = self.conn {
            self.client.handle_frames(self.now, conn, [Frame::Push(words.iter().map(element).collect())]);
        }
        self.obey();
    }
}

/// Moves [`MOVED`] connections, new ones in each pass.
pub fn moves() -> Work {
    Box::new(|meter| {
        let mut world = World::new(MOVED);
        meter.part(|| {
            world.push(&["MOVING", "2", "15", "127.0.0.1:2"]);
            world.answer_dials();
        });
        assert_eq!(world.moved, MOVED, "all have moved");
    })
}

#[expect(clippy::disallowed_methods, reason = "virtual time needs an origin")]
fn origin() -> Instant {
    Instant::now()
}
