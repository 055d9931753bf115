"""Tables as LaTeX: sound in structure whatever the names, and where pdflatex is there, it takes them."""

import re
import shutil
import subprocess

import pytest
import synthetic
from hypothesis import given
from hypothesis import strategies as st

from kvgpt.report import tables
from kvgpt.report.tables import latex
from kvgpt.report.tabular import Column, Table

HOSTILE = r"""& % $ # _ { } ~ ^ \ < > | " ' ` -- --- [x] * \input{x} \end{document} ^^M"""
pdflatex = shutil.which("pdflatex")
compiled = pytest.mark.skipif(pdflatex is None, reason="needs pdflatex: apt install texlive-latex-recommended")


def compile_alone(folder, text):
    """What pdflatex says, or an AssertionError with them where it stops at an error."""
    (folder / "tables.tex").write_text(text)
    command = [pdflatex, "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "tables.tex"]
    done = subprocess.run(command, cwd=folder, capture_output=True, check=False, timeout=120)
    said = done.stdout.decode("latin-1")
    assert done.returncode == 0, said
    return said


def table(name="a", title="t", rows=2, notes=(), columns=3):
    headings = (Column(name), *(Column(f"{name} {place}", ".2f") for place in range(columns - 1)))
    return Table("some", title, headings, ((name, *[1.5] * (columns - 1)),) * rows, notes)


def floats(text):
    return re.findall(r"\\begin\{table\}.*?\\end\{table\}", text, re.DOTALL)


def rows(float_):
    """The lines between the rules, each as its cells."""
    body = float_.partition("\\midrule\n")[2].partition("\\bottomrule")[0]
    return [re.split(r"(?<!\\)&", line.removesuffix(r" \\")) for line in body.splitlines()]


def test_each_table_is_a_float_with_its_columns_caption_and_label():
    made = tables.every(synthetic.results(lengths=(32, 1024)))[:4]
    for described, float_ in zip(made, floats(latex.document(made)), strict=True):
        assert rf"\label{{tab:kvgpt-{described.name}}}" in float_
        assert [len(cells) for cells in rows(float_)] == [len(described.columns)] * len(described.rows)
        (layout,) = re.findall(r"\\begin\{tabular\}\{(.*)\}$", float_, re.MULTILINE)
        assert len(re.sub(r">\{.*?\}p\{.*?\}", "p", layout)) == len(described.columns)


@given(name=st.text(max_size=20) | st.just(HOSTILE))
def test_any_name_is_one_cell_in_balanced_ascii(name):
    text = latex.document([table(name, title=name, notes=(name,))])
    assert text.isascii()
    (float_,) = floats(text)
    assert [len(cells) for cells in rows(float_)] == [3, 3]
    assert float_.count(r"\begin{") == float_.count(r"\end{")
    bare = re.sub(r"\\[{}\\]", "", float_)
    assert bare.count("{") == bare.count("}")


@pytest.mark.parametrize("character", list('&%$#_{}~^\\<>|"`[]*'))
def test_what_latex_reads_otherwise_is_escaped(character):
    assert latex.escape(character) not in {character, ""}
    assert latex.escape(f"a{character}b").startswith("a") and latex.escape(f"a{character}b").endswith("b")


def test_what_fonts_may_lack_is_its_code_point_and_what_cannot_be_seen_is_a_space():
    assert latex.escape("漢\u202e\n\x00x") == "{[}U+6F22{]}   x"


def test_dashes_do_not_grow_together():
    assert latex.escape("a--b---c") == "a-{}-b-{}-{}-c"


def test_the_words_of_the_summary_are_set():
    assert latex.escape("✓ production") == r"$\checkmark$ production"


def test_a_long_table_goes_on_in_a_further_float():
    text = latex.document([table(rows=2 * latex.LONGEST + 1, notes=("the note",))])
    assert [len(rows(one)) for one in floats(text)] == [latex.LONGEST, latex.LONGEST, 1]
    assert "the note" in floats(text)[-1] and text.count("the note") == 1 and text.count(", continued") == 2
    assert len(set(re.findall(r"\\label\{(.*?)\}", text))) == 3


def test_long_sentences_are_set_in_lines():
    made = Table("n", "t", (Column("a"), Column("b")), (("x", "y" * (latex.WIDE + 1)),))
    assert r"{l>{\raggedright\arraybackslash}p{0.55\linewidth}}" in latex.document([made])


def test_break_even_is_not_for_paper(tmp_path):
    tables.write(synthetic.results(lengths=(32, 1024)), tmp_path)
    text = (tmp_path / "benchmark_tables.tex").read_text()
    assert "tab:kvgpt-perplexity_2" in text and "break_even" not in text


@compiled
def test_the_file_compiles_alone_with_hostile_names_and_wide_tables(tmp_path):
    some = tables.every(synthetic.results(lengths=(32, 1024)))
    hostile = [table(HOSTILE, title=HOSTILE, notes=(HOSTILE,)), table(columns=40), table("漢\x00\n", rows=90)]
    said = compile_alone(tmp_path, latex.document([*some, *hostile]))
    assert "Overfull" not in said and "Missing character" not in said


@compiled
def test_a_paper_takes_the_file_in_between_its_own_words(tmp_path):
    (tmp_path / "benchmark_tables.tex").write_text(latex.document([table()]))
    packages = ",".join(latex.PACKAGES)
    paper = rf"""\documentclass{{article}}\usepackage{{{packages}}}\begin{{document}}
Before.\input{{benchmark_tables}}After, see Table~\ref{{tab:kvgpt-some}}.\typeout{{the end of the paper}}
\end{{document}}"""
    assert "the end of the paper" in compile_alone(tmp_path, paper)
