//! Whether a text is an IPv4 address.

use serde_json::{Value, json};

use crate::Service;

#[tokio::test]
async fn only_the_four_numbers_of_an_address_are_one() {
    let service = Service::start(&[]).await;

    for (ip, valid) in [
        ("192.168.5.4", true),
        ("0.0.0.0", true),
        ("255.255.255.255", true),
        ("292.168.5.4", false),
        ("::1", false),
        ("::ffff:1.2.3.4", false),
        ("01.2.3.4", false),
        (" 1.2.3.4", false),
        ("1.2.3.4 ", false),
        ("1.2.3", false),
        ("1.2.3.4/32", false),
        ("0x7f.0.0.1", false),
        ("", false),
        ("\u{0}", false),
        ("'; DROP TABLE queries; --", false),
    ] {
        let answer = service.post("/tools/validate", &json!({ "ip": ip })).await;
        assert_eq!(answer.status(), 200, "{ip:?}");
        assert_eq!(answer.json::<Value>().await.unwrap(), json!({ "valid": valid }), "{ip:?}");

        let answer = service.post("/v1/tools/validate", &json!({ "ip": ip })).await;
        assert_eq!(answer.status(), 200, "{ip:?}");
        assert_eq!(answer.json::<Value>().await.unwrap(), json!({ "status": valid }), "{ip:?}");
    }
}

#[tokio::test]
async fn a_missing_or_wrong_typed_text_is_a_422_and_under_v1_a_400() {
    let service = Service::start(&[]).await;

    for body in ["{}", r#"{"ip":null}"#, r#"{"ip":4}"#, r#"{"ip":["1.2.3.4"]}"#, "null"] {
        let answer = service.app.post("/tools/validate", "application/json", body).await;
        assert_eq!(answer.status(), 422, "{body}");
        let answer = service.app.post("/v1/tools/validate", "application/json", body).await;
        assert_eq!(answer.status(), 400, "{body}");
    }
    let answer = service.app.post("/tools/validate", "application/json", "{").await;
    assert_eq!(answer.status(), 400);
    // What is known is enough.
    let answer = service.post("/tools/validate", &json!({"ip": "1.2.3.4", "more": 1})).await;
    assert_eq!(answer.status(), 200);
}
