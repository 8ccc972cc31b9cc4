#!/usr/bin/env bash
# Installs what spill_client_tls compares with into a folder outside the repository: benchmarks/spill_client_tls/peers.sh DIRECTORY
set -euo pipefail
[ $# -eq 1 ] || { echo "usage: $0 DIRECTORY" >&2; exit 2; }
python3 -m venv "$1"
"$1/bin/pip" install --quiet boto3==1.43.117 aiobotocore==3.10.0 uvloop
