//! The one client for the API server.

use std::{
    fmt,
    path::PathBuf,
    sync::{Arc, Once},
    task::{Context, Poll},
    time::Duration,
};

use futures::{FutureExt as _, TryFutureExt as _, future::BoxFuture};
use http::{HeaderValue, Method, Request, Response, StatusCode, header::USER_AGENT};
use kube::{
    Client, Config,
    client::{Body, ClientBuilder},
    config::{KubeConfigOptions, Kubeconfig},
};
use tower::{BoxError, Layer, Service};

use super::{error::KubeError, overload::Overload};

/// How we name ourselves to the API server, and so in its audit log.
pub const USER_AGENT_VALUE: &str = concat!("redis-memory-operator/", env!("CARGO_PKG_VERSION"));

/// Told of every answer: the method, and the status unless there was no answer.
pub type AnswerObserver = Arc<dyn Fn(&Method, Option<StatusCode>) + Send + Sync>;

/// How the client connects. Where to is found as every Kubernetes tool does: KUBECONFIG, `~/.kube/config`, else the
/// pod's service account.
#[derive(Clone)]
pub struct ClientOptions {
    /// Longest wait for a TCP and TLS connection.
    pub connect_timeout: Duration,
    /// Idle limit: a connection that is silent longer is dead. Longer than a quiet watch (290 s), because watches are quiet
    /// by design; every other request has a much shorter limit of its own.
    pub idle_timeout: Duration,
    /// Longest wait for the beginning of an answer. A watch answers at once and is silent then; a request that nobody
    /// answers must not keep a list, and all that rests on it, waiting for `idle_timeout`.
    pub answer_timeout: Duration,
    /// Told of every answer: counts requests.
    pub observer: Option<AnswerObserver>,
    /// Told of every answer that asks us to come back later.
    pub overload: Option<Overload>,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(300),
            answer_timeout: Duration::from_secs(30),
            observer: None,
            overload: None,
        }
    }
}

impl fmt::Debug for ClientOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientOptions")
            .field("connect_timeout", &self.connect_timeout)
            .field("idle_timeout", &self.idle_timeout)
            .finish_non_exhaustive()
    }
}

/// Makes ring the process' cryptography. Safe to call more than once.
pub fn install_crypto() {
    static ONCE: Once = Once::new();
    // An error means that a provider is installed already, which is what we want.
    ONCE.call_once(|| drop(rustls::crypto::ring::default_provider().install_default()));
}

/// The client, configured from the environment.
pub async fn client(options: &ClientOptions) -> Result<Client, KubeError> {
    install_crypto();
    let config =
        Config::infer().await.map_err(|error| KubeError::ConfigureClient(Box::new(kube::Error::InferConfig(error))))?;
    build(config, options)
}

/// Which cluster a person's command is about, and as whom it asks. What is absent is found as [`client`] finds it.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// The file that is read instead of those that KUBECONFIG names.
    pub kubeconfig: Option<PathBuf>,
    /// The context in it.
    pub context: Option<String>,
    /// The user that is impersonated.
    pub user: Option<String>,
    /// Groups of that user; only with one.
    pub groups: Vec<String>,
}

/// The client for a person's command, and the namespace that its context names.
pub async fn client_of(access: &Access, options: &ClientOptions) -> Result<(Client, String), KubeError> {
    install_crypto();
    let refused = |error| KubeError::ConfigureClient(Box::new(error));
    let not_read = |error| refused(kube::Error::InferKubeconfig(error));
    let wanted = KubeConfigOptions { context: access.context.clone(), ..KubeConfigOptions::default() };
    let mut config = match (&access.kubeconfig, &access.context) {
        (Some(path), _) => {
            let kubeconfig = Kubeconfig::read_from(path).map_err(not_read)?;
            Config::from_custom_kubeconfig(kubeconfig, &wanted).await.map_err(not_read)?
        }
        (None, Some(_)) => Config::from_kubeconfig(&wanted).await.map_err(not_read)?,
        (None, None) => Config::infer().await.map_err(|error| refused(kube::Error::InferConfig(error)))?,
    };
    if access.user.is_some() {
        // Another's groups are not added to those of the kubeconfig's own user.
        config.auth_info.impersonate.clone_from(&access.user);
        config.auth_info.impersonate_groups = Some(access.groups.clone());
    }
    let namespace = config.default_namespace.clone();
    Ok((build(config, options)?, namespace))
}

/// The client for a given configuration, with our limits.
pub fn build(mut config: Config, options: &ClientOptions) -> Result<Client, KubeError> {
    install_crypto();
    // kube 5 repeats 429, 503 and 504 by itself, up to 16 calls in 416 s. A blocked eviction is a 429: the
    // reconcile is the retry, and it looks again before it acts again.
    config.default_retry = false;
    config.connect_timeout = Some(options.connect_timeout);
    config.read_timeout = Some(options.idle_timeout);
    config.write_timeout = Some(options.connect_timeout);
    config.reset_reader_on_write = true;
    config.headers.push((USER_AGENT, HeaderValue::from_static(USER_AGENT_VALUE)));
    let builder = ClientBuilder::try_from(config).map_err(|error| KubeError::ConfigureClient(Box::new(error)))?;
    let observe = ObserveAnswers {
        answer_timeout: options.answer_timeout,
        observer: options.observer.clone(),
        overload: options.overload.clone(),
    };
    Ok(builder.with_layer(&observe).build())
}

