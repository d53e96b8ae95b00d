//! Every endpoint of every running service, called as a client would.

mod coverage;
pub(crate) mod requests;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use reqwest::header::{HeaderMap, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Client, Url};
use serde_json::Value;

use crate::services::{self, SERVICES, Service};
use crate::table;
use requests::{Content, Expected, Request};

/// For one request; longer than any answer that a service delays on purpose.
const TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where a service is, if not on its development port; also as a variable like `SRE_KATA_URL`.
    #[arg(long, value_name = "SERVICE=URL", value_parser = parse_base_url)]
    base_url: Vec<(&'static Service, Url)>,
    /// Only these; else one that is not reachable is a failure.
    #[arg(long, value_name = "SERVICE", value_parser = services::parser())]
    only: Vec<&'static Service>,
    /// How long to wait for each service to become ready first, as `30s`.
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = humantime::parse_duration)]
    wait: Duration,
    /// Accept certificates that nobody signed.
    #[arg(long)]
    insecure: bool,
}

/// A line of the printed table.
struct Outcome {
    service: &'static str,
    request: String,
    expected: String,
    took: Duration,
    problem: Option<String>,
}

/// Calls and prints a table.
///
/// # Errors
/// When anything failed.
pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    services::check_port_offset()?;
    let environment: BTreeMap<_, _> = std::env::vars_os().collect();
    let mut outcomes = Vec::new();
    let wanted = if args.only.is_empty() { SERVICES.iter().collect() } else { args.only.clone() };
    for service in wanted {
        let target = Target::new(service, &args, &environment)?;
        target.test(args.wait, &mut outcomes).await;
    }
    let failed = outcomes.iter().filter(|outcome| outcome.problem.is_some()).count();
    let count = outcomes.len();
    let heading = ["SERVICE", "REQUEST", "EXPECTED", "MS", "RESULT"];
    let rows: Vec<_> = outcomes.into_iter().map(Outcome::row).collect();
    print!("{}", table::render(heading, &rows));
    ensure!(failed == 0, "{failed} of {count} failed");
    println!("all {count} passed");
    Ok(())
}

/// A running service.
struct Target {
    service: &'static Service,
    base: Url,
    client: Client,
}

impl Target {
    fn new(
        service: &'static Service,
        args: &Args,
        environment: &BTreeMap<OsString, OsString>,
    ) -> anyhow::Result<Self> {
        let base = base_url(service, &args.base_url, environment)?;
        let mut client = Client::builder()
            .timeout(TIMEOUT)
            .redirect(Policy::none())
            .tls_danger_accept_invalid_certs(args.insecure);
        // What runs on this machine is not behind its proxy.
        if matches!(base.host_str(), Some("localhost" | "127.0.0.1" | "[::1]")) {
            client = client.no_proxy();
        }
        Ok(Self { service, base, client: client.build()? })
    }

    /// Adds a line for each of its requests.
    async fn test(&self, wait: Duration, outcomes: &mut Vec<Outcome>) {
        if let Some(problem) = self.unreachable(wait).await {
            let expected = format!("reachable on {}", self.base);
            outcomes.push(self.outcome("GET /readyz", expected, Duration::ZERO, Some(problem)));
            return;
        }
        let requests: Vec<_> = requests::COMMON.iter().chain(self.service.requests).collect();
        for (number, request) in requests.iter().enumerate() {
            let start = Instant::now();
            let problem = self.call(number, request).await.err().map(|it| format!("{it:#}"));
            let (name, expected) = (request.to_string(), Expected(request).to_string());
            outcomes.push(self.outcome(&name, expected, start.elapsed(), problem));
        }
        let start = Instant::now();
        let problem =
            self.uncovered(&requests).await.unwrap_or_else(|error| Some(error.to_string()));
        let expected = "each operation was called".to_owned();
        outcomes.push(self.outcome("/openapi.json", expected, start.elapsed(), problem));
    }

    fn outcome(
        &self,
        request: &str,
        expected: String,
        took: Duration,
        problem: Option<String>,
    ) -> Outcome {
        Outcome { service: self.service.name, request: request.to_owned(), expected, took, problem }
    }

