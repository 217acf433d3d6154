//! What a seed stands for that draws a cluster: its nodes, a load, what becomes of its slots and nodes, and faults.

use std::ops::RangeInclusive;
use std::time::Duration;

use hitless_core::cluster::{SLOTS, key_slot};
use hitless_core::guide::Rng;

use super::super::faults::{Fault, FaultKind, Weather, pick, up_to};
use super::super::plan::{Ending, Step};
use crate::server::{EndpointId, EndpointSpec, Server, ServerConfig};

/// The port of every node.
const PORT: u16 = 6379;
const SECOND: Duration = Duration::from_secs(1);
const MILLI: Duration = Duration::from_millis(1);

/// A scenario with a cluster.
#[derive(Debug)]
pub(in crate::sim) struct ClusterPlan {
    pub(in crate::sim) weather: Weather,
    /// The servers that the client is told of.
    pub(in crate::sim) urls: Vec<String>,
    /// The hash tags of the keys of each task.
    pub(in crate::sim) tags: Vec<Vec<String>>,
    /// That of a list which somebody waits at.
    pub(in crate::sim) queue: Option<String>,
    /// Requests that they send together, at least.
    pub(in crate::sim) requests: usize,
    /// What happens, by the time since the client was open.
    pub(in crate::sim) steps: Vec<(Duration, Step)>,
    /// From when on nothing happens any more.
    pub(in crate::sim) calm_at: Duration,
    pub(in crate::sim) ending: Ending,
    pub(in crate::sim) are_impatient: bool,
    pub(in crate::sim) settings: ClusterSettings,
}

/// What the client is opened with.
#[derive(Clone, Copy, Debug)]
pub(in crate::sim) struct ClusterSettings {
    pub(in crate::sim) pool_size: u32,
    /// Whether it asks for notifications.
    pub(in crate::sim) listens: bool,
    pub(in crate::sim) connect_timeout: Duration,
    pub(in crate::sim) command_timeout: Option<Duration>,
    pub(in crate::sim) relaxed_timeout: Duration,
    pub(in crate::sim) refresh_interval: Duration,
    pub(in crate::sim) min_refresh_interval: Duration,
}

/// Something that becomes of slots and nodes. Which nodes it concerns is drawn when it happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::sim) enum Reshape {
    /// SMIGRATING: slots are about to leave their nodes.
    Announced(Slots, Told),
    /// Slots are at another node, with their keys, and SMIGRATED says so.
    Migrated(Slots, Told),
    /// Slots go on to a third node at once, and the SMIGRATED of that is told first.
    MigratedTwice(Slots),
    /// A SMIGRATED that was told before is told again.
    Repeated(Told),
    /// Slots are at another node, with their keys, and nobody says so.
    Assigned(Slots),
    /// Slots are between two nodes, and all keys at the old one.
    Opened(Slots),
    /// Some of their keys are at the new one.
    Carried(Slots),
    /// The new node serves them.
    Closed(Slots),
    /// There is one more node, which serves nothing yet. It is the first to be given slots.
    Joined,
    /// A node gives its slots to the others and is none any more; SMIGRATED may say so.
    Left(Told),
    /// What is connected to the one that has left is closed, and it takes no dials.
    Retired,
    /// FAILING_OVER at a primary.
    FailingOver(Duration),
    /// Its replica is the primary from now on.
    Promoted,
    /// FAILED_OVER there.
    FailedOver,
    /// A primary dies: its links are reset, or say nothing any more.
    Died { resets: bool },
    /// The replica of the one that has died takes over, if it has one.
    TookOver,
    /// The one that has died is back.
    Revived,
    /// MOVING: another node takes the place of one.
    Replaced(Duration),
    /// A node says nothing and takes no dials for a time, and then goes on.
    Hung(Duration),
    /// The cluster is down.
    Down,
    /// It is up again.
    Up,
}

/// Slots, from one to another.
pub(in crate::sim) type Slots = RangeInclusive<u16>;

/// Who is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sim) enum Told {
    Everyone,
    /// Those who are connected to the node that the slots leave.
    Source,
    /// Those who are connected to any one node.
    OneNode,
    Nobody,
}

