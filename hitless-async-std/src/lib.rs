//! A Redis client for async-std whose connections move from node to node while the application goes on.
//!
//! Managed servers are upgraded, rescaled and repaired by replacing their nodes under the feet of their clients, and
//! announce it over the connections themselves (*smart client handoffs*, *maintenance notifications*, first shipped as
//! *hitless upgrades*). [`Client`] listens, opens new connections before it gives the old ones up, and moves the
//! requests over. Against a server that announces nothing it is an ordinary pipelining client.
//!
//! # Where to begin
//!
//! | type | what it is |
//! |---|---|
//! | [`Client`] | the pool of connections; a clone is another handle to it |
//! | [`Builder`] | the settings of a client, before it connects |
//! | [`ClusterClient`] | the client of a cluster: a [`Client`] for each node |
//! | [`cmd`] | begins a command: its name, then [`arg`](Command::arg) for each argument |
//! | [`Pipeline`] | several commands as one unit, a transaction if it is [atomic](Pipeline::atomic) |
//! | [`Lease`] | a connection that one caller has for itself; [`Client::transaction`] uses one for optimistic locking |
//! | [`Subscription`] | a stream of messages, from [`Client::subscribe`] ([what is promised](driver#subscriptions)) |
//! | [`Invalidations`] | what a cache in the application is told, with [`Builder::tracking`] ([what is promised](driver#client-side-caching)) |
//! | [`Orphan`] | what a command that blocks, such as BLPOP, has taken for a future that was dropped ([what is promised](driver#blocking-commands)) |
//! | [`Request`] | a command or a pipeline with a timeout or a replay rule of its own |
//! | [`FromFrame`] | what [`Client::query`] makes of a reply: strings, numbers, lists, maps, tuples, and types of your own |
//! | [`Frame`] | a reply. The error reply of a command in a pipeline is one too: [`check`](CheckReplies::check) finds the first |
//! | [`Error`] | why there is no reply, and whether the request may have run ([`delivery`](Error::delivery)) |
//! | [`Event`] | what happens to the client, from [`Builder::events`] or [`Client::events`] |
//!
//! # Example
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use hitless_async_std::{Client, Mode, cmd, maintenance};
//!
//! # async fn example() -> Result<(), hitless_async_std::Error> {
//! let client = Client::builder("redis://user:password@redis.example.com:6379/0")?
//!     .maintenance(maintenance::Config::builder().mode(Mode::Auto).max_workers(15).build()?)
//!     .pool_size(10)
//!     .command_timeout(Duration::from_secs(1))
//!     .connect()
//!     .await?;
//!
//! client.call(cmd("SET").arg("greeting").arg("hello")).await?;
//! let greeting: Option<String> = client.query(cmd("GET").arg("greeting")).await?;
//! assert_eq!(greeting.as_deref(), Some("hello"));
//!
//! client.shutdown(Duration::from_secs(5)).await;
//! # Ok(())
//! # }
//! ```
//!
//! # TLS
//!
//! With the feature `tls`, `rediss://` (`valkeys://`) encrypts every connection. A server is believed if the authorities of the system
//! vouch for it; `Builder::tls` takes a `Tls` with authorities of your own and a certificate to show. Over TLS connections follow a
//! move to a named host only in the domain of the configured name, or in those of [`Builder::target_domain`].
//!
//! # With the `redis` crate
//!
//! With the feature `redis-rs` a [`Client`] is a connection of the `redis` crate (`redis::aio::ConnectionLike`), whatever minor of its version 1 the
//! application has: `redis::AsyncCommands`, `cmd`, `pipe`, `Script` and the scan iterators run on it. They run on a [`Lease`] as well, and there so do
//! WATCH and `redis::aio::transaction_async`, which are an error on the shared client. A command that blocks has a connection of its own on the client, which a move
//! takes along; on a lease it blocks the lease.
//! `Delivery::of_redis_error` says whether a command that failed may have run. The `redis` crate brings tokio along as a library, because its asynchronous part does not compile
//! without a runtime; nothing of it is started.
//!
//! # Names in the documentation
//!
//! What is said of a type here is written in `hitless-core`, which all adapters share, and so its examples import from there. Here
//! almost all of these names are at the top: for `hitless_core::driver::MetricsHook`, `hitless_core::config::Credentials` or `hitless_core::cmd` write
//! `hitless_async_std::MetricsHook`, `hitless_async_std::Credentials` and `hitless_async_std::cmd`. The modules [`event`], [`maintenance`], [`notification`], [`observe`] and
//! [`pubsub`] keep their names, as in `hitless_async_std::pubsub::Item`; `hitless_core::config::maintenance` is [`maintenance`]. The runtime `R` is [`Adapter`], and where an example has
//! `Client<R>` or `Lease<R>`, write [`Client`] or [`Lease`].
//!
//! Everything is decided in `hitless-core`: this crate brings async-std's sockets, clock and tasks to its
//! [driver].
//!
//! # async-std is discontinued
//!
//! async-std has had no maintainers since March 2025, and `cargo audit` reports it as unmaintained
//! ([RUSTSEC-2025-0052](https://rustsec.org/advisories/RUSTSEC-2025-0052)). Its authors recommend smol. For an application that is
//! built on it this means: no fault in async-std will be mended, and an audit needs an exception for the advisory. This crate is
//! kept, with all of its tests, until the end of 2027, or until async-std has a vulnerability, whichever is earlier. New
//! applications take `hitless-tokio`. For smol there is an adapter in the repository (`conformance/smol`), which passes the same
//! suite; it is an example to copy, and not published.

