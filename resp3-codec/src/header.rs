//! The grammar of one line: a type byte, a scalar or a length, CR LF. Written with nom's streaming conventions:
//! `Incomplete` when the line has not arrived in full.

use memchr::memchr2;
use nom::combinator::{map, value};
use nom::error::{ErrorKind, ParseError};
use nom::sequence::terminated;
use nom::{Err, IResult, Needed, Parser};

use crate::error::DecodeErrorKind;

/// What one line announces.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Header {
    /// The text of the line, which is all but its first byte and its end, `len` bytes long.
    Line(Line, usize),
    Integer(i64),
    Double(f64),
    Boolean(bool),
    Null,
    NullBulk,
    NullArray,
    /// So many bytes and CR LF follow.
    Blob(Blob, usize),
    /// So many elements follow (entries, for a map); streamed if the number is not announced.
    Aggregate(Kind, Option<usize>),
    /// Chunks follow.
    StreamedString,
    /// A chunk of so many bytes; the last one is empty.
    Chunk(usize),
    /// The end of a streamed aggregate.
    End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Line {
    Simple,
    Error,
    BigNumber,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Blob {
    Bulk,
    Error,
    Verbatim,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Array,
    Set,
    Push,
    Map,
    Attribute,
}

/// Why a line is not RESP, and how many bytes of the input were left at the fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) kind: DecodeErrorKind,
    pub(crate) rest: usize,
}

impl ParseError<&[u8]> for Fault {
    fn from_error_kind(input: &[u8], _: ErrorKind) -> Self {
        Self { kind: DecodeErrorKind::LineEnd, rest: input.len() }
    }

    fn append(_: &[u8], _: ErrorKind, other: Self) -> Self {
        other
    }
}

type Parsed<'i, T> = IResult<&'i [u8], T, Fault>;

const INCOMPLETE: Err<Fault> = Err::Incomplete(Needed::Unknown);

/// Parses the first line of `input`.
#[inline(always)]
pub(crate) fn header(input: &[u8]) -> Parsed<'_, Header> {
    let Some((&tag, rest)) = input.split_first() else { return Err(INCOMPLETE) };
    match tag {
        b'+' => map(line, |len| Header::Line(Line::Simple, len)).parse(rest),
        b'-' => map(line, |len| Header::Line(Line::Error, len)).parse(rest),
        b':' => map(terminated(integer, crlf), Header::Integer).parse(rest),
        b'$' => bulk(rest),
        b'*' => array(rest),
        b'~' => aggregate(Kind::Set, rest),
        b'>' => map(terminated(length, crlf), |n| Header::Aggregate(Kind::Push, Some(n))).parse(rest),
        b'%' => aggregate(Kind::Map, rest),
        b'|' => map(terminated(length, crlf), |n| Header::Aggregate(Kind::Attribute, Some(n))).parse(rest),
        b',' => double(rest),
        b'_' => value(Header::Null, crlf).parse(rest),
        b'#' => boolean(rest),
        b'!' => map(terminated(length, crlf), |n| Header::Blob(Blob::Error, n)).parse(rest),
        b'=' => map(terminated(length, crlf), |n| Header::Blob(Blob::Verbatim, n)).parse(rest),
        b'(' => big_number(rest),
        b';' => map(terminated(length, crlf), Header::Chunk).parse(rest),
        b'.' => value(Header::End, crlf).parse(rest),
        other => fault(DecodeErrorKind::UnknownType(other), input),
    }
}

/// Where in `input`, of which the first `searched` bytes hold no line end, the search may go on; or `None` if a
/// line end (or a fault in its place) is there.
pub(crate) fn unterminated(input: &[u8], searched: usize) -> Option<usize> {
    let at = searched + memchr2(b'\r', b'\n', input.get(searched..)?).unwrap_or(input.len() - searched);
    match &input[at..] {
        [] | [b'\r'] => Some(at),
        _ => None,
    }
}

fn fault<T>(kind: DecodeErrorKind, at: &[u8]) -> Parsed<'_, T> {
    Err(Err::Failure(Fault { kind, rest: at.len() }))
}

#[inline(always)]
fn crlf(input: &[u8]) -> Parsed<'_, ()> {
    match input {
        [b'\r', b'\n', rest @ ..] => Ok((rest, ())),
        [] | [b'\r'] => Err(INCOMPLETE),
        _ => fault(DecodeErrorKind::LineEnd, input),
    }
}

/// Text up to the end of the line; its length, since callers slice the shared buffer.
#[inline(always)]
fn line(input: &[u8]) -> Parsed<'_, usize> {
    // Most lines are shorter than a call of memchr is worth.
    let short = input.iter().take(16).position(|&byte| byte == b'\r' || byte == b'\n');
    let Some(len) = short.or_else(|| memchr2(b'\r', b'\n', input)) else { return Err(INCOMPLETE) };
    let (rest, ()) = crlf(&input[len..])?;
    Ok((rest, len))
}

