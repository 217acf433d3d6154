mod announced;
mod chaos;
mod nodes;
mod refreshes;
mod replicas;
mod requests;
mod settings;
mod topology;

use std::collections::BTreeMap;
use std::time::Duration;

use super::*;
use crate::timer::epoch;

const SECOND: Duration = Duration::from_secs(1);
const MILLI: Duration = Duration::from_millis(1);
/// The defaults, as the tests rely on them.
const LEAST_PAUSE: Duration = Duration::from_millis(250);
const GRACE: Duration = Duration::from_secs(5);

/// An owner of the machine, in virtual time: it obeys, and checks that what it is told can be obeyed.
struct World {
    cluster: Cluster,
    now: Instant,
    /// The clients that are open, and where.
    open: BTreeMap<NodeId, Endpoint>,
    /// Questions that are not answered yet.
    asked: Vec<(QueryId, NodeId, TopologyRequest)>,
    /// Those whose node has been closed, and whose answer may come all the same.
    late: Vec<(QueryId, NodeId, TopologyRequest)>,
    /// When the last of them was put.
    asked_at: Option<Instant>,
    table: Arc<Table>,
    /// All that was decided and not looked at.
    decided: Vec<Decision>,
}

fn endpoint(text: &str) -> Endpoint {
    Endpoint::parse(text, 6379).unwrap()
}

/// A node as CLUSTER SLOTS lists it, written `id@host:port`; without an id `host:port`. A host of `-` is null.
fn listed(node: &str) -> Frame {
    let (id, address) = node.split_once('@').map_or((None, node), |(id, address)| (Some(id), address));
    let (host, port) = address.rsplit_once(':').unwrap();
    let host = if host == "-" { Frame::Null } else { Frame::bulk(host.to_owned()) };
    let port = Frame::Integer(port.parse().unwrap());
    Frame::Array([host, port].into_iter().chain(id.map(|id| Frame::bulk(id.to_owned()))).collect())
}

/// An answer to CLUSTER SLOTS: ranges with their primary and replicas.
fn slots(ranges: &[(u16, u16, &[&str])]) -> Frame {
    let range = |(start, end, nodes): &(u16, u16, &[&str])| {
        let ends = [start, end].map(|slot| Frame::Integer(i64::from(*slot)));
        Frame::Array(ends.into_iter().chain(nodes.iter().map(|node| listed(node))).collect())
    };
    Frame::Array(ranges.iter().map(range).collect())
}

const A: &str = "a@10.0.0.1:7000";
const B: &str = "b@10.0.0.2:7000";
const C: &str = "c@10.0.0.3:7000";
/// A replica of `A`.
const D: &str = "d@10.0.0.4:7000";

/// Three shards, of which the first has a replica.
fn three_shards() -> Frame {
    slots(&[(0, 5_460, &[A, D]), (5_461, 10_922, &[B]), (10_923, 16_383, &[C])])
}

impl World {
    fn new(settings: Settings, seeds: &[&str]) -> Self {
        let seeds = seeds.iter().map(|seed| endpoint(seed)).collect();
        Self {
            cluster: Cluster::new(settings, seeds, 42),
            now: epoch() + 1_000 * SECOND,
            open: BTreeMap::new(),
            asked: Vec::new(),
            late: Vec::new(),
            asked_at: None,
            table: Arc::new(Table::empty()),
            decided: Vec::new(),
        }
    }

    /// One that knows [`three_shards`], all primaries connected.
    fn of_three_shards() -> Self {
        Self::started(Settings::default(), &three_shards())
    }

    fn started(settings: Settings, topology: &Frame) -> Self {
        let mut world = Self::new(settings, &["10.0.0.1:7000"]);
        world.tell(|cluster, now| cluster.handle_start(now));
        world.ready("10.0.0.1:7000");
        world.pass(MILLI);
        world.answer(topology);
        world.all_ready();
        world.decided.clear();
        world
    }

    /// Tells a fact, and obeys.
    fn tell<T>(&mut self, fact: impl FnOnce(&mut Cluster, Instant) -> T) -> T {
        let result = fact(&mut self.cluster, self.now);
        self.obey();
        result
    }

    fn obey(&mut self) {
        while let Some(decision) = self.cluster.poll_decision() {
            match &decision {
                Decision::Open { node, endpoint, .. } | Decision::Retarget { node, endpoint, .. } => {
                    self.open.insert(*node, endpoint.clone());
                }
                Decision::Readdress { node, .. } => assert!(self.open.contains_key(node)),
                Decision::Close { node } => {
                    assert!(self.open.remove(node).is_some(), "{node} was not open");
                    self.late.extend(self.asked.pop_if(|(_, asked, _)| asked == node));
                    assert!(self.table.shards().iter().all(|shard| shard.primary() != *node));
                    assert!(self.table.shards().iter().all(|shard| !shard.readable().contains(node)));
                }
                Decision::AskTopology { query, node, request } => {
                    assert!(self.open.contains_key(node));
                    // One question at a time: another one follows only when the time of the last one is over.
                    let limit = self.cluster.settings.query_timeout();
                    let is_over = self.asked_at.is_some_and(|at| self.now - at >= limit);
                    assert!(self.asked.is_empty() || is_over);
                    self.asked = vec![(*query, *node, *request)];
                    self.asked_at = Some(self.now);
                }
                Decision::SwapTable(table) => {
                    assert_ne!(*table, self.table);
                    assert!(table.shards().iter().all(|shard| self.open.contains_key(&shard.primary())));
                    let readable = || table.shards().iter().flat_map(Shard::readable);
                    assert!(readable().all(|node| self.cluster.nodes.is_ready(*node)));
                    assert!(
                        readable().all(|node| table.shards().iter().all(|shard| shard.primary() != *node))
                    );
                    self.table = Arc::clone(table);
                }
                Decision::Emit(event) => assert!(!event.to_string().is_empty()),
            }
            self.decided.push(decision);
        }
        assert!(Arc::ptr_eq(self.cluster.table(), &self.table) || self.swaps() == 0);
        assert!(self.cluster.poll_timeout().is_none_or(|at| at > self.now), "it would be asked for ever");
    }

