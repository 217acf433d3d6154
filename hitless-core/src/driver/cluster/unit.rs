//! A request that goes to one node as a whole, and what can be made of it on its way.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use resp3_codec::{Frame, cmd};

use super::outage::{Last, Limits, Outage};
use super::plan::{self, Step};
use super::shares::{MayRun, Share, Shares};
use crate::cluster::{Sent, SentKind, Table, Trail, is_refusal, is_refusal_of_server};
use crate::command_table::{Blocking, is_script, may_read_copy};
use crate::error::{Delivery, RequestError, ServerError};
use crate::ids::NodeId;
use crate::request::{Class, Commands, Outcome, Packed, Replay, Replies, Request, Timeout, Vetting};

/// One request for one node.
#[derive(Clone, Debug)]
pub(super) struct Unit {
    pub(super) request: Request,
    pub(super) slot: Option<u16>,
    /// When its time began.
    pub(super) since: Instant,
    /// Of a command for all shards, which part this is.
    share: Option<Share>,
    /// A node that it was sent to may have run it, and has not said so.
    may_have_run: bool,
    /// Set while a command that waits, such as BLPOP, finds no server that can run it.
    outage: Option<Outage>,
    /// The node that has said last that the slot is between two nodes, and that it does not have the keys.
    without_keys: Option<NodeId>,
}

/// How long a command waits at another server when its own time is over: it is for a server to say that there is nothing.
const LEAST_TIME: Duration = Duration::from_millis(1);
/// A refusal comes sooner than this.
const LONG: Duration = Duration::from_secs(5);

/// How one attempt to have a node run it has ended.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) node: Option<NodeId>,
    pub(super) sent_at: Instant,
    pub(super) asking: bool,
    pub(super) trail: Trail,
    /// Whether the node's client has accepted it.
    pub(super) is_accepted: bool,
    pub(super) outcome: Outcome,
}

/// What a node has refused of a unit.
#[derive(Debug, PartialEq)]
pub(super) enum Refused {
    Nothing,
    /// Nothing of it has run.
    All(ServerError),
    /// The commands at these places, by their slots, have not run, and are sent again; the others have their replies.
    Some(Vec<Group>),
}

/// Commands of one slot that were refused together.
#[derive(Debug, PartialEq)]
pub(super) struct Group {
    pub(super) slot: Option<u16>,
    pub(super) places: Vec<usize>,
}

impl Unit {
    pub(super) fn new(request: Request, slot: Option<u16>, since: Instant) -> Self {
        Self { request, slot, since, share: None, may_have_run: false, outage: None, without_keys: None }
    }

    /// The part of `node`, or of whoever gets all of its slots, of a command for all shards.
    pub(super) fn of_each(self, node: NodeId, all: Arc<Shares>) -> Self {
        Self { share: Some(Share::new(node, all)), ..self }
    }

    /// Whether `node` may run it, by the table of now.
    pub(super) fn may_run_at(&mut self, node: NodeId, now: &Table) -> MayRun {
        self.share.as_mut().map_or(MayRun::Yes, |share| share.may_run_at(node, now))
    }

    /// When it fails. `deadline` is the time of a command that a server has, and a timeout of the caller's counts as it is. Where no server is there it fails
    /// sooner, and where one has come back it has some time left.
    pub(super) fn deadline(&self, deadline: Option<Instant>, limits: Limits) -> Option<Instant> {
        let is_explicit = matches!(self.request.timeout, Timeout::Explicit(_));
        self.outage.map_or(deadline, |outage| outage.deadline(deadline, limits, is_explicit))
    }

    /// How long it has had no server at `now` that could run it; `None` if it has one.
    pub(super) fn away_for(&self, now: Instant) -> Option<Duration> {
        self.outage.map(|outage| now.saturating_duration_since(outage.since))
    }

    /// `attempt` has ended `now`; waiting for a connection takes `limit` at most. An error says of all attempts so far whether it may have run. Returns whether
    /// it has waited at its server for long.
    pub(super) fn note(&mut self, now: Instant, limit: Option<Duration>, attempt: &mut Attempt) -> bool {
        let has_waited = self.request.class() == Class::Blocking && self.note_server(now, limit, attempt);
        if let Err(error) = &mut attempt.outcome {
            self.may_have_run |= error.delivery() == Delivery::Unknown;
            if self.may_have_run {
                error.set_unknown();
            }
        }
        has_waited
    }

