//! Optimistic locking as one call: watch, read, run a batch if nothing has changed, or begin again.

use std::future::Future;
use std::time::Instant;

use resp3_codec::{Command, Frame, ToArgs, cmd};

use super::super::error::Error;
use super::super::handle::Client;
use super::super::traits::Runtime;
use super::Lease;
use crate::error::{Delivery, Refusal};
use crate::request::Pipeline;

/// How often a transaction is tried. Each time another client was faster, which is then done.
const TRIES: u32 = 100;

/// How one try ended.
enum Tried {
    Done(Option<Vec<Frame>>),
    /// A watched key was changed: nothing has run.
    Conflict,
}

/// Why one try has no result.
struct Failed {
    error: Error,
    /// Nothing of the batch has run.
    not_run: bool,
}

/// The connections that one transaction has lost.
#[derive(Default)]
struct Losses {
    count: u32,
    first_at: Option<Instant>,
}

impl<R: Runtime> Client<R> {
    /// Runs a batch of commands as one transaction, provided that none of `keys` has changed since `build` has read what it needs.
    ///
    /// The client leases a connection and watches the keys. `build` reads through the lease that it is given, and returns the commands to
    /// run, or `None` to give up. They run as MULTI .. EXEC, and the replies to them are returned; error replies are among them, as frames.
    /// If another client has changed a key meanwhile, nothing has run, and everything from WATCH on is done again, at most 100 times and
    /// without a pause: of those that compete for a key one gets through in each round. Where very many do (50 and more), some may spend their
    /// tries, as [`Error::Conflict`]: fewer connections to lend (`max_dedicated` of 5 to 10) let the others wait, and are faster as well.
    ///
    /// If the connection is lost, or its move cannot wait any longer, before EXEC was sent, nothing has run either, and the next try uses another
    /// connection, after a pause of 50 ms at most, which doubles with each loss, up to 2 s. A loss that comes later than a command may take,
    /// counted from the first one, is the error. Once EXEC was sent without an answer, the error says [`Delivery::Unknown`] and nothing is done
    /// again. A server that is in no state to run it (READONLY, LOADING, MASTERDOWN) is asked again while maintenance is announced, after
    /// pauses that grow, for as long as a command may take.
    ///
    /// ```no_run
    /// # use hitless_core::driver::{Client, Error, Runtime};
    /// # use hitless_core::request::Pipeline;
    /// # use hitless_core::cmd;
    /// # async fn example<R: Runtime>(client: Client<R>) -> Result<(), Error> {
    /// let replies = client
    ///     .transaction(["stock"], |lease| async move {
    ///         match lease.query::<Option<u64>>(cmd("GET").arg("stock")).await? {
    ///             None | Some(0) => Ok(None),
    ///             Some(left) => Ok(Some(Pipeline::from([cmd("SET").arg("stock").arg(left - 1)]))),
    ///         }
    ///     })
    ///     .await?;
    /// let is_sold = replies.is_some();
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Conflict`] if every try was in vain; what `build` returns, unless the connection was lost; [`Error::Lease`]; those of
    /// [`Lease::pipeline`].
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection. The transaction has run wholly, if EXEC was sent, or not at all.
    pub async fn transaction<F, B>(
        &self,
        keys: impl IntoIterator<Item = impl ToArgs>,
        mut build: F,
    ) -> Result<Option<Vec<Frame>>, Error>
    where
        F: FnMut(Lease<R>) -> B,
        B: Future<Output = Result<Option<Pipeline>, Error>>,
    {
        self.transaction_behind(&cmd("WATCH").args(keys), &mut build).await
    }

    /// [`transaction`](Self::transaction) that begins with `watch`.
    pub(in super::super) async fn transaction_behind<F, B>(
        &self,
        watch: &Command,
        build: &mut F,
    ) -> Result<Option<Vec<Frame>>, Error>
    where
        F: FnMut(Lease<R>) -> B,
        B: Future<Output = Result<Option<Pipeline>, Error>>,
    {
        let since = self.shared().runtime.now();
        let mut lease = self.lease().await?;
        let (mut tries, mut refusals) = (0, 0);
        let mut losses = Losses::default();
        loop {
            tries += 1;
            match lease.try_transaction(watch, build).await {
                Ok(Tried::Done(replies)) => return Ok(replies),
                // It came as far as EXEC: its reads break no links.
                Ok(Tried::Conflict) if tries < TRIES => losses = Losses::default(),
                Ok(Tried::Conflict) => return Err(Error::Conflict { tries }),
                Err(Failed { error, not_run: true }) if lease.is_lost() && tries < TRIES => {
                    let Some(next) = lease.after_loss(&mut losses)? else { return Err(error) };
                    drop(lease);
                    lease = next.granted().await?;
                }
                Err(Failed { error, .. }) if is_refusal(&error) && tries < TRIES => {
                    refusals += 1;
                    let Some(next) = lease.after_refusal(since, refusals)? else { return Err(error) };
                    // While it is lent its connection cannot move.
                    drop(lease);
                    lease = next.granted().await?;
                }
                Err(Failed { error, .. }) => return Err(error),
            }
        }
    }
}

/// The server is in no state to run a transaction, and has run nothing of it.
fn is_refusal(error: &Error) -> bool {
    error.answer().is_some_and(|error| Refusal::of_error(error.text()).is_some())
}

impl<R: Runtime> Lease<R> {
    /// The lease for the next try, which is not there yet; `None` if the refusal is to stand.
    fn after_refusal(&self, since: Instant, refusals: u32) -> Result<Option<Self>, Error> {
        let client = &self.held.client;
        let wish = client.shared().lease_after_refusal(self.held.id, since, refusals)?;
        Ok(wish.map(|(id, terms)| client.awaited(id, terms)))
    }

    /// [`after_refusal`](Self::after_refusal) behind one more loss.
    fn after_loss(&self, losses: &mut Losses) -> Result<Option<Self>, Error> {
        let client = &self.held.client;
        losses.count += 1;
        let since = *losses.first_at.get_or_insert_with(|| client.shared().runtime.now());
        let wish = client.shared().lease_after_loss(since, losses.count)?;
        Ok(wish.map(|(id, terms)| client.awaited(id, terms)))
    }

    async fn try_transaction<F, B>(&self, watch: &Command, build: &mut F) -> Result<Tried, Failed>
    where
        F: FnMut(Self) -> B,
        B: Future<Output = Result<Option<Pipeline>, Error>>,
    {
        let has_keys = watch.iter().nth(1).is_some();
        if has_keys {
            self.call(watch.clone()).await.map_err(before_exec)?;
        }
        let batch = match build(self.clone()).await {
            Ok(Some(batch)) if !batch.is_empty() => batch,
            gives_up => {
                if has_keys && !self.is_lost() {
                    // If that fails, the connection is closed, and nothing else depends on it.
                    drop(self.call(cmd("UNWATCH")).await);
                }
                let nothing = gives_up.map_err(before_exec)?.map(|_| Vec::new());
                return Ok(Tried::Done(nothing));
            }
        };
        match self.pipeline(batch.into_atomic()).await {
            Ok(replies) => Ok(Tried::Done(Some(replies))),
            Err(Error::Conflict { .. }) => Ok(Tried::Conflict),
            Err(error) => {
                let not_run = error.delivery() == Some(Delivery::NotSent);
                Err(Failed { error, not_run })
            }
        }
    }
}

fn before_exec(error: Error) -> Failed {
    Failed { error, not_run: true }
}
