//! Who uses the client, and what each of them knows of what must have happened.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use redis::AsyncCommands;

use super::{SECOND, sleep, sleep_until};
use crate::hitless::pubsub::{Item, Topic};
use crate::hitless::{Adapter, Client, Frame, FromFrame, Pipeline, Runtime as _, Subscription, cmd};
use crate::spawn;

/// From one message to the next: 200 a second.
const MESSAGES_APART: Duration = Duration::from_millis(5);
/// With every so many messages comes an element for each of the queues, and an entry of the stream.
const MESSAGES_PER_ELEMENT: u64 = 4;
/// With every so many one for the queue that is empty most of the time.
const MESSAGES_PER_RARE_ELEMENT: u64 = 50;
/// What the others do between two operations.
const PAUSE: Duration = Duration::from_millis(20);
/// A transaction thinks so long at most, and so often: it has its lease for 200 ms at most.
const THOUGHT: u64 = 40;
const TRIES: u32 = 5;
const TRANSACTORS: u64 = 3;
/// The last one for each consumer and subscriber.
const END: &str = "end";

/// The queues, and how many consumers each has.
const QUEUES: [(&str, usize); 3] = [("queue", 2), ("typed", 1), ("moved", 1)];
const RARE: &str = "rare";
const READERS: usize = 2;

type Ending<T> = Pin<Box<dyn Future<Output = T>>>;

/// Those who use the client.
pub(super) struct Load {
    stop: Arc<AtomicBool>,
    producer: Ending<u64>,
    /// Keys, and what each must hold in the end.
    counters: Vec<(String, Ending<u64>)>,
    transactors: Vec<Ending<u64>>,
    holder: Ending<()>,
    /// Queues, and what a consumer has taken.
    consumers: Vec<(&'static str, Ending<Vec<u64>>)>,
    readers: Vec<Ending<Vec<u64>>>,
    subscribers: Vec<Ending<BTreeMap<Topic, u64>>>,
}

impl Load {
    /// Starts everybody. `direct` leads to the server behind the endpoints.
    pub(super) async fn start(client: &Client, direct: &Client) -> Self {
        direct.call(cmd("XGROUP").args(["CREATE", "stream", "group", "$", "MKSTREAM"])).await.unwrap();
        let plain = [Topic::from("news"), Topic::pattern("n*")];
        let mixed = [Topic::pattern("ne?s"), Topic::from("news"), Topic::sharded("news")];
        let mut subscribers = Vec::new();
        for topics in [plain.to_vec(), mixed.to_vec()] {
            let subscription = client.subscribe(topics.clone()).await.unwrap();
            subscribers.push(boxed(subscribe(subscription, topics)));
        }
        let flag = Arc::new(AtomicBool::new(false));
        let stop = || Stop(Arc::clone(&flag));
        let mut counters = Vec::new();
        for number in 0..2 {
            let [plain, atomic, other] =
                ["pipeline", "atomic", "redis-rs"].map(|kind| format!("{kind}:{number}"));
            counters.push((plain.clone(), boxed(pipelines(client.clone(), plain, stop()))));
            counters.push((atomic.clone(), boxed(atomic_pipelines(client.clone(), atomic, stop()))));
            counters.push((other.clone(), boxed(typed(client.clone(), other, stop()))));
        }
        let transactor = |number| boxed(transactions(client.clone(), number, stop()));
        let readers = (0..READERS).map(|number| boxed(read_stream(client.clone(), number))).collect();
        Self {
            counters,
            transactors: (0..TRANSACTORS).map(transactor).collect(),
            holder: boxed(hold_leases(client.clone(), stop())),
            consumers: vec![
                ("queue", boxed(pop(client.clone(), "queue", 0))),
                ("queue", boxed(pop(client.clone(), "queue", 1))),
                (RARE, boxed(pop(client.clone(), RARE, 0))),
                ("typed", boxed(pop_typed(client.clone()))),
                ("moved", boxed(move_elements(client.clone()))),
            ],
            readers,
            subscribers,
            producer: boxed(produce(direct.clone(), stop())),
            stop: flag,
        }
    }