    /// Lets time pass, and calls back whenever that is wanted.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(at) = self.cluster.poll_timeout().filter(|at| *at <= end) {
            self.now = at;
            self.tell(Cluster::handle_timeout);
        }
        self.now = end;
    }

    /// The node at this address.
    fn at(&self, address: &str) -> NodeId {
        let there = endpoint(address);
        let mut nodes = self.open.iter().filter(|(_, endpoint)| **endpoint == there);
        *nodes.next().unwrap_or_else(|| panic!("nothing is open at {address}")).0
    }

    fn a(&self) -> NodeId {
        self.at("10.0.0.1:7000")
    }

    fn b(&self) -> NodeId {
        self.at("10.0.0.2:7000")
    }

    fn ready(&mut self, address: &str) {
        let node = self.at(address);
        self.tell(|cluster, now| cluster.handle_node_ready(now, node));
    }

    fn all_ready(&mut self) {
        for node in self.open.keys().copied().collect::<Vec<_>>() {
            self.tell(|cluster, now| cluster.handle_node_ready(now, node));
        }
    }

    fn fail(&mut self, node: NodeId) {
        self.asked.retain(|(_, asked, _)| *asked != node);
        self.tell(|cluster, now| cluster.handle_node_failed(now, node));
    }

    /// Answers the question that is open, and says who was asked for what.
    fn answer(&mut self, reply: &Frame) -> (NodeId, TopologyRequest) {
        let (query, node, request) = self.asked.pop().expect("somebody is asked");
        self.tell(|cluster, now| cluster.handle_topology(now, query, reply));
        (node, request)
    }

    /// Lets time pass until somebody is asked, and answers.
    fn answer_next(&mut self, reply: &Frame) -> NodeId {
        self.until_asked();
        self.pass(MILLI);
        self.answer(reply).0
    }

    /// Lets time pass in which every node is ready, and answers like this.
    fn pass_in_peace(&mut self, time: Duration, topology: &Frame) {
        let end = self.now + time;
        while self.now < end {
            self.all_ready();
            while !self.asked.is_empty() {
                self.pass(MILLI);
                // Unless the node has been closed meanwhile.
                if !self.asked.is_empty() {
                    self.answer(topology);
                }
            }
            let next = self.cluster.poll_timeout().filter(|at| *at < end);
            self.pass(next.unwrap_or(end).saturating_duration_since(self.now));
        }
    }

    /// How long it takes until somebody is asked.
    fn until_asked(&mut self) -> Duration {
        let begin = self.now;
        while self.asked.is_empty() {
            self.now = self.cluster.poll_timeout().expect("somebody will be asked");
            self.tell(Cluster::handle_timeout);
        }
        self.now - begin
    }

    fn owner(&self, slot: u16) -> Option<NodeId> {
        self.table.node_of(slot)
    }

    /// A request for `slot` that is sent now to where the table leads.
    fn sent(&self, slot: u16) -> Sent {
        Sent {
            node: self.owner(slot),
            slot: Some(slot),
            sent_at: self.now,
            asking: false,
            deadline: None,
            kind: SentKind::Command,
            trail: Trail::default(),
        }
    }

    /// The reply to `sent` is this error.
    fn refuse(&mut self, sent: &Sent, error: &str) -> Next {
        let error = ServerError::from_frame(&Frame::error(error.to_owned())).unwrap();
        self.tell(|cluster, now| cluster.handle_refusal(now, sent, &error))
    }

    fn notify(&mut self, node: NodeId, push: &[&'static str]) {
        let push: Vec<Frame> = push.iter().copied().map(Frame::bulk).collect();
        let notification = Notification::parse(&push).unwrap().unwrap();
        self.tell(|cluster, now| cluster.handle_notification(now, node, &notification));
    }

    fn events(&self) -> Vec<&ClusterEvent> {
        let events = self.decided.iter().filter_map(|decision| match decision {
            Decision::Emit(event) => Some(event),
            _ => None,
        });
        events.collect()
    }

    fn failures(&self) -> Vec<TopologyError> {
        let error = |event| match event {
            &ClusterEvent::RefreshFailed { error, .. } => Some(error),
            _ => None,
        };
        self.events().into_iter().filter_map(error).collect()
    }

    fn swaps(&self) -> usize {
        self.decided.iter().filter(|decision| matches!(decision, Decision::SwapTable(_))).count()
    }
}

/// Where a request is sent at once.
fn resent(next: Next) -> (NodeId, bool) {
    match next {
        Next::Resend { node, asking, after: Duration::ZERO, .. } => (node, asking),
        other => panic!("{other:?}"),
    }
}

/// How long a request waits, and what it has come through by then.
fn waits(next: Next) -> (Duration, Trail) {
    match next {
        Next::Resend { after, trail, .. } | Next::Route { after, trail } => (after, trail),
        Next::ReturnToCaller => panic!("it is given up"),
    }
}
