//! The embedded data set: what executes the requests when there is no real server behind.

mod admin;
mod blocking;
mod clients;
mod cluster;
mod dispatch;
mod glob;
mod hashes;
mod keys;
mod lists;
mod pubsub;
#[cfg(feature = "scripts")]
mod scripts;
mod session;
mod store;
mod strings;
mod table;
mod tracking;
mod transactions;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::Instant;

use bytes::Bytes;
use resp3_codec::Frame;

use super::backend::{Backend, Condition, Effect, Effects, Protocol, Turn};
use super::config::{ServerConfig, User};
use super::machine::{EndpointId, ServerConn};
use super::request::Request;
pub(super) use cluster::Cluster;
use cluster::Place;
use session::Session;
use store::{Db, Store};

/// Strings, counters, lists, hashes, subscriptions and transactions, shared by all endpoints; scripts with the feature `scripts`.
#[derive(Debug)]
pub struct Dataset {
    users: BTreeMap<String, User>,
    version: String,
    store: Store,
    /// The scripts that were sent to each endpoint, by the SHA-1 of their text: a node does not know those of another one.
    #[cfg(feature = "scripts")]
    scripts: BTreeMap<EndpointId, BTreeMap<String, Bytes>>,
    sessions: BTreeMap<ServerConn, Session>,
    /// Ids given out at each endpoint.
    ids: BTreeMap<EndpointId, i64>,
    conditions: BTreeMap<EndpointId, Condition>,
    places: BTreeMap<EndpointId, Place>,
    /// None where the endpoints are proxies of one database.
    cluster: Option<Cluster>,
    watchers: BTreeMap<(Db, Bytes), BTreeSet<ServerConn>>,
    channels: BTreeMap<Bytes, BTreeSet<ServerConn>>,
    patterns: BTreeMap<Bytes, BTreeSet<ServerConn>>,
    sharded: BTreeMap<Bytes, BTreeSet<ServerConn>>,
    /// Who waits for a key, in the order in which they came.
    waiting: BTreeMap<(Db, Bytes), VecDeque<ServerConn>>,
    deadlines: BTreeSet<(Instant, ServerConn)>,
    /// Connections that are no longer blocked and have requests to catch up with.
    resumable: VecDeque<ServerConn>,
    /// The origin of `TIME`.
    origin: Option<Instant>,
}

impl Dataset {
    /// An empty data set with the accounts and the size that the configuration says.
    #[must_use]
    pub fn new(config: &ServerConfig) -> Self {
        Self {
            users: config.users.iter().map(|user| (user.name.clone(), user.clone())).collect(),
            version: config.version.clone(),
            store: Store::new(config.databases.max(1)),
            #[cfg(feature = "scripts")]
            scripts: BTreeMap::new(),
            sessions: BTreeMap::new(),
            ids: BTreeMap::new(),
            conditions: BTreeMap::new(),
            places: BTreeMap::new(),
            cluster: None,
            watchers: BTreeMap::new(),
            channels: BTreeMap::new(),
            patterns: BTreeMap::new(),
            sharded: BTreeMap::new(),
            waiting: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            resumable: VecDeque::new(),
            origin: None,
        }
    }

    /// The string at a key of database 0; none when there is none or it is no string.
    pub fn string(&mut self, now: Instant, key: &[u8]) -> Option<Bytes> {
        self.store.string(now, 0, &Bytes::copy_from_slice(key)).ok().flatten()
    }

    /// The list at a key of database 0; empty when there is none.
    pub fn list(&mut self, now: Instant, key: &[u8]) -> Vec<Bytes> {
        let list = self.store.list(now, 0, &Bytes::copy_from_slice(key)).ok().flatten();
        list.map(|list| list.iter().cloned().collect()).unwrap_or_default()
    }

    /// Replaces the password of an account, or adds the account. What it may not run stays as it is.
    pub(super) fn set_password(&mut self, user: &str, password: &str) {
        let user = self.users.entry(user.to_owned()).or_insert_with(|| User::open(user));
        user.password = Some(password.to_owned());
    }

    /// The map, if it is a cluster.
    pub(super) fn map(&self) -> Option<&Cluster> {
        self.cluster.as_ref()
    }

    /// The map of the cluster that it is from now on.
    pub(super) fn map_mut(&mut self) -> &mut Cluster {
        self.cluster.get_or_insert_with(Cluster::new)
    }

