"""Writes the session that every app answers in every placement: `python tests/apps/record_session.py`.

The session is a list of steps as JSON: what to send and the status that must come back, by app where frameworks differ.
Bodies above a line are given by their size and computed by the player.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

SESSION = Path(__file__).parents[1] / "golden" / "session.json"

Step = dict[str, Any]


def step(method: str, path: str, status: int = 200, body: bytes | None = None, **more: Any) -> Step:
    """One request; `headers` are pairs, `by_app` the statuses of apps that differ."""
    made: Step = {"method": method, "path": path, "status": status} | more
    if body is not None:
        made["body_base64"] = base64.b64encode(body).decode("ascii")
    return made


def form(path: str, status: int, **fields: str) -> Step:
    kind = [["content-type", "application/x-www-form-urlencoded"]]
    return step("POST", path, status, urlencode(fields).encode(), headers=kind)


def document(path: str, status: int, body: bytes, **more: Any) -> Step:
    return step("POST", path, status, body, headers=[["content-type", "application/json"]], **more)


def multipart(parts: list[tuple[str, str | None, str, bytes]]) -> Step:
    """Parts are (name, file name or None, content type, content)."""
    boundary = "----boundary-of-a-recorded-session"
    body = b""
    for name, filename, kind, content in parts:
        file_part = f'; filename="{filename}"\r\nContent-Type: {kind}' if filename is not None else ""
        body += f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"{file_part}\r\n\r\n'.encode()
        body += content + b"\r\n"
    body += f"--{boundary}--\r\n".encode()
    return step("POST", "/upload", 201, body, headers=[["content-type", f"multipart/form-data; boundary={boundary}"]])


def pages() -> list[Step]:
    names = ["Ada", "Zoë", "日本", "a b", "a+b", "100%", "😀", "ß&=?#", "O'Neil", '"quoted"']
    steps = [
        step("GET", "/"),
        step("HEAD", "/"),
        step("GET", "/nowhere", 404),
        step("POST", "/", 405, b"x", by_app={"django": 200}),
    ]
    steps += [step("GET", f"/hello/{quote(name, safe='')}") for name in names]
    steps += [
        step("GET", "/hello/%FF"),
        step("GET", "/moved", 308),
        step("HEAD", "/moved", 308, by_app={"fastapi": 405}),
        step("GET", "/connection"),
    ]
    steps += [step("GET", "/hello/a%2Fb", 404), step("HEAD", "/hello/head", 200, by_app={"fastapi": 405})]
    steps += [
        step("OPTIONS", "/login", 405, by_app={"flask": 200}),
        step("GET", "/login", 405),
        step("GET", "/echo", 405),
    ]
    return steps


def logins() -> list[Step]:
    steps = [step("GET", "/me", 401), form("/login", 401, user="ada", password="wrong"), step("GET", "/me", 401)]
    for user, password in (("ada", "analytical"), ("zoë", "pass wörd")):
        steps += [
            form("/login", 303, user=user, password=password),
            step("GET", "/me"),
            step("GET", "/me"),
            step("GET", "/me"),
        ]
        steps += [step("GET", "/"), form("/login", 401, user=user, password=""), step("GET", "/me")]
        steps += [step("POST", "/logout", 303, b""), step("GET", "/me", 401), step("GET", "/")]
    steps.append(form("/login", 401))
    forged = [["cookie", "session=eyJ1c2VyIjogImFkYSJ9.aaaa.bbbb"]]
    return [*steps, step("GET", "/me", 401, headers=forged), step("GET", "/me", 401, headers=[["cookie", "session="]])]


def cookies() -> list[Step]:
    odd = [
        "a=1",
        "a=1; b=2",
        "a=1;b=2",
        "a=1; a=2",
        'a="quoted; inside"',
        "a",
        "a=",
        "=1",
        "a=é",
        "a=1; ",
        "$Version=1; a=1",
    ]
    steps = [
        step("GET", "/cookies"),
        step("GET", "/cookies/set"),
        step("GET", "/cookies"),
        step("HEAD", "/cookies/set", by_app={"fastapi": 405}),
    ]
    steps += [step("GET", "/cookies", headers=[["cookie", text]]) for text in odd]
    steps += [step("GET", "/cookies", headers=[["cookie", "a=1"], ["accept", "x/y"], ["cookie", "b=2"]])]
    return [*steps, step("GET", "/cookies/delete"), step("GET", "/cookies")]


def uploads() -> list[Step]:
    text, binary = "note.txt", bytes(range(256)) * 4
    steps = [
        multipart([("title", None, "", "Grüße".encode())]),
        multipart([("title", None, "", b"one"), ("file", text, "text/plain", b"content\r\nof two lines")]),
        multipart([("file", "blob.bin", "application/octet-stream", binary)]),
        multipart([("file", "naïve 日本.txt", "text/plain", "é".encode())]),
        multipart([("file", "empty.txt", "text/plain", b"")]),
        multipart(
            [
                ("file", "a.txt", "text/plain", b"a"),
                ("file", "b.txt", "text/plain", b"b"),
                ("x", None, "", b"1"),
                ("x", None, "", b"2"),
            ]
        ),
        multipart([(f"field{number}", None, "", b"v" * number) for number in range(40)]),
    ]
    for kind in ("text", "binary"):
        headers = [["content-type", "text/plain" if kind == "text" else "application/octet-stream"]]
        sizes = (0, 1, 255, 4096, 65_535, 65_536, 65_537, 300_000, 1_000_000)
        steps += [step("POST", "/upload/raw", generated=[kind, size], headers=headers) for size in sizes]
        steps += [
            step("PUT", "/upload/raw", generated=[kind, size], headers=headers, chunked=True) for size in (0, 1, 70_000)
        ]
    control = bytes(range(1, 32)) * 500
    steps.append(step("POST", "/upload/raw", body=control))
    steps.append(step("POST", "/upload/raw", body=b"\xef\xbb\xbfmark"))
    steps.append(step("POST", "/upload/raw", body=b"expected", headers=[["expect", "100-continue"]]))
    return steps


def documents() -> list[Step]:
    sound = [
        b"{}",
        b"[]",
        b"null",
        b"true",
        b"1",
        b"-0.5",
        b"1e3",
        b'""',
        '"é😀\\u00e9\\ud83d\\ude00"'.encode(),
        b'{"a": {"b": [1, 2, {"c": null}]}}',
    ]
    sound += [
        b'{"big": 123456789012345678901234567890}',
        b'  {"spaced" : 1 }\n',
        b'{"a": 1, "a": 2}',
        b'{"control": "\\u0000\\n\\t"}',
    ]
    broken = [b"", b"{", b"{'a': 1}", b"nul", b'{"a": }', b"\x00"]
    steps = [document("/echo", 200, body) for body in sound]
    steps += [document("/echo", 422, body) for body in broken]
    for number, body in enumerate((b"", "wörd".encode(), b'{"a": 1}')):
        steps += [step(method, f"/items/{number}", body=body) for method in ("PUT", "PATCH")]
        steps += [step("GET", f"/items/{number}"), step("DELETE", f"/items/{number}", 204)]
    steps += [
        step("HEAD", "/items/7", by_app={"fastapi": 405}),
        step("GET", "/items/word", 404, by_app={"fastapi": 422}),
    ]
    return steps


def addresses() -> list[Step]:
    queries = [
        "",
        "?",
        "?a",
        "?a=",
        "?=b",
        "?a=1&a=2",
        "?b=2&a=1&b=3",
        "?a=1&&b=2",
        "?a=%26&b=%3D",
        "?q=caf%C3%A9",
        "?q=%FF",
        "?q=a+b%20c",
        "?a=1;b=2",
        "?a=b=c",
        "??",
        "?a%5B%5D=1&a%5B%5D=2",
        "?x=" + "y" * 2000,
    ]
    paths = [
        "",
        "a",
        "a/b",
        "a%2Fb",
        "a%2fb",
        "a//b",
        "/a",
        "a/",
        "%C3%A9",
        "a%20b",
        "a+b",
        "a%25b",
        "a;v=1",
        "a:b@c",
        "..%2F..",
        "~tilde",
        "a%00b",
        "%E2%82",
        "(x)!*'",
        "UPPER%2f%2F",
    ]
    steps = [step("GET", f"/query{query}") for query in queries]
    steps += [
        step("GET", f"/path/{path}", by_app={"flask": FLASK_PATHS[path]} if path in FLASK_PATHS else {})
        for path in paths
    ]
    return steps


FLASK_PATHS = {"": 404, "/a": 308}
"""Werkzeug redirects a path that begins with two slashes, and its path converter matches no empty path."""


def header_lines() -> list[Step]:
    wanted: list[list[list[str]]] = [
        [],
        [["x-one", "1"]],
        [["X-MIXED-Case", "Value"]],
        [["x-empty", ""]],
        [["x-list", "a, b,c"]],
        [["x-list", "a"], ["x-list", "b"]],
        [["x-list", "a"], ["x-other", "-"], ["x-list", "b"]],
        [["accept", "text/html;q=0.9, */*"], ["accept-language", "de-CH"]],
        [["x-utf8", "é😀"]],
        [["x-quotes", '"a\\"b", c']],
        [["x-forwarded-for", "198.51.100.7"]],
        [["via", "1.1 a"], ["via", "1.0 b"]],
        [["x-long", "v" * 5000]],
        [["range", "bytes=0-3"]],
        [["te", "trailers"]],
        [["upgrade", "h2c"]],
    ]
    steps = [step("GET", "/headers", headers=headers) for headers in wanted]
    return [*steps, step("GET", "/headers", headers=[["x-latin", "café"]], header_charset="latin-1")]


def answers() -> list[Step]:
    steps = [
        step("GET", f"/status/{code}", code)
        for code in (
            200,
            201,
            202,
            204,
            205,
            206,
            301,
            304,
            400,
            403,
            404,
            409,
            410,
            418,
            422,
            429,
            451,
            500,
            502,
            503,
            504,
        )
    ]
    steps += [
        step("GET", f"/large/{size}") for size in (0, 1, 8, 1000, 65_535, 65_536, 65_537, 250_000, 1_000_000, 3_000_000)
    ]
    heads = ("/large/1000", "/binary", "/download", "/status/204", "/status/304", "/status/404")
    for path in heads:
        status = int(path.rpartition("/")[2]) if path.startswith("/status/") else 200
        steps.append(step("HEAD", path, status, by_app={"fastapi": 405}))
    steps += [
        step("GET", "/binary"),
        step("GET", "/download"),
        step("GET", "/boom", 500),
        step("GET", "/"),
        step("HEAD", "/boom", 500, by_app={"fastapi": 405}),
    ]
    return steps


def files() -> list[Step]:
    steps = [step("GET", f"/static/{name}") for name in ("hello.txt", "style.css", "pixel.png")]
    steps += [
        step("HEAD", "/static/hello.txt"),
        step("GET", "/static/missing.txt", 404),
        step("GET", "/static/..%2Fapp_content.py", 404, by_app={"django": 400}),
    ]
    steps += [
        step("GET", "/static/hello.txt", 304, headers=[["if-modified-since", "{last-modified of /static/hello.txt}"]])
    ]
    tag = {"django": 200}  # Django's static view has no entity tags and no ranges.
    steps += [
        step("GET", "/static/hello.txt", 304, headers=[["if-none-match", "{etag of /static/hello.txt}"]], by_app=tag)
    ]
    steps += [step("GET", "/static/hello.txt", 206, headers=[["range", "bytes=0-4"]], by_app=tag)]
    steps += [step("GET", "/static/hello.txt", 416, headers=[["range", "bytes=900-"]], by_app=tag)]
    return steps


def session() -> list[Step]:
    """All steps; header lines come first, since later ones carry signed cookies whose text changes by the second."""
    return (
        header_lines()
        + pages()
        + logins()
        + cookies()
        + uploads()
        + documents()
        + addresses()
        + files()
        + answers()
        + logins()
    )


if __name__ == "__main__":
    lines = ",\n".join(json.dumps(made, ensure_ascii=False, sort_keys=True) for made in session())
    SESSION.write_text(f"[\n{lines}\n]\n", encoding="utf-8")
