//! What a seed stands for: settings, a load, maintenance, and faults, each at its time.

use std::time::Duration;

use hitless_core::config::{Config, ConfigBuilder, maintenance};
use hitless_core::endpoint::{Endpoint, Host};
use hitless_core::endpoint_type::EndpointPreference;
use hitless_core::guide::Rng;

use super::cluster::plan::Reshape;
use super::edges;
use super::faults::{Fault, FaultKind, Weather, pick, up_to};
use super::opinions;
use crate::server::{
    CloseHow, Closes, EndpointId, EndpointSpec, Retires, Server, ServerConfig, ServerMachine,
};

/// The name that the client is configured with, if it is with one.
pub(super) const NAME: &str = "redis.test";
/// The port of every endpoint: what DNS needs to tell them apart by address.
const PORT: u16 = 6379;
const SECOND: Duration = Duration::from_secs(1);

/// A scenario.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) weather: Weather,
    pub(super) pool_size: u32,
    /// Tasks that send requests.
    pub(super) tasks: usize,
    /// Tasks that hold leases, and what each draws from.
    pub(super) holders: Vec<u64>,
    /// Whether somebody subscribes, and somebody publishes.
    pub(super) listens: bool,
    /// Tasks that wait for elements, and what each draws from; somebody pushes.
    pub(super) consumers: Vec<u64>,
    /// Whether the server refuses to call commands back that wait.
    pub(super) holds_consumers: bool,
    /// Requests that they send together, at least.
    pub(super) requests: usize,
    /// What happens, by the time since the pool was open.
    pub(super) steps: Vec<(Duration, Step)>,
    /// From when on nothing happens any more.
    pub(super) calm_at: Duration,
    pub(super) ending: Ending,
    /// What is there from the first dial to the end.
    pub(super) from_the_first: Vec<Fault>,
    /// What hooks and the policy on targets say is drawn from this; without it there are none.
    pub(super) opinions: Option<u64>,
    pub(super) settings: ConfigBuilder,
}

/// Something that happens at its time.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Begin(Fault),
    End(Fault),
    Maintain(Maintenance),
    Reshape(Reshape),
}

/// How the client ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// It is shut down, and has this long.
    Shutdown(Duration),
    /// Its last handle is dropped.
    Dropped,
    /// The runtime drops its tasks.
    RuntimeDies,
}

/// A step of maintenance.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Maintenance {
    Moving(MoveStep),
    /// The last MOVING once more.
    Repeated,
    /// The last MOVING with an older id.
    Stale,
    Migrating(Duration),
    Migrated,
    FailingOver(Duration),
    FailedOver,
    SlotsMigrating(Duration),
    SlotsMigrated(EndpointId, EndpointId),
    /// What the name leads to from now on.
    Names(Vec<EndpointId>),
}

/// A MOVING.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct MoveStep {
    pub(super) source: EndpointId,
    pub(super) to: Where,
    /// The new node: the target, or what the name will lead to.
    pub(super) lands: EndpointId,
    pub(super) time: Duration,
    pub(super) told: Told,
    pub(super) closes: Closes,
    pub(super) retires: Retires,
    pub(super) late: Duration,
    pub(super) how: CloseHow,
}

/// The target of a move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Where {
    Endpoint(EndpointId),
    /// A null: the name leads there.
    Nowhere,
    /// The notification ends before it.
    Absent,
    /// An address where nobody is.
    Dead,
}

/// Who is told of a move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    All,
    Some,
    /// Those who are there when it begins, and nobody who comes while it lasts.
    Present,
}

impl Ending {
    pub(super) fn draw(rng: &mut Rng) -> Self {
        match rng.below(6) {
            0 => Self::Dropped,
            1 => Self::RuntimeDies,
            _ => Self::Shutdown(up_to(rng, 2 * SECOND)),
        }
    }
}

