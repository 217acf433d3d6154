//! What needs a connection of its own: it runs on a lease, which takes the place of the program's second connection.

use std::sync::atomic::{AtomicU32, Ordering};

use redis::aio::transaction_async;
use redis::{AsyncCommands, Direction, RedisError, RedisResult, cmd, pipe};

use crate::hitless::{self, Client, Pipeline};

pub(super) async fn a_transaction(mut con: Client) -> RedisResult<()> {
    let _: () = con.set("n", 1).await?;
    let lease = con.lease().await?;
    let (old, new): (u8, u8) = transaction_async(lease, &["n"], async |mut con, mut pipe| {
        let old: u8 = con.get("n").await?;
        pipe.cmd("ECHO").arg(old).set("n", old + 1).ignore().get("n").query_async(&mut con).await
    })
    .await?;
    assert_eq!((old, new), (1, 2));
    Ok(())
}

/// The closure runs again when a key has changed, with what it is then.
pub(super) async fn a_transaction_that_begins_again(con: Client) -> RedisResult<()> {
    let tries = AtomicU32::new(0);
    let (n,): (u32,) = transaction_async(con.lease().await?, &["n"], async |mut lease, mut pipe| {
        let n: Option<u32> = lease.get("n").await?;
        if tries.fetch_add(1, Ordering::Relaxed) == 0 {
            let _: () = con.clone().set("n", 10).await?;
        }
        pipe.set("n", n.unwrap_or(0) + 1).ignore().get("n").query_async(&mut lease).await
    })
    .await?;
    assert_eq!((n, tries.into_inner()), (11, 2));
    Ok(())
}

/// The client's own transaction reads by typed commands, and `?` takes their errors.
pub(super) async fn a_transaction_of_the_client(con: Client) -> RedisResult<()> {
    let tries = AtomicU32::new(0);
    let (con, tries) = (&con, &tries);
    let replies = con
        .transaction(["n"], |mut lease| async move {
            let n: Option<u32> = lease.get("n").await?;
            if tries.fetch_add(1, Ordering::Relaxed) == 0 {
                let _: () = con.clone().set("n", 10).await?;
            }
            Ok(Some(Pipeline::from([hitless::cmd("SET").arg("n").arg(n.unwrap_or(0) + 1)])))
        })
        .await?;
    assert_eq!((replies.map(|replies| replies.len()), tries.load(Ordering::Relaxed)), (Some(1), 2));
    let n: u32 = con.clone().get("n").await?;
    assert_eq!(n, 11);
    let refused = con
        .transaction(["n"], |mut lease| async move {
            let _: Vec<u32> = lease.lrange("n", 0, -1).await?;
            Ok(None)
        })
        .await;
    assert_eq!(RedisError::from(refused.unwrap_err()).code(), Some("WRONGTYPE"));
    Ok(())
}

/// A closure that gives up by an error leaves nothing watched behind.
pub(super) async fn a_transaction_that_fails(con: Client) -> RedisResult<()> {
    let result: RedisResult<()> = transaction_async(con.lease().await?, &["text"], async |mut lease, _| {
        let _: () = lease.set("text", "x").await?;
        let _: u32 = lease.incr("text", 1).await?;
        Ok(None)
    })
    .await;
    assert_eq!(result.unwrap_err().code(), Some("ERR"));
    let text: String = con.clone().get("text").await?;
    assert_eq!(text, "x");
    Ok(())
}

pub(super) async fn watching_by_hand(mut con: Client) -> RedisResult<()> {
    let mut lease = con.lease().await?;
    for (other, expected) in [(None, Some((1_u8,))), (Some(7), None)] {
        cmd("WATCH").arg("n").exec_async(&mut lease).await?;
        if let Some(other) = other {
            let _: () = con.set("n", other).await?;
        }
        let done: Option<(u8,)> = pipe().atomic().incr("n", 1).query_async(&mut lease).await?;
        assert_eq!(done, expected, "nothing of it ran if somebody was there first");
    }
    Ok(())
}

pub(super) async fn waiting_for_elements(mut con: Client) -> RedisResult<()> {
    let mut lease = con.lease().await?;
    let _: () = con.rpush("todo", &["a", "b"]).await?;
    let _: () = con.zadd("z", "m", 1).await?;
    let popped: Option<(String, String)> = lease.blpop(&["none", "todo"], 1.0).await?;
    assert_eq!(popped, Some(("todo".to_owned(), "a".to_owned())));
    let moved: Option<String> = lease.blmove("todo", "done", Direction::Left, Direction::Right, 1.0).await?;
    assert_eq!(moved.as_deref(), Some("b"));
    let least: Option<(String, String, f64)> = lease.bzpopmin("z", 1.0).await?;
    assert_eq!(least, Some(("z".to_owned(), "m".to_owned(), 1.0)));
    let nothing: Option<(String, String)> = lease.brpop("todo", 0.01).await?;
    assert_eq!(nothing, None);
    Ok(())
}
