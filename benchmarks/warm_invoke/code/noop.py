"""The function all of them run: for Lambda's own interface, for functions-framework, and for its asgi mode."""

from typing import Any


def handle(event: dict[str, Any], _context: object) -> dict[str, str]:
    return {"greeting": f"Hello {event['name']}"}


def handle_flask(request: Any) -> dict[str, str]:
    return {"greeting": f"Hello {request.get_json()['name']}"}


async def handle_starlette(request: Any) -> dict[str, str]:
    return {"greeting": f"Hello {(await request.json())['name']}"}