impl Plan {
    /// Draws a plan, and the server that it is for.
    pub(super) fn draw(seed: u64) -> (Self, Server) {
        let rng = &mut Rng::new(seed ^ 0x5eed_5eed_5eed_5eed);
        let (server, endpoints) = server(rng);
        let weather = if rng.below(3) == 0 { Weather::Gentle } else { Weather::Rough };
        let by_name = rng.below(2) == 0;
        let pool_size = 3 + rng.below(4) as u32;
        let opinions = (weather == Weather::Rough && rng.below(3) == 0).then(|| rng.next_u64());
        let settings = settings(rng, &server, endpoints[0], by_name, opinions).pool_size(pool_size);
        let mut drawing = Drawing {
            weather,
            by_name,
            endpoints,
            steps: Vec::new(),
            from_the_first: Vec::new(),
            calm_at: Duration::ZERO,
        };
        drawing.moves(rng);
        drawing.notices(rng);
        drawing.faults(rng);
        // By another seed, so that the rest of the plan does not change with it.
        drawing.unkindness(&mut Rng::new(seed ^ 0x0bad_0bad_0bad_0bad));
        drawing.shuttle(&mut Rng::new(seed ^ 0x5b07_713e_5b07_713e));
        let ending = Ending::draw(rng);
        let tasks = 4 + rng.below(7) as usize;
        let requests = 200 + rng.below(120) as usize;
        // By other seeds, so that the rest of the plan does not change with them.
        let holding = &mut Rng::new(seed ^ 0x1ea5_e1ea_5e1e_a5e1);
        let holders = draw_some(holding, 4);
        let lent = 1 + holding.below(3) as u32;
        let listens = !holders.is_empty() && holding.below(2) == 0;
        let consuming = &mut Rng::new(seed ^ 0x0b10_cced_0b10_cced);
        let consumers = if holders.is_empty() { Vec::new() } else { draw_some(consuming, 3) };
        let holds_consumers = weather == Weather::Rough && consuming.below(3) == 0;
        // Not enough for all of them at all times.
        let fed = if consumers.is_empty() { 0 } else { 1 + consuming.below(consumers.len() as u64) as u32 };
        let settings = settings.max_dedicated(lent + u32::from(listens) + fed);
        drawing.pauses(&mut Rng::new(seed ^ 0xca11_bacc_ca11_bacc), !consumers.is_empty());
        let Drawing { steps, calm_at, from_the_first, .. } = drawing.in_order();
        let mut plan = Self {
            weather,
            pool_size,
            tasks,
            holders,
            listens,
            consumers,
            holds_consumers,
            requests,
            steps,
            calm_at,
            ending,
            from_the_first,
            opinions,
            settings,
        };
        if plan.has(FaultKind::EdgeReplies) {
            plan.settings = plan.settings.reply_limits(edges::limits());
        }
        (plan, server)
    }

    /// Whether anybody holds leases.
    pub(super) fn has_holders(&self) -> bool {
        !self.holders.is_empty()
    }

    /// Whether such a fault is part of it.
    pub(super) fn has(&self, kind: FaultKind) -> bool {
        let steps = self.steps.iter().filter_map(|(_, step)| match step {
            Step::Begin(fault) => Some(fault),
            Step::End(_) | Step::Maintain(_) | Step::Reshape(_) => None,
        });
        self.from_the_first.iter().chain(steps).any(|fault| fault.kind == kind)
    }
}

/// What each of so many tasks draws from; every second time there is none.
fn draw_some(rng: &mut Rng, most: u64) -> Vec<u64> {
    let count = if rng.below(2) == 0 { 0 } else { 1 + rng.below(most) };
    (0..count).map(|_| rng.next_u64()).collect()
}

/// Three or four nodes over one data set.
fn server(rng: &mut Rng) -> (Server, Vec<EndpointId>) {
    let mut config = ServerConfig::default().with_seed(rng.next_u64());
    if rng.below(2) == 0 {
        config = config.without_replayed_completions();
    }
    let mut server = Server::new(config);
    let endpoints = (1..=3 + rng.below(2) as u8).map(|number| {
        let host = std::net::IpAddr::from([10, 0, 0, number]);
        let spec = EndpointSpec::new((host, PORT).into()).with_host(&format!("node{number}.test"));
        server.add_endpoint(spec)
    });
    let endpoints = endpoints.collect();
    (server, endpoints)
}

