"""A drawing of a few kinds of shapes, placed in pixels once, and written as SVG or PNG.

SVG needs nothing and takes the colour of its text from the page, dark or light; PNG needs matplotlib, which
is asked to draw and not to lay out, so that both are the same picture.
"""

from __future__ import annotations

import importlib.util
import os
import warnings
from collections.abc import Callable
from html import escape
from typing import Any, Literal, NamedTuple

__all__ = [
    "INK",
    "Anchor",
    "Box",
    "Dot",
    "Line",
    "Picture",
    "Text",
    "escaped",
    "require_matplotlib",
    "text_width",
]

INK = "currentColor"  # black, or what the page writes in

Anchor = Literal["start", "middle", "end"]


class Box(NamedTuple):
    """A rectangle, corners at (x, y) and (x + width, y + height)."""

    x: float
    y: float
    width: float
    height: float
    fill: str = "none"
    stroke: str = "none"
    opacity: float = 1.0
    tip: str = ""  # shown where the mouse rests


class Dot(NamedTuple):
    """A circle, with a rim that is never transparent."""

    x: float
    y: float
    radius: float
    fill: str
    opacity: float = 1.0
    tip: str = ""


class Line(NamedTuple):
    """A straight line."""

    x1: float
    y1: float
    x2: float
    y2: float
    stroke: str = INK
    width: float = 1.0
    opacity: float = 1.0


class Text(NamedTuple):
    """One line of text; (x, y) is on its baseline. ``turn`` is in degrees, clockwise."""

    x: float
    y: float
    text: str
    size: float = 12.0
    anchor: Anchor = "start"
    fill: str = INK
    bold: bool = False
    turn: float = 0.0
    opacity: float = 1.0


Shape = Box | Dot | Line | Text


def text_width(text: str, size: float) -> float:
    """Return about how wide a text is, rather too wide: fonts differ, and nobody has measured this one."""
    return size * sum(0.62 if ord(c) < 0x2E80 else 1.05 for c in text)


class Picture:
    """Shapes in the order in which they are drawn.

    Args:
        width, height: in pixels.
        title: what it shows, for those who cannot see it.
    """

    def __init__(self, width: float, height: float, title: str) -> None:
        self.width = width
        self.height = height
        self.title = title
        self.shapes: list[Shape] = []

    def add(self, *shapes: Shape) -> None:
        """Draw further shapes above those that are there."""
        self.shapes += shapes

    def svg(self) -> str:
        """Return an ``<svg>`` element that stands in a page, or on its own."""
        lines = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width:g} {self.height:g}" '
            f'width="{self.width:g}" height="{self.height:g}" role="img" '
            f'font-family="system-ui, sans-serif">',
            f"<title>{escaped(self.title)}</title>",
            *(_WRITERS[type(shape)](shape) for shape in self.shapes),
            "</svg>",
        ]
        return "\n".join(lines)

    def save_png(self, path: str | os.PathLike[str], *, scale: float = 2.0) -> None:
        """Write a PNG of ``scale`` dots a pixel on white.

        Raises:
            ImportError: matplotlib is not installed.
        """
        require_matplotlib()
        import matplotlib as mpl
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        dpi = 100
        # Tokens of any language and formulas of none: "$" is no mathematics here
        with mpl.rc_context({"text.parse_math": False, "font.family": ["DejaVu Sans"]}):
            figure = Figure(figsize=(self.width / dpi, self.height / dpi), dpi=dpi, facecolor="white")
            FigureCanvasAgg(figure)
            axes = figure.add_axes((0, 0, 1, 1), xlim=(0, self.width), ylim=(self.height, 0))
            axes.set_axis_off()
            for order, shape in enumerate(self.shapes):
                _draw(axes, shape, order, 72 / dpi)
            with warnings.catch_warnings():  # a box stands for a character that the font lacks
                warnings.filterwarnings("ignore", message="Glyph .* missing from")
                figure.savefig(path, format="png", dpi=dpi * scale)


