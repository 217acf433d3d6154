//! However a stream is cut into reads, the frames (or the error) are the same.

mod common;

use common::{ALL_TYPES, decode_cut, decode_whole, encoded, try_decode_cut};
use proptest::prelude::*;
use resp3_codec::{Frame, Limits};

/// PITFALL-32
#[test]
fn every_type_survives_every_single_cut() {
    let whole = encoded(&decode_whole(ALL_TYPES));
    for cut in 0..=ALL_TYPES.len() {
        let frames = decode_cut(ALL_TYPES, &[cut], Limits::default());
        assert_eq!(encoded(&frames), whole, "cut at {cut}");
    }
}

/// PITFALL-32
#[test]
fn every_type_survives_being_read_byte_by_byte() {
    let cuts = (0..ALL_TYPES.len()).collect::<Vec<_>>();
    let frames = decode_cut(ALL_TYPES, &cuts, Limits::default());
    assert_eq!(encoded(&frames), encoded(&decode_whole(ALL_TYPES)));
}

/// PITFALL-32, PITFALL-43
#[test]
fn a_push_among_replies_is_a_push_whatever_its_name_and_wherever_it_is_cut() {
    let wire = b"$1\r\na\r\n>2\r\n+never-heard-of\r\n$1\r\nb\r\n:1\r\n>3\r\n$6\r\nMOVING\r\n:0\r\n_\r\n*1\r\n:2\r\n>1\r\n+x\r\n";
    for first in 0..=wire.len() {
        for second in first..=wire.len() {
            let frames = decode_cut(wire, &[first, second], Limits::default());
            let pushes = frames.iter().map(|frame| matches!(frame, Frame::Push(_))).collect::<Vec<_>>();
            assert_eq!(pushes, [false, true, false, true, false, true], "cuts at {first} and {second}");
        }
    }
}

/// PITFALL-32
#[test]
fn every_type_survives_every_pair_of_nearby_cuts() {
    let whole = encoded(&decode_whole(ALL_TYPES));
    for first in 0..=ALL_TYPES.len() {
        for second in first..=ALL_TYPES.len().min(first + 40) {
            let frames = decode_cut(ALL_TYPES, &[first, second], Limits::default());
            assert_eq!(encoded(&frames), whole, "cuts at {first} and {second}");
        }
    }
}

/// Bytes that look like RESP for a while.
fn hostile() -> impl Strategy<Value = Vec<u8>> {
    let pieces = prop::sample::select(vec![
        "*2\r\n",
        "*?\r\n",
        "%1\r\n",
        "%?\r\n",
        "~3\r\n",
        ">2\r\n",
        "|1\r\n",
        "|0\r\n",
        ".\r\n",
        "$?\r\n",
        ";3\r\nabc\r\n",
        ";0\r\n",
        "$3\r\nabc\r\n",
        "$-1\r\n",
        "*-1\r\n",
        "+OK\r\n",
        "+long line here\r\n",
        "-ERR\r\n",
        ":1\r\n",
        ":123456\r\n",
        ",1.5\r\n",
        ",nan\r\n",
        ",x\r\n",
        "(123\r\n",
        "(1x\r\n",
        "_\r\n",
        "#t\r\n",
        "!2\r\nab\r\n",
        "=5\r\ntxt:a\r\n",
        "=3\r\ntxt\r\n",
        "$5\r\n",
        "*1000000000\r\n",
        "$1000000000\r\n",
        "\r\n",
        "\r",
        "\n",
        "x",
        "+a\nb\r\n",
        ":1x\r\n",
        "$300\r\n",
        "*9\r\n",
    ]);
    let bytes = prop::collection::vec(any::<u8>(), 0..6);
    let piece = prop_oneof![20 => pieces.prop_map(|piece| piece.as_bytes().to_vec()), 1 => bytes];
    prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// INV-11
    #[test]
    fn hostile_bytes_fare_the_same_however_they_are_cut(
        wire in hostile(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
        limit in 1usize..40,
    ) {
        let tight = Limits::default().depth(limit % 5).line_bytes(limit).bulk_bytes(limit * 2).elements(limit);
        for limits in [Limits::default(), tight, tight.frame_bytes(limit as u64 * 3)] {
            let (whole, error) = try_decode_cut(&wire, &[], limits);
            let mut cuts = cuts.iter().map(|cut| cut.index(wire.len() + 1)).collect::<Vec<_>>();
            cuts.sort_unstable();
            for cuts in [cuts, (0..wire.len()).collect()] {
                let (frames, same_error) = try_decode_cut(&wire, &cuts, limits);
                prop_assert_eq!(encoded(&frames), encoded(&whole));
                prop_assert_eq!(same_error.as_ref(), error.as_ref());
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn large_strings_survive_any_cuts(
        sizes in prop::collection::vec(0usize..90_000, 1..6),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
    ) {
        let mut wire = Vec::new();
        for (number, size) in sizes.iter().enumerate() {
            wire.extend(format!("+before {number}\r\n${size}\r\n").bytes());
            wire.extend((0..*size).map(|byte| byte as u8));
            wire.extend(b"\r\n*2\r\n$3\r\nabc\r\n:1\r\n");
        }
        let mut cuts = cuts.iter().map(|cut| cut.index(wire.len())).collect::<Vec<_>>();
        cuts.sort_unstable();
        prop_assert_eq!(encoded(&decode_cut(&wire, &cuts, Limits::default())), encoded(&decode_whole(&wire)));
    }
}
