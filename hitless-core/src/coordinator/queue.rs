//! Handoffs that wait for a worker.

use std::collections::{BTreeSet, VecDeque};
use std::time::Instant;

use crate::ids::ConnId;

/// A bounded queue, first come first served. What finds it full is not dropped: it waits outside and is taken in as
/// soon as there is room, earliest deadline first.
#[derive(Clone, Debug)]
pub(super) struct HandoffQueue {
    waiting: VecDeque<Ticket>,
    outside: BTreeSet<(Instant, Ticket)>,
    capacity: usize,
    next: u64,
}

/// A place in the queue. It holds until the handoff is taken or leaves; a handoff that lines up again has a new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ticket {
    order: u64,
    pub(super) conn: ConnId,
}

impl HandoffQueue {
    pub(super) const fn new(capacity: u32) -> Self {
        Self { waiting: VecDeque::new(), outside: BTreeSet::new(), capacity: capacity as usize, next: 0 }
    }

    pub(super) fn push(&mut self, deadline: Instant, conn: ConnId) -> Ticket {
        let ticket = Ticket { order: self.next, conn };
        self.next += 1;
        if self.waiting.len() < self.capacity {
            self.waiting.push_back(ticket);
        } else {
            self.outside.insert((deadline, ticket));
        }
        ticket
    }

    pub(super) fn pop(&mut self) -> Option<Ticket> {
        let ticket = self.waiting.pop_front();
        self.refill();
        ticket
    }

    /// Leaves the queue. `deadline` is the one it was pushed with.
    pub(super) fn remove(&mut self, deadline: Instant, ticket: Ticket) {
        if self.outside.remove(&(deadline, ticket)) {
            return;
        }
        self.waiting.retain(|waiting| *waiting != ticket);
        self.refill();
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    fn refill(&mut self) {
        while self.waiting.len() < self.capacity {
            let Some((_, ticket)) = self.outside.pop_first() else { return };
            self.waiting.push_back(ticket);
        }
    }
}

#[cfg(feature = "explore")]
mod fingerprint {
    use std::hash::Hasher;

    use super::{HandoffQueue, Ticket};
    use crate::fingerprint::{Digest, Fingerprint};

    impl Fingerprint for HandoffQueue {
        fn fingerprint<H: Hasher>(&self, digest: &mut Digest<'_, H>) {
            let Self { waiting, outside, capacity: _, next: _ } = self;
            digest.part(waiting);
            digest.each(outside, |digest, (deadline, ticket)| {
                digest.instant(*deadline);
                digest.part(ticket);
            });
        }
    }

    impl Fingerprint for Ticket {
        fn fingerprint<H: Hasher>(&self, digest: &mut Digest<'_, H>) {
            // The place in the queue says which came first.
            let Self { order: _, conn } = self;
            digest.part(conn);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::timer::epoch;

    fn conn(index: u32) -> ConnId {
        ConnId::from_parts(index, 0)
    }

    /// INV-14, RULE-97: the queue is bounded, and a handoff that finds it full is served, earliest deadline first.
    #[test]
    fn a_full_queue_drops_nothing() {
        let start = epoch();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut queue = HandoffQueue::new(2);
        for (index, deadline) in [(0, 50), (1, 50), (2, 40), (3, 30)] {
            queue.push(at(deadline), conn(index));
            assert!(queue.len() <= 2);
        }
        let order: Vec<_> = std::iter::from_fn(|| queue.pop()).map(|ticket| ticket.conn).collect();
        assert_eq!(order, [conn(0), conn(1), conn(3), conn(2)]);
    }

    #[test]
    fn who_leaves_makes_room() {
        let at = epoch();
        let mut queue = HandoffQueue::new(1);
        let first = queue.push(at, conn(0));
        let second = queue.push(at, conn(1));
        queue.push(at, conn(2));
        queue.remove(at, second);
        queue.remove(at, first);
        assert_eq!(queue.pop().map(|ticket| ticket.conn), Some(conn(2)));
        assert!(queue.pop().is_none());
    }

    #[derive(Clone, Debug)]
    enum Step {
        Push { deadline: u64 },
        Pop,
        Remove { nth: usize },
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => (0..5u64).prop_map(|deadline| Step::Push { deadline }),
            2 => Just(Step::Pop),
            2 => (0..8usize).prop_map(|nth| Step::Remove { nth }),
        ]
    }

    /// Two vectors; who waits outside is sorted by deadline and arrival whenever there is room.
    struct Model {
        inside: Vec<(u64, Ticket)>,
        outside: Vec<(u64, Ticket)>,
        capacity: usize,
    }

    impl Model {
        fn refill(&mut self) {
            self.outside.sort_by_key(|(deadline, ticket)| (*deadline, ticket.order));
            while self.inside.len() < self.capacity && !self.outside.is_empty() {
                self.inside.push(self.outside.remove(0));
            }
        }

        fn nth(&self, nth: usize) -> Option<(u64, Ticket)> {
            self.inside.iter().chain(&self.outside).nth(nth).copied()
        }
    }

    proptest! {
        /// INV-14, INV-20, RULE-97: never more wait than there is room for, nobody is lost, and who comes next is
        /// known.
        #[test]
        fn it_agrees_with_sorted_vectors(
            capacity in 1..4u32, steps in proptest::collection::vec(step(), 0..60),
        ) {
            let start = epoch();
            let at = |seconds| start + Duration::from_secs(seconds);
            let mut queue = HandoffQueue::new(capacity);
            let mut model = Model { inside: vec![], outside: vec![], capacity: capacity as usize };
            for (index, step) in steps.into_iter().enumerate() {
                match step {
                    Step::Push { deadline } => {
                        let ticket = queue.push(at(deadline), conn(index as u32));
                        model.outside.push((deadline, ticket));
                    }
                    Step::Pop => {
                        let first = (!model.inside.is_empty()).then(|| model.inside.remove(0).1);
                        prop_assert_eq!(queue.pop(), first);
                    }
                    Step::Remove { nth } => {
                        let Some((deadline, leaving)) = model.nth(nth) else { continue };
                        queue.remove(at(deadline), leaving);
                        queue.remove(at(deadline), leaving);
                        model.inside.retain(|(_, ticket)| *ticket != leaving);
                        model.outside.retain(|(_, ticket)| *ticket != leaving);
                    }
                }
                model.refill();
                prop_assert_eq!(queue.len(), model.inside.len());
            }
            while let Some((_, next)) = model.nth(0) {
                prop_assert_eq!(queue.pop(), Some(next));
                model.inside.remove(0);
                model.refill();
            }
            prop_assert_eq!(queue.pop(), None);
        }
    }
}
