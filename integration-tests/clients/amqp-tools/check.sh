#!/usr/bin/env bash
# amqp-tools: rabbitmq-c's command line programs.
set -u
server="${AMQP_HOST:-127.0.0.1}:${AMQP_PORT:-5672}"
url=(--url="amqp://guest:guest@$server")
queue="clients-tools-$$-$RANDOM"
passed=0
failed=0
trap 'amqp-delete-queue "${url[@]}" -q "$queue" >/dev/null 2>&1; rm -f "$scratch"' EXIT
scratch=$(mktemp)

# check NAME WANTED COMMAND...: the command succeeds and prints what is wanted.
check() {
    local name=$1 wanted=$2 got
    shift 2
    if got=$(timeout 10 "$@" 2>&1) && [ "$got" = "$wanted" ]; then
        echo "ok $name"
        passed=$((passed + 1))
    else
        echo "not ok $name: got '${got:0:200}', wanted '${wanted:0:200}'"
        failed=$((failed + 1))
    fi
}

# refuse NAME PATTERN COMMAND...: the command fails and says so.
refuse() {
    local name=$1 pattern=$2 got
    shift 2
    if got=$(timeout 10 "$@" 2>&1); then
        echo "not ok $name: succeeded"
        failed=$((failed + 1))
    elif [[ $got == *$pattern* ]]; then
        echo "ok $name"
        passed=$((passed + 1))
    else
        echo "not ok $name: got '$got', wanted '$pattern'"
        failed=$((failed + 1))
    fi
}

publish=(amqp-publish "${url[@]}")

check "declare a queue" "$queue" amqp-declare-queue "${url[@]}" -q "$queue"
check "declare it again" "$queue" amqp-declare-queue "${url[@]}" -q "$queue"
refuse "declare it differently" "PRECONDITION_FAILED" amqp-declare-queue "${url[@]}" -q "$queue" -d
refuse "wrong password" "ACCESS_REFUSED" amqp-declare-queue --url="amqp://guest:wrong@$server" -q "$queue"
refuse "missing vhost" "not found" amqp-declare-queue --url="amqp://guest:guest@$server/clients-none" -q "$queue"
refuse "get from an empty queue" "" amqp-get "${url[@]}" -q "$queue"
refuse "get from a missing queue" "NOT_FOUND" amqp-get "${url[@]}" -q "$queue-none"
check "publish a persistent message" "" "${publish[@]}" -r "$queue" -p -C text/plain -b hello
check "get it" "hello" amqp-get "${url[@]}" -q "$queue"
check "publish an empty body" "" "${publish[@]}" -r "$queue" -b ""
check "get the empty body" "" amqp-get "${url[@]}" -q "$queue"
head -c 2000000 /dev/urandom | base64 -w0 > "$scratch"
check "publish a large body" "" "${publish[@]}" -r "$queue" <"$scratch"
check "get the large body" "$(cat "$scratch")" amqp-get "${url[@]}" -q "$queue"
check "publish with a header" "" "${publish[@]}" -r "$queue" -H "a: 1" -b "with header"
check "publish line by line" "" "${publish[@]}" -r "$queue" -l < <(printf 'one\ntwo\n')
check "consume three with a program" $'with headerone\ntwo' amqp-consume "${url[@]}" -q "$queue" -c 3 -p 1 cat
check "consume through an exchange" "through" bash -c '
    amqp-consume '"${url[*]}"' -e amq.direct -r '"$queue"'-key -c 1 cat 2>/dev/null & consumer=$!
    for _ in $(seq 100); do
        amqp-publish '"${url[*]}"' -e amq.direct -r '"$queue"'-key -b through
        sleep 0.05
        kill -0 $consumer 2>/dev/null || break
    done
    wait $consumer'
check "delete the queue, empty" "0" amqp-delete-queue "${url[@]}" -q "$queue"
refuse "publish to a missing exchange" "no exchange 'clients-none'" "${publish[@]}" -e clients-none -r k -b m

echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
