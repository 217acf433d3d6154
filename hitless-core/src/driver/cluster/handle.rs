//! The handle of a cluster client.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use resp3_codec::{Command, Frame};

use super::super::error::{CheckReplies as _, Error};
use super::super::handle::{executed, only};
use super::super::hooks::{ErasedHook, HookFailures, HookId, NotificationHook};
use super::super::observer::Observer;
use super::super::reply::Reply;
use super::super::traits::{Connector, Resolver, Runtime};
use super::builder::ClusterBuilder;
use super::dispatch::{NOT_JOINED, one_by_one, put_together};
use super::join::join_all;
use super::journey;
use super::node::Node;
use super::plan::Plan;
use super::reply::ClusterReply;
use super::shared::Shared;
use crate::cluster::{ClusterEvent, ClusterStats, key_slot, split};
use crate::config::WhenFull;
use crate::error::{RouteError, ServerError};
use crate::ids::NodeId;
use crate::request::{Class, Pipeline, Replies, Request, SendError};
use crate::value::FromFrame;

/// A client of a cluster: a [`Client`](super::super::Client) for each node, and a table that says which of them serves which slot of the keys.
///
/// A clone is another handle to the same connections, and cheap. When the last handle and the last [`ClusterReply`] are gone, the client shuts
/// down at once.
///
/// # Where a command goes
/// To the node that serves the slot of its keys; [`route`](crate::cluster::route) says how that is found. Keys of several slots are refused: give
/// them a hash tag in common. Commands without keys:
///
/// | commands | go to | and the reply is |
/// |---|---|---|
/// | PING, ECHO, TIME, PUBLISH, COMMAND, EVAL without keys, FUNCTION LIST and DUMP, CLUSTER INFO, KEYSLOT, NODES, SHARDS and SLOTS | any primary | its own |
/// | DBSIZE | the primary of each shard | the sum |
/// | KEYS | the primary of each shard | all keys |
/// | FLUSHALL, FLUSHDB, FUNCTION LOAD, RESTORE, DELETE and FLUSH, SCRIPT LOAD and FLUSH | the primary of each shard | that of the first, or an error |
/// | SCRIPT EXISTS | the primary of each shard | for each script, 1 if all have it |
/// | SCRIPT KILL, FUNCTION KILL | the primary of each shard | that of one which has succeeded, else an error |
///
/// What goes to each shard fails at once if a slot is served by nobody, and cannot stand in a pipeline beside other commands. Commands about one node or
/// connection (SCAN, INFO, CONFIG, CLIENT, SLOWLOG, MEMORY, RANDOMKEY and those for administrators) are refused as
/// [`RouteError::NeedsNode`](crate::error::RouteError::NeedsNode): call them at the client of one of the [`nodes`](Self::nodes), and WAIT and WAITAOF on the
/// [`lease`](Self::lease) that has written.
///
/// Where [replicas are preferred](ClusterBuilder::read_from), commands with keys that only read go to a replica of their slot's shard.
///
/// # When slots move
/// A node that does not serve a slot any more, or not yet, or is in no state to run a command, says so without having run it (MOVED, ASK, TRYAGAIN,
/// CLUSTERDOWN, and READONLY after a failover). The client sends the command where it belongs, after a pause where it has to wait, until its
/// timeout is over; the caller sees nothing of that. Where the server announces the move (SMIGRATED), no command is refused in the first place.
/// The parts of a command for every shard follow their slots in the same way, with two exceptions. The command fails at once while a slot is served by
/// nobody. And if the slots of one part have gone to a node that has a part of its own, the command ends with what the first node has said.
/// What may have run is not sent again unless it is a read: that is the rule of the [`Client`](super::super::Client) of each node. A command that
/// blocks is ended by the server when its slot leaves, has taken nothing then, and waits at the new node for the time that is left (but for `XREAD` with `$`: see [`call`](Self::call)); its keys have one slot.
/// If the node of its keys is away, it fails after the lease timeout, or after up to twice as long if an attempt to connect is under way then. If the node
/// comes back sooner, or another one has the slot by then, the command asks that, even if its own time is over. What a server refuses (CLUSTERDOWN, LOADING) is asked again within
/// the command's own time and the command timeout; see [what is promised](crate::driver#blocking-commands).
///
/// # Order
/// Commands for one node travel as those of a [`Client`](super::super::Client) do, and commands for different nodes know nothing of each other. A
/// [pipeline](Self::pipeline) is cut into a part for each node.
pub struct ClusterClient<R: Runtime> {
    handle: Arc<Handle<R>>,
}

