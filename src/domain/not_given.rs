//! What Kubernetes says of memory that it does not give, read for its numbers.
//!
//! The words are those of the quota's admission (`exceeded quota: …`), of the LimitRanger (`maximum memory usage per …`) and
//! of the kubelet (`Node didn't have enough …`: what fits goes by requests). Other words keep what they say.

use super::{bytes::Bytes, quantity};

/// Why memory is not given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotGiven {
    /// A ResourceQuota.
    Quota(Quota),
    /// A `LimitRange`.
    LimitRange {
        /// What it bounds: `Container` or `Pod`.
        of: String,
        /// The most that it allows.
        most: Bytes,
        /// What was asked for.
        asked: Bytes,
    },
    /// The node.
    Node {
        /// What the pod would request.
        requested: Bytes,
        /// What others request; `None`: it would not fit on the empty node either.
        used: Option<Bytes>,
        /// What the node has for pods.
        allocatable: Bytes,
    },
    /// Something else, in its own words.
    Other(String),
}

/// A ResourceQuota that is exhausted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Its name.
    pub name: String,
    /// Of what it allows too little, which is memory; at least one.
    pub lacks: Vec<Lack>,
}

/// What a ResourceQuota allows too little of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lack {
    /// What it counts: `limits.memory`, `requests.memory` or `memory`.
    pub resource: String,
    /// What is needed beside what is used.
    pub needed: Bytes,
    /// What is used.
    pub used: Bytes,
    /// What it allows.
    pub hard: Bytes,
}

impl Lack {
    /// What it has to allow.
    pub fn wanted(&self) -> Bytes {
        self.used + self.needed
    }
}

impl NotGiven {
    /// Reads the text of the API server or the kubelet.
    pub fn read(text: &str) -> Self {
        quota(text)
            .map(Self::Quota)
            .or_else(|| limit_range(text))
            .or_else(|| node(text))
            .unwrap_or_else(|| Self::Other(text.to_owned()))
    }

    /// The reason with its numbers. Words of others are cut to `most` characters.
    pub fn why(&self, most: usize) -> String {
        match self {
            Self::Quota(Quota { name, lacks }) => {
                let lack = |Lack { resource, needed, used, hard }: &Lack| {
                    format!("{hard} of {resource}, {used} of it are used, and {needed} more are needed")
                };
                format!("quota {name} allows {}", lacks.iter().map(lack).collect::<Vec<_>>().join("; and "))
            }
            Self::LimitRange { of, most, asked } => {
                format!("a LimitRange allows at most {most} of memory for a {of}, and {asked} are asked for")
            }
            Self::Node { requested, used: Some(used), allocatable } => format!(
                "the node has {allocatable} for pods, others request {used} of it, {} are free, and the pod needs {requested}",
                allocatable.saturating_sub(*used)
            ),
            Self::Node { requested, used: None, allocatable } => {
                format!("the node has {allocatable} for pods in all, and the pod needs {requested}")
            }
            Self::Other(text) => text.chars().take(most).collect(),
        }
    }
}

/// `exceeded quota: NAME, requested: a=1,b=2, used: a=1,b=2, limited: a=1,b=2`
fn quota(text: &str) -> Option<Quota> {
    let (name, rest) = text.split_once("exceeded quota: ")?.1.split_once(", requested: ")?;
    let (requested, rest) = rest.split_once(", used: ")?;
    let (used, hard) = rest.split_once(", limited: ")?;
    let hard = hard.split_once(", ").map_or(hard, |(hard, _)| hard);
    let amount = |list: &str, resource: &str| {
        let of_it = list.split(',').find_map(|item| item.split_once('=').filter(|(name, _)| *name == resource));
        amount(of_it?.1)
    };
    let lack = |resource: &str| {
        let (needed, used) = (amount(requested, resource)?, amount(used, resource)?);
        Some(Lack { resource: resource.to_owned(), needed, used, hard: amount(hard, resource)? })
    };
    let resources = requested.split(',').filter_map(|item| Some(item.split_once('=')?.0));
    let lacks: Vec<Lack> = resources.filter(|resource| resource.ends_with("memory")).filter_map(lack).collect();
    (!lacks.is_empty()).then(|| Quota { name: name.to_owned(), lacks })
}

