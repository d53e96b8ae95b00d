//! What was looked up, on both databases.

use futures_util::future::join_all;
use reqwest::{Method, Response};
use serde_json::{Value, json};
use test_support::{next_page, on_both_databases};

use crate::Service;

async fn domains(answer: Response) -> Vec<String> {
    assert_eq!(answer.status(), 200);
    let queries: Vec<Value> = answer.json().await.unwrap();
    queries.iter().map(|query| query["domain"].as_str().unwrap().to_owned()).collect()
}

/// Looks up `0.example`, `1.example` and so on, one after the other.
async fn look_up_many(service: &Service, names: std::ops::Range<usize>) {
    for number in names {
        let name = format!("{number}.example");
        service.dns.set_addresses(&name, &["192.0.2.1"]);
        assert_eq!(service.look_up(&name).await.status(), 200);
    }
}

fn names(numbers: impl Iterator<Item = usize>) -> Vec<String> {
    numbers.map(|number| format!("{number}.example")).collect()
}

on_both_databases! {
    async fn lookups_that_share_a_commit_are_found_as_they_were_answered(sql: Sql) {
        let Some(database) = sql.database().await else { return };
        let service = Service::start_on(database.url(), &[]).await;
        for (number, name) in (0_u8..60).zip(names(0..60)) {
            service.dns.set_addresses(&name, &[&format!("192.0.2.{number}")]);
        }

        let lookups = names(0..60).into_iter().map(|name| {
            let service = &service;
            async move { service.look_up(&name).await.json::<Value>().await.unwrap() }
        });
        let mut answers = join_all(lookups).await;

        answers.sort_by_key(|answer| std::cmp::Reverse(answer["id"].as_i64()));
        let history = service.app.get("/history?limit=60").await;
        assert_eq!(history.json::<Vec<Value>>().await.unwrap(), answers);
    }

    async fn what_was_looked_up_is_found_as_it_was_answered(sql: Sql) {
        let Some(database) = sql.database().await else { return };
        let service = Service::start_on(database.url(), &[("TRUSTED_PROXIES", "127.0.0.1")]).await;
        service.dns.set_addresses("one.example", &["192.0.2.9", "192.0.2.10", "10.0.0.1"]);
        service.dns.set_addresses("two.example", &["192.0.2.10"]);
        let mut answers = Vec::new();
        for (name, client) in [("one.example", "203.0.113.7"), ("two.example", "2001:db8::7"), ("one.example", "::ffff:198.51.100.1")] {
            let request = service.app.request(Method::POST, "/tools/lookup").header("x-forwarded-for", client);
            let answer = request.json(&json!({ "domain": name })).send().await.unwrap();
            answers.push(answer.json::<Value>().await.unwrap());
        }

        let history: Vec<Value> = service.app.get("/history").await.json().await.unwrap();

        answers.reverse();
        assert_eq!(history, answers);
        assert_eq!(history[0]["client_ip"], "198.51.100.1");
        assert_eq!(history[2]["addresses"], json!([{"ip": "10.0.0.1"}, {"ip": "192.0.2.9"}, {"ip": "192.0.2.10"}]));
        let ids: Vec<_> = history.iter().map(|query| query["id"].as_i64().unwrap()).collect();
        assert_eq!(ids, [3, 2, 1]);
        // What is saved is there after a restart.
        assert!(service.app.stop().await);
        let service = Service::start_on(database.url(), &[]).await;
        let again: Vec<Value> = service.app.get("/history").await.json().await.unwrap();
        assert_eq!(again, history);
    }

    async fn pages_lead_through_all_queries_and_do_not_shift(sql: Sql) {
        let Some(database) = sql.database().await else { return };
        let service = Service::start_on(database.url(), &[]).await;
        look_up_many(&service, 0..25).await;

        for (face, path) in [("/history", "/history?limit=10"), ("/v1/history", "/v1/history?limit=10")] {
            let (mut seen, mut pages) = (Vec::new(), 0);
            let mut next = Some(path.to_owned());
            while let Some(path) = next {
                assert!(path.starts_with(face), "{path}");
                let answer = service.app.get(&path).await;
                next = next_page(&answer);
                seen.extend(domains(answer).await);
                pages += 1;
                if face == "/history" {
                    // What is saved meanwhile is on no later page.
                    look_up_many(&service, 25 + pages..26 + pages).await;
                }
            }
            if face == "/history" {
                assert_eq!((seen, pages), (names((0..25).rev()), 3));
            } else {
                assert_eq!((seen.len(), pages), (28, 3));
            }
        }
    }

    async fn the_latest_twenty_are_shown_unless_more_are_asked_for(sql: Sql) {
        let Some(database) = sql.database().await else { return };
        let service = Service::start_on(database.url(), &[]).await;
        assert_eq!(service.app.get("/history").await.text().await.unwrap(), "[]");
        look_up_many(&service, 0..21).await;

        for (path, expected, more) in [
            ("/history", names((1..21).rev()), true),
            ("/history?limit=21", names((0..21).rev()), false),
            ("/history?limit=100", names((0..21).rev()), false),
            ("/history?limit=1", names(20..21), true),
            ("/history?cursor=3", names((0..2).rev()), false),
            ("/v1/history", names((1..21).rev()), true),
        ] {
            let answer = service.app.get(path).await;
            assert_eq!(next_page(&answer).is_some(), more, "{path}");
            assert_eq!(domains(answer).await, expected, "{path}");
        }
    }

    async fn one_transaction_saves_what_waits_at_the_same_time(sql: Sql) {
        let Some(database) = sql.database().await else { return };
        let service = Service::start_on(database.url(), &[("WORKERS", "2")]).await;
        service.dns.set_addresses("hot.example", &["192.0.2.1"]);
        service.look_up("hot.example").await;

        let lookups = (0..200).map(|_| service.look_up("hot.example"));
        let answers = join_all(lookups).await;

        assert!(answers.iter().all(|answer| answer.status() == 200));
        let mut ids = Vec::new();
        for answer in answers {
            ids.push(answer.json::<Value>().await.unwrap()["id"].as_i64().unwrap());
        }
        ids.sort_unstable();
        assert_eq!(ids, (2..=201).collect::<Vec<_>>());
        let commits = service.app.metric("db_client_batch_size_count").await.unwrap();
        assert!(commits < 150.0, "{commits}");
    }
}

#[tokio::test]
async fn bad_parameters_are_a_422_and_under_v1_a_400() {
    let service = Service::start(&[]).await;

    for (path, status) in [("/history", 422), ("/v1/history", 400)] {
        service.app.expect_limit_up_to(100, path, status).await;
        for (query, detail) in [
            ("limit=1%27%3B%20DROP%20TABLE%20queries", "`limit`"),
            ("cursor=0", "`cursor`"),
            ("cursor=-5", "`cursor`"),
            ("cursor=99999999999999999999", "`cursor`"),
            ("cursor=1%20OR%201%3D1", "`cursor`"),
        ] {
            service.app.expect_problem(&format!("{path}?{query}"), status, detail).await;
        }
    }
    assert_eq!(service.app.get("/history?limit=1&limit=2").await.status(), 400);
    assert_eq!(service.app.get("/history?cursor=%ff").await.status(), 400);
}
