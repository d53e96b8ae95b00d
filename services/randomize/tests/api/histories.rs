//! The audit trail as it is shown, and to whom.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken_test::{token, unsigned};
use serde_json::{Value, json};
use test_support::{Sql, on_both_databases};

use crate::Service;

const SECRET: &str = "a secret of at least thirty-two bytes";

/// Tokens as others make them.
mod jsonwebtoken_test {
    use ring::hmac;
    use serde_json::Value;

    fn base64url(bytes: &[u8]) -> String {
        const DIGITS: &[u8; 64] =
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let mut text = String::new();
        for chunk in bytes.chunks(3) {
            let bits = chunk.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte))
                << (8 * (3 - chunk.len()));
            for digit in 0..=chunk.len() {
                text.push(char::from(DIGITS[(bits >> (18 - 6 * digit) & 63) as usize]));
            }
        }
        text
    }

    pub(super) fn unsigned(header: &Value, claims: &Value) -> String {
        let part = |value: &Value| base64url(value.to_string().as_bytes());
        format!("{}.{}", part(header), part(claims))
    }

    pub(super) fn token(
        algorithm: hmac::Algorithm,
        header: &Value,
        claims: &Value,
        secret: &str,
    ) -> String {
        let message = unsigned(header, claims);
        let key = hmac::Key::new(algorithm, secret.as_bytes());
        let signature = base64url(hmac::sign(&key, message.as_bytes()).as_ref());
        format!("{message}.{signature}")
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn hs256(claims: &Value) -> String {
    token(ring::hmac::HMAC_SHA256, &json!({"alg": "HS256", "typ": "JWT"}), claims, SECRET)
}

/// A token that is valid for an hour.
pub(crate) fn signed(secret: &str) -> String {
    let claims = json!({ "exp": now() + 3600 });
    token(ring::hmac::HMAC_SHA256, &json!({"alg": "HS256"}), &claims, secret)
}

async fn status_with(service: &Service, authorization: &str) -> u16 {
    let request = service.app.request(reqwest::Method::GET, "/api/histories");
    let answer = request.header("authorization", authorization).send().await.unwrap();
    let status = answer.status().as_u16();
    assert_eq!(status == 401, answer.headers().contains_key("www-authenticate"));
    status
}

on_both_databases! {
    async fn the_last_ten_are_shown_the_oldest_first(sql: Sql) {
        let Some(service) = Service::start(sql, &[]).await else { return };
        let mut words = Vec::new();
        for n in 0..12 {
            let body = json!({ "word": format!("word {n}") }).to_string();
            service.post(body.clone()).await;
            words.push(body);
        }

        let rows = service.json("/api/histories").await;

        let shown: Vec<_> = rows.as_array().unwrap().iter().map(|row| &row["data"]).collect();
        assert_eq!(shown, words[2..].iter().collect::<Vec<_>>());
        let members: Vec<_> = rows[0].as_object().unwrap().keys().cloned().collect();
        assert_eq!(members, ["created", "data", "id", "method", "route", "status"]);
        assert!(rows[0]["created"].as_str().unwrap().ends_with('Z'));
        let ids: Vec<_> = rows.as_array().unwrap().iter().map(|row| row["id"].as_i64()).collect();
        assert!(ids.is_sorted());
    }

    async fn the_pages_before_are_found_by_their_link(sql: Sql) {
        let Some(service) = Service::start(sql, &[]).await else { return };
        for n in 0..7 {
            service.create(&format!("word {n}")).await;
        }

        let answer = service.app.get("/api/histories?limit=4").await;
        let link = answer.headers()["link"].to_str().unwrap().to_owned();
        let latest: Vec<Value> = answer.json().await.unwrap();
        let reference = link.strip_prefix('<').unwrap().split_once('>').unwrap().0;
        let path = service.app.resolve("/api/histories", reference);
        let answer = service.app.get(&path).await;
        assert!(!answer.headers().contains_key("link"));
        let before: Vec<Value> = answer.json().await.unwrap();

        let all = service.histories(7).await;
        assert_eq!([before, latest].concat(), all);
    }
}

#[tokio::test]
async fn with_a_secret_only_a_valid_token_shows_the_trail() {
    let service = Service::start(Sql::Sqlite, &[("JWT_SECRET", SECRET)]).await.unwrap();
    let exp = now() + 60;
    let good = hs256(&json!({ "sub": "alice", "exp": exp }));

    assert_eq!(service.app.get("/api/histories").await.status(), 401);
    for authorization in [
        format!("Bearer {good}"),
        format!("bearer {good}"),
        format!("BEARER  {good}"),
        format!("Bearer {}", hs256(&json!({ "exp": exp, "aud": "another", "nbf": now() - 1 }))),
        // As Python's `time.time()` has it.
        format!(
            "Bearer {}",
            hs256(&json!({ "exp": 4_000_000_000.5, "nbf": 1_700_000_000.25, "iat": 1.5 }))
        ),
    ] {
        assert_eq!(status_with(&service, &authorization).await, 200, "{authorization}");
    }
    let header = json!({"alg": "HS256"});
    let claims = json!({ "exp": exp });
    let tampered = hs256(&json!({ "exp": 1 })).rsplit_once('.').unwrap().1.to_owned();
    for (what, refused) in [
        ("no scheme", good.clone()),
        ("another scheme", format!("Basic {good}")),
        ("no token", "Bearer ".to_owned()),
        ("no JWT", "Bearer a.b.c".to_owned()),
        ("expired", format!("Bearer {}", hs256(&json!({ "exp": now() - 1 })))),
        ("expires now", format!("Bearer {}", hs256(&json!({ "exp": now() })))),
        ("not yet valid", format!("Bearer {}", hs256(&json!({ "exp": exp, "nbf": now() + 30 })))),
        ("just expired", format!("Bearer {}", hs256(&json!({ "exp": 1_700_000_000.5 })))),
        ("not for long", format!("Bearer {}", hs256(&json!({ "exp": exp, "nbf": 4e9 + 0.5 })))),
        ("nbf of another type", format!("Bearer {}", hs256(&json!({ "exp": exp, "nbf": null })))),
        (
            "an extension that is not understood",
            format!(
                "Bearer {}",
                token(
                    ring::hmac::HMAC_SHA256,
                    &json!({"alg": "HS256", "crit": ["b64"], "b64": true}),
                    &claims,
                    SECRET
                )
            ),
        ),
        ("without exp", format!("Bearer {}", hs256(&json!({ "sub": "alice" })))),
        ("exp of another type", format!("Bearer {}", hs256(&json!({ "exp": "never" })))),
        ("none", format!("Bearer {}.", unsigned(&json!({"alg": "none"}), &claims))),
        (
            "HS512",
            format!(
                "Bearer {}",
                token(ring::hmac::HMAC_SHA512, &json!({"alg": "HS512"}), &claims, SECRET)
            ),
        ),
        (
            "RS256 in name",
            format!(
                "Bearer {}",
                token(ring::hmac::HMAC_SHA256, &json!({"alg": "RS256"}), &claims, SECRET)
            ),
        ),
        (
            "another secret",
            format!(
                "Bearer {}",
                token(
                    ring::hmac::HMAC_SHA256,
                    &header,
                    &claims,
                    "another secret of thirty-two bytes"
                )
            ),
        ),
        ("another signature", format!("Bearer {}.{tampered}", unsigned(&header, &claims))),
        ("without its signature", format!("Bearer {}.", unsigned(&header, &claims))),
        ("oversized", format!("Bearer {}", hs256(&json!({ "exp": exp, "x": "x".repeat(4000) })))),
    ] {
        assert_eq!(status_with(&service, &refused).await, 401, "{what}");
    }
    // Words are for everybody.
    service.create("word").await;
}

#[tokio::test]
async fn a_token_ends_when_it_says_so() {
    let service = Service::start(Sql::Sqlite, &[("JWT_SECRET", SECRET)]).await.unwrap();
    let short = format!("Bearer {}", hs256(&json!({ "exp": now() + 2 })));
    assert_eq!(status_with(&service, &short).await, 200);
    test_support::wait_until("it has ended", Duration::from_secs(10), async || {
        status_with(&service, &short).await == 401
    })
    .await;
}
