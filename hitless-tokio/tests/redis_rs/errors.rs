//! Errors, and callers that share the client.

use redis::{AsyncCommands, ErrorKind, RedisResult, ServerErrorKind, cmd};

use crate::hitless::{Client, Delivery};

pub(super) async fn kinds_of_errors(mut con: Client) -> RedisResult<()> {
    let error = cmd("NOSUCH").query_async::<()>(&mut con).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Server(ServerErrorKind::ResponseError));
    assert_eq!(error.code(), Some("ERR"));
    assert!(error.detail().is_some_and(|detail| detail.starts_with("unknown command")), "{error}");
    let _: () = con.rpush("list", 1).await?;
    let error = con.get::<_, String>("list").await.unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::Extension, Some("WRONGTYPE")));
    assert!(!error.is_io_error() && !error.is_unrecoverable_error());
    assert_eq!(Delivery::of_redis_error(&error), None, "the server has answered");
    Ok(())
}

/// What a shared connection cannot carry is an error of the caller, and the connection goes on.
pub(super) async fn refused_commands(mut con: Client) -> RedisResult<()> {
    let errors = [
        redis::pipe().get("k").cmd("BLPOP").arg("list").arg(0).query_async::<()>(&mut con).await.unwrap_err(),
        cmd("SELECT").arg(1).query_async::<()>(&mut con).await.unwrap_err(),
        cmd("WATCH").arg("k").query_async::<()>(&mut con).await.unwrap_err(),
        con.client_setname::<_, ()>("me").await.unwrap_err(),
        redis::pipe().get("k").cmd("SUBSCRIBE").arg("c").query_async::<()>(&mut con).await.unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.kind(), ErrorKind::Client, "{error}");
        assert_eq!(Delivery::of_redis_error(&error), Some(Delivery::NotSent));
        assert!(error.to_string().contains("the client refuses "), "{error}");
    }
    let pong: String = con.ping().await?;
    assert_eq!(pong, "PONG");
    Ok(())
}

pub(super) async fn wrong_types(mut con: Client) -> RedisResult<()> {
    let _: () = con.set("text", "x").await?;
    let error = con.get::<_, u8>("text").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Parse, "as the redis crate says it");
    assert_eq!(Delivery::of_redis_error(&error), None);
    Ok(())
}

/// A clone is another handle to the same pool, of two connections.
pub(super) async fn clones_share_the_pool(con: Client) -> RedisResult<()> {
    let (mut first, mut second) = (con.clone(), con);
    let _: () = first.set("n", 1).await?;
    assert_eq!(second.incr::<_, _, u64>("n", 1).await?, 2);
    let clients: String = cmd("CLIENT").arg("LIST").query_async(&mut first).await?;
    assert!((1..=2).contains(&clients.lines().count()), "{clients}");
    Ok(())
}
