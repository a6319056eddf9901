"""An executed notebook as one self-contained page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from markdown_it import MarkdownIt
from markupsafe import Markup

from featurelib.reports.pages import render_page

if TYPE_CHECKING:
    from featurelib.notebook.runner import NotebookResult


def to_html(result: NotebookResult) -> str:
    """Return the executed notebook as one self-contained page."""
    return render_page("notebook.html.j2", result=result, markdown=_markdown)


def _markdown(text: str) -> Markup:
    """Return Markdown as HTML; HTML within it is shown, not obeyed."""
    return Markup(MarkdownIt("commonmark", {"html": False}).enable("table").render(text))  # noqa: S704 - escaped there
