use super::*;
use crate::timer::epoch;

const SECOND: Duration = Duration::from_secs(1);

/// A review is over at its limit, the earliest first, and stays known until it is ended.
#[test]
fn a_review_times_out_at_its_limit() {
    let now = epoch();
    let mut reviews = Reviews::new();
    let slow = reviews.begin(now, 2 * SECOND, 1);
    let fast = reviews.begin(now, SECOND, 2);
    assert_eq!(reviews.poll_timeout(), Some(now + SECOND));
    assert_eq!(reviews.handle_timeout(now + SECOND - Duration::from_nanos(1)), None);
    assert_eq!(reviews.handle_timeout(now + 2 * SECOND), Some(fast));
    assert_eq!(reviews.handle_timeout(now + 2 * SECOND), Some(slow));
    assert_eq!(reviews.handle_timeout(now + 2 * SECOND), None);
    assert_eq!(reviews.end(slow), Some(1));
}

/// A review ends once, and its alarm with it. INV-11
#[test]
fn a_review_ends_once() {
    let now = epoch();
    let mut reviews = Reviews::new();
    let review = reviews.begin(now, SECOND, 1);
    assert!(reviews.end(review).is_some());
    assert!(reviews.end(review).is_none());
    assert_eq!((reviews.poll_timeout(), reviews.handle_timeout(now + SECOND)), (None, None));
}

/// What is pending can be searched until its review ends.
#[test]
fn what_is_pending_is_found() {
    let now = epoch();
    let mut reviews = Reviews::new();
    reviews.begin(now, SECOND, "first");
    let second = reviews.begin(now, SECOND, "second");
    assert_eq!(reviews.get(second), Some(&"second"));
    let waits = |reviews: &Reviews<&str>, wanted| reviews.any(|pending| *pending == wanted);
    assert_eq!(["first", "second", "third"].map(|wanted| waits(&reviews, wanted)), [true, true, false]);
    reviews.end(second);
    assert!(!waits(&reviews, "second") && reviews.get(second).is_none());
}

/// At most 256 reviews are pending. INV-14
#[test]
fn reviews_are_bounded() {
    let now = epoch();
    let mut reviews = Reviews::new();
    let mut last = None;
    for seq in 0..256 {
        assert!(!reviews.is_full());
        last = Some(reviews.begin(now, SECOND, seq));
    }
    assert!(reviews.is_full());
    reviews.end(last.unwrap());
    assert!(!reviews.is_full());
}