impl ClusterPlan {
    /// Draws a plan, and the cluster that it is for.
    pub(in crate::sim) fn draw(seed: u64) -> (Self, Server) {
        let rng = &mut Rng::new(seed ^ 0xc105_7e55_c105_7e55);
        let mut server = Server::new(ServerConfig::default().with_seed(rng.next_u64()));
        let (primaries, has_replicas) = (2 + rng.below(5) as usize, rng.below(3) > 0);
        let replicas = if has_replicas { primaries } else { 0 };
        let spares = 1 + rng.below(2) as usize;
        let endpoints: Vec<EndpointId> = (1..=(primaries + replicas + spares) as u8)
            .map(|number| server.add_endpoint(EndpointSpec::new(([10, 0, 0, number], PORT).into())))
            .collect();
        server.form_cluster(&endpoints[..primaries]);
        for at in 0..replicas {
            server.add_replica(endpoints[primaries + at], endpoints[at]);
        }
        let urls = (0..1 + rng.below(primaries as u64))
            .map(|number| format!("redis://10.0.0.{}:{PORT}", number + 1));
        let weather = if rng.below(2) == 0 { Weather::Gentle } else { Weather::Rough };
        let tags: Vec<Vec<String>> = (0..4 + rng.below(3))
            .map(|task| {
                (0..2 + rng.below(2))
                    .map(|number| format!("{{{task}.{number}.{}}}", rng.below(1000)))
                    .collect()
            })
            .collect();
        let waiting = &mut Rng::new(seed ^ 0x090e_0e90_e0e0);
        let queue = (waiting.below(2) == 0).then(|| format!("{{queue.{}}}", waiting.below(1000)));
        let settings = ClusterSettings::draw(rng);
        let mut drawing = Drawing {
            weather,
            has_replicas,
            endpoints: endpoints[..primaries].to_vec(),
            slots: tags.iter().flatten().chain(&queue).map(|tag| key_slot(tag.as_bytes())).collect(),
            steps: Vec::new(),
            until: 3 * SECOND + up_to(rng, 3 * SECOND),
            over: Duration::ZERO,
        };
        drawing.reshapes(rng);
        let are_impatient = weather == Weather::Rough && rng.below(4) == 0;
        drawing.faults(rng);
        drawing.steps.sort_by_key(|(at, _)| *at);
        let plan = Self {
            weather,
            urls: urls.collect(),
            tags,
            queue,
            requests: 160 + rng.below(100) as usize,
            steps: drawing.steps,
            calm_at: drawing.until.max(drawing.over) + SECOND,
            ending: Ending::draw(rng),
            are_impatient,
            settings,
        };
        (plan, server)
    }

    /// All tags, in the order of the tasks, and that of the queue.
    pub(in crate::sim) fn all_tags(&self) -> Vec<String> {
        self.tags.iter().flatten().chain(&self.queue).cloned().collect()
    }
}

impl ClusterSettings {
    fn draw(rng: &mut Rng) -> Self {
        Self {
            pool_size: 1 + rng.below(2) as u32,
            listens: rng.below(5) > 0,
            connect_timeout: SECOND / 2 + up_to(rng, SECOND),
            command_timeout: (rng.below(6) > 0).then(|| SECOND + up_to(rng, SECOND)),
            relaxed_timeout: SECOND + up_to(rng, 2 * SECOND),
            refresh_interval: 20 * SECOND + up_to(rng, 20 * SECOND),
            min_refresh_interval: 50 * MILLI + up_to(rng, 400 * MILLI),
        }
    }
}

struct Drawing {
    weather: Weather,
    has_replicas: bool,
    endpoints: Vec<EndpointId>,
    /// Those of the tags.
    slots: Vec<u16>,
    steps: Vec<(Duration, Step)>,
    /// Until then something begins.
    until: Duration,
    /// By then it is over.
    over: Duration,
}

impl Drawing {
    fn reshapes(&mut self, rng: &mut Rng) {
        let is_rough = self.weather == Weather::Rough;
        // One node after the other dies, leaves or is replaced.
        let mut alone = Duration::ZERO;
        for _ in 0..4 + rng.below(4) {
            let at = up_to(rng, self.until);
            match rng.below(if is_rough { 16 } else { 12 }) {
                0 | 1 => self.migrate(rng, at),
                2 => self.at(at, Reshape::Assigned(self.some_slots(rng))),
                3..=5 => self.pass_slowly(rng, at),
                6 | 7 => self.split(rng, at),
                8 | 9 if self.has_replicas => alone = self.fail_over(rng, at.max(alone)),
                8 | 9 => self.migrate(rng, at),
                10 => alone = self.leave(rng, at.max(alone)),
                11 => alone = self.replace(rng, at.max(alone)),
                12 | 13 => alone = self.die(rng, at.max(alone)),
                14 => self.at(at, Reshape::Hung(up_to(rng, 3 * SECOND))),
                _ => {
                    self.at(at, Reshape::Down);
                    self.at(at + up_to(rng, SECOND), Reshape::Up);
                }
            }
        }
    }

    /// Slots leave as managed servers have it: announced before, and told afterwards.
    fn migrate(&mut self, rng: &mut Rng, at: Duration) {
        let slots = self.some_slots(rng);
        let told = *pick(rng, &[Told::Everyone, Told::Everyone, Told::Source, Told::OneNode]);
        if rng.below(4) > 0 {
            self.at(
                at,
                Reshape::Announced(slots.clone(), if rng.below(2) == 0 { told } else { Told::Source }),
            );
        }
        let mut at = at + up_to(rng, SECOND);
        if rng.below(4) == 0 {
            self.at(at, Reshape::MigratedTwice(slots.clone()));
        } else {
            self.at(at, Reshape::Migrated(slots.clone(), told));
        }
        for _ in 0..rng.below(3) {
            at += up_to(rng, SECOND);
            self.at(at, Reshape::Repeated(if rng.below(2) == 0 { Told::Everyone } else { Told::OneNode }));
        }
    }

