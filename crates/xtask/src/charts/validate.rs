//! Whether Kubernetes and its extensions know what is rendered, and take it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

use super::helm::{documents, files, output};

/// The oldest version that the charts support.
const OLDEST: (u32, u32) = (1, 29);

/// The file that the schemas of a version refer to.
const DEFINITIONS: &str = "_definitions.json";

/// Where tools and schemas are.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[arg(long)]
    kubeconform: PathBuf,
    /// The folder with a folder of schemas for each version of Kubernetes.
    #[arg(long)]
    schemas: PathBuf,
    /// The folder with the definitions of custom resources.
    #[arg(long)]
    custom_resources: PathBuf,
}

/// Validates all files of the folder `rendered` against every version of Kubernetes that there are
/// schemas for, and leaves the schemas in the form that kubeconform reads in `schemas`.
///
/// # Errors
/// When a file cannot be read or written, or kubeconform not be run.
pub(super) fn invalid(args: &Args, rendered: &Path, schemas: &Path) -> anyhow::Result<Vec<String>> {
    custom_resources(&args.custom_resources, &schemas.join("custom"))?;
    let kinds = kinds(rendered)?;
    let versions = versions(&args.schemas)?;
    let mut problems = Vec::new();
    for version in &versions {
        let from = args.schemas.join(format!("v{version}-local-strict"));
        of_kubernetes(&from, &kinds, &schemas.join(format!("v{version}")))?;
        let mut command = Command::new(&args.kubeconform);
        command.args(["-strict", "-summary", "-kubernetes-version", version]);
        for folder in ["{{.NormalizedKubernetesVersion}}", "custom"] {
            let file = schemas.join(folder).join("{{.ResourceKind}}{{.KindSuffix}}.json");
            command.arg("-schema-location").arg(file);
        }
        let output = output(command.arg(rendered))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stdout);
            problems.push(format!("Kubernetes {version}: {said}"));
        }
    }
    println!("checked against Kubernetes {}", versions.join(" "));
    Ok(problems)
}

/// Those there are schemas for and the charts support, such as `1.29.0`, oldest first.
fn versions(schemas: &Path) -> anyhow::Result<Vec<String>> {
    let mut versions = BTreeSet::new();
    for folder in files(schemas)? {
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let version = name.strip_prefix('v').and_then(|name| name.strip_suffix(".0-local-strict"));
        let parsed = version.and_then(|version| version.split_once('.'));
        if let Some((Ok(major), Ok(minor))) = parsed.map(|(a, b)| (a.parse(), b.parse()))
            && (major, minor) >= OLDEST
        {
            versions.insert((major, minor));
        }
    }
    ensure!(versions.contains(&OLDEST), "no schemas of Kubernetes 1.29 in {}", schemas.display());
    Ok(versions.into_iter().map(|(major, minor)| format!("{major}.{minor}.0")).collect())
}

/// What is rendered, as kubeconform names the files of schemas: `deployment-apps-v1.json`.
fn kinds(rendered: &Path) -> anyhow::Result<BTreeSet<String>> {
    let mut kinds = BTreeSet::new();
    for file in files(rendered)? {
        for document in documents(&fs::read_to_string(file)?)? {
            let text = |key: &str| document[key].as_str().unwrap_or_default().to_lowercase();
            let version = text("apiVersion");
            let suffix = match version.split_once('/') {
                Some((group, version)) => {
                    format!("{}-{version}", group.split('.').next().unwrap_or_default())
                }
                None => version,
            };
            kinds.insert(format!("{}-{suffix}.json", text("kind")));
        }
    }
    Ok(kinds)
}

/// Copies what there is of these kinds, with references that lead to the copy.
fn of_kubernetes(from: &Path, kinds: &BTreeSet<String>, to: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(to)?;
    for name in kinds.iter().map(String::as_str).chain([DEFINITIONS]) {
        let file = from.join(name);
        if !file.exists() {
            continue;
        }
        let text =
            fs::read_to_string(&file)?.replace("/api/_definitions.json#", "_definitions.json#");
        let mut schema: Value = serde_json::from_str(&text)?;
        // It says that the schema is elsewhere, and so what it refers to.
        schema.as_object_mut().context("no schema")?.remove("$id");
        fs::write(to.join(name), schema.to_string())?;
    }
    Ok(())
}

/// Writes a schema for each version of each resource that the files of a folder define.
fn custom_resources(definitions: &Path, out: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(out)?;
    for file in files(definitions)? {
        let context = || file.display().to_string();
        for definition in documents(&fs::read_to_string(&file).with_context(context)?)? {
            let spec = &definition["spec"];
            let kind = spec["names"]["kind"].as_str().unwrap_or_default().to_lowercase();
            let group = spec["group"].as_str().unwrap_or_default();
            let group = group.split('.').next().unwrap_or_default();
            for version in spec["versions"].as_array().into_iter().flatten() {
                let name = version["name"].as_str().unwrap_or_default();
                let schema = strict(version["schema"]["openAPIV3Schema"].clone());
                fs::write(out.join(format!("{kind}-{group}-{name}.json")), schema.to_string())?;
            }
        }
    }
    Ok(())
}

/// The API server drops members that it does not know; a schema is to refuse them.
fn strict(mut schema: Value) -> Value {
    let keeps_unknown = schema["x-kubernetes-preserve-unknown-fields"] == true;
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        for (_, property) in properties.iter_mut() {
            *property = strict(property.take());
        }
        if !keeps_unknown {
            schema["additionalProperties"] = json!(false);
        }
    }
    for below in ["items", "additionalProperties"] {
        if let Some(below) = schema.get_mut(below).filter(|below| below.is_object()) {
            *below = strict(below.take());
        }
    }
    schema
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_refused_at_every_depth_but_where_all_is_kept() {
        let object = json!({"type": "object", "properties": {"a": {"type": "string"}}});
        let mut open = object.clone();
        open["x-kubernetes-preserve-unknown-fields"] = json!(true);

        let schema = strict(json!({"properties": {
            "b": object,
            "c": {"items": object},
            "d": {"additionalProperties": object},
            "e": open,
            "f": {"type": "object"},
        }}));

        let closed =
            |pointer: &str| schema.pointer(pointer).unwrap()["additionalProperties"] == false;
        assert!(closed(""));
        assert!(closed("/properties/b"));
        assert!(closed("/properties/c/items"));
        assert!(closed("/properties/d/additionalProperties"));
        assert!(!closed("/properties/e"));
        assert_eq!(schema.pointer("/properties/f"), Some(&json!({"type": "object"})));
    }
}
