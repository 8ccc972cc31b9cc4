"""The text of a SAM or CloudFormation template as plain values; what the deployment decides is an Intrinsic."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from peaker.errors import PeakerError
from peaker.extras import require_extra

ALIASES_MAX = 100
"""Nested aliases grow without bound when they are merged; a template written by people has few."""


class TemplateError(PeakerError):
    """The template cannot be read."""


@dataclass(frozen=True, slots=True)
class Intrinsic:
    """A function of CloudFormation's, as it is written: `!Ref Table`."""

    text: str


def template_document(name: str, text: str) -> dict[str, Any]:
    """The template.

    Raises:
        TemplateError: it is no JSON, no YAML, or no table.
        MissingExtraError: it is YAML, and PyYAML is not installed.
    """
    try:
        document = _as_intrinsics(json.loads(text)) if name.endswith(".json") else _yaml(name, text)
    except (ValueError, RecursionError) as error:
        raise TemplateError(f"it cannot be read: {type(error).__name__}.", where=name) from error
    if not isinstance(document, dict):
        raise TemplateError("it holds no table.", where=name)
    return document


def _as_intrinsics(value: Any) -> Any:
    if isinstance(value, dict):
        if _is_intrinsic(value):
            name, argument = next(iter(value.items()))
            return Intrinsic(f"{name}: {argument if isinstance(argument, str) else '...'}")
        return {key: _as_intrinsics(inner) for key, inner in value.items()}
    return [_as_intrinsics(inner) for inner in value] if isinstance(value, list) else value


def _is_intrinsic(value: dict[str, Any]) -> bool:
    name = str(next(iter(value))) if len(value) == 1 else ""
    return name == "Ref" or name.startswith("Fn::")


def _yaml(name: str, text: str) -> Any:
    require_extra("sam", purpose=f"reading {name}")
    import yaml

    class Loader(yaml.SafeLoader):  # type: ignore[misc]  # it has no types
        """Plain values only; every tag of CloudFormation's becomes an Intrinsic."""

        aliases = 0

        def compose_node(self, parent: Any, index: Any) -> Any:
            if self.check_event(yaml.AliasEvent):
                self.aliases += 1
                if self.aliases > ALIASES_MAX:
                    raise TemplateError(f"it has more than {ALIASES_MAX} aliases.", where=name)
            return super().compose_node(parent, index)

    def intrinsic(_loader: Any, suffix: str, node: Any) -> Intrinsic:
        written = node.value if isinstance(node, yaml.ScalarNode) else "..."
        return Intrinsic(f"!{suffix} {written}")

    Loader.add_multi_constructor("!", intrinsic)
    try:
        return _as_intrinsics(yaml.load(text, Loader))  # noqa: S506 - it is a SafeLoader
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise TemplateError(f"it is not YAML: {error.problem}.", where=f"{name}:{line}") from error
    except yaml.YAMLError as error:
        raise TemplateError("it is not YAML.", where=name) from error
