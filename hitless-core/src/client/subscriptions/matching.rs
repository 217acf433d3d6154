//! Where two connections show the same sequence of messages, and each shows another part of it: how much of it both have shown.

#[cfg(feature = "explore")]
mod fingerprint;

use bytes::Bytes;

use crate::pubsub::Message;

/// What was received of one key by both connections, while it is not known how much of it is the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Sought {
    /// Payloads of the old one since P0. None of the messages before is on the new one.
    pub(super) old: Vec<Bytes>,
    /// So many of them came before the answer to Pm. The new one shows the sequence from one of them on, or from the first behind them.
    pub(super) before_pm: usize,
    /// So many of them came before the answer to P1. The new one has shown all of these that are its own, once it has answered P2.
    pub(super) before_p1: usize,
    /// Messages of the new one.
    pub(super) new: Vec<Message>,
}

/// Which places in the old one's messages the new one may begin at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fits {
    /// The earliest one: with it most messages are the same.
    pub(super) first: usize,
    /// No other place fits.
    pub(super) is_only: bool,
}

impl Sought {
    /// The places that fit what was received; `None` if there is none, so that one connection has not shown what it should have. `p1` is
    /// how many messages of the old one the new one must have shown, counted from P0; `latest` the last place that the new one may
    /// begin at.
    pub(super) fn fits(&self, p1: usize, latest: usize) -> Option<Fits> {
        let (old, new) = (&self.old, &self.new);
        let earliest = p1.saturating_sub(new.len());
        // Nothing that a payload can hold separates the two.
        let both: Vec<Option<&Bytes>> = new
            .iter()
            .map(|message| Some(&message.payload))
            .chain([None])
            .chain(old.iter().map(Some))
            .collect();
        let equal = prefix_lengths(&both);
        let behind = new.len() + 1;
        let fits = |place: &usize| {
            let common = new.len().min(old.len() - place);
            equal.get(behind + place).copied().unwrap_or(0) >= common
        };
        let mut places = (earliest..=latest.min(old.len())).filter(fits);
        let first = places.next()?;
        Some(Fits { first, is_only: places.next().is_none() })
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

    fn fits(old: &[u8], new: &[u8], p1: usize, latest: usize) -> Option<(usize, bool)> {
        let payload = |byte: &u8| Bytes::copy_from_slice(&[*byte]);
        let message = |byte| Message::new(Topic::from("a"), "a", payload(byte));
        let (old, new) = (old.iter().map(payload).collect(), new.iter().map(message).collect());
        let sought = Sought { old, new, before_pm: 0, before_p1: 0 };
        sought.fits(p1, latest).map(|fits| (fits.first, fits.is_only))
    }

    #[test]
    fn contents_and_counts_decide() {
        assert_eq!(fits(b"", b"", 0, 0), Some((0, true)));
        assert_eq!(fits(b"abc", b"bcd", 3, 2), Some((1, true)));
        // The next one may be equal to those before.
        assert_eq!(fits(b"abc", b"bcd", 3, 3), Some((1, false)));
        assert_eq!(fits(b"aa", b"a", 1, 1), Some((0, false)));
        // The new one has shown but one of two that it must have shown.
        assert_eq!(fits(b"aa", b"a", 2, 1), Some((1, true)));
        assert_eq!(fits(b"ab", b"xy", 2, 1), None);
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
            let expected = places.first().map(|first| (*first, places.len() == 1));
            prop_assert_eq!(fits(&old, &new, p1, latest), expected);
        }
    }
}
