//! Notifications that wait for a verdict.

use super::*;
use crate::review::{REVIEW_LIMIT, Unreviewed, Verdict};

/// Ten connections to the configured address, and a reviewer.
fn reviewed() -> (World, Vec<ConnId>) {
    let mut world = World::new("127.0.0.1:1", 10);
    world.coordinator.review_notifications(Some(REVIEW_LIMIT));
    let conns = world.connected(10);
    (world, conns)
}

impl World {
    /// Answers the oldest review.
    fn judge(&mut self, verdict: Verdict) {
        let (review, _) = self.reviews.remove(0);
        self.coordinator.handle_verdict(self.now, review, verdict);
        self.drain();
    }

    fn is_relaxed(&self, conn: ConnId) -> bool {
        self.coordinator.relaxed(self.now, Some(conn)).is_some()
    }

    fn has(&self, is_it: impl Fn(&Event) -> bool) -> bool {
        self.events.iter().any(is_it)
    }
}

/// The window of a MOVING does not wait for its review, and the deadline counts from the arrival. RULE-46, RULE-113
#[test]
fn the_window_opens_first_and_the_move_waits_for_the_verdict() {
    let (mut world, conns) = reviewed();
    let announced_at = world.now;
    world.notify(conns[0], &moving(1, 15 * SECOND, 2));
    assert!(world.is_relaxed(conns[9]));
    assert!(world.dials.is_empty() && !world.has(|event| matches!(event, Event::MoveStarted { .. })));

    world.now += SECOND / 2;
    world.judge(Verdict::Continue);
    assert_eq!(world.handled, [Handled::Applied]);
    assert_eq!(world.dials[0].1, peer(2));
    let on_time = |event: &Event| matches!(event, Event::MoveStarted { deadline, .. } if *deadline == announced_at + 15 * SECOND);
    assert!(world.has(on_time), "the grace counts from the arrival");
}

/// A vetoed MOVING moves nobody, and an event says so. RULE-109, RULE-113
#[test]
fn a_veto_closes_the_window_and_is_seen() {
    let (mut world, conns) = reviewed();
    world.notify(conns[0], &moving(1, 15 * SECOND, 2));
    world.judge(Verdict::Veto);
    assert_eq!(world.handled, [Handled::Vetoed]);
    assert!(!world.is_relaxed(conns[0]));
    assert!(world.has(
        |event| matches!(event, Event::NotificationVetoed { conn, seq: Seq(1), .. } if *conn == conns[0])
    ));
    while world.next_timeout(world.now + 60 * SECOND) {}
    assert!(world.dials.is_empty());

    // Said again to a late joiner, it is a question again.
    world.notify(conns[1], &moving(1, 15 * SECOND, 2));
    world.judge(Verdict::Continue);
    assert_eq!(world.dials.len(), 1);
}

/// The veto of one opener leaves the window of another one open. RULE-113
#[test]
fn a_veto_concerns_its_own_window_only() {
    let (mut world, conns) = reviewed();
    world.notify(conns[0], &opener(1));
    world.notify(conns[0], &opener(2));
    world.judge(Verdict::Continue);
    world.judge(Verdict::Veto);
    assert!(world.is_relaxed(conns[0]), "the first is still open");
    world.notify(conns[0], &completion(1));
    world.judge(Verdict::Veto);
    assert!(world.is_relaxed(conns[0]), "the completion was stopped");
    world.notify(conns[0], &completion(1));
    world.judge(Verdict::Continue);
    assert!(!world.is_relaxed(conns[0]));
}

/// Copies of a notification that is being reviewed share its fate. PITFALL-06
#[test]
fn copies_are_duplicates_while_the_first_is_reviewed() {
    let (mut world, conns) = reviewed();
    for conn in &conns {
        world.notify(*conn, &moving(1, 15 * SECOND, 2));
    }
    assert_eq!(world.ignored(), [Ignored::Duplicate; 9]);
    for _ in &conns {
        world.judge(Verdict::Continue);
    }
    assert_eq!(world.handled[0], Handled::Applied);
    assert_eq!(world.handled[1..], [Handled::Ignored(Ignored::Duplicate); 9]);
    while world.answer_dials() > 0 {}
    assert_eq!(world.cut_over.len(), 10);
}

