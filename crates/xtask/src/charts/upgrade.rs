//! Whether a release that was published can be upgraded. Kubernetes refuses a change of an immutable
//! field, and what an upgrade would have to delete first, Helm does not keep.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use serde_json::Value;

use super::helm::{Helm, Render, documents, files};
use super::names::kind_and_name;

/// The folder with a packed stack `stack-<version>.tgz` for each version, and beside it a folder
/// `stack-<version>` with the values files of its time.
const RELEASES: &str = "charts/stack/tests/releases";

/// What may change in the `spec` of a `StatefulSet`, in the oldest Kubernetes that the charts support.
const OF_STATEFUL_SET: [&str; 6] = [
    "replicas",
    "ordinals",
    "template",
    "updateStrategy",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
];

/// What may change in the `spec` of a Job.
const OF_JOB: [&str; 5] =
    ["parallelism", "suspend", "activeDeadlineSeconds", "backoffLimit", "ttlSecondsAfterFinished"];

/// What would go wrong when each version kept is upgraded to the stack of today, with the values that
/// it was installed with, and with those of today's files of the same name.
///
/// # Errors
/// When a file cannot be read or a render fails, which is also how a value that is no longer taken is
/// found.
pub(super) fn problems(
    root: &Path,
    helm: &Helm<'_>,
    renders: &[Render],
) -> anyhow::Result<Vec<String>> {
    let releases = files(&root.join(RELEASES))?;
    let packed = releases.iter().filter(|file| file.extension().is_some_and(|kind| kind == "tgz"));
    let mut problems = Vec::new();
    let mut upgrades = 0;
    for package in packed {
        for values in files(&package.with_extension(""))? {
            let name = values.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let of = |chart: PathBuf, values: Vec<PathBuf>| {
                let render =
                    Render { name: name.clone(), chart, values, release: "stack".to_owned() };
                documents(&helm.template(&render, &[])?)
            };
            let today = renders.iter().find(|render| render.name == format!("stack/{name}"));
            let today = today.with_context(|| format!("no values of today are called {name}"))?;
            let stack = root.join("charts/stack");
            let before = of(package.clone(), vec![values.clone()])?;
            let version = package.file_stem().unwrap_or_default().to_string_lossy();
            for (with, values) in
                [("its own values", vec![values.clone()]), ("those of today", today.values.clone())]
            {
                upgrades += 1;
                let after = of(stack.clone(), values)?;
                let found = refused(&before, &after);
                let context = |problem| format!("upgrade of {version}, {name}, {with}: {problem}");
                problems.extend(found.into_iter().map(context));
            }
        }
    }
    ensure!(upgrades > 0, "no release is kept in {RELEASES}");
    println!("{upgrades} upgrades of earlier releases: immutable fields, and what is there");
    Ok(problems)
}

/// What Kubernetes would refuse of the change, and what the change would take away.
fn refused(before: &[Value], after: &[Value]) -> Vec<String> {
    let mut problems = Vec::new();
    for old in before.iter().filter(|old| old["metadata"]["annotations"]["helm.sh/hook"].is_null())
    {
        let (kind, name) = kind_and_name(old);
        let Some(new) = after.iter().find(|new| identity(new) == identity(old)) else {
            problems.push(format!("{kind} {name} is gone"));
            continue;
        };
        let fields = changed(kind, old, new);
        problems.extend(fields.into_iter().map(|field| format!("{kind} {name}: {field} changes")));
    }
    problems
}

/// What a resource is to Kubernetes. The version of its API is not part of it.
fn identity(resource: &Value) -> (&str, &str, &str, &str) {
    let api = resource["apiVersion"].as_str().unwrap_or_default();
    let group = api.split_once('/').map_or("", |(group, _)| group);
    let namespace = resource["metadata"]["namespace"].as_str().unwrap_or_default();
    let (kind, name) = kind_and_name(resource);
    (group, kind, namespace, name)
}

