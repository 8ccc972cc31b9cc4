"""A Cognito pre sign-up trigger: it answers with the event it was given, and what it decides in it."""


def lambda_handler(event, context):
    event["response"]["autoConfirmUser"] = event["request"]["userAttributes"]["email"].endswith("@example.com")
    if "email" in event["request"]["userAttributes"]:
        event["response"]["autoVerifyEmail"] = True
    return event
