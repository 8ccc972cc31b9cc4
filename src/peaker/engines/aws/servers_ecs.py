"""Servers as ECS tasks: on Fargate, or on EC2 instances that a capacity provider adds and removes.

The service has no DesiredCount in the template: what control has set stays when the stack is updated.
"""

from __future__ import annotations

from typing import Any

from troposphere import GetAtt, Ref, Sub
from troposphere.autoscaling import AutoScalingGroup, LaunchTemplateSpecification
from troposphere.ec2 import IamInstanceProfile, LaunchTemplate, LaunchTemplateData, MetadataOptions
from troposphere.ecs import (
    AutoScalingGroupProvider,
    AwsvpcConfiguration,
    CapacityProvider,
    CapacityProviderStrategyItem,
    Cluster,
    ClusterCapacityProviderAssociations,
    ContainerDefinition,
    DeploymentCircuitBreaker,
    DeploymentConfiguration,
    Environment,
    LogConfiguration,
    ManagedScaling,
    NetworkConfiguration,
    PortMapping,
    RuntimePlatform,
    Secret,
    Service,
    TaskDefinition,
)
from troposphere.ecs import LoadBalancer as ServiceLoadBalancer
from troposphere.iam import InstanceProfile

from peaker.app import pool_variables
from peaker.engines.aws import iam
from peaker.engines.aws.image import OPS_PORT
from peaker.engines.aws.lambda_functions import version_of
from peaker.engines.aws.load_balancer import Balanced
from peaker.engines.aws.network import Network, group, lets_in
from peaker.engines.aws.stack import Stack, arn
from peaker.engines.aws.task_sizes import task_size
from peaker.secrets_on_aws import arn_of

CONTAINER = "app"
STOP_TIMEOUT_S_MAX = 120
"""Of a Fargate task (Amazon ECS Developer Guide, "stopTimeout")."""

ECS_IMAGE = "/aws/service/ecs/optimized-ami/amazon-linux-2023/{arch}recommended/image_id"


def add_ecs_servers(stack: Stack, network: Network, balanced: Balanced, *, on_instances: bool) -> Service:
    """Cluster, task and service behind the load balancer's target."""
    assert balanced.servers is not None
    cluster = stack.add(Cluster("Cluster", ClusterName=stack.deployment.name))
    members = group(
        stack,
        network,
        "Servers",
        "servers, from the load balancer alone",
        [lets_in(port, SourceSecurityGroupId=balanced.group) for port in (stack.deployment.port, OPS_PORT)],
    )
    task = _task(stack, on_instances=on_instances)
    where: dict[str, Any] = {"LaunchType": "FARGATE"}
    depends_on = [balanced.listener.title]
    if on_instances:
        provider, association = _instances(stack, network, cluster, members)
        where = {"CapacityProviderStrategy": [CapacityProviderStrategyItem(CapacityProvider=Ref(provider), Weight=1)]}
        depends_on.append(association.title)
    has_address = network.has_public_address and not on_instances
    return stack.add(
        Service(
            "Service",
            ServiceName=stack.deployment.name,
            Cluster=Ref(cluster),
            TaskDefinition=Ref(task),
            DeploymentConfiguration=DeploymentConfiguration(
                MinimumHealthyPercent=100,
                MaximumPercent=200,
                DeploymentCircuitBreaker=DeploymentCircuitBreaker(Enable=True, Rollback=True),
            ),
            HealthCheckGracePeriodSeconds=int(stack.settings.servers.start_s_max),
            LoadBalancers=[
                ServiceLoadBalancer(
                    ContainerName=CONTAINER,
                    ContainerPort=stack.deployment.port,
                    TargetGroupArn=Ref(balanced.servers),
                )
            ],
            NetworkConfiguration=NetworkConfiguration(
                AwsvpcConfiguration=AwsvpcConfiguration(
                    Subnets=network.servers,
                    SecurityGroups=[GetAtt(members, "GroupId"), *network.joined],
                    AssignPublicIp="ENABLED" if has_address else "DISABLED",
                )
            ),
            EnableECSManagedTags=True,
            PropagateTags="SERVICE",
            DependsOn=depends_on,
            **where,
        )
    )