    /// Whether the data of a node has this key, if it exists.
    fn is_here(&self, endpoint: EndpointId, key: &[u8]) -> bool {
        self.cluster.as_ref().is_none_or(|cluster| cluster.holds(endpoint, key))
    }

    /// Who a connection is before it has said so: the account `default` when it needs no password.
    fn anonymous(&self) -> Option<String> {
        self.users.get("default").filter(|user| user.password.is_none()).map(|user| user.name.clone())
    }

    fn condition(&self, endpoint: EndpointId) -> Condition {
        self.conditions.get(&endpoint).copied().unwrap_or_default()
    }

    /// Runs what became possible: blocked clients whose keys have elements, requests that waited behind them.
    pub(super) fn settle(&mut self, now: Instant, effects: &mut Effects) {
        loop {
            self.on_touched(now, effects);
            let Some(conn) = self.resumable.pop_front() else { return };
            while let Some(session) = self.sessions.get_mut(&conn).filter(|session| session.blocked.is_none())
            {
                let Some((request, turn)) = session.backlog.pop_front() else { break };
                self.take(now, conn, request, turn, effects);
                self.on_touched(now, effects);
            }
        }
    }

    fn on_touched(&mut self, now: Instant, effects: &mut Effects) {
        for (db, key) in self.store.take_touched() {
            for conn in self.watchers.get(&(db, key.clone())).into_iter().flatten() {
                if let Some(session) = self.sessions.get_mut(conn) {
                    session.dirty = true;
                }
            }
            self.invalidate(&key, effects);
            self.serve(now, db, &key, effects);
        }
    }

    fn take(&mut self, now: Instant, conn: ServerConn, request: Request, turn: Turn, effects: &mut Effects) {
        match turn {
            Turn::Execute => self.execute(now, conn, &request, effects),
            Turn::Announce => {
                let authenticated = self.sessions.get(&conn).is_some_and(|session| session.user.is_some());
                let refusal =
                    (!authenticated).then(|| Frame::Error(Bytes::from_static(dispatch::NO_AUTH.as_bytes())));
                effects.push_back(Effect::Turn { conn, request, refusal });
            }
        }
    }
}

impl Backend for Dataset {
    fn place(&mut self, endpoint: EndpointId, address: SocketAddr, host: Option<&str>) {
        self.places.insert(endpoint, Place { address, host: host.map(str::to_owned) });
    }

    fn open(&mut self, now: Instant, conn: ServerConn, endpoint: EndpointId) {
        self.origin.get_or_insert(now);
        let id = self.ids.entry(endpoint).or_insert(0);
        *id += 1;
        let session = Session::new(endpoint, *id, self.anonymous());
        self.sessions.insert(conn, session);
    }

    fn close(&mut self, now: Instant, conn: ServerConn, effects: &mut Effects) {
        self.unblock(conn);
        self.unwatch(conn);
        self.forget_subscriptions(conn);
        self.sessions.remove(&conn);
        self.settle(now, effects);
    }

    fn request(
        &mut self,
        now: Instant,
        conn: ServerConn,
        request: Request,
        turn: Turn,
        effects: &mut Effects,
    ) {
        let Some(session) = self.sessions.get_mut(&conn) else { return };
        if session.blocked.is_some() {
            session.backlog.push_back((request, turn));
            return;
        }
        self.take(now, conn, request, turn, effects);
        self.settle(now, effects);
    }

    fn protocol(&self, conn: ServerConn) -> Protocol {
        self.sessions.get(&conn).map_or(Protocol::Resp2, |session| session.protocol)
    }

    fn set_condition(
        &mut self,
        now: Instant,
        endpoint: EndpointId,
        condition: Condition,
        effects: &mut Effects,
    ) {
        self.conditions.insert(endpoint, condition);
        if condition != Condition::Paused {
            self.resume(now, endpoint, effects);
        }
        if condition == Condition::ReadOnly {
            self.send_blocked_away(endpoint, effects);
        }
        self.settle(now, effects);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    fn handle_timeout(&mut self, now: Instant, effects: &mut Effects) {
        while let Some((_, conn)) = self.deadlines.first().copied().filter(|(at, _)| *at <= now) {
            self.on_block_timeout(conn, effects);
        }
        self.settle(now, effects);
    }
}
