"""Layers as folders: what Lambda extracts to /opt is found in the folders themselves.

Lambda extracts the layers of a function over each other, so a file of a later layer replaces that of an earlier one.
Here the folders stay where they are and are searched one after another, the last first. So a Python package or a
program of the last layer wins as a whole; a package whose files are spread over two layers is not joined, unless it is
a namespace package. The code sees the folders' own paths (`PEAKER_LAYERS`, the last first), not /opt.

Which folders of a layer are searched, and in which order with the code's own: AWS Lambda Developer Guide, "Packaging
your layer content" and "Defined runtime environment variables".
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from peaker.app import FunctionSpec
from peaker.errors import SettingsError


def check_layers(spec: FunctionSpec) -> None:
    """Refuse a layer that is no folder.

    Raises:
        SettingsError: names function and folder.
    """
    for layer in spec.layers:
        if not Path(layer).is_dir():
            what = "is not a folder" if Path(layer).exists() else "is not there"
            raise SettingsError(
                f"the layer {layer} of function {spec.name} {what}.",
                where="layers",
                remedy="A layer is a folder that holds python/, bin/ or lib/, as it would be zipped for Lambda.",
            )


def python_folders(layers: Sequence[str]) -> list[str]:
    """Where imports look, the first first: site-packages of this Python version before python/, as on Lambda."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    names = (f"python/lib/{version}/site-packages", "python")
    return _existing(layers, names)


def layer_variables(layers: Sequence[str], variables: Mapping[str, str]) -> dict[str, str]:
    """The variables among `variables` that layers change, with their folders put in.

    Modules of a layer come before installed ones, programs and libraries of a layer after those of the system.
    """
    if not layers:
        return {}
    changed = {
        "PYTHONPATH": [*python_folders(layers), variables.get("PYTHONPATH", "")],
        "NODE_PATH": [*_existing(layers, ("nodejs/node_modules",)), variables.get("NODE_PATH", "")],
        "PATH": [variables.get("PATH", os.defpath), *_existing(layers, ("bin",))],
        "LD_LIBRARY_PATH": [variables.get("LD_LIBRARY_PATH", ""), *_existing(layers, ("lib",))],
        "PEAKER_LAYERS": list(reversed(layers)),
    }
    return {name: joined for name, parts in changed.items() if (joined := os.pathsep.join(filter(None, parts)))}


def _existing(layers: Sequence[str], names: Iterable[str]) -> list[str]:
    names = tuple(names)
    return [str(path) for layer in reversed(layers) for name in names if (path := Path(layer, name)).is_dir()]
