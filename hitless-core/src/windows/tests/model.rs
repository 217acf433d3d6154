//! The windows of every cause against a list that is searched anew at each question.

use super::*;

const SCOPES: [char; 3] = ['a', 'b', 'c'];

#[derive(Clone, Debug)]
enum Step {
    Wait(u64),
    Open { scope: char, cause: Cause, lasts: u64 },
    Complete { kind: NotificationKind, seq: u64, shards: u8 },
    CloseScope(char),
    CloseCause(Cause),
    Expire,
}

fn cause() -> impl Strategy<Value = Cause> {
    let kind = proptest::sample::select(vec![
        NotificationKind::Migrating,
        NotificationKind::FailingOver,
        NotificationKind::SlotsMigrating,
    ]);
    let target = proptest::sample::select(vec!["", "10.0.0.1:1", "10.0.0.2:1"]);
    let target = target.prop_map(|text| match text {
        "" => MoveTarget::SameName,
        address => MoveTarget::Endpoint(crate::endpoint::Endpoint::parse(address, 1).unwrap()),
    });
    prop_oneof![
        4 => (kind, 0..4u64, 0..4u8)
            .prop_map(|(kind, seq, shards)| Cause::Notification { kind, seq: Seq(seq), shards: ids(shards) }),
        2 => (0..3u64, target).prop_map(|(seq, target)| Cause::Move { seq: Seq(seq), target }),
        2 => Just(Cause::Handoff),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let scope = || proptest::sample::select(SCOPES.to_vec());
    let completion = proptest::sample::select(vec![
        NotificationKind::Migrated,
        NotificationKind::FailedOver,
        NotificationKind::SlotsMigrated,
        // It completes nothing.
        NotificationKind::Moving,
    ]);
    prop_oneof![
        3 => (0..30u64).prop_map(Step::Wait),
        7 => (scope(), cause(), 0..90u64).prop_map(|(scope, cause, lasts)| Step::Open { scope, cause, lasts }),
        3 => (completion, 0..4u64, 0..4u8).prop_map(|(kind, seq, shards)| Step::Complete { kind, seq, shards }),
        1 => scope().prop_map(Step::CloseScope),
        1 => cause().prop_map(Step::CloseCause),
        1 => Just(Step::Expire),
    ]
}

#[derive(Clone, Debug, PartialEq)]
struct Entry {
    scope: char,
    cause: Cause,
    until: u64,
}

/// Every window and every completion in one list each.
struct Model {
    entries: Vec<Entry>,
    /// When, opener kind, id, shards.
    completions: Vec<(u64, NotificationKind, u64, ShardIds)>,
    limit: usize,
}

impl Model {
    fn open(&mut self, now: u64, scope: char, cause: Cause, until: u64) -> bool {
        let mut recent = self.completions.iter().filter(|(at, ..)| at + MEMORY > now);
        let cause = recent.try_fold(cause, |cause, (_, kind, seq, shards)| left(cause, *kind, *seq, shards));
        let Some(cause) = cause.filter(|_| until > now) else { return false };
        let known = self.entries.iter_mut().find(|entry| entry.scope == scope && entry.cause == cause);
        if let Some(known) = known {
            let extends = until > known.until && (cause == Cause::Handoff || known.until <= now);
            known.until = if extends { until } else { known.until };
            return extends;
        }
        self.entries.push(Entry { scope, cause: cause.clone(), until });
        if self.entries.len() > self.limit {
            // The first to end gives way; of several, the oldest of the first scope.
            let mut order: Vec<usize> = (0..self.entries.len()).collect();
            order.sort_by_key(|at| (self.entries[*at].until, self.entries[*at].scope));
            self.entries.remove(order[0]);
        }
        self.entries.iter().any(|entry| entry.scope == scope && entry.cause == cause)
    }

    fn complete(&mut self, now: u64, kind: NotificationKind, seq: u64, shards: ShardIds) -> Vec<Entry> {
        let Some(opener) = opener_of(kind) else { return Vec::new() };
        let mut closed = Vec::new();
        let mut kept: Vec<Entry> = Vec::new();
        for entry in self.entries.drain(..) {
            let Some(cause) = left(entry.cause.clone(), opener, seq, &shards) else {
                closed.push(entry);
                continue;
            };
            let same = kept.iter_mut().find(|other| other.scope == entry.scope && other.cause == cause);
            match same {
                Some(same) => same.until = same.until.max(entry.until),
                None => kept.push(Entry { cause, ..entry }),
            }
        }
        self.entries = kept;
        self.completions.push((now, opener, seq, shards));
        closed
    }

    fn take(&mut self, takes: impl Fn(&Entry) -> bool) -> Vec<Entry> {
        self.entries.extract_if(.., |entry| takes(entry)).collect()
    }
}

/// What a completion leaves of `cause`.
fn left(cause: Cause, opener: NotificationKind, completed: u64, shards: &ShardIds) -> Option<Cause> {
    let Cause::Notification { kind, seq, shards: mine } = &cause else { return Some(cause) };
    if *kind != opener || seq.0 > completed {
        return Some(cause);
    }
    let rest: ShardIds = mine.iter().filter(|id| !shards.contains(id)).collect();
    if mine.is_empty() || shards.is_empty() || rest.is_empty() {
        return None;
    }
    Some(Cause::Notification { kind: *kind, seq: *seq, shards: rest })
}

fn sorted(closed: impl IntoIterator<Item = (char, Cause)>) -> Vec<(char, Cause)> {
    let mut closed: Vec<_> = closed.into_iter().collect();
    closed.sort();
    closed
}

proptest! {
    /// After each step the open windows are those of the list, and so are the answers. INV-08, INV-09, INV-10, INV-14,
    /// RULE-43
    #[test]
    fn every_cause_agrees_with_a_plain_list(
        limit in 1..8usize, steps in proptest::collection::vec(step(), 0..60),
    ) {
        let origin = epoch();
        let at = |seconds: u64| origin + Duration::from_secs(seconds);
        let mut windows = Windows::new(limit);
        let mut model = Model { entries: vec![], completions: vec![], limit };
        let mut now = 0;
        for step in steps {
            let (closed, expected) = match step {
                Step::Wait(seconds) => {
                    now += seconds;
                    (vec![], vec![])
                }
                Step::Open { scope, cause, lasts } => {
                    let news = model.open(now, scope, cause.clone(), now + lasts);
                    prop_assert_eq!(windows.open(at(now), scope, cause, at(now + lasts)), news);
                    (vec![], vec![])
                }
                Step::Complete { kind, seq, shards } => {
                    let closed = windows.complete(at(now), kind, Seq(seq), &ids(shards));
                    (closed, model.complete(now, kind, seq, ids(shards)))
                }
                Step::CloseScope(scope) => {
                    (windows.close(|of, _| *of == scope), model.take(|entry| entry.scope == scope))
                }
                Step::CloseCause(cause) => {
                    (windows.close(|_, of| *of == cause), model.take(|entry| entry.cause == cause))
                }
                Step::Expire => (windows.expire(at(now)), model.take(|entry| entry.until <= now)),
            };
            let expected = expected.into_iter().map(|entry| (entry.scope, entry.cause));
            prop_assert_eq!(sorted(closed), sorted(expected));

            let open = model.entries.iter().filter(|entry| entry.until > now);
            let open = sorted(open.map(|entry| (entry.scope, entry.cause.clone())));
            let found = sorted(windows.iter(at(now)).map(|(scope, cause)| (*scope, cause.clone())));
            prop_assert_eq!(found, open);
            prop_assert_eq!(windows.len(), model.entries.len());
            prop_assert!(windows.len() <= limit);
            let next = model.entries.iter().map(|entry| at(entry.until)).min();
            prop_assert_eq!(windows.next_expiry(), next);
            for scope in SCOPES {
                let mine = model.entries.iter().filter(|entry| entry.scope == scope && entry.until > now);
                let until = mine.map(|entry| at(entry.until)).max();
                prop_assert_eq!(windows.open_until(at(now), &scope), until);
            }
        }
    }

    /// The timeout in force is never shorter than the configured one, and infinite stays infinite. INV-08, PITFALL-11,
    /// RULE-50
    #[test]
    fn the_timeout_in_force_is_the_longer_one(
        configured in proptest::option::of(0..60u64), relaxed in proptest::option::of(0..60u64),
    ) {
        let timeout = |seconds: Option<u64>| seconds.map(Duration::from_secs);
        let expected = configured.map(|configured| [Some(configured), relaxed].into_iter().flatten().max().unwrap());
        prop_assert_eq!(effective_timeout(timeout(configured), timeout(relaxed)), timeout(expected));
    }
}
