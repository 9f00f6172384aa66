"""The report as one HTML file that needs nothing else: no script, no font, no address."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from fmnist_tui.report.blocks import Block, Code, Heading, Items, Paragraph, Table
from fmnist_tui.report.words import one_line

_STYLE = """
:root { color-scheme: light dark; --text: #1c2024; --soft: #5b6470; --back: #ffffff; --line: #d5d9de; --head: #f2f4f6;
  --train: #1f6fb8; --test: #c2410c; --other: #15803d; --wrong: 200 40 20; --right: 30 100 180; --bad: #b91c1c; }
@media (prefers-color-scheme: dark) {
  :root { --text: #dfe3e8; --soft: #98a2ae; --back: #15181c; --line: #3a4048; --head: #20252b;
    --train: #6cb2f2; --test: #f59e6b; --other: #6fcf97; --wrong: 225 80 60; --right: 70 140 220; --bad: #f87171; }
}
* { box-sizing: border-box; }
body { margin: 2rem; color: var(--text); background: var(--back); font: 15px/1.5 system-ui, sans-serif; }
h2 { margin-top: 2.5rem; } h2, h3 { line-height: 1.25; break-after: avoid; } h3 { margin: 1.6rem 0 0.6rem; }
small { color: var(--soft); font-weight: normal; font-size: 0.85rem; overflow-wrap: anywhere; }
p { max-width: 75ch; }
a { color: var(--train); }
.table { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 0.87rem; }
th, td { padding: 0.3rem 0.7rem; border: 1px solid var(--line); text-align: left; vertical-align: top; }
td:last-child:not(.number) { min-width: 12rem; }
th { background: var(--head); white-space: nowrap; }
.number { text-align: right; white-space: nowrap; }
.run { border-top: 2px solid var(--line); margin-top: 3rem; }
.problem { color: var(--bad); }
.comment { font-style: italic; white-space: pre-line; }
.pairs { columns: 22rem auto; column-gap: 2rem; margin: 0; }
.pairs div { display: flex; gap: 1rem; justify-content: space-between; border-bottom: 1px solid var(--line);
  break-inside: avoid; padding: 0.1rem 0; }
.pairs dt { color: var(--soft); flex: none; max-width: 60%; overflow-wrap: anywhere; }
.pairs dd { margin: 0; text-align: right; overflow-wrap: anywhere; min-width: 0; }
figure { margin: 0; break-inside: avoid; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr)); gap: 1.2rem; }
.charts figcaption { font-weight: 600; }
.charts svg { width: 100%; height: auto; display: block; }
.key { font-weight: normal; margin-left: 0.8rem; white-space: nowrap; }
.key::before { content: ""; display: inline-block; width: 1.1em; border-top: 3px solid; vertical-align: 0.25em;
  margin-right: 0.3em; }
