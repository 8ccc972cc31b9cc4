"""`peaker simulate`: what would happen, before it does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from peaker.cli.options import json_option, settings_options
from peaker.cli.simulate_requests import predict, request_options
from peaker.cli.simulate_servers import is_asked_for, provision, server_options


@click.command("simulate")
@click.argument("trace", type=click.Path(path_type=Path))
@request_options
@server_options
@settings_options
@json_option
def command(*, trace: Path, as_json: bool, **given: Any) -> int:
    """Predict what the running project would do with the traffic of TRACE: latency, spilled share, dollars.

    TRACE and its options are those of `peaker replay`, which measures the same on the running app; `peaker compare`
    puts both side by side. It rests on the settings and on what `peaker measure` found, with the same --path. Each
    request is simulated with the gate's own rule of admission, with several seeds; the least and the most of them
    are shown. Needs peaker[plan].

    TRACE may be a plan that `peaker plan --save` wrote (.json): alone, its recommended candidate (or --candidate) is
    simulated with its own traffic and figures; with --config, the project under the plan's traffic.

    With prices (--server-usd-per-hour, --function-usd-per-server-hour, --servers-mean) it follows a rule for the number
    of servers through TRACE instead, step by step, and shows what that costs beside the clairvoyant optimum and
    break-even. Of the options above it takes --from, --for and --step, and --servers for --policy fixed.

    \b
    Examples:
      peaker measure --path / --path /search?q=tea:3
      peaker simulate traffic.csv --path / --path /search?q=tea:3 --out predicted.json
      peaker simulate counts_1min.csv.gz --from 14h --for 20m --speed 10 --scale 0.5 --json
      peaker simulate plan.json
      peaker simulate counts_1min.csv.gz --server-usd-per-hour 0.04 --function-usd-per-server-hour 0.19 \\
          --servers-mean 5 --policy default --decisions steps.csv
    """  # noqa: D301
    if is_asked_for(given):
        return provision(trace, given, as_json=as_json)
    return predict(trace, given, as_json=as_json)
