"""The whole template of a deployment, put together from its parts."""

from __future__ import annotations

from troposphere import Template

from peaker.engines.aws.control import add_control, has_control
from peaker.engines.aws.deployment import Deployment, Front, ServersOn, problems_of
from peaker.engines.aws.event_sources import add_sources, source_statements
from peaker.engines.aws.function_fronts import add_function_url, add_http_api
from peaker.engines.aws.lambda_functions import add_function
from peaker.engines.aws.load_balancer import add_load_balancer
from peaker.engines.aws.network import network_of
from peaker.engines.aws.servers_ec2 import add_ec2_servers, add_single_server
from peaker.engines.aws.servers_ecs import add_ecs_servers
from peaker.engines.aws.stack import Stack
from peaker.engines.aws.watching import add_watching
from peaker.errors import SettingsError


def template_of(deployment: Deployment) -> Template:
    """The template; its parameters are what is only known when something has been uploaded.

    Raises:
        SettingsError: the first thing that stands against it.
        PriceError: the instance type is unknown in the region.
    """
    problems = problems_of(deployment)
    if problems:
        raise problems[0]
    stack = Stack(deployment)
    if not deployment.functions and deployment.servers_on is ServersOn.NONE:
        raise SettingsError("there is neither a web app nor a function to deploy.")
    for spec in deployment.functions:
        add_function(stack, spec, source_statements(stack, spec))
    add_sources(stack)
    _add_front_and_servers(stack)
    if has_control(stack):
        add_control(stack)
    add_watching(stack)
    return stack.template


def _add_front_and_servers(stack: Stack) -> None:
    deployment = stack.deployment
    servers, front = deployment.servers_on, deployment.front
    if front is Front.URL:
        add_function_url(stack)
        return
    if front is Front.HTTP_API:
        add_http_api(stack)
        return
    if front is Front.NONE:
        return
    network = network_of(stack)
    if servers is ServersOn.SINGLE:
        add_single_server(stack, network)
        return
    balanced = add_load_balancer(
        stack,
        network,
        has_servers=servers is not ServersOn.NONE,
        is_instance_target=servers is ServersOn.EC2,
    )
    if servers is ServersOn.EC2:
        add_ec2_servers(stack, network, balanced)
    elif servers is not ServersOn.NONE:
        add_ecs_servers(stack, network, balanced, on_instances=servers is ServersOn.ECS)
