//! Generational identifiers: a late fact about something that is gone can never hit its successor.

use std::fmt;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name {
            index: u32,
            generation: u32,
        }

        impl $name {
            /// An id from its parts, for owners who run a machine of this crate alone and number things themselves.
            #[must_use]
            pub const fn from_parts(index: u32, generation: u32) -> Self {
                Self { index, generation }
            }

            /// The place that this id has in the machine's table: a small number, used again once the thing is gone. It is for
            /// tables of your own beside that one, and has nothing to do with the slots of a pool. Compare whole ids, never
            /// indexes alone.
            #[must_use]
            pub fn index(self) -> usize {
                self.index as usize
            }
        }

        impl Id for $name {
            fn new(index: u32, generation: u32) -> Self {
                Self { index, generation }
            }

            fn parts(self) -> (usize, u32) {
                (self.index as usize, self.generation)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}.{}"), self.index, self.generation)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(self, f)
            }
        }
    };
}

id!(
    /// One connection attempt and, when it succeeds, the connection. Every dial has an id of its own.
    ConnId,
    "c"
);
id!(
    /// One accepted request, from `send` until its completion.
    RequestId,
    "r"
);

id!(
    /// One notification that waits for the verdict of a reviewer.
    ReviewId,
    "v"
);

id!(
    /// One lease, from the wish for it until it is returned.
    LeaseId,
    "l"
);

id!(
    /// One subscription, from its opening until it is closed.
    SubscriptionId,
    "s"
);

id!(
    /// One wish of a subscription for more topics, until they are confirmed or refused.
    ChangeId,
    "w"
);

id!(
    /// One node of a cluster, from the first time that it is heard of until nothing leads to it any more. It outlives the node's
    /// address.
    NodeId,
    "n"
);

id!(
    /// One question for the topology of a cluster, until it is answered or given up.
    QueryId,
    "q"
);

/// What [`Arena`] needs of an identifier.
pub(crate) trait Id: Copy {
    fn new(index: u32, generation: u32) -> Self;
    fn parts(self) -> (usize, u32);
}

/// A slab whose keys carry a generation, so that a stale key finds nothing.
#[derive(Clone, Debug)]
pub(crate) struct Arena<K, T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
    len: usize,
    /// That of places which are new.
    generation: u32,
    key: std::marker::PhantomData<K>,
}

#[derive(Clone, Debug)]
struct Slot<T> {
    generation: u32,
    value: Option<T>,
}

impl<K: Id, T> Arena<K, T> {
    pub(crate) const fn new() -> Self {
        Self { slots: Vec::new(), free: Vec::new(), len: 0, generation: 0, key: std::marker::PhantomData }
    }

    #[inline]
    pub(crate) fn insert(&mut self, value: T) -> K {
        self.len += 1;
        if let Some(index) = self.free.pop() {
            let slot = &mut self.slots[index as usize];
            slot.value = Some(value);
            return K::new(index, slot.generation);
        }
        // 2^32 live entries do not fit into memory, so the index cannot wrap.
        let index = self.slots.len() as u32;
        self.slots.push(Slot { generation: self.generation, value: Some(value) });
        K::new(index, self.generation)
    }

    pub(crate) fn remove(&mut self, key: K) -> Option<T> {
        let (index, generation) = key.parts();
        let slot = self.slots.get_mut(index)?;
        if slot.generation != generation {
            return None;
        }
        let value = slot.value.take()?;
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(index as u32);
        self.len -= 1;
        Some(value)
    }

    pub(crate) fn get(&self, key: K) -> Option<&T> {
        let (index, generation) = key.parts();
        self.slots.get(index).filter(|slot| slot.generation == generation)?.value.as_ref()
    }

    pub(crate) fn get_mut(&mut self, key: K) -> Option<&mut T> {
        let (index, generation) = key.parts();
        self.slots.get_mut(index).filter(|slot| slot.generation == generation)?.value.as_mut()
    }

