//! Every type, both ways; and what is said about bytes that are none.

mod common;

use bytes::{Bytes, BytesMut};
use common::{decode_whole, encoded, try_decode_cut};
use proptest::prelude::*;
use resp3_codec::{DecodeErrorKind, Frame, Limits};

/// The wire form of each type, and the frame.
fn every_type() -> Vec<(&'static str, Frame)> {
    let text = |text: &'static str| Bytes::from_static(text.as_bytes());
    let number = Frame::Integer;
    vec![
        ("+OK\r\n", Frame::simple("OK")),
        ("+\r\n", Frame::simple("")),
        ("-ERR unknown command\r\n", Frame::error("ERR unknown command")),
        (":0\r\n", number(0)),
        (":-9223372036854775808\r\n", number(i64::MIN)),
        (":9223372036854775807\r\n", number(i64::MAX)),
        ("$5\r\na\r\nbc\r\n", Frame::bulk("a\r\nbc")),
        ("$0\r\n\r\n", Frame::bulk("")),
        ("$-1\r\n", Frame::NullBulk),
        ("*-1\r\n", Frame::NullArray),
        ("_\r\n", Frame::Null),
        ("#t\r\n", Frame::Boolean(true)),
        ("#f\r\n", Frame::Boolean(false)),
        (",3.25\r\n", Frame::Double(3.25)),
        (",-0.5\r\n", Frame::Double(-0.5)),
        (",10\r\n", Frame::Double(10.0)),
        (",1e300\r\n", Frame::Double(1e300)),
        (",2.5e-10\r\n", Frame::Double(2.5e-10)),
        (",inf\r\n", Frame::Double(f64::INFINITY)),
        (",-inf\r\n", Frame::Double(f64::NEG_INFINITY)),
        ("(-349289032840932850932485\r\n", Frame::BigNumber(text("-349289032840932850932485"))),
        ("!21\r\nSYNTAX invalid syntax\r\n", Frame::BlobError(text("SYNTAX invalid syntax"))),
        ("=15\r\ntxt:Some string\r\n", Frame::Verbatim { format: *b"txt", text: text("Some string") }),
        ("=4\r\nmkd:\r\n", Frame::Verbatim { format: *b"mkd", text: text("") }),
        ("*0\r\n", Frame::Array(vec![])),
        ("*2\r\n:1\r\n*1\r\n_\r\n", Frame::Array(vec![number(1), Frame::Array(vec![Frame::Null])])),
        ("~2\r\n+a\r\n#t\r\n", Frame::Set(vec![Frame::simple("a"), Frame::Boolean(true)])),
        (">2\r\n+pong\r\n$0\r\n\r\n", Frame::Push(vec![Frame::simple("pong"), Frame::bulk("")])),
        (
            "%2\r\n$1\r\nb\r\n:2\r\n$1\r\na\r\n%0\r\n",
            Frame::Map(vec![(Frame::bulk("b"), number(2)), (Frame::bulk("a"), Frame::Map(vec![]))]),
        ),
        (
            "|1\r\n+ttl\r\n:9\r\n$1\r\nv\r\n",
            Frame::Attribute {
                attributes: vec![(Frame::simple("ttl"), number(9))],
                value: Box::new(Frame::bulk("v")),
            },
        ),
    ]
}

#[test]
fn every_type_is_decoded() {
    for (wire, frame) in every_type() {
        assert!(decode_whole(wire.as_bytes()) == [frame], "{wire:?}");
    }
}

#[test]
fn every_type_is_encoded() {
    for (wire, frame) in every_type() {
        let mut buf = BytesMut::new();
        frame.encode(&mut buf);
        assert_eq!(buf.escape_ascii().to_string(), wire.as_bytes().escape_ascii().to_string());
    }
}

/// However a server spells NaN, it is NaN: in RESP3, and in RESP2, where doubles are strings. RULE-121
#[test]
fn not_a_number_has_many_spellings() {
    for text in [
        "nan",
        "NaN",
        "NAN",
        "-nan",
        "-NaN",
        "+nan",
        "nan(0x8000000000000)",
        "-nan(ind)",
        "nan(snan)",
        "NAN()",
    ] {
        let frames = decode_whole(format!(",{text}\r\n").as_bytes());
        assert!(matches!(frames[..], [Frame::Double(number)] if number.is_nan()), "{text}");
        assert_eq!(encoded(&frames), ",nan\\r\\n | ");
        assert!(Frame::bulk(text).as_f64().is_some_and(f64::is_nan), "{text}");
    }
}

