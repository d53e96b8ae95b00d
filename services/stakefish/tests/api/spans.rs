//! Spans of the DNS and of the database.

use hickory_server::proto::op::ResponseCode;
use test_support::{Binary, Collector, RawConnection, Sql, wait_until};

use crate::TIMEOUT;
use crate::dns::{Dns, Reply};

const PROGRAM: &str = env!("CARGO_BIN_EXE_stakefish");

async fn look_up(binary: &Binary, trace: &str, name: &str) -> u16 {
    let mut connection = RawConnection::open(binary.addr().await).await;
    let body = format!("{{\"domain\":\"{name}\"}}");
    connection
        .send(format!(
            "POST /tools/lookup HTTP/1.1\r\nhost: x\r\ntraceparent: 00-{trace}-00f067aa0ba902b7-01\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        ))
        .await;
    connection.response().await.unwrap().status
}

#[tokio::test]
async fn a_lookup_is_spans_down_to_the_resolver_and_the_database_without_the_name() {
    let (collector, dns) = (Collector::start().await, Dns::start().await);
    let database = Sql::Sqlite.database().await.unwrap();
    let (endpoint, servers) = (collector.endpoint(), dns.addr());
    dns.set_addresses("chosen.example", &["192.0.2.1"]);
    dns.set("broken.example", Reply::Code(ResponseCode::ServFail));
    let variables = [
        ("DATABASE_URL", database.url()),
        ("DNS_SERVERS", &servers),
        ("OTEL_BSP_SCHEDULE_DELAY", "10"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint),
    ];
    let binary = Binary::serve(PROGRAM, &[], &variables);
    let [asked, cached, broken] = ["1", "2", "3"].map(|digit| digit.repeat(32));

    // The database is not there at once.
    wait_until("it is ready", TIMEOUT, async || {
        let mut connection = RawConnection::open(binary.addr().await).await;
        connection.send("GET /readyz HTTP/1.1\r\nhost: x\r\n\r\n").await;
        connection.response().await.unwrap().status == 200
    })
    .await;
    assert_eq!(look_up(&binary, &asked, "chosen.example").await, 200);
    assert_eq!(look_up(&binary, &cached, "chosen.example").await, 200);
    assert_eq!(look_up(&binary, &broken, "broken.example").await, 502);

    let saved = "  stakefish: internal save_queries\n    \
                   stakefish: client save_queries\n      \
                     stakefish: internal wait for connection\n";
    let server = "stakefish: server POST /tools/lookup\n";
    let lookup = "  stakefish: client DNS lookup\n";
    assert_eq!(collector.tree(&asked, 5).await, [server, lookup, saved].concat());
    assert_eq!(collector.tree(&cached, 4).await, [server, saved].concat());
    assert_eq!(collector.tree(&broken, 2).await, [server, lookup].concat());
    let spans = collector.spans();
    let failed =
        |span: &&test_support::Exported| span.trace_id() == broken && span.kind() == "client";
    let failed = spans.iter().find(failed).unwrap();
    assert!(failed.failed());
    assert_eq!(failed.attributes["error.type"], "dns_error");
    for name in ["chosen", "broken"] {
        assert!(!format!("{spans:?}").contains(name), "{spans:?}");
    }
}
