"""A pipeline's configuration files become one frozen :class:`Project`, or one error that lists all faults.

Nothing here starts a JVM or imports Spark: a wrong configuration fails in less than a second.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from featurelib.config_checks import check_all
from featurelib.config_draft import Draft, drafted
from featurelib.config_encryption_checks import check_encryption, check_reveals
from featurelib.config_layers import Place, is_secret_key, read_layers, refuse_secrets, resolved
from featurelib.config_tree import Problem, Scalar, dotted, leaves
from featurelib.errors import ConfigError, nearest
from featurelib.references import SECRET, secret_behind
from featurelib.specs import Predictions, Project, RunSettings, Spec

__all__ = [
    "ConfigErrors",
    "Problem",
    "Setting",
    "explain_config",
    "load_project",
    "render_settings",
    "resolve_secret",
    "secret_base",
    "spec_hash",
]

# Addresses that name their store (s3a://, dbfs:/), and the words by which MLflow knows Databricks.
_COMPLETE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:|databricks(-uc)?$")


class ConfigErrors(ConfigError):  # noqa: N818 - the plural is its point: all faults of one load
    """Everything found wrong in one load; ``problems`` keeps the parts."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        count = "1 problem" if len(self.problems) == 1 else f"{len(self.problems)} problems"
        super().__init__("\n".join([f"{count} in the configuration", *map(str, self.problems)]))

    def __reduce__(self) -> tuple[type[ConfigErrors], tuple[tuple[Problem, ...]]]:
        return type(self), (self.problems,)


@dataclass(frozen=True, slots=True)
class Setting:
    """One value of the configuration as it is in force, and where it was given."""

    key: str
    value: Scalar
    origin: str


def load_project(
    folder: str | Path,
    *,
    env: str = "local",
    overrides: Sequence[str] = (),
    environ: Mapping[str, str] | None = None,
) -> Project:
    """Return the project of a pipeline folder, everything in it checked.

    Args:
        folder: the pipeline's folder, as ``conf/flights``; ``base.yaml`` and ``env/`` lie beside it.
        env: which of ``env/*.yaml`` is in force.
        overrides: ``key=value`` texts that win over everything, as given with ``-c``.
        environ: the environment; absent means this process's own.

    Raises:
        ConfigErrors: anything is wrong; all of it is listed, each with file, line and key.
    """
    place = _place(folder, env)
    environ = os.environ if environ is None else environ
    problems: list[Problem] = []
    tree = read_layers(place, overrides, environ, problems)
    if tree is None:
        raise ConfigErrors(_distinct(problems))
    tree = resolved(tree, place, environ, problems)
    refuse_secrets(tree, problems)
    draft = drafted(tree, place, problems)
    check_all(draft)
    check_encryption(draft)
    if problems:
        raise ConfigErrors(_distinct(problems))
    project = _project(draft, str(folder))
    check_reveals(draft, project)
    if problems:
        raise ConfigErrors(_distinct(problems))
    return project


def explain_config(
    folder: str | Path,
    env: str = "local",
    overrides: Sequence[str] = (),
    environ: Mapping[str, str] | None = None,
) -> list[Setting]:
    """Return every value in force, sorted by key, with where it was given; faults come as values too.

    A value that cannot be resolved is shown as it is written. Secrets are shown as their reference, and as
    ``***`` where one is written out against the rules.

    Raises:
        ConfigErrors: the folder or the environment does not exist.
    """
    place = _place(folder, env)
    environ = os.environ if environ is None else environ
    problems: list[Problem] = []
    tree = read_layers(place, overrides, environ, problems)
    settings: list[Setting] = []
    if tree is not None:
        hidden = {problem.path for problem in problems if "(not shown)" in problem.given}
        tree = resolved(tree, place, environ, problems)
        refuse_secrets(tree, problems)
        hidden |= {problem.path for problem in problems if "(not shown)" in problem.given}
        for path, node in leaves(tree):
            key = dotted(path)
            value: Scalar = node.value if not isinstance(node.value, dict | list) else json.dumps(node.value)
            shown = "***" if key in hidden or _is_bare_secret(path, value) else value
            settings.append(Setting(key, shown, node.origin))
        settings += _defaults({setting.key for setting in settings})
    faults = [
        Setting("(problem)", " / ".join(str(fault).split("\n  ")), fault.origin)
        for fault in _distinct(problems)
    ]
    return faults + sorted(settings, key=lambda setting: setting.key)


def render_settings(settings: Sequence[Setting]) -> str:
    """Return the settings as aligned lines of plain text: key, value, origin."""
    rows = [(setting.key, _written(setting.value), setting.origin) for setting in settings]
    widths = [min(max((len(row[at]) for row in rows), default=0), 60) for at in (0, 1)]
    return "\n".join(f"{key:<{widths[0]}}  {value:<{widths[1]}}  {origin}" for key, value, origin in rows)


