//! The handle of a client.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use resp3_codec::{Command, Frame};

use super::builder::Builder;
use super::cluster::Report;
use super::credentials::Provider;
use super::dial::Dialer;
use super::effects::OnOrphan;
use super::error::{CheckReplies as _, Error};
use super::hooks::{HookFailures, HookId, NotificationHook, Registry};
use super::observer::{Broadcast, Events, Pushes};
use super::reply::Reply;
use super::room;
use super::shared::Shared;
use super::supervisor;
use super::traits::{Connector, Resolver, Runtime};
use crate::client::Stats;
use crate::config::{Config, WhenFull};
use crate::error::ServerError;
use crate::event::Event;
use crate::request::{Pipeline, Replies, Request, SendError};
use crate::value::FromFrame;

/// A pool of connections to one Redis endpoint that follows the server's maintenance unnoticed by its callers.
///
/// A clone is another handle to the same pool, and cheap. When the last handle and the last [`Reply`] are gone, the
/// client shuts down at once.
///
/// # Order
/// Requests travel in the order in which they were accepted as long as they travel on the same connection. A call that
/// is awaited before the next one begins is answered before it; calls that are not awaited may overtake each other,
/// because the pool has several connections: they usually travel on the same one, but nothing promises that. A
/// [`Pipeline`] is one unit on one connection.
///
/// # The runtime
/// The tasks of a client live on the runtime on which it was opened; its handles may be used anywhere. When that runtime is dropped the
/// client is shut down: whatever waits ends in [`RequestError::ShutDown`](crate::error::RequestError::ShutDown), or in
/// [`ConnectError::TaskEnded`](crate::error::ConnectError::TaskEnded) while the pool is being opened, and later calls in
/// [`SendError::ShuttingDown`]. A client does not come back from that: open another one.
pub struct Client<R: Runtime> {
    handle: Arc<Handle<R>>,
}

/// Foreign code that a client is opened with.
pub(super) struct Watchers {
    pub(super) events: Arc<Broadcast<Event>>,
    pub(super) hooks: Arc<Registry>,
    pub(super) provider: Provider,
    pub(super) on_orphan: Option<OnOrphan>,
}

/// Shuts the client down when the last handle and the last reply are gone.
struct Handle<R: Runtime> {
    shared: Arc<Shared<R>>,
}

impl<R: Runtime + Resolver + Connector + Default> Client<R> {
    /// A builder for the server at `url`: `redis://[user][:password@]host[:port][/database]` or `unix:///path`. See
    /// [`ConfigBuilder::from_url`](crate::config::ConfigBuilder::from_url) for the rest.
    ///
    /// # Errors
    /// [`Error::Config`] if the URL does not parse.
    pub fn builder(url: &str) -> Result<Builder<R>, Error> {
        Builder::new(R::default(), R::default(), url)
    }

    /// A client with the default settings for the server at `url`.
    ///
    /// # Errors
    /// [`Error::Config`] if the URL does not parse; [`Error::Connect`] if the pool cannot be opened, after twice the
    /// connect timeout (10 s) at the latest. See [`Builder::connect`].
    ///
    /// # Panics
    /// As [`Builder::connect`] does: with tokio outside of a runtime.
    ///
    /// # Cancel safety
    /// Dropping the future closes what was opened.
    pub async fn connect(url: &str) -> Result<Self, Error> {
        Self::builder(url)?.connect().await
    }
}

impl<R: Runtime> Client<R> {
    /// Opens the pool that `config` describes, on `runtime`, by way of `network`. It is done when every connection of
    /// the pool is ready.
    ///
    /// # Errors
    /// [`Error::Connect`] if the pool cannot be opened.
    ///
    /// # Panics
    /// As [`Builder::connect`] does: where [`Runtime::spawn`] panics.
    ///
    /// # Cancel safety
    /// Dropping the future closes what was opened.
    pub async fn open<N: Resolver + Connector>(
        runtime: R,
        network: N,
        config: Config,
    ) -> Result<Self, Error> {
        let events = Arc::new(Broadcast::new(config.event_capacity()));
        let watchers = Watchers { events, hooks: Arc::default(), provider: None, on_orphan: None };
        Self::open_observed(runtime, network, config, watchers).await
    }

    pub(super) async fn open_observed<N: Resolver + Connector>(
        runtime: R,
        network: N,
        config: Config,
        watchers: Watchers,
    ) -> Result<Self, Error> {
        #[cfg(feature = "tls")]
        let network = super::tls::Secured::new(network, &config, || runtime.system_roots())?;
        let client = Self::begin(runtime, network, config, watchers, None);
        let shared = client.shared();
        std::future::poll_fn(|cx| shared.started.poll(cx)).await?;
        Ok(client)
    }

    /// A client whose pool is not open yet, and that takes requests all the same.
    pub(super) fn begin<D: Dialer>(
        runtime: R,
        dialer: D,
        config: Config,
        watchers: Watchers,
        report: Option<Report>,
    ) -> Self {
        let Watchers { events, hooks, provider, on_orphan } = watchers;
        let shared = Shared::new(runtime, config, events, hooks, (on_orphan, report));
        let client = Self { handle: Arc::new(Handle { shared }) };
        supervisor::spawn(client.shared(), dialer, provider);
        client
    }

