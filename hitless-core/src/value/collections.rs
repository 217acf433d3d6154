//! Lists, sets and maps.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::{BuildHasher, Hash};

use resp3_codec::Frame;

use super::tuples::tuples;
use super::{FromFrame, ValueError};

impl<T: FromFrame> FromFrame for Vec<T> {
    fn from_frame(frame: Frame) -> Result<Self, ValueError> {
        T::many_from_frame(frame)
    }
}

impl<T: FromFrame, const N: usize> FromFrame for [T; N] {
    fn from_frame(frame: Frame) -> Result<Self, ValueError> {
        T::many_from_frame(frame)?.try_into().map_err(|values: Vec<T>| ValueError::Mismatch {
            expected: format!("{N} elements or bytes").into(),
            got: values.len().to_string().into(),
        })
    }
}

impl<T: FromFrame + Eq + Hash, S: BuildHasher + Default> FromFrame for HashSet<T, S> {
    fn from_frame(frame: Frame) -> Result<Self, ValueError> {
        Ok(T::many_from_frame(frame)?.into_iter().collect())
    }
}

impl<T: FromFrame + Ord> FromFrame for BTreeSet<T> {
    fn from_frame(frame: Frame) -> Result<Self, ValueError> {
        Ok(T::many_from_frame(frame)?.into_iter().collect())
    }
}

impl<K: FromFrame + Eq + Hash, V: FromFrame, S: BuildHasher + Default> FromFrame for HashMap<K, V, S> {
    fn from_frame(frame: Frame) -> Result<Self, ValueError> {
        pairs(frame)?.into_iter().map(<(K, V)>::from_frame).collect()
    }
}

impl<K: FromFrame + Ord, V: FromFrame> FromFrame for BTreeMap<K, V> {
    fn from_frame(frame: Frame) -> Result<Self, ValueError> {
        pairs(frame)?.into_iter().map(<(K, V)>::from_frame).collect()
    }
}

/// The frames of which the pairs of a map are to be made.
fn pairs(frame: Frame) -> Result<Vec<Frame>, ValueError> {
    tuples(frame, 2, "a map, or an array of keys and values by turns")
}