    /// Notes whether the server of `attempt` was there, and could run it.
    fn note_server(&mut self, now: Instant, limit: Option<Duration>, attempt: &mut Attempt) -> bool {
        let (last, without_server) = match &attempt.outcome {
            Err(RequestError::NoConnection { after, .. } | RequestError::NotLent { after, .. }) => {
                (Last::NoServer, *after)
            }
            Err(_) => (Last::NoServer, Duration::ZERO),
            Ok(replies) => {
                let Some(refusal) = replies.iter().find(|reply| is_refusal(reply)) else { return false };
                let is_between = ["ASK", "TRYAGAIN"].iter().any(|code| has_code(refusal, code));
                self.without_keys = attempt.node.filter(|_| is_between);
                let is_redirect = is_between || has_code(refusal, "MOVED");
                (if is_redirect { Last::Redirected } else { Last::Refused }, Duration::ZERO)
            }
        };
        let rest = now.saturating_duration_since(attempt.sent_at).saturating_sub(without_server);
        let limit = limit.unwrap_or(LONG);
        // A wait for a connection ends by then, and a refusal comes sooner. So it has waited at its server.
        let has_waited = rest >= if last == Last::NoServer { limit } else { limit.max(LONG) };
        if has_waited {
            // Redirects between long waits are no circle.
            attempt.trail = Trail::default();
        }
        let before = self.outage.filter(|outage| !has_waited && outage.last != Last::Redirected);
        self.outage = match last {
            // Without an outage a redirect begins none.
            Last::Redirected => self.outage.filter(|_| !has_waited).map(|outage| Outage { last, ..outage }),
            Last::Refused => {
                let no_server_since = before.and_then(|outage| outage.no_server_since);
                Some(Outage { since: before.map_or(now, |outage| outage.since), no_server_since, last })
            }
            Last::NoServer => {
                self.without_keys = None;
                let began_at = match has_waited {
                    true => now.checked_sub(without_server).unwrap_or(now),
                    false => attempt.sent_at,
                };
                let goes_on = before.filter(|outage| outage.last == Last::NoServer);
                let no_server_since = goes_on.and_then(|outage| outage.no_server_since).or(Some(began_at));
                let since = before.map_or(began_at, |outage| outage.since);
                Some(Outage { since, no_server_since, last })
            }
        };
        has_waited
    }

    /// Whether it waits at its server, and the last one was away.
    pub(super) fn has_no_server(&self) -> bool {
        self.outage.is_some_and(|outage| outage.last == Last::NoServer)
    }

    /// Another node has its slot `now` than the one that was away.
    pub(super) fn note_led_elsewhere(&mut self, now: Instant) {
        if let Some(outage) = &mut self.outage {
            (outage.no_server_since, outage.last) = (Some(now), Last::Redirected);
        }
    }

    /// What was refused of it, by its replies.
    pub(super) fn refused(&self, replies: &[Frame]) -> Refused {
        let Some(first) = replies.iter().find(|reply| is_refusal(reply)).and_then(ServerError::from_frame)
        else {
            return Refused::Nothing;
        };
        if self.request.class() == Class::Atomic {
            return if self.is_discarded(replies) { Refused::All(first) } else { Refused::Nothing };
        }
        if replies.len() == 1 {
            return Refused::All(first);
        }
        let mut groups: Vec<Group> = Vec::new();
        let mut by_slot: BTreeMap<Option<u16>, usize> = BTreeMap::new();
        for (slot, place) in self.again(&plan::steps(&self.request), replies) {
            let at = *by_slot.entry(slot).or_insert(groups.len());
            match groups.get_mut(at) {
                Some(group) => group.places.push(place),
                None => groups.push(Group { slot, places: vec![place] }),
            }
        }
        match &groups[..] {
            [] => Refused::Nothing,
            [group] if group.places.len() == replies.len() => Refused::All(first),
            _ => Refused::Some(groups),
        }
    }

