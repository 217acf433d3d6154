mod model;

use proptest::prelude::*;

use super::*;
use crate::timer::epoch;

const SECOND: Duration = Duration::from_secs(1);
const LIMIT: usize = 100;
/// How many seconds a completion is remembered.
const MEMORY: u64 = 60;

fn shards(ids: &[&str]) -> ShardIds {
    ids.iter().copied().collect()
}

fn migrating(seq: u64, ids: &[&str]) -> Cause {
    Cause::Notification { kind: NotificationKind::Migrating, seq: Seq(seq), shards: shards(ids) }
}

fn migrated(windows: &mut Windows<char>, now: Instant, seq: u64, ids: &[&str]) -> Vec<(char, Cause)> {
    windows.complete(now, NotificationKind::Migrated, Seq(seq), &shards(ids))
}

// ---- timeouts ----

/// INV-08, PITFALL-11, RULE-50, RULE-51
#[test]
fn a_window_never_shortens_a_timeout() {
    let [short, long] = [SECOND, 10 * SECOND];
    for (configured, relaxed, effective) in [
        (Some(short), None, Some(short)),
        (Some(short), Some(long), Some(long)),
        (Some(long), Some(short), Some(long)),
        (None, Some(short), None),
        (None, None, None),
    ] {
        assert_eq!(effective_timeout(configured, relaxed), effective, "{configured:?} {relaxed:?}");
    }
}

/// RULE-49
#[test]
fn an_opener_ends_three_relaxed_timeouts_after_the_announced_time() {
    let now = epoch();
    assert_eq!(opener_end(now, Some(2 * SECOND), 10 * SECOND), now + 32 * SECOND);
    assert_eq!(opener_end(now, None, 10 * SECOND), now + 30 * SECOND);
    assert!(opener_end(now, Some(Duration::MAX), Duration::MAX) > now);
}

// ---- opening ----

#[test]
fn causes_are_openers_and_moves() {
    let cause = |name: &str, rest: &[&str]| {
        let words = [&[name, "7"], rest].concat();
        let push: Vec<_> = words.iter().map(|word| resp3_codec::Frame::bulk((*word).to_owned())).collect();
        Cause::of(&Notification::parse(&push).unwrap().unwrap())
    };
    let opener = |kind, ids: &[&str]| Some(Cause::Notification { kind, seq: Seq(7), shards: shards(ids) });
    assert_eq!(cause("MIGRATING", &["2", "1"]), opener(NotificationKind::Migrating, &["1"]));
    assert_eq!(cause("FAILING_OVER", &[]), opener(NotificationKind::FailingOver, &[]));
    assert_eq!(cause("SMIGRATING", &["1-5"]), opener(NotificationKind::SlotsMigrating, &[]));
    assert_eq!(cause("MOVING", &["15"]), Some(Cause::Move { seq: Seq(7), target: MoveTarget::SameName }));
    assert_eq!(cause("MIGRATED", &[]), None);
    assert_eq!(cause("FAILED_OVER", &[]), None);
    assert_eq!(cause("SMIGRATED", &["a:1", "1-5"]), None);
}

/// INV-08, PITFALL-07, RULE-49
#[test]
fn a_window_ends_by_itself() {
    let now = epoch();
    let mut windows = Windows::new(LIMIT);
    assert!(windows.open(now, 'a', migrating(1, &[]), now + 3 * SECOND));
    assert!(!windows.is_open(now, &'b'));
    assert_eq!(windows.open_until(now, &'a'), Some(now + 3 * SECOND));
    assert_eq!(windows.next_expiry(), Some(now + 3 * SECOND));
    assert!(windows.is_open(now + 2 * SECOND, &'a'));
    // Also when nobody asks it to.
    assert!(!windows.is_open(now + 3 * SECOND, &'a'));
    assert_eq!(windows.expire(now + 3 * SECOND), [('a', migrating(1, &[]))]);
    assert_eq!(windows.expire(now + 3 * SECOND), []);
    assert_eq!(windows.next_expiry(), None);
}

