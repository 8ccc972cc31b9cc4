#!/usr/bin/env bash
# Installs what event_queue compares with into a folder outside the repository: benchmarks/event_queue/peers.sh DIRECTORY
# For Debian and Ubuntu: PostgreSQL and Redis are fetched with apt-get and unpacked there; nothing is started or installed.
set -euo pipefail
[ $# -eq 1 ] || { echo "usage: $0 DIRECTORY" >&2; exit 2; }
mkdir -p "$1/debs"
cd "$1"
python3 -m venv python
python/bin/pip install --quiet 'procrastinate==3.10.0' 'psycopg[binary]==3.3.9' 'celery[redis]==5.7.0'
(cd debs && apt-get download postgresql-15 libpq5 redis-server redis-tools liblzf1 libjemalloc2 libhiredis0.14 liblua5.1-0 lua-cjson lua-bitop)
for package in debs/*.deb; do dpkg -x "$package" debian; done
