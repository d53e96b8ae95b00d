"""Python with the clients that openapi-python-client makes of the documents in docs/openapi:

    for name in multivac randomize sre-kata; do
        openapi-python-client generate --path docs/openapi/$name.json --meta none \
            --output-path $(echo $name | tr - _)_client
    done
"""

import os
import re
import time
import uuid
from urllib.parse import parse_qs

from multivac_client import AuthenticatedClient, models as multivac_models
from multivac_client.api.multivac import post_data
from randomize_client import Client as RandomizeClient, models as randomize_models
from randomize_client.api.randomize import create_randomize, get_randomizes
from sre_kata_client import Client as SreKataClient, models as sre_kata_models
from sre_kata_client.api.sre_kata import get_query

# Without AUTH_USERNAME multivac asks for no credentials; what is sent is not looked at.
multivac = AuthenticatedClient(os.environ.get("MULTIVAC_URL", "http://127.0.0.1:5003"), token="none")
randomize = RandomizeClient(os.environ.get("RANDOMIZE_URL", "http://127.0.0.1:5000"))
sre_kata = SreKataClient(os.environ.get("SRE_KATA_URL", "http://127.0.0.1:8003"))


def repeated(call, tries=5):
    """The answer of a call that is safe to repeat, as late as Retry-After says."""
    for attempt in range(1, tries + 1):
        answer = call()
        if attempt == tries or answer.status_code not in (429, 502, 503, 504):
            return answer
        time.sleep(float(answer.headers.get("Retry-After", 0.1 * 2**attempt)))


def feed(datum, key):
    """The job of a datum; with the same key the service stores once what is sent twice."""
    body = multivac_models.DataForm(data=datum)
    answer = repeated(lambda: post_data.sync_detailed(
        client=multivac, body=body, idempotency_key=key))
    assert answer.status_code == 200, answer.content
    return answer.headers["Location"]


key = str(uuid.uuid4())
first, second = feed("from a generated client", key), feed("from a generated client", key)
assert first == second
print("queued once:", first)

for word in ("one", "two", "three"):
    create_randomize.sync(client=randomize, body=randomize_models.NewRandomize(word=word))
read, options = 0, {}
while read < 2:
    answer = repeated(lambda: get_randomizes.sync_detailed(client=randomize, limit=2, **options))
    read += 1
    # The next page is in the header Link, as the query of this one with a cursor.
    link = re.search(r'<\?([^>]*)>; rel="next"', answer.headers.get("Link", ""))
    if not link:
        break
    options = {"cursor": parse_qs(link[1])["cursor"][0]}
print("pages:", read)

problem = get_query.sync(client=sre_kata, param="a")
if isinstance(problem, sre_kata_models.Problem):
    print("problem:", problem.status, problem.detail)
