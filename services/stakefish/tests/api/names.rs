//! Names that are none, on both faces.

use serde_json::{Value, json};

use crate::Service;

#[tokio::test]
async fn what_is_no_domain_name_is_a_422_and_under_v1_a_400() {
    let service = Service::start(&[]).await;
    let label = format!("{}.example", "a".repeat(64));
    let name = format!("{}example", "a.".repeat(123)) + "s";
    assert_eq!(name.len(), 254);

    for domain in [
        "",
        ".",
        "192.168.5.4",
        "::1",
        "[2001:db8::1]",
        "http://example.com",
        "https://user:secret@example.com/",
        "example.com/path",
        "example.com%2f",
        " example.com",
        "exam ple.com",
        "example.com\n",
        "\u{0}",
        "\u{1b}[31m.example",
        "'; DROP TABLE queries; --",
        "a..example",
        "-.example",
        "*.example",
        &label,
        &name,
    ] {
        let answer = service.look_up(domain).await;
        assert_eq!(answer.status(), 422, "{domain:?}");
        let problem: Value = answer.json().await.unwrap();
        assert!(problem["detail"].as_str().unwrap().contains("domain name"), "{problem}");

        let url = reqwest::Url::parse_with_params(
            &service.app.url("/v1/tools/lookup"),
            [("domain", domain)],
        );
        let request = reqwest::Client::builder().no_proxy().build().unwrap().get(url.unwrap());
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 400, "{domain:?}");
        let problem: Value = answer.json().await.unwrap();
        assert!(problem["message"].as_str().unwrap().contains("domain name"), "{problem}");
    }
    assert_eq!(service.app.get("/history").await.text().await.unwrap(), "[]");
}

#[tokio::test]
async fn the_longest_name_and_the_longest_label_are_looked_up() {
    let service = Service::start(&[]).await;
    let name = format!("{}example", "a.".repeat(123));
    assert_eq!(name.len(), 253);
    let label = format!("{}.example", "a".repeat(63));
    service.dns.set_addresses(&name, &["192.0.2.1"]);
    service.dns.set_addresses(&label, &["192.0.2.2"]);

    assert_eq!(service.addresses(&name).await, ["192.0.2.1"]);
    assert_eq!(service.addresses(&format!("{name}.")).await, ["192.0.2.1"]);
    assert_eq!(service.addresses(&label).await, ["192.0.2.2"]);
}

#[tokio::test]
async fn a_missing_or_wrong_typed_name_is_the_same() {
    let service = Service::start(&[]).await;

    for body in
        ["{}", r#"{"domain":null}"#, r#"{"domain":7}"#, r#"{"domain":["a.example"]}"#, "[]", "7"]
    {
        let answer = service.app.post("/tools/lookup", "application/json", body).await;
        assert_eq!(answer.status(), 422, "{body}");
    }
    for query in
        ["", "?", "?domain", "?domain=", "?other=a.example", "?domain=a.example&domain=b.example"]
    {
        let answer = service.app.get(&format!("/v1/tools/lookup{query}")).await;
        assert_eq!(answer.status(), 400, "{query}");
    }
    for query in ["?domain=%", "?domain=%ff", "?domain=a%00.example", "?domain=a%2fb.example"] {
        let answer = service.app.get(&format!("/v1/tools/lookup{query}")).await;
        assert_eq!(answer.status(), 400, "{query}");
    }
}

#[tokio::test]
async fn what_is_no_json_or_too_large_is_said_so() {
    let service = Service::start(&[]).await;
    let huge = json!({ "domain": "a".repeat(10 * 1024 * 1024) }).to_string();

    for (content_type, body, status) in [
        ("application/json", "{", 400),
        ("application/json", "", 400),
        ("application/json", "\u{0}", 400),
        ("text/plain", "example.com", 415),
        ("application/xml", "<domain/>", 415),
        ("application/json", &huge, 413),
    ] {
        let answer = service.app.post("/tools/lookup", content_type, body.to_owned()).await;
        assert_eq!(answer.status(), status, "{content_type} {}", &body[..body.len().min(20)]);
    }
    // A request line of 10 MB is none; actix-web refuses what it cannot parse.
    let mut connection = service.app.connect().await;
    let line =
        format!("GET /v1/tools/lookup?domain={} HTTP/1.1\r\n\r\n", "a".repeat(10 * 1024 * 1024));
    let _ = connection.try_send(line).await;
    assert_eq!(service.app.get("/healthz").await.status(), 200);
}

#[tokio::test]
async fn a_name_is_taken_as_absolute() {
    let service = Service::start(&[]).await;
    service.dns.set_addresses("intranet", &["192.0.2.1"]);
    service.dns.set_addresses("_sip._tcp.example", &["192.0.2.2"]);

    assert_eq!(service.addresses("intranet").await, ["192.0.2.1"]);
    assert_eq!(service.addresses("_SIP._tcp.Example").await, ["192.0.2.2"]);
    assert_eq!(service.look_up("unknown").await.status(), 404);
    assert_eq!(service.dns.asked("unknown"), 1, "and nothing longer");
    // As RFC 6761 has it.
    assert_eq!(service.addresses("localhost").await, ["127.0.0.1"]);
    assert_eq!(service.dns.asked("localhost"), 0);
}
