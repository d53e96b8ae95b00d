//! Charts on disk, and what Helm makes of them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use anyhow::{Context as _, ensure};
use serde::Deserialize as _;
use serde_json::Value;

/// A chart that can be installed.
#[derive(Debug)]
pub(super) struct Chart {
    pub(super) name: String,
    pub(super) description: String,
    pub(super) folder: PathBuf,
    /// The groups of the library's values that it imports.
    pub(super) groups: Vec<String>,
}

/// A chart with values.
#[derive(Debug)]
pub(super) struct Render {
    pub(super) name: String,
    pub(super) chart: PathBuf,
    pub(super) values: Vec<PathBuf>,
    pub(super) release: String,
}

/// One Helm.
#[derive(Debug)]
pub(super) struct Helm<'a> {
    program: &'a Path,
}

impl Chart {
    /// All charts, also that of `docs/adding-a-service.md`, but not the library.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub(super) fn all(root: &Path) -> anyhow::Result<Vec<Self>> {
        let mut folders = vec![root.join("docs/greeter/chart")];
        for entry in fs::read_dir(root.join("charts"))? {
            folders.push(entry?.path());
        }
        folders.sort();
        let charts = folders.into_iter().map(Self::load).collect::<anyhow::Result<Vec<_>>>()?;
        Ok(charts.into_iter().filter(|chart| chart.name != "library").collect())
    }

    fn load(folder: PathBuf) -> anyhow::Result<Self> {
        let manifest = yaml(&folder.join("Chart.yaml"))?;
        let text = |key: &str| manifest[key].as_str().unwrap_or_default().to_owned();
        let dependencies = manifest["dependencies"].as_array().into_iter().flatten();
        let imports = dependencies
            .filter(|dependency| dependency["name"] == "library")
            .flat_map(|dependency| dependency["import-values"].as_array().into_iter().flatten());
        let groups = imports.filter_map(Value::as_str).map(str::to_owned).collect();
        Ok(Self { name: text("name"), description: text("description"), folder, groups })
    }

    /// The file with what is the chart's own: of one that shares values, `values.yaml` is made of it.
    pub(super) fn own_values(&self) -> PathBuf {
        self.folder.join(if self.groups.is_empty() { "values.yaml" } else { "own-values.yaml" })
    }

    /// One with its defaults, where `ci/default-values.yaml` has what is mandatory, one with each
    /// other file there, one with each that is offered beside `values.yaml`, and for services one
    /// with each of the library's.
    ///
    /// # Errors
    /// When a folder cannot be read.
    pub(super) fn renders(&self, root: &Path) -> anyhow::Result<Vec<Render>> {
        let (default, own): (Vec<_>, Vec<_>) = files(&self.folder.join("ci"))?
            .into_iter()
            .partition(|file| file.ends_with("ci/default-values.yaml"));
        let render = |name: &str, values: Vec<PathBuf>| Render {
            name: format!("{}/{name}", self.name),
            chart: self.folder.clone(),
            values,
            release: "release".to_owned(),
        };
        let variant = |file: &Path| {
            let name = file.file_stem().unwrap_or_default().to_string_lossy();
            name.trim_end_matches("values")
                .trim_end_matches('-')
                .trim_start_matches("values-")
                .to_owned()
        };
        let with = |file: &PathBuf| [&*default, std::slice::from_ref(file)].concat();
        let mut renders = vec![render("default", default.clone())];
        renders.extend(own.iter().map(|file| render(&variant(file), vec![file.clone()])));
        let beside = files(&self.folder)?.into_iter().filter(|file| {
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            name == "localvalues.yaml" || name.starts_with("values-")
        });
        renders.extend(beside.map(|file| render(&variant(&file), with(&file))));
        if self.groups.iter().any(|group| group == "service") {
            let shared = files(&root.join("charts/library/ci"))?;
            let name = |file: &PathBuf| format!("library-{}", variant(file));
            renders.extend(shared.iter().map(|file| render(&name(file), with(file))));
        }
        Ok(renders)
    }
}

