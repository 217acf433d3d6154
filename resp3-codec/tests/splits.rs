//! However a stream is cut into reads, the frames (or the error) are the same.

mod common;

use common::{ALL_TYPES, decode_cut, decode_whole, encoded};
use proptest::prelude::*;
use resp3_codec::Limits;

#[test]
fn every_type_survives_every_single_cut() {
    let whole = encoded(&decode_whole(ALL_TYPES));
    for cut in 0..=ALL_TYPES.len() {
        let frames = decode_cut(ALL_TYPES, &[cut], Limits::default());
        assert_eq!(encoded(&frames), whole, "cut at {cut}");
    }
}

#[test]
fn every_type_survives_being_read_byte_by_byte() {
    let cuts = (0..ALL_TYPES.len()).collect::<Vec<_>>();
    let frames = decode_cut(ALL_TYPES, &cuts, Limits::default());
    assert_eq!(encoded(&frames), encoded(&decode_whole(ALL_TYPES)));
}

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

proptest! {
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