/// INV-09, RULE-43
#[test]
fn repeating_a_notification_extends_nothing() {
    let now = epoch();
    let mut windows = Windows::new(LIMIT);
    windows.open(now, 'a', migrating(1, &["1"]), now + 3 * SECOND);
    assert!(!windows.open(now + SECOND, 'a', migrating(1, &["1"]), now + 4 * SECOND));
    assert_eq!(windows.open_until(now, &'a'), Some(now + 3 * SECOND));
    // A late joiner is told while the operation runs: once the window is over, that is news.
    assert!(windows.open(now + 3 * SECOND, 'a', migrating(1, &["1"]), now + 9 * SECOND));
}

#[test]
fn a_tail_is_extended_and_never_shortened() {
    let now = epoch();
    let mut windows = Windows::new(LIMIT);
    assert!(windows.open(now, 'a', Cause::Handoff, now + 3 * SECOND));
    assert!(windows.open(now, 'a', Cause::Handoff, now + 5 * SECOND));
    assert!(!windows.open(now, 'a', Cause::Handoff, now + 4 * SECOND));
    assert_eq!(windows.open_until(now, &'a'), Some(now + 5 * SECOND));
}

/// INV-10
#[test]
fn what_is_over_opens_nothing() {
    let now = epoch();
    let mut windows = Windows::new(LIMIT);
    assert!(!windows.open(now, 'a', migrating(1, &[]), now));
    assert!(windows.iter(now).next().is_none());
}

/// RULE-35
#[test]
fn moves_with_one_id_and_two_targets_are_two_causes() {
    let now = epoch();
    let mut windows = Windows::new(LIMIT);
    let there = MoveTarget::Endpoint(crate::endpoint::Endpoint::unix("/there"));
    let [first, second] = [MoveTarget::SameName, there].map(|target| Cause::Move { seq: Seq(0), target });
    assert!(windows.open(now, 'a', first.clone(), now + 3 * SECOND));
    assert!(windows.open(now, 'a', second.clone(), now + 2 * SECOND));
    assert_eq!(windows.close(|_, cause| *cause == first), [('a', first)]);
    assert_eq!(windows.open_until(now, &'a'), Some(now + 2 * SECOND));
}

/// INV-14
#[test]
fn beyond_the_limit_the_window_that_ends_soonest_gives_way() {
    let now = epoch();
    let mut windows = Windows::new(2);
    windows.open(now, 'a', migrating(1, &[]), now + 5 * SECOND);
    windows.open(now, 'b', migrating(1, &[]), now + 9 * SECOND);
    assert!(windows.open(now, 'c', migrating(1, &[]), now + 7 * SECOND));
    assert!(windows.iter(now).map(|(scope, _)| *scope).eq(['b', 'c']));
    assert!(!windows.open(now, 'd', migrating(1, &[]), now + 6 * SECOND));
    assert!(windows.iter(now).map(|(scope, _)| *scope).eq(['b', 'c']));

    let mut none = Windows::new(0);
    assert!(!none.open(now, 'a', Cause::Handoff, now + SECOND));
}

// ---- completions ----

/// RULE-36, RULE-47
#[test]
fn a_completion_closes_openers_of_its_kind_up_to_its_id_in_every_scope() {
    let now = epoch();
    let end = now + 9 * SECOND;
    let failing_over =
        Cause::Notification { kind: NotificationKind::FailingOver, seq: Seq(1), shards: ShardIds::default() };
    let mut windows = Windows::new(LIMIT);
    for (scope, cause) in [
        ('a', migrating(3, &[])),
        ('b', migrating(4, &[])),
        ('b', migrating(5, &[])),
        ('b', failing_over.clone()),
        ('c', Cause::Handoff),
    ] {
        windows.open(now, scope, cause, end);
    }
    assert_eq!(migrated(&mut windows, now, 4, &[]), [('a', migrating(3, &[])), ('b', migrating(4, &[]))]);
    let left: Vec<_> = windows.iter(now).map(|(scope, cause)| (*scope, cause.clone())).collect();
    assert_eq!(left, [('b', migrating(5, &[])), ('b', failing_over), ('c', Cause::Handoff)]);
}

