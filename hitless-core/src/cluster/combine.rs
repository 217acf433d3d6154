//! One reply out of those of several nodes.

use resp3_codec::Frame;

/// What the replies of several nodes to one command are together. Source: the tip `response_policy`
/// (<https://redis.io/docs/latest/develop/reference/command-tips/>).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Combine {
    /// The sum of integers.
    Sum,
    /// The smallest integer.
    Min,
    /// 1 where all have 1, else 0; place by place if the replies are arrays.
    And,
    /// The first reply, as all of them have succeeded.
    AllSucceeded,
    /// The first reply that is no error. If there is none, the first error that is not NOTBUSY, by which a node says that the command
    /// has nothing to do there.
    OneSucceeded,
    /// The elements of all arrays, those of the first reply in front.
    Concatenate,
}

impl Combine {
    /// The reply to the whole. An error of a node is the reply to the whole, as some of it is missing, but for
    /// [`OneSucceeded`](Self::OneSucceeded). `None` if there is no reply, or one is of a kind that cannot be combined in this way.
    #[must_use]
    pub fn join(self, replies: Vec<Frame>) -> Option<Frame> {
        let first_that = |is_error| replies.iter().position(|reply| reply.is_error() == is_error);
        let one = match self {
            Self::OneSucceeded => {
                let is_idle =
                    |reply: &Frame| reply.as_error().is_some_and(|text| text.starts_with(b"NOTBUSY"));
                first_that(false).or_else(|| replies.iter().position(|reply| !is_idle(reply))).or(Some(0))
            }
            _ => first_that(true),
        };
        if let Some(one) = one {
            return replies.into_iter().nth(one);
        }
        match self {
            Self::AllSucceeded | Self::OneSucceeded => replies.into_iter().next(),
            Self::Concatenate => {
                let arrays = replies.into_iter().map(Frame::into_array).collect::<Option<Vec<_>>>()?;
                (!arrays.is_empty()).then(|| Frame::Array(arrays.into_iter().flatten().collect()))
            }
            Self::Sum => each(replies, |one, other| one.checked_add(other)),
            Self::Min => each(replies, |one, other| Some(one.min(other))),
            Self::And => each(replies, |one, other| Some(i64::from(one != 0 && other != 0))),
        }
    }
}

/// Folds integers, or arrays of them place by place.
fn each(replies: Vec<Frame>, fold: impl Fn(i64, i64) -> Option<i64>) -> Option<Frame> {
    let both = |one: &Frame, other: &Frame| fold(one.as_int()?, other.as_int()?).map(Frame::Integer);
    let mut replies = replies.into_iter().map(Frame::without_attributes);
    let first = replies.next()?;
    let whole = replies.try_fold(first, |whole, reply| match (&whole, &reply) {
        (Frame::Array(whole), Frame::Array(reply)) if whole.len() == reply.len() => whole
            .iter()
            .zip(reply)
            .map(|(one, other)| both(one, other))
            .collect::<Option<_>>()
            .map(Frame::Array),
        (one, other) => both(one, other),
    })?;
    // One reply alone is looked at, too.
    let is_whole = |frame: &Frame| matches!(frame.value(), Frame::Integer(_));
    let is_of_integers = match &whole {
        Frame::Array(items) => items.iter().all(is_whole),
        other => is_whole(other),
    };
    is_of_integers.then_some(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn integers(numbers: &[i64]) -> Vec<Frame> {
        numbers.iter().copied().map(Frame::Integer).collect()
    }

    fn array(numbers: &[i64]) -> Frame {
        Frame::Array(integers(numbers))
    }

    /// What nodes have answered is one reply, or an error if one has failed. RULE-308
    #[test]
    fn the_replies_of_nodes_are_one() {
        let ok = || Frame::simple("OK");
        let error = || Frame::error("BUSY a script runs");
        for (combine, replies, expected) in [
            (Combine::Sum, integers(&[2, 3, 4]), Some(Frame::Integer(9))),
            (Combine::Sum, integers(&[2]), Some(Frame::Integer(2))),
            (Combine::Sum, vec![Frame::Integer(2), error()], Some(error())),
            (Combine::Sum, vec![ok()], None),
            (Combine::Sum, vec![ok(), Frame::Integer(2)], None),
            (Combine::Sum, integers(&[i64::MAX, 1]), None),
            (Combine::Min, integers(&[2, 1, 4]), Some(Frame::Integer(1))),
            (Combine::And, vec![array(&[1, 1, 0]), array(&[1, 0, 0])], Some(array(&[1, 0, 0]))),
            (Combine::And, vec![array(&[1, 1]), array(&[1])], None),
            (Combine::And, integers(&[1, 1]), Some(Frame::Integer(1))),
            (Combine::AllSucceeded, vec![ok(), ok()], Some(ok())),
            (Combine::AllSucceeded, vec![ok(), error()], Some(error())),
            (Combine::OneSucceeded, vec![error(), ok()], Some(ok())),
            (Combine::OneSucceeded, vec![error(), Frame::error("NOTBUSY")], Some(error())),
            (Combine::OneSucceeded, vec![Frame::error("NOTBUSY no script"), error()], Some(error())),
            (Combine::OneSucceeded, vec![Frame::error("NOTBUSY"); 2], Some(Frame::error("NOTBUSY"))),
            (Combine::Concatenate, vec![array(&[1, 2]), array(&[]), array(&[3])], Some(array(&[1, 2, 3]))),
            (Combine::Concatenate, vec![array(&[1]), ok()], None),
            (Combine::Concatenate, vec![array(&[1]), error()], Some(error())),
        ] {
            let case = format!("{combine:?} {replies:?}");
            assert_eq!(combine.join(replies), expected, "{case}");
        }
        let all = [Combine::Sum, Combine::Min, Combine::And, Combine::AllSucceeded, Combine::OneSucceeded];
        for combine in all.into_iter().chain([Combine::Concatenate]) {
            assert_eq!(combine.join(Vec::new()), None, "{combine:?}");
        }
    }
}
