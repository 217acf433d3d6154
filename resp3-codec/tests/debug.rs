//! What `{:?}` shows: the values of frames, cut to a bounded length, and no payload of anything else.

mod common;

use bytes::Bytes;
use common::try_decode_cut;
use resp3_codec::{Decoder, Frame, Limits};

fn text(bytes: &'static [u8]) -> Bytes {
    Bytes::from_static(bytes)
}

/// `levels` arrays inside each other, around nothing.
fn nested(levels: usize) -> Frame {
    (1..levels).fold(Frame::Array(vec![]), |inner, _| Frame::Array(vec![inner]))
}

#[test]
fn every_type_shows_its_value() {
    let pair = || vec![(Frame::simple("k"), Frame::Integer(1))];
    let cases = [
        (Frame::simple("OK"), r#"Simple("OK")"#),
        (Frame::error("ERR unknown command 'X'"), r#"Error("ERR unknown command 'X'")"#),
        (Frame::Integer(-7), "Integer(-7)"),
        (Frame::bulk("hello"), r#"Bulk("hello")"#),
        (Frame::BlobError(text(b"SYNTAX no")), r#"BlobError("SYNTAX no")"#),
        (Frame::Double(1.5), "Double(1.5)"),
        (Frame::BigNumber(text(b"123")), r#"BigNumber("123")"#),
        (Frame::Boolean(true), "Boolean(true)"),
        (Frame::Verbatim { format: *b"txt", text: text(b"a") }, r#"Verbatim { format: "txt", text: "a" }"#),
        (Frame::Null, "Null"),
        (Frame::NullBulk, "NullBulk"),
        (Frame::NullArray, "NullArray"),
        (Frame::Array(vec![Frame::Integer(1), nested(1)]), "Array([Integer(1), Array([])])"),
        (Frame::Set(vec![Frame::Integer(1)]), "Set([Integer(1)])"),
        (Frame::Push(vec![Frame::bulk("pong")]), r#"Push([Bulk("pong")])"#),
        (Frame::Map(pair()), r#"Map({Simple("k"): Integer(1)})"#),
        (
            Frame::Attribute { attributes: pair(), value: Box::new(Frame::Null) },
            r#"Attribute { attributes: {Simple("k"): Integer(1)}, value: Null }"#,
        ),
    ];
    for (frame, shown) in cases {
        assert_eq!(format!("{frame:?}"), shown);
    }
}

#[test]
fn the_alternate_form_has_an_element_on_each_line() {
    let pairs = vec![(Frame::bulk("k"), Frame::Integer(1))];
    let frame = Frame::Array(vec![Frame::Map(pairs)]);
    let shown = r#"
Array(
    [
        Map(
            {
                Bulk(
                    "k",
                ): Integer(
                    1,
                ),
            },
        ),
    ],
)"#;
    assert_eq!(format!("\n{frame:#?}"), shown);
}

#[test]
fn text_is_escaped_and_what_is_not_utf8_is_a_byte_string() {
    assert_eq!(format!("{:?}", Frame::bulk("a\r\n\"é\x1b")), r#"Bulk("a\r\n\"é\u{1b}")"#);
    assert_eq!(format!("{:?}", Frame::bulk(&b"a\xff\0"[..])), r#"Bulk(b"a\xff\x00")"#);
}

#[test]
fn a_string_of_more_than_128_bytes_is_cut_and_shows_its_length() {
    let whole = "x".repeat(128);
    assert_eq!(format!("{:?}", Frame::bulk(whole.clone())), format!("Bulk({whole:?})"));
    assert_eq!(format!("{:?}", Frame::bulk(format!("{whole}y"))), format!("Bulk({whole:?}.. 129 bytes)"));
    let binary = [0xff; 129].to_vec();
    let shown = r"\xff".repeat(128);
    assert_eq!(format!("{:?}", Frame::bulk(binary)), format!("Bulk(b\"{shown}\".. 129 bytes)"));
}

#[test]
fn a_string_is_not_cut_inside_a_character() {
    let before = "x".repeat(127);
    assert_eq!(format!("{:?}", Frame::bulk(format!("{before}é"))), format!("Bulk({before:?}.. 129 bytes)"));
    let broken = [before.as_bytes(), b"\xc3"].concat();
    assert_eq!(format!("{:?}", Frame::bulk(broken)), format!("Bulk(b\"{before}\\xc3\")"));
}

#[test]
fn an_aggregate_shows_its_first_32_elements_and_how_many_follow() {
    let array = |len| format!("{:?}", Frame::Array(vec![Frame::Null; len]));
    let nulls = ["Null"; 32].join(", ");
    assert_eq!(array(32), format!("Array([{nulls}])"));
    assert_eq!(array(34), format!("Array([{nulls}, .. 2 more])"));

    let map = |len| format!("{:?}", Frame::Map(vec![(Frame::Null, Frame::Integer(1)); len]));
    let pairs = ["Null: Integer(1)"; 32].join(", ");
    assert_eq!(map(32), format!("Map({{{pairs}}})"));
    assert_eq!(map(33), format!("Map({{{pairs}, .. 1 more}})"));
}

/// However deep a frame is, its debug output is bounded. INV-11
#[test]
fn eight_levels_of_nesting_are_shown() {
    let levels = |frame: &Frame| format!("{frame:?}").matches("Array").count();
    assert_eq!(levels(&nested(8)), 8);
    assert_eq!(levels(&nested(9)), 9, "the innermost shows as an element, and holds nothing");
    assert_eq!(levels(&nested(100)), 9);
    assert!(format!("{:?}", nested(100)).contains("Array([.. 1 more])"));

    let attributed = |inner| Frame::Attribute { attributes: vec![], value: Box::new(inner) };
    let frame = (0..100).fold(Frame::Null, |inner, _| attributed(inner));
    let shown = format!("{frame:?}");
    assert_eq!(shown.matches("Attribute").count(), 9);
    assert!(shown.contains("Attribute { attributes: {}, .. }"), "{shown}");
}

/// However wide a frame is, its debug output is bounded. INV-11
#[test]
fn a_tree_shows_128_frames_at_most_and_less_than_128_kib() {
    // The characters that take the most room when they are escaped.
    let text = Frame::bulk("\x7f".repeat(1000));
    let pairs = || vec![(text.clone(), text.clone()); 40];
    let attributed = Frame::Attribute { attributes: pairs(), value: Box::new(text.clone()) };
    let wide = (0..2).fold(attributed, |inner, _| Frame::Array(vec![inner; 40]));
    for frame in [wide, Frame::Array(vec![Frame::Map(pairs()); 40])] {
        let shown = format!("{frame:?}");
        let frames = ["Bulk", "Attribute", "Array", "Map"].map(|name| shown.matches(name).count());
        // The outermost frame is not counted.
        assert_eq!(frames.iter().sum::<usize>(), 128 + 1);
        assert!(shown.len() < 128 << 10, "{}", shown.len());
        assert!(format!("{frame:#?}").len() < 128 << 10);
    }
}

#[test]
fn decoders_and_errors_show_no_payload() {
    let mut decoder = Decoder::new(Limits::default());
    let shown = |decoder: &Decoder, decoded, buffered| {
        let text =
            format!("Decoder {{ decoded_bytes: {decoded}, buffered_bytes: {buffered}, failed: None, .. }}");
        assert_eq!(format!("{decoder:?}"), text);
    };
    decoder.buffer().extend_from_slice(b"+OK\r\n:1\r\n$7\r\nhunter");
    shown(&decoder, 0, 19);
    assert_eq!(decoder.poll_frame(), Ok(Some(Frame::simple("OK"))));
    shown(&decoder, 5, 14);
    assert_eq!(decoder.poll_frame(), Ok(Some(Frame::Integer(1))));
    assert_eq!(decoder.poll_frame(), Ok(None));
    shown(&decoder, 9, 10);
    decoder.buffer().extend_from_slice(b"2\r\n+OK\r\n");
    assert_eq!(decoder.poll_frame(), Ok(Some(Frame::bulk("hunter2"))));
    shown(&decoder, 22, 5);

    let (_, error) = try_decode_cut(b"$7\r\nhunter2hunter2\r\n", &[], Limits::default());
    let error = error.expect("no line end after the string");
    assert_eq!(
        error.to_string(),
        "expected CR LF after a string of announced length (byte 11 of the stream)"
    );
}
