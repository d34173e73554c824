"""The body of an ascii PLY file: one row a line, elements one after the other."""

from __future__ import annotations

from foundry_edge_runtime.readers.ply_header import Element, PlyHeader
from foundry_edge_runtime.readers.raw import Column, Options
from foundry_edge_runtime.readers.source import Source
from foundry_edge_runtime.readers.table import Table, is_number, normalise_newlines, parse_rows


def read_text(source: Source, header: PlyHeader, vertex: Element, options: Options) -> dict[str, Column]:
    """The scalar properties of the vertices as float64 columns.

    Raises:
        ScanError: fewer rows than claimed, or a row that does not fit its properties, naming the line.
    """
    body = normalise_newlines(source.read(header.body, source.size - header.body))
    _check_claims(source, header, len(body), options)
    body, line = _after_elements_before(source, header, vertex, body)
    if vertex.has_lists:
        body = _without_lists(source, body, vertex, line)
    names = [p.name for p in vertex.properties if p.list_type is None]
    table, problem = parse_rows(
        source, body, len(names), first_line=line, rows=vertex.count, salvage=options.salvage
    )
    _check_rows(source, vertex, table, problem, options)
    _check_rest(source, header, vertex, body, options)
    return {name: table[:, index] for index, name in enumerate(names)}


def _check_claims(source: Source, header: PlyHeader, have: int, options: Options) -> None:
    """Every value takes a character and a separator (P5)."""
    for element in header.elements:
        least = element.count * 2 * len(element.properties) - 1
        if least > have and not options.salvage:
            raise source.error(
                f"truncated: element {element.name} claims {element.count} rows, at least {least} bytes, "
                f"the file has {have} after the header",
                "re-copy the file, or pass --salvage to keep the whole rows",
            )


def _after_elements_before(
    source: Source, header: PlyHeader, vertex: Element, body: bytes
) -> tuple[bytes, int]:
    """The body from the first vertex on, and the number of that line."""
    skip = 0
    for element in header.elements:
        if element is vertex:
            break
        skip += element.count
    start, line = 0, header.lines + 1
    while skip > 0:
        end = body.find(b"\n", start)
        if end < 0:
            raise source.error(f"truncated: the file ends before element vertex ({vertex.count} rows)")
        skip -= bool(body[start:end].strip())
        start, line = end + 1, line + 1
    return body[start:], line


def _without_lists(source: Source, body: bytes, vertex: Element, first_line: int) -> bytes:
    """The vertex rows with the words of list properties taken out."""
    rows: list[bytes] = []
    for number, line in enumerate(body.split(b"\n"), first_line):
        words = line.split()
        if len(rows) == vertex.count:
            break
        if words:
            rows.append(b" ".join(_scalar_words(source, words, vertex, number)))
    return b"\n".join(rows)


def _scalar_words(source: Source, words: list[bytes], vertex: Element, line: int) -> list[bytes]:
    kept, cursor = [], 0
    for prop in vertex.properties:
        word = words[cursor] if cursor < len(words) else b""
        cursor += 1
        if prop.list_type is None:
            kept.append(word)
        elif word.isdigit() and len(word) < 10:
            cursor += int(word)
        else:
            found = repr(word.decode("latin-1")) if is_number(word) or word else "nothing"
            raise source.error(f"line {line}: length of list {prop.name}: expected a count, found {found}")
    if cursor != len(words):
        raise source.error(f"line {line}: expected {cursor} values, found {len(words)}")
    return kept


def _check_rows(source: Source, vertex: Element, table: Table, problem: str, options: Options) -> None:
    if len(table) == vertex.count:
        return
    text = f"truncated: element vertex claims {vertex.count} rows, {len(table)} present"
    text += f" ({problem})" if problem else ""
    if not options.salvage or not len(table):
        raise source.error(text, "re-copy the file, or pass --salvage to keep the whole rows")
    source.warn(f"{text}; kept the whole rows")


def _check_rest(source: Source, header: PlyHeader, vertex: Element, body: bytes, options: Options) -> None:
    """Whether the lines of the elements after the vertices are all there."""
    after = header.elements[header.elements.index(vertex) + 1 :]
    claimed = sum(element.count for element in after)
    if not claimed or vertex.has_lists:
        return
    lines = body.rstrip().count(b"\n") + 1 - vertex.count
    if lines < claimed:
        names = ", ".join(element.name for element in after)
        text = f"truncated: {claimed} rows of {names} claimed, {max(lines, 0)} present"
        if not options.salvage:
            raise source.error(text, "re-copy the file, or pass --salvage to keep the vertices")
        source.warn(f"{text}; kept the vertices")
