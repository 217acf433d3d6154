//! A pool of redis-rs's connections, and a server behind sockets.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::thread;
use std::time::{Duration, Instant};

use hitless_conformance::clock;
use hitless_conformance::net::names::Names;
use hitless_conformance::net::{self, tcp::TcpServer};
use hitless_conformance::server::Server;
use hitless_conformance::world::{Finished, Setup, Ticket, World};
use hitless_core::client::Stats;
use hitless_core::config::ConfigBuilder;
use hitless_core::error::ConnectError;
use hitless_core::event::Event;
use hitless_core::request::{Outcome, Request, SendError};
use hitless_core::{Decoder, Frame, Limits};
use hitless_embed::{CallError, Pool, Said, frame};
use redis::io::AsyncDNSResolver;
use redis::{RedisError, RedisFuture};
use tokio::runtime::Runtime;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::AbortHandle;
use tokio::time;

/// The longest that the case's thread waits: it may be waiting for something at the server, which wakes nobody.
const TICK: Duration = Duration::from_millis(1);
/// By how much things may be late on a busy machine.
const SLACK: Duration = Duration::from_millis(750);

pub(crate) struct RedisRsWorld {
    pool: Option<Pool>,
    said: UnboundedReceiver<Said>,
    observer: UnboundedSender<Said>,
    ended: UnboundedReceiver<(Ticket, Finished)>,
    end: UnboundedSender<(Ticket, Finished)>,
    requests: BTreeMap<Ticket, AbortHandle>,
    next_ticket: u64,
    finished: BTreeMap<Ticket, Finished>,
    events: Vec<(Instant, Event)>,
    pushes: Vec<Vec<Frame>>,
    names: Names,
    /// Nothing of the client runs.
    standing_still: bool,
    // One thread, the case's: requests are sent in the order in which the case asks for them.
    runtime: Runtime,
    server: TcpServer<Server>,
}

impl RedisRsWorld {
    pub(crate) fn new(setup: Setup) -> Result<Self, String> {
        let server = net::start(setup)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let (observer, said) = unbounded_channel();
        let (end, ended) = unbounded_channel();
        Ok(Self {
            pool: None,
            said,
            observer,
            ended,
            end,
            requests: BTreeMap::new(),
            next_ticket: 0,
            finished: BTreeMap::new(),
            events: Vec::new(),
            pushes: Vec::new(),
            names: Names::default(),
            standing_still: false,
            runtime: runtime.map_err(|error| format!("there is no runtime: {error}"))?,
            server,
        })
    }

    fn pool(&self) -> &Pool {
        self.pool.as_ref().expect("connect first")
    }

    fn collect(&mut self) {
        while let Ok(said) = self.said.try_recv() {
            self.hear(said);
        }
        while let Ok((ticket, finished)) = self.ended.try_recv() {
            self.finish(ticket, finished);
        }
    }

    fn hear(&mut self, said: Said) {
        match said {
            Said::Event(at, event) => self.events.push((at, event)),
            Said::Push(push) => {
                let elements = push.data.into_iter().map(frame);
                self.pushes.push([Frame::bulk(push.kind.to_string())].into_iter().chain(elements).collect());
            }
        }
    }

    fn finish(&mut self, ticket: Ticket, finished: Finished) {
        self.requests.remove(&ticket);
        self.finished.insert(ticket, finished);
    }
}

impl World for RedisRsWorld {
    fn now(&self) -> Instant {
        clock::now()
    }

    fn slack(&self) -> Duration {
        SLACK
    }

    fn seed(&self) -> u64 {
        0
    }

    fn with_server(&mut self, act: &mut dyn FnMut(&mut Server, Instant)) {
        self.server.with(|server, now| act(server, now));
    }

    fn set_name(&mut self, host: &str, addresses: Vec<IpAddr>) {
        self.names.set(host, addresses);
    }

    fn lookups(&self, host: &str) -> usize {
        self.names.lookups(host)
    }

    fn connect(&mut self, settings: ConfigBuilder) -> Result<(), ConnectError> {
        let config = settings.build().expect("the settings of a case fit together");
        let connecting =
            Pool::connect(config, CaseNames(self.names.clone()), self.observer.clone(), self.seed());
        let result = self.runtime.block_on(connecting).map(|pool| self.pool = Some(pool));
        self.collect();
        result
    }

