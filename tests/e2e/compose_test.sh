#!/usr/bin/env bash
# `docker compose --profile full` for real: validators, replicas behind the load balancer, each scraped for itself, load
# through a scale-up, a stopped and a killed replica, and a value for every query of the dashboard. Needs Docker.
# REPORT=file keeps the table of queries and values.
set -euo pipefail
cd "$(dirname "$0")/../.."
export PORT=${PORT:-18000} BALANCER_PORT=${BALANCER_PORT:-18080} PROMETHEUS_PORT=${PROMETHEUS_PORT:-19090}
export COMPOSE_PROJECT_NAME=fer-serve-compose-test REPLICAS=2
# A test machine may be slow; what is tested here is not its speed.
export FER_DEADLINE_MS=${FER_DEADLINE_MS:-50000}
public=http://127.0.0.1:$BALANCER_PORT
prometheus=http://127.0.0.1:$PROMETHEUS_PORT
work=$(mktemp -d)
load_pid=

files=(-f docker-compose.yml)
if ! docker image inspect haproxy:3.2 prom/prometheus:v3.5.0 >/dev/null 2>&1 \
  && ! docker compose --profile full pull --quiet balancer prometheus >/dev/null 2>&1; then
  echo "the public images cannot be pulled: HAProxy and Prometheus are built from Debian's packages"
  files+=(-f tests/e2e/stand-ins/compose.yml)
fi
compose() { docker compose "${files[@]}" --profile full "$@"; }

fail() {
  echo "compose-test: $*" >&2
  compose logs --tail 30 >&2
  exit 1
}
finish() {
  if [[ -n $load_pid ]]; then kill "$load_pid" 2>/dev/null || true; fi
  compose down --volumes --timeout 1 >/dev/null 2>&1 || true
  rm -rf "$work"
}
trap finish EXIT

ask() {  # the first value of a query
  curl --fail --silent --get --data-urlencode "query=$1" "$prometheus/api/v1/query" \
    | python3 -c 'import json, sys; found = json.load(sys.stdin)["data"]["result"]; print(found[0]["value"][1] if found else "none")'
}
await() {  # await SECONDS EXPECTED QUERY
  local end=$((SECONDS + $1)) value=
  until value=$(ask "$3") && [[ $value == "$2" ]]; do
    ((SECONDS < end)) || fail "$3 is $value after $1 s; expected $2"
    sleep 1
  done
}
load() {  # load [OPTION...]: in the background, until settle
  rm -f "$work/stop"
  python3 tests/e2e/load.py "$public" --until "$work/stop" "$@" >"$work/load" 2>&1 &
  load_pid=$!
}
settle() {  # settle WHAT
  touch "$work/stop"
  wait "$load_pid" || { cat "$work/load" >&2; fail "requests failed: $1"; }
  load_pid=
  echo "$1"
  sed 's/^/  /' "$work/load"
}

compose build --quiet fer balancer prometheus
checked=$(compose run --rm --no-deps balancer haproxy -c -f /usr/local/etc/haproxy/haproxy.cfg 2>&1) || fail "haproxy -c: $checked"
if grep -qi warning <<<"$checked"; then fail "haproxy -c: $checked"; fi
echo "haproxy -c: the configuration is valid, without a warning"
promtool() {  # it keeps test data where TMPDIR says, and the root filesystem is read-only
  compose run --rm --no-deps --workdir /etc/prometheus --env TMPDIR=/prometheus --entrypoint promtool prometheus "$@" 2>&1
}
checked=$(promtool check config prometheus.yml) || fail "promtool check config: $checked"
tested=$(promtool test rules tests/fer-serve.yml tests/drift.yml) || fail "promtool test rules: $tested"
echo "promtool: configuration and rules are valid; every alert fires when it must and only then"

compose up --detach --wait --wait-timeout 120 fer replica balancer prometheus || fail "not healthy within 120 s"
await 60 3 'haproxy_backend_active_servers{proxy="replicas"}'
await 30 3 'count(count by (instance) (up{job="fer"} == 1))'
echo "up: 3 replicas behind the load balancer, each scraped for itself"

[[ $(curl --silent --output /dev/null --write-out '%{http_code}' "$public/metrics") == 404 ]] || fail "/metrics is public"
id=$(curl --silent --dump-header - --output /dev/null -H 'X-Request-ID: from-the-caller' "$public/info" | tr -d '\r' \
  | awk 'tolower($1) == "x-request-id:" {print $2}')
[[ $id == from-the-caller ]] || fail "the caller's request id became '$id'"
logged=$(compose logs balancer | grep -c from-the-caller) || fail "the request id is not in the load balancer's log"
echo "request id: kept, and in the load balancer's log ($logged line)"

load --bad
compose up --detach --no-recreate --wait --scale replica=3 fer replica >/dev/null 2>&1 || fail "cannot scale"
await 60 4 'haproxy_backend_active_servers{proxy="replicas"}'
await 30 4 'count(up{job="fer"} == 1)'
served=$(docker ps --quiet --filter "label=com.docker.compose.project=$COMPOSE_PROJECT_NAME" \
  --filter label=com.docker.compose.service=replica | head -n 1)
settle "scale-up from 3 to 4 replicas under load"

load
sleep 3
docker stop --time 20 "$served" >/dev/null
await 30 3 'haproxy_backend_active_servers{proxy="replicas"}'
[[ $(docker inspect --format '{{.State.ExitCode}}' "$served") == 0 ]] || fail "the stopped replica did not end with 0"
docker start "$served" >/dev/null
await 60 4 'haproxy_backend_active_servers{proxy="replicas"}'
sleep 3
settle "one replica stopped (SIGTERM, drained, exit 0) and started again under load"

# SIGKILL from outside the container, as the kernel's out-of-memory killer does it: what it was working on is lost, and
# nothing else. Each of the 4 callers has one request at a time.
load --may-lose 4
sleep 3
kill -9 "$(docker inspect --format '{{.State.Pid}}' "$served")"
# It may be back between two scrapes: Docker's own count tells, not the load balancer's.
end=$((SECONDS + 30))
until [[ $(docker inspect --format '{{.RestartCount}}' "$served") == 1 ]]; do
  ((SECONDS < end)) || fail "Docker did not start the killed replica again"
  sleep 0.2
done
await 60 4 'haproxy_backend_active_servers{proxy="replicas"}'
sleep 3
settle "one replica killed (SIGKILL) under load; Docker started it again"

load --bad
sleep "${LOAD_S:-75}"
python3 tests/e2e/dashboard_queries.py "$prometheus" >"${REPORT:-$work/report}" || fail "a query of the dashboard has no value"
echo "dashboard: $(($(wc -l <"${REPORT:-$work/report}") - 2)) queries, each with a value under load"
firing=$(ask 'count(ALERTS{alertstate="firing"}) or vector(0)')
settle "steady load while the dashboard's queries ran; alerts firing: $firing"

compose stop --timeout 20 fer replica >/dev/null 2>&1
curl --silent --output "$work/answer" --write-out '%{http_code}\n' -H 'X-Request-ID: nobody-left' "$public/info" >"$work/status"
python3 - "$work/answer" <<'PY' || fail "the load balancer's own 503 is $(cat "$work/answer")"
import json, sys
body = json.load(open(sys.argv[1]))
assert (body["status"], body["code"], body["request_id"]) == (503, "not_ready", "nobody-left"), body
PY
await 90 1 'count(ALERTS{alertname="FerNoInstance", alertstate="firing"})'
echo "all replicas stopped: a problem document with 503 from the load balancer, and FerNoInstance fires"
