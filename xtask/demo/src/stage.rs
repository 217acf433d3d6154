//! Runs a step: the load, what happens meanwhile, and what was measured of it.

use std::error::Error;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use hitless_conformance::clock;
use hitless_conformance::server::{CloseHow, Fault, Moving, Notice, Rule, Target};
use hitless_conformance::tally::Counted;
use hitless_core::Frame;

use crate::feeder::{Fed, Feeder};
use crate::load::{self, Ending, Load, Meters, TASKS};
use crate::log::{self, Log, Who};
use crate::meter::Interval;
use crate::narrator::{Counts, Narrator};
use crate::pool::{self, Pool, RuntimeName};
use crate::step::Step;
use crate::verdict::{Dials, Figures, Items, Messages, Transactions, millis};
use crate::world::{Auditor, NODES, Node, World};

/// How long a request may take to end once the load is to stop: longer than any relaxed timeout.
const PATIENCE: Duration = Duration::from_secs(15);
/// An event is looked at for at least so long, that there is something to see.
const SHORTEST_EVENT: Duration = Duration::from_secs(1);
/// How often a node is asked whether it is empty. When it was is read from its ledger.
const ASK: Duration = Duration::from_millis(10);

/// What a demoted node says to writes.
const DEMOTED: &str = "READONLY You can't write against a read only replica.";
/// The writes of the load.
const WRITES: [&str; 2] = ["INCR", "SET"];

/// Everything that a step needs.
pub(crate) struct Rig {
    pub(crate) world: World,
    pub(crate) runtime: RuntimeName,
    /// None before the first step.
    pub(crate) pool: Option<Box<dyn Pool>>,
    pub(crate) auditor: Auditor,
    pub(crate) log: Arc<Log>,
    pub(crate) counts: Arc<Counts>,
}

impl Rig {
    /// Runs a step and measures it. Between two steps there is no load, so that counts can be compared.
    ///
    /// # Errors
    /// The pool cannot be opened, or the counters cannot be read.
    pub(crate) fn run(&mut self, step: &Step) -> Result<Figures, Box<dyn Error>> {
        self.world.settle();
        if let Some(nodes) = step.new_pool {
            self.close();
            self.world.point_name_at(nodes);
        }
        let keys = load::counter_keys();
        let counters = self.auditor.counters(&keys)?;
        let pool = match &mut self.pool {
            Some(pool) => &**pool,
            closed => {
                let narrator = Narrator::new(Arc::clone(&self.log), Arc::clone(&self.counts));
                &**closed.insert(pool::open(self.runtime, &self.world, narrator)?)
            }
        };
        let dials_before = dials(&self.world, &self.counts);

        log::print(format_args!("\n-- {}", step.title));
        let meters = Arc::new(Meters::new(clock::now()));
        let load = pool.start_load(&meters, &self.log);
        let feeder = Feeder::start(self.world.auditor()?);
        let parts = self.play(step, &meters);
        let fed = feeder.finish()?;
        let ending = self.end_load(load);

        let mut figures = parts.figures(&meters);
        figures.errors += ending.missing + ending.taken.errors + ending.received.errors;
        (figures.items, figures.messages) = compare(fed, &ending);
        let added = self.auditor.counters(&keys)?.into_iter().zip(counters);
        for (counter, ((after, before), tally)) in added.zip(ending.tallies).enumerate() {
            let added = after as i64 - before as i64;
            let kind = if counter < TASKS { &mut figures.counted } else { &mut figures.transactions.counted };
            kind.add(Counted::compare(added, tally.acknowledged, tally.uncertain));
        }
        figures.dials = difference(dials(&self.world, &self.counts), dials_before);
        Ok(figures)
    }

    /// Lets the event of a step happen, and tells of the load meanwhile.
    fn play(&self, step: &Step, meters: &Meters) -> Parts {
        let (log, world) = (&*self.log, &self.world);
        let (stop, stopped) = channel();
        thread::scope(|scope| {
            scope.spawn(move || log.tell_load(meters, world, &stopped));
            let mut stage = Stage { rig: self, meters, parts: Parts::default() };
            (step.act)(&mut stage);
            drop(stop);
            stage.parts
        })
    }

    /// Closes the pool, if it is open.
    pub(crate) fn close(&mut self) {
        if let Some(pool) = self.pool.take() {
            pool.close();
        }
    }

    fn end_load(&self, load: Load) -> Ending {
        let ending = load.finish(PATIENCE);
        if ending.missing > 0 {
            let missing = ending.missing;
            self.log.add(Who::Demo, format_args!("{missing} tasks have not ended within {PATIENCE:?}"));
        }
        ending
    }
}

