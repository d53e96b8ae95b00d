//! The trace of a datum: from its request over the queue into the store.

use reqwest::{Client, Method, Response};
use serde_json::Value;
use test_support::{Binary, Collector, Exported, Signal, wait_until};

use crate::{PROGRAM, Stores, TIMEOUT, job_of};

const TRACE_ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";

/// The service, its spans exported to a collector of the test.
struct Traced {
    binaries: Vec<Binary>,
    url: String,
    collector: Collector,
}

impl Traced {
    async fn start(stores: &Stores, more: &[(&str, &str)]) -> Self {
        let collector = Collector::start().await;
        let endpoint = collector.endpoint();
        let own = [("OTEL_EXPORTER_OTLP_ENDPOINT", &*endpoint)];
        let variables = [&stores.variables(), &own[..], more].concat();
        let is_embedded = matches!(stores, Stores::Embedded { .. });
        let commands: &[&str] = if is_embedded { &["server"] } else { &["server", "worker"] };
        let binaries: Vec<_> =
            commands.iter().map(|command| Binary::serve(PROGRAM, &[command], &variables)).collect();
        let _ = rustls::crypto::ring::default_provider().install_default();
        for binary in &binaries {
            let url = format!("http://{}/readyz", binary.addr().await);
            let is_ready =
                async || reqwest::get(&url).await.is_ok_and(|answer| answer.status() == 200);
            wait_until("it is ready", TIMEOUT, is_ready).await;
        }
        let url = format!("http://{}", binaries[0].addr().await);
        Self { binaries, url, collector }
    }

    /// Asks within a trace, recorded or not.
    async fn ask(&self, method: Method, path: &str, flags: &str) -> Response {
        let client = Client::builder().timeout(TIMEOUT).build().unwrap();
        let request = client.request(method, format!("{}{path}", self.url));
        let request = request.header("traceparent", format!("00-{TRACE_ID}-{CALLER}-{flags}"));
        request.json(&serde_json::json!({ "data": "a datum" })).send().await.unwrap()
    }

    /// Posts a datum, and waits until it has come so far; returns its job's id.
    async fn add(&self, flags: &str, status: &str) -> String {
        let answer = self.ask(Method::POST, "/multivac/data", flags).await;
        assert_eq!(answer.status(), 200);
        let job = job_of(&answer);
        wait_until("its job has come so far", TIMEOUT, async || {
            let answer = reqwest::get(format!("{}{job}", self.url)).await.unwrap();
            let found: Value = answer.json().await.unwrap_or_default();
            found["status"] == status
        })
        .await;
        job.rsplit('/').next().unwrap().to_owned()
    }

    /// Waits until the queue is empty.
    async fn settle(&self) {
        wait_until("the queue is empty", TIMEOUT, async || {
            let answer = reqwest::get(format!("{}/multivac/queue", self.url)).await.unwrap();
            let queue: Value = answer.json().await.unwrap_or_default();
            queue["length"] == 0
        })
        .await;
    }

    /// Stops it; returns the spans of the trace.
    async fn stop(mut self) -> Vec<Exported> {
        for binary in &mut self.binaries {
            binary.signal(Signal::TERM);
            assert_eq!(binary.exit(TIMEOUT).await.code(), Some(0));
        }
        let mut spans = self.collector.spans();
        spans.retain(|span| span.trace_id() == TRACE_ID);
        spans
    }
}

fn find<'a>(spans: &'a [Exported], name: &str) -> &'a Exported {
    let names: Vec<_> = spans.iter().map(Exported::name).collect();
    let found = spans.iter().find(|span| span.name() == name);
    assert!(found.is_some(), "no {name} in {names:?}");
    found.unwrap()
}

/// The queue, the dead letters, and `messaging.system`.
fn names(stores: &Stores) -> (&'static str, &'static str, &'static str) {
    match stores {
        Stores::Embedded { .. } => ("jobs", "dead_letters", "sqlite"),
        _ => ("{multivac}:jobs", "{multivac}:dead-letters", "redis"),
    }
}

crate::on_each_store!(
    a_datum_is_one_trace,
    a_dead_letter_is_in_the_trace,
    what_is_not_recorded_has_no_spans
);

