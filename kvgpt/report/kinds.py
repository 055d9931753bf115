"""Kinds of work: what an operator of torch, or a kernel of a GPU, is for, by its name."""

import re

VIEWS = r"view|transpose|slice|select|split|chunk|unsqueeze|squeeze|flatten|expand|permute|narrow|as_strided|reshape"
MARKS: dict[str, str] = {  # kind -> what its names have in them; the first that fits counts, and else it is elementwise
    "attention": r"attention|attend|flash|fmha|sdpa|softmax",
    "products": r"linear|addmm|matmul|bmm|\bmm\b|gemm|gemv|nvjet|cutlass|cublas|\bdot\b|few_rows",
    "copies": r"copy|memcpy|memset|\bcat\b|stack|clone|\bto\b|index|embedding|gather|fill|full|zeros|arange|pack",
    "views": rf"^({VIEWS}|detach|alias|unbind|item|promote_types|result_type|empty)",
}
ELEMENTWISE = "elementwise"
KINDS = (*MARKS, ELEMENTWISE)


def kind(name: str) -> str:
    """One of :data:`KINDS`."""
    return next((kind for kind, mark in MARKS.items() if re.search(mark, name, re.IGNORECASE)), ELEMENTWISE)
