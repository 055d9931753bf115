"""The API reference, built from the docstrings: ``tox -e docs``. Every warning is an error, an unknown name is one."""

import kvgpt

project = "kvgpt"
author = "the authors of kvgpt"
version = release = kvgpt.__version__
extensions = ["sphinx.ext.autodoc"]
html_theme = "alabaster"
html_theme_options = {"page_width": "76em", "sidebar_width": "15em"}
html_copy_source = False

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
maximum_signature_line_length = 96
python_use_unqualified_type_names = True

nitpicky = True
# Other projects' names, and what only annotations say: not looked up, since that would take the network.
nitpick_ignore_regex = [
    (r"py:.*", r"(torch|collections|pathlib|typing|typing_extensions|numpy|nn|abc|_pytest)\..*"),
    (r"py:class", r"(list|dict|tuple)\[.*"),  # a string of an annotation, cut in two
    (r"py:class", r"kvgpt\.model\.Block"),
    (r"py:.*", r"(Tensor|Path|Self|Any|Callable|Iterator|Mapping|Sequence|Iterable|Collection|optional)"),
]
