"""Server sizes and function sizes worth trying for a work."""

from __future__ import annotations

from peaker.plan.capacity import ServerSize, function_stretch, server_on, task_of
from peaker.plan.case import Case
from peaker.plan.levels import SLOTS_MAX, Load
from peaker.prices import PriceTable

FUNCTION_SIZES_MB = (128, 256, 512, 1024, 1769, 3008)
"""Sizes people choose; 1,769 MB is one vCPU, above which one request computes no faster."""

TASK_SIZES = ((0.25, 0.5), (0.25, 1.0), (0.5, 1.0), (0.5, 2.0), (1.0, 2.0), (1.0, 4.0), (2.0, 4.0), (4.0, 8.0))
"""vCPU and GB of a Fargate task (AWS Fargate, task CPU and memory), the smallest memory of each and the next."""

SERVERS_MOST = 400
"""A plan that would need more servers of a type leaves that type out: a larger one of its family does the same."""

SIZES_TRIED = 6
"""Of the sizes that are cheapest when busy; coarser ones of the same family differ by rounding alone."""

SMALL_TRIED = 4
SMALL_MOST = 20
"""The smallest by the hour are tried too, where no more than this many would be needed."""


def server_sizes(case: Case, load: Load, table: PriceTable) -> list[ServerSize]:
    """EC2 types that fit the work, without those of which too many were needed; the cheapest for their load first.

    Raises:
        PriceError: a type that was asked for has no price.
    """
    choices = case.choices
    if choices.instance_types:
        types = [table.instance(choices.region, name) for name in choices.instance_types]
    else:
        types = [type_ for type_ in table.instance_types(choices.region) if type_.arch == choices.architecture]
    sizes = [size for type_ in types if (size := server_on(type_, case.work, choices)) is not None]
    return sorted((size for size in sizes if _is_sensible(size, load)), key=lambda size: size.usd_per_million)


def worth_trying(sizes: list[ServerSize], load: Load) -> list[ServerSize]:
    """Of sizes as `server_sizes` sorts them: the first, and those that cost least by the hour and hold the load."""
    small = sorted(sizes, key=lambda size: size.usd_per_hour)[:SMALL_TRIED]
    fit = [size for size in small if load.peak_per_s / size.requests_per_s <= SMALL_MOST]
    return list({size.name: size for size in (*sizes[:SIZES_TRIED], *fit)}.values())


def task_sizes(case: Case, load: Load, table: PriceTable) -> list[ServerSize]:
    """Fargate tasks that fit the work.

    Raises:
        PriceError: Fargate has no price in the region for this architecture.
    """
    arch = "arm" if case.choices.architecture == "arm64" else "x86"
    region = case.choices.region
    vcpu, gb = table.price(region, f"fargate.vcpu_hour.{arch}"), table.price(region, f"fargate.gb_hour.{arch}")
    source = f"{vcpu.source}, {vcpu.published}"
    sizes = [
        size
        for vcpus, memory_gb in TASK_SIZES
        if (size := task_of(vcpus, memory_gb, vcpus * vcpu.usd + memory_gb * gb.usd, source, case.work, case.choices))
    ]
    return [size for size in sizes if _is_sensible(size, load)]


def _is_sensible(size: ServerSize, load: Load) -> bool:
    most = load.peak_per_s / size.requests_per_s
    return most <= SERVERS_MOST and most * size.pool.slots_per_server <= SLOTS_MAX / 2


def function_memory_mb(case: Case, table: PriceTable) -> int:
    """The size whose runs are cheapest among those that hold the code and keep the objective when warm.

    Where none keeps it, the one that comes closest: the smallest with a whole vCPU.
    """
    least = case.work.function_memory_mb.value
    sizes = sorted({int(least), *(size for size in FUNCTION_SIZES_MB if size >= least)})
    arch = "arm" if case.choices.architecture == "arm64" else "x86"
    price = table.price(case.choices.region, f"lambda.gb_second.{arch}").usd
    tail_s = _quantile(case.work.service.quantiles_s, case.objective.percentile)

    def keeps(memory_mb: int) -> bool:
        stretch = function_stretch(case.work, memory_mb, case.choices.speed)
        return tail_s * stretch + case.choices.invoke_overhead_s <= case.objective.latency_s

    def usd(memory_mb: int) -> float:
        run_s = case.work.service.mean_s * function_stretch(case.work, memory_mb, case.choices.speed)
        return run_s * memory_mb / 1024 * price

    quick = [size for size in sizes if keeps(size)]
    if quick:
        return min(quick, key=usd)
    return next((size for size in sizes if size >= FUNCTION_SIZES_MB[4]), sizes[-1])


def _quantile(quantiles: tuple[float, ...], probability: float) -> float:
    at = probability * (len(quantiles) - 1)
    low = int(at)
    high = min(low + 1, len(quantiles) - 1)
    return quantiles[low] + (quantiles[high] - quantiles[low]) * (at - low)
