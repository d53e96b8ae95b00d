//! The external service, and how it is called.

mod answer;
mod keys;
mod metrics;
mod retry;

use std::time::Duration;

use common::ServiceContext;
use common::context::RequestContext;
use common::telemetry::{SPANS, spans};
use reqwest::header::{AUTHORIZATION, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Client, Response, StatusCode, Url, Version};
use server::StartError;
use tokio::time::{Instant, sleep, timeout_at};
use tracing::field::Empty;
use tracing::{Instrument as _, Span};

pub(crate) use answer::Answer;
pub(crate) use metrics::Outcome;

use keys::Keys;
use metrics::ExternalMetrics;

use crate::config::ExternalConfig;
use crate::error::Error;

/// How many redirects one call follows.
const MAX_REDIRECTS: usize = 5;

/// How long an unused connection is kept: less than servers usually keep theirs, so that a call rarely
/// takes one that is about to close.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// The external service, for all workers.
#[derive(Debug)]
pub(crate) struct External {
    target: Option<Target>,
    timeout: Duration,
    retries: u32,
    metrics: ExternalMetrics,
}

#[derive(Debug)]
struct Target {
    client: Client,
    url: Url,
    keys: Keys,
}

impl External {
    /// Connects when it is first called.
    ///
    /// # Errors
    /// When there is no key, or there are no CA certificates for an `https` URL.
    pub(crate) fn new(
        config: &ExternalConfig,
        context: &ServiceContext,
    ) -> Result<Self, StartError> {
        let key = config
            .external_integration_key
            .as_ref()
            .ok_or_else(|| StartError::Other("EXTERNAL_INTEGRATION_KEY is required".into()))?;
        let timeout = config.external_api_timeout;
        let target = config.external_api_url.as_ref().map(|url| -> Result<_, StartError> {
            let url = url.url().clone();
            let client = client(&url, timeout).map_err(|error| StartError::Other(error.into()))?;
            Ok(Target { client, url, keys: Keys::follow(key, context)? })
        });
        Ok(Self {
            target: target.transpose()?,
            timeout,
            retries: config.external_api_retries,
            metrics: ExternalMetrics::register(&context.metrics),
        })
    }

    /// What the external service answers, with a body that is still on its way; none where no external
    /// service is configured.
    ///
    /// # Errors
    /// When no 2xx came in time.
    pub(crate) async fn get(&self) -> Result<Option<Answer>, Error> {
        let Some(target) = &self.target else {
            return Ok(None);
        };
        let mut call = self.metrics.begin();
        let result = self.get_with_retries(target).await;
        call.head_ends();
        match result {
            Ok(response) => Ok(Some(Answer::new(response, call, self.timeout))),
            Err(error) => {
                call.end(error.outcome());
                Err(error)
            }
        }
    }

    async fn get_with_retries(&self, target: &Target) -> Result<Response, Error> {
        let deadline = Instant::now() + self.timeout;
        let mut retry = 0;
        loop {
            let span = target.span(retry);
            let attempt = timeout_at(deadline, target.get().instrument(span.clone())).await;
            let attempt = attempt.unwrap_or(Err(Error::TimedOut));
            note_outcome(&span, &attempt);
            let error = match attempt {
                Ok(response) => return Ok(response),
                Err(error) => error,
            };
            let left = deadline.saturating_duration_since(Instant::now());
            match retry::wait(&error, retry) {
                Some(wait) if retry < self.retries && wait < left => {
                    tracing::debug!(error = common::causes(&error), "Trying again");
                    sleep(wait).await;
                }
                // What is known now is better than a time-out later.
                _ => return Err(error),
            }
            self.metrics.retries.inc();
            retry += 1;
        }
    }
}

