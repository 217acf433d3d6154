//! A run with a cluster: open, chaos, calm, the map is right, the end, the laws.

mod caller;
mod laws;
pub(super) mod plan;
mod worker;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, Instant};

use hitless_core::cluster::{SLOTS, key_slot};
use hitless_core::config::maintenance;
use hitless_core::driver::{ClusterBuilder, ClusterClient, ClusterReply, NotificationHook, Runtime as _};
use hitless_core::event::Event;
use hitless_core::guide::Rng;
use hitless_core::mode::Mode;
use resp3_codec::cmd;

use self::caller::{Account, ClusterCaller};
use self::laws::Evidence;
use self::plan::{ClusterPlan, Reshape, Told};
use self::worker::{Nil, Worker};
use super::caller::{single, token};
use super::consumer;
use super::faults::Weather;
use super::lock;
use super::network::Network;
use super::plan::Step;
use super::runtime::Executor;
use super::simulation::{PATIENCE, RECOVERY, SETTLING, Simulation, Slot};
use super::trace::{RequestKind, Trace, What};
use crate::server::ServerMachine as _;

/// Hash tags that nobody uses, all over the slots.
const STRANGE_TAGS: u32 = 100;
/// A hash tag of each slot.
static TAGS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let mut tags = vec![String::new(); usize::from(SLOTS)];
    let mut left = tags.len();
    for number in 0_u64.. {
        if left == 0 {
            break;
        }
        let tag = format!("{{slot.{number}}}");
        let place = &mut tags[usize::from(key_slot(tag.as_bytes()))];
        if place.is_empty() {
            *place = tag;
            left -= 1;
        }
    }
    tags
});

/// A run that has not begun.
pub(super) struct ClusterScenario {
    plan: ClusterPlan,
    sim: Simulation,
    rng: Rng,
    numbers: Arc<AtomicU64>,
    /// Questions for the topology so far.
    reads: u64,
    /// What commands that wait had taken when their callers had left.
    orphans: Arc<Mutex<Vec<String>>>,
}

/// Notes what the clients of the nodes say.
struct Ear(Trace);

impl NotificationHook for Ear {
    fn on_event(&self, _: Instant, event: &Event) {
        self.0.note(What::NodeEvent(event.clone()));
    }
}

impl ClusterScenario {
    /// What `seed` stands for.
    pub(super) fn new(seed: u64, epoch: Instant) -> Self {
        let (plan, server) = ClusterPlan::draw(seed);
        let mut rng = Rng::new(seed);
        let executor = Executor::new(epoch, rng.next_u64());
        let trace = Trace::new(&executor);
        let network = Network::new(&executor, &trace, server, rng.next_u64());
        let sim = Simulation::new(executor, network, trace);
        Self { plan, sim, rng, numbers: Arc::default(), reads: 0, orphans: Arc::default() }
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
        let (accounts, nils) = self.chaos(&client);
        self.know_everything(&client);
        self.end(client);
        self.sim.leave_nothing();
        self.judge(&accounts, &nils);
    }

    fn open(&mut self) -> ClusterClient<Executor> {
        let places = {
            let mut state = self.sim.network.state();
            let primaries = state.server.primaries();
            let is_node = |state: &super::network::State, id| {
                primaries
                    .iter()
                    .any(|primary| *primary == id || state.server.replicas(*primary).contains(&id))
            };
            let spares = state.server.endpoints().into_iter().filter(|id| !is_node(&state, *id)).collect();
            state.scene.spares = spares;
            state.scene.tags = self.plan.all_tags();
            state.places()
        };
        self.sim.trace.note(What::Places(places));
        let settings = self.plan.settings;
        let (executor, network) = (self.sim.executor.clone(), self.sim.network.clone());
        let maintenance = maintenance::Config::builder()
            .mode(if settings.listens { Mode::Auto } else { Mode::Disabled })
            .relaxed_timeout(settings.relaxed_timeout)
            .build()
            .expect("settings within their ranges");
        let builder = ClusterBuilder::new(executor, network, &self.plan.urls).expect("URLs of one cluster");
        let builder = builder
            .maintenance(maintenance)
            .pool_size(settings.pool_size)
            .connect_timeout(settings.connect_timeout)
            .command_timeout(settings.command_timeout)
            .refresh_interval(settings.refresh_interval)
            .min_refresh_interval(settings.min_refresh_interval)
            .event_capacity(100_000);
        let orphans = Arc::clone(&self.orphans);
        let builder = builder.on_orphan(move |orphan| lock(&orphans).push(consumer::element(&orphan.reply)));
        let builder = if self.rng.below(2) == 0 { builder.hook(Ear(self.trace())) } else { builder };
        self.sim.cluster_events = Some(builder.events());
        let result = self.sim.block_on("the cluster opens", PATIENCE, builder.connect());
        let client = result.unwrap_or_else(|error| panic!("liveness: nothing is wrong, but: {error}"));
        self.sim.trace.note(What::Started);
        note_reads(&client, &self.sim.trace, &mut self.reads);
        client
    }