/// Shuts the client down when the last handle and the last reply are gone.
struct Handle<R: Runtime> {
    shared: Arc<Shared<R>>,
}

impl<R: Runtime> Drop for Handle<R> {
    fn drop(&mut self) {
        self.shared.shutdown(Duration::ZERO);
    }
}

/// One command that was called for.
enum Begun<R: Runtime> {
    /// A node has it, which was found by this slot.
    Sent((NodeId, Option<u16>), Reply<R>),
    /// It is for each shard, waits at its server, or no node has taken it.
    Later(Pin<Box<ClusterReply<R>>>),
}

impl<R: Runtime + Resolver + Connector + Default> ClusterClient<R> {
    /// A builder for the cluster that the servers at `urls` belong to. One of them suffices to find the others; the more there are, the more
    /// may be away when the client is opened. All of them must say the same but for host and port. Further servers may also stand in one URL,
    /// as in `redis://10.0.0.1:7000?addr=10.0.0.2:7000&addr=10.0.0.3:7000`.
    ///
    /// # Errors
    /// [`Error::Config`] if one of them does not parse, if they differ, and if there is none.
    pub fn builder<U: AsRef<str>>(urls: impl IntoIterator<Item = U>) -> Result<ClusterBuilder<R>, Error> {
        ClusterBuilder::new(R::default(), R::default(), urls)
    }

    /// A client with the default settings.
    ///
    /// # Errors
    /// Those of [`builder`](Self::builder) and [`ClusterBuilder::connect`].
    ///
    /// # Panics
    /// As [`ClusterBuilder::connect`] does: with tokio outside of a runtime.
    ///
    /// # Cancel safety
    /// Dropping the future closes what was opened.
    pub async fn connect<U: AsRef<str>>(urls: impl IntoIterator<Item = U>) -> Result<Self, Error> {
        let builder = Self::builder(urls)?;
        builder.connect().await
    }
}

impl<R: Runtime> ClusterClient<R> {
    pub(super) fn new(shared: Arc<Shared<R>>) -> Self {
        Self { handle: Arc::new(Handle { shared }) }
    }

    /// Sends one command and waits for its reply.
    ///
    /// # Errors
    /// [`Error::Route`] if it is not clear which node it is for, and those of [`Client::call`](super::super::Client::call). An error reply is one that the cluster stands by:
    /// MOVED and its like come only when the command's timeout was over before a node has run it, and for
    /// `XREAD` with `$` that may have begun to wait at a node, because it would miss what comes until it waits at the next one.
    ///
    /// # Cancel safety
    /// That of [`Client::call`](super::super::Client::call).
    pub async fn call(&self, command: Command) -> Result<Frame, Error> {
        // This is every command's way. A function that is not async does all of it that does not wait, because an async one would copy each value into its future.
        let (place, mut reply) = match self.begin(command)? {
            Begun::Sent(place, reply) => (place, reply),
            Begun::Later(reply) => return checked(only(reply.await?)),
        };
        match (&mut reply).await {
            Ok(replies) if !replies.first().is_some_and(Frame::is_error) => Ok(only(replies)),
            outcome => {
                let shared = Arc::clone(self.shared());
                checked(only(journey::follow(shared, place, &reply, outcome).await?))
            }
        }
    }

