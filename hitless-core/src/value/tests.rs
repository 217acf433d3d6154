use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt::Debug;
use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use resp3_codec::Frame;

use super::*;
use crate::error::ServerError;

fn read<T: FromFrame>(frame: &Frame) -> Result<T, ValueError> {
    T::from_frame(frame.clone())
}

/// Every frame is this value, with attributes as well.
#[track_caller]
fn all_are<T: FromFrame + PartialEq + Debug>(value: T, frames: &[Frame]) {
    for frame in frames {
        assert_eq!(read::<T>(frame).as_ref(), Ok(&value), "{frame:?}");
        let attributes = vec![(Frame::simple("ttl"), Frame::Integer(1))];
        let said = Frame::Attribute { attributes, value: frame.clone().into() };
        assert_eq!(read::<T>(&said).as_ref(), Ok(&value), "{said:?}");
    }
}

/// No frame is such a value, and the error says what was expected and what came.
#[track_caller]
fn none_is<T: FromFrame + Debug>(expected: &str, frames: &[Frame]) {
    for frame in frames {
        let error = read::<T>(frame).unwrap_err();
        assert!(matches!(error, ValueError::Mismatch { .. }), "{frame:?}: {error:?}");
        let shown = error.to_string();
        assert!(shown.starts_with(&format!("expected {expected}, got ")), "{frame:?}: {shown}");
        assert!(shown.contains(&format!("{frame:?}")), "{frame:?}: {shown}");
    }
}

fn bulk(text: &'static str) -> Frame {
    Frame::bulk(text)
}

fn array<const N: usize>(items: [Frame; N]) -> Frame {
    Frame::Array(items.into())
}

fn big(digits: &'static str) -> Frame {
    Frame::BigNumber(Bytes::from_static(digits.as_bytes()))
}

fn verbatim(text: &'static str) -> Frame {
    Frame::Verbatim { format: *b"txt", text: Bytes::from_static(text.as_bytes()) }
}

