"""Sphinx settings of the documentation. `make docs` builds it offline into build/docs."""

from __future__ import annotations

import sys
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import TYPE_CHECKING

from sphinx.util.docutils import SphinxDirective

sys.path.insert(0, str(Path(__file__).parent))
import generated

if TYPE_CHECKING:
    from docutils.nodes import Node
    from sphinx.application import Sphinx

project = "innerdistill"
author = "The innerdistill authors"
copyright = f"2026, {author}"
version = release = installed_version("innerdistill")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.mathjax",
    "sphinx-mathjax-offline",  # its own copy of MathJax: formulas need no network
    "sphinx_copybutton",
]
myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_heading_anchors = 4

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_preserve_defaults = True
add_module_names = False
default_role = "code"  # docstrings write `names` as Markdown does
napoleon_numpy_docstring = False
napoleon_use_ivar = True

html_theme = "furo"
html_title = f"innerdistill {release}"
html_show_copyright = False
html_copy_source = False
html_static_path = ["_static"]
html_css_files = ["site.css"]


class Generated(SphinxDirective):
    """Markdown that a function of `generated.py` writes from the code at build time."""

    required_arguments = 1

    def run(self) -> list[Node]:
        """Call the function that the argument names.

        Returns:
            What its Markdown says.
        """
        text = getattr(generated, self.arguments[0])()
        return self.parse_text_to_nodes(text, allow_section_headings=True)


def setup(app: Sphinx) -> None:
    """Register the directive.

    Args:
        app: the build.
    """
    app.add_directive("generated", Generated)
