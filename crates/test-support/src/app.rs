use std::net::{Ipv4Addr, SocketAddr};
use std::sync::LazyLock;
use std::time::Duration;

use common::Service;
use common::config::{Loader, LogFilter};
use common::telemetry::{Captured, subscriber};
use reqwest::{Client, Method, RequestBuilder, Response};
use serde_json::Value;
use server::{Running, StartError, Stop, StopHandle};

use crate::raw::RawConnection;
use crate::wait::wait_until;

/// How long a client of a test waits for anything.
const TIMEOUT: Duration = Duration::from_secs(30);

/// What every application of this test process logs.
static LOGS: LazyLock<Captured> = LazyLock::new(|| {
    let logs = Captured::default();
    let name = Service {
        name: "test",
        version: "0",
        description: "",
        readme: "",
        log_name: "test",
        default_port: 0,
    };
    let lines = subscriber(logs.lines(&name), &LogFilter::everything(), None);
    tracing::dispatcher::set_global_default(lines).expect("nothing else installs a subscriber");
    logs
});

/// The real application, in the runtime of the test, on a free port of the loopback.
///
/// It stops when it is dropped, without waiting for requests; [`App::stop`] waits.
#[derive(Debug)]
pub struct App {
    running: Running,
    client: Client,
}

impl App {
    /// Expects a path to answer with this status, and a problem whose detail contains this.
    ///
    /// # Panics
    /// When it does not.
    pub async fn expect_problem(&self, path: &str, status: u16, detail: &str) {
        let answer = self.get(path).await;
        assert_eq!(answer.status(), status, "{path}");
        let problem: Value = answer.json().await.expect("a problem");
        assert!(problem["detail"].as_str().unwrap_or("").contains(detail), "{path}: {problem}");
    }

    /// Expects a list to refuse a `limit` that is no number from 1 to `max`, with this status and a problem that
    /// names it.
    ///
    /// # Panics
    /// When it does not.
    pub async fn expect_limit_up_to(&self, max: u32, path: &str, status: u16) {
        let too_many = (max + 1).to_string();
        for limit in ["0", too_many.as_str(), "-1", "x", ""] {
            self.expect_problem(&format!("{path}?limit={limit}"), status, "`limit`").await;
        }
    }

    /// Expects a path to answer 200 with this text and nothing else.
    ///
    /// # Panics
    /// When it does not.
    pub async fn expect_text(&self, path: &str, text: &str) {
        let answer = self.get(path).await;
        assert_eq!(answer.status(), 200, "{path}");
        assert_eq!(answer.headers()["content-type"], "text/plain; charset=utf-8", "{path}");
        assert_eq!(answer.text().await.expect("a text"), text, "{path}");
    }

    /// Starts the application that `build` makes of the configuration that `load` reads from
    /// `variables`; host and port are given.
    ///
    /// # Panics
    /// When the configuration is wrong or the application cannot start.
    pub fn start<C>(
        variables: &[(&str, &str)],
        load: impl FnOnce(&mut Loader) -> C,
        build: impl FnOnce(&C) -> Result<Running, StartError>,
    ) -> Self {
        LazyLock::force(&LOGS);
        // The process's provider; another test may have installed it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let given = [("HOST", "127.0.0.1"), ("PORT", "0"), ("WORKERS", "1")];
        let mut loader = Loader::new(given.iter().chain(variables).copied());
        let config = load(&mut loader);
        let (config, _) = loader.finish(config).expect("the configuration is valid");
        let running = build(&config).expect("the application starts");
        let client = Client::builder()
            .timeout(TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .expect("a client can be made");
        Self { running, client }
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.running.addr().port()).into()
    }

    /// Where it serves probes and metrics beside that.
    ///
    /// # Panics
    /// When it does not.
    pub fn admin_addr(&self) -> SocketAddr {
        let admin = self.running.admin_addr().expect("there is an admin port");
        (Ipv4Addr::LOCALHOST, admin.port()).into()
    }

