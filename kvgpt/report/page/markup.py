"""HTML as a tree of elements: text and attributes become markup in one place, where they are escaped."""

from xml.etree import ElementTree

Element = ElementTree.Element


def element(tag: str, *children: Element | str, **attributes: str) -> Element:
    """An element. ``class_`` stands for the attribute ``class``, ``data_value`` for ``data-value``."""
    made = Element(tag, {name.rstrip("_").replace("_", "-"): value for name, value in attributes.items()})
    last: Element | None = None
    for child in children:
        if isinstance(child, Element):
            made.append(child)
            last = child
        elif last is None:
            made.text = (made.text or "") + child
        else:
            last.tail = (last.tail or "") + child
    return made


def html(*elements: Element) -> str:
    """The elements as HTML, a line each."""
    return "\n".join(ElementTree.tostring(one, encoding="unicode", method="html") for one in elements)


def listed(lines: tuple[str, ...], class_: str) -> list[Element]:
    """A list of these lines; nothing where there are none."""
    return [element("ul", *(element("li", line) for line in lines), class_=class_)] if lines else []
