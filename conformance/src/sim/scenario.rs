//! The course of a run: open, chaos, calm, probes, the end, the laws.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hitless_core::driver::{Builder, Client, Reply, Runtime as _};
use hitless_core::guide::Rng;
use hitless_core::pubsub::Item;
use resp3_codec::{Frame, cmd};

use super::caller::{Caller, Habits, Keys, single, token};
use super::consumer::{self, Call, Consumer};
use super::elements::{self, Told};
use super::holder::{self, Holder, Tally};
use super::laws::{self, Evidence};
use super::lock;
use super::network::Network;
use super::opinions::Opinions;
use super::plan::{Plan, Step, nodes};
use super::runtime::Executor;
use super::simulation::{PATIENCE, RECOVERY, SETTLING, Simulation, Slot};
use super::subscriber;
use super::trace::{RequestKind, Trace, What};
use crate::server::{Fault as ServerFault, Rule, ServerMachine};

/// A run that has not begun.
pub(super) struct Scenario {
    plan: Plan,
    sim: Simulation,
    rng: Rng,
    habits: Habits,
    numbers: Arc<AtomicU64>,
    /// What consumers had taken and nobody has got.
    orphans: Arc<Mutex<Vec<String>>>,
}

/// What everybody has to say at the end.
struct Accounts {
    keys: Vec<Keys>,
    tallies: Vec<Tally>,
    heard: Vec<Item>,
    calls: Vec<Call>,
}

impl Scenario {
    /// What `seed` stands for.
    pub(super) fn new(seed: u64, epoch: Instant) -> Self {
        let (plan, server) = Plan::draw(seed);
        let mut rng = Rng::new(seed);
        let executor = Executor::new(epoch, rng.next_u64());
        let trace = Trace::new(&executor);
        let network = Network::new(&executor, &trace, server, rng.next_u64());
        let sim = Simulation::new(executor, network, trace);
        let habits = Habits::of(&plan);
        Self { plan, sim, rng, habits, numbers: Arc::default(), orphans: Arc::default() }
    }

    pub(super) fn trace(&self) -> Trace {
        self.sim.trace.clone()
    }

    /// Runs it.
    ///
    /// # Panics
    /// If a law is broken.
    pub(super) fn run(mut self) {
        let client = self.open();
        let accounts = self.chaos(&client);
        self.write(&client);
        self.probe(&client);
        self.end(client);
        self.sim.leave_nothing();
        self.judge(&accounts);
    }

    fn open(&mut self) -> Client<Executor> {
        self.sim.network.name_everything();
        for fault in &self.plan.from_the_first {
            self.sim.network.begin(*fault);
        }
        if self.plan.holds_consumers {
            let refused =
                Frame::error("NOPERM User default has no permissions to run the 'client|unblock' command");
            let rule = Rule::new(ServerFault::Refuse(refused)).on("CLIENT UNBLOCK").always();
            self.sim.network.with_server(|server, _| server.add_rule(rule));
        }
        let (executor, network) = (self.sim.executor.clone(), self.sim.network.clone());
        let opinions = self.plan.opinions.map(|seed| {
            let nodes = network.with_server(|server, _| nodes(server));
            Opinions::new(&executor, seed, nodes)
        });
        let builder = Builder::from_settings(executor, network, self.plan.settings.clone());
        let orphans = Arc::clone(&self.orphans);
        let builder = builder.on_orphan(move |orphan| lock(&orphans).push(consumer::element(&orphan.reply)));
        let builder = match opinions {
            Some(opinions) => builder.hook(opinions),
            None => builder,
        };
        self.sim.events = Some(builder.events());
        let result = self.sim.block_on("the pool opens", PATIENCE, builder.connect());
        let client = result.unwrap_or_else(|error| panic!("liveness: nothing is wrong, but: {error}"));
        self.sim.trace.note(What::Started);
        self.sim.pushes = Some(client.pushes());
        client
    }

