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
//!   ([`relaxed`](Coordinator::relaxed)). It extends the deadlines of commands in flight, never shortens one, and always ends by itself.
//! * A **move** is what one MOVING starts: an address, the *source*, is retired. It owns a **handoff** per connection to
//!   that address. The first, the *scout*, dials the target while every old connection goes on serving; when it has
//!   arrived the others follow, a few at a time.
//! * A **target** is what is dialled: an address, and the name by which the server there is verified over TLS
//!   ([`Target`](endpoint::Target)).
//! * **Cut-over** is the instant at which a pool slot's requests go to the new connection instead of the old one; those
//!   not yet written go along, in order. Those written are answered on the old connection, which is then closed: it
//!   **drains**.
//! * A **held** connection has a state that somebody relies on, such as a watched key or a subscription. Its owner decides
//!   when it is cut over ([`Role`](coordinator::Role)); the [`Client`] has none.
//!
//! # The machines
//!
//! | machine | is | for |
//! |---|---|---|
//! | [`Client`] | protocol, pool and policy as one machine | whoever has sockets, or anything else that carries bytes |
//! | [`Coordinator`] | policy alone: where to dial, what a notification means, who moves when | authors of other clients, with an I/O, a codec and a pool of their own |
//! | [`Connection`] | the protocol of one socket: handshake, pairing of replies, deadlines | rarely used alone |
//! | [`Cluster`] | which node of a cluster serves which slot, and where a request goes that a node did not run | beside a client for each node |
//!
//! All of them have four verbs. `handle_*(now, fact)`: something happened. `poll_*() -> Option<decision>`: something is to be
//! done. `poll_timeout() -> Option<Instant>`: when to call `handle_timeout(now)` at the latest. Every method is total:
//! stale or unknown ids do nothing, a timeout that comes too early does nothing, and a decision that is obeyed late is
//! still right.
//!
//! The [`guide`] says what to tell, what to obey and what can be ignored when the [`Coordinator`] is put behind another
//! client. What follows is the [`Client`].
//!
//! # The loop
//!
//! 1. **Obey** every [`Action`], until there is none.
//! 2. **Wait** for the network, but not beyond [`poll_timeout`](Client::poll_timeout).
//! 3. **Tell** what happened, with the time; then from the beginning.
//!
//! Requests ([`Client::send`]) may be handed in between any two steps; their ends are actions. The client limits the time
//! of its dials and requests itself, so there is no timer but that of step 2.
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
//! # use hitless_core::error::{CloseCause, SystemError};
//! # use hitless_core::{Decoder, Frame, Limits};
//! # /// A network with one server that answers at once.
//! # struct Net { decoder: Decoder, inbox: Vec<Io> }
//! # enum Io {
//! #     Resolved(ConnId, Result<Vec<std::net::IpAddr>, SystemError>),
//! #     Connected(ConnId, Peer),
//! #     ConnectFailed(ConnId, std::io::Error),
//! #     Received(ConnId, Vec<Frame>),
//! #     Closed(ConnId, CloseCause),
//! #     TimeIsUp,
//! # }
//! # impl Net {
//! #     fn new() -> Self { Net { decoder: Decoder::new(Limits::default()), inbox: Vec::new() } }
//! #     fn look_up(&mut self, conn: ConnId, _: &str) { self.inbox.push(Io::Resolved(conn, Ok(vec![[10, 0, 0, 1].into()]))); }
//! #     fn dial(&mut self, conn: ConnId, peer: Peer) { self.inbox.push(Io::Connected(conn, peer)); }
//! #     fn close(&mut self, _: ConnId) {}
//! #     fn write(&mut self, conn: ConnId, bytes: &[u8]) -> usize {
//! #         self.decoder.buffer().extend_from_slice(bytes);
//! #         while let Some(command) = self.decoder.poll_frame().unwrap() {
//! #             let reply = match command.as_array().unwrap()[0].as_str().unwrap() {
//! #                 "HELLO" => Frame::Map(vec![(Frame::bulk("proto"), Frame::Integer(3))]),
//! #                 "PING" => Frame::simple("PONG"),
//! #                 _ => Frame::simple("OK"),
//! #             };
//! #             self.inbox.push(Io::Received(conn, vec![reply]));
//! #         }
//! #         bytes.len()
//! #     }
//! #     fn wait(&mut self, _: Option<Instant>) -> Io {
//! #         if self.inbox.is_empty() { Io::TimeIsUp } else { self.inbox.remove(0) }
//! #     }
//! # }
//! # #[expect(clippy::disallowed_methods)]
//! # fn clock() -> Instant { Instant::now() }
//!
//! let config = Config::builder(Endpoint::parse("redis.example.com", 6379)?).pool_size(1).build()?;
//! let mut client = Client::new(clock(), Arc::new(config), 42);
//! let ping = client.send(clock(), Request::command(cmd("PING"))?)?;
//! let mut net = Net::new(); // sockets, and a decoder for each of them
//!
//! let reply = 'running: loop {
//!     while let Some(action) = client.poll_action() {
//!         match action {
//!             Action::Resolve { conn, host } => net.look_up(conn, &host),
//!             Action::Connect { conn, target, .. } => net.dial(conn, target.address),
//!             Action::Flush { conn } => {
//!                 let mut buffer = WriteBuffer::new();
//!                 client.handle_writable(clock(), conn);
//!                 while client.poll_transmit(conn, &mut buffer) {
//!                     while !buffer.is_empty() {
//!                         let written = net.write(conn, buffer.chunk());
//!                         buffer.advance(written);
//!                     }
//!                 }
//!             }
//!             Action::Close { conn, .. } => net.close(conn),
//!             Action::Started(result) => result?,
//!             Action::Complete { request, outcome } if request == ping => break 'running outcome?,
//!             Action::Emit(event) => println!("{}", event.line(clock())),
//!             _ => {} // other people's replies, pushes, and what only those hear who ask for it
//!         }
//!     }
//!     let io = net.wait(client.poll_timeout());
//!     let now = clock();
//!     match io {
//!         Io::Resolved(conn, answer) => client.handle_resolved(now, conn, answer),
//!         Io::Connected(conn, peer) => client.handle_connected(now, conn, peer),
//!         Io::ConnectFailed(conn, error) => client.handle_connect_failed(now, conn, error),
//!         Io::Received(conn, frames) => client.handle_frames(now, conn, frames),
//!         Io::Closed(conn, cause) => client.handle_closed(now, conn, cause),
//!         Io::TimeIsUp => client.handle_timeout(now),
//!     }
//! };
//! assert_eq!(reply[0].as_str(), Some("PONG"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The example `poll_loop` is this loop with sockets that do not block, and the feature `driver` is it with tasks.
//!
//! A socket that takes no more bytes keeps its buffer and is written when it does again. What
//! [`poll_transmit`](Client::poll_transmit) has handed out counts as written: the server may run it. Where the end of a
//! stream is seen behind frames that are not handed in yet, say so first ([`Client::handle_ending`]): they may be old.
//! Where many callers share a connection, hand in [`Client::batch`] frames at a time and let the callers send in between:
//! client and server then work at the same time. [`Client::handle_frames_with`] tells of answers at once, and leaves it to a loop behind
//! a lock when to free what was written for them.
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
//! | `tls` | with `driver`: encrypted connections, by rustls with ring's cryptography |
//! | `tracing` | with `driver`: every [event] that matters enough as an event of the `tracing` crate |
//! | `redis-rs` | with `driver`: `redis::aio::ConnectionLike` for the client and for leases, so that the commands, pipelines, scripts and iterators of the `redis` crate run on them |
//! | `explore` | for model checking alone: machines can be cloned, and their states compared |

