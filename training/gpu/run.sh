#!/usr/bin/env bash
# Train the plan on a machine with an NVIDIA GPU, PyTorch and no network. prepare.sh packs the inputs.
# The archives appear in the output folder during training: `python -m training unpack` imports them.
#
# Usage: training/gpu/run.sh [folder of prepare.sh] [output folder] [options of `python -m training plan`]
set -euo pipefail
folder=${1:-runs/gpu}
to=${2:-${OUT:-runs/plan}}
plan=${PLAN:-training/configs/gpu/plan.toml}
python=${PYTHON:-python3}
export KERAS_BACKEND=torch MPLBACKEND=agg PYTHONUNBUFFERED=1 OMP_NUM_THREADS=${OMP_NUM_THREADS:-4}

site=$(mktemp -d)
if compgen -G "$folder/*.whl" >/dev/null; then
    "$python" -m pip install --quiet --no-index --no-deps --no-compile --no-cache-dir --target "$site/packages" "$folder"/*.whl
    export PYTHONPATH=$site/packages
fi
mkdir "$site/data"
tar -xJf "$folder/data.tar.xz" -C "$site/data"
exec "$python" -m training plan "$plan" --data "$site/data" --votes "$site/data/ferplus_votes.csv" --to "$to" "${@:3}"
