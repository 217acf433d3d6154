//! The grammar of what stands between a type byte and the end of its line, in nom's streaming convention:
//! `Incomplete` when the line has not arrived in full.

use memchr::memchr2;
use nom::combinator::value;
use nom::error::{ErrorKind, ParseError};
use nom::sequence::preceded;
use nom::{Err, IResult, Needed, Parser};

use crate::error::DecodeErrorKind;
use crate::work::spend;

/// Why a line is not RESP.
///
/// Boxed: results that are made of whole words in every case stay in registers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault(pub(crate) Box<Reason>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reason {
    pub(crate) kind: DecodeErrorKind,
    /// How many bytes of the input were left at the fault.
    pub(crate) rest: usize,
}

impl ParseError<&[u8]> for Fault {
    fn from_error_kind(input: &[u8], _: ErrorKind) -> Self {
        Self(Box::new(Reason { kind: DecodeErrorKind::LineEnd, rest: input.len() }))
    }

    fn append(_: &[u8], _: ErrorKind, other: Self) -> Self {
        other
    }
}

pub(crate) type Parsed<'i, T> = IResult<&'i [u8], T, Fault>;

const INCOMPLETE: Err<Fault> = Err::Incomplete(Needed::Unknown);

/// Where the search for the end of `input`'s first line may go on, its first `searched` bytes holding none; `None`
/// if the end (or a fault in its place) is there.
pub(crate) fn unterminated(input: &[u8], searched: usize) -> Option<usize> {
    let at = searched + memchr2(b'\r', b'\n', input.get(searched..)?).unwrap_or(input.len() - searched);
    spend(at - searched);
    match &input[at..] {
        [] | [b'\r'] => Some(at),
        _ => None,
    }
}

/// CR LF.
#[inline(always)]
pub(crate) fn end(input: &[u8]) -> Parsed<'_, ()> {
    match input {
        [b'\r', b'\n', rest @ ..] => Ok((rest, ())),
        [] | [b'\r'] => Err(INCOMPLETE),
        _ => fault(DecodeErrorKind::LineEnd, input),
    }
}

/// Any text.
#[inline(always)]
pub(crate) fn text(input: &[u8]) -> Parsed<'_, &[u8]> {
    // Most lines are shorter than a call of memchr is worth.
    let short = input.iter().take(16).position(|&byte| byte == b'\r' || byte == b'\n');
    let found = short.or_else(|| memchr2(b'\r', b'\n', input));
    spend(found.unwrap_or(input.len()));
    let Some(len) = found else { return Err(INCOMPLETE) };
    let (text, rest) = input.split_at(len);
    let (rest, ()) = end(rest)?;
    Ok((rest, text))
}

/// A signed integer of 64 bits.
#[inline(always)]
pub(crate) fn integer(input: &[u8]) -> Parsed<'_, i64> {
    let (unsigned, negative) = match input {
        [b'-', rest @ ..] => (rest, true),
        [b'+', rest @ ..] => (rest, false),
        _ => (input, false),
    };
    let (rest, number) = digits(unsigned, DecodeErrorKind::Integer)?;
    let (rest, ()) = end(rest)?;
    let signed = if negative { 0i64.checked_sub_unsigned(number) } else { i64::try_from(number).ok() };
    match signed {
        Some(signed) => Ok((rest, signed)),
        None => fault(DecodeErrorKind::IntegerRange, input),
    }
}

/// How many bytes or elements follow.
#[inline(always)]
pub(crate) fn length(input: &[u8]) -> Parsed<'_, usize> {
    let (rest, number) = digits(input, DecodeErrorKind::Length)?;
    let (rest, ()) = end(rest)?;
    match usize::try_from(number) {
        Ok(number) => Ok((rest, number)),
        Err(_) => fault(DecodeErrorKind::IntegerRange, input),
    }
}

/// The `-1` that makes a null of a RESP2 string or array.
pub(crate) fn minus_one(input: &[u8]) -> Parsed<'_, ()> {
    preceded(byte(b'-', DecodeErrorKind::Length), preceded(byte(b'1', DecodeErrorKind::Length), end))
        .parse(input)
}

/// The `?` that stands for a length not known yet.
pub(crate) fn streamed(input: &[u8]) -> Parsed<'_, ()> {
    preceded(byte(b'?', DecodeErrorKind::Length), end).parse(input)
}

/// `t` or `f`.
pub(crate) fn boolean(input: &[u8]) -> Parsed<'_, bool> {
    let truth = match input {
        [b't', ..] => true,
        [b'f', ..] => false,
        [] => return Err(INCOMPLETE),
        _ => return fault(DecodeErrorKind::Boolean, input),
    };
    value(truth, end).parse(&input[1..])
}