    /// Slots leave key by key, as open source servers have it.
    fn pass_slowly(&mut self, rng: &mut Rng, at: Duration) {
        let slots = self.some_slots(rng);
        let longest = match self.weather {
            Weather::Gentle => 250 * MILLI,
            Weather::Rough => 2 * SECOND,
        };
        let lasts = up_to(rng, longest);
        self.at(at, Reshape::Opened(slots.clone()));
        for part in 1..=rng.below(4) as u32 {
            self.at(at + lasts * part / 4, Reshape::Carried(slots.clone()));
        }
        self.at(at + lasts, Reshape::Closed(slots));
    }

    /// A node joins and is given slots, one way or another.
    fn split(&mut self, rng: &mut Rng, at: Duration) {
        self.at(at, Reshape::Joined);
        let mut at = at + up_to(rng, SECOND);
        for _ in 0..1 + rng.below(3) {
            match rng.below(3) {
                0 => self.migrate(rng, at),
                1 => self.at(at, Reshape::Assigned(self.some_slots(rng))),
                _ => self.pass_slowly(rng, at),
            }
            at += up_to(rng, SECOND);
        }
    }

    fn fail_over(&mut self, rng: &mut Rng, at: Duration) -> Duration {
        let time = SECOND + up_to(rng, SECOND);
        let (promoted, over) = (at + up_to(rng, time), at + time);
        if rng.below(3) > 0 {
            self.at(at, Reshape::FailingOver(time));
        }
        self.at(promoted, Reshape::Promoted);
        self.at(over, Reshape::FailedOver);
        over
    }

    fn leave(&mut self, rng: &mut Rng, at: Duration) -> Duration {
        let told = *pick(rng, &[Told::Everyone, Told::Source, Told::Nobody]);
        self.at(at, Reshape::Left(told));
        if self.weather == Weather::Gentle {
            return at + MILLI;
        }
        let over = at + up_to(rng, 2 * SECOND);
        self.at(over, Reshape::Retired);
        over
    }

    fn replace(&mut self, rng: &mut Rng, at: Duration) -> Duration {
        let time = SECOND * (2 + rng.below(3) as u32);
        self.at(at, Reshape::Replaced(time));
        // Nothing is closed from then on.
        self.over = self.over.max(at + time + SECOND);
        at + time
    }

    fn die(&mut self, rng: &mut Rng, at: Duration) -> Duration {
        self.at(at, Reshape::Died { resets: rng.below(4) > 0 });
        if rng.below(4) > 0 {
            self.at(at + up_to(rng, 2 * SECOND), Reshape::TookOver);
        }
        let back = at + SECOND + up_to(rng, 3 * SECOND);
        self.at(back, Reshape::Revived);
        back
    }

    fn faults(&mut self, rng: &mut Rng) {
        let (kinds, count) = match self.weather {
            Weather::Gentle => (GENTLE, 1 + rng.below(3)),
            Weather::Rough => (ROUGH, 1 + rng.below(4)),
        };
        for _ in 0..count {
            let fault = Fault::draw_of(kinds, rng, self.weather, &self.endpoints);
            let at = up_to(rng, self.until);
            self.steps.push((at, Step::Begin(fault)));
            if fault.kind.lasts() {
                self.steps.push((at + fault.lasts, Step::End(fault)));
                self.over = self.over.max(at + fault.lasts);
            }
        }
    }

    /// Slots among which there is one with keys.
    fn some_slots(&self, rng: &mut Rng) -> Slots {
        let slot = *pick(rng, &self.slots);
        let length = *pick(rng, &[1, 100, 3_000]);
        slot..=slot.saturating_add(rng.below(length) as u16).min(SLOTS - 1)
    }

    fn at(&mut self, at: Duration, reshape: Reshape) {
        self.over = self.over.max(at);
        self.steps.push((at, Step::Reshape(reshape)));
    }
}

/// Faults that make things slow and nothing else.
const GENTLE: &[FaultKind] = &[
    FaultKind::Latency,
    FaultKind::Jitter,
    FaultKind::Splits,
    FaultKind::Stall,
    FaultKind::BlockedWrites,
    FaultKind::Hiccups,
    FaultKind::SlowDials,
    FaultKind::UnknownPush,
    FaultKind::MalformedPush,
];

/// Those that nodes may meet. Names lead to none of them.
const ROUGH: &[FaultKind] = &[
    FaultKind::Latency,
    FaultKind::Jitter,
    FaultKind::Splits,
    FaultKind::Stall,
    FaultKind::Freeze,
    FaultKind::BlockedWrites,
    FaultKind::Hiccups,
    FaultKind::SlowDials,
    FaultKind::RefusedDials,
    FaultKind::UnansweredDials,
    FaultKind::SlowServer,
    FaultKind::HalfClose,
    FaultKind::Reset,
    FaultKind::Reset,
    FaultKind::Close,
    FaultKind::Close,
    FaultKind::CloseUnexecuted,
    FaultKind::CloseUnanswered,
    FaultKind::CloseAnswered,
    FaultKind::Garbage,
    FaultKind::OptInLoading,
    FaultKind::OptInRefused,
    FaultKind::ProcessStops,
    FaultKind::Loading,
    FaultKind::ShortLives,
];
