def another(event, context):
    return event
