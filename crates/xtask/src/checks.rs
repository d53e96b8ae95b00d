//! What holds for the workspace as a whole and no compiler checks.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};
use toml::{Table, Value};

use crate::circles;
use crate::services;
use crate::table;
use tooling::workspace::{self, Member, Workspace};

/// What each package takes from `[workspace.package]`.
const INHERITED: [&str; 5] = ["version", "edition", "rust-version", "license", "publish"];

/// Lines, without tests, above which a concept is missing or there is one too many.
const CRATE_LIMIT: usize = 3000;
const SERVICE_LIMIT: usize = 1000;
/// Two whole stores, each with a queue of its own, stand behind one trait.
const MULTIVAC_LIMIT: usize = 2000;
const MAIN_LIMIT: usize = 30;

/// A size that tells, and how large it may be.
struct Size {
    of: String,
    lines: usize,
    limit: Option<usize>,
}

/// Checks every member: its manifest, its sizes, which are printed, and that its modules form no circle. Fails with
/// all that is wrong.
///
/// # Errors
/// When anything is wrong, or a file cannot be read.
pub(crate) fn check_workspace() -> anyhow::Result<()> {
    let workspace = Workspace::load()?;
    let mut problems = Vec::new();
    let mut sizes = Vec::new();
    for member in &workspace.members {
        let manifest: Table = fs::read_to_string(&member.manifest)?.parse()?;
        let own = not_inherited(&manifest);
        problems.extend(own.into_iter().map(|what| format!("{}: {what}", member.name)));
        sizes.extend(sizes_of(&workspace, member)?);
        for root in member.crates() {
            let circles = circles::of_crate(root)?;
            problems.extend(circles.iter().map(|circle| format!("{}: {circle}", member.name)));
        }
    }
    for Size { of, lines, limit } in &sizes {
        if let Some(limit) = limit.filter(|limit| lines > limit) {
            problems.push(format!("{of}: {lines} lines, the limit is {limit}"));
        }
    }
    let rows: Vec<_> = sizes.into_iter().map(Size::row).collect();
    print!("{}", table::render(["WITHOUT TESTS", "LINES", "LIMIT"], &rows));
    ensure!(problems.is_empty(), "{}", problems.join("\n"));
    Ok(())
}

impl Size {
    fn row(self) -> [String; 3] {
        let limit = self.limit.map_or_else(|| "-".to_owned(), |limit| limit.to_string());
        [self.of, self.lines.to_string(), limit]
    }
}

fn sizes_of(workspace: &Workspace, member: &Member) -> anyhow::Result<Vec<Size>> {
    let source = member.folder().join("src");
    // Also the example of docs/adding-a-service.md.
    let is_service = !member.folder().starts_with(workspace.root.join("crates"));
    let limit = match member.name.as_str() {
        "common" | "server" | "transport" => Some(CRATE_LIMIT),
        "multivac" => Some(MULTIVAC_LIMIT),
        _ => is_service.then_some(SERVICE_LIMIT),
    };
    let mut sizes = vec![Size { of: member.name.clone(), lines: lines_below(&source)?, limit }];
    if is_service {
        let lines = fs::read_to_string(source.join("main.rs"))?.lines().count();
        let of = format!("{}/src/main.rs", member.name);
        sizes.push(Size { of, lines, limit: Some(MAIN_LIMIT) });
    }
    Ok(sizes)
}

/// What a manifest says itself though the workspace says it for all.
fn not_inherited(manifest: &Table) -> Vec<String> {
    let mut problems = Vec::new();
    let inherited = |value: Option<&Value>| {
        value.and_then(|value| value.get("workspace")).and_then(Value::as_bool) == Some(true)
    };
    if !inherited(manifest.get("lints")) {
        problems.push("[lints] lacks `workspace = true`".to_owned());
    }
    for key in INHERITED {
        if !inherited(manifest.get("package").and_then(|package| package.get(key))) {
            problems.push(format!("[package] lacks `{key}.workspace = true`"));
        }
    }
    let platforms = manifest.get("target").and_then(Value::as_table).into_iter().flatten();
    let tables = platforms.filter_map(|(_, table)| table.as_table());
    for table in std::iter::once(manifest).chain(tables) {
        for kind in ["dependencies", "dev-dependencies", "build-dependencies"] {
            for (name, value) in table.get(kind).and_then(Value::as_table).into_iter().flatten() {
                if !inherited(Some(value)) {
                    problems.push(format!("[{kind}] {name} lacks `workspace = true`"));
                }
            }
        }
    }
    problems
}

/// The lines of code in the Rust files of a folder, without tests.
fn lines_below(folder: &Path) -> anyhow::Result<usize> {
    let mut lines = 0;
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.file_stem().is_some_and(|name| name == "tests") {
            continue;
        }
        if path.is_dir() {
            lines += lines_below(&path)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            lines += lines_of_code(&fs::read_to_string(path)?);
        }
    }
    Ok(lines)
}

