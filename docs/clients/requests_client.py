"""Python 3.9 or later with `requests`."""

import os
import uuid

import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

MULTIVAC = os.environ.get("MULTIVAC_URL", "http://127.0.0.1:5003")
RANDOMIZE = os.environ.get("RANDOMIZE_URL", "http://127.0.0.1:5000")
SRE_KATA = os.environ.get("SRE_KATA_URL", "http://127.0.0.1:8003")

# It waits as Retry-After says, else longer each time. POST is safe to repeat where there is a key.
retry = Retry(total=5, backoff_factor=0.2, status_forcelist=[429, 502, 503, 504],
              allowed_methods=None, raise_on_status=False)
session = requests.Session()
session.mount("http://", HTTPAdapter(max_retries=retry))


def feed(datum, key):
    """The job of a datum; with the same key the service stores once what is sent twice."""
    answer = session.post(f"{MULTIVAC}/multivac/data", json={"data": datum},
                          headers={"Idempotency-Key": key}, timeout=10)
    answer.raise_for_status()
    return answer.headers["Location"]


def pages(url):
    """The pages of a list: the next one is in the header Link, relative to this one."""
    while url:
        answer = session.get(url, timeout=10)
        answer.raise_for_status()
        yield answer.json()
        following = answer.links.get("next")
        url = requests.compat.urljoin(answer.url, following["url"]) if following else None


key = str(uuid.uuid4())
first, second = feed("from requests", key), feed("from requests", key)
assert first == second
print("queued once:", first)

for word in ("one", "two", "three"):
    session.post(f"{RANDOMIZE}/api/randomizes", json={"word": word}, timeout=10).raise_for_status()
read = 0
for page in pages(f"{RANDOMIZE}/api/randomizes?limit=2"):
    read += 1
    if read == 2:
        break
print("pages:", read)

answer = session.get(f"{SRE_KATA}/query", params={"param": "a"}, timeout=10)
if answer.headers["Content-Type"] == "application/problem+json":
    problem = answer.json()
    print("problem:", problem["status"], problem["detail"])
