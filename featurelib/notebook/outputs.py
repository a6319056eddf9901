"""What a cell shows becomes plain values: text, tables, images and HTML."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

_MOST_ROWS = 1000


@dataclass(frozen=True)
class Output:
    """Something shown: text, HTML, a table, an image (its data URI in ``text``), or an error."""

    kind: Literal["text", "html", "table", "image", "error"]
    text: str = ""
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str | None, ...], ...] = ()


class Recorder(io.TextIOBase):
    """What the running cell shows, in order; printed text between two displays is one output.

    Args:
        redacted: blots out what must not be shown.
    """

    def __init__(self, redacted: Callable[[str], str]) -> None:
        self.outputs: list[Output] = []
        self._redacted = redacted

    def write(self, text: str) -> int:
        """Add printed text."""
        if self.outputs and self.outputs[-1].kind == "text":
            text_so_far = self.outputs.pop().text
            self.outputs.append(Output("text", text_so_far + text))
        elif text:
            self.outputs.append(Output("text", text))
        return len(text)

    def taken(self) -> tuple[Output, ...]:
        """Return the outputs, secrets blotted out, and start anew."""
        outputs, self.outputs = self.outputs, []
        return tuple(self._clean(output) for output in outputs)

    def _clean(self, output: Output) -> Output:
        rows = tuple(tuple(text and self._redacted(text) for text in row) for row in output.rows)
        return replace(output, text=self._redacted(output.text), rows=rows)


def shown(value: Any) -> Output:  # noqa: ANN401 - a notebook displays anything
    """Return a frame as a table of its first rows, a figure as an image, the rest in its own words."""
    if hasattr(value, "limit") and hasattr(value, "collect") and hasattr(value, "columns"):
        rows = value.limit(_MOST_ROWS).collect()
        return Output("table", "", tuple(value.columns), tuple(tuple(map(_cell_text, row)) for row in rows))
    if hasattr(value, "itertuples"):
        rows = value.head(_MOST_ROWS).itertuples(index=False)
        columns = tuple(map(str, value.columns))
        return Output("table", "", columns, tuple(tuple(map(_cell_text, row)) for row in rows))
    if hasattr(value, "savefig"):
        image = io.BytesIO()
        value.savefig(image, format="png", bbox_inches="tight")
        return Output("image", f"data:image/png;base64,{base64.b64encode(image.getvalue()).decode()}")
    if hasattr(value, "_repr_html_"):
        return Output("html", str(value._repr_html_()))  # the protocol of notebooks
    return Output("text", f"{value if isinstance(value, str) else repr(value)}\n")


def _cell_text(value: object) -> str | None:
    if value is None:
        return None
    return f"{value:.6g}" if isinstance(value, float) else str(value)
