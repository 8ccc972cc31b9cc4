"""One function of a host: its launcher and its pool, kept together while zygotes come and go."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import random
from collections.abc import Mapping
from typing import Any

from peaker.app import FunctionSpec
from peaker.build import build_hash
from peaker.clock import Clock
from peaker.errors import AppStartError, PeakerError
from peaker.functions.function_log import FunctionLog
from peaker.functions.lambda_like import LambdaLike
from peaker.functions.launcher import Instance, Launcher
from peaker.functions.limits import Limits
from peaker.functions.load_handler import HandlerImportError
from peaker.functions.pool import Pool
from peaker.functions.provided import ProvidedLauncher
from peaker.functions.starts import Starts
from peaker.functions.web import warm_up_event
from peaker.policy.learned_keep_alive import LearnedKeepAlive
from peaker.policy.supervision import STEADY_S, restart_delay_s
from peaker.settings import Settings

_logger = logging.getLogger("peaker.functions.hosted")


class HostedFunction:
    """`start` it, then use its `pool`; when the zygote dies it is started again and the pool goes on."""

    def __init__(
        self,
        spec: FunctionSpec,
        *,
        settings: Settings,
        environment: Mapping[str, str],
        limits: Limits,
        starts: Starts,
        log: FunctionLog,
        clock: Clock,
        chance: random.Random,
        build: str,
        learned: LearnedKeepAlive | None = None,
    ) -> None:
        self.spec = spec
        self._learned = learned
        self._settings = settings
        self._build = build
        self._starts = starts
        self._clock = clock
        self._is_like_lambda = settings.functions.like == "lambda"
        self._chance = chance
        self._pool: Pool | None = None
        self._restarting: asyncio.Task[None] | None = None
        self._started_s = 0.0
        self._deaths = 0
        self._stopped = False
        self._import_failed = False
        self._importing = asyncio.Lock()
        kind = ProvidedLauncher if spec.is_provided else Launcher
        self.launcher = kind(
            spec,
            settings=settings,
            environment=environment,
            limits=limits,
            on_log=log.of(spec.name),
            on_death=self._zygote_died,
        )

    @property
    def pool(self) -> Pool:
        """There is one once it has been started."""
        assert self._pool is not None
        return self._pool

    async def start(self) -> None:
        """Raises AppImportError or AppStartError with the user's error."""
        try:
            await self.launcher.start()
        except HandlerImportError as error:
            # On Lambda such a function is there all the same, and answers every call with its error.
            if not self._is_like_lambda:
                raise
            self._import_failed = True
            _logger.warning("function %s: %s", self.spec.name, error, extra={"action": "start"})
        self._started_s = self._clock.now_s()
        self._pool = Pool(
            self.spec,
            self,
            starts=self._starts,
            clock=self._clock,
            model=self._lambda_like() if self._is_like_lambda else None,
            touch=warm_up_event(self.spec.warm_up) if self.spec.warm_up and not self._is_like_lambda else b"",
            learned=self._learned,
        )

    def _lambda_like(self) -> LambdaLike:
        is_provided = self.spec.is_provided
        return LambdaLike(lambda: self.launcher.own_init_s, chance=self._chance, brings_runtime=is_provided)

    async def fork(self) -> Instance:
        """For the pool: as `Launcher.fork`; code that did not import is tried anew first, as on Lambda."""
        async with self._importing:
            if self._import_failed:
                await self.launcher.start()
                self._import_failed = False
        return await self.launcher.fork()

    async def stop(self) -> None:
        """End the zygote and every instance."""
        self._stopped = True
        if self._restarting is not None:
            self._restarting.cancel()
        if self._pool is not None:
            self._pool.close()
        await self.launcher.stop()

    def details(self) -> dict[str, Any]:
        """For people and for `peaker status`."""
        launcher = self.launcher
        found: dict[str, Any] = {
            "name": self.spec.name,
            "runtime": "provided" if self.spec.is_provided else "python",
            "rung": launcher.rung.value,
            "rung_reason": launcher.rung_reason,
            "zygote_pid": launcher.zygote_pid,
            "parked_pid": launcher.parked_pid,
            "zygote_rss_bytes": launcher.zygote_rss_bytes,
            "warnings": launcher.warnings,
        }
        if self._pool is not None:
            found["instances"] = dataclasses.asdict(self._pool.counts)
            found["totals"] = dataclasses.asdict(self._pool.totals)
        return found

    def _zygote_died(self, how: str) -> None:
        if self._pool is None or self._stopped:
            return
        self._pool.suspend()
        _logger.warning("%s It is started again; its instances go on.", how, extra={"action": "zygote"})
        if self._restarting is None or self._restarting.done():
            self._restarting = asyncio.get_running_loop().create_task(self._restart())

    async def _restart(self) -> None:
        was_steady = self._clock.now_s() - self._started_s >= STEADY_S
        self._deaths = 1 if was_steady else self._deaths + 1
        while True:
            await asyncio.sleep(restart_delay_s(self._deaths))
            try:
                self._require_same_build()
                await self.launcher.start()
            except PeakerError as error:
                self._deaths += 1
                _logger.error("function %s: %s", self.spec.name, error, extra={"action": "zygote"})  # noqa: TRY400
                continue
            self._started_s = self._clock.now_s()
            self.pool.resume()
            return

    def _require_same_build(self) -> None:
        """One version is one build: a zygote of code that was changed since belongs to the next generation."""
        if build_hash(self._settings) != self._build:
            raise AppStartError("its code has changed since it was started.", remedy="Run `peaker reload`.")
