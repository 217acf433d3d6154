//! What the driver needs of the outside world: the five traits that an adapter implements.

use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::BytesMut;

use crate::endpoint::{Peer, Target};

/// A clock, timers, tasks and a little randomness.
///
/// A clone is another handle to the same runtime.
pub trait Runtime: Clone + Send + Sync + 'static {
    /// Its timers.
    type Timer: Timer;

    /// The time. It never runs backwards, and is the time by which [timers](Timer) expire.
    fn now(&self) -> Instant;

    /// A timer that is not armed. Called inside a task of this runtime.
    fn timer(&self) -> Self::Timer;

    /// Runs `task` to its end without anyone waiting for it.
    ///
    /// A runtime that goes away must drop the tasks it holds: that is how callers who wait for a reply learn that none
    /// will come. The driver calls this inside `connect` and inside its own tasks, never while it holds a lock.
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static);

    /// A number that differs from client to client, from which the client's jitter is derived. Called once per client.
    /// It need not be secret; a simulation gives the same number again to get the same run again.
    fn seed(&self) -> u64;

    /// The certificates of the authorities that the system trusts, in DER. Asked once for each client that encrypts its
    /// connections and has no roots of its own, inside `connect`.
    ///
    /// # Errors
    /// Why they cannot be had; without an implementation, that there is none.
    fn system_roots(&self) -> io::Result<Vec<Vec<u8>>> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "the runtime's adapter does not know them"))
    }
}

/// One alarm clock. The driver needs one per client.
pub trait Timer: Send + 'static {
    /// Arms the timer for `at`, which may be in the past. An earlier alarm is forgotten.
    fn reset(&mut self, at: Instant);

    /// Ready once the instant of the last [`reset`](Self::reset) has come, at every poll until the next reset. Pending
    /// otherwise: the task is then woken when the instant comes. A timer that was never reset is always pending.
    fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<()>;
}

/// Looks host names up. The example `network` of the adapters has a fixed table of them.
pub trait Resolver: Send + Sync + 'static {
    /// The addresses of `host`, in order of preference. No address is reported as an empty list or as an error, as you
    /// like.
    ///
    /// The future is dropped when its result is no longer wanted. The driver applies its own time limits.
    fn resolve(&self, host: &str) -> impl Future<Output = io::Result<Vec<IpAddr>>> + Send;
}

/// Opens streams.
///
/// TCP and Unix sockets are one connector; a proxy, a tunnel or a pipe in memory are others. The example `network` of the adapters goes through
/// a SOCKS5 proxy.
pub trait Connector: Send + Sync + 'static {
    /// What it opens.
    type Stream: Stream;

    /// Connects to `target.address`; the second part of the result is the address that the stream is connected to, which
    /// is `target.address` itself unless the connector chose another.
    ///
    /// A connector of plain streams ignores `target.server_name`: with the feature `tls` the driver encrypts them and
    /// checks the server's certificate by that name, or by the IP address if there is no name. One whose streams are
    /// encrypted already does that itself ([`ConfigBuilder::encrypted_by_connector`](crate::config::ConfigBuilder::encrypted_by_connector)).
    ///
    /// TCP sockets should have Nagle's algorithm switched off (`TCP_NODELAY`), because the driver writes whole batches,
    /// and the options of `target.tcp` set. A kind of address that the platform lacks is an
    /// [`Unsupported`](io::ErrorKind::Unsupported) error. The future is dropped when its result is no longer wanted. The
    /// driver applies its own time limits.
    fn connect(&self, target: Target) -> impl Future<Output = io::Result<(Self::Stream, Peer)>> + Send;
}

/// An ordered, reliable stream of bytes in both directions. One task at a time uses it.
///
/// After an error of [`poll_write`](Self::poll_write) or [`poll_flush`](Self::poll_flush) the driver only reads, until
/// reading ends too: replies that have already arrived are delivered. Dropping the stream releases everything.
pub trait Stream: Send + 'static {
    /// Reads some bytes and appends them to `buffer`, no more than its spare capacity, which is not empty.
    ///
    /// `Ready(Ok(n))` with the number of bytes appended, 0 at the end of the stream only. Pending: nothing was
    /// appended, and the task is woken when reading makes progress. A stream that knows after a short read that nothing
    /// is left should say Pending to the next call without asking the system.
    ///
    /// # Errors
    /// Fatal to the stream.
    fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut BytesMut) -> Poll<io::Result<usize>>;

    /// Takes some of `bytes`, which are not empty. The stream may keep them until [`poll_flush`](Self::poll_flush).
    ///
    /// `Ready(Ok(n))` with the number of bytes taken, at least 1. Pending: none was taken, and the task is woken when
    /// writing makes progress; the next call may bring other bytes. A stream that has no room left for what it keeps sends
    /// from it here: the driver does not flush before it has written everything.
    ///
    /// # Errors
    /// Fatal to the direction.
    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>>;

    /// Sends what [`poll_write`](Self::poll_write) has taken.
    ///
    /// The driver calls it when it has written everything that there is to write, until it is ready, and not again before
    /// it has written more. It goes on reading and writing while a flush is pending.
    ///
    /// `Ready(Ok(()))`: everything that was taken leaves without a further call. Pending: the task is woken when sending
    /// makes progress. A stream that keeps nothing is always ready.
    ///
    /// # Errors
    /// Fatal to the direction.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Says goodbye (FIN, or the closing message of an encrypted stream). It is a courtesy: the driver calls it once and
    /// then drops the stream, whatever the answer. What was taken and not flushed need not be sent.
    ///
    /// # Errors
    /// Ignored by the driver.
    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
}
