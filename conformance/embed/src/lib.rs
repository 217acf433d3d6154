//! How another client embeds the policy of `hitless-core`: a pool of redis-rs's [`MultiplexedConnection`]s that follows
//! its server's maintenance.
//!
//! | who | does what |
//! |---|---|
//! | redis-rs | frames, handshake, pipelining of requests and replies on one connection; hands pushes out |
//! | [`Coordinator`] | decides where to dial, what a notification means, who moves when, whose timeouts are relaxed |
//! | this crate | looks names up, connects, opts in, routes requests, swaps and closes connections, as it is told |
//!
//! | file | what |
//! |---|---|
//! | `state.rs` | obeys the coordinator's directives, all of them in one `match`: read this first |
//! | `dial.rs` | one attempt: connect, redis-rs's handshake, opt in |
//! | `push.rs` | a push of redis-rs becomes a `Notification` |
//! | `pool.rs` | what applications use: requests with their timeouts |
//! | `shared.rs` | the lock, the timer, and the ways in for facts |
//! | `runtime.rs` | time, tasks and names, from tokio |
//!
//! | `tests/world/mod.rs` | the pool as the suite of `hitless-conformance` sees it; `tests/conformance.rs` says which cases are declined, and why |
//!
//! The [guide](hitless_core::guide) explains what is told and obeyed here. A client of your own will differ in this:
//!
//! * All connections are shared ([`Role::Shared`]). Leases for transactions, blocking commands and subscriptions would be
//!   held ([`Role::Held`]), and the pool would obey `Directive::Successor`.
//! * The connections are plain TCP. Over TLS, a dial checks the server's certificate by the target's `server_name`.
//! * redis-rs writes a request as soon as it has it. So a request that was handed to a connection before its cut-over leaves
//!   by that connection, which then drains. A client with a queue of its own moves what is not written yet to the new
//!   connection, as `CutOver` says.
//! * redis-rs does not report that the end of a connection stands behind a push, so nobody calls `handle_ending`.
//!
//! [`Coordinator`]: hitless_core::Coordinator
//! [`MultiplexedConnection`]: redis::aio::MultiplexedConnection
//! [`Role::Held`]: hitless_core::coordinator::Role::Held
//! [`Role::Shared`]: hitless_core::coordinator::Role::Shared

mod dial;
mod pool;
mod push;
mod runtime;
mod shared;
mod state;

pub use self::pool::{CallError, Pool, Stats};
pub use self::push::frame;
pub use self::runtime::SystemNames;
pub use self::shared::Said;
