//! Words: `POST` and `GET`.

use serde_json::{Value, json};
use test_support::on_both_databases;

use crate::Service;

/// The characters of a text, in order.
fn sorted(text: &str) -> Vec<char> {
    let mut characters: Vec<_> = text.chars().collect();
    characters.sort_unstable();
    characters
}

on_both_databases! {
    async fn a_word_is_jumbled_kept_and_found_again(sql: Sql) {
        let Some(service) = Service::start(sql, &[]).await else { return };

        let answer = service
            .app
            .post("/api/randomizes", "application/json", r#"{"word":"string"}"#)
            .await;

        assert_eq!(answer.status(), 201);
        let location = answer.headers()["location"].to_str().unwrap().to_owned();
        let created: Value = answer.json().await.unwrap();
        let members: Vec<_> = created.as_object().unwrap().keys().cloned().collect();
        assert_eq!(members, ["created", "id", "jumbled", "original", "updated"]);
        assert_eq!(created["original"], "string");
        assert_eq!(created["updated"], Value::Null);
        assert_eq!(sorted(created["jumbled"].as_str().unwrap()), sorted("string"));
        let time = created["created"].as_str().unwrap();
        assert!(time.len() == 24 && time.ends_with('Z') && time.as_bytes()[19] == b'.', "{time}");
        for path in ["/api/randomizes", "/prefix/of/a/proxy/api/randomizes"] {
            let found = service.app.resolve(path, &location);
            assert_eq!(found, format!("{path}/{}", created["id"]));
        }
        assert_eq!(service.json(&service.app.resolve("/api/randomizes", &location)).await, created);
        let answer =
            service.app.post("/api/randomizes/", "application/json", r#"{"word":"a"}"#).await;
        let location = answer.headers()["location"].to_str().unwrap().to_owned();
        assert_eq!(service.app.resolve("/api/randomizes/", &location), "/api/randomizes/2");
    }

    async fn a_word_has_one_number(sql: Sql) {
        let Some(service) = Service::start(sql, &[]).await else { return };
        service.create("word").await;

        for id in [
            "+1", "01", "1.0", "1e0", "%201", "1%20", "%31%00", "-1", "0", "2", "x",
            "9223372036854775807", "9223372036854775808",
        ] {
            let answer = service.app.get(&format!("/api/randomizes/{id}")).await;

            assert_eq!(answer.status(), 404, "{id}");
            let problem: Value = answer.json().await.unwrap();
            assert_eq!(problem["code"], 404, "{id}");
        }
        assert_eq!(service.app.get("/api/randomizes/1").await.status(), 200);
    }

    async fn any_text_of_255_code_points_comes_back_as_it_was(sql: Sql) {
        let Some(service) = Service::start(sql, &[]).await else { return };
        for text in [
            "x".repeat(255),
            "👩‍👩‍👧‍👦".repeat(36),
            "🇩🇪🇫🇷".repeat(63),
            "e\u{301}".repeat(127),
            "שָׁלוֹם".repeat(30),
            "\u{1}\u{7f}\u{85}\u{2028}\u{feff}\u{10ffff}".to_owned(),
            "'; DROP TABLE randomizes; -- \" \\ $1 ?".to_owned(),
        ] {
            let created = service.create(&text).await;

            assert_eq!(created["original"], text);
            let found = service.json(&format!("/api/randomizes/{}", created["id"])).await;
            assert_eq!(found, created);
        }
    }

    async fn the_same_word_again_is_another_entry(sql: Sql) {
        let Some(service) = Service::start(sql, &[]).await else { return };

        let first = service.create("the same word, again and again").await;
        let second = service.create("the same word, again and again").await;

        assert_ne!(first["id"], second["id"]);
        assert_ne!(first["jumbled"], second["jumbled"]);
    }

    async fn many_words_at_once_each_get_their_own_id(sql: Sql) {
        let Some(service) = Service::start(sql, &[]).await else { return };

        let words = (0..100).map(|n| format!("word number {n}"));
        let created =
            futures_util::future::join_all(words.map(|word| async { service.create(&{ word }).await }))
                .await;

        for created in created {
            let found = service.json(&format!("/api/randomizes/{}", created["id"])).await;
            assert_eq!(found, created);
        }
    }

    async fn what_is_no_json_or_no_word_is_a_400(sql: Sql) {
        let Some(service) = Service::start(sql, &[]).await else { return };
        for body in ["", "{", "no json", r#"{"word":"a"} x"#, "{}", r#"{"word":""}"#, "\u{0}"] {
            let (status, problem) = service.post(body).await;

            assert_eq!((status, &problem["code"]), (400, &json!(400)), "{body}: {problem}");
            assert_eq!(problem["status"], 400);
        }
        let (status, _) = service.post(&b"{\"word\":\"\xff\"}"[..]).await;
        assert_eq!(status, 400);
    }

    async fn what_is_no_valid_word_is_a_422_that_says_so(sql: Sql) {
        let Some(service) = Service::start(sql, &[]).await else { return };
        let long = json!({ "word": "é".repeat(256) }).to_string();
        for (body, errors) in [
            ("[]", json!({"_schema": ["Invalid input type."]})),
            ("null", json!({"_schema": ["Invalid input type."]})),
            (r#""word""#, json!({"_schema": ["Invalid input type."]})),
            (r#"{"word":7}"#, json!({"word": ["Not a valid string."]})),
            (r#"{"word":["a"]}"#, json!({"word": ["Not a valid string."]})),
            (r#"{"word":null}"#, json!({"word": ["Field may not be null."]})),
            (&long, json!({"word": ["Longer than maximum length 255."]})),
            (r#"{"word":"a\u0000b"}"#, json!({"word": ["Null characters are not allowed."]})),
            (r#"{"word":"a","x":1}"#, json!({"x": ["Unknown field."]})),
            (
                r#"{"word":7,"x":1}"#,
                json!({"word": ["Not a valid string."], "x": ["Unknown field."]}),
            ),
        ] {
            let (status, problem) = service.post(body.to_owned()).await;

            assert_eq!(status, 422, "{body}: {problem}");
            assert_eq!(problem["errors"]["json"], errors, "{body}");
            assert_eq!(problem["code"], 422);
        }
    }

    async fn other_bodies_are_refused_by_what_they_are(sql: Sql) {
        let Some(service) = Service::start(sql, &[]).await else { return };
        let long = format!(r#"{{"word":"{}"}}"#, "x".repeat(70_000));
        for (media_type, body, status) in [
            ("text/plain", r#"{"word":"a"}"#, 415),
            ("application/x-www-form-urlencoded", "word=a", 415),
            ("application/json", long.as_str(), 413),
        ] {
            let answer = service.app.post("/api/randomizes", media_type, body.to_owned()).await;

            assert_eq!(answer.status(), status);
            let problem: Value = answer.json().await.unwrap();
            assert_eq!(problem["code"], status);
        }
    }

    async fn the_list_is_the_latest_first_a_page_at_a_time(sql: Sql) {
        let Some(service) = Service::start(sql, &[]).await else { return };
        let mut created = Vec::new();
        for n in 0..25 {
            created.insert(0, service.create(&format!("word {n}")).await);
        }

        let answer = service.app.get("/api/randomizes").await;
        assert!(answer.headers().contains_key("link"));
        assert_eq!(answer.json::<Vec<Value>>().await.unwrap(), created[..20]);

        let mut pages = Vec::new();
        let mut path = "/api/randomizes?limit=10".to_owned();
        loop {
            let answer = service.app.get(&path).await;
            let link = answer.headers().get("link").map(|link| link.to_str().unwrap().to_owned());
            pages.extend(answer.json::<Vec<Value>>().await.unwrap());
            let Some(link) = link else { break };
            // A word that comes meanwhile moves no page.
            service.create("meanwhile").await;
            let reference = link.strip_prefix('<').unwrap().split_once('>').unwrap().0;
            path = service.app.resolve(&path, reference);
            assert!(link.ends_with("; rel=\"next\""), "{link}");
        }
        assert_eq!(pages, created);
    }

    async fn a_bad_limit_or_cursor_is_a_422(sql: Sql) {
        let Some(service) = Service::start(sql, &[]).await else { return };
        for path in ["/api/randomizes", "/api/histories"] {
            service.app.expect_limit_up_to(100, path, 422).await;
            for cursor in ["x", "-1", "01", "ffffffffffffffff"] {
                let path = format!("{path}?cursor={cursor}");
                service.app.expect_problem(&path, 422, "`cursor`").await;
            }
        }
        assert_eq!(service.app.get("/api/randomizes?limit=100").await.status(), 200);
        assert_eq!(service.app.get("/api/randomizes?limit=%").await.status(), 400);
    }
}