def require_matplotlib() -> None:
    """Raise ImportError, with what to install, unless PNG can be written."""
    if importlib.util.find_spec("matplotlib") is None:
        raise ImportError("a PNG needs matplotlib: pip install 'tercet[report]'")


def escaped(text: str) -> str:
    """Return a text for HTML and XML; what neither may hold becomes a replacement character."""
    return escape("".join(c if _is_allowed(ord(c)) else "\ufffd" for c in text))


def _is_allowed(code: int) -> bool:
    return code in (9, 10, 13) or 0x20 <= code < 0xD800 or (code >= 0xE000 and code not in (0xFFFE, 0xFFFF))


def _tip(text: str) -> str:
    return f"<title>{escaped(text)}</title>" if text else ""


def _box(b: Box) -> str:
    place = f'x="{b.x:.1f}" y="{b.y:.1f}" width="{b.width:.1f}" height="{b.height:.1f}"'
    look = f'fill="{b.fill}" stroke="{b.stroke}" opacity="{b.opacity:.3f}"'
    return f"<rect {place} {look}>{_tip(b.tip)}</rect>"


def _dot(d: Dot) -> str:
    place = f'cx="{d.x:.1f}" cy="{d.y:.1f}" r="{d.radius:.1f}"'
    look = f'fill="{d.fill}" fill-opacity="{d.opacity:.3f}" stroke="{d.fill}" stroke-width="1.5"'
    return f"<circle {place} {look}>{_tip(d.tip)}</circle>"


def _line(n: Line) -> str:
    place = f'x1="{n.x1:.1f}" y1="{n.y1:.1f}" x2="{n.x2:.1f}" y2="{n.y2:.1f}"'
    return f'<line {place} stroke="{n.stroke}" stroke-width="{n.width:g}" opacity="{n.opacity:.3f}"/>'


def _text(t: Text) -> str:
    turn = f' transform="rotate({t.turn:g} {t.x:.1f} {t.y:.1f})"' if t.turn else ""
    look = f'font-size="{t.size:g}" text-anchor="{t.anchor}" fill="{t.fill}" opacity="{t.opacity:.3f}"'
    weight = ' font-weight="bold"' if t.bold else ""
    return f'<text x="{t.x:.1f}" y="{t.y:.1f}" {look}{weight}{turn}>{escaped(t.text)}</text>'


_WRITERS: dict[type, Callable[[Any], str]] = {Box: _box, Dot: _dot, Line: _line, Text: _text}


def _draw(axes: Any, shape: Shape, order: int, points: float) -> None:
    """Put a shape on matplotlib's axes; ``points`` are the points of a pixel."""
    from matplotlib.colors import to_rgba
    from matplotlib.lines import Line2D
    from matplotlib.patches import Circle, Rectangle

    look: dict[str, Any] = {"alpha": shape.opacity, "zorder": order + 1}
    if isinstance(shape, Box):
        look |= {"facecolor": _colour(shape.fill), "edgecolor": _colour(shape.stroke), "linewidth": points}
        axes.add_patch(Rectangle((shape.x, shape.y), shape.width, shape.height, **look))
    elif isinstance(shape, Dot):
        face, rim = to_rgba(_colour(shape.fill), shape.opacity), _colour(shape.fill)
        look |= {"alpha": None, "facecolor": face, "edgecolor": rim, "linewidth": 1.5 * points}
        axes.add_patch(Circle((shape.x, shape.y), shape.radius, **look))
    elif isinstance(shape, Line):
        ends = ([shape.x1, shape.x2], [shape.y1, shape.y2])
        axes.add_line(Line2D(*ends, color=_colour(shape.stroke), linewidth=shape.width * points, **look))
    else:
        axes.text(
            shape.x, shape.y, shape.text, fontsize=shape.size * points, color=_colour(shape.fill),
            ha={"start": "left", "middle": "center", "end": "right"}[shape.anchor], va="baseline",
            rotation=-shape.turn, rotation_mode="anchor", fontweight="bold" if shape.bold else "normal",
            **look,
        )  # fmt: skip


def _colour(name: str) -> str:
    return "black" if name == INK else name
