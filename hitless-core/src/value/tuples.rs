//! Tuples, and lists of them.

use std::borrow::Cow;

use resp3_codec::Frame;

use super::{FromFrame, ValueError, elements};
use crate::error::ServerError;

macro_rules! tuples {
    ($($count:literal: $($element:ident)*;)*) => {$(
        impl<$($element: FromFrame),*> FromFrame for ($($element,)*) {
            fn from_frame(frame: Frame) -> Result<Self, ValueError> {
                let items = exactly::<$count>(elements(frame, concat!("an array of ", $count))?)?;
                let mut items = items.into_iter();
                Ok(($($element::from_frame(next(&mut items))?,)*))
            }

            fn many_from_frame(frame: Frame) -> Result<Vec<Self>, ValueError> {
                tuples(frame, $count, concat!("an array of tuples of ", $count))?.into_iter().map(Self::from_frame).collect()
            }
        }
    )*};
}

tuples! {
    1: A;
    2: A B;
    3: A B C;
    4: A B C D;
    5: A B C D E;
    6: A B C D E F;
    7: A B C D E F G;
    8: A B C D E F G H;
    9: A B C D E F G H I;
    10: A B C D E F G H I J;
    11: A B C D E F G H I J K;
    12: A B C D E F G H I J K L;
}

fn exactly<const N: usize>(items: Vec<Frame>) -> Result<[Frame; N], ValueError> {
    items.try_into().map_err(|items| wrong_count(items, format!("an array of {N}")))
}

/// The next element of an array that has as many as are asked for.
fn next(items: &mut impl Iterator<Item = Frame>) -> Frame {
    items.next().unwrap_or(Frame::Null)
}

/// The frames of which tuples of `count` are to be made.
pub(super) fn tuples(frame: Frame, count: usize, expected: &'static str) -> Result<Vec<Frame>, ValueError> {
    // The keys and values of a map are never tuples themselves.
    let is_map = matches!(frame.value(), Frame::Map(_));
    let mut items = elements(frame, expected)?;
    if !is_map && items.iter().all(|item| length(item) == Some(count)) {
        return Ok(items);
    }
    if items.len() % count != 0 {
        return Err(wrong_count(items, expected));
    }
    let mut tuples = Vec::with_capacity(items.len() / count);
    let mut items = items.drain(..);
    while items.len() > 0 {
        tuples.push(Frame::Array(items.by_ref().take(count).collect()));
    }
    Ok(tuples)
}

/// How many elements an array, a set or a map has for [`elements`].
fn length(frame: &Frame) -> Option<usize> {
    match frame.value() {
        Frame::Array(items) | Frame::Set(items) | Frame::Push(items) => Some(items.len()),
        Frame::Map(pairs) => Some(2 * pairs.len()),
        _ => None,
    }
}

/// An array has too few or too many elements. An error among them says more.
fn wrong_count(items: Vec<Frame>, expected: impl Into<Cow<'static, str>>) -> ValueError {
    match items.iter().find_map(ServerError::from_frame) {
        Some(error) => error.into(),
        None => ValueError::mismatch(expected, &Frame::Array(items)),
    }
}