    /// Whether nothing of a batch has run. What is refused while it is queued ends in an error of EXEC; without MULTI each command runs by itself.
    fn is_discarded(&self, replies: &[Frame]) -> bool {
        let [multi, commands @ .., exec] = replies else { return false };
        let was_queued = !multi.is_error();
        let did_not_run = |reply| self.did_not_run(self.slot, self.request.has_script, reply);
        exec.is_error() && (was_queued || commands.iter().all(did_not_run))
    }

    /// Whether `reply` says that its command, which is for `slot`, did not run. That of a script may begin with the same code, after it has written.
    fn did_not_run(&self, slot: Option<u16>, is_script: bool, reply: &Frame) -> bool {
        is_refusal(reply) && (!is_script || is_refusal_of_server(reply, slot.or(self.slot)))
    }

    /// The places of the commands that are sent again, each with its slot. A refusal is the reply itself where a later command of its slot has
    /// run: what is sent again runs behind that. MOVED and ASK are about keys that are gone from the node, and so were those of later commands; what
    /// the node has read of them nevertheless, it has read of a copy, and that is read again. Reads undo nothing.
    fn again(&self, steps: &[Step], replies: &[Frame]) -> Vec<(Option<u16>, usize)> {
        let is_refused: Vec<bool> = steps
            .iter()
            .zip(replies)
            .map(|(step, reply)| {
                let is_script =
                    self.request.has_script && self.command(step).is_some_and(|command| is_script(&command));
                self.did_not_run(step.slot, is_script, reply)
            })
            .collect();
        let mut first_moved = BTreeMap::new();
        for (place, (step, reply)) in steps.iter().zip(replies).enumerate() {
            if is_refused.get(place) == Some(&true) && has_code(reply, "MOVED") {
                first_moved.entry(step.slot).or_insert(place);
            }
        }
        let is_behind =
            |step: &Step, place: usize| first_moved.get(&step.slot).is_some_and(|first| *first < place);
        let (mut again, mut has_run) = (Vec::new(), BTreeSet::new());
        for (place, (step, reply)) in steps.iter().zip(replies).enumerate().rev() {
            let is_again = if is_refused.get(place) == Some(&true) {
                let is_elsewhere = has_code(reply, "MOVED") || has_code(reply, "ASK");
                self.request.is_at_replica() || is_elsewhere || !has_run.contains(&step.slot)
            } else {
                is_behind(step, place) && self.command(step).is_some_and(|command| may_read_copy(&command))
            };
            if is_again {
                again.push((step.slot, place));
            } else if is_refused.get(place) != Some(&true) {
                has_run.insert(step.slot);
            }
        }
        again.reverse();
        again
    }