    /// Lets the load run, and everything happen that the plan has; then waits until everybody has an answer.
    fn chaos(&mut self, client: &ClusterClient<Executor>) -> (Vec<Account>, Vec<Nil>) {
        let start = self.sim.executor.now();
        let calm_at = start + self.plan.calm_at;
        let steps = std::mem::take(&mut self.plan.steps);
        self.sim.agenda =
            steps.into_iter().rev().map(|(at, step): (Duration, Step)| (start + at, step)).collect();
        self.sim.calm_at = Some(calm_at);
        self.sim.network.set_calm_at(calm_at);
        let callers: Vec<Slot<Account>> =
            (0..self.plan.tags.len()).map(|number| self.start_caller(client, number, calm_at)).collect();
        let worker = self.plan.queue.clone().map(|tag| self.start_worker(client, &tag, calm_at));
        let limit = self.plan.calm_at + RECOVERY;
        self.run_until(client, "everybody has an answer", limit, |sim| {
            let worker_is_done = worker.as_ref().is_none_or(|worker| lock(worker).is_some());
            sim.calm_at.is_none() && worker_is_done && callers.iter().all(|caller| lock(caller).is_some())
        });
        let accounts = callers.iter().filter_map(|caller| lock(caller).take()).collect();
        (accounts, worker.and_then(|worker| lock(&worker).take()).unwrap_or_default())
    }

    fn start_caller(
        &mut self,
        client: &ClusterClient<Executor>,
        number: usize,
        until: Instant,
    ) -> Slot<Account> {
        let quota = self.plan.requests / self.plan.tags.len() + 1;
        let caller = ClusterCaller {
            executor: self.sim.executor.clone(),
            client: client.clone(),
            trace: self.trace(),
            rng: Rng::new(self.rng.next_u64()),
            number,
            numbers: Arc::clone(&self.numbers),
            quota,
            until,
            think: self.plan.calm_at / u32::try_from(quota).unwrap_or(1),
            is_impatient: self.plan.are_impatient,
            account: Account::of(&self.plan.tags[number]),
        };
        self.sim.start(caller.run())
    }

    fn start_worker(
        &mut self,
        client: &ClusterClient<Executor>,
        tag: &str,
        until: Instant,
    ) -> Slot<Vec<Nil>> {
        let worker = Worker {
            executor: self.sim.executor.clone(),
            client: client.clone(),
            trace: self.trace(),
            rng: Rng::new(!self.rng.next_u64()),
            is_safe: self.plan.weather == Weather::Gentle && self.plan.settings.listens,
            list: format!("{tag}queue"),
            until,
            orphans: Arc::clone(&self.orphans),
        };
        self.sim.start(worker.run())
    }

    /// Goes on until `done`, and notes each question for the topology.
    fn run_until(
        &mut self,
        client: &ClusterClient<Executor>,
        what: &str,
        limit: Duration,
        mut done: impl FnMut(&Simulation) -> bool,
    ) {
        let reads = &mut self.reads;
        self.sim.run_until(what, limit, |sim| {
            note_reads(client, &sim.trace, reads);
            done(sim)
        });
    }

    /// When everything is over, each slot is known to be where it is: at once where everybody was told; what nobody has told the client is read in time,
    /// and then no request is sent astray any more. RULE-420, RULE-422
    fn know_everything(&mut self, client: &ClusterClient<Executor>) {
        let settled = self.sim.executor.now() + SETTLING;
        self.run_until(client, "what was late has arrived", 2 * SETTLING, |sim| {
            sim.executor.now() >= settled
        });
        let entries = self.sim.trace.entries();
        let strange = (0..STRANGE_TAGS).map(|number| format!("{{strange.{number}}}"));
        let ends = ends_of_moves(&entries).into_iter().map(|slot| TAGS[usize::from(slot)].clone());
        let tags: Vec<String> = strange.chain(ends).chain(self.plan.all_tags()).collect();
        if self.plan.weather == Weather::Gentle && self.plan.settings.listens {
            for tag in tags.iter().filter(|tag| was_told(&entries, key_slot(tag.as_bytes()))) {
                self.knows(client, tag, "RULE-422");
            }
        }
        self.probe(client, &self.plan.all_tags());
        let read_at = self.sim.executor.now() + self.plan.settings.refresh_interval * 5 / 4 + SETTLING;
        self.run_until(client, "the topology is read", RECOVERY, |sim| sim.executor.now() >= read_at);
        tags.iter().for_each(|tag| self.knows(client, tag, "RULE-420"));
        let before = client.stats();
        self.probe(client, &tags);
        let after = client.stats();
        assert_eq!((after.moved, after.ask), (before.moved, before.ask), "RULE-420: redirects at the end");
        assert_eq!(after.uncovered, 0, "RULE-420: slots that nobody serves");
        self.sim.trace.note(What::Figures(after));
    }

