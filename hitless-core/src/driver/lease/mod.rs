//! A connection that one caller has for itself for a while.

mod terms;
mod transaction;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use resp3_codec::{Command, Frame};

pub use self::terms::LeaseNotice;
pub(super) use self::terms::Terms;
use super::error::{CheckReplies as _, Error};
use super::handle::{Client, executed, only};
use super::reply::Reply;
use super::room;
use super::traits::Runtime;
use crate::config::WhenFull;
use crate::error::ServerError;
use crate::ids::LeaseId;
use crate::request::{Pipeline, Replies, Request, SendError};
use crate::value::FromFrame;

/// One connection of a [`Client`] that belongs to one caller until the last clone of the lease is dropped: for WATCH .. EXEC, WAIT, and
/// whatever else needs a connection of its own.
///
/// Its requests are answered in the order in which they were sent. None of them is ever sent again.
///
/// # Commands that block
/// A command timeout never cuts a blocking command shorter than what it asked of the server: its own time (`BLPOP q 5`) is added to the
/// [`command_timeout`](super::Builder::command_timeout), and `BLPOP q 0` waits for ever. A [timeout](Request::timeout) of the caller's own
/// counts as it is. Nor does a link count as dead for a silence that a command has asked for: if the server goes away
/// without a word meanwhile, `BLPOP q 0` does not notice, and `BLPOP q 5` in a loop does.
///
/// # The end
/// When the last clone and the last [`Reply`] are gone, and what was sent with `set_no_response` of the `redis` crate is answered, the
/// connection goes to the next caller if it is as it was at the beginning:
/// nothing is watched, no transaction is open, no setting was changed (SELECT, AUTH, HELLO, CLIENT TRACKING, ...), every reply has come,
/// and no request has failed. Otherwise it is closed, which costs the next caller a new one.
///
/// # Moves
/// A lease stays on its connection. When the server announces that this is to be given up, [`moving`](Self::moving) says so, and by when:
/// return the lease before. The connection is moved as soon as it is returned. At the deadline it may be closed: requests that were not
/// written fail as not sent, the others with [`Delivery::Unknown`](crate::error::Delivery::Unknown), and a transaction whose EXEC was not
/// sent has not run. [`Client::transaction`] starts again by itself then.
pub struct Lease<R: Runtime> {
    held: Arc<Held<R>>,
    /// How many notices this handle has returned.
    seen: AtomicU64,
}

/// Returns the lease when the last handle is gone.
struct Held<R: Runtime> {
    client: Client<R>,
    id: LeaseId,
    terms: Arc<Terms>,
}

impl<R: Runtime> Client<R> {
    /// A connection for the caller alone. There are at most
    /// [`max_dedicated`](crate::config::ConfigBuilder::max_dedicated) of them, apart from the pool; callers that find all of them lent wait in
    /// the order of their arrival, for [`lease_timeout`](crate::config::ConfigBuilder::lease_timeout).
    ///
    /// # Errors
    /// [`Error::Lease`]: none was returned in time, or none could be opened.
    ///
    /// # Cancel safety
    /// Dropping the future gives the place in the queue, or the connection, to the next one.
    pub async fn lease(&self) -> Result<Lease<R>, Error> {
        let (id, terms) = self.shared().lease()?;
        self.awaited(id, terms).granted().await
    }

    /// The handle of a lease that is awaited, which gives the wish up when it is dropped.
    fn awaited(&self, id: LeaseId, terms: Arc<Terms>) -> Lease<R> {
        let held = Arc::new(Held { client: self.clone(), id, terms });
        Lease { held, seen: AtomicU64::new(0) }
    }
}

impl<R: Runtime> Lease<R> {
    /// Sends one command and waits for its reply.
    ///
    /// # Errors
    /// [`Error::Refused`] for a command that no lease carries, such as SUBSCRIBE, [`Error::Send`] if the connection is gone or too many
    /// requests are under way, [`Error::Request`] if no reply came, [`Error::Server`] if the reply is an error.
    ///
    /// # Cancel safety
    /// Like dropping a [`Reply`]: the other replies keep their order; the command may have run. The connection is closed when the lease is
    /// returned.
    pub async fn call(&self, command: Command) -> Result<Frame, Error> {
        let frame = only(self.request(Request::leased(command)?).await?);
        match ServerError::from_frame(&frame) {
            None => Ok(frame),
            Some(error) => Err(error.into()),
        }
    }

