//! Runs a step: the load, what happens meanwhile, and what was measured of it.

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hitless_conformance::clock;

use crate::display::Display;
use crate::interrupts::{Interrupted, Interrupts};
use crate::load::{self, Load, TASKS, Tally};
use crate::log::{Log, Who};
use crate::meter::{Interval, Meter};
use crate::narrator::Counts;
use crate::pool::Pool;
use crate::step::Step;
use crate::verdict::{Counted, Dials, Figures, millis};
use crate::world::{Auditor, Node, World};

/// How long a request may take to end once the load is to stop: longer than any relaxed timeout.
const PATIENCE: Duration = Duration::from_secs(15);
/// An event is looked at for at least so long, that there is something to see.
const SHORTEST_EVENT: Duration = Duration::from_secs(1);
/// How often a node is asked whether it is empty. When it was is read from its ledger.
const ASK: Duration = Duration::from_millis(10);

/// Everything that a step needs.
pub(crate) struct Rig {
    pub(crate) world: Arc<World>,
    pub(crate) pool: Pool,
    pub(crate) auditor: Auditor,
    pub(crate) log: Arc<Log>,
    pub(crate) counts: Arc<Counts>,
    pub(crate) interrupts: Interrupts,
    pub(crate) display: Display,
}

impl Rig {
    /// Runs a step and measures it. Between two steps there is no load, so that counts can be compared.
    ///
    /// # Errors
    /// [`Interrupted`], or the counters cannot be read.
    pub(crate) fn run(&mut self, step: &Step) -> Result<Figures, Box<dyn Error>> {
        let keys = load::counter_keys();
        let counters = self.auditor.counters(&keys)?;
        let dials = self.dials(step.route);

        let began = clock::now();
        let meter = Arc::new(Meter::new(began, TASKS));
        self.display.begin(step.title, &meter);
        let load = self.pool.start_load(&meter, &self.log);
        let mut stage = Stage::new(self, Arc::clone(&meter));
        let outcome = (step.act)(&mut stage);
        let parts = stage.leave();
        // Ctrl-C ends the redis-server as well: nobody waits for answers any more.
        outcome?;
        let tallies = self.end_load(load);
        self.display.end();

        let mut figures = parts.figures(&meter);
        let missing = tallies.iter().filter(|tally| tally.is_none()).count();
        figures.errors += missing as u64;
        for ((before, after), tally) in counters.iter().zip(self.auditor.counters(&keys)?).zip(tallies) {
            let Tally { acknowledged, uncertain } = tally.unwrap_or_default();
            let added = after as i64 - *before as i64;
            figures.counted.add(Counted::compare(added, acknowledged, uncertain));
        }
        figures.dials = difference(self.dials(step.route), dials);
        figures.emptied = step.route.zip(parts.event_at).and_then(|((source, _), event_at)| {
            let emptied_at = self.world.emptied_after(source, event_at)?;
            Some(emptied_at.saturating_duration_since(event_at))
        });
        Ok(figures)
    }

    /// Closes the pool, then the nodes, and leaves the terminal as it was.
    pub(crate) fn close(self) {
        self.pool.close();
    }

    fn end_load(&self, load: Load) -> Vec<Option<Tally>> {
        let tallies = load.finish(PATIENCE);
        for (task, _) in tallies.iter().enumerate().filter(|(_, tally)| tally.is_none()) {
            self.log.add(Who::Demo, format!("task {task} has not ended within {PATIENCE:?}"));
        }
        tallies
    }

    fn dials(&self, route: Option<(Node, Node)>) -> Dials {
        let target = route.map(|(_, target)| target);
        let accepted = |to_target: bool| -> u64 {
            let nodes = Node::ALL.into_iter().filter(|node| (Some(*node) == target) == to_target);
            nodes.map(|node| self.world.accepted(node) as u64).sum()
        };
        Dials {
            target: accepted(true),
            elsewhere: accepted(false),
            made: self.counts.handoff_dials(),
            failed: self.counts.failed_handoff_dials(),
        }
    }
}

fn difference(after: Dials, before: Dials) -> Dials {
    Dials {
        target: after.target - before.target,
        elsewhere: after.elsewhere - before.elsewhere,
        made: after.made - before.made,
        failed: after.failed - before.failed,
    }
}

