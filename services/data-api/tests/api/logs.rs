//! Listing, reading and downloading what was written.

use reqwest::{Method, Response};
use serde_json::{Value, json};
use test_support::{next_page, wait_until};

use crate::{Service, TIMEOUT, folder_with, names_in};

const FILES: [(&str, &str); 3] = [
    ("log_1700000000.000000001.txt", "Preparing data...\n"),
    ("log_1700000000.000000002.txt", "Executing task...\n"),
    ("log_1700000001.500000000.txt", "Processing request...\n"),
];

/// The service on so many files of a line each, and their names.
async fn with_files(number: u32) -> (Service, Vec<String>) {
    let names: Vec<_> =
        (0..number).map(|number| format!("log_1700000000.{number:09}.txt")).collect();
    let files: Vec<_> = names.iter().map(|name| (name.as_str(), "a\n")).collect();
    (Service::start_on(folder_with(&files), &[]).await, names)
}

async fn names(answer: Response) -> Vec<String> {
    assert_eq!(answer.status(), 200);
    let entries: Vec<Value> = answer.json().await.unwrap();
    entries.iter().map(|entry| entry["name"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn the_list_is_newest_first() {
    let service = Service::start_on(folder_with(&FILES), &[]).await;

    let answer = service.app.get("/logs").await;

    assert_eq!(answer.headers().get("link"), None);
    let list: Value = answer.json().await.unwrap();
    let entry = |name: &str, created: &str, size: u32, message: &str| json!({"name": name, "created": created, "size": size, "message": message});
    assert_eq!(
        list,
        json!([
            entry(FILES[2].0, "2023-11-14T22:13:21.500000000Z", 22, "Processing request..."),
            entry(FILES[1].0, "2023-11-14T22:13:20.000000002Z", 18, "Executing task..."),
            entry(FILES[0].0, "2023-11-14T22:13:20.000000001Z", 18, "Preparing data..."),
        ])
    );
}

#[tokio::test]
async fn pages_lead_through_all_files_and_no_further() {
    let (service, mut expected) = with_files(25).await;

    let (mut seen, mut pages) = (Vec::new(), 0);
    let mut next = Some("/logs?limit=10".to_owned());
    while let Some(path) = next {
        let answer = service.app.get(&path).await;
        next = next_page(&answer);
        seen.extend(names(answer).await);
        pages += 1;
        // What is written meanwhile is on no later page.
        assert_eq!(service.app.get("/").await.status(), 200);
    }

    expected.reverse();
    assert_eq!(seen, expected);
    assert_eq!(pages, 3);
}

#[tokio::test]
async fn since_leaves_out_what_is_older() {
    let service = Service::start_on(folder_with(&FILES), &[]).await;

    for (since, expected) in [
        ("2023-11-14T22:13:20.000000002Z", vec![FILES[2].0, FILES[1].0]),
        ("2023-11-15T00:13:21%2B02:00", vec![FILES[2].0]),
        ("2024-01-01T00:00:00Z", vec![]),
        ("1969-01-01T00:00:00Z", vec![FILES[2].0, FILES[1].0, FILES[0].0]),
    ] {
        let answer = service.app.get(&format!("/logs?since={since}")).await;
        assert_eq!(names(answer).await, expected, "{since}");
    }
    // The limits of a list go with it from page to page.
    let since = "/logs?limit=1&since=2023-11-14T22:13:20.000000002Z";
    let next = next_page(&service.app.get(since).await).unwrap();
    let answer = service.app.get(&next).await;
    assert_eq!(next_page(&answer), None);
    assert_eq!(names(answer).await, [FILES[1].0]);
}

#[tokio::test]
async fn bad_parameters_are_a_422_that_says_which() {
    let service = Service::start(&[]).await;

    service.app.expect_limit_up_to(1000, "/logs", 422).await;
    for (query, detail) in [
        ("cursor=nonsense", "`cursor`"),
        ("since=yesterday", "`since`"),
        ("since=2023-11-14", "`since`"),
    ] {
        service.app.expect_problem(&format!("/logs?{query}"), 422, detail).await;
    }
    assert_eq!(service.app.get("/logs/download?since=x").await.status(), 422);
    assert_eq!(service.app.get("/logs?limit=%").await.status(), 400);
    assert_eq!(service.app.get("/logs?limit=1&limit=2").await.status(), 400);
}

#[tokio::test]
async fn a_file_is_read_as_it_is() {
    let service = Service::start_on(folder_with(&FILES), &[]).await;

    let answer = service.app.get(&format!("/logs/{}", FILES[0].0)).await;

    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-type"], "text/plain; charset=utf-8");
    assert_eq!(answer.text().await.unwrap(), FILES[0].1);
    assert_eq!(service.app.get("/logs/log_1.000000000.txt").await.status(), 404);
}

#[tokio::test]
async fn no_name_leads_out_of_the_directory() {
    let folder = folder_with(&[(".hidden", "a"), ("notes.txt", "a"), FILES[0]]);
    let secret = folder.path().join("log_1600000000.000000000.txt");
    std::fs::write(&secret, "secret").unwrap();
    let link = folder.path().join("logs/log_1600000001.000000000.txt");
    std::os::unix::fs::symlink(&secret, link).unwrap();
    std::fs::create_dir(folder.path().join("logs/log_1600000002.000000000.txt")).unwrap();
    let service = Service::start_on(folder, &[]).await;

    for name in [
        "..",
        "%2e%2e",
        "../log_1600000000.000000000.txt",
        "..%2flog_1600000000.000000000.txt",
        "%2e%2e%2flog_1600000000.000000000.txt",
        "..%5clog_1600000000.000000000.txt",
        "....//log_1600000000.000000000.txt",
        "%2fetc%2fpasswd",
        "log_1600000000.000000000.txt%00",
        "log_1600000001.000000000.txt",
        "log_1600000002.000000000.txt",
        ".hidden",
        "notes.txt",
        "%ff",
        "log_1700000000.000000001.txt%2f",
    ] {
        // A client would tidy the path up.
        let mut connection = service.app.connect().await;
        connection.send(format!("GET /logs/{name} HTTP/1.1\r\nhost: x\r\n\r\n")).await;
        let answer = connection.response().await.unwrap();
        assert_eq!(answer.status, 404, "{name}: {answer:?}");
        assert!(!answer.body.contains("secret"), "{name}");
    }
    let answer = service.app.get("/logs").await;
    assert_eq!(names(answer).await, [FILES[0].0], "nothing else is listed either");
}

#[tokio::test]
async fn a_download_has_all_lines_oldest_first() {
    let service = Service::start_on(folder_with(&FILES), &[]).await;
    service.app.get("/").await;

    let answer = service.app.get("/logs/download").await;

    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-type"], "application/x-ndjson");
    let text = answer.text().await.unwrap();
    assert!(text.ends_with('\n'), "{text}");
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 4);
    let first = json!({
        "name": FILES[0].0,
        "created": "2023-11-14T22:13:20.000000001Z",
        "message": "Preparing data...",
    });
    assert_eq!(lines[0], first);
    assert_eq!(lines[2]["name"], FILES[2].0);
    let since = service.app.get("/logs/download?since=2023-11-14T22:13:21Z").await;
    assert_eq!(since.text().await.unwrap().lines().count(), 2);
    let none = service.app.get("/logs/download?since=2999-01-01T00:00:00Z").await;
    assert_eq!(none.text().await.unwrap(), "");
}

#[tokio::test]
async fn a_download_of_many_files_leaves_out_what_goes_meanwhile() {
    let (service, names) = with_files(2000).await;
    for name in names.iter().skip(1).step_by(2) {
        std::fs::remove_file(service.logs().join(name)).unwrap();
    }

    let text = service.app.get("/logs/download").await.text().await.unwrap();

    assert_eq!(text.lines().count(), 1000);
    let held = service.app.metric("data_api_log_files_held").await;
    assert_eq!(held, Some(1000.0), "what is gone is forgotten");
}

#[tokio::test]
async fn with_a_key_the_logs_are_for_those_who_have_it() {
    let service = Service::start_on(folder_with(&FILES), &[("LOGS_API_KEY", "hush-hush")]).await;
    let file = format!("/logs/{}", FILES[0].0);
    let ask = async |path: &str, authorization: &str| {
        let mut request = service.app.request(Method::GET, path);
        if !authorization.is_empty() {
            request = request.header("authorization", authorization);
        }
        request.send().await.unwrap()
    };

    for path in ["/logs", "/logs/download", file.as_str(), "/logs?limit=0", "/logs/nothing"] {
        for wrong in
            ["", "Bearer", "Bearer ", "Bearer hush", "Bearer hush-hush2", "Basic hush-hush"]
        {
            let answer = ask(path, wrong).await;
            assert_eq!(answer.status(), 401, "{path} {wrong}");
            assert_eq!(answer.headers()["www-authenticate"], "Bearer", "{path} {wrong}");
        }
    }
    for path in ["/logs", "/logs/download", file.as_str()] {
        assert_eq!(ask(path, "Bearer hush-hush").await.status(), 200, "{path}");
        assert_eq!(ask(path, "bearer hush-hush").await.status(), 200, "{path}");
    }
    assert_eq!(ask("/", "").await.status(), 200, "the work itself needs no key");
}

#[tokio::test]
async fn the_oldest_files_beyond_the_limit_are_removed() {
    let files: Vec<(String, &str)> =
        (0..600).map(|number| (format!("log_1700000000.{number:09}.txt"), "a\n")).collect();
    let files: Vec<(&str, &str)> =
        files.iter().map(|(name, text)| (name.as_str(), *text)).collect();
    let limit = [("LOG_RETENTION_FILES", "10")];
    let service = Service::start_on(folder_with(&files), &limit).await;
    wait_until("the surplus is gone", TIMEOUT, async || names_in(&service.logs()).len() == 10)
        .await;

    for _ in 0..5 {
        service.app.get("/").await;
    }

    // A file is counted once it is gone.
    wait_until("as many are gone as came", TIMEOUT, async || {
        service.app.metric("data_api_log_files_removed_total").await == Some(595.0)
    })
    .await;
    let left = names_in(&service.logs());
    assert_eq!(left.len(), 10);
    assert_eq!(left[0], "log_1700000000.000000595.txt", "the oldest went");
}

#[tokio::test]
async fn leftovers_of_a_crash_are_removed_once_they_are_old() {
    let old = ".log_1700000000.000000001.txt.tmp";
    let young = format!(".log_{}.000000000.txt.tmp", u32::MAX);
    let folder = folder_with(&[(old, "half"), (&young, "half"), ("notes.txt", "mine"), FILES[0]]);
    let service = Service::start_on(folder, &[]).await;

    wait_until("the leftover is gone", TIMEOUT, async || {
        !names_in(&service.logs()).contains(&old.to_owned())
    })
    .await;

    assert_eq!(names_in(&service.logs()), [young.as_str(), FILES[0].0, "notes.txt"]);
}
