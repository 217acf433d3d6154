//! Embedding: how another client, or an application with an event loop of its own, uses this crate.
//!
//! # Which machine
//!
//! | you have | take | see it whole |
//! |---|---|---|
//! | sockets, or whatever carries bytes | [`Client`]: protocol, pool and moves | [the loop](crate#the-loop); the example `poll_loop` |
//! | a client: connections, a codec, perhaps a pool | [`Coordinator`]: decisions only | below; the package `conformance/embed`, redis-rs's connections behind it |
//!
//! Neither starts a thread, reads a clock or opens a socket. Both are told facts with the time at which they became known,
//! and say what is to be done about them. They are driven under whatever lock or on whatever thread you like: every
//! method returns at once.
//!
//! # Embedding the coordinator
//!
//! Your client goes on doing what it does: encoding, decoding, pairing replies with requests, its own handshake. It
//! loses one decision, where and when to connect, and learns to move a connection that works. The life of a slot, with
//! what is told on the left and what is to be obeyed on the right:
//!
//! ```text
//! open                         Resolve   the configured name
//! handle_resolved              Dial
//! handle_connected
//! handle_ready                 Serve
//!     ...
//! handle_notification          Windows   timeouts are relaxed
//!   (MOVING)                   Dial      the new node; the old connection serves
//! handle_connected
//! handle_ready                 CutOver   new requests go to the new connection
//!                              Drain     the old one answers what it has
//! handle_drained               Close
//! ```
//!
//! And the whole of it, but for the network:
//!
//! ```
//! use std::collections::BTreeSet;
//! use std::sync::Arc;
//! use std::time::Instant;
//!
//! use hitless_core::endpoint::{Endpoint, Peer};
//! use hitless_core::handshake::{OptIn, Probe};
//! use hitless_core::ids::ConnId;
//! use hitless_core::notification::Notification;
//! use hitless_core::{Config, Coordinator, Directive, Frame};
//! # use std::collections::{BTreeMap, VecDeque};
//!
//! /// Your pool, here of one slot.
//! struct Pool {
//!     coordinator: Coordinator,
//!     /// Where new requests go.
//!     serving: Option<ConnId>,
//!     /// Old connections that still owe replies; yours know how many.
//!     draining: BTreeSet<ConnId>,
//! }
//!
//! impl Pool {
//!     /// Called after every fact, until the coordinator has no more to say.
//!     fn obey(&mut self, now: Instant, network: &mut Network) {
//!         while let Some(directive) = self.coordinator.poll_directive() {
//!             match directive {
//!                 Directive::Resolve { conn, host } => network.look_up(conn, &host),
//!                 Directive::Dial { conn, target, probe, .. } => network.dial(conn, target.address, probe),
//!                 Directive::Serve { conn } => self.serving = Some(conn),
//!                 Directive::CutOver { to, .. } => self.serving = Some(to),
//!                 Directive::Drain { conn, .. } => {
//!                     self.draining.insert(conn);
//!                 }
//!                 Directive::Close { conn, .. } => network.close(conn),
//!                 Directive::Failed { redial, .. } => network.reopen_later(redial),
//!                 Directive::OptIn { conn } => network.opt_in(conn),
//!                 Directive::Windows { .. } => { /* ask `relaxed` for requests in flight */ }
//!                 Directive::Emit(event) => println!("{}", event.line(now)),
//!                 _ => {} // said only to those who ask for it
//!             }
//!         }
//!     }
//!
//!     /// Called for whatever your connections, timers and lookups report.
//!     fn hear(&mut self, now: Instant, fact: Fact) {
//!         let coordinator = &mut self.coordinator;
//!         match fact {
//!             Fact::Resolved(conn, answer) => coordinator.handle_resolved(now, conn, answer),
//!             Fact::Connected(conn, peer) => coordinator.handle_connected(now, conn, peer),
//!             Fact::Ready(conn, opt_in) => coordinator.handle_ready(now, conn, opt_in),
//!             Fact::OptedIn(conn, opt_in) => coordinator.handle_opt_in(now, conn, opt_in),
//!             Fact::Push(conn, elements) => match Notification::parse(&elements) {
//!                 Ok(Some(notification)) => coordinator.handle_notification(now, conn, &notification),
//!                 Ok(None) => { /* not about maintenance: yours */ }
//!                 Err(malformed) => eprintln!("{malformed}"),
//!             },
//!             Fact::AllAnswered(conn) if self.draining.remove(&conn) => coordinator.handle_drained(now, conn),
//!             Fact::AllAnswered(_) => {}
//!             Fact::TimeIsUp => coordinator.handle_timeout(now),
//!         }
//!     }
//! }
//!
//! # enum Fact {
//! #     Resolved(ConnId, Result<Vec<std::net::IpAddr>, std::io::ErrorKind>),
//! #     Connected(ConnId, Peer),
//! #     Ready(ConnId, OptIn),
//! #     OptedIn(ConnId, OptIn),
//! #     Push(ConnId, Vec<Frame>),
//! #     AllAnswered(ConnId),
//! #     TimeIsUp,
//! # }
//! # /// A network on which everything succeeds at once, and whose first node retires.
//! # #[derive(Default)]
//! # struct Network { facts: VecDeque<Fact>, peers: BTreeMap<ConnId, Peer> }
//! # impl Network {
//! #     fn look_up(&mut self, conn: ConnId, host: &str) {
//! #         assert_eq!(host, "redis.example.com");
//! #         self.facts.push_back(Fact::Resolved(conn, Ok(vec![[10, 0, 0, 1].into()])));
//! #     }
//! #     fn dial(&mut self, conn: ConnId, address: Peer, probe: Probe) {
//! #         assert_eq!(probe, Probe::OptIn);
//! #         self.facts.push_back(Fact::Connected(conn, address.clone()));
//! #         self.facts.push_back(Fact::Ready(conn, OptIn::Accepted));
//! #         if self.peers.is_empty() {
//! #             let elements = ["MOVING", "7", "15", "10.0.0.2:6379"].map(Frame::bulk).to_vec();
//! #             self.facts.push_back(Fact::Push(conn, elements));
//! #         } else {
//! #             self.facts.extend(self.peers.keys().map(|old| Fact::AllAnswered(*old)));
//! #         }
//! #         self.peers.insert(conn, address);
//! #     }
//! #     fn opt_in(&mut self, conn: ConnId) { self.facts.push_back(Fact::OptedIn(conn, OptIn::Accepted)); }
//! #     fn close(&mut self, conn: ConnId) { self.peers.remove(&conn); }
//! #     fn reopen_later(&mut self, _: hitless_core::coordinator::Redial) {}
//! #     fn wait(&mut self, _: Option<Instant>) -> Option<Fact> { self.facts.pop_front() }
//! # }
//! # #[expect(clippy::disallowed_methods)]
//! # fn clock() -> Instant { Instant::now() }
//! let config = Arc::new(Config::builder(Endpoint::parse("redis.example.com", 6379)?).pool_size(1).build()?);
//! let mut pool = Pool { coordinator: Coordinator::new(config, 42), serving: None, draining: BTreeSet::new() };
//! let mut network = Network::default();
//!
//! pool.coordinator.open(clock(), Role::Shared); // once for each slot
//! pool.obey(clock(), &mut network);
//! while let Some(fact) = network.wait(pool.coordinator.poll_timeout()) {
//!     let now = clock();
//!     pool.hear(now, fact);
//!     pool.obey(now, &mut network);
//! }
//!
//! // The server has announced that 10.0.0.1 retires: its successor serves, and it is gone.
//! let serving = pool.serving.and_then(|conn| pool.coordinator.peer(conn));
//! assert_eq!(serving.map(Peer::to_string).as_deref(), Some("10.0.0.2:6379"));
//! assert_eq!(network.peers.len(), 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! ## What to tell
//!
//! | fact | method | when |
//! |---|---|---|
//! | a slot of the pool is empty | [`open`] | at the start; and when a connection was lost or `Failed`, after a pause ([`Reconnect`] says how long), unless a dial that replaces it is under way |
//! | a name was looked up | [`handle_resolved`] | in answer to `Resolve` |
//! | a socket is connected | [`handle_connected`] | before the handshake, with the *peer*: the address that it is connected to |
//! | the handshake is done | [`handle_ready`] | with what became of the opt-in |
//! | the dial or the handshake failed | [`handle_dial_failed`] | at once; if the link died between the opt-in and its answer, [`handle_lost_at_opt_in`] |
//! | an opt-in was answered | [`handle_opt_in`] | in answer to `OptIn` |
//! | a maintenance notification | [`handle_notification`] | before the frame behind it is looked at, from the handshake on |
//! | everything is answered | [`handle_drained`] | only after `Drain` |
//! | a connection is gone | [`handle_closed`] | if the server or the network ended it |
//! | you close a connection | [`release`] | if it was your decision; `Close` needs no answer |
//! | it is time | [`handle_timeout`] | at [`poll_timeout`], or whenever you like |
//!
//! ## What to obey
//!
//! | directive | do |
//! |---|---|
//! | [`Resolve`] | look the name up, without blocking the loop |
//! | [`Dial`] | connect to exactly this address and do your handshake; over TLS check the certificate by `server_name`, or by the address if there is none. `replaces` names the connection whose slot the new one is for |
//! | [`Serve`] | give the connection requests |
//! | [`CutOver`] | in one step: new requests go to `to` instead of `from`, and so do those that `from` has not written, in order |
//! | [`Drain`] | give the connection nothing more; say `handle_drained` when its last reply is in, at once if it owes none |
//! | [`Close`] | stop dialling, or close the socket. What it still carries has no reply: say that it may have run |
//! | [`Failed`] | nothing came of `conn`: [`open`] another one when [`Redial`] says so |
//! | [`OptIn`](crate::Directive::OptIn) | opt in on a connection that serves: its server has come to support notifications |
//! | [`Windows`] | ask [`relaxed`] what the timeouts in flight are now; they only ever grow |
//!
//! A dial that replaces a connection and fails is repeated by the coordinator, in time, under another id: you report the
//! failure, drop what you have of it, and have nothing to open. If the old connection is lost meanwhile, the dial is its
//! slot's: it ends in `CutOver`, or in `Failed` like any other.
//!
//! ## What may be repeated
//!
//! The coordinator never sees a request. [`Replay::of`] knows which commands do no harm when they are sent a second time
//! because a connection was lost, and which ones a shared connection cannot carry.
//!
//! ## What to ignore
//!
//! [`Emit`] is for logs and figures: nothing depends on it. `until` in `Dial` and `Drain` is for those who show it; the
//! coordinator watches the time and says `Close`. [`Review`] and [`Reviewed`] are said only after
//! [`review_notifications`]. [`handle_ending`] is for loops that see the end of a stream before they have read what stands
//! in front of it. Facts about connections that are forgotten, and answers that come too late, do nothing: send them, or
//! do not.
//!
//! ## Timeouts
//!
//! A request may take as long as the larger of your timeout and [`relaxed`]`(now, Some(conn))`, or `(now, None)` while it
//! waits for a connection. Ask when it begins, and again at each [`Windows`]; take the larger answer. A timeout that the
//! caller gave to one call is the caller's: leave it alone.
//!
//! ## Time and chance
//!
//! `now` is the same monotonic clock everywhere: read it once per batch of facts, and pass it down. It may stand still
//! between two calls, and never goes back. The seed decides jitter: draw it at random in production, so that the clients
//! of one server do not dial in step; fix it in tests, and every run is the same.
//!
//! # A handshake of your own
//!
//! Notifications need RESP3: send HELLO 3 first. Then, if [`Dial`] says [`Probe::OptIn`], send [`opt_in_command`], and
//! make an [`OptIn`] of the reply: [`OptIn::Accepted`] of anything that is no error, [`OptIn::of_error`] of an error's
//! text, [`OptIn::NoResp3`] if HELLO was refused and you went on in RESP2. Every connection opts in, those for
//! subscriptions and blocking commands included: the server closes them all, and tells only those. A push may arrive
//! before the reply.
//!
//! # Pushes from a codec of your own
//!
//! [`Notification::parse`] takes the elements of a push as [`Frame`]s, the name first. If your codec has values of its own,
//! strings, integers, arrays and nulls are all that you need to turn into frames.
//!
//! # Is it right?
//!
//! `hitless-conformance` has a test server that announces, moves and closes on command, and a suite that is written
//! against a trait, `World`: send a request, look at the reply, let time pass. Implement it for your client, decline by
//! name what is not for it, and run the rest; `conformance/embed` does so for redis-rs.
//!
//! [`Client`]: crate::Client
//! [`Coordinator`]: crate::Coordinator
//! [`Frame`]: crate::Frame
//! [`Notification::parse`]: crate::notification::Notification::parse
//! [`OptIn`]: crate::handshake::OptIn
//! [`OptIn::Accepted`]: crate::handshake::OptIn::Accepted
//! [`OptIn::NoResp3`]: crate::handshake::OptIn::NoResp3
//! [`OptIn::of_error`]: crate::handshake::OptIn::of_error
//! [`Probe::OptIn`]: crate::handshake::Probe::OptIn
//! [`opt_in_command`]: crate::handshake::opt_in_command
//! [`Replay::of`]: crate::request::Replay::of
//! [`Redial`]: crate::coordinator::Redial
//! [`open`]: crate::Coordinator::open
//! [`handle_resolved`]: crate::Coordinator::handle_resolved
//! [`handle_connected`]: crate::Coordinator::handle_connected
//! [`handle_ready`]: crate::Coordinator::handle_ready
//! [`handle_dial_failed`]: crate::Coordinator::handle_dial_failed
//! [`handle_lost_at_opt_in`]: crate::Coordinator::handle_lost_at_opt_in
//! [`handle_notification`]: crate::Coordinator::handle_notification
//! [`handle_opt_in`]: crate::Coordinator::handle_opt_in
//! [`handle_drained`]: crate::Coordinator::handle_drained
//! [`handle_closed`]: crate::Coordinator::handle_closed
//! [`handle_ending`]: crate::Coordinator::handle_ending
//! [`handle_timeout`]: crate::Coordinator::handle_timeout
//! [`poll_timeout`]: crate::Coordinator::poll_timeout
//! [`release`]: crate::Coordinator::release
//! [`relaxed`]: crate::Coordinator::relaxed
//! [`review_notifications`]: crate::Coordinator::review_notifications
//! [`Resolve`]: crate::Directive::Resolve
//! [`Dial`]: crate::Directive::Dial
//! [`Serve`]: crate::Directive::Serve
//! [`CutOver`]: crate::Directive::CutOver
//! [`Drain`]: crate::Directive::Drain
//! [`Close`]: crate::Directive::Close
//! [`Failed`]: crate::Directive::Failed
//! [`Windows`]: crate::Directive::Windows
//! [`Emit`]: crate::Directive::Emit
//! [`Review`]: crate::Directive::Review
//! [`Reviewed`]: crate::Directive::Reviewed

pub use crate::backoff::Reconnect;
pub use crate::rng::Rng;