/// Waits for answers for a bounded time, and tells of them.
struct ObserveAnswers {
    answer_timeout: Duration,
    observer: Option<AnswerObserver>,
    overload: Option<Overload>,
}

impl<S> Layer<S> for ObserveAnswers {
    type Service = Observed<S>;

    fn layer(&self, inner: S) -> Observed<S> {
        Observed {
            inner,
            answer_timeout: self.answer_timeout,
            observer: self.observer.clone(),
            overload: self.overload.clone(),
        }
    }
}

struct Observed<S> {
    inner: S,
    answer_timeout: Duration,
    observer: Option<AnswerObserver>,
    overload: Option<Overload>,
}

impl<S, B> Service<Request<Body>> for Observed<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: Send + 'static,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<S::Response, BoxError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (observer, overload) = (self.observer.clone(), self.overload.clone());
        let method = request.method().clone();
        let tell = move |status| {
            if let Some(observer) = &observer {
                observer(&method, status);
            }
        };
        let failed = tell.clone();
        let limit = self.answer_timeout;
        let answer = self.inner.call(request);
        async move {
            match tokio::time::timeout(limit, answer).await {
                Ok(answer) => answer.map_err(Into::into),
                Err(_) => Err(format!("no answer within {} s", limit.as_secs()).into()),
            }
        }
        .inspect_ok(move |response| {
            tell(Some(response.status()));
            if let Some(overload) = &overload {
                overload.answered(response.status(), response.headers());
            }
        })
        .inspect_err(move |_| failed(None))
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;

    /// Answers every request with 429 and `Retry-After`; keeps what it was sent.
    async fn overloaded() -> (Config, Arc<Mutex<Vec<String>>>) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let seen = Arc::<Mutex<Vec<String>>>::default();
        let kept = Arc::clone(&seen);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut head = vec![0; 4096];
                let length = stream.read(&mut head).await.unwrap_or(0);
                kept.lock().expect("no panic").push(String::from_utf8_lossy(&head[..length]).into_owned());
                let answer = "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\nContent-Length: 0\r\n\
                              Connection: close\r\n\r\n";
                stream.write_all(answer.as_bytes()).await.expect("an answer");
            }
        });
        (Config::new(url.parse().expect("a URL")), seen)
    }

    #[tokio::test]
    async fn a_429_is_not_repeated_and_we_say_who_we_are() {
        let (config, seen) = overloaded().await;
        let answers = Arc::<Mutex<Vec<String>>>::default();
        let counter = Arc::clone(&answers);
        let observer: AnswerObserver = Arc::new(move |method, status| {
            counter.lock().expect("no panic").push(format!("{method} {status:?}"));
        });
        let options = ClientOptions { observer: Some(observer), ..ClientOptions::default() };
        let client = build(config, &options).expect("a client");
        let asked = tokio::time::timeout(Duration::from_secs(5), client.apiserver_version()).await;
        asked.expect("an answer and not a second try").expect_err("overloaded");
        let seen = seen.lock().expect("no panic").clone();
        assert_eq!(seen.len(), 1, "{seen:#?}");
        assert!(seen[0].to_lowercase().contains(&format!("user-agent: {USER_AGENT_VALUE}")), "{}", seen[0]);
        assert_eq!(*answers.lock().expect("no panic"), ["GET Some(429)"]);
    }

    #[tokio::test]
    async fn a_request_that_is_never_answered_ends_long_before_a_quiet_watch_would() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let silent = tokio::spawn(async move {
            let mut taken = Vec::new();
            while let Ok((stream, _)) = listener.accept().await {
                taken.push(stream);
            }
        });
        let options = ClientOptions { answer_timeout: Duration::from_millis(100), ..ClientOptions::default() };
        let client = build(Config::new(url.parse().expect("a URL")), &options).expect("a client");
        let asked = tokio::time::timeout(Duration::from_secs(5), client.apiserver_version()).await;
        let error = asked.expect("it ends by itself").expect_err("nobody answers");
        let cause = super::super::error::Cause::from(error);
        assert!(cause.to_string().contains("no answer within"), "{cause}");
        silent.abort();
    }

    #[tokio::test]
    async fn what_the_api_server_asks_us_to_wait_is_kept() {
        let (config, _) = overloaded().await;
        let overload = Overload::new(crate::clock::Clock::start());
        assert_eq!(overload.left(), None);
        let options = ClientOptions { overload: Some(overload.clone()), ..ClientOptions::default() };
        let client = build(config, &options).expect("a client");
        client.apiserver_version().await.expect_err("overloaded");
        let left = overload.left().expect("it said Retry-After: 1");
        assert!(left <= Duration::from_secs(1), "{left:?}");
    }

    #[tokio::test]
    async fn an_api_server_that_is_not_there_is_counted_and_named() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        drop(listener);
        let answers = Arc::<Mutex<Vec<Option<StatusCode>>>>::default();
        let counter = Arc::clone(&answers);
        let observer: AnswerObserver = Arc::new(move |_, status| counter.lock().expect("no panic").push(status));
        let options = ClientOptions { observer: Some(observer), ..ClientOptions::default() };
        let client = build(Config::new(url.parse().expect("a URL")), &options).expect("a client");
        let error = client.apiserver_version().await.expect_err("nobody there");
        let cause = super::super::error::Cause::from(error);
        assert!(cause.to_string().contains("refused"), "{cause}");
        assert_eq!(*answers.lock().expect("no panic"), [None]);
    }
}
