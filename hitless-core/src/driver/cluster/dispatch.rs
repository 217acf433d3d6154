//! From a request to the clients of the nodes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use resp3_codec::Frame;

use super::super::error::Error;
use super::super::traits::Runtime;
use super::handle::ClusterClient;
use super::join::join_all;
use super::journey;
use super::plan::{Plan, Step};
use super::reply::ClusterReply;
use super::routes::Place;
use super::shares::Shares;
use super::unit::Unit;
use crate::cluster::{Combine, only_reads};
use crate::config::WhenFull;
use crate::error::Delivery;
use crate::ids::NodeId;
use crate::request::{Class, Outcome, Replies, Request, SendError};

/// What stands in the place of a reply that cannot be made.
pub(super) const NOT_JOINED: &str = "ERR the replies of the nodes cannot be put together";

/// The commands of a request that go to one node.
struct Part<R: Runtime> {
    /// The node; `None` if nobody is known to serve the slot.
    place: Option<Place<R>>,
    /// The slot of the first of them that has a key.
    slot: Option<u16>,
    /// Which commands of the request they are.
    indexes: Vec<usize>,
    /// They are read from a replica.
    at_replica: bool,
}

impl<R: Runtime> ClusterClient<R> {
    /// Sends `request` when there is room for it, as configured.
    pub(in super::super) fn accept(&self, request: Request) -> Result<ClusterReply<R>, Error> {
        if self.shared().policy.when_full == WhenFull::Fail || request.class() == Class::Leased {
            return self.send(request).map_err(|error| match error {
                SendError::NoRoute { reason, .. } => reason.into(),
                error => error.into(),
            });
        }
        Ok(match Plan::of_request(&request)? {
            Plan::One(slot) => self.accept_one(request, slot)?,
            Plan::Split(steps) => self.send_parts(&request, &steps),
            Plan::Each(combine) => self.send_each(&request, combine),
        })
    }

    /// One request for one node, sent when there is room for it, as configured.
    pub(super) fn accept_one(
        &self,
        request: Request,
        slot: Option<u16>,
    ) -> Result<ClusterReply<R>, SendError> {
        match self.shared().policy.when_full {
            WhenFull::Fail => self.send_one(request, slot),
            WhenFull::Wait => Ok(self.send_later(self.unit(request, slot))),
        }
    }

    pub(super) fn send_one(
        &self,
        mut request: Request,
        slot: Option<u16>,
    ) -> Result<ClusterReply<R>, SendError> {
        let Some((node, client)) = self.shared().find_first(&mut request, slot) else {
            return match self.shared().is_open() {
                true => Ok(self.send_later(self.unit(request, slot))),
                false => Err(SendError::ShuttingDown(request)),
            };
        };
        let copy = (request.class() == Class::Blocking).then(|| self.unit(request.clone(), slot));
        match (client.into_sent(request, None), copy) {
            (Ok(reply), Some(copy)) => Ok(ClusterReply::of_copied(self.clone(), node, copy, reply)),
            (Ok(reply), None) => Ok(ClusterReply::new(self.clone(), node, slot, reply)),
            (Err(error), _) => self.not_accepted((node, slot), self.shared().runtime.now(), error),
        }
    }

    /// The client of `node` has not accepted a request whose time began at `since`. Where that is about the node, another one may.
    pub(super) fn not_accepted(
        &self,
        (node, slot): (NodeId, Option<u16>),
        since: Instant,
        error: SendError,
    ) -> Result<ClusterReply<R>, SendError> {
        let shared = self.shared();
        match error {
            SendError::NoConnection { ref request, .. }
                if request.is_at_replica() || shared.waits_for(Some(node)) => {}
            SendError::ShuttingDown(_) if shared.is_open() => {}
            error => return Err(without_mark(error)),
        }
        let future = journey::refused(Arc::clone(shared), (node, slot), since, error);
        Ok(ClusterReply::further(self.clone(), future))
    }

    /// A part of something that is on its way: it waits for room.
    pub(super) fn send_part(
        &self,
        request: Request,
        slot: Option<u16>,
        place: Option<Place<R>>,
    ) -> ClusterReply<R> {
        match place {
            Some((node, client)) => match client.into_sent(request, None) {
                Ok(reply) => ClusterReply::new(self.clone(), node, slot, reply),
                Err(error) => self.send_later(self.unit(error.into_request(), slot)),
            },
            None => self.send_later(self.unit(request, slot)),
        }
    }

    /// A request that is on its way once its reply is polled.
    pub(super) fn send_later(&self, unit: Unit) -> ClusterReply<R> {
        ClusterReply::further(self.clone(), journey::begin(Arc::clone(self.shared()), unit))
    }

    /// Sends each node its part.
    pub(super) fn send_parts(&self, request: &Request, steps: &[Step]) -> ClusterReply<R> {
        let from_replicas = self.shared().policy.prefers_replicas && only_reads(request);
        let mut futures = Vec::new();
        for Part { place, slot, indexes, at_replica } in self.parts(steps, from_replicas) {
            let chosen = indexes.iter().filter_map(|index| steps.get(*index));
            let Some(mut part) = request.of_steps(chosen) else { continue };
            part.set_at_replica(at_replica);
            futures.push((indexes, self.send_part(part, slot, place)));
        }
        let count = steps.len();
        let future = Box::pin(async move {
            let (places, futures): (Vec<_>, Vec<_>) = futures.into_iter().unzip();
            let outcomes = join_all(futures).await;
            put_together(count, places.into_iter().zip(outcomes))
        });
        ClusterReply::further(self.clone(), future)
    }

