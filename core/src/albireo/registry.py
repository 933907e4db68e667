"""What is installed: every stage that a distribution offers, by role and name.

Plugins are the entry points of the group ``albireo``. Each is loaded by itself: one that cannot be imported, or that
offers something unusable, is remembered with the reason and troubles nobody who does not ask for it. Albireo's own
stages come in by the same door.
"""

from __future__ import annotations

import difflib
import inspect
import platform
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib import metadata
from types import ModuleType
from typing import Any

import pluggy

from albireo import hookspecs
from albireo.roles import ROLES, Stage

__all__ = ["Broken", "Entry", "Provider", "Registry", "RegistryError"]

GROUP = "albireo"


class RegistryError(Exception):
    """A stage that was asked for is not there, or cannot be used. The message says what to do."""


@dataclass(frozen=True, slots=True)
class Provider:
    """Where something comes from: a distribution, its version, and the entry point in it."""

    distribution: str
    version: str
    entry_point: str

    def __str__(self) -> str:
        return f"{self.distribution} {self.version}"


@dataclass(frozen=True, slots=True)
class Entry:
    """A usable stage."""

    role: str
    name: str
    cls: type[Stage]
    provider: Provider


@dataclass(frozen=True, slots=True)
class Broken:
    """Something a plugin offers that cannot be used, and why.

    Role and name are empty where the whole plugin is meant.
    """

    provider: Provider
    reason: str
    role: str = ""
    name: str = ""


class Registry:
    """The stages that can be used, and the plugins that cannot.

    Attributes
    ----------
    broken : list of Broken
    manager : pluggy.PluginManager
        Calls the event hooks.
    """

    def __init__(self) -> None:
        self.manager = pluggy.PluginManager("albireo")
        self.manager.add_hookspecs(hookspecs.Providers)
        self.manager.add_hookspecs(hookspecs.Events)
        self.broken: list[Broken] = []
        self._entries: dict[tuple[str, str], Entry] = {}
        self._providers: list[Provider] = []

    @classmethod
    @lru_cache(maxsize=1)
    def discover(cls) -> Registry:
        """Load every installed plugin; the result is kept for the life of the process."""
        registry = cls()
        # A distribution that is on the path twice is the first one found, as for imports.
        found: dict[str, tuple[metadata.EntryPoint, Provider]] = {}
        for entry_point in metadata.entry_points(group=GROUP):
            provider = _provider(entry_point)
            found.setdefault(f"{provider.distribution}:{provider.entry_point}", (entry_point, provider))
        for entry_point, provider in sorted(
            found.values(), key=lambda pair: (pair[1].distribution, pair[1].entry_point)
        ):
            try:
                plugin = entry_point.load()
            except (Exception, SystemExit) as error:  # a stranger's import may raise anything; the reason is kept
                registry.broken.append(Broken(provider, f"its import fails: {type(error).__name__}: {error}"))
                continue
            registry.add(plugin, provider)
        return registry

    def add(self, plugin: ModuleType | Any, provider: Provider | None = None) -> None:
        """Add what one plugin offers; what is unusable in it is put on `broken`.

        Parameters
        ----------
        plugin : module or object
            Has functions marked with ``hookimpl``.
        provider : Provider, optional
            Where it comes from; the name of the module if left out.
        """
        if self.manager.is_registered(plugin):
            return  # two entry points name the same module
        name = getattr(plugin, "__name__", type(plugin).__name__)
        provider = provider or Provider(name, "unknown", name)
        try:
            self.manager.register(plugin)
            self.manager.check_pending()
        except (pluggy.PluginValidationError, ValueError) as error:
            if self.manager.is_registered(plugin):
                self.manager.unregister(plugin)
            self.broken.append(Broken(provider, _hook_problem(error)))
            return
        self._providers.append(provider)
        for role in ROLES.values():
            caller = getattr(self.manager.hook, role.hook)
            for implementation in caller.get_hookimpls():
                if implementation.plugin is not plugin:
                    continue
                try:
                    offered: Iterable[Any] = list(implementation.function())
                except Exception as error:
                    self.broken.append(
                        Broken(provider, f"its hook {role.hook}() fails: {type(error).__name__}: {error}", role.name)
                    )
                    continue
                for cls in offered:
                    self._offer(role.name, cls, provider)

    def _offer(self, role: str, cls: Any, provider: Provider) -> None:
        base = ROLES[role].base
        name = getattr(cls, "name", "") or getattr(cls, "__name__", repr(cls))
        problems = list(_faults(cls, base, role))
        if problems:
            self.broken.append(Broken(provider, "; ".join(problems), role, name))
            return
        other = self._entries.get((role, name))
        if other is not None and other.cls is not cls:
            reason = (
                f"the name {name!r} of a {role} is taken twice: by {other.provider} ({other.cls.__qualname__}) and by "
                f"{provider} ({cls.__qualname__}); uninstall one of them"
            )
            del self._entries[role, name]
            self.broken += [Broken(other.provider, reason, role, name), Broken(provider, reason, role, name)]
            return
        if any(b.role == role and b.name == name and "taken twice" in b.reason for b in self.broken):
            self.broken.append(Broken(provider, f"the name {name!r} of a {role} is taken more than twice", role, name))
            return
        self._entries[role, name] = Entry(role, name, cls, provider)

    def entries(self, role: str | None = None) -> list[Entry]:
        """Stages of one role, or all, by name."""
        chosen = [e for e in self._entries.values() if role is None or e.role == role]
        order = list(ROLES)
        return sorted(chosen, key=lambda e: (order.index(e.role), e.name))

    def get(self, role: str, name: str) -> Entry:
        """Find a stage.

        Raises
        ------
        RegistryError
            With the nearest name, the distribution to install, or why the plugin that offers it cannot be used.
        """
        entry = self._entries.get((role, name))
        if entry is not None:
            return entry
        raise RegistryError(self._why_not(role, name))

    def _why_not(self, role: str, name: str) -> str:
        for broken in self.broken:
            if broken.role == role and broken.name == name:
                return f"the {role} {name!r} of {broken.provider} cannot be used: {broken.reason}"
        whole = [b for b in self.broken if not b.name and _plain(name) in (_plain(b.provider.entry_point), _tail(b))]
        if whole:
            return f"the plugin {whole[0].provider} cannot be used: {whole[0].reason}"
        names = [e.name for e in self.entries(role)]
        near = difflib.get_close_matches(name, names, 1, 0.6)
        if near:
            return f"there is no {role} {name!r}; did you mean {near[0]!r}?"
        text = f"there is no {role} {name!r}; installed: {', '.join(names) or 'none'}"
        text += f"; if a package provides it, install it, for example: python -m pip install albireo-{name}"
        suspects = [str(b.provider) for b in self.broken if not b.name]
        if suspects:
            text += f" (plugins that could not be loaded: {', '.join(suspects)}; see 'albireo plugins')"
        return text

    def provider_of(self, stage: Stage | type[Stage]) -> Provider | None:
        """Tell which distribution a stage comes from; None for one made in a script."""
        cls = stage if isinstance(stage, type) else type(stage)
        return next((e.provider for e in self._entries.values() if e.cls is cls), None)

    def versions(self) -> dict[str, str]:
        """Version of every distribution that provides stages, of Python, and of numpy, which the numbers rest on."""
        versions = {provider.distribution: provider.version for provider in self._providers}
        for name in ("numpy", "astropy"):
            versions[name] = metadata.version(name)
        return {**versions, "python": platform.python_version()}

    def providers(self) -> Iterator[Provider]:
        """Every plugin that could be loaded."""
        return iter(self._providers)