/// The endpoints of the server, as targets of moves.
pub(super) fn nodes(server: &Server) -> Vec<Endpoint> {
    server.endpoints().into_iter().map(|id| Endpoint::from(server.address(id))).collect()
}

fn settings(
    rng: &mut Rng,
    server: &Server,
    home: EndpointId,
    by_name: bool,
    opinions: Option<u64>,
) -> ConfigBuilder {
    let address = server.address(home);
    let endpoint = if by_name {
        Endpoint::Tcp { host: Host::Name(NAME.into()), port: PORT }
    } else {
        Endpoint::from(address)
    };
    let mut maintenance = maintenance::Config::builder()
        .relaxed_timeout(SECOND + up_to(rng, 2 * SECOND))
        .handoff_timeout(SECOND / 2 + up_to(rng, SECOND))
        .max_handoff_retries(1 + rng.below(4) as u32)
        .endpoint_type(if rng.below(4) == 0 {
            EndpointPreference::Fixed(hitless_core::endpoint_type::EndpointType::InternalFqdn)
        } else {
            EndpointPreference::Auto
        });
    if let Some(seed) = opinions {
        maintenance = maintenance.target_policy(opinions::policy(seed, nodes(server)));
    }
    Config::builder(endpoint)
        .connect_timeout(Some(SECOND / 2 + up_to(rng, SECOND)))
        .command_timeout(match rng.below(6) {
            0 => None,
            1 => Some(10 * SECOND),
            _ => Some(SECOND / 2 + up_to(rng, SECOND)),
        })
        .event_capacity(100_000)
        .maintenance(maintenance.build().expect("settings within their ranges"))
}

struct Drawing {
    weather: Weather,
    by_name: bool,
    endpoints: Vec<EndpointId>,
    steps: Vec<(Duration, Step)>,
    from_the_first: Vec<Fault>,
    calm_at: Duration,
}

impl Drawing {
    /// Two moves or more. In gentle weather each begins where the one before led to, at an endpoint that nothing is
    /// about to close.
    fn moves(&mut self, rng: &mut Rng) {
        let mut at = up_to(rng, SECOND);
        let mut home = self.endpoints[0];
        let mut busy: Vec<(EndpointId, Duration)> = Vec::new();
        for _ in 0..2 + rng.below(3) {
            let moving = self.draw_move(rng, home);
            let over = at + moving.time + moving.late;
            if self.weather == Weather::Gentle {
                let until = busy.iter().filter(|(id, _)| *id == moving.lands).map(|(_, until)| *until).max();
                at = at.max(until.map_or(at, |until| until + SECOND / 10));
            }
            let over = over.max(at + moving.time + moving.late);
            busy.push((moving.source, over));
            self.calm_at = self.calm_at.max(over);
            self.lead(rng, at, &moving);
            let pause = match self.weather {
                Weather::Gentle => moving.time.mul_f64(0.7) + up_to(rng, SECOND * 2),
                Weather::Rough => up_to(rng, moving.time * 3 / 2),
            };
            home = moving.lands;
            self.maintain(at, Maintenance::Moving(moving));
            at += pause;
        }
        self.calm_at += SECOND + up_to(rng, SECOND);
    }