async fn a_datum_is_one_trace(stores: Stores) {
    let (queue, _, system) = names(&stores);
    let traced = Traced::start(&stores, &[]).await;

    let job = traced.add("01", "stored").await;
    traced.settle().await;
    assert_eq!(traced.ask(Method::DELETE, "/multivac/zzz", "01").await.status(), 200);
    let spans = traced.stop().await;

    let request = find(&spans, "POST /multivac/data");
    assert_eq!(request.parent(), CALLER);
    let send = find(&spans, &format!("send {queue}"));
    assert_eq!((send.kind(), send.parent()), ("producer", request.span_id()));
    for (key, value) in [
        ("messaging.system", system),
        ("messaging.operation.type", "send"),
        ("messaging.destination.name", queue),
        ("messaging.message.id", &job),
    ] {
        assert_eq!(send.attributes[key], value, "{key}: {send:?}");
    }
    let process = find(&spans, &format!("process {queue}"));
    assert_eq!((process.kind(), process.parent()), ("consumer", send.span_id()));
    assert_eq!(process.links(), [send.span_id()]);
    assert_eq!(process.linked_traces(), [TRACE_ID]);
    if matches!(stores, Stores::Distributed { .. }) {
        for name in ["insert entropy", &format!("settle {queue}")] {
            let span = find(&spans, name);
            assert_eq!((span.kind(), span.parent()), ("client", process.span_id()));
        }
        assert_eq!(find(&spans, "insert entropy").attributes["db.system.name"], "mongodb");
        assert_eq!(find(&spans, "EVALSHA").parent(), send.span_id());
        let delete = find(&spans, "findAndModify entropy");
        assert_eq!(delete.parent(), find(&spans, "DELETE /multivac/zzz").span_id());
    }
    assert!(!format!("{spans:?}").contains("a datum"), "what clients send is in no span");
}

async fn a_dead_letter_is_in_the_trace(stores: Stores) {
    let (queue, dead_letters, _) = names(&stores);
    let traced = Traced::start(&stores, &[("JOB_MAX_ATTEMPTS", "1")]).await;
    refuse_all(&stores).await;

    let job = traced.add("01", "failed").await;
    let spans = traced.stop().await;

    let send = find(&spans, &format!("send {queue}"));
    let process = find(&spans, &format!("process {queue}"));
    let dead = find(&spans, &format!("send {dead_letters}"));
    assert_eq!((dead.kind(), dead.parent()), ("producer", process.span_id()));
    assert_eq!(dead.links(), [send.span_id()]);
    assert_eq!(dead.attributes["messaging.message.id"], job, "{dead:?}");
    assert_eq!(dead.attributes["error.type"], "refused", "{dead:?}");
}

async fn what_is_not_recorded_has_no_spans(stores: Stores) {
    let traced = Traced::start(&stores, &[]).await;

    traced.add("00", "stored").await;
    // As the release before has queued it.
    queue_without_context(&stores).await;
    traced.settle().await;
    let answer = reqwest::get(format!("{}/multivac/queue", traced.url)).await.unwrap();
    assert_eq!(answer.json::<Value>().await.unwrap()["stored"], 2);

    assert_eq!(traced.stop().await.iter().map(Exported::name).collect::<Vec<_>>(), [""; 0]);
}

/// From now on the store refuses every datum.
async fn refuse_all(stores: &Stores) {
    if let Stores::Distributed { mongo, .. } = stores {
        let name = crate::database_of(mongo.url());
        let client = mongodb::Client::with_uri_str(mongo.url()).await.unwrap();
        let entropy = client.database(name).collection::<mongodb::bson::Document>("entropy");
        let unique = mongodb::options::IndexOptions::builder().unique(true).build();
        let unique = mongodb::IndexModel::builder()
            .keys(mongodb::bson::doc! { "data": 1 })
            .options(unique)
            .build();
        entropy.create_index(unique).await.unwrap();
        let same = mongodb::bson::doc! { "_id": "1-0", "seq": 1_i64, "data": "a datum" };
        entropy.insert_one(same).await.unwrap();
    } else {
        let refuse = "CREATE TRIGGER refuse BEFORE INSERT ON entropy \
                BEGIN SELECT RAISE(ABORT, 'no'); END";
        let mut file = crate::embedded::open(stores).await;
        sqlx::Executor::execute(&mut file, refuse).await.unwrap();
    }
}

/// Queues a job that has no context of a trace.
async fn queue_without_context(stores: &Stores) {
    if let Stores::Distributed { redis, .. } = stores {
        let client = redis::Client::open(redis.url()).unwrap();
        let mut redis = client.get_multiplexed_async_connection().await.unwrap();
        let fields = [("seq", "2"), ("data", "of the release before")];
        let jobs = "{multivac}:jobs";
        let _: String = redis::AsyncCommands::xadd(&mut redis, jobs, "*", &fields).await.unwrap();
    } else {
        let add = "INSERT INTO jobs (data, created) VALUES ('of the release before', 1)";
        let mut file = crate::embedded::open(stores).await;
        sqlx::Executor::execute(&mut file, add).await.unwrap();
    }
}
