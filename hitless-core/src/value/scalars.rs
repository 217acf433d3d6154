//! Values of one frame.

use std::sync::Arc;

use bytes::Bytes;
use resp3_codec::Frame;

use super::{FromFrame, ValueError, elements};
use crate::error::ServerError;

impl FromFrame for Frame {
    fn from_frame(frame: Frame) -> Result<Self, ValueError> {
        Ok(frame)
    }
}

impl FromFrame for Bytes {
    fn from_frame(frame: Frame) -> Result<Self, ValueError> {
        string(frame, "a string")
    }
}

impl FromFrame for String {
    fn from_frame(frame: Frame) -> Result<Self, ValueError> {
        match frame.value() {
            Frame::Integer(number) => return Ok(number.to_string()),
            Frame::Double(number) => return Ok(number.to_string()),
            _ => {}
        }
        let text = Self::from_utf8(string(frame, "a string")?.into());
        text.map_err(|error| ValueError::mismatch("a string in UTF-8", &Frame::bulk(error.into_bytes())))
    }
}

impl FromFrame for Box<str> {
    fn from_frame(frame: Frame) -> Result<Self, ValueError> {
        String::from_frame(frame).map(Self::from)
    }
}

impl FromFrame for Arc<str> {
    fn from_frame(frame: Frame) -> Result<Self, ValueError> {
        String::from_frame(frame).map(Self::from)
    }
}

impl FromFrame for bool {
    fn from_frame(frame: Frame) -> Result<Self, ValueError> {
        match frame.value() {
            Frame::Boolean(truth) => Ok(*truth),
            Frame::Integer(number) => Ok(*number != 0),
            Frame::Simple(text) if text == "OK" => Ok(true),
            Frame::Simple(text) | Frame::Bulk(text) if text == "1" => Ok(true),
            Frame::Simple(text) | Frame::Bulk(text) if text == "0" => Ok(false),
            value if value.is_null() => Ok(false),
            other => Err(ValueError::mismatch("a boolean", other)),
        }
    }
}

macro_rules! integers {
    ($($integer:ident)*) => {$(
        impl FromFrame for $integer {
            fn from_frame(frame: Frame) -> Result<Self, ValueError> {
                integer(&frame).ok_or_else(|| {
                    let expected = format!("an integer from {} to {}", Self::MIN, Self::MAX);
                    ValueError::mismatch(expected, frame.value())
                })
            }
        }
    )*};
}

integers!(i8 i16 i32 i64 i128 isize u16 u32 u64 u128 usize);

impl FromFrame for u8 {
    fn from_frame(frame: Frame) -> Result<Self, ValueError> {
        integer(&frame).ok_or_else(|| ValueError::mismatch("an integer from 0 to 255", frame.value()))
    }

    /// Bytes are a string, as they are everywhere in Redis; a list of small numbers is read as well.
    fn many_from_frame(frame: Frame) -> Result<Vec<Self>, ValueError> {
        match frame.value() {
            Frame::Array(_) | Frame::Set(_) | Frame::Push(_) => {
                elements(frame, "a string")?.into_iter().map(Self::from_frame).collect()
            }
            _ => string(frame, "a string").map(Into::into),
        }
    }
}

impl FromFrame for f64 {
    fn from_frame(frame: Frame) -> Result<Self, ValueError> {
        double(&frame).ok_or_else(|| ValueError::mismatch("a floating-point number", frame.value()))
    }
}

impl FromFrame for f32 {
    fn from_frame(frame: Frame) -> Result<Self, ValueError> {
        let number = double(&frame).map(|number| (number, number as Self));
        match number {
            Some((wide, number)) if number.is_finite() || !wide.is_finite() => Ok(number),
            _ => Err(ValueError::mismatch("a floating-point number of 32 bits", frame.value())),
        }
    }
}

impl FromFrame for () {
    fn from_frame(frame: Frame) -> Result<Self, ValueError> {
        match first_error(&frame) {
            None => Ok(()),
            Some(error) => Err(error.into()),
        }
    }
}

impl<T: FromFrame> FromFrame for Option<T> {
    fn from_frame(frame: Frame) -> Result<Self, ValueError> {
        if frame.is_null() { Ok(None) } else { T::from_frame(frame).map(Some) }
    }
}

impl<T: FromFrame> FromFrame for Result<T, ServerError> {
    fn from_frame(frame: Frame) -> Result<Self, ValueError> {
        match ServerError::from_frame(&frame) {
            Some(error) => Ok(Err(error)),
            None => T::from_frame(frame).map(Ok),
        }
    }
}

fn string(frame: Frame, expected: &'static str) -> Result<Bytes, ValueError> {
    match frame.without_attributes() {
        Frame::Simple(text) | Frame::Bulk(text) | Frame::BigNumber(text) | Frame::Verbatim { text, .. } => {
            Ok(text)
        }
        other => Err(ValueError::mismatch(expected, &other)),
    }
}

fn integer<T: TryFrom<i64> + std::str::FromStr>(frame: &Frame) -> Option<T> {
    match frame.value() {
        Frame::Integer(number) => T::try_from(*number).ok(),
        Frame::Simple(text) | Frame::Bulk(text) | Frame::BigNumber(text) => {
            str::from_utf8(text).ok()?.parse().ok()
        }
        _ => None,
    }
}

fn double(frame: &Frame) -> Option<f64> {
    if frame.is_error() { None } else { frame.as_f64() }
}

/// The first error in a frame, however deep. The frames still to be looked at are on the heap: a reply may be nested deeply.
fn first_error(frame: &Frame) -> Option<ServerError> {
    let mut rest = vec![frame];
    while let Some(frame) = rest.pop() {
        match frame.value() {
            Frame::Array(items) | Frame::Set(items) | Frame::Push(items) => rest.extend(items.iter().rev()),
            Frame::Map(pairs) => rest.extend(pairs.iter().rev().flat_map(|(key, value)| [value, key])),
            other => {
                if let Some(error) = ServerError::from_frame(other) {
                    return Some(error);
                }
            }
        }
    }
    None
}
