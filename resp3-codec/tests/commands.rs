//! Commands as they go over the wire, and as they are looked at before.

mod common;

use std::borrow::Cow;
use std::num::{NonZeroI64, NonZeroU16};
use std::rc::Rc;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use common::decode_whole;
use proptest::prelude::*;
use resp3_codec::{Command, Frame, cmd, encode_command};

fn arguments(command: &Command) -> Vec<String> {
    command.iter().map(|arg| arg.escape_ascii().to_string()).collect()
}

#[test]
fn a_command_is_an_array_of_bulk_strings() {
    let set = cmd("SET").arg("key").arg("");
    assert_eq!(&set.clone().into_bytes()[..], b"*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$0\r\n\r\n");
    let mut buf = BytesMut::from("before");
    set.encode(&mut buf);
    assert_eq!(&buf[..], b"before*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$0\r\n\r\n");
}

#[test]
fn strings_bytes_and_numbers_are_arguments() {
    let owned = String::from("owned");
    let command = cmd("X")
        .arg("str")
        .arg(&owned)
        .arg(owned.clone())
        .arg(Cow::Borrowed("cow"))
        .arg(b"array")
        .arg(*b"bytes")
        .arg(&b"slice"[..])
        .arg(vec![0u8, 255])
        .arg(Bytes::from_static(b"shared"))
        .args([1u8, 2])
        .args(vec!["a", "b"]);
    let expected = [
        "X",
        "str",
        "owned",
        "owned",
        "cow",
        "array",
        "bytes",
        "slice",
        "\\x00\\xff",
        "shared",
        "1",
        "2",
        "a",
        "b",
    ];
    assert_eq!(arguments(&command), expected);
    assert_eq!(command.len(), expected.len());
}

#[test]
fn numbers_are_written_in_decimal_as_short_as_is_exact() {
    let integers = cmd("X").arg(i64::MIN).arg(u64::MAX).arg(0u8).arg(-1i8).arg(usize::MAX);
    let expected = ["X", "-9223372036854775808", "18446744073709551615", "0", "-1", "18446744073709551615"];
    assert_eq!(arguments(&integers), expected);
    let doubles =
        cmd("X").args([0.1, -2.0, 1e300, f64::MIN_POSITIVE, f64::MAX, f64::INFINITY, f64::NEG_INFINITY]);
    let expected =
        ["X", "0.1", "-2", "1e300", "2.2250738585072014e-308", "1.7976931348623157e308", "inf", "-inf"];
    assert_eq!(arguments(&doubles), expected);
    assert_eq!(arguments(&cmd("X").arg(0.1f32).arg(f64::NAN)), ["X", "0.1", "nan"]);
}

/// Whatever applications hold without thinking is an argument. RULE-137
#[test]
fn what_applications_hold_is_an_argument() {
    let long = cmd("X").args([u128::MAX]).args([i128::MIN]).arg(NonZeroU16::MIN).arg(NonZeroI64::MAX);
    let expected = [
        "X",
        "340282366920938463463374607431768211455",
        "-170141183460469231731687303715884105728",
        "1",
        "9223372036854775807",
    ];
    assert_eq!(arguments(&long), expected);

    let cow: Cow<'_, str> = Cow::Owned("cow".to_owned());
    let held = cmd("X")
        .arg('é')
        .args([true, false])
        .arg(Arc::<str>::from("arc"))
        .arg(Arc::new("arc of a string".to_owned()))
        .arg(Box::<str>::from("box"))
        .arg(Box::<[u8]>::from(*b"bytes"))
        .arg(Rc::<str>::from("rc"))
        .arg(&cow)
        .arg(cow);
    let expected =
        ["X", "\\xc3\\xa9", "1", "0", "arc", "arc of a string", "box", "bytes", "rc", "cow", "cow"];
    assert_eq!(arguments(&held), expected);
}

/// An option that is not wanted adds nothing, and parts of a tuple stand in their order. RULE-137
#[test]
fn options_and_tuples_are_as_many_arguments_as_they_hold() {
    let command = cmd("SET")
        .arg(("k", 1))
        .arg(None::<&str>)
        .arg(Some(("EX", 60)))
        .arg((1, 2, 3, (4, None::<u8>, Some("6")), 5, 6))
        .args([("a", 'b'), ("c", 'd')])
        .args([Some("e"), None])
        .args(Some("f"))
        .args(None::<&str>);
    let expected =
        ["SET", "k", "1", "EX", "60", "1", "2", "3", "4", "6", "5", "6", "a", "b", "c", "d", "e", "f"];
    assert_eq!(arguments(&command), expected);
    assert_eq!(command.len(), expected.len());
}

#[test]
fn a_name_of_any_length_is_read_back() {
    for len in [0, 1, 9, 10, 11, 99, 100] {
        let name = "N".repeat(len);
        assert_eq!(cmd(name.as_str()).arg("x").name(), name.as_bytes());
    }
}

#[test]
fn debug_output_shows_the_name_and_no_argument() {
    let auth = cmd("AUTH").arg("user").arg("hunter2");
    assert_eq!(auth.name(), b"AUTH");
    assert_eq!(format!("{auth:?}"), "Command(AUTH with 2 arguments)");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn all_ways_of_encoding_agree_and_are_decoded(
        mut args in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..120), 1..120),
        large in prop::collection::vec((any::<prop::sample::Index>(), 0usize..5000), 0..3),
    ) {
        for (at, len) in large {
            let at = at.index(args.len());
            args[at].resize(len, b'x');
        }
        let command = cmd(&args[0]).args(&args[1..]);
        prop_assert_eq!(command.len(), args.len());
        prop_assert!(command.iter().eq(args.iter()));
        let (mut encoded, mut borrowed) = (BytesMut::new(), BytesMut::new());
        command.encode(&mut encoded);
        encode_command(&mut borrowed, &args.iter().map(Vec::as_slice).collect::<Vec<_>>());
        let owned = command.into_bytes();
        prop_assert_eq!(&owned, &encoded);
        prop_assert_eq!(&owned, &borrowed);
        let frames = decode_whole(&owned);
        let strings = args.into_iter().map(Frame::bulk).collect();
        prop_assert!(frames == [Frame::Array(strings)]);
    }
}
