//! A stand-in for the API server, for what the real one is hard to make say: its errors, and no answer at all.
//! tests/kube_live.rs asks the real one where that is possible.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
};

use http::{Method, Request, Response};
use kube::{Client, client::Body};
use serde_json::{Value, json};
use tower::service_fn;

use super::rights;

/// A request as it was received.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Recorded {
    pub(crate) method: Method,
    /// Path and query.
    pub(crate) uri: String,
    pub(crate) content_type: String,
    /// `Null` when there was none.
    pub(crate) body: Value,
}

/// What was received, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<Recorded>>>);

impl Log {
    pub(crate) fn all(&self) -> Vec<Recorded> {
        self.0.lock().expect("no panic in a handler").clone()
    }

    pub(crate) fn len(&self) -> usize {
        self.all().len()
    }

    /// The only request; a panic when there were more or none.
    pub(crate) fn only(&self) -> Recorded {
        let all = self.all();
        assert_eq!(all.len(), 1, "{all:#?}");
        all[0].clone()
    }
}

/// What the stand-in answers.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// HTTP status and body.
    Http(u16, Value),
    /// Nothing, ever.
    Silence,
    /// The effect has happened, and nobody hears of it in time.
    Late(std::time::Duration, u16, Value),
}

/// A client whose requests go to `handler`.
pub(crate) fn fake(handler: impl Fn(&Recorded) -> Answer + Send + Sync + 'static) -> (Client, Log) {
    let log = Log::default();
    let (handler, kept) = (Arc::new(handler), log.clone());
    let service = service_fn(move |request: Request<Body>| {
        let (handler, log) = (Arc::clone(&handler), log.clone());
        async move {
            let (head, body) = request.into_parts();
            let bytes = body.collect_bytes().await.expect("a body in memory");
            let recorded = Recorded {
                method: head.method,
                uri: head.uri.to_string(),
                content_type: head
                    .headers
                    .get(http::header::CONTENT_TYPE)
                    .and_then(|value| value.to_str().ok())
                    .unwrap_or_default()
                    .to_owned(),
                body: serde_json::from_slice(&bytes).unwrap_or(Value::Null),
            };
            rights::must_cover(&recorded.method, &recorded.uri);
            log.0.lock().expect("no panic in a handler").push(recorded.clone());
            let (code, answer) = match handler(&recorded) {
                Answer::Http(code, answer) => (code, answer),
                Answer::Late(delay, code, answer) => {
                    tokio::time::sleep(delay).await;
                    (code, answer)
                }
                Answer::Silence => return std::future::pending().await,
            };
            let body = serde_json::to_vec(&answer).expect("a body");
            Ok::<_, Infallible>(Response::builder().status(code).body(Body::from(body)).expect("an answer"))
        }
    });
    (Client::new(service, "default"), kept)
}

/// The body of a refusal, as the API server writes it.
pub(crate) fn refusal(code: u16, reason: &str, message: &str, causes: &Value) -> Answer {
    let body = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure",
        "message": message, "reason": reason, "code": code, "details": { "causes": causes },
    });
    Answer::Http(code, body)
}