/// However a server spells an infinity, its sign is kept. RULE-121
#[test]
fn infinities_have_many_spellings() {
    for text in ["inf", "+inf", "Inf", "+Inf", "INF", "infinity", "Infinity", "+Infinity", "INFINITY"] {
        for (text, number) in [
            (text.to_owned(), f64::INFINITY),
            (format!("-{}", text.trim_start_matches('+')), f64::NEG_INFINITY),
        ] {
            assert_eq!(decode_whole(format!(",{text}\r\n").as_bytes()), [Frame::Double(number)], "{text}");
            assert_eq!(Frame::bulk(text).as_f64(), Some(number));
        }
    }
}

/// A word that only resembles one is a protocol error. RULE-121
#[test]
fn other_words_are_no_doubles() {
    for text in [
        "na",
        "nano",
        "nan(",
        "nan)",
        "nan(ind",
        "nan()x",
        "nan(a b)",
        "nan(0x8",
        "--nan",
        "-",
        "+",
        "- nan",
        "in",
        "infi",
        "infinit",
        "infinityy",
        "+-inf",
        "1nan",
        "0x10",
        "1e",
        "e5",
        ".",
        "1_000",
        "\u{221e}",
    ] {
        let (frames, error) = try_decode_cut(format!(",{text}\r\n").as_bytes(), &[], Limits::default());
        assert_eq!(
            (frames.len(), error.map(|error| error.kind())),
            (0, Some(DecodeErrorKind::Double)),
            "{text}"
        );
        assert_eq!(Frame::bulk(text).as_f64(), None, "{text}");
    }
}

#[test]
fn streamed_forms_are_the_same_frames_as_announced_ones() {
    let cases = [
        ("$?\r\n;4\r\nHell\r\n;5\r\no wor\r\n;2\r\nld\r\n;0\r\n", "$11\r\nHello world\r\n"),
        ("$?\r\n;0\r\n", "$0\r\n\r\n"),
        ("*?\r\n:1\r\n*?\r\n.\r\n.\r\n", "*2\r\n:1\r\n*0\r\n"),
        ("~?\r\n+a\r\n.\r\n", "~1\r\n+a\r\n"),
        ("%?\r\n+a\r\n$?\r\n;1\r\nx\r\n;0\r\n.\r\n", "%1\r\n+a\r\n$1\r\nx\r\n"),
    ];
    for (streamed, announced) in cases {
        assert_eq!(encoded(&decode_whole(streamed.as_bytes())), encoded(&decode_whole(announced.as_bytes())));
    }
}

/// Aggregates and strings whose length RESP3 allows to leave open have a streamed form, and the others do not.
#[test]
fn streamed_encoding_leaves_open_every_length_that_may_be_open() {
    let text = || Frame::bulk("abc");
    let pairs = || vec![(text(), Frame::Integer(1))];
    let streamed = "$?\r\n;2\r\nab\r\n;1\r\nc\r\n;0\r\n";
    let cases = [
        (text(), streamed.to_owned()),
        (Frame::bulk(""), "$?\r\n;0\r\n".to_owned()),
        (Frame::Array(vec![text(), Frame::Null]), format!("*?\r\n{streamed}_\r\n.\r\n")),
        (Frame::Set(vec![text()]), format!("~?\r\n{streamed}.\r\n")),
        (Frame::Map(pairs()), format!("%?\r\n{streamed}:1\r\n.\r\n")),
        (Frame::Push(vec![text()]), format!(">1\r\n{streamed}")),
        (
            Frame::Attribute { attributes: pairs(), value: Box::new(text()) },
            format!("|1\r\n{streamed}:1\r\n{streamed}"),
        ),
        (Frame::simple("abc"), "+abc\r\n".to_owned()),
    ];
    for (frame, wire) in cases {
        let mut buf = BytesMut::new();
        frame.encode_streamed(&mut buf, 2);
        assert_eq!(buf.escape_ascii().to_string(), wire.as_bytes().escape_ascii().to_string());
    }
}

#[test]
fn attributes_describe_what_follows_them_at_any_depth() {
    let frames = decode_whole(b"*2\r\n|1\r\n+a\r\n:1\r\n|0\r\n*1\r\n:2\r\n:3\r\n");
    let [Frame::Array(items)] = &frames[..] else { panic!("one array") };
    let Frame::Attribute { attributes, value } = &items[0] else {
        panic!("the first element has attributes")
    };
    assert!(*attributes == [(Frame::simple("a"), Frame::Integer(1))]);
    let Frame::Attribute { value, .. } = &**value else { panic!("two sets of attributes") };
    assert_eq!(value.as_array(), Some(&[Frame::Integer(2)][..]));
    assert_eq!(items[1], Frame::Integer(3));
    assert_eq!(items[0].clone().without_attributes(), Frame::Array(vec![Frame::Integer(2)]));
}