    fn send(&mut self, request: Request) -> Result<Ticket, SendError> {
        let ticket = Ticket::new(self.next_ticket);
        self.next_ticket += 1;
        let (pool, end) = (self.pool().clone(), self.end.clone());
        let task = self.runtime.spawn(async move {
            let outcome = perform(&pool, &request).await;
            // If the world is gone, nobody wants to know.
            let _ = end.send((ticket, Finished { at: clock::now(), outcome }));
        });
        self.requests.insert(ticket, task.abort_handle());
        if !self.standing_still {
            // So that it is on its way.
            self.runtime.block_on(tokio::task::yield_now());
        }
        Ok(ticket)
    }

    fn finished(&self, ticket: Ticket) -> Option<&Finished> {
        self.finished.get(&ticket)
    }

    fn cancel(&mut self, ticket: Ticket) {
        if let Some(task) = self.requests.remove(&ticket) {
            task.abort();
        }
    }

    fn step(&mut self, until: Instant) {
        let until = until.min(clock::now() + TICK);
        if self.standing_still {
            return thread::park_timeout(until.saturating_duration_since(clock::now()));
        }
        let mut heard = (None, None);
        self.runtime.block_on(async {
            tokio::select! {
                said = self.said.recv() => heard.0 = said,
                ended = self.ended.recv() => heard.1 = ended,
                () = time::sleep_until(until.into()) => {}
            }
        });
        if let Some(said) = heard.0 {
            self.hear(said);
        }
        if let Some((ticket, finished)) = heard.1 {
            self.finish(ticket, finished);
        }
        self.collect();
    }

    fn events(&self) -> &[(Instant, Event)] {
        &self.events
    }

    fn pushes(&self) -> &[Vec<Frame>] {
        &self.pushes
    }

    fn stats(&mut self) -> Stats {
        self.collect();
        let mut stats = Stats::default();
        if let Some(pool) = &self.pool {
            let now = pool.stats();
            stats.coordinator = now.coordinator;
            stats.serving = now.serving;
            stats.requests = now.in_flight + now.parked;
            stats.parked = now.parked;
        }
        stats
    }

    fn shutdown(&mut self, grace: Duration) {
        if let Some(pool) = &self.pool {
            self.runtime.block_on(pool.shutdown(grace));
        }
        while !self.requests.is_empty() {
            // Each of them ends, because its connection has ended. INV-01
            self.step(clock::now() + TICK);
        }
        self.collect();
    }

    fn block_reads(&mut self, blocked: bool) {
        self.standing_still = blocked;
    }

    fn block_writes(&mut self, _blocked: bool) -> Result<(), &'static str> {
        Err("the system decides when a socket takes bytes")
    }
}

/// Sends the commands of a request by redis-rs's means.
async fn perform(pool: &Pool, request: &Request) -> Outcome {
    let mut decoder = Decoder::new(Limits::default());
    decoder.buffer().extend_from_slice(request.payload());
    let mut commands = redis::Pipeline::new();
    while let Some(words) = decoder.poll_frame().expect("commands of ours") {
        let words = words.into_array().expect("a command is an array");
        let words: Vec<_> = words.into_iter().filter_map(Frame::into_bytes).collect();
        let (name, arguments) = words.split_first().expect("a command has a name");
        let mut command = redis::Cmd::new();
        command.arg(&name[..]);
        for argument in arguments {
            command.arg(&argument[..]);
        }
        commands.add_command(command);
    }
    let count = commands.len();
    match pool.call_all(&commands, 0, count).await {
        Ok(replies) => Ok(replies.into_iter().map(frame).collect()),
        Err(CallError::Request(error)) => Err(error),
        Err(error) => panic!("what redis-rs cannot do is declined: {error}"),
    }
}

/// Names that the case decides on.
struct CaseNames(Names);

impl AsyncDNSResolver for CaseNames {
    fn resolve<'a, 'b: 'a>(
        &'a self,
        host: &'b str,
        port: u16,
    ) -> RedisFuture<'a, Box<dyn Iterator<Item = SocketAddr> + Send + 'a>> {
        Box::pin(async move {
            let addresses = self.0.look_up(host).map_err(RedisError::from)?.into_iter();
            let addresses = addresses.map(move |ip| SocketAddr::new(ip, port));
            Ok(Box::new(addresses) as Box<dyn Iterator<Item = SocketAddr> + Send + 'a>)
        })
    }
}
