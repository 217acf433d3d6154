use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::cluster::heard::{Heard, Word};
use crate::timer::epoch;

const SECOND: Duration = Duration::from_secs(1);

fn node(number: u32) -> NodeId {
    NodeId::from_parts(number, 0)
}

fn range(start: u16, end: u16) -> SlotRange {
    SlotRange::new(start, end).unwrap()
}

fn fact(origin: Origin, as_of: Instant) -> Fact {
    Fact { origin, as_of }
}

fn owners(map: &SlotMap, slots: impl IntoIterator<Item = u16>) -> Vec<Option<u32>> {
    let number = |(owner, _): (NodeId, Fact)| owner.index() as u32;
    slots.into_iter().map(|slot| map.owner(slot).map(number)).collect()
}

#[test]
fn a_patch_in_the_middle_splits_a_run() {
    let now = epoch();
    let mut map = SlotMap::default();
    let first = map.apply(&[(range(0, 9), node(1))], fact(Origin::Snapshot, now));
    assert_eq!(first, [Change { slots: range(0, 9), from: None, to: node(1) }]);
    let moved = map.assign(5, node(2), fact(Origin::Redirect, now + SECOND));
    assert_eq!(moved, [Change { slots: range(5, 5), from: Some(node(1)), to: node(2) }]);
    assert_eq!(owners(&map, [0, 4, 5, 6, 9, 10]), [Some(1), Some(1), Some(2), Some(1), Some(1), None]);
    assert_eq!(map.uncovered(), SLOTS - 10);
}

/// The law that everything rests on. RULE-320
#[test]
fn a_snapshot_that_was_asked_for_before_a_delta_never_takes_it_back() {
    let now = epoch();
    for (asked, winner) in [(now, 2), (now + SECOND, 2), (now + SECOND + Duration::from_nanos(1), 1)] {
        let mut map = SlotMap::default();
        map.apply(&[(range(0, 9), node(1))], fact(Origin::Snapshot, now));
        map.apply(&[(range(3, 4), node(2))], fact(Origin::Delta(Seq(7)), now + SECOND));
        map.apply(&[(range(0, 9), node(1))], fact(Origin::Snapshot, asked));
        assert_eq!(owners(&map, [2, 3, 4, 5]), [Some(1), Some(winner), Some(winner), Some(1)]);
    }
}

/// RULE-321
#[test]
fn of_two_deltas_the_higher_id_wins_in_whatever_order_they_come() {
    let now = epoch();
    for (first, second, winner) in [(7, 8, 2), (8, 7, 1), (7, 7, 1)] {
        let mut map = SlotMap::default();
        map.apply(&[(range(0, 9), node(1))], fact(Origin::Delta(Seq(first)), now));
        let later = now + SECOND;
        map.apply(&[(range(0, 9), node(2))], fact(Origin::Delta(Seq(second)), later));
        assert_eq!(owners(&map, [0]), [Some(winner)], "{second} after {first}");
    }
}

/// RULE-324
#[test]
fn a_promotion_takes_all_slots_but_those_known_by_something_later() {
    let now = epoch();
    let (old, new, other) = (node(1), node(2), node(3));
    let mut map = SlotMap::default();
    map.apply(
        &[(range(0, 9), old), (range(20, 29), old), (range(30, 39), other)],
        fact(Origin::Snapshot, now),
    );
    map.set_replicas(BTreeMap::from([(old, vec![new, node(4)]), (other, vec![node(5)])]));
    map.assign(7, old, fact(Origin::Redirect, now + 3 * SECOND));
    assert!(map.is_replica(old, new));

    let changes = map.promote(old, new, fact(Origin::Redirect, now + SECOND));

    assert_eq!(changes.iter().map(Change::len).sum::<usize>(), 19);
    assert_eq!(owners(&map, [0, 6, 7, 8, 20, 30]), [Some(2), Some(2), Some(1), Some(2), Some(2), Some(3)]);
    assert!(!map.is_replica(old, new) && map.is_replica(new, node(4)));
    assert!(map.is_replica(new, old), "it is promoted again, if need be");
}

