//! What a developer sees of traces with nothing installed but Rust: a receiver of spans, and requests as trees of them.

use std::collections::{HashSet, VecDeque};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actix_web::{App, HttpResponse, HttpServer, Responder, web};
use anyhow::{Context as _, bail};
use test_support::{Exported, tree};
use tokio::task::JoinSet;

use crate::process;
use crate::services;
use crate::table;

/// Where collectors listen for OTLP over HTTP.
const BASE_PORT: u16 = 4318;

/// The same, moved with everything else.
fn port() -> u16 {
    BASE_PORT.saturating_add(services::port_offset())
}

/// How many spans are kept: the latest.
const KEPT: usize = 20_000;

/// How many traces are listed: the latest.
const LISTED: usize = 20;

/// The largest export; the services send some hundred KiB at most.
const MAX_EXPORT: usize = 16 * 1024 * 1024;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The trace's id, as the member `trace_id` of a log line has it; without it the latest traces are listed.
    id: Option<String>,
}

/// `xtask trace`: prints a trace, or which there are.
///
/// # Errors
/// When `make dev OBSERVE=1` does not run, or there is no such trace.
pub(crate) async fn print(args: Args) -> anyhow::Result<()> {
    let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(5)).build()?;
    let url = format!("http://127.0.0.1:{}/{}", port(), args.id.unwrap_or_default());
    let answer = client.get(url).send().await;
    let answer = answer.context("nobody collects spans: is `make dev OBSERVE=1` running?")?;
    let found = answer.status().is_success();
    let text = answer.text().await?;
    if !found {
        bail!("{}", text.trim_end());
    }
    process::say(text.trim_end());
    Ok(())
}

/// Takes spans, on the loopback, until it is dropped.
#[derive(Debug)]
pub(crate) struct Observer {
    _server: JoinSet<std::io::Result<()>>,
}

impl Observer {
    /// Starts it.
    ///
    /// # Errors
    /// When the port is taken.
    pub(crate) fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port()));
        let listener = listener.with_context(|| {
            format!("cannot take spans on 127.0.0.1:{}, where another collector may listen", port())
        })?;
        let mut running = JoinSet::new();
        running.spawn(server(listener)?);
        Ok(Self { _server: running })
    }

    /// What leads the services here, without much delay.
    pub(crate) fn variables() -> [(&'static str, String); 2] {
        [
            ("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://127.0.0.1:{}", port())),
            ("OTEL_BSP_SCHEDULE_DELAY", "200".to_owned()),
        ]
    }
}

/// The latest spans.
type Spans = Arc<Mutex<VecDeque<Exported>>>;

fn server(listener: TcpListener) -> std::io::Result<actix_web::dev::Server> {
    let spans = Spans::default();
    let server = HttpServer::new(move || {
        App::new()
            .app_data(web::Data::new(Arc::clone(&spans)))
            .app_data(web::PayloadConfig::new(MAX_EXPORT))
            .route("/v1/traces", web::post().to(take))
            .route("/", web::get().to(list))
            .route("/{id}", web::get().to(show))
    });
    Ok(server.workers(1).disable_signals().listen(listener)?.run())
}

async fn take(spans: web::Data<Spans>, body: web::Bytes) -> impl Responder {
    let Ok(export) = Exported::decode(&body) else {
        return HttpResponse::BadRequest();
    };
    let mut spans = spans.lock().unwrap_or_else(PoisonError::into_inner);
    spans.extend(export);
    let surplus = spans.len().saturating_sub(KEPT);
    spans.drain(..surplus);
    HttpResponse::Ok()
}

async fn list(spans: web::Data<Spans>) -> String {
    let spans = spans.lock().unwrap_or_else(PoisonError::into_inner);
    let mut rows: Vec<[String; 4]> = Vec::new();
    let ids: HashSet<String> = spans.iter().map(Exported::span_id).collect();
    // The span of a client of ours is nobody's here.
    let is_root = |span: &&Exported| !ids.contains(&span.parent()) && !is_probe(span);
    for span in spans.iter().rev().filter(is_root).take(LISTED) {
        let [name, service, _, time, result] = columns(span);
        rows.push([span.trace_id(), format!("{service}: {name}"), time, result]);
    }
    rows.reverse();
    if rows.is_empty() {
        return "there are no traces yet\n".to_owned();
    }
    table::render(["TRACE", "REQUEST", "TIME", "RESULT"], &rows)
}

async fn show(spans: web::Data<Spans>, id: web::Path<String>) -> HttpResponse {
    let spans = spans.lock().unwrap_or_else(PoisonError::into_inner);
    let trace: Vec<_> = spans.iter().filter(|span| span.trace_id() == *id).cloned().collect();
    if trace.is_empty() {
        return HttpResponse::NotFound().body(format!("there is no trace {id}\n"));
    }
    HttpResponse::Ok().content_type("text/plain; charset=utf-8").body(text(&trace))
}

fn is_probe(span: &Exported) -> bool {
    let route = span.attributes.get("http.route").map_or("", String::as_str);
    ["/healthz", "/readyz", "/metrics"].contains(&route)
}

/// A trace as a table whose first column is the tree.
fn text(trace: &[Exported]) -> String {
    let lines = tree(trace, |span| columns(span).join("\t"));
    let rows: Vec<[String; 5]> = lines
        .lines()
        .map(|line| {
            let mut cells = line.split('\t').map(str::to_owned);
            std::array::from_fn(|_| cells.next().unwrap_or_default())
        })
        .collect();
    table::render(["SPAN", "SERVICE", "KIND", "TIME", "RESULT"], &rows)
}

fn columns(span: &Exported) -> [String; 5] {
    let attribute = |key: &str| span.attributes.get(key).map(String::as_str);
    let status = attribute("http.response.status_code").or(attribute("db.response.status_code"));
    let error = attribute("error.type").filter(|error| Some(*error) != status);
    let mut result: Vec<String> = status.into_iter().chain(error).map(str::to_owned).collect();
    if let Some(size) = attribute("db.operation.batch.size") {
        result.push(format!("{size} items"));
    }
    for link in span.links() {
        result.push(format!("see {link}"));
    }
    let time = format!("{:.2} ms", span.duration().as_secs_f64() * 1e3);
    [
        span.name().to_owned(),
        span.service().to_owned(),
        span.kind().to_owned(),
        time,
        result.join(", "),
    ]
}
