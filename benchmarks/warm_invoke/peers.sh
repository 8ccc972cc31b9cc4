#!/usr/bin/env bash
# Installs what warm_invoke compares with into a folder outside the repository: benchmarks/warm_invoke/peers.sh DIRECTORY
# Python 3.11 or later is needed for AWS's emulator and functions-framework, Node 18 or later and npm for serverless-offline.
set -euo pipefail
[ $# -eq 1 ] || { echo "usage: $0 DIRECTORY" >&2; exit 2; }
mkdir -p "$1"
cd "$1"
python3 -m venv python
# Nothing is taken from aws-sam-cli but the emulator's program, so it lies apart, without what it needs to run.
python/bin/pip install --quiet --no-deps --target aws-sam-cli 'aws-sam-cli==1.170.0'
python/bin/pip install --quiet 'awslambdaric==4.2.2' 'functions-framework==3.10.2'
if command -v npm >/dev/null; then
    npm install --silent --no-audit --no-fund --no-save --prefix . serverless@3.40.0 serverless-offline@13.10.1
else
    echo "no npm: serverless-offline is left out" >&2
fi
