//! A naive driver: it sends a request where the newest table or the machine says, and tells what comes back.

use std::hash::{DefaultHasher, Hash as _};
use std::time::Instant;

use hitless_core::cluster::{Next, Sent, SentKind, Trail};
use hitless_core::error::ServerError;
use hitless_core::ids::NodeId;

use super::servers::{SLOT, Said};
use super::{ClusterModel, State};
use crate::explore::scope::Server;
use crate::explore::search::Violation;

/// How many redirects a request follows.
pub(super) const MAX_REDIRECTS: u32 = 6;
/// A request that is sent on so many times at one instant runs in a ring.
const RING: u32 = 50;

/// Which way a request was handed to the client of a node.
#[derive(Clone, Copy, Debug)]
pub(super) struct Way {
    pub(super) node: NodeId,
    server: Server,
    asking: bool,
    sent_at: Instant,
}

/// Where a request is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Stage {
    /// It is sent then: to this node, with ASKING or not, or by the table.
    Pauses {
        until: Instant,
        to: Option<(NodeId, bool)>,
    },
    /// In the client of a node that is not connected yet.
    Queued(Way),
    Written(Way),
    /// The node has said this, which is still to be read.
    Answered(Way, Said),
}

/// A request, and what became of it so far.
#[derive(Clone, Copy, Debug)]
pub(super) struct Caller {
    kind: SentKind,
    trail: Trail,
    /// Redirects that it followed, and new tables that have led it elsewhere.
    followed: u32,
    has_run: bool,
    pub(super) stage: Stage,
}

impl Caller {
    pub(super) fn fingerprint(&self, now: Instant, hasher: &mut DefaultHasher) {
        (self.kind, self.trail, self.followed, self.has_run).hash(hasher);
        let mut take_in = |way: &Way| {
            (way.node.index(), way.server, way.asking).hash(hasher);
            now.saturating_duration_since(way.sent_at).hash(hasher);
        };
        match &self.stage {
            Stage::Pauses { until, to } => {
                until.saturating_duration_since(now).hash(hasher);
                to.map(|(node, asking)| (node.index(), asking)).hash(hasher);
            }
            Stage::Queued(way) => take_in(way),
            Stage::Written(way) => {
                take_in(way);
                1_u8.hash(hasher);
            }
            Stage::Answered(way, said) => {
                take_in(way);
                said.hash(hasher);
            }
        }
    }

    /// Whether it was handed to the client of the node at `server`.
    pub(super) fn is_at(&self, server: Server) -> bool {
        match &self.stage {
            Stage::Pauses { .. } => false,
            Stage::Queued(way) | Stage::Written(way) | Stage::Answered(way, _) => way.server == server,
        }
    }
}

impl ClusterModel {
    /// Somebody sends a request.
    pub(super) fn send(&mut self, kind: SentKind) -> Result<(), Violation> {
        let stage = Stage::Pauses { until: self.now, to: None };
        let trail = Trail::default();
        self.dispatch(Caller { kind, trail, followed: 0, has_run: false, stage }, None)
    }

    /// Those whose pauses are over go on.
    pub(super) fn resume(&mut self) -> Result<(), Violation> {
        let now = self.now;
        let is_due = |it: &mut Caller| matches!(it.stage, Stage::Pauses { until, .. } if until <= now);
        for caller in self.callers.extract_if(.., is_due).collect::<Vec<_>>() {
            let Stage::Pauses { to, .. } = caller.stage else { continue };
            self.dispatch(caller, to)?;
        }
        Ok(())
    }

    /// The client of `node` is connected: what waits there is written.
    pub(super) fn flush(&mut self, node: NodeId) {
        for caller in &mut self.callers {
            if let Stage::Queued(way) = caller.stage
                && way.node == node
            {
                caller.stage = Stage::Written(way);
            }
        }
    }

    /// The client of `node` gives back what it has not written.
    pub(super) fn give_back(&mut self, node: NodeId) -> Result<(), Violation> {
        let waits = |it: &mut Caller| matches!(it.stage, Stage::Queued(way) if way.node == node);
        for caller in self.callers.extract_if(.., waits).collect::<Vec<_>>() {
            let Stage::Queued(way) = caller.stage else { continue };
            let sent = self.sent(&caller, Some(way.node), way.asking, way.sent_at);
            let next = self.cluster.handle_unsent(self.now, &sent);
            let followed = caller.followed + self.leads_elsewhere(&sent);
            self.go_on(Caller { followed, ..caller }, next)?;
        }
        Ok(())
    }

    /// The connections to `server` are gone: what was written there may have run, and its callers are told so.
    pub(super) fn lose(&mut self, server: Server) {
        self.callers.retain(|caller| {
            matches!(caller.stage, Stage::Pauses { .. } | Stage::Queued(_)) || !caller.is_at(server)
        });
    }

    /// The node that has the nth request carries it out or not.
    pub(super) fn serve(&mut self, nth: u8, refuses: bool) -> Result<(), Violation> {
        let Some(caller) = self.callers.get_mut(usize::from(nth)) else { return Ok(()) };
        let Stage::Written(way) = caller.stage else { return Ok(()) };
        let mut said = self.servers.serve(way.server, way.asking);
        if refuses {
            said = if caller.kind == SentKind::Script { Said::ReadOnly } else { self.servers.refuse() };
        }
        if matches!(said, Said::Done | Said::ReadOnly) {
            if caller.has_run {
                return Violation::of("RULE-344: a request runs twice");
            }
            caller.has_run = true;
        }
        caller.stage = Stage::Answered(way, said);
        Ok(())
    }

