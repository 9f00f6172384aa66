"""The report as one HTML file that needs nothing else: no script, no font, no address."""

from __future__ import annotations

from html import escape

from fmnist_tui.report.blocks import Block, Code, Heading, Items, Paragraph, Table
from fmnist_tui.report.words import one_line

_STYLE = """
:root { color-scheme: light dark; --text: #1c2024; --back: #ffffff; --line: #d5d9de; --head: #f2f4f6; }
@media (prefers-color-scheme: dark) {
  :root { --text: #dfe3e8; --back: #15181c; --line: #3a4048; --head: #20252b; }
}
body { margin: 2rem; color: var(--text); background: var(--back); font: 15px/1.5 system-ui, sans-serif; }
p { max-width: 75ch; }
.table { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: 0.3rem 0.7rem; border: 1px solid var(--line); text-align: left; vertical-align: top; }
td:last-child { min-width: 12rem; }
th { background: var(--head); white-space: nowrap; }
.number { text-align: right; white-space: nowrap; }
"""


def write(blocks: list[Block]) -> str:
    """A whole HTML document that ends in a newline."""
    title = next((block.text for block in blocks if isinstance(block, Heading)), "")
    body = "\n".join(_block(block) for block in blocks)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        """<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">\n"""
        f"<title>{_text(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def _block(block: Block) -> str:
    if isinstance(block, Heading):
        return f"<h{block.level}>{_text(block.text)}</h{block.level}>"
    if isinstance(block, Items):
        return "<ul>\n" + "\n".join(f"<li>{_text(text)}</li>" for text in block.texts) + "\n</ul>"
    if isinstance(block, Table):
        return _table(block)
    assert isinstance(block, Paragraph), block
    parts = (f"<code>{_text(part)}</code>" if isinstance(part, Code) else _text(part) for part in block.parts)
    return f"<p>{' '.join(parts)}</p>"


def _table(table: Table) -> str:
    kinds = [' class="number"' if column.numeric else "" for column in table.columns]
    head = "".join(
        f'<th scope="col"{kind}>{_text(column.heading)}</th>' for column, kind in zip(table.columns, kinds, strict=True)
    )
    rows = [
        "<tr>" + "".join(f"<td{kind}>{_text(cell)}</td>" for cell, kind in zip(row, kinds, strict=True)) + "</tr>"
        for row in table.rows
    ]
    body = "\n".join(rows)
    return f'<div class="table"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table></div>'


def _text(text: str) -> str:
    return escape(one_line(text))