/// The lines of code in formatted source: neither blank ones nor comments, of which nobody should be sparing,
/// nor the items under `#[cfg(test)]`.
fn lines_of_code(source: &str) -> usize {
    let mut lines = 0;
    let mut in_tests = false;
    for line in source.lines() {
        in_tests |= line == "#[cfg(test)]";
        let code = line.trim_start();
        if !in_tests && !code.is_empty() && !code.starts_with("//") {
            lines += 1;
        }
        let ends_item = line == "}" || (!line.starts_with(' ') && line.ends_with(';'));
        in_tests &= !ends_item;
    }
    lines
}

#[derive(Debug, clap::Args)]
pub(crate) struct OpenapiArgs {
    /// Write nothing, and fail if a document is not what its service prints.
    #[arg(long)]
    check: bool,
}

/// Asks each service for its OpenAPI document and writes it to `docs/openapi/<package>.json`.
///
/// # Errors
/// When a build, a service or a write fails; with `check`, when a document is out of date.
pub(crate) fn write_openapi(args: &OpenapiArgs) -> anyhow::Result<()> {
    let workspace = Workspace::load()?;
    let packages: BTreeSet<_> = services::all().map(|service| service.package).collect();
    let built = workspace::build(&Vec::from_iter(packages.clone())).status()?;
    ensure!(built.success(), "the build failed");
    let folder = workspace.root.join("docs/openapi");
    fs::create_dir_all(&folder)?;
    let mut outdated = Vec::new();
    let own = packages.iter().map(|package| (*package, *package, &["openapi"][..]));
    // That of the admin port is the same whoever prints it.
    let admin = packages.first().map(|package| ("admin", *package, &["openapi", "--admin"][..]));
    for (name, package, arguments) in own.chain(admin) {
        let file = folder.join(name).with_extension("json");
        let document = openapi(&workspace, package, arguments)?;
        if fs::read(&file).is_ok_and(|written| written == document) {
            continue;
        }
        outdated.push(format!("docs/openapi/{name}.json"));
        if !args.check {
            fs::write(&file, document)?;
        }
    }
    let list = outdated.join(", ");
    if args.check {
        ensure!(outdated.is_empty(), "out of date: {list}; run `make openapi` and commit");
    } else if !outdated.is_empty() {
        println!("written: {list}");
    }
    Ok(())
}

/// What `<service> openapi` prints.
fn openapi(workspace: &Workspace, package: &str, arguments: &[&str]) -> anyhow::Result<Vec<u8>> {
    let output = Command::new(workspace.binary(package))
        .args(arguments)
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot run {package}"))?;
    ensure!(output.status.success(), "`{package} openapi` failed: {}", output.status);
    serde_json::from_slice::<serde::de::IgnoredAny>(&output.stdout)
        .with_context(|| format!("`{package} openapi` printed no JSON"))?;
    Ok(output.stdout)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
        lints.workspace = true
        dependencies = { common = { workspace = true, features = ["x"] } }
        [package]
        name = "good"
        version.workspace = true
        edition.workspace = true
        rust-version.workspace = true
        license.workspace = true
        publish.workspace = true
    "#;

    #[test]
    fn a_manifest_that_inherits_everything_is_clean() {
        assert!(not_inherited(&GOOD.parse().unwrap()).is_empty());
    }

    #[test]
    fn each_thing_that_a_manifest_says_itself_is_named() {
        for (inherited, own, problem) in [
            ("lints.workspace = true", "", "[lints] lacks"),
            ("lints.workspace = true", "lints.rust.unsafe_code = 'allow'", "[lints] lacks"),
            ("edition.workspace = true", "edition = '2021'", "`edition.workspace"),
            ("publish.workspace = true", "", "`publish.workspace"),
            ("workspace = true, features", "version = '1', features", "[dependencies] common"),
        ] {
            let problems = not_inherited(&GOOD.replace(inherited, own).parse().unwrap());
            assert_eq!(problems.len(), 1, "{problems:?}");
            assert!(problems[0].contains(problem), "{problems:?}");
        }
        let unix = format!("{GOOD}\n[target.'cfg(unix)'.dev-dependencies]\nnix = '1'\n");
        assert_eq!(
            not_inherited(&unix.parse().unwrap()),
            ["[dev-dependencies] nix lacks `workspace = true`"]
        );
    }

    #[test]
    fn tests_comments_and_blank_lines_do_not_count() {
        let source = "//! a\n\nfn a() {\n    // b\n    b();\n}\n\n#[cfg(test)]\nuse x::y;\nfn c() {}\n\n\
            #[cfg(test)]\nmod tests {\n    fn t() {\n    }\n}\n";
        assert_eq!(lines_of_code(source), 4);
    }
}