    /// The words of one of its commands.
    fn command(&self, step: &Step) -> Option<Packed<'_>> {
        let bytes = self.request.payload().get(step.bytes.clone())?;
        Commands::of(bytes).next().map(|(_, command)| command)
    }

    /// Whether it would miss what came while it was not under way: `XREAD` with `$`, which may have begun to wait before it was refused.
    pub(super) fn is_from_now(&self) -> bool {
        self.request.class() == Class::Blocking
            && self.request.blocker().is_some_and(|blocker| blocker.is_from_now)
    }

    /// The request as it is sent to `node` at `now`: one that waits at its server does so there for what is left of its time, or for a moment: it is for a
    /// server to say that there is nothing. `None` if nothing is left and this node has said last that it does not have the keys.
    pub(super) fn request_at(&self, now: Instant, node: NodeId) -> Option<Request> {
        let blocker = (self.request.class() == Class::Blocking).then(|| self.request.blocker()).flatten();
        let Some(Blocking::For(time)) = blocker.and_then(|blocker| blocker.time) else {
            return Some(self.request.clone());
        };
        let least = if self.without_keys == Some(node) { Duration::ZERO } else { LEAST_TIME.min(time) };
        match time.saturating_sub(now.saturating_duration_since(self.since)).max(least) {
            left if left == time => Some(self.request.clone()),
            Duration::ZERO => None,
            left => self.request.waiting_for(left),
        }
    }

    /// The commands of each group, in their order, with their places.
    pub(super) fn parts(&self, groups: Vec<Group>) -> Vec<(Vec<usize>, Self)> {
        let steps = plan::steps(&self.request);
        let part = |Group { slot, places }: Group| {
            let request = self.request.of_steps(places.iter().filter_map(|place| steps.get(*place)))?;
            // A slot that the caller has named is that of all its commands.
            let slot = self.request.named_slot().or(slot);
            Some((places, Self { request, slot, share: None, ..*self }))
        };
        groups.into_iter().filter_map(part).collect()
    }

    /// The same request with ASKING in front of each command: one write, on one connection.
    pub(super) fn asking(&self) -> Request {
        let (asking, payload) = (cmd("ASKING").into_bytes(), self.request.payload());
        let mut steps = plan::steps(&self.request);
        if steps.is_empty() {
            steps.push(Step { bytes: 0..payload.len(), slot: None });
        }
        let mut both = BytesMut::with_capacity(payload.len() + asking.len() * steps.len());
        for step in &steps {
            both.extend_from_slice(&asking);
            both.extend_from_slice(payload.get(step.bytes.clone()).unwrap_or_default());
        }
        let replies = self.request.replies().saturating_mul(TWO);
        Request { payload: both.freeze(), replies, ..self.request.clone() }
    }

    /// Whether it may be sent again although it may have run.
    pub(super) fn may_run_twice(&self) -> bool {
        self.request.replay == Replay::Idempotent && self.request.class() == Class::Shared
    }

    /// What the machine has to know of it.
    pub(super) fn sent(&self, attempt: &Attempt, deadline: Option<Instant>) -> Sent {
        let kind = match self.request.class() {
            // ASKING cannot go ahead of it on the connection that it waits for.
            Class::Atomic | Class::Blocking => SentKind::Atomic,
            Class::Shared | Class::Leased if self.request.is_at_replica() => SentKind::Read,
            Class::Shared | Class::Leased if self.request.has_script => SentKind::Script,
            Class::Shared | Class::Leased => SentKind::Command,
        };
        let Attempt { node, sent_at, asking, trail, .. } = *attempt;
        Sent { node, slot: self.slot, sent_at, asking, deadline, kind, trail }
    }
}

fn has_code(reply: &Frame, code: &str) -> bool {
    ServerError::from_frame(reply).is_some_and(|error| error.code() == code)
}

const TWO: NonZeroU32 = NonZeroU32::MIN.saturating_add(1);

/// The replies without those to ASKING, which stand in front of them. Where ASKING was refused, that is why its command was refused as well.
pub(super) fn without_asking(replies: Replies) -> Replies {
    let mut replies = replies.into_iter();
    let pair = || {
        let (asking, reply) = (replies.next()?, replies.next()?);
        let is_cause = asking.is_error() && !is_refusal(&asking) && is_refusal(&reply);
        Some(if is_cause { asking } else { reply })
    };
    std::iter::from_fn(pair).collect()
}

impl Request {
    /// Whether a replica is to run it.
    pub(super) fn is_at_replica(&self) -> bool {
        self.vetting == Vetting::AtReplica
    }

    /// Notes whether a replica is to run it, which only [reads](crate::cluster::only_reads) then.
    pub(super) fn set_at_replica(&mut self, at_replica: bool) {
        self.vetting = match self.vetting {
            Vetting::Unchecked => Vetting::Unchecked,
            Vetting::Checked | Vetting::AtReplica if at_replica => Vetting::AtReplica,
            Vetting::Checked | Vetting::AtReplica => Vetting::Checked,
        };
    }

    /// Some of its commands, as a request of their own. `None` for no command.
    pub(super) fn of_steps<'a>(&self, steps: impl Iterator<Item = &'a Step> + Clone) -> Option<Self> {
        let replies = u32::try_from(steps.clone().count()).ok().and_then(NonZeroU32::new)?;
        let mut ranges = steps.map(|step| step.bytes.clone());
        let first = ranges.next()?;
        let payload = match ranges.next() {
            None => self.payload.slice(first),
            Some(second) => {
                let mut payload = BytesMut::new();
                for bytes in [first, second].into_iter().chain(ranges) {
                    payload.extend_from_slice(self.payload.get(bytes).unwrap_or_default());
                }
                payload.freeze()
            }
        };
        let has_script = self.has_script && Commands::of(&payload).any(|(_, command)| is_script(&command));
        Some(Self { payload, replies, has_script, ..self.clone() })
    }
}

