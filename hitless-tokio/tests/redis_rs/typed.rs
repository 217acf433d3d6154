//! Commands that say themselves what they answer.

use redis::{AsyncTypedCommands, RedisResult};

use crate::hitless::Client;

pub(super) async fn strings(mut con: Client) -> RedisResult<()> {
    con.set("n", 5_i32).await?;
    assert_eq!(con.get_int("n").await?, Some(5));
    assert_eq!(con.get("none").await?, None);
    assert_eq!(con.incr("n", 2).await?, 7);
    assert_eq!(con.mget_ints(&["n", "none"]).await?, [Some(7), None]);
    assert!(con.exists("n").await?);
    assert_eq!(con.ping().await?, "PONG");
    Ok(())
}

pub(super) async fn hashes(mut con: Client) -> RedisResult<()> {
    con.hset("h", "a", "1").await?;
    assert_eq!(con.hget("h", "a").await?.as_deref(), Some("1"));
    assert_eq!(con.hgetall("h").await?.get("a").map(String::as_str), Some("1"));
    assert_eq!(con.hincr("h", "a", 2.0).await?, 3.0);
    Ok(())
}
