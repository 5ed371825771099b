#!/usr/bin/env bash
# Test of the memory limit: a container with the limit of the shipped deployments on many cores must survive slow uploads of
# the largest bodies, slow messages of streams and large progressive JPEGs at the same time. Needs Docker, and the image of `docker compose build`.
# CORES=host does not emulate 32 cores.
set -euo pipefail
cd "$(dirname "$0")/../.."
image=${IMAGE:-fer-serve:cpu} port=${PORT:-18002} limit=${LIMIT:-1g} megabytes=${MEGABYTES:-20}
url=http://127.0.0.1:$port
work=$(mktemp -d)
container=

fail() {
  echo "memory-test: $*" >&2
  docker logs --tail 20 "$container" >&2
  exit 1
}
finish() {
  if [[ -n $container ]]; then docker rm --force "$container" >/dev/null; fi
  rm -rf "$work"
}
trap finish EXIT

peak() { docker exec "$container" sh -c 'awk "/VmHWM/ {printf \"%.0f MB\", \$2 / 1000}" /proc/1/status'; }
load() {  # load DESCRIPTION OPTION...: send load, then check that the instance lives and answers
  echo "$1"
  python3 tests/e2e/memory_load.py "$url" "${@:2}" | sed 's/^/  /'
  [[ $(docker inspect --format '{{.State.Running}} {{.State.OOMKilled}}' "$container") == "true false" ]] \
    || fail "the container ended: $(docker inspect --format '{{json .State}}' "$container")"
  for _ in $(seq 60); do  # the queue of the load may still be full
    if curl --fail --silent --output /dev/null -F file=@tests/photos/astronaut.jpg "$url/predict"; then
      echo "  peak memory $(peak); a portrait is answered"
      return
    fi
    sleep 0.5
  done
  fail "no portrait is answered within 30 s"
}

many_cores=(--volume "$PWD/tests/e2e/many_cores:/many_cores:ro" --env PYTHONPATH=/many_cores)
[[ ${CORES:-32} == 32 ]] || many_cores=()
container=$(docker run --detach --read-only --tmpfs /tmp --memory "$limit" --memory-swap "$limit" "${many_cores[@]}" \
  --env FER_LOG_FORMAT=json --env FER_MAX_BODY_BYTES=$((megabytes * 1024 * 1024)) --publish "127.0.0.1:$port:8000" "$image")
for _ in $(seq 120); do curl --fail --silent --output /dev/null "$url/readyz" && break; sleep 0.5; done
docker logs "$container" 2>&1 | sed -n 's/.*"message": "\([0-9]* vision threads[^"]*\)".*/\1/p'
echo "peak memory after the start: $(peak)"

# A smooth picture at the largest accepted size: its file is small, and its decoding takes as much memory as any.
docker run --rm --interactive --entrypoint python "$image" - >"$work/large.jpg" <<'PY'
import io, sys
import numpy as np
from PIL import Image
ramp = np.add.outer(np.arange(6900) % 256, np.arange(6900) // 28).astype(np.uint8)
file = io.BytesIO()
Image.merge("RGB", [Image.fromarray(ramp)] * 3).save(file, "JPEG", progressive=True, quality=60)
sys.stdout.buffer.write(file.getvalue())
PY
echo "progressive JPEG of 48 megapixels: $(($(stat --format %s "$work/large.jpg") / 1000)) kB"

load "150 slow uploads of $megabytes MiB, no body ever ends" --megabytes "$megabytes" --hold-last-byte
load "150 slow uploads of $megabytes MiB" --megabytes "$megabytes"
load "150 uploads of $megabytes MiB at once" --megabytes "$megabytes" --seconds 0
load "150 streams, each with a slow message of $megabytes MiB" --megabytes "$megabytes" --streams
load "64 progressive JPEGs at once" --callers 64 --file "$work/large.jpg" --seconds 0
python3 tests/e2e/memory_load.py "$url" --megabytes "$megabytes" | sed 's/^/  /' &
load "150 slow uploads, and 64 progressive JPEGs three times" --callers 64 --file "$work/large.jpg" --seconds 0
load "(second time)" --callers 64 --file "$work/large.jpg" --seconds 0
load "(third time)" --callers 64 --file "$work/large.jpg" --seconds 0
wait
echo "the container survived with a limit of $limit; peak memory $(peak)"
