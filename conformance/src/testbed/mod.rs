//! The vocabulary of the cases: a [`World`] with three endpoints, so that a case reads as a dialogue.

mod load;

use std::net::SocketAddr;
use std::panic::resume_unwind;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use hitless_core::client::Stats;
use hitless_core::config::{Config, ConfigBuilder, maintenance};
use hitless_core::endpoint::{Endpoint, Host as HostName, Peer};
use hitless_core::error::{ConnectError, RequestError};
use hitless_core::event::Event;
use hitless_core::request::{Outcome, Pipeline, Request, SendError};
use resp3_codec::{Command, Frame, cmd};

pub use self::load::{Load, Operation};
use crate::laws;
use crate::server::{
    CloseHow, EndpointId, EndpointSpec, Event as ServerEvent, Moving, Rule, Server, ServerConfig, ServerConn,
    ServerMachine, Target,
};
use crate::world::{Host, Layout, Setup, Ticket, World};

/// One second.
pub const SECOND: Duration = Duration::from_secs(1);
/// The longest that anything may take which must come soon.
const SOON: Duration = Duration::from_secs(5);
/// The name under which the endpoint `a` is known, where a case wants names.
pub const NAME: &str = "redis.test";

/// One millisecond, `count` times.
#[must_use]
pub const fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// Why a case is not run here: thrown by [`Testbed`], caught by the suite.
#[derive(Debug)]
pub(crate) struct Declined(pub(crate) String);

/// A server with the endpoints `a`, `b` and `c` over one data set, and a client that is to be connected.
pub struct Testbed {
    world: Box<dyn World>,
    /// The endpoint that clients are configured with.
    pub a: EndpointId,
    /// Another one.
    pub b: EndpointId,
    /// A third one.
    pub c: EndpointId,
    config: Option<Config>,
    load: Option<Load>,
}

/// Collects what a [`Testbed`] is made of.
#[must_use]
pub struct Builder<'a> {
    host: &'a dyn Host,
    server: ServerConfig,
    endpoints: [EndpointSpec; 3],
    layout: Layout,
}

impl Builder<'_> {
    /// Accounts and habits of the server.
    pub fn server(mut self, server: ServerConfig) -> Self {
        self.server = server;
        self
    }

    /// What all endpoints are like.
    pub fn endpoints(mut self, change: impl Fn(EndpointSpec) -> EndpointSpec) -> Self {
        self.endpoints = self.endpoints.map(change);
        self
    }

    /// Puts the endpoint `b` at another address.
    pub fn b_at(mut self, address: &str) -> Self {
        self.endpoints[1] = EndpointSpec::new(address.parse().expect("an address"));
        self
    }

    /// How the endpoints are spread over addresses.
    pub fn layout(mut self, layout: Layout) -> Self {
        self.layout = layout;
        self
    }

    /// Makes it.
    #[must_use]
    pub fn build(self) -> Testbed {
        let mut server = Server::new(self.server);
        let [a, b, c] = self.endpoints.map(|spec| server.add_endpoint(spec));
        let world = self.host.world(Setup { server, layout: self.layout });
        let mut world = world.unwrap_or_else(|reason| resume_unwind(Box::new(Declined(reason))));
        let mut address = None;
        world.with_server(&mut |server, _| address = Some(server.address(a).ip()));
        world.set_name(NAME, address.into_iter().collect());
        Testbed { world, a, b, c, config: None, load: None }
    }
}

/// Setting up.
impl Testbed {
    /// A testbed as most cases need it.
    #[must_use]
    pub fn new(host: &dyn Host) -> Self {
        Self::builder(host).build()
    }