/// A reviewer may change where a move leads; it is still the move that the server announced. RULE-108
#[test]
fn a_replaced_target_is_dialled_and_copies_of_the_original_are_duplicates() {
    let (mut world, conns) = reviewed();
    world.notify(conns[0], &moving(1, 15 * SECOND, 2));
    world.judge(Verdict::Replace(moving(1, 8 * SECOND, 3)));
    assert_eq!(world.dials[0].1, peer(3));
    assert!(world.has(|event| matches!(event, Event::NotificationReplaced { .. })));
    world.notify(conns[1], &moving(1, 15 * SECOND, 2));
    world.judge(Verdict::Continue);
    assert_eq!(world.handled, [Handled::Applied, Handled::Ignored(Ignored::Duplicate)]);

    world.answer_dials();
    while world.answer_dials() > 0 {}
    let arrived: Vec<ConnId> = world.cut_over.iter().map(|(_, to)| *to).collect();
    assert_eq!(arrived.len(), 10);
    // At the target, the server says it again: there is nowhere to go.
    world.notify(arrived[0], &moving(1, 10 * SECOND, 2));
    world.judge(Verdict::Continue);
    assert_eq!(world.handled[2..], [Handled::Ignored(Ignored::AlreadyThere)]);
    assert!(world.dials.is_empty());
}

/// A reviewer cannot lead a move back to where it comes from: nothing is dialled, and no window stays open. PITFALL-33
#[test]
fn a_move_that_is_replaced_by_one_to_its_own_source_does_nothing() {
    let (mut world, conns) = reviewed();
    world.notify(conns[0], &moving(1, 15 * SECOND, 2));
    world.judge(Verdict::Replace(moving(1, 15 * SECOND, 1)));
    assert_eq!(world.handled, [Handled::Ignored(Ignored::AlreadyThere)]);
    assert!(world.dials.is_empty() && !world.is_relaxed(conns[0]));
    assert!(!world.has(|event| matches!(event, Event::MoveStarted { .. })));
}

/// A reviewer may put another notification in the place of the one that came. RULE-108
#[test]
fn a_notification_of_another_kind_takes_the_place_of_the_first() {
    let (mut world, conns) = reviewed();
    world.notify(conns[0], &moving(1, 15 * SECOND, 2));
    world.judge(Verdict::Replace(opener(1)));
    assert!(world.dials.is_empty());
    assert!(world.is_relaxed(conns[0]) && world.coordinator.relaxed(world.now, None).is_some());
    world.notify(conns[0], &completion(1));
    world.judge(Verdict::Continue);
    assert!(!world.is_relaxed(conns[0]), "nothing of the MOVING is left");
}

/// A notification whose review takes too long takes effect, and an event says so. RULE-114
#[test]
fn without_a_verdict_in_time_it_takes_effect_as_it_came() {
    for (grace, limit) in [(15 * SECOND, SECOND), (2 * SECOND, SECOND / 2)] {
        let (mut world, conns) = reviewed();
        let arrived_at = world.now;
        world.notify(conns[0], &moving(1, grace, 2));
        assert!(world.next_timeout(arrived_at + limit));
        assert_eq!(world.now, arrived_at + limit, "a MOVING waits for a quarter of its grace at most");
        assert_eq!((world.dials.len(), &world.handled[..]), (1, &[Handled::Applied][..]));
        let timed_out = Unreviewed::TimedOut;
        assert!(world.has(
            |event| matches!(event, Event::NotificationUnreviewed { reason, .. } if *reason == timed_out)
        ));
        // Too late.
        world.judge(Verdict::Veto);
        assert_eq!(world.handled.len(), 1);
        assert!(world.is_relaxed(conns[0]));
    }
}

#[test]
fn what_was_overtaken_during_its_review_is_stale() {
    let (mut world, conns) = reviewed();
    world.notify(conns[0], &moving(1, 15 * SECOND, 2));
    world.notify(conns[1], &moving(2, 15 * SECOND, 3));
    let older = world.reviews.remove(0);
    world.judge(Verdict::Continue);
    assert_eq!(world.dials[0].1, peer(3));
    world.reviews.push(older);
    world.judge(Verdict::Continue);
    assert_eq!(world.handled, [Handled::Applied, Handled::Ignored(Ignored::Stale)]);
}

#[test]
fn the_verdict_counts_although_the_connection_is_gone() {
    let (mut world, conns) = reviewed();
    world.notify(conns[0], &moving(1, 15 * SECOND, 2));
    world.coordinator.handle_closed(world.now, conns[0], CloseCause::ByServer);
    world.judge(Verdict::Continue);
    assert_eq!(world.dials.len(), 1, "the others have to leave all the same");
}

