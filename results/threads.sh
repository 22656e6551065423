#!/usr/bin/env bash
# The reference sweep on real threads: the default sweep of a 2-CPU machine, about a minute. bash results/threads.sh
set -euo pipefail
cd "$(dirname "$0")/.."
rm -f results/threads.jsonl
python -m faultbench sweep --no-plot -o results/threads.jsonl
python -m faultbench plot results/threads.jsonl -o results/threads
rm -f results/threads-*.png
