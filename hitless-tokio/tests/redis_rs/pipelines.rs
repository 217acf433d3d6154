//! Pipelines and transactions.

use redis::{AsyncCommands, ErrorKind, RedisResult, ServerErrorKind, Value, cmd, pipe};

use crate::hitless::{Client, Delivery};

pub(super) async fn two_values_of_two_commands(mut con: Client) -> RedisResult<()> {
    let (a, b): (u8, String) = pipe()
        .cmd("SET")
        .arg("a")
        .arg(42)
        .ignore()
        .cmd("SET")
        .arg("b")
        .arg("x")
        .ignore()
        .cmd("GET")
        .arg("a")
        .cmd("GET")
        .arg("b")
        .query_async(&mut con)
        .await?;
    assert_eq!((a, b.as_str()), (42, "x"));
    Ok(())
}

pub(super) async fn ignored_replies(mut con: Client) -> RedisResult<()> {
    let (both,): ((u8, u8),) =
        pipe().set("a", 1).ignore().set("b", 2).ignore().mget(&["a", "b"]).query_async(&mut con).await?;
    assert_eq!(both, (1, 2));
    pipe().set("a", 3).incr("a", 1).exec_async(&mut con).await?;
    let a: u8 = con.get("a").await?;
    assert_eq!(a, 4);
    Ok(())
}

pub(super) async fn one_value_is_a_tuple_of_one(mut con: Client) -> RedisResult<()> {
    let (n,): (i64,) = pipe().incr("n", 1).query_async(&mut con).await?;
    assert_eq!(n, 1);
    Ok(())
}

pub(super) async fn a_pipeline_that_is_used_again(mut con: Client) -> RedisResult<()> {
    let mut pipeline = pipe();
    pipeline.incr("n", 1).incr("m", 2);
    for round in 1..=3 {
        let both: (u64, u64) = pipeline.query_async(&mut con).await?;
        assert_eq!(both, (round, 2 * round));
    }
    pipeline.clear();
    pipeline.get("n");
    let (n,): (u64,) = pipeline.query_async(&mut con).await?;
    assert_eq!(n, 3);
    Ok(())
}

pub(super) async fn an_atomic_pipeline(mut con: Client) -> RedisResult<()> {
    let (old, new): (Option<u8>, u8) = pipe().atomic().get("n").incr("n", 5).query_async(&mut con).await?;
    assert_eq!((old, new), (None, 5));
    let values: Vec<Value> = pipe().atomic().set("k", 1).get("k").query_async(&mut con).await?;
    assert_eq!(values, [Value::Okay, Value::BulkString(b"1".to_vec())]);
    Ok(())
}

pub(super) async fn atomic_and_ignored(mut con: Client) -> RedisResult<()> {
    let (both,): (Vec<u8>,) = pipe()
        .atomic()
        .rpush("l", 1)
        .ignore()
        .rpush("l", 2)
        .ignore()
        .lrange("l", 0, -1)
        .query_async(&mut con)
        .await?;
    assert_eq!(both, [1, 2]);
    let () = pipe().atomic().set("a", 1).set("b", 2).query_async(&mut con).await?;
    Ok(())
}

pub(super) async fn a_list_of_replies(mut con: Client) -> RedisResult<()> {
    let mut pipeline = pipe();
    for number in 0..10 {
        pipeline.cmd("ECHO").arg(number);
    }
    let numbers: Vec<u8> = pipeline.query_async(&mut con).await?;
    assert_eq!(numbers, (0..10).collect::<Vec<u8>>());
    Ok(())
}

pub(super) async fn an_error_names_its_command(mut con: Client) -> RedisResult<()> {
    let _: () = con.set("text", "x").await?;
    let result: RedisResult<(u8, u8, u8)> =
        pipe().incr("a", 1).incr("text", 1).incr("b", 1).query_async(&mut con).await;
    let error = result.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Server(ServerErrorKind::ResponseError));
    assert!(error.to_string().contains("Index 1"), "{error}");
    let errors = error.into_server_errors().unwrap();
    assert_eq!((errors.len(), errors[0].0, errors[0].1.code()), (1, 1, "ERR"));
    let b: u8 = con.get("b").await?;
    assert_eq!(b, 1, "those behind it ran");
    Ok(())
}

