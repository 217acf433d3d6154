//! An alarm that rings late: the process was stopped, and what has arrived meanwhile lies in the sockets unread.

use std::time::{Duration, Instant};

use crate::timer::STOPPED;

/// How long the sockets are given to be read. The system tells of them as soon as the process runs again.
const READING: Duration = Duration::from_millis(20);
/// How often they are given more time, as long as something comes.
const MOST: u32 = 8;
/// An alarm that is so late may have come due at the end of a long stop. A busy process is as late, so the sockets are given a
/// short time, once.
const SLIGHTLY: Duration = Duration::from_millis(5);

/// When the machine is told that time has passed.
#[derive(Debug, Default)]
pub(super) struct Alarm {
    late: Option<Late>,
}

/// An alarm that has rung late.
#[derive(Clone, Copy, Debug)]
struct Late {
    /// When it should have rung.
    at: Instant,
    /// When the machine is told, if nothing comes any more.
    until: Instant,
    /// How many batches had been read.
    read: u64,
    /// How long the sockets are given if something comes, and how often.
    reading: Duration,
    left: u32,
}

impl Alarm {
    /// When the timer is to ring for the deadline `at`.
    pub(super) fn rings_at(&self, at: Instant) -> Instant {
        self.late.filter(|late| late.at == at).map_or(at, |late| late.until)
    }

    /// The timer for the deadline `at` rings `now`, and `read` batches were read so far. True if the machine is to be told;
    /// otherwise the timer is to be set anew.
    pub(super) fn ring(&mut self, now: Instant, at: Instant, read: u64) -> bool {
        let (reading, left) = match self.late.take().filter(|late| late.at == at) {
            None => match now.saturating_duration_since(at) {
                late if late < SLIGHTLY => return true,
                late if late < STOPPED => (SLIGHTLY, 1),
                _ => (READING, MOST),
            },
            Some(late) if late.read == read || late.left == 0 => return true,
            Some(late) => (late.reading, late.left),
        };
        self.late = Some(Late { at, until: now + reading, read, reading, left: left - 1 });
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timer::epoch;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn an_alarm_on_time_is_told_at_once() {
        let now = epoch();
        let mut alarm = Alarm::default();
        assert_eq!(alarm.rings_at(now), now);
        assert!(alarm.ring(now + SLIGHTLY / 2, now, 7));
    }

    /// A long stop may end just behind the deadline: the alarm is hardly late, and the sockets are full. They are read first, but
    /// a busy process waits no longer for that. RULE-144
    #[test]
    fn an_alarm_that_is_slightly_late_waits_once() {
        for read in [7, 9] {
            let at = epoch();
            let mut alarm = Alarm::default();
            let now = at + 62 * Duration::from_millis(1);
            assert!(!alarm.ring(now, at, 7), "sockets are read first");
            assert_eq!(alarm.rings_at(at), now + SLIGHTLY);
            assert!(alarm.ring(now + SLIGHTLY, at, read));
        }
    }

    /// RULE-144
    #[test]
    fn a_late_alarm_waits_until_nothing_comes_any_more() {
        let at = epoch();
        let mut alarm = Alarm::default();
        assert!(!alarm.ring(at + SECOND, at, 7), "sockets are read first");
        assert_eq!(alarm.rings_at(at), at + SECOND + READING);
        assert!(!alarm.ring(at + SECOND + READING, at, 9), "something has come");
        assert!(alarm.ring(at + SECOND + 2 * READING, at, 9));
        assert_eq!(alarm.rings_at(at + SECOND), at + SECOND);
    }

    /// However much comes, the machine is told in the end. INV-12
    #[test]
    fn a_late_alarm_does_not_wait_for_ever() {
        let at = epoch();
        let mut alarm = Alarm::default();
        let rings = (0..).take_while(|read| !alarm.ring(at + SECOND, at, *read));
        assert_eq!(rings.count(), MOST as usize);
        assert!(!alarm.ring(at + 3 * SECOND, at + SECOND, 0), "the next one is late by itself");
    }
}
