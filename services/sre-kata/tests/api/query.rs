//! Every line of `/query` and `/healthcheck`.

use reqwest::{Method, Response};
use serde_json::{Value, json};

use crate::start;

async fn expect_bad_request(answer: Response, detail: &str) {
    assert_eq!(answer.status(), 400, "{detail}");
    assert_eq!(answer.headers()["content-type"], "application/problem+json", "{detail}");
    let problem: Value = answer.json().await.unwrap();
    let found = problem["detail"].as_str().unwrap();
    assert!(found.contains(detail), "{found}");
}

#[tokio::test]
async fn the_count_is_told_in_words() {
    let app = start(&[]);

    for (query, sentence) in [
        ("acx333x", "characters in acx333x is 2!"),
        ("caiopa", "characters in caiopa is 1!"),
        ("1Shimon1111xx", "characters in 1Shimon1111xx is 2!"),
        ("aabbcc", "characters in aabbcc is 3!"),
        ("abc", "characters in abc is 0!"),
        ("%C3%A9%C3%A9x", "characters in ééx is 1!"),
        ("ééx", "characters in ééx is 1!"),
        ("a+b+c", "characters in a b c is 1!"),
        ("a%2Bb%2B", "characters in a+b+ is 1!"),
        ("aA", "characters in aA is 0!"),
        ("%00%00", "characters in \0\0 is 1!"),
    ] {
        let expected = format!("Result: The amount of reoccurrence {sentence}");
        app.expect_text(&format!("/query?param={query}"), &expected).await;
    }
}

#[tokio::test]
async fn json_goes_to_those_who_prefer_it() {
    let app = start(&[]);

    for (accept, is_json) in [
        ("application/json", true),
        ("application/json, text/plain;q=0.5", true),
        ("text/html, application/json;q=0.9, text/plain;q=0.1", false),
        ("text/plain, application/json;q=0.5", false),
        ("*/*", false),
        ("image/png", false),
        (";;;", false),
    ] {
        let request = app.request(Method::GET, "/query?param=acx333x").header("accept", accept);
        let answer = request.send().await.unwrap();

        assert_eq!(answer.status(), 200, "{accept}");
        assert_eq!(answer.headers()["vary"], "Accept", "{accept}");
        if is_json {
            assert_eq!(answer.headers()["content-type"], "application/json", "{accept}");
            let body: Value = answer.json().await.unwrap();
            assert_eq!(body, json!({"param": "acx333x", "count": 2}));
        } else {
            assert_eq!(answer.headers()["content-type"], "text/plain; charset=utf-8", "{accept}");
        }
    }
}

#[tokio::test]
async fn a_bad_query_is_a_400_that_says_why() {
    let app = start(&[]);

    for (query, detail) in [
        ("", "`param` is missing"),
        ("?", "`param` is missing"),
        ("?other=ab", "`param` is missing"),
        ("?Param=ab", "`param` is missing"),
        ("?param", "at least two characters"),
        ("?param=", "at least two characters"),
        ("?param=a", "at least two characters"),
        ("?param=%C3%A9", "at least two characters"),
        ("?param=ab%", "broken percent escape"),
        ("?param=ab%4", "broken percent escape"),
        ("?param=ab%zz", "broken percent escape"),
        ("?param=ab%ff", "not valid UTF-8"),
        ("?param=%c3%28", "not valid UTF-8"),
        ("?param=%ed%a0%80ab", "not valid UTF-8"),
        ("?param=ab&param=cd", "more than once"),
        ("?param=ab&para%6D=ab", "more than once"),
    ] {
        expect_bad_request(app.get(&format!("/query{query}")).await, detail).await;
    }
}

#[tokio::test]
async fn an_answer_is_never_html() {
    let app = start(&[]);

    let request =
        app.request(Method::GET, "/query?param=%3Cscript%3E").header("accept", "text/html");
    let answer = request.send().await.unwrap();

    assert_eq!(answer.headers()["content-type"], "text/plain; charset=utf-8");
    assert_eq!(answer.headers()["x-content-type-options"], "nosniff");
}