pub(super) async fn errors_among_values(mut con: Client) -> RedisResult<()> {
    let _: () = con.set("text", "x").await?;
    let results: Vec<RedisResult<u8>> =
        pipe().incr("a", 1).incr("text", 1).incr("a", 1).ignore_errors().query_async(&mut con).await?;
    assert_eq!((results[0].as_ref().ok(), results[2].as_ref().ok()), (Some(&1), Some(&2)));
    assert_eq!(results[1].as_ref().unwrap_err().code(), Some("ERR"));
    Ok(())
}

pub(super) async fn a_thousand_commands(mut con: Client) -> RedisResult<()> {
    let mut pipeline = pipe();
    for number in 0..1000_u32 {
        pipeline.set(format!("key:{number}"), number).ignore();
    }
    pipeline.cmd("DBSIZE");
    let (size,): (u32,) = pipeline.query_async(&mut con).await?;
    assert_eq!(size, 1000);
    let mut reads = pipe();
    for number in 0..1000_u32 {
        reads.get(format!("key:{number}"));
    }
    let values: Vec<u32> = reads.query_async(&mut con).await?;
    assert_eq!(values, (0..1000).collect::<Vec<u32>>());
    Ok(())
}

pub(super) async fn errors_inside_a_transaction(mut con: Client) -> RedisResult<()> {
    let _: () = con.set("text", "x").await?;
    let mut pipeline = pipe();
    pipeline.atomic().incr("a", 1).lpush("text", 1).incr("a", 1);
    let error = pipeline.query_async::<Vec<u8>>(&mut con).await.unwrap_err();
    let errors = error.into_server_errors().unwrap();
    assert_eq!(
        (errors[0].0, errors[0].1.code()),
        (1, "WRONGTYPE"),
        "an error inside EXEC's reply stays in its place"
    );
    let results: Vec<RedisResult<u8>> = pipeline.ignore_errors().query_async(&mut con).await?;
    assert_eq!((results[0].as_ref().ok(), results[2].as_ref().ok()), (Some(&3), Some(&4)));
    assert_eq!(results[1].as_ref().unwrap_err().code(), Some("WRONGTYPE"));
    Ok(())
}

pub(super) async fn a_transaction_that_is_not_run(mut con: Client) -> RedisResult<()> {
    let result: RedisResult<()> = pipe().atomic().incr("a", 1).cmd("NOSUCH").query_async(&mut con).await;
    let error = result.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Server(ServerErrorKind::ExecAbort));
    assert_eq!(error.code(), Some("EXECABORT"));
    assert!(error.to_string().contains("command 1") && error.to_string().contains("NOSUCH"), "{error}");
    assert_eq!(Delivery::of_redis_error(&error), None);
    let a: Option<u8> = con.get("a").await?;
    assert_eq!(a, None, "nothing of it ran");
    Ok(())
}

pub(super) async fn typed_methods_of_a_pipeline(mut con: Client) -> RedisResult<()> {
    let (length, members, score): (usize, Vec<String>, f64) = pipe()
        .hset("h", "f", 1)
        .ignore()
        .hlen("h")
        .sadd("s", "m")
        .ignore()
        .smembers("s")
        .zadd("z", "m", 2.5)
        .ignore()
        .zscore("z", "m")
        .query_async(&mut con)
        .await?;
    assert_eq!((length, members, score), (1, vec!["m".to_owned()], 2.5));
    Ok(())
}

pub(super) async fn an_empty_transaction(mut con: Client) -> RedisResult<()> {
    let nothing: Vec<Value> = pipe().atomic().query_async(&mut con).await?;
    assert_eq!(nothing, []);
    let error = pipe().query_async::<()>(&mut con).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Client, "as the connections of the redis crate say");
    let error = redis::Cmd::new().query_async::<()>(&mut con).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Client);
    let error = pipe().add_command(redis::Cmd::new()).get("k").query_async::<()>(&mut con).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Client, "it has no reply, and would take that of another one");
    Ok(())
}

/// The command runs, and its reply is nobody's.
pub(super) async fn without_a_reply(mut con: Client) -> RedisResult<()> {
    let nothing: Value = cmd("INCR").arg("n").set_no_response(true).query_async(&mut con).await?;
    assert_eq!(nothing, Value::Nil);
    // It may have travelled on the other connection.
    while con.get::<_, Option<u8>>("n").await? != Some(1) {}
    Ok(())
}