/// A completion looks at the scopes that have an opener's window, and at no other: with a window for each connection of a large
/// pool it would look at all of them.
#[test]
fn only_scopes_of_openers_are_searched_for_what_a_completion_closes() {
    let now = epoch();
    let announced = |windows: &Windows<char>| windows.announced.iter().copied().collect::<String>();
    let mut windows = Windows::new(LIMIT);
    for scope in ['a', 'b', 'c'] {
        assert!(windows.open(now, scope, Cause::Handoff, now + 90 * SECOND));
    }
    assert_eq!(announced(&windows), "");
    windows.open(now, 'b', migrating(1, &[]), now + 5 * SECOND);
    windows.open(now, 'c', migrating(2, &[]), now + 9 * SECOND);
    assert_eq!(announced(&windows), "bc");
    windows.expire(now + 5 * SECOND);
    assert_eq!(announced(&windows), "c", "the handoff alone is left in b");
    assert_eq!(migrated(&mut windows, now + 6 * SECOND, 1, &[]), []);
    assert_eq!(announced(&windows), "c");
    assert_eq!(migrated(&mut windows, now + 6 * SECOND, 2, &[]), [('c', migrating(2, &[]))]);
    assert_eq!(announced(&windows), "");
    windows.open(now + 6 * SECOND, 'a', migrating(3, &[]), now + 9 * SECOND);
    windows.close(|_, cause| *cause != Cause::Handoff);
    assert_eq!((announced(&windows), windows.len()), (String::new(), 3));
}

/// PITFALL-28, RULE-37
#[test]
fn a_completion_that_finds_nothing_is_silent() {
    let now = epoch();
    let mut windows = Windows::new(LIMIT);
    assert_eq!(migrated(&mut windows, now, 4, &["1"]), []);
    // It is older than what starts now.
    assert!(windows.open(now, 'a', migrating(5, &["1"]), now + SECOND));
    assert_eq!(migrated(&mut windows, now, 4, &["1"]), []);
    // An opener completes nothing, even a later one.
    assert_eq!(windows.complete(now, NotificationKind::Migrating, Seq(9), &shards(&["1"])), []);
    assert!(windows.is_open(now, &'a'));
}

/// RULE-47
#[test]
fn a_completion_completes_the_shards_that_it_names() {
    let now = epoch();
    let end = now + 9 * SECOND;
    let mut windows = Windows::new(LIMIT);
    windows.open(now, 'a', migrating(3, &["1", "2"]), end);
    windows.open(now, 'b', migrating(3, &["2"]), end);
    windows.open(now, 'c', migrating(3, &[]), end);

    assert_eq!(migrated(&mut windows, now, 4, &["1"]), [('c', migrating(3, &[]))]);
    assert!(windows.is_open(now, &'a') && windows.is_open(now, &'b'));
    assert_eq!(
        migrated(&mut windows, now, 5, &["2", "3"]),
        [('a', migrating(3, &["2"])), ('b', migrating(3, &["2"]))]
    );
}

/// RULE-47
#[test]
fn a_completion_that_names_no_shard_completes_all() {
    let now = epoch();
    let mut windows = Windows::new(LIMIT);
    windows.open(now, 'a', migrating(3, &["1", "2"]), now + SECOND);
    assert_eq!(migrated(&mut windows, now, 3, &[]), [('a', migrating(3, &["1", "2"]))]);
}

