//! `docs/adding-a-service.md` shows a service as it is compiled and tested.
#![expect(clippy::unwrap_used, reason = "in a test, what cannot go on is a failure")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
const GREETER: &str = "docs/greeter";
const CHART: &str = "docs/greeter/chart/";
/// What tools write into the chart, beside the service's own files.
const GENERATED: [&str; 5] =
    ["Chart.lock", "README.md", "charts", "values.schema.json", "values.yaml"];

/// What the guide shows, by the path that stands above it.
fn blocks() -> BTreeMap<String, String> {
    let guide = read("docs/adding-a-service.md");
    let mut blocks = BTreeMap::new();
    let mut path = None;
    let mut lines = guide.lines();
    while let Some(line) = lines.next() {
        if line.starts_with("```") {
            let code: Vec<_> = lines.by_ref().take_while(|line| *line != "```").collect();
            if let Some(path) = path.take() {
                let shown_before = blocks.insert(path, code.join("\n") + "\n");
                assert_eq!(shown_before, None, "a file is shown once");
            }
        } else if !line.is_empty() {
            path = line.strip_prefix('`').and_then(|line| line.strip_suffix("`:")).map(Into::into);
        }
    }
    blocks
}

/// The files below a folder, as paths from the root.
fn files_below(folder: &str) -> Vec<String> {
    let entries = fs::read_dir(Path::new(ROOT).join(folder)).unwrap().map(|entry| entry.unwrap());
    let files = entries.flat_map(|entry| {
        let path = format!("{folder}/{}", entry.file_name().to_str().unwrap());
        if path.strip_prefix(CHART).is_some_and(|name| GENERATED.contains(&name)) {
            return Vec::new();
        }
        if entry.file_type().unwrap().is_dir() { files_below(&path) } else { vec![path] }
    });
    files.collect()
}

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(ROOT).join(path)).unwrap()
}

#[test]
fn every_file_of_the_service_is_shown_as_it_is() {
    let mut blocks = blocks();

    for path in files_below(GREETER) {
        let shown = blocks.remove(&path);
        assert_eq!(shown.as_deref(), Some(&*read(&path)), "{path}");
    }
    // Of what is left, which the service shares with others, a part is shown.
    assert_eq!(blocks.len(), 2, "{blocks:?}");
    for (path, part) in blocks {
        assert!(read(&path).contains(&part), "{path}");
    }
}

#[test]
fn the_service_takes_less_than_150_lines() {
    let files = files_below(GREETER)
        .into_iter()
        .filter(|path| Path::new(path).extension() == Some("rs".as_ref()));
    let sources: Vec<_> = files.map(|path| read(&path)).collect();
    let lines = sources.iter().flat_map(|source| source.lines()).map(str::trim);

    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with("//")).count();

    assert!(lines < 150, "{lines} lines without blank ones and comments");
}
