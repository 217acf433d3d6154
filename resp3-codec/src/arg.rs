use std::borrow::Cow;
use std::num;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use smallvec::SmallVec;

use crate::encode::{decimal_digits, float};

/// What can be the name or one argument of a command: strings, bytes, numbers, a `char`, a `bool` (`1` or `0`), and what
/// is behind a reference, a `Box`, an `Arc`, an `Rc` or a `Cow`. For none or several arguments see [`ToArgs`].
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
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no argument of a command",
    note = "the elements of a list are arguments each: write `.args(list)`",
    note = "for a type of your own implement `ToArg`"
)]
pub trait ToArg {
    /// Calls `write` with the bytes that go over the wire, once.
    fn with_bytes<R>(&self, write: impl FnOnce(&[u8]) -> R) -> R;
}

impl<T: ToArg + ?Sized> ToArg for &T {
    fn with_bytes<R>(&self, write: impl FnOnce(&[u8]) -> R) -> R {
        (**self).with_bytes(write)
    }
}

/// What [`Command::arg`](crate::Command::arg) takes: one argument, or an `Option` or a tuple of them.
///
/// `None` is no argument, and a tuple is one for each of its parts. Implement [`ToArg`] for a type of your own, and not
/// this.
///
/// A list is for [`Command::args`](crate::Command::args), an argument for each of its elements; `arg` does not take it, unlike that of
/// redis-rs. A list of bytes is one argument, a string, so the number of arguments would depend on the type of the elements: of
/// `[7_u16, 8]` there would be two, and of `[7_u8, 8]` one. What is written says which is meant.
///
/// ```
/// use resp3_codec::cmd;
///
/// let only_if_new: Option<&str> = None;
/// let set = cmd("SET").arg("k").arg("v").arg(("EX", 60)).arg(only_if_new);
/// assert_eq!(set.len(), 5);
/// let hset = cmd("HSET").arg("h").args([("name", "ann"), ("city", "rome")]);
/// assert_eq!(hset.len(), 6);
/// let keys = vec!["a", "b"];
/// assert_eq!(cmd("DEL").args(&keys).len(), 3);
/// assert_eq!(cmd("SET").arg("k").arg([7_u8, 8]).len(), 3);
/// ```
///
/// ```compile_fail
/// let keys = vec!["a", "b"];
/// resp3_codec::cmd("DEL").arg(keys);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is neither an argument of a command nor an `Option` or a tuple of arguments",
    label = "no argument",
    note = "the elements of a list are arguments each: write `.args(list)`",
    note = "for a type of your own implement `ToArg`"
)]
pub trait ToArgs {
    /// Calls `write` with the bytes of each argument.
    fn for_each(&self, write: &mut impl FnMut(&[u8]));
}

impl<T: ToArg> ToArgs for T {
    fn for_each(&self, write: &mut impl FnMut(&[u8])) {
        self.with_bytes(write);
    }
}

impl<T: ToArgs> ToArgs for Option<T> {
    fn for_each(&self, write: &mut impl FnMut(&[u8])) {
        if let Some(args) = self {
            args.for_each(write);
        }
    }
}

macro_rules! as_its_parts {
    ($($part:ident)*) => {
        impl<$($part: ToArgs),*> ToArgs for ($($part,)*) {
            #[expect(non_snake_case, reason = "each part is named as its type")]
            fn for_each(&self, write: &mut impl FnMut(&[u8])) {
                let ($($part,)*) = self;
                $($part.for_each(write);)*
            }
        }
    };
}

as_its_parts!(A B);
as_its_parts!(A B C);
as_its_parts!(A B C D);
as_its_parts!(A B C D E);
as_its_parts!(A B C D E F);

macro_rules! as_what_it_holds {
    ($($pointer:ident),*) => {$(
        impl<T: ToArg + ?Sized> ToArg for $pointer<T> {
            fn with_bytes<R>(&self, write: impl FnOnce(&[u8]) -> R) -> R {
                (**self).with_bytes(write)
            }
        }
    )*};
}

as_what_it_holds!(Box, Arc, Rc);

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

macro_rules! as_long_decimal {
    ($($type:ty),*) => {$(
        impl ToArg for $type {
            fn with_bytes<R>(&self, write: impl FnOnce(&[u8]) -> R) -> R {
                write(self.to_string().as_bytes())
            }
        }
    )*};
}

as_long_decimal!(u128, i128);

macro_rules! as_number {
    ($($type:ident),*) => {$(
        impl ToArg for num::$type {
            fn with_bytes<R>(&self, write: impl FnOnce(&[u8]) -> R) -> R {
                self.get().with_bytes(write)
            }
        }
    )*};
}

as_number!(
    NonZeroU8,
    NonZeroU16,
    NonZeroU32,
    NonZeroU64,
    NonZeroU128,
    NonZeroUsize,
    NonZeroI8,
    NonZeroI16,
    NonZeroI32,
    NonZeroI64,
    NonZeroI128,
    NonZeroIsize
);

/// `1` or `0`.
impl ToArg for bool {
    fn with_bytes<R>(&self, write: impl FnOnce(&[u8]) -> R) -> R {
        write(if *self { b"1" } else { b"0" })
    }
}

/// In UTF-8.
impl ToArg for char {
    fn with_bytes<R>(&self, write: impl FnOnce(&[u8]) -> R) -> R {
        write(self.encode_utf8(&mut [0; 4]).as_bytes())
    }
}

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