/// RULE-397
#[test]
fn replicas_stay_with_a_primary_that_a_snapshot_from_before_does_not_name() {
    let now = epoch();
    let (old, new, other) = (node(1), node(2), node(3));
    let mut map = SlotMap::default();
    let ranges = [(range(0, 9), old), (range(10, 19), other)];
    map.apply(&ranges, fact(Origin::Snapshot, now));
    map.set_replicas(BTreeMap::from([(old, vec![new, node(4)]), (other, vec![node(5)])]));
    map.promote(old, new, fact(Origin::Redirect, now + 2 * SECOND));

    map.apply(&ranges, fact(Origin::Snapshot, now + SECOND));
    map.set_replicas(BTreeMap::from([(old, vec![new]), (other, Vec::new())]));

    assert_eq!(owners(&map, [0, 10]), [Some(2), Some(3)]);
    assert!(map.is_replica(new, node(4)) && map.is_replica(new, old));
    assert!(!map.is_replica(old, new), "it has no slot");
    assert!(!map.is_replica(other, node(5)), "the snapshot says that it has none");
}

/// RULE-321
#[test]
fn what_is_news_is_told_by_owner() {
    let now = epoch();
    let mut map = SlotMap::default();
    map.apply(&[(range(2, 4), node(1)), (range(6, 9), node(2))], fact(Origin::Snapshot, now));
    map.assign(7, node(3), fact(Origin::Redirect, now + 2 * SECOND));
    let news = |start, end| {
        let parts = map.news_in(range(start, end), fact(Origin::Delta(Seq(1)), now + SECOND));
        let parts = parts
            .into_iter()
            .map(|(range, owner)| (range.start(), range.end(), owner.map(|owner| owner.index())));
        parts.collect::<Vec<_>>()
    };
    assert_eq!(
        news(0, 20),
        [(0, 1, None), (2, 4, Some(1)), (5, 5, None), (6, 6, Some(2)), (8, 9, Some(2)), (10, 20, None)]
    );
    assert_eq!(news(3, 3), [(3, 3, Some(1))]);
    assert_eq!(news(7, 7), []);
    assert_eq!(news(16_383, 16_383), [(16_383, 16_383, None)]);
}

#[test]
fn the_table_leads_held_slots_elsewhere() {
    let now = epoch();
    let mut map = SlotMap::default();
    map.apply(&[(range(0, 9), node(1)), (range(10, 16_383), node(2))], fact(Origin::Snapshot, now));
    map.set_replicas(BTreeMap::from([(node(2), vec![node(4)])]));

    let table = map.table([(range(5, 6), node(3))].into_iter(), |_| false);

    assert_eq!([4, 5, 6, 7].map(|slot| table.node_of(slot)), [1, 3, 3, 1].map(|number| Some(node(number))));
    assert_eq!(table.node_of(16_384), None);
    assert_eq!(table.replicas_of(16_383), [node(4)]);
    assert_eq!(table.replicas_of(5), []);
    assert_eq!(table.nodes().collect::<Vec<_>>(), [1, 2, 3, 4].map(node));
    assert_eq!(table.uncovered(), 0);
    assert_eq!(table.shard_of(5).map(|shard| table.shards()[shard].primary()), Some(node(3)));
}

/// INV-14
#[test]
fn a_map_in_pieces_has_no_more_runs_than_there_are_slots_and_is_mended_by_a_snapshot() {
    let now = epoch();
    let mut map = SlotMap::default();
    for slot in 0..SLOTS as u16 {
        map.assign(slot, node(u32::from(slot % 2)), fact(Origin::Redirect, now));
    }
    assert_eq!(map.runs.len(), SLOTS);
    map.apply(&[(range(0, 16_383), node(3))], fact(Origin::Snapshot, now + SECOND));
    assert_eq!(map.runs.len(), 1);
    assert_eq!(map.owners().collect::<Vec<_>>(), [node(3)]);
}

/// Something that becomes known.
#[derive(Clone, Debug)]
enum Step {
    Wait,
    /// It was asked for, or written, so many steps ago.
    Snapshot {
        ago: u32,
        owners: Vec<(u16, u16, u32)>,
    },
    Redirect {
        ago: u32,
        slot: u16,
        owner: u32,
    },
    Delta {
        seq: u64,
        start: u16,
        len: u16,
        owner: u32,
    },
}

const BAND: u16 = 24;

fn step() -> impl Strategy<Value = Step> {
    let owner = || 0..4u32;
    // Gaps and lengths, so that ranges are disjoint.
    let pieces = proptest::collection::vec((0..5u16, 1..7u16, owner()), 1..5);
    prop_oneof![
        2 => Just(Step::Wait),
        3 => (0..6u32, pieces).prop_map(|(ago, owners)| Step::Snapshot { ago, owners }),
        3 => (0..6u32, 0..BAND, owner()).prop_map(|(ago, slot, owner)| Step::Redirect { ago, slot, owner }),
        3 => (0..6u64, 0..BAND, 1..9u16, owner())
            .prop_map(|(seq, start, len, owner)| Step::Delta { seq, start, len, owner }),
    ]
}

