"""From ``module:object`` or ``file.py:object`` to a policy."""

import importlib
import importlib.util
import inspect
from pathlib import Path
from types import ModuleType
from typing import Final, cast

from sipgram.errors import SettingsError
from sipgram.policy import Policy

HOOKS: Final = ("may_send", "rewrite_target", "on_delivered")


def load(path: str) -> Policy:
    """Return the policy that a setting names; a class is called without arguments.

    Raises:
        SettingsError: it cannot be imported, or is no policy.
    """
    where, _, name = path.rpartition(":")
    if not where or not name.isidentifier():
        raise SettingsError(f"setting policy.path is not MODULE:OBJECT or FILE.py:OBJECT: {path!r}")
    try:
        found = vars(_module(where)).get(name)
        policy = found() if inspect.isclass(found) else found
    except Exception as error:
        what = f"{type(error).__name__}: {error}"
        raise SettingsError(f"setting policy.path: {where} cannot be used: {what}") from error
    if policy is None:
        raise SettingsError(f"setting policy.path: nothing is called {name} in {where}")
    for hook in HOOKS:
        if not inspect.iscoroutinefunction(getattr(policy, hook, None)):
            raise SettingsError(f"setting policy.path: {path} has no async {hook}")
    return cast(Policy, policy)  # Its hooks were looked at, one by one.


def _module(where: str) -> ModuleType:
    if not where.endswith(".py"):
        return importlib.import_module(where)
    file = Path(where)
    spec = importlib.util.spec_from_file_location(file.stem, file)
    if spec is None or spec.loader is None:
        raise ImportError(f"no Python file: {where}")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
