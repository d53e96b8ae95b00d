use reqwest::Method;
use serde_json::{Value, json};

use crate::app::App;

/// What every word that is made up begins with.
const MARK: &str = "zq";

/// How often every endpoint is asked before series are counted, and again after.
const ROUNDS: usize = 4;

/// Asks every endpoint of an application's document, and paths that there are not, by any method, with random names
/// wherever a client may put some.
///
/// # Panics
/// When a label of a metric has one of the names, or the number of series grows with that of requests.
pub async fn hammer(app: &App) {
    let document: Value = app.get("/openapi.json").await.json().await.expect("a document");
    let paths: Vec<&String> = document["paths"].as_object().expect("paths").keys().collect();
    let mut counts = [0; 2];
    for count in &mut counts {
        for _ in 0..ROUNDS {
            for path in paths.iter().map(|path| path.as_str()).chain(["/{name}", "/docs/{name}"]) {
                ask(app, path).await;
            }
        }
        let metrics = app.get("/metrics").await.text().await.expect("the metrics");
        let made_up = metrics.lines().find(|line| line.contains(MARK));
        assert_eq!(made_up, None, "a client has made up a series");
        *count = metrics.lines().filter(|line| !line.starts_with('#')).count();
    }
    let [before, after] = counts;
    // One more for each round would be one for each name. A histogram has 17 samples.
    assert!(after < before + ROUNDS * 17, "the number of series grows: {before}, {after}");
}

async fn ask(app: &App, path: &str) {
    let word = || format!("{MARK}{:016x}", rand::random::<u64>());
    let path: Vec<String> = path
        .split('/')
        .map(|part| if part.starts_with('{') { word() } else { part.to_owned() })
        .collect();
    let query = format!("{}={}&param={}&domain={}.example", word(), word(), word(), word());
    let target = format!("{}?{query}", path.join("/"));
    let other = word().to_uppercase();
    for method in ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", &other] {
        let method = Method::from_bytes(method.as_bytes()).expect("a token");
        let body = json!({
            "word": word(), "domain": word() + ".example", "ip": word(), "data": word(), word(): word(),
        });
        let request = app
            .request(method, &target)
            .header("user-agent", word())
            .header("origin", format!("http://{}.example", word()))
            .header("x-request-id", word())
            .header("x-forwarded-for", word())
            .header(word(), word())
            .json(&body);
        let answer = request.send().await.expect("an answer");
        // What is not read would hold the connection.
        answer.bytes().await.expect("a body");
    }
}