.key.train { color: var(--train); } .key.test { color: var(--test); } .key.other { color: var(--other); }
.key.level { color: var(--soft); } .key.level::before { border-top-style: dashed; border-top-width: 2px; }
svg path { fill: none; stroke-width: 1.6; stroke-linejoin: round; }
svg path.train { stroke: var(--train); } svg path.test { stroke: var(--test); } svg path.other { stroke: var(--other); }
svg path.band { stroke: none; fill-opacity: 0.18; }
svg path.band.train { fill: var(--train); } svg path.band.test { fill: var(--test); }
svg path.axis { stroke: var(--soft); stroke-width: 1; }
svg .grid { stroke: var(--line); stroke-width: 1; }
svg .level { stroke: var(--soft); stroke-width: 1.4; stroke-dasharray: 5 4; }
svg .tick { fill: var(--soft); font: 11px system-ui, sans-serif; }
svg .dot.train { fill: var(--train); } svg .dot.test { fill: var(--test); } svg .dot.other { fill: var(--other); }
svg .hidden { opacity: 0; } svg .hidden:hover { opacity: 1; }
svg .mark path { stroke: var(--bad); stroke-width: 1.4; stroke-dasharray: 3 3; }
svg .mark .cross { stroke-dasharray: none; }
.matrix th, .matrix td { padding: 0.25rem 0.4rem; text-align: right; white-space: nowrap; min-width: 3.2rem; }
.matrix thead th { font-size: 0.8rem; } .matrix td:last-child:not(.number) { min-width: 3.2rem; }
.matrix .right { background: rgb(var(--right) / var(--share)); }
.matrix .wrong { background: rgb(var(--wrong) / var(--share)); }
.matrix .strong { color: #fff; }
.mistakes { display: grid; grid-template-columns: repeat(auto-fill, minmax(9rem, 1fr)); gap: 0.8rem; }
.mistakes img { image-rendering: pixelated; display: block; background: #000; border: 1px solid var(--line); }
.mistakes figcaption { font-size: 0.8rem; line-height: 1.3; }
@media (max-width: 40rem) {
  body { margin: 1rem; }
  .mistakes { grid-template-columns: repeat(auto-fill, minmax(7rem, 1fr)); }
  svg .tick { font-size: 18px; }
  .matrix { font-size: 0.7rem; }
  .matrix th, .matrix td, .matrix td:last-child:not(.number) { padding: 0.1rem 0.2rem; min-width: 0; }
  .matrix thead span { writing-mode: vertical-rl; }
}
@media print {
  :root { color-scheme: light; --text: #000; --soft: #444; --back: #fff; --line: #bbb; --head: #eee;
    --train: #1f6fb8; --test: #c2410c; --other: #15803d; --wrong: 200 40 20; --right: 30 100 180; --bad: #b91c1c; }
  body { margin: 0; font-size: 11px; } .run { break-before: page; border: 0; } .table { overflow: visible; }
  .charts { grid-template-columns: 1fr 1fr; }
  table { font-size: 9px; } th, td { padding: 0.1rem 0.3rem; }
  td:last-child:not(.number), .matrix td, .matrix th { min-width: 0; }
  th { white-space: normal; } .matrix td:last-child:not(.number) { min-width: 0; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
"""


_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
"""What the page may load: nothing from anywhere, and no script, whatever a run is called."""


def write(blocks: list[Block], sections: Sequence[str] = ()) -> str:
    """A whole HTML document that ends in a newline: the blocks, then sections that are HTML already."""
    title = next((block.text for block in blocks if isinstance(block, Heading)), "")
    body = "\n".join([*(_block(block) for block in blocks), *sections])
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        f"<title>{text(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def _block(block: Block) -> str:
    if isinstance(block, Heading):
        return f"<h{block.level}>{text(block.text)}</h{block.level}>"
    if isinstance(block, Items):
        return "<ul>\n" + "\n".join(f"<li>{text(item)}</li>" for item in block.texts) + "\n</ul>"
    if isinstance(block, Table):
        return table(block)
    assert isinstance(block, Paragraph), block
    parts = (f"<code>{text(part)}</code>" if isinstance(part, Code) else text(part) for part in block.parts)
    return f"<p>{' '.join(parts)}</p>"


def table(content: Table) -> str:
    """A table that scrolls by itself where it is too wide."""
    kinds = [' class="number"' if column.numeric else "" for column in content.columns]
    head = "".join(
        f'<th scope="col"{kind}>{text(column.heading)}</th>'
        for column, kind in zip(content.columns, kinds, strict=True)
    )
    rows = [
        "<tr>" + "".join(f"<td{kind}>{text(cell)}</td>" for cell, kind in zip(row, kinds, strict=True)) + "</tr>"
        for row in content.rows
    ]
    body = "\n".join(rows)
    return f'<div class="table"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table></div>'


def text(said: str) -> str:
    """Text from anywhere as HTML that shows just this, on one line; right inside a quoted attribute too."""
    return escape(one_line(said))
