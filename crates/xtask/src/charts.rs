//! The charts: what is generated of them, and what holds for all of them and no other tool knows.

mod helm;
mod keys;
mod names;
mod restricted;
mod schema;
mod upgrade;
mod validate;
mod values;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};

use helm::{Chart, Helm, Render};
use tooling::Workspace;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Writes the values and schemas, and the tables in the READMEs.
    Document {
        /// Write nothing, and fail if a file is not what would be written.
        #[arg(long)]
        check: bool,
    },
    /// Writes what the environments render, from charts whose dependencies are there.
    Render {
        /// Write nothing, and fail if a file is not what would be written.
        #[arg(long)]
        check: bool,
        #[arg(long)]
        helm: PathBuf,
    },
    /// Renders every chart in every way that it has values for, and checks what comes out.
    Check(CheckArgs),
}

#[derive(Debug, clap::Args)]
pub(crate) struct CheckArgs {
    /// A Helm; all must render the same.
    #[arg(long, required = true)]
    helm: Vec<PathBuf>,
    #[command(flatten)]
    validate: validate::Args,
}

/// Does what the command says.
///
/// # Errors
/// When a tool cannot be run or a file not read, or with all that is wrong with the charts.
pub(crate) fn run(command: &Command) -> anyhow::Result<()> {
    let Workspace { root, target, .. } = Workspace::load()?;
    match command {
        Command::Document { check } => document(&root, *check),
        Command::Render { check, helm } => render(&root, *check, &Helm::new(helm)),
        Command::Check(args) => check(&root, &target.join("charts"), args),
    }
}

/// The environments, each a folder with the values and what they render.
const ENVIRONMENTS: &str = "deploy/environments";

fn document(root: &Path, check: bool) -> anyhow::Result<()> {
    let charts = Chart::all(root)?;
    let library = schema::Library::load(root)?;
    let mut files = Vec::new();
    let shared = fs::read_to_string(root.join("charts/library/values.yaml"))?;
    for chart in &charts {
        let part = library.part(chart)?;
        if !chart.groups.is_empty() {
            let own = fs::read_to_string(chart.own_values())?;
            let complete = values::complete(&own, &shared, &chart.groups);
            let complete = complete.with_context(|| chart.name.clone())?;
            files.push((chart.folder.join("values.yaml"), complete));
        }
        files.push((chart.folder.join("values.schema.json"), library.schema(&part)?));
        let readme = chart.folder.join("README.md");
        let text = fs::read_to_string(&readme);
        let text = text.unwrap_or_else(|_| values::new_readme(&chart.name, &chart.description));
        let text = values::with_tables(&text, &part.tables()?);
        files.push((readme.clone(), text.with_context(|| readme.display().to_string())?));
    }
    write(root, check, files)
}

fn render(root: &Path, check: bool, helm: &Helm<'_>) -> anyhow::Result<()> {
    let mut files = Vec::new();
    for environment in environments(root)? {
        let render = Render::of_environment(root, &environment)?;
        files.push((environment.join("rendered.yaml"), helm.template(&render, &[])?));
    }
    write(root, check, files)
}

fn write(root: &Path, check: bool, files: Vec<(PathBuf, String)>) -> anyhow::Result<()> {
    let mut outdated = Vec::new();
    for (path, content) in files {
        if fs::read_to_string(&path).is_ok_and(|written| written == content) {
            continue;
        }
        outdated.push(path.strip_prefix(root)?.display().to_string());
        if !check {
            fs::write(&path, content)?;
        }
    }
    let list = outdated.join(", ");
    if check {
        ensure!(outdated.is_empty(), "out of date: {list}; run `make charts-generate` and commit");
    } else if !outdated.is_empty() {
        println!("written: {list}");
    }
    Ok(())
}

fn environments(root: &Path) -> anyhow::Result<BTreeSet<PathBuf>> {
    let entries = fs::read_dir(root.join(ENVIRONMENTS))?;
    entries.map(|entry| Ok(entry?.path())).collect()
}

fn check(root: &Path, out: &Path, args: &CheckArgs) -> anyhow::Result<()> {
    let charts = Chart::all(root)?;
    let mut renders = Vec::new();
    for chart in &charts {
        renders.extend(chart.renders(root)?);
    }
    for environment in environments(root)? {
        renders.push(Render::of_environment(root, &environment)?);
    }
    let helms: Vec<_> = args.helm.iter().map(|path| Helm::new(path)).collect();
    let first = helms.first().context("no Helm")?;

    // What an earlier run has left is not to be checked again.
    if out.exists() {
        fs::remove_dir_all(out)?;
    }
    fs::create_dir_all(out)?;
    let problems = helm::parallel(&renders, |render| {
        let problems = check_render(&helms, render, out);
        problems.unwrap_or_else(|error| vec![format!("{}: {error:#}", render.name)])
    });
    let mut problems: Vec<_> = problems.into_iter().flatten().collect();
    println!("{} renders: linted, the same by every Helm and twice, restricted", renders.len());

    let on_stores = helm::yaml(&root.join("charts/stack/values-datastores.yaml"))?;
    let dev = helm::yaml(&root.join(ENVIRONMENTS).join("dev/values.yaml"))?;
    if !values::includes(&dev, &on_stores) {
        problems.push("the environment dev lacks what values-datastores.yaml says".to_owned());
    }

    let stack = renders.iter().find(|render| render.name.ends_with("/dev")).context("no dev")?;
    problems.extend(names::collisions(first, stack)?);
    println!("release names: long ones, and two in one namespace");

    problems.extend(upgrade::problems(root, first, &renders)?);

    problems.extend(keys::unread(root, first, &charts, &renders)?);
    println!("every value is read");

    let schemas = out.with_file_name("charts-schemas");
    problems.extend(validate::invalid(&args.validate, out, &schemas)?);
    ensure!(problems.is_empty(), "{}", problems.join("\n"));
    Ok(())
}

/// What is wrong with one render, which is also left in `out` for other tools.
fn check_render(helms: &[Helm<'_>], render: &Render, out: &Path) -> anyhow::Result<Vec<String>> {
    let mut outputs = Vec::new();
    for helm in helms {
        helm.lint(render)?;
        outputs.push(helm.template(render, &[])?);
        outputs.push(helm.template(render, &[])?);
    }
    let mut problems = Vec::new();
    if outputs.windows(2).any(|pair| !helm::same(&pair[0], &pair[1])) {
        problems.push("is not always rendered the same".to_owned());
    }
    let rendered = outputs.pop().unwrap_or_default();
    fs::write(out.join(render.name.replace('/', "-")).with_extension("yaml"), &rendered)?;
    let documents = helm::documents(&rendered)?;
    problems.extend(documents.iter().flat_map(restricted::violations));
    problems.extend(names::invalid(&documents));
    Ok(problems.into_iter().map(|problem| format!("{}: {problem}", render.name)).collect())
}