    /// Lets the load run, and everything happen that the plan has; then waits until everybody has an answer and the
    /// pool is whole.
    fn chaos(&mut self, client: &Client<Executor>) -> Accounts {
        let start = self.sim.executor.now();
        let calm_at = start + self.plan.calm_at;
        let steps = std::mem::take(&mut self.plan.steps);
        self.sim.agenda =
            steps.into_iter().rev().map(|(at, step): (Duration, Step)| (start + at, step)).collect();
        self.sim.calm_at = Some(calm_at);
        self.sim.network.set_calm_at(calm_at);
        let callers: Vec<Slot<Keys>> =
            (0..self.plan.tasks).map(|number| self.start_caller(client, number, calm_at)).collect();
        let holders: Vec<Slot<Tally>> =
            (0..self.plan.holders.len()).map(|number| self.start_holder(client, number, calm_at)).collect();
        let consumers = self.start_consumers(client, calm_at);
        let listener = self.plan.listens.then(|| self.start_listener(client, calm_at));
        let limit = self.plan.calm_at + RECOVERY;
        self.sim.run_until("everybody has an answer", limit, |sim| {
            let holders_are_done = holders.iter().all(|holder| lock(holder).is_some());
            let consumers_are_done = consumers.iter().all(|consumer| lock(consumer).is_some());
            let others_are_done = holders_are_done && consumers_are_done;
            sim.calm_at.is_none() && others_are_done && callers.iter().all(|caller| lock(caller).is_some())
        });
        if !consumers.is_empty() {
            // Commands whose callers have left.
            self.sim.run_until("all are called back", RECOVERY, |_| client.stats().leased == 0);
        }
        let stats = client.stats();
        assert_eq!(
            (stats.leased, stats.waiting_for_lease),
            (0, 0),
            "RULE-200: everything is returned: {stats:?}"
        );
        let size = self.plan.pool_size as usize;
        self.sim.run_until("the pool is whole", RECOVERY, |_| client.stats().serving == size);
        let tallies = holders.iter().filter_map(|holder| lock(holder).take()).collect();
        let heard = listener.map(|listener| self.hear_all(client, &listener)).unwrap_or_default();
        let calls = consumers.iter().filter_map(|consumer| lock(consumer).take()).flatten().collect();
        let keys = callers.iter().filter_map(|caller| lock(caller).take()).collect();
        Accounts { keys, tallies, heard, calls }
    }

    /// Somebody subscribes, and somebody else publishes.
    fn start_listener(&mut self, client: &Client<Executor>, until: Instant) -> Slot<Vec<Item>> {
        let executor = self.sim.executor.clone();
        let think = self.plan.calm_at / 80;
        self.sim.start(subscriber::publish(executor.clone(), client.clone(), until, think));
        self.sim.start(subscriber::listen(executor, client.clone(), self.sim.trace.clone()))
    }

    /// Publishes the last message until the subscriber has heard it. RULE-263
    fn hear_all(&mut self, client: &Client<Executor>, listener: &Slot<Vec<Item>>) -> Vec<Item> {
        let until = self.sim.executor.now() + RECOVERY;
        while lock(listener).is_none() {
            assert!(self.sim.executor.now() < until, "liveness: the subscriber hears nothing any more");
            let (executor, client) = (self.sim.executor.clone(), client.clone());
            let publishing = subscriber::publish_last(executor, client);
            self.sim.block_on("the last message is published", RECOVERY, publishing);
        }
        lock(listener).take().unwrap_or_default()
    }

    fn start_holder(&mut self, client: &Client<Executor>, number: usize, until: Instant) -> Slot<Tally> {
        let holder = Holder {
            executor: self.sim.executor.clone(),
            client: client.clone(),
            trace: self.sim.trace.clone(),
            // Not from the sequence of the callers, so that they do the same whether there are holders or not.
            rng: Rng::new(self.plan.holders[number]),
            number,
            until,
            think: self.plan.calm_at / 40,
        };
        self.sim.start(holder.run())
    }

    /// Some wait for elements, and somebody pushes as long as they do.
    fn start_consumers(&mut self, client: &Client<Executor>, until: Instant) -> Vec<Slot<Vec<Call>>> {
        let hungry = Arc::new(());
        let seeds = self.plan.consumers.clone();
        let consumers: Vec<_> = (seeds.iter().enumerate())
            .map(|(number, seed)| {
                let consumer = Consumer {
                    executor: self.sim.executor.clone(),
                    client: client.clone(),
                    trace: self.sim.trace.clone(),
                    rng: Rng::new(*seed),
                    number,
                    began_at: self.sim.executor.now(),
                    until,
                    hungry: Arc::clone(&hungry),
                };
                self.sim.start(consumer.run())
            })
            .collect();
        if let Some(seed) = seeds.first() {
            let executor = self.sim.executor.clone();
            self.sim.start(consumer::produce(executor, client.clone(), Rng::new(!seed), hungry));
        }
        consumers
    }

