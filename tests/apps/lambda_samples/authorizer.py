"""A custom authorizer of the TOKEN kind: a policy, or 'Unauthorized' by an exception, as API Gateway wants it."""


def policy(principal, effect, resource):
    statement = {"Action": "execute-api:Invoke", "Effect": effect, "Resource": resource}
    return {
        "principalId": principal,
        "policyDocument": {"Version": "2012-10-17", "Statement": [statement]},
        "context": {"stringKey": "value", "numberKey": 123, "booleanKey": True},
    }


def lambda_handler(event, context):
    token = event["authorizationToken"]
    if token == "allow":
        return policy("user", "Allow", event["methodArn"])
    if token == "deny":
        return policy("user", "Deny", event["methodArn"])
    if token == "unauthorized":
        raise Exception("Unauthorized")
    raise Exception("Error: Invalid token")
