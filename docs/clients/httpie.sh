#!/bin/sh
# HTTPie 3 (`http`), and a POSIX shell.
set -eu
multivac=${MULTIVAC_URL:-http://127.0.0.1:5003}
randomize=${RANDOMIZE_URL:-http://127.0.0.1:5000}
sre_kata=${SRE_KATA_URL:-http://127.0.0.1:8003}

# HTTPie does not repeat by itself. With --check-status 4xx ends with 4, 5xx with 5, and 2 is a time-out;
# with the same key the service stores once what is sent twice.
feed() {
    for pause in 0.2 0.4 0.8 1.6 0; do
        code=0
        http --ignore-stdin --check-status --timeout 10 --headers POST "$multivac/multivac/data" \
            "Idempotency-Key:$1" data='from HTTPie' || code=$?
        case $code in 0 | 4) return "$code" ;; esac
        sleep $pause
    done
    return "$code"
}
location() { sed -n 's/^[Ll]ocation: *\([^[:space:]]*\).*/\1/p'; }
key=httpie-$$-$(date +%s)
first=$(feed "$key" | location)
second=$(feed "$key" | location)
[ "$first" = "$second" ]
echo "queued once: $first"

for word in one two three; do
    http --ignore-stdin --check-status --body POST "$randomize/api/randomizes" word="$word" >/dev/null
done
query='?limit=2'
pages=0
while [ -n "$query" ] && [ "$pages" -lt 2 ]; do
    query=$(http --ignore-stdin --check-status --headers "$randomize/api/randomizes$query" |
        sed -n 's/^[Ll]ink: <\([^>]*\)>; rel="next".*/\1/p')
    pages=$((pages + 1))
done
echo "pages: $pages"

problem=$(http --ignore-stdin --body --pretty none "$sre_kata/query" param==a)
detail=$(echo "$problem" | sed 's/.*"detail": *"\([^"]*\)".*/\1/')
status=$(echo "$problem" | sed 's/.*"status": *\([0-9]*\).*/\1/')
echo "problem: $status $detail"