    /// In gentle weather the last move may be taken back, and made again, while some have not followed. Each of the two nodes goes on
    /// serving, and closes at its deadline whom it has told.
    fn shuttle(&mut self, rng: &mut Rng) {
        if self.weather == Weather::Rough || rng.below(3) > 0 {
            return;
        }
        let moves = self.steps.iter_mut().filter_map(|(at, step)| match step {
            Step::Maintain(Maintenance::Moving(moving)) => Some((*at, moving)),
            _ => None,
        });
        let Some((mut at, last)) = moves.max_by_key(|(at, _)| *at) else { return };
        if !matches!(last.to, Where::Endpoint(_)) {
            return;
        }
        (last.told, last.closes, last.retires) = (Told::Present, Closes::Recipients, Retires::Never);
        let mut moving = last.clone();
        for _ in 0..1 + rng.below(4) {
            let longest = *pick(rng, &[SECOND / 20, SECOND / 5, SECOND, 3 * SECOND]);
            at += up_to(rng, longest);
            let (source, lands) = (moving.lands, moving.source);
            moving =
                MoveStep { source, lands, to: Where::Endpoint(lands), late: up_to(rng, SECOND), ..moving };
            self.calm_at = self.calm_at.max(at + moving.time + 2 * SECOND);
            self.steps.push((at, Step::Maintain(Maintenance::Moving(moving.clone()))));
        }
    }

    fn draw_move(&self, rng: &mut Rng, home: EndpointId) -> MoveStep {
        let others: Vec<EndpointId> = self.endpoints.iter().copied().filter(|id| *id != home).collect();
        let endpoint = Where::Endpoint(*pick(rng, &others));
        let (source, to) = match (self.weather, rng.below(10)) {
            (_, 0 | 1) if self.by_name => (home, *pick(rng, &[Where::Nowhere, Where::Absent])),
            (Weather::Rough, 2) => (home, *pick(rng, &[Where::Nowhere, Where::Absent, Where::Dead])),
            (Weather::Rough, 3) => {
                (*pick(rng, &self.endpoints), Where::Endpoint(*pick(rng, &self.endpoints)))
            }
            _ => (home, endpoint),
        };
        let (lands, shortest) = match to {
            // Less time than that is not enough to wait for a target that is late, and still to move one by one.
            Where::Endpoint(target) if self.weather == Weather::Gentle => (target, 5),
            Where::Endpoint(target) => (target, 2),
            Where::Nowhere | Where::Absent | Where::Dead => (*pick(rng, &others), 4),
        };
        let rough = self.weather == Weather::Rough;
        MoveStep {
            source,
            to,
            lands,
            time: Duration::from_secs(shortest + rng.below(4)),
            told: if rough && rng.below(4) == 0 { Told::Some } else { Told::All },
            closes: if rough && rng.below(6) == 0 { Closes::Recipients } else { Closes::Everyone },
            retires: *pick(rng, &[Retires::AtOnce, Retires::AtClose, Retires::AtClose, Retires::Never]),
            late: up_to(rng, SECOND),
            how: if rng.below(2) == 0 { CloseHow::Fin } else { CloseHow::Reset },
        }
    }

    /// What belongs to a move: DNS follows, sooner or later, and the new node may be a little late.
    fn lead(&mut self, rng: &mut Rng, at: Duration, moving: &MoveStep) {
        let latest = match self.weather {
            Weather::Gentle => moving.time * 3 / 5,
            Weather::Rough => moving.time * 5 / 4,
        };
        let changed = at + up_to(rng, latest);
        if rng.below(3) == 0 {
            // The old address stays among the answers for a while.
            let overlap = up_to(rng, SECOND);
            self.maintain(
                changed.saturating_sub(overlap),
                Maintenance::Names(vec![moving.lands, moving.source]),
            );
        }
        self.maintain(changed, Maintenance::Names(vec![moving.lands]));
        if rng.below(4) == 0 {
            let refused = Fault {
                kind: FaultKind::RefusedDials,
                endpoint: Some(moving.lands),
                lasts: up_to(rng, moving.time / 4),
                delay: Duration::ZERO,
            };
            self.fault(at + Duration::from_nanos(1), refused);
        }
        if self.weather == Weather::Rough {
            match rng.below(12) {
                0 | 1 => self.cut_off_while_draining(rng, at, moving),
                2 => self.answer_too_late(at, moving),
                3 => self.dislike_opt_ins(rng, at, moving),
                _ => {}
            }
        }
        if rng.below(4) == 0 {
            let again = if rng.below(2) == 0 { Maintenance::Repeated } else { Maintenance::Stale };
            self.maintain(at + up_to(rng, moving.time), again);
        }
    }