    /// Why it cannot be tested. Any answer to `/readyz` will do after `wait`: what is wrong with it
    /// is in the table.
    async fn unreachable(&self, wait: Duration) -> Option<String> {
        let deadline = Instant::now() + wait;
        loop {
            let answer = self.client.get(self.url("/readyz")).send().await;
            let problem = match answer {
                Ok(answer) if answer.status() == 200 => return None,
                Ok(_) => None,
                Err(error) => Some(format!("{:#}", anyhow::Error::new(error.without_url()))),
            };
            if Instant::now() >= deadline {
                return problem;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    fn url(&self, path: &str) -> String {
        self.base.as_str().trim_end_matches('/').to_owned() + path
    }

    /// Sends one request and fails with what is wrong with its answer.
    async fn call(&self, number: usize, request: &Request) -> anyhow::Result<()> {
        let id = format!("smoke-{}-{number}", std::process::id());
        let method = reqwest::Method::from_bytes(request.method.as_bytes())?;
        let mut sent = self.client.request(method, self.url(request.path));
        sent = sent.header("x-request-id", &id);
        for (name, value) in request.headers {
            sent = sent.header(*name, *value);
        }
        if let Some(body) = request.body {
            sent =
                sent.header("content-type", body.media_type).body(body.content.repeat(body.times));
        }
        let answer = sent.send().await.map_err(reqwest::Error::without_url)?;
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let body = answer.text().await.context("no complete body")?;
        ensure!(status == request.status, "{status}: {}", shortened(&body));
        // Every answer carries these two.
        let common = [("x-request-id", &*id), ("x-content-type-options", "nosniff")];
        for (name, part) in common.iter().chain(request.answer_headers) {
            let value = header(&headers, name);
            ensure!(value.contains(part), "{name}: {value:?} without {part:?}");
        }
        check(request, &header(&headers, "content-type"), &body, &id)
    }

    /// The documented operations that none of the requests calls.
    async fn uncovered(&self, requests: &[&Request]) -> anyhow::Result<Option<String>> {
        let answer = self.client.get(self.url("/openapi.json")).send().await?;
        let document = serde_json::from_str(&answer.text().await?)?;
        let called = requests.iter().map(|request| (request.method, request.path));
        let uncovered = coverage::uncovered(&document, called);
        Ok((!uncovered.is_empty()).then(|| format!("not covered: {}", uncovered.join(", "))))
    }
}

impl Outcome {
    fn row(self) -> [String; 5] {
        let result = self.problem.map_or_else(|| "passed".to_owned(), |it| format!("FAILED: {it}"));
        let took = self.took.as_millis().to_string();
        [self.service.to_owned(), self.request, self.expected, took, result]
    }
}

/// From the command line, else the environment, else the development port.
fn base_url(
    service: &'static Service,
    given: &[(&'static Service, Url)],
    environment: &BTreeMap<OsString, OsString>,
) -> anyhow::Result<Url> {
    if let Some((_, url)) = given.iter().rfind(|(of, _)| of.name == service.name) {
        return Ok(url.clone());
    }
    let variable = service.url_variable();
    match environment.get(&OsString::from(&variable)).filter(|value| !value.is_empty()) {
        Some(value) => value.to_string_lossy().parse().context(variable),
        None => service.url("127.0.0.1").parse().context("not a URL"),
    }
}

fn parse_base_url(text: &str) -> Result<(&'static Service, Url), String> {
    let (name, url) = text.split_once('=').ok_or("expected SERVICE=URL")?;
    let service = services::find(name).ok_or_else(|| format!("no service is called {name}"))?;
    let url: Url = url.parse().map_err(|error| format!("{url}: {error}"))?;
    if url.has_host() { Ok((service, url)) } else { Err(format!("{url} names no host")) }
}

/// A header's value, empty without one.
fn header<'a>(headers: &'a HeaderMap, name: &str) -> Cow<'a, str> {
    String::from_utf8_lossy(headers.get(name).map_or(b"", HeaderValue::as_bytes))
}

/// Checks a body against what the request expects.
fn check(request: &Request, content_type: &str, body: &str, id: &str) -> anyhow::Result<()> {
    let expected_type = request.content.media_type();
    ensure!(content_type.starts_with(expected_type), "content-type {content_type:?}");
    match request.content {
        Content::Empty => ensure!(body.is_empty(), "a body: {}", shortened(body)),
        Content::HeadOf(_) => {}
        Content::Text(expected) => ensure!(body == expected, "{}", shortened(body)),
        Content::Containing(_, part) => ensure!(body.contains(part), "no {part} in the body"),
        Content::Json(expected) => {
            let expected: Value = serde_json::from_str(expected)?;
            let found: Value = serde_json::from_str(body)?;
            ensure!(found == expected, "{}", shortened(body));
        }
        Content::Problem => {
            let problem: Value = serde_json::from_str(body)?;
            ensure!(problem["type"] == "about:blank", "type {}", problem["type"]);
            ensure!(problem["status"] == request.status, "status {}", problem["status"]);
            ensure!(problem["request_id"] == id, "request_id {}", problem["request_id"]);
            ensure!(problem["title"].is_string(), "title {}", problem["title"]);
            let detail = problem.get("detail");
            ensure!(detail.is_none_or(Value::is_string), "detail {detail:?}");
        }
    }
    Ok(())
}

/// As much of a body as a table's cell can take.
fn shortened(body: &str) -> String {
    let line: String = body.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    match line.char_indices().nth(120) {
        Some((end, _)) => format!("{}...", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::requests::{JSON, TEXT, get, head, request};
    use super::*;

    const PROBLEM: &str = r#"{"type":"about:blank","title":"Not Found","status":404,
        "detail":"nothing is here","request_id":"1"}"#;

    #[test]
    fn an_answer_as_expected_passes() {
        for (request, content_type, body) in [
            (get("/").text("OK"), TEXT, "OK"),
            (get("/").json(r#"{"a":1,"b":2}"#), JSON, r#"{ "b": 2, "a": 1 }"#),
            (get("/").containing("text/html", "<title>"), "text/html; charset=utf-8", "<title>"),
            (head("/").head_of(TEXT), TEXT, ""),
            (request("OPTIONS", "/").empty(204), "", ""),
            (get("/").problem(404), "application/problem+json", PROBLEM),
        ] {
            let result = check(&request, content_type, body, "1");
            assert!(result.is_ok(), "{request}: {result:?}");
        }
    }

    #[test]
    fn any_other_answer_fails() {
        for (request, content_type, body) in [
            (get("/").text("OK"), TEXT, "OK\n"),
            (get("/").text("OK"), "text/html", "OK"),
            (get("/").json(r#"{"a":1}"#), JSON, r#"{"a":1,"b":2}"#),
            (get("/").json(r#"{"a":1}"#), JSON, "no JSON"),
            (get("/").containing("text/html", "<title>"), "text/html", "<h1>"),
            (head("/").head_of(TEXT), "text/html", ""),
            (request("OPTIONS", "/").empty(204), "", "body"),
            (get("/").problem(404), JSON, PROBLEM),
            (get("/").problem(400), "application/problem+json", PROBLEM),
            (get("/").problem(404), "application/problem+json", &PROBLEM.replace("\"1\"", "\"2\"")),
            (get("/").problem(404), "application/problem+json", &PROBLEM.replace("title", "t")),
        ] {
            assert!(check(&request, content_type, body, "1").is_err(), "{request}: {body}");
        }
    }

    #[test]
    fn a_base_url_comes_from_the_command_line_else_the_environment_else_the_table() {
        let service = services::find("sre-kata").unwrap();
        let url = |given: &[&str], environment: &[(&str, &str)]| {
            let given: Vec<_> = given.iter().map(|text| parse_base_url(text).unwrap()).collect();
            let environment = environment.iter().map(|(name, value)| (name.into(), value.into()));
            base_url(service, &given, &environment.collect()).map(String::from)
        };
        let variable = [("SRE_KATA_URL", "https://environment")];
        let argument = "sre-kata=https://argument";
        assert_eq!(url(&[], &[]).unwrap(), "http://127.0.0.1:8003/");
        assert_eq!(url(&[], &[("SRE_KATA_URL", "")]).unwrap(), "http://127.0.0.1:8003/");
        assert_eq!(url(&[], &variable).unwrap(), "https://environment/");
        assert_eq!(url(&[argument], &variable).unwrap(), "https://argument/");
        assert!(url(&[], &[("SRE_KATA_URL", "no URL")]).is_err());
    }

    #[test]
    fn a_base_url_that_nothing_can_be_asked_at_is_refused() {
        for text in ["sre-kata", "nobody=https://host", "sre-kata=host", "sre-kata=mailto:a@b"] {
            assert!(parse_base_url(text).is_err(), "{text}");
        }
    }
}
