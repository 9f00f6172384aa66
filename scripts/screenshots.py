"""Take README's pictures: `scripts/screenshots.py --runs-dir runs [--run RUN] [--only NAME] [--compare RUN RUN]`.

Opens the app on a directory of real runs without a terminal, goes to each main screen and saves it as SVG
under docs/images, at 80x24 and 120x40. What is shown is what those runs wrote. With --compare it takes the picture of
these runs side by side, and no other.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
from pathlib import Path

from fmnist_tui.runs import store
from fmnist_tui.tui.app import FmnistApp
from fmnist_tui.tui.messages import CompareRequested, OpenRun

SIZES = ((80, 24), (120, 40))
IMAGES = Path(__file__).parent.parent / "docs" / "images"


def save(app: FmnistApp, name: str, only: str = "") -> None:
    """Save the screen as SVG, without the web fonts rich would have a browser load, where its name begins so."""
    if not name.startswith(only):
        return
    width, height = app.size
    svg = app.export_screenshot(title=f"fmnist-tui, {width} x {height}")
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)
    svg = svg.replace("Fira Code", "DejaVu Sans Mono")
    path = IMAGES / f"{name}-{width}x{height}.svg"
    path.write_text(svg, encoding="utf-8")
    print(path)


async def shoot(runs_dir: Path, data_dir: Path | None, run_id: str, size: tuple[int, int], only: str) -> None:
    """All pictures at one size whose name begins with `only`."""
    app = FmnistApp(runs_dir, data_dir)
    async with app.run_test(size=size) as pilot:
        await pilot.pause(2.0)
        save(app, "runs", only)
        app.post_message(OpenRun(run_id))
        await pilot.pause(3.0)
        save(app, "run", only)
        await pilot.press("m")
        await pilot.pause(4.0)
        save(app, "mistakes", only)
        if size[1] < 36:  # the images have a page of their own
            await pilot.press("enter")
            await pilot.pause(1.0)
            save(app, "mistakes-images", only)
            await pilot.press("escape")
        elif len([run for run in app.runs if run.result]) > 1:
            await pilot.press("a")
            await pilot.pause(3.0)
            save(app, "mistakes-every-run", only)
        await pilot.press("escape")
        await pilot.press("escape")
        await pilot.press("n")
        await pilot.pause(2.0)
        save(app, "new-run", only)
        await pilot.press("escape")
        await pilot.press("3")
        await pilot.pause(2.0)
        save(app, "benchmarks", only)


async def shoot_comparison(runs_dir: Path, data_dir: Path | None, run_ids: list[str], size: tuple[int, int]) -> None:
    """The Compare screen at one size."""
    app = FmnistApp(runs_dir, data_dir)
    async with app.run_test(size=size) as pilot:
        await pilot.pause(2.0)
        app.post_message(CompareRequested(run_ids))
        await pilot.pause(5.0)
        save(app, "compare")


def main() -> None:
    """Take every picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs-dir", type=Path, required=True)
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--run", default="last", help="the run to show (default: the newest)")
    parser.add_argument("--compare", nargs="+", metavar="RUN", help="two runs or more, for the picture of Compare")
    parser.add_argument("--only", default="", metavar="NAME", help="only the pictures whose name begins with this")
    options = parser.parse_args()
    os.environ |= {"TERM": "xterm-256color", "COLORTERM": "truecolor"}  # whatever runs this: images need greys
    IMAGES.mkdir(parents=True, exist_ok=True)
    if options.compare:
        run_ids = [store.find_run(options.runs_dir, text).id for text in options.compare]
        for size in SIZES:
            asyncio.run(shoot_comparison(options.runs_dir, options.data_dir, run_ids, size))
        return
    run = store.find_run(options.runs_dir, options.run)
    for size in SIZES:
        asyncio.run(shoot(options.runs_dir, options.data_dir, run.id, size, options.only))


if __name__ == "__main__":
    main()
