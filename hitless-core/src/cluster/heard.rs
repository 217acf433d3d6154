//! When each SMIGRATED was heard of first, and which of them tell nothing new.

#[cfg(feature = "explore")]
mod fingerprint;

use std::collections::VecDeque;
use std::time::Instant;

use crate::notification::Seq;

/// More ids than one cascade of slot moves has.
const IDS: usize = 64;

/// What an announcement is by its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// One that is higher than all others, or a copy of one that was: heard then for the first time.
    Of(Instant),
    /// One that others have overtaken, or that is long forgotten: whether slots are still where it says nobody can tell.
    Late,
    /// A copy of one that was late.
    Known,
}

/// An id that was heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Id {
    seq: Seq,
    first: Instant,
    is_late: bool,
}

/// The ids that were heard last, the newest behind.
///
/// Ids grow with the events of a cluster. A server may tell an event again, to whoever connects, however long ago it was; and whoever
/// has numbers of its own begins anew when a database is made anew. So an id that is lower than others, and was not heard before,
/// proves nothing, and no age makes it better.
#[derive(Clone, Debug, Default)]
pub(super) struct Heard(VecDeque<Id>);

impl Heard {
    /// What the announcement with this id is, which is heard `now`.
    pub(super) fn note(&mut self, now: Instant, seq: Seq) -> Word {
        if let Some(known) = self.0.iter().find(|known| known.seq == seq) {
            return if known.is_late { Word::Known } else { Word::Of(known.first) };
        }
        let is_late = self.0.iter().any(|known| known.seq > seq);
        self.0.push_back(Id { seq, first: now, is_late });
        if self.0.len() > IDS {
            self.0.pop_front();
        }
        if is_late { Word::Late } else { Word::Of(now) }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::timer::epoch;

    const SECOND: Duration = Duration::from_secs(1);

    /// RULE-321
    #[test]
    fn a_copy_is_as_old_as_the_first_to_tell_and_a_straggler_proves_nothing() {
        let now = epoch();
        let mut heard = Heard::default();
        assert_eq!(heard.note(now, Seq(5)), Word::Of(now));
        assert_eq!(heard.note(now + SECOND, Seq(5)), Word::Of(now), "a copy");
        assert_eq!(heard.note(now + 2 * SECOND, Seq(7)), Word::Of(now + 2 * SECOND), "news");
        assert_eq!(heard.note(now + 3 * SECOND, Seq(6)), Word::Late, "overtaken by 7");
        assert_eq!(heard.note(now + 3 * SECOND, Seq(6)), Word::Known, "a copy of that");
        let years = 100_000_000 * SECOND;
        assert_eq!(heard.note(now + years, Seq(5)), Word::Of(now), "no age makes it better");
    }

    /// RULE-321
    #[test]
    fn a_database_that_counts_anew_is_heard_again_after_a_while() {
        let now = epoch();
        let mut heard = Heard::default();
        heard.note(now, Seq(900));
        for number in 1..=IDS as u64 {
            assert_eq!(heard.note(now, Seq(number)), Word::Late, "{number}");
        }
        assert_eq!(heard.note(now, Seq(65)), Word::Of(now));
    }

    /// INV-14
    #[test]
    fn it_remembers_a_bounded_number_of_ids() {
        let now = epoch();
        let mut heard = Heard::default();
        for number in 0..1_000 {
            heard.note(now, Seq(number));
            assert!(heard.0.len() <= IDS);
        }
        assert_eq!(heard.note(now + SECOND, Seq(999)), Word::Of(now));
        assert_eq!(heard.note(now + SECOND, Seq(3)), Word::Late, "it is forgotten");
    }
}