/// What a step can do while the load goes on. The first announcement is its event.
pub(crate) struct Stage<'a> {
    rig: &'a Rig,
    meter: Arc<Meter>,
    parts: Parts,
}

/// What was measured before and during the event.
#[derive(Default)]
struct Parts {
    event_at: Option<Instant>,
    before: Option<Interval>,
    during: Option<Interval>,
}

impl<'a> Stage<'a> {
    fn new(rig: &'a Rig, meter: Arc<Meter>) -> Self {
        Self { rig, meter, parts: Parts::default() }
    }

    /// Lets the load go on for so long.
    pub(crate) fn wait(&self, time: Duration) -> Result<(), Interrupted> {
        self.rig.interrupts.wait(time)
    }

    /// Lets the load go on until so long after the event.
    pub(crate) fn wait_since_event(&self, time: Duration) -> Result<(), Interrupted> {
        let event_at = self.parts.event_at.unwrap_or_else(clock::now);
        self.rig.interrupts.wait_until(event_at + time)
    }

    /// The clients of `source` are told to go to `target`. When the time is over, `source` closes what is left.
    pub(crate) fn announce_move(&mut self, source: Node, target: Node, time: Duration) {
        self.begin_event();
        self.say(format!("{source} announces MOVING to {target} within {time:?}"));
        self.rig.world.announce_move(source, target, time);
    }

    /// A node refuses dials from now on.
    pub(crate) fn refuse_dials(&self, node: Node) {
        self.say(format!("{node} is dead: it refuses dials"));
        self.rig.world.refuse_dials(node);
    }

    /// A node accepts dials from now on.
    pub(crate) fn accept_dials(&self, node: Node) {
        self.say(format!("{node} is alive: it accepts dials"));
        self.rig.world.accept_dials(node);
    }

    /// Clients are told that a migration begins.
    pub(crate) fn announce_migration(&mut self, time: Duration) {
        self.begin_event();
        self.say(format!("announces MIGRATING within {time:?}"));
        self.rig.world.announce_migration(time);
    }

    /// Clients are told that the migration is over. That is the end of the event.
    pub(crate) fn complete_migration(&mut self) {
        self.say("announces MIGRATED".to_owned());
        self.rig.world.complete_migration();
        self.end_event();
    }

    /// Every reply of a node is late by `delay`, for so long.
    pub(crate) fn delay_replies(&self, node: Node, delay: Duration, lasting: Duration) {
        self.say(format!("{node} answers late by {delay:?}, for {lasting:?}"));
        self.rig.world.delay_replies(node, delay, lasting);
    }

    /// Waits until a node has no connection, or for as long as any relaxed timeout. That is the end of the event.
    pub(crate) fn wait_until_empty(&mut self, node: Node) -> Result<(), Interrupted> {
        let give_up = clock::now() + PATIENCE;
        while self.rig.world.connections(node) > 0 && clock::now() < give_up {
            self.wait(ASK)?;
        }
        let event_at = self.parts.event_at.unwrap_or_else(clock::now);
        if let Some(emptied_at) = self.rig.world.emptied_after(node, event_at) {
            self.say(format!(
                "{node} is empty after {}",
                millis(emptied_at.saturating_duration_since(event_at))
            ));
        }
        self.wait_since_event(SHORTEST_EVENT)?;
        self.end_event();
        Ok(())
    }

    fn begin_event(&mut self) {
        self.parts.before = Some(self.meter.cut());
        self.parts.event_at = Some(clock::now());
    }

    fn end_event(&mut self) {
        self.parts.during = Some(self.meter.cut());
    }

    fn say(&self, text: String) {
        self.rig.log.add(Who::Server, text);
    }

    fn leave(self) -> Parts {
        self.parts
    }
}

impl Parts {
    /// The figures that the meter knows.
    fn figures(&self, meter: &Meter) -> Figures {
        let rest = meter.cut();
        let mut whole = rest.clone();
        for part in self.before.iter().chain(&self.during) {
            whole.add(part);
        }
        let p999 = |part: &Interval| part.quantile(0.999);
        Figures {
            operations: whole.operations(),
            errors: whole.errors(),
            gap: whole.gap(),
            slowest: whole.slowest(),
            p999_before: p999(self.before.as_ref().unwrap_or(&rest)),
            p999_during: self.during.as_ref().and_then(p999),
            ..Figures::default()
        }
    }
}