#[cfg(test)]
mod tests {
    use resp3_codec::Command;

    use super::*;
    use crate::cluster::key_slot;
    use crate::request::Pipeline;
    use crate::timer::epoch;

    const MOVED: &str = "MOVED 1 10.0.0.1:7000";

    fn unit(pipeline: Pipeline) -> Unit {
        let request = pipeline.into_request().unwrap().unwrap();
        Unit::new(request, None, epoch())
    }

    fn set(key: &str, value: u32) -> Command {
        cmd("SET").arg(key).arg(value)
    }

    fn bytes(commands: &[Command]) -> Vec<u8> {
        commands.iter().flat_map(|command| command.clone().into_bytes().to_vec()).collect()
    }

    /// What was lost at one node may have run there, whatever the next one says. RULE-382
    #[test]
    fn what_may_have_run_once_may_have_run() {
        use crate::error::CloseCause;

        let mut unit = unit(Pipeline::from([set("a", 1)]));
        let mut delivery = |outcome: Outcome| {
            let trail = Trail::default();
            let mut attempt =
                Attempt { node: None, sent_at: epoch(), asking: false, trail, is_accepted: true, outcome };
            unit.note(epoch(), None, &mut attempt);
            attempt.outcome.unwrap_err().delivery()
        };
        let not_served = || Err(RequestError::NotServed { slot: None, delivery: Delivery::NotSent });
        assert_eq!(delivery(not_served()), Delivery::NotSent);
        let (cause, lost) = (CloseCause::ByServer, Delivery::Unknown);
        assert_eq!(delivery(Err(RequestError::ConnectionLost { cause, delivery: lost })), lost);
        assert_eq!(delivery(not_served()), Delivery::Unknown);
        let timed_out = RequestError::TimedOut { after: Duration::ZERO, delivery: Delivery::NotSent };
        assert_eq!(delivery(Err(timed_out)), Delivery::Unknown);
    }

    /// Its caller has said how long it waits, and not how long it waits at each node. RULE-385
    #[test]
    fn a_command_that_waits_does_so_for_what_is_left() {
        let command = |time: &str| cmd("BLPOP").arg("a").arg(time);
        let (began_at, request) = (epoch(), Request::command(command("5")).unwrap());
        let mut unit = Unit::new(request, None, began_at);
        let [node, other] = [0, 1].map(|place| NodeId::from_parts(place, 0));
        let after =
            |unit: &Unit, seconds: u64| unit.request_at(began_at + Duration::from_secs(seconds), node);
        assert_eq!(after(&unit, 0).unwrap().payload()[..], bytes(&[command("5")]));
        assert_eq!(after(&unit, 4).unwrap().payload()[..], bytes(&[command("1.000")]));
        // It is for a server to say that there is nothing; one that is without the keys has said it.
        for (code, is_asked) in [(MOVED, true), ("CLUSTERDOWN", true), ("ASK 1 10.0.0.1:1", false)] {
            let (trail, outcome) = (Trail::default(), Ok([Frame::error(code)].into_iter().collect()));
            let mut attempt = Attempt {
                node: Some(node),
                sent_at: began_at,
                asking: false,
                trail,
                is_accepted: true,
                outcome,
            };
            unit.note(began_at, None, &mut attempt);
            let last = after(&unit, 5).map(|request| request.payload().to_vec());
            assert_eq!(last, is_asked.then(|| bytes(&[command("0.001")])), "{code}");
        }
        assert!(
            unit.request_at(began_at + Duration::from_secs(5), other).is_some(),
            "another one may have them"
        );
        let unit = Unit::new(Request::command(command("0")).unwrap(), None, began_at);
        let later = unit.request_at(began_at + Duration::from_secs(100), node).unwrap();
        assert_eq!(later.payload()[..], bytes(&[command("0")]));
    }

