//! A request that goes to one node as a whole, and what can be made of it on its way.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use resp3_codec::{Frame, cmd};

use super::plan::{self, Step};
use crate::cluster::{Sent, SentKind, Trail, is_refusal, is_refusal_of_server};
use crate::command_table::{Blocking, is_script, may_read_copy};
use crate::error::{Delivery, RequestError, ServerError};
use crate::ids::NodeId;
use crate::request::{Class, Commands, Outcome, Packed, Replay, Replies, Request, Timeout, Vetting};
use crate::timer::after;

/// One request for one node.
#[derive(Clone, Debug)]
pub(super) struct Unit {
    pub(super) request: Request,
    pub(super) slot: Option<u16>,
    /// When its time began.
    pub(super) since: Instant,
    /// Of a command for all shards, the node whose part this is, and those of all parts.
    each: Option<(NodeId, Arc<[NodeId]>)>,
    /// A node that it was sent to may have run it, and has not said so.
    may_have_run: bool,
    /// Set while a command that waits, such as BLPOP, finds no server that can run it.
    away: Option<Away>,
}

/// A time without a server.
#[derive(Clone, Copy, Debug)]
struct Away {
    since: Instant,
    /// False if the last attempt was redirected, so that a server was there.
    goes_on: bool,
}

/// How long a command waits at a server that comes back when the caller's time is over.
const LEAST_TIME: Duration = Duration::from_millis(1);

