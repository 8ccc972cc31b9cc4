"""The secrets of a generation, read where and when it begins."""

from __future__ import annotations

import os
from collections.abc import Mapping

from peaker.errors import SettingsError
from peaker.gate.functions_on_aws import keys_of_botocore
from peaker.local_aws_section import LOCAL
from peaker.secret_values import read_secrets
from peaker.secrets_on_aws import SecretsOnAws
from peaker.settings import Settings


def starting_secrets(settings: Settings) -> dict[str, str]:
    """As `secret_values.read_secrets`, with the variables and the AWS credentials of this process.

    Raises:
        SettingsError: one cannot be had.
        CredentialsError: one stands on AWS, and there are no credentials.
        MissingExtraError: one stands on AWS, and botocore is not installed.
    """

    def from_aws(references: Mapping[str, str]) -> Mapping[str, str]:
        if settings.aws.endpoint == LOCAL:
            raise SettingsError(
                f"aws.endpoint = {LOCAL!r} has no secrets, and these stand on AWS: {', '.join(sorted(references))}.",
                where="[secrets]",
                remedy="Set a variable of the same name, or another reference in a [stage].",
            )
        keys = keys_of_botocore(where="[secrets]", purpose="Reading secrets from AWS")
        return SecretsOnAws(keys, os.environ).read(references)

    return read_secrets(settings, os.environ, from_aws=from_aws)
