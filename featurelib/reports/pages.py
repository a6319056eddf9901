"""One Jinja environment for every page: escaping always on, undefined names refused."""

from __future__ import annotations

import functools

from jinja2 import Environment, PackageLoader, StrictUndefined

from featurelib.reports import formats


def render_page(template: str, **values: object) -> str:
    """Return a page made from a template of this package.

    Every value is escaped unless it is ``Markup``; the template sees the functions of
    :mod:`featurelib.reports.formats` as filters.
    """
    return _environment().get_template(template).render(values)


@functools.cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("featurelib.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for name in ("count", "difference", "metric", "parameter", "seconds", "share", "words"):
        environment.filters[name] = getattr(formats, name)
    return environment
