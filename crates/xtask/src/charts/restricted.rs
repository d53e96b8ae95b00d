//! The Pod Security Standard "restricted", which includes "baseline", as of Kubernetes 1.34:
//! <https://kubernetes.io/docs/concepts/security/pod-security-standards/>. And what our pods have
//! beyond it.

use serde_json::Value;

use super::names::kind_and_name;

/// Volume types that are allowed.
const VOLUMES: [&str; 8] = [
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "persistentVolumeClaim",
    "projected",
    "secret",
];

const SYSCTLS: [&str; 10] = [
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ping_group_range",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_syncookies",
];

const SELINUX_TYPES: [&str; 5] =
    ["", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"];

/// Who a user is, which is no secret, but stands in one beside the password.
const VARIABLES_OF_SECRETS: [&str; 1] = ["AUTH_USERNAME"];

const APPARMOR: &str = "container.apparmor.security.beta.kubernetes.io/";

/// What the pods of a resource violate; nothing for a resource without pods.
pub(super) fn violations(document: &Value) -> Vec<String> {
    let Some(template) = pod_template(document) else { return Vec::new() };
    let (kind, name) = kind_and_name(document);
    let mut found = Found(Vec::new());
    let pod = &template["spec"];
    found.pod(pod);
    found.annotations(&template["metadata"]["annotations"]);
    let kinds = ["containers", "initContainers", "ephemeralContainers"];
    let containers = kinds.iter().filter_map(|kind| pod[kind].as_array()).flatten();
    let mut none = true;
    for container in containers {
        none = false;
        found.container(pod, container);
        found.beyond(container);
        found.secrets(pod, container);
    }
    found.unless(!none, "has no containers");
    found.0.into_iter().map(|violation| format!("{kind} {name}: {violation}")).collect()
}

/// The pod of any resource of Kubernetes that has or makes pods.
fn pod_template(document: &Value) -> Option<&Value> {
    match document["kind"].as_str()? {
        "Pod" => Some(document),
        "PodTemplate" => Some(&document["template"]),
        "CronJob" => Some(&document["spec"]["jobTemplate"]["spec"]["template"]),
        "DaemonSet"
        | "Deployment"
        | "Job"
        | "ReplicaSet"
        | "ReplicationController"
        | "StatefulSet" => Some(&document["spec"]["template"]),
        _ => None,
    }
}

struct Found(Vec<String>);

impl Found {
    fn unless(&mut self, holds: bool, violation: impl Into<String>) {
        if !holds {
            self.0.push(violation.into());
        }
    }

    fn pod(&mut self, pod: &Value) {
        for namespace in ["hostNetwork", "hostPID", "hostIPC"] {
            self.unless(pod[namespace] != true, namespace);
        }
        for sysctl in items(&pod["securityContext"]["sysctls"]) {
            let name = sysctl["name"].as_str().unwrap_or_default();
            self.unless(SYSCTLS.contains(&name), format!("the sysctl {name}"));
        }
        for volume in items(&pod["volumes"]) {
            let types = volume.as_object().into_iter().flatten().map(|(key, _)| key);
            for kind in types.filter(|key| *key != "name") {
                let allowed = VOLUMES.contains(&kind.as_str());
                self.unless(allowed, format!("a volume of the type {kind}"));
            }
        }
        self.context(&pod["securityContext"], "the pod");
        self.unless(pod["automountServiceAccountToken"] == false, "mounts a token");
        self.unless(pod["enableServiceLinks"] == false, "gets service links");
    }

    fn annotations(&mut self, annotations: &Value) {
        for (key, value) in annotations.as_object().into_iter().flatten() {
            let profile = value.as_str().unwrap_or_default();
            let allowed = profile == "runtime/default" || profile.starts_with("localhost/");
            let fits = !key.starts_with(APPARMOR) || allowed;
            self.unless(fits, format!("the AppArmor profile {profile}"));
        }
    }

    /// What is forbidden in the security context of a pod and of a container.
    fn context(&mut self, context: &Value, of: &str) {
        self.unless(context["windowsOptions"]["hostProcess"] != true, format!("{of}: hostProcess"));
        self.unless(context["runAsUser"] != 0, format!("{of}: runs as user 0"));
        self.unless(context["runAsNonRoot"] != false, format!("{of}: runAsNonRoot is false"));
        let labels = &context["seLinuxOptions"];
        let kind = labels["type"].as_str().unwrap_or_default();
        self.unless(SELINUX_TYPES.contains(&kind), format!("{of}: the SELinux type {kind}"));
        for label in ["user", "role"] {
            let empty = labels[label].as_str().unwrap_or_default().is_empty();
            self.unless(empty, format!("{of}: an SELinux {label}"));
        }
        for profile in ["seccompProfile", "appArmorProfile"] {
            let kind = context[profile]["type"].as_str();
            let allowed = matches!(kind, None | Some("RuntimeDefault" | "Localhost"));
            self.unless(allowed, format!("{of}: {profile} {}", kind.unwrap_or_default()));
        }
    }

    fn container(&mut self, pod: &Value, container: &Value) {
        let name = container["name"].as_str().unwrap_or_default();
        let context = &container["securityContext"];
        self.context(context, name);
        self.unless(context["privileged"] != true, format!("{name}: is privileged"));
        self.unless(
            context["allowPrivilegeEscalation"] == false,
            format!("{name}: allowPrivilegeEscalation is not false"),
        );
        let mount = context["procMount"].as_str().unwrap_or("Default");
        self.unless(mount == "Default", format!("{name}: procMount {mount}"));
        let capabilities = &context["capabilities"];
        let drops_all = items(&capabilities["drop"]).any(|capability| capability == "ALL");
        self.unless(drops_all, format!("{name}: does not drop all capabilities"));
        for capability in items(&capabilities["add"]) {
            let allowed = capability == "NET_BIND_SERVICE";
            self.unless(allowed, format!("{name}: adds {capability}"));
        }
        for port in items(&container["ports"]) {
            let none = port["hostPort"].as_u64().unwrap_or(0) == 0;
            self.unless(none, format!("{name}: a port of the host"));
        }
        for (field, host) in hosts(container) {
            self.unless(host.is_empty(), format!("{name}: {field} asks the host {host}"));
        }
        // What the container does not say, the pod says for it.
        let inherited = |field: &str| match &context[field] {
            Value::Null => pod["securityContext"][field].clone(),
            value => value.clone(),
        };
        let nonroot = inherited("runAsNonRoot") == true;
        self.unless(nonroot, format!("{name}: runAsNonRoot is not set"));
        let profiled = !inherited("seccompProfile")["type"].is_null();
        self.unless(profiled, format!("{name}: has no seccompProfile"));
        // Without a number the kubelet cannot tell whether an image's user is root.
        let numeric = inherited("runAsUser").as_u64().is_some_and(|user| user > 0);
        self.unless(numeric, format!("{name}: has no numeric user"));
    }

    /// What the standard does not ask for, but this project does.
    fn beyond(&mut self, container: &Value) {
        let name = container["name"].as_str().unwrap_or_default();
        let read_only = container["securityContext"]["readOnlyRootFilesystem"] == true;
        self.unless(read_only, format!("{name}: can write to its root file system"));
        for kind in ["requests", "limits"] {
            for resource in ["cpu", "memory"] {
                let set = !container["resources"][kind][resource].is_null();
                self.unless(set, format!("{name}: {kind} no {resource}"));
            }
        }
    }

    /// A Secret that is mounted as a folder changes below a running process; one that is mounted by
    /// `subPath` or given as a variable stays what it was at the start.
    fn secrets(&mut self, pod: &Value, container: &Value) {
        let name = container["name"].as_str().unwrap_or_default();
        for variable in items(&container["env"]) {
            let variable_name = variable["name"].as_str().unwrap_or_default();
            let plain = variable["valueFrom"]["secretKeyRef"].is_null();
            let fits = plain || VARIABLES_OF_SECRETS.contains(&variable_name);
            self.unless(fits, format!("{name}: the secret {variable_name} is a variable"));
        }
        for source in items(&container["envFrom"]) {
            self.unless(source["secretRef"].is_null(), format!("{name}: variables of a Secret"));
        }
        let is_secret = |volume: &&Value| {
            let mut sources = items(&volume["projected"]["sources"]);
            !volume["secret"].is_null() || sources.any(|source| !source["secret"].is_null())
        };
        for volume in items(&pod["volumes"]).filter(is_secret) {
            let mut mounts = items(&container["volumeMounts"]);
            let by_path = mounts.any(|mount| {
                let path = !mount["subPath"].is_null() || !mount["subPathExpr"].is_null();
                mount["name"] == volume["name"] && path
            });
            self.unless(!by_path, format!("{name}: a secret by subPath"));
        }
    }
}

/// Hosts that probes and hooks name.
fn hosts(container: &Value) -> Vec<(&'static str, String)> {
    let places = [
        ("livenessProbe", &container["livenessProbe"]),
        ("readinessProbe", &container["readinessProbe"]),
        ("startupProbe", &container["startupProbe"]),
        ("postStart", &container["lifecycle"]["postStart"]),
        ("preStop", &container["lifecycle"]["preStop"]),
    ];
    let hosts = places.into_iter().flat_map(|(field, place)| {
        ["httpGet", "tcpSocket"].map(|action| (field, &place[action]["host"]))
    });
    hosts.map(|(field, host)| (field, host.as_str().unwrap_or_default().to_owned())).collect()
}

fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod() -> Value {
        json!({
            "kind": "Pod",
            "metadata": {"name": "a", "annotations": {}},
            "spec": {
                "automountServiceAccountToken": false,
                "enableServiceLinks": false,
                "securityContext": {
                    "runAsNonRoot": true,
                    "runAsUser": 1,
                    "seccompProfile": {"type": "RuntimeDefault"},
                },
                "containers": [{
                    "name": "c",
                    "resources": {
                        "requests": {"cpu": 1, "memory": 1},
                        "limits": {"cpu": 1, "memory": 1},
                    },
                    "securityContext": {
                        "allowPrivilegeEscalation": false,
                        "readOnlyRootFilesystem": true,
                        "capabilities": {"drop": ["ALL"]},
                    },
                    "ports": [{"containerPort": 1}],
                }],
                "volumes": [{"name": "v", "emptyDir": {}}],
            },
        })
    }

    /// Sets what a JSON pointer below `/spec` leads to; null removes.
    fn pod_with(path: &str, value: Value) -> Value {
        let mut pod = pod();
        let (parent, last) = path.rsplit_once('/').unwrap();
        let mut place = &mut pod["spec"];
        for step in parent.split('/').filter(|step| !step.is_empty()) {
            place = match step.parse::<usize>() {
                Ok(index) => &mut place[index],
                Err(_) => &mut place[step],
            };
        }
        place[last] = value;
        pod
    }

    #[test]
    fn a_pod_that_keeps_the_standard_violates_nothing() {
        assert!(violations(&pod()).is_empty(), "{:?}", violations(&pod()));
    }

    #[test]
    fn each_way_to_break_the_standard_is_found() {
        let container = "/containers/0";
        let context = "/containers/0/securityContext";
        for (path, value) in [
            ("/hostNetwork".to_owned(), json!(true)),
            ("/hostPID".to_owned(), json!(true)),
            ("/hostIPC".to_owned(), json!(true)),
            ("/securityContext/sysctls".to_owned(), json!([{"name": "kernel.msgmax"}])),
            ("/securityContext/windowsOptions".to_owned(), json!({"hostProcess": true})),
            ("/securityContext/runAsUser".to_owned(), json!(0)),
            ("/securityContext/runAsUser".to_owned(), json!(null)),
            ("/securityContext/runAsNonRoot".to_owned(), json!(null)),
            ("/securityContext/runAsNonRoot".to_owned(), json!(false)),
            ("/securityContext/seccompProfile".to_owned(), json!(null)),
            ("/securityContext/seccompProfile".to_owned(), json!({"type": "Unconfined"})),
            ("/securityContext/appArmorProfile".to_owned(), json!({"type": "Unconfined"})),
            ("/securityContext/seLinuxOptions".to_owned(), json!({"type": "spc_t"})),
            ("/securityContext/seLinuxOptions".to_owned(), json!({"user": "u"})),
            ("/securityContext/seLinuxOptions".to_owned(), json!({"role": "r"})),
            ("/volumes".to_owned(), json!([{"name": "v", "hostPath": {"path": "/"}}])),
            ("/volumes".to_owned(), json!([{"name": "v", "nfs": {}}])),
            ("/automountServiceAccountToken".to_owned(), json!(null)),
            ("/enableServiceLinks".to_owned(), json!(null)),
            ("/containers".to_owned(), json!([])),
            ("/initContainers".to_owned(), json!([{"name": "i"}])),
            ("/ephemeralContainers".to_owned(), json!([{"name": "e"}])),
            (format!("{container}/ports"), json!([{"containerPort": 1, "hostPort": 1}])),
            (format!("{container}/livenessProbe"), json!({"httpGet": {"host": "h"}})),
            (format!("{container}/readinessProbe"), json!({"tcpSocket": {"host": "h"}})),
            (format!("{container}/lifecycle"), json!({"preStop": {"httpGet": {"host": "h"}}})),
            (format!("{container}/env"), json!([{"name": "A", "valueFrom": {"secretKeyRef": {}}}])),
            (format!("{container}/envFrom"), json!([{"secretRef": {}}])),
            (format!("{container}/resources"), json!({"requests": {"cpu": 1, "memory": 1}})),
            (format!("{context}/privileged"), json!(true)),
            (format!("{context}/allowPrivilegeEscalation"), json!(null)),
            (format!("{context}/allowPrivilegeEscalation"), json!(true)),
            (format!("{context}/readOnlyRootFilesystem"), json!(null)),
            (format!("{context}/procMount"), json!("Unmasked")),
            (format!("{context}/capabilities"), json!(null)),
            (format!("{context}/capabilities"), json!({"drop": ["NET_RAW"]})),
            (format!("{context}/capabilities"), json!({"drop": ["ALL"], "add": ["SYS_ADMIN"]})),
            (format!("{context}/runAsNonRoot"), json!(false)),
            (format!("{context}/runAsUser"), json!(0)),
            (format!("{context}/seccompProfile"), json!({"type": "Unconfined"})),
        ] {
            let broken = pod_with(&path, value.clone());
            assert!(!violations(&broken).is_empty(), "{path} {value}");
        }
        let secrets = json!({"name": "v", "projected": {"sources": [{"secret": {}}]}});
        for volume in [secrets, json!({"name": "v", "secret": {}})] {
            let mut broken = pod_with("/volumes", json!([volume]));
            assert!(violations(&broken).is_empty(), "{volume}");
            broken["spec"]["containers"][0]["volumeMounts"] =
                json!([{"name": "v", "subPath": "a"}]);
            assert_eq!(violations(&broken).len(), 1, "{volume}");
        }
        let mut broken = pod();
        broken["metadata"]["annotations"][format!("{APPARMOR}c")] = json!("unconfined");
        assert_eq!(violations(&broken).len(), 1);
    }

    #[test]
    fn what_the_standard_allows_is_no_violation() {
        let context = "/containers/0/securityContext";
        for (path, value) in [
            ("/hostNetwork".to_owned(), json!(false)),
            ("/securityContext/sysctls".to_owned(), json!([{"name": "net.ipv4.tcp_syncookies"}])),
            ("/securityContext/seLinuxOptions".to_owned(), json!({"type": "container_t"})),
            (format!("{context}/capabilities/add"), json!(["NET_BIND_SERVICE"])),
            (format!("{context}/seccompProfile"), json!({"type": "Localhost"})),
            (
                "/containers/0/env".to_owned(),
                json!([{"name": "AUTH_USERNAME", "valueFrom": {"secretKeyRef": {}}}]),
            ),
            ("/containers/0/volumeMounts".to_owned(), json!([{"name": "v", "subPath": "a"}])),
        ] {
            let fine = pod_with(&path, value);
            assert!(violations(&fine).is_empty(), "{path}: {:?}", violations(&fine));
        }
    }

    #[test]
    fn the_pods_of_every_kind_of_workload_are_looked_at() {
        let mut pod = pod();
        pod["spec"]["hostPID"] = json!(true);
        let template = json!({"metadata": pod["metadata"], "spec": pod["spec"]});
        let kinds = [
            "DaemonSet",
            "Deployment",
            "Job",
            "ReplicaSet",
            "ReplicationController",
            "StatefulSet",
        ];
        for kind in kinds {
            let workload = json!({"kind": kind, "spec": {"template": template}});
            assert_eq!(violations(&workload).len(), 1, "{kind}");
        }
        let job = json!({"spec": {"template": template}});
        assert_eq!(violations(&json!({"kind": "CronJob", "spec": {"jobTemplate": job}})).len(), 1);
        assert_eq!(violations(&json!({"kind": "PodTemplate", "template": template})).len(), 1);
        assert!(violations(&json!({"kind": "Service", "spec": {}})).is_empty());
    }
}
