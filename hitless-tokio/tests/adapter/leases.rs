//! Leases and transactions over real sockets.

use super::{SECOND, serve, url};
use crate::hitless::{Client, Error, Frame, LeaseNotice, Pipeline, cmd};
use crate::{block_on, spawn};

async fn increment(client: &Client) -> Result<(), Error> {
    let replies = client.transaction(["n"], |lease| async move {
        let n = lease.call(cmd("GET").arg("n")).await?;
        let n: u64 = n.as_str().map_or(0, |n| n.parse().unwrap());
        Ok(Some(Pipeline::from([cmd("SET").arg("n").arg(n + 1)])))
    });
    assert_eq!(replies.await?, Some(vec![Frame::simple("OK")]));
    Ok(())
}

/// Tasks that read and write the same key lose no update. RULE-209
#[test]
fn transactions_of_many_tasks() {
    let server = serve();
    block_on(async {
        let client =
            Client::builder(&url(&server)).unwrap().pool_size(1).max_dedicated(4).connect().await.unwrap();
        let (done, all_done) = std::sync::mpsc::channel::<()>();
        for _ in 0..8 {
            let (client, done) = (client.clone(), done.clone());
            spawn(async move {
                for _ in 0..5 {
                    increment(&client).await.unwrap();
                }
                drop(done);
            });
        }
        drop(done);
        // The channel has no value: it ends when every task has.
        let is_over = || matches!(all_done.try_recv(), Err(std::sync::mpsc::TryRecvError::Disconnected));
        while !is_over() {
            client.call(cmd("PING")).await.unwrap();
        }
        assert_eq!(client.call(cmd("GET").arg("n")).await.unwrap(), Frame::bulk("40"));
        assert!(client.stats().dedicated <= 4);
        client.shutdown(SECOND).await;
    });
}

/// A lease can be sent to another task, and its clones are handles to one connection. RULE-200
#[test]
fn a_lease_in_several_tasks() {
    let server = serve();
    block_on(async {
        let client = Client::connect(&url(&server)).await.unwrap();
        let lease = client.lease().await.unwrap();
        let id = lease.call(cmd("CLIENT").arg("ID")).await.unwrap();
        let (clone, (tell, told)) = (lease.clone(), std::sync::mpsc::channel());
        spawn(async move {
            tell.send(clone.call(cmd("CLIENT").arg("ID")).await.unwrap()).unwrap();
        });
        let other = loop {
            match told.try_recv() {
                Ok(id) => break id,
                Err(std::sync::mpsc::TryRecvError::Empty) => drop(lease.call(cmd("PING")).await.unwrap()),
                Err(error) => panic!("{error}"),
            }
        };
        assert_eq!(id, other);
        client.shutdown(SECOND / 10).await;
        assert!(matches!(lease.moving().await, LeaseNotice::Lost { .. }));
    });
}
