"""Any valid settings are a template, or are refused in one sentence; a few of the templates are linted."""

import json
from dataclasses import replace

import pytest
from cfnlint.api import ManualArgs, lint
from deployments import CERTIFICATE, HANDLERS, IMAGE
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from policy_sentry.querying.actions import get_action_data

from peaker.aws_section import AwsSection
from peaker.engines.aws.deployer_actions import ACTIONS, ANY, OF_THE_COMMAND
from peaker.engines.aws.deployment import Deployment, problems_of
from peaker.engines.aws.policies import deployer_policy, functions_policies, servers_policy
from peaker.engines.aws.preview import preview_of
from peaker.engines.aws.template import template_of
from peaker.errors import SettingsError
from peaker.local_aws_section import LocalAwsSection
from peaker.prices import load
from peaker.settings import AppSection, FunctionsSection, ObjectiveSection, RouteSection, ServersSection, Settings

NAMES = st.from_regex(r"[a-z][a-z0-9-]{0,20}[a-z0-9]", fullmatch=True)
AWS = st.builds(
    AwsSection,
    servers=st.sampled_from(["fargate", "ecs", "ec2", "single"]),
    functions=st.sampled_from(["zip", "image"]),
    front=st.sampled_from(["auto", "auto", "alb", "cloudfront", "url", "http-api"]),
    image=st.sampled_from(["", IMAGE]),
    certificate_arn=st.just(CERTIFICATE),
    domain=st.sampled_from(["", "shop.example.com"]),
    snap_start=st.booleans(),
    provisioned=st.integers(0, 5),
    log_retention_days=st.sampled_from([1, 30, 365]),
    alarm_mail=st.sampled_from(["", "ops@example.com"]),
    budget_usd_per_month=st.sampled_from([0.0, 50.0]),
)


@st.composite
def deployments(draw: st.DrawFn) -> Deployment:
    count_min = draw(st.integers(0, 3))
    routes = draw(st.sampled_from([(), (RouteSection(path="/*", placement="functions"),)]))
    made = Settings(
        app=AppSection(name=draw(NAMES), web=draw(st.sampled_from(["", "shop:app"])), spill=draw(st.booleans())),
        objective=ObjectiveSection(spend_usd_per_day_max=draw(st.sampled_from([None, 5.0]))),
        servers=ServersSection(
            count_min=count_min,
            count_max=count_min + draw(st.integers(0, 5)),
            instance_type=draw(st.sampled_from(["t4g.small", "c7g.large", "m7g.xlarge"])),
            keep_alive_s=90,
        ),
        functions=FunctionsSection(
            memory_mb=draw(st.integers(128, 10_240)),
            timeout_s=draw(st.floats(1, 50)),
            concurrency_max=draw(st.integers(1, 1000)),
        ),
        function=draw(st.lists(st.sampled_from(HANDLERS), unique_by=lambda each: each.name).map(tuple)),
        route=routes,
        aws=draw(AWS),
        local_aws=LocalAwsSection(tables={"customers": "id"}),
        env=draw(
            st.dictionaries(
                st.from_regex(r"[A-Z]{1,8}", fullmatch=True),
                st.text(st.characters(min_codepoint=32, max_codepoint=0x2FFF), max_size=20),
                max_size=3,
            )
        ),
        stage=draw(st.sampled_from(["", "prod"])),
        directory="/project",
    )
    return Deployment(settings=made, build="b0123456789abcd")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(deployments())
def test_settings_are_a_template_with_a_preview_and_policies_or_are_refused(made: Deployment) -> None:
    try:
        template = template_of(made)
    except SettingsError:
        return
    assert not problems_of(made)
    document = json.loads(template.to_json())
    assert len(document["Resources"]) <= 500
    ids = [
        each["Properties"]["FunctionName"]
        for each in document["Resources"].values()
        if each["Type"].endswith("::Function")
    ]
    assert len(set(ids)) == len(ids)
    shown = preview_of(made, template, load())
    assert 0 <= shown.least_usd <= shown.most_usd
    for policy in (
        servers_policy(made, "*"),
        deployer_policy(made, document, "*"),
        *functions_policies(made, "*").values(),
    ):
        assert "Fn::" not in json.dumps(policy)
        assert "${" not in json.dumps(policy)
        assert "None" not in json.dumps(policy)


@pytest.mark.long
@settings(max_examples=5, deadline=None, suppress_health_check=list(HealthCheck))
@given(deployments())
def test_such_a_template_lints(made: Deployment) -> None:
    try:
        text = template_of(made).to_json()
    except SettingsError:
        return
    found = lint(text, config=ManualArgs(regions=["us-east-1"], include_checks=["I"]))
    assert [f"{each.rule.id} {each.message}" for each in found] == []


def test_the_deployer_may_do_what_exists_on_what_is_named_where_the_service_can_name_it() -> None:
    for kind, needs in {**ACTIONS, "the command": OF_THE_COMMAND}.items():
        for actions, resources in needs:
            for action in actions:
                service, _, verb = action.partition(":")
                known = [each for each in get_action_data(service, verb)[service] if each["action"] == action]
                assert known, f"{kind}: {action} is no action"
                named = {each["resource_arn_format"] for each in known} - {"*"}
                is_all = resources == (ANY,)
                assert is_all or named, f"{kind}: {action} knows no resource"
                assert not is_all or any(each["resource_arn_format"] == "*" for each in known), f"{kind}: {action}"


def test_new_code_makes_new_versions_and_the_same_code_none() -> None:
    """Lambda refuses a second version of the same; so the build's hash, which other packages change, is not enough."""
    made = Deployment(
        settings=Settings(
            app=AppSection(name="shop", web="shop:app"),
            route=(RouteSection(path="/*", placement="functions"),),
            directory="/p",
        ),
        build="b1",
        package_sha256="a" * 64,
    )

    def versions(of: Deployment) -> set[str]:
        return {name for name, each in template_of(of).resources.items() if each.resource["Type"].endswith("::Version")}

    assert versions(made) == versions(replace(made, build="b2"))
    assert versions(made) != versions(replace(made, package_sha256="b" * 64))
    more = replace(made.settings, functions=replace(made.settings.functions, memory_mb=1024))
    assert versions(made) != versions(replace(made, settings=more))
    fewer = replace(made.settings, functions=replace(made.settings.functions, concurrency_max=5))
    assert versions(made) == versions(replace(made, settings=fewer))