    /// While no server is there, a command waits for the limit, or for the caller's timeout if that is sooner. A redirect ends that.
    /// RULE-439
    #[test]
    fn a_command_that_waits_has_a_deadline_while_no_server_is_there() {
        let (limit, began_at) = (Duration::from_secs(5), epoch());
        let limits = Limits { no_server: Some(limit), refused: Some(2 * limit) };
        let at = |seconds: u64| began_at + Duration::from_secs(seconds);
        let refused = |text: &'static str| Ok([Frame::error(text)].into_iter().collect());
        let gone = || Err(RequestError::NotServed { slot: None, delivery: Delivery::NotSent });
        let none = None::<u64>;
        for (explicit, attempts, deadline, expected) in [
            (None, vec![(0, 1, gone())], none, Some(5)),
            (None, vec![(0, 1, gone())], Some(3), Some(5)),
            (Some(3), vec![(0, 1, gone())], Some(3), Some(3)),
            (Some(60), vec![(0, 1, gone())], Some(60), Some(5)),
            (Some(60), vec![(0, 1, gone()), (5, 6, refused(MOVED))], Some(60), Some(60)),
            (None, vec![(0, 1, gone()), (5, 6, refused(MOVED))], Some(3), Some(5)),
            (None, vec![(0, 1, gone()), (5, 6, refused(MOVED))], none, None),
            // It has waited for a minute, and the outage begins now.
            (None, vec![(0, 60, refused("CLUSTERDOWN The cluster is down"))], none, Some(70)),
            // A server that refuses is there: the command has all of its own time.
            (None, vec![(0, 2, refused("LOADING"))], Some(60), Some(60)),
            (Some(60), vec![(0, 2, refused("LOADING"))], Some(60), Some(60)),
            (Some(9), vec![(0, 2, refused("LOADING"))], Some(9), Some(9)),
            // An outage begins where the server was there before.
            (None, vec![(0, 2, refused("LOADING")), (2, 4, gone())], none, Some(7)),
            (None, vec![(0, 2, refused("LOADING")), (20, 21, gone())], Some(63), Some(25)),
            (None, vec![(0, 1, gone()), (1, 2, gone()), (2, 3, refused("LOADING"))], none, Some(10)),
            (None, vec![(0, 1, gone()), (1, 60, refused(MOVED))], none, None),
            (None, vec![(0, 1, gone()), (1, 60, gone())], none, Some(65)),
            (None, vec![(0, 2, refused("LOADING")), (2, 4, refused("LOADING"))], none, Some(12)),
        ] {
            let mut request = Request::command(cmd("BLPOP").arg("a").arg(0)).unwrap();
            if let Some(seconds) = explicit {
                request = request.timeout(Duration::from_secs(seconds));
            }
            let mut unit = Unit::new(request, None, began_at);
            for (sent_at, ended_at, outcome) in attempts {
                let trail = Trail::default();
                let mut attempt = Attempt {
                    node: None,
                    sent_at: at(sent_at),
                    asking: false,
                    trail,
                    is_accepted: true,
                    outcome,
                };
                unit.note(at(ended_at), Some(limit), &mut attempt);
            }
            assert_eq!(unit.deadline(deadline.map(at), limits), expected.map(at), "{unit:?}");
        }
    }

    /// A dial that hangs uses up the whole limit, and another node has the slot meanwhile: that one has a limit of its own. RULE-439
    #[test]
    fn a_command_that_waits_has_time_where_its_slot_has_gone() {
        let request = Request::command(cmd("BLPOP").arg("a").arg(1)).unwrap();
        let (began_at, limit) = (epoch(), Some(Duration::from_secs(5)));
        let mut unit = Unit::new(request, None, began_at);
        let (trail, delivery, now) = (Trail::default(), Delivery::NotSent, began_at + Duration::from_secs(5));
        let outcome = Err(RequestError::NotServed { slot: None, delivery });
        let mut attempt =
            Attempt { node: None, sent_at: began_at, asking: false, trail, is_accepted: true, outcome };
        unit.note(now, Some(Duration::from_secs(6)), &mut attempt);
        let deadline =
            |unit: &Unit| unit.deadline(Some(began_at), Limits { no_server: limit, refused: limit });
        assert!(unit.has_no_server());
        assert_eq!(deadline(&unit), Some(now));
        unit.note_led_elsewhere(now);
        assert_eq!(deadline(&unit), Some(now + Duration::from_secs(5)));
    }

