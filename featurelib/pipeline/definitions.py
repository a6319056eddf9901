"""What decides the values of features, as hashes: of the spine, of each view, of each derived feature."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from featurelib.config import spec_hash
from featurelib.dependence import features_of_view
from featurelib.errors import ModelGateError
from featurelib.operations import SAMPLED
from featurelib.specs import FeatureView, Project, Spec

if TYPE_CHECKING:
    from featurelib.point_in_time.tiles import TileTask
    from featurelib.registry.versions import RegisteredModel

_DESCRIPTIVE: Mapping[str, Any] = {
    **dict.fromkeys(("description", "owner", "unit", "units", "report_by", "tiles"), True),
    "aggregations": {"__all__": {"description"}},
    "latest": {"description"},
}
SPINE = "spine"
_VIEW = "view "
_DERIVED = "derived "


def definitions(project: Project) -> dict[str, str]:
    """Return a hash for ``spine``, ``view NAME`` and ``derived NAME``: the specs and the code they name.

    A view's holds that of its source. What only describes them for people does not count.
    """
    found = {SPINE: _hash(_meaning(project.spine), _table_code(project, project.spine.table))}
    for view in project.views:
        source = _source(project, view.source)
        sampled = sorted({SAMPLED[feature.op] for feature in view.features() if feature.op in SAMPLED})
        found[f"{_VIEW}{view.name}"] = _hash(_meaning(view), *source, *_widened(project, view), *sampled)
    for name, derived in project.derived.items():
        found[f"{_DERIVED}{name}"] = _hash(_meaning(derived))
    return found


def tiles_definition(project: Project, source: str, task: TileTask) -> str:
    """Return the identity of a source's tiles: what decides its events, and what is kept of them."""
    landed = project.tables[project.sources[source].table]
    widened = [repr(sorted(landed.widened_from.items()))] if landed.widened_from else []
    return _hash(*_source(project, source), repr(task), *widened)


def view_names(parts: Mapping[str, str]) -> set[str]:
    """Return the views among definitions."""
    return {part.removeprefix(_VIEW) for part in parts if part.startswith(_VIEW)}


def changed_views(before: Mapping[str, str], now: Mapping[str, str]) -> set[str]:
    """Return the views of ``now`` that are new or were something else before."""
    return {name for name in view_names(now) if before.get(f"{_VIEW}{name}") != now[f"{_VIEW}{name}"]}


def features_hash(project: Project) -> str:
    """Return the identity of all features' definition."""
    return _hash(*(f"{part} {found}" for part, found in sorted(definitions(project).items())))


def short_definitions(project: Project) -> dict[str, str]:
    """Return the first half of each definition's hash: what a model keeps, to tell later what has changed."""
    return {part: found[:16] for part, found in definitions(project).items()}


def check_features(project: Project, registered: RegisteredModel) -> None:
    """Refuse a model trained on features that mean something else by now.

    Raises:
        ModelGateError: the definitions differ; the message says in which views.
    """
    then, now = registered.tags.get("features_hash", ""), features_hash(project)
    if then == now:
        return
    what = f"model {registered.name} version {registered.version}"
    raise ModelGateError(
        f"{what} was trained on features {then[:12] or 'unknown'}, "
        f"the project now defines {now[:12]}{_differences(project, registered)}",
        "one definition of features for training and scoring",
        "train a model on the new definition, or bring the old definition back",
    )


def _differences(project: Project, registered: RegisteredModel) -> str:
    kept = registered.tags.get("definitions")
    if kept is None:
        return ""
    then, now = json.loads(kept), short_definitions(project)
    found = [
        ("changed since", [part for part in now if part in then and now[part] != then[part]]),
        ("new since", [part for part in now if part not in then]),
        ("gone since", [part for part in then if part not in now]),
    ]
    return "".join(f"; {word}: {', '.join(parts)}" for word, parts in found if parts)


def _source(project: Project, name: str) -> tuple[str, str, str]:
    source = project.sources[name]
    return _meaning(source), _code_hash(project, source.transform), _table_code(project, source.table)


def _widened(project: Project, view: FeatureView) -> list[str]:
    """Return what was widened of the columns that a view reads: its features may have other types since."""
    table = project.sources[view.source].table
    types = project.tables[table].silver_types
    return [
        f"{column} {was} {types[column]}"
        for column, was in sorted(project.tables[table].widened_from.items())
        if features_of_view(project, view, table, [column])
    ]


def _meaning(spec: Spec) -> str:
    return spec_hash(spec, exclude=_DESCRIPTIVE)


def _table_code(project: Project, table: str) -> str:
    return _code_hash(project, project.tables[table].transform)


def _code_hash(project: Project, reference: str | None) -> str:
    """Return the hash of the module of the pipeline's folder that ``module:function`` names."""
    if reference is None:
        return ""
    module = Path(project.folder) / f"{reference.partition(':')[0]}.py"
    return hashlib.sha256(module.read_bytes()).hexdigest()


def _hash(*texts: str) -> str:
    return hashlib.sha256(repr(texts).encode()).hexdigest()
