//! The core of *hitless*: Redis connections that survive maintenance of the server without an error, a stall, or a lost
//! or repeated command. Redis calls the protocol behind it *maintenance notifications* or *smart client handoffs*.
//!
//! Everything here is a pure state machine: no I/O, no clock, no task, no randomness but a seed. An owner tells a machine
//! what happened and when, and is told what to do. The same facts at the same instants give the same decisions, so
//! everything can be tested in virtual time.
//!
//! # The model
//!
//! * A **notification** is a push by which the server announces maintenance ([`notification`]).
//! * A **window** is a time in which timeouts are relaxed, for the database, for one address or for one connection
//!   ([`windows`]). It extends the deadlines of commands in flight, never shortens one, and always ends by itself.
//! * A **move** is what one MOVING starts: an address, the *source*, is retired. It owns a **handoff** per connection to
//!   that address. The first, the *scout*, dials the target while every old connection goes on serving; when it has
//!   arrived the others follow, a few at a time.
//! * **Cut-over** is the instant at which a pool slot's requests go to the new connection instead of the old one; those
//!   not yet written go along, in order. Those written are answered on the old connection, which is then closed: it
//!   **drains**.
//!
//! # Three machines
//!
//! | machine | is | for |
//! |---|---|---|
//! | [`Coordinator`] | policy: where to dial, what a notification means, who moves when | owners of their own I/O, pool and codec |
//! | [`Connection`] | the protocol of one socket: handshake, pairing of replies, deadlines | rarely used alone |
//! | [`Client`] | the two above and a pool, as one machine | everybody else; the driver runs it |
//!
//! All have four verbs. `handle_*(now, fact)`: something happened. `poll_*() -> Option<decision>`: something is to be
//! done. `poll_timeout() -> Option<Instant>`: when to call `handle_timeout(now)` at the latest. Every method is total:
//! stale or unknown ids do nothing, a timeout that comes too early does nothing, and a decision that is obeyed late is
//! still right.
//!
//! # The loop
//!
//! 1. Obey the actions. 2. Wait for the network, or until `poll_timeout`. 3. Say what happened.
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Instant;
//!
//! use hitless_core::endpoint::Endpoint;
//! use hitless_core::request::Request;
//! use hitless_core::write_buffer::WriteBuffer;
//! use hitless_core::{Action, Client, Config, cmd};
//! # use hitless_core::ids::ConnId;
//! # use hitless_core::endpoint::Peer;
//! # use resp3_codec::{Decoder, Frame, Limits};
//! # /// A network with one server that answers at once.
//! # struct Net { decoder: Decoder, inbox: Vec<(ConnId, Option<Frame>)>, now: Instant }
//! # enum Io { Connected(ConnId, Peer), Received(ConnId, Frame), Timeout }
//! # impl Net {
//! #     fn new(now: Instant) -> Self { Net { decoder: Decoder::new(Limits::default()), inbox: Vec::new(), now } }
//! #     fn dial(&mut self, conn: ConnId, _: Peer) { self.inbox.push((conn, None)); }
//! #     fn write(&mut self, conn: ConnId, bytes: &[u8]) {
//! #         self.decoder.buffer().extend_from_slice(bytes);
//! #         while let Some(command) = self.decoder.poll_frame().unwrap() {
//! #             let reply = match command.as_array().unwrap()[0].as_str().unwrap() {
//! #                 "HELLO" => Frame::Map(vec![(Frame::bulk("proto"), Frame::Integer(3))]),
//! #                 "PING" => Frame::Simple("PONG".into()),
//! #                 _ => Frame::Simple("OK".into()),
//! #             };
//! #             self.inbox.push((conn, Some(reply)));
//! #         }
//! #     }
//! #     fn wait(&mut self, until: Option<Instant>) -> Io {
//! #         if self.inbox.is_empty() { self.now = until.unwrap(); return Io::Timeout }
//! #         match self.inbox.remove(0) {
//! #             (conn, None) => Io::Connected(conn, Peer::from(std::net::SocketAddr::from(([127, 0, 0, 1], 6379)))),
//! #             (conn, Some(frame)) => Io::Received(conn, frame),
//! #         }
//! #     }
//! # }
//! # #[expect(clippy::disallowed_methods)]
//! # fn clock() -> Instant { Instant::now() }
//!
//! let config = Arc::new(Config::builder(Endpoint::parse("127.0.0.1", 6379)?).pool_size(1).build()?);
//! let mut net = Net::new(clock());
//! let mut client = Client::new(net.now, config, 42);
//! let ping = client.send(net.now, Request::command(cmd("PING"))?)?;
//!
//! let reply = 'running: loop {
//!     while let Some(action) = client.poll_action() {
//!         match action {
//!             Action::Connect { conn, address, .. } => net.dial(conn, address),
//!             Action::Flush { conn } => {
//!                 let mut buffer = WriteBuffer::new();
//!                 while client.poll_transmit(conn, &mut buffer) {}
//!                 while !buffer.is_empty() {
//!                     let chunk = buffer.chunk();
//!                     net.write(conn, chunk);
//!                     buffer.advance(chunk.len());
//!                 }
//!             }
//!             Action::Complete { request, outcome } if request == ping => break 'running outcome?,
//!             Action::Emit(event) => println!("{event:?}"),
//!             _ => {} // Resolve, Close, Started, Push, Terminated
//!         }
//!     }
//!     match net.wait(client.poll_timeout()) {
//!         Io::Connected(conn, peer) => client.handle_connected(net.now, conn, peer),
//!         Io::Received(conn, frame) => client.handle_frames(net.now, conn, [frame]),
//!         Io::Timeout => client.handle_timeout(net.now),
//!     }
//! };
//! assert_eq!(reply[0].as_str(), Some("PONG"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Errors and panics
//!
//! Whatever the network or a server does is an event or an error value; whatever a caller asks for wrongly is given back
//! with the reason ([`error`]). No input makes a machine panic, and everything it keeps has a limit.
//!
//! # Features
//!
//! | feature | adds |
//! |---|---|
//! | `driver` | the asynchronous driver, written once over five small traits, without a runtime of its own |
//! | `tracing` | with `driver`: every [event] that matters enough as an event of the `tracing` crate |
//! | `explore` | for model checking alone: machines can be cloned, and their states compared |

pub mod backoff;
pub mod breaker;
pub mod client;
mod command_table;
pub mod config;
pub mod connection;
pub mod coordinator;
pub mod dedup;
#[cfg(feature = "driver")]
pub mod driver;
pub mod endpoint;
pub mod endpoint_type;
pub mod error;
pub mod event;
#[cfg(feature = "explore")]
mod fingerprint;
pub mod handshake;
pub mod ids;
pub mod mode;
pub mod notification;
pub mod observe;
pub mod request;
pub mod review;
pub mod rng;
pub mod slots;
pub mod target_policy;
pub mod timer;
pub mod windows;
pub mod write_buffer;

pub use client::{Action, Client};
pub use config::{Config, ConfigBuilder, maintenance};
pub use connection::Connection;
pub use coordinator::{Coordinator, Directive};
pub use mode::Mode;
pub use request::{Pipeline, Request};
pub use resp3_codec::{Command, Decoder, Frame, Limits, cmd};
