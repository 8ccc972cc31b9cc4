"""Secrets Manager and Parameter Store as far as one call each, which check signatures as AWS does."""

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from peaker.wire.sigv4 import SignatureRefused, SigningKey, verify

KEY = SigningKey("AKIAEXAMPLE", "wJalrXUtnFEMI", "session")
SECRET = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:shop/db-AbCdEf"
PARAMETER = "arn:aws:ssm:eu-west-1:123456789012:parameter/shop/"


class SecretService:
    """`secrets` by ARN; `calls` are the operations; the next calls get `failures` instead of an answer."""

    def __init__(self) -> None:
        self.secrets: dict[str, str] = {}
        self.calls: list[str] = []
        self.failures: list[tuple[int, str]] = []
        self.port = 0

    @property
    def variables(self) -> dict[str, str]:
        return {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.port}",
            "AWS_ACCESS_KEY_ID": KEY.access_key_id,
            "AWS_SECRET_ACCESS_KEY": KEY.secret_access_key,
            "AWS_SESSION_TOKEN": KEY.session_token,
        }

    def answer(self, target: str, fields: Any) -> tuple[int, Any]:
        if self.failures:
            status, code = self.failures.pop(0)
            return status, {"__type": code}
        if target == "secretsmanager.GetSecretValue":
            found = self.secrets.get(fields["SecretId"])
            if found is None:
                return 400, {"__type": "com.amazonaws.secretsmanager#ResourceNotFoundException"}
            return 200, {"ARN": fields["SecretId"], "SecretString": found}
        some = [{"ARN": name, "Value": self.secrets[name]} for name in fields["Names"] if name in self.secrets]
        return 200, {"Parameters": some}

    @contextlib.contextmanager
    def running(self) -> Iterator["SecretService"]:
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                target = self.headers["x-amz-target"]
                service.calls.append(target.rpartition(".")[2])
                try:
                    name = "ssm" if target.startswith("AmazonSSM") else "secretsmanager"
                    headers = list(self.headers.items())
                    verify(
                        KEY, method="POST", target="/", headers=headers, body=body, epoch_s=time.time(), service=name
                    )
                    status, answer = service.answer(target, json.loads(body))
                except SignatureRefused as refused:
                    status, answer = 400, {"__type": refused.kind}
                self._send(status, answer)

            def do_GET(self) -> None:
                """The credentials of a role, as a function with SnapStart has them."""
                allowed = self.headers["authorization"] == "a token"
                names = {"AccessKeyId": KEY.access_key_id, "SecretAccessKey": KEY.secret_access_key}
                self._send(200 if allowed else 401, names | {"Token": KEY.session_token} if allowed else {})

            def _send(self, status: int, answer: Any) -> None:
                content = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = server.server_port
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield self
        finally:
            server.shutdown()
            thread.join()
            server.server_close()