    /// Live entries in the order of their slots, to be changed.
    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.slots.iter_mut().filter_map(|slot| slot.value.as_mut())
    }

    /// Gives back the memory of more than `kept` places if nothing is live. Ids that were ever given stay stale.
    pub(crate) fn rest(&mut self, kept: usize) {
        if self.len == 0 && self.slots.capacity() > kept {
            self.generation = self.slots.iter().map(|slot| slot.generation).fold(self.generation, u32::max);
            (self.slots, self.free) = (Vec::new(), Vec::new());
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Live entries in the order of their slots.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (K, &T)> {
        self.slots.iter().enumerate().filter_map(|(index, slot)| {
            slot.value.as_ref().map(|value| (K::new(index as u32, slot.generation), value))
        })
    }
}

/// Values beside an arena that someone else owns, under the same keys.
#[derive(Clone, Debug)]
pub(crate) struct IdMap<K, T> {
    slots: Vec<Option<(u32, T)>>,
    len: usize,
    key: std::marker::PhantomData<K>,
}

impl<K: Id, T> IdMap<K, T> {
    pub(crate) const fn new() -> Self {
        Self { slots: Vec::new(), len: 0, key: std::marker::PhantomData }
    }

    /// Puts `value` under `key`; a value under another generation of the same slot gives way. Returns what was there, with its key.
    pub(crate) fn insert(&mut self, key: K, value: T) -> Option<(K, T)> {
        let (index, generation) = key.parts();
        if self.slots.len() <= index {
            self.slots.resize_with(index + 1, || None);
        }
        let before = self.slots[index].replace((generation, value));
        if before.is_none() {
            self.len += 1;
        }
        before.map(|(generation, value)| (K::new(index as u32, generation), value))
    }

    pub(crate) fn remove(&mut self, key: K) -> Option<T> {
        let (index, generation) = key.parts();
        let slot = self.slots.get_mut(index)?;
        if slot.as_ref()?.0 != generation {
            return None;
        }
        self.len -= 1;
        slot.take().map(|(_, value)| value)
    }

    pub(crate) fn get(&self, key: K) -> Option<&T> {
        let (index, generation) = key.parts();
        match self.slots.get(index)? {
            Some((held, value)) if *held == generation => Some(value),
            _ => None,
        }
    }

    pub(crate) fn get_mut(&mut self, key: K) -> Option<&mut T> {
        let (index, generation) = key.parts();
        match self.slots.get_mut(index)? {
            Some((held, value)) if *held == generation => Some(value),
            _ => None,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// How many places there are; each has an entry or none.
    pub(crate) fn places(&self) -> usize {
        self.slots.len()
    }

    /// The key of the entry at `place`.
    pub(crate) fn key_at(&self, place: usize) -> Option<K> {
        let (generation, _) = self.slots.get(place)?.as_ref()?;
        Some(K::new(place as u32, *generation))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (K, &T)> {
        self.slots.iter().enumerate().filter_map(|(index, slot)| {
            slot.as_ref().map(|(generation, value)| (K::new(index as u32, *generation), value))
        })
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (K, &mut T)> {
        self.slots.iter_mut().enumerate().filter_map(|(index, slot)| {
            slot.as_mut().map(|(generation, value)| (K::new(index as u32, *generation), value))
        })
    }
}

#[cfg(feature = "explore")]
impl<K: Id, T> Arena<K, T> {
    /// How many times the place of `key` was used anew since.
    pub(crate) fn age(&self, key: K) -> u32 {
        let (index, generation) = key.parts();
        self.slots.get(index).map_or(0, |slot| slot.generation.wrapping_sub(generation))
    }

    /// The free places, whose order decides which ids come next, and what each place holds.
    pub(crate) fn places(&self) -> (&[u32], impl Iterator<Item = &Option<T>>) {
        let Self { slots, free, len: _, generation: _, key: _ } = self;
        (free, slots.iter().map(|Slot { generation: _, value }| value))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_stale_id_finds_nothing() {
        let mut arena: Arena<ConnId, &str> = Arena::new();
        let first = arena.insert("first");
        assert_eq!(arena.remove(first), Some("first"));
        let second = arena.insert("second");
        assert_eq!(second.index(), first.index());
        assert_eq!(arena.get(first), None);
        assert_eq!(arena.remove(first), None);
        assert_eq!(arena.get(second), Some(&"second"));
        assert_eq!(arena.len(), 1);
    }

    #[test]
    fn a_map_beside_an_arena_checks_the_generation() {
        let mut arena: Arena<ConnId, ()> = Arena::new();
        let mut map = IdMap::new();
        let first = arena.insert(());
        map.insert(first, 1);
        arena.remove(first);
        let second = arena.insert(());
        assert_eq!(map.get(second), None);
        map.insert(second, 2);
        assert_eq!(map.get(first), None);
        assert_eq!(map.remove(first), None);
        assert_eq!(map.remove(second), Some(2));
        assert!(map.is_empty());
    }

    #[derive(Clone, Debug)]
    enum Step {
        Insert,
        Remove { nth: usize },
        Beside { nth: usize },
        Forget { nth: usize },
        Rest,
    }

    fn step() -> impl Strategy<Value = Step> {
        let nth = || 0..24usize;
        prop_oneof![
            3 => Just(Step::Insert),
            2 => nth().prop_map(|nth| Step::Remove { nth }),
            2 => nth().prop_map(|nth| Step::Beside { nth }),
            1 => nth().prop_map(|nth| Step::Forget { nth }),
            1 => Just(Step::Rest),
        ]
    }

    /// What is live under which id, compared with plain maps that never forget an id.
    #[derive(Default)]
    struct Model {
        issued: Vec<ConnId>,
        live: BTreeMap<ConnId, usize>,
        beside: BTreeMap<ConnId, usize>,
    }

    proptest! {
        /// An id that was ever given finds its own value while that is there, and nothing afterwards; no id is given
        /// twice; places are used again. INV-11
        #[test]
        fn ids_agree_with_maps_that_never_reuse_one(steps in proptest::collection::vec(step(), 0..60)) {
            let mut arena: Arena<ConnId, usize> = Arena::new();
            let mut map: IdMap<ConnId, usize> = IdMap::new();
            let mut model = Model::default();
            let mut most = 0;
            for (value, step) in steps.into_iter().enumerate() {
                let nth = |nth: usize| model.issued.get(nth).copied();
                match step {
                    Step::Insert => {
                        let id = arena.insert(value);
                        prop_assert!(!model.issued.contains(&id));
                        model.issued.push(id);
                        model.live.insert(id, value);
                        most = most.max(model.live.len());
                    }
                    Step::Remove { nth: at } => {
                        let Some(id) = nth(at) else { continue };
                        prop_assert_eq!(arena.remove(id), model.live.remove(&id));
                    }
                    Step::Beside { nth: at } => {
                        let Some(id) = nth(at).filter(|id| model.live.contains_key(id)) else { continue };
                        map.insert(id, value);
                        model.beside.retain(|other, _| other.index() != id.index());
                        model.beside.insert(id, value);
                    }
                    Step::Forget { nth: at } => {
                        let Some(id) = nth(at) else { continue };
                        prop_assert_eq!(map.remove(id), model.beside.remove(&id));
                    }
                    Step::Rest => arena.rest(0),
                }
                for id in &model.issued {
                    prop_assert!(id.index() < most, "{id} has a place of its own although others were free");
                    prop_assert_eq!(arena.get(*id), model.live.get(id));
                    prop_assert_eq!(arena.get_mut(*id).copied(), model.live.get(id).copied());
                    prop_assert_eq!(map.get(*id), model.beside.get(id));
                    prop_assert_eq!(map.get_mut(*id).copied(), model.beside.get(id).copied());
                }
                prop_assert_eq!(arena.len(), model.live.len());
                prop_assert_eq!(map.is_empty(), model.beside.is_empty());
                let by_place = |ids: &BTreeMap<ConnId, usize>| -> BTreeMap<usize, usize> {
                    ids.iter().map(|(id, value)| (id.index(), *value)).collect()
                };
                let arena_holds = arena.iter().map(|(id, value)| (id.index(), *value));
                prop_assert!(arena_holds.eq(by_place(&model.live)));
                prop_assert!(map.iter().map(|(id, value)| (id.index(), *value)).eq(by_place(&model.beside)));
            }
        }
    }
}
