#!/usr/bin/env bash
# Pack what run.sh needs on a GPU machine without a network: FER2013 with the annotator votes, and Python packages.
#
# Usage: training/gpu/prepare.sh [folder of fer2013.zip and ferplus_votes.csv] [output folder]
set -euo pipefail
data=$(realpath "${1:-../shared/data}")
folder=${2:-runs/gpu}
packages="keras namex optree pydantic pydantic_core pydantic-settings annotated-types python-dotenv typing-inspection
    typing_extensions adjustText"
mkdir -p "$folder"

# The headers of the JPEG files are nearly equal, so xz makes the archive a third smaller. The pixels stay the same.
unpacked=$(mktemp -d)
trap 'rm -rf "$unpacked"' EXIT
python3 -m zipfile -e "$data/fer2013.zip" "$unpacked"
cp "$data/ferplus_votes.csv" "$unpacked"
tar --sort=name --owner=0 --group=0 --mtime=@0 -C "$unpacked" -cJf "$folder/data.tar.xz" .

# Wheels for Python 3.12 on x86-64, at the versions of this project. PyTorch, OpenCV and scikit-learn must be installed there.
for package in $packages; do
    pinned=$(grep -iE "^${package//[-_]/[-_]}==" requirements/constraints.txt requirements/training.txt requirements/cpu.txt -h | head -1)
    python3 -m pip download --quiet --no-deps --only-binary=:all: --python-version 3.12 --implementation cp \
        --platform manylinux_2_28_x86_64 --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64 \
        -d "$folder" "${pinned%%[ ;]*}"
done
du -ch "$folder"/*
