#!/usr/bin/env python3
"""Reads the jobs from their Jenkinsfiles and runs their steps against a `make` that only takes notes.

Jenkins itself is not needed. What a shell step does is a make target, so what is left to a Jenkinsfile
is which targets, in which order, and what follows what.
"""

import contextlib
import http.server
import os
import pathlib
import re
import subprocess
import tempfile
import threading
import unittest
import urllib.parse

HERE = pathlib.Path(__file__).resolve().parent.parent
ROOT = HERE.parent.parent
HOOK = ROOT / "deploy/git-hooks/post-commit"
CHECK = HERE / "app-check"
STEP = r"make [a-z/-]+"


def block(text, start):
    """What stands between the brace that opens at or after `start` and its partner."""
    opening = text.index("{", start)
    depth = 0
    for at in range(opening, len(text)):
        depth += {"{": 1, "}": -1}.get(text[at], 0)
        if depth == 0:
            return text[opening + 1 : at]
    raise ValueError("a brace is not closed")


class Job:
    """Stages with their shell steps, and the jobs that follow a success."""

    def __init__(self, name):
        text = (HERE / f"{name}/Jenkinsfile").read_text()
        text = re.sub(r"(?m)^\s*//.*$", "", text)
        self.text = block(text, text.index("pipeline"))
        self.stages = []
        stages = block(self.text, self.text.index("stages {"))
        for found in re.finditer(r"stage\('([^']+)'\)", stages):
            steps = re.findall(r"\bsh '([^']+)'", block(stages, found.end()))
            self.stages.append((found[1], steps))
        post = self.text.find("post {")
        self.post = {} if post < 0 else {
            condition: re.findall(r"build\(job: '([^']+)'", block(self.text, self.text.index(f"{condition} {{", post)))
            for condition in re.findall(r"(\w+) \{", block(self.text, post))
        }

    @property
    def steps(self):
        return [step for _, steps in self.stages for step in steps]

    def run(self, make):
        """As Jenkins does it: each step in a shell of its own, and the first that fails ends the build."""
        for step in self.steps:
            # Anything else would be run for real.
            if not re.fullmatch(STEP, step):
                raise ValueError(f"not a make target: {step}")
            if subprocess.run(["sh", "-xe", "-c", step], env=make, capture_output=True).returncode:
                return False
        return True


def build(make):
    """Runs repo_build, and the jobs that its Jenkinsfile starts afterwards."""
    job = Job("repo_build")
    succeeded = job.run(make)
    for follower in job.post.get("success", []) if succeeded else []:
        Job(follower).run(make)
    return succeeded


class Server:
    """Notes each request, and answers as `answers` says."""

    def __init__(self, answers=None):
        self.requests = []
        notes, answers = self.requests, answers or {}

        class Handler(http.server.BaseHTTPRequestHandler):
            def handle_any(self):
                length = int(self.headers.get("Content-Length") or 0)
                notes.append((self.command, self.path, dict(self.headers), self.rfile.read(length).decode()))
                status, body = answers.get((self.command, urllib.parse.urlsplit(self.path).path), (200, ""))
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body.encode())

            do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = handle_any

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


@contextlib.contextmanager
def noting_make(failing=""):
    """An environment whose `make` notes its targets and fails for one of them."""
    with tempfile.TemporaryDirectory() as folder:
        make = pathlib.Path(folder, "make")
        make.write_text(f'#!/bin/sh\necho "$*" >>"{folder}/notes"\n[ "$*" != "{failing}" ]\n')
        make.chmod(0o755)
        notes = pathlib.Path(folder, "notes")
        notes.touch()
        yield {"PATH": f"{folder}:{os.environ['PATH']}"}, lambda: notes.read_text().split("\n")[:-1]


