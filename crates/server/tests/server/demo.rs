//! A service that has one endpoint for each thing that can happen.

use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use actix_web::body::SizedStream;
use actix_web::guard::GuardContext;
use actix_web::http::StatusCode;
use actix_web::{HttpResponse, get, post, web};
use bytes::Bytes;
use common::{Loader, Problem, Service, ServiceContext};
use futures_util::{StreamExt as _, stream};
use serde::Deserialize;
use server::extract::{Body, Json, Query};
use server::{Application, Config};
use test_support::{App, RawConnection};
use tokio::sync::Semaphore;
use utoipa_actix_web::service_config::ServiceConfig;

pub(crate) const SERVICE: Service = Service {
    name: "demo",
    version: "1.2.3",
    description: "A demonstration",
    readme: "# demo\n",
    log_name: "demo",
    default_port: 8080,
};

/// Starts it with these variables.
pub(crate) fn start(variables: &[(&str, &str)]) -> App {
    start_with(variables, |_| {})
}

/// Starts it, with a say in its parts.
pub(crate) fn start_with(variables: &[(&str, &str)], with: impl FnOnce(&ServiceContext)) -> App {
    let load = |loader: &mut Loader| Config::load(&SERVICE, loader);
    App::start(variables, load, |config| {
        let application = Application::new(SERVICE, config);
        with(&application.context);
        let context = web::Data::new(application.context.clone());
        application.serve(move |config| routes(config.app_data(context.clone())))
    })
}

/// Starts it with these variables, and sends it this on a connection.
pub(crate) async fn send(variables: &[(&str, &str)], text: &str) -> (App, RawConnection) {
    let app = start(variables);
    let mut connection = app.connect().await;
    connection.send(text).await;
    (app, connection)
}

pub(crate) fn routes(config: &mut ServiceConfig<'_>) {
    let gate = web::Data::new(Semaphore::new(0));
    config
        .app_data(gate)
        .app_data(web::Data::<Counted>::default())
        .service(get_hello)
        .service(get_item)
        .service(post_echo)
        .service(post_json)
        .service(get_query)
        .service(get_panic)
        .service(get_guard_panic)
        .service(get_failure)
        .service(get_stream)
        .service(post_count)
        .service(get_count)
        .service(get_broken_stream)
        .service(get_parts)
        .service(get_thread)
        .service(post_task)
        .service(get_tasks)
        .service(post_work)
        .service(get_gate)
        .service(post_gate);
    #[cfg(target_os = "linux")]
    config.service(get_niceness);
}

#[utoipa::path(responses((status = 200)))]
#[get("/hello")]
async fn get_hello() -> &'static str {
    "hello"
}

#[utoipa::path(responses((status = 200)))]
#[get("/items/{id}")]
async fn get_item(id: web::Path<u32>) -> String {
    id.to_string()
}

#[utoipa::path(responses((status = 200)))]
#[post("/echo")]
async fn post_echo(Body(body): Body) -> Bytes {
    body
}

#[derive(Deserialize, utoipa::ToSchema)]
struct Word {
    word: String,
}

#[utoipa::path(responses((status = 200)))]
#[post("/json")]
async fn post_json(Json(Word { word }): Json<Word>) -> String {
    word
}

#[utoipa::path(responses((status = 200)))]
#[get("/query")]
async fn get_query(Query(Word { word }): Query<Word>) -> String {
    word
}

#[utoipa::path(responses((status = 200)))]
#[get("/panic")]
#[expect(unreachable_code, reason = "a handler's type, for one that has no answer")]
async fn get_panic() -> &'static str {
    panic!("the reason is for the log alone");
    ""
}

/// Panics while its handler is chosen, before there is a future to poll.
#[utoipa::path(responses((status = 200)))]
#[get("/guard-panic", guard = "panicking_guard")]
async fn get_guard_panic() -> &'static str {
    ""
}

fn panicking_guard(_: &GuardContext<'_>) -> bool {
    panic!("the reason is for the log alone");
}

/// How many tasks live that [`post_task`] has begun; a single test does that.
static TASKS: AtomicUsize = AtomicUsize::new(0);

struct Task;

impl Drop for Task {
    fn drop(&mut self) {
        TASKS.fetch_sub(1, Relaxed);
    }
}

/// Begins a task that never ends, on the worker's runtime, as a client of another server does for a connection.
#[utoipa::path(responses((status = 200)))]
#[post("/tasks")]
#[expect(clippy::disallowed_methods, reason = "what it does is what is tested")]
async fn post_task(_: Body) -> &'static str {
    TASKS.fetch_add(1, Relaxed);
    let task = Task;
    tokio::spawn(async move {
        let _task = task;
        std::future::pending::<()>().await;
    });
    "begun"
}

#[utoipa::path(responses((status = 200)))]
#[get("/tasks")]
async fn get_tasks() -> String {
    TASKS.load(Relaxed).to_string()
}

