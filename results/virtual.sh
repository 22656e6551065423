#!/usr/bin/env bash
# The reference sweeps behind the README's picture: bash results/virtual.sh
# Simulated, so the files are the same on every host; about four minutes on 2 CPUs for each repeat (REPEATS=6).
set -euo pipefail
cd "$(dirname "$0")/.."
axes=(--machine virtual --handler device-dax,ext4 --vmas private,shared --threads 1,2,4,8,16,32,64,128,256
    --repeats "${REPEATS:-1}" --no-plot)
for writers in 0 1; do
    load=$([ $writers = 0 ] && echo quiet || echo writer)
    python -m faultbench sweep --kernel next-202308,v6.6,v6.16 "${axes[@]}" --writers $writers -o "results/virtual-$load.jsonl"
    # the same with x86's look-up of the memory type, two locks of the whole machine: what a 6.6 on x86 does
    python -m faultbench sweep --kernel v6.6 --set pat=on "${axes[@]}" --writers $writers -o "results/virtual-$load-pat.jsonl"
done