/// INV-10
#[test]
fn an_opener_after_its_completion_reopens_nothing() {
    let now = epoch();
    let end = now + 300 * SECOND;
    let mut windows = Windows::new(LIMIT);
    migrated(&mut windows, now, 4, &["1"]);
    assert!(!windows.open(now, 'a', migrating(3, &["1"]), end));
    assert!(!windows.open(now, 'a', migrating(4, &[]), end));
    // Of two shards, one is not completed.
    assert!(windows.open(now, 'a', migrating(3, &["1", "2"]), end));
    assert_eq!(windows.iter(now).collect::<Vec<_>>(), [(&'a', &migrating(3, &["2"]))]);
    assert!(!windows.open(now, 'a', migrating(3, &["1", "2"]), end));
    // A database that begins to count anew is not shut out for ever.
    assert!(windows.open(now + Duration::from_secs(MEMORY), 'b', migrating(3, &["1"]), end));
}

#[test]
fn openers_left_with_the_same_shards_become_one() {
    let now = epoch();
    let mut windows = Windows::new(LIMIT);
    windows.open(now, 'a', migrating(3, &["1", "2"]), now + 3 * SECOND);
    windows.open(now, 'a', migrating(3, &["2"]), now + 5 * SECOND);
    assert_eq!(migrated(&mut windows, now, 4, &["1"]), []);
    assert_eq!(windows.iter(now).collect::<Vec<_>>(), [(&'a', &migrating(3, &["2"]))]);
    assert_eq!(windows.open_until(now, &'a'), Some(now + 5 * SECOND));
}

// ---- laws ----

#[derive(Clone, Debug)]
enum Step {
    Wait(u64),
    Open { scope: char, kind: NotificationKind, seq: u64, shards: u8, lasts: u64 },
    Complete { kind: NotificationKind, seq: u64, shards: u8 },
    Expire,
}

fn step() -> impl Strategy<Value = Step> {
    let scope = proptest::sample::select(vec!['a', 'b']);
    let opener = proptest::sample::select(vec![NotificationKind::Migrating, NotificationKind::FailingOver]);
    let completion = proptest::sample::select(vec![NotificationKind::Migrated, NotificationKind::FailedOver]);
    prop_oneof![
        2 => (0..40u64).prop_map(Step::Wait),
        5 => (scope, opener, 0..4u64, 0..4u8, 0..90u64)
            .prop_map(|(scope, kind, seq, shards, lasts)| Step::Open { scope, kind, seq, shards, lasts }),
        2 => (completion, 0..4u64, 0..4u8)
            .prop_map(|(kind, seq, shards)| Step::Complete { kind, seq, shards }),
        1 => Just(Step::Expire),
    ]
}

/// The shards "1" and "2" by the bits of a number; 0 is "not said".
fn ids(bits: u8) -> ShardIds {
    ["1", "2"].into_iter().enumerate().filter(|(bit, _)| bits & (1 << bit) != 0).map(|(_, id)| id).collect()
}

/// The kind that a completion completes.
fn opener_of(completion: NotificationKind) -> Option<NotificationKind> {
    match completion {
        NotificationKind::Migrated => Some(NotificationKind::Migrating),
        NotificationKind::FailedOver => Some(NotificationKind::FailingOver),
        NotificationKind::SlotsMigrated => Some(NotificationKind::SlotsMigrating),
        _ => None,
    }
}

/// Everything that was announced, never tidied up: the answer is worked out from the whole history at each
/// question.
#[derive(Default)]
struct History {
    openers: Vec<Opener>,
    /// When, opener kind, id, shards.
    completions: Vec<(u64, NotificationKind, u64, u8)>,
}

struct Opener {
    at: u64,
    scope: char,
    kind: NotificationKind,
    seq: u64,
    shards: u8,
    until: u64,
}