    /// A builder for another one.
    pub fn builder(host: &dyn Host) -> Builder<'_> {
        let endpoints = ["a.test", "b.test", "c.test"].map(|name| EndpointSpec::loopback().with_host(name));
        Builder { host, server: ServerConfig::default(), endpoints, layout: Layout::Ports }
    }

    /// Settings of a client of the endpoint `a`, with three connections and short times.
    pub fn settings(&mut self) -> ConfigBuilder {
        let address = self.address(self.a);
        Self::settings_of(Endpoint::Tcp { host: address.ip().into(), port: address.port() })
    }

    /// The same for a client that knows the endpoint `a` by [`NAME`].
    pub fn settings_by_name(&mut self) -> ConfigBuilder {
        let port = self.address(self.a).port();
        Self::settings_of(Endpoint::Tcp { host: HostName::Name(NAME.into()), port })
    }

    fn settings_of(endpoint: Endpoint) -> ConfigBuilder {
        Config::builder(endpoint)
            .pool_size(3)
            .connect_timeout(Some(SECOND))
            .command_timeout(Some(SECOND))
            .maintenance(maintenance(|settings| settings))
    }

    /// Opens the client.
    ///
    /// # Errors
    /// The pool could not be opened.
    pub fn try_connect(&mut self, settings: ConfigBuilder) -> Result<(), ConnectError> {
        self.config = settings.clone().build().ok();
        self.world.connect(settings)
    }

    /// Opens the client, which must succeed.
    pub fn connect_with(&mut self, settings: ConfigBuilder) {
        let result = self.try_connect(settings);
        assert_eq!(result, Ok(()), "the client connects");
    }

    /// Opens the client with the usual settings.
    pub fn connect(&mut self) {
        let settings = self.settings();
        self.connect_with(settings);
    }

    /// Opens the client with so many connections.
    pub fn connect_pool(&mut self, size: u32) {
        let settings = self.settings().pool_size(size);
        self.connect_with(settings);
    }
}

/// The client.
impl Testbed {
    /// Sends a request, which must be accepted.
    pub fn send_request(&mut self, request: Request) -> Ticket {
        self.try_send(request).unwrap_or_else(|error| panic!("the client accepts it: {error}"))
    }

    /// Sends a request.
    ///
    /// # Errors
    /// The client does not accept it.
    pub fn try_send(&mut self, request: Request) -> Result<Ticket, SendError> {
        self.world.send(request)
    }

    /// Sends a command without waiting for its reply.
    pub fn send(&mut self, command: Command) -> Ticket {
        self.send_request(Request::command(command).expect("a command for the shared client"))
    }

    /// Sends a pipeline and waits for its replies, which must come.
    pub fn pipeline(&mut self, pipeline: Pipeline) -> Vec<Frame> {
        let request = pipeline.into_request().expect("commands for the shared client");
        let ticket = self.send_request(request.expect("a pipeline that is not empty"));
        self.wait(ticket).unwrap_or_else(|error| panic!("replies, not: {error}")).into_vec()
    }

    /// Sends a command and waits for its reply, which must come.
    pub fn call(&mut self, command: Command) -> Frame {
        let ticket = self.send(command);
        self.reply(ticket)
    }

    /// Waits for the only reply to a request, which must come.
    pub fn reply(&mut self, ticket: Ticket) -> Frame {
        let replies = match self.wait(ticket) {
            Ok(replies) => replies,
            Err(error) => panic!("a reply, not: {error}\n{}", self.history()),
        };
        assert_eq!(replies.len(), 1);
        replies[0].clone()
    }

    /// Waits for a request to fail.
    pub fn error(&mut self, ticket: Ticket) -> RequestError {
        match self.wait(ticket) {
            Err(error) => error,
            Ok(replies) => panic!("an error, not: {replies:?}"),
        }
    }

    /// Waits for the end of a request.
    pub fn wait(&mut self, ticket: Ticket) -> Outcome {
        self.run_until("the request ends", Duration::from_secs(30), |bed| bed.finished_at(ticket).is_some());
        self.outcome(ticket).expect("it has just ended")
    }

    /// How a request ended, if it has.
    #[must_use]
    pub fn outcome(&self, ticket: Ticket) -> Option<Outcome> {
        self.world.finished(ticket).map(|finished| finished.outcome.clone())
    }

    /// When a request ended, if it has.
    #[must_use]
    pub fn finished_at(&self, ticket: Ticket) -> Option<Instant> {
        self.world.finished(ticket).map(|finished| finished.at)
    }

    /// Gives up on a request.
    pub fn cancel(&mut self, ticket: Ticket) {
        self.world.cancel(ticket);
    }