    /// A request to the admin port, to be completed and sent.
    ///
    /// # Panics
    /// When there is none.
    pub fn admin(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("http://{}{path}", self.admin_addr()))
    }

    /// Injects these faults, by the admin port, and returns what it answers.
    ///
    /// # Panics
    /// When there is no admin port, or no answer.
    pub async fn set_faults(&self, rules: &Value) -> Response {
        let body = serde_json::json!({ "rules": rules });
        self.admin(Method::PUT, "/faults").json(&body).send().await.expect("an answer")
    }

    /// The value of a metric on the admin port, as [`Self::metric`] has it.
    ///
    /// # Panics
    /// When the metrics cannot be had.
    pub async fn admin_metric(&self, sample: &str) -> Option<f64> {
        let answer = self.admin(Method::GET, "/metrics").send().await.expect("an answer");
        value_of(&answer.text().await.expect("the metrics"), sample)
    }

    /// The URL of a path.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr())
    }

    /// The path and the query that a reference in the answer to `path` leads to.
    ///
    /// # Panics
    /// When it leads elsewhere than to this application.
    pub fn resolve(&self, path: &str, reference: &str) -> String {
        let base = url::Url::parse(&self.url(path)).expect("a URL");
        let found = base.join(reference).expect("a reference");
        let found = found.as_str().strip_prefix(&self.url("")).expect("one of this application");
        found.to_owned()
    }

    /// A request, to be completed and sent.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, self.url(path))
    }

    /// The answer to a GET.
    ///
    /// # Panics
    /// When there is none.
    pub async fn get(&self, path: &str) -> Response {
        self.request(Method::GET, path).send().await.expect("an answer")
    }

    /// The answer to a POST of a body of that type.
    ///
    /// # Panics
    /// When there is none.
    pub async fn post(
        &self,
        path: &str,
        content_type: &str,
        body: impl Into<reqwest::Body>,
    ) -> Response {
        let request = self.request(Method::POST, path).header("content-type", content_type);
        request.body(body).send().await.expect("an answer")
    }

    /// A connection for requests that no HTTP client would send.
    ///
    /// # Panics
    /// When there is none.
    pub async fn connect(&self) -> RawConnection {
        RawConnection::open(self.addr()).await
    }

    /// The log lines with this request id, once there is one.
    ///
    /// # Panics
    /// When none comes.
    pub async fn logs_of(&self, request_id: &str) -> Vec<Value> {
        let mut found = Vec::new();
        wait_until(&format!("request {request_id} was logged"), TIMEOUT, async || {
            found = logs(|line| line["request_id"] == request_id);
            !found.is_empty()
        })
        .await;
        found
    }

    /// The value of a metric, by its name and labels as `/metrics` writes them; none if it is not there.
    ///
    /// # Panics
    /// When the metrics cannot be had.
    pub async fn metric(&self, sample: &str) -> Option<f64> {
        let text = self.get("/metrics").await.text().await.expect("the metrics");
        value_of(&text, sample)
    }

    /// What begins a stop.
    pub fn stop_handle(&self) -> StopHandle {
        self.running.stop_handle()
    }

    /// Stops it; returns whether it did so cleanly.
    pub async fn stop(self) -> bool {
        self.running.stop_handle().stop(Stop::SkipDrainDelay);
        self.running.wait().await
    }
}

fn value_of(metrics: &str, sample: &str) -> Option<f64> {
    metrics.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' ')?.parse().ok())
}

/// The lines that applications of this test process have logged so far and that are wanted.
///
/// # Panics
/// When a line is no JSON.
pub fn logs(wanted: impl Fn(&Value) -> bool) -> Vec<Value> {
    let text = LOGS.text();
    let lines = text.lines().map(|line| serde_json::from_str(line).expect("a line is JSON"));
    lines.filter(wanted).collect()
}

/// The path and query of the next page of a list, from an answer's `Link`.
///
/// # Panics
/// When it is malformed.
pub fn next_page(answer: &Response) -> Option<String> {
    let link = answer.headers().get("link")?.to_str().expect("a link is text");
    let url = link.strip_prefix('<').and_then(|link| link.strip_suffix(">; rel=\"next\""));
    let url = answer.url().join(url.expect("the next page's link")).expect("a reference");
    Some(format!("{}?{}", url.path(), url.query().unwrap_or_default()))
}