mod backoff;
mod breaker;
pub mod client;
pub mod cluster;
mod command_table;
pub mod config;
pub mod connection;
pub mod coordinator;
mod dedup;
#[cfg(feature = "driver")]
pub mod driver;
pub mod endpoint;
pub mod endpoint_type;
pub mod error;
pub mod event;
#[cfg(feature = "explore")]
mod fingerprint;
#[cfg(doctest)]
mod forbidden;
pub mod guide;
pub mod handshake;
pub mod ids;
mod level;
pub mod mode;
pub mod notification;
pub mod observe;
pub mod pubsub;
pub mod request;
pub mod review;
mod rng;
mod slots;
mod target_policy;
#[cfg(test)]
mod tests;
mod timer;
mod value;
mod windows;
pub mod write_buffer;

#[doc(no_inline)]
pub use bytes::{Bytes, BytesMut};
pub use client::{Action, Client};
pub use cluster::Cluster;
pub use config::{Config, ConfigBuilder, maintenance};
pub use connection::Connection;
pub use coordinator::{Coordinator, Directive};
pub use mode::Mode;
pub use request::{Pipeline, Request};
pub use resp3_codec::{Command, DecodeError, Decoder, Frame, Limit, Limits, ToArg, ToArgs, cmd};
#[cfg(feature = "tls")]
#[doc(no_inline)]
pub use rustls;
pub use value::{FromFrame, ValueError};