    /// What the client said so far, with times.
    #[must_use]
    pub fn timed_events(&self) -> &[(Instant, Event)] {
        self.world.events()
    }

    /// What the client said so far.
    pub fn events(&self) -> impl Iterator<Item = &Event> {
        self.world.events().iter().map(|(_, event)| event)
    }

    /// How often the client said something like this.
    pub fn count(&self, is_meant: impl FnMut(&&Event) -> bool) -> usize {
        self.events().filter(is_meant).count()
    }

    /// How many connections were handed over.
    #[must_use]
    pub fn cut_overs(&self) -> usize {
        self.count(|event| matches!(event, Event::CutOver { .. }))
    }

    /// How many moves began.
    #[must_use]
    pub fn moves(&self) -> usize {
        self.count(|event| matches!(event, Event::MoveStarted { .. }))
    }

    /// Pushes that are no maintenance notifications.
    #[must_use]
    pub fn pushes(&self) -> &[Vec<Frame>] {
        self.world.pushes()
    }

    /// What is going on in the client.
    pub fn stats(&mut self) -> Stats {
        self.world.stats()
    }

    /// Shuts the client down and checks that nothing is left of it.
    pub fn shutdown(&mut self, grace: Duration) {
        self.world.shutdown(grace);
        let endpoints = [self.a, self.b, self.c];
        // Over sockets the server hears of the last FIN a moment later.
        self.run_until("INV-15: the server sees no connection", SOON, |bed| {
            endpoints.iter().all(|endpoint| bed.connections(*endpoint).is_empty())
        });
    }

    /// Ends the case: stops the load, shuts down, and checks the laws that hold for every run.
    pub fn finish(mut self) {
        self.stop_load();
        self.shutdown(SECOND);
        laws::check(&mut self);
    }

    /// The settings that the client was connected with.
    ///
    /// # Panics
    /// Before that.
    #[must_use]
    pub fn config(&self) -> &Config {
        self.config.as_ref().expect("connect first")
    }
}

/// Time.
impl Testbed {
    /// The time.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.world.now()
    }

    /// What to draw at random from.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.world.seed()
    }

    /// By how much things may be late here.
    #[must_use]
    pub fn slack(&self) -> Duration {
        self.world.slack()
    }

    /// Lets time pass.
    pub fn run_for(&mut self, time: Duration) {
        let until = self.now() + time;
        while self.now() < until {
            self.advance(until);
        }
    }

    /// Lets time pass until `holds`, which must be within `limit`.
    pub fn run_until(&mut self, what: &str, limit: Duration, mut holds: impl FnMut(&mut Self) -> bool) {
        let until = self.now() + limit + self.slack();
        while !holds(self) {
            if self.now() >= until {
                let stats = self.stats();
                panic!("not within {limit:?}: {what}\n{stats:#?}\n{}", self.history());
            }
            self.advance(until);
        }
    }

    /// Waits for something that must come soon.
    pub fn run_until_soon(&mut self, what: &str, holds: impl FnMut(&mut Self) -> bool) {
        self.run_until(what, SOON, holds);
    }

    /// The events so far, one a line, for the message of a failure.
    #[must_use]
    pub fn history(&self) -> String {
        let start = self.timed_events().first().map_or_else(|| self.now(), |(at, _)| *at);
        let lines = self.timed_events().iter();
        lines.map(|(at, event)| format!("{:>12?} {event:?}\n", *at - start)).collect()
    }

    fn advance(&mut self, until: Instant) {
        let mut until = until;
        if let Some(mut load) = self.load.take() {
            load.pump(&mut *self.world);
            until = load.wakes_at().map_or(until, |at| until.min(at));
            self.load = Some(load);
        }
        self.world.step(until);
    }

    /// Stops the client's sockets from taking bytes, or lets them again; declines the case where that is not possible.
    pub fn block_writes(&mut self, blocked: bool) {
        if let Err(reason) = self.world.block_writes(blocked) {
            resume_unwind(Box::new(Declined(reason.to_owned())));
        }
    }
}

/// The load.
impl Testbed {
    /// Starts `tasks` tasks that repeat INCR, SET and GET on keys of their own.
    pub fn start_load(&mut self, tasks: usize) {
        self.load = Some(Load::new(tasks));
    }

