//! Strings.

use redis::{AsyncCommands, ExistenceCheck, Expiry, RedisResult, SetExpiry, SetOptions, Value};

use crate::hitless::Client;

pub(super) async fn set_and_get(mut con: Client) -> RedisResult<()> {
    let _: () = con.set("city", "Lisbon").await?;
    let city: String = con.get("city").await?;
    assert_eq!(city, "Lisbon");
    let raw: Value = redis::cmd("SET").arg("city").arg("Porto").query_async(&mut con).await?;
    assert_eq!(raw, Value::Okay);
    let raw: Value = redis::cmd("GET").arg("city").query_async(&mut con).await?;
    assert_eq!(raw, Value::BulkString(b"Porto".to_vec()));
    Ok(())
}

pub(super) async fn many_at_once(mut con: Client) -> RedisResult<()> {
    let _: () = con.mset(&[("a", 1), ("b", 2)]).await?;
    let both: (u8, u8) = con.mget(&["a", "b"]).await?;
    assert_eq!(both, (1, 2));
    let all: Vec<Option<u8>> = con.mget(&["a", "none", "b"]).await?;
    assert_eq!(all, [Some(1), None, Some(2)]);
    let fresh: bool = con.mset_nx(&[("b", 3), ("c", 3)]).await?;
    assert!(!fresh);
    Ok(())
}

pub(super) async fn numbers_and_floats(mut con: Client) -> RedisResult<()> {
    let three: i64 = con.incr("n", 3).await?;
    let one: i64 = con.decr("n", 2).await?;
    assert_eq!((three, one), (3, 1));
    let float: f64 = con.incr("f", 1.25).await?;
    assert_eq!(float, 1.25);
    let text: String = con.get("f").await?;
    assert_eq!(text, "1.25");
    Ok(())
}

pub(super) async fn bytes_and_text(mut con: Client) -> RedisResult<()> {
    let bytes: Vec<u8> = (0..=255).collect();
    let _: () = con.set("bytes", &bytes).await?;
    let back: Vec<u8> = con.get("bytes").await?;
    assert_eq!(back, bytes);
    let _: () = con.set("text", "a\r\n$1\r\nb ü").await?;
    let text: String = con.get("text").await?;
    assert_eq!(text, "a\r\n$1\r\nb ü");
    let length: usize = con.strlen("text").await?;
    assert_eq!(length, text.len());
    let no_text: RedisResult<String> = con.get("bytes").await;
    assert!(no_text.is_err(), "it is not UTF-8");
    Ok(())
}

pub(super) async fn what_is_missing(mut con: Client) -> RedisResult<()> {
    let missing: Option<String> = con.get("none").await?;
    assert_eq!(missing, None);
    let raw: Value = con.get("none").await?;
    assert_eq!(raw, Value::Nil);
    Ok(())
}

pub(super) async fn expiring_values(mut con: Client) -> RedisResult<()> {
    let _: () = con.set_ex("token", "x", 100).await?;
    let _: () = con.pset_ex("short", "x", 100_000).await?;
    let seconds: i64 = con.ttl("token").await?;
    let milliseconds: i64 = con.pttl("short").await?;
    assert!((1..=100).contains(&seconds) && (1..=100_000).contains(&milliseconds));
    Ok(())
}

pub(super) async fn set_only_if(mut con: Client) -> RedisResult<()> {
    let first: bool = con.set_nx("lock", "me").await?;
    let second: bool = con.set_nx("lock", "you").await?;
    assert!(first && !second);
    Ok(())
}

pub(super) async fn conditions_and_the_old_value(mut con: Client) -> RedisResult<()> {
    let options =
        SetOptions::default().conditional_set(ExistenceCheck::NX).with_expiration(SetExpiry::EX(60));
    let first: bool = con.set_options("k", "1", options.clone()).await?;
    let second: bool = con.set_options("k", "2", options).await?;
    assert!(first && !second, "the second is nil");
    let options = SetOptions::default().get(true);
    let old: Option<String> = con.set_options("k", "3", options).await?;
    assert_eq!(old.as_deref(), Some("1"));
    Ok(())
}

pub(super) async fn get_and_change(mut con: Client) -> RedisResult<()> {
    let _: () = con.set("k", "old").await?;
    let old: String = con.getset("k", "new").await?;
    assert_eq!(old, "old");
    let kept: String = con.get_ex("k", Expiry::EX(60)).await?;
    let taken: String = con.get_del("k").await?;
    let gone: Option<String> = con.get_del("k").await?;
    assert_eq!((kept.as_str(), taken.as_str(), gone), ("new", "new", None));
    Ok(())
}

pub(super) async fn parts_of_a_value(mut con: Client) -> RedisResult<()> {
    let length: usize = con.append("k", "Hello World").await?;
    assert_eq!(length, 11);
    let part: String = con.getrange("k", 0, 4).await?;
    assert_eq!(part, "Hello");
    let _: usize = con.setrange("k", 6, "Redis").await?;
    let whole: String = con.get("k").await?;
    assert_eq!(whole, "Hello Redis");
    Ok(())
}

pub(super) async fn bits(mut con: Client) -> RedisResult<()> {
    let before: bool = con.setbit("a", 7, true).await?;
    let after: bool = con.getbit("a", 7).await?;
    assert!(!before && after);
    let _: () = con.set("b", "\u{3}").await?;
    let _: usize = con.bit_and("both", &["a", "b"]).await?;
    let count: usize = con.bitcount("both").await?;
    assert_eq!(count, 1);
    Ok(())
}
