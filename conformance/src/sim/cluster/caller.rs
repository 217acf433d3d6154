//! The load of a cluster: tasks that send requests of all kinds on keys of their own, and know what each reply must be.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use hitless_core::driver::{ClusterClient, Error, Runtime as _};
use hitless_core::error::Delivery;
use hitless_core::guide::Rng;
use hitless_core::request::{Outcome, Pipeline, Request, SendError};
use resp3_codec::{Command, Frame, cmd};

use super::super::caller::{Keys, is_refusal, several, single, token, within};
use super::super::faults::up_to;
use super::super::runtime::Executor;
use super::super::trace::{RequestKind, Trace, What};

/// The longest that an impatient caller waits.
const PATIENCE: Duration = Duration::from_millis(400);

/// A task that sends requests on keys of its own.
pub(super) struct ClusterCaller {
    pub(super) executor: Executor,
    pub(super) client: ClusterClient<Executor>,
    pub(super) trace: Trace,
    pub(super) rng: Rng,
    pub(super) number: usize,
    /// The number of the next request of all tasks.
    pub(super) numbers: Arc<AtomicU64>,
    /// Requests that it sends, at least.
    pub(super) quota: usize,
    /// It goes on until then.
    pub(super) until: Instant,
    pub(super) think: Duration,
    pub(super) is_impatient: bool,
    pub(super) account: Account,
}

/// What a task knows of its keys, and which keys each of its requests was about.
#[derive(Debug)]
pub(super) struct Account {
    pub(super) tags: Vec<Tag>,
    pub(super) asked: BTreeMap<u64, Vec<String>>,
}

/// What a task knows of the keys with one hash tag: a counter, a value, and two values that are written together.
#[derive(Debug)]
pub(super) struct Tag {
    pub(super) name: String,
    pub(super) keys: Keys,
    /// What both keys of the pair have.
    pair: Keys,
}

impl Tag {
    fn new(name: &str) -> Self {
        let keys = Keys::named(format!("{name}counter"), format!("{name}key"));
        let pair = Keys::named(String::new(), format!("{name}pair"));
        Self { name: name.to_owned(), keys, pair }
    }
}

impl Account {
    pub(super) fn of(tags: &[String]) -> Self {
        Self { tags: tags.iter().map(|tag| Tag::new(tag)).collect(), asked: BTreeMap::new() }
    }
}

/// A request and what its replies must be.
struct Asked {
    number: u64,
    kind: RequestKind,
    token: String,
    /// Which of the tags it is about.
    tags: Vec<usize>,
    what: Ask,
}

enum Ask {
    Request(Request),
    /// A command over several slots.
    Split(Command),
}

/// What came of it; none if the client is full.
type Ended = Option<Outcome>;

impl ClusterCaller {
    /// Sends its requests and sees that each is answered as it must be.
    pub(super) async fn run(mut self) -> Account {
        let mut sent = 0;
        while sent < self.quota || self.executor.now() < self.until {
            let tags = self.some_tags();
            if self.rng.below(6) == 0 {
                // One for each tag, all at the same time: what is about one tag comes one after the other.
                sent += tags.len();
                self.burst(&tags).await;
            } else {
                sent += 1;
                let asked = self.ask(tags);
                self.one(asked).await;
            }
            let pause = up_to(&mut self.rng, self.think * 2);
            self.executor.sleep(pause).await;
        }
        self.trace.note(What::TaskDone(self.number));
        self.account
    }

    /// All of them, or all from one on.
    fn some_tags(&mut self) -> Vec<usize> {
        let count = self.account.tags.len();
        let first = self.rng.below(count as u64) as usize;
        (first..count).collect()
    }

    async fn one(&mut self, asked: Asked) {
        let patience = if self.is_impatient {
            Some(Duration::from_millis(20) + up_to(&mut self.rng, PATIENCE))
        } else {
            (self.rng.below(12) == 0).then(|| up_to(&mut self.rng, Duration::from_millis(4)))
        };
        let Asked { number, kind, token, tags, what } = asked;
        let ended = send(&self.client, what);
        match within(&self.executor, patience, ended).await {
            None => self.give_up(number, kind, &token, &tags),
            Some(ended) => self.end(number, kind, &token, &tags, ended),
        }
    }

