"""Servers as EC2 instances: a group behind the load balancer, or one instance behind CloudFront.

Nobody can log in but through Systems Manager, metadata needs a token, and patches come as new instances: the image is
the newest of Amazon Linux at each update of the stack, and an update replaces instances one after the other.
"""

from __future__ import annotations

from typing import Any

from troposphere import GetAtt, Ref, Sub
from troposphere.autoscaling import AutoScalingGroup, LaunchTemplateSpecification
from troposphere.cloudfront import (
    DefaultCacheBehavior,
    Distribution,
    DistributionConfig,
    Origin,
    ViewerCertificate,
    VpcOrigin,
    VpcOriginConfig,
    VpcOriginEndpointConfig,
)
from troposphere.ec2 import (
    EBSBlockDevice,
    IamInstanceProfile,
    Instance,
    LaunchTemplate,
    LaunchTemplateBlockDeviceMapping,
    LaunchTemplateData,
    MetadataOptions,
)
from troposphere.ec2 import LaunchTemplateSpecification as InstanceTemplate
from troposphere.iam import InstanceProfile
from troposphere.policies import AutoScalingRollingUpdate, CreationPolicy, ResourceSignal, UpdatePolicy

from peaker.engines.aws import iam
from peaker.engines.aws.first_start import first_start
from peaker.engines.aws.image import OPS_PORT
from peaker.engines.aws.load_balancer import Balanced
from peaker.engines.aws.network import Network, group, lets_in
from peaker.engines.aws.servers_ecs import server_statements
from peaker.engines.aws.stack import Stack, arn

SYSTEM_IMAGE = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-{arch}"
DISK_GB = 16

CACHING_DISABLED = "4135ea2d-6df8-44a3-9df3-4b5a84be39ad"
ALL_VIEWER_EXCEPT_HOST = "b689b0a8-53d0-40ab-baf2-68738e2966ac"
"""CloudFront's managed policies (Amazon CloudFront Developer Guide, "Use managed cache policies", "... origin request
policies")."""

FROM_CLOUDFRONT = "com.amazonaws.global.cloudfront.origin-facing"


def add_ec2_servers(stack: Stack, network: Network, balanced: Balanced) -> AutoScalingGroup:
    """A group of instances; how many there are is control's, between the bounds of the settings."""
    settings = stack.settings
    members = group(
        stack,
        network,
        "Servers",
        "servers, from the load balancer alone",
        [lets_in(port, SourceSecurityGroupId=balanced.group) for port in (stack.deployment.port, OPS_PORT)],
    )
    template = _launch_template(stack, [GetAtt(members, "GroupId"), *network.joined], signals="Servers")
    return stack.add(
        AutoScalingGroup(
            "Servers",
            MinSize=str(settings.servers.count_min),
            MaxSize=str(settings.servers.count_max),
            VPCZoneIdentifier=network.servers,
            TargetGroupARNs=[Ref(balanced.servers)],
            HealthCheckType="ELB",
            HealthCheckGracePeriod=int(settings.servers.start_s_max) + 120,
            LaunchTemplate=LaunchTemplateSpecification(
                LaunchTemplateId=Ref(template), Version=GetAtt(template, "LatestVersionNumber")
            ),
            UpdatePolicy=UpdatePolicy(
                AutoScalingRollingUpdate=AutoScalingRollingUpdate(
                    # Where there may be no more than there are, one has to go before its successor comes.
                    MinInstancesInService=str(min(max(1, settings.servers.count_min), settings.servers.count_max - 1)),
                    MaxBatchSize="1",
                    PauseTime="PT10M",
                    WaitOnResourceSignals=True,
                )
            ),
            DependsOn=balanced.listener.title,
        )
    )