    /// Runs MGET, MSET, DEL, UNLINK, EXISTS or TOUCH with keys of any slots: as one command for each slot, all at the same time, whose replies
    /// become one. That is not atomic: others may see some of the parts done and some not, and where one fails, the others may have run.
    /// [`call`](Self::call) refuses such a command.
    ///
    /// ```no_run
    /// # use hitless_core::cmd;
    /// # use hitless_core::driver::{ClusterClient, Error, Runtime};
    /// # async fn example<R: Runtime>(client: ClusterClient<R>) -> Result<(), Error> {
    /// client.call_split(cmd("MSET").arg("a").arg(1).arg("b").arg(2)).await?;
    /// let deleted: u64 = client.query_split(cmd("DEL").args(["a", "b", "c"])).await?;
    /// assert_eq!(deleted, 2);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Route`] for another command, or one without keys; those of [`call`](Self::call). If a part has no reply, this is the
    /// error of the whole, and any other part may have run. If a part of MGET has an error for a reply, that stands in the place of its values.
    ///
    /// # Cancel safety
    /// That of [`call`](Self::call), for each part.
    pub async fn call_split(&self, command: Command) -> Result<Frame, Error> {
        let split = split(&command).ok_or(RouteError::NotSplit)?;
        let mut futures = Vec::new();
        for (slot, part) in split.parts() {
            let mut request = Request::command(part.clone())?;
            let place = self.shared().find_first(&mut request, Some(slot));
            futures.push(self.send_part(request, Some(slot), place));
        }
        let outcomes = join_all(futures).await;
        let replies = put_together(outcomes.len(), one_by_one(outcomes))?;
        checked(split.join(replies.into_vec()).unwrap_or_else(|| Frame::error(NOT_JOINED)))
    }

