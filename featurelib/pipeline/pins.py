"""What lineage has promised to replay: the table versions that upkeep must leave readable."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from featurelib.pipeline.context import Surroundings
from featurelib.registry.audit import read_history
from featurelib.registry.look import is_there
from featurelib.registry.tracker import Tracker
from featurelib.tables import Manifest, Pin, every_manifest, published, rows_of

LINEAGE = "ops.lineage"
UPKEEP, ROLLBACK = "maintain", "rollback"
"""What the notes of manifests call a publish that makes no rows: it merges files, or brings old ones back."""


def pins(context: Surroundings) -> list[Pin]:
    """Return every promise, sorted: of training sets, of models, and of predictions.

    A training set pins its own version, and the features and silver tables that it was made from. So do
    the training sets of models: of all that have an alias, were ever champion, or were approved. A prediction
    pins what its lineage record names.

    Raises:
        PreconditionError: the registry cannot be reached, so that nobody can say what it needs.
    """
    manifests = every_manifest(context.store)
    found = {
        *_of_training_set(context, manifests),
        *_of_models(context, manifests),
        *_of_predictions(context),
    }
    return sorted(found, key=lambda pin: (pin.table, pin.version, pin.held_by))


def _of_training_set(context: Surroundings, manifests: list[Manifest]) -> Iterator[Pin]:
    version = published(context.store).get(context.names.training)
    if version is not None:
        yield from _made_from(context, manifests, version, "training set")


def _of_models(context: Surroundings, manifests: list[Manifest]) -> Iterator[Pin]:
    if not is_there(context.project.settings.tracking):
        return
    tracker = Tracker(context.project.settings.tracking)
    for model in context.project.models:
        history, aliased = read_history(context.store, model), set(tracker.aliases(model).values())
        approved = {entry.to_version for entry in history.done if entry.action == "approve"}
        for registered in tracker.versions(model):
            if registered.version not in aliased | history.ever_champions | approved:
                continue
            trained_on: Mapping[str, int] = json.loads(registered.tags.get("delta_versions", "{}"))
            held_by = f"model {model} version {registered.version}"
            for table, version in trained_on.items():
                yield Pin(table, version, held_by)
                if table == context.names.training:
                    yield from _made_from(context, manifests, version, held_by)


def _of_predictions(context: Surroundings) -> Iterator[Pin]:
    if LINEAGE not in context.store.tables():
        return
    for row in rows_of(context.store, LINEAGE):
        if row["output"] == context.names.predictions:
            for table, version in json.loads(row["record"])["inputs"].items():
                yield Pin(table, version, f"predictions of {row['run_id']}")


def _made_from(context: Surroundings, manifests: list[Manifest], version: int, held_by: str) -> Iterator[Pin]:
    """Yield a training set's version, and those of its inputs: what was published together with it."""
    names = context.names
    inputs = [names.training, names.features, *(names.silver(table) for table in context.project.tables)]
    made = _made_with(manifests, names.training, version)
    for table in inputs:
        if made is not None and table in made.tables:
            yield Pin(table, made.tables[table], held_by)


def _made_with(manifests: list[Manifest], table: str, version: int) -> Manifest | None:
    """Return the publish that made what a version holds, None if that was before the first.

    Upkeep makes a new version of the same rows, beside newer ones of other tables; a rollback brings old ones
    back.
    """
    at = next((at for at, one in enumerate(manifests) if one.tables.get(table) == version), None)
    if at is None:
        return None
    made, earlier = manifests[at], manifests[:at]
    if made.note.get("step") == UPKEEP and earlier and table in earlier[-1].tables:
        return _made_with(earlier, table, earlier[-1].tables[table])
    if made.note.get("step") == ROLLBACK:
        back = next((one for one in reversed(earlier) if one.run_id == made.note.get("to")), None)
        if back is not None and table in back.tables:
            return _made_with(earlier, table, back.tables[table])
    return made
