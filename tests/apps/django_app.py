"""The session's app in Django: ASGI, synchronous views, sessions in signed cookies."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import django
from app_content import ALL_BYTES, FILES, RESPONSE_COOKIES, SECRET, USERS, described, large_body
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse, QueryDict, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.urls import path as route
from django.urls import re_path
from django.views.decorators.http import require_http_methods
from django.views.static import serve

settings.configure(
    SECRET_KEY=SECRET,
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    MIDDLEWARE=["django.middleware.common.CommonMiddleware", "django.contrib.sessions.middleware.SessionMiddleware"],
    SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies",
    SESSION_COOKIE_NAME="session",
    DATA_UPLOAD_MAX_MEMORY_SIZE=4_500_000,
    USE_TZ=True,
    LOGGING_CONFIG=None,
)
django.setup()


def index(request: HttpRequest) -> HttpResponse:
    return HttpResponse(f"<h1>Welcome, {request.session.get('user', 'stranger')}</h1>")


def hello(_: HttpRequest, name: str) -> HttpResponse:
    return HttpResponse(f"Grüße, {name}! 😀", content_type="text/plain; charset=utf-8")


@require_http_methods(["POST"])
def login(request: HttpRequest) -> HttpResponse:
    user = request.POST.get("user", "")
    if user not in USERS or USERS[user] != request.POST.get("password"):
        return JsonResponse({"error": "unknown user or password"}, status=401)
    request.session["user"], request.session["visits"] = user, 0
    return HttpResponseRedirect("/me", status=303)


def me(request: HttpRequest) -> HttpResponse:
    if "user" not in request.session:
        return HttpResponse("log in first", status=401, headers={"www-authenticate": 'Form realm="session"'})
    request.session["visits"] += 1
    return JsonResponse({"user": request.session["user"], "visits": request.session["visits"]})


@require_http_methods(["POST"])
def logout(request: HttpRequest) -> HttpResponse:
    request.session.flush()
    return HttpResponseRedirect("/", status=303)


@require_http_methods(["POST"])
def upload(request: HttpRequest) -> HttpResponse:
    answer: list[dict[str, Any]] = [
        {"name": name, "value": value} for name, values in request.POST.lists() for value in values
    ]
    for name, files in request.FILES.lists():
        answer += [described(f.read(), name=name, filename=f.name, type=f.content_type) for f in files]
    return JsonResponse(answer, safe=False, status=201)


@require_http_methods(["POST", "PUT"])
def upload_raw(request: HttpRequest) -> HttpResponse:
    return JsonResponse(described(request.body, type=request.headers.get("content-type", "")))


@require_http_methods(["POST"])
def echo(request: HttpRequest) -> HttpResponse:
    try:
        return JsonResponse(json.loads(request.body), safe=False)
    except ValueError as error:
        return JsonResponse({"error": str(error)}, status=422)


@require_http_methods(["GET", "HEAD", "PUT", "PATCH", "DELETE"])
def item(request: HttpRequest, number: int) -> HttpResponse:
    if request.method == "DELETE":
        return HttpResponse(status=204)
    answer = {"item": number, "method": request.method, "body": request.body.decode()}
    return JsonResponse(answer, headers={"etag": f'"{number}"'})


def query(request: HttpRequest) -> HttpResponse:
    raw = request.META["QUERY_STRING"]
    pairs = [[name, value] for name, values in QueryDict(raw).lists() for value in values]
    return JsonResponse({"pairs": pairs, "raw": raw})


def path(request: HttpRequest, rest: str) -> HttpResponse:
    return JsonResponse({"rest": rest, "path": request.path})


def headers(request: HttpRequest) -> HttpResponse:
    return JsonResponse(list(request.headers.items()), safe=False)


def cookies(request: HttpRequest) -> HttpResponse:
    return JsonResponse({name: value for name, value in request.COOKIES.items() if name != "session"})


def set_cookies(_: HttpRequest) -> HttpResponse:
    response = HttpResponse("set", content_type="text/plain")
    for name, value, cookie_path in RESPONSE_COOKIES:
        response.set_cookie(name, value, path=cookie_path, httponly=name == "second")
    return response


def delete_cookies(_: HttpRequest) -> HttpResponse:
    response = HttpResponse("deleted", content_type="text/plain")
    for name, _value, cookie_path in RESPONSE_COOKIES:
        response.delete_cookie(name, path=cookie_path)
    return response


def status(_: HttpRequest, code: int) -> HttpResponse:
    return HttpResponse(status=code, headers={"x-code": str(code)})


def large(_: HttpRequest, size: int) -> HttpResponse:
    return HttpResponse(large_body(size), content_type="text/plain")


def binary(_: HttpRequest) -> HttpResponse:
    return HttpResponse(ALL_BYTES, content_type="application/octet-stream", headers={"x-latin": "café"})


def download(_: HttpRequest) -> HttpResponse:
    disposition = "attachment; filename*=UTF-8''na%C3%AFve.csv"
    return HttpResponse(
        "a,b\n1,2\n", content_type="text/csv", headers={"content-disposition": disposition, "vary": "cookie"}
    )


def moved(_: HttpRequest) -> HttpResponse:
    return HttpResponseRedirect("/hello/caf%C3%A9?from=moved", status=308)


def connection(request: HttpRequest) -> HttpResponse:
    url, client = request.build_absolute_uri(), request.META.get("REMOTE_ADDR", "")
    return JsonResponse({"scheme": request.scheme, "client": client, "url": url})


def boom(_: HttpRequest) -> HttpResponse:
    raise RuntimeError("as planned")


def static_file(request: HttpRequest, path: str) -> HttpResponseBase:
    """Django's own view, its file read at once: iterating over a file in an ASGI app is a warning."""
    response = serve(request, path, str(FILES))
    if isinstance(response, StreamingHttpResponse):
        kept = dict(response.headers)
        with contextlib.closing(response):
            return HttpResponse(response.getvalue(), headers=kept)
    return response


urlpatterns = [
    route("", index),
    route("hello/<name>", hello),
    route("login", login),
    route("me", me),
    route("logout", logout),
    route("upload", upload),
    route("upload/raw", upload_raw),
    route("echo", echo),
    route("items/<int:number>", item),
    route("query", query),
    re_path(r"^path/(?P<rest>.*)$", path),
    route("headers", headers),
    route("cookies", cookies),
    route("cookies/set", set_cookies),
    route("cookies/delete", delete_cookies),
    route("status/<int:code>", status),
    route("large/<int:size>", large),
    route("binary", binary),
    route("download", download),
    route("moved", moved),
    route("connection", connection),
    route("boom", boom),
    re_path(r"^static/(?P<path>.*)$", static_file),
]

app = get_asgi_application()