/// How one attempt to have a node run it has ended.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) node: Option<NodeId>,
    pub(super) sent_at: Instant,
    pub(super) asking: bool,
    pub(super) trail: Trail,
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
        Self { request, slot, since, each: None, may_have_run: false, away: None }
    }

    /// The part of `node`, or of whoever serves its slot, of a command for `each` of these nodes.
    pub(super) fn of_each(self, node: NodeId, each: Arc<[NodeId]>) -> Self {
        Self { each: Some((node, each)), ..self }
    }

    /// Whether it is a part of a command of which `node` has another part.
    pub(super) fn is_apart_from(&self, node: NodeId) -> bool {
        self.each.as_ref().is_some_and(|(own, each)| node != *own && each.contains(&node))
    }

    /// When it fails. `deadline` is the time of a command that a server has. While no server is there, it fails `limit` after the last one was. A redirect
    /// shows that the cluster is back: the later of the two counts then, and a timeout of the caller's counts as it is.
    pub(super) fn deadline(&self, deadline: Option<Instant>, limit: Option<Duration>) -> Option<Instant> {
        let Some((Away { since, goes_on }, limit)) = self.away.zip(limit) else { return deadline };
        let limit = after(since, limit);
        match (deadline, self.request.timeout) {
            (Some(deadline), Timeout::Explicit(_)) if goes_on => Some(deadline.min(limit)),
            (Some(deadline), Timeout::Configured) if !goes_on => Some(deadline.max(limit)),
            (deadline, _) if !goes_on => deadline,
            _ => Some(limit),
        }
    }

    /// How long it has had no server at `now`; `None` if it has one.
    pub(super) fn away_for(&self, now: Instant) -> Option<Duration> {
        self.away.map(|away| now.saturating_duration_since(away.since))
    }

    /// `attempt` has ended `now`; waiting for a connection takes `limit` at most. An error says of all attempts so far whether it may have run.
    pub(super) fn note(&mut self, now: Instant, limit: Option<Duration>, attempt: &mut Attempt) {
        if self.request.class() == Class::Blocking {
            self.note_server(now, limit, attempt);
        }
        let Err(error) = &mut attempt.outcome else { return };
        self.may_have_run |= error.delivery() == Delivery::Unknown;
        if self.may_have_run {
            error.set_unknown();
        }
    }

    /// Notes whether the server of `attempt` was there.
    fn note_server(&mut self, now: Instant, limit: Option<Duration>, attempt: &Attempt) {
        let without_server = match &attempt.outcome {
            Err(RequestError::NoConnection { after, .. } | RequestError::NotLent { after, .. }) => *after,
            _ => Duration::ZERO,
        };
        let rest = now.saturating_duration_since(attempt.sent_at).saturating_sub(without_server);
        // A wait for a connection ends by then, and a refusal comes sooner. So the command has waited at its server.
        let has_waited = limit.is_some_and(|limit| rest >= limit);
        if has_waited {
            self.away = None;
        }
        let has = |is: &dyn Fn(&Frame) -> bool| {
            attempt.outcome.as_ref().is_ok_and(|replies| replies.iter().any(is))
        };
        let leads_elsewhere =
            |reply: &Frame| ["MOVED", "ASK", "TRYAGAIN"].iter().any(|code| has_code(reply, code));
        let is_unable = |reply: &Frame| is_refusal(reply) && !leads_elsewhere(reply);
        match &mut self.away {
            Some(away) => away.goes_on = !has(&leads_elsewhere),
            None if attempt.outcome.is_err() || has(&is_unable) => {
                let since = match &attempt.outcome {
                    Ok(_) => now,
                    Err(_) if has_waited => now.checked_sub(without_server).unwrap_or(now),
                    Err(_) => attempt.sent_at,
                };
                self.away = Some(Away { since, goes_on: true });
            }
            None => {}
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

    /// The request as it is sent at `now`: one that waits at its server does so there for what is left of its time. `None` if nothing is left. One that has
    /// not found a server for a while always has a moment left: it is for a server to say that there is nothing.
    pub(super) fn request_at(&self, now: Instant) -> Option<Request> {
        let blocker = (self.request.class() == Class::Blocking).then(|| self.request.blocker()).flatten();
        let Some(Blocking::For(time)) = blocker.and_then(|blocker| blocker.time) else {
            return Some(self.request.clone());
        };
        let least = self.away.map_or(Duration::ZERO, |_| LEAST_TIME.min(time));
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
            Some((places, Self { request, slot, each: None, ..*self }))
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
            let mut attempt = Attempt { node: None, sent_at: epoch(), asking: false, trail, outcome };
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
        let unit = Unit::new(request, None, began_at);
        let after = |seconds: u64| unit.request_at(began_at + Duration::from_secs(seconds));
        assert_eq!(after(0).unwrap().payload()[..], bytes(&[command("5")]));
        assert_eq!(after(4).unwrap().payload()[..], bytes(&[command("1.000")]));
        assert!(after(5).is_none());
        let unit = Unit::new(Request::command(command("0")).unwrap(), None, began_at);
        let later = unit.request_at(began_at + Duration::from_secs(100)).unwrap();
        assert_eq!(later.payload()[..], bytes(&[command("0")]));
    }

    /// While no server is there, a command waits for the limit, or for the caller's timeout if that is sooner. A redirect ends that.
    /// RULE-439
    #[test]
    fn a_command_that_waits_has_a_deadline_while_no_server_is_there() {
        let (limit, began_at) = (Duration::from_secs(5), epoch());
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
            (None, vec![(0, 60, refused("CLUSTERDOWN The cluster is down"))], none, Some(65)),
            (None, vec![(0, 1, gone()), (1, 60, refused(MOVED))], none, None),
            (None, vec![(0, 1, gone()), (1, 60, gone())], none, Some(65)),
            // What refuses slowly is no server that has it.
            (None, vec![(0, 2, refused("LOADING")), (2, 4, refused("LOADING"))], none, Some(7)),
        ] {
            let mut request = Request::command(cmd("BLPOP").arg("a").arg(0)).unwrap();
            if let Some(seconds) = explicit {
                request = request.timeout(Duration::from_secs(seconds));
            }
            let mut unit = Unit::new(request, None, began_at);
            for (sent_at, ended_at, outcome) in attempts {
                let trail = Trail::default();
                let mut attempt = Attempt { node: None, sent_at: at(sent_at), asking: false, trail, outcome };
                unit.note(at(ended_at), Some(limit), &mut attempt);
            }
            assert_eq!(unit.deadline(deadline.map(at), Some(limit)), expected.map(at), "{unit:?}");
        }
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
