use proptest::prelude::*;

use super::*;
use crate::slots::SlotRange;

fn text(text: &str) -> Frame {
    Frame::bulk(text.to_owned())
}

fn int(integer: i64) -> Frame {
    Frame::Integer(integer)
}

fn array<const N: usize>(elements: [Frame; N]) -> Frame {
    Frame::Array(elements.into())
}

fn parse<const N: usize>(name: &str, elements: [Frame; N]) -> Result<Notification, Problem> {
    let push: Vec<Frame> = std::iter::once(text(name)).chain(elements).collect();
    match Notification::parse(&push) {
        Ok(notification) => Ok(notification.expect("the name is known")),
        Err(error) => {
            assert_eq!(error.kind.as_str(), name);
            Err(error.problem)
        }
    }
}

fn endpoint(text: &str) -> Endpoint {
    Endpoint::parse(text, 6379).unwrap()
}

fn slots(text: &str) -> SlotSet {
    SlotSet::parse(text).unwrap()
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

// ---- names ----

/// RULE-23
#[test]
fn names_are_bulk_or_simple_strings_in_upper_case() {
    for kind in NotificationKind::ALL {
        assert_eq!(NotificationKind::from_wire(kind.to_string().as_bytes()), Some(kind));
        assert_eq!(NotificationKind::from_wire(kind.to_string().to_lowercase().as_bytes()), None);
    }
    let rest = [int(1), int(15)];
    for name in [text("MOVING"), Frame::simple("MOVING")] {
        let push: Vec<Frame> = std::iter::once(name).chain(rest.clone()).collect();
        let moving = Notification::parse(&push).unwrap().unwrap();
        assert_eq!(moving.kind(), NotificationKind::Moving);
    }
}

/// PITFALL-43, PITFALL-44, RULE-23
#[test]
fn other_pushes_are_left_to_others() {
    for push in [
        vec![],
        vec![text("message"), text("channel"), text("MOVING")],
        vec![text("moving"), int(1), int(15)],
        vec![text("MOVING "), int(1), int(15)],
        vec![int(1)],
        vec![Frame::Error("MOVING".into()), int(1), int(15)],
        vec![array([text("MOVING"), int(1), int(15)])],
    ] {
        assert_eq!(Notification::parse(&push), Ok(None));
    }
}

// ---- MOVING ----

fn move_target(frame: Frame) -> Result<MoveTarget, Problem> {
    match parse("MOVING", [int(7), int(15), frame])? {
        Notification::Moving { seq: Seq(7), grace, target } if grace == seconds(15) => Ok(target),
        other => panic!("{other:?}"),
    }
}

/// PITFALL-05, PITFALL-10, RULE-24
#[test]
fn moving_names_an_endpoint() {
    for (named, meant) in [
        ("10.0.0.2:7000", "10.0.0.2:7000"),
        ("10.0.0.2", "10.0.0.2:6379"),
        ("Node-2.Example.com:7000", "node-2.example.com:7000"),
        ("node-2.example.com", "node-2.example.com:6379"),
        ("[2001:db8::1]:7000", "[2001:db8::1]:7000"),
        ("[2001:db8::1]", "[2001:db8::1]:6379"),
        ("2001:db8::1", "[2001:db8::1]:6379"),
    ] {
        assert_eq!(move_target(text(named)), Ok(MoveTarget::Endpoint(endpoint(meant))), "{named}");
    }
}

/// PITFALL-05, PITFALL-33, RULE-25, RULE-34
#[test]
fn moving_may_name_none() {
    let absent = parse("MOVING", [int(0), int(15)]).unwrap();
    let none = Notification::Moving { seq: Seq(0), grace: seconds(15), target: MoveTarget::SameName };
    assert_eq!(absent, none);
    for null in [Frame::Null, Frame::NullBulk, Frame::NullArray] {
        assert_eq!(move_target(null), Ok(MoveTarget::SameName));
    }
    for unnamed in ["", "null", "NULL", "none", "?", "?:6379", ":6379", "null:0", "10.0.0.2:0", "node-2:0"] {
        assert_eq!(move_target(text(unnamed)), Ok(MoveTarget::SameName), "{unnamed:?}");
    }
}

/// PITFALL-31, RULE-24
#[test]
fn moving_survives_extra_elements() {
    let moving = parse("MOVING", [int(1), int(15), text("a:1"), Frame::Null, array([int(9)])]).unwrap();
    let expected = MoveTarget::Endpoint(endpoint("a:1"));
    assert_eq!(moving, Notification::Moving { seq: Seq(1), grace: seconds(15), target: expected });
}

/// PITFALL-33, RULE-33
#[test]
fn announced_times_are_clamped() {
    for (announced, meant) in
        [(15, 15), (1, 1), (0, 1), (-1, 1), (i64::MIN, 1), (3600, 3600), (3601, 3600), (i64::MAX, 3600)]
    {
        for time in [int(announced), text(&announced.to_string())] {
            let Ok(Notification::Moving { grace, .. }) = parse("MOVING", [int(1), time.clone()]) else {
                panic!("{announced}");
            };
            assert_eq!(grace, seconds(meant), "{announced}");
            let Ok(Notification::Migrating { starts_in, .. }) = parse("MIGRATING", [int(1), time, text("1")])
            else {
                panic!("{announced}");
            };
            assert_eq!(starts_in, Some(seconds(meant)), "{announced}");
        }
    }
    let huge = parse("MOVING", [int(1), text(&"9".repeat(60))]).unwrap();
    assert_eq!(
        huge,
        Notification::Moving { seq: Seq(1), grace: seconds(3600), target: MoveTarget::SameName }
    );
}

#[test]
fn a_malformed_moving_says_what_is_wrong() {
    for (problem, wrong) in [
        (Problem::Time, parse("MOVING", [int(1)])),
        (Problem::Time, parse("MOVING", [int(1), text("soon"), text("a:1")])),
        (Problem::Time, parse("MOVING", [int(1), text("-"), text("a:1")])),
        (Problem::Time, parse("MOVING", [int(1), Frame::Null, text("a:1")])),
        (Problem::EndpointType, parse("MOVING", [int(1), int(15), int(6379)])),
        (Problem::EndpointType, parse("MOVING", [int(1), int(15), array([text("a:1")])])),
        (Problem::Endpoint(EndpointError::Host), parse("MOVING", [int(1), int(15), text("/run/redis.sock")])),
        (Problem::Endpoint(EndpointError::Port), parse("MOVING", [int(1), int(15), text("a:70000")])),
    ] {
        assert_eq!(wrong, Err(problem));
    }
}

/// PITFALL-33, RULE-34
#[test]
fn ids_start_at_zero() {
    for kind in NotificationKind::ALL {
        let name = kind.as_str();
        let rest = [int(15), text("a:1"), text("1")];
        let with = |seq: Frame| parse(name, [seq, rest[0].clone(), rest[1].clone(), rest[2].clone()]);
        assert_eq!(parse(name, []), Err(Problem::Seq));
        for wrong in [int(-1), text(""), text("one"), text("+1"), Frame::Null, text(&"9".repeat(30))] {
            assert_eq!(with(wrong), Err(Problem::Seq), "{name}");
        }
    }
    for (frame, seq) in [(int(0), 0), (text("0"), 0), (int(i64::MAX), i64::MAX as u64), (text("42"), 42)] {
        assert_eq!(parse("MIGRATED", [frame]).unwrap().seq(), Seq(seq));
    }
}

// ---- openers and completions ----

fn opener(starts_in: Option<u64>, shards: &[&str]) -> [Notification; 2] {
    let starts_in = starts_in.map(seconds);
    let shards: ShardIds = shards.iter().copied().collect();
    [
        Notification::Migrating { seq: Seq(3), starts_in, shards: shards.clone() },
        Notification::FailingOver { seq: Seq(3), starts_in, shards },
    ]
}

/// PITFALL-31, RULE-26
#[test]
fn openers_of_every_arity() {
    for name in [0, 1] {
        let read = |rest: &[Frame]| {
            let mut push = vec![text(["MIGRATING", "FAILING_OVER"][name]), int(3)];
            push.extend_from_slice(rest);
            Notification::parse(&push).unwrap().unwrap()
        };
        for (rest, starts_in, shards) in [
            (vec![int(2), text(r#"["1","2"]"#)], Some(2), &["1", "2"][..]),
            (vec![int(2), text(r#" [ "2" , "1", "2" ] "#)], Some(2), &["1", "2"]),
            (vec![int(2), text("[1,2]")], Some(2), &["1", "2"]),
            (vec![int(2), text("[]")], Some(2), &[]),
            (vec![int(2), array([text("2"), int(1)])], Some(2), &["1", "2"]),
            (vec![int(2), Frame::Set(vec![text("1")])], Some(2), &["1"]),
            (vec![int(2), text("1")], Some(2), &["1"]),
            (vec![int(2), int(1)], Some(2), &["1"]),
            (vec![int(2), text("")], Some(2), &[]),
            (vec![int(2), Frame::Null], Some(2), &[]),
            (vec![int(2), text("1"), text("extra")], Some(2), &["1"]),
            (vec![text("2"), text("1")], Some(2), &["1"]),
            (vec![int(2)], Some(2), &[]),
            (vec![], None, &[]),
            (vec![text("5461")], None, &["5461"]),
            (vec![text(r#"["1"]"#)], None, &["1"]),
            (vec![array([text("1")])], None, &["1"]),
            (vec![Frame::Null, text("1")], None, &["1"]),
            (vec![Frame::Null], None, &[]),
        ] {
            assert_eq!(read(&rest), opener(starts_in, shards)[name], "{rest:?}");
        }
    }
}

/// PITFALL-31, RULE-27
#[test]
fn completions_of_every_arity() {
    for (rest, shards) in [
        (vec![text(r#"["1","2"]"#)], &["1", "2"][..]),
        (vec![array([text("1"), text("2")])], &["1", "2"]),
        (vec![text("1")], &["1"]),
        (vec![text("1"), text("extra")], &["1"]),
        (vec![Frame::NullBulk], &[]),
        (vec![], &[]),
    ] {
        let shards: ShardIds = shards.iter().copied().collect();
        let with = |name| [vec![text(name), int(4)], rest.clone()].concat();
        let migrated = Notification::Migrated { seq: Seq(4), shards: shards.clone() };
        assert_eq!(Notification::parse(&with("MIGRATED")), Ok(Some(migrated)));
        let failed_over = Notification::FailedOver { seq: Seq(4), shards: shards.clone() };
        assert_eq!(failed_over.shards(), Some(&shards));
        assert_eq!(Notification::parse(&with("FAILED_OVER")), Ok(Some(failed_over)));
    }
}

/// INV-14
#[test]
fn a_list_that_cannot_be_of_shards_counts_as_none() {
    let long = "x".repeat(65);
    let many = Frame::Array((0..5_000).map(int).collect());
    let many_in_json = format!("[{}]", vec!["1"; 5_000].join(","));
    for unreadable in [
        many,
        text(&many_in_json),
        text(&long),
        array([text("1"), text(&long)]),
        array([text("1"), Frame::Double(2.0)]),
        text(r#"["1""#),
        Frame::Map(vec![(text("1"), text("2"))]),
    ] {
        let migrated = parse("MIGRATED", [int(1), unreadable]).unwrap();
        assert_eq!(migrated, Notification::Migrated { seq: Seq(1), shards: ShardIds::default() });
    }
}

#[test]
fn shards_are_a_set() {
    let ids: ShardIds = ["2", "10", "2", "1"].into_iter().collect();
    assert_eq!(ids.iter().collect::<Vec<_>>(), ["1", "10", "2"]);
    assert!(ids.contains("10") && !ids.contains("3"));
    assert_eq!(ids.without(&["1", "3", "10"].into_iter().collect()), ["2"].into_iter().collect());
    assert!(ids.without(&ids).is_empty());
}

#[test]
fn kinds_know_what_they_complete() {
    for (kind, completes) in [
        (NotificationKind::Moving, None),
        (NotificationKind::Migrating, None),
        (NotificationKind::Migrated, Some(NotificationKind::Migrating)),
        (NotificationKind::FailingOver, None),
        (NotificationKind::FailedOver, Some(NotificationKind::FailingOver)),
        (NotificationKind::SlotsMigrating, None),
        (NotificationKind::SlotsMigrated, Some(NotificationKind::SlotsMigrating)),
    ] {
        assert_eq!(kind.completes(), completes, "{kind}");
    }
}

// ---- SMIGRATING, SMIGRATED ----

/// RULE-28
#[test]
fn slots_migrating_in_every_form() {
    let expected = Notification::SlotsMigrating { seq: Seq(5), slots: slots("1,100-200") };
    assert_eq!(parse("SMIGRATING", [int(5), text("1,100-200")]), Ok(expected.clone()));
    assert_eq!(parse("SMIGRATING", [int(5), text("1"), text("100-200")]), Ok(expected.clone()));
    assert_eq!(parse("SMIGRATING", [int(5), int(1), text("100-200")]), Ok(expected.clone()));
    assert_eq!(parse("SMIGRATING", [int(5), array([text("1"), text("100-200")])]), Ok(expected.clone()));
    assert_eq!(parse("SMIGRATING", [int(5), text("1,100-200"), Frame::Null, text("7")]), Ok(expected));
    assert_eq!(parse("SMIGRATING", [int(5)]), Err(Problem::NoSlots));
    assert_eq!(parse("SMIGRATING", [int(5), array([])]), Err(Problem::NoSlots));
    assert_eq!(parse("SMIGRATING", [int(5), Frame::Null]), Err(Problem::NoSlots));
    assert_eq!(parse("SMIGRATING", [int(5), text("20000")]), Err(Problem::Slots(SlotError::Range)));
    assert_eq!(parse("SMIGRATING", [int(5), text("all")]), Err(Problem::Slots(SlotError::Syntax)));
}

fn slot_move(source: Option<&str>, target: &str, moved: &str) -> SlotMove {
    SlotMove { source: source.map(endpoint), target: endpoint(target), slots: slots(moved) }
}

fn moves<const N: usize>(elements: [Frame; N]) -> (Vec<SlotMove>, usize) {
    let push: Vec<Frame> = [text("SMIGRATED"), int(6)].into_iter().chain(elements).collect();
    match Notification::parse(&push) {
        Ok(Some(Notification::SlotsMigrated { seq: Seq(6), moves, skipped })) => (moves, skipped),
        other => panic!("{other:?}"),
    }
}

/// RULE-29
#[test]
fn slots_migrated_in_every_form() {
    let first = slot_move(Some("a:1"), "b:2", "1,100-200");
    let second = slot_move(Some("a:1"), "[::1]:3", "300");
    let unsourced = slot_move(None, "b:2", "1,100-200");
    let triplet = || array([text("a:1"), text("b:2"), text("1,100-200")]);

    // Canonical, with variations of a triplet.
    let both = array([triplet(), array([text("a:1"), text("[::1]:3"), int(300)])]);
    assert_eq!(moves([both]), (vec![first.clone(), second.clone()], 0));
    let apart = array([text("a:1"), text("b:2"), array([text("1"), text("100-200")])]);
    assert_eq!(moves([array([apart])]), (vec![first.clone()], 0));
    let extended = array([text("a:1"), text("b:2"), text("1,100-200"), Frame::Null, text("9")]);
    assert_eq!(moves([array([extended]), text("extra")]), (vec![first.clone()], 0));
    for unnamed in [Frame::Null, text(""), text("?"), text("null")] {
        let unsourced_triplet = array([unnamed, text("b:2"), text("1,100-200")]);
        assert_eq!(moves([array([unsourced_triplet])]), (vec![unsourced.clone()], 0));
    }

    // `[[target, slots]]`
    let pair = array([text("b:2"), text("1,100-200")]);
    assert_eq!(moves([array([pair])]), (vec![unsourced.clone()], 0));
    // `["target slots"]`, and that without the brackets
    assert_eq!(moves([array([text("b:2 1,100-200")])]), (vec![unsourced.clone()], 0));
    assert_eq!(moves([text("b:2 1,100-200")]), (vec![unsourced.clone()], 0));
    // `source target slots ..`, also as one array
    let flat = [text("a:1"), text("b:2"), text("1,100-200"), text("a:1"), text("[::1]:3"), text("300")];
    assert_eq!(moves(flat.clone()), (vec![first.clone(), second.clone()], 0));
    assert_eq!(moves([array(flat)]), (vec![first, second], 0));
    // `target slots ..`
    let flat = [text("b:2"), text("1"), text("100-200"), text("[::1]:3"), text("300")];
    assert_eq!(moves(flat), (vec![unsourced, slot_move(None, "[::1]:3", "300")], 0));
}

/// RULE-29
#[test]
fn a_malformed_slot_move_is_skipped_alone() {
    let valid = slot_move(Some("a:1"), "b:2", "7");
    let triplet = || array([text("a:1"), text("b:2"), text("7")]);
    for malformed in [
        array([]),
        array([text("a:1")]),
        array([text("a:1"), text("b:2")]),
        array([text("a:1"), text("b:2"), text("99999")]),
        array([text("a:1"), text("b:2"), Frame::Null]),
        array([text("a:1"), Frame::Null, text("7")]),
        array([text("a:1"), text("b:0"), text("7")]),
        array([text("a b"), text("b:2"), text("7")]),
        array([int(70_000), text("b:2"), text("7")]),
        text("nonsense"),
        Frame::Null,
        int(7),
    ] {
        let skipped = moves([array([triplet(), malformed.clone(), triplet()])]);
        assert_eq!(skipped, (vec![valid.clone(), valid.clone()], 1), "{malformed:?}");
    }
    let flat = [text("a:1"), text("b:2"), text("all"), text("a:1"), text("b:2"), text("7"), text("a:1")];
    assert_eq!(moves(flat), (vec![valid], 2));
}

#[test]
fn slots_migrated_without_an_entry_is_malformed() {
    assert_eq!(parse("SMIGRATED", [int(6)]), Err(Problem::NoMoves));
    assert_eq!(parse("SMIGRATED", [int(6), array([])]), Err(Problem::NoMoves));
    // Entries that cannot be read are still a completion.
    assert_eq!(moves([array([array([])])]), (vec![], 1));
}

/// INV-14
#[test]
fn slot_moves_are_limited() {
    let triplet = array([text("a:1"), text("b:2"), text("7")]);
    let (moves, skipped) = moves([Frame::Array(vec![triplet; 16_400])]);
    assert_eq!((moves.len(), skipped), (16_384, 16));
}

// ---- laws ----

fn scalar() -> impl Strategy<Value = Frame> {
    prop_oneof![
        any::<i64>().prop_map(Frame::Integer),
        (-2..20_000i64).prop_map(Frame::Integer),
        "[ -~]{0,12}".prop_map(Frame::bulk),
        proptest::collection::vec(any::<u8>(), 0..6).prop_map(Frame::bulk),
        proptest::sample::select(vec![
            "a:1",
            "[::1]:2",
            "[::1",
            "::",
            ":",
            "?",
            "null",
            "x:0",
            "a:1 7",
            "7",
            "1,2-5",
            "5-1",
            "-",
            "[",
            "]",
            "[]",
            "[\"1\",\"2\"]",
            "99999999999999999999",
            "-0",
            "MOVING",
            "\u{fc}",
        ])
        .prop_map(|text| Frame::Simple(text.into())),
        any::<f64>().prop_map(Frame::Double),
        any::<bool>().prop_map(Frame::Boolean),
        Just(Frame::Null),
        Just(Frame::NullBulk),
        Just(Frame::NullArray),
        "[0-9]{0,30}".prop_map(|digits| Frame::BigNumber(digits.into())),
        ".{0,8}".prop_map(|text| Frame::Verbatim { format: *b"txt", text: text.into() }),
        ".{0,8}".prop_map(Frame::error),
    ]
}

fn frame() -> impl Strategy<Value = Frame> {
    scalar().prop_recursive(3, 24, 6, |inner| {
        let elements = || proptest::collection::vec(inner.clone(), 0..6);
        let pairs = || proptest::collection::vec((inner.clone(), inner.clone()), 0..3);
        prop_oneof![
            4 => elements().prop_map(Frame::Array),
            1 => elements().prop_map(Frame::Set),
            1 => elements().prop_map(Frame::Push),
            1 => pairs().prop_map(Frame::Map),
        ]
    })
}

fn name() -> impl Strategy<Value = Frame> {
    let known = proptest::sample::select(NotificationKind::ALL.to_vec());
    prop_oneof![9 => known.prop_map(|kind| Frame::Simple(kind.as_str().into())), 1 => frame()]
}

/// The same frame with attributes, and so are its elements.
fn attributed(frame: &Frame) -> Frame {
    let all = |frames: &[Frame]| frames.iter().map(attributed).collect();
    let value = match frame {
        Frame::Array(elements) => Frame::Array(all(elements)),
        Frame::Set(elements) => Frame::Set(all(elements)),
        Frame::Push(elements) => Frame::Push(all(elements)),
        other => other.clone(),
    };
    Frame::Attribute { attributes: vec![(text("ttl"), int(3600))], value: value.into() }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// What is said about the elements of a push, at any depth, changes nothing. RULE-148
    #[test]
    fn attributes_of_elements_change_nothing(
        name in name(), rest in proptest::collection::vec(frame(), 0..6),
    ) {
        let push: Vec<Frame> = std::iter::once(name).chain(rest).collect();
        let attributed: Vec<Frame> = push.iter().map(attributed).collect();
        prop_assert_eq!(Notification::parse(&attributed), Notification::parse(&push));
    }

    /// INV-11
    #[test]
    fn parse_is_total_and_what_it_reads_is_in_bounds(
        name in name(), rest in proptest::collection::vec(frame(), 0..6),
    ) {
        let push: Vec<Frame> = std::iter::once(name.clone()).chain(rest).collect();
        let kind = match &name {
            Frame::Simple(name) | Frame::Bulk(name) => NotificationKind::from_wire(name),
            _ => None,
        };
        let in_bounds = |time: Duration| (MIN_ANNOUNCED..=MAX_ANNOUNCED).contains(&time);
        match Notification::parse(&push) {
            Ok(None) => prop_assert_eq!(kind, None),
            Err(error) => prop_assert_eq!(Some(error.kind), kind),
            Ok(Some(notification)) => {
                prop_assert_eq!(Some(notification.kind()), kind);
                match notification {
                    Notification::Moving { grace, .. } => prop_assert!(in_bounds(grace)),
                    Notification::Migrating { starts_in, .. }
                    | Notification::FailingOver { starts_in, .. } => {
                        prop_assert!(starts_in.is_none_or(in_bounds));
                    }
                    Notification::SlotsMigrating { slots, .. } => prop_assert!(!slots.is_empty()),
                    Notification::SlotsMigrated { moves, skipped, .. } => {
                        prop_assert!(moves.len() + skipped > 0);
                        prop_assert!(moves.iter().all(|moved| !moved.slots.is_empty()));
                    }
                    Notification::Migrated { .. } | Notification::FailedOver { .. } => {}
                }
            }
        }
    }

    /// RULE-24, RULE-26, RULE-27, RULE-28, RULE-29
    #[test]
    fn canonical_pushes_read_back(
        seq in 0..i64::MAX,
        time in 1..=3_600i64,
        ids in proptest::collection::vec(0..99u32, 1..5),
        range in (0..8_000u16, 8_000..=16_383u16),
        port in 1..=u16::MAX,
    ) {
        let ids: Vec<String> = ids.iter().map(u32::to_string).collect();
        let json = text(&format!("[\"{}\"]", ids.join("\",\"")));
        let shards: ShardIds = ids.iter().map(String::as_str).collect();
        let moved: SlotSet = [SlotRange::new(range.0, range.1).unwrap()].into_iter().collect();
        let node = format!("node:{port}");
        let (number, starts_in) = (Seq(seq as u64), Some(seconds(time as u64)));

        let target = MoveTarget::Endpoint(endpoint(&node));
        let moving = Notification::Moving { seq: number, grace: seconds(time as u64), target };
        prop_assert_eq!(parse("MOVING", [int(seq), int(time), text(&node)]), Ok(moving));
        let failing_over = Notification::FailingOver { seq: number, starts_in, shards: shards.clone() };
        prop_assert_eq!(parse("FAILING_OVER", [int(seq), int(time), json.clone()]), Ok(failing_over));
        let failed_over = Notification::FailedOver { seq: number, shards };
        prop_assert_eq!(parse("FAILED_OVER", [int(seq), json]), Ok(failed_over));
        let migrating = Notification::SlotsMigrating { seq: number, slots: moved.clone() };
        prop_assert_eq!(parse("SMIGRATING", [int(seq), text(&moved.to_string())]), Ok(migrating));
        let moves = vec![slot_move(Some("a:1"), &node, &moved.to_string())];
        let migrated = Notification::SlotsMigrated { seq: number, moves, skipped: 0 };
        let triplet = array([text("a:1"), text(&node), text(&moved.to_string())]);
        prop_assert_eq!(parse("SMIGRATED", [int(seq), array([triplet])]), Ok(migrated));
    }
}

#[test]
fn errors_repeat_nothing_of_the_push() {
    let push = [text("MOVING"), int(1), int(15), text("user:secret@host")];
    let error = Notification::parse(&push).unwrap_err();
    assert!(!format!("{error} {error:?}").contains("secret"));
    assert_eq!(error.to_string(), "malformed MOVING: the endpoint: the port is not a number from 1 to 65535");
}
