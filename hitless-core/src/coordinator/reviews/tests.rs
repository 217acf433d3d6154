use std::net::SocketAddr;

use super::*;
use crate::endpoint::Peer;
use crate::event::Ignored;
use crate::ids::ConnId;
use crate::notification::Seq;
use crate::timer::epoch;

const SECOND: Duration = Duration::from_secs(1);

fn pending(now: Instant, seq: u64, arrival: Arrival) -> Pending {
    let peer = Peer::from(SocketAddr::from(([127, 0, 0, 1], 1)));
    let origin = Origin { conn: ConnId::from_parts(1, 0), peer, at: now };
    let notification = Notification::Migrating { seq: Seq(seq), starts_in: None, shards: Default::default() };
    Pending { origin, notification, arrival }
}

/// A review is over at its limit, the earliest first, and stays known until it is ended.
#[test]
fn a_review_times_out_at_its_limit() {
    let now = epoch();
    let mut reviews = Reviews::new();
    let slow = reviews.begin(now, 2 * SECOND, pending(now, 1, Ok(Effect::default())));
    let fast = reviews.begin(now, SECOND, pending(now, 2, Ok(Effect::default())));
    assert_eq!(reviews.poll_timeout(), Some(now + SECOND));
    assert_eq!(reviews.handle_timeout(now + SECOND - Duration::from_nanos(1)), None);
    assert_eq!(reviews.handle_timeout(now + 2 * SECOND), Some(fast));
    assert_eq!(reviews.handle_timeout(now + 2 * SECOND), Some(slow));
    assert_eq!(reviews.handle_timeout(now + 2 * SECOND), None);
    assert_eq!(reviews.end(slow).map(|pending| pending.notification.seq()), Some(Seq(1)));
}

/// A review ends once, and its alarm with it. INV-11
#[test]
fn a_review_ends_once() {
    let now = epoch();
    let mut reviews = Reviews::new();
    let review = reviews.begin(now, SECOND, pending(now, 1, Ok(Effect::default())));
    assert!(reviews.end(review).is_some());
    assert!(reviews.end(review).is_none());
    assert_eq!((reviews.poll_timeout(), reviews.handle_timeout(now + SECOND)), (None, None));
}

/// A copy is compared with what waits and counts, not with what was ignored at its arrival.
#[test]
fn only_notifications_that_count_are_compared() {
    let now = epoch();
    let mut reviews = Reviews::new();
    reviews.begin(now, SECOND, pending(now, 1, Err(Ignored::Stale)));
    let counts = reviews.begin(now, SECOND, pending(now, 2, Ok(Effect::default())));
    let waits = |reviews: &Reviews, seq| reviews.any(|_, notification| notification.seq() == Seq(seq));
    assert_eq!([1, 2, 3].map(|seq| waits(&reviews, seq)), [false, true, false]);
    reviews.end(counts);
    assert!(!waits(&reviews, 2));
}

/// At most 256 reviews are pending. INV-14
#[test]
fn reviews_are_bounded() {
    let now = epoch();
    let mut reviews = Reviews::new();
    let mut last = None;
    for seq in 0..256 {
        assert!(!reviews.is_full());
        last = Some(reviews.begin(now, SECOND, pending(now, seq, Ok(Effect::default()))));
    }
    assert!(reviews.is_full());
    reviews.end(last.unwrap());
    assert!(!reviews.is_full());
}
