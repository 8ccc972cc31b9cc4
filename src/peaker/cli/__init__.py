"""The `peaker` command; one file a subcommand."""


def main() -> None:
    """Entry point of the `peaker` command."""
    raise SystemExit("no commands yet")
