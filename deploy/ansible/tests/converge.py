#!/usr/bin/env python3
"""Runs the playbooks for real, against a host made of a container with systemd and sshd.

Needs Docker, ssh, curl, and `ansible-playbook` on the PATH; `multivac` is the image to deploy. What is
shown, in this order:

1.  `--check --diff` on a host that has nothing yet changes nothing and fails nowhere;
2.  basic.yml, app.yml and health_check.yml, and that a second run changes nothing;
3.  only 22, 80 and 443 answer from outside, Redis and MongoDB are set as multivac needs them, no secret
    is in any output;
4.  what Jenkins' app_check calls passes through nginx over TLS, and so does the health check;
5.  a version that does not become ready does not take over;
6.  a second version takes over under load, no request is lost, and no datum either;
7.  the host is restarted, and all is back.
"""

import base64
import contextlib
import http.client
import json
import os
import pathlib
import re
import secrets
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
ANSIBLE = HERE.parent
ROOT = ANSIBLE.parent.parent
DOCKER = os.environ.get("DOCKER", "docker")
IMAGE = os.environ.get("MULTIVAC_IMAGE", "multivac:latest")
NAME = f"ansible-target-{os.getpid()}"
SERVER_NAME = "multivac.test"
BASE = "debian:bookworm-slim"
STARTED = time.monotonic()

# Letters and digits, and nobody else's: they must be in no output.
REDIS_PASSWORD = secrets.token_hex(16)
AUTH_PASSWORD = secrets.token_hex(16)


def say(text):
    print(f"{time.monotonic() - STARTED:6.0f}s  {text}", flush=True)


def run(*command, check=True, **options):
    done = subprocess.run(command, capture_output=True, text=True, **options)
    if check and done.returncode:
        raise SystemExit(f"FAILED: {' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
    return done


def docker(*arguments, **options):
    return run(DOCKER, *arguments, **options).stdout.strip()


def reachable(url):
    try:
        urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=5).close()
    except OSError:
        return False
    return True


def base_image():
    """Debian's own; where no registry answers, the same made by mmdebstrap."""
    def there(name):
        return run(DOCKER, "image", "inspect", name, check=False).returncode == 0

    made = "ansible-target-base:bookworm"
    if there(BASE) or not there(made) and run(DOCKER, "pull", "--quiet", BASE, check=False).returncode == 0:
        return BASE
    if not there(made):
        if not shutil.which("mmdebstrap"):
            raise SystemExit(f"{BASE} cannot be pulled, and there is no mmdebstrap to make it with")
        say("making a base image with mmdebstrap")
        with tempfile.NamedTemporaryFile(suffix=".tar") as archive:
            run("mmdebstrap", "--quiet", "--variant=minbase", "--include=ca-certificates", "bookworm", archive.name)
            run(DOCKER, "import", archive.name, made)
    return made


def target_image(folder, real_mongodb):
    """The host before any playbook. Docker keeps it, so that only the first build takes minutes."""
    context = folder / "target"
    shutil.copytree(HERE / "target", context)
    stage = "host"
    if not real_mongodb:
        stage = "host-without-mongodb"
        run(ROOT / "crates/test-support/mongo-java-server/build")
        cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache")
        shutil.copytree(cache / "mongo-java-server", context / "mongo-java-server")
    tag = f"ansible-target:{stage}"
    run(
        DOCKER, "build", "--quiet", "--build-arg", f"BASE={base_image()}", "--target", stage, "--tag", tag, context,
        env={**os.environ, "DOCKER_BUILDKIT": "1"},
    )
    return tag


