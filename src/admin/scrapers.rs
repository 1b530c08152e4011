//! Who may read `/metrics`, where not everybody may: the holder of a token that the API server knows, and lets.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::http::{HeaderMap, StatusCode, header::AUTHORIZATION};
use futures::future::BoxFuture;
use sha2::{Digest as _, Sha256};
use tokio::sync::Mutex as Turn;

use crate::{
    clock::{self, Clock},
    kube_io::review::Reviewed,
};

/// Who may read `/metrics`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scrapers {
    /// Everybody who can connect.
    #[default]
    Anyone,
    /// Who sends a token of a user, or of a service account, that may `get` the path `/metrics`.
    Token,
    /// Who shows a certificate of an authority in `ca.crt`.
    Certificate,
}

/// Asks the API server of a token; `Err`: it gives no answer, and why.
pub type Review = Arc<dyn Fn(String) -> BoxFuture<'static, Result<Reviewed, String>> + Send + Sync>;

/// An answer counts for this long: a right that is taken away is gone soon, and scrapes cost a request a minute.
const KEPT: Duration = Duration::from_secs(60);
/// Tokens whose answer is kept: a few scrapers have one each. Of what is nobody's token nothing is kept, so that who makes
/// tokens up takes no place.
const MOST: usize = 64;
/// For an answer of the API server, the wait for those who asked before included.
const PATIENCE: Duration = Duration::from_secs(3);
/// A token is no longer: what the API server issues has about 1 KiB.
const MOST_BYTES: usize = 16 * 1024;

/// What the API server said of the tokens with these digests, and when.
type Answers = HashMap<[u8; 32], (Reviewed, Duration)>;

/// Lets in whose token may.
#[derive(Clone)]
pub(super) struct Doorman {
    review: Review,
    clock: Clock,
    known: Arc<Mutex<Answers>>,
    /// One question at a time: a crowd without rights is no load for the API server.
    turn: Arc<Turn<()>>,
}

impl Doorman {
    pub(super) fn new(review: Review, clock: Clock) -> Self {
        Self { review, clock, known: Arc::default(), turn: Arc::default() }
    }

    /// `Err`: the status and the text of the answer.
    pub(super) async fn admit(&self, headers: &HeaderMap) -> Result<(), (StatusCode, String)> {
        let Some(token) = bearer(headers) else {
            let text = "send a token of a service account: Authorization: Bearer TOKEN\n";
            return Err((StatusCode::UNAUTHORIZED, text.to_owned()));
        };
        match clock::within(&self.clock, PATIENCE, self.reviewed(token)).await {
            Some(Ok(Reviewed::May)) => Ok(()),
            Some(Ok(Reviewed::MayNot(user))) => Err((
                StatusCode::FORBIDDEN,
                format!(
                    "{user} may not get /metrics: bind it to a ClusterRole with nonResourceURLs [/metrics], verb get\n"
                ),
            )),
            Some(Ok(Reviewed::Unknown)) => {
                Err((StatusCode::UNAUTHORIZED, "the API server knows no such token, or it has run out\n".to_owned()))
            }
            Some(Err(why)) => {
                Err((StatusCode::SERVICE_UNAVAILABLE, format!("cannot ask the API server about the token: {why}\n")))
            }
            None => {
                Err((StatusCode::SERVICE_UNAVAILABLE, "the API server does not answer about the token\n".to_owned()))
            }
        }
    }

    async fn reviewed(&self, token: &str) -> Result<Reviewed, String> {
        // What is kept is no token.
        let digest: [u8; 32] = Sha256::digest(token).into();
        if let Some(kept) = self.kept(&digest) {
            return Ok(kept);
        }
        let _turn = self.turn.lock().await;
        // Whoever had the turn before may have asked the same.
        if let Some(kept) = self.kept(&digest) {
            return Ok(kept);
        }
        let reviewed = (self.review)(token.to_owned()).await?;
        let now = self.clock.uptime();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST {
            known.retain(|_, (_, at)| now.saturating_sub(*at) < KEPT);
        }
        if known.len() < MOST && reviewed != Reviewed::Unknown {
            known.insert(digest, (reviewed.clone(), now));
        }
        Ok(reviewed)
    }

    fn kept(&self, digest: &[u8; 32]) -> Option<Reviewed> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let (reviewed, at) = known.get(digest)?;
        (self.clock.uptime().saturating_sub(*at) < KEPT).then(|| reviewed.clone())
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty() && token.len() <= MOST_BYTES).then_some(token)
}