#[tokio::test]
async fn a_body_is_counted_like_a_query() {
    let app = start(&[]);
    let sentence = "Result: The amount of reoccurrence characters in acx333x is 2!";

    for (content_type, body) in [
        ("text/plain", "acx333x"),
        ("text/plain; charset=UTF-8", "acx333x"),
        ("text/plain; charset=utf8", "acx333x"),
        ("application/json", r#"{"param":"acx333x"}"#),
        ("application/json", r#"{"more":[1,{}],"param":"acx333x"}"#),
    ] {
        let answer = app.post("/query", content_type, body).await;
        assert_eq!(answer.status(), 200, "{content_type}: {body}");
        assert_eq!(answer.text().await.unwrap(), sentence);
    }
}

#[tokio::test]
async fn a_body_without_a_media_type_is_json_if_it_looks_like_it_and_else_text() {
    let app = start(&[]);
    let count = async |body: &'static str| {
        let request = app.request(Method::POST, "/query").header("accept", "application/json");
        let answer = request.body(body).send().await.unwrap();
        answer.json::<Value>().await.unwrap()["count"].clone()
    };

    assert_eq!(count(r#" {"param":"aab"}"#).await, 1);
    assert_eq!(count("\u{feff}{\"param\":\"aab\"}").await, 1);
    assert_eq!(count("aabb").await, 2);
}

#[tokio::test]
async fn a_body_is_taken_as_it_is() {
    let app = start(&[]);

    let answer = app.post("/query", "text/plain", "a+%61\n\n").await;

    let sentence = "Result: The amount of reoccurrence characters in a+%61\n\n is 1!";
    assert_eq!(answer.text().await.unwrap(), sentence);
}

#[tokio::test]
async fn a_bad_body_is_a_400_that_says_why() {
    let app = start(&[]);

    for (content_type, body, detail) in [
        ("text/plain", b"".as_slice(), "at least two characters"),
        ("text/plain", b"a", "at least two characters"),
        ("text/plain", b"ab\xff", "the body is not valid UTF-8"),
        ("application/json", b"", "EOF"),
        ("application/json", b"{\"param\":", "EOF"),
        ("application/json", b"{\"param\":\"ab\xff\"}", "unicode"),
        ("application/json", b"{}", "`param` is missing"),
        ("application/json", b"{\"param\":\"a\"}", "at least two characters"),
        ("application/json", b"{\"param\":\"ab\",\"param\":\"cd\"}", "more than once"),
    ] {
        expect_bad_request(app.post("/query", content_type, body).await, detail).await;
    }
}

#[tokio::test]
async fn json_of_another_shape_is_a_422() {
    let app = start(&[]);

    for body in ["[]", "1", "null", "\"acx333x\"", r#"{"param":7}"#, r#"{"param":null}"#] {
        let answer = app.post("/query", "application/json", body).await;
        assert_eq!(answer.status(), 422, "{body}");
    }
}

#[tokio::test]
async fn another_media_type_is_a_415() {
    let app = start(&[]);

    for content_type in
        ["application/x-www-form-urlencoded", "text/html", "text/plain; charset=latin1", "nonsense"]
    {
        let answer = app.post("/query", content_type, "param=acx333x").await;
        assert_eq!(answer.status(), 415, "{content_type}");
    }
}

#[tokio::test]
async fn a_body_up_to_the_limit_is_counted() {
    let app = start(&[]);

    let taken = app.post("/query", "text/plain", "x".repeat(64 * 1024)).await;
    assert_eq!(taken.status(), 200);
    assert!(taken.text().await.unwrap().ends_with(" is 1!"));
    let refused = app.post("/query", "text/plain", "x".repeat(64 * 1024 + 1)).await;
    assert_eq!(refused.status(), 413);
}

#[tokio::test]
async fn the_original_health_check_answers() {
    let app = start(&[]);

    app.expect_text("/healthcheck", "OK").await;
}

#[tokio::test]
async fn other_methods_are_refused() {
    let app = start(&[]);

    for method in [Method::PUT, Method::DELETE, Method::PATCH] {
        let answer = app.request(method, "/query").send().await.unwrap();
        assert_eq!(answer.status(), 405);
        assert_eq!(answer.headers()["allow"], "GET, HEAD, POST, OPTIONS");
    }
}
