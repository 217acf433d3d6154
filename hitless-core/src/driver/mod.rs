//! The async driver, written once for every runtime.
//!
//! It joins the [machine](crate::client) to streams, timers and tasks. An adapter brings those by implementing five
//! small traits, and makes no decisions: [`Runtime`], [`Timer`], [`Resolver`], [`Connector`] and [`Stream`]. Then
//! [`Client`] is the client on that runtime.
//!
//! # Writing an adapter
//! 1. One type that is a [`Runtime`], a [`Resolver`] and a [`Connector`], and [`Default`]; usually a unit struct.
//! 2. Its [`Timer`] and its [`Stream`].
//! 3. `pub type Client = hitless_core::driver::Client<Adapter>;`, which has `Client::connect(url)` and
//!    `Client::builder(url)`.
//! 4. The conformance suite, in the adapter's tests.
//!
//! # Tasks
//! | task | how many | ends |
//! |---|---|---|
//! | supervisor | one per client: keeps the alarm clock, starts the others | when the client has terminated |
//! | dial | one per name that is looked up, and per question for the credentials of a dial | with the answer |
//! | renewal | one per client that has a credentials provider: waits for them to change | when the client has terminated |
//! | hooks | one per client that has any: runs them | when the client has terminated |
//! | connection | one per connection: connects, then reads, decodes and writes | with the connection |
//!
//! They share the machine behind one lock, which is held for short: bytes are read, decoded and written outside, a
//! batch of frames is handed over in one visit, and wakers are collected under the lock and woken after it. Should the
//! runtime drop a task before its end, then every reply that is awaited ends with
//! [`ShutDown`](crate::error::RequestError::ShutDown).
//!
//! # Memory
//! A connection that does nothing takes less than 16 KiB: 9.5 KiB on tokio, of which 4 KiB are to read into. One that is used has a block of 64 KiB to read into, and
//! up to two more while replies are kept. It gives them back when the time of its last command is over and nobody waits; behind commands without a timeout it keeps
//! them. TLS takes 32 KiB more, and what rustls keeps.
//!
#![doc = include_str!("../../docs/waiting.md")]

mod alarm;
mod builder;
mod cluster;
mod credentials;
mod detached;
mod dial;
mod effects;
mod error;
mod guard;
mod handle;
mod hooks;
mod invalidations;
mod io_task;
mod lease;
mod observer;
#[cfg(feature = "redis-rs")]
mod redis_rs;
mod reply;
mod room;
mod settings;
mod shared;
mod signals;
mod state;
mod subscription;
mod supervisor;
#[cfg(feature = "tls")]
mod tls;
mod traits;
mod waiter;

pub use self::builder::Builder;
pub use self::cluster::{ClusterBuilder, ClusterClient, ClusterReply, ClusterSubscription, Node};
pub use self::credentials::{CredentialsProvider, ProviderError, ProviderFuture};
pub use self::error::{CheckReplies, Error, ReplyError};
pub use self::handle::Client;
pub use self::hooks::{
    HOOK_LIMIT, HookContext, HookFailures, HookId, HookResult, LogLine, LoggingHook, MetricsHook,
    NotificationHook, Observed,
};
pub use self::invalidations::Invalidations;
pub use self::lease::{Lease, LeaseNotice};
pub use self::observer::{Events, Missed, Observer, Push, Pushes};
pub use self::reply::Reply;
pub use self::subscription::Subscription;
pub use self::traits::{Connector, Resolver, Runtime, Stream, Timer};
pub use crate::endpoint::{KEEPALIVE, KEEPALIVE_INTERVAL, KEEPALIVE_RETRIES, USER_TIMEOUT};
pub use crate::error::ServerError;