def add_single_server(stack: Stack, network: Network) -> Distribution:
    """One instance that CloudFront alone may reach; TLS ends there, and the rest of the way is within AWS's network."""
    prefix = stack.parameter(
        "CloudFrontPrefixList",
        f"Id of the prefix list {FROM_CLOUDFRONT} in this region (aws ec2 describe-managed-prefix-lists)",
        AllowedPattern="pl-[0-9a-f]+",
    )
    members = group(
        stack,
        network,
        "Servers",
        "the server, from CloudFront alone",
        [lets_in(stack.deployment.port, SourcePrefixListId=prefix)],
    )
    template = _launch_template(stack, [GetAtt(members, "GroupId"), *network.joined], signals="Server")
    server = stack.add(
        Instance(
            "Server",
            SubnetId=network.public[0],
            LaunchTemplate=InstanceTemplate(
                LaunchTemplateId=Ref(template), Version=GetAtt(template, "LatestVersionNumber")
            ),
            CreationPolicy=CreationPolicy(ResourceSignal=ResourceSignal(Count=1, Timeout="PT15M")),
            **({"DependsOn": list(network.depends_on)} if network.depends_on else {}),
        )
    )
    aws = stack.settings.aws
    origin = stack.add(
        VpcOrigin(
            "Origin",
            VpcOriginEndpointConfig=VpcOriginEndpointConfig(
                Arn=arn("ec2", "instance/${Server}"),
                Name=stack.deployment.name,
                HTTPPort=stack.deployment.port,
                OriginProtocolPolicy="http-only",
            ),
        )
    )
    distribution = stack.add(
        Distribution(
            "Distribution",
            DistributionConfig=DistributionConfig(
                Enabled=True,
                Comment=stack.deployment.name,
                HttpVersion="http2and3",
                Origins=[
                    Origin(
                        Id="server",
                        DomainName=GetAtt(server, "PrivateDnsName"),
                        VpcOriginConfig=VpcOriginConfig(
                            VpcOriginId=GetAtt(origin, "Id"), OriginReadTimeout=60, OriginKeepaliveTimeout=60
                        ),
                    )
                ],
                DefaultCacheBehavior=DefaultCacheBehavior(
                    TargetOriginId="server",
                    ViewerProtocolPolicy="redirect-to-https",
                    AllowedMethods=["GET", "HEAD", "OPTIONS", "PUT", "PATCH", "POST", "DELETE"],
                    CachePolicyId=CACHING_DISABLED,
                    OriginRequestPolicyId=ALL_VIEWER_EXCEPT_HOST,
                    Compress=True,
                ),
                **_own_name(aws.domain, aws.certificate_arn),
            ),
        )
    )
    stack.output("Address", GetAtt(distribution, "DomainName"), "Where the app is served, over TLS")
    return distribution


def _own_name(domain: str, certificate_arn: str) -> dict[str, Any]:
    if not domain:
        return {}
    certificate = ViewerCertificate(
        AcmCertificateArn=certificate_arn, SslSupportMethod="sni-only", MinimumProtocolVersion="TLSv1.2_2021"
    )
    return {"Aliases": [domain], "ViewerCertificate": certificate}


def _launch_template(stack: Stack, groups: list[Any], *, signals: str) -> LaunchTemplate:
    settings = stack.settings
    group_name = f"/peaker/{stack.deployment.name}"
    stack.log_group("ServersLogs", group_name)
    role = iam.role(
        stack,
        "Servers",
        "ec2.amazonaws.com",
        [
            *server_statements(stack),
            *iam.may_read_secrets(settings),
            iam.may_write_logs(group_name),
            iam.allow("ecr:GetAuthorizationToken", "*"),
            iam.allow(
                ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer", "ecr:BatchCheckLayerAvailability"],
                arn("ecr", "repository/*"),
            ),
            iam.allow("cloudformation:SignalResource", arn("cloudformation", "stack/${AWS::StackName}/*")),
        ],
    )
    # Systems Manager instead of SSH: its sessions need no open port and are logged.
    managed = Sub("arn:${AWS::Partition}:iam::aws:policy/AmazonSSMManagedInstanceCore")
    role.ManagedPolicyArns = [*settings.aws.policy_arns, managed]
    profile = stack.add(InstanceProfile("ServersProfile", Roles=[Ref(role)]))
    architecture = settings.functions.architecture
    return stack.add(
        LaunchTemplate(
            "ServersTemplate",
            LaunchTemplateData=LaunchTemplateData(
                ImageId=f"{{{{resolve:ssm:{SYSTEM_IMAGE.format(arch=architecture)}}}}}",
                InstanceType=settings.servers.instance_type,
                IamInstanceProfile=IamInstanceProfile(Arn=GetAtt(profile, "Arn")),
                MetadataOptions=MetadataOptions(HttpTokens="required", HttpPutResponseHopLimit=2),
                SecurityGroupIds=groups,
                BlockDeviceMappings=[
                    LaunchTemplateBlockDeviceMapping(
                        DeviceName="/dev/xvda",
                        Ebs=EBSBlockDevice(
                            Encrypted=True, VolumeType="gp3", VolumeSize=DISK_GB, DeleteOnTermination=True
                        ),
                    )
                ],
                UserData=first_start(stack, group_name, signals),
            ),
        )
    )