    async fn burst(&mut self, tags: &[usize]) {
        let mut pending = Vec::new();
        for tag in tags {
            let Asked { number, kind, token, tags, what } = self.ask(vec![*tag]);
            let client = self.client.clone();
            pending.push((number, kind, token, tags, Box::pin(async move { send(&client, what).await })));
        }
        // A request is sent when its future is polled first, and goes on while it is polled.
        let mut is_first = true;
        std::future::poll_fn(|cx| {
            pending.retain_mut(|(number, kind, token, tags, ended)| match ended.as_mut().poll(cx) {
                Poll::Ready(ended) => {
                    self.end(*number, *kind, token, tags, ended);
                    false
                }
                Poll::Pending if is_first && self.rng.below(8) == 0 => {
                    self.give_up(*number, *kind, token, tags);
                    false
                }
                Poll::Pending => true,
            });
            is_first = false;
            if pending.is_empty() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// A request about these tags, or the first of them.
    fn ask(&mut self, mut tags: Vec<usize>) -> Asked {
        let kind = match self.rng.below(16) {
            0..3 => RequestKind::Incr,
            3 | 4 => RequestKind::Set,
            5 | 6 => RequestKind::Get,
            7 => RequestKind::Echo,
            8 | 9 => RequestKind::Pipeline,
            10 | 11 => RequestKind::Atomic,
            12 => RequestKind::Mset,
            13 => RequestKind::Mget,
            14 => RequestKind::SplitMset,
            _ => RequestKind::SplitMget,
        };
        match kind {
            RequestKind::Pipeline | RequestKind::SplitMset | RequestKind::SplitMget => {}
            RequestKind::Echo => tags.clear(),
            _ => tags.truncate(1),
        }
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        let (task, token) = (self.number, token(number));
        self.trace.note(What::Sent { task, request: number, kind });
        let names: Vec<String> = tags.iter().map(|tag| self.account.tags[*tag].name.clone()).collect();
        let what = what(kind, &token, &names);
        self.account.asked.insert(number, names);
        Asked { number, kind, token, tags, what }
    }

    fn give_up(&mut self, request: u64, kind: RequestKind, token: &str, tags: &[usize]) {
        self.trace.note(What::Cancelled { task: self.number, request });
        self.doubt(kind, token, tags);
    }

    /// It is not known whether this request ran.
    fn doubt(&mut self, kind: RequestKind, token: &str, tags: &[usize]) {
        for tag in tags {
            let tag = &mut self.account.tags[*tag];
            match kind {
                RequestKind::Mset => tag.pair.doubt(RequestKind::Set, token.to_owned()),
                RequestKind::SplitMset => tag.keys.doubt(RequestKind::Set, token.to_owned()),
                kind => tag.keys.doubt(kind, token.to_owned()),
            }
        }
    }

    fn end(&mut self, request: u64, kind: RequestKind, token: &str, tags: &[usize], ended: Ended) {
        let task = self.number;
        let what = match ended {
            None => What::NotAccepted { task, request },
            Some(Ok(replies)) if replies.iter().any(|reply| is_refused(kind, reply)) => {
                self.refused(kind, token, tags, &replies);
                What::Refused { task, request }
            }
            Some(Ok(replies)) => {
                self.check(kind, token, tags, &replies);
                What::Replied { task, request }
            }
            Some(Err(error)) => {
                // Of several parts some may have run.
                if error.delivery() == Delivery::Unknown || kind == RequestKind::SplitMset {
                    self.doubt(kind, token, tags);
                }
                What::Failed { task, request, error }
            }
        };
        self.trace.note(what);
    }

    /// Nothing of what was refused has run; of a pipeline and of a command that was split the rest has.
    fn refused(&mut self, kind: RequestKind, token: &str, tags: &[usize], replies: &[Frame]) {
        match kind {
            RequestKind::Pipeline => {
                for (tag, replies) in tags.iter().zip(replies.chunks(3)) {
                    self.account.tags[*tag].keys.refused(kind, token.to_owned(), replies);
                }
            }
            RequestKind::SplitMset => self.doubt(kind, token, tags),
            RequestKind::SplitMget if !replies.iter().any(is_refusal) => {
                self.check(kind, token, tags, replies);
            }
            RequestKind::Atomic => {
                tags.iter()
                    .for_each(|tag| self.account.tags[*tag].keys.refused(kind, token.to_owned(), replies));
            }
            _ => {}
        }
    }

    /// Replies are those of this request. INV-02
    fn check(&mut self, kind: RequestKind, token: &str, tags: &[usize], replies: &[Frame]) {
        let all = &mut self.account.tags;
        match (kind, replies, tags) {
            (RequestKind::Pipeline, replies, tags) => {
                assert_eq!(replies.len(), 3 * tags.len(), "INV-02: the replies of a pipeline: {replies:?}");
                for (tag, replies) in tags.iter().zip(replies.chunks(3)) {
                    all[*tag].keys.check(kind, token.to_owned(), replies);
                }
            }
            (RequestKind::Mset, [ok], [tag]) => all[*tag].pair.acknowledge(ok, token.to_owned()),
            (RequestKind::Mget, [both], [tag]) => {
                let Some([one, other]) = both.as_array() else { panic!("INV-02: a pair is {both:?}") };
                assert_eq!(one, other, "RULE-419: a pair is torn");
                all[*tag].pair.known(one);
            }
            (RequestKind::SplitMset, [ok], tags) => {
                tags.iter().for_each(|tag| all[*tag].keys.acknowledge(ok, token.to_owned()));
            }
            (RequestKind::SplitMget, [values], tags) => {
                let values = values.as_array().unwrap_or_default();
                assert_eq!(values.len(), tags.len(), "INV-02: a value for each key: {values:?}");
                for (tag, value) in tags.iter().zip(values) {
                    // An error stands in the place of what one part has not read.
                    if !is_refusal(value) {
                        all[*tag].keys.known(value);
                    }
                }
            }
            (RequestKind::Echo, replies, _) => Keys::default().check(kind, token.to_owned(), replies),
            (kind, replies, [tag]) => all[*tag].keys.check(kind, token.to_owned(), replies),
            (kind, replies, tags) => panic!("INV-02: {kind:?} of {tags:?} has the replies {replies:?}"),
        }
    }
}

/// Whether a request is refused; of a read that was split, be it one part.
fn is_refused(kind: RequestKind, reply: &Frame) -> bool {
    let parts = reply.as_array().filter(|_| kind == RequestKind::SplitMget).unwrap_or_default();
    is_refusal(reply) || parts.iter().any(is_refusal)
}

/// What is sent.
fn what(kind: RequestKind, token: &str, names: &[String]) -> Ask {
    let key = |name: &String| format!("{name}key");
    let commands = |name: &String| {
        [
            cmd("SET").arg(key(name)).arg(token),
            cmd("GET").arg(key(name)),
            cmd("INCR").arg(format!("{name}counter")),
        ]
    };
    let all = || names.iter().flat_map(commands);
    let first = || names.first().map(commands);
    let pair = |name: &String| ["a", "b"].map(|end| format!("{name}pair.{end}"));
    let request = match (kind, first(), names.first().map(pair)) {
        (RequestKind::Set, Some([set, ..]), _) => single(set),
        (RequestKind::Get, Some([_, get, _]), _) => single(get),
        (RequestKind::Incr, Some([.., incr]), _) => single(incr),
        (RequestKind::Mset, _, Some([a, b])) => single(cmd("MSET").arg(a).arg(token).arg(b).arg(token)),
        (RequestKind::Mget, _, Some(both)) => single(cmd("MGET").args(both)),
        (RequestKind::Pipeline, ..) => several(all().fold(Pipeline::new(), Pipeline::command)),
        (RequestKind::Atomic, ..) => several(all().fold(Pipeline::atomic(), Pipeline::command)),
        (RequestKind::SplitMset, ..) => {
            return Ask::Split(names.iter().fold(cmd("MSET"), |mset, name| mset.arg(key(name)).arg(token)));
        }
        (RequestKind::SplitMget, ..) => return Ask::Split(cmd("MGET").args(names.iter().map(key))),
        _ => single(cmd("ECHO").arg(token)),
    };
    Ask::Request(request)
}

/// Sends a request when it is polled first.
async fn send(client: &ClusterClient<Executor>, what: Ask) -> Ended {
    match what {
        Ask::Request(request) => match client.send(request) {
            Ok(reply) => Some(reply.await),
            Err(SendError::NoRoute { reason, .. }) => panic!("RULE-363: no node for a request: {reason}"),
            Err(_) => None,
        },
        Ask::Split(command) => match client.call_split(command).await {
            Ok(frame) => Some(Ok([frame].into_iter().collect())),
            Err(Error::Server(error)) => {
                Some(Ok([Frame::Error(error.to_string().into())].into_iter().collect()))
            }
            Err(Error::Request(error)) => Some(Err(error)),
            Err(Error::Send(_)) => None,
            Err(error) => panic!("INV-03: a command that was split: {error}"),
        },
    }
}
