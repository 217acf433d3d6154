//! The way of a request that the first node did not run: from node to node, until one has run it or its time is over.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use resp3_codec::Frame;

use super::super::error::Error;
use super::super::handle::Client;
use super::super::reply::Reply;
use super::super::room;
use super::super::traits::Runtime;
use super::join::join_all;
use super::routes::Place;
use super::shared::Shared;
use super::shares::MayRun;
use super::unit::{Attempt, Group, Refused, Unit, without_asking};
use crate::cluster::{Next, Trail};
use crate::config::Protocol;
use crate::error::{Delivery, RequestError, ServerError};
use crate::ids::NodeId;
use crate::request::{Class, Outcome, Replay, Replies, Request, SendError, Timeout};
use crate::timer;

/// A future on the heap: few requests need one.
pub(super) type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// The pause before it is looked again whether a node has all slots that a command is about.
const GATHERING: Duration = Duration::from_millis(50);

/// For how long that is done.
const LONGEST_GATHERING: Duration = Duration::from_secs(5);

/// Where a unit is sent next.
enum Step<R: Runtime> {
    To { node: NodeId, asking: bool },
    At(Option<Place<R>>),
}

impl<R: Runtime> Step<R> {
    fn node(&self) -> Option<NodeId> {
        match self {
            Self::To { node, .. } => Some(*node),
            Self::At(place) => place.as_ref().map(|(node, _)| *node),
        }
    }
}

/// Sends `unit` for the first time, and follows it.
pub(super) fn begin<R: Runtime>(shared: Arc<Shared<R>>, mut unit: Unit) -> Boxed<Outcome> {
    Box::pin(async move {
        let place = shared.find_first(&mut unit.request, unit.slot);
        let attempt = send(&shared, &unit, Step::At(place), Trail::default()).await;
        go_on(shared, unit, attempt).await
    })
}

/// Follows a request whose first attempt has ended, and that was handed back, if it was.
pub(super) fn follow<R: Runtime>(
    shared: Arc<Shared<R>>,
    (node, slot): (NodeId, Option<u16>),
    reply: &Reply<R>,
    outcome: Outcome,
) -> Boxed<Outcome> {
    let Some(back) = reply.take_handed_back() else {
        let now = shared.runtime.now();
        return Box::pin(std::future::ready(shared.explain(Some(node), slot, now, outcome)));
    };
    let (since, trail) = (back.accepted_at, Trail::default());
    let unit = Unit::new(*back.request, slot, since);
    let (sent_at, is_accepted) = (since, true);
    let attempt = Attempt { node: Some(node), sent_at, asking: false, trail, is_accepted, outcome };
    go_on(shared, unit, attempt)
}

/// Follows a request that the node's client does not hand back.
pub(super) fn follow_copy<R: Runtime>(
    shared: Arc<Shared<R>>,
    node: NodeId,
    unit: Unit,
    outcome: Outcome,
) -> Boxed<Outcome> {
    let (sent_at, trail) = (unit.since, Trail::default());
    let is_accepted = true;
    go_on(shared, unit, Attempt { node: Some(node), sent_at, asking: false, trail, is_accepted, outcome })
}

/// Follows a request that a node's client has not accepted, and whose time began at `since`.
pub(super) fn refused<R: Runtime>(
    shared: Arc<Shared<R>>,
    (node, slot): (NodeId, Option<u16>),
    since: Instant,
    error: SendError,
) -> Boxed<Outcome> {
    let (request, error) = as_request_error(error);
    let (unit, outcome) = (Unit::new(request, slot, since), Err(error));
    let (sent_at, trail) = (shared.runtime.now(), Trail::default());
    let is_accepted = false;
    go_on(shared, unit, Attempt { node: Some(node), sent_at, asking: false, trail, is_accepted, outcome })
}

