"""Secrets of a function on AWS Lambda: into its environment before the app is imported, and again after a restore."""

from __future__ import annotations

import json
import sys
from collections.abc import MutableMapping

from peaker.errors import PeakerError, SettingsError
from peaker.secrets_on_aws import SecretsOnAws, is_on_aws, key_of_function

INITIALISATION = "AWS_LAMBDA_INITIALIZATION_TYPE"


def put_secrets(references: str, variables: MutableMapping[str, str]) -> None:
    """Read the secrets of `PEAKER_SECRETS` (a JSON object of names and ARNs) into `variables`, the function's own.

    Where the function starts from a snapshot, they are read again whenever that is restored. If that fails, those of
    the snapshot stay, and the log says so: a restore that fails would be an outage for a secret that may be the same.

    Raises:
        SettingsError: one cannot be had; the initialisation fails then, and Lambda's log has the sentence.
        CredentialsError: the function has no role's key.
    """
    wanted = json.loads(references)
    elsewhere = sorted(name for name, reference in wanted.items() if not is_on_aws(reference))
    if elsewhere:
        raise SettingsError(
            f"secrets that do not stand on AWS: {', '.join(elsewhere)}.",
            where="PEAKER_SECRETS",
            remedy="Put them into Secrets Manager, and name their ARNs.",
        )

    def read() -> None:
        variables.update(SecretsOnAws(lambda: key_of_function(variables), variables).read(wanted))

    def read_again() -> None:
        try:
            read()
        except PeakerError as error:
            sys.stderr.write(f"after the restore: {error} The values of the snapshot stay.\n")

    read()
    if variables.get(INITIALISATION) == "snap-start":
        # Part of Lambda's own runtimes, and only there.
        from snapshot_restore_py import register_after_restore

        register_after_restore(read_again)