    /// Runs a command with keys of any slots as [`call_split`](Self::call_split) does, and makes a value of its reply.
    ///
    /// # Errors
    /// Those of [`call_split`](Self::call_split), and [`Error::Value`] if the reply is something else. The command has run then.
    ///
    /// # Cancel safety
    /// That of [`call_split`](Self::call_split).
    pub async fn query_split<T: FromFrame>(&self, command: Command) -> Result<T, Error> {
        Ok(T::from_frame(self.call_split(command).await?)?)
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

    /// Sends several commands and makes a value of their replies; see [`Client::query_pipeline`](super::super::Client::query_pipeline).
    ///
    /// # Errors
    /// Those of [`pipeline`](Self::pipeline), and those of [`read`](super::super::CheckReplies::read). The commands have run in the latter
    /// case.
    ///
    /// # Cancel safety
    /// That of [`pipeline`](Self::pipeline).
    pub async fn query_pipeline<T: FromFrame>(&self, pipeline: impl Into<Pipeline>) -> Result<T, Error> {
        self.pipeline(pipeline).await?.read()
    }

    /// Sends several commands and waits for all their replies, which are returned in the order of the commands. The error replies of single
    /// commands are among them, as frames; [`check`](super::super::CheckReplies::check) finds the first.
    ///
    /// Commands for different nodes are sent to them at the same time, those for one node as one unit. Commands of the same slot are run in
    /// their order. If their slot moves meanwhile, those that the first node has not run are sent to the next one, again in their
    /// order; as a key leaves a node once, the commands on it stay in order, too. A command that is refused for another reason (TRYAGAIN,
    /// CLUSTERDOWN, LOADING, READONLY) is sent again unless a later one of its slot has run: then the refusal is its reply. Commands of different
    /// slots have no order.
    ///
    /// An [atomic](Pipeline::atomic) pipeline is run by one node: its keys have one slot. The elements of EXEC's reply are returned. If
    /// its slot moves while it is queued, nothing of it has run, and the whole is sent to the next node; while only some of its keys have
    /// moved, it waits.
    ///
    /// # Errors
    /// Those of [`call`](Self::call) but for [`Error::Server`]; for an atomic pipeline also [`Error::Discarded`] and [`Error::NotAtomic`]. If a
    /// part of a pipeline has no reply, this is the error of the whole, with the delivery `Unknown`: other parts may have run, and their
    /// replies are dropped.
    ///
    /// # Cancel safety
    /// That of [`call`](Self::call); a node gets all of its part or nothing.
    pub async fn pipeline(&self, pipeline: impl Into<Pipeline>) -> Result<Vec<Frame>, Error> {
        let pipeline = pipeline.into();
        let is_atomic = pipeline.is_atomic();
        let Some(request) = pipeline.into_request()? else { return Ok(Vec::new()) };
        let replies = self.request(request).await?;
        if is_atomic { executed(replies) } else { Ok(replies.into_vec()) }
    }

    /// Sends `request`, which may have a timeout and a replay rule of its own, and waits for its replies. Error replies are among them,
    /// as frames; [`check`](super::super::CheckReplies::check) finds the first.
    ///
    /// # Errors
    /// [`Error::Route`], [`Error::Send`] and [`Error::Request`].
    ///
    /// # Cancel safety
    /// That of [`call`](Self::call).
    pub async fn request(&self, request: Request) -> Result<Replies, Error> {
        Ok(self.accept(request)?.await?)
    }

    /// Sends `request` without waiting, not even for room. The returned future waits for the replies, and follows the request if its slot has moved.
    /// A request for several nodes waits for room there.
    ///
    /// # Errors
    /// [`SendError`] gives the request back; [`SendError::NoRoute`] says that it is not clear which node it is for.
    pub fn send(&self, request: Request) -> Result<ClusterReply<R>, SendError> {
        if request.class() == Class::Leased {
            return Err(SendError::NeedsLease(request));
        }
        let plan = match Plan::of_request(&request) {
            Ok(plan) => plan,
            Err(reason) => return Err(SendError::NoRoute { request, reason }),
        };
        match plan {
            Plan::One(slot) => self.send_one(request, slot),
            Plan::Split(steps) => Ok(self.send_parts(&request, &steps)),
            Plan::Each(combine) => Ok(self.send_each(&request, combine)),
        }
    }

    /// Finishes what is under way, for at most `grace`, then closes everything. The future is ready when no socket, timer or task of the
    /// client is left. The client accepts no request meanwhile but on leases that are out, and waits for these to be returned. No node takes requests any more, so
    /// that one which is redirected meanwhile ends with the redirect.
    ///
    /// # Cancel safety
    /// Dropping the future does not stop the shutdown. Several may wait for it.
    pub async fn shutdown(&self, grace: Duration) {
        let shared = self.shared();
        shared.shutdown(grace);
        shared.gone.wait().await;
    }

    /// The nodes to which there is a client now, those that serve slots first. A primary that is away may be missing. Replicas are there if they
    /// are [read from](ClusterBuilder::read_from). Servers that were named at the start are there for a while even if they are replicas, dead, or of
    /// no cluster: [`is_primary`](Node::is_primary) leaves them out. What concerns one node is called there:
    ///
    /// ```no_run
    /// # use hitless_core::cmd;
    /// # use hitless_core::driver::{ClusterClient, Error, Runtime};
    /// # async fn example<R: Runtime>(client: ClusterClient<R>) -> Result<(), Error> {
    /// for node in client.nodes().iter().filter(|node| node.is_primary()) {
    ///     let info: String = node.client().query(cmd("INFO").arg("memory")).await?;
    ///     println!("{}: {info}", node.endpoint());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// A cursor is that of one node, so scan node by node. A key whose slot moves meanwhile may be seen twice, or not at all; a primary that is away is not
    /// among the nodes, nor are its keys:
    ///
    /// ```no_run
    /// # use hitless_core::cmd;
    /// # use hitless_core::driver::{ClusterClient, Error, Runtime};
    /// # async fn example<R: Runtime>(client: ClusterClient<R>) -> Result<(), Error> {
    /// for node in client.nodes().iter().filter(|node| node.is_primary()) {
    ///     let mut cursor = String::from("0");
    ///     loop {
    ///         let scan = cmd("SCAN").arg(&cursor).args(["MATCH", "user:*", "COUNT", "500"]);
    ///         let (next, keys): (String, Vec<String>) = node.client().query(scan).await?;
    ///         println!("{keys:?}");
    ///         if next == "0" {
    ///             break;
    ///         }
    ///         cursor = next;
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn nodes(&self) -> Vec<Node<R>> {
        let (shared, routes) = (self.shared(), self.shared().routes());
        let mut ids: Vec<NodeId> = routes.primaries().map(|(node, _)| *node).collect();
        let others = routes.clients().iter().map(|(node, _)| node);
        let others: Vec<NodeId> = others.filter(|node| !ids.contains(node)).collect();
        let primaries = ids.len();
        ids.extend(others);
        let node = |(at, id)| {
            let (endpoint, client) = (shared.endpoint(id)?, routes.client(id)?.clone());
            Some(Node { id, endpoint, client, is_primary: at < primaries })
        };
        ids.into_iter().enumerate().filter_map(node).collect()
    }

    /// The node that serves the slot of `key` now; `None` if nobody is known to.
    #[must_use]
    pub fn node_for(&self, key: impl AsRef<[u8]>) -> Option<Node<R>> {
        let (id, client) = self.shared().find(Some(key_slot(key.as_ref())))?;
        Some(Node { id, endpoint: self.shared().endpoint(id)?, client, is_primary: true })
    }

    /// Calls `hook` around each notification that arrives at any node from now on, and for each event of a node's client; see
    /// [`Client::add_hook`](super::super::Client::add_hook). A hook sees each node's client for itself: [`attached`](NotificationHook::attached) is called for each.
    /// What concerns the cluster as a whole goes to [`on_cluster_event`](NotificationHook::on_cluster_event), and so to logs. Metrics count nothing of it:
    /// [`stats`](Self::stats) does.
    pub fn add_hook(&self, hook: impl NotificationHook) -> HookId {
        let (shared, hook): (_, Arc<dyn ErasedHook>) = (self.shared(), Arc::new(hook));
        let id = shared.hooks.add(Arc::clone(&hook));
        for (_, client) in shared.routes().clients().iter() {
            client.shared().attach_once(id, &*hook);
            client.shared().note_hooks();
        }
        id
    }

    /// Removes a hook; false if no hook has this id. The hook may still see notifications that are being handled.
    pub fn remove_hook(&self, hook: HookId) -> bool {
        let is_removed = self.shared().hooks.remove(hook);
        for (_, client) in self.shared().routes().clients().iter() {
            client.shared().note_hooks();
        }
        is_removed
    }

    /// How often hooks panicked or took too long.
    #[must_use]
    pub fn hook_failures(&self) -> HookFailures {
        self.shared().hooks.failures().snapshot()
    }

    /// What happens to the cluster from now on: nodes that come and go, slots that move. The events of each node are those of its
    /// [client](Node::client).
    #[must_use]
    pub fn events(&self) -> Observer<ClusterEvent> {
        self.shared().events.observe()
    }

    /// Figures of the cluster at this moment; those of a node are those of its [client](Node::client).
    #[must_use]
    pub fn stats(&self) -> ClusterStats {
        self.shared().stats()
    }

    pub(super) fn shared(&self) -> &Arc<Shared<R>> {
        &self.handle.shared
    }

    /// Sends one command to its node, if there is one that takes it now.
    #[inline]
    fn begin(&self, command: Command) -> Result<Begun<R>, Error> {
        let plan = match Plan::of_command(&command) {
            Ok(plan) => plan,
            // What no client takes is refused at a node as well.
            Err(reason) => return Err(Request::command(command).map_or_else(Error::from, |_| reason.into())),
        };
        let slot = match plan {
            Plan::One(slot) => slot,
            Plan::Each(combine) => {
                let request = Request::command(command)?;
                return Ok(Begun::Later(Box::pin(self.send_each(&request, combine))));
            }
            // One command is not split.
            Plan::Split(_) => None,
        };
        let mut request = Request::command(command)?;
        let shared = self.shared();
        let place = shared.find_first(&mut request, slot);
        let Some((node, client)) = place.filter(|_| request.class() != Class::Blocking) else {
            return Ok(Begun::Later(Box::pin(self.accept_one(request, slot)?)));
        };
        let later = match client.into_sent(request, None) {
            Ok(reply) => return Ok(Begun::Sent((node, slot), reply)),
            Err(SendError::Full(request) | SendError::NoConnection { request, .. })
                if shared.policy.when_full == WhenFull::Wait =>
            {
                self.send_later(self.unit(request, slot))
            }
            Err(error) => self.not_accepted((node, slot), shared.runtime.now(), error)?,
        };
        Ok(Begun::Later(Box::pin(later)))
    }
}

impl<R: Runtime> Clone for ClusterClient<R> {
    fn clone(&self) -> Self {
        Self { handle: Arc::clone(&self.handle) }
    }
}

impl<R: Runtime> fmt::Debug for ClusterClient<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClusterClient").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

/// The reply, unless it is an error.
fn checked(frame: Frame) -> Result<Frame, Error> {
    match ServerError::from_frame(&frame) {
        None => Ok(frame),
        Some(error) => Err(error.into()),
    }
}