    /// The old node answers late, so that its connections drain for long, and some are lost meanwhile.
    fn cut_off_while_draining(&mut self, rng: &mut Rng, at: Duration, moving: &MoveStep) {
        let endpoint = Some(moving.source);
        let (lasts, delay) = (moving.time, 2 * SECOND);
        let slow = Fault { kind: FaultKind::SlowServer, endpoint, lasts, delay };
        self.fault(at.saturating_sub(SECOND / 2), slow);
        for _ in 0..2 {
            let kind = *pick(rng, &[FaultKind::Reset, FaultKind::Close]);
            let cut = Fault { kind, endpoint, lasts: Duration::ZERO, delay: Duration::ZERO };
            self.fault(at + up_to(rng, SECOND), cut);
        }
    }

    /// The old node answers later than its connections may drain.
    fn answer_too_late(&mut self, at: Duration, moving: &MoveStep) {
        let (endpoint, lasts, delay) = (Some(moving.source), moving.time, 2 * moving.time);
        let slow = Fault { kind: FaultKind::SlowServer, endpoint, lasts, delay };
        self.fault(at.saturating_sub(SECOND / 10), slow);
    }

    /// The new node has no ear for the opt-ins of those who come first.
    fn dislike_opt_ins(&mut self, rng: &mut Rng, at: Duration, moving: &MoveStep) {
        let (endpoint, lasts) = (Some(moving.lands), up_to(rng, moving.time / 4));
        let kind = *pick(rng, &[FaultKind::OptInClosesLink, FaultKind::OptInLoading]);
        self.fault(at, Fault { kind, endpoint, lasts, delay: Duration::ZERO });
    }

    fn notices(&mut self, rng: &mut Rng) {
        for _ in 0..rng.below(4) {
            let begin = up_to(rng, self.calm_at);
            let end = begin + up_to(rng, 3 * SECOND);
            let time = Duration::from_secs(1 + rng.below(2));
            let (opener, completion) = match rng.below(5) {
                0 | 1 => (Maintenance::Migrating(time), Maintenance::Migrated),
                2 | 3 => (Maintenance::FailingOver(time), Maintenance::FailedOver),
                _ => {
                    let (from, to) = (*pick(rng, &self.endpoints), *pick(rng, &self.endpoints));
                    (Maintenance::SlotsMigrating(time), Maintenance::SlotsMigrated(from, to))
                }
            };
            self.maintain(begin, opener);
            if self.weather == Weather::Rough && rng.below(3) == 0 {
                self.withdraw_an_address(rng, begin, end);
            }
            if rng.below(4) > 0 {
                self.maintain(end, completion);
            }
        }
    }

    /// The name leads to every node for a while, and then to all but one.
    fn withdraw_an_address(&mut self, rng: &mut Rng, begin: Duration, end: Duration) {
        let mut left = self.endpoints.clone();
        self.maintain(begin, Maintenance::Names(left.clone()));
        left.remove(rng.below(left.len() as u64) as usize);
        self.maintain(end, Maintenance::Names(left));
    }

    fn faults(&mut self, rng: &mut Rng) {
        if self.weather == Weather::Rough && rng.below(8) == 0 {
            self.fall_silent(rng);
        }
        for _ in 0..3 + rng.below(7) {
            let fault = Fault::draw(rng, self.weather, &self.endpoints);
            let at = match *pick(rng, &[Duration::ZERO, self.calm_at]) {
                // Just before a move, whose connections drain or dial when it strikes.
                Duration::ZERO => self.move_at(rng).saturating_sub(up_to(rng, SECOND / 10)),
                _ => up_to(rng, self.calm_at),
            };
            self.fault(at, fault);
        }
    }