/// Has one node run its part of a command for all shards, or whoever serves its slot when it does not. It is on its way at once if there is room.
pub(super) fn at_one<R: Runtime>(
    shared: Arc<Shared<R>>,
    (node, client): Place<R>,
    unit: Unit,
) -> Boxed<Outcome> {
    let sent = client.clone().into_sent(unit.request.clone(), None);
    Box::pin(async move {
        let (sent_at, trail) = (unit.since, Trail::default());
        let (is_accepted, outcome) = match sent {
            Ok(reply) => (true, reply.await),
            Err(SendError::Full(request)) => deliver(&client, request, sent_at, Duration::ZERO).await,
            Err(error) => (false, Err(as_request_error(error).1)),
        };
        let attempt = Attempt { node: Some(node), sent_at, asking: false, trail, is_accepted, outcome };
        go_on(shared, unit, attempt).await
    })
}

/// Follows `unit`, whose last attempt is over.
fn go_on<R: Runtime>(shared: Arc<Shared<R>>, mut unit: Unit, mut attempt: Attempt) -> Boxed<Outcome> {
    Box::pin(async move {
        let (mut has_waited, mut gathers_until) = (false, None);
        loop {
            has_waited &= !note(&shared, &mut unit, &mut attempt);
            let deadline = shared.deadline(&unit, attempt.node);
            let error = match &attempt.outcome {
                Ok(replies) => match unit.refused(replies) {
                    Refused::Nothing => break,
                    Refused::Some(groups) => return mend(shared, unit, attempt, groups).await,
                    Refused::All(error) => Some(error),
                },
                Err(error) if may_go_on(&shared, &unit, attempt.node, error) => None,
                Err(_) => break,
            };
            let sent = unit.sent(&attempt, deadline);
            // Whatever a replica has not run goes where everything else does.
            unit.request.set_at_replica(false);
            let next = shared.judge(&sent, error.as_ref());
            if unit.is_from_now() && may_have_waited(&attempt) {
                // Whoever sends it again skips what came meanwhile.
                attempt.outcome.as_mut().err().into_iter().for_each(RequestError::set_unknown);
                break;
            }
            let (pause, trail, named) = match next {
                Next::Resend { node, asking, after, trail } => (after, trail, Some((node, asking))),
                Next::Route { after, trail } => (after, trail, None),
                Next::ReturnToCaller => break,
            };
            if !pause.is_zero() {
                // One pause is for the control task, which may be about to put another client in the place of a closed one.
                let is_away = error.is_none() && !shared.waits_for(attempt.node);
                let must_not_wait = is_away && std::mem::replace(&mut has_waited, true);
                if must_not_wait || !has_paused(&shared, pause, deadline).await {
                    break;
                }
            }
            let step = match named {
                Some((node, asking)) => Step::To { node, asking },
                None => Step::At(shared.find(unit.slot)),
            };
            let routes = shared.routes();
            match step.node().map_or(MayRun::Yes, |node| unit.may_run_at(node, routes.table())) {
                _ if !shared.is_open() => break,
                MayRun::Yes => (attempt, gathers_until) = (send(&shared, &unit, step, trail).await, None),
                MayRun::Never => break,
                // More of its slots may be on their way there.
                MayRun::NotYet => {
                    let now = shared.runtime.now();
                    let until = *gathers_until.get_or_insert_with(|| timer::after(now, LONGEST_GATHERING));
                    if until <= now || !has_paused(&shared, GATHERING, deadline).await {
                        break;
                    }
                    attempt.trail = trail;
                }
            }
        }
        told(&shared, &unit, attempt)
    })
}

/// Whether a command that waits may have begun to, and has ended without a reply of its own.
fn may_have_waited(attempt: &Attempt) -> bool {
    match &attempt.outcome {
        // These two end a command that waits; the others come before it begins to.
        Ok(replies) => {
            let code = replies.iter().find_map(ServerError::from_frame);
            code.is_some_and(|error| matches!(error.code(), "MOVED" | "CLUSTERDOWN"))
        }
        // Its node's client was closed under it.
        Err(RequestError::ShutDown { .. }) => attempt.is_accepted,
        Err(_) => false,
    }
}