    /// Lets every task finish what it is doing, and checks the laws of the load. Without a load it does nothing.
    pub fn stop_load(&mut self) {
        let Some(load) = &mut self.load else { return };
        load.stop();
        self.run_until("the load ends", Duration::from_secs(30), |bed| {
            bed.load.as_ref().is_some_and(Load::is_idle)
        });
        let Some(load) = self.load.take() else { return };
        self.server(|server, _| load.check_executions(server.ledger()));
        self.load = Some(load);
    }

    /// What the load has done so far.
    ///
    /// # Panics
    /// If there is none.
    #[must_use]
    pub fn load(&self) -> &Load {
        self.load.as_ref().expect("start the load first")
    }

    pub(crate) fn maybe_load(&self) -> Option<&Load> {
        self.load.as_ref()
    }

    /// INV-03: no error so far, and no operation took longer than `longest`.
    pub fn assert_hitless(&self, longest: Duration) {
        let load = self.load();
        assert_eq!(load.errors(), &[] as &[String], "INV-03: no error\n{}", self.history());
        let (took, allowed) = (load.longest(), longest + self.slack());
        assert!(took <= allowed, "INV-03: an operation took {took:?} > {allowed:?}\n{}", self.history());
        assert!(load.completed() > 0, "the load did something");
    }
}

/// The server.
impl Testbed {
    /// Does something to the server, or looks at it.
    pub fn server<T>(&mut self, act: impl FnOnce(&mut Server, Instant) -> T) -> T {
        let (mut act, mut result) = (Some(act), None);
        self.world.with_server(&mut |server, now| {
            if let Some(act) = act.take() {
                result = Some(act(server, now));
            }
        });
        result.expect("the world calls it")
    }

    /// The address of an endpoint.
    pub fn address(&mut self, endpoint: EndpointId) -> SocketAddr {
        self.server(|server, _| server.address(endpoint))
    }

    /// The same, as the client names it.
    pub fn peer(&mut self, endpoint: EndpointId) -> Peer {
        self.address(endpoint).into()
    }

    /// What looking a name up gives from now on.
    pub fn set_name(&mut self, name: &str, endpoints: &[EndpointId]) {
        let addresses = endpoints.iter().map(|endpoint| self.address(*endpoint).ip()).collect();
        self.world.set_name(name, addresses);
    }

    /// How often a name has been looked up.
    #[must_use]
    pub fn lookups(&self, name: &str) -> usize {
        self.world.lookups(name)
    }

    /// The connections of an endpoint.
    pub fn connections(&mut self, endpoint: EndpointId) -> Vec<ServerConn> {
        self.server(|server, _| server.connections(endpoint))
    }

    /// How many dials an endpoint has accepted. Over sockets the system refuses the others, and nobody counts them.
    pub fn accepted(&mut self, endpoint: EndpointId) -> usize {
        self.server(|server, _| server.ledger().accepted(endpoint))
    }

    /// Announces that the clients of `from` are to go to `to`, within so many seconds.
    pub fn moving(&mut self, from: EndpointId, to: EndpointId, seconds: u64) {
        self.announce(from, Moving::new(Target::Endpoint(to), Duration::from_secs(seconds)));
    }

    /// Announces a move of the clients of `from`. Returns its id.
    pub fn announce(&mut self, from: EndpointId, moving: Moving) -> u64 {
        self.server(|server, now| server.moving(now, from, moving))
    }

    /// Writes a frame to every connection of an endpoint, opted in or not.
    pub fn push(&mut self, endpoint: EndpointId, frame: &Frame) {
        for conn in self.connections(endpoint) {
            self.server(|server, now| server.push(now, conn, std::slice::from_ref(frame)));
        }
    }

    /// Waits until all connections of the client are at `endpoint`.
    pub fn run_until_all_at(&mut self, endpoint: EndpointId) {
        let peer = self.peer(endpoint);
        let size = self.config().pool_size();
        self.run_until_soon("all connections are at the new endpoint", |bed| {
            let there = bed.stats().coordinator.connections;
            there.get(&peer) == Some(&size) && there.len() == 1
        });
    }

