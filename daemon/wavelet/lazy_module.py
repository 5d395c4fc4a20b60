"""A module that is imported when something of it is first used: for what is slow to import, or seldom needed.

A type checker has to see the import itself, so both stand beside each other:

    if TYPE_CHECKING:
        import yaml
    else:
        yaml = LazyModule("yaml")
"""

from __future__ import annotations

import importlib
from types import ModuleType


class LazyModule(ModuleType):
    """Stands for a module of that name, and has its members."""

    def __getattr__(self, name: str) -> object:
        """Return a member of the module, which is imported for it. Errors are those of the import."""
        return getattr(importlib.import_module(self.__name__), name)