    /// The client knows whose the slot of a tag is.
    fn knows(&self, client: &ClusterClient<Executor>, tag: &str, rule: &str) {
        let known = client.node_for(tag).map(|node| node.endpoint().to_string());
        let owner = self.sim.network.with_server(|server, _| {
            server.slot_owner(key_slot(tag.as_bytes())).map(|owner| server.address(owner).to_string())
        });
        assert_eq!(known, owner, "{rule}: the node of {tag}");
    }

    /// Every tag takes writes. RULE-163
    fn probe(&mut self, client: &ClusterClient<Executor>, tags: &[String]) {
        let probes = tags.iter().map(|tag| {
            let (client, incr) = (client.clone(), cmd("INCR").arg(format!("{tag}probe")));
            self.sim.start(async move { client.call(incr).await })
        });
        let probes: Vec<_> = probes.collect();
        self.run_until(client, "each tag answers", RECOVERY, |_| {
            probes.iter().all(|probe| lock(probe).is_some())
        });
        for reply in probes.into_iter().filter_map(|probe| lock(&probe).take()) {
            if let Err(error) = reply {
                panic!("liveness: a probe failed after all faults: {error}");
            }
        }
    }

    fn end(&mut self, client: ClusterClient<Executor>) {
        let last: Vec<_> = (0..3).map(|_| self.last_request(&client)).collect();
        let shut_down = |client: ClusterClient<Executor>, grace| async move { client.shutdown(grace).await };
        self.sim.end(self.plan.ending, client, last, shut_down);
    }

    fn last_request(&self, client: &ClusterClient<Executor>) -> ClusterReply<Executor> {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let task = self.plan.tags.len();
        self.sim.trace.note(What::Sent { task, request: number, kind: RequestKind::Probe });
        let request = single(cmd("ECHO").arg(token(number)));
        client.send(request).unwrap_or_else(|error| panic!("a whole cluster accepts requests: {error}"))
    }

    fn judge(&self, accounts: &[Account], nils: &[Nil]) {
        let entries = self.sim.trace.entries();
        self.sim.network.with_server(|server, _| {
            let (plan, entries, ledger) = (&self.plan, &entries, server.ledger());
            laws::check(&Evidence { plan, entries, ledger, accounts, nils });
        });
    }
}

/// The first and the last slot of all ranges that have moved.
fn ends_of_moves(entries: &[(Instant, What)]) -> BTreeSet<u16> {
    let ranges = entries.iter().filter_map(|(_, what)| match what {
        What::Reshaped(
            Reshape::Migrated(slots, _)
            | Reshape::MigratedTwice(slots)
            | Reshape::Assigned(slots)
            | Reshape::Opened(slots)
            | Reshape::Closed(slots),
            _,
        ) => Some(slots),
        _ => None,
    });
    ranges.flat_map(|slots| [*slots.start(), *slots.end()]).collect()
}

/// Whether everybody was told of the last move of a slot, if it has moved. One that is there already is not told of.
fn was_told(entries: &[(Instant, What)], slot: u16) -> bool {
    // `is_known`: whose it is follows from what has happened.
    let (mut is_told, mut owner, mut importer, mut is_known) = (true, None, None, true);
    for (_, what) in entries {
        let What::Reshaped(reshape, nodes) = what else { continue };
        match reshape {
            Reshape::Migrated(slots, told) if slots.contains(&slot) => {
                let to = nodes.last().copied();
                if is_known && (owner.is_none() || owner != to) {
                    is_told = *told == Told::Everyone;
                }
                (owner, is_known) = (to, true);
            }
            Reshape::MigratedTwice(slots) if slots.contains(&slot) => {
                (is_told, owner) = (true, nodes.last().copied());
            }
            Reshape::Assigned(slots) if slots.contains(&slot) => {
                (is_told, owner) = (false, nodes.last().copied());
            }
            Reshape::Opened(slots) if slots.contains(&slot) => {
                (is_told, importer) = (false, nodes.first().copied());
            }
            Reshape::Closed(slots) if slots.contains(&slot) => {
                (is_told, owner) = (false, importer.take().or(owner));
            }
            Reshape::Left(_) | Reshape::Promoted | Reshape::TookOver | Reshape::Replaced(_) => {
                (is_told, owner, is_known) = (false, None, false);
            }
            _ => {}
        }
    }
    is_told
}

/// Notes each question for the topology since the last look.
fn note_reads(client: &ClusterClient<Executor>, trace: &Trace, seen: &mut u64) {
    let stats = client.stats();
    while *seen < stats.topology_reads {
        *seen += 1;
        trace.note(What::TopologyRead { failed: stats.topology_failures });
    }
}
