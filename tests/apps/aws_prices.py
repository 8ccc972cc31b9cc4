"""A stand-in for the AWS Price List API and the Savings Plans API, on loopback, in their wire forms.

The answers have the form of GetProducts (AWS JSON 1.1, `PriceList` a list of JSON texts) and of
DescribeSavingsPlansOfferingRates (REST JSON). Prices are made up, a few per cent beside those of Peaker's table.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Tiers = list[tuple[float, str, str]]
"""Begin of each tier, dollars, unit."""


def product(service: str, sku: str, tiers: Tiers, **attributes: str) -> dict[str, Any]:
    """One product as the API gives it."""
    term = f"{sku}.JRTCKXETXF"
    ends = [f"{begin:.0f}" for begin, _, _ in tiers[1:]] + ["Inf"]
    return {
        "product": {
            "productFamily": "Stand-in",
            "attributes": {"servicecode": service, **attributes},
            "sku": sku,
        },
        "serviceCode": service,
        "terms": {
            "OnDemand": {
                term: {
                    "priceDimensions": {
                        f"{term}.{number}": {
                            "unit": unit,
                            "endRange": end,
                            "description": f"${usd} per {unit}",
                            "appliesTo": [],
                            "rateCode": f"{term}.{number}",
                            "beginRange": f"{begin:.0f}",
                            "pricePerUnit": {"USD": usd},
                        }
                        for number, ((begin, usd, unit), end) in enumerate(zip(tiers, ends, strict=True))
                    },
                    "sku": sku,
                    "effectiveDate": "2026-11-01T00:00:00Z",
                    "offerTermCode": "JRTCKXETXF",
                    "termAttributes": {},
                }
            }
        },
        "version": "20261101120000",
        "publicationDate": "2026-11-01T12:00:00Z",
    }


def instance(name: str, usd: str, sku: str, usage_type: str) -> dict[str, Any]:
    """An EC2 type of eu-west-1, on demand, Linux, shared tenancy."""
    return product(
        "AmazonEC2",
        sku,
        [(0, usd, "Hrs")],
        regionCode="eu-west-1",
        instanceType=name,
        operatingSystem="Linux",
        tenancy="Shared",
        preInstalledSw="NA",
        capacitystatus="Used",
        marketoption="OnDemand",
        usagetype=usage_type,
    )


def ireland() -> list[dict[str, Any]]:
    """A few products of eu-west-1."""
    here = {"regionCode": "eu-west-1"}
    return [
        product("AWSLambda", "L1", [(0, "0.0000002100", "Requests")], usagetype="EU-Request", **here),
        product(
            "AWSLambda",
            "L2",
            [
                (0, "0.0000140000", "Lambda-GB-Second"),
                (7.5e9, "0.0000120001", "Lambda-GB-Second"),
                (1.875e10, "0.0000106667", "Lambda-GB-Second"),
            ],
            usagetype="EU-Lambda-GB-Second-ARM",
            **here,
        ),
        product("AmazonEC2", "N1", [(0, "0.0480000000", "Hrs")], usagetype="EU-NatGateway-Hours", **here),
        # The unit is another than it was: a block of a thousand.
        product(
            "AmazonApiGateway", "A1", [(0, "0.0011100000", "1K-Requests")], usagetype="EU-ApiGatewayHttpRequest", **here
        ),
        # Twenty times what it was.
        product("AmazonVPC", "V1", [(0, "0.1000000000", "Hrs")], usagetype="EU-PublicIPv4:InUseAddress", **here),
        # Two that do not agree.
        product("AmazonECR", "R1", [(0, "0.1000000000", "GB-Mo")], usagetype="EU-TimedStorage-ByteHrs", **here),
        product("AmazonECR", "R2", [(0, "0.1100000000", "GB-Mo")], usagetype="EU-TimedStorage-ByteHrs", **here),
        # The first million is free.
        product(
            "AmazonSNS",
            "S1",
            [(0, "0.0000000000", "Requests"), (1e6, "0.0000005500", "Requests")],
            usagetype="EU-Requests-Tier1",
            **here,
        ),
        product(
            "AWSDataTransfer",
            "D1",
            [(0, "0.0910000000", "GB"), (10240, "0.0850000000", "GB")],
            fromRegionCode="eu-west-1",
            transferType="AWS Outbound",
            usagetype="EU-DataTransfer-Out-Bytes",
        ),
        # Not in Peaker's table for this region.
        product(
            "AWSLambda",
            "P1",
            [(0, "0.0000037000", "Lambda-GB-Second")],
            usagetype="EU-Lambda-Provisioned-Concurrency-ARM",
            **here,
        ),
        instance("c7g.large", "0.0800000000", "C1", "EU-BoxUsage:c7g.large"),
        instance("c7g.xlarge", "0.1600000000", "C2", "EU-BoxUsage:c7g.xlarge"),
    ]


def rate(usage_type: str, usd: str, years: int, plan: str = "Compute", **properties: str) -> dict[str, Any]:
    """One rate of a Savings Plan without anything upfront."""
    return {
        "savingsPlanOffering": {
            "offeringId": f"{plan}-{years}",
            "paymentOption": "No Upfront",
            "planType": plan,
            "durationSeconds": years * 31_536_000,
            "currency": "USD",
            "planDescription": f"{years} year No Upfront {plan} Savings Plan",
        },
        "rate": usd,
        "unit": "Hrs",
        "productType": "EC2",
        "serviceCode": "AmazonEC2",
        "usageType": usage_type,
        "operation": "RunInstances",
        "properties": [{"name": name, "value": value} for name, value in properties.items()],
    }


def ireland_rates() -> list[dict[str, Any]]:
    """Rates of c7g in eu-west-1: for Linux by both plans, and one for Windows."""
    linux = {"productDescription": "Linux/UNIX", "tenancy": "shared"}
    return [
        rate("EU-BoxUsage:c7g.large", "0.0600", 1, **linux),
        rate("EU-BoxUsage:c7g.large", "0.0520", 1, "EC2Instance", **linux),
        rate("EU-BoxUsage:c7g.large", "0.0400", 3, **linux),
        rate("EU-BoxUsage:c7g.large", "0.0100", 1, productDescription="Windows", tenancy="shared"),
    ]


@dataclass
class StandIn:
    """What it answers with; `refuse` gives an AWS error code for the n-th request, or nothing."""

    products: list[dict[str, Any]] = field(default_factory=ireland)
    rates: list[dict[str, Any]] = field(default_factory=ireland_rates)
    refuse: Callable[[int, str], str | None] = lambda _number, _operation: None
    page: int = 1
    asked: list[str] = field(default_factory=list)
    url: str = ""

    def answer(self, operation: str, asked: dict[str, Any]) -> dict[str, Any]:
        """One page."""
        if operation == "GetProducts":
            found = [json.dumps(each) for each in self.products if _fits(each, asked)]
            rows, more = self._cut(found, asked.get("NextToken"))
            return {"FormatVersion": "aws_v1", "PriceList": rows} | ({"NextToken": more} if more else {})
        found_rates = [each for each in self.rates if each["usageType"] in asked["usageTypes"]]
        rates, more = self._cut(found_rates, asked.get("nextToken"))
        return {"searchResults": rates} | ({"nextToken": more} if more else {})

    def _cut(self, found: list[Any], token: str | None) -> tuple[list[Any], str | None]:
        start = int(token or 0)
        end = start + self.page
        return found[start:end], str(end) if end < len(found) else None


def _fits(found: dict[str, Any], asked: dict[str, Any]) -> bool:
    attributes = found["product"]["attributes"]
    return found["serviceCode"] == asked["ServiceCode"] and all(
        attributes.get(each["Field"]) == each["Value"] for each in asked.get("Filters", ())
    )


@contextmanager
def serving(stand_in: StandIn) -> Iterator[StandIn]:
    """Answer on a loopback port until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"] or 0))
            operation = self.headers.get("X-Amz-Target", self.path).rpartition(".")[2].strip("/")
            stand_in.asked.append(operation)
            code = stand_in.refuse(len(stand_in.asked), operation)
            if code:
                self._send(400, {"__type": code, "message": f"stand-in says {code}"})
            else:
                self._send(200, stand_in.answer(operation, json.loads(body or b"{}")))

        def _send(self, status: int, answer: dict[str, Any]) -> None:
            text = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/x-amz-json-1.1")
            self.send_header("Content-Length", str(len(text)))
            if status != 200:
                self.send_header("x-amzn-ErrorType", answer["__type"])
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        stand_in.url = f"http://127.0.0.1:{server.server_port}"
        try:
            yield stand_in
        finally:
            server.shutdown()
            thread.join()
