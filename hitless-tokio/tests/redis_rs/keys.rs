//! Keys of any type.

use std::collections::BTreeSet;

use redis::aio::ConnectionLike;
use redis::{AsyncCommands, CopyOptions, InfoDict, RedisResult, Value, ValueType};

use crate::hitless::Client;

pub(super) async fn existence_and_deletion(mut con: Client) -> RedisResult<()> {
    let _: () = con.mset(&[("a", 1), ("b", 2), ("c", 3)]).await?;
    let there: bool = con.exists("a").await?;
    let count: usize = con.exists(&["a", "b", "none"]).await?;
    let deleted: usize = con.del(&["a", "none"]).await?;
    let unlinked: usize = con.unlink(&["b", "c"]).await?;
    assert_eq!((there, count, deleted, unlinked), (true, 2, 1, 2));
    let gone: bool = con.exists("a").await?;
    assert!(!gone);
    Ok(())
}

pub(super) async fn types_of_values(mut con: Client) -> RedisResult<()> {
    let _: () = con.set("string", 1).await?;
    let _: () = con.rpush("list", 1).await?;
    let string: ValueType = con.key_type("string").await?;
    let list: ValueType = con.key_type("list").await?;
    let none: ValueType = con.key_type("none").await?;
    assert!(matches!((string, list, none), (ValueType::String, ValueType::List, ValueType::None)));
    let encoding: Option<String> = con.object_encoding("string").await?;
    assert_eq!(encoding.as_deref(), Some("int"));
    Ok(())
}

pub(super) async fn names_that_match(mut con: Client) -> RedisResult<()> {
    let _: () = con.mset(&[("user:1", 1), ("user:2", 2), ("other", 3)]).await?;
    let users: BTreeSet<String> = con.keys("user:*").await?;
    assert_eq!(users, BTreeSet::from(["user:1".to_owned(), "user:2".to_owned()]));
    Ok(())
}

pub(super) async fn renaming_and_copying(mut con: Client) -> RedisResult<()> {
    let _: () = con.set("a", "x").await?;
    let _: () = con.rename("a", "b").await?;
    let renamed: bool = con.rename_nx("b", "c").await?;
    let copied: bool = con.copy("c", "d", CopyOptions::default()).await?;
    assert!(renamed && copied);
    let both: Vec<String> = con.mget(&["c", "d"]).await?;
    assert_eq!(both, ["x", "x"]);
    let error = con.rename::<_, _, ()>("none", "z").await.unwrap_err();
    assert_eq!(error.code(), Some("ERR"));
    Ok(())
}

pub(super) async fn lifetimes(mut con: Client) -> RedisResult<()> {
    let _: () = con.set("k", 1).await?;
    let without: i64 = con.ttl("k").await?;
    let expires: bool = con.expire("k", 50).await?;
    let with: i64 = con.ttl("k").await?;
    let persists: bool = con.persist("k").await?;
    let nothing: i64 = con.ttl("none").await?;
    assert!(expires && persists && (1..=50).contains(&with));
    assert_eq!((without, nothing), (-1, -2));
    Ok(())
}

/// The database of the URL is the one that the connection is asked for.
pub(super) async fn databases(mut con: Client) -> RedisResult<()> {
    assert_eq!(con.get_db(), 1);
    let _: () = con.set("k", 1).await?;
    let info: InfoDict = redis::cmd("INFO").arg("keyspace").query_async(&mut con).await?;
    assert!(info.get::<String>("db1").is_some_and(|text| text.contains("keys=1")), "{info:?}");
    let id: u64 = con.client_id().await?;
    assert!(id > 0);
    Ok(())
}

pub(super) async fn counting_what_is_unique(mut con: Client) -> RedisResult<()> {
    let changed: bool = con.pfadd("visitors", &["a", "b", "a"]).await?;
    let count: usize = con.pfcount("visitors").await?;
    assert_eq!((changed, count), (true, 2));
    let merged: Value = con.pfmerge("all", &["visitors"]).await?;
    assert_eq!(merged, Value::Okay);
    Ok(())
}

/// A word for each part: what belongs to a command is an argument of its own.
pub(super) async fn subcommands(mut con: Client) -> RedisResult<()> {
    let _: () = con.set("k", "v").await?;
    let size: usize = redis::cmd("MEMORY").arg("USAGE").arg("k").query_async(&mut con).await?;
    assert!(size > 0);
    let error = redis::cmd("MEMORY USAGE").arg("k").query_async::<usize>(&mut con).await.unwrap_err();
    assert!(error.to_string().contains("unknown command"), "{error}");
    redis::cmd("SET").arg("k").arg(42).exec_async(&mut con).await?;
    assert_eq!(con.get("none").await.unwrap_or(0_i32), 0);
    Ok(())
}

/// Types of the application as keys and as values.
pub(super) async fn types_of_ones_own(mut con: Client) -> RedisResult<()> {
    struct Id(u32);
    impl redis::ToRedisArgs for Id {
        fn write_redis_args<W: ?Sized + redis::RedisWrite>(&self, out: &mut W) {
            out.write_arg_fmt(format_args!("id:{:04}", self.0));
        }
    }
    impl redis::ToSingleRedisArg for Id {}
    impl redis::FromRedisValue for Id {
        fn from_redis_value(value: Value) -> Result<Self, redis::ParsingError> {
            let text: String = redis::from_redis_value(value)?;
            let number = text.strip_prefix("id:").and_then(|digits| digits.parse().ok());
            Ok(Self(number.ok_or("no id")?))
        }
    }
    let _: () = con.set(Id(7), Id(8)).await?;
    let ids: Vec<Id> = con.mget(&[Id(7)]).await?;
    let keys: Vec<String> = con.keys("*").await?;
    assert_eq!((ids[0].0, keys), (8, vec!["id:0007".to_owned()]));
    let no_id: RedisResult<Id> = redis::cmd("ECHO").arg("x").query_async(&mut con).await;
    assert!(no_id.is_err_and(|error| error.to_string().contains("no id")));
    Ok(())
}

pub(super) async fn emptying_a_database(mut con: Client) -> RedisResult<()> {
    let _: () = con.mset(&[("a", 1), ("b", 2)]).await?;
    let before: usize = redis::cmd("DBSIZE").query_async(&mut con).await?;
    let _: () = con.flushdb().await?;
    let after: usize = redis::cmd("DBSIZE").query_async(&mut con).await?;
    assert_eq!((before, after), (2, 0));
    Ok(())
}
