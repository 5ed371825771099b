#!/usr/bin/env bash
# Test of the Swarm stack on one node: replicas behind the load balancer, with load during a scale-up, a scale-down, a killed
# replica, a rolling update, an update that fails and is rolled back, a manual rollback, and API keys from secrets. Needs
# Docker. If the machine is not a swarm, it becomes one during the test.
set -euo pipefail
cd "$(dirname "$0")/../.."
export BALANCER_PORT=${BALANCER_PORT:-18081} FER_IMAGE=fer-serve-test/fer:1
# A long deadline, because the test machine may be slow.
export FER_DEADLINE_MS=${FER_DEADLINE_MS:-50000} CONFIG_VERSION=test
public=http://127.0.0.1:$BALANCER_PORT
stack=fer-serve-swarm-test
fer=${stack}_fer
work=$(mktemp -d)
load_pid="" joined=""

fail() {
  echo "swarm-test: $*" >&2
  docker stack ps --no-trunc "$stack" >&2
  docker service logs --tail 20 "${stack}_balancer" >&2
  exit 1
}
finish() {
  if [[ -n $load_pid ]]; then kill "$load_pid" 2>/dev/null || true; fi
  docker stack rm "$stack" >/dev/null 2>&1 || true
  for _ in $(seq 60); do
    [[ -z $(docker ps --quiet --filter "label=com.docker.stack.namespace=$stack") ]] && break
    sleep 1
  done
  docker volume rm "${stack}_prometheus" >/dev/null 2>&1 || true
  docker secret rm "$stack-api-keys" "$stack-admin-keys" >/dev/null 2>&1 || true
  if [[ -n $joined ]]; then docker swarm leave --force >/dev/null; fi
  docker image rm fer-serve-test/fer:1 fer-serve-test/fer:2 >/dev/null 2>&1 || true
  rm -rf "$work"
}
trap finish EXIT

