//! The client as a connection of the `redis` crate: its typed commands, pipelines, scripts and iterators run on it.
//!
//! A lease is one in the same way: both pack a request, send it and hand the replies to [`values`].

pub(super) mod error;
mod values;

use std::future::Future;

use bytes::Bytes;
use redis::aio::ConnectionLike;
use redis::{Cmd, ErrorKind, Pipeline, RedisError, RedisFuture, Value};

use super::cluster::{ClusterClient, ClusterReply};
use super::error::Error;
use super::handle::{Client, only};
use super::lease::Lease;
use super::reply::Reply;
use super::traits::Runtime;
use crate::request::{Outcome, PackedError, Request};

/// With the feature `redis-rs`: a client is a connection of the `redis` crate. `redis::AsyncCommands`, `cmd(..).query_async`,
/// `pipe()`, `Script` and the scan iterators run on it unchanged; they take `&mut`, and a clone of a client is cheap.
///
/// Commands are treated as those of [`cmd`](crate::cmd) are, by name and arguments: which may be sent again, and which a
/// shared connection cannot carry. The latter, such as WATCH and SUBSCRIBE, are an error of the kind [`ErrorKind::Client`].
/// An atomic pipeline is one unit.
///
/// # Errors
/// | what happened | kind | also |
/// |---|---|---|
/// | the command cannot be sent on the shared client, or too many requests are under way | `Client` | not sent |
/// | no reply in time | `Io` | `is_timeout()` |
/// | the connection was lost, the client was shut down | `Io` | `is_connection_dropped()` |
/// | there is no connection | `Io` | `is_connection_refusal()` where the last attempt was refused, `is_timeout()` where it took too long, otherwise `is_connection_dropped()`; where a password or a right is missing neither: trying again does not help |
/// | the server answered with an error | as the `redis` crate has it | |
/// | EXEC was not run because a command of the transaction was refused | `Server(ExecAbort)` | the text names the command |
/// | a watched key was changed ([`Error::Conflict`](super::Error::Conflict)) | `Io`, not to be tried again | the server has answered |
/// | MULTI was refused, and the commands may have run one by one | `Io`, not to be tried again | delivery unknown |
///
/// [`Delivery::of_redis_error`](crate::error::Delivery::of_redis_error) says whether the command may have run.
///
/// # Replies
/// They are the values that the `redis` crate's own parser makes of them. The client speaks RESP3 where the server does, and then
/// these differ from what an application may have seen with RESP2, the default of `redis::Client`. The types of the application
/// mostly hide it; a match on [`Value`] does not. `protocol=2` in the URL has everything as before.
///
/// | command | RESP2 | RESP3 |
/// |---|---|---|
/// | HGETALL, CONFIG GET, XINFO, HELLO | array of keys and values by turns | map |
/// | SMEMBERS, SINTER, SUNION, SDIFF | array | set |
/// | ZSCORE, ZINCRBY, GEODIST and other scores | bulk string | double (GEODIST: bulk string) |
/// | ZRANGE .. WITHSCORES, ZPOPMIN with a count, HRANDFIELD .. WITHVALUES | flat array | array of pairs |
/// | XREAD, XREADGROUP | array of pairs | map |
/// | a key that is not there | nil string or nil array | nil |
/// | CLIENT INFO, CLIENT LIST, INFO, LOLWUT | bulk string | verbatim string |
/// | scripts after `redis.setresp(3)` | no maps, doubles or booleans | as the script has them |
///
/// # Cancel safety
/// Dropping a future is like dropping a [`Reply`](super::Reply).
impl<R: Runtime> ConnectionLike for Client<R> {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        Box::pin(one(self, cmd))
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        Box::pin(several(self, pipeline, offset, count))
    }

    fn get_db(&self) -> i64 {
        self.shared().database.into()
    }
}

/// With the feature `redis-rs`: a lease is a connection of the `redis` crate as well, on which `redis::aio::transaction_async`, WATCH and
/// commands that block run. Errors, replies and cancel safety are those of the client; nothing is sent again.
impl<R: Runtime> ConnectionLike for Lease<R> {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        Box::pin(one(self, cmd))
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        Box::pin(several(self, pipeline, offset, count))
    }

    fn get_db(&self) -> i64 {
        self.client().get_db()
    }
}