/// All that was ever said, judged anew for each slot.
#[derive(Default)]
struct Model {
    /// Who said that which slot is whose: the time whose state it shows, and the id if it was announced.
    said: Vec<(u16, u32, Instant, Option<u64>)>,
    /// When which id came first, of those that were higher than all before.
    announced: Vec<(u64, Instant)>,
    /// The others.
    late: Vec<u64>,
}

impl Model {
    /// The first to have come of those that show the latest time; of announcements of that time the highest id.
    fn owner(&self, slot: u16) -> Option<u32> {
        let about = || self.said.iter().filter(|(about, ..)| *about == slot);
        let latest = about().map(|(_, _, as_of, _)| *as_of).max()?;
        let mut of_latest = about().filter(|(_, _, as_of, _)| *as_of == latest);
        let first = of_latest.next()?;
        let better = |best: &'_ (u16, u32, Instant, Option<u64>), next: &(u16, u32, Instant, Option<u64>)| matches!((best.3, next.3), (Some(best), Some(next)) if next > best);
        let best = of_latest.fold(first, |best, next| if better(best, next) { next } else { best });
        Some(best.1)
    }

    /// When the announcement with this id was heard first; `None` if it was late.
    fn heard(&mut self, now: Instant, seq: u64) -> Word {
        if let Some((_, at)) = self.announced.iter().find(|(known, _)| *known == seq) {
            return Word::Of(*at);
        }
        if self.late.contains(&seq) {
            return Word::Known;
        }
        if self.announced.iter().any(|(known, _)| *known > seq) {
            self.late.push(seq);
            return Word::Late;
        }
        self.announced.push((seq, now));
        Word::Of(now)
    }
}

proptest! {
    /// RULE-320, RULE-321, RULE-322
    #[test]
    fn behaves_like_a_list_of_all_facts_that_is_judged_anew(
        steps in proptest::collection::vec(step(), 0..40),
    ) {
        let origin = epoch() + 100 * SECOND;
        let mut now = origin;
        let (mut map, mut heard, mut model) = (SlotMap::default(), Heard::default(), Model::default());
        for step in steps {
            let before = owners(&map, 0..BAND + 40);
            let changes = match step {
                Step::Wait => {
                    now += SECOND;
                    Vec::new()
                }
                Step::Snapshot { ago, owners } => {
                    let as_of = now - ago * SECOND;
                    let mut ranges = Vec::new();
                    let mut at = 0;
                    for (gap, len, owner) in owners {
                        ranges.push((range(at + gap, at + gap + len - 1), node(owner)));
                        let slots = at + gap..at + gap + len;
                        model.said.extend(slots.map(|slot| (slot, owner, as_of, None)));
                        at += gap + len;
                    }
                    map.apply(&ranges, fact(Origin::Snapshot, as_of))
                }
                Step::Redirect { ago, slot, owner } => {
                    let as_of = now - ago * SECOND;
                    model.said.push((slot, owner, as_of, None));
                    map.assign(slot, node(owner), fact(Origin::Redirect, as_of))
                }
                Step::Delta { seq, start, len, owner } => {
                    let word = heard.note(now, Seq(seq));
                    prop_assert_eq!(word, model.heard(now, seq));
                    let Word::Of(as_of) = word else { continue };
                    let slots = start..start + len;
                    model.said.extend(slots.map(|slot| (slot, owner, as_of, Some(seq))));
                    let ranges = [(range(start, start + len - 1), node(owner))];
                    map.apply(&ranges, fact(Origin::Delta(Seq(seq)), as_of))
                }
            };
            let after = owners(&map, 0..BAND + 40);
            let expected: Vec<_> = (0..BAND + 40).map(|slot| model.owner(slot)).collect();
            prop_assert_eq!(&after, &expected);
            // What it says has changed is what has changed.
            let changed = (0..BAND + 40).zip(before.iter().zip(&after)).filter(|(_, (before, after))| before != after);
            let changed: Vec<_> = changed.map(|(slot, (before, after))| (slot, *before, *after)).collect();
            let number = |node: NodeId| node.index() as u32;
            let told: Vec<_> = changes.iter().flat_map(|change| {
                let slots = change.slots.start()..=change.slots.end();
                slots.map(|slot| (slot, change.from.map(number), Some(number(change.to))))
            }).collect();
            prop_assert_eq!(told, changed);
            prop_assert!(map.runs.windows(2).all(|pair| pair[0].end < pair[1].start));
            let owned: usize = after.iter().flatten().count();
            prop_assert_eq!(map.uncovered(), SLOTS - owned);
        }
    }
}