class Jobs(unittest.TestCase):
    names = ["repo_build", "app_check"]
    targets = ["delivery/build", "test", "image/multivac", "delivery/app", "delivery/prune"]

    def test_every_shell_step_is_a_make_target(self):
        for name in self.names:
            job = Job(name)
            self.assertTrue(job.stages)
            for stage, steps in job.stages:
                self.assertTrue(steps, f"{name}: stage {stage} does nothing")
            for step in job.steps:
                self.assertRegex(step, f"^{STEP}$")
                made = subprocess.run(["make", "--dry-run", *step.split()[1:]], cwd=ROOT, capture_output=True, text=True)
                self.assertEqual(made.returncode, 0, made.stderr)

    def test_no_step_hides_from_this_test(self):
        for name in self.names:
            job = Job(name)
            self.assertNotRegex(job.text, r"\b(bat|pwsh|powershell|script|load|evaluate)\b")
            self.assertEqual(len(re.findall(r"\bsh\b", job.text)), len(job.steps))

    def test_repo_build_builds_tests_packs_and_starts(self):
        self.assertEqual(Job("repo_build").steps, [f"make {target}" for target in self.targets])

    def test_app_check_follows_a_good_build(self):
        with noting_make() as (environment, notes):
            self.assertTrue(build(environment))
            self.assertEqual(notes(), [*self.targets, "delivery/app-check"])

    def test_a_failing_step_ends_the_build_and_app_check_does_not_run(self):
        for number, target in enumerate(self.targets):
            with self.subTest(target), noting_make(failing=target) as (environment, notes):
                self.assertFalse(build(environment))
                self.assertEqual(notes(), self.targets[: number + 1])

    def test_only_a_success_starts_app_check(self):
        self.assertEqual(Job("repo_build").post, {"success": ["app_check"]})
        self.assertEqual(Job("app_check").post, {})
        self.assertNotIn("cron(", Job("app_check").text)
        self.assertNotIn("upstream(", Job("app_check").text)


class AppCheck(unittest.TestCase):
    good = {
        ("POST", "/multivac/data"): (200, '{"response":"MultiVAC updated!"}'),
        ("DELETE", "/multivac/zzz/"): (200, "Deleted!"),
    }

    def check(self, answers):
        with Server(answers) as server:
            environment = {
                **os.environ,
                "APP_URL": server.url,
                "APP_USERNAME": "multivac",
                "APP_PASSWORD": "not-in-the-output",
            }
            # The target that the job runs.
            checked = subprocess.run(
                ["make", "--no-print-directory", "delivery/app-check"],
                cwd=ROOT, env=environment, capture_output=True, text=True,
            )
            self.assertNotIn("not-in-the-output", checked.stdout + checked.stderr)
            return checked, server.requests

    def test_it_feeds_and_deletes_and_never_calls_the_get(self):
        checked, requests = self.check(self.good)
        self.assertEqual(checked.returncode, 0, checked.stderr)
        self.assertEqual([request[:2] for request in requests], list(self.good))
        self.assertTrue(requests[0][3].startswith("data=app_check"))
        for _, _, headers, _ in requests:
            self.assertTrue(headers["Authorization"].startswith("Basic "))

    def test_a_wrong_answer_fails_it(self):
        for call in self.good:
            for answer in [(500, "broken"), (401, ""), (200, "something else")]:
                with self.subTest(call=call, answer=answer):
                    checked, requests = self.check({**self.good, call: answer})
                    self.assertNotEqual(checked.returncode, 0)
                    self.assertNotIn("GET", [request[0] for request in requests])

    def test_a_server_that_is_away_fails_it(self):
        checked = subprocess.run([CHECK], env={**os.environ, "APP_URL": "http://127.0.0.1:9"}, capture_output=True)
        self.assertNotEqual(checked.returncode, 0)