/// RULE-190
#[test]
fn strings() {
    all_are(
        "17".to_owned(),
        &[bulk("17"), Frame::simple("17"), verbatim("17"), big("17"), Frame::Integer(17)],
    );
    all_are("1.5".to_owned(), &[bulk("1.5"), Frame::Double(1.5)]);
    all_are::<Box<str>>("x".into(), &[bulk("x")]);
    all_are::<Arc<str>>("x".into(), &[bulk("x")]);
    all_are(String::new(), &[bulk("")]);
    none_is::<String>("a string", &[array([]), Frame::Map(vec![]), Frame::Boolean(true)]);
    let error = read::<String>(&Frame::bulk(&b"\xff"[..])).unwrap_err();
    assert_eq!(error.to_string(), r#"expected a string in UTF-8, got Bulk(b"\xff")"#);

    all_are(Bytes::from_static(b"\xff\0"), &[Frame::bulk(&b"\xff\0"[..])]);
    all_are(b"\xff\0".to_vec(), &[Frame::bulk(&b"\xff\0"[..])]);
    all_are(*b"ab", &[bulk("ab")]);
    all_are(vec![1_u8, 255], &[array([Frame::Integer(1), bulk("255")])]);
    none_is::<Bytes>("a string", &[Frame::Integer(1), array([]), Frame::Null]);
    none_is::<Vec<u8>>("a string", &[Frame::Integer(1), Frame::Null]);
    let error = read::<[u8; 2]>(&bulk("abc")).unwrap_err();
    assert_eq!(error.to_string(), "expected 2 elements or bytes, got 3");
}

/// A number is never cut to the range of its type. RULE-190
#[test]
fn numbers() {
    all_are(17_i64, &[Frame::Integer(17), bulk("17"), Frame::simple("17"), big("17")]);
    all_are(-1_i8, &[Frame::Integer(-1), bulk("-1")]);
    all_are(255_u8, &[Frame::Integer(255), bulk("255")]);
    all_are(u64::MAX, &[bulk("18446744073709551615"), big("18446744073709551615")]);
    all_are(i128::MIN, &[big("-170141183460469231731687303715884105728")]);
    all_are(7_usize, &[Frame::Integer(7)]);
    all_are(7_u128, &[Frame::Integer(7)]);
    none_is::<u8>(
        "an integer from 0 to 255",
        &[Frame::Integer(256), Frame::Integer(-1), bulk("256"), bulk("")],
    );
    none_is::<i8>(
        "an integer from -128 to 127",
        &[Frame::Integer(128), bulk("1.0"), bulk(" 1"), bulk("one")],
    );
    none_is::<u64>("an integer from 0 to 18446744073709551615", &[Frame::Integer(-1), Frame::Double(1.0)]);
    none_is::<i32>(
        "an integer from -2147483648 to 2147483647",
        &[Frame::Boolean(true), Frame::Null, array([])],
    );

    all_are(1.5, &[Frame::Double(1.5), bulk("1.5"), Frame::simple("1.5")]);
    all_are(2.0, &[Frame::Integer(2), bulk("2"), big("2")]);
    all_are(f64::INFINITY, &[Frame::Double(f64::INFINITY), bulk("inf"), bulk("+Inf")]);
    all_are(f32::NEG_INFINITY, &[Frame::Double(f64::NEG_INFINITY), bulk("-inf")]);
    for nan in [Frame::Double(f64::NAN), bulk("nan"), bulk("-nan")] {
        assert!(read::<f64>(&nan).unwrap().is_nan() && read::<f32>(&nan).unwrap().is_nan(), "{nan:?}");
    }
    none_is::<f64>("a floating-point number", &[bulk("x"), bulk(""), Frame::Null, Frame::Boolean(true)]);
    none_is::<f32>("a floating-point number of 32 bits", &[Frame::Double(1e300), bulk("x")]);
}

/// RULE-190
#[test]
fn truths_and_nothing() {
    all_are(
        true,
        &[Frame::Boolean(true), Frame::Integer(1), Frame::Integer(-2), bulk("1"), Frame::simple("OK")],
    );
    let nulls = [Frame::Null, Frame::NullBulk, Frame::NullArray];
    all_are(false, &[Frame::Boolean(false), Frame::Integer(0), bulk("0"), Frame::simple("0")]);
    all_are(false, &nulls);
    none_is::<bool>("a boolean", &[bulk("true"), bulk("OK"), bulk("2"), Frame::Double(1.0), array([])]);

    all_are(None::<String>, &nulls);
    all_are(None::<Vec<bool>>, &nulls);
    all_are(Some(1_u8), &[Frame::Integer(1)]);
    all_are(vec![Some(1_u8), None], &[array([bulk("1"), Frame::NullBulk])]);
    let error = read::<String>(&Frame::Null).unwrap_err();
    assert_eq!(error.to_string(), "expected a string, got Null (an `Option` is what may be missing)");

    all_are(
        (),
        &[Frame::simple("OK"), Frame::Null, array([bulk("x"), Frame::Map(vec![(bulk("k"), array([]))])])],
    );
}

/// What RESP2 says in a flat array and RESP3 in a map or in pairs is the same value. RULE-190
#[test]
fn collections_are_the_same_in_both_protocols() {
    let flat = array([bulk("a"), bulk("1"), bulk("b"), bulk("2")]);
    let map = Frame::Map(vec![(bulk("a"), bulk("1")), (bulk("b"), Frame::Integer(2))]);
    let pairs = array([array([bulk("a"), Frame::Double(1.0)]), array([bulk("b"), Frame::Integer(2)])]);
    let all = [flat.clone(), map.clone(), pairs];
    all_are(vec![("a".to_owned(), 1.0), ("b".to_owned(), 2.0)], &all);
    all_are(HashMap::from([("a".to_owned(), 1.0), ("b".to_owned(), 2.0)]), &all);
    all_are(BTreeMap::from([("a".to_owned(), 1.0), ("b".to_owned(), 2.0)]), &all);
    all_are(("a".to_owned(), 1_u8, "b".to_owned(), 2_u8), &[flat.clone(), map.clone()]);
    all_are(["a", "1", "b", "2"].map(str::to_owned).to_vec(), &[flat, map]);

    let list =
        [array([Frame::Integer(1), bulk("2"), bulk("2")]), Frame::Set(vec![bulk("1"), bulk("2"), bulk("2")])];
    all_are(vec![1, 2, 2], &list);
    all_are([1, 2, 2], &list);
    all_are(HashSet::from([1, 2]), &list);
    all_are(BTreeSet::from([1, 2]), &list);
    let empty = [array([]), Frame::Set(vec![]), Frame::Map(vec![])];
    all_are(Vec::<String>::new(), &empty);
    all_are(Vec::<(String, String)>::new(), &empty);
    all_are(HashMap::<String, u8>::new(), &empty);

    none_is::<Vec<String>>("an array", &[bulk("x"), Frame::Integer(1), Frame::Null]);
    let odd = array([bulk("1"), bulk("2"), bulk("3")]);
    let map = "a map, or an array of keys and values by turns";
    none_is::<HashMap<u8, u8>>(map, &[bulk("x"), Frame::Integer(1), Frame::Null, odd.clone()]);
    none_is::<BTreeMap<u8, u8>>(map, &[bulk("x"), odd]);
    none_is::<Vec<(u8, u8)>>("an array of tuples of 2", &[bulk("x")]);
    none_is::<Vec<(u8, u8)>>("an array of tuples of 2", &[array([bulk("1"), bulk("2"), bulk("3")])]);
}

/// RULE-190
#[test]
fn tuples_and_nesting() {
    let one = || array([bulk("1-1"), array([bulk("f"), bulk("v")])]);
    type Entry = (String, HashMap<String, String>);
    let entry: Entry = ("1-1".to_owned(), HashMap::from([("f".to_owned(), "v".to_owned())]));
    let entries = array([one(), one()]);
    all_are(vec![entry.clone(), entry.clone()], std::slice::from_ref(&entries));
    // XREAD: RESP3 has a map, RESP2 pairs.
    let streams = HashMap::from([("s".to_owned(), vec![entry.clone(), entry])]);
    let by_name = Frame::Map(vec![(bulk("s"), entries.clone())]);
    all_are(streams, &[by_name, array([array([bulk("s"), entries])])]);

    all_are(((1, 2), [3]), &[array([array([bulk("1"), bulk("2")]), array([bulk("3")])])]);
    all_are(
        vec![(1,), (2,)],
        &[array([bulk("1"), bulk("2")]), array([array([bulk("1")]), array([bulk("2")])])],
    );
    all_are(vec![(1, 2, 3), (4, 5, 6)], &[array(["1", "2", "3", "4", "5", "6"].map(bulk))]);
    let twelve = array(std::array::from_fn::<_, 12, _>(|at| Frame::Integer(at as i64)));
    all_are((0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11), &[twelve]);
    none_is::<(u8, u8)>("an array of 2", &[array([]), array([bulk("1")]), bulk("x"), Frame::Null]);
    none_is::<(u8,)>("an array of 1", &[array([bulk("1"), bulk("2")])]);
}

/// An error in the place of a value, or of a part of it, is the error of the whole. RULE-190
#[test]
fn an_error_reply_is_the_error() {
    fn is_server<T: FromFrame + Debug>(frame: &Frame) {
        let error = read::<T>(frame).unwrap_err();
        assert!(matches!(&error, ValueError::Server(error) if error.code() == "OOPS"), "{error:?}");
        assert_eq!(error.to_string(), "OOPS no");
    }
    let error = || Frame::error("OOPS no");
    for frame in [error(), Frame::BlobError(Bytes::from_static(b"OOPS no"))] {
        is_server::<String>(&frame);
        is_server::<Bytes>(&frame);
        is_server::<Vec<u8>>(&frame);
        is_server::<i64>(&frame);
        is_server::<f64>(&frame);
        is_server::<bool>(&frame);
        is_server::<()>(&frame);
        is_server::<Option<u8>>(&frame);
        is_server::<Vec<String>>(&frame);
        is_server::<HashMap<u8, u8>>(&frame);
        is_server::<(u8, u8)>(&frame);
    }
    let inside = array([bulk("1"), error(), bulk("3")]);
    is_server::<Vec<Option<u8>>>(&inside);
    is_server::<(u8, u8, u8)>(&inside);
    is_server::<(u8, u8)>(&inside);
    is_server::<HashMap<String, u8>>(&inside);
    is_server::<()>(&array([array([Frame::Map(vec![(bulk("k"), array([error()]))])])]));

    let all: Vec<Result<u8, ServerError>> = read(&inside).unwrap();
    assert_eq!(all[1].as_ref().map_err(ServerError::code), Err("OOPS"));
    assert_eq!((&all[0], &all[2]), (&Ok(1), &Ok(3)));
    assert_eq!(read::<Vec<Frame>>(&inside).unwrap()[1], error(), "a frame is taken as it is");
}

/// What came is shown, and cut. RULE-190
#[test]
fn the_error_shows_what_came() {
    let long = Frame::Array(vec![bulk("0123456789"); 100]);
    let shown = read::<u8>(&long).unwrap_err().to_string();
    assert!(
        shown.starts_with(r#"expected an integer from 0 to 255, got Array([Bulk("0123456789"), "#),
        "{shown}"
    );
    assert!(shown.ends_with("..") && shown.len() < 350, "{shown}");
}

fn any_frame() -> impl Strategy<Value = Frame> {
    let text = prop_oneof!["[0-9]{0,40}", "-?[0-9]{1,3}(\\.[0-9])?", "OK|inf|nan|", ".{0,5}"];
    let bytes = prop_oneof![text.prop_map(Bytes::from), any::<Vec<u8>>().prop_map(Bytes::from)];
    let leaf = prop_oneof![
        bytes.clone().prop_map(Frame::Simple),
        bytes.clone().prop_map(Frame::Bulk),
        bytes.clone().prop_map(Frame::Error),
        bytes.clone().prop_map(Frame::BlobError),
        bytes.clone().prop_map(Frame::BigNumber),
        (any::<[u8; 3]>(), bytes).prop_map(|(format, text)| Frame::Verbatim { format, text }),
        any::<i64>().prop_map(Frame::Integer),
        (-300_i64..300).prop_map(Frame::Integer),
        any::<f64>().prop_map(Frame::Double),
        any::<bool>().prop_map(Frame::Boolean),
        Just(Frame::Null),
        Just(Frame::NullBulk),
        Just(Frame::NullArray),
    ];
    leaf.prop_recursive(4, 64, 6, |inner| {
        let items = prop::collection::vec(inner.clone(), 0..6);
        let pairs = prop::collection::vec((inner.clone(), inner.clone()), 0..4);
        prop_oneof![
            items.clone().prop_map(Frame::Array),
            items.clone().prop_map(Frame::Set),
            items.prop_map(Frame::Push),
            pairs.clone().prop_map(Frame::Map),
            (pairs, inner)
                .prop_map(|(attributes, value)| Frame::Attribute { attributes, value: value.into() }),
        ]
    })
}

/// An error, if there is one, has a bounded text.
fn is_total<T: FromFrame>(frame: &Frame) {
    if let Err(error @ ValueError::Mismatch { .. }) = read::<T>(frame) {
        assert!(error.to_string().chars().count() < 400, "{error}");
    }
}

proptest! {
    /// Whatever came, it is a value or an error. INV-11
    #[test]
    fn every_frame_is_a_value_or_an_error(frame in any_frame()) {
        is_total::<String>(&frame);
        is_total::<Bytes>(&frame);
        is_total::<Vec<u8>>(&frame);
        is_total::<u8>(&frame);
        is_total::<i128>(&frame);
        is_total::<f32>(&frame);
        is_total::<bool>(&frame);
        is_total::<()>(&frame);
        is_total::<Option<u64>>(&frame);
        is_total::<Vec<Option<String>>>(&frame);
        is_total::<HashMap<String, Vec<u8>>>(&frame);
        is_total::<BTreeSet<i16>>(&frame);
        is_total::<[u8; 3]>(&frame);
        is_total::<(String, u8)>(&frame);
        is_total::<Vec<(u8, Vec<(String,)>, Frame)>>(&frame);
        is_total::<Vec<Result<u8, ServerError>>>(&frame);
    }
}
