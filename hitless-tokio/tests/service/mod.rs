//! The service of the examples on redis-rs's own connection and on the client: one source, one outcome.

mod after;
mod before;

use std::time::Duration;

use hitless_conformance::net::tcp::TcpServer;
use hitless_conformance::server::{Backend, Moving, Server, ServerMachine, Target};
use hitless_tokio::{Client, Event};
use redis::RedisResult;

const SECOND: Duration = Duration::from_secs(1);

/// Runs the service on both over RESP2 and RESP3, at the first endpoint of `server`; then on the client while that one is left for the
/// second.
pub(crate) async fn runs_on_both<B: Backend + Send + 'static>(
    server: &TcpServer<Server<B>>,
) -> RedisResult<()> {
    let [old, new] = server.with(|server, _| server.endpoints())[..] else { panic!("two endpoints") };
    let mut outcomes = Vec::new();
    for protocol in [2, 3] {
        let url = format!("redis://{}/1?protocol={protocol}", server.address(old));
        let theirs = before::shop::a_day(before::connection::connect(&url).await?).await?;
        let ours = after::shop::a_day(after::connection::connect(&url).await?).await?;
        assert_eq!(ours, theirs, "RESP{protocol}");
        outcomes.push(ours);
    }
    assert_eq!(outcomes[0], outcomes[1], "the types of the service hide the protocol");

    let client: Client = after::connection::connect(&format!("redis://{}/1", server.address(old))).await?;
    let mut events = client.events();
    server.with(|server, now| server.moving(now, old, Moving::new(Target::Endpoint(new), 20 * SECOND)));
    let mut is_over = false;
    while !is_over {
        assert_eq!(after::shop::a_day(client.clone()).await?, outcomes[1], "during a move");
        while let Some(event) = events.try_next() {
            if let Ok(Event::MoveFinished { stayed, .. }) = event {
                assert_eq!(stayed, 0);
                is_over = true;
            }
        }
    }
    assert_eq!(after::shop::a_day(client).await?, outcomes[1], "after a move");
    assert!(server.with(|server, _| server.ledger().accepted(new)) > 0);
    Ok(())
}
