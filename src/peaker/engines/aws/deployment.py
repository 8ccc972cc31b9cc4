"""What is to be deployed, as one frozen value: the settings of a stage, the build, and what follows from both."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from peaker.app import FunctionSpec, functions, may_leave_servers
from peaker.engines.aws.image import PORT
from peaker.errors import SettingsError
from peaker.secrets_on_aws import is_on_aws
from peaker.settings import Settings

QUEUE_MARGIN_S = 5.0
"""Between the longest that a request may take behind a load balancer, and the time after which that gives it up."""


VARIABLE = re.compile(r"[a-zA-Z][a-zA-Z0-9_]+")
LAMBDA_SETS = frozenset(
    {
        "AWS_ACCESS_KEY",
        "AWS_ACCESS_KEY_ID",
        "AWS_DEFAULT_REGION",
        "AWS_EXECUTION_ENV",
        "AWS_LAMBDA_RUNTIME_API",
        "AWS_REGION",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "LAMBDA_TASK_ROOT",
    }
)
"""Names of variables (AWS Lambda API Reference, "Environment"; Developer Guide, "Defined runtime environment
variables")."""


class ServersOn(StrEnum):
    """What servers are; NONE where all requests run on functions."""

    NONE = "none"
    FARGATE = "fargate"
    ECS = "ecs"
    EC2 = "ec2"
    SINGLE = "single"


class Front(StrEnum):
    """What clients reach; NONE where there is no web app."""

    NONE = "none"
    ALB = "alb"
    CLOUDFRONT = "cloudfront"
    URL = "url"
    HTTP_API = "http-api"


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """One stack.

    `build` is the hash of code and settings (peaker/build.py); `package_sha256` that of the zip, absent before it is
    built.
    """

    settings: Settings
    build: str
    package_sha256: str = ""
    python: str = "3.13"

    @property
    def name(self) -> str:
        """Of the stack, and the beginning of the names of what is in it."""
        stage = self.settings.stage
        return f"{self.settings.app.name}-{stage}" if stage else self.settings.app.name

    @property
    def code(self) -> str:
        """What the code of functions is told by: the image, else the zip's hash, else the build that it will be of."""
        is_image = self.settings.aws.functions == "image"
        return (self.settings.aws.image if is_image else self.package_sha256) or self.build

    @property
    def servers_on(self) -> ServersOn:
        """NONE without a web app, or where `count_max` is 0 or every route is on functions."""
        settings = self.settings
        if not settings.app.web or settings.servers.count_max == 0 or _all_on_functions(settings):
            return ServersOn.NONE
        return ServersOn(settings.aws.servers)

    @property
    def front(self) -> Front:
        """What clients reach; `aws.front`, or the first that fits."""
        settings, chosen = self.settings, self.settings.aws.front
        if not settings.app.web:
            return Front.NONE
        if chosen != "auto":
            return Front(chosen)
        return {ServersOn.NONE: Front.URL, ServersOn.SINGLE: Front.CLOUDFRONT}.get(self.servers_on, Front.ALB)

    @property
    def functions(self) -> tuple[FunctionSpec, ...]:
        """All that run on Lambda: the handlers, and the web app where requests may go there."""
        is_web = self.servers_on is ServersOn.NONE or may_leave_servers(self.settings)
        return tuple(spec for spec in functions(self.settings) if is_web or not spec.web)

    @property
    def web_function(self) -> FunctionSpec | None:
        """The web app as a function."""
        return next((spec for spec in self.functions if spec.web), None)

    @property
    def port(self) -> int:
        """Where servers are reached within the network."""
        return PORT

    def function_name(self, spec: FunctionSpec) -> str:
        """Its name on AWS: with the stage, so that two stages may stand in one account."""
        own = spec.name.removeprefix(f"{self.settings.app.name}-") if spec.web else spec.name
        return f"{self.name}-{own}"[:64]

    @property
    def stop_s(self) -> int:
        """How long a server has to finish what it runs, for the platform that stops it."""
        return int(self.settings.servers.drain_s_max) + 5


def _all_on_functions(settings: Settings) -> bool:
    return any(route.path == "/*" and route.placement == "functions" for route in settings.route)


def problems_of(deployment: Deployment) -> Sequence[SettingsError]:
    """Everything that stands against deploying it, each with what to do; empty where nothing does."""
    return [
        *_front_problems(deployment),
        *_network_problems(deployment),
        *_time_problems(deployment),
        *_name_problems(deployment),
        *_secret_problems(deployment),
        *_variable_problems(deployment),
        *_destination_problems(deployment),
        *_job_problems(deployment),
    ]


def _front_problems(deployment: Deployment) -> list[SettingsError]:
    aws, found = deployment.settings.aws, []
    front, servers = deployment.front, deployment.servers_on
    fits = {
        ServersOn.NONE: (Front.URL, Front.HTTP_API, Front.ALB, Front.NONE),
        ServersOn.SINGLE: (Front.CLOUDFRONT,),
    }.get(servers, (Front.ALB,))
    if front not in fits:
        found.append(
            SettingsError(
                f"aws.front = {front.value!r} does not go with {servers.value} servers; "
                f"allowed: {', '.join(each.value for each in fits)}."
            )
        )
    if front is Front.ALB and not aws.certificate_arn:
        found.append(
            SettingsError(
                "aws.certificate_arn is absent, and a load balancer is never deployed without TLS.",
                remedy="Make a certificate in ACM for your domain, and name its ARN.",
            )
        )
    if aws.domain and not aws.certificate_arn and front is not Front.NONE:
        found.append(SettingsError("aws.domain needs aws.certificate_arn, a certificate for that name."))
    if servers is ServersOn.SINGLE and deployment.settings.servers.count_max > 1:
        found.append(
            SettingsError(
                f"aws.servers = 'single' is one instance, and servers.count_max = "
                f"{deployment.settings.servers.count_max} asks for more.",
                remedy="Set servers.count_max = 1, or aws.servers to fargate, ecs or ec2.",
            )
        )
    return found


def _network_problems(deployment: Deployment) -> list[SettingsError]:
    aws, found = deployment.settings.aws, []
    if aws.vpc_id and len(aws.subnets) < 2 and deployment.servers_on is not ServersOn.NONE:
        found.append(SettingsError("aws.vpc_id is given and aws.subnets has fewer than two, in two zones."))
    if (aws.subnets or aws.private_subnets or aws.security_groups) and not aws.vpc_id:
        found.append(SettingsError("aws.subnets, private_subnets and security_groups belong to a network: aws.vpc_id."))
    if aws.functions_in_vpc and not aws.private_subnets:
        found.append(
            SettingsError(
                "aws.functions_in_vpc needs aws.private_subnets: a function in a public subnet reaches nothing outside."
            )
        )
    return found


def _time_problems(deployment: Deployment) -> list[SettingsError]:
    """Time-outs line up: who waits for somebody gives up last."""
    settings = deployment.settings
    if deployment.front is not Front.ALB or deployment.servers_on is ServersOn.NONE:
        return []
    found = []
    idle_s = settings.aws.idle_timeout_s
    longest_s = settings.servers.queue_wait_s_max + settings.functions.timeout_s
    if may_leave_servers(settings) and longest_s + QUEUE_MARGIN_S > idle_s:
        found.append(
            SettingsError(
                f"servers.queue_wait_s_max + functions.timeout_s = {longest_s:g} s, and the load balancer gives a "
                f"request up after aws.idle_timeout_s = {idle_s} s.",
                remedy=f"Set aws.idle_timeout_s to at least {int(longest_s + QUEUE_MARGIN_S) + 1}.",
            )
        )
    if settings.servers.keep_alive_s <= idle_s:
        found.append(
            SettingsError(
                f"servers.keep_alive_s = {settings.servers.keep_alive_s:g} is not above aws.idle_timeout_s = {idle_s}: "
                "a connection would be closed here while the load balancer sends on it.",
                remedy=f"Set servers.keep_alive_s to {idle_s + 15} or more.",
            )
        )
    return found


def _secret_problems(deployment: Deployment) -> list[SettingsError]:
    return [
        SettingsError(
            f"secrets.{name} stands in {reference.partition(':')[0]}:..., which is not there on AWS.",
            remedy=f"Put it into Secrets Manager, and name its ARN in [stage.NAME.secrets] {name}.",
        )
        for name, reference in deployment.settings.secrets.items()
        if not is_on_aws(reference)
    ]


def _job_problems(deployment: Deployment) -> list[SettingsError]:
    return [
        SettingsError(
            f"[[job]] {job.name!r} is not deployed to AWS yet.",
            remedy="Leave it out there: job = [] in [stage.NAME].",
        )
        for job in deployment.settings.job
    ]


def _name_problems(deployment: Deployment) -> list[SettingsError]:
    found = []
    names = [deployment.function_name(spec) for spec in deployment.functions]
    if len(set(names)) < len(names):
        found.append(
            SettingsError(f"names of functions are cut to 64 letters and two are the same: {', '.join(names)}.")
        )
    if not deployment.name[:1].isalpha() or "_" in deployment.name:
        found.append(
            SettingsError(
                f"the stack cannot be named {deployment.name!r}: letters, digits and - are allowed, a letter first.",
                remedy="Change app.name.",
            )
        )
    return found


def _variable_problems(deployment: Deployment) -> list[SettingsError]:
    if not deployment.functions:
        return []
    own = dict.fromkeys(deployment.settings.env, "env")
    for spec in deployment.functions:
        own |= {name: f"function.env of {spec.name!r}" for name, _ in spec.variables}
    return [
        SettingsError(
            f"{where} {name!r} is no name of a variable on Lambda.",
            remedy="Allowed: a letter, then one or more letters, digits and _; not those that Lambda sets itself.",
        )
        for name, where in sorted(own.items())
        if not VARIABLE.fullmatch(name) or name in LAMBDA_SETS
    ]


def _destination_problems(deployment: Deployment) -> list[SettingsError]:
    return [
        SettingsError(
            f"function.{key} = {where!r} of {spec.name!r} is not deployed to AWS yet: "
            "what is given up on goes to the function's dead letter queue.",
            remedy=f"Take {key} out for this stage, or let the function itself pass on what it did.",
        )
        for spec in deployment.functions
        for key, where in (("on_success", spec.on_success), ("on_failure", spec.on_failure))
        if where
    ]