    fn start_caller(&mut self, client: &Client<Executor>, number: usize, until: Instant) -> Slot<Keys> {
        let quota = self.plan.requests / self.plan.tasks + 1;
        let habits = self.habits;
        let think = self.plan.calm_at / u32::try_from(quota).unwrap_or(1);
        let caller = Caller {
            executor: self.sim.executor.clone(),
            client: client.clone(),
            trace: self.sim.trace.clone(),
            rng: Rng::new(self.rng.next_u64()),
            number,
            numbers: Arc::clone(&self.numbers),
            quota,
            until,
            think,
            habits,
            keys: Keys::of(number),
        };
        self.sim.start(caller.run())
    }

    /// The pool comes to take writes again: nobody stays with a node that refuses them. RULE-163
    fn write(&mut self, client: &Client<Executor>) {
        let (executor, client) = (self.sim.executor.clone(), client.clone());
        let in_a_row = 2 * self.plan.pool_size;
        self.sim.block_on("every connection takes writes", RECOVERY, async move {
            let mut taken = 0;
            while taken < in_a_row {
                let reply = client.call(cmd("INCR").arg("writes")).await;
                taken = if reply.is_ok_and(|reply| !reply.is_error()) { taken + 1 } else { 0 };
                executor.sleep(Duration::from_millis(50)).await;
            }
        });
    }

    /// Every connection answers: the pool takes turns.
    fn probe(&mut self, client: &Client<Executor>) {
        let settled = self.sim.executor.now() + SETTLING;
        self.sim.run_until("what was late has arrived", 2 * SETTLING, |sim| sim.executor.now() >= settled);
        let stats = client.stats();
        assert_eq!(
            (stats.requests, stats.parked),
            (0, 0),
            "INV-01: requests that nobody waits for: {stats:?}"
        );
        let probes = (0..self.plan.pool_size).map(|_| {
            let (client, token) = (client.clone(), token(self.numbers.fetch_add(1, Ordering::Relaxed)));
            self.sim.start(async move {
                let reply = client.call(cmd("ECHO").arg(&token)).await;
                (token, reply)
            })
        });
        let probes: Vec<_> = probes.collect();
        self.sim.run_until("each connection answers", RECOVERY, |_| {
            probes.iter().all(|probe| lock(probe).is_some())
        });
        for probe in probes {
            let Some((token, reply)) = lock(&probe).take() else { continue };
            match reply {
                Ok(reply) => assert_eq!(reply.as_str(), Some(token.as_str()), "INV-02: the reply to a probe"),
                Err(error) => panic!("liveness: a probe failed after all faults: {error}"),
            }
        }
    }

    fn end(&mut self, client: Client<Executor>) {
        let last: Vec<_> = (0..3).map(|_| self.last_request(&client)).collect();
        let shut_down = |client: Client<Executor>, grace| async move { client.shutdown(grace).await };
        self.sim.end(self.plan.ending, client, last, shut_down);
    }

    fn last_request(&self, client: &Client<Executor>) -> Reply<Executor> {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        self.sim.trace.note(What::Sent { task: self.plan.tasks, request: number, kind: RequestKind::Probe });
        let request = single(cmd("ECHO").arg(token(number)));
        client.send(request).unwrap_or_else(|error| panic!("a whole pool accepts requests: {error}"))
    }

    fn judge(&self, accounts: &Accounts) {
        let entries = self.sim.trace.entries();
        let config = self.plan.settings.clone().build().expect("the client was opened with them");
        let read = std::mem::take(&mut self.sim.network.state().ear.elements);
        let orphans = std::mem::take(&mut *lock(&self.orphans));
        self.sim.network.with_server(|server, _| {
            let peers: BTreeMap<_, _> =
                server.endpoints().into_iter().map(|id| (id, server.address(id).into())).collect();
            let evidence = Evidence {
                plan: &self.plan,
                config: &config,
                entries: &entries,
                ledger: server.ledger(),
                peers,
                keys: &accounts.keys,
            };
            laws::check(&evidence);
            holder::check(server.ledger(), &accounts.tallies);
            subscriber::check(server.ledger(), &accounts.heard);
            let told = Told { calls: &accounts.calls, orphans: &orphans, read: &read };
            elements::check(&evidence, &told)
                .into_iter()
                .for_each(|what| self.sim.trace.note(What::Waited(what)));
        });
    }
}

impl Network {
    /// What the names lead to before anything happens.
    fn name_everything(&self) {
        let mut state = self.state();
        let endpoints = state.server.endpoints();
        for (number, endpoint) in (1..).zip(&endpoints) {
            let address = state.server.address(*endpoint).ip();
            state.names.insert(format!("node{number}.test"), vec![address]);
        }
        state.name(&endpoints[..1]);
    }
}