/// The immutable fields of a resource that are not what they were.
fn changed(kind: &str, old: &Value, new: &Value) -> Vec<String> {
    let pointers: Vec<String> = match kind {
        "Deployment" | "ReplicaSet" | "DaemonSet" => vec!["/spec/selector".to_owned()],
        "StatefulSet" => all_but(&OF_STATEFUL_SET, old, new),
        "Job" => all_but(&OF_JOB, old, new),
        // A change of size needs a class that can do it.
        "PersistentVolumeClaim" => all_but(&[], old, new),
        "Service" => ["clusterIP", "clusterIPs", "type", "ipFamilies", "loadBalancerClass"]
            .map(|field| format!("/spec/{field}"))
            .to_vec(),
        "RoleBinding" | "ClusterRoleBinding" => vec!["/roleRef".to_owned()],
        "Secret" | "ConfigMap" if old["immutable"] == true => {
            vec!["/data".to_owned(), "/stringData".to_owned(), "/binaryData".to_owned()]
        }
        _ => Vec::new(),
    };
    let type_of_secret = (kind == "Secret").then(|| "/type".to_owned());
    let pointers = pointers.into_iter().chain(type_of_secret);
    let differs = pointers.filter(|pointer| old.pointer(pointer) != new.pointer(pointer));
    differs.map(|pointer| pointer.trim_start_matches('/').replace('/', ".")).collect()
}

/// The fields of both specs that are not among these.
fn all_but(mutable: &[&str], old: &Value, new: &Value) -> Vec<String> {
    let specs = [old, new].into_iter().filter_map(|resource| resource["spec"].as_object());
    let mut fields: Vec<_> = specs.flat_map(|spec| spec.keys()).collect();
    fields.sort();
    fields.dedup();
    let immutable = fields.into_iter().filter(|field| !mutable.contains(&field.as_str()));
    immutable.map(|field| format!("/spec/{field}")).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn resource(kind: &str, spec: &Value) -> Value {
        let group = match kind {
            "Deployment" | "StatefulSet" => "apps/v1",
            "Job" => "batch/v1",
            _ => "v1",
        };
        json!({"apiVersion": group, "kind": kind, "metadata": {"name": "a"}, "spec": spec})
    }

    #[test]
    fn a_change_of_an_immutable_field_is_found() {
        for (kind, before, after, field) in [
            ("Deployment", json!({"selector": 1}), json!({"selector": 2}), "spec.selector"),
            ("StatefulSet", json!({"serviceName": "a"}), json!({}), "spec.serviceName"),
            (
                "StatefulSet",
                json!({}),
                json!({"volumeClaimTemplates": []}),
                "spec.volumeClaimTemplates",
            ),
            (
                "StatefulSet",
                json!({"revisionHistoryLimit": 1}),
                json!({"revisionHistoryLimit": 2}),
                "spec.revisionHistoryLimit",
            ),
            ("Service", json!({"type": "ClusterIP"}), json!({"type": "NodePort"}), "spec.type"),
            ("Service", json!({}), json!({"clusterIP": "None"}), "spec.clusterIP"),
            (
                "PersistentVolumeClaim",
                json!({"resources": 1}),
                json!({"resources": 2}),
                "spec.resources",
            ),
            (
                "PersistentVolumeClaim",
                json!({}),
                json!({"storageClassName": "a"}),
                "spec.storageClassName",
            ),
            ("Job", json!({"template": 1}), json!({"template": 2}), "spec.template"),
        ] {
            let problems = refused(&[resource(kind, &before)], &[resource(kind, &after)]);

            assert_eq!(problems, [format!("{kind} a: {field} changes")]);
        }
    }

    #[test]
    fn a_change_that_kubernetes_takes_is_no_problem() {
        for (kind, before, after) in [
            ("Deployment", json!({"template": 1}), json!({"template": 2, "replicas": 3})),
            ("StatefulSet", json!({"template": 1}), json!({"template": 2, "replicas": 3})),
            ("Service", json!({"ports": 1}), json!({"ports": 2})),
            ("Job", json!({"backoffLimit": 1}), json!({"backoffLimit": 2})),
        ] {
            let problems = refused(&[resource(kind, &before)], &[resource(kind, &after)]);

            assert!(problems.is_empty(), "{problems:?}");
        }
    }

    #[test]
    fn what_is_gone_is_a_problem_and_what_is_new_is_none() {
        let of = |kind: &str| resource(kind, &json!({}));

        assert_eq!(refused(&[of("StatefulSet")], &[of("Deployment")]), ["StatefulSet a is gone"]);
        assert!(refused(&[], &[of("Deployment")]).is_empty());
    }

    #[test]
    fn another_version_of_the_api_is_the_same_resource() {
        let before =
            json!({"apiVersion": "a.example/v1beta1", "kind": "A", "metadata": {"name": "a"}});
        let mut after = before.clone();
        after["apiVersion"] = json!("a.example/v1");
        assert!(refused(&[before], &[after]).is_empty());
    }

    #[test]
    fn what_helm_makes_anew_each_time_may_change() {
        let mut hook = resource("Job", &json!({"template": 1}));
        hook["metadata"]["annotations"] = json!({"helm.sh/hook": "test"});

        assert!(refused(&[hook], &[]).is_empty());
    }
}
