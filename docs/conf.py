"""How Sphinx builds the documentation: `./dev docs`."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import kflow

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "kflow"
author = "the kflow developers"
copyright = "the kflow developers"  # noqa: A001  (Sphinx's name for it)
version = release = kflow.__version__

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx-mathjax-offline",
    "sphinx_click",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
    "measured",
    "plain_docstrings",
    "reproduction",
    "tables",
]
templates_path = ["_templates"]
smartquotes = False  # options have two hyphens

# ---- warnings are errors ------------------------------------------------------------------------

nitpicky = True
nitpick_ignore_regex = [
    # Other projects: their inventories are on the network, and the build needs none.
    ("py:.*", r"(matplotlib|numpy|scipy|sklearn)\..*"),
    # Parameters whose names are also those of modules.
    ("py:obj", "(layers|checkpoint)"),
]

# ---- Markdown -----------------------------------------------------------------------------------

myst_enable_extensions = ["attrs_inline", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

# ---- measurements -------------------------------------------------------------------------------

measured_files = "../bench/results/zen5-2-cores-{}.json"

# Reports of the reproduction that are not in their folders yet.
reports_to_come: list[str] = ["cifar-10"]

# ---- docstrings ---------------------------------------------------------------------------------

# `names` in docstrings are links where something of that name is documented.
default_role = "autolink"
autosummary_generate = True
toc_object_entries_show_parents = "hide"
autodoc_member_order = "bysource"
autodoc_mock_imports = ["torch"]  # kflow.torch is documented without it
autodoc_typehints = "none"  # the Parameters sections say more
numpydoc_show_class_members = False  # autosummary's templates list them
numpydoc_class_members_toctree = False

# ---- examples, run at each build ----------------------------------------------------------------

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "tutorial",
    "filename_pattern": r"\.py$",
    "within_subsection_order": "FileNameSortKey",
    "download_all_examples": False,
    "min_reported_time": 3600,  # seconds differ from build to build
    "show_signature": False,
    "write_computation_times": False,
    "capture_repr": (),  # only what is printed: addresses differ from build to build
    "image_srcset": ["2x"],
    "remove_config_comments": True,
}

# ---- HTML ---------------------------------------------------------------------------------------

html_theme = "pydata_sphinx_theme"
html_title = "kflow"
html_static_path = ["_static"]
html_css_files = ["kflow.css"]
html_sidebars = {"index": [], "mathematics": []}  # no pages below them
html_copy_source = False
html_use_index = False  # the search finds more
html_domain_indices = False
html_show_sourcelink = False
html_last_updated_fmt = None
html_theme_options = {
    "show_prev_next": False,
    "collapse_navigation": True,
    "header_links_before_dropdown": 6,
    "secondary_sidebar_items": ["page-toc"],
    "navigation_with_keys": False,
    "footer_start": ["copyright"],
    "footer_end": ["sphinx-version"],
}
if site := os.environ.get("KFLOW_DOCS_SITE"):  # one of several versions: see tools/versions.py
    html_theme_options |= {
        "switcher": {"json_url": f"{site}/versions.json", "version_match": release},
        "check_switcher": False,  # it is not there yet
        "navbar_end": ["version-switcher", "theme-switcher", "navbar-icon-links"],
    }
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True
copybutton_only_copy_prompt_lines = True
copybutton_line_continuation_character = "\\"


def setup(app: Any) -> None:
    """Have formulas drawn by the one script of MathJax that reads no fonts, wherever pages lie."""
    app.config.mathjax_path = "mathjax/tex-svg.js"
