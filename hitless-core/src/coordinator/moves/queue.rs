//! Handoffs that wait for a worker.

use std::collections::{BTreeSet, VecDeque};
use std::time::Instant;

use crate::endpoint::Peer;
use crate::ids::ConnId;

/// A bounded queue, first come first served. A handoff that finds it full is not dropped: it waits outside and is taken in
/// as soon as there is room, earliest deadline first.
#[derive(Clone, Debug)]
pub(super) struct HandoffQueue {
    waiting: VecDeque<Entry>,
    outside: BTreeSet<(Instant, Entry)>,
    capacity: usize,
    next: u64,
}

/// A place in the queue. It holds until the handoff is taken or leaves; a handoff that lines up again has a new one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Entry {
    order: u64,
    conn: ConnId,
    /// The address that the connection is to leave.
    source: Peer,
}

impl HandoffQueue {
    pub(super) const fn new(capacity: u32) -> Self {
        Self { waiting: VecDeque::new(), outside: BTreeSet::new(), capacity: capacity as usize, next: 0 }
    }

    pub(super) fn push(&mut self, deadline: Instant, source: Peer, conn: ConnId) -> Entry {
        let entry = Entry { order: self.next, conn, source };
        self.next += 1;
        if self.waiting.len() < self.capacity {
            self.waiting.push_back(entry.clone());
        } else {
            self.outside.insert((deadline, entry.clone()));
        }
        entry
    }

    /// Takes the connection that is next in line, with the address that it is to leave.
    pub(super) fn pop(&mut self) -> Option<(Peer, ConnId)> {
        let Entry { conn, source, .. } = self.waiting.pop_front()?;
        self.refill();
        Some((source, conn))
    }

    /// Leaves the queue. `deadline` is the one it was pushed with.
    pub(super) fn remove(&mut self, deadline: Instant, entry: &Entry) {
        if self.outside.remove(&(deadline, entry.clone())) {
            return;
        }
        self.waiting.retain(|waiting| waiting != entry);
        self.refill();
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// The connections in line, those that wait outside with their deadlines behind.
    #[cfg(feature = "explore")]
    pub(super) fn iter(&self) -> impl Iterator<Item = ConnId> {
        self.waiting.iter().chain(self.outside.iter().map(|(_, entry)| entry)).map(|entry| entry.conn)
    }

    fn refill(&mut self) {
        while self.waiting.len() < self.capacity {
            let Some((_, entry)) = self.outside.pop_first() else { return };
            self.waiting.push_back(entry);
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

    fn source() -> Peer {
        Peer::from(std::net::SocketAddr::from(([127, 0, 0, 1], 1)))
    }

    /// The queue is bounded, and a handoff that finds it full is served, earliest deadline first. INV-14, RULE-97
    #[test]
    fn a_full_queue_drops_nothing() {
        let start = epoch();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut queue = HandoffQueue::new(2);
        for (index, deadline) in [(0, 50), (1, 50), (2, 40), (3, 30)] {
            queue.push(at(deadline), source(), conn(index));
            assert!(queue.len() <= 2);
        }
        let order: Vec<_> = std::iter::from_fn(|| queue.pop()).map(|(_, conn)| conn).collect();
        assert_eq!(order, [conn(0), conn(1), conn(3), conn(2)]);
    }

    #[test]
    fn a_handoff_that_leaves_makes_room() {
        let at = epoch();
        let mut queue = HandoffQueue::new(1);
        let first = queue.push(at, source(), conn(0));
        let second = queue.push(at, source(), conn(1));
        queue.push(at, source(), conn(2));
        queue.remove(at, &second);
        queue.remove(at, &first);
        assert_eq!(queue.pop().map(|(_, conn)| conn), Some(conn(2)));
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

    /// Two vectors; the one outside is sorted by deadline and arrival whenever there is room.
    struct Model {
        inside: Vec<(u64, Entry)>,
        outside: Vec<(u64, Entry)>,
        capacity: usize,
    }

    impl Model {
        fn refill(&mut self) {
            self.outside.sort_by_key(|(deadline, entry)| (*deadline, entry.order));
            while self.inside.len() < self.capacity && !self.outside.is_empty() {
                self.inside.push(self.outside.remove(0));
            }
        }

        fn nth(&self, nth: usize) -> Option<(u64, Entry)> {
            self.inside.iter().chain(&self.outside).nth(nth).cloned()
        }
    }

    proptest! {
        /// The queue never holds more than its capacity, loses no handoff, and serves them in a known order. INV-14,
        /// INV-20, RULE-97
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
                        let entry = queue.push(at(deadline), source(), conn(index as u32));
                        model.outside.push((deadline, entry));
                    }
                    Step::Pop => {
                        let first = (!model.inside.is_empty()).then(|| model.inside.remove(0).1);
                        let first = first.map(|entry| (entry.source, entry.conn));
                        prop_assert_eq!(queue.pop(), first);
                    }
                    Step::Remove { nth } => {
                        let Some((deadline, leaving)) = model.nth(nth) else { continue };
                        queue.remove(at(deadline), &leaving);
                        queue.remove(at(deadline), &leaving);
                        model.inside.retain(|(_, entry)| *entry != leaving);
                        model.outside.retain(|(_, entry)| *entry != leaving);
                    }
                }
                model.refill();
                prop_assert_eq!(queue.len(), model.inside.len());
            }
            while let Some((_, next)) = model.nth(0) {
                prop_assert_eq!(queue.pop(), Some((next.source, next.conn)));
                model.inside.remove(0);
                model.refill();
            }
            prop_assert_eq!(queue.pop(), None);
        }
    }
}
