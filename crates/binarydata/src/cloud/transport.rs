//! `Connector`: how object_store's clients send a request.
//!
//! object_store can retry by itself, but request by request: an outage would be multiplied by the
//! number of tries. So its own retries are off, and every request goes through [`Service`], which
//! sees status codes and the kinds of transport errors as they are: up to [`RETRIES`] tries more
//! within `io_timeout`, at random moments, as long as the [`Budget`] of the handler allows, and
//! none at all while the [`Breaker`] is open.

use std::error::Error as StdError;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use ezdfs_core::Entropy;
use http::header::{
    CONTENT_RANGE, HeaderName, HeaderValue, IF_MATCH, IF_NONE_MATCH, RANGE, RETRY_AFTER,
};
use http::{Method, StatusCode};
use http_body::{Body, Frame, SizeHint};
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse,
    HttpResponseBody, HttpService, ReqwestConnector,
};
use tokio::time::{Instant, timeout, timeout_at};

use super::breaker::Breaker;
use super::budget::Budget;

/// Tries after the first one.
const RETRIES: u32 = 3;
/// Longest wait before the first retry; it doubles with each.
const FIRST_WAIT: Duration = Duration::from_millis(100);
/// Longest work that a store may have with one request after it said that it began.
const LONGEST_WORK: Duration = Duration::from_secs(600);
/// Longest wait that a store may ask for.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

tokio::task_local! {
    /// A header for the requests of this task: object_store has no way to complete an upload on a
    /// condition. `If-Match` and `If-None-Match` are not part of what S3 signs.
    static CONDITION: (HeaderName, HeaderValue);
}

/// Runs requests with one more header.
pub(super) async fn with_condition<F: Future>(
    condition: Option<(HeaderName, HeaderValue)>,
    requests: F,
) -> F::Output {
    match condition {
        Some(condition) => CONDITION.scope(condition, requests).await,
        None => requests.await,
    }
}

/// What the requests of one handler share.
#[derive(Debug)]
pub(super) struct Policy {
    pub(super) name: String,
    pub(super) io_timeout: Duration,
    entropy: Arc<dyn Entropy>,
    budget: Budget,
}

impl Policy {
    /// A moment before try `n` (from 1), if there may be one.
    pub(super) fn wait(&self, n: u32) -> Option<Duration> {
        if n > RETRIES || !self.budget.spend() {
            return None;
        }
        let longest = FIRST_WAIT.saturating_mul(1 << n.min(5)) / 2;
        Some(longest / 4 + self.entropy.jitter(longest * 3 / 4))
    }
}

/// Makes the clients of one handler: that of the store, and those that fetch credentials. Each has
/// a breaker of its own, because they talk to different hosts.
#[derive(Debug, Clone)]
pub(crate) struct Connector(Arc<Policy>);

impl Connector {
    pub(super) fn new(name: &str, io_timeout: Duration, entropy: Arc<dyn Entropy>) -> Self {
        let budget = Budget::new();
        Self(Arc::new(Policy { name: name.to_owned(), io_timeout, entropy, budget }))
    }

    pub(super) fn policy(&self) -> Arc<Policy> {
        Arc::clone(&self.0)
    }
}

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let client = ReqwestConnector::default().connect(options)?;
        let Policy { name, io_timeout, entropy, .. } = &*self.0;
        let breaker = Arc::new(Breaker::new(name, *io_timeout, Arc::clone(entropy)));
        Ok(HttpClient::new(Service { client, policy: Arc::clone(&self.0), breaker }))
    }
}

#[derive(Debug)]
struct Service {
    client: HttpClient,
    policy: Arc<Policy>,
    breaker: Arc<Breaker>,
}

#[async_trait]
impl HttpService for Service {
    async fn call(&self, mut request: HttpRequest) -> Result<HttpResponse, HttpError> {
        // Only the request that the condition is for: one for credentials may be sent before it.
        if *request.method() == Method::POST {
            let _ = CONDITION.try_with(|(name, value)| {
                request.headers_mut().insert(name.clone(), value.clone());
            });
        }
        let deadline = Instant::now() + self.policy.io_timeout;
        let mut tries = 0;
        loop {
            let pass = self
                .breaker
                .enter()
                .map_err(|is_open| HttpError::new(HttpErrorKind::Connect, is_open))?;
            let answer = self.send(request.clone(), deadline).await;
            let Some(again) = verdict(&request, &answer) else {
                // A conflict between conditional requests is an answer, though it is asked again.
                pass.succeeded();
                self.policy.budget.earn();
                return answer.map(|response| self.watch(response));
            };
            if again.is_failure {
                pass.failed();
            } else {
                pass.succeeded();
            }
            tries += 1;
            let wait = if again.is_useful { self.policy.wait(tries) } else { None };
            let wait = wait.map(|wait| wait.max(again.after.unwrap_or_default()));
            match wait.filter(|wait| Instant::now() + *wait < deadline) {
                Some(wait) => {
                    tracing::debug!(handler = %self.policy.name, method = %request.method(), try_ = tries, why = %Told(&answer), "a request is sent again");
                    drop(answer);
                    tokio::time::sleep(wait).await;
                }
                None => return answer,
            }
        }
    }
}