await() {  # await SECONDS DESCRIPTION COMMAND...
  local end=$((SECONDS + $1))
  until "${@:3}"; do
    ((SECONDS < end)) || fail "not reached after $1 s: $2"
    sleep 1
  done
}
healthy() { [[ $(docker ps --quiet --filter "label=com.docker.swarm.service.name=$fer" --filter health=healthy | wc -l) == "$1" ]]; }
inside() {  # inside SERVICE CURL-ARGUMENT...: send a request from the network of a task
  local container
  container=$(docker ps --quiet --filter "label=com.docker.swarm.service.name=${stack}_$1" | head -n 1)
  [[ -n $container ]] || return 1
  nsenter --target "$(docker inspect --format '{{.State.Pid}}' "$container")" --net curl --silent --fail "${@:2}"
}
in_use() {
  [[ $(inside balancer http://127.0.0.1:8405/metrics \
    | awk '/^haproxy_backend_active_servers\{proxy="replicas"\}/ {print $2}') == "$1" ]]
}
scraped() {  # scraped JOB NUMBER
  [[ $(inside prometheus --get --data-urlencode "query=count(up{job=\"$1\"} == 1)" http://127.0.0.1:9090/api/v1/query) \
    == *",\"$2\"]"* ]]
}
update_state() { docker service inspect --format '{{if .UpdateStatus}}{{.UpdateStatus.State}}{{end}}' "$fer"; }
updated() { [[ $(update_state) == "$1" ]]; }
images() { docker ps --filter "label=com.docker.swarm.service.name=$fer" --format '{{.Image}}' | sort -u; }
start_load() {  # start_load [OPTION...]: send requests in the background until stop_load
  rm -f "$work/stop"
  python3 tests/e2e/load.py "$public" --until "$work/stop" "$@" >"$work/load" 2>&1 &
  load_pid=$!
}
stop_load() {  # stop_load DESCRIPTION: fail if a request failed
  sleep 3
  touch "$work/stop"
  wait "$load_pid" || { cat "$work/load" >&2; fail "requests failed: $1"; }
  load_pid=
  echo "$1"
  sed 's/^/  /' "$work/load"
}

docker image inspect fer-serve:cpu >/dev/null 2>&1 || docker compose build --quiet fer
docker tag fer-serve:cpu fer-serve-test/fer:1
# A second image with the same behavior represents the next release.
printf 'FROM fer-serve:cpu\nLABEL release=2\n' | docker build --quiet --tag fer-serve-test/fer:2 - >/dev/null
if ! docker image inspect haproxy:3.2 prom/prometheus:v3.5.0 >/dev/null 2>&1 \
  && ! { docker pull --quiet haproxy:3.2 && docker pull --quiet prom/prometheus:v3.5.0; } >/dev/null 2>&1; then
  echo "the public images are not available: building HAProxy and Prometheus from Debian packages"
  for name in haproxy prometheus; do
    docker build --quiet --target "$name" --tag "fer-serve-test/$name" tests/e2e/stand-ins >/dev/null
  done
  export HAPROXY_IMAGE=fer-serve-test/haproxy PROMETHEUS_IMAGE=fer-serve-test/prometheus
fi
if [[ $(docker info --format '{{.Swarm.LocalNodeState}}') != active ]]; then
  docker swarm init --advertise-addr 127.0.0.1 >/dev/null
  joined=yes
fi
docker stack config --compose-file deploy/swarm/stack.yml --compose-file deploy/swarm/gpu.yml >/dev/null
docker stack config --compose-file deploy/swarm/stack.yml --compose-file deploy/swarm/keys.yml >/dev/null
echo "docker stack config: the stack is valid, with and without GPUs and keys"

docker stack deploy --resolve-image never --compose-file deploy/swarm/stack.yml "$stack" >/dev/null 2>&1 \
  || fail "docker stack deploy"
await 180 "3 healthy replicas" healthy 3
await 60 "the load balancer uses 3 replicas" in_use 3
await 30 "a response through the load balancer" curl --silent --fail --output /dev/null "$public/readyz"
await 60 "Prometheus scrapes 3 replicas" scraped fer 3
await 60 "Prometheus scrapes the load balancer" scraped balancer 1
echo "up: 3 replicas behind the load balancer, 3 targets in Prometheus"

start_load
docker service scale --detach "$fer=5" >/dev/null
await 120 "5 healthy replicas" healthy 5
await 60 "the load balancer uses 5 replicas" in_use 5
stop_load "scale-up from 3 to 5 replicas under load"

start_load
docker service scale --detach "$fer=3" >/dev/null
await 120 "the load balancer uses 3 replicas" in_use 3
await 60 "3 healthy replicas" healthy 3
stop_load "scale-down to 3 replicas under load"

# Only the requests in the killed replica may fail. Each of the 4 clients has one request at a time.
start_load --may-lose 4
sleep 2
killed=$(docker ps --quiet --filter "label=com.docker.swarm.service.name=$fer" | head -n 1)
kill -9 "$(docker inspect --format '{{.State.Pid}}' "$killed")"
await 60 "the killed replica is gone" healthy 2
await 120 "3 healthy replicas" healthy 3
await 60 "the load balancer uses 3 replicas" in_use 3
stop_load "one replica killed (SIGKILL) and replaced by Swarm under load"

start_load
docker service update --detach --no-resolve-image --image fer-serve-test/fer:2 "$fer" >/dev/null 2>&1
await 900 "the update is complete" updated completed
await 60 "the load balancer uses 3 replicas" in_use 3
[[ $(images) == fer-serve-test/fer:2 ]] || fail "after the update the images are $(images)"
stop_load "rolling update of 3 replicas to another image under load"

start_load
# The service refuses to start with an unknown FER_* name.
docker service update --detach --no-resolve-image --env-add FER_PORTT=1 "$fer" >/dev/null 2>&1
await 900 "the update is rolled back" updated rollback_completed
await 60 "the load balancer uses 3 replicas" in_use 3
if docker service inspect "$fer" | grep -q FER_PORTT; then fail "the invalid setting is still in the service"; fi
stop_load "an update that cannot start, rolled back by Swarm under load"

start_load
docker service update --detach --no-resolve-image --image fer-serve-test/fer:1 "$fer" >/dev/null 2>&1
await 900 "the update is complete" updated completed
docker service rollback --detach "$fer" >/dev/null 2>&1
await 900 "the rollback is complete" updated rollback_completed
await 60 "the load balancer uses 3 replicas" in_use 3
[[ $(images) == fer-serve-test/fer:2 ]] || fail "after the rollback the images are $(images)"
stop_load "another update and its manual rollback under load"

printf 'first-key\nsecond-key\n' | docker secret create "$stack-api-keys" - >/dev/null
printf 'admin-key\n' | docker secret create "$stack-admin-keys" - >/dev/null
start_load --key second-key
API_KEYS_SECRET=$stack-api-keys ADMIN_KEYS_SECRET=$stack-admin-keys FER_IMAGE=fer-serve-test/fer:2 \
  docker stack deploy --resolve-image never --compose-file deploy/swarm/stack.yml --compose-file deploy/swarm/keys.yml "$stack" \
  >/dev/null 2>&1 || fail "docker stack deploy with keys"
sleep 5
await 900 "the update is complete" updated completed
await 60 "the load balancer uses 3 replicas" in_use 3
stop_load "rolling update to API keys from secrets under load"
status() { curl --silent --output /dev/null --write-out '%{http_code}' "$@"; }
[[ $(status "$public/info") == 401 ]] || fail "/info without a key is not 401"
[[ $(status -H 'X-API-Key: second-key' "$public/info") == 200 ]] || fail "/info with a key is not 200"
[[ $(status --request POST -H 'X-API-Key: admin-key' "$public/admin/reload") == 200 ]] || fail "/admin/reload is not 200"
echo "secrets: 401 without a key, 200 with a key of the file, and POST /admin/reload with the admin key"