impl Target {
    /// The span of an attempt, by OpenTelemetry's semantic conventions for HTTP clients, if the request at hand is recorded.
    fn span(&self, retry: u32) -> Span {
        if !spans::is_recording() {
            return Span::none();
        }
        let mut url = self.url.clone();
        // It is configured, but may hold a key.
        url.set_query(None);
        url.set_fragment(None);
        tracing::info_span!(
            target: SPANS,
            "external",
            otel.name = "GET",
            otel.kind = "client",
            otel.status_code = Empty,
            http.request.method = "GET",
            http.request.resend_count = (retry > 0).then_some(i64::from(retry)),
            http.response.status_code = Empty,
            network.protocol.version = Empty,
            server.address = url.host_str(),
            server.port = url.port_or_known_default().map(i64::from),
            url.full = url.as_str(),
            "error.type" = Empty,
        )
    }

    /// Asks with the key in use, and with the others where that is refused.
    async fn get(&self) -> Result<Response, Error> {
        let mut last = Err(Error::KeyRefused(StatusCode::UNAUTHORIZED.as_u16()));
        for key in self.keys.to_try() {
            last = self.get_with(key.clone()).await;
            if last.is_ok() {
                self.keys.was_accepted(key);
            }
            if !matches!(last, Err(Error::KeyRefused(_))) {
                return last;
            }
        }
        self.keys.are_refused();
        last
    }

    async fn get_with(&self, key: HeaderValue) -> Result<Response, Error> {
        let mut request = self.client.get(self.url.clone()).header(AUTHORIZATION, key);
        let headers = RequestContext::with_current(RequestContext::outgoing_headers);
        for (name, value) in headers.into_iter().flatten() {
            request = request.header(name, value);
        }
        let state = |context: &RequestContext| context.tracestate().map(ToOwned::to_owned);
        if let Some(state) = RequestContext::with_current(state).flatten() {
            request = request.header("tracestate", state);
        }
        let response = request.send().await.map_err(|error| {
            // Where a redirect leads may be a secret of the external service.
            let error = error.without_url();
            if error.is_redirect() { Error::Redirect(error) } else { Error::Unreachable(error) }
        })?;
        match response.status() {
            status if status.is_success() => Ok(response),
            status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
                Err(Error::KeyRefused(status.as_u16()))
            }
            status => Err(Error::Status {
                status: status.as_u16(),
                retry_after: retry::retry_after(response.headers()),
            }),
        }
    }
}

/// Notes in an attempt's span how it went.
fn note_outcome(span: &Span, attempt: &Result<Response, Error>) {
    let status = match attempt {
        Ok(response) => {
            let version = match response.version() {
                Version::HTTP_10 => "1.0",
                Version::HTTP_2 => "2",
                _ => "1.1",
            };
            span.record("network.protocol.version", version);
            Some(response.status().as_u16())
        }
        Err(Error::Status { status, .. } | Error::KeyRefused(status)) => Some(*status),
        Err(_) => None,
    };
    if let Some(status) = status {
        span.record("http.response.status_code", i64::from(status));
    }
    if let Err(error) = attempt {
        let status = status.map(|status| status.to_string());
        spans::fail(span, status.as_deref().unwrap_or(error.outcome().label()));
    }
}

/// A client that shows a key to the URL's origin and to no other.
fn client(url: &Url, timeout: Duration) -> reqwest::Result<Client> {
    let origin = url.origin();
    let redirects = Policy::custom(move |redirect| {
        if redirect.url().origin() != origin {
            redirect.error("to another origin")
        } else if redirect.previous().len() > MAX_REDIRECTS {
            redirect.error("too many redirects")
        } else {
            redirect.follow()
        }
    });
    let mut client = Client::builder()
        .user_agent(concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION")))
        .redirect(redirects)
        .referer(false)
        // One lost connect leaves time for another.
        .connect_timeout(timeout / 2)
        .pool_idle_timeout(POOL_IDLE_TIMEOUT)
        // A proxy would be one more that sees the key.
        .no_proxy()
        // The body is handed through as it is, whatever other crates switch on.
        .no_gzip()
        .no_brotli()
        .no_zstd()
        .no_deflate();
    if url.scheme() == "http" {
        // It cannot come to TLS, so there need not be CA certificates.
        client = client.tls_certs_only([]);
    }
    client.build()
}
