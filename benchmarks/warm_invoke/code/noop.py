"""The function all of them run: for Lambda's own interface, for functions-framework, and for its asgi mode."""


def handle(event, context):
    return {"greeting": f"Hello {event['name']}"}


def handle_flask(request):
    return {"greeting": f"Hello {request.get_json()['name']}"}


async def handle_starlette(request):
    return {"greeting": f"Hello {(await request.json())['name']}"}
