"""Send one delivery to the webhook, signed as Stripe signs: python deliver.py ORDER CENTS [--url URL] [--id ID]."""

from __future__ import annotations

import argparse
import hashlib
import hmac
import json
import os
import sys
import time
import urllib.error
import urllib.request
import uuid


def signed(body: bytes, key: str, at_s: float) -> str:
    """The header Stripe-Signature of a body sent at this epoch second."""
    stamp = str(int(at_s))
    digest = hmac.new(key.encode(), f"{stamp}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={stamp},v1={digest}"


def delivery(delivery_id: str, order: str, cents: int) -> bytes:
    document = {"id": delivery_id, "type": "payment.succeeded", "data": {"order": order, "cents": cents}}
    return json.dumps(document).encode()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("order")
    parser.add_argument("cents", type=int)
    parser.add_argument("--url", default="http://127.0.0.1:8000/hooks/payments")
    parser.add_argument("--id", default=f"evt_{uuid.uuid4().hex[:16]}", help="the same id again is a repeat")
    given = parser.parse_args()
    body = delivery(given.id, given.order, given.cents)
    headers = {
        "content-type": "application/json",
        "stripe-signature": signed(body, os.environ["PAYMENTS_KEY"], time.time()),
    }
    request = urllib.request.Request(given.url, body, headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            print(answer.status, answer.read().decode())
            return 0
    except urllib.error.HTTPError as error:
        print(error.code, error.read().decode())
        return 1


if __name__ == "__main__":
    sys.exit(main())
