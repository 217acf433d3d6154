//! What the users of a server know of what they did, beside what the server shows.

use std::collections::BTreeSet;

/// What should have come once, and did not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Acknowledged, and the server does not show it; sent, and never received.
    pub lost: u64,
    /// There more than once.
    pub twice: u64,
}

impl Counted {
    /// Compares what a server added to one counter with what its users know of: `acknowledged` additions were answered,
    /// `uncertain` ones failed and may have run. Where there are some, both numbers are lower bounds: one of them that has run
    /// makes up for one that is lost, and one that has not run leaves room for one that ran twice.
    #[must_use]
    pub fn compare(added: i64, acknowledged: u64, uncertain: u64) -> Self {
        let surplus = added - acknowledged as i64;
        // An addition that failed may have run, once.
        let unexplained = (surplus - uncertain as i64).max(0);
        Self { lost: (-surplus).max(0).unsigned_abs(), twice: unexplained.unsigned_abs() }
    }

    /// Compares the numbers below `sent` with those that were received, in any order.
    #[must_use]
    pub fn of_numbers(sent: u64, received: &[u64]) -> Self {
        let distinct = received.iter().collect::<BTreeSet<_>>().len() as u64;
        Self { lost: sent.saturating_sub(distinct), twice: received.len() as u64 - distinct }
    }

    /// Adds what another counter shows.
    pub fn add(&mut self, other: Self) {
        self.lost += other.lost;
        self.twice += other.twice;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_of_the_server_decides() {
        let counted = |lost, twice| Counted { lost, twice };
        assert_eq!(Counted::compare(7, 7, 0), counted(0, 0));
        assert_eq!(Counted::compare(5, 7, 0), counted(2, 0));
        assert_eq!(Counted::compare(8, 7, 0), counted(0, 1));
        assert_eq!(Counted::compare(8, 7, 1), counted(0, 0), "it failed, and it had run");
        assert_eq!(Counted::compare(7, 7, 1), counted(0, 0), "it failed, and it had not run");
        assert_eq!(Counted::compare(9, 7, 1), counted(0, 1));
        assert_eq!(
            Counted::compare(7, 7, 2),
            counted(0, 0),
            "also if one was lost, and one that failed had run"
        );
        assert_eq!(Counted::compare(-7, 0, 0), counted(7, 0), "the data is gone");
    }

    #[test]
    fn a_number_is_to_come_once() {
        let counted = |lost, twice| Counted { lost, twice };
        assert_eq!(Counted::of_numbers(3, &[0, 1, 2]), counted(0, 0));
        assert_eq!(Counted::of_numbers(3, &[2, 0]), counted(1, 0));
        assert_eq!(Counted::of_numbers(3, &[0, 1, 1, 2]), counted(0, 1));
        assert_eq!(
            Counted::of_numbers(3, &[0, 0, 0]),
            counted(2, 2),
            "a repetition does not make up for a loss"
        );
    }

    #[test]
    fn counters_add_up() {
        let mut all = Counted { lost: 1, twice: 2 };
        all.add(Counted { lost: 3, twice: 4 });
        assert_eq!(all, Counted { lost: 4, twice: 6 });
    }
}