/// Waits for so long, unless `deadline` comes first. Whether it has waited.
async fn has_paused<R: Runtime>(shared: &Shared<R>, pause: Duration, deadline: Option<Instant>) -> bool {
    let until = timer::after(shared.runtime.now(), pause);
    let is_in_time = deadline.is_none_or(|deadline| until < deadline);
    if is_in_time {
        shared.nap(pause).await;
    }
    is_in_time
}

/// Notes in `unit` how `attempt` has ended. Whether it has waited at its server for long.
fn note<R: Runtime>(shared: &Shared<R>, unit: &mut Unit, attempt: &mut Attempt) -> bool {
    let now = shared.runtime.now();
    let has_waited = unit.note(now, shared.policy.lease_timeout, attempt);
    if unit.has_no_server() && shared.find(unit.slot).is_some_and(|(node, _)| Some(node) != attempt.node) {
        unit.note_led_elsewhere(now);
    }
    has_waited
}

/// What the caller of `unit` is told.
fn told<R: Runtime>(shared: &Shared<R>, unit: &Unit, attempt: Attempt) -> Outcome {
    let mut outcome = shared.explain(attempt.node, unit.slot, unit.since, attempt.outcome);
    if let (Err(RequestError::NoConnection { after, .. }), Some(away)) =
        (&mut outcome, unit.away_for(shared.runtime.now()))
    {
        *after = away;
    }
    outcome
}

/// Whether another node, or this one later, may run what ended in `error`.
fn may_go_on<R: Runtime>(
    shared: &Shared<R>,
    unit: &Unit,
    node: Option<NodeId>,
    error: &RequestError,
) -> bool {
    let is_lost = match error {
        RequestError::NoConnection { .. } => unit.request.is_at_replica() || shared.waits_for(node),
        RequestError::ShutDown { .. }
        | RequestError::ConnectionLost { .. }
        | RequestError::NotServed { .. } => true,
        RequestError::MoveDeadline { .. } | RequestError::TimedOut { .. } | RequestError::NotLent { .. } => {
            false
        }
    };
    let is_unsent = error.delivery() == Delivery::NotSent && unit.request.replay != Replay::Never;
    is_lost && (is_unsent || unit.may_run_twice())
}

/// Has one node run `unit`.
async fn send<R: Runtime>(shared: &Shared<R>, unit: &Unit, step: Step<R>, trail: Trail) -> Attempt {
    let (place, wanted, asking) = match step {
        Step::At(place) => (place, None, false),
        Step::To { node, asking } => {
            let client = shared.client_of(node).await;
            (client.map(|client| (node, client)), Some(node), asking)
        }
    };
    let sent_at = shared.runtime.now();
    let Some((node, client)) = place else {
        let outcome = Err(shared.no_place(unit.slot));
        return Attempt { node: wanted, sent_at, asking, trail, is_accepted: false, outcome };
    };
    let request = if asking { Some(unit.asking()) } else { unit.request_at(sent_at, node) };
    let Some(request) = request else {
        // Its own time is over.
        let nil = match shared.policy.protocol {
            Protocol::Resp2 => Frame::NullArray,
            Protocol::Resp3 => Frame::Null,
        };
        return Attempt {
            node: Some(node),
            sent_at,
            asking,
            trail,
            is_accepted: true,
            outcome: Ok([nil].into_iter().collect()),
        };
    };
    // The configured timeout is added to the time that is left of a command that waits. The caller's own timeout counts from the beginning.
    let is_shortened = request.class() == Class::Blocking && request.timeout == Timeout::Configured;
    let since = if is_shortened { sent_at } else { unit.since };
    let took = sent_at.saturating_duration_since(unit.since);
    let (is_accepted, mut outcome) = deliver(&client, request, since, took).await;
    if let (true, Err(RequestError::TimedOut { after, .. })) = (is_shortened, &mut outcome) {
        *after = after.saturating_add(took);
    }
    let outcome = if asking { outcome.map(without_asking) } else { outcome };
    Attempt { node: Some(node), sent_at, asking, trail, is_accepted, outcome }
}

