"""What the encryption of a table must hold of the rest: what is needed in clear, what must not stay so."""

from __future__ import annotations

from collections.abc import Iterator

from featurelib.config_draft import Draft
from featurelib.config_tree import KeyPath
from featurelib.dependence import computed_of, made_of
from featurelib.errors import nearest
from featurelib.expressions.language import ExpressionError, check_select, columns_of
from featurelib.specs import Encryption, LandedTable, Project, Source, select_names

__all__ = ["check_encryption", "check_reveals"]

_SUBJECT_TYPES = ("string", "int", "long")


def check_encryption(draft: Draft) -> None:
    """Note what of an encryption does not fit its own table, its entities or its sources."""
    for name, table in draft.tables.items():
        if table.encryption is not None:
            _check_columns(draft, name, table, table.encryption)
            _check_subject(draft, name, table, table.encryption)
            for why, column in _needed_in_clear(draft, name):
                if column in table.encrypted:
                    at: KeyPath = ("tables", name, "encryption", "columns", table.encrypted.index(column))
                    draft.refuse(
                        at,
                        f"{column!r} is {why}, which files, joins and erasures need in clear",
                        "columns that are neither a key nor an instant",
                        "leave it out; where it names a person, let a pseudonym land in its place",
                    )


def check_reveals(draft: Draft, project: Project) -> None:
    """Note what would hold values of encrypted columns in clear, and is not acknowledged.

    Any aggregate may: the sum over a window with one event is that event. So every column that is made of an
    encrypted one has to be named.
    """
    for name, table in project.tables.items():
        if table.encryption is None:
            continue
        made = made_of(project, name, table.encrypted)
        names = [*(column for column in project.spine.columns if column in made.spine)]
        names += [*sorted(made.features), *made.label]
        said = set(select_names(table.encryption.reveals, names))
        path: KeyPath = ("tables", name, "encryption", "reveals")
        open_names = [column for column in names if column not in said]
        if open_names:
            shown = ", ".join(open_names[:6]) + (", ..." if len(open_names) > 6 else "")
            draft.refuse(
                path,
                f"{shown}: made of encrypted columns, and kept in clear in features and training sets",
                "features, spine columns and labels of columns that are not encrypted",
                f"take them out, or name them in tables.{name}.encryption.reveals",
            )
        for index, pattern in enumerate(table.encryption.reveals):
            if not pattern.startswith("!") and not select_names([pattern], names):
                known = f"one of {', '.join(names)}" if names else "nothing: nothing is made of these columns"
                draft.refuse(
                    (*path, index),
                    f"{pattern!r} reveals nothing.{nearest(pattern, names)}",
                    known,
                    "take it out",
                )


def _check_columns(draft: Draft, name: str, table: LandedTable, encryption: Encryption) -> None:
    path: KeyPath = ("tables", name, "encryption", "columns")
    for index, column in enumerate(encryption.columns):
        if column not in table.silver_types:
            given = f"table {name} has no column {column!r}.{nearest(column, table.silver_types)}"
            draft.refuse((*path, index), given, f"one of {', '.join(table.silver_types)}")
        elif column in encryption.columns[:index]:
            draft.refuse((*path, index), f"{column!r} is given twice", "each column once")
    try:
        made = computed_of(table, encryption.columns) - set(encryption.columns)
    except ExpressionError:
        return  # the derived column itself is noted
    if made:
        draft.refuse(
            path,
            f"{', '.join(sorted(made))} of {name}: computed of encrypted columns, and not encrypted",
            "every column that tells of them",
            f"add {', '.join(sorted(made))} to columns"
            + (
                "; or say in transform_reads what it is made of" if made & table.transform_adds.keys() else ""
            ),
        )


def _check_subject(draft: Draft, name: str, table: LandedTable, encryption: Encryption) -> None:
    subject, path = encryption.subject, ("tables", name, "encryption", "subject")
    if subject is None:
        return
    if subject not in table.columns:
        given = f"{subject!r} is no landed column of {name}.{nearest(subject, table.columns)}"
        draft.refuse(path, given, f"one of {', '.join(table.columns)}")
    elif table.columns[subject] not in _SUBJECT_TYPES:
        draft.refuse(
            path,
            f"{subject!r} is a {table.columns[subject]}",
            f"one of the types {', '.join(_SUBJECT_TYPES)}",
        )
    elif subject in encryption.columns:
        draft.refuse(path, f"{subject!r} is encrypted itself", "a column in clear: it finds the data key")
    elif all(entity.keys != (subject,) for entity in draft.entities.values()):
        draft.refuse(
            path,
            f"no entity has {subject!r} as its only key",
            "the key of an entity, by which erase names whose data keys go",
            f"declare one: entities: {{{subject}: {{keys: [{subject}]}}}}",
        )


def _needed_in_clear(draft: Draft, table: str) -> Iterator[tuple[str, str]]:
    """Yield what columns of a table cannot be encrypted, and what each is."""
    for entity, spec in draft.entities.items():
        yield from ((f"a key of entity {entity}", column) for column in spec.keys)
    spine = draft.spine
    if spine is not None and spine.table == table:
        yield from (("the spine's as_of_ts", column) for column in _columns(spine.as_of_ts))
        for key in spine.key:
            yield from (("a key of the spine", column) for column in _columns(spine.columns[key]))
        if draft.label is not None:
            yield from (("known_ts of the label", column) for column in _columns(draft.label.known_ts))
    keys = {key for spec in draft.entities.values() for key in spec.keys}
    for name, source in draft.sources.items():
        if source.table == table:
            yield from _of_source(draft, name, source, keys)


def _of_source(draft: Draft, name: str, source: Source, keys: set[str]) -> Iterator[tuple[str, str]]:
    texts = dict(source.columns)
    if source.sql is not None:
        try:
            known = [*draft.tables[source.table].silver_types, *source.transform_adds]
            texts = dict(check_select(source.sql, source.table, known).columns)
        except ExpressionError:
            return
    for instant, text in (("event_ts", source.event_ts), ("known_ts", source.known_ts)):
        for column in _columns(text):
            yield from ((f"{instant} of source {name}", used) for used in _columns(texts.get(column, column)))
    for column in keys & texts.keys():
        yield from ((f"a key in source {name}", used) for used in _columns(texts[column]))


def _columns(text: str | None) -> tuple[str, ...]:
    try:
        return () if text is None else tuple(columns_of(text))
    except ExpressionError:
        return ()
