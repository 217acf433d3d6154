//! Embedding: how another client, or an application with an event loop of its own, uses this crate.
//!
//! # Which machine
//!
//! | you have | take | see it whole |
//! |---|---|---|
//! | sockets, or whatever carries bytes | [`Client`]: protocol, pool and moves | [the loop](crate#the-loop); the example `poll_loop` |
//! | a client: connections, a codec, perhaps a pool | [`Coordinator`]: decisions only | below; the package `conformance/embed`, redis-rs's connections behind it |
//! | a cluster, and one of the two for each node | [`Cluster`] besides: the map, and where requests go | [Clusters](#clusters) |
//!
//! None of them starts a thread, reads a clock or opens a socket. They are told facts with the time at which they became known,
//! and say what is to be done about them. They are driven under whatever lock or on whatever thread you like: every
//! method returns at once.
//!
//! # Embedding the coordinator
//!
//! Your client goes on doing what it does: encoding, decoding, pairing replies with requests, its own handshake. It
//! loses one decision, where and when to connect, and learns to move a connection that works. The life of a slot of your
//! pool, with what you tell on the left and what you obey on the right:
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
//! The example below is all of it but the network, on which not everything succeeds: a dial fails, a connection is lost,
//! the dial of a move fails, and a connection is lost while its successor is being dialled.
//!
//! ```
//! use std::collections::BTreeSet;
//! use std::sync::Arc;
//! use std::time::{Duration, Instant};
//!
//! use hitless_core::coordinator::{Redial, Replacement, Role};
//! use hitless_core::endpoint::{Endpoint, Peer, Target};
//! use hitless_core::error::{CloseCause, ConnectError, SystemError};
//! use hitless_core::guide::{Reconnect, Rng};
//! use hitless_core::handshake::{OptIn, Probe};
//! use hitless_core::ids::ConnId;
//! use hitless_core::notification::Notification;
//! use hitless_core::{Config, Coordinator, Directive, Frame};
//! # use std::collections::{BTreeMap, VecDeque};
//! # use std::io;
//!
//! /// Your pool, here of one slot. A larger one has `serving`, `reopen_at` and `reconnect` for each slot.
//! struct Pool {
//!     coordinator: Coordinator,
//!     /// The connections of the slot, dials included. A larger pool keeps a map from each to its slot: the one that `open` was
//!     /// for, or the slot of the connection that `replaces` in `Dial` names.
//!     conns: BTreeSet<ConnId>,
//!     /// Where new requests go.
//!     serving: Option<ConnId>,
//!     /// When to open a connection again.
//!     reopen_at: Option<Instant>,
//!     reconnect: Reconnect,
//!     rng: Rng,
//! }
//!
//! impl Pool {
//!     fn open(&mut self, now: Instant) {
//!         let conn = self.coordinator.open(now, Role::Shared);
//!         self.conns.insert(conn);
//!     }
//!
//!     /// Obeys until the coordinator has no more to say.
//!     fn obey(&mut self, now: Instant, network: &mut Network) {
//!         while let Some(directive) = self.coordinator.poll_directive() {
//!             match directive {
//!                 Directive::Resolve { conn, host } => network.look_up(conn, &host),
//!                 Directive::Dial { conn, target, probe, .. } => {
//!                     self.conns.insert(conn); // new if it replaces another one, or the dial of another address
//!                     network.dial(conn, target, probe);
//!                 }
//!                 Directive::Serve { conn } => self.serve(conn),
//!                 Directive::CutOver { to, .. } => self.serve(to),
//!                 Directive::Drain { conn, .. } => network.await_replies(conn),
//!                 Directive::Close { conn, .. } => {
//!                     self.conns.remove(&conn); // the last word about it
//!                     network.close(conn);
//!                 }
//!                 Directive::Failed { redial, .. } => self.reopen(now, redial),
//!                 Directive::Lost { replacement, .. } => {
//!                     self.serving = None;
//!                     match replacement {
//!                         Replacement::Missing => self.reopen(now, Redial::AfterPause),
//!                         Replacement::Ready(to) => self.serve(to),
//!                         _ => {} // it is being dialled: `CutOver` or `Failed` follows
//!                     }
//!                 }
//!                 Directive::OptIn { conn } => network.opt_in(conn),
//!                 Directive::Windows { .. } => { /* ask `relaxed` for the requests in flight */ }
//!                 Directive::Emit(event) => println!("{}", event.line(now)),
//!                 _ => {} // said only to those who review notifications or hold connections
//!             }
//!         }
//!     }
//!
//!     fn serve(&mut self, conn: ConnId) {
//!         self.serving = Some(conn);
//!     }
//!
//!     /// A request was answered. A handshake alone proves little: some servers close behind it.
//!     fn answered(&mut self) {
//!         self.reconnect.reset();
//!     }
//!
//!     fn reopen(&mut self, now: Instant, redial: Redial) {
//!         let pause = match redial {
//!             Redial::AtOnce => Duration::ZERO,
//!             Redial::AfterPause => self.reconnect.next(&mut self.rng),
//!             Redial::Hopeless => self.reconnect.next_hopeless(&mut self.rng), // your users want to know
//!         };
//!         self.reopen_at = Some(now + pause);
//!     }
//!
//!     /// Called for whatever your connections, timers and lookups report.
//!     fn hear(&mut self, now: Instant, fact: Fact, network: &mut Network) {
//!         let ended = match &fact {
//!             Fact::Resolved(conn, Err(_)) | Fact::DialFailed(conn, _) | Fact::Closed(conn, _) => Some(*conn),
//!             _ => None,
//!         };
//!         self.tell(now, fact);
//!         self.obey(now, network);
//!         // `Lost` and `Failed` have asked for its slot, so it is dropped after them.
//!         if let Some(conn) = ended {
//!             self.conns.remove(&conn);
//!         }
//!     }
//!
//!     fn tell(&mut self, now: Instant, fact: Fact) {
//!         let coordinator = &mut self.coordinator;
//!         match fact {
//!             Fact::Resolved(conn, answer) => coordinator.handle_resolved(now, conn, answer),
//!             Fact::Connected(conn, peer) => coordinator.handle_connected(now, conn, peer),
//!             Fact::Ready(conn, opt_in) => coordinator.handle_ready(now, conn, opt_in),
//!             Fact::DialFailed(conn, error) => coordinator.handle_dial_failed(now, conn, error),
//!             Fact::Closed(conn, cause) => coordinator.handle_closed(now, conn, cause),
//!             Fact::OptedIn(conn, opt_in) => coordinator.handle_opt_in(now, conn, opt_in),
//!             Fact::Push(conn, elements) => match Notification::parse(&elements) {
//!                 Ok(Some(notification)) => coordinator.handle_notification(now, conn, &notification),
//!                 Ok(None) => { /* not about maintenance: yours */ }
//!                 Err(malformed) => eprintln!("{malformed}"),
//!             },
//!             Fact::AllAnswered(conn) => coordinator.handle_drained(now, conn),
//!             Fact::TimeIsUp => {
//!                 coordinator.handle_timeout(now);
//!                 if self.reopen_at.take_if(|at| *at <= now).is_some() {
//!                     self.open(now);
//!                 }
//!             }
//!         }
//!     }
//!
//!     /// When to say `TimeIsUp`.
//!     fn poll_timeout(&self) -> Option<Instant> {
//!         self.coordinator.poll_timeout().into_iter().chain(self.reopen_at).min()
//!     }
//! }
//!
//! # enum Fact {
//! #     Resolved(ConnId, Result<Vec<std::net::IpAddr>, SystemError>),
//! #     Connected(ConnId, Peer), Ready(ConnId, OptIn),
//! #     DialFailed(ConnId, ConnectError),
//! #     Closed(ConnId, CloseCause),
//! #     OptedIn(ConnId, OptIn), Push(ConnId, Vec<Frame>), AllAnswered(ConnId), TimeIsUp,
//! # }
//! # /// A network in virtual time, on which each dial has the fate that the example is about.
//! # struct Network { now: Instant, facts: VecDeque<Fact>, dials: Vec<String>, sockets: BTreeMap<ConnId, Peer> }
//! # impl Network {
//! #     fn look_up(&mut self, conn: ConnId, host: &str) {
//! #         assert_eq!(host, "redis.example.com");
//! #         self.facts.push_back(Fact::Resolved(conn, Ok(vec![[10, 0, 0, 1].into()])));
//! #     }
//! #     fn dial(&mut self, conn: ConnId, target: Target, probe: Probe) {
//! #         assert_eq!(probe, Probe::OptIn);
//! #         assert_eq!(target.server_name.as_deref(), Some("redis.example.com"));
//! #         let (older, peer) = (self.sockets.keys().next().copied(), target.address);
//! #         self.dials.push(peer.to_string());
//! #         let number = self.dials.len();
//! #         if [1, 4].contains(&number) {
//! #             let error = ConnectError::Connect(io::ErrorKind::ConnectionRefused.into());
//! #             return self.facts.push_back(Fact::DialFailed(conn, error));
//! #         }
//! #         self.sockets.insert(conn, peer.clone());
//! #         self.facts.push_back(Fact::Connected(conn, peer));
//! #         if number == 5 {
//! #             self.end(older.unwrap());
//! #         }
//! #         self.facts.push_back(Fact::Ready(conn, OptIn::Accepted));
//! #         match number {
//! #             2 => self.end(conn),
//! #             3 => self.announce(conn, "7", "10.0.0.2:6379"),
//! #             5 => self.announce(conn, "8", "10.0.0.3:6379"),
//! #             _ => {}
//! #         }
//! #     }
//! #     fn end(&mut self, conn: ConnId) {
//! #         self.sockets.remove(&conn);
//! #         self.facts.push_back(Fact::Closed(conn, CloseCause::ByServer));
//! #     }
//! #     fn announce(&mut self, conn: ConnId, seq: &'static str, target: &'static str) {
//! #         self.facts.push_back(Fact::Push(conn, ["MOVING", seq, "15", target].map(Frame::bulk).to_vec()));
//! #     }
//! #     fn await_replies(&mut self, conn: ConnId) { self.facts.push_back(Fact::AllAnswered(conn)); }
//! #     fn opt_in(&mut self, conn: ConnId) { self.facts.push_back(Fact::OptedIn(conn, OptIn::Accepted)); }
//! #     fn close(&mut self, conn: ConnId) { self.sockets.remove(&conn); }
//! #     fn wait(&mut self, until: Option<Instant>) -> Option<Fact> {
//! #         if self.facts.is_empty() && self.dials.len() < 6 {
//! #             self.now = until.expect("a dial is to come");
//! #             self.facts.push_back(Fact::TimeIsUp);
//! #         }
//! #         self.facts.pop_front()
//! #     }
//! # }
//! # #[expect(clippy::disallowed_methods)]
//! # let now = Instant::now();
//! # let mut network = Network { now, facts: VecDeque::new(), dials: Vec::new(), sockets: BTreeMap::new() };
//! let config = Arc::new(Config::builder(Endpoint::parse("redis.example.com", 6379)?).pool_size(1).build()?);
//! let mut pool = Pool {
//!     coordinator: Coordinator::new(config, 42),
//!     conns: BTreeSet::new(),
//!     serving: None,
//!     reopen_at: None,
//!     reconnect: Reconnect::new(),
//!     rng: Rng::new(43),
//! };
//!
//! pool.open(network.now); // once for each slot
//! pool.obey(network.now, &mut network);
//! while let Some(fact) = network.wait(pool.poll_timeout()) {
//!     pool.hear(network.now, fact, &mut network);
//! }
//!
//! assert_eq!(
//!     network.dials,
//!     [
//!         "10.0.0.1:6379", // `open`. The dial fails: `Failed`, so the pool opens another one after a pause
//!         "10.0.0.1:6379", // `open`. It serves and is lost: `Lost` with `Missing`, so another one after a pause
//!         "10.0.0.1:6379", // `open`. It serves, and the server says that 10.0.0.1 retires
//!         "10.0.0.2:6379", // The dial of the move fails. The pool hears nothing, and the old connection serves
//!         "10.0.0.2:6379", // The coordinator dials again; the old connection is lost: `Lost` with `Dialing`, then `CutOver`
//!         "10.0.0.3:6379", // 10.0.0.2 retires in its turn: `CutOver`, `Drain`, `Close`
//!     ]
//! );
//! // One connection is left, it serves, no other one is to be opened, and nothing is kept of those that are gone.
//! assert_eq!(pool.reopen_at, None);
//! assert_eq!(pool.conns, BTreeSet::from_iter(pool.serving));
//! assert_eq!(network.sockets.keys().copied().collect::<Vec<_>>(), Vec::from_iter(pool.serving));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! ## What to tell
//!
//! | fact | method | when |
//! |---|---|---|
//! | a slot of the pool is empty | [`open`] | at the start, and after `Failed` and `Lost` with `Missing` (see [below](#when-a-connection-is-lost-or-a-dial-fails)) |
//! | a name was looked up, or could not be | [`handle_resolved`] | in answer to `Resolve` |
//! | a socket is connected | [`handle_connected`] | before the handshake, with the *peer*: the address that it is connected to |
//! | the handshake is done | [`handle_ready`] | with what became of the opt-in |
//! | the dial or the handshake failed | [`handle_dial_failed`] | at once; if the link died between the opt-in and its answer, [`handle_lost_at_opt_in`] instead |
//! | an opt-in on a serving connection was answered | [`handle_opt_in`] | in answer to `OptIn` |
//! | a maintenance notification arrived | [`handle_notification`] | before you look at the frame behind it, from `handle_connected` on (see [why](#pushes-from-a-codec-of-your-own)) |
//! | a command was answered with READONLY, LOADING or MASTERDOWN | [`handle_refusal`] | with [`Refusal::of_error`] of its text, whoever sent the command; its caller gets the reply all the same, outside of a window |
//! | everything is answered | [`handle_drained`] | after `Drain` |
//! | a user has switched | [`handle_switched`] | in answer to `Successor` |
//! | a connection is gone | [`handle_closed`] | if the server or the network ended it |
//! | you close a connection | [`release`] | if it was your decision, and you want nothing in its place. `Close` needs no answer |
//! | it is time | [`handle_timeout`] | at [`poll_timeout`], or whenever you like |
//!
//! ## What to obey
//!
//! | directive | do |
//! |---|---|
//! | [`Resolve`] | look the name up, without blocking the loop. The id may be new to you: moves look names up as well |
//! | [`Dial`] | connect to exactly the address of `target` and do your handshake. Over TLS check the certificate by the target's `server_name`, or by the address if there is none. `replaces` names the connection whose slot the new one is for: one that serves, or the dial of another address of the same name, which may go on; without it the id is one that `open` has returned |
//! | [`Serve`] | give the connection requests |
//! | [`CutOver`] | in one step: new requests go to `to` instead of `from`, and so do those that `from` has not written, in order. `from` may be lost already |
//! | [`Drain`] | give the connection nothing more; say `handle_drained` when its last reply is in, at once if it owes none |
//! | [`Close`] | stop resolving or dialling, or close the socket; do nothing if you have none by that id. What the connection still carries has no reply: say that it may have run |
//! | [`Failed`] | nothing came of `conn`: [`open`] another one when [`Redial`] says so. If you have not reported a failure yourself, `Close` follows for what you have of it |
//! | [`Lost`] | the connection was serving: take it out of your pool, and [`open`] another one after a pause if the replacement is [`Missing`], only then |
//! | [`Successor`] | switch, and say `handle_switched`; only for connections that you [hold](#connections-that-somebody-holds) |
//! | [`OptIn`](crate::Directive::OptIn) | opt in on a connection that serves, when nothing is under way there: its server has come to support notifications |
//! | [`Windows`] | ask [`relaxed`] what the timeouts in flight are now; they only ever grow. For the scope [`Peer`] ask for each connection whose [`peer`](crate::Coordinator::peer) it is, for [`Database`] for all. For both, ask also for requests without a connection; and for these again at each [`MoveStarted`] |
//!
//! ## When a connection is lost or a dial fails
//!
//! A pool that opens a connection too often leaks sockets; one that does not open it loses a slot for good. The
//! coordinator says which it is:
//!
//! | what happened | you tell | then |
//! |---|---|---|
//! | a dial failed, and the name has other addresses | [`handle_dial_failed`] | `Dial` under another id that replaces it, or nothing if another address is dialled already |
//! | a connection that you opened could not be established at any address | [`handle_dial_failed`], or an error in [`handle_resolved`] | `Failed` |
//! | the dial of a move failed, and the old connection serves | [`handle_dial_failed`] | nothing. The coordinator dials again under another id, a few times while there is time; after that the old connection serves until the server closes it |
//! | the dial of a move failed, and the old connection is lost already | [`handle_dial_failed`] | `Failed` |
//! | an attempt took too long, led to an address that retires, or was refused the opt-in in the mode `enabled` | no failure | `Failed` or nothing, as in the rows above, then `Close` |
//! | a connection that serves is lost | [`handle_closed`] | `Lost` |
//! | a connection that drains is lost | [`handle_closed`] | nothing: its successor serves |
//! | a successor is lost before you have switched to it | [`handle_closed`] | nothing, as when the dial of a move failed; perhaps another `Successor` |
//!
//! [`Lost`] says what is there in the place of the connection. With [`Missing`] there is nothing. With [`Dialing`] the
//! successor is under way, and `CutOver` or `Failed` follows for it or for the dial of another address. With [`Ready`] the successor serves from now on; that
//! is said of connections that you hold.
//!
//! So you open a slot again after each `Failed` and after each `Lost` with `Missing`, and never otherwise.
//! [`Reconnect`] says how long to pause; reset it when a connection is lost that has answered a request and has lived for
//! [two seconds](crate::guide::Reconnect::PROVEN_AFTER), or one that has lived for
//! [ten](crate::guide::Reconnect::TRUSTED_AFTER).
//!
//! Close the socket when you report its end, but keep the slot of an id until [`poll_directive`] has returned `None` after that
//! report, or until `Close` names it: `Lost` and `Failed` may still ask for the slot. If an id is named by `Lost` or `Failed`
//! and by `Close`, then `Close` comes last. Sometimes no directive follows your report, and the id is gone all the same.
//!
//! ## What to report of an end
//!
//! | what happened | tell | with |
//! |---|---|---|
//! | the lookup failed | [`handle_resolved`] | `Err` of the [`SystemError`], which is made from an [`io::Error`](std::io::Error) or its kind |
//! | the socket or TLS could not be connected | [`handle_dial_failed`] | [`ConnectError::Connect`] of the [`SystemError`]; the coordinator adds the address |
//! | the link ended in the handshake | [`handle_dial_failed`] | [`ConnectError::LostInHandshake`] of the cause, from the last table below |
//! | the same, between the opt-in and its answer | [`handle_lost_at_opt_in`] | the cause |
//! | HELLO was refused, and not for want of rights or of the right password, nor with `unknown command` or NOPROTO | [`handle_dial_failed`] | [`HandshakeError::HelloRefused`] with the code, in [`ConnectError::Handshake`] |
//! | an error reply to HELLO, AUTH, SELECT or a setup command | [`handle_dial_failed`] | [`HandshakeError::Refused`] with the [`Stage`] and [`ErrorCode::of`] the error's text, in [`ConnectError::Handshake`] |
//! | the same, because the server has too many clients (`max number of clients`) | [`handle_dial_failed`] | [`HandshakeError::TooManyClients`], in the same way |
//! | a reply of the wrong type to such a command | [`handle_dial_failed`] | [`HandshakeError::UnexpectedReply`], in the same way |
//! | an error reply to the opt-in | [`handle_ready`] | [`OptIn::of_error`]: the coordinator knows what the mode makes of it |
//! | your own limit for a dial was over | [`handle_dial_failed`] | [`ConnectError::TimedOut`] |
//! | a connection is gone, or you give it up because its server is silent | [`handle_closed`] | the cause |
//!
//! Choose the error with care: [`Redial`] follows from it. `Redial::Hopeless` means that
//! [`ConnectError::is_transient`] is false, as of `Refused` with WRONGPASS; one with LOADING is transient, and so are
//! `Connect`, `LostInHandshake` and `TooManyClients`. A HELLO that the server does not know is no failure: go on in RESP2.
//!
//! | the connection ended because | [`CloseCause`] |
//! |---|---|
//! | the server closed the stream | [`ByServer`] |
//! | reading or writing failed | [`Io`] |
//! | bytes were not RESP, or a reply had no request | [`Protocol`] |
//! | it owes a reply, and no byte came for the `dead_link_timeout` | [`Silent`]: close the socket and report it as any other end; or keep it for those who wait: [`handle_silent`], and [`hand_over`] when the connection that you open is ready |
//!
//! The cause is for errors and events; it changes no decision. The other causes are those that `Close` has.
//!
//! ## Connections that somebody holds
//!
//! [`open`] takes a [`Role`]. Use `Role::Shared` for connections that carry the requests of many callers: the coordinator
//! replaces them at once. Use `Role::Held` for a connection whose state a user relies on: a lease with WATCH or MULTI, a
//! command that blocks, a subscription. It is warned of maintenance and has timeouts relaxed like any other, but when its
//! successor is ready you are asked ([`Successor`]) and `from` stays in use:
//!
//! * Before you switch, give `to` the state that the user needs: subscribe to the same channels, run the same setup.
//! * Say [`handle_switched`] when the user has done with `from`: the transaction is over, the blocking command has its
//!   reply, the messages come in on `to`. `CutOver` and `Drain` follow. A subscription owes no replies, so say
//!   `handle_drained` once you no longer read its messages.
//! * If you have not switched at `until`, the coordinator says `Lost` with `Ready` for `from`, then `Close`. The state of `from`
//!   is gone: tell the user.
//! * `Close` for `to` means that a newer move leads elsewhere: go on with `from`. Another `Successor` may follow.
//!
//! A successor has the role of the connection that it replaces. When a user gives a lease back, [`release`] the connection:
//! the coordinator gives up what was under way to replace it.
//!
//! ## What may be repeated
//!
//! The coordinator never sees a request. [`Replay::of`] knows which commands do no harm when they are sent a second time
//! because a connection was lost, and which ones a shared connection cannot carry.
//!
//! ## What to ignore
//!
//! [`Emit`] is for logs and figures: nothing depends on it. `until` in `Dial`, `Drain` and `Successor` need not be watched;
//! the coordinator does that and says `Close`. [`Review`] and [`Reviewed`] are said only after
//! [`review_notifications`]. [`handle_ending`] is for loops that see the end of a stream before they have read what stands
//! in front of it, and [`handle_encrypting`] for dials that encrypt, whose error then says how far they came. Facts about connections that are forgotten, and answers that come too late, do nothing: send them, or
//! do not.
//!
//! ## Timeouts
//!
//! A request may take as long as the larger of your timeout and [`relaxed`]`(now, Some(conn))`, or `(now, None)` while it
//! waits for a connection. Ask when it begins, and again at each [`Windows`] and, while it has no connection, at each [`MoveStarted`]; take the larger answer. A timeout that the
//! caller gave to one call is the caller's: leave it alone.
//!
//! ## Settings
//!
//! Of [`Config`] the coordinator reads the endpoint, `protocol`, `connect_timeout`, `pool_size` and `maintenance`, whose
//! endpoint type [`opt_in_command`] reads. Credentials, database, name, setup commands, `command_timeout` and the limits of
//! requests are your client's.
//!
//! `pool_size` opens nothing, and limits nothing that you open. The number of workers, the length of the queue and the room
//! for windows follow from it, so set it to the number of connections that you expect, those that you hold included.
//!
//! ## Time and chance
//!
//! `now` is the same monotonic clock everywhere: read it once per batch of facts, and pass it down. If several threads
//! share the coordinator, read the clock after you have taken the lock, so that `now` never goes back; it may stand still. A
//! small step back does no lasting harm: no method panics, and what was due happens when its time comes again. An interval
//! that begins meanwhile ends too early by the step.
//!
//! The seed decides jitter: draw it at random in production, so that the clients of one server do not dial in step; fix it in
//! tests, and every run is the same.
//!
//! # A handshake of your own
//!
//! Notifications need RESP3: send HELLO 3 first. Then, if [`Dial`] says [`Probe::OptIn`], send [`opt_in_command`], and
//! report an [`OptIn`] with [`handle_ready`]:
//!
//! | the handshake | [`OptIn`] |
//! |---|---|
//! | [`Probe::Skip`] in `Dial`, and the server accepted HELLO 3 | [`OptIn::NotAsked`] |
//! | [`Probe::Resp2`] or [`Probe::Bare`] in `Dial`: no HELLO, and with `Bare` no CLIENT; report it ready when a command was answered | [`OptIn::NotAsked`] |
//! | the server refused HELLO 3, and you went on in RESP2 | [`OptIn::NoResp3`] with [`ErrorCode::of`] the error's text |
//! | the reply to the opt-in is an error | [`OptIn::of_error`] of its text |
//! | the reply to the opt-in is anything else | [`OptIn::Accepted`] |
//!
//! The command asks for the endpoint type of the settings. Their `auto` means addresses, and names where you say that your
//! connections are encrypted ([`ConfigBuilder::encrypted_by_connector`](crate::config::ConfigBuilder::encrypted_by_connector)). A MOVING to a host outside of
//! the configured name's domain counts then as one without an endpoint.
//!
//! Every connection opts in, those for
//! subscriptions and blocking commands included: the server closes them all, and tells only those. A push may arrive
//! before the reply.
//!
//! # Pushes from a codec of your own
//!
//! [`Notification::parse`] takes the elements of a push as [`Frame`]s, the name first. If your codec has values of its own,
//! strings, integers, arrays and nulls are all that you need to turn into frames.
//!
//! Tell a push before you act on what stands behind it. If that is the end of the stream, the coordinator has forgotten the
//! connection once you report the end, and a MOVING that you tell afterwards does nothing. If it is an error such as LOADING,
//! that is worth another try inside a window, and [`relaxed`] knows of the window once you have told the push.
//!
//! # Clusters
//!
//! [`Cluster`] stands beside the clients of the nodes, one for each, and owns none of them. It says which to open and to close
//! ([`Decision`]), has one of them asked for the topology, and hands out the [`Table`] by which requests are routed. The way of a
//! request does not touch it: slot, table, node. Only what a node says that it did not run comes to the machine:
//!
//! 1. **Route**: the slot is that of [`route`](crate::cluster::route), or of [`route_request`](crate::cluster::route_request) for a pipeline; what has no keys says to
//!    which nodes it goes. `table.node_of(slot)`, and send the request there. Note when you did. A script is a [`SentKind::Script`](crate::cluster::SentKind::Script), and MULTI .. EXEC
//!    [`Atomic`](crate::cluster::SentKind::Atomic): as a `Command`, a script that has written may be sent again.
//!    Where replicas are opened, a request that [only reads](crate::cluster::only_reads) may go to `table.replica_for(slot)` the first time, as a
//!    [`Read`](crate::cluster::SentKind::Read).
//! 2. **Look** at the reply once: [`is_refusal`] is one comparison for a reply that is no error.
//! 3. **Ask** the machine about a refusal ([`handle_refusal`]), or about a request that the node's client gives back unwritten
//!    ([`handle_unsent`]), and do what [`Next`] says: to a node, perhaps with ASKING, or by the newest table, perhaps after a pause.
//!    Tell it also of a request that has timed out ([`handle_timed_out`](crate::Cluster::handle_timed_out)): it reads the topology, and the caller has the error.
//! 4. **Obey** the decisions, in their order, and swap the table as a whole.
//!
//! ```
//! use std::collections::BTreeMap;
//! use std::sync::Arc;
//! use std::time::Instant;
//!
//! use hitless_core::cluster::{Decision, Next, Sent, SentKind, Settings, Table, Trail, is_refusal};
//! use hitless_core::endpoint::Endpoint;
//! use hitless_core::error::ServerError;
//! use hitless_core::ids::NodeId;
//! use hitless_core::{Cluster, Command, Frame, cmd};
//! # #[expect(clippy::disallowed_methods)]
//! # fn clock() -> Instant { Instant::now() }
//! # /// The clients of the nodes, with servers that answer at once: slot 7 has moved, and the topology does not say so yet.
//! # struct Client(Endpoint);
//! # impl Client {
//! #     fn call(&mut self, command: &Command, asking: bool) -> Frame {
//! #         assert!(!asking);
//! #         let text = |text: &'static str| Frame::bulk(text);
//! #         let node = |host, id| Frame::Array(vec![text(host), Frame::Integer(7000), text(id)]);
//! #         let range = |start, end, node| Frame::Array(vec![Frame::Integer(start), Frame::Integer(end), node]);
//! #         let payload = String::from_utf8_lossy(&command.clone().into_bytes()).into_owned();
//! #         match self.0.to_string().as_str() {
//! #             _ if payload.contains("SLOTS") => Frame::Array(vec![
//! #                 range(0, 8191, node("10.0.0.1", "a")), range(8192, 16383, node("10.0.0.2", "b")),
//! #             ]),
//! #             "10.0.0.1:7000" => Frame::error("MOVED 7 10.0.0.2:7000"),
//! #             _ => text("value"),
//! #         }
//! #     }
//! # }
//! # fn sleep(_: std::time::Duration) {}
//!
//! struct Nodes {
//!     cluster: Cluster,
//!     clients: BTreeMap<NodeId, Client>,
//!     table: Arc<Table>,
//! }
//!
//! impl Nodes {
//!     /// Step 4, after each fact.
//!     fn obey(&mut self) {
//!         while let Some(decision) = self.cluster.poll_decision() {
//!             match decision {
//!                 Decision::Open { node, endpoint, .. } | Decision::Retarget { node, endpoint, .. } => {
//!                     // Here it is connected at once. Elsewhere give requests back to `handle_unsent` until it is.
//!                     self.clients.insert(node, Client(endpoint));
//!                     self.cluster.handle_node_ready(clock(), node);
//!                 }
//!                 Decision::Close { node } => drop(self.clients.remove(&node)),
//!                 Decision::SwapTable(table) => self.table = table,
//!                 Decision::AskTopology { query, node, request } => match self.clients.get_mut(&node) {
//!                     Some(client) => {
//!                         let reply = client.call(&request.command(), false);
//!                         self.cluster.handle_topology(clock(), query, &reply);
//!                     }
//!                     None => self.cluster.handle_topology_failed(clock(), query),
//!                 },
//!                 Decision::Emit(event) => println!("{event}"),
//!                 _ => {} // where later dials go, and what later versions say
//!             }
//!         }
//!     }
//!
//!     /// Steps 1 to 3.
//!     fn call(&mut self, slot: u16, command: &Command) -> Option<Frame> {
//!         let (mut node, mut asking, mut trail) = (self.table.node_of(slot), false, Trail::default());
//!         loop {
//!             let kind = SentKind::Command;
//!             // In real life with a deadline: without one, a request that nobody serves is never given up.
//!             let sent = Sent { node, slot: Some(slot), sent_at: clock(), asking, deadline: None, kind, trail };
//!             let client = node.and_then(|node| self.clients.get_mut(&node));
//!             let reply = client.map(|client| client.call(command, asking));
//!             let next = match &reply {
//!                 Some(reply) if is_refusal(reply) => {
//!                     self.cluster.handle_refusal(clock(), &sent, &ServerError::from_frame(reply)?)
//!                 }
//!                 Some(_) => return reply,
//!                 None => self.cluster.handle_unsent(clock(), &sent),
//!             };
//!             self.obey();
//!             let pause;
//!             (node, asking, pause, trail) = match next {
//!                 Next::Resend { node, asking, after, trail } => (Some(node), asking, after, trail),
//!                 Next::Route { after, trail } => (self.table.node_of(slot), false, after, trail),
//!                 _ => return reply,
//!             };
//!             // In real life the loop goes on meanwhile: it calls `handle_timeout`, and obeys.
//!             sleep(pause);
//!         }
//!     }
//! }
//!
//! let seeds = vec![Endpoint::parse("10.0.0.1:7000", 6379)?];
//! let cluster = Cluster::new(Settings::default(), seeds, 42);
//! let mut nodes = Nodes { cluster, clients: BTreeMap::new(), table: Arc::new(Table::empty()) };
//! nodes.cluster.handle_start(clock());
//! nodes.obey();
//! assert_eq!(nodes.table.shards().len(), 2);
//!
//! let reply = nodes.call(7, &cmd("GET").arg("key"));
//! assert_eq!(reply, Some(Frame::bulk("value")));
//! // The map has learnt it: the next request goes there at once.
//! assert_eq!(nodes.table.node_of(7), nodes.table.node_of(16_383));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! An event loop has two things more: the timer ([`poll_timeout`](crate::Cluster::poll_timeout),
//! [`handle_timeout`](crate::Cluster::handle_timeout)), by which nodes that do not answer are passed over, and what nodes push:
//! hand every notification of every node in ([`handle_notification`]), copies included, besides telling it the node's own machine. Say
//! [`handle_node_failed`] when a node has no connection left, and [`handle_node_ready`] when it has one again.
//!
//! What is told of a node is told of the client that it has now: once you have obeyed [`Decision::Retarget`] or
//! [`Decision::Close`], drop what the client of before still reports, or its end counts as the end of the new one. And obey what was decided
//! before you follow a [`Next`], which may name a node that is to be opened first.
//!
//! `sent_at` decides what a MOVED proves: it is the time at which this request was handed to this node, or earlier, never later.
//! The table may lead elsewhere while a request waits for its pause; [`Next::Route`] means the table of then. Requests that were
//! written to a node stay there when their slot leaves: its server answers them, or says that it did not run them.
//!
//! # Is it right?
//!
//! `hitless-conformance` has a test server, `hitless-server`, that announces, moves and closes on command. In a clone of the
//! repository `cargo xtask server` starts it for a client in any language; type `help` there to see its commands. The package
//! has a suite as well, which is written
//! against a trait, `World`: send a request, look at the reply, let time pass. Implement it for your client, decline by
//! name what is not for it, and run the rest; `conformance/embed` does so for redis-rs.
//!
//! [`Client`]: crate::Client
//! [`Cluster`]: crate::Cluster
//! [`Decision`]: crate::cluster::Decision
//! [`Decision::Close`]: crate::cluster::Decision::Close
//! [`Decision::Retarget`]: crate::cluster::Decision::Retarget
//! [`Table`]: crate::cluster::Table
//! [`Next`]: crate::cluster::Next
//! [`Next::Route`]: crate::cluster::Next::Route
//! [`is_refusal`]: crate::cluster::is_refusal
//! [`handle_refusal`]: crate::Cluster::handle_refusal
//! [`handle_unsent`]: crate::Cluster::handle_unsent
//! [`handle_notification`]: crate::Cluster::handle_notification
//! [`handle_node_failed`]: crate::Cluster::handle_node_failed
//! [`handle_node_ready`]: crate::Cluster::handle_node_ready
//! [`Coordinator`]: crate::Coordinator
//! [`Frame`]: crate::Frame
//! [`Notification::parse`]: crate::notification::Notification::parse
//! [`OptIn`]: crate::handshake::OptIn
//! [`OptIn::Accepted`]: crate::handshake::OptIn::Accepted
//! [`OptIn::NoResp3`]: crate::handshake::OptIn::NoResp3
//! [`OptIn::of_error`]: crate::handshake::OptIn::of_error
//! [`Probe::OptIn`]: crate::handshake::Probe::OptIn
//! [`OptIn::NotAsked`]: crate::handshake::OptIn::NotAsked
//! [`Probe::Skip`]: crate::handshake::Probe::Skip
//! [`Probe::Resp2`]: crate::handshake::Probe::Resp2
//! [`Probe::Bare`]: crate::handshake::Probe::Bare
//! [`Config`]: crate::Config
//! [`ConnectError::Connect`]: crate::error::ConnectError::Connect
//! [`ConnectError::Handshake`]: crate::error::ConnectError::Handshake
//! [`ConnectError::LostInHandshake`]: crate::error::ConnectError::LostInHandshake
//! [`SystemError`]: crate::error::SystemError
//! [`ConnectError::TimedOut`]: crate::error::ConnectError::TimedOut
//! [`ConnectError::is_transient`]: crate::error::ConnectError::is_transient
//! [`HandshakeError::HelloRefused`]: crate::error::HandshakeError::HelloRefused
//! [`HandshakeError::Refused`]: crate::error::HandshakeError::Refused
//! [`HandshakeError::TooManyClients`]: crate::error::HandshakeError::TooManyClients
//! [`HandshakeError::UnexpectedReply`]: crate::error::HandshakeError::UnexpectedReply
//! [`Stage`]: crate::error::Stage
//! [`ErrorCode::of`]: crate::error::ErrorCode::of
//! [`CloseCause`]: crate::error::CloseCause
//! [`ByServer`]: crate::error::CloseCause::ByServer
//! [`Io`]: crate::error::CloseCause::Io
//! [`Protocol`]: crate::error::CloseCause::Protocol
//! [`Silent`]: crate::error::CloseCause::Silent
//! [`handle_silent`]: crate::Coordinator::handle_silent
//! [`hand_over`]: crate::Coordinator::hand_over
//! [`Peer`]: crate::event::WindowScope::Peer
//! [`Database`]: crate::event::WindowScope::Database
//! [`poll_directive`]: crate::Coordinator::poll_directive
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
//! [`handle_refusal`]: crate::Coordinator::handle_refusal
//! [`Refusal::of_error`]: crate::error::Refusal::of_error
//! [`handle_drained`]: crate::Coordinator::handle_drained
//! [`handle_closed`]: crate::Coordinator::handle_closed
//! [`handle_switched`]: crate::Coordinator::handle_switched
//! [`handle_ending`]: crate::Coordinator::handle_ending
//! [`handle_encrypting`]: crate::Coordinator::handle_encrypting
//! [`handle_timeout`]: crate::Coordinator::handle_timeout
//! [`poll_timeout`]: crate::Coordinator::poll_timeout
//! [`release`]: crate::Coordinator::release
//! [`relaxed`]: crate::Coordinator::relaxed
//! [`MoveStarted`]: crate::event::Event::MoveStarted
//! [`review_notifications`]: crate::Coordinator::review_notifications
//! [`Resolve`]: crate::Directive::Resolve
//! [`Dial`]: crate::Directive::Dial
//! [`Serve`]: crate::Directive::Serve
//! [`CutOver`]: crate::Directive::CutOver
//! [`Drain`]: crate::Directive::Drain
//! [`Close`]: crate::Directive::Close
//! [`Failed`]: crate::Directive::Failed
//! [`Lost`]: crate::Directive::Lost
//! [`Successor`]: crate::Directive::Successor
//! [`Role`]: crate::coordinator::Role
//! [`Missing`]: crate::coordinator::Replacement::Missing
//! [`Dialing`]: crate::coordinator::Replacement::Dialing
//! [`Ready`]: crate::coordinator::Replacement::Ready
//! [`Windows`]: crate::Directive::Windows
//! [`Emit`]: crate::Directive::Emit
//! [`Review`]: crate::Directive::Review
//! [`Reviewed`]: crate::Directive::Reviewed

pub use crate::backoff::Reconnect;
pub use crate::rng::Rng;