impl History {
    /// The shards that `opener` still waits for, or `None` when it waits for nothing.
    fn left(&self, opener: &Opener) -> Option<u8> {
        let mine = self.completions.iter().filter(|(at, kind, seq, _)| {
            at + MEMORY > opener.at && *kind == opener.kind && *seq >= opener.seq
        });
        let mut left = opener.shards;
        for (.., shards) in mine {
            left &= !shards;
            if *shards == 0 || left == 0 {
                return None;
            }
        }
        Some(left)
    }

    fn open(&mut self, opener: Opener) {
        let left = self.left(&opener);
        let is_repeated = self.openers.iter().any(|known| {
            let is_same = (known.scope, known.kind, known.seq) == (opener.scope, opener.kind, opener.seq);
            is_same && known.until > opener.at && self.left(known) == left
        });
        if left.is_some() && opener.until > opener.at && !is_repeated {
            self.openers.push(opener);
        }
    }

    fn open_until(&self, now: u64, scope: char) -> Option<u64> {
        let open = self.openers.iter().filter(|opener| opener.scope == scope && self.left(opener).is_some());
        open.map(|opener| opener.until).max().filter(|until| *until > now)
    }
}

proptest! {
    /// INV-08, INV-09, INV-10, INV-12
    #[test]
    fn behave_like_their_whole_history(steps in proptest::collection::vec(step(), 0..50)) {
        let origin = epoch();
        let at = |seconds: u64| origin + Duration::from_secs(seconds);
        let mut windows = Windows::new(LIMIT);
        let mut history = History::default();
        let mut now = 0;
        for step in steps {
            match step {
                Step::Wait(seconds) => now += seconds,
                Step::Open { scope, kind, seq, shards, lasts } => {
                    let cause = Cause::Notification { kind, seq: Seq(seq), shards: ids(shards) };
                    windows.open(at(now), scope, cause.clone(), at(now + lasts));
                    prop_assert!(!windows.open(at(now), scope, cause, at(now + lasts + 1)) || lasts == 0);
                    history.open(Opener { at: now, scope, kind, seq, shards, until: now + lasts });
                    if lasts == 0 {
                        history.open(Opener { at: now, scope, kind, seq, shards, until: now + 1 });
                    }
                }
                Step::Complete { kind, seq, shards } => {
                    let closed = windows.complete(at(now), kind, Seq(seq), &ids(shards));
                    let is_gone = |scope: &char, cause: &Cause| {
                        windows.iter(at(now)).all(|(other, open)| other != scope || open != cause)
                    };
                    prop_assert!(closed.iter().all(|(scope, cause)| is_gone(scope, cause)));
                    prop_assert_eq!(windows.complete(at(now), kind, Seq(seq), &ids(shards)), []);
                    history.completions.push((now, opener_of(kind).unwrap(), seq, shards));
                }
                Step::Expire => {
                    windows.expire(at(now));
                    prop_assert!(windows.next_expiry().is_none_or(|next| next > at(now)));
                }
            }
            for scope in ['a', 'b'] {
                let expected = history.open_until(now, scope).map(at);
                prop_assert_eq!(windows.open_until(at(now), &scope), expected);
                prop_assert_eq!(windows.is_open(at(now), &scope), expected.is_some());
            }
        }
        // Left alone, everything ends.
        let end = at(now + 200);
        windows.expire(end);
        prop_assert_eq!(windows.next_expiry(), None);
    }

    /// INV-14
    #[test]
    fn never_exceed_their_limit(
        limit in 0..6usize, opened in proptest::collection::vec((0..9u8, 0..9u64, 1..99u64), 0..40),
    ) {
        let now = epoch();
        let mut windows = Windows::new(limit);
        for (scope, seq, lasts) in opened {
            let is_changed = windows.open(now, scope, migrating(seq, &[]), now + Duration::from_secs(lasts));
            prop_assert!(windows.iter(now).count() <= limit);
            prop_assert!(!is_changed || windows.is_open(now, &scope));
        }
    }
}
