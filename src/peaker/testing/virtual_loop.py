"""The event loop on virtual time of `peaker.simulate`, for tests of one's own asyncio code."""

from peaker.simulate.virtual_loop import NothingLeft, VirtualLoop, run_virtual

__all__ = ["NothingLeft", "VirtualLoop", "run_virtual"]
