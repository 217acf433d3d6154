use std::borrow::Cow;

use bytes::Bytes;
use smallvec::SmallVec;

use crate::encode::{decimal_digits, float};

/// What can be the name or an argument of a command: strings, bytes and numbers.
///
/// ```
/// use resp3_codec::{ToArg, cmd};
///
/// struct UserKey(u64);
///
/// impl ToArg for UserKey {
///     fn with_bytes<R>(&self, write: impl FnOnce(&[u8]) -> R) -> R {
///         format!("user:{}", self.0).with_bytes(write)
///     }
/// }
///
/// let get = cmd("GET").arg(UserKey(7));
/// assert_eq!(get.iter().last(), Some(&b"user:7"[..]));
/// ```
pub trait ToArg {
    /// Calls `write` with the bytes that go over the wire, once.
    fn with_bytes<R>(&self, write: impl FnOnce(&[u8]) -> R) -> R;
}

impl<T: ToArg + ?Sized> ToArg for &T {
    fn with_bytes<R>(&self, write: impl FnOnce(&[u8]) -> R) -> R {
        (**self).with_bytes(write)
    }
}

macro_rules! as_slice {
    ($($type:ty),*) => {$(
        impl ToArg for $type {
            fn with_bytes<R>(&self, write: impl FnOnce(&[u8]) -> R) -> R {
                write(self.as_ref())
            }
        }
    )*};
}

as_slice!(str, String, [u8], Vec<u8>, Bytes);

impl<const N: usize> ToArg for [u8; N] {
    fn with_bytes<R>(&self, write: impl FnOnce(&[u8]) -> R) -> R {
        write(self)
    }
}

impl<T: ToArg + ToOwned<Owned: ToArg> + ?Sized> ToArg for Cow<'_, T> {
    fn with_bytes<R>(&self, write: impl FnOnce(&[u8]) -> R) -> R {
        (**self).with_bytes(write)
    }
}

macro_rules! as_decimal {
    ($($type:ty),*) => {$(
        impl ToArg for $type {
            fn with_bytes<R>(&self, write: impl FnOnce(&[u8]) -> R) -> R {
                // Every type listed fits into an i128.
                let number = *self as i128;
                let mut digits = [0; 20];
                let digits = decimal_digits(&mut digits, number.unsigned_abs() as u64);
                if number >= 0 {
                    return write(digits);
                }
                let mut signed = SmallVec::<[u8; 24]>::from_slice(b"-");
                signed.extend_from_slice(digits);
                write(&signed)
            }
        }
    )*};
}

as_decimal!(u8, u16, u32, u64, usize, i8, i16, i32, i64, isize);

macro_rules! as_shortest {
    ($($type:ty),*) => {$(
        /// The shortest text that reads back as the same number; `inf`, `-inf` and `nan` as Redis spells them.
        impl ToArg for $type {
            fn with_bytes<R>(&self, write: impl FnOnce(&[u8]) -> R) -> R {
                let mut text = [0u8; 40];
                let mut rest = &mut text[..];
                float(&mut rest, *self);
                let len = 40 - rest.len();
                write(&text[..len])
            }
        }
    )*};
}

as_shortest!(f32, f64);
