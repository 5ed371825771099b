#!/usr/bin/env bash
# Test of `docker compose --profile full`: configuration files, replicas behind the load balancer, Prometheus targets, load
# during a scale-up and with a stopped and a killed replica, and every query of the dashboard. Needs Docker.
# REPORT=file writes the table of queries and values to a file.
set -euo pipefail
cd "$(dirname "$0")/../.."
export PORT=${PORT:-18000} BALANCER_PORT=${BALANCER_PORT:-18080} PROMETHEUS_PORT=${PROMETHEUS_PORT:-19090}
export COMPOSE_PROJECT_NAME=fer-serve-compose-test REPLICAS=2
# A long deadline, because the test machine may be slow.
export FER_DEADLINE_MS=${FER_DEADLINE_MS:-50000}
public=http://127.0.0.1:$BALANCER_PORT
prometheus=http://127.0.0.1:$PROMETHEUS_PORT
work=$(mktemp -d)
load_pid=

files=(-f docker-compose.yml)
if ! docker image inspect haproxy:3.2 prom/prometheus:v3.5.0 >/dev/null 2>&1 \
  && ! docker compose --profile full pull --quiet balancer prometheus >/dev/null 2>&1; then
  echo "the public images are not available: building HAProxy and Prometheus from Debian packages"
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

query() {  # query EXPRESSION: print the first value
  curl --fail --silent --get --data-urlencode "query=$1" "$prometheus/api/v1/query" \
    | python3 -c 'import json, sys; found = json.load(sys.stdin)["data"]["result"]; print(found[0]["value"][1] if found else "none")'
}
await() {  # await SECONDS EXPECTED EXPRESSION
  local end=$((SECONDS + $1)) value=
  until value=$(query "$3") && [[ $value == "$2" ]]; do
    ((SECONDS < end)) || fail "$3 is $value after $1 s; expected $2"
    sleep 1
  done
}
start_load() {  # start_load [OPTION...]: send requests in the background until stop_load
  rm -f "$work/stop"
  python3 tests/e2e/load.py "$public" --until "$work/stop" "$@" >"$work/load" 2>&1 &
  load_pid=$!
}
stop_load() {  # stop_load DESCRIPTION: fail if a request failed
  touch "$work/stop"
  wait "$load_pid" || { cat "$work/load" >&2; fail "requests failed: $1"; }
  load_pid=
  echo "$1"
  sed 's/^/  /' "$work/load"
}

compose build --quiet fer balancer prometheus
checked=$(compose run --rm --no-deps balancer haproxy -c -f /usr/local/etc/haproxy/haproxy.cfg 2>&1) || fail "haproxy -c: $checked"
if grep -qi warning <<<"$checked"; then fail "haproxy -c: $checked"; fi
echo "haproxy -c: the configuration is valid, without warnings"
promtool() {  # TMPDIR, because the root file system is read-only
  compose run --rm --no-deps --workdir /etc/prometheus --env TMPDIR=/prometheus --entrypoint promtool prometheus "$@" 2>&1
}
checked=$(promtool check config prometheus.yml) || fail "promtool check config: $checked"
tested=$(promtool test rules tests/fer-serve.yml tests/drift.yml) || fail "promtool test rules: $tested"
echo "promtool: the configuration and the rules are valid, and the tests of the alerts pass"

compose up --detach --wait --wait-timeout 120 fer replica balancer prometheus || fail "not healthy within 120 s"
await 60 3 'haproxy_backend_active_servers{proxy="replicas"}'
await 30 3 'count(count by (instance) (up{job="fer"} == 1))'
echo "up: 3 replicas behind the load balancer, 3 targets in Prometheus"

[[ $(curl --silent --output /dev/null --write-out '%{http_code}' "$public/metrics") == 404 ]] || fail "/metrics is public"
id=$(curl --silent --dump-header - --output /dev/null -H 'X-Request-ID: from-the-client' "$public/info" | tr -d '\r' \
  | awk 'tolower($1) == "x-request-id:" {print $2}')
[[ $id == from-the-client ]] || fail "the client's request id became '$id'"
logged=$(compose logs balancer | grep -c from-the-client) || fail "the request id is not in the load balancer's log"
echo "request id: returned, and in the load balancer's log ($logged line)"

start_load --bad
compose up --detach --no-recreate --wait --scale replica=3 fer replica >/dev/null 2>&1 || fail "cannot scale"
await 60 4 'haproxy_backend_active_servers{proxy="replicas"}'
await 30 4 'count(up{job="fer"} == 1)'
served=$(docker ps --quiet --filter "label=com.docker.compose.project=$COMPOSE_PROJECT_NAME" \
  --filter label=com.docker.compose.service=replica | head -n 1)
stop_load "scale-up from 3 to 4 replicas under load"

start_load
sleep 3
docker stop --time 20 "$served" >/dev/null
await 30 3 'haproxy_backend_active_servers{proxy="replicas"}'
[[ $(docker inspect --format '{{.State.ExitCode}}' "$served") == 0 ]] || fail "the exit status of the stopped replica is not 0"
docker start "$served" >/dev/null
await 60 4 'haproxy_backend_active_servers{proxy="replicas"}'
sleep 3
stop_load "one replica stopped (SIGTERM, drain, exit status 0) and restarted under load"

# SIGKILL, as from the kernel's out-of-memory killer: only the requests in the replica may fail. Each of the 4 clients
# has one request at a time.
start_load --may-lose 4
sleep 3
kill -9 "$(docker inspect --format '{{.State.Pid}}' "$served")"
# Use Docker's restart count: the replica may be back before the next scrape.
end=$((SECONDS + 30))
until [[ $(docker inspect --format '{{.RestartCount}}' "$served") == 1 ]]; do
  ((SECONDS < end)) || fail "Docker did not restart the killed replica"
  sleep 0.2
done
await 60 4 'haproxy_backend_active_servers{proxy="replicas"}'
sleep 3
stop_load "one replica killed (SIGKILL) and restarted by Docker under load"

start_load --bad
sleep "${LOAD_S:-75}"
python3 tests/e2e/dashboard_queries.py "$prometheus" >"${REPORT:-$work/report}" || fail "a query of the dashboard has no value"
echo "dashboard: $(($(wc -l <"${REPORT:-$work/report}") - 2)) queries, each with a value under load"
firing=$(query 'count(ALERTS{alertstate="firing"}) or vector(0)')
stop_load "steady load during the dashboard's queries; firing alerts: $firing"

compose stop --timeout 20 fer replica >/dev/null 2>&1
curl --silent --output "$work/response" --write-out '%{http_code}\n' -H 'X-Request-ID: no-replica' "$public/info" >"$work/status"
python3 - "$work/response" <<'PY' || fail "the load balancer's 503 is $(cat "$work/response")"
import json, sys
body = json.load(open(sys.argv[1]))
assert (body["status"], body["code"], body["request_id"]) == (503, "not_ready", "no-replica"), body
PY
await 90 1 'count(ALERTS{alertname="FerNoInstance", alertstate="firing"})'
echo "all replicas stopped: the load balancer returns 503 as a problem document, and FerNoInstance fires"
