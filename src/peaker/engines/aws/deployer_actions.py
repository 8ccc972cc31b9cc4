"""What CloudFormation does on behalf of whoever deploys, by the kind of resource.

Written down from AWS's Service Authorization Reference and the CloudFormation resource pages (2026-10); nobody has
deployed with only these yet. `OWN` stands for the resource's own ARN; `*` where the service knows no narrower one for
making it, or where its name is CloudFormation's to choose.
"""

from __future__ import annotations

OWN = "OWN"
ANY = "*"

_ARN = "arn:${AWS::Partition}"
_HERE = "${AWS::Region}:${AWS::AccountId}"
_FUNCTIONS = f"{_ARN}:lambda:{_HERE}:function:${{AWS::StackName}}-*"
_ROLES = f"{_ARN}:iam::${{AWS::AccountId}}:role/${{AWS::StackName}}-*"
_PROFILES = f"{_ARN}:iam::${{AWS::AccountId}}:instance-profile/${{AWS::StackName}}-*"
_API = f"{_ARN}:apigateway:${{AWS::Region}}::/"

Actions = tuple[tuple[str, ...], tuple[str, ...]]


def _of(service: str, verbs: str, *resources: str) -> Actions:
    return tuple(f"{service}:{verb}" for verb in verbs.split()), resources or (ANY,)


_TAGS = _of("ec2", "CreateTags DeleteTags")
_APIS = _of("apigateway", "GET POST PUT PATCH DELETE", f"{_API}apis", f"{_API}apis/*")
_BALANCERS = _of("elasticloadbalancing", "AddTags RemoveTags DescribeTags")

