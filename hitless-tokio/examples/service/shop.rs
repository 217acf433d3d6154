//! A shop: sessions, counters, carts, a stock. It is written for redis-rs, and does not know by whom it is connected.

use std::collections::BTreeMap;

use redis::{AsyncCommands, RedisResult, Script, cmd, pipe};
use serde_json::{Value, json};

use super::connection::Connection;

const SESSION_SECONDS: u64 = 1800;

/// Takes from the stock if there is enough.
const RESERVE: &str = "
    local left = tonumber(redis.call('GET', KEYS[1]) or '0')
    if left < tonumber(ARGV[1]) then
        return false
    end
    return redis.call('DECRBY', KEYS[1], ARGV[1])
";

struct Shop {
    con: Connection,
    reserve: Script,
}

impl Shop {
    async fn log_in(&mut self, token: &str, user: &Value) -> RedisResult<()> {
        self.con.set_ex(format!("session:{token}"), user.to_string(), SESSION_SECONDS).await
    }

    /// Who is logged in, and for how many seconds more; each use begins them anew.
    async fn session(&mut self, token: &str) -> RedisResult<(Option<Value>, i64)> {
        let key = format!("session:{token}");
        let (text, _, seconds): (Option<String>, bool, i64) = pipe()
            .get(&key)
            .expire(&key, SESSION_SECONDS as i64)
            .ttl(&key)
            .query_async(&mut self.con)
            .await?;
        Ok((text.and_then(|text| text.parse().ok()), seconds))
    }

    async fn visit(&mut self, page: &str) -> RedisResult<u64> {
        self.con.incr(format!("visits:{page}"), 1).await
    }

    async fn visits(&mut self, pages: &[&str]) -> RedisResult<Vec<Option<u64>>> {
        let keys: Vec<String> = pages.iter().map(|page| format!("visits:{page}")).collect();
        self.con.mget(keys).await
    }

    /// How much there is of each item, in one write.
    async fn import(&mut self, items: u32) -> RedisResult<usize> {
        let mut pipeline = pipe();
        for item in 0..items {
            pipeline.set(format!("stock:{item}"), item % 7);
        }
        let set: Vec<bool> = pipeline.query_async(&mut self.con).await?;
        Ok(set.into_iter().filter(|is_set| *is_set).count())
    }

    /// How many items have a key of this pattern.
    async fn stock(&mut self, pattern: &str) -> RedisResult<usize> {
        let mut found = self.con.scan_match::<_, String>(pattern).await?;
        let mut count = 0;
        while let Some(key) = found.next_item().await {
            key?;
            count += 1;
        }
        Ok(count)
    }

    /// What is left of it, or nothing if there is not enough. A server that does not know the script is sent it.
    async fn reserve(&mut self, item: u32, count: u32) -> RedisResult<Option<u32>> {
        self.reserve.key(format!("stock:{item}")).arg(count).invoke_async(&mut self.con).await
    }

    async fn put_into_cart(&mut self, user: &str, item: u32, count: u32) -> RedisResult<u32> {
        self.con.hincr(format!("cart:{user}"), item, count).await
    }

    /// Makes an order of the cart, and empties it: both or none.
    async fn order(&mut self, user: &str) -> RedisResult<(u64, BTreeMap<u32, u32>)> {
        let cart = format!("cart:{user}");
        pipe().atomic().incr("orders", 1).hgetall(&cart).del(&cart).ignore().query_async(&mut self.con).await
    }

    async fn keep_picture(&mut self, item: u32, picture: &[u8]) -> RedisResult<()> {
        self.con.hset(format!("picture:{item}"), "png", picture).await
    }

    async fn picture(&mut self, item: u32) -> RedisResult<Vec<u8>> {
        self.con.hget(format!("picture:{item}"), "png").await
    }
}

/// Everything that happens in the shop in a day, beginning with an empty database: the same whoever makes the connection.
pub(crate) async fn a_day(con: Connection) -> RedisResult<Vec<String>> {
    let mut shop = Shop { con, reserve: Script::new(RESERVE) };
    let mut events = Vec::new();
    let mut tell = |what: &str, seen: &dyn std::fmt::Debug| events.push(format!("{what}: {seen:?}"));

    cmd("FLUSHDB").exec_async(&mut shop.con).await?;
    cmd("SCRIPT").arg("FLUSH").exec_async(&mut shop.con).await?;

    tell("imported", &shop.import(1000).await?);
    tell("items of a pattern", &shop.stock("stock:9?").await?);
    shop.log_in("t0ken", &json!({ "name": "Ada", "wishes": ["tea", "π"] })).await?;
    tell("session", &shop.session("t0ken").await?);
    tell("nobody's session", &shop.session("none").await?);
    tell("visits", &(shop.visit("home").await?, shop.visit("home").await?, shop.visit("tea").await?));
    tell("all visits", &shop.visits(&["home", "none", "tea"]).await?);
    tell("reserved", &(shop.reserve(6, 4).await?, shop.reserve(6, 4).await?, shop.reserve(1000, 1).await?));
    tell("in the cart", &(shop.put_into_cart("ada", 6, 4).await?, shop.put_into_cart("ada", 6, 1).await?));
    tell("ordered", &shop.order("ada").await?);
    tell("ordered nothing", &shop.order("ada").await?);
    let picture: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    shop.keep_picture(6, &picture).await?;
    tell("the picture is what it was", &(shop.picture(6).await? == picture));
    let misused: RedisResult<u32> = shop.con.incr("picture:6", 1).await;
    tell("an error", &misused.err().map(|error| (error.kind(), error.code().map(str::to_owned))));
    let mut pipeline = pipe();
    pipeline.get("orders").hget("orders", "x");
    let misused: RedisResult<(u32, u32)> = pipeline.query_async(&mut shop.con).await;
    tell("an error in a pipeline", &misused.err().map(|error| error.to_string()));
    Ok(events)
}
