"""The modules of a project together: which name leads to which module, and which of them a program imports."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from peaker.project.module import Module, imported_names

_NAMES_AT_RUN_TIME = ("importlib.import_module", "werkzeug.utils.import_string", "__import__")


@dataclass(frozen=True, slots=True)
class Code:
    """Modules by path, and by every name they may be imported as (from the directory, or from a folder in it)."""

    modules: dict[str, Module]
    _by_name: dict[str, Module]

    @classmethod
    def of(cls, modules: Iterable[Module]) -> Code:
        """Index them."""
        by_path = {module.path: module for module in modules}
        by_name: dict[str, Module] = {}
        for module in by_path.values():
            for root in import_roots(module.path, by_path):
                by_name.setdefault(name_from(module, root), module)
        return cls(by_path, by_name)

    def find(self, dotted: str) -> tuple[Module, str] | None:
        """The module whose name `dotted` begins with, and what stands behind that name."""
        parts = dotted.split(".")
        for length in range(len(parts), 0, -1):
            module = self._by_name.get(".".join(parts[:length]))
            if module is not None:
                return module, ".".join(parts[length:])
        return None

    def key(self, module: Module, dotted: str) -> tuple[str, str] | None:
        """Path and name of the definition of what `module` sees as `dotted`; None where it is not in the project."""
        found = self.find(dotted)
        if found is None or not found[1]:
            return None
        target, name = found
        first, _, rest = name.partition(".")
        if target is not module and first in target.imports:  # Handed on by an __init__.py.
            again = self.find(target.imports[first])
            if again is not None and again[0] is not target and again[1]:
                return again[0].path, ".".join(filter(None, [again[1], rest]))
        return target.path, name

    def import_root(self, module: Module) -> str:
        """The folder that imports of `module` start in: the one that holds most of what it imports, else ""."""
        wanted = {name.partition(".")[0] for name in imported_names(module)}
        roots = list(import_roots(module.path, self.modules))
        return max(roots, key=lambda root: (sum(self._holds(root, name) for name in wanted), -len(root)))

    def _holds(self, root: str, name: str) -> bool:
        base = f"{root}/{name}" if root else name
        return f"{base}.py" in self.modules or any(path.startswith(f"{base}/") for path in self.modules)

    def reached_from(self, paths: Iterable[str]) -> set[str]:
        """Paths of all modules that these import, directly or not; all there are where names are made at run time."""
        reached: set[str] = set()
        waiting = [path for path in paths if path in self.modules]
        while waiting:
            path = waiting.pop()
            if path in reached:
                continue
            reached.add(path)
            module = self.modules[path]
            if any(name in _NAMES_AT_RUN_TIME for name in module.imports.values()) or "importlib" in module.imports:
                return set(self.modules)
            found = (self.find(name) for name in imported_names(module))
            waiting.extend(one[0].path for one in found if one is not None)
        return reached


def import_roots(path: str, modules: dict[str, Module]) -> Iterable[str]:
    """The directory itself (""), and each folder above `path` from which it could be imported: those of no package."""
    folders = path.split("/")[:-1]
    yield ""
    for length in range(1, len(folders) + 1):
        folder = "/".join(folders[:length])
        if f"{folder}/__init__.py" not in modules:
            yield folder


def name_from(module: Module, root: str) -> str:
    """What `module` is imported as where imports start in `root`."""
    return module.name.removeprefix(f"{root.replace('/', '.')}.") if root else module.name
