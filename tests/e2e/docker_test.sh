#!/usr/bin/env bash
# Test of the container: build, readiness, prediction, read-only file system, drain on SIGTERM, health check at every kind
# of address. Needs Docker.
set -euo pipefail
cd "$(dirname "$0")/../.."
export PORT=${PORT:-18000} COMPOSE_PROJECT_NAME=fer-serve-test
photo=tests/photos/astronaut.jpg
url=http://127.0.0.1:$PORT

fail() {
  echo "docker-test: $*" >&2
  docker compose logs --tail 50 >&2
  exit 1
}
trap 'docker compose down --timeout 1 >/dev/null 2>&1; docker rm --force fer-serve-test-health >/dev/null 2>&1 || true' EXIT

await_health() {  # await_health DESCRIPTION [DOCKER OPTION...] [-- SERVICE OPTION...]: start a container until it is healthy
  local description=$1 options=() status=
  shift
  while (($#)) && [[ $1 != -- ]]; do options+=("$1"); shift; done
  docker run --detach --name fer-serve-test-health --read-only --tmpfs /tmp "${options[@]}" fer-serve:cpu "${@:2}" >/dev/null
  for _ in $(seq 60); do
    status=$(docker inspect --format '{{.State.Health.Status}}' fer-serve-test-health)
    [[ $status == healthy ]] && break
    sleep 1
  done
  [[ $status == healthy ]] || { docker logs fer-serve-test-health >&2; fail "the container is $status with $description"; }
  docker rm --force fer-serve-test-health >/dev/null
}

docker compose build
echo "image: $(docker image inspect fer-serve:cpu --format '{{.Size}}' | awk '{printf "%.0f MB", $1 / 1e6}')"

started=$(date +%s.%N)
docker compose up --detach --wait --wait-timeout 60 || fail "the container is not healthy after 60 s"
echo "healthy after $(awk -v a="$started" -v b="$(date +%s.%N)" 'BEGIN {printf "%.1f s", b - a}')"
curl --fail --silent --show-error "$url/readyz" >/dev/null || fail "/readyz is not 200"

response=$(curl --fail --silent --show-error -F "file=@$photo" "$url/predict") || fail "/predict failed"
echo "$response" | python3 -c '
import json, sys
body = json.load(sys.stdin)
assert len(body["faces"]) == 1 and set(body["scores"]) >= {"happy", "neutral"}, body
print("predict:", body["emotion"], body["confidence"])
' || fail "/predict returned $response"

container=$(docker compose ps --quiet fer)
[[ $(docker exec "$container" id -u) == 10001 ]] || fail "the container runs as root"
if docker exec "$container" sh -c 'echo x >/srv/written' 2>/dev/null; then fail "the root filesystem can be written to"; fi
if docker exec "$container" sh -c 'ls /srv/training' >/dev/null 2>&1; then fail "training code is in the image"; fi

docker kill --signal TERM "$container" >/dev/null
sleep 1
ready=$(curl --silent --output /dev/null --write-out '%{http_code}' "$url/readyz")
[[ $ready == 503 ]] || fail "/readyz is $ready one second after SIGTERM; expected 503"
curl --fail --silent --output /dev/null -F "file=@$photo" "$url/predict" || fail "a request during the drain failed"
status=$(timeout 20 docker wait "$container") || fail "the container did not stop within 20 s after SIGTERM"
[[ $status == 0 ]] || fail "the exit status is $status"
echo "SIGTERM: readiness 503, requests answered, exit status 0"

proxies=(--env http_proxy=http://192.0.2.1:9 --env HTTP_PROXY=http://192.0.2.1:9 --env ALL_PROXY=http://192.0.2.1:9)
await_health "FER_HOST=:: and proxies in the environment" --env FER_HOST=:: "${proxies[@]}"
await_health "a UNIX socket" --env FER_UDS=/tmp/fer.sock
await_health "another port on the command line" -- --port 9000
echo "health check: healthy with FER_HOST=::, FER_UDS, --port and proxies in the environment"