/// Has `client` run `request`, whose time counts from `since`, and which has taken `took` so far. Whether that has accepted it, and the outcome.
async fn deliver<R: Runtime>(
    client: &Client<R>,
    request: Request,
    since: Instant,
    took: Duration,
) -> (bool, Outcome) {
    // It was accepted before: it does not fail now for want of room.
    let error = match room::send_since(client.clone(), request, None, Some(since)).await {
        Ok(reply) => return (true, reply.await),
        Err(Error::Request(error)) => error,
        Err(Error::Send(error)) => match as_request_error(error).1 {
            RequestError::NotLent { delivery, .. } => RequestError::NotLent { after: took, delivery },
            error => error,
        },
        Err(_) => RequestError::ShutDown { delivery: Delivery::NotSent },
    };
    (false, Err(error))
}

/// Why a request that was accepted once has no reply, if a node's client does not accept it.
fn as_request_error(error: SendError) -> (Request, RequestError) {
    let delivery = Delivery::NotSent;
    match error {
        SendError::NoConnection { endpoint, request, cause } => {
            (request, RequestError::NoConnection { endpoint, cause, after: Duration::ZERO, delivery })
        }
        // Whatever else has no room waits for it: too many wait for a connection of their own.
        SendError::Full(request) => (request, RequestError::NotLent { after: Duration::ZERO, delivery }),
        error => (error.into_request(), RequestError::ShutDown { delivery }),
    }
}

/// Has the commands run that were refused, and puts their replies in the places of the refusals.
async fn mend<R: Runtime>(
    shared: Arc<Shared<R>>,
    unit: Unit,
    attempt: Attempt,
    groups: Vec<Group>,
) -> Outcome {
    let Attempt { node, sent_at, asking, trail, is_accepted, outcome } = attempt;
    let mut replies = outcome?;
    let parts = unit.parts(groups).into_iter().map(|(places, part)| {
        let refusals: Replies = places.iter().filter_map(|place| replies.get(*place).cloned()).collect();
        let attempt = Attempt { node, sent_at, asking, trail, is_accepted, outcome: Ok(refusals) };
        (places, go_on(Arc::clone(&shared), part, attempt))
    });
    let (places, futures): (Vec<_>, Vec<_>) = parts.unzip();
    let mut failed = None;
    for (places, outcome) in places.into_iter().zip(join_all(futures).await) {
        match outcome {
            Ok(parts) => fill(&mut replies, &places, parts),
            Err(error) => failed = Some(error),
        }
    }
    match failed {
        None => Ok(replies),
        Some(mut error) => {
            // Others of its commands have run.
            error.set_unknown();
            Err(error)
        }
    }
}

/// Puts `parts` in these places.
pub(super) fn fill(replies: &mut [Frame], places: &[usize], parts: Replies) {
    for (place, reply) in places.iter().zip(parts) {
        if let Some(slot) = replies.get_mut(*place) {
            *slot = reply;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timer::epoch;

    /// XREAD with `$` that was under way when its node's client was closed would miss what came meanwhile. RULE-232
    #[test]
    fn what_was_under_way_may_have_begun_to_wait() {
        let refusal = |text: &'static str| Ok([Frame::error(text)].into_iter().collect());
        let closed = || Err(RequestError::ShutDown { delivery: Delivery::NotSent });
        for (is_accepted, outcome, expected) in [
            (true, closed(), true),
            (false, closed(), false),
            (true, refusal("MOVED 1 10.0.0.1:7000"), true),
            (true, refusal("CLUSTERDOWN down"), true),
            (true, refusal("LOADING later"), false),
        ] {
            let (sent_at, trail) = (epoch(), Trail::default());
            let attempt = Attempt { node: None, sent_at, asking: false, trail, is_accepted, outcome };
            assert_eq!(may_have_waited(&attempt), expected, "{attempt:?}");
        }
    }
}
