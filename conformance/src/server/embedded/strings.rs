//! Strings and counters.

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use resp3_codec::Frame;

use super::super::request::decimal;
use super::dispatch::{
    Answer, Call, Failure, NOT_AN_INTEGER, Outcome, SYNTAX, bulk, integer, ok, wrong_number,
};

pub(super) fn get(call: &mut Call<'_>) -> Outcome {
    Ok(reply(string(call, 1)?))
}

pub(super) fn get_del(call: &mut Call<'_>) -> Outcome {
    let value = string(call, 1)?;
    call.data.store.remove(call.now, call.session.db, call.request.key().unwrap_or(&Bytes::new()));
    Ok(reply(value))
}

pub(super) fn set_ex(call: &mut Call<'_>) -> Outcome {
    let expires_at = expiry(call.now, call.arg(2), Duration::from_secs, "setex")?;
    let (key, value) = (call.arg(1).clone(), call.arg(3).clone());
    call.data.store.set_string(call.session.db, &key, value, expires_at);
    ok()
}

pub(super) fn strlen(call: &mut Call<'_>) -> Outcome {
    Ok(integer(string(call, 1)?.map_or(0, |value| value.len())).into())
}

pub(super) fn mget(call: &mut Call<'_>) -> Outcome {
    let values = (1..call.request.words().len())
        .map(|index| string(call, index).ok().flatten().map_or(Frame::Null, Frame::Bulk))
        .collect();
    Ok(Frame::Array(values).into())
}

pub(super) fn mset(call: &mut Call<'_>) -> Outcome {
    let pairs = call.request.words()[1..].chunks_exact(2);
    if !pairs.remainder().is_empty() {
        return Err(wrong_number("mset"));
    }
    for pair in pairs {
        call.data.store.set_string(call.session.db, &pair[0], pair[1].clone(), None);
    }
    ok()
}

/// When a key may be set.
#[derive(PartialEq)]
enum Only {
    Always,
    IfMissing,
    IfPresent,
}

/// The options of `SET`.
struct SetOptions {
    only: Only,
    gets: bool,
    keeps_ttl: bool,
    expires_at: Option<Instant>,
}

impl SetOptions {
    fn parse(call: &Call<'_>) -> Result<Self, Failure> {
        let mut options = Self { only: Only::Always, gets: false, keeps_ttl: false, expires_at: None };
        let mut words = call.request.words()[3..].iter();
        while let Some(word) = words.next() {
            match &word.to_ascii_uppercase()[..] {
                b"NX" if options.only == Only::Always => options.only = Only::IfMissing,
                b"XX" if options.only == Only::Always => options.only = Only::IfPresent,
                b"GET" => options.gets = true,
                b"KEEPTTL" if options.expires_at.is_none() => options.keeps_ttl = true,
                unit @ (b"EX" | b"PX") if options.expires_at.is_none() && !options.keeps_ttl => {
                    let amount = words.next().ok_or(SYNTAX)?;
                    let length = if unit == b"EX" { Duration::from_secs } else { Duration::from_millis };
                    options.expires_at = expiry(call.now, amount, length, "set")?;
                }
                _ => return Err(SYNTAX.into()),
            }
        }
        Ok(options)
    }
}

pub(super) fn set(call: &mut Call<'_>) -> Outcome {
    let options = SetOptions::parse(call)?;
    let (db, key, value) = (call.session.db, call.arg(1).clone(), call.arg(2).clone());
    let old = if options.gets { string(call, 1)? } else { None };
    let present = call.data.store.exists(call.now, db, &key);
    let sets = match options.only {
        Only::Always => true,
        Only::IfMissing => !present,
        Only::IfPresent => present,
    };
    if sets {
        let kept = if options.keeps_ttl { call.data.store.expiry(call.now, db, &key) } else { None };
        call.data.store.set_string(db, &key, value, options.expires_at.or(kept));
    }
    match (options.gets, sets) {
        (true, _) => Ok(reply(old)),
        (false, true) => ok(),
        (false, false) => Ok(Frame::Null.into()),
    }
}

pub(super) fn append(call: &mut Call<'_>) -> Outcome {
    let mut value = BytesMut::from(&string(call, 1)?.unwrap_or_default()[..]);
    value.extend_from_slice(call.arg(2));
    let length = value.len();
    replace(call, value.freeze());
    Ok(integer(length).into())
}

pub(super) fn incr(call: &mut Call<'_>) -> Outcome {
    add(call, 1)
}

pub(super) fn decr(call: &mut Call<'_>) -> Outcome {
    add(call, -1)
}

pub(super) fn incr_by(call: &mut Call<'_>) -> Outcome {
    let by = call.integer(2)?;
    add(call, by)
}

pub(super) fn decr_by(call: &mut Call<'_>) -> Outcome {
    let by = call.integer(2)?.checked_neg().ok_or("ERR decrement would overflow")?;
    add(call, by)
}

pub(super) fn del(call: &mut Call<'_>) -> Outcome {
    let (now, db) = (call.now, call.session.db);
    let mut count = 0;
    for key in &call.request.words()[1..] {
        count += usize::from(call.data.store.remove(now, db, key));
    }
    Ok(integer(count).into())
}

pub(super) fn exists(call: &mut Call<'_>) -> Outcome {
    let (now, db) = (call.now, call.session.db);
    let here = call.session.endpoint;
    let exists = |key: &&Bytes| call.data.is_here(here, key) && call.data.store.exists(now, db, key);
    let count = call.request.words()[1..].iter().filter(exists).count();
    Ok(integer(count).into())
}

/// When a value expires that lives for `amount`; none if that is further away than time goes.
fn expiry(
    now: Instant,
    amount: &[u8],
    length: fn(u64) -> Duration,
    command: &str,
) -> Result<Option<Instant>, Failure> {
    let amount = decimal(amount).ok_or(NOT_AN_INTEGER)?;
    let amount = u64::try_from(amount).ok().filter(|amount| *amount > 0);
    let amount = amount.ok_or_else(|| format!("ERR invalid expire time in '{command}' command"))?;
    Ok(now.checked_add(length(amount)))
}

fn add(call: &mut Call<'_>, by: i64) -> Outcome {
    let number = match string(call, 1)? {
        Some(digits) => decimal(&digits).ok_or(NOT_AN_INTEGER)?,
        None => 0,
    };
    let sum = number.checked_add(by).ok_or("ERR increment or decrement would overflow")?;
    replace(call, Bytes::from(sum.to_string()));
    Ok(Frame::Integer(sum).into())
}

/// Changes the value and leaves the time to live as it is.
fn replace(call: &mut Call<'_>, value: Bytes) {
    let (db, key) = (call.session.db, call.arg(1).clone());
    let expires_at = call.data.store.expiry(call.now, db, &key);
    call.data.store.set_string(db, &key, value, expires_at);
}

fn string(call: &mut Call<'_>, index: usize) -> Result<Option<Bytes>, Failure> {
    let key = &call.request.words()[index];
    // A primary redirects whoever asks for a key that has gone ahead of its slot, and a replica has no such key.
    if !call.data.is_here(call.session.endpoint, key) {
        return Ok(None);
    }
    Ok(call.data.store.string(call.now, call.session.db, key)?)
}

fn reply(value: Option<Bytes>) -> Answer {
    value.map_or(Frame::Null, bulk).into()
}