    /// What a node has said to the nth request is read.
    pub(super) fn read_reply(&mut self, nth: u8) -> Result<(), Violation> {
        let caller = self.callers.remove(usize::from(nth));
        let Stage::Answered(way, said) = caller.stage else { return Ok(()) };
        let frame = said.frame();
        let Some(error) = ServerError::from_frame(&frame) else { return Ok(()) };
        match said {
            Said::Moved(to) => self.judge.note_moved(way.sent_at, to),
            Said::Down => self.judge.note_reason(way.sent_at),
            Said::Done | Said::Ask(_) | Said::TryAgain | Said::ReadOnly => {}
        }
        let sent = self.sent(&caller, Some(way.node), way.asking, way.sent_at);
        let next = self.cluster.handle_refusal(self.now, &sent, &error);
        if next == Next::ReturnToCaller {
            let is_at_limit = caller.followed >= MAX_REDIRECTS;
            return match said {
                Said::ReadOnly => Ok(()),
                Said::Moved(_) | Said::Ask(_) if is_at_limit => Ok(()),
                _ => Violation::of(format!("RULE-345: a request is given up at {said:?}: {caller:?}")),
            };
        }
        let stays =
            matches!(next, Next::Resend { node, asking, .. } if (node, asking) == (way.node, way.asking));
        if said == Said::TryAgain && !stays {
            return Violation::of(format!("RULE-329: after TRYAGAIN: {next:?}"));
        }
        let is_redirect = matches!(said, Said::Moved(_) | Said::Ask(_));
        let followed = caller.followed + u32::from(is_redirect);
        if is_redirect && followed > MAX_REDIRECTS {
            return Violation::of(format!("RULE-345: {followed} redirects are followed"));
        }
        self.go_on(Caller { followed, ..caller }, next)
    }

    /// Does with a request that did not run as the machine says.
    fn go_on(&mut self, caller: Caller, next: Next) -> Result<(), Violation> {
        let (to, after, trail) = match next {
            Next::Resend { node, asking, after, trail } => {
                self.note_use(node);
                (Some((node, asking)), after, trail)
            }
            Next::Route { after, trail } => (None, after, trail),
            _ => return Violation::of(format!("RULE-345: a request is not sent any more: {caller:?}")),
        };
        let caller = Caller { trail, stage: Stage::Pauses { until: self.now + after, to }, ..caller };
        // What is decided with it comes first: a node may have to be opened.
        self.obey()?;
        if after.is_zero() {
            return self.dispatch(caller, to);
        }
        self.callers.push(caller);
        Ok(())
    }

    /// Hands a request to the client of a node.
    fn dispatch(&mut self, mut caller: Caller, mut to: Option<(NodeId, bool)>) -> Result<(), Violation> {
        for _ in 0..RING {
            let (node, asking) = match to {
                Some((node, asking)) => (Some(node), asking),
                None => (self.cluster.table().node_of(SLOT), false),
            };
            if let Some(stage) = node.and_then(|node| self.handed_to(node, asking)) {
                self.callers.push(Caller { stage, ..caller });
                return Ok(());
            }
            let sent = self.sent(&caller, node, asking, self.now);
            let next = self.cluster.handle_unsent(self.now, &sent);
            caller.followed += self.leads_elsewhere(&sent);
            self.obey()?;
            let after;
            (to, after, caller.trail) = match next {
                Next::Resend { node, asking, after, trail } => (Some((node, asking)), after, trail),
                Next::Route { after, trail } => (None, after, trail),
                _ => return Violation::of(format!("RULE-345: a request is not sent: {caller:?}")),
            };
            if !after.is_zero() {
                caller.stage = Stage::Pauses { until: self.now + after, to };
                self.callers.push(caller);
                return Ok(());
            }
        }
        Violation::of(format!("RULE-345: a request is sent in a ring: {caller:?}"))
    }

    /// Where a request is that goes to `node`; `None` if its client gives it back.
    fn handed_to(&self, node: NodeId, asking: bool) -> Option<Stage> {
        let client = self.client(node)?;
        let way = Way { node, server: client.server, asking, sent_at: self.now };
        match client.state {
            State::Opening => Some(Stage::Queued(way)),
            State::Ready => Some(Stage::Written(way)),
            State::Failed => None,
        }
    }

    /// 1 if the table leads a request that could not be sent to another node, which counts like a redirect.
    fn leads_elsewhere(&self, sent: &Sent) -> u32 {
        let leads_to = self.cluster.table().node_of(SLOT);
        u32::from(!sent.asking && leads_to.is_some() && leads_to != sent.node)
    }

    fn sent(&self, caller: &Caller, node: Option<NodeId>, asking: bool, sent_at: Instant) -> Sent {
        let Caller { kind, trail, .. } = *caller;
        Sent { node, slot: Some(SLOT), sent_at, asking, deadline: None, kind, trail }
    }
}