/// Reviews are bounded; what finds no room takes effect at once. INV-14
#[test]
fn beyond_the_limit_nobody_is_asked() {
    let (mut world, conns) = reviewed();
    for seq in 0..300 {
        world.notify(conns[0], &opener(seq));
    }
    assert_eq!(world.reviews.len(), 256);
    let skipped = |event: &&Event| matches!(event, Event::NotificationUnreviewed { reason, .. } if *reason == Unreviewed::TooMany);
    assert_eq!(world.events.iter().filter(skipped).count(), 44);
    world.notify(conns[0], &moving(1, 15 * SECOND, 2));
    assert_eq!(world.dials.len(), 1);
}

#[test]
fn nobody_is_asked_unless_somebody_reviews() {
    let (mut world, conns) = reviewed();
    world.coordinator.review_notifications(None);
    world.notify(conns[0], &moving(1, 15 * SECOND, 2));
    assert_eq!((world.reviews.len(), world.handled.len(), world.dials.len()), (0, 0, 1));
}

#[derive(Clone, Debug)]
enum Step {
    Notify { conn: usize, notification: Notification },
    Judge { which: usize, verdict: Verdict },
    Stale { which: usize },
    Close { conn: usize },
    Answer,
    Wait(u64),
}

fn notification() -> impl Strategy<Value = Notification> {
    prop_oneof![
        (0..4u64, 1..20u32, 1..5u16).prop_map(|(seq, grace, port)| moving(seq, grace * SECOND, port)),
        (0..4u64).prop_map(opener),
        (0..4u64).prop_map(completion),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let verdict = prop_oneof![
        2 => Just(Verdict::Continue),
        1 => Just(Verdict::Veto),
        1 => notification().prop_map(Verdict::Replace),
    ];
    prop_oneof![
        4 => (0..6usize, notification()).prop_map(|(conn, notification)| Step::Notify { conn, notification }),
        3 => (any::<usize>(), verdict).prop_map(|(which, verdict)| Step::Judge { which, verdict }),
        1 => any::<usize>().prop_map(|which| Step::Stale { which }),
        1 => (0..6usize).prop_map(|conn| Step::Close { conn }),
        1 => Just(Step::Answer),
        1 => (0..3_000u64).prop_map(Step::Wait),
    ]
}

proptest! {
    /// In whatever order notifications, verdicts, closes and time come, each review ends once, each window ends, and nothing
    /// spins. INV-11, INV-12
    #[test]
    fn every_review_ends_once(steps in proptest::collection::vec(step(), 0..60)) {
        let mut world = World::new("127.0.0.1:1", 6);
        world.coordinator.review_notifications(Some(REVIEW_LIMIT));
        let conns = world.connected(6);
        let mut begun = 0;
        let mut judged = Vec::new();
        for step in steps {
            match step {
                Step::Notify { conn, notification } => {
                    let before = world.reviews.len();
                    world.notify(conns[conn], &notification);
                    begun += world.reviews.len() - before;
                }
                Step::Judge { which, verdict } if !world.reviews.is_empty() => {
                    let (review, conn) = world.reviews.remove(which % world.reviews.len());
                    world.coordinator.handle_verdict(world.now, review, verdict);
                    judged.push((review, conn));
                    world.drain();
                }
                Step::Stale { which } if !judged.is_empty() => {
                    let before = world.handled.len();
                    let (review, _) = judged[which % judged.len()];
                    world.coordinator.handle_verdict(world.now, review, Verdict::Veto);
                    world.drain();
                    prop_assert_eq!(world.handled.len(), before);
                }
                Step::Judge { .. } | Step::Stale { .. } => {}
                Step::Close { conn } => {
                    world.coordinator.handle_closed(world.now, conns[conn], CloseCause::ByServer);
                    world.drain();
                }
                Step::Answer => { world.answer_dials(); }
                Step::Wait(millis) => {
                    let until = world.now + Duration::from_millis(millis);
                    while world.next_timeout(until) {}
                    world.now = until;
                }
            }
        }
        let end = world.now + 300 * SECOND;
        while world.next_timeout(end) {
            world.answer_dials();
        }
        prop_assert_eq!(world.handled.len(), begun);
        world.now = end;
        prop_assert_eq!(world.coordinator.relaxed(end, None), None);
        prop_assert_eq!(world.coordinator.poll_timeout(), None);
    }
}