mod net;
mod runtime;

pub use hitless_core::client::{Invalidation, Stats};
pub use hitless_core::cluster::{self, ClusterEvent, ClusterStats, ReadFrom, TopologyError};
pub use hitless_core::config::{
    Config, ConfigBuilder, ConfigError, Credentials, HandoffCapacity, Protocol, Secret, Tracking,
    WhenDisconnected, WhenFull,
};
#[cfg(feature = "tls")]
pub use hitless_core::config::{Tls, TlsBuilder};
pub use hitless_core::coordinator::CoordinatorStats;
pub use hitless_core::driver::{
    self, CheckReplies, Connector, CredentialsProvider, Error, Events, HookContext, HookFailures, HookId,
    HookResult, Invalidations, LeaseNotice, LogLine, LoggingHook, MetricsHook, Missed, NotificationHook,
    Observed, Observer, ProviderError, ProviderFuture, Push, Pushes, ReplyError, Resolver, Runtime,
    ServerError,
};
pub use hitless_core::endpoint::{Endpoint, EndpointError, Host, Peer, Target, TcpOptions};
pub use hitless_core::endpoint_type::{EndpointPreference, EndpointType, UnknownEndpointType};
pub use hitless_core::error::{
    CloseCause, ConnectError, CredentialsError, Delivery, ErrorCode, HandshakeError, LeaseError,
    ProtocolError, Refusal, RequestError, RouteError, SetupCommand, Stage, SystemError, TlsFault,
    TlsProgress,
};
pub use hitless_core::event::{self, Event};
pub use hitless_core::ids::{ConnId, LeaseId, NodeId, RequestId, SubscriptionId};
pub use hitless_core::maintenance::{self, BreakerConfig, Level};
pub use hitless_core::maintenance::{TargetPolicy, TargetVerdict};
pub use hitless_core::mode::{Mode, UnknownMode};
pub use hitless_core::notification::{self, Notification};
pub use hitless_core::observe;
pub use hitless_core::pubsub::{self, SubscribeError, Topic};
pub use hitless_core::request::{
    Class, Orphan, Outcome, Pipeline, RefusedCommand, Replay, Replies, Request, SendError, Timeout,
};
pub use hitless_core::review::{Handled, Ignored, Unreviewed, Verdict};
#[cfg(feature = "tls")]
#[doc(no_inline)]
pub use hitless_core::rustls;
#[doc(no_inline)]
pub use hitless_core::{Bytes, BytesMut};
pub use hitless_core::{Command, Frame, FromFrame, Limit, Limits, ToArg, ToArgs, ValueError, cmd};

pub use self::net::Stream;
pub use self::runtime::{Adapter, Timer};

/// The client on async-std: a pool of connections to one Redis endpoint that follows the server's maintenance without letting
/// anybody notice.
///
/// [`connect`](Client::connect) opens one with the default settings, [`builder`](Client::builder) with your own.
/// [`query`](Client::query) sends a command and makes a value of its reply, [`call`](Client::call) leaves the reply as it is,
/// [`query_pipeline`](Client::query_pipeline) and [`pipeline`](Client::pipeline) do so with several, [`send`](Client::send) does not wait. A clone is another handle to the same pool, and cheap; when the last handle and the
/// last [`Reply`] are gone, the client shuts down at once.
pub type Client = driver::Client<Adapter>;

/// Collects the settings of a [`Client`] and opens it: [`connect`](Builder::connect). For what each setting means and costs,
/// and its default, see [`ConfigBuilder`].
pub type Builder = driver::Builder<Adapter>;

/// The client of a cluster: a [`Client`] for each node, and the table that says which of them a command is for.
///
/// [`connect`](ClusterClient::connect) opens one with the default settings, [`builder`](ClusterClient::builder) with your own. The calls are those
/// of [`Client`]; what concerns one node is called at one of its [`nodes`](ClusterClient::nodes).
pub type ClusterClient = driver::ClusterClient<Adapter>;

/// Collects the settings of a [`ClusterClient`] and opens it: [`connect`](ClusterBuilder::connect).
pub type ClusterBuilder = driver::ClusterBuilder<Adapter>;

/// The replies to a request that a [`ClusterClient`] has accepted, once they are there: a future. Dropping it cancels the request.
pub type ClusterReply = driver::ClusterReply<Adapter>;

/// What a [`ClusterClient`] receives for some topics: a stream that outlasts the node that it comes from.
pub type ClusterSubscription = driver::ClusterSubscription<Adapter>;

/// One node of a cluster, with the [`Client`] that is connected to it alone.
pub type Node = driver::Node<Adapter>;

/// The replies to a request that was accepted, once they are there: a future. Dropping it cancels the request.
pub type Reply = driver::Reply<Adapter>;

/// A connection that one caller has for itself, from [`Client::lease`] until its last clone is dropped: for WATCH .. EXEC, WAIT, and
/// whatever else needs a connection of its own.
pub type Lease = driver::Lease<Adapter>;

/// What is received for some topics, from [`Client::subscribe`] until it is dropped: a stream that survives a move.
pub type Subscription = driver::Subscription<Adapter>;