def spec_hash(spec: Spec, *, exclude: Mapping[str, Any] | None = None) -> str:
    """Return the SHA-256, in hex, of what the spec says; the order of its keys does not count.

    Args:
        spec: what to hash.
        exclude: fields to leave out, as pydantic's ``model_dump`` takes them.
    """
    text = json.dumps(
        spec.model_dump(mode="json", by_alias=True, exclude=None if exclude is None else dict(exclude)),
        sort_keys=True,
        separators=(",", ":"),
        ensure_ascii=False,
        allow_nan=False,
    )
    return hashlib.sha256(text.encode()).hexdigest()


def resolve_secret(reference: str, environ: Mapping[str, str]) -> str:
    """Return the secret behind a reference; call it where the secret is used, and keep no copy.

    Raises:
        ConfigError: the text is no reference, the variable is not set, or the file cannot be read; the path
            of a file must be whole here.
    """
    return secret_behind(reference, environ)


def secret_base(project: Project) -> Path:
    """Return where relative paths of secrets in files start: the project folder."""
    return Path(project.folder).resolve().parent.parent


def _place(folder: str | Path, env: str) -> Place:
    place = Place(Path(folder), env)
    if not (place.folder / "pipeline.yaml").is_file():
        siblings = place.folder.parent.glob("*/pipeline.yaml") if place.folder.parent.is_dir() else ()
        known = [str(found.parent) for found in siblings]
        given = f"no pipeline.yaml in {place.folder}.{nearest(str(place.folder), known)}"
        expected = f"a pipeline folder{': ' + ', '.join(sorted(known)) if known else ', as conf/flights'}"
        raise ConfigErrors([Problem("", "", given, expected)])
    known = sorted(found.stem for found in (place.conf / "env").glob("*.yaml"))
    if env not in known:
        given = f"unknown environment {env!r}.{nearest(env, known)}"
        shown = f"{place.conf.name}/env"
        raise ConfigErrors([Problem(shown, "", given, f"one of {', '.join(known) or 'its files (none)'}")])
    return place


def _distinct(problems: Sequence[Problem]) -> list[Problem]:
    """Return the problems, of several at one value the first: later ones follow from it."""
    first: dict[tuple[str, str], Problem] = {}
    for problem in problems:
        first.setdefault((problem.origin, problem.path), problem)
    return list(first.values())


def _project(draft: Draft, folder: str) -> Project:
    sections = (
        "name",
        "tables",
        "rules",
        "gates",
        "entities",
        "sources",
        "derived",
        "spine",
        "label",
        "split",
        "models",
    )
    if draft.settings is None:  # unreachable without a problem, and problems were raised
        raise ConfigError("no settings", "root, landing and tracking in conf/base.yaml")
    return Project(
        env=draft.place.env,
        folder=folder,
        settings=_absolute(draft.settings, draft.place.project),
        views=tuple(draft.views.values()),
        score_from=draft.score_from,
        predictions=draft.predictions or Predictions(),
        **{section: getattr(draft, section) for section in sections},
    )


def _absolute(settings: RunSettings, project: Path) -> RunSettings:
    """Return the settings with relative paths made absolute from the project folder."""
    tracking = settings.tracking.model_copy(
        update={
            "tracking_uri": _absolute_path(settings.tracking.tracking_uri, project),
            "artifact_root": _absolute_path(settings.tracking.artifact_root, project),
        }
    )
    return settings.model_copy(
        update={
            "root": _absolute_path(settings.root, project),
            "work": settings.work and _absolute_path(settings.work, project),
            "landing": _absolute_path(settings.landing, project),
            "tracking": tracking,
        }
    )


def _absolute_path(text: str, project: Path) -> str:
    scheme = "sqlite:///"
    if text.startswith(scheme):
        return f"{scheme}{project / text.removeprefix(scheme)}"
    complete = _COMPLETE.match(text) or SECRET.fullmatch(text)
    return text if complete else str(project / text)


def _defaults(given: set[str]) -> list[Setting]:
    """Return the settings that nothing gives, as the specs have them."""
    found = []
    for name, info in RunSettings.model_fields.items():
        default = info.get_default(call_default_factory=True)
        fields = default.model_dump() if isinstance(default, Spec) else {}
        found += [
            Setting(f"{name}.{key}", value, "default")
            for key, value in fields.items()
            if not isinstance(value, dict) and f"{name}.{key}" not in given
        ]
    return found


def _is_bare_secret(path: Sequence[str | int], value: Scalar) -> bool:
    return is_secret_key(path) and isinstance(value, str) and not SECRET.fullmatch(value) and value != ""


def _written(value: Scalar) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value)
