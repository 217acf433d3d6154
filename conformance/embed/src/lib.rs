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
//! One thing is as redis-rs has it, and not as the client of hitless does it: a request that was handed to a connection
//! before its cut-over leaves by that connection, which then drains, instead of moving along.
//!
//! [`Coordinator`]: hitless_core::Coordinator
//! [`MultiplexedConnection`]: redis::aio::MultiplexedConnection

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
