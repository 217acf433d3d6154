//! Futures that are dropped before their end, at each place where they may wait: nothing is left, and the client goes on.

use std::future::Future;
use std::pin::pin;
use std::task::Poll;

use super::{SECOND, TestServer, endpoint, serve, url};
use crate::block_on;
use crate::hitless::{Builder, Client, Error, Frame, FromFrame, Pipeline, cmd};

/// No future of these waits as often.
const MOST: usize = 1000;

/// Polls `future` when it is woken, at most so many times. `None` if it was dropped before its end.
async fn polled<F: Future>(times: usize, future: F) -> Option<F::Output> {
    let (mut future, mut left) = (pin!(future), times);
    std::future::poll_fn(|cx| {
        left -= 1;
        match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// Runs what `begin` makes again and again, each time for one poll more, until it comes to its end.
async fn cut_short<T, F: Future<Output = Result<T, Error>>>(
    client: &Client,
    mut begin: impl FnMut() -> F,
) -> T {
    for times in 1..MOST {
        let ended = polled(times, begin()).await;
        assert_eq!(client.call(cmd("PING")).await.unwrap(), Frame::simple("PONG"));
        if let Some(result) = ended {
            return result.unwrap();
        }
    }
    panic!("it does not come to its end");
}

async fn query<T: FromFrame>(client: &Client, words: &'static str) -> Result<T, Error> {
    let mut words = words.split(' ');
    client.query(cmd(words.next().unwrap()).args(words)).await
}

/// Adds one to two numbers: only where a transaction has run in part, or twice, they differ from then on.
async fn increment(client: &Client) -> Result<i64, Error> {
    let replies = client.transaction(["n"], |lease| async move {
        let n = lease.call(cmd("GET").arg("n")).await?;
        let n: i64 = n.as_str().map_or(0, |n| n.parse().unwrap());
        Ok(Some(Pipeline::from([cmd("SET").arg("n").arg(n + 1), cmd("INCR").arg("m"), cmd("GET").arg("n")])))
    });
    let replies = replies.await?.unwrap();
    Ok(replies[2].as_str().unwrap().parse().unwrap())
}

/// Queries, leases, calls on them and transactions.
async fn requests_cut_short(client: &Client) {
    assert_eq!(cut_short(client, || query::<String>(client, "ECHO x")).await, "x");
    let lease = cut_short(client, || client.lease()).await;
    assert_eq!(lease.call(cmd("PING")).await.unwrap(), Frame::simple("PONG"));
    drop(lease);
    cut_short(client, || async {
        let lease = client.lease().await?;
        lease.call(cmd("WATCH").arg("k")).await?;
        lease.pipeline(Pipeline::atomic().command(cmd("SET").arg("k").arg("v"))).await
    })
    .await;
    let before: i64 = query::<Option<i64>>(client, "GET n").await.unwrap().unwrap_or(0);
    let raised = cut_short(client, || increment(client)).await;
    // Each was run wholly or not at all.
    assert_eq!(query::<(i64, i64)>(client, "MGET n m").await.unwrap(), (raised, raised));
    assert!(raised > before);
    // Nothing of those that were dropped is still lent, waited for or under way.
    let stats = client.stats();
    assert_eq!((stats.leased, stats.waiting_for_lease, stats.requests), (0, 0, 0));
}

/// Starts that are given up close what they have opened.
async fn starts_cut_short(server: &TestServer, builder: impl Fn() -> Builder) -> Client {
    let mut clients = Vec::new();
    for times in 1..MOST {
        if let Some(client) = polled(times, builder().connect()).await {
            clients.push(client.unwrap());
            break;
        }
    }
    let client = clients.pop().unwrap();
    let open = || server.with(|server, _| server.connections(endpoint(server)).len());
    while open() > 1 {
        client.call(cmd("PING")).await.unwrap();
    }
    client
}

async fn everything_cut_short(server: &TestServer, builder: impl Fn() -> Builder) {
    let client = starts_cut_short(server, builder).await;
    requests_cut_short(&client).await;
    client.shutdown(SECOND).await;
}

/// INV-15, RULE-102
#[test]
fn futures_may_be_dropped_at_each_place() {
    let server = serve();
    block_on(everything_cut_short(&server, || {
        Client::builder(&url(&server)).unwrap().pool_size(1).max_dedicated(2)
    }));
}

/// INV-15, RULE-186
#[cfg(feature = "tls")]
#[test]
fn futures_over_tls_may_be_dropped_at_each_place() {
    use hitless_conformance::net::certificates::Authority;

    use crate::hitless::Tls;

    let authority = Authority::new("ours");
    let server = super::serve_encrypted(&authority.certify(&["127.0.0.1"]).server(None));
    let tls = Tls::builder().roots(authority.pem()).build().unwrap();
    let url = format!("rediss://{}", server.addresses()[0]);
    block_on(everything_cut_short(&server, || {
        Client::builder(&url).unwrap().tls(tls.clone()).pool_size(1).max_dedicated(2)
    }));
}
