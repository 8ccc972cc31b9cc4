"""The bucket that code goes to on its way to Lambda, and what is put there: by its hash, once."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from peaker.engines.aws.account import asking
from peaker.errors import DeployError

TEMPLATE_BYTES_MAX = 51_200
"""Of a template in the request itself (AWS CloudFormation quotas); a larger one is read from a bucket."""

OWNED = "BucketOwnerEnforced"
"""Object ownership without access lists: whoever writes, the bucket's owner has it."""


class Artifacts:
    """One bucket of one account; nothing is written to a bucket of the same name that is somebody else's."""

    def __init__(self, s3: Any, bucket: str, *, account: str, region: str) -> None:
        self._s3 = s3
        self._account = account
        self._region = region
        self.bucket = bucket

    @staticmethod
    def own_bucket(account: str, region: str) -> str:
        """The name of Peaker's own bucket: one for each account and region."""
        return f"peaker-{account}-{region}"

    def exists(self) -> bool:
        """Raises DeployError where it belongs to another account, or may not be looked at."""
        try:
            self._s3.head_bucket(Bucket=self.bucket, ExpectedBucketOwner=self._account)
        except ClientError as error:
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
            if status == 404:
                return False
            raise DeployError(
                f"it cannot be used (HTTP {status}): it is another account's, or you may not read it.",
                where=f"bucket {self.bucket}",
                remedy="Name one of your own with --bucket.",
            ) from error
        return True

    def create(self) -> None:
        """Private, encrypted, reached over TLS alone."""
        where = {} if self._region == "us-east-1" else {"LocationConstraint": self._region}
        with asking(f"bucket {self.bucket}"):
            self._s3.create_bucket(
                Bucket=self.bucket, **({"CreateBucketConfiguration": where} if where else {}), ObjectOwnership=OWNED
            )
            self._s3.put_public_access_block(
                Bucket=self.bucket,
                PublicAccessBlockConfiguration=dict.fromkeys(
                    ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"), True
                ),
            )
            self._s3.put_bucket_encryption(
                Bucket=self.bucket,
                ServerSideEncryptionConfiguration={
                    "Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]
                },
            )
            self._s3.put_bucket_policy(Bucket=self.bucket, Policy=_tls_alone(self.bucket, self._s3.meta.partition))

    def put_file(self, name: str, file: Path, sha256: str) -> tuple[str, bool]:
        """The key of a file, and whether it had to be sent: what is there by its hash is not sent again."""
        key = f"{name}/{sha256}{file.suffix}"
        if self._has(key):
            return key, False
        with asking(f"s3://{self.bucket}/{key}"):
            self._s3.upload_file(str(file), self.bucket, key, ExtraArgs={"ExpectedBucketOwner": self._account})
        return key, True

    def put_template(self, name: str, body: str) -> str:
        """The URL of a template, for CloudFormation."""
        key = f"{name}/{hashlib.sha256(body.encode()).hexdigest()}.template"
        with asking(f"s3://{self.bucket}/{key}"):
            self._s3.put_object(Bucket=self.bucket, Key=key, Body=body.encode(), ExpectedBucketOwner=self._account)
        return f"{self._s3.meta.endpoint_url}/{self.bucket}/{key}"

    def _has(self, key: str) -> bool:
        try:
            self._s3.head_object(Bucket=self.bucket, Key=key, ExpectedBucketOwner=self._account)
        except ClientError as error:
            # Without the right to list, S3 answers 403 for what is not there.
            if error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") in (403, 404):
                return False
            raise DeployError(str(error), where=f"s3://{self.bucket}/{key}") from error
        return True


def _tls_alone(bucket: str, partition: str) -> str:
    arn = f"arn:{partition}:s3:::{bucket}"
    return json.dumps(
        {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Effect": "Deny",
                    "Principal": "*",
                    "Action": "s3:*",
                    "Resource": [arn, f"{arn}/*"],
                    "Condition": {"Bool": {"aws:SecureTransport": "false"}},
                }
            ],
        }
    )