def _task(stack: Stack, *, on_instances: bool) -> TaskDefinition:
    settings, deployment = stack.settings, stack.deployment
    group_name = f"/peaker/{deployment.name}"
    logs = stack.log_group("ServersLogs", group_name)
    app_role = iam.role(stack, "Servers", "ecs-tasks.amazonaws.com", server_statements(stack))
    # ECS itself fetches the image, writes the log and reads secrets for the container.
    start_role = iam.role(
        stack,
        "ServersStart",
        "ecs-tasks.amazonaws.com",
        [
            iam.may_write_logs(group_name),
            *iam.may_read_secrets(settings),
            iam.allow("ecr:GetAuthorizationToken", "*"),
            iam.allow(
                ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer", "ecr:BatchCheckLayerAvailability"],
                arn("ecr", "repository/*"),
            ),
        ],
        app_code=False,
    )
    size = task_size(settings)
    return stack.add(
        TaskDefinition(
            "Task",
            Family=deployment.name,
            Cpu=str(size.cpu_units),
            Memory=str(size.memory_mb),
            NetworkMode="awsvpc",
            RequiresCompatibilities=["EC2" if on_instances else "FARGATE"],
            RuntimePlatform=RuntimePlatform(
                CpuArchitecture="ARM64" if settings.functions.architecture == "arm64" else "X86_64",
                OperatingSystemFamily="LINUX",
            ),
            ExecutionRoleArn=GetAtt(start_role, "Arn"),
            TaskRoleArn=GetAtt(app_role, "Arn"),
            ContainerDefinitions=[
                ContainerDefinition(
                    Name=CONTAINER,
                    Image=settings.aws.image or stack.parameter("Image", "Image in ECR, with its digest"),
                    Essential=True,
                    Command=command_of(stack),
                    Environment=[
                        Environment(Name=name, Value=value) for name, value in sorted(variables_of(stack).items())
                    ],
                    Secrets=[
                        Secret(Name=name, ValueFrom=_value_from(where))
                        for name, where in sorted(settings.secrets.items())
                    ],
                    PortMappings=[PortMapping(ContainerPort=port) for port in (deployment.port, OPS_PORT)],
                    StopTimeout=min(STOP_TIMEOUT_S_MAX, deployment.stop_s),
                    LogConfiguration=LogConfiguration(
                        LogDriver="awslogs",
                        Options={
                            "awslogs-group": Ref(logs),
                            "awslogs-region": Ref("AWS::Region"),
                            "awslogs-stream-prefix": "server",
                        },
                    ),
                )
            ],
        )
    )


def _value_from(reference: str) -> str:
    """As ECS has it: where a key of the JSON is named, stage and version follow, empty ones too."""
    arn_only = arn_of(reference)
    if reference == arn_only:
        return reference
    key, stage, version = (*reference.removeprefix(f"{arn_only}:").split(":"), "", "")[:3]
    return f"{arn_only}:{key}:{stage}:{version}"


def server_statements(stack: Stack) -> list[iam.Statement]:
    """What servers may do: invoke the app's own function, where requests may go there."""
    web = stack.deployment.web_function
    return [iam.may_invoke(stack.deployment.function_name(web))] if web is not None else []


def command_of(stack: Stack) -> list[Any]:
    """`peaker serve`, spilling to the version of the same build."""
    web, stage = stack.deployment.web_function, stack.settings.stage
    command: list[Any] = ["serve", *(["--stage", stage] if stage else [])]
    return command if web is None else [*command, "--arn", version_of(stack, web)]


def variables_of(stack: Stack) -> dict[str, str]:
    """The environment of a server."""
    return {**stack.settings.env, **pool_variables(stack.settings, in_instance=False)}


def _instances(
    stack: Stack, network: Network, cluster: Cluster, members: Any
) -> tuple[CapacityProvider, ClusterCapacityProviderAssociations]:
    """EC2 instances that join the cluster, as many as its tasks need."""
    settings = stack.settings
    role = iam.role(stack, "Instances", "ec2.amazonaws.com", [], app_code=False)
    role.ManagedPolicyArns = [
        Sub(f"arn:${{AWS::Partition}}:iam::aws:policy/{name}")
        for name in ("service-role/AmazonEC2ContainerServiceforEC2Role", "AmazonSSMManagedInstanceCore")
    ]
    profile = stack.add(InstanceProfile("InstancesProfile", Roles=[Ref(role)]))
    arch = "arm64/" if settings.functions.architecture == "arm64" else ""
    template = stack.add(
        LaunchTemplate(
            "InstancesTemplate",
            LaunchTemplateData=LaunchTemplateData(
                ImageId=f"{{{{resolve:ssm:{ECS_IMAGE.format(arch=arch)}}}}}",
                InstanceType=settings.servers.instance_type,
                IamInstanceProfile=IamInstanceProfile(Arn=GetAtt(profile, "Arn")),
                MetadataOptions=MetadataOptions(HttpTokens="required", HttpPutResponseHopLimit=2),
                SecurityGroupIds=[GetAtt(members, "GroupId")],
                UserData=_joins(cluster),
            ),
        )
    )
    instances = stack.add(
        AutoScalingGroup(
            "Instances",
            MinSize="0",
            MaxSize=str(settings.servers.count_max * 2),
            VPCZoneIdentifier=network.servers,
            LaunchTemplate=LaunchTemplateSpecification(
                LaunchTemplateId=Ref(template), Version=GetAtt(template, "LatestVersionNumber")
            ),
        )
    )
    provider = stack.add(
        CapacityProvider(
            "InstancesCapacity",
            AutoScalingGroupProvider=AutoScalingGroupProvider(
                AutoScalingGroupArn=Ref(instances),
                ManagedScaling=ManagedScaling(Status="ENABLED", TargetCapacity=100),
                ManagedTerminationProtection="DISABLED",
            ),
        )
    )
    association = stack.add(
        ClusterCapacityProviderAssociations(
            "ClusterCapacity",
            Cluster=Ref(cluster),
            CapacityProviders=[Ref(provider)],
            DefaultCapacityProviderStrategy=[],
        )
    )
    return provider, association


def _joins(cluster: Cluster) -> Any:
    from troposphere import Base64

    return Base64(Sub("#!/bin/sh\necho ECS_CLUSTER=${cluster} >> /etc/ecs/ecs.config\n", cluster=Ref(cluster)))