/// Decimal digits, at least one.
#[inline(always)]
fn digits(input: &[u8]) -> Parsed<'_, u64> {
    let mut number = 0u64;
    let mut at = 0;
    while let Some(digit) = input.get(at).map(|byte| byte.wrapping_sub(b'0')).filter(|&digit| digit < 10) {
        // Eighteen digits always fit.
        number = if at < 18 {
            number * 10 + u64::from(digit)
        } else {
            match number.checked_mul(10).and_then(|number| number.checked_add(u64::from(digit))) {
                Some(number) => number,
                None => return fault(DecodeErrorKind::IntegerRange, input),
            }
        };
        at += 1;
    }
    match at {
        0 if input.is_empty() => Err(INCOMPLETE),
        0 => fault(DecodeErrorKind::Integer, input),
        _ => Ok((&input[at..], number)),
    }
}

#[inline(always)]
fn integer(input: &[u8]) -> Parsed<'_, i64> {
    let (unsigned, negative) = match input {
        [b'-', rest @ ..] => (rest, true),
        [b'+', rest @ ..] => (rest, false),
        _ => (input, false),
    };
    let (rest, number) = digits(unsigned)?;
    let signed = if negative { 0i64.checked_sub_unsigned(number) } else { i64::try_from(number).ok() };
    match signed {
        Some(signed) => Ok((rest, signed)),
        None => fault(DecodeErrorKind::IntegerRange, input),
    }
}

#[inline(always)]
fn length(input: &[u8]) -> Parsed<'_, usize> {
    match digits(input) {
        Ok((rest, number)) => match usize::try_from(number) {
            Ok(number) => Ok((rest, number)),
            Err(_) => fault(DecodeErrorKind::IntegerRange, input),
        },
        Err(Err::Failure(Fault { kind: DecodeErrorKind::Integer, rest })) => {
            Err(Err::Failure(Fault { kind: DecodeErrorKind::Length, rest }))
        }
        Err(other) => Err(other),
    }
}

#[inline(always)]
fn bulk(input: &[u8]) -> Parsed<'_, Header> {
    match input {
        [b'-', rest @ ..] => null(Header::NullBulk, rest),
        [b'?', rest @ ..] => value(Header::StreamedString, crlf).parse(rest),
        _ => map(terminated(length, crlf), |n| Header::Blob(Blob::Bulk, n)).parse(input),
    }
}

#[inline(always)]
fn array(input: &[u8]) -> Parsed<'_, Header> {
    match input {
        [b'-', rest @ ..] => null(Header::NullArray, rest),
        _ => aggregate(Kind::Array, input),
    }
}

/// The `1` of a RESP2 null, whose `-` is behind us.
fn null(null: Header, input: &[u8]) -> Parsed<'_, Header> {
    match input {
        [b'1', rest @ ..] => value(null, crlf).parse(rest),
        [] => Err(INCOMPLETE),
        _ => fault(DecodeErrorKind::Length, input),
    }
}

#[inline(always)]
fn aggregate(kind: Kind, input: &[u8]) -> Parsed<'_, Header> {
    match input {
        [b'?', rest @ ..] => value(Header::Aggregate(kind, None), crlf).parse(rest),
        _ => map(terminated(length, crlf), |n| Header::Aggregate(kind, Some(n))).parse(input),
    }
}

fn boolean(input: &[u8]) -> Parsed<'_, Header> {
    match input {
        [b't', rest @ ..] => value(Header::Boolean(true), crlf).parse(rest),
        [b'f', rest @ ..] => value(Header::Boolean(false), crlf).parse(rest),
        [] => Err(INCOMPLETE),
        _ => fault(DecodeErrorKind::Boolean, input),
    }
}

fn double(input: &[u8]) -> Parsed<'_, Header> {
    let (rest, len) = line(input)?;
    let text = &input[..len];
    let number = match text {
        b"inf" | b"+inf" => Some(f64::INFINITY),
        b"-inf" => Some(f64::NEG_INFINITY),
        b"nan" | b"-nan" => Some(f64::NAN),
        // The standard parser takes words as well ("infinity"): only numbers reach it.
        _ if text.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E')) => {
            str::from_utf8(text).ok().and_then(|text| text.parse().ok())
        }
        _ => None,
    };
    match number {
        Some(number) => Ok((rest, Header::Double(number))),
        None => fault(DecodeErrorKind::Double, input),
    }
}

fn big_number(input: &[u8]) -> Parsed<'_, Header> {
    let (rest, len) = line(input)?;
    let digits = match &input[..len] {
        [b'-' | b'+', digits @ ..] => digits,
        digits => digits,
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return fault(DecodeErrorKind::BigNumber, input);
    }
    Ok((rest, Header::Line(Line::BigNumber, len)))
}