    /// Lets everybody finish, and compares what they know with what the server knows.
    pub(super) async fn finish(self, direct: &Client) {
        self.stop.store(true, Ordering::Relaxed);
        let messages = self.producer.await;
        for (key, counted) in self.counters {
            let counted = counted.await;
            let count: u64 = direct.query(cmd("GET").arg(&key)).await.unwrap();
            assert!(counted > 0 && count == counted, "{key}: {counted} acknowledged, {count} counted");
        }
        let mut updates = 0;
        for transactor in self.transactors {
            updates += transactor.await;
        }
        let count: u64 = direct.query(cmd("GET").arg("shared")).await.unwrap();
        assert!(updates > 0 && count == updates, "{updates} updates, {count} counted");
        self.holder.await;
        let elements = messages.div_ceil(MESSAGES_PER_ELEMENT);
        let rare = messages.div_ceil(MESSAGES_PER_RARE_ELEMENT);
        let mut taken: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
        for (queue, items) in self.consumers {
            taken.entry(queue).or_default().extend(items.await);
        }
        for (queue, items) in taken {
            let expected = if queue == RARE { rare } else { elements };
            assert_each_once(queue, items, expected);
        }
        let moved: Vec<String> = direct.query(cmd("LRANGE").args(["moved-to", "0", "-1"])).await.unwrap();
        let expected: Vec<String> =
            (0..elements).map(|number| number.to_string()).chain([END.to_owned()]).collect();
        assert_eq!(moved, expected);
        let mut read = Vec::new();
        for reader in self.readers {
            read.extend(reader.await);
        }
        assert_each_once("stream", read, elements);
        for subscriber in self.subscribers {
            let received = subscriber.await;
            assert!(received.values().all(|count| *count == messages), "{messages}: {received:?}");
        }
    }
}

fn boxed<T: Send + 'static>(task: impl Future<Output = T> + Send + 'static) -> Ending<T> {
    Box::pin(spawn(task))
}

fn assert_each_once(what: &str, mut items: Vec<u64>, expected: u64) {
    items.sort_unstable();
    assert!(expected > 0 && items.iter().copied().eq(0..expected), "{what}, {expected}: {items:?}");
}

/// Whether to stop.
struct Stop(Arc<AtomicBool>);

impl Stop {
    fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Waits a little. False if it is time to stop.
    async fn pause(&self) -> bool {
        sleep(PAUSE).await;
        !self.is_set()
    }
}

/// Publishes, pushes and adds, in the end the end for each who waits. Returns how many messages that were before.
async fn produce(direct: Client, stop: Stop) -> u64 {
    let publish = |number: &str| ["PUBLISH", "SPUBLISH"].map(|name| cmd(name).arg("news").arg(number));
    let add = |number: &str| cmd("XADD").args(["stream", "*", "number", number]);
    let push = |queue: &str, number: &str| cmd("RPUSH").arg(queue).arg(number);
    let (mut number, mut next) = (0, Adapter.now());
    while !stop.is_set() {
        let text = number.to_string();
        let mut batch = publish(&text).to_vec();
        if number % MESSAGES_PER_ELEMENT == 0 {
            let text = (number / MESSAGES_PER_ELEMENT).to_string();
            batch.extend(QUEUES.map(|(queue, _)| push(queue, &text)));
            batch.push(add(&text));
        }
        if number % MESSAGES_PER_RARE_ELEMENT == 0 {
            batch.push(push(RARE, &(number / MESSAGES_PER_RARE_ELEMENT).to_string()));
        }
        direct.pipeline(batch).await.unwrap();
        number += 1;
        next += MESSAGES_APART;
        sleep_until(next).await;
    }
    let mut batch = publish(END).to_vec();
    for (queue, consumers) in QUEUES.into_iter().chain([(RARE, 1)]) {
        batch.extend((0..consumers).map(|_| push(queue, END)));
    }
    batch.extend((0..READERS).map(|_| add(END)));
    direct.pipeline(batch).await.unwrap();
    number
}

/// Pipelines whose replies are all known before.
async fn pipelines(client: Client, key: String, stop: Stop) -> u64 {
    let (other, mut count) = (format!("{key}:value"), 0);
    while stop.pause().await {
        let value = count.to_string();
        let batch = [
            cmd("INCR").arg(&key),
            cmd("SET").arg(&other).arg(&value),
            cmd("INCR").arg(&key),
            cmd("GET").arg(&other),
        ];
        let replies: (u64, String, u64, String) = client.query_pipeline(batch).await.unwrap();
        assert_eq!(replies, (count + 1, "OK".to_owned(), count + 2, value));
        count += 2;
    }
    count
}

/// MULTI .. EXEC in one batch.
async fn atomic_pipelines(client: Client, key: String, stop: Stop) -> u64 {
    let mut count = 0;
    while stop.pause().await {
        let batch = Pipeline::atomic().command(cmd("INCR").arg(&key)).command(cmd("INCRBY").arg(&key).arg(2));
        let replies: (u64, u64) = client.query_pipeline(batch).await.unwrap();
        assert_eq!(replies, (count + 1, count + 3));
        count += 3;
    }
    count
}

