"""The pages that are made of other files: the results of the benchmarks, and the API of the adapters.

The adapters are read, not imported, so that no library that one is for has to be installed.
"""

from __future__ import annotations

import ast
import re
import shutil
from collections.abc import Iterator
from inspect import cleandoc
from pathlib import Path
from textwrap import indent

from sphinx.application import Sphinx
from sphinx.ext.napoleon import Config, GoogleDocstring

DOCS = Path(__file__).parent
PYTHON = DOCS.parent / "python"
GENERATED = DOCS / "generated"


def setup(app: Sphinx) -> dict[str, bool]:
    """Generate before Sphinx looks for pages."""
    app.connect("builder-inited", generate)
    app.connect("source-read", link_results)
    return {"parallel_read_safe": True}


def generate(app: Sphinx) -> None:
    """Write all of them anew."""
    shutil.rmtree(GENERATED, ignore_errors=True)
    shutil.copytree(DOCS.parent / "bench" / "results", GENERATED / "results")
    (GENERATED / "adapters.md").write_text("\n".join(adapters()), encoding="utf-8")


def link_results(app: Sphinx, page: str, text: list[str]) -> None:
    """Lead links to the results, which are outside of the pages, to their copies."""
    text[0] = re.sub(r"\]\((\.\./)+bench/results/", "](/generated/results/", text[0])


def adapters() -> Iterator[str]:
    """Yield the parts of a page: of each adapter that has a page with an example, what is public."""
    yield "# Adapters\n\nEach imports its library; where that is missing, an error names the extra."
    for example in sorted(DOCS.glob("integrations/*.md")):
        name = example.stem.replace("-", "_")
        for module in (f"tercet.integrations.{name}", f"tercet.{name}"):
            if path := source(module):
                yield f"\n## {module}\n\nAn example: [{example.stem}](../integrations/{example.name}).\n"
                yield f"```{{eval-rst}}\n.. py:currentmodule:: {module}\n"
                yield from described(ast.parse(path.read_text(encoding="utf-8")))
                yield "```"


def source(module: str) -> Path | None:
    """Return the file of a module, None if there is no such module."""
    place = PYTHON.joinpath(*module.split("."))
    return next((p for p in (place / "__init__.py", place.with_suffix(".py")) if p.is_file()), None)


def described(tree: ast.Module) -> Iterator[str]:
    """Yield the reStructuredText of a module and of what its ``__all__`` lists."""
    yield ast.get_docstring(tree) or ""
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            for name in ast.literal_eval(node.value):
                yield directive(defined(name, tree))


def defined(name: str, tree: ast.Module) -> ast.ClassDef | ast.FunctionDef:
    """Return what a name stands for, in the module or where that imports it from."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.ClassDef, ast.FunctionDef)) and node.name == name:
            return node
        if isinstance(node, ast.ImportFrom) and name in [alias.name for alias in node.names]:
            path = source(node.module or "")
            if path is not None:
                return defined(name, ast.parse(path.read_text(encoding="utf-8")))
    raise LookupError(f"{name} is in __all__, but is no class or function")


def directive(node: ast.ClassDef | ast.FunctionDef, kind: str = "") -> str:
    """Return a class with its public methods, or a function."""
    is_class = isinstance(node, ast.ClassDef)
    shown = node.name if is_class else f"{node.name}({ast.unparse(node.args)})"
    if kind == "method":
        shown = re.sub(r"\((self|cls)(, )?", "(", shown)
    docstring = cleandoc(ast.get_docstring(node) or "")
    body = str(GoogleDocstring(docstring, Config(napoleon_use_ivar=True)))
    methods = [m for m in node.body if is_class and isinstance(m, ast.FunctionDef) and m.name[0] != "_"]
    body = "\n".join([body, *(directive(method, "method") for method in methods)])
    kind = kind or ("class" if is_class else "function")
    return f"\n.. py:{kind}:: {shown}\n\n{indent(body, '   ')}\n"
