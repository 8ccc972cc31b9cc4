"""Who is told when: alarms on errors, throttles, dead letters, saturation and spend, and a dashboard of the same."""

from __future__ import annotations

import json
from typing import Any

from troposphere import GetAtt, Ref, Sub
from troposphere.budgets import Budget, BudgetData, Notification, NotificationWithSubscribers, Spend, Subscriber
from troposphere.cloudwatch import Alarm, Dashboard, MetricDimension
from troposphere.sns import Subscription, Topic
from troposphere.sqs import Queue

from peaker.engines.aws.deployment import ServersOn
from peaker.engines.aws.stack import Stack, logical

PERIOD_S = 60
WIDTH, HEIGHT = 12, 6


def add_watching(stack: Stack) -> None:
    """Alarms for all that is in the template so far, and the dashboard."""
    told = _add_topic(stack)
    for spec in stack.deployment.functions:
        function = logical(spec.name)
        for metric, about in (("Errors", "runs that failed"), ("Throttles", "invocations turned away")):
            _alarm(
                stack,
                f"{spec.name} {metric}",
                about,
                told,
                Namespace="AWS/Lambda",
                MetricName=metric,
                Dimensions=[MetricDimension(Name="FunctionName", Value=Ref(function))],
            )
    if "Control" in stack.template.resources:
        _alarm(
            stack,
            "Control Errors",
            "the number of servers is not decided: see the log of the function",
            told,
            Namespace="AWS/Lambda",
            MetricName="Errors",
            Dimensions=[MetricDimension(Name="FunctionName", Value=Ref("Control"))],
            EvaluationPeriods=5,
        )
    for name, resource in sorted(stack.template.resources.items()):
        if isinstance(resource, Queue) and "Dead" in name:
            _alarm(
                stack,
                f"{name} Waiting",
                "events that were given up on wait for a person",
                told,
                Namespace="AWS/SQS",
                MetricName="ApproximateNumberOfMessagesVisible",
                Dimensions=[MetricDimension(Name="QueueName", Value=GetAtt(name, "QueueName"))],
                Statistic="Maximum",
            )
    if "LoadBalancer" in stack.template.resources:
        _alarm_on_balancer(stack, told)
    _add_budget(stack)
    _add_dashboard(stack)


def _add_topic(stack: Stack) -> list[Any]:
    mail = stack.settings.aws.alarm_mail
    if not mail:
        return []
    topic = stack.add(Topic("Alarms", Subscription=[Subscription(Protocol="email", Endpoint=mail)]))
    return [Ref(topic)]


def _alarm(stack: Stack, name: str, about: str, told: list[Any], **metric: Any) -> None:
    stack.add(
        Alarm(
            logical(name, "Alarm"),
            AlarmDescription=f"{stack.deployment.name}: {about}",
            AlarmActions=told,
            OKActions=told,
            ComparisonOperator="GreaterThanThreshold",
            Period=PERIOD_S,
            TreatMissingData="notBreaching",
            **{"Statistic": "Sum", "Threshold": 0, "EvaluationPeriods": 1, **metric},
        )
    )


def _alarm_on_balancer(stack: Stack, told: list[Any]) -> None:
    dimensions = [MetricDimension(Name="LoadBalancer", Value=GetAtt("LoadBalancer", "LoadBalancerFullName"))]
    seconds = stack.settings.objective.latency_p95_ms / 1000
    common = {"Namespace": "AWS/ApplicationELB", "Dimensions": dimensions}
    refused = {"MetricName": "HTTPCode_Target_5XX_Count", "Threshold": 10}
    _alarm(stack, "Refused", "requests that were refused or failed", told, **common, **refused)
    stack.add(
        Alarm(
            "SlowAlarm",
            AlarmDescription=f"{stack.deployment.name}: the objective of {seconds:g} s at p95 is missed: saturation",
            AlarmActions=told,
            OKActions=told,
            ComparisonOperator="GreaterThanThreshold",
            Threshold=seconds,
            EvaluationPeriods=5,
            Period=PERIOD_S,
            ExtendedStatistic="p95",
            MetricName="TargetResponseTime",
            TreatMissingData="notBreaching",
            **common,
        )
    )


def _add_budget(stack: Stack) -> None:
    usd, mail = stack.settings.aws.budget_usd_per_month, stack.settings.aws.alarm_mail
    if not usd or not mail:
        return
    stack.add(
        Budget(
            "Budget",
            Budget=BudgetData(
                BudgetName=stack.deployment.name,
                BudgetType="COST",
                TimeUnit="MONTHLY",
                BudgetLimit=Spend(Amount=usd, Unit="USD"),
            ),
            NotificationsWithSubscribers=[
                NotificationWithSubscribers(
                    Notification=Notification(
                        ComparisonOperator="GREATER_THAN",
                        NotificationType="FORECASTED",
                        Threshold=100,
                        ThresholdType="PERCENTAGE",
                    ),
                    Subscribers=[Subscriber(SubscriptionType="EMAIL", Address=mail)],
                )
            ],
        )
    )


def _add_dashboard(stack: Stack) -> None:
    deployment = stack.deployment
    names = [deployment.function_name(spec) for spec in deployment.functions]
    widgets = []
    if names:
        widgets += [
            _widget("Invocations", [["AWS/Lambda", "Invocations", "FunctionName", name] for name in names], "Sum"),
            _widget("Duration, p95", [["AWS/Lambda", "Duration", "FunctionName", name] for name in names], "p95"),
            _widget(
                "Instances",
                [["AWS/Lambda", "ConcurrentExecutions", "FunctionName", name] for name in names],
                "Maximum",
            ),
            _widget("Errors", [["AWS/Lambda", "Errors", "FunctionName", name] for name in names], "Sum"),
        ]
    if "LoadBalancer" in stack.template.resources:
        balancer = "${LoadBalancer.LoadBalancerFullName}"
        for metric, statistic in (("RequestCount", "Sum"), ("TargetResponseTime", "p95")):
            widgets.append(_widget(metric, [["AWS/ApplicationELB", metric, "LoadBalancer", balancer]], statistic))
    if deployment.servers_on in (ServersOn.FARGATE, ServersOn.ECS):
        of = ["ServiceName", deployment.name, "ClusterName", deployment.name]
        widgets.append(_widget("CPU of servers", [["AWS/ECS", "CPUUtilization", *of]], "Average"))
    if not widgets:
        return
    for number, widget in enumerate(widgets):
        widget |= {"x": number % 2 * WIDTH, "y": number // 2 * HEIGHT}
    body = json.dumps({"widgets": widgets})
    stack.add(Dashboard("Dashboard", DashboardName=deployment.name, DashboardBody=Sub(body)))


def _widget(title: str, metrics: list[list[str]], statistic: str) -> dict[str, Any]:
    return {
        "type": "metric",
        "width": WIDTH,
        "height": HEIGHT,
        "properties": {
            "title": title,
            "metrics": metrics,
            "stat": statistic,
            "period": PERIOD_S,
            "region": "${AWS::Region}",
        },
    }
