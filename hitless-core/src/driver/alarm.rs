//! An alarm that rings late: the process was stopped, and what has arrived meanwhile lies in the sockets unread.

use std::time::{Duration, Instant};

use crate::timer::STOPPED;

/// How long the sockets are given to be read. The system tells of them as soon as the process runs again.
const READING: Duration = Duration::from_millis(20);
/// How often they are given more time, as long as something comes.
const MOST: u32 = 8;

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
    times: u32,
}

impl Alarm {
    /// When the timer is to ring for the deadline `at`.
    pub(super) fn rings_at(&self, at: Instant) -> Instant {
        self.late.filter(|late| late.at == at).map_or(at, |late| late.until)
    }

    /// The timer for the deadline `at` rings `now`, and `read` batches were read so far. True if the machine is to be told;
    /// otherwise the timer is to be set anew.
    pub(super) fn ring(&mut self, now: Instant, at: Instant, read: u64) -> bool {
        let before = self.late.take().filter(|late| late.at == at);
        let times = match before {
            None if now.saturating_duration_since(at) < STOPPED => return true,
            None => 0,
            Some(late) if late.read == read || late.times == MOST => return true,
            Some(late) => late.times,
        };
        self.late = Some(Late { at, until: now + READING, read, times: times + 1 });
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
        assert!(alarm.ring(now + STOPPED / 2, now, 7));
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