/// What became of what was fed.
fn compare(fed: Fed, ending: &Ending) -> (Items, Messages) {
    let (taken, received) = (&ending.taken, &ending.received);
    let lost = fed.items.saturating_sub(taken.items.len() as u64);
    let items = Items::new(fed.items, lost, taken.repeated, taken.uncertain);
    let counted = Counted { lost: received.lost, twice: received.repeated };
    (items, Messages { received: received.messages, counted, gaps: received.gaps })
}

fn dials(world: &World, counts: &Counts) -> Dials {
    let (made, failed) = counts.handoff_dials();
    Dials { accepted: Node::ALL.map(|node| world.accepted(node) as u64), made, failed }
}

fn difference(after: Dials, before: Dials) -> Dials {
    Dials {
        accepted: std::array::from_fn::<_, NODES, _>(|node| after.accepted[node] - before.accepted[node]),
        made: after.made - before.made,
        failed: after.failed - before.failed,
    }
}

/// What a step can do while the load goes on. The first announcement is its event.
pub(crate) struct Stage<'a> {
    rig: &'a Rig,
    meters: &'a Meters,
    parts: Parts,
}

/// What was measured before and during the event.
#[derive(Default)]
struct Parts {
    event_at: Option<Instant>,
    announced_at: Option<Instant>,
    before: Option<Interval>,
    during: Option<Interval>,
    /// For each node that was to be left, how long that took from its announcement on; none if it was never empty.
    emptied: Vec<Option<Duration>>,
}