    /// Sends one command and waits for its reply.
    ///
    /// A command that blocks, such as BLPOP, has a connection of its own while it waits, and a move takes it along: see
    /// [what is promised](super#blocking-commands).
    ///
    /// # Errors
    /// [`Error::Refused`] for a command that does not belong on a shared connection (a [`lease`](Self::lease) takes most of them), [`Error::Send`] if the client does
    /// not accept it now (see [`WhenFull`]), [`Error::Request`] if no reply came, [`Error::Server`] if the reply is an
    /// error.
    ///
    /// # Cancel safety
    /// Like dropping a [`Reply`]: the other replies keep their order; the command may have run. One that blocks is called back from
    /// the server; what it has taken by then goes to [`Builder::on_orphan`].
    pub async fn call(&self, command: Command) -> Result<Frame, Error> {
        let request = Request::command(command)?;
        // Not by `request`, whose future would be moved into this one: this is every command's way.
        let reply = match self.shared().when_full {
            WhenFull::Fail => self.send(request)?,
            WhenFull::Wait => room::send(self.clone(), request, None).await?,
        };
        let frame = only(reply.await?);
        match ServerError::from_frame(&frame) {
            None => Ok(frame),
            Some(error) => Err(error.into()),
        }
    }

    /// Sends one command and makes a value of its reply. [`FromFrame`] says of which replies which values are made.
    ///
    /// # Errors
    /// Those of [`call`](Self::call), and [`Error::Value`] if the reply is something else. The command has run then.
    ///
    /// # Cancel safety
    /// That of [`call`](Self::call).
    pub async fn query<T: FromFrame>(&self, command: Command) -> Result<T, Error> {
        Ok(T::from_frame(self.call(command).await?)?)
    }

    /// Sends several commands as one unit and makes a value of their replies: a tuple with one element for each command, or a
    /// `Vec` if all replies are of one type. Where single commands may fail, ask for a `Result<T, ServerError>` in their place.
    ///
    /// # Errors
    /// Those of [`pipeline`](Self::pipeline), and those of [`read`](super::CheckReplies::read). The commands have run in the
    /// latter case.
    ///
    /// # Cancel safety
    /// That of [`pipeline`](Self::pipeline).
    pub async fn query_pipeline<T: FromFrame>(&self, pipeline: impl Into<Pipeline>) -> Result<T, Error> {
        self.pipeline(pipeline).await?.read()
    }

    /// Sends several commands as one unit and waits for all their replies, which are returned in order. The error
    /// replies of single commands are among them, as frames; [`check`](super::CheckReplies::check) finds the first.
    ///
    /// Of an [atomic](Pipeline::atomic) pipeline, the elements of EXEC's reply are returned.
    ///
    /// # Errors
    /// Those of [`call`](Self::call) but for [`Error::Server`]; for an atomic pipeline also [`Error::Discarded`] and
    /// [`Error::NotAtomic`].
    ///
    /// # Cancel safety
    /// Like dropping a [`Reply`]; the server gets all of the pipeline or nothing.
    pub async fn pipeline(&self, pipeline: impl Into<Pipeline>) -> Result<Vec<Frame>, Error> {
        let pipeline = pipeline.into();
        let is_atomic = pipeline.is_atomic();
        let Some(request) = pipeline.into_request()? else { return Ok(Vec::new()) };
        let replies = self.request(request).await?;
        if is_atomic { executed(replies) } else { Ok(replies.into_vec()) }
    }

    /// Sends `request`, which may have a timeout and a replay rule of its own, and waits for its replies. Error replies
    /// are among them, as frames; [`check`](super::CheckReplies::check) finds the first.
    ///
    /// # Errors
    /// [`Error::Send`] and [`Error::Request`].
    ///
    /// # Cancel safety
    /// Like dropping a [`Reply`].
    pub async fn request(&self, request: Request) -> Result<Replies, Error> {
        // Not by `accept`: each future in another one is moved into it, and this is on every request's way.
        let reply = match self.shared().when_full {
            WhenFull::Fail => self.send(request)?,
            WhenFull::Wait => room::send(self.clone(), request, None).await?,
        };
        Ok(reply.await?)
    }

    /// Sends `request` when there is room for it, as configured.
    #[cfg(feature = "redis-rs")]
    pub(super) async fn accept(&self, request: Request) -> Result<Reply<R>, Error> {
        match self.shared().when_full {
            WhenFull::Fail => Ok(self.send(request)?),
            WhenFull::Wait => room::send(self.clone(), request, None).await,
        }
    }

    /// Sends `request` without waiting, not even for room: the room that there is belongs to callers that wait for it. The returned future waits for the
    /// replies.
    ///
    /// # Errors
    /// [`SendError`] gives the request back.
    pub fn send(&self, request: Request) -> Result<Reply<R>, SendError> {
        let (id, waiter) = self.shared().send(request)?;
        Ok(Reply::new(self.clone(), waiter, id, None))
    }