/// The number that a text with fraction and exponent stands for, an infinity, or NaN.
pub(crate) fn double(text: &[u8]) -> Option<f64> {
    short_decimal(text).or_else(|| word(text)).or_else(|| {
        // Only numbers reach the standard parser, which takes words as well.
        let number = |byte: &u8| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E');
        text.iter().all(number).then(|| str::from_utf8(text).ok()?.parse().ok())?
    })
}

/// An infinity or NaN, in whatever spelling `printf` may choose.
///
/// The specification of RESP3 knows `inf`, `-inf` and `nan`, and since Redis 7.2 a server writes no others. Before, NaN was
/// as the C library formats it: `nan`, `-nan`, `NAN`, `nan(0x8000000000000)`, `-nan(ind)`. Servers that are written in other
/// languages say `NaN`, `+Inf` (Go) or `Infinity` (Java, JavaScript).
fn word(text: &[u8]) -> Option<f64> {
    let (unsigned, infinity) = match text {
        [b'-', rest @ ..] => (rest, f64::NEG_INFINITY),
        [b'+', rest @ ..] => (rest, f64::INFINITY),
        _ => (text, f64::INFINITY),
    };
    if unsigned.eq_ignore_ascii_case(b"inf") || unsigned.eq_ignore_ascii_case(b"infinity") {
        return Some(infinity);
    }
    let (name, payload) = unsigned.split_at_checked(3)?;
    let is_payload = |payload: &[u8]| match payload {
        [] => true,
        [b'(', inside @ .., b')'] => inside.iter().all(|&byte| byte.is_ascii_alphanumeric() || byte == b'_'),
        _ => false,
    };
    (name.eq_ignore_ascii_case(b"nan") && is_payload(payload)).then_some(f64::NAN)
}

/// A double of at most 15 digits without exponent: its digits and its power of ten are exact as doubles, and so their
/// quotient is what a full conversion gives.
fn short_decimal(text: &[u8]) -> Option<f64> {
    const POWERS: [f64; 16] =
        [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];
    let (unsigned, negative) = match text {
        [b'-', rest @ ..] => (rest, true),
        _ => (text, false),
    };
    if unsigned.len() > 16 {
        return None;
    }
    let mut point = None;
    let mut number = 0u64;
    for (at, &byte) in unsigned.iter().enumerate() {
        match byte {
            b'0'..=b'9' => number = number * 10 + u64::from(byte - b'0'),
            b'.' if point.is_none() => point = Some(at),
            _ => return None,
        }
    }
    let digits = unsigned.len() - usize::from(point.is_some());
    if digits == 0 || digits > 15 {
        return None;
    }
    let fraction = point.map_or(0, |point| unsigned.len() - point - 1);
    let number = number as f64 / POWERS[fraction];
    Some(if negative { -number } else { number })
}

/// Whether a text is decimal digits with an optional sign.
pub(crate) fn is_big_number(text: &[u8]) -> bool {
    let digits = match text {
        [b'-' | b'+', digits @ ..] => digits,
        digits => digits,
    };
    !digits.is_empty() && digits.iter().all(u8::is_ascii_digit)
}

/// Decimal digits, at least one, or it is a fault of the kind `otherwise`; at most as many as the largest number has,
/// so that reading them again after a cut is cheap.
#[inline(always)]
fn digits(input: &[u8], otherwise: DecodeErrorKind) -> Parsed<'_, u64> {
    let mut number = 0u64;
    let mut at = 0;
    while let Some(digit) = input.get(at).map(|byte| byte.wrapping_sub(b'0')).filter(|&digit| digit < 10) {
        number = if at < 19 {
            number * 10 + u64::from(digit)
        } else {
            // The twentieth may be too much, and there are no numbers of more digits.
            match number.checked_mul(10).and_then(|number| number.checked_add(u64::from(digit))) {
                Some(number) if at < 20 => number,
                _ => return fault(DecodeErrorKind::IntegerRange, input),
            }
        };
        at += 1;
    }
    spend(at);
    match at {
        0 if input.is_empty() => Err(INCOMPLETE),
        0 => fault(otherwise, input),
        _ => Ok((&input[at..], number)),
    }
}

fn byte<'i>(byte: u8, otherwise: DecodeErrorKind) -> impl Parser<&'i [u8], Output = (), Error = Fault> {
    move |input: &'i [u8]| match input.split_first() {
        Some((&first, rest)) if first == byte => Ok((rest, ())),
        Some(_) => fault(otherwise, input),
        None => Err(INCOMPLETE),
    }
}

#[cold]
fn fault<T>(kind: DecodeErrorKind, at: &[u8]) -> Parsed<'_, T> {
    Err(Err::Failure(Fault(Box::new(Reason { kind, rest: at.len() }))))
}
