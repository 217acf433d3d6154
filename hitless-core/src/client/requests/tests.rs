use std::num::NonZeroU32;

use proptest::prelude::*;

use super::*;
use crate::timer::epoch;

const TIMEOUT: Duration = Duration::from_secs(3);
const LIMITS: RequestLimits = RequestLimits { in_flight: 12, parked: 6 };
const CONN: ConnId = ConnId::from_parts(0, 0);

#[derive(Clone, Debug)]
enum Step {
    Accept { parks: bool },
    Return { nth: usize, defers: bool },
    Repeat { nth: usize },
    SendAlone,
    Unpark,
    Complete { nth: usize },
    Cancel { nth: usize },
    Relax,
    Pass { millis: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    let nth = || 0..LIMITS.in_flight;
    prop_oneof![
        4 => any::<bool>().prop_map(|parks| Step::Accept { parks }),
        3 => (nth(), any::<bool>()).prop_map(|(nth, defers)| Step::Return { nth, defers }),
        1 => Just(Step::Unpark),
        2 => nth().prop_map(|nth| Step::Repeat { nth }),
        1 => Just(Step::SendAlone),
        1 => nth().prop_map(|nth| Step::Complete { nth }),
        1 => nth().prop_map(|nth| Step::Cancel { nth }),
        1 => Just(Step::Relax),
        2 => (0..2_000_u64).prop_map(|millis| Step::Pass { millis }),
    ]
}

#[derive(Debug)]
enum Naive {
    Parked,
    Alone,
    /// Until then.
    Deferred(Instant),
    /// The connection keeps it.
    On(Accepted, Ticket),
}

/// The requests and one list of all that is accepted, in the order in which they were.
struct Bench {
    requests: Requests,
    list: Vec<(RequestId, Instant, Naive)>,
    /// All that were ever accepted, in order.
    born: Vec<RequestId>,
    tickets: u64,
    now: Instant,
}

impl Bench {
    fn accept(&mut self, parks: bool) {
        let parked = self.parked().count();
        let is_full = self.list.len() == LIMITS.in_flight || (parks && parked >= LIMITS.parked);
        let carried = (!parks).then_some(0);
        assert_eq!(self.requests.room(carried) == 0, is_full);
        assert_eq!(self.requests.room(Some(LIMITS.in_flight)), 0, "a crowded connection has no room");
        if is_full {
            return;
        }
        let request = Request::raw("payload".into(), NonZeroU32::MIN);
        let accepted = self.requests.accept(self.now, request, Some(TIMEOUT));
        self.born.push(accepted.id);
        if parks { self.park(accepted) } else { self.enqueue(accepted) }
    }

    fn park(&mut self, accepted: Accepted) {
        self.list.push((accepted.id, accepted.deadline().unwrap(), Naive::Parked));
        self.requests.park(accepted);
    }

    fn enqueue(&mut self, accepted: Accepted) {
        let ticket = Ticket::nth(self.tickets);
        self.tickets += 1;
        self.requests.enqueued(accepted.id, accepted.deadline(), CONN, ticket);
        self.list.push((accepted.id, accepted.deadline().unwrap(), Naive::On(accepted, ticket)));
    }

    /// The connection gives a request back.
    fn give_back(&mut self, nth: usize, defers: bool) {
        let Some((at, _)) = self.on_connection().nth(nth) else { return };
        let (id, deadline, Naive::On(accepted, _)) = self.list.remove(at) else { unreachable!() };
        if !defers {
            return self.park(accepted);
        }
        // The machine, too, learns from the request how long its pause is.
        self.requests.defer(self.now, accepted, Replies::new());
        let until = self.requests.deferred.last().unwrap().at;
        assert!(until > self.now || until == deadline);
        assert!(until <= deadline && until <= self.now + Duration::from_secs(1));
        self.list.push((id, deadline, Naive::Deferred(until)));
    }

    /// The connection is lost, and the request may run again.
    fn repeat(&mut self, nth: usize) {
        let Some((at, _)) = self.on_connection().nth(nth) else { return };
        let (id, deadline, Naive::On(accepted, _)) = self.list.remove(at) else { unreachable!() };
        self.requests.wait_alone(accepted);
        self.list.push((id, deadline, Naive::Alone));
    }

    fn send_alone(&mut self) {
        let first = self.list.iter().position(|(_, _, place)| matches!(place, Naive::Alone));
        assert_eq!(self.requests.wants_alone(), first.is_some());
        let taken = self.requests.take_alone();
        assert_eq!(taken.as_ref().map(|accepted| accepted.id), first.map(|at| self.list[at].0), "in order");
        first.into_iter().for_each(|at| drop(self.list.remove(at)));
        taken.into_iter().for_each(|accepted| self.enqueue(accepted));
    }

    fn unpark(&mut self) {
        let expected: Vec<RequestId> = self.parked().collect();
        self.list.retain(|(_, _, place)| !matches!(place, Naive::Parked));
        let unparked = self.requests.take_parked();
        assert!(unparked.iter().map(|accepted| accepted.id).eq(expected), "in order");
        unparked.into_iter().for_each(|accepted| self.enqueue(accepted));
    }

