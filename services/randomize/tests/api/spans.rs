//! Spans of the database.

use test_support::{Binary, Collector, RawConnection, SqlDatabase, on_both_databases};
use tokio::task::JoinSet;

use crate::{TIMEOUT, database};

const PROGRAM: &str = env!("CARGO_BIN_EXE_randomize");

async fn serve(collector: &Collector, database: &SqlDatabase) -> Binary {
    let endpoint = collector.endpoint();
    let variables = [
        ("DATABASE_URL", database.url()),
        ("OTEL_BSP_SCHEDULE_DELAY", "10"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint),
    ];
    let binary = Binary::serve(PROGRAM, &[], &variables);
    let addr = binary.addr().await;
    test_support::wait_until("it is ready", TIMEOUT, async || {
        let mut connection = RawConnection::open(addr).await;
        connection.send("GET /readyz HTTP/1.1\r\nhost: x\r\n\r\n").await;
        connection.response().await.unwrap().status == 200
    })
    .await;
    binary
}

fn trace(number: usize) -> String {
    format!("{:032x}", number + 1)
}

fn traceparent(number: usize) -> String {
    format!("host: x\r\ntraceparent: 00-{}-00f067aa0ba902b7-01\r\n", trace(number))
}

fn post(number: usize) -> String {
    let head = traceparent(number);
    format!(
        "POST /api/randomizes HTTP/1.1\r\n{head}content-length: 17\r\n\r\n{{\"word\":\"chosen\"}}"
    )
}

on_both_databases! {
    async fn a_write_and_a_read_are_spans_down_to_the_database(sql: Sql) {
        let Some(database) = database(sql).await else { return };
        let collector = Collector::start().await;
        let binary = serve(&collector, &database).await;
        let mut connection = RawConnection::open(binary.addr().await).await;

        connection.send(post(0)).await;
        assert_eq!(connection.response().await.unwrap().status, 201);
        connection.send(format!("GET /api/randomizes/1 HTTP/1.1\r\n{}\r\n", traceparent(1))).await;
        assert_eq!(connection.response().await.unwrap().status, 200);

        assert_eq!(
            collector.tree(&trace(0), 4).await,
            "randomize: server POST /api/randomizes\n  \
               randomize: internal insert_randomizes\n    \
                 randomize: client insert_randomizes\n      \
                   randomize: internal wait for connection\n"
        );
        assert_eq!(
            collector.tree(&trace(1), 3).await,
            "randomize: server GET /api/randomizes/{id}\n  \
               randomize: client find_randomize\n    \
                 randomize: internal wait for connection\n"
        );
        let spans = collector.spans();
        let read = spans.iter().find(|span| span.name() == "find_randomize").unwrap();
        let system = if database.url().starts_with("sqlite") { "sqlite" } else { "postgresql" };
        assert_eq!(read.attributes["db.system.name"], system);
        assert_eq!(read.attributes["db.query.summary"], "find_randomize");
        assert_eq!(read.attributes.contains_key("server.port"), system == "postgresql");
        assert_eq!(read.attributes.contains_key("db.namespace"), system == "postgresql");
        assert!(!format!("{spans:?}").contains("chosen"), "{spans:?}");
    }

    async fn a_commit_for_many_requests_is_one_span_that_all_of_them_lead_to(sql: Sql) {
        const REQUESTS: usize = 64;
        let Some(database) = database(sql).await else { return };
        let collector = Collector::start().await;
        let binary = serve(&collector, &database).await;
        let addr = binary.addr().await;

        let mut clients = JoinSet::new();
        for number in 0..REQUESTS {
            clients.spawn(async move {
                let mut connection = RawConnection::open(addr).await;
                connection.send(post(number)).await;
                assert_eq!(connection.response().await.unwrap().status, 201);
            });
        }
        clients.join_all().await;

        let is_commit = |span: &test_support::Exported| {
            span.kind() == "client" && span.name() == "insert_randomizes"
        };
        let size = |span: &test_support::Exported| {
            let size = span.attributes.get("db.operation.batch.size");
            assert_eq!(size.is_some(), span.integer("db.operation.batch.size").is_some());
            size.map_or(1, |size| size.parse::<usize>().unwrap())
        };
        let is_wait = |span: &test_support::Exported| {
            span.kind() == "internal" && span.name() == "insert_randomizes"
        };
        let mut spans = Vec::new();
        test_support::wait_until("all spans have come", TIMEOUT, async || {
            spans = collector.spans();
            let rows: usize = spans.iter().filter(|span| is_commit(span)).map(size).sum();
            rows == REQUESTS && spans.iter().filter(|span| is_wait(span)).count() == REQUESTS
        })
        .await;
        let commits: Vec<_> = spans.iter().filter(|span| is_commit(span)).collect();
        assert!(commits.len() < REQUESTS, "no two requests shared a commit");
        for wait in spans.iter().filter(|span| is_wait(span)) {
            let id = wait.span_id();
            let of_this = |commit: &&&test_support::Exported| {
                (commit.parent() == id && wait.links().is_empty())
                    || (wait.links() == [commit.span_id()] && commit.links().contains(&id))
            };
            assert_eq!(commits.iter().filter(of_this).count(), 1, "{wait:?}");
        }
    }
}