    /// The requests that arrived on a connection, in words.
    pub fn requests_on(&mut self, conn: ServerConn) -> Vec<String> {
        self.server(|server, _| {
            server.ledger().received_on(conn).map(|request| format!("{request:?}")).collect()
        })
    }

    /// Endpoint and connection of the requests that begin with these words, in the order of their arrival.
    pub fn arrivals(&mut self, words: &str) -> Vec<(EndpointId, ServerConn)> {
        self.server(|server, _| {
            let entries = server.ledger().entries().iter();
            let meant = entries.filter(|entry| match &entry.event {
                ServerEvent::Received(request) => request.is(words),
                _ => false,
            });
            meant.filter_map(|entry| Some((entry.endpoint, entry.conn?))).collect()
        })
    }

    /// The opt-ins that an endpoint was asked for.
    pub fn opt_ins(&mut self, endpoint: EndpointId) -> usize {
        self.server(|server, _| server.ledger().opt_ins(endpoint).count())
    }

    /// Adds a rule for what happens to certain requests.
    pub fn rule(&mut self, rule: Rule) {
        self.server(|server, _| server.add_rule(rule));
    }

    /// Answers requests at an endpoint late from now on.
    pub fn slow_down(&mut self, endpoint: EndpointId, delay: Duration) {
        self.server(|server, _| server.set_reply_delay(endpoint, delay, None));
    }

    /// Refuses dials of an endpoint from now on, for so long or until it is restored.
    pub fn refuse(&mut self, endpoint: EndpointId, time: impl Into<Option<Duration>>) {
        let time = time.into();
        self.server(|server, now| server.refuse_dials(now, endpoint, time.map(|time| now + time)));
    }

    /// Leaves dials of an endpoint unanswered from now on, for so long or until it is restored.
    pub fn black_hole(&mut self, endpoint: EndpointId, time: impl Into<Option<Duration>>) {
        let time = time.into();
        self.server(|server, now| server.black_hole(now, endpoint, time.map(|time| now + time)));
    }

    /// Makes an endpoint answer at once again.
    pub fn restore(&mut self, endpoint: EndpointId) {
        self.server(|server, _| server.restore(endpoint));
    }

    /// Ends every connection of an endpoint.
    pub fn kill_all(&mut self, endpoint: EndpointId, how: CloseHow) {
        self.server(|server, now| server.kill_all(now, endpoint, how));
    }

    /// Ends the oldest connection of an endpoint.
    pub fn kill_one(&mut self, endpoint: EndpointId) {
        let conn = self.connections(endpoint)[0];
        self.server(|server, now| server.kill(now, conn, CloseHow::Fin));
    }

    /// Waits until the pool is whole.
    pub fn run_until_whole(&mut self) {
        let size = self.config().pool_size() as usize;
        self.run_until_soon("the pool is whole", |bed| bed.stats().serving == size);
    }

    /// How often an INCR of `key` was executed.
    pub fn increments(&mut self, key: &str) -> usize {
        self.server(|server, _| server.ledger().executions("INCR", key.as_bytes()).count())
    }
}

/// Settings of maintenance with short times, changed by the case.
#[must_use]
pub fn maintenance(
    change: impl FnOnce(maintenance::ConfigBuilder) -> maintenance::ConfigBuilder,
) -> maintenance::Config {
    let usual =
        maintenance::Config::builder().relaxed_timeout(SECOND).handoff_timeout(SECOND).max_handoff_retries(3);
    change(usual).build().expect("the settings of a case fit together")
}

/// The bytes of these frames, one after the other.
#[must_use]
pub fn encoded(frames: &[Frame]) -> Bytes {
    let mut buffer = BytesMut::new();
    frames.iter().for_each(|frame| frame.encode(&mut buffer));
    buffer.freeze()
}

/// `INCR key`.
pub fn incr(key: &str) -> Command {
    cmd("INCR").arg(key)
}

/// `GET key`.
pub fn get(key: &str) -> Command {
    cmd("GET").arg(key)
}

/// `SET key value`.
pub fn set(key: &str, value: &str) -> Command {
    cmd("SET").arg(key).arg(value)
}
