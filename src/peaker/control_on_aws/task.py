"""What control on AWS steers, as one frozen value; the stack gives it to the function in `PEAKER_CONTROL`."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields

from peaker.errors import SettingsError

STEP_S = 60.0
"""EventBridge Scheduler's shortest interval, and the resolution of the load balancer's metrics."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One app's servers.

    Attributes:
        table: DynamoDB table with state and journal.
        cluster, service: of ECS; or
        group: the Auto Scaling group. One of the two is "".
        listener_arn, balancer, servers_target_arn: of the load balancer; `balancer` as its metrics name it.
        function_target_arn, function: of the web app as a function; "" where nothing may run there.
        policy, count_min, count_max, stay_s: as `[servers]` has them.
        start_guess_s: how long a server takes to start, until it was measured.
        vcpus, slots: of one server.
        server_usd_per_hour, gb_second_usd, request_usd: list prices.
        memory_mb, concurrency_max: of the web function.
        spend_usd_per_day_max: of functions; None without a limit.
    """

    table: str
    listener_arn: str
    balancer: str
    servers_target_arn: str
    server_usd_per_hour: float
    cluster: str = ""
    service: str = ""
    group: str = ""
    function_target_arn: str = ""
    function: str = ""
    policy: str = "default"
    count_min: int = 1
    count_max: int = 1
    stay_s: float = 60.0
    start_guess_s: float = 120.0
    vcpus: float = 1.0
    slots: int = 20
    gb_second_usd: float = 0.0
    request_usd: float = 0.0
    memory_mb: int = 512
    concurrency_max: int = 100
    spend_usd_per_day_max: float | None = None

    @property
    def may_spill(self) -> bool:
        """Functions take what servers have no room for."""
        return bool(self.function)

    def to_json(self) -> str:
        """For the environment of the function."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Task:
        """The reverse; raises SettingsError where it is none."""
        try:
            document = json.loads(text)
            return cls(**{field.name: document[field.name] for field in fields(cls) if field.name in document})
        except (ValueError, TypeError) as error:
            raise SettingsError(f"this is no task of control: {error}.", where="PEAKER_CONTROL") from error