class PostCommit(unittest.TestCase):
    def commit(self, origin, **environment):
        """A commit in a repository that has the hook installed as its README says."""
        with tempfile.TemporaryDirectory() as folder:
            git = lambda *arguments: subprocess.run(
                ["git", "-c", "user.name=a", "-c", "user.email=a@example.org", *arguments],
                cwd=folder, capture_output=True, text=True,
                env={**{k: v for k, v in os.environ.items() if not k.startswith(("JENKINS_", "GIT_"))}, "HOME": folder, **environment},
            )
            git("init", "--quiet")
            git("remote", "add", "origin", origin)
            pathlib.Path(folder, ".git/hooks").mkdir(exist_ok=True)
            pathlib.Path(folder, ".git/hooks/post-commit").symlink_to(HOOK)
            pathlib.Path(folder, ".netrc").write_text("machine 127.0.0.1 login a password not-to-be-sent\n")
            committed = git("commit", "--quiet", "--allow-empty", "--message", "a commit")
            self.assertEqual(committed.returncode, 0, committed.stderr)
            self.assertEqual(git("rev-list", "--count", "HEAD").stdout.strip(), "1")
            return committed

    def test_it_notifies_the_server_that_the_environment_names_without_credentials(self):
        for origin in ["https://example.org/team/stack.git", "https://someone:token@example.org/team/stack.git"]:
            with self.subTest(origin), Server() as jenkins:
                self.commit(origin, JENKINS_URL=jenkins.url + "/")
                (request,) = jenkins.requests
                method, path, headers, _ = request
                self.assertEqual((method, urllib.parse.urlsplit(path).path), ("GET", "/git/notifyCommit"))
                query = urllib.parse.parse_qs(urllib.parse.urlsplit(path).query)
                self.assertEqual(query, {"url": ["https://example.org/team/stack.git"]})
                self.assertNotIn("Authorization", headers)
                self.assertNotIn("token", str(request))

    def test_the_repository_can_have_another_name_for_jenkins(self):
        with Server() as jenkins:
            self.commit("git@example.org:a", JENKINS_URL=jenkins.url, JENKINS_REPOSITORY="https://example.org/b")
            self.assertEqual(
                urllib.parse.unquote(jenkins.requests[0][1]), "/git/notifyCommit?url=https://example.org/b"
            )

    def test_without_a_server_in_the_environment_it_does_nothing(self):
        self.assertEqual(self.commit("https://example.org/stack").stderr, "")

    def test_a_server_that_is_away_fails_no_commit(self):
        committed = self.commit("https://example.org/stack", JENKINS_URL="http://127.0.0.1:9")
        self.assertIn("was not told", committed.stderr)


class Configuration(unittest.TestCase):
    def test_plugins_are_named_with_their_versions(self):
        lines = [line for line in (HERE / "plugins.txt").read_text().splitlines() if not line.startswith("#")]
        for line in lines:
            self.assertRegex(line, r"^[a-z0-9-]+:\d[\w.-]*$")
        self.assertEqual(lines, sorted(set(lines)))

    def test_it_makes_both_jobs_from_their_files(self):
        text = (HERE / "jenkins.yaml").read_text()
        (names,) = re.findall(r"\[([^\]]*)\]\.each \{ name ->", text)
        self.assertEqual(re.findall(r"'(\w+)'", names), Jobs.names)
        self.assertIn("scriptPath('deploy/jenkins/' + name + '/Jenkinsfile')", text)

    def test_the_credentials_that_the_jobs_use_are_there_and_hold_no_secret(self):
        text = (HERE / "jenkins.yaml").read_text()
        used = set()
        for name in Jobs.names:
            used |= set(re.findall(r"credentialsId: '([^']+)'", Job(name).text))
        self.assertEqual(set(re.findall(r"(?m)^ {14}id: (\S+)$", text)), used)
        for value in re.findall(r"(?m)^\s+(?:password|privateKey|secretBytes): (.*)$", text):
            self.assertRegex(value, r"^\$\{.*\}$")


if __name__ == "__main__":
    unittest.main()
