#!/bin/sh
# curl 7.76 or later, and a POSIX shell.
set -eu
multivac=${MULTIVAC_URL:-http://127.0.0.1:5003}
randomize=${RANDOMIZE_URL:-http://127.0.0.1:5000}
sre_kata=${SRE_KATA_URL:-http://127.0.0.1:8003}
answer=$(mktemp)
trap 'rm -f "$answer"' EXIT

# --retry repeats after 408, 429, 5xx and a lost connection, and waits as Retry-After says. With the same
# key the service stores once what is sent twice.
feed() {
    curl --silent --show-error --fail-with-body --retry 5 --retry-connrefused --max-time 10 \
        --header "Idempotency-Key: $1" --header 'Content-Type: application/json' \
        --data '{"data":"from curl"}' --output "$answer" --write-out '%header{location}' "$multivac/multivac/data"
}
key=curl-$$-$(date +%s)
first=$(feed "$key")
second=$(feed "$key")
[ "$first" = "$second" ]
echo "queued once: $first"

# The next page is in the header Link, relative to this one.
for word in one two three; do
    curl --silent --fail --header 'Content-Type: application/json' --data "{\"word\":\"$word\"}" \
        --output /dev/null "$randomize/api/randomizes"
done
path=/api/randomizes
query='?limit=2'
pages=0
while [ -n "$query" ] && [ "$pages" -lt 2 ]; do
    query=$(curl --silent --fail --retry 5 --output "$answer" --dump-header - "$randomize$path$query" |
        sed -n 's/^[Ll]ink: <\([^>]*\)>; rel="next".*/\1/p')
    pages=$((pages + 1))
done
echo "pages: $pages"

# A problem has a status, a title, and mostly a detail; request_id is what to ask the operator about.
status=$(curl --silent --output "$answer" --write-out '%{http_code}' "$sre_kata/query?param=a")
detail=$(sed 's/.*"detail":"\([^"]*\)".*/\1/' "$answer")
echo "problem: $status $detail"