class Host:
    def __init__(self, image, folder):
        self.folder = folder
        # All that a host of its own has, but the limits of resources, which not everybody may raise.
        docker(
            "run", "--detach", "--name", NAME, "--hostname", "host",
            "--cap-add", "ALL", "--cap-drop", "SYS_RESOURCE",
            "--security-opt", "seccomp=unconfined", "--security-opt", "apparmor=unconfined",
            "--security-opt", "systempaths=unconfined", "--cgroupns", "private",
            "--stop-signal", "SIGRTMIN+3", "--tmpfs", "/run:exec", "--tmpfs", "/run/lock", "--tmpfs", "/tmp:exec",
            "--volume", "/var/lib/containers", image,
        )
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / "key")
        docker("exec", NAME, "install", "-d", "-m", "700", "/root/.ssh")
        docker("exec", "--interactive", NAME, "tee", "/root/.ssh/authorized_keys", input=(folder / "key.pub").read_text())
        self.wait()

    @property
    def address(self):
        return docker("inspect", "--format", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", NAME)

    def wait(self):
        state = ""
        for _ in range(120):
            state = run(DOCKER, "exec", NAME, "systemctl", "is-system-running", check=False).stdout.strip()
            if state in ("running", "degraded") and self.answers(22):
                break
            time.sleep(1)
        if state != "running":
            raise SystemExit(f"the host is {state}\n{self.shell('systemctl --failed --no-pager')}")

    def answers(self, port):
        with contextlib.suppress(OSError), socket.create_connection((self.address, port), timeout=1):
            return True
        return False

    def shell(self, command):
        return docker("exec", NAME, "sh", "-c", command)

    def restart(self):
        docker("restart", "--time", "60", NAME)
        self.wait()


class Playbooks:
    def __init__(self, host, folder, variables):
        self.inventory = folder / "inventory.json"
        self.variables = variables
        self.host = {
            "ansible_host": host.address,
            "ansible_user": "root",
            "ansible_ssh_private_key_file": str(folder / "key"),
            "ansible_ssh_common_args": f"-o UserKnownHostsFile={folder}/known_hosts -o StrictHostKeyChecking=accept-new",
        }

    def play(self, *arguments, fails=False, **variables):
        """Runs ansible-playbook; gives what it printed and how many tasks changed something."""
        self.inventory.write_text(json.dumps({
            "all": {"vars": {**self.variables, **variables}, "children": {"web": {"hosts": {"host": self.host}}}},
        }))
        done = run("ansible-playbook", "--inventory", self.inventory, *arguments, cwd=ANSIBLE, check=False)
        output = done.stdout + done.stderr
        if (done.returncode != 0) != fails:
            raise SystemExit(f"ansible-playbook {' '.join(arguments)}: exit status {done.returncode}\n{output}")
        for secret in (REDIS_PASSWORD, AUTH_PASSWORD):
            if secret in output:
                raise SystemExit(f"ansible-playbook {' '.join(arguments)} prints a secret")
        changed = sum(map(int, re.findall(r"changed=(\d+)", output)))
        return output, changed


class Load(threading.Thread):
    """A client that feeds and asks over one TLS connection, as long as the server leaves it open."""

    stop = threading.Event()

    def __init__(self, address, context, number):
        super().__init__(daemon=True)
        self.address, self.context, self.number = address, context, number
        self.accepted, self.answered, self.lost = 0, 0, []
        self.connection = None

    def request(self, method, path, body=None, headers={}):
        if self.connection is None:
            self.connection = connect(self.address, self.context)
        self.connection.request(method, path, body, headers)
        response = self.connection.getresponse()
        answer = response.read()
        if response.status != 200:
            raise ValueError(f"{method} {path}: {response.status} {answer[:200]}")
        if response.will_close:
            self.connection.close()
            self.connection = None

    def run(self):
        while not self.stop.is_set():
            try:
                self.request("PUT", "/multivac/data", json.dumps({"data": f"{self.number}-{self.accepted}"}), {
                    "Content-Type": "application/json", "Authorization": basic(),
                })
                self.accepted += 1
                self.request("GET", "/multivac")
                self.answered += 1
            except (OSError, ValueError, http.client.HTTPException) as error:
                self.lost.append(repr(error))
                self.connection = None
            time.sleep(0.02)


def basic():
    return "Basic " + base64.b64encode(f"multivac:{AUTH_PASSWORD}".encode()).decode()


def connect(address, context):
    connection = http.client.HTTPSConnection(SERVER_NAME, timeout=30, context=context)
    connection.sock = context.wrap_socket(socket.create_connection((address, 443), timeout=30), server_hostname=SERVER_NAME)
    return connection


def get(address, context, path):
    connection = connect(address, context)
    connection.request("GET", path)
    response = connection.getresponse()
    return response.status, response.read().decode()


def app_check(host, certificate):
    """The very script of Jenkins' app_check; curl is told where the name is."""
    with tempfile.TemporaryDirectory() as home:
        pathlib.Path(home, ".curlrc").write_text(f"resolve = {SERVER_NAME}:443:{host.address}\n")
        curl = pathlib.Path(home, "curl")
        # `--config -` in the script takes the place of .curlrc, so both are named.
        curl.write_text(f'#!/bin/sh\nexec {shutil.which("curl")} --config {home}/.curlrc "$@"\n')
        curl.chmod(0o755)
        return run(
            "make", "--no-print-directory", "delivery/app-check", cwd=ROOT,
            env={
                **os.environ, "PATH": f"{home}:{os.environ['PATH']}", "APP_CA": str(certificate),
                "APP_URL": f"https://{SERVER_NAME}", "APP_USERNAME": "multivac", "APP_PASSWORD": AUTH_PASSWORD,
            },
        ).stdout


def expect(name, found, wanted):
    if found != wanted:
        raise SystemExit(f"FAILED {name}: {found!r}, not {wanted!r}")


def converge(folder):
    real_mongodb = reachable("https://repo.mongodb.org/")
    if not real_mongodb:
        say("LEFT OUT: MongoDB itself, whose repository cannot be reached; a stand-in takes its place")
    host = Host(target_image(folder, real_mongodb), folder)
    say("the host is up")

    first, second = "multivac:first", "multivac:second"
    docker("tag", IMAGE, first)
    docker("build", "--tag", second, "-", input=f"FROM {first}\nENV REVISION=second\n")
    for image in (first, second):
        docker("save", "--output", folder / f"{image.partition(':')[2]}.tar", image)
    variables = {
        "base_users": [{"name": "operator", "sudo": True, "keys": [(folder / "key.pub").read_text().strip()]}],
        # The clock is that of the machine below.
        "base_chrony_options": "-F 1 -x",
        "redis_install": True,
        "redis_password": REDIS_PASSWORD,
        "mongodb_install": True,
        "multivac_image": f"localhost/{first}",
        "multivac_image_archive": str(folder / "first.tar"),
        "multivac_auth_username": "multivac",
        "multivac_auth_password": AUTH_PASSWORD,
        "nginx_server_name": SERVER_NAME,
        "nginx_self_signed": True,
    }
    if not real_mongodb:
        variables["mongodb_repository"] = {"uris": "file:/opt/mongodb", "suites": "./", "trusted": True}
    playbooks = Playbooks(host, folder, variables)

    before = host.shell("ls -R /etc | sha256sum; dpkg --list | sha256sum")
    _, would = playbooks.play("--check", "--diff", "basic.yml", "app.yml", "health_check.yml")
    expect("what --check has changed", host.shell("ls -R /etc | sha256sum; dpkg --list | sha256sum"), before)
    say(f"--check --diff on a new host: {would} changes foreseen, none made")

    every = ("basic.yml", "app.yml", "health_check.yml")
    _, changed = playbooks.play(*every)
    say(f"basic.yml, app.yml, health_check.yml: {changed} changes")
    output, changed = playbooks.play("--diff", *every)
    if changed:
        raise SystemExit(f"FAILED: the second run changed something\n{output}")
    say("basic.yml, app.yml, health_check.yml again: no changes")

    ports = {port: host.answers(port) for port in (22, 80, 443, 5000, 5001, 5004, 5005, 6379, 27017)}
    expect("the ports that answer from outside", [port for port, answers in ports.items() if answers], [22, 80, 443])
    say("from outside: 22, 80, 443 answer; 5000, 5001, 5004, 5005, 6379, 27017 do not")
    redis = host.shell(
        "for name in appendonly appendfsync maxmemory-policy; do"
        f" REDISCLI_AUTH={REDIS_PASSWORD} redis-cli config get $name | tail -n 1; done"
    )
    expect("Redis", redis.split(), ["yes", "always", "noeviction"])
    expect("who may become root", host.shell("sudo -l -U operator | grep -c NOPASSWD"), "1")

    certificate = folder / "certificate.pem"
    certificate.write_text(host.shell("cat /etc/nginx/tls/certificate.pem"))
    context = ssl.create_default_context(cafile=certificate)
    say("app_check through nginx over TLS: " + "; ".join(app_check(host, certificate).split("\n")[:2]))
    connection = http.client.HTTPConnection(host.address, 80, timeout=10)
    connection.request("GET", "/multivac?a=b")
    redirect = connection.getresponse()
    expect("http", (redirect.status, redirect.getheader("Location")), (308, f"https://{SERVER_NAME}/multivac?a=b"))
    expect("metrics from outside", get(host.address, context, "/metrics")[0], 403)

    host.shell("systemctl start multivac-health-check.service")
    expect("the timer", host.shell("systemctl is-active multivac-health-check.timer"), "active")
    expect("the timer's check", host.shell("systemctl show --property Result --value multivac-health-check"), "success")
    say("the health check and its timer: ok")

    pid = "podman inspect --format '{{.State.Pid}}' multivac-server-blue"
    serving = host.shell(pid)
    output, _ = playbooks.play(
        "app.yml", "--tags", "server", fails=True, multivac_ready_timeout=5, multivac_environment={"BODY_LIMIT": "much"}
    )
    expect("the server behind nginx", host.shell(pid), serving)
    expect("an answer meanwhile", get(host.address, context, "/readyz"), (200, "ready"))
    say("a version that does not become ready: app.yml fails, the old one serves on")

    stored = json.loads(get(host.address, context, "/multivac/queue")[1])["stored"]
    clients = [Load(host.address, context, number) for number in range(8)]
    for client in clients:
        client.start()
    time.sleep(3)
    variables |= {"multivac_image": f"localhost/{second}", "multivac_image_archive": str(folder / "second.tar")}
    _, changed = playbooks.play("app.yml")
    time.sleep(3)
    Load.stop.set()
    for client in clients:
        client.join(60)
    lost = [error for client in clients for error in client.lost]
    accepted = sum(client.accepted for client in clients)
    expect("requests lost", lost, [])
    revision = host.shell("curl --silent --insecure https://127.0.0.1/metrics | sed -n 's/.*revision=\"\\([a-z]*\\)\".*/\\1/p' | head -n 1")
    expect("the version that serves", revision, "second")
    expect("the old server", host.shell("systemctl is-active multivac-server@blue || true"), "inactive")
    for _ in range(60):
        queue = json.loads(get(host.address, context, "/multivac/queue")[1])
        if queue["length"] == 0:
            break
        time.sleep(1)
    expect("data after the update", (queue["length"], queue["dead_letters"], queue["stored"]), (0, 0, stored + accepted))
    answered = accepted + sum(client.answered for client in clients)
    say(f"the second version under load: {changed} changes; {answered} requests, 0 lost; {accepted} data fed and stored")

    host.restart()
    for _ in range(60):
        with contextlib.suppress(OSError):
            if get(host.address, context, "/readyz") == (200, "ready"):
                break
        time.sleep(1)
    expect("data after the restart", json.loads(get(host.address, context, "/multivac/queue")[1])["stored"], stored + accepted)
    app_check(host, certificate)
    for port in (5000, 5001, 5004, 6379, 27017):
        expect(f"port {port} after the restart", host.answers(port), False)
    playbooks.host["ansible_host"] = host.address
    _, changed = playbooks.play("app.yml")
    expect("changes after the restart", changed, 0)
    expect("lines in the logs", host.shell("for log in server worker; do head -c 1 /var/log/app/$log.log; done"), "{{")
    host.shell("logrotate --force /etc/logrotate.d/multivac && test -s /var/log/app/server.log.1 && test -s /var/log/app/worker.log.1")
    app_check(host, certificate)
    expect("lines after the rotation", host.shell("head -c 1 /var/log/app/server.log"), "{")
    say("the host was restarted: all is back, nothing to change, logs rotate")


def main():
    with tempfile.TemporaryDirectory() as folder:
        try:
            converge(pathlib.Path(folder))
        except BaseException:
            if os.environ.get("KEEP") == "true":
                say(f"kept: docker exec --interactive --tty {NAME} sh")
            raise
        finally:
            if os.environ.get("KEEP") != "true":
                run(DOCKER, "rm", "--force", "--volumes", NAME, check=False)
            run(DOCKER, "rmi", "multivac:first", "multivac:second", check=False)


if __name__ == "__main__":
    sys.exit(main())
