"""The prices that one app is metered with: those of its region, instance type and architecture."""

from __future__ import annotations

from dataclasses import dataclass

from peaker.errors import PriceError, SettingsError
from peaker.meter.function_usage import Architecture
from peaker.prices import InstanceType, Price, PriceTable, load
from peaker.settings import Settings
from peaker.units import DOLLARS_PER_MICRODOLLAR, gb_seconds

GB_SECOND_ITEMS = {Architecture.ARM64: "lambda.gb_second.arm", Architecture.X86_64: "lambda.gb_second.x86"}
REQUEST_ITEM = "lambda.request"


@dataclass(frozen=True, slots=True)
class Prices:
    """What a server-hour, a GB-second and an invocation cost; the first tier of each, which most accounts pay."""

    region: str
    architecture: Architecture
    server: InstanceType
    request: Price
    gb_second: dict[Architecture, Price]
    table: PriceTable

    def run_microusd(self, billed_ms: int, memory_mb: int) -> float:
        """Microdollars for one run of this billed duration (`units.billed_ms`) in a function of this size."""
        usd = gb_seconds(billed_ms, memory_mb) * self.gb_second[self.architecture].usd + self.request.usd
        return usd / DOLLARS_PER_MICRODOLLAR

    def functions_usd(self, invocations: int, billed_mb_ms: int, architecture: Architecture) -> float:
        """Dollars for so many invocations and megabyte-milliseconds, unrounded and at the first tier."""
        return invocations * self.request.usd + billed_mb_ms / 1024 / 1000 * self.gb_second[architecture].usd

    def servers_usd(self, billed_s: float) -> float:
        """Dollars for so many billed seconds of one server, unrounded."""
        return billed_s / 3600 * self.server.usd_per_hour


def prices_of(settings: Settings, table: PriceTable | None = None) -> Prices:
    """The prices that the settings name.

    Raises:
        SettingsError: there is no price for the region or the instance type; names what there is.
    """
    table = table or load()
    region = settings.aws.region
    try:
        request = table.price(region, REQUEST_ITEM)
        gb_second = {architecture: table.price(region, item) for architecture, item in GB_SECOND_ITEMS.items()}
    except PriceError as error:
        raise _refused("aws.region", region, error) from error
    try:
        server = table.instance(region, settings.servers.instance_type)
    except PriceError as error:
        raise _refused("servers.instance_type", settings.servers.instance_type, error) from error
    architecture = Architecture[settings.functions.architecture.upper()]
    return Prices(region, architecture, server, request, gb_second, table)


def _refused(name: str, value: str, error: PriceError) -> SettingsError:
    return SettingsError(f"{name} = {value!r}: {error.what}", where=error.where, remedy=error.remedy)
