"""A task of a state machine: an error by its class, which Retry and Catch name."""


class InventoryUnavailable(Exception):
    pass


def lambda_handler(event, context):
    if event.get("attempt", 0) < 1:
        raise InventoryUnavailable(f"warehouse {event['warehouse']} does not answer")
    return {**event, "reserved": True, "remaining_ms": context.get_remaining_time_in_millis()}
