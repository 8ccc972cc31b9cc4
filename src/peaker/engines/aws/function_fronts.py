"""What clients reach where all requests run on functions: a function URL, or an HTTP API."""

from __future__ import annotations

from troposphere import GetAtt, Ref, Sub
from troposphere.apigatewayv2 import Api, ApiMapping, DomainName, DomainNameConfiguration, Integration, Route, Stage
from troposphere.awslambda import Permission, Url

from peaker.engines.aws.lambda_functions import ALIAS, alias_of
from peaker.engines.aws.stack import Stack, arn, logical

INTEGRATION_TIMEOUT_MS = 29_000
"""The longest that an HTTP API waits (Amazon API Gateway quotas: 30 s)."""


def add_function_url(stack: Stack) -> None:
    """A URL of the function itself; anybody may call it, as anybody may call a web app."""
    web = stack.deployment.web_function
    assert web is not None
    alias = logical(web.name, "Alias")
    url = stack.add(
        Url(
            "FunctionUrl",
            TargetFunctionArn=Ref(logical(web.name)),
            Qualifier=ALIAS,
            AuthType="NONE",
            InvokeMode="BUFFERED",
            DependsOn=alias,
        )
    )
    stack.add(
        Permission(
            "AnybodyMayCall",
            FunctionName=alias_of(web),
            Action="lambda:InvokeFunctionUrl",
            Principal="*",
            FunctionUrlAuthType="NONE",
        )
    )
    # Since October 2025 a caller of a URL needs this one as well, kept to calls by the URL (AWS Lambda Developer Guide,
    # "Control access to function URLs").
    stack.add(
        Permission(
            "AnybodyMayCallByUrl",
            FunctionName=alias_of(web),
            Action="lambda:InvokeFunction",
            Principal="*",
            InvokedViaFunctionUrl=True,
        )
    )
    stack.output("Address", GetAtt(url, "FunctionUrl"), "Where the app is served")


def add_http_api(stack: Stack) -> None:
    """An HTTP API that sends everything to the function, in payload format 2.0."""
    web, aws = stack.deployment.web_function, stack.settings.aws
    assert web is not None
    api = stack.add(Api("HttpApi", Name=stack.deployment.name, ProtocolType="HTTP"))
    integration = stack.add(
        Integration(
            "HttpApiIntegration",
            ApiId=Ref(api),
            IntegrationType="AWS_PROXY",
            IntegrationUri=alias_of(web),
            PayloadFormatVersion="2.0",
            TimeoutInMillis=min(INTEGRATION_TIMEOUT_MS, int(web.timeout_s * 1000)),
        )
    )
    stack.add(
        Route(
            "HttpApiRoute",
            ApiId=Ref(api),
            RouteKey="$default",
            Target=Sub("integrations/${Integration}", Integration=Ref(integration)),
        )
    )
    stage = stack.add(Stage("HttpApiStage", ApiId=Ref(api), StageName="$default", AutoDeploy=True))
    stack.add(
        Permission(
            "HttpApiMayInvoke",
            FunctionName=alias_of(web),
            Action="lambda:InvokeFunction",
            Principal="apigateway.amazonaws.com",
            SourceArn=arn("execute-api", "${HttpApi}/*"),
        )
    )
    if aws.domain:
        named = stack.add(
            DomainName(
                "HttpApiDomain",
                DomainName=aws.domain,
                DomainNameConfigurations=[
                    DomainNameConfiguration(
                        CertificateArn=aws.certificate_arn, EndpointType="REGIONAL", SecurityPolicy="TLS_1_2"
                    )
                ],
            )
        )
        stack.add(ApiMapping("HttpApiMapping", ApiId=Ref(api), DomainName=Ref(named), Stage=Ref(stage)))
        stack.output("Address", GetAtt(named, "RegionalDomainName"), "Where the domain's DNS record points to")
        return
    stack.output("Address", GetAtt(api, "ApiEndpoint"), "Where the app is served")
