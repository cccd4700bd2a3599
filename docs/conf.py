"""How the documentation is built: `make docs`, with every warning an error and no network."""

from importlib.metadata import version as installed

project = "surrogate_nas"
author = "the surrogate_nas authors"
copyright = author
version = release = installed("surrogate-nas")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
myst_heading_anchors = 3

nitpicky = True
# Other projects' names are not looked up: that would need the network.
nitpick_ignore_regex = [
    ("py:.*", r"(?!surrogate_nas).*"),
    # Named in docstrings for readers of the code; not part of the reference.
    ("py:.*", r"surrogate_nas\.(surrogate\.(model|features)|domains\.images\.cell_graph)\b.*"),
    ("py:.*", r"surrogate_nas\.(space\.draw|screening\.(known_trials|objectives))\b.*"),
    ("py:.*", r"surrogate_nas\.surrogate\.(past_fit|encoding)\b.*"),
    ("py:.*", r"surrogate_nas\.running\.(observers|runnable)\b.*"),
    ("py:class", r"surrogate_nas\.training\.warm_weights\.Start"),
    ("py:class", r"surrogate_nas\.domains\.images\.arrays\.Options"),
]

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_default_options = {"members": True}
napoleon_numpy_docstring = False

html_theme = "furo"
html_title = "surrogate_nas"
html_show_sphinx = False
html_copy_source = False