/// `maximum memory usage per Container is 1Gi, but limit is 1536Mi`
fn limit_range(text: &str) -> Option<NotGiven> {
    let (of, rest) = text.split_once("maximum memory usage per ")?.1.split_once(" is ")?;
    let (most, rest) = rest.split_once(", but ")?;
    let asked = rest.split_once(" is ")?.1.split([',', ' ']).next()?;
    Some(NotGiven::LimitRange { of: of.to_owned(), most: amount(most)?, asked: amount(asked)? })
}

/// `Node didn't have enough capacity: memory, requested: 3, capacity: 2`, or
/// `Node didn't have enough resource: memory, requested: 2, used: 1, capacity: 2`
fn node(text: &str) -> Option<NotGiven> {
    let rest = text.split_once("Node didn't have enough ")?.1.split_once(": memory, ")?.1;
    let field = |name: &str| {
        let of_it = rest.split(", ").find_map(|item| item.split_once(": ").filter(|(field, _)| *field == name));
        amount(of_it?.1)
    };
    Some(NotGiven::Node { requested: field("requested")?, used: field("used"), allocatable: field("capacity")? })
}

fn amount(text: &str) -> Option<Bytes> {
    // What follows may be anybody's: this operator's own words, say.
    let first = text.trim().split([' ', ',', ';', ']', '"']).next().unwrap_or_default();
    quantity::parse(first.trim_end_matches('.')).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::quota(
        "cannot resize: pods \"redis-1\" is forbidden: exceeded quota: mem, requested: limits.memory=256Mi,requests.memory=1Mi, \
         used: limits.memory=3Gi,requests.memory=1Gi, limited: limits.memory=3Gi,requests.memory=1Gi",
        "quota mem allows 3 GiB of limits.memory, 3 GiB of it are used, and 256 MiB more are needed; and 1 GiB of requests.memory, \
         1 GiB of it are used, and 1 MiB more are needed"
    )]
    #[case::with_words_after_it(
        "exceeded quota: mem, requested: memory=1Gi, used: memory=2Gi, limited: memory=2Gi; it is tried again",
        "quota mem allows 2 GiB of memory, 2 GiB of it are used, and 1 GiB more are needed"
    )]
    #[case::limit_range(
        "pods \"redis-1\" is forbidden: [maximum memory usage per Container is 1Gi, but limit is 1536Mi, maximum memory usage \
         per Pod is 1Gi, but limit is 1600Mi]",
        "a LimitRange allows at most 1 GiB of memory for a Container, and 1.50 GiB are asked for"
    )]
    #[case::older_limit_range(
        "maximum memory usage per Pod is 1Gi, but request is 1.5Gi.",
        "a LimitRange allows at most 1 GiB of memory for a Pod, and 1.50 GiB are asked for"
    )]
    #[case::node_full(
        "Node didn't have enough resource: memory, requested: 2147483648, used: 3221225472, capacity: 4294967296",
        "the node has 4 GiB for pods, others request 3 GiB of it, 1 GiB are free, and the pod needs 2 GiB"
    )]
    #[case::node_small(
        "Node didn't have enough capacity: memory, requested: 8589934592, capacity: 4294967296",
        "the node has 4 GiB for pods in all, and the pod needs 8 GiB"
    )]
    #[case::other_resource(
        "Node didn't have enough resource: cpu, requested: 2, used: 3, capacity: 4",
        "Node didn't have enough resource: cpu, requested: 2, used: 3, capacity: 4"
    )]
    #[case::no_numbers("exceeded quota: memory, times to spare", "exceeded quota: memory, times to spare")]
    #[case::no_memory(
        "exceeded quota: q, requested: pods=1, used: pods=3, limited: pods=3",
        "exceeded quota: q, requested: pods=1, used: pods=3, limited: pods=3"
    )]
    fn the_numbers_are_read(#[case] text: &str, #[case] why: &str) {
        assert_eq!(NotGiven::read(text).why(100), why);
    }

    #[test]
    fn words_of_others_are_cut() {
        assert_eq!(NotGiven::read("ööö").why(2), "öö");
    }

    proptest! {
        #[test]
        fn no_text_is_too_odd(
            text in "(exceeded quota: |maximum memory usage per |Node didn't have enough |.{0,6}|, requested: |, used: |, limited: | is |, but |memory=|[0-9]{0,30}Gi){0,12}"
        ) {
            NotGiven::read(&text).why(10);
        }
    }
}