    /// Which commands go to which node, in their order.
    fn parts(&self, steps: &[Step], from_replicas: bool) -> Vec<Part<R>> {
        // One look for all of them: with two tables, commands of one slot would go to two nodes at the same time.
        let routes = self.shared().routes();
        let mut parts: Vec<Part<R>> = Vec::new();
        // By node, and by slot what nobody is known to serve.
        let mut known = BTreeMap::new();
        for (index, step) in steps.iter().enumerate() {
            let Some(slot) = step.slot else { continue };
            let replica = routes.replica_of(slot).filter(|_| from_replicas);
            let at_replica = replica.is_some();
            let place = replica.or_else(|| routes.of_slot(slot));
            let key = (place.map_or(Err(slot), |(node, _)| Ok(*node)), at_replica);
            let at = *known.entry(key).or_insert(parts.len());
            match parts.get_mut(at) {
                Some(part) => part.indexes.push(index),
                None => {
                    parts.push(Part {
                        place: place.cloned(),
                        slot: Some(slot),
                        indexes: vec![index],
                        at_replica,
                    });
                }
            }
        }
        // Any node runs those without a key: the one that has the first part does.
        let keyless = steps.iter().enumerate().filter(|(_, step)| step.slot.is_none());
        if let Some(part) = parts.first_mut() {
            part.indexes.extend(keyless.map(|(index, _)| index));
            part.indexes.sort_unstable();
        }
        parts
    }

    /// Sends every node that serves slots the same. What all of them answer together would be wrong where a slot is served by none.
    pub(super) fn send_each(&self, request: &Request, combine: Combine) -> ClusterReply<R> {
        let routes = self.shared().routes();
        if let Some(slot) = routes.unserved() {
            let failed = Err(self.shared().no_place(Some(slot)));
            return ClusterReply::further(self.clone(), Box::pin(std::future::ready(failed)));
        }
        let shares = Arc::new(Shares::new(routes.table()));
        let sent = routes.each().map(|(slot, place)| {
            let unit = self.unit(request.clone(), Some(slot)).of_each(place.0, Arc::clone(&shares));
            journey::at_one(Arc::clone(self.shared()), place.clone(), unit)
        });
        let futures: Vec<_> = sent.collect();
        let future = Box::pin(async move {
            let outcomes = join_all(futures).await;
            let replies = put_together(outcomes.len(), one_by_one(outcomes))?.into_vec();
            let joined = combine.join(replies).unwrap_or_else(|| Frame::error(NOT_JOINED));
            Ok([joined].into_iter().collect())
        });
        ClusterReply::further(self.clone(), future)
    }

    pub(super) fn unit(&self, request: Request, slot: Option<u16>) -> Unit {
        Unit::new(request, slot, self.shared().runtime.now())
    }
}

/// The same error, whose request the caller may send wherever it likes.
fn without_mark(mut error: SendError) -> SendError {
    if let SendError::Full(request)
    | SendError::ShuttingDown(request)
    | SendError::NoConnection { request, .. } = &mut error
    {
        request.set_at_replica(false);
    }
    error
}

/// Each outcome with its own place.
pub(super) fn one_by_one(outcomes: Vec<Outcome>) -> impl Iterator<Item = (Vec<usize>, Outcome)> {
    outcomes.into_iter().enumerate().map(|(place, outcome)| (vec![place], outcome))
}

/// One outcome out of those of the parts, each with the places of its replies. An error says of the whole whether any of it may have run.
pub(super) fn put_together(count: usize, parts: impl Iterator<Item = (Vec<usize>, Outcome)>) -> Outcome {
    let mut replies: Replies = std::iter::repeat_n(Frame::Null, count).collect();
    let (mut failed, mut has_run) = (None, false);
    for (places, outcome) in parts {
        match outcome {
            Ok(part) => {
                has_run = true;
                journey::fill(&mut replies, &places, part);
            }
            Err(error) => {
                has_run |= error.delivery() == Delivery::Unknown;
                failed = Some(error);
            }
        }
    }
    let Some(mut error) = failed else { return Ok(replies) };
    if has_run {
        error.set_unknown();
    }
    Err(error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::RequestError;

    /// Whoever is told that nothing was sent sends all of it again. RULE-381
    #[test]
    fn a_part_that_has_run_makes_the_whole_unknown() {
        let not_served = || Err(RequestError::NotServed { slot: Some(1), delivery: Delivery::NotSent });
        let lost = || Err(RequestError::ShutDown { delivery: Delivery::Unknown });
        let ran = || Ok([Frame::Integer(1)].into_iter().collect());
        let delivery = |outcomes: Vec<Outcome>| {
            put_together(outcomes.len(), one_by_one(outcomes)).unwrap_err().delivery()
        };
        assert_eq!(delivery(vec![not_served(), not_served()]), Delivery::NotSent);
        assert_eq!(delivery(vec![ran(), not_served()]), Delivery::Unknown);
        assert_eq!(delivery(vec![not_served(), ran()]), Delivery::Unknown);
        assert_eq!(delivery(vec![lost(), not_served()]), Delivery::Unknown);
    }
}
