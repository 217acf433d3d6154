use std::hash::Hasher;

use super::{Accepted, Request};
use crate::fingerprint::{Digest, Fingerprint};
use crate::request::Size;

impl Fingerprint for Accepted {
    fn fingerprint<H: Hasher>(&self, digest: &mut Digest<'_, H>) {
        let Self { id, request, accepted_at, deadline, deferrals, delivery, losses } = self;
        // What the bytes say does not matter but for their number, nor which generation of the place of its id this is.
        let Request { payload: _, replies, class, replay, timeout, has_script, vetting, special } = request;
        digest.value(&(
            id.index(),
            request.size() == Size::Large,
            replies,
            class,
            replay,
            timeout,
            has_script,
        ));
        digest.value(&(vetting, special));
        digest.value(&(deferrals, delivery, losses));
        digest.instant(*accepted_at);
        digest.deadline_if_any(*deadline);
    }
}