    /// What users of other clients have met: two kinds in rough weather, one or none in gentle weather.
    fn unkindness(&mut self, rng: &mut Rng) {
        let most = if self.weather == Weather::Rough { 2 } else { rng.below(2) };
        for _ in 0..most {
            let mut fault = Fault::draw_unkind(rng, self.weather, &self.endpoints);
            let at = up_to(rng, self.calm_at);
            match fault.kind {
                // They take a level of depth.
                FaultKind::Attributes if self.is_drawn(FaultKind::EdgeReplies) => {}
                FaultKind::EdgeReplies if self.is_drawn(FaultKind::Attributes) => {}
                // Without a name there is one address, and no other place to go to than home.
                FaultKind::AddressRefuses | FaultKind::AddressSwallows if !self.by_name => {}
                FaultKind::Demotion => {
                    let first = usize::from(!self.by_name);
                    fault.endpoint = Some(*pick(rng, &self.endpoints[first..]));
                    self.fault(at, fault);
                }
                FaultKind::ProcessStops => self.stop_now_and_then(rng, fault),
                kind if kind.stays() => {
                    if kind == FaultKind::ImpatientCallers && self.weather == Weather::Rough {
                        self.fall_silent(rng);
                    }
                    self.from_the_first.push(fault);
                }
                _ => self.fault(at, fault),
            }
        }
    }

    /// Early, so that requests time out one after the other on a link that says nothing any more.
    fn fall_silent(&mut self, rng: &mut Rng) {
        let kind = FaultKind::Freeze;
        let silent = Fault { kind, endpoint: None, lasts: Duration::ZERO, delay: Duration::ZERO };
        self.fault(up_to(rng, SECOND), silent);
    }

    /// The process stops a few times, each time while replies are on their way for long enough to be met.
    fn stop_now_and_then(&mut self, rng: &mut Rng, stop: Fault) {
        for _ in 0..3 {
            let at = SECOND + up_to(rng, self.calm_at);
            let (kind, delay) = (FaultKind::Latency, Duration::from_millis(20));
            self.fault(at - SECOND / 5, Fault { kind, endpoint: None, lasts: SECOND / 4, delay });
            self.fault(at, Fault { delay: up_to(rng, 2 * stop.delay), ..stop });
        }
    }

    /// In rough weather every second run that has consumers has nodes that are paused about the time when they are left, for long enough to call
    /// somebody back.
    fn pauses(&mut self, rng: &mut Rng, has_consumers: bool) {
        if !has_consumers || self.weather == Weather::Gentle || rng.below(2) == 0 {
            return;
        }
        let moves = self.steps.iter().filter_map(|(at, step)| match step {
            Step::Maintain(Maintenance::Moving(moving)) => Some((*at, moving.source)),
            _ => None,
        });
        let moves: Vec<(Duration, EndpointId)> = moves.collect();
        for (at, source) in moves {
            let at = at.saturating_sub(up_to(rng, SECOND / 2));
            let lasts = SECOND / 2 + up_to(rng, 3 * SECOND);
            let (kind, endpoint, delay) = (FaultKind::Pause, Some(source), Duration::ZERO);
            self.fault(at, Fault { kind, endpoint, lasts, delay });
        }
    }

    fn in_order(mut self) -> Self {
        self.steps.sort_by_key(|(at, _)| *at);
        self
    }

    fn is_drawn(&self, kind: FaultKind) -> bool {
        let in_steps =
            |(_, step): &(Duration, Step)| matches!(step, Step::Begin(fault) if fault.kind == kind);
        self.from_the_first.iter().any(|fault| fault.kind == kind) || self.steps.iter().any(in_steps)
    }

    /// When one of the moves begins.
    fn move_at(&self, rng: &mut Rng) -> Duration {
        let begins = |step: &&(Duration, Step)| matches!(step.1, Step::Maintain(Maintenance::Moving(_)));
        let moves: Vec<Duration> = self.steps.iter().filter(begins).map(|(at, _)| *at).collect();
        *pick(rng, &moves)
    }

    fn fault(&mut self, at: Duration, fault: Fault) {
        self.steps.push((at, Step::Begin(fault)));
        if fault.kind.lasts() {
            self.steps.push((at + fault.lasts, Step::End(fault)));
        }
    }

    fn maintain(&mut self, at: Duration, step: Maintenance) {
        self.steps.push((at, Step::Maintain(step)));
    }
}