/// How often work that [`post_work`] has begun came to its end; a single test does that.
pub(crate) static ENDED: AtomicUsize = AtomicUsize::new(0);

/// Begins background work on the worker's runtime, which ends some time after it is told of the stop.
#[utoipa::path(responses((status = 200)))]
#[post("/work")]
async fn post_work(_: Body, context: web::Data<ServiceContext>) -> &'static str {
    context.tasks.spawn_until(async |stop| {
        stop.cancelled().await;
        tokio::task::yield_now().await;
        ENDED.fetch_add(1, Relaxed);
    });
    "begun"
}

/// The worker's thread.
#[utoipa::path(responses((status = 200)))]
#[get("/thread")]
async fn get_thread() -> String {
    format!("{:?}", std::thread::current().id())
}

/// By how much a thread for blocking work is nicer than the worker.
#[cfg(target_os = "linux")]
#[utoipa::path(responses((status = 200)))]
#[get("/niceness")]
async fn get_niceness() -> String {
    let of_this_thread = || rustix::process::getpriority_process(None).unwrap();
    let blocking = web::block(of_this_thread).await.unwrap();
    (blocking - of_this_thread()).to_string()
}

#[derive(Debug, thiserror::Error)]
#[error("outer cause")]
struct Outer(#[source] std::io::Error);

#[utoipa::path(responses((status = 200)))]
#[get("/failure")]
async fn get_failure() -> Result<&'static str, Problem> {
    let cause = Outer(std::io::Error::other("inner cause"));
    Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE)
        .member("code", 503)
        .retry_after(Duration::from_millis(1500))
        .caused_by(cause))
}

/// A stream that never ends.
#[utoipa::path(responses((status = 200)))]
#[get("/stream")]
async fn get_stream(counted: web::Data<Counted>) -> HttpResponse {
    let endless = stream::repeat(Bytes::from_static(&[b'x'; 1024]));
    let endless = endless.inspect(move |part| {
        counted.0.fetch_add(part.len(), Relaxed);
    });
    HttpResponse::Ok().streaming(endless.map(Ok::<_, std::io::Error>))
}

/// How many requests were counted, and bytes of streams that never end.
#[derive(Default)]
struct Counted(AtomicUsize);

#[utoipa::path(responses((status = 200)))]
#[post("/count")]
async fn post_count(counted: web::Data<Counted>) -> &'static str {
    counted.0.fetch_add(1, Relaxed);
    "counted"
}

#[utoipa::path(responses((status = 200)))]
#[get("/count")]
async fn get_count(counted: web::Data<Counted>) -> String {
    counted.0.load(Relaxed).to_string()
}

/// A stream that breaks off.
#[utoipa::path(responses((status = 200)))]
#[get("/broken-stream")]
async fn get_broken_stream() -> HttpResponse {
    let parts =
        [Ok(Bytes::from_static(b"a part")), Err(Outer(std::io::Error::other("inner cause")))];
    HttpResponse::Ok().streaming(stream::iter(parts))
}

#[derive(Deserialize, utoipa::IntoParams)]
struct Parts {
    /// How many bytes the answer says that it has.
    announced: u64,
    /// The bytes of each part, divided by commas.
    parts: String,
}

/// A stream of [`byte`]s whose length is announced.
#[utoipa::path(params(Parts), responses((status = 200)))]
#[get("/parts")]
async fn get_parts(Query(Parts { announced, parts }): Query<Parts>) -> HttpResponse {
    let mut at = 0;
    let parts = parts.split(',').map(|length| {
        let from = at;
        at += length.parse::<usize>().unwrap();
        Ok::<_, std::io::Error>((from..at).map(byte).collect())
    });
    let parts: Vec<_> = parts.collect();
    HttpResponse::Ok().body(SizedStream::new(announced, stream::iter(parts)))
}

/// The path of an answer that consists of these parts.
pub(crate) fn parts(announced: usize, parts: &[usize]) -> String {
    let parts: Vec<_> = parts.iter().map(ToString::to_string).collect();
    format!("/parts?announced={announced}&parts={}", parts.join(","))
}

/// A body of so many bytes.
pub(crate) fn body(length: usize) -> Vec<u8> {
    (0..length).map(byte).collect()
}

/// The byte at this place of a body, of which none can be missing or twice unnoticed.
fn byte(at: usize) -> u8 {
    u8::try_from(at % 89).unwrap() + b' '
}

/// Answers once somebody has posted to it.
#[utoipa::path(responses((status = 200)))]
#[get("/gate")]
async fn get_gate(gate: web::Data<Semaphore>) -> Result<&'static str, Problem> {
    gate.acquire().await.map_err(Problem::internal)?.forget();
    Ok("open")
}

#[utoipa::path(responses((status = 200)))]
#[post("/gate")]
async fn post_gate(_: Body, gate: web::Data<Semaphore>) -> &'static str {
    gate.add_permits(1);
    "opened"
}
