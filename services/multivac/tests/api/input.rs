//! What clients may send, and what not.

use reqwest::{Method, StatusCode};
use serde_json::Value;
use test_support::App;

use crate::{FORM, JSON, Stores, on_each_store};

const MULTIPART: &str = "multipart/form-data; boundary=x";

async fn status_and_detail(
    server: &App,
    media_type: &str,
    body: impl Into<reqwest::Body>,
) -> (u16, String) {
    let answer = server.post("/multivac/data", media_type, body).await;
    let status = answer.status().as_u16();
    let problem: Value = answer.json().await.unwrap();
    (status, problem["detail"].as_str().unwrap_or_default().to_owned())
}

on_each_store!(
    a_datum_comes_as_form_or_json,
    bad_data_are_a_problem_that_says_why,
    a_repeat_with_the_same_key_is_the_same_job,
    credentials_are_needed_to_change_data_if_there_are_any,
    a_page_of_another_site_cannot_change_data,
);

async fn a_datum_comes_as_form_or_json(stores: Stores) {
    let multivac = stores.start_without_worker(&[]).await;
    let part = |rest: &str| {
        format!("--x\r\nContent-Disposition: form-data; name=\"data\"{rest}\r\n\r\nx\r\n--x--\r\n")
    };
    for (media_type, body) in [
        (FORM, "data=x".to_owned()),
        (FORM, "other=1&data=x%20y+z&more".to_owned()),
        ("application/x-www-form-urlencoded; charset=utf-8", "data=%C3%A9".to_owned()),
        (FORM, "d%61ta=x".to_owned()),
        (FORM, "\u{feff}data=x".to_owned()),
        (MULTIPART, format!("\u{feff}{}", part(""))),
        (JSON, "\u{feff}{\"data\":\"x\"}".to_owned()),
        (MULTIPART, part("")),
        (MULTIPART, part("; filename=\"f\"\r\nContent-Type: text/plain")),
        (JSON, r#"{"data":"x","other":[1]}"#.to_owned()),
        (JSON, r#"{"d\u0061ta":"x"}"#.to_owned()),
        ("application/vnd.x+json", r#"{"data":"x"}"#.to_owned()),
    ] {
        let answer = multivac.server.post("/multivac/data", media_type, body.clone()).await;
        assert_eq!(answer.status(), 200, "{media_type} {body}");
    }
    let without_type = multivac.server.request(Method::POST, "/multivac/data");
    let answer = without_type.body(r#"{"data":"x"}"#).send().await.unwrap();
    assert_eq!(answer.status(), 200);
}

async fn bad_data_are_a_problem_that_says_why(stores: Stores) {
    let multivac = stores.start_without_worker(&[]).await;
    let server = &multivac.server;
    for (media_type, body, status, detail) in [
        (FORM, &b""[..], 400, "missing"),
        (FORM, b"date=x", 400, "missing"),
        (FORM, b"data=", 400, "empty"),
        (FORM, b"data", 400, "empty"),
        (FORM, b"data=a&data=b", 400, "more than once"),
        (FORM, b"data=%ff", 400, "UTF-8"),
        (FORM, b"data=\xff\xfe", 400, "UTF-8"),
        (FORM, b"data=%4", 400, "percent"),
        (FORM, b"data=100%", 400, "percent"),
        (FORM, b"other=%zz&data=a", 400, "percent"),
        (JSON, b"", 400, "EOF"),
        (JSON, b"{", 400, "EOF"),
        (JSON, b"{}", 400, "missing"),
        (JSON, b"{\"data\":\"\"}", 400, "empty"),
        (JSON, b"{\"data\":\"a\",\"data\":\"b\"}", 400, "more than once"),
        (JSON, b"{\"data\":\"\xff\"}", 400, ""),
        (JSON, b"{\"data\":\"\\ud800\"}", 400, ""),
        (JSON, b"{\"data\":5}", 422, "string"),
        (JSON, b"{\"data\":null}", 422, "string"),
        (JSON, b"[\"data\"]", 422, "object"),
        (MULTIPART, b"", 400, "broken"),
        (
            MULTIPART,
            b"--x\r\nContent-Disposition: form-data; name=\"data\"\r\n\r\nno end",
            400,
            "broken",
        ),
        (
            MULTIPART,
            b"--x\r\nContent-Disposition: form-data; name=\"other\"\r\n\r\nx\r\n--x--\r\n",
            400,
            "missing",
        ),
        (
            MULTIPART,
            b"--x\r\nContent-Disposition: form-data; name=\"data\"\r\n\r\n\xff\r\n--x--\r\n",
            400,
            "UTF-8",
        ),
        ("multipart/form-data", b"data=x", 400, "broken"),
        ("text/plain", b"data=x", 415, "form or JSON"),
        ("nonsense", b"data=x", 415, "form or JSON"),
    ] {
        let answered = status_and_detail(server, media_type, body).await;
        let shown = String::from_utf8_lossy(body);
        assert_eq!(answered.0, status, "{media_type} {shown} {answered:?}");
        assert!(answered.1.contains(detail), "{media_type} {shown} {answered:?}");
    }
    let large = status_and_detail(server, FORM, "data=".to_owned() + &"x".repeat(10_000_000)).await;
    assert_eq!(large.0, 413);
    assert_eq!(server.metric("multivac_jobs_accepted_total").await, Some(0.0));
}

async fn a_repeat_with_the_same_key_is_the_same_job(stores: Stores) {
    let multivac = stores.start_without_worker(&[]).await;
    let post = async |key: &str, datum: &str| {
        let request = multivac.server.request(Method::POST, "/multivac/data");
        let request = request.header("idempotency-key", key).form(&[("data", datum)]);
        let answer = request.send().await.unwrap();
        (answer.status(), answer.headers().get("location").cloned())
    };

    let (first, again, other) =
        (post("one", "datum").await, post("one", "datum").await, post("two", "datum").await);

    assert_eq!(first.0, StatusCode::OK);
    assert_eq!(first, again);
    assert_ne!(first, other);
    assert_eq!(multivac.count().await, 2);
    assert_eq!(multivac.server.metric("multivac_jobs_accepted_total").await, Some(2.0));
    for bad in ["", "with space", &"x".repeat(256)] {
        assert_eq!(post(bad, "datum").await.0, StatusCode::BAD_REQUEST, "{bad}");
    }
}

async fn credentials_are_needed_to_change_data_if_there_are_any(stores: Stores) {
    let credentials = [("AUTH_USERNAME", "multi"), ("AUTH_PASSWORD", "v:ac \u{e9}")];
    let multivac = stores.start(&credentials).await;
    let server = &multivac.server;
    let ask = async |method: &str, path: &str, user: Option<(&str, &str)>| {
        let request = server.request(method.parse().unwrap(), path).form(&[("data", "x")]);
        let request = match user {
            Some((name, password)) => request.basic_auth(name, Some(password)),
            None => request,
        };
        request.send().await.unwrap()
    };

    for (method, path) in
        [("POST", "/multivac/data"), ("PUT", "/multivac/data"), ("DELETE", "/multivac/zzz")]
    {
        for user in [None, Some(("multi", "wrong")), Some(("other", "v:ac \u{e9}")), Some(("", ""))]
        {
            let answer = ask(method, path, user).await;
            assert_eq!(answer.status(), 401, "{method} {user:?}");
            assert!(answer.headers()["www-authenticate"].to_str().unwrap().starts_with("Basic "));
        }
        let answer = ask(method, path, Some(("multi", "v:ac \u{e9}"))).await;
        assert_eq!(answer.status(), 200, "{method}");
    }
    let credentials = "bXVsdGk6djphYyDDqQ==";
    for header in [format!("basic {credentials}"), format!("BASIC  {credentials}")] {
        let request =
            server.request(Method::DELETE, "/multivac/zzz").header("authorization", &header);
        assert_eq!(request.send().await.unwrap().status(), 200, "{header}");
    }
    for header in ["Bearer x", "Basic", "Basic %%%", "Basic bXVsdGk="] {
        let request =
            server.request(Method::DELETE, "/multivac/zzz").header("authorization", header);
        assert_eq!(request.send().await.unwrap().status(), 401, "{header}");
    }
    for path in ["/", "/multivac", "/multivac/queue"] {
        assert_eq!(server.get(path).await.status(), 200, "{path}");
    }
}

async fn a_page_of_another_site_cannot_change_data(stores: Stores) {
    let multivac = stores.start_without_worker(&[]).await;
    for (site, status) in [("cross-site", 403), ("same-origin", 200), ("none", 200)] {
        let request = multivac.server.request(Method::POST, "/multivac/data");
        let request = request.header("sec-fetch-site", site).form(&[("data", "x")]);
        assert_eq!(request.send().await.unwrap().status(), status, "{site}");
    }
}
