"""The site: README, docs/, the log and the reference as HTML, with the tutorials run.  `make docs` builds it.

The source folder is the repository's root, so that a link between pages leads to the same place here and in the tree.
"""

import os
import re
import sys
from pathlib import Path

from docutils import nodes

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import gold_sim  # noqa: E402

project = "gold_sim"
author = "The gold_sim developers"
project_copyright = author
version = release = gold_sim.__version__

extensions = ["myst_nb", "sphinx.ext.autodoc"]
root_doc = "docs/index"
include_patterns = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/**", "experiments/log/**"]
exclude_patterns = ["**/.*", ".*", "docs/_build", "runs", "analysis", "gold_sim", "tests", "**/__pycache__"]

html_theme = "furo"
html_title = f"gold_sim {release}"
html_static_path = ["static"]
html_css_files = ["site.css"]
templates_path = ["templates"]
html_additional_pages = {"index": "first.html"}  # the address of the folder leads to docs/index.html
html_copy_source = False

# Nothing from elsewhere, so that the site can be read offline: no page has formulas or widgets.
nb_ipywidgets_js = {}
myst_heading_anchors = 3

# Tutorials run in a folder that is dropped, by the interpreter that builds the site.
nb_execution_mode = "force"
nb_execution_in_temp = True
nb_execution_raise_on_error = True
nb_execution_timeout = 600  # seconds a cell; a few on an idle core
nb_merge_streams = True
nb_render_markdown_format = "myst"
os.environ["PYTHONPATH"] = str(ROOT)
os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
# As the tests: programs of smoke size compile for far longer than they run.
os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_cpu_multi_thread_eigen=false --xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true "
    "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1",
)

autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
default_role = "code"  # `name` of a docstring
nitpick_ignore_regex = [("py:.*", ".*")]  # names of NumPy, pandas and Python are text; their own sites are not fetched


def as_written(app, what, name, obj, options, lines):
    """Ours are plain text, not reStructuredText: signs mean themselves, and an argument begins a line of its own."""
    plain = [re.sub(r"[*|\\]|(?<=\w)_(?!\w)", r"\\\g<0>", line.strip()) for line in lines]
    begins = re.compile(r"[\w, ]+: |Returns |Raises |\w+Error")
    lines[:] = [f"| {line}" if begins.match(line) else f"  {line}" * bool(line) for line in plain]
    for at, line in enumerate(lines):  # a paragraph that begins with no argument is a line too
        if line.startswith("  ") and (at == 0 or not lines[at - 1]):
            lines[at] = f"| {line.strip()}"


def reached_by_its_index(app, doctree):
    """An entry of the log is listed by the log's own page, and would crowd the side bar."""
    if app.env.docname.startswith("experiments/log/2"):
        app.env.metadata[app.env.docname]["orphan"] = True


WHOLE = re.compile(r"(\[[^\]]{3,24}\]|\d{4}-\d\d-\d\d|-[\d.]+)")  # an interval, a date, a number below 0


def unbroken(app, doctree, docname):
    """Intervals and dates stay on one line within a table."""
    for text in [node for row in doctree.findall(nodes.entry) for node in row.findall(nodes.Text)]:
        if WHOLE.search(text) and not isinstance(text.parent, nodes.literal):
            parts = WHOLE.split(text)
            kinds = (nodes.Text, lambda part: nodes.inline(part, part, classes=["whole"]))
            text.parent.replace(text, [kinds[at % 2](part) for at, part in enumerate(parts) if part])


def setup(app):
    app.connect("autodoc-process-docstring", as_written)
    app.connect("doctree-read", reached_by_its_index)
    app.connect("doctree-resolved", unbroken)
