//! The steps: what happens in each, and what was measured of it.

use std::collections::BTreeMap;
use std::error::Error;
use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use hitless_conformance::clock;
use hitless_conformance::net::redis_cluster::RedisCluster;
use hitless_conformance::tally::Counted;

use super::load::{Known, Meters, Part, TASKS, TOUCHED, Tags};
use super::pool::ClusterPool;
use super::verdict::{Expectation, Figures, Gap};
use crate::log::{self, Log, Who};

/// The load alone, before the event of a step.
const LEAD_IN: Duration = Duration::from_secs(1);
/// The load alone, when everything is over.
const LEAD_OUT: Duration = Duration::from_secs(1);
/// Longer than the lead of the others: the measure must have met the noise that they meet.
const CONTROL: Duration = Duration::from_secs(6);
/// How long an operation may take to end once the load is to stop.
const PATIENCE: Duration = Duration::from_secs(15);

/// A step of the demo.
pub(super) struct Step {
    /// In one word.
    pub(super) name: &'static str,
    /// In one line.
    pub(super) title: &'static str,
    act: fn(&Rig) -> io::Result<()>,
    pub(super) expected: Expectation,
}

pub(super) const WARM_UP: Step = Step {
    name: "warm-up",
    title: "the load alone, to warm up",
    act: |_| {
        thread::sleep(LEAD_IN);
        Ok(())
    },
    expected: Expectation { gap: Gap::Reference, keeps_its_word: true, errors: &[] },
};

pub(super) const STEPS: [Step; 4] = [
    Step {
        name: "control",
        title: "control phase: nothing happens",
        act: |_| {
            thread::sleep(CONTROL);
            Ok(())
        },
        expected: Expectation { gap: Gap::Reference, keeps_its_word: true, errors: &[] },
    },
    Step {
        name: "reshard",
        title: "a third of the slots goes to another node and comes back",
        act: reshard,
        expected: Expectation { gap: Gap::Limited, keeps_its_word: true, errors: &[] },
    },
    Step {
        name: "failover",
        title: "the replica of the first third takes over",
        act: fail_over,
        expected: Expectation { gap: Gap::Free, keeps_its_word: true, errors: &["refused: "] },
    },
    Step {
        name: "killed",
        title: "the primary of the first third is killed, and its replica takes over",
        act: kill,
        expected: Expectation {
            gap: Gap::OthersLimited,
            keeps_its_word: false,
            errors: &["connection lost", "no connection", "refused: CLUSTERDOWN"],
        },
    },
];

fn reshard(rig: &Rig) -> io::Result<()> {
    let from = rig.cluster.primary_of(0)?;
    let to = rig.cluster.primary_of(TOUCHED)?;
    for (from, to) in [(from, to), (to, from)] {
        rig.say(format_args!("node {from} gives slots 0 to {} to node {to}", TOUCHED - 1));
        rig.cluster.reshard(0..TOUCHED, from, to)?;
    }
    rig.say("all slots are back");
    Ok(())
}

fn fail_over(rig: &Rig) -> io::Result<()> {
    let primary = rig.cluster.primary_of(0)?;
    let replica = rig.replica_of(primary)?;
    rig.say(format_args!("node {replica} is told to take over from node {primary}"));
    rig.cluster.failover(replica)?;
    rig.say(format_args!("node {replica} has taken over"));
    Ok(())
}

fn kill(rig: &Rig) -> io::Result<()> {
    let primary = rig.cluster.primary_of(0)?;
    rig.replica_of(primary)?;
    rig.say(format_args!("node {primary} is killed"));
    rig.cluster.kill(primary);
    let successor = rig.cluster.await_successor(0)?;
    rig.say(format_args!("node {successor} has taken over"));
    Ok(())
}

/// Everything that a step needs.
pub(super) struct Rig {
    pub(super) cluster: RedisCluster,
    pub(super) tags: Tags,
    pub(super) pool: Box<dyn ClusterPool>,
    pub(super) log: Arc<Log>,
}

impl Rig {
    /// Runs a step and measures it, for both parts. Between two steps there is no load, so that counts can be compared.
    ///
    /// # Errors
    /// The cluster does not do what it is told, or its counters cannot be read.
    pub(super) fn run(&mut self, step: &Step) -> Result<[Figures; 2], Box<dyn Error>> {
        log::print(format_args!("\n-- {}", step.title));
        let before = self.counters()?;
        let meters = Arc::new(Meters::new(clock::now()));
        let load = self.pool.start_load(&self.tags, &meters);
        thread::sleep(LEAD_IN);
        let mut figures = Part::BOTH.map(|part| Figures::before(meters.of(part).cut()));
        (step.act)(self)?;
        thread::sleep(LEAD_OUT);
        let endings = load.finish(PATIENCE);
        for (part, figures) in Part::BOTH.into_iter().zip(&mut figures) {
            figures.add_event(meters.of(part).cut(), meters.errors(part));
            let missing = TASKS / 2 - endings.iter().filter(|known| known.part == part).count();
            figures.add_missing(missing as u64);
        }
        self.compare(&before, endings, &mut figures)?;
        self.log.add(Who::Client, self.pool.figures());
        Ok(figures)
    }

    fn say(&self, text: impl std::fmt::Display) {
        self.log.add(Who::Server, text);
    }

    fn replica_of(&self, primary: usize) -> io::Result<usize> {
        let replicas = self.cluster.replicas_of(primary)?;
        replicas.first().copied().ok_or_else(|| io::Error::other(format!("node {primary} has no replica")))
    }

    /// Compares what the tasks know of with what the servers have counted.
    fn compare(
        &self,
        before: &BTreeMap<String, u64>,
        endings: Vec<Known>,
        figures: &mut [Figures; 2],
    ) -> io::Result<()> {
        let after = self.counters()?;
        for Known { part, counters } in endings {
            for (key, tally) in counters {
                let [after, before] =
                    [&after, before].map(|counters| counters.get(&key).copied().unwrap_or_default());
                let added = after as i64 - before as i64;
                let counted = Counted::compare(added, tally.acknowledged, tally.uncertain);
                figures[part as usize].counted.add(counted);
            }
        }
        Ok(())
    }

    /// What all primaries have counted.
    fn counters(&self) -> io::Result<BTreeMap<String, u64>> {
        let mut counters = BTreeMap::new();
        for primary in self.cluster.primaries()? {
            let mut connection = self.cluster.connect(primary)?;
            let keys = connection.call(&["KEYS", "{demo*"])?.into_array().unwrap_or_default();
            for key in keys.iter().filter_map(|key| key.as_str()) {
                if key.ends_with(":counter") || key.contains(":pipeline") {
                    let value = connection.call(&["GET", key])?;
                    let count = value.as_str().and_then(|digits| digits.parse().ok()).unwrap_or_default();
                    counters.insert(key.to_owned(), count);
                }
            }
        }
        Ok(counters)
    }
}
