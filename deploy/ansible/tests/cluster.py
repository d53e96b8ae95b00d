#!/usr/bin/env python3
"""Runs stack.yml for real, against the API of a cluster: etcd and kube-apiserver, without a node.

    cluster.py FOLDER [argument of ansible-playbook]...

FOLDER has the inventories, and for each environment what stack.yml rendered, `<environment>.yaml`.
KUBEBUILDER_ASSETS is a folder with etcd, kube-apiserver and kubectl, as setup-envtest makes it; HELM is
Helm 3. Needs `ansible-playbook` and openssl on the PATH, and PyYAML. For each environment it shows that

1.  `--check` on an empty cluster fails nowhere and makes nothing;
2.  the steps of the README make what was rendered, object by object, and the Secret has the vault's key,
    also where the Secrets for development had put another one;
3.  a second run, and `--check`, change nothing;
4.  the key is in no output.

No pod starts, so that the playbook does not wait for any. Kinds that operators bring, such as
ServiceMonitor, are defined without a schema: that of their objects is not checked here.
"""

import base64
import json
import os
import pathlib
import re
import secrets
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.request

import yaml

ANSIBLE = pathlib.Path(__file__).resolve().parent.parent
ASSETS = pathlib.Path(os.environ["KUBEBUILDER_ASSETS"])
HELM = os.environ["HELM"]
TOKEN = secrets.token_hex(16)
SECRET = "backend-api-integration-key"


def run(*command, **options):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, **options)
    if done.returncode:
        raise SystemExit(f"FAILED: {command[0]} {command[1]}\n{done.stdout}{done.stderr}")
    return done.stdout


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [listener.getsockname()[1] for listener in sockets]
    for listener in sockets:
        listener.close()
    return ports


def await_ready(url, processes):
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {TOKEN}"})
    context = ssl._create_unverified_context()  # The server makes its certificate itself.
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        for process in processes:
            if process.poll() is not None:
                raise SystemExit(f"FAILED: {process.args[0]} has ended")
        try:
            with urllib.request.urlopen(request, timeout=5, context=context):
                return
        except OSError:
            time.sleep(0.2)
    raise SystemExit(f"FAILED: {url} does not answer")


def start(folder, processes):
    """Starts etcd and the API server; returns the path of a kubeconfig."""
    client, peer, secure = free_ports(3)
    log = (folder / "log").open("w")
    etcd = f"http://127.0.0.1:{client}"
    processes.append(subprocess.Popen(
        [ASSETS / "etcd", "--data-dir", folder / "etcd", "--listen-client-urls", etcd,
         "--advertise-client-urls", etcd, "--listen-peer-urls", f"http://127.0.0.1:{peer}"],
        stdout=log, stderr=log))
    key, public = folder / "accounts.key", folder / "accounts.pub"
    run("openssl", "genrsa", "-out", key, "2048")
    run("openssl", "rsa", "-in", key, "-pubout", "-out", public)
    (folder / "tokens.csv").write_text(f'{TOKEN},admin,admin,"system:masters"\n')
    processes.append(subprocess.Popen(
        [ASSETS / "kube-apiserver", f"--etcd-servers={etcd}", "--bind-address=127.0.0.1",
         "--advertise-address=127.0.0.1", f"--secure-port={secure}", f"--cert-dir={folder / 'certificates'}",
         "--service-cluster-ip-range=10.96.0.0/16", "--service-account-issuer=https://cluster.test",
         f"--service-account-key-file={public}", f"--service-account-signing-key-file={key}",
         f"--token-auth-file={folder / 'tokens.csv'}", "--authorization-mode=RBAC"],
        stdout=log, stderr=log))
    server = f"https://127.0.0.1:{secure}"
    await_ready(f"{server}/readyz", processes)
    config = folder / "kubeconfig"
    config.write_text(json.dumps({
        "apiVersion": "v1", "kind": "Config", "current-context": "test",
        "clusters": [{"name": "test", "cluster": {"server": server, "insecure-skip-tls-verify": True}}],
        "users": [{"name": "admin", "user": {"token": TOKEN}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "admin"}}],
    }))
    return config


def differences(wanted, found, path):
    """What `wanted` has and `found` has not. The server adds defaults, and leaves out what is empty."""
    if isinstance(wanted, dict):
        return [difference for name, value in wanted.items()
                for difference in differences(value, (found or {}).get(name), f"{path}.{name}")]
    if isinstance(wanted, list):
        found = found or []
        if len(wanted) != len(found):
            return [f"{path}: {len(found)} items in place of {len(wanted)}"]
        return [difference for number, (value, other) in enumerate(zip(wanted, found))
                for difference in differences(value, other, f"{path}[{number}]")]
    if wanted == found or (found is None and not wanted):
        return []
    return [f"{path}: {found!r} in place of {wanted!r}"]


