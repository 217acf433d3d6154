//! When each SMIGRATED was heard of first, under its own id or a higher one.

#[cfg(feature = "explore")]
mod fingerprint;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::notification::Seq;

/// How long ids are remembered. A copy may come on a connection that is opened long after the event, and whoever has numbers of
/// its own begins anew when a database is made anew.
pub(super) const REMEMBERED: Duration = Duration::from_secs(3600);
/// More ids than one cascade of slot moves has; with more, the oldest count as heard a little later than they were.
const IDS: usize = 64;

/// The ids that were higher than all before them, each with the time at which it was heard first.
///
/// Ids grow with the events of a cluster, so a delta that comes late shows an older state than those with higher ids that have
/// come before it. What is asked for after those shows more, and must not give way to it.
#[derive(Clone, Debug, Default)]
pub(super) struct Heard {
    highest: VecDeque<(Seq, Instant)>,
}

impl Heard {
    /// The time at which the event with this id had happened for sure: that of the first push with the id or a higher one.
    pub(super) fn note(&mut self, now: Instant, seq: Seq) -> Instant {
        while let Some((_, at)) = self.highest.front()
            && now.saturating_duration_since(*at) >= REMEMBERED
        {
            self.highest.pop_front();
        }
        if let Some((_, at)) = self.highest.iter().find(|(known, _)| *known >= seq) {
            return *at;
        }
        // Of two that were heard at the same time the higher one tells as much.
        if self.highest.back().is_some_and(|(_, at)| *at == now) {
            self.highest.pop_back();
        }
        self.highest.push_back((seq, now));
        if self.highest.len() > IDS {
            self.highest.pop_front();
        }
        now
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timer::epoch;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_copy_and_a_straggler_are_as_old_as_the_first_to_tell() {
        let now = epoch();
        let mut heard = Heard::default();
        assert_eq!(heard.note(now, Seq(5)), now);
        assert_eq!(heard.note(now + SECOND, Seq(5)), now, "a copy");
        assert_eq!(heard.note(now + 2 * SECOND, Seq(7)), now + 2 * SECOND, "news");
        assert_eq!(heard.note(now + 3 * SECOND, Seq(6)), now + 2 * SECOND, "overtaken by 7");
        assert_eq!(heard.note(now + 4 * SECOND, Seq(4)), now, "overtaken by 5");
    }

    #[test]
    fn ids_are_forgotten_so_that_a_database_may_count_anew() {
        let now = epoch();
        let mut heard = Heard::default();
        heard.note(now, Seq(900));
        let later = now + REMEMBERED;
        assert_eq!(heard.note(later - SECOND, Seq(1)), now);
        assert_eq!(heard.note(later, Seq(1)), later);
    }

    /// The ids that are dropped count as those above them. INV-14
    #[test]
    fn it_remembers_a_bounded_number_of_ids() {
        let now = epoch();
        let mut heard = Heard::default();
        let at = |number: u64| now + number as u32 * SECOND;
        for number in 0..1_000 {
            heard.note(at(number), Seq(number));
            assert!(heard.highest.len() <= IDS);
        }
        assert_eq!(heard.note(at(1_000), Seq(999)), at(999));
        assert_eq!(heard.note(at(1_000), Seq(3)), at(1_000 - IDS as u64));
    }

    #[test]
    fn ids_of_one_instant_take_one_place() {
        let now = epoch();
        let mut heard = Heard::default();
        (0..1_000).for_each(|number| assert_eq!(heard.note(now, Seq(number)), now));
        assert_eq!(heard.highest, [(Seq(999), now)]);
    }
}
