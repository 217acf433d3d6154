//! Hashes.

use bytes::Bytes;
use resp3_codec::Frame;

use super::super::request::decimal;
use super::dispatch::{Call, Failure, Outcome, bulk, integer, ok, wrong_number};
use super::store::Hash;

pub(super) fn hget(call: &mut Call<'_>) -> Outcome {
    let field = call.arg(2).clone();
    let value = hash(call)?.and_then(|hash| hash.get(&field));
    Ok(value.cloned().map_or(Frame::Null, bulk).into())
}

pub(super) fn hset(call: &mut Call<'_>) -> Outcome {
    let added = set(call, "hset")?;
    Ok(integer(added).into())
}

pub(super) fn hmset(call: &mut Call<'_>) -> Outcome {
    set(call, "hmset")?;
    ok()
}

pub(super) fn hmget(call: &mut Call<'_>) -> Outcome {
    let fields = call.request.words()[2..].to_vec();
    let hash = hash(call)?;
    let value = |field| hash.and_then(|hash| hash.get(field)).cloned().map_or(Frame::Null, bulk);
    Ok(Frame::Array(fields.iter().map(value).collect()).into())
}

pub(super) fn hgetall(call: &mut Call<'_>) -> Outcome {
    let pairs = hash(call)?.into_iter().flatten();
    let pairs = pairs.map(|(field, value)| (bulk(field.clone()), bulk(value.clone())));
    Ok(Frame::Map(pairs.collect()).into())
}

pub(super) fn hincrby(call: &mut Call<'_>) -> Outcome {
    let (field, by) = (call.arg(2).clone(), call.integer(3)?);
    let number = match hash(call)?.and_then(|hash| hash.get(&field)) {
        Some(digits) => decimal(digits).ok_or("ERR hash value is not an integer")?,
        None => 0,
    };
    let sum = number.checked_add(by).ok_or("ERR increment or decrement would overflow")?;
    change(call, |hash| hash.insert(kept(&field), Bytes::from(sum.to_string())))?;
    Ok(Frame::Integer(sum).into())
}

pub(super) fn hdel(call: &mut Call<'_>) -> Outcome {
    let fields = call.request.words()[2..].to_vec();
    if hash(call)?.is_none() {
        return Ok(integer(0).into());
    }
    let removed = change(call, |hash| fields.iter().filter(|field| hash.remove(*field).is_some()).count())?;
    Ok(integer(removed).into())
}

pub(super) fn hlen(call: &mut Call<'_>) -> Outcome {
    Ok(integer(hash(call)?.map_or(0, Hash::len)).into())
}

/// Sets the fields of `command`, and says how many are new.
fn set(call: &mut Call<'_>, command: &str) -> Result<usize, Failure> {
    let pairs = call.request.words()[2..].to_vec();
    let pairs = pairs.chunks_exact(2);
    if !pairs.remainder().is_empty() {
        return Err(wrong_number(command));
    }
    change(call, |hash| pairs.filter(|pair| hash.insert(kept(&pair[0]), kept(&pair[1])).is_none()).count())
}

fn hash<'a>(call: &'a mut Call<'_>) -> Result<Option<&'a Hash>, Failure> {
    let key = &call.request.words()[1];
    Ok(call.data.store.elements(call.now, call.session.db, key)?)
}

fn change<T>(call: &mut Call<'_>, change: impl FnOnce(&mut Hash) -> T) -> Result<T, Failure> {
    let key = &call.request.words()[1];
    Ok(call.data.store.change(call.now, call.session.db, key, change)?)
}

/// Out of the read buffer of the connection: a small value must not keep a large buffer alive.
fn kept(word: &Bytes) -> Bytes {
    Bytes::copy_from_slice(word)
}