def define(objects, kubectl):
    """Defines the kinds of those objects that a cluster without operators does not know."""
    known = set(kubectl("api-versions").split())
    definitions = {}
    for version, kind in {(item["apiVersion"], item["kind"]) for item in objects}:
        if version in known:
            continue
        group, name = version.split("/")
        plural = f"{kind.lower()}s"
        definitions[f"{plural}.{group}"] = {
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": f"{plural}.{group}"},
            "spec": {"group": group, "scope": "Namespaced",
                     "names": {"kind": kind, "plural": plural, "singular": kind.lower()},
                     "versions": [{"name": name, "served": True, "storage": True, "schema": {"openAPIV3Schema": {
                         "type": "object", "x-kubernetes-preserve-unknown-fields": True}}}]},
        }
    if definitions:
        kubectl("apply", "--filename", "-", input=yaml.safe_dump_all(definitions.values()))
        kubectl("wait", "--for=condition=Established", "--timeout=60s",
                *(f"customresourcedefinition/{name}" for name in definitions))
    return sorted(definitions)


def check(environment, folder, arguments, kubectl):
    def play(*more):
        output = run("ansible-playbook", *arguments, "--inventory", folder / "inventory" / environment, "stack.yml",
                     "--extra-vars", json.dumps({"stack_helm": HELM, "stack_wait": False}), *more, cwd=ANSIBLE)
        outputs.append(output)
        return int(re.search(r"changed=(\d+)", output)[1])

    outputs = []
    rendered = [document for document in yaml.safe_load_all((folder / f"{environment}.yaml").read_text()) if document]
    # Tests of the release; `helm test` makes them.
    objects = [document for document in rendered
               if "helm.sh/hook" not in document["metadata"].get("annotations", {})]
    defined = define(objects, kubectl)

    play("--check", "--diff")
    if kubectl("get", "namespace", environment, "--ignore-not-found", "--output", "name"):
        raise SystemExit("FAILED: --check has made the namespace")
    play("--tags", "secret")
    key = secret_of(environment, kubectl)
    kubectl("apply", "--namespace", environment, "--filename", "-",
            input=run(ANSIBLE.parent / "environments/dev/secrets"))
    if secret_of(environment, kubectl) == key:
        raise SystemExit("FAILED: the Secrets for development leave the key alone, and the test shows nothing")
    play("--diff")
    if secret_of(environment, kubectl) != key:
        raise SystemExit("FAILED: the Secret has not the key of the vault")

    made = json.loads(kubectl("get", "--namespace", environment, "--output", "json", "--filename", "-",
                              input=yaml.safe_dump_all(objects)))["items"]
    wrong = [difference for wanted, found in zip(objects, made, strict=True)
             for difference in differences(wanted, found, f"{wanted['kind']} {wanted['metadata']['name']}")]
    if wrong:
        raise SystemExit("FAILED: the cluster has not what was rendered\n" + "\n".join(wrong))
    for more in ([], ["--check", "--diff"]):
        if changed := play(*more):
            raise SystemExit(f"FAILED: {changed} changes, once more {' '.join(more)}\n{outputs[-1]}")
    if any(key in output or base64.b64encode(key.encode()).decode() in output for output in outputs):
        raise SystemExit("FAILED: the integration key is in the output")
    print(f"{environment}: {len(objects)} objects as they were rendered; once more, no changes"
          + "".join(f"\n  without a schema: {name}" for name in defined), flush=True)


def secret_of(namespace, kubectl):
    found = json.loads(kubectl("get", "secret", SECRET, "--namespace", namespace, "--output", "json"))
    return base64.b64decode(found["data"]["integrationKey"]).decode()


def main():
    folder, arguments = pathlib.Path(sys.argv[1]), sys.argv[2:]
    processes = []
    with tempfile.TemporaryDirectory() as work:
        try:
            config = start(pathlib.Path(work), processes)
            os.environ["KUBECONFIG"] = str(config)

            def kubectl(*words, **options):
                return run(ASSETS / "kubectl", *words, **options)

            for environment in ("dev", "test", "prod"):
                check(environment, folder, arguments, kubectl)
        finally:
            for process in reversed(processes):
                process.terminate()
                process.wait()


if __name__ == "__main__":
    main()