/// What asks a frame for its value is answered as if there were no attributes. RULE-148
#[test]
fn attributes_do_not_hide_a_value() {
    let attributed = |frame: Frame| {
        let inner = Frame::Attribute { attributes: Vec::new(), value: frame.into() };
        Frame::Attribute { attributes: vec![(Frame::simple("a"), Frame::Integer(1))], value: inner.into() }
    };
    let pairs = || vec![(Frame::bulk("k"), Frame::Integer(2))];
    for frame in [
        Frame::simple("OK"),
        Frame::error("ERR no"),
        Frame::BlobError(Bytes::from_static(b"ERR no")),
        Frame::Integer(7),
        Frame::bulk("7"),
        Frame::Double(0.5),
        Frame::Null,
        Frame::NullBulk,
        Frame::NullArray,
        Frame::Array(vec![Frame::Integer(2)]),
        Frame::Set(vec![Frame::Integer(2)]),
        Frame::Push(vec![Frame::Integer(2)]),
        Frame::Map(pairs()),
    ] {
        let with = attributed(frame.clone());
        assert_eq!(with.value(), &frame);
        assert_eq!(
            (with.is_null(), with.is_error(), with.is_push()),
            (frame.is_null(), frame.is_error(), frame.is_push())
        );
        assert_eq!(
            (with.as_error(), with.as_bytes(), with.as_str()),
            (frame.as_error(), frame.as_bytes(), frame.as_str())
        );
        assert_eq!((with.as_int(), with.as_f64()), (frame.as_int(), frame.as_f64()));
        assert_eq!((with.as_array(), with.as_map()), (frame.as_array(), frame.as_map()));
        assert_eq!(with.clone().into_bytes(), frame.clone().into_bytes());
        assert_eq!(with.into_array(), frame.into_array());
    }
}

#[test]
fn line_ends_in_a_line_are_written_as_spaces() {
    assert_eq!(encoded(&[Frame::error("ERR a\r\nb")]), "-ERR a  b\\r\\n | ");
}

#[test]
fn what_is_not_resp_is_named_with_its_place() {
    use DecodeErrorKind as Kind;
    let cases: &[(&[u8], Kind, u64)] = &[
        (b"?1\r\n", Kind::UnknownType(b'?'), 0),
        (b"+OK\r\nPING\r\n", Kind::UnknownType(b'P'), 5),
        (b"+a\nb\r\n", Kind::LineEnd, 2),
        (b"+a\rb\r\n", Kind::LineEnd, 2),
        (b":12x\r\n", Kind::LineEnd, 3),
        (b":\r\n", Kind::Integer, 1),
        (b":-x\r\n", Kind::Integer, 2),
        (b":9223372036854775808\r\n", Kind::IntegerRange, 1),
        (b":-9223372036854775809\r\n", Kind::IntegerRange, 1),
        (b":000000000000000000001\r\n", Kind::IntegerRange, 1),
        (b"$-2\r\n", Kind::Length, 2),
        (b"$x\r\n", Kind::Length, 1),
        (b"*-2\r\n", Kind::Length, 2),
        (b"%-1\r\n", Kind::Length, 1),
        (b">?\r\n", Kind::Length, 1),
        (b"|?\r\n", Kind::Length, 1),
        (b"$99999999999999999999\r\n", Kind::IntegerRange, 1),
        (b"$3\r\nabcd\r\n", Kind::StringEnd, 7),
        (b",\r\n", Kind::Double, 1),
        (b",1.2.3\r\n", Kind::Double, 1),
        (b",infinite\r\n", Kind::Double, 1),
        (b"#x\r\n", Kind::Boolean, 1),
        (b"#tt\r\n", Kind::LineEnd, 2),
        (b"_x\r\n", Kind::LineEnd, 1),
        (b"(\r\n", Kind::BigNumber, 1),
        (b"(-\r\n", Kind::BigNumber, 1),
        (b"(12a\r\n", Kind::BigNumber, 1),
        (b"=3\r\ntxt\r\n", Kind::Verbatim, 4),
        (b"=5\r\ntxt-a\r\n", Kind::Verbatim, 4),
        (b".\r\n", Kind::End, 0),
        (b"*1\r\n.\r\n", Kind::End, 4),
        (b"%?\r\n+k\r\n.\r\n", Kind::End, 8),
        (b"|0\r\n.\r\n", Kind::End, 4),
        (b";1\r\na\r\n", Kind::Chunk, 0),
        (b"*?\r\n;1\r\na\r\n", Kind::Chunk, 4),
        (b"$?\r\n:1\r\n", Kind::Chunk, 4),
        (b"$?\r\n*1\r\n", Kind::Chunk, 4),
        (b"$?\r\n$?\r\n", Kind::Chunk, 4),
    ];
    for (wire, kind, offset) in cases {
        let (_, error) = try_decode_cut(wire, &[], Limits::default());
        let error = error.unwrap_or_else(|| panic!("{} is no RESP", wire.escape_ascii()));
        assert_eq!((error.kind(), error.offset()), (*kind, *offset), "{}", wire.escape_ascii());
    }
}

