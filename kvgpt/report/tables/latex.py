r"""Tables as LaTeX: a file that a paper takes in with ``\input``, and that compiles alone too."""

import re
from collections.abc import Iterable, Iterator

from kvgpt.report.tabular import Column, Table

PACKAGES = ("amssymb", "array", "booktabs", "graphicx")
LONGEST = 40  # rows of a table: more would not fit on a page, and go on in a further one
WIDE = 48  # characters: a column of names with longer cells is set in lines
PREAMBLE = rf"""% Tables of kvgpt. A paper that takes them in with \input needs
% \usepackage{{{",".join(PACKAGES)}}}; alone they compile as they are.
\makeatletter
\ifx\@nodocument\relax % inside a document already
  \let\kvgptend\relax
\else
  \documentclass{{article}}
  \usepackage[margin=20mm]{{geometry}}
  \usepackage{{{",".join(PACKAGES)}}}
  \def\kvgptend{{\end{{document}}}}
  \begin{{document}}
\fi
\makeatother
\providecommand\kvgptfit[1]{{% shrunk where it is wider than the text
  \sbox0{{#1}}\ifdim\wd0>\linewidth\resizebox{{\linewidth}}{{!}}{{\usebox0}}\else\usebox0\fi}}
"""
SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "`": r"\textasciigrave{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\char34{}",  # in every encoding of fonts
    "±": r"$\pm$",
    "\N{MULTIPLICATION SIGN}": r"$\times$",
    "·": r"$\cdot$",
    "≈": r"$\approx$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "²": r"$^2$",
    "°": r"$^\circ$",
    "µ": r"$\mu$",
    "✓": r"$\checkmark$",
    "✗": r"$\times$",
    "⚠": r"$\triangle$",
}
SPECIAL |= {character: f"\\{character}" for character in "&%$#_{}"}
SPECIAL |= {character: f"{{{character}}}" for character in "[]*"}  # else an argument of the row's end before them
DASHES = re.compile("-(?=-)")  # two in a row become one longer


def document(tables: Iterable[Table]) -> str:
    r"""All tables, each a float with its title as caption and ``tab:kvgpt-NAME`` as label."""
    floats = [text for table in tables for text in _floats(table)]
    return "\n".join([PREAMBLE, *floats, "\\kvgptend\n"])


def escape(text: str) -> str:
    """Text that LaTeX sets as it is; a character that its fonts may lack as its code point."""
    return DASHES.sub("-{}", "".join(map(_set, text)))


def _set(character: str) -> str:
    if character in SPECIAL:
        return SPECIAL[character]
    if character.isspace() or not character.isprintable():
        return " "
    return character if character.isascii() else f"{{[}}U+{ord(character):04X}{{]}}"


def _floats(table: Table) -> Iterator[str]:
    printed = [[escape(cell) for cell in row] for row in table.printed()]
    layout = "".join(_alignment(column, table, place) for place, column in enumerate(table.columns))
    heading = " & ".join(escape(column.heading) for column in table.columns)
    for start in range(0, max(len(printed), 1), LONGEST):
        part, last = printed[start : start + LONGEST], start + LONGEST >= len(printed)
        caption = escape(table.title) + (", continued" if start else "")
        label = f"tab:kvgpt-{table.name}" + (f"-{start // LONGEST + 1}" if start else "")
        lines = [
            r"\begin{table}[htbp]",
            r"\centering\small",
            rf"\caption{{{caption}}}\label{{{label}}}",
            rf"\kvgptfit{{\begin{{tabular}}{{{layout}}}",
            r"\toprule",
            rf"{heading} \\",
            r"\midrule",
            *(rf"{' & '.join(cells)} \\" for cells in part),
            r"\bottomrule",
            r"\end{tabular}}",
            *(_notes(table) if last else ()),
            "\\end{table}\n",
        ]
        yield "\n".join(lines)


def _alignment(column: Column, table: Table, place: int) -> str:
    if column.form:
        return "r"
    longest = max((len(cell) for row in table.rows if isinstance(cell := row[place], str)), default=0)
    return "l" if longest <= WIDE else r">{\raggedright\arraybackslash}p{0.55\linewidth}"


def _notes(table: Table) -> Iterator[str]:
    """Below the table, over the whole width."""
    if table.notes:
        yield r"\par\smallskip\begin{minipage}{\linewidth}\footnotesize\raggedright"
        yield "\\\\\n".join(map(escape, table.notes))
        yield r"\end{minipage}"