    /// Sends one command and makes a value of its reply. [`FromFrame`] says of which replies which values are made.
    ///
    /// ```no_run
    /// # use hitless_core::driver::{Client, Error, Runtime};
    /// # use hitless_core::cmd;
    /// # async fn example<R: Runtime>(client: Client<R>) -> Result<(), Error> {
    /// let lease = client.lease().await?;
    /// let visits: i64 = lease.query(cmd("INCR").arg("visits")).await?;
    /// let replicas: i64 = lease.query(cmd("WAIT").arg(1).arg(100)).await?;
    /// println!("visit {visits} is known to {replicas} replicas");
    /// # Ok(())
    /// # }
    /// ```
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
    /// ```no_run
    /// # use hitless_core::driver::{Client, Error, Runtime};
    /// # use hitless_core::{cmd, request::Pipeline};
    /// # async fn example<R: Runtime>(client: Client<R>) -> Result<(), Error> {
    /// let lease = client.lease().await?;
    /// lease.call(cmd("WATCH").arg("stock")).await?;
    /// let stock: i64 = lease.query(cmd("GET").arg("stock")).await?;
    /// let sale = Pipeline::atomic().command(cmd("SET").arg("stock").arg(stock - 1)).command(cmd("INCR").arg("sold"));
    /// // `Error::Conflict` if somebody else has changed the stock.
    /// let ((), sold): ((), i64) = lease.query_pipeline(sale).await?;
    /// # Ok(())
    /// # }
    /// ```
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

    /// Sends several commands as one unit and waits for all their replies, which are returned in order; see
    /// [`Client::pipeline`]. Of an [atomic](Pipeline::atomic) pipeline, the elements of EXEC's reply are returned.
    ///
    /// # Errors
    /// Those of [`call`](Self::call) but for [`Error::Server`]; for an atomic pipeline also [`Error::Conflict`] if a watched key was changed,
    /// [`Error::Discarded`] and [`Error::NotAtomic`].
    ///
    /// # Cancel safety
    /// That of [`call`](Self::call); the server gets all of the pipeline or nothing.
    pub async fn pipeline(&self, pipeline: impl Into<Pipeline>) -> Result<Vec<Frame>, Error> {
        let pipeline = pipeline.into();
        let is_atomic = pipeline.is_atomic();
        let Some(request) = pipeline.into_leased_request()? else { return Ok(Vec::new()) };
        let replies = self.request(request).await?;
        if !is_atomic {
            return Ok(replies.into_vec());
        }
        match replies.last() {
            Some(exec) if exec.is_null() => Err(Error::Conflict { tries: 1 }),
            _ => executed(replies),
        }
    }

    /// Sends `request`, which may have a timeout of its own, and waits for its replies. Error replies are among them, as frames;
    /// [`check`](super::CheckReplies::check) finds the first.
    ///
    /// # Errors
    /// [`Error::Send`] and [`Error::Request`].
    ///
    /// # Cancel safety
    /// That of [`call`](Self::call).
    pub async fn request(&self, request: Request) -> Result<Replies, Error> {
        Ok(self.accept(request).await?.await?)
    }

    /// Sends `request` when there is room for it, as configured.
    pub(super) async fn accept(&self, request: Request) -> Result<Reply<R>, Error> {
        let client = &self.held.client;
        match client.shared().when_full {
            WhenFull::Fail => Ok(self.send(request)?),
            WhenFull::Wait => room::send(client.clone(), request, Some(self)).await,
        }
    }

    /// Sends `request` without waiting, not even for room. The returned future waits for the replies, and keeps the lease.
    ///
    /// # Errors
    /// [`SendError`] gives the request back.
    pub fn send(&self, request: Request) -> Result<Reply<R>, SendError> {
        let client = &self.held.client;
        let (id, waiter) = client.shared().send_on(self.held.id, request)?;
        Ok(Reply::new(client.clone(), waiter, id, Some(self.clone())))
    }

    /// Waits until the server announces that the connection is to be given up, or until it is gone. At once if either has happened and
    /// this handle has not said so: called again, it waits for what comes next, a newer deadline or the end, which it says
    /// each time. A clone begins anew.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn moving(&self) -> LeaseNotice {
        self.held.terms.news(&self.seen).await
    }

    /// What the client has said last of the connection, if anything yet.
    #[must_use]
    pub fn notice(&self) -> Option<LeaseNotice> {
        self.held.terms.notice()
    }

    /// The lease's number in the client.
    #[must_use]
    pub fn id(&self) -> LeaseId {
        self.held.id
    }

    /// The client that the connection belongs to.
    #[must_use]
    pub fn client(&self) -> &Client<R> {
        &self.held.client
    }

    async fn granted(self) -> Result<Self, Error> {
        let terms = &self.held.terms;
        std::future::poll_fn(|cx| terms.granted.poll(cx)).await?;
        Ok(self)
    }

    fn is_lost(&self) -> bool {
        matches!(self.notice(), Some(LeaseNotice::Lost { .. }))
    }
}

impl<R: Runtime> Clone for Lease<R> {
    fn clone(&self) -> Self {
        Self { held: Arc::clone(&self.held), seen: AtomicU64::new(0) }
    }
}

impl<R: Runtime> fmt::Debug for Lease<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("id", &self.held.id)
            .field("notice", &self.notice())
            .finish_non_exhaustive()
    }
}

impl<R: Runtime> Drop for Held<R> {
    fn drop(&mut self) {
        self.client.shared().return_lease(self.id);
    }
}
