"""Explanations drawn: the page, the heat map, the command."""

from __future__ import annotations

import builtins
import importlib.util
import struct
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fakes import WordVectors
from html_check import Page
from tercet import Retriever, cli, picture, retriever
from tercet.explain import Token, words_of
from tercet.explain_html import explanation_page
from tercet.heatmap import chosen_columns, heat_map
from tercet.picture import Box, Dot, Line, Picture, Text, escaped, text_width

EVIL = "<script>alert(\"x\")</script> & 'quoted' </span><img src=x onerror=y> ]]> \x00\x0b"


class Marked(WordVectors):
    """Fills queries up, as a ColBERT does."""

    def tokens(self, text: str, kind: str = "query") -> Any:
        names = super().tokens(text)
        return [*names, Token("[MASK]", "expansion")] if kind == "query" else names

    def encode_query(self, texts: Any) -> Any:
        return [np.concatenate([v, v[-1:]]) for v in super().encode_query(texts)]

    def encode_document(self, texts: Any) -> Any:
        return WordVectors.encode_query(self, texts)


@pytest.fixture
def notes(tmp_path: Path) -> Any:
    long = " ".join(f"w{i}" for i in range(300))
    with Retriever.create(tmp_path / "notes", encoder=Marked("words"), kind="multi", codec="float32") as made:
        made.add(
            [
                {"_id": "a", "title": "Cats", "text": "cats sleep all day and cats purr"},
                {"_id": "evil", "title": EVIL, "text": f"cats {EVIL}"},
                {"_id": "long", "text": f"{long} cats {long} sleep"},
                {"_id": 7, "text": "dogs bark at night"},
            ]
        )
        yield made


def png_size(path: Path) -> tuple[int, int]:
    data = path.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    return struct.unpack(">II", data[16:24])


def test_explanation_is_what_explain_says(notes: Retriever) -> None:
    explanation = notes.explanation("cats sleep", "a")
    assert explanation.matches == notes.explain("cats sleep", "a")
    assert explanation.grid.shape == (len(explanation.query_tokens), len(explanation.document_tokens))
    for row, match in enumerate(explanation.matches):
        assert explanation.grid[row].argmax() == match.position
        assert explanation.grid[row].max() == pytest.approx(match.similarity, abs=1e-5)
    (hit,) = [h for h in notes.search("cats sleep") if h.id == "a"]
    assert explanation.score == pytest.approx(hit.score, abs=1e-5)


def test_page(notes: Retriever) -> None:
    page = Page(explanation_page(notes.explanation("cats bark", "a")))
    assert "cats bark" in page.all_text
    assert "[CLS] special" in page.all_text
    assert "[MASK] expansion" in page.all_text
    assert "[MASK] (expansion)" in page.all_text  # in the table
    tips = [value for name, value in page.attributes if name == "title"]
    assert any(tip.startswith("cats: 1.000; ") for tip in tips)
    shades = [value for name, value in page.attributes if name == "style"]
    assert any("/0.75)" in shade for shade in shades)


def test_texts_are_escaped(notes: Retriever) -> None:
    html = explanation_page(notes.explanation("<b>cats</b> &amp; \"'", "evil"))
    page = Page(html)
    assert "b" not in page.tags
    assert "img" not in page.tags
    assert "<b>cats</b> &amp; \"'" in page.all_text
    assert '<script>alert("x")</script>' in page.all_text
    assert "\x00" not in html
    assert "\x0b" not in html


def test_heat_map_of_a_long_document(notes: Retriever) -> None:
    explanation = notes.explanation("cats sleep", "long")
    shown = chosen_columns(explanation, 20)
    assert shown == sorted(set(shown))
    assert len(shown) <= 20
    assert {match.position for match in explanation.matches} <= set(shown)
    assert chosen_columns(explanation, 10_000) == list(range(len(explanation.document_tokens)))
    (only,) = chosen_columns(explanation, 1)
    assert only in {match.position for match in explanation.matches}
    svg = heat_map(explanation, columns=20).svg()
    root = ET.fromstring(svg)
    names = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert "..." in names
    assert any(
        name and name.endswith("document tokens: best matches and what stands beside them") for name in names
    )
    best = [e for e in root.iter("{http://www.w3.org/2000/svg}rect") if e.get("stroke") != "none"]
    assert len(best) == len(explanation.matches) + 1  # and the one in the key


def test_svg_is_xml_whatever_the_texts(notes: Retriever) -> None:
    ET.fromstring(heat_map(notes.explanation(f"cats {EVIL}", "evil")).svg())
    assert escaped("a\x00\ud800<\uffff") == "a\ufffd\ufffd&lt;\ufffd"


