"""How Sphinx builds these pages: ``make docs``. Nothing is fetched, and a warning is an error."""

from __future__ import annotations

import sys
from pathlib import Path

import tercet

sys.path.insert(0, str(Path(__file__).parent))  # where generated_pages is

project = "tercet"
author = "the authors of tercet"
release = version = tercet.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "generated_pages"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"tercet {release}"

myst_heading_anchors = 3
autodoc_member_order = "bysource"
napoleon_use_ivar = True  # else an attribute that is a property is described twice
# Adapters have classes of one name, as their libraries do: an annotation may mean either
suppress_warnings = ["ref.python"]
