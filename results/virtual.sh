#!/usr/bin/env bash
# The reference sweeps behind the README's picture: bash results/virtual.sh
# Simulated, so the files are the same on every host; about three minutes on 2 CPUs for each repeat (REPEATS=6).
set -euo pipefail
cd "$(dirname "$0")/.."
sweep() {
    python -m faultbench sweep --machine virtual --kernel next-202308,v6.6,v6.16 --handler device-dax,ext4 \
        --vmas private,shared --threads 1,2,4,8,16,32,64,128,256 --repeats "${REPEATS:-1}" --no-plot "$@"
}
sweep --writers 0 -o results/virtual-quiet.jsonl
sweep --writers 1 -o results/virtual-writer.jsonl