impl Service {
    /// Sends once. Copies and completions may fail after their head said 200 (AWS's
    /// API_CompleteMultipartUpload): then their status is made what their body says. Until it is
    /// there the store sends spaces, for minutes if the object is large.
    async fn send(
        &self,
        request: HttpRequest,
        deadline: Instant,
    ) -> Result<HttpResponse, HttpError> {
        let may_fail_late = fails_late(&request);
        let asks_for_range = request.headers().contains_key(RANGE);
        let answer = timeout_at(deadline, self.client.execute(request)).await;
        let mut response = answer.map_err(|_| self.silent(self.policy.io_timeout))??;
        let is_range = response.headers().contains_key(CONTENT_RANGE);
        if asks_for_range && is_range && response.status() == StatusCode::OK {
            // rclone forgets the status; the header says all.
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        }
        if !may_fail_late || response.status() != StatusCode::OK {
            return Ok(response);
        }
        let (mut head, body) = response.into_parts();
        // The client ends each silence that is longer than `io_timeout`.
        let told = timeout(LONGEST_WORK, body.bytes()).await;
        let bytes = told.map_err(|_| self.silent(LONGEST_WORK))??;
        if is_error(&bytes) {
            head.status = StatusCode::SERVICE_UNAVAILABLE;
        }
        Ok(HttpResponse::from_parts(head, bytes.into()))
    }

    fn silent(&self, waited: Duration) -> HttpError {
        HttpError::new(HttpErrorKind::Timeout, Silent(self.policy.name.clone(), waited))
    }

    fn watch(&self, response: HttpResponse) -> HttpResponse {
        let breaker = Arc::clone(&self.breaker);
        response.map(|body| HttpResponseBody::new(Watched { body, breaker }))
    }
}

/// Nobody answered in time.
#[derive(Debug)]
struct Silent(String, Duration);

impl fmt::Display for Silent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` did not answer in {:?}", self.0, self.1)
    }
}

impl StdError for Silent {}

/// Why a request may be sent again.
struct Again {
    /// The store did not do its work.
    is_failure: bool,
    /// The same request may fare better.
    is_useful: bool,
    /// What the store asked for.
    after: Option<Duration>,
}

/// `None` when the answer is one: also that there is no such object, or no permission.
fn verdict(request: &HttpRequest, answer: &Result<HttpResponse, HttpError>) -> Option<Again> {
    match answer {
        Ok(response) => {
            let status = response.status();
            let is_conditional = request.headers().contains_key(IF_MATCH)
                || request.headers().contains_key(IF_NONE_MATCH);
            let is_conflict = status == StatusCode::CONFLICT && is_conditional;
            let is_failure = matches!(
                status,
                StatusCode::INTERNAL_SERVER_ERROR
                    | StatusCode::BAD_GATEWAY
                    | StatusCode::SERVICE_UNAVAILABLE
                    | StatusCode::GATEWAY_TIMEOUT
                    | StatusCode::TOO_MANY_REQUESTS
                    | StatusCode::REQUEST_TIMEOUT
            );
            let after = response
                .headers()
                .get(RETRY_AFTER)
                .and_then(|v| v.to_str().ok()?.parse().ok())
                .map(|secs| Duration::from_secs(secs).min(LONGEST_WAIT));
            (is_failure || is_conflict).then_some(Again { is_failure, is_useful: true, after })
        }
        // Every request here may be sent twice: what an upload or a condition makes of it is
        // settled by `upload`.
        Err(e) => Some(Again {
            is_failure: true,
            is_useful: !matches!(e.kind(), HttpErrorKind::Decode | HttpErrorKind::Unknown),
            after: None,
        }),
    }
}

/// S3's CopyObject, UploadPartCopy and CompleteMultipartUpload; those of GCS's XML API.
fn fails_late(request: &HttpRequest) -> bool {
    let completes = *request.method() == Method::POST
        && request.uri().query().is_some_and(|q| q.contains("uploadId="));
    let headers = request.headers();
    completes
        || headers.contains_key("x-amz-copy-source")
        || headers.contains_key("x-goog-copy-source")
}

/// The codes that object_store looks for as well.
fn is_error(body: &[u8]) -> bool {
    let says = |code: &[u8]| body.windows(code.len()).any(|w| w == code);
    says(b"<Error>") && (says(b"InternalError") || says(b"SlowDown"))
}

/// For the log.
struct Told<'a>(&'a Result<HttpResponse, HttpError>);

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Ok(response) => response.status().fmt(f),
            Err(e) => e.fmt(f),
        }
    }
}

/// A body that tells the breaker when it breaks off.
struct Watched {
    body: HttpResponseBody,
    breaker: Arc<Breaker>,
}

impl Body for Watched {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(Some(Err(_))) = &polled {
            self.breaker.broke_off();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