impl Render {
    /// The stack as an environment has it.
    ///
    /// # Errors
    /// When the folder has no name.
    pub(super) fn of_environment(root: &Path, folder: &Path) -> anyhow::Result<Self> {
        let name = folder.file_name().context("no name")?.to_string_lossy();
        Ok(Self {
            name: format!("stack/{name}"),
            chart: root.join("charts/stack"),
            values: vec![folder.join("values.yaml")],
            release: "stack".to_owned(),
        })
    }
}

impl<'a> Helm<'a> {
    pub(super) fn new(program: &'a Path) -> Self {
        Self { program }
    }

    /// What `helm template` prints.
    ///
    /// # Errors
    /// What it says.
    pub(super) fn template(&self, render: &Render, more: &[&str]) -> anyhow::Result<String> {
        let mut command = Command::new(self.program);
        command.arg("template").arg(&render.release).arg(&render.chart);
        command.args(["--namespace", "dev"]).args(more);
        command.args(render.values.iter().flat_map(|file| ["--values".as_ref(), file.as_os_str()]));
        let output = output(&mut command)?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?)
    }

    /// `helm lint --strict`.
    ///
    /// # Errors
    /// What it finds or recommends.
    pub(super) fn lint(&self, render: &Render) -> anyhow::Result<()> {
        let mut command = Command::new(self.program);
        command.args(["lint", "--strict"]).arg(&render.chart);
        command.args(render.values.iter().flat_map(|file| ["--values".as_ref(), file.as_os_str()]));
        let output = output(&mut command)?;
        let said = String::from_utf8_lossy(&output.stdout);
        // What it only recommends ends it with success.
        let silent = !said.lines().any(|line| line.starts_with('['));
        ensure!(output.status.success() && silent, "{said}");
        Ok(())
    }
}

/// Runs a program to its end.
///
/// # Errors
/// When it cannot be run.
pub(super) fn output(command: &mut Command) -> anyhow::Result<Output> {
    command.output().with_context(|| format!("cannot run {}", command.get_program().display()))
}

/// Whether two renders are the same. Helm 4 leaves a blank line after each document, Helm 3 does
/// not.
pub(super) fn same(one: &str, other: &str) -> bool {
    let lines = |text: &str| {
        let lines = text.lines().filter(|line| !line.is_empty());
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    lines(one) == lines(other)
}

/// The resources in a render.
///
/// # Errors
/// When it is no YAML.
pub(super) fn documents(rendered: &str) -> anyhow::Result<Vec<Value>> {
    let documents = serde_norway::Deserializer::from_str(rendered).map(Value::deserialize);
    let documents = documents.collect::<Result<Vec<_>, _>>().context("no YAML")?;
    Ok(documents.into_iter().filter(|document| !document.is_null()).collect())
}

/// A file of YAML as a value.
///
/// # Errors
/// When it cannot be read.
pub(super) fn yaml(path: &Path) -> anyhow::Result<Value> {
    let context = || path.display().to_string();
    let text = fs::read_to_string(path).with_context(context)?;
    serde_norway::from_str(&text).with_context(context)
}

/// The files of a folder; none if there is no such folder.
///
/// # Errors
/// When it cannot be read.
pub(super) fn files(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let entries = fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    let mut files = entries.map(|entry| Ok(entry?.path())).collect::<anyhow::Result<Vec<_>>>()?;
    files.sort();
    Ok(files)
}

/// Does it for all items, on all cores; the results are in the order of the items.
pub(super) fn parallel<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let worker = || {
        let mut done = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(index) else { return done };
            done.push((index, work(item)));
        }
    };
    let mut results = thread::scope(|scope| {
        let threads: Vec<_> = (0..cores).map(|_| scope.spawn(worker)).collect();
        let done = threads.into_iter().map(thread::ScopedJoinHandle::join);
        done.flat_map(|done| done.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect::<Vec<_>>()
    });
    results.sort_by_key(|(index, _)| *index);
    results.into_iter().map(|(_, result)| result).collect()
}
