"""The key that signs calls to the Invoke port and the profile that leads there, as files boto3 and the AWS CLI read.

export AWS_CONFIG_FILE=.peaker/aws-config AWS_SHARED_CREDENTIALS_FILE=.peaker/credentials
aws --profile peaker lambda invoke ...
"""

from __future__ import annotations

import configparser
import os
import secrets
import string
import tempfile
from pathlib import Path

from peaker.errors import StateError
from peaker.wire.sigv4 import SigningKey

PROFILE = "peaker"
_ALPHABET = string.ascii_uppercase + string.digits


def load_or_create_key(path: Path) -> SigningKey:
    """The key of profile [peaker]; made (mode 0600) where there is no file yet.

    Whoever comes first makes it: the file is written whole under another name and linked into place, so two processes
    that start at once end with the same key.

    Raises:
        StateError: the file is there but unreadable, readable by others, or without the profile.
    """
    try:
        return _read(path)
    except FileNotFoundError:
        _create(path)
        return _read(path)


def profile_text(name: str, *, endpoint_url: str, region: str) -> str:
    """The sections of an AWS config file by which profile `name` calls Lambda at `endpoint_url`, and AWS for the rest.

    `services` is read by boto3 from 1.28 and the AWS CLI from 1.29 and 2.13 ("Service-specific endpoints", AWS SDKs and
    Tools Reference Guide). An endpoint_url of the profile itself would send S3's and all other calls here too.
    """
    return (
        f"[profile {name}]\nregion = {region}\nservices = {name}\n\n"
        f"[services {name}]\nlambda =\n  endpoint_url = {endpoint_url}\n"
    )


def credentials_text(name: str, key: SigningKey) -> str:
    """The section of an AWS credentials file that holds this key."""
    return f"[{name}]\naws_access_key_id = {key.access_key_id}\naws_secret_access_key = {key.secret_access_key}\n"


def write_profile(path: Path, *, endpoint_url: str, region: str) -> None:
    """Write the config file of profile [peaker] in one step, over the one of the run before.

    Raises:
        StateError: it cannot be written.
    """
    try:
        write_file(path, profile_text(PROFILE, endpoint_url=endpoint_url, region=region))
    except OSError as error:
        raise StateError(f"the AWS profile cannot be written: {error.strerror}.", where=str(path)) from error


def write_file(path: Path, text: str, mode: int = 0o600) -> None:
    """Write a file so that readers see the old text or the new; raises OSError."""
    descriptor, name = tempfile.mkstemp(prefix=f"{path.name}.", dir=path.parent)
    fresh = Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        fresh.chmod(mode)
        fresh.replace(path)
    except OSError:
        fresh.unlink(missing_ok=True)
        raise


def _read(path: Path) -> SigningKey:
    try:
        mode = path.stat().st_mode & 0o777
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise
    except (OSError, UnicodeDecodeError) as error:
        raise StateError(f"the credentials file cannot be read: {error}.", where=str(path)) from error
    if mode & 0o077:
        raise StateError(
            f"the credentials file can be read by others (mode {mode:o}).",
            where=str(path),
            remedy="Run chmod 600 on it.",
        )
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(text)
        return SigningKey(parser[PROFILE]["aws_access_key_id"], parser[PROFILE]["aws_secret_access_key"])
    except (configparser.Error, KeyError) as error:
        raise StateError(
            f"the credentials file holds no key of profile [{PROFILE}].",
            where=str(path),
            remedy="Remove it: a fresh one is made at the next start.",
        ) from error


def _create(path: Path) -> None:
    access_key_id = "PEAKER" + "".join(secrets.choice(_ALPHABET) for _ in range(14))
    key = SigningKey(access_key_id, secrets.token_urlsafe(30))
    text = credentials_text(PROFILE, key) + "region = us-east-1\n"
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # A name of its own (mode 0600): threads of one process may be at it at once, as well as processes.
        descriptor, name = tempfile.mkstemp(prefix=f"{path.name}.", dir=path.parent)
        fresh = Path(name)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        try:
            os.link(fresh, path)
        except FileExistsError:
            return  # Another process was first; its key holds.
        finally:
            fresh.unlink()
    except OSError as error:
        raise StateError(f"the credentials file cannot be made: {error.strerror}.", where=str(path)) from error