    fn complete(&mut self, nth: usize) {
        let Some((at, id)) = self.on_connection().nth(nth) else { return };
        self.list.remove(at);
        assert!(self.requests.complete(id));
        assert!(!self.requests.complete(id), "once");
    }

    fn cancel(&mut self, nth: usize) {
        if nth >= self.list.len() {
            return;
        }
        let (id, _, place) = self.list.remove(nth);
        let expected = match place {
            Naive::On(_, ticket) => Some((CONN, ticket)),
            Naive::Parked | Naive::Alone | Naive::Deferred(_) => None,
        };
        assert_eq!(self.requests.cancel(id), expected);
        assert_eq!(self.requests.cancel(id), None, "once");
    }

    fn relax(&mut self) {
        self.requests.relax_parked(2 * TIMEOUT);
        for accepted in self.requests.parked.iter().chain(&self.requests.alone) {
            let (_, deadline, _) = self.list.iter_mut().find(|(id, _, _)| *id == accepted.id).unwrap();
            *deadline = accepted.accepted_at() + 2 * TIMEOUT;
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        let now = self.now;
        let is_due = |list: &[(RequestId, Instant, Naive)]| {
            list.iter().any(|(_, deadline, place)| match place {
                Naive::Parked | Naive::Alone | Naive::On(..) => *deadline <= now,
                Naive::Deferred(until) => *until <= now,
            })
        };
        let alarm = self.requests.poll_timeout();
        assert!(!is_due(&self.list) || alarm.is_some_and(|alarm| alarm <= now), "nobody would look");
        for deferred in self.requests.take_due_deferred(now) {
            let id = deferred.accepted.id;
            let at = self.list.iter().position(|(listed, _, _)| *listed == id).unwrap();
            let (_, deadline, place) = self.list.remove(at);
            assert!(matches!(place, Naive::Deferred(until) if until <= now));
            match deferred.into_due(now) {
                Ok(accepted) => {
                    assert!(deadline > now);
                    self.enqueue(accepted);
                }
                Err((id, _)) => assert!(deadline <= now && self.requests.complete(id)),
            }
        }
        let mut due: Vec<RequestId> = self.requests.take_due_parked(now).iter().map(|it| it.id).collect();
        // A connection times its requests out by itself.
        let timed_out = self.on_connection().map(|(_, id)| id).collect::<Vec<_>>();
        due.extend(timed_out.into_iter().filter(|id| self.deadline_of(*id) <= now));
        for id in due {
            assert!(self.deadline_of(id) <= now && self.requests.complete(id));
            self.list.retain(|(listed, _, _)| *listed != id);
        }
        assert!(!is_due(&self.list), "something due was left");
        let on_connections = self.on_connection().map(|(_, id)| Some(self.deadline_of(id)));
        let on_connections = earliest(on_connections.collect::<Vec<_>>());
        self.requests.settle_timeout(on_connections);
        assert_eq!(self.requests.poll_timeout().is_none(), self.list.is_empty());
    }

    fn deadline_of(&self, id: RequestId) -> Instant {
        self.list.iter().find(|(listed, _, _)| *listed == id).unwrap().1
    }

    fn parked(&self) -> impl Iterator<Item = RequestId> {
        self.list.iter().filter(|(_, _, place)| matches!(place, Naive::Parked)).map(|(id, _, _)| *id)
    }

    /// Their places in the list, and their ids.
    fn on_connection(&self) -> impl Iterator<Item = (usize, RequestId)> {
        let all = self.list.iter().enumerate();
        all.filter(|(_, (_, _, place))| matches!(place, Naive::On(..))).map(|(at, (id, _, _))| (at, *id))
    }
}

proptest! {
    /// Each request is in one place, is taken out when it is due and not before, and parked ones keep their order.
    #[test]
    fn requests_agree_with_one_list_of_them_all(steps in prop::collection::vec(step(), 0..80)) {
        let requests = Requests::new(LIMITS);
        let mut bench = Bench { requests, list: Vec::new(), born: Vec::new(), tickets: 0, now: epoch() };
        for step in steps {
            match step {
                Step::Accept { parks } => bench.accept(parks),
                Step::Return { nth, defers } => bench.give_back(nth, defers),
                Step::Unpark => bench.unpark(),
                Step::Repeat { nth } => bench.repeat(nth),
                Step::SendAlone => bench.send_alone(),
                Step::Complete { nth } => bench.complete(nth),
                Step::Cancel { nth } => bench.cancel(nth),
                Step::Relax => bench.relax(),
                Step::Pass { millis } => bench.pass(Duration::from_millis(millis)),
            }
            let Bench { list, born, .. } = &mut bench;
            list.sort_by_key(|(id, ..)| born.iter().position(|known| known == id));
            prop_assert_eq!(bench.requests.len(), bench.list.len());
            let alone = bench.list.iter().filter(|(_, _, place)| matches!(place, Naive::Alone)).count();
            prop_assert_eq!(bench.requests.parked(), bench.parked().count() + alone);
        }
    }
}