    /// What was refused of a pipeline is sent again slot by slot, in the order of the commands; the rest has run. RULE-364
    #[test]
    fn refused_commands_stay_together_by_slot() {
        let commands = [set("a", 1), set("b", 2), set("{a}2", 3), set("b", 4)];
        let unit = unit(Pipeline::from(commands.clone()));
        let (moved, ok) = (Frame::error(MOVED), Frame::simple("OK"));
        assert_eq!(unit.refused(&[ok.clone(), ok.clone(), ok.clone(), ok.clone()]), Refused::Nothing);

        let Refused::Some(groups) = unit.refused(&[moved.clone(), ok, moved.clone(), moved]) else {
            panic!("one of them has run")
        };
        let places: Vec<_> = groups.iter().map(|group| &group.places[..]).collect();
        assert_eq!(places, [&[0, 2][..], &[3]]);
        let (_, part) = unit.parts(groups).swap_remove(0);
        let [first, _, third, _] = commands;
        assert_eq!(
            (&part.request.payload()[..], part.slot),
            (&bytes(&[first, third])[..], Some(key_slot(b"a")))
        );
        assert_eq!(part.request.replies().get(), 2);
    }

    /// A command that is sent again runs behind a later one of its slot that has run. RULE-386
    #[test]
    fn no_command_is_overtaken_by_a_later_one_of_its_slot() {
        let unit = unit(Pipeline::from([set("a", 1), set("b", 2), set("{a}2", 3)]));
        let (busy, ok) = (Frame::error("TRYAGAIN"), Frame::simple("OK"));
        let places = |replies: [&Frame; 3]| match unit.refused(&replies.map(Frame::clone)) {
            Refused::Some(groups) => groups.into_iter().flat_map(|group| group.places).collect(),
            Refused::All(_) => vec![0, 1, 2],
            Refused::Nothing => Vec::new(),
        };
        assert_eq!(places([&busy, &ok, &ok]), [0; 0], "the third would be undone");
        assert_eq!(places([&busy, &ok, &busy]), [0, 2]);
        assert_eq!(places([&ok, &busy, &ok]), [1], "the third has another slot");
        assert_eq!(places([&Frame::error("ASK 1 10.0.0.1:1"), &ok, &ok]), [0], "its key is not the third's");
    }

    /// RULE-364
    #[test]
    fn one_slot_that_was_refused_is_sent_again_as_a_whole() {
        let pair = unit(Pipeline::from([set("a", 1), set("{a}2", 2)]));
        let refused = pair.refused(&[Frame::error(MOVED), Frame::error(MOVED)]);
        assert!(matches!(refused, Refused::All(error) if error.code() == "MOVED"));
        let single = unit(Pipeline::from([set("a", 1)]));
        assert!(matches!(single.refused(&[Frame::error("TRYAGAIN later")]), Refused::All(_)));
        assert_eq!(single.refused(&[Frame::error("WRONGTYPE no")]), Refused::Nothing);
    }

    /// Of a batch everything has run, or nothing: a refusal while queueing ends it, and one inside of EXEC's reply is that of a
    /// command. RULE-365
    #[test]
    fn a_batch_is_refused_as_a_whole() {
        let batch = unit(Pipeline::atomic().command(set("a", 1)));
        let (multi, moved) = (Frame::simple("OK"), Frame::error(MOVED));
        let aborted = Frame::error("EXECABORT Transaction discarded because of previous errors.");
        let refused = batch.refused(&[multi.clone(), moved.clone(), aborted]);
        assert!(matches!(refused, Refused::All(error) if error.code() == "MOVED"));
        let queued = Frame::simple("QUEUED");
        let at_exec = batch.refused(&[multi.clone(), queued.clone(), moved.clone()]);
        assert!(matches!(at_exec, Refused::All(_)));
        let ran = Frame::Array(vec![moved.clone()]);
        assert_eq!(batch.refused(&[multi.clone(), queued, ran.clone()]), Refused::Nothing);
        // What no server does: it refuses a command, and EXEC runs all the same.
        assert_eq!(batch.refused(&[multi, moved, ran]), Refused::Nothing);
    }