#[test]
fn an_error_is_final() {
    let mut decoder = resp3_codec::Decoder::new(Limits::default());
    decoder.buffer().extend_from_slice(b"+OK\r\n!\r\n+OK\r\n");
    assert_eq!(decoder.poll_frame(), Ok(Some(Frame::simple("OK"))));
    let error = decoder.poll_frame().expect_err("a blob error has a length");
    decoder.buffer().extend_from_slice(b"+OK\r\n");
    assert_eq!(decoder.poll_frame(), Err(error));
}

#[test]
fn a_compact_frame_is_the_same_frame() {
    for (wire, frame) in every_type() {
        assert!(frame.clone().compact() == frame, "{wire:?}");
    }
}

fn frame() -> impl Strategy<Value = Frame> {
    let text = || prop::collection::vec(any::<u8>(), 0..40).prop_map(Bytes::from);
    let line = || "[^\r\n]{0,40}".prop_map(Bytes::from);
    let leaf = prop_oneof![
        line().prop_map(Frame::Simple),
        line().prop_map(Frame::Error),
        any::<i64>().prop_map(Frame::Integer),
        text().prop_map(Frame::Bulk),
        text().prop_map(Frame::BlobError),
        any::<f64>().prop_map(Frame::Double),
        "-?[0-9]{1,40}".prop_map(|digits| Frame::BigNumber(digits.into())),
        any::<bool>().prop_map(Frame::Boolean),
        (any::<[u8; 3]>(), text()).prop_map(|(format, text)| Frame::Verbatim { format, text }),
        Just(Frame::Null),
        Just(Frame::NullBulk),
        Just(Frame::NullArray),
    ];
    leaf.prop_recursive(4, 64, 6, |inner| {
        let items = || prop::collection::vec(inner.clone(), 0..6);
        let pairs = || prop::collection::vec((inner.clone(), inner.clone()), 0..4);
        prop_oneof![
            items().prop_map(Frame::Array),
            items().prop_map(Frame::Set),
            items().prop_map(Frame::Push),
            pairs().prop_map(Frame::Map),
            (pairs(), inner.clone())
                .prop_map(|(attributes, value)| Frame::Attribute { attributes, value: Box::new(value) }),
        ]
    })
}

proptest! {
    #[test]
    fn a_frame_survives_being_encoded_cut_and_decoded(
        frames in prop::collection::vec(frame(), 1..6),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let mut wire = BytesMut::new();
        frames.iter().for_each(|frame| frame.encode(&mut wire));
        let mut cuts = cuts.iter().map(|cut| cut.index(wire.len())).collect::<Vec<_>>();
        cuts.sort_unstable();
        let decoded = common::decode_cut(&wire, &cuts, Limits::default());
        prop_assert_eq!(encoded(&decoded), encoded(&frames));
    }

    #[test]
    fn a_frame_survives_being_streamed(frame in frame(), chunk in 1usize..50) {
        let mut wire = BytesMut::new();
        frame.encode_streamed(&mut wire, chunk);
        prop_assert_eq!(encoded(&decode_whole(&wire)), encoded(&[frame]));
    }

    #[test]
    fn doubles_are_read_as_exactly_as_the_standard_library_does(number in any::<f64>(), short in "-?[0-9]{1,8}(\\.[0-9]{0,8})?") {
        for text in [format!("{number:?}"), format!("{:.3}", number % 1e6), short] {
            let expected = text.parse::<f64>().expect("a number");
            let frames = decode_whole(format!(",{}\r\n", text.replace("NaN", "nan")).as_bytes());
            let Some(Frame::Double(decoded)) = frames.first() else { panic!("a double") };
            prop_assert!(decoded.to_bits() == expected.to_bits() || expected.is_nan(), "{}", text);
        }
    }
}

