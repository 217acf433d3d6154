//! Streams.

use redis::streams::{
    StreamAutoClaimOptions, StreamAutoClaimReply, StreamClaimReply, StreamInfoConsumersReply,
    StreamInfoGroupsReply, StreamInfoStreamReply, StreamMaxlen, StreamPendingCountReply, StreamPendingReply,
    StreamRangeReply, StreamReadOptions, StreamReadReply,
};
use redis::{AsyncCommands, RedisResult};

use crate::hitless::Client;

/// Pairs in RESP2, a map in RESP3.
pub(super) async fn adding_and_reading(mut con: Client) -> RedisResult<()> {
    let id: String = con.xadd("s", "1-1", &[("name", "Ada"), ("age", "36")]).await?;
    assert_eq!(id, "1-1");
    let _: String = con.xadd("s", "*", &[("name", "Bob")]).await?;
    let read: StreamReadReply = con.xread(&["s"], &["0"]).await?;
    let entries = &read.keys[0].ids;
    assert_eq!((read.keys[0].key.as_str(), entries.len(), entries[0].id.as_str()), ("s", 2, "1-1"));
    assert_eq!(entries[0].get::<u8>("age"), Some(36));
    let nothing: Option<StreamReadReply> = con.xread(&["s"], &["$"]).await?;
    assert!(nothing.is_none_or(|read| read.keys.is_empty()));
    let options = StreamReadOptions::default().count(1);
    let one: StreamReadReply = con.xread_options(&["s"], &["0"], &options).await?;
    assert_eq!(one.keys[0].ids.len(), 1);
    Ok(())
}

pub(super) async fn ranges(mut con: Client) -> RedisResult<()> {
    for id in ["1-1", "2-1", "3-1"] {
        let _: String = con.xadd("s", id, &[("f", id)]).await?;
    }
    let all: StreamRangeReply = con.xrange_all("s").await?;
    let some: StreamRangeReply = con.xrange("s", "2", "+").await?;
    let last: StreamRangeReply = con.xrevrange_count("s", "+", "-", 1).await?;
    assert_eq!((all.ids.len(), some.ids.len(), last.ids[0].id.as_str()), (3, 2, "3-1"));
    let deleted: usize = con.xdel("s", &["1-1"]).await?;
    let length: usize = con.xlen("s").await?;
    assert_eq!((deleted, length), (1, 2));
    Ok(())
}

pub(super) async fn groups(mut con: Client) -> RedisResult<()> {
    let _: () = con.xgroup_create_mkstream("s", "g", "$").await?;
    let _: String = con.xadd("s", "5-1", &[("f", 1)]).await?;
    let options = StreamReadOptions::default().group("g", "me").count(10);
    let read: StreamReadReply = con.xread_options(&["s"], &[">"], &options).await?;
    assert_eq!(read.keys[0].ids[0].id, "5-1");
    let acknowledged: usize = con.xack("s", "g", &["5-1"]).await?;
    assert_eq!(acknowledged, 1);
    let info: StreamInfoGroupsReply = con.xinfo_groups("s").await?;
    assert_eq!((info.groups[0].name.as_str(), info.groups[0].pending), ("g", 0));
    Ok(())
}

pub(super) async fn what_is_pending(mut con: Client) -> RedisResult<()> {
    let _: () = con.xgroup_create_mkstream("s", "g", "0").await?;
    let _: String = con.xadd("s", "5-1", &[("f", 1)]).await?;
    let options = StreamReadOptions::default().group("g", "me");
    let _: StreamReadReply = con.xread_options(&["s"], &[">"], &options).await?;
    let pending: StreamPendingReply = con.xpending("s", "g").await?;
    assert_eq!(pending.count(), 1);
    let details: StreamPendingCountReply = con.xpending_count("s", "g", "-", "+", 10).await?;
    assert_eq!((details.ids[0].id.as_str(), details.ids[0].consumer.as_str()), ("5-1", "me"));
    Ok(())
}

pub(super) async fn trimming(mut con: Client) -> RedisResult<()> {
    for number in 1..=5 {
        let _: String = con.xadd("s", format!("{number}-1"), &[("n", number)]).await?;
    }
    let removed: usize = con.xtrim("s", StreamMaxlen::Equals(2)).await?;
    assert_eq!(removed, 3);
    Ok(())
}

pub(super) async fn about_a_stream(mut con: Client) -> RedisResult<()> {
    let _: String = con.xadd("s", "7-1", &[("f", "v")]).await?;
    let info: StreamInfoStreamReply = con.xinfo_stream("s").await?;
    assert_eq!((info.length, info.last_generated_id.as_str()), (1, "7-1"));
    assert_eq!(info.first_entry.get::<String>("f").as_deref(), Some("v"));
    Ok(())
}

pub(super) async fn claiming(mut con: Client) -> RedisResult<()> {
    let _: () = con.xgroup_create_mkstream("s", "g", "0").await?;
    for id in ["1-1", "2-1"] {
        let _: String = con.xadd("s", id, &[("f", id)]).await?;
    }
    let options = StreamReadOptions::default().group("g", "gone");
    let _: StreamReadReply = con.xread_options(&["s"], &[">"], &options).await?;
    let claimed: StreamClaimReply = con.xclaim("s", "g", "me", 0, &["1-1"]).await?;
    assert_eq!(claimed.ids[0].get::<String>("f").as_deref(), Some("1-1"));
    let options = StreamAutoClaimOptions::default().count(10);
    let rest: StreamAutoClaimReply = con.xautoclaim_options("s", "g", "me", 0, "0-0", options).await?;
    assert_eq!((rest.claimed.len(), rest.next_stream_id.as_str()), (2, "0-0"));
    let info: StreamInfoConsumersReply = con.xinfo_consumers("s", "g").await?;
    let pending: Vec<(&str, usize)> =
        info.consumers.iter().map(|it| (it.name.as_str(), it.pending)).collect();
    assert_eq!(pending, [("gone", 0), ("me", 2)]);
    Ok(())
}

pub(super) async fn managing_groups(mut con: Client) -> RedisResult<()> {
    let _: () = con.xgroup_create_mkstream("s", "g", "$").await?;
    let error = con.xgroup_create::<_, _, _, ()>("s", "g", "$").await.unwrap_err();
    assert_eq!(error.code(), Some("BUSYGROUP"));
    let created: bool = con.xgroup_createconsumer("s", "g", "me").await?;
    let _: () = con.xgroup_setid("s", "g", "0").await?;
    let pending: usize = con.xgroup_delconsumer("s", "g", "me").await?;
    let destroyed: bool = con.xgroup_destroy("s", "g").await?;
    assert_eq!((created, pending, destroyed), (true, 0, true));
    Ok(())
}
