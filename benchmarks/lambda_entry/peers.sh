#!/usr/bin/env bash
# Installs what lambda_entry compares with into a folder outside the repository: benchmarks/lambda_entry/peers.sh DIRECTORY
set -euo pipefail
[ $# -eq 1 ] || { echo "usage: $0 DIRECTORY" >&2; exit 2; }
python3 -m venv "$1"
"$1/bin/pip" install --quiet mangum==0.22.0 awslambdaric==4.2.2