    /// Without MULTI each command of a batch has run by itself, whatever EXEC says: only if none of them has, the whole is sent again. RULE-228
    #[test]
    fn a_batch_without_multi_is_sent_again_only_if_nothing_has_run() {
        let batch = unit(Pipeline::atomic().command(set("a", 1)).command(set("a", 2)));
        let (refused, exec) = (Frame::error("NOPERM no MULTI"), Frame::error("ERR EXEC without MULTI"));
        let (ask, ok) = (Frame::error("ASK 1 10.0.0.1:7000"), Frame::simple("OK"));
        let outcome = |first: &Frame, second: &Frame| {
            batch.refused(&[refused.clone(), first.clone(), second.clone(), exec.clone()])
        };
        assert_eq!(outcome(&ok, &ask), Refused::Nothing);
        assert_eq!(outcome(&ask, &ok), Refused::Nothing);
        assert_eq!(outcome(&ok, &ok), Refused::Nothing);
        assert!(matches!(outcome(&ask, &ask), Refused::All(_)));
    }

    /// A script may answer like a server, after it has written. RULE-231
    #[test]
    fn what_a_script_says_in_a_pipeline_is_its_reply() {
        let script = cmd("EVAL").arg("...").arg(1).arg("a");
        let pipeline = unit(Pipeline::from([set("a", 1), script]));
        let ask = Frame::error(format!("ASK {} 10.0.0.1:7000", key_slot(b"a")));
        let of_script = Frame::error("TRYAGAIN the job is busy");
        let places = |replies: [&Frame; 2]| match pipeline.refused(&replies.map(Frame::clone)) {
            Refused::Some(groups) => groups.into_iter().flat_map(|group| group.places).collect(),
            Refused::All(_) => vec![0, 1],
            Refused::Nothing => Vec::new(),
        };
        assert_eq!(places([&ask, &of_script]), [0]);
        assert_eq!(places([&ask, &ask]), [0, 1]);
        assert_eq!(places([&Frame::simple("OK"), &of_script]), [0; 0]);
        let loading = Frame::error("LOADING Redis is loading");
        assert_eq!(places([&loading, &of_script]), [0; 0], "the script has run behind it");
        let other = unit(Pipeline::from([set("b", 1), cmd("EVAL").arg("...").arg(1).arg("a")]));
        let Refused::Some(groups) = other.refused(&[loading, of_script]) else { panic!("it is no script's") };
        let (_, part) = other.parts(groups).swap_remove(0);
        assert!(!part.request.has_script);
    }

    /// RULE-232
    #[test]
    fn a_read_from_now_on_is_not_sent_again() {
        let is_from_now =
            |command: Command| Unit::new(Request::command(command).unwrap(), None, epoch()).is_from_now();
        let read = |after: &str| cmd("XREAD").args(["BLOCK", "0", "STREAMS", "s", after]);
        assert!(is_from_now(read("$")) && !is_from_now(read("0-0")));
        assert!(!is_from_now(cmd("XREAD").args(["STREAMS", "s", "$"])), "it does not wait");
        assert!(!is_from_now(cmd("BLPOP").args(["$", "0"])));
    }

    /// Whoever may not say ASKING is told so, and not only that the key is elsewhere. RULE-233
    #[test]
    fn a_refused_asking_is_the_reply() {
        let (denied, ask, value) =
            (Frame::error("NOPERM no ASKING"), Frame::error("ASK 1 10.0.0.1:1"), Frame::Integer(1));
        let replies = [&denied, &ask, &Frame::simple("OK"), &value, &denied, &value].map(Frame::clone);
        assert_eq!(without_asking(replies.into_iter().collect())[..], [denied, value.clone(), value]);
    }

    /// ASKING counts for the next command alone, so that it goes ahead of each, in the same write. RULE-364
    #[test]
    fn asking_goes_ahead_of_each_command() {
        let commands = [set("a", 1), set("a", 2)];
        let request = unit(Pipeline::from(commands.clone())).asking();
        let [first, second] = commands;
        assert_eq!(request.payload()[..], bytes(&[cmd("ASKING"), first, cmd("ASKING"), second]));
        assert_eq!(request.replies().get(), 4);
        let replies = [1, 2, 3, 4].map(Frame::Integer);
        let left = without_asking(replies.into_iter().collect());
        assert_eq!(left[..], [Frame::Integer(2), Frame::Integer(4)]);
    }
}
