"""Types that troposphere 4.11 has with another's properties: two of one name stand in one service's specification."""

from __future__ import annotations

from troposphere import awslambda


class LoggingConfig(awslambda.LoggingConfig):  # type: ignore[misc]  # it is not typed
    """AWS::Lambda::Function LoggingConfig."""

    props = awslambda.LoggingConfig.props | {"LogFormat": (str, False)}


class ScalingConfig(awslambda.ScalingConfig):  # type: ignore[misc]  # it is not typed
    """AWS::Lambda::EventSourceMapping ScalingConfig."""

    props = {"MaximumConcurrency": (int, False)}  # noqa: RUF012 - troposphere's way
