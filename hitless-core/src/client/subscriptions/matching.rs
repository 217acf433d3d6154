//! Where two connections show the same sequence of messages, and each shows another part of it: how much of it both have shown.

#[cfg(feature = "explore")]
mod fingerprint;

use std::collections::VecDeque;

use bytes::Bytes;

use crate::pubsub::Message;

/// What was received of one key by both connections, while it is not known how much of it is the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Sought {
    /// Payloads of the old one since P0. None of the messages before is on the new one.
    old: Vec<Bytes>,
    /// So many of them came before the answer to Pm. The new one shows the sequence from one of them on, or from the first behind them.
    before_pm: usize,
    /// So many of them came before the answer to P1. The new one has shown all of these that are its own, once it has answered P2.
    before_p1: usize,
    /// Messages of the new one.
    new: Vec<Message>,
}

/// Where the new one may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bounds {
    /// As P0, Pm, P1 and P2 have it.
    Known,
    /// Anywhere: one of the answers will never come.
    Unknown,
}

/// Which places in the old one's messages the new one may begin at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fits {
    /// None: one connection has not shown what it should have.
    Nowhere,
    /// This one and no other.
    Only(usize),
    /// Several. This is the earliest: with it most messages are the same.
    First(usize),
}

impl Sought {
    /// The old one has shown this.
    pub(super) fn note_old(&mut self, payload: Bytes) {
        self.old.push(payload);
    }

    /// The new one has shown this.
    pub(super) fn note_new(&mut self, message: Message) {
        self.new.push(message);
    }

    /// Pm is answered.
    pub(super) fn note_pm(&mut self) {
        self.before_pm = self.old.len();
    }

    /// P1 is answered.
    pub(super) fn note_p1(&mut self) {
        self.before_p1 = self.old.len();
    }

    /// How many messages are kept here.
    pub(super) fn len(&self) -> usize {
        self.old.len() + self.new.len()
    }

    /// The places that fit what was received.
    pub(super) fn fits(&self, bounds: Bounds) -> Fits {
        let (old, new) = (&self.old, &self.new);
        let places = match bounds {
            Bounds::Known => self.before_p1.saturating_sub(new.len())..=self.before_pm,
            Bounds::Unknown => 0..=old.len(),
        };
        // Nothing that a payload can hold separates the two.
        let payloads = new.iter().map(|message| Some(&message.payload));
        let both: Vec<Option<&Bytes>> = payloads.chain([None]).chain(old.iter().map(Some)).collect();
        let equal = prefix_lengths(&both);
        let behind = new.len() + 1;
        let fits = |place: &usize| {
            let common = new.len().min(old.len() - place);
            equal.get(behind + place).copied().unwrap_or(0) >= common
        };
        let mut places = places.filter(fits);
        match (places.next(), places.next()) {
            (None, _) => Fits::Nowhere,
            (Some(place), None) => Fits::Only(place),
            (Some(place), Some(_)) => Fits::First(place),
        }
    }

    /// The new one begins at `place`; without one, behind all that the old one has shown. Returns what it has shown and the old one has not,
    /// and what it is still to show.
    pub(super) fn split(self, place: Option<usize>) -> (VecDeque<Message>, VecDeque<Bytes>) {
        let Self { mut old, new, .. } = self;
        let place = place.unwrap_or(old.len());
        let mut owed = VecDeque::from(old.split_off(place));
        let mut ahead = VecDeque::from(new);
        let both = owed.len().min(ahead.len());
        owed.drain(..both);
        ahead.drain(..both);
        (ahead, owed)
    }
}

/// For each place, how many items from there on are those that the sequence begins with (the Z-function), in linear time: payloads may all
/// be equal. That of the first place is not computed.
fn prefix_lengths<T: PartialEq>(items: &[T]) -> Vec<usize> {
    let mut lengths = vec![0; items.len()];
    // What was found equal so far and reaches farthest.
    let (mut begin, mut end) = (0, 0);
    for place in 1..items.len() {
        let mut length = if place < end { lengths[place - begin].min(end - place) } else { 0 };
        while place + length < items.len() && items[length] == items[place + length] {
            length += 1;
        }
        lengths[place] = length;
        if place + length > end {
            (begin, end) = (place, place + length);
        }
    }
    lengths
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::pubsub::Topic;

    fn fits(old: &[u8], new: &[u8], before_p1: usize, before_pm: usize) -> Fits {
        let payload = |byte: &u8| Bytes::copy_from_slice(&[*byte]);
        let message = |byte| Message::new(Topic::from("a"), "a", payload(byte));
        let (old, new) = (old.iter().map(payload).collect(), new.iter().map(message).collect());
        Sought { old, new, before_pm, before_p1 }.fits(Bounds::Known)
    }

    /// Payloads that are all equal are compared about twice each, and not each with each.
    #[test]
    fn equal_contents_are_compared_in_linear_time() {
        struct Counted<'a>(&'a std::cell::Cell<usize>);
        impl PartialEq for Counted<'_> {
            fn eq(&self, _: &Self) -> bool {
                self.0.set(self.0.get() + 1);
                true
            }
        }
        let count = std::cell::Cell::new(0);
        let items: Vec<_> = (0..1000).map(|_| Counted(&count)).collect();
        assert_eq!(prefix_lengths(&items)[1..], (0..999).map(|place| 999 - place).collect::<Vec<_>>());
        assert!(count.get() <= 2 * items.len(), "{} comparisons", count.get());
    }

    #[test]
    fn contents_and_counts_decide() {
        assert_eq!(fits(b"", b"", 0, 0), Fits::Only(0));
        assert_eq!(fits(b"abc", b"bcd", 3, 2), Fits::Only(1));
        // The next one may be equal to those before.
        assert_eq!(fits(b"abc", b"bcd", 3, 3), Fits::First(1));
        assert_eq!(fits(b"aa", b"a", 1, 1), Fits::First(0));
        // The new one has shown but one of two that it must have shown.
        assert_eq!(fits(b"aa", b"a", 2, 1), Fits::Only(1));
        assert_eq!(fits(b"ab", b"xy", 2, 1), Fits::Nowhere);
    }

    proptest! {
        /// A place fits if what both have shown there is equal, by comparing all of it at each place.
        #[test]
        fn places_are_those_that_a_comparison_of_everything_finds(
            old in prop::collection::vec(b'a'..b'c', 0..9),
            new in prop::collection::vec(b'a'..b'c', 0..9),
            p1 in 0usize..9,
            latest in 0usize..9,
        ) {
            let (p1, latest) = (p1.min(old.len()), latest.min(old.len()));
            let places: Vec<usize> = (0..=latest)
                .filter(|place| place + new.len() >= p1)
                .filter(|place| old[*place..].iter().zip(&new).all(|(old, new)| old == new))
                .collect();
            let expected = match places[..] {
                [] => Fits::Nowhere,
                [place] => Fits::Only(place),
                [place, ..] => Fits::First(place),
            };
            prop_assert_eq!(fits(&old, &new, p1, latest), expected);
        }
    }
}