/// Typed commands, pipelines and transactions of the `redis` crate.
async fn typed(mut client: Client, key: String, stop: Stop) -> u64 {
    let (hash, mut count) = (format!("{key}:hash"), 0_u64);
    while stop.pause().await {
        count += 1;
        assert_eq!(client.incr::<_, _, u64>(&key, 1).await.unwrap(), count);
        let () = client.hset(&hash, "field", count).await.unwrap();
        assert_eq!(client.hget::<_, _, u64>(&hash, "field").await.unwrap(), count);
        let mut batch = redis::pipe();
        batch.atomic().incr(&key, 1).hincr(&hash, "field", 1);
        count += 1;
        let both: (u64, u64) = batch.query_async(&mut client).await.unwrap();
        assert_eq!(both, (count, count));
    }
    count
}

/// Adds one to what others add to as well: reads it, thinks, and writes it if nobody has meanwhile.
async fn transactions(client: Client, number: u64, stop: Stop) -> u64 {
    let (mut turn, mut count) = (number, 0);
    while stop.pause().await {
        let mut tries = 0;
        let replies = client.transaction(["shared"], |lease| {
            tries += 1;
            turn += 7;
            let (is_late, thought) = (tries > TRIES, Duration::from_millis(turn % THOUGHT));
            async move {
                if is_late {
                    return Ok(None);
                }
                let shared = Option::<u64>::from_frame(lease.call(cmd("GET").arg("shared")).await?)?;
                sleep(thought).await;
                Ok(Some(Pipeline::from([cmd("SET").arg("shared").arg(shared.unwrap_or(0) + 1)])))
            }
        });
        if let Some(replies) = replies.await.unwrap() {
            assert_eq!(replies, [Frame::simple("OK")]);
            count += 1;
        }
    }
    count
}

/// Has a connection for a while, and always the same one.
async fn hold_leases(client: Client, stop: Stop) {
    while stop.pause().await {
        let lease = client.lease().await.unwrap();
        let id = lease.call(cmd("CLIENT").arg("ID")).await.unwrap();
        sleep(SECOND / 6).await;
        assert_eq!(lease.call(cmd("CLIENT").arg("ID")).await.unwrap(), id);
    }
}

/// What is taken, up to the end.
#[derive(Default)]
struct Basket(Vec<u64>);

impl Basket {
    /// Puts something in. The contents, if that is the end.
    fn put(&mut self, item: &str) -> Option<Vec<u64>> {
        if item == END {
            return Some(std::mem::take(&mut self.0));
        }
        self.0.push(item.parse().unwrap());
        None
    }
}

/// Waits for so many seconds at a time; 0 for ever.
async fn pop(client: Client, queue: &'static str, wait: u32) -> Vec<u64> {
    let mut basket = Basket::default();
    loop {
        let command = cmd("BLPOP").arg(queue).arg(wait);
        let Some((from, item)) = client.query::<Option<(String, String)>>(command).await.unwrap() else {
            continue;
        };
        assert_eq!(from, queue);
        if let Some(items) = basket.put(&item) {
            return items;
        }
    }
}

async fn pop_typed(mut client: Client) -> Vec<u64> {
    let mut basket = Basket::default();
    loop {
        let (_, item): (String, String) = client.blpop("typed", 0.0).await.unwrap();
        if let Some(items) = basket.put(&item) {
            return items;
        }
    }
}

async fn move_elements(client: Client) -> Vec<u64> {
    let mut basket = Basket::default();
    loop {
        let command = cmd("BLMOVE").args(["moved", "moved-to", "LEFT", "RIGHT", "0"]);
        let item: String = client.query(command).await.unwrap();
        if let Some(items) = basket.put(&item) {
            return items;
        }
    }
}

async fn read_stream(client: Client, number: usize) -> Vec<u64> {
    type Entries = Vec<(String, (String, String))>;
    let mut basket = Basket::default();
    loop {
        let command = cmd("XREADGROUP").arg("GROUP").arg("group").arg(number);
        let command = command.args(["COUNT", "1", "BLOCK", "0", "STREAMS", "stream", ">"]);
        let reply: BTreeMap<String, Entries> = client.query(command).await.unwrap();
        let [(_, (_, item))] = &reply["stream"][..] else { panic!("not one entry: {reply:?}") };
        if let Some(items) = basket.put(item) {
            return items;
        }
    }
}

/// Receives until each topic has shown its end; how many each has had before.
async fn subscribe(mut subscription: Subscription, topics: Vec<Topic>) -> BTreeMap<Topic, u64> {
    let mut received: BTreeMap<Topic, u64> = topics.into_iter().map(|topic| (topic, 0)).collect();
    let mut open = received.len();
    while open > 0 {
        match subscription.next().await.unwrap() {
            Item::Message(message) if message.payload == END => open -= 1,
            Item::Message(message) => {
                let next = received.get_mut(&message.topic).unwrap();
                assert_eq!(message.payload, next.to_string().as_bytes(), "{}", message.topic);
                *next += 1;
            }
            other => panic!("{other:?} behind {received:?}"),
        }
    }
    received
}