/// What each accessor makes of each kind of frame: bytes, integer, double, elements, pairs, null, error.
#[test]
fn accessors_read_what_a_frame_is() {
    let one = || vec![Frame::Integer(1)];
    let pairs = || vec![(Frame::bulk("k"), Frame::Integer(1))];
    let verbatim = Frame::Verbatim { format: *b"txt", text: Bytes::from_static(b"7") };
    type Row = (Frame, Option<&'static str>, Option<i64>, Option<f64>, usize, usize, bool, bool);
    let table: Vec<Row> = vec![
        (Frame::simple("OK"), Some("OK"), None, None, 0, 0, false, false),
        (Frame::bulk("12"), Some("12"), Some(12), Some(12.0), 0, 0, false, false),
        (Frame::bulk("1.5"), Some("1.5"), None, Some(1.5), 0, 0, false, false),
        (Frame::error("ERR x"), Some("ERR x"), None, None, 0, 0, false, true),
        (Frame::BlobError(Bytes::from_static(b"ERR y")), Some("ERR y"), None, None, 0, 0, false, true),
        (Frame::BigNumber(Bytes::from_static(b"3")), Some("3"), Some(3), Some(3.0), 0, 0, false, false),
        (verbatim, Some("7"), Some(7), Some(7.0), 0, 0, false, false),
        (Frame::Integer(-4), None, Some(-4), Some(-4.0), 0, 0, false, false),
        (Frame::Double(2.5), None, None, Some(2.5), 0, 0, false, false),
        (Frame::Boolean(true), None, None, None, 0, 0, false, false),
        (Frame::Null, None, None, None, 0, 0, true, false),
        (Frame::NullBulk, None, None, None, 0, 0, true, false),
        (Frame::NullArray, None, None, None, 0, 0, true, false),
        (Frame::Array(one()), None, None, None, 1, 0, false, false),
        (Frame::Set(one()), None, None, None, 1, 0, false, false),
        (Frame::Push(one()), None, None, None, 1, 0, false, false),
        (Frame::Map(pairs()), None, None, None, 0, 1, false, false),
    ];
    for (frame, text, int, float, elements, pairs, is_null, is_error) in table {
        assert_eq!(frame.as_bytes(), text.map(str::as_bytes), "{frame:?}");
        assert_eq!((frame.as_str(), frame.as_int(), frame.as_f64()), (text, int, float), "{frame:?}");
        assert_eq!((frame.is_null(), frame.is_error()), (is_null, is_error), "{frame:?}");
        assert_eq!(frame.as_map().map_or(0, <[_]>::len), pairs, "{frame:?}");
        assert_eq!(frame.as_array().map_or(0, <[_]>::len), elements, "{frame:?}");
        assert_eq!(frame.into_array().map_or(0, |items| items.len()), elements);
    }
}

/// What is a map in RESP3 is a list in RESP2, and some lists of pairs are the other way round: all read as the same pairs. What cannot be
/// pairs is none.
#[test]
fn pairs_are_read_from_whatever_stands_for_a_map() {
    let bulk = |text: &'static str| Frame::bulk(text);
    let pair = |key, value| Frame::Array(vec![bulk(key), bulk(value)]);
    let map = Frame::Map(vec![(bulk("a"), bulk("1")), (bulk("b"), bulk("2"))]);
    let flat = Frame::Array(["a", "1", "b", "2"].map(bulk).into());
    let nested = Frame::Array(vec![pair("a", "1"), pair("b", "2")]);
    let attributed = Frame::Attribute { attributes: vec![], value: Box::new(flat.clone()) };
    for frame in [map, flat, nested, attributed] {
        let pairs: Vec<_> =
            frame.pairs().unwrap().map(|(key, value)| (key.as_str(), value.as_int())).collect();
        assert_eq!(pairs, [(Some("a"), Some(1)), (Some("b"), Some(2))], "{frame:?}");
    }
    // One pair of lists is not two pairs of strings.
    let lists = Frame::Array(vec![bulk("a"), pair("1", "2")]);
    assert_eq!(lists.pairs().unwrap().collect::<Vec<_>>(), [(&bulk("a"), &pair("1", "2"))]);
    for empty in [Frame::Map(vec![]), Frame::Array(vec![])] {
        assert_eq!(empty.pairs().unwrap().count(), 0);
    }
    let odd = Frame::Array(["a", "1", "b"].map(bulk).into());
    for other in [odd, Frame::Null, bulk("a"), Frame::Set(vec![bulk("a"), bulk("b")])] {
        assert!(other.pairs().is_none(), "{other:?}");
    }
}
