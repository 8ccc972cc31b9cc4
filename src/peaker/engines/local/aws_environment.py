"""The variables by which clients of AWS find the stand-in of a run."""

from __future__ import annotations

from peaker.app import environment
from peaker.engines.local.state_dir import read_run
from peaker.errors import StateError
from peaker.functions.credentials import load_or_create_key
from peaker.settings import Settings
from peaker.stand_in_variables import region_of_stand_in, variables
from peaker.state import StateDirectory


def made_variables(state: StateDirectory, endpoint_url: str, lambda_endpoint: str, region: str) -> dict[str, str]:
    """With the key of the state directory, which the function host takes too; the stand-in takes any.

    Raises:
        StateError: the key cannot be read.
    """
    key = load_or_create_key(state.credentials)
    return variables(
        endpoint_url=endpoint_url,
        lambda_endpoint=lambda_endpoint,
        region=region,
        key=(key.access_key_id, key.secret_access_key),
        config=state.aws_config,
        credentials=state.credentials,
    )


def stand_in_of_run(state: StateDirectory) -> dict[str, str]:
    """Those of what runs now, for a shell beside it.

    Raises:
        StateError: nothing runs here, or nothing stands in for AWS.
    """
    record = read_run(state)
    if record is None or not record.aws_endpoint:
        raise StateError(
            "nothing stands in for AWS here.",
            where=str(state.root),
            remedy="Start the app with `peaker run --aws local`.",
        )
    try:
        settings = Settings.from_json(state.settings_of(record.generation).read_text(encoding="utf-8"))
    except OSError as error:
        raise StateError(f"the settings of the run cannot be read: {error}.", where=str(state.root)) from error
    region = region_of_stand_in(settings, environment(settings))
    return made_variables(state, record.aws_endpoint, record.lambda_endpoint, region)