/// With the feature `redis-rs`: a cluster client is a connection of the `redis` crate as well. Each command goes to the node that serves its keys,
/// and a pipeline is cut into parts, as [`ClusterClient::pipeline`] says. Errors, replies and cancel safety are those of [`Client`]. Keys of different
/// slots are an error of the kind `CrossSlot`. A command whose answer nobody wants (`set_no_response`) is waited for all the same: its node may not
/// have run it.
impl<R: Runtime> ConnectionLike for ClusterClient<R> {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        Box::pin(one(self, cmd))
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        Box::pin(several(self, pipeline, offset, count))
    }

    fn get_db(&self) -> i64 {
        0
    }
}

/// What commands of the `redis` crate are sent on: the shared connections, those of a cluster, or one that is lent.
trait Carrier: Sync {
    type Reply: Future<Output = Outcome> + Send;

    /// The request for commands that the `redis` crate has encoded.
    fn read(packed: Bytes) -> Result<Request, PackedError>;

    /// Sends it when there is room for it.
    fn accept(&self, request: Request) -> impl Future<Output = Result<Self::Reply, Error>> + Send;

    /// Nobody wants the reply, and yet the request is to run. `keeps_lease`: its lease is not returned before.
    fn let_run(reply: Self::Reply, keeps_lease: bool) -> impl Future<Output = ()> + Send;
}

impl<R: Runtime> Carrier for Client<R> {
    type Reply = Reply<R>;

    fn read(packed: Bytes) -> Result<Request, PackedError> {
        Request::packed(packed)
    }

    fn accept(&self, request: Request) -> impl Future<Output = Result<Reply<R>, Error>> + Send {
        self.accept(request)
    }

    fn let_run(reply: Reply<R>, keeps_lease: bool) -> impl Future<Output = ()> + Send {
        reply.detach(keeps_lease);
        std::future::ready(())
    }
}

impl<R: Runtime> Carrier for Lease<R> {
    type Reply = Reply<R>;

    fn read(packed: Bytes) -> Result<Request, PackedError> {
        Request::packed_for_lease(packed)
    }

    fn accept(&self, request: Request) -> impl Future<Output = Result<Reply<R>, Error>> + Send {
        self.accept(request)
    }

    fn let_run(reply: Reply<R>, keeps_lease: bool) -> impl Future<Output = ()> + Send {
        reply.detach(keeps_lease);
        std::future::ready(())
    }
}

impl<R: Runtime> Carrier for ClusterClient<R> {
    type Reply = ClusterReply<R>;

    fn read(packed: Bytes) -> Result<Request, PackedError> {
        Request::packed(packed)
    }

    fn accept(&self, request: Request) -> impl Future<Output = Result<ClusterReply<R>, Error>> + Send {
        std::future::ready(self.accept(request))
    }

    async fn let_run(reply: ClusterReply<R>, _: bool) {
        drop(reply.await);
    }
}

async fn one<C: Carrier>(carrier: &C, cmd: &Cmd) -> Result<Value, RedisError> {
    let request = request::<C>(cmd.get_packed_command())?;
    // One that blocks would keep a connection that nobody can close.
    let keeps_lease = request.blocking().is_none();
    let reply = carrier.accept(request).await?;
    if cmd.is_no_response() {
        C::let_run(reply, keeps_lease).await;
        return Ok(Value::Nil);
    }
    Ok(values::value(only(reply.await.map_err(Error::from)?)))
}

async fn several<C: Carrier>(
    carrier: &C,
    pipeline: &Pipeline,
    offset: usize,
    count: usize,
) -> Result<Vec<Value>, RedisError> {
    let reply = carrier.accept(request::<C>(pipeline.get_packed_pipeline())?).await?;
    let replies = reply.await.map_err(Error::from)?;
    values::of_pipeline(replies, pipeline.is_transaction(), offset, count)
}

fn request<C: Carrier>(packed: Vec<u8>) -> Result<Request, RedisError> {
    if packed.is_empty() {
        return Err((ErrorKind::Client, "empty command").into());
    }
    C::read(Bytes::from(packed)).map_err(|error| match error {
        PackedError::Refused(refused) => refused.into(),
        PackedError::Malformed => (ErrorKind::Client, "a command without a name").into(),
    })
}