def test_long_titles_are_cut(notes: Retriever) -> None:
    notes.add([{"_id": "t", "title": "cats and more cats " * 20, "text": "cats"}])
    drawing = heat_map(notes.explanation("cats " * 30, "t"))
    for shape in drawing.shapes:
        if isinstance(shape, Text) and not shape.turn:
            assert (
                shape.x + text_width(shape.text, shape.size) * (shape.anchor == "start") <= drawing.width + 1
            )


def test_png(tmp_path: Path, notes: Retriever) -> None:
    pytest.importorskip("matplotlib")
    drawing = heat_map(notes.explanation("cats $sleep$ 猫 \\frac", "long"))
    drawing.save_png(tmp_path / "x.png", scale=1.5)
    width, height = png_size(tmp_path / "x.png")
    assert abs(width - 1.5 * drawing.width) <= 2
    assert abs(height - 1.5 * drawing.height) <= 2


def test_png_and_svg_show_the_same_shapes(tmp_path: Path) -> None:
    matplotlib_image = pytest.importorskip("matplotlib.image")
    drawing = Picture(100, 60, "t")
    drawing.add(
        Box(10, 10, 20, 20, fill="#ff0000"),
        Dot(60, 20, 8, "#00ff00"),
        Line(0, 50, 100, 50, "#0000ff", 4),
        Text(5, 58, "x", 6),
    )
    drawing.save_png(tmp_path / "x.png", scale=1)
    pixels = matplotlib_image.imread(tmp_path / "x.png")
    assert pixels.shape[:2] == (60, 100)
    for x, y, colour in ((20, 20, (1, 0, 0)), (60, 20, (0, 1, 0)), (30, 50, (0, 0, 1)), (90, 5, (1, 1, 1))):
        assert pixels[y, x, :3] == pytest.approx(colour, abs=0.02)
    root = ET.fromstring(drawing.svg())
    assert [element.tag.split("}")[1] for element in root] == ["title", "rect", "circle", "line", "text"]


def test_without_matplotlib(notes: Retriever, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    explanation = notes.explanation("cats", "a")
    with pytest.raises(ImportError, match=r"pip install 'tercet\[report\]'"):
        heat_map(explanation).save_png(tmp_path / "x.png")
    real = builtins.__import__

    def refusing(name: str, *args: Any, **kwargs: Any) -> Any:
        assert not name.startswith("matplotlib")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refusing)
    assert explanation_page(explanation)
    assert picture.INK in heat_map(explanation).svg()


def test_words_of() -> None:
    pieces = [Token("[CLS]", "special"), Token("tar"), Token("##dive"), Token("##s"), Token("x")]
    assert "".join(text for _, text in words_of(pieces)) == " [CLS] tardives x"
    assert "".join(text for _, text in words_of(["▁tar", "dive", "▁x"])) == " tardive x"
    assert "".join(text for _, text in words_of(["Ġtar", "dive"])) == " tardive"


def test_command(
    tmp_path: Path, notes: Retriever, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib")
    monkeypatch.setattr(retriever, "load_recorded", lambda record: Marked("words"))

    def run(*args: object) -> tuple[int, str, str]:
        status = cli.main([str(a) for a in args])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    where = tmp_path / "notes"
    html, png = tmp_path / "e.html", tmp_path / "e.png"
    status, out, err = run("explain", where, "dogs bark", 7, "--html", html, "--png", png)
    assert (status, err) == (0, "")
    first, header, *_ = out.splitlines()
    assert first.split() == [f"{notes.explanation('dogs bark', 7).score:.4f}", "7"]
    assert header.split()[:2] == ["query", "token"]
    assert "[MASK] (expansion)" in out
    Page(html.read_text(encoding="utf-8"))
    assert min(png_size(png)) > 200
    status, out, err = run("explain", where, "dogs", "nobody")
    assert (status, out) == (1, "")
    assert "nobody" in err
    status, out, err = run("explain", where, "dogs", 7, "--html", tmp_path / "none" / "e.html")
    assert status == 1
    assert "none" in err
    assert run("explain", where, "dogs")[0] == 2


def test_command_needs_token_vectors(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from fakes import BagOfWords

    monkeypatch.setattr(retriever, "load_recorded", lambda record: BagOfWords())
    with Retriever.create(tmp_path / "x", encoder=BagOfWords()) as made:
        made.add([{"_id": "a", "text": "cats"}])
    assert cli.main(["explain", str(tmp_path / "x"), "cats", "a"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "kind 'multi'" in captured.err
    assert captured.err.count("\n") == 1
