//! What applications use.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hitless_core::coordinator::CoordinatorStats;
use hitless_core::error::{CloseCause, ConnectError, Delivery, RequestError};
use hitless_core::event::Event;
use hitless_core::request::Replay;
use hitless_core::{Config, cmd};
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::io::AsyncDNSResolver;
use redis::{Arg, Cmd, Pipeline, RedisError, RedisFuture, RedisResult, Value};
use tokio::sync::mpsc::UnboundedSender;

use crate::runtime::{now, until};
use crate::shared::{Said, Shared};
use crate::state::{Lease, State};

/// Connections of redis-rs that move with their server. Cheap to clone; whatever works on a
/// [`MultiplexedConnection`](redis::aio::MultiplexedConnection) works on it.
#[derive(Clone)]
pub struct Pool {
    shared: Arc<Shared>,
}

/// Why a request has no reply.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// No connection, no time, or the connection was lost: it says whether the request may have run.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// What redis-rs itself has to say.
    #[error(transparent)]
    Redis(RedisError),
}

/// A snapshot of what is going on.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Stats {
    /// Connections per address, moves, handoffs and windows.
    pub coordinator: CoordinatorStats,
    /// Connections that take requests.
    pub serving: usize,
    /// Requests that a connection carries.
    pub in_flight: usize,
    /// Requests that wait for a connection.
    pub parked: usize,
}

impl Pool {
    /// Opens a pool, and returns when every connection of it is ready. `observer` hears what happens; it may be dropped.
    /// `seed` decides the jitter: clients that are told of one move must not dial in step.
    ///
    /// # Errors
    /// The server cannot be reached, or refuses.
    pub async fn connect(
        config: Config,
        names: impl AsyncDNSResolver,
        observer: UnboundedSender<Said>,
        seed: u64,
    ) -> Result<Self, ConnectError> {
        let shared = Shared::new(config, names, observer, seed);
        shared.with(State::open_all);
        loop {
            let changed = shared.changed.notified();
            {
                let state = shared.lock();
                if let Some(error) = &state.failed {
                    return Err(error.clone());
                }
                if state.serving() == state.slots.len() {
                    break;
                }
            }
            changed.await;
        }
        Ok(Self { shared })
    }

    /// Sends one command and waits for its reply. A read whose connection is lost is sent again over another one.
    ///
    /// # Errors
    /// There is no reply.
    ///
    /// # Cancel safety
    /// The command may have run.
    pub async fn call(&self, command: &Cmd) -> Result<Value, CallError> {
        self.carry(Commands::One(command)).await
    }

    /// Sends several commands over one connection and waits for `count` of their replies, those after `offset`.
    ///
    /// # Errors
    /// There are no replies.
    ///
    /// # Cancel safety
    /// The commands may have run.
    pub async fn call_all(
        &self,
        pipeline: &Pipeline,
        offset: usize,
        count: usize,
    ) -> Result<Vec<Value>, CallError> {
        match self.carry(Commands::Several { pipeline, offset, count }).await? {
            Value::Array(replies) => Ok(replies),
            reply => Ok(vec![reply]),
        }
    }

    /// What is going on.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let state = self.shared.lock();
        Stats {
            coordinator: state.coordinator.stats(),
            serving: state.serving(),
            in_flight: state.in_flight(),
            parked: state.parked(),
        }
    }

    /// Takes no more requests, gives those in flight `grace`, and closes every connection.
    pub async fn shutdown(&self, grace: Duration) {
        let was_closing = self.shared.with(|state, _| state.begin_closing());
        self.shared.changed.notify_waiters();
        let end = now() + grace;
        loop {
            let changed = self.shared.changed.notified();
            if self.shared.lock().in_flight() == 0 {
                break;
            }
            tokio::select! {
                () = changed => {}
                () = until(Some(end)) => break,
            }
        }
        for task in self.shared.with(State::close_all) {
            task.end().await;
        }
        if !was_closing {
            self.shared.emit(now(), Event::Terminated);
        }
    }

    async fn carry(&self, commands: Commands<'_>) -> Result<Value, CallError> {
        let begun = now();
        loop {
            let lease = self.lease(begun).await?;
            let mut connection = lease.connection.clone();
            let error = match self.reply(begun, &lease, commands.send(&mut connection)).await {
                Err(CallError::Request(error)) => error,
                result => return result,
            };
            let is_lost =
                matches!(error, RequestError::ConnectionLost { .. } | RequestError::MoveDeadline { .. });
            if !is_lost || !commands.are_reads() {
                return Err(error.into());
            }
            // Perhaps this is the first that is heard of it: the next connection must be another one.
            self.shared.handle_closed(lease.conn);
        }
    }

    /// Waits for a connection.
    async fn lease(&self, begun: Instant) -> Result<Lease<'_>, RequestError> {
        let (mut timeout, mut wanted) = (Timeout::new(begun), None);
        loop {
            if self.shared.lock().closing {
                return Err(RequestError::ShutDown { delivery: Delivery::NotSent });
            }
            let mut served = match self.shared.lease(wanted) {
                Ok(lease) => return Ok(lease),
                Err(served) => served,
            };
            wanted = loop {
                let changed = self.shared.changed.notified();
                timeout.extend(self.shared.timeout(None));
                tokio::select! {
                    biased;
                    conn = &mut served => break conn.ok(),
                    () = changed => {}
                    () = until(timeout.at()) => return Err(timeout.over(Delivery::NotSent)),
                }
            };
        }
    }

    /// Waits for a reply. What opens meanwhile extends the time it has; nothing shortens it.
    async fn reply<T>(
        &self,
        begun: Instant,
        lease: &Lease<'_>,
        reply: impl Future<Output = RedisResult<T>>,
    ) -> Result<T, CallError> {
        let mut reply = pin!(reply);
        let mut timeout = Timeout::new(begun);
        loop {
            let changed = self.shared.changed.notified();
            timeout.extend(self.shared.timeout(Some(lease.conn)));
            tokio::select! {
                biased;
                result = &mut reply => return result.map_err(|error| lease.explain(error)),
                () = changed => {}
                () = until(timeout.at()) => return Err(timeout.over(Delivery::Unknown).into()),
            }
        }
    }
}

