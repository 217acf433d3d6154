//! Values of Rust out of replies.

mod collections;
mod error;
mod scalars;
#[cfg(test)]
mod tests;
mod tuples;

use resp3_codec::Frame;

pub use self::error::ValueError;

/// A value that can be made of a reply.
///
/// | type | made of |
/// |---|---|
/// | `String`, `Box<str>`, `Arc<str>` | any string in UTF-8, an integer, a double |
/// | [`Bytes`](crate::Bytes), `Vec<u8>`, `[u8; N]` | any string |
/// | integers | an integer, a big number, or a string of digits; within the range of the type |
/// | `f32`, `f64` | a double, an integer, or a string that is one, `inf` and `nan` among them |
/// | `bool` | a boolean; an integer, which is false if it is 0; `OK`, which is true; the strings `0` and `1`; a null, which is false (SET .. NX) |
/// | `()` | anything but an error, however deep in the reply |
/// | `Option<T>` | `None` of the three nulls, otherwise a `T` |
/// | `Vec<T>`, `[T; N]`, `HashSet<T>`, `BTreeSet<T>` | an array or a set |
/// | `HashMap<K, V>`, `BTreeMap<K, V>`, `Vec<(K, V)>` | a map, an array of pairs, or an array of keys and values by turns |
/// | tuples, of up to twelve | an array with as many elements |
/// | `Result<T, ServerError>` | a `T`, or an error reply |
/// | [`Frame`] | anything, taken as it is |
///
/// A server says some things differently in RESP2 and RESP3, and these types make the same of both: a map is an array of keys and
/// values by turns where a list is asked for, and the other way round; a double is a string. Attributes are looked through. An
/// error inside an array, a set or a map is the error of the whole, unless a `Result` or a `Frame` is asked for in its place.
///
/// An array of tuples is flat or nested: it counts as nested if each of its elements has as many elements as the tuple.
///
/// ```
/// use std::collections::HashMap;
///
/// use hitless_core::{Frame, FromFrame};
///
/// let reply = Frame::Array(vec![Frame::bulk("apples"), Frame::bulk("3"), Frame::bulk("pears"), Frame::bulk("5")]);
/// let stock = HashMap::<String, u32>::from_frame(reply.clone())?;
/// assert_eq!(stock["pears"], 5);
/// let pairs = Vec::<(String, u32)>::from_frame(reply)?;
/// assert_eq!(pairs[0], ("apples".to_owned(), 3));
///
/// let error = u8::from_frame(Frame::Integer(300)).unwrap_err();
/// assert_eq!(error.to_string(), "expected an integer from 0 to 255, got Integer(300)");
/// # Ok::<(), hitless_core::ValueError>(())
/// ```
///
/// A type of your own is read in its parts:
///
/// ```
/// use hitless_core::{Frame, FromFrame, ValueError};
///
/// struct Point { x: f64, y: f64 }
///
/// impl FromFrame for Point {
///     fn from_frame(frame: Frame) -> Result<Self, ValueError> {
///         let (x, y) = FromFrame::from_frame(frame)?;
///         Ok(Self { x, y })
///     }
/// }
///
/// let point = Point::from_frame(Frame::Array(vec![Frame::Double(1.5), Frame::bulk("2")]))?;
/// assert_eq!((point.x, point.y), (1.5, 2.0));
/// # Ok::<(), ValueError>(())
/// ```
pub trait FromFrame: Sized {
    /// The value.
    ///
    /// # Errors
    /// [`ValueError::Server`] if the reply is an error, or an error is where a part of the value should be;
    /// [`ValueError::Mismatch`] if it is something else.
    fn from_frame(frame: Frame) -> Result<Self, ValueError>;

    /// Several values: what `Vec<Self>` is made of. That is one value for each element, but for bytes, which may be a string,
    /// and tuples, which may be flat.
    ///
    /// # Errors
    /// Those of [`from_frame`](Self::from_frame).
    #[doc(hidden)]
    fn many_from_frame(frame: Frame) -> Result<Vec<Self>, ValueError> {
        elements(frame, "an array")?.into_iter().map(Self::from_frame).collect()
    }
}

/// The elements of an array or a set; of a map the keys and values by turns, as RESP2 has them.
fn elements(frame: Frame, expected: &'static str) -> Result<Vec<Frame>, ValueError> {
    match frame.without_attributes() {
        Frame::Array(items) | Frame::Set(items) | Frame::Push(items) => Ok(items),
        Frame::Map(pairs) => Ok(pairs.into_iter().flat_map(|(key, value)| [key, value]).collect()),
        other => Err(ValueError::mismatch(expected, &other)),
    }
}