ACTIONS: dict[str, tuple[Actions, ...]] = {
    "AWS::ApiGatewayV2::Api": (_APIS, _of("apigateway", "PUT POST DELETE", f"{_API}tags/*")),
    "AWS::ApiGatewayV2::ApiMapping": (
        _of("apigateway", "GET POST PUT PATCH DELETE", f"{_API}domainnames/*/apimappings*"),
    ),
    "AWS::ApiGatewayV2::DomainName": (
        _of("apigateway", "GET POST PUT PATCH DELETE", f"{_API}domainnames", f"{_API}domainnames/*"),
    ),
    "AWS::ApiGatewayV2::Integration": (_APIS,),
    "AWS::ApiGatewayV2::Route": (_APIS,),
    "AWS::ApiGatewayV2::Stage": (_APIS,),
    "AWS::AutoScaling::AutoScalingGroup": (
        _of("autoscaling", "DescribeAutoScalingGroups DescribeScalingActivities DescribeScheduledActions"),
        _of(
            "autoscaling",
            "CreateAutoScalingGroup UpdateAutoScalingGroup DeleteAutoScalingGroup CreateOrUpdateTags DeleteTags"
            " SuspendProcesses ResumeProcesses TerminateInstanceInAutoScalingGroup SetDesiredCapacity"
            " AttachLoadBalancerTargetGroups DetachLoadBalancerTargetGroups",
            f"{_ARN}:autoscaling:{_HERE}:autoScalingGroup:*:autoScalingGroupName/${{AWS::StackName}}-*",
        ),
        _of("ec2", "RunInstances DescribeInstances DescribeLaunchTemplateVersions"),
    ),
    "AWS::Budgets::Budget": (
        _of(
            "budgets",
            "ModifyBudget ViewBudget",
            f"{_ARN}:budgets::${{AWS::AccountId}}:budget/${{AWS::StackName}}",
        ),
    ),
    "AWS::CloudFront::Distribution": (
        _of("cloudfront", "CreateDistribution"),
        _of(
            "cloudfront",
            "UpdateDistribution DeleteDistribution GetDistribution GetDistributionConfig"
            " TagResource UntagResource ListTagsForResource",
            f"{_ARN}:cloudfront::${{AWS::AccountId}}:distribution/*",
        ),
    ),
    "AWS::CloudFront::VpcOrigin": (
        _of("cloudfront", "CreateVpcOrigin TagResource"),
        _of(
            "cloudfront",
            "UpdateVpcOrigin DeleteVpcOrigin GetVpcOrigin",
            f"{_ARN}:cloudfront::${{AWS::AccountId}}:vpcorigin/*",
        ),
        _of("ec2", "DescribeInstances DescribeInternetGateways DescribeSubnets DescribeSecurityGroups DescribeVpcs"),
    ),
    "AWS::CloudWatch::Alarm": (
        _of(
            "cloudwatch",
            "PutMetricAlarm DeleteAlarms DescribeAlarms TagResource UntagResource ListTagsForResource",
            f"{_ARN}:cloudwatch:{_HERE}:alarm:${{AWS::StackName}}-*",
        ),
    ),
    "AWS::CloudWatch::Dashboard": (
        _of(
            "cloudwatch",
            "PutDashboard GetDashboard DeleteDashboards",
            f"{_ARN}:cloudwatch::${{AWS::AccountId}}:dashboard/${{AWS::StackName}}",
        ),
    ),
    "AWS::DynamoDB::Table": (
        _of(
            "dynamodb",
            "CreateTable UpdateTable DeleteTable DescribeTable DescribeContinuousBackups UpdateContinuousBackups"
            " DescribeTimeToLive UpdateTimeToLive TagResource UntagResource ListTagsOfResource",
            OWN,
        ),
    ),
    "AWS::EC2::Instance": (
        _of("ec2", "RunInstances TerminateInstances DescribeInstances DescribeInstanceStatus"),
        _of("ec2", "DescribeLaunchTemplateVersions DescribeVolumes ModifyInstanceAttribute"),
        _TAGS,
    ),
    "AWS::EC2::InternetGateway": (
        _of("ec2", "CreateInternetGateway DeleteInternetGateway DescribeInternetGateways"),
        _TAGS,
    ),
    "AWS::EC2::LaunchTemplate": (
        _of("ec2", "CreateLaunchTemplate CreateLaunchTemplateVersion ModifyLaunchTemplate DeleteLaunchTemplate"),
        _of("ec2", "DescribeLaunchTemplates DescribeLaunchTemplateVersions"),
        _of("ssm", "GetParameters", f"{_ARN}:ssm:${{AWS::Region}}::parameter/aws/service/*"),
        _TAGS,
    ),
    "AWS::EC2::Route": (_of("ec2", "CreateRoute ReplaceRoute DeleteRoute DescribeRouteTables"),),
    "AWS::EC2::RouteTable": (_of("ec2", "CreateRouteTable DeleteRouteTable DescribeRouteTables"), _TAGS),
    "AWS::EC2::SecurityGroup": (
        _of("ec2", "CreateSecurityGroup DeleteSecurityGroup DescribeSecurityGroups DescribeSecurityGroupRules"),
        _of("ec2", "AuthorizeSecurityGroupIngress RevokeSecurityGroupIngress AuthorizeSecurityGroupEgress"),
        _of("ec2", "RevokeSecurityGroupEgress DescribeManagedPrefixLists"),
        _TAGS,
    ),
    "AWS::EC2::Subnet": (
        _of("ec2", "CreateSubnet DeleteSubnet DescribeSubnets ModifySubnetAttribute DescribeAvailabilityZones"),
        _TAGS,
    ),
    "AWS::EC2::SubnetRouteTableAssociation": (
        _of("ec2", "AssociateRouteTable DisassociateRouteTable DescribeRouteTables"),
    ),
    "AWS::EC2::VPC": (
        _of("ec2", "CreateVpc DeleteVpc DescribeVpcs ModifyVpcAttribute DescribeVpcAttribute"),
        _of("ec2", "DescribeNetworkAcls DescribeRouteTables DescribeSecurityGroups"),
        _TAGS,
    ),
    "AWS::EC2::VPCGatewayAttachment": (
        _of("ec2", "AttachInternetGateway DetachInternetGateway DescribeInternetGateways"),
    ),
    "AWS::ECS::CapacityProvider": (
        _of(
            "ecs",
            "CreateCapacityProvider UpdateCapacityProvider DeleteCapacityProvider DescribeCapacityProviders"
            " TagResource",
            f"{_ARN}:ecs:{_HERE}:capacity-provider/${{AWS::StackName}}-*",
        ),
        _of("autoscaling", "DescribeAutoScalingGroups"),
    ),
    "AWS::ECS::Cluster": (
        _of("ecs", "CreateCluster"),
        _of(
            "ecs",
            "DeleteCluster DescribeClusters UpdateCluster TagResource UntagResource",
            f"{_ARN}:ecs:{_HERE}:cluster/${{AWS::StackName}}",
        ),
    ),
    "AWS::ECS::ClusterCapacityProviderAssociations": (
        _of(
            "ecs",
            "PutClusterCapacityProviders DescribeClusters",
            f"{_ARN}:ecs:{_HERE}:cluster/${{AWS::StackName}}",
        ),
    ),
    "AWS::ECS::Service": (
        _of(
            "ecs",
            "CreateService UpdateService DeleteService DescribeServices TagResource UntagResource",
            f"{_ARN}:ecs:{_HERE}:service/${{AWS::StackName}}/*",
        ),
    ),
    "AWS::ECS::TaskDefinition": (
        _of("ecs", "RegisterTaskDefinition DeregisterTaskDefinition DescribeTaskDefinition"),
        _of("ecs", "TagResource UntagResource", f"{_ARN}:ecs:{_HERE}:task-definition/${{AWS::StackName}}:*"),
    ),
    "AWS::ElasticLoadBalancingV2::Listener": (
        _of("elasticloadbalancing", "CreateListener ModifyListener DeleteListener DescribeListeners"),
        _of("elasticloadbalancing", "DescribeListenerAttributes ModifyListenerAttributes"),
        _BALANCERS,
    ),
    "AWS::ElasticLoadBalancingV2::LoadBalancer": (
        _of("elasticloadbalancing", "CreateLoadBalancer DeleteLoadBalancer DescribeLoadBalancers"),
        _of("elasticloadbalancing", "DescribeLoadBalancerAttributes ModifyLoadBalancerAttributes"),
        _of("elasticloadbalancing", "SetSecurityGroups SetSubnets SetIpAddressType"),
        _BALANCERS,
    ),
    "AWS::ElasticLoadBalancingV2::TargetGroup": (
        _of("elasticloadbalancing", "CreateTargetGroup ModifyTargetGroup DeleteTargetGroup DescribeTargetGroups"),
        _of("elasticloadbalancing", "DescribeTargetGroupAttributes ModifyTargetGroupAttributes"),
        _of("elasticloadbalancing", "RegisterTargets DeregisterTargets DescribeTargetHealth"),
        _BALANCERS,
    ),
    "AWS::IAM::InstanceProfile": (
        _of(
            "iam",
            "CreateInstanceProfile DeleteInstanceProfile GetInstanceProfile AddRoleToInstanceProfile"
            " RemoveRoleFromInstanceProfile",
            _PROFILES,
        ),
    ),
    "AWS::IAM::Role": (
        _of(
            "iam",
            "CreateRole UpdateRole DeleteRole GetRole PassRole UpdateAssumeRolePolicy PutRolePolicy GetRolePolicy"
            " DeleteRolePolicy ListRolePolicies AttachRolePolicy DetachRolePolicy ListAttachedRolePolicies TagRole"
            " UntagRole",
            _ROLES,
        ),
    ),
    "AWS::Lambda::Alias": (
        _of("lambda", "CreateAlias UpdateAlias DeleteAlias GetAlias", _FUNCTIONS),
        _of(
            "lambda",
            "PutProvisionedConcurrencyConfig GetProvisionedConcurrencyConfig DeleteProvisionedConcurrencyConfig",
            f"{_FUNCTIONS}:*",
        ),
    ),
    "AWS::Lambda::EventInvokeConfig": (
        _of(
            "lambda",
            "PutFunctionEventInvokeConfig UpdateFunctionEventInvokeConfig DeleteFunctionEventInvokeConfig"
            " GetFunctionEventInvokeConfig",
            _FUNCTIONS,
        ),
    ),
    "AWS::Lambda::EventSourceMapping": (
        _of(
            "lambda",
            "CreateEventSourceMapping UpdateEventSourceMapping DeleteEventSourceMapping GetEventSourceMapping"
            " TagResource",
        ),
    ),
    "AWS::Lambda::Function": (
        _of(
            "lambda",
            "CreateFunction UpdateFunctionCode UpdateFunctionConfiguration DeleteFunction GetFunction"
            " GetFunctionConfiguration PutFunctionConcurrency DeleteFunctionConcurrency"
            " GetFunctionCodeSigningConfig GetRuntimeManagementConfig GetFunctionRecursionConfig TagResource"
            " UntagResource ListTags",
            _FUNCTIONS,
        ),
        _of("ec2", "DescribeSecurityGroups DescribeSubnets DescribeVpcs"),
        _of(
            "ecr",
            "BatchGetImage GetDownloadUrlForLayer GetRepositoryPolicy SetRepositoryPolicy",
            f"{_ARN}:ecr:{_HERE}:repository/*",
        ),
    ),
    "AWS::Lambda::Permission": (_of("lambda", "AddPermission RemovePermission GetPolicy", _FUNCTIONS),),
    "AWS::Lambda::Url": (
        _of(
            "lambda",
            "CreateFunctionUrlConfig UpdateFunctionUrlConfig DeleteFunctionUrlConfig GetFunctionUrlConfig",
            _FUNCTIONS,
        ),
    ),
    "AWS::Lambda::Version": (
        _of("lambda", "PublishVersion ListVersionsByFunction GetFunction GetFunctionConfiguration", _FUNCTIONS),
    ),
    "AWS::Logs::LogGroup": (
        _of("logs", "DescribeLogGroups"),
        _of(
            "logs",
            "CreateLogGroup DeleteLogGroup PutRetentionPolicy DeleteRetentionPolicy TagResource UntagResource"
            " ListTagsForResource",
            f"{_ARN}:logs:{_HERE}:log-group:/aws/lambda/${{AWS::StackName}}-*",
            f"{_ARN}:logs:{_HERE}:log-group:/peaker/${{AWS::StackName}}*",
        ),
    ),
    "AWS::S3::Bucket": (
        _of(
            "s3",
            "CreateBucket DeleteBucket PutBucketNotification GetBucketNotification PutEncryptionConfiguration"
            " GetEncryptionConfiguration PutBucketPublicAccessBlock GetBucketPublicAccessBlock PutBucketTagging"
            " GetBucketTagging ListBucket",
            OWN,
        ),
    ),
    "AWS::SNS::Subscription": (
        _of("sns", "Subscribe Unsubscribe GetSubscriptionAttributes SetSubscriptionAttributes"),
    ),
    "AWS::SNS::Topic": (
        _of(
            "sns",
            "CreateTopic DeleteTopic GetTopicAttributes SetTopicAttributes TagResource UntagResource"
            " ListTagsForResource Subscribe ListSubscriptionsByTopic",
            OWN,
        ),
        _of("sns", "Unsubscribe"),
    ),
    "AWS::SQS::Queue": (
        _of(
            "sqs",
            "CreateQueue DeleteQueue GetQueueAttributes SetQueueAttributes GetQueueUrl TagQueue UntagQueue"
            " ListQueueTags",
            OWN,
        ),
    ),
    "AWS::Scheduler::Schedule": (
        _of(
            "scheduler",
            "CreateSchedule UpdateSchedule DeleteSchedule GetSchedule",
            f"{_ARN}:scheduler:{_HERE}:schedule/default/${{AWS::StackName}}-*",
        ),
    ),
}

_CODE = f"{_ARN}:s3:::peaker-${{AWS::AccountId}}-${{AWS::Region}}"

OF_THE_COMMAND: tuple[Actions, ...] = (
    _of(
        "cloudformation",
        "CreateChangeSet DescribeChangeSet ListChangeSets ExecuteChangeSet DeleteChangeSet DescribeStacks"
        " DescribeStackEvents DescribeEvents ListStackResources GetTemplate DeleteStack TagResource",
        f"{_ARN}:cloudformation:{_HERE}:stack/${{AWS::StackName}}/*",
    ),
    _of("lambda", "GetAccountSettings"),
    _of(
        "s3",
        "CreateBucket PutBucketPublicAccessBlock PutEncryptionConfiguration PutBucketPolicy ListBucket"
        " PutBucketOwnershipControls",
        _CODE,
    ),
    _of("s3", "PutObject GetObject", f"{_CODE}/${{AWS::StackName}}/*"),
)
"""What the command itself asks, beside CloudFormation."""
