"""What an instance may use: memory, CPU share, disk. Found once per host; the best mechanism that is there and writable."""

from __future__ import annotations


class Limits:
    """The mechanisms of this machine, shared by all launchers of one host."""

    notices: list[str]
    """Sentences about what is not enforced here and why."""

    @classmethod
    def find(cls, app_name: str) -> Limits:
        """Look at what this machine offers and remove what dead hosts of this app left behind."""
        raise NotImplementedError

    def close(self) -> None:
        """Remove everything made here."""
        raise NotImplementedError