impl Lease<'_> {
    /// Why there is no reply: from redis-rs's point of view every end of a connection is the same.
    fn explain(&self, error: RedisError) -> CallError {
        if !error.is_io_error() {
            return CallError::Redis(error);
        }
        let delivery = Delivery::Unknown;
        CallError::Request(match self.ended.get() {
            Some(CloseCause::MoveDeadline) => RequestError::MoveDeadline { delivery },
            Some(CloseCause::ShutDown) => RequestError::ShutDown { delivery },
            Some(&cause) => RequestError::ConnectionLost { cause, delivery },
            None => RequestError::ConnectionLost { cause: CloseCause::ByServer, delivery },
        })
    }
}

/// What is sent in one piece.
enum Commands<'a> {
    One(&'a Cmd),
    Several { pipeline: &'a Pipeline, offset: usize, count: usize },
}

impl Commands<'_> {
    async fn send(&self, connection: &mut MultiplexedConnection) -> RedisResult<Value> {
        match *self {
            Self::One(command) => connection.send_packed_command(command).await,
            Self::Several { pipeline, offset, count } => {
                connection.send_packed_commands(pipeline, offset, count).await.map(Value::Array)
            }
        }
    }

    /// Whether sending them twice does no harm. redis-rs does not say; the core has a table.
    fn are_reads(&self) -> bool {
        match self {
            Self::One(command) => is_read(command),
            Self::Several { pipeline, .. } => !pipeline.is_transaction() && pipeline.cmd_iter().all(is_read),
        }
    }
}

fn is_read(command: &Cmd) -> bool {
    let mut words = command.args_iter().map(|word| match word {
        Arg::Simple(word) => word,
        // The place of a cursor.
        _ => b"0",
    });
    let Some(name) = words.next() else { return false };
    Replay::of(&cmd(name).args(words)) == Ok(Replay::Idempotent)
}

/// The time that a request has.
struct Timeout {
    begun: Instant,
    /// `None` is for ever.
    after: Option<Duration>,
}

impl Timeout {
    const fn new(begun: Instant) -> Self {
        Self { begun, after: Some(Duration::ZERO) }
    }

    fn extend(&mut self, after: Option<Duration>) {
        self.after = self.after.zip(after).map(|(before, after)| before.max(after));
    }

    fn at(&self) -> Option<Instant> {
        self.after.map(|after| self.begun + after)
    }

    fn over(&self, delivery: Delivery) -> RequestError {
        RequestError::TimedOut { after: self.after.unwrap_or_default(), delivery }
    }
}

impl From<CallError> for RedisError {
    fn from(error: CallError) -> Self {
        let kind = match error {
            CallError::Redis(error) => return error,
            CallError::Request(RequestError::TimedOut { .. }) => io::ErrorKind::TimedOut,
            CallError::Request(_) => io::ErrorKind::ConnectionAborted,
        };
        io::Error::new(kind, error).into()
    }
}

impl ConnectionLike for Pool {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        Box::pin(async { Ok(self.call(cmd).await?) })
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        Box::pin(async move { Ok(self.call_all(pipeline, offset, count).await?) })
    }

    fn get_db(&self) -> i64 {
        self.shared.config.database().into()
    }
}
