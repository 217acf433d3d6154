//! Keys of any type: how long they live, and which there are.

use std::time::Duration;

use bytes::Bytes;
use resp3_codec::Frame;

use super::super::request::decimal;
use super::dispatch::{Call, NOT_AN_INTEGER, Outcome, SYNTAX, bulk};
use super::glob;

/// Keys in one page of `SCAN`, if it is not told how many.
const PAGE: usize = 10;

pub(super) fn expire(call: &mut Call<'_>) -> Outcome {
    expire_in(call, Duration::from_secs)
}

pub(super) fn pexpire(call: &mut Call<'_>) -> Outcome {
    expire_in(call, Duration::from_millis)
}

/// Seconds, rounded to the nearest one as real servers do.
pub(super) fn ttl(call: &mut Call<'_>) -> Outcome {
    life(call, |left| (left.as_millis() + 500) / 1000)
}

pub(super) fn pttl(call: &mut Call<'_>) -> Outcome {
    life(call, |left| left.as_millis())
}

/// Keys are visited by the hash of their names, and the cursor is the next hash: whatever comes and goes meanwhile, a key that is there
/// all the time is told.
pub(super) fn scan(call: &mut Call<'_>) -> Outcome {
    let cursor = decimal(call.arg(1)).and_then(|cursor| u64::try_from(cursor).ok());
    let cursor = cursor.ok_or("ERR invalid cursor")?;
    let (mut pattern, mut count) = (None, PAGE);
    for option in call.request.words()[2..].chunks(2) {
        match option {
            [name, value] if name.eq_ignore_ascii_case(b"MATCH") => pattern = Some(value),
            [name, value] if name.eq_ignore_ascii_case(b"COUNT") => {
                let value = decimal(value).ok_or(NOT_AN_INTEGER)?;
                count = usize::try_from(value).ok().filter(|count| *count > 0).ok_or(SYNTAX)?;
            }
            _ => return Err(SYNTAX.into()),
        }
    }
    let keys = call.data.store.keys(call.now, call.session.db);
    let keys = keys.filter(|key| call.data.is_here(call.session.endpoint, key)).map(|key| (hash(key), key));
    let mut keys: Vec<(u64, &Bytes)> = keys.filter(|(hash, _)| *hash >= cursor).collect();
    keys.sort_unstable();
    // Those with the same hash are told together.
    let next = keys.get(count).map(|(hash, _)| *hash).filter(|next| *next > keys[0].0);
    let page = keys.iter().take_while(|(hash, _)| next.is_none_or(|next| *hash < next));
    let found = page.filter(|(_, key)| pattern.is_none_or(|pattern| glob::matches(pattern, key)));
    let found = found.map(|(_, key)| bulk((*key).clone())).collect();
    Ok(Frame::Array(vec![bulk(next.unwrap_or(0).to_string()), Frame::Array(found)]).into())
}

/// FNV-1a, in the positive half of what an integer holds.
fn hash(key: &[u8]) -> u64 {
    let hash = key.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    hash >> 1
}

fn expire_in(call: &mut Call<'_>, length: fn(u64) -> Duration) -> Outcome {
    let amount = call.integer(2)?;
    let (now, db, key) = (call.now, call.session.db, call.arg(1).clone());
    let is_set = match u64::try_from(amount) {
        // Further away than time goes is never.
        Ok(amount) if amount > 0 => {
            call.data.store.set_expiry(now, db, &key, now.checked_add(length(amount)))
        }
        _ => call.data.store.remove(now, db, &key),
    };
    Ok(Frame::Integer(is_set.into()).into())
}

fn life(call: &mut Call<'_>, unit: fn(Duration) -> u128) -> Outcome {
    let (now, db, key) = (call.now, call.session.db, call.arg(1).clone());
    let left = match call.data.store.expiry(now, db, &key) {
        Some(at) => i64::try_from(unit(at.saturating_duration_since(now))).unwrap_or(i64::MAX),
        None if call.data.store.exists(now, db, &key) => -1,
        None => -2,
    };
    Ok(Frame::Integer(left).into())
}