def _provider(entry_point: metadata.EntryPoint) -> Provider:
    """Tell which distribution an entry point belongs to, as far as its metadata are in order."""
    try:
        assert entry_point.dist is not None
        name, version = entry_point.dist.name, entry_point.dist.version
    except Exception:  # an installation that was interrupted leaves a folder without metadata
        name = version = ""
    return Provider(name or "unknown", version or "unknown", entry_point.name)


def _hook_problem(error: Exception) -> str:
    """Say what pluggy found wrong with the hooks of a plugin."""
    text = " ".join(str(error).split())
    unknown = re.search(r"unknown hook '(\w+)'", text)
    if unknown is None:
        return text
    hooks = [name for specs in (hookspecs.Providers, hookspecs.Events) for name in vars(specs) if name[0] != "_"]
    near = difflib.get_close_matches(unknown[1], hooks, 1)
    advice = f"did you mean {near[0]!r}?" if near else f"hooks are {', '.join(hooks)}"
    return f"there is no hook {unknown[1]!r}; {advice}"


def _plain(name: str) -> str:
    return name.lower().replace("_", "-")


def _tail(broken: Broken) -> str:
    return _plain(broken.provider.distribution).removeprefix("albireo-")


def _faults(cls: Any, base: type[Stage], role: str) -> Iterator[str]:
    if not (isinstance(cls, type) and issubclass(cls, base)):
        yield f"{cls!r} is not a class derived from albireo.{base.__name__}, which a {role} must be"
        return
    if not (cls.__doc__ or "").strip() or cls.__doc__ == base.__doc__:
        yield f"{cls.__qualname__} has no docstring"
    if inspect.isabstract(cls):
        missing = ", ".join(sorted(cls.__abstractmethods__))
        yield f"{cls.__qualname__} does not define {missing}"
    silent = [name for name, option in cls.model_fields.items() if not option.description]
    if silent:
        yield f"{cls.__qualname__} has options without a description: {', '.join(silent)}"