    /// [`send`](Self::send) by a handle that is not needed any more, for a caller whose time counts from `since`, or from now.
    pub(super) fn into_sent(self, request: Request, since: Option<Instant>) -> Result<Reply<R>, SendError> {
        let (id, waiter) = self.shared().send_since(request, since)?;
        Ok(Reply::new(self, waiter, id, None))
    }

    /// Finishes what is under way, for at most `grace`, then closes everything. The future is ready when no socket,
    /// timer or task of the client is left. The client accepts no request meanwhile but on leases that are out, and waits for
    /// these to be returned.
    ///
    /// # Cancel safety
    /// Dropping the future does not stop the shutdown. Several may wait for it.
    pub async fn shutdown(&self, grace: Duration) {
        let shared = self.shared();
        shared.shutdown(grace);
        shared.gone.wait().await;
    }

    /// Calls `hook` around each notification that arrives from now on, and for each event, behind the hooks that were
    /// added before. May be called inside a hook. The new hook does not see notifications that are being handled.
    pub fn add_hook(&self, hook: impl NotificationHook) -> HookId {
        self.shared().add_hook(Arc::new(hook))
    }

    /// Removes a hook; false if no hook has this id. The hook may still see notifications that are being handled.
    pub fn remove_hook(&self, hook: HookId) -> bool {
        self.shared().remove_hook(hook)
    }

    /// How often hooks panicked or took too long.
    #[must_use]
    pub fn hook_failures(&self) -> HookFailures {
        self.shared().hook_failures()
    }

    /// What happens to the client from now on. [`Builder::events`] makes a stream that begins before the pool opens.
    #[must_use]
    pub fn events(&self) -> Events {
        self.shared().events()
    }

    /// Pushes of the server from now on that are not maintenance notifications.
    #[must_use]
    pub fn pushes(&self) -> Pushes {
        self.shared().pushes()
    }

    /// Figures of the state at this moment.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.shared().stats()
    }

    pub(super) fn shared(&self) -> &Arc<Shared<R>> {
        &self.handle.shared
    }
}

impl<R: Runtime> Clone for Client<R> {
    fn clone(&self) -> Self {
        Self { handle: Arc::clone(&self.handle) }
    }
}

impl<R: Runtime> fmt::Debug for Client<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

impl<R: Runtime> Drop for Handle<R> {
    fn drop(&mut self) {
        self.shared.shutdown(Duration::ZERO);
    }
}

/// The only reply of one command.
#[inline]
pub(super) fn only(replies: Replies) -> Frame {
    // The machine completes a request with as many replies as it calls for.
    replies.into_inner().map_or(Frame::Null, |[frame]| frame)
}

/// The elements of EXEC's reply, out of the replies to MULTI, to each command, and to EXEC.
pub(super) fn executed(mut replies: Replies) -> Result<Vec<Frame>, Error> {
    if let Some(refusal) = replies.first().and_then(ServerError::from_frame) {
        return Err(Error::NotAtomic(refusal));
    }
    let exec = replies.pop().unwrap_or(Frame::Null).without_attributes();
    match exec {
        Frame::Array(elements) => Ok(elements),
        exec => {
            // The error of the command that was not queued says more than EXECABORT.
            let cause = replies.iter().chain([&exec]).find_map(ServerError::from_frame);
            Err(Error::Discarded(cause.unwrap_or_else(ServerError::aborted)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replies(frames: &[Frame]) -> Replies {
        frames.iter().cloned().collect()
    }

    #[test]
    fn the_elements_of_exec_are_the_result_of_an_atomic_pipeline() {
        let results = vec![Frame::Integer(1), Frame::error("ERR no")];
        let exec = Frame::Array(results.clone());
        let queued = Frame::simple("QUEUED");
        let all = replies(&[Frame::simple("OK"), queued.clone(), queued, exec]);
        assert_eq!(executed(all).unwrap(), results);
    }

    #[test]
    fn a_discarded_transaction_names_the_command_at_fault() {
        let fault = Frame::error("ERR unknown command 'X'");
        let all = replies(&[Frame::simple("OK"), fault, Frame::error("EXECABORT Transaction discarded")]);
        let Err(Error::Discarded(error)) = executed(all) else { panic!("it was discarded") };
        assert_eq!(error.code(), "ERR");

        let nil = replies(&[Frame::simple("OK"), Frame::simple("QUEUED"), Frame::Null]);
        assert!(matches!(executed(nil), Err(Error::Discarded(_))));
    }

    #[test]
    fn a_refused_multi_is_not_a_transaction() {
        let refused = Frame::error("NOPERM no MULTI for you");
        let all = replies(&[refused, Frame::Integer(1), Frame::error("ERR EXEC without MULTI")]);
        assert!(matches!(executed(all), Err(Error::NotAtomic(_))));
    }
}