impl Stage<'_> {
    /// Lets the load go on for so long.
    pub(crate) fn wait(&self, time: Duration) {
        thread::sleep(time);
    }

    /// Lets the load go on until so long after the last announcement.
    pub(crate) fn wait_since_announcement(&self, time: Duration) {
        wait_until(self.parts.announced_at.unwrap_or_else(clock::now) + time);
    }

    /// The clients of `source` are told to go to `target`, or to wherever its name will lead. When the time is over,
    /// `source` closes what is left.
    pub(crate) fn announce_move(&mut self, source: Node, target: Option<Node>, time: Duration) {
        self.begin_announcement();
        let to = target.map_or_else(|| "without a target".to_owned(), |target| format!("to {target}"));
        self.say(format!("{source} announces MOVING {to} within {time:?}"));
        let world = &self.rig.world;
        let target = target.map_or(Target::Null, |target| Target::Endpoint(world.id(target)));
        world.with(|server, now| server.moving(now, world.id(source), Moving::new(target, time)));
    }

    /// Everything that was announced is over, and every node serves as usual.
    pub(crate) fn settle(&self) {
        self.rig.world.settle();
    }

    /// The name leads to these nodes from now on.
    pub(crate) fn point_name_at(&self, nodes: &[Node]) {
        let list: Vec<String> = nodes.iter().map(Node::to_string).collect();
        self.say(format!("the name leads to {} now", list.join(" and ")));
        self.rig.world.point_name_at(nodes);
    }

    /// A node refuses dials from now on.
    pub(crate) fn refuse_dials(&self, node: Node) {
        self.say(format!("{node} is dead: it refuses dials"));
        self.rig.world.with(|server, now| server.refuse_dials(now, self.rig.world.id(node), None));
    }

    /// A node accepts dials from now on.
    pub(crate) fn accept_dials(&self, node: Node) {
        self.say(format!("{node} is alive: it accepts dials"));
        self.rig.world.with(|server, _| server.restore(self.rig.world.id(node)));
    }

    /// A node refuses dials from now on, and closes its connections: at the first moment in which no transaction has one, since
    /// an EXEC that is written and not answered by then would have to end with an error.
    pub(crate) fn kill_between_transactions(&self, node: Node) {
        let id = self.rig.world.id(node);
        let give_up = clock::now() + PATIENCE;
        // While the server is looked at it answers nobody: a transaction that begins meanwhile gets no further than its WATCH.
        while !self.rig.world.with(|server, now| {
            let is_time = self.transactions() == 0 || now >= give_up;
            if is_time {
                server.refuse_dials(now, id, None);
                server.kill_all(now, id, CloseHow::Fin);
            }
            is_time
        }) {
            self.wait(ASK);
        }
        self.say(format!("{node} is gone: it closes its connections and refuses dials"));
    }

    /// Transactions that have a connection.
    fn transactions(&self) -> usize {
        self.rig.pool.as_ref().map_or(0, |pool| pool.transactions())
    }

    /// Clients are told that a migration begins.
    pub(crate) fn announce_migration(&mut self, time: Duration) {
        self.begin_announcement();
        self.say(format!("announces MIGRATING within {time:?}"));
        self.rig.world.with(|server, now| server.migrating(now, Notice::new(time)));
    }

    /// Clients are told that the migration is over.
    pub(crate) fn complete_migration(&self) {
        self.say("announces MIGRATED".to_owned());
        self.rig.world.with(|server, now| server.migrated(now, Notice::default()));
    }

    /// Clients are told that a failover begins.
    pub(crate) fn announce_failover(&mut self, time: Duration) {
        self.begin_announcement();
        self.say(format!("announces FAILING_OVER within {time:?}"));
        self.rig.world.with(|server, now| server.failing_over(now, Notice::new(time)));
    }

    /// Clients are told that the failover is over.
    pub(crate) fn complete_failover(&self) {
        self.say("announces FAILED_OVER".to_owned());
        self.rig.world.with(|server, now| server.failed_over(now, Notice::default()));
    }

    /// A node refuses writes from now on.
    pub(crate) fn demote(&self, node: Node) {
        self.say(format!("{node} is demoted: it answers writes with READONLY"));
        for command in WRITES {
            let refusal = Rule::new(Fault::Refuse(Frame::error(DEMOTED))).on(command);
            let refusal = refusal.at(self.rig.world.id(node)).always();
            self.rig.world.with(|server, _| server.add_rule(refusal));
        }
    }

    /// Every reply of a node is late by `delay`, for so long.
    pub(crate) fn delay_replies(&self, node: Node, delay: Duration, lasting: Duration) {
        self.say(format!("{node} answers late by {delay:?}, for {lasting:?}"));
        let id = self.rig.world.id(node);
        self.rig.world.with(|server, now| server.set_reply_delay(id, delay, Some(now + lasting)));
    }

    /// Waits until a node has no connection, or for as long as any relaxed timeout.
    pub(crate) fn wait_until_empty(&mut self, node: Node) {
        let give_up = clock::now() + PATIENCE;
        while self.rig.world.connections(node) > 0 && clock::now() < give_up {
            self.wait(ASK);
        }
        let announced_at = self.parts.announced_at.unwrap_or_else(clock::now);
        let emptied_at = self.rig.world.emptied_after(node, announced_at);
        let took = emptied_at.map(|at| at.saturating_duration_since(announced_at));
        if let Some(took) = took {
            self.say(format!("{node} is empty after {}", millis(took)));
        }
        self.parts.emptied.push(took);
    }

    /// The event is over; not before it has lasted for so long that there is something to see.
    pub(crate) fn end_event(&mut self) {
        wait_until(self.parts.event_at.unwrap_or_else(clock::now) + SHORTEST_EVENT);
        self.parts.during = Some(self.meters.commands.cut());
    }

    fn begin_announcement(&mut self) {
        let now = clock::now();
        if self.parts.event_at.is_none() {
            self.parts.before = Some(self.meters.commands.cut());
            self.parts.event_at = Some(now);
        }
        self.parts.announced_at = Some(now);
    }

    fn say(&self, text: String) {
        self.rig.log.add(Who::Server, text);
    }
}

fn wait_until(until: Instant) {
    thread::sleep(until.saturating_duration_since(clock::now()));
}

impl Parts {
    /// The figures that the meters know.
    fn figures(&self, meters: &Meters) -> Figures {
        let (rest, transactions) = (meters.commands.cut(), meters.transactions.cut());
        let mut whole = rest.clone();
        for part in self.before.iter().chain(&self.during) {
            whole.add(part);
        }
        let p999 = |part: &Interval| part.quantile(0.999);
        Figures {
            operations: whole.operations(),
            errors: whole.errors() + transactions.errors(),
            transactions: Transactions {
                completed: transactions.operations() - transactions.errors(),
                gap: transactions.gap(),
                ..Transactions::default()
            },
            gap: whole.gap(),
            slowest: whole.slowest(),
            p999_before: p999(self.before.as_ref().unwrap_or(&rest)),
            p999_during: self.during.as_ref().and_then(p999),
            emptied: slowest(&self.emptied),
            ..Figures::default()
        }
    }
}

/// The longest of them; none if one of them is missing.
fn slowest(times: &[Option<Duration>]) -> Option<Duration> {
    times.iter().copied().collect::<Option<Vec<_>>>()?.into_iter().max()
}
